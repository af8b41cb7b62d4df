//! What dnsmasq says of whom it has answered, in the words of its version 2.90 with `log-dhcp`.

use std::net::Ipv4Addr;
use std::path::Path;

use muster_netboot::Mac;

/// Something that dnsmasq has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Firmware, or iPXE, has asked how to boot and got an answer.
    Asked {
        /// Who asked.
        card: Mac,
        /// Which address it has, where that is known.
        address: Option<Ipv4Addr>,
        /// Whether iPXE asked.
        is_ipxe: bool,
    },
    /// Firmware, or iPXE, has asked how to boot and got no answer, because it is not one of the machines.
    Ignored {
        /// Who asked.
        card: Mac,
    },
    /// A machine has an address, whatever runs on it.
    Address {
        /// Whose it is.
        card: Mac,
        /// The address.
        address: Ipv4Addr,
    },
    /// A file was fetched by TFTP.
    Sent {
        /// Its name.
        file: String,
        /// By whom.
        address: Ipv4Addr,
    },
    /// A file was asked for by TFTP, or was being sent, and did not arrive.
    NotSent {
        /// Its name.
        file: String,
        /// Who asked.
        address: Ipv4Addr,
        /// Whether there is such a file: then the sending was cut off.
        is_there: bool,
    },
    /// Something is wrong.
    Trouble(String),
}

impl Heard {
    /// Who fetched something, by the address alone.
    pub fn peer(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Sent { address, .. } | Self::NotSent { address, .. } => Some(*address),
            _ => None,
        }
    }
}

/// Reads what dnsmasq writes, line by line.
#[derive(Debug, Default)]
pub struct DnsmasqLog {
    /// The number of the request that is being told of.
    request: String,
    /// Whether that request is of somebody who boots, and whether of iPXE.
    boots: bool,
    is_ipxe: bool,
}

impl DnsmasqLog {
    /// Reads the next line. Most lines say nothing that matters.
    pub fn read(&mut self, line: &str) -> Option<Heard> {
        let (part, text) = line.split_once(": ")?;
        // Behind its name stands the number of the process.
        match part.split('[').next()?.rsplit(' ').next()? {
            "dnsmasq-dhcp" => self.dhcp(text).or_else(|| trouble(text)),
            "dnsmasq-tftp" => tftp(text),
            "dnsmasq" => trouble(text),
            _ => None,
        }
    }

    fn dhcp(&mut self, text: &str) -> Option<Heard> {
        let (number, text) = text.split_once(' ')?;
        if !number.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        if self.request != number {
            *self = Self { request: number.to_owned(), ..Self::default() };
        }
        match text.split_once(": ") {
            Some(("vendor class", class)) => {
                self.boots = class.starts_with("PXEClient");
                return None;
            }
            Some(("user class", class)) => {
                self.is_ipxe = class.contains("iPXE");
                return None;
            }
            Some(("tags", tags)) => {
                self.is_ipxe |= tags.split(", ").any(|tag| tag.trim() == "ipxe");
                return None;
            }
            _ => {}
        }
        let mut words = text.split_whitespace();
        let kind = words.next()?.split('(').next()?;
        let words: Vec<&str> = words.collect();
        let card = words.iter().find_map(|word| word.contains(':').then(|| word.parse::<Mac>().ok())?)?;
        let address = words.first().and_then(|word| word.parse::<Ipv4Addr>().ok());
        match kind {
            "PXE" if words.last() == Some(&"proxy-ignored") => Some(Heard::Ignored { card }),
            "PXE" | "DHCPOFFER" | "DHCPACK" if self.boots => {
                Some(Heard::Asked { card, address, is_ipxe: self.is_ipxe })
            }
            "DHCPACK" => Some(Heard::Address { card, address: address? }),
            _ => None,
        }
    }
}

fn tftp(text: &str) -> Option<Heard> {
    let not_sent = |rest: &str, between: &str, is_there| {
        let (file, address) = rest.rsplit_once(between)?;
        Some(Heard::NotSent { file: name(file), address: address.trim().parse().ok()?, is_there })
    };
    if let Some(rest) = text.strip_prefix("sent ") {
        let (file, address) = rest.rsplit_once(" to ")?;
        return Some(Heard::Sent { file: name(file), address: address.trim().parse().ok()? });
    }
    if let Some(rest) = text.strip_prefix("failed sending ") {
        return not_sent(rest, " to ", true);
    }
    text.strip_prefix("file ").and_then(|rest| not_sent(rest, " not found for ", false))
}

