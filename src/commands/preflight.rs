//! `muster preflight`: what would go wrong.

use clap::Args;
use muster_app::{Flow, PREFLIGHT, Project};

use crate::args::{ConnectionArgs, InventoryArgs, OutputArgs, SelectionArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::typed_flow::TypedFlow;

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
    let project = Project::find(&args.inventory.inventory, environment)?;
    let flow = Flow {
        next: Some(project.command(&["setup-cluster"], 1)),
        ..Flow::new("muster preflight", PREFLIGHT)
    };
    let typed = TypedFlow {
        selection: SelectionArgs { limit: args.limit, ..SelectionArgs::default() },
        ..TypedFlow::new(flow, project, args.inventory, args.connection, args.output)
    };
    typed.run(environment)
}
