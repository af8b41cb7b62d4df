//! Layouts that kubespray tests with, under its names: `ha`, `ha-recover`, `ha-recover-noquorum` and `node-etcd-client`.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

/// Two control planes, and a worker that has the third member of etcd.
const HA: &str = "[kube_control_plane]\nnode1\nnode2\n[etcd]\nnode1\nnode2\nnode3\n[kube_node]\nnode3\n";

/// The same when two are lost, with the lost machines in kubespray's groups alone, and in no others but that of nodes.
const MOVED: &str = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode3\n[broken_etcd]\nnode[2:3]\n\
                     [broken_kube_control_plane]\nnode2\n";

/// One control plane, and members of etcd on two of the three workers.
const NODE_ETCD_CLIENT: &str =
    "[kube_control_plane]\nnode1\n[etcd]\nnode1\nnode2\nnode3\n[kube_node]\nnode1\nnode2\nnode3\nnode4\n";

fn write(lab: &Lab, machines: u8, groups: &str) {
    let host = |n: u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n));
    let hosts: String = (1..=machines).map(host).collect();
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    fs::write(lab.folder().join("inventory/hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
}

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

/// Nothing is left to do, and every member of etcd is well.
fn is_whole(lab: &Lab, machines: u8) {
    let again = done(lab.muster(&["setup-cluster"]));
    for n in 1..=machines {
        assert_eq!(again.recap(&format!("node{n}"), "changed"), 0, "{again:#?}");
    }
    let status = done(lab.muster(&["etcd", "status"]));
    assert_eq!(status.out.matches("healthy").count(), 3, "{status:#?}");
}

#[test]
#[ignore = "it takes seven minutes; ./test --all"]
fn two_control_planes_and_a_worker_lose_one_member_of_etcd_and_then_two() {
    let lab = Lab::up(242, &["-n", "3"]);
    write(&lab, 3, HA);
    done(lab.muster(&["setup-cluster"]));
    is_whole(&lab, 3);
    let kubectl = |words: &[&str]| done(lab.muster(&[&["kubectl"], words].concat())).out;
    kubectl(&["create", "configmap", "before"]);
    let written_before_is_there =
        || assert!(kubectl(&["get", "configmaps", "-o", "name"]).contains("/before"));

    // A machine that kubespray's groups call broken, while the others have a majority, is replaced.
    let broken = |hosts: &str| {
        write(&lab, 3, &format!("{HA}[broken_etcd]\n{hosts}\n[broken_kube_control_plane]\n{hosts}\n"));
    };
    broken("node2");
    done(lab.lab(&["reimage", "node2"]));
    let needless = lab.muster(&["recover"]);
    assert!(needless.code != 0 && needless.err.contains("muster replace-node HOST"), "{needless:#?}");
    done(lab.muster(&["replace-node", "node2"]));
    is_whole(&lab, 3);
    written_before_is_there();

    // Two of three: what the third one knows is what the cluster goes on with. Both still have their disks, and one its control plane
    // as well; the member that stays was stopped, and one of theirs, so that nobody sees a majority.
    write(&lab, 3, MOVED);
    for node in ["node1", "node2"] {
        lab.on(node, "systemctl stop etcd");
    }
    let runs = |node: &str| {
        let planes = "cat /proc/[0-9]*/comm 2>/dev/null | grep -xE 'kube-apiserver|kube-controller|kube-scheduler' || :";
        let units = "for unit in etcd kubelet; do systemctl is-active $unit || :; systemctl is-enabled $unit || :; done";
        let said = lab.on(node, planes) + &lab.on(node, units);
        let stopped = ["inactive", "failed", "disabled"];
        said.lines().filter(|line| !stopped.contains(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(runs("node2").iter().any(|what| what == "kube-apiserver"), "{:?}", runs("node2"));
    // Until etcd knows that it has no majority.
    sleep(Duration::from_secs(10));
    let recovered = lab.start_typing("node2 node3", "recover").end();
    assert_eq!(recovered.code, 0, "{recovered:#?}");
    assert!(recovered.out.contains("said to be broken"), "{recovered:#?}");
    let said = format!("{}{}", recovered.out, recovered.err);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("node2-3 are in [etcd] and [kube_control_plane] again"), "{recovered:#?}");
    for node in ["node2", "node3"] {
        assert_eq!(runs(node), Vec::<String>::new(), "{node}");
    }
    written_before_is_there();
    write(&lab, 3, HA);
    done(lab.lab(&["reimage", "node2"]));
    done(lab.muster(&["reset-cluster", "--limit", "node3", "--yes"]));
    done(lab.muster(&["replace-node", "node2", "node3"]));
    is_whole(&lab, 3);
    written_before_is_there();
    held(
        "machine lost for good",
        "one of three members of etcd, then two, on the machines of kubespray's groups broken_etcd and broken_kube_control_plane",
        2,
        "what is left goes on; every object that was written before is there",
    );
}

#[test]
#[ignore = "it takes two minutes; ./test --all"]
fn workers_have_members_of_etcd_and_the_only_control_plane_too() {
    let lab = Lab::up(250, &["-n", "4"]);
    write(&lab, 4, NODE_ETCD_CLIENT);
    done(lab.muster(&["setup-cluster"]));
    is_whole(&lab, 4);
    done(lab.muster(&["verify"]));
    // A worker with a member is lost, and the cluster goes on.
    done(lab.lab(&["kill", "node3"]));
    done(lab.muster(&["remove-node", "node3", "--yes"]));
    let again = done(lab.muster(&["setup-cluster"]));
    for node in ["node1", "node2", "node4"] {
        assert_eq!(again.recap(node, "changed"), 0, "{again:#?}");
    }
}
