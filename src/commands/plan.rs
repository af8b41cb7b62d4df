//! `muster plan`: what setup-cluster would do.

use std::path::PathBuf;

use clap::Args;
use muster_app::{Flow, Project};
use muster_engine::script::quote;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::commands::setup_cluster;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::typed_flow::TypedFlow;

/// Show what setup-cluster would do on the machines, and save it for muster apply
///
/// Nothing is changed. + means created, ~ changed, - removed; ? means that it is known only after an earlier step.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PlanArgs {
    /// Save the plan in this file, for muster apply
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show the differences of files that would be changed
    #[arg(short = 'D', long)]
    diff: bool,
    /// Folder with the binaries and images [default: bundle in the cache folder]
    #[arg(long, value_name = "DIR", env = "MUSTER_BUNDLE", hide_env_values = true)]
    bundle: Option<PathBuf>,
    /// Do not fetch what the bundle lacks
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `muster plan`.
pub(crate) fn run(args: PlanArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.inventory.inventory, environment)?;
    let out = args.out.as_ref().map(|path| format!(" -o {}", quote(&path.display().to_string())));
    let command = format!("muster plan{}", out.unwrap_or_default());
    let flow = Flow { command, next: None, ..setup_cluster::flow(&project) };
    let manner =
        MannerArgs { diff: args.diff, bundle: args.bundle, offline: args.offline, ..MannerArgs::default() };
    let typed = TypedFlow {
        selection: args.selection,
        manner,
        ..TypedFlow::new(flow, project, args.inventory, args.connection, args.output)
    };
    typed.plan(args.out.as_deref(), environment)
}
