//! kube-proxy's configuration in a living cluster beside the one that variables would give it.

use muster_engine::prelude::*;
use serde_json::{Map, Value};

use super::compared::is_unset;
use super::living::refused;

/// What kubeadm says by itself, or another comparison has; and what is for other systems, or says how much is logged.
const OF_KUBEADM: [&str; 8] = [
    "apiVersion",
    "kind",
    "clientConnection.kubeconfig",
    "clusterCIDR",
    "hostnameOverride",
    "logging",
    "mode",
    "winkernel",
];

/// What kube-proxy takes where nothing is said (`SetDefaults_KubeProxyConfiguration`), and kubespray writes down.
const USUAL: [(&str, &str); 21] = [
    ("bindAddress", "0.0.0.0"),
    ("bindAddressHardFail", "false"),
    ("clientConnection.burst", "10"),
    ("clientConnection.contentType", "application/vnd.kubernetes.protobuf"),
    ("clientConnection.qps", "5"),
    ("configSyncPeriod", "15m0s"),
    ("conntrack.maxPerCore", "32768"),
    ("conntrack.min", "131072"),
    ("conntrack.tcpCloseWaitTimeout", "1h0m0s"),
    ("conntrack.tcpEstablishedTimeout", "24h0m0s"),
    ("healthzBindAddress", "0.0.0.0:10256"),
    ("iptables.localhostNodePorts", "true"),
    ("iptables.masqueradeBit", "14"),
    ("iptables.minSyncPeriod", "1s"),
    ("iptables.syncPeriod", "30s"),
    ("ipvs.scheduler", "rr"),
    ("ipvs.syncPeriod", "30s"),
    ("metricsBindAddress", "127.0.0.1:10249"),
    ("nftables.masqueradeBit", "14"),
    ("nftables.minSyncPeriod", "1s"),
    ("nftables.syncPeriod", "30s"),
];

/// Where 0 is a value of its own, and only `null` means that kube-proxy takes its default: with 0 it leaves what the kernel has.
const ZERO_COUNTS: [&str; 4] = [
    "conntrack.maxPerCore",
    "conntrack.min",
    "conntrack.tcpCloseWaitTimeout",
    "conntrack.tcpEstablishedTimeout",
];

/// The variables of fields that people set.
const VARIABLES: [(&str, &str); 13] = [
    ("bindAddress", "kube_proxy_bind_address"),
    ("conntrack.maxPerCore", "kube_proxy_conntrack_max_per_core"),
    ("conntrack.min", "kube_proxy_conntrack_min"),
    ("conntrack.tcpCloseWaitTimeout", "kube_proxy_conntrack_tcp_close_wait_timeout"),
    ("conntrack.tcpEstablishedTimeout", "kube_proxy_conntrack_tcp_established_timeout"),
    ("healthzBindAddress", "kube_proxy_healthz_bind_address"),
    ("iptables.masqueradeAll", "kube_proxy_masquerade_all"),
    ("ipvs.excludeCIDRs", "kube_proxy_exclude_cidrs"),
    ("ipvs.scheduler", "kube_proxy_scheduler"),
    ("ipvs.strictARP", "kube_proxy_strict_arp"),
    ("metricsBindAddress", "kube_proxy_metrics_bind_address"),
    ("nodePortAddresses", "kube_proxy_nodeport_addresses"),
    ("oomScoreAdj", "kube_proxy_oom_score_adj"),
];

