//! A second family of addresses (`ipv6_stack`): what its variables must be, and what a machine must have for it.

use std::net::IpAddr;

use ipnet::Ipv6Net;
use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::Machine;
use super::findings::problem;
use super::settings::{Setting, number};
use super::subnets::{have_parts, is_ours};
use crate::addresses::{beside, is_of_node, listed};

const PODS: &str = "kube_pods_subnet_ipv6";
const SERVICES: &str = "kube_service_addresses_ipv6";
const NODE_PREFIX: &str = "kube_network_node_prefix_ipv6";

/// The limits of kubeadm, of the API server and of flannel on the two networks.
const LARGEST_SERVICES: u8 = 108;
const SMALLEST_SERVICES: u8 = 124;
const MOST_NODES_BITS: u8 = 16;
const SMALLEST_PODS: u8 = 124;
/// A node's part has at least two addresses beside the first and the last one.
const SMALLEST_PART: u8 = 126;

/// The network plugins that give pods addresses of both families here.
const PLUGINS: [&str; 3] = ["flannel", "calico", "cilium"];

fn is(vars: &HostVars, name: &str) -> bool {
    vars.get(name).ok().flatten().and_then(|value| value.as_bool()) == Some(true)
}

/// Everything of one machine's variables. `nodes`: how many there are.
pub(super) fn check(vars: &HostVars, nodes: usize) -> Vec<Problem> {
    if !is(vars, "ipv6_stack") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let plugin = Setting::of(vars, "kube_network_plugin");
    let others = plugin.as_ref().filter(|plugin| !PLUGINS.contains(&plugin.text.as_str()));
    problems.extend(others.map(|plugin| {
        plugin.wrong(
            "flannel, calico or cilium, with ipv6_stack: of another network muster does not know whether it has IPv6",
            "set kube_network_plugin: flannel, or calico, or cilium; or ipv6_stack: false",
        )
    }));
    let policies = Setting::of(vars, "network_policies_enabled");
    let policies = policies.filter(|_| is(vars, "network_policies_enabled"));
    problems.extend(policies.map(|policies| {
        policies.wrong(
            "false, with ipv6_stack: the policies that muster adds to flannel hold for IPv4 alone",
            "set network_policies_enabled: false; or kube_network_plugin: calico or cilium, which keep to policies with both",
        )
    }));
    let mut read = |name| {
        let setting = Setting::of(vars, name)?;
        network(&setting).map_err(|problem| problems.push(problem)).ok()
    };
    let (pods, services) = (read(PODS), read(SERVICES));
    problems.extend(services.and_then(|services| size_of_services(vars, services)));
    if let (Some(pods), Some(services)) = (pods, services)
        && (pods.contains(&services) || services.contains(&pods))
        && let Some(setting) = Setting::of(vars, PODS)
    {
        let remedy = format!("set {PODS} or {SERVICES} to another network");
        problems.push(setting.wrong(format!("a network apart from {SERVICES} {services}"), remedy));
    }
    if let Some(pods) = pods {
        problems.extend(room(vars, pods, nodes));
        let name = plugin.map(|plugin| plugin.text).unwrap_or_default();
        problems.extend(of_plugin(vars, &name, pods));
    }
    problems.extend(written(vars));
    problems
}

fn network(setting: &Setting) -> Result<Ipv6Net, Problem> {
    let example =
        if setting.name == PODS { "fd85:ee78:d8a6:8607::1:0/112" } else { "fd85:ee78:d8a6:8607::1000/116" };
    match setting.text.parse::<Ipv6Net>() {
        Ok(net) if net == net.trunc() => Ok(net),
        Ok(net) => {
            let network = net.trunc().to_string();
            let remedy = format!("set {}: {network}", setting.name);
            Err(setting.wrong(format!("the network's own address, {network}"), remedy))
        }
        Err(_) => Err(setting
            .wrong(format!("a network of IPv6, as {example}"), format!("set {}: {example}", setting.name))),
    }
}

fn size_of_services(vars: &HostVars, services: Ipv6Net) -> Option<Problem> {
    let fits = (LARGEST_SERVICES..=SMALLEST_SERVICES).contains(&services.prefix_len());
    let setting = Setting::of(vars, SERVICES).filter(|_| !fits)?;
    Some(setting.wrong(
        format!("a prefix length from {LARGEST_SERVICES} to {SMALLEST_SERVICES}"),
        format!("set {SERVICES}: {}/{LARGEST_SERVICES}", services.network()),
    ))
}

