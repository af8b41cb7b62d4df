//! Plans: what would be done, as data. One that was saved is applied only when the machines would get exactly that.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use indexmap::IndexMap;
use muster_artifacts::{Arch, Sha256};
use muster_engine::event::Event;
use muster_engine::failure::Failure;
use muster_engine::script::quote;
use muster_roles::catalogue::CATALOGUE;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{Form, SelectionArgs};
use crate::environment::Environment;
use crate::error::{CommandError, ErrorKind, Exit};
use crate::output::{Detail, Sink, View, plan_lines, print, text};
use crate::project::shown;
use crate::record::names_only;
use crate::run::{Ended, Job, Ready};

/// The number that `format` has today.
const FORMAT: u32 = 1;

/// What would be done on which host.
pub(crate) type Steps = IndexMap<String, Vec<Planned>>;

/// A plan as it is saved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    format: u32,
    /// The version that made it.
    muster: String,
    /// What `-i` has to say to mean the same inventory.
    pub(crate) inventory: Vec<String>,
    /// `-e` as it was typed, without values.
    extra_vars: Vec<String>,
    pub(crate) limit: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) skip_tags: Vec<String>,
    pub(crate) start_at: Option<String>,
    pub(crate) kube_versions: Vec<String>,
    /// A digest of the hosts, their groups, the plays, and all variables but those that look like secrets.
    written: String,
    /// A digest of the binaries and images that machines would get.
    bundle: String,
    /// What would be done on each host that was looked at.
    pub(crate) hosts: Steps,
}

/// One thing that would be changed on a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planned {
    pub(crate) role: String,
    pub(crate) step: String,
    pub(crate) resource: String,
    /// What differs. `None` when that can be known only after what comes before it is done.
    pub(crate) what: Option<String>,
    /// The difference of contents. Of secrets there is none.
    pub(crate) diff: Option<String>,
}

/// Notes what would be changed.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Steps>>);

impl Sink for Notes {
    fn event(&mut self, event: &Event, _ended: &[usize], _view: &View, _now: Instant) {
        let Event::StepEnded { host, role, step, counts, changes, .. } = event else { return };
        let planned = |resource: &String, what: Option<&String>, diff: Option<&String>| Planned {
            role: role.clone(),
            step: step.clone(),
            resource: resource.clone(),
            what: what.cloned(),
            diff: diff.cloned(),
        };
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = steps.entry(host.clone()).or_default();
        steps.extend(changes.iter().map(|c| planned(&c.resource, Some(&c.what), c.diff.as_ref())));
        steps.extend((counts.skipped > 0).then(|| planned(step, None, None)));
    }

    fn tick(&mut self, _view: &View, _now: Instant) {}

    fn end(&mut self) {}
}

impl Plan {
    /// Reads a plan that was saved.
    ///
    /// # Errors
    /// It cannot be read, or another version of muster made it.
    pub(crate) fn read(path: &Path) -> Result<Self, CommandError> {
        let again = format!("make a new one: muster plan -o {}", quote(&shown(path)));
        let text = fs::read_to_string(path).map_err(|error| {
            CommandError::failed(format!("cannot read the plan {}: {error}", shown(path))).hint(&again)
        })?;
        let plan: Self = serde_json::from_str(&text).map_err(|error| {
            CommandError::failed(format!("{}: this is no plan of this muster: {error}", shown(path)))
                .hint(&again)
        })?;
        let this = env!("CARGO_PKG_VERSION");
        if plan.format != FORMAT || plan.muster != this {
            let message = format!("{} was made by muster {}, and this is {this}", shown(path), plan.muster);
            return Err(outdated(message).hint(again));
        }
        Ok(plan)
    }

