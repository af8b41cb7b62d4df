//! One JSON object a line for each thing that happens, for programs. The schema is `docs/events.md`; a test holds the two
//! together.

use std::io::Write;
use std::time::{Duration, Instant};

use muster_engine::event::{Change, Counts, Event};
use muster_engine::failure::Failure;
use serde_json::{Value, json};

use crate::output::show::Sink;
use crate::output::view::View;

/// The number that `v` has. It changes when something that was there is removed or means something else; new fields and
/// new events may come without a change.
pub(crate) const VERSION: u32 = 1;

/// JSON lines.
pub(crate) struct Jsonl;

impl Jsonl {
    pub(crate) fn new() -> Self {
        Self
    }
}

impl Sink for Jsonl {
    fn event(&mut self, event: &Event, _ended: &[usize], view: &View, now: Instant) {
        print(&line(event, now.saturating_duration_since(view.begun)));
    }

    fn tick(&mut self, _view: &View, _now: Instant) {}

    fn end(&mut self) {}
}

/// Prints one object. When nobody reads any more the run must go on all the same.
pub(crate) fn print(object: &Value) {
    writeln!(std::io::stdout().lock(), "{object}").ok();
}

/// The fields that every object has, with those of one event.
pub(crate) fn object(event: &str, since_begin: Duration, fields: Value) -> Value {
    let mut object = json!({ "v": VERSION, "t": seconds(since_begin), "event": event });
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        object.extend(fields);
    }
    object
}