/// That each node gets a part that is large enough for its pods.
fn room(vars: &HostVars, pods: Ipv6Net, nodes: usize) -> Option<Problem> {
    let length = pods.prefix_len();
    if length > SMALLEST_PODS {
        let needed = format!("a prefix length of at most {SMALLEST_PODS}");
        return Some(Setting::of(vars, PODS)?.wrong(needed, format!("set {PODS} to a larger network")));
    }
    let setting = Setting::of(vars, NODE_PREFIX)?;
    let prefix = u8::try_from(number(vars, NODE_PREFIX)?).unwrap_or(u8::MAX);
    let longest = SMALLEST_PART.min(length + MOST_NODES_BITS);
    if !(length..=longest).contains(&prefix) {
        let remedy = format!("set {NODE_PREFIX}: {}", (length + 8).min(longest));
        return Some(setting.wrong(format!("{length} to {longest}, for {PODS} {pods}"), remedy));
    }
    if !have_parts(vars) {
        return None;
    }
    let (room, most) = (1_usize << (prefix - length), (1_i128 << (128 - prefix).min(100)) - 2);
    let remedy = format!("set {PODS} to a larger network, or {NODE_PREFIX} to a greater number");
    if room < nodes {
        let found = format!("{PODS} {pods} and {NODE_PREFIX} {prefix}: room for {room} nodes");
        return Some(problem(PODS, found, format!("room for the {nodes} nodes there are"), remedy));
    }
    let wanted = Setting::of(vars, "kubelet_max_pods");
    let wanted = wanted
        .filter(|_| number(vars, "kubelet_max_pods").is_some_and(|wanted| i128::from(wanted) > most))?;
    Some(wanted.wrong(
        format!("at most {most}, the addresses of a node with {NODE_PREFIX} {prefix}"),
        format!("set kubelet_max_pods: {most}, or {NODE_PREFIX} to a smaller number"),
    ))
}

/// What of the network plugin's own variables does not go together. `pods`: the network of all pods.
fn of_plugin(vars: &HostVars, plugin: &str, pods: Ipv6Net) -> Vec<Problem> {
    let (pool, size) = match plugin {
        "calico" => ("calico_pool_cidr_ipv6", "calico_pool_blocksize_ipv6"),
        "cilium" => ("cilium_pool_cidr_ipv6", "cilium_pool_mask_size_ipv6"),
        _ => return Vec::new(),
    };
    let mut problems = Vec::new();
    let setting = Setting::of(vars, pool);
    let whole = setting.as_ref().and_then(|setting| setting.text.parse::<Ipv6Net>().ok());
    if let Some(setting) = setting.filter(|_| !whole.is_some_and(|whole| pods.contains(&whole))) {
        let remedy = format!("remove {pool} to take all of that");
        problems.push(setting.wrong(format!("a network inside of {PODS}, {pods}"), remedy));
    }
    let whole = whole.unwrap_or(pods);
    let length = i64::from(whole.prefix_len());
    if let Some(setting) =
        Setting::of(vars, size).filter(|_| number(vars, size).is_some_and(|size| size < length))
    {
        let remedy = format!("set {size} to a greater number");
        problems.push(setting.wrong(format!("at least {length}, the prefix of the pool {whole}"), remedy));
    }
    // cilium's operator takes no pool that would be cut into more parts (clusterSubnetMaxDiff).
    let longest = length + i64::from(MOST_NODES_BITS);
    if let Some(setting) = Setting::of(vars, size)
        .filter(|_| plugin == "cilium" && number(vars, size).is_some_and(|size| size > longest))
    {
        let remedy = format!("set {size} to a smaller number");
        problems.push(setting.wrong(format!("at most {longest}, for the pool {whole}"), remedy));
    }
    let backend = Setting::of(vars, "calico_network_backend").filter(|_| plugin == "calico");
    let mode = Setting::of(vars, "calico_vxlan_mode_ipv6").filter(|mode| mode.text == "Never");
    if let Some(mode) = mode.filter(|_| backend.is_some_and(|backend| backend.text == "vxlan")) {
        problems.push(mode.wrong(
            "Always or CrossSubnet with calico_network_backend vxlan: nodes would have no way to each other's pods",
            "set calico_vxlan_mode_ipv6: Always, or calico_network_backend: bird",
        ));
    }
    problems
}

