//! Docker beside containerd: it comes and goes with `container_manager` on machines of a cluster that goes on, and with a reset.

use muster_roles::Reset;
use muster_testkit::fault_record::held;
use muster_testkit::model::disk::Entry;

use crate::cluster::{content, write};
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::{World, hosts, simulated};

const TWO: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:1]\n";
const WITH: [&str; 1] = ["container_manager=docker"];
const MARK: &str = "/var/lib/muster/stamps/docker";
const CONFIG: &str = "/etc/docker/daemon.json";
const TASK: &str = "/run/containerd/io.containerd.runtime.v2.task/moby/0a1b/pid";
/// What users of Docker have.
const THEIRS: &str = "/var/lib/docker/volumes/data";

/// A cluster with these variables, and what a user of Docker has on its machines.
async fn cluster(set: &[&str]) -> World {
    let world = World::new(&[]);
    world.inventory(&hosts(2), TWO, set);
    let wrong = world.calm(1).await.2;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for machine in &world.machines[..2] {
        write(&mut machine.state().kept.disk, THEIRS, "theirs", 0o600);
    }
    world
}

/// What machines have of Docker: its files, and whether it runs.
fn seen(world: &World, number: usize) -> (Vec<String>, bool) {
    let state = world.machines[number].state();
    let is_file = |entry: &Entry| !matches!(entry, Entry::Dir(_));
    let files = state.kept.disk.all().filter(|(path, entry)| path.contains("docker") && is_file(entry));
    let files = files.map(|(path, _)| path.to_owned()).collect();
    (files, state.kept.units.get("docker.service").is_some_and(|unit| unit.active || unit.enabled))
}

/// What is wrong with the machines where Docker is to be, or not.
fn wrong_of(world: &World, is_there: bool) -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..2 {
        let (files, runs) = seen(world, number);
        let expected = [
            "/etc/docker/daemon.json",
            "/etc/systemd/system/docker.service",
            "/usr/local/bin/dockerd",
            THEIRS,
        ];
        let is_good = match is_there {
            true => runs && expected.iter().all(|path| files.iter().any(|file| file == path)),
            false => !runs && files == [THEIRS],
        };
        if !is_good {
            all.push(format!("m{number}: {files:?}, runs: {runs}"));
        }
    }
    all
}

/// Goes from one set of variables to another, killed everywhere.
fn switched(name: &str, from: &[&str], to: &[&str], is_there: bool) -> usize {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = cluster(from).await;
            let identity = world.cluster.identity();
            world.inventory(&hosts(2), TWO, to);
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            if kill.is_some() {
                wrong.extend(world.calm(3).await.2);
            }
            wrong.extend(wrong_of(&world, is_there));
            wrong.extend(world.not_settled(&identity, 4).await);
            (exchanges, wrong)
        })
    };
    killed_everywhere(name, At::BothSides, play)
}

#[test]
fn docker_comes_to_a_cluster_and_goes_again() {
    let kills = switched("Docker comes", &[], &WITH, true) + switched("Docker goes", &WITH, &[], false);
    held(
        "controller killed",
        "before and after every exchange of a run that brings Docker to two model machines of a cluster, and of one that takes it away",
        kills,
        "the same command finishes, the run after it changes nothing; what users of Docker have stays",
    );
}

#[test]
fn a_reset_takes_docker_away_and_leaves_what_its_users_have() {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = cluster(&WITH).await;
            *world.reset.lock().unwrap() = Some(Reset::default());
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            wrong.extend(world.calm(3).await.2);
            wrong.extend(wrong_of(&world, false));
            let (_, ran, more) = world.calm(4).await;
            wrong.extend(more);
            if !ran.changes.is_empty() {
                wrong.push(format!("reset again, it changes something: {:?}", ran.changes));
            }
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere("a cluster with Docker is taken away", At::OneSide, play);
    held(
        "controller killed",
        "on one side of exchanges of a reset of two model machines with Docker",
        kills,
        "the same command finishes; what users of Docker have stays",
    );
}

#[test]
fn nothing_but_docker_changes_when_it_comes_or_goes() {
    simulated(async {
        let world = cluster(&[]).await;
        world.inventory(&hosts(2), TWO, &WITH);
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let all: Vec<_> = ran.told.values().flatten().collect();
        assert!(!all.is_empty() && all.iter().all(|what| what.starts_with("docker: ")), "{all:?}");
        // A setting alone restarts Docker, and nothing else.
        world.inventory(&hosts(2), TWO, &[WITH[0], "docker_options=--live-restore"]);
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(ran.told["m1"], [format!("docker: file {CONFIG}"), "docker: service docker".to_owned()]);
        world.inventory(&hosts(2), TWO, &[]);
        let (_, ran, wrong) = world.calm(4).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(ran.told["m1"], ["containerd: Docker"]);
    });
}

#[test]
fn nobodys_docker_is_replaced_and_none_goes_under_its_containers() {
    simulated(async {
        let world = cluster(&[]).await;
        let package = "/lib/systemd/system/docker.service";
        write(&mut world.machines[1].state().kept.disk, package, "a package's", 0o644);
        world.inventory(&hosts(2), TWO, &WITH);
        let refused = world.refused().await;
        let said = "m1: Docker on this machine is muster's: failed";
        assert!(refused.len() == 1 && refused[0].starts_with(said), "{refused:#?}");
        assert_eq!(content(&world.machines[1], MARK), "");
        assert!(!world.files()[1].contains_key(CONFIG) && world.files()[0].contains_key(CONFIG));

        write(&mut world.machines[0].state().kept.disk, TASK, "7", 0o644);
        world.inventory(&hosts(2), TWO, &[]);
        let refused = world.refused().await;
        // The other one waits for the API server of this one.
        assert!(refused[0].starts_with("m0: Docker: failed"), "{refused:#?}");
        assert!(seen(&world, 0).1 && world.files()[0].contains_key(CONFIG));
    });
}
