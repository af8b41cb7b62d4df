//! Where pods' and services' addresses come from: the arithmetic of the two networks, and what a machine already has there.

use ipnet::Ipv4Net;
use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::Machine;
use super::findings::problem;
use super::settings::{Setting, number};

/// The two networks, as far as they are any.
pub(super) struct Subnets {
    pub(super) pods: Option<Ipv4Net>,
    pub(super) services: Option<Ipv4Net>,
}

impl Subnets {
    /// From the variables of a host.
    pub(super) fn of(vars: &HostVars) -> Self {
        let network = |name| Setting::of(vars, name).and_then(|setting| network(&setting).ok());
        Self { pods: network(PODS), services: network(SERVICES) }
    }

    /// With the variables that say so.
    fn named(&self) -> impl Iterator<Item = (&'static str, Ipv4Net)> {
        [(PODS, self.pods), (SERVICES, self.services)]
            .into_iter()
            .filter_map(|(name, net)| Some((name, net?)))
    }
}

/// Networks of pods and services, with the variables that say so.
pub(super) fn all(vars: &HostVars) -> Vec<(&'static str, Ipv4Net)> {
    let plugin = Setting::of(vars, "kube_network_plugin").map(|plugin| plugin.text).unwrap_or_default();
    let pool = [("calico", "calico_pool_cidr"), ("cilium", "cilium_pool_cidr")];
    let pool = pool.into_iter().filter(|(of, _)| *of == plugin).map(|(_, name)| name);
    let net = |name| Some((name, network(&Setting::of(vars, name)?).ok()?));
    [PODS, SERVICES].into_iter().chain(pool).filter_map(net).collect()
}

/// The bridge of Docker's containers.
pub(super) const BRIDGE: &str = "docker0";

const PODS: &str = "kube_pods_subnet";
const SERVICES: &str = "kube_service_addresses";
const NODE_PREFIX: &str = "kube_network_node_prefix";

/// The limits of kubeadm and of the API server on the two networks.
const LARGEST_SERVICES: u8 = 12;
const SMALLEST_SERVICES: u8 = 28;
const MOST_NODES_BITS: u8 = 16;
const SMALLEST_PODS: u8 = 30;

fn network(setting: &Setting) -> Result<Ipv4Net, Problem> {
    let remedy = |example: &str| format!("set {}: {example}", setting.name);
    match setting.text.parse::<Ipv4Net>() {
        Ok(net) if net == net.trunc() => Ok(net),
        Ok(net) => {
            let network = net.trunc().to_string();
            Err(setting.wrong(format!("the network's own address, {network}"), remedy(&network)))
        }
        Err(_) => {
            let example = if setting.name == PODS { "10.233.64.0/18" } else { "10.233.0.0/18" };
            Err(setting.wrong(format!("an IPv4 network, as {example}"), remedy(example)))
        }
    }
}