/// The address that the inventory gives a machine.
fn written(vars: &HostVars) -> Option<Problem> {
    let setting = Setting::of(vars, "ip6")?;
    let is_good = setting.text.parse().is_ok_and(|address| is_of_node(&address));
    (!is_good).then(|| {
        let remedy = format!("correct ip6 of {}", vars.name());
        setting.wrong("an address of IPv6 of the machine that is good beyond its own link", remedy)
    })
}

/// What preflight asks a machine of which a second family is wanted. Prints which interfaces have none (`all`: those that there are;
/// `default`: those that are still to come, as the bridge of pods); and the interfaces whose default route came by an advertisement of
/// a router that the kernel itself has read (accept_ra 1), or an address: it goes, soon or when its time is over, as soon as the machine
/// hands packets on (the kernel's ip-sysctl.rst, accept_ra).
pub(super) const LOOK: &str = r#"
for interfaces in all default; do
  disabled=/proc/sys/net/ipv6/conf/$interfaces/disable_ipv6
  if [ ! -r "$disabled" ] || [ "$(cat "$disabled")" != 0 ]; then echo "without $interfaces"; fi
done
ip -6 route show default 2>/dev/null | while read -r route; do
  case $route in *' proto ra '* | *' proto kernel '*' expires '*) ;; *) continue ;; esac
  interface=${route#* dev }
  interface=${interface%% *}
  accepts=/proc/sys/net/ipv6/conf/$interface/accept_ra
  if [ -r "$accepts" ] && [ "$(cat "$accepts")" = 1 ]; then echo "advertised $interface"; fi
done
ip -6 -o addr show scope global 2>/dev/null | while read -r _ interface address; do
  case $address in *' dynamic '* | *' mngtmpaddr '*) ;; *) continue ;; esac
  accepts=/proc/sys/net/ipv6/conf/$interface/accept_ra
  if [ -r "$accepts" ] && [ "$(cat "$accepts")" = 1 ]; then echo "advertised $interface"; fi
done"#;

/// What was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ipv6 {
    without: Vec<String>,
    advertised: Vec<String>,
}

impl Ipv6 {
    pub(super) fn parse(answer: &str) -> Self {
        let of = |kind: &str| {
            let lines = answer.lines().filter_map(|line| line.strip_prefix(kind));
            let mut all: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
            all.dedup();
            all
        };
        Self { without: of("without "), advertised: of("advertised ") }
    }
}

/// Everything about a machine.
pub(super) fn of_machine(machine: &Machine) -> Vec<Problem> {
    let is_node = machine.duties.control_plane || machine.duties.node;
    if !machine.cluster.ipv6_stack || !is_node {
        return Vec::new();
    }
    let mut problems = switched_off(machine);
    if problems.is_empty() {
        problems.extend(no_address(machine));
    }
    for interface in &machine.seen.ipv6.advertised {
        problems.push(problem(
            "ipv6_stack",
            format!(
                "the route or address of IPv6 of {interface} comes of router advertisements, which the kernel ignores when the machine hands \
                 packets on"
            ),
            format!("net.ipv6.conf.{interface}.accept_ra = 2, or a route and an address that are configured"),
            format!(
                "on the machine: write net.ipv6.conf.{interface}.accept_ra = 2 into a file of /etc/sysctl.d, and give it to sysctl -p"
            ),
        ));
    }
    problems.extend(own_networks(machine));
    problems
}

fn switched_off(machine: &Machine) -> Vec<Problem> {
    let tell = |interfaces: &String| {
        problem(
            "ipv6_stack",
            format!("the machine's kernel has no IPv6 (net.ipv6.conf.{interfaces}.disable_ipv6)"),
            "IPv6 on the machine, for its pods",
            format!(
                "switch it on: net.ipv6.conf.{interfaces}.disable_ipv6 = 0, no ipv6.disable=1 for the kernel; or set ipv6_stack: false"
            ),
        )
    };
    machine.seen.ipv6.without.iter().take(1).map(tell).collect()
}

