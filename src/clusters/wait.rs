//! New machines are waited for until somebody can work on them.

use std::thread;
use std::time::{Duration, Instant};

use muster_app::{Project, World};
use muster_engine::transport::{Exit, TransportError};

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::CommandError;
use crate::machines::{Machines, run_program};
use crate::output::{CommandLine, advice, print, text};

/// How long a machine may take for its answer.
const LIMIT: Duration = Duration::from_secs(20);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(3);
/// How often it is said who is missing, where nobody comes.
const REPEAT: Duration = Duration::from_secs(20);

/// Fails while cloud-init is at work: it may be about to install packages, or to change keys. It writes both files itself.
const READY: &str = "[ ! -e /run/cloud-init/enabled ] || [ -e /run/cloud-init/result.json ]";

/// Waits until hosts of an inventory answer over SSH, let us become root, and have booted. Their host keys take the place of known ones:
/// they are new.
///
/// # Errors
/// Not all of them did in this time; with the last reason of each.
pub(crate) fn until_they_answer(
    hosts: &[String],
    inventory: &InventoryArgs,
    connection: &ConnectionArgs,
    patience: Duration,
    environment: &Environment,
) -> Result<(), CommandError> {
    if hosts.is_empty() {
        return Ok(());
    }
    let begun = Instant::now();
    let mut missing = hosts.to_vec();
    let mut told = Instant::now();
    print::note(&format!("waiting until {} can be worked on", text::some_names(hosts)));
    while !missing.is_empty() {
        let answers = ask(&missing, inventory, connection, environment)?;
        let left: Vec<&(String, Result<Exit, TransportError>)> = answers
            .iter()
            .filter(|(_, answer)| !answer.as_ref().is_ok_and(|exit| exit.status == 0))
            .collect();
        let fewer = left.len() < missing.len();
        if begun.elapsed() > patience && !left.is_empty() {
            let lines: Vec<String> =
                left.iter().map(|(name, answer)| format!("{name}: {}", reason(answer))).collect();
            let error = CommandError::failed(format!(
                "after {} these cannot be worked on:\n{}",
                text::duration(patience),
                lines.join("\n")
            ));
            let hint = left.iter().find_map(|(_, answer)| advice::hint(answer.as_ref().err()?.remedy()));
            let error =
                error.hint("when the reason is gone, run the same command again: it goes on with them");
            return Err(hint.into_iter().fold(error, CommandError::hint));
        }
        missing = left.iter().map(|(name, _)| name.clone()).collect();
        if missing.is_empty() {
            break;
        }
        if fewer || told.elapsed() > REPEAT {
            told = Instant::now();
            let first = left.first().map(|(_, answer)| reason(answer)).unwrap_or_default();
            print::note(&format!(
                "  {} of {} after {}; waiting for {} ({first})",
                hosts.len() - missing.len(),
                hosts.len(),
                text::duration(begun.elapsed()),
                text::some_names(&missing)
            ));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// What a machine answered, or why it did not.
type Answer = Result<Exit, TransportError>;

fn reason(answer: &Answer) -> String {
    text::harmless(&match answer {
        Ok(exit) if exit.stderr.is_empty() => "it has not booted yet".to_owned(),
        Ok(exit) => String::from_utf8_lossy(&exit.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    })
}

fn ask(
    hosts: &[String],
    inventory: &InventoryArgs,
    connection: &ConnectionArgs,
    environment: &Environment,
) -> Result<Vec<(String, Answer)>, CommandError> {
    let frontend = CommandLine::plain(environment);
    let project = Project::find(&inventory.inventory, environment)?;
    let world = World::load(project, &inventory.into(), environment, &*frontend)?;
    let connection = ConnectionArgs { reimaged: Some(hosts.join(",")), ..connection.clone() };
    let machines = Machines::of(world, &hosts.join(","), &connection, environment)?.patiently();
    machines.each(environment, |ssh| run_program(ssh, READY, LIMIT))
}
