//! Who tells pods names of the world outside: the resolv.conf that the kubelet hands on.

use std::net::{IpAddr, Ipv4Addr};

use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::Machine;
use super::findings::{Findings, problem};
use super::settings::{Setting, place, text_of};
use crate::coredns;
use crate::kubeadm::resolv_conf_for_pods;
use crate::resolvconf;

/// Everything about the resolv.conf that pods get, and CoreDNS among them.
pub(super) fn check(machine: &Machine, findings: &mut Findings) {
    findings.refuse(goes(machine));
    let Some(file) = File::of_pods(machine) else {
        findings.refuse(missing_file(machine));
        return;
    };
    findings.refuse(no_servers(machine, &file));
    findings.refuse(loops(machine, &file));
    findings.refuse(other_family(machine, &file));
    if machine.vars.docker_dns_servers_strict {
        findings.refuse(too_many_servers(&file));
    } else {
        findings.warn(too_many_servers(&file));
    }
    findings.refuse(too_many_domains(&file));
    findings.refuse(too_long_domains(&file));
}

/// What is written of the machines' own name servers.
pub(super) fn written(vars: &HostVars) -> Vec<Problem> {
    let servers = vars.get("nameservers").ok().flatten();
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let wrong = servers.as_ref().and_then(|list| {
        let texts = list.as_list()?.iter().map(text_of);
        let wrong = texts.filter(|text| !is_address(text)).collect::<Vec<_>>();
        (!wrong.is_empty()).then(|| {
            problem(
                "nameservers",
                format!("{}{}", wrong.join(", "), place(vars, "nameservers")),
                "addresses: names cannot be found before a name server is",
                "write addresses alone, without a port: nameservers: [192.0.2.53]",
            )
        })
    });
    let alone = vars.deserialize::<resolvconf::Vars>().is_ok_and(|names| names.asks_the_cluster_alone());
    let alone = Setting::of(vars, "disable_host_nameservers").filter(|_| alone).map(|setting| {
        setting.wrong(
            "a server that machines ask while the cluster's DNS is away",
            "name one in nameservers or upstream_dns_servers, by its address; or set disable_host_nameservers: false",
        )
    });
    wrong.into_iter().chain(alone).chain(manual(vars)).collect()
}

/// The server that pods ask, where it is the user's own.
fn manual(vars: &HostVars) -> Option<Problem> {
    Setting::of(vars, "dns_mode").filter(|mode| mode.text == "manual")?;
    let text = |name| Setting::of(vars, name).map(|setting| setting.text).unwrap_or_default();
    let (server, cache) = (text("manual_dns_server"), text("nodelocaldns_ip"));
    let reached = |ip: Ipv4Addr| !ip.is_loopback() && !ip.is_unspecified();
    (!server.parse().is_ok_and(reached) || server == cache).then(|| {
        let found = if server.is_empty() { "nothing" } else { server.as_str() };
        problem(
            "manual_dns_server",
            format!("{found}{}", place(vars, "manual_dns_server")),
            "the IPv4 address of a server of your own, as dns_mode is manual, other than nodelocaldns_ip",
            "set manual_dns_server, or dns_mode: coredns",
        )
    })
}

/// The limits of resolv.conf(5): those of musl and of glibc before 2.26, which images of all ages have.
const MOST_SERVERS: usize = 3;
const MOST_DOMAINS: usize = 6;
const LONGEST_DOMAINS: usize = 256;

/// A resolv.conf.
struct File<'m> {
    path: &'m str,
    servers: Vec<String>,
    domains: Vec<String>,
}

impl<'m> File<'m> {
    /// The one that the kubelet is told to hand on; `None` where `kube_resolv_conf` names one that is not there.
    fn of_pods(machine: &'m Machine) -> Option<Self> {
        Some(match &machine.vars.kube_resolv_conf {
            Some(path) => Self::parse(path, machine.seen.resolv.as_ref()?),
            None => {
                let (path, lines) = resolv_conf_for_pods(machine.facts);
                // Where the machine asks the cluster, pods get what muster keeps of its own servers; so it is in the run that ends that.
                match &machine.seen.resolv {
                    Some(own) if machine.names.is_wanted() || machine.names.has_the_clusters(lines) => {
                        Self::parse(resolvconf::OWN, own)
                    }
                    _ if machine.names.is_wanted() => {
                        Self::parse(path, &machine.names.without_the_clusters(lines))
                    }
                    _ => Self::parse(path, lines),
                }
            }
        })
    }

