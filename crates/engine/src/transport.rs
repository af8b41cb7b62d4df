//! How a program reaches a machine. The only trait of the engine with several implementations: [`crate::ssh::Ssh`]
//! for real machines, scripted ones in tests.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::AsyncRead;

use crate::advice::Advice;

/// A stream of bytes for a program's standard input.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;

/// A stream of what a blocking reader reads, by a thread of its own.
pub fn blocking_input(mut reader: impl std::io::Read + Send + 'static) -> Input {
    // Two chunks ahead are enough to keep reading and sending both busy.
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<bytes::Bytes>>(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = bytes::BytesMut::zeroed(256 * 1024);
            let read = match reader.read(&mut chunk) {
                Ok(0) => return,
                Ok(n) => {
                    chunk.truncate(n);
                    Ok(chunk.freeze())
                }
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            // The other end goes away when the exchange ends early.
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    Box::new(tokio_util::io::StreamReader::new(Box::pin(stream)))
}

/// Called with each line a program writes to standard error while it runs, so that nothing long is silent.
pub type OnLine = Arc<dyn Fn(&str) + Send + Sync>;

/// One exchange with a machine.
pub struct Exec {
    /// What /bin/sh is to run, as root.
    pub program: Program,
    /// The program must end within this time, counted from when the connection stands (connecting has limits of its own);
    /// reaching it is [`TransportError::TimedOut`]. The program is then told to stop, which root's may only notice when
    /// it next writes something.
    pub timeout: Duration,
    /// Where lines of standard error go while the program runs. They are in [`Exit::stderr`] all the same.
    pub on_line: Option<OnLine>,
}

/// The two ways to hand a program over.
pub enum Program {
    /// The program text is the standard input of `sh -s`: any length, invisible in the process list, may hold secrets.
    Text(String),
    /// A program of one line, which reads `input` from its standard input. For uploads. As invisible as a text; what
    /// ends an input that was cut off early is the end of the connection, so the program must check what it got.
    Reader {
        /// The program: one line, because the next one is the input's first.
        line: String,
        /// What it reads.
        input: Input,
    },
}

/// How a program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// The exit status, 128 + n when signal n ended it.
    pub status: i32,
    /// Everything it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, the middle cut out when it is long.
    pub stderr: Vec<u8>,
}

impl Exit {
    /// The last lines of what it wrote to standard error.
    pub(crate) fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let lines: Vec<_> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// A way to run programs as root on one machine.
pub trait Transport: Send + Sync {
    /// Runs a program and returns how it ended, whatever its status. Connects first where that is still to do, and
    /// again where the connection was lost since; but never runs a program a second time by itself.
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>>;

    /// Runs a program after which, as far as is known, none follows, and closes what was opened for it.
    fn exec_last(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        self.exec(exec)
    }

    /// Whether the machine is this computer, with which the run itself would end.
    fn is_here(&self) -> bool {
        false
    }
}

/// Why a program could not be run, or how it ended could not be learnt.
///
/// Every message names the machine, what happened and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// No connection: refused, no route, name unknown, no answer in time, not an SSH server.
    #[error("{address}: {reason}")]
    Unreachable {
        /// `host:port` as dialled.
        address: String,
        /// What the system said, in plain words.
        reason: String,
        /// What to try.
        remedy: Advice,
    },
    /// The server accepted none of the credentials.
    #[error("{address}: {user} was refused ({tried})")]
    Refused {
        /// `host:port` as dialled.
        address: String,
        /// The login name.
        user: String,
        /// The credentials tried, in order.
        tried: String,
        /// What to try.
        remedy: Advice,
    },
    /// The host key is not the one known for this machine, is revoked, or is unknown where unknown ones are refused.
    #[error("{address}: {reason}")]
    HostKey {
        /// `host:port` as dialled.
        address: String,
        /// Which key was found and which is known, and where (file:line).
        reason: String,
        /// Whether another key than this one is known, which a new installation explains.
        changed: bool,
        /// What to try.
        remedy: Advice,
    },
    /// Logged in, but cannot become root.
    #[error("{address}: {user} cannot become root: {reason}")]
    Privilege {
        /// `host:port` as dialled.
        address: String,
        /// The login name.
        user: String,
        /// What sudo said.
        reason: String,
        /// What to try.
        remedy: Advice,
    },
    /// The connection broke while the program ran: whether it finished is unknown.
    #[error("{address}: the connection was lost ({reason})")]
    Lost {
        /// `host:port` as dialled.
        address: String,
        /// What was seen of it.
        reason: String,
    },
    /// What was to be sent could not be read, on the controller's side. The program may have seen a part of it.
    #[error("{address}: what was to be sent could not be read: {reason}")]
    Input {
        /// `host:port` as dialled.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The program wrote more to standard output than any program should.
    #[error("{address}: the program wrote more than {} MiB", .limit >> 20)]
    Flood {
        /// `host:port` as dialled.
        address: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The program did not end in time.
    #[error("{address}: no answer within {} s", .limit.as_secs())]
    TimedOut {
        /// `host:port` as dialled.
        address: String,
        /// The limit that was reached.
        limit: Duration,
    },
}

impl TransportError {
    /// Whether trying again may help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { .. } | Self::TimedOut { .. })
    }

    /// Whether the machine could not be worked on at all, as Ansible's `unreachable` counts it.
    pub fn is_unreachable(&self) -> bool {
        !matches!(
            self,
            Self::TimedOut { .. } | Self::Privilege { .. } | Self::Input { .. } | Self::Flood { .. }
        )
    }

    /// `host:port` as dialled, with which the message begins.
    pub fn address(&self) -> &str {
        match self {
            Self::Unreachable { address, .. }
            | Self::Refused { address, .. }
            | Self::HostKey { address, .. }
            | Self::Privilege { address, .. }
            | Self::Lost { address, .. }
            | Self::Input { address, .. }
            | Self::Flood { address, .. }
            | Self::TimedOut { address, .. } => address,
        }
    }

    /// What the user can do about it.
    pub fn remedy(&self) -> Option<&Advice> {
        match self {
            Self::Unreachable { remedy, .. }
            | Self::Refused { remedy, .. }
            | Self::HostKey { remedy, .. }
            | Self::Privilege { remedy, .. } => Some(remedy),
            Self::Lost { .. } | Self::Input { .. } | Self::Flood { .. } | Self::TimedOut { .. } => None,
        }
    }
}
