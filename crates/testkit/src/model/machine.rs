//! A model machine: files, processes, services, packages, power. It notices by itself what must never happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use super::disk::Disk;
use super::look::sha256;
use super::random::Random;
use super::shell::{Done, Shell, Stop};

/// How a machine is set up, and what of it is looked after.
pub struct Nature {
    /// Units, and the files that each reads when it starts.
    pub units: &'static [(&'static str, &'static [&'static str])],
    /// What may be seen at a path at any time.
    pub visible: BTreeMap<String, BTreeSet<Vec<u8>>>,
    /// What must not be in a file that others may read.
    pub secret: &'static [u8],
    /// What is installed besides.
    pub programs: Option<Arc<dyn Programs>>,
}

/// Programs and services that a test brings along, with what they do to the machine and to each other.
pub trait Programs: Send + Sync {
    /// Whether there is a program of that name.
    fn knows(&self, name: &str) -> bool;

    /// Runs one.
    fn run<'s>(&'s self, shell: &'s mut Shell, name: &'s str, words: &'s [&'s str]) -> BoxFuture<'s, Done>;

    /// A unit was started.
    fn started(&self, machine: &Machine, unit: &str);

    /// The addresses that a machine has from them, besides its own.
    fn addresses(&self, _machine: &Machine) -> Vec<String> {
        Vec::new()
    }

    /// The address of an interface that a machine has from them.
    fn address_of(&self, _machine: &Machine, _interface: &str) -> Option<String> {
        None
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    pub enabled: bool,
    pub active: bool,
    /// The hashes of its files when it was last started.
    pub loaded: Vec<String>,
}

/// What of a machine outlives a restart.
#[derive(Clone, Default)]
pub struct Kept {
    pub disk: Disk,
    pub units: BTreeMap<&'static str, Unit>,
    pub tools: BTreeSet<String>,
    /// Packages that an installation has begun to unpack, or a removal to take away.
    pub half: BTreeSet<String>,
    /// Packages of which the repositories have a newer version. `linux` needs a restart of the machine.
    pub outdated: BTreeSet<String>,
    /// Where something is mounted, besides the root. A restart mounts nothing again.
    pub mounts: Vec<String>,
}

pub struct State {
    pub kept: Kept,
    /// How often somebody has started each unit.
    starts: BTreeMap<&'static str, u32>,
    boot: u64,
    booted: Instant,
    back: Instant,
    processes: BTreeMap<u32, Arc<Process>>,
    next_pid: u32,
    /// The runs that have changed something, in order.
    changed_by: Vec<u32>,
    /// How often something was changed.
    pub changes: usize,
    /// Whether the package manager is at work.
    pub installing: bool,
    /// How often each thing that must be done once was done to the end.
    pub done: BTreeMap<String, usize>,
    pub wrong: Vec<String>,
}

pub struct Machine {
    pub name: String,
    pub nature: Arc<Nature>,
    state: Mutex<State>,
}

/// What happens at a moment of a program.
pub struct Trigger {
    /// Before which of its actions.
    pub at: usize,
    pub act: Box<dyn Fn(&Process) + Send + Sync>,
}

/// A process: a program with all its subshells.
pub struct Process {
    pub pid: u32,
    pub start: u64,
    /// The run that sent it.
    pub run: u32,
    /// Whether that run had given the machine's lock back by then.
    late: bool,
    pub alive: AtomicBool,
    /// How many it has begun, with those of the commands it waits for.
    actions: Arc<AtomicUsize>,
    trigger: Option<Arc<Trigger>>,
    /// The files it holds open, by their inode's number; only a command with a process of its own tells them.
    pub open: Vec<u64>,
    random: Mutex<Random>,
    /// One of so many actions takes its time; 0 for none.
    pub slow: u64,
}

