//! A cluster of model machines is taken away: the controller is killed before and after every exchange, and the same command
//! leaves the machines with the files that they had before there was a cluster.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use muster_roles::Reset;
use muster_testkit::fault_record::held;
use muster_testkit::model::disk::Entry;

use crate::events::after;
use crate::line::{Controller, Kill};
use crate::{GROUPS, IN_USE, MACHINES, World, in_parallel, simulated};

/// The files of each machine, without what muster notes of its runs, and what m1 had of another cluster.
fn files(world: &World) -> Vec<BTreeMap<String, Vec<u8>>> {
    let passed = |path: &str| {
        ["/var/lib/muster/", "/run/", "/proc/", "/etc/kubernetes/"].iter().any(|own| path.starts_with(own))
    };
    let is_folder = |number: usize, path: &str| {
        matches!(world.machines[number].state().kept.disk.entry(path), Some(Entry::Dir(_)))
    };
    let all = world.files().into_iter().enumerate().take(IN_USE);
    all.map(|(number, mut files)| {
        files.retain(|path, _| !passed(path) && !is_folder(number, path));
        files
    })
    .collect()
}

#[test]
fn a_cluster_is_taken_away() {
    let before = files(&World::new(&[]));
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = after(GROUPS, |_| ()).await;
            *world.reset.lock().unwrap() = Some(Reset::default());
            let first = Controller::new(2, MACHINES, kill);
            let disturbed = world.run(&first).await;
            let exchanges: Vec<_> =
                first.exchanges.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            let mut wrong = Vec::new();
            if kill.is_some() != disturbed.is_none() {
                wrong.push("the controller was not killed, or was".to_owned());
            }
            wrong.extend(world.calm(3).await.2);
            for (number, (now, before)) in files(&world).iter().zip(&before).enumerate() {
                let differs = |path: &&String| now.get(*path) != before.get(*path);
                let paths: Vec<_> = now.keys().chain(before.keys()).filter(differs).collect();
                if !paths.is_empty() {
                    wrong.push(format!("m{number}: {paths:?}"));
                }
                for (unit, state) in &world.machines[number].state().kept.units {
                    if state.active || state.enabled {
                        wrong.push(format!("m{number}: {unit} runs, or is enabled"));
                    }
                }
            }
            let (_, ran, more) = world.calm(4).await;
            wrong.extend(more);
            if !ran.changes.is_empty() {
                wrong.push(format!("reset again, it changes something: {:?}", ran.changes));
            }
            (exchanges, wrong)
        })
    };
    let (exchanges, wrong) = play(None);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let kills: Vec<Kill> = (0..MACHINES)
        .flat_map(|machine| (0..exchanges[machine]).map(move |exchange| (machine, exchange)))
        .flat_map(|(machine, exchange)| [false, true].map(|after| Kill { machine, exchange, after }))
        .collect();
    assert!(kills.len() > 50, "{exchanges:?}");
    in_parallel(&kills, |kill| play(Some(*kill)).1);
    held(
        "a cluster is taken away",
        "on model machines, the controller killed before and after every exchange of reset-cluster",
        kills.len(),
        "the same command finishes; the machines have the files that they had before",
    );
}
