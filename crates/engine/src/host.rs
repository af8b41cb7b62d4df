//! A machine as a role sees it: its name, facts and variables, and what can be asked of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use muster_artifacts::Bundle;
use muster_inventory::HostVars;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::event::{Change, Counts, Event, Events};
use crate::facts::Facts;
use crate::failure::{Failure, Result};
use crate::fan_out::sources::FanOut;
use crate::forks::{Forks, Place};
use crate::lock::{Keeper, Kind, LockRequest, REFUSED};
use crate::metered::Metered;
use crate::reads;
use crate::resource::Answer;
use crate::script::{Part, Script, complete, frames, nonce, probe_program};
use crate::transport::{Exec, Exit, Input, OnLine, Program, Transport, TransportError};
use crate::wait::{Motion, Wait};

/// Where a machine may hand artifacts on to others: the address and port at which they reach it. `None`: it takes no part.
pub type ServesAt = fn(&Host) -> Option<SocketAddr>;

/// What holds for a whole run.
#[derive(Clone)]
pub(crate) struct RunContext {
    pub events: Events,
    pub check: bool,
    /// `None` for a run that only looks.
    pub lock: Option<Arc<LockRequest>>,
    pub forks: Arc<Forks>,
    pub cancel: CancellationToken,
    pub bundle: Arc<Bundle>,
    pub project: Arc<PathBuf>,
    pub serves_at: Option<ServesAt>,
    /// How machines hand artifacts on to each other, where they do.
    pub fan_out: Option<Arc<FanOut>>,
}

/// A machine, as a role sees it.
pub struct Host {
    name: String,
    vars: HostVars,
    facts: OnceLock<Facts>,
    cluster: Arc<Cluster>,
    transport: Arc<dyn Transport>,
    run: RunContext,
    keeper: Keeper,
    exchanges: AtomicUsize,
    now: Mutex<Now>,
}

tokio::task_local! {
    /// Whether what is under way always runs, also when the run was interrupted: on whichever machine, because a host may have
    /// another one do it.
    pub(crate) static ALWAYS: bool;
}

/// Where a host is in its run.
#[derive(Default)]
struct Now {
    role: String,
    step: String,
    role_counts: Counts,
    counts: Counts,
}

/// What one machine did in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostSummary {
    /// Resources looked at and changed.
    pub counts: Counts,
    /// Programs sent and answered.
    pub exchanges: usize,
}

impl Host {
    pub(crate) fn new(
        name: &str,
        vars: HostVars,
        cluster: Arc<Cluster>,
        transport: Arc<dyn Transport>,
        run: RunContext,
    ) -> Self {
        Self {
            name: name.to_owned(),
            vars,
            facts: OnceLock::new(),
            cluster,
            transport,
            run,
            keeper: Keeper::default(),
            exchanges: AtomicUsize::new(0),
            now: Mutex::default(),
        }
    }

    /// The inventory's name of the machine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All hosts of the inventory.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What the machine is. Read before its first role begins.
    ///
    /// # Panics
    /// For a host that is not part of the run: its facts are never read.
    #[expect(clippy::expect_used, reason = "a role that asks for them is wrong on every machine")]
    pub fn facts(&self) -> &Facts {
        self.facts.get().expect("facts are read before the first role of a host")
    }

    /// The same of a host that may not be part of the run, or may not have been reached.
    pub fn known_facts(&self) -> Option<&Facts> {
        self.facts.get()
    }

    /// The variables a role has declared, each rendered and typed. All that are missing or ill-typed are named at once.
    ///
    /// # Panics
    /// Where debug assertions are on, and the role does not say that it reads them ([`crate::run::Role::reads`]).
    pub fn vars<T: DeserializeOwned>(&self) -> Result<T> {
        if cfg!(debug_assertions) {
            reads::is_said::<T>(self);
        }
        Ok(self.vars.deserialize()?)
    }

    /// All variables of the host, to be asked one by one.
    pub fn all_vars(&self) -> &HostVars {
        &self.vars
    }

