//! Inventories in Ansible's INI form, which is a format of its own.
//! (`ansible/plugins/inventory/ini.py`)

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::address;
use crate::error::InventoryError;
use crate::inventory::{GroupId, HostId, Inventory, InventorySource, UNGROUPED};
use crate::literal::{self, Words};
use crate::origin::{Origin, SourceText};
use crate::shlex::{self, Unfinished};
use crate::short_names::some_names;
use crate::value::{Kind, Value};

/// What the lines below a header are.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Hosts,
    Children,
    Vars,
}

/// A group that was referred to before it was declared.
struct Pending {
    origin: Origin,
    /// The groups it is to be a child of; empty when it was only named by `[group:vars]`.
    parents: Vec<GroupId>,
    name: String,
}

/// Reads one INI text into the inventory.
pub(crate) fn read(
    inventory: &mut Inventory,
    source: &Arc<SourceText>,
    text: &str,
    from: &InventorySource,
) -> Result<(), InventoryError> {
    Reader { inventory, source, from, listed: HashMap::new(), pending: IndexMap::new() }.read(text)
}

struct Reader<'a> {
    inventory: &'a mut Inventory,
    source: &'a Arc<SourceText>,
    from: &'a InventorySource,
    /// The hosts of the section so far, each with its line.
    listed: HashMap<HostId, u32>,
    /// By canonical group name.
    pending: IndexMap<String, Pending>,
}

impl Reader<'_> {
    fn read(&mut self, text: &str) -> Result<(), InventoryError> {
        let mut section = Section::Hosts;
        let mut group = UNGROUPED;
        for (index, raw) in text.lines().enumerate() {
            let line = raw.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let indent = raw.chars().take_while(|c| c.is_whitespace()).count();
            let at = |column: usize| Origin::new(self.source, index + 1, indent + column + 1);
            if let Some(header) = header(line) {
                let (name, kind) = header.map_err(|message| InventoryError::syntax(at(0), message))?;
                section = kind;
                self.listed.clear();
                group = self.declare(name, kind, at(1))?;
                continue;
            }
            match section {
                Section::Hosts => self.host_line(line, group, &at)?,
                Section::Children => self.child_line(line, group, at(0))?,
                Section::Vars => self.variable_line(line, group, &at)?,
            }
        }
        self.check_pending()
    }

    /// A header declares its group, except `[group:vars]`, which only refers to it. Children are
    /// linked when they are declared, which is what gives them their order.
    fn declare(&mut self, name: &str, section: Section, origin: Origin) -> Result<GroupId, InventoryError> {
        let canonical = self.inventory.rules.canonical(name).to_owned();
        if section == Section::Vars {
            if !self.inventory.has_group(name) && !self.pending.contains_key(&canonical) {
                let pending = Pending { origin, parents: Vec::new(), name: name.to_owned() };
                self.pending.insert(canonical, pending);
            }
            return Ok(self.inventory.add_group(name));
        }
        let group = self.inventory.add_group(name);
        if let Some(pending) = self.pending.shift_remove(&canonical) {
            for parent in pending.parents {
                self.link(parent, group, &pending.origin)?;
            }
        }
        Ok(group)
    }

    fn link(&mut self, parent: GroupId, child: GroupId, origin: &Origin) -> Result<(), InventoryError> {
        if self.inventory.link(parent, child) {
            return Ok(());
        }
        let name = |group: GroupId| &self.inventory.groups[group].name;
        let message = format!(
            "\"{}\" cannot be a child of \"{}\": that makes a circle of groups",
            name(child),
            name(parent)
        );
        Err(InventoryError::syntax(origin.clone(), message))
    }

    fn child_line(&mut self, line: &str, parent: GroupId, origin: Origin) -> Result<(), InventoryError> {
        let name = strip_comment(line);
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == ':' || c == ']') {
            let message = format!("expected the name of a group, found \"{line}\"");
            return Err(InventoryError::syntax(origin, message));
        }
        if let Some(child) = self.inventory.group_id(name) {
            return self.link(parent, child, &origin);
        }
        let canonical = self.inventory.rules.canonical(name).to_owned();
        let new = || Pending { origin, parents: Vec::new(), name: name.to_owned() };
        self.pending.entry(canonical).or_insert_with(new).parents.push(parent);
        Ok(())
    }

    fn host_line(
        &mut self,
        line: &str,
        group: GroupId,
        at: &dyn Fn(usize) -> Origin,
    ) -> Result<(), InventoryError> {
        let words = shlex::split(line).map_err(|why| {
            let what = match why {
                Unfinished::Quote => "a quote is opened and not closed",
                Unfinished::Escape => "the line ends in a backslash",
            };
            InventoryError::syntax(at(0), format!("cannot read this host line: {what}"))
        })?;
        let Some((pattern, assignments)) = words.split_first() else { return Ok(()) };
        if pattern.text == "---" {
            let message = "\"---\" starts a YAML file, but this file is read as INI; is it valid YAML?";
            return Err(InventoryError::syntax(at(pattern.column), message));
        }
        let names = host_names(&pattern.text)
            .map_err(|message| InventoryError::syntax(at(pattern.column), message))?;
        let mut variables = Vec::with_capacity(assignments.len());
        for word in assignments {
            let Some((key, value)) = word.text.split_once('=') else {
                let message = format!("expected key=value, found \"{}\"{}", word.text, missing_quotes(line));
                return Err(InventoryError::syntax(at(word.column), message));
            };
            let origin = at(word.column + key.chars().count() + 1);
            variables.push((key.to_owned(), Value { origin: Some(origin), ..literal_or_text(value) }));
        }
        let here = at(pattern.column);
        let port = names.1.map(|port| Value::at(Kind::Int(port.into()), here.clone()));
        let mut again = Vec::new();
        for name in names.0 {
            let host = self.inventory.add_host(&name, Some(self.from), port.clone());
            self.inventory.join(group, host);
            for (key, value) in &variables {
                self.inventory.set_host_var(host, key, value.clone());
            }
            let line = here.line();
            if let Some(first) = self.listed.insert(host, line) {
                again.push((name, first));
            }
        }
        self.tell_again(&again, group, here);
        Ok(())
    }

    /// Another host was probably meant by one that a section lists for the second time.
    fn tell_again(&mut self, again: &[(String, u32)], group: GroupId, here: Origin) {
        let Some((_, first)) = again.first() else { return };
        let names: Vec<&str> = again.iter().map(|(name, _)| name.as_str()).collect();
        let section = &self.inventory.groups[group].name;
        let message = format!(
            "[{section}] lists {} a second time, after line {first}: is this line about another machine?",
            some_names(&names),
        );
        self.inventory.warn(message, Some(here));
    }

    fn variable_line(
        &mut self,
        line: &str,
        group: GroupId,
        at: &dyn Fn(usize) -> Origin,
    ) -> Result<(), InventoryError> {
        let Some((key, value)) = line.split_once('=') else {
            return Err(InventoryError::syntax(at(0), format!("expected key=value, found \"{line}\"")));
        };
        let blanks = value.chars().take_while(|c| c.is_whitespace()).count();
        let origin = at(key.chars().count() + 1 + blanks);
        let value = Value { origin: Some(origin), ..literal_or_text(value.trim()) };
        self.inventory.set_group_var(group, key.trim(), value);
        Ok(())
    }

    /// Groups that were referred to must have been declared by a header somewhere in the text.
    fn check_pending(&self) -> Result<(), InventoryError> {
        let Some(open) = self.pending.values().next() else { return Ok(()) };
        let message = match open.parents.first() {
            None => format!("[{0}:vars] is given, but there is no group [{0}]", open.name),
            Some(parent) => format!(
                "[{}:children] names the group \"{}\", which is declared nowhere; add a section [{1}]",
                self.inventory.groups[*parent].name, open.name
            ),
        };
        Err(InventoryError::syntax(open.origin.clone(), message))
    }
}

