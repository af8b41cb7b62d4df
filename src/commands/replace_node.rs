//! `muster replace-node`: a machine was installed anew and takes its place again.

use clap::Args;
use muster_app::{Flow, Project};
use muster_roles::Removal;
use serde::{Deserialize, Serialize};

use crate::args::FlowArgs;
use crate::commands::remove_node::Leaving;
use crate::commands::setup_cluster;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::typed_flow::TypedFlow;

/// Put machines that were installed anew, at the same address, back into their places
///
/// Their new host keys replace the known ones; the nodes and members of etcd that they were before are removed; then everything is
/// done that setup-cluster does. A machine that is in the cluster already is not removed from it.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ReplaceNodeArgs {
    #[command(flatten)]
    parameters: Parameters,
    #[command(flatten)]
    flow: FlowArgs,
}

/// Put machines that were installed anew back into their places
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// Hosts of the inventory: names, or patterns such as node[3:5]
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
}

impl Parameters {
    /// These machines, by their names.
    pub(crate) fn of(hosts: &[String]) -> Self {
        Self { hosts: hosts.to_vec() }
    }

    /// The old nodes and members go, then the cluster is set up.
    pub(crate) fn flow(&self, project: &Project) -> Result<Flow, CommandError> {
        let hosts = Leaving::new(project, &self.hosts)?.hosts;
        let command = format!("muster replace-node {}", hosts.join(" "));
        let removal = Removal { hosts: hosts.clone(), come_back: true };
        let set_up = setup_cluster::Parameters {}.flow(project)?;
        let roles = removal.roles().into_iter().chain(set_up.roles).collect();
        let half_done =
            "What the cluster knew of them before may be gone, and they may not be back yet.".to_owned();
        let half_done = Some(half_done);
        Ok(Flow {
            command,
            first: removal.plays(false),
            roles,
            reimaged: hosts,
            // The others remove what the machines were, and let them join.
            whole_cluster: true,
            half_done,
            ..set_up
        })
    }
}

/// Runs `muster replace-node`.
pub(crate) fn run(args: ReplaceNodeArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.flow.inventory.inventory, environment)?;
    let flow = args.parameters.flow(&project)?;
    let flow = Flow { next: flow.next.filter(|_| !args.flow.manner.check), ..flow };
    TypedFlow::typed(flow, project, args.flow).run(environment)
}
