//! Network policies: kube-router comes and goes with `network_policies_enabled`, and with it what its pods have left on each machine.

use muster_testkit::fault_record::held;
use muster_testkit::model::shell::{Done, Shell};

use crate::cluster::{content, put, unknown, write};
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::{World, hosts, simulated};

const TWO: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:1]\n";
const WITH: [&str; 1] = ["network_policies_enabled=true"];
/// A line for each set of addresses in the kernel.
pub(crate) const SETS: &str = "/run/ipset";

/// What ipset(8) does on a model machine.
pub(crate) fn ipset(shell: &mut Shell, words: &[&str]) -> Done {
    let sets = content(&shell.machine, SETS);
    match words {
        ["list", "-n"] => shell.write(1, sets.as_bytes()).map(|_| 0),
        ["destroy", set] => {
            let others = sets.lines().filter(|line| line != set);
            put(shell, SETS, &others.map(|line| format!("{line}\n")).collect::<String>(), 0o644);
            Ok(0)
        }
        _ => unknown(shell, "ipset", words),
    }
}

/// A cluster with these variables, on whose machines there are sets of kube-router and of others.
async fn cluster(set: &[&str]) -> World {
    let world = World::new(&[]);
    world.inventory(&hosts(2), TWO, set);
    let wrong = world.calm(1).await.2;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for machine in &world.machines[..2] {
        write(&mut machine.state().kept.disk, SETS, "KUBE-SRC-A\nKUBE-LOOP-BACK\nKUBE-DST-B\n", 0o644);
    }
    world
}

/// Whether there is anything of it in the cluster.
fn has_objects(world: &World) -> bool {
    world.cluster.seen().contains("network-policies")
}

fn sets(world: &World) -> [String; 2] {
    [0, 1].map(|machine| content(&world.machines[machine], SETS))
}

/// Goes from one set of variables to another, killed everywhere.
fn switched(name: &str, from: &[&str], to: &[&str]) -> usize {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = cluster(from).await;
            let before = sets(&world);
            world.inventory(&hosts(2), TWO, to);
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            if kill.is_some() {
                wrong.extend(world.calm(3).await.2);
            }
            let expected = if to.is_empty() {
                ["KUBE-LOOP-BACK\n".to_owned(), "KUBE-LOOP-BACK\n".to_owned()]
            } else {
                before
            };
            if has_objects(&world) == to.is_empty() || sets(&world) != expected {
                wrong.push(format!("{} {:?}", world.cluster.seen(), sets(&world)));
            }
            let (_, ran, more) = world.calm(4).await;
            wrong.extend(more);
            if !ran.changes.is_empty() {
                wrong.push(format!("the run after it changes something: {:?}", ran.changes));
            }
            (exchanges, wrong)
        })
    };
    killed_everywhere(name, At::BothSides, play)
}

#[test]
fn network_policies_come_to_a_cluster_and_go_again() {
    let kills = switched("policies come", &[], &WITH) + switched("policies go", &WITH, &[]);
    held(
        "controller killed",
        "before and after every exchange of a run that brings network policies to two model machines of a cluster, and of one that takes \
         them away",
        kills,
        "the same command finishes, the run after it changes nothing; no set of addresses is left but those of others",
    );
}

#[test]
fn what_a_machine_out_of_reach_has_of_policies_is_not_forgotten() {
    simulated(async {
        let world = cluster(&WITH).await;
        world.inventory(&hosts(2), TWO, &[]);
        *world.limit.lock().unwrap() = vec!["m0".to_owned()];
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let told =
            ran.warnings.iter().any(|warning| warning.starts_with("network-policies is not removed from m1"));
        assert!(told, "{:?}", ran.warnings);
        assert!(
            has_objects(&world)
                && sets(&world)[0] == "KUBE-LOOP-BACK\n"
                && sets(&world)[1].contains("KUBE-SRC-A")
        );
        world.limit.lock().unwrap().clear();
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty() && ran.warnings.is_empty(), "{wrong:?} {:?}", ran.warnings);
        assert!(!has_objects(&world) && sets(&world)[1] == "KUBE-LOOP-BACK\n");
    });
}

#[test]
fn rules_of_somebody_elses_kube_router_stay() {
    simulated(async {
        let world = cluster(&[]).await;
        let before = sets(&world);
        // Nobody has looked in this run which sets of objects there are.
        *world.roles.lock().unwrap() = vec!["network-policies".to_owned()];
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
        assert_eq!(sets(&world), before);
    });
}
