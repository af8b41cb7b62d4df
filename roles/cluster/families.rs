//! The families of addresses that a cluster has: IPv4, or IPv4 and IPv6. Like the networks themselves they are laid down when it begins:
//! each node, pod and service has addresses of them.

use std::net::IpAddr;

use muster_engine::prelude::Problem;

use super::identity::Identity;
use super::misfits::Only;
use super::standing::{Standing, Wanted};

/// Behind the names of kubeadm's configuration, for the network of IPv6.
pub(super) const OF_IPV6: &str = "-ipv6";
/// Whether a cluster was begun with both, as it is noted in [`Identity::begun`].
pub(super) const BOTH: &str = "ipv6";

/// What a cluster was begun with, as kubeadm was told it: two networks are written with a comma.
pub(super) fn begun(name: &str, value: &str) -> Vec<(String, String)> {
    let value = value.trim_matches('"');
    let (ipv4, ipv6) = match value.split_once(',') {
        Some((ipv4, ipv6)) if ["podSubnet", "serviceSubnet"].contains(&name) => (ipv4, Some(ipv6)),
        _ => (value, None),
    };
    let mut all = vec![(name.to_owned(), ipv4.to_owned())];
    all.extend(ipv6.map(|ipv6| (format!("{name}{OF_IPV6}"), ipv6.to_owned())));
    if name == "podSubnet" {
        all.push((BOTH.to_owned(), ipv6.is_some().to_string()));
    }
    all
}

impl Standing {
    /// The address of IPv6 that a machine has joined with.
    pub(crate) fn address6_of(&self, name: &str) -> Option<IpAddr> {
        let seen = self.known(name)?;
        seen.node_ip6.filter(|_| seen.joined())
    }
}

/// The addresses in kubeadm's `KUBELET_KUBEADM_ARGS="--node-ip=192.0.2.4,2001:db8::4 ..."`.
pub(super) fn node_ips(flags: &str) -> Option<(IpAddr, Option<IpAddr>)> {
    let (_, rest) = flags.split_once("--node-ip=")?;
    let mut all = rest.split([' ', '"']).next()?.split(',').map(str::parse);
    Some((all.next()?.ok()?, all.next().and_then(Result::ok)))
}

/// The address of IPv6 that a node has joined with, and another one that it is to have.
fn other_address6(seen: &Identity, wanted: &Wanted) -> Option<(IpAddr, IpAddr)> {
    let (old, address) = seen.node_ip6.filter(|_| seen.joined() && wanted.ipv6).zip(wanted.address6)?;
    (old != address).then_some((old, address))
}

/// That the address of IPv6 of a node has changed, which it cannot under pods and services. `only`: it cannot leave the cluster.
pub(super) fn moved_ipv6(
    name: &str,
    seen: &Identity,
    wanted: &Wanted,
    only: Option<Only>,
) -> Option<Problem> {
    let (old, address) = other_address6(seen, wanted)?;
    let or = match only {
        Some(only) => only.remedy(name, "do that"),
        None => format!(
            "or let it leave and join anew: muster remove-node {name}, put it back into the inventory with ip6={address}, setup-cluster"
        ),
    };
    Some(Problem {
        check: "ip6".into(),
        found: format!("{address} of {name}, which joined the cluster with {old}"),
        needed: "the address it is known by to pods and services".into(),
        remedy: format!("give the machine its old address and set ip6={old}; {or}"),
    })
}

/// That a node goes on to have an address of IPv6, or none.
pub(super) fn other_ipv6(name: &str, seen: &Identity, wanted: &Wanted) -> Option<Problem> {
    seen.node_ip.filter(|_| seen.joined())?;
    let (check, found, remedy) = match (seen.node_ip6, wanted.ipv6) {
        (None, true) => (
            "ipv6_stack",
            format!("true, but {name} has joined its cluster with an address of IPv4 alone"),
            format!(
                "set ipv6_stack: false; where the cluster has both families, let it join anew: muster remove-node {name}, setup-cluster"
            ),
        ),
        (Some(old), false) => (
            "ipv6_stack",
            format!("false, but {name} has joined its cluster with {old} as well"),
            format!(
                "set ipv6_stack: true; where the cluster has IPv4 alone, let it join anew: muster remove-node {name}, setup-cluster"
            ),
        ),
        _ => return None,
    };
    let needed = "what it joined with: it cannot be changed under pods and services".to_owned();
    Some(Problem { check: check.into(), found, needed, remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_was_begun_with_is_told_by_family() {
        let told = |name: &str, value: &str| {
            let all = begun(name, value).into_iter().map(|(name, value)| format!("{name} {value}"));
            all.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(told("podSubnet", "10.1.0.0/16"), "podSubnet 10.1.0.0/16; ipv6 false");
        assert_eq!(
            told("podSubnet", "10.1.0.0/16,fd00::/112"),
            "podSubnet 10.1.0.0/16; podSubnet-ipv6 fd00::/112; ipv6 true"
        );
        assert_eq!(
            told("serviceSubnet", "10.2.0.0/16,fd00:2::/112"),
            "serviceSubnet 10.2.0.0/16; serviceSubnet-ipv6 fd00:2::/112"
        );
        assert_eq!(told("nodeCIDRMaskSize", "\"24\""), "nodeCIDRMaskSize 24");
    }

    #[test]
    fn a_node_keeps_the_families_that_it_joined_with() {
        let problem = |flags: &str, ipv6: bool, address6: &str| {
            let ips = node_ips(flags);
            let seen = Identity {
                node_ip: ips.map(|(ip, _)| ip),
                node_ip6: ips.and_then(|(_, ip6)| ip6),
                kubelet: Some(Default::default()),
                node: Some("a".into()),
                ..Identity::default()
            };
            let wanted = Wanted { ipv6, address6: address6.parse().ok(), ..Wanted::default() };
            let moved = other_address6(&seen, &wanted).map(|(old, new)| format!("{old} is {new}"));
            moved.or_else(|| {
                other_ipv6("a", &seen, &wanted).map(|problem| format!("{}: {}", problem.check, problem.found))
            })
        };
        let (one, both) = ("A=\"--node-ip=192.0.2.4 --v=2\"", "A=\"--node-ip=192.0.2.4,2001:db8::4\"");
        assert_eq!(problem(one, false, ""), None);
        assert_eq!(problem(both, true, "2001:db8::4"), None);
        // It is not known of a machine that is off.
        assert_eq!(problem(both, true, ""), None);
        assert_eq!(problem("A=\"--v=2\"", true, "2001:db8::4"), None);
        for (flags, ipv6, address6, expected) in [
            (
                one,
                true,
                "2001:db8::4",
                "ipv6_stack: true, but a has joined its cluster with an address of IPv4 alone",
            ),
            (both, false, "", "ipv6_stack: false, but a has joined its cluster with 2001:db8::4 as well"),
            (both, true, "2001:db8::5", "2001:db8::4 is 2001:db8::5"),
        ] {
            assert_eq!(problem(flags, ipv6, address6).as_deref(), Some(expected), "{flags}");
        }
    }
}