/// What a process is started with.
#[derive(Default)]
pub struct Start {
    pub run: u32,
    pub seed: u64,
    pub slow: u64,
    pub trigger: Option<Arc<Trigger>>,
    pub open: Vec<u64>,
    /// How many actions there were already.
    pub actions: Arc<AtomicUsize>,
}

impl Start {
    /// A command that a process waits for: what happens before one of the process's actions may happen before one of its.
    pub fn command(of: &Process, open: Vec<u64>) -> Self {
        let (trigger, actions) = (of.trigger.clone(), of.actions.clone());
        Self { run: of.run, seed: of.random(u64::MAX), slow: of.slow, trigger, open, actions }
    }
}

static STARTS: AtomicU64 = AtomicU64::new(1);

impl Machine {
    pub fn new(name: &str, kept: Kept, nature: Arc<Nature>) -> Arc<Self> {
        let now = Instant::now();
        let mut state = State {
            kept,
            starts: BTreeMap::new(),
            boot: 1,
            booted: now - Duration::from_secs(5000),
            back: now,
            processes: BTreeMap::new(),
            next_pid: 300,
            changed_by: Vec::new(),
            changes: 0,
            installing: false,
            done: BTreeMap::new(),
            wrong: Vec::new(),
        };
        for (unit, _) in nature.units {
            state.kept.units.entry(unit).or_default();
        }
        Arc::new(Self { name: name.into(), nature, state: Mutex::new(state) })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whether it answers.
    pub fn is_up(&self) -> bool {
        Instant::now() >= self.state().back
    }

    /// How often it was switched on.
    pub fn boots(&self) -> u64 {
        self.state().boot
    }

    pub fn start(&self, start: Start) -> Arc<Process> {
        let mut state = self.state();
        state.next_pid += 1;
        let process = Arc::new(Process {
            pid: state.next_pid,
            start: STARTS.fetch_add(1, Ordering::Relaxed),
            run: start.run,
            late: is_given_back(&state.kept.disk, start.run),
            alive: AtomicBool::new(true),
            actions: start.actions,
            trigger: start.trigger,
            open: start.open,
            random: Mutex::new(Random::new(start.seed)),
            slow: start.slow,
        });
        state.processes.insert(process.pid, process.clone());
        process
    }

    pub fn ended(&self, process: &Process) {
        let mut state = self.state();
        if state.processes.get(&process.pid).is_some_and(|there| there.start == process.start) {
            state.processes.remove(&process.pid);
        }
    }

    /// Every action of a process begins here: it may be over, something may happen, it may take its time.
    pub async fn act(&self, process: &Process) -> Result<(), Stop> {
        let number = process.actions.fetch_add(1, Ordering::Relaxed);
        if let Some(trigger) = process.trigger.as_ref().filter(|trigger| trigger.at == number) {
            (trigger.act)(process);
        }
        let pause = process.pause();
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        if process.alive.load(Ordering::Relaxed) { Ok(()) } else { Err(Stop::Killed) }
    }

    /// A command that takes a while.
    pub async fn work(&self, process: &Process, milliseconds: std::ops::Range<u64>) -> Result<(), Stop> {
        let pause = process.random.lock().unwrap().within(milliseconds);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        self.act(process).await
    }

    /// The power goes, and comes back.
    pub fn restart(&self, random: &mut Random, down: Duration) {
        let mut state = self.state();
        for process in std::mem::take(&mut state.processes).values() {
            process.alive.store(false, Ordering::Relaxed);
        }
        state.kept.disk.power_cut(|length| random.below(length as u64 + 1) as usize);
        let volatile: Vec<_> = state.kept.disk.names("/run").map(|name| format!("/run/{name}")).collect();
        volatile.iter().for_each(|path| state.kept.disk.remove_all(path));
        state.kept.mounts.clear();
        state.boot += 1;
        state.installing = false;
        // Process numbers begin again, so that those of records are there again.
        state.next_pid = 300;
        state.back = Instant::now() + down;
        state.booted = state.back - Duration::from_secs(3);
        for path in self.nature.visible.keys() {
            self.look_at(&mut state, path, "a power cut");
        }
        for (unit, files) in self.nature.units {
            let loaded = contents(&state.kept.disk, files);
            let unit = state.kept.units.entry(unit).or_default();
            unit.active = unit.enabled;
            unit.loaded = if unit.active { loaded } else { Vec::new() };
        }
    }

    /// Whether a process has not ended.
    pub(crate) fn runs(&self, pid: u32) -> bool {
        self.state().processes.contains_key(&pid)
    }

    pub fn kill(&self, pid: u32) -> bool {
        let process = self.state().processes.remove(&pid);
        process.inspect(|process| process.alive.store(false, Ordering::Relaxed)).is_some()
    }

    /// What a file of /proc holds, for the process that reads it.
    pub fn proc_file(&self, path: &str) -> Option<String> {
        let state = self.state();
        if path == "/proc/uptime" {
            let up = (Instant::now() - state.booted).as_millis();
            return Some(format!("{}.{:02} 0.00\n", up / 1000, up % 1000 / 10));
        }
        if path == "/proc/sys/kernel/random/boot_id" {
            return Some(format!("boot-{}\n", state.boot));
        }
        if path == "/proc/self/mountinfo" {
            let mounts = std::iter::once("/").chain(state.kept.mounts.iter().map(String::as_str));
            return Some(mounts.map(|at| format!("20 1 8:1 / {at} rw - ext4 /dev/a rw\n")).collect());
        }
        let pid: u32 = path.strip_prefix("/proc/")?.strip_suffix("/stat")?.parse().ok()?;
        let process = state.processes.get(&pid)?;
        // proc_pid_stat(5): the 22nd field is the start time, the third the state.
        Some(format!("{pid} (sh) S {}{} 0\n", "0 ".repeat(18), process.start))
    }

    /// The names in a folder: what is kept, or the processes and what they have open.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let state = self.state();
        let of_process =
            folder.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/fd")?.parse().ok());
        match of_process {
            _ if folder == "/proc" => state.processes.keys().map(u32::to_string).collect(),
            Some(pid) => {
                let open = state.processes.get::<u32>(&pid).map_or(0, |process| process.open.len());
                (0..open).map(|number| number.to_string()).collect()
            }
            None => state.kept.disk.names(folder).map(str::to_owned).collect(),
        }
    }