    /// Writes it, whole or not at all, readable by nobody else.
    fn write(&self, path: &Path) -> Result<(), CommandError> {
        let failed =
            |error: std::io::Error| CommandError::failed(format!("cannot write {}: {error}", shown(path)));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let text = format!("{:#}\n", json!(self));
        let write = || {
            let mut file =
                fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().inspect_err(|_| drop(fs::remove_file(&temporary))).map_err(failed)
    }

    /// Why it cannot be what would be done now, as far as that can be seen without a machine.
    fn misfit(&self, now: &Self) -> Option<String> {
        let given = |plan: &Self| match plan.extra_vars.as_slice() {
            [] => "without -e".to_owned(),
            vars => format!("with -e {}", vars.join(" -e ")),
        };
        if self.extra_vars != now.extra_vars {
            return Some(format!("it was made {}, and this is {}", given(self), given(now)));
        }
        if self.kube_versions != now.kube_versions {
            let [then, now] = [self, now].map(|plan| plan.kube_versions.join(", "));
            return Some(format!("it is for Kubernetes {then}, and kube_version is {now}"));
        }
        if self.written != now.written {
            return Some("hosts, groups, variables or plays are not what it was made of".to_owned());
        }
        (self.bundle != now.bundle).then(|| "the bundle holds other binaries or images".to_owned())
    }

    /// What would be done now and is not in it, and what is in it and would not be done; hosts with the same together.
    fn differences(&self, now: &Steps) -> Vec<String> {
        let mut groups: IndexMap<Vec<String>, Vec<&String>> = IndexMap::new();
        let nothing = Vec::new();
        for host in self.hosts.keys().chain(now.keys().filter(|host| !self.hosts.contains_key(*host))) {
            let of = |steps: &'_ Steps| steps.get(host).unwrap_or(&nothing).clone();
            let (then, now_) = (of(&self.hosts), of(now));
            let mut told = Vec::new();
            match (self.hosts.contains_key(host), now.contains_key(host)) {
                (true, false) => told.push("cannot be looked at any more".to_owned()),
                (false, true) => told.push("was not looked at then".to_owned()),
                _ => {}
            }
            let missing = |list: &[Planned], of: &[Planned], lead: &str| -> Vec<String> {
                let others = of.iter().filter(|planned| !list.contains(planned));
                others.map(|planned| format!("{lead} {}", text::harmless(&planned.to_string()))).collect()
            };
            if told.is_empty() {
                told.extend(missing(&then, &now_, "not in the plan:"));
                told.extend(missing(&now_, &then, "not to be done any more:"));
                if told.is_empty() && then != now_ {
                    told.push("the same in another order".to_owned());
                }
            }
            if !told.is_empty() {
                groups.entry(told).or_default().push(host);
            }
        }
        let lines = |(told, hosts): (&Vec<String>, &Vec<&String>)| {
            let lines = told.iter().map(|line| format!("\n    {line}"));
            format!("\n  {}{}", text::names(hosts), lines.collect::<String>())
        };
        groups.iter().map(lines).collect()
    }
}

impl std::fmt::Display for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.what {
            Some(what) => write!(f, "{}: {} ({what})", self.role, self.resource),
            None => write!(f, "{}: {}", self.role, self.resource),
        }
    }
}

fn outdated(message: impl Into<String>) -> CommandError {
    CommandError { kind: ErrorKind::Outdated, message: message.into(), hints: Vec::new() }
}

