//! etcd on machines of its own, and control planes that hold no data; one of them alone loses its way to etcd, and then all.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::fixture::{Ended, Lab};

const MACHINES: [&str; 5] = ["node1", "node2", "node3", "node4", "node5"];

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

#[test]
#[ignore = "it takes three minutes; ./test --all"]
fn control_planes_apart_from_etcd_and_one_that_alone_loses_it() {
    let lab = Lab::up(243, &["-n", "5"]);
    let hosts: String = (1..=5)
        .map(|n| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n)))
        .collect();
    let groups = "[kube_control_plane]\nnode[4:5]\n[etcd]\nnode[1:3]\n[kube_node]\nnode3\n";
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    fs::write(lab.folder().join("inventory/hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
    done(lab.muster(&["setup-cluster"]));
    let again = done(lab.muster(&["setup-cluster"]));
    assert_eq!(MACHINES.map(|host| again.recap(host, "changed")), [0; 5], "{again:#?}");
    assert!(!lab.has("node1", "/etc/kubernetes/kubelet.conf"), "a machine of etcd alone is no node");
    let verified = done(lab.muster(&["verify"]));
    assert!(verified.all().contains(" leads, its database has "), "{verified:#?}");

    // What needs etcd is asked through the load balancer of the worker.
    let asks = |what: &str| {
        let ask = format!(
            "kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout=5s get --raw {what}"
        );
        let words = format!("for n in $(seq 12); do {ask} >/dev/null 2>&1 || echo failed; done");
        lab.on("node3", &words).lines().count()
    };
    let cut = |plane: &str, how: &str| {
        lab.on(
            plane,
            &format!("iptables {how} OUTPUT -p tcp --dport 2379 -j REJECT --reject-with tcp-reset"),
        );
    };
    let node = "'/api/v1/nodes/node3?resourceVersion='";
    assert_eq!(asks(node), 0);
    cut("node4", "-I");
    sleep(Duration::from_secs(40));
    assert_eq!(asks(node), 0, "the control plane that alone has lost etcd is asked nothing");
    // When no other one has it, everybody is asked what needs no etcd.
    cut("node5", "-I");
    sleep(Duration::from_secs(40));
    assert_eq!(asks("/version"), 0, "none is taken out because all have lost etcd");
    cut("node4", "-D");
    cut("node5", "-D");
    sleep(Duration::from_secs(10));
    assert_eq!(asks(node), 0);
}
