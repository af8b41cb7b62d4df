//! What breaks while a run is at work: connections, machines, the network, file systems.

use std::time::Duration;

use muster_testkit::fault_record::held;

use crate::far_away::FarAway;
use crate::fixture::{Ended, Lab};

const CONVERGED: &str = "it finishes, and changes nothing";

fn again_changes_nothing(lab: &Lab) {
    let again = lab.muster(&["setup-cluster"]);
    assert_eq!(again.code, 0, "{again:#?}");
    for host in ["node1", "node2"] {
        assert_eq!(again.recap(host, "changed"), 0, "{again:#?}");
    }
}

/// Run on a converged cluster: one file of node2 is changed by hand, and cannot be mended.
fn refused_write(lab: &Lab, words: &str) -> Ended {
    let ended = lab.muster(&["setup-cluster"]);
    assert_eq!(ended.code, 2, "{ended:#?}");
    assert!(ended.out.contains(words) && ended.out.contains("config.toml"), "{ended:#?}");
    assert_eq!((ended.recap("node2", "failed"), ended.recap("node1", "failed")), (1, 0), "{ended:#?}");
    ended
}

/// On a machine that is no node: another plugin's configuration, a package's drop-in, and another cluster's network outrank ours.
/// Each remedy of the table is done as it is written there.
fn what_others_left_is_refused(lab: &Lab) {
    lab.on(
        "node2",
        r#"mkdir -p /etc/cni/net.d /usr/lib/systemd/system/kubelet.service.d
           echo '{"name": "k8s-pod-network", "plugins": [{"type": "calico"}]}' >/etc/cni/net.d/05-calico.conflist
           printf '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet\n' >/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf
           ip link add cni0 type bridge && ip addr add 10.244.1.1/24 dev cni0"#,
    );
    let refused = lab.muster(&["setup-cluster", "--reimaged", "node2"]);
    let remedies = [
        "mv /etc/cni/net.d/05-calico.conflist /etc/cni/net.d/05-calico.conflist.off",
        "mkdir -p /etc/systemd/system/kubelet.service.d && ln -s /dev/null \
         /etc/systemd/system/kubelet.service.d/10-kubeadm.conf && systemctl daemon-reload",
    ];
    let out = refused.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!((refused.code, refused.recap("node2", "changed")), (3, 0), "{refused:#?}");
    assert!(out.contains("3 problems") && out.contains("cni0 is in 10.244.1.0/24"), "{refused:#?}");
    for remedy in remedies {
        lab.on("node2", remedy);
    }
    let cleared = lab.muster(&["reset-cluster", "--foreign", "--limit", "node2", "--yes"]);
    assert_eq!(cleared.code, 0, "{cleared:#?}");
    let passed = lab.muster(&["preflight", "--reimaged", "node2"]);
    assert_eq!(passed.code, 0, "{passed:#?}");
}

