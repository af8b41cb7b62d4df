//! The commands, one a file: the comment on its arguments is its help text, and its line in the list below is all that the
//! rest of the program needs. Help, completions, man pages and `docs/cli.md` follow from it.

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use muster_app::{Flow, Project};

use crate::environment::{Environment, program_name};
use crate::error::{CommandError, EXIT_CODES, Exit};

/// The list of commands, in the order of `--help`. A line names the command's arguments in its file, which also has a function
/// `run`. `as "NAME"`: it is a program of its own, too, under that name. `plans FUNCTION`: plans may be made of its flow, and
/// the function makes that flow for a project.
macro_rules! commands {
    ($($command:ident($file:ident::$args:ident) $(as $program:literal)? $(plans $flow:ident)?,)*) => {
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

        /// The flows of which plans may be made, by their names.
        const PLANNED: &[fn(&Project) -> Flow] = &[$($($file::$flow,)?)*];
    };
}

commands! {
    SetupCluster(setup_cluster::SetupClusterArgs) as "setup-cluster" plans flow,
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Preflight(preflight::PreflightArgs),
    Verify(verify::VerifyArgs),
    Certs(certs::CertsArgs),
    Etcd(etcd::EtcdArgs),
    Runs(runs::RunsArgs),
    Log(log::LogArgs),
    Kubectl(kubectl::KubectlArgs),
    Exec(exec::ExecArgs),
    Copy(copy::CopyArgs),
    Ping(ping::PingArgs),
    Facts(facts::FactsArgs),
    Unlock(unlock::UnlockArgs),
    Inventory(inventory::InventoryCommandArgs),
    Vars(vars::VarsArgs),
    Init(init::InitArgs),
    Docs(docs::DocsArgs),
    Bundle(bundle::BundleArgs),
    Lab(lab::LabArgs),
    Timeline(timeline::TimelineArgs),
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

/// The flow of a name of which plans may be made.
pub(crate) fn planned_flow(name: &str, project: &Project) -> Option<Flow> {
    PLANNED.iter().map(|flow| flow(project)).find(|flow| flow.name == name)
}
