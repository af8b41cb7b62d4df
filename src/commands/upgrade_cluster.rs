//! `muster upgrade-cluster`, and the program `upgrade-cluster`: a cluster goes to another version of Kubernetes.

use clap::Args;
use muster_app::{BundleUse, Flow, Project, UPGRADE};
use muster_engine::play::{Play, Share};
use muster_roles::upgrade::Settings;
use muster_roles::upgrading;
use serde::{Deserialize, Serialize};

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::commands::words_of;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::typed_flow::TypedFlow;

/// Bring a cluster to another version of Kubernetes, machine by machine
///
/// The version is kube_version, in group_vars or as -e kube_version=1.37.2: a newer patch, or the next minor version. Without it,
/// it is the version that new clusters get. Everything is fetched to the machines before anything is touched; then etcd is
/// upgraded member by member, the control planes one by one, and the workers some at a time. Running the command again is
/// always safe: it goes on where it stopped, and passes over what is done.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = examples())]
pub(crate) struct UpgradeClusterArgs {
    #[command(flatten)]
    parameters: Parameters,
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
         upgrade-cluster -e kube_version=1.37.2        go to this version\n  \
         muster plan upgrade-cluster                   what would be changed, with the version in group_vars\n  \
         upgrade-cluster --serial 1                    one worker after the other\n  \
         upgrade-cluster --limit 'pool_a'              only some workers, once the control planes are done\n\n{EXIT_CODES}"
    )
}

/// Bring a cluster to another version of Kubernetes, machine by machine
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// Go on although the cluster is not well: nodes that are not Ready, pods of the system that do not run
    #[arg(long)]
    force_unhealthy: bool,
}

impl Parameters {
    /// A cluster goes to another version.
    pub(crate) fn flow(&self, project: &Project) -> Result<Flow, CommandError> {
        Ok(Flow {
            bundle: BundleUse::Installs,
            looks_first: vec![Play {
                name: "See whether the cluster may go there".into(),
                hosts: "k8s_cluster:etcd".into(),
                roles: vec!["upgrade-check".into()],
                any_errors_fatal: true,
                max_failures: Some(Share::Percent(40)),
                ..Play::default()
            }],
            half_done: Some(
                "The upgrade has not come to its end: the cluster goes on as it is, with what has its new version and what has not. Nodes \
                 that were drained get pods again. setup-cluster changes nothing until it is finished."
                    .to_owned(),
            ),
            roles: upgrading(Settings { force_unhealthy: self.force_unhealthy }),
            next: Some(project.command(&["muster", "kubectl", "get", "nodes"], 2)),
            ..Flow::new(
                words_of("upgrade-cluster") + if self.force_unhealthy { " --force-unhealthy" } else { "" },
                UPGRADE,
            )
        })
    }
}

/// Runs `upgrade-cluster`.
pub(crate) fn run(args: UpgradeClusterArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.inventory.inventory, environment)?;
    let flow = args.parameters.flow(&project)?;
    let flow = Flow { next: flow.next.filter(|_| !args.manner.check), ..flow };
    let typed = TypedFlow {
        selection: args.selection,
        manner: args.manner,
        ..TypedFlow::new(flow, project, args.inventory, args.connection, args.output)
    };
    typed.run(environment)
}
