//! What variables say to the programs of the control plane: arguments, and files and folders of the machine that they see.
//! Names and meanings of the variables are kubespray's; arguments are those of the programs' own `--help`.

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::Files;
use crate::encryption::Encryption;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
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
    kube_oidc_auth: bool,
    kube_oidc_url: Option<String>,
    kube_oidc_client_id: Option<String>,
    kube_oidc_ca_file: Option<String>,
    kube_oidc_username_claim: Option<String>,
    kube_oidc_username_prefix: Option<String>,
    kube_oidc_groups_claim: Option<String>,
    kube_oidc_groups_prefix: Option<String>,
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
    Ok(of(host.vars()?, files))
}

fn of(vars: Vars, files: &Files) -> Components {
    let (mut api_server, mut controller_manager, mut scheduler): (Component, Component, Component) =
        Default::default();
    api_server.common(&vars, &vars.kube_apiserver_feature_gates);
    controller_manager.common(&vars, &vars.kube_controller_feature_gates);
    scheduler.common(&vars, &vars.kube_scheduler_feature_gates);

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
    if vars.kube_oidc_auth {
        api_server.set("oidc-issuer-url", vars.kube_oidc_url.as_ref());
        api_server.set("oidc-client-id", vars.kube_oidc_client_id.as_ref());
        api_server.set("oidc-ca-file", vars.kube_oidc_ca_file.as_ref());
        api_server.set("oidc-username-claim", vars.kube_oidc_username_claim.as_ref());
        api_server.set("oidc-username-prefix", vars.kube_oidc_username_prefix.as_ref());
        api_server.set("oidc-groups-claim", vars.kube_oidc_groups_claim.as_ref());
        api_server.set("oidc-groups-prefix", vars.kube_oidc_groups_prefix.as_ref());
    }
    if let Some(audit) = &files.audit {
        for (name, value) in audit.arguments() {
            api_server.set(name, Some(value));
        }
        api_server.volumes.extend(audit.volumes());
    }
    if let Some((name, path)) = files.encryption.as_ref().map(Encryption::argument) {
        api_server.set(name, Some(path));
    }
    controller_manager
        .set("node-monitor-grace-period", vars.kube_controller_node_monitor_grace_period.as_ref());
    controller_manager.set("node-monitor-period", vars.kube_controller_node_monitor_period.as_ref());
    controller_manager.set("terminated-pod-gc-threshold", vars.kube_controller_terminated_pod_gc_threshold);
    controller_manager.set("bind-address", vars.kube_controller_manager_bind_address.as_ref());
    scheduler.set("bind-address", vars.kube_scheduler_bind_address.as_ref());

    api_server.last(vars.kube_kubeadm_apiserver_extra_args, vars.apiserver_extra_volumes);
    controller_manager.last(vars.kube_kubeadm_controller_extra_args, vars.controller_manager_extra_volumes);
    scheduler.last(vars.kube_kubeadm_scheduler_extra_args, vars.scheduler_extra_volumes);
    Components { api_server, controller_manager, scheduler }
}

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct ProxyVars {
    kube_feature_gates: Vec<String>,
    kube_proxy_feature_gates: Vec<String>,
    kube_proxy_strict_arp: bool,
    kube_proxy_scheduler: Option<String>,
    kube_proxy_exclude_cidrs: Vec<String>,
    kube_proxy_nodeport_addresses: Vec<String>,
    kube_proxy_masquerade_all: bool,
    kube_proxy_metrics_bind_address: Option<String>,
}

/// What kube-proxy is told beside its mode: fields of `KubeProxyConfiguration` (kubeproxy.config.k8s.io/v1alpha1).
pub(super) fn kube_proxy(host: &Host) -> Result<serde_json::Map<String, Value>> {
    Ok(proxy_of(&host.vars()?))
}

