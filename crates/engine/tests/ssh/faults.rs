//! What goes wrong on the way: machines that are off, silent or somebody else; connections that are cut; programs
//! that do not end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_engine::ssh::{OnRetry, Retry, Ssh, SshOptions, Target};
use muster_engine::transport::TransportError;
use muster_testkit::fault_record::held;
use muster_testkit::sshd::{Sshd, full_listener, not_sshd};

use crate::fixture::*;

fn nowhere(host: &str, port: u16) -> (Ssh, Arc<Mutex<Vec<Retry>>>) {
    let retries = Arc::new(Mutex::new(Vec::new()));
    let on_retry: OnRetry = Arc::new({
        let retries = Arc::clone(&retries);
        move |retry: &Retry| retries.lock().expect("not poisoned").push(retry.clone())
    });
    let options = SshOptions {
        connect_timeout: Duration::from_secs(1),
        on_retry: Some(on_retry),
        ..SshOptions::default()
    };
    (Ssh::new(Target { port, ..Target::new(host, "root") }, client(options)), retries)
}

async fn unreachable(ssh: &Ssh) -> String {
    let error = run(ssh, "true").await.expect_err("an error");
    assert!(
        matches!(error, TransportError::Unreachable { .. }) && error.is_transient() && error.is_unreachable(),
        "{error:?}"
    );
    assert!(error.remedy().is_some());
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_is_tried_briefly() {
    let (ssh, retries) = nowhere("127.0.0.1", 1);
    let start = Instant::now();
    let error = unreachable(&ssh).await;
    assert_eq!(error, "127.0.0.1:1: connection refused: nothing listens on port 1 (3 attempts)");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let retries = retries.lock().expect("not poisoned");
    let told: Vec<_> = retries.iter().map(|retry| (retry.attempt, retry.attempts)).collect();
    assert_eq!(told, [(1, 3), (2, 3)]);
    held(
        "machine refuses connections",
        "a port on which nothing listens",
        1,
        "three attempts, each one told; then named as unreachable, with the remedy",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_not_tried_again() {
    // A label of more than 63 characters is no name, so the resolver does not ask anybody (RFC 1035, 2.3.4).
    let name = "m".repeat(64);
    let (ssh, retries) = nowhere(&name, 22);
    assert_eq!(unreachable(&ssh).await, format!("{name}:22: the name {name} is not known"));
    assert!(retries.lock().expect("not poisoned").is_empty());
    // One that is known among the machines by its address is proposed with it.
    let known = Target { known_address: "192.0.2.7".parse().ok(), ..Target::new(&name, "root") };
    let ssh = Ssh::new(known, client(SshOptions::default()));
    let error = run(&ssh, "true").await.expect_err("an error");
    let remedy = error.remedy().and_then(|remedy| remedy.in_words());
    assert!(remedy.is_some_and(|remedy| {
        remedy.starts_with("give its address with ansible_host: ansible_host=192.0.2.7")
    }));
    // What ends in a number was to be an address.
    let (ssh, _) = nowhere(&format!("{name}.300"), 22);
    assert_eq!(unreachable(&ssh).await, format!("{name}.300:22: {name}.300 is no address"));
    held("unknown host name", "a name that no resolver can know", 1, "said at once, not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_says_nothing_is_given_up_and_left() {
    let (ssh, retries) = nowhere("127.0.0.1", not_sshd("", true));
    let start = Instant::now();
    let error = unreachable(&ssh).await;
    assert!(error.contains("says nothing within 1 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(retries.lock().expect("not poisoned").is_empty());
    held(
        "machine hangs",
        "a listener that never says a word",
        1,
        "given up after the time for connecting, not tried again",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_in_the_key_exchange_may_have_too_much_to_do_and_is_given_up_in_the_end() {
    let port = not_sshd("SSH-2.0-asleep\r\n", true);
    let (ssh, retries) = nowhere("127.0.0.1", port);
    let error = unreachable(&ssh).await;
    assert!(error.contains("did not go through with the key exchange within 1 s (3 attempts)"), "{error}");
    assert_eq!(retries.lock().expect("not poisoned").len(), 2);
    // russh keeps such a session as long as the peer is silent; ours ends it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let open = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let remote = format!("0100007F:{port:04X}");
    let ours = open.lines().filter(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields.get(2) == Some(&remote.as_str()) && fields.get(3) == Some(&"01")
    });
    assert_eq!(ours.count(), 0, "the connection is closed");
    held(
        "machine hangs",
        "a server that stops in the key exchange",
        1,
        "three attempts, then given up; no connection is left open",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_than_ssh_is_quoted() {
    let (ssh, retries) =
        nowhere("127.0.0.1", not_sshd("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", false));
    let error = unreachable(&ssh).await;
    assert!(error.contains("not an SSH server: it says \"HTTP/1.1 400 Bad Request\""), "{error}");
    assert!(retries.lock().expect("not poisoned").is_empty());
    held("not an SSH server", "an HTTP server on the port", 1, "its own words are shown, not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_few_logins_at_once_gets_all_in_the_end() {
    let sshd = Sshd::builder().line("MaxStartups 2:100:3").start();
    let shared = client(options(&sshd));
    let before = shared.handshake_limit();
    let machines: Vec<Ssh> = (0..24).map(|_| Ssh::new(target(&sshd), Arc::clone(&shared))).collect();
    let outputs = futures::future::join_all(machines.iter().map(|ssh| output(ssh, "echo in"))).await;
    assert_eq!(outputs, ["in\n"; 24]);
    assert!(sshd.log().contains("MaxStartups"), "the server did refuse some");
    assert!(shared.handshake_limit() < before, "and fewer are tried at once: {}", shared.handshake_limit());
    held(
        "sshd takes few logins at once",
        "MaxStartups 2:100:3, 24 logins",
        1,
        "all get in; fewer are tried at once",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_the_middle_is_lost_at_once_and_made_again_for_the_next_program() {
    let sshd = Sshd::start();
    let ssh = Arc::new(machine(&sshd));
    ssh.connect().await.expect("a connection");
    let start = Instant::now();
    let running = tokio::spawn({
        let ssh = Arc::clone(&ssh);
        async move { run(&ssh, "echo started; sleep 60").await }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    sshd.cut_connections();
    let lost = running.await.expect("no panic");
    assert!(matches!(lost, Err(TransportError::Lost { .. })), "{lost:?}");
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    assert_eq!(output(&ssh, "echo again").await, "again\n");
    assert_eq!(ssh.counters().handshakes, 2);
    held(
        "connection cut",
        "the sessions of sshd are killed under a program",
        1,
        "noticed at once; the next program has a new connection",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_freezes_is_noticed_while_it_works_and_while_it_is_sent_data() {
    for uploads in [false, true] {
        let sshd = Sshd::start();
        let options = SshOptions { keepalive: Duration::from_secs(1), ..options(&sshd) };
        let ssh = Arc::new(Ssh::new(target(&sshd), client(options)));
        ssh.connect().await.expect("a connection");
        let running = tokio::spawn({
            let ssh = Arc::clone(&ssh);
            async move {
                if uploads {
                    send(&ssh, "cat >/dev/null", Box::new(tokio::io::repeat(7))).await
                } else {
                    run(&ssh, "sleep 60").await
                }
            }
        });
        // Longer than four keepalives: while it answers, nothing is lost.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!running.is_finished());
        sshd.freeze_connections();
        let start = Instant::now();
        let lost = running.await.expect("no panic");
        assert!(matches!(lost, Err(TransportError::Lost { .. })), "{lost:?}");
        assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
        assert_eq!(output(&ssh, "echo again").await, "again\n");
    }
    held(
        "machine freezes",
        "SIGSTOP for the sessions of sshd, under a program and under an upload",
        2,
        "noticed by keepalives; the next program has a new connection",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_between_two_programs_is_made_again_unasked() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    for round in 1..=3 {
        assert_eq!(output(&ssh, "echo in").await, "in\n");
        assert_eq!(ssh.counters().handshakes, round);
        sshd.cut_connections();
        // Until the end is seen here.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    held("connection cut", "the sessions of sshd are killed between two programs", 3, "made again unasked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_end_is_stopped_and_its_place_is_free_again() {
    let sshd = Sshd::builder().line("MaxSessions 1").start();
    let ssh = machine(&sshd);
    let mark = sshd.dir().join("mark");
    let start = Instant::now();
    let program = format!("sleep 2; echo alive; touch '{}'; sleep 60", mark.display());
    let error = run_for(&ssh, &program, Duration::from_secs(1)).await.expect_err("an error");
    assert!(
        matches!(error, TransportError::TimedOut { limit, .. } if limit == Duration::from_secs(1)),
        "{error:?}"
    );
    assert_eq!(output(&ssh, "echo next").await, "next\n", "the only session is free again");
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!mark.exists(), "the program does not go on");
    held(
        "program that does not end",
        "sleep, with MaxSessions 1",
        1,
        "stopped at its limit; its session is free again",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_nobody_waits_for_any_more_leave_no_channel_behind() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    ssh.connect().await.expect("a connection");
    for _ in 0..15 {
        let given_up = tokio::time::timeout(Duration::from_millis(100), run(&ssh, "sleep 60")).await;
        assert!(given_up.is_err());
    }
    let start = Instant::now();
    assert_eq!(output(&ssh, "echo next").await, "next\n");
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    // sshd does not stop root's programs for us; they fill the ten sessions of the first connection.
    assert_eq!(ssh.counters().handshakes, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_given_up_while_they_are_opened_are_closed() {
    let sshd = Sshd::start();
    let port = distant(&sshd, Duration::from_millis(100)).await;
    let ssh = Ssh::new(Target { port, ..target(&sshd) }, client(options(&sshd)));
    output(&ssh, "true").await;
    for n in 0..24 {
        // Somewhere between asking for the channel and the answer.
        let patience = Duration::from_millis(20 + n * 5);
        tokio::time::timeout(patience, run(&ssh, "true")).await.ok();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    // More than two left behind would leave less than eight of the server's ten.
    let programs = (0..8).map(|_| output(&ssh, "sleep 1"));
    let start = Instant::now();
    futures::future::join_all(programs).await;
    assert!(start.elapsed() < Duration::from_millis(1900), "all at once: {:?}", start.elapsed());
    assert_eq!(ssh.counters().handshakes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_do_not_answer_keep_nobody_waiting() {
    // A listener whose queue is full: the kernel drops further SYNs, as a machine does that is off.
    let full = full_listener();
    let sshd = Sshd::start();
    let shared = client(SshOptions { handshakes: 2, ..options(&sshd) });
    let off: Vec<Arc<Ssh>> = (0..6)
        .map(|_| Arc::new(Ssh::new(Target { port: full.port, ..target(&sshd) }, Arc::clone(&shared))))
        .collect();
    let waiting: Vec<_> =
        off.into_iter().map(|ssh| tokio::spawn(async move { ssh.connect().await })).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    assert_eq!(output(&Ssh::new(target(&sshd), shared), "echo in").await, "in\n");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    for one in waiting {
        one.abort();
    }
    held(
        "machine is off",
        "a listener whose queue is full drops the SYN packets of 6 machines",
        6,
        "a machine that answers is not kept waiting",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_for_a_connection_share_its_failure() {
    let (ssh, _) = nowhere("127.0.0.1", not_sshd("", true));
    let start = Instant::now();
    let all = futures::future::join_all((0..20).map(|_| run(&ssh, "true"))).await;
    assert!(all.iter().all(|one| matches!(one, Err(TransportError::Unreachable { .. }))), "{all:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "not one after the other: {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_nobody_waits_for_any_more_does_not_block_the_next() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    for _ in 0..5 {
        tokio::time::timeout(Duration::from_millis(3), ssh.connect()).await.ok();
    }
    assert_eq!(output(&ssh, "echo in").await, "in\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_the_connection_and_a_later_program_makes_a_new_one() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    output(&ssh, "true").await;
    ssh.close().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while sshd.connections() > 0 {
        assert!(Instant::now() < deadline, "the server still has the connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(output(&ssh, "echo in").await, "in\n");
    assert_eq!(ssh.counters().handshakes, 2);
}
