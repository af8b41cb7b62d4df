//! What variables say to the programs of the control plane: arguments, and files and folders of the machine that they see.
//! Names and meanings of the variables are kubespray's; arguments are those of the programs' own `--help`.

use std::collections::BTreeMap;

use muster_engine::facts::Facts;
use muster_engine::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::component_file::{API_SERVER, SCHEDULER, volume};
use super::config::Files;
use super::{access, scheduler};
use crate::common::{cluster_vars, kube_minor};
use crate::encryption::Encryption;

/// The folder of volume plugins where kubeadm's own cannot be made.
const VOLUME_PLUGINS: &str = "/opt/libexec/kubernetes/kubelet-plugins/volume/exec/";

/// How long an API server that was told to end says that it is not ready and still serves everybody (`--shutdown-delay-duration`
/// of kube-apiserver): longer than load balancers need to lead nobody there any more (`balancer/templates/haproxy.cfg.j2`).
const LEAVE_TAKING: &str = "5s";

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kube_log_level: Option<u32>,
    kube_profiling: bool,
    kube_feature_gates: Vec<String>,
    kube_apiserver_feature_gates: Vec<String>,
    kube_controller_feature_gates: Vec<String>,
    kube_scheduler_feature_gates: Vec<String>,
    tls_min_version: Option<String>,
    tls_cipher_suites: Vec<String>,
    kube_apiserver_enable_admission_plugins: Vec<String>,
    kube_apiserver_disable_admission_plugins: Vec<String>,
    kube_api_runtime_config: Vec<String>,
    event_ttl_duration: Option<String>,
    kube_apiserver_request_timeout: Option<String>,
    kube_apiserver_pod_eviction_not_ready_timeout_seconds: Option<u64>,
    kube_apiserver_pod_eviction_unreachable_timeout_seconds: Option<u64>,
    kube_apiserver_service_account_lookup: bool,
    kube_apiserver_etcd_compaction_interval: Option<String>,
    kube_api_aggregator_routing: bool,
    kubelet_preferred_address_types: Option<String>,
    kubelet_rotate_server_certificates: bool,
    kube_cert_dir: String,
    kube_controller_manager_leader_elect_lease_duration: Option<String>,
    kube_controller_manager_leader_elect_renew_deadline: Option<String>,
    kube_controller_node_monitor_grace_period: Option<String>,
    kube_controller_node_monitor_period: Option<String>,
    kube_controller_terminated_pod_gc_threshold: Option<u64>,
    kube_controller_manager_bind_address: Option<String>,
    kube_scheduler_bind_address: Option<String>,
    kube_kubeadm_apiserver_extra_args: BTreeMap<String, Value>,
    kube_kubeadm_controller_extra_args: BTreeMap<String, Value>,
    kube_kubeadm_scheduler_extra_args: BTreeMap<String, Value>,
    apiserver_extra_volumes: Vec<GivenVolume>,
    controller_manager_extra_volumes: Vec<GivenVolume>,
    scheduler_extra_volumes: Vec<GivenVolume>,
}

/// A file or folder of the machine, as kubespray writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenVolume {
    name: String,
    host_path: String,
    mount_path: String,
    #[serde(default)]
    read_only: bool,
    path_type: Option<String>,
}

/// A file or folder of the machine, as kubeadm takes it (`HostPathMount` of its configuration API, v1beta4).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) host_path: String,
    pub(super) mount_path: String,
    pub(super) read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_type: Option<String>,
}

/// What one program is told beside what kubeadm tells it.
#[derive(Serialize, Default)]
pub(super) struct Component {
    arguments: BTreeMap<String, String>,
    volumes: Vec<Volume>,
}

/// What the three programs are told.
#[derive(Serialize)]
pub(super) struct Components {
    api_server: Component,
    controller_manager: Component,
    scheduler: Component,
}

impl Component {
    fn set(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.arguments.insert(name.to_owned(), value.to_string());
        }
    }

    fn all(&mut self, arguments: impl IntoIterator<Item = (&'static str, String)>) {
        arguments.into_iter().for_each(|(name, value)| self.set(name, Some(value)));
    }

    fn list(&mut self, name: &str, values: &[String]) {
        self.set(name, Some(values.join(",")).filter(|text| !text.is_empty()));
    }

    /// What every one of the programs understands.
    fn common(&mut self, vars: &Vars, own_gates: &[String]) {
        self.set("v", vars.kube_log_level);
        self.set("profiling", (!vars.kube_profiling).then_some(false));
        self.list("feature-gates", &[&vars.kube_feature_gates[..], own_gates].concat());
        self.set("tls-min-version", vars.tls_min_version.as_ref());
        self.list("tls-cipher-suites", &vars.tls_cipher_suites);
    }

    /// What a user says in so many words wins over everything else.
    fn last(&mut self, arguments: BTreeMap<String, Value>, volumes: Vec<GivenVolume>) {
        for (name, value) in arguments {
            self.set(name.trim_start_matches('-'), Some(text_of(&value)));
        }
        self.volumes.extend(volumes.into_iter().map(|given| Volume {
            name: given.name,
            host_path: given.host_path,
            mount_path: given.mount_path,
            read_only: given.read_only,
            path_type: given.path_type,
        }));
    }
}

