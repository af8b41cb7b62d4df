//! What variables say to kubelets: with a wrong value one does not start.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Value};

use super::eviction::SIGNALS;
use super::findings::problem;
use super::settings::{Setting, place, text_of};
use crate::balancer::External;
use crate::common::nearest;

/// Everything about it that can be said of one host without the machine.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let mut problems = flags(vars);
    problems.extend(soft_eviction(vars));
    problems.extend(processors(vars));
    problems.extend(validity(vars));
    problems
}

fn text(vars: &HostVars, name: &str) -> Option<String> {
    let value = vars.get(name).ok()??;
    Some(text_of(&value)).filter(|text| !text.is_empty())
}

/// Arguments stand in a unit of systemd, where some characters have a meaning.
fn flags(vars: &HostVars) -> Vec<Problem> {
    let wrong = |name: &'static str| {
        let value = vars.get(name).ok().flatten();
        let all: Vec<String> =
            value.as_ref().and_then(Value::as_list).unwrap_or_default().iter().map(text_of).collect();
        let is_wrong = |flag: &String| {
            !flag.starts_with("--") || flag.contains(|c: char| c.is_whitespace() || "\"'\\$%".contains(c))
        };
        all.into_iter().find(is_wrong).map(|flag| {
            problem(
                name,
                format!("{flag}{}", place(vars, name)),
                "arguments as --NAME=VALUE, without blanks, quotes, $, % and \\",
                "say it as a field of the kubelet's configuration: kubelet_config_extra_args",
            )
        })
    };
    ["kubelet_custom_flags", "kubelet_node_custom_flags"].into_iter().filter_map(wrong).collect()
}

/// Each soft threshold has a time (Kubernetes' "Node-pressure Eviction").
fn soft_eviction(vars: &HostVars) -> Option<Problem> {
    let signals = |name: &str| -> Vec<String> {
        let value = vars.get(name).ok().flatten();
        value
            .as_ref()
            .and_then(Value::as_map)
            .into_iter()
            .flatten()
            .map(|(signal, _)| signal.clone())
            .collect()
    };
    let unknown = ["eviction_soft", "eviction_minimum_reclaim"].into_iter().find_map(|name| {
        let signal = signals(name).into_iter().find(|signal| !SIGNALS.contains(&signal.as_str()))?;
        Some(problem(
            name,
            format!("{signal}{}", place(vars, name)),
            format!("one of {}", SIGNALS.join(", ")),
            match nearest(&signal, &SIGNALS) {
                Some(meant) => format!("write {meant}"),
                None => "write it as {memory.available: 200Mi}".to_owned(),
            },
        ))
    });
    let (mut soft, mut times) = (signals("eviction_soft"), signals("eviction_soft_grace_period"));
    soft.sort();
    times.sort();
    unknown.or_else(|| {
        (soft != times).then(|| {
            problem(
                "eviction_soft_grace_period",
                format!("times for {:?}{}", times, place(vars, "eviction_soft_grace_period")),
                format!("a time for each of eviction_soft, {soft:?}"),
                "write them as eviction_soft: {memory.available: 200Mi}, eviction_soft_grace_period: {memory.available: 1m30s}",
            )
        })
    })
}

/// Whole processors are given away where some are kept (Kubernetes' "Control CPU Management Policies on the Node").
fn processors(vars: &HostVars) -> Option<Problem> {
    let setting =
        Setting::of(vars, "kubelet_cpu_manager_policy").filter(|setting| setting.text == "static")?;
    let is_on = |name: &str| vars.get(name).ok().flatten().and_then(|value| value.as_bool()) == Some(true);
    let own = vars.get("kubelet_config_extra_args").ok().flatten();
    let has = |field: &str| own.as_ref().and_then(Value::as_map).is_some_and(|map| map.contains_key(field));
    let is_kept = is_on("kube_reserved") || is_on("system_reserved");
    (!is_kept && !["reservedSystemCPUs", "kubeReserved", "systemReserved"].into_iter().any(has)).then(|| {
        setting.wrong(
            "processors that are kept from pods: without any the kubelet does not start",
            "set kube_reserved: true, which keeps kube_cpu_reserved",
        )
    })
}

/// What ends within a month is renewed at each run, and no certificate is of use when its authority has ended.
fn validity(vars: &HostVars) -> Option<Problem> {
    let hours = |setting: &Setting| {
        setting.text.split_once('h').and_then(|(hours, _)| hours.parse::<u64>().ok()).unwrap_or(0)
    };
    let own = Setting::of(vars, "kube_cert_validity_period");
    if let Some(setting) = own.as_ref().filter(|setting| hours(setting) < 1440) {
        return Some(setting.wrong(
            "at least 1440h, 60 days: setup-cluster renews what ends within 30 days",
            "set kube_cert_validity_period: 8760h",
        ));
    }
    let lasts = own.as_ref().map_or(8760, hours);
    let authority =
        Setting::of(vars, "kube_ca_cert_validity_period").filter(|setting| hours(setting) < lasts)?;
    let remedy = match hours(&authority) {
        // The authority of a cluster that has begun stays.
        hours @ 1440.. => format!(
            "set kube_cert_validity_period: {hours}h; a cluster that is still to begin can have \
             kube_ca_cert_validity_period: 87600h in its place"
        ),
        _ => "set kube_ca_cert_validity_period: 87600h".to_owned(),
    };
    Some(authority.wrong(
        format!("at least {lasts}h, for which the certificates are valid that it signs (kube_cert_validity_period)"),
        remedy,
    ))
}

