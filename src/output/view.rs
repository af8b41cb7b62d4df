//! How far a run is, as far as its events tell: for each host what it does, for each role who is through it.

use std::time::{Duration, Instant};

use indexmap::IndexMap;
use muster_app::{Outline, OutlinePlay, Usual};
use muster_engine::event::{Counts, Event};
use muster_engine::failure::Failure;

use crate::output::text;

/// A role of a play: what collapses into one line when everybody is through.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) play: String,
    pub(crate) role: String,
    /// Hosts that may still come to it or are in it.
    open: Vec<String>,
    pub(crate) begun: Option<Instant>,
    pub(crate) ended: Option<Instant>,
    /// How many hosts are through.
    pub(crate) passed: usize,
    /// Who failed in it.
    pub(crate) failed: Vec<String>,
    /// Who was stopped in it, because of others or by the user.
    pub(crate) stopped: Vec<String>,
    pub(crate) counts: Counts,
}

/// What a host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostState {
    Connecting,
    Working,
    Done,
    Failed,
}

/// One host.
#[derive(Debug, Clone)]
pub(crate) struct HostView {
    pub(crate) state: HostState,
    stage: Option<usize>,
    pub(crate) role: String,
    pub(crate) step: String,
    /// Since when it does what it does.
    pub(crate) since: Instant,
    /// The last thing heard of it: a line of output, how far a transfer is, what it waits for.
    pub(crate) note: String,
    /// Whether it only waits for another host.
    pub(crate) waits: bool,
    /// The last lines that programs on it wrote in this step.
    pub(crate) output: Vec<String>,
}

/// A step and how long it took on its slowest host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepTime {
    pub(crate) host: String,
    pub(crate) time: Duration,
}

/// How many lines of output are kept of each host.
const OUTPUT_KEPT: usize = 20;

/// The state of a run.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) begun: Instant,
    pub(crate) stages: Vec<Stage>,
    pub(crate) hosts: IndexMap<String, HostView>,
    /// Of each step, by role and name, its slowest host.
    pub(crate) steps: IndexMap<(String, String), StepTime>,
    /// What the user should know, and which hosts said so.
    pub(crate) warnings: IndexMap<String, Vec<String>>,
    /// What was tried out and works.
    pub(crate) tested: Vec<String>,
    /// How long the run took, once it has ended.
    pub(crate) elapsed: Option<Duration>,
    pub(crate) usual: Usual,
}

/// After how long at one step it is said how long that one usually takes.
const WORTH_A_WORD: Duration = Duration::from_secs(2);

impl View {
    pub(crate) fn new(outline: &Outline, usual: Usual, now: Instant) -> Self {
        let stage = |play: &OutlinePlay, role: &String| Stage {
            play: play.name.clone(),
            role: role.clone(),
            open: play.hosts.clone(),
            begun: None,
            ended: None,
            passed: 0,
            failed: Vec::new(),
            stopped: Vec::new(),
            counts: Counts::default(),
        };
        let host = HostView {
            state: HostState::Connecting,
            stage: None,
            role: String::new(),
            step: String::new(),
            since: now,
            note: String::new(),
            waits: false,
            output: Vec::new(),
        };
        Self {
            begun: now,
            stages: outline
                .plays
                .iter()
                .flat_map(|play| play.roles.iter().map(move |role| stage(play, role)))
                .collect(),
            hosts: outline.hosts.iter().map(|name| (name.clone(), host.clone())).collect(),
            steps: IndexMap::new(),
            warnings: IndexMap::new(),
            tested: Vec::new(),
            elapsed: None,
            usual,
        }
    }

    /// `, usually 25s`: what is to be said of a step that a host has been at for a while. Empty where nothing is known.
    pub(crate) fn usually(&self, host: &HostView, now: Instant) -> String {
        let lasts = now.saturating_duration_since(host.since) >= WORTH_A_WORD;
        let usual = lasts.then(|| self.usual.step(&host.role, &host.step)).flatten();
        usual.map(|time| format!(", usually {}", text::duration(time))).unwrap_or_default()
    }

    /// How many hosts are in a state.
    pub(crate) fn count(&self, state: HostState) -> usize {
        self.hosts.values().filter(|host| host.state == state).count()
    }

    /// Whether a warning was given just now for the first time. Those of further hosts are told together at the end.
    pub(crate) fn is_first(&self, warning: &str) -> bool {
        self.warnings.get(warning).is_none_or(|hosts| hosts.len() <= 1)
    }

