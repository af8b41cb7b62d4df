//! One program on one channel: what it is sent, what it writes, how it ends. Programs on this computer ([`super::local`]) are sent the
//! same, and what they write is taken in the same way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Target;
use super::connect::Connection;
use super::privilege::{self, Request};
use crate::transport::{Exit, OnLine, Program, TransportError};

/// Standard output beyond this is an error: frames of a program come to kilobytes.
pub(super) const MOST_STDOUT: usize = 64 << 20;
/// Of standard error this much is kept of the beginning, and as much of the end.
const STDERR_PART: usize = 32 << 10;
/// A line without an end is passed on in pieces of this size.
const MOST_LINE: usize = 8 << 10;
/// How much of the input is read at a time: four of SSH's packets, a quarter of a percent of sshd's window.
const CHUNK: usize = 128 << 10;
/// How long sudo may take to accept or refuse a password (PAM waits two seconds after a wrong one, directories longer).
const PASSWORD_WAIT: Duration = Duration::from_secs(60);
/// How long a program that was given up may take to end before its place is counted as free. sshd may see that
/// differently; then the connection is replaced.
const FAREWELL: Duration = Duration::from_secs(1);

/// An open channel with a shell at its other end that waits for a program, and its place among those the server allows.
///
/// Closed in every case. When it is dropped before the program ended, the program is told to stop (SIGTERM). sshd passes
/// signals on to the programs of other users than root only; a program of root's ends when it next writes something.
pub(super) struct Session {
    read: Option<ChannelReadHalf>,
    write: Option<ChannelWriteHalf<Msg>>,
    place: Option<OwnedSemaphorePermit>,
    connection: Arc<Connection>,
    request: Request,
    output: Output,
    start: Option<oneshot::Receiver<()>>,
    state: State,
}

/// How far a session is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// sshd was asked to run the shell.
    Requested,
    /// sudo was given its password, too.
    PasswordSent,
    /// The program was sent, or a part of it.
    Running,
    /// The other side closed the channel.
    Ended,
}

impl Session {
    /// Asks sshd to run what will take the program. There is no waiting for the answer: what follows is on its way at
    /// once.
    pub(super) async fn start(
        channel: Channel<Msg>,
        place: OwnedSemaphorePermit,
        connection: Arc<Connection>,
        request: Request,
    ) -> Result<Self, TransportError> {
        let (read, write) = channel.split();
        let asked = write.exec(true, request.command.as_bytes()).await;
        let (started, start) = oneshot::channel();
        let session = Self {
            read: Some(read),
            write: Some(write),
            place: Some(place),
            output: Output::new(&request, started),
            request,
            connection,
            start: Some(start),
            state: State::Requested,
        };
        asked.map_err(|_| session.connection.lost())?;
        Ok(session)
    }

    /// Gives sudo its password before the program is known, where it wants one.
    pub(super) async fn send_password(&mut self) {
        let Some(write) = &self.write else { return };
        let mut way = Way::Channel(write);
        let sending = send_password(&mut way, &self.request);
        if tokio::time::timeout(PASSWORD_WAIT, sending).await.is_ok_and(|sent| sent.is_ok()) {
            self.state = State::PasswordSent;
        }
    }

    /// Whether it is a session of this connection, and still waits for a program. Never wrong when it says no; whether
    /// the shell ends just now cannot be known.
    pub(super) fn awaits_program(&mut self, connection: &Arc<Connection>) -> bool {
        let Some(read) = &mut self.read else { return false };
        while let Some(message) = read.wait().now_or_never() {
            let ended = self.output.take(message);
            if let Some(Ended::Status(_) | Ended::NoStatus | Ended::Lost) = ended {
                self.state = State::Ended;
            }
            if ended.is_some() || self.output.status.is_some() {
                return false;
            }
        }
        Arc::ptr_eq(&self.connection, connection)
    }