/// That kubelets may speak with the control planes and with what stands in front of them. Sample lists have addresses of somebody
/// else's.
pub(super) fn locked_out(host: &str, vars: &HostVars, planes: &[(&str, HostVars)]) -> Vec<Problem> {
    const NAME: &str = "kubelet_secure_addresses";
    let is_on = vars.get("kubelet_systemd_hardening").ok().flatten().and_then(|value| value.as_bool());
    let Some(setting) = Setting::of(vars, NAME).filter(|_| is_on == Some(true)) else { return Vec::new() };
    let mut networks: Vec<Ipv4Net> = Vec::new();
    for word in setting.text.split_whitespace() {
        match (word, word.parse::<Ipv4Net>(), word.parse::<Ipv4Addr>()) {
            ("any", ..) => return Vec::new(),
            ("localhost" | "link-local" | "multicast", ..) => {}
            (_, Ok(network), _) => networks.push(network),
            (_, _, Ok(address)) => networks.push(Ipv4Net::from(address)),
            _ if word.contains(':') => {}
            _ => {
                let needed = "addresses, networks in CIDR notation, localhost, link-local, multicast or any, with blanks between them";
                return vec![setting.wrong(needed, format!("correct {word:?}"))];
            }
        }
    }
    let mut needed: Vec<(String, Ipv4Addr)> = planes
        .iter()
        .filter(|(plane, _)| *plane != host)
        .flat_map(|(plane, vars)| {
            let all = ["ip", "access_ip"].into_iter().filter_map(|name| text(vars, name)?.parse().ok());
            all.map(|address| ((*plane).to_owned(), address)).collect::<Vec<_>>()
        })
        .collect();
    if let Ok(Some(external)) = External::of(vars)
        && let Some(std::net::IpAddr::V4(address)) = external.address()
    {
        needed.push(("the load balancer".to_owned(), address));
    }
    let missing =
        needed.into_iter().find(|(_, address)| !networks.iter().any(|network| network.contains(address)));
    let tell = |(who, address): (String, Ipv4Addr)| {
        setting.wrong(
            format!(
                "{address}, the address of {who}, among them: the kubelet could not speak with the API server"
            ),
            format!("add {address}, or remove {NAME}: then it is worked out"),
        )
    };
    missing.map(tell).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{each_is_refused, inventory_and_vars, told, variables};
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn what_would_keep_a_kubelet_from_starting_is_refused() {
        let rows = [
            ("", ""),
            ("kubelet_custom_flags: [--v=3]", ""),
            ("kubelet_custom_flags: [v=3]", "kubelet_custom_flags: v=3"),
            ("kubelet_node_custom_flags: ['--node-labels=a b']", "kubelet_node_custom_flags: --node-labels=a b"),
            ("eviction_soft: {memory.available: 200Mi}", "eviction_soft_grace_period: times for []"),
            ("eviction_soft: {memory.available: 200Mi}\neviction_soft_grace_period: {memory.available: 30s}", ""),
            ("eviction_minimum_reclaim: {memory: 1Mi}", "eviction_minimum_reclaim: memory"),
            ("kubelet_cpu_manager_policy: static", "kubelet_cpu_manager_policy: static"),
            ("kubelet_cpu_manager_policy: static\nkube_reserved: true", ""),
            ("kube_cert_validity_period: 720h", "kube_cert_validity_period: 720h"),
            ("kube_cert_validity_period: 8760h", ""),
            ("kube_ca_cert_validity_period: 8759h", "kube_ca_cert_validity_period: 8759h"),
            ("kube_ca_cert_validity_period: 2000h\nkube_cert_validity_period: 2000h", ""),
            ("kube_ca_cert_validity_period: 8760h\nkube_cert_validity_period: 10000h", "kube_ca_cert_validity_period: 8760h"),
        ];
        each_is_refused(&rows, |yaml| {
            check(&variables(&format!("skydns_server: 10.233.0.3\n{yaml}"))).iter().map(told).collect()
        });
    }

    #[test]
    fn a_list_without_a_control_plane_locks_the_kubelet_out() {
        let ini = "a ip=192.0.2.4\nb ip=192.0.2.5\n[kube_control_plane]\na\n[etcd]\na\n[kube_node]\nb\n";
        let refused = |list: &str| {
            let yaml = format!(
                "skydns_server: 10.233.0.3\nkubelet_systemd_hardening: true\nkubelet_secure_addresses: {list}"
            );
            let (_, vars) = inventory_and_vars(ini, &yaml);
            let planes = [("a", vars.host("a").unwrap())];
            locked_out("b", &vars.host("b").unwrap(), &planes)
                .into_iter()
                .map(|problem| problem.needed)
                .next()
        };
        let missing = refused("localhost link-local 10.233.64.0/18 192.168.10.110").unwrap();
        assert!(missing.starts_with("192.0.2.4, the address of a"), "{missing}");
        assert!(
            refused("localhost 192.0.2.4").is_none()
                && refused("192.0.2.0/24").is_none()
                && refused("any").is_none()
        );
        assert!(refused("localhost, 192.0.2.4").unwrap().starts_with("addresses, networks"));
    }
}
