//! `muster runs`: the runs there were.

use std::time::Duration;

use clap::Args;
use muster_app::{Project, Recorded, Records};
use serde_json::Value;

use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::{Screen, print, text};

/// Show the last runs of setup-cluster, plan, apply, preflight and verify: when, what was typed, how they ended
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Inventory [default: that of ANSIBLE_INVENTORY or ansible.cfg, else inventory/hosts.ini]
    #[arg(short, long, value_name = "INVENTORY")]
    inventory: Vec<String>,
}

/// Runs `muster runs`.
pub(crate) fn run(args: RunsArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let records = of_project(&args.inventory, environment)?.1;
    let ids = records.ids();
    if ids.is_empty() {
        // Says why.
        records.last()?;
    }
    let mut table = Table::new(&["RUN", "WHEN (UTC)", "COMMAND", "RESULT", "HOSTS", "TIME"]);
    for id in ids {
        let mut run = records.read_ends(&id)?;
        if run.recap().is_none() {
            run = records.read(&id)?;
        }
        table.row(row(&run));
    }
    let (_, columns) = Screen::new(environment, false).size();
    let lines = table.render(Style::of_stdout(environment), columns);
    print::data(&(lines.join("\n") + "\n"))?;
    Ok(Exit::Done)
}

/// The project that `-i` names, or that is found without, and its records.
///
/// # Errors
/// There is no inventory.
pub(crate) fn of_project(
    inventory: &[String],
    environment: &Environment,
) -> Result<(Project, Records), CommandError> {
    let project = Project::find(inventory, environment)?;
    let records = Records::of(&project);
    Ok((project, records))
}

fn row(run: &Recorded) -> Vec<String> {
    let heading = run.heading();
    vec![
        run.id.clone(),
        when(heading),
        text::harmless(heading["command"].as_str().unwrap_or("?")),
        result(run),
        hosts(run),
        elapsed(run).map(text::duration).unwrap_or_default(),
    ]
}

/// `2026-11-21 09:05`: when a run began.
pub(crate) fn when(heading: &Value) -> String {
    let time = heading["time"].as_str().unwrap_or("?");
    let minutes: String = time.replace('T', " ").chars().take(16).collect();
    text::harmless(&minutes)
}

/// How a run ended, in a word or two.
pub(crate) fn result(run: &Recorded) -> String {
    let Some(recap) = run.recap() else {
        return if run.under_way { "under way" } else { "unfinished" }.to_owned();
    };
    let code = recap["exit_code"].as_u64();
    let of = |exit: Exit| code == Some(exit.code().into());
    let word = match () {
        () if of(Exit::Done) => "done",
        () if of(Exit::HostFailed) => "failed",
        () if of(Exit::Problems) => "problems",
        () if of(Exit::Unreachable) => "unreachable",
        () if of(Exit::Outdated) => "did not fit",
        () if of(Exit::Interrupted) => "interrupted",
        () if of(Exit::Locked) => "locked",
        () if of(Exit::No) => "not agreed",
        () => "?",
    };
    word.to_owned()
}

/// How long a run took, or as far as is known of one that was cut off.
pub(crate) fn elapsed(run: &Recorded) -> Option<Duration> {
    Duration::try_from_secs_f64(run.lines.last()?["t"].as_f64()?).ok()
}

/// `2 ok, 1 failed`.
fn hosts(run: &Recorded) -> String {
    let all = run.heading()["hosts"].as_array().map_or(0, Vec::len);
    let done = match run.recap().and_then(|recap| recap["hosts"].as_object()) {
        Some(hosts) => hosts.values().filter(|host| host["failure"].is_null()).count(),
        None => run.lines.iter().filter(|line| line["event"] == "host_done").count(),
    };
    let failed = run.failed().len();
    let rest = all.saturating_sub(done + failed);
    let parts = [(done, "ok"), (failed, "failed"), (rest, "not done")];
    let told =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}"));
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn how_a_run_ended_has_a_word_for_every_exit_code() {
        let all = [
            Exit::Done,
            Exit::No,
            Exit::HostFailed,
            Exit::Problems,
            Exit::Unreachable,
            Exit::Outdated,
            Exit::Locked,
            Exit::Interrupted,
        ];
        let word = |exit: Exit| {
            let recap = json!({ "event": "recap", "exit_code": exit.code() });
            result(&Recorded { id: String::new(), lines: vec![recap], under_way: false })
        };
        assert!(all.map(word).iter().all(|word| word != "?"));
        assert_eq!(word(Exit::Locked), "locked");
    }
}
