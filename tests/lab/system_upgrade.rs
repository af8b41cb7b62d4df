//! The operating systems of a cluster's machines get newer packages, and the machines restart for them, one after the other.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use muster_testkit::fault_record::held;

use crate::asked;
use crate::fixture::{Ended, Lab};

const MACHINES: [&str; 3] = ["node1", "node2", "node3"];

/// A package, of which a repository on the machine has a newer version that wants a restart.
const SOURCE: &str = r#"
mkdir -p /srv/repo /srv/tiny/DEBIAN
build() {
  printf 'Package: tiny\nVersion: %s\nArchitecture: all\nMaintainer: a test\nDescription: a test\n' $1 >/srv/tiny/DEBIAN/control
  dpkg-deb --build /srv/tiny $2
}
build 1.0 /srv/tiny.deb
dpkg -i /srv/tiny.deb
printf '#!/bin/sh\necho configured >>/var/configured\ntouch /run/reboot-required\n' >/srv/tiny/DEBIAN/postinst
chmod 755 /srv/tiny/DEBIAN/postinst
build 1.1 /srv/repo/tiny.deb
{
  cat /srv/tiny/DEBIAN/control
  printf 'Filename: ./tiny.deb\nSize: %s\nSHA256: %s\n' $(stat -c %s /srv/repo/tiny.deb) $(sha256sum /srv/repo/tiny.deb | cut -d' ' -f1)
} >/srv/repo/Packages
rm -rf /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list"#;

/// Two control planes, and a member of etcd on each machine.
fn inventory(lab: &Lab) -> String {
    let host = |n: u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n));
    let hosts: String = (1..=3).map(host).collect();
    format!("[all]\n{hosts}[kube_control_plane]\nnode1\nnode2\n[etcd]\nnode[1:3]\n[kube_node]\nnode[1:3]\n")
}

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn newer_packages_come_to_drained_machines_one_after_the_other_and_a_run_that_was_killed_is_finished() {
    let lab = Lab::up(173, &["-n", "3"]);
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    fs::write(lab.folder().join("inventory/hosts.ini"), inventory(&lab)).unwrap();
    done(lab.muster(&["setup-cluster"]));
    for machine in MACHINES {
        lab.on(machine, SOURCE);
    }
    let kubectl = |words: &[&str]| done(lab.muster(&[&["kubectl"], words].concat())).out;
    asked::deploy(&lab, 2, 1);
    let boots = || MACHINES.map(|machine| lab.on(machine, "cat /proc/sys/kernel/random/boot_id"));
    let before = boots();
    let packages = |more: &[&'static str]| {
        [&["upgrade-cluster", "--tags", "system-upgrade", "-e", "system_upgrade=true"], more].concat()
    };

    // What would be upgraded is shown, and apt knows nothing of it afterwards.
    let lists = || lab.on("node3", "find /var/lib/apt /var/cache/apt -type f | sort | xargs ls -l");
    let known = lists();
    let planned = done(lab.muster(&packages(&["--check", "-v"])));
    assert_eq!(planned.out.matches("tiny 1.0 -> 1.1").count(), 3, "{planned:#?}");
    assert_eq!(MACHINES.map(|host| planned.recap(host, "changed")), [2, 2, 2], "{planned:#?}");
    assert_eq!(lists(), known);
    // A repository that cannot be reached ends it before anything is touched.
    lab.on("node3", "mv /srv/repo /srv/away");
    let unreachable = lab.muster(&packages(&[]));
    assert!(unreachable.code != 0 && unreachable.all().contains("/srv/repo"), "{unreachable:#?}");
    assert!(kubectl(&["get", "nodes"]).matches("SchedulingDisabled").count() == 0);
    lab.on("node3", "mv /srv/away /srv/repo");
    assert_eq!(boots(), before);

    // Killed when packages are new, and when the machine goes down.
    for mark in
        ["system-upgrade: Upgrade the packages: changed", "system-upgrade: Restart the machine: changed"]
    {
        let mut run = lab.start(&packages(&["-vv", "--output", "plain"]));
        run.until(mark);
        run.signal("KILL");
        run.end();
    }
    held(
        "controller killed",
        "SIGKILL while packages are upgraded and a machine restarts",
        2,
        "the same command finishes",
    );
    // One that is away when the next run begins is told as any other.
    sleep(Duration::from_secs(5));
    while lab.lab(&["ssh", "node3", "--", "true"]).code != 0 {
        sleep(Duration::from_secs(1));
    }
    let finished = done(lab.muster(&packages(&["-v"])));
    eprintln!("{}", finished.out);
    for (machine, (now, then)) in MACHINES.iter().zip(boots().iter().zip(&before)) {
        assert_ne!(now, then, "{machine}");
        assert_eq!(lab.on(machine, "dpkg-query -W tiny; cat /var/configured"), "tiny\t1.1\nconfigured\n");
        assert!(!lab.has(machine, "/run/reboot-required"));
    }
    let nodes = kubectl(&["get", "nodes", "--no-headers"]);
    assert_eq!(nodes.lines().filter(|line| line.contains(" Ready ")).count(), 3, "{nodes}");
    kubectl(&["rollout", "status", "deployment/app", "--timeout=60s"]);
    done(lab.muster(&["verify"]));
    let after = boots();
    for command in [&packages(&[])[..], &["upgrade-cluster", "-e", "system_upgrade=true"], &["setup-cluster"]]
    {
        let again = done(lab.muster(command));
        assert_eq!(MACHINES.map(|host| again.recap(host, "changed")), [0, 0, 0], "{again:#?}");
    }
    assert_eq!(boots(), after);
}
