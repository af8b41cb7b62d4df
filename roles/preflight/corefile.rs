//! What variables put into the configuration of CoreDNS, before any machine is asked. CoreDNS has no way to look at it alone; what it
//! does not take is seen when its new pods do not become ready. Here is found what would end in another place than meant.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Value};

use super::findings::problem;
use super::settings::{Setting, place, text_of};
use crate::coredns;

/// Texts that are lines of a Corefile, and lists of such.
const TEXTS: [&str; 6] = [
    "coredns_additional_configs",
    "coredns_additional_error_config",
    "coredns_rewrite_block",
    "coredns_default_zone_cache_block",
    "coredns_kubernetes_extra_domains",
    "nodelocaldns_additional_configs",
];
/// The zones that other servers know, of CoreDNS and of the caches on the nodes.
const EXTERNAL: &str = "coredns_external_zones";
const OF_CACHES: &str = "nodelocaldns_external_zones";

const SERVER_NEEDED: &str = "addresses of servers, with a port or without, as 192.0.2.53 or 192.0.2.53:5353: no name is found before a server is";
const ZONE_NEEDED: &str = "zones, with a port or without, as corp.example or corp.example:5353";

/// What is wrong with them.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let blocks =
        TEXTS.into_iter().filter_map(|name| {
            let setting = Setting::of(vars, name).filter(|setting| !is_whole(&setting.text))?;
            Some(setting.wrong(
                "as many { as }, each behind a blank or at the end of a line",
                format!("correct {name}"),
            ))
        });
    let mut problems: Vec<Problem> = blocks.collect();
    problems.extend([EXTERNAL, OF_CACHES].into_iter().flat_map(|name| zones(vars, name)));
    problems.extend(servers(vars, "upstream_dns_servers", &list(vars, "upstream_dns_servers")));
    problems.extend(domains(vars));
    problems.extend(hosts(vars));
    problems.extend(cache_address(vars));
    problems
}

fn wrong(vars: &HostVars, name: &'static str, found: &str, needed: impl Into<String>) -> Problem {
    problem(name, format!("{found}{}", place(vars, name)), needed, format!("correct {name}"))
}

fn text(vars: &HostVars, name: &'static str) -> String {
    Setting::of(vars, name).map(|setting| setting.text).unwrap_or_default()
}

fn list(vars: &HostVars, name: &str) -> Vec<String> {
    let value = vars.get(name).ok().flatten();
    value.as_ref().and_then(Value::as_list).unwrap_or_default().iter().map(text_of).collect()
}

/// The zones of a variable: what they are called, and whom one asks for them.
fn zones(vars: &HostVars, name: &'static str) -> Vec<Problem> {
    let value = vars.get(name).ok().flatten();
    let entries = value.as_ref().and_then(Value::as_list).unwrap_or_default();
    if let Some(entry) = entries.iter().find(|entry| !is_zone(entry)) {
        return vec![problem(
            name,
            format!("{}{}", entry.to_json(), place(vars, name)),
            "zones and nameservers, each a list of texts without blanks; cache, seconds, or 0 to keep nothing; and rewrite, a list of texts",
            "write it as {zones: [corp.example], nameservers: [192.0.2.53]}",
        )];
    }
    let words = |entry: &Value, key: &str| -> Vec<String> {
        let words = entry.as_map().and_then(|map| map.get(key)).and_then(Value::as_list);
        words.unwrap_or_default().iter().map(text_of).collect()
    };
    let domain = text(vars, "dns_domain");
    let mut there = vec![Zone::plain(".")];
    if name == OF_CACHES {
        let own = [domain.as_str(), "in-addr.arpa", "ip6.arpa"].map(Zone::plain);
        there.extend(own.into_iter().chain(list(vars, "old_dns_domains").iter().map(|old| Zone::plain(old))));
    }
    let mut problems = Vec::new();
    for entry in entries {
        for told in words(entry, "zones") {
            let Some(zone) = Zone::of(&told) else {
                problems.push(wrong(vars, name, &told, ZONE_NEEDED));
                continue;
            };
            if zone.takes_services(&domain, name == EXTERNAL) {
                let needed =
                    format!("zones apart from dns_domain {domain}, whose names nobody would find any more");
                problems.push(wrong(vars, name, &told, needed));
            } else if there.contains(&zone) {
                let needed = "each zone once, and none that the Corefile has already: with one twice CoreDNS does not start";
                problems.push(wrong(vars, name, &told, needed));
            }
            there.push(zone);
        }
        problems.extend(servers(vars, name, &words(entry, "nameservers")));
    }
    problems
}

