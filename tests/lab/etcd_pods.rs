//! Members of etcd are static pods of the kubelets, and the unit of etcd is what starts and stops them.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

const MACHINES: [&str; 3] = ["node1", "node2", "node3"];
const MANIFEST: &str = "/etc/kubernetes/manifests/etcd-member.yaml";

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

/// systemd's cgroup of each process of etcd on a machine.
fn etcd(lab: &Lab, machine: &str) -> String {
    let ask =
        "for id in $(pgrep -x etcd); do grep -m 1 -E '^([0-9]+:name=systemd|0:):' /proc/$id/cgroup; done";
    lab.on(machine, ask)
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(300), "{what}");
        sleep(Duration::from_secs(1));
    }
}

/// Each member is a pod that is Ready, and no process beside it.
fn are_pods(lab: &Lab, machines: &[&str]) {
    let pods = || {
        let ask = ["kubectl", "-n", "kube-system", "get", "pods", "-l", "component=etcd", "--no-headers"];
        done(lab.muster(&ask)).out
    };
    until("etcd's pods are Ready", || {
        let pods = pods();
        let is_ready = |node: &&str| {
            let name = format!("etcd-{node} ");
            pods.lines().any(|l| l.starts_with(&name) && l.contains(" 1/1 ") && l.contains(" Running "))
        };
        machines.iter().all(|node| is_ready(node)) && pods.lines().count() == machines.len()
    });
    for node in machines {
        let cgroups = etcd(lab, node);
        assert!(cgroups.lines().count() == 1 && cgroups.contains("kubepods"), "{node}: {cgroups}");
        assert_eq!(lab.on(node, "systemctl is-active etcd").trim(), "active");
    }
}

/// Each member is a process of its unit.
fn are_in_units(lab: &Lab) {
    for node in MACHINES {
        let cgroups = etcd(lab, node);
        assert!(cgroups.lines().count() == 1 && cgroups.contains("etcd.service"), "{node}: {cgroups}");
    }
}

/// The same, and nothing of a pod is left.
fn are_processes(lab: &Lab) {
    are_in_units(lab);
    for node in MACHINES {
        for path in [
            MANIFEST,
            "/var/lib/muster/etcd-pod.sh",
            "/etc/tmpfiles.d/muster-etcd.conf",
            "/etc/systemd/system/etcd.service.d",
        ] {
            assert!(!lab.has(node, path), "{node}: {path}");
        }
    }
}

fn settled(lab: &Lab, machines: &[&str]) {
    let again = done(lab.muster(&["setup-cluster"]));
    for node in machines {
        assert_eq!(again.recap(node, "changed"), 0, "{again:#?}");
    }
}

