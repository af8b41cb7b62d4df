//! `muster ping`: which machines can be worked on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::machines::{Machines, exit_of, run_program};
use crate::output::style::Style;
use crate::output::{advice, print, text};

/// Show which machines can be logged in to and worked on as root
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PingArgs {
    /// Which hosts: a pattern such as node1,node3 or kube_node:!node2
    #[arg(value_name = "PATTERN", default_value = "all")]
    pattern: String,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `muster ping`.
pub(crate) fn run(args: PingArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let machines = Machines::choose(&args.pattern, &args.inventory, &args.connection, environment)?;
    let answers = machines.each(environment, |ssh| async move {
        let begun = Instant::now();
        let login = format!("{}@{}", ssh.target().user, ssh.target().address());
        let answer = run_program(Arc::clone(&ssh), "true", Duration::from_secs(60)).await;
        (login, answer, begun.elapsed())
    })?;
    let style = Style::of_stdout(environment);
    let width = answers.iter().map(|(name, _)| console::measure_text_width(name)).max().unwrap_or(0);
    for (name, (login, answer, elapsed)) in &answers {
        let name = text::pad(name, width);
        let line = match answer {
            Ok(exit) if exit.status == 0 => {
                format!("{} {name}  {login}  {}", style.done(), text::duration(*elapsed))
            }
            Ok(exit) => format!("{} {name}  {login}  status {}", style.failed(), exit.status),
            Err(error) => {
                let hint = advice::hint(error.remedy());
                let remedy = hint.map(|hint| format!("\n    hint: {hint}")).unwrap_or_default();
                format!("{} {name}  {}", style.failed(), text::harmless(&error.to_string())) + &remedy
            }
        };
        print::data(&format!("{line}\n"))?;
    }
    Ok(exit_of(answers.iter().map(|(_, (_, answer, _))| answer)))
}
