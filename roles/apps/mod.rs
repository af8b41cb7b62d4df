//! Applications: sets of objects that a variable switches on, and off again. An application is a folder with its variables
//! (`defaults.yml`) and its objects (`objects.yaml.j2`), a line in `ROLES`, and its images in the catalogue.
//!
//! Its role brings the images to every machine and applies the objects, and does not wait: so one that does not become well
//! stops no other. The role `apps`, after all of them, waits until they are well, and says what is wrong with which.

mod after_pods;
pub(crate) mod argocd;
#[path = "cert-manager/mod.rs"]
pub(crate) mod cert_manager;
#[path = "cinder-csi/mod.rs"]
pub(crate) mod cinder_csi;
#[path = "csi-snapshot-controller/mod.rs"]
pub(crate) mod csi_snapshot_controller;
pub mod dashboard;
pub(crate) mod flux;
#[path = "gateway-api/mod.rs"]
pub(crate) mod gateway_api;
mod manifest;
pub(crate) mod metallb;
#[path = "network-policies/mod.rs"]
pub(crate) mod network_policies;
#[path = "nfs-csi/mod.rs"]
pub(crate) mod nfs_csi;
#[path = "node-feature-discovery/mod.rs"]
pub(crate) mod node_feature_discovery;
mod openstack;
#[path = "openstack-cloud-controller/mod.rs"]
pub(crate) mod openstack_cloud_controller;
pub(crate) mod registry;
mod state;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::catalogue::{CATALOGUE, image, wants_app};
use crate::cluster;
use crate::common::cluster_vars;
use crate::extension;
use crate::helm;
use crate::kubeadm::images;
use crate::kubectl::{Kubectl, kubectl, needs_a_control_plane};
use crate::nodelocaldns;
use crate::objects::{self, ObjectSet};

pub use state::{AppState, states};

/// A program for a control plane that prints what [`states`] reads.
pub const LOOK: &str =
    concat!(include_str!("../own_api_server.sh"), include_str!("../kubectl.sh"), include_str!("look.sh"));

/// What control planes tell each other at the end.
const LOOKED_AT: &str = "the applications are well";

#[derive(Deserialize)]
struct Vars {
    apps_timeout: u64,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>()];

/// The sets with definitions of kinds, for who looks whether there is something to remove.
pub(crate) const DEFINITIONS: [&str; 6] = [
    metallb::DEFINITIONS,
    cert_manager::DEFINITIONS,
    csi_snapshot_controller::DEFINITIONS,
    node_feature_discovery::DEFINITIONS,
    argocd::DEFINITIONS,
    flux::DEFINITIONS,
];

/// An application.
pub(crate) struct App {
    /// Its name, which is that of its variable, of its images in the catalogue and of its set of objects.
    pub(crate) name: &'static str,
    /// The name of the set with the definitions of its kinds, where it has some: it comes before the others, and goes after them.
    pub(crate) definitions: Option<&'static str>,
    /// All its sets, in the order in which they are applied, for the variables of a machine.
    pub(crate) sets: fn(&Host) -> Result<Vec<ObjectSet>>,
    /// Brings what of it is a secret that is made once, when its sets are applied. It goes with the namespace that it is in.
    pub(crate) secret: Option<OnHost>,
    /// What of it is on the machines themselves.
    pub(crate) on_machines: Option<OnMachines>,
    /// Prints what users have that is lost without it, or that nobody else lets go. While there is some it is not removed.
    pub(crate) in_use: Option<fn() -> Script>,
    /// Takes away what it has written elsewhere in the cluster, when its pods are gone and its definitions are still there.
    pub(crate) written: Option<OnHost>,
}

impl App {
    /// One that is its sets alone.
    pub(crate) const fn of(name: &'static str, sets: fn(&Host) -> Result<Vec<ObjectSet>>) -> Self {
        Self { name, definitions: None, sets, secret: None, on_machines: None, in_use: None, written: None }
    }
}

/// Something that is done for a host.
pub(crate) type OnHost = for<'h> fn(&'h Host) -> BoxFuture<'h, Result<()>>;

/// What an application has on each machine.
pub(crate) enum OnMachines {
    /// A run brings it.
    OfRuns {
        /// It is there, when the objects are applied.
        bring: OnHost,
        /// It is gone, before the objects go.
        remove: OnHost,
    },
    /// The application's pods bring it.
    OfPods {
        /// It is gone, when the pods have ended and before the other objects go.
        remove: OnHost,
    },
}

