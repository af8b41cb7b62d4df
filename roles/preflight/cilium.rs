//! What of cilium's variables does not go together, or is not done; and networks of the user's own.

use ipnet::Ipv4Net;
use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::findings::problem;
use super::settings::Setting;

/// What kubespray has of cilium and muster has not, where it is true or holds something, each with why it is refused.
const NOT_DONE: [(&str, &str, &str); 14] = [
    (
        "cilium_ipsec_enabled",
        "false: muster has no keys for IPsec",
        "remove it; WireGuard makes its own keys: set cilium_encryption_enabled: \
     true and cilium_encryption_type: wireguard",
    ),
    (
        "cilium_gateway_api_enabled",
        "false: the kinds of the Gateway API (gateway_api_enabled) come after cilium, which looks for them once",
        "set cilium_gateway_api_enabled: false",
    ),
    ("cilium_enable_bgp_control_plane", BGP.0, BGP.1),
    ("cilium_bgp_cluster_configs", BGP.0, BGP.1),
    ("cilium_bgp_peer_configs", BGP.0, BGP.1),
    ("cilium_bgp_advertisements", BGP.0, BGP.1),
    ("cilium_bgp_node_config_overrides", BGP.0, BGP.1),
    ("cilium_bgp_peering_policies", BGP.0, BGP.1),
    (
        "cilium_loadbalancer_ip_pools",
        "nothing: muster applies no CiliumLoadBalancerIPPool",
        "remove it, and put the object into the folder extension",
    ),
    (
        "cilium_hubble_export_dynamic_enabled",
        "false: muster does not set up what Hubble writes into files",
        "remove it, and say it in cilium_extra_values (hubble.export)",
    ),
    (
        "cilium_clusterrole_rules_operator_extra_vars",
        "nothing: the chart has no such value",
        "remove it, and put a ClusterRole of your own into the folder extension",
    ),
    (
        "cilium_agent_custom_args",
        "nothing: it is cilium_agent_extra_args today",
        "call it cilium_agent_extra_args",
    ),
    (
        "cilium_operator_custom_args",
        "nothing: it is cilium_operator_extra_args today",
        "call it cilium_operator_extra_args",
    ),
    (
        "cilium_install_extra_flags",
        "nothing: cilium's own program for the command line is not used",
        "say it as values of the chart, in cilium_extra_values",
    ),
];

const BGP: (&str, &str) = (
    "nothing: muster does not set up BGP",
    "remove it; where you set it up yourself, say bgpControlPlane in cilium_extra_values, and put the objects into the folder extension",
);

/// Everything of one machine's variables, where the network plugin is cilium.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    if Setting::of(vars, "kube_network_plugin").is_none_or(|plugin| plugin.text != "cilium") {
        return Vec::new();
    }
    let nothing = ["", "false", "[]", "{}"];
    let asked = |name| {
        let value = vars.get(name).ok().flatten();
        value.filter(|value| {
            value.as_bool() != Some(false) && !nothing.contains(&super::settings::text_of(value).as_str())
        })
    };
    let not_done = NOT_DONE.into_iter().filter_map(|(name, needed, remedy)| {
        asked(name)?;
        let told = Setting::of(vars, name).map(|setting| setting.wrong(needed, remedy));
        Some(told.unwrap_or_else(|| problem(name, "true", needed, remedy)))
    });
    not_done
        .chain(encryption(vars))
        .chain(routes(vars))
        .chain(answers(vars))
        .chain(pool(vars))
        .chain(addresses(vars))
        .collect()
}

/// The UDP port to which packets of pods go, where they are wrapped: cilium's own for vxlan, IANA's for Geneve.
pub(crate) fn tunnel_port(mode: &str) -> Option<u16> {
    match mode {
        "vxlan" => Some(8472),
        "geneve" => Some(6081),
        _ => None,
    }
}

fn tunnel(vars: &HostVars) -> String {
    Setting::of(vars, "cilium_tunnel_mode").map(|mode| mode.text).unwrap_or_default()
}

/// Keys are those that WireGuard makes.
fn encryption(vars: &HostVars) -> Option<Problem> {
    let is_on = vars.get("cilium_encryption_enabled").ok().flatten()?.as_bool()?;
    let way = Setting::of(vars, "cilium_encryption_type").filter(|way| is_on && way.text != "wireguard")?;
    Some(way.wrong(
        "wireguard, where cilium_encryption_enabled is true: muster has no keys for IPsec",
        "set cilium_encryption_type: wireguard, or cilium_encryption_enabled: false",
    ))
}

/// Nodes tell their kernels of each other's pods only where packets are sent as they are.
fn routes(vars: &HostVars) -> Option<Problem> {
    let routes = Setting::of(vars, "cilium_auto_direct_node_routes")?;
    let mode = tunnel(vars);
    (vars.get(routes.name).ok()??.as_bool() == Some(true) && mode != "disabled").then(|| {
        routes.wrong(
            format!("false, as cilium_tunnel_mode is {mode}: packets are wrapped, and their way is known"),
            "set cilium_tunnel_mode: disabled as well, or cilium_auto_direct_node_routes: false",
        )
    })
}

