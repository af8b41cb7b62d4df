//! A cluster is taken away, and the machines are as they were: a firewall that lets nothing else through, lines of swap, a name, a
//! service that was stopped, a container engine. A cluster that somebody made by hand is found, and taken away only on request.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

const MACHINES: [&str; 2] = ["node1", "node2"];

/// What somebody has done to the machine before. The firewall lets SSH, the cluster's ports, and pods through.
const BEFORE: &str = r#"
echo '/swapfile none swap sw 0 0 # as it was' >>/etc/fstab
echo "old-$(hostname)" >/etc/hostname && hostname "$(cat /etc/hostname)"
useradd --system keeper
mkdir -p /opt/cni/bin && echo own >/opt/cni/bin/own
printf '[Service]\nExecStart=/bin/sleep infinity\n' >/etc/systemd/system/own.service && systemctl daemon-reload
mkdir -p /etc/containerd && echo '# as it was' >/etc/containerd/config.toml
printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/containerd.service
systemctl daemon-reload && systemctl enable --now containerd
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A INPUT -p icmp -j ACCEPT
iptables -A INPUT -p tcp -m multiport --dports 22,2379,2380,6443,10250,30222 -j ACCEPT
iptables -A INPUT -p udp --dport 8472 -m comment --comment "of flannel's network" -j ACCEPT
iptables -A INPUT -s 10.233.64.0/18 -j ACCEPT
iptables -A FORWARD -s 10.233.64.0/18 -j ACCEPT
iptables -A FORWARD -d 10.233.64.0/18 -j ACCEPT
iptables -t nat -N OWN && iptables -t nat -A PREROUTING -p tcp --dport 8099 -j OWN
iptables -P INPUT DROP
iptables -P FORWARD DROP"#;

/// A pod with a port on its machine and a volume of it.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: busy, namespace: default}
spec:
  nodeName: node2
  containers:
    - {name: a, image: "registry.k8s.io/pause:3.10.2", ports: [{containerPort: 80, hostPort: 8088}], volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, emptyDir: {medium: Memory}}]
"#;

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

/// What each machine is like, as lines.
fn state(lab: &Lab) -> Vec<BTreeSet<String>> {
    fs::write(lab.folder().join("state.sh"), include_str!("machine-state.sh")).unwrap();
    done(lab.muster(&["copy", "all", "state.sh", "/run/state.sh"]));
    MACHINES.map(|node| lab.on(node, "sh /run/state.sh").lines().map(str::to_owned).collect()).into()
}

fn assert_same(now: &[BTreeSet<String>], before: &[BTreeSet<String>]) {
    for ((now, before), node) in now.iter().zip(before).zip(MACHINES) {
        let (more, less): (Vec<_>, Vec<_>) =
            (now.difference(before).collect(), before.difference(now).collect());
        assert!(more.is_empty() && less.is_empty(), "{node}: new {more:#?}, gone {less:#?}");
    }
}

