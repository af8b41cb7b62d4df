//! The lock of a machine: two runs never change it at the same time.
//!
//! A lock is a file `fence.N` below `/var/lib/muster/lock`. It is made under a name of its own and gets the number by
//! link(2), which succeeds for one of those who try and never shows half a file. The highest number counts; numbers only
//! grow. A run renews its lock while it works; one that was not renewed for [`LIFE`] may be taken over, and so may one
//! from before a restart of the machine. Time is the machine's uptime, which no setting of a clock moves.
//!
//! Every program that changes something first writes down that it is at work, then looks whether its number is still the
//! highest. Whoever takes the lock first takes the number, then looks who is at work. So either the program sees that its
//! run has lost the lock and does nothing, or the new owner sees the program and waits for it. That holds however long a
//! controller was stopped, and whatever was on its way to the machine meanwhile.

mod keep;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use keep::Keeper;

use crate::advice::Advice;
use crate::failure::Failure;
use crate::script::{Script, nonce, quote, sh, sh0};

/// How many seconds a lock lasts without being renewed. A macro, because the programs say it, too.
macro_rules! life {
    () => {
        60
    };
}
const LIFE: u64 = life!();

/// How long a run waits for programs of the run before it that are still at work, at least.
const BUSY_LIMIT: Duration = Duration::from_secs(600);

/// The exit status of a program that did nothing, because its run has lost the lock (`EX_TEMPFAIL` of sysexits.h).
/// The programs have it from [`Fence::guard`].
pub(crate) const REFUSED: i32 = 75;

/// What a run says when it takes locks, and how it goes about it.
#[derive(Clone)]
pub struct LockRequest {
    /// Who runs it, for others to read: `anna@desk (pid 4711)`.
    pub owner: String,
    /// What is run, for others to read: `setup-cluster`.
    pub command: String,
    /// The process that runs it, as [`LockRequest::is_gone`] of a later run understands it.
    pub process: String,
    /// Whether a process, as an earlier run described itself, is known to have ended: then its lock is free at once.
    pub is_gone: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// How long to wait for a lock that somebody else holds.
    pub patience: Duration,
    /// How often a lock is renewed while nothing else is changed.
    pub renew_every: Duration,
    /// What the run is called: unlike any other.
    pub run: String,
}

impl LockRequest {
    /// A request that waits for nobody.
    pub fn new(
        owner: impl Into<String>,
        command: impl Into<String>,
        process: impl Into<String>,
        is_gone: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    ) -> Self {
        Self {
            owner: one_line(&owner.into()),
            command: one_line(&command.into()),
            process: one_line(&process.into()),
            is_gone,
            patience: Duration::ZERO,
            renew_every: Duration::from_secs(LIFE / 3),
            run: nonce(),
        }
    }

    /// What takes the lock. `from`: the number of a lock that is taken though it is held.
    fn take(&self, from: Option<u64>) -> Script {
        let from = from.map(|fence| fence.to_string()).unwrap_or_default();
        sh(TAKE, [self.run.as_str(), &self.owner, &self.command, &self.process, &from])
    }
}

/// Text from outside as one line of a lock's file.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

macro_rules! lock_program {
    ($call:literal) => {
        concat!(include_str!("lock.sh"), "life=", life!(), "\n", $call)
    };
}

