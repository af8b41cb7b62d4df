//! Objects of the cluster with an owner: a set of objects that belong together, applied, compared and removed as one thing.
//!
//! Each object of a set carries the label [`SET`] with the set's name. What the set consists of is written down in the cluster
//! too, in the ConfigMap `kube-system/muster-set-NAME`: so what has left it is known, and removed where it still has the label.
//! Drift is seen in the cluster: by the annotation [`APPLIED`] (the manifest is another one) and by the fields that the field
//! manager `muster` does not own any more (`ownership.rs`).

pub(crate) mod built_in;
pub(crate) mod object;
mod ownership;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use muster_artifacts::Sha256;
use muster_engine::event::Change;
use muster_engine::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster;
use crate::kubectl::{Kubectl, kubectl};
pub(crate) use object::set_of;
use object::{Id, Object};

/// The label that says to which set an object belongs.
pub(crate) const SET: &str = "muster.io/set";

/// The annotation that holds the sha256 of what was last applied.
const APPLIED: &str = "muster.io/applied";

/// The kinds of what has pods that follow its template, as they stand in an [`Id`], and as `kubectl rollout` calls them.
const WORKLOADS: [(&str, &str); 2] = [("Deployment.apps", "deployment"), ("DaemonSet.apps", "daemonset")];

/// The name of the ConfigMap among these gets a digest of what it says, and what has pods reads it by that name, in its first volume.
/// So pods are made anew when it says something else, by which is seen whether it is taken; and those of before, and what takes their
/// place, read what they have read.
pub(crate) fn name_by_digest(objects: &mut [Value]) {
    let Some(map) = objects.iter_mut().find(|object| object["kind"] == "ConfigMap") else { return };
    let sum = Sha256::of(map["data"].to_string().as_bytes()).to_string();
    let name = format!("{}-{}", map["metadata"]["name"].as_str().unwrap_or_default(), &sum[..12]);
    map["metadata"]["name"] = name.as_str().into();
    for object in objects.iter_mut().filter(|object| !object["spec"]["template"].is_null()) {
        object["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] = name.as_str().into();
    }
}

/// The objects of a manifest.
///
/// # Errors
/// The manifest is no YAML.
pub(crate) fn documents(name: &str, manifest: &str) -> Result<Vec<Value>> {
    parsed(manifest)
        .map_err(|why| Failure::new(format!("the objects of {name}: {why}"), "check the variables in it"))
}

/// The documents of a text in YAML.
///
/// # Errors
/// What is wrong, with line and column, and without the lines around it: they may hold secrets.
pub(crate) fn parsed<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| error.without_snippet().to_string())
}

/// The namespace of what muster writes down about its sets.
const NAMESPACE: &str = "kube-system";

/// A set of objects, as a resource of a step on a control plane.
pub(crate) struct ObjectSet {
    name: &'static str,
    objects: Vec<Object>,
    wanted: Wanted,
    /// Says why what was found cannot become what is wanted.
    refuses: Refuses,
    rolled_out: bool,
    /// Where the user has written objects, for what is told of them; `None` for a set of muster's own.
    places: Option<BTreeMap<Id, String>>,
    /// What has to be so before anything of the set changes.
    first: Option<Command>,
    /// Why it cannot come to a cluster that has nothing of it.
    not_new: Option<String>,
    /// Objects of another set, about which `refuses` is asked as well.
    minded: Vec<Object>,
    /// Of definitions of kinds: the group of those that others bring, too.
    shared: Option<&'static str>,
    /// Other sets, for which is looked in the same exchange, and those of them that are there.
    others: Vec<String>,
    others_there: Arc<Mutex<BTreeSet<String>>>,
}

/// Says why an object that was found cannot become what is wanted, or, where nothing is, cannot go. Of one that is to go only kind,
/// name and namespace are told.
pub(crate) type Refuses = fn(wanted: Option<&Value>, found: &Value) -> Option<String>;

/// Under which the other sets that were found are kept for the run.
const OTHERS: &str = "sets of objects that are there";