/// What answers directly has to see the packets as they were sent.
fn answers(vars: &HostVars) -> Option<Problem> {
    let mode = tunnel(vars);
    let answers = Setting::of(vars, "cilium_loadbalancer_mode").filter(|answers| answers.text != "snat")?;
    (mode != "disabled").then(|| {
        answers.wrong(
            format!("snat, as cilium_tunnel_mode is {mode}"),
            "set cilium_loadbalancer_mode: snat, or cilium_tunnel_mode: disabled",
        )
    })
}

/// The network of cilium's own pool: what muster knows of pods' addresses is kube_pods_subnet.
fn pool(vars: &HostVars) -> Option<Problem> {
    let net = |setting: &Setting| setting.text.parse::<Ipv4Net>().ok();
    let pods = Setting::of(vars, "kube_pods_subnet").as_ref().and_then(net)?;
    let pool = Setting::of(vars, "cilium_pool_cidr")?;
    (!net(&pool).is_some_and(|pool| pods.contains(&pool))).then(|| {
        pool.wrong(
            format!("a network inside of kube_pods_subnet, {pods}"),
            "remove cilium_pool_cidr to take all of that, or set kube_pods_subnet",
        )
    })
}

/// Pods have addresses of the families that the cluster has: of IPv4, and of IPv6 where `ipv6_stack` says so.
fn addresses(vars: &HostVars) -> Option<Problem> {
    let is = |name| vars.get(name).ok().flatten().and_then(|value| value.as_bool());
    let ipv4 = Setting::of(vars, "cilium_enable_ipv4").filter(|_| is("cilium_enable_ipv4") == Some(false));
    let ipv4 =
        ipv4.map(|ipv4| ipv4.wrong("true: clusters have IPv4 in any case", "set cilium_enable_ipv4: true"));
    let (asked, both) = (is("cilium_enable_ipv6"), is("ipv6_stack") == Some(true));
    let ipv6 = Setting::of(vars, "cilium_enable_ipv6").filter(|_| asked.is_some_and(|asked| asked != both));
    ipv4.or_else(|| {
        ipv6.map(|ipv6| {
            ipv6.wrong(format!("{both}, as ipv6_stack is"), "remove it, and set ipv6_stack as you want it")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::variables;
    use super::*;

    #[test]
    fn what_is_not_done_or_does_not_go_together_is_refused_by_its_name() {
        for (yaml, refused) in [
            ("", ""),
            (
                "cilium_encryption_enabled: false\ncilium_bgp_peering_policies: []\ncilium_install_extra_flags: ''",
                "",
            ),
            ("cilium_encryption_enabled: true", "cilium_encryption_type"),
            ("cilium_encryption_enabled: 'true'\ncilium_encryption_type: wireguard", ""),
            ("cilium_ipsec_enabled: 'yes'", "cilium_ipsec_enabled"),
            ("cilium_enable_ipv6: true", "cilium_enable_ipv6"),
            ("cilium_gateway_api_enabled: true", "cilium_gateway_api_enabled"),
            ("cilium_enable_bgp_control_plane: true", "cilium_enable_bgp_control_plane"),
            ("cilium_bgp_cluster_configs: [{name: a}]", "cilium_bgp_cluster_configs"),
            ("cilium_loadbalancer_ip_pools: [{name: a}]", "cilium_loadbalancer_ip_pools"),
            ("cilium_agent_custom_args: [--a]", "cilium_agent_custom_args"),
            ("cilium_install_extra_flags: --wait", "cilium_install_extra_flags"),
            ("cilium_auto_direct_node_routes: true", "cilium_auto_direct_node_routes"),
            ("cilium_auto_direct_node_routes: true\ncilium_tunnel_mode: disabled", ""),
            ("cilium_loadbalancer_mode: dsr", "cilium_loadbalancer_mode"),
            ("cilium_loadbalancer_mode: hybrid\ncilium_tunnel_mode: disabled", ""),
            ("cilium_pool_cidr: 10.233.64.0/20", ""),
            ("cilium_pool_cidr: 10.0.0.0/8", "cilium_pool_cidr"),
            ("cilium_enable_ipv4: false", "cilium_enable_ipv4"),
            ("cilium_enable_ipv6: true\nipv6_stack: true", ""),
            ("cilium_enable_ipv6: false\nipv6_stack: true", "cilium_enable_ipv6"),
        ] {
            let of = |plugin: &str| {
                let found = check(&variables(&format!("kube_network_plugin: {plugin}\n{yaml}")));
                found.into_iter().map(|problem| problem.check).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(of("cilium"), refused, "{yaml}");
            assert_eq!(of("flannel"), "", "{yaml}");
        }
    }
}
