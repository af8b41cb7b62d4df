//! `muster kubectl`: kubectl for the cluster of this project, wherever in it one is.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use muster_app::{Project, bundle_dir};
use muster_artifacts::{Arch, Bundle};
use muster_files::write_whole;
use muster_roles::kubeconfig_for_others;

use crate::api_server;
use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::machines::{Machines, run_program};
use crate::output::print;

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
    let config = artifacts.join("admin.conf");
    if !config.is_file() {
        fetch_config(&config, &project, &inventory, environment)?;
    }
    let kubectl = find_kubectl(&artifacts, &project, environment)?;
    let config = api_server::reached(&config, &project, &inventory, environment)?;
    let mut command = Command::new(&kubectl);
    command.args(&args.arguments).env("KUBECONFIG", &config);
    let error = command.exec();
    Err(CommandError::failed(format!("cannot run {}: {error}", kubectl.display())))
}

/// Brings admin.conf from the first control plane that answers.
fn fetch_config(
    config: &Path,
    project: &Project,
    inventory: &InventoryArgs,
    environment: &Environment,
) -> Result<(), CommandError> {
    let machines =
        Machines::choose("kube_control_plane", inventory, &ConnectionArgs::default(), environment)?;
    print::note(&format!("fetching admin.conf from {}", machines.hosts.join(" or ")));
    let answers = machines
        .each(environment, |ssh| async move { run_program(ssh, FETCH, Duration::from_secs(60)).await })?;
    let mut reasons = Vec::new();
    for (host, answer) in answers {
        match answer {
            Ok(exit) if exit.status == 0 => {
                let access =
                    machines.world.vars.host(&host).ok().and_then(|vars| vars.get("access_ip").ok()?);
                let text = String::from_utf8_lossy(&exit.stdout);
                let text = fetched(&text, access.and_then(|access| access.as_str().map(str::to_owned)));
                return write(config, 0o600, &mut text.as_bytes());
            }
            Ok(exit) => reasons.push(format!("{host}: {}", String::from_utf8_lossy(&exit.stderr).trim())),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(CommandError::failed(format!(
        "no control plane has an admin.conf to use:\n  {}",
        reasons.join("\n  ")
    ))
    .hint(format!(
        "switch a control plane on; or set the cluster up: {}",
        project.command(&["setup-cluster"], 1)
    )))
}

/// Prints where the control plane's own API server is, and admin.conf.
const FETCH: &str = "while read -r key value; do
  [ \"$key\" != server: ] || echo \"$value\"
done </etc/kubernetes/controller-manager.conf
cat /etc/kubernetes/admin.conf";

/// What [`FETCH`] has printed, as a kubeconfig that leads to the control plane from here: at its `access_ip`, where it has one.
fn fetched(printed: &str, access: Option<String>) -> String {
    let (own, config) = printed.split_once('\n').unwrap_or_default();
    let port = own.rsplit_once(':').map_or("6443", |(_, port)| port);
    let url = access.map_or_else(|| own.to_owned(), |access| format!("https://{access}:{port}"));
    kubeconfig_for_others(config, &url)
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

/// Writes a file, and the folder that it is in.
fn write(path: &Path, mode: u32, content: &mut dyn Read) -> Result<(), CommandError> {
    let failed =
        |error: std::io::Error| CommandError::failed(format!("cannot write {}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    write_whole(path, Some(mode), content).map_err(failed)
}
