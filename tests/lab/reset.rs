//! A cluster is taken away: what was on the machines before is as it was, and nothing of the cluster is left.

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

/// What an administrator has on a machine before there is a cluster: swap, a firewall that lets SSH in and little else, a user, a
/// host name and a network of podman.
const OWN: &str = r#"
touch /etc/fstab; echo '/swapfile none swap sw 0 0 # own' >>/etc/fstab
useradd -m teacher
echo lectern >/etc/hostname; hostname lectern
echo '192.0.2.9 printer' >/etc/hosts.own; cat /etc/hosts.own >>/etc/hosts
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -j ACCEPT
iptables -A INPUT -s "$1" -j ACCEPT
iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -P INPUT DROP
iptables -t nat -N CNI-0123456789abcdef01234567
iptables -t nat -A POSTROUTING -s 10.88.0.5/32 -m comment --comment 'name: "podman" id: "x"' -j CNI-0123456789abcdef01234567
nft add table inet own
mkdir -p /var/lib/cni/networks/podman /srv/pods
echo x >/var/lib/cni/networks/podman/10.88.0.5
ln -s /srv/pods /var/log/pods
echo 64 >/proc/sys/fs/inotify/max_user_instances"#;

/// What is compared: files with their kinds and modes, the content of those in /etc; what systemd runs and starts, interfaces,
/// mounts, users, rules of the packet filter, and kernel parameters. Not what any system writes of itself.
const SEEN: &str = r#"
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/lib/muster \
  -o -path /var/log/journal -o -path /var/lib/systemd -o -path /var/cache -o -path /root/.ssh -o -name __pycache__ \) -prune \
  -o -printf '%y %m %u %p %l\n' | grep -v ' /var/log/[^/]* $' | sort
find /etc -type f | sort | xargs sha256sum
cat /etc/hosts /etc/hostname /proc/sys/kernel/hostname
systemctl list-unit-files --no-legend --plain | awk '{ print "unit file", $1, $2 }'
systemctl list-units --type=service --state=running --no-legend --plain | awk '!/^(user@|systemd-)/ { print "running", $1 }'
ls /sys/class/net | sed 's/^/interface /'
cut -d' ' -f5 /proc/self/mountinfo | grep -v '^/run/' | sort | sed 's/^/mount /'
cut -d: -f1 /etc/passwd /etc/group
for command in iptables-save ip6tables-save; do $command | sed -n 's/ \[.*//; /^-A/p; /^:[^ ]* -/p; / DROP/p'; done
nft list tables | grep -v ' ip6* \(mangle\|filter\|nat\)$'
for name in net/ipv4/ip_forward net/ipv4/ip_local_reserved_ports fs/inotify/max_user_instances fs/inotify/max_user_watches \
  kernel/panic kernel/panic_on_oops vm/overcommit_memory vm/panic_on_oom kernel/keys/root_maxkeys; do
  echo "$name $(cat /proc/sys/$name)"
done"#;

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

#[test]
fn a_reset_leaves_the_machines_as_they_were_and_is_refused_before_any_harm() {
    let lab = Lab::up(41, &["-n", "2"]);
    let subnet = format!("{}/24", lab.address(1));
    let seen = |host: &str| -> Vec<String> { lab.on(host, SEEN).lines().map(str::to_owned).collect() };
    let assert_as_before = |host: &str, before: &[String]| {
        let now = seen(host);
        let gone: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
        let left: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
        assert!(gone.is_empty() && left.is_empty(), "{host}: gone: {gone:#?}, left: {left:#?}");
    };
    lab.on("node1", &format!("set -- {subnet}\n{OWN}"));
    let before = ["node1", "node2"].map(|host| (host, seen(host)));
    let setup = |words: &[&str]| done(lab.muster(&[&["setup-cluster"], words].concat()));
    setup(&[&lab.pattern(2)]);
    assert_eq!(lab.on("node1", "cat /proc/sys/kernel/hostname").trim(), "node1");

    // Nobody is asked without a terminal. What cannot be removed is found before anything is touched, on all machines.
    let asked = lab.muster(&["reset-cluster"]);
    assert!(asked.code == 5 && asked.all().contains("--yes"), "{asked:#?}");
    lab.on("node2", "mv /var/log/containers /srv/containers; ln -s /etc /var/log/containers");
    let refused = lab.muster(&["reset-cluster", "--yes"]);
    assert!(refused.code != 0 && refused.all().contains("/etc is not muster's alone"), "{refused:#?}");
    for host in ["node1", "node2"] {
        assert_eq!(lab.on(host, "systemctl is-active kubelet").trim(), "active");
    }
    lab.on("node2", "rm /var/log/containers; mv /srv/containers /var/log/containers");

    // A plan that takes a cluster away asks as well.
    done(lab.muster(&["plan", "-o", "reset.json", "reset-cluster"]));
    let asked = lab.muster(&["apply", "reset.json"]);
    assert!(asked.code == 5 && asked.all().contains("--yes"), "{asked:#?}");
    assert_eq!(lab.on("node1", "systemctl is-active kubelet").trim(), "active");

    // Cut off in the middle, it is finished by the same command.
    let mut run = lab.start(&["reset-cluster", "--yes", "-vv", "--output", "plain"]);
    run.until("reset: Stop the pods: changed");
    run.signal("KILL");
    run.end();
    done(lab.muster(&["reset-cluster", "--yes"]));
    held(
        "controller killed",
        "SIGKILL during reset-cluster, on a machine with a firewall of policy DROP and what podman has",
        1,
        "the same command finishes; the machines are as they were before there was a cluster",
    );
    for (host, before) in &before {
        assert_as_before(host, before);
    }
    let again = done(lab.muster(&["reset-cluster", "--yes"]));
    assert_eq!(["node1", "node2"].map(|host| again.recap(host, "changed")), [0, 0], "{again:#?}");

    // A cluster that begins anew at once finds its images.
    setup(&[]);
    done(lab.muster(&["reset-cluster", "--yes", "--keep-images"]));
    assert!(lab.has("node2", "/usr/local/bin/kubelet") && !lab.has("node2", "/etc/kubernetes"));
    let quick = setup(&["-v"]);
    assert!(!quick.all().contains("image registry.k8s.io/pause"), "{quick:#?}");
    let nodes = done(lab.muster(&["kubectl", "get", "nodes", "--no-headers"])).out;
    assert_eq!(nodes.matches(" Ready ").count(), 2, "{nodes}");

    // What other tools left goes when that is asked for.
    lab.on(
        "node2",
        "ip link add weave type dummy; mkdir -p /var/lib/weave; echo {} >/etc/cni/net.d/00-weave.conflist
printf '#!/bin/sh\\nrm -f /usr/local/bin/k3s*\\n' >/usr/local/bin/k3s-agent-uninstall.sh; chmod +x /usr/local/bin/k3s-agent-uninstall.sh",
    );
    done(lab.muster(&["reset-cluster", "--yes", "--foreign"]));
    for (host, before) in &before {
        // podman's network cannot be told from that of a cluster of other tools.
        let podman = |line: &&String| line.contains("CNI-") || line.contains("/var/lib/cni");
        let before: Vec<String> = before.iter().filter(|line| !podman(line)).cloned().collect();
        assert_as_before(host, &before);
    }
}
