//! What variables say to kube-proxy beside its mode: fields of `KubeProxyConfiguration` (kubeproxy.config.k8s.io/v1alpha1). Names
//! and meanings of the variables are kubespray's.

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::arguments::gates;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kube_proxy_remove: bool,
    kube_feature_gates: Vec<String>,
    kube_proxy_feature_gates: Vec<String>,
    kube_proxy_strict_arp: bool,
    kube_proxy_scheduler: Option<String>,
    kube_proxy_exclude_cidrs: Vec<String>,
    kube_proxy_tcp_timeout: Option<String>,
    kube_proxy_tcp_fin_timeout: Option<String>,
    kube_proxy_udp_timeout: Option<String>,
    #[serde(deserialize_with = "none_by_false")]
    kube_proxy_nodeport_addresses: Vec<String>,
    kube_proxy_masquerade_all: bool,
    kube_proxy_masquerade_bit: Option<u32>,
    kube_proxy_sync_period: Option<String>,
    kube_proxy_min_sync_period: Option<String>,
    kube_proxy_config_sync_period: Option<String>,
    kube_proxy_metrics_bind_address: Option<String>,
    kube_proxy_healthz_bind_address: Option<String>,
    kube_proxy_bind_address: Option<String>,
    kube_proxy_enable_profiling: bool,
    kube_proxy_oom_score_adj: Option<i32>,
    kube_proxy_client_qps: Option<f64>,
    kube_proxy_client_burst: Option<u32>,
    kube_proxy_client_content_type: Option<String>,
    kube_proxy_client_accept_content_types: Option<String>,
    kube_proxy_conntrack_max_per_core: Option<u32>,
    kube_proxy_conntrack_min: Option<u32>,
    kube_proxy_conntrack_tcp_close_wait_timeout: Option<String>,
    kube_proxy_conntrack_tcp_established_timeout: Option<String>,
}

/// The fields that variables ask for, and those that a machine in a container needs; `None` where there is to be no kube-proxy
/// (`kube_proxy_remove`).
pub(super) fn fields(host: &Host) -> Result<Option<Map<String, Value>>> {
    let vars: Vars = host.vars()?;
    Ok((!vars.kube_proxy_remove).then(|| of(&vars, host.facts().may_lower_oom_score())))
}

fn of(vars: &Vars, may_lower_oom_score: bool) -> Map<String, Value> {
    let mut all = Map::new();
    let mut set = |field: &str, value: Value| {
        if value.is_null()
            || value == json!("")
            || value == json!(false)
            || value == json!([])
            || value == json!({})
        {
            return;
        }
        match field.split_once('.') {
            Some((group, field)) => {
                all.entry(group).or_insert_with(|| json!({}))[field] = value;
            }
            None => drop(all.insert(field.to_owned(), value)),
        }
    };
    // In a container the kernel lets nobody lower an OOM score or resize the table of connections.
    if !may_lower_oom_score {
        set("oomScoreAdj", json!(0));
        set("conntrack.maxPerCore", json!(0));
        set("conntrack.min", json!(0));
        set("conntrack.tcpCloseWaitTimeout", json!("0s"));
        set("conntrack.tcpEstablishedTimeout", json!("0s"));
    }
    set("ipvs.strictARP", json!(vars.kube_proxy_strict_arp));
    set("ipvs.scheduler", json!(vars.kube_proxy_scheduler));
    set("ipvs.excludeCIDRs", json!(vars.kube_proxy_exclude_cidrs));
    set("ipvs.tcpTimeout", json!(vars.kube_proxy_tcp_timeout));
    set("ipvs.tcpFinTimeout", json!(vars.kube_proxy_tcp_fin_timeout));
    set("ipvs.udpTimeout", json!(vars.kube_proxy_udp_timeout));
    for mode in ["iptables", "ipvs", "nftables"] {
        set(&format!("{mode}.syncPeriod"), json!(vars.kube_proxy_sync_period));
        set(&format!("{mode}.minSyncPeriod"), json!(vars.kube_proxy_min_sync_period));
    }
    for mode in ["iptables", "nftables"] {
        set(&format!("{mode}.masqueradeAll"), json!(vars.kube_proxy_masquerade_all));
        set(&format!("{mode}.masqueradeBit"), json!(vars.kube_proxy_masquerade_bit));
    }
    set("nodePortAddresses", json!(vars.kube_proxy_nodeport_addresses));
    set("configSyncPeriod", json!(vars.kube_proxy_config_sync_period));
    set("metricsBindAddress", json!(vars.kube_proxy_metrics_bind_address));
    set("healthzBindAddress", json!(vars.kube_proxy_healthz_bind_address));
    set("bindAddress", json!(vars.kube_proxy_bind_address));
    set("enableProfiling", json!(vars.kube_proxy_enable_profiling));
    set("oomScoreAdj", json!(vars.kube_proxy_oom_score_adj));
    set("clientConnection.qps", json!(vars.kube_proxy_client_qps));
    set("clientConnection.burst", json!(vars.kube_proxy_client_burst));
    set("clientConnection.contentType", json!(vars.kube_proxy_client_content_type));
    set("clientConnection.acceptContentTypes", json!(vars.kube_proxy_client_accept_content_types));
    set("conntrack.maxPerCore", json!(vars.kube_proxy_conntrack_max_per_core));
    set("conntrack.min", json!(vars.kube_proxy_conntrack_min));
    set("conntrack.tcpCloseWaitTimeout", json!(vars.kube_proxy_conntrack_tcp_close_wait_timeout));
    set("conntrack.tcpEstablishedTimeout", json!(vars.kube_proxy_conntrack_tcp_established_timeout));
    set("featureGates", Value::Object(gates([&vars.kube_feature_gates, &vars.kube_proxy_feature_gates])));
    all
}

