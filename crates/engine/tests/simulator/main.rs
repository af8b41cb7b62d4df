//! Runs of the real engine on model machines, with faults everywhere. Time and chance follow from a seed: a schedule that
//! fails is printed, and happens again with `SEED=n cargo test -p muster-engine --test simulator`.

mod commands;
mod disk;
mod expand;
mod machine;
mod random;
mod roles;
mod schedule;
mod shell;
mod simulation;
mod syntax;
mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::machine::Kept;
use crate::schedule::Schedule;
use crate::simulation::{State, World, play};

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

/// By the number of machines, and whether they had the first version before.
fn references() -> BTreeMap<(usize, bool), Reference> {
    let mut references = BTreeMap::new();
    for machines in 2..=4 {
        let mut before = vec![roles::blank(); machines];
        for (version, upgrade) in [(1, false), (2, true)] {
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
            references.insert((machines, upgrade), reference.0);
        }
    }
    references
}

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
    let next = AtomicU64::new(from);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to || failures.lock().unwrap().len() >= 3 {
                        return;
                    }
                    let schedule = Schedule::of(seed, |machines, upgrade| references[&(machines, upgrade)].exchanges);
                    let reference = &references[&(schedule.machines, schedule.upgrade)];
                    let log = one.map(|_| Arc::new(Mutex::new(Vec::new())));
                    let wrong = simulated(play(&schedule, &reference.before, &reference.wanted, log.clone()));
                    if let Some(log) = log {
                        println!("{}\n{schedule:#?}", log.lock().unwrap().join("\n"));
                    }
                    if !wrong.is_empty() {
                        let text = format!(
                            "{}\n{schedule:?}\nto see it happen: SEED={seed} cargo test -p muster-engine --test simulator -- whatever --nocapture",
                            wrong.join("\n")
                        );
                        failures.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
