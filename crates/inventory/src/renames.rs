//! Names of variables that have become others. Which these are is knowledge of the callers; here is only the mechanism.

use indexmap::IndexMap;

use crate::layer::Layer;
use crate::origin::Warning;

/// Old names of variables, each with the name that has its meaning now. Applied to what users wrote before anything is
/// resolved; the user is told.
#[derive(Debug, Clone, Default)]
pub struct Renames {
    names: IndexMap<String, String>,
}

impl Renames {
    /// No old names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an old name.
    #[must_use]
    pub fn add(mut self, old: &str, new: &str) -> Self {
        self.names.insert(old.to_owned(), new.to_owned());
        self
    }

    /// Applies them to one layer. A new name that is also given in the layer wins.
    pub(crate) fn apply(&self, layer: &mut Layer, warnings: &mut Vec<Warning>) {
        for (old, new) in &self.names {
            let Some(value) = layer.vars.get(old).cloned() else { continue };
            let origin = value.origin.clone();
            let message = if layer.vars.contains_key(new) {
                format!("\"{old}\" is the old name of \"{new}\", which is given too and wins")
            } else {
                layer.vars.insert(new.clone(), value);
                format!("\"{old}\" is now called \"{new}\"")
            };
            warnings.push(Warning::new(message, origin));
        }
    }
}
