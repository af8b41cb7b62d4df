//! What can be wrong with a variable: errors that name the chain of variables and their places.

use std::fmt;

use crate::origin::Origin;
use crate::vault::VaultError;

/// One variable on the way from what was asked for to what is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The host whose variable it is.
    pub host: String,
    /// The name of the variable.
    pub variable: String,
    /// Where its value was written.
    pub origin: Option<Origin>,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.variable)?;
        match &self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}

/// One thing wrong with the variables that a role reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The variable.
    pub variable: String,
    /// What is wrong with it, in one sentence without the name.
    pub message: String,
    /// Where the value was written; `None` when it was written nowhere.
    pub origin: Option<Origin>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: \"{}\" {}{}", self.variable, self.message, origin.excerpt()),
            None => write!(f, "\"{}\" {}", self.variable, self.message),
        }
    }
}

/// What keeps a struct from being read from the variables of a host, as far as that can be told before machines are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// The variable.
    pub variable: String,
    /// Where the value was written; `None` when it was written nowhere.
    pub origin: Option<Origin>,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Why a variable cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// It is of another type than what reads it.
    Type {
        /// Where in the variable: `.name[0]`; empty for the whole.
        at: String,
        /// What it is, in words.
        found: String,
        /// What it must be.
        needed: String,
    },
    /// Its value cannot be worked out.
    Unresolvable(Box<VarsError>),
    /// Anything else, in one sentence without the name.
    Other(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { at, found, needed } if at.is_empty() => {
                write!(f, "must be {needed}, but is {found}")
            }
            Self::Type { at, found, needed } => write!(f, "at {at}: must be {needed}, but is {found}"),
            Self::Unresolvable(error) => write!(f, "cannot be resolved: {error}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl Unreadable {
    /// The same for a user who is told of the variables of one host.
    pub(crate) fn problem(self) -> Problem {
        let message = self.reason.to_string();
        Problem { variable: self.variable, message, origin: self.origin }
    }
}

/// Variables that cannot be resolved.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VarsError {
    /// The inventory has no such host.
    #[error("there is no host \"{host}\" in the inventory")]
    UnknownHost {
        /// The name asked for.
        host: String,
    },
    /// A template cannot be rendered.
    #[error(
        "{}cannot {what} for the host {host}: {message}{}{}",
        place(origin),
        excerpt(origin),
        used_by(chain)
    )]
    Template {
        /// The host.
        host: String,
        /// What was being done, such as `resolve "kube_version"`.
        what: String,
        /// What is wrong.
        message: String,
        /// The place of the template.
        origin: Option<Origin>,
        /// Who asked, nearest first.
        chain: Vec<Link>,
    },
    /// A template reads what only the machine can tell, and the machine has not been read.
    #[error(
        "{}\"{variable}\" of the host {host} needs `{fact}`, which is read from the machine {of}: it is not known before{}",
        place(origin),
        excerpt(origin)
    )]
    NeedsFacts {
        /// The host whose variable cannot be worked out yet.
        host: String,
        /// The variable.
        variable: String,
        /// Where its value was written.
        origin: Option<Origin>,
        /// The fact.
        fact: String,
        /// The host whose fact it is.
        of: String,
    },
    /// Variables refer to each other in a circle.
    #[error("variables refer to each other in a circle for the host {host}: {}", circle(links))]
    Cycle {
        /// The host.
        host: String,
        /// The circle: each refers to the next, the last to the first.
        links: Vec<Link>,
    },
    /// References are nested too deeply to follow.
    #[error("variables refer to each other more than {limit} deep for the host {host}, beginning with {}", chain.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    TooDeep {
        /// The host.
        host: String,
        /// How deep is allowed.
        limit: usize,
        /// Who asked, nearest first.
        chain: Vec<Link>,
    },
    /// An encrypted value cannot be decrypted.
    #[error("{}cannot read \"{variable}\": {source}", place(origin))]
    Vault {
        /// The variable.
        variable: String,
        /// Where the encrypted text is.
        origin: Option<Origin>,
        /// Why not.
        source: VaultError,
    },
    /// Variables are missing or of the wrong type; all of them are told.
    #[error("{}", problems_text(host, problems))]
    Invalid {
        /// The host.
        host: String,
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
}

impl VarsError {
    /// The place of the value that is at fault, when it is one.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Template { origin, .. } | Self::Vault { origin, .. } | Self::NeedsFacts { origin, .. } => {
                origin.as_ref()
            }
            Self::Cycle { links, .. } => links.first().and_then(|link| link.origin.as_ref()),
            Self::Invalid { problems, .. } => problems.first().and_then(|problem| problem.origin.as_ref()),
            Self::UnknownHost { .. } | Self::TooDeep { .. } => None,
        }
    }
}

impl VarsError {
    /// What is wrong, in one line that does not name the host, so that it is the same for all hosts with this value.
    pub fn summary(&self) -> String {
        match self {
            Self::Template { what, message, origin, .. } => {
                format!("{}cannot {what}: {message}", place(origin))
            }
            Self::NeedsFacts { fact, origin, .. } => {
                format!("{}it needs `{fact}`, which is known only when the machine was read", place(origin))
            }
            Self::Cycle { links, .. } => {
                let names: Vec<String> = links.iter().map(ToString::to_string).collect();
                format!("variables refer to each other in a circle: {}", names.join(", "))
            }
            Self::TooDeep { limit, .. } => format!("variables refer to each other more than {limit} deep"),
            other => other.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }

    /// Whether it can be worked out as soon as a machine has been read.
    pub fn needs_facts(&self) -> bool {
        matches!(self, Self::NeedsFacts { .. })
    }
}

fn place(origin: &Option<Origin>) -> String {
    origin.as_ref().map(|origin| format!("{origin}: ")).unwrap_or_default()
}

fn excerpt(origin: &Option<Origin>) -> String {
    origin.as_ref().map(Origin::excerpt).unwrap_or_default()
}

fn used_by(chain: &[Link]) -> String {
    chain.iter().map(|link| format!("\n used by {link}")).collect()
}

fn circle(links: &[Link]) -> String {
    let mut text: String = links.iter().map(|link| format!("\n {link} refers to")).collect();
    if let Some(first) = links.first() {
        text.push_str(&format!("\n {first} again"));
    }
    text
}

fn problems_text(host: &str, problems: &[Problem]) -> String {
    let mut text = match problems.len() {
        1 => format!("a variable of the host {host} is not usable:"),
        count => format!("{count} variables of the host {host} are not usable:"),
    };
    for problem in problems {
        text.push_str("\n ");
        text.push_str(&problem.to_string());
    }
    text
}
