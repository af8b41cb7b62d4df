//! How admission plugins of the API server are set up: its `AdmissionConfiguration` (apiserver.config.k8s.io/v1; Kubernetes'
//! documentation: "Admission Control in Kubernetes"). Names and meanings of the variables are kubespray's; but a plugin that has
//! something to be set up with gets it, without being asked for a file once more.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::component_file::{API_SERVER, ComponentFile};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kube_apiserver_enable_admission_plugins: Vec<String>,
    kube_apiserver_admission_event_rate_limits: BTreeMap<String, Limit>,
    kube_apiserver_admission_plugins_podnodeselector_default_node_selector: String,
    kube_pod_security_use_default: bool,
    kube_pod_security_default_enforce: String,
    kube_pod_security_default_enforce_version: Option<String>,
    kube_pod_security_default_audit: String,
    kube_pod_security_default_audit_version: Option<String>,
    kube_pod_security_default_warn: String,
    kube_pod_security_default_warn_version: Option<String>,
    kube_pod_security_exemptions_usernames: Vec<String>,
    kube_pod_security_exemptions_runtime_class_names: Vec<String>,
    kube_pod_security_exemptions_namespaces: Vec<String>,
    kube_resource_quota_limited_resources: Vec<Value>,
}

/// How many events of one kind of origin are taken.
#[derive(Deserialize)]
struct Limit {
    #[serde(rename = "type")]
    kind: String,
    qps: u32,
    burst: u32,
    cache_size: Option<u32>,
}

