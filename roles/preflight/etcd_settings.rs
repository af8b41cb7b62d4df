//! What variables say about etcd's settings, before any machine is asked: a member that does not take them does not start.

use std::net::IpAddr;

use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Value};

use super::findings::problem;
use super::settings::{Setting, place, text_of};
use crate::common::{in_group, is_dns_name};
use crate::etcd::{is_memory, not_for_users};

/// What is wrong with them.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let memory =
        Setting::of(vars, "etcd_memory_limit").filter(|setting| !is_memory(&setting.text)).map(|setting| {
            setting.wrong(
                "a whole number of bytes, or one with K, M, G or T",
                "set etcd_memory_limit: 2G, or remove it",
            )
        });
    let urls =
        Setting::of(vars, "etcd_listen_metrics_urls").filter(|setting| !setting.text.split(',').all(is_url));
    let urls = urls.map(|setting| {
        setting.wrong(
            "URLs with addresses and ports, as http://127.0.0.1:2381, with commas between them",
            "remove etcd_listen_metrics_urls, and set etcd_metrics_port: 2381; or correct it",
        )
    });
    let entries = |name, is_good: fn(&str) -> bool, needed| {
        let value = vars.get(name).ok().flatten();
        let list = value.as_ref().and_then(Value::as_list).unwrap_or_default();
        let wrong = list.iter().find(|entry| !entry.as_str().is_some_and(is_good))?;
        let found = format!("{}{}", text_of(wrong), place(vars, name));
        Some(problem(name, found, needed, format!("correct {name}, or remove it")))
    };
    let lists = [
        entries("etcd_cert_alt_names", |name| is_dns_name(name.trim_start_matches("*.")), "DNS names"),
        entries("etcd_cert_alt_ips", |text| text.parse::<IpAddr>().is_ok(), "IP addresses"),
    ];
    memory
        .into_iter()
        .chain(urls)
        .chain(lists.into_iter().flatten())
        .chain(environment(vars))
        .chain(validity(vars))
        .collect()
}

/// What ends within a month is renewed at each run.
fn validity(vars: &HostVars) -> Option<Problem> {
    let setting = Setting::of(vars, "etcd_certificate_days")?;
    let days: u32 = setting.text.parse().ok()?;
    (days < 60).then(|| {
        setting.wrong(
            "at least 60: setup-cluster renews what ends within 30 days",
            "set etcd_certificate_days: 365",
        )
    })
}

fn is_url(url: &str) -> bool {
    let place = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    place.is_some_and(|place| place.parse::<std::net::SocketAddr>().is_ok())
}

/// Whether a setting names a file, as `/key.pem` and `jwt,priv-key=/key.pem` do.
fn names_file(text: &str) -> bool {
    text.split([',', '=']).any(|word| word.trim_start().starts_with('/'))
}

/// Whether the host's member is to be a static pod: elsewhere it is a process.
fn is_pod(vars: &HostVars) -> bool {
    let is_wanted = Setting::of(vars, "etcd_deployment_type").is_some_and(|kind| kind.text == "kubeadm");
    is_wanted && ["etcd", "k8s_cluster"].into_iter().all(|group| in_group(vars, group))
}

/// `etcd_extra_vars`.
fn environment(vars: &HostVars) -> Option<Problem> {
    const NAME: &str = "etcd_extra_vars";
    let value = vars.get(NAME).ok()??;
    let is_pod = is_pod(vars);
    let (name, needed) = value.as_map()?.iter().find_map(|(name, value)| {
        let text = text_of(value);
        let good = if text.contains('\n') {
            Some("values of one line")
        } else if is_pod && names_file(&text) {
            Some("settings that name no files: with etcd_deployment_type: kubeadm etcd is a static pod, which does not have them")
        } else {
            not_for_users(name)
        };
        Some((name.clone(), good?))
    })?;
    Some(problem(NAME, format!("{name}{}", place(vars, NAME)), needed, format!("remove {name} from {NAME}")))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{inventory_and_vars, told, variables};
    use super::*;

    #[test]
    fn what_a_member_would_not_start_with_is_told() {
        let rows = [
            ("etcd_memory_limit: half", "etcd_memory_limit: half (vars.yml:1:20)"),
            ("etcd_memory_limit: 512M", ""),
            (
                "etcd_listen_metrics_urls: http://localhost",
                "etcd_listen_metrics_urls: http://localhost (vars.yml:1:27)",
            ),
            ("etcd_listen_metrics_urls: 'http://0.0.0.0:2381,http://127.0.0.1:9'", ""),
            ("etcd_cert_alt_names: [etcd, '*.example.org']", ""),
            ("etcd_cert_alt_names: [Etcd_1]", "etcd_cert_alt_names: Etcd_1 (vars.yml:1:22)"),
            ("etcd_cert_alt_ips: [etcd]", "etcd_cert_alt_ips: etcd (vars.yml:1:20)"),
            ("etcd_extra_vars: {ETCD_DATA_DIR: /x}", "etcd_extra_vars: ETCD_DATA_DIR (vars.yml:1:18)"),
            ("etcd_extra_vars: {ETCD_PRE_VOTE: \"a\\nb\"}", "etcd_extra_vars: ETCD_PRE_VOTE (vars.yml:1:18)"),
            ("etcd_extra_vars: {ETCD_PRE_VOTE: true}", ""),
            ("etcd_extra_vars: {ETCD_PEER_CRL_FILE: /x}", ""),
            (
                "etcd_deployment_type: kubeadm\netcd_extra_vars: {ETCD_AUTH_TOKEN: 'jwt,priv-key=/x'}",
                "etcd_extra_vars: ETCD_AUTH_TOKEN (vars.yml:2:18)",
            ),
            (
                "etcd_deployment_type: kubeadm\netcd_extra_vars: {ETCD_LISTEN_METRICS_URLS: 'http://[::1]:9'}",
                "",
            ),
            ("etcd_certificate_days: 59", "etcd_certificate_days: 59 (vars.yml:1:24)"),
            ("etcd_certificate_days: 60", ""),
        ];
        for (yaml, expected) in rows {
            assert_eq!(check(&variables(yaml)).iter().map(told).collect::<Vec<_>>().join("; "), expected);
        }
    }

    #[test]
    fn a_member_that_does_not_become_a_pod_may_be_told_of_files() {
        let yaml = "etcd_deployment_type: kubeadm\netcd_extra_vars: {ETCD_PEER_CRL_FILE: /x}";
        let ini = "m1\nm2\nm3\n[etcd]\nm1\nm2\n[kube_control_plane]\nm2\nm3\n[kube_node]\nm2\nm3\n";
        let (_, vars) = inventory_and_vars(ini, yaml);
        let wrong = |host: &str| check(&vars.host(host).unwrap()).len();
        // One that is no node, one that becomes a pod, and a node that is no member.
        assert_eq!(["m1", "m2", "m3"].map(wrong), [0, 1, 0]);
    }
}
