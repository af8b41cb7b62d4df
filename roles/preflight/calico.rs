//! What of calico's variables does not go together, or is not done.

use ipnet::Ipv4Net;
use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::findings::problem;
use super::settings::Setting;
use crate::common::is_dns_name;

/// What kubespray has of calico and muster has not, each with why it is refused.
const NOT_DONE: [(&str, &str, &str); 5] = [
    (
        "calico_bpf_enabled",
        "false: eBPF takes the place of kube-proxy, which muster sets up",
        "set calico_bpf_enabled: false",
    ),
    (
        "calico_wireguard_enabled",
        "false: packets between nodes are not encrypted, because muster brings no WireGuard to the machines",
        "set calico_wireguard_enabled: false",
    ),
    (
        "typha_secure",
        "false: muster makes no certificates for typha and calico-node",
        "set typha_secure: false",
    ),
    (
        "peer_with_router",
        "false: the nodes are peers of each other, and muster tells them of no router",
        "set peer_with_router: false, and apply a BGPPeer when the cluster stands",
    ),
    (
        "peer_with_calico_rr",
        "false: the nodes are peers of each other, without route reflectors",
        "take the machines out of the group calico_rr",
    ),
];

/// Everything of one machine's variables, where the network plugin is calico.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    if Setting::of(vars, "kube_network_plugin").is_none_or(|plugin| plugin.text != "calico") {
        return Vec::new();
    }
    let asked = |name: &str| vars.get(name).ok().flatten().and_then(|value| value.as_bool()) == Some(true);
    let not_done = NOT_DONE.into_iter().filter(|(name, ..)| asked(name)).map(|(name, needed, remedy)| {
        let told = Setting::of(vars, name).map(|setting| setting.wrong(needed, remedy));
        told.unwrap_or_else(|| problem(name, "true", needed, remedy))
    });
    let datastore = Setting::of(vars, "calico_datastore").filter(|setting| setting.text != "kdd");
    let datastore = datastore.map(|setting| {
        setting.wrong("kdd: what calico has to remember lies in the API server", "remove calico_datastore")
    });
    not_done.chain(datastore).chain(modes(vars)).chain(pool(vars)).collect()
}

/// One way between nodes at a time, and one that the backend knows.
fn modes(vars: &HostVars) -> Option<Problem> {
    let text = |name| Setting::of(vars, name).map(|setting| setting.text).unwrap_or_default();
    let (backend, vxlan) = (text("calico_network_backend"), text("calico_vxlan_mode"));
    let ipip = Setting::of(vars, "calico_ipip_mode")?;
    // Both at once: whoever did the one would be told of the other.
    let against = [
        (vxlan != "Never").then(|| (format!("calico_vxlan_mode is {vxlan}"), "calico_vxlan_mode: Never")),
        (backend != "bird").then(|| {
            (
                format!("calico_network_backend is {backend}, and ipip's routes come by BGP"),
                "calico_network_backend: bird",
            )
        }),
    ];
    let (found, lines): (Vec<String>, Vec<&str>) = against.into_iter().flatten().unzip();
    if ipip.text != "Never" && !lines.is_empty() {
        return Some(ipip.wrong(
            format!("Never, as {}", found.join(", and ")),
            format!("set {} as well; or, for vxlan, calico_ipip_mode: Never", lines.join(" and ")),
        ));
    }
    let vxlan = Setting::of(vars, "calico_vxlan_mode")?;
    (vxlan.text == "Never" && backend == "vxlan").then(|| {
        vxlan.wrong(
            "Always or CrossSubnet with calico_network_backend vxlan: nodes would have no way to each other's pods",
            "set calico_vxlan_mode: Always, or calico_network_backend: bird",
        )
    })
}

