//! What users set, and what of it other things of theirs use: from this follows which of it is used by nobody.

use std::collections::{BTreeMap, HashSet};

use crate::jinja::prepare;
use crate::magic;
use crate::origin::Origin;
use crate::value::{Kind, Value};
use crate::vars::Vars;

/// A variable that users set.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// The first place where it is set.
    pub origin: Option<Origin>,
    /// Whether a template in another value of a user mentions it.
    pub mentioned: bool,
}

impl Vars {
    /// Every variable that users set anywhere, whether it holds for a host or not, by name. Those that are Ansible's own
    /// (`ansible_...` and the magic ones) are passed over.
    pub fn written(&self) -> Vec<Written> {
        let mut set: BTreeMap<String, Option<Origin>> = BTreeMap::new();
        let mut mentioned: HashSet<String> = HashSet::new();
        for layer in self.user_layers() {
            for (name, value) in &layer.vars {
                mention(value, &mut mentioned);
                if !name.starts_with("ansible_") && !magic::names().any(|magic| magic == name) {
                    set.entry(name.clone()).or_insert_with(|| value.origin.clone());
                }
            }
        }
        set.into_iter()
            .map(|(name, origin)| Written { mentioned: mentioned.contains(&name), name, origin })
            .collect()
    }
}

/// Notes every name that the templates in a value mention.
fn mention(value: &Value, names: &mut HashSet<String>) {
    match &value.kind {
        Kind::Str(text) if crate::value::has_markers(text) => names.extend(prepare::names(text)),
        Kind::List(items) => items.iter().for_each(|item| mention(item, names)),
        Kind::Map(map) => map.values().for_each(|item| mention(item, names)),
        _ => {}
    }
}
