//! JSON lines read again: what a record tells as events, for the sinks that show them.

use std::time::Duration;

use muster_engine::event::{Change, Counts, Event};
use muster_engine::failure::{Failure, Problem};
use muster_engine::transport::TransportError;
use serde_json::Value;

/// What a line says: how long after the beginning of the run, and the event. `None` for lines that are no events of the
/// engine, and for those that a newer muster may have written.
pub(crate) fn event(line: &Value) -> Option<(Duration, Event)> {
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    let texts = |name: &str| {
        let list = line[name].as_array()?;
        list.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    };
    let number = |name: &str| line[name].as_u64().and_then(|number| usize::try_from(number).ok());
    let time = |name: &str| Duration::try_from_secs_f64(line[name].as_f64()?).ok();
    let event = match line["event"].as_str()? {
        "run_started" => Event::RunStarted {
            hosts: texts("hosts")?,
            plays: texts("plays")?,
            check: line["check"].as_bool()?,
        },
        "play_started" => Event::PlayStarted { play: text("play")?, hosts: texts("hosts")? },
        "connected" => Event::Connected { host: text("host")?, elapsed: time("elapsed")? },
        "role_started" => {
            Event::RoleStarted { host: text("host")?, play: text("play")?, role: text("role")? }
        }
        "role_ended" => Event::RoleEnded {
            host: text("host")?,
            role: text("role")?,
            counts: counts(&line["counts"])?,
            elapsed: time("elapsed")?,
        },
        "step_started" => {
            Event::StepStarted { host: text("host")?, role: text("role")?, step: text("step")? }
        }
        "step_ended" => Event::StepEnded {
            host: text("host")?,
            role: text("role")?,
            step: text("step")?,
            counts: counts(&line["counts"])?,
            changes: line["changes"].as_array()?.iter().map(change).collect::<Option<_>>()?,
            exchanges: number("exchanges")?,
            elapsed: time("elapsed")?,
        },
        "output" => Event::Output { host: text("host")?, line: text("line")? },
        "retrying" => Event::Retrying {
            host: text("host")?,
            what: text("what")?,
            reason: text("reason")?,
            attempt: number("attempt")?,
            attempts: number("attempts")?,
            delay: time("delay")?,
        },
        "warning" => Event::Warning { host: text("host"), text: text("text")? },
        "host_failed" => Event::HostFailed {
            host: text("host")?,
            role: text("role"),
            step: text("step"),
            failure: failure(&line["failure"])?,
        },
        "host_done" => Event::HostDone { host: text("host")? },
        "run_ended" => Event::RunEnded { elapsed: time("elapsed")? },
        _ => return None,
    };
    Some((time("t")?, event))
}

fn counts(value: &Value) -> Option<Counts> {
    let number = |name: &str| value[name].as_u64().and_then(|number| usize::try_from(number).ok());
    Some(Counts { ok: number("ok")?, changed: number("changed")?, skipped: number("skipped")? })
}

fn change(value: &Value) -> Option<Change> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    Some(Change { resource: text("resource")?, what: text("what")?, diff: text("diff") })
}

/// A failure that is told, and counts, as the one that was written down.
fn failure(value: &Value) -> Option<Failure> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let (message, remedy) = (text("message")?, text("remedy").unwrap_or_default());
    if let Some(problems) = value["problems"].as_array() {
        let problem = |value: &Value| {
            let text = |name: &str| value[name].as_str().map(str::to_owned);
            let (check, found) = (text("check")?, text("found")?);
            Some(Problem { check, found, needed: text("needed")?, remedy: text("remedy")? })
        };
        return Some(Failure::Problems(problems.iter().map(problem).collect::<Option<_>>()?));
    }
    if value["stopped"] == true {
        let why = message.strip_prefix("stopped, because ").unwrap_or(&message);
        return Some(Failure::Stopped(why.to_owned()));
    }
    if value["unreachable"] == true {
        let (address, reason) = message.split_once(": ").unwrap_or(("", &message));
        let (address, reason) = (address.to_owned(), reason.to_owned());
        return Some(Failure::Transport(TransportError::Unreachable { address, reason, remedy }));
    }
    Some(Failure::Other { message, remedy, tail: text("output").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::jsonl;

    #[track_caller]
    fn check(written: &Event) {
        let line = jsonl::line(written, Duration::from_millis(1500));
        let Some((time, read)) = event(&line) else { panic!("{line}") };
        assert_eq!(jsonl::line(&read, time), line);
    }

    #[test]
    fn what_was_written_is_read_as_the_same() {
        for event in jsonl::tests::one_of_each() {
            // They are not recorded.
            if !matches!(event, Event::Transfer { .. } | Event::Waiting { .. }) {
                check(&event);
            }
        }
    }

    #[test]
    fn failures_of_every_kind_are_told_and_counted_as_they_were() {
        let unreachable = TransportError::Unreachable {
            address: "[::1]:22".into(),
            reason: "no answer: in 10 s".into(),
            remedy: "switch it on".into(),
        };
        for failure in [
            Failure::Stopped("it was interrupted".into()),
            Failure::Transport(unreachable),
            Failure::new("it broke", "mend it"),
            Failure::Problems(Vec::new()),
        ] {
            check(&Event::HostFailed { host: "a".into(), role: None, step: Some("s".into()), failure });
        }
        let change = Failure::Change { resource: "etcd".into(), status: 1, tail: "one\ntwo".into() };
        let written = jsonl::failure(&change);
        let read = failure(&written).unwrap();
        assert_eq!((read.to_string(), read.tail()), (change.to_string(), change.tail()));
    }
}
