//! Whoever looks at what would be done to a cluster of model machines is told it, and changes nothing.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use muster_roles::etcd::{self, restore};
use muster_roles::upgrade::Settings;
use muster_roles::{Removal, Reset, upgrading};

use crate::care::NOWHERE;
use crate::upgrade::{self, FROM, TO};
use crate::{GROUPS, IN_USE, World, events::after, hosts, simulated};

/// What is looked at, by its name, and what is told of it among the changes.
type Look = (&'static str, fn(&World), &'static str);

const LOOKS: [Look; 5] = [
    ("an upgrade", |world| world.does(&upgrade::PLAYS, upgrading(Settings::default())), "kubelet 1.37.2"),
    (
        "a removal",
        |world| {
            let hosts = vec!["m2".to_owned()];
            *world.removal.lock().unwrap() = Some(Removal { hosts, come_back: false });
        },
        "member of etcd",
    ),
    ("a reset", |world| *world.reset.lock().unwrap() = Some(Reset::default()), "service kubelet"),
    (
        "a restore",
        |world| {
            // Any file: the snapshot is looked into only when it is restored.
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
            let restore =
                restore::Restore { path, snapshot: None, without: Default::default(), of_another: false };
            world.does(&restore::plays(&Default::default()), restore::roles(restore));
        },
        "control plane is stopped",
    ),
    ("a defragmentation", |world| world.does_on_members(etcd::defragment()), "database of"),
];

#[test]
fn a_look_at_what_would_be_done_changes_nothing_and_tells_it() {
    for (name, look, told) in LOOKS {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(IN_USE), GROUPS, &[&format!("kube_version={FROM}")]);
            assert_eq!(world.calm(1).await.2, Vec::<String>::new());
            let version = if name == "an upgrade" { TO } else { FROM };
            let set = [&format!("kube_version={version}"), NOWHERE];
            world.inventory(&hosts(IN_USE), GROUPS, &set);
            look(&world);
            world.check.store(true, Ordering::Relaxed);
            let before = (world.files(), world.changes(), world.cluster.seen());
            let (_, ran, wrong) = world.calm(2).await;
            assert!(wrong.is_empty(), "{name}: {wrong:?}");
            assert!(
                ran.changes.iter().any(|change| change.resource.contains(told)),
                "{name}: {:?}",
                ran.changes
            );
            assert!(
                (world.files(), world.changes(), world.cluster.seen()) == before,
                "{name}: it was changed"
            );
        });
    }
}

#[test]
fn a_look_at_control_planes_that_would_join_says_so_and_fails_nowhere() {
    simulated(async {
        let world = after("[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm0\n", |_| {}).await;
        // As planes alone they get a taint, which a machine that is no node cannot have yet.
        let groups = "[etcd]\nm[0:2]\n[kube_control_plane]\nm[0:2]\n[kube_node]\nm0\n";
        world.inventory(&hosts(IN_USE), groups, &[]);
        world.check.store(true, Ordering::Relaxed);
        let before = (world.files(), world.changes(), world.cluster.seen());
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(["m1", "m2"].iter().all(|host| ran.told.contains_key(*host)), "{:?}", ran.told);
        assert!((world.files(), world.changes(), world.cluster.seen()) == before, "it was changed");
    });
}
