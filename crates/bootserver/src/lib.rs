//! What machines that boot from the network speak with: a folder over HTTP, and dnsmasq for DHCP and TFTP, which is configured and
//! listened to here. Everything is bound to one network interface.
//!
//! [`Interface`] says what that interface is, [`look_for_servers`] whether somebody else answers there already, [`Plan`] is what
//! dnsmasq is told, [`Dnsmasq`] runs it for as long as this process is there, [`Folder`] is what is served, [`Boots`] makes of all
//! that is heard how far each machine is, and [`wake`] switches machines on. Nothing here prints or reads the environment.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

mod boots;
mod dnsmasq;
mod dnsmasq_log;
mod folder;
mod interface;
mod look;
mod neighbours;
mod plan;
mod sockets;
mod wake;

pub use boots::{Boots, Known, News, Outcome, Seen, Stage, Step, seen};
pub use dnsmasq::Dnsmasq;
pub use dnsmasq_log::{DnsmasqLog, Heard};
pub use folder::Folder;
pub use interface::{Interface, InterfaceError};
pub use look::{Offer, look_for_servers};
pub use neighbours::card_of;
pub use plan::{Fixed, Mode, Plan};
pub use sockets::{listen, udp_port_is_free};
pub use wake::wake;
