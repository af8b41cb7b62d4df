//! Machines to try things on, and the bundle built from source.
//!
//! A lab is a handful of machines that know nothing of the world: Debian with systemd, sshd and no Python, on a network
//! that has no way out and that the host has no way into. Programs get in with [`Lab::command`]. What the machines are,
//! containers or virtual machines, only their maker knows (`maker.rs`).
//! The library prints nothing and reads neither the environment nor the home directory.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod access;
mod bring_up;
mod config;
mod containers;
mod debian;
mod error;
mod folder_lock;
mod lab;
mod machine_ready;
mod maker;
mod makers;
mod program;
mod progress;
mod record;
mod required_programs;
mod router;
mod spec;
mod take_down;
mod virtual_machines;
mod waiting;

pub use access::{DEFAULTS_VARIABLE, KNOWN_HOSTS_VARIABLE, PRIVATE_KEY_VARIABLE};
pub use config::LabConfig;
pub use containers::Engine;
pub use error::Error;
pub use ipnet::Ipv4Net;
pub use lab::{DEFAULT_NAME, Lab, MachineStatus, UpOptions};
pub use maker::{Control, MachineState};
pub use progress::{Progress, ProgressFn};
pub use spec::{LabSpec, MachineSpec, MakerKind, Release};

pub mod build;
