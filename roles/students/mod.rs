//! students: a namespace for each, in which they are at home and out of which they cannot reach.
//!
//! All of a student's objects are of one set (`roles/objects` says what that is), in which the label [`STUDENT`] says whose they
//! are. What exists is read at once, with three calls of kubectl, and compared here; what differs is applied by a few kubectls
//! at the same time; then it is looked whether everything has become so. A namespace without the mark is somebody else's: it
//! is refused, never adopted. Tokens come by the API's TokenRequest and are kept in files on this side only.

mod class;
mod files;
mod names;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use muster_engine::event::Change;
use muster_engine::prelude::*;
use muster_inventory::closest;
use serde::{Deserialize, Serialize};

use crate::cluster;
use crate::kubectl::{Kubectl, kubectl};
use class::{Difference, Live};
use files::Files;
pub use files::{FOLDER as STUDENT_FILES, end_of, token_in, written};
pub use names::namespace_of;

/// The set that all objects of all students are of.
const SET: &str = "students";

/// The label that says whose an object is, by the namespace.
const STUDENT: &str = "muster.io/student";

/// What control planes tell each other.
const DONE: &str = "the students";

/// How many kubectls are at work at the same time.
const AT_ONCE: usize = 4;

/// For how many students tokens are asked for in one exchange.
const TOKENS_AT_ONCE: usize = 100;

/// Somebody on a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// What the person is called.
    pub name: String,
    /// What the namespace is to be called, where the list says so.
    pub login: Option<String>,
    /// What the list says of groups, for people to read.
    pub groups: String,
}

/// A person with a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Student {
    name: String,
    groups: String,
    namespace: String,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Order {
    /// Tell of those who are meant by these words; of all, where there are none.
    Look(Vec<String>),
    /// These are there.
    Create(Class),
    /// Those who are meant by these words are not there.
    Delete(Vec<String>),
}

/// Who is to be there.
#[derive(Debug, Clone)]
pub struct Class {
    /// Each of them.
    pub people: Vec<Person>,
    /// The ClusterRole that each has in the own namespace; without one, that of the variables.
    pub role: Option<String>,
    /// How long a new token is good for. One that is good for half of that is kept.
    pub term: Duration,
    /// Whether all other students go.
    pub prune: bool,
}

/// What is known of a student in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// What the student is called.
    pub name: String,
    /// The namespace, which is also the name of the service account.
    pub namespace: String,
    /// What the list said of groups.
    pub groups: String,
    /// The ClusterRole that the student has in the namespace; empty where that is missing.
    pub role: String,
    /// When the token in the file on this side ends.
    pub until: Option<SystemTime>,
    /// What is used of the quota: of what, how much, of how much.
    pub used: Vec<[String; 3]>,
    /// What is wrong.
    pub wrong: Option<String>,
}

/// Where the role tells of the students.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Row>>>);

impl Told {
    /// What was told.
    pub fn take(&self) -> Vec<Row> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, rows: Vec<Row>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

#[derive(Deserialize)]
struct Vars {
    students_role: String,
    students_delete_timeout: u64,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] =
    &[Read::own::<Vars>(), Read::own::<files::Vars>(), Read::own::<class::Network>()];

/// Looks at the students that there are, as a role of a playbook.
pub(crate) async fn look(host: &Host) -> Result<()> {
    run(host, &Order::Look(Vec::new()), &Told::default()).await
}

/// Done once a run, on a healthy control plane.
pub(crate) async fn run(host: &Host, order: &Order, told: &Told) -> Result<()> {
    cluster::belongs(host).await?;
    cluster::let_leader_go_first(host, DONE).await?;
    host.cluster()
        .once(DONE, || async {
            let Some(kubectl) = Kubectl::find(host).await? else {
                host.not_yet(DONE);
                return Ok(());
            };
            let school = School { host, kubectl, files: Files::of(host)?, vars: host.vars()? };
            match order {
                Order::Look(words) => school.look(words, told).await,
                Order::Create(class) => school.create(class, told).await,
                Order::Delete(words) => school.delete(words).await,
            }
        })
        .await?;
    host.reached(DONE);
    Ok(())
}

/// The host that it is done for, and what it is done with.
struct School<'h> {
    host: &'h Host,
    kubectl: Kubectl<'h>,
    files: Files,
    vars: Vars,
}

