//! Keeps a cluster well without a person: rounds, of which each looks ([`look`]), decides ([`decide`]) and does at most one thing
//! ([`act`]).

mod act;
mod decide;
#[cfg(test)]
mod decide_tests;
mod look;
mod memory;
mod metrics;
mod provider;
mod service;
mod status;

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use muster_app::{Project, World};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs};
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::text::{count, harmless};
use crate::output::{CommandLine, print};
use crate::runtime::runtime;
use act::{Actor, Apply, Outcome};
use decide::{CLUSTER, Decision, Seen, Step, Verdict, decide, remember, remember_try};
pub(crate) use decide::{Power, Rules};
use look::{Looked, look};
use memory::{Memory, line, outcome_line};
pub(crate) use memory::{Store, now, time_of};
pub(crate) use metrics::Metrics;
pub(crate) use provider::{Place, Provider, provider};
pub(crate) use service::Service;
pub(crate) use status::{Known, status};

/// How long the cluster stays ours after a round, in seconds: what is done in one may take minutes.
const CLAIM: u64 = 900;

/// Whoever keeps a cluster well, with what was typed for all rounds.
pub(crate) struct Keeper<'a> {
    pub(crate) project: Project,
    pub(crate) rules: Rules,
    /// How often it is looked for what `setup-cluster` would change; zero is never.
    pub(crate) drift_every: Duration,
    pub(crate) provider: Option<Box<dyn Provider>>,
    pub(crate) inventory: &'a InventoryArgs,
    pub(crate) connection: &'a ConnectionArgs,
    pub(crate) manner: MannerArgs,
    pub(crate) output: OutputArgs,
    /// Whether decisions are printed as lines of JSON.
    pub(crate) as_json: bool,
    /// What the declaration says, where the cluster is one of those that are declared.
    pub(crate) declared: Option<Declared<'a>>,
    pub(crate) environment: &'a Environment,
}

/// What a declaration says of the cluster that is kept.
pub(crate) struct Declared<'a> {
    pub(crate) name: &'a str,
    /// Why nothing but a look is to be done.
    pub(crate) held: Option<String>,
    /// What is wrong with it. The cluster is kept as its inventory says.
    pub(crate) wrong: Option<String>,
    /// Its mark and the reason, where it is to be applied.
    pub(crate) due: Option<(String, String)>,
    /// Whether the cluster has machines yet.
    pub(crate) is_made: bool,
    /// What machines get where they get a new system, by their names.
    pub(crate) images: BTreeMap<String, String>,
    pub(crate) apply: &'a Apply<'a>,
}

/// A cluster that is kept by this process: nobody else of this computer keeps it meanwhile.
pub(crate) struct Watch {
    store: Store,
    memory: Memory,
    who: String,
    is_first: bool,
    _lock: File,
}

impl Watch {
    /// Tells of a round that has ended, and how long it took.
    ///
    /// # Errors
    /// Whether it is frozen cannot be read.
    pub(crate) fn tell(
        &self,
        metrics: &Metrics,
        cluster: Option<&str>,
        took: Duration,
    ) -> Result<(), CommandError> {
        metrics.tell(cluster, &self.memory, self.store.frozen()?.is_some(), took);
        Ok(())
    }

    /// What is said where nothing is wrong.
    pub(crate) fn summary(&self) -> String {
        let machines = self.memory.cases.keys().filter(|name| *name != CLUSTER).count();
        format!("all is well: {}", count(machines, "machine"))
    }
}

