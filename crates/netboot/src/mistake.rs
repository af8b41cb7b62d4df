//! What is wrong with a configuration, and where.

use std::collections::HashSet;
use std::fmt;

use muster_inventory::{Origin, some_names};

/// One mistake in what the user wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// Where it stands.
    pub origin: Origin,
    /// What was found, and what was meant, in whole sentences.
    pub message: String,
    /// The machines that it is about, where it is not about all of them.
    pub machines: Vec<String>,
}

impl Mistake {
    pub(crate) fn new(origin: &Origin, message: impl Into<String>) -> Self {
        Self { origin: origin.clone(), message: message.into(), machines: Vec::new() }
    }

    pub(crate) fn of(self, machine: &str) -> Self {
        Self { machines: vec![machine.to_owned()], ..self }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machines = match self.machines.as_slice() {
            [] => String::new(),
            machines => format!("{}: ", some_names(machines)),
        };
        write!(f, "{}: {machines}{}{}", self.origin, self.message, self.origin.excerpt())
    }
}

/// All mistakes of a configuration, in the order of the file; never none.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Those found, in the order of the file; nothing where there are none.
    ///
    /// # Errors
    /// There is one.
    pub fn none_of(mut found: Vec<Mistake>) -> Result<(), Self> {
        // What is written once and used twice, by an alias of YAML or by several machines, is one mistake.
        found.sort_by_key(|mistake| (mistake.origin.line(), mistake.origin.column()));
        let mut told: Vec<Mistake> = Vec::new();
        for mistake in found {
            let same =
                |known: &&mut Mistake| (&known.origin, &known.message) == (&mistake.origin, &mistake.message);
            match told.iter_mut().find(same) {
                Some(known) => known.machines.extend(mistake.machines),
                None => told.push(mistake),
            }
        }
        for mistake in &mut told {
            let mut seen = HashSet::new();
            mistake.machines.retain(|machine| seen.insert(machine.clone()));
        }
        if told.is_empty() { Ok(()) } else { Err(Self(told)) }
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Mistakes {}
