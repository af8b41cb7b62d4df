//! What has to be so on this computer and in the network before anybody is answered.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use muster_bootserver::{Interface, Mode, look_for_servers, udp_port_is_free};
use muster_netboot::Mac;

use super::ServeArgs;
use crate::environment::{Environment, shown};
use crate::error::CommandError;
use crate::output::print;

/// iPXE for a BIOS: it drives the network card by the firmware's own means.
pub(super) const BIOS: &str = "undionly.kpxe";
/// The same for UEFI, the better one first: it is the counterpart of the one for a BIOS.
const UEFI: [&str; 2] = ["snponly.efi", "ipxe.efi"];

/// What is needed of this computer.
pub(super) struct Programs {
    pub(super) dnsmasq: PathBuf,
    pub(super) ipxe: PathBuf,
    pub(super) uefi: &'static str,
}

impl Programs {
    /// Finds dnsmasq, and iPXE's programs.
    ///
    /// # Errors
    /// One of them is missing.
    pub(super) fn find(args: &ServeArgs, environment: &Environment) -> Result<Self, CommandError> {
        let folders = std::env::split_paths(environment.get("PATH").unwrap_or_default());
        let dnsmasq =
            folders.map(|folder| folder.join("dnsmasq")).find(|path| path.is_file()).ok_or_else(|| {
                CommandError::failed("there is no dnsmasq, which answers DHCP and TFTP")
                    .hint("apt-get install dnsmasq-base (the program alone, without a service)")
            })?;
        let missing = |name: &str| {
            CommandError::failed(format!(
                "{} is not there: iPXE, which machines boot first",
                shown(&args.ipxe.join(name))
            ))
            .hint("apt-get install ipxe, or name the folder that has it: --ipxe DIR")
        };
        if !args.ipxe.join(BIOS).is_file() {
            return Err(missing(BIOS));
        }
        let uefi = UEFI.into_iter().find(|name| args.ipxe.join(name).is_file());
        let uefi = uefi.ok_or_else(|| missing(UEFI[0]))?;
        let ipxe = args.ipxe.canonicalize().unwrap_or_else(|_| args.ipxe.clone());
        Ok(Self { dnsmasq, ipxe, uefi })
    }
}

/// That this network is the classroom's own, or that the user has said so.
pub(super) fn refuse_default_route(interface: &Interface, args: &ServeArgs) -> Result<(), CommandError> {
    if !interface.has_default_route || args.allow_default_route {
        return Ok(());
    }
    let name = &interface.name;
    let harm = match args.dhcp {
        Some(_) => "a DHCP server there could cut others off",
        None => "machines of others that boot from the network there would be answered, too",
    };
    Err(CommandError::failed(format!(
        "the default route goes out of {name}, so others probably use that network as well, and {harm}"
    ))
    .hint("name the interface of the classroom; or, if you may serve on this one: --allow-default-route"))
}

/// That this is root.
pub(super) fn root(args: &ServeArgs) -> Result<(), CommandError> {
    // Whose process this is, is whose folder it has.
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        return Ok(());
    }
    Err(CommandError::failed("only root may have the ports of DHCP and TFTP")
        .hint(format!("the same with sudo: sudo muster netboot serve --interface {} ...", args.interface)))
}

/// How addresses are given.
pub(super) fn mode(range: Option<(Ipv4Addr, Ipv4Addr)>, network: Ipv4Net) -> Result<Mode, CommandError> {
    let Some((first, last)) = range else { return Ok(Mode::Proxy) };
    let wrong = |why: String| {
        Err(CommandError::usage(format!("--dhcp {first}-{last}: {why}")).hint(format!(
            "the network is {}, and this computer is {} there",
            network.trunc(),
            network.addr()
        )))
    };
    for end in [first, last] {
        if !network.contains(&end) || end == network.network() || end == network.broadcast() {
            return wrong(format!("{end} is no address for a machine of this network"));
        }
    }
    if (first..=last).contains(&network.addr()) {
        return wrong(format!("{} is this computer's own address", network.addr()));
    }
    Ok(Mode::Server { first, last })
}

/// That the port of the web server cannot be had.
pub(super) fn port_is_taken(at: SocketAddrV4, error: &io::Error) -> CommandError {
    CommandError::failed(format!("cannot serve at http://{at}: {error}")).hint(format!(
        "see who has the port: ss -ltnp 'sport = :{0}'; or take another one: netboot_url=http://{1}:PORT, and render again",
        at.port(),
        at.ip()
    ))
}

/// That dnsmasq will get its ports: those of DHCP at every address of the interface, because who asks has none yet.
pub(super) fn check_ports(interface: &Interface, own: Ipv4Addr, mode: Mode) -> Result<(), CommandError> {
    let everywhere = Ipv4Addr::UNSPECIFIED;
    let of_proxy = (everywhere, 4011, "PXE");
    let ports = [(everywhere, 67, "DHCP"), (own, 69, "TFTP")];
    for (address, port, what) in ports.into_iter().chain((mode == Mode::Proxy).then_some(of_proxy)) {
        udp_port_is_free(&interface.name, SocketAddrV4::new(address, port)).map_err(|error| {
            let name = &interface.name;
            CommandError::failed(format!("the port {port} of {what} cannot be had on {name}: {error}")).hint(format!(
                "see who has it: ss -lunp 'sport = :{port}'; a server of this computer has to leave {name} out"
            ))
        })?;
    }
    Ok(())
}

/// Looks who else answers machines there. A second server that gives addresses, or that says what to boot, would be obeyed by some
/// machines and not by others.
///
/// `machine` is the card of one of the machines, as which is asked, too.
pub(super) fn check_others(
    interface: &Interface,
    machine: Option<Mac>,
    mode: Mode,
    environment: &Environment,
) -> Result<(), CommandError> {
    let name = &interface.name;
    print::note(&format!("looking for other DHCP servers on {name}"));
    let offers = match look_for_servers(interface, machine) {
        Ok(offers) => offers,
        Err(error) if mode == Mode::Proxy => {
            print::warning(&format!("cannot look for other DHCP servers on {name}: {error}"), environment);
            return Ok(());
        }
        Err(error) => {
            let told = CommandError::failed(format!("cannot look for other DHCP servers on {name}: {error}"));
            return Err(match error.kind() {
                io::ErrorKind::AddrInUse => told.hint(
                    "a DHCP client of this computer has the port there, so that network seems to have a server: leave --dhcp out, or \
                     give the interface a fixed address",
                ),
                _ => told,
            });
        }
    };
    if let Some((other, boot)) = offers.iter().find_map(|offer| Some((offer.server, offer.boot.as_ref()?))) {
        return Err(CommandError::failed(format!(
            "{other} says already what machines boot that ask on {name} ({}), and they would obey either of two",
            crate::output::text::harmless(boot)
        ))
        .hint("end that there: a DHCP server's file name (option 67), or another proxy"));
    }
    let server = offers.iter().find_map(|offer| Some((offer.server, offer.address?)));
    match (mode, server) {
        (Mode::Server { .. }, Some((other, address))) => Err(CommandError::failed(format!(
            "{other} is a DHCP server on {name} already, and has offered {address}: two servers give the same address to two machines"
        ))
        .hint("leave --dhcp out: then only what to boot is said, beside that server")),
        (Mode::Proxy, None) => {
            print::warning(
                &format!(
                    "no DHCP server has answered on {name}, and machines get their addresses from one: start it, or be it: \
                     --dhcp FIRST-LAST"
                ),
                environment,
            );
            Ok(())
        }
        _ => Ok(()),
    }
}
