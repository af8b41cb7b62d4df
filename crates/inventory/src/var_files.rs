//! Finding and reading `group_vars` and `host_vars`.
//! (`ansible/plugins/vars/host_group_vars.py`, `DataLoader.find_vars_files`)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::InventoryError;
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
        let (first, stem) = stray.first()?;
        let shown: Vec<&str> = stray.iter().take(SHOWN).map(|(entry, _)| entry.as_str()).collect();
        let more =
            if stray.len() > SHOWN { format!(" and {} more", stray.len() - SHOWN) } else { String::new() };
        let hint = match similar::closest(stem, names) {
            Some(similar) if stray.len() == 1 => format!("; is {first} meant for \"{similar}\"?"),
            _ => String::new(),
        };
        let place = self.path.display();
        Some(Warning::new(
            format!("{place}: no {what} is called like {}{more}{hint}", shown.join(", ")),
            None,
        ))
    }
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
