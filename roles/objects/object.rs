//! One object of the cluster: what it is known by, and how it differs from what is there.

use std::collections::BTreeMap;
use std::fmt;

use muster_artifacts::Sha256;
use muster_engine::resource::unified;
use serde_json::{Value, json};

use super::{APPLIED, SET, ownership};

/// What an object is known by, in every version of its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    /// `Kind`, or `Kind.group`, as kubectl takes it.
    pub(crate) kind: String,
    /// Empty for an object that is in no namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Id {
    fn of(object: &Value) -> Option<Self> {
        let kind = object["kind"].as_str()?;
        let group = object["apiVersion"].as_str()?.split_once('/').map(|(group, _)| group);
        let metadata = &object["metadata"];
        Some(Self {
            kind: group.map_or_else(|| kind.to_owned(), |group| format!("{kind}.{group}")),
            namespace: metadata["namespace"].as_str().unwrap_or_default().to_owned(),
            name: metadata["name"].as_str()?.to_owned(),
        })
    }

    /// As it is written down.
    pub(crate) fn line(&self) -> String {
        format!("{} {} {}", self.kind, self.namespace, self.name)
    }

    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ' ').map(str::to_owned);
        Some(Self { kind: parts.next()?, namespace: parts.next()?, name: parts.next()? })
    }

    /// As much of the object as is known by it.
    pub(crate) fn object(&self) -> Value {
        let kind = self.kind.split('.').next().unwrap_or_default();
        json!({ "kind": kind, "metadata": { "name": self.name, "namespace": self.namespace } })
    }

    /// As programs take it.
    pub(crate) fn parts(self) -> [String; 3] {
        [self.kind, self.namespace, self.name]
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.split('.').next().unwrap_or_default();
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{kind} {}{slash}{}", self.namespace, self.name)
    }
}

/// An object as it is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) id: Id,
    pub(crate) value: Value,
}

impl Object {
    /// `None` for what is no object. Its status is the cluster's own word, which nobody applies.
    pub(crate) fn new(mut value: Value) -> Option<Self> {
        let id = Id::of(&value)?;
        value.as_object_mut()?.remove("status");
        Some(Self { id, value })
    }

    /// The object with the mark of its set.
    pub(crate) fn marked(&self, set: &str) -> Self {
        let mut value = self.value.clone();
        value["metadata"]["labels"][SET] = json!(set);
        let hash = Sha256::of(value.to_string().as_bytes()).to_string();
        value["metadata"]["annotations"][APPLIED] = json!(hash);
        Self { id: self.id.clone(), value }
    }

    /// What kubectl needs to find it.
    pub(crate) fn head(&self) -> Value {
        let metadata = json!({ "name": self.id.name, "namespace": self.id.namespace });
        json!({ "apiVersion": self.value["apiVersion"], "kind": self.value["kind"], "metadata": metadata })
    }

    /// How what was found differs from this object with its mark, in a few words.
    pub(crate) fn differs(&self, found: Option<&Value>, set: &str) -> Option<String> {
        let Some(found) = found else { return Some("created".into()) };
        let hash = |object: &Value| object["metadata"]["annotations"][APPLIED].clone();
        if set_of(found) != Some(set) {
            return Some("taken over".into());
        }
        if hash(found) != hash(&self.value) {
            return Some("changed".into());
        }
        let lost = ownership::lost(&self.value, found)?;
        Some(format!("{lost} is not as it was applied"))
    }

    /// The fields of this object, as they were found and as they are wanted.
    pub(crate) fn diff(&self, found: Option<&Value>) -> String {
        let label = self.id.to_string();
        if self.id.kind == "Secret" {
            return format!("{label}: its content is not shown\n");
        }
        let text = |value: &Value| serde_saphyr::to_string(value).unwrap_or_else(|_| format!("{value:#}\n"));
        let before = found.map(|found| text(&same_fields(found, &self.value))).unwrap_or_default();
        unified(&label, &before, &text(&self.value))
    }
}

/// To which set an object says that it belongs.
pub(crate) fn set_of(object: &Value) -> Option<&str> {
    object["metadata"]["labels"][SET].as_str()
}

/// The kind of objects that define kinds.
pub(super) const DEFINITION: &str = "CustomResourceDefinition.";

/// What kubectl has printed without its complaints, where these are only of kinds that the cluster does not know: of such a kind
/// there is no object. `None` where it complains of anything else, or of nothing.
pub(super) fn but_unknown_kinds(printed: &str) -> Option<String> {
    let is_complaint =
        |line: &&str| ["error", "Error", "unable", "Unable"].iter().any(|word| line.starts_with(word));
    let (complaints, rest): (Vec<&str>, Vec<&str>) = printed.lines().partition(is_complaint);
    let only = !complaints.is_empty() && complaints.iter().all(|line| line.contains("no matches for kind"));
    only.then(|| rest.join("\n"))
}

/// Objects as one text for kubectl.
pub(crate) fn list<'o>(objects: impl IntoIterator<Item = &'o Object>) -> String {
    let items: Vec<_> = objects.into_iter().map(|object| &object.value).collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// What kubectl has printed: nothing, an object, or a list, and warnings after it.
pub(crate) fn parse(printed: &str) -> Result<BTreeMap<Id, Value>, String> {
    let first = serde_json::Deserializer::from_str(printed).into_iter::<Value>().next();
    let items = match first.transpose().map_err(|error| format!("kubectl printed no JSON: {error}"))? {
        None => Vec::new(),
        Some(mut list) if list["kind"] == "List" => match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        },
        Some(object) => vec![object],
    };
    Ok(items.into_iter().filter_map(|item| Some((Id::of(&item)?, item))).collect())
}

/// A value with those of its fields that another one has, too.
fn same_fields(value: &Value, other: &Value) -> Value {
    match (value, other) {
        (Value::Object(fields), Value::Object(others)) => {
            let same = others
                .iter()
                .filter_map(|(key, other)| Some((key.clone(), same_fields(fields.get(key)?, other))));
            Value::Object(same.collect())
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            items.iter().zip(others).map(|(item, other)| same_fields(item, other)).collect()
        }
        _ => value.clone(),
    }
}
