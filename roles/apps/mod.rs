//! Applications: sets of objects that a variable switches on, and off again. An application is a folder with its variables
//! (`defaults.yml`) and its objects (`objects.yaml.j2`), a line in `ROLES`, and its images in the catalogue.
//!
//! Its role brings the images to every machine and applies the objects, and does not wait: so one that does not become well
//! stops no other. The role `apps`, after all of them, waits until they are well, and says what is wrong with which.

mod after_pods;
pub mod dashboard;
pub(crate) mod metallb;
#[path = "network-policies/mod.rs"]
pub(crate) mod network_policies;
pub(crate) mod registry;
mod state;

use std::collections::BTreeMap;

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

/// The sets with definitions of kinds.
const DEFINITIONS: [&str; 1] = [metallb::DEFINITIONS];

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
    host.step(&format!("Import {here}")).ensure(images::named(host, &cluster_vars(host)?, names)?).await?;
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
    for set in std::iter::once(app.name).chain(app.definitions) {
        if let Err(failure) = ObjectSet::of(set, Vec::new())?.absent().ensure(host).await {
            // Something of somebody else's would go with it.
            return put_off(host, app.name, failure).await;
        }
    }
    Ok(())
}

/// All sets that are there only where they are wanted, for who looks at once which of them are.
pub(crate) fn optional_sets() -> impl Iterator<Item = &'static str> {
    let others = [nodelocaldns::NAME, extension::NAME, extension::DEFINITIONS, extension::SCRIPTS];
    CATALOGUE.apps().chain(DEFINITIONS).chain(others)
}

