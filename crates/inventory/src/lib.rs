//! What the user wrote: inventories, variables, templates.
//!
//! This crate reads the inventories and variables of Ansible and means by them exactly what Ansible
//! means. It knows no network and no Kubernetes, reads no environment variable and no home
//! directory, and prints nothing.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod address;
mod ansible_cfg;
mod build;
mod convert;
mod de;
mod error;
mod extra_vars;
mod fact_names;
mod group_rules;
mod host_list;
mod host_vars;
mod hushed;
mod ini;
mod inventory;
mod jinja;
mod layer;
mod list;
mod literal;
mod load;
mod magic;
mod origin;
mod pattern;
mod renames;
mod resolve;
mod script;
mod shlex;
mod short_names;
mod similar;
mod twice;
mod unquoted;
mod value;
mod var_files;
mod vars;
mod vars_error;
mod vault;
mod written;
mod yaml;
mod yaml_inventory;
mod yaml_relaxed;
mod yaml_scalar;

pub use ansible_cfg::{AnsibleSettings, config_paths};
pub use error::InventoryError;
pub use group_rules::GroupRules;
pub use host_list::expand as expand_hosts;
pub use host_vars::{Definition, HostVars};
pub use inventory::{Group, Host, Inventory};
pub use layer::LayerKind;
pub use load::{LoadOptions, Source};
pub use magic::OMIT;
pub use origin::{Origin, SourceText, Warning};
pub use pattern::PatternError;
pub use renames::Renames;
pub use short_names::{names, some_names};
pub use similar::{closest, closest_within};
pub use value::{Kind, Value};
pub use vars::{Vars, VarsBuilder};
pub use vars_error::{Link, Problem, Reason, Unreadable, VarsError};
pub use vault::{VaultError, VaultSecrets, VaultText, is_vault};
pub use written::Written;
