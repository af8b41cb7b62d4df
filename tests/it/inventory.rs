//! What is read of the folder of an inventory, what is passed over, and that mistakes in it are told once and counted.

use muster_testkit::sshd::Sshd;

use crate::fixture::{muster, setup_cluster};
use crate::machines::project;

const HOSTS: &str = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode[1:4]\n";

#[test]
fn a_folder_is_all_the_inventories_in_it_and_nothing_that_lies_beside_them() {
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n";
    let test = muster()
        .file("i/50-groups.ini", HOSTS)
        .file("i/more/60-pool.yml", "pool_a: {hosts: {node2: }}\n")
        .file("i/group_vars/pool_a.yml", "course: algebra\n")
        // None of these is an inventory.
        .file("i/artifacts/admin.conf", object)
        .file("i/credentials/node1_key", "x\n")
        .file("i/extension/object.yml", object)
        .file("i/notes.txt", "node9\n")
        .file("i/.hidden.ini", "node9\n");
    let graph = test.run(&["inventory", "-i", "i", "--graph"]).code(0);
    assert_eq!(graph.stderr, "");
    assert!(
        graph.stdout.contains("@pool_a:\n  |  |--node2\n") && !graph.stdout.contains("node9"),
        "{}",
        graph.stdout
    );
    assert!(!graph.stdout.contains("metadata"), "{}", graph.stdout);
    test.run(&["inventory", "-i", "i", "--host", "node2"]).code(0).stdout_has(&["algebra"]);
    // Commands that ask for hosts and groups alone read the same.
    let ended = test.run(&["remove-node", "-i", "i", "node1"]).code(5);
    ended.stderr_has(&["no control plane would be left"]);
}

#[test]
fn a_warning_of_before_the_run_is_counted_in_its_last_line() {
    let sshd = Sshd::start();
    let run = ["--bundle", "bundle", "--offline", "--tags", "kubeconfig", "--check"];
    let test = project(&sshd, setup_cluster().bundle());
    test.run(&run).code(0).stdout_has(&["✔ 1 host done (no changes) in "]);
    let test = test.file("inventory/group_var/all.yml", "course: algebra\n");
    let ended = test.run(&run).code(0);
    let ended = ended.stderr_has(&["group_var is not read: such a folder is called group_vars; rename it"]);
    ended.stdout_has(&["! 1 host done (no changes), 1 warning in "]);
}

#[test]
fn a_command_that_asks_machines_before_it_fetches_tells_a_warning_once() {
    let sshd = Sshd::start();
    let test = project(&sshd, muster().bundle()).file("inventory/group_var/all.yml", "course: algebra\n");
    let ended =
        test.run(&["upgrade-cluster", "--bundle", "bundle", "--offline", "-e", "kube_version=1.35.4"]);
    let ended =
        ended.code(2).stdout_has(&["no control plane of the inventory is in a cluster", "1 warning in"]);
    assert_eq!(ended.stderr.matches("group_var is not read").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_mistyped_variable_is_told_once() {
    let test = setup_cluster().file("inventory/hosts.ini", HOSTS);
    let ended = test.run(&["-e", "kube_versoin=1.36.3", "-e", "corse=algebra"]).code(3);
    let told = ended.stdout.clone() + &ended.stderr;
    assert!(told.contains("type -e kube_version=...") && !told.contains("\"kube_versoin\" is set"), "{told}");
    // What is like no variable is no mistake.
    assert!(told.contains("\"corse\" is set but used by no role"), "{told}");
}

/// An upgrade has its workers in batches, for each group of its own.
#[test]
fn groups_of_workers_have_their_turns_one_after_the_other() {
    let pools = "[pool_a]\nnode2\nnode3\n[pool_b]\nnode3\nnode4\n";
    let shown = |serial: &str, options: &[&str]| {
        let test = muster()
            .file("inventory/hosts.ini", &format!("{HOSTS}{pools}"))
            .file("inventory/group_vars/all.yml", serial);
        test.run(&[&["upgrade-cluster", "--list-hosts", "--tags", "upgrade-node"], options].concat())
    };
    let workers = "Upgrade the workers, some at a time";
    let all = "kube_node:!kube_control_plane";
    let said = "upgrade_serial: {pool_b: 1, pool_a: 50%}\n";
    let ended = shown(said, &[]).code(0);
    ended.stdout_has(&[
        &format!("({all}:&pool_b): {workers}: pool_b\n    hosts (2):\n      node3\n      node4\n"),
        &format!("({all}:&pool_a:!pool_b): {workers}: pool_a\n    hosts (1):\n      node2\n"),
        &format!("({all}:!pool_b:!pool_a): {workers}\n    hosts (0):\n"),
    ]);
    for (serial, options) in [("x: y\n", &[][..]), (said, &["--serial", "2"])] {
        let ended = shown(serial, options).code(0);
        ended.stdout_has(&[&format!("({all}): {workers}\n    hosts (3):\n")]);
    }
    for (wrong, told) in [
        ("upgrade_serial: 2\n", "upgrade_serial is an integer, and not groups"),
        (
            "upgrade_serial: {pool_a: none}\n",
            "upgrade_serial of pool_a is none, and not a number of hosts or a percentage",
        ),
        ("upgrade_serial: {pool_a: 0}\n", "upgrade_serial of pool_a is 0, and not"),
        ("upgrade_serial: {pol_a: 2}\n", "upgrade_serial names a group: "),
    ] {
        shown(wrong, &[]).code(4).stderr_has(&[
            told,
            "inventory/group_vars/all.yml:1:",
            "upgrade_serial: {pool_a: 2, pool_b: 30%}",
        ]);
    }
}
