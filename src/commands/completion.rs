//! `muster completion`: completions for shells.

use clap::Args;
use clap_complete::Shell;

use crate::commands::programs;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::print;

/// Print completions for a shell: source <(muster completion bash)
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Runs `muster completion`. One script completes all names of the program.
pub(crate) fn run(args: CompletionArgs, _: &Environment) -> Result<Exit, CommandError> {
    let mut script = Vec::new();
    for mut program in programs() {
        let name = program.get_name().to_owned();
        clap_complete::generate(args.shell, &mut program, name, &mut script);
    }
    print::data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