/// Seconds with three decimals.
pub(crate) fn seconds(time: Duration) -> Value {
    json!((time.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// A failure, as it is in `host_failed` and in `recap`.
pub(crate) fn failure(failure: &Failure) -> Value {
    let mut fields = json!({
        "message": failure.to_string(),
        "unreachable": failure.is_unreachable(),
        "stopped": matches!(failure, Failure::Stopped(_)),
        "remedy": failure.remedy(),
        "output": failure.tail(),
    });
    if let Failure::Problems(problems) = failure {
        let problems: Vec<Value> = problems
            .iter()
            .map(|p| json!({ "check": p.check, "found": p.found, "needed": p.needed, "remedy": p.remedy }))
            .collect();
        fields["problems"] = json!(problems);
    }
    fields
}

fn counts(counts: &Counts) -> Value {
    json!({ "ok": counts.ok, "changed": counts.changed, "skipped": counts.skipped })
}

fn changes(changes: &[Change]) -> Value {
    changes.iter().map(|c| json!({ "resource": c.resource, "what": c.what, "diff": c.diff })).collect()
}

/// One event, so long after the run began.
pub(crate) fn line(event: &Event, time: Duration) -> Value {
    let (name, fields) = match event {
        Event::RunStarted { hosts, plays, check } => {
            ("run_started", json!({ "hosts": hosts, "plays": plays, "check": check }))
        }
        Event::PlayStarted { play, hosts } => ("play_started", json!({ "play": play, "hosts": hosts })),
        Event::Connected { host, elapsed } => {
            ("connected", json!({ "host": host, "elapsed": seconds(*elapsed) }))
        }
        Event::RoleStarted { host, play, role } => {
            ("role_started", json!({ "host": host, "play": play, "role": role }))
        }
        Event::RoleEnded { host, role, counts: c, elapsed } => (
            "role_ended",
            json!({ "host": host, "role": role, "counts": counts(c), "elapsed": seconds(*elapsed) }),
        ),
        Event::StepStarted { host, role, step } => {
            ("step_started", json!({ "host": host, "role": role, "step": step }))
        }
        Event::StepEnded { host, role, step, counts: c, changes: list, exchanges, elapsed } => (
            "step_ended",
            json!({
                "host": host, "role": role, "step": step, "counts": counts(c), "changes": changes(list),
                "exchanges": exchanges, "elapsed": seconds(*elapsed),
            }),
        ),
        Event::Output { host, line } => ("output", json!({ "host": host, "line": line })),
        Event::Transfer { host, name, sent, total } => {
            ("transfer", json!({ "host": host, "name": name, "sent": sent, "total": total }))
        }
        Event::Waiting { host, what, elapsed } => {
            ("waiting", json!({ "host": host, "what": what, "elapsed": seconds(*elapsed) }))
        }
        Event::Retrying { host, what, reason, attempt, attempts, delay } => (
            "retrying",
            json!({
                "host": host, "what": what, "reason": reason, "attempt": attempt, "attempts": attempts,
                "delay": seconds(*delay),
            }),
        ),
        Event::Warning { host, text } => ("warning", json!({ "host": host, "text": text })),
        Event::HostFailed { host, role, step, failure: f } => {
            ("host_failed", json!({ "host": host, "role": role, "step": step, "failure": failure(f) }))
        }
        Event::HostDone { host } => ("host_done", json!({ "host": host })),
        Event::RunEnded { elapsed } => ("run_ended", json!({ "elapsed": seconds(*elapsed) })),
    };
    object(name, time, fields)
}

#[cfg(test)]
pub(crate) mod tests {
    use muster_engine::failure::Problem;

    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/events.md");

    /// One of each. A new kind of event is missing from the match in `line` first, and then here.
    pub(crate) fn one_of_each() -> Vec<Event> {
        let host = || "node1".to_owned();
        let (role, step) = (|| "etcd".to_owned(), || "Start etcd".to_owned());
        let elapsed = Duration::from_millis(1234);
        let c = Counts { ok: 3, changed: 1, skipped: 0 };
        let change = Change { resource: "service etcd".into(), what: "started".into(), diff: None };
        let problem = Problem {
            check: "memory".into(),
            found: "498 MB".into(),
            needed: "1500 MB".into(),
            remedy: "".into(),
        };
        vec![
            Event::RunStarted { hosts: vec![host()], plays: vec!["p".into()], check: false },
            Event::PlayStarted { play: "p".into(), hosts: vec![host()] },
            Event::Connected { host: host(), elapsed },
            Event::RoleStarted { host: host(), play: "p".into(), role: role() },
            Event::RoleEnded { host: host(), role: role(), counts: c, elapsed },
            Event::StepStarted { host: host(), role: role(), step: step() },
            Event::StepEnded {
                host: host(),
                role: role(),
                step: step(),
                counts: c,
                changes: vec![change],
                exchanges: 2,
                elapsed,
            },
            Event::Output { host: host(), line: "x".into() },
            Event::Transfer { host: host(), name: "kubelet".into(), sent: 1, total: 2 },
            Event::Waiting { host: host(), what: "x".into(), elapsed },
            Event::Retrying {
                host: host(),
                what: "x".into(),
                reason: "y".into(),
                attempt: 1,
                attempts: 3,
                delay: elapsed,
            },
            Event::Warning { host: None, text: "x".into() },
            Event::HostFailed {
                host: host(),
                role: Some(role()),
                step: None,
                failure: Failure::Problems(vec![problem]),
            },
            Event::HostDone { host: host() },
            Event::RunEnded { elapsed },
        ]
    }

    #[test]
    fn every_event_and_every_field_is_documented() {
        for event in one_of_each() {
            let line = line(&event, Duration::ZERO);
            let name = line["event"].as_str().unwrap();
            let entry = DOCUMENT.lines().find(|text| text.starts_with(&format!("| `{name}` |")));
            let entry = entry.unwrap_or_else(|| panic!("docs/events.md has no line for {name}"));
            for field in
                line.as_object().unwrap().keys().filter(|key| !["v", "t", "event"].contains(&key.as_str()))
            {
                assert!(entry.contains(&format!("`{field}`")), "docs/events.md: {name} has a field {field}");
            }
        }
        for field in failure(&Failure::Problems(Vec::new())).as_object().unwrap().keys() {
            assert!(DOCUMENT.contains(&format!("`{field}`")), "docs/events.md: failure has a field {field}");
        }
        assert!(DOCUMENT.contains(&format!("`v` is {VERSION}")));
    }

    #[test]
    fn an_event_is_one_line_with_the_time_since_the_beginning() {
        let event = Event::Output { host: "node1".into(), line: "a\nb\u{1b}".into() };
        assert_eq!(
            line(&event, Duration::from_micros(1_234_567)).to_string(),
            r#"{"v":1,"t":1.235,"event":"output","host":"node1","line":"a\nb\u001b"}"#
        );
    }
}
