//! Names of groups that mean the same group, groups that follow from others, and variables by which
//! machines are told apart. Which names these are is knowledge of the callers; here is only the mechanism.

use std::collections::HashMap;

/// Rules about names that hold while an inventory is read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupRules {
    /// Other name to canonical name.
    aliases: HashMap<String, String>,
    unions: Vec<Union>,
    /// Variables that say which machine a host is.
    addresses: Vec<String>,
}

/// A group that has the hosts of other groups when the user declared none of that name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Union {
    pub(crate) name: String,
    pub(crate) of: Vec<String>,
}

impl GroupRules {
    /// No rules: groups are what the user wrote.
    pub fn new() -> Self {
        Self::default()
    }

    /// `other` is another name of the group `canonical`: hosts, variables, `group_vars` files and
    /// patterns of either name are one.
    #[must_use]
    pub fn alias(mut self, other: &str, canonical: &str) -> Self {
        self.aliases.insert(other.to_owned(), canonical.to_owned());
        self
    }

    /// When the user declared no group `name`, it holds the hosts of the groups `of` that exist.
    #[must_use]
    pub fn union(mut self, name: &str, of: &[&str]) -> Self {
        self.unions
            .push(Union { name: name.to_owned(), of: of.iter().map(|name| (*name).to_owned()).collect() });
        self
    }

    /// The variable says where a machine is: a host for which one file gives two values is two machines, and an error.
    #[must_use]
    pub fn address(mut self, variable: &str) -> Self {
        self.addresses.push(variable.to_owned());
        self
    }

    pub(crate) fn tells_machines_apart(&self, variable: &str) -> bool {
        self.addresses.iter().any(|address| address == variable)
    }

    pub(crate) fn canonical<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// All names of the group that `name` names: others in order of the alphabet, the canonical
    /// one last.
    pub(crate) fn names<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        let canonical = self.canonical(name);
        let mut names: Vec<&str> = self
            .aliases
            .iter()
            .filter(|(_, target)| *target == canonical)
            .map(|(other, _)| other.as_str())
            .collect();
        names.sort_unstable();
        names.push(canonical);
        names
    }

    /// All names of groups that the rules are about.
    pub(crate) fn known(&self) -> impl Iterator<Item = &str> + Clone {
        let aliases = self.aliases.iter().flat_map(|(other, name)| [other, name]);
        let unions = self.unions.iter().flat_map(|union| std::iter::once(&union.name).chain(&union.of));
        aliases.chain(unions).map(String::as_str)
    }

    pub(crate) fn unions(&self) -> &[Union] {
        &self.unions
    }
}