/// That both are networks, apart from each other, with room for `nodes` nodes.
pub(super) fn arithmetic(vars: &HostVars, nodes: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut read = |name| match network(&Setting::of(vars, name)?) {
        Ok(net) => Some(net),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let (pods, services) = (read(PODS), read(SERVICES));
    if let (Some(pods), Some(services)) = (pods, services) {
        problems.extend(apart(vars, pods, services));
    }
    if let Some(services) = services {
        problems.extend(size_of_services(vars, services));
        problems.extend(dns_addresses(vars, services));
    }
    if let Some(pods) = pods {
        problems.extend(room_for_nodes(vars, pods, nodes));
    }
    problems
}

pub(super) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

fn apart(vars: &HostVars, pods: Ipv4Net, services: Ipv4Net) -> Option<Problem> {
    let setting = Setting::of(vars, PODS).filter(|_| overlap(pods, services))?;
    Some(setting.wrong(
        format!("a network apart from {SERVICES} {services}"),
        format!("set {PODS} or {SERVICES} to another network, as 10.233.64.0/18 and 10.233.0.0/18"),
    ))
}

fn size_of_services(vars: &HostVars, services: Ipv4Net) -> Option<Problem> {
    let fits = (LARGEST_SERVICES..=SMALLEST_SERVICES).contains(&services.prefix_len());
    let setting = Setting::of(vars, SERVICES).filter(|_| !fits)?;
    Some(setting.wrong(
        format!("a prefix length from {LARGEST_SERVICES} to {SMALLEST_SERVICES}"),
        format!("set {SERVICES}: 10.233.0.0/18"),
    ))
}

fn dns_addresses(vars: &HostVars, services: Ipv4Net) -> Vec<Problem> {
    let first = Setting::of(vars, "skydns_server");
    let is_dual = Setting::of(vars, "dns_mode").is_some_and(|mode| mode.text == "coredns_dual");
    let second = is_dual.then(|| Setting::of(vars, "skydns_server_secondary")).flatten();
    let same = first.as_ref().zip(second.as_ref()).is_some_and(|(first, second)| first.text == second.text);
    let tell = |setting: &Setting| {
        let inside = setting.text.parse().is_ok_and(|ip: std::net::Ipv4Addr| services.contains(&ip));
        let remedy = format!("remove {}, or correct it", setting.name);
        (!inside).then(|| setting.wrong(format!("an address of {SERVICES} {services}"), remedy))
    };
    let apart = second.as_ref().filter(|_| same).map(|second| {
        second.wrong("another address than skydns_server", "remove skydns_server_secondary, or correct it")
    });
    first.iter().chain(&second).filter_map(tell).chain(apart).collect()
}

fn room_for_nodes(vars: &HostVars, pods: Ipv4Net, nodes: usize) -> Option<Problem> {
    if pods.prefix_len() > SMALLEST_PODS {
        let remedy = format!("set {PODS}: 10.233.64.0/18");
        return Some(
            Setting::of(vars, PODS)?.wrong(format!("a prefix length of at most {SMALLEST_PODS}"), remedy),
        );
    }
    let setting = Setting::of(vars, NODE_PREFIX)?;
    let prefix = u8::try_from(number(vars, NODE_PREFIX)?).unwrap_or(u8::MAX);
    let longest = SMALLEST_PODS.min(pods.prefix_len() + MOST_NODES_BITS);
    if prefix < pods.prefix_len() || prefix > longest {
        let needed = format!("{} to {longest}, for {PODS} {pods}", pods.prefix_len());
        return Some(
            setting.wrong(needed, format!("set {NODE_PREFIX}: {}", 24.clamp(pods.prefix_len(), longest))),
        );
    }
    let room = 1_usize << (prefix - pods.prefix_len());
    if room < nodes && have_parts(vars) {
        let found = format!("{PODS} {pods} and {NODE_PREFIX} {prefix}: room for {room} nodes");
        let remedy = format!("set {PODS} to a larger network, or {NODE_PREFIX} to a greater number");
        return Some(problem(PODS, found, format!("room for the {nodes} nodes there are"), remedy));
    }
    None
}

/// Whether pods have addresses of the part of the pods' network that Kubernetes gives their node. calico hands out blocks of its own, as
/// many to a node as its pods need; and cilium parts of its own, where they are of another network or size. A node for which Kubernetes
/// has no part left is none the worse there.
pub(super) fn have_parts(vars: &HostVars) -> bool {
    let text = |name| Setting::of(vars, name).map(|setting| setting.text).unwrap_or_default();
    let is_true = |name| vars.get(name).ok().flatten().and_then(|value| value.as_bool()) == Some(true);
    match text("kube_network_plugin").as_str() {
        "calico" => is_true("calico_ipam_host_local"),
        "cilium" => {
            let own = ["cilium_pool_cidr", "cilium_pool_mask_size"];
            text("cilium_ipam_mode") == "kubernetes" || own.into_iter().all(|name| text(name).is_empty())
        }
        _ => true,
    }
}

/// Of a node's network the first and the last address are nobody's.
pub(super) fn room_for_pods(vars: &HostVars) -> Option<Problem> {
    if !have_parts(vars) {
        return None;
    }
    let prefix = u32::try_from(number(vars, NODE_PREFIX)?).ok().filter(|prefix| (1..=30).contains(prefix))?;
    let (most, wanted) = ((1_i64 << (32 - prefix)) - 2, number(vars, "kubelet_max_pods")?);
    let setting = Setting::of(vars, "kubelet_max_pods").filter(|_| wanted > most)?;
    Some(setting.wrong(
        format!("at most {most}, the addresses of a node with {NODE_PREFIX} {prefix}"),
        format!("set kubelet_max_pods: {most}, or {NODE_PREFIX} to a smaller number"),
    ))
}

/// Interfaces that a cluster makes on its machines: their networks are the cluster's own.
pub(super) fn is_ours(interface: &str) -> bool {
    ["lo", "cni0", "kube-ipvs0", "nodelocaldns", "vxlan.calico", "vxlan-v6.calico", "tunl0", "cilium_host"]
        .contains(&interface)
        || ["flannel", "veth", "cali"].iter().any(|kind| interface.starts_with(kind))
}

/// Networks that the machine is in and that overlap the pods' or the services': the variable, its network, the machine's and the
/// interface.
pub(super) fn met<'m>(machine: &'m Machine) -> Vec<(&'static str, Ipv4Net, Ipv4Net, &'m str)> {
    let mut met = Vec::new();
    for address in machine.facts.addresses.iter().filter(|a| !is_ours(&a.interface)) {
        let std::net::IpAddr::V4(ip) = address.ip else { continue };
        let Ok(net) = Ipv4Net::new(ip, address.prefix) else { continue };
        let net = net.trunc();
        let overlapping = machine.subnets.named().filter(|(_, subnet)| overlap(*subnet, net));
        met.extend(overlapping.map(|(name, subnet)| (name, subnet, net, address.interface.as_str())));
    }
    met
}

