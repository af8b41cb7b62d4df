//! What is wrong with a configuration, and where.

use std::fmt;

use muster_inventory::Origin;

/// One mistake in what the user wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// Where it stands.
    pub origin: Origin,
    /// What was found, and what was meant, in whole sentences.
    pub message: String,
}

impl Mistake {
    pub(crate) fn new(origin: &Origin, message: impl Into<String>) -> Self {
        Self { origin: origin.clone(), message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.origin, self.message, self.origin.excerpt())
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
    pub(crate) fn none_of(mut found: Vec<Mistake>) -> Result<(), Self> {
        // What is written once and used twice, by an alias of YAML, is one mistake.
        found.sort_by_key(|mistake| (mistake.origin.line(), mistake.origin.column()));
        found.dedup();
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
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
