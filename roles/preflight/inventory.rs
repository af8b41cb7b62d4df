//! The inventory: groups, names and addresses, before any machine is contacted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Inventory, Vars, VarsError, some_names};

use super::findings::{Findings, problem};
use super::settings::{self, Setting};
use super::subnets;

/// Everything that is wrong with the inventory and the variables by themselves: to be called before a run that begins with
/// the role `preflight`, which does not look at these again. `hosts` are those of the inventory that take part in the run.
///
/// # Errors
/// When a host is not in the inventory.
pub fn check_inventory(inventory: &Inventory, vars: &Vars, hosts: &[String]) -> Result<Findings, VarsError> {
    let nodes = inventory.group("k8s_cluster");
    let etcd = inventory.group("etcd");
    let mut all = nodes.clone();
    all.extend(etcd.iter().filter(|host| !nodes.contains(host)));
    let of_all: Vec<(&str, HostVars)> =
        all.iter().map(|host| Ok((*host, vars.host(host)?))).collect::<Result<_, _>>()?;

    let lenient = of_all.first().is_some_and(|(_, vars)| settings::ignore_assert_errors(vars));
    let mut findings = Findings::new(lenient);
    findings.object(empty("kube_control_plane", &inventory.group("kube_control_plane")));
    findings.object(empty("etcd", &etcd));
    findings.warn(even(&etcd));
    findings.warn(no_workers(&inventory.group("kube_node")));
    findings.refuse(same("node name", &of_all, "kube_override_hostname", |vars| {
        text(vars, "kube_override_hostname")
    }));
    findings.refuse(same("address", &of_all, "ansible_host", ssh_address));
    findings.refuse(same("address", &of_all, "ip", |vars| text(vars, "ip")));
    findings.refuse(same("address", &of_all, "access_ip", |vars| text(vars, "access_ip")));
    findings.refuse(absent(inventory, vars, hosts)?);
    let of_each = of_all.iter().map(|(host, vars)| {
        let mut of_host = settings::check(vars);
        of_host.refuse(subnets::arithmetic(vars, nodes.len()));
        of_host.object(subnets::room_for_pods(vars));
        of_host.refuse(addresses(vars));
        of_host.object(node_name(vars));
        of_host.refuse(connection(vars));
        (*host, of_host)
    });
    findings.merge(of_each.collect());
    Ok(findings)
}

fn empty(group: &str, hosts: &[&str]) -> Option<Problem> {
    hosts.is_empty().then(|| {
        problem(
            format!("group {group}"),
            "no host",
            "at least one host",
            format!("put a host into [{group}] of the inventory"),
        )
    })
}

/// An even member adds nothing but one more that can fail: quorum is half of them and one more (etcd's FAQ).
fn even(etcd: &[&str]) -> Option<Problem> {
    (!etcd.is_empty() && etcd.len().is_multiple_of(2)).then(|| {
        problem(
            "group etcd",
            format!("{} hosts", etcd.len()),
            "an odd number of hosts",
            format!("take {} out of [etcd], or put one more in", etcd[etcd.len() - 1]),
        )
    })
}

fn no_workers(nodes: &[&str]) -> Option<Problem> {
    nodes.is_empty().then(|| {
        problem(
            "group kube_node",
            "no host",
            "a host where pods may run",
            "put a host, or the control plane too, into [kube_node]",
        )
    })
}

fn text(vars: &HostVars, name: &'static str) -> Option<String> {
    Setting::of(vars, name).map(|setting| setting.text)
}

/// Where the machine is reached. Machines behind one address differ in their ports.
fn ssh_address(vars: &HostVars) -> Option<String> {
    let host = text(vars, "ansible_host").filter(|host| !host.is_empty());
    let host = host.unwrap_or_else(|| vars.name().to_owned());
    match text(vars, "ansible_port").filter(|port| port != "22") {
        Some(port) => Some(format!("{host}:{port}")),
        None => Some(host),
    }
}

