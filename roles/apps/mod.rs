//! Applications: sets of objects that a variable switches on, and off again. An application is a folder with its variables
//! (`defaults.yml`) and its objects (`objects.yaml.j2`), a line in `ROLES`, and its images in the catalogue.
//!
//! Its role brings the images to every machine and applies the objects, and does not wait: so one that does not become well
//! stops no other. The role `apps`, after all of them, waits until they are well, and says what is wrong with which.

mod state;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::catalogue::{CATALOGUE, image, wants_app};
use crate::cluster;
use crate::common::cluster_vars;
use crate::kubeadm::images;
use crate::kubectl::{Kubectl, kubectl};
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

/// An application is installed, or removed where it is not wanted any more.
pub(crate) async fn run(host: &Host, name: &'static str, template: &str) -> Result<()> {
    // Whichever machine does it, what counts are the variables of one.
    let of = cluster::speaker(host).await?;
    let plane = host.in_group("kube_control_plane");
    if !wants_app(of.all_vars(), name)? {
        // Nobody asks the cluster where it is known that nothing is there.
        if plane && objects::is_there(host, name) != Some(false) {
            set(&of, name, template)?.absent().ensure(host).await?;
        }
        return Ok(());
    }
    cluster::belongs(host).await?;
    let here = format!("the images of {name}");
    let names = CATALOGUE.images_of_app(name);
    host.step(&format!("Import {here}")).ensure(images::named(host, &cluster_vars(host)?, names)?).await?;
    host.reached(&here);
    if !plane {
        return Ok(());
    }
    // A pod that comes before its image is tried again only seconds later. A machine without it holds up nobody.
    for node in host.cluster().group("k8s_cluster") {
        host.needs(&node, &here).await.ok();
    }
    set(&of, name, template)?.ensure(host).await?;
    host.cluster().once(&applied(name), || async { Ok(()) }).await.map(drop)
}

/// The objects of an application, for the variables of a machine.
fn set(of: &Host, name: &'static str, template: &str) -> Result<ObjectSet> {
    let version = cluster_vars(of)?.kube_version;
    let mut images = serde_json::Map::new();
    for image_name in CATALOGUE.images_of_app(name) {
        images.insert(image_name.to_owned(), image(of, image_name, &version)?.into());
    }
    let manifest = of.render(&format!("{name}/objects.yaml.j2"), template, &json!({ "images": images }))?;
    ObjectSet::new(name, &manifest)
}

/// Under which it is kept for the run that an application was applied.
fn applied(name: &str) -> String {
    format!("{name} is applied")
}

/// The applications that this run has applied are well.
pub(crate) async fn are_well(host: &Host) -> Result<()> {
    let is_applied = |name: &&str| host.cluster().done::<()>(&applied(name)).is_some();
    let names: Vec<&str> = CATALOGUE.apps().filter(is_applied).collect();
    if names.is_empty() {
        return Ok(());
    }
    let vars: Vars = host.vars()?;
    cluster::let_leader_go_first(host, LOOKED_AT).await?;
    let wait = || async {
        let Some(kubectl) = Kubectl::find(host).await? else {
            host.not_yet(LOOKED_AT);
            return Ok(());
        };
        let look = kubectl!(include_str!("look.sh"), [] as [&str; 0]);
        let limit = Duration::from_secs(vars.apps_timeout);
        let judge = |answer: Answer| judged(answer, &names);
        kubectl.wait_until(LOOKED_AT, look, Duration::from_millis(500), limit, &judge).await.map(drop)
    };
    host.cluster().once(LOOKED_AT, wait).await?;
    host.reached(LOOKED_AT);
    Ok(())
}

/// An answer to the look, as what is wrong with these applications.
fn judged(answer: Answer, names: &[&str]) -> Answer {
    if answer.status != 0 {
        return answer;
    }
    let wrong = match states(&answer.output) {
        Ok(states) => names
            .iter()
            .flat_map(|name| {
                let wrong =
                    states.get(*name).map_or_else(|| vec!["it is not there".to_owned()], |s| s.wrong.clone());
                wrong.into_iter().map(move |wrong| format!("{name}: {wrong}\n"))
            })
            .collect(),
        Err(error) => error,
    };
    Answer { status: i32::from(!wrong.is_empty()), output: wrong }
}