impl School<'_> {
    async fn live(&self) -> Result<Live> {
        let selector = format!("muster.io/set={SET}");
        let printed =
            self.kubectl.query("look at the students", kubectl!(include_str!("look.sh"), [selector])).await?;
        let planes = self.host.cluster().group("kube_control_plane");
        let urls = planes.iter().flat_map(|plane| cluster::api_urls_of(self.host, plane)).collect();
        Live::of(&printed, urls)
            .map_err(|why| Failure::new(format!("the students cannot be looked at: {why}"), ""))
    }

    async fn look(&self, words: &[String], told: &Told) -> Result<()> {
        let live = self.live().await?;
        let known = live.students();
        let (namespaces, missing) = meant(words, &known);
        told.tell(namespaces.iter().map(|namespace| live.row(namespace, &self.files)).collect());
        self.host.passed("look at the students");
        not_there(&missing, &known)
    }

    async fn create(&self, class: &Class, told: &Told) -> Result<()> {
        let live = self.live().await?;
        let known = live.students();
        let students = names::assign(&class.people, &known).map_err(|problems| {
            refused(
                "names that cannot be used",
                &problems,
                "put names that can be used, and tell namesakes apart, in a column login of the list",
            )
        })?;
        let problems: Vec<String> = students.iter().filter_map(|student| live.against(student)).collect();
        if !problems.is_empty() {
            return Err(refused(
                "namespaces that cannot be used",
                &problems,
                "give such a student another name, in a column login of the list",
            ));
        }
        let role = class.role.as_deref().unwrap_or(&self.vars.students_role);
        if !["admin", "edit", "view"].contains(&role) {
            return Err(Failure::new(
                format!("students_role is {role:?}"),
                "set students_role to admin, edit or view",
            ));
        }
        let wanted = class::objects(self.host.all_vars(), &students, role)?;
        if self.host.vars::<class::Network>()?.has_no_policies() {
            self.host.warn(
                "flannel alone does not keep to network policies: the pods of a student are reached by those of all others. To keep them \
                 apart, set network_policies_enabled: true, and run setup-cluster; then repeat this command",
            );
        }
        let difference = live.difference(&students, &wanted);
        let (live, failed) = if difference.is_empty() {
            self.host.passed("the objects of the students are as they should be");
            (live, String::new())
        } else {
            let failed = self.apply(&difference).await?;
            (if self.host.check_mode() { live } else { self.live().await? }, failed)
        };
        let mut broken = if self.host.check_mode() {
            Vec::new()
        } else {
            live.difference(&students, &wanted).by_student()
        };
        let whole: Vec<&Student> = students
            .iter()
            .filter(|student| broken.iter().all(|(namespace, _)| *namespace != student.namespace))
            .collect();
        broken.extend(self.give_tokens(&whole, &live, class.term).await?);
        if class.prune {
            let gone: Vec<String> =
                known.into_keys().filter(|name| students.iter().all(|s| s.namespace != *name)).collect();
            self.remove(&gone).await?;
        }
        told.tell(students.iter().map(|student| self.row(student, &live, &broken)).collect());
        if broken.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = broken.iter().map(|(name, why)| format!("{name}: {why}\n")).collect();
        Err(Failure::Other {
            message: format!(
                "{} of {} students are not as they should be: {}",
                broken.len(),
                students.len(),
                some(broken.iter().map(|(name, _)| name.as_str()))
            ),
            remedy:
                "mend what the cluster says, and run the same command again; the others have what they need"
                    .into(),
            tail: names.concat() + &failed,
        })
    }

    fn row(&self, student: &Student, live: &Live, broken: &[(String, String)]) -> Row {
        let wrong = broken.iter().find(|(name, _)| *name == student.namespace).map(|(_, why)| why.clone());
        let Student { name, groups, namespace } = student.clone();
        Row { name, groups, wrong, ..live.row(&namespace, &self.files) }
    }

    /// Applies what differs. Returns what the server said of what it refused.
    async fn apply(&self, difference: &Difference<'_>) -> Result<String> {
        let args = std::iter::once(difference.removed()).chain(difference.manifests(AT_ONCE));
        let change = Change {
            resource: DONE.into(),
            what: difference.what(),
            diff: Some(difference.diff()),
            momentary: false,
        };
        let step = self.kubectl.step("Apply the objects of the students");
        match step.ensure(Planned { change, script: kubectl!(include_str!("apply.sh"), args) }).await {
            Ok(_) => Ok(String::new()),
            Err(Failure::Change { tail, .. }) => Ok(tail),
            Err(failure) => Err(failure),
        }
    }

    /// Sees that each has a file with a token that is good for long enough. Returns whose could not be made, and why.
    async fn give_tokens(
        &self,
        students: &[&Student],
        live: &Live,
        term: Duration,
    ) -> Result<Vec<(String, String)>> {
        let (mut without, mut failed, mut renewed) = (Vec::new(), Vec::new(), 0);
        for student in students {
            match self.files.token(&student.namespace, live, term) {
                Some(token) => {
                    renewed += usize::from(self.files.write(self.host, student, live, &token)?);
                }
                None => without.push(*student),
            }
        }
        let told =
            format!("{}: {}", without.len(), some(without.iter().map(|student| student.namespace.as_str())));
        if !self.host.check_mode() {
            for part in without.chunks(TOKENS_AT_ONCE) {
                for (student, answer) in self.ask_for_tokens(part, term).await? {
                    match answer {
                        Ok(token) => drop(self.files.write(self.host, student, live, &token)?),
                        Err(why) => failed.push((student.namespace.clone(), why)),
                    }
                }
            }
        }
        let changed = |what: String| {
            let resource = self.files.folder();
            self.host.changed_here(Change { resource, what, diff: None, momentary: false });
        };
        if !without.is_empty() {
            changed(format!("new tokens for {told}"));
        }
        if renewed > 0 {
            changed(format!("files renewed, with the same tokens: {renewed}"));
        }
        Ok(failed)
    }

    async fn ask_for_tokens<'s>(
        &self,
        students: &[&'s Student],
        term: Duration,
    ) -> Result<Vec<(&'s Student, Result<String, String>)>> {
        let size = students.len().div_ceil(AT_ONCE);
        let parts = students
            .chunks(size)
            .map(|part| part.iter().map(|student| student.namespace.as_str()).collect::<Vec<_>>().join(" "));
        let args = std::iter::once(term.as_secs().to_string()).chain(parts);
        let printed = self.kubectl.run("ask for tokens", kubectl!(include_str!("tokens.sh"), args)).await?;
        let answer = |student: &&'s Student| (*student, token::answered(&printed, &student.namespace));
        Ok(students.iter().map(answer).collect())
    }

    async fn delete(&self, words: &[String]) -> Result<()> {
        let live = self.live().await?;
        let known = live.students();
        let (namespaces, missing) = meant(words, &known);
        self.remove(&namespaces).await?;
        // What a run has left that was cut off between the cluster and this side.
        let is_left =
            |word: &&str| names::namespace_of(word).is_ok_and(|namespace| self.files.has(&namespace));
        let (left, missing): (Vec<&str>, Vec<&str>) = missing.into_iter().partition(is_left);
        for namespace in left.into_iter().filter_map(|word| names::namespace_of(word).ok()) {
            if !self.host.check_mode() {
                self.files.remove(&namespace)?;
            }
        }
        not_there(&missing, &known)
    }

    /// Removes namespaces that are students', and waits until they are gone.
    async fn remove(&self, namespaces: &[String]) -> Result<()> {
        if namespaces.is_empty() {
            self.host.passed("no student has to go");
            return Ok(());
        }
        let what = format!("{} deleted: {}", namespaces.len(), some(namespaces.iter().map(String::as_str)));
        let selector = format!("muster.io/set={SET},{STUDENT} in ({})", namespaces.join(","));
        let delete = kubectl!(
            r#"kubectl delete namespaces --selector "$1" --wait=false >/dev/null"#,
            [selector.clone()]
        );
        let change = Change { resource: DONE.into(), what, diff: None, momentary: false };
        self.kubectl.step("Delete students").ensure(Planned { change, script: delete }).await?;
        if self.host.check_mode() {
            return Ok(());
        }
        let limit = Duration::from_secs(self.vars.students_delete_timeout);
        let remain = kubectl!(include_str!("remain.sh"), [selector]);
        let waited = self
            .kubectl
            .wait(Wait::new("the namespaces are gone", remain, Duration::from_secs(1), limit))
            .await;
        let (left, limit) = match &waited {
            Ok(_) => (Vec::new(), limit),
            Err(Failure::Waited { tail, limit, .. }) if !names_of(tail).is_empty() => {
                (names_of(tail), *limit)
            }
            Err(_) => return waited.map(drop),
        };
        for namespace in namespaces.iter().filter(|name| !left.contains(&name.as_str())) {
            self.files.remove(namespace)?;
        }
        if left.is_empty() {
            return Ok(());
        }
        Err(Failure::Other {
            message: format!(
                "{} of {} namespaces are not gone after {} s: {}",
                left.len(),
                namespaces.len(),
                limit.as_secs(),
                some(left.iter().copied())
            ),
            remedy: "what holds them stands above, mostly a finalizer of an object in them that nobody takes away: see who \
                     should, then run the same command again"
                .into(),
            tail: waited.as_ref().err().and_then(Failure::tail).unwrap_or_default().to_owned(),
        })
    }
}

