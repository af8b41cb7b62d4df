//! The inventory: groups, names and addresses, before any machine is contacted.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use muster_engine::prelude::Problem;
use muster_inventory::{Group, HostVars, Inventory, Vars, VarsError, closest, closest_within, some_names};

use super::findings::{Findings, problem};
use super::settings::{self, Setting};
use super::{dual_stack, kubelets, subnets};
use crate::balancer::External;
use crate::common::is_dns_name;

/// The groups that a cluster's machines are in.
const GROUPS: [&str; 4] = ["kube_control_plane", "kube_node", "etcd", "k8s_cluster"];

/// Everything that is wrong with the inventory and the variables by themselves: to be called before a run that begins with
/// the role `preflight`, which does not look at these again.
///
/// # Errors
/// When a host is not in the inventory.
pub fn check_inventory(inventory: &Inventory, vars: &Vars) -> Result<Findings, VarsError> {
    let nodes = inventory.group("k8s_cluster");
    let etcd = inventory.group("etcd");
    let mut all = nodes.clone();
    all.extend(etcd.iter().filter(|host| !nodes.contains(host)));
    let of_all: Vec<(&str, HostVars)> =
        all.iter().map(|host| Ok((*host, vars.host(host)?))).collect::<Result<_, _>>()?;

    let lenient = of_all.first().is_some_and(|(_, vars)| settings::ignore_assert_errors(vars));
    let mut findings = Findings::new(lenient);
    findings.object(empty(inventory, "kube_control_plane"));
    findings.object(empty(inventory, "etcd"));
    findings.warn(even(&etcd));
    findings.warn(alone(&etcd, &inventory.group("kube_control_plane")));
    findings.warn(no_workers(inventory));
    findings.warn(beside(inventory, &all));
    let slips = written_twice(inventory, vars, &of_all)?;
    if slips.is_empty() {
        findings.warn(in_no_group(inventory, vars)?);
    }
    findings.warn(slips);
    findings.refuse(same("node name", &of_all, "kube_override_hostname", |vars| {
        text(vars, "kube_override_hostname")
    }));
    findings.refuse(same("address", &of_all, "ansible_host", ssh_address));
    findings.refuse(this_computer(&of_all));
    findings.refuse(same("address", &of_all, "ip", |vars| text(vars, "ip")));
    findings.refuse(same("address", &of_all, "access_ip", |vars| text(vars, "access_ip")));
    findings.refuse(same("address", &of_all, "ip6", |vars| text(vars, "ip6")));
    let of_nodes: Vec<_> = of_all.iter().filter(|(host, _)| nodes.contains(host)).collect();
    for variable in ["flannel_interface", "flannel_interface_regexp"] {
        findings.refuse(one_for_all(&of_nodes, variable));
    }
    let groups = inventory.group("kube_control_plane");
    let planes: Vec<_> = of_all.iter().filter(|(host, _)| groups.contains(host)).cloned().collect();
    findings.warn(one_way(&planes));
    let of_each = of_all.iter().map(|(host, vars)| {
        let mut of_host = settings::check(vars);
        of_host.refuse(subnets::arithmetic(vars, nodes.len()));
        of_host.object(subnets::room_for_pods(vars));
        of_host.refuse(dual_stack::check(vars, nodes.len()));
        of_host.refuse(addresses(vars));
        of_host.object(node_name(vars));
        of_host.refuse(kubelets::locked_out(host, vars, &planes));
        (*host, of_host)
    });
    findings.merge(of_each.collect());
    Ok(findings)
}

fn empty(inventory: &Inventory, group: &str) -> Option<Problem> {
    inventory.group(group).is_empty().then(|| {
        let remedy = match mistyped(inventory, group) {
            Some(meant) => format!("is [{meant}] meant for it? Rename it to [{group}]"),
            None => format!("put a host into [{group}] of the inventory"),
        };
        problem(format!("group {group}"), "no host", "at least one host", remedy)
    })
}

