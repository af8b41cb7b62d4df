//! Logging in: keys, the agent, certificates, jump hosts, and what is said when nothing is accepted.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use muster_engine::advice::Advice;
use muster_engine::ssh::{AskPassphrase, Ssh, SshOptions, Target};
use muster_engine::transport::TransportError;
use muster_testkit::sshd::{self, Agent, Sshd, generate_key, public_key};
use secrecy::SecretString;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_let_us_in() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let key = dir.path().join("key");
        generate_key(&key, kind, "");
        let sshd = Sshd::builder().authorize(&public_key(&key)).start();
        let ssh = Ssh::new(Target { identity_files: vec![key], ..target(&sshd) }, client(options(&sshd)));
        assert_eq!(output(&ssh, "echo in").await, "in\n", "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_run_serve_machines_that_name_none() {
    let sshd = Sshd::start();
    let options = SshOptions { identity_files: vec!["/nowhere/id_rsa".into(), sshd.key()], ..options(&sshd) };
    let ssh = Ssh::new(Target { identity_files: Vec::new(), ..target(&sshd) }, client(options));
    assert_eq!(output(&ssh, "echo in").await, "in\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_what_was_tried_in_order_and_what_was_not() {
    let sshd = Sshd::start();
    let dir = tempfile::tempdir().expect("temporary directory");
    let (one, two, locked) = (dir.path().join("one"), dir.path().join("two"), dir.path().join("locked"));
    generate_key(&one, "ed25519", "");
    generate_key(&two, "ecdsa", "");
    generate_key(&locked, "ed25519", "open sesame");
    let broken = dir.path().join("broken");
    std::fs::write(&broken, "no key\n").expect("a file");
    let files = vec![
        one.clone(),
        dir.path().join("absent"),
        locked.clone(),
        two.clone(),
        broken.clone(),
        dir.path().join("locked.pub"),
    ];
    let ssh = Ssh::new(Target { identity_files: files, ..target(&sshd) }, client(options(&sshd)));
    let error = run(&ssh, "true").await.expect_err("an error");
    assert!(matches!(error, TransportError::Refused { .. }) && !error.is_transient(), "{error:?}");
    let at = |path: &Path| path.display().to_string();
    let shown = error.to_string();
    assert!(shown.contains(&format!("tried: key {}, key {};", at(&one), at(&two))), "{shown}");
    assert!(shown.contains(&format!("{} does not exist", at(&dir.path().join("absent")))), "{shown}");
    assert!(shown.contains(&format!("{} is encrypted", at(&locked))), "{shown}");
    assert!(shown.contains(&format!("{}: not a private key", at(&broken))), "{shown}");
    assert!(shown.contains("locked.pub: a public key"), "{shown}");
    assert!(format!("{:?}", error.remedy()).contains("ssh-copy-id"), "{error:?}");
    assert_eq!(sshd.log().matches("Connection from").count(), 1, "a refusal is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_try_it_says_so() {
    let sshd = Sshd::start();
    let ssh = Ssh::new(Target { identity_files: Vec::new(), ..target(&sshd) }, client(options(&sshd)));
    let error = run(&ssh, "true").await.expect_err("an error");
    assert!(error.to_string().contains("nothing to try"), "{error}");
    assert_eq!(error.remedy(), Some(&Advice::GivePrivateKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_keys_than_the_server_takes_end_in_a_refusal_not_in_retries() {
    let sshd = Sshd::builder().line("MaxAuthTries 2").start();
    let dir = tempfile::tempdir().expect("temporary directory");
    let keys: Vec<_> = (0..4).map(|n| dir.path().join(format!("key{n}"))).collect();
    keys.iter().for_each(|key| generate_key(key, "ed25519", ""));
    let ssh = Ssh::new(Target { identity_files: keys, ..target(&sshd) }, client(options(&sshd)));
    let error = run(&ssh, "true").await.expect_err("an error");
    assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("Too many authentication failures"), "{error}");
    assert_eq!(sshd.log().matches("Connection from").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_is_asked_for_once_however_many_machines_use_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let key = dir.path().join("key");
    generate_key(&key, "ed25519", "open sesame");
    let sshd = Sshd::builder().authorize(&public_key(&key)).start();
    let asked = Arc::new(AtomicUsize::new(0));
    let ask: AskPassphrase = Arc::new({
        let asked = Arc::clone(&asked);
        move |_: &Path| {
            asked.fetch_add(1, Ordering::SeqCst);
            Some(SecretString::from("open sesame"))
        }
    });
    let client = client(SshOptions { ask_passphrase: Some(ask), ..options(&sshd) });
    let machines: Vec<Ssh> = (0..4)
        .map(|_| Ssh::new(Target { identity_files: vec![key.clone()], ..target(&sshd) }, Arc::clone(&client)))
        .collect();
    let outputs = futures::future::join_all(machines.iter().map(|ssh| output(ssh, "echo in"))).await;
    assert_eq!(outputs, ["in\n"; 4]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_passphrase_is_told_as_such() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let key = dir.path().join("key");
    generate_key(&key, "ed25519", "open sesame");
    let sshd = Sshd::builder().authorize(&public_key(&key)).start();
    let ask: AskPassphrase = Arc::new(|_: &Path| Some(SecretString::from("open barley")));
    let client = client(SshOptions { ask_passphrase: Some(ask), ..options(&sshd) });
    let ssh = Ssh::new(Target { identity_files: vec![key], ..target(&sshd) }, client);
    let error = run(&ssh, "true").await.expect_err("an error");
    assert!(error.to_string().contains("the passphrase given is not the right one"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_signs_with_keys_that_no_file_gives_us() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let agent = Agent::start();
    for kind in ["ed25519", "rsa"] {
        let key = dir.path().join(kind);
        generate_key(&key, kind, "");
        agent.add(&key);
        let sshd = Sshd::builder().authorize(&public_key(&key)).start();
        std::fs::remove_file(&key).expect("the private half");
        let options = SshOptions { agent_socket: Some(agent.socket()), ..options(&sshd) };
        let ssh = Ssh::new(Target { identity_files: Vec::new(), ..target(&sshd) }, client(options.clone()));
        assert_eq!(output(&ssh, "echo in").await, "in\n", "{kind}");

        let only = Target { identity_files: Vec::new(), identities_only: true, ..target(&sshd) };
        let error = run(&Ssh::new(only, client(options)), "true").await.expect_err("an error");
        assert!(error.to_string().contains("nothing to try"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_there_is_mentioned() {
    let sshd = Sshd::start();
    let options = SshOptions { agent_socket: Some("/nowhere/agent".into()), ..options(&sshd) };
    let ssh = Ssh::new(Target { identity_files: Vec::new(), ..target(&sshd) }, client(options));
    let error = run(&ssh, "true").await.expect_err("an error");
    assert!(error.to_string().contains("agent at /nowhere/agent: No such file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_beside_the_key_lets_us_in() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (authority, key) = (dir.path().join("ca"), dir.path().join("key"));
    generate_key(&authority, "ed25519", "");
    generate_key(&key, "ed25519", "");
    let user = Sshd::start().user();
    sshd::run(
        Command::new("ssh-keygen")
            .arg("-qs")
            .arg(&authority)
            .args(["-I", "us", "-n", &user])
            .arg(key.with_extension("pub")),
    );
    let sshd = Sshd::builder().authorize(&format!("cert-authority {}", public_key(&authority))).start();
    let ssh = Ssh::new(Target { identity_files: vec![key.clone()], ..target(&sshd) }, client(options(&sshd)));
    assert_eq!(output(&ssh, "echo in").await, "in\n");

    let agent = Agent::start();
    agent.add(&key);
    let options = SshOptions { agent_socket: Some(agent.socket()), ..options(&sshd) };
    let ssh = Ssh::new(Target { identity_files: Vec::new(), ..target(&sshd) }, client(options));
    assert_eq!(output(&ssh, "echo in").await, "in\n", "the agent's certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_alone_is_refused_where_the_server_takes_keys_only() {
    let sshd = Sshd::start();
    let password = Some(SecretString::from("hunter2"));
    let ssh =
        Ssh::new(Target { identity_files: Vec::new(), password, ..target(&sshd) }, client(options(&sshd)));
    let error = run(&ssh, "true").await.expect_err("an error");
    assert!(error.to_string().contains("tried: password"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_behind_jump_hosts_are_reached_through_one_connection_to_each() {
    let (near, far) = (Sshd::start(), Sshd::builder().address("127.0.0.2").start());
    let ends: Vec<Sshd> = (3..6).map(|n| Sshd::builder().address(&format!("127.0.0.{n}")).start()).collect();
    let client = client(options(&near));
    let machines: Vec<Ssh> = ends
        .iter()
        .map(|end| {
            Ssh::new(Target { jumps: vec![target(&near), target(&far)], ..target(end) }, Arc::clone(&client))
        })
        .collect();
    futures::future::join_all(machines.iter().map(|ssh| output(ssh, "true"))).await;
    for end in &ends {
        assert_eq!(end.log().matches("Accepted publickey").count(), 1);
    }
    assert_eq!(near.log().matches("Accepted publickey").count(), 1, "{}", near.log());
    assert_eq!(far.log().matches("Accepted publickey").count(), 1, "{}", far.log());
    assert_eq!(lines(&known_hosts(&near)), 5, "every host key on the way was checked and kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_to_a_jump_host_lasts_as_long_as_a_machine_needs_it() {
    let (near, one, two) = (Sshd::start(), Sshd::start(), Sshd::start());
    let client = client(options(&near));
    let behind =
        |end: &Sshd| Ssh::new(Target { jumps: vec![target(&near)], ..target(end) }, Arc::clone(&client));
    let first = behind(&one);
    output(&first, "true").await;
    let second = behind(&two);
    output(&second, "true").await;
    assert_eq!(near.log().matches("Accepted publickey").count(), 1, "one after the other, and still one");
    near.cut_connections();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(output(&first, "echo again").await, "again\n");
    assert_eq!(output(&second, "echo again").await, "again\n");
    assert_eq!(near.log().matches("Accepted publickey").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_that_cannot_be_used_is_named() {
    let (near, end) = (Sshd::builder().line("AllowTcpForwarding no").start(), Sshd::start());
    let ssh = Ssh::new(Target { jumps: vec![target(&near)], ..target(&end) }, client(options(&end)));
    let error = run(&ssh, "true").await.expect_err("an error");
    assert!(
        error.to_string().contains(&format!("jump host {}:{} does not forward", near.address(), near.port())),
        "{error}"
    );

    let near = Sshd::start();
    let stranger = Target { identity_files: Vec::new(), ..target(&near) };
    let ssh = Ssh::new(Target { jumps: vec![stranger], ..target(&end) }, client(options(&end)));
    let error = run(&ssh, "true").await.expect_err("an error");
    assert!(
        error.to_string().contains("jump host cannot be used")
            && error.to_string().contains("nothing to try"),
        "{error}"
    );

    let gone = Target { port: 1, ..target(&end) };
    let ssh = Ssh::new(Target { jumps: vec![target(&near)], ..gone }, client(options(&near)));
    let error = run(&ssh, "true").await.expect_err("an error");
    assert!(error.to_string().contains("cannot connect to it"), "{error}");
}
