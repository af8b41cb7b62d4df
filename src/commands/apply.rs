//! `muster apply`: a plan that was saved is done, if it still is what would be done.

use std::path::PathBuf;

use clap::Args;
use muster_app::Project;
use muster_app::plan::Plan;
use muster_engine::play::Share;

use crate::args::{ConnectionArgs, FlowArgs, InventoryArgs, MannerArgs, OutputArgs, parse_serial};
use crate::commands::Planned;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::typed_flow::TypedFlow;

/// Do what a saved plan says; if the machines would now get anything else, change nothing and say what differs
///
/// The inventory, --limit, --tags, --skip-tags and --start-at are those of the plan. Values of -e are not in it: give them
/// again.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ApplyArgs {
    /// The plan: muster plan -o FILE
    #[arg(value_name = "FILE")]
    plan: PathBuf,
    /// Do not ask, where something is lost for good
    #[arg(short, long)]
    yes: bool,
    /// Show the differences of files that are changed
    #[arg(short = 'D', long)]
    diff: bool,
    /// Change only so many machines at once, play by play: a number or a percentage; stops when a whole batch fails
    #[arg(long, value_name = "N|N%", value_parser = parse_serial)]
    serial: Option<Share>,
    /// Folder with the binaries and images [default: bundle in the cache folder]
    #[arg(long, value_name = "DIR", env = "MUSTER_BUNDLE", hide_env_values = true)]
    bundle: Option<PathBuf>,
    /// Do not fetch what the bundle lacks
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `muster apply`.
pub(crate) fn run(mut args: ApplyArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let plan = Plan::read(&args.plan, environment)?;
    if args.inventory.inventory.is_empty() {
        args.inventory.inventory.clone_from(&plan.inventory);
    }
    let project = Project::find(&args.inventory.inventory, environment)?;
    // Its command is what finishes a plan that was begun: the plan itself does not fit any more then.
    let planned = Planned::saved(&plan.flow)?;
    let flow = planned.flow(&project).map_err(|error| {
        error.hint("a plan that was applied fits no more: muster runs shows whether this one was")
    })?;
    let leaving = match &planned {
        Planned::RemoveNode(parameters) => Some(parameters.leaving(&project)?),
        _ => None,
    };
    if let Some(leaving) = leaving.as_ref().filter(|_| !args.yes)
        && !leaving.agreed(&project)?
    {
        return Ok(Exit::No);
    }
    let manner = MannerArgs {
        diff: args.diff,
        serial: args.serial,
        bundle: args.bundle,
        offline: args.offline,
        ..MannerArgs::default()
    };
    let typed_args =
        FlowArgs { manner, inventory: args.inventory, connection: args.connection, output: args.output };
    let typed = TypedFlow {
        selection: plan.selection().into(),
        yes: args.yes,
        ..TypedFlow::typed(flow, project.clone(), typed_args.clone())
    };
    match (typed.apply(&plan, &args.plan, environment)?, leaving) {
        (Exit::Done, Some(leaving)) => leaving.left(project, typed_args, environment),
        (exit, _) => Ok(exit),
    }
}
