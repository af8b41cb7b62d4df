//! What a cluster of kubeadm's is told that the inventory does not say: it would be lost with an adoption, and so is refused with the
//! variable that keeps it. Functions of documents in the form of kubeadm's configuration (kubeadm.k8s.io/v1beta3 and v1beta4).

use std::collections::BTreeMap;

use muster_engine::prelude::Problem;
use serde_json::Value;

/// The programs of a control plane: the name of its container, its part of kubeadm's configuration, the variable for arguments, and
/// the arguments that kubeadm gives by itself.
const COMPONENTS: [(&str, &str, &str, &[&str]); 3] = [
    (
        "kube-apiserver",
        "apiServer",
        "kube_kubeadm_apiserver_extra_args",
        &[
            "advertise-address",
            "allow-privileged",
            "authorization-mode",
            "client-ca-file",
            "enable-admission-plugins",
            "enable-bootstrap-token-auth",
            "etcd-cafile",
            "etcd-certfile",
            "etcd-keyfile",
            "etcd-servers",
            "kubelet-client-certificate",
            "kubelet-client-key",
            "kubelet-preferred-address-types",
            "proxy-client-cert-file",
            "proxy-client-key-file",
            "requestheader-allowed-names",
            "requestheader-client-ca-file",
            "requestheader-extra-headers-prefix",
            "requestheader-group-headers",
            "requestheader-username-headers",
            "secure-port",
            "service-account-issuer",
            "service-account-key-file",
            "service-account-signing-key-file",
            "service-cluster-ip-range",
            "tls-cert-file",
            "tls-private-key-file",
        ],
    ),
    (
        "kube-controller-manager",
        "controllerManager",
        "kube_kubeadm_controller_extra_args",
        &[
            "allocate-node-cidrs",
            "authentication-kubeconfig",
            "authorization-kubeconfig",
            "bind-address",
            "client-ca-file",
            "cluster-cidr",
            "cluster-name",
            "cluster-signing-cert-file",
            "cluster-signing-key-file",
            "controllers",
            "kubeconfig",
            "leader-elect",
            "node-cidr-mask-size",
            "requestheader-client-ca-file",
            "root-ca-file",
            "service-account-private-key-file",
            "service-cluster-ip-range",
            "use-service-account-credentials",
        ],
    ),
    (
        "kube-scheduler",
        "scheduler",
        "kube_kubeadm_scheduler_extra_args",
        &[
            "authentication-kubeconfig",
            "authorization-kubeconfig",
            "bind-address",
            "kubeconfig",
            "leader-elect",
        ],
    ),
];

/// What kubespray writes down though it is what the programs do anyway (their `--help`), or though it does nothing here.
const SAID_NEEDLESSLY: [(&str, &str); 18] = [
    ("allow-privileged", "true"),
    ("anonymous-auth", "true"),
    ("authorization-mode", "Node,RBAC"),
    ("configure-cloud-routes", "false"),
    ("config", "/etc/kubernetes/kubescheduler-config.yaml"),
    ("default-not-ready-toleration-seconds", "300"),
    ("default-unreachable-toleration-seconds", "300"),
    ("enable-aggregator-routing", "false"),
    ("endpoint-reconciler-type", "lease"),
    ("etcd-compaction-interval", "5m0s"),
    ("event-ttl", "1h0m0s"),
    ("leader-elect-lease-duration", "15s"),
    ("leader-elect-renew-deadline", "10s"),
    ("node-monitor-period", "5s"),
    ("request-timeout", "1m0s"),
    ("service-account-lookup", "true"),
    ("storage-backend", "etcd3"),
    ("terminated-pod-gc-threshold", "12500"),
];