    /// The connection it belongs to.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Runs a program to its end.
    pub(super) async fn run(
        mut self,
        target: &Target,
        program: Program,
        on_line: Option<OnLine>,
    ) -> Result<Exit, TransportError> {
        let connection = Arc::clone(&self.connection);
        let password_sent = std::mem::replace(&mut self.state, State::Running) == State::PasswordSent;
        let Self { read: Some(read), write: Some(write), start: Some(start), request, output, state, .. } =
            &mut self
        else {
            return Err(connection.lost());
        };
        output.on_line = on_line;
        let feed = feed(Way::Channel(write), request, password_sent, program, start);
        let ended = exchange(target, feed, collect(read, output)).await?;
        if let Ended::Status(_) | Ended::NoStatus = ended {
            *state = State::Ended;
        }
        output.result(target, request, &ended).unwrap_or_else(|| {
            Err(match ended {
                Ended::Denied => connection.denied(),
                Ended::NoStatus => connection.no_status(),
                _ => connection.lost(),
            })
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (Some(mut read), Some(write)) = (self.read.take(), self.write.take()) else { return };
        let place = self.place.take();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.state == State::Ended {
            return;
        }
        let running = self.state == State::Running;
        if running {
            self.connection.abandon();
        }
        runtime.spawn(async move {
            // sshd keeps the place until the program has ended, so it is told to; a shell that still waits for one ends
            // by itself. Where the connection is gone there is nobody to tell, and nothing to keep.
            let told = !running || write.signal(Sig::TERM).await.is_ok();
            if told && write.close().await.is_ok() {
                let closed = async { while !matches!(read.wait().await, None | Some(ChannelMsg::Close)) {} };
                tokio::time::timeout(FAREWELL, closed).await.ok();
            }
            drop(place);
        });
    }
}

/// How a program ended.
pub(super) enum Ended {
    Status(i32),
    /// The server does not run programs.
    Denied,
    /// sudo neither took nor refused the password.
    Silent,
    WrongPassword,
    Flood,
    /// The channel was closed in order, without a status.
    NoStatus,
    Lost,
}

/// Why not everything was sent.
pub(super) enum Unfed {
    Input(std::io::Error),
    Password,
    Closed,
}

/// Where what a program reads is sent.
pub(super) enum Way<'w> {
    /// Over a connection.
    Channel(&'w ChannelWriteHalf<Msg>),
    /// To a program of this computer.
    Pipe(ChildStdin),
}

impl Way<'_> {
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Unfed> {
        match self {
            Self::Channel(write) => write.data_bytes(bytes).await.map_err(|_| Unfed::Closed),
            Self::Pipe(stdin) => stdin.write_all(&bytes).await.map_err(|_| Unfed::Closed),
        }
    }

    /// Says that this was all.
    async fn end(self) -> Result<(), Unfed> {
        match self {
            Self::Channel(write) => write.eof().await.map_err(|_| Unfed::Closed),
            // It is closed when it is dropped.
            Self::Pipe(_) => Ok(()),
        }
    }
}

async fn send_password(way: &mut Way<'_>, request: &Request) -> Result<(), Unfed> {
    let Some(password) = &request.password else { return Ok(()) };
    way.send(format!("{}\n", password.expose_secret()).into_bytes()).await
}

/// Sends and takes at the same time, until the program has ended.
///
/// # Errors
/// What was to be sent cannot be read.
pub(super) async fn exchange(
    target: &Target,
    feed: impl Future<Output = Result<(), Unfed>>,
    collect: impl Future<Output = Ended>,
) -> Result<Ended, TransportError> {
    tokio::pin!(feed, collect);
    tokio::select! {
        ended = &mut collect => Ok(ended),
        fed = &mut feed => match fed {
            // Where the other side takes no more, how it ended comes from the other direction.
            Ok(()) | Err(Unfed::Closed) => Ok(collect.await),
            Err(Unfed::Password) => Ok(Ended::Silent),
            Err(Unfed::Input(error)) => {
                Err(TransportError::Input { address: target.address(), reason: error.to_string() })
            }
        },
    }
}

/// Sends what the program is to get. `start` says that root is reached.
pub(super) async fn feed(
    mut way: Way<'_>,
    request: &Request,
    password_sent: bool,
    program: Program,
    start: &mut oneshot::Receiver<()>,
) -> Result<(), Unfed> {
    if request.password.is_some() {
        if !password_sent {
            send_password(&mut way, request).await?;
        }
        match tokio::time::timeout(PASSWORD_WAIT, start).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Unfed::Closed),
            Err(_) => return Err(Unfed::Password),
        }
    }
    let preamble = request.preamble(&program);
    match program {
        Program::Text(mut text) => {
            text.insert_str(0, &preamble);
            way.send(text.into_bytes()).await?;
        }
        Program::Reader { mut input, .. } => {
            way.send(preamble.into_bytes()).await?;
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                while chunk.len() < CHUNK {
                    if (&mut input)
                        .take((CHUNK - chunk.len()) as u64)
                        .read_buf(&mut chunk)
                        .await
                        .map_err(Unfed::Input)?
                        == 0
                    {
                        break;
                    }
                }
                if chunk.is_empty() {
                    break;
                }
                way.send(chunk).await?;
            }
        }
    }
    way.end().await
}