/// A list; `false`, as kubespray's samples from v2.7 to v2.8 have it, is an empty one, and so is nothing.
fn none_by_false<'de, D: serde::Deserializer<'de>>(value: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        List(Vec<String>),
        Bool(bool),
        Nothing(()),
    }
    match Written::deserialize(value)? {
        Written::List(list) => Ok(list),
        Written::Bool(false) | Written::Nothing(()) => Ok(Vec::new()),
        Written::Bool(true) => Err(serde::de::Error::custom("true is no list of networks")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn told(yaml: &str, may_lower_oom_score: bool) -> Value {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        Value::Object(of(&vars.deserialize().unwrap(), may_lower_oom_score))
    }

    #[test]
    fn nothing_is_said_that_nobody_asked_for() {
        assert_eq!(told("", true), json!({}));
        assert_eq!(told("kube_proxy_nodeport_addresses: false", true), json!({}));
        assert_eq!(told("kube_proxy_nodeport_addresses: null", true), json!({}));
    }

    #[test]
    fn in_a_container_it_leaves_the_kernel_alone_unless_told_otherwise() {
        let own = told("kube_proxy_conntrack_min: 7", false);
        assert_eq!((&own["oomScoreAdj"], &own["conntrack"]["min"]), (&json!(0), &json!(7)));
        assert_eq!(own["conntrack"]["tcpCloseWaitTimeout"], "0s");
    }

    #[test]
    fn it_takes_its_own() {
        let yaml = "kube_proxy_strict_arp: true\nkube_proxy_scheduler: lc\nkube_proxy_exclude_cidrs: [192.0.2.0/24]\n\
                    kube_proxy_tcp_timeout: 1m\nkube_proxy_tcp_fin_timeout: 2m\nkube_proxy_udp_timeout: 3m\n\
                    kube_proxy_nodeport_addresses: [primary]\nkube_proxy_masquerade_all: true\nkube_proxy_masquerade_bit: 15\n\
                    kube_proxy_sync_period: 31s\nkube_proxy_min_sync_period: 2s\nkube_proxy_config_sync_period: 16m\n\
                    kube_proxy_metrics_bind_address: 0.0.0.0:10249\nkube_proxy_healthz_bind_address: 127.0.0.1:10256\n\
                    kube_proxy_bind_address: 192.0.2.1\nkube_proxy_enable_profiling: true\nkube_proxy_oom_score_adj: -998\n\
                    kube_proxy_client_qps: 6\nkube_proxy_client_burst: 11\nkube_proxy_client_content_type: application/json\n\
                    kube_proxy_client_accept_content_types: application/json\nkube_proxy_conntrack_max_per_core: 1\n\
                    kube_proxy_conntrack_min: 2\nkube_proxy_conntrack_tcp_close_wait_timeout: 2h\n\
                    kube_proxy_conntrack_tcp_established_timeout: 25h\nkube_proxy_feature_gates: [A=true]";
        let period =
            json!({ "syncPeriod": "31s", "minSyncPeriod": "2s", "masqueradeAll": true, "masqueradeBit": 15 });
        let expected = json!({
            "ipvs": {
                "strictARP": true, "scheduler": "lc", "excludeCIDRs": ["192.0.2.0/24"], "syncPeriod": "31s", "minSyncPeriod": "2s",
                "tcpTimeout": "1m", "tcpFinTimeout": "2m", "udpTimeout": "3m",
            },
            "iptables": period,
            "nftables": period,
            "nodePortAddresses": ["primary"],
            "configSyncPeriod": "16m",
            "metricsBindAddress": "0.0.0.0:10249",
            "healthzBindAddress": "127.0.0.1:10256",
            "bindAddress": "192.0.2.1",
            "enableProfiling": true,
            "oomScoreAdj": -998,
            "clientConnection": {
                "qps": 6.0, "burst": 11, "contentType": "application/json", "acceptContentTypes": "application/json",
            },
            "conntrack": { "maxPerCore": 1, "min": 2, "tcpCloseWaitTimeout": "2h", "tcpEstablishedTimeout": "25h" },
            "featureGates": { "A": true },
        });
        assert_eq!(told(yaml, true), expected);
    }
}