/// An application is installed, or removed where it is not wanted any more.
pub(crate) async fn run(host: &Host, app: &'static App) -> Result<()> {
    // Whichever machine does it, what counts are the variables of one.
    let of = cluster::speaker(host).await?;
    let is_gone = |set: &str| objects::is_there(host, set) == Some(false);
    if wants_app(of.all_vars(), app.name)? {
        install(host, &of, app).await
    } else if is_gone(app.name) && app.definitions.is_none_or(is_gone) {
        // Nobody asks the cluster where it is known that nothing is there.
        Ok(())
    } else if let Some(OnMachines::OfPods { remove }) = app.on_machines {
        after_pods::remove(host, &of, app, remove).await
    } else {
        remove(host, app).await
    }
}

async fn install(host: &Host, of: &Host, app: &App) -> Result<()> {
    let name = app.name;
    cluster::may_set_up(host).await?;
    let here = format!("the images of {name}");
    let names = CATALOGUE.images_of_app(name);
    if !names.is_empty() {
        let images = images::named(host, &cluster_vars(host)?, names)?;
        host.step(&format!("Import {here}")).ensure(images).await?;
    }
    host.reached(&here);
    if host.in_group("kube_control_plane") {
        // A pod that comes before its image is tried again only seconds later. A machine without it holds up nobody.
        for node in host.cluster().group("k8s_cluster") {
            host.needs(&node, &here).await.ok();
        }
        match apply(host, app, of).await {
            Ok(()) => host.cluster().once(&applied(name), || async { Ok(()) }).await.map(drop)?,
            Err(failure) => put_off(host, name, failure).await?,
        }
        host.reached(&applied(name));
    }
    match app.on_machines {
        Some(OnMachines::OfRuns { bring, .. }) => {
            needs_a_control_plane(host, &applied(name)).await?;
            bring(host).await
        }
        Some(OnMachines::OfPods { .. }) | None => Ok(()),
    }
}

async fn apply(host: &Host, app: &App, of: &Host) -> Result<()> {
    for set in (app.sets)(of)? {
        set.refusing(somebody_elses).ensure(host).await?;
    }
    let Some(secret) = app.secret else { return Ok(()) };
    let what = format!("the secret of {}", app.name);
    cluster::let_leader_go_first(host, &what).await?;
    host.cluster().once(&what, || secret(host)).await?;
    host.reached(&what);
    Ok(())
}

/// What is written down that an application consists of goes; whatever the variables say by now.
async fn remove(host: &Host, app: &App) -> Result<()> {
    let forgotten = forgotten(app);
    if let Some(OnMachines::OfRuns { remove, .. }) = app.on_machines {
        cluster::may_set_up(host).await?;
        remove(host).await?;
        host.reached(&forgotten);
    }
    if !host.in_group("kube_control_plane") {
        return Ok(());
    }
    cluster::may_set_up(host).await?;
    if app.on_machines.is_some() {
        for node in host.cluster().group("k8s_cluster") {
            host.needs(&node, &forgotten).await.ok();
        }
    }
    no_objects(host, app).await
}

/// What machines tell the control planes when they have nothing of an application any more.
fn forgotten(app: &App) -> String {
    format!("nothing of {} on the machine", app.name)
}

/// Nothing of an application is in the cluster.
async fn no_objects(host: &Host, app: &App) -> Result<()> {
    match all_gone(host, app).await {
        // Something of somebody else's would go with it.
        Err(failure) => put_off(host, app.name, failure).await,
        gone => gone,
    }
}

async fn all_gone(host: &Host, app: &App) -> Result<()> {
    let name = app.name;
    if app.in_use.is_some() || app.written.is_some() {
        // What somebody else has installed may be used, and may write, as it likes.
        let is_there =
            by_one(host, &format!("whether there is {name}"), || is_written_down(host, app)).await?;
        if !*is_there {
            return Ok(());
        }
    }
    if let Some(in_use) = app.in_use {
        by_one(host, &format!("what {name} is used by"), || is_unused(host, name, in_use())).await?;
    }
    ObjectSet::of(name, Vec::new())?.absent().ensure(host).await?;
    if let Some(written) = app.written {
        by_one(host, &format!("what {name} has written elsewhere"), || written(host)).await?;
    }
    match app.definitions {
        Some(definitions) => ObjectSet::of(definitions, Vec::new())?.absent().ensure(host).await,
        None => Ok(()),
    }
}