/// For programs that a machine starts by itself: after it `look` leaves in `$state` whether a run holds the machine (`held`), `$now`
/// being the uptime in seconds.
pub const LOOK: &str = lock_program!("");
const TAKE: &str = lock_program!(r#"take "$@""#);
const RENEW: &str = lock_program!(r#"renew "$@""#);
const RELEASE: &str = lock_program!(r#"release "$@""#);
const SHOW: &str = lock_program!("look\nshow\nwork '' ''");
const WORK: &str = lock_program!(r#"work "$1" end"#);
const BREAK: &str = lock_program!("take \"$@\"\n[ -z \"$taken\" ] || echo released >>\"$lock/fence.$taken\"");
/// The process of one program of this run, where it still runs.
const AT_WORK: &str = lock_program!(
    r#"for record in "$lock/work.$1" "$jobs/$1/record"; do ! alive "$record" || echo "$pid"; done"#
);

/// The program that shows who holds a machine's lock, for [`Shown::parse`]. It changes nothing.
pub fn show_program() -> String {
    sh0(SHOW).text()
}

/// The program that takes the lock number `fence` from whoever holds it, and gives it back. What the earlier owner sends
/// is refused from then on.
pub fn break_program(request: &LockRequest, fence: u64) -> String {
    sh(BREAK, [request.run.as_str(), &request.owner, &request.command, &request.process, &fence.to_string()])
        .text()
}

/// Whether a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody holds it.
    Free,
    /// Somebody holds it.
    Held,
    /// Whoever held it has not renewed it in time.
    Stale,
    /// The machine was restarted since.
    Restarted,
}

/// A lock, as the machine tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Whether it is held.
    pub state: State,
    /// Its number; 0 where there was never a lock.
    pub fence: u64,
    /// How long ago it was taken.
    pub since: Duration,
    /// How long ago its owner was last heard of.
    pub heard: Duration,
    /// Who holds it, or held it last.
    pub owner: String,
    /// What they run.
    pub command: String,
    process: String,
}

impl Holder {
    /// From the four lines of `show` in lock.sh.
    fn parse<'l>(lines: &mut impl Iterator<Item = &'l str>) -> Option<Self> {
        let mut words = lines.next()?.split(' ');
        let state = match words.next()? {
            "free" => State::Free,
            "held" => State::Held,
            "stale" => State::Stale,
            "restarted" => State::Restarted,
            _ => return None,
        };
        let fence = words.next()?.parse().ok()?;
        // Of a lock from before a restart the times mean nothing.
        let mut age = || Some(Duration::from_secs(words.next()?.parse().unwrap_or(0)));
        let (since, heard) = (age()?, age()?);
        let mut line = || lines.next().unwrap_or_default().trim_start_matches("- ").to_owned();
        let (owner, command, process) = (line(), line(), line());
        Some(Self { state, fence, since, heard, owner, command, process })
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {}", self.owner, self.command)?;
        match self.state {
            State::Restarted => write!(f, ", from before the machine's restart"),
            _ => write!(f, ", since {}, last heard of {} ago", time(self.since), time(self.heard)),
        }
    }
}

/// A program of some run that is still at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its process.
    pub pid: u32,
    /// What it does, by the name of its step.
    pub name: String,
    /// The last line it wrote, where it can be seen.
    pub said: String,
}

impl std::fmt::Display for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of an earlier run (process {})", self.name, self.pid)
    }
}

/// What a machine tells of its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The lock.
    pub holder: Holder,
    /// Programs that are still at work.
    pub workers: Vec<Worker>,
}

impl Shown {
    /// From what [`show_program`] answered.
    pub fn parse(answer: &str) -> Option<Self> {
        let mut lines = answer.lines();
        let holder = Holder::parse(&mut lines)?;
        Some(Self { holder, workers: workers(lines) })
    }
}

fn workers<'l>(mut lines: impl Iterator<Item = &'l str>) -> Vec<Worker> {
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some((pid, name)) = line.strip_prefix("work ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let said = lines.next().unwrap_or_default().to_owned();
        found.extend(pid.parse().ok().map(|pid| Worker { pid, name: name.to_owned(), said }));
    }
    found
}

/// What came of trying to take a lock.
enum Taking {
    /// It is ours: its number, whose it was, and which programs of theirs are still at work.
    Taken(u64, Holder, Vec<Worker>),
    /// It is somebody else's.
    Held(Holder),
}