    fn parse(path: &'m str, lines: &[String]) -> Self {
        let mut file = Self { path, servers: Vec::new(), domains: Vec::new() };
        for line in lines {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => file.servers.extend(words.next().map(str::to_owned)),
                // Of several lines the last one counts.
                Some("search" | "domain") => file.domains = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        file
    }
}

/// The server that the machine asks, where an upgrade would take it away: only setup-cluster tells machines whom to ask.
fn goes(machine: &Machine) -> Option<Problem> {
    let lines = machine.facts.resolv.iter().chain(&machine.facts.uplink_resolv);
    let server = machine.names.gone(lines).filter(|_| machine.upgrades)?;
    Some(problem(
        "name servers",
        format!("the machine asks {server}, which would go with this upgrade"),
        "a server that stays: upgrade-cluster leaves it as it is how machines find names",
        "run setup-cluster first, which has the machine ask others; in the middle of an upgrade, put enable_nodelocaldns and dns_mode \
         back as they were until it is finished",
    ))
}

fn missing_file(machine: &Machine) -> Option<Problem> {
    let path = machine.vars.kube_resolv_conf.as_ref()?;
    Some(problem(
        "name servers",
        format!("kube_resolv_conf {path} is not there"),
        "a file with the name servers for pods",
        "correct kube_resolv_conf",
    ))
}

/// Whether CoreDNS asks the servers of the file.
fn asks(machine: &Machine) -> bool {
    let vars = machine.vars;
    coredns::is_anywhere(&vars.dns_mode, vars.enable_nodelocaldns) && vars.upstream_dns_servers.is_empty()
}

fn no_servers(machine: &Machine, file: &File) -> Option<Problem> {
    (asks(machine) && file.servers.is_empty()).then(|| {
        problem(
            "name servers",
            format!("none in {}", file.path),
            "at least one: CoreDNS does not start without",
            "set upstream_dns_servers, or put one into the file",
        )
    })
}

/// In a pod, loopback is the pod itself, and an address of a service is CoreDNS: it would ask itself, and stops with
/// "Loop detected" (CoreDNS' plugin `loop`).
fn loops(machine: &Machine, file: &File) -> Option<Problem> {
    let is_itself = |server: &&String| match server.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            ip.is_loopback() || machine.subnets.services.is_some_and(|net| net.contains(&ip))
        }
        Ok(IpAddr::V6(ip)) => ip.is_loopback(),
        Err(_) => false,
    };
    let server = file.servers.iter().find(|server| is_itself(server)).filter(|_| asks(machine))?;
    Some(problem(
        "name servers",
        format!("{server} in {}, at which CoreDNS would ask itself", file.path),
        "servers that pods reach",
        "set upstream_dns_servers, or kube_resolv_conf to a file with such servers",
    ))
}

/// Pods have addresses of IPv4 alone, and reach no other ones.
fn other_family(machine: &Machine, file: &File) -> Option<Problem> {
    let is_v6 = |server: &String| {
        // An address of one interface only names it behind `%`.
        let address = server.split('%').next().unwrap_or_default();
        address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() && !ip.is_loopback())
    };
    let all = !file.servers.is_empty() && file.servers.iter().all(is_v6);
    (asks(machine) && all).then(|| {
        problem(
            "name servers",
            format!("{} in {}: IPv6 alone", file.servers.join(", "), file.path),
            "at least one with an IPv4 address: pods have no other addresses",
            "set upstream_dns_servers, or kube_resolv_conf to a file with such servers",
        )
    })
}

fn too_many_servers(file: &File) -> Option<Problem> {
    (file.servers.len() > MOST_SERVERS).then(|| {
        problem(
            "name servers",
            format!("{} in {}: {}", file.servers.len(), file.path, file.servers.join(", ")),
            format!("at most {MOST_SERVERS}: programs ask no more"),
            "take some out (a second interface with DHCP?), or set docker_dns_servers_strict: false to use the first three",
        )
    })
}

fn too_many_domains(file: &File) -> Option<Problem> {
    (file.domains.len() > MOST_DOMAINS).then(|| {
        problem(
            "search domains",
            format!("{} in {}", file.domains.len(), file.path),
            format!("at most {MOST_DOMAINS}"),
            format!("take some out of the search line of {}", file.path),
        )
    })
}

