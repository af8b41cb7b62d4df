//! Runs of the real engine on model machines, with faults everywhere. Time and chance follow from a seed: a schedule that
//! fails is printed, and happens again with `SEED=n cargo test -p muster-engine --test simulator`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod beside;
mod roles;
mod schedule;
mod simulation;
mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::schedule::{Fault, Schedule, Strike};
use crate::simulation::{State, World, play};
use crate::wire::Controller;
use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Kept;

/// What an undisturbed run begins with, how it ends, and its exchanges with a machine.
struct Reference {
    before: Vec<Kept>,
    wanted: State,
    exchanges: usize,
}

/// Time stands still while something is at work, and jumps to when something happens.
fn simulated<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

/// What is done to machines, one after the other: set up, upgraded, and everything taken away.
const STORY: [u32; 3] = [1, 2, roles::GONE];

/// By the number of machines, and what is done to them.
fn references() -> BTreeMap<(usize, u32), Reference> {
    let mut references = BTreeMap::new();
    for machines in 2..=4 {
        let mut before = vec![roles::blank(); machines];
        for version in STORY {
            let reference = simulated(async {
                let log = Arc::new(Mutex::new(Vec::new()));
                let world = World::new(before.clone(), Some(log.clone()));
                let (_, ran) = world.calm(0, version, true).await;
                let failures: Vec<_> =
                    ran.outcome.values().filter_map(|host| host.failure.as_ref()).collect();
                let log = || log.lock().unwrap().join("\n");
                assert!(failures.is_empty(), "{}\n{failures:?} {:?}", log(), world.wrong());
                assert!(!ran.changes.is_empty() && world.wrong().is_empty(), "{:?}", world.wrong());
                let reference = Reference { before, wanted: world.state(), exchanges: ran.exchanges };
                (reference, world.kept())
            });
            before = reference.1;
            references.insert((machines, version), reference.0);
        }
    }
    references
}

/// Plays numbered schedules on all cores. What was wrong is returned, for at most three of them.
fn play_all(from: u64, to: u64, play: impl Fn(u64) -> Option<String> + Sync) -> Vec<String> {
    let next = AtomicU64::new(from);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to || failures.lock().unwrap().len() >= 3 {
                        return;
                    }
                    if let Some(wrong) = play(number) {
                        failures.lock().unwrap().push(wrong);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

/// What holds whatever happens.
const HELD: &str = "the same command converges, the run after it changes nothing";

/// How many schedules are tried when nobody says otherwise.
const SCHEDULES: u64 = 2000;

#[test]
fn whatever_happens_the_next_run_brings_the_machines_where_an_undisturbed_one_does() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    let references = references();
    let one = number("SEED");
    let schedules = number("SCHEDULES").unwrap_or(SCHEDULES);
    let first = number("FIRST").unwrap_or(0);
    let (from, to) = one.map_or((first, first + schedules), |seed| (seed, seed + 1));
    let failures = play_all(from, to, |seed| {
        let schedule = Schedule::of(seed, |machines, version| references[&(machines, version)].exchanges);
        let reference = &references[&(schedule.machines, schedule.version)];
        let log = one.map(|_| Arc::new(Mutex::new(Vec::new())));
        let wrong = simulated(play(&schedule, &reference.before, &reference.wanted, log.clone())).wrong;
        if let Some(log) = log {
            println!("{}\n{schedule:#?}", log.lock().unwrap().join("\n"));
        }
        let again =
            format!("SEED={seed} cargo test -p muster-engine --test simulator -- whatever --nocapture");
        (!wrong.is_empty()).then(|| format!("{}\n{schedule:?}\nto see it happen: {again}", wrong.join("\n")))
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let faults = "kills, cuts, restarts, power cuts, late programs, several controllers";
    held(faults, "schedules from seeds, on model machines", (to - from) as usize, HELD);
}

/// Plays a set-up of so many machines, an upgrade and a removal, once for each strike of those that an undisturbed one gives rise to.
/// How many there were. Each kills so many controllers.
fn play_each(machines: usize, kills: usize, strikes: impl Fn(&Controller) -> Vec<Strike>) -> usize {
    let references = references();
    let mut all = Vec::new();
    for version in STORY {
        let reference = &references[&(machines, version)];
        let (undisturbed, _) = simulated(async {
            let world = World::new(reference.before.clone(), None);
            world.calm(0, version, true).await
        });
        all.extend(strikes(&undisturbed).into_iter().map(|strike| (version, strike)));
    }
    let failures = play_all(0, all.len() as u64, |number| {
        let (version, strike) = &all[number as usize];
        let schedule = Schedule::crash(machines, *version, strike.clone());
        let reference = &references[&(machines, *version)];
        let mut played = simulated(play(&schedule, &reference.before, &reference.wanted, None));
        if played.killed != kills {
            played.wrong.push(format!("{} controllers were killed", played.killed));
        }
        (!played.wrong.is_empty()).then(|| format!("{schedule:?}\n{}", played.wrong.join("\n")))
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    all.len()
}

#[test]
fn a_controller_may_be_killed_before_and_after_every_exchange() {
    let strikes = play_each(3, 1, |undisturbed| {
        let exchanges = undisturbed.exchanges.each_ref().map(|count| count.load(Ordering::Relaxed));
        let machines = exchanges.into_iter().enumerate().take(3).inspect(|(_, count)| assert!(*count > 5));
        let exchanges = machines.flat_map(|(machine, count)| (0..count).map(move |n| (machine, n)));
        let kills = [Fault::KilledBefore, Fault::KilledAfter];
        exchanges
            .flat_map(|(machine, exchange)| kills.map(|fault| Strike { machine, exchange, fault }))
            .collect()
    });
    let injected =
        "before and after every exchange of a set-up, an upgrade and a removal of three model machines";
    held("controller killed", injected, strikes, HELD);
}

#[test]
fn a_program_that_changes_a_machine_may_be_killed_before_each_of_its_actions() {
    let strikes = play_each(2, 0, |undisturbed| {
        let programs = undisturbed.programs.lock().unwrap();
        assert!(programs.len() > 4, "{programs:?}");
        let strikes = programs.iter().flat_map(|&(machine, exchange, actions)| {
            (0..actions).map(move |action| Strike { machine, exchange, fault: Fault::Ended { action } })
        });
        strikes.collect()
    });
    let injected = "before each action of every program that changes a machine, in a set-up, an upgrade and a removal of two model machines";
    held("program killed", injected, strikes, HELD);
}
