//! Settings of a member that are etcd's own defaults unless variables say otherwise.

use std::collections::BTreeMap;
use std::net::IpAddr;

use muster_engine::prelude::*;
use muster_inventory::HostVars;
use serde::Deserialize;
use serde_json::Value;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    etcd_metrics: String,
    etcd_metrics_port: Option<u16>,
    etcd_listen_metrics_urls: Option<String>,
    etcd_max_request_bytes: Option<u64>,
    etcd_snapshot_count: Option<u64>,
    etcd_max_snapshots: Option<u64>,
    etcd_max_wals: Option<u64>,
    etcd_log_level: String,
    etcd_tls_cipher_suites: Vec<String>,
    etcd_memory_limit: Option<Value>,
    etcd_extra_vars: BTreeMap<String, Value>,
}

/// What they come to.
pub(super) struct Tuning {
    /// Names and values for the environment of etcd.
    pub(super) settings: Vec<(String, String)>,
    /// How much memory it may have, as systemd takes it; `None` for as much as there is.
    pub(super) memory_limit: Option<String>,
}

/// What the variables of a member say that listens at this address.
pub(super) fn of(vars: &HostVars, address: IpAddr) -> Result<Tuning> {
    let read: Vars = vars.deserialize()?;
    let port = |port| format!("http://{address}:{port},http://127.0.0.1:{port}");
    let metrics_at =
        read.etcd_listen_metrics_urls.filter(|urls| !urls.is_empty()).or(read.etcd_metrics_port.map(port));
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    let suites = read.etcd_tls_cipher_suites;
    let named = [
        ("ETCD_METRICS", Some(read.etcd_metrics).filter(|kind| kind != "basic")),
        ("ETCD_LISTEN_METRICS_URLS", metrics_at),
        ("ETCD_MAX_REQUEST_BYTES", number(read.etcd_max_request_bytes)),
        ("ETCD_SNAPSHOT_COUNT", number(read.etcd_snapshot_count)),
        ("ETCD_MAX_SNAPSHOTS", number(read.etcd_max_snapshots)),
        ("ETCD_MAX_WALS", number(read.etcd_max_wals)),
        ("ETCD_LOG_LEVEL", Some(read.etcd_log_level).filter(|level| level != "info")),
        ("ETCD_CIPHER_SUITES", Some(suites.join(",")).filter(|suites| !suites.is_empty())),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let more = read.etcd_extra_vars.iter().map(|(name, value)| (name.clone(), text(value)));
    let limit = read.etcd_memory_limit.as_ref().map(text).map(|limit| memory(&limit));
    Ok(Tuning { settings: named.chain(more).collect(), memory_limit: limit.filter(|limit| limit != "0") })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned())
}

/// What Docker takes for memory (`512m`, `1g`), as systemd does (systemd.resource-control(5)).
fn memory(limit: &str) -> String {
    let limit = limit.to_ascii_uppercase();
    limit.strip_suffix('B').map_or_else(|| limit.clone(), str::to_owned)
}

/// Why a variable of the environment is none of the user's; `None` for one that is.
pub(crate) fn not_for_users(name: &str) -> Option<&'static str> {
    let set_by_role =
        include_str!("templates/etcd.env.j2").lines().any(|line| line.split('=').next() == Some(name));
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with("ETCD_") || !name.chars().all(allowed) {
        return Some("names that begin with ETCD_, in capital letters");
    }
    let of_the_cluster =
        ["ETCD_INITIAL_", "ETCD_DISCOVERY", "ETCD_FORCE_NEW_CLUSTER", "ETCD_WAL_DIR", "ETCD_CONFIG_FILE"];
    let of_the_cluster = of_the_cluster.iter().any(|begin| name.starts_with(begin));
    (set_by_role || of_the_cluster)
        .then_some("settings that are not how the member finds its data and the others, which muster sets")
}

/// Whether a text says how much memory etcd may have.
pub(crate) fn is_memory(text: &str) -> bool {
    let limit = memory(text);
    let number = limit.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(&limit);
    number.parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn told(yaml: &str) -> (String, Option<String>) {
        let Tuning { settings, memory_limit } = of(&variables(yaml), "192.0.2.4".parse().unwrap()).unwrap();
        (settings.iter().map(|(name, value)| format!("{name}={value} ")).collect(), memory_limit)
    }

    #[test]
    fn what_nobody_says_is_etcds_default() {
        assert_eq!(told("etcd_memory_limit: 0"), (String::new(), None));
        assert_eq!(told("etcd_metrics: basic"), (String::new(), None));
    }

    #[test]
    fn each_variable_is_told() {
        let yaml = "etcd_metrics: extensive\netcd_metrics_port: 2381\netcd_max_request_bytes: '1048576'\netcd_snapshot_count: 5000\n\
                    etcd_max_snapshots: 3\netcd_max_wals: 4\netcd_log_level: debug\n\
                    etcd_tls_cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n\
                    etcd_extra_vars: {ETCD_GRPC_KEEPALIVE_MIN_TIME: 6s, ETCD_PRE_VOTE: false}\netcd_memory_limit: 512m\n";
        let expected = "ETCD_METRICS=extensive ETCD_LISTEN_METRICS_URLS=http://192.0.2.4:2381,http://127.0.0.1:2381 \
                        ETCD_MAX_REQUEST_BYTES=1048576 ETCD_SNAPSHOT_COUNT=5000 ETCD_MAX_SNAPSHOTS=3 ETCD_MAX_WALS=4 ETCD_LOG_LEVEL=debug \
                        ETCD_CIPHER_SUITES=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 \
                        ETCD_GRPC_KEEPALIVE_MIN_TIME=6s ETCD_PRE_VOTE=false ";
        assert_eq!(told(yaml), (expected.to_owned(), Some("512M".to_owned())));
        let urls = told("etcd_metrics_port: 2381\netcd_listen_metrics_urls: http://127.0.0.1:9").0;
        assert_eq!(urls, "ETCD_LISTEN_METRICS_URLS=http://127.0.0.1:9 ");
    }

    #[test]
    fn where_the_data_is_and_who_the_others_are_is_not_the_users() {
        for name in [
            "ETCD_DATA_DIR",
            "ETCD_CLIENT_CERT_AUTH",
            "ETCD_INITIAL_CLUSTER",
            "ETCD_FORCE_NEW_CLUSTER",
            "PATH",
            "ETCD_x",
        ] {
            assert!(not_for_users(name).is_some(), "{name}");
        }
        assert_eq!(not_for_users("ETCD_PRE_VOTE"), None);
        assert!(
            ["0", "512M", "2g", "512mb"].into_iter().all(is_memory)
                && !["-1", "half", "", "5%"].into_iter().any(is_memory)
        );
    }
}
