//! The addresses of machines. Every choice of one is made here; the rule is kubespray's.
//!
//! A machine listens at `ip`, else at the address of its default route. It is reached at `access_ip`, else where it listens. It is
//! never reached at `ansible_host`, at which only this computer has to find it; but certificates are good for that, too.
//!
//! Of a machine outside of the run the default route is not known. If it is in the cluster, it is taken to be where it has joined
//! from: a machine that has another address now is refused ([`crate::cluster`]).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use muster_engine::facts::Facts;
use muster_engine::prelude::*;

use crate::cluster;
use crate::common::{ClusterVars, cluster_vars, is_dns_name};

/// The address at which the services of a host listen, and which its node has.
pub fn ip(host: &Host) -> Result<IpAddr> {
    ip_of(host, host.name())
}

/// The same of any host of the inventory.
pub(crate) fn ip_of(host: &Host, other: &str) -> Result<IpAddr> {
    let machine = host.cluster().host(other)?;
    let written = written(host, other, "ip");
    if let Some(facts) = machine.known_facts() {
        return written?.or_else(|| facts.default_ip()).ok_or_else(|| {
            Failure::new(
                format!("{other} has no address but loopback"),
                format!("give it one in the inventory: {other} ip=ADDRESS"),
            )
        });
    }
    match (written, cluster::address_of(host, other)) {
        (Ok(Some(ip)), _) => Ok(ip),
        // What is written may be an expression on facts, which nobody knows.
        (_, Some(joined)) => Ok(joined),
        (Err(failure), None) => Err(failure),
        (Ok(None), None) => Err(Failure::new(
            format!("the address of {other} is not known: it was not reached, or is not part of this run"),
            format!("give it in the inventory: {other} ip=ADDRESS"),
        )),
    }
}

/// The address of IPv6 that the node of a host has beside its own, where the cluster has both families (`ipv6_stack`): `ip6`, else the
/// only one of the interface with `ip`, apart from the link-local one.
pub(crate) fn ip6_of(host: &Host, other: &str) -> Result<Option<IpAddr>> {
    if !cluster_vars(host)?.ipv6_stack {
        return Ok(None);
    }
    if let Some(ip6) = written(host, other, "ip6")? {
        return Ok(Some(ip6));
    }
    let machine = host.cluster().host(other)?;
    let Some(facts) = machine.known_facts() else {
        // As with its own address: a machine outside of the run is taken to be where it has joined from.
        let unknown = || {
            Failure::new(
                format!(
                    "the address of IPv6 of {other} is not known: it was not reached, or is not part of this run"
                ),
                format!("give it in the inventory: {other} ip6=ADDRESS"),
            )
        };
        return cluster::address6_of(host, other).map(Some).ok_or_else(unknown);
    };
    let own = ip_of(host, other)?;
    let found = beside(facts, own);
    // A node keeps the one that it has joined with, whatever comes beside it.
    if let Some(joined) = cluster::address6_of(host, other).filter(|joined| found.contains(joined)) {
        return Ok(Some(joined));
    }
    match found[..] {
        [ip6] => Ok(Some(ip6)),
        [] => Err(Failure::new(
            format!("{other} has no address of IPv6 beside {own}"),
            format!("give it in the inventory: {other} ip6=ADDRESS"),
        )),
        [..] => Err(Failure::new(
            format!("{other} has several addresses of IPv6 beside {own}: {}", listed(&found)),
            format!("say in the inventory which one is the node's: {other} ip6=ADDRESS"),
        )),
    }
}

/// What the kubelet of a machine gives as its node's addresses: that of IPv6 is the second one.
pub(crate) fn node_ip(host: &Host) -> Result<String> {
    let both = [Some(ip(host)?), ip6_of(host, host.name())?];
    Ok(both.into_iter().flatten().map(|address| address.to_string()).collect::<Vec<_>>().join(","))
}