/// Whose namespaces are meant by words, of all where no word is given; and the words of whom nobody is there.
fn meant<'w>(words: &'w [String], known: &BTreeMap<String, Person>) -> (Vec<String>, Vec<&'w str>) {
    if words.is_empty() {
        return (known.keys().cloned().collect(), Vec::new());
    }
    let (mut namespaces, mut missing) = (Vec::new(), Vec::new());
    for word in words {
        let (found, nobody) = names::meant_by(word, known);
        missing.extend(nobody);
        for namespace in found {
            if !namespaces.iter().any(|known| known == namespace) {
                namespaces.push(namespace.to_owned());
            }
        }
    }
    (namespaces, missing)
}

/// That nobody is there of these names.
fn not_there(missing: &[&str], known: &BTreeMap<String, Person>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let all = || known.iter().flat_map(|(namespace, owner)| [namespace.as_str(), owner.name.as_str()]);
    let similar: Vec<&str> = missing.iter().filter_map(|name| closest(name, all())).collect();
    let remedy = match similar.as_slice() {
        [] => "see who is there: students".to_owned(),
        similar => format!("did you mean {}? See who is there: students", some(similar.iter().copied())),
    };
    Err(Failure::new(format!("there is no student {}", some(missing.iter().copied())), remedy))
}

/// The names at the beginnings of lines, before a colon, as `remain.sh` prints them.
fn names_of(lines: &str) -> Vec<&str> {
    lines.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect()
}

/// The first names of many.
fn some<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<&str> = names.into_iter().collect();
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

/// Nothing was changed, because of all this.
fn refused(what: &str, problems: &[String], remedy: &str) -> Failure {
    Failure::Other {
        message: format!("nothing was changed: there are {what}"),
        remedy: remedy.into(),
        tail: problems.iter().map(|problem| format!("{problem}\n")).collect(),
    }
}

/// A change that was found by a look of its own.
struct Planned {
    change: Change,
    script: Script,
}

impl Resource for Planned {
    fn label(&self) -> String {
        self.change.resource.clone()
    }

    fn probe(&self) -> Probe {
        Probe::default()
    }

    fn plan(&self, _: &Seen) -> Result<Plan, String> {
        Ok(Plan {
            changes: vec![self.change.clone()],
            script: Some(self.script.clone()),
            uploads: Vec::new(),
        })
    }

    fn desired(&self) -> String {
        self.change.what.clone()
    }
}
