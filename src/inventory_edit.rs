//! Hosts that have left the cluster are taken out of the inventory: only their own lines go, with comments and everything else
//! as it was; and only where what is left, read again, says the same of all others.

use std::path::{Path, PathBuf};

use muster_files::rewrite;
use muster_inventory::{Inventory, LoadOptions, Source};
use muster_roles::group_rules;

use crate::error::CommandError;

/// A file without some hosts, still to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// The lines that go, from 1.
    pub(crate) lines: Vec<usize>,
}

impl Edit {
    /// Takes hosts out of the one file that an inventory is read from.
    ///
    /// # Errors
    /// Why they have to be taken out by hand.
    pub(crate) fn without(sources: &[Source], hosts: &[String]) -> Result<Self, String> {
        let [Source::Path(path)] = sources else { return Err("the inventory is not one file".into()) };
        if !path.is_file() {
            return Err(format!("{} is not one file", path.display()));
        }
        let old = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let edit = edited(path, &old, hosts);
        let read = |text: &str| {
            let options = LoadOptions { rules: group_rules(), ..LoadOptions::default() };
            Inventory::load(&[Source::Text { path: path.clone(), text: text.to_owned() }], &options)
        };
        match (read(&old), read(&edit.text)) {
            (Ok(old), Ok(new)) if says(&old, hosts) == says(&new, &[]) => Ok(edit),
            _ => Err("it cannot be told which lines are theirs alone".into()),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self) -> Result<(), CommandError> {
        rewrite(&self.path, &self.text)
            .map_err(|error| CommandError::failed(format!("cannot write {}: {error}", self.path.display())))
    }
}

/// The text without the lines that begin with one of the hosts: its line in an INI file; in a YAML file its key, and what is
/// further to the right below it.
fn edited(path: &Path, old: &str, hosts: &[String]) -> Edit {
    let (mut text, mut lines) = (String::new(), Vec::new());
    let mut below: Option<usize> = None;
    for (at, line) in old.split_inclusive('\n').enumerate() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if below.is_some_and(|key| indent > key && !content.trim().is_empty()) {
            lines.push(at + 1);
            continue;
        }
        below = None;
        let word = content.split([' ', '\t', '\n', '\r', ':']).next().unwrap_or_default();
        if hosts.iter().any(|host| host == word.trim_matches(['"', '\''])) {
            // In an INI file nothing stands further to the right; a key of YAML ends with a colon.
            below = content[word.len()..].starts_with(':').then_some(indent);
            lines.push(at + 1);
            continue;
        }
        text.push_str(line);
    }
    Edit { path: path.to_owned(), text, lines }
}

/// All that an inventory says of hosts other than these: its groups, with their hosts and variables, and the hosts' own.
fn says(inventory: &Inventory, but: &[String]) -> String {
    let stays = |name: &str| !but.iter().any(|host| host == name);
    let mut all = String::new();
    for group in inventory.groups() {
        let hosts: Vec<_> = inventory.group(group.name()).into_iter().filter(|name| stays(name)).collect();
        let vars: Vec<_> = group.vars().iter().map(|(name, value)| (name, value.to_json())).collect();
        all += &format!("{} {hosts:?} {vars:?}\n", group.name());
    }
    for host in inventory.hosts().filter(|host| stays(host.name())) {
        let vars: Vec<_> = host.vars().iter().map(|(name, value)| (name, value.to_json())).collect();
        all += &format!("{} {vars:?}\n", host.name());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(name: &str, text: &str, hosts: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        Edit::without(&[Source::Path(path)], &hosts).map(|edit| edit.text)
    }

    #[test]
    fn a_host_s_lines_go_and_comments_stay() {
        let text = "# Room 104.\n[all]\nnode1 ip=192.0.2.4   # the first\nnode2 ip=192.0.2.5\n\n[etcd]\nnode1\n; a remark\nnode2\n[etcd:vars]\nnode2 = x\n";
        // A variable of that name would be taken for the host's line.
        assert!(without("hosts.ini", text, &["node2"]).is_err());
        let text = text.replace("[etcd:vars]\nnode2 = x\n", "[kube_node:children]\netcd\n");
        let expected = "# Room 104.\n[all]\nnode1 ip=192.0.2.4   # the first\n\n[etcd]\nnode1\n; a remark\n[kube_node:children]\netcd\n";
        assert_eq!(without("hosts.ini", &text, &["node2"]).as_deref(), Ok(expected));
    }

    #[test]
    fn a_host_of_a_range_is_taken_out_by_hand() {
        let text = "[all]\nnode1 ip=192.0.2.4\nnode2 ip=192.0.2.5\n[kube_node]\nnode[1:2]\n";
        assert!(without("hosts.ini", text, &["node2"]).is_err());
    }

    #[test]
    fn a_key_of_yaml_goes_with_what_is_below_it() {
        let text = "all:\n  hosts:\n    node1:\n      ip: 192.0.2.4\n    # the second\n    node2:\n      ip: 192.0.2.5\n      room: 104\n  children:\n    \
                    etcd:\n      hosts:\n        node1:\n        node2:\n    kube_node:\n      hosts: {node1: , node2: }\n";
        assert!(without("hosts.yml", text, &["node2"]).is_err());
        let text = text.replace("hosts: {node1: , node2: }", "children:\n        etcd:");
        let left = without("hosts.yml", &text, &["node2"]).unwrap();
        assert!(!left.contains("node2") && !left.contains("room") && left.contains("# the second"), "{left}");
        // One that is alone in its group leaves it empty.
        let alone = "all:\n  hosts:\n    node1:\n  children:\n    etcd:\n      hosts:\n        node1:\n    kube_node:\n      hosts:\n        node2:\n";
        assert!(without("hosts.yml", alone, &["node2"]).unwrap().ends_with("kube_node:\n      hosts:\n"));
    }
}
