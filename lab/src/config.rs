//! Where a lab keeps its things, and how what belongs to it is called.

use std::path::PathBuf;

/// Where a lab keeps its things.
#[derive(Debug, Clone)]
pub struct LabConfig {
    /// Tells labs apart that run side by side: small letters, digits and hyphens.
    pub name: String,
    /// Keeps what is expensive to make again (machine images), for all labs. Survives [`Lab::down`].
    pub cache_dir: PathBuf,
    /// Holds a folder for each lab that is up, with its record, its SSH key, its known hosts, and the disks of virtual
    /// machines.
    pub state_dir: PathBuf,
}

impl LabConfig {
    /// The lab's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.state_dir.join(&self.name)
    }
}

/// The name of what belongs to a lab as a whole and can have but a name, and the beginning of other such names.
pub(crate) fn name_of_lab(lab: &str) -> String {
    format!("muster-lab-{lab}")
}
