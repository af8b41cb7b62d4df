//! Steps with real shells: what resources do, that a second run finds nothing to do, and what is left after a cut. And
//! plays of several hosts.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod hooks;
mod jobs;
mod locks;
mod plays;
mod removal;
mod shell;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, FutureExt};
use muster_artifacts::Bundle;
use muster_engine::event::{Change, Event, Events};
use muster_engine::lock::LockRequest;
use muster_engine::play::Play;
use muster_engine::prelude::*;
use muster_engine::run::{Outcome, Role, Run};
use muster_engine::transport::Transport;
use muster_inventory::{GroupRules, Inventory, VarsBuilder};
use muster_testkit::fault_record::held;
use shell::{Cut, Shell};

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// The folder in which the role under test works.
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);
/// One test at a time: a role is a plain function and finds its folder in a static.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn folder() -> String {
    FOLDER.lock().unwrap().as_ref().unwrap().to_str().unwrap().to_owned()
}

fn at(name: &str) -> String {
    format!("{}/{name}", folder())
}

/// Every resource that can be tried in a folder.
async fn everything(host: &Host) -> Result<()> {
    let me = host.query(sh0("id -un; id -gn")).await?.output;
    let mut me = me.lines();
    let (owner, group) = (me.next().unwrap(), me.next().unwrap());
    let mine = |f: File| f.owner(owner).group(group);
    host.step("all")
        .ensure(dir(at("a/b")).owner(owner).group(group).mode(0o750))
        .ensure(mine(file(at("a/b/text")).content("it's\n\"$HOME\" `x` \\ \n\n")).mode(0o640))
        .ensure(mine(file(at("a/no-newline")).content("x")))
        .ensure(mine(file(at("a/empty"))))
        .ensure(mine(file(at("a/secret")).secret("s3cret\n")))
        .ensure(link(at("a/link"), "b/text"))
        .ensure(line(at("a/list"), "wanted line"))
        .remove(file(at("a/gone")))
        .ensure(command("made", sh("echo made >\"$1\"", [at("made")]), sh("[ -e \"$1\" ]", [at("made")])))
        .await?;
    Ok(())
}

async fn failing(host: &Host) -> Result<()> {
    host.step("first").ensure(file(at("before")).content("x").owner("root").group("root")).await?;
    host.step("second")
        .ensure(command("a thing that fails", sh0("echo some words >&2; false"), sh0("false")))
        .ensure(command("a thing after it", sh("echo >\"$1\"", [at("after")]), sh0("false")))
        .await?;
    Ok(())
}

async fn half(host: &Host) -> Result<()> {
    let script = sh0("echo made; echo no room for more >&2; exit 3");
    host.run("what makes half", script, Duration::from_secs(20)).await.map(drop)
}

async fn not_a_file(host: &Host) -> Result<()> {
    host.step("wrong").ensure(file(at("folder")).content("x")).await?;
    Ok(())
}

const ROLES: &[Role] = &[
    role("everything", |h| everything(h).boxed()),
    role("failing", |h| failing(h).boxed()),
    role("half", |h| half(h).boxed()),
    role("not-a-file", |h| not_a_file(h).boxed()),
    role("long", |h| jobs::long(h).boxed()),
    role("slow", |h| jobs::slow(h).boxed()),
    role("owned", |h| removal::install(h).boxed()),
    role("disowned", |h| removal::remove(h).boxed()),
    role("rejected", |h| removal::rejected(h).boxed()),
    role("nothing", |_| async { Ok(()) }.boxed()),
    role("waiting", |h| locks::waiting(h).boxed()),
    role("watching", |h| locks::watching(h).boxed()),
    role("uploading", |h| locks::uploading(h).boxed()),
];

