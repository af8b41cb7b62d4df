//! `muster helm`: Helm for the cluster of this project, wherever in it one is.

use std::ffi::OsString;

use clap::Args;

use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::program_here::become_program;

/// Run Helm on the cluster of this project, from any folder in it
///
/// helm is the one in artifacts/ beside the inventory, else the one in the bundle, else the one in PATH; which cluster is meant is
/// found as muster kubectl finds it. On control planes helm is installed by helm_enabled.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct HelmArgs {
    /// Inventory, where it is not in the usual place; in front of Helm's own arguments
    #[arg(short, long, value_name = "INVENTORY")]
    inventory: Vec<String>,
    /// Arguments of Helm
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Runs `muster helm`.
pub(crate) fn run(args: HelmArgs, environment: &Environment) -> Result<Exit, CommandError> {
    become_program("helm", args.inventory, &args.arguments, environment, |_| {
        "get it: muster bundle fetch --with helm".to_owned()
    })
}
