//! The variables of one host.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::convert;
use crate::de;
use crate::inventory::HostId;
use crate::layer::{Layer, LayerKind};
use crate::magic;
use crate::origin::Origin;
use crate::resolve::Scope;
use crate::value::Value;
use crate::vars::Inner;
use crate::vars_error::{Unreadable, VarsError};

/// The variables of one host. Cheap to clone and to share between tasks.
#[derive(Clone)]
pub struct HostVars {
    pub(crate) inner: Arc<Inner>,
    pub(crate) host: HostId,
}

/// One of the places that give a variable a value.
#[derive(Debug, Clone)]
pub struct Definition {
    /// What kind of place it is.
    pub kind: LayerKind,
    /// What the place is called: a path, or words such as `[k8s:vars]`.
    pub place: String,
    /// The value as it was written, templates not rendered.
    pub value: Value,
}

impl Definition {
    /// File, line and column, when the value was written in a file.
    pub fn origin(&self) -> Option<&Origin> {
        self.value.origin.as_ref()
    }
}

impl std::fmt::Debug for HostVars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostVars({})", self.name())
    }
}

impl HostVars {
    pub(crate) fn new(inner: Arc<Inner>, host: HostId) -> Self {
        Self { inner, host }
    }

    fn scope(&self) -> Scope {
        Scope::new(Arc::clone(&self.inner), self.host)
    }

    /// The name of the host.
    pub fn name(&self) -> &str {
        &self.inner.inventory.hosts[self.host].name
    }

    /// The value of a variable, resolved; `None` when nobody set it.
    ///
    /// # Errors
    /// When a template cannot be rendered, variables form a circle, or a text cannot be decrypted.
    pub fn get(&self, name: &str) -> Result<Option<Value>, VarsError> {
        let scope = self.scope();
        let Some(resolved) = scope.resolve(name)? else { return Ok(None) };
        let definition = self.inner.definition(self.host, name);
        let origin = definition.as_ref().and_then(|value| value.origin.clone());
        let value = convert::from_engine(&resolved).map_err(|error| VarsError::Template {
            host: self.name().to_owned(),
            what: format!("resolve \"{name}\""),
            message: crate::jinja::message(&error, ""),
            origin: origin.clone(),
            chain: Vec::new(),
        })?;
        Ok(Some(with_origins(value, definition.as_ref(), origin.as_ref())))
    }

    /// Whether anybody set the variable.
    pub fn is_set(&self, name: &str) -> bool {
        self.inner.definition(self.host, name).is_some()
    }

    /// The names of all variables of the host, sorted, magic ones included.
    pub fn names(&self) -> Vec<String> {
        magic::all_names(&self.scope()).into_iter().collect()
    }

