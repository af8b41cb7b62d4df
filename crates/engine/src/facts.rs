//! What a machine is: read in one exchange, typed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::script::{Script, sh0};

/// The facts of one machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The kernel's host name.
    pub hostname: String,
    /// `uname -r`.
    pub kernel: String,
    /// `amd64`, `arm64`: as the names of artifacts spell it.
    pub arch: String,
    /// machine-id(5).
    pub machine_id: String,
    /// The mainboard's own number, where the kernel tells it.
    pub product_uuid: String,
    /// Differs after every start of the machine.
    pub boot_id: String,
    /// os-release(5): ID, VERSION_ID, PRETTY_NAME, ...
    pub os: BTreeMap<String, String>,
    /// Processors.
    pub cpus: u32,
    /// Memory in MiB, or the container's limit where that is lower.
    pub memory_mb: u64,
    /// Swap in MiB.
    pub swap_mb: u64,
    /// Addresses with their prefix length, by interface, loopback included.
    pub addresses: Vec<Address>,
    /// Lines of `ip route`.
    pub routes: Vec<String>,
    /// MAC addresses by interface.
    pub macs: BTreeMap<String, String>,
    /// Lines of /etc/resolv.conf.
    pub resolv: Vec<String>,
    /// Lines of the file in which systemd-resolved lists the servers it asks itself.
    pub uplink_resolv: Vec<String>,
    /// 1 or 2; 0 without cgroups.
    pub cgroup: u8,
    /// Whether systemd runs the machine (sd_booted(3)).
    pub systemd: bool,
    /// `apt-get`, `dnf`, ...; empty on immutable systems.
    pub package_manager: String,
    /// Which of the commands that matter are there.
    pub tools: Vec<String>,
    /// Free and total MiB by mount point.
    pub disks: BTreeMap<String, (u64, u64)>,
    /// Directories that cannot be written.
    pub readonly: Vec<String>,
    /// Kernel features found: overlay, br_netfilter, vxlan, ...
    pub features: Vec<String>,
    /// The effective capabilities of root, as in /proc/PID/status.
    pub capabilities: u64,
    /// Swap entries of /etc/fstab.
    pub swap_entries: Vec<String>,
    /// TCP ports in use, and by which program.
    pub ports: BTreeMap<u16, String>,
    /// `Enforcing`, `Permissive`, or empty without SELinux.
    pub selinux: String,
    /// By how many seconds the machine's clock is ahead of the controller's, give or take the round trip.
    pub clock_ahead: i64,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// The prefix length.
    pub prefix: u8,
}

/// capabilities(7): CAP_SYS_RESOURCE, without which no process may lower its own OOM score.
const CAP_SYS_RESOURCE: u64 = 1 << 24;

impl Facts {
    /// The program that reads them.
    pub(crate) fn script() -> Script {
        sh0(include_str!("facts.sh"))
    }

