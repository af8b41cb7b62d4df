//! The machines of a run side by side: what must differ among them, and what must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use muster_engine::facts::Address;
use muster_engine::prelude::*;
use muster_inventory::some_names;

use super::Machine;
use super::findings::{Findings, problem};
use super::subnets::is_ours;
use crate::addresses::ip_of;
use crate::cluster;

/// What this role tells other hosts.
const SEEN: &str = "its facts";

/// What a machine says of itself that other machines must not say.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    pub(super) name: String,
    /// What it is about, and its value.
    pub(super) marks: Vec<(Mark, String)>,
    /// Its addresses, but for loopback and the pods' network.
    pub(super) addresses: Vec<Address>,
    pub(super) clock_ahead: i64,
}

/// Something that a machine has alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    Address,
    Mac,
    MachineId,
    HostName,
    ProductUuid,
}

/// All machines of the run that were reached.
#[derive(Debug, Default)]
pub(super) struct Everyone {
    owners: BTreeMap<(Mark, String), Vec<String>>,
    names: Vec<String>,
    addresses: BTreeMap<String, Vec<Address>>,
    median_clock: i64,
}

impl Everyone {
    /// Whether this machine was reached.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// The addresses of all of them, each with the machine that has it.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&str, &Address)> {
        self.addresses.iter().flat_map(|(name, all)| all.iter().map(move |address| (name.as_str(), address)))
    }

    pub(super) fn of(peers: Vec<Peer>) -> Self {
        let mut clocks: Vec<i64> = peers.iter().map(|peer| peer.clock_ahead).collect();
        clocks.sort_unstable();
        let mut owners: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for peer in &peers {
            for mark in &peer.marks {
                owners.entry(mark.clone()).or_default().push(peer.name.clone());
            }
        }
        Self {
            owners,
            median_clock: clocks.get(clocks.len() / 2).copied().unwrap_or(0),
            names: peers.iter().map(|peer| peer.name.clone()).collect(),
            addresses: peers.into_iter().map(|peer| (peer.name, peer.addresses)).collect(),
        }
    }
}

/// Waits for the facts of everybody in the cluster who takes part in the run, once for all. Who cannot be reached, or has
/// failed, is left out.
pub(super) async fn everyone(host: &Host) -> Result<Arc<Everyone>> {
    host.reached(SEEN);
    let hosts = host.cluster();
    hosts
        .once("the facts of all machines", || async {
            let mut all = hosts.group("k8s_cluster");
            all.extend(hosts.group("etcd"));
            all.sort_unstable();
            all.dedup();
            let mut peers = Vec::new();
            for name in all.into_iter().filter(|name| hosts.in_run(name)) {
                match host.needs(&name, SEEN).await {
                    Ok(()) => peers.push(peer(host, &*hosts.host(&name)?)),
                    Err(_) => cluster::unreached(host, &name).await,
                }
            }
            Ok(Everyone::of(peers))
        })
        .await
}

fn peer(host: &Host, other: &Host) -> Peer {
    let facts = other.facts();
    let mut marks =
        vec![(Mark::MachineId, facts.machine_id.clone()), (Mark::HostName, facts.hostname.clone())];
    // A container shows the mainboard of the machine that runs it.
    if facts.container.is_empty() {
        marks.push((Mark::ProductUuid, facts.product_uuid.to_ascii_lowercase()));
    }
    // An address that cannot be told is told elsewhere.
    if let Ok(ip) = ip_of(host, other.name()) {
        marks.push((Mark::Address, ip.to_string()));
        let mac = facts.interface_of(ip).and_then(|interface| facts.macs.get(interface));
        marks.extend(mac.map(|mac| (Mark::Mac, mac.clone())));
    }
    // Not every kernel tells everything, and an image may leave its id to be made at the first start.
    marks.retain(|(_, value)| !value.is_empty() && value != "uninitialized");
    let addresses = facts.addresses.iter().filter(|a| !a.ip.is_loopback() && !is_ours(&a.interface));
    Peer {
        name: other.name().to_owned(),
        marks,
        addresses: addresses.cloned().collect(),
        clock_ahead: facts.clock_ahead,
    }
}