    /// Renders a template of a role: every variable of the host is there, and `extra`.
    pub fn render(&self, name: &str, template: &str, extra: &serde_json::Value) -> Result<String> {
        Ok(self.vars.render(template, name, extra)?)
    }

    /// Whether the host is in a group of the inventory.
    pub fn in_group(&self, group: &str) -> bool {
        self.cluster.group(group).contains(&self.name)
    }

    /// Whether nothing may be changed.
    pub fn check_mode(&self) -> bool {
        self.run.check
    }

    /// Whether the machine is the computer that the run itself goes on, with its inventory.
    pub fn is_here(&self) -> bool {
        self.transport.is_here()
    }

    /// Where binaries and images come from.
    pub fn bundle(&self) -> &Arc<Bundle> {
        &self.run.bundle
    }

    /// The folder on this side where the inventory is, for what a role brings back.
    pub fn project(&self) -> &Path {
        &self.run.project
    }

    /// Runs a snippet that only looks, also in check mode.
    pub async fn query(&self, script: Script) -> Result<Answer> {
        self.query_within(script, Duration::from_secs(60)).await
    }

    async fn query_within(&self, script: Script, limit: Duration) -> Result<Answer> {
        let nonce = nonce();
        let program = probe_program(&nonce, "", &[Part { id: 0, script: &script }]);
        let exit = self.exec(Program::Text(program), limit).await?;
        Ok(answers(self, &nonce, &exit, 1)?.swap_remove(0))
    }

    /// Runs several snippets that only look in one exchange.
    pub async fn query_all(&self, scripts: &[Script]) -> Result<Vec<Answer>> {
        // Many machines wait here for their first turn: the program is written when it has come.
        let place = self.turn().await?;
        let nonce = nonce();
        let parts: Vec<_> = scripts.iter().enumerate().map(|(id, script)| Part { id, script }).collect();
        let program = Program::Text(probe_program(&nonce, "", &parts));
        let exit = self.exec_at(place, program, Duration::from_secs(60), self.on_line()).await?;
        answers(self, &nonce, &exit, scripts.len())
    }

    /// Runs a snippet that changes something outside of what resources describe, and returns what it printed. Not to be
    /// called in check mode. It is never repeated.
    pub async fn run(&self, what: &str, script: Script, limit: Duration) -> Result<String> {
        self.run_on_behalf_of(self, what, script, limit).await
    }

    /// The same on behalf of another host: it is told and counted as what that host does.
    pub async fn run_on_behalf_of(
        &self,
        asker: &Host,
        what: &str,
        script: Script,
        limit: Duration,
    ) -> Result<String> {
        asker.enter_step(what);
        let (begun, exchanges) = (Instant::now(), self.exchanges());
        let answer = self.change(what, script, limit).await?;
        asker.leave_step_of_one(what, self.exchanges() - exchanges, begun.elapsed());
        Ok(answer)
    }

    /// The same beside what the host does otherwise.
    pub(crate) async fn change(&self, what: &str, script: Script, limit: Duration) -> Result<String> {
        let (id, fence) = (nonce(), self.fence().await?);
        let guard = fence.guard(&id, Kind::Change, what);
        let program = probe_program(&id, &guard, &[Part { id: 0, script: &script }]);
        let exit = self.exec(Program::Text(program), limit).await?;
        if exit.status == REFUSED && frames(&id, &exit).is_empty() {
            return Err(self.refused(&fence).await);
        }
        let answer = answers(self, &id, &exit, 1)?.swap_remove(0);
        if answer.status != 0 {
            // What it had done, and then why it went no further.
            let (resource, said) = (what.to_owned(), exit.tail());
            let tail = match answer.output.trim_end() {
                output if output.is_empty() || output == said => said,
                output => format!("{output}\n{said}"),
            };
            return Err(Failure::Change { resource, status: answer.status, tail });
        }
        Ok(answer.output)
    }

    /// Waits for something, as [`Wait`] says. In check mode nothing that an earlier step would have brought about can become
    /// true: then it asks once, and what is not so is passed over.
    pub async fn wait(&self, wait: Wait) -> Result<Answer> {
        self.wait_on_behalf_of(self, wait).await
    }

