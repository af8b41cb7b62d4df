//! The wire and the router of a lab, made with iproute2.
//!
//! The wire is a host device that swallows every frame (`dummy`, else `ifb`); machines hang on it as macvlan
//! devices, which hand frames to one another and to nobody else. It has no address, so the host has no route into the
//! lab and the lab has none out: no packet filter is needed to keep them apart, and none of the host's rules meets the
//! machines' traffic (a bridge would show it to the host's iptables, where the engine drops packets of pods).
//!
//! The router is a network namespace with the lab's first address and no other. The controller lives in it. For
//! every other network it answers "host unreachable", so that what has no way out fails at once.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::process::{self, command};

const LIMIT: Duration = Duration::from_secs(30);
/// The device of the router in its namespace.
const ROUTER_DEVICE: &str = "eth0";
/// Kinds of devices that accept frames and deliver them nowhere. Kernels have at least one of them.
const SWALLOWING: [&str; 2] = ["dummy", "ifb"];

/// The network of one lab.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    link: String,
    namespace: String,
}

impl Network {
    pub(crate) fn new(lab: &str) -> Self {
        // Names of links end at 15 characters (IFNAMSIZ), which is less than a lab's name may have.
        let digest = Sha256::digest(lab.as_bytes());
        let link = format!("muster{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
        Self { link, namespace: format!("muster-lab-{lab}") }
    }

    /// The host's device that machines hang on.
    pub(crate) fn link(&self) -> &str {
        &self.link
    }

    /// The file that stands for the router's namespace.
    pub(crate) fn namespace_file(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.namespace)
    }

    /// Whether the router is there. A stale file, left by a host that lost its power, is not.
    pub(crate) fn is_up(&self) -> bool {
        let device = |path: &std::path::Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
        let namespace = device(&self.namespace_file());
        namespace.is_some() && namespace == device("/proc/self/ns/net".as_ref())
    }

    fn link_exists(&self) -> bool {
        ip(&["link", "show", "dev", &self.link]).is_ok()
    }

    /// Makes the wire, or switches it on.
    pub(crate) fn ensure_link(&self) -> Result<(), Error> {
        // Without an address of its own, not even IPv6's link-local one, the host says nothing on this wire.
        let switch_on = || ip(&["link", "set", &self.link, "addrgenmode", "none", "up"]);
        if self.link_exists() {
            return switch_on();
        }
        let mut refusal = String::new();
        for kind in SWALLOWING {
            let what = format!("ip link add {} type {kind}", self.link);
            let add = command("ip", ["link", "add", &self.link, "type", kind]);
            let finished = process::finish(&what, add, LIMIT, |_| {})?;
            if finished.status.success() {
                return switch_on();
            }
            refusal = finished.tail();
        }
        Err(Error::NoLinkKind { kinds: SWALLOWING.join(", "), detail: refusal })
    }

    /// Makes the router, or what is missing of it. The wire must be there.
    pub(crate) fn ensure_router(&self, subnet: Ipv4Net, router: Ipv4Addr) -> Result<(), Error> {
        let name = self.namespace.as_str();
        if !self.is_up() {
            if self.namespace_file().exists() {
                ip(&["netns", "delete", name])?;
            }
            ip(&["netns", "add", name])?;
        }
        let device = ROUTER_DEVICE;
        if ip(&["-netns", name, "link", "show", device]).is_err() {
            ip(&[
                "link", "add", "link", &self.link, "name", device, "netns", name, "type", "macvlan", "mode",
                "bridge",
            ])?;
        }
        let address = format!("{router}/{}", subnet.prefix_len());
        ip(&["-netns", name, "address", "replace", &address, "dev", device])?;
        ip(&["-netns", name, "link", "set", "lo", "up"])?;
        ip(&["-netns", name, "link", "set", device, "up"])?;
        // A router that does not forward drops silently, and each attempt of a machine to reach the internet would
        // hang until its own limit. One that forwards, and has no route, says so; each time, not once a second.
        ip(&["-netns", name, "route", "replace", "unreachable", "default"])?;
        let settings = "cd /proc/sys/net/ipv4 && echo 0 >icmp_ratelimit && echo 1 >ip_forward";
        ip(&["netns", "exec", name, "sh", "-c", settings])
    }

    /// Removes router and wire, whichever there is; says whether there was one.
    pub(crate) fn remove(&self) -> Result<bool, Error> {
        let mut found = false;
        if self.namespace_file().exists() {
            ip(&["netns", "delete", &self.namespace])?;
            found = true;
        }
        if self.link_exists() {
            ip(&["link", "delete", &self.link])?;
            found = true;
        }
        Ok(found)
    }
}

fn ip(arguments: &[&str]) -> Result<(), Error> {
    process::output(&format!("ip {}", arguments.join(" ")), command("ip", arguments), LIMIT).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ() {
        let long = Network::new("a-name-of-thirty-characters-ab");
        let other = Network::new("a-name-of-thirty-characters-ac");
        assert!(long.link().len() <= 15, "{}", long.link());
        assert_ne!(long.link(), other.link());
        assert!(!long.is_up());
    }
}
