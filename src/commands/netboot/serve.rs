//! `muster netboot serve`: what a classroom boots from.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use clap::Args;
use ipnet::Ipv4Net;
use muster_artifacts::http_server::{Answer, HttpServer, Served, Site};
use muster_bootserver::{
    Boots, Dnsmasq, DnsmasqLog, Fixed, Folder, Interface, InterfaceError, Known, Mode, News, Plan, card_of,
    listen,
};
use muster_netboot::Mac;
use time::OffsetDateTime;

use super::made::beside;
use super::{below, sentence};
use crate::args::InventoryArgs;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::output::text::{self, count};
use crate::output::{Screen, print};
use crate::runtime::runtime;
use crate::signals::told_to_end;

mod classroom;
mod surroundings;

use classroom::ServedFolder;
use surroundings::Programs;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The network interface of this computer at which the machines are; nothing is answered on any other one
    #[arg(long, value_name = "NAME")]
    interface: String,
    /// The folder to serve [default: the one that was rendered]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Be the DHCP server of that network: machines get the addresses that they have in the inventory, others one of these, such as
    /// 192.0.2.100-192.0.2.199
    #[arg(long, value_name = "FIRST-LAST", value_parser = range)]
    dhcp: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The folder with iPXE's programs: undionly.kpxe, and snponly.efi or ipxe.efi
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/ipxe")]
    ipxe: PathBuf,
    /// Serve on an interface with the default route, too: such a network is usually not the classroom's alone
    #[arg(long)]
    allow_default_route: bool,
    /// Start nothing: look whether everything is in order, and print the configuration that dnsmasq would get
    #[arg(short = 'C', long)]
    check: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
}

fn range(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let both = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    both.filter(|(first, last): &(Ipv4Addr, Ipv4Addr)| first <= last)
        .ok_or_else(|| "two addresses were meant, the lower one first: 192.0.2.100-192.0.2.199".to_owned())
}

/// Something that happened.
enum Event {
    /// dnsmasq wrote a line.
    Line(String),
    /// dnsmasq has ended.
    Ended,
    /// Somebody was answered by the web server.
    Served(Served),
    /// The user wants an end.
    Stop,
}

/// Runs `muster netboot serve`.
pub(super) fn run(args: &ServeArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let classroom = ServedFolder::read(args, environment)?;
    let interface = look_at(&args.interface)?;
    surroundings::refuse_default_route(&interface, args)?;
    let (at, network, path) = classroom.place(&interface)?;
    let fixed = if args.dhcp.is_some() { classroom.fixed(network)? } else { Vec::new() };
    let mode = surroundings::mode(args.dhcp, network)?;
    let programs = Programs::find(args, environment)?;
    surroundings::root(args)?;
    let listener = listen(&interface.name, at).map_err(|error| surroundings::port_is_taken(at, &error))?;
    surroundings::check_ports(&interface, *at.ip(), mode)?;
    let machine = classroom.cards().first().copied();
    surroundings::check_others(&interface, machine, mode, environment)?;
    let script = format!("{}/boot.ipxe", classroom.url);
    let known = known(&classroom);
    let cards: Vec<Mac> = if known.some_without { Vec::new() } else { classroom.cards() };
    let leases = beside(&classroom.folder, ".leases");
    let plan = Plan {
        interface: &interface.name,
        network,
        mode,
        ipxe: &programs.ipxe,
        bios: surroundings::BIOS,
        uefi: programs.uefi,
        script: &script,
        leases: &leases,
        fixed: &fixed,
        cards: &cards,
    };
    if args.check {
        print::data(&plan.configuration())?;
        print::note("everything is in order; nothing was started");
        return Ok(Exit::Done);
    }
    let folder = Folder::new(&classroom.folder, &path).map_err(|error| {
        CommandError::failed(format!("cannot serve {}: {error}", shown(&classroom.folder)))
    })?;
    let log = beside(&classroom.folder, ".boots.jsonl");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(|error| cannot_write(&log, &error))?;

    let (tell, happens) = mpsc::channel();
    let folder = Arc::new(folder);
    answer(HttpServer::new(listener, SharedFolder(Arc::clone(&folder))), tell.clone())?;
    let runtime = runtime()?;
    let stop = tell.clone();
    runtime.spawn(async move {
        told_to_end().await.ok();
        stop.send(Event::Stop).ok();
    });
    let (dnsmasq, written) = Dnsmasq::start(&programs.dnsmasq, &plan.configuration())
        .map_err(|error| CommandError::failed(format!("cannot start dnsmasq: {error}")))?;
    std::thread::spawn(move || {
        for line in written.split(b'\n').map_while(Result::ok) {
            tell.send(Event::Line(String::from_utf8_lossy(&line).into_owned())).ok();
        }
        tell.send(Event::Ended).ok();
    });

    let screen = Screen::new(environment, true);
    let mut told = Told {
        heading: heading(&classroom, &interface.name, network, mode),
        render: classroom.render_command(),
        boots: Boots::new(known),
        folder,
        interface: interface.name.clone(),
        log: file,
        log_path: log,
        screen: screen.clone(),
    };
    let ended = told.follow(&happens);
    drop(dnsmasq);
    ended?;
    screen.line("ended: machines that boot are not answered any more");
    Ok(Exit::Done)
}