impl Job<'_> {
    /// Looks at the machines and tells what would be done; and saves it, when everybody could be looked at, or was off and
    /// can be done without.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted, or the plan cannot be written.
    pub(crate) fn plan(self, out: Option<&Path>, environment: &Environment) -> Result<Exit, CommandError> {
        let Some(mut ready) = self.prepare(environment)? else { return Ok(Exit::Done) };
        self.announce(&ready, true);
        let recorder = self.record(&ready);
        let detail = Detail { quiet: true, ..self.detail(true) };
        let mut plan = self.heading(&ready)?;
        let notes = Notes::default();
        let recording = recorder.clone().map(|recorder| Box::new(recorder) as Box<dyn Sink>);
        let listeners = recording.into_iter().chain([Box::new(notes.clone()) as Box<dyn Sink>]);
        let ended = self.perform(&mut ready, detail, listeners)?;
        plan.hosts = steps(notes, &ended);
        let closing = self.closing(&ready, &ended, detail, recorder.is_some());
        closing.record(ended.exit(), recorder.as_ref());
        let form = self.output.output;
        if ended.exit() != Exit::Done || form == Form::Jsonl {
            closing.tell(form, &ready.screen);
        }
        let whole = is_whole(&ended);
        if form != Form::Jsonl && whole {
            for line in plan_lines(&plan.hosts, self.manner.diff, ready.screen.style) {
                ready.screen.line(&line);
            }
        }
        match out {
            Some(path) if whole => {
                plan.write(path)?;
                let inventory = self.project.words.iter().map(|word| quote(word));
                let words = ["muster apply".to_owned(), quote(&shown(path))].into_iter().chain(inventory);
                print::note(&format!("saved: {}", shown(path)));
                print::note(&format!("next: {}", words.collect::<Vec<_>>().join(" ")));
            }
            Some(path) => print::note(&format!("not saved: {} would not be whole", shown(path))),
            None => {}
        }
        Ok(ended.exit())
    }

    /// Does a plan, if it is what would be done now. Otherwise nothing is changed.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted; or the plan does not fit any more, with what differs.
    pub(crate) fn apply(
        self,
        plan: &Plan,
        path: &Path,
        environment: &Environment,
    ) -> Result<Exit, CommandError> {
        let Some(mut ready) = self.prepare(environment)? else { return Ok(Exit::Done) };
        let again = format!("look at what would be done now: muster plan -o {}", quote(&shown(path)));
        let misfit = |why: &str| {
            outdated(format!("the plan {} does not fit any more: {why}", shown(path))).hint(&again)
        };
        if let Some(why) = plan.misfit(&self.heading(&ready)?) {
            return Err(misfit(&why));
        }
        self.announce(&ready, true);
        let recorder = self.record(&ready);
        let looking = Detail { quiet: true, ..self.detail(true) };
        let notes = Notes::default();
        let ended = self.perform(&mut ready, looking, [Box::new(notes.clone()) as Box<dyn Sink>])?;
        {
            let closing = self.closing(&ready, &ended, looking, recorder.is_some());
            if !is_whole(&ended) {
                return Ok(closing.end(self.output.output, &ready.screen, recorder.as_ref()));
            }
            let differences = plan.differences(&steps(notes, &ended));
            if !differences.is_empty() {
                closing.record(Exit::Outdated, recorder.as_ref());
                return Err(misfit(&format!("nothing was changed{}", differences.concat())));
            }
        }
        self.announce(&ready, false);
        let detail = self.detail(false);
        let recording = recorder.clone().map(|recorder| Box::new(recorder) as Box<dyn Sink>);
        let ended = self.perform(&mut ready, detail, recording)?;
        let closing = self.closing(&ready, &ended, detail, recorder.is_some());
        Ok(closing.end(self.output.output, &ready.screen, recorder.as_ref()))
    }

    /// A plan without what is done on the machines.
    fn heading(&self, ready: &Ready) -> Result<Plan, CommandError> {
        let SelectionArgs { limit, tags, skip_tags, start_at, .. } = self.selection.clone();
        // By name: what a pattern chooses may be others by then, such as those that failed in the last run.
        let limit = limit.map(|_| ready.outline.hosts.join(","));
        Ok(Plan {
            format: FORMAT,
            muster: env!("CARGO_PKG_VERSION").to_owned(),
            inventory: self.inventory.inventory.clone(),
            extra_vars: self.inventory.extra_vars.iter().map(|argument| names_only(argument)).collect(),
            limit,
            tags,
            skip_tags,
            start_at,
            kube_versions: ready.versions.clone(),
            written: written(ready)?,
            bundle: bundle(ready),
            hosts: Steps::new(),
        })
    }
}

/// Whether all hosts could be looked at but those that were off and can be done without.
fn is_whole(ended: &Ended) -> bool {
    let (done, failed): (Vec<_>, Vec<_>) = ended.outcome.values().partition(|host| host.failure.is_none());
    let off = |failure: &Failure| failure.is_unreachable();
    !ended.interrupted && !done.is_empty() && failed.iter().all(|host| host.failure.as_ref().is_some_and(off))
}

/// What was noted of each host that could be looked at. What cannot be known yet matters only where something in front of
/// it changes.
fn steps(notes: Notes, ended: &Ended) -> Steps {
    let mut noted = std::mem::take(&mut *notes.0.lock().unwrap_or_else(PoisonError::into_inner));
    let looked_at = ended.outcome.iter().filter(|(_, host)| host.failure.is_none());
    let of_host = |(name, _): (&String, _)| {
        let mut steps = noted.swap_remove(name).unwrap_or_default();
        if steps.iter().all(|planned| planned.what.is_none()) {
            steps.clear();
        }
        // What several steps want is done by the first one.
        let mut known = HashSet::new();
        steps.retain(|p| known.insert((p.resource.clone(), p.what.clone(), p.diff.clone())));
        (name.clone(), steps)
    };
    looked_at.map(of_host).collect()
}

/// A digest of what the user wrote. Variables that look like secrets are left out: somebody who has the plan could try out
/// short ones.
fn written(ready: &Ready) -> Result<String, CommandError> {
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["pass", "secret", "token", "key"].iter().any(|word| name.contains(word))
    };
    let mut hosts = serde_json::Map::new();
    for name in &ready.outline.hosts {
        let vars = ready.world.vars.host(name)?.raw();
        let vars = vars.iter().filter(|(name, _)| !secret(name));
        let vars: serde_json::Map<_, _> = vars.map(|(name, value)| (name.clone(), value.to_json())).collect();
        hosts.insert(name.clone(), json!({ "groups": ready.world.inventory.groups_of(name), "vars": vars }));
    }
    let plays = format!(
        "{:?}",
        ready.plays.iter().map(|play| (&play.hosts, &play.roles, &play.always)).collect::<Vec<_>>()
    );
    Ok(Sha256::of(json!({ "hosts": hosts, "plays": plays }).to_string().as_bytes()).to_string())
}