/// A group with hosts whose name is nearly that of one of a cluster's groups.
fn mistyped<'i>(inventory: &'i Inventory, group: &str) -> Option<&'i str> {
    let others = inventory.groups().map(Group::name).filter(|name| !GROUPS.contains(name));
    closest(group, others.filter(|name| !inventory.group(name).is_empty()))
}

/// Hosts of such a group that are in none of the cluster, which has others of the group that was meant.
fn beside(inventory: &Inventory, all: &[&str]) -> Vec<Problem> {
    let tell = |group: &&str| {
        let meant = mistyped(inventory, group).filter(|_| !inventory.group(group).is_empty())?;
        let out: Vec<&str> = inventory.group(meant).into_iter().filter(|host| !all.contains(host)).collect();
        (!out.is_empty()).then(|| {
            problem(
                format!("group {meant}"),
                format!("{} in no group of the cluster", some_names(&out)),
                "names of groups that mean something here",
                format!("did you mean {group}?"),
            )
        })
    };
    GROUPS.iter().filter_map(tell).collect()
}

/// Hosts of the cluster's groups that are nowhere given an address, where a host with nearly the same name has one and is in none of
/// these groups: with a slip in a name, two are made of one machine.
fn written_twice(
    inventory: &Inventory,
    vars: &Vars,
    of_all: &[(&str, HostVars)],
) -> Result<Vec<Problem>, VarsError> {
    let has_address = |vars: &HostVars| ["ansible_host", "ip"].iter().any(|name| text(vars, name).is_some());
    let mut idle = Vec::new();
    for host in inventory.hosts().map(muster_inventory::Host::name) {
        if of_all.iter().all(|(name, _)| *name != host) && has_address(&vars.host(host)?) {
            idle.push(host);
        }
    }
    let letters = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "");
    let tell = |(host, vars): &(&str, HostVars)| {
        if is_here(vars) {
            return None;
        }
        // node4 is no slip for node5.
        let others = idle.iter().copied().filter(|other| letters(other) != letters(host));
        let meant = closest_within(1, host, others).filter(|_| !has_address(vars))?;
        Some(problem(
            "host",
            format!("{host} without an address of its own, and {meant}, which is in no group of the cluster"),
            "the same name in the groups as in the line with the address",
            format!(
                "write {meant} in the place of {host}; or give {host} an address: {host} ansible_host=..."
            ),
        ))
    };
    Ok(of_all.iter().filter_map(tell).collect())
}