    /// Reads the variables that a struct declares, and only those. Texts that say a boolean or a
    /// number are taken for one where the struct wants one (as `key=value` in an INI inventory
    /// cannot say it otherwise); numbers are taken for texts where it wants a text.
    ///
    /// # Errors
    /// Everything that is missing or of the wrong type at once, each with its place.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, VarsError> {
        de::deserialize(self)
    }

    /// Everything that keeps a struct from being read, with its place: nothing where [`HostVars::deserialize`] succeeds, and
    /// nothing of a variable that only a machine can tell, before the machine was read.
    pub fn unreadable<T: DeserializeOwned>(&self) -> Vec<Unreadable> {
        de::unreadable::<T>(self)
    }

    /// Renders a template, with every variable of the host and those of `extra`, which win. Jinja
    /// as Ansible sets it up: `trim_blocks`, the newline at the end kept, undefined is an error.
    /// `name` is what messages call the template.
    ///
    /// # Errors
    /// When the template is not valid or uses something undefined.
    pub fn render(&self, template: &str, name: &str, extra: &impl Serialize) -> Result<String, VarsError> {
        let extra = serde_json::to_value(extra).map_err(|error| VarsError::Template {
            host: self.name().to_owned(),
            what: format!("render {name}"),
            message: format!("the template's own variables cannot be used: {error}"),
            origin: None,
            chain: Vec::new(),
        })?;
        let extra = convert::plain_to_engine(&Value::from_json(&extra).kind);
        self.scope().with_extra(extra).render(name, template)
    }

    /// The value of one expression, such as a condition.
    ///
    /// # Errors
    /// As [`HostVars::get`].
    pub fn evaluate(&self, expression: &str) -> Result<Value, VarsError> {
        self.resolve(&Value::from(format!("{{{{ {expression} }}}}")))
    }

    /// What a value would be if it were the value of a variable: templates in it rendered.
    ///
    /// # Errors
    /// As [`HostVars::get`].
    pub fn resolve(&self, value: &Value) -> Result<Value, VarsError> {
        let resolved = self.scope().evaluate(value)?;
        let resolved = convert::from_engine(&resolved).map_err(|error| VarsError::Template {
            host: self.name().to_owned(),
            what: "resolve a value".to_owned(),
            message: crate::jinja::message(&error, ""),
            origin: value.origin.clone(),
            chain: Vec::new(),
        })?;
        Ok(with_origins(resolved, Some(value), None))
    }

    /// Every place that gives the variable a value, the one that wins first.
    pub fn explain(&self, name: &str) -> Vec<Definition> {
        let layers = self.inner.layers(self.host);
        let mut definitions: Vec<Definition> = Vec::new();
        if let Some(value) = magic::variable(&self.scope(), name)
            && let Ok(value) = convert::from_engine(&value)
        {
            definitions.push(Definition { kind: LayerKind::Magic, place: "always set".to_owned(), value });
        }
        definitions.extend(layers.iter().rev().filter_map(|layer| {
            let value = layer.vars.get(name)?.clone();
            Some(Definition { kind: layer.kind, place: layer.name.clone(), value })
        }));
        definitions
    }

    /// All variables as they were written, the winning value of each, templates not rendered.
    pub fn raw(&self) -> BTreeMap<String, Value> {
        let mut vars = BTreeMap::new();
        let listed = |layer: &Arc<Layer>| layer.kind != LayerKind::Fallback;
        for layer in self.inner.layers(self.host).into_iter().filter(listed) {
            vars.extend(layer.vars.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        if self.inner.merge_hashes {
            for (name, value) in &mut vars {
                *value = self.inner.definition(self.host, name).unwrap_or(Value::NULL);
            }
        }
        vars
    }

    /// Every variable a user or a role set, resolved. Those that cannot be resolved come with
    /// their error.
    pub fn resolve_all(&self) -> BTreeMap<String, Result<Value, VarsError>> {
        let names: Vec<String> = self.raw().into_keys().collect();
        names
            .into_iter()
            .filter_map(|name| {
                let value = self.get(&name).transpose()?;
                Some((name, value))
            })
            .collect()
    }
}

/// Puts the places of a definition on the value it resolved to, as far as they have one shape.
pub(crate) fn with_origins(value: Value, definition: Option<&Value>, fallback: Option<&Origin>) -> Value {
    use crate::value::Kind;
    let origin = definition.and_then(|definition| definition.origin.clone()).or_else(|| fallback.cloned());
    // What was decrypted is shown nowhere.
    let is_vault = definition.is_some_and(|definition| matches!(definition.kind, Kind::Vault(_)));
    let origin = if is_vault { origin.as_ref().map(Origin::kept_secret) } else { origin };
    let kind = match (value.kind, definition.map(|definition| &definition.kind)) {
        (Kind::List(items), written) => {
            let written = match written {
                Some(Kind::List(written)) if written.len() == items.len() => written.as_slice(),
                _ => &[],
            };
            let place = |(at, item)| with_origins(item, written.get(at), origin.as_ref());
            Kind::List(items.into_iter().enumerate().map(place).collect())
        }
        (Kind::Map(map), written) => {
            let written = match written {
                Some(Kind::Map(written)) => Some(written),
                _ => None,
            };
            let place = |(key, item): (String, Value)| {
                let item = with_origins(item, written.and_then(|written| written.get(&key)), origin.as_ref());
                (key, item)
            };
            Kind::Map(map.into_iter().map(place).collect())
        }
        (kind, _) => kind,
    };
    Value { kind, origin }
}