/// Does something once for all control planes; the one that leads does it.
async fn by_one<T, F>(host: &Host, what: &str, make: impl FnOnce() -> F) -> Result<Arc<T>>
where
    T: Any + Send + Sync,
    F: Future<Output = Result<T>>,
{
    cluster::let_leader_go_first(host, what).await?;
    let made = host.cluster().once(what, make).await;
    host.reached(what);
    made
}

/// Whether it is written down in the cluster that there is something of an application.
async fn is_written_down(host: &Host, app: &App) -> Result<bool> {
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(false) };
    let records = std::iter::once(app.name).chain(app.definitions).map(objects::record_name);
    let look = kubectl!(
        r#"kubectl --namespace kube-system get configmaps "$@" --ignore-not-found -o name"#,
        records
    );
    let found = kubectl.query(&format!("what there is of {}", app.name), look).await?;
    Ok(!found.trim().is_empty())
}

/// Prints the objects of these kinds, where the cluster knows them.
fn objects_of(kinds: impl IntoIterator<Item = &'static str>) -> Script {
    kubectl!(include_str!("in_use.sh"), kinds)
}

/// Prints what a driver of volumes has to be there for.
fn volumes_of(driver: &'static str) -> Script {
    kubectl!(include_str!("volumes.sh"), [driver])
}

/// Nothing uses an application, as far as this prints.
async fn is_unused(host: &Host, name: &str, in_use: Script) -> Result<()> {
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
    let users = kubectl.query(&format!("what uses {name}"), in_use).await?;
    let users: Vec<&str> = users.lines().filter(|line| !line.is_empty()).collect();
    let Some(first) = users.first() else { return Ok(()) };
    let more = match users.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let switch = format!("{}_enabled", name.replace('-', "_"));
    Err(Failure::new(
        format!("it is in use, and not removed: by {first}{more}"),
        format!("delete what uses it, or set {switch}: true"),
    ))
}

/// All sets that are there only where they are wanted, for who looks at once which of them are.
pub(crate) fn optional_sets() -> impl Iterator<Item = &'static str> {
    let others = [nodelocaldns::NAME, extension::NAME, extension::DEFINITIONS, extension::SCRIPTS];
    CATALOGUE.apps().chain(DEFINITIONS).chain(others)
}

/// The objects of an application as one set, of its template. A template may name every variable, and the images of the application
/// by their names in the catalogue.
pub(crate) fn of_template(of: &Host, name: &'static str, template: &str) -> Result<Vec<ObjectSet>> {
    Ok(vec![ObjectSet::of(name, objects_of_template(of, name, template)?)?])
}

fn objects_of_template(of: &Host, name: &str, template: &str) -> Result<Vec<Value>> {
    let manifest =
        of.render(&format!("{name}/objects.yaml.j2"), template, &json!({ "images": images_of(of, name)? }))?;
    objects::documents(name, &manifest)
}

/// A variable and why nothing can be made of it, as a failure.
fn cannot_be_told((name, why): (String, String)) -> Failure {
    Failure::new(format!("{name}: {why}"), format!("see muster docs vars {name}"))
}

/// The references of an application's images, by their names in the catalogue.
pub(crate) fn images_of(of: &Host, name: &str) -> Result<BTreeMap<&'static str, String>> {
    let version = cluster_vars(of)?.kube_version;
    let names = CATALOGUE.images_of_app(name).into_iter();
    names.map(|name| Ok((name, image(of, name, &version)?))).collect()
}

/// Why an object that was found does not become muster's: somebody else has put it there. (Helm's mark is the annotation that it
/// gives to all objects of a release.)
fn somebody_elses(wanted: Option<&Value>, found: &Value) -> Option<String> {
    wanted?;
    // Of which set it is has been looked at already.
    if objects::is_musters(found) {
        return None;
    }
    let metadata = &found["metadata"];
    let whose = match metadata["annotations"]["meta.helm.sh/release-name"].as_str() {
        Some(release) => format!("belongs to the release {release} of Helm"),
        None => "was not made by muster".to_owned(),
    };
    let [kind, name] = [&found["kind"], &metadata["name"]].map(|text| text.as_str().unwrap_or_default());
    let namespace = metadata["namespace"].as_str().map(|name| format!(" in the namespace {name}"));
    let place = namespace.unwrap_or_default();
    Some(format!(
        "{kind} {name}{place} is there already and {whose}. Remove the other one first, or do not switch this one on"
    ))
}

