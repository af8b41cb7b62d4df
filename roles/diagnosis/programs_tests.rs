//! The programs that find out why something is not well, and what moves: in each shell, beside commands that answer what tests say.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::causes::{self, Clue};

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// A folder with the files of a machine, and functions of sh in the place of commands; in them ROOT is the folder.
struct Machine {
    root: TempDir,
    commands: &'static str,
}

impl Machine {
    fn new(commands: &'static str) -> Self {
        Self { root: tempfile::tempdir().unwrap(), commands }
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.root.path().display())
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.at(path);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// What a program prints, which succeeds, in a shell.
    fn run(&self, shell: &[&str], program: &str, args: &[&str]) -> String {
        let program = program.replace("/var/log/pods", &self.at("pods"));
        let program = self.commands.replace("ROOT/", &self.at("")) + &program;
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-c", &program, "sh"]).args(args);
        let out = command.env("LC_ALL", "C").output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{shell:?} {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }
}

/// What follows from clues: of which machines, and why.
fn cause(clues: &[Clue]) -> (Vec<String>, String) {
    let cause = causes::foremost(clues).expect("it is known");
    (cause.hosts, cause.said)
}

#[test]
fn a_machine_says_which_units_do_not_run_what_the_kubelet_complains_of_and_what_containers_wrote_last() {
    let sandbox = r#"E1130 00:10:32.123456    1234 pod_workers.go:1301] "Error syncing pod, skipping" err="failed to set up sandbox \"0a1b\": failed to find plugin \"calico\" in path [/opt/cni/bin]""#;
    let kubelet = format!(
        "I1130 00:10:31.000001    1234 kubelet.go:99] \"all is well\"\n{sandbox}\n{}\n",
        sandbox.replace("0a1b", "2c3d").replace("00:10:32", "00:10:33")
    );
    let machine = Machine::new(
        "systemctl() { case $2 in etcd) echo failed; return 3 ;; *) echo active ;; esac; }\n\
         journalctl() { cat \"ROOT/journal-${5#--unit=}\"; }\n",
    );
    machine
        .file("journal-kubelet", &kubelet)
        .file("journal-etcd", "started\npanic: the disk is gone\ngoroutine 1 [running]:\n\tmain.go:1\nexit\n")
        .file(
            "pods/kube-system_web-1_ab/web/0.log",
            "2026-11-30T00:00:00.1Z stdout F begins\n2026-11-30T00:00:00.2Z stderr F no database\n",
        )
        .file("pods/kube-system_web-1_ab/web/1.log", "2026-11-30T00:00:01.1Z stdout F begins again\n")
        .file("pods/kube-system_new-1_ab/new/0.log", "2026-11-30T00:00:01.1Z stdout F runs\n");
    for shell in SHELLS {
        let said = machine.run(shell, include_str!("machine.sh"), &["containerd etcd kubelet"]);
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            [
                "etcd does not run (failed)",
                "etcd: panic: the disk is gone",
                "etcd: goroutine 1 [running]:",
                "etcd: \tmain.go:1",
                "etcd: exit",
                r#"kubelet: "Error syncing pod, skipping" err="failed to set up a sandbox: failed to find plugin \"calico\" in path [/opt/cni/bin]""#,
                "container web of kube-system_web-1_ab ended, and wrote last: begins",
                "container web of kube-system_web-1_ab ended, and wrote last: no database",
            ],
            "{shell:?}"
        );
        let clue = |text: &str| Clue { host: Some("node2".into()), text: text.into() };
        let clues: Vec<Clue> = said.lines().map(clue).collect();
        assert_eq!(cause(&clues), (vec!["node2".to_owned()], "etcd does not run".to_owned()));
        let of_kubelet = vec![clues[5].clone()];
        assert!(
            cause(&of_kubelet).1.starts_with("there is no network plugin \"calico\""),
            "{:?}",
            cause(&of_kubelet)
        );
        // Where everything runs, and nothing is known of the complaints.
        machine.file("journal-kubelet", "I1130 00:10:31.000001    1234 kubelet.go:99] \"all is well\"\n");
        fs::remove_file(machine.at("pods/kube-system_web-1_ab/web/1.log")).unwrap();
        assert_eq!(machine.run(shell, include_str!("machine.sh"), &["containerd kubelet"]), "", "{shell:?}");
        machine
            .file("journal-kubelet", &kubelet)
            .file("pods/kube-system_web-1_ab/web/1.log", "2026-11-30T00:00:01.1Z stdout F begins again\n");
    }
}

