//! From which configuration each folder was rendered: `.muster/netboot.json` beside the inventory. By it the commands know their
//! folder, and see that a configuration was changed since.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use muster_app::Project;
use muster_artifacts::Sha256;
use muster_files::write_whole;
use muster_netboot::Config;
use serde::{Deserialize, Serialize};

use super::RenderArgs;
use crate::environment::shown;
use crate::error::CommandError;

/// What a folder was rendered from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    /// The configuration.
    pub(super) config: PathBuf,
    /// The folder of its local files, where that was named.
    pub(super) files_dir: Option<PathBuf>,
    /// The limit to render all these machines with again.
    pub(super) limit: Option<String>,
    /// The machines, each with the digest of what all of them got of the configuration when it was rendered last.
    pub(super) machines: BTreeMap<String, String>,
}

type Folders = BTreeMap<PathBuf, Made>;

fn path(project: &Project) -> PathBuf {
    project.inventory_dir.join(".muster/netboot.json")
}

/// The digest of what all machines get of a configuration.
pub(super) fn digest(config: &Config) -> String {
    Sha256::of(config.common().as_bytes()).to_string()
}

fn read(project: &Project) -> Result<Folders, CommandError> {
    let path = path(project);
    let failed = |error: &dyn std::fmt::Display| {
        CommandError::failed(format!("{}: {error}", shown(&path)))
            .hint("remove it, and render again: it only says what was rendered")
    };
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Folders::new()),
        Err(error) => Err(failed(&error)),
        Ok(text) => serde_json::from_str(&text).map_err(|error| failed(&error)),
    }
}

/// Notes from what a folder was just rendered, and for which machines. A folder that is no more is forgotten.
pub(super) fn note<'a>(
    project: &Project,
    args: &RenderArgs,
    config: &Config,
    machines: impl Iterator<Item = &'a str>,
) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| CommandError::failed(format!("{}: {error}", shown(&path(project))));
    let absolute = |path: &Path| std::path::absolute(path).map_err(failed);
    let digest = digest(config);
    let mut made = Made {
        config: absolute(&args.config)?,
        files_dir: args.files_dir.as_deref().map(absolute).transpose()?,
        limit: args.limit.clone(),
        machines: machines.map(|name| (name.to_owned(), digest.clone())).collect(),
    };
    let before = read(project)?;
    let mut folders = before.clone();
    folders.retain(|folder, _| folder.is_dir());
    let folder = args.output.canonicalize().map_err(failed)?;
    // Some of its machines were rendered anew, and the others are what they were.
    if let Some(last) = folders.remove(&folder).filter(|_| args.limit.is_some())
        && last.machines.keys().any(|name| !made.machines.contains_key(name))
    {
        made.limit = last.limit;
        made.machines = last.machines.into_iter().chain(made.machines).collect();
    }
    folders.insert(folder, made);
    if folders == before {
        return Ok(());
    }
    let path = path(project);
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let text = serde_json::to_string_pretty(&folders).map_err(|error| failed(error.into()))? + "\n";
    write_whole(&path, Some(0o600), &mut text.as_bytes()).map_err(failed)
}

/// The folder that is meant: the one that is named, else the only one that was rendered; with what it was rendered from.
pub(super) fn find(project: &Project, named: Option<&Path>) -> Result<(PathBuf, Made), CommandError> {
    let mut folders = read(project)?;
    let render = project.command(&["muster", "netboot", "render", "CONFIG", "-o", "DIR"], 3);
    if let Some(named) = named {
        let found = named.canonicalize().ok().and_then(|folder| folders.remove_entry(&folder));
        return found.ok_or_else(|| {
            CommandError::failed(format!("{} was not rendered for this project", shown(named))).hint(render)
        });
    }
    folders.retain(|folder, _| folder.is_dir());
    let all: Vec<String> = folders.keys().map(|folder| shown(folder)).collect();
    match (folders.pop_first(), all.len()) {
        (Some(found), 1) => Ok(found),
        (None, _) => Err(CommandError::failed("nothing was rendered for this project yet").hint(render)),
        _ => Err(CommandError::usage(format!("several folders were rendered: {}", all.join(", ")))
            .hint("say which one: --folder DIR")),
    }
}

/// A file beside a folder: `www` has `www.boots.jsonl`.
pub(super) fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
