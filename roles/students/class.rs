//! The students' objects: how they are wanted, what is there, and what differs.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use muster_engine::prelude::*;
use muster_inventory::HostVars;
use serde::Deserialize;
use serde_json::{Value, json};

use super::files::Files;
use super::{Person, Row, SET, STUDENT, Student, some};
use crate::objects::object::{self, Id, Object};
use crate::objects::parsed;

/// How the pods are connected. Explained in the `defaults.yml` of other roles.
#[derive(Deserialize)]
pub(super) struct Network {
    kube_network_plugin: String,
    kube_pods_subnet: String,
    kube_network_node_prefix: u8,
    flannel_backend_type: String,
    network_policies_enabled: bool,
    ipv6_stack: bool,
}

impl Network {
    /// Whether it is known that policies have no effect.
    pub(super) fn has_no_policies(&self) -> bool {
        self.kube_network_plugin == "flannel" && !self.network_policies_enabled
    }

    /// The addresses of nodes among those of pods, each as a network: with flannel's vxlan the first one of each node's part, which no pod
    /// gets. From there comes what has come to a NodePort of one node, and is for a pod on another one. Kubernetes gives the parts in
    /// their order, and so these are those of the first 1024 nodes.
    fn of_nodes(&self) -> Result<Vec<String>> {
        if self.kube_network_plugin != "flannel"
            || !self.network_policies_enabled
            || self.flannel_backend_type != "vxlan"
        {
            return Ok(Vec::new());
        }
        let network = self.kube_pods_subnet.parse::<Ipv4Net>().ok();
        let parts = network.and_then(|network| network.subnets(self.kube_network_node_prefix).ok());
        let parts = parts.ok_or_else(|| {
            let (network, prefix) = (&self.kube_pods_subnet, self.kube_network_node_prefix);
            Failure::new(
                format!("kube_network_node_prefix is {prefix}, and kube_pods_subnet is {network}"),
                "set kube_pods_subnet to a network, and kube_network_node_prefix to the size of each node's part of it",
            )
        })?;
        Ok(parts.take(1024).map(|part| format!("{}/32", part.network())).collect())
    }
}

/// The objects of these students, with the mark of their set.
pub(super) fn objects(vars: &HostVars, students: &[Student], role: &str) -> Result<Vec<Object>> {
    let wrong = |why: String| {
        Failure::new(format!("the objects of the students: {why}"), "check the variables students_*")
    };
    let network: Network = vars.deserialize()?;
    let of_nodes = network.of_nodes()?;
    let mut objects = Vec::new();
    for student in students {
        let extra = json!({ "student": student, "role": role, "of_nodes": of_nodes, "is_dual_stack": network.ipv6_stack });
        let template = include_str!("templates/student.yaml.j2");
        let manifest = vars.render(template, "student.yaml.j2", &extra)?;
        // One after the other: the parser takes so many documents at most.
        for document in parsed::<Value>(&manifest).map_err(wrong)? {
            let object = Object::new(document).ok_or_else(|| wrong("one has no kind or no name".into()))?;
            objects.push(object.marked(SET));
        }
    }
    Ok(objects)
}

/// Whose an object is: its namespace, or the namespace that it is.
fn owner(id: &Id) -> &str {
    if id.namespace.is_empty() { &id.name } else { &id.namespace }
}

/// What is there: all namespaces, and the objects of the students.
pub(super) struct Live {
    /// The URL of the API, as the administrator's kubeconfig has it.
    pub(super) server: String,
    /// The URLs of all control planes' API servers, as far as they are known.
    planes: Vec<String>,
    /// The certificate of the cluster's authority, as it stands in a kubeconfig.
    pub(super) authority: String,
    objects: BTreeMap<Id, Value>,
}

