//! What a cluster of kubeadm's is told that the inventory does not say: it would be lost with an adoption, and so is refused with the
//! variable that keeps it. Functions of documents in the form of kubeadm's configuration (kubeadm.k8s.io/v1beta3 and v1beta4).

use std::collections::BTreeMap;

use muster_engine::prelude::Problem;
use serde_json::Value;

/// Whether two values of an argument say the same.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let is_truth = |text: &str| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    one == other || is_truth(one) && one.eq_ignore_ascii_case(other)
}

/// Whether a value is the one that a field has when nobody sets it.
pub(super) fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_unset),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => ["", "0", "0s"].contains(&text.as_str()),
        Value::Bool(_) => false,
    }
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

/// The arguments that kubeadm and kubespray give to etcd for what muster's unit has in a way of its own: names, addresses,
/// certificates; and those whose other value means nothing for a member that is there. `enable-v2` is for clients of etcd's version 2,
/// of which Kubernetes has been none since 1.13; it is false by default in 3.5, and 3.6 has not got it (etcd's CHANGELOG-3.6).
const OF_ETCD: [&str; 23] = [
    "advertise-client-urls",
    "cert-file",
    "client-cert-auth",
    "data-dir",
    "enable-v2",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "key-file",
    "listen-client-http-urls",
    "listen-client-urls",
    "listen-peer-urls",
    "name",
    "peer-cert-file",
    "peer-client-cert-auth",
    "peer-key-file",
    "peer-skip-client-san-verification",
    "peer-trusted-ca-file",
    "proxy",
    "strict-reconfig-check",
    "trusted-ca-file",
    "unsafe-no-fsync",
];

/// What kubeadm and kubespray tell etcd though etcd does it anyway, or though nothing is lost without it.
const USUAL_OF_ETCD: [(&str, &str); 13] = [
    ("experimental-initial-corrupt-check", "true"),
    ("experimental-watch-progress-notify-interval", "5s"),
    ("feature-gates", "InitialCorruptCheck=true"),
    // For the probes of kubeadm's own static pod.
    ("listen-metrics-urls", "http://127.0.0.1:2381"),
    ("listen-metrics-urls", "http://[::1]:2381"),
    ("log-level", "info"),
    ("max-request-bytes", "1572864"),
    ("max-snapshots", "5"),
    ("max-wals", "5"),
    ("metrics", "basic"),
    ("snapshot-count", "10000"),
    ("snapshot-count", "100000"),
    ("watch-progress-notify-interval", "5s"),
];

/// Settings that have a variable of their own.
const VARIABLES_OF_ETCD: [(&str, &str); 6] = [
    ("heartbeat-interval", "etcd_heartbeat_interval"),
    ("election-timeout", "etcd_election_timeout"),
    ("quota-backend-bytes", "etcd_quota_backend_bytes"),
    ("auto-compaction-retention", "etcd_compaction_retention"),
    ("listen-metrics-urls", "etcd_listen_metrics_urls"),
    ("snapshot-count", "etcd_snapshot_count"),
];

/// Arguments of etcd that it would not have any more; a quota, say, without which a large database could not be written. `has`: names
/// and values; `will`: its environment, as muster gives it.
pub(super) fn etcd(has: &[(String, String)], will: &BTreeMap<String, String>) -> Vec<Problem> {
    let lost = |(name, value): &(String, String)| {
        let variable = format!("ETCD_{}", name.to_uppercase().replace('-', "_"));
        let is_usual = USUAL_OF_ETCD.iter().any(|(usual, says)| usual == name && is_same(says, value))
            && !will.contains_key(&variable);
        if OF_ETCD.contains(&name.as_str())
            || is_usual
            || will.get(&variable).is_some_and(|will| is_same(will, value))
        {
            return None;
        }
        if let Some((_, own)) = VARIABLES_OF_ETCD.iter().find(|(known, _)| known == name) {
            let will = will.get(&variable).map(String::as_str).unwrap_or_default();
            return Some(differs(own, will, value));
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
    use super::*;

    #[test]
    fn arguments_of_etcd_that_the_inventory_does_not_have_are_told() {
        let has = |arguments: &[(&str, &str)]| {
            arguments
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<Vec<_>>()
        };
        let large = has(&[("name", "node1"), ("quota-backend-bytes", "8589934592")]);
        let will = |value: &str| [("ETCD_QUOTA_BACKEND_BYTES".to_owned(), value.to_owned())].into();
        assert!(etcd(&large, &will("8589934592")).is_empty());
        // As Jinja writes it.
        let checks = has(&[("experimental-initial-corrupt-check", "True")]);
        assert!(etcd(&checks, &BTreeMap::new()).is_empty());
        let lost = etcd(&large, &will("2147483648"));
        assert!(lost.len() == 1 && lost[0].remedy == "set etcd_quota_backend_bytes: 8589934592", "{lost:?}");
        let has = has(&[
            ("log-level", "info"),
            ("log-level", "debug"),
            ("proxy", "off"),
            // kubespray's until v2.30.
            ("enable-v2", "true"),
            // kubeadm's own, and what somebody has changed in it.
            ("listen-metrics-urls", "http://127.0.0.1:2381"),
            ("listen-metrics-urls", "http://0.0.0.0:2381"),
            ("feature-gates", "InitialCorruptCheck=true"),
            ("snapshot-count", "5000"),
        ]);
        let lost: Vec<_> = etcd(&has, &BTreeMap::new()).into_iter().map(|problem| problem.remedy).collect();
        assert_eq!(lost.len(), 3, "{lost:?}");
        assert!(lost[0].contains("etcd_extra_vars: {ETCD_LOG_LEVEL: \"debug\"}"), "{lost:?}");
        assert_eq!(
            lost[1..],
            ["set etcd_listen_metrics_urls: http://0.0.0.0:2381", "set etcd_snapshot_count: 5000"]
        );
    }

    #[test]
    fn lines_of_a_corefile_that_would_be_lost_are_told() {
        let wanted = ".:53 {\n    errors\n    cache 30\n}\n";
        let living = ".:53 {\n  errors\n  hosts {\n    192.0.2.1 git\n  }\n  cache 30 {\n    disable success cluster.local\n  }\n}\n";
        assert_eq!(corefile(living, wanted, "cluster.local"), ["hosts {", "192.0.2.1 git"]);
    }
}
