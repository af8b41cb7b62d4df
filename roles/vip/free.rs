//! Whether control planes may take an address: looked at before anything is changed.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use muster_engine::facts::Facts;
use muster_engine::prelude::*;

use super::{ADDRESS, INTERFACE, interface, router_id, wanted};
use crate::cluster::Standing;
use crate::preflight::place;

/// Makes sure that a control plane may hold the address that all of them are to share: it is of the network of the machine's
/// interface, and nobody else has it. Looked at once a run, because later another control plane may hold it.
///
/// # Errors
/// [`Failure::Problems`]: what is against it.
pub(crate) async fn may_be_taken(host: &Host, known: &Standing) -> Result<()> {
    let what = format!("whether {} may hold the address of the API", host.name());
    host.cluster().once(&what, || look(host, known)).await.map(drop)
}

async fn look(host: &Host, known: &Standing) -> Result<()> {
    let Some(IpAddr::V4(address)) = wanted(host, known)? else { return Ok(()) };
    if !known.planes.iter().any(|plane| plane == host.name()) {
        return Ok(());
    }
    let refused = |(check, found, needed, remedy): Against| {
        let found = format!("{found}{}", place(host.all_vars(), check));
        Err(Failure::Problems(vec![Problem { check: check.into(), found, needed, remedy }]))
    };
    let interface = interface(host)?;
    // One of the control planes may hold it already.
    let is_ours = known.planes.iter().any(|plane| known.shares(plane).contains(&IpAddr::V4(address)));
    if let Some(against) = misplaced(address, &interface, host.facts(), is_ours) {
        return refused(against);
    }
    let mut held = known.planes.iter().flat_map(|plane| known.shares(plane));
    if let Some(former) = held.find(|held| is_confused_with(address, **held)) {
        return refused((
            ADDRESS,
            format!("{address}, which VRRP does not tell from {former}, the address until now"),
            "an address with another number while both are held".to_owned(),
            "choose the next address; or take the former one away first: set kube_vip_enabled: false, and run setup-cluster".to_owned(),
        ));
    }
    if is_ours {
        return Ok(());
    }
    let look = sh(include_str!("answers.sh"), [address.to_string(), interface]);
    let answer = host.query(look).await?;
    match answer.output.trim() {
        "" => Ok(()),
        said => refused(is_anothers(address, said)),
    }
}

/// Whether two addresses have the same number.
fn is_confused_with(address: Ipv4Addr, other: IpAddr) -> bool {
    let address = IpAddr::V4(address);
    address != other && router_id(address) == router_id(other)
}

