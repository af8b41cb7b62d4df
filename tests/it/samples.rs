//! `inventory/` and `group_vars/` at the top of the repository: samples that work as they are.

use std::fs;
use std::path::Path;

use crate::fixture::{muster, setup_cluster};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Set to write `group_vars/` anew instead of comparing it.
const UPDATE: &str = "UPDATE_SAMPLES";

#[test]
fn group_vars_are_what_muster_init_writes() {
    let test = muster();
    test.run(&["init"]).code(0);
    for name in ["all.yml", "k8s_cluster.yml"] {
        let now = fs::read_to_string(test.folder().join("inventory/group_vars").join(name)).unwrap();
        let sample = Path::new(ROOT).join("group_vars").join(name);
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&sample, &now).unwrap();
        }
        assert!(
            fs::read_to_string(&sample).unwrap_or_default() == now,
            "group_vars/{name} is not what the roles say now: run the tests with {UPDATE}=1, and read the difference"
        );
    }
}

/// A sample: its folder, and of the groups `kube_control_plane`, `etcd` and `kube_node` the hosts.
const SAMPLES: [(&str, [&str; 3]); 5] = [
    ("classroom", ["s4", "s4", "s3 s5 s6 s7 s8 s9 sa sb sc"]),
    ("one-control-plane", ["node1", "node1", "node1 node2 node3"]),
    ("three-control-planes", ["control1 control2 control3", "control1 control2 control3", "worker1 worker2"]),
    ("separate-etcd", ["control1", "etcd1 etcd2 etcd3", "worker1 worker2"]),
    ("old-group-names", ["node1", "node1", "node2 node3"]),
];

#[test]
fn every_sample_inventory_means_what_it_says_and_is_accepted() {
    let folders = fs::read_dir(Path::new(ROOT).join("inventory")).unwrap().map(|entry| entry.unwrap().path());
    let samples = folders.filter(|path| path.join("group_vars").is_symlink()).count();
    assert_eq!(samples, SAMPLES.len(), "a sample without a test");
    for (name, groups) in SAMPLES {
        let inventory = format!("{ROOT}/inventory/{name}/hosts.ini");
        let test = setup_cluster();
        for (role, hosts) in ["control-plane", "etcd", "node"].into_iter().zip(groups) {
            let ended = test.run(&["-i", &inventory, "--list-hosts", "--tags", role]).code(0).stderr("");
            // Tags are those of plays, too: `node` is one of the play that installs the kubelet.
            let play = ended.stdout.split("\n\n").last().unwrap_or_default();
            let listed = play.split_once("):\n").unwrap_or_default().1;
            assert_eq!(
                listed.split_whitespace().collect::<Vec<_>>().join(" "),
                hosts,
                "{name}: {}",
                ended.stdout
            );
        }
        // What is wrong with an inventory is said (exit code 3) before what the bundle lacks.
        let ended = test.run(&["-i", &inventory, "--offline", "--bundle", "none"]).code(1).nothing_written();
        assert!(ended.stderr.starts_with("error: the bundle none lacks:"), "{name}: {}", ended.stderr);
    }
    let one = |name: &str| {
        let inventory = format!("{ROOT}/inventory/classroom/hosts.ini");
        muster().run(&["vars", "-i", &inventory, "sc", name]).code(0).stdout
    };
    assert_eq!(one("dns_domain"), "classroom.local\n");
    assert_eq!(one("artifacts_dir"), format!("{ROOT}/inventory/classroom/artifacts\n"));
}

/// kubespray's own group_vars ask for nothing that is refused, or that is worth a word; `scripts/kubespray-tags.sh` reads those of all
/// its tags.
#[test]
fn the_values_of_kubesprays_sample_are_taken_but_for_a_version_that_is_not_there() {
    let hosts = "node1 ip=192.0.2.1\nnode2 ip=192.0.2.2\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\nnode2\n";
    let test = setup_cluster()
        .file("inventory/hosts.ini", hosts)
        .file("inventory/group_vars/all.yml", include_str!("kubespray-values.yml"));
    let run =
        |more: &[&str]| test.run(&[&["--offline", "--bundle", "none"], more].concat()).nothing_written();
    for network in ["flannel", "calico", "cilium"] {
        let ended = run(&["-e", &format!("kube_network_plugin={network}")]).code(1);
        assert!(ended.stderr.starts_with("error: the bundle none lacks:"), "{network}: {}", ended.stderr);
    }
    // Those without effect ask for nothing that is missing: each says why.
    let ended = muster()
        .file("inventory/hosts.ini", hosts)
        .file("inventory/group_vars/all.yml", include_str!("kubespray-values.yml"))
        .run(&["vars", "--unused", "--json"])
        .code(0);
    let listed: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let told: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert!(told.len() > 20 && told.iter().all(|what| what.starts_with("changes nothing: ")), "{told:#?}");
    let ended = run(&["-e", "kube_network_plugin=flannel", "-e", "kube_version=1.29.9"]).code(3);
    ended.stderr_has(&["1 problem in inventory/hosts.ini; nothing was changed", "\nkube_version  1.29.9 "]);
}