    /// The same on behalf of another host: it is told and counted as what that host does.
    pub async fn wait_on_behalf_of(&self, asker: &Host, wait: Wait) -> Result<Answer> {
        self.wait_judged(asker, wait, &|answer| answer).await
    }

    /// The same, where an answer counts as what `judge` makes of it. What that says after `not yet: ` is told while it is waited for.
    pub async fn wait_judged(
        &self,
        asker: &Host,
        wait: Wait,
        judge: &(dyn Fn(Answer) -> Answer + Sync),
    ) -> Result<Answer> {
        let what = wait.what.as_str();
        asker.enter_step(what);
        let (begun, exchanges) = (Instant::now(), self.exchanges());
        let (mut motion, mut told) = (Motion::new(&wait), String::new());
        loop {
            let answer = match self.query_within(wait.until.clone(), wait.limit).await {
                Err(Failure::Transport(error)) if error.is_transient() => {
                    Answer { status: 255, output: error.to_string() }
                }
                answer => judge(answer?),
            };
            if answer.status == 0 {
                asker.leave_step_of_one(what, self.exchanges() - exchanges, begun.elapsed());
                return Ok(answer);
            }
            if self.check_mode() {
                asker.not_yet(what);
                return Ok(Answer::default());
            }
            if answer.output.starts_with("not yet: ") && answer.output != told {
                told.clone_from(&answer.output);
                asker.send(Event::Output { host: asker.name.clone(), line: told.clone() });
            }
            if let Some(moves) = motion.to_be_looked_at() {
                // What cannot be seen does not move.
                let seen = self.query_within(moves.clone(), wait.limit).await.ok();
                motion.saw(seen.map(|answer| answer.output));
            }
            if let Some(limit) = motion.over() {
                return Err(Failure::Waited { what: what.to_owned(), limit, tail: answer.output });
            }
            let (host, what, elapsed) = (asker.name.clone(), what.to_owned(), begun.elapsed());
            asker.send(Event::Waiting { host, what, elapsed });
            tokio::time::sleep(wait.every).await;
        }
    }

