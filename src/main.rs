//! muster turns bare machines into a Kubernetes cluster, over nothing but SSH.
//!
//! This is the command line: what users type and see. It is the only part that prints, that reads the environment and
//! the home directory, and that ends the process. What it does for them is in the library `muster-app`.

mod admin_conf;
mod api_server;
mod args;
mod class_list;
mod cli;
mod clusters;
mod commands;
mod confirmation;
mod environment;
mod error;
mod host_arguments;
mod inventory_edit;
mod inventory_file;
mod kubeconfig_merge;
mod machines;
mod output;
mod program_here;
mod quiet_flow;
mod reconcile;
mod redact;
mod reference;
mod repeat_command;
mod runtime;
mod signals;
mod timeline;
mod typed_flow;

use std::process::ExitCode;

use crate::output::{command_error, print};

fn main() -> ExitCode {
    let environment = environment::of_process();
    let arguments: Vec<_> = std::env::args_os().collect();
    let command = match cli::parse(arguments.clone()) {
        Ok(command) => command,
        Err(answer) => return print::clap_answer(&answer, cli::hint(&answer, &arguments)),
    };
    match commands::run(command, &environment) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            command_error::tell(&error, &environment);
            error.exit_code()
        }
    }
}