fn pool(vars: &HostVars) -> Vec<Problem> {
    let name = Setting::of(vars, "calico_pool_name").filter(|setting| !is_dns_name(&setting.text));
    let name = name.map(|setting| {
        setting.wrong(
            "a DNS name: small letters, digits, hyphens and dots",
            "set calico_pool_name: default-pool",
        )
    });
    let net = |setting: &Setting| setting.text.parse::<Ipv4Net>().ok();
    let pods = Setting::of(vars, "kube_pods_subnet").as_ref().and_then(net);
    let cidr = Setting::of(vars, "calico_pool_cidr");
    let outside =
        cidr.as_ref().zip(pods).filter(|(cidr, pods)| !net(cidr).is_some_and(|cidr| pods.contains(&cidr)));
    let outside = outside.map(|(cidr, pods)| {
        cidr.wrong(
            format!("a network inside of kube_pods_subnet, {pods}"),
            "remove calico_pool_cidr to take all of that",
        )
    });
    let size = Setting::of(vars, "calico_pool_blocksize");
    let whole = cidr.as_ref().and_then(net).or(pods);
    let block = size.as_ref().and_then(|size| size.text.parse::<u8>().ok());
    let too_big = size.zip(whole).filter(|(_, whole)| block.is_some_and(|block| block < whole.prefix_len()));
    let too_big = too_big.map(|(size, whole)| {
        size.wrong(
            format!("at least {}, the prefix of the pool {whole}", whole.prefix_len()),
            "set calico_pool_blocksize: 26",
        )
    });
    name.into_iter().chain(outside).chain(too_big).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::variables;
    use super::*;

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        let rows = [
            ("", ""),
            ("calico_network_backend: bird\ncalico_vxlan_mode: Never\ncalico_ipip_mode: CrossSubnet", ""),
            ("calico_network_backend: none\ncalico_vxlan_mode: Never", ""),
            ("calico_ipip_mode: Always", "calico_ipip_mode"),
            ("calico_ipip_mode: Always\ncalico_vxlan_mode: Never", "calico_ipip_mode"),
            ("calico_vxlan_mode: Never", "calico_vxlan_mode"),
            ("calico_bpf_enabled: true", "calico_bpf_enabled"),
            ("calico_wireguard_enabled: 'yes'", "calico_wireguard_enabled"),
            ("typha_secure: true", "typha_secure"),
            ("peer_with_router: true", "peer_with_router"),
            ("peer_with_router: false", ""),
            ("calico_datastore: etcd", "calico_datastore"),
            ("calico_datastore: kdd", ""),
            ("calico_pool_name: Default_Pool", "calico_pool_name"),
            ("calico_pool_cidr: 10.233.64.0/20", ""),
            ("calico_pool_cidr: 10.0.0.0/20", "calico_pool_cidr"),
            ("calico_pool_cidr: 10.233.64.0/24\ncalico_pool_blocksize: 20", "calico_pool_blocksize"),
        ];
        for (yaml, expected) in rows {
            let found = check(&variables(&format!("kube_network_plugin: calico\n{yaml}")));
            let names: Vec<&str> = found.iter().map(|problem| problem.check.as_str()).collect();
            assert_eq!(names.join(" "), expected, "{yaml}");
            assert!(check(&variables(&format!("kube_network_plugin: flannel\n{yaml}"))).is_empty());
        }
    }

    #[test]
    fn what_ipip_needs_is_told_at_once_and_then_nothing_is_refused() {
        let refused = |yaml: &str| check(&variables(&format!("kube_network_plugin: calico\n{yaml}")));
        for (yaml, missing) in [
            ("calico_ipip_mode: Always", "calico_vxlan_mode: Never and calico_network_backend: bird"),
            ("calico_ipip_mode: Always\ncalico_vxlan_mode: Never", "calico_network_backend: bird"),
            ("calico_ipip_mode: Always\ncalico_network_backend: bird", "calico_vxlan_mode: Never"),
        ] {
            let remedy = refused(yaml).swap_remove(0).remedy;
            assert_eq!(remedy, format!("set {missing} as well; or, for vxlan, calico_ipip_mode: Never"));
            let followed = format!("{yaml}\n{}", missing.replace(" and ", "\n"));
            assert!(refused(&followed).is_empty(), "{followed}");
        }
    }
}