impl Keeper<'_> {
    /// One round, or one after the other until a signal ends them. The exit code of one round: whether every machine was well.
    ///
    /// # Errors
    /// What is wrong on this side in the first round. Later ones are told, and the next round tries again.
    pub(crate) fn keep(&self, every: Option<Duration>, listen: Option<&str>) -> Result<Exit, CommandError> {
        let mut watch = match self.begin()? {
            Ok(watch) => watch,
            Err(other) => {
                print::note(&format!("this cluster is healed by {other}; nothing was done"));
                return Ok(Exit::Locked);
            }
        };
        let metrics = Metrics::at(listen)?;
        let stop = CancellationToken::new();
        let runtime = runtime()?;
        if every.is_some() {
            runtime.spawn(heed(stop.clone()));
        }
        let mut is_first = true;
        loop {
            let begun = Instant::now();
            let ended = self.round(&mut watch, every, &stop);
            if is_first && matches!(ended, Ok(Exit::Done)) && !self.as_json {
                print::note(&watch.summary());
            }
            match (ended, every) {
                (Ok(Exit::Interrupted), _) => return Ok(Exit::Interrupted),
                (ended, None) => return ended,
                (Err(error), Some(_)) if is_first => return Err(error),
                (Err(error), Some(_)) => print::note(&error.to_string()),
                (Ok(_), Some(_)) => {}
            }
            is_first = false;
            watch.tell(&metrics, None, begun.elapsed())?;
            let left = every.unwrap_or_default().saturating_sub(begun.elapsed());
            runtime.block_on(async { tokio::time::timeout(left, stop.cancelled()).await.ok() });
            if stop.is_cancelled() {
                return Ok(Exit::Done);
            }
        }
    }

    /// Begins to keep the cluster, with what is remembered of it; or says who keeps it already.
    ///
    /// # Errors
    /// What is remembered cannot be read, or the lock not be written.
    pub(crate) fn begin(&self) -> Result<Result<Watch, String>, CommandError> {
        let store = Store::of(&self.project);
        let who = memory::who(&self.project, self.environment);
        let holder = format!("{who} (pid {}), since {}", std::process::id(), time_of(now()));
        Ok(match store.lock(&holder)? {
            Ok(lock) => Ok(Watch { memory: store.memory()?, store, who, is_first: true, _lock: lock }),
            Err(other) => Err(other),
        })
    }

    /// Looks, decides, and does at most one thing. `every`: how often there is a round, where there is more than one.
    ///
    /// # Errors
    /// What is wrong on this side.
    pub(crate) fn round(
        &self,
        watch: &mut Watch,
        every: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<Exit, CommandError> {
        let claim = CLAIM + 2 * every.unwrap_or_default().as_secs();
        let Watch { store, memory, who, is_first, .. } = watch;
        let ended = self.look_and_act(memory, store, (who.as_str(), claim), *is_first, stop);
        *is_first = false;
        ended
    }

    fn look_and_act(
        &self,
        memory: &mut Memory,
        store: &Store,
        claim: (&str, u64),
        is_first: bool,
        stop: &CancellationToken,
    ) -> Result<Exit, CommandError> {
        let Looked { mut seen, places } = self.look(claim, is_first)?;
        seen.frozen = store.frozen()?.or_else(|| self.declared.as_ref()?.held.clone());
        memory.looked = seen.at;
        self.take_in_declaration(memory, &mut seen, is_first)?;
        let actor = self.actor();
        self.look_for_drift(memory, &seen, &actor);
        seen.drift.clone_from(&memory.drift);
        remember(&mut memory.cases, &seen);
        let decisions = decide(&seen, &memory.cases, &self.rules);
        self.tell(memory, store, &seen, &decisions, is_first)?;
        store.keep(memory)?;
        let what = decisions.iter().find_map(|decision| match decision.verdict {
            Verdict::Do(step) => Some((decision.machine.as_str(), step)),
            _ => None,
        });
        let is_well = seen.machines.iter().all(|machine| machine.trouble.is_none())
            && seen.drift.is_empty()
            && seen.declared.is_none()
            && memory.declaration.is_none();
        let exit = if is_well { Exit::Done } else { Exit::No };
        let Some((machine, step)) = what.filter(|_| !stop.is_cancelled()) else { return Ok(exit) };
        let case = memory.cases.entry(machine.to_owned()).or_default();
        if step == Step::Reimage {
            // Whoever is cut off meanwhile finds a host key that nobody knows, and has to know why.
            case.reimaged = true;
        }
        let before = case.clone();
        store.keep(memory)?;
        let outcome = actor.act(machine, step, &before, places.get(machine));
        self.conclude(memory, store, machine, step, &outcome)?;
        Ok(if outcome == Outcome::Interrupted { Exit::Interrupted } else { exit })
    }

    /// Looks at the machines, where there are any yet.
    fn look(&self, claim: (&str, u64), is_first: bool) -> Result<Looked, CommandError> {
        if self.declared.as_ref().is_some_and(|declared| !declared.is_made) {
            return Ok(Looked { seen: Seen { at: now(), ..Seen::default() }, places: BTreeMap::new() });
        }
        let frontend = CommandLine::plain(self.environment);
        let world = World::load(self.project.clone(), &self.inventory.into(), self.environment, &*frontend)?;
        if is_first {
            world.tell_warnings(&*frontend);
        }
        if let Some(problem) = world.folder_of_another() {
            return Err(CommandError::usage(problem.found).hint(problem.remedy));
        }
        let mut looked = look(world, self.connection, claim, self.provider(), self.environment)?;
        for (name, place) in &mut looked.places {
            place.image = self.declared.as_ref().and_then(|declared| declared.images.get(name).cloned());
        }
        Ok(looked)
    }

    /// Takes in what the declaration says: what is wrong with it is told once, and what was tried for an older one is forgotten.
    fn take_in_declaration(
        &self,
        memory: &mut Memory,
        seen: &mut Seen,
        is_first: bool,
    ) -> Result<(), CommandError> {
        let Some(declared) = &self.declared else { return Ok(()) };
        if memory.declaration != declared.wrong || is_first && declared.wrong.is_some() {
            memory.declaration.clone_from(&declared.wrong);
            let words = declared.wrong.as_deref().unwrap_or("the declaration is in order again");
            let told = json!({ "time": time_of(seen.at), "declaration": words });
            self.show(&told, words)?;
        }
        let Some((mark, why)) = &declared.due else { return Ok(()) };
        seen.declared = Some(why.clone());
        if memory.mark.as_ref() != Some(mark) {
            memory.mark = Some(mark.clone());
            let case = memory.cases.entry(CLUSTER.to_owned()).or_default();
            case.tries.clear();
            (case.next, case.since) = (0, seen.at);
        }
        Ok(())
    }

    /// Takes in what came of a step.
    fn conclude(
        &self,
        memory: &mut Memory,
        store: &Store,
        machine: &str,
        step: Step,
        outcome: &Outcome,
    ) -> Result<(), CommandError> {
        let (at, case) = (now(), memory.cases.entry(machine.to_owned()).or_default());
        let result = match outcome {
            // It begins again in the next round, or when somebody starts the loop again.
            Outcome::Interrupted => return store.keep(memory),
            Outcome::Locked => {
                case.next = at + self.rules.pause;
                return store.keep(memory);
            }
            Outcome::Done => Ok(()),
            Outcome::Failed(why) => Err(harmless(why)),
        };
        let words = result.clone().err().unwrap_or_else(|| "done".to_owned());
        remember_try(case, step, at, result, &self.rules);
        if machine == CLUSTER && *outcome == Outcome::Done {
            // Whether that was all is seen by the next look.
            (memory.looked_for_drift, memory.drift) = (0, Vec::new());
        }
        let (done, failed) = memory.steps.entry(step.to_string()).or_default();
        *(if *outcome == Outcome::Done { done } else { failed }) += 1;
        let told = outcome_line(at, machine, step, &words);
        self.show(&told, &format!("{machine}: {step}: {words}"))?;
        store.note(&[told])?;
        store.keep(memory)
    }

    /// Looks for what `setup-cluster` would change, now and then, where nothing else is wrong.
    fn look_for_drift(&self, memory: &mut Memory, seen: &Seen, actor: &Actor<'_>) {
        let every = self.drift_every.as_secs();
        let is_quiet = seen.machines.iter().all(|machine| machine.trouble.is_none())
            && !seen.machines.is_empty()
            && seen.declared.is_none()
            && seen.frozen.is_none()
            && seen.healer.is_none()
            && seen.at_work.is_none();
        if every == 0 {
            memory.drift.clear();
        }
        if every == 0 || !is_quiet || !memory.drift.is_empty() || seen.at < memory.looked_for_drift + every {
            return;
        }
        memory.looked_for_drift = seen.at;
        match actor.drift() {
            Ok(drift) => memory.drift = drift.iter().map(|change| harmless(change)).collect(),
            Err(error) => {
                print::note(&format!("whether setup-cluster would change something is not known: {error}"))
            }
        }
    }

    /// Tells decisions, and writes them down, where they are others than before.
    fn tell(
        &self,
        memory: &mut Memory,
        store: &Store,
        seen: &Seen,
        decisions: &[Decision],
        all: bool,
    ) -> Result<(), CommandError> {
        let mut lines: Vec<Value> = Vec::new();
        for decision in decisions {
            let Some(case) = memory.cases.get_mut(&decision.machine) else { continue };
            let decided = format!("{}: {}", decision.verdict, decision.reason);
            let is_well = decision.verdict == Verdict::Well;
            // That a machine was well from the beginning is no news.
            let is_new = case.decided != decided && !(is_well && case.decided.is_empty());
            let line = line(seen.at, decision);
            if is_new || all && !is_well {
                self.show(&line, &format!("{}: {decided}", decision.machine))?;
            }
            if is_new {
                lines.push(line);
            }
            case.decided = decided;
            case.until = match decision.verdict {
                Verdict::Wait(until) => until,
                _ => None,
            };
        }
        store.note(&lines)
    }

    /// Of several clusters each line says which one it is about.
    fn show(&self, line: &Value, words: &str) -> Result<(), CommandError> {
        let (mut line, mut words) = (line.clone(), words.to_owned());
        if let Some(declared) = &self.declared {
            line["cluster"] = declared.name.into();
            words = format!("{}: {words}", declared.name);
        }
        print::data(&if self.as_json { format!("{line}\n") } else { format!("{}\n", harmless(&words)) })
    }

    fn provider(&self) -> Option<&dyn Provider> {
        self.provider.as_deref()
    }

    fn actor(&self) -> Actor<'_> {
        Actor {
            project: &self.project,
            inventory: self.inventory,
            connection: self.connection,
            manner: &self.manner,
            output: self.output.clone(),
            provider: self.provider(),
            apply: self.declared.as_ref().map(|declared| declared.apply),
            environment: self.environment,
        }
    }
}

/// Sets the token at Ctrl-C and SIGTERM. What a round has begun it ends.
pub(crate) async fn heed(stop: CancellationToken) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
}
