//! How a host takes its machine's lock, keeps it, and gives it back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{
    AT_WORK, BUSY_LIMIT, Fence, Holder, LockRequest, RELEASE, RENEW, SHOW, Shown, State, Taking, WORK,
    Worker, held, lost, workers,
};
use crate::event::Event;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::resource::Answer;
use crate::script::{Part, Script, frames, nonce, probe_program, sh, sh0};
use crate::transport::{Exec, Program, Transport, TransportError};

/// How long a program of the lock may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked whether a lock, or a machine, is free.
const POLL: Duration = Duration::from_secs(1);

/// A host's hold on the lock of its machine.
#[derive(Default)]
pub(crate) struct Keeper {
    kept: tokio::sync::Mutex<Option<Kept>>,
    lost: Arc<OnceLock<Failure>>,
}

struct Kept {
    fence: Fence,
    heartbeat: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl Keeper {
    /// Why nothing may be done on the machine any more: somebody else has taken the lock.
    pub(crate) fn check(&self) -> Result<()> {
        self.lost.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }
}

/// The lock of a machine, for an exchange that does something else besides.
pub(crate) struct LockToTake<'h> {
    host: &'h Host,
    kept: MutexGuard<'h, Option<Kept>>,
    request: Option<&'h LockRequest>,
}

impl LockToTake<'_> {
    /// What takes it; `None` where the run only looks, or has it.
    pub(crate) fn script(&self) -> Option<Script> {
        self.request.map(|request| request.take(None))
    }

    /// Takes in what the script answered.
    ///
    /// # Errors
    /// Somebody else holds it.
    pub(crate) async fn answered(mut self, answer: Answer) -> Result<()> {
        // A machine whose lock cannot be written is preflight's to explain; nothing will be changed without.
        if let Some(request) = self.request.filter(|_| answer.status == 0) {
            self.host.acquire(&mut self.kept, request, answer).await?;
        }
        Ok(())
    }
}

