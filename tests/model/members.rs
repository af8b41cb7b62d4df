//! Members of etcd that lose their data, that are away, and that restart.

use crate::cluster::{content, write};
use crate::events::{after, heals};
use crate::{World, hosts, simulated};

/// Where a member finds out how to begin.
const INITIAL: &str = "/etc/etcd.initial.env";

const ONE: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:1]\n";
/// What ends a static pod of etcd with its unit.
const DROP_IN: &str = "/etc/systemd/system/etcd.service.d/muster-pod.conf";

const THREE: &str = "[etcd]\nm[0:2]\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";

impl World {
    /// The power goes, and when it is back the disk with etcd's data is not.
    fn lose_data(&self, number: usize) {
        let machine = &self.machines[number];
        machine.state().kept.disk.remove_all("/var/lib/etcd/member");
        self.cluster.etcd_started(machine);
    }
}

#[test]
fn the_member_that_began_etcd_begins_no_other_one_without_its_disk() {
    simulated(async {
        let world = after(ONE, |_| {}).await;
        let identity = world.cluster.identity();
        world.lose_data(0);
        assert_eq!((world.cluster.identity(), world.cluster.wrong()), (identity.clone(), Vec::new()));
        let refused = world.refused().await;
        assert!(refused.iter().any(|text| text.contains("no etcd member has data, and m0")), "{refused:?}");
        // The disk is there again.
        write(&mut world.machines[0].state().kept.disk, "/var/lib/etcd/member/wal/0.wal", "", 0o600);
        let wrong = world.calm(3).await.2;
        assert!(wrong.is_empty(), "{wrong:?}");
        let wrong = world.not_settled(&identity, 4).await;
        assert!(wrong.is_empty(), "{wrong:?}");
    });
    let members = [(0, "etcd1"), (1, "etcd2"), (2, "etcd3")];
    let name = "a power cut, after which the disk of the member that began etcd is missing";
    heals(name, &members, 3, |world| world.lose_data(0));
}

#[test]
fn an_older_cluster_is_told_that_it_has_begun_and_nothing_restarts() {
    simulated(async {
        let world = after(THREE, |_| {}).await;
        let [etcd, containerd] =
            ["etcd", "containerd"].map(|unit| format!("/etc/systemd/system/{unit}.service"));
        let text = |path: &str| content(&world.machines[0], path);
        let written = [text(INITIAL), text(&etcd), text(&containerd)];
        assert!(written[0].ends_with("STATE=existing\n") && !written[0].contains(','), "{}", written[0]);
        let older = [
            written[0].replace("existing", "new"),
            written[1].replace("RequiresMountsFor=/var/lib/etcd\n", ""),
            written[2].replace("RequiresMountsFor=/var/lib/containerd\n", ""),
        ];
        for ((path, older), written) in [INITIAL, &etcd, &containerd].into_iter().zip(&older).zip(&written) {
            assert_ne!(older, written);
            write(&mut world.machines[0].state().kept.disk, path, older, 0o644);
        }
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let told = [
            format!("etcd: file {etcd}"),
            format!("etcd: file {INITIAL}"),
            format!("containerd: file {containerd}"),
        ];
        assert_eq!(ran.told.into_iter().collect::<Vec<_>>(), [("m0".to_owned(), told.to_vec())]);
        assert_eq!([text(INITIAL), text(&etcd), text(&containerd)], written);
    });
}

#[test]
fn without_a_majority_nothing_begins_that_would_wait_for_it() {
    simulated(async {
        let world = after(THREE, |world| {
            world.cluster.switch_off("m1");
            world.cluster.switch_off("m2");
        })
        .await;
        *world.limit.lock().unwrap() = vec!["m0".to_owned()];
        let files = || -> Vec<_> {
            let files = world.files().swap_remove(0);
            files.into_iter().filter(|(path, _)| !path.starts_with("/var/lib/muster")).collect()
        };
        let before = files();
        let refused = world.refused().await;
        let lost = "m0: etcd: etcd has lost its majority: 1 of 3 members answers; not m1-2";
        assert!(refused.iter().any(|text| text == lost), "{refused:?}");
        assert!(files() == before, "nothing has changed");
        world.limit.lock().unwrap().clear();
        world.cluster.switch_on("m1");
        world.cluster.switch_on("m2");
        let wrong = world.calm(3).await.2;
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}

#[test]
fn a_member_that_is_well_does_not_restart_while_another_one_is_dead() {
    const SLOWER: [&str; 1] = ["etcd_heartbeat_interval=300"];
    simulated(async {
        let world = after(THREE, |world| world.cluster.switch_off("m2")).await;
        world.inventory(&hosts(3), THREE, &SLOWER);
        *world.limit.lock().unwrap() = vec!["m0".to_owned(), "m1".to_owned()];
        let refused = world.refused().await;
        assert!(refused.iter().any(|text| text.starts_with("m0: etcd: m2 does not answer")), "{refused:?}");
        assert!(world.machines[0].outdated().contains(&"etcd.service"), "it has not restarted");
        // It is there again.
        world.cluster.switch_on("m2");
        world.limit.lock().unwrap().clear();
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        for machine in ["m0", "m1", "m2"] {
            assert!(ran.told[machine].contains(&"etcd: service etcd".to_owned()), "{:?}", ran.told);
        }
    });
    // One that is sick hurts nobody by its restart, and the others wait for it.
    simulated(async {
        let world = after(THREE, |world| {
            world.machines[2].state().kept.units.get_mut("etcd.service").unwrap().active = false;
        })
        .await;
        world.inventory(&hosts(3), THREE, &SLOWER);
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let restarts = ran.changes.iter().filter(|change| change.resource == "service etcd");
        let restarts: Vec<&str> = restarts.map(|change| change.what.as_str()).collect();
        let newer = "restarted, its configuration is newer";
        assert_eq!(restarts, ["started", newer, newer]);
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
    });
}

#[test]
fn a_member_that_was_to_be_a_static_pod_and_is_none_yet_runs_on_as_a_process() {
    simulated(async {
        let world = after(THREE, |world| world.cluster.switch_off("m2")).await;
        let identity = world.cluster.identity();
        let etcd = || world.machines[0].state().main_process("etcd.service");
        let before = etcd();
        // The run ends where the member would restart: what a pod's unit needs is there.
        world.inventory(&hosts(3), THREE, &["etcd_deployment_type=kubeadm"]);
        *world.limit.lock().unwrap() = vec!["m0".to_owned(), "m1".to_owned()];
        let refused = world.refused().await;
        assert!(refused.iter().any(|text| text.starts_with("m0: etcd: m2 does not answer")), "{refused:?}");
        let ends_pod = "ExecStopPost=/bin/sh /var/lib/muster/etcd-pod.sh end\n";
        assert!(content(&world.machines[0], DROP_IN).contains(ends_pod));
        world.cluster.switch_on("m2");
        world.limit.lock().unwrap().clear();
        world.inventory(&hosts(3), THREE, &[]);
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(ran.told["m0"].contains(&"etcd: etcd is no static pod".to_owned()), "{:?}", ran.told);
        assert_eq!(etcd(), before, "it has restarted: {:?}", ran.told);
        let left = world.files().swap_remove(0).into_keys();
        let left: Vec<_> =
            left.filter(|path| path.contains("etcd-pod") || path.contains("etcd.service.d")).collect();
        assert_eq!(left, Vec::<String>::new());
        let wrong = world.not_settled(&identity, 4).await;
        assert!(wrong.is_empty(), "{wrong:?}");
    });
}
