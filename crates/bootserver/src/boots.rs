//! How far each machine is, from what it has asked for; and the same of a file in which that was written down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use muster_artifacts::http_server::Served;
use muster_netboot::Mac;
use serde::{Deserialize, Serialize};

use crate::dnsmasq_log::Heard;

/// For how long the same thing of the same machine is told once: firmware repeats itself, and so do scripts.
const ONCE: Duration = Duration::from_secs(60);

/// How far a boot is, in the order in which machines go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The firmware asked for an address and for what to boot.
    Dhcp,
    /// iPXE is fetched, or runs.
    Ipxe,
    /// iPXE fetched the machine's script.
    Script,
    /// iPXE fetched the kernel.
    Kernel,
    /// The file systems of the system were fetched.
    System,
    /// Ignition fetched the machine's configuration: the system starts.
    Ignition,
}

impl Stage {
    /// Its name, for people and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Ipxe => "ipxe",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::System => "system",
            Self::Ignition => "ignition",
        }
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was answered, and all of it was sent.
    Done,
    /// The connection was cut off in the middle.
    Cut,
    /// There is no such file.
    Missing,
    /// The file leads out of the folder, or cannot be read.
    Refused,
}

/// One step of a machine: a line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When: UTC, as in RFC 3339.
    pub time: String,
    /// The machine's name in the inventory, where it is known.
    pub machine: Option<String>,
    /// Its network card.
    pub mac: Option<String>,
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// How far the boot is.
    pub stage: Stage,
    /// The path of what it asked for; empty for DHCP.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How many bytes were sent, and how many there are.
    pub sent: u64,
    /// See `sent`.
    pub size: u64,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A machine went on, or could not.
    Step(Step),
    /// A machine asks that is not in the inventory. It is told once.
    Unknown {
        /// Its network card, where it is known.
        card: Option<Mac>,
        /// Its address, where it is known.
        address: Option<Ipv4Addr>,
    },
    /// Something is wrong with dnsmasq.
    Trouble(String),
}

/// The machines that are waited for, and what they boot.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The names by network card.
    pub cards: HashMap<Mac, String>,
    /// Whether there are machines without a card in the inventory, which are known by their names alone.
    pub some_without: bool,
    /// The paths of kernels in the folder.
    pub kernels: HashSet<String>,
    /// The paths of the other images.
    pub systems: HashSet<String>,
}

/// What is known of the machines by now.
#[derive(Debug)]
pub struct Boots {
    known: Known,
    /// Which card has an address, as dnsmasq said.
    addresses: HashMap<Ipv4Addr, Mac>,
    /// The last thing of each, by its card or else its address.
    last: HashMap<Who, (Stage, String, Outcome, Instant)>,
    told_unknown: HashSet<Who>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Card(Mac),
    Address(Ipv4Addr),
}

impl Boots {
    /// Nobody was heard of yet.
    pub fn new(known: Known) -> Self {
        Self { known, addresses: HashMap::new(), last: HashMap::new(), told_unknown: HashSet::new() }
    }

    /// What dnsmasq has told. `neighbour` is the card of who fetched something, as the kernel knows it.
    pub fn heard(&mut self, heard: Heard, neighbour: Option<Mac>, time: &str) -> Vec<News> {
        let (card, address) = match &heard {
            Heard::Asked { card, address, .. } => (Some(*card), *address),
            Heard::Address { card, address } => (Some(*card), Some(*address)),
            Heard::Sent { address, .. } | Heard::NotSent { address, .. } => {
                (neighbour.or_else(|| self.addresses.get(address).copied()), Some(*address))
            }
            Heard::Ignored { card } => (Some(*card), None),
            Heard::Trouble(_) => (None, None),
        };
        if let (Some(card), Some(address)) = (card, address) {
            self.addresses.insert(address, card);
        }
        let (stage, what, outcome) = match heard {
            Heard::Asked { is_ipxe, .. } => {
                (if is_ipxe { Stage::Ipxe } else { Stage::Dhcp }, String::new(), Outcome::Done)
            }
            Heard::Sent { file, .. } => (Stage::Ipxe, file, Outcome::Done),
            Heard::NotSent { file, is_there, .. } => {
                (Stage::Ipxe, file, if is_there { Outcome::Cut } else { Outcome::Missing })
            }
            Heard::Ignored { card } => return Vec::from_iter(self.unknown(Some(card), None)),
            Heard::Address { .. } => return Vec::new(),
            Heard::Trouble(text) => return vec![News::Trouble(text)],
        };
        let machine = card.and_then(|card| self.known.cards.get(&card).cloned());
        // One that is known by its name alone says it with its script.
        let unknown = card.is_some() && machine.is_none() && !self.known.some_without;
        let mut news = Vec::from_iter(if unknown { self.unknown(card, address) } else { None });
        let (time, mac) = (time.to_owned(), card.map(|card| card.to_string()));
        news.extend(
            self.step(Step { time, machine, mac, address, stage, what, outcome, sent: 0, size: 0 }, card),
        );
        news
    }

