//! End to end: real machines (containers with systemd and sshd), a real Kubernetes. Needs the container engine and the
//! bundle; `./test` prepares both. Each test has a lab of its own.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod adopt;
mod adopt_back;
mod apps;
mod apps_without_programs;
mod asked;
mod broken;
mod browser;
mod ca_rotation;
mod care;
mod charts;
mod cilium;
mod cloud;
mod clusters;
mod control_planes;
mod controllers;
mod dashboard;
mod docker;
mod dual;
mod encryption;
mod etcd_pods;
mod external;
mod far_away;
mod faults;
mod fixture;
mod hand_on;
mod hardening;
mod here;
mod kinds;
mod kubelets;
mod kubespray;
mod layouts;
mod local;
mod names;
mod networks;
mod nodes;
mod packages;
mod policies;
mod reconcile;
mod recover;
mod reset;
mod resolv;
mod resume;
mod secrets;
mod separate;
mod settings;
mod several;
mod students;
mod surroundings;
mod system_upgrade;
mod troubles;
mod upgrade;
mod uploads;
mod vip;

use std::os::unix::fs::PermissionsExt;

use fixture::Lab;

#[test]
fn three_bare_machines_become_a_cluster_and_a_second_run_changes_nothing() {
    let lab = Lab::up(230, &[]);
    let first = lab.muster(&["setup-cluster", &lab.pattern(3)]);
    assert_eq!(first.code, 0, "{first:#?}");

    let nodes = lab.muster(&["kubectl", "get", "nodes", "--no-headers"]);
    let ready: Vec<_> =
        nodes.out.lines().filter(|l| l.contains(" Ready ") && l.ends_with("v1.37.2")).collect();
    assert_eq!(ready.len(), 3, "{nodes:#?}");
    let pods = lab.muster(&["kubectl", "get", "pods", "-A", "--no-headers"]);
    // None of the network's test is left. A pod of CoreDNS that moved to another node may still say goodbye.
    let (leaving, lines): (Vec<_>, Vec<_>) = pods.out.lines().partition(|l| l.contains("Terminating"));
    assert!(leaving.iter().all(|l| l.contains(" coredns-")), "{pods:#?}");
    assert!(lines.len() >= 9 && lines.iter().all(|l| l.contains("Running")), "{pods:#?}");
    assert!(!pods.out.contains("muster-verify"), "{pods:#?}");

    // Pods came when their network was there: none had to be tried again, which takes ten seconds.
    let again = ["get", "events", "-A", "--no-headers", "--field-selector", "reason=FailedCreatePodSandBox"];
    let again = lab.muster(&[&["kubectl"], &again[..]].concat());
    assert_eq!((again.code, again.out.trim()), (0, ""), "{again:#?}");

    let inventory = std::fs::read_to_string(lab.folder().join("inventory/hosts.ini")).unwrap();
    assert!(inventory.contains(&lab.address(2)), "{inventory}");
    let admin = lab.folder().join("inventory/artifacts/admin.conf");
    assert_eq!(admin.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // The inventory was written, so the next command knows the machines.
    let second = lab.muster(&["setup-cluster", "-v"]);
    assert_eq!(second.code, 0, "{second:#?}");
    for host in ["node1", "node2", "node3"] {
        assert_eq!(second.recap(host, "changed"), 0, "{second:#?}");
        assert!(second.recap(host, "ok") > 30, "{second:#?}");
    }

    let check = lab.muster(&["setup-cluster", "--check"]);
    assert_eq!((check.code, check.recap("node1", "changed")), (0, 0), "{check:#?}");

    let verify = lab.muster(&["verify"]);
    assert_eq!(verify.code, 0, "{verify:#?}");

    // Somebody's change to a file is mended, and the service that reads it is restarted; nothing else is touched.
    lab.on("node2", "echo '# changed by hand' >> /etc/containerd/config.toml");
    let before = lab.on("node2", "systemctl show -p MainPID --value containerd");
    let check = lab.muster(&["setup-cluster", "--check", "--diff"]);
    assert!(check.all().contains("-# changed by hand"), "{check:#?}");
    assert!(lab.on("node2", "tail -1 /etc/containerd/config.toml").contains("by hand"), "--check changed it");
    let mended = lab.muster(&["setup-cluster"]);
    assert_eq!(mended.code, 0, "{mended:#?}");
    assert_eq!(mended.recap("node2", "changed"), 1, "{mended:#?}");
    assert_eq!((mended.recap("node1", "changed"), mended.recap("node3", "changed")), (0, 0), "{mended:#?}");
    assert!(!lab.on("node2", "cat /etc/containerd/config.toml").contains("by hand"));
    let after = lab.on("node2", "systemctl show -p MainPID --value containerd");
    assert_eq!(before, after, "the file is what containerd was started with: no restart");

    // A program that was replaced is put back.
    lab.on("node3", "rm /usr/local/bin/runc && ln -s /bin/false /usr/local/bin/runc");
    let mended = lab.muster(&["setup-cluster"]);
    assert_eq!((mended.code, mended.recap("node3", "changed") > 0), (0, true), "{mended:#?}");
    assert!(lab.on("node3", "/usr/local/bin/runc --version").contains("1.4.3"));

    // So are objects of the cluster, in the cluster.
    lab.muster(&["kubectl", "-n", "kube-system", "scale", "deployment/coredns", "--replicas=1"]);
    let mended = lab.muster(&["setup-cluster", "-v"]);
    assert_eq!((mended.code, mended.recap("node1", "changed")), (0, 1), "{mended:#?}");
    assert!(
        mended.all().contains("Deployment kube-system/coredns: spec.replicas is not as it was applied"),
        "{mended:#?}"
    );

    // The network test sees what is broken, and says from where. A firewall stays; a link that is gone flannel makes anew.
    lab.on("node2", "iptables -I INPUT -p udp --dport 8472 -j DROP");
    let broken = lab.muster(&["verify", "-vv", "-e", "verify_timeout=35"]);
    assert_eq!(broken.code, 2, "{broken:#?}");
    for told in [
        "failed: node1  verify: every pod reaches every pod",
        "from the pod on node2 no way to: ",
        "8080 (pod on node2)",
    ] {
        assert!(broken.all().contains(told), "{told}: {broken:#?}");
    }
    // Pods of tests that were cut off go before there are new ones, and the test's own though it failed.
    let steps = ["Remove the test pods ...", "Start a pod on every node ...", "Remove the test pods ..."];
    let done = broken.all();
    let done = done.lines().filter_map(|line| steps.into_iter().find(|step| line.contains(step)));
    assert!(done.eq(steps), "{broken:#?}");

    // Without a kubelet nobody starts the API server again. A look says so, and what to do; the kubelet is started before the
    // API is waited for.
    lab.on("node1", "systemctl disable --now -q kubelet && pkill -KILL -x kube-apiserver");
    let broken = lab.muster(&["verify"]);
    assert_eq!(broken.code, 2, "{broken:#?}");
    for told in
        ["its own API server does not answer", "was refused", "start what was stopped: muster lab --name "]
    {
        assert!(broken.all().contains(told), "{told}: {broken:#?}");
    }
    let mended = lab.muster(&["setup-cluster", "--limit", "node1", "--tags", "control-plane"]);
    assert_eq!((mended.code, mended.recap("node1", "changed")), (0, 1), "{mended:#?}");
    assert_eq!(lab.on("node1", "systemctl is-enabled kubelet").trim(), "enabled");
}