/// Whether a set is there that another one was [looking for](ObjectSet::looking_for); `None` where nobody has looked in this run.
pub(crate) fn is_there(host: &Host, set: &str) -> Option<bool> {
    let there = host.cluster().done::<BTreeSet<String>>(OTHERS)?;
    Some(there.contains(set))
}

/// Whether muster has made an object that was found: by its mark, or by the fields that it has applied.
pub(crate) fn is_musters(found: &Value) -> bool {
    object::set_of(found).is_some() || ownership::of(found).is_some()
}

/// The name of the ConfigMap that says which objects a set consists of.
pub(crate) fn record_name(set: &str) -> String {
    format!("muster-set-{set}")
}

/// What control planes tell when the pods of a set [have ended](ObjectSet::ended), or are about to.
pub(crate) fn pods_end(set: &str) -> String {
    format!("pods of {set}")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Present,
    Absent,
    /// What has pods is absent; what is there of the rest stays.
    Ended,
    /// In check mode, where no cluster is there yet that could be looked at.
    PresentLater,
}

impl ObjectSet {
    /// The objects of a manifest (YAML, any number of documents, each with its namespace) are there as it says, and nothing else
    /// is of this set.
    ///
    /// # Errors
    /// The manifest is no YAML, or an object in it has no kind or name.
    pub(crate) fn new(name: &'static str, manifest: &str) -> Result<Self> {
        Self::of(name, documents(name, manifest)?)
    }

    /// The same of objects, as [`documents`] reads them.
    ///
    /// # Errors
    /// One of them has no kind or name.
    pub(crate) fn of(name: &'static str, objects: Vec<Value>) -> Result<Self> {
        let objects: Option<Vec<_>> = objects.into_iter().map(Object::new).collect();
        let objects = objects.ok_or_else(|| {
            Failure::new(format!("the objects of {name}: one has no kind or no name"), "check the manifest")
        })?;
        let (others, others_there) = (Vec::new(), Arc::default());
        Ok(Self {
            name,
            objects,
            wanted: Wanted::Present,
            refuses: |_, _| None,
            rolled_out: false,
            places: None,
            first: None,
            not_new: None,
            minded: Vec::new(),
            shared: None,
            others,
            others_there,
        })
    }

    /// Waits until pods of a Deployment that was there before are those of its new template; of a DaemonSet, which has pods on machines
    /// that are off, too, until one of them is. Where new pods do not become ready, the former ones stay, and what the newest one has
    /// said is told.
    pub(crate) fn rolled_out(self) -> Self {
        Self { rolled_out: true, ..self }
    }

    /// Changes nothing where `refuses` says of an object why it cannot become what is wanted.
    pub(crate) fn refusing(self, refuses: Refuses) -> Self {
        Self { refuses, ..self }
    }

    /// Has this brought about before, on the same control plane; it is looked at in the same exchange.
    pub(crate) fn after(self, first: Command) -> Self {
        Self { first: Some(first), ..self }
    }

    /// Changes nothing where `why` says something and nothing of the set is there: what is there in its place is somebody else's.
    pub(crate) fn not_new(self, why: Option<String>) -> Self {
        Self { not_new: why, ..self }
    }

    /// Asks [`Refuses`] about these objects of another set as well, which are looked at in the same exchange: where they cannot change
    /// nothing of this set does.
    pub(crate) fn minding(self, objects: Vec<Value>) -> Self {
        Self { minded: objects.into_iter().filter_map(Object::new).collect(), ..self }
    }

    /// The objects define kinds, of which users have objects: a definition that leaves the set stays in the cluster, because with it
    /// they would go. One of the group `shared`, which others bring as well, stays as another one has put it there.
    pub(crate) fn of_definitions(self, shared: &'static str) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// The user has written the objects, at these places. Of what such a set had before, what every cluster has stays when it leaves.
    pub(crate) fn written_at(self, places: BTreeMap<Id, String>) -> Self {
        Self { places: Some(places), ..self }
    }

    /// Looks in the same exchange whether other sets are there, for who asks [`is_there`] later in the run.
    pub(crate) fn looking_for<'n>(mut self, others: impl IntoIterator<Item = &'n str>) -> Self {
        self.others = others.into_iter().map(str::to_owned).collect();
        self
    }

