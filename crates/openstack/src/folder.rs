//! `clusters/NAME`: the declaration of a cluster, its identity, and the inventory that is made of it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use muster_files::write_whole;
use muster_inventory::closest;
use serde::Deserialize;

use crate::clouds::Surroundings;
use crate::declaration::{Declaration, NAME_FORM, is_name};
use crate::identity::{Identity, Place};
use crate::mistake::Mistakes;

/// The folder with one folder for each cluster.
const CLUSTERS: &str = "clusters";
const DECLARATION: &str = "cluster.yml";
const IDENTITY: &str = "identity.yml";
const INVENTORY: &str = "inventory/hosts.yml";

/// The file of the identity.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    name: String,
    id: String,
    auth_url: String,
    project: String,
    region: Option<String>,
}

/// What is wrong with a cluster's folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no such cluster, or it may not be called so.
    #[error("{0}")]
    NoCluster(String),
    /// The declaration has mistakes.
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    /// The identity is of another cluster, another project, or cannot be read.
    #[error("{message}")]
    Identity {
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// Another run works on the cluster.
    #[error("another muster works on the machines of this cluster ({0} is locked)")]
    Locked(String),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// A cluster's folder.
#[derive(Debug)]
pub struct ClusterFolder {
    name: String,
    path: PathBuf,
    shown: String,
}

impl ClusterFolder {
    /// Finds the folder of a cluster: in the current folder, or in one above it.
    ///
    /// # Errors
    /// There is none.
    pub fn find(name: &str, here: &Path) -> Result<Self, FolderError> {
        if !is_name(name) {
            return Err(FolderError::NoCluster(format!("{name:?} is no name of a cluster; {NAME_FORM}")));
        }
        let mut above = here.ancestors().map(|folder| folder.join(CLUSTERS));
        if let Some(path) =
            above.find(|folder| folder.join(name).join(DECLARATION).is_file()).map(|folder| folder.join(name))
        {
            let shown = path.strip_prefix(here).unwrap_or(&path).display().to_string();
            return Ok(Self { name: name.to_owned(), path, shown });
        }
        let mut message =
            format!("there is no {CLUSTERS}/{name}/{DECLARATION} in {} or above it", here.display());
        let others = names(here);
        match closest(name, others.iter().map(String::as_str)) {
            Some(known) => message.push_str(&format!("; did you mean {known}?")),
            None if !others.is_empty() => message.push_str(&format!("; there are {}", others.join(", "))),
            None => {}
        }
        Err(FolderError::NoCluster(message))
    }

    /// What the cluster is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file of the folder, as a user would type it.
    fn shown(&self, file: &str) -> String {
        format!("{}/{file}", self.shown)
    }

    /// The folder of the inventory, as a user would type it.
    pub fn inventory_shown(&self) -> String {
        self.shown("inventory")
    }

    /// Keeps others from working on the cluster, until what is returned is dropped, or the process ends however it ends.
    ///
    /// # Errors
    /// Somebody else works on it.
    pub fn lock(&self) -> Result<File, FolderError> {
        let file = File::open(&self.path)
            .map_err(|source| FolderError::File { path: self.shown.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(FolderError::Locked(self.shown.clone())),
            Err(TryLockError::Error(source)) => Err(FolderError::File { path: self.shown.clone(), source }),
        }
    }

    /// Reads the declaration. Files that it names are beside it.
    ///
    /// # Errors
    /// It has mistakes, or cannot be read.
    pub fn declaration(&self, surroundings: &Surroundings) -> Result<Declaration, FolderError> {
        let path = self.path.join(DECLARATION);
        let shown = self.shown(DECLARATION);
        let text =
            fs::read_to_string(&path).map_err(|source| FolderError::File { path: shown.clone(), source })?;
        let file = |named: &str| {
            let path = surroundings.path(named, &self.path);
            let content = fs::read(&path);
            (path, content)
        };
        Ok(Declaration::read(&shown, &text, &file)?)
    }

    /// The cluster's identity, if it has one. Its machines are in no other project than `place`.
    ///
    /// # Errors
    /// It cannot be read, is of another cluster, or of a cluster in another project.
    pub fn identity(&self, place: &Place) -> Result<Option<Identity>, FolderError> {
        let shown = self.shown(IDENTITY);
        let text = match fs::read_to_string(self.path.join(IDENTITY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| FolderError::File { path: shown.clone(), source })?,
        };
        let refused = |message: String, remedy: String| FolderError::Identity { message, remedy };
        let kept: Kept = serde_saphyr::from_str(&text).map_err(|error| {
            let why = error.without_snippet().to_string();
            refused(
                format!("{shown} cannot be read: {}", why.lines().next().unwrap_or_default()),
                "put it back from a backup: without it the cluster's machines are not found".into(),
            )
        })?;
        let Kept { name, id, auth_url, project, region } = kept;
        let identity = Identity { name, id, place: Place { auth_url, region, project } };
        if identity.name != self.name {
            return Err(refused(
                format!("{shown} is of the cluster {}, and this one is called {}", identity.name, self.name),
                format!("if the folder was copied, this is a new cluster: rm {shown}"),
            ));
        }
        if identity.place != *place {
            let told = |place: &Place| {
                let region =
                    place.region.as_deref().map(|region| format!(" in {region}")).unwrap_or_default();
                format!("the project {}{region} at {}", place.project, place.auth_url)
            };
            return Err(refused(
                format!(
                    "the machines of {} are in {}; this login is for {}",
                    self.name,
                    told(&identity.place),
                    told(place)
                ),
                format!("log in there: cloud: in {}, or OS_CLOUD", self.shown(DECLARATION)),
            ));
        }
        Ok(Some(identity))
    }

    /// Keeps a new identity.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, identity: &Identity) -> Result<(), FolderError> {
        let Identity { name, id, place } = identity;
        let mut text = format!(
            "# Written by muster: what the machines of this cluster are found by. Keep it with {DECLARATION}; whoever has both can\n\
             # change and delete the machines. It is no secret.\n\
             name: {name}\nid: \"{id}\"\nauth_url: {}\nproject: \"{}\"\n",
            quoted(&place.auth_url),
            place.project
        );
        if let Some(region) = &place.region {
            text.push_str(&format!("region: {}\n", quoted(region)));
        }
        self.write(IDENTITY, &text)
    }

    /// Writes the inventory; returns whether it was another one before.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_inventory(&self, text: &str) -> Result<bool, FolderError> {
        let path = self.path.join(INVENTORY);
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(false);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|source| FolderError::File { path: self.inventory_shown(), source })?;
        }
        self.write(INVENTORY, text)?;
        Ok(true)
    }

    /// Removes the inventory of machines that are gone.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove_inventory(&self) -> Result<(), FolderError> {
        match fs::remove_file(self.path.join(INVENTORY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| FolderError::File { path: self.shown(INVENTORY), source }),
        }
    }

    fn write(&self, file: &str, text: &str) -> Result<(), FolderError> {
        write_whole(&self.path.join(file), None, &mut text.as_bytes())
            .map_err(|source| FolderError::File { path: self.shown(file), source })
    }
}

