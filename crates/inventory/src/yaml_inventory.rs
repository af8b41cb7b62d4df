//! Inventories in YAML or JSON: `group: {hosts: {}, vars: {}, children: {}}`.
//! (`ansible/plugins/inventory/yaml.py`)

use indexmap::IndexMap;

use crate::error::InventoryError;
use crate::ini::host_names;
use crate::inventory::{GroupId, Inventory, InventorySource};
use crate::origin::Origin;
use crate::value::{Kind, Value};
use crate::yaml::Lost;

/// Reads a parsed document into the inventory. The document must be a mapping, of which these values are lost, because their
/// keys came again.
pub(crate) fn read(
    inventory: &mut Inventory,
    document: &IndexMap<String, Value>,
    lost: &[Lost],
    from: &InventorySource,
) -> Result<(), InventoryError> {
    for (name, group) in document {
        read_group(inventory, name, group, lost, from)?;
    }
    Ok(())
}

fn read_group(
    inventory: &mut Inventory,
    name: &str,
    group: &Value,
    lost: &[Lost],
    from: &InventorySource,
) -> Result<Option<GroupId>, InventoryError> {
    let sections = match &group.kind {
        Kind::Map(sections) => sections,
        Kind::Null => return Ok(Some(inventory.add_group(name))),
        _ => {
            let message = format!("\"{name}\" is {}, not a group; it is ignored", group.type_name());
            inventory.warn(message, group.origin.clone());
            return Ok(None);
        }
    };
    let id = inventory.add_group(name);
    for (section, content) in sections {
        let single = single_name(content);
        let entries = match (section.as_str(), &content.kind) {
            (_, Kind::Map(entries)) => entries,
            ("hosts" | "vars" | "children", Kind::Str(_)) => &single,
            (_, Kind::Null) => continue,
            ("hosts" | "vars" | "children", _) => {
                let message = format!(
                    "\"{section}\" of the group \"{name}\" must be a mapping (\"name:\" lines), this is {}",
                    content.type_name()
                );
                return Err(error(content, message));
            }
            _ => {
                let message =
                    format!("\"{section}\" in the group \"{name}\" is not a mapping; it is ignored");
                inventory.warn(message, content.origin.clone());
                continue;
            }
        };
        match section.as_str() {
            "vars" => {
                for (key, value) in entries {
                    inventory.set_group_var(id, key, value.clone());
                }
            }
            "children" => {
                for (child_name, child) in entries {
                    let Some(child_id) = read_group(inventory, child_name, child, lost, from)? else {
                        continue;
                    };
                    if !inventory.link(id, child_id) {
                        let message = format!(
                            "\"{child_name}\" cannot be a child of \"{name}\": that makes a circle of groups"
                        );
                        return Err(error(child, message));
                    }
                }
            }
            "hosts" => read_hosts(inventory, id, entries, lost, from)?,
            _ => {
                let message = format!(
                    "\"{section}\" in the group \"{name}\" is ignored; a group has only hosts, vars and children"
                );
                inventory.warn(message, content.origin.clone());
            }
        }
    }
    Ok(Some(id))
}

fn read_hosts(
    inventory: &mut Inventory,
    group: GroupId,
    entries: &IndexMap<String, Value>,
    lost: &[Lost],
    from: &InventorySource,
) -> Result<(), InventoryError> {
    for (pattern, vars) in entries {
        let (names, port) = host_names(pattern).map_err(|message| error(vars, message))?;
        let port = port.map(|port| Value { kind: Kind::Int(port.into()), origin: vars.origin.clone() });
        let lost = lost.iter().filter(|lost| lost.key == *pattern && lost.by == vars.origin);
        let lost: Vec<_> = lost.filter_map(|lost| lost.value.as_map()).collect();
        let empty = IndexMap::new();
        let vars = match &vars.kind {
            Kind::Map(vars) => vars,
            Kind::Null => &empty,
            // Empty and false values count as "no variables", like an empty mapping.
            Kind::Str(text) if text.is_empty() => &empty,
            Kind::Bool(false) | Kind::Int(0) => &empty,
            Kind::List(items) if items.is_empty() => &empty,
            _ => {
                let message = format!(
                    "the variables of the host \"{pattern}\" must be a mapping, this is {}",
                    vars.type_name()
                );
                return Err(error(vars, message));
            }
        };
        for name in names {
            let host = inventory.add_host(&name, Some(from), port.clone());
            inventory.join(group, host);
            for (key, value) in vars {
                for first in lost.iter().filter_map(|lost| lost.get(key)) {
                    inventory.compare(host, key, first, value);
                }
                inventory.set_host_var(host, key, value.clone());
            }
        }
    }
    Ok(())
}

/// `hosts: web1` is short for `hosts: {web1: }`.
fn single_name(content: &Value) -> IndexMap<String, Value> {
    content
        .as_str()
        .map(|name| (name.to_owned(), Value { kind: Kind::Null, ..content.clone() }))
        .into_iter()
        .collect()
}

fn error(value: &Value, message: String) -> InventoryError {
    match &value.origin {
        Some(origin) => InventoryError::syntax(origin.clone(), message),
        None => {
            InventoryError::syntax(Origin::whole(&crate::origin::SourceText::secret("inventory")), message)
        }
    }
}