/// The interface of this name.
///
/// # Errors
/// It cannot be used.
pub(super) fn look_at(name: &str) -> Result<Interface, CommandError> {
    Interface::look(name).map_err(|error| {
        let told = CommandError::failed(error.to_string());
        match error {
            InterfaceError::Down(name) => told.hint(format!("ip link set {name} up")),
            InterfaceError::NoAddress(name) => told.hint(format!(
                "give it one that no machine of the network has: ip address add 192.0.2.1/24 dev {name}"
            )),
            InterfaceError::Program(_) | InterfaceError::Unknown { .. } => told,
        }
    })
}

/// The folder for the web server and for whoever follows what it does.
struct SharedFolder(Arc<Folder>);

impl Site for SharedFolder {
    fn answer(&self, target: &str) -> Answer {
        self.0.answer(target)
    }
}

/// Answers HTTP for as long as the process is there.
fn answer(server: HttpServer<SharedFolder>, tell: Sender<Event>) -> Result<(), CommandError> {
    let answering = move || {
        server.run(|served| {
            tell.send(Event::Served(served)).ok();
        })
    };
    let thread = std::thread::Builder::new().spawn(answering);
    thread.map(drop).map_err(|error| CommandError::failed(format!("cannot start threads: {error}")))
}

/// Whom to expect.
fn known(classroom: &ServedFolder) -> Known {
    let mut known = Known::default();
    for (host, settings) in &classroom.machines {
        known.cards.extend(settings.cards.iter().map(|(card, _)| (*card, host.clone())));
        known.some_without |= settings.cards.is_empty();
        let boot = &settings.boot;
        known.kernels.extend(below(settings, &boot.kernel).map(str::to_owned));
        let systems = [Some(&boot.initrd), boot.rootfs.as_ref()].into_iter().flatten();
        known.systems.extend(systems.filter_map(|url| below(settings, url)).map(str::to_owned));
    }
    known
}

fn heading(classroom: &ServedFolder, interface: &str, network: Ipv4Net, mode: Mode) -> String {
    let how = match mode {
        Mode::Proxy => "beside the DHCP server of that network".to_owned(),
        Mode::Server { first, last } => {
            format!("as the DHCP server of {} ({first} to {last})", network.trunc())
        }
    };
    format!(
        "serving {} for {} at {} on {interface}, {how}; Ctrl-C ends it",
        shown(&classroom.folder),
        count(classroom.machines.len(), "machine"),
        classroom.url,
    )
}

fn cannot_write(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::failed(format!("cannot write {}: {error}", shown(path)))
}

/// What is told, and where.
struct Told {
    heading: String,
    render: String,
    boots: Boots,
    folder: Arc<Folder>,
    interface: String,
    log: File,
    log_path: PathBuf,
    screen: Screen,
}

/// How many of dnsmasq's last lines are told when it ends by itself.
const LAST_LINES: usize = 5;

impl Told {
    /// Tells of everything, until the user wants an end.
    fn follow(&mut self, happens: &Receiver<Event>) -> Result<(), CommandError> {
        let mut dnsmasq = DnsmasqLog::default();
        let mut last: VecDeque<String> = VecDeque::new();
        let mut begun = false;
        // Whoever tells lives as long as this does.
        while let Ok(event) = happens.recv() {
            let now = OffsetDateTime::now_utc();
            let time = format!("{}T{:02}:{:02}:{:02}Z", now.date(), now.hour(), now.minute(), now.second());
            let news = match event {
                Event::Stop => break,
                Event::Ended => {
                    let why: Vec<String> = last.into_iter().collect();
                    return Err(CommandError::failed(format!("dnsmasq has ended:\n{}", why.join("\n")))
                        .hint("nothing is served any more; look at what dnsmasq says, and run the command again"));
                }
                Event::Line(line) => {
                    if !begun && line.contains(": started, ") {
                        begun = true;
                        self.screen.line(&self.heading);
                    }
                    let news = dnsmasq.read(&line).map(|heard| {
                        let card = heard.peer().and_then(|address| card_of(address, &self.interface));
                        self.boots.heard(heard, card, &time)
                    });
                    last.push_back(text::harmless(&line));
                    if last.len() > LAST_LINES {
                        last.pop_front();
                    }
                    // Why it does not begin is told once, when it has ended.
                    news.filter(|_| begun).unwrap_or_default()
                }
                Event::Served(served) => self.of_web_server(&served, &time),
            };
            for news in &news {
                self.tell(news, &time)?;
            }
        }
        Ok(())
    }