    /// The number of the inode behind a path, which may be a process's descriptor.
    pub fn inode(&self, path: &str) -> Option<u64> {
        let state = self.state();
        match path.strip_prefix("/proc/").and_then(|rest| rest.split_once("/fd/")) {
            Some((pid, number)) => {
                let process = state.processes.get(&pid.parse::<u32>().ok()?)?;
                process.open.get(number.parse::<usize>().ok()?).copied()
            }
            None => state.kept.disk.number(path),
        }
    }

    /// Something was changed by a process at a path, or in a service.
    pub fn changed(&self, state: &mut State, process: &Process, what: &str) {
        let own = ["/var/lib/muster/lock", "/var/lib/muster/jobs"];
        if own.iter().any(|folder| what.starts_with(folder))
            || what == "/var/lib/muster"
            || what.ends_with(".part")
        {
            return;
        }
        state.changes += 1;
        if process.late {
            state
                .wrong
                .push(format!("{what} was changed by run {}, which had given the lock back", process.run));
        }
        if state.changed_by.last() != Some(&process.run) {
            if state.changed_by.contains(&process.run) {
                let others = &state.changed_by;
                let text = format!(
                    "{what} was changed by run {} after another one was at work: {others:?}",
                    process.run
                );
                state.wrong.push(text);
            }
            state.changed_by.push(process.run);
        }
        self.look_at(state, what, "a change");
    }