/// An application that could not be applied stops no other: it is told at the end.
pub(crate) async fn put_off(host: &Host, name: &'static str, failure: Failure) -> Result<()> {
    let failure = match failure {
        Failure::Other { message, remedy, tail } => {
            Failure::Other { message: format!("{name}: {message}"), remedy, tail }
        }
        Failure::Change { resource, status, tail } => {
            Failure::Change { resource: format!("{name}: {resource}"), status, tail }
        }
        Failure::Waited { what, limit, tail } => {
            Failure::Waited { what: format!("{name}: {what}"), limit, tail }
        }
        // The machine or the run itself.
        failure => return Err(failure),
    };
    host.cluster().once(&refused(name), || async { Ok(failure) }).await.map(drop)
}

/// Under which it is kept for the run why something could not be applied.
fn refused(name: &str) -> String {
    format!("why {name} is not applied")
}

/// Under which it is kept for the run that an application was applied.
fn applied(name: &str) -> String {
    format!("{name} is applied")
}

/// The applications that this run has applied are well, and it could apply all that are wanted.
pub(crate) async fn are_well(host: &Host) -> Result<()> {
    let names = [helm::NAME, extension::NAME].into_iter().chain(CATALOGUE.apps());
    let refusals: Vec<_> = names.filter_map(|name| host.cluster().done::<Failure>(&refused(name))).collect();
    let well = applied_are_well(host).await;
    let mut failures = refusals.iter().map(|failure| failure.as_ref().clone()).chain(well.err());
    let Some(first) = failures.next() else { return Ok(()) };
    failures.for_each(|failure| host.warn(failure.to_string()));
    Err(first)
}

/// How long applications may take until they are well.
fn timeout(host: &Host) -> Result<Duration> {
    let vars: Vars = host.vars()?;
    Ok(Duration::from_secs(vars.apps_timeout))
}

async fn applied_are_well(host: &Host) -> Result<()> {
    let is_applied = |name: &&str| host.cluster().done::<()>(&applied(name)).is_some();
    let names: Vec<&str> = CATALOGUE.apps().filter(is_applied).collect();
    if names.is_empty() {
        return Ok(());
    }
    let limit = timeout(host)?;
    cluster::let_leader_go_first(host, LOOKED_AT).await?;
    let wait = || async {
        let Some(kubectl) = Kubectl::find(host).await? else {
            host.not_yet(LOOKED_AT);
            return Ok(());
        };
        let look = kubectl!(include_str!("look.sh"), [] as [&str; 0]);
        let judge = |answer: Answer| judged(answer, &names);
        let wait = Wait::new(LOOKED_AT, look, Duration::from_millis(500), limit);
        kubectl.wait_until(wait, &judge).await.map(drop)
    };
    host.cluster().once(LOOKED_AT, wait).await?;
    host.reached(LOOKED_AT);
    Ok(())
}

/// How many lines a person gets of all applications together: so many a failure shows. Of each there is one at least.
const LINES: usize = 12;

/// An answer to the look, as what is wrong with these applications.
fn judged(answer: Answer, names: &[&str]) -> Answer {
    if answer.status != 0 {
        return answer;
    }
    let states = match states(&answer.output) {
        Ok(states) => states,
        Err(error) => return Answer { status: 1, output: error },
    };
    let missing = || vec!["it is not there".to_owned()];
    let wrong = names.iter().map(|name| (name, states.get(*name).map_or_else(missing, |s| s.wrong.clone())));
    let wrong: Vec<_> = wrong.filter(|(_, wrong)| !wrong.is_empty()).collect();
    let each = (LINES / wrong.len().max(1)).max(1);
    let mut output = String::new();
    for (name, mut wrong) in wrong {
        // Several of its pods may be unwell in the same way.
        let mut seen = BTreeSet::new();
        wrong.retain(|line| seen.insert(line.clone()));
        let more = wrong.split_off(each.min(wrong.len()));
        if let (Some(last), false) = (wrong.last_mut(), more.is_empty()) {
            *last = format!("{last} (and {} more: muster apps)", more.len());
        }
        output.extend(wrong.iter().map(|line| format!("{name}: {line}\n")));
    }
    Answer { status: i32::from(!output.is_empty()), output }
}
