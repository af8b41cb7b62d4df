//! `muster plan`: what a command would do, as a plan that can be saved.

use std::path::PathBuf;

use clap::{ArgMatches, Args, FromArgMatches};
use muster_app::{Flow, Project};
use muster_engine::script::quote;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::commands::{Planned, setup_cluster};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::typed_flow::TypedFlow;

/// Show what a command would do on the machines, and save it for muster apply
///
/// The command is setup-cluster if none is named. Nothing is changed. + means created, ~ changed, - removed; ? means that it
/// is known only after an earlier step.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, subcommand_value_name = "COMMAND", disable_help_subcommand = true)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    options: BeforeAndAfter<PlanOptions>,
    #[command(subcommand)]
    command: Option<Planned>,
}

#[derive(Debug, Args)]
struct PlanOptions {
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

/// Options that may stand before and after the command that is planned.
#[derive(Debug)]
struct BeforeAndAfter<T>(T);

impl<T: FromArgMatches> FromArgMatches for BeforeAndAfter<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for BeforeAndAfter<T> {
    fn augment_args(command: clap::Command) -> clap::Command {
        T::augment_args(command).mut_args(|argument| argument.global(true))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// Runs `muster plan`.
pub(crate) fn run(args: PlanArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let options = args.options.0;
    let project = Project::find(&options.inventory.inventory, environment)?;
    let planned = args.command.unwrap_or(Planned::SetupCluster(setup_cluster::Parameters {}));
    let flow = planned.flow(&project)?;
    let selection = &options.selection;
    let selects = selection.limit.is_some() || selection.start_at.is_some();
    if flow.whole_cluster && (selects || !selection.tags.is_empty() || !selection.skip_tags.is_empty()) {
        return Err(CommandError::usage(format!(
            "{} is done as a whole: --limit, --tags, --skip-tags and --start-at make no sense for it",
            flow.command
        ))
        .hint("plan it without them"));
    }
    let out = options.out.as_ref().map(|path| format!(" -o {}", quote(&path.display().to_string())));
    let of = flow.command.strip_prefix("muster ").unwrap_or(&flow.command);
    let of = if of == "setup-cluster" { String::new() } else { format!(" {of}") };
    let command = format!("muster plan{}{of}", out.unwrap_or_default());
    let flow = Flow { command, next: None, ..flow };
    let manner = MannerArgs {
        diff: options.diff,
        bundle: options.bundle,
        offline: options.offline,
        ..MannerArgs::default()
    };
    let typed = TypedFlow {
        selection: options.selection,
        manner,
        ..TypedFlow::new(flow, project, options.inventory, options.connection, options.output)
    };
    typed.plan(options.out.as_deref(), environment)
}