/// Whether an argument says nothing. `networks`: those that the cluster was begun with, which are compared by themselves.
fn says_nothing(component: &str, name: &str, value: &str, networks: &Value) -> bool {
    let of_network = match name {
        "service-cluster-ip-range" => &networks["serviceSubnet"],
        "cluster-cidr" => &networks["podSubnet"],
        _ => &Value::Null,
    };
    // How many API servers there are counts for another way to find them than `lease`; an IPv6 socket takes IPv4, too.
    name == "apiserver-count"
        || component == "kube-apiserver" && name == "bind-address" && ["::", "0.0.0.0"].contains(&value)
        || of_network == value
        || name == "node-cidr-mask-size-ipv4"
        || SAID_NEEDLESSLY.iter().any(|(known, usual)| *known == name && usual.eq_ignore_ascii_case(value))
}

/// What keeps a value: the variable, with what stands in the inventory and what the cluster has.
pub(super) fn differs(variable: &str, inventory: &str, living: &str) -> Problem {
    let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
    Problem {
        check: variable.into(),
        found: format!("{} in the inventory, and the cluster runs with {}", shown(inventory), shown(living)),
        needed: "what the cluster has: an adoption changes none of it".into(),
        remedy: format!("set {variable}: {living}"),
    }
}

/// The arguments that a configuration gives to a program: a list of names and values, or a mapping in older ones.
pub(super) fn extra_args(config: &Value, part: &str) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match &config[part]["extraArgs"] {
        Value::Array(list) => list.iter().map(|arg| (text(&arg["name"]), text(&arg["value"]))).collect(),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        _ => BTreeMap::new(),
    }
}

/// Arguments of the programs of a control plane that they would not have any more. `has`: lines `COMPONENT --NAME=VALUE` of the
/// manifests; `asked`, `wanted`: kubeadm's configuration as it is, and as it would be.
pub(super) fn arguments(has: &[String], asked: &Value, wanted: &Value) -> Vec<Problem> {
    let lost = |line: &String| {
        let (component, argument) = line.split_once(" --")?;
        let (name, value) = argument.split_once('=').unwrap_or((argument, "true"));
        let (_, part, variable, own) = COMPONENTS.iter().find(|(known, ..)| *known == component)?;
        let will = extra_args(wanted, part);
        let is_kubeadms = own.contains(&name) && !extra_args(asked, part).contains_key(name);
        let stays = match will.get(name) {
            Some(will) => will.eq_ignore_ascii_case(value),
            None => is_kubeadms || says_nothing(component, name, value, &asked["networking"]),
        };
        if stays {
            return None;
        }
        let will = will
            .get(name)
            .map_or_else(|| "none in the inventory".to_owned(), |will| format!("{will} in the inventory"));
        Some(Problem {
            check: (*variable).into(),
            found: format!("{component} runs with --{name}={value}, {will}"),
            needed: "the arguments that it has".into(),
            remedy: format!(
                "add to {variable}: {{{name}: {value:?}}}, or set the variable that stands for it (muster docs vars)"
            ),
        })
    };
    has.iter().filter_map(lost).collect()
}

/// The arguments that kubeadm gives to etcd by itself.
const OF_ETCD: [&str; 28] = [
    "advertise-client-urls",
    "cert-file",
    "client-cert-auth",
    "data-dir",
    "experimental-initial-corrupt-check",
    "experimental-watch-progress-notify-interval",
    "feature-gates",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "key-file",
    "listen-client-http-urls",
    "listen-client-urls",
    "listen-metrics-urls",
    "listen-peer-urls",
    "name",
    "peer-cert-file",
    "peer-client-cert-auth",
    "peer-key-file",
    "peer-skip-client-san-verification",
    "peer-trusted-ca-file",
    "proxy",
    "snapshot-count",
    "strict-reconfig-check",
    "trusted-ca-file",
    "unsafe-no-fsync",
    "watch-progress-notify-interval",
];

/// What kubespray tells etcd though etcd does it anyway.
const USUAL_OF_ETCD: [(&str, &str); 5] = [
    ("log-level", "info"),
    ("max-request-bytes", "1572864"),
    ("max-snapshots", "5"),
    ("max-wals", "5"),
    ("metrics", "basic"),
];