fn proxy_of(vars: &ProxyVars) -> serde_json::Map<String, Value> {
    let mut ipvs = serde_json::Map::new();
    if vars.kube_proxy_strict_arp {
        ipvs.insert("strictARP".into(), json!(true));
    }
    if let Some(scheduler) = &vars.kube_proxy_scheduler {
        ipvs.insert("scheduler".into(), json!(scheduler));
    }
    if !vars.kube_proxy_exclude_cidrs.is_empty() {
        ipvs.insert("excludeCIDRs".into(), json!(vars.kube_proxy_exclude_cidrs));
    }
    let mut fields = serde_json::Map::new();
    if !ipvs.is_empty() {
        fields.insert("ipvs".into(), Value::Object(ipvs));
    }
    if vars.kube_proxy_masquerade_all {
        fields.insert("iptables".into(), json!({ "masqueradeAll": true }));
    }
    if !vars.kube_proxy_nodeport_addresses.is_empty() {
        fields.insert("nodePortAddresses".into(), json!(vars.kube_proxy_nodeport_addresses));
    }
    if let Some(address) = &vars.kube_proxy_metrics_bind_address {
        fields.insert("metricsBindAddress".into(), json!(address));
    }
    let gates = gates([&vars.kube_feature_gates, &vars.kube_proxy_feature_gates]);
    if !gates.is_empty() {
        fields.insert("featureGates".into(), Value::Object(gates));
    }
    fields
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
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        json!(of(vars.deserialize().unwrap(), &Files { audit: None, encryption: None }))
    }

    fn arguments(yaml: &str, component: &str) -> Value {
        told(yaml)[component]["arguments"].clone()
    }

    #[test]
    fn nothing_is_said_that_nobody_asked_for() {
        let nothing = json!({ "arguments": {}, "volumes": [] });
        let all = json!({ "api_server": nothing, "controller_manager": nothing, "scheduler": nothing });
        assert_eq!(told(""), all);
        assert!(proxy_of(&variables("").deserialize().unwrap()).is_empty());
    }

    #[test]
    fn every_program_takes_what_is_meant_for_all_and_its_own() {
        let yaml = "kube_log_level: 4\nkube_profiling: false\nkube_feature_gates: [A=true]\n\
                    kube_scheduler_feature_gates: [B=false]\ntls_min_version: VersionTLS12\ntls_cipher_suites: [X, Y]";
        let common = |gates: &str| {
            json!({
                "feature-gates": gates, "profiling": "false", "tls-cipher-suites": "X,Y",
                "tls-min-version": "VersionTLS12", "v": "4",
            })
        };
        assert_eq!(arguments(yaml, "api_server"), common("A=true"));
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
                    kube_oidc_username_prefix: 'o:'\nkube_oidc_ca_file: /ca";
        let expected = json!({
            "default-not-ready-toleration-seconds": "30",
            "default-unreachable-toleration-seconds": "31",
            "disable-admission-plugins": "DefaultStorageClass",
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
        });
        assert_eq!(arguments(yaml, "api_server"), expected);
    }

    #[test]
    fn the_controller_manager_and_the_scheduler_take_their_own() {
        let yaml = "kube_controller_node_monitor_grace_period: 20s\nkube_controller_node_monitor_period: 2s\n\
                    kube_controller_terminated_pod_gc_threshold: 10\nkube_controller_manager_bind_address: 0.0.0.0\n\
                    kube_scheduler_bind_address: 192.0.2.1";
        let expected = json!({
            "bind-address": "0.0.0.0", "node-monitor-grace-period": "20s", "node-monitor-period": "2s",
            "terminated-pod-gc-threshold": "10",
        });
        assert_eq!(arguments(yaml, "controller_manager"), expected);
        assert_eq!(arguments(yaml, "scheduler"), json!({ "bind-address": "192.0.2.1" }));
    }

    #[test]
    fn what_is_said_in_so_many_words_wins() {
        let yaml = "event_ttl_duration: 2h\nkube_kubeadm_apiserver_extra_args: {event-ttl: 3h, --max-requests-inflight: 9, a: [x, y]}\n\
                    kube_kubeadm_controller_extra_args: {b: true}\nkube_kubeadm_scheduler_extra_args: {c: d}\n\
                    scheduler_extra_volumes: [{name: n, hostPath: /h, mountPath: /m, readOnly: true}]";
        let expected = json!({ "a": "x,y", "event-ttl": "3h", "max-requests-inflight": "9" });
        assert_eq!(arguments(yaml, "api_server"), expected);
        assert_eq!(arguments(yaml, "controller_manager"), json!({ "b": "true" }));
        let volume = json!([{ "name": "n", "hostPath": "/h", "mountPath": "/m", "readOnly": true }]);
        assert_eq!(told(yaml)["scheduler"], json!({ "arguments": { "c": "d" }, "volumes": volume }));
    }

    #[test]
    fn kube_proxy_takes_its_own() {
        let yaml = "kube_proxy_strict_arp: true\nkube_proxy_scheduler: lc\nkube_proxy_exclude_cidrs: [192.0.2.0/24]\n\
                    kube_proxy_nodeport_addresses: [primary]\nkube_proxy_masquerade_all: true\n\
                    kube_proxy_metrics_bind_address: 0.0.0.0:10249\nkube_proxy_feature_gates: [A=true]";
        let expected = json!({
            "ipvs": { "strictARP": true, "scheduler": "lc", "excludeCIDRs": ["192.0.2.0/24"] },
            "iptables": { "masqueradeAll": true },
            "nodePortAddresses": ["primary"],
            "metricsBindAddress": "0.0.0.0:10249",
            "featureGates": { "A": true },
        });
        assert_eq!(Value::Object(proxy_of(&variables(yaml).deserialize().unwrap())), expected);
    }
}
