//! What a kubelet of others really runs with (the file that it was started with, its flags, and how it counts what pods use), beside
//! what muster would have it run with. With another configuration it restarts and rejects pods that it has taken, or restarts them all.

use std::net::Ipv4Addr;

use muster_engine::prelude::*;
use serde_json::{Value, json};

use super::OF_HOST;
use super::compared::{differs, is_same, is_unset};
use super::living::refused;
use crate::cluster::Standing;
use crate::kubeadm;
use crate::objects::parsed;

/// Fields that say nothing of what the kubelet does, and those that are looked at by themselves.
const TOLD_ELSEWHERE: [&str; 9] = [
    "apiVersion",
    "kind",
    "clusterDNS",
    // The domain of names and the container engine are compared by themselves.
    "clusterDomain",
    "containerRuntimeEndpoint",
    "resolvConf",
    "cgroupDriver",
    // muster sets it where it means something.
    "failCgroupV1",
    // Where its own use is counted.
    "kubeletCgroups",
];

/// What Kubernetes takes where nothing is said (`SetDefaults_KubeletConfiguration`), of the fields that kubeadm, kubespray and muster
/// write down.
const USUAL: [(&str, &str); 13] = [
    ("failSwapOn", "true"),
    ("maxPods", "110"),
    ("nodeStatusUpdateFrequency", "10s"),
    ("containerLogMaxFiles", "5"),
    ("containerLogMaxSize", "10Mi"),
    ("podPidsLimit", "-1"),
    ("eventRecordQPS", "50"),
    ("maxParallelImagePulls", "1"),
    ("imageGCHighThresholdPercent", "85"),
    ("imageGCLowThresholdPercent", "80"),
    ("readOnlyPort", "0"),
    ("address", "0.0.0.0"),
    ("serializeImagePulls", "true"),
];

/// The variables of fields, and whether all kubelets have what a control plane's variable says.
const VARIABLES: [(&str, &str, bool); 21] = [
    ("maxPods", "kubelet_max_pods", true),
    ("failSwapOn", "kubelet_fail_swap_on", true),
    ("evictionHard", "eviction_hard", true),
    ("imageGCHighThresholdPercent", "kubelet_image_gc_high_threshold", true),
    ("imageGCLowThresholdPercent", "kubelet_image_gc_low_threshold", true),
    ("address", "kubelet_bind_address", false),
    ("containerLogMaxFiles", "kubelet_logfiles_max_nr", false),
    ("containerLogMaxSize", "kubelet_logfiles_max_size", false),
    ("cpuManagerPolicy", "kubelet_cpu_manager_policy", false),
    ("eventRecordQPS", "kubelet_event_record_qps", false),
    ("evictionSoft", "eviction_soft", false),
    ("evictionSoftGracePeriod", "eviction_soft_grace_period", false),
    ("makeIPTablesUtilChains", "kubelet_make_iptables_util_chains", false),
    ("maxParallelImagePulls", "kubelet_max_parallel_image_pulls", false),
    ("nodeStatusUpdateFrequency", "kubelet_status_update_frequency", false),
    ("podPidsLimit", "kubelet_pod_pids_limit", false),
    ("readOnlyPort", "kube_read_only_port", false),
    ("seccompDefault", "kubelet_seccomp_default", false),
    ("shutdownGracePeriod", "kubelet_shutdown_grace_period", false),
    ("shutdownGracePeriodCriticalPods", "kubelet_shutdown_grace_period_critical_pods", false),
    ("topologyManagerPolicy", "kubelet_topology_manager_policy", false),
];

/// Words as arguments: `--name=value`, also where the value stands behind the name.
pub(super) fn joined<'w>(words: impl Iterator<Item = &'w str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        match all.last_mut().filter(|last| last.starts_with('-') && !word.starts_with('-')) {
            Some(flag) => *flag = format!("{flag}={word}"),
            None => all.push(word.to_owned()),
        }
    }
    all
}

/// What muster would have the kubelet of a machine run with: what kubeadm says by itself, what the cluster has for all, what the
/// machine has besides, and `kubeadm_patches`. `certificates`: the folder of the cluster's.
///
/// # Errors
/// A variable is missing or wrong.
pub(super) fn wanted(host: &Host, known: &Standing, certificates: &str) -> Result<Value> {
    let mut all = of_kubeadm(certificates);
    for text in kubeadm::kubelet_configuration(host, known)? {
        merge(&mut all, parsed::<Value>(&text).ok().and_then(|mut all| all.pop()).unwrap_or_default());
    }
    let patches = host.all_vars().get("kubeadm_patches")?.map(|value| value.to_json()).unwrap_or_default();
    let is_merged = |patch: &&Value| patch["target"] == "kubeletconfiguration" && patch["type"] != "json";
    for patch in patches.as_array().into_iter().flatten().filter(is_merged) {
        merge(&mut all, patch["patch"].clone());
    }
    Ok(all)
}

