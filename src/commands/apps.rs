//! `muster apps`: which applications there are, wanted and installed, and how they are.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use muster_roles::apps::{AppState, LOOK, states};
use muster_roles::catalogue::{CATALOGUE, wants_app};
use muster_roles::extension;

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::machines::{Machines, run_program};
use crate::output::table::Table;
use crate::output::{Screen, print, text};

/// Show the cluster's applications: which are wanted, which are installed, and whether they are well
///
/// An application is wanted if its variable is true (metrics_server_enabled). setup-cluster installs what is wanted and
/// removes what is not wanted any more. The exit code is 1 unless everything wanted is installed and well, and nothing else.
#[derive(Debug, Args)]
pub(crate) struct AppsArgs {
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `muster apps`.
pub(crate) fn run(args: AppsArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let machines = Machines::choose("kube_control_plane", &args.inventory, &args.connection, environment)?;
    let (host, states) = look(&machines, environment)?;
    let vars = machines.world.vars.host(&host)?;
    let screen = Screen::new(environment, false);
    let mut table = Table::new(&["app", "wanted", "installed", "version", "state", "reached at"]);
    let mut exit = Exit::Done;
    for app in CATALOGUE.apps() {
        let wanted = wants_app(&vars, app).map_err(|failure| CommandError::failed(failure.to_string()))?;
        let state = states.get(app).cloned().unwrap_or_default();
        let (is_well, words) = told(app, wanted, &state);
        if !is_well {
            exit = Exit::No;
        }
        let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let cells = [word(wanted), word(state.installed), state.version, words, state.reached_at.join(", ")];
        table.row(std::iter::once(app.to_owned()).chain(cells.map(|cell| text::harmless(&cell))).collect());
    }
    if let Some(own) = states.get(extension::NAME).filter(|own| own.installed) {
        let (is_well, words) = told(extension::NAME, true, own);
        if !is_well {
            exit = Exit::No;
        }
        let cells = [extension::NAME, "yes", "yes", "", &text::harmless(&words), ""];
        table.row(cells.map(str::to_owned).to_vec());
    }
    let lines = table.render(screen.style, screen.size().1);
    print::data(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(exit)
}

/// What the first control plane that answers says, and which it is.
fn look(
    machines: &Machines,
    environment: &Environment,
) -> Result<(String, BTreeMap<String, AppState>), CommandError> {
    let answers = machines
        .each(environment, |ssh| async move { run_program(ssh, LOOK, Duration::from_secs(60)).await })?;
    let mut reasons = Vec::new();
    for (host, answer) in answers {
        let states = match answer {
            Ok(exit) if exit.status == 0 => states(&String::from_utf8_lossy(&exit.stdout)),
            Ok(exit) => Err(String::from_utf8_lossy(&exit.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match states {
            Ok(states) => return Ok((host, states)),
            Err(why) => reasons.push(format!("\n  {host}: {}", text::harmless_lines(&why))),
        }
    }
    Err(CommandError::failed(format!("no control plane can say what is installed:{}", reasons.concat()))
        .hint(format!("is the cluster there? {}", machines.world.project.command(&["muster", "verify"], 2))))
}

/// Whether an application is as it is wanted, and the cell of the table about that.
fn told(app: &str, wanted: bool, state: &AppState) -> (bool, String) {
    let mend = format!("setup-cluster --tags {app}");
    match (wanted, state.installed) {
        (false, false) => (true, String::new()),
        (true, false) => (false, format!("not installed yet: {mend}")),
        (false, true) => (false, format!("not removed yet: {mend}")),
        (true, true) if state.wrong.is_empty() => (true, "well".to_owned()),
        (true, true) => (false, state.wrong.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_it_is_wanted_is_told_with_what_mends_it() {
        let state = |installed, wrong: &[&str]| AppState {
            installed,
            wrong: wrong.iter().map(|wrong| (*wrong).to_owned()).collect(),
            ..AppState::default()
        };
        let tell = |wanted, state: AppState| told("web", wanted, &state);
        assert_eq!(tell(false, state(false, &[])), (true, String::new()));
        assert_eq!(tell(true, state(true, &[])), (true, "well".into()));
        assert_eq!(tell(true, state(true, &["one", "two"])), (false, "one; two".into()));
        assert_eq!(
            tell(true, state(false, &[])),
            (false, "not installed yet: setup-cluster --tags web".into())
        );
        assert_eq!(
            tell(false, state(true, &[])),
            (false, "not removed yet: setup-cluster --tags web".into())
        );
    }
}
