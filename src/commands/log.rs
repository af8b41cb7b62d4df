//! `muster log`: what happened in a run.

use clap::{ArgAction, Args};
use muster_app::{LAST, Recorded};
use muster_engine::event::Event;
use muster_engine::event_json;
use muster_engine::failure::{Failure, Problem};
use muster_inventory::closest;

use crate::commands::runs;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::plain::lines;
use crate::output::style::{Style, Tone};
use crate::output::{Detail, Screen, advice, print, problems, recap, sentence, text};

/// Show what happened in a run: on all hosts, or on one
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Which run: its id, as muster runs shows it, or last
    #[arg(value_name = "RUN", default_value = LAST)]
    run: String,
    /// Only this host
    #[arg(value_name = "HOST")]
    host: Option<String>,
    /// Show more: -v every step, -vv what programs on the machines wrote
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Show the differences of files that were changed
    #[arg(short = 'D', long)]
    diff: bool,
    /// Inventory [default: that of ANSIBLE_INVENTORY or ansible.cfg, else inventory/hosts.ini]
    #[arg(short, long, value_name = "INVENTORY")]
    inventory: Vec<String>,
}

/// Runs `muster log`.
pub(crate) fn run(args: LogArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let (_, records) = runs::of_project(&args.inventory, environment)?;
    let run = records.read(&records.find(&args.run)?)?;
    if let Some(host) = &args.host {
        check_host(&run, host)?;
    }
    let (_, columns) = Screen::new(environment, false).size();
    print::data(&told(&run, &args, Style::of_stdout(environment), columns))?;
    Ok(Exit::Done)
}

fn check_host(run: &Recorded, host: &str) -> Result<(), CommandError> {
    let hosts = run.heading()["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = hosts.iter().filter_map(|host| host.as_str()).collect();
    if names.contains(&host) {
        return Ok(());
    }
    let error = CommandError::usage(format!("{host:?} had no part in the run {}", run.id));
    Err(match closest(host, names.iter().copied()) {
        Some(name) => error.hint(format!("did you mean {name:?}?")),
        None => error.hint(format!("its hosts: {}", text::names(&names))),
    })
}

/// Everything: what was typed, what happened, how it ended. What was found on machines is a table of this width, as in the run.
fn told(run: &Recorded, args: &LogArgs, style: Style, columns: usize) -> String {
    let heading = run.heading();
    let words = |name: &str| text::harmless(heading[name].as_str().unwrap_or("?"));
    let mut told = vec![
        style.paint(Tone::Strong, &format!("{}: {}", run.id, words("command"))),
        format!("{} UTC, muster {}", runs::when(heading), words("muster")),
    ];
    let mut check = false;
    let mut found: Vec<(String, Vec<Problem>)> = Vec::new();
    for (time, event) in run.lines.iter().filter_map(event_json::read) {
        if let Event::RunStarted { check: looks_only, .. } = event {
            check = looks_only;
        }
        let of = host_of(&event);
        if args.host.as_ref().is_some_and(|wanted| of.is_some_and(|host| host != wanted)) {
            continue;
        }
        let detail = Detail { verbose: 1 + args.verbose, diff: args.diff, check, quiet: false };
        let stamp = style.paint(Tone::Faint, &format!("[{:>7.1}s]", time.as_secs_f64()));
        told.extend(lines(&event, detail, style).iter().map(|line| format!("{stamp} {line}")));
        match &event {
            Event::StepEnded { host, changes, .. } if args.diff => {
                told.extend(sentence::diffs(host, changes, style))
            }
            Event::HostFailed { host, failure: failure @ Failure::Stopped(_), .. } => {
                told.push(format!("{stamp} {host}  {}", text::harmless(&failure.to_string())));
            }
            Event::HostFailed { host, failure: Failure::Problems(problems), .. } => {
                let typed = |problem: &Problem| Problem {
                    remedy: advice::proposed(&problem.remedy),
                    ..problem.clone()
                };
                found.push((host.clone(), problems.iter().map(typed).collect()));
            }
            Event::HostFailed { host, failure, .. } => {
                let hint = advice::hint(failure.remedy());
                told.extend(
                    hint.map(|hint| format!("{stamp} {host}  hint: {}", text::harmless_lines(&hint))),
                );
            }
            _ => {}
        }
    }
    if !found.is_empty() {
        let found: Vec<(&str, &[Problem])> =
            found.iter().map(|(host, problems)| (host.as_str(), problems.as_slice())).collect();
        told.push(String::new());
        told.extend(problems::of_hosts(&found, style, columns));
    }
    let figures = figures(run, args.host.as_deref());
    if !figures.is_empty() {
        told.push(recap::recap(&figures, None, style).trim_end_matches('\n').to_owned());
    }
    let after = runs::elapsed(run).map(|time| format!(" after {}", text::duration(time))).unwrap_or_default();
    told.push(format!("\n{}{after}", runs::result(run)));
    if run.recap().is_none() && !run.under_way {
        told.push(
            "It was cut off: killed, or this computer went off. The same command goes on from there."
                .to_owned(),
        );
    }
    told.join("\n") + "\n"
}

fn host_of(event: &Event) -> Option<&String> {
    match event {
        Event::Connected { host, .. }
        | Event::RoleStarted { host, .. }
        | Event::RoleEnded { host, .. }
        | Event::StepStarted { host, .. }
        | Event::StepEnded { host, .. }
        | Event::Output { host, .. }
        | Event::Transfer { host, .. }
        | Event::Waiting { host, .. }
        | Event::Retrying { host, .. }
        | Event::Told { host, .. }
        | Event::Tested { host, .. }
        | Event::HostFailed { host, .. }
        | Event::HostDone { host } => Some(host),
        Event::Warning { host, .. } => host.as_ref(),
        Event::RunStarted { .. } | Event::PlayStarted { .. } | Event::RunEnded { .. } => None,
    }
}

/// The figures of Ansible's recap. Of a run that was cut off there are none.
fn figures(run: &Recorded, wanted: Option<&str>) -> Vec<(String, recap::Figures)> {
    let hosts = run.recap().and_then(|recap| recap["hosts"].as_object());
    let hosts = hosts.into_iter().flatten().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name));
    let figures = |(name, host): (&String, &serde_json::Value)| {
        let number = |field: &str| host[field].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let figures = recap::Figures {
            ok: number("ok"),
            changed: number("changed"),
            unreachable: number("unreachable"),
            failed: number("failed"),
            skipped: number("skipped"),
        };
        (text::harmless(name), figures)
    };
    hosts.map(figures).collect()
}