    /// From what the program answered.
    pub(crate) fn parse(answer: &str) -> Self {
        let mut facts = Self::default();
        for line in answer.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            facts.take(key, value.trim());
        }
        facts
    }

    fn take(&mut self, key: &str, value: &str) {
        let mut words = value.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        match key {
            "clock" => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
                self.clock_ahead = value.parse::<i64>().map_or(0, |clock| clock - now);
            }
            "hostname" => self.hostname = value.to_owned(),
            "kernel" => self.kernel = value.to_owned(),
            "arch" => {
                self.arch = match value {
                    "x86_64" => "amd64",
                    "aarch64" => "arm64",
                    other => other,
                }
                .to_owned();
            }
            "machine_id" => self.machine_id = value.to_owned(),
            "product_uuid" => self.product_uuid = value.to_owned(),
            "boot_id" => self.boot_id = value.to_owned(),
            "os" => {
                if let Some((name, value)) = value.split_once('=') {
                    self.os.insert(name.to_owned(), value.trim_matches(['"', '\'']).to_owned());
                }
            }
            "cpus" => self.cpus = value.parse().unwrap_or(0),
            "MemTotal" => self.memory_mb = value.parse::<u64>().unwrap_or(0) / 1024,
            "memory_limit" => {
                if let Ok(bytes) = value.parse::<u64>() {
                    self.memory_mb = self.memory_mb.min(bytes / (1024 * 1024));
                }
            }
            "SwapTotal" => self.swap_mb = value.parse::<u64>().unwrap_or(0) / 1024,
            "address" => {
                let (interface, _family, cidr) = (word().to_owned(), word(), word());
                let (ip, prefix) = cidr.split_once('/').unwrap_or((cidr, "32"));
                if let (Ok(ip), Ok(prefix)) = (ip.parse(), prefix.parse()) {
                    self.addresses.push(Address { interface, ip, prefix });
                }
            }
            "route" => self.routes.push(value.to_owned()),
            "mac" => {
                let (interface, mac) = (word().to_owned(), word().to_owned());
                self.macs.insert(interface, mac);
            }
            "resolv" => self.resolv.push(value.to_owned()),
            "uplink_resolv" => self.uplink_resolv.push(value.to_owned()),
            "cgroup" => self.cgroup = value.parse().unwrap_or(0),
            "init" => self.systemd = value == "systemd",
            "package_manager" => self.package_manager = value.to_owned(),
            "tool" => self.tools.push(value.to_owned()),
            "disk" => {
                let (mount, free, total) = (word().to_owned(), word().parse(), word().parse());
                if let (Ok(free), Ok(total)) = (free, total) {
                    let (free, total): (u64, u64) = (free, total);
                    self.disks.insert(mount, (free / 1024, total / 1024));
                }
            }
            "readonly" => self.readonly.push(value.to_owned()),
            "feature" => self.features.push(value.to_owned()),
            "capabilities" => self.capabilities = u64::from_str_radix(value, 16).unwrap_or(0),
            "swap_entry" => self.swap_entries.push(value.to_owned()),
            "port" => {
                if let Ok(port) = word().parse() {
                    self.ports.insert(port, word().to_owned());
                }
            }
            "portx" => {
                if let Ok(port) = u16::from_str_radix(value, 16) {
                    self.ports.insert(port, "?".into());
                }
            }
            "selinux" => self.selinux = value.to_owned(),
            _ => {}
        }
    }

    /// The address from which the machine reaches others: the source of its default route, else its first global one.
    pub fn default_ip(&self) -> Option<IpAddr> {
        let default = self.routes.iter().find(|r| r.starts_with("default "));
        let word_after = |route: &str, word: &str| {
            route.split_whitespace().skip_while(|w| *w != word).nth(1).map(str::to_owned)
        };
        if let Some(source) = default.and_then(|r| word_after(r, "src")).and_then(|s| s.parse().ok()) {
            return Some(source);
        }
        let interface = default.and_then(|r| word_after(r, "dev"));
        self.addresses
            .iter()
            .filter(|a| !a.ip.is_loopback() && a.ip.is_ipv4())
            .find(|a| interface.as_ref().is_none_or(|i| *i == a.interface))
            .map(|a| a.ip)
    }

    /// Whether root may lower the OOM scores of processes, which it may not in most containers.
    pub fn may_lower_oom_score(&self) -> bool {
        self.capabilities & CAP_SYS_RESOURCE != 0
    }

    /// Whether a command is there.
    pub fn has_tool(&self, tool: &str) -> bool {
        self.tools.iter().any(|t| t == tool)
    }

    /// Whether the kernel has a feature, built in or as a loaded module.
    pub fn has_feature(&self, feature: &str) -> bool {
        self.features.iter().any(|f| f == feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn facts_of_this_very_machine_are_read_with_every_shell() {
        for shell in ["dash", "bash"] {
            let out = Command::new(shell).args(["-c", include_str!("facts.sh")]).output().unwrap();
            let facts = Facts::parse(&String::from_utf8_lossy(&out.stdout));
            assert!(out.status.success(), "{shell}");
            assert!(facts.memory_mb > 100, "{shell}: {facts:?}");
            assert!(facts.cpus > 0, "{shell}");
            assert!(!facts.kernel.is_empty() && !facts.boot_id.is_empty(), "{shell}");
            assert!(facts.clock_ahead.abs() < 5, "{shell}");
            assert!(facts.os.contains_key("ID"), "{shell}");
        }
    }

    #[test]
    fn the_default_address_is_the_one_of_the_default_route() {
        let facts = Facts::parse(
            "address lo inet 127.0.0.1/8\naddress eth1 inet 192.0.2.9/24\naddress eth0 inet 198.51.100.7/24\n\
             route default via 198.51.100.1 dev eth0\n",
        );
        assert_eq!(facts.default_ip(), Some("198.51.100.7".parse().unwrap()));
        let facts = Facts::parse("address eth1 inet 192.0.2.9/24\n");
        assert_eq!(facts.default_ip(), Some("192.0.2.9".parse().unwrap()), "a machine without a default route");
    }
}