/// Settings that kube-proxy would not have any more. `wanted`: the fields that variables ask for.
pub(super) fn problems(living: &Value, wanted: &Map<String, Value>) -> Vec<Problem> {
    let mut fields = Vec::new();
    for (name, value) in living.as_object().into_iter().flatten() {
        // Groups are one level deep, but for the gates, which are a value as a whole.
        match value.as_object().filter(|_| name != "featureGates") {
            Some(group) => {
                fields.extend(group.iter().map(|(field, value)| (format!("{name}.{field}"), value)))
            }
            None => fields.push((name.clone(), value)),
        }
    }
    let lost = fields.into_iter().filter_map(|(path, value)| {
        let group = path.split('.').next().unwrap_or_default();
        let is_kubeadms = OF_KUBEADM.contains(&path.as_str()) || OF_KUBEADM.contains(&group);
        let will = match path.split_once('.') {
            Some((group, field)) => wanted.get(group).and_then(|group| group.get(field)),
            None => wanted.get(&path),
        };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let is_usual = USUAL.contains(&(path.as_str(), text.as_str()));
        let is_unset = if ZERO_COUNTS.contains(&path.as_str()) { value.is_null() } else { is_unset(value) };
        if is_kubeadms || is_unset || *value == false || will == Some(value) || will.is_none() && is_usual {
            return None;
        }
        let variable = VARIABLES.iter().find(|(field, _)| *field == path).map(|(_, variable)| *variable);
        let will = will.map_or_else(|| "nothing".to_owned(), Value::to_string);
        Some(refused(
            variable.unwrap_or("kube-proxy"),
            format!("kube-proxy has {path}: {value}, and {will} in the inventory"),
            "the settings that it has",
            match variable {
                Some(variable) => format!("set {variable}: {value}"),
                None => "set the variable that stands for it, among those that begin with kube_proxy_ (muster docs vars); if there is \
                         none, take the field out of the ConfigMap kube-system/kube-proxy before"
                    .to_owned(),
            },
        ))
    });
    lost.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As kubeadm 1.36 writes it, and as kubespray has it with its defaults.
    fn of_others() -> [Value; 2] {
        [
            json!({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "bindAddress": "0.0.0.0",
                "bindAddressHardFail": false, "clusterCIDR": "10.244.0.0/16", "configSyncPeriod": "0s", "enableProfiling": false,
                "clientConnection": {"burst": 0, "contentType": "", "kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf", "qps": 0},
                "conntrack": {"maxPerCore": null, "tcpBeLiberal": false, "udpTimeout": "0s"},
                "iptables": {"localhostNodePorts": null, "masqueradeAll": false, "syncPeriod": "0s"},
                "ipvs": {"excludeCIDRs": null, "strictARP": false}, "nodePortAddresses": null, "mode": "",
                "logging": {"flushFrequency": 0, "options": {"json": {"infoBufferSize": "0"}}, "verbosity": 0},
                "winkernel": {"forwardHealthCheckVip": false}}),
            json!({"bindAddress": "0.0.0.0", "clusterCIDR": "10.233.64.0/18", "mode": "ipvs", "oomScoreAdj": 0,
                "clientConnection": {"burst": 10, "contentType": "application/vnd.kubernetes.protobuf", "qps": 5},
                "conntrack": {"maxPerCore": 32768, "min": 131_072, "tcpCloseWaitTimeout": "1h0m0s", "tcpEstablishedTimeout": "24h0m0s"},
                "healthzBindAddress": "0.0.0.0:10256", "metricsBindAddress": "127.0.0.1:10249",
                "ipvs": {"scheduler": "rr", "strictARP": false, "syncPeriod": "30s", "minSyncPeriod": "0s"}}),
        ]
    }

    #[test]
    fn what_others_set_by_default_is_no_difference_and_what_somebody_has_set_is() {
        for mut living in of_others() {
            assert_eq!(problems(&living, &Map::new()), []);
            living["ipvs"]["strictARP"] = json!(true);
            living["nodePortAddresses"] = json!(["192.0.2.0/24"]);
            living["conntrack"]["tcpBeLiberal"] = json!(true);
            living["featureGates"] = json!({"NFTablesProxyMode": true});
            let told = problems(&living, &Map::new());
            let remedies: Vec<&str> = told.iter().map(|problem| problem.remedy.as_str()).collect();
            assert_eq!(told.len(), 4, "{told:?}");
            assert!(remedies.contains(&"set kube_proxy_strict_arp: true"), "{remedies:?}");
            assert!(
                remedies.contains(&"set kube_proxy_nodeport_addresses: [\"192.0.2.0/24\"]"),
                "{remedies:?}"
            );
            let wanted = json!({"ipvs": {"strictARP": true}, "nodePortAddresses": ["192.0.2.0/24"],
                "conntrack": {"tcpBeLiberal": true}, "featureGates": {"NFTablesProxyMode": true}});
            assert_eq!(problems(&living, wanted.as_object().unwrap()), []);
            // What is told to leave the kernel's own limits alone would set them.
            let zero =
                json!({"conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "udpTimeout": "0s"}});
            let told = problems(&zero, &Map::new());
            let remedies: Vec<&str> = told.iter().map(|problem| problem.remedy.as_str()).collect();
            assert_eq!(
                remedies,
                [
                    "set kube_proxy_conntrack_max_per_core: 0",
                    "set kube_proxy_conntrack_tcp_established_timeout: \"0s\""
                ]
            );
            assert_eq!(problems(&zero, zero.as_object().unwrap()), []);
            // A default that the inventory changes is a difference, too.
            let other = json!({"bindAddress": "192.0.2.4"});
            assert_eq!(problems(&living, other.as_object().unwrap()).len(), 5);
        }
    }
}
