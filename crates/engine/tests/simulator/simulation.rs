//! A simulation: controllers at work on model machines while things happen, then the same command once more in peace.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use muster_engine::event::{Change, Event, Events};
use muster_engine::failure::Failure;
use muster_engine::lock::LockRequest;
use muster_engine::play::Play;
use muster_engine::run::{Outcome, Run};
use muster_engine::transport::Transport;
use muster_inventory::{GroupRules, Inventory, VarsBuilder};
use tokio::time::{sleep, timeout};

use crate::roles::{BUNDLE, GONE, NATURE, ROLES};
use crate::schedule::{Fault, Schedule};
use crate::wire::{Controller, Line};
use muster_testkit::model::disk::Entry;
use muster_testkit::model::look::sha256;
use muster_testkit::model::machine::{Kept, Machine};

/// Longer than any run takes here, whatever happens.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// What a run of the engine did.
pub(crate) struct Ran {
    pub outcome: Outcome,
    pub changes: Vec<Change>,
    /// The most exchanges with one machine.
    pub exchanges: usize,
    pub events: Vec<Event>,
}

pub(crate) type Connect<'c> = dyn Fn(usize) -> Arc<dyn Transport> + 'c;

/// One run of the engine that brings machines to a version.
pub(crate) async fn run(
    role: &str,
    machines: usize,
    version: u32,
    request: LockRequest,
    connect: &Connect<'_>,
) -> Ran {
    let names: Vec<String> = (0..machines).map(|number| format!("m{number}")).collect();
    let hosts: String = names.iter().map(|name| format!("{name} version={version}\n")).collect();
    let inventory = Arc::new(Inventory::from_ini("test", &hosts, GroupRules::new()).unwrap());
    let vars = VarsBuilder::new(inventory.clone()).build().unwrap();
    let play = Play { name: "test".into(), hosts: "all".into(), roles: vec![role.into()], ..Play::default() };
    let (events, mut receiver) = Events::channel();
    let connect = |name: &str| Ok(connect(name[1..].parse().unwrap()));
    let outcome = Run {
        plays: &[play],
        roles: ROLES,
        bundle: BUNDLE.clone(),
        lock: Some(request),
        forks: 10,
        ..Run::new(inventory, vars, &connect, events)
    }
    .execute()
    .await
    .unwrap();
    let mut ran = Ran { outcome, changes: Vec::new(), exchanges: 0, events: Vec::new() };
    while let Ok(event) = receiver.try_recv() {
        if let Event::StepEnded { changes, .. } = &event {
            ran.changes.extend(changes.clone());
        }
        ran.events.push(event);
    }
    ran.exchanges = ran.outcome.values().map(|host| host.summary.exchanges).max().unwrap_or(0);
    ran
}

/// Machines, and what controllers do with them.
pub(crate) struct World {
    pub machines: Vec<Arc<Machine>>,
    log: Option<Arc<Mutex<Vec<String>>>>,
}

/// What of a machine must be the same after every disturbance.
pub(crate) type State = BTreeMap<String, String>;

