//! What package managers say, in their own words and in every shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

const APT: &str = "manager apt-get\nboot b00t\nrestart\nReading package lists...\n\
    Inst base-files [12.4+deb12u5] (12.4+deb12u6 Debian:12.6/stable [amd64])\n\
    Inst linux-image-6.1.0-22-amd64 (6.1.94-1 Debian-Security:12/stable [amd64])\n\
    Remv old-library [1.0-2]\nConf base-files (12.4+deb12u6 Debian:12.6/stable [amd64])\nwhole\n";

const DNF: &str = "manager dnf\nboot b00t\n\nbash.x86_64      5.1.8-9.el9      baseos\n\
    kernel.x86_64    5.14.0-503.el9   baseos\nObsoleting Packages\nnew.noarch   2-1   appstream\n    old.noarch 1-1 @System\nwhole\n";

#[test]
fn what_is_newer_is_told_by_each_package_manager() {
    let apt = Found::parse(APT).unwrap();
    assert_eq!((apt.boot.as_str(), apt.restart, apt.unfinished), ("b00t", true, false));
    assert_eq!(
        apt.packages,
        [
            "base-files 12.4+deb12u5 -> 12.4+deb12u6",
            "linux-image-6.1.0-22-amd64 6.1.94-1 is installed",
            "old-library is removed"
        ]
    );
    let dnf = Found::parse(DNF).unwrap();
    assert_eq!(dnf.packages, ["bash.x86_64 -> 5.1.8-9.el9", "kernel.x86_64 -> 5.14.0-503.el9"]);
    assert_eq!(Found::parse(&DNF.replace("whole\n", "")), None, "cut off");
    let nothing = Found::parse("manager apt-get\nboot b\nwhole\n").unwrap();
    assert!(!nothing.has_work() && !nothing.restarts(Reboot::OnUpgrade) && nothing.restarts(Reboot::Always));
    assert!(apt.restarts(Reboot::OnUpgrade) && !apt.restarts(Reboot::Never));
    assert!(Found::parse("manager apt-get\nboot b\nunfinished\nwhole\n").unwrap().has_work());
}

#[test]
fn a_package_manager_that_is_not_known_is_refused_by_its_name() {
    let found = |manager: &str| not_known(manager).map(|problem| problem.found);
    assert_eq!(["apt-get", "dnf", "yum"].map(found), [None, None, None]);
    assert!(found("zypper").unwrap().ends_with("those of the machine are zypper's"));
    assert!(found("none").unwrap().ends_with("the machine has no package manager"));
}

/// What a program prints, and which commands were called, where these programs are there: name and text.
fn called(text: &'static str, last: &str, programs: &[(&str, &str)]) -> Vec<(i32, String, String)> {
    let shells = [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]];
    let run = |shell: &&[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        for (name, text) in programs {
            let file = folder.path().join(name);
            fs::write(&file, format!("#!/bin/sh\necho \"$(basename $0) $*\" >>{path}/called\n{text}\n"))
                .unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for name in ["sed", "grep", "mktemp", "mkdir", "rm", "cat", "basename", "date"] {
            let real = ["/usr/bin", "/bin"].map(|at| format!("{at}/{name}"));
            let real = real.iter().find(|path| fs::metadata(path).is_ok()).unwrap();
            std::os::unix::fs::symlink(real, folder.path().join(name)).unwrap();
        }
        let text = text.replace("/run/muster-packages-upgraded", &format!("{path}/upgraded"));
        let shell_path = std::env::var("PATH").unwrap();
        let program = shell_path
            .split(':')
            .map(|at| format!("{at}/{}", shell[0]))
            .find(|at| fs::metadata(at).is_ok())?;
        let mut command = Command::new(program);
        command.args(&shell[1..]).args(["-c", &format!("set -eu\n{text}"), "sh"]);
        let out =
            command.args(["300", "http://192.0.2.9:3128", "", "", last]).env("PATH", &path).output().ok()?;
        let called = fs::read_to_string(folder.path().join("called")).unwrap_or_default();
        let out_text = String::from_utf8(out.stdout).unwrap();
        Some((
            out.status.code().unwrap(),
            out_text + &String::from_utf8(out.stderr).unwrap(),
            called.replace(&path, ""),
        ))
    };
    let all: Vec<_> = shells.iter().filter_map(run).collect();
    assert!(all.len() > 1);
    all
}

#[test]
fn apt_is_asked_aside_where_nothing_may_be_another_one_and_does_it_otherwise() {
    let apt =
        ("apt-get", "case $* in *-s*) echo 'Inst a [1] (2 local [all])' ;; esac; echo \"$http_proxy\" >&2");
    for (status, said, called) in called(packages!("look.sh"), "aside", &[apt]) {
        assert_eq!(status, 0, "{said}");
        let found = Found::parse(&said).unwrap();
        assert_eq!(found.packages, ["a 1 -> 2"]);
        assert!(said.contains("http://192.0.2.9:3128"), "{said}");
        let lines: Vec<&str> = called.lines().filter(|line| line.starts_with("apt-get")).collect();
        assert!(
            lines.len() == 2 && lines.iter().all(|line| line.contains("Dir::State::lists=/")),
            "{called}"
        );
    }
    for (status, said, called) in called(packages!("look.sh"), "", &[apt]) {
        assert_eq!((status, Found::parse(&said).unwrap().packages.len()), (0, 1), "{said}");
        assert!(!called.contains("Dir::State::lists") && !called.contains("update"), "{called}");
    }
    let down = ("apt-get", "exit 100");
    for last in ["aside", ""] {
        for (status, said, _) in called(packages!("look.sh"), last, &[down]) {
            assert!(status != 0 && Found::parse(&said).is_none(), "{status} {said}");
        }
    }
    for (status, said, called) in called(packages!("upgrade.sh"), "true", &[apt, ("dpkg", "")]) {
        assert_eq!(status, 0, "{said}");
        let words: Vec<&str> = called.lines().filter_map(|line| line.split(' ').next_back()).collect();
        assert_eq!(words, ["-a", "dist-upgrade", "autoclean"], "{called}");
    }
}

#[test]
fn dnf_says_by_its_status_that_something_is_newer_and_the_restart_is_its_own_or_follows_every_upgrade() {
    let dnf = ("dnf", "case $* in *check-update*) echo 'a.noarch 2 local'; exit 100 ;; esac");
    for (status, said, _) in called(packages!("look.sh"), "aside", &[dnf]) {
        assert_eq!(status, 0, "{said}");
        let found = Found::parse(&said).unwrap();
        assert_eq!((found.packages, found.restart), (vec!["a.noarch -> 2".to_owned()], false));
    }
    for (answer, restart) in [("exit 1", true), ("exit 0", false), ("exit 2", false)] {
        for (_, said, _) in called(packages!("look.sh"), "", &[dnf, ("needs-restarting", answer)]) {
            assert_eq!(Found::parse(&said).unwrap().restart, restart, "{answer}: {said}");
        }
    }
    let both = concat!(include_str!("packages.sh"), include_str!("upgrade.sh"), include_str!("look.sh"));
    for (_, said, called) in called(both, "false", &[dnf]) {
        assert!(
            Found::parse(&said).unwrap().restart && called.contains("dnf -y upgrade\n"),
            "{said}{called}"
        );
    }
    let old = called(packages!("look.sh"), "", &[("yum", "exit 1")]);
    assert!(old.iter().all(|(status, said, _)| *status == 1 && said.contains("manager yum")), "{old:?}");
}
