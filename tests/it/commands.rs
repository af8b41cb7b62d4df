//! Commands that answer from what is written down.

use crate::fixture::{Test, muster};

const INVENTORY: &str =
    "[kube-master]\nnode1 ansible_host=192.0.2.1\n[kube-node]\nnode2\n[all:vars]\ncourse=7\n";

fn project() -> Test {
    muster().file("inventory/hosts.ini", INVENTORY).file(
        "inventory/group_vars/all.yml",
        "kube_version: \"v1.36.3\"\ncluster_name: \"course{{ course }}.local\"\n",
    )
}

#[test]
fn what_a_lab_says_wins_over_defaults_and_over_nothing_that_the_user_wrote() {
    let test = muster()
        .file("inventory/hosts.ini", "[kube_node]\nnode1\n")
        .file("lab.yml", "kubelet_image_gc_high_threshold: 100\nkubelet_max_pods: 5\n")
        .file("inventory/group_vars/all.yml", "kubelet_max_pods: 50\n")
        .set("MUSTER_DEFAULTS", "lab.yml");
    let value = |name| test.run(&["vars", "node1", name]).code(0).stdout;
    assert!(value("kubelet_image_gc_high_threshold").contains("100"));
    assert!(value("kubelet_max_pods").contains("50"));
    let explained =
        test.run(&["vars", "node1", "kubelet_image_gc_high_threshold", "--explain"]).code(0).stdout;
    assert!(explained.contains("lab.yml:1:"), "{explained}");
    test.set("MUSTER_DEFAULTS", "no.yml")
        .run(&["vars", "node1"])
        .code(1)
        .stderr_has(&["cannot read MUSTER_DEFAULTS, no.yml"]);
}

#[test]
fn mappings_are_merged_where_ansible_cfg_says_so() {
    let test = muster()
        .file("inventory/hosts.ini", "[kube_node]\nnode1\n")
        .file("inventory/group_vars/all.yml", "node_labels: {room: '9', rack: a}\n")
        .file("inventory/host_vars/node1.yml", "node_labels: {rack: b}\n");
    let labels = |test: &Test| {
        let shown = test.run(&["vars", "node1", "node_labels", "--json"]).code(0).stdout;
        serde_json::from_str::<serde_json::Value>(&shown).unwrap()
    };
    assert_eq!(labels(&test), serde_json::json!({ "rack": "b" }));
    let merging = test.file("ansible.cfg", "[defaults]\nhash_behaviour = merge\n");
    assert_eq!(labels(&merging), serde_json::json!({ "room": "9", "rack": "b" }));
}

#[test]
fn vars_are_shown_resolved_and_explained() {
    let test = project();
    assert_eq!(test.run(&["vars", "node1", "cluster_name"]).code(0).stdout, "course7.local\n");
    assert_eq!(test.run(&["vars", "node1", "course", "--json"]).code(0).stdout, "7\n");
    let explained =
        test.run(&["vars", "node1", "cluster_name", "--explain", "-e", "cluster_name=mine"]).code(0).stdout;
    let lines: Vec<&str> = explained.lines().collect();
    assert!(
        lines[0].starts_with("cluster_name = \"mine\"") && lines[0].ends_with("(command line (-e))"),
        "{explained}"
    );
    assert_eq!(
        lines[1],
        "  overrides \"course{{ course }}.local\"    PROJECT/inventory/group_vars/all.yml:2:15 (group_vars/all)"
    );
    assert!(lines[2].contains("roles/common/defaults.yml:"), "{explained}");
}

#[test]
fn what_is_not_there_is_suggested() {
    project()
        .run(&["vars", "nod1"])
        .code(5)
        .stderr("error: the inventory has no host \"nod1\"\nhint: did you mean \"node1\"?");
    project()
        .run(&["vars", "node1", "kube_verison"])
        .code(1)
        .stderr("error: nobody sets \"kube_verison\" for node1\nhint: did you mean \"kube_version\"?");
}