    /// Takes in what happened. Returns the stages that came to their end by it.
    pub(crate) fn apply(&mut self, event: &Event, now: Instant) -> Vec<usize> {
        match event {
            Event::Connected { host, .. } => self.update(host, now, |view| view.state = HostState::Working),
            Event::RoleStarted { host, play, role } => {
                let stage = self.stages.iter().position(|stage| stage.play == *play && stage.role == *role);
                if let Some(at) = stage {
                    self.stages[at].begun.get_or_insert(now);
                }
                self.end_step(host, now);
                self.update(host, now, |view| {
                    view.stage = stage;
                    view.role.clone_from(role);
                    view.step.clear();
                });
            }
            Event::RoleEnded { host, counts, .. } => {
                self.end_step(host, now);
                let stage = self.hosts.get(host).and_then(|view| view.stage);
                self.update(host, now, |view| {
                    view.stage = None;
                    view.role.clear();
                    view.step.clear();
                });
                return stage.and_then(|at| self.pass(at, host, *counts, now)).into_iter().collect();
            }
            Event::StepStarted { host, step, .. } => {
                self.end_step(host, now);
                self.update(host, now, |view| view.step.clone_from(step));
            }
            Event::Output { host, line } => self.note(host, false, |view| {
                view.note = text::quoted(line);
                view.output.push(text::quoted(line));
                if view.output.len() > OUTPUT_KEPT {
                    view.output.remove(0);
                }
            }),
            Event::Transfer { host, name, sent, total } => self.note(host, false, |view| {
                view.note = format!("{name}: {} of {}", text::size(*sent), text::size(*total));
            }),
            Event::Waiting { host, what, .. } => self.wait(host, what),
            Event::Retrying { host, reason, attempt, attempts, delay, .. } => {
                self.note(host, false, |view| {
                    view.note = format!(
                        "try {attempt} of {attempts} in {}: {}",
                        text::duration(*delay),
                        text::harmless(reason)
                    );
                })
            }
            Event::HostFailed { host, role, step, failure } => {
                self.end_step(host, now);
                let stage = self.failed_in(host, role.as_deref());
                // The last step that began may have ended well, and so may a role that always runs.
                if let Some(view) = self.hosts.get_mut(host) {
                    view.stage = stage;
                    if let Some(role) = role {
                        view.role.clone_from(role);
                    }
                    view.step = step.clone().unwrap_or_default();
                }
                return self.leave(host, HostState::Failed, Some(failure), now);
            }
            Event::HostDone { host } => {
                self.end_step(host, now);
                return self.leave(host, HostState::Done, None, now);
            }
            Event::Warning { host, text } => {
                let hosts = self.warnings.entry(text.clone()).or_default();
                hosts.extend(host.iter().filter(|host| !hosts.contains(host)).cloned().collect::<Vec<_>>());
            }
            Event::Tested { what, .. } => self.tested.push(what.clone()),
            Event::RunEnded { elapsed } => self.elapsed = Some(*elapsed),
            Event::RunStarted { .. }
            | Event::PlayStarted { .. }
            | Event::StepEnded { .. }
            | Event::Told { .. } => {}
        }
        Vec::new()
    }

    /// A host begins something else.
    fn update(&mut self, host: &str, now: Instant, change: impl FnOnce(&mut HostView)) {
        if let Some(view) = self.hosts.get_mut(host) {
            view.since = now;
            view.note.clear();
            view.output.clear();
            view.waits = false;
            change(view);
        }
    }

    /// A host goes on with what it does.
    fn note(&mut self, host: &str, waits: bool, change: impl FnOnce(&mut HostView)) {
        if let Some(view) = self.hosts.get_mut(host) {
            view.waits = waits;
            change(view);
        }
    }

    /// A step may be nothing but waiting, under its own name, for something on the machine itself: that is work.
    fn wait(&mut self, host: &str, what: &str) {
        let is_the_step = self.hosts.get(host).is_some_and(|view| view.step == what);
        self.note(host, !is_the_step, |view| {
            if !is_the_step {
                view.note = format!("waits for {what}");
            }
        });
    }