fn too_long_domains(file: &File) -> Option<Problem> {
    let length = file.domains.join(" ").len();
    (length > LONGEST_DOMAINS).then(|| {
        problem(
            "search domains",
            format!("{length} characters in {}", file.path),
            format!("at most {LONGEST_DOMAINS} characters"),
            format!("take some out of the search line of {}", file.path),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, each_is_refused, told, variables};
    use super::*;

    type Change = fn(&mut Fixture);

    fn found(change: Change) -> (String, String) {
        let mut fixture = Fixture::good();
        change(&mut fixture);
        let mut findings = Findings::new(false);
        check(&fixture.machine(), &mut findings);
        let texts = |list: Vec<Problem>| list.into_iter().map(|p| p.found).collect::<Vec<_>>().join("; ");
        (texts(findings.problems), texts(findings.warnings))
    }

    fn resolv(fixture: &mut Fixture, lines: &[&str]) {
        fixture.facts.resolv = lines.iter().map(|line| (*line).to_owned()).collect();
    }

    fn asks_cluster(fixture: &mut Fixture) {
        fixture.names = names("resolvconf_mode: host_resolvconf").deserialize().unwrap();
    }

    fn names(yaml: &str) -> HostVars {
        variables(&format!("skydns_server: 10.233.0.3\n{yaml}"))
    }

    #[test]
    fn the_machines_own_servers_are_addresses_and_some_remain() {
        let found = |yaml: &str| written(&names(yaml)).iter().map(told).collect();
        let alone = "resolvconf_mode: host_resolvconf\ndisable_host_nameservers: true";
        each_is_refused(
            &[
                ("nameservers: [192.0.2.1, '2001:db8::1']", ""),
                ("nameservers: [dns.example.org]", "nameservers: dns.example.org (vars.yml:2:14)"),
                (alone, "disable_host_nameservers: true (vars.yml:3:"),
                (&format!("{alone}\nnameservers: [192.0.2.1]"), ""),
                (
                    &format!("{alone}\nupstream_dns_servers: ['192.0.2.1:5353']"),
                    "disable_host_nameservers: true",
                ),
                (&format!("{alone}\ndns_mode: none"), ""),
                (&format!("{alone}\ndns_mode: manual\nmanual_dns_server: 192.0.2.53"), ""),
                ("disable_host_nameservers: true", ""),
                ("dns_mode: manual", "manual_dns_server: nothing"),
                ("dns_mode: manual\nmanual_dns_server: 192.0.2.53", ""),
                ("dns_mode: manual\nmanual_dns_server: 10.233.0.3", ""),
                (
                    "dns_mode: manual\nmanual_dns_server: dns.example.org",
                    "manual_dns_server: dns.example.org (vars.yml:3:",
                ),
                (
                    "dns_mode: manual\nmanual_dns_server: 127.0.0.53",
                    "manual_dns_server: 127.0.0.53 (vars.yml:3:",
                ),
                (
                    "dns_mode: manual\nmanual_dns_server: 169.254.25.10",
                    "manual_dns_server: 169.254.25.10 (vars.yml:3:",
                ),
                ("manual_dns_server: dns.example.org", ""),
            ],
            found,
        );
    }

    const FOUR: [&str; 4] =
        ["nameserver 192.0.2.1", "nameserver 192.0.2.2", "nameserver 192.0.2.3", "nameserver\t192.0.2.4"];

    #[test]
    #[rustfmt::skip]
    fn what_is_wrong_with_name_servers_is_found() {
        let rows: [(Change, &str); 26] = [
            (|_| {}, ""),
            (|f| resolv(f, &FOUR[..3]), ""),
            (|f| resolv(f, &FOUR), "4 in /etc/resolv.conf: 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4"),
            (|f| resolv(f, &["# nameserver 192.0.2.1"]), "none in /etc/resolv.conf"),
            (|f| { resolv(f, &[]); f.vars.upstream_dns_servers = vec!["192.0.2.1".into()] }, ""),
            (|f| { resolv(f, &[]); f.vars.dns_mode = "none".into() }, ""),
            (|f| { resolv(f, &[]); f.vars.dns_mode = "manual".into() }, ""),
            (|f| { resolv(f, &[]); f.vars.dns_mode = "manual".into(); f.vars.enable_nodelocaldns = true }, "none in /etc/resolv.conf"),
            (|f| resolv(f, &["nameserver 127.0.0.53"]), "127.0.0.53 in /etc/resolv.conf, at which CoreDNS would ask itself"),
            (|f| resolv(f, &["nameserver ::1"]), "::1 in /etc/resolv.conf, at which CoreDNS would ask itself"),
            (|f| resolv(f, &["nameserver 2001:db8::1", "nameserver fe80::1%eth0"]), "2001:db8::1, fe80::1%eth0 in /etc/resolv.conf: IPv6 alone"),
            (|f| resolv(f, &["nameserver 2001:db8::1", "nameserver 192.0.2.1"]), ""),
            (|f| { resolv(f, &["nameserver 2001:db8::1"]); f.vars.upstream_dns_servers = vec!["192.0.2.1".into()] }, ""),
            (|f| resolv(f, &["nameserver 192.0.2.1", "nameserver 127.0.0.1"]), "127.0.0.1 in /etc/resolv.conf, at which CoreDNS would ask itself"),
            (|f| resolv(f, &["nameserver 10.233.0.3"]), "10.233.0.3 in /etc/resolv.conf, at which CoreDNS would ask itself"),
            (|f| { resolv(f, &["nameserver 127.0.0.53"]); f.facts.uplink_resolv = vec!["nameserver 192.0.2.1".into()] }, ""),
            (|f| { resolv(f, &["nameserver 127.0.0.53"]); f.vars.upstream_dns_servers = vec!["192.0.2.1".into()] }, ""),
            (|f| { resolv(f, &FOUR); f.vars.kube_resolv_conf = Some("/x".into()); f.seen.resolv = Some(vec!["nameserver 192.0.2.1".into()]) }, ""),
            (|f| f.vars.kube_resolv_conf = Some("/x".into()), "kube_resolv_conf /x is not there"),
            // A machine that asks the cluster: before, afterwards, and in the run that ends it; and one of which nothing is known.
            (|f| { asks_cluster(f); resolv(f, &["nameserver 10.233.0.3", "nameserver 192.0.2.1"]) }, ""),
            (|f| { asks_cluster(f); resolv(f, &["nameserver 10.233.0.3", "nameserver 192.0.2.1"]); f.seen.resolv = Some(vec!["nameserver ::1".into()]) }, "::1 in /var/lib/muster/resolv.conf, at which CoreDNS would ask itself"),
            (|f| { resolv(f, &["nameserver 10.233.0.3"]); f.seen.resolv = Some(vec!["nameserver 192.0.2.1".into()]) }, ""),
            (|f| f.seen.resolv = Some(vec!["nameserver ::1".into()]), ""),
            (|f| resolv(f, &["nameserver 192.0.2.1", "search a b c d e f"]), ""),
            (|f| resolv(f, &["nameserver 192.0.2.1", "search a b c d e f g"]), "7 in /etc/resolv.conf"),
            (|f| resolv(f, &["nameserver 192.0.2.1", &format!("search {} {}", "a".repeat(128), "b".repeat(128))]), "257 characters in /etc/resolv.conf"),
        ];
        for (row, (change, expected)) in rows.into_iter().enumerate() {
            assert_eq!(found(change), (expected.to_owned(), String::new()), "row {row}");
        }
        // In an upgrade, a server that the variables take away.
        for (server, goes) in [("169.254.25.10", true), ("10.233.0.4", true), ("10.233.0.3", false)] {
            let mut fixture = Fixture::good();
            asks_cluster(&mut fixture);
            resolv(&mut fixture, &[&format!("nameserver {server}"), "nameserver 192.0.2.1"]);
            for upgrades in [false, true] {
                fixture.upgrades = upgrades;
                let mut findings = Findings::new(false);
                check(&fixture.machine(), &mut findings);
                let told: Vec<String> = findings.problems.into_iter().map(|problem| problem.found).collect();
                let refused = format!("the machine asks {server}, which would go with this upgrade");
                assert_eq!(told, if goes && upgrades { vec![refused] } else { Vec::new() }, "{server}");
            }
        }
        let lenient: Change = |f| { resolv(f, &FOUR); f.vars.docker_dns_servers_strict = false };
        assert_eq!(found(lenient).0, "");
        assert!(found(lenient).1.starts_with("4 in /etc/resolv.conf"));
    }
}