    /// None of the objects is there.
    pub(crate) fn absent(mut self) -> Self {
        self.wanted = Wanted::Absent;
        self
    }

    /// Brings it about on a healthy control plane, once a run. All control planes ask for it; it is told of the one that leads.
    pub(crate) async fn ensure(mut self, host: &Host) -> Result<()> {
        let name = self.name;
        let what = self.label();
        let first = self.first.take();
        cluster::let_leader_go_first(host, &what).await?;
        host.cluster()
            .once(&what, || async {
                let step = match self.wanted {
                    Wanted::Absent => format!("Remove {name}"),
                    Wanted::Ended => format!("End the pods of {name}"),
                    Wanted::Present | Wanted::PresentLater => format!("Apply {name}"),
                };
                let looks_for_others = !self.others.is_empty();
                let others = self.others_there.clone();
                match Kubectl::find(host).await? {
                    Some(kubectl) => kubectl.step(&step).ensure_all(first).ensure(self).await.map(drop)?,
                    None if matches!(self.wanted, Wanted::Absent | Wanted::Ended) => {}
                    None => {
                        let later = Self { wanted: Wanted::PresentLater, ..self };
                        host.step(&step).ensure(later).await.map(drop)?;
                    }
                }
                if looks_for_others {
                    let there = std::mem::take(&mut *others.lock().unwrap_or_else(PoisonError::into_inner));
                    host.cluster().once(OTHERS, || async { Ok(there) }).await?;
                }
                Ok(())
            })
            .await?;
        host.reached(&what);
        Ok(())
    }

    /// None of the objects that have pods is there. The others stay as they are, and so does what is written down.
    pub(crate) fn ended(mut self) -> Self {
        self.wanted = Wanted::Ended;
        self
    }

    /// What was found, where kubectl has looked in its default namespace for objects that say none, under the names of those objects.
    fn in_default_namespace(&self, mut live: BTreeMap<Id, Value>) -> BTreeMap<Id, Value> {
        for Object { id, .. } in &self.objects {
            let there = Id { namespace: "default".to_owned(), ..id.clone() };
            if id.namespace.is_empty() && self.objects.iter().all(|object| object.id != there) {
                let found = live.remove(&there);
                live.extend(found.map(|found| (id.clone(), found)));
            }
        }
        live
    }

    /// What says which objects the set consists of.
    fn record_id(&self) -> Id {
        record_id(self.name)
    }