/// A node's address of IPv6 is one of the machine's, and it is known which.
fn no_address(machine: &Machine) -> Option<Problem> {
    let written = machine.vars.ip6.as_deref().and_then(|ip6| ip6.parse::<IpAddr>().ok());
    let own =
        machine.vars.ip.as_deref().and_then(|ip| ip.parse().ok()).or_else(|| machine.facts.default_ip())?;
    let found = beside(machine.facts, own);
    if let Some(ip6) = written.filter(|ip6| machine.facts.interface_of(*ip6).is_none()) {
        return Some(problem(
            "ip6",
            format!(
                "{ip6} is not an address of the machine: beside {own} it has {}",
                if found.is_empty() { "none of IPv6".to_owned() } else { listed(&found) }
            ),
            "one of the machine's addresses",
            "correct ip6 in the inventory",
        ));
    }
    // flannel's packets leave by the interface that it has for IPv4.
    let chosen = [&machine.vars.flannel_interface, &machine.vars.flannel_interface_regexp];
    let is_flannels =
        machine.vars.kube_network_plugin == "flannel" && chosen.iter().all(|interface| interface.is_none());
    match (written, found.as_slice()) {
        (Some(_), []) if is_flannels => Some(problem(
            "ip6",
            format!("the interface with {own} has no address of IPv6"),
            "one there, because flannel sends packets of both families by that interface",
            "give it one, or choose another interface: ip of the machine, or flannel_interface",
        )),
        (Some(_), _) | (None, [_]) => None,
        (None, []) => Some(problem(
            "ip6",
            format!("no address of IPv6 beside {own}"),
            "one that is good beyond the machine's own link",
            "give the interface one, or set ip6 in the inventory where another one has it; or set ipv6_stack: false",
        )),
        (None, several) => Some(problem(
            "ip6",
            format!("several addresses of IPv6 beside {own}: {}", listed(several)),
            "one that is the node's",
            "set ip6 in the inventory to the one that stays",
        )),
    }
}

