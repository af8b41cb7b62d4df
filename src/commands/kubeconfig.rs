//! `muster kubeconfig`: the administrator's kubeconfig of this project's cluster, printed or in the user's own.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use muster_app::{INVENTORY_DIR, Project};
use muster_engine::script::quote;

use crate::admin_conf;
use crate::args::InventoryArgs;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::kubeconfig_merge::{Kubeconfig, Refused};
use crate::output::print;

/// Print the administrator's kubeconfig of this project's cluster, or put it into your own
///
/// With --merge, kubectl and all that reads ~/.kube/config know the cluster as a context of its own, which becomes the current one.
/// What else is in that file stays, without its comments. A cluster that was made anew at the same address takes the place of the
/// one before. Whoever can read the file can do everything with the cluster.
#[derive(Debug, Args)]
pub(crate) struct KubeconfigArgs {
    /// Put the cluster into a kubeconfig of yours: the first file that KUBECONFIG names, or ~/.kube/config
    #[arg(long, conflicts_with = "remove")]
    merge: bool,
    /// Take the cluster out of it again
    #[arg(long)]
    remove: bool,
    /// Another file
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// The name of the context [default: that of the inventory's folder, or of the project's where that is inventory/]
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// Say what would be changed, and change nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
}

/// Runs `muster kubeconfig`.
pub(crate) fn run(args: KubeconfigArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.inventory.inventory, environment)?;
    if args.merge || args.remove {
        return change(&args, &project, environment);
    }
    if args.into.is_some() || args.name.is_some() || args.check {
        return Err(CommandError::usage("--into, --name and --check need --merge or --remove"));
    }
    let path = admin_conf::path(&project, &args.inventory, environment)?;
    print::data(&read(&path)?.unwrap_or_default())?;
    Ok(Exit::Done)
}

fn change(args: &KubeconfigArgs, project: &Project, environment: &Environment) -> Result<Exit, CommandError> {
    let name = args.name.clone().or_else(|| name_of(project)).ok_or_else(|| {
        CommandError::usage("the project's folder has no name that the context could have")
            .hint("--name NAME")
    })?;
    let path = args.into.clone().map_or_else(|| own_kubeconfig(environment), Ok)?;
    // Where it is a link, the file that it leads to is changed.
    let path = path.canonicalize().unwrap_or(path);
    let admin = if args.merge {
        let text = admin_conf::current(project, &args.inventory, environment, args.check)?;
        let admin = project.inventory_dir.join("artifacts/admin.conf");
        Some(Kubeconfig::of(&text).map_err(|why| told(why, &admin, &name))?)
    } else {
        None
    };
    let lock = if args.check { None } else { Some(Lock::take(&path)?) };
    let refused = |why| told(why, &path, &name);
    let mut config = Kubeconfig::of(&read(&path)?.unwrap_or_default()).map_err(refused)?;
    let (before, used) = (config.clone(), config.current().map(str::to_owned));
    match &admin {
        Some(admin) => config.put(admin, &name).map_err(refused)?,
        None => config.take_out(&name).map_err(refused)?,
    }
    let file = shown(&path);
    if config == before {
        let has = if args.merge { "has the context" } else { "has no context" };
        print::note(&format!("{file} {has} {name}; nothing was changed"));
        return Ok(Exit::Done);
    }
    let text = config.text().map_err(refused)?;
    if args.check {
        let would = if args.merge { "would be put into" } else { "would be taken out of" };
        print::note(&format!("the context {name} {would} {file}"));
        return Ok(Exit::Done);
    }
    let mode = fs::metadata(&path).map_or(0o600, |before| before.mode() & 0o777);
    admin_conf::write(&path, mode, &mut text.as_bytes())?;
    drop(lock);
    let is = if args.merge { "is in" } else { "is gone from" };
    print::note(&format!("the context {name} {is} {file}"));
    match (used, config.current()) {
        (Some(used), Some(now)) if used != now => {
            print::note(&format!(
                "kubectl uses it from now on; back to the one before: kubectl config use-context {used}"
            ));
        }
        (Some(_), None) => {
            print::note("kubectl uses none now; to choose one: kubectl config use-context NAME")
        }
        _ => {}
    }
    Ok(Exit::Done)
}

/// What people call the cluster: the folder that its inventory is in, or where all inventories are, the project's.
fn name_of(project: &Project) -> Option<String> {
    let folder = project.inventory_dir.canonicalize().unwrap_or_else(|_| project.inventory_dir.clone());
    let folder = if folder.ends_with(INVENTORY_DIR) { folder.parent()?.to_owned() } else { folder };
    Some(folder.file_name()?.to_string_lossy().into_owned())
}

/// The file that `kubectl config` would change.
fn own_kubeconfig(environment: &Environment) -> Result<PathBuf, CommandError> {
    let set = environment.get("KUBECONFIG").unwrap_or_default();
    let first = std::env::split_paths(&set).find(|path| !path.as_os_str().is_empty());
    match first {
        Some(path) => Ok(path),
        None => environment
            .home()
            .map(|home| home.join(".kube/config"))
            .ok_or_else(|| CommandError::usage("there is no home folder").hint("name the file: --into FILE")),
    }
}

fn read(path: &Path) -> Result<Option<String>, CommandError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::failed(format!("cannot read {}: {error}", shown(path)))),
    }
}

fn told(why: Refused, path: &Path, name: &str) -> CommandError {
    match why {
        Refused::NoKubeconfig(why) => {
            CommandError::failed(format!("{} is no kubeconfig that can be changed: {why}", shown(path)))
        }
        Refused::NameTaken(by) => {
            CommandError::failed(format!("{} has {by} under the name {name}", shown(path)))
                .hint(format!("choose another name: --name {name}-2"))
        }
    }
}

/// The lock that kubectl takes, too, while it changes a kubeconfig: a file beside it (client-go, clientcmd).
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self, CommandError> {
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        let failed =
            |error: std::io::Error| CommandError::failed(format!("cannot write {}: {error}", shown(&lock)));
        if let Some(folder) = lock.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(file) => {
                let own = Self(lock.clone());
                // A new file takes the place of the old one, and is whose the lock is: root would lock somebody else out.
                let ours = file.metadata().map_err(failed)?.uid();
                match fs::metadata(path) {
                    Ok(there) if there.uid() != ours => Err(CommandError::failed(format!(
                        "{} is somebody else's (user {}), who could not read it any more",
                        shown(path),
                        there.uid()
                    ))
                    .hint("run this as that user, or name a file of your own: --into FILE")),
                    _ => Ok(own),
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(CommandError::failed(format!(
                "{} is there: kubectl or another muster is changing {}",
                shown(&lock),
                shown(path)
            ))
            .hint(format!(
                "try again; if nothing is, one of them was killed while it did: rm {}",
                quote(&lock.display().to_string())
            ))),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Where it cannot be removed, the next one says so.
        fs::remove_file(&self.0).ok();
    }
}