/// A zone as a server block has it (CoreDNS' `plugin/normalize.go`).
#[derive(Debug, PartialEq)]
struct Zone {
    protocol: String,
    /// In small letters, without a dot at its end.
    name: String,
    port: Option<u16>,
}

impl Zone {
    /// One of the names that everybody asks for.
    fn plain(name: &str) -> Self {
        let name = if name == "." { name } else { name.trim_end_matches('.') };
        Self { protocol: "dns".to_owned(), name: name.to_ascii_lowercase(), port: None }
    }

    /// `None` where it is none.
    fn of(text: &str) -> Option<Self> {
        let (protocol, rest) = text.split_once("://").unwrap_or(("dns", text));
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
        let (name, port) = match rest.rsplit_once(':').filter(|(_, port)| is_port(port)) {
            Some((name, port)) => (name, Some(port.parse::<u16>().ok().filter(|port| *port > 0)?)),
            None => (rest, None),
        };
        let is_good = name == "." || name.parse::<IpNet>().is_ok() || is_domain(name);
        // 53 is the one that is meant where none is said.
        let port = port.filter(|port| protocol != "dns" || *port != 53);
        is_good.then(|| Self { protocol: protocol.to_owned(), port, ..Self::plain(name) })
    }

    /// Whether the names of services would be asked of somebody else: the cluster's own block is for all of `domain` in the caches'
    /// Corefile, and for all that is in no other block in that of CoreDNS.
    fn takes_services(&self, domain: &str, also_above: bool) -> bool {
        let services = format!("svc.{domain}");
        let is_above = also_above && services.ends_with(&format!(".{}", self.name));
        self.port.is_none()
            && self.protocol == "dns"
            && (self.name == services || self.name == domain || is_above)
    }
}

/// A name of CoreDNS' configuration, which takes more than the names of machines.
fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.split('.').all(is_label)
}

/// The address of a server as CoreDNS' plugin `forward` reads it (its `plugin/pkg/parse/host.go`): nothing for a file.
///
/// # Errors
/// It is neither.
fn address(text: &str) -> Result<Option<IpAddr>, ()> {
    if text.starts_with('/') {
        return Ok(None);
    }
    let plain = ["dns://", "tls://", "https://"].iter().find_map(|protocol| text.strip_prefix(protocol));
    let plain = plain.unwrap_or(text);
    // Behind % stands an interface, or the name in the server's certificate.
    let plain = match plain.split_once('%') {
        Some((before, behind)) => {
            format!("{before}{}", &behind[behind.find([']', ':']).unwrap_or(behind.len())..])
        }
        None => plain.to_owned(),
    };
    if let Ok(ip) = plain.trim_matches(['[', ']']).parse() {
        return Ok(Some(ip));
    }
    let socket: Option<SocketAddr> = plain.parse().ok();
    socket.filter(|socket| socket.port() > 0).map(|socket| Some(socket.ip())).ok_or(())
}

/// Servers that are none, and those that would ask themselves.
fn servers(vars: &HostVars, name: &'static str, told: &[String]) -> Vec<Problem> {
    let mode = text(vars, "dns_mode");
    let is_true = |name| vars.get(name).ok().flatten().and_then(|value| value.as_bool()) == Some(true);
    let has = |name, ip: IpAddr| text(vars, name).parse::<IpAddr>() == Ok(ip);
    let by_coredns = coredns::is_installed(&mode) && name != OF_CACHES;
    let by_caches = is_true("enable_nodelocaldns") && name != EXTERNAL;
    let is_itself = |ip: IpAddr| {
        ip.is_unspecified()
            || by_caches && has("nodelocaldns_ip", ip)
            || by_coredns && (ip.is_loopback() || has("skydns_server", ip))
            || by_coredns && mode == "coredns_dual" && has("skydns_server_secondary", ip)
    };
    let tell = |server: &String| match address(server) {
        Err(()) => Some(wrong(vars, name, server, SERVER_NEEDED)),
        Ok(Some(ip)) if is_itself(ip) => Some(wrong(
            vars,
            name,
            server,
            "other servers than the cluster's own, which would ask themselves",
        )),
        Ok(_) => None,
    };
    told.iter().filter_map(tell).collect()
}

