//! Host keys: new, known, changed, revoked, certified.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use muster_engine::advice::{Advice, KnownHostKey};
use muster_engine::ssh::{HostKeyPolicy, Ssh, SshOptions, Target};
use muster_engine::transport::TransportError;
use muster_testkit::sshd::{self, Sshd, generate_key, public_key};

use crate::fixture::*;

fn know(sshd: &Sshd, line: &str) {
    let file = known_hosts(sshd);
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs::write(&file, format!("# comment\n\n{line}\n")).expect("known hosts");
}

fn name(sshd: &Sshd) -> String {
    format!("[{}]:{}", sshd.address(), sshd.port())
}

async fn refusal(ssh: &Ssh) -> TransportError {
    let error = run(ssh, "true").await.expect_err("a refusal");
    assert!(matches!(error, TransportError::HostKey { .. }) && !error.is_transient(), "{error:?}");
    error
}

fn strict(sshd: &Sshd) -> Ssh {
    Ssh::new(target(sshd), client(SshOptions { host_key_policy: HostKeyPolicy::Strict, ..options(sshd) }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_accepted_and_written_once_whoever_comes_first() {
    let sshd = Sshd::start();
    let shared = client(options(&sshd));
    let machines: Vec<Ssh> = (0..6).map(|_| Ssh::new(target(&sshd), Arc::clone(&shared))).collect();
    futures::future::join_all(machines.iter().map(|ssh| output(ssh, "true"))).await;
    // Another process would have read the file before; the lock and a second look keep it from writing again.
    output(&machine(&sshd), "true").await;
    let file = known_hosts(&sshd);
    let text = fs::read_to_string(&file).expect("known hosts");
    assert_eq!(text, format!("{} {}\n", name(&sshd), sshd.host_key_public("ed25519")));
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(file.parent().expect("a folder")).expect("a folder").permissions().mode() & 0o777,
        0o700
    );
    // OpenSSH reads what we wrote.
    let found =
        Command::new("ssh-keygen").args(["-F", &name(&sshd), "-f"]).arg(&file).output().expect("ssh-keygen");
    assert!(found.status.success());
    assert_eq!(output(&strict(&sshd), "echo known").await, "known\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused_where_the_user_says_so() {
    let sshd = Sshd::start();
    let error = refusal(&strict(&sshd)).await;
    assert!(
        error.to_string().contains("not known") && error.to_string().contains("ED25519 SHA256:"),
        "{error}"
    );
    assert_eq!(lines(&known_hosts(&sshd)), 0);
    assert!(!sshd.log().contains("Accepted"), "no credential was shown to it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_is_refused_until_the_user_says_the_machine_is_new() {
    let mut sshd = Sshd::start();
    output(&machine(&sshd), "true").await;
    let old = fingerprint(&sshd.host_key("ed25519"));
    sshd.reinstall();
    let error = refusal(&machine(&sshd)).await;
    let file = known_hosts(&sshd);
    let shown = error.to_string();
    assert!(shown.contains(&format!("{}:1 holds ED25519 {old}", file.display())), "{shown}");
    assert!(shown.contains(&format!("shows ED25519 {}", fingerprint(&sshd.host_key("ed25519")))), "{shown}");
    let remedy = Advice::ReplaceHostKey(Box::new(KnownHostKey {
        machine: "127.0.0.1".into(),
        file: file.display().to_string(),
        name: name(&sshd),
    }));
    assert!(matches!(&error, TransportError::HostKey { changed: true, .. }), "{error:?}");
    assert_eq!(error.remedy(), Some(&remedy));

    let new = Target { reimaged: true, ..target(&sshd) };
    assert_eq!(output(&Ssh::new(new, client(options(&sshd))), "echo in").await, "in\n");
    assert_eq!(
        fs::read_to_string(&file).expect("known hosts"),
        format!("{} {}\n", name(&sshd), sshd.host_key_public("ed25519"))
    );
    assert_eq!(output(&machine(&sshd), "echo in").await, "in\n", "from now on it is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_only_looks_writes_no_keys_down_and_one_that_follows_does() {
    let mut sshd = Sshd::start();
    output(&machine(&sshd), "true").await;
    let old = fs::read_to_string(known_hosts(&sshd)).expect("known hosts");
    sshd.reinstall();
    let other = sshd.dir().join("client/other");
    let client = client(options(&sshd));
    client.only_looks(true);
    let new = Ssh::new(Target { reimaged: true, ..target(&sshd) }, client.clone());
    assert_eq!(output(&new, "echo in").await, "in\n");
    let beside =
        Ssh::new(Target { user_known_hosts: Some(vec![other.clone()]), ..target(&sshd) }, client.clone());
    assert_eq!(output(&beside, "echo in").await, "in\n");
    assert_eq!(fs::read_to_string(known_hosts(&sshd)).expect("known hosts"), old);
    assert!(!other.exists());
    client.only_looks(false);
    let line = format!("{} {}\n", name(&sshd), sshd.host_key_public("ed25519"));
    for file in [known_hosts(&sshd), other] {
        assert_eq!(fs::read_to_string(&file).expect("known hosts"), line, "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_checks_off_a_changed_key_passes_and_nothing_is_written() {
    let mut sshd = Sshd::start();
    output(&machine(&sshd), "true").await;
    let before = fs::read_to_string(known_hosts(&sshd)).expect("known hosts");
    sshd.reinstall();
    let off = Target { host_key_policy: Some(HostKeyPolicy::Off), ..target(&sshd) };
    assert_eq!(output(&Ssh::new(off, client(options(&sshd))), "echo in").await, "in\n");
    assert_eq!(fs::read_to_string(known_hosts(&sshd)).expect("known hosts"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_even_with_checks_off() {
    let sshd = Sshd::start();
    let key = sshd.host_key_public("ed25519");
    know(&sshd, &format!("@revoked * {key}\n{} {key}", name(&sshd)));
    let error = refusal(&machine(&sshd)).await;
    assert!(error.to_string().contains(&format!("revoked by {}:3", known_hosts(&sshd).display())), "{error}");
    let off = Target { host_key_policy: Some(HostKeyPolicy::Off), ..target(&sshd) };
    refusal(&Ssh::new(off, client(options(&sshd)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashed_names_are_found() {
    let sshd = Sshd::start();
    know(&sshd, &format!("{} {}", name(&sshd), sshd.host_key_public("ed25519")));
    sshd::run(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(known_hosts(&sshd)));
    assert!(fs::read_to_string(known_hosts(&sshd)).expect("known hosts").contains("|1|"));
    assert_eq!(output(&strict(&sshd), "echo in").await, "in\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_several_keys_shows_the_one_we_know() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let sshd = Sshd::builder().host_keys(&["ed25519", "ecdsa", "rsa"]).start();
        know(&sshd, &format!("{} {}", name(&sshd), sshd.host_key_public(kind)));
        assert_eq!(output(&strict(&sshd), "echo in").await, "in\n", "{kind}");
        assert_eq!(lines(&known_hosts(&sshd)), 3, "nothing was added");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_kind_is_a_changed_key() {
    let sshd = Sshd::builder().host_keys(&["ecdsa"]).start();
    let other = sshd.dir().join("other");
    generate_key(&other, "ed25519", "");
    know(&sshd, &format!("{} {}", name(&sshd), public_key(&other)));
    let error = refusal(&machine(&sshd)).await;
    assert!(
        error.to_string().contains("shows ECDSA SHA256:")
            && error.to_string().contains("holds ED25519 SHA256:"),
        "{error}"
    );
}

/// A server whose host key a CA certified with these arguments of ssh-keygen.
fn certified(arguments: &[&str]) -> (Sshd, std::path::PathBuf) {
    let mut sshd = Sshd::start();
    let authority = sshd.dir().join("ca");
    generate_key(&authority, "ed25519", "");
    sshd::run(
        Command::new("ssh-keygen")
            .arg("-qs")
            .arg(&authority)
            .args(["-I", "machine"])
            .args(arguments)
            .arg(sshd.host_key("ed25519").with_extension("pub")),
    );
    let line = format!("HostCertificate {}-cert.pub", sshd.host_key("ed25519").display());
    sshd.restart_with(&[&line]);
    (sshd, authority)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_machine_needs_no_line_of_its_own() {
    let (sshd, authority) = certified(&["-h", "-n", "127.0.0.1,name.lab"]);
    know(&sshd, &format!("@cert-authority 127.0.0.*,!127.0.0.9 {}", public_key(&authority)));
    assert_eq!(output(&strict(&sshd), "echo in").await, "in\n");
    assert_eq!(lines(&known_hosts(&sshd)), 3, "nothing was added");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_hold_is_refused_with_the_reason() {
    for (arguments, reason) in [
        (&["-h", "-n", "other.lab"][..], "it is for other.lab, not for 127.0.0.1"),
        (&["-h", "-n", "127.0.0.1", "-V", "20200101:20200102"], "it has expired"),
        (&["-h", "-n", "127.0.0.1", "-V", "20990101:20990102"], "not valid yet"),
    ] {
        let (sshd, authority) = certified(arguments);
        know(&sshd, &format!("@cert-authority * {}", public_key(&authority)));
        let error = refusal(&machine(&sshd)).await;
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_authority_certifies_nothing() {
    let (sshd, authority) = certified(&["-h", "-n", "127.0.0.1"]);
    let authority = public_key(&authority);
    know(&sshd, &format!("@cert-authority * {authority}\n@revoked * {authority}"));
    assert!(refusal(&machine(&sshd)).await.to_string().contains("revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_authority_a_certified_key_is_a_plain_one() {
    let (sshd, _) = certified(&["-h", "-n", "127.0.0.1"]);
    refusal(&strict(&sshd)).await;
    assert_eq!(output(&machine(&sshd), "echo in").await, "in\n");
    assert_eq!(
        fs::read_to_string(known_hosts(&sshd)).expect("known hosts"),
        format!("{} {}\n", name(&sshd), sshd.host_key_public("ed25519"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_what_the_key_is_known_under() {
    let sshd = Sshd::start();
    let aliased = || Target { host_key_alias: Some("node1".to_owned()), ..target(&sshd) };
    assert_eq!(output(&Ssh::new(aliased(), client(options(&sshd))), "echo in").await, "in\n");
    assert!(fs::read_to_string(known_hosts(&sshd)).expect("known hosts").starts_with("node1 ssh-ed25519 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_is_a_warning() {
    let sshd = Sshd::start();
    // Nobody can make a folder there, not even root.
    let shared =
        client(SshOptions { known_hosts: vec!["/proc/nowhere/known_hosts".into()], ..options(&sshd) });
    assert_eq!(output(&Ssh::new(target(&sshd), Arc::clone(&shared)), "echo in").await, "in\n");
    let warnings = shared.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("could not be written down"), "{warnings:?}");
}

fn fingerprint(private: &Path) -> String {
    let output = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(private.with_extension("pub"))
        .output()
        .expect("ssh-keygen");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.split(' ').nth(1).expect("a fingerprint").to_owned()
}