impl World {
    pub(crate) fn new(kept: Vec<Kept>, log: Option<Arc<Mutex<Vec<String>>>>) -> Self {
        let machine = |(number, kept)| Machine::new(&format!("m{number}"), kept, NATURE.clone());
        Self { machines: kept.into_iter().enumerate().map(machine).collect(), log }
    }

    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.machines.iter().map(|machine| machine.state().kept.clone()).collect()
    }

    /// A run by a controller, which may be killed.
    async fn run(
        &self,
        mut controller: Controller,
        version: u32,
        patience: Duration,
        is_gone: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> (Arc<Controller>, Option<Ran>) {
        controller.log = self.log.clone();
        let controller = Arc::new(controller);
        let name = format!("run {}", controller.number);
        let request = LockRequest::new(name.clone(), "a test", name, Arc::new(is_gone));
        let request = LockRequest { patience, run: format!("run{}", controller.number), ..request };
        let connect = |number: usize| {
            let machine = self.machines[number].clone();
            Arc::new(Line::new(controller.clone(), machine, number)) as Arc<dyn Transport>
        };
        let run = run("app", self.machines.len(), version, request, &connect);
        let ran = tokio::select! {
            biased;
            () = controller.killed.cancelled() => None,
            ran = timeout(LIMIT, run) => match ran {
                Ok(ran) => Some(ran),
                Err(_) => panic!("a run never ends"),
            },
        };
        (controller, ran)
    }

    /// A run that nothing disturbs.
    pub(crate) async fn calm(&self, number: u32, version: u32, is_gone: bool) -> (Arc<Controller>, Ran) {
        let controller = Controller::new(number, 0);
        let (controller, ran) =
            self.run(controller, version, Duration::from_secs(600), move |_| is_gone).await;
        (controller, ran.expect("nobody kills it"))
    }

    /// What the machines are now.
    pub(crate) fn state(&self) -> State {
        let mut all = State::new();
        for machine in &self.machines {
            let state = machine.state();
            let disk = &state.kept.disk;
            let mut note =
                |what: &str, value: String| drop(all.insert(format!("{} {what}", machine.name), value));
            for (path, entry) in disk.all().filter(|(path, _)| !is_scratch(path)) {
                note(
                    path,
                    match entry {
                        Entry::Dir(mode) => format!("folder {mode:o}"),
                        Entry::Link(target) => format!("-> {target}"),
                        Entry::File(number) => {
                            let inode = disk.inode(*number);
                            format!(
                                "{:o} {} {:?}",
                                inode.mode,
                                sha256(&inode.content),
                                String::from_utf8_lossy(&inode.content[..inode.content.len().min(40)])
                            )
                        }
                    },
                );
            }
            for (name, unit) in &state.kept.units {
                note(name, format!("{unit:?}"));
            }
            note("tools", format!("{:?} {:?}", state.kept.tools, state.kept.half));
        }
        all
    }

    pub(crate) fn wrong(&self) -> Vec<String> {
        let of = |machine: &Arc<Machine>| {
            let wrong = std::mem::take(&mut machine.state().wrong);
            wrong.into_iter().map(|text| format!("{}: {text}", machine.name)).collect::<Vec<_>>()
        };
        self.machines.iter().flat_map(of).collect()
    }
}

/// What may differ: the engine's own notes, what is left of programs that were killed, and how often something was done
/// that a restart of the machine cut off.
fn is_scratch(path: &str) -> bool {
    let own = path.starts_with("/var/lib/muster") && !path.ends_with(".service");
    let name = path.rsplit('/').next().unwrap_or_default();
    own || path.contains("/.muster.") || name.ends_with(".muster") || path.starts_with("/srv/app/")
}

/// What was wrong with a simulation, in words, and how many of its controllers were killed.
pub(crate) struct Played {
    pub wrong: Vec<String>,
    pub killed: usize,
}

