//! Variables that exist without being set: `inventory_hostname`, `groups`, `hostvars`, ...

use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Error, ErrorKind, Value as Engine};

use crate::address;
use crate::inventory::Inventory;
use crate::resolve::Scope;
use crate::vars_error::VarsError;

/// What `default(omit)` puts in place of a value, and what consumers drop.
pub const OMIT: &str = "__omit_place_holder__";

/// Variables that nobody can override.
const FIXED: [&str; 10] = [
    "inventory_hostname",
    "inventory_hostname_short",
    "groups",
    "group_names",
    "hostvars",
    "vars",
    "omit",
    "playbook_dir",
    "ansible_version",
    "ansible_facts",
];
/// Variables that a user's own value hides.
const OVERRIDABLE: [&str; 2] = ["inventory_dir", "inventory_file"];

/// All names of magic variables.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FIXED.into_iter().chain(OVERRIDABLE)
}

/// A magic variable that wins over every definition.
pub(crate) fn variable(scope: &Scope, name: &str) -> Option<Engine> {
    let host = scope.host_name();
    Some(match name {
        "inventory_hostname" => Engine::from(host),
        "inventory_hostname_short" if address::is_ip(host) => Engine::from(host),
        "inventory_hostname_short" => Engine::from(host.split('.').next().unwrap_or(host)),
        "groups" => Engine::from_object(Groups(scope.clone())),
        "group_names" => scope.inner.group_names(scope.host),
        "hostvars" => Engine::from_object(HostVarsOfAll(scope.clone())),
        "vars" => Engine::from_object(scope.clone()),
        "omit" => Engine::from(OMIT),
        "playbook_dir" => Engine::from(scope.inner.playbook_dir.as_ref()?.display().to_string()),
        // What group_vars ask for is whether features of the Ansible they were written for exist.
        "ansible_version" => Engine::from_pairs([
            ("full", Engine::from("2.18.0")),
            ("string", Engine::from("2.18.0")),
            ("major", Engine::from(2)),
            ("minor", Engine::from(18)),
            ("revision", Engine::from(0)),
        ]),
        "ansible_facts" => Engine::from_object(Facts(scope.clone())),
        _ => return None,
    })
}

/// A magic variable for when there is no definition.
pub(crate) fn fallback(scope: &Scope, name: &str) -> Option<Engine> {
    let source = scope.inner.inventory.hosts[scope.host].source.as_ref()?;
    match name {
        "inventory_file" => Some(Engine::from(source.file.as_str())),
        "inventory_dir" => source.dir.as_deref().map(Engine::from),
        _ => None,
    }
}

/// Every name that has a value for a host, magic ones included.
pub(crate) fn all_names(scope: &Scope) -> BTreeSet<String> {
    let layers = scope.inner.layers(scope.host);
    let exists = |name: &&str| variable(scope, name).or_else(|| fallback(scope, name)).is_some();
    let magic = names().filter(exists).map(str::to_owned);
    layers.iter().flat_map(|layer| layer.vars.keys().cloned()).chain(magic).collect()
}

/// `groups`: the hosts of every group, under each of its names.
#[derive(Debug)]
struct Groups(Scope);

impl Object for Groups {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Engine) -> Option<Engine> {
        let name = key.as_str()?;
        let inventory = &self.0.inner.inventory;
        self.0.inner.group_list(inventory.group_id(name)?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let inventory = &self.0.inner.inventory;
        let mut names: Vec<Engine> = Vec::new();
        for group in inventory.groups() {
            names.push(group.name().into());
            let canonical = inventory.rules.canonical(group.name());
            if canonical != group.name() {
                names.push(canonical.into());
            }
        }
        Enumerator::Values(names)
    }
}

/// `hostvars`: the variables of every host, resolved when they are asked for.
#[derive(Debug)]
struct HostVarsOfAll(Scope);

impl Object for HostVarsOfAll {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Engine) -> Option<Engine> {
        let id = self.0.inner.inventory.hosts.get_index_of(key.as_str()?)?;
        Some(Engine::from_object(self.0.of_host(id)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let inventory = &self.0.inner.inventory;
        Enumerator::Values(inventory.hosts().map(|host| Engine::from(host.name())).collect())
    }
}

/// `ansible_facts`: what the machine reported, under names with and without the prefix `ansible_`.
#[derive(Debug)]
struct Facts(Scope);

impl Object for Facts {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Engine) -> Option<Engine> {
        let name = key.as_str()?;
        let Some(facts) = self.0.inner.machine_facts(self.0.host) else {
            return Some(failed(self.0.needs_facts(&format!("ansible_facts.{name}"))));
        };
        let value = facts.vars.get(name).or_else(|| facts.vars.get(&format!("ansible_{name}")))?;
        Some(crate::convert::plain_to_engine(&value.kind))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let facts = self.0.inner.machine_facts(self.0.host);
        let names = facts.iter().flat_map(|layer| layer.vars.keys());
        Enumerator::Values(
            names.map(|name| Engine::from(name.strip_prefix("ansible_").unwrap_or(name))).collect(),
        )
    }
}

/// An error in place of a value: it comes out where the value is used.
pub(crate) fn failed(error: VarsError) -> Engine {
    Error::new(ErrorKind::InvalidOperation, "a variable cannot be resolved").with_source(error).into()
}

/// `group_names`: every name of every group a host is in, sorted.
pub(crate) fn group_names(inventory: &Inventory, host: &str) -> Engine {
    let names: BTreeSet<&str> = inventory
        .groups_of(host)
        .into_iter()
        .flat_map(|group| inventory.rules.names(group).into_iter().chain([group]))
        .collect();
    names.into_iter().map(Engine::from).collect::<Vec<_>>().into()
}
