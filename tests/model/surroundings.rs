//! What is around the machines, as variables say it: proxies, registries, names of each other.

use std::collections::BTreeSet;
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

#[test]
fn kernel_parameters_are_in_a_file_that_is_read_last() {
    simulated(async {
        let world = after(TWO, |_| {}).await;
        let [ours, former] = ["/etc/sysctl.d/99-zz-kubernetes.conf", "/etc/sysctl.d/99-kubernetes.conf"];
        let written = content(&world.machines[0], ours);
        assert!(
            written.starts_with("net.ipv4.ip_forward = 1\n")
                && content(&world.machines[0], former).is_empty()
        );
        // An older muster has written the one, and somebody else the other.
        write(&mut world.machines[0].state().kept.disk, former, &written, 0o644);
        write(&mut world.machines[1].state().kept.disk, former, "vm.swappiness = 1\n", 0o644);
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let gone = vec![format!("bootstrap-os: no {former}")];
        assert_eq!(ran.told.into_iter().collect::<Vec<_>>(), [("m0".to_owned(), gone)]);
        assert!(!world.files()[0].contains_key(former) && world.files()[1].contains_key(former));
    });
}

#[test]
fn kubelets_that_speak_with_the_cluster_alone_do_not_wait_for_a_machine_that_is_off() {
    simulated(async {
        let world = World::new(&[]);
        world.cluster.switch_off("m2");
        world.inventory(&hosts(2).replace("m1 ", "m2\nm1 "), THREE, &["kubelet_systemd_hardening=true"]);
        let (_, ran, wrong) = world.calm(1).await;
        assert!(wrong.len() == 1 && wrong[0].starts_with("m2: "), "{wrong:?}");
        let warnings: BTreeSet<_> =
            ran.warnings.iter().filter(|text| text.contains("kubelet_systemd_hardening")).collect();
        assert!(
            warnings.len() == 1 && warnings.iter().all(|text| text.contains("speak with m2")),
            "{warnings:?}"
        );
        let unit = |number: usize| content(&world.machines[number], "/etc/systemd/system/kubelet.service");
        assert!(unit(0).contains(" 192.0.2.11") && !unit(0).contains("192.0.2.12"), "{}", unit(0));
        // It is on, and is known to them from then on.
        world.cluster.switch_on("m2");
        world.inventory(&hosts(3), THREE, &["kubelet_systemd_hardening=true"]);
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty() && unit(0).contains(" 192.0.2.12"), "{wrong:?} {:?}", ran.warnings);
    });
}
