//! What the inventory wants of machines, and what a cluster keeps: against the variables as a user writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use muster_engine::event::Event;
use muster_engine::run::Role;
use serde_json::json;

use super::identity::Identity;
use super::standing::Wanted;
use super::tests::{both, member, plane, standing};
use crate::catalogue::CATALOGUE;
use crate::common::cluster_vars;
use crate::preflight::fixture::inventory_and_vars;
use crate::testing::run_roles;

/// Everything that a cluster which lives cannot change, and another value of it.
const FIXED: [(&str, &str); 18] = [
    ("kube_service_addresses", "10.234.0.0/18"),
    ("kube_pods_subnet", "10.235.0.0/16"),
    ("kube_network_node_prefix", "25"),
    ("ipv6_stack", "true"),
    ("dns_domain", "other.local"),
    ("cluster_name", "other.local"),
    ("kube_cert_dir", "/etc/kubernetes/pki"),
    ("kube_ca_cert_validity_period", "8760h"),
    ("containerd_storage_dir", "/srv/containerd"),
    ("containerd_state_dir", "/run/other"),
    ("containerd_snapshotter", "native"),
    ("containerd_use_systemd_cgroup", "false"),
    ("bin_dir", "/opt/bin"),
    ("skydns_server", "10.233.0.9"),
    ("etcd_cert_dir", "/etc/etcd/ssl"),
    ("kube_network_plugin", "calico"),
    ("etcd_data_dir", "/srv/etcd"),
    ("kube_apiserver_port", "8443"),
];

#[tokio::test]
async fn each_variable_that_a_cluster_cannot_change_is_refused_by_its_name() {
    let names: Vec<String> = (0..FIXED.len()).map(|number| format!("h{number}")).collect();
    let mut hosts = "base\n".to_owned();
    for (name, (variable, value)) in names.iter().zip(FIXED) {
        hosts += &format!("{name} {variable}={value}\n");
    }
    let all = format!("base\n{}\n", names.join("\n"));
    let written =
        inventory_and_vars(&format!("{hosts}[kube_control_plane]\n{all}[etcd]\n{all}[kube_node]\n{all}"), "");
    let seen: Arc<Mutex<BTreeMap<String, Wanted>>> = Arc::default();
    let notes = seen.clone();
    let look = Role::given("look", move |host| {
        let wanted = super::wanted(host).unwrap();
        // The machine has joined as `a`, wherever this test runs.
        let wanted = Wanted { node_name: "a".into(), address: None, access: None, ..wanted };
        notes.lock().unwrap().insert(host.name().to_owned(), wanted);
        async { Ok(()) }.boxed()
    });
    let run: Vec<&str> = std::iter::once("base").chain(names.iter().map(String::as_str)).collect();
    let play = json!([{ "name": "Look", "hosts": "all", "roles": ["look"] }]);
    let look = Role { reads: &[super::READS], ..look };
    run_roles(&[look], written, &run, play, std::path::Path::new("/nowhere")).await;
    let seen = seen.lock().unwrap();
    let base = &seen["base"];
    let has = |list: &[(&'static str, &'static str, String)]| {
        list.iter().map(|(key, _, value)| ((*key).to_owned(), value.clone())).collect()
    };
    let runs =
        Identity { begun: has(&base.settled), kept: has(&base.kept), api_port: Some(base.port), ..plane(1) };
    let machines = standing(&[("a", both(runs, member(1, "etcd1")))]);
    let checks = |wanted: &Wanted| -> Vec<String> {
        machines.problems("a", wanted).into_iter().map(|problem| problem.check).collect()
    };
    assert_eq!(checks(base), [""; 0]);
    for (name, (variable, value)) in names.iter().zip(FIXED) {
        let checks = checks(&seen[name]);
        assert!(checks.iter().any(|check| check == variable), "{variable}: {value}: {checks:?}");
    }
    let compared = base.settled.iter().chain(&base.kept).map(|(_, variable, _)| *variable);
    let compared: BTreeSet<&str> = compared.chain(["etcd_data_dir", "kube_apiserver_port"]).collect();
    assert_eq!(compared, FIXED.iter().map(|(variable, _)| *variable).collect());
}

#[tokio::test]
async fn a_cluster_keeps_its_version_where_nobody_asks_for_another_one() {
    let default = CATALOGUE.default_release();
    let runs = CATALOGUE.releases().into_iter().find(|release| *release != default).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let manifest = format!("    image: registry.k8s.io/kube-apiserver:v{runs}\n");
    for (path, content) in [
        ("admin.conf", ""),
        ("ssl/ca.crt", authority),
        ("ssl/ca.key", ""),
        ("kubeadm-init", ""),
        ("manifests/kube-apiserver.yaml", manifest.as_str()),
    ] {
        let path = folder.path().join("a").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    for (asked, has) in [(None, runs), (Some(default), default), (Some(runs), runs)] {
        let hosts = "a ip=192.0.2.1\n[kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\n";
        let yaml = asked.map(|version| format!("kube_version: {version}")).unwrap_or_default();
        let seen = Arc::new(Mutex::new(None::<(String, Vec<String>)>));
        let notes = seen.clone();
        let look = Role::given("look", move |host| {
            let notes = notes.clone();
            async move {
                let known = super::known(host).await?;
                let problems = known.problems_of_set_up(host.name(), &super::wanted(host)?);
                let checks = problems.into_iter().map(|problem| problem.check).collect();
                *notes.lock().unwrap() = Some((cluster_vars(host)?.kube_version, checks));
                Ok(())
            }
            .boxed()
        });
        let play = json!([{ "name": "Look", "hosts": "a", "roles": ["look"] }]);
        let written = inventory_and_vars(hosts, &yaml);
        let look = Role { reads: &[super::READS], ..look };
        let (outcome, events) = run_roles(&[look], written, &["a"], play, folder.path()).await;
        assert!(outcome["a"].failure.is_none(), "{outcome:?}");
        let (version, checks) = seen.lock().unwrap().take().unwrap();
        assert_eq!(version, has, "{asked:?}");
        assert_eq!(checks.iter().any(|check| check == "kube_version"), has != runs, "{asked:?}: {checks:?}");
        let told = events.iter().filter(|event| match event {
            Event::Warning { text, .. } => {
                text.starts_with(&format!(
                    "kube_version is not set: the cluster keeps its {runs} ({default} is the default of new clusters; upgrade-cluster"
                )) && text.ends_with(&format!(" kube_version: {runs}"))
            }
            _ => false,
        });
        assert_eq!(told.count(), usize::from(asked.is_none()), "{asked:?}: {events:?}");
    }
}
