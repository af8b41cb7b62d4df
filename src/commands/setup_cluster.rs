//! `muster setup-cluster`, and the program `setup-cluster`: from bare machines to a running cluster.

use clap::Args;
use muster_app::{BundleUse, CLUSTER, Flow, Project};
use muster_engine::play::{Play, Share};
use muster_engine::script::quote;
use muster_roles::{KeptVersion, check_cluster};
use serde::{Deserialize, Serialize};

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::commands::words_of;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::host_arguments;
use crate::inventory_file;
use crate::typed_flow::TypedFlow;

/// Make machines a Kubernetes cluster, or bring a cluster to what its inventory says
///
/// The first machine becomes the control plane and holds etcd; all machines become nodes. This is written to
/// inventory/hosts.ini for later commands. Without machines, the existing inventory is used. Running the command again is
/// always safe: it goes on where it stopped, and changes only what differs.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = examples())]
pub(crate) struct SetupClusterArgs {
    /// Machines: addresses, names or user@host:port; 192.0.2.4 .5 .6, '192.0.2.<4,5,6>', 192.0.2.[4:6]
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Write a new inventory for these machines even if there is one with others; the old one is kept under another name
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

/// Make machines a Kubernetes cluster, or bring a cluster to what its inventory says
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Parameters {}

impl Parameters {
    /// From bare machines to a running cluster.
    pub(crate) fn flow(&self, project: &Project) -> Result<Flow, CommandError> {
        let kept = KeptVersion::default();
        Ok(Flow {
            bundle: BundleUse::Installs,
            // A cluster that stands changes neither its version nor its network plugin, whether the bundle has the other one or not.
            looks_first: vec![Play {
                name: "See whether the cluster may become so".into(),
                hosts: "k8s_cluster:etcd".into(),
                roles: vec!["check-cluster".into()],
                any_errors_fatal: true,
                max_failures: Some(Share::Percent(40)),
                ..Play::default()
            }],
            looks_first_for_another: true,
            roles: vec![check_cluster(kept.clone())],
            keeps: kept,
            next: Some(project.command(&["muster", "kubectl", "get", "nodes"], 2)),
            ..Flow::new(words_of("setup-cluster"), CLUSTER)
        })
    }
}

/// Runs `setup-cluster`.
pub(crate) fn run(args: SetupClusterArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let mut command = words_of("setup-cluster");
    let (project, new_inventory) = if args.hosts.is_empty() {
        (Project::find(&args.inventory.inventory, environment)?, None)
    } else {
        let hosts = host_arguments::parse(&args.hosts)?;
        if !args.inventory.inventory.is_empty() {
            let error = CommandError::usage("machines are named, and an inventory as well");
            return Err(error.hint("give the one or the other"));
        }
        let typed: Vec<String> = args.hosts.iter().map(|word| quote(word)).collect();
        let with_hosts = format!("{command} {}", typed.join(" "));
        let text = host_arguments::inventory_text(&hosts, &with_hosts, &args.connection);
        let (project, new) = inventory_file::prepare(environment.here()?, &hosts, text, args.new_inventory)?;
        // Whoever only looks writes no inventory in which they would be found again.
        if new.is_some() && args.manner.check {
            command = with_hosts + if args.new_inventory { " --new-inventory" } else { "" };
        }
        (project, new)
    };
    let flow = Parameters {}.flow(&project)?;
    let flow = Flow { command, next: flow.next.filter(|_| !args.manner.check), ..flow };
    let typed = TypedFlow {
        selection: args.selection,
        manner: args.manner,
        new_inventory,
        ..TypedFlow::new(flow, project, args.inventory, args.connection, args.output)
    };
    typed.run(environment)
}
