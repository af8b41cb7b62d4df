//! `muster preflight`: what would go wrong.

use std::path::PathBuf;

use clap::Args;
use muster_app::{Flow, PREFLIGHT, Project};
use muster_engine::script::quote;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::host_arguments;
use crate::inventory_file;
use crate::typed_flow::TypedFlow;

/// Find what would go wrong on the machines, without changing anything
///
/// Machines may be named as for setup-cluster, before there is an inventory: then the first one is looked at as the control
/// plane. Nothing is written.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PreflightArgs {
    /// Machines, as setup-cluster takes them; without any, those of the inventory
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Only these hosts: a pattern such as node1,node3 or kube_node:!node2
    #[arg(short, long, value_name = "PATTERN")]
    limit: Option<String>,
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

/// Runs `muster preflight`.
pub(crate) fn run(args: PreflightArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = if args.hosts.is_empty() {
        Project::find(&args.inventory.inventory, environment)?
    } else {
        let hosts = host_arguments::parse(&args.hosts)?;
        if !args.inventory.inventory.is_empty() {
            let error = CommandError::usage("machines are named, and an inventory as well");
            return Err(error.hint("give the one or the other"));
        }
        let text = host_arguments::inventory_text(&hosts, "muster preflight", &args.connection);
        inventory_file::unwritten(environment.here()?, &hosts, text)
    };
    let with_hosts = |command: &str| {
        let words = args.hosts.iter().map(|host| quote(host));
        std::iter::once(command.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
    };
    let next = project.command(&["setup-cluster"], 1);
    let flow = Flow {
        next: Some(if args.hosts.is_empty() { next } else { with_hosts("setup-cluster") }),
        ..Flow::new(with_hosts("muster preflight"), PREFLIGHT)
    };
    let typed = TypedFlow {
        manner: MannerArgs { bundle: args.bundle, ..MannerArgs::default() },
        selection: SelectionArgs { limit: args.limit, ..SelectionArgs::default() },
        ..TypedFlow::new(flow, project, args.inventory, args.connection, args.output)
    };
    typed.run(environment)
}
