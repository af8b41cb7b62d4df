//! Which inventory is meant, and the folder it belongs to.

use std::path::{Path, PathBuf};

use muster_engine::script::quote;
use muster_inventory::{AnsibleSettings, Inventory, InventoryError, LoadOptions, Source};
use muster_roles::group_rules;

use crate::environment::{Environment, shown};
use crate::error::Error;

/// The folder that inventories are written to, and where they are looked for.
pub const INVENTORY_DIR: &str = "inventory";

/// The inventory in it.
pub const INVENTORY_FILE: &str = "hosts.ini";

/// An inventory and what lies around it.
#[derive(Debug, Clone)]
pub struct Project {
    /// What the inventory is read from.
    pub sources: Vec<Source>,
    /// The words to type to mean the same inventory again: `-i`, its path; none where it is found without.
    pub words: Vec<String>,
    /// The folder that holds `inventory/` and may hold `playbooks/`.
    pub root: PathBuf,
    /// The folder of the inventory, for what a run brings back.
    pub inventory_dir: PathBuf,
    /// How its inventory is read, but for passwords of encrypted files.
    pub(crate) reading: LoadOptions,
    /// The folder from which it was found, for paths that are shown.
    here: PathBuf,
}

impl Project {
    /// The inventory that is given, else the one that the environment, the current folder or one above it names.
    ///
    /// # Errors
    /// There is none anywhere.
    pub fn find(given: &[String], environment: &Environment) -> Result<Self, Error> {
        let found = Self::find_place(given, environment)?;
        Ok(Self { reading: reading(environment.ansible()?), ..found })
    }

    fn find_place(given: &[String], environment: &Environment) -> Result<Self, Error> {
        let here = environment.here()?.to_owned();
        if !given.is_empty() {
            let words = given.iter().flat_map(|typed| ["-i".to_owned(), typed.clone()]).collect();
            return Ok(Self::of(
                given.iter().map(|typed| Source::from_argument(typed)).collect(),
                words,
                here,
            ));
        }
        let set = &environment.ansible()?.inventory;
        if !set.is_empty() {
            return Ok(Self::of(
                set.iter().map(|text| Source::from_argument(text)).collect(),
                Vec::new(),
                here,
            ));
        }
        let above = Self::above(&here).map(|project| Self { here: here.clone(), ..project });
        above.ok_or_else(|| {
            let error = Error::usage(format!(
                "which machines? There is no inventory: neither -i nor {INVENTORY_DIR}/{INVENTORY_FILE}"
            ));
            let error = match inventories(&here).as_slice() {
                [] => error.hint(
                    "for a cluster that there is already: go to its project's folder, or name its inventory: -i inventory/mycluster/hosts.ini",
                ),
                found => {
                    let options: Vec<String> = found.iter().map(|path| format!("-i {}", quote(path))).collect();
                    error.hint(format!("name the inventory that is here: {}", options.join(" or ")))
                }
            };
            error.hint("for a new cluster, name the machines, the first one becomes the control plane: setup-cluster 192.0.2.11 .12 .13")
        })
    }

    /// The project a folder belongs to: the folder itself or the nearest above it that holds an inventory.
    pub fn above(folder: &Path) -> Option<Self> {
        let root = folder.ancestors().find(|root| root.join(INVENTORY_DIR).join(INVENTORY_FILE).is_file())?;
        Some(Self::at(root))
    }

    /// The project whose inventory is in the usual place below a folder, whether it is there yet or not.
    pub fn at(root: &Path) -> Self {
        let file = root.join(INVENTORY_DIR).join(INVENTORY_FILE);
        Self::of(vec![Source::Path(file)], Vec::new(), root.to_owned())
    }

    fn of(sources: Vec<Source>, words: Vec<String>, root: PathBuf) -> Self {
        let dir = sources.iter().rev().find_map(|source| match source {
            Source::Path(path) if path.is_dir() => Some(path.clone()),
            Source::Path(path) | Source::Text { path, .. } => path.parent().map(Path::to_owned),
            Source::HostList(_) => None,
        });
        let inventory_dir = root.join(dir.unwrap_or_else(|| PathBuf::from(INVENTORY_DIR)));
        let reading = reading(&AnsibleSettings::default());
        Self { sources, words, here: root.clone(), root, inventory_dir, reading }
    }