    /// What was asked of the web server: `path` is that in the folder, `card` the neighbour's, as the kernel knows it.
    pub fn served(&mut self, served: &Served, path: &str, card: Option<Mac>, time: &str) -> Vec<News> {
        let std::net::SocketAddr::V4(peer) = served.peer else { return Vec::new() };
        let address = Some(*peer.ip());
        let card = card.or_else(|| self.addresses.get(peer.ip()).copied());
        let named = |folder: &str, ending: &str| path.strip_prefix(folder)?.strip_suffix(ending);
        let stage = match path {
            _ if path.starts_with("name/") => Stage::Script,
            _ if path.starts_with("ignition/") => Stage::Ignition,
            _ if self.known.kernels.contains(path) => Stage::Kernel,
            _ if self.known.systems.contains(path) => Stage::System,
            "unknown.ipxe" => return Vec::from_iter(self.unknown(card, address)),
            // Steps on the way to the machine's script, of which some are tried in vain.
            _ => return Vec::new(),
        };
        let outcome = match served.status {
            200 | 206 if served.is_whole() => Outcome::Done,
            200 | 206 => Outcome::Cut,
            404 => Outcome::Missing,
            416 => return Vec::new(),
            _ => Outcome::Refused,
        };
        // iPXE asks for the script of a name that nobody has, before it takes that for unknown machines.
        if stage == Stage::Script && outcome == Outcome::Missing {
            return Vec::new();
        }
        let machine = card.and_then(|card| self.known.cards.get(&card).cloned());
        let by_name = || named("name/", ".ipxe").or_else(|| named("ignition/", ".ign")).map(str::to_owned);
        let learnt = if machine.is_none() && self.known.some_without { by_name() } else { None };
        if let (Some(card), Some(name)) = (card, &learnt) {
            self.known.cards.insert(card, name.clone());
        }
        let (time, mac) = (time.to_owned(), card.map(|card| card.to_string()));
        let (sent, size, what) = (served.sent, served.size, path.to_owned());
        let machine = machine.or(learnt);
        Vec::from_iter(
            self.step(Step { time, machine, mac, address, stage, what, outcome, sent, size }, card),
        )
    }

    fn step(&mut self, step: Step, card: Option<Mac>) -> Option<News> {
        let who = card.map(Who::Card).or(step.address.map(Who::Address))?;
        let now = Instant::now();
        let (stage, what, outcome) = (step.stage, step.what.clone(), step.outcome);
        let last = self.last.insert(who, (stage, what, outcome, now));
        let is_same = last.is_some_and(|(stage, what, outcome, at)| {
            (stage, &what, outcome) == (step.stage, &step.what, step.outcome) && now.duration_since(at) < ONCE
        });
        (!is_same).then_some(News::Step(step))
    }

    fn unknown(&mut self, card: Option<Mac>, address: Option<Ipv4Addr>) -> Option<News> {
        let who = card.map(Who::Card).or(address.map(Who::Address))?;
        self.told_unknown.insert(who).then_some(News::Unknown { card, address })
    }
}

/// What a file says of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When its last boot began.
    pub booted: String,
    /// The last thing that it did.
    pub last: Step,
}