/// The objects of an application as one set, of its template. A template may name every variable, and the images of the application
/// by their names in the catalogue.
pub(crate) fn of_template(of: &Host, name: &'static str, template: &str) -> Result<Vec<ObjectSet>> {
    let manifest =
        of.render(&format!("{name}/objects.yaml.j2"), template, &json!({ "images": images_of(of, name)? }))?;
    Ok(vec![ObjectSet::new(name, &manifest)?])
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

async fn applied_are_well(host: &Host) -> Result<()> {
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
        let wait = Wait::new(LOOKED_AT, look, Duration::from_millis(500), limit);
        kubectl.wait_until(wait, &judge).await.map(drop)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::objects::SET;
    use crate::preflight::fixture::variables;
    use crate::reference;

    /// The objects of an application with these variables.
    fn objects(name: &str, yaml: &str) -> Vec<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("apps/{name}/objects.yaml.j2"));
        let template = std::fs::read_to_string(path).unwrap();
        let images: serde_json::Map<String, Value> = CATALOGUE
            .images_of_app(name)
            .into_iter()
            .map(|image| (image.into(), json!(format!("{image}:1"))))
            .collect();
        let text = variables(yaml).render(&template, name, &json!({ "images": images })).unwrap();
        serde_saphyr::from_multiple(&text).unwrap()
    }

    fn of_kind<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
        objects.iter().find(|object| object["kind"] == kind).unwrap()
    }

    #[test]
    fn every_application_is_whole() {
        let plays: Value = serde_saphyr::from_str(include_str!("../../playbooks/cluster.yml")).unwrap();
        let has = |field: &str, name: &str| {
            let mut plays = plays.as_array().unwrap().iter();
            plays.any(|play| play[field].as_array().is_some_and(|names| names.iter().any(|n| n == name)))
        };
        for name in CATALOGUE.apps() {
            assert!(crate::ROLES.iter().any(|role| role.name == name), "{name} is no role");
            assert!(has("roles", name) && has("tags", name), "{name} is not in the playbook");
            assert!(!CATALOGUE.images_of_app(name).is_empty(), "{name} has no image");
            let switch = format!("{}_enabled", name.replace('-', "_"));
            assert!(reference::variables().any(|variable| variable.name == switch), "{name} has no {switch}");
            assert!(!wants_app(&variables(""), name).unwrap(), "{name}");
            // What has upstream's objects has tests of its own.
            if name == metallb::NAME {
                continue;
            }
            let objects = objects(name, "");
            let pods: Vec<_> = objects.iter().map(|object| &object["spec"]["template"]).collect();
            let pods: Vec<_> = pods.into_iter().filter(|template| !template.is_null()).collect();
            assert!(!pods.is_empty(), "{name}");
            for pod in pods {
                assert_eq!(pod["metadata"]["labels"][SET], name);
                let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
                assert!(
                    CATALOGUE.images_of_app(name).iter().any(|known| image == format!("{known}:1")),
                    "{image}"
                );
            }
        }
    }

    #[test]
    fn what_the_tag_apps_means_is_the_same_in_an_upgrade() {
        let tagged = |playbook: &str| -> Vec<Value> {
            let plays: Vec<Value> = serde_saphyr::from_str(playbook).unwrap();
            let has = |play: &Value, field: &str| {
                play[field].as_array().is_some_and(|names| names.iter().any(|name| name == "apps"))
            };
            // The last one is the role `apps` itself, which waits for all.
            plays.into_iter().filter(|play| has(play, "tags") || has(play, "roles")).collect()
        };
        let of_set_up = tagged(include_str!("../../playbooks/cluster.yml"));
        assert_eq!(of_set_up, tagged(include_str!("../../playbooks/upgrade.yml")));
        assert!(of_set_up.last().is_some_and(|play| play["roles"] == json!(["apps"])));
        let roles: Vec<&str> = of_set_up
            .iter()
            .flat_map(|play| play["roles"].as_array().into_iter().flatten())
            .filter_map(Value::as_str)
            .collect();
        for app in CATALOGUE.apps().chain([helm::NAME, extension::NAME, "coredns"]) {
            assert!(roles.contains(&app), "{app}");
        }
        // Who leaves the add-ons out (`--skip-tags apps`) wants a network all the same.
        for role in ["flannel", "calico", "cni"] {
            assert!(!roles.contains(&role), "{role}");
        }
    }

    #[test]
    fn what_somebody_else_has_installed_is_left_alone() {
        let why = |metadata: Value| {
            somebody_elses(Some(&Value::Null), &json!({ "kind": "Deployment", "metadata": metadata }))
        };
        let helm =
            json!({ "name": "a", "namespace": "b", "annotations": { "meta.helm.sh/release-name": "web" } });
        assert!(why(helm).unwrap().starts_with(
            "Deployment a in the namespace b is there already and belongs to the release web of Helm. Remove"
        ));
        assert!(
            why(json!({ "name": "a" })).unwrap().contains("a is there already and was not made by muster")
        );
        assert_eq!(why(json!({ "name": "a", "labels": { SET: "a" } })), None);
        let applied = json!({ "name": "a", "managedFields": [{ "manager": "muster", "operation": "Apply", "fieldsV1": {} }] });
        assert_eq!(why(applied), None);
    }

    #[test]
    fn services_and_volumes_are_as_the_variables_say() {
        let registry = objects("registry", "dns_domain: school.local\n");
        let service = of_kind(&registry, "Service");
        let reached = &service["metadata"]["annotations"]["muster.io/reached-at"];
        assert_eq!(reached, "registry.kube-system.svc.school.local:5000");
        assert!(
            registry
                .iter()
                .all(|object| object["kind"] != "PersistentVolumeClaim" && object["kind"] != "Namespace")
        );
        let yaml = "registry_namespace: images\nregistry_storage_class: disk\nregistry_disk_size: 3Gi\n\
                    registry_service_type: NodePort\nregistry_service_nodeport: 30500\n\
                    registry_service_annotations: {a: b}\n";
        let registry = objects("registry", yaml);
        assert_eq!(of_kind(&registry, "Namespace")["metadata"]["name"], "images");
        let claim = &of_kind(&registry, "PersistentVolumeClaim")["spec"];
        assert_eq!(claim["storageClassName"], "disk");
        assert_eq!(claim["resources"]["requests"]["storage"], "3Gi");
        let service = of_kind(&registry, "Service");
        assert_eq!(service["spec"]["ports"][0]["nodePort"], 30500);
        assert_eq!(service["metadata"]["annotations"]["a"], "b");
    }

    #[test]
    fn every_variable_of_an_application_changes_its_objects() {
        // An application, in which circumstances, and another value than the default.
        let others = [
            ("metrics-server", "", "metrics_server_replicas: 3"),
            ("metrics-server", "", "metrics_server_metric_resolution: 20s"),
            ("metrics-server", "", "metrics_server_kubelet_insecure_tls: false"),
            ("metrics-server", "", "metrics_server_kubelet_preferred_address_types: Hostname"),
            ("metrics-server", "", "metrics_server_requests_cpu: 99m"),
            ("metrics-server", "", "metrics_server_requests_memory: 99Mi"),
            ("metrics-server", "", "metrics_server_limits_cpu: 199m"),
            ("metrics-server", "", "metrics_server_limits_memory: 299Mi"),
            ("local-path-provisioner", "", "local_path_provisioner_storage_class: disk"),
            ("local-path-provisioner", "", "local_path_provisioner_is_default_storageclass: false"),
            ("local-path-provisioner", "", "local_path_provisioner_reclaim_policy: Retain"),
            ("local-path-provisioner", "", "local_path_provisioner_claim_root: /srv"),
            ("local-path-provisioner", "", "local_path_provisioner_debug: true"),
            ("registry", "", "registry_namespace: images"),
            ("registry", "", "registry_storage_class: disk"),
            ("registry", "registry_storage_class: disk", "registry_disk_size: 3Gi"),
            ("registry", "registry_storage_class: disk", "registry_storage_access_mode: ReadWriteMany"),
            ("registry", "", "registry_port: 5001"),
            ("registry", "", "registry_service_type: NodePort"),
            ("registry", "", "registry_service_cluster_ip: 10.233.0.9"),
            ("registry", "registry_service_type: NodePort", "registry_service_nodeport: 30500"),
            (
                "registry",
                "registry_service_type: LoadBalancer",
                "registry_service_loadbalancer_ip: 192.0.2.9",
            ),
            ("registry", "", "registry_service_annotations: {a: b}"),
            ("traefik", "", "ingress_nginx_enabled: true"),
            ("traefik", "ingress_nginx_enabled: true", "ingress_nginx_class: web"),
            ("traefik", "", "traefik_namespace: ingress"),
            ("traefik", "", "traefik_ingress_class: web"),
            ("traefik", "", "traefik_http_port: 8080"),
            ("traefik", "", "traefik_https_port: 8443"),
            ("traefik", "", "traefik_nodeselector: {a: b}"),
            ("traefik", "", "traefik_tolerations: []"),
            ("traefik", "", "traefik_service_type: NodePort"),
            ("traefik", "traefik_service_type: NodePort", "traefik_nodeport_http: 30080"),
            ("traefik", "traefik_service_type: NodePort", "traefik_nodeport_https: 30443"),
            ("traefik", "", "traefik_service_annotations: {a: b}"),
            ("traefik", "", "traefik_log_level: DEBUG"),
            ("monitoring", "", "monitoring_retention: 9d"),
            ("monitoring", "", "monitoring_storage_class: disk"),
            ("monitoring", "monitoring_storage_class: disk", "monitoring_disk_size: 3Gi"),
            ("monitoring", "", "monitoring_interval: 20s"),
            ("monitoring", "", "monitoring_service_type: NodePort"),
            ("monitoring", "monitoring_service_type: NodePort", "monitoring_nodeport: 30900"),
            ("monitoring", "", "monitoring_requests_cpu: 99m"),
            ("monitoring", "", "monitoring_requests_memory: 99Mi"),
        ];
        for (name, given, other) in others {
            let with = objects(name, &format!("{given}\n{other}\n"));
            assert_ne!(objects(name, given), with, "{name}: {other} changes nothing");
        }
        let tried: Vec<&str> = others.iter().filter_map(|(_, _, other)| other.split(':').next()).collect();
        let all = reference::sections()
            .into_iter()
            .filter(|section| others.iter().any(|(name, ..)| section.roles == [*name]));
        for variable in all.flat_map(|section| section.paragraphs).flat_map(|paragraph| paragraph.variables) {
            let is_switch = variable.name.ends_with("_enabled");
            assert!(is_switch || tried.contains(&variable.name), "{} is not tried", variable.name);
        }
    }

    #[test]
    fn traefik_takes_the_place_of_ingress_nginx() {
        let seen = |yaml: &str| {
            let objects = objects("traefik", yaml);
            let classes = objects.iter().filter(|object| object["kind"] == "IngressClass");
            let classes: Vec<_> =
                classes.map(|class| class["metadata"]["name"].as_str().unwrap().to_owned()).collect();
            let pod = &of_kind(&objects, "DaemonSet")["spec"]["template"]["spec"];
            let nginx =
                pod["containers"][0]["args"].to_string().contains("kubernetesingressnginx.ingressclass=");
            (classes.join(" "), nginx, pod["containers"][0]["ports"][0]["hostPort"].clone())
        };
        assert_eq!(seen(""), ("traefik".to_owned(), false, json!(80)));
        let nginx = "ingress_nginx_enabled: true\ningress_nginx_class: web\ntraefik_http_port: 8080\n";
        assert_eq!(seen(nginx), ("traefik web".to_owned(), true, json!(8080)));
        let wants = |yaml: &str| wants_app(&variables(yaml), "traefik").unwrap();
        assert!(wants("ingress_nginx_enabled: true") && wants("traefik_enabled: true") && !wants(""));
    }

    #[test]
    fn prometheus_starts_anew_with_another_configuration() {
        let seen = |yaml: &str| {
            let objects = objects("monitoring", yaml);
            let text = |file: &str| of_kind(&objects, "ConfigMap")["data"][file].as_str().unwrap().to_owned();
            let config: Value = serde_saphyr::from_str(&text("prometheus.yml")).unwrap();
            assert!(text("rules.yml").contains("{{ $labels.job }} at {{ $labels.instance }}"));
            let pods = &of_kind(&objects, "Deployment")["spec"]["template"]["metadata"]["annotations"];
            (config["global"]["scrape_interval"].clone(), pods["muster.io/config"].clone())
        };
        let (usual, often) = (seen(""), seen("monitoring_interval: 2s\n"));
        assert_eq!((&usual.0, &often.0), (&json!("30s"), &json!("2s")));
        assert_ne!(usual.1, often.1);
    }

    #[test]
    fn variables_reach_the_objects() {
        let args = |yaml: &str| {
            let objects = objects("metrics-server", yaml);
            of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"].to_string()
        };
        assert!(args("").contains("--kubelet-insecure-tls") && args("").contains("--metric-resolution=15s"));
        assert!(!args("metrics_server_kubelet_insecure_tls: false").contains("insecure"));

        let class = |yaml: &str| {
            let objects = objects("local-path-provisioner", yaml);
            let class = of_kind(&objects, "StorageClass");
            let default = &class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"];
            let config = of_kind(&objects, "ConfigMap")["data"]["config.json"].as_str().unwrap();
            let config: Value = serde_json::from_str(config).unwrap();
            let path = config["nodePathMap"][0]["paths"][0].clone();
            [class["metadata"]["name"].clone(), default.clone(), path]
                .map(|value| value.as_str().unwrap().to_owned())
        };
        assert_eq!(class(""), ["local-path", "true", "/opt/local-path-provisioner/"]);
        let other = "local_path_provisioner_storage_class: disk\nlocal_path_provisioner_is_default_storageclass: 'false'\n\
                     local_path_provisioner_claim_root: /srv/claims\n";
        assert_eq!(class(other), ["disk", "false", "/srv/claims"]);
    }

    #[test]
    fn a_look_says_which_application_is_not_well() {
        let judge = |items: Value| {
            let output = json!({ "kind": "List", "items": items }).to_string();
            judged(Answer { status: 0, output }, &["a", "b"])
        };
        let api = |set: &str, status: &str| {
            let condition = json!({ "type": "Available", "status": status, "message": "no endpoints" });
            let metadata = json!({ "name": "v1.x.io", "labels": { SET: set } });
            json!({ "kind": "APIService", "metadata": metadata, "spec": { "group": "x.io" }, "status": { "conditions": [condition] } })
        };
        assert_eq!(judge(json!([api("a", "True"), api("b", "True"), api("c", "False")])), Answer::default());
        let answer = judge(json!([api("a", "False")]));
        assert_eq!(answer.status, 1);
        assert_eq!(answer.output, "a: the API x.io does not answer: no endpoints\nb: it is not there\n");
        let away = Answer { status: 7, output: "refused".into() };
        assert_eq!(judged(away.clone(), &["a"]), away);
    }
}
