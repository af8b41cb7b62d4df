//! The way from a controller to a model machine, with its faults.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use muster_engine::transport::{Exec, Exit, Program, Transport, TransportError};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::schedule::{Fault, Strike};
use muster_testkit::model::commands;
use muster_testkit::model::machine::{Machine, Start, Trigger};
use muster_testkit::model::random::Random;
use muster_testkit::model::shell::{Shell, Stop};
use muster_testkit::model::streams::{Fd, Wire};

/// A controller: a run of the engine from outside.
pub(crate) struct Controller {
    /// The run's number, also among those of other controllers.
    pub number: u32,
    pub killed: CancellationToken,
    stopped: Mutex<Instant>,
    pub faults: Vec<Strike>,
    pub seed: u64,
    pub slow: u64,
    pub latency: u64,
    /// What was sent, where and what became of it, for whoever replays a seed.
    pub log: Option<Arc<Mutex<Vec<String>>>>,
    /// Whether anything was sent that may change a machine.
    pub changing: AtomicBool,
    /// How many exchanges there were with each machine.
    pub exchanges: [AtomicUsize; MOST],
    /// Programs that may change a machine: which exchange with which machine, and how many actions it had.
    pub programs: Mutex<Vec<(usize, usize, usize)>>,
}

/// The most machines of a simulation.
const MOST: usize = 4;

impl Controller {
    pub(crate) fn new(number: u32, seed: u64) -> Self {
        Self {
            number,
            killed: CancellationToken::new(),
            stopped: Mutex::new(Instant::now()),
            faults: Vec::new(),
            seed,
            slow: 0,
            latency: 1,
            log: None,
            changing: AtomicBool::new(false),
            exchanges: Default::default(),
            programs: Mutex::default(),
        }
    }

    async fn awake(&self) {
        loop {
            let until = *self.stopped.lock().unwrap();
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn stop(&self, seconds: u64) {
        *self.stopped.lock().unwrap() = Instant::now() + Duration::from_secs(seconds);
    }

    async fn kill(&self) {
        self.killed.cancel();
        // The run is dropped now.
        std::future::pending().await
    }
}

/// A connection.
pub(crate) struct Line {
    controller: Arc<Controller>,
    machine: Arc<Machine>,
    number: usize,
    /// What was refused for good in the exchange before this one.
    refused: Mutex<Option<String>>,
}

/// Says that nobody hears any more, however it comes that nobody does.
struct Hearing {
    wire: Arc<Wire>,
    deadly: bool,
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.wire.deadly.store(self.deadly, Ordering::Relaxed);
        self.wire.cut.store(true, Ordering::Relaxed);
    }
}

/// How an exchange ended, as far as one can tell at its other end.
enum End {
    Exit(i32),
    Lost,
}

impl Line {
    pub(crate) fn new(controller: Arc<Controller>, machine: Arc<Machine>, number: usize) -> Self {
        Self { controller, machine, number, refused: Mutex::default() }
    }

    async fn exchange(&self, exec: Exec) -> Result<Exit, TransportError> {
        let number = self.controller.exchanges[self.number].fetch_add(1, Ordering::Relaxed);
        let mut faults = self.controller.faults.iter();
        let here = |strike: &&Strike| (strike.machine, strike.exchange) == (self.number, number);
        let fault = faults.find(here).map(|strike| strike.fault);
        let result = self.disturbed(number, fault, exec).await;
        if let Some(log) = &self.controller.log {
            let end = match &result {
                Ok(exit) => format!("{} {:?}", exit.status, String::from_utf8_lossy(&exit.stderr)),
                Err(error) => error.to_string(),
            };
            log.lock().unwrap().push(format!("    {} -> {end}", self.name(number)));
        }
        result
    }

    fn name(&self, number: usize) -> String {
        format!("run {} {} exchange {number}", self.controller.number, self.machine.name)
    }