/// The addresses of IPv6 of the interface that has an address, apart from those that are good within its own network alone.
pub(crate) fn beside(facts: &Facts, own: IpAddr) -> Vec<IpAddr> {
    let interface = facts.interface_of(own);
    let others = facts.addresses.iter().filter(|address| Some(address.interface.as_str()) == interface);
    others.map(|address| address.ip).filter(is_of_node).collect()
}

/// Whether an address may be a node's address of IPv6, as the kubelet takes one.
pub(crate) fn is_of_node(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(ip) if !ip.is_unicast_link_local() && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified())
}

/// Addresses, for a message.
pub(crate) fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// The address at which the other machines reach a host of the inventory.
pub(crate) fn access_ip_of(host: &Host, other: &str) -> Result<IpAddr> {
    match written(host, other, "access_ip")? {
        Some(ip) => Ok(ip),
        None => ip_of(host, other),
    }
}

/// All names and addresses at which anybody may look for a host of the inventory, each once: what certificates are good for.
/// `ansible_host` may also be a name that only ssh(1) knows, which no certificate takes.
pub(crate) fn all_of(host: &Host, other: &str) -> Result<Vec<String>> {
    let vars = host.cluster().vars_of(other)?;
    let mut all = vec![ip_of(host, other)?.to_string(), access_ip_of(host, other)?.to_string()];
    for name in ["ansible_host", "ansible_ssh_host"] {
        let login = vars.get(name)?;
        let login = login.and_then(|login| login.as_str().map(str::to_owned));
        all.extend(login.filter(|login| is_dns_name(login) || login.parse::<IpAddr>().is_ok()));
    }
    all.push(other.to_owned());
    let mut seen = BTreeSet::new();
    all.retain(|name| seen.insert(name.clone()));
    Ok(all)
}

/// The addresses by which a host of the inventory may be known, as far as it does not have to be asked for them.
pub(crate) fn possible(host: &Host, other: &str) -> BTreeSet<IpAddr> {
    let given = ["ip", "access_ip", "ansible_host", "ansible_ssh_host"]
        .map(|name| written(host, other, name).ok().flatten());
    given.into_iter().flatten().chain(ip_of(host, other)).chain(other.parse::<IpAddr>()).collect()
}

/// Where a machine may hand artifacts on to others. What is wrong with the variables is told by the roles that read them.
pub fn hands_on_at(host: &Host) -> Option<SocketAddr> {
    // Any role may send something, whatever it reads itself.
    let vars: ClusterVars = host.all_vars().deserialize().ok()?;
    if !vars.fan_out {
        return None;
    }
    Some(SocketAddr::new(ip(host).ok()?, vars.fan_out_port))
}