/// That no two hosts have the same of something.
fn same(
    check: &str,
    hosts: &[(&str, HostVars)],
    variable: &str,
    of: impl Fn(&HostVars) -> Option<String>,
) -> Vec<Problem> {
    let mut owners: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (host, vars) in hosts {
        if let Some(value) = of(vars) {
            owners.entry(value).or_default().push(host);
        }
    }
    let shared = owners.into_iter().filter(|(_, owners)| owners.len() > 1);
    shared
        .map(|(value, owners)| {
            problem(
                check,
                format!("{variable} {value} of {}", some_names(&owners)),
                "each machine once, under one name",
                format!("take the others out of the inventory, or correct their {variable}"),
            )
        })
        .collect()
}

/// Addresses must be ones, and of the family that clusters are.
fn addresses(vars: &HostVars) -> Vec<Problem> {
    let tell = |name| {
        let setting = Setting::of(vars, name)?;
        let good = setting.text.parse::<Ipv4Addr>().is_ok_and(|ip| !ip.is_unspecified() && !ip.is_loopback());
        (!good).then(|| {
            setting.wrong("an IPv4 address of the machine", format!("correct {name} of {}", vars.name()))
        })
    };
    ["ip", "access_ip"].into_iter().filter_map(tell).collect()
}

/// Machines are reached over ssh, this computer too.
fn connection(vars: &HostVars) -> Option<Problem> {
    let setting = Setting::of(vars, "ansible_connection").filter(|s| s.text == "local")?;
    Some(setting.wrong("ssh", format!("let ssh log in to {}, and remove ansible_connection", vars.name())))
}

/// A node's name is a DNS name (RFC 1123), and the value of a label, which has 63 characters at most.
fn node_name(vars: &HostVars) -> Option<Problem> {
    let name = text(vars, "kube_override_hostname")?;
    (!is_dns_name(&name) || name.len() > 63).then(|| {
        problem(
            "node name",
            name,
            "at most 63 small letters, digits, hyphens and dots, with a letter or digit first and last",
            format!("rename {} in the inventory, or set its kube_override_hostname", vars.name()),
        )
    })
}

