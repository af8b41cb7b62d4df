//! `clusters/NAME`: the declaration of a cluster, its identity, and the inventory that is made of it.

use std::collections::BTreeMap;
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
const IMAGES: &str = "images.yml";
const INVENTORY: &str = "inventory/hosts.yml";
/// Beside what runs leave, which is not committed.
const NEWCOMERS: &str = "inventory/.muster/newcomers";
const APPLIED: &str = "inventory/.muster/applied";
/// What is of no use without the cluster.
const ADMIN: &str = "inventory/artifacts/admin.conf";

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
#[derive(Debug, Clone)]
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
        check_name(name).map_err(FolderError::NoCluster)?;
        if let Some(folder) = Self::with(DECLARATION, name, here) {
            return Ok(folder);
        }
        let mut message =
            format!("there is no {CLUSTERS}/{name}/{DECLARATION} in {} or above it", here.display());
        let others = clusters(here);
        match closest(name, others.iter().map(String::as_str)) {
            Some(known) => message.push_str(&format!("; did you mean {known}?")),
            None if !others.is_empty() => message.push_str(&format!("; there are {}", others.join(", "))),
            None => {}
        }
        Err(FolderError::NoCluster(message))
    }

    /// The folder of a cluster that was made, whether it is still declared or not: it has an inventory.
    pub fn find_made(name: &str, here: &Path) -> Option<Self> {
        check_name(name).ok().and_then(|()| Self::with(INVENTORY, name, here))
    }

    /// The nearest folder of a cluster that has this file.
    fn with(file: &str, name: &str, here: &Path) -> Option<Self> {
        let mut above = here.ancestors().map(|folder| folder.join(CLUSTERS).join(name));
        let path = above.find(|folder| folder.join(file).is_file())?;
        let shown = path.strip_prefix(here).unwrap_or(&path).display().to_string();
        Some(Self { name: name.to_owned(), path, shown })
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

    /// The file of the inventory, as a user would type it.
    pub fn inventory_file(&self) -> String {
        self.shown(INVENTORY)
    }

    /// The declaration, as a user would type it.
    pub fn declaration_shown(&self) -> String {
        self.shown(DECLARATION)
    }

    /// The text of the inventory, as it was written last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn inventory(&self) -> Result<Option<String>, FolderError> {
        self.read(INVENTORY)
    }

    /// The machines that are new, by their names within the cluster: they were made, or taken, and never were part of it since.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn newcomers(&self) -> Result<Vec<String>, FolderError> {
        Ok(self.read(NEWCOMERS)?.unwrap_or_default().lines().map(str::to_owned).collect())
    }

    /// The text of the declaration.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn declaration_text(&self) -> Result<String, FolderError> {
        let text = fs::read_to_string(self.path.join(DECLARATION));
        text.map_err(|source| FolderError::File { path: self.shown(DECLARATION), source })
    }

    /// The mark of the declaration that the cluster was brought to last. It stays when the cluster was deleted.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn applied(&self) -> Result<Option<String>, FolderError> {
        Ok(self.read(APPLIED)?.map(|mark| mark.trim().to_owned()))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_applied(&self, mark: &str) -> Result<(), FolderError> {
        self.write(APPLIED, &format!("{mark}\n"))
    }

    /// What the provider of machines that exist put on them, by their names within the cluster; of those that are not named nobody knows.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn images(&self) -> Result<BTreeMap<String, String>, FolderError> {
        let Some(text) = self.read(IMAGES)? else { return Ok(BTreeMap::new()) };
        serde_saphyr::from_str(&text).map_err(|error| FolderError::File {
            path: self.shown(IMAGES),
            source: io::Error::new(io::ErrorKind::InvalidData, error.without_snippet().to_string()),
        })
    }

    /// Keeps it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_images(&self, images: &BTreeMap<String, String>) -> Result<(), FolderError> {
        if images.is_empty() {
            return self.remove(IMAGES);
        }
        let lines = images.iter().map(|(part, image)| format!("{part}: {}\n", quoted(image)));
        let head =
            "# Written by muster: what the machines of this cluster have got. Keep it with cluster.yml.\n"
                .to_owned();
        self.write(IMAGES, &std::iter::once(head).chain(lines).collect::<String>())
    }

    /// Keeps which machines are new, for a run that goes on after this one was cut off.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_newcomers(&self, parts: &[String]) -> Result<(), FolderError> {
        if parts.is_empty() {
            return self.remove(NEWCOMERS);
        }
        self.write(NEWCOMERS, &parts.iter().map(|part| format!("{part}\n")).collect::<String>())
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
        let text = self.declaration_text()?;
        let file = |named: &str| {
            let path = surroundings.path(named, &self.path);
            let content = fs::read(&path);
            (path, content)
        };
        Ok(Declaration::read(&self.shown(DECLARATION), &text, &file)?)
    }

    /// The cluster's identity, if it has one. Its machines are in no other project than `place`.
    ///
    /// # Errors
    /// It cannot be read, is of another cluster, or of a cluster in another project.
    pub fn identity(&self, place: &Place) -> Result<Option<Identity>, FolderError> {
        let shown = self.shown(IDENTITY);
        let Some(text) = self.read(IDENTITY)? else { return Ok(None) };
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
        if self.read(INVENTORY)?.is_some_and(|there| there == text) {
            return Ok(false);
        }
        self.write(INVENTORY, text)?;
        Ok(true)
    }

    /// Removes the inventory of machines that are gone, and what lets nobody in any more.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove_inventory(&self) -> Result<(), FolderError> {
        [INVENTORY, IMAGES, NEWCOMERS, ADMIN].into_iter().try_for_each(|file| self.remove(file))
    }

    fn read(&self, file: &str) -> Result<Option<String>, FolderError> {
        match fs::read_to_string(self.path.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(|source| FolderError::File { path: self.shown(file), source }),
        }
    }

    fn write(&self, file: &str, text: &str) -> Result<(), FolderError> {
        let path = self.path.join(file);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| write_whole(&path, None, &mut text.as_bytes()))
            .map_err(|source| FolderError::File { path: self.shown(file), source })
    }

    fn remove(&self, file: &str) -> Result<(), FolderError> {
        match fs::remove_file(self.path.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| FolderError::File { path: self.shown(file), source }),
        }
    }
}

