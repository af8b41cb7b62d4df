//! Plans: what would be done, as data. One that was saved is applied only when the machines would get exactly that.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use muster_artifacts::{Arch, Sha256};
use muster_engine::event::{Change, Event};
use muster_engine::failure::Failure;
use muster_engine::script::quote;
use muster_files::write_whole;
use muster_inventory::names;
use muster_roles::catalogue::CATALOGUE;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind};
use crate::flow::FlowId;
use crate::job::Ready;
use crate::options::Selection;
use crate::performance::{Ended, Listener};
use crate::record::names_only;
use crate::text;

/// The number that `format` has today.
const FORMAT: u32 = 4;

/// What would be done on which host.
pub type Steps = IndexMap<String, Vec<Planned>>;

/// A plan as it is saved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    format: u32,
    /// The version that made it.
    muster: String,
    /// The flow it is of.
    pub flow: FlowId,
    /// What `-i` has to say to mean the same inventory.
    pub inventory: Vec<String>,
    /// `-e` as it was typed, without values.
    extra_vars: Vec<String>,
    limit: Option<String>,
    tags: Vec<String>,
    skip_tags: Vec<String>,
    start_at: Option<String>,
    kube_versions: Vec<String>,
    /// A digest of the hosts, their groups, the plays, and all variables but those that look like secrets.
    written: String,
    /// A digest of the binaries and images that machines would get.
    bundle: String,
    /// What would be done on each host that was looked at.
    pub hosts: Steps,
}

/// One thing that would be changed on a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// The role it belongs to.
    pub role: String,
    /// The step of that role.
    pub step: String,
    /// What it is about, as the resource calls itself.
    pub resource: String,
    /// What differs. `None` when that can be known only after what comes before it is done.
    pub what: Option<String>,
    /// The difference of contents. Of secrets there is none.
    pub diff: Option<String>,
    /// Whether it is only told: a plan with other words for it is the same one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub momentary: bool,
}

/// Notes what would be changed.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Steps>>);

impl Notes {
    fn event(&self, event: &Event) {
        let Event::StepEnded { host, role, step, counts, changes, .. } = event else { return };
        let planned = |resource: &String, change: Option<&Change>| Planned {
            role: role.clone(),
            step: step.clone(),
            resource: resource.clone(),
            what: change.map(|change| change.what.clone()),
            diff: change.and_then(|change| change.diff.clone()),
            momentary: change.is_some_and(|change| change.momentary),
        };
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = steps.entry(host.clone()).or_default();
        steps.extend(changes.iter().map(|change| planned(&change.resource, Some(change))));
        steps.extend((counts.skipped > 0).then(|| planned(step, None)));
    }
}

impl Plan {
    /// Reads a plan that was saved.
    ///
    /// # Errors
    /// It cannot be read, or another version of muster made it.
    pub fn read(path: &Path, environment: &Environment) -> Result<Self, Error> {
        let shown = environment.shown(path);
        let again = format!("make a new one: muster plan -o {}", quote(&shown));
        let text = fs::read_to_string(path)
            .map_err(|error| Error::failed(format!("cannot read the plan {shown}: {error}")).hint(&again))?;
        let plan: Self = serde_json::from_str(&text).map_err(|error| {
            Error::failed(format!("{shown}: this is no plan of this muster: {error}")).hint(&again)
        })?;
        let this = env!("CARGO_PKG_VERSION");
        if plan.format != FORMAT || plan.muster != this {
            let message = format!("{shown} was made by muster {}, and this is {this}", plan.muster);
            return Err(outdated(message).hint(again));
        }
        Ok(plan)
    }

    /// Writes it, whole or not at all, readable by nobody else.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, path: &Path, environment: &Environment) -> Result<(), Error> {
        let failed = |error: std::io::Error| {
            Error::failed(format!("cannot write {}: {error}", environment.shown(path)))
        };
        let text = format!("{:#}\n", json!(self));
        write_whole(path, Some(0o600), &mut text.as_bytes()).map_err(failed)
    }

    /// Which hosts and roles it is of.
    pub fn selection(&self) -> Selection {
        let Self { limit, tags, skip_tags, start_at, .. } = self;
        Selection {
            limit: limit.clone(),
            tags: tags.clone(),
            skip_tags: skip_tags.clone(),
            start_at: start_at.clone(),
        }
    }

    /// That it is what would be done now.
    ///
    /// # Errors
    /// It is not, with what differs; `file` is how the plan is named.
    pub fn compare(&self, now: &Steps, file: &str) -> Result<(), Error> {
        let differences = self.differences(now);
        if differences.is_empty() {
            return Ok(());
        }
        Err(misfit(file, &format!("nothing was changed{}", differences.concat())))
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
            let of = |steps: &'_ Steps| -> Vec<Planned> {
                let steps = steps.get(host).unwrap_or(&nothing).iter();
                steps.filter(|planned| !planned.momentary).cloned().collect()
            };
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
            format!("\n  {}{}", names(hosts), lines.collect::<String>())
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

