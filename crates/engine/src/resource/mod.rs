//! Resources: what a role wants to be true on a machine.
//!
//! A resource is pure. It says what to look at ([`Resource::probe`]) and, from what was seen, what differs and which
//! commands mend it ([`Resource::plan`]). Looking and mending are done by [`crate::step`], for all resources of a step
//! at once. So `--check` and `--diff` cannot show anything else than what would be done. Most can be taken away again in the
//! same manner ([`Removable`]).

mod access;
mod account;
mod applied;
mod artifact;
mod command;
mod dir;
mod file;
mod line;
mod link;
mod local_file;
mod package;
mod removal;
#[cfg(test)]
mod replace_tests;
mod service;
mod sysctl;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use account::{Group, User, group, user};
pub use applied::Applied;
pub use artifact::{ArchiveMembers, Artifact, Binary, Uninstalled, archive, binary, uninstalled};
pub use command::{Command, command, removal};
pub use dir::{Dir, dir};
pub use file::{File, file, unified};
pub use line::{Line, line};
pub use link::{Link, link};
pub use local_file::{LocalFile, local_file};
pub use package::{Package, Proxy, package};
pub use removal::{Removable, Resources};
pub use service::{Service, service, timer};
pub use sysctl::{Sysctl, sysctl};

pub(crate) use file::sha256 as sha256_hex;

use crate::event::Change;
use crate::script::Script;
use crate::transport::Input;
pub(crate) use access::{Access, with_access};
pub(crate) use removal::Absent;

/// Something a role wants to be true on a machine.
pub trait Resource: Send + Sync {
    /// What it is, for the screen: its kind and its name.
    fn label(&self) -> String;

    /// What to look at. Looking never changes the machine.
    fn probe(&self) -> Probe;

    /// What differs between what was seen and what is wanted, and how to mend it. An error means that this machine
    /// cannot be brought there, in words for the user.
    fn plan(&self, seen: &Seen) -> Result<Plan, String>;

    /// What is wanted, as text: two resources with the same text want the same. Services are restarted when the
    /// fingerprint of their configuration is not the one they were started with. Never holds a secret in the clear
    /// (the step hashes it).
    fn desired(&self) -> String;

    /// Whether mending it takes minutes. Such commands go on when the connection is lost (see `Step::detached`).
    fn takes_long(&self) -> bool {
        false
    }
}

/// What a resource looks at.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Files, directories and links whose state is wanted.
    pub paths: Vec<PathProbe>,
    /// A read-only snippet, whose status and standard output are wanted.
    pub script: Option<Script>,
}

/// A path to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathProbe {
    /// An absolute path on the machine.
    pub path: String,
    /// Whether the sha256 of a regular file's content is wanted.
    pub hash: bool,
    /// Whether the content of a regular file is wanted, for a diff or to edit it.
    pub content: Content,
}

/// Whether a file's content is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It is not.
    No,
    /// It is, with its sha256.
    Yes,
    /// The sha256 is, and the content where the sha256, in hex, is another one.
    Unless(String),
}

/// What was seen for one resource.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub(crate) paths: Arc<BTreeMap<String, PathState>>,
    pub(crate) answer: Option<Answer>,
}

/// The status and standard output of a resource's probe snippet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The exit status.
    pub status: i32,
    /// The standard output.
    pub output: String,
}

/// The state of a path that exists. Modes are octal numbers without the file type, as `stat -c %a` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathState {
    /// What it is.
    pub kind: PathKind,
    /// The permission bits.
    pub mode: u32,
    /// The owner's name.
    pub owner: String,
    /// The group's name.
    pub group: String,
    /// The size in bytes.
    pub size: u64,
    /// When the content was last changed, in seconds since 1970, and the inode: together with the size they tell
    /// whether a big file was touched since it was hashed.
    pub mtime: i64,
    /// The number of the inode.
    pub inode: u64,
    /// The sha256 of the content in hex, where it was asked for.
    pub sha256: Option<String>,
    /// The content, where it was asked for.
    pub content: Option<Vec<u8>>,
    /// Where a symbolic link points.
    pub target: Option<String>,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link, wherever it points.
    Link,
    /// A socket, a device, ...
    Other,
}

impl Seen {
    /// The state of a path, `None` when nothing is there.
    pub fn path(&self, path: &str) -> Option<&PathState> {
        self.paths.get(path)
    }

    /// The answer of the resource's own snippet. Empty when it has none.
    pub fn answer(&self) -> Answer {
        self.answer.clone().unwrap_or_default()
    }
}

/// What differs, and how to mend it. No changes: nothing to do.
#[derive(Default)]
pub struct Plan {
    /// What differs.
    pub changes: Vec<Change>,
    /// The commands that mend it.
    pub script: Option<Script>,
    /// Files to send before the commands run.
    pub uploads: Vec<Upload>,
}

/// A file to send before the commands of the plan run.
pub struct Upload {
    /// What it is, for the screen.
    pub name: String,
    /// What it holds, and so where it arrives.
    pub bytes: Bytes,
    /// How many bytes; for [`Bytes::Named`] about how many.
    pub size: u64,
    /// Opens the bytes from one on: not the first one when a broken upload goes on.
    pub open: Arc<dyn Fn(u64) -> std::io::Result<Input> + Send + Sync>,
}

/// What an upload holds.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// Bytes with this sha256, in hex.
    Sha256(String),
    /// Bytes that are put together while they are sent. Uploads of the same name hold the same; they are read once a run
    /// for their sha256.
    Named(String),
}

impl Bytes {
    /// Where it is on the machine when all of it has arrived and its sha256 was right. What is there is not sent again.
    pub fn path(&self) -> String {
        match self {
            Self::Sha256(sha256) => format!("{INCOMING}/{sha256}"),
            Self::Named(name) => format!("{INCOMING}/{}", sha256_hex(name.as_bytes())),
        }
    }
}

/// Where uploads arrive on a machine.
pub const INCOMING: &str = "/var/lib/muster/incoming";

/// Where a machine remembers what a service was last started with, what a program was when it was installed, which packages
/// were installed, and what kernel parameters were before.
pub const STAMPS: &str = "/var/lib/muster/stamps";

impl Probe {
    /// Looks at one path.
    pub fn path(path: &str) -> Self {
        Self {
            paths: vec![PathProbe { path: path.to_owned(), hash: false, content: Content::No }],
            script: None,
        }
    }

    /// Runs a read-only snippet.
    pub fn script(script: Script) -> Self {
        Self { paths: Vec::new(), script: Some(script) }
    }
}

impl Plan {
    /// Nothing differs.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// One thing differs, and this mends it.
    pub fn change(resource: &dyn Resource, what: impl Into<String>, script: Script) -> Self {
        let change = Change { resource: resource.label(), what: what.into(), diff: None, momentary: false };
        Self { changes: vec![change], script: Some(script), uploads: Vec::new() }
    }
}