/// Hosts that are in no group at all: nothing is done with them. Not meant are this computer, which has a line of its own for Ansible,
/// and what is reached by way of a host with this name.
fn in_no_group(inventory: &Inventory, vars: &Vars) -> Result<Option<Problem>, VarsError> {
    let mut idle = Vec::new();
    for host in inventory.group("ungrouped") {
        if !is_here(&vars.host(host)?) && !["localhost", "bastion"].contains(&host) {
            idle.push(host);
        }
    }
    Ok((!idle.is_empty()).then(|| {
        problem(
            "group",
            format!("{} in no group: nothing is done there", some_names(&idle)),
            "each machine of the cluster in [kube_node], [kube_control_plane] or [etcd]",
            "put it into [kube_node], if it is to run pods",
        )
    }))
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

/// With one member of etcd several control planes keep the cluster no better than one does: all that they know is on its machine.
fn alone(etcd: &[&str], planes: &[&str]) -> Option<Problem> {
    let [member] = etcd else { return None };
    (planes.len() > 1).then(|| {
        problem(
            "group etcd",
            format!(
                "only {member} for {} control planes: when it is lost, the cluster and all its data are",
                planes.len()
            ),
            "three hosts, of which one may be lost",
            "put two more hosts into [etcd]; control planes may be members",
        )
    })
}

fn no_workers(inventory: &Inventory) -> Option<Problem> {
    inventory.group("kube_node").is_empty().then(|| {
        let remedy = match mistyped(inventory, "kube_node") {
            Some(meant) => format!("is [{meant}] meant for it? Rename it to [kube_node]"),
            None => "put a host, or the control plane too, into [kube_node]".to_owned(),
        };
        problem("group kube_node", "no host", "a host where pods may run", remedy)
    })
}

/// Without a load balancer all machines look for the API at one of several control planes.
fn one_way(planes: &[(&str, HostVars)]) -> Option<Problem> {
    let (_, vars) = planes.first().filter(|_| planes.len() > 1)?;
    let setting = Setting::of(vars, LOCALHOST)?;
    let is_false = vars.get(LOCALHOST).ok().flatten().and_then(|value| value.as_bool()) == Some(false);
    let has_other = External::of(vars).is_ok_and(|external| external.is_some());
    (is_false && !has_other).then(|| {
        setting.wrong(
            format!(
                "a load balancer: without one all machines look for the API at one of the {} control planes",
                planes.len()
            ),
            format!("remove {LOCALHOST}, or say in loadbalancer_apiserver where your own load balancer is"),
        )
    })
}

/// Asks for a load balancer on each machine without an API server.
const LOCALHOST: &str = "loadbalancer_apiserver_localhost";

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

/// flannel's pods are made from one template, so what it is told is the same on all nodes.
fn one_for_all(nodes: &[&(&str, HostVars)], variable: &'static str) -> Option<Problem> {
    let mut owners: BTreeMap<Option<String>, Vec<&str>> = BTreeMap::new();
    for (host, vars) in nodes {
        owners.entry(text(vars, variable)).or_default().push(host);
    }
    let told = |(value, owners): (&Option<String>, &Vec<&str>)| {
        format!("{} of {}", value.as_deref().unwrap_or("none"), some_names(owners))
    };
    (owners.len() > 1).then(|| {
        problem(
            variable,
            owners.iter().map(told).collect::<Vec<_>>().join(", "),
            "the same for all machines: flannel's pods are made from one template",
            format!(
                "take {variable} out, and set ip of each machine: flannel uses the interface that has it"
            ),
        )
    })
}

/// Addresses must be ones, and of the family that clusters are.
fn addresses(vars: &HostVars) -> Vec<Problem> {
    let tell = |name| {
        let setting = Setting::of(vars, name)?;
        let good = setting.text.parse::<Ipv4Addr>().is_ok_and(|ip| !ip.is_unspecified() && !ip.is_loopback());
        let host = vars.name();
        // By its name the other machines may not find it, whatever this computer knows.
        let is_name = setting.text.chars().any(char::is_alphabetic) && is_dns_name(&setting.text);
        let remedy = match is_name {
            true => format!(
                "write the address of {host} instead of a name, which other machines may not know, or remove {name}"
            ),
            false => format!("correct {name} of {host}"),
        };
        (!good).then(|| setting.wrong("an IPv4 address of the machine", remedy))
    };
    ["ip", "access_ip"].into_iter().filter_map(tell).collect()
}

/// Whether a host is the computer that muster runs on.
fn is_here(vars: &HostVars) -> bool {
    text(vars, "ansible_connection")
        .is_some_and(|way| ["local", "ansible.builtin.local"].contains(&way.as_str()))
}

/// This computer is one machine, whatever it is called.
fn this_computer(hosts: &[(&str, HostVars)]) -> Option<Problem> {
    let here: Vec<&str> = hosts.iter().filter(|(_, vars)| is_here(vars)).map(|(host, _)| *host).collect();
    let [first, _, ..] = here[..] else { return None };
    Some(problem(
        "ansible_connection",
        format!("local of {}, which are the same machine: this computer", some_names(&here)),
        "each machine once, under one name",
        format!(
            "let ssh log in to all but one, {first} for example, or take the others out of the inventory"
        ),
    ))
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{inventory_and_vars, told};
    use super::*;

    const GOOD: &str = "a ansible_host=192.0.2.1\nb ansible_host=192.0.2.2\nc ansible_host=192.0.2.3\n\
                        [kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\nb\nc\n";

    /// What is found wrong with an inventory, as `check: found`.
    fn found(ini: &str) -> Vec<String> {
        let (inventory, vars) = inventory_and_vars(ini, "");
        let findings = check_inventory(&inventory, &vars).unwrap();
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
                GOOD.replace("192.0.2.3", "192.0.2.3 ansible_connection=local")
                    .replace("192.0.2.2", "192.0.2.2 ansible_connection=ansible.builtin.local"),
                "ansible_connection: local of b, c, which are the same machine: this computer",
            ),
            // As kubespray's sample has it; what Ansible has of this computer beside the cluster is none of it.
            (
                GOOD.replace(
                    "a ansible_host=192.0.2.1",
                    "localhost ansible_connection=local\na ansible_connection=local",
                ),
                "",
            ),
            (GOOD.replace("ansible_host=192.0.2.2", "ansible_host=").replace("192.0.2.3", ""), ""),
            (
                GOOD.replace("192.0.2.3", "192.0.2.3 kube_override_hostname=b"),
                "node name: kube_override_hostname b of b, c",
            ),
            (
                GOOD.replace("192.0.2.2", "192.0.2.2 flannel_interface=eth1"),
                "flannel_interface: none of a, c, eth1 of b",
            ),
        ];
        for (ini, expected) in rows {
            assert_eq!(found(&ini).join("; "), expected, "{ini}");
        }
    }

    #[test]
    fn several_control_planes_without_a_load_balancer_are_told() {
        let several = GOOD
            .replace("[kube_control_plane]\na\n", "[kube_control_plane]\na\nb\n")
            .replace("[etcd]\na\n", "[etcd]\na\nb\nc\n");
        let warned = |ini: &str, yaml: &str| {
            let (inventory, vars) = inventory_and_vars(ini, yaml);
            check_inventory(&inventory, &vars).unwrap().warnings.iter().map(told).collect::<Vec<_>>()
        };
        let without = "loadbalancer_apiserver_localhost: false";
        assert_eq!(warned(&several, without), ["loadbalancer_apiserver_localhost: false (vars.yml:1:35)"]);
        let other = format!("{without}\nloadbalancer_apiserver: {{address: 192.0.2.9}}\n");
        for (ini, yaml) in [(GOOD, without), (&several, ""), (&several, other.as_str())] {
            assert_eq!(warned(ini, yaml), [""; 0], "{yaml}");
        }
    }

    #[test]
    fn several_control_planes_with_one_member_of_etcd_are_told() {
        let several = GOOD.replace("[kube_control_plane]\na\n", "[kube_control_plane]\na\nb\nc\n");
        let warned = |ini: &str| {
            let (inventory, vars) = inventory_and_vars(ini, "");
            check_inventory(&inventory, &vars).unwrap().warnings.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(
            warned(&several),
            ["group etcd: only a for 3 control planes: when it is lost, the cluster and all its data are"]
        );
        assert_eq!(warned(GOOD), [""; 0], "one control plane has nothing to lose by it");
        assert_eq!(warned(&several.replace("[etcd]\na\n", "[etcd]\na\nb\nc\n")), [""; 0]);
    }

    #[test]
    fn a_machine_that_is_in_no_group_is_told() {
        let warned = |ini: &str| {
            let (inventory, vars) = inventory_and_vars(ini, "");
            check_inventory(&inventory, &vars).unwrap().warnings.iter().map(told).collect::<Vec<_>>()
        };
        let with = |line: &str| format!("{line}\n{GOOD}");
        assert_eq!(
            warned(&with("d ansible_host=192.0.2.4")),
            ["group: d in no group: nothing is done there"]
        );
        let others = [
            "localhost ansible_connection=local",
            "me ansible_connection=local",
            "bastion ansible_host=192.0.2.9",
        ];
        for line in others {
            assert_eq!(warned(&with(line)), [""; 0], "{line}");
        }
        assert_eq!(warned(&with("d ansible_host=192.0.2.4\n[spare]\nd")), [""; 0]);
    }

    #[test]
    fn a_slip_in_the_name_of_a_host_is_told() {
        let warned = |ini: &str| {
            let (inventory, vars) = inventory_and_vars(ini, "");
            check_inventory(&inventory, &vars).unwrap().warnings.iter().map(told).collect::<Vec<_>>()
        };
        let slip = GOOD.replace("b ans", "bx ans");
        let expected = "host: b without an address of its own, and bx, which is in no group of the cluster";
        assert_eq!(warned(&slip), [expected]);
        for other in ["c2 ans", "lb.example.com ans"] {
            let ini = GOOD.replace("a\nb\nc\n", "a\nc\nc1\n").replace("b ans", other);
            let told = warned(&ini);
            assert!(
                told.len() == 1 && told[0].contains(" in no group: nothing is done there"),
                "{ini}: {told:?}"
            );
        }
    }

    #[test]
    fn a_name_in_the_place_of_an_address_is_told_to_be_one() {
        let remedy = |ip: &str| {
            let ini = GOOD.replace("192.0.2.3", &format!("192.0.2.3 ip={ip}"));
            let (inventory, vars) = inventory_and_vars(&ini, "");
            check_inventory(&inventory, &vars).unwrap().problems.swap_remove(0).remedy
        };
        assert!(remedy("worker.lan").starts_with("write the address of c instead of a name"));
        assert_eq!(remedy("10.1.1"), "correct ip of c");
        assert_eq!(remedy("fd00::3"), "correct ip of c");
    }

    #[test]
    fn a_group_with_nearly_the_name_of_one_is_told() {
        let warned = |ini: &str| {
            let (inventory, vars) = inventory_and_vars(ini, "");
            let findings = check_inventory(&inventory, &vars).unwrap();
            findings.warnings.iter().map(|w| format!("{}; {}", told(w), w.remedy)).collect::<Vec<_>>()
        };
        for name in ["kube_nodes", "kube-nodes", "kubenode"] {
            let all = GOOD.replace("[kube_node]", &format!("[{name}]"));
            let all = format!("{all}[kube_node]\n");
            assert_eq!(
                warned(&all),
                [format!("group kube_node: no host; is [{name}] meant for it? Rename it to [kube_node]"),]
            );
            let some = format!("{}[{name}]\nc\n", GOOD.replace("\nb\nc\n", "\nb\n"));
            assert_eq!(
                warned(&some),
                [format!("group {name}: c in no group of the cluster; did you mean kube_node?")]
            );
        }
        let own = format!("{GOOD}[web]\nd\n[kube_nodes]\nc\n");
        assert_eq!(warned(&own), [""; 0], "a host that is in the right one, too");
        let planes = GOOD.replace("[kube_control_plane]", "[kube_control_planes]") + "[kube_control_plane]\n";
        let (inventory, vars) = inventory_and_vars(&planes, "");
        let findings = check_inventory(&inventory, &vars).unwrap();
        assert!(findings.problems[0].remedy.contains("Rename it to [kube_control_plane]"), "{findings:?}");
    }

    #[test]
    fn a_problem_of_the_variables_is_told_once_for_all_hosts() {
        let (inventory, vars) = inventory_and_vars(GOOD, "kube_pods_subnet: nonsense");
        let findings = check_inventory(&inventory, &vars).unwrap();
        assert_eq!(findings.problems.len(), 1, "{findings:?}");
        let (inventory, vars) = inventory_and_vars(GOOD, "skydns_server: '{{ nowhere }}'");
        let findings = check_inventory(&inventory, &vars).unwrap();
        assert_eq!(findings.problems.len(), 1, "what cannot be worked out, too: {findings:?}");
    }
}
