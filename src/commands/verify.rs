//! `muster verify`: that the cluster works.

use std::path::PathBuf;

use clap::Args;
use muster_app::{Flow, Project, VERIFY};
use muster_roles::NetworkTest;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::typed_flow::TypedFlow;

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
    let project = Project::find(&args.inventory.inventory, environment)?;
    let flow = Flow {
        roles: vec![muster_roles::verify(NetworkTest::Always)],
        remarks: false,
        whole_cluster: true,
        ..Flow::new("muster verify", VERIFY)
    };
    let typed = TypedFlow {
        manner: MannerArgs { bundle: args.bundle, ..MannerArgs::default() },
        ..TypedFlow::new(flow, project, args.inventory, args.connection, args.output)
    };
    typed.run(environment)
}
