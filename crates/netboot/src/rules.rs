//! Rules of Ignition's that are about several values at once, in both formats.

use std::collections::HashMap;

use muster_inventory::Origin;

use crate::mistake::Mistake;
use crate::shape::Item;
use crate::unit_text;

/// The mistakes that were found so far.
pub(crate) struct Rules<'a> {
    pub(crate) found: &'a mut Vec<Mistake>,
}

/// A file, a directory or a link, wherever its list is.
struct Placed<'a> {
    /// With its article.
    what: &'static str,
    item: &'a Item,
    path: &'a str,
    filesystem: &'a str,
}

impl Placed<'_> {
    fn origin(&self) -> &Origin {
        self.item.get("path").map_or(&self.item.origin, |path| &path.origin)
    }
}

impl Rules<'_> {
    pub(crate) fn tell(&mut self, origin: &Origin, message: impl Into<String>) {
        self.found.push(Mistake::new(origin, message));
    }

    /// Those that hold for every configuration.
    pub(crate) fn common(&mut self, whole: &Item) {
        self.units(whole);
        self.places(whole);
        self.disks(whole);
        for raid in whole.list(&["storage", "raid"]) {
            let spares = raid.get("spares").filter(|_| raid.whole("spares").is_some_and(|number| number > 0));
            if let Some(spares) = spares
                && raid
                    .text("level")
                    .is_some_and(|level| matches!(level, "linear" | "raid0" | "0" | "stripe"))
            {
                self.tell(
                    &spares.origin,
                    "a RAID that keeps nothing twice (linear, raid0) has no use for spares",
                );
            }
        }
    }

    /// No two things in one place, and nothing in a place that a link leads away from.
    fn places(&mut self, whole: &Item) {
        let mut all: Vec<Placed> = Vec::new();
        for (list, what) in [("files", "a file"), ("directories", "a directory"), ("links", "a link")] {
            for item in whole.list(&["storage", list]) {
                let Some(path) = item.text("path") else { continue };
                all.push(Placed { what, item, path, filesystem: item.text("filesystem").unwrap_or("root") });
            }
        }
        let mut seen: HashMap<(&str, &str), &Placed> = HashMap::new();
        for placed in &all {
            for key in ["user", "group"] {
                self.owner(placed.item.get(key), key);
            }
            if let Some(first) = seen.get(&(placed.filesystem, placed.path)) {
                let line = first.origin().line();
                // A file may be appended to more than once.
                let appends = |placed: &Placed| placed.item.is("append");
                if !(appends(placed) || appends(first)) {
                    let first = first.what;
                    self.tell(
                        placed.origin(),
                        format!(
                            "{} is here a second time; {first} at line {line} has the same path",
                            placed.path
                        ),
                    );
                }
                continue;
            }
            seen.insert((placed.filesystem, placed.path), placed);
        }
        for link in all.iter().filter(|placed| placed.what == "a link") {
            let below = format!("{}/", link.path);
            for placed in all.iter().filter(|placed| placed.filesystem == link.filesystem) {
                if placed.path.starts_with(&below) {
                    let message = format!(
                        "{} is below {}, which is a link (line {}); name the place that the link leads to",
                        placed.path,
                        link.path,
                        link.origin().line()
                    );
                    self.tell(placed.origin(), message);
                }
                if placed.what == "a directory"
                    && link.item.is("hard")
                    && link.item.text("target") == Some(placed.path)
                {
                    let message =
                        format!("{} is a directory, and there are no hard links to directories", placed.path);
                    self.tell(link.origin(), message);
                }
            }
        }
        let units = written_units(whole);
        for placed in &all {
            if let Some(unit) = units.get(placed.path) {
                let message =
                    format!("the section systemd writes {}, too (line {})", placed.path, unit.line());
                self.tell(placed.origin(), message);
            }
        }
    }

    fn owner(&mut self, owner: Option<&Item>, of: &str) {
        let Some(owner) = owner else { return };
        if owner.whole("id").is_some() && owner.text("name").is_some() {
            self.tell(&owner.origin, format!("a {of} is told by its id or by its name, and not by both"));
        }
    }

    fn units(&mut self, whole: &Item) {
        for section in ["systemd", "networkd"] {
            for unit in whole.list(&[section, "units"]) {
                self.unit_text(unit.get("contents"));
                for dropin in unit.list(&["dropins"]) {
                    self.unit_text(dropin.get("contents"));
                }
                self.enabled(unit, whole);
            }
        }
    }

    fn unit_text(&mut self, contents: Option<&Item>) {
        if let Some((item, text)) = contents.and_then(|item| Some((item, item.as_text()?)))
            && let Err(wrong) = unit_text::check(text)
        {
            self.tell(&item.origin, wrong);
        }
    }

    /// A unit that is enabled, and of which nothing says for what.
    fn enabled(&mut self, unit: &Item, whole: &Item) {
        if !(unit.is("enabled") || unit.is("enable")) {
            return;
        }
        let Some(name) = unit.text("name") else { return };
        // An instance is enabled by what its template says.
        let template = name.split_once('@').and_then(|(begin, rest)| {
            let (_, ending) = rest.rsplit_once('.')?;
            let template = format!("{begin}@.{ending}");
            whole.list(&["systemd", "units"]).iter().find(|unit| unit.text("name") == Some(&template))
        });
        let contents = unit.text("contents").or_else(|| template?.text("contents"));
        let installs = |text: &str| text.lines().any(|line| line.trim() == "[Install]");
        let in_dropin =
            unit.list(&["dropins"]).iter().any(|dropin| dropin.text("contents").is_some_and(installs));
        if contents.is_some_and(|text| !installs(text)) && !in_dropin {
            let place = unit.get("enabled").or_else(|| unit.get("enable")).unwrap_or(unit);
            let message = format!(
                "{name} is enabled, and nothing says for what: its contents have no section [Install], such as one with \
                 WantedBy=multi-user.target"
            );
            self.tell(&place.origin, message);
        }
    }

    fn disks(&mut self, whole: &Item) {
        for disk in whole.list(&["storage", "disks"]) {
            let partitions = disk.list(&["partitions"]);
            let mut numbers: HashMap<i64, &Item> = HashMap::new();
            for partition in partitions {
                let number = partition.whole("number").filter(|number| *number != 0);
                if number.is_none() && partition.text("label").is_none() {
                    self.tell(&partition.origin, "a partition needs a number, or a label");
                }
                if let Some(first) = number.and_then(|number| numbers.insert(number, partition)) {
                    let line = first.origin.line();
                    self.tell(
                        &partition.origin,
                        format!("this disk has a partition of this number already, at line {line}"),
                    );
                }
                let others = ["label", "type_guid", "guid", "start_mib", "size_mib"];
                let goes = partition.get("should_exist").filter(|_| !partition.is("should_exist"));
                if let Some(other) = goes.and_then(|_| others.iter().find_map(|key| partition.get(key))) {
                    self.tell(&other.origin, "of a partition that is to go only the number is told");
                }
            }
            let extent = |partition: &Item| {
                let start = partition.whole("start_mib").filter(|start| *start > 0)?;
                Some((start, start + (partition.whole("size_mib")? - 1).max(0)))
            };
            for (at, partition) in partitions.iter().enumerate() {
                let Some((start, end)) = extent(partition) else { continue };
                let overlaps =
                    |other: &&Item| extent(other).is_some_and(|(from, to)| from <= end && start <= to);
                if let Some(other) = partitions[..at].iter().find(overlaps) {
                    let line = other.origin.line();
                    self.tell(&partition.origin, format!("this partition overlaps the one at line {line}"));
                }
            }
        }
    }

    /// The length of a file system's label (mkfs.ext4(8), mkfs.btrfs(8), mkfs.xfs(8), mkfs.fat(8), mkswap(8)).
    pub(crate) fn filesystem_label(&mut self, filesystem: &Item) {
        let (Some(format), Some(label)) = (filesystem.text("format"), filesystem.get("label")) else {
            return;
        };
        let most = match format {
            "ext4" => 16,
            "btrfs" => 256,
            "xfs" => 12,
            "swap" => 15,
            "vfat" => 11,
            _ => return,
        };
        if label.as_text().is_some_and(|text| text.len() > most) {
            self.tell(&label.origin, format!("a label of {format} has at most {most} characters"));
        }
    }
}

/// The files that the section systemd writes, and where it says so.
fn written_units(whole: &Item) -> HashMap<String, &Origin> {
    let mut written = HashMap::new();
    for unit in whole.list(&["systemd", "units"]) {
        let Some(name) = unit.text("name") else { continue };
        let has_text = |item: &Item| item.text("contents").is_some() || item.text("contents_local").is_some();
        if has_text(unit) {
            written.insert(format!("/etc/systemd/system/{name}"), &unit.origin);
        }
        for dropin in unit.list(&["dropins"]).iter().filter(|dropin| has_text(dropin)) {
            if let Some(conf) = dropin.text("name") {
                written.insert(format!("/etc/systemd/system/{name}.d/{conf}"), &dropin.origin);
            }
        }
    }
    written
}
