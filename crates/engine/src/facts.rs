//! What a machine is: read in one exchange, typed.

mod ansible;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::script::{Script, sh0};

/// The facts of one machine.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
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
    /// What runs the machine as a container (`docker`, `podman`, ...), as systemd tells it; empty on real and virtual ones.
    pub container: String,
    /// Processors that are switched on.
    pub cpus: u32,
    /// Memory in MiB, or the container's limit where that is lower.
    pub memory_mb: u64,
    /// Swap in MiB.
    pub swap_mb: u64,
    /// The files and devices that are swapped to now, as in /proc/swaps.
    pub swaps: Vec<String>,
    /// Swap entries of /etc/fstab.
    pub swap_entries: Vec<String>,
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
    /// The cgroup controllers that are switched on: `cpu`, `memory`, `pids`, ...
    pub controllers: Vec<String>,
    /// Whether systemd runs the machine (sd_booted(3)).
    pub systemd: bool,
    /// `apt-get`, `dnf`, ...; empty on immutable systems.
    pub package_manager: String,
    /// Which of the commands that matter are there.
    pub tools: Vec<String>,
    /// Folders that can neither be written nor made.
    pub readonly: Vec<String>,
    /// Kernel features that are there: overlay, br_netfilter, vxlan, ...
    pub features: Vec<String>,
    /// Kernel features that lie ready as modules, loaded or not.
    pub modules: Vec<String>,
    /// Whether the kernel takes no more modules (`kernel.modules_disabled`).
    pub modules_disabled: bool,
    /// The effective capabilities of root, as in /proc/PID/status.
    pub capabilities: u64,
    /// `Enforcing`, `Permissive`, or empty without SELinux.
    pub selinux: String,
    /// By how many seconds the machine's clock is ahead of the controller's, give or take the round trip.
    pub clock_ahead: i64,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
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

/// capabilities(7): CAP_SYS_MODULE, without which no module can be loaded.
const CAP_SYS_MODULE: u64 = 1 << 16;

impl Facts {
    /// The program that reads them, for /bin/sh.
    pub const PROGRAM: &'static str = include_str!("facts.sh");

    /// The same as a snippet.
    pub(crate) fn script() -> Script {
        sh0(Self::PROGRAM)
    }