/// The networks that the machine is in must stay reachable: none may overlap the pods' or the services'.
fn own_networks(machine: &Machine) -> Vec<Problem> {
    let cluster = machine.cluster;
    let nets = [(PODS, &cluster.kube_pods_subnet_ipv6), (SERVICES, &cluster.kube_service_addresses_ipv6)];
    let mut problems = Vec::new();
    for address in machine.facts.addresses.iter().filter(|address| !is_ours(&address.interface)) {
        let IpAddr::V6(ip) = address.ip else { continue };
        let Some(own) = Ipv6Net::new(ip, address.prefix).ok().map(|net| net.trunc()) else { continue };
        let nets = nets.iter().filter_map(|(name, net)| Some((*name, net.parse::<Ipv6Net>().ok()?)));
        for (name, net) in nets.filter(|(_, net)| net.contains(&own) || own.contains(net)) {
            problems.push(problem(
                name,
                format!("{net} overlaps {own}, in which the machine is ({})", address.interface),
                "a network that the machines do not use",
                format!("set {name} to another network"),
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, address, told, variables};
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn variables_of_a_second_family_fit_together() {
        let rows = [
            ("", 3, ""),
            ("kube_network_plugin: calico", 3, ""),
            ("kube_network_plugin: cilium", 3, ""),
            ("kube_network_plugin: none", 3, "kube_network_plugin: none (vars.yml:2:22)"),
            ("kube_network_plugin: custom_cni", 3, "kube_network_plugin: custom_cni (vars.yml:2:22)"),
            ("network_policies_enabled: true", 3, "network_policies_enabled: true (vars.yml:2:27)"),
            ("", 257, "kube_pods_subnet_ipv6: kube_pods_subnet_ipv6 fd85:ee78:d8a6:8607::1:0/112 and kube_network_node_prefix_ipv6 120: room for 256 nodes"),
            ("kube_pods_subnet_ipv6: 10.0.0.0/16", 3, "kube_pods_subnet_ipv6: 10.0.0.0/16 (vars.yml:2:24)"),
            ("kube_pods_subnet_ipv6: fd00::1:1/112", 3, "kube_pods_subnet_ipv6: fd00::1:1/112 (vars.yml:2:24)"),
            ("kube_pods_subnet_ipv6: fd85:ee78:d8a6:8607::/64\nkube_network_node_prefix_ipv6: 80", 3,
             "kube_pods_subnet_ipv6: fd85:ee78:d8a6:8607::/64 (vars.yml:2:24)"),
            ("kube_pods_subnet_ipv6: fd00::/48\nkube_network_node_prefix_ipv6: 64", 3, ""),
            ("kube_pods_subnet_ipv6: fd00::/48", 3, "kube_network_node_prefix_ipv6: 120"),
            ("kube_pods_subnet_ipv6: fd00::/125", 3, "kube_pods_subnet_ipv6: fd00::/125 (vars.yml:2:24)"),
            ("kube_network_node_prefix_ipv6: 122", 3, "kubelet_max_pods: 110"),
            ("kube_network_node_prefix_ipv6: 111", 3, "kube_network_node_prefix_ipv6: 111 (vars.yml:2:32)"),
            ("kube_service_addresses_ipv6: fd01::/64", 3, "kube_service_addresses_ipv6: fd01::/64 (vars.yml:2:30)"),
            ("kube_service_addresses_ipv6: fd01::/108", 3, ""),
            ("ip6: 2001:db8::4", 3, ""),
            ("ip6: fe80::4", 3, "ip6: fe80::4 (vars.yml:2:6)"),
            ("ip6: 192.0.2.4", 3, "ip6: 192.0.2.4 (vars.yml:2:6)"),
            ("kube_network_plugin: calico\ncalico_pool_cidr_ipv6: fd00::/112", 3, "calico_pool_cidr_ipv6: fd00::/112 (vars.yml:3:24)"),
            ("kube_network_plugin: calico\ncalico_pool_cidr_ipv6: fd85:ee78:d8a6:8607::1:0/123", 3,
             "calico_pool_blocksize_ipv6: 122"),
            ("kube_network_plugin: calico\ncalico_vxlan_mode_ipv6: Never", 3, "calico_vxlan_mode_ipv6: Never (vars.yml:3:25)"),
            ("kube_network_plugin: cilium\ncilium_pool_cidr_ipv6: fd00::/112", 3, "cilium_pool_cidr_ipv6: fd00::/112 (vars.yml:3:24)"),
        ];
        for (yaml, nodes, expected) in rows {
            let found = |stack: &str| {
                let problems = check(&variables(&format!("{stack}\n{yaml}")), nodes);
                problems.iter().map(told).collect::<Vec<_>>().join("; ")
            };
            assert_eq!(found("ipv6_stack: true"), expected, "{yaml}");
            assert_eq!(found("ipv6_stack: false"), "", "{yaml}");
        }
    }

    #[test]
    fn a_machine_has_one_address_of_ipv6_that_is_the_nodes() {
        let found = |change: &dyn Fn(&mut Fixture)| {
            let mut fixture = Fixture::good();
            fixture.cluster.ipv6_stack = true;
            fixture.facts.addresses.push(address("eth0", "fe80::4", 64));
            change(&mut fixture);
            of_machine(&fixture.machine()).iter().map(told).collect::<Vec<_>>().join("; ")
        };
        let with = |interface: &'static str, ip: &'static str| {
            move |fixture: &mut Fixture| fixture.facts.addresses.push(address(interface, ip, 64))
        };
        assert_eq!(found(&|_| ()), "ip6: no address of IPv6 beside 192.0.2.4");
        assert_eq!(found(&|fixture| fixture.cluster.ipv6_stack = false), "");
        assert_eq!(found(&with("eth0", "2001:db8::4")), "");
        assert_eq!(found(&with("eth1", "2001:db8::4")), "ip6: no address of IPv6 beside 192.0.2.4");
        let several = |fixture: &mut Fixture| {
            with("eth0", "2001:db8::4")(fixture);
            with("eth0", "2001:db8::5")(fixture);
        };
        assert_eq!(
            found(&several),
            "ip6: several addresses of IPv6 beside 192.0.2.4: 2001:db8::4, 2001:db8::5"
        );
        let chosen = |fixture: &mut Fixture| {
            several(fixture);
            fixture.vars.ip6 = Some("2001:db8::5".into());
        };
        assert_eq!(found(&chosen), "");
        let elsewhere = |fixture: &mut Fixture| {
            with("eth1", "2001:db8::5")(fixture);
            fixture.vars.ip6 = Some("2001:db8::5".into());
        };
        assert_eq!(found(&elsewhere), "ip6: the interface with 192.0.2.4 has no address of IPv6");
        let of_calico = |fixture: &mut Fixture| {
            elsewhere(fixture);
            fixture.vars.kube_network_plugin = "calico".into();
        };
        assert_eq!(found(&of_calico), "");
        let mistaken = |fixture: &mut Fixture| {
            with("eth0", "2001:db8::4")(fixture);
            fixture.vars.ip6 = Some("2001:db8::9".into());
        };
        assert_eq!(
            found(&mistaken),
            "ip6: 2001:db8::9 is not an address of the machine: beside 192.0.2.4 it has 2001:db8::4"
        );
        let overlapping = |fixture: &mut Fixture| with("eth0", "fd85:ee78:d8a6:8607::4")(fixture);
        assert_eq!(
            found(&overlapping)
                .matches("overlaps fd85:ee78:d8a6:8607::/64, in which the machine is (eth0)")
                .count(),
            2
        );
        let of_cluster = |fixture: &mut Fixture| {
            with("eth0", "2001:db8::4")(fixture);
            fixture.facts.addresses.push(address("cni0", "fd85:ee78:d8a6:8607::1:1", 120));
            fixture.facts.addresses.push(address("flannel-v6.1", "fd85:ee78:d8a6:8607::1:0", 128));
            fixture.facts.addresses.push(address("vxlan-v6.calico", "fd85:ee78:d8a6:8607::1:2", 128));
        };
        assert_eq!(found(&of_cluster), "");
        let off = |fixture: &mut Fixture| fixture.seen.ipv6 = Ipv6::parse("without all\nwithout default\n");
        assert_eq!(
            found(&off),
            "ipv6_stack: the machine's kernel has no IPv6 (net.ipv6.conf.all.disable_ipv6)"
        );
        let advertised = |fixture: &mut Fixture| {
            with("eth0", "2001:db8::4")(fixture);
            fixture.seen.ipv6 = Ipv6::parse("advertised eth0\n");
        };
        assert!(
            found(&advertised)
                .starts_with("ipv6_stack: the route or address of IPv6 of eth0 comes of router")
        );
    }

    #[test]
    fn what_a_kernel_has_of_ipv6_is_seen() {
        let said = |routes: &str, disabled: &str, accepts: &str| {
            let root = tempfile::tempdir().unwrap();
            let conf = root.path().join("proc/sys/net/ipv6/conf");
            for (file, text) in
                [("all/disable_ipv6", "0"), ("default/disable_ipv6", disabled), ("eth0/accept_ra", accepts)]
            {
                let path = conf.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, format!("{text}\n")).unwrap();
            }
            let program = LOOK.replace("/proc/", &format!("{}/proc/", root.path().display()));
            let program = format!("ip() {{ printf '%s\\n' '{routes}'; }}\n{program}");
            let mut answers = [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]].map(|shell| {
                let mut command = std::process::Command::new(shell[0]);
                let ran = command.args(&shell[1..]).args(["-euc", &program]).output().unwrap();
                assert!(ran.status.success() && ran.stderr.is_empty(), "{shell:?} {ran:?}");
                Ipv6::parse(&String::from_utf8(ran.stdout).unwrap())
            });
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
            let Ipv6 { without, advertised } = std::mem::take(&mut answers[0]);
            [without, advertised].concat().join(" ")
        };
        let of_router =
            "default via fe80::1 dev eth0 proto ra metric 1024 expires 1797sec hoplimit 64 pref medium";
        assert_eq!(said(of_router, "0", "1"), "eth0");
        // Of systemd-networkd and NetworkManager, which read advertisements themselves; and of who knows it already.
        assert_eq!(said(of_router, "0", "0"), "");
        assert_eq!(said(of_router, "0", "2"), "");
        assert_eq!(said("default via 2001:db8::1 dev eth0 metric 1024 pref medium", "0", "1"), "");
        assert_eq!(said("", "1", "1"), "default");
        // An address of a router without a way to the world.
        let address = "2: eth0    inet6 2001:db8::4/64 scope global dynamic mngtmpaddr";
        assert_eq!((said(address, "0", "1").as_str(), said(address, "0", "2").as_str()), ("eth0", ""));
        assert_eq!(said(&address.replace(" dynamic mngtmpaddr", ""), "0", "1"), "");
    }
}
