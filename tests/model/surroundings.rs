//! What is around the machines, as variables say it: proxies, registries, names of each other.

use std::sync::atomic::Ordering;

use crate::cluster::{content, write};
use crate::upgrade::MANIFEST;
use crate::{World, events::after, hosts, simulated};

/// What changed in a run, by host.
async fn told(world: &World, number: u32, hosts_of: usize, groups: &str, set: &[&str]) -> Vec<String> {
    world.inventory(&hosts(hosts_of), groups, set);
    let (_, ran, wrong) = world.calm(number).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    ran.told.iter().flat_map(|(host, what)| what.iter().map(move |what| format!("{host} {what}"))).collect()
}

const TWO: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:1]\n";
const THREE: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:2]\n";

#[test]
fn proxies_and_neighbours_come_and_go_and_another_worker_restarts_no_container_engine() {
    simulated(async {
        let world = after(TWO, |_| {}).await;
        let proxy = [
            "https_proxy=http://proxy.example.org:3128",
            "no_proxy_exclude_workers=true",
            "populate_inventory_to_hosts_file=true",
        ];
        let restarted =
            |told: &[String], host: &str| told.contains(&format!("{host} containerd: service containerd"));
        let file = |machine: usize, path: &str| world.files()[machine].get(path).cloned().unwrap_or_default();

        let on = told(&world, 2, 2, TWO, &proxy).await;
        assert!(restarted(&on, "m0") && restarted(&on, "m1"), "{on:?}");
        let environment = String::from_utf8(file(1, "/etc/containerd/proxies.env")).unwrap();
        assert!(
            environment.starts_with("HTTPS_PROXY=http://proxy.example.org:3128\nNO_PROXY="),
            "{environment}"
        );
        let neighbours = |machine: usize| {
            String::from_utf8(file(machine, "/etc/hosts")).unwrap().matches("# muster: inventory").count()
        };
        assert_eq!((neighbours(0), neighbours(1)), (2, 2));

        let more = told(&world, 3, 3, THREE, &proxy).await;
        assert!(!restarted(&more, "m0") && !restarted(&more, "m1") && restarted(&more, "m2"), "{more:?}");
        assert_eq!((neighbours(0), neighbours(1), neighbours(2)), (3, 3, 3));

        let off = told(&world, 4, 3, THREE, &[]).await;
        assert!(restarted(&off, "m0") && restarted(&off, "m2"), "{off:?}");
        assert_eq!((file(1, "/etc/containerd/proxies.env").len(), neighbours(0)), (0, 0));
        let (controller, ran, _) = world.calm(5).await;
        assert!(ran.changes.is_empty() && !controller.changing.load(Ordering::Relaxed), "{:?}", ran.changes);
    });
}

#[test]
fn a_machine_knows_its_name_and_no_swap_comes_back() {
    simulated(async {
        let world = after(TWO, |_| {}).await;
        for number in [0, 1] {
            let files = world.files();
            let file = |path: &str| String::from_utf8_lossy(&files[number][path]).into_owned();
            let line = format!("192.0.2.1{number} m{number}");
            // sudo and others wait for name servers otherwise.
            assert!(file("/etc/hosts").lines().any(|found| found == line), "{}", file("/etc/hosts"));
            assert_eq!(file("/etc/systemd/system/swap.target"), "/dev/null");
        }
    });
}

#[test]
fn a_manifest_of_the_control_plane_that_was_changed_by_hand_is_a_difference() {
    simulated(async {
        let world = after(TWO, |_| {}).await;
        let written = content(&world.machines[0], MANIFEST);
        write(&mut world.machines[0].state().kept.disk, MANIFEST, &format!("{written}# by hand\n"), 0o600);
        // kubeadm writes it anew, which the one of models does not.
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let told = ["control-plane: control plane", "control-plane: configuration of the cluster"];
        assert_eq!(ran.told["m0"], told);
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
    });
}
