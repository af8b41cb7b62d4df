//! What a lab is to be: its machines and their addresses. Pure data, checked before anything is made.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The first machine of a lab for which nobody has chosen addresses.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 146, 225, 4);
/// How many machines such a lab has.
const DEFAULT_COUNT: usize = 3;
/// Machines of a subnet begin here when only the subnet is chosen: after the router, with room for a virtual address.
const FIRST_HOST: u32 = 4;

/// A release of Debian that machines can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Release {
    /// Debian 12, bookworm.
    #[default]
    #[serde(rename = "12")]
    Debian12,
    /// Debian 13, trixie.
    #[serde(rename = "13")]
    Debian13,
}

impl Release {
    /// Debian's name for it, as in the archive's folders.
    #[must_use]
    pub fn codename(self) -> &'static str {
        match self {
            Self::Debian12 => "bookworm",
            Self::Debian13 => "trixie",
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Debian12 => 12,
            Self::Debian13 => 13,
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Debian {}", self.number())
    }
}

impl FromStr for Release {
    type Err = String;

    /// Takes the number or the code name.
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Debian12, Self::Debian13]
            .into_iter()
            .find(|release| text == release.codename() || text == release.number().to_string())
            .ok_or_else(|| {
                format!("no machine image for Debian {text:?}; there are 12 (bookworm) and 13 (trixie)")
            })
    }
}

/// What machines are, and so who makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MakerKind {
    /// Containers of Docker: there in seconds, with the kernel of this computer.
    #[default]
    #[serde(rename = "container")]
    Container,
    /// Virtual machines of QEMU, each with a kernel and a disk of its own.
    #[serde(rename = "vm")]
    VirtualMachine,
}

impl MakerKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Container, Self::VirtualMachine];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::VirtualMachine => "vm",
        }
    }

    /// The memory in MiB below which no machine starts. Docker refuses less than 6, and systemd with sshd needs about
    /// 40; a kernel of its own with its initial RAM disk needs some 200.
    fn least_memory_mib(self) -> u64 {
        match self {
            Self::Container => 64,
            Self::VirtualMachine => 256,
        }
    }
}

impl FromStr for MakerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(" and ");
            format!("nobody makes machines of the kind {text:?}; there are {words}")
        })
    }
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Its host name: `node1`.
    pub name: String,
    /// Its address, kept through reboots.
    pub address: Ipv4Addr,
    /// The memory it has and sees, in MiB; without it, what its maker gives: a container shares the host's.
    pub memory_mib: Option<u64>,
}

/// The machines of a lab and their network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    /// The machines, first to last.
    pub machines: Vec<MachineSpec>,
    /// The network. Its first address is the router, where the controller lives.
    pub subnet: Ipv4Net,
    /// What the machines are.
    #[serde(default)]
    pub maker: MakerKind,
    /// What the machines run.
    pub release: Release,
    /// What their `/etc/resolv.conf` names; the router if empty. No name server answers in a lab.
    pub nameservers: Vec<Ipv4Addr>,
    /// Whether machines and router have addresses of IPv6, too; only containers can.
    #[serde(default)]
    pub ipv6: bool,
}

impl Default for LabSpec {
    /// Three machines node1, node2, node3 at 10.146.225.4 to 6, with Debian 12.
    fn default() -> Self {
        let first = u32::from(FIRST_ADDRESS);
        Self::with_addresses((first..).take(DEFAULT_COUNT).map(Ipv4Addr::from).collect())
    }
}

impl LabSpec {
    /// Machines node1, node2, ... at these addresses, in the /24 network of the first.
    #[must_use]
    pub fn with_addresses(addresses: Vec<Ipv4Addr>) -> Self {
        let first = addresses.first().copied().unwrap_or(FIRST_ADDRESS);
        let machines = (1..)
            .zip(addresses)
            .map(|(number, address)| MachineSpec { name: format!("node{number}"), address, memory_mib: None })
            .collect();
        Self {
            machines,
            subnet: slash_24(first),
            maker: MakerKind::default(),
            release: Release::default(),
            nameservers: Vec::new(),
            ipv6: false,
        }
    }

    /// So many machines at the fourth and following addresses of a network, by default 10.146.225.0/24.
    ///
    /// # Errors
    /// [`Error::BadSpec`] when the network has not so many addresses.
    pub fn with_count(count: usize, subnet: Option<Ipv4Net>) -> Result<Self, Error> {
        let subnet = subnet.unwrap_or_else(|| slash_24(FIRST_ADDRESS)).trunc();
        let first = u32::from(subnet.network()).saturating_add(FIRST_HOST);
        let addresses: Vec<_> =
            (first..u32::from(subnet.broadcast())).take(count).map(Ipv4Addr::from).collect();
        if addresses.len() < count {
            return Err(bad(format!(
                "{subnet} has room for {} of {count} machines, from its fourth address on",
                addresses.len()
            )));
        }
        Ok(Self { subnet, ..Self::with_addresses(addresses) })
    }

