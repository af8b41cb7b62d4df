//! What several roles need to know: paths, the cluster's variables.

use muster_engine::prelude::*;
use muster_inventory::{HostVars, closest};
use serde::Deserialize;

use crate::cluster;

/// The cluster as all its machines see it. Explained in `defaults.yml`.
#[derive(Debug, Clone, Deserialize)]
pub struct ClusterVars {
    /// The version of Kubernetes, without a leading `v` where [`cluster_vars`] gives it.
    pub kube_version: String,
    /// The name of the cluster.
    pub cluster_name: String,
    /// The domain of the names of services.
    pub dns_domain: String,
    /// The network of the addresses of services, in CIDR notation.
    pub kube_service_addresses: String,
    /// The network of the addresses of pods, in CIDR notation.
    pub kube_pods_subnet: String,
    /// The prefix length of each node's part of the network of pods.
    pub kube_network_node_prefix: u8,
    /// Whether pods and services have addresses of IPv6, too.
    pub ipv6_stack: bool,
    /// The network of the addresses of IPv6 of services, in CIDR notation.
    pub kube_service_addresses_ipv6: String,
    /// The network of the addresses of IPv6 of pods, in CIDR notation.
    pub kube_pods_subnet_ipv6: String,
    /// The prefix length of each node's part of that.
    pub kube_network_node_prefix_ipv6: u8,
    /// The TCP port of the API server.
    pub kube_apiserver_port: u16,
    /// The folder of Kubernetes' configuration on the machine.
    pub kube_config_dir: String,
    /// The folder of the control plane's certificates on the machine.
    pub kube_cert_dir: String,
    /// The machine's name as a node of the cluster.
    pub kube_override_hostname: String,
    /// Further names and addresses for the API server's certificate.
    pub supplementary_addresses_in_ssl_keys: Vec<String>,
    /// The address of the DNS service.
    pub skydns_server: String,
    /// Whether machines hand binaries and images on to each other.
    pub fan_out: bool,
    /// The TCP port at which machines serve them.
    pub fan_out_port: u16,
}

impl ClusterVars {
    /// The networks of pods: that of IPv4 first, because machines and what they probe speak that.
    pub fn pods(&self) -> Vec<&str> {
        self.of_both(&self.kube_pods_subnet, &self.kube_pods_subnet_ipv6)
    }

    /// The networks of services, in the same order.
    pub fn services(&self) -> Vec<&str> {
        self.of_both(&self.kube_service_addresses, &self.kube_service_addresses_ipv6)
    }

    fn of_both<'v>(&self, ipv4: &'v str, ipv6: &'v str) -> Vec<&'v str> {
        std::iter::once(ipv4).chain(self.ipv6_stack.then_some(ipv6)).collect()
    }
}

/// The cluster's variables of a host, the version without a leading `v`: that of the cluster, where it stands and nobody asked
/// for another one.
pub fn cluster_vars(host: &Host) -> Result<ClusterVars> {
    let mut vars: ClusterVars = host.vars()?;
    let kept = cluster::version_to_keep(host);
    vars.kube_version = kept.unwrap_or_else(|| vars.kube_version.trim_start_matches('v').to_owned());
    Ok(vars)
}

/// The minor version of Kubernetes: 36 of `1.36.3`.
pub fn kube_minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
}

#[derive(Deserialize)]
pub(crate) struct ProgramVars {
    bin_dir: String,
}

/// Where programs go on this machine: `bin_dir`, or /opt/bin where that cannot be written.
pub fn bin_dir(host: &Host) -> Result<String> {
    let vars: ProgramVars = host.vars()?;
    let readonly = |dir: &String| host.facts().readonly.contains(dir);
    Ok(if readonly(&vars.bin_dir) || readonly(&"/usr".to_owned()) { "/opt/bin".into() } else { vars.bin_dir })
}

/// A length of time as Go's `time.ParseDuration` reads it, and so kubeadm and kubectl: `360s`, `1h30m`, `0.5s`.
pub(crate) fn duration(mut text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let unit_on = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number: f64 = text[..text.len() - unit_on.len()].parse().ok()?;
        let units =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (rest, length) =
            units.iter().find_map(|(unit, length)| Some((unit_on.strip_prefix(unit)?, length)))?;
        seconds += number * length;
        text = rest;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// Whether a host is in a group, by its variables. What cannot be worked out is told elsewhere, and counts as no.
pub(crate) fn in_group(vars: &HostVars, group: &str) -> bool {
    vars.get("group_names").ok().flatten().is_some_and(|groups| {
        let mut names = groups.as_list().into_iter().flatten();
        names.any(|name| name.as_str() == Some(group))
    })
}

/// RFC 1123, in small letters as Kubernetes wants it.
pub(crate) fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// The one of some names that was probably meant: it is spelt otherwise, cut short, or mistyped.
pub(crate) fn nearest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let wanted = plain(text);
    let same = known.iter().find(|name| plain(name) == wanted);
    let mut longer = known.iter().filter(|name| !wanted.is_empty() && plain(name).contains(&wanted));
    let only = longer.next().filter(|_| longer.next().is_none());
    same.or(only).copied().or_else(|| closest(text, known.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_read_as_go_reads_it() {
        let seconds = |text: &str| duration(text).map(|length| length.as_secs_f64());
        assert_eq!(["360s", "1h30m", "87600h0m0s"].map(seconds), [360.0, 5400.0, 315_360_000.0].map(Some));
        assert_eq!(["0s", "1m0.5s", "20ms"].map(seconds), [0.0, 60.5, 0.02].map(Some));
        assert_eq!(["", "x", "6d", "m", "90", "1e999h"].map(seconds), [None; 6]);
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
