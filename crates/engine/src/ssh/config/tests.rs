//! Answers of the installed ssh, and how often it is asked for them.

use muster_testkit::program;
use tempfile::TempDir;

use super::*;

/// A configuration in a file, and an ssh that counts how often it is started.
struct Asked {
    dir: TempDir,
    config: SshConfig,
}

fn asked(text: &str) -> Asked {
    let dir = tempfile::tempdir().expect("temporary directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("config"), text.replace("DIR", &dir.path().display().to_string())).expect("a file");
    program::write(&dir.path().join("ssh"), &format!("#!/bin/sh\necho >>{}\nexec ssh \"$@\"\n", at("count")));
    let config = SshConfig { program: at("ssh").into(), ..SshConfig::none(Some(Path::new("/home/me"))) };
    Asked { dir, config }
}

impl Asked {
    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).expect("a file");
        self
    }

    fn try_of(&self, host: &str) -> Result<Arguments, String> {
        let file = Some(self.dir.path().join("config"));
        let mut said = Arguments { config_file: file, ..Arguments::default() };
        self.config.complete(host, &mut said).map(|()| said)
    }

    fn of(&self, host: &str) -> Arguments {
        self.try_of(host).unwrap_or_else(|error| panic!("{error}"))
    }

    /// How often ssh was started.
    fn count(&self) -> usize {
        std::fs::read_to_string(self.dir.path().join("count")).map_or(0, |text| text.lines().count())
    }
}

#[test]
fn what_the_files_say_and_nothing_that_ssh_says_by_itself() {
    let asked = asked("Host node*\n HostName %h.lab\n User admin\n IdentityFile ~/.ssh/lab\n");
    let said = asked.of("node1");
    assert_eq!((said.host_name.as_deref(), said.user.as_deref()), (Some("node1.lab"), Some("admin")));
    assert_eq!(
        said.identity_files,
        [Path::new("/home/me/.ssh/lab")],
        "the default ones are not the user's words"
    );
    // But for the user: there ssh has the last word.
    let other = Arguments { user: None, ..asked.of("other") };
    let nothing = Arguments { config_file: said.config_file, ..Arguments::default() };
    assert_eq!(format!("{other:?}"), format!("{nothing:?}"));
}

#[test]
fn hosts_that_match_the_same_patterns_cost_one_question() {
    let asked =
        asked("Host github.com\n User git\nHost node* !node7\n Port 2222\nHost *\n ServerAliveInterval 5\n");
    for n in 0..500 {
        let said = asked.of(&format!("node{n}"));
        assert_eq!(said.port, (n != 7).then_some(2222), "node{n}");
        assert_eq!(said.keepalive, Some(Duration::from_secs(5)));
        assert_eq!(said.host_name, None);
    }
    // The defaults, the nodes, and the one that is not.
    assert_eq!(asked.count(), 3);
}

#[test]
fn answers_that_hold_the_host_s_name_are_its_own() {
    let asked = asked("Host node*\n HostName %h.lab\n UserKnownHostsFile DIR/%n\n");
    for n in 1..4 {
        let said = asked.of(&format!("node{n}"));
        assert_eq!(said.host_name, Some(format!("node{n}.lab")));
    }
    assert_eq!(asked.count(), 4);
}

#[test]
fn match_is_left_to_ssh() {
    let asked = asked("Match exec \"test %n = node2\"\n User second\nMatch all\n User anybody\n");
    assert_eq!(asked.of("node1").user.as_deref(), Some("anybody"));
    assert_eq!(asked.of("node2").user.as_deref(), Some("second"));
}

#[test]
fn files_without_anything_that_is_followed_cost_no_question() {
    let asked = asked("Include DIR/more-*\nHost *\n SendEnv LANG\n HashKnownHosts yes\n");
    let asked = asked.file("more-1", "ForwardAgent yes\n").file("less", "User nobody\n");
    assert_eq!(asked.of("node1").user, None);
    assert_eq!(asked.count(), 0);
    assert_eq!(SshConfig::none(None).complete("node1", &mut Arguments::default()), Ok(()));
}

#[test]
fn included_files_count() {
    let asked =
        asked("Include DIR/more-*\nHost *\n SendEnv LANG\n").file("more-1", "Host node1\n Port 2222\n");
    assert_eq!((asked.of("node1").port, asked.of("node2").port), (Some(2222), None));
}

#[test]
fn a_configuration_that_ssh_does_not_accept_is_told_in_its_words() {
    let asked = asked("Host *\n User me\n Prot 22\n");
    let error = asked.try_of("node1").expect_err("a mistake");
    assert!(error.contains("line 3: Bad configuration option: prot"), "{error}");
    let absent = Arguments { config_file: Some("/no/config".into()), ..Arguments::default() };
    let error = asked.config.complete("node1", &mut { absent }).expect_err("nothing there");
    assert!(error.contains("/no/config"), "{error}");
}

#[test]
fn without_ssh_a_warning_says_so_once() {
    let mut asked = asked("User me\n");
    asked.config.program = "/no/ssh".into();
    assert_eq!((asked.of("node1").user, asked.of("node2").user), (None, None));
    let warnings = asked.config.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("openssh-client"), "{warnings:?}");
}
