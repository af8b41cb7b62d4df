//! Files that a program of the control plane reads when it starts, beside its arguments.

use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use serde_json::Value;

use super::arguments::Volume;

/// The API server, as its pod is called.
pub(super) const API_SERVER: &str = "kube-apiserver";

/// The scheduler, as its pod is called.
pub(super) const SCHEDULER: &str = "kube-scheduler";

/// A file that an argument names. Its name has a digest of what it says: so a program starts anew when it says something else, and
/// the manifest of before names what was there before.
#[derive(Debug)]
pub(super) struct ComponentFile {
    component: &'static str,
    argument: Option<&'static str>,
    path: String,
    content: String,
}

impl ComponentFile {
    /// A configuration. JSON is YAML.
    pub(super) fn new(
        component: &'static str,
        argument: &'static str,
        name: &'static str,
        value: &Value,
    ) -> Self {
        Self::text(component, argument, &format!("{name}.json"), format!("{value:#}\n"))
    }

    /// A text. The name of the file has an ending.
    pub(super) fn text(component: &'static str, argument: &'static str, name: &str, content: String) -> Self {
        let digest = Sha256::of(content.as_bytes()).to_string();
        let (stem, ending) = name.split_once('.').unwrap_or((name, "txt"));
        let path = format!("{}/{stem}-{}.{ending}", folder_of(component), &digest[..12]);
        Self { component, argument: Some(argument), path, content }
    }

    /// Which program reads it.
    pub(super) fn is_of(&self, component: &str) -> bool {
        self.component == component
    }

    /// One that no argument names, but another file.
    pub(super) fn without_argument(self) -> Self {
        Self { argument: None, ..self }
    }

    /// The argument that names it.
    pub(super) fn argument(&self) -> Option<&'static str> {
        self.argument
    }

    /// Where it is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    #[cfg(test)]
    pub(super) fn content(&self) -> &str {
        &self.content
    }

    /// The file, readable by root alone: some of them hold credentials.
    pub(super) fn file(&self) -> File {
        file(self.path.as_str()).secret(self.content.as_str())
    }
}

/// Where a program's files are, on the machine and for the program.
pub(super) fn folder_of(component: &str) -> String {
    format!("/etc/kubernetes/{component}")
}

/// The folder with a program's files, as the program sees it.
pub(super) fn volume(component: &str) -> Volume {
    Volume {
        name: "muster-files".to_owned(),
        host_path: folder_of(component),
        mount_path: folder_of(component),
        read_only: true,
        path_type: Some("DirectoryOrCreate".to_owned()),
    }
}