    /// From what the program answered.
    pub fn parse(answer: &str) -> Self {
        let parts = Parts::split(answer);
        let (resolv, uplink) = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf");
        Self {
            hostname: parts.line("/proc/sys/kernel/hostname"),
            kernel: parts.line("/proc/sys/kernel/osrelease"),
            arch: arch(&parts.line("machine")),
            machine_id: parts.line("/etc/machine-id"),
            product_uuid: parts.line("/sys/class/dmi/id/product_uuid"),
            boot_id: parts.line("/proc/sys/kernel/random/boot_id"),
            os: parts.os_release(),
            container: parts.line("/run/systemd/container"),
            cpus: count(&parts.line("/sys/devices/system/cpu/online")),
            memory_mb: parts.memory_mb(),
            swap_mb: parts.meminfo("SwapTotal") / 1024,
            swaps: parts.first_words("/proc/swaps").skip(1).collect(),
            swap_entries: parts.swap_entries(),
            addresses: parts.lines("addresses").iter().filter_map(|line| address(line)).collect(),
            routes: parts.owned("routes"),
            macs: parts.macs(),
            resolv: parts.owned(resolv),
            uplink_resolv: parts.owned(uplink),
            cgroup: parts.cgroup(),
            controllers: parts.controllers(),
            systemd: parts.exists("/run/systemd/system"),
            package_manager: parts.line("package_manager"),
            tools: parts.owned("tools"),
            readonly: parts.owned("readonly"),
            features: parts.features(),
            modules: parts.modules("modules.dep"),
            modules_disabled: parts.line("/proc/sys/kernel/modules_disabled") == "1",
            capabilities: parts.capabilities(),
            selinux: match parts.line("/sys/fs/selinux/enforce").as_str() {
                "1" => "Enforcing".into(),
                "0" => "Permissive".into(),
                _ => String::new(),
            },
            clock_ahead: clock_ahead(&parts.line("clock")),
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

    /// The interface that has an address.
    pub fn interface_of(&self, ip: IpAddr) -> Option<&str> {
        self.addresses.iter().find(|a| a.ip == ip).map(|a| a.interface.as_str())
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

    /// Whether the kernel has a feature, or gets it when its module is loaded.
    pub fn can_have_feature(&self, feature: &str) -> bool {
        let may_load = self.capabilities & CAP_SYS_MODULE != 0 && !self.modules_disabled;
        self.has_feature(feature) || may_load && self.modules.iter().any(|m| m == feature)
    }
}

/// The answer, taken apart at its headers `==> NAME <==`.
struct Parts<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> Parts<'a> {
    fn split(answer: &'a str) -> Self {
        let mut parts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut name = "";
        for line in answer.lines() {
            if let Some(header) = line.strip_prefix("==> ").and_then(|l| l.strip_suffix(" <==")) {
                name = header;
                parts.entry(name).or_default();
            } else if !line.trim().is_empty() {
                parts.entry(name).or_default().push(line.trim());
            }
        }
        Self(parts)
    }

    fn lines(&self, name: &str) -> &[&'a str] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn owned(&self, name: &str) -> Vec<String> {
        self.lines(name).iter().map(|line| (*line).to_owned()).collect()
    }

    /// The first line of a part; empty where there is none.
    fn line(&self, name: &str) -> String {
        self.lines(name).first().copied().unwrap_or_default().to_owned()
    }

    fn first_words(&self, name: &str) -> impl Iterator<Item = String> {
        self.lines(name).iter().filter_map(|line| line.split_whitespace().next()).map(str::to_owned)
    }

    fn exists(&self, path: &str) -> bool {
        self.lines("existing").contains(&path)
    }

    fn os_release(&self) -> BTreeMap<String, String> {
        let lines = self.lines("/etc/os-release").iter().chain(self.lines("/usr/lib/os-release"));
        let pairs = lines.filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect()
    }

    /// A figure of /proc/meminfo, in KiB.
    fn meminfo(&self, name: &str) -> u64 {
        let line =
            self.lines("/proc/meminfo").iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// A container may have less than the kernel tells.
    fn memory_mb(&self) -> u64 {
        let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        let limit = limits.iter().filter_map(|file| self.line(file).parse::<u64>().ok()).min();
        (self.meminfo("MemTotal") / 1024).min(limit.map_or(u64::MAX, |bytes| bytes / (1024 * 1024)))
    }

    /// fstab(5): the third field is the type.
    fn swap_entries(&self) -> Vec<String> {
        let lines = self.lines("/etc/fstab").iter().filter(|line| !line.starts_with('#'));
        lines
            .filter(|line| line.split_whitespace().nth(2) == Some("swap"))
            .map(|line| (*line).to_owned())
            .collect()
    }

    fn macs(&self) -> BTreeMap<String, String> {
        let of =
            |name: &&str| name.strip_prefix("/sys/class/net/")?.strip_suffix("/address").map(str::to_owned);
        let all = self.0.iter().filter_map(|(name, lines)| Some((of(name)?, (*lines.first()?).to_owned())));
        all.filter(|(interface, _)| interface != "lo").collect()
    }

    fn cgroup(&self) -> u8 {
        match self.0.contains_key("/sys/fs/cgroup/cgroup.controllers") {
            true => 2,
            false if self.exists("/sys/fs/cgroup/memory") => 1,
            false => 0,
        }
    }

    /// cgroups(7): of version 1, /proc/cgroups tells what is switched on, in its fourth column.
    fn controllers(&self) -> Vec<String> {
        if self.cgroup() == 2 {
            return self
                .line("/sys/fs/cgroup/cgroup.controllers")
                .split_whitespace()
                .map(str::to_owned)
                .collect();
        }
        let lines =
            self.lines("/proc/cgroups").iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.filter(|words| words.get(3) == Some(&"1")).map(|words| words[0].to_owned()).collect()
    }

    /// The features among the modules of a list of depmod(8) (`modules.dep`), or of those built in (`modules.builtin`).
    fn modules(&self, list: &str) -> Vec<String> {
        let of = |line: &&str| {
            let (file, module) = line.split_once(':')?;
            let name = module.rsplit_once('/').map_or(module, |(_, name)| name).split('.').next()?;
            file.ends_with(list).then(|| name.to_owned())
        };
        self.lines("modules").iter().filter_map(of).collect()
    }

    fn features(&self) -> Vec<String> {
        let mut features = self.modules("modules.builtin");
        if self.lines("/proc/filesystems").iter().any(|line| line.ends_with("overlay")) {
            features.push("overlay".into());
        }
        if self.exists("/proc/sys/net/bridge/bridge-nf-call-iptables") {
            features.push("br_netfilter".into());
        }
        let loaded = self.lines("existing").iter().filter_map(|path| path.strip_prefix("/sys/module/"));
        features.extend(loaded.map(str::to_owned));
        features.sort_unstable();
        features.dedup();
        features
    }

    fn capabilities(&self) -> u64 {
        let line = self.lines("/proc/self/status").iter().find_map(|line| line.strip_prefix("CapEff:"));
        line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    }
}

fn arch(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
    .to_owned()
}

/// How many numbers a list of the kernel holds: 6 for `0-3,6,8`.
fn count(list: &str) -> u32 {
    let length = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.trim().parse::<u32>().ok()?.checked_sub(first.trim().parse().ok()?)?.saturating_add(1))
    };
    list.split(',').filter_map(length).fold(0, u32::saturating_add)
}

/// From a line of `ip -o addr`: number, interface, family, address and prefix, ... An address of IPv6 that another one takes the place of,
/// or that nobody else believes, is none (RFC 4862, sections 5.4 and 5.5; RFC 8981).
fn address(line: &str) -> Option<Address> {
    let mut words = line.split_whitespace().skip(1);
    let (interface, family, cidr) = (words.next()?, words.next()?, words.next()?);
    if family == "inet6" && words.any(|word| ["temporary", "deprecated", "dadfailed"].contains(&word)) {
        return None;
    }
    let (ip, prefix) = cidr.split_once('/').unwrap_or((cidr, "32"));
    Some(Address { interface: interface.to_owned(), ip: ip.parse().ok()?, prefix: prefix.parse().ok()? })
}

fn clock_ahead(seconds: &str) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    seconds.parse::<i64>().map_or(0, |clock| clock.saturating_sub(now))
}

#[cfg(test)]
mod tests;
