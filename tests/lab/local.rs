//! The machine on which muster runs is the cluster's only one, as in kubespray's sample `inventory/local`.

use std::fs;

use crate::fixture::{Ended, Lab, bundle, muster};

/// What kubespray's sample has.
const HOSTS: &str = "node1 ansible_connection=local local_release_dir={{ansible_env.HOME}}/releases\n\n\
                     [kube_control_plane]\nnode1\n\n[etcd]\nnode1\n\n[kube_node]\nnode1\n\n\
                     [k8s_cluster:children]\nkube_node\nkube_control_plane\n";

/// Brings a folder of this computer to the machine, as its user's.
fn bring(lab: &Lab, from: &str, to: &str) {
    let program = format!(
        r#"tar -C '{from}' -c . | ssh -F none -i "$MUSTER_PRIVATE_KEY_FILE" -o StrictHostKeyChecking=no \
           -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@{} \
           'mkdir -p {to} && tar -C {to} -x --no-same-owner && chown -R admin: {to}'"#,
        lab.address(1)
    );
    let ended = lab.exec(&["sh", "-c", &program]);
    assert_eq!(ended.code, 0, "{ended:#?}");
}

/// Runs muster on the machine, as a user who becomes root with sudo.
fn here(lab: &Lab, words: &str) -> Ended {
    by(lab, "env", words)
}

fn by(lab: &Lab, who: &str, words: &str) -> Ended {
    let set = "MUSTER_DEFAULTS=/home/admin/defaults.yml MUSTER_BUNDLE=/var/bundle";
    lab.lab(&["ssh", "admin@node1", "--", &format!("cd /home/admin && {who} {set} ./muster {words}")])
}

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

#[test]
#[ignore = "it takes three minutes; ./test --all"]
fn a_machine_makes_itself_a_cluster_without_ssh() {
    let lab = Lab::up(184, &["-n", "1"]);
    let home = lab.folder().join("home");
    fs::create_dir_all(home.join("inventory/local")).unwrap();
    fs::copy(muster(), home.join("muster")).unwrap();
    fs::write(home.join("inventory/local/hosts.ini"), HOSTS).unwrap();
    let defaults = lab.exec(&["sh", "-c", r#"cat "$MUSTER_DEFAULTS""#]);
    fs::write(home.join("defaults.yml"), done(defaults).out).unwrap();
    bring(&lab, home.to_str().unwrap(), "/home/admin");
    bring(&lab, bundle().to_str().unwrap(), "/var/bundle");
    let local = "-i inventory/local/hosts.ini";

    // The machine has no key that would let it in to itself, and learns no host key.
    lab.on("node1", "rm -f /home/admin/.ssh/id_* /home/admin/.ssh/known_hosts");
    let pinged = done(here(&lab, &format!("ping {local}")));
    assert!(pinged.out.contains("admin@this computer"), "{pinged:#?}");

    let first = done(here(&lab, &format!("setup-cluster {local} -e kubeconfig_localhost=true")));
    assert!(first.recap("node1", "changed") > 0, "{first:#?}");
    let nodes = done(here(&lab, &format!("kubectl {local} get nodes -o wide --no-headers")));
    assert!(nodes.out.contains(" Ready ") && nodes.out.contains(&lab.address(1)), "{nodes:#?}");
    let second = done(here(&lab, &format!("setup-cluster {local} -e kubeconfig_localhost=true")));
    assert_eq!(second.recap("node1", "changed"), 0, "{second:#?}");
    done(here(&lab, &format!("verify {local}")));
    assert!(!lab.has("node1", "/home/admin/.ssh/known_hosts"), "a host key was noted");

    // An inventory in a folder that goes with the cluster keeps it.
    lab.on("node1", "cp -r /home/admin/inventory/local /etc/kubernetes/own");
    let refused = by(&lab, "sudo env", "reset-cluster -i /etc/kubernetes/own/hosts.ini --yes");
    assert_ne!(refused.code, 0, "{refused:#?}");
    assert!(refused.all().contains(" lies"), "{refused:#?}");
    lab.on("node1", "rm -r /etc/kubernetes/own");
    done(here(&lab, &format!("kubectl {local} get nodes")));

    done(here(&lab, &format!("reset-cluster {local} --yes")));
    for gone in ["/etc/kubernetes", "/var/lib/kubelet", "/etc/etcd.env", "/usr/local/bin/kubelet"] {
        assert!(!lab.has("node1", gone), "{gone}");
    }
    for stays in ["muster", "inventory/local/hosts.ini", "inventory/local/artifacts/admin.conf"] {
        assert!(lab.has("node1", &format!("/home/admin/{stays}")), "{stays}");
    }
    let again = done(here(&lab, &format!("reset-cluster {local} --yes")));
    assert_eq!(again.recap("node1", "changed"), 0, "{again:#?}");
}
