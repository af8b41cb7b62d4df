//! Debian packages on a machine where somebody else installs some, too, or was interrupted; and a session that is lost
//! under a package whose installation takes long.

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

/// A source of two packages. Their configuration is noted, and lasts and fails as files say.
const SOURCE: &str = r#"
mkdir -p /srv/repo
for name in ethtool socat; do
  mkdir -p /srv/$name/DEBIAN /srv/$name/usr/sbin
  printf 'Package: %s\nVersion: 9:1\nArchitecture: all\nMaintainer: a test\nDescription: a test\n' $name >/srv/$name/DEBIAN/control
  printf '#!/bin/sh\necho %s >>/var/configured\nwhile [ -e /var/hold ]; do sleep 0.1; done\n[ ! -e /var/break ]\n' $name >/srv/$name/DEBIAN/postinst
  printf '#!/bin/sh\n' >/srv/$name/usr/sbin/$name
  chmod 755 /srv/$name/DEBIAN/postinst /srv/$name/usr/sbin/$name
  deb=/srv/repo/$name.deb
  dpkg-deb --build /srv/$name $deb
  cat /srv/$name/DEBIAN/control >>/srv/repo/Packages
  printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' $name $(stat -c %s $deb) $(sha256sum $deb | cut -d' ' -f1) >>/srv/repo/Packages
done
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list
dpkg --purge ethtool"#;

/// Somebody else begins to install a package and does not come to an end; ethtool is missing.
const OTHER: &str = "touch /var/hold && : >/var/configured && dpkg --purge ethtool && \
    systemd-run -q --unit other apt-get install -y --reinstall socat && \
    until grep -q socat /var/configured; do sleep 0.1; done";

const RUN: [&str; 5] = ["setup-cluster", "--tags", "bootstrap-os", "--output", "plain"];

fn bootstrap(lab: &Lab, options: &[&str]) -> Ended {
    lab.muster(&[&RUN[..], options].concat())
}

#[test]
fn packages_are_installed_once_whoever_else_is_at_them_and_whatever_ends_in_the_middle() {
    let lab = Lab::up(252, &["-n", "1"]);
    lab.on("node1", SOURCE);

    // The login user's session is lost, and logind ends everything in it; the package's configuration goes on.
    lab.on(
        "node1",
        "mkdir -p /etc/systemd/logind.conf.d && \
         printf '[Login]\nKillUserProcesses=yes\n' >/etc/systemd/logind.conf.d/kill.conf && \
         systemctl restart systemd-logind && touch /var/hold",
    );
    let admin = format!("admin@{}", lab.address(1));
    let mut run = lab.start(&[&RUN[..], &["-vvv", &admin]].concat());
    run.until("Setting up ethtool");
    // What a session leaves behind is ended, or this would show nothing.
    let left = "setsid sh -c '>/var/left; exec sleep 4711' </dev/null >/dev/null 2>&1 & until [ -e /var/left ]; do sleep 0.1; done";
    assert_eq!(lab.muster(&["exec", "node1", "--", left]).code, 0);
    lab.on("node1", "test -e /var/left && while pgrep -f '^sleep 4711'; do sleep 0.1; done");
    lab.on("node1", "pkill -KILL -f '^sshd: admin'");
    run.until("try 2 of 6");
    lab.on("node1", "rm /var/hold");
    let ended = run.end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(ended.out.contains("changed package ethtool (installed)"), "{ended:#?}");
    assert_eq!(lab.on("node1", "cat /var/configured"), "ethtool\n", "once");
    held(
        "session ended",
        "sshd of a sudo user killed under a detached step, with KillUserProcesses=yes",
        1,
        "the step goes on, is found again, and was started once",
    );

    // Somebody else installs packages: that is waited for, and told. Theirs is not done yet, either.
    lab.on("node1", OTHER);
    let mut run = lab.start(&[&RUN[..], &["-vvv"]].concat());
    run.until("It is held by process ");
    lab.on("node1", "rm /var/hold");
    let ended = run.end();
    assert_eq!((ended.code, ended.recap("node1", "changed")), (0, 2), "{ended:#?}");
    held(
        "dpkg locked",
        "apt-get of somebody else, for a while",
        1,
        "waited for, telling by whom; then installed",
    );

    // The machine loses its power while a package is configured: the tool is there, and the package is not done.
    lab.on("node1", "touch /var/hold && dpkg --purge ethtool");
    let mut run = lab.start(&[&RUN[..], &["-vvv"]].concat());
    run.until("Setting up ethtool");
    assert_eq!(lab.lab(&["kill", "node1"]).code, 0);
    assert_eq!(lab.lab(&["start", "node1"]).code, 0);
    lab.on("node1", "command -v ethtool && dpkg --audit | grep ethtool && rm /var/hold");
    let ended = run.end();
    assert_eq!((ended.code, ended.recap("node1", "changed")), (0, 1), "{ended:#?}");
    assert_eq!(lab.on("node1", "dpkg --audit"), "");
    held(
        "dpkg interrupted",
        "power lost in the configuration of a package that the run installs",
        1,
        "the run connects again when the machine is back, and finishes it",
    );

    // Somebody else comes to no end.
    lab.on("node1", OTHER);
    let ended = bootstrap(&lab, &["-e", "package_lock_timeout=2"]);
    assert_eq!(ended.code, 2, "{ended:#?}");
    let process = lab.on("node1", "systemctl show -p MainPID --value other");
    let holder = format!("held by process {} (apt-get)", process.trim());
    for told in ["package ethtool: ", &holder, "dpkg cannot go on: "] {
        assert!(ended.out.contains(told), "no {told:?} in {ended:#?}");
    }
    assert!(!lab.has("node1", "/usr/sbin/ethtool"));
    held(
        "dpkg locked",
        "apt-get of somebody else, for ever",
        1,
        "ends at package_lock_timeout, names the process",
    );

    // They are killed in the middle, and what they have left cannot be finished; then it can.
    lab.on("node1", "touch /var/break; systemctl kill -s KILL other; rm /var/hold");
    assert!(lab.on("node1", "dpkg --audit").contains("socat"), "nothing is interrupted");
    let ended = bootstrap(&lab, &[]);
    assert_eq!(ended.code, 2, "{ended:#?}");
    for told in ["installed socat package post-installation script", "repair the package that it names"] {
        assert!(ended.out.contains(told), "no {told:?} in {ended:#?}");
    }
    lab.on("node1", "rm /var/break");
    let ended = bootstrap(&lab, &[]);
    assert_eq!((ended.code, ended.recap("node1", "changed")), (0, 2), "{ended:#?}");
    assert_eq!(lab.on("node1", "dpkg --audit"), "");
    assert_eq!(bootstrap(&lab, &[]).recap("node1", "changed"), 0);
    held(
        "dpkg interrupted",
        "apt-get and dpkg killed in the configuration of a package, which fails or succeeds later",
        2,
        "finished first, or told with its words and the remedy",
    );
}
