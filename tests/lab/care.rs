//! The care of a cluster: a snapshot of etcd is brought back, and certificates that have ended are mended.

use std::fs;

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

const MACHINES: [&str; 3] = ["node1", "node2", "node3"];

/// kubeadm's configuration, with certificates that end in a moment.
const SHORT: &str = "sed 's/^kind: ClusterConfiguration/&\\ncertificateValidityPeriod: 5s/' /etc/kubernetes/kubeadm-config.yaml >/run/short.yaml";

fn inventory(lab: &Lab) -> String {
    let hosts: String = (1..=3)
        .map(|n| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n)))
        .collect();
    format!(
        "[all]\n{hosts}[all:vars]\nkubeconfig_localhost=true\n[kube_control_plane]\nnode1\n[etcd]\nnode[1:3]\n[kube_node]\nnode[2:3]\n"
    )
}

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

/// What timers start does what they are for; they are there where they are wanted, and nowhere else.
fn timers_come_and_go(lab: &Lab) {
    let wanted = [
        "setup-cluster",
        "-e",
        "auto_renew_certificates=true",
        "-e",
        "etcd_backup_calendar=daily",
        "-e",
        "etcd_backup_machine_count=1",
    ];
    let changed = |words: &[&str]| {
        let ended = done(lab.muster(words));
        MACHINES.map(|host| ended.recap(host, "changed"))
    };
    assert_eq!(changed(&wanted), [8, 4, 4]);
    assert_eq!(changed(&wanted), [0, 0, 0]);
    let timers = lab.on("node1", "systemctl list-timers --no-legend");
    assert!(
        timers.contains("k8s-certs-renew.service") && timers.contains("muster-etcd-snapshot"),
        "{timers}"
    );
    for _ in 0..2 {
        lab.on("node2", "systemctl start muster-etcd-snapshot.service; sleep 1");
    }
    assert_eq!(lab.on("node2", "ls /var/lib/muster/snapshots/etcd-*.db | wc -l").trim(), "1");
    let certificate = || lab.on("node1", "sha256sum /etc/kubernetes/ssl/apiserver.crt");
    let before = certificate();
    lab.on("node1", "systemctl start k8s-certs-renew.service");
    assert_ne!(certificate(), before);
    // Both timers go; and the administrator's kubeconfig, which was renewed, comes to this side.
    assert_eq!(changed(&["setup-cluster"]), [3, 1, 1]);
    assert_eq!(lab.on("node1", "systemctl list-timers --no-legend | grep -cE 'muster|k8s' || :").trim(), "0");
    assert!(!lab.has("node1", "/etc/systemd/system/k8s-certs-renew.timer"));
}

/// `setup-cluster` warns of what ends within 60 days, and renews what ends within 30.
fn what_ends_soon_is_told_and_renewed(lab: &Lab) {
    let lasting = |days: u32, name: &str| {
        let config = format!("certificateValidityPeriod: {}h", days * 24 + 1);
        let short = SHORT.replace("certificateValidityPeriod: 5s", &config);
        lab.on("node1", &format!("{short} && kubeadm certs renew {name} --config /run/short.yaml"));
    };
    lasting(45, "scheduler.conf");
    let warned = done(lab.muster(&["setup-cluster"]));
    assert!(warned.all().contains("scheduler.conf") && warned.all().contains("45 days"), "{warned:#?}");
    assert_eq!(MACHINES.map(|host| warned.recap(host, "changed")), [0, 0, 0], "{warned:#?}");
    lasting(20, "apiserver");
    let renewed = done(lab.muster(&["setup-cluster", "-v"]));
    assert_eq!(MACHINES.map(|host| renewed.recap(host, "changed")), [1, 0, 0], "{renewed:#?}");
    done(lab.muster(&["certs", "check"]));
    let left = lab.muster(&["certs", "check", "--below", "360"]);
    assert_eq!(
        left.out.lines().filter(|line| line.contains(" 45 ")).count(),
        1,
        "what has 45 days is left: {left:#?}"
    );
    done(lab.muster(&["certs", "renew"]));
    done(lab.muster(&["certs", "check", "--below", "360"]));
}