/// Plays a schedule.
pub(crate) async fn play(
    schedule: &Schedule,
    before: &[Kept],
    wanted: &State,
    log: Option<Arc<Mutex<Vec<String>>>>,
) -> Played {
    let version = schedule.version;
    let world = World::new(before.to_vec(), log.clone());
    let disturbed = schedule.controllers.iter().enumerate().map(|(number, plan)| {
        let mut controller = Controller::new(number as u32 + 1, schedule.seed);
        controller.faults = plan.faults.clone();
        (controller.slow, controller.latency) = (schedule.slow, schedule.latency);
        let world = &world;
        async move {
            sleep(plan.begins).await;
            world.run(controller, version, plan.patience, |_| false).await.1
        }
    });
    let mut wrong = Vec::new();
    // Where a program is killed its step fails, whatever it is.
    let faults = || schedule.controllers.iter().flat_map(|controller| &controller.faults);
    let quiet = schedule.controllers.len() == 1 && faults().next().is_none();
    let ends = faults().any(|strike| matches!(strike.fault, Fault::Ended { .. }));
    let ran = join_all(disturbed).await;
    let killed = ran.iter().filter(|ran| ran.is_none()).count();
    for ran in ran.into_iter().flatten() {
        for (host, outcome) in &ran.outcome {
            match &outcome.failure {
                // What may come of such faults.
                None => {}
                Some(failure) if quiet => wrong.push(format!("{host}, without any fault: {failure:?}")),
                Some(Failure::Transport(_) | Failure::Locked { .. } | Failure::Dependency { .. }) => {}
                Some(_) if ends => {}
                Some(other) => wrong.push(format!("{host}: {other:?}")),
            }
        }
    }
    sleep(schedule.again).await;
    while !world.machines.iter().all(|machine| machine.is_up()) {
        sleep(Duration::from_secs(1)).await;
    }
    if let Some(log) = &log {
        log.lock().unwrap().push("the same command again, in peace".into());
    }
    let (_, ran) = world.calm(8, version, schedule.known).await;
    let failed = |ran: &Ran| {
        ran.outcome.values().filter_map(|o| o.failure.as_ref().map(|f| format!("{f:?}"))).collect()
    };
    let failures: Vec<String> = failed(&ran);
    wrong.extend(failures.into_iter().map(|failure| format!("the next run: {failure}")));
    for machine in &world.machines {
        let outdated = machine.outdated();
        let outdated = outdated.iter().filter(|_| version != GONE);
        wrong.extend(outdated.map(|unit| format!("{}: {unit} is outdated", machine.name)));
        wrong.extend(repeated(machine));
    }
    let state = world.state();
    for what in wanted.keys().chain(state.keys()).collect::<std::collections::BTreeSet<_>>() {
        if wanted.get(what) != state.get(what) {
            wrong.push(format!("{what} is {:?}, not {:?}", state.get(what), wanted.get(what)));
        }
    }
    let changes = |world: &World| world.machines.iter().map(|m| m.state().changes).sum::<usize>();
    let before = changes(&world);
    let (controller, ran) = world.calm(9, version, true).await;
    let failures: Vec<String> = failed(&ran);
    wrong.extend(failures.into_iter().map(|failure| format!("the run after: {failure}")));
    if !ran.changes.is_empty() || changes(&world) != before || controller.changing.load(Ordering::Relaxed) {
        wrong.push(format!("the run after changes something: {:?}", ran.changes));
    }
    let held = world.machines.iter().filter(|machine| !is_unlocked(machine));
    wrong.extend(held.map(|machine| format!("{}: the lock was not given back", machine.name)));
    wrong.extend(world.wrong());
    Played { wrong, killed }
}

/// What was done more than once though nothing had cut it off.
fn repeated(machine: &Machine) -> Vec<String> {
    let state = machine.state();
    let file = |path: &str| {
        state.kept.disk.file(path).map(|file| String::from_utf8_lossy(&file.content).into_owned())
    };
    let mut done = state.done.clone();
    for version in file("/srv/app/migrations").unwrap_or_default().lines() {
        *done.entry(format!("migration {version}")).or_default() += 1;
    }
    drop(state);
    let most = machine.boots() as usize;
    let often = done.iter().filter(|(_, times)| **times > most);
    often.map(|(what, times)| format!("{}: {what} was done {times} times", machine.name)).collect()
}

/// Whether the last lock was given back.
fn is_unlocked(machine: &Machine) -> bool {
    let state = machine.state();
    let number = |name: &str| name.strip_prefix("fence.")?.parse::<u64>().ok();
    let last = state.kept.disk.names("/var/lib/muster/lock").filter_map(number).max();
    let file = last.and_then(|number| state.kept.disk.file(&format!("/var/lib/muster/lock/fence.{number}")));
    file.is_none_or(|file| file.content.ends_with(b"released\n"))
}