#[test]
#[ignore = "it takes some fifteen minutes; ./test --all"]
fn members_of_etcd_are_static_pods_and_whatever_is_done_with_members_works() {
    let lab = Lab::up(183, &["-n", "3"]);
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(folder.join("group_vars")).unwrap();
    let hosts: String = (1..=3)
        .map(|n| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n)))
        .collect();
    let inventory = |last: u8| {
        format!(
            "[all]\n{hosts}[kube_control_plane]\nnode[1:{last}]\n[etcd]\nnode[1:{last}]\n[kube_node]\nnode[1:{last}]\n"
        )
    };
    fs::write(folder.join("hosts.ini"), inventory(3)).unwrap();
    let runs_as =
        |kind: &str| fs::write(folder.join("group_vars/all.yml"), format!("etcd_deployment_type: {kind}\n"));
    runs_as("kubeadm").unwrap();

    // They begin before there is a kubelet, and go over in the same run.
    done(lab.muster(&["setup-cluster"]));
    are_pods(&lab, &MACHINES);
    // With the flags that users of kubeadm's etcd type.
    let exec = ["kubectl", "-n", "kube-system", "exec", "etcd-node1", "--", "etcdctl"];
    let flags = ["--endpoints=https://127.0.0.1:2379", "--cacert=/etc/ssl/etcd/ssl/ca.pem"];
    let login = ["--cert=/etc/ssl/etcd/ssl/member.pem", "--key=/etc/ssl/etcd/ssl/member-key.pem"];
    let list = [&exec[..], &flags, &login, &["member", "list"]].concat();
    let list = done(lab.muster(&list));
    assert_eq!(list.out.matches(", started, ").count(), 3, "{list:#?}");
    assert!(
        lab.on("node2", "journalctl -u etcd -o cat").contains("\"level\":\"info\""),
        "the unit has the log"
    );
    settled(&lab, &MACHINES);
    done(lab.muster(&["verify"]));

    // The kubelet brings back a program that has ended; the unit ends and brings back the pod, also without a kubelet.
    let unit = || lab.on("node1", "systemctl show -p NRestarts -p ExecMainPID etcd");
    let before = unit();
    lab.on("node1", "pkill -KILL -x etcd");
    until("etcd is back", || !etcd(&lab, "node1").is_empty());
    are_pods(&lab, &MACHINES);
    assert_eq!(unit(), before, "the unit has made the pod anew");
    lab.on("node2", "systemctl stop etcd");
    assert!(etcd(&lab, "node2").is_empty() && !lab.has("node2", MANIFEST));
    lab.on("node2", "systemctl start etcd");
    are_pods(&lab, &MACHINES);
    lab.on("node2", "systemctl stop kubelet && systemctl stop etcd");
    assert!(etcd(&lab, "node2").is_empty());
    lab.on("node2", "systemctl start kubelet && sleep 20");
    assert!(etcd(&lab, "node2").is_empty(), "the kubelet knows nothing of it");
    // A kubelet is no condition: a run hands over what has begun without one.
    lab.on("node2", "systemctl stop kubelet && systemctl start etcd && systemctl start kubelet");
    assert!(etcd(&lab, "node2").contains("etcd.service"));
    done(lab.muster(&["setup-cluster"]));
    are_pods(&lab, &MACHINES);
    settled(&lab, &MACHINES);

    // All lose their power.
    for node in MACHINES {
        done(lab.lab(&["kill", node]));
    }
    for node in MACHINES {
        done(lab.lab(&["start", node]));
    }
    until("the cluster is back", || lab.muster(&["verify"]).code == 0);
    are_pods(&lab, &MACHINES);
    settled(&lab, &MACHINES);
    held(
        "machine loses power",
        "all three control planes with etcd as static pods",
        3,
        "the members come back as pods; the run after it changes nothing",
    );

    // What ends in the pod alone is a process, and says why; the next run mends it.
    lab.on("node1", "echo ETCD_LOG_OUTPUTS=stderr,/root/etcd.log >>/etc/etcd.env");
    done(lab.lab(&["kill", "node1"]));
    done(lab.lab(&["start", "node1"]));
    until("etcd is a process", || etcd(&lab, "node1").contains("etcd.service"));
    let log = lab.on("node1", "journalctl -u etcd -o cat");
    assert!(log.contains("no such file") && log.contains("as a process of its own instead"), "{log}");
    until("the cluster is back", || lab.muster(&["verify"]).code == 0);
    // One pod is enough: the unit that starts again leaves the kubelet alone.
    let process = etcd(&lab, "node1");
    lab.on("node1", "pkill -KILL -x etcd");
    until("etcd is back", || etcd(&lab, "node1") == process);
    assert_eq!(
        lab.on("node1", "journalctl -b -u etcd -o cat").matches("as a process of its own instead").count(),
        1
    );
    done(lab.muster(&["setup-cluster"]));
    are_pods(&lab, &MACHINES);
    settled(&lab, &MACHINES);
    lab.on("node1", "rm /root/etcd.log");

    // A snapshot comes back.
    let kubectl = |words: &[&str]| done(lab.muster(&[&["kubectl"], words].concat())).out;
    kubectl(&["create", "configmap", "before"]);
    done(lab.muster(&["etcd", "snapshot", "now.db"]));
    kubectl(&["create", "configmap", "after"]);
    done(lab.muster(&["etcd", "restore", "--yes", "now.db"]));
    let objects = kubectl(&["get", "configmaps", "-o", "name"]);
    assert!(objects.contains("/before") && !objects.contains("/after"), "{objects}");
    are_pods(&lab, &MACHINES);
    settled(&lab, &MACHINES);

    // Members become processes. The run is cut off when the units say so and the pods run on: whoever stops a member ends its pod.
    runs_as("host").unwrap();
    lab.setup_killed_at(&[], "etcd: Take etcd back from the kubelet");
    let pods = || MACHINES.iter().filter(|node| etcd(&lab, node).contains("kubepods")).count();
    assert!(pods() > 0, "it was too late");
    done(lab.muster(&["etcd", "restore", "--yes", "now.db"]));
    assert_eq!(pods(), 0, "what was taken is below a pod");
    let objects = kubectl(&["get", "configmaps", "-o", "name"]);
    assert!(objects.contains("/before"), "{objects}");
    done(lab.muster(&["setup-cluster"]));
    are_processes(&lab);
    settled(&lab, &MACHINES);
    // Pods are asked for, and taken back before there are any.
    runs_as("kubeadm").unwrap();
    lab.setup_killed_at(&[], "etcd: Configure etcd: changed");
    are_in_units(&lab);
    runs_as("host").unwrap();
    done(lab.muster(&["setup-cluster"]));
    are_processes(&lab);
    settled(&lab, &MACHINES);
    // And pods again.
    runs_as("kubeadm").unwrap();
    done(lab.muster(&["setup-cluster"]));
    are_pods(&lab, &MACHINES);
    settled(&lab, &MACHINES);

    // The machine of one leaves, and nothing of it stays there.
    done(lab.muster(&["remove-node", "node3", "--yes"]));
    let nothing = |node: &str| {
        assert!(etcd(&lab, node).is_empty(), "{node}");
        for path in [
            MANIFEST,
            "/var/lib/muster/etcd-pod.sh",
            "/etc/tmpfiles.d/muster-etcd.conf",
            "/run/muster-etcd-pod",
            "/etc/systemd/system/etcd.service",
            "/etc/systemd/system/etcd.service.d",
            "/var/lib/etcd/member",
        ] {
            assert!(!lab.has(node, path), "{node}: {path}");
        }
    };
    nothing("node3");
    fs::write(folder.join("hosts.ini"), inventory(2)).unwrap();
    are_pods(&lab, &MACHINES[..2]);
    // The API servers ask the two that are left.
    done(lab.muster(&["setup-cluster"]));
    settled(&lab, &MACHINES[..2]);

    // The majority is lost for good, and the data of the one that is left is taken.
    done(lab.lab(&["kill", "node1"]));
    sleep(Duration::from_secs(10));
    let recovered = lab.start_typing("node1", "recover -vv --output plain").end();
    assert_eq!(recovered.code, 0, "{recovered:#?}");
    let objects = kubectl(&["get", "configmaps", "-o", "name"]);
    assert!(objects.contains("/before"), "{objects}");
    assert!(etcd(&lab, "node2").contains("kubepods"), "{}", etcd(&lab, "node2"));

    done(lab.lab(&["start", "node1"]));
    done(lab.muster(&["reset-cluster", "--yes"]));
    ["node1", "node2"].into_iter().for_each(nothing);
}
