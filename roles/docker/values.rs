//! Values of dockerd's arguments that dockerd --validate takes, and with which Docker does not start.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Map, Value, json};

const BIP_NEEDED: &str = "an IPv4 address for Docker's bridge with the length of its network, as 172.30.0.1/24; not the network's own address";
const REGISTRY_NEEDED: &str = "a registry as HOST or HOST:PORT, or a network, as 192.0.2.0/24";

/// What a value is not, and has to be, where Docker looks at it only when it starts, or opens what it names: `daemon/daemon_unix.go` and
/// `registry/config.go`.
pub(super) fn unlike(key: &str, value: &str) -> Option<&'static str> {
    let (is_good, needed) = match key {
        "bip" => (bridge(value).is_some(), BIP_NEEDED),
        "fixed-cidr" => (value.parse::<Ipv4Net>().is_ok(), "an IPv4 network, as 172.30.0.0/25"),
        "fixed-cidr-v6" => (value.parse::<Ipv6Net>().is_ok(), "an IPv6 network, as 2001:db8:1::/64"),
        "dns" | "ip" => (value.parse::<IpAddr>().is_ok(), "an address"),
        "mtu" => (
            value.parse().is_ok_and(|mtu: u32| mtu == 0 || (68..=65535).contains(&mtu)),
            "68 to 65535, or 0 for Docker's own",
        ),
        "metrics-addr" => (is_place(value, true), "an address and a port, as 127.0.0.1:9323"),
        "insecure-registries" => {
            let plain = ["http://", "https://"].iter().find_map(|scheme| value.strip_prefix(scheme));
            (value.parse::<IpNet>().is_ok() || is_place(plain.unwrap_or(value), false), REGISTRY_NEEDED)
        }
        "registry-mirrors" => {
            let is_url = ["http://", "https://"].iter().any(|scheme| value.starts_with(scheme));
            (is_url, "the URL of a mirror, as https://mirror.example.org")
        }
        "data-root" | "exec-root" => (value.starts_with('/'), "a path that begins with /"),
        _ => return None,
    };
    (!is_good).then_some(needed)
}

/// The network of a bridge that has this address.
pub(super) fn bridge(text: &str) -> Option<Ipv4Net> {
    let net: Ipv4Net = text.parse().ok()?;
    let is_of_a_machine = net.prefix_len() <= 30 && ![net.network(), net.broadcast()].contains(&net.addr());
    is_of_a_machine.then(|| net.trunc())
}

/// `HOST:PORT`, or `HOST` alone where no port is needed.
fn is_place(text: &str, needs_port: bool) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return !needs_port;
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().is_ok_and(|port: u16| port > 0)),
        None => (text, !needs_port),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let is_host = match address.parse::<IpAddr>() {
        Ok(_) => true,
        // Nobody's name is a number.
        Err(_) => {
            !host.chars().all(is_number)
                && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        }
    };
    // It listens at all addresses where none is named.
    port && (is_host || needs_port && host.is_empty())
}

/// Settings with which together Docker does not start (`verifyDaemonSettings` of its `daemon/daemon_unix.go`), and what is needed.
pub(super) fn disagreement(config: &Map<String, Value>, systemd: bool) -> Option<(String, &'static str)> {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let is = |key: &str, wanted: bool| config.get(key) == Some(&json!(wanted));
    if let (Some(bridge), Some(bip)) = (text("bridge"), text("bip")) {
        return Some((
            format!("--bridge={bridge} --bip={bip}"),
            "one of the two: of a bridge of your own you say the address yourself",
        ));
    }
    let range = text("fixed-cidr").and_then(|range| range.parse::<Ipv4Net>().ok());
    if let Some((range, net)) = range.zip(text("bip").and_then(bridge))
        && !net.contains(&range)
    {
        return Some((format!("--fixed-cidr={range}"), "a part of the network of --bip"));
    }
    if is("icc", false) && is("iptables", false) {
        return Some((
            "--icc=false".to_owned(),
            "docker_iptables_enabled: true, without which containers are not kept apart",
        ));
    }
    let parent = text("cgroup-parent")
        .filter(|parent| systemd && parent.strip_suffix(".slice").is_none_or(str::is_empty));
    parent.map(|parent| {
        (
            format!("--cgroup-parent={parent}"),
            "a slice of systemd's, as docker.slice, where docker_cgroup_driver is systemd",
        )
    })
}