#[test]
fn connections_and_power_are_lost_and_the_same_command_finishes() {
    let lab = Lab::up(237, &["-n", "2"]);
    let pattern = lab.pattern(2);

    // Every connection to node2 is cut while images are imported: the run reconnects and goes on by itself.
    let cut = lab.setup_with_fault(&[&pattern, "-vvv"], "node2 │ importing ", |_| {
        // This very connection is among them.
        lab.lab(&["ssh", "node2", "--", "pkill -KILL -f sshd:"]);
    });
    assert_eq!(cut.code, 0, "{cut:#?}");
    let found_again = |line: &str| line.contains("import the images: ") && line.contains("; try 2 of 6");
    assert!(cut.out.lines().any(found_again), "{cut:#?}");
    assert_eq!(cut.out.matches("node2 │ importing ").count(), 1, "imported once: {cut:#?}");
    assert_eq!(lab.on("node2", "ls /var/lib/muster/incoming"), "", "leftovers");
    again_changes_nothing(&lab);
    held(
        "connection cut",
        "all of a machine, by SIGKILL for sshd, while images are imported",
        1,
        "the run connects again and finds the import, which was started once; the next one changes nothing",
    );

    // node2 is installed anew, and loses its power in the middle. The others finish, and it is named.
    assert_eq!(lab.lab(&["reimage", "node2"]).code, 0);
    lab.muster(&["kubectl", "delete", "node", "node2"]);
    what_others_left_is_refused(&lab);
    let dark = lab.setup_with_fault(&["--reimaged", "node2"], "node2  containerd: done", |_| {
        assert_eq!(lab.lab(&["kill", "node2"]).code, 0);
    });
    assert_ne!(dark.code, 0, "{dark:#?}");
    assert_eq!((dark.recap("node1", "unreachable"), dark.recap("node2", "unreachable")), (0, 1), "{dark:#?}");
    assert_eq!(lab.lab(&["start", "node2"]).code, 0);
    let finished = lab.muster(&["setup-cluster"]);
    assert_eq!(finished.code, 0, "{finished:#?}");
    again_changes_nothing(&lab);
    held(
        "machine loses power",
        "its container is killed while it is set up",
        1,
        "it is named as unreachable, the others finish; the same command finishes it later",
    );

    // Every twentieth packet is lost, in both directions.
    let loss = "INPUT -m statistic --mode random --probability 0.05 -j DROP";
    for machine in ["node1", "node2"] {
        lab.on(machine, &format!("iptables -I {loss} && iptables -I {}", loss.replace("INPUT", "OUTPUT")));
    }
    again_changes_nothing(&lab);
    held("packets lost", "5 % in both directions, a second run", 1, CONVERGED);

    // And lines of 1 Mbit/s, of the machines and of this computer.
    let slow = "tc qdisc add dev eth0 root tbf rate 1mbit burst 16kb latency 400ms";
    for machine in ["node1", "node2"] {
        lab.on(machine, slow);
    }
    assert_eq!(lab.exec(&slow.split(' ').collect::<Vec<_>>()).code, 0);
    again_changes_nothing(&lab);
    held(
        "slow network",
        "1 Mbit/s, and 5 % of the packets lost, in both directions, a second run",
        1,
        CONVERGED,
    );
    for machine in ["node1", "node2"] {
        lab.on(machine, "tc qdisc del dev eth0 root");
    }
    assert_eq!(lab.exec(&["tc", "qdisc", "del", "dev", "eth0", "root"]).code, 0);
    for machine in ["node1", "node2"] {
        lab.on(machine, &format!("iptables -D {loss} && iptables -D {}", loss.replace("INPUT", "OUTPUT")));
    }

    // Machines on the other side of the world, behind a bad line: a file to put right, and nothing to do.
    lab.on("node2", "echo '# by hand' >>/etc/containerd/config.toml");
    let far_away = FarAway::begin(lab.namespace(), Duration::from_millis(100), 20);
    let mended = lab.muster(&["setup-cluster"]);
    assert_eq!((mended.code, mended.recap("node2", "changed")), (0, 1), "{mended:#?}");
    again_changes_nothing(&lab);
    let passed = far_away.end();
    assert!(passed.lost > 0 && passed.delivered > 10 * passed.lost, "{passed:?}");
    held(
        "slow network",
        "200 ms there and back, and 5 % of the packets lost, in both directions: a run that puts a file right, and a second one",
        2,
        "both finish; the second one changes nothing",
    );

    // A full disk, and one that cannot be written: the file is the old one, whole, and the message says why.
    lab.on("node2", "echo '# by hand' >>/etc/containerd/config.toml");
    lab.on(
        "node2",
        "cp -a /etc/containerd /run/saved && mount -t tmpfs -o size=64k tmpfs /etc/containerd && \
         cp -a /run/saved/. /etc/containerd/ && { cat /dev/zero >/etc/containerd/full 2>/dev/null || true; }",
    );
    refused_write(&lab, "No space left on device");
    assert!(lab.on("node2", "tail -1 /etc/containerd/config.toml").contains("by hand"), "half a file");
    held(
        "disk full",
        "a file system of 64 KB where a file is written",
        1,
        "the old file is whole; the message says why",
    );
    lab.on("node2", "rm /etc/containerd/full && mount -o remount,ro /etc/containerd");
    refused_write(&lab, "Read-only file system");
    lab.on("node2", "umount /etc/containerd");
    let mended = lab.muster(&["setup-cluster"]);
    assert_eq!((mended.code, mended.recap("node2", "changed")), (0, 1), "{mended:#?}");
    again_changes_nothing(&lab);
    held(
        "disk read-only",
        "remounted where a file is written",
        1,
        "the message says why; the next run mends it",
    );
}