/// A digest of what the bundle has for the versions of the run.
fn bundle(ready: &Ready) -> String {
    let mut digests = Vec::new();
    for arch in Arch::ALL {
        // A version that has nothing for an architecture has nothing in the bundle either.
        for release in ready.versions.iter().filter_map(|version| CATALOGUE.release(version, arch).ok()) {
            let files = release.files.iter();
            let files = files.filter_map(|file| ready.bundle.file(&file.name, &file.version, file.arch).ok());
            digests.extend(files.map(|entry| entry.sha256.to_string()));
            let images = release.images.iter();
            let images = images
                .filter_map(|image| ready.bundle.image(&image.reference.to_string(), release.arch).ok());
            digests.extend(images.map(|entry| entry.manifest_digest.to_string()));
        }
    }
    Sha256::of(digests.join("\n").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(resource: &str, diff: Option<&str>) -> Planned {
        Planned {
            role: "etcd".into(),
            step: "Configure".into(),
            resource: resource.into(),
            what: Some("content".into()),
            diff: diff.map(str::to_owned),
        }
    }

    fn steps(hosts: &[(&str, &[Planned])]) -> Steps {
        hosts.iter().map(|(name, planned)| ((*name).to_owned(), planned.to_vec())).collect()
    }

    fn plan(hosts: &[(&str, &[Planned])]) -> Plan {
        Plan {
            format: FORMAT,
            muster: "1".into(),
            inventory: Vec::new(),
            extra_vars: Vec::new(),
            limit: None,
            tags: Vec::new(),
            skip_tags: Vec::new(),
            start_at: None,
            kube_versions: vec!["1.36.3".into()],
            written: "a".into(),
            bundle: "b".into(),
            hosts: steps(hosts),
        }
    }

    #[test]
    fn the_same_plan_has_no_differences_and_others_name_hosts_and_what_differs() {
        let (a, b) = (planned("file /a", Some("+1")), planned("file /b", None));
        let then =
            plan(&[("node1", &[a.clone(), b.clone()]), ("node2", &[]), ("node3", &[]), ("node4", &[])]);
        assert!(then.differences(&then.hosts).is_empty());
        let other = planned("file /a", Some("+2"));
        let now = steps(&[
            ("node1", &[other, b.clone()]),
            ("node2", std::slice::from_ref(&b)),
            ("node3", std::slice::from_ref(&b)),
            ("node5", &[]),
        ]);
        assert_eq!(
            then.differences(&now),
            [
                "\n  node1\n    not in the plan: etcd: file /a (content)\n    not to be done any more: etcd: file /a (content)",
                "\n  node2-3\n    not in the plan: etcd: file /b (content)",
                "\n  node4\n    cannot be looked at any more",
                "\n  node5\n    was not looked at then",
            ]
        );
        let turned = steps(&[("node1", &[b, a]), ("node2", &[]), ("node3", &[]), ("node4", &[])]);
        assert_eq!(then.differences(&turned), ["\n  node1\n    the same in another order"]);
    }

    #[test]
    fn what_a_plan_was_made_of_must_be_the_same() {
        let then = plan(&[]);
        let misfit = |change: fn(&mut Plan)| {
            let mut now = plan(&[]);
            change(&mut now);
            then.misfit(&now)
        };
        assert_eq!(misfit(|_| {}), None);
        assert!(misfit(|now| now.written = "c".into()).unwrap().contains("variables"));
        assert!(misfit(|now| now.bundle = "c".into()).unwrap().contains("bundle"));
        assert!(misfit(|now| now.kube_versions = vec!["1.37.0".into()]).unwrap().contains("1.37.0"));
        assert_eq!(
            misfit(|now| now.extra_vars = vec!["x=...".into()]).unwrap(),
            "it was made without -e, and this is with -e x=..."
        );
    }

    #[test]
    fn a_plan_is_readable_by_its_owner_alone_and_by_the_muster_that_made_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        plan(&[("node1", &[planned("file /a", None)])]).write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Plan::read(&path).unwrap_err();
        assert!(error.message.contains("made by muster 1,"), "{error}");
        assert_eq!(error.kind, ErrorKind::Outdated);
    }
}
