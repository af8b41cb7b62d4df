//! Programs that run on this computer for a cluster (kubectl, helm), and where they are found.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_app::{Project, bundle_dir};
use muster_artifacts::{Arch, Bundle};

use crate::admin_conf;
use crate::api_server;
use crate::args::InventoryArgs;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};

/// Becomes a program that speaks to the cluster of a project, so that streams, signals and the exit status are its own. `remedy` is
/// told where there is no such program.
pub(crate) fn become_program(
    name: &str,
    inventory: Vec<String>,
    arguments: &[OsString],
    environment: &Environment,
    remedy: impl FnOnce(&Project) -> String,
) -> Result<Exit, CommandError> {
    let inventory = InventoryArgs { inventory, ..InventoryArgs::default() };
    let project = Project::find(&inventory.inventory, environment)?;
    let artifacts = project.inventory_dir.join("artifacts");
    let config = admin_conf::path(&project, &inventory, environment)?;
    let Some(program) = find(name, &artifacts, environment)? else {
        let beside = artifacts.join(name);
        return Err(CommandError::failed(format!(
            "there is no {name}: neither {}, nor one in the bundle, nor in PATH",
            shown(&beside)
        ))
        .hint(remedy(&project)));
    };
    let config = api_server::reached(&config, &project, &inventory, environment)?;
    let error = Command::new(&program).args(arguments).env("KUBECONFIG", &config).exec();
    Err(CommandError::failed(format!("cannot run {}: {error}", program.display())))
}

/// The program beside the inventory, else that of the bundle, else that in PATH.
fn find(name: &str, artifacts: &Path, environment: &Environment) -> Result<Option<PathBuf>, CommandError> {
    let beside = artifacts.join(name);
    if beside.is_file() {
        return Ok(Some(beside));
    }
    if let Some(extracted) = of_bundle(name, environment)? {
        return Ok(Some(extracted));
    }
    let folders = environment.get("PATH").unwrap_or_default();
    Ok(std::env::split_paths(folders).map(|folder| folder.join(name)).find(|path| path.is_file()))
}

/// The newest one of the bundle, unpacked into the cache once.
fn of_bundle(name: &str, environment: &Environment) -> Result<Option<PathBuf>, CommandError> {
    let named = environment.get("MUSTER_BUNDLE").map(PathBuf::from);
    let (Ok(dir), Some(arch)) = (bundle_dir(named.as_deref(), environment), Arch::host()) else {
        return Ok(None);
    };
    let Ok(bundle) = Bundle::open(dir) else { return Ok(None) };
    let ours = bundle.files().iter().filter(|file| file.name == name && file.arch == arch);
    let version = |text: &str| text.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u64>>();
    let Some(newest) = ours.max_by_key(|file| version(&file.version)).cloned() else { return Ok(None) };
    let program = bundle.with_programs_in(environment.cache_dir()?.join("bin")).program(&newest);
    program
        .map(Some)
        .map_err(|error| CommandError::from(error).hint("look at the bundle: muster bundle check"))
}
