//! `muster preflight`: what would go wrong.

use clap::Args;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::playbook::Playbook;
use crate::project::Project;
use crate::run::Job;

/// Find what would go wrong on the machines, without changing anything
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PreflightArgs {
    /// Only these hosts: a pattern such as node1,node3 or kube_node:!node2
    #[arg(short, long, value_name = "PATTERN")]
    limit: Option<String>,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `muster preflight`.
pub(crate) fn run(args: PreflightArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.inventory, environment)?;
    let next = project.command(&["setup-cluster"], 1);
    let job = Job {
        command: "muster preflight".to_owned(),
        playbook: Playbook::Preflight,
        project,
        inventory: &args.inventory,
        connection: &args.connection,
        selection: &SelectionArgs { limit: args.limit, ..SelectionArgs::default() },
        manner: &MannerArgs::default(),
        output: &args.output,
        implied_vars: &[],
        needs_bundle: false,
        new_inventory: None,
        next: Some(next),
    };
    job.run(environment)
}
