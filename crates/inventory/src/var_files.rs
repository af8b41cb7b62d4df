//! Finding and reading `group_vars` and `host_vars`.
//! (`ansible/plugins/vars/host_group_vars.py`, `DataLoader.find_vars_files`)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::InventoryError;
use crate::inventory::Inventory;
use crate::layer::{Layer, LayerKind};
use crate::load::decode;
use crate::origin::{Origin, Warning};
use crate::similar;
use crate::value::Kind;
use crate::vault::VaultSecrets;
use crate::yaml;

/// Endings in the order they are tried; the first that exists hides the others.
const ENDINGS: [&str; 4] = ["", ".yml", ".yaml", ".json"];

/// One directory `group_vars` or `host_vars`.
pub(crate) struct VarDir {
    path: PathBuf,
    /// What is in it, so that thousands of hosts without files cost nothing.
    entries: BTreeSet<String>,
}

impl VarDir {
    /// Lists `base/name`. A directory that does not exist is empty.
    pub(crate) fn open(base: &Path, name: &str) -> Result<Self, InventoryError> {
        let path = base.join(name);
        let entries = if path.is_dir() { list(&path)? } else { Vec::new() };
        Ok(Self { path, entries: entries.into_iter().collect() })
    }

    /// The files that hold the variables of one group or host, in the order they apply.
    pub(crate) fn files(&self, name: &str) -> Result<Vec<PathBuf>, InventoryError> {
        // A name that is a path would leave the directory.
        if self.entries.is_empty() || name.contains('/') {
            return Ok(Vec::new());
        }
        for ending in ENDINGS {
            let entry = format!("{name}{ending}");
            if !self.entries.contains(&entry) {
                continue;
            }
            let path = self.path.join(entry);
            let mut files = Vec::new();
            if path.is_dir() {
                collect(&path, &mut files, 0)?;
            } else {
                files.push(path);
            }
            return Ok(files);
        }
        Ok(Vec::new())
    }
}

impl VarDir {
    /// A warning about entries that belong to none of the names there are: they are read by nobody.
    pub(crate) fn stray<'a>(
        &self,
        what: &str,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<Warning> {
        const SHOWN: usize = 5;
        let stem = |entry: &str| {
            let ending = ENDINGS.iter().rev().find(|ending| entry.ends_with(**ending))?;
            Some(entry.strip_suffix(ending)?.to_owned()).filter(|stem| !stem.is_empty())
        };
        let is_data = |entry: &&String| {
            !entry.starts_with('.')
                && !entry.ends_with('~')
                && (self.path.join(entry).is_dir() || stem(entry).is_some_and(|stem| stem != **entry))
        };
        let known: std::collections::HashSet<&str> = names.clone().collect();
        let stray: Vec<(&String, String)> = self
            .entries
            .iter()
            .filter(is_data)
            .filter_map(|entry| Some((entry, stem(entry)?)))
            .filter(|(entry, stem)| !known.contains(stem.as_str()) && !known.contains(entry.as_str()))
            .collect();
        // Hosts that differ in their numbers are others, and not misspelt.
        let without_digits = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "");
        let similar = |stem: &str| {
            let candidates = names.clone().filter(|name| without_digits(name) != without_digits(stem));
            similar::closest(stem, candidates)
        };
        let told = |(entry, stem): &(&String, String)| match similar(stem) {
            Some(similar) => format!("{entry} (is it meant for \"{similar}\"?)"),
            None => (*entry).clone(),
        };
        let shown: Vec<String> = stray.iter().take(SHOWN).map(told).collect();
        let more =
            if stray.len() > SHOWN { format!(" and {} more", stray.len() - SHOWN) } else { String::new() };
        let place = self.path.display();
        (!stray.is_empty()).then(|| {
            let message = format!("{place}: no {what} is called like {}{more}", shown.join(", "));
            Warning::new(message, None)
        })
    }

    /// Warnings about files that are not read because another entry has the same name: `all.yml` beside the folder `all`.
    pub(crate) fn hidden<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<Warning> {
        let tell = |name: &str| {
            let mut found = ENDINGS.iter().map(|ending| format!("{name}{ending}"));
            let read = found.by_ref().find(|entry| self.entries.contains(entry))?;
            let others: Vec<String> = found.filter(|entry| self.entries.contains(entry)).collect();
            let place = self.path.display();
            (!others.is_empty()).then(|| {
                let message = format!(
                    "{place}: {} is not read, because {read} is there: put its variables into {read}",
                    others.join(", ")
                );
                Warning::new(message, None)
            })
        };
        names.filter_map(tell).collect()
    }

    /// Whether a file of one of these names sets a variable. What cannot be read was meant to.
    fn sets_anything<'a>(&self, mut names: impl Iterator<Item = &'a str>, secrets: &VaultSecrets) -> bool {
        let sets = |file: &PathBuf| {
            let layer = read(file, LayerKind::AllFile, secrets, &mut Vec::new());
            layer.map_or(true, |layer| !layer.vars.is_empty())
        };
        names.any(|name| self.files(name).unwrap_or_default().iter().any(sets))
    }
}