/// The address that the inventory gives a host in a variable.
pub(crate) fn written(host: &Host, of: &str, name: &str) -> Result<Option<IpAddr>> {
    let value = host.cluster().vars_of(of)?.get(name)?;
    Ok(value.and_then(|value| value.as_str()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use muster_engine::facts::Address;
    use muster_engine::run::Role;

    use super::*;
    use crate::preflight::fixture::inventory_and_vars;
    use crate::testing::run_roles;

    const INVENTORY: &str = "a ansible_host=192.0.2.1 ip=10.0.0.1 access_ip=198.51.100.1\n\
                             b ansible_host=my_gate ip=10.0.0.2\n\
                             c ansible_host=192.0.2.3\n\
                             d ansible_host=d.example.org access_ip=198.51.100.4\n\
                             [kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\nb\nc\nd\n";

    fn told(host: &Host, other: &str) -> String {
        let of = |ip: Result<IpAddr>| ip.map_or_else(|failure| failure.to_string(), |ip| ip.to_string());
        let all = all_of(host, other).map_or_else(|_| "unknown".to_owned(), |all| all.join(" "));
        let possible: Vec<String> = possible(host, other).iter().map(IpAddr::to_string).collect();
        let (ip, access_ip) = (of(ip_of(host, other)), of(access_ip_of(host, other)));
        format!("{ip} | {access_ip} | {all} | {}", possible.join(" "))
    }

    #[test]
    fn an_address_of_ipv6_is_that_of_the_same_interface() {
        let address = |interface: &str, ip: &str| Address {
            interface: interface.into(),
            ip: ip.parse().unwrap(),
            prefix: 64,
        };
        let facts = Facts {
            addresses: vec![
                address("eth0", "192.0.2.4"),
                address("eth0", "fe80::4"),
                address("eth0", "2001:db8::4"),
                address("eth1", "2001:db8:1::4"),
            ],
            ..Facts::default()
        };
        assert_eq!(listed(&beside(&facts, "192.0.2.4".parse().unwrap())), "2001:db8::4");
        assert_eq!(listed(&beside(&facts, "192.0.2.9".parse().unwrap())), "");
        let is_good = |ip: &str| is_of_node(&ip.parse().unwrap());
        assert!(is_good("fd00::4") && is_good("2001:db8::4"));
        assert!(["192.0.2.4", "::1", "::", "fe80::1", "ff02::1"].into_iter().all(|ip| !is_good(ip)));
    }

    #[tokio::test]
    async fn a_node_has_two_addresses_where_the_cluster_has_two_families() {
        let told = async |hosts: &str, yaml: &str| {
            let seen = Arc::new(Mutex::new(String::new()));
            let notes = seen.clone();
            let look = Role::given("look", move |host| {
                *notes.lock().unwrap() = node_ip(host).unwrap_or_else(|failure| failure.to_string());
                async { Ok(()) }.boxed()
            });
            let play = serde_json::json!([{ "name": "Look", "hosts": "a", "roles": ["look"] }]);
            let groups = "[kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\n";
            let world = inventory_and_vars(
                &format!("{hosts}\n{groups}"),
                &format!("skydns_server: 10.233.0.3\n{yaml}"),
            );
            let look = Role { reads: &[crate::cluster::READS], ..look };
            run_roles(&[look], world, &["a"], play, Path::new("/nowhere")).await;
            seen.lock().unwrap().clone()
        };
        let (one, two) = ("a ip=192.0.2.4", "a ip=192.0.2.4 ip6=2001:DB8:0::4");
        assert_eq!(told(two, "").await, "192.0.2.4");
        assert_eq!(told(two, "ipv6_stack: true").await, "192.0.2.4,2001:db8::4");
        assert_eq!(told(one, "ipv6_stack: true").await, "a has no address of IPv6 beside 192.0.2.4");
    }

    #[tokio::test]
    async fn machines_listen_at_ip_and_are_reached_at_access_ip_and_never_at_ansible_host() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let look = Role::given("look", move |host| {
            notes.lock().unwrap().extend(["a", "b", "c", "d"].map(|other| told(host, other)));
            async { Ok(()) }.boxed()
        });
        let play = serde_json::json!([{ "name": "Look", "hosts": "a", "roles": ["look"] }]);
        let world = inventory_and_vars(INVENTORY, "");
        run_roles(&[look], world, &["a"], play, Path::new("/nowhere")).await;
        let unknown = |host: &str| {
            format!("the address of {host} is not known: it was not reached, or is not part of this run")
        };
        let expected = [
            "10.0.0.1 | 198.51.100.1 | 10.0.0.1 198.51.100.1 192.0.2.1 a | 10.0.0.1 192.0.2.1 198.51.100.1"
                .to_owned(),
            "10.0.0.2 | 10.0.0.2 | 10.0.0.2 b | 10.0.0.2".to_owned(),
            format!("{} | {} | unknown | 192.0.2.3", unknown("c"), unknown("c")),
            format!("{} | 198.51.100.4 | unknown | 198.51.100.4", unknown("d")),
        ];
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}
