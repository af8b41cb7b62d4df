//! What is wrong with a declaration, and where.

use std::fmt;
use std::sync::Arc;

use muster_inventory::{Origin, SourceText};
use serde_saphyr::Location;

/// One mistake in what the user wrote.
#[derive(Debug, Clone)]
pub struct Mistake {
    origin: Origin,
    message: String,
}

impl Mistake {
    pub(crate) fn new(source: &Arc<SourceText>, at: &Location, message: impl Into<String>) -> Self {
        Self {
            origin: Origin::new(source, at.line() as usize, at.column() as usize),
            message: message.into(),
        }
    }

    pub(crate) fn of_whole(source: &Arc<SourceText>, message: impl Into<String>) -> Self {
        Self { origin: Origin::whole(source), message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.origin, self.message, self.origin.excerpt())
    }
}

/// All mistakes of a declaration, in the order of the file; never none.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Those found, in the order of the file; nothing where there are none.
    ///
    /// # Errors
    /// There is one.
    pub(crate) fn none_of(mut found: Vec<Mistake>) -> Result<(), Self> {
        found.sort_by_key(|mistake| (mistake.origin.line(), mistake.origin.column()));
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}