const fn role(name: &'static str, run: for<'h> fn(&'h Host) -> BoxFuture<'h, Result<()>>) -> Role {
    Role::new(name, run)
}

struct Ran {
    outcome: Outcome,
    changes: Vec<Change>,
    exchanges: usize,
    events: Vec<Event>,
}

impl Ran {
    /// Nothing went wrong.
    #[track_caller]
    fn well(self) -> Self {
        assert!(self.outcome["here"].failure.is_none(), "{:?}", self.outcome);
        self
    }

    /// Somebody else's lock was in the way: what the user is told.
    #[track_caller]
    fn locked(&self) -> String {
        match &self.outcome["here"].failure {
            Some(failure @ Failure::Locked { .. }) => format!("{failure}; {:?}", failure.remedy()),
            other => panic!("{other:?}"),
        }
    }
}

/// Who runs the tests. Runs of one test follow each other, so a lock that is held was left behind.
fn me() -> LockRequest {
    LockRequest::new("me@here (pid 1)", "a test", "process 1", Arc::new(|_| true))
}

/// Runs a role on this machine.
async fn run(role: &str, shell: Arc<Shell>, check: bool) -> Ran {
    run_as(me(), role, shell, check).await
}

async fn run_as(request: LockRequest, role: &str, shell: Arc<Shell>, check: bool) -> Ran {
    let roles = vec![role.into()];
    run_play(
        request,
        Play { name: "test".into(), hosts: "all".into(), roles, ..Play::default() },
        shell,
        check,
    )
    .await
}

async fn run_play(request: LockRequest, play: Play, shell: Arc<Shell>, check: bool) -> Ran {
    let inventory = Arc::new(Inventory::from_ini("test", "here\n", GroupRules::new()).unwrap());
    let vars = VarsBuilder::new(inventory.clone()).build().unwrap();
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("manifest.json"), r#"{"format":1,"files":[],"images":[]}"#).unwrap();
    let (events, mut receiver) = Events::channel();
    let connect = move |_: &str| Ok(shell.clone() as Arc<dyn Transport>);
    let outcome = Run {
        plays: &[play],
        roles: ROLES,
        bundle: Arc::new(Bundle::open(empty.path()).unwrap()),
        project: empty.path().into(),
        check,
        lock: Some(request),
        forks: 5,
        ..Run::new(inventory, vars, &connect, events)
    }
    .execute()
    .await
    .unwrap();
    let (mut changes, mut exchanges, mut events) = (Vec::new(), 0, Vec::new());
    while let Ok(event) = receiver.try_recv() {
        if let Event::StepEnded { changes: more, exchanges: n, .. } = &event {
            changes.extend(more.clone());
            exchanges += n;
        }
        events.push(event);
    }
    Ran { outcome, changes, exchanges, events }
}

fn fresh(folder: &Path) {
    fs::remove_dir_all(folder).ok();
    fs::create_dir_all(folder.join("a")).unwrap();
    fs::create_dir_all(folder.join("folder")).unwrap();
    fs::write(folder.join("a/list"), "one\ntwo").unwrap();
    fs::write(folder.join("a/gone"), "").unwrap();
    fs::write(folder.join("a/no-newline"), "old").unwrap();
    *FOLDER.lock().unwrap() = Some(folder.to_owned());
}

/// Everything below a folder: name, mode, content.
fn tree(folder: &Path) -> Vec<(String, u32, String)> {
    let mut list = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(|e| e.unwrap()) {
            let (path, meta) = (entry.path(), entry.path().symlink_metadata().unwrap());
            let content = match () {
                () if meta.is_dir() => {
                    folders.push(path.clone());
                    "folder".into()
                }
                () if meta.is_symlink() => format!("-> {}", fs::read_link(&path).unwrap().display()),
                () => fs::read_to_string(&path).unwrap(),
            };
            let mode = meta.permissions().mode() & 0o7777;
            list.push((path.strip_prefix(folder).unwrap().display().to_string(), mode, content));
        }
    }
    list.sort();
    list
}