/// What kubeadm says where nobody says anything (`componentconfigs/kubelet.go`).
fn of_kubeadm(certificates: &str) -> Value {
    json!({
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": format!("{certificates}/ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "rotateCertificates": true,
        "staticPodPath": "/etc/kubernetes/manifests",
    })
}

/// A JSON merge patch (RFC 7386).
fn merge(document: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *document = patch;
        return;
    };
    if !document.is_object() {
        *document = json!({});
    }
    for (name, value) in patch {
        match value {
            Value::Null => drop(document.as_object_mut().and_then(|fields| fields.remove(&name))),
            value => merge(&mut document[name.as_str()], value),
        }
    }
}

/// Whether two values say the same; fields that are not set may be missing.
fn are_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(fields), Value::Object(others)) => {
            let mut names = fields.keys().chain(others.keys());
            names.all(|name| are_same(&one[name.as_str()], &other[name.as_str()]))
        }
        (Value::Array(items), Value::Array(others)) => {
            items.len() == others.len() && items.iter().zip(others).all(|(one, other)| are_same(one, other))
        }
        _ if is_unset(one) || is_unset(other) => is_unset(one) && is_unset(other),
        _ => is_same(&text(one), &text(other)),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Settings of a kubelet that it would not have any more, or would have though it has them not. `name`: the machine; `own`: its address.
pub(super) fn problems(name: &str, own: &str, living: &Value, wanted: &Value) -> Vec<Problem> {
    let names = [living, wanted].into_iter().filter_map(Value::as_object).flat_map(|fields| fields.keys());
    let mut names: Vec<&str> =
        names.map(String::as_str).filter(|field| !TOLD_ELSEWHERE.contains(field)).collect();
    names.sort_unstable();
    names.dedup();
    let or_usual = |document: &Value, field: &str| {
        let usual = USUAL.iter().find(|(known, _)| *known == field);
        let usual = usual.map(|(_, usual)| serde_json::from_str(usual).unwrap_or_else(|_| json!(usual)));
        match (&document[field], usual) {
            // kubeadm writes spans of time that it does not set as 0s.
            (value, Some(usual)) if value.is_null() || value.is_string() && is_unset(value) => usual,
            (value, _) => value.clone(),
        }
    };
    let pulls_alike =
        are_same(&or_usual(living, "maxParallelImagePulls"), &or_usual(wanted, "maxParallelImagePulls"));
    let mut problems = Vec::new();
    for field in names {
        let (has, will) = (or_usual(living, field), or_usual(wanted, field));
        // Here a zero says something: no limit, say.
        let is_same = match (&has, &will) {
            (Value::Number(_), Value::Number(_) | Value::Null) | (Value::Null, Value::Number(_)) => {
                has == will
            }
            _ => are_same(&has, &will),
        };
        // One that tolerates swap starts also where there is none. Several images at a time say themselves that they are not pulled one
        // after the other.
        let is_harmless = field == "failSwapOn" && text(&will) == "false"
            || field == "serializeImagePulls" && living[field].is_null() && pulls_alike;
        if !is_same && !is_harmless {
            problems.push(differing(name, own, field, &has, &will));
        }
    }
    problems.extend(names_elsewhere(name, living, wanted));
    problems.extend(other_resolv_conf(living, wanted));
    problems
}

fn differing(name: &str, own: &str, field: &str, has: &Value, will: &Value) -> Problem {
    let variable = VARIABLES.iter().find(|(known, ..)| *known == field);
    let check = variable.map_or("kubelet_config_extra_args", |(_, variable, _)| *variable);
    let says_nothing = |value: &Value| !value.is_number() && is_unset(value);
    let instead = if says_nothing(will) {
        "none in the inventory".to_owned()
    } else {
        format!("{will} in the inventory")
    };
    if says_nothing(has) {
        return refused(
            check,
            format!("the kubelet of {name} has no {field}, and {instead}"),
            "the settings that it has: with less room, say, it would reject pods that run",
            "take that out of the inventory until the cluster is adopted",
        );
    }
    let of_file = format!("kubelet_config_extra_args: {{{field}: {has}}}");
    let remedy = match variable {
        // It is another one on each machine.
        Some((_, variable, _)) if field == "address" && has.as_str() == Some(own) => {
            format!("set {variable}: \"{{{{ ip }}}}\"")
        }
        // The machine's own swap follows this variable.
        Some((_, variable, _)) if field == "failSwapOn" => format!("set {variable}: {}", text(has)),
        Some((_, variable, true)) => {
            format!(
                "set {variable}: {has}, or of this host alone, where others have another value: {of_file}"
            )
        }
        Some((_, variable, false)) => {
            format!("set {variable}: {has}{OF_HOST}")
        }
        None => format!(
            "set {of_file}, of this host alone where others have another value, or the variable that stands for it (muster docs vars)"
        ),
    };
    refused(
        check,
        format!("the kubelet of {name} has {field}: {has}, {instead}"),
        "the settings that it has",
        remedy,
    )
}