    /// Remembers how long the step took that a host was in.
    fn end_step(&mut self, host: &str, now: Instant) {
        let Some(view) = self.hosts.get(host).filter(|view| !view.step.is_empty()) else { return };
        let time = now.saturating_duration_since(view.since);
        let key = (view.role.clone(), view.step.clone());
        let slowest = self.steps.entry(key).or_insert_with(|| StepTime { host: host.to_owned(), time });
        if time > slowest.time {
            *slowest = StepTime { host: host.to_owned(), time };
        }
    }

    fn pass(&mut self, at: usize, host: &str, counts: Counts, now: Instant) -> Option<usize> {
        let stage = self.stages.get_mut(at)?;
        stage.passed += 1;
        stage.counts += counts;
        stage.open.retain(|open| open != host);
        Self::close(stage, now).then_some(at)
    }

    /// The stage in which a host failed: the one it is in, unless a role that always runs came after the one that failed.
    fn failed_in(&self, host: &str, role: Option<&str>) -> Option<usize> {
        let is_it = |stage: &Stage| {
            Some(stage.role.as_str()) == role
                && stage.begun.is_some()
                && stage.open.iter().any(|open| open == host)
        };
        self.stages.iter().position(is_it).or_else(|| self.hosts.get(host)?.stage)
    }

    /// A host will come to no further stage.
    fn leave(&mut self, host: &str, state: HostState, failure: Option<&Failure>, now: Instant) -> Vec<usize> {
        let stage = self.hosts.get(host).and_then(|view| view.stage);
        if let (Some(stage), Some(failure)) = (stage.and_then(|at| self.stages.get_mut(at)), failure) {
            let list =
                if matches!(failure, Failure::Stopped(_)) { &mut stage.stopped } else { &mut stage.failed };
            list.push(host.to_owned());
        }
        if let Some(view) = self.hosts.get_mut(host) {
            view.state = state;
            view.since = now;
        }
        let mut ended = Vec::new();
        for (at, stage) in self.stages.iter_mut().enumerate() {
            let before = stage.open.len();
            stage.open.retain(|open| open != host);
            if before > 0 && Self::close(stage, now) {
                ended.push(at);
            }
        }
        ended
    }

