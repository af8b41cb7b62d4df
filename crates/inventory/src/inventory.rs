//! The inventory: hosts, the groups they are in, and the variables written beside them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::error::InventoryError;
use crate::group_rules::GroupRules;
use crate::origin::Warning;
use crate::value::Value;

/// Index of a group in [`Inventory::groups`].
pub(crate) type GroupId = usize;
/// Index of a host in [`Inventory::hosts`].
pub(crate) type HostId = usize;

/// The group every host is in.
pub(crate) const ALL: GroupId = 0;
/// The group of the hosts that are in no other.
pub(crate) const UNGROUPED: GroupId = 1;

/// One host.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) name: String,
    pub(crate) vars: IndexMap<String, Value>,
    /// The groups that name the host themselves.
    pub(crate) groups: Vec<GroupId>,
    /// The source that named the host first: a path, or the text of a host list.
    pub(crate) source: Option<InventorySource>,
}

/// Where a host was first named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InventorySource {
    /// `inventory_file`: the absolute path, or the text of a host list.
    pub(crate) file: String,
    /// `inventory_dir`: the absolute directory; none for a host list.
    pub(crate) dir: Option<String>,
}

impl InventorySource {
    pub(crate) fn of_file(path: &Path) -> Self {
        Self { file: path.display().to_string(), dir: path.parent().map(|dir| dir.display().to_string()) }
    }
}

impl Host {
    /// The name in the inventory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The variables written on the host's own lines, not resolved.
    pub fn vars(&self) -> &IndexMap<String, Value> {
        &self.vars
    }
}

/// One group.
#[derive(Debug, Clone)]
pub struct Group {
    pub(crate) name: String,
    pub(crate) hosts: Vec<HostId>,
    pub(crate) members: HashSet<HostId>,
    pub(crate) children: Vec<GroupId>,
    pub(crate) parents: Vec<GroupId>,
    pub(crate) vars: IndexMap<String, Value>,
    pub(crate) depth: usize,
    pub(crate) priority: i64,
    /// Not written by the user but made by a rule (see [`GroupRules`]).
    pub(crate) computed: bool,
}

impl Group {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            hosts: Vec::new(),
            members: HashSet::new(),
            children: Vec::new(),
            parents: Vec::new(),
            vars: IndexMap::new(),
            depth: 0,
            priority: 1,
            computed: false,
        }
    }

    /// The name as the user spelled it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The variables of `[group:vars]` and the like, not resolved.
    pub fn vars(&self) -> &IndexMap<String, Value> {
        &self.vars
    }

    /// Whether the user did not write this group: it was made by a rule.
    pub fn is_computed(&self) -> bool {
        self.computed
    }
}

/// Hosts and groups of all sources together.
#[derive(Debug, Clone)]
pub struct Inventory {
    pub(crate) hosts: IndexMap<String, Host>,
    pub(crate) groups: Vec<Group>,
    /// Group by canonical name.
    pub(crate) group_ids: HashMap<String, GroupId>,
    pub(crate) rules: GroupRules,
    /// Directories whose `group_vars` and `host_vars` count, in the order of their sources.
    pub(crate) var_dirs: Vec<PathBuf>,
    pub(crate) warnings: Vec<Warning>,
    /// Hosts that one file says to be two machines.
    pub(crate) two_machines: Vec<InventoryError>,
    /// All hosts in inventory order, filled when loading is complete.
    pub(crate) order: Vec<HostId>,
}

impl Inventory {
    pub(crate) fn new(rules: GroupRules) -> Self {
        let mut inventory = Self {
            hosts: IndexMap::new(),
            groups: Vec::new(),
            group_ids: HashMap::new(),
            rules,
            var_dirs: Vec::new(),
            warnings: Vec::new(),
            two_machines: Vec::new(),
            order: Vec::new(),
        };
        inventory.add_group("all");
        inventory.add_group("ungrouped");
        inventory.link(ALL, UNGROUPED);
        inventory
    }

    /// All hosts in inventory order: group by group, as the groups were declared.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &Host> {
        self.order.iter().map(|id| &self.hosts[*id])
    }

    /// A host by its name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// All groups in the order they were declared, `all` and `ungrouped` first.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.groups.iter()
    }

    /// The hosts of a group and of the groups in it, in inventory order; empty when there is no
    /// such group. Old and new names of a group mean the same group.
    pub fn group(&self, name: &str) -> Vec<&str> {
        match self.group_id(name) {
            Some(id) => self.group_hosts(id).into_iter().map(|host| self.hosts[host].name.as_str()).collect(),
            None => Vec::new(),
        }
    }

    /// Whether there is a group of that name, or of another name for the same group.
    pub fn has_group(&self, name: &str) -> bool {
        self.group_id(name).is_some()
    }

    /// The names of all groups a host is in, directly or not, sorted, without `all`.
    pub fn groups_of(&self, host: &str) -> Vec<&str> {
        let Some(host) = self.hosts.get(host) else { return Vec::new() };
        let mut names: Vec<&str> = self
            .ancestry(host)
            .into_iter()
            .filter(|id| *id != ALL)
            .map(|id| self.groups[id].name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    /// What the user should hear about the inventory.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The directories beside the inventory where `group_vars` and `host_vars` are looked for.
    pub fn variable_dirs(&self) -> impl Iterator<Item = &Path> {
        self.var_dirs.iter().map(PathBuf::as_path)
    }

    pub(crate) fn group_id(&self, name: &str) -> Option<GroupId> {
        self.group_ids.get(self.rules.canonical(name)).copied()
    }

    /// The hosts of a group and its descendants: breadth first, each host once.
    pub(crate) fn group_hosts(&self, group: GroupId) -> Vec<HostId> {
        let mut seen = HashSet::new();
        let mut hosts = Vec::new();
        for id in self.descendants(group) {
            hosts.extend(self.groups[id].hosts.iter().copied().filter(|host| seen.insert(*host)));
        }
        hosts
    }

    /// A group and all groups in it, breadth first.
    pub(crate) fn descendants(&self, group: GroupId) -> Vec<GroupId> {
        self.walk(&[group], |group| &group.children)
    }

    /// All groups a host is in, nearest first.
    pub(crate) fn ancestry(&self, host: &Host) -> Vec<GroupId> {
        self.walk(&host.groups, |group| &group.parents)
    }

    /// Groups that contain a group, nearest first, itself included.
    pub(crate) fn ancestors(&self, group: GroupId) -> Vec<GroupId> {
        self.walk(&[group], |group| &group.parents)
    }

    fn walk(&self, start: &[GroupId], next: impl Fn(&Group) -> &[GroupId]) -> Vec<GroupId> {
        let mut seen = HashSet::new();
        let mut found: Vec<GroupId> = start.iter().copied().filter(|id| seen.insert(*id)).collect();
        let mut at = 0;
        while at < found.len() {
            let following: Vec<GroupId> = next(&self.groups[found[at]]).to_vec();
            found.extend(following.into_iter().filter(|id| seen.insert(*id)));
            at += 1;
        }
        found
    }

    /// The groups of a host in the order in which their variables apply, later over earlier,
    /// without `all`: by depth, then `ansible_group_priority`, then name.
    pub(crate) fn groups_by_precedence(&self, host: &Host) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self.ancestry(host).into_iter().filter(|id| *id != ALL).collect();
        groups.sort_by_key(|id| {
            let group = &self.groups[*id];
            (group.depth, group.priority, &group.name)
        });
        groups
    }
}
