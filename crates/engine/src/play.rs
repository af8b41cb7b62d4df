//! Plays: which hosts go through which roles. Data, and tiny: no tasks, no loops, no conditions.

use std::num::NonZeroUsize;

use serde::Deserialize;

/// A play of a playbook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// What it is for.
    pub name: String,
    /// The pattern of its hosts.
    pub hosts: String,
    /// The roles each host goes through, in order.
    pub roles: Vec<String>,
    /// Names to select it by, besides the names of its roles.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How many hosts at once; all when not given.
    #[serde(default)]
    pub serial: Option<NonZeroUsize>,
    /// Whether nobody goes on to later plays before every host has passed this one.
    #[serde(default)]
    pub any_errors_fatal: bool,
    /// Whether it begins only when all hosts are through the plays before. Without it each host goes at its own speed.
    #[serde(default)]
    pub wait_for_all: bool,
}
