//! `muster kubectl`: kubectl for the cluster of this project, wherever in it one is.

use std::ffi::OsString;

use clap::Args;

use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::program_here::become_program;

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

/// Runs `muster kubectl`.
pub(crate) fn run(args: KubectlArgs, environment: &Environment) -> Result<Exit, CommandError> {
    become_program("kubectl", args.inventory, &args.arguments, environment, |project| {
        let bring = project.command(&["setup-cluster", "--tags", "kubeconfig"], 1);
        format!(
            "fetch a bundle: muster bundle fetch; or set kubectl_localhost=true in the inventory, then: {bring}"
        )
    })
}