impl Host {
    /// The lock, to be taken in an exchange that does something else besides.
    pub(crate) async fn lock_to_take(&self) -> LockToTake<'_> {
        let kept = self.keeper().kept.lock().await;
        let request = self.lock_request().filter(|_| kept.is_none());
        LockToTake { host: self, kept, request }
    }

    /// The lock, taken now where it is not yet: on a machine outside of the run that does something for others.
    ///
    /// # Errors
    /// Somebody else holds it, or it cannot be written.
    pub(crate) async fn fence(&self) -> Result<Fence> {
        let mut kept = self.keeper().kept.lock().await;
        if let Some(kept) = &*kept {
            return Ok(kept.fence.clone());
        }
        let Some(request) = self.lock_request() else {
            return Err(Failure::new("a run that only looks was about to change something", "report it"));
        };
        let answer = self.query(request.take(None)).await?;
        match self.acquire(&mut kept, request, answer).await {
            // Whoever reads this may be at another host, for which this one was to do something.
            Err(Failure::Locked { message, remedy }) => {
                Err(Failure::Locked { message: format!("{}: {message}", self.name()), remedy })
            }
            taken => taken,
        }
    }

    /// Makes the lock ours from what the machine answered: waits for others as long as the user wants, and for their
    /// programs that are still at work.
    async fn acquire(
        &self,
        kept: &mut Option<Kept>,
        request: &LockRequest,
        mut answer: Answer,
    ) -> Result<Fence> {
        let begun = Instant::now();
        loop {
            match Taking::parse(&answer.output) {
                None => return Err(unwritable(&answer.output)),
                Some(Taking::Taken(number, earlier, workers)) => {
                    self.tell_take_over(&earlier);
                    let fence = Fence { number, run: request.run.clone() };
                    *kept = Some(self.keep(fence.clone(), request.renew_every));
                    self.wait_for(workers, &fence, request.patience.max(BUSY_LIMIT)).await?;
                    return Ok(fence);
                }
                Some(Taking::Held(holder)) => {
                    let from = (request.is_gone)(&holder.process).then_some(holder.fence);
                    if from.is_none() {
                        let left = request.patience.saturating_sub(begun.elapsed());
                        if left.is_zero() {
                            return Err(held(&holder));
                        }
                        self.waiting(format!("the lock, held by {holder}"), begun);
                        tokio::time::sleep(POLL.min(left)).await;
                    }
                    answer = self.query(request.take(from)).await?;
                }
            }
        }
    }

    fn tell_take_over(&self, earlier: &Holder) {
        let why = match earlier.state {
            State::Free => return,
            State::Held => "whose process has ended".to_owned(),
            State::Stale => format!("which was not heard of for {}", super::time(earlier.heard)),
            State::Restarted => "from before the machine's restart".to_owned(),
        };
        self.warn(format!("took over the lock of {} with {}, {why}", earlier.owner, earlier.command));
    }

    /// Renews the lock until it is given back. What others took from us we only learn here when nothing else is done.
    fn keep(&self, fence: Fence, every: Duration) -> Kept {
        let (transport, lost_now) = (self.transport().clone(), self.keeper().lost.clone());
        let arguments = fence.arguments();
        let heartbeat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                // A renewal that does not get through is no matter: the next one may.
                let Ok(answer) = run(&transport, &sh(RENEW, &arguments)).await else { continue };
                if let Some(shown) = Shown::parse(&answer) {
                    lost_now.set(lost(Some(&shown.holder))).ok();
                    return;
                }
            }
        });
        Kept { fence, heartbeat }
    }

    /// Waits until the programs of earlier runs have ended.
    async fn wait_for(&self, mut workers: Vec<Worker>, fence: &Fence, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        while let Some(worker) = workers.first() {
            if begun.elapsed() > limit {
                return Err(Failure::Locked {
                    message: format!("{worker} is still at work after {}", super::time(limit)),
                    remedy: format!(
                        "see what it does on the machine: ps -fp {}; wait for it, or end it",
                        worker.pid
                    )
                    .into(),
                });
            }
            let said = if worker.said.is_empty() { String::new() } else { format!(": {}", worker.said) };
            self.waiting(format!("{worker} to end{said}"), begun);
            tokio::time::sleep(POLL).await;
            let answer = self.query(sh(WORK, [&fence.run])).await?;
            workers = self::workers(answer.output.lines());
        }
        Ok(())
    }

    /// Waits until a program of ours that was sent before the connection was lost has ended.
    pub(crate) async fn settle(&self, what: &str, id: &str, limit: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let answer = self.query(sh(AT_WORK, [id])).await?;
            let Some(pid) = answer.output.lines().next() else { return Ok(()) };
            let what = format!("the end of {what:?}, which goes on as process {pid}");
            if begun.elapsed() > limit {
                return Err(Failure::Waited { what, limit, tail: String::new() });
            }
            self.waiting(what, begun);
            tokio::time::sleep(POLL).await;
        }
    }

    fn waiting(&self, what: String, begun: Instant) {
        self.send(Event::Waiting { host: self.name().to_owned(), what, elapsed: begun.elapsed() });
    }

    /// Why a program did nothing but end with [`super::REFUSED`].
    pub(crate) async fn refused(&self, fence: &Fence) -> Failure {
        self.still_ours(fence).await.err().unwrap_or_else(|| unwritable(""))
    }

    /// Asks the machine whether the lock is ours.
    ///
    /// # Errors
    /// It is not, or the machine cannot be asked.
    pub(crate) async fn still_ours(&self, fence: &Fence) -> Result<()> {
        let answer = self.query(sh0(SHOW)).await?;
        let shown = Shown::parse(&answer.output);
        let shown = shown.map(|shown| shown.holder);
        // A power cut may leave the number without what it says.
        let is_ours = |holder: &Holder| {
            holder.fence == fence.number && holder.state != State::Free && !holder.owner.is_empty()
        };
        if shown.as_ref().is_some_and(is_ours) {
            return Ok(());
        }
        let failure = lost(shown.as_ref().filter(|holder| holder.fence != fence.number));
        self.keeper().lost.set(failure.clone()).ok();
        Err(failure)
    }

    /// Gives the lock back, where there is one; also in a run that was interrupted. Where it does not get through, or
    /// the machine is known not to answer, the lock ends by itself.
    pub(crate) async fn unlock(&self, answers: bool) {
        // Held until it is given back, so that nobody who needs it meanwhile is told that it is still ours.
        let mut slot = self.keeper().kept.lock().await;
        let Some(kept) = slot.take().filter(|_| answers) else { return };
        let release = sh(RELEASE, kept.fence.arguments());
        for _ in 0..2 {
            self.count_exchange();
            match self.transport().exec_last(exec(&nonce(), &release)).await {
                Err(error) if error.is_transient() => {}
                _ => return,
            }
        }
    }
}

/// Runs a program of the lock apart from what the run does: it is neither held back nor stopped with it.
async fn run(transport: &Arc<dyn Transport>, script: &Script) -> Result<String, TransportError> {
    let nonce = nonce();
    let exit = transport.exec(exec(&nonce, script)).await?;
    let answer = frames(&nonce, &exit).into_iter().find(|frame| frame.id == "0");
    Ok(answer.map(|frame| String::from_utf8_lossy(&frame.data).into_owned()).unwrap_or_default())
}

fn exec(nonce: &str, script: &Script) -> Exec {
    let program = Program::Text(probe_program(nonce, "", &[Part { id: 0, script }]));
    Exec { program, timeout: PATIENCE, on_line: None }
}

fn unwritable(said: &str) -> Failure {
    let said = said.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
    Failure::new(
        format!("the machine's lock cannot be written{said}"),
        "it is in /var/lib/muster/lock: make sure that /var is writable and not full",
    )
}
