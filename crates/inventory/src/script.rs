//! Inventory programs: run with `--list` they print JSON. (`ansible/plugins/inventory/script.py`)

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value as Json};

use crate::error::InventoryError;
use crate::inventory::{HostId, Inventory, InventorySource};
use crate::origin::{Origin, SourceText};
use crate::value::{Kind, Value};

/// Whether a file may be a program: it is executable, or names its interpreter.
pub(crate) fn is_program(path: &Path, bytes: &[u8]) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let executable = path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
    executable || bytes.starts_with(b"#!")
}

/// Runs the program and reads what it prints. `None` when the file cannot be run at all, as when
/// every file of a mounted disk has the executable bit: then it is read as text.
pub(crate) fn run(
    inventory: &mut Inventory,
    path: &Path,
    from: &InventorySource,
) -> Result<Option<()>, InventoryError> {
    let fail = |reason: String| InventoryError::Script { path: from.file.clone(), reason };
    let Some(output) = call(path, &["--list"]).map_err(fail)? else { return Ok(None) };
    let json: Json =
        serde_json::from_str(&output).map_err(|error| fail(format!("--list did not print JSON: {error}")))?;
    let Json::Object(document) = json else { return Err(fail("--list must print a JSON object".to_owned())) };
    let source = SourceText::new(from.file.clone(), "");
    let mut reader =
        Output { inventory, from, origin: Origin::whole(&source), hosts: Vec::new(), seen: HashSet::new() };
    let mut meta = None;
    for (name, data) in &document {
        match name.as_str() {
            "_meta" => meta = data.get("hostvars"),
            _ => reader.group(name, data).map_err(fail)?,
        }
    }
    let hosts = std::mem::take(&mut reader.hosts);
    for host in hosts {
        let name = reader.inventory.hosts[host].name.clone();
        let vars = match meta {
            Some(hostvars) => hostvars.get(&name).cloned(),
            None => {
                let printed = call(path, &["--host", &name]).map_err(fail)?.unwrap_or_default();
                match printed.trim() {
                    "" => None,
                    text => Some(
                        serde_json::from_str(text)
                            .map_err(|error| fail(format!("--host {name} did not print JSON: {error}")))?,
                    ),
                }
            }
        };
        match vars {
            None | Some(Json::Null) => {}
            Some(Json::Object(vars)) => reader.host_vars(host, &vars),
            Some(_) => {
                return Err(fail(format!("the variables of the host \"{name}\" must be a JSON object")));
            }
        }
    }
    Ok(Some(()))
}

/// What a run printed; `None` when the file is no program.
fn call(path: &Path, arguments: &[&str]) -> Result<Option<String>, String> {
    let output = match Command::new(path).args(arguments).output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::PermissionDenied || error.raw_os_error() == Some(8) => {
            return Ok(None);
        }
        Err(error) => return Err(format!("cannot run it: {error}")),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed ({}): {}", arguments.join(" "), output.status, said.trim()));
    }
    match String::from_utf8(output.stdout) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err("it printed text that is not UTF-8".to_owned()),
    }
}

struct Output<'a> {
    inventory: &'a mut Inventory,
    from: &'a InventorySource,
    origin: Origin,
    hosts: Vec<HostId>,
    seen: HashSet<HostId>,
}

impl Output<'_> {
    fn group(&mut self, name: &str, data: &Json) -> Result<(), String> {
        let group = self.inventory.add_group(name);
        let host_names = |value: &Json| -> Result<Vec<String>, String> {
            let list = value
                .as_array()
                .ok_or_else(|| format!("the hosts of the group \"{name}\" must be a list"))?;
            list.iter()
                .map(|host| match host.as_str() {
                    Some(host) => Ok(host.to_owned()),
                    None => Err(format!("a host of the group \"{name}\" is not a text: {host}")),
                })
                .collect()
        };
        let (hosts, vars, children) = match data {
            Json::Object(map) if ["hosts", "vars", "children"].iter().any(|key| map.contains_key(*key)) => {
                (map.get("hosts").map(host_names).transpose()?, map.get("vars"), map.get("children"))
            }
            // A mapping without these keys is short for a host of the group's name.
            Json::Object(_) => (Some(vec![name.to_owned()]), Some(data), None),
            _ => (Some(host_names(data)?), None, None),
        };
        for host in hosts.into_iter().flatten() {
            let id = self.inventory.add_host(&host, Some(self.from), None);
            self.inventory.join(group, id);
            if self.seen.insert(id) {
                self.hosts.push(id);
            }
        }
        if let Some(vars) = vars {
            let vars = vars
                .as_object()
                .ok_or_else(|| format!("the vars of the group \"{name}\" must be an object"))?;
            for (key, value) in vars {
                let value = self.value(value);
                self.inventory.set_group_var(group, key, value);
            }
        }
        for child in children.and_then(Json::as_array).into_iter().flatten() {
            let child =
                child.as_str().ok_or_else(|| format!("a child of the group \"{name}\" is not a text"))?;
            let id = self.inventory.add_group(child);
            if !self.inventory.link(group, id) {
                return Err(format!("\"{child}\" as a child of \"{name}\" makes a circle of groups"));
            }
        }
        Ok(())
    }

    fn host_vars(&mut self, host: HostId, vars: &Map<String, Json>) {
        for (key, value) in vars {
            let value = self.value(value);
            self.inventory.set_host_var(host, key, value);
        }
    }

    fn value(&self, json: &Json) -> Value {
        templates(Value { origin: Some(self.origin.clone()), ..Value::from_json(json) })
    }
}

/// What a program prints may hold templates, unlike facts.
fn templates(value: Value) -> Value {
    let kind = match value.kind {
        Kind::Raw(text) => Kind::Str(text),
        Kind::List(items) => Kind::List(items.into_iter().map(templates).collect()),
        Kind::Map(map) => Kind::Map(map.into_iter().map(|(key, item)| (key, templates(item))).collect()),
        other => other,
    };
    Value { kind, ..value }
}