/// Takes what the program writes, until the channel is closed.
async fn collect(read: &mut ChannelReadHalf, output: &mut Output) -> Ended {
    loop {
        let message = read.wait().await;
        if let Some(ended) = output.take(message) {
            return ended;
        }
    }
}

/// What a program has written, and its status.
#[derive(Default)]
pub(super) struct Output {
    stdout: Vec<u8>,
    kept: Kept,
    status: Option<i32>,
    /// The line still awaited before the program counts as started.
    mark: Option<String>,
    prompt: Option<String>,
    started: Option<oneshot::Sender<()>>,
    /// Standard error before the mark.
    before: Vec<u8>,
    line: Vec<u8>,
    pub(super) on_line: Option<OnLine>,
}

impl Output {
    /// Of a program that is still to come. `started` is told when root is reached.
    pub(super) fn new(request: &Request, started: oneshot::Sender<()>) -> Self {
        Self {
            mark: request.mark.clone(),
            prompt: request.prompt.clone(),
            started: Some(started),
            ..Self::default()
        }
    }

    /// Takes what came from the channel; returns how the program ended, if it did.
    fn take(&mut self, message: Option<ChannelMsg>) -> Option<Ended> {
        match message {
            Some(ChannelMsg::Data { data }) => return self.take_stdout(&data),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => return self.take_stderr(&data),
            Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status.cast_signed()),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.status = Some(128 + number(&signal_name))
            }
            Some(ChannelMsg::Failure) => return Some(Ended::Denied),
            Some(ChannelMsg::Close) => return Some(self.status.map_or(Ended::NoStatus, Ended::Status)),
            // The connection ended. A status that came before holds: sshd sends it when the program has ended.
            None => return Some(self.status.map_or(Ended::Lost, Ended::Status)),
            Some(_) => {}
        }
        None
    }

    /// Takes what was written to standard output; returns how the program ended, where that ends it.
    pub(super) fn take_stdout(&mut self, bytes: &[u8]) -> Option<Ended> {
        if self.stdout.len() + bytes.len() > MOST_STDOUT {
            return Some(Ended::Flood);
        }
        self.stdout.extend_from_slice(bytes);
        None
    }

    /// The same of standard error.
    pub(super) fn take_stderr(&mut self, bytes: &[u8]) -> Option<Ended> {
        self.stderr(bytes);
        self.asked_again().then_some(Ended::WrongPassword)
    }

    /// What came of the program; `None` where that is for the way to the machine to say.
    pub(super) fn result(
        &mut self,
        target: &Target,
        request: &Request,
        ended: &Ended,
    ) -> Option<Result<Exit, TransportError>> {
        Some(match ended {
            // It never started.
            Ended::Status(status) if self.mark.is_some() => {
                Err(privilege::diagnose(target, request, *status, &self.stdout, &self.before))
            }
            Ended::Status(status) => Ok(std::mem::take(self).into_exit(*status)),
            Ended::Silent => Err(privilege::silent(target, PASSWORD_WAIT)),
            Ended::WrongPassword => Err(privilege::wrong_password(target)),
            Ended::Flood => Err(TransportError::Flood { address: target.address(), limit: MOST_STDOUT }),
            Ended::Denied | Ended::NoStatus | Ended::Lost => return None,
        })
    }

    fn stderr(&mut self, bytes: &[u8]) {
        let Some(mark) = &self.mark else { return self.program_stderr(bytes) };
        self.before.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(length) = self.before[start..].iter().position(|&byte| byte == b'\n') {
            let end = start + length;
            if self.before[start..end].trim_ascii_end() == mark.as_bytes() {
                let rest = self.before.split_off(end + 1);
                self.mark = None;
                if let Some(started) = self.started.take() {
                    // Nobody waits for it where there is no password.
                    started.send(()).ok();
                }
                return self.program_stderr(&rest);
            }
            start = end + 1;
        }
        // A login shell that never stops talking must not fill the memory.
        if self.before.len() > 2 * STDERR_PART {
            self.before.drain(..STDERR_PART);
        }
    }

    fn program_stderr(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let Some(on_line) = &self.on_line else { return };
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
            }
            if byte == b'\n' || self.line.len() == MOST_LINE {
                on_line(&String::from_utf8_lossy(&self.line));
                self.line.clear();
            }
        }
    }

    /// Whether sudo asks for the password a second time.
    fn asked_again(&self) -> bool {
        let (Some(_), Some(prompt)) = (&self.mark, &self.prompt) else { return false };
        let mut prompts = self.before.windows(prompt.len()).filter(|window| *window == prompt.as_bytes());
        prompts.nth(1).is_some()
    }

    fn into_exit(self, status: i32) -> Exit {
        if let (Some(on_line), false) = (&self.on_line, self.line.is_empty()) {
            on_line(&String::from_utf8_lossy(&self.line));
        }
        Exit { status, stdout: self.stdout, stderr: self.kept.into_bytes() }
    }
}

