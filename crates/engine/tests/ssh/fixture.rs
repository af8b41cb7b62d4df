//! What the tests share: machines, and short ways to run programs on them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_engine::ssh::{Client, Ssh, SshOptions, Target};
use muster_engine::transport::{Exec, Exit, Input, Program, Transport, TransportError};
use muster_testkit::sshd::Sshd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for a loaded machine: reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Options with the known hosts of one server's folder and short limits.
pub(crate) fn options(sshd: &Sshd) -> SshOptions {
    SshOptions {
        known_hosts: vec![known_hosts(sshd)],
        connect_timeout: Duration::from_secs(20),
        ..SshOptions::default()
    }
}

pub(crate) fn known_hosts(sshd: &Sshd) -> std::path::PathBuf {
    sshd.dir().join("client/known_hosts")
}

/// The server as a target, with the key it lets in.
pub(crate) fn target(sshd: &Sshd) -> Target {
    Target { port: sshd.port(), identity_files: vec![sshd.key()], ..Target::new(sshd.address(), sshd.user()) }
}

pub(crate) fn client(options: SshOptions) -> Arc<Client> {
    Client::new(options).expect("known hosts")
}

/// A machine with options and target as the server wants them.
pub(crate) fn machine(sshd: &Sshd) -> Ssh {
    Ssh::new(target(sshd), client(options(sshd)))
}

pub(crate) async fn run(ssh: &Ssh, text: &str) -> Result<Exit, TransportError> {
    run_for(ssh, text, PATIENCE).await
}

pub(crate) async fn run_for(ssh: &Ssh, text: &str, timeout: Duration) -> Result<Exit, TransportError> {
    ssh.exec(Exec { program: Program::Text(text.to_owned()), timeout, on_line: None }).await
}

/// What a program that must succeed wrote to standard output.
pub(crate) async fn output(ssh: &Ssh, text: &str) -> String {
    let exit = run(ssh, text).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(exit.status, 0, "{}", String::from_utf8_lossy(&exit.stderr));
    String::from_utf8(exit.stdout).expect("UTF-8")
}

pub(crate) async fn send(ssh: &Ssh, line: &str, input: Input) -> Result<Exit, TransportError> {
    let program = Program::Reader { line: line.to_owned(), input };
    ssh.exec(Exec { program, timeout: PATIENCE, on_line: None }).await
}

/// How many lines of a file there are, none if there is no file.
pub(crate) fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// A port that passes everything on to a server, half a round trip late in each direction.
pub(crate) async fn distant(sshd: &Sshd, round_trip: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let server = (sshd.address().to_owned(), sshd.port());
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect((server.0.as_str(), server.1)).await.expect("the server");
            near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).expect("no delay but ours");
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::spawn(delay(near_read, far_write, round_trip / 2));
            tokio::spawn(delay(far_read, near_write, round_trip / 2));
        }
    });
    port
}

async fn delay(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, late: Duration) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if sender.send((tokio::time::Instant::now() + late, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
}
