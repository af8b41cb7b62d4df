use serde_json::json;

use super::*;
use crate::advice::KnownHostKey;
use crate::event::{Change, Counts};
use crate::failure::Problem;
use crate::transport::TransportError;

const DOCUMENT: &str = include_str!("../../../../docs/events.md");

fn words(advice: &Advice) -> String {
    advice.in_words().map_or_else(|| "ask the program for it".to_owned(), str::to_owned)
}

/// One of each.
fn events() -> Vec<Event> {
    let host = || "node1".to_owned();
    let (play, role, step) =
        (|| "Bring it up".to_owned(), || "database".to_owned(), || "Start it".to_owned());
    let elapsed = Duration::from_millis(1234);
    let counts = Counts { ok: 3, changed: 1, skipped: 0 };
    let change =
        Change { resource: "service x".into(), what: "started".into(), diff: None, momentary: false };
    let what = || "the lock".to_owned();
    let mut events = vec![
        Event::RunStarted { hosts: vec![host()], plays: vec![play()], check: false },
        Event::PlayStarted { play: play(), hosts: vec![host()] },
        Event::Connected { host: host(), elapsed },
        Event::RoleStarted { host: host(), play: play(), role: role() },
        Event::RoleEnded { host: host(), role: role(), counts, elapsed },
        Event::StepStarted { host: host(), role: role(), step: step() },
        Event::StepEnded {
            host: host(),
            role: role(),
            step: step(),
            counts,
            changes: vec![change],
            exchanges: 2,
            elapsed,
        },
        Event::Output { host: host(), line: "a\nb\u{1b}".into() },
        Event::Transfer { host: host(), name: "program".into(), sent: 1, total: 2 },
        Event::Waiting { host: host(), what: what(), elapsed },
        Event::Retrying {
            host: host(),
            what: what(),
            reason: "y".into(),
            attempt: 1,
            attempts: 3,
            delay: elapsed,
        },
        Event::Warning { host: None, text: "x".into() },
        Event::Told { host: host(), text: "x".into() },
        Event::Tested { host: host(), what: what() },
        Event::HostDone { host: host() },
        Event::RunEnded { elapsed },
    ];
    let failed = |failure| Event::HostFailed { host: host(), role: Some(role()), step: None, failure };
    events.extend(failures().into_iter().map(failed));
    events
}

/// What each is called. A new one is missing here first, and then in [`events`].
fn name(event: &Event) -> &'static str {
    match event {
        Event::RunStarted { .. } => "run_started",
        Event::PlayStarted { .. } => "play_started",
        Event::Connected { .. } => "connected",
        Event::RoleStarted { .. } => "role_started",
        Event::RoleEnded { .. } => "role_ended",
        Event::StepStarted { .. } => "step_started",
        Event::StepEnded { .. } => "step_ended",
        Event::Output { .. } => "output",
        Event::Transfer { .. } => "transfer",
        Event::Waiting { .. } => "waiting",
        Event::Retrying { .. } => "retrying",
        Event::Warning { .. } => "warning",
        Event::Told { .. } => "told",
        Event::Tested { .. } => "tested",
        Event::HostFailed { .. } => "host_failed",
        Event::HostDone { .. } => "host_done",
        Event::RunEnded { .. } => "run_ended",
    }
}

/// One of each.
fn failures() -> Vec<Failure> {
    let (address, user, reason) =
        (|| "[::1]:22".to_owned(), || "anna".to_owned(), || "no: answer".to_owned());
    let limit = Duration::from_secs(5);
    let problem =
        Problem { check: "memory".into(), found: "1".into(), needed: "2".into(), remedy: "add".into() };
    let replace = KnownHostKey { machine: "::1".into(), file: "/known_hosts".into(), name: "::1".into() };
    let replace = Advice::ReplaceHostKey(Box::new(replace));
    let transport = [
        TransportError::Unreachable { address: address(), reason: reason(), remedy: "switch it on".into() },
        TransportError::Refused {
            address: address(),
            user: user(),
            tried: "x".into(),
            remedy: Advice::GivePrivateKey,
        },
        TransportError::HostKey { address: address(), reason: reason(), changed: true, remedy: replace },
        TransportError::Privilege {
            address: address(),
            user: user(),
            reason: reason(),
            remedy: Advice::GiveBecomePassword { user: user() },
        },
        TransportError::Lost { address: address(), reason: reason() },
        TransportError::Input { address: address(), reason: reason() },
        TransportError::Flood { address: address(), limit: 1 << 20 },
        TransportError::TimedOut { address: address(), limit },
    ];
    let mut failures: Vec<Failure> = transport.map(Failure::Transport).into();
    failures.extend([
        Failure::Vars("a.yml:1:2: it is not so".into()),
        Failure::Change { resource: "service x".into(), status: 3, tail: "one\ntwo".into() },
        Failure::Waited { what: "x".into(), limit, tail: String::new() },
        Failure::Unwell {
            message: "it is not well on node2".into(),
            hosts: vec!["node2".into()],
            remedy: "mend it".into(),
            tail: "one".into(),
        },
        Failure::Dependency { what: "x".into(), host: "node2".into() },
        Failure::Problems(vec![problem]),
        Failure::Locked { message: "locked by anna".into(), remedy: Advice::AwaitLock },
        Failure::Stopped("node2 failed".into()),
        Failure::new("it broke", "mend it"),
    ]);
    failures
}

