//! The wire that connects container machines: a host device that swallows every frame (`dummy`, else `ifb`). The
//! machines and the router hang on it as macvlan devices, which hand frames to one another and to nobody else. It has
//! no address, so the host has no route into the lab and the lab has none out: no packet filter is needed to keep them
//! apart, and none of the host's rules meets the machines' traffic (a bridge would show it to the host's iptables, where
//! the engine drops packets of pods).

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::Error;
use crate::program::{self, command};
use crate::router::ip;

const LIMIT: Duration = Duration::from_secs(30);
/// Kinds of devices that accept frames and deliver them nowhere. Kernels have at least one of them.
const SWALLOWING: [&str; 2] = ["dummy", "ifb"];

/// The wire of one lab.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    link: String,
}

impl Wire {
    pub(super) fn new(lab: &str) -> Self {
        // Names of links end at 15 characters (IFNAMSIZ), which is less than a lab's name may have.
        let digest = Sha256::digest(lab.as_bytes());
        let link = format!("muster{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
        Self { link }
    }

    /// The host's device.
    pub(super) fn link(&self) -> &str {
        &self.link
    }

    fn exists(&self) -> bool {
        ip(&["link", "show", "dev", &self.link]).is_ok()
    }

    /// Makes it, or switches it on.
    pub(super) fn ensure(&self) -> Result<(), Error> {
        // Without an address of its own, not even IPv6's link-local one, the host says nothing on this wire.
        let switch_on = || ip(&["link", "set", &self.link, "addrgenmode", "none", "up"]);
        if self.exists() {
            return switch_on();
        }
        let mut refusal = String::new();
        for kind in SWALLOWING {
            let what = format!("ip link add {} type {kind}", self.link);
            let add = command("ip", ["link", "add", &self.link, "type", kind]);
            let finished = program::finish(&what, add, LIMIT, |_| {})?;
            if finished.status.success() {
                return switch_on();
            }
            refusal = finished.tail();
        }
        Err(Error::NoLinkKind { kinds: SWALLOWING.join(", "), detail: refusal })
    }

    /// Removes it; says whether it was there.
    pub(super) fn remove(&self) -> Result<bool, Error> {
        let found = self.exists();
        if found {
            ip(&["link", "delete", &self.link])?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ() {
        let long = Wire::new("a-name-of-thirty-characters-ab");
        let other = Wire::new("a-name-of-thirty-characters-ac");
        assert!(long.link().len() <= 15, "{}", long.link());
        assert_ne!(long.link(), other.link());
    }
}
