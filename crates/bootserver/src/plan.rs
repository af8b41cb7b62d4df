//! What dnsmasq is told (dnsmasq(8); RFC 4578 for the architectures of firmware).

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use muster_netboot::Mac;

/// What is answered, where, and to whom.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The name of the network interface.
    pub interface: &'a str,
    /// This computer's address there, with the network.
    pub network: Ipv4Net,
    /// Beside another server or instead of one.
    pub mode: Mode,
    /// The folder of iPXE's programs.
    pub ipxe: &'a Path,
    /// The program for a BIOS in it.
    pub bios: &'a str,
    /// The program for UEFI in it, x86-64.
    pub uefi: &'a str,
    /// The script that iPXE goes on with.
    pub script: &'a str,
    /// The file in which dnsmasq keeps who has which address.
    pub leases: &'a Path,
    /// The machines of the inventory with addresses of their own, for a server.
    pub fixed: &'a [Fixed],
    /// For a proxy: the cards of all machines, where all are known. Nobody else is told what to boot then, because who gives the
    /// addresses may have others in the network.
    pub cards: &'a [Mac],
}

/// How addresses are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Another server gives them; what to boot is said beside it.
    Proxy,
    /// They are given here: these to machines that have none in the inventory.
    Server {
        /// The first one.
        first: Ipv4Addr,
        /// The last one.
        last: Ipv4Addr,
    },
}

/// A machine that always gets the same address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Its name in the inventory.
    pub name: String,
    /// Its network cards.
    pub cards: Vec<Mac>,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Plan<'_> {
    /// The configuration as dnsmasq reads it. It is no server of DNS, and reads no file of this computer.
    pub fn configuration(&self) -> String {
        let Self { interface, network, ipxe, bios, uefi, script, leases, .. } = self;
        let mut lines = vec![
            format!("interface={interface}"),
            "except-interface=lo".to_owned(),
            "bind-interfaces".to_owned(),
            "port=0".to_owned(),
            "no-hosts".to_owned(),
            "no-resolv".to_owned(),
            "log-facility=-".to_owned(),
            "log-dhcp".to_owned(),
            format!("dhcp-leasefile={}", quoted(leases)),
            format!("enable-tftp={interface}"),
            format!("tftp-root={}", quoted(ipxe)),
            // iPXE alone sends this option.
            "dhcp-match=set:ipxe,175".to_owned(),
            format!("dhcp-boot=tag:ipxe,{script}"),
        ];
        match self.mode {
            Mode::Proxy => {
                lines.push(format!("dhcp-range={},proxy,{}", network.network(), network.netmask()));
                if !self.cards.is_empty() {
                    lines.extend(self.cards.iter().map(|card| format!("dhcp-host={card},set:muster")));
                    lines.push("dhcp-ignore=tag:!muster".to_owned());
                }
                for (kind, program) in [("x86PC", bios), ("x86-64_EFI", uefi), ("BC_EFI", uefi)] {
                    lines.push(format!("pxe-service=tag:!ipxe,{kind},\"iPXE\",{program}"));
                }
            }
            Mode::Server { first, last } => {
                lines.push("dhcp-authoritative".to_owned());
                lines.push(format!("dhcp-range={first},{last},{},1h", network.netmask()));
                for Fixed { name, cards, address } in self.fixed {
                    let cards = cards.iter().map(|card| format!("{card},")).collect::<String>();
                    // What DNS would call a domain is nothing for DHCP.
                    let name = if name.contains(['.', '_']) { String::new() } else { format!(",{name}") };
                    lines.push(format!("dhcp-host={cards}{address}{name}"));
                }
                for (tag, architecture) in [("bios", 0), ("uefi", 7), ("uefi", 9)] {
                    lines.push(format!("dhcp-match=set:{tag},option:client-arch,{architecture}"));
                }
                for (tag, program) in [("bios", bios), ("uefi", uefi)] {
                    lines.push(format!("dhcp-boot=tag:!ipxe,tag:{tag},{program}"));
                }
            }
        }
        lines.join("\n") + "\n"
    }
}

/// A path in which a comma and a number sign mean nothing.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mode: Mode, fixed: &[Fixed], cards: &[Mac]) -> String {
        let plan = Plan {
            interface: "eth1",
            network: "192.0.2.1/25".parse().unwrap(),
            mode,
            ipxe: Path::new("/usr/lib/ipxe"),
            bios: "undionly.kpxe",
            uefi: "snponly.efi",
            script: "http://192.0.2.1:8080/boot.ipxe",
            leases: Path::new("/srv/a, b/www.leases"),
            fixed,
            cards,
        };
        plan.configuration()
    }

    const BEGIN: &str = "interface=eth1\nexcept-interface=lo\nbind-interfaces\nport=0\nno-hosts\nno-resolv\nlog-facility=-\n\
                         log-dhcp\ndhcp-leasefile=\"/srv/a, b/www.leases\"\nenable-tftp=eth1\ntftp-root=\"/usr/lib/ipxe\"\n\
                         dhcp-match=set:ipxe,175\ndhcp-boot=tag:ipxe,http://192.0.2.1:8080/boot.ipxe\n";

    #[test]
    fn beside_another_server_only_what_to_boot_is_said() {
        let fixed = [Fixed { name: "s4".into(), cards: Vec::new(), address: Ipv4Addr::new(192, 0, 2, 4) }];
        let range = "dhcp-range=192.0.2.0,proxy,255.255.255.128\n";
        let end = "pxe-service=tag:!ipxe,x86PC,\"iPXE\",undionly.kpxe\n\
                   pxe-service=tag:!ipxe,x86-64_EFI,\"iPXE\",snponly.efi\npxe-service=tag:!ipxe,BC_EFI,\"iPXE\",snponly.efi\n";
        assert_eq!(plan(Mode::Proxy, &fixed, &[]), format!("{BEGIN}{range}{end}"));
        let only = "dhcp-host=52:54:00:12:34:56,set:muster\ndhcp-ignore=tag:!muster\n";
        let card = "52:54:00:12:34:56".parse().unwrap();
        assert_eq!(plan(Mode::Proxy, &fixed, &[card]), format!("{BEGIN}{range}{only}{end}"));
    }

    #[test]
    fn as_a_server_each_machine_has_its_address_and_name() {
        let address = |last| Ipv4Addr::new(192, 0, 2, last);
        let card = |text: &str| text.parse::<Mac>().unwrap();
        let fixed = [
            Fixed {
                name: "s4".into(),
                cards: vec![card("52:54:00:12:34:56"), card("52:54:00:12:34:57")],
                address: address(4),
            },
            Fixed { name: "s5.example".into(), cards: vec![card("52:54:00:12:34:58")], address: address(5) },
        ];
        let end = "dhcp-authoritative\ndhcp-range=192.0.2.100,192.0.2.120,255.255.255.128,1h\n\
                   dhcp-host=52:54:00:12:34:56,52:54:00:12:34:57,192.0.2.4,s4\ndhcp-host=52:54:00:12:34:58,192.0.2.5\n\
                   dhcp-match=set:bios,option:client-arch,0\ndhcp-match=set:uefi,option:client-arch,7\n\
                   dhcp-match=set:uefi,option:client-arch,9\ndhcp-boot=tag:!ipxe,tag:bios,undionly.kpxe\n\
                   dhcp-boot=tag:!ipxe,tag:uefi,snponly.efi\n";
        let mode = Mode::Server { first: address(100), last: address(120) };
        assert_eq!(plan(mode, &fixed, &[]), format!("{BEGIN}{end}"));
    }
}