/// The settings that muster always writes, and their variables.
const WRITTEN_FOR_ETCD: [(&str, &str); 4] = [
    ("heartbeat-interval", "etcd_heartbeat_interval"),
    ("election-timeout", "etcd_election_timeout"),
    ("quota-backend-bytes", "etcd_quota_backend_bytes"),
    ("auto-compaction-retention", "etcd_compaction_retention"),
];

/// Arguments of etcd that it would not have any more; a quota, say, without which a large database could not be written. `will`: its
/// environment, as muster gives it.
pub(super) fn etcd(has: &[String], will: &BTreeMap<String, String>) -> Vec<Problem> {
    let lost = |line: &String| {
        let (name, value) = line.strip_prefix("etcd --")?.split_once('=')?;
        let variable = format!("ETCD_{}", name.to_uppercase().replace('-', "_"));
        let is_usual = USUAL_OF_ETCD.contains(&(name, value)) && !will.contains_key(&variable);
        if OF_ETCD.contains(&name) || is_usual || will.get(&variable).is_some_and(|will| will == value) {
            return None;
        }
        if let Some((_, written)) = WRITTEN_FOR_ETCD.iter().find(|(known, _)| *known == name) {
            let will = will.get(&variable).map(String::as_str).unwrap_or_default();
            return Some(differs(written, will, value));
        }
        Some(Problem {
            check: "etcd_extra_vars".into(),
            found: format!("etcd runs with --{name}={value}, and would not any more"),
            needed: "the arguments that it has".into(),
            remedy: format!(
                "add to etcd_extra_vars: {{{variable}: {value:?}}}, or set the variable that stands for it (muster docs vars)"
            ),
        })
    };
    has.iter().filter_map(lost).collect()
}

/// The fields of a kubelet's configuration that say nothing, or what kubeadm and Kubernetes say by themselves.
const OF_KUBEADM: [&str; 15] = [
    "apiVersion",
    "kind",
    "authentication",
    "authorization",
    "clusterDNS",
    "clusterDomain",
    "containerRuntimeEndpoint",
    "healthzBindAddress",
    "healthzPort",
    "resolvConf",
    "rotateCertificates",
    "staticPodPath",
    "cgroupDriver",
    // muster sets it where it means something.
    "failCgroupV1",
    // Where its own use is counted.
    "kubeletCgroups",
];

/// What Kubernetes takes where nothing is said (`SetDefaults_KubeletConfiguration`), and kubespray writes down.
const USUAL_OF_KUBELETS: [(&str, &str); 8] = [
    ("failSwapOn", "true"),
    ("maxPods", "110"),
    ("nodeStatusUpdateFrequency", "10s"),
    ("containerLogMaxFiles", "5"),
    ("containerLogMaxSize", "10Mi"),
    ("podPidsLimit", "-1"),
    ("eventRecordQPS", "50"),
    ("maxParallelImagePulls", "1"),
];

/// Whether a field has the value that it has when nobody sets it.
pub(super) fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_unset),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => ["", "0s"].contains(&text.as_str()),
        Value::Bool(_) => false,
    }
}

/// Settings of the kubelets that they would not have any more. `wanted`: the documents of which theirs would be made.
pub(super) fn kubelet(living: &Value, wanted: &[Value]) -> Vec<Problem> {
    let fields = living.as_object().into_iter().flatten();
    let lost = fields.filter(|(name, value)| !OF_KUBEADM.contains(&name.as_str()) && !is_unset(value)).filter_map(|(name, value)| {
        let will = wanted.iter().rev().find_map(|document| document.get(name));
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let is_default = USUAL_OF_KUBELETS.contains(&(name.as_str(), text.as_str()));
        if will == Some(value) || will.is_none() && is_default || name == "logging" && value["verbosity"] == 0 {
            return None;
        }
        let will = will.map_or_else(|| "none in the inventory".to_owned(), |will| format!("{will} in the inventory"));
        Some(Problem {
            check: "kubelet_config_extra_args".into(),
            found: format!("kubelets have {name}: {value}, {will}"),
            needed: "the settings that they have".into(),
            remedy: format!(
                "set kubelet_config_extra_args: {{{name}: {value}}}, or the variable that stands for it (muster docs vars)"
            ),
        })
    });
    lost.collect()
}

