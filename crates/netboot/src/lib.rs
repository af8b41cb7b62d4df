//! Machines that boot from the network: configurations in Butane, or in the older format of Container Linux, become Ignition's
//! JSON and scripts of iPXE, one of each for every machine of an inventory. What Ignition would refuse on the machine, while
//! nobody sees its screen, is found here, with file, line and column.
//!
//! [`Config::read`] reads a configuration, [`Settings::read`] the variables of a machine, [`Rendered::of`] puts them together, and
//! [`KeyStore`] keeps the host keys. Nothing here prints, reads the environment, or contacts anybody.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

mod butane;
mod config;
mod container_linux;
mod folder;
mod host_key;
mod ipxe;
mod local_files;
mod mac;
mod machine;
mod mistake;
mod mode;
mod rules;
mod settings;
mod shape;
mod texts;
mod unit_text;
mod yaml;

pub use config::{Config, System};
pub use folder::{Change, FolderError, Rendered};
pub use host_key::{Authority, HostKey, KeyError, KeyStore, LIFETIME, Made};
pub use ipxe::Boot;
pub use local_files::LocalFiles;
pub use mac::Mac;
pub use machine::{Machine, is_of};
pub use mistake::{Mistake, Mistakes};
pub use settings::{Settings, SettingsError};