/// The value of an argument: texts, numbers and booleans as they are, lists with commas.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text_of).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// What the control plane's programs are told on a machine.
///
/// # Errors
/// A variable has a type that it cannot have.
pub(super) fn components(host: &Host, files: &Files) -> Result<Components> {
    let plugins = volume_plugins(host.facts(), kube_minor(&cluster_vars(host)?.kube_version));
    Ok(of(host.vars()?, &host.vars()?, &host.vars()?, files, plugins))
}

/// Where the controller manager looks for volume plugins of the FlexVolume kind, if elsewhere than kubeadm says. Up to 1.35 kubeadm lets
/// its pod make that folder on the machine, in /usr (kubernetes/kubeadm, issue 3318): where nothing can be made there, no controller
/// manager would start.
fn volume_plugins(facts: &Facts, kube_minor: u32) -> Option<&'static str> {
    let is_read_only = facts.readonly.iter().any(|folder| folder == "/usr");
    (is_read_only && kube_minor <= 35).then_some(VOLUME_PLUGINS)
}

fn of(
    vars: Vars,
    access: &access::Vars,
    scheduling: &scheduler::Vars,
    files: &Files,
    volume_plugins: Option<&str>,
) -> Components {
    let (mut api_server, mut controller_manager, mut scheduler): (Component, Component, Component) =
        Default::default();
    api_server.common(&vars, &vars.kube_apiserver_feature_gates);
    controller_manager.common(&vars, &vars.kube_controller_feature_gates);
    scheduler.common(&vars, &vars.kube_scheduler_feature_gates);

    api_server.set("shutdown-delay-duration", Some(LEAVE_TAKING));
    // Without it whoever watches holds up its end until the kubelet kills it, half a minute later, and so the beginning of the next one.
    api_server.set("shutdown-send-retry-after", Some(true));
    // kubeadm enables NodeRestriction, and a list of one's own takes the place of its list.
    let mut plugins = vars.kube_apiserver_enable_admission_plugins.clone();
    if !plugins.is_empty() && !plugins.iter().any(|plugin| plugin == "NodeRestriction") {
        plugins.insert(0, "NodeRestriction".to_owned());
    }
    api_server.list("enable-admission-plugins", &plugins);
    api_server.list("disable-admission-plugins", &vars.kube_apiserver_disable_admission_plugins);
    api_server.list("runtime-config", &vars.kube_api_runtime_config);
    api_server.set("event-ttl", vars.event_ttl_duration.as_ref());
    api_server.set("request-timeout", vars.kube_apiserver_request_timeout.as_ref());
    let (not_ready, unreachable) = (
        vars.kube_apiserver_pod_eviction_not_ready_timeout_seconds,
        vars.kube_apiserver_pod_eviction_unreachable_timeout_seconds,
    );
    api_server.set("default-not-ready-toleration-seconds", not_ready);
    api_server.set("default-unreachable-toleration-seconds", unreachable);
    api_server.set("service-account-lookup", (!vars.kube_apiserver_service_account_lookup).then_some(false));
    api_server.set("etcd-compaction-interval", vars.kube_apiserver_etcd_compaction_interval.as_ref());
    api_server.set("enable-aggregator-routing", vars.kube_api_aggregator_routing.then_some(true));
    api_server.set("kubelet-preferred-address-types", vars.kubelet_preferred_address_types.as_ref());
    if vars.kubelet_rotate_server_certificates {
        api_server.set("kubelet-certificate-authority", Some(format!("{}/ca.crt", vars.kube_cert_dir)));
    }
    api_server.all(access.arguments());
    if let Some(audit) = &files.audit {
        api_server.all(audit.arguments());
        api_server.volumes.extend(audit.volume());
    }
    for (component, name) in [(&mut api_server, API_SERVER), (&mut scheduler, SCHEDULER)] {
        let read: Vec<_> = files.read.iter().filter(|file| file.is_of(name)).collect();
        if !read.is_empty() {
            component.volumes.push(volume(name));
        }
        component.all(read.into_iter().filter_map(|file| Some((file.argument()?, file.path().to_owned()))));
    }
    if let Some((name, path)) = files.encryption.as_ref().map(Encryption::argument) {
        api_server.set(name, Some(path));
    }
    controller_manager
        .set("node-monitor-grace-period", vars.kube_controller_node_monitor_grace_period.as_ref());
    controller_manager.set("node-monitor-period", vars.kube_controller_node_monitor_period.as_ref());
    controller_manager.set("terminated-pod-gc-threshold", vars.kube_controller_terminated_pod_gc_threshold);
    let lease = vars.kube_controller_manager_leader_elect_lease_duration.as_ref();
    controller_manager.set("leader-elect-lease-duration", lease);
    let renewed = vars.kube_controller_manager_leader_elect_renew_deadline.as_ref();
    controller_manager.set("leader-elect-renew-deadline", renewed);
    controller_manager.set("bind-address", vars.kube_controller_manager_bind_address.as_ref());
    controller_manager.set("flex-volume-plugin-dir", volume_plugins);
    scheduler.all(scheduling.arguments());
    scheduler.set("bind-address", vars.kube_scheduler_bind_address.as_ref());

    api_server.last(vars.kube_kubeadm_apiserver_extra_args, vars.apiserver_extra_volumes);
    controller_manager.last(vars.kube_kubeadm_controller_extra_args, vars.controller_manager_extra_volumes);
    scheduler.last(vars.kube_kubeadm_scheduler_extra_args, vars.scheduler_extra_volumes);
    Components { api_server, controller_manager, scheduler }
}

