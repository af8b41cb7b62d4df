//! Names of variables that have become others or lost their meaning. Which these are is knowledge
//! of the callers; here is only the mechanism.

use indexmap::IndexMap;

use crate::error::InventoryError;
use crate::layer::Layer;
use crate::origin::Warning;

/// What became of a variable.
#[derive(Debug, Clone, PartialEq)]
pub enum Rename {
    /// It has another name now and the same meaning; the user is told.
    To(String),
    /// It means nothing any more; the user is told why, and that it is ignored.
    Gone(String),
    /// Ignoring it would do something else than the user wants: an error with this text.
    Refused(String),
}

/// Rules about old names, applied to what users wrote before anything is resolved.
#[derive(Debug, Clone, Default)]
pub struct Renames {
    rules: IndexMap<String, Rename>,
}

impl Renames {
    /// No rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the rule for one old name.
    #[must_use]
    pub fn add(mut self, old: &str, what: Rename) -> Self {
        self.rules.insert(old.to_owned(), what);
        self
    }

    /// The old names there are rules for.
    pub fn old_names(&self) -> impl Iterator<Item = &str> {
        self.rules.keys().map(String::as_str)
    }

    /// Applies the rules to one layer. A new name that is also given in the layer wins.
    pub(crate) fn apply(&self, layer: &mut Layer, warnings: &mut Vec<Warning>) -> Result<(), InventoryError> {
        if self.rules.is_empty() {
            return Ok(());
        }
        let found: Vec<(String, &Rename)> = layer
            .vars
            .keys()
            .filter_map(|name| self.rules.get(name).map(|rule| (name.clone(), rule)))
            .collect();
        for (old, rule) in found {
            let Some(value) = layer.vars.get(&old).cloned() else { continue };
            let origin = value.origin.clone();
            match rule {
                Rename::To(new) if layer.vars.contains_key(new) => {
                    let message =
                        format!("\"{old}\" is the old name of \"{new}\", which is given too and wins");
                    warnings.push(Warning::new(message, origin));
                }
                Rename::To(new) => {
                    warnings.push(Warning::new(format!("\"{old}\" is now called \"{new}\""), origin));
                    layer.vars.insert(new.clone(), value);
                }
                Rename::Gone(why) => {
                    warnings.push(Warning::new(format!("\"{old}\" is ignored: {why}"), origin));
                }
                Rename::Refused(why) => {
                    let message = format!("\"{old}\" cannot be used: {why}");
                    return Err(match origin {
                        Some(origin) => InventoryError::syntax(origin, message),
                        None => InventoryError::Read { path: layer.name.clone(), reason: message },
                    });
                }
            }
        }
        Ok(())
    }
}
