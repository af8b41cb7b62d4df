//! Whose the folder of an inventory is: what runs bring back to it (the administrator's kubeconfig, snapshots, students' files) is of
//! one cluster, and another inventory in the same folder may be of another one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use muster_engine::prelude::Problem;
use muster_files::write_whole;

use crate::project::Project;
use crate::world::World;

/// Where it is noted, in the folder.
const NOTE: &str = ".muster/cluster";

/// The words that lines of the note begin with.
const INVENTORY: &str = "inventory ";
const ADDRESS: &str = "address ";

/// What identifies a cluster on this side.
#[derive(Debug, Default, PartialEq, Eq)]
struct Owner {
    /// [`Project::identity`] of the inventory that was used last.
    inventory: Vec<String>,
    /// At which its control planes are found.
    addresses: BTreeSet<String>,
}

impl Owner {
    fn noted(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join(NOTE)).ok()?;
        let all = |word: &'static str| {
            text.lines().filter_map(move |line| Some(line.strip_prefix(word)?.to_owned()))
        };
        Some(Self { inventory: all(INVENTORY).collect(), addresses: all(ADDRESS).collect() })
    }

    fn of(world: &World) -> Self {
        let planes = world.inventory.group("kube_control_plane").into_iter();
        let addresses = planes.flat_map(|plane| addresses(world, plane)).collect();
        Self { inventory: world.project.identity(), addresses }
    }

    /// Whether it is surely another cluster: the inventories are two that are both there, and have no control plane in common.
    fn differs_from(&self, other: &Self) -> bool {
        let is_there = |inventory: &String| Path::new(inventory).exists();
        self.inventory != other.inventory
            && self.inventory.iter().all(is_there)
            && !self.addresses.is_empty()
            && !other.addresses.is_empty()
            && self.addresses.is_disjoint(&other.addresses)
    }
}

/// What a control plane is reached at, as the inventory has it; its name where nothing else is written.
fn addresses(world: &World, plane: &str) -> Vec<String> {
    let written = |name: &str| {
        let value = world.vars.host(plane).ok()?.get(name).ok()??;
        value.as_str().map(str::to_owned)
    };
    let all: Vec<String> =
        ["ansible_host", "ansible_ssh_host", "ip", "access_ip"].into_iter().filter_map(written).collect();
    if all.is_empty() { vec![plane.to_owned()] } else { all }
}

impl Project {
    /// Whether the folder may be of another cluster than this inventory's, so that it has to be read to know. An inventory that was
    /// used there last, or that is the only one, is quickly told.
    pub fn may_be_anothers(&self) -> bool {
        Owner::noted(&self.inventory_dir).is_some_and(|owner| owner.inventory != self.identity())
    }
}

impl World {
    /// That the folder of this inventory holds what was kept of another cluster.
    pub fn folder_of_another(&self) -> Option<Problem> {
        let folder = &self.project.inventory_dir;
        let owner = Owner::noted(folder).filter(|owner| owner.differs_from(&Owner::of(self)))?;
        let theirs: Vec<String> =
            owner.inventory.iter().map(|path| self.project.shown(Path::new(path))).collect();
        Some(Problem {
            check: "inventory".into(),
            found: format!(
                "{} holds the kubeconfig, the snapshots and the students' files of another cluster, that of {}",
                self.project.shown(folder),
                theirs.join(", ")
            ),
            needed: "a folder for the inventory of each cluster".into(),
            remedy: format!(
                "put this inventory into a folder of its own, with the variables beside it; if both are of the same cluster, write the same \
                 address (ip) of a control plane into both, and: rm {}",
                self.project.shown(&folder.join(NOTE))
            ),
        })
    }

    /// Whether the folder has a kubeconfig from before there was such a note, and that may lead elsewhere.
    pub(crate) fn has_unknown_kubeconfig(&self) -> bool {
        let folder = &self.project.inventory_dir;
        let leads_here = |config: String| leads_to(&config, &Owner::of(self).addresses);
        Owner::noted(folder).is_none()
            && fs::read_to_string(folder.join("artifacts/admin.conf")).is_ok_and(|config| !leads_here(config))
    }

    /// Notes that the folder is of this inventory's cluster.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn own_folder(&self) -> io::Result<()> {
        let folder = &self.project.inventory_dir;
        let (noted, owner) = (Owner::noted(folder), Owner::of(self));
        if noted.as_ref() == Some(&owner) || owner.addresses.is_empty() {
            return Ok(());
        }
        let lines = owner.inventory.iter().map(|path| format!("{INVENTORY}{path}\n"));
        let addresses = owner.addresses.iter().map(|address| format!("{ADDRESS}{address}\n"));
        let text: String = lines.chain(addresses).collect();
        let note = folder.join(NOTE);
        if let Some(parent) = note.parent() {
            fs::create_dir_all(parent)?;
        }
        write_whole(&note, Some(0o600), &mut text.as_bytes())
    }
}

/// Whether the server in a kubeconfig is at one of these addresses.
fn leads_to(config: &str, addresses: &BTreeSet<String>) -> bool {
    let server = config.lines().find_map(|line| line.trim().strip_prefix("server: https://"));
    server.and_then(|server| server.rsplit_once(':')).is_some_and(|(host, _)| addresses.contains(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(inventory: &str, addresses: &[&str]) -> Owner {
        Owner {
            inventory: vec![inventory.into()],
            addresses: addresses.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn another_cluster_is_one_whose_inventory_is_there_and_has_no_control_plane_in_common() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("a.ini").display().to_string();
        fs::write(&there, "").unwrap();
        let ours = owner("/b.ini", &["192.0.2.4", "192.0.2.5"]);
        for (theirs, differs) in [
            (owner(&there, &["192.0.2.1"]), true),
            (owner(&there, &["192.0.2.1", "192.0.2.5"]), false),
            (owner("/b.ini", &["192.0.2.1"]), false),
            (owner("/not/there.ini", &["192.0.2.1"]), false),
            (owner(&there, &[]), false),
        ] {
            assert_eq!(theirs.differs_from(&ours), differs, "{theirs:?}");
        }
    }

    #[test]
    fn a_kubeconfig_leads_to_one_of_the_addresses() {
        let config = |server: &str| format!("clusters:\n- cluster:\n    server: {server}\n");
        let ours = owner("/b.ini", &["192.0.2.4"]).addresses;
        assert!(leads_to(&config("https://192.0.2.4:6443"), &ours));
        assert!(!leads_to(&config("https://192.0.2.1:6443"), &ours));
        assert!(!leads_to("", &ours));
    }
}
