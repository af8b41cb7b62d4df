//! Programs of this computer before and after plays: when they run, how often, and what becomes of a run where one fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use muster_engine::event::Event;
use muster_engine::hook::Hook;
use muster_engine::play::{Play, Share};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::plays::{Ran, run_plays};

/// A hook of this name, which is this program for sh; what it writes into `log` is in its folder.
fn hook(folder: &TempDir, name: &str, text: &str) -> Hook {
    let program = folder.path().join(name);
    // Another process writes it, because one that this process still writes cannot be run ("text file busy").
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod 755 "$1""#;
    let arguments = ["-c", write, "sh", program.to_str().unwrap(), text];
    assert!(Command::new("sh").args(arguments).status().unwrap().success());
    let variables = [("PATH", std::env::var("PATH").unwrap()), ("ROOM", "104".into())];
    Hook {
        name: name.into(),
        program,
        folder: folder.path().into(),
        environment: variables.map(|(name, value)| (name.to_owned(), value)).into(),
        files: BTreeMap::from([
            ("THERE".to_owned(), folder.path().join("there")),
            ("NOWHERE".to_owned(), folder.path().join("nowhere")),
        ]),
        missing: "MISSING".into(),
        limit: Duration::from_secs(30),
    }
}

fn play(name: &str, hosts: &str, role: &str, before: Vec<Hook>, after: Vec<Hook>) -> Play {
    let roles = vec![role.to_owned()];
    Play { name: name.into(), hosts: hosts.into(), roles, before, after, ..Play::default() }
}

async fn run(hosts: &[&str], plays: Vec<Play>, check: bool) -> Ran {
    run_plays(hosts, plays, 50, CancellationToken::new(), check).await
}

fn log(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("log")).unwrap_or_default()
}

#[tokio::test]
async fn each_runs_once_when_its_play_begins_or_all_are_through_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("there"), "").unwrap();
    let tell = |what: &str| {
        hook(
            &folder,
            what,
            &format!("echo {what} $ROOM ${{THERE##*/}} ${{NOWHERE-no}} >>log; echo it says so"),
        )
    };
    let plays = || {
        vec![
            play("first", "all", "linger", vec![tell("before")], vec![tell("between")]),
            play("second", "a", "work", Vec::new(), vec![tell("after")]),
        ]
    };
    let ran = run(&["a", "b", "c"], plays(), false).await;
    assert_eq!(ran.ends(), ["done"; 3]);
    assert_eq!(log(&folder), "before 104 there no\nbetween 104 there no\nafter 104 there no\n");
    let place = |is_it: &dyn Fn(&Event) -> bool| ran.events.iter().position(is_it).unwrap();
    let ended = |name: &'static str| move |event: &Event| matches!(event, Event::RoleEnded { role, .. } if role == name);
    let begun = |name: &'static str| move |event: &Event| matches!(event, Event::RoleStarted { role, .. } if role == name);
    assert!(place(&ended("before")) < place(&begun("linger")));
    let through = ran
        .events
        .iter()
        .rposition(|event| matches!(event, Event::RoleEnded { role, .. } if role == "linger"));
    assert!(through.unwrap() < place(&ended("between")) && place(&ended("between")) < place(&begun("work")));
    assert!(
        ran.events.iter().any(|event| matches!(event, Event::Output { line, .. } if line == "it says so"))
    );

    // Where it is only looked nobody runs them.
    let looked = run(&["a", "b", "c"], plays(), true).await;
    assert_eq!((looked.ends(), log(&folder).lines().count()), (vec!["done".to_owned(); 3], 3));
    let told = looked.events.iter().filter_map(|event| match event {
        Event::Told { text, .. } => Some(text.split(" is not run").next().unwrap()),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["before", "between", "after"]);
}

#[tokio::test]
async fn where_one_fails_nobody_begins_its_play() {
    let folder = tempfile::tempdir().unwrap();
    let broken = hook(&folder, "broken", "echo out; echo nobody is here >&2; exit 3");
    let plays = vec![
        play("first", "all", "work", Vec::new(), Vec::new()),
        play("second", "all", "risk", vec![broken], vec![hook(&folder, "after", "echo after >>log")]),
    ];
    let ran = run(&["a", "b"], plays, false).await;
    let mut ends = ran.ends();
    ends.sort();
    let stopped = "stopped, because broken did not end well".to_owned();
    assert!(ends[0].starts_with("broken ended with exit status: 3"), "{ends:?}");
    assert_eq!((&ends[1], log(&folder).as_str()), (&stopped, ""));
    let tails: Vec<&str> = ran
        .events
        .iter()
        .filter_map(|event| match event {
            Event::HostFailed { failure: muster_engine::failure::Failure::Other { tail, .. }, .. } => {
                Some(tail.as_str())
            }
            _ => None,
        })
        .collect();
    assert!(tails.len() == 1 && tails[0].contains("nobody is here") && tails[0].contains("out"), "{tails:?}");
    for host in ["a", "b"] {
        assert!(!ran.roles(host).contains(&"risk".to_owned()), "{:?}", ran.roles(host));
    }
}

#[tokio::test]
async fn one_after_a_play_knows_who_is_not_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let after = || vec![hook(&folder, "after", "echo \"$MISSING\" >>log")];
    let plays = |most| vec![Play { max_failures: most, ..play("p", "all", "risk", Vec::new(), after()) }];
    run(&["a", "bad1", "b", "off1"], plays(None), false).await;
    assert_eq!(log(&folder), "bad1,off1\n");
    // Where the play has not come about nothing is after it.
    run(&["a", "bad1", "b", "off1"], plays(Some(Share::Hosts(1))), false).await;
    assert_eq!(log(&folder), "bad1,off1\n");
}

/// Whether the program has ended whose number is written down there.
fn has_ended(folder: &Path) -> bool {
    let id = fs::read_to_string(folder.join("id")).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.trim()));
    // Nobody may be there to take its status.
    stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn one_that_takes_too_long_or_is_interrupted_is_ended_with_all_that_it_has_begun() {
    let folder = tempfile::tempdir().unwrap();
    let endless = |limit| {
        let hook = hook(&folder, "endless", "sleep 600 & echo $! >id; echo it waits; wait");
        vec![play("p", "all", "work", vec![Hook { limit, ..hook }], Vec::new())]
    };
    let ran = run(&["a"], endless(Duration::from_secs(1)), false).await;
    assert_eq!(ran.ends(), ["endless was ended, because it took longer than 1 seconds"]);
    assert!(has_ended(folder.path()));

    fs::remove_file(folder.path().join("id")).unwrap();
    let (cancel, begun) = (CancellationToken::new(), Instant::now());
    let interrupt = async {
        while !fs::read_to_string(folder.path().join("id")).is_ok_and(|id| id.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(
        run_plays(&["a"], endless(Duration::from_secs(600)), 50, cancel.clone(), false),
        interrupt
    );
    assert_eq!(ran.ends(), ["stopped, because it was interrupted"]);
    assert!(has_ended(folder.path()) && begun.elapsed() < Duration::from_secs(20));
}
