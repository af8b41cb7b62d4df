//! The command line: what can be typed.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::apply::ApplyArgs;
use crate::commands::bundle::BundleArgs;
use crate::commands::completion::CompletionArgs;
use crate::commands::copy::CopyArgs;
use crate::commands::docs::DocsArgs;
use crate::commands::exec::ExecArgs;
use crate::commands::facts::FactsArgs;
use crate::commands::init::InitArgs;
use crate::commands::inventory::InventoryCommandArgs;
use crate::commands::kubectl::KubectlArgs;
use crate::commands::lab::LabArgs;
use crate::commands::log::LogArgs;
use crate::commands::ping::PingArgs;
use crate::commands::plan::PlanArgs;
use crate::commands::preflight::PreflightArgs;
use crate::commands::runs::RunsArgs;
use crate::commands::setup_cluster::SetupClusterArgs;
use crate::commands::timeline::TimelineArgs;
use crate::commands::unlock::UnlockArgs;
use crate::commands::vars::VarsArgs;
use crate::commands::verify::VerifyArgs;
use crate::error::EXIT_CODES;

/// Turns bare machines into a Kubernetes cluster, over nothing but SSH
#[derive(Debug, Parser)]
#[command(name = "muster", version, after_help = EXIT_CODES, max_term_width = 120)]
struct Muster {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    SetupCluster(SetupClusterArgs),
    Plan(PlanArgs),
    Apply(ApplyArgs),
    Preflight(PreflightArgs),
    Verify(VerifyArgs),
    Runs(RunsArgs),
    Log(LogArgs),
    Kubectl(KubectlArgs),
    Exec(ExecArgs),
    Copy(CopyArgs),
    Ping(PingArgs),
    Facts(FactsArgs),
    Unlock(UnlockArgs),
    Inventory(InventoryCommandArgs),
    Vars(VarsArgs),
    Init(InitArgs),
    Docs(DocsArgs),
    Bundle(BundleArgs),
    Lab(LabArgs),
    Timeline(TimelineArgs),
    Completion(CompletionArgs),
}

/// The name of the subcommand that is also a program of its own.
pub(crate) const SETUP_CLUSTER: &str = "setup-cluster";

/// What was typed, the program's own name first.
///
/// # Errors
/// It cannot be meant; or it was `--help` or `--version`, whose answer is the error.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Command, clap::Error> {
    if called_as(&arguments) == Some(SETUP_CLUSTER) {
        let matches = setup_cluster_program().try_get_matches_from(arguments)?;
        return SetupClusterArgs::from_arg_matches(&matches).map(Command::SetupCluster);
    }
    Muster::try_parse_from(arguments).map(|program| program.command)
}

/// The same program under the name `setup-cluster`.
fn setup_cluster_program() -> clap::Command {
    SetupClusterArgs::augment_args(
        clap::Command::new(SETUP_CLUSTER).version(env!("CARGO_PKG_VERSION")).max_term_width(120),
    )
}

/// Whether this is the program `setup-cluster`, or `muster`.
fn called_as(arguments: &[OsString]) -> Option<&str> {
    Path::new(arguments.first()?).file_name()?.to_str()
}

/// How the user typed the command that sets up clusters, for commands to type next.
pub(crate) fn setup_cluster_command() -> &'static str {
    let arguments: Vec<OsString> = std::env::args_os().take(1).collect();
    if called_as(&arguments) == Some(SETUP_CLUSTER) { SETUP_CLUSTER } else { "muster setup-cluster" }
}

/// The programs with all they understand, for completions and the reference.
pub(crate) fn programs() -> [clap::Command; 2] {
    [Muster::command(), setup_cluster_program()]
}