/// What to write into the inventory where machines have one address, as behind a NAT of their own each: the addresses that they
/// have in another network, which all of them share.
fn other_addresses(everyone: &Everyone, owners: &[String]) -> Option<String> {
    let of = |owner: &String| everyone.addresses.get(owner).map(Vec::as_slice).unwrap_or_default();
    let net = |address: &Address| match address.ip {
        IpAddr::V4(ip) => Ipv4Net::new(ip, address.prefix).ok().map(|net| net.trunc()),
        IpAddr::V6(_) => None,
    };
    let in_net = |owner: &String, wanted: Ipv4Net| {
        of(owner).iter().find(|address| net(address) == Some(wanted)).map(|address| address.ip)
    };
    let differ = |wanted: &Ipv4Net| {
        let ips: Option<BTreeSet<IpAddr>> = owners.iter().map(|owner| in_net(owner, *wanted)).collect();
        ips.is_some_and(|ips| ips.len() == owners.len())
    };
    let common = of(owners.first()?).iter().filter_map(net).find(differ)?;
    let lines = owners.iter().filter_map(|owner| Some(format!("{owner} ip={}", in_net(owner, common)?)));
    Some(lines.collect::<Vec<_>>().join(", "))
}

/// Everything about this machine beside the others.
pub(super) fn check(machine: &Machine, everyone: &Everyone, findings: &mut Findings) {
    findings.refuse(shared(everyone, machine.name, Mark::Address));
    findings.refuse(shared(everyone, machine.name, Mark::Mac));
    findings.object(shared(everyone, machine.name, Mark::MachineId));
    if !machine.vars.override_system_hostname {
        findings.refuse(shared(everyone, machine.name, Mark::HostName));
    }
    // Makers of cheap mainboards give all of them one number.
    findings.warn(shared(everyone, machine.name, Mark::ProductUuid));
    let (wrong, late) = clock(machine.facts.clock_ahead, everyone);
    findings.refuse(wrong);
    findings.warn(late);
}

/// That nobody else has what this machine has.
fn shared(everyone: &Everyone, name: &str, mark: Mark) -> Option<Problem> {
    let mut marks = everyone.owners.iter().filter(|((of, _), _)| *of == mark);
    let ((_, value), owners) =
        marks.find(|(_, owners)| owners.len() > 1 && owners.iter().any(|owner| owner == name))?;
    let (check, needed, remedy) = match mark {
        Mark::Address => (
            "address",
            "an address of its own",
            match other_addresses(everyone, owners) {
                Some(lines) => format!("write the address at which they reach each other: {lines}"),
                None => "set ip of each in the inventory; machines behind one address (NAT) need one among themselves".into(),
            },
        ),
        Mark::Mac => ("MAC", "a MAC address of its own", "give the copied virtual machine a new MAC address".into()),
        Mark::MachineId => (
            "machine-id",
            "an id of its own: interfaces' MAC addresses and DHCP leases follow from it",
            "on the copies: rm /etc/machine-id && systemd-machine-id-setup, then restart".into(),
        ),
        Mark::HostName => (
            "host name",
            "a host name of its own",
            "set override_system_hostname: true, or rename the machines".into(),
        ),
        Mark::ProductUuid => (
            "product_uuid",
            "a number of its own",
            "give copied virtual machines a new UUID; storage drivers tell nodes by it".into(),
        ),
    };
    Some(problem(check, format!("{value} of {}", some_names(owners)), needed, remedy))
}

/// By how many seconds clocks may differ: certificates and tokens are good from a moment on, and etcd's leases count.
const NOTABLE: u64 = 30;
const WRONG: u64 = 60;