/// Names of domains in other variables.
fn domains(vars: &HostVars) -> Vec<Problem> {
    let own = text(vars, "dns_domain");
    let mut problems = Vec::new();
    for old in list(vars, "old_dns_domains").iter().filter(|old| !is_domain(old) || **old == own) {
        problems.push(wrong(vars, "old_dns_domains", old, "former values of dns_domain, as old.local"));
    }
    for name in ["coredns_k8s_external_zone", "coredns_kubernetes_extra_domains"] {
        let text = text(vars, name);
        let mut words = text.split_whitespace();
        if let Some(word) = words.find(|word| !is_domain(word) && word.parse::<IpNet>().is_err()) {
            problems.push(wrong(vars, name, word, "names of zones, as k8s.example.org"));
        }
    }
    problems
}

/// Lines that CoreDNS' plugin `hosts` passes over in silence.
fn hosts(vars: &HostVars) -> Vec<Problem> {
    let name = "dns_etchosts";
    let is_good = |line: &&str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next().map(|address| address.split('%').next().unwrap_or_default());
        address.is_none_or(|address| address.parse::<IpAddr>().is_ok() && words.next().is_some())
    };
    let needed = "lines of an address and names, as 192.0.2.77 mirror.example.org";
    let all = text(vars, name);
    all.lines().filter(|line| !is_good(line)).map(|line| wrong(vars, name, line.trim(), needed)).collect()
}

/// The address of the caches, which is one of each node's own.
fn cache_address(vars: &HostVars) -> Option<Problem> {
    let setting = Setting::by_user(vars, "nodelocaldns_ip")?;
    let is_good = |ip: std::net::Ipv4Addr| !ip.is_loopback() && !ip.is_unspecified();
    (!setting.text.parse().is_ok_and(is_good)).then(|| {
        setting.wrong(
            "an IPv4 address that nobody else has, as 169.254.25.10",
            "remove nodelocaldns_ip, or correct it",
        )
    })
}