    fn record<'i>(&self, ids: impl Iterator<Item = &'i Id>) -> Object {
        let objects: String = ids.map(|id| format!("{}\n", id.line())).collect();
        record(self.record_id(), &objects)
    }

    /// The objects with the mark of the set, the record first.
    fn marked(&self) -> Vec<Object> {
        self.marked_of(&self.objects.iter().collect::<Vec<_>>(), &[])
    }

    /// The same of some of them, where these belong to the set as well.
    fn marked_of(&self, objects: &[&Object], kept: &[Id]) -> Vec<Object> {
        let record = self.record(objects.iter().map(|object| &object.id).chain(kept));
        std::iter::once(&record)
            .chain(objects.iter().copied())
            .map(|object| object.marked(self.name))
            .collect()
    }

    /// Whether another one has put there what others bring, too.
    fn is_anothers(&self, object: &Object, live: &BTreeMap<Id, Value>) -> bool {
        let is_shared = self.shared.is_some_and(|group| object.value["spec"]["group"] == group);
        is_shared && live.get(&object.id).is_some_and(|found| !is_musters(found))
    }

    fn selector(&self) -> String {
        format!("{SET}={}", self.name)
    }

    /// Which objects the set consisted of when it was last applied, without those that it consists of now.
    fn left(&self, record: Option<&Value>) -> Vec<Id> {
        let lines = record.and_then(|record| record["data"]["objects"].as_str()).unwrap_or_default();
        let ids = lines.lines().filter_map(Id::of_line);
        ids.filter(|id| self.objects.iter().all(|object| object.id != *id)).collect()
    }

    /// Whether it stays an object of the set, though that would not bring it any more: with a definition users would lose all objects of
    /// its kind. It goes with the whole set. What a user has written goes when the user takes it out.
    fn keeps(&self, id: &Id) -> bool {
        id.kind.starts_with(object::DEFINITION) && self.shared.is_none() && self.places.is_none()
    }

    /// Why what is there cannot become the set: an object is of another set, whose it stays, or whatever the set itself refuses.
    fn refusal(&self, live: &BTreeMap<Id, Value>) -> Option<String> {
        let changed = |object: &Object| {
            let found = live.get(&object.id)?;
            let why = self
                .of_another_set(&object.id, found)
                .or_else(|| (self.refuses)(Some(&object.value), found))?;
            let place = self.places.as_ref().and_then(|places| places.get(&object.id));
            let place = place.map(|place| format!("{place}: "));
            Some(place.unwrap_or_default() + &why)
        };
        let minded = |object: &Object| (self.refuses)(Some(&object.value), live.get(&object.id)?);
        let gone = |id: Id| (self.refuses)(None, &id.object());
        let record = live.get(&self.record_id());
        let is_there = || record.is_some() || live.values().any(is_musters);
        let not_new = self.not_new.clone().filter(|_| !is_there());
        let mut left = self.left(record).into_iter();
        not_new
            .or_else(|| self.objects.iter().find_map(changed))
            .or_else(|| self.minded.iter().find_map(minded))
            .or_else(|| left.find_map(gone))
    }

    fn of_another_set(&self, id: &Id, found: &Value) -> Option<String> {
        let other = object::set_of(found).filter(|set| *set != self.name)?;
        let other = match other {
            "students" => "the students".to_owned(),
            "extension" => "your own objects, in the folder extension".to_owned(),
            other => format!("what muster installs as {other}"),
        };
        let remedy = match (self.places.is_some(), id.kind.as_str()) {
            (true, _) => "Take it out of the file, or call it something else".to_owned(),
            (false, "Namespace") => format!("Give {} a namespace that nobody else has", self.name),
            (false, _) => format!("Remove the other one first, or do not switch {} on", self.name),
        };
        Some(format!("{id} belongs to {other}, and would go with that. {remedy}"))
    }

    fn plan_present(&self, live: &BTreeMap<Id, Value>) -> Plan {
        let objects: Vec<&Object> =
            self.objects.iter().filter(|object| !self.is_anothers(object, live)).collect();
        let left = self.left(live.get(&self.record_id())).into_iter();
        let (kept, left): (Vec<Id>, Vec<Id>) = left.partition(|id| self.keeps(id));
        let marked = self.marked_of(&objects, &kept);
        let (mut created, mut what, mut diff) = (0, Vec::new(), String::new());
        for object in &marked {
            let found = live.get(&object.id);
            let Some(how) = object.differs(found, self.name) else { continue };
            diff += &object.diff(found);
            // What muster writes down for itself is nobody's news.
            match found {
                _ if object.id == self.record_id() => {}
                None => created += 1,
                Some(_) => what.push(format!("{}: {how}", object.id)),
            }
        }
        let rolled = self.to_be_rolled_out(live);
        if what.is_empty()
            && let Some(id) = rolled.filter(|id| live.get(id).is_some_and(is_rolling))
        {
            what.push(format!("{id}: not all of its pods are those of its template"));
        }
        let parting: Vec<Parting> = left.iter().map(|id| self.parting(id.clone(), self.selector())).collect();
        what.extend(parting.iter().map(Parting::words));
        if created > 0 {
            what.insert(0, format!("{created} of {} created", objects.len()));
        }
        if diff.is_empty() && what.is_empty() {
            return Plan::nothing();
        }
        if what.is_empty() {
            what.push("written down".into());
        }
        // What is written down holds what has left the set, too, until that is gone: whoever is killed in between knows of it.
        let all = objects.iter().map(|object| &object.id).chain(&kept).chain(&left);
        let both = self.record(all).marked(self.name);
        let wanted = marked.iter().skip(1);
        let (first, last) = if left.is_empty() { (&marked[0], None) } else { (&both, Some(&marked[0])) };
        let last = last.map(|record| record.value.to_string()).unwrap_or_default();
        let manifest = object::list(std::iter::once(first).chain(wanted));
        let defines = self.objects.iter().any(|object| object.id.kind.starts_with(object::DEFINITION));
        let defines = if defines { "yes" } else { "" }.to_owned();
        let pods = rolled.and_then(|id| live.get(id)).map(pods_of).unwrap_or_default();
        let [_, namespace, _] = rolled.map(|id| id.clone().parts()).unwrap_or_default();
        let workload = rolled.map(workload).unwrap_or_default();
        let set = self.name.to_owned();
        let args = [manifest, last, set, defines, namespace, workload, pods, namespaces_of(&parting)]
            .into_iter()
            .chain(parting.into_iter().flat_map(Parting::args));
        let script = kubectl!(
            concat!(include_str!("remove.sh"), include_str!("roll_out.sh"), include_str!("apply.sh")),
            args
        );
        self.change(what.join("; "), Some(diff), script)
    }

    /// What was there before, and whose pods are to be seen to be new ones.
    fn to_be_rolled_out(&self, live: &BTreeMap<Id, Value>) -> Option<&Id> {
        let mut ids = self.objects.iter().map(|object| &object.id);
        ids.find(|id| self.rolled_out && !workload(id).is_empty() && live.contains_key(id))
    }

    /// What is ours goes: what has the label, and what an earlier muster has applied, which gave none.
    fn plan_absent(&self, live: &BTreeMap<Id, Value>) -> Plan {
        let mut gone: Vec<Parting> = Vec::new();
        for Object { id, .. } in self.objects.iter().rev() {
            match live.get(id).map(|found| (object::set_of(found), ownership::of(found))) {
                Some((Some(set), _)) if set == self.name => {
                    gone.push(self.parting(id.clone(), self.selector()))
                }
                Some((None, Some(_))) => gone.push(self.parting(id.clone(), String::new())),
                _ => {}
            }
        }
        let record = live.get(&self.record_id());
        gone.extend(self.left(record).into_iter().rev().map(|id| self.parting(id, self.selector())));
        // Last, so that whoever is killed in between knows the rest.
        let record = record.map(|_| Parting { id: self.record_id(), selector: self.selector(), stays: None });
        self.gone(gone, record)
    }

    /// What has pods goes, where it is of this set.
    fn plan_ended(&self, live: &BTreeMap<Id, Value>) -> Plan {
        let is_ours = |id: &Id| live.get(id).and_then(object::set_of) == Some(self.name);
        let ids = self.objects.iter().map(|object| &object.id);
        let ids = ids.filter(|id| !workload(id).is_empty() && is_ours(id));
        self.gone(ids.map(|id| self.parting(id.clone(), self.selector())).collect(), None)
    }

    /// These objects go, and then what is written down, of which nothing is told.
    fn gone(&self, mut gone: Vec<Parting>, record: Option<Parting>) -> Plan {
        let what: Vec<_> = gone.iter().map(Parting::words).collect();
        gone.extend(record);
        if gone.is_empty() {
            return Plan::nothing();
        }
        let args = [self.name.to_owned(), namespaces_of(&gone)];
        let args = args.into_iter().chain(gone.into_iter().flat_map(Parting::args));
        let script = kubectl!(concat!(include_str!("remove.sh"), include_str!("remove_all.sh")), args);
        self.change(what.join("; "), None, script)
    }

    fn parting(&self, id: Id, selector: String) -> Parting {
        let stays = if self.shared.is_some() {
            Some("there for objects of its kind")
        } else {
            built_in::stays(&id).filter(|_| self.places.is_some())
        };
        Parting { id, selector, stays }
    }

    fn change(&self, what: String, diff: Option<String>, script: Script) -> Plan {
        let change = Change { resource: self.label(), what, diff, momentary: false };
        Plan { changes: vec![change], script: Some(script), uploads: Vec::new() }
    }
}