/// Whether a cluster may be called so.
///
/// # Errors
/// It may not; with what a name is.
pub fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) { Ok(()) } else { Err(format!("{name:?} is no name of a cluster; {NAME_FORM}")) }
}

/// A text as YAML has it between double quotes, which is also JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The clusters that are declared in this folder or in one above it.
pub fn clusters(here: &Path) -> Vec<String> {
    folders_with(DECLARATION, here)
}

/// The clusters that were made from this folder or one above it, whether they are still declared or not.
pub fn made_clusters(here: &Path) -> Vec<String> {
    folders_with(INVENTORY, here)
}

fn folders_with(file: &str, here: &Path) -> Vec<String> {
    let entries =
        here.ancestors().filter_map(|folder| fs::read_dir(folder.join(CLUSTERS)).ok()).flatten().flatten();
    let declared = entries.filter(|entry| entry.path().join(file).is_file());
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
    fn who_is_new_and_what_machines_have_got_is_kept_until_nobody_is() {
        let root = tempfile::tempdir().unwrap();
        let shop = folder(root.path(), "shop");
        assert_eq!(shop.newcomers().unwrap(), [""; 0]);
        let new = ["cp-1".to_owned(), "worker-2".to_owned()];
        shop.keep_newcomers(&new).unwrap();
        assert_eq!(shop.newcomers().unwrap(), new);
        shop.keep_newcomers(&[]).unwrap();
        assert_eq!(shop.newcomers().unwrap(), [""; 0]);
        let images = BTreeMap::from([("worker-192-0-2-12".to_owned(), "12: \"x\"".to_owned())]);
        shop.keep_images(&images).unwrap();
        assert_eq!(shop.images().unwrap(), images);
        shop.keep_images(&BTreeMap::new()).unwrap();
        assert!(shop.images().unwrap().is_empty() && !shop.path.join(IMAGES).exists());
    }

    #[test]
    fn a_cluster_that_was_made_is_found_without_its_declaration() {
        let root = tempfile::tempdir().unwrap();
        let shop = folder(root.path(), "shop");
        assert!(
            ClusterFolder::find_made("shop", root.path()).is_none() && made_clusters(root.path()).is_empty()
        );
        shop.write_inventory("all:\n").unwrap();
        shop.keep_applied("abc").unwrap();
        fs::remove_file(shop.path.join(DECLARATION)).unwrap();
        assert!(clusters(root.path()).is_empty());
        assert_eq!(made_clusters(root.path()), ["shop"]);
        let found = ClusterFolder::find_made("shop", root.path()).unwrap();
        assert_eq!(found.applied().unwrap().as_deref(), Some("abc"));
        found.remove_inventory().unwrap();
        assert!(ClusterFolder::find_made("shop", root.path()).is_none());
        assert!(ClusterFolder::find_made("../shop", root.path()).is_none());
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
