//! `muster unlock`: who holds machines' locks, and breaking those of runs that are gone for good.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use muster_app::lock_request;
use muster_engine::lock::{Shown, State, break_program, show_program};
use muster_engine::ssh::Ssh;
use muster_engine::transport::{Exit as ProgramExit, TransportError};

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::confirmation::confirmed;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::machines::{Machines, exit_of, run_program};
use crate::output::style::Style;
use crate::output::{print, text};

/// Show who holds the locks of machines, and break them
///
/// A run that changes machines locks each of them. A lock ends when its run ends, and by itself a minute after its run was
/// last heard of; so this is for runs that are still at work and must not go on. Whatever a run sends after its lock was
/// broken is refused.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct UnlockArgs {
    /// Which hosts: a pattern such as node1,node3 or kube_node:!node2
    #[arg(value_name = "PATTERN", default_value = "all")]
    pattern: String,
    /// Break the locks without asking
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

type Answer = Result<ProgramExit, TransportError>;

/// Runs `muster unlock`.
pub(crate) fn run(args: UnlockArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let mut machines = Machines::choose(&args.pattern, &args.inventory, &args.connection, environment)?;
    let answers = machines.each(environment, |ssh| async {
        let answer = ask(Arc::clone(&ssh), show_program()).await;
        (ssh, answer)
    })?;
    let style = Style::of_stdout(environment);
    let mut held: Vec<(String, Arc<Ssh>, u64)> = Vec::new();
    for (host, (ssh, answer)) in &answers {
        let shown =
            answer.as_ref().ok().and_then(|exit| Shown::parse(&String::from_utf8_lossy(&exit.stdout)));
        if let Some(shown) = shown.as_ref().filter(|shown| shown.holder.state == State::Held) {
            held.push((host.clone(), Arc::clone(ssh), shown.holder.fence));
        }
        print::data(&told(host, answer, shown.as_ref(), style))?;
    }
    let exit = exit_of(answers.iter().map(|(_, (_, answer))| answer));
    machines.hosts = held.iter().map(|(host, ..)| host.clone()).collect();
    if held.is_empty() {
        return Ok(exit);
    }
    let names = text::names(&machines.hosts.iter().collect::<Vec<_>>());
    let question = format!("Break the locks of {names}? Whatever their runs still send is refused then.");
    if !args.yes && !confirmed(&question, "the locks are to be broken", "break them")? {
        return Ok(Exit::No);
    }
    let request = lock_request("muster unlock", Duration::ZERO, environment);
    let broken = machines.each(environment, |ssh| {
        // Only the lock that was shown: somebody else may have taken it meanwhile.
        let fence =
            held.iter().find(|(_, other, _)| Arc::ptr_eq(other, &ssh)).map_or(0, |(.., fence)| *fence);
        ask(ssh, break_program(&request, fence))
    })?;
    let mut all = true;
    for (host, answer) in &broken {
        let line = match answer {
            Ok(exit) if exit.stdout.starts_with(b"taken ") => {
                format!("{} {host}  the lock is broken", style.done())
            }
            answer => {
                all = false;
                let why = match answer {
                    Ok(_) => "the lock has changed hands meanwhile: look again".to_owned(),
                    Err(error) => text::harmless(&error.to_string()),
                };
                format!("{} {host}  {why}", style.failed())
            }
        };
        print::data(&format!("{line}\n"))?;
    }
    Ok(if all { exit } else { Exit::HostFailed })
}

async fn ask(ssh: Arc<Ssh>, program: String) -> Answer {
    run_program(ssh, &program, Duration::from_secs(60)).await
}

fn told(host: &str, answer: &Answer, shown: Option<&Shown>, style: Style) -> String {
    let Some(shown) = shown else {
        let why = match answer {
            Ok(exit) => format!("status {}: {}", exit.status, String::from_utf8_lossy(&exit.stderr).trim()),
            Err(error) => error.to_string(),
        };
        return format!("{} {host}  {}\n", style.failed(), text::harmless(&why));
    };
    let holder = text::harmless(&shown.holder.to_string());
    let mut lines = match shown.holder.state {
        State::Free => format!("{} {host}  free\n", style.done()),
        State::Held => format!("{} {host}  locked by {holder}\n", style.warning()),
        State::Stale | State::Restarted => {
            format!("{} {host}  free; last locked by {holder}\n", style.done())
        }
    };
    for worker in &shown.workers {
        lines.push_str(&format!("    at work: {} (process {})\n", text::harmless(&worker.name), worker.pid));
    }
    lines
}
