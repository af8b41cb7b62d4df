//! A cluster of model machines gets more control planes with members of etcd, and loses them again: the controller is killed before
//! and after every exchange, the cluster stays the same, and etcd keeps its majority at each moment.

use std::time::Duration;

use muster_roles::Removal;
use muster_testkit::fault_record::held;
use muster_testkit::model::random::Random;

use crate::cluster::{MAKES_CERTIFICATE, MAKES_MANIFESTS, SUBNET, SUBNET_FILE, address, content, write};
use crate::events::after;
use crate::kills::{At, killed_everywhere};
use crate::line::{Controller, Kill};
use crate::{IN_USE, MACHINES, World, hosts, simulated};

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

#[test]
fn a_control_plane_has_a_certificate_whenever_its_power_goes() {
    let groups = "[etcd]\nm[0:2]\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";
    let mut cuts = 0;
    for (at_work, milliseconds) in
        [MAKES_CERTIFICATE, MAKES_MANIFESTS].into_iter().flat_map(|what| [0, 400, 900].map(|ms| (what, ms)))
    {
        simulated(async {
            let world = after(groups, |_| {}).await;
            let identity = world.cluster.identity();
            world.inventory(
                &hosts(IN_USE),
                groups,
                &[r#"{"supplementary_addresses_in_ssl_keys": ["192.0.2.99"]}"#],
            );
            let machine = &world.machines[0];
            let pair = || {
                ["crt", "key"].map(|end| content(machine, &format!("/etc/kubernetes/ssl/apiserver.{end}")))
            };
            let before = pair();
            // The set-up is long ago.
            machine.state().kept.disk.flush();
            let cut = async {
                while !world.cluster.state().busy.contains(&format!("{at_work} on m0")) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                machine.restart(&mut Random::of(7, &[milliseconds]), Duration::from_secs(5));
                world.cluster.state().busy.clear();
                // What flannel's daemon writes after a start of the machine.
                write(&mut machine.state().kept.disk, SUBNET_FILE, SUBNET, 0o644);
            };
            let controller = Controller::new(2, MACHINES, None);
            let cut = tokio::time::timeout(Duration::from_secs(3600), cut);
            tokio::join!(cut, world.run(&controller)).0.expect("it is at work");
            let [certificate, key] = pair();
            assert!(
                certificate.ends_with("-----END CERTIFICATE-----\n") && certificate == key,
                "{certificate}{key}"
            );
            assert_eq!(world.calm(3).await.2, Vec::<String>::new());
            assert_eq!(world.not_settled(&identity, 5).await, Vec::<String>::new());
            assert!(
                pair() != before
                    && pair()[0] == pair()[1]
                    && !content(machine, "/etc/kubernetes/ssl/apiserver.crt").is_empty()
            );
            assert!(machine.state().kept.disk.file("/var/lib/muster/manifests-before/complete").is_none());
        });
        cuts += 1;
    }
    held(
        "power lost",
        "on a model machine, while its control plane gets another configuration",
        cuts,
        "it has a certificate with its key at each moment; the same command finishes",
    );
}