#[test]
fn a_snapshot_brings_back_what_was_and_certificates_that_have_ended_are_mended() {
    let lab = Lab::up(181, &[]);
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    fs::write(lab.folder().join("inventory/hosts.ini"), inventory(&lab)).unwrap();
    done(lab.muster(&["setup-cluster"]));
    let kubectl = |words: &[&str]| lab.muster(&[&["kubectl"], words].concat());
    let unchanged = || {
        let again = done(lab.muster(&["setup-cluster"]));
        assert_eq!(MACHINES.map(|host| again.recap(host, "changed")), [0, 0, 0], "{again:#?}");
    };

    // What is there when the snapshot is taken, and what comes and goes after it.
    for name in ["kept", "removed"] {
        done(kubectl(&["create", "configmap", name]));
    }
    done(lab.muster(&["etcd", "snapshot", "now.db"]));
    done(kubectl(&["delete", "configmap", "removed"]));
    done(kubectl(&["create", "configmap", "after"]));

    let asked = lab.muster(&["etcd", "restore", "now.db"]);
    assert!(asked.code == 5 && asked.all().contains("restore it all the same: --yes"), "{asked:#?}");
    let cut_off = |mark: &str| {
        let mut run = lab.start(&["etcd", "restore", "--yes", "now.db", "-vv", "--output", "plain"]);
        run.until(mark);
        run.signal("KILL");
        run.end();
    };
    // Where it was only prepared it has not begun, and everything goes on.
    cut_off("restore-prepare: Prepare the restored member: changed");
    done(lab.muster(&["etcd", "snapshot", "meanwhile.db"]));
    done(lab.muster(&["setup-cluster"]));
    unchanged();
    // Cut off where some members may have the restored data and others not: nothing else may touch them then.
    for mark in ["restore-stop-etcd: Stop etcd: changed", "restore-take: Take the restored data: changed"] {
        cut_off(mark);
        let refused = lab.muster(&["setup-cluster"]);
        assert!(refused.code == 3 && refused.all().contains("a restore of etcd was begun"), "{refused:#?}");
    }
    done(lab.muster(&["etcd", "restore", "--yes", "now.db"]));
    held(
        "controller killed",
        "SIGKILL during a restore of etcd",
        3,
        "the same command finishes; nothing else may begin",
    );
    let objects = done(kubectl(&["get", "configmaps", "-o", "name"])).out;
    assert!(
        objects.contains("/kept") && objects.contains("/removed") && !objects.contains("/after"),
        "{objects}"
    );
    let status = done(lab.muster(&["etcd", "status"]));
    assert_eq!(status.out.matches("healthy").count(), 3, "{status:#?}");
    assert_eq!(status.out.matches("leader").count(), 1, "{status:#?}");
    unchanged();

    // All certificates of the control plane and a kubelet end, and the machines are started anew.
    done(lab.muster(&["certs", "check"]));
    lab.on("node1", SHORT);
    for name in [
        "apiserver",
        "apiserver-kubelet-client",
        "front-proxy-client",
        "admin.conf",
        "controller-manager.conf",
        "scheduler.conf",
    ] {
        lab.on("node1", &format!("kubeadm certs renew {name} --config /run/short.yaml"));
    }
    let sign = "kubeadm kubeconfig user --org system:nodes --client-name system:node:node2 --validity-period 5s \
                --config /etc/kubernetes/kubeadm-config.yaml";
    let kubeconfig = lab.on("node1", sign);
    let part = |key: &str| {
        kubeconfig.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap().trim().to_owned()
    };
    let (certificate, key) = (part("client-certificate-data:"), part("client-key-data:"));
    let pki = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    lab.on(
        "node2",
        &format!("(echo {certificate} | base64 -d; echo {key} | base64 -d) >$(readlink -f {pki})"),
    );
    std::thread::sleep(std::time::Duration::from_secs(6));
    lab.on(
        "node1",
        "systemctl restart kubelet; for name in kube-apiserver kube-scheduler; do kill $(pidof $name); done",
    );
    lab.on("node2", "systemctl restart kubelet || :");

    let check = lab.muster(&["certs", "check"]);
    assert_eq!(check.code, 2, "{check:#?}");
    for name in ["apiserver.crt", "scheduler.conf", "kubelet-client-current.pem"] {
        let line = check.out.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.contains("ended"), "{line}");
    }
    let refused = lab.muster(&["upgrade-cluster"]);
    assert!(refused.code == 3 && refused.all().contains("on node1 have ended"), "{refused:#?}");
    done(lab.muster(&["certs", "renew"]));
    done(lab.muster(&["certs", "check", "--below", "360"]));
    let nodes = done(kubectl(&["get", "nodes", "--no-headers"])).out;
    assert_eq!(nodes.lines().filter(|line| line.contains(" Ready ")).count(), 3, "{nodes}");
    unchanged();
    what_ends_soon_is_told_and_renewed(&lab);
    timers_come_and_go(&lab);

    // All machines are installed anew, which have other certificates then, and perhaps other networks for pods: the snapshot brings
    // back what was, and pods find their way.
    done(lab.lab(&["reimage", "node1", "node2", "node3"]));
    done(lab.muster(&["setup-cluster", "--reimaged", "all"]));
    let refused = lab.muster(&["etcd", "restore", "--yes", "now.db"]);
    assert!(refused.code == 3 && refused.all().contains("--another-cluster"), "{refused:#?}");
    done(lab.muster(&["etcd", "restore", "--yes", "--another-cluster", "now.db"]));
    let objects = done(kubectl(&["get", "configmaps", "-o", "name"])).out;
    assert!(
        objects.contains("/kept") && objects.contains("/removed") && !objects.contains("/after"),
        "{objects}"
    );
    done(lab.muster(&["verify"]));
    unchanged();
}