/// The clock beside the controller's, and where there are three machines or more beside the one in the middle: as a
/// problem, and as a warning.
fn clock(ahead: i64, everyone: &Everyone) -> (Option<Problem>, Option<Problem>) {
    let of_others =
        if everyone.names.len() >= 3 { ahead.saturating_sub(everyone.median_clock) } else { ahead };
    let worst = ahead.unsigned_abs().max(of_others.unsigned_abs());
    let told = |seconds: i64, than: &str| {
        let side = if seconds < 0 { "behind" } else { "ahead of" };
        format!("{} s {side} {than}", seconds.unsigned_abs())
    };
    let (found, remedy) = if everyone.names.len() >= 3 && of_others.unsigned_abs() >= NOTABLE {
        (
            told(of_others, "the other machines"),
            "set the machine's clock: timedatectl set-ntp true, or date -s",
        )
    } else if everyone.names.len() >= 3 {
        (
            told(ahead, "this computer, as the other machines are"),
            "set the clock of this computer, or of the machines",
        )
    } else {
        (told(ahead, "this computer"), "set the machine's clock: timedatectl set-ntp true, or date -s")
    };
    let problem =
        || problem("clock", found, format!("within {WRONG} s, or certificates are not good"), remedy);
    match worst {
        WRONG.. => (Some(problem()), None),
        NOTABLE.. => (None, Some(problem())),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, address};
    use super::*;

    fn peers(marks: [(Mark, &str); 3]) -> Everyone {
        let peer = |(at, (mark, value)): (usize, (Mark, &str))| Peer {
            name: format!("node{}", at + 1),
            marks: vec![(mark, value.to_owned())],
            ..Peer::default()
        };
        Everyone::of(marks.into_iter().enumerate().map(peer).collect())
    }

    #[test]
    fn what_two_machines_have_is_told_of_both_and_of_no_other() {
        for mark in [Mark::Address, Mark::Mac, Mark::MachineId, Mark::HostName, Mark::ProductUuid] {
            let everyone = peers([(mark, "x"), (mark, "y"), (mark, "x")]);
            let told = shared(&everyone, "node1", mark).unwrap();
            assert_eq!(told.found, "x of node1, node3");
            assert_eq!(Some(told), shared(&everyone, "node3", mark), "one line of the table for both");
            assert_eq!(shared(&everyone, "node2", mark), None);
        }
        let everyone = peers([(Mark::Mac, "x"), (Mark::MachineId, "x"), (Mark::Address, "x")]);
        assert_eq!(shared(&everyone, "node1", Mark::Mac), None, "the same value of different things");
    }

    #[test]
    fn machines_behind_a_nat_of_their_own_are_told_which_address_to_write() {
        let at = |number: u8, host_only: &[&str]| {
            let mut addresses = vec![address("eth0", "10.0.2.15", 24)];
            addresses.extend(host_only.iter().map(|ip| address("eth1", ip, 24)));
            let marks = vec![(Mark::Address, "10.0.2.15".to_owned())];
            Peer { name: format!("node{number}"), marks, addresses, clock_ahead: 0 }
        };
        let remedy = |peers| shared(&Everyone::of(peers), "node1", Mark::Address).unwrap().remedy;
        assert_eq!(
            remedy(vec![at(1, &["198.51.100.1", "192.0.2.11"]), at(2, &["192.0.2.12"])]),
            "write the address at which they reach each other: node1 ip=192.0.2.11, node2 ip=192.0.2.12"
        );
        let apart = remedy(vec![at(1, &["192.0.2.11"]), at(2, &["198.51.100.1"])]);
        assert!(apart.starts_with("set ip of each in the inventory"), "{apart}");
    }

    #[test]
    fn a_host_name_that_will_be_changed_may_be_anything() {
        let everyone = peers([(Mark::HostName, "debian"), (Mark::HostName, "debian"), (Mark::HostName, "b")]);
        for (renamed, problems) in [(true, 0), (false, 1)] {
            let mut fixture = Fixture::good();
            fixture.vars.override_system_hostname = renamed;
            let mut findings = Findings::new(false);
            check(&fixture.machine(), &everyone, &mut findings);
            assert_eq!(findings.problems.len(), problems, "{renamed}");
        }
    }

    #[test]
    fn clocks_agree_with_the_controller_and_with_each_other() {
        // Each row: the clocks of all machines against the controller's, the first one's being looked at.
        let rows: [(&[i64], &str, &str); 10] = [
            (&[0, 1, -1], "", ""),
            (&[29, 0, 0], "", ""),
            (&[30, 0, 0], "", "30 s ahead of the other machines"),
            (&[-75, 0, 0], "75 s behind the other machines", ""),
            (&[0, 75, 75], "75 s behind the other machines", ""),
            (&[75, 75, 76], "75 s ahead of this computer, as the other machines are", ""),
            (&[75, 0], "75 s ahead of this computer", ""),
            (&[0, 75], "", ""),
            (&[-40], "", "40 s behind this computer"),
            (&[0, 0, 0, 75], "", ""),
        ];
        for (clocks, problem, warning) in rows {
            let peer = |clock: &i64| Peer { clock_ahead: *clock, ..Peer::default() };
            let everyone = Everyone::of(clocks.iter().map(peer).collect());
            let (wrong, late) = clock(clocks[0], &everyone);
            let text = |told: Option<Problem>| told.map(|p| p.found).unwrap_or_default();
            assert_eq!((text(wrong).as_str(), text(late).as_str()), (problem, warning), "{clocks:?}");
        }
    }
}
