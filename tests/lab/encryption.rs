//! Secrets are encrypted in etcd: switched on in a running cluster of two control planes, brought to another key by a run that is
//! cut off, and switched off again.

use std::fs;

use crate::fixture::{Ended, Lab};

const ETCD: &str = "etcdctl --cacert /etc/ssl/etcd/ssl/ca.pem --cert /etc/ssl/etcd/ssl/member.pem --key /etc/ssl/etcd/ssl/member-key.pem";

fn set_up(lab: &Lab, variables: &[&str]) -> Ended {
    let words: Vec<&str> =
        ["setup-cluster"].into_iter().chain(variables.iter().flat_map(|text| ["-e", text])).collect();
    let ended = lab.muster(&words);
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

fn unchanged(lab: &Lab, variables: &[&str]) {
    let again = set_up(lab, variables);
    assert_eq!(["node1", "node2"].map(|host| again.recap(host, "changed")), [0, 0], "{again:#?}");
}

/// How the secret begins in etcd.
fn in_etcd(lab: &Lab) -> String {
    let look = format!(
        "{ETCD} get /registry/secrets/default/door --print-value-only | head -c 30 | tr -c 'a-z0-9:' ."
    );
    lab.on("node1", &look)
}

/// What each of the two API servers says of it.
fn read(lab: &Lab) -> Vec<String> {
    let of = |machine: &str| {
        let own = "--kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:6443";
        lab.on(machine, &format!("kubectl {own} get secret door -o 'jsonpath={{.data.code}}' | base64 -d"))
    };
    ["node1", "node2"].map(of).to_vec()
}

#[test]
#[ignore = "it takes a quarter of an hour; ./test --all"]
fn secrets_are_encrypted_with_one_key_and_then_another_and_always_readable() {
    let lab = Lab::up(76, &["-n", "2"]);
    let hosts: String = (1..=2)
        .map(|n| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n)))
        .collect();
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    let groups = "[kube_control_plane]\nnode[1:2]\n[etcd]\nnode1\n[kube_node]\nnode[1:2]\n";
    fs::write(lab.folder().join("inventory/hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
    set_up(&lab, &[]);
    let made = lab.muster(&["kubectl", "create", "secret", "generic", "door", "--from-literal=code=4711"]);
    assert_eq!(made.code, 0, "{made:#?}");
    assert!(in_etcd(&lab).starts_with("k8s.."), "{}", in_etcd(&lab));

    let on = ["kube_encrypt_secret_data=true"];
    set_up(&lab, &on);
    assert!(in_etcd(&lab).starts_with("k8s:enc:secretbox:v1:key1:"), "{}", in_etcd(&lab));
    assert_eq!(read(&lab), ["4711", "4711"]);
    let file = lab.on("node2", "stat -c '%a %U' /etc/kubernetes/ssl/secrets_encryption.yaml");
    assert_eq!(file.trim(), "600 root");
    unchanged(&lab, &on);

    // Another key, in a run that ends where one API server writes with it and the other one only reads it.
    let other = ["kube_encrypt_secret_data=true", "kube_encrypt_token=0123456789abcdef0123456789abcdef"];
    let words: Vec<&str> =
        ["setup-cluster"].into_iter().chain(other.iter().flat_map(|text| ["-e", text])).collect();
    lab.setup_killed_at(&words[1..], "node1  encryption: done");
    assert_eq!(read(&lab), ["4711", "4711"]);
    set_up(&lab, &other);
    assert!(in_etcd(&lab).starts_with("k8s:enc:secretbox:v1:key2:"), "{}", in_etcd(&lab));
    assert_eq!(read(&lab), ["4711", "4711"]);
    unchanged(&lab, &other);

    // A control plane that has lost its file gets it from the other one.
    lab.on("node2", "rm /etc/kubernetes/ssl/secrets_encryption.yaml");
    set_up(&lab, &other);
    assert_eq!(read(&lab), ["4711", "4711"]);

    set_up(&lab, &[]);
    assert!(in_etcd(&lab).starts_with("k8s.."), "{}", in_etcd(&lab));
    assert_eq!(read(&lab), ["4711", "4711"]);
    unchanged(&lab, &[]);

    // Without its file on any control plane nobody makes another key.
    set_up(&lab, &on);
    for machine in ["node1", "node2"] {
        lab.on(machine, "mv /etc/kubernetes/ssl/secrets_encryption.yaml /root/");
    }
    let refused = lab.muster(&["setup-cluster", "-e", on[0]]);
    assert!(refused.code != 0 && refused.all().contains("put it back from a backup"), "{refused:#?}");
}
