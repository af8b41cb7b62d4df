//! One program on one channel: what it is sent, what it writes, how it ends.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use secrecy::ExposeSecret;
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Target;
use super::connect::Connection;
use super::output::{MOST_STDOUT, Output};
use super::privilege::{self, Request};
use crate::transport::{Exit, OnLine, Program, TransportError};

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
        let Some(mut write) = self.write.as_ref() else { return };
        if tokio::time::timeout(PASSWORD_WAIT, send_password(&mut write, &self.request))
            .await
            .is_ok_and(|sent| sent.is_ok())
        {
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
        let mut channel = &*write;
        let fed = feed(&mut channel, request, password_sent, program, start);
        let ended = together(target, fed, collect(read, output)).await?;
        if let Ended::Status(_) | Ended::NoStatus = ended {
            *state = State::Ended;
        }
        outcome(ended, target, request, output, |ended| match ended {
            Ended::Denied => connection.denied(),
            Ended::NoStatus => connection.no_status(),
            _ => connection.lost(),
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

/// Sends what a program is to get, and takes what it writes, until it has ended.
pub(super) async fn together(
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

/// What came of a program; `way` says what is wrong with the way to it.
pub(super) fn outcome(
    ended: Ended,
    target: &Target,
    request: &Request,
    output: &mut Output,
    way: impl FnOnce(Ended) -> TransportError,
) -> Result<Exit, TransportError> {
    match ended {
        Ended::Status(status) if output.mark.is_some() => {
            Err(privilege::diagnose(target, request, status, &output.stdout, &output.before))
        }
        Ended::Status(status) => Ok(std::mem::take(output).into_exit(status)),
        Ended::Silent => Err(privilege::silent(target, PASSWORD_WAIT)),
        Ended::WrongPassword => Err(privilege::wrong_password(target)),
        Ended::Flood => Err(TransportError::Flood { address: target.address(), limit: MOST_STDOUT }),
        Ended::Denied | Ended::NoStatus | Ended::Lost => Err(way(ended)),
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

/// Where what a program is to get goes.
pub(super) trait Sink {
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Unfed>;
    async fn end(&mut self) -> Result<(), Unfed>;
}

impl Sink for &ChannelWriteHalf<Msg> {
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Unfed> {
        self.data_bytes(bytes).await.map_err(|_| Unfed::Closed)
    }

    async fn end(&mut self) -> Result<(), Unfed> {
        self.eof().await.map_err(|_| Unfed::Closed)
    }
}

async fn send_password(sink: &mut impl Sink, request: &Request) -> Result<(), Unfed> {
    let Some(password) = &request.password else { return Ok(()) };
    sink.send(format!("{}\n", password.expose_secret()).into_bytes()).await
}

/// Sends what the program is to get.
pub(super) async fn feed(
    sink: &mut impl Sink,
    request: &Request,
    password_sent: bool,
    program: Program,
    start: &mut oneshot::Receiver<()>,
) -> Result<(), Unfed> {
    if request.password.is_some() {
        if !password_sent {
            send_password(sink, request).await?;
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
            sink.send(text.into_bytes()).await?;
        }
        Program::Reader { mut input, .. } => {
            sink.send(preamble.into_bytes()).await?;
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
                sink.send(chunk).await?;
            }
        }
    }
    sink.end().await
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

impl Output {
    /// Takes what came from the channel; returns how the program ended, if it did.
    fn take(&mut self, message: Option<ChannelMsg>) -> Option<Ended> {
        match message {
            Some(ChannelMsg::Data { data }) => {
                if !self.stdout(&data) {
                    return Some(Ended::Flood);
                }
            }
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                self.stderr(&data);
                if self.asked_again() {
                    return Some(Ended::WrongPassword);
                }
            }
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