/// Whether the words `{` and `}` of a text end what they begin (CoreDNS' manual: Corefile). Others are parts of words.
fn is_whole(text: &str) -> bool {
    let mut depth = 0;
    for line in text.lines() {
        for word in line.split_whitespace().take_while(|word| !word.starts_with('#')) {
            match word {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth < 0 {
                return false;
            }
        }
    }
    depth == 0
}

fn is_zone(entry: &Value) -> bool {
    let Some(map) = entry.as_map() else { return false };
    let word = |value: &Value| {
        value.as_str().is_some_and(|text| !text.is_empty() && !text.contains(char::is_whitespace))
    };
    let words = |name: &str| {
        map.get(name).and_then(Value::as_list).is_some_and(|list| !list.is_empty() && list.iter().all(word))
    };
    let line = |value: &Value| value.as_str().is_some_and(|text| !text.contains('\n') && is_whole(text));
    let known = map.iter().all(|(name, value)| match name.as_str() {
        "zones" | "nameservers" => true,
        "cache" => super::settings::integer(value).is_some_and(|seconds| seconds >= 0),
        "rewrite" => value.as_list().is_some_and(|list| list.iter().all(line)),
        _ => false,
    });
    known && words("zones") && words("nameservers")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{told, variables};
    use super::*;

    #[test]
    fn blocks_end_and_zones_have_servers() {
        let rows = [
            ("coredns_additional_configs: \"hosts {\\n  fallthrough\\n}\"", ""),
            ("coredns_rewrite_block: \"rewrite stop {\\n  name regex (.*)\\\\.a {1}.b\\n}\"", ""),
            (
                "coredns_default_zone_cache_block: 'cache 30 {'",
                "coredns_default_zone_cache_block: cache 30 { (vars.yml:1:35)",
            ),
            (
                "coredns_additional_configs: \"}\\nexample.org {\"",
                "coredns_additional_configs: }\nexample.org { (vars.yml:1:29)",
            ),
            (
                "coredns_external_zones: [{zones: [a.example], nameservers: [192.0.2.1], cache: '9', rewrite: [name a b]}]",
                "",
            ),
            (
                "coredns_external_zones: [{zones: [a.example]}]",
                "coredns_external_zones: {\"zones\":[\"a.example\"]} (vars.yml:1:25)",
            ),
            (
                "nodelocaldns_external_zones: [{zones: 'a', nameservers: [192.0.2.1]}]",
                "nodelocaldns_external_zones: {\"zones\":\"a\",\"nameservers\":[\"192.0.2.1\"]} (vars.yml:1:30)",
            ),
        ];
        for (yaml, expected) in rows {
            assert_eq!(check(&variables(yaml)).iter().map(told).collect::<Vec<_>>().join("; "), expected);
        }
    }

    #[test]
    fn servers_have_addresses_and_zones_are_nobody_elses() {
        let of = |name: &str, zones: &str, servers: &str| {
            format!("{name}: [{{zones: [{zones}], nameservers: [{servers}]}}]")
        };
        let caches = |zones: &str, servers: &str| of(OF_CACHES, zones, servers);
        let external = |zones: &str, servers: &str| of(EXTERNAL, zones, servers);
        let told_of_caches = |what: &str| format!("nodelocaldns_external_zones: {what} (vars.yml:3:30)");
        let told_of_external = |what: &str| format!("coredns_external_zones: {what} (vars.yml:3:25)");
        let one = "192.0.2.53";
        let rows = [
            (caches("school.example", "192.0.2.300"), told_of_caches("192.0.2.300")),
            (caches("school.example", "ns.school.example"), told_of_caches("ns.school.example")),
            (caches("school.example", "'192.0.2.53:99999'"), told_of_caches("192.0.2.53:99999")),
            (caches("school.example", "169.254.25.10"), told_of_caches("169.254.25.10")),
            // CoreDNS may know the zone.
            (caches("school.example", "10.233.0.3"), String::new()),
            (caches("school..example", one), told_of_caches("school..example")),
            (caches("'school.example:99999'", one), told_of_caches("school.example:99999")),
            (caches("cluster.local", one), told_of_caches("cluster.local")),
            (caches("svc.cluster.local", one), told_of_caches("svc.cluster.local")),
            (caches("local", one), String::new()),
            (caches("in-addr.arpa", one), told_of_caches("in-addr.arpa")),
            (caches("school.example, School.example.", one), told_of_caches("School.example.")),
            (caches("school.example, 'school.example:53'", one), told_of_caches("school.example:53")),
            (caches("school.example, 'school.example:1053'", one), String::new()),
            (caches("'https://school.example:4453', 10.9.0.0/16, '2001:db8::/32'", one), String::new()),
            (external("school.example", "10.146.231.333"), told_of_external("10.146.231.333")),
            (external("school.example", "10.233.0.3"), told_of_external("10.233.0.3")),
            (external("school.example", "127.0.0.53"), told_of_external("127.0.0.53")),
            (external("school.example", "169.254.25.10"), String::new()),
            (external("local", one), told_of_external("local")),
            (external(".", one), told_of_external(".")),
            (
                external(
                    "a.example",
                    "'tls://192.0.2.53%dns.example', '[2001:db8::1]:53', 2001:db8::1, /etc/resolv.conf",
                ),
                String::new(),
            ),
            (
                "upstream_dns_servers: [192.0.2.300]".into(),
                "upstream_dns_servers: 192.0.2.300 (vars.yml:3:23)".into(),
            ),
            (
                "upstream_dns_servers: ['192.0.2.1:53', 10.233.0.3]".into(),
                "upstream_dns_servers: 10.233.0.3 (vars.yml:3:23)".into(),
            ),
            ("upstream_dns_servers: [127.0.0.1]\ndns_mode: none".into(), String::new()),
            (
                "old_dns_domains: [old.local, cluster.local]".into(),
                "old_dns_domains: cluster.local (vars.yml:3:18)".into(),
            ),
            (
                "coredns_k8s_external_zone: k8s..example".into(),
                "coredns_k8s_external_zone: k8s..example (vars.yml:3:28)".into(),
            ),
            (
                "dns_etchosts: \"192.0.2.1 a b  # c\\n\\n192.0.2.333 d\"".into(),
                "dns_etchosts: 192.0.2.333 d (vars.yml:3:15)".into(),
            ),
            ("nodelocaldns_ip: cache".into(), "nodelocaldns_ip: cache (vars.yml:3:18)".into()),
        ];
        for (yaml, expected) in rows {
            let vars = variables(&format!("enable_nodelocaldns: true\nskydns_server: 10.233.0.3\n{yaml}"));
            let found = check(&vars).iter().map(told).collect::<Vec<_>>().join("; ");
            assert_eq!(found, expected, "{yaml}");
        }
    }
}
