//! `muster verify`: that the cluster works.

use std::path::PathBuf;

use clap::Args;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::playbook::Playbook;
use crate::project::Project;
use crate::run::Job;

/// Show that the cluster works: API servers, nodes, pods, and the network between pods on every node
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct VerifyArgs {
    /// Folder with the binaries and images [default: bundle in the cache folder]
    #[arg(long, value_name = "DIR", env = "MUSTER_BUNDLE", hide_env_values = true)]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `muster verify`.
pub(crate) fn run(args: VerifyArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let job = Job {
        command: "muster verify".to_owned(),
        playbook: Playbook::Verify,
        project: Project::find(&args.inventory, environment)?,
        inventory: &args.inventory,
        connection: &args.connection,
        selection: &SelectionArgs::default(),
        manner: &MannerArgs { bundle: args.bundle, ..MannerArgs::default() },
        output: &args.output,
        implied_vars: &["verify_network=always"],
        needs_bundle: false,
        new_inventory: None,
        next: None,
    };
    job.run(environment)
}