/// The variable, what was found, what is needed, and the remedy.
type Against = (&'static str, String, String, String);

/// What of a machine's interface and addresses is against an address, which the control planes may have already.
fn misplaced(address: Ipv4Addr, interface: &str, facts: &Facts, is_ours: bool) -> Option<Against> {
    let mut there = facts.addresses.iter().filter(|known| known.interface == interface).peekable();
    if there.peek().is_none() {
        let names: Vec<&str> = facts.addresses.iter().map(|known| known.interface.as_str()).collect();
        return Some((
            INTERFACE,
            format!("{interface} is no interface with an address: there are {}", names.join(", ")),
            "an interface of each control plane".to_owned(),
            format!(
                "correct {INTERFACE}, or remove it: then it is the interface of the machine's own address"
            ),
        ));
    }
    if let Some(holder) = facts.interface_of(IpAddr::V4(address)).filter(|_| !is_ours) {
        return Some((
            ADDRESS,
            format!("{address} is on the machine already, at {holder}, and muster has not put it there"),
            "an address that no machine has".to_owned(),
            format!(
                "choose another one; or take it away, with what holds it there (kube-vip, keepalived): ip addr del {address}/32 dev {holder}"
            ),
        ));
    }
    let networks: Vec<Ipv4Net> = there
        .filter_map(|known| match known.ip {
            IpAddr::V4(ip) => Ipv4Net::new(ip, known.prefix).ok(),
            IpAddr::V6(_) => None,
        })
        .collect();
    let is_of = |network: &Ipv4Net| {
        network.contains(&address) && address != network.network() && address != network.broadcast()
    };
    (!networks.iter().any(is_of)).then(|| {
        let networks: Vec<String> = networks.iter().map(|network| network.trunc().to_string()).collect();
        (
            ADDRESS,
            format!("{address} is no address for machines in the network of {interface}, {}", networks.join(", ")),
            "a free address in the network of every control plane".to_owned(),
            format!("choose one of that network, or set {INTERFACE} to the interface that is in the network of {address}"),
        )
    })
}

/// Somebody answers for the address, with this line of ip-neighbour(8).
fn is_anothers(address: Ipv4Addr, said: &str) -> Against {
    let mut words = said.split_whitespace().skip_while(|word| *word != "lladdr");
    let who = words.nth(1).map(|card| format!(", with the card {card}")).unwrap_or_default();
    (
        ADDRESS,
        format!("{address} is in use by another machine{who}"),
        "an address that no machine has".to_owned(),
        format!(
            "choose another one; if a load balancer of yours is there, keep it: remove kube_vip_enabled, and set \
             loadbalancer_apiserver: {{address: {address}}}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use muster_engine::facts::Address;

    use super::*;

    fn found(address: &str, interface: &str) -> String {
        let at = |interface: &str, ip: &str, prefix| Address {
            interface: interface.into(),
            ip: ip.parse().unwrap(),
            prefix,
        };
        let addresses =
            vec![at("eth0", "192.0.2.4", 24), at("eth0", "2001:db8::4", 64), at("eth1", "198.51.100.4", 25)];
        let facts = Facts { addresses, ..Facts::default() };
        misplaced(address.parse().unwrap(), interface, &facts, false)
            .map_or_else(String::new, |(check, found, ..)| format!("{check}: {found}"))
    }

    #[test]
    fn an_address_is_of_the_network_of_its_interface_and_of_no_machine() {
        assert_eq!(found("192.0.2.10", "eth0"), "");
        assert_eq!(found("198.51.100.10", "eth1"), "");
        for (address, interface, expected) in [
            ("192.0.2.10", "eth2", "kube_vip_interface: eth2 is no interface"),
            ("192.0.2.4", "eth0", "kube_vip_address: 192.0.2.4 is on the machine already, at eth0"),
            ("198.51.100.4", "eth0", "kube_vip_address: 198.51.100.4 is on the machine already, at eth1"),
            ("198.51.100.10", "eth0", "kube_vip_address: 198.51.100.10 is no address for machines"),
            ("198.51.100.130", "eth1", "kube_vip_address: 198.51.100.130 is no address for machines"),
            ("192.0.2.0", "eth0", "kube_vip_address: 192.0.2.0 is no address for machines"),
            ("192.0.2.255", "eth0", "kube_vip_address: 192.0.2.255 is no address for machines"),
        ] {
            assert!(found(address, interface).starts_with(expected), "{}", found(address, interface));
        }
    }

    #[test]
    fn an_address_is_told_from_the_one_before_it() {
        let is_confused =
            |one: &str, other: &str| is_confused_with(one.parse().unwrap(), other.parse().unwrap());
        assert!(!is_confused("192.0.2.10", "192.0.2.10") && !is_confused("192.0.2.10", "192.0.2.11"));
        assert!(is_confused("10.0.0.10", "10.0.1.9"));
    }

    #[test]
    fn who_answers_is_told_by_its_card() {
        let address = Ipv4Addr::new(192, 0, 2, 10);
        let said = "192.0.2.10 lladdr 02:42:0a:92:40:04 REACHABLE";
        assert_eq!(
            is_anothers(address, said).1,
            "192.0.2.10 is in use by another machine, with the card 02:42:0a:92:40:04"
        );
    }
}
