//! muster turns bare machines into a Kubernetes cluster, over nothing but SSH.
//!
//! This is the command line: what users type and see. It is the only part that prints, that reads the environment and
//! the home directory, and that ends the process.

mod again;
mod args;
mod bundle;
mod cli;
mod commands;
mod connection;
mod environment;
mod error;
mod fan_out;
mod host_arguments;
mod inventory_file;
mod lock;
mod login;
mod output;
mod password;
mod plan;
mod playbook;
mod project;
mod record;
mod reference;
mod run;
mod selection;
mod timeline;
mod usual;
mod vault_password;
mod world;

use std::process::ExitCode;

use crate::environment::Environment;
use crate::output::print;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let command = match cli::parse(std::env::args_os().collect()) {
        Ok(command) => command,
        Err(answer) => return print::clap_answer(&answer),
    };
    match commands::run(command, &environment) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            print::error(&error, &environment);
            error.exit_code()
        }
    }
}