/// The beginning and the end of something long.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut: usize,
}

impl Kept {
    fn extend(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(STDERR_PART - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(STDERR_PART);
        self.tail.drain(..over);
        self.cut += over;
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.head;
        if self.cut > 0 {
            bytes.extend_from_slice(format!("\n... {} bytes left out ...\n", self.cut).as_bytes());
        }
        bytes.extend(self.tail);
        bytes
    }
}

/// The number of a signal (signal(7)); those that RFC 4254 does not name come as text.
fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(name) if name.starts_with("BUS") => 7,
        Sig::Custom(name) if name.starts_with("XCPU") => 24,
        Sig::Custom(name) if name.starts_with("XFSZ") => 25,
        Sig::Custom(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_standard_error_both_ends_are_kept() {
        let mut kept = Kept::default();
        kept.extend(b"first");
        assert_eq!(Kept { head: b"first".to_vec(), ..Kept::default() }.into_bytes(), kept.into_bytes());

        let mut kept = Kept::default();
        for n in 0..20_000 {
            kept.extend(format!("{n:05}\n").as_bytes());
        }
        let bytes = kept.into_bytes();
        let text = String::from_utf8(bytes).expect("ASCII");
        assert!(text.starts_with("00000\n00001\n"), "the beginning is there");
        assert!(text.ends_with("19998\n19999\n"), "the end is there");
        assert!(text.contains("\n... 54464 bytes left out ...\n"), "what is missing is told");
        assert!(text.len() < 2 * STDERR_PART + 100);
    }

    #[test]
    fn what_sudo_says_before_the_mark_is_kept_apart() {
        let request = Request {
            command: String::new(),
            password: None,
            prompt: Some("ask-77".to_owned()),
            mark: Some("77".to_owned()),
        };
        let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
        let on_line: OnLine = Arc::new({
            let lines = Arc::clone(&lines);
            move |line: &str| lines.lock().expect("not poisoned").push(line.to_owned())
        });
        let (started, mut start) = oneshot::channel();
        let mut output = Output::new(&request, started);
        output.on_line = Some(on_line);
        output.stderr(b"lecture: echo 77 here\nask-77");
        assert!(output.mark.is_some() && !output.asked_again() && start.try_recv().is_err());
        output.stderr(b"\n7");
        output.stderr(b"7\r\nreal out");
        assert!(output.mark.is_none() && start.try_recv().is_ok());
        output.stderr(b"put\nlast");
        let exit = output.into_exit(3);
        assert_eq!((exit.status, exit.stderr.as_slice()), (3, b"real output\nlast".as_slice()));
        assert_eq!(*lines.lock().expect("not poisoned"), ["real output", "last"]);
    }

    #[test]
    fn a_second_prompt_means_the_password_was_refused() {
        let request = Request {
            command: String::new(),
            password: Some("x".into()),
            prompt: Some("ask-77".to_owned()),
            mark: Some("77".to_owned()),
        };
        let mut output = Output::new(&request, oneshot::channel().0);
        output.stderr(b"ask-77");
        assert!(!output.asked_again());
        output.stderr(b"\nSorry, try again.\nask-77");
        assert!(output.asked_again());
    }
}
