//! Names of variables that have become others, and words for their values that have. Which these are is knowledge of the callers;
//! here is only the mechanism.

use indexmap::IndexMap;

use crate::layer::Layer;
use crate::origin::Warning;
use crate::value::Value;

/// Old names of variables, each with the name that has its meaning now, and old words for values. Applied to what users wrote before
/// anything is resolved; the user is told. A word that an expression comes to stays what it is.
#[derive(Debug, Clone, Default)]
pub struct Renames {
    names: IndexMap<String, String>,
    /// Variables, their former words, and what these are now.
    words: Vec<(String, String, Value)>,
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

    /// Adds a former word for a value of a variable, by the variable's name of today; or what an empty text means, of which the user is
    /// told nothing.
    #[must_use]
    pub fn add_word(mut self, name: &str, old: &str, new: Value) -> Self {
        self.words.push((name.to_owned(), old.to_owned(), new));
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
        for (name, old, new) in &self.words {
            let Some(value) = layer.vars.get_mut(name) else { continue };
            if value.as_str() == Some(old.as_str()) {
                value.kind = new.kind.clone();
                // An empty text is no word: it means what it always did, and nobody has to write it otherwise.
                if old.is_empty() {
                    continue;
                }
                let message = format!("\"{old}\" of \"{name}\" is now written {}", new.to_json());
                warnings.push(Warning::new(message, value.origin.clone()));
            }
        }
    }
}
