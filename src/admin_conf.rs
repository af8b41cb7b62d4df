//! The administrator's kubeconfig of a project's cluster, on this computer.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_app::{Project, World};
use muster_files::write_whole;
use muster_roles::certificates::{days_of_kubeconfig, ends_sooner};
use muster_roles::kubeconfig_for_others;

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::CommandError;
use crate::machines::{Machines, run_program};
use crate::output::{CommandLine, print};

/// Where it is: in artifacts/ beside the inventory. Where it is not there, or lets nobody in any more, it is fetched first.
///
/// # Errors
/// No control plane has one, it cannot be written here, or the folder is of another cluster than the inventory.
pub(crate) fn path(
    project: &Project,
    inventory: &InventoryArgs,
    environment: &Environment,
) -> Result<PathBuf, CommandError> {
    let config = project.inventory_dir.join("artifacts/admin.conf");
    if project.may_be_anothers() {
        let frontend = CommandLine::plain(environment);
        let world = World::load(project.clone(), &inventory.into(), environment, &*frontend)?;
        if let Some(problem) = world.folder_of_another() {
            return Err(CommandError::usage(problem.found).hint(problem.remedy));
        }
    }
    if !config.is_file() {
        fetch(&config, project, inventory, environment)?;
    }
    let has_ended = |text: &String| days_of_kubeconfig(text).is_some_and(|left| left < 0);
    if fs::read_to_string(&config).as_ref().is_ok_and(has_ended) {
        print::note(&format!("the certificate in {} has ended", config.display()));
        if let Err(error) = fetch(&config, project, inventory, environment) {
            print::note(&format!("it stays, because no other one was to be had: {}", error.message));
        }
    }
    Ok(config)
}

/// The text of it, as the cluster has it now: another computer may have made the cluster anew, or given it another authority. Where
/// that is so it is said, and the file here is written anew, unless it is only to be looked.
///
/// # Errors
/// As of [`path`], or the file cannot be read.
pub(crate) fn current(
    project: &Project,
    inventory: &InventoryArgs,
    environment: &Environment,
    only_look: bool,
) -> Result<String, CommandError> {
    let config = path(project, inventory, environment)?;
    let here = fs::read_to_string(&config)
        .map_err(|error| CommandError::failed(format!("cannot read {}: {error}", config.display())))?;
    let there = match asked(project, inventory, environment) {
        Ok(there) => there,
        Err(_) => {
            print::note(&format!(
                "no control plane answers, so it is not known whether {} is still the cluster's",
                config.display()
            ));
            return Ok(here);
        }
    };
    let is_the_clusters = authority(&here) == authority(&there);
    if is_the_clusters && !ends_sooner(&here, &there) {
        return Ok(here);
    }
    let file = config.display();
    print::note(&match is_the_clusters {
        true => format!("the cluster has renewed its certificates since {file} was brought"),
        false => format!(
            "{file} is of another cluster than the one that runs: it was made anew since, or has another authority"
        ),
    });
    if !only_look {
        write(&config, 0o600, &mut there.as_bytes())?;
    }
    Ok(there)
}

/// The authority that a kubeconfig trusts, as it is written there.
fn authority(config: &str) -> Option<&str> {
    config.lines().find_map(|line| Some(line.trim().strip_prefix("certificate-authority-data:")?.trim()))
}

/// Brings admin.conf from the first control plane that answers.
fn fetch(
    config: &Path,
    project: &Project,
    inventory: &InventoryArgs,
    environment: &Environment,
) -> Result<(), CommandError> {
    write(config, 0o600, &mut asked(project, inventory, environment)?.as_bytes())
}

/// What the first control plane that answers has, as a kubeconfig for this computer.
fn asked(
    project: &Project,
    inventory: &InventoryArgs,
    environment: &Environment,
) -> Result<String, CommandError> {
    let machines =
        Machines::choose("kube_control_plane", inventory, &ConnectionArgs::default(), environment)?;
    print::note(&format!("asking {} for admin.conf", machines.hosts.join(" or ")));
    let answers = machines
        .each(environment, |ssh| async move { run_program(ssh, FETCH, Duration::from_secs(60)).await })?;
    let mut reasons = Vec::new();
    for (host, answer) in answers {
        match answer {
            Ok(exit) if exit.status == 0 => {
                let access =
                    machines.world.vars.host(&host).ok().and_then(|vars| vars.get("access_ip").ok()?);
                let text = String::from_utf8_lossy(&exit.stdout);
                return Ok(fetched(&text, access.and_then(|access| access.as_str().map(str::to_owned))));
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

/// Writes a file whole, and the folder that it is in.
///
/// # Errors
/// It cannot be written; which it is, is told.
pub(crate) fn write(path: &Path, mode: u32, content: &mut dyn Read) -> Result<(), CommandError> {
    let failed =
        |error: std::io::Error| CommandError::failed(format!("cannot write {}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    write_whole(path, Some(mode), content).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_of_a_kubeconfig_is_found() {
        let config = "clusters:\n- cluster:\n    certificate-authority-data: Q0E=\n    server: https://a:1\n";
        assert_eq!(authority(config), Some("Q0E="));
        assert_eq!(authority("clusters: []\n"), None);
    }
}
