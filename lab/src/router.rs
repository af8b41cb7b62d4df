//! The place from where a lab's machines are reached, made with iproute2: a network namespace with the lab's first
//! address and no other, in which the controller lives. For every other network it answers "host unreachable", so that
//! what has no way out fails at once.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::Error;
use crate::config::name_of_lab;
use crate::program::{self, command};
use crate::spec::LabSpec;

const LIMIT: Duration = Duration::from_secs(30);

/// The router of one lab.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    lab: String,
    namespace: String,
}

impl Router {
    /// Its device, towards the machines.
    pub(crate) const DEVICE: &str = "eth0";

    pub(crate) fn new(lab: &str) -> Self {
        Self { lab: lab.to_owned(), namespace: name_of_lab(lab) }
    }

    /// The name of its namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn namespace_file(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.namespace)
    }

    /// Whether it is there. A stale file, left by a host that lost its power, is not.
    fn is_up(&self) -> bool {
        let device = |path: &std::path::Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
        let namespace = device(&self.namespace_file());
        namespace.is_some() && namespace == device("/proc/self/ns/net".as_ref())
    }

    /// A command that runs a program of this computer in its namespace.
    ///
    /// # Errors
    /// [`Error::NotUp`].
    pub(crate) fn reach(&self, program: &OsStr) -> Result<Command, Error> {
        if !self.is_up() {
            return Err(Error::NotUp { name: self.lab.clone() });
        }
        let mut namespace = OsString::from("--net=");
        namespace.push(self.namespace_file());
        let mut inside = Command::new("nsenter");
        inside.arg(namespace).arg("--").arg(program);
        Ok(inside)
    }

    /// Makes it, or what is missing of it. `device` is what ip(8) is told to make its device.
    pub(crate) fn ensure(&self, lab: &LabSpec, device: &[&str]) -> Result<(), Error> {
        let name = self.namespace.as_str();
        if !self.is_up() {
            if self.namespace_file().exists() {
                ip(&["netns", "delete", name])?;
            }
            ip(&["netns", "add", name])?;
        }
        if ip(&["-netns", name, "link", "show", Self::DEVICE]).is_err() {
            ip(device)?;
        }
        let address = format!("{}/{}", lab.router(), lab.subnet.prefix_len());
        ip(&["-netns", name, "address", "replace", &address, "dev", Self::DEVICE])?;
        ip(&["-netns", name, "link", "set", "lo", "up"])?;
        ip(&["-netns", name, "link", "set", Self::DEVICE, "up"])?;
        // A router that does not forward drops silently, and each attempt of a machine to reach the internet would
        // hang until its own limit. One that forwards, and has no route, says so; each time, not once a second.
        ip(&["-netns", name, "route", "replace", "unreachable", "default"])?;
        let settings = "cd /proc/sys/net/ipv4 && echo 0 >icmp_ratelimit && echo 1 >ip_forward";
        ip(&["netns", "exec", name, "sh", "-c", settings])?;
        let Some(address) = lab.beside(lab.router()) else { return Ok(()) };
        // The address is there at once: nobody else can have it.
        ip(&["-netns", name, "address", "replace", &address.to_string(), "dev", Self::DEVICE, "nodad"])?;
        ip(&["-netns", name, "-6", "route", "replace", "unreachable", "default"])?;
        ip(&["netns", "exec", name, "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"])
    }

    /// Removes it; says whether it was there.
    pub(crate) fn remove(&self) -> Result<bool, Error> {
        let found = self.namespace_file().exists();
        if found {
            ip(&["netns", "delete", &self.namespace])?;
        }
        Ok(found)
    }
}

/// Runs ip(8), which must succeed.
pub(crate) fn ip(arguments: &[&str]) -> Result<(), Error> {
    program::output(&format!("ip {}", arguments.join(" ")), command("ip", arguments), LIMIT).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_router_nothing_is_run() {
        let router = Router::new("never-made");
        assert!(matches!(router.reach("true".as_ref()), Err(Error::NotUp { .. })));
        assert!(!router.remove().unwrap());
    }
}
