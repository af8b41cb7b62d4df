//! Who owns the fields of an object, as the API server keeps book of it (`metadata.managedFields`, see the API's documentation
//! on server-side apply).
//!
//! Whoever changes a field that muster has applied takes it from muster. So a field whose manifest has not changed since and
//! that is muster's still has the value it was given, and no value has to be compared: the server normalises them (`1000m` is
//! `1`), fills in defaults, and sorts lists.

use serde_json::Value;

/// The name under which muster applies objects (kubectl's `--field-manager`).
const MANAGER: &str = "muster";

/// The fields of an object that muster has applied and that nobody has taken from it, in the form `FieldsV1`.
pub(super) fn of(object: &Value) -> Option<&Value> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    let ours = |entry: &&Value| {
        entry["manager"] == MANAGER && entry["operation"] == "Apply" && entry["subresource"].is_null()
    };
    entries.iter().find(ours).map(|entry| &entry["fieldsV1"])
}

/// A field of `wanted` that is muster's no more in the object that was found: the path of the first one.
pub(super) fn lost(wanted: &Value, found: &Value) -> Option<String> {
    let Some(owned) = of(found) else { return Some("everything".into()) };
    let fields = wanted.as_object()?;
    let mut parts = fields.iter().filter(|(key, _)| !["apiVersion", "kind"].contains(&key.as_str()));
    parts.find_map(|(key, value)| {
        if key != "metadata" {
            return lost_field(key, value, owned);
        }
        // Neither name nor namespace is anybody's.
        let owned = owned.get("f:metadata").unwrap_or(&Value::Null);
        let parts = ["labels", "annotations"].into_iter().filter_map(|part| Some((part, value.get(part)?)));
        parts
            .into_iter()
            .find_map(|(part, value)| lost_field(part, value, owned))
            .map(|path| format!("metadata.{path}"))
    })
}

fn lost_field(key: &str, value: &Value, owned: &Value) -> Option<String> {
    match owned.get(format!("f:{key}")) {
        Some(owned) => lost_inside(value, owned).map(|path| format!("{key}{path}")),
        // Without a value there is nothing to own.
        None if is_empty(value) => None,
        None => Some(key.to_owned()),
    }
}

/// `owned` is empty for what is owned as a whole: scalars, lists and maps that are atomic.
fn lost_inside(value: &Value, owned: &Value) -> Option<String> {
    let entries = owned.as_object().filter(|entries| !entries.is_empty())?;
    match value {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(key, value)| lost_field(key, value, owned))
            .map(|path| format!(".{path}")),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let mut own = entries
                .iter()
                .filter(|(key, _)| is_item(key, item))
                .map(|(_, owned)| lost_inside(item, owned));
            // Several entries may be meant where an item leaves out what is filled in (a port's protocol).
            match own.next() {
                None => Some(format!("[{index}]")),
                Some(None) => None,
                Some(Some(path)) if own.all(|lost| lost.is_some()) => Some(format!("[{index}]{path}")),
                Some(Some(_)) => None,
            }
        }),
        _ => None,
    }
}

/// Whether an entry's key stands for this item of a list: `v:` and the value, or `k:` and the fields that tell items apart.
fn is_item(key: &str, item: &Value) -> bool {
    if let Some(value) = key.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item);
    }
    let keys = key.strip_prefix("k:").and_then(|keys| serde_json::from_str::<Value>(keys).ok());
    let keys = keys.as_ref().and_then(Value::as_object);
    keys.is_some_and(|keys| keys.iter().all(|(key, value)| item.get(key).is_none_or(|found| found == value)))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
