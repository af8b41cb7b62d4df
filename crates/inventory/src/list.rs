//! An inventory as `ansible-inventory` shows it: `--list`, `--host`, `--graph`.
//! (`ansible/cli/inventory.py`)

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value as Json, json};

use crate::inventory::{ALL, GroupId, Inventory};
use crate::layer::LayerKind;
use crate::pattern::PatternError;
use crate::similar;
use crate::value::{Kind, Value};
use crate::vars::Vars;
use crate::vars_error::VarsError;

/// Names that Ansible keeps for itself and does not show.
const INTERNAL: &[&str] = &[
    "ansible_async_path",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_limit",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_role_names",
    "ansible_playbook_python",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "omit",
    "play_hosts",
    "playbook_dir",
    "role_name",
    "role_names",
    "role_path",
    "role_uuid",
];

impl Vars {
    /// What `ansible-inventory --list` prints: groups with their hosts and children, and the
    /// variables of every host as they were written (templates not rendered, role defaults left
    /// out). Groups have the names the user gave them; computed groups are left out.
    pub fn list_json(&self) -> Json {
        let inventory = self.inventory();
        let mut document = Map::new();
        list_group(inventory, ALL, &mut document, &mut HashSet::new());
        let mut host_vars = Map::new();
        for host in inventory.hosts() {
            if let Ok(vars) = self.host_json(host.name())
                && vars.as_object().is_some_and(|vars| !vars.is_empty())
            {
                host_vars.insert(host.name().to_owned(), vars);
            }
        }
        document.insert("_meta".to_owned(), json!({ "hostvars": host_vars }));
        Json::Object(document)
    }

    /// What `ansible-inventory --host NAME` prints: the variables of one host as they were written.
    ///
    /// # Errors
    /// When the inventory has no such host.
    pub fn host_json(&self, host: &str) -> Result<Json, VarsError> {
        let host = self.host(host)?;
        let layers = host.inner.layers(host.host);
        let mut vars: BTreeMap<&str, &Value> = BTreeMap::new();
        for layer in layers.iter().filter(|layer| layer.kind > LayerKind::Default) {
            vars.extend(layer.vars.iter().map(|(name, value)| (name.as_str(), value)));
        }
        vars.retain(|name, _| !INTERNAL.contains(name));
        Ok(Json::Object(vars.into_iter().map(|(name, value)| (name.to_owned(), shown(value))).collect()))
    }
}

fn list_group(
    inventory: &Inventory,
    id: GroupId,
    document: &mut Map<String, Json>,
    seen: &mut HashSet<GroupId>,
) {
    let group = &inventory.groups[id];
    let mut entry = Map::new();
    if id != ALL && !group.hosts.is_empty() {
        let names: Vec<&str> = group.hosts.iter().map(|host| inventory.hosts[*host].name.as_str()).collect();
        entry.insert("hosts".to_owned(), json!(names));
    }
    let children: Vec<GroupId> = shown_children(inventory, id).collect();
    if !children.is_empty() {
        let names: Vec<&str> = children.iter().map(|child| inventory.groups[*child].name.as_str()).collect();
        entry.insert("children".to_owned(), json!(names));
    }
    if !entry.is_empty() {
        document.insert(group.name.clone(), Json::Object(entry));
    }
    for child in children {
        if seen.insert(child) {
            list_group(inventory, child, document, seen);
        }
    }
}

fn shown_children(inventory: &Inventory, id: GroupId) -> impl Iterator<Item = GroupId> {
    inventory.groups[id].children.iter().copied().filter(|child| !inventory.groups[*child].computed)
}

/// A value as `ansible-inventory` shows it: text that must not be rendered is marked.
fn shown(value: &Value) -> Json {
    match &value.kind {
        Kind::Raw(text) => json!({ "__ansible_unsafe": text }),
        Kind::List(items) => Json::Array(items.iter().map(shown).collect()),
        Kind::Map(map) => Json::Object(map.iter().map(|(key, item)| (key.clone(), shown(item))).collect()),
        _ => value.to_json(),
    }
}

impl Inventory {
    /// What `ansible-inventory --graph [GROUP]` prints: groups and hosts as a tree.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn graph(&self, group: &str) -> Result<String, PatternError> {
        let Some(id) = self.group_id(group) else {
            let names = self.groups.iter().map(|group| group.name.as_str());
            let suggestion = similar::closest(group, names).map(str::to_owned);
            return Err(PatternError::NoMatch { part: group.to_owned(), suggestion });
        };
        let mut lines = Vec::new();
        self.graph_group(id, 0, &mut lines);
        Ok(lines.join("\n"))
    }

    fn graph_group(&self, id: GroupId, depth: usize, lines: &mut Vec<String>) {
        let line = |name: String, depth: usize| match depth {
            0 => name,
            _ => format!("{}--{name}", "  |".repeat(depth)),
        };
        lines.push(line(format!("@{}:", self.groups[id].name), depth));
        for child in shown_children(self, id) {
            self.graph_group(child, depth + 1, lines);
        }
        if id != ALL {
            let hosts = self.groups[id].hosts.iter();
            lines.extend(hosts.map(|host| line(self.hosts[*host].name.clone(), depth + 1)));
        }
    }
}