/// The machines of a file, by name. Lines that cannot be read are passed over: the last one may be half a line.
pub fn seen(text: &str) -> BTreeMap<String, Seen> {
    let mut machines: BTreeMap<String, Seen> = BTreeMap::new();
    for step in text.lines().filter_map(|line| serde_json::from_str::<Step>(line).ok()) {
        let Some(name) = step.machine.clone() else { continue };
        let booted = match machines.get(&name) {
            // Machines go on; one that asks again has begun anew. A script begins with the kernel again where it was cut off.
            Some(seen) if step.stage > Stage::Script || step.stage >= seen.last.stage => seen.booted.clone(),
            _ => step.time.clone(),
        };
        machines.insert(name, Seen { booted, last: step });
    }
    machines
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "192.0.2.4:4711";

    fn mac(last: u8) -> Mac {
        format!("52:54:00:12:34:{last:02x}").parse().unwrap()
    }

    fn boots(some_without: bool) -> Boots {
        let set = |path: &str| HashSet::from([path.to_owned()]);
        let cards = HashMap::from([(mac(4), "s4".to_owned())]);
        Boots::new(Known { cards, some_without, kernels: set("images/k"), systems: set("images/i") })
    }

    fn served(status: u16, sent: u64, size: u64) -> Served {
        Served { peer: PEER.parse().unwrap(), asked: String::new(), status, size, sent }
    }

    /// The steps as `machine stage what outcome`.
    fn told(news: &[News]) -> Vec<String> {
        let one = |news: &News| match news {
            News::Step(step) => {
                let machine = step.machine.as_deref().unwrap_or("?");
                format!("{machine} {} {} {:?}", step.stage.name(), step.what, step.outcome)
            }
            News::Unknown { card, .. } => {
                format!("unknown {}", card.map(|card| card.to_string()).unwrap_or_default())
            }
            News::Trouble(text) => text.clone(),
        };
        news.iter().map(one).collect()
    }

    #[test]
    fn a_boot_is_told_step_by_step_and_nothing_twice() {
        let mut boots = boots(false);
        let address = Ipv4Addr::new(192, 0, 2, 4);
        let mut all = Vec::new();
        let asked = |is_ipxe| Heard::Asked { card: mac(4), address: Some(address), is_ipxe };
        // An offer and its acknowledgement.
        all.extend(boots.heard(asked(false), None, "1"));
        all.extend(boots.heard(asked(false), None, "1"));
        all.extend(boots.heard(Heard::Sent { file: "undionly.kpxe".into(), address }, None, "2"));
        all.extend(boots.heard(asked(true), None, "3"));
        // The kernel of this computer does not know the neighbour any more; dnsmasq has told who it is.
        for (path, status, sent, size) in [
            ("boot.ipxe", 200, 9, 9),
            ("mac/52-54-00-12-34-04.ipxe", 200, 9, 9),
            ("name/s4.ipxe", 200, 9, 9),
            ("images/k", 404, 3, 3),
            ("images/k", 404, 3, 3),
            ("images/k", 200, 9, 9),
            ("images/i", 200, 3, 9),
            ("images/i", 206, 6, 6),
            ("ignition/s4.ign", 200, 9, 9),
            ("favicon.ico", 404, 3, 3),
        ] {
            all.extend(boots.served(&served(status, sent, size), path, None, "4"));
        }
        assert_eq!(
            told(&all),
            [
                "s4 dhcp  Done",
                "s4 ipxe undionly.kpxe Done",
                "s4 ipxe  Done",
                "s4 script name/s4.ipxe Done",
                "s4 kernel images/k Missing",
                "s4 kernel images/k Done",
                "s4 system images/i Cut",
                "s4 system images/i Done",
                "s4 ignition ignition/s4.ign Done",
            ]
        );
    }

    #[test]
    fn a_machine_that_is_not_in_the_inventory_is_told_once() {
        let mut one = boots(false);
        let asked = Heard::Asked { card: mac(9), address: None, is_ipxe: false };
        assert_eq!(told(&one.heard(asked.clone(), None, "1")), ["unknown 52:54:00:12:34:09", "? dhcp  Done"]);
        assert_eq!(told(&one.heard(asked.clone(), None, "1")), [""; 0]);
        assert_eq!(told(&one.heard(Heard::Ignored { card: mac(9) }, None, "1")), [""; 0]);
        assert_eq!(
            told(&one.heard(Heard::Ignored { card: mac(7) }, None, "1")),
            ["unknown 52:54:00:12:34:07"]
        );
        let answer = served(200, 9, 9);
        assert_eq!(told(&one.served(&answer, "unknown.ipxe", Some(mac(9)), "2")), [""; 0]);
        // Where a machine has no card in the inventory, it may be that one; its script tells.
        let mut one = boots(true);
        assert_eq!(told(&one.heard(asked.clone(), None, "1")), ["? dhcp  Done"]);
        assert_eq!(
            told(&one.served(&served(404, 3, 3), "name/other.ipxe", Some(mac(9)), "2")),
            [""; 0],
            "a name that nobody has"
        );
        assert_eq!(
            told(&one.served(&answer, "name/s5.ipxe", Some(mac(9)), "2")),
            ["s5 script name/s5.ipxe Done"]
        );
        assert_eq!(told(&one.heard(asked, None, "3")), ["s5 dhcp  Done"]);
        assert_eq!(
            told(&one.served(&answer, "unknown.ipxe", Some(mac(8)), "4")),
            ["unknown 52:54:00:12:34:08"]
        );
    }

    #[test]
    fn a_file_says_when_the_last_boot_began_and_how_far_it_is() {
        let line = |time: &str, machine: Option<&str>, stage| {
            let step = Step {
                time: time.into(),
                machine: machine.map(str::to_owned),
                mac: None,
                address: None,
                stage,
                what: String::new(),
                outcome: Outcome::Done,
                sent: 0,
                size: 0,
            };
            serde_json::to_string(&step).unwrap() + "\n"
        };
        let text = [
            line("1", Some("s4"), Stage::Dhcp),
            line("2", Some("s4"), Stage::Ignition),
            line("3", Some("s4"), Stage::Ipxe),
            line("4", None, Stage::Dhcp),
            line("4", Some("s4"), Stage::System),
            line("5", Some("s4"), Stage::Kernel),
            line("6", Some("s5"), Stage::Script),
            "{\"time\":\"7".to_owned(),
        ]
        .concat();
        let seen = seen(&text);
        let short = |name: &str| (seen[name].booted.as_str(), seen[name].last.stage);
        assert_eq!((short("s4"), short("s5")), (("3", Stage::Kernel), ("6", Stage::Script)));
        assert_eq!(seen.len(), 2);
    }
}
