//! An adoption that was cut off is taken back with the commands of docs/adopt.md, under an application; and is begun anew.

use std::fs;

use muster_testkit::fault_record::held;

use crate::adopt::{OF_KUBEADM, REST, done, made_by_kubeadm, write_inventory};
use crate::asked::{self, APP};
use crate::fixture::Lab;

/// The commands of the page that stand below a sentence with these words.
fn commands_below(words: &str) -> &'static str {
    let page = include_str!("../../docs/adopt.md");
    let way_back = page.split_once("## How to go back").unwrap().1;
    let below = way_back.split_once(words).unwrap_or_else(|| panic!("docs/adopt.md says no more: {words}")).1;
    below.split_once("```\n").unwrap().1.split_once("```").unwrap().0
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn a_half_done_adoption_is_taken_back_by_the_words_of_its_page() {
    let lab = Lab::up(115, &["-n", "2"]);
    made_by_kubeadm(&lab, 2, 1);
    write_inventory(&lab, 2, 1, OF_KUBEADM);
    let admin = lab.on("node1", "cat /etc/kubernetes/admin.conf");
    fs::create_dir_all(lab.folder().join("inventory/artifacts")).unwrap();
    fs::write(lab.folder().join("inventory/artifacts/admin.conf"), admin).unwrap();
    asked::deploy(&lab, 2, 1);
    let before = lab.on("node1", REST);
    asked::ask(&lab, "node2", &[APP]);

    let mut run = lab.start(&["adopt", "--apply", "--yes", "-vv", "--output", "plain"]);
    run.until("coredns: begins");
    run.signal("KILL");
    run.end();
    assert!(lab.has("node2", "/var/lib/muster/adopted/begun"));

    let back = |node: &str, words: &str| drop(lab.on(node, commands_below(words)));
    back("node1", "On a member of etcd of kubeadm's");
    back("node1", "On a control plane");
    ["node1", "node2"].iter().for_each(|node| back(node, "On every machine, back to the old kubelet"));
    let ready =
        "export KUBECONFIG=/etc/kubernetes/admin.conf; until kubectl get --raw /readyz; do sleep 1; done";
    lab.on("node1", ready);
    back("node1", "On one control plane, when the API answers");
    ["node1", "node2"].iter().for_each(|node| back(node, "At last"));

    // What runs is the other tool's.
    for node in ["node1", "node2"] {
        let programs =
            lab.on(node, "for name in kubelet containerd; do readlink /proc/$(pidof $name)/exe; done");
        assert_eq!(programs, "/usr/bin/kubelet\n/usr/bin/containerd\n", "{node}");
    }
    assert_eq!(lab.on("node1", "systemctl is-active etcd || true").trim(), "inactive");
    assert!(lab.has("node1", "/etc/kubernetes/manifests/etcd.yaml"));
    let kubectl = |words: &[&str]| done(lab.muster(&[&["kubectl"], words].concat()));
    kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=120s"]);
    kubectl(&["-n", "kube-flannel", "rollout", "status", "daemonset/kube-flannel-ds", "--timeout=120s"]);
    assert_eq!(lab.on("node1", REST), before);
    asked::always_answered(&lab, "node2", asked::APP);
    held(
        "an adoption is taken back",
        "a controller that is killed when all but the names has gone over, and then the commands of docs/adopt.md",
        1,
        "the other tool's kubelet, containerd, etcd and flannel run again; the application always answered",
    );

    // And it may be begun anew.
    done(lab.muster(&["adopt", "--apply", "--yes"]));
    let again = lab.muster(&["setup-cluster"]);
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");
}
