//! Machines that another run has locked: a real sshd on loopback, whose programs keep their state in the test's folder.

use std::fs;

use muster_testkit::sshd::Sshd;

use crate::fixture::{Test, setup_cluster};

/// A machine that anna has locked a moment ago. Only the role that looks, and brings files to this side, is run.
fn locked() -> (Sshd, Test) {
    let test = setup_cluster().bundle();
    let state = test.folder().join("machine");
    let here = format!(
        "ForceCommand sed -u 's|/var/lib/muster|{}|g' | /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"",
        state.display()
    );
    let sshd = Sshd::builder().line(&here).start();
    let line = format!(
        "node1 ansible_host={} ansible_port={} ansible_user={} ansible_ssh_private_key_file={}\n",
        sshd.address(),
        sshd.port(),
        sshd.user(),
        sshd.key().display()
    );
    let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let now = uptime.split('.').next().unwrap();
    let lock = format!("cafe {} {now}\nanna@desk (pid 7)\nsetup-cluster\nelsewhere 7 7\n", boot.trim());
    let test = test
        .file("inventory/hosts.ini", &(line + groups))
        .file("machine/lock/fence.3", &lock)
        .set("MUSTER_KNOWN_HOSTS", known_hosts);
    (sshd, test)
}

const RUN: [&str; 5] = ["--bundle", "bundle", "--offline", "--tags", "kubeconfig"];

#[test]
fn a_second_controller_is_told_who_works_on_the_machine_and_ends_with_75() {
    let (_sshd, test) = locked();
    let ended = test.run(&[&RUN[..], &["--output", "plain"]].concat()).code(75);
    let ended = ended.stdout_has(&[
        "✘ node1\n  locked by anna@desk (pid 7) with setup-cluster, since ",
        "hint: wait until that run has ended (--lock-timeout SECONDS waits); if it is gone for good: muster unlock",
        "failed=1",
    ]);
    assert_eq!(ended.stdout.matches("locked by anna").count(), 1, "{}", ended.stdout);
    let waited = test.run(&[&RUN[..], &["--lock-timeout", "1", "--output", "jsonl"]].concat()).code(75);
    waited.stdout_has(&[
        "\"event\":\"waiting\"",
        "\"what\":\"the lock, held by anna@desk (pid 7) with setup-cluster",
    ]);
    // Who only looks is in nobody's way.
    test.run(&[&RUN[..], &["--check"]].concat()).code(0);
    assert_eq!(fs::read_dir(test.folder().join("machine/lock")).unwrap().count(), 1, "nothing was written");
}

#[test]
fn a_lock_is_shown_and_broken() {
    let (_sshd, test) = locked();
    let test = test.with("muster");
    let unlock = |options: &[&str]| test.run(&[&["unlock"], options].concat());
    unlock(&[])
        .code(5)
        .stdout_has(&["! node1  locked by anna@desk (pid 7) with setup-cluster, since "])
        .stderr_has(&[
            "error: there is no terminal to ask whether the locks are to be broken",
            "hint: to break them all the same: --yes",
        ]);
    assert!(test.folder().join("machine/lock/fence.3").exists(), "showing changes nothing");
    unlock(&["--yes"]).code(0).stdout_has(&["✔ node1  the lock is broken\n"]);
    assert!(unlock(&[]).code(0).stdout.ends_with("✔ node1  free\n"));
    test.with("setup-cluster").run(&RUN).code(0);
}