impl Live {
    /// What `look.sh` has printed, in a cluster with API servers at these URLs.
    pub(super) fn of(printed: &str, planes: Vec<String>) -> Result<Self, String> {
        let mut documents = serde_json::Deserializer::from_str(printed).into_iter::<Value>();
        let mut next = || {
            let document = documents.next().ok_or("kubectl printed too little")?;
            document.map_err(|error| format!("kubectl printed no JSON: {error}"))
        };
        let (cluster, namespaces, others) = (next()?, next()?, next()?);
        let mut objects = object::parse(&namespaces.to_string())?;
        objects.extend(object::parse(&others.to_string())?);
        let text = |key: &str| cluster[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let server = text("server").ok_or("admin.conf names no server")?;
        let authority = text("authority").ok_or("admin.conf holds no authority")?;
        Ok(Self { server, planes, authority, objects })
    }

    /// Where a student finds the API who is told of `server`: there, where that is any control plane, be it another one than the
    /// one that was asked; the API may have been given another place altogether.
    pub(super) fn server_for<'s>(&'s self, server: Option<&'s str>) -> &'s str {
        let is_plane = |url: &str| self.planes.iter().any(|plane| plane == url);
        server.filter(|server| is_plane(server) && is_plane(&self.server)).unwrap_or(&self.server)
    }

    fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        let id = Id { kind: kind.into(), namespace: namespace.into(), name: name.into() };
        self.objects.get(&id)
    }

    fn is_student(namespace: &Value) -> bool {
        object::set_of(namespace) == Some(SET)
            && namespace["metadata"]["labels"][STUDENT] == namespace["metadata"]["name"]
    }

    /// The students' namespaces, and whose they are.
    pub(super) fn students(&self) -> BTreeMap<String, Person> {
        let namespaces = self.objects.iter().filter(|(id, _)| id.kind == "Namespace");
        let students = namespaces.filter(|(_, namespace)| Self::is_student(namespace));
        let owner = |namespace: &Value| Person {
            name: annotation(namespace, "muster.io/student-name"),
            login: None,
            groups: annotation(namespace, "muster.io/student-groups"),
        };
        students.map(|(id, namespace)| (id.name.clone(), owner(namespace))).collect()
    }

    /// What is against giving a student the namespace.
    pub(super) fn against(&self, student: &Student) -> Option<String> {
        let namespace = self.get("Namespace", "", &student.namespace)?;
        let Student { name, namespace: id, .. } = student;
        if !Self::is_student(namespace) {
            return Some(format!("{name}: the namespace {id} is there, and is not a student's"));
        }
        (namespace["status"]["phase"] == "Terminating")
            .then(|| format!("{name}: the namespace {id} is being deleted; wait until it is gone"))
    }

    /// The identity of a student's service account.
    pub(super) fn account(&self, namespace: &str) -> Option<&str> {
        self.get("ServiceAccount", namespace, namespace)?["metadata"]["uid"].as_str()
    }

    /// What is known of a student.
    pub(super) fn row(&self, namespace: &str, files: &Files) -> Row {
        let found = self.get("Namespace", "", namespace).unwrap_or(&Value::Null);
        let of = |kind: &str| {
            let kind = kind.to_owned();
            self.objects
                .iter()
                .filter(move |(id, _)| id.kind == kind && id.namespace == namespace)
                .map(|(_, o)| o)
        };
        let role = of("RoleBinding.rbac.authorization.k8s.io").find_map(|o| o["roleRef"]["name"].as_str());
        let used =
            of("ResourceQuota").filter_map(|quota| quota["status"]["hard"].as_object().zip(Some(quota)));
        let used = used.flat_map(|(hard, quota)| {
            hard.iter().map(move |(what, most)| {
                let used = &quota["status"]["used"][what];
                [
                    what.clone(),
                    used.as_str().unwrap_or("0").to_owned(),
                    most.as_str().unwrap_or_default().to_owned(),
                ]
            })
        });
        let deleting = found["status"]["phase"] == "Terminating";
        Row {
            name: annotation(found, "muster.io/student-name"),
            namespace: namespace.to_owned(),
            groups: annotation(found, "muster.io/student-groups"),
            role: role.unwrap_or_default().to_owned(),
            until: self.account(namespace).and_then(|account| files.until(namespace, account)),
            used: used.collect(),
            wrong: deleting.then(|| "is being deleted".to_owned()),
        }
    }