/// RFC 1123, in small letters as Kubernetes wants it.
pub(super) fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Of machines that the others need, and that this run does not ask, the address must be written down.
fn absent(inventory: &Inventory, vars: &Vars, hosts: &[String]) -> Result<Vec<Problem>, VarsError> {
    let mut needed = inventory.group("kube_control_plane");
    needed.extend(inventory.group("etcd"));
    needed.sort_unstable();
    needed.dedup();
    let mut problems = Vec::new();
    for host in needed.into_iter().filter(|host| !hosts.iter().any(|h| h == host)) {
        let of_host = vars.host(host)?;
        let is_address = |name| text(&of_host, name).is_some_and(|text| text.parse::<IpAddr>().is_ok());
        if !["ip", "access_ip", "ansible_host"].into_iter().any(is_address) {
            problems.push(problem(
                "address",
                format!("that of {host} is not known, and {host} is not part of this run"),
                "the address of every control plane and etcd member",
                format!("set ip of {host} in the inventory, or let it take part (--limit)"),
            ));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{inventory_and_vars, told};
    use super::*;

    const GOOD: &str = "a ansible_host=192.0.2.1\nb ansible_host=192.0.2.2\nc ansible_host=192.0.2.3\n\
                        [kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\nb\nc\n";

    /// What is found wrong with an inventory, as `check: found`; a run of all its hosts unless told which.
    fn found(ini: &str, hosts: Option<&[&str]>) -> Vec<String> {
        let (inventory, vars) = inventory_and_vars(ini, "");
        let all: Vec<String> = inventory.hosts().map(|h| h.name().to_owned()).collect();
        let hosts = hosts.map_or(all, |hosts| hosts.iter().map(|h| (*h).to_owned()).collect());
        let findings = check_inventory(&inventory, &vars, &hosts).unwrap();
        findings.problems.iter().map(told).collect()
    }

    #[test]
    fn what_is_wrong_with_an_inventory_is_found() {
        let rows = [
            (GOOD.to_owned(), ""),
            (GOOD.replace("[kube_control_plane]\na\n", ""), "group kube_control_plane: no host"),
            (GOOD.replace("[etcd]\na\n", ""), "group etcd: no host"),
            // A warning: so it is until another member takes the place of one that left.
            (GOOD.replace("[etcd]\na\n", "[etcd]\na\nb\n"), ""),
            (GOOD.replace("[etcd]\na\n", "[etcd]\na\nb\nc\n"), ""),
            (GOOD.replace("192.0.2.3", "192.0.2.2"), "address: ansible_host 192.0.2.2 of b, c"),
            (GOOD.replace("192.0.2.3", "192.0.2.2 ansible_port=2222"), ""),
            (
                GOOD.replace("192.0.2.3", "192.0.2.2 ansible_port=22"),
                "address: ansible_host 192.0.2.2 of b, c",
            ),
            (
                GOOD.replace("192.0.2.2", "192.0.2.2 ip=10.1.1.2")
                    .replace("192.0.2.3", "192.0.2.3 ip=10.1.1.2"),
                "address: ip 10.1.1.2 of b, c",
            ),
            (GOOD.replace("192.0.2.3", "192.0.2.3 ip=10.1.1"), "ip: 10.1.1 (hosts.ini:3:29) on c"),
            (GOOD.replace("192.0.2.3", "192.0.2.3 ip=fd00::3"), "ip: fd00::3 (hosts.ini:3:29) on c"),
            (
                GOOD.replace("c ansible", "Room_1 ansible").replace("\nc\n", "\nRoom_1\n"),
                "node name: Room_1 on Room_1",
            ),
            (
                GOOD.replace("192.0.2.3", "192.0.2.3 ansible_connection=local"),
                "ansible_connection: local (hosts.ini:3:45) on c",
            ),
            (GOOD.replace("ansible_host=192.0.2.2", "ansible_host=").replace("192.0.2.3", ""), ""),
            (
                GOOD.replace("192.0.2.3", "192.0.2.3 kube_override_hostname=b"),
                "node name: kube_override_hostname b of b, c",
            ),
        ];
        for (ini, expected) in rows {
            assert_eq!(found(&ini, None).join("; "), expected, "{ini}");
        }
    }

    #[test]
    fn a_problem_of_the_variables_is_told_once_for_all_hosts() {
        let (inventory, vars) = inventory_and_vars(GOOD, "kube_pods_subnet: nonsense");
        let findings = check_inventory(&inventory, &vars, &["a".into(), "b".into(), "c".into()]).unwrap();
        assert_eq!(findings.problems.len(), 1, "{findings:?}");
        let (inventory, vars) = inventory_and_vars(GOOD, "skydns_server: '{{ nowhere }}'");
        let findings = check_inventory(&inventory, &vars, &["a".into(), "b".into(), "c".into()]).unwrap();
        assert_eq!(findings.problems.len(), 1, "what cannot be worked out, too: {findings:?}");
    }

    #[test]
    fn a_control_plane_outside_the_run_needs_an_address() {
        assert_eq!(found(GOOD, Some(&["b", "c"])), Vec::<String>::new(), "ansible_host is one");
        let named = GOOD.replace("192.0.2.1", "a.example.org");
        assert_eq!(found(&named, Some(&["a", "b", "c"])), Vec::<String>::new(), "it is asked");
        assert_eq!(
            found(&named, Some(&["b", "c"])),
            ["address: that of a is not known, and a is not part of this run"]
        );
    }

    #[test]
    fn names_are_those_of_rfc_1123() {
        for (name, good) in [
            ("node1", true),
            ("10.1.2.3", true),
            ("a.b-c.d", true),
            ("Node1", false),
            ("node_1", false),
            ("-a", false),
            ("a-", false),
            ("a..b", false),
            ("", false),
            (&"a".repeat(64), false),
        ] {
            assert_eq!(is_dns_name(name), good, "{name}");
        }
    }
}
