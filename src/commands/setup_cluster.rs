//! `muster setup-cluster`, and the program `setup-cluster`: from bare machines to a running cluster.

use clap::Args;
use muster_engine::script::quote;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::cli::setup_cluster_command;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::host_arguments;
use crate::inventory_file;
use crate::playbook::Playbook;
use crate::project::{Project, current_dir};
use crate::run::Job;

/// Make machines a Kubernetes cluster, or bring a cluster to what its inventory says
///
/// The first machine named becomes the control plane and holds etcd, all become nodes; this is written to
/// inventory/hosts.ini, so that the next command knows. Without machines the inventory is used that is there. Running it
/// again is always right: it goes on where it was stopped, and changes only what differs.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = examples())]
pub(crate) struct SetupClusterArgs {
    /// Machines: addresses, names or user@host:port; 192.0.2.4 .5 .6, '192.0.2.<4,5,6>', 192.0.2.[4:6]
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Write a new inventory for these machines even if there is one with others; that one is kept under another name
    #[arg(long, requires = "hosts")]
    new_inventory: bool,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    manner: MannerArgs,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

fn examples() -> String {
    format!(
        "Examples:\n  \
         setup-cluster 192.0.2.11 .12 .13              three machines, the first one is the control plane\n  \
         setup-cluster                                 again, with the inventory written then\n  \
         setup-cluster -i inventory/lab/hosts.ini      an inventory of Ansible or kubespray\n  \
         setup-cluster --check --diff                  what would be changed\n  \
         setup-cluster --tags containerd --limit pc-7  one role on one machine\n\n{EXIT_CODES}"
    )
}

/// Runs `setup-cluster`.
pub(crate) fn run(args: SetupClusterArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let command = setup_cluster_command();
    let (project, new_inventory) = if args.hosts.is_empty() {
        (Project::find(&args.inventory, environment)?, None)
    } else {
        let hosts = host_arguments::parse(&args.hosts)?;
        if !args.inventory.inventory.is_empty() {
            let error = CommandError::usage("machines are named, and an inventory as well");
            return Err(error.hint("give the one or the other"));
        }
        let typed: Vec<String> = args.hosts.iter().map(|word| quote(word)).collect();
        let text = host_arguments::inventory_text(
            &hosts,
            &format!("{command} {}", typed.join(" ")),
            &args.connection,
        );
        inventory_file::prepare(&current_dir()?, &hosts, text, args.new_inventory)?
    };
    let next = project.command(&["muster", "kubectl", "get", "nodes"], 2);
    let job = Job {
        command: command.to_owned(),
        playbook: Playbook::Cluster,
        project,
        inventory: &args.inventory,
        connection: &args.connection,
        selection: &args.selection,
        manner: &args.manner,
        output: &args.output,
        implied_vars: &[],
        needs_bundle: true,
        new_inventory,
        next: (!args.manner.check).then_some(next),
    };
    job.run(environment)
}