    fn of_web_server(&mut self, served: &Served, time: &str) -> Vec<News> {
        let Some(target) = served.asked.strip_prefix("GET ") else { return Vec::new() };
        let Some(path) = self.folder.path_of(target) else { return Vec::new() };
        let card = match served.peer {
            SocketAddr::V4(peer) => card_of(*peer.ip(), &self.interface),
            SocketAddr::V6(_) => None,
        };
        self.boots.served(served, &path, card, time)
    }

    fn tell(&mut self, news: &News, time: &str) -> Result<(), CommandError> {
        if let News::Step(step) = news {
            // One write each, so that who reads meanwhile sees whole lines.
            let line = serde_json::to_string(step)
                .map_err(|error| CommandError::failed(format!("a step cannot be written down: {error}")))?;
            self.log
                .write_all(format!("{line}\n").as_bytes())
                .map_err(|error| cannot_write(&self.log_path, &error))?;
        }
        // `09:05:07`
        let clock = time.get(11..19).unwrap_or(time);
        self.screen.line(&format!("{clock}  {}", sentence::of(news, &self.render)));
        Ok(())
    }
}

impl ServedFolder {
    /// The cards of all machines, in the order of the inventory.
    fn cards(&self) -> Vec<Mac> {
        self.machines.iter().flat_map(|(_, settings)| settings.cards.iter().map(|(card, _)| *card)).collect()
    }

    /// The machines that get addresses of their own.
    fn fixed(&self, network: Ipv4Net) -> Result<Vec<Fixed>, CommandError> {
        let mut fixed: Vec<Fixed> = Vec::new();
        let mut owners: HashMap<Ipv4Addr, &str> = HashMap::new();
        let mut without: Vec<&str> = Vec::new();
        for (host, settings) in self.machines.iter().filter(|(_, settings)| !settings.cards.is_empty()) {
            let Some(address) = self.address_of(host)?.filter(|address| network.contains(address)) else {
                without.push(host);
                continue;
            };
            if address == network.addr() {
                return Err(CommandError::written(format!(
                    "{host} has the address of this computer, {address}"
                )));
            }
            if let Some(other) = owners.insert(address, host) {
                return Err(CommandError::written(format!(
                    "{other} and {host} have the same address, {address}"
                )));
            }
            let cards = settings.cards.iter().map(|(card, _)| *card).collect();
            fixed.push(Fixed { name: host.clone(), cards, address });
        }
        if !without.is_empty() {
            print::note(&format!(
                "{} without an address in {} in the inventory: such a machine gets any address, and is reached by its name alone",
                text::some_names(&without),
                network.trunc()
            ));
        }
        Ok(fixed)
    }

    /// Where the web server listens, in which network that is, and the path of the folder there.
    fn place(&self, interface: &Interface) -> Result<(SocketAddrV4, Ipv4Net, String), CommandError> {
        let has: Vec<String> = interface.networks.iter().map(|network| network.addr().to_string()).collect();
        let remedy = |error: CommandError| {
            error.hint(format!(
                "set netboot_url=http://{}:8080 in the inventory, then: {}",
                has.first().map_or("", String::as_str),
                self.render_command()
            ))
        };
        let Some((at, path)) = address_in(&self.url) else {
            return Err(remedy(CommandError::failed(format!(
                "netboot_url is {}, and this serves at an IPv4 address over HTTP, such as http://192.0.2.1:8080",
                self.url
            ))));
        };
        let network = interface.networks.iter().find(|network| network.addr() == *at.ip());
        let Some(network) = network else {
            return Err(remedy(CommandError::failed(format!(
                "machines fetch what they boot from {} (netboot_url), and {} has the address {}",
                at.ip(),
                interface.name,
                has.join(", ")
            ))));
        };
        Ok((at, *network, path))
    }
}

/// The address and port of a URL, and its path.
fn address_in(url: &str) -> Option<(SocketAddrV4, String)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let at = host.parse().ok().or_else(|| Some(SocketAddrV4::new(host.parse().ok()?, 80)))?;
    Some((at, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_is_served_is_an_address_of_http() {
        let place = |url| address_in(url).map(|(at, path)| format!("{at} {path}"));
        assert_eq!(place("http://192.0.2.1:8080").as_deref(), Some("192.0.2.1:8080 "));
        assert_eq!(place("http://192.0.2.1/boot/x").as_deref(), Some("192.0.2.1:80 /boot/x"));
        for other in ["https://192.0.2.1", "http://desk:8080", "http://[2001:db8::1]/", "http://192.0.2.1:x"]
        {
            assert_eq!(place(other), None, "{other}");
        }
        assert!(range("192.0.2.9-192.0.2.100").is_ok());
        for wrong in ["192.0.2.9", "192.0.2.9-100", "192.0.2.9-192.0.2.8"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
