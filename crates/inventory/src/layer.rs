//! Layers of variables: each is one place where somebody set some, and they have an order.

use std::fmt;

use indexmap::IndexMap;

use crate::value::Value;

/// What kind of place a layer is. The order is the order of precedence, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerKind {
    /// What templates may read where nobody set it; it is not listed among the variables.
    Fallback,
    /// The defaults of a role.
    Default,
    /// `[all:vars]`, `all: vars:`.
    AllVars,
    /// `[group:vars]`, `group: vars:`.
    GroupVars,
    /// `group_vars/all` beside the inventory.
    AllFile,
    /// `group_vars/all` beside the playbook.
    PlaybookAllFile,
    /// `group_vars/GROUP` beside the inventory.
    GroupFile,
    /// `group_vars/GROUP` beside the playbook.
    PlaybookGroupFile,
    /// Variables on the host's own line.
    HostLine,
    /// `host_vars/HOST` beside the inventory.
    HostFile,
    /// `host_vars/HOST` beside the playbook.
    PlaybookHostFile,
    /// What was found out about the machine.
    Facts,
    /// What a role worked out.
    SetFact,
    /// `-e` on the command line.
    Extra,
    /// Variables that always exist, such as `inventory_hostname`.
    Magic,
}

impl LayerKind {
    /// Whether a user wrote this layer, as opposed to a role, a machine or the program.
    pub fn is_user(self) -> bool {
        !matches!(self, Self::Fallback | Self::Default | Self::Facts | Self::SetFact | Self::Magic)
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fallback => "for templates that read it",
            Self::Default => "role default",
            Self::AllVars => "vars of the group all",
            Self::GroupVars => "vars of a group",
            Self::AllFile => "group_vars/all",
            Self::PlaybookAllFile => "group_vars/all beside the playbook",
            Self::GroupFile => "group_vars",
            Self::PlaybookGroupFile => "group_vars beside the playbook",
            Self::HostLine => "host line of the inventory",
            Self::HostFile => "host_vars",
            Self::PlaybookHostFile => "host_vars beside the playbook",
            Self::Facts => "facts of the machine",
            Self::SetFact => "set while running",
            Self::Extra => "command line (-e)",
            Self::Magic => "always set",
        })
    }
}

/// Variables that were set together in one place.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) kind: LayerKind,
    /// What the place is called in messages: a path, or words such as `[k8s:vars]`.
    pub(crate) name: String,
    pub(crate) vars: IndexMap<String, Value>,
}
