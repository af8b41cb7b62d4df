//! `muster copy`, to machines that are this one: a real sshd on loopback, and paths in the test's own folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_testkit::sshd::Sshd;

use crate::fixture::muster;
use crate::machines::project;

/// This machine, which one run locks at a time.
fn this_machine() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_text_is_copied_once_and_differences_are_shown() {
    let _alone = this_machine();
    let sshd = Sshd::start();
    let test = project(&sshd, muster()).file("motd", "hello\nit's 'quoted' $HOME\n");
    let target = test.folder().join("machine/etc/motd");
    let to = target.display().to_string();
    let checked = test.run(&["copy", "all", "motd", &to, "--check", "--diff"]).code(0);
    assert_eq!(
        checked.stdout,
        "node1 | would change: created\n--- PROJECT/machine/etc/motd\n+++ PROJECT/machine/etc/motd\n\
         @@ -0,0 +1,2 @@\n+hello\n+it's 'quoted' $HOME\n"
    );
    assert!(!target.exists(), "checking changes nothing");
    let copy =
        |arguments: &[&str]| test.run(&[&["copy", "all", "motd", &to], arguments].concat()).code(0).stdout;
    assert_eq!(copy(&[]), "node1 | changed: created\n");
    assert_eq!(fs::read(&target).unwrap(), fs::read(test.folder().join("motd")).unwrap());
    assert_eq!(copy(&[]), "node1 | ok\n");
    assert_eq!(copy(&["--mode", "600"]), "node1 | changed: mode 0644 -> 0600\n");
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn bytes_of_any_size_are_copied_with_the_mode_they_have_here() {
    let _alone = this_machine();
    let sshd = Sshd::start();
    let test = project(&sshd, muster()).file("program", "");
    let source = test.folder().join("program");
    // More than a program for sh could hold in an argument, and nothing that is text.
    let bytes: Vec<u8> = (0..300_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(&source, &bytes).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).unwrap();
    let folder = format!("{}/", test.folder().join("machine").display());
    let copy = || test.run(&["copy", "all", "program", &folder]).code(0).stdout;
    assert_eq!(copy(), "node1 | changed: created\n");
    let target = test.folder().join("machine/program");
    assert!(fs::read(&target).unwrap() == bytes, "the same bytes");
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(copy(), "node1 | ok\n");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(copy(), "node1 | changed: mode 0700 -> 0755\n");
    fs::write(&target, "other").unwrap();
    assert_eq!(copy(), "node1 | changed: content\n");
    assert!(fs::read(&target).unwrap() == bytes);
    let files: Vec<_> = fs::read_dir(test.folder().join("machine")).unwrap().collect();
    assert_eq!(files.len(), 1, "no leftovers: {files:?}");
}

#[test]
fn what_cannot_be_copied_is_said_before_a_machine_is_contacted() {
    let test = muster().file("inventory/hosts.ini", "node1 ansible_host=192.0.2.1\n").file("motd", "");
    let copy = |arguments: &[&str]| test.run(&[&["copy"], arguments].concat());
    copy(&["all", "motd", "etc/motd"]).code(5).stderr_has(&["etc/motd is not an absolute path"]);
    copy(&["all", "inventory", "/etc/"]).code(5).stderr_has(&["inventory is not a regular file"]);
    copy(&["all", "mtod", "/etc/motd"]).code(1).stderr_has(&["error: mtod: No such file or directory"]);
    copy(&["all", "motd", "/etc/motd", "--mode", "999"]).code(5).stderr_has(&["permission bits are octal"]);
    copy(&["node2", "motd", "/etc/motd"]).code(5).stderr_has(&["node2"]);
}

#[test]
fn a_machine_where_it_fails_or_that_is_off_is_told_with_the_reason() {
    let _alone = this_machine();
    let mut sshd = Sshd::start();
    let test = project(&sshd, muster()).file("motd", "hello\n").file("machine/motd/inside", "");
    let to = test.folder().join("machine/motd").display().to_string();
    let ended = test.run(&["copy", "all", "motd", &to]).code(2);
    ended.stdout_has(&["node1 | failed\n  file PROJECT/machine/motd: PROJECT/machine/motd is a directory"]);
    sshd.stop();
    test.run(&["copy", "all", "motd", &to])
        .code(4)
        .stdout_has(&["node1 | unreachable\n  connection refused", "hint: "]);
}