    /// The controller's address, and the machines' default route, which leads nowhere: the network's first address.
    #[must_use]
    pub fn router(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.network()).saturating_add(1))
    }

    /// The address of IPv6 beside one of the subnet, where there is one: of 10.146.225.4 in 10.146.225.0/24 it is
    /// fd00:10:146:225::4, in a network of 64 bits.
    #[must_use]
    pub fn beside(&self, address: Ipv4Addr) -> Option<Ipv6Net> {
        let [a, b, c, _] = self.subnet.network().octets();
        let network: Ipv6Addr = format!("fd00:{a}:{b}:{c}::").parse().ok().filter(|_| self.ipv6)?;
        let number = u32::from(address).wrapping_sub(u32::from(self.subnet.network()));
        Ipv6Net::new(Ipv6Addr::from(u128::from(network) | u128::from(number)), 64).ok()
    }

    /// The machine with this name or address.
    #[must_use]
    pub fn machine(&self, name_or_address: &str) -> Option<&MachineSpec> {
        self.machines
            .iter()
            .find(|machine| machine.name == name_or_address || machine.address.to_string() == name_or_address)
    }

    /// The content of the machines' `nameserver` lines.
    #[must_use]
    pub fn effective_nameservers(&self) -> Vec<Ipv4Addr> {
        if self.nameservers.is_empty() { vec![self.router()] } else { self.nameservers.clone() }
    }

    /// Checks that the machines can exist.
    ///
    /// # Errors
    /// [`Error::BadSpec`] naming the first problem.
    pub fn validate(&self) -> Result<(), Error> {
        if self.machines.is_empty() {
            return Err(bad("there is none".to_owned()));
        }
        if !self.subnet.addr().is_private() {
            return Err(bad(format!(
                "{} is not a private network; use one of 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16",
                self.subnet
            )));
        }
        if self.ipv6 && self.maker != MakerKind::Container {
            return Err(bad("only containers have addresses of IPv6".to_owned()));
        }
        let mut seen = BTreeSet::new();
        for machine in &self.machines {
            let MachineSpec { name, address, memory_mib } = machine;
            if !is_label(name, 40) {
                return Err(bad(format!("{name:?} is not a host name")));
            }
            if !self.subnet.contains(address) {
                return Err(bad(format!("{name}'s address {address} is not in {}", self.subnet)));
            }
            if *address == self.subnet.network() || *address == self.subnet.broadcast() {
                return Err(bad(format!(
                    "{name} cannot have {address}, which means the whole of {}",
                    self.subnet
                )));
            }
            if *address == self.router() {
                return Err(bad(format!(
                    "{name} cannot have {address}, which is the router of {}",
                    self.subnet
                )));
            }
            if !seen.insert(name.clone()) || !seen.insert(address.to_string()) {
                return Err(bad(format!("{name} ({address}) is there twice")));
            }
            let least = self.maker.least_memory_mib();
            if memory_mib.is_some_and(|memory| memory < least) {
                return Err(bad(format!("{name} needs at least {least} MiB of memory")));
            }
        }
        Ok(())
    }
}

/// `3 machines with Debian 12: node1 10.146.225.4, node2 10.146.225.5 (512 MiB), ...`
impl fmt::Display for LabSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.machines.len() == 1 { "" } else { "s" };
        let kind = match self.maker {
            MakerKind::Container => "machine",
            MakerKind::VirtualMachine => "virtual machine",
        };
        write!(formatter, "{} {kind}{plural} with {}:", self.machines.len(), self.release)?;
        for (index, machine) in self.machines.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma} {} {}", machine.name, machine.address)?;
            if let Some(memory) = machine.memory_mib {
                write!(formatter, " ({memory} MiB)")?;
            }
        }
        if !self.nameservers.is_empty() {
            let servers: Vec<_> = self.nameservers.iter().map(ToString::to_string).collect();
            write!(formatter, "; nameservers {}", servers.join(" "))?;
        }
        if let Some(router) = self.beside(self.router()) {
            write!(formatter, "; IPv6 in {}", router.trunc())?;
        }
        Ok(())
    }
}

fn bad(reason: String) -> Error {
    Error::BadSpec { reason }
}

fn slash_24(address: Ipv4Addr) -> Ipv4Net {
    let [a, b, c, _] = address.octets();
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), 24)
}

