//! A value as the user wrote it, and where.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::origin::Origin;
use crate::vault::VaultText;

/// A value with the place it was written at.
#[derive(Debug, Clone)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Where it was written; `None` for values that were computed.
    pub origin: Option<Origin>,
}

/// What a value is. Strings may hold Jinja templates until the value is resolved for a host.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `null`, `~`, nothing.
    Null,
    /// `true`, and in YAML 1.1 also `yes`, `on`, ...
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text, possibly a template.
    Str(String),
    /// A text that is never a template: `!unsafe`, facts, decrypted text.
    Raw(String),
    /// An encrypted text (`!vault`), decrypted when it is used.
    Vault(Arc<VaultText>),
    /// A list.
    List(Vec<Value>),
    /// A mapping. Keys are texts: a YAML key `1` is the key `"1"`.
    Map(IndexMap<String, Value>),
}

impl PartialEq for Value {
    /// Two values are equal when they say the same, wherever they were written.
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Value {
    /// Nothing.
    pub const NULL: Value = Value { kind: Kind::Null, origin: None };

    /// A value with its place.
    pub fn at(kind: Kind, origin: Origin) -> Self {
        Self { kind, origin: Some(origin) }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Str(text) | Kind::Raw(text) => Some(text),
            _ => None,
        }
    }

    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&IndexMap<String, Value>> {
        match &self.kind {
            Kind::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<&[Value]> {
        match &self.kind {
            Kind::List(list) => Some(list),
            _ => None,
        }
    }

    /// Whether it is a number, with integers widened.
    pub fn as_f64(&self) -> Option<f64> {
        match self.kind {
            Kind::Int(number) => Some(number as f64),
            Kind::Float(number) => Some(number),
            _ => None,
        }
    }

    /// The integer, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self.kind {
            Kind::Int(number) => Some(number),
            _ => None,
        }
    }

    /// Truth as Ansible's `bool` filter sees it: a boolean, 1, or one of the texts
    /// `yes on 1 true` in any case is true; `None` for anything that is neither true nor false.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.kind {
            Kind::Bool(truth) => Some(*truth),
            Kind::Int(0) => Some(false),
            Kind::Int(1) => Some(true),
            Kind::Float(number) if *number == 0.0 => Some(false),
            Kind::Float(number) if *number == 1.0 => Some(true),
            Kind::Str(text) | Kind::Raw(text) => bool_of_text(text),
            _ => None,
        }
    }

    /// Whether the value is a template, or holds one somewhere inside.
    pub fn is_template(&self) -> bool {
        match &self.kind {
            Kind::Str(text) => has_markers(text),
            Kind::List(items) => items.iter().any(Value::is_template),
            Kind::Map(map) => map.values().any(Value::is_template),
            _ => false,
        }
    }

    /// What it is, in words for messages.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Int(_) => "an integer",
            Kind::Float(_) => "a number",
            Kind::Str(_) | Kind::Raw(_) => "a text",
            Kind::Vault(_) => "an encrypted text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The value as JSON. Encrypted text is shown as `ansible-inventory` shows it
    /// (`{"__ansible_vault": "..."}`), never decrypted.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.kind {
            Kind::Null => Json::Null,
            Kind::Bool(truth) => Json::Bool(*truth),
            Kind::Int(number) => Json::from(*number),
            Kind::Float(number) => Json::from(*number),
            Kind::Str(text) | Kind::Raw(text) => Json::String(text.clone()),
            Kind::Vault(vault) => serde_json::json!({ "__ansible_vault": vault.ciphertext() }),
            Kind::List(items) => Json::Array(items.iter().map(Value::to_json).collect()),
            Kind::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
        }
    }

    /// A value from JSON, for facts and for what a program computed. Texts become [`Kind::Raw`]:
    /// what a machine reports is never a template.
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let kind = match json {
            Json::Null => Kind::Null,
            Json::Bool(truth) => Kind::Bool(*truth),
            Json::Number(number) => match number.as_i64() {
                Some(integer) => Kind::Int(integer),
                None => Kind::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Kind::Raw(text.clone()),
            Json::Array(items) => Kind::List(items.iter().map(Value::from_json).collect()),
            Json::Object(map) => {
                Kind::Map(map.iter().map(|(key, item)| (key.clone(), Value::from_json(item))).collect())
            }
        };
        Self { kind, origin: None }
    }
}

/// Whether a text has the marks that make Ansible look for a template in it.
pub(crate) fn has_markers(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// The texts that Ansible's `bool` filter and module arguments take for a boolean.
pub(crate) fn bool_of_text(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "1" | "true" | "y" | "t" => Some(true),
        "no" | "off" | "0" | "false" | "n" | "f" | "" => Some(false),
        _ => None,
    }
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        Self { kind, origin: None }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Kind::Str(text.to_owned()).into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Kind::Str(text).into()
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Kind::Bool(truth).into()
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Kind::Int(number).into()
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Kind::List(items.into_iter().map(Into::into).collect()).into()
    }
}