/// A text as YAML has it between double quotes, which is also JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The clusters that are declared in this folder or in one above it.
fn names(here: &Path) -> Vec<String> {
    let entries =
        here.ancestors().filter_map(|folder| fs::read_dir(folder.join(CLUSTERS)).ok()).flatten().flatten();
    let declared = entries.filter(|entry| entry.path().join(DECLARATION).is_file());
    let mut names: Vec<String> =
        declared.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(project: &str) -> Place {
        Place { auth_url: "http://cloud:5000/v3".into(), region: Some("One".into()), project: project.into() }
    }

    fn folder(root: &Path, name: &str) -> ClusterFolder {
        fs::create_dir_all(root.join(CLUSTERS).join(name)).unwrap();
        fs::write(root.join(CLUSTERS).join(name).join(DECLARATION), "").unwrap();
        ClusterFolder::find(name, root).unwrap()
    }

    #[test]
    fn an_identity_is_kept_and_is_of_one_cluster_of_one_project() {
        let root = tempfile::tempdir().unwrap();
        let shop = folder(root.path(), "shop");
        assert_eq!(shop.identity(&place("1")).unwrap(), None);
        let identity = Identity::new("shop", place("1"));
        shop.keep(&identity).unwrap();
        assert_eq!(shop.identity(&place("1")).unwrap().as_ref(), Some(&identity));
        assert_ne!(identity.mark(), Identity::new("shop", place("1")).mark(), "it is random");
        let other = shop.identity(&place("2")).unwrap_err().to_string();
        assert_eq!(
            other,
            "the machines of shop are in the project 1 in One at http://cloud:5000/v3; this login is for the project 2 in One at \
             http://cloud:5000/v3"
        );
        let copy = folder(root.path(), "copy");
        fs::copy(shop.path.join(IDENTITY), copy.path.join(IDENTITY)).unwrap();
        let copied = copy.identity(&place("1")).unwrap_err().to_string();
        assert_eq!(copied, "clusters/copy/identity.yml is of the cluster shop, and this one is called copy");
        fs::write(copy.path.join(IDENTITY), "name: copy\n").unwrap();
        assert!(copy.identity(&place("1")).unwrap_err().to_string().contains("cannot be read: "));
    }

    #[test]
    fn one_run_at_a_time_works_on_a_cluster() {
        let root = tempfile::tempdir().unwrap();
        let shop = folder(root.path(), "shop");
        let lock = shop.lock().unwrap();
        let second = ClusterFolder::find("shop", &root.path().join(CLUSTERS)).unwrap();
        assert!(matches!(second.lock(), Err(FolderError::Locked(_))));
        drop(lock);
        second.lock().unwrap();
    }

    #[test]
    fn a_cluster_is_found_from_below_and_one_that_is_not_there_is_told() {
        let root = tempfile::tempdir().unwrap();
        folder(root.path(), "shop");
        let wrong = |name: &str| ClusterFolder::find(name, root.path()).unwrap_err().to_string();
        assert!(wrong("shpo").ends_with("; did you mean shop?"), "{}", wrong("shpo"));
        assert!(wrong("laboratory").ends_with("; there are shop"), "{}", wrong("laboratory"));
        assert!(wrong("../shop").contains("is no name of a cluster"), "{}", wrong("../shop"));
        ClusterFolder::find("shop", &root.path().join(CLUSTERS).join("shop")).unwrap();
    }
}