/// The networks that the machine is in must stay reachable: none may overlap the pods' or the services'. Of the bridge of muster's
/// Docker it is told elsewhere what to do (`docker.rs`).
pub(super) fn own_networks(machine: &Machine) -> Vec<Problem> {
    let is_told_here = |interface: &str| interface != BRIDGE || machine.seen.docker.ours.is_none();
    let told = met(machine).into_iter().filter(|(.., interface)| is_told_here(interface));
    told.map(|(name, subnet, net, interface)| {
        let found = format!("{subnet} overlaps {net}, in which the machine is ({interface})");
        match machine.seen.joined {
            false => taken(name, found),
            true => problem(
                name,
                found,
                "a network that the machines do not use",
                format!("give {interface} another network: {name} stays as it is in a cluster that stands"),
            ),
        }
    })
    .collect()
}

/// Routes to networks of others inside the pods' or the services' network.
pub(super) fn routes(machine: &Machine) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (net, route) in foreign_routes(machine) {
        for (name, subnet) in machine.subnets.named().filter(|(_, subnet)| subnet.contains(&net)) {
            problems.push(taken(name, format!("{subnet} overlaps a route of the machine: {route}")));
        }
    }
    problems
}

/// Routes to larger networks that the pods' or the services' network is a part of: it works, but what is in that part is
/// out of the machine's reach from now on.
pub(super) fn wider_routes(machine: &Machine) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (net, route) in foreign_routes(machine) {
        for (name, subnet) in
            machine.subnets.named().filter(|(_, subnet)| net.contains(subnet) && net != *subnet)
        {
            problems.push(taken(
                name,
                format!("{subnet} is part of a network the machine has a route to: {route}"),
            ));
        }
    }
    problems
}

fn taken(name: &str, found: String) -> Problem {
    problem(name, found, "a network that the machines do not use", format!("set {name} to another network"))
}