impl Taking {
    fn parse(answer: &str) -> Option<Self> {
        let mut lines = answer.lines();
        let (word, fence) = lines.next()?.split_once(' ')?;
        let (fence, holder) = (fence.parse().ok()?, Holder::parse(&mut lines)?);
        match word {
            "taken" => Some(Self::Taken(fence, holder, workers(lines))),
            "held" => Some(Self::Held(holder)),
            _ => None,
        }
    }
}

/// A lock that this run holds: what its programs need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fence {
    number: u64,
    /// What the run is called: unlike any other.
    pub run: String,
}

/// What kind of program it is: uploads may be ended by whoever comes next, jobs tell what they write.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Change,
    Upload,
    Job,
}

impl Fence {
    /// What a program that changes something begins with: it writes itself down, and ends with [`REFUSED`] where its run
    /// has lost the lock. One line. `id` is the program's, `name` what it does.
    pub(crate) fn guard(&self, id: &str, kind: Kind, name: &str) -> String {
        let (kind, record) = match kind {
            Kind::Change => ("change", format!("/var/lib/muster/lock/work.{id}")),
            Kind::Upload => ("upload", format!("/var/lib/muster/lock/work.{id}")),
            Kind::Job => ("job", format!("/var/lib/muster/jobs/{id}/record")),
        };
        let kind = quote(&format!("{kind} {}", one_line(name)));
        let functions = GUARD.replace('\n', " ");
        format!(
            "fence={} run={} record={record} kind={kind} refused={REFUSED}; {functions}",
            self.number, self.run
        )
    }

    fn arguments(&self) -> [String; 2] {
        [self.number.to_string(), self.run.clone()]
    }
}

/// Its lines are joined to one for uploads.
const GUARD: &str = include_str!("guard.sh");

/// The program that starts a detached one and follows it: its parameters are the id, the text and the guard.
pub(crate) const JOB: &str = include_str!("job.sh");

/// Somebody else holds the lock.
fn held(holder: &Holder) -> Failure {
    Failure::Locked { message: format!("locked by {holder}"), remedy: Advice::AwaitLock }
}

/// Somebody else has taken the lock from us.
fn lost(holder: Option<&Holder>) -> Failure {
    let by = match holder {
        Some(holder) if !holder.owner.is_empty() => {
            format!("lost to {} with {}", holder.owner, holder.command)
        }
        _ => "gone from the machine".to_owned(),
    };
    Failure::Locked {
        message: format!("this run's lock is {by}; nothing more was changed here"),
        remedy: "the run was not heard of for too long, or its lock was broken: make sure that the other run has ended, then \
                 run this one again"
            .into(),
    }
}

/// A stretch of time in words.
fn time(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_know_the_life_of_a_lock() {
        for program in [TAKE, RENEW, RELEASE, SHOW, WORK, BREAK, AT_WORK] {
            assert!(program.contains(&format!("life={LIFE}\n")));
        }
    }

    #[test]
    fn a_guard_is_one_line_whatever_a_step_is_called() {
        let fence = Fence { number: 7, run: "cafe".into() };
        let guard = fence.guard("1", Kind::Upload, "it's\nthis");
        assert!(guard.contains(r"kind='upload it'\''s this' ") && !guard.contains('\n'), "{guard}");
    }

    #[test]
    fn what_a_machine_tells_is_read() {
        let shown = Shown::parse(
            "stale 7 125 70\n- anna@desk (pid 3)\n- setup-cluster\n- x\nwork 12 a b\nlast words\n",
        )
        .unwrap();
        assert_eq!(
            shown.holder.to_string(),
            "anna@desk (pid 3) with setup-cluster, since 2 min, last heard of 70 s ago"
        );
        assert_eq!(shown.workers, [Worker { pid: 12, name: "a b".into(), said: "last words".into() }]);
        assert_eq!(Shown::parse("free 0 0 0\n- \n- \n- \n").unwrap().holder.fence, 0);
        assert!(matches!(Taking::parse("held 0\nheld 2 5 5\n- a\n- b\n- c\n"), Some(Taking::Held(_))));
        assert!(Taking::parse("").is_none());
    }
}