/// The part of flannel's configuration that cannot change under pods, with what flannel takes where nothing is said.
pub(super) fn flannel(config: &Value) -> Vec<(&'static str, String)> {
    let backend = &config["Backend"];
    let text = |value: &Value, default: &str| match value {
        Value::Null => default.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let kind = text(&backend["Type"], "udp");
    let mut all =
        vec![("kube_pods_subnet", text(&config["Network"], "")), ("flannel_backend_type", kind.clone())];
    if kind == "vxlan" {
        all.extend([
            ("flannel_vxlan_vni", text(&backend["VNI"], "1")),
            ("flannel_vxlan_port", text(&backend["Port"], "8472")),
            ("flannel_vxlan_direct_routing", text(&backend["DirectRouting"], "false")),
        ]);
    }
    all
}

/// Lines of a Corefile that CoreDNS would not have any more. kubeadm's own lines on the cache are none of them.
pub(super) fn corefile(living: &str, wanted: &str, domain: &str) -> Vec<String> {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = |text: &str| {
        text.lines().map(line).filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>()
    };
    let own = [
        "cache 30 {".to_owned(),
        format!("disable success {domain}"),
        format!("disable denial {domain}"),
        // Without anything in it, as kubespray writes it.
        "errors {".to_owned(),
    ];
    let will = lines(wanted);
    lines(living).into_iter().filter(|line| !will.contains(line) && !own.contains(line)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_that_the_inventory_does_not_have_are_told_with_the_variable() {
        let has = [
            "--secure-port=6443",
            "--audit-log-path=/var/log/a",
            "--v=4",
            "--enable-admission-plugins=NodeRestriction",
        ];
        let has = has.map(|argument| format!("kube-apiserver {argument}"));
        let old = json!({ "apiServer": { "extraArgs": { "v": "4", "audit-log-path": "/var/log/a" } } });
        let lost = |wanted: Value| {
            arguments(&has, &old, &wanted).into_iter().map(|lost| lost.remedy).collect::<Vec<_>>()
        };
        let all = json!({ "apiServer": { "extraArgs": [{ "name": "v", "value": "4" }, { "name": "audit-log-path", "value": "/var/log/a" }] } });
        assert!(lost(all).is_empty());
        let other = lost(json!({ "apiServer": { "extraArgs": [{ "name": "v", "value": "2" }] } }));
        assert_eq!(other.len(), 2, "{other:?}");
        assert!(
            other[0]
                .starts_with("add to kube_kubeadm_apiserver_extra_args: {audit-log-path: \"/var/log/a\"}"),
            "{other:?}"
        );
        // One that kubeadm gives by itself may be given another value.
        let asked =
            json!({ "apiServer": { "extraArgs": { "enable-admission-plugins": "NodeRestriction" } } });
        assert_eq!(arguments(&has[3..], &asked, &json!({})).len(), 1);
    }

    #[test]
    fn arguments_of_etcd_that_the_inventory_does_not_have_are_told() {
        let has = ["etcd --name=node1", "etcd --quota-backend-bytes=8589934592", "kube-apiserver --v=4"]
            .map(str::to_owned);
        let will = |value: &str| [("ETCD_QUOTA_BACKEND_BYTES".to_owned(), value.to_owned())].into();
        assert!(etcd(&has, &will("8589934592")).is_empty());
        let lost = etcd(&has, &will("2147483648"));
        assert!(lost.len() == 1 && lost[0].remedy == "set etcd_quota_backend_bytes: 8589934592", "{lost:?}");
        let has = ["log-level=info", "log-level=debug", "proxy=off"].map(|said| format!("etcd --{said}"));
        let lost = etcd(&has, &BTreeMap::new());
        assert!(
            lost.len() == 1 && lost[0].remedy.contains("etcd_extra_vars: {ETCD_LOG_LEVEL: \"debug\"}"),
            "{lost:?}"
        );
    }

    #[test]
    fn what_kubespray_writes_down_needlessly_is_not_lost() {
        let has = [
            "kube-apiserver --anonymous-auth=True",
            "kube-apiserver --bind-address=::",
            "kube-apiserver --service-cluster-ip-range=10.233.0.0/18",
            "kube-apiserver --profiling=False",
            "kube-controller-manager --bind-address=::",
            "kube-controller-manager --node-cidr-mask-size-ipv4=24",
            "kube-scheduler --config=/etc/kubernetes/kubescheduler-config.yaml",
        ]
        .map(str::to_owned);
        let said = |names: &[&str]| {
            let list: Vec<Value> = names.iter().map(|name| json!({ "name": name, "value": "" })).collect();
            json!({ "extraArgs": list })
        };
        let asked = json!({
            "networking": { "serviceSubnet": "10.233.0.0/18" },
            "apiServer": said(&["anonymous-auth", "bind-address", "service-cluster-ip-range", "profiling"]),
            "controllerManager": said(&["bind-address", "node-cidr-mask-size-ipv4"]),
            "scheduler": said(&["config"]),
        });
        let lost = |wanted: Value| {
            arguments(&has, &asked, &wanted).into_iter().map(|lost| lost.found).collect::<Vec<_>>()
        };
        assert_eq!(
            lost(json!({})),
            [
                "kube-apiserver runs with --profiling=False, none in the inventory",
                "kube-controller-manager runs with --bind-address=::, none in the inventory",
            ]
        );
        let false_too = json!({ "apiServer": { "extraArgs": [{ "name": "profiling", "value": "false" }] } });
        assert_eq!(lost(false_too).len(), 1);
    }

    #[test]
    fn settings_of_kubelets_that_would_be_lost_are_told() {
        let living = json!({ "kind": "KubeletConfiguration", "maxPods": 250, "failSwapOn": true, "memorySwap": {}, "syncFrequency": "0s",
                             "evictionHard": { "nodefs.available": "0%" }, "logging": { "verbosity": 0, "flushFrequency": 0 } });
        let lost = |wanted: &[Value]| {
            kubelet(&living, wanted).into_iter().map(|lost| lost.found).collect::<Vec<_>>()
        };
        let (shared, own) = (
            json!({ "maxPods": 110, "evictionHard": { "nodefs.available": "0%" } }),
            json!({ "maxPods": 250 }),
        );
        assert_eq!(lost(&[shared.clone(), own]), Vec::<String>::new());
        assert_eq!(lost(&[shared]), ["kubelets have maxPods: 250, 110 in the inventory"]);
        assert_eq!(lost(&[]).len(), 2);
    }

    #[test]
    fn flannel_is_compared_with_what_it_takes_where_nothing_is_said() {
        let of_upstream =
            json!({ "Network": "10.244.0.0/16", "EnableNFTables": false, "Backend": { "Type": "vxlan" } });
        let of_muster = json!({ "Network": "10.244.0.0/16", "Backend": { "Type": "vxlan", "VNI": 1, "Port": 8472, "DirectRouting": false } });
        assert_eq!(flannel(&of_upstream), flannel(&of_muster));
        assert_ne!(
            flannel(&of_upstream),
            flannel(&json!({ "Network": "10.244.0.0/16", "Backend": { "Type": "host-gw" } }))
        );
    }

    #[test]
    fn lines_of_a_corefile_that_would_be_lost_are_told() {
        let wanted = ".:53 {\n    errors\n    cache 30\n}\n";
        let living = ".:53 {\n  errors\n  hosts {\n    192.0.2.1 git\n  }\n  cache 30 {\n    disable success cluster.local\n  }\n}\n";
        assert_eq!(corefile(living, wanted, "cluster.local"), ["hosts {", "192.0.2.1 git"]);
    }
}