/// `Name=true` as fields of a configuration; a name alone is on.
pub(super) fn gates(lists: [&Vec<String>; 2]) -> serde_json::Map<String, Value> {
    let on = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), json!(value.eq_ignore_ascii_case("true"))),
        None => (text.clone(), json!(true)),
    };
    lists.into_iter().flatten().map(on).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn told(yaml: &str) -> Value {
        told_with(yaml, None)
    }

    fn told_with(yaml: &str, volume_plugins: Option<&str>) -> Value {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        let (access, scheduling) = (vars.deserialize().unwrap(), vars.deserialize().unwrap());
        let files = Files { audit: None, encryption: None, read: Vec::new() };
        json!(of(vars.deserialize().unwrap(), &access, &scheduling, &files, volume_plugins))
    }

    fn arguments(yaml: &str, component: &str) -> Value {
        told(yaml)[component]["arguments"].clone()
    }

    #[test]
    fn nothing_is_said_that_nobody_asked_for() {
        let nothing = json!({ "arguments": {}, "volumes": [] });
        // But that load balancers get the time to lead nobody there any more.
        let api_server = json!({ "arguments": { "shutdown-delay-duration": "5s", "shutdown-send-retry-after": "true" }, "volumes": [] });
        let all = json!({ "api_server": api_server, "controller_manager": nothing, "scheduler": nothing });
        assert_eq!(told(""), all);
    }

    #[test]
    fn every_program_takes_what_is_meant_for_all_and_its_own() {
        let yaml = "kube_log_level: 4\nkube_profiling: false\nkube_feature_gates: [A=true]\n\
                    kube_apiserver_feature_gates: [C]\nkube_scheduler_feature_gates: [B=false]\ntls_min_version: VersionTLS12\ntls_cipher_suites: [X, Y]";
        let common = |gates: &str| {
            json!({
                "feature-gates": gates, "profiling": "false", "tls-cipher-suites": "X,Y",
                "tls-min-version": "VersionTLS12", "v": "4",
            })
        };
        let mut api_server = arguments(yaml, "api_server");
        api_server.as_object_mut().unwrap().retain(|name, _| !name.starts_with("shutdown-"));
        assert_eq!(api_server, common("A=true,C"));
        assert_eq!(arguments(yaml, "controller_manager"), common("A=true"));
        assert_eq!(arguments(yaml, "scheduler"), common("A=true,B=false"));
    }

    #[test]
    fn the_api_server_takes_its_own() {
        let yaml = "kube_apiserver_enable_admission_plugins: [AlwaysPullImages]\n\
                    kube_apiserver_disable_admission_plugins: [DefaultStorageClass]\n\
                    kube_api_runtime_config: [api/all=true]\nevent_ttl_duration: 2h\nkube_apiserver_request_timeout: 90s\n\
                    kube_apiserver_pod_eviction_not_ready_timeout_seconds: 30\n\
                    kube_apiserver_pod_eviction_unreachable_timeout_seconds: 31\n\
                    kube_oidc_auth: true\nkube_oidc_url: https://issuer.example\nkube_oidc_client_id: k\n\
                    kube_oidc_groups_claim: g\nkube_oidc_groups_prefix: 'p:'\nkube_oidc_username_claim: n\n\
                    kube_oidc_username_prefix: 'o:'\nkube_oidc_ca_file: /ca\n\
                    kube_apiserver_service_account_lookup: false\nkube_apiserver_etcd_compaction_interval: 9m\n\
                    kube_api_aggregator_routing: true\nkubelet_preferred_address_types: InternalIP,Hostname\n\
                    kubelet_rotate_server_certificates: true";
        let expected = json!({
            "default-not-ready-toleration-seconds": "30",
            "default-unreachable-toleration-seconds": "31",
            "disable-admission-plugins": "DefaultStorageClass",
            "enable-aggregator-routing": "true",
            "etcd-compaction-interval": "9m",
            "kubelet-certificate-authority": "/etc/kubernetes/ssl/ca.crt",
            "kubelet-preferred-address-types": "InternalIP,Hostname",
            "service-account-lookup": "false",
            "enable-admission-plugins": "NodeRestriction,AlwaysPullImages",
            "event-ttl": "2h",
            "oidc-ca-file": "/ca",
            "oidc-client-id": "k",
            "oidc-groups-claim": "g",
            "oidc-groups-prefix": "p:",
            "oidc-issuer-url": "https://issuer.example",
            "oidc-username-claim": "n",
            "oidc-username-prefix": "o:",
            "request-timeout": "90s",
            "runtime-config": "api/all=true",
            "shutdown-delay-duration": "5s",
            "shutdown-send-retry-after": "true",
        });
        assert_eq!(arguments(yaml, "api_server"), expected);
    }

    #[test]
    fn the_controller_manager_and_the_scheduler_take_their_own() {
        let yaml = "kube_controller_node_monitor_grace_period: 20s\nkube_controller_node_monitor_period: 2s\n\
                    kube_controller_terminated_pod_gc_threshold: 10\nkube_controller_manager_bind_address: 0.0.0.0\n\
                    kube_scheduler_bind_address: 192.0.2.1\nkube_controller_manager_leader_elect_lease_duration: 31s\n\
                    kube_controller_manager_leader_elect_renew_deadline: 21s";
        let expected = json!({
            "leader-elect-lease-duration": "31s", "leader-elect-renew-deadline": "21s",
            "bind-address": "0.0.0.0", "node-monitor-grace-period": "20s", "node-monitor-period": "2s",
            "terminated-pod-gc-threshold": "10",
        });
        assert_eq!(arguments(yaml, "controller_manager"), expected);
        assert_eq!(arguments(yaml, "scheduler"), json!({ "bind-address": "192.0.2.1" }));
    }

    #[test]
    fn what_is_said_in_so_many_words_wins() {
        let yaml = "event_ttl_duration: 2h\nkube_kubeadm_apiserver_extra_args: {event-ttl: 3h, --max-requests-inflight: 9, a: [x, y], shutdown-delay-duration: 20s}\n\
                    kube_kubeadm_controller_extra_args: {b: true}\nkube_kubeadm_scheduler_extra_args: {c: d}\n\
                    scheduler_extra_volumes: [{name: n, hostPath: /h, mountPath: /m, readOnly: true}]\n\
                    controller_manager_extra_volumes: [{name: o, hostPath: /i, mountPath: /j, pathType: File}]";
        let expected = json!({ "a": "x,y", "event-ttl": "3h", "max-requests-inflight": "9", "shutdown-delay-duration": "20s", "shutdown-send-retry-after": "true" });
        assert_eq!(arguments(yaml, "api_server"), expected);
        let volume = json!([{ "name": "o", "hostPath": "/i", "mountPath": "/j", "readOnly": false, "pathType": "File" }]);
        assert_eq!(
            told(yaml)["controller_manager"],
            json!({ "arguments": { "b": "true" }, "volumes": volume })
        );
        let volume = json!([{ "name": "n", "hostPath": "/h", "mountPath": "/m", "readOnly": true }]);
        assert_eq!(told(yaml)["scheduler"], json!({ "arguments": { "c": "d" }, "volumes": volume }));
    }

    #[test]
    fn volume_plugins_are_looked_for_where_a_folder_can_be_made() {
        let plugins = |readonly: &[&str], minor| {
            let readonly = readonly.iter().map(|folder| (*folder).to_owned()).collect();
            let plugins = volume_plugins(&Facts { readonly, ..Facts::default() }, minor);
            told_with("", plugins)["controller_manager"]["arguments"].to_string()
        };
        let moved = r#"{"flex-volume-plugin-dir":"/opt/libexec/kubernetes/kubelet-plugins/volume/exec/"}"#;
        assert_eq!(plugins(&["/usr", "/usr/local/bin"], 35), moved);
        // kubeadm 1.36 asks for no such folder.
        assert_eq!(plugins(&["/usr", "/usr/local/bin"], 36), "{}");
        assert_eq!(plugins(&["/usr/local/bin"], 33), "{}");
        let own =
            told_with("kube_kubeadm_controller_extra_args: {flex-volume-plugin-dir: /own}", Some("/opt"));
        assert_eq!(own["controller_manager"]["arguments"]["flex-volume-plugin-dir"], "/own");
    }
}
