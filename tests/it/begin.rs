//! `muster init` and `muster docs`: what a user begins with.

use std::fs;

use crate::fixture::{Test, muster, setup_cluster};

const FILES: [&str; 3] =
    ["inventory/hosts.ini", "inventory/group_vars/all.yml", "inventory/group_vars/k8s_cluster.yml"];

fn read(test: &Test, file: &str) -> String {
    fs::read_to_string(test.folder().join(file)).unwrap()
}

/// Takes the sign of a comment from what is commented out, and not from explanations.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_sample_says_every_variable_and_changes_none() {
    let test = muster();
    test.run(&["init"]).code(0).stderr(
        "
wrote inventory/hosts.ini
wrote inventory/group_vars/all.yml
wrote inventory/group_vars/k8s_cluster.yml
next: name the machines in inventory/hosts.ini, then: setup-cluster",
    );
    let hosts = read(&test, FILES[0]);
    fs::write(test.folder().join(FILES[0]), uncommented(&hosts)).unwrap();
    let without = muster().file(FILES[0], &uncommented(&hosts));
    let shown = |test: &Test| {
        let ended = test.run(&["vars", "node1", "--json"]).code(0);
        assert_eq!(ended.stderr, "");
        ended.stdout
    };
    let defaults = shown(&without);
    assert!(defaults.contains("\"kube_network_plugin\": \"flannel\""), "{defaults}");
    assert_eq!(shown(&test), defaults, "commented out");
    for file in &FILES[1..] {
        let text = uncommented(&read(&test, file));
        assert!(text.contains("\nkube_version: ") || text.contains("\nkubelet_max_pods: "), "{text}");
        fs::write(test.folder().join(file), text).unwrap();
    }
    assert_eq!(shown(&test), defaults, "no comments");
    let explained = test.run(&["vars", "node1", "kubelet_max_pods", "--explain"]).code(0).stdout;
    assert!(explained.contains("k8s_cluster.yml"), "{explained}");
}

#[test]
fn the_sample_by_itself_has_no_machines_and_says_so() {
    let test = setup_cluster();
    assert!(muster_in(&test).contains("next: name the machines in"));
    test.run(&[])
        .code(5)
        .nothing_written()
        .stderr_has(&["error: none of the hosts has a part in any of the plays"]);
}

/// Runs `muster init` in the folder of another test.
fn muster_in(test: &Test) -> String {
    let other = muster();
    let dir = test.folder().display().to_string();
    other.run(&["init", &dir]).code(0).stderr
}

#[test]
fn nothing_is_overwritten() {
    for there in ["inventory/group_vars/all.yml", "inventory/group_vars/k8s_cluster/mine.yml"] {
        let test = muster().file(there, "a: 1\n");
        let ended = test.run(&["init"]).code(5).nothing_written();
        ended.stderr_has(&[there.trim_end_matches("/mine.yml"), " is there already", "muster init DIR"]);
    }
}

#[test]
fn another_folder_is_made_and_the_next_command_goes_there() {
    let test = muster();
    test.run(&["init", "class room"]).code(0).stderr_has(&[
        "wrote class room/inventory/hosts.ini",
        "next: name the machines in class room/inventory/hosts.ini, then: cd 'class room' && setup-cluster",
    ]);
}

#[test]
fn the_reference_has_every_variable_in_each_form() {
    let docs = |arguments: &[&str]| muster().run(&[&["docs", "vars"], arguments].concat()).code(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&docs(&["--json"])).unwrap();
    let (text, markdown) = (docs(&[]), docs(&["--markdown"]));
    for variable in json.as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(text.contains(&format!("  {name}: ")) && markdown.contains(&format!("{name}: ")), "{name}");
    }
    assert_eq!(
        docs(&["flannel_vxlan_p*"]),
        "The pod network (roles flannel, cni)\n\n  flannel_vxlan_port: 8472\n      vxlan's number and UDP port.\n"
    );
    assert_eq!(
        docs(&["etcd_member"]),
        "The cluster's database, under systemd, with its own certificates (roles etcd, etcd-restart, etcd-snapshot)\n\n  \
         etcd_member_name: etcd1 (not set; an example)\n      \
         A member's name: etcd1, etcd2, ... in the order of the group, unless set.\n"
    );
}

#[test]
fn the_reference_knows_kubesprays_variables_too() {
    let of = |name: &str| muster().run(&["docs", "vars", name]).code(0).stdout;
    assert_eq!(
        of("aws_ebs_csi_enabled"),
        "aws_ebs_csi_enabled: not implemented: no driver for volumes of that cloud is installed\n"
    );
    assert_eq!(
        of("cilium_cert_dir"),
        "cilium_cert_dir: changes nothing: it belongs to kube_network_plugin\n"
    );
    for (mistyped, meant) in [
        ("kube_netwrok_plugin", "kube_network_plugin"),
        ("kubelet_max_podz", "kubelet_max_pods"),
        ("kubectl_localhst", "kubectl_localhost"),
    ] {
        muster()
            .run(&["docs", "vars", mistyped])
            .code(5)
            .stderr(&format!("error: no variable is like \"{mistyped}\"\nhint: did you mean \"{meant}\"?"));
    }
}
