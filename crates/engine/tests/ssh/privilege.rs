//! Users that are not root, with login shells of every kind, and the real sudo and doas.

use std::fs;

use muster_engine::ssh::{Privilege, Ssh, Target};
use muster_engine::transport::TransportError;
use muster_testkit::account::Account;
use muster_testkit::sshd::Sshd;
use tokio::io::AsyncReadExt;

use crate::fixture::*;

const PASSWORD: &str = "pass word$1'";
const FREE: &str = "USER ALL=(ALL) NOPASSWD: ALL";
const ASKING: &str = "USER ALL=(ALL) ALL";

fn login(sshd: &Sshd, account: &Account, privilege: Privilege) -> Ssh {
    let target = Target { user: account.name().to_owned(), privilege, ..target(sshd) };
    Ssh::new(target, client(options(sshd)))
}

fn sudo(password: Option<&str>) -> Privilege {
    Privilege::Sudo { password: password.map(Into::into) }
}

/// Programs run as root and get what they are sent, the first one and those after it.
async fn becomes_root(ssh: &Ssh, how: &str) {
    for round in 0..2 {
        let shown = output(ssh, "id -u; printf '%s\\n' \"it's\" '\\n' '$HOME!'").await;
        assert!(shown.ends_with("0\nit's\n\\n\n$HOME!\n"), "{how}, round {round}: {shown:?}");
        let data = Box::new(tokio::io::repeat(7).take(1_000_000));
        let exit = send(ssh, "wc -c; id -u", data).await.unwrap_or_else(|error| panic!("{how}: {error}"));
        assert!(exit.stdout.ends_with(b"1000000\n0\n"), "{how}, round {round}: {exit:?}");
    }
    assert_eq!(ssh.counters().handshakes, 1, "{how}");
}

async fn refused(ssh: &Ssh) -> (String, String) {
    let error = run(ssh, "echo ran").await.expect_err("an error");
    assert!(matches!(error, TransportError::Privilege { .. }) && !error.is_transient(), "{error:?}");
    (error.to_string(), format!("{:?}", error.remedy()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_shell_runs_our_programs_whatever_it_says_at_login() {
    let sshd = Sshd::start();
    for shell in ["/bin/dash", "/bin/bash", "/usr/bin/fish", "/bin/tcsh", "/bin/bsd-csh", "/bin/zsh"] {
        let Some(mut account) = Account::new(shell, PASSWORD) else { continue };
        fs::create_dir_all(account.home().join(".config/fish")).expect("a folder");
        for file in [".bashrc", ".cshrc", ".tcshrc", ".zshenv", ".config/fish/config.fish"] {
            fs::write(account.home().join(file), "echo welcome\n").expect("a file");
        }
        if account.sudoers(&[FREE]) {
            becomes_root(&login(&sshd, &account, sudo(None)), shell).await;
        }
        if account.sudoers(&["Defaults:USER lecture=always, timestamp_timeout=0", ASKING]) {
            becomes_root(&login(&sshd, &account, sudo(Some(PASSWORD))), shell).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_in_a_terminal_of_its_own_passes_everything_on() {
    let Some(mut account) = Account::new("/bin/sh", PASSWORD) else { return };
    let sshd = Sshd::start();
    if account.sudoers(&["Defaults:USER use_pty", FREE]) {
        becomes_root(&login(&sshd, &account, sudo(None)), "use_pty").await;
    }
    if account.sudoers(&["Defaults:USER use_pty, timestamp_timeout=0", ASKING]) {
        becomes_root(&login(&sshd, &account, sudo(Some(PASSWORD))), "use_pty with a password").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doas_without_a_password_is_enough() {
    let Some(mut account) = Account::new("/bin/sh", PASSWORD) else { return };
    let sshd = Sshd::start();
    if account.doas(&["permit nopass USER as root"]) {
        becomes_root(&login(&sshd, &account, Privilege::Doas), "doas").await;
        let Some(other) = Account::new("/bin/sh", PASSWORD) else { return };
        let (error, remedy) = refused(&login(&sshd, &other, Privilege::Doas)).await;
        assert!(
            error.contains("Operation not permitted") && remedy.contains("permit nopass"),
            "{error}; {remedy}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_us_from_becoming_root_is_told_with_a_remedy() {
    let Some(mut account) = Account::new("/bin/sh", PASSWORD) else { return };
    let sshd = Sshd::start();
    if !account.sudoers(&["Defaults:USER requiretty", FREE]) {
        return;
    }
    let (error, remedy) = refused(&login(&sshd, &account, sudo(None))).await;
    assert!(error.contains("must have a tty") && remedy.contains("requiretty"), "{error}; {remedy}");

    account.sudoers(&[ASKING]);
    let (error, remedy) = refused(&login(&sshd, &account, sudo(None))).await;
    assert!(
        error.contains("password is required") && remedy.contains("GiveBecomePassword"),
        "{error}; {remedy}"
    );
    let (error, _) = refused(&login(&sshd, &account, sudo(Some("wrong")))).await;
    assert!(error.contains("sudo refused the password") && !error.contains("wrong"), "{error}");

    account.sudoers(&["# nothing for USER"]);
    let (error, remedy) = refused(&login(&sshd, &account, sudo(Some(PASSWORD)))).await;
    assert!(
        error.contains("not in the sudoers file") && remedy.contains("/etc/sudoers.d"),
        "{error}; {remedy}"
    );

    let Some(closed) = Account::new("/usr/sbin/nologin", PASSWORD) else { return };
    let (error, remedy) = refused(&login(&sshd, &closed, sudo(None))).await;
    assert!(error.contains("not available") && remedy.contains("usermod -s /bin/sh"), "{error}; {remedy}");
}