/// The folders of variables, as they must be called.
const FOLDERS: [&str; 2] = ["group_vars", "host_vars"];

/// Warnings about folders that are called nearly as those of variables.
pub(crate) fn misnamed(dir: &Path) -> Vec<Warning> {
    let tell = |entry: &String| {
        let lower = entry.to_lowercase();
        let same = || FOLDERS.into_iter().find(|right| lower == *right);
        let right = similar::closest_within(2, &lower, FOLDERS.into_iter()).or_else(same)?;
        // A copy of the folder is not meant to be read.
        let is_folder = !FOLDERS.contains(&entry.as_str()) && !entry.starts_with(right);
        (is_folder && dir.join(entry).is_dir()).then(|| {
            let place = dir.join(entry);
            let message =
                format!("{} is not read: such a folder is called {right}; rename it", place.display());
            Warning::new(message, None)
        })
    };
    list(dir).unwrap_or_default().iter().filter_map(tell).collect()
}

/// Warnings about variables of an inventory's groups and hosts in a folder where they are not looked for.
pub(crate) fn elsewhere(
    inventory: &Inventory,
    dir: &Path,
    right: &Path,
    secrets: &VaultSecrets,
) -> Vec<Warning> {
    let groups = inventory.groups.iter().flat_map(|group| inventory.rules.names(&group.name)).collect();
    let hosts = inventory.hosts.keys().map(String::as_str).collect();
    let tell = |(name, owners): (&str, Vec<&str>)| {
        let found = VarDir::open(dir, name).ok()?;
        found.sets_anything(owners.into_iter(), secrets).then(|| {
            let message = format!(
                "{} is not read, because it is not beside the inventory: move it to {}",
                found.path.display(),
                right.join(name).display()
            );
            Warning::new(message, None)
        })
    };
    FOLDERS.into_iter().zip([groups, hosts]).filter_map(tell).collect()
}

fn list(path: &Path) -> Result<Vec<String>, InventoryError> {
    let failed = |error: std::io::Error| InventoryError::Read {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Files of a folder and its folders, by name. Hidden files, backups, folders with a dot and files
/// with other endings do not count.
fn collect(dir: &Path, files: &mut Vec<PathBuf>, depth: usize) -> Result<(), InventoryError> {
    if depth > 32 {
        let reason = "folders are nested more than 32 deep; is there a link to a parent?".to_owned();
        return Err(InventoryError::Read { path: dir.display().to_string(), reason });
    }
    for name in list(dir)? {
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let path = dir.join(&name);
        let ending =
            path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
        if path.is_dir() && ending.is_empty() {
            collect(&path, files, depth + 1)?;
        } else if path.is_file() && ENDINGS.contains(&ending.as_str()) {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads one file of variables, which must be a mapping or empty.
pub(crate) fn read(
    path: &Path,
    kind: LayerKind,
    secrets: &VaultSecrets,
    warnings: &mut Vec<Warning>,
) -> Result<Layer, InventoryError> {
    let name = path.display().to_string();
    let bytes = fs::read(path)
        .map_err(|error| InventoryError::Read { path: name.clone(), reason: error.to_string() })?;
    let (source, text) = decode(path, bytes, secrets)?;
    let document = yaml::parse(&source, &text, warnings)?;
    let origin = document.origin.clone().unwrap_or_else(|| Origin::whole(&source));
    match document.kind {
        Kind::Map(vars) => Ok(Layer { kind, name, vars }),
        Kind::Null => Ok(Layer { kind, name, vars: Default::default() }),
        _ => {
            let message = format!(
                "a file of variables is a mapping (\"name: value\" lines), this is {}",
                document.type_name()
            );
            Err(InventoryError::syntax(origin, message))
        }
    }
}
