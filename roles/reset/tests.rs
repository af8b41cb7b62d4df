//! What is left of a cluster, and what of the packet filter's rules goes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::*;

/// What `removal_of_rules` makes of rules as iptables-save(8) prints them.
fn removal(foreign: &str, rules: &str) -> String {
    removal_with("", foreign, foreign, rules)
}

/// The same, with the name of calico's network, and whether it was cilium's.
fn removal_with(calico: &str, cilium: &str, foreign: &str, rules: &str) -> String {
    let program = concat!(include_str!("../packet_filter.sh"), include_str!("traces.sh"), "removal_of_rules");
    let mut child = Command::new("sh")
        .args(["-ec", program, "sh", foreign, "10.233.64.0/18", "", "", "", calico, cilium])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// What `traces.sh` and `left.sh` print on a machine with such things, told by a shell.
fn left(shell: &[&str], foreign: &str, calico: &str, cilium: &str, pods6: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    let here = root.path().display().to_string();
    let put = |path: &str, content: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put("proc/7/cgroup", "0::/system.slice/ssh.service\n");
    put("proc/12/cgroup", "0::/kubepods.slice/pod1/c1\n");
    put("proc/12/comm", "pause\n");
    // A cluster in containers on this machine.
    put("proc/13/cgroup", "0::/docker/a/kubepods/pod1\n");
    let interfaces = [
        "eth0",
        "cni0",
        "flannel.1",
        "flannelous",
        "kube-ipvs0",
        "cali12ab",
        "vxlan.calico",
        "weave",
        "cilium_host",
        "lxc0a1b2c3d4e5f",
        "lxcbr0",
    ];
    for interface in interfaces {
        put(&format!("sys/class/net/{interface}/mtu"), "1500\n");
    }
    // A disk of its own, on which nothing is, stays.
    let data = format!("{here}/data");
    let points = ["/", "/var/lib/kubelet/pods/a", "/var/lib/kubelet/pods/a/two\\040words", "/home", &data];
    let mounts = points.map(|point| format!("1 2 0:3 / {point} rw - ext4 x rw\n"));
    put("proc/self/mountinfo", &mounts.concat());
    put("etc/kubernetes/admin.conf", "");
    put("etc/cni/net.d/87-podman.conflist.cilium_bak", "");
    for map in ["cilium/devices/eth0", "tc/globals/cilium_lxc", "tc/globals/mine"] {
        put(&format!("sys/fs/bpf/{map}"), "");
    }
    for folder in ["data", "empty"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    std::os::unix::fs::symlink("/nowhere", root.path().join("link")).unwrap();
    put("programs/iptables-save", &format!("#!/bin/sh\ncat <<'END'\n{RULES}END\n"));
    let program = root.path().join("programs/iptables-save");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    let program =
        concat!(include_str!("../packet_filter.sh"), include_str!("traces.sh"), include_str!("left.sh"));
    let program = ["/proc/", "/sys/class", "/sys/fs/bpf", "/etc/cni/net.d", "/run/netns"]
        .into_iter()
        .fold(program.to_owned(), |all, path| all.replace(path, &format!("{here}{path}")));
    let program = format!("PATH={here}/programs:/usr/bin:/bin\n{}{program}", include_str!("fakes.sh"));
    let gone = ["etc/kubernetes", "data", "empty", "link", "nowhere"].map(|path| format!("{here}/{path}"));
    let arguments = [
        foreign,
        "10.233.64.0/18",
        "/var/lib/kubelet /run/x",
        &gone.join(" "),
        "kubelet etcd",
        calico,
        cilium,
        pods6,
    ];
    let out = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-euc", &program, "sh"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(out.status.success(), "{shell:?} {out:?}");
    String::from_utf8(out.stdout).unwrap().replace(&here, "")
}

#[test]
fn what_is_left_of_a_cluster_is_told_and_what_is_not_its_own_is_not() {
    let of_cluster = "process 12 (pause)\nmount /var/lib/kubelet/pods/a/two words\nmount /var/lib/kubelet/pods/a\n\
                      interface cni0\ninterface flannel.1\ninterface kube-ipvs0\nroute 10.233.65.0/24\n\
                      route 10.233.66.64/26\nrules of iptables\ntable of nft ip kube-proxy\n\
                      table of nft ip6 flannel-ipv6\nset of ipset KUBE-LOOP-BACK\nfile /etc/kubernetes\nfile /empty\n\
                      unit kubelet is running\n";
    for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
        assert_eq!(left(shell, "", "", "", ""), of_cluster, "{shell:?}");
        let of_cilium = left(shell, "", "", "yes", "");
        let more = [
            "interface cilium_host",
            "interface lxc0a1b2c3d4e5f",
            "set aside /etc/cni/net.d/87-podman.conflist.cilium_bak",
            "pinned /sys/fs/bpf/cilium",
            "pinned /sys/fs/bpf/tc/globals/cilium_lxc",
            "filter dev eth0 ingress pref 1",
            "rule of ip 9",
            "rule of ip 100",
            "set of ipset cilium_node_set_v4",
        ];
        for line in of_cluster.lines().chain(more) {
            assert!(of_cilium.contains(&format!("{line}\n")), "{shell:?} {line}: {of_cilium}");
        }
        assert_eq!(of_cilium.lines().count(), of_cluster.lines().count() + more.len(), "{of_cilium}");
        let of_calico = left(shell, "", "k8s-pod-network", "", "");
        let more = [
            "interface cali12ab",
            "interface vxlan.calico",
            "table of nft inet calico",
            "set of ipset cali40s",
        ];
        for line in of_cluster.lines().chain(more) {
            assert!(of_calico.contains(&format!("{line}\n")), "{shell:?} {line}: {of_calico}");
        }
        assert_eq!(of_calico.lines().count(), of_cluster.lines().count() + more.len(), "{of_calico}");
        let foreign = left(shell, "yes", "", "yes", "");
        assert!(foreign.contains("interface weave\n") && !foreign.contains("mine"), "{shell:?} {foreign}");
        assert!(!foreign.contains("lxcbr0"), "{shell:?} {foreign}");
        // Of IPv6 alone routes and rules have to be asked for; where the cluster has none, nobody does.
        let of_both = left(shell, "", "", "yes", "fd85::/112");
        let more = ["route fd85::1:100/120", "route fd85::1:300/122", "rule of ip -6 9", "rule of ip -6 100"];
        for line in of_cilium.lines().chain(more) {
            assert!(of_both.contains(&format!("{line}\n")), "{shell:?} {line}: {of_both}");
        }
        assert_eq!(of_both.lines().count(), of_cilium.lines().count() + more.len(), "{of_both}");
    }
}

#[test]
fn a_reset_that_has_left_something_fails_with_what_it_is() {
    let told = |status, output: &str| {
        left_over("node1", &Answer { status, output: output.to_owned() }).map(|failure| failure.to_string())
    };
    assert_eq!(told(0, ""), None);
    assert_eq!(
        told(0, "process 12 (pause)\nunit kubelet is running\n").unwrap(),
        "something of the cluster is left on node1: process 12 (pause); unit kubelet is running"
    );
    assert!(told(1, "").is_some(), "nobody knows what is left");
}

const RULES: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:cali-PREROUTING - [0:0]
:MINE - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A PREROUTING -j MINE
-A PREROUTING -j cali-PREROUTING
-A KUBE-SERVICES -d 10.233.0.1/32 -j RETURN
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -m comment --comment \"KUBE-SERVICES\" -j ACCEPT
COMMIT
";

#[test]
fn only_chains_of_kubernetes_and_what_leads_to_them_go() {
    let ours = "*nat\n-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
                -F KUBE-SERVICES\n-X KUBE-SERVICES\nCOMMIT\n";
    assert_eq!(removal("", RULES), ours);
    assert_eq!(removal("", "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT\n"), "");
    // podman has networks of CNI as well; what is named after the cluster's goes, and what the plugins share stays for it.
    let podman = "*nat\n:CNI-HOSTPORT-DNAT - [0:0]\n:CNI-DN-1 - [0:0]\n:CNI-DN-2 - [0:0]\n:CNI-a - [0:0]\n\
                  -A POSTROUTING -m comment --comment \"name: \\\"podman\\\" id: \\\"x\\\"\" -j CNI-a\n\
                  -A CNI-HOSTPORT-DNAT -m comment --comment \"dnat name: \\\"cbr0\\\" id: \\\"x\\\"\" -j CNI-DN-1\n\
                  -A CNI-HOSTPORT-DNAT -m comment --comment \"dnat name: \\\"podman\\\" id: \\\"x\\\"\" -j CNI-DN-2\nCOMMIT\n";
    assert_eq!(
        removal("", podman),
        "*nat\n-D CNI-HOSTPORT-DNAT -m comment --comment \"dnat name: \\\"cbr0\\\" id: \\\"x\\\"\" -j CNI-DN-1\n-F CNI-DN-1\n\
         -X CNI-DN-1\nCOMMIT\n"
    );
    let alone: String =
        podman.lines().filter(|line| !line.contains("podman")).map(|line| format!("{line}\n")).collect();
    assert!(removal("", &alone).contains("-X CNI-HOSTPORT-DNAT\n"));
    let cilium = "*raw\n:CILIUM_PRE_raw - [0:0]\n:OLD_CILIUM_PRE_raw - [0:0]\n:MINE - [0:0]\n\
                  -A PREROUTING -m comment --comment \"cilium-feeder: CILIUM_PRE_raw\" -j CILIUM_PRE_raw\nCOMMIT\n";
    assert_eq!(
        removal_with("", "yes", "", cilium),
        "*raw\n-D PREROUTING -m comment --comment \"cilium-feeder: CILIUM_PRE_raw\" -j CILIUM_PRE_raw\n-F CILIUM_PRE_raw\n\
         -F OLD_CILIUM_PRE_raw\n-X CILIUM_PRE_raw\n-X OLD_CILIUM_PRE_raw\nCOMMIT\n"
    );
    assert_eq!(removal("", cilium), "");
    let of_calico = removal_with("k8s-pod-network", "", "", RULES);
    assert!(
        of_calico.contains("-D PREROUTING -j cali-PREROUTING\n")
            && of_calico.contains("-X cali-PREROUTING\n")
    );
    assert!(!of_calico.contains("MINE"), "{of_calico}");
    // calico marks rules of its own by a comment, some of which lead to no chain; another one's comment may name it.
    let marked = "*filter\n:FORWARD ACCEPT [0:0]\n\
                  -A FORWARD -m comment --comment \"cali:S93hcgKJrXEqnTfs\" -m comment --comment \"Policy explicitly accepted packet.\" -m \
                  mark --mark 0x10000/0x10000 -j ACCEPT\n\
                  -A FORWARD -m comment --comment \"cali:mp77cMpurHhyjLrM\" -j MARK --set-xmark 0x10000/0x10000\n\
                  -A FORWARD -m comment --comment \"as cali: does\" -j ACCEPT\nCOMMIT\n";
    let gone = "*filter\n\
                -D FORWARD -m comment --comment \"cali:S93hcgKJrXEqnTfs\" -m comment --comment \"Policy explicitly accepted packet.\" -m \
                mark --mark 0x10000/0x10000 -j ACCEPT\n\
                -D FORWARD -m comment --comment \"cali:mp77cMpurHhyjLrM\" -j MARK --set-xmark 0x10000/0x10000\nCOMMIT\n";
    assert_eq!(removal_with("k8s-pod-network", "", "", marked), gone);
    assert_eq!((removal("yes", marked), removal("", marked)), (gone.to_owned(), String::new()));
    let foreign = removal("yes", RULES);
    assert!(foreign.contains("-D PREROUTING -j cali-PREROUTING\n") && !foreign.contains("MINE"), "{foreign}");
}