    /// Sends a snippet that changes something until it succeeds, on behalf of another host: as [`Host::wait_on_behalf_of`] does
    /// with one that only looks. Each attempt has to end by itself within seconds. `told` makes of what one has printed a
    /// line for the screen. Not to be called in check mode.
    ///
    /// # Errors
    /// [`Failure::Waited`] with what the last attempt printed.
    pub async fn insist_on_behalf_of(
        &self,
        asker: &Host,
        what: &str,
        script: &Script,
        limit: Duration,
        told: impl Fn(&str) -> String,
    ) -> Result<String> {
        asker.enter_step(what);
        let (begun, exchanges) = (Instant::now(), self.exchanges());
        loop {
            let tail = match self.change(what, script.clone(), Duration::from_secs(120)).await {
                Ok(output) => {
                    asker.leave_step_of_one(what, self.exchanges() - exchanges, begun.elapsed());
                    return Ok(output);
                }
                Err(Failure::Change { tail, .. }) => tail,
                Err(Failure::Transport(error)) if error.is_transient() => error.to_string(),
                Err(failure) => return Err(failure),
            };
            if begun.elapsed() >= limit {
                return Err(Failure::Waited { what: what.to_owned(), limit, tail });
            }
            asker.send(Event::Output { host: asker.name.clone(), line: told(&tail) });
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// The run was ended meanwhile.
    pub async fn pause(&self, what: &str, length: Duration) -> Result<()> {
        let begun = Instant::now();
        while let Some(left) = length.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            self.may_go_on()?;
            let (host, what, elapsed) = (self.name.clone(), what.to_owned(), begun.elapsed());
            self.send(Event::Waiting { host, what, elapsed });
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
        self.may_go_on()
    }

    /// Says that a role looked at something with queries of its own, and that it is as it should be.
    pub fn passed(&self, what: &str) {
        self.leave_step_of_one(what, 0, Duration::ZERO);
    }

    /// Says in check mode what cannot be looked at before the steps in front of it are done.
    pub fn not_yet(&self, what: &str) {
        self.leave_step_with(what, Counts { skipped: 1, ..Counts::default() }, 0, Duration::ZERO);
    }

    /// Tells the other hosts how far this one is.
    pub fn reached(&self, what: &str) {
        if let Some(progress) = self.cluster.progress_of(&self.name) {
            progress.send_modify(|p| {
                p.reached.insert(what.to_owned());
            });
        }
    }

    /// Waits until another host has reached something.
    pub async fn needs(&self, other: &str, what: &str) -> Result<()> {
        self.cluster.wait_for(self, other, what).await
    }

    /// The same for what a role of the other host brings about: where that host does not go through the role in this run, it
    /// has reached it in an earlier one.
    pub async fn needs_of_role(&self, other: &str, role: &str, what: &str) -> Result<()> {
        if !self.cluster.has_role(other, role) {
            return Ok(());
        }
        self.needs(other, what).await
    }

    /// Says that something on this side was changed, or in check mode: would be, on behalf of the host.
    pub fn changed_here(&self, change: Change) {
        let counts = Counts { ok: 1, changed: 1, skipped: 0 };
        self.leave_step(counts);
        self.send(Event::StepEnded {
            host: self.name.clone(),
            role: self.role(),
            step: "on this side".into(),
            counts,
            changes: vec![change],
            exchanges: 0,
            elapsed: Duration::ZERO,
        });
    }

    /// Keeps the facts that were read first.
    pub(crate) fn know(&self, facts: Facts) {
        // Expressions of the inventory may read them, of this host and of others.
        self.cluster().tell_facts(self.name(), facts.of_ansible());
        self.facts.set(facts).ok();
    }

    /// What this run says when it takes the machine's lock; `None` when it only looks.
    pub(crate) fn lock_request(&self) -> Option<&LockRequest> {
        self.run.lock.as_deref()
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    pub(crate) async fn exec(&self, program: Program, timeout: Duration) -> Result<Exit> {
        self.exec_with(program, timeout, self.on_line()).await
    }

    pub(crate) async fn exec_with(
        &self,
        program: Program,
        timeout: Duration,
        on_line: OnLine,
    ) -> Result<Exit> {
        let place = self.turn().await?;
        self.exec_at(place, program, timeout, on_line).await
    }

    /// Waits for the machine's turn, after which the run may have been ended.
    async fn turn(&self) -> Result<Place> {
        let place = self.run.forks.acquire(self.exchanges() > 0).await;
        self.may_go_on()?;
        Ok(place)
    }

    async fn exec_at(
        &self,
        _place: Place,
        program: Program,
        timeout: Duration,
        on_line: OnLine,
    ) -> Result<Exit> {
        self.count_exchange();
        let exec = Exec { program, timeout, on_line: Some(on_line) };
        Ok(self.transport.exec(exec).await?)
    }

    /// Whether the run goes on here: the lock is still ours, and nobody has interrupted it.
    pub(crate) fn may_go_on(&self) -> Result<()> {
        self.keeper.check()?;
        let goes_on = ALWAYS.try_with(|always| *always).unwrap_or(false);
        if self.run.cancel.is_cancelled() && !goes_on {
            return Err(Failure::Stopped("it was interrupted".into()));
        }
        Ok(())
    }

    /// Where the machine may hand artifacts on to others; `None` where it takes no part in that.
    pub(crate) fn serves_at(&self) -> Option<SocketAddr> {
        self.run.serves_at.and_then(|serves_at| serves_at(self))
    }

    /// How this host gets something of this size from others; `None` where only from this side.
    pub(crate) fn fan_out(&self, size: u64) -> Option<&Arc<FanOut>> {
        self.run.fan_out.as_ref().filter(|_| FanOut::concerns(size) && self.serves_at().is_some())
    }

    /// Whether the machine keeps something for others, who may still want it. One that does not answer gives nothing.
    pub(crate) fn hands_on(&self, answers: bool) -> bool {
        self.run.fan_out.as_ref().is_some_and(|fan_out| fan_out.hands_on(&self.name, answers))
    }

    pub(crate) fn count_exchange(&self) {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn on_line(&self) -> OnLine {
        let (host, events) = (self.name.clone(), self.run.events.clone());
        Arc::new(move |line: &str| events.send(Event::Output { host: host.clone(), line: line.to_owned() }))
    }

    /// Says that a step is tried again, and waits a little longer each time.
    pub(crate) async fn retry(&self, what: &str, error: &TransportError, attempt: usize, attempts: usize) {
        let delay = Duration::from_secs(1 << attempt);
        self.send(Event::Retrying {
            host: self.name.clone(),
            what: what.to_owned(),
            reason: error.to_string(),
            attempt: attempt + 1,
            attempts,
            delay,
        });
        tokio::time::sleep(delay).await;
    }

    pub(crate) fn enter_role(&self, play: &str, role: &str) {
        let mut now = self.now();
        now.role = role.to_owned();
        now.step.clear();
        now.role_counts = Counts::default();
        drop(now);
        let (host, play, role) = (self.name.clone(), play.to_owned(), role.to_owned());
        self.send(Event::RoleStarted { host, play, role });
    }

    pub(crate) fn role_counts(&self) -> Counts {
        self.now().role_counts
    }

    pub(crate) fn enter_step(&self, step: &str) {
        let mut now = self.now();
        now.step = step.to_owned();
        let (host, role, step) = (self.name.clone(), now.role.clone(), step.to_owned());
        drop(now);
        self.send(Event::StepStarted { host, role, step });
    }

    /// What fails between two steps is no fault of the first.
    pub(crate) fn leave_step(&self, counts: Counts) {
        let mut now = self.now();
        now.step.clear();
        now.role_counts += counts;
        now.counts += counts;
    }

    /// Ends a step of one thing, which is as it should be, and took so many exchanges.
    pub(crate) fn leave_step_of_one(&self, step: &str, exchanges: usize, elapsed: Duration) {
        self.leave_step_with(step, Counts { ok: 1, ..Counts::default() }, exchanges, elapsed);
    }

    /// Ends a step that changed nothing.
    fn leave_step_with(&self, step: &str, counts: Counts, exchanges: usize, elapsed: Duration) {
        self.leave_step(counts);
        self.send(Event::StepEnded {
            host: self.name.clone(),
            role: self.role(),
            step: step.to_owned(),
            counts,
            changes: Vec::new(),
            exchanges,
            elapsed,
        });
    }

    /// The role the host is in, and the step.
    pub(crate) fn place(&self) -> (Option<String>, Option<String>) {
        let now = self.now();
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        (some(&now.role), some(&now.step))
    }

    pub(crate) fn role(&self) -> String {
        self.now().role.clone()
    }

    pub(crate) fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::Relaxed)
    }

    pub(crate) fn summary(&self) -> HostSummary {
        HostSummary { counts: self.now().counts, exchanges: self.exchanges() }
    }

    pub(crate) fn send(&self, event: Event) {
        self.run.events.send(event);
    }

    pub(crate) fn events(&self) -> Events {
        self.run.events.clone()
    }

    /// A stream that tells how much of it was read, beyond what `sent` says at first.
    pub(crate) fn metered(&self, input: Input, name: &str, total: u64, sent: Arc<AtomicU64>) -> Input {
        Box::new(Metered {
            input,
            host: self.name.clone(),
            name: name.to_owned(),
            events: self.run.events.clone(),
            sent,
            told: Instant::now(),
            total,
        })
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the parts of a program answered.
fn answers(host: &Host, nonce: &str, exit: &Exit, parts: usize) -> Result<Vec<Answer>> {
    let frames = complete(host.name(), nonce, exit)?;
    let answer = |id: usize| {
        let frame = frames.iter().find(|frame| frame.id == id.to_string());
        let mut answer = frame.map_or_else(Answer::default, |f| Answer {
            status: f.status,
            output: String::from_utf8_lossy(&f.data).into_owned(),
        });
        if answer.status != 0 && answer.output.trim().is_empty() {
            answer.output = exit.tail();
        }
        answer
    };
    Ok((0..parts).map(answer).collect())
}