#[test]
fn the_cluster_says_which_nodes_and_pods_of_the_system_are_not_well_and_what_was_told_of_them_last() {
    let machine = Machine::new("kubectl() { cat \"ROOT/$2\"; }\n");
    machine
        .file("nodes", "@N|node1|10.233.64.0/24||False|False|False|True|KubeletReady: it is ready\n\
         @N|node2|||True|False|False|False|KubeletNotReady: not ready: a|b\n\tgoes on\n\
         @N|node3|10.233.66.0/24|true|False|False|False|True|KubeletReady: it is ready\n")
        .file("pods", "@P|kube-system|coredns-1|node2|Pending|False|: \n\
         @I|coredns|registry.k8s.io/coredns/coredns:v1\n\
         @C|coredns|ContainerCreating||\n\
         @C|coredns|||\n\
         @P|kube-flannel|flannel-1|node2|Running|False|: \n\
         @I|flannel|docker.io/flannel/flannel:v1\n\
         @C|flannel|CrashLoopBackOff||back-off 10s\n\
         @C|flannel|Error|1|\n\
         @P|kube-system|proxy-1|node1|Running|True|: \n\
         @I|proxy|registry.k8s.io/kube-proxy:v1\n\
         @C|proxy|Error|2|long ago\n\
         @P|kube-system|once|node1|Succeeded|False|: \n\
         @C|once|Completed|0|\n\
         @P|kube-system|evicted|node3|Failed|False|Evicted: no room\n\
         @P|kube-system|calico-node-1|node3|Pending|False|: \n\
         @I|upgrade-ipam|quay.io/calico/cni:v3.28.5\n\
         @I|calico-node|quay.io/calico/node:v3.28.5\n\
         @C|upgrade-ipam|StartError|128|failed to create containerd task: failed to create shim task: OCI runtime create failed: \
         runc create failed: unable to start container process: error during container init: exec: \"/opt/cni/bin/calico-ipam\": \
         stat /opt/cni/bin/calico-ipam: no such file or directory\n\
         @C|calico-node|PodInitializing||\n\
         @P|course|web|node2|Pending|False|: \n\
         @I|web|example.org/web:1\n\
         @C|web|ImagePullBackOff||no\n")
        .file("events", "@E|kube-system|coredns-1|FailedCreatePodSandBox|for sandbox \"0a1b\": failed to find plugin \"calico\" in path\n\
         @E|kube-system|coredns-1|FailedScheduling|at first\n\
         @E|kube-system|coredns-1|FailedCreatePodSandBox|for sandbox \"2c3d\": failed to find plugin \"weave\" in path\n\
         @E|kube-system|proxy-1|Unhealthy|it is well by now\n\
         @E|course|web|Failed|of somebody else\n");
    for shell in SHELLS {
        let said = machine.run(shell, include_str!("cluster.sh"), &[]);
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            [
                "node2\tthe node has DiskPressure",
                "node2\tthe node is not Ready: KubeletNotReady: not ready: a|b  goes on",
                "node2\tthe node has no podCIDR",
                "node3\tthe node is cordoned (SchedulingDisabled)",
                "node2\tpod kube-system/coredns-1: Pending",
                "node2\tpod kube-flannel/flannel-1, container flannel with the image \"docker.io/flannel/flannel:v1\": \
                 CrashLoopBackOff: back-off 10s",
                "node2\tpod kube-flannel/flannel-1, container flannel with the image \"docker.io/flannel/flannel:v1\": Error (exit code 1)",
                "node3\tpod kube-system/evicted: Failed, Evicted: no room",
                "node3\tpod kube-system/calico-node-1, container upgrade-ipam with the image \"quay.io/calico/cni:v3.28.5\": \
                 StartError: exec: \"/opt/cni/bin/calico-ipam\": stat /opt/cni/bin/calico-ipam: no such file or directory",
                "node2\tpod kube-system/coredns-1: FailedCreatePodSandBox: for a sandbox: failed to find plugin \"weave\" in path",
                "node2\tpod kube-system/coredns-1: FailedScheduling: at first",
            ],
            "{shell:?}"
        );
        let clue = |line: &str| {
            let (host, text) = line.split_once('\t').unwrap();
            Clue { host: Some(host.into()), text: text.into() }
        };
        let clues: Vec<Clue> = said.lines().map(clue).collect();
        assert_eq!(cause(&clues).0, ["node2"]);
        assert_eq!(
            cause(&clues[8..9]),
            (
                vec!["node3".to_owned()],
                "the image \"quay.io/calico/cni:v3.28.5\" cannot be run: exec: \"/opt/cni/bin/calico-ipam\": \
                 stat /opt/cni/bin/calico-ipam: no such file or directory"
                    .to_owned()
            )
        );
        assert!(cause(&clues[9..10]).1.starts_with("there is no network plugin \"weave\""));
    }
}

