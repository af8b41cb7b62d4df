//! The way from a controller to a model machine, and where the controller is killed.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use muster_engine::transport::{Exec, Exit, Program, Transport, TransportError};
use muster_testkit::model::commands;
use muster_testkit::model::machine::{Machine, Start};
use muster_testkit::model::shell::Shell;
use muster_testkit::model::streams::{Fd, Wire};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Where a controller is killed: at which exchange with which machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kill {
    pub machine: usize,
    pub exchange: usize,
    /// Before anything is sent, or when the answer is there.
    pub after: bool,
}

/// A run from outside.
pub(crate) struct Controller {
    /// The run's number.
    pub number: u32,
    pub kill: Option<Kill>,
    pub killed: CancellationToken,
    /// How many exchanges there were with each machine.
    pub exchanges: Vec<AtomicUsize>,
    /// Whether anything was sent that may change a machine.
    pub changing: AtomicBool,
    /// The machine whose answers take a hundred times as long.
    pub slow: Option<usize>,
}

impl Controller {
    pub(crate) fn new(number: u32, machines: usize, kill: Option<Kill>) -> Arc<Self> {
        let exchanges = (0..machines).map(|_| AtomicUsize::new(0)).collect();
        let (killed, changing) = (CancellationToken::new(), AtomicBool::new(false));
        Arc::new(Self { number, kill, killed, exchanges, changing, slow: None })
    }

    /// One whose way to a machine is a long one.
    pub(crate) fn far_from(machine: usize, number: u32, machines: usize) -> Arc<Self> {
        let controller = Self::new(number, machines, None);
        Arc::new(Self { slow: Some(machine), ..Arc::into_inner(controller).expect("nobody else has it") })
    }
}

/// A connection.
pub(crate) struct Line {
    pub controller: Arc<Controller>,
    pub machine: Arc<Machine>,
    pub number: usize,
    /// Whether the machine is the one that the controller is on.
    pub is_here: bool,
}

/// Says that nobody hears any more, however it comes that nobody does.
struct Hearing(Arc<Wire>);

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.cut.store(true, Ordering::Relaxed);
    }
}

impl Line {
    async fn exchange(&self, exec: Exec) -> Result<Exit, TransportError> {
        let exchange = self.controller.exchanges[self.number].fetch_add(1, Ordering::Relaxed);
        self.killed_at(exchange, false).await;
        let (address, boots) = (self.machine.name.clone(), self.machine.boots());
        if !self.machine.is_up() {
            sleep(Duration::from_secs(3)).await;
            let (reason, remedy) = ("no answer".into(), "switch it on".into());
            return Err(TransportError::Unreachable { address, reason, remedy });
        }
        let (text, input) = match exec.program {
            Program::Text(text) => (text, None),
            Program::Reader { line, mut input } => {
                // All of it now: simulated time stands still as long as a thread waits for somebody to read.
                let mut bytes = Vec::new();
                input.read_to_end(&mut bytes).await.expect("the bundle can be read");
                (line, Some(Box::new(Cursor::new(bytes))))
            }
        };
        let slow = self.controller.slow == Some(self.number);
        sleep(Duration::from_millis(if slow { 100 } else { 1 })).await;
        let wire = Arc::new(Wire::default());
        // A program that writes to nobody goes on, as one of root's does, after half of the exchanges.
        wire.deadly.store(exchange.is_multiple_of(2), Ordering::Relaxed);
        let hearing = Hearing(wire.clone());
        let input = input.map_or(Fd::Null, |input| commands::input(input, &wire));
        // Whatever changes a machine begins with lock/guard.sh.
        if text.contains(r#"begin || exit "$refused";"#) {
            self.controller.changing.store(true, Ordering::Relaxed);
        }
        let seed = [u64::from(self.controller.number), self.number as u64, exchange as u64];
        let seed = seed.iter().fold(0, |seed, number| seed * 1000 + number);
        let start = Start { run: self.controller.number, seed, ..Start::default() };
        let process = self.machine.start(start);
        let mut shell = Shell::new(self.machine.clone(), process.clone());
        shell.fds.insert(0, input);
        shell.fds.insert(1, Fd::Out(wire.clone()));
        shell.fds.insert(2, Fd::Err(wire.clone()));
        let machine = self.machine.clone();
        let program = tokio::spawn(async move {
            let ended = shell.program(&text).await;
            machine.ended(&process);
            // Killed by a signal.
            ended.unwrap_or(143)
        });
        let Ok(status) = timeout(exec.timeout, program).await else {
            return Err(TransportError::TimedOut { address, limit: exec.timeout });
        };
        self.killed_at(exchange, true).await;
        drop(hearing);
        if self.machine.boots() != boots {
            return Err(TransportError::Lost { address, reason: "it restarts".into() });
        }
        let take = |bytes: &std::sync::Mutex<Vec<u8>>| std::mem::take(&mut *bytes.lock().unwrap());
        Ok(Exit { status: status.unwrap(), stdout: take(&wire.out), stderr: take(&wire.err) })
    }

    async fn killed_at(&self, exchange: usize, after: bool) {
        if self.controller.kill == Some(Kill { machine: self.number, exchange, after }) {
            self.controller.killed.cancel();
            // The run is dropped now.
            std::future::pending().await
        }
    }
}

impl Transport for Line {
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(self.exchange(exec))
    }

    fn is_here(&self) -> bool {
        self.is_here
    }
}

/// The way to a machine that is off.
pub(crate) struct Off;

impl Transport for Off {
    fn exec(&self, _: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(async {
            sleep(Duration::from_secs(10)).await;
            let (address, reason, remedy) = ("off:22".into(), "no answer".into(), "switch it on".into());
            Err(TransportError::Unreachable { address, reason, remedy })
        })
    }
}