#[test]
fn what_was_written_is_read_as_the_same() {
    for event in events() {
        let object = write(&event, Duration::from_millis(1500), words);
        let Some((time, read)) = read(&object) else { panic!("{object}") };
        assert_eq!((time, format!("{read:?}")), (Duration::from_millis(1500), format!("{event:?}")));
        if let Event::HostFailed { failure: failed, .. } = &event {
            assert_eq!(object["failure"], failure(failed, words), "its remedy is in words");
        }
    }
}

#[test]
fn every_event_every_field_and_every_kind_of_failure_is_documented() {
    for event in events() {
        let object = write(&event, Duration::ZERO, words);
        let name = name(&event);
        assert_eq!(object["event"], name);
        let entry = DOCUMENT.lines().find(|text| text.starts_with(&format!("| `{name}` |")));
        let entry = entry.unwrap_or_else(|| panic!("docs/events.md has no line for {name}"));
        for field in
            object.as_object().unwrap().keys().filter(|key| !["v", "t", "event"].contains(&key.as_str()))
        {
            assert!(entry.contains(&format!("`{field}`")), "docs/events.md: {name} has a field {field}");
        }
    }
    let common = ["kind", "message", "unreachable", "stopped", "remedy", "advice", "output"];
    assert!(common.iter().all(|field| DOCUMENT.contains(&format!("`{field}`"))));
    for told in failures().iter().map(|told| failure(told, words)) {
        let kind = told["kind"].as_str().unwrap();
        let entry = DOCUMENT.lines().find(|text| text.starts_with(&format!("| `{kind}` |")));
        let entry = entry.unwrap_or_else(|| panic!("docs/events.md has no line for the failure {kind}"));
        for field in told.as_object().unwrap().keys().filter(|key| !common.contains(&key.as_str())) {
            assert!(entry.contains(&format!("`{field}`")), "docs/events.md: {kind} has a field {field}");
        }
        if let Some(what) = told["advice"]["do"].as_str() {
            assert!(DOCUMENT.contains(&format!("`{what}`")), "docs/events.md: there is an advice {what}");
        }
    }
    assert!(DOCUMENT.contains(&format!("`v` is {VERSION}")));
}

#[test]
fn an_event_is_one_line_with_the_time_since_the_beginning() {
    let event = Event::Output { host: "node1".into(), line: "a\nb\u{1b}".into() };
    assert_eq!(
        write(&event, Duration::from_micros(1_234_567), words).to_string(),
        r#"{"v":1,"t":1.235,"event":"output","host":"node1","line":"a\nb\u001b"}"#
    );
}

#[test]
fn a_failure_is_told_in_words_with_its_kind_and_what_that_has() {
    let locked = Failure::Locked { message: "locked by anna".into(), remedy: Advice::AwaitLock };
    assert_eq!(
        failure(&locked, words).to_string(),
        r#"{"kind":"locked","message":"locked by anna","unreachable":false,"stopped":false,"remedy":"ask the program for it","advice":{"do":"await_lock"},"output":null}"#
    );
    let stopped = Failure::Stopped("node2 failed".into());
    assert_eq!(
        failure(&stopped, words).to_string(),
        r#"{"kind":"stopped","because":"node2 failed","message":"stopped, because node2 failed","unreachable":false,"stopped":true,"remedy":null,"output":null}"#
    );
}

#[test]
fn what_was_written_before_failures_had_kinds_is_read_by_its_message() {
    let failed = |failure: Value| {
        let object = json!({
            "v": 1, "t": 2, "event": "host_failed", "host": "a", "role": null, "step": null, "failure": failure
        });
        match read(&object) {
            Some((_, Event::HostFailed { failure, .. })) => failure,
            other => panic!("{other:?}"),
        }
    };
    let plain = json!({"message": "a:22: no route", "unreachable": true, "stopped": false, "remedy": "r", "output": null});
    let read = failed(plain);
    assert_eq!((read.to_string(), read.remedy()), ("a:22: no route".to_owned(), Some(&"r".into())));
    let newer = json!({"kind": "eaten", "by": 3, "message": "m", "unreachable": false, "output": "x"});
    assert_eq!((failed(newer.clone()).to_string(), failed(newer).tail()), ("m".to_owned(), Some("x")));
    let problems = json!([{"check": "c", "found": "f", "needed": "n", "remedy": "r"}]);
    let found =
        json!({"message": "1 problem found", "unreachable": false, "remedy": null, "problems": problems});
    assert!(matches!(failed(found), Failure::Problems(problems) if problems[0].check == "c"));
}

#[test]
fn what_is_no_event_of_this_version_is_passed_over() {
    for object in [
        json!({"v": 1, "t": 0.0, "event": "command", "command": "x"}),
        json!({"v": 1, "t": 0.0, "event": "from_the_future", "host": "a"}),
        json!({"v": 2, "t": 0.0, "event": "host_done", "host": "a"}),
        json!({"v": 1, "t": -1.0, "event": "host_done", "host": "a"}),
        json!({"v": 1, "t": 0.0, "event": "host_done"}),
        json!(7),
    ] {
        assert!(read(&object).is_none(), "{object}");
    }
}
