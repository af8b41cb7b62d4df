//! A configuration that was read: for which system it is, and what Ignition gets of it.

use std::sync::Arc;

use muster_inventory::{Origin, SourceText, closest};
use serde_json::Value;

use crate::local_files::LocalFiles;
use crate::mistake::{Mistake, Mistakes};
use crate::shape::Item;
use crate::yaml::{Key, Kind, Node};
use crate::{butane, container_linux, yaml};

/// The systems that boot from the network with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Fedora CoreOS.
    FedoraCoreOs,
    /// Flatcar Container Linux.
    Flatcar,
}

impl System {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::FedoraCoreOs => "Fedora CoreOS",
            Self::Flatcar => "Flatcar",
        }
    }
}

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Config {
    /// What boots with it.
    pub system: System,
    pub(crate) source: Arc<SourceText>,
    /// What was written, for the places.
    pub(crate) whole: Item,
    /// What Ignition gets on every machine.
    pub(crate) ignition: Value,
}

impl Config {
    /// Reads a Butane configuration (`variant: fcos`, `variant: flatcar`) or a Container Linux Config, which has no variant.
    /// `name` is what messages call it.
    ///
    /// # Errors
    /// All that is wrong with it, with its place.
    pub fn read(name: &str, text: &str, files: &LocalFiles) -> Result<Self, Mistakes> {
        // A section of users, not a password.
        let source = SourceText::with_open(name, text, &["passwd"]);
        let node = yaml::read(&source, text)?;
        let format = format(&node)?;
        let mut found = Vec::new();
        let (system, (whole, ignition)) = match format {
            Format::Butane(system, version) => {
                let object = match system {
                    System::FedoraCoreOs => &butane::tables::FCOS,
                    System::Flatcar => &butane::tables::FLATCAR,
                };
                (system, butane::read(&node, object, version, files, &mut found))
            }
            Format::ContainerLinux => (System::Flatcar, container_linux::read(&node, files, &mut found)),
        };
        Mistakes::none_of(found)?;
        Ok(Self { system, source, whole, ignition })
    }

    /// What all machines get of it, with the local files that it takes in: as long as this is the same, so is what it means.
    pub fn common(&self) -> String {
        self.ignition.to_string()
    }

    /// Where the configuration puts something at a path, or says something of it.
    pub(crate) fn origin_of_path(&self, path: &str) -> Option<Origin> {
        let storage = self.ignition.get("storage")?;
        for list in ["files", "directories", "links"] {
            let nodes = storage.get(list).and_then(Value::as_array).into_iter().flatten();
            for node in nodes.filter_map(|node| node.get("path")?.as_str()) {
                let hides = list == "links" && path.starts_with(&format!("{node}/"));
                if node == path || hides {
                    let written = self.whole.list(&["storage", list]);
                    let item = written.iter().find(|item| item.text("path") == Some(node));
                    // What a tree holds stands nowhere by itself.
                    return Some(
                        item.map_or_else(|| Origin::whole(&self.source), |item| item.origin.clone()),
                    );
                }
            }
        }
        None
    }
}

/// What a text is written in.
enum Format {
    Butane(System, &'static butane::Version),
    ContainerLinux,
}

fn format(node: &Node) -> Result<Format, Mistake> {
    let Kind::Map(entries) = &node.kind else {
        let message =
            "this is no configuration: its sections, such as passwd, storage and systemd, were meant";
        return Err(Mistake::new(&node.origin, message));
    };
    let entry = |name: &str| entries.iter().find(|(key, _)| key.name == name);
    if let Some((key, _)) = entry("ignition").filter(|(_, ignition)| has(ignition, "version")) {
        let message = "this is what Ignition reads, which is made from a configuration: name the configuration itself, \
                       a text in YAML with the sections passwd, storage and systemd";
        return Err(Mistake::new(&key.origin, message));
    }
    let Some((key, variant)) = entry("variant") else {
        return match entry("version") {
            // A file that is meant for Butane, and the old format, whose version is 0 where it has any.
            Some((key, _)) => Err(Mistake::new(
                &key.origin,
                "a version without a variant; say for which system it is: variant: flatcar, or variant: fcos",
            )),
            None => Ok(Format::ContainerLinux),
        };
    };
    let (system, versions) = match text(key, variant)? {
        "fcos" => (System::FedoraCoreOs, butane::FCOS.as_slice()),
        "flatcar" => (System::Flatcar, butane::FLATCAR.as_slice()),
        other => {
            let message = match other {
                "openshift" | "r4e" | "fiot" | "rhcos" => {
                    format!(
                        "muster boots no machines with the variant \"{other}\", only with fcos and flatcar"
                    )
                }
                _ => match closest(other, ["fcos", "flatcar"].into_iter()) {
                    Some(meant) => format!("there is no variant \"{other}\"; did you mean {meant}?"),
                    None => format!("there is no variant \"{other}\"; there are fcos and flatcar"),
                },
            };
            return Err(Mistake::new(&variant.origin, message));
        }
    };
    let newest = versions.last().map_or("", |version| version.written);
    let Some((key, version)) = entry("version") else {
        let message = format!("the version of the format is missing, such as version: {newest}");
        return Err(Mistake::new(&node.origin, message));
    };
    let written = text(key, version)?;
    match versions.iter().find(|version| version.written == written) {
        Some(version) => Ok(Format::Butane(system, version)),
        None => {
            let known: Vec<&str> = versions.iter().map(|version| version.written).collect();
            let message = match written {
                _ if written.ends_with("-experimental") => {
                    format!(
                        "{written} is not finished, and Ignition refuses it on released systems; there are {}",
                        known.join(", ")
                    )
                }
                "1.0.0" => {
                    format!("1.0.0 is not followed; all that it has is in {}, so write that one", known[0])
                }
                _ => format!("there is no version \"{written}\" here; there are {}", known.join(", ")),
            };
            Err(Mistake::new(&version.origin, message))
        }
    }
}

fn has(node: &Node, name: &str) -> bool {
    matches!(&node.kind, Kind::Map(entries) if entries.iter().any(|(key, _)| key.name == name))
}

fn text<'a>(key: &Key, node: &'a Node) -> Result<&'a str, Mistake> {
    match &node.kind {
        Kind::Scalar { text, .. } => Ok(text),
        _ => Err(Mistake::new(&key.origin, format!("behind \"{}\" a word was meant", key.name))),
    }
}
