//! Programs and data: what goes in, what comes out, how it ends, how many at once.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use muster_engine::ssh::{Ssh, Target};
use muster_engine::transport::{Exec, Program, Transport, TransportError};
use muster_testkit::sshd::Sshd;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_runs_and_its_output_and_status_come_back() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    let exit = run(&ssh, "echo out; echo err >&2; exit 7").await.expect("an exit");
    assert_eq!(
        (exit.status, exit.stdout.as_slice(), exit.stderr.as_slice()),
        (7, &b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!(output(&ssh, "id -u").await, "0\n");
    let counters = ssh.counters();
    assert_eq!((counters.exchanges, counters.handshakes), (2, 1), "one connection for both");
    assert!(counters.sent > 500 && counters.received > 500, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_where_another_program_follows_a_session_is_opened_in_advance() {
    let sshd = Sshd::start();
    let sessions = || sshd.log().matches("Starting session").count();
    // Long enough for a second session to begin beside it.
    let program =
        || Exec { program: Program::Text("sleep 1".into()), timeout: Duration::from_secs(60), on_line: None };
    machine(&sshd).exec_last(program()).await.expect("an exit");
    assert_eq!(sessions(), 1);
    machine(&sshd).exec(program()).await.expect("an exit");
    assert_eq!(sessions(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_program_closes_the_connection_unless_another_one_runs_over_it() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    let program = |text: &str| Exec {
        program: Program::Text(text.into()),
        timeout: Duration::from_secs(60),
        on_line: None,
    };
    ssh.exec_last(program("true")).await.expect("an exit");
    let (other, last) = tokio::join!(ssh.exec(program("sleep 2; echo other")), async {
        // The other one is under way by now.
        tokio::time::sleep(Duration::from_millis(500)).await;
        ssh.exec_last(program("true")).await
    });
    last.expect("an exit");
    assert_eq!(other.expect("an exit").stdout, b"other\n");
    assert_eq!(ssh.counters().handshakes, 2, "one closed, and one that another program ran over");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_sets_does_not_reach_programs() {
    let set = "http_proxy=http://127.0.0.1:1 KUBECONFIG=/elsewhere ETCDCTL_API=2 GREP_OPTIONS=-v LC_MESSAGES=de_DE.UTF-8";
    let sshd = Sshd::builder().line(&format!("SetEnv {set}")).start();
    let ssh = machine(&sshd);
    let names = "env | sed 's/=.*//' | sort | grep -vx -e _ -e PWD -e OLDPWD -e SHLVL | tr '\\n' ' '";
    assert_eq!(output(&ssh, names).await, "HOME LC_ALL PATH ");
    let exit = send(&ssh, names, Box::new(tokio::io::empty())).await.expect("an exit");
    assert_eq!(String::from_utf8_lossy(&exit.stdout), "HOME LC_ALL PATH ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_a_signal_ends_counts_as_128_and_the_signal() {
    let sshd = Sshd::start();
    let exit = run(&machine(&sshd), "kill -9 $$").await.expect("an exit");
    assert_eq!(exit.status, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_is_not_in_the_process_list() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    // The pattern does not match itself, so the process that looks for it does not count.
    let shown = output(
        &ssh,
        "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c '[h]unter2' || true # hunter2",
    )
    .await;
    assert_eq!(shown, "0\n");
    let exit = send(&ssh, "cat /proc/$$/cmdline | tr '\\0' ' '; : hunter2", Box::new(tokio::io::empty()))
        .await
        .expect("an exit");
    assert!(!String::from_utf8_lossy(&exit.stdout).contains("hunter2"), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_takes_one_round_trip_and_a_connection_five() {
    const ROUND_TRIP: Duration = Duration::from_millis(400);
    // The session for the next program is made while nothing else goes on, and takes two round trips.
    const PAUSE: Duration = Duration::from_millis(1200);
    let sshd = Sshd::start();
    let port = distant(&sshd, ROUND_TRIP).await;
    let trips = |start: Instant| start.elapsed().as_secs_f64() / ROUND_TRIP.as_secs_f64();
    let (mut connecting, mut running, mut sending) = (f64::MAX, f64::MAX, f64::MAX);
    // The best of several: a loaded machine makes some slow, none fast.
    for _ in 0..3 {
        let ssh = Ssh::new(Target { port, ..target(&sshd) }, client(options(&sshd)));
        let start = Instant::now();
        ssh.connect().await.expect("a connection");
        connecting = connecting.min(trips(start));

        tokio::time::sleep(PAUSE).await;
        let start = Instant::now();
        assert_eq!(output(&ssh, "echo in").await, "in\n");
        running = running.min(trips(start));

        tokio::time::sleep(PAUSE).await;
        let start = Instant::now();
        let exit = send(&ssh, "wc -c", Box::new(tokio::io::repeat(7).take(100_000))).await.expect("an exit");
        assert_eq!(exit.stdout, b"100000\n");
        sending = sending.min(trips(start));
    }
    // TCP's is not in it: version and algorithms, keys, service, the offer of a key, the signature.
    assert!(connecting < 6.0, "{connecting:.2} round trips to connect");
    assert!(running < 1.9, "{running:.2} round trips for a program");
    assert!(sending < 1.9, "{sending:.2} round trips for an upload");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opened_in_advance_that_ended_is_replaced() {
    // ChannelTimeout of newer servers, a watchdog, an administrator.
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    for _ in 0..3 {
        ssh.connect().await.expect("a connection");
        tokio::time::sleep(Duration::from_millis(300)).await;
        sshd.end_programs();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(output(&ssh, "echo in").await, "in\n");
    }
    assert_eq!(ssh.counters().handshakes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_standard_error_come_while_the_program_runs() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    let start = Instant::now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let on_line: muster_engine::transport::OnLine = Arc::new({
        let seen = Arc::clone(&seen);
        move |line: &str| seen.lock().expect("not poisoned").push((line.to_owned(), start.elapsed()))
    });
    let program = Program::Text("echo one >&2; sleep 2; printf 'two\\nthree' >&2".to_owned());
    ssh.exec(Exec { program, timeout: PATIENCE, on_line: Some(on_line) }).await.expect("an exit");
    let ended = start.elapsed();
    let seen = seen.lock().expect("not poisoned");
    let lines: Vec<&str> = seen.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(lines, ["one", "two", "three"]);
    assert!(ended - seen[0].1 > Duration::from_millis(1500), "the first line came before the end: {seen:?}");
}

/// Bytes that are cheap to make and do not repeat soon.
struct Noise {
    left: usize,
    state: u64,
    hash: Arc<Mutex<Sha256>>,
}

impl AsyncRead for Noise {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = vec![0; self.left.min(buf.remaining()).min(1 << 16)];
        for word in bytes.chunks_mut(8) {
            self.state = self.state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let noise = (self.state >> 8).to_le_bytes();
            word.copy_from_slice(&noise[..word.len()]);
        }
        self.left -= bytes.len();
        self.hash.lock().expect("not poisoned").update(&bytes);
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_arrive_as_they_were() {
    const SIZE: usize = 100_000_003;
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    ssh.connect().await.expect("a connection");
    let hash = Arc::new(Mutex::new(Sha256::new()));
    let noise = Noise { left: SIZE, state: 1, hash: Arc::clone(&hash) };
    let file = sshd.dir().join("it's here");
    let quoted = file.to_str().expect("UTF-8").replace('\'', r"'\''");
    let line = format!("cat >'{quoted}' && sha256sum <'{quoted}' && wc -c <'{quoted}'");
    let start = Instant::now();
    let exit = send(&ssh, &line, Box::new(noise)).await.expect("an exit");
    let megabytes_a_second = SIZE as f64 / 1e6 / start.elapsed().as_secs_f64();
    eprintln!("upload: {megabytes_a_second:.0} MB/s");
    let sum: String = hash
        .lock()
        .expect("not poisoned")
        .clone()
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(String::from_utf8_lossy(&exit.stdout), format!("{sum}  -\n{SIZE}\n"), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_comes_whole_and_too_much_is_an_error() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    let exit = run(&ssh, "head -c 20000000 /dev/zero; head -c 1000000 /dev/zero >&2").await.expect("an exit");
    assert_eq!(exit.stdout.len(), 20_000_000);
    assert!(exit.stderr.len() < 70_000, "of standard error both ends only: {}", exit.stderr.len());

    let flood = run(&ssh, "cat /dev/zero").await;
    assert!(matches!(flood, Err(TransportError::Flood { .. })), "{flood:?}");
    assert_eq!(output(&ssh, "echo still").await, "still\n", "the connection goes on");
    assert_eq!(ssh.counters().handshakes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_read_what_it_is_sent_ends_all_the_same() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    let exit = send(&ssh, "exit 3", Box::new(tokio::io::repeat(7))).await.expect("an exit");
    assert_eq!(exit.status, 3);
    assert_eq!(output(&ssh, "echo still").await, "still\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_here_is_told_as_such() {
    struct Broken;
    impl AsyncRead for Broken {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::Error::other("the disk is gone")))
        }
    }
    let sshd = Sshd::start();
    let error = send(&machine(&sshd), "cat", Box::new(Broken)).await.expect_err("an error");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_programs_than_channels_run_on_one_connection() {
    let sshd = Sshd::start();
    let ssh = machine(&sshd);
    let programs = (0..30).map(|n| {
        let ssh = &ssh;
        async move { output(ssh, &format!("sleep 0.2; echo {n}")).await }
    });
    let outputs = futures::future::join_all(programs).await;
    assert_eq!(outputs, (0..30).map(|n| format!("{n}\n")).collect::<Vec<_>>());
    assert_eq!((ssh.counters().exchanges, ssh.counters().handshakes), (30, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_one_session_gets_one_program_at_a_time() {
    let sshd = Sshd::builder().line("MaxSessions 1").start();
    let ssh = machine(&sshd);
    let programs = (0..6).map(|n| {
        let ssh = &ssh;
        async move { output(ssh, &format!("sleep 0.1; echo {n}")).await }
    });
    let outputs = futures::future::join_all(programs).await;
    assert_eq!(outputs, (0..6).map(|n| format!("{n}\n")).collect::<Vec<_>>());
    assert_eq!((ssh.counters().exchanges, ssh.counters().handshakes), (6, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_sessions_is_told_as_such() {
    let sshd = Sshd::builder().line("MaxSessions 0").start();
    let error = run(&machine(&sshd), "true").await.expect_err("an error");
    assert!(error.to_string().contains("opens no session"), "{error}");
    assert!(format!("{:?}", error.remedy()).contains("MaxSessions"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banner_does_no_harm() {
    let sshd = Sshd::builder().line("Banner /etc/os-release").start();
    assert_eq!(output(&machine(&sshd), "echo in").await, "in\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_does_not_hold_up_the_other_programs() {
    let sshd = Sshd::start();
    let ssh = Arc::new(machine(&sshd));
    ssh.connect().await.expect("a connection");
    // The window of the channel fills, and stays full.
    let upload = tokio::spawn({
        let ssh = Arc::clone(&ssh);
        async move { send(&ssh, "sleep 3; cat >/dev/null", Box::new(tokio::io::repeat(7).take(8 << 20))).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    assert_eq!(output(&ssh, "echo quick").await, "quick\n");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(upload.await.expect("no panic").expect("an exit").status, 0);
}
