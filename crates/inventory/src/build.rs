//! Putting an inventory together: hosts join groups, groups join groups, and at the end the rules
//! that hold for every inventory are applied.

use crate::error::InventoryError;
use crate::inventory::{ALL, Group, GroupId, Host, HostId, Inventory, InventorySource, UNGROUPED};
use crate::origin::{Origin, Warning};
use crate::value::{Kind, Value};

impl Inventory {
    /// The group of that name, made when it is new.
    pub(crate) fn add_group(&mut self, name: &str) -> GroupId {
        let canonical = self.rules.canonical(name);
        if let Some(id) = self.group_ids.get(canonical) {
            return *id;
        }
        let id = self.groups.len();
        self.group_ids.insert(canonical.to_owned(), id);
        self.groups.push(Group::new(name));
        id
    }

    /// The host of that name, made when it is new.
    pub(crate) fn add_host(
        &mut self,
        name: &str,
        source: Option<&InventorySource>,
        port: Option<Value>,
    ) -> HostId {
        if let Some(id) = self.hosts.get_index_of(name) {
            if let (Some(port), Some(first)) = (port, self.hosts[id].vars.get("ansible_port").cloned()) {
                self.compare(id, "ansible_port", &first, &port);
            }
            return id;
        }
        let mut host = Host {
            name: name.to_owned(),
            vars: Default::default(),
            groups: Vec::new(),
            source: source.cloned(),
        };
        if let Some(port) = port {
            host.vars.insert("ansible_port".to_owned(), port);
        }
        self.hosts.insert_full(name.to_owned(), host).0
    }

    /// Puts a host into a group.
    pub(crate) fn join(&mut self, group: GroupId, host: HostId) {
        if self.groups[group].members.insert(host) {
            self.groups[group].hosts.push(host);
            self.hosts[host].groups.push(group);
        }
    }

    fn leave(&mut self, group: GroupId, host: HostId) {
        if self.groups[group].members.remove(&host) {
            self.groups[group].hosts.retain(|member| *member != host);
            self.hosts[host].groups.retain(|id| *id != group);
        }
    }

    /// Puts a group into a group. False when that would make a circle.
    pub(crate) fn link(&mut self, parent: GroupId, child: GroupId) -> bool {
        if parent == child || self.ancestors(parent).contains(&child) {
            return false;
        }
        if self.groups[parent].children.contains(&child) {
            return true;
        }
        self.groups[parent].children.push(child);
        self.groups[child].parents.push(parent);
        let mut open = vec![(child, self.groups[parent].depth + 1)];
        while let Some((group, depth)) = open.pop() {
            if self.groups[group].depth < depth {
                self.groups[group].depth = depth;
                open.extend(self.groups[group].children.iter().map(|child| (*child, depth + 1)));
            }
        }
        true
    }

    /// Sets a variable of a group. `ansible_group_priority` is not a variable but orders groups.
    pub(crate) fn set_group_var(&mut self, group: GroupId, name: &str, value: Value) {
        if name == "ansible_group_priority" {
            let priority = match &value.kind {
                Kind::Int(number) => Some(*number),
                Kind::Str(text) => text.trim().parse().ok(),
                Kind::Bool(truth) => Some(i64::from(*truth)),
                _ => None,
            };
            match priority {
                Some(priority) => self.groups[group].priority = priority,
                None => {
                    self.warn("ansible_group_priority must be a whole number; it is ignored", value.origin)
                }
            }
            return;
        }
        self.groups[group].vars.insert(name.to_owned(), value);
    }

    pub(crate) fn warn(&mut self, message: impl Into<String>, origin: Option<Origin>) {
        self.warnings.push(Warning::new(message, origin));
    }

    /// The inventory, once all sources are read.
    ///
    /// # Errors
    /// Two machines have one name.
    pub(crate) fn finished(mut self) -> Result<Self, InventoryError> {
        self.apply_rules();
        match self.two_machines.first() {
            Some(error) => Err(error.clone()),
            None => Ok(self),
        }
    }

    /// Applies the rules that hold for every inventory: groups without a parent are in `all`, hosts in no group are
    /// `ungrouped`, computed groups get their hosts.
    fn apply_rules(&mut self) {
        for group in 0..self.groups.len() {
            if group != ALL && self.groups[group].parents.is_empty() {
                self.link(ALL, group);
            }
        }
        for host in 0..self.hosts.len() {
            let groups = &self.hosts[host].groups;
            let elsewhere = groups.iter().any(|group| *group != ALL && *group != UNGROUPED);
            if elsewhere {
                self.leave(UNGROUPED, host);
            } else {
                self.join(UNGROUPED, host);
            }
        }
        self.order = self.group_hosts(ALL);
        self.compute_unions();
        let conflicts: Vec<String> = self
            .groups
            .iter()
            .filter(|group| self.hosts.contains_key(&group.name))
            .map(|group| format!("\"{}\" is the name of both a group and a host", group.name))
            .collect();
        for message in conflicts {
            self.warn(message, None);
        }
    }

    fn compute_unions(&mut self) {
        for union in self.rules.unions().to_vec() {
            let members: Vec<GroupId> = union.of.iter().filter_map(|name| self.group_id(name)).collect();
            if self.group_id(&union.name).is_some() || members.is_empty() {
                continue;
            }
            let group = self.add_group(&union.name);
            self.groups[group].computed = true;
            self.link(ALL, group);
            for member in members {
                for host in self.group_hosts(member) {
                    self.join(group, host);
                }
            }
        }
    }
}