/// Pods that run ask for names where they were told to, also at a cache that each machine has at the same address.
fn names_elsewhere(name: &str, living: &Value, wanted: &Value) -> Option<Problem> {
    let caches = |document: &Value| {
        let all = document["clusterDNS"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let all =
            all.filter(|address| address.parse::<Ipv4Addr>().is_ok_and(|address| address.is_link_local()));
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    let (has, will) = (caches(living), caches(wanted));
    let lost = has.into_iter().find(|address| !will.contains(address))?;
    let instead = will.first().map_or("the service of names", String::as_str);
    Some(refused(
        "nodelocaldns_ip",
        format!("pods on {name} ask for names at {lost}, and would at {instead}"),
        "the address that pods were told",
        format!(
            "set enable_nodelocaldns: true and nodelocaldns_ip: {lost}; if a cache of somebody else's answers there that is to stay: \
             kubelet_config_extra_args: {{clusterDNS: [{lost}]}}"
        ),
    ))
}

/// The file with the servers of names that pods get is one of somebody's own.
fn other_resolv_conf(living: &Value, wanted: &Value) -> Option<Problem> {
    let usual = ["", "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
    let has =
        living["resolvConf"].as_str().filter(|has| !usual.contains(has) && wanted["resolvConf"] != **has)?;
    Some(differs("kube_resolv_conf", wanted["resolvConf"].as_str().unwrap_or_default(), has))
}

/// That pods are in cgroups which another driver has made than muster's containers would have: the kubelet would not find its own any
/// more, and would restart all of them. `drivers`: those whose cgroups are on the machine; since Kubernetes 1.34 the container engine
/// has the last word, whatever the kubelet's file says.
pub(super) fn cgroups(name: &str, drivers: &[String], living: &Value, wanted: &Value) -> Option<Problem> {
    let of = |document: &Value| document["cgroupDriver"].as_str().unwrap_or("cgroupfs").to_owned();
    let has = match drivers {
        [driver] => driver.clone(),
        _ => of(living),
    };
    let will = of(wanted);
    (has != will).then(|| {
        refused(
            "containerd_use_systemd_cgroup",
            format!("pods on {name} are in cgroups of {has}, and would be in those of {will}"),
            "the driver that the node has: with another one all its pods restart",
            format!("set containerd_use_systemd_cgroup: {}", has == "systemd"),
        )
    })
}

/// That swap, which the machine uses, would be switched off under its pods.
pub(super) fn swap(name: &str, swaps: &[String], is_switched_off: bool) -> Option<Problem> {
    (is_switched_off && !swaps.is_empty()).then(|| {
        refused(
            "kubelet_fail_swap_on",
            format!("{name} swaps to {}, and would not any more", swaps.join(", ")),
            "the memory that its pods have: with less of it some may be killed",
            "set kubelet_fail_swap_on: false, or switch swap off yourself before, when no pod needs it: swapoff -a",
        )
    })
}

/// Whether the kubelet's file will say what a flag says.
pub(super) fn is_in_file(flag: &str, value: &str, wanted: &Value) -> bool {
    let will = &wanted[field(flag).as_str()];
    !will.is_null() && is_same(&text(will), value)
}

/// The variable that stands for a flag, and the line to write; `None` where only the flag itself does.
pub(super) fn of_flag(flag: &str, value: &str) -> Option<(&'static str, String)> {
    if flag == "--node-ip" {
        return Some((
            "ip",
            format!(
                "set ip={value} of that host in the inventory, or take the flag away if that is not the node's address"
            ),
        ));
    }
    if flag == "--cgroup-driver" {
        let variable = "containerd_use_systemd_cgroup";
        return Some((variable, format!("set {variable}: {}", value == "systemd")));
    }
    let field = field(flag);
    let (_, variable, _) = VARIABLES.iter().find(|(known, ..)| *known == field)?;
    Some((variable, format!("set {variable}: {value}")))
}

/// The field of the kubelet's file that most flags have: `failSwapOn` for `--fail-swap-on`.
fn field(flag: &str) -> String {
    let mut words = flag.trim_start_matches('-').split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| {
        let (head, tail) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        format!("{all}{}{tail}", head.to_uppercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [(String, String); 0] = [];

    /// As `kubeadm init` writes it (1.36).
    const BY_KUBEADM: &str = r#"
apiVersion: kubelet.config.k8s.io/v1beta1
authentication: {anonymous: {enabled: false}, webhook: {cacheTTL: 0s, enabled: true}, x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}}
authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s}}
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
imageMinimumGCAge: 0s
kind: KubeletConfiguration
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
memorySwap: {}
resolvConf: /run/systemd/resolve/resolv.conf
rotateCertificates: true
shutdownGracePeriod: 0s
staticPodPath: /etc/kubernetes/manifests
syncFrequency: 0s
"#;

    /// As kubespray (v2.31) writes it, without reservations.
    const BY_KUBESPRAY: &str = r#"
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
nodeStatusUpdateFrequency: "10s"
failSwapOn: True
authentication: {anonymous: {enabled: false}, webhook: {enabled: True}, x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}}
authorization: {mode: Webhook}
staticPodPath: /etc/kubernetes/manifests
cgroupDriver: systemd
containerLogMaxFiles: 5
containerLogMaxSize: 10Mi
containerRuntimeEndpoint : unix:///var/run/containerd/containerd.sock
maxPods: 110
podPidsLimit: -1
address: "0.0.0.0"
readOnlyPort: 0
healthzPort: 10248
healthzBindAddress: "127.0.0.1"
kubeletCgroups: /system.slice/kubelet.service
clusterDomain: cluster.local
rotateCertificates: true
clusterDNS:
- 169.254.25.10
resolvConf: "/etc/resolv.conf"
eventRecordQPS: 50
maxParallelImagePulls: 1
"#;

    fn document(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap()
    }

    /// What muster says by itself, with this besides.
    fn will(more: Value) -> Value {
        let mut all = of_kubeadm("/etc/kubernetes/pki");
        let shared = json!({ "cgroupDriver": "systemd", "clusterDNS": ["169.254.25.10", "10.233.0.3"], "maxPods": 110, "failSwapOn": true,
                             "rotateCertificates": true, "imageGCHighThresholdPercent": 85, "imageGCLowThresholdPercent": 80,
                             "resolvConf": "/etc/resolv.conf" });
        merge(&mut all, shared);
        merge(&mut all, more);
        all
    }

    /// Of kubeadm's file with this besides.
    fn lost(living: Value, more: Value) -> Vec<(String, String)> {
        let mut has = document(BY_KUBEADM);
        merge(&mut has, living);
        let all = problems("node1", "192.0.2.4", &has, &will(more));
        all.into_iter().map(|problem| (problem.found, problem.remedy)).collect()
    }

    #[test]
    fn what_kubeadm_and_kubespray_write_down_is_not_lost() {
        assert_eq!(lost(json!({}), json!({})), NOTHING);
        let as_kubeadm = json!({ "nodeStatusUpdateFrequency": "0s" });
        assert_eq!(lost(as_kubeadm, json!({ "nodeStatusUpdateFrequency": "10s" })), NOTHING);
        assert!(problems("node1", "192.0.2.4", &document(BY_KUBESPRAY), &will(json!({}))).is_empty());
    }

    #[test]
    fn settings_of_a_kubelet_that_would_be_lost_are_told_with_the_variable() {
        for (living, found, remedy) in [
            (
                json!({ "maxPods": 250 }),
                "maxPods: 250, 110 in the inventory",
                "set kubelet_max_pods: 250, or",
            ),
            (
                json!({ "failSwapOn": false }),
                "failSwapOn: false, true in the inventory",
                "set kubelet_fail_swap_on: false",
            ),
            (
                json!({ "kubeReserved": { "cpu": "1" } }),
                "kubeReserved: ",
                "set kubelet_config_extra_args: {kubeReserved: {\"cpu\":\"1\"}}",
            ),
            (
                json!({ "evictionHard": { "memory.available": "1Gi" } }),
                "evictionHard: ",
                "set eviction_hard: {\"memory.available\":\"1Gi\"}",
            ),
            (json!({ "eventRecordQPS": 0 }), "eventRecordQPS: 0", "set kubelet_event_record_qps: 0"),
            (
                json!({ "address": "192.0.2.4" }),
                "address: \"192.0.2.4\"",
                "set kubelet_bind_address: \"{{ ip }}\"",
            ),
            (
                json!({ "authentication": { "anonymous": { "enabled": true } } }),
                "authentication: ",
                "set kubelet_config_extra_args: {auth",
            ),
            (
                json!({ "logging": { "format": "json" } }),
                "logging: ",
                "set kubelet_config_extra_args: {logging",
            ),
        ] {
            let told = lost(living.clone(), json!({}));
            assert_eq!(told.len(), 1, "{living}: {told:?}");
            assert!(told[0].0.starts_with(&format!("the kubelet of node1 has {found}")), "{told:?}");
            assert!(told[0].1.starts_with(remedy), "{told:?}");
            // What the inventory says as well is not lost.
            assert_eq!(lost(living.clone(), living), NOTHING);
        }
        let told = lost(json!({ "resolvConf": "/etc/own.conf" }), json!({}));
        assert!(told.len() == 1 && told[0].1 == "set kube_resolv_conf: /etc/own.conf", "{told:?}");
    }

    #[test]
    fn settings_that_the_kubelet_has_not_are_told_too() {
        let told = lost(json!({}), json!({ "kubeReserved": { "memory": "4Gi" } }));
        assert!(
            told.len() == 1 && told[0].0.starts_with("the kubelet of node1 has no kubeReserved"),
            "{told:?}"
        );
        let told = lost(json!({}), json!({ "maxPods": 60 }));
        assert!(told.len() == 1 && told[0].1.starts_with("set kubelet_max_pods: 110, or"), "{told:?}");
        // One that tolerates swap does so where there is none.
        assert_eq!(lost(json!({}), json!({ "failSwapOn": false })), NOTHING);
        let several = json!({ "maxParallelImagePulls": 5, "serializeImagePulls": false });
        assert_eq!(lost(json!({ "maxParallelImagePulls": 5 }), several), NOTHING);
    }

    #[test]
    fn an_address_at_which_pods_ask_for_names_does_not_go() {
        let told = lost(json!({ "clusterDNS": ["169.254.20.10"] }), json!({}));
        assert!(
            told.len() == 1 && told[0].0.ends_with("at 169.254.20.10, and would at 169.254.25.10"),
            "{told:?}"
        );
        assert!(told[0].1.contains("nodelocaldns_ip: 169.254.20.10"), "{told:?}");
        assert_eq!(
            lost(json!({ "clusterDNS": ["169.254.20.10"] }), json!({ "clusterDNS": ["169.254.20.10"] })),
            []
        );
    }

    #[test]
    fn the_driver_of_cgroups_is_that_of_those_that_are_there() {
        let driver = |driver: &str| json!({ "cgroupDriver": driver });
        let told = |drivers: &[&str], living: Value| {
            let drivers: Vec<String> = drivers.iter().map(|driver| (*driver).to_owned()).collect();
            cgroups("node1", &drivers, &living, &driver("systemd")).map(|problem| problem.remedy)
        };
        let refused = Some("set containerd_use_systemd_cgroup: false".to_owned());
        assert_eq!(told(&["cgroupfs"], driver("systemd")), refused, "the engine has the last word");
        assert_eq!(told(&["systemd"], driver("cgroupfs")), None);
        // Those of a former driver may be left.
        assert_eq!(told(&["cgroupfs", "systemd"], driver("systemd")), None);
        assert_eq!(told(&[], driver("cgroupfs")), refused);
        assert_eq!(told(&[], json!({})), refused, "what a kubelet does that is told nothing");
    }

    #[test]
    fn swap_that_is_in_use_stays() {
        let swaps = ["/dev/sdb".to_owned()];
        let told = swap("node1", &swaps, true).unwrap();
        assert!(
            told.found.contains("/dev/sdb") && told.remedy.contains("kubelet_fail_swap_on: false"),
            "{told:?}"
        );
        assert!(swap("node1", &swaps, false).is_none() && swap("node1", &[], true).is_none());
    }

    #[test]
    fn a_flag_may_have_its_value_behind_it() {
        let words = ["KUBELET_KUBEADM_ARGS=", "--v", "4", "--node-ip=192.0.2.4", "", "--a"];
        assert_eq!(
            joined(words.into_iter()),
            ["KUBELET_KUBEADM_ARGS=", "--v=4", "--node-ip=192.0.2.4", "--a"]
        );
    }
}