    async fn disturbed(
        &self,
        number: usize,
        fault: Option<Fault>,
        exec: Exec,
    ) -> Result<Exit, TransportError> {
        let controller = &self.controller;
        let numbers = [controller.number.into(), self.number as u64, number as u64];
        let mut random = Random::of(controller.seed, &numbers);
        controller.awake().await;
        match fault {
            Some(Fault::KilledBefore) => controller.kill().await,
            Some(Fault::Stopped { seconds, after: false }) => {
                controller.stop(seconds);
                controller.awake().await;
            }
            Some(Fault::Slow { there, .. }) => sleep(Duration::from_secs(there)).await,
            _ => {}
        }
        sleep(Duration::from_micros(random.within(100..1000 * controller.latency + 200))).await;
        if !self.machine.is_up() {
            sleep(Duration::from_secs(3)).await;
            return Err(self.unreachable());
        }
        let limit = exec.timeout;
        let (end, mut ended) = unbounded_channel();
        let wire = Arc::new(Wire::default());
        let deadly = match fault {
            Some(Fault::Cut { deadly, .. } | Fault::Killed { deadly, .. }) => deadly,
            _ => random.one_in(2),
        };
        let hearing = Hearing { wire: wire.clone(), deadly };
        let (mut text, fds) = match exec.program {
            Program::Text(text) => (text, Fd::Null),
            Program::Reader { line, input } => (line, commands::input(input, &wire)),
        };
        let changing = self.note(number, fault, &text);
        // The same but for the nonce, which is new in each exchange. A lock is renewed until its run ends.
        let what: String = text.lines().skip(2).collect();
        let renewal = what.contains(r#"renew "$@""#);
        if !renewal && self.refused.lock().unwrap().take().is_some_and(|refused| refused == what) {
            self.machine.state().wrong.push(format!("tried again after a permanent failure: {what}"));
        }
        let mut late = Duration::ZERO;
        match fault {
            Some(Fault::Lost) => return Err(self.lost()),
            Some(Fault::Refused) => {
                *self.refused.lock().unwrap() = Some(what);
                return Err(self.refusal());
            }
            // What comes before an input is read as a whole line, or not at all.
            Some(Fault::CutShort(_) | Fault::Late(_)) if !matches!(fds, Fd::Null) => return Err(self.lost()),
            Some(Fault::CutShort(part)) => {
                let most = text.trim_end().len() - "muster </dev/null".len();
                let at = (0..=most * part as usize / 1000).rev().find(|at| text.is_char_boundary(*at));
                text.truncate(at.unwrap_or(0));
                drop(end.send(End::Lost));
            }
            Some(Fault::Late(seconds)) => {
                late = Duration::from_secs(seconds);
                drop(end.send(End::Lost));
            }
            _ => {}
        }
        let start = Start {
            run: controller.number,
            seed: random.draw(),
            slow: controller.slow,
            trigger: self.trigger(fault, end.clone(), &wire).map(Arc::new),
            ..Start::default()
        };
        let actions = start.actions.clone();
        tokio::spawn(run(self.machine.clone(), start, text, fds, wire.clone(), late, end));
        let end = match timeout(limit, ended.recv()).await {
            Ok(end) => end.unwrap_or(End::Lost),
            Err(_) => {
                controller.awake().await;
                return Err(TransportError::TimedOut { address: self.machine.name.clone(), limit });
            }
        };
        if changing {
            let actions = actions.load(Ordering::Relaxed);
            controller.programs.lock().unwrap().push((self.number, number, actions));
        }
        sleep(Duration::from_micros(random.within(100..1000 * controller.latency + 200))).await;
        match fault {
            Some(Fault::Slow { back, .. }) => sleep(Duration::from_secs(back)).await,
            Some(Fault::KilledAfter) => controller.kill().await,
            Some(Fault::Stopped { seconds, after: true }) => controller.stop(seconds),
            Some(Fault::AnswerLost) => return Err(self.lost()),
            _ => {}
        }
        controller.awake().await;
        drop(hearing);
        match end {
            End::Lost => Err(self.lost()),
            End::Exit(status) => {
                let take = |bytes: &Mutex<Vec<u8>>| std::mem::take(&mut *bytes.lock().unwrap());
                Ok(Exit { status, stdout: take(&wire.out), stderr: take(&wire.err) })
            }
        }
    }

    /// Notes what is sent. Whether it may change the machine.
    fn note(&self, number: usize, fault: Option<Fault>, text: &str) -> bool {
        // Whatever changes a machine begins with lock/guard.sh.
        let changing = text.contains(r#"begin || exit "$refused";"#);
        if changing {
            self.controller.changing.store(true, Ordering::Relaxed);
        }
        if let Some(log) = &self.controller.log {
            let now = Instant::now();
            let fault = fault.map(|fault| format!(" {fault:?}")).unwrap_or_default();
            log.lock().unwrap().push(format!("{:?} {}{fault}: {text}", now, self.name(number)));
        }
        changing
    }

    /// What the fault does in the middle of the program.
    fn trigger(&self, fault: Option<Fault>, end: UnboundedSender<End>, wire: &Arc<Wire>) -> Option<Trigger> {
        let (machine, controller, wire) = (self.machine.clone(), self.controller.clone(), wire.clone());
        let seed = controller.seed;
        Some(match fault? {
            Fault::Cut { action, deadly } => Trigger {
                at: action,
                act: Box::new(move |_| {
                    wire.deadly.store(deadly, Ordering::Relaxed);
                    wire.cut.store(true, Ordering::Relaxed);
                    drop(end.send(End::Lost));
                }),
            },
            Fault::Restart { action, down } => Trigger {
                at: action,
                act: Box::new(move |_| {
                    machine.restart(&mut Random::of(seed, &[action as u64]), Duration::from_secs(down));
                }),
            },
            Fault::Ended { action } => Trigger {
                at: action,
                act: Box::new(move |process| {
                    machine.kill(process.pid);
                }),
            },
            Fault::Killed { action, .. } => {
                Trigger { at: action, act: Box::new(move |_| controller.killed.cancel()) }
            }
            _ => return None,
        })
    }

    fn lost(&self) -> TransportError {
        TransportError::Lost { address: self.machine.name.clone(), reason: "cut by the test".into() }
    }

    fn refusal(&self) -> TransportError {
        let (address, tried) =
            (self.machine.name.clone(), "a key that was taken from authorized_keys".into());
        TransportError::Refused { address, user: "root".into(), tried, remedy: "".into() }
    }

    fn unreachable(&self) -> TransportError {
        let (address, reason) = (self.machine.name.clone(), "no route to host".into());
        TransportError::Unreachable { address, reason, remedy: "".into() }
    }
}

/// A program on the machine, from its arrival to its end.
async fn run(
    machine: Arc<Machine>,
    start: Start,
    text: String,
    input: Fd,
    wire: Arc<Wire>,
    late: Duration,
    end: UnboundedSender<End>,
) {
    sleep(late).await;
    if !machine.is_up() {
        drop(end.send(End::Lost));
        return;
    }
    let boots = machine.boots();
    let process = machine.start(start);
    let mut shell = Shell::new(machine.clone(), process.clone());
    shell.fds.insert(0, input);
    shell.fds.insert(1, Fd::Out(wire.clone()));
    shell.fds.insert(2, Fd::Err(wire));
    let ended = shell.program(&text).await;
    machine.ended(&process);
    drop(end.send(match ended {
        Ok(status) => End::Exit(status),
        Err(Stop::Killed) if machine.boots() == boots => End::Exit(143),
        Err(_) => End::Lost,
    }));
}

impl Transport for Line {
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(self.exchange(exec))
    }
}
