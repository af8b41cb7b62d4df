//! `muster exec`: a command on many machines.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use muster_engine::script::quote;
use muster_engine::transport::{Exit as ProgramExit, TransportError};

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::machines::{Machines, exit_of, run_program};
use crate::output::style::{Style, Tone};
use crate::output::{advice, print, text};

/// Run a command on machines as root; equal answers are shown once
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ExecArgs {
    /// Which hosts: a pattern such as node1,node3 or kube_node:!node2
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// The command and its arguments; a single argument is a program for sh: -- 'df -h / | tail -1'
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Seconds the command may take on each machine
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit_time: u64,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `muster exec`.
pub(crate) fn run(args: ExecArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let machines = Machines::choose(&args.pattern, &args.inventory, &args.connection, environment)?;
    let program = match args.command.as_slice() {
        [program] => program.clone(),
        words => words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
    };
    let timeout = Duration::from_secs(args.limit_time);
    let answers = machines.each(environment, |ssh| {
        let program = program.clone();
        async move { run_program(ssh, &program, timeout).await }
    })?;
    let style = Style::of_stdout(environment);
    // A terminal must not do what a machine says; a file gets every byte.
    let raw = !std::io::stdout().is_terminal();
    for (hosts, answer) in groups(&answers) {
        print::data(&render(&hosts, answer, style, raw))?;
    }
    Ok(exit_of(answers.iter().map(|(_, answer)| answer)))
}

type Answer = Result<ProgramExit, TransportError>;

/// Hosts that answered the same, in the order of their first ones.
fn groups(answers: &[(String, Answer)]) -> Vec<(Vec<&str>, &Answer)> {
    let same = |one: &Answer, other: &Answer| match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    let mut groups: Vec<(Vec<&str>, &Answer)> = Vec::new();
    for (host, answer) in answers {
        match groups.iter_mut().find(|(_, known)| same(known, answer)) {
            Some((hosts, _)) => hosts.push(host),
            None => groups.push((vec![host], answer)),
        }
    }
    groups
}

fn render(hosts: &[&str], answer: &Answer, style: Style, raw: bool) -> String {
    let names = style.paint(Tone::Strong, &text::names(hosts));
    match answer {
        Ok(exit) => {
            let outcome = match exit.status {
                0 => style.paint(Tone::Good, "ok"),
                status => style.paint(Tone::Bad, &format!("status {status}")),
            };
            let output = [&exit.stdout, &exit.stderr].map(|bytes| {
                let text = String::from_utf8_lossy(bytes);
                let text = if raw { text.into_owned() } else { text::harmless_lines(&text) };
                if text.is_empty() || text.ends_with('\n') { text } else { format!("{text}\n") }
            });
            format!("{names} | {outcome}\n{}", output.concat())
        }
        Err(error) => {
            let remedy =
                advice::hint(error.remedy()).map(|hint| format!("  hint: {hint}\n")).unwrap_or_default();
            let word = if error.is_unreachable() { "unreachable" } else { "failed" };
            format!(
                "{names} | {}\n  {}\n{remedy}",
                style.paint(Tone::Bad, word),
                text::harmless(&error.to_string())
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: i32, stdout: &str) -> Answer {
        Ok(ProgramExit { status, stdout: stdout.into(), stderr: Vec::new() })
    }

    #[test]
    fn hosts_that_answer_the_same_are_one_group() {
        let lost = || Err(TransportError::Lost { address: "a".into(), reason: "r".into() });
        let answers: Vec<(String, Answer)> = [
            ("node1", answer(0, "up\n")),
            ("node2", answer(0, "up\n")),
            ("node3", answer(1, "up\n")),
            ("node4", lost()),
            ("node5", answer(0, "up\n")),
        ]
        .map(|(name, answer)| (name.to_owned(), answer))
        .into();
        let rendered: String = groups(&answers)
            .iter()
            .map(|(hosts, answer)| render(hosts, answer, Style::PLAIN, false))
            .collect();
        assert_eq!(
            rendered,
            "node1-2, node5 | ok\nup\nnode3 | status 1\nup\nnode4 | unreachable\n  a: the connection was lost (r)\n"
        );
    }
}
