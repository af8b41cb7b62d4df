//! The lock: of two runs one changes a machine, and one that has lost its lock changes nothing more.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use muster_engine::event::{Change, Event};
use muster_engine::lock::{LockRequest, Shown, State, break_program, show_program};
use muster_engine::play::Play;
use muster_engine::prelude::*;
use muster_engine::transport::{Exec, Input, Program, Transport};
use muster_testkit::fault_record::held;
use tokio::io::{AsyncRead, ReadBuf};

use crate::shell::Shell;
use crate::{Ran, SHELLS, TURN, at, fresh, me, run, run_as, run_play};

/// Longer than anything takes here: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Holds the lock until it may go on, then changes something.
pub(crate) async fn waiting(host: &Host) -> Result<()> {
    fs::write(at("inside"), "").unwrap();
    until(|| !Path::new(&at("hold")).exists()).await;
    host.step("change").ensure(command("change", sh(r#"echo x >>"$1""#, [at("log")]), sh0("false"))).await?;
    Ok(())
}

/// Looks at the machine for ever.
pub(crate) async fn watching(host: &Host) -> Result<()> {
    fs::write(at("inside"), "").unwrap();
    loop {
        host.query(sh0("true")).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An upload that ends when it may.
pub(crate) async fn uploading(host: &Host) -> Result<()> {
    host.step("upload").ensure(Uploaded).await?;
    Ok(())
}

struct Uploaded;

impl Resource for Uploaded {
    fn label(&self) -> String {
        "an upload".into()
    }

    fn probe(&self) -> Probe {
        Probe::default()
    }

    fn plan(&self, _seen: &Seen) -> Result<Plan, String> {
        let change = Change { resource: self.label(), what: "sent".into(), diff: None, momentary: false };
        let hold = PathBuf::from(at("hold"));
        let upload = Upload {
            name: "nothing".into(),
            // Of no bytes at all.
            bytes: Bytes::Sha256("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into()),
            size: 0,
            open: Arc::new(move |_| {
                fs::write(hold.with_file_name("inside"), "").unwrap();
                Ok(Box::new(NothingUntil(hold.clone())) as Input)
            }),
        };
        Ok(Plan { changes: vec![change], script: None, uploads: vec![upload] })
    }

    fn desired(&self) -> String {
        self.label()
    }
}

/// A stream that ends, empty, when a file is gone.
struct NothingUntil(PathBuf);

impl AsyncRead for NothingUntil {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.0.exists() {
            return Poll::Ready(Ok(()));
        }
        let waker = cx.waker().clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            waker.wake();
        });
        Poll::Pending
    }
}

async fn until(mut met: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !met() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A machine in a folder, and a hold that keeps roles from going on.
struct Machine {
    folder: tempfile::TempDir,
    words: &'static [&'static str],
}

impl Machine {
    fn new(words: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fresh(&folder.path().join("f"));
        fs::write(folder.path().join("f/hold"), "").unwrap();
        Self { folder, words }
    }

    fn shell(&self) -> Arc<Shell> {
        Arc::new(Shell::new(self.words, self.folder.path()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn let_go(&self) {
        fs::remove_file(self.file("f/hold")).unwrap();
    }

    async fn entered(&self) {
        until(|| self.file("f/inside").exists()).await;
    }

    /// How often `waiting` has changed something.
    fn changed(&self) -> usize {
        fs::read_to_string(self.file("f/log")).unwrap_or_default().lines().count()
    }

    fn fence(&self, number: u64) -> PathBuf {
        self.file(&format!("muster/lock/fence.{number}"))
    }

    /// A lock of somebody else, renewed so many seconds ago, in this or another start of the machine.
    fn locked_by_anna(&self, number: u64, heard: u64, boot: Option<&str>) {
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let now: u64 = uptime.split('.').next().unwrap().parse().unwrap();
        let this = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let (boot, then) = (boot.unwrap_or(this.trim()), now - heard.min(now));
        fs::create_dir_all(self.file("muster/lock")).unwrap();
        let text =
            format!("cafe {boot} {then}\nanna@desk (pid 7)\nsetup-cluster\nelsewhere 7 7\n{boot} {then}\n");
        fs::write(self.fence(number), text).unwrap();
    }

    async fn ask(&self, program: String) -> String {
        let text = format!("m() {{\n{program}\n}}\nm </dev/null\n");
        let exec = Exec { program: Program::Text(text), timeout: PATIENCE, on_line: None };
        String::from_utf8(self.shell().exec(exec).await.unwrap().stdout).unwrap()
    }

    async fn show(&self) -> Shown {
        Shown::parse(&self.ask(show_program()).await).unwrap()
    }

    /// Somebody breaks the lock that is there.
    async fn break_lock(&self) {
        let fence = self.show().await.holder.fence;
        assert!(self.ask(break_program(&other(), fence)).await.starts_with("taken "));
    }
}

/// Somebody else, who takes nobody for gone.
fn other() -> LockRequest {
    LockRequest::new("otto@desk (pid 2)", "another test", "process 2", Arc::new(|_| false))
}

fn warned(ran: &Ran, words: &str) -> bool {
    ran.events.iter().any(|event| matches!(event, Event::Warning { text, .. } if text.contains(words)))
}

#[tokio::test]
async fn of_many_that_begin_at_once_one_gets_the_lock_and_the_others_are_told() {
    let _turn = TURN.lock().await;
    for words in SHELLS {
        let machine = Machine::new(words);
        let refused = AtomicUsize::new(0);
        let one = || async {
            let ran = run_as(other(), "waiting", machine.shell(), false).await;
            if ran.outcome["here"].failure.is_some() && refused.fetch_add(1, Ordering::SeqCst) == 6 {
                machine.let_go();
            }
            ran
        };
        let all = futures::future::join_all((0..8).map(|_| one()));
        let ran = tokio::time::timeout(PATIENCE, all).await.expect("seven are refused at once");
        assert_eq!(machine.changed(), 1, "{words:?}");
        for told in ran.iter().filter(|ran| ran.outcome["here"].failure.is_some()).map(Ran::locked) {
            assert!(told.starts_with("locked by otto@desk (pid 2) with another test, since "), "{told}");
            assert!(told.contains("AwaitLock"), "{told}");
        }
        assert_eq!(machine.show().await.holder.state, State::Free, "{words:?}: given back");
    }
    held(
        "two controllers",
        "8 runs at once",
        SHELLS.len(),
        "one changes the machine; the others are told by whom it is locked",
    );
}

#[tokio::test]
async fn a_second_run_waits_for_the_lock_as_long_as_it_is_told_to() {
    let _turn = TURN.lock().await;
    let machine = Machine::new(&["dash"]);
    let second = async {
        machine.entered().await;
        let patient = LockRequest { patience: PATIENCE, ..other() };
        let shell = machine.shell();
        let go = async {
            until(|| shell.programs().len() > 1).await;
            machine.let_go();
        };
        tokio::join!(run_as(patient, "waiting", shell.clone(), false), go).0
    };
    let (first, second) = tokio::join!(run_as(other(), "waiting", machine.shell(), false), second);
    first.well();
    second.well();
    assert_eq!(machine.changed(), 2);
    held("two controllers", "a second run that may wait", 1, "it goes on when the first has ended");
}

#[tokio::test]
async fn a_lock_ends_by_time_by_a_restart_and_with_its_process_but_not_before() {
    let _turn = TURN.lock().await;
    for words in SHELLS {
        let machine = Machine::new(words);
        machine.let_go();
        machine.locked_by_anna(4, 50, None);
        let told = run_as(other(), "waiting", machine.shell(), false).await.locked();
        assert!(
            told.starts_with("locked by anna@desk (pid 7) with setup-cluster, since 5"),
            "{words:?}: {told}"
        );
        assert_eq!(machine.changed(), 0);

        machine.locked_by_anna(4, 62, None);
        let ran = run_as(other(), "waiting", machine.shell(), false).await.well();
        assert!(warned(
            &ran,
            "took over the lock of anna@desk (pid 7) with setup-cluster, which was not heard of for 6"
        ));
        assert!(machine.fence(5).exists() && !machine.fence(4).exists(), "the next number");

        machine.locked_by_anna(9, 0, Some("another-start"));
        let ran = run_as(other(), "waiting", machine.shell(), false).await.well();
        assert!(warned(&ran, "from before the machine's restart"));

        machine.locked_by_anna(12, 0, None);
        let ran = run_as(me(), "waiting", machine.shell(), false).await.well();
        assert!(warned(&ran, "whose process has ended"));

        // A power cut may leave an empty file.
        fs::write(machine.fence(20), "").unwrap();
        run_as(other(), "waiting", machine.shell(), false).await.well();
        assert!(machine.fence(21).exists());
    }
    held(
        "lock left behind",
        "by a run that was silent for 62 s, by a machine that restarted, by a process that has ended, by a power cut (an empty file)",
        4 * SHELLS.len(),
        "taken over, and told; not after 50 s",
    );
}

#[tokio::test]
async fn a_run_that_was_stopped_for_too_long_changes_nothing_more() {
    let _turn = TURN.lock().await;
    for words in SHELLS {
        let machine = Machine::new(words);
        let first = run_as(other(), "waiting", machine.shell(), false);
        let second = async {
            machine.entered().await;
            // A minute passes, in which the first one is stopped.
            let text = fs::read_to_string(machine.fence(1)).unwrap();
            let (first_line, rest) = text.split_once('\n').unwrap();
            let (run_and_boot, since) = first_line.rsplit_once(' ').unwrap();
            let since = since.parse::<u64>().unwrap() - 61;
            fs::write(machine.fence(1), format!("{run_and_boot} {since}\n{rest}")).unwrap();
            let next = LockRequest::new("nora@desk (pid 3)", "a third test", "", Arc::new(|_| false));
            let ran = run_as(next, "everything", machine.shell(), false).await;
            machine.let_go();
            ran
        };
        let (first, second) = tokio::join!(first, second);
        second.well();
        let told = first.locked();
        assert!(told.starts_with("this run's lock is lost to nora@desk (pid 3) with a third test; nothing more was changed here"), "{told}");
        assert_eq!(machine.changed(), 0, "{words:?}");
    }
    held(
        "controller stopped",
        "beyond the life of its lock, and another one takes it",
        SHELLS.len(),
        "the first one changes nothing more, and says who has the lock",
    );
}

#[tokio::test]
async fn an_upload_whose_lock_was_lost_meanwhile_never_counts() {
    let _turn = TURN.lock().await;
    for words in SHELLS {
        for ended in [true, false] {
            let machine = Machine::new(words);
            let lost = async {
                machine.entered().await;
                // The program is there, and waits for what is sent.
                let arrives = || fs::read_dir(machine.file("muster/incoming"));
                until(|| arrives().is_ok_and(|mut files| files.next().is_some())).await;
                if ended {
                    machine.break_lock().await;
                } else {
                    // Whoever took the lock did not see it.
                    machine.locked_by_anna(2, 0, None);
                }
                machine.let_go();
            };
            let (ran, ()) = tokio::join!(run_as(other(), "uploading", machine.shell(), false), lost);
            let by = if ended { "otto@desk" } else { "anna@desk" };
            assert!(ran.locked().contains(&format!("lost to {by}")), "{words:?}: {}", ran.locked());
            let complete = || {
                let files = fs::read_dir(machine.file("muster/incoming")).unwrap().map(|e| e.unwrap().path());
                files.filter(|path| path.extension().is_none()).count()
            };
            assert_eq!(complete(), 0, "{words:?}");
            // Undisturbed it arrives.
            run("uploading", machine.shell(), false).await.well();
            assert_eq!(complete(), 1, "{words:?}");
        }
    }
    held(
        "lock lost",
        "under an upload, whose program is ended or not seen by the new owner",
        2 * SHELLS.len(),
        "what arrived never gets its name; the next run sends it",
    );
}

#[tokio::test]
async fn a_lock_is_renewed_while_nothing_is_sent_and_its_loss_is_noticed() {
    let _turn = TURN.lock().await;
    let machine = Machine::new(&["dash"]);
    let often = LockRequest { renew_every: Duration::from_millis(50), ..other() };
    let broken = async {
        machine.entered().await;
        // Four lines say whose it is; each renewal is one more.
        until(|| fs::read_to_string(machine.fence(1)).unwrap().lines().count() > 6).await;
        machine.break_lock().await;
    };
    let (roles, always) = (vec!["watching".into()], vec!["nothing".into()]);
    let play = Play { name: "test".into(), hosts: "all".into(), roles, always, ..Play::default() };
    let watching = run_play(often, play, machine.shell(), false);
    let both = futures::future::join(watching, broken);
    let (ran, ()) =
        tokio::time::timeout(PATIENCE, both).await.expect("a run that only looks learns of it, too");
    assert!(ran.locked().contains("lost to otto@desk"), "{}", ran.locked());
    let begun = |event: &&Event| matches!(event, Event::RoleStarted { .. });
    assert_eq!(
        ran.events.iter().filter(begun).count(),
        1,
        "what always runs does not run where the lock is lost"
    );
    held("lock lost", "while a run only looks", 1, "noticed at the next renewal");
}

#[tokio::test]
async fn programs_of_an_earlier_run_that_are_still_at_work_are_waited_for() {
    let _turn = TURN.lock().await;
    for words in SHELLS {
        let machine = Machine::new(words);
        machine.let_go();
        let mut program = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        machine.locked_by_anna(3, 100, None);
        let stat = fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
        let start = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().to_owned();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let record = format!("{} {start} {} cafe change kubeadm init\n", program.id(), boot.trim());
        fs::write(machine.file("muster/lock/work.1"), record).unwrap();
        assert_eq!(machine.show().await.workers[0].name, "kubeadm init");
        let shell = machine.shell();
        let end = async {
            until(|| shell.programs().len() > 2).await;
            assert_eq!(machine.changed(), 0, "{words:?}: nothing overlaps");
            program.kill().unwrap();
            program.wait().unwrap();
        };
        let (ran, ()) = tokio::join!(run_as(other(), "waiting", shell.clone(), false), end);
        let ran = ran.well();
        let told = format!("\"kubeadm init\" of an earlier run (process {}) to end", program.id());
        assert!(ran.events.iter().any(|event| matches!(event, Event::Waiting { what, .. } if *what == told)));
        assert_eq!(machine.changed(), 1);
        assert!(!machine.file("muster/lock/work.1").exists(), "swept away");
    }
    held(
        "controller gone for good",
        "while its program is still at work",
        SHELLS.len(),
        "the next run waits for it, and tells; nothing overlaps",
    );
}

#[tokio::test]
async fn a_machine_that_was_only_locked_is_left_as_it_was() {
    let _turn = TURN.lock().await;
    for words in SHELLS {
        let machine = Machine::new(words);
        run("nothing", machine.shell(), false).await.well();
        assert!(!machine.file("muster").exists(), "{words:?}");
    }
}