/// An object that is to be no part of the set any more: it is removed if it has these labels, or stays without the set's mark.
struct Parting {
    id: Id,
    selector: String,
    /// Whose it is, where it stays.
    stays: Option<&'static str>,
}

impl Parting {
    fn words(&self) -> String {
        match self.stays {
            Some(whose) => format!("{}: stays, it is {whose}", self.id),
            None => format!("{}: removed", self.id),
        }
    }

    /// As `part_with` of `remove.sh` takes it.
    fn args(self) -> impl Iterator<Item = String> {
        let how = if self.stays.is_some() { "release" } else { "remove" };
        std::iter::once(how.to_owned()).chain(self.id.parts()).chain([self.selector])
    }
}

/// The namespaces that go, with all that is in them.
fn namespaces_of(parting: &[Parting]) -> String {
    let go = parting.iter().filter(|parting| parting.id.kind == "Namespace" && parting.stays.is_none());
    go.map(|parting| parting.id.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// `deployment/NAME`, or `daemonset/NAME`; empty for what has no pods.
fn workload(id: &Id) -> String {
    let word = WORKLOADS.iter().find(|(kind, _)| *kind == id.kind).map(|(_, word)| word);
    word.map(|word| format!("{word}/{}", id.name)).unwrap_or_default()
}

/// Whether pods of a former template are there (Kubernetes' API of Deployments, status). Those of a DaemonSet may be, on machines that
/// are off.
fn is_rolling(workload: &Value) -> bool {
    let count = |name: &str| workload["status"][name].as_u64().unwrap_or(0);
    count("replicas") > count("updatedReplicas")
}

/// How it finds its pods, as kubectl takes it.
fn pods_of(workload: &Value) -> String {
    let labels = workload["spec"]["selector"]["matchLabels"].as_object();
    let labels = labels.into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    labels.join(",")
}

fn record_id(set: &str) -> Id {
    Id { kind: "ConfigMap".into(), namespace: NAMESPACE.into(), name: record_name(set) }
}

/// What says that it consists of these objects.
fn record(id: Id, objects: &str) -> Object {
    let value = json!({
        "apiVersion": "v1",
        "kind": id.kind,
        "metadata": { "name": id.name, "namespace": id.namespace },
        "data": { "objects": objects },
    });
    Object { id, value }
}

impl Resource for ObjectSet {
    fn label(&self) -> String {
        match self.wanted {
            Wanted::Ended => pods_end(self.name),
            _ => format!("objects of {}", self.name),
        }
    }

    fn probe(&self) -> Probe {
        if self.wanted == Wanted::PresentLater {
            return Probe::default();
        }
        let ids = self.objects.iter().chain(&self.minded);
        let ids = ids.map(|object| Object { id: object.id.clone(), value: object.head() });
        let records = std::iter::once(self.name).chain(self.others.iter().map(String::as_str));
        let records = records.map(|set| record(record_id(set), ""));
        let asked = object::list(records.chain(ids).collect::<Vec<_>>().iter());
        Probe::script(kubectl!(
            r#"printf '%s' "$1" | kubectl get --ignore-not-found --show-managed-fields -o json -f - 2>&1"#,
            [asked]
        ))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        let printed = match answer.status {
            0 => answer.output,
            _ => object::but_unknown_kinds(&answer.output)
                .ok_or_else(|| format!("kubectl cannot look at them: {}", answer.output.trim_end()))?,
        };
        let live = self.in_default_namespace(object::parse(&printed)?);
        if let Some(why) = self.refusal(&live).filter(|_| self.wanted == Wanted::Present) {
            return Err(why);
        }
        let is_there = |other: &&String| live.contains_key(&record_id(other));
        *self.others_there.lock().unwrap_or_else(PoisonError::into_inner) =
            self.others.iter().filter(is_there).cloned().collect();
        Ok(match self.wanted {
            Wanted::Absent => self.plan_absent(&live),
            Wanted::Ended => self.plan_ended(&live),
            Wanted::Present | Wanted::PresentLater => self.plan_present(&live),
        })
    }

    fn desired(&self) -> String {
        let objects =
            if self.wanted == Wanted::Absent { String::new() } else { object::list(&self.marked()) };
        format!("{}:{objects}", self.label())
    }
}