#[test]
fn encrypted_variables_are_shown_only_when_asked_for_by_name() {
    // ansible-vault encrypt_string with the password `swordfish`, of the text `hunter2`.
    let vault = include_str!("vault.yml");
    let test = project().file("inventory/group_vars/kube-node.yml", vault).file("password", "swordfish\n");
    let listed = test.run(&["vars", "node2", "--vault-password-file", "password"]).code(0).stdout;
    assert!(listed.contains("\nsecret: (encrypted)\n"), "{listed}");
    let one = test.run(&["vars", "node2", "secret", "--vault-password-file", "password"]).code(0).stdout;
    assert_eq!(one, "hunter2\n");
    let ended = test.run(&["vars", "node2", "secret"]).code(4);
    ended.stderr_has(&["kube-node.yml:1:", "secret"]);
}

#[test]
fn the_inventory_is_shown_in_the_forms_of_ansible() {
    let test = project();
    let listed: serde_json::Value =
        serde_json::from_str(&test.run(&["inventory", "--list"]).code(0).stdout).unwrap();
    assert_eq!(listed["kube-node"]["hosts"], serde_json::json!(["node2"]));
    let host: serde_json::Value =
        serde_json::from_str(&test.run(&["inventory", "--host", "node1"]).code(0).stdout).unwrap();
    assert_eq!(host["ansible_host"], "192.0.2.1");
    assert_eq!(test.run(&["inventory", "--graph", "kube_node"]).code(0).stdout, "@kube-node:\n  |--node2\n");
    test.run(&["inventory"]).code(5).stderr_has(&["--list", "--graph"]);
}

#[test]
fn completions_complete_both_names_of_the_program() {
    for shell in ["bash", "zsh", "fish"] {
        let script = muster().run(&["completion", shell]).code(0).stdout;
        assert!(script.contains("muster") && script.contains("setup-cluster"), "{shell}");
    }
}

#[test]
fn kubectl_says_what_is_missing() {
    let test = muster().file("inventory/hosts.ini", "[kube_node]\nnode1\n");
    test.run(&["kubectl", "get", "nodes"]).code(5).nothing_written().stderr_has(&["kube_control_plane"]);
}

#[test]
fn kubectl_of_the_project_is_run_with_its_own_arguments_and_streams() {
    use std::os::unix::fs::PermissionsExt;
    let script = "#!/bin/sh\necho \"$KUBECONFIG: $*\"; cat; exit 7\n";
    let test = muster()
        .file("lab/hosts.ini", "[kube_control_plane]\nnode1\n")
        .file("lab/artifacts/admin.conf", "secret\n")
        .file("lab/artifacts/kubectl", script);
    let kubectl = test.folder().join("lab/artifacts/kubectl");
    std::fs::set_permissions(kubectl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ended = test.run(&["kubectl", "-i", "lab/hosts.ini", "exec", "-i", "pod", "--", "--help"]).code(7);
    assert_eq!(ended.stdout, "PROJECT/lab/artifacts/admin.conf: exec -i pod -- --help\n");
}

#[test]
fn what_was_kept_of_a_cluster_is_not_used_for_that_of_another_inventory_in_its_folder() {
    let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";
    let inventory = |address: &str| format!("[all]\nnode1 ansible_host={address}\n{groups}");
    let test = muster()
        .file("inventory/hosts.ini", &inventory("192.0.2.1"))
        .file("inventory/other.ini", &inventory("192.0.2.7"))
        .file("inventory/same.ini", &inventory("192.0.2.1"))
        .file(
            "inventory/artifacts/admin.conf",
            "clusters:\n- cluster:\n    server: https://192.0.2.1:6443\n",
        );
    let note =
        format!("inventory {}\naddress 192.0.2.1\n", test.folder().join("inventory/hosts.ini").display());
    let test = test.file("inventory/.muster/cluster", &note);
    let told = "inventory holds the kubeconfig, the snapshots and the students' files of another cluster, that of inventory/hosts.ini";
    test.run(&["kubectl", "-i", "inventory/other.ini", "get", "nodes"])
        .code(5)
        .stderr_has(&[told, "put this inventory into a folder of its own"]);
    let refused = test.run(&["setup-cluster", "--offline", "-i", "inventory/other.ini"]).code(3);
    assert!(refused.stderr.contains("snapshots and the students' files"), "{}", refused.stderr);
    // Two inventories of one cluster may lie side by side.
    let same = test.run(&["kubectl", "-i", "inventory/same.ini", "version", "--client"]);
    assert!(!same.stderr.contains("another cluster"), "{}", same.stderr);
}