    /// Its hosts and groups alone.
    ///
    /// # Errors
    /// It cannot be read; the message shows the place.
    pub fn inventory(&self) -> Result<Inventory, InventoryError> {
        Inventory::load(&self.sources, &self.reading)
    }

    /// The inventories as they were given; none where it was found without.
    pub(crate) fn given(&self) -> Vec<String> {
        self.words.iter().filter(|word| *word != "-i").cloned().collect()
    }

    /// A command for this project: its words with those that name the inventory after the first `at` of them.
    pub fn command(&self, words: &[&str], at: usize) -> String {
        let (begin, end) = words.split_at(at.min(words.len()));
        let inventory = self.words.iter().map(String::as_str);
        let all: Vec<String> =
            begin.iter().copied().chain(inventory).chain(end.iter().copied()).map(quote).collect();
        all.join(" ")
    }

    /// The inventory, told from all others on this computer.
    pub fn identity(&self) -> Vec<String> {
        let absolute = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
        let name = |source: &Source| match source {
            Source::Path(path) | Source::Text { path, .. } => {
                absolute(path).as_deref().unwrap_or(path).display().to_string()
            }
            Source::HostList(text) => text.clone(),
        };
        self.sources.iter().map(name).collect()
    }

    /// A path as a user would type it who is where the project was found from.
    pub fn shown(&self, path: &Path) -> String {
        shown(path, Some(&self.here))
    }

    /// The inventory in words.
    pub fn describe(&self) -> String {
        let name = |source: &Source| match source {
            Source::Path(path) | Source::Text { path, .. } => self.shown(path),
            Source::HostList(text) => format!("the hosts {text}"),
        };
        self.sources.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// Which groups there are always, and what lies beside inventories and is none: what runs bring back (kubespray's `ansible.cfg` leaves
/// that out, too), and the user's own objects and scripts.
fn reading(settings: &AnsibleSettings) -> LoadOptions {
    let usual = LoadOptions::default();
    let beside = || ["artifacts", "credentials", "^extension$", "^hooks$"].map(str::to_owned).into();
    LoadOptions {
        rules: group_rules(),
        ignored_endings: settings.inventory_ignore_extensions.clone().unwrap_or(usual.ignored_endings),
        ignored_patterns: settings.inventory_ignore_patterns.clone().unwrap_or_else(beside),
        secrets: usual.secrets,
    }
}

/// Inventories in places where they are not looked for, as kubespray's users have them: a folder for each cluster.
fn inventories(here: &Path) -> Vec<String> {
    const NAMES: [&str; 6] =
        ["inventory.ini", "inventory.yml", "inventory.yaml", "hosts.ini", "hosts.yml", "hosts.yaml"];
    let base = here.join(INVENTORY_DIR);
    let mut folders = vec![base.clone()];
    let below = base.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    folders.extend(below.filter(|path| path.is_dir()));
    let files = folders.iter().flat_map(|folder| NAMES.map(|name| folder.join(name)));
    let mut found: Vec<String> =
        files.filter(|path| path.is_file()).map(|path| shown(&path, Some(here))).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_found_from_any_folder_below_it() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        assert!(Project::above(&below).is_none());
        std::fs::create_dir(root.path().join("inventory")).unwrap();
        std::fs::write(root.path().join("inventory/hosts.ini"), "node1\n").unwrap();
        let project = Project::above(&below).unwrap();
        assert_eq!(project.root, root.path());
        assert_eq!(project.inventory_dir, root.path().join("inventory"));
    }

    #[test]
    fn inventories_in_other_places_are_named() {
        let root = tempfile::tempdir().unwrap();
        let environment = Environment::new(Default::default(), None, Some(root.path().to_owned()));
        let told = || Project::find(&[], &environment).unwrap_err().hints.join("; ");
        assert!(told().contains("-i inventory/mycluster/hosts.ini"), "{}", told());
        for file in ["inventory/inventory.ini", "inventory/my lab/inventory.ini"] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let expected = "here: -i inventory/inventory.ini or -i 'inventory/my lab/inventory.ini'";
        assert!(told().contains(expected), "{}", told());
    }
}
