//! The commands, one a file: the comment on its arguments is its help text, and its line in the list below is all that the
//! rest of the program needs. Help, completions, man pages and `docs/cli.md` follow from it.

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use muster_app::{Flow, FlowId, Project};
use serde::{Deserialize, Serialize};

use crate::environment::{Environment, program_name};
use crate::error::{CommandError, EXIT_CODES, Exit};

/// The list of commands, in the order of `--help`. A line names the command's arguments in its file, which also has a function
/// `run`. `as "NAME"`: it is a program of its own, too, under that name. `plans PARAMETERS`: plans may be made of its flow, and
/// this type of its file holds what of its arguments belongs to the flow, and makes the flow for a project.
macro_rules! commands {
    ($($command:ident($file:ident::$args:ident) $(as $program:literal)? $(plans $parameters:ident)?,)*) => {
        $(pub(crate) mod $file;)*

        /// What was typed.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $($command($file::$args),)*
        }

        /// Runs what was typed.
        pub(crate) fn run(command: Command, environment: &Environment) -> Result<Exit, CommandError> {
            match command {
                $(Command::$command(args) => $file::run(args, environment),)*
            }
        }

        /// The commands that are programs of their own.
        pub(crate) fn own_programs() -> Vec<OwnProgram> {
            vec![$($(OwnProgram {
                name: $program,
                command: $file::$args::augment_args(own_program($program)),
                read: |matches| $file::$args::from_arg_matches(matches).map(Command::$command),
            },)?)*]
        }

        planned! { $($($command($file::$parameters),)?)* }
    };
}

/// The commands of which plans may be made.
macro_rules! planned {
    ($($command:ident($file:ident::$parameters:ident),)*) => {
        /// A flow of which a plan may be made, with its parameters. A saved plan holds it.
        #[derive(Debug, Clone, Subcommand, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub(crate) enum Planned {
            $($command($file::$parameters),)*
        }

        impl Planned {
            /// The flow for a project.
            ///
            /// # Errors
            /// The parameters cannot be, whatever the machines are like.
            fn flow_of_parameters(&self, project: &Project) -> Result<Flow, CommandError> {
                match self {
                    $(Self::$command(parameters) => parameters.flow(project),)*
                }
            }
        }
    };
}

commands! {
    SetupCluster(setup_cluster::SetupClusterArgs) as "setup-cluster" plans Parameters,
    UpgradeCluster(upgrade_cluster::UpgradeClusterArgs) as "upgrade-cluster" plans Parameters,
    ResetCluster(reset_cluster::ResetClusterArgs) as "reset-cluster" plans Parameters,
    Adopt(adopt::AdoptArgs),
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Preflight(preflight::PreflightArgs),
    Verify(verify::VerifyArgs),
    RemoveNode(remove_node::RemoveNodeArgs) plans Parameters,
    ReplaceNode(replace_node::ReplaceNodeArgs) plans Parameters,
    Certs(certs::CertsArgs),
    Etcd(etcd::EtcdArgs),
    Recover(recover::RecoverArgs),
    Reconcile(reconcile::ReconcileArgs),
    Runs(runs::RunsArgs),
    Log(log::LogArgs),
    Kubectl(kubectl::KubectlArgs),
    Helm(helm::HelmArgs),
    Kubeconfig(kubeconfig::KubeconfigArgs),
    Students(students::StudentsArgs) as "students" plans Parameters,
    StudentTokens(student_tokens::StudentTokensArgs) as "student-tokens",
    Apps(apps::AppsArgs),
    Dashboard(dashboard::DashboardArgs),
    Exec(exec::ExecArgs),
    Copy(copy::CopyArgs),
    Ping(ping::PingArgs),
    Facts(facts::FactsArgs),
    Unlock(unlock::UnlockArgs),
    Netboot(netboot::NetbootArgs),
    Cluster(cluster::ClusterArgs),
    Machines(machines::MachinesArgs),
    Inventory(inventory::InventoryCommandArgs),
    Vars(vars::VarsArgs),
    Init(init::InitArgs),
    Docs(docs::DocsArgs),
    Bundle(bundle::BundleArgs),
    Lab(lab::LabArgs),
    Timeline(timeline::TimelineArgs),
    SupportBundle(support_bundle::SupportBundleArgs),
    Completion(completion::CompletionArgs),
}

/// Turns bare machines into a Kubernetes cluster, over nothing but SSH
#[derive(Debug, Parser)]
#[command(name = "muster", version, after_help = EXIT_CODES, max_term_width = 120)]
pub(crate) struct Muster {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A command that is a program of its own.
pub(crate) struct OwnProgram {
    /// How that program is called.
    pub(crate) name: &'static str,
    pub(crate) command: clap::Command,
    pub(crate) read: fn(&ArgMatches) -> Result<Command, clap::Error>,
}

fn own_program(name: &'static str) -> clap::Command {
    clap::Command::new(name).version(env!("CARGO_PKG_VERSION")).max_term_width(120)
}

/// The programs with all they understand, `muster` first.
pub(crate) fn programs() -> Vec<clap::Command> {
    let own = own_programs().into_iter().map(|program| program.command);
    std::iter::once(Muster::command()).chain(own).collect()
}

/// How the user types a command that is a program of its own, for what to type next: as it was typed this time.
pub(crate) fn words_of(program: &str) -> String {
    if program_name().as_deref() == Some(program) { program.to_owned() } else { format!("muster {program}") }
}

impl Planned {
    /// What a saved plan is of.
    ///
    /// # Errors
    /// This muster has no such flow, or the flow has other parameters.
    pub(crate) fn saved(id: &FlowId) -> Result<Self, CommandError> {
        serde_json::from_value(id.0.clone()).map_err(|error| {
            CommandError::failed(format!("the plan is of a flow that this muster does not have: {error}"))
                .hint("make a new one: muster plan -o FILE")
        })
    }

    /// The flow for a project, which knows how a saved plan names it.
    ///
    /// # Errors
    /// The parameters cannot be, whatever the machines are like.
    pub(crate) fn flow(&self, project: &Project) -> Result<Flow, CommandError> {
        let id = serde_json::to_value(self).map_err(|error| CommandError::failed(error.to_string()))?;
        Ok(Flow { id: FlowId(id), ..self.flow_of_parameters(project)? })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::inventory_file::unwritten;

    #[test]
    fn no_command_is_proposed_again_with_a_limit_that_it_does_not_take() {
        let text = "node1\nnode2\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode2\n";
        let project = unwritten(Path::new("/nowhere"), &[], text.to_owned());
        let muster = Muster::command();
        let planned = Planned::augment_subcommands(clap::Command::new("plan"));
        let mut as_a_whole = Vec::new();
        for inner in planned.get_subcommands() {
            let name = inner.get_name();
            let words: &[&str] = match name {
                "students" => &["create", "ada"],
                "remove-node" | "replace-node" => &["node2"],
                _ => &[],
            };
            let matches = planned.clone().get_matches_from([&["plan", name][..], words].concat());
            let flow = Planned::from_arg_matches(&matches).unwrap().flow(&project).unwrap();
            let command = muster.find_subcommand(name).unwrap();
            let takes_limit = command.get_arguments().any(|argument| argument.get_id() == "limit");
            assert_eq!(flow.whole_cluster, !takes_limit, "{name}");
            as_a_whole.extend(flow.whole_cluster.then_some(name));
        }
        assert_eq!(as_a_whole, ["remove-node", "replace-node", "students"]);
    }
}