    /// What differs between what is there and what is wanted.
    pub(super) fn difference<'o>(&'o self, students: &'o [Student], wanted: &'o [Object]) -> Difference<'o> {
        let changed = wanted.iter().filter_map(|object| {
            let found = self.objects.get(&object.id);
            Some((object, found, object.differs(found, SET)?))
        });
        let is_theirs = |id: &Id| students.iter().any(|student| student.namespace == owner(id));
        let left = self.objects.iter().filter(|(id, found)| {
            object::set_of(found) == Some(SET)
                && is_theirs(id)
                && wanted.iter().all(|object| object.id != **id)
        });
        Difference { changed: changed.collect(), left: left.collect() }
    }
}

fn annotation(object: &Value, key: &str) -> String {
    object["metadata"]["annotations"][key].as_str().unwrap_or_default().to_owned()
}

/// What differs.
pub(super) struct Difference<'o> {
    changed: Vec<(&'o Object, Option<&'o Value>, String)>,
    /// What is of the set and is not wanted any more.
    left: Vec<(&'o Id, &'o Value)>,
}

impl Difference<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }

    /// Who is new, and what differs of the others.
    pub(super) fn what(&self) -> String {
        let is_new =
            |object: &Object, found: Option<&Value>| object.id.kind == "Namespace" && found.is_none();
        let new: Vec<&str> = self
            .changed
            .iter()
            .filter(|(object, found, _)| is_new(object, *found))
            .map(|(object, ..)| object.id.name.as_str())
            .collect();
        let others = self.changed.iter().filter(|(object, ..)| !new.contains(&owner(&object.id)));
        let mut others: Vec<String> =
            others.map(|(object, _, how)| format!("{}: {how}", object.id)).collect();
        others.extend(self.left.iter().map(|(id, _)| format!("{id}: removed")));
        let mut what = Vec::new();
        if !new.is_empty() {
            what.push(format!("{} created: {}", new.len(), some(new)));
        }
        if !others.is_empty() {
            what.push(some(others.iter().map(String::as_str)));
        }
        what.join("; ")
    }

    pub(super) fn diff(&self) -> String {
        self.changed.iter().map(|(object, found, _)| object.diff(*found)).collect()
    }

    /// What goes, as one text for kubectl; empty where nothing does.
    pub(super) fn removed(&self) -> String {
        let head = |(id, found): &(&Id, &Value)| Object { id: (*id).clone(), value: (*found).clone() }.head();
        let items: Vec<Value> = self.left.iter().map(head).collect();
        if items.is_empty() {
            return String::new();
        }
        json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
    }

    /// What is applied, as about so many texts for kubectl, each with all that it needs.
    pub(super) fn manifests(&self, parts: usize) -> Vec<String> {
        let mut owners: Vec<&str> = self.changed.iter().map(|(object, ..)| owner(&object.id)).collect();
        owners.dedup();
        let size = owners.len().div_ceil(parts).max(1);
        let part = |owners: &[&str]| {
            let theirs = self.changed.iter().filter(|(object, ..)| owners.contains(&owner(&object.id)));
            object::list(theirs.map(|(object, ..)| *object))
        };
        owners.chunks(size).map(part).collect()
    }

    /// The same by student, in words.
    pub(super) fn by_student(&self) -> Vec<(String, String)> {
        let changed = self.changed.iter().map(|(object, found, how)| {
            let id = &object.id;
            let is = if found.is_none() { format!("{id} is missing") } else { format!("{id}: {how}") };
            (owner(id), is)
        });
        let left = self.left.iter().map(|(id, _)| (owner(id), format!("{id} is still there")));
        let mut by_student: Vec<(String, String)> = Vec::new();
        for (owner, what) in changed.chain(left) {
            match by_student.iter_mut().find(|(known, _)| known == owner) {
                Some((_, whats)) => *whats += &format!(", {what}"),
                None => by_student.push((owner.to_owned(), what)),
            }
        }
        by_student
    }
}
