//! From the machines on the command line to an inventory, and which inventory is meant without them.

use std::fs;

use muster_testkit::sshd::Sshd;

use crate::fixture::{Test, muster, setup_cluster};
use crate::machines::project;

#[test]
fn machines_on_the_command_line_are_shown_without_writing_anything() {
    let ended = setup_cluster().run(&["192.0.2.<4,5>", "alpha", "--list-hosts", "--tags", "kubelet"]).code(0);
    assert_eq!(
        ended.nothing_written().stdout,
        "  play #1 (k8s_cluster): Install the container engine and the kubelet\n    hosts (3):\n      node1\n      \
         node2\n      alpha\n"
    );
}

#[test]
fn a_run_may_start_at_a_later_role() {
    let shown = setup_cluster().run(&["192.0.2.4", "--list-tags", "--start-at", "kubeconfig"]).code(0).stdout;
    assert_eq!(
        shown,
        "  play #1 (kube_control_plane): Hand over the cluster\tTAGS: [kubeconfig, client]\n\n  \
         play #2 (k8s_cluster): Show that it works\tTAGS: [verify]\n\n  \
         play #3 (k8s_cluster): Install the applications\tTAGS: [helm, openstack-cloud-controller, network-policies, metrics-server, local-path-provisioner, registry, traefik, monitoring, kube-state-metrics, metallb, cert-manager, gateway-api, csi-snapshot-controller, nfs-csi, cinder-csi, local-volume-provisioner, node-feature-discovery, argocd, flux, dashboard, extension, apps]\n\n  \
         play #4 (kube_control_plane): Show that the applications work\tTAGS: [apps, helm, openstack-cloud-controller, network-policies, metrics-server, local-path-provisioner, registry, traefik, monitoring, kube-state-metrics, metallb, cert-manager, gateway-api, csi-snapshot-controller, nfs-csi, cinder-csi, local-volume-provisioner, node-feature-discovery, argocd, flux, dashboard, extension]\n\n  \
         play #5 (k8s_cluster): Have the machines find names of the cluster\tTAGS: [resolvconf]\n"
    );
    let wrong = setup_cluster().run(&["192.0.2.4", "--start-at", "kubeconfi"]).code(5).nothing_written();
    wrong.stderr_has(&["there is no role \"kubeconfi\" to start at", "did you mean \"kubeconfig\"?"]);
}

#[test]
fn an_inventory_with_other_machines_is_not_overwritten() {
    let test = setup_cluster().file("inventory/hosts.ini", "[all]\nold ansible_host=192.0.2.9\n");
    test.run(&["192.0.2.4", ".5"]).code(5).nothing_written().stderr(
        "
error: inventory/hosts.ini is there and has other machines: old (192.0.2.9)
hint: to go on with those: setup-cluster -i inventory/hosts.ini
hint: to add a machine: add it to that file, then run setup-cluster without addresses
hint: to write a new inventory, keeping the old one under another name: add --new-inventory",
    );
}

#[test]
fn machines_are_looked_at_before_there_is_an_inventory() {
    // Nothing listens there.
    let ended = muster().run(&["preflight", "localhost:1", "--timeout", "1"]).code(4).nothing_written();
    ended.stdout_has(&["muster preflight localhost:1: 1 host", "again: muster preflight localhost:1"]);
    let both = muster().run(&["preflight", "localhost", "-i", "hosts.ini"]).code(5).nothing_written();
    both.stderr_has(&["machines are named, and an inventory as well"]);
}

#[test]
fn what_is_proposed_says_what_was_typed() {
    let machine = "[all]\nnode1 ansible_host=localhost ansible_port=1 ip=127.0.0.1\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n\
                   [kube_node]\nnode1\n";
    let with_inventory =
        |program: Test| program.file("inventory/hosts.ini", machine).file("lab/hosts.ini", machine);
    // Nobody finds these machines in an inventory afterwards.
    let check = ["localhost:1", "--check", "--timeout", "1", "--bundle", "bundle"];
    let ended = setup_cluster().bundle().run(&check).code(4);
    ended.stdout_has(&["again: setup-cluster localhost:1 --timeout 1 --bundle bundle --check"]);
    let reset = ["reset-cluster", "--keep-images", "--yes", "--timeout", "1"];
    let ended = with_inventory(muster()).run(&reset).code(4);
    ended.stdout_has(&["again: muster reset-cluster --keep-images --timeout 1"]);
    let renew = ["certs", "renew", "--below", "400", "--timeout", "1"];
    let ended = with_inventory(muster()).run(&renew).code(4);
    ended.stdout_has(&["again: muster certs renew --below 400 --timeout 1"]);
    let ended = with_inventory(muster()).run(&["dashboard", "--admin", "--for", "2d"]).code(5);
    ended.stderr_has(&["good for 24h at most, and not for 2d"]);
}

#[test]
fn machines_are_looked_at_with_the_bundle_that_is_named() {
    let sshd = Sshd::start();
    let test = project(&sshd, muster().bundle());
    let lacks = |test: &Test, options: &[&str]| {
        let ended = test.run(&[&["preflight", "--output", "plain"][..], options].concat());
        ended.stdout.lines().chain(ended.stderr.lines()).any(|line| line.contains("nothing of it"))
    };
    assert!(lacks(&test, &[]), "the one in the cache is not there");
    assert!(!lacks(&test, &["--bundle", "bundle"]));
    let test = test.set("MUSTER_BUNDLE", "bundle");
    assert!(!lacks(&test, &[]));
    assert!(lacks(&test, &["--bundle", "nowhere"]));
}

#[test]
fn a_file_in_place_of_a_machine() {
    let test = setup_cluster().file("inventory/hosts.ini", "[all]\nnode1\n");
    test.run(&["inventory/hosts.ini"]).code(5).nothing_written().stderr(
        "
error: inventory/hosts.ini is the name of a file, not of a machine
hint: if it is an inventory: setup-cluster -i inventory/hosts.ini",
    );
}

#[test]
fn the_inventory_is_found_from_below_from_the_environment_and_from_ansible_cfg() {
    let graph = |name: &str| format!("@all:\n  |--@ungrouped:\n  |--@kube_node:\n  |  |--{name}\n");
    let hosts = |name: &str| format!("[kube_node]\n{name}\n");
    let test = muster()
        .file("inventory/hosts.ini", &hosts("usual"))
        .file("other/hosts.ini", &hosts("other"))
        .file("third/hosts.ini", &hosts("third"));
    let shown = |test: &crate::fixture::Test, arguments: &[&str]| {
        test.run(&[&["inventory", "--graph"], arguments].concat()).code(0).stdout
    };
    assert_eq!(shown(&test, &[]), graph("usual"));
    fs::write(test.folder().join("ansible.cfg"), "[defaults]\ninventory = other/hosts.ini\n").unwrap();
    assert_eq!(shown(&test, &[]), graph("other"));
    let test = test.set("ANSIBLE_INVENTORY", "third/hosts.ini");
    assert_eq!(shown(&test, &[]), graph("third"));
    assert_eq!(shown(&test, &["-i", "inventory/hosts.ini"]), graph("usual"));
}