    /// Whether a stage that somebody was in has come to its end just now.
    fn close(stage: &mut Stage, now: Instant) -> bool {
        let closed = stage.open.is_empty() && stage.begun.is_some() && stage.ended.is_none();
        if closed {
            stage.ended = Some(now);
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_hosts() -> View {
        let play = |name: &str, hosts: &[&str], roles: &[&str]| OutlinePlay {
            name: name.into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            roles: roles.iter().map(ToString::to_string).collect(),
        };
        let outline = Outline {
            hosts: vec!["a".into(), "b".into()],
            plays: vec![play("one", &["a", "b"], &["etcd"]), play("two", &["a"], &["node"])],
        };
        View::new(&outline, Usual::default(), Instant::now())
    }

    fn started(host: &str, play: &str, role: &str) -> Event {
        Event::RoleStarted { host: host.into(), play: play.into(), role: role.into() }
    }

    fn ended(host: &str, role: &str, changed: usize) -> Event {
        let counts = Counts { ok: 3, changed, skipped: 0 };
        Event::RoleEnded { host: host.into(), role: role.into(), counts, elapsed: Duration::ZERO }
    }

    fn failed(host: &str) -> Event {
        let failure = Failure::new("it broke", "mend it");
        Event::HostFailed { host: host.into(), role: None, step: None, failure }
    }

    #[test]
    fn a_stage_ends_when_its_last_host_is_through() {
        let mut view = two_hosts();
        let now = view.begun;
        assert!(view.apply(&started("a", "one", "etcd"), now).is_empty());
        assert!(view.apply(&ended("a", "etcd", 2), now).is_empty());
        assert!(view.apply(&started("b", "one", "etcd"), now).is_empty());
        let later = now + Duration::from_secs(4);
        assert_eq!(view.apply(&ended("b", "etcd", 1), later), [0]);
        assert_eq!((view.stages[0].passed, view.stages[0].counts.changed), (2, 3));
        assert_eq!(view.stages[0].ended, Some(later));
    }

    #[test]
    fn a_stage_ends_when_whoever_is_missing_has_failed_and_one_nobody_came_to_does_not() {
        let mut view = two_hosts();
        let now = view.begun;
        view.apply(&started("a", "one", "etcd"), now);
        view.apply(&failed("b"), now);
        assert_eq!(view.apply(&failed("a"), now), [0], "the second play was never begun");
        assert_eq!((view.stages[0].passed, view.stages[0].failed.clone()), (0, vec!["a".to_owned()]));
        assert_eq!(view.count(HostState::Failed), 2);
    }

    #[test]
    fn whoever_was_stopped_in_a_stage_did_not_fail_in_it() {
        let mut view = two_hosts();
        let now = view.begun;
        view.apply(&started("a", "one", "etcd"), now);
        view.apply(&failed("b"), now);
        let failure = Failure::Stopped("it was interrupted".into());
        let stopped = Event::HostFailed { host: "a".into(), role: None, step: None, failure };
        assert_eq!(view.apply(&stopped, now), [0]);
        assert_eq!((view.stages[0].failed.len(), view.stages[0].stopped.clone()), (0, vec!["a".to_owned()]));
    }

    #[test]
    fn a_role_that_always_runs_does_not_make_a_success_of_the_one_that_was_interrupted() {
        let play = OutlinePlay {
            name: "one".into(),
            hosts: vec!["a".into()],
            roles: vec!["upgrade-node".into(), "upgrade-end".into()],
        };
        let outline = Outline { hosts: vec!["a".into()], plays: vec![play] };
        let mut view = View::new(&outline, Usual::default(), Instant::now());
        let now = view.begun;
        view.apply(&started("a", "one", "upgrade-node"), now);
        view.apply(&started("a", "one", "upgrade-end"), now);
        assert_eq!(view.apply(&ended("a", "upgrade-end", 1), now), [1]);
        let failure = Failure::Stopped("it was interrupted".into());
        let role = Some("upgrade-node".to_owned());
        let stopped = Event::HostFailed { host: "a".into(), role, step: None, failure };
        assert_eq!(view.apply(&stopped, now), [0]);
        assert_eq!((view.stages[0].passed, view.stages[0].stopped.clone()), (0, vec!["a".to_owned()]));
        assert_eq!(view.hosts["a"].role, "upgrade-node");
    }

    #[test]
    fn the_last_step_that_began_is_not_told_as_the_one_that_failed_when_it_ended_well() {
        let mut view = two_hosts();
        let now = view.begun;
        view.apply(&started("a", "one", "etcd"), now);
        view.apply(
            &Event::StepStarted { host: "a".into(), role: "etcd".into(), step: "Tidy up".into() },
            now,
        );
        view.apply(&failed("a"), now);
        assert_eq!((view.hosts["a"].role.as_str(), view.hosts["a"].step.as_str()), ("etcd", ""));
    }

    #[test]
    fn waiting_for_oneself_is_work_and_a_warning_of_many_hosts_is_new_once() {
        let mut view = two_hosts();
        let now = view.begun;
        let step = "nodes and pods are well".to_owned();
        view.apply(&Event::StepStarted { host: "a".into(), role: "verify".into(), step: step.clone() }, now);
        view.apply(&Event::Waiting { host: "a".into(), what: step, elapsed: Duration::ZERO }, now);
        assert_eq!((view.hosts["a"].waits, view.hosts["a"].note.as_str()), (false, ""));
        view.apply(
            &Event::Waiting { host: "a".into(), what: "b: etcd".into(), elapsed: Duration::ZERO },
            now,
        );
        assert_eq!((view.hosts["a"].waits, view.hosts["a"].note.as_str()), (true, "waits for b: etcd"));
        let mut first = Vec::new();
        for host in ["a", "b"] {
            view.apply(&Event::Warning { host: Some(host.into()), text: "old".into() }, now);
            first.push(view.is_first("old"));
        }
        assert_eq!(first, [true, false]);
    }

    #[test]
    fn the_slowest_host_of_each_step_is_remembered() {
        let mut view = two_hosts();
        let base = view.begun;
        for (host, begin, end) in [("a", 0, 2), ("b", 1, 9)] {
            let time = |seconds| base + Duration::from_secs(seconds);
            view.apply(&started(host, "one", "etcd"), time(begin));
            let step = Event::StepStarted { host: host.into(), role: "etcd".into(), step: "Start".into() };
            view.apply(&step, time(begin));
            view.apply(&ended(host, "etcd", 0), time(end));
        }
        let slowest = &view.steps[&("etcd".to_owned(), "Start".to_owned())];
        assert_eq!(*slowest, StepTime { host: "b".into(), time: Duration::from_secs(8) });
    }
}