/// Routes that are neither the cluster's own nor to a network that the machine is in.
fn foreign_routes<'m>(machine: &'m Machine) -> impl Iterator<Item = (Ipv4Net, &'m str)> {
    let word_after = |route: &'m str, word: &str| route.split_whitespace().skip_while(|w| *w != word).nth(1);
    machine.facts.routes.iter().filter_map(move |route| {
        let first = route.split_whitespace().next()?;
        let host = format!("{first}/32");
        let net: Ipv4Net = first.parse().or_else(|_| host.parse()).ok()?;
        let ours = word_after(route, "dev").is_some_and(is_ours);
        // Without an overlay (host-gw) the routes to other nodes' pods go through the machine's own interface.
        let to_node = machine.seen.joined
            && net.prefix_len() == machine.cluster.kube_network_node_prefix
            && machine.subnets.pods.is_some_and(|pods| pods.contains(&net));
        let connected = route.contains(" scope link") && !route.contains(" via ");
        (!ours && !to_node && !connected).then_some((net, route.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, address, told, variables};
    use super::*;

    fn found(problems: Vec<Problem>) -> String {
        problems.iter().map(told).collect::<Vec<_>>().join("; ")
    }

    #[test]
    #[rustfmt::skip]
    fn the_networks_and_their_sizes_fit_together() {
        let rows = [
            ("", 64, ""),
            ("", 65, "kube_pods_subnet: kube_pods_subnet 10.233.64.0/18 and kube_network_node_prefix 24: room for 64 nodes"),
            ("kube_network_plugin: calico", 65, ""),
            ("kube_network_plugin: calico\nkubelet_max_pods: 500", 3, ""),
            ("kube_network_plugin: calico\ncalico_ipam_host_local: true", 65,
             "kube_pods_subnet: kube_pods_subnet 10.233.64.0/18 and kube_network_node_prefix 24: room for 64 nodes"),
            ("kube_network_plugin: cilium", 65,
             "kube_pods_subnet: kube_pods_subnet 10.233.64.0/18 and kube_network_node_prefix 24: room for 64 nodes"),
            ("kube_network_plugin: cilium\ncilium_pool_mask_size: 25", 65, ""),
            ("kube_network_plugin: cilium\ncilium_pool_mask_size: 25\ncilium_ipam_mode: kubernetes", 65,
             "kube_pods_subnet: kube_pods_subnet 10.233.64.0/18 and kube_network_node_prefix 24: room for 64 nodes"),
            ("kube_pods_subnet: 10.233.64.0/99", 3, "kube_pods_subnet: 10.233.64.0/99 (vars.yml:1:19)"),
            ("kube_pods_subnet: fd00::/64", 3, "kube_pods_subnet: fd00::/64 (vars.yml:1:19)"),
            ("kube_pods_subnet: 10.233.64.0/31", 1, "kube_pods_subnet: 10.233.64.0/31 (vars.yml:1:19)"),
            ("kube_pods_subnet: 0.0.0.0/0", 1, "kube_pods_subnet: 0.0.0.0/0 (vars.yml:1:19); kube_network_node_prefix: 24"),
            ("kube_pods_subnet: 10.233.64.1/18", 3, "kube_pods_subnet: 10.233.64.1/18 (vars.yml:1:19)"),
            ("kube_pods_subnet: 10.233.0.0/16", 3, "kube_pods_subnet: 10.233.0.0/16 (vars.yml:1:19)"),
            ("kube_pods_subnet: 10.233.0.0/24", 1, "kube_pods_subnet: 10.233.0.0/24 (vars.yml:1:19)"),
            ("kube_pods_subnet: 10.0.0.0/8", 1, "kube_pods_subnet: 10.0.0.0/8 (vars.yml:1:19)"),
            ("kube_network_node_prefix: 17", 1, "kube_network_node_prefix: 17 (vars.yml:1:27)"),
            ("kube_network_node_prefix: 31", 1, "kube_network_node_prefix: 31 (vars.yml:1:27)"),
            ("kube_network_node_prefix: 26", 3, "kubelet_max_pods: 110"),
            ("kube_network_node_prefix: 26\nkubelet_max_pods: 62", 3, ""),
            ("kube_pods_subnet: 172.16.0.0/12\nkube_network_node_prefix: 29\nkubelet_max_pods: 5", 1,
             "kube_network_node_prefix: 29 (vars.yml:2:27)"),
            ("kube_service_addresses: services", 1, "kube_service_addresses: services (vars.yml:1:25)"),
            ("kube_service_addresses: 11.0.0.0/8\nskydns_server: 11.0.0.3", 1, "kube_service_addresses: 11.0.0.0/8 (vars.yml:1:25)"),
            ("skydns_server: 10.233.128.3", 1, "skydns_server: 10.233.128.3 (vars.yml:1:16)"),
            ("dns_mode: coredns_dual", 1, ""),
            ("skydns_server_secondary: 10.233.128.3", 1, ""),
            ("dns_mode: coredns_dual\nskydns_server_secondary: 10.233.128.3", 1, "skydns_server_secondary: 10.233.128.3 (vars.yml:2:26)"),
            ("dns_mode: coredns_dual\nskydns_server_secondary: 10.233.0.3", 1, "skydns_server_secondary: 10.233.0.3 (vars.yml:2:26)"),
        ];
        for (yaml, nodes, expected) in rows {
            let vars = variables(yaml);
            let problems = arithmetic(&vars, nodes).into_iter().chain(room_for_pods(&vars)).collect();
            assert_eq!(found(problems), expected, "{yaml}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_machines_own_networks_stay_reachable() {
        let rows = [
            ("eth0", "192.0.2.4", 24, ""),
            ("eth1", "10.233.65.9", 24, "kube_pods_subnet: 10.233.64.0/18 overlaps 10.233.65.0/24, in which the machine is (eth1)"),
            ("docker0", "10.233.0.1", 16,
             "kube_pods_subnet: 10.233.64.0/18 overlaps 10.233.0.0/16, in which the machine is (docker0); \
              kube_service_addresses: 10.233.0.0/18 overlaps 10.233.0.0/16, in which the machine is (docker0)"),
            ("cni0", "10.233.65.1", 24, ""),
            ("flannel.1", "10.233.65.0", 32, ""),
            ("kube-ipvs0", "10.233.0.1", 32, ""),
        ];
        for (interface, ip, prefix, expected) in rows {
            let mut fixture = Fixture::good();
            fixture.facts.addresses.push(address(interface, ip, prefix));
            assert_eq!(found(own_networks(&fixture.machine())), expected, "{interface} {ip}");
        }
        let mut fixture = Fixture::good();
        fixture.facts.addresses.push(address("docker0", "10.233.64.1", 20));
        let remedy = |fixture: &Fixture| own_networks(&fixture.machine()).remove(0).remedy;
        assert_eq!(remedy(&fixture), "set kube_pods_subnet to another network");
        fixture.seen.joined = true;
        assert!(remedy(&fixture).starts_with("give docker0 another network: kube_pods_subnet stays"));
        fixture.seen.docker.ours = Some(("/var/lib/docker".into(), 0));
        assert_eq!(own_networks(&fixture.machine()), [], "it goes with Docker, or is told another one");
    }

    #[test]
    fn routes_of_others_are_told_from_the_clusters_own() {
        // Each row: a route, whether the machine is a node already, and whether it is a problem or a warning.
        let rows = [
            ("default via 192.0.2.1 dev eth0", false, (0, 0)),
            ("10.233.65.0/24 dev cni0 proto kernel scope link src 10.233.65.1", false, (0, 0)),
            ("10.233.66.0/24 via 10.233.66.0 dev flannel.1 onlink", false, (0, 0)),
            ("10.233.66.0/24 via 192.0.2.5 dev eth0", true, (0, 0)),
            ("10.233.66.0/24 via 192.0.2.5 dev eth0", false, (1, 0)),
            ("10.233.66.0/25 via 192.0.2.5 dev eth0", true, (1, 0)),
            ("10.233.0.3 via 192.0.2.5 dev eth0", false, (1, 0)),
            ("10.0.0.0/8 via 192.0.2.7 dev eth0", false, (0, 2)),
            ("10.233.64.0/18 via 192.0.2.7 dev eth0", true, (1, 0)),
            ("198.51.100.0/24 via 192.0.2.7 dev eth0", false, (0, 0)),
        ];
        for (route, joined, expected) in rows {
            let mut fixture = Fixture::good();
            fixture.facts.routes.push(route.to_owned());
            fixture.seen.joined = joined;
            let machine = fixture.machine();
            assert_eq!((routes(&machine).len(), wider_routes(&machine).len()), expected, "{route}");
        }
    }
}
