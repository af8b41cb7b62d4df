//! `muster netboot status`: which machines have booted.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use muster_bootserver::{Outcome, Seen, Stage, seen};
use muster_netboot::Settings;
use serde_json::{Map, Value, json};

use super::made;
use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::machines::{Machines, run_program};
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::{Screen, print, text};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Which hosts: a pattern such as s4,s5
    #[arg(value_name = "PATTERN", default_value = "all")]
    pattern: String,
    /// The folder that is served [default: the one that was rendered]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// As JSON: an object with what is known of each host
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What is known of a machine.
struct Status {
    cards: Vec<String>,
    /// The address that it booted with, else that of the inventory.
    address: String,
    seen: Option<Seen>,
    /// Why it does not answer by SSH; none where it does.
    silent: Option<String>,
}

/// Runs `muster netboot status`.
pub(super) fn run(args: &StatusArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let machines = Machines::choose(&args.pattern, &args.inventory, &args.connection, environment)?;
    let (folder, _) = made::find(&machines.world.project, args.folder.as_deref())?;
    let log = made::beside(&folder, ".boots.jsonl");
    let log_text = match fs::read_to_string(&log) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let serve = machines.world.project.command(&["muster", "netboot", "serve"], 3);
            print::note(&format!("{} is not there: no machine was served by {serve} yet", shown(&log)));
            String::new()
        }
        read => {
            read.map_err(|error| CommandError::failed(format!("cannot read {}: {error}", shown(&log))))?
        }
    };
    let mut booted = seen(&log_text);
    let answers = machines.each(environment, |ssh| async move {
        let address = ssh.target().host.clone();
        (address, run_program(Arc::clone(&ssh), "true", Duration::from_secs(60)).await)
    })?;
    let mut all: Vec<(String, Status)> = Vec::new();
    for (host, (address, answer)) in answers {
        let cards = Settings::cards_of(&machines.world.vars.host(&host)?)?;
        let seen = booted.remove(&host);
        let silent = match answer {
            Ok(exit) if exit.status == 0 => None,
            Ok(exit) => Some(format!("status {}", exit.status)),
            Err(error) => Some(text::harmless(&error.to_string())),
        };
        let by_boot = seen.as_ref().and_then(|seen| Some(seen.last.address?.to_string()));
        let cards = cards.iter().map(|(card, _)| card.to_string()).collect();
        all.push((host, Status { cards, address: by_boot.unwrap_or(address), seen, silent }));
    }
    if args.json {
        let objects: Map<String, Value> =
            all.iter().map(|(host, status)| (host.clone(), as_json(status))).collect();
        print::data(&format!("{:#}\n", Value::Object(objects)))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["MACHINE", "MAC", "ADDRESS", "BOOTED (UTC)", "LAST", "SSH"]);
    for (host, status) in &all {
        table.row(row(host, status));
    }
    let (_, columns) = Screen::new(environment, false).size();
    print::data(&(table.render(Style::of_stdout(environment), columns).join("\n") + "\n"))?;
    Ok(Exit::Done)
}

fn row(host: &str, status: &Status) -> Vec<String> {
    let seen = status.seen.as_ref();
    vec![
        host.to_owned(),
        status.cards.join(", "),
        status.address.clone(),
        seen.map_or("never".to_owned(), |seen| seen.booted.replace('T', " ").replace('Z', "")),
        seen.map(last).unwrap_or_default(),
        status.silent.clone().unwrap_or_else(|| "answers".to_owned()),
    ]
}

/// `ignition`, `kernel, cut off`: how far it was.
fn last(seen: &Seen) -> String {
    let stage = seen.last.stage.name();
    match seen.last.outcome {
        Outcome::Done => stage.to_owned(),
        Outcome::Cut => format!("{stage}, cut off"),
        Outcome::Missing | Outcome::Refused => {
            format!("{stage}, {} not served", text::harmless(&seen.last.what))
        }
    }
}

fn as_json(status: &Status) -> Value {
    let seen = status.seen.as_ref();
    json!({
        "mac": status.cards,
        "address": status.address,
        "booted": seen.map(|seen| &seen.booted),
        "last": seen.map(|seen| &seen.last),
        "started": seen.is_some_and(|seen| seen.last.stage == Stage::Ignition && seen.last.outcome == Outcome::Done),
        "ssh": status.silent.is_none(),
        "why": status.silent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_how_far_a_machine_is() {
        let step = |stage: &str, outcome: &str| {
            let line = format!(
                r#"{{"time":"2026-11-21T09:05:07Z","machine":"s4","mac":null,"address":"192.0.2.104","stage":"{stage}","what":"images/k","outcome":"{outcome}","sent":1,"size":2}}"#
            );
            seen(&line).remove("s4")
        };
        let status = |seen| Status {
            cards: vec!["52:54:00:12:34:56".into()],
            address: "192.0.2.104".into(),
            seen,
            silent: Some("no route".into()),
        };
        assert_eq!(
            row("s4", &status(step("kernel", "cut"))),
            ["s4", "52:54:00:12:34:56", "192.0.2.104", "2026-11-21 09:05:07", "kernel, cut off", "no route"]
        );
        assert_eq!(row("s4", &status(step("kernel", "missing")))[4], "kernel, images/k not served");
        assert_eq!(row("s4", &status(None))[3..5], ["never", ""]);
        let json = as_json(&status(step("ignition", "done")));
        assert_eq!((&json["started"], &json["ssh"]), (&json!(true), &json!(false)));
    }
}
