//! The subcommands, one a file: the comment on its arguments is its help text.

pub(crate) mod apply;
pub(crate) mod bundle;
pub(crate) mod completion;
pub(crate) mod copy;
pub(crate) mod docs;
pub(crate) mod exec;
pub(crate) mod facts;
pub(crate) mod init;
pub(crate) mod inventory;
pub(crate) mod kubectl;
pub(crate) mod lab;
pub(crate) mod log;
pub(crate) mod ping;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod runs;
pub(crate) mod setup_cluster;
pub(crate) mod timeline;
pub(crate) mod unlock;
pub(crate) mod vars;
pub(crate) mod verify;

use crate::cli::Command;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};

/// Runs what was typed.
pub(crate) fn run(command: Command, environment: &Environment) -> Result<Exit, CommandError> {
    match command {
        Command::SetupCluster(args) => setup_cluster::run(args, environment),
        Command::Plan(args) => plan::run(args, environment),
        Command::Apply(args) => apply::run(args, environment),
        Command::Preflight(args) => preflight::run(args, environment),
        Command::Verify(args) => verify::run(args, environment),
        Command::Runs(args) => runs::run(args, environment),
        Command::Log(args) => log::run(args, environment),
        Command::Kubectl(args) => kubectl::run(args, environment),
        Command::Exec(args) => exec::run(args, environment),
        Command::Copy(args) => copy::run(args, environment),
        Command::Ping(args) => ping::run(args, environment),
        Command::Facts(args) => facts::run(args, environment),
        Command::Unlock(args) => unlock::run(args, environment),
        Command::Inventory(args) => inventory::run(args, environment),
        Command::Vars(args) => vars::run(args, environment),
        Command::Init(args) => init::run(args),
        Command::Docs(args) => docs::run(args, environment),
        Command::Bundle(args) => bundle::run(args, environment),
        Command::Lab(args) => lab::run(args, environment),
        Command::Timeline(args) => timeline::run(args, environment),
        Command::Completion(args) => completion::run(args),
    }
}
