//! `muster kubectl`: kubectl for the cluster of this project, wherever in it one is.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use muster_app::{Project, bundle_dir};
use muster_artifacts::{Arch, Bundle};

use crate::admin_conf::{self, write};
use crate::api_server;
use crate::args::InventoryArgs;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};

/// Run kubectl on the cluster of this project, from any folder in it
///
/// kubectl and admin.conf are those in artifacts/ beside the inventory. Where there is no kubectl, the one in the bundle is
/// used, or the one in PATH; where there is no admin.conf, it is fetched from a control plane. Where the API server that it names
/// does not answer, that of another control plane is asked.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct KubectlArgs {
    /// Inventory, where it is not in the usual place; in front of kubectl's own arguments
    #[arg(short, long, value_name = "INVENTORY")]
    inventory: Vec<String>,
    /// Arguments of kubectl
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Runs `muster kubectl`: becomes kubectl, so that streams, signals and the exit status are its own.
pub(crate) fn run(args: KubectlArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let inventory = InventoryArgs { inventory: args.inventory, ..InventoryArgs::default() };
    let project = Project::find(&inventory.inventory, environment)?;
    let artifacts = project.inventory_dir.join("artifacts");
    let config = admin_conf::path(&project, &inventory, environment)?;
    let kubectl = find_kubectl(&artifacts, &project, environment)?;
    let config = api_server::reached(&config, &project, &inventory, environment)?;
    let mut command = Command::new(&kubectl);
    command.args(&args.arguments).env("KUBECONFIG", &config);
    let error = command.exec();
    Err(CommandError::failed(format!("cannot run {}: {error}", kubectl.display())))
}

/// kubectl beside the inventory, else that of the bundle, else that in PATH.
fn find_kubectl(
    artifacts: &Path,
    project: &Project,
    environment: &Environment,
) -> Result<PathBuf, CommandError> {
    let beside = artifacts.join("kubectl");
    if beside.is_file() {
        return Ok(beside);
    }
    if let Some(extracted) = kubectl_of_bundle(environment)? {
        return Ok(extracted);
    }
    let folders = environment.get("PATH").unwrap_or_default();
    let in_path =
        std::env::split_paths(folders).map(|folder| folder.join("kubectl")).find(|path| path.is_file());
    in_path.ok_or_else(|| {
        CommandError::failed(format!(
            "there is no kubectl: neither {}, nor one in the bundle, nor in PATH",
            shown(&beside)
        ))
        .hint(format!(
            "set kubectl_localhost=true in the inventory, then: {}",
            project.command(&["setup-cluster", "--tags", "kubeconfig"], 1)
        ))
        .hint("or fetch a bundle: muster bundle fetch")
    })
}

/// The newest kubectl of the bundle, unpacked into the cache once.
fn kubectl_of_bundle(environment: &Environment) -> Result<Option<PathBuf>, CommandError> {
    let (Ok(dir), Some(arch)) = (bundle_dir(None, environment), Arch::host()) else {
        return Ok(None);
    };
    let Ok(bundle) = Bundle::open(dir) else { return Ok(None) };
    let ours = bundle.files().iter().filter(|file| file.name == "kubectl" && file.arch == arch);
    let version = |text: &str| text.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u64>>();
    let Some(newest) = ours.max_by_key(|file| version(&file.version)) else { return Ok(None) };
    // Named by its hash: what is there is what the bundle has.
    let path = environment.cache_dir()?.join("bin").join(format!(
        "kubectl-{}-{:.12}",
        newest.version,
        newest.sha256.to_string()
    ));
    if !path.is_file() {
        write(&path, 0o755, &mut bundle.content(newest)?)?;
    }
    Ok(Some(path))
}