#[test]
#[ignore = "it takes minutes: two clusters are made and three are taken away; ./test --all"]
fn a_cluster_is_taken_away_and_the_machines_are_as_they_were() {
    let lab = Lab::up(247, &["-n", "2"]);
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    let hosts: String = (1..=2)
        .map(|n| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n)))
        .collect();
    let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode[1:2]\n";
    fs::write(lab.folder().join("inventory/hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
    for node in MACHINES {
        lab.on(node, BEFORE);
    }
    let before = state(&lab);

    done(lab.muster(&["setup-cluster"]));
    fs::write(lab.folder().join("pod.yml"), POD).unwrap();
    done(lab.muster(&["kubectl", "apply", "-f", "pod.yml"]));
    done(lab.muster(&["kubectl", "wait", "--for=condition=Ready", "pod/busy", "--timeout=60s"]));
    // Without a word of the user's nothing is lost; a look tells.
    let asked = lab.muster(&["reset-cluster"]);
    assert!(asked.code == 5 && asked.all().contains("add --yes"), "{asked:#?}");
    let look = done(lab.muster(&["reset-cluster", "--check"]));
    assert!(look.recap("node2", "changed") > 5, "{look:#?}");
    done(lab.muster(&["verify", "-e", "verify_network=never"]));

    // Images stay for the next one, which begins at once.
    let begun = Instant::now();
    done(lab.muster(&["reset-cluster", "--keep-images", "--yes"]));
    assert!(lab.has("node2", "/var/lib/containerd/io.containerd.content.v1.content/blobs"));
    let rebuilt = done(lab.muster(&["setup-cluster", "-v"]));
    assert!(!rebuilt.out.contains(" imported"), "{rebuilt:#?}");
    eprintln!("rebuilt in {:.0?}", begun.elapsed());

    // Killed in the middle, it is finished by the same command.
    let mut run = lab.start(&["reset-cluster", "--yes", "-vv", "--output", "plain"]);
    run.until("node2  reset: Stop the pods: changed");
    run.signal("KILL");
    run.end();
    done(lab.muster(&["reset-cluster", "--yes"]));
    assert_same(&state(&lab), &before);
    let again = done(lab.muster(&["reset-cluster", "--yes"]));
    assert_eq!(MACHINES.map(|node| again.recap(node, "changed")), [0, 0], "{again:#?}");
    held(
        "a cluster is taken away",
        "with a firewall whose policy is DROP, killed in the middle",
        1,
        "files, units, interfaces, rules, mounts, users and kernel parameters are as before",
    );

    // One that somebody made by hand: found, left as it is, and taken away on request.
    done(lab.muster(&["setup-cluster"]));
    done(lab.muster(&["reset-cluster", "--keep-images", "--yes"]));
    fs::write(lab.folder().join("by-hand.sh"), include_str!("by-hand.sh")).unwrap();
    done(lab.muster(&["copy", "node1", "by-hand.sh", "/run/by-hand.sh"]));
    lab.on("node1", &format!("sh /run/by-hand.sh {}", lab.address(1)));
    for (command, told) in [
        (&["preflight"][..], "muster adopt"),
        (&["setup-cluster"], "muster adopt"),
        (&["reset-cluster", "--yes"], "old-node1"),
    ] {
        let refused = lab.muster(command);
        assert_eq!(refused.code, 3, "{refused:#?}");
        assert_eq!(refused.recap("node1", "changed"), 0, "{refused:#?}");
        assert!(refused.all().contains(told), "{refused:#?}");
    }
    let pods =
        "kubectl --kubeconfig /etc/kubernetes/admin.conf get pods -A --no-headers | grep -vc Running || :";
    assert_eq!(lab.on("node1", pods).trim(), "0");
    // cilium mounts all control groups here, in which nothing can be removed.
    lab.on("node1", "mkdir -p /run/cilium/cgroupv2 && mount -t cgroup2 none /run/cilium/cgroupv2");
    done(lab.muster(&["reset-cluster", "--foreign", "--yes"]));
    // What somebody has written or set by hand is theirs.
    lab.on("node1", "rm /root/kubeadm.yaml");
    let without_forwarding = |mut machines: Vec<BTreeSet<String>>| {
        machines.iter_mut().for_each(|lines| lines.retain(|line| !line.starts_with("net/ipv4/ip_forward ")));
        machines
    };
    assert_same(&without_forwarding(state(&lab)), &without_forwarding(before));
}

/// Somebody's container engine, of a package.
const ENGINE: &str = r"
printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/lib/systemd/system/containerd.service
mkdir -p /etc/containerd && echo '# theirs' >/etc/containerd/config.toml
systemctl daemon-reload && systemctl enable --now containerd";

#[test]
fn what_somebody_sets_up_beside_a_cluster_or_after_it_is_theirs() {
    let lab = Lab::up(171, &["-n", "1"]);
    let folder = lab.folder().join("inventory/group_vars");
    fs::create_dir_all(&folder).unwrap();
    let address = lab.address(1);
    let hosts = format!(
        "node1 ansible_host={address} ip={address}\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n"
    );
    fs::write(lab.folder().join("inventory/hosts.ini"), hosts).unwrap();
    let mirrors = format!(
        "containerd_registries_mirrors: [{{prefix: docker.io, mirrors: [{{host: 'http://{address}:5000'}}]}}]\n"
    );
    fs::write(folder.join("all.yml"), mirrors).unwrap();
    let own = "/etc/containerd/certs.d/docker.io/hosts.toml";
    lab.on("node1", &format!("mkdir -p {} && echo '# theirs' >{own}", own.trim_end_matches("/hosts.toml")));

    done(lab.muster(&["setup-cluster"]));
    assert!(lab.on("node1", &format!("cat {own}")).contains(":5000"));
    done(lab.muster(&["reset-cluster", "--keep-images", "--yes"]));
    assert_eq!(lab.on("node1", &format!("cat {own}")), "# theirs\n");
    assert_eq!(lab.on("node1", "cat /proc/sys/net/ipv4/conf/all/route_localnet"), "0\n");
    lab.on("node1", ENGINE);
    done(lab.muster(&["reset-cluster", "--yes"]));
    assert_eq!(
        lab.on("node1", "cat /etc/containerd/config.toml; systemctl is-active containerd"),
        "# theirs\nactive\n"
    );
    assert_eq!(lab.on("node1", "ls /usr/local/bin"), "", "programs of ours are gone");
    let again = done(lab.muster(&["reset-cluster", "--yes"]));
    assert_eq!(again.recap("node1", "changed"), 0, "{again:#?}");
}
