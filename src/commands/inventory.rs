//! `muster inventory`: hosts and groups as they are understood.

use clap::Args;
use muster_app::{Project, World};

use crate::args::InventoryArgs;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::{CommandLine, print};

/// Show the inventory as it is understood, in the forms of ansible-inventory
#[derive(Debug, Args)]
pub(crate) struct InventoryCommandArgs {
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    inventory: InventoryArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Form {
    /// Everything, as JSON
    #[arg(long)]
    list: bool,
    /// The groups as a tree, all of them or one
    #[arg(long, value_name = "GROUP", num_args = 0..=1, default_missing_value = "all")]
    graph: Option<String>,
    /// The variables of one host, as JSON
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

/// Runs `muster inventory`.
pub(crate) fn run(args: InventoryCommandArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let frontend = CommandLine::plain(environment);
    let project = Project::find(&args.inventory.inventory, environment)?;
    let world = World::load(project, &(&args.inventory).into(), environment, &*frontend)?;
    world.tell_warnings(&*frontend);
    let text = match (&args.form.graph, &args.form.host) {
        (Some(group), _) => world.inventory.graph(group)? + "\n",
        (None, Some(host)) => format!("{:#}\n", world.vars.host_json(host)?),
        (None, None) => format!("{:#}\n", world.vars.list_json()),
    };
    print::data(&text)?;
    Ok(Exit::Done)
}