/// Reads `[name]`, `[name:children]`, `[name:vars]`; `None` when the line is no header.
fn header(line: &str) -> Option<Result<(&str, Section), String>> {
    let body = line.strip_prefix('[')?;
    let inside = body.split_once(']').and_then(|(inside, rest)| {
        let rest = rest.trim();
        (rest.is_empty() || rest.starts_with('#')).then_some(inside)
    });
    let Some(inside) = inside else {
        return line.ends_with(']').then(|| Err(format!("\"{line}\" is not a section header")));
    };
    let (name, kind) = inside.split_once(':').map_or((inside, "hosts"), |(name, kind)| (name, kind));
    let section = match kind {
        "hosts" => Section::Hosts,
        "children" => Section::Children,
        "vars" => Section::Vars,
        _ => {
            let message = format!(
                "the section [{inside}] has the unknown type \"{kind}\"; known are children and vars"
            );
            return Some(Err(message));
        }
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Some(Err(format!(
            "\"{line}\" is not a section header: a group name must not be empty or hold spaces"
        )));
    }
    Some(Ok((name, section)))
}

fn strip_comment(line: &str) -> &str {
    line.split_once('#').map_or(line, |(text, _)| text).trim_end()
}

/// The names and the port of `node[1:3]:22`.
pub(crate) fn host_names(pattern: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (host, port) = match address::parse(pattern) {
        Some(address) => (address.host, address.port),
        None => (pattern.to_owned(), None),
    };
    if pattern.trim_end().ends_with(':') && port.is_none() {
        return Err(format!("\"{pattern}\" ends in a colon but names no port"));
    }
    Ok((address::expand(&host)?, port))
}

fn literal_or_text(text: &str) -> Value {
    literal::parse(text, Words::Python).unwrap_or_else(|| Value::from(text))
}

/// A remedy for the most frequent mistake: a value with spaces and no quotes.
fn missing_quotes(line: &str) -> &'static str {
    if line.contains('=') { "; a value with spaces must be in quotes: key='a b'" } else { "" }
}