/// Whether a text is a DNS label (RFC 1123) of small letters that begins with a letter.
pub(crate) fn is_label(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(spec: &LabSpec) -> String {
        spec.validate().expect_err("must be refused").to_string()
    }

    #[test]
    fn the_default_lab() {
        let spec = LabSpec::default();
        spec.validate().unwrap();
        assert_eq!(
            spec.to_string(),
            "3 machines with Debian 12: node1 10.146.225.4, node2 10.146.225.5, node3 10.146.225.6"
        );
        assert_eq!(spec.router(), Ipv4Addr::new(10, 146, 225, 1));
        assert_eq!(spec.effective_nameservers(), [spec.router()]);
        assert_eq!(LabSpec::with_count(3, None).unwrap(), spec);
    }

    #[test]
    fn each_machine_has_an_address_of_ipv6_beside_its_own_where_that_is_wanted() {
        let mut spec = LabSpec::default();
        let of = |spec: &LabSpec, address: &str| {
            spec.beside(address.parse().unwrap()).map(|net| net.to_string()).unwrap_or_default()
        };
        assert_eq!(of(&spec, "10.146.225.4"), "");
        spec.ipv6 = true;
        assert_eq!(of(&spec, "10.146.225.4"), "fd00:10:146:225::4/64");
        assert_eq!(of(&spec, "10.146.225.20"), "fd00:10:146:225::14/64");
        assert!(spec.to_string().ends_with("node3 10.146.225.6; IPv6 in fd00:10:146:225::/64"), "{spec}");
        spec.subnet = "10.144.0.0/14".parse().unwrap();
        assert_eq!(of(&spec, "10.146.225.4"), "fd00:10:144::2:e104/64");
        spec.maker = MakerKind::VirtualMachine;
        assert!(reason(&spec).contains("only containers"));
    }

    #[test]
    fn machines_are_found_by_name_and_address() {
        let spec = LabSpec::default();
        assert_eq!(spec.machine("node2"), spec.machine("10.146.225.5"));
        assert!(spec.machine("node4").is_none());
    }

    #[test]
    fn a_count_that_does_not_fit_is_refused() {
        let subnet: Ipv4Net = "192.168.7.32/29".parse().unwrap();
        assert_eq!(
            LabSpec::with_count(3, Some(subnet)).unwrap().machines[2].address.to_string(),
            "192.168.7.38"
        );
        let error = LabSpec::with_count(4, Some(subnet)).unwrap_err().to_string();
        assert!(error.contains("192.168.7.32/29 has room for 3 of 4 machines"), "{error}");
    }

    #[test]
    fn impossible_machines_are_refused() {
        let with = |addresses: &[&str]| {
            LabSpec::with_addresses(addresses.iter().map(|address| address.parse().unwrap()).collect())
        };
        assert!(reason(&with(&[])).contains("there is none"));
        assert!(
            reason(&with(&["10.1.1.4", "10.1.2.4"]))
                .contains("node2's address 10.1.2.4 is not in 10.1.1.0/24")
        );
        assert!(reason(&with(&["10.1.1.4", "10.1.1.4"])).contains("twice"));
        assert!(reason(&with(&["10.1.1.1"])).contains("router"));
        assert!(reason(&with(&["10.1.1.255"])).contains("the whole of"));
        assert!(reason(&with(&["8.8.8.8"])).contains("not a private network"));
        let mut small = LabSpec::default();
        small.machines[1].memory_mib = Some(8);
        assert!(reason(&small).contains("node2 needs at least 64 MiB"));
        small.machines[1].memory_mib = Some(128);
        small.validate().unwrap();
        small.maker = MakerKind::VirtualMachine;
        assert!(reason(&small).contains("node2 needs at least 256 MiB"));
        let mut odd = LabSpec::default();
        odd.machines[0].name = "Node_1".to_owned();
        assert!(reason(&odd).contains("not a host name"));
    }

    #[test]
    fn releases_are_named_by_number_and_code_name() {
        assert_eq!("13".parse(), Ok(Release::Debian13));
        assert_eq!("bookworm".parse(), Ok(Release::Debian12));
        assert!("11".parse::<Release>().unwrap_err().contains("no machine image for Debian \"11\""));
    }

    #[test]
    fn makers_are_named_by_their_words() {
        for kind in MakerKind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        assert!("pod".parse::<MakerKind>().unwrap_err().contains("there are container and vm"));
    }

    #[test]
    fn the_record_of_a_lab_reads_back() {
        let mut spec = LabSpec::default();
        spec.machines[2].memory_mib = Some(512);
        spec.nameservers = vec![Ipv4Addr::new(10, 146, 225, 200)];
        let text = serde_json::to_string(&spec).unwrap();
        assert!(text.contains(r#""release":"12""#), "{text}");
        assert_eq!(serde_json::from_str::<LabSpec>(&text).unwrap(), spec);
        // A record of before there were virtual machines.
        let old = text.replace(r#""maker":"container","#, "");
        assert_ne!(old, text);
        assert_eq!(serde_json::from_str::<LabSpec>(&old).unwrap(), spec);
    }
}
