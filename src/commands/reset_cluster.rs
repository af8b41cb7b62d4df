//! `muster reset-cluster`, and the program `reset-cluster`: machines leave nothing of the cluster.

use clap::Args;
use muster_app::{BundleUse, Flow, Loss, Project, RESET};
use muster_engine::play::{Play, Share};
use muster_roles::Reset;
use serde::{Deserialize, Serialize};

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::commands::words_of;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::output::print;
use crate::typed_flow::TypedFlow;

/// Take the cluster away: the machines are as they were before
///
/// All objects of the cluster, etcd's data and the volumes that pods had on the machines are lost. What muster, kubeadm and pods
/// brought is removed; whatever else is on the machines stays. Machines that are off are left out, and told. Running the command
/// again is always safe.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = examples())]
pub(crate) struct ResetClusterArgs {
    #[command(flatten)]
    parameters: Parameters,
    /// Do not ask
    #[arg(short = 'y', long)]
    yes: bool,
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
         reset-cluster                          all machines of the inventory\n  \
         reset-cluster --check                  what would be removed\n  \
         reset-cluster --keep-images --yes      for a cluster that is to begin anew at once\n  \
         reset-cluster --limit pc-7 --foreign   a machine that another cluster had\n\n{EXIT_CODES}"
    )
}

/// Take the cluster away
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// Leave images, programs and packages on the machines, so that the next cluster begins quickly
    #[arg(long)]
    keep_images: bool,
    /// Reset machines of other clusters as well, with what other network plugins left
    #[arg(long)]
    foreign: bool,
}

impl Parameters {
    /// The machines leave nothing of the cluster.
    pub(crate) fn flow(&self, _project: &Project) -> Result<Flow, CommandError> {
        let with = Reset { keep_images: self.keep_images, foreign: self.foreign };
        let pods = match self.foreign {
            true => {
                "what pods have on these machines, and what the machines have of other clusters, be they in use or not"
            }
            false => "what pods have on these machines",
        };
        let loses = Loss {
            with_the_cluster: format!(
                "all objects of the cluster, etcd's data, {}{pods}",
                if self.foreign { "" } else { "and " }
            ),
            of_workers: pods.to_owned(),
        };
        Ok(Flow {
            roles: muster_roles::reset(with).into(),
            bundle: BundleUse::None,
            remarks: false,
            looks_first: vec![Play {
                name: "See whether they may be reset".into(),
                hosts: "k8s_cluster:etcd".into(),
                roles: vec!["check-reset".into()],
                any_errors_fatal: true,
                max_failures: Some(Share::Percent(100)),
                ..Play::default()
            }],
            loses: Some(loses),
            half_done: Some(
                "The machines may be reset in part: what was removed is lost, and what is left of the cluster is of no use.".to_owned(),
            ),
            ..Flow::new(self.typed(), RESET)
        })
    }

    /// The command as it is typed to mean the same.
    fn typed(&self) -> String {
        let flags = [(self.keep_images, " --keep-images"), (self.foreign, " --foreign")];
        let flags = flags.iter().filter(|(typed, _)| *typed).map(|(_, flag)| *flag);
        words_of("reset-cluster") + &flags.collect::<String>()
    }
}

/// Runs `reset-cluster`.
pub(crate) fn run(args: ResetClusterArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.inventory.inventory, environment)?;
    let flow = args.parameters.flow(&project)?;
    let of_all = args.selection.limit.is_none() && !args.manner.check;
    let artifacts = project.inventory_dir.join("artifacts");
    let typed = TypedFlow {
        selection: args.selection,
        manner: args.manner,
        yes: args.yes,
        ..TypedFlow::new(flow, project, args.inventory, args.connection, args.output)
    };
    let exit = typed.run(environment)?;
    if of_all && exit == Exit::Done && artifacts.exists() {
        print::note(&format!(
            "the kubeconfigs in {} are of no use any more: the next cluster has other certificates",
            shown(&artifacts)
        ));
    }
    Ok(exit)
}
