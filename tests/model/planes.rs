//! A cluster of model machines gets more control planes with members of etcd, and loses them again: the controller is killed before
//! and after every exchange, the cluster stays the same, and etcd keeps its majority at each moment.

use muster_roles::Removal;
use muster_testkit::fault_record::held;

use crate::cluster::address;
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::{MACHINES, World, hosts, simulated};

/// The first so many machines are control planes and members of etcd; where there are less than four, m3 is a worker.
fn groups(planes: usize) -> String {
    let planes: String = (0..planes).map(|number| format!("m{number}\n")).collect();
    let worker = if planes.contains("m3") { "" } else { "m3\n" };
    format!("[etcd]\n{planes}[kube_control_plane]\n{planes}[kube_node]\n{planes}{worker}")
}

/// What differs from a cluster with so many control planes.
fn others_than(world: &World, planes: usize) -> Option<String> {
    let members: Vec<_> = world.cluster.member_names().into_iter().map(|(url, _)| url).collect();
    let wanted: Vec<_> = (0..planes).map(|n| format!("https://{}:2380", address(&format!("m{n}")))).collect();
    let (nodes, workers) = (world.cluster.nodes(), usize::from(planes < 4));
    (members != wanted || nodes != planes + workers).then(|| format!("{members:?}, {nodes} nodes"))
}

/// From so many control planes to so many others. Those that leave are removed first.
fn change(name: &str, from: usize, to: usize, at: At) {
    let leaving: Vec<String> = (to..from).map(|number| format!("m{number}")).collect();
    let kills = killed_everywhere(name, at, |kill: Option<Kill>| {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(MACHINES), &groups(from), &[]);
            let mut wrong = world.calm(1).await.2;
            let identity = world.cluster.identity();
            {
                let mut state = world.cluster.state();
                (state.must_have_quorum, state.leaving) = (true, leaving.len());
            }
            if leaving.is_empty() {
                world.inventory(&hosts(MACHINES), &groups(to), &[]);
            } else {
                let removal = Removal { hosts: leaving.clone(), come_back: false };
                *world.removal.lock().unwrap() = Some(removal);
            }
            let (exchanges, more) = world.disturbed(kill).await;
            wrong.extend(more);
            wrong.extend(world.calm(3).await.2);
            if !leaving.is_empty() {
                *world.removal.lock().unwrap() = None;
                world.inventory(&hosts(MACHINES), &groups(to), &[]);
                wrong.extend(world.calm(4).await.2);
            }
            wrong.extend(others_than(&world, to));
            wrong.extend(world.not_settled(&identity, 5).await);
            (exchanges, wrong)
        })
    });
    held(
        name,
        "on model machines, the controller killed at every exchange",
        kills,
        "the same command finishes; the same cluster; etcd had its majority at each moment",
    );
}

#[test]
fn one_control_plane_becomes_three() {
    change("one control plane becomes three", 1, 3, At::OneSide);
}

#[test]
fn three_control_planes_become_one() {
    change("three control planes become one", 3, 1, At::OneSide);
}

#[test]
fn five_control_planes_become_three() {
    change("five control planes become three", 5, 3, At::OneSide);
}
