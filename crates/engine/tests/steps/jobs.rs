//! Detached steps: what is started goes on without a connection, is found again, and is never started twice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_engine::event::Event;
use muster_engine::prelude::*;
use muster_testkit::fault_record::held;

use crate::shell::{Cut, Shell};
use crate::{SHELLS, TURN, at, fresh, run};

/// One command that takes its time: until it may end, where a test says so.
pub(crate) async fn long(host: &Host) -> Result<()> {
    host.step("a long step").detached().ensure(long_command()).await.map(drop)
}

/// The same without going on by itself.
pub(crate) async fn slow(host: &Host) -> Result<()> {
    host.step("a slow step").ensure(long_command()).await.map(drop)
}

fn long_command() -> Command {
    let program = r#"
echo began >>"$1/began"
echo working >&2
while [ -e "$1/hold" ]; do sleep 0.05; done
[ ! -e "$1/fail" ] || { echo it broke >&2; exit 4; }
echo done >"$1/done""#;
    command("a long command", sh(program, [at("a")]), sh(r#"[ -e "$1/done" ]"#, [at("a")]))
}

fn began(folder: &Path) -> usize {
    fs::read_to_string(folder.join("f/a/began")).unwrap_or_default().lines().count()
}

/// The exchange that starts the job: after facts, and what is looked at.
const START: usize = 2;

#[tokio::test]
async fn a_detached_step_costs_no_more_exchanges_and_shows_what_it_writes() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    for words in SHELLS {
        fresh(&temporary.path().join("f"));
        let first = run("long", Arc::new(Shell::new(words, temporary.path())), false).await.well();
        assert_eq!((first.changes.len(), first.exchanges, began(temporary.path())), (1, 2, 1), "{words:?}");
        let shown = |event: &&Event| matches!(event, Event::Output { line, .. } if line == "working");
        assert_eq!(first.events.iter().filter(shown).count(), 1, "{words:?}");
        let jobs = fs::read_dir(temporary.path().join("muster/jobs")).unwrap();
        assert_eq!(jobs.count(), 0, "what is over is cleaned away");
        let mode = fs::metadata(temporary.path().join("muster/jobs")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(run("long", Arc::new(Shell::new(words, temporary.path())), false).await.exchanges, 1);
    }
}

#[tokio::test]
async fn a_failed_job_is_a_failed_change_with_its_last_words() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    fresh(&temporary.path().join("f"));
    fs::write(temporary.path().join("f/a/fail"), "").unwrap();
    let ran = run("long", Arc::new(Shell::new(&["dash"], temporary.path())), false).await;
    let Some(Failure::Change { resource, status, tail }) = &ran.outcome["here"].failure else {
        panic!("{:?}", ran.outcome);
    };
    assert_eq!((resource.as_str(), *status), ("a long command", 4));
    assert!(tail.ends_with("working\nit broke"), "{tail}");
}

#[tokio::test]
async fn a_job_goes_on_when_the_connection_is_lost_and_is_found_again() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    for words in SHELLS {
        fresh(&temporary.path().join("f"));
        let hold = temporary.path().join("f/a/hold");
        fs::write(&hold, "").unwrap();
        let shell = Arc::new(Shell::new(words, temporary.path()).cut(Cut::During(START, "f/a/began")));
        let release = async {
            while shell.programs().len() <= START + 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            fs::remove_file(&hold).unwrap();
        };
        let (ran, ()) = tokio::join!(run("long", shell.clone(), false), release);
        let ran = ran.well();
        assert_eq!(
            (began(temporary.path()), ran.exchanges),
            (1, 3),
            "{words:?}: looked, started, found again"
        );
        assert!(ran.events.iter().any(|event| matches!(event, Event::Retrying { .. })));
    }
    held(
        "connection cut",
        "while a detached step is at work",
        SHELLS.len(),
        "the step goes on, is found again, and was started once",
    );
}

#[tokio::test]
async fn a_step_that_is_tried_again_waits_for_its_own_first_attempt() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    fresh(&temporary.path().join("f"));
    let hold = temporary.path().join("f/a/hold");
    fs::write(&hold, "").unwrap();
    let shell = Arc::new(Shell::new(&["dash"], temporary.path()).cut(Cut::Leaving(START, "f/a/began")));
    let release = async {
        // Whether it is still at work is asked at least twice.
        while shell.programs().len() <= START + 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fs::remove_file(&hold).unwrap();
    };
    let (ran, ()) = tokio::join!(run("slow", shell.clone(), false), release);
    ran.well();
    assert_eq!(began(temporary.path()), 1);
    held(
        "connection cut",
        "while a step is at work whose program goes on",
        1,
        "the second attempt waits for the end of the first; done once",
    );
}

#[tokio::test]
async fn a_job_of_a_run_that_is_gone_is_waited_for_by_the_next_one() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    fresh(&temporary.path().join("f"));
    let hold = temporary.path().join("f/a/hold");
    fs::write(&hold, "").unwrap();
    let killed = Arc::new(Shell::new(&["dash"], temporary.path()).cut(Cut::ForGood(START, "f/a/began")));
    tokio::time::timeout(Duration::from_secs(1), run("long", killed, false)).await.ok();

    let shell = Arc::new(Shell::new(&["dash"], temporary.path()));
    let release = async {
        // Facts and lock, then at least once whether it still is at work.
        while shell.programs().len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fs::remove_file(&hold).unwrap();
    };
    let (ran, ()) = tokio::join!(run("long", shell.clone(), false), release);
    let ran = ran.well();
    assert_eq!(
        (began(temporary.path()), ran.changes.len()),
        (1, 0),
        "it was waited for, and nothing was left to do"
    );
    let told = |event: &Event| matches!(event, Event::Waiting { what, .. } if what.starts_with("\"a long step\" of an earlier run (process ") && what.ends_with(" to end: working"));
    assert!(ran.events.iter().any(told), "{:?}", ran.events);
    held(
        "controller gone for good",
        "while a detached step is at work",
        1,
        "the next run waits for the step, and finds it done",
    );
}

#[tokio::test]
async fn a_job_that_a_restart_of_the_machine_ended_begins_again() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    fresh(&temporary.path().join("f"));
    let hold = temporary.path().join("f/a/hold");
    fs::write(&hold, "").unwrap();
    let shell = Arc::new(Shell::new(&["dash"], temporary.path()).cut(Cut::During(START, "f/a/began")));
    let restart = async {
        while began(temporary.path()) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The record is of another start of the machine; that its process is there again is an accident.
        let job = fs::read_dir(temporary.path().join("muster/jobs")).unwrap().next().unwrap().unwrap().path();
        let record = fs::read_to_string(job.join("record")).unwrap();
        let mut words: Vec<&str> = record.trim().splitn(4, ' ').collect();
        words[2] = "another-start";
        fs::write(job.join("record"), words.join(" ") + "\n").unwrap();
        while began(temporary.path()) == 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fs::remove_file(&hold).unwrap();
    };
    let (ran, ()) = tokio::join!(run("long", shell.clone(), false), restart);
    ran.well();
    assert_eq!(began(temporary.path()), 2);
    held("machine restarts", "while a detached step is at work", 1, "the step begins again");
}