    /// A file was written to under any of its names.
    pub fn written(&self, state: &mut State, process: &Process, number: u64) {
        let inode = state.kept.disk.inode(number);
        if inode.mode & 0o077 != 0 && contains(&inode.content, self.nature.secret) {
            state.wrong.push(format!("a secret is in a file of mode {:o}", inode.mode));
        }
        for path in self.nature.visible.keys() {
            if state.kept.disk.number(path) == Some(number) {
                self.changed(state, process, path);
            }
        }
    }

    fn look_at(&self, state: &mut State, path: &str, after: &str) {
        let Some(allowed) = self.nature.visible.get(path) else { return };
        let Some(file) = state.kept.disk.file(path) else { return };
        if !allowed.contains(&file.content) {
            let (length, text) = (file.content.len(), String::from_utf8_lossy(&file.content));
            let end: String = text.chars().skip(text.chars().count().saturating_sub(40)).collect();
            state.wrong.push(format!("{path} has {length} bytes that end with {end:?}, after {after}"));
        }
    }

    /// A service starts: it reads its files.
    pub fn start_unit(&self, process: &Process, unit: &'static str) {
        let files =
            self.nature.units.iter().find(|(name, _)| *name == unit).map_or(&[][..], |(_, files)| files);
        let mut state = self.state();
        let loaded = contents(&state.kept.disk, files);
        let service = state.kept.units.entry(unit).or_default();
        (service.active, service.loaded) = (true, loaded);
        *state.starts.entry(unit).or_default() += 1;
        self.changed(&mut state, process, unit);
        drop(state);
        if let Some(programs) = &self.nature.programs {
            programs.started(self, unit);
        }
    }

    /// Services that run with something else than what their files say. Of one that a machine does not have there are none.
    pub fn outdated(&self) -> Vec<&'static str> {
        let state = self.state();
        let fresh = |(unit, files): &&(&'static str, &[&str])| {
            let unit = &state.kept.units[unit];
            let is_there = files.iter().any(|path| state.kept.disk.file(path).is_some());
            !is_there || unit.active && unit.loaded == contents(&state.kept.disk, files)
        };
        self.nature.units.iter().filter(|unit| !fresh(unit)).map(|(name, _)| *name).collect()
    }
}

impl State {
    /// The number of a unit's process; 0 where it has none.
    pub fn main_process(&self, unit: &str) -> u32 {
        let is_active = self.kept.units.get(unit).is_some_and(|unit| unit.active);
        if is_active { 100_000 + self.starts.get(unit).copied().unwrap_or(0) } else { 0 }
    }

    /// Seconds, for times of files.
    pub fn now(&self) -> u64 {
        1_000_000 * self.boot + (Instant::now() - self.booted).as_secs()
    }
}

impl Process {
    fn pause(&self) -> Option<Duration> {
        if self.slow == 0 {
            return None;
        }
        let mut random = self.random.lock().unwrap();
        (random.below(self.slow) == 0).then(|| Duration::from_micros(random.within(50..200_000)))
    }

    pub fn random(&self, below: u64) -> u64 {
        self.random.lock().unwrap().below(below)
    }
}

/// Whether the machine's lock is this run's, and was given back (lock/lock.sh).
fn is_given_back(disk: &Disk, run: u32) -> bool {
    let number = |name: &str| name.strip_prefix("fence.")?.parse::<u64>().ok();
    let last = disk.names("/var/lib/muster/lock").filter_map(number).max();
    let file = last.and_then(|number| disk.file(&format!("/var/lib/muster/lock/fence.{number}")));
    let is_its = |text: &[u8]| text.starts_with(format!("run{run} ").as_bytes());
    file.is_some_and(|file| is_its(&file.content) && file.content.ends_with(b"released\n"))
}

fn contents(disk: &Disk, files: &[&str]) -> Vec<String> {
    files.iter().map(|file| disk.file(file).map(|inode| sha256(&inode.content)).unwrap_or_default()).collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    let first = part.first();
    text.iter().enumerate().any(|(at, byte)| Some(byte) == first && text[at..].starts_with(part))
}
