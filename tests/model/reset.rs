//! A cluster of model machines is taken away: the controller is killed before and after every exchange, and the same command
//! leaves the machines with the files that they had before there was a cluster.

use std::collections::BTreeMap;

use muster_roles::Reset;
use muster_testkit::fault_record::held;
use muster_testkit::model::disk::Entry;

use crate::cluster::write;
use crate::events::after;
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::{GROUPS, IN_USE, World, hosts, simulated};

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

/// Kills the controller in a reset of a cluster with these variables; returns how often.
pub(crate) fn taken_away(name: &str, at: At, groups: &str, set: &[&str]) -> usize {
    let before = files(&World::new(&[]));
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(IN_USE), groups, set);
            let mut wrong = world.calm(1).await.2;
            *world.reset.lock().unwrap() = Some(Reset::default());
            let (exchanges, more) = world.disturbed(kill).await;
            wrong.extend(more);
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
    killed_everywhere(name, at, play)
}

/// A control plane that is no member of etcd has what its API server logs in to etcd with, and nothing else of etcd's.
#[test]
fn a_control_plane_keeps_no_key_of_an_etcd_that_is_elsewhere() {
    let groups = "[etcd]\nm2\n[kube_control_plane]\nm0\n[kube_node]\nm[0:1]\n";
    taken_away("etcd is elsewhere", At::BothSides, groups, &[]);
}

#[test]
fn a_cluster_is_taken_away() {
    let kills = taken_away("a cluster is taken away", At::BothSides, GROUPS, &[]);
    held(
        "a cluster is taken away",
        "on model machines, the controller killed before and after every exchange of reset-cluster",
        kills,
        "the same command finishes; the machines have the files that they had before",
    );
}

/// The group says nothing of what a machine carries, and neither does --foreign.
#[test]
fn a_control_plane_in_another_group_is_named_and_not_reset() {
    simulated(async {
        let world = after("[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[1:2]\n", |_| ()).await;
        let swapped = "[etcd]\nm1\n[kube_control_plane]\nm1\n[kube_node]\nm0\nm2\n";
        world.inventory(&hosts(IN_USE), swapped, &[]);
        world.only("m0");
        for foreign in [false, true] {
            *world.reset.lock().unwrap() = Some(Reset { foreign, ..Reset::default() });
            let before = (world.cluster.identity(), files(&world));
            let refused = world.refused().await;
            let said = "m0 carries the cluster of m1-2, and is not in [kube_control_plane]";
            assert!(refused.iter().any(|text| text.contains(said)), "--foreign {foreign}: {refused:#?}");
            assert!(
                (world.cluster.identity(), files(&world)) == before,
                "--foreign {foreign}: it was changed"
            );
        }
        // As a worker that joins a cluster it is named as well.
        *world.reset.lock().unwrap() = None;
        let refused = world.refused().await;
        assert!(
            refused.iter().any(|text| text.contains("m0 is a control plane of this cluster")),
            "{refused:#?}"
        );
    });
}

#[test]
fn snapshots_of_etcd_stay_and_are_told() {
    simulated(async {
        let kept = "/var/lib/muster/snapshots/before-1.37.2-from-1.36.3.db";
        let world = after(GROUPS, |world| {
            write(&mut world.machines[1].state().kept.disk, kept, "all that is left", 0o600);
        })
        .await;
        *world.reset.lock().unwrap() = Some(Reset::default());
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let told = "snapshots of etcd stay in /var/lib/muster/snapshots: those of before an upgrade";
        assert_eq!(
            ran.warnings.iter().filter(|warning| warning.starts_with(told)).count(),
            1,
            "{:?}",
            ran.warnings
        );
        assert!(world.machines[1].state().kept.disk.file(kept).is_some());
    });
}
