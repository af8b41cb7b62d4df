//! Machines as ssh_config(5) describes them.

use std::fs;
use std::process::Command;

use muster_engine::ssh::{Ssh, SshConfig, SshOptions, Target};
use muster_testkit::sshd::{self, Agent, Sshd, generate_key, public_key};

use crate::fixture::*;

/// A machine by its name in a configuration that lies beside a server, and by variables. `PORT`, `KEY` and `DIR` stand
/// for the server's.
fn described(sshd: &Sshd, host: &str, config: &str, variables: &[(&str, &str)]) -> Target {
    let file = sshd.dir().join("ssh_config");
    let config = config
        .replace("PORT", &sshd.port().to_string())
        .replace("KEY", &sshd.key().display().to_string())
        .replace("DIR", &sshd.dir().display().to_string());
    fs::write(&file, config).expect("a file");
    let arguments = format!("-F {}", file.display());
    let variables = [&[("ansible_ssh_args", arguments.as_str())][..], variables].concat();
    let variable =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let found = Target::from_variables(host, &Target::new("", "nobody"), &SshConfig::none(None), variable);
    let (target, ignored) = found.unwrap_or_else(|error| panic!("{error}"));
    assert!(ignored.is_empty(), "{ignored:?}");
    target
}

fn reach(sshd: &Sshd, target: Target) -> Ssh {
    Ssh::new(target, client(options(sshd)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_reached_by_its_name_in_the_configuration() {
    let sshd = Sshd::start();
    let config = format!(
        "Host node*\n HostName 127.0.0.1\n Port PORT\n User {}\n IdentityFile KEY\n UserKnownHostsFile DIR/own\n",
        sshd.user()
    );
    assert_eq!(output(&reach(&sshd, described(&sshd, "node1", &config, &[])), "echo in").await, "in\n");
    let name = format!("[127.0.0.1]:{} ", sshd.port());
    assert!(fs::read_to_string(sshd.dir().join("own")).expect("known hosts").starts_with(&name));
    assert_eq!(lines(&known_hosts(&sshd)), 0, "nothing was noted elsewhere");

    let strict = config.replace("DIR/own", "DIR/other\n StrictHostKeyChecking yes");
    let error =
        run(&reach(&sshd, described(&sshd, "node1", &strict, &[])), "true").await.expect_err("unknown");
    assert!(error.to_string().contains("not known"), "{error}");
    let forgetful = config.replace("DIR/own", "/dev/null\n StrictHostKeyChecking no");
    let target = described(&sshd, "node1", &forgetful, &[]);
    assert_eq!(output(&reach(&sshd, target), "echo in").await, "in\n");
    assert_eq!(lines(&known_hosts(&sshd)), 0, "as the user wants it");
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_count_more() {
    let sshd = Sshd::start();
    let config =
        "Host *\n Port 1\n User wrong\n IdentityFile /no/key\n HostKeyAlias gate\n ConnectTimeout 9\n";
    let (port, key) = (sshd.port().to_string(), sshd.key().display().to_string());
    let user = sshd.user();
    let variables = [
        ("ansible_host", "127.0.0.1"),
        ("ansible_port", port.as_str()),
        ("ansible_user", user.as_str()),
        ("ansible_ssh_private_key_file", key.as_str()),
    ];
    let target = described(&sshd, "node1", config, &variables);
    assert_eq!(target.connect_timeout, Some(std::time::Duration::from_secs(9)), "of what they leave open");
    assert_eq!(output(&reach(&sshd, target), "echo in").await, "in\n");
    assert!(fs::read_to_string(known_hosts(&sshd)).expect("known hosts").starts_with("gate "));
}

#[tokio::test(flavor = "multi_thread")]
async fn jump_hosts_are_looked_up_themselves() {
    let (near, far, end) = (Sshd::start(), Sshd::builder().address("127.0.0.2").start(), Sshd::start());
    let host = |name: &str, sshd: &Sshd, more: &str| {
        let (address, port, user, key) = (sshd.address(), sshd.port(), sshd.user(), sshd.key());
        let key = key.display();
        format!("Host {name}\n HostName {address}\n Port {port}\n User {user}\n IdentityFile {key}\n{more}")
    };
    let config = host("node1", &end, " ProxyJump far\n")
        + &host("far", &far, " ProxyJump near\n")
        + &host("near", &near, "")
        + "Host *\n ProxyJump near\n";
    let target = described(&end, "node1", &config, &[]);
    assert_eq!(target.jumps.iter().map(Target::address).collect::<Vec<_>>(), [address(&near), address(&far)]);
    assert_eq!(output(&reach(&end, target), "echo in").await, "in\n");
    assert_eq!((accepted(&near), accepted(&far)), (1, 1));
    // The way of the arguments counts more, and its hosts are looked up too.
    let target = described(&end, "node1", &config, &[("ansible_ssh_common_args", "-J near")]);
    assert_eq!(target.jumps.iter().map(Target::address).collect::<Vec<_>>(), [address(&near)]);
    assert_eq!(output(&reach(&end, target), "echo in").await, "in\n");
    let target = described(&end, "node1", &config, &[("ansible_ssh_common_args", "-o ProxyJump=none")]);
    assert!(target.jumps.is_empty());
}

#[test]
fn a_circle_of_jump_hosts_is_an_error() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("config");
    fs::write(&file, "Host a\n ProxyJump b\nHost b\n ProxyJump c\nHost c\n ProxyJump a\n").expect("a file");
    let arguments = format!("-F {}", file.display());
    let variable = |name: &str| (name == "ansible_ssh_args").then(|| arguments.clone());
    let found = Target::from_variables("a", &Target::new("", "me"), &SshConfig::none(None), variable);
    assert!(found.expect_err("a circle").to_string().contains("lead in a circle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_lead_to_the_machine() {
    let sshd = Sshd::start();
    let relay = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/%p; cat <&3 & cat >&3'";
    let config =
        format!("Host *\n HostName nowhere.invalid\n Port PORT\n User {}\n IdentityFile KEY\n", sshd.user());
    let target = described(&sshd, "node1", &format!("{config} ProxyCommand {relay}\n"), &[]);
    let ssh = reach(&sshd, target);
    assert_eq!(output(&ssh, "echo in").await, "in\n");
    ssh.close().await;

    let target =
        described(&sshd, "node1", &format!("{config} ProxyCommand sh -c 'echo no way to %h >&2'\n"), &[]);
    let error = run(&reach(&sshd, target), "true").await.expect_err("an error");
    assert!(
        error.to_string().contains("its ProxyCommand says: no way to nowhere.invalid (3 attempts)"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_agents_and_public_keys_are_found_where_the_configuration_says() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let at = |name: &str| dir.path().join(name);
    generate_key(&at("ca"), "ed25519", "");
    generate_key(&at("key"), "ed25519", "");
    let user = Sshd::start().user();
    sshd::run(
        Command::new("ssh-keygen")
            .arg("-qs")
            .arg(at("ca"))
            .args(["-I", "us", "-n", &user])
            .arg(at("key.pub")),
    );
    fs::rename(at("key-cert.pub"), at("elsewhere")).expect("a certificate");
    let trusting = Sshd::builder().authorize(&format!("cert-authority {}", public_key(&at("ca")))).start();
    let config = format!("Host *\n HostName 127.0.0.1\n Port PORT\n User {user}\n");
    let here = dir.path().display();

    let with_key = format!("{config} IdentityFile {here}/key\n");
    let ssh = reach(&trusting, described(&trusting, "n", &with_key, &[]));
    run(&ssh, "true").await.expect_err("the key alone is nobody's");
    let certified = format!("{with_key} CertificateFile {here}/elsewhere\n");
    assert_eq!(
        output(&reach(&trusting, described(&trusting, "n", &certified, &[])), "echo in").await,
        "in\n"
    );

    // From here on the private half is the agent's alone, beside one that must not be tried.
    let agent = Agent::start();
    generate_key(&at("other"), "ed25519", "");
    agent.add(&at("other"));
    agent.add(&at("key"));
    fs::remove_file(at("key")).expect("the private half");
    let socket = agent.socket();
    let asked = format!(
        "{config} IdentityAgent {}\n IdentityFile {here}/key.pub\n IdentitiesOnly yes\n",
        socket.display()
    );
    let certified = format!("{asked} CertificateFile {here}/elsewhere\n");
    assert_eq!(
        output(&reach(&trusting, described(&trusting, "n", &certified, &[])), "echo in").await,
        "in\n"
    );
    let plain = Sshd::builder().authorize(&public_key(&at("key"))).start();
    for name in ["key.pub", "key"] {
        let asked = asked.replace("key.pub", name);
        assert_eq!(output(&reach(&plain, described(&plain, "n", &asked, &[])), "echo in").await, "in\n");
    }
    assert!(!plain.log().contains("Failed publickey"), "{}", plain.log());

    let nobody = asked.replace(&socket.display().to_string(), "none");
    let target = described(&plain, "n", &nobody, &[]);
    let options = SshOptions { agent_socket: Some(socket), ..options(&plain) };
    let error = run(&Ssh::new(target, client(options)), "true").await.expect_err("an error");
    assert!(error.to_string().contains("the private one is needed, here or in the agent"), "{error}");
}

fn address(sshd: &Sshd) -> String {
    format!("{}:{}", sshd.address(), sshd.port())
}

fn accepted(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}