fn name(path: &str) -> String {
    Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What keeps dnsmasq from working, or somebody from getting an address.
fn trouble(text: &str) -> Option<Heard> {
    let words = [
        "no address",
        "failed",
        "cannot",
        "illegal",
        "bad ",
        "unknown",
        "duplicate",
        "directory",
        "address in use",
    ];
    let lower = text.to_lowercase();
    words.iter().any(|word| lower.contains(word)).then(|| Heard::Trouble(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As dnsmasq 2.90 wrote it.
    const SERVER: &str = "\
dnsmasq[5931]: started, version 2.90 DNS disabled
dnsmasq-dhcp[5931]: DHCP, IP range 192.0.2.100 -- 192.0.2.199, lease time 1h
dnsmasq-dhcp[5931]: 4192999229 available DHCP range: 192.0.2.100 -- 192.0.2.199
dnsmasq-dhcp[5931]: 4192999229 vendor class: PXEClient:Arch:00000:UNDI:002001
dnsmasq-dhcp[5931]: 4192999229 DHCPDISCOVER(s0) 52:54:00:12:34:56
dnsmasq-dhcp[5931]: 4192999229 tags: bios, s0
dnsmasq-dhcp[5931]: 4192999229 DHCPOFFER(s0) 192.0.2.158 52:54:00:12:34:56
dnsmasq-dhcp[5931]: 4192999229 sent size: 14 option: 67 bootfile-name  undionly.kpxe
dnsmasq-tftp[5931]: sent /usr/lib/ipxe/undionly.kpxe to 192.0.2.158
dnsmasq-tftp[5931]: file /usr/lib/ipxe/nope not found for 192.0.2.158
dnsmasq-tftp[5931]: failed sending /usr/lib/ipxe/undionly.kpxe to 192.0.2.158
dnsmasq-dhcp[5931]: 7 DHCPACK(s0) 192.0.2.158 52:54:00:12:34:56 s4
dnsmasq-dhcp[5931]: 8 DHCPDISCOVER(s0) 52:54:00:12:34:57 no address available
";

    /// The same as a proxy.
    const PROXY: &str = "\
dnsmasq-dhcp[23335]: 1094861668 vendor class: PXEClient:Arch:00000:UNDI:002001
dnsmasq-dhcp[23335]: 1094861668 user class: iPXE
dnsmasq-dhcp[23335]: 1094861668 PXE(br0) 52:54:00:12:34:56 proxy
dnsmasq-dhcp[23335]: 1094861668 tags: ipxe, br0
dnsmasq-dhcp[23335]: 1094861575 vendor class: PXEClient:Arch:00007:UNDI:002001
dnsmasq-dhcp[23335]: 1094861575 PXE(br0) 192.0.2.111 52:54:00:12:34:56 snponly.efi
dnsmasq-dhcp[23335]: 1094861568 PXE(br0) 52:54:00:12:34:56 proxy-ignored
dnsmasq[1]: failed to create listening socket for port 69: Address already in use
dnsmasq: unknown user or group: dnsmasq
";

    #[test]
    fn whom_it_has_answered_is_heard_and_what_is_wrong() {
        let heard = |text: &str| {
            let mut log = DnsmasqLog::default();
            text.lines().filter_map(|line| log.read(line)).collect::<Vec<_>>()
        };
        let card: Mac = "52:54:00:12:34:56".parse().unwrap();
        let address = Ipv4Addr::new(192, 0, 2, 158);
        let file = "undionly.kpxe".to_owned();
        assert_eq!(
            heard(SERVER),
            [
                Heard::Asked { card, address: Some(address), is_ipxe: false },
                Heard::Sent { file: file.clone(), address },
                Heard::NotSent { file: "nope".into(), address, is_there: false },
                Heard::NotSent { file, address, is_there: true },
                Heard::Address { card, address },
                Heard::Trouble("8 DHCPDISCOVER(s0) 52:54:00:12:34:57 no address available".into()),
            ]
        );
        let other = Ipv4Addr::new(192, 0, 2, 111);
        assert_eq!(
            heard(PROXY),
            [
                Heard::Asked { card, address: None, is_ipxe: true },
                Heard::Asked { card, address: Some(other), is_ipxe: false },
                Heard::Ignored { card },
                Heard::Trouble(
                    "failed to create listening socket for port 69: Address already in use".into()
                ),
                Heard::Trouble("unknown user or group: dnsmasq".into()),
            ]
        );
    }
}