#[test]
fn a_cluster_moves_when_a_node_or_a_pod_of_the_system_does_and_not_when_one_ends_again_and_again() {
    const SEEN: &str = "Node||node1||False||  True \n\
                        Pod|kube-system|coredns-1|node1||1|Running True \n\
                        Pod|course|web|node1||0|Pending  \n";
    let moves = |seen: &str| {
        let machine = Machine::new("kubectl() { cat ROOT/seen; }\n");
        machine.file("seen", seen);
        let all = SHELLS.map(|shell| machine.run(shell, include_str!("cluster-moves.sh"), &[]));
        assert!(all.iter().all(|said| *said == all[0] && !said.trim().is_empty()), "{all:?}");
        all[0].clone()
    };
    let before = moves(SEEN);
    for (right, other, is_moved) in [
        ("Running True", "Pending False", true),
        ("|1|Running", "|2|Running", true),
        (
            "Node||node1||False||  True \n",
            "Node||node1||False||  True \nNode||node2||False||  False \n",
            true,
        ),
        ("Pending  \n", "Running True \n", false),
    ] {
        assert_ne!(SEEN.replace(right, other), SEEN);
        assert_eq!(moves(&SEEN.replace(right, other)) != before, is_moved, "{right}: {other}");
    }
    // Whatever it does, it has ended too often.
    let ended = |count: u32| moves(&SEEN.replace("|1|Running True", &format!("|{count}|Running False")));
    assert_eq!(ended(3), moves(&SEEN.replace("|1|Running", "|7|Running")));
    assert_ne!(ended(1), ended(2));
    // Nothing moves for the better while a disk is full.
    let full = |seen: &str| moves(&seen.replace("node1||False|", "node1||True|"));
    assert_eq!(full(SEEN), full(&SEEN.replace("Running True", "Pending False")));
    assert_ne!(full(SEEN), before);
}

#[test]
fn a_machine_moves_with_containers_images_and_etcds_data() {
    let machine = Machine::new("");
    let look = || {
        let (containerd, etcd) = (machine.at("containerd"), machine.at("etcd"));
        let args = [containerd.as_str(), etcd.as_str()];
        let all = SHELLS.map(|shell| machine.run(shell, include_str!("machine-moves.sh"), &args));
        assert!(all.iter().all(|said| *said == all[0]), "{all:?}");
        all[0].clone()
    };
    let mut before = look();
    for (path, is_moved) in [
        ("containerd/io.containerd.content.v1.content/blobs/sha256/0a", true),
        ("containerd/io.containerd.content.v1.content/blobs/sha256/1b", true),
        ("containerd/io.containerd.snapshotter.v1.native/snapshots/1", true),
        ("etcd/member/snap/db", true),
        ("pods/kube-system_web-1_ab/web/0.log", true),
        ("pods/kube-system_web-1_ab/web/3.log", true),
        // It has ended too often.
        ("pods/kube-system_web-1_ab/web/4.log", false),
        ("containerd/other", false),
    ] {
        machine.file(path, "x");
        let now = look();
        assert_eq!(now != before, is_moved, "{path}: {now}");
        before = now;
    }
    machine.file("etcd/member/snap/db", "xx");
    assert_ne!(look(), before, "the database has grown");
    machine.file("pods/kube-system_web-1_ab/web/0.log", "more is written");
    let now = look();
    assert_eq!(look(), now, "nothing moves by itself");
}