/// The file; `None` where no plugin has anything to be set up with.
pub(super) fn file(vars: &Vars, kube_minor: u32) -> Option<ComponentFile> {
    let enabled =
        |plugin: &str| vars.kube_apiserver_enable_admission_plugins.iter().any(|name| name == plugin);
    let limits = &vars.kube_apiserver_admission_event_rate_limits;
    let selector = &vars.kube_apiserver_admission_plugins_podnodeselector_default_node_selector;
    let mut plugins = Vec::new();
    let mut configure = |name: &str, configuration: Value| {
        plugins.push(json!({ "name": name, "configuration": configuration }))
    };
    if enabled("EventRateLimit") && !limits.is_empty() {
        configure("EventRateLimit", event_rates(limits));
    }
    if enabled("PodNodeSelector") && !selector.is_empty() {
        configure(
            "PodNodeSelector",
            json!({ "podNodeSelectorPluginConfig": { "clusterDefaultNodeSelector": selector } }),
        );
    }
    if vars.kube_pod_security_use_default {
        configure("PodSecurity", pod_security(vars, kube_minor));
    }
    if !vars.kube_resource_quota_limited_resources.is_empty() {
        configure(
            "ResourceQuota",
            json!({
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "ResourceQuotaConfiguration",
                "limitedResources": vars.kube_resource_quota_limited_resources,
            }),
        );
    }
    let text = json!({ "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins });
    let is_needed = !plugins.is_empty();
    is_needed.then(|| ComponentFile::new(API_SERVER, "admission-control-config-file", "admission", &text))
}

fn event_rates(limits: &BTreeMap<String, Limit>) -> Value {
    let of = |limit: &Limit| {
        let mut value = json!({ "type": limit.kind, "qps": limit.qps, "burst": limit.burst });
        if let Some(size) = limit.cache_size {
            value["cacheSize"] = json!(size);
        }
        value
    };
    json!({
        "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
        "kind": "Configuration",
        "limits": limits.values().map(of).collect::<Vec<_>>(),
    })
}

/// What holds in namespaces without labels of their own (Kubernetes' documentation: "Pod Security Admission").
fn pod_security(vars: &Vars, kube_minor: u32) -> Value {
    let version = |given: &Option<String>| given.clone().unwrap_or_else(|| format!("v1.{kube_minor}"));
    json!({
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": {
            "enforce": vars.kube_pod_security_default_enforce,
            "enforce-version": version(&vars.kube_pod_security_default_enforce_version),
            "audit": vars.kube_pod_security_default_audit,
            "audit-version": version(&vars.kube_pod_security_default_audit_version),
            "warn": vars.kube_pod_security_default_warn,
            "warn-version": version(&vars.kube_pod_security_default_warn_version),
        },
        "exemptions": {
            "usernames": vars.kube_pod_security_exemptions_usernames,
            "runtimeClasses": vars.kube_pod_security_exemptions_runtime_class_names,
            "namespaces": vars.kube_pod_security_exemptions_namespaces,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn plugins(yaml: &str) -> Value {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        let file = file(&vars.deserialize().unwrap(), 36);
        file.map_or(Value::Null, |file| {
            serde_json::from_str::<Value>(file.content()).unwrap()["plugins"].clone()
        })
    }

    #[test]
    fn there_is_no_file_where_no_plugin_has_anything_to_say() {
        assert_eq!(plugins(""), Value::Null);
        assert_eq!(plugins("kube_apiserver_enable_admission_plugins: [AlwaysPullImages]"), Value::Null);
    }

    #[test]
    fn events_are_limited_where_the_plugin_is_on() {
        let limits = "kube_apiserver_admission_event_rate_limits:\n  \
                      a: {type: Namespace, qps: 50, burst: 100, cache_size: 2000}\n  b: {type: User, qps: 5, burst: 6}\n";
        assert_eq!(plugins(limits), Value::Null);
        let on = plugins(&format!("{limits}kube_apiserver_enable_admission_plugins: [EventRateLimit]"));
        let expected = json!([
            { "type": "Namespace", "qps": 50, "burst": 100, "cacheSize": 2000 },
            { "type": "User", "qps": 5, "burst": 6 },
        ]);
        assert_eq!(
            (&on[0]["name"], &on[0]["configuration"]["limits"]),
            (&json!("EventRateLimit"), &expected)
        );
    }

    #[test]
    fn namespaces_without_labels_get_the_default_of_pod_security() {
        let on = plugins(
            "kube_pod_security_use_default: true\nkube_pod_security_default_enforce: restricted\n\
             kube_pod_security_default_warn_version: latest\nkube_pod_security_exemptions_usernames: [a]",
        );
        assert_eq!(
            on[0]["configuration"]["defaults"],
            json!({
                "enforce": "restricted", "enforce-version": "v1.36", "audit": "restricted", "audit-version": "v1.36",
                "warn": "restricted", "warn-version": "latest",
            })
        );
        assert_eq!(
            on[0]["configuration"]["exemptions"],
            json!({ "usernames": ["a"], "runtimeClasses": [], "namespaces": ["kube-system"] })
        );
        let on = plugins(
            "kube_pod_security_use_default: true\nkube_pod_security_default_enforce_version: v1.30\n\
             kube_pod_security_default_audit: baseline\nkube_pod_security_default_audit_version: v1.31\n\
             kube_pod_security_default_warn: privileged\nkube_pod_security_exemptions_namespaces: [b]\n\
             kube_pod_security_exemptions_runtime_class_names: [kata]",
        );
        assert_eq!(
            on[0]["configuration"]["defaults"],
            json!({
                "enforce": "baseline", "enforce-version": "v1.30", "audit": "baseline", "audit-version": "v1.31",
                "warn": "privileged", "warn-version": "v1.36",
            })
        );
        assert_eq!(
            on[0]["configuration"]["exemptions"],
            json!({ "usernames": [], "runtimeClasses": ["kata"], "namespaces": ["b"] })
        );
    }

    #[test]
    fn nodes_and_resources_have_their_defaults() {
        let on = plugins(
            "kube_apiserver_enable_admission_plugins: [PodNodeSelector]\n\
             kube_apiserver_admission_plugins_podnodeselector_default_node_selector: network=srv1\n\
             kube_resource_quota_limited_resources: [{apiGroup: '', resource: persistentvolumeclaims}]",
        );
        let selector = &on[0]["configuration"]["podNodeSelectorPluginConfig"]["clusterDefaultNodeSelector"];
        assert_eq!(selector, "network=srv1");
        assert_eq!(on[1]["configuration"]["limitedResources"][0]["resource"], "persistentvolumeclaims");
    }
}