/// A plan in a file that is not what would be done.
fn misfit(file: &str, why: &str) -> Error {
    outdated(format!("the plan {file} does not fit any more: {why}"))
        .hint(format!("look at what would be done now: muster plan -o {}", quote(file)))
}

fn outdated(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Outdated, message)
}

impl Ready {
    /// Looks at the machines. Returns how that ended, and what would be done.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted.
    pub async fn plan(
        &mut self,
        cancel: &CancellationToken,
        mut listeners: Vec<Listener>,
    ) -> Result<(Ended, Plan), Error> {
        let heading = self.heading()?;
        let notes = Notes::default();
        let listener = notes.clone();
        listeners.push(Box::new(move |event| listener.event(event)));
        let ended = self.perform(true, cancel, listeners).await?;
        let hosts = steps(&notes, &ended);
        Ok((ended, Plan { hosts, ..heading }))
    }

    /// That a plan is of what would be looked at now, as far as that can be seen without a machine.
    ///
    /// # Errors
    /// It is not, with why; `file` is how the plan is named.
    pub fn fits(&self, plan: &Plan, file: &str) -> Result<(), Error> {
        match plan.misfit(&self.heading()?) {
            Some(why) => Err(misfit(file, &why)),
            None => Ok(()),
        }
    }

    /// A plan without what is done on the machines.
    fn heading(&self) -> Result<Plan, Error> {
        let Selection { limit, tags, skip_tags, start_at } = self.job.selection.clone();
        // By name: what a pattern chooses may be others by then, such as those that failed in the last run.
        let limit = limit.map(|_| self.outline.hosts.join(","));
        let extra_vars = &self.job.variables.extra_vars;
        Ok(Plan {
            format: FORMAT,
            muster: env!("CARGO_PKG_VERSION").to_owned(),
            flow: self.job.flow.id.clone(),
            inventory: self.world.project.given(),
            extra_vars: extra_vars.iter().map(|argument| names_only(argument)).collect(),
            limit,
            tags,
            skip_tags,
            start_at,
            kube_versions: self.versions.clone(),
            written: written(self)?,
            bundle: bundle(self),
            hosts: Steps::new(),
        })
    }
}

impl Ended {
    /// Whether all hosts could be looked at but those that were off and can be done without, so that there is a plan.
    pub fn is_whole(&self) -> bool {
        let (done, failed): (Vec<_>, Vec<_>) = self.outcome.values().partition(|host| host.failure.is_none());
        let off = |failure: &Failure| failure.is_unreachable();
        !self.interrupted
            && !done.is_empty()
            && failed.iter().all(|host| host.failure.as_ref().is_some_and(off))
    }
}

/// What was noted of each host that could be looked at. What cannot be known yet matters only where something in front of
/// it changes.
fn steps(notes: &Notes, ended: &Ended) -> Steps {
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
fn written(ready: &Ready) -> Result<String, Error> {
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
            momentary: false,
        }
    }

    fn steps(hosts: &[(&str, &[Planned])]) -> Steps {
        hosts.iter().map(|(name, planned)| ((*name).to_owned(), planned.to_vec())).collect()
    }

    fn plan(hosts: &[(&str, &[Planned])]) -> Plan {
        Plan {
            format: FORMAT,
            muster: "1".into(),
            flow: FlowId::default(),
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
    fn what_is_so_for_the_moment_is_told_and_not_compared() {
        let cordoned = planned("node a", None);
        let moved = |pod: &str| Planned {
            what: Some(format!("1 pod moved: {pod}")),
            momentary: true,
            ..planned("node a", None)
        };
        let then = plan(&[("node1", &[cordoned.clone(), moved("shop/web-1")])]);
        for pods in [&[moved("shop/web-2")][..], &[moved("shop/web-2"), moved("shop/cron-1")], &[]] {
            let now = [std::slice::from_ref(&cordoned), pods].concat();
            assert_eq!(then.differences(&steps(&[("node1", &now)])), [""; 0]);
        }
        let told = ["\n  node1\n    not to be done any more: etcd: node a (content)"];
        assert_eq!(then.differences(&steps(&[("node1", &[moved("shop/web-1")])])), told);
        let saved = serde_json::to_string(&then).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&saved).unwrap().hosts, then.hosts);
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
        let environment = Environment::default();
        plan(&[("node1", &[planned("file /a", None)])]).write(&path, &environment).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Plan::read(&path, &environment).unwrap_err();
        assert!(error.message.contains("made by muster 1,"), "{error}");
        assert_eq!(error.kind, ErrorKind::Outdated);
    }
}
