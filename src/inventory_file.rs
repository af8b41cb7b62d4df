//! `inventory/hosts.ini`, written from the machines on the command line: only when all of it could be read, at once or
//! not at all, and never over an inventory that says something else.

use std::fs;
use std::path::{Path, PathBuf};

use muster_app::{INVENTORY_DIR, INVENTORY_FILE, Project};
use muster_files::write_whole;
use muster_inventory::{Inventory, LoadOptions, Source};
use muster_roles::group_rules;

use crate::environment::shown;
use crate::error::CommandError;
use crate::host_arguments::{HostArgument, place};

/// An inventory still to be written.
#[derive(Debug)]
pub(crate) struct NewInventory {
    path: PathBuf,
    text: String,
}

/// The project for machines on the command line: the one in the folder `root` if its inventory has the same machines, else
/// one with a new inventory, which is still to be written.
///
/// # Errors
/// There is an inventory with other machines, and `replace` is not set; or it cannot be read.
pub(crate) fn prepare(
    root: &Path,
    hosts: &[HostArgument],
    text: String,
    replace: bool,
) -> Result<(Project, Option<NewInventory>), CommandError> {
    let mut project = Project::at(root);
    let path = root.join(INVENTORY_DIR).join(INVENTORY_FILE);
    if path.exists() && !replace {
        let there = places(&path)?;
        let mut wanted: Vec<String> = hosts.iter().map(HostArgument::place).collect();
        let mut same: Vec<&String> = there.iter().map(|(_, place)| place).collect();
        wanted.sort();
        same.sort();
        if same.into_iter().eq(&wanted) {
            return Ok((project, None));
        }
        let told: Vec<String> = there
            .iter()
            .map(|(name, place)| if name == place { name.clone() } else { format!("{name} ({place})") })
            .collect();
        let file = shown(&path);
        return Err(CommandError::usage(format!(
            "{file} is there and has other machines: {}",
            told.join(", ")
        ))
        .hint(format!("to go on with those: setup-cluster -i {file}"))
        .hint("to add a machine: add it to that file, then run setup-cluster without addresses")
        .hint("to write a new inventory, keeping the old one under another name: add --new-inventory"));
    }
    project.sources = vec![Source::Text { path: path.clone(), text: text.clone() }];
    Ok((project, Some(NewInventory { path, text })))
}

/// The project for machines on the command line that are only looked at: the one in the folder `root` if its inventory has the
/// same machines, else one with an inventory that is never written.
pub(crate) fn unwritten(root: &Path, hosts: &[HostArgument], text: String) -> Project {
    if let Ok((project, None)) = prepare(root, hosts, text.clone(), false) {
        return project;
    }
    let path = root.join(INVENTORY_DIR).join(INVENTORY_FILE);
    let mut project = Project::at(root);
    project.sources = vec![Source::Text { path, text }];
    project
}

/// The machines of an inventory: name, and where each answers.
fn places(path: &Path) -> Result<Vec<(String, String)>, CommandError> {
    let options = LoadOptions { rules: group_rules(), ..LoadOptions::default() };
    let inventory = Inventory::load(&[Source::Path(path.to_owned())], &options).map_err(|error| {
        CommandError::from(error)
            .hint("fix it, or add --new-inventory to keep it under another name and write a new one")
    })?;
    let of_host = |host: &muster_inventory::Host| {
        let text = |name: &str| host.vars().get(name).and_then(|value| value.as_str());
        let address = text("ansible_host").or_else(|| text("ansible_ssh_host")).unwrap_or(host.name());
        let port = host.vars().get("ansible_port").and_then(|value| value.as_i64());
        (host.name().to_owned(), place(address, port.and_then(|port| port.try_into().ok())))
    };
    Ok(inventory.hosts().map(of_host).collect())
}

impl NewInventory {
    /// Where it will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it, whole or not at all. An inventory that is there is kept under another name, which is returned.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn write(&self) -> Result<Option<PathBuf>, CommandError> {
        let failed = |error: std::io::Error| {
            CommandError::failed(format!("cannot write {}: {error}", self.path.display()))
        };
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        let mut kept = None;
        if self.path.exists() {
            // GNU's numbered backups; names that end with ~ are no inventories.
            let name = (1..)
                .map(|number| folder.join(format!("{INVENTORY_FILE}.~{number}~")))
                .find(|name| !name.exists());
            if let Some(name) = &name {
                fs::copy(&self.path, name).map_err(failed)?;
            }
            kept = name;
        }
        write_whole(&self.path, None, &mut self.text.as_bytes()).map_err(failed)?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ConnectionArgs;
    use crate::host_arguments::{inventory_text, parse};

    fn prepare_for(
        root: &Path,
        typed: &str,
        replace: bool,
    ) -> Result<(Project, Option<NewInventory>), CommandError> {
        let words: Vec<String> = typed.split(' ').map(str::to_owned).collect();
        let hosts = parse(&words).unwrap();
        let text = inventory_text(&hosts, "setup-cluster", &ConnectionArgs::default());
        prepare(root, &hosts, text, replace)
    }

    fn write(root: &Path, typed: &str, replace: bool) -> Option<PathBuf> {
        prepare_for(root, typed, replace).unwrap().1.unwrap().write().unwrap()
    }

    #[test]
    fn nothing_is_written_before_it_is_asked_for_and_the_same_machines_need_nothing_new() {
        let root = tempfile::tempdir().unwrap();
        let (_, new) = prepare_for(root.path(), "10.0.0.1 .2", false).unwrap();
        assert!(!root.path().join("inventory").exists());
        assert_eq!(new.unwrap().write().unwrap(), None);
        assert_eq!(
            fs::read_dir(root.path().join("inventory")).unwrap().count(),
            1,
            "no temporary file is left"
        );
        assert!(prepare_for(root.path(), "10.0.0.2 10.0.0.1", false).unwrap().1.is_none());
    }

    #[test]
    fn an_inventory_with_other_machines_is_kept() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "10.0.0.1 alpha:2222", false);
        let before = fs::read_to_string(root.path().join("inventory/hosts.ini")).unwrap();
        let error = prepare_for(root.path(), "10.0.0.1", false).unwrap_err();
        assert!(
            error.message.contains("has other machines: node1 (10.0.0.1), alpha (alpha:2222)"),
            "{error:?}"
        );
        assert!(error.hints.iter().any(|hint| hint.contains("--new-inventory")));
        let kept = write(root.path(), "10.0.0.1", true).unwrap();
        assert_eq!(fs::read_to_string(kept).unwrap(), before);
        assert_ne!(fs::read_to_string(root.path().join("inventory/hosts.ini")).unwrap(), before);
        assert!(write(root.path(), "10.0.0.3", true).unwrap().ends_with("hosts.ini.~2~"));
    }
}
