//! Variables that users set and nothing reads: mistyped names, most of the time.

use std::collections::{BTreeMap, HashSet};

use crate::jinja::prepare;
use crate::magic;
use crate::origin::{Origin, Warning};
use crate::similar;
use crate::value::{Kind, Value};
use crate::vars::Vars;

impl Vars {
    /// One warning for every variable that a user set, that is not among the `known` names, and
    /// that no other variable of a user mentions; with the most similar known name. Names that
    /// begin with `ansible_` are Ansible's own and passed over, and so are the defaults of roles.
    pub fn unused_warnings<'a>(&self, known: impl IntoIterator<Item = &'a str>) -> Vec<Warning> {
        let known: HashSet<&str> = known.into_iter().collect();
        let is_known = |name: &str| known.contains(name) || magic::names().any(|magic| magic == name);
        let mut set: BTreeMap<String, Option<Origin>> = BTreeMap::new();
        let mut mentioned: HashSet<String> = HashSet::new();
        for layer in self.user_layers() {
            for (name, value) in &layer.vars {
                mention(value, &mut mentioned);
                if !is_known(name) && !name.starts_with("ansible_") {
                    set.entry(name.clone()).or_insert_with(|| value.origin.clone());
                }
            }
        }
        set.into_iter()
            .filter(|(name, _)| !mentioned.contains(name))
            .map(|(name, origin)| {
                let hint = similar::closest(&name, known.iter().copied())
                    .map(|similar| format!("; did you mean \"{similar}\"?"))
                    .unwrap_or_default();
                Warning::new(format!("\"{name}\" is set but used by no role{hint}"), origin)
            })
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
