//! Owner, group and mode: what files and directories have in common.

use super::PathState;

/// The owner, group and mode that files and directories have in common, and how they differ from what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub owner: String,
    pub group: String,
    pub mode: u32,
}

impl Access {
    pub(crate) fn root(mode: u32) -> Self {
        Self { owner: "root".into(), group: "root".into(), mode }
    }

    /// What differs, in words: empty when nothing does.
    pub(crate) fn differences(&self, state: &PathState) -> Vec<String> {
        let mut found = Vec::new();
        if state.mode != self.mode {
            found.push(format!("mode {:04o} -> {:04o}", state.mode, self.mode));
        }
        if state.owner != self.owner {
            found.push(format!("owner {} -> {}", state.owner, self.owner));
        }
        if state.group != self.group {
            found.push(format!("group {} -> {}", state.group, self.group));
        }
        found
    }

    pub(crate) fn mode_text(&self) -> String {
        format!("{:04o}", self.mode)
    }
}

/// The methods with which a resource that has an `access` is given another one.
macro_rules! with_access {
    ($resource:ty) => {
        impl $resource {
            /// The permission bits.
            pub fn mode(mut self, mode: u32) -> Self {
                self.access.mode = mode;
                self
            }

            /// The owner's name.
            pub fn owner(mut self, owner: impl Into<String>) -> Self {
                self.access.owner = owner.into();
                self
            }

            /// The group's name.
            pub fn group(mut self, group: impl Into<String>) -> Self {
                self.access.group = group.into();
                self
            }
        }
    };
}
pub(crate) use with_access;