#[tokio::test]
async fn every_resource_does_what_it_says_and_a_second_run_changes_nothing() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    for words in SHELLS {
        let folder = temporary.path().join("f");
        fresh(&folder);
        let first = run("everything", Arc::new(Shell::new(words, temporary.path())), false).await;
        assert!(first.outcome["here"].failure.is_none(), "{words:?}: {:?}", first.outcome);
        assert_eq!(first.changes.len(), 9, "{words:?}: {:?}", first.changes);
        assert_eq!(first.exchanges, 2, "{words:?}: a step that changes something is two exchanges");
        let tree = tree(&folder);
        let has = |name: &str, mode: u32, content: &str| {
            assert!(tree.contains(&(name.into(), mode, content.into())), "{words:?} {name}: {tree:#?}");
        };
        has("a/b", 0o750, "folder");
        has("a/b/text", 0o640, "it's\n\"$HOME\" `x` \\ \n\n");
        has("a/no-newline", 0o644, "x");
        has("a/empty", 0o644, "");
        has("a/secret", 0o600, "s3cret\n");
        has("a/list", 0o644, "one\ntwo\nwanted line\n");
        assert!(!tree.iter().any(|(name, ..)| name == "a/gone" || name.contains(".muster")), "{tree:#?}");
        assert!(tree.iter().any(|(name, _, to)| name == "a/link" && to == "-> b/text"), "{tree:#?}");

        let shown = format!("{:?}", first.changes);
        assert!(!shown.contains("s3cret"), "a secret is in what is shown");
        assert!(shown.contains("+it's"), "a diff is shown: {shown}");

        let second = run("everything", Arc::new(Shell::new(words, temporary.path())), false).await;
        assert_eq!((second.changes.len(), second.exchanges), (0, 1), "{words:?}: {:?}", second.changes);
    }
}

#[tokio::test]
async fn check_mode_says_the_same_and_changes_nothing() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("f");
    fresh(&folder);
    let before = tree(&folder);
    let check = run("everything", Arc::new(Shell::new(&["dash"], temporary.path())), true).await;
    assert_eq!(tree(&folder), before);
    assert!(!temporary.path().join("muster").exists(), "not even a lock");
    let done = run("everything", Arc::new(Shell::new(&["dash"], temporary.path())), false).await;
    assert_eq!(check.changes, done.changes);
}

#[tokio::test]
async fn a_connection_lost_before_or_after_any_exchange_leaves_the_same_state() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("f");
    let mut cuts = 0;
    for role in ["everything", "long"] {
        fresh(&folder);
        let undisturbed = Arc::new(Shell::new(&["dash"], temporary.path()));
        run(role, undisturbed.clone(), false).await;
        let wanted = tree(&folder);
        for number in 0..undisturbed.programs().len() {
            for cut in [Cut::Before(number), Cut::After(number)] {
                cuts += 1;
                fresh(&folder);
                run(role, Arc::new(Shell::new(&["dash"], temporary.path()).cut(cut)), false).await;
                // The run goes on by itself, or the next one finishes it; what it leaves is the same.
                run(role, Arc::new(Shell::new(&["dash"], temporary.path())), false).await.well();
                assert_eq!(tree(&folder), wanted, "{cut:?}");
                let last = run(role, Arc::new(Shell::new(&["dash"], temporary.path())), false).await;
                assert!(last.changes.is_empty(), "{cut:?}: {:?}", last.changes);
            }
        }
    }
    held(
        "connection cut",
        "before and after each exchange of a run, one after the other",
        cuts,
        "it or the next run comes to the state of an undisturbed one; the run after that changes nothing",
    );
}

#[tokio::test]
async fn the_first_failure_names_its_resource_and_nothing_after_it_is_done() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("f");
    fresh(&folder);
    let ran = run("failing", Arc::new(Shell::new(&["dash"], temporary.path())), false).await;
    let Some(Failure::Change { resource, status, tail }) = &ran.outcome["here"].failure else {
        panic!("{:?}", ran.outcome);
    };
    assert_eq!((resource.as_str(), *status, tail.as_str()), ("a thing that fails", 1, "some words"));
    assert!(!folder.join("after").exists());
}

#[tokio::test]
async fn a_change_that_did_half_of_it_tells_what_it_did_and_why_it_went_no_further() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let ran = run("half", Arc::new(Shell::new(&["dash"], temporary.path())), false).await;
    let Some(Failure::Change { status, tail, .. }) = &ran.outcome["here"].failure else {
        panic!("{:?}", ran.outcome);
    };
    assert_eq!((*status, tail.as_str()), (3, "made\nno room for more"));
}

#[tokio::test]
async fn a_directory_is_never_replaced_by_a_file() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("f");
    fresh(&folder);
    let ran = run("not-a-file", Arc::new(Shell::new(&["dash"], temporary.path())), false).await;
    let failure = ran.outcome["here"].failure.as_ref().unwrap().to_string();
    assert!(failure.contains("is a directory, and a file is wanted there"), "{failure}");
    assert!(folder.join("folder").is_dir());
}
