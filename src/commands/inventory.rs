//! `muster inventory`: hosts and groups as they are understood.

use clap::Args;

use crate::args::InventoryArgs;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::print;
use crate::project::Project;
use crate::world::World;

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
    let world = World::load(Project::find(&args.inventory, environment)?, &args.inventory, environment)?;
    world.tell_warnings(environment);
    let text = match (&args.form.graph, &args.form.host) {
        (Some(group), _) => world.inventory.graph(group)? + "\n",
        (None, Some(host)) => format!("{:#}\n", world.vars.host_json(host)?),
        (None, None) => format!("{:#}\n", world.vars.list_json()),
    };
    print::data(&text)?;
    Ok(Exit::Done)
}
