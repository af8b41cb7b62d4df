//! Machines as containers, and the bundle built from source.
//!
//! A lab is a handful of machines that know nothing of the world: containers with systemd, sshd and no Python, on a
//! network that has no way out and that the host has no way into. Programs get in with [`Lab::command`].
//! The library prints nothing and reads neither the environment nor the home directory.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod access;
mod engine;
mod error;
mod host;
mod image;
mod install;
mod lab;
mod lock;
mod machine;
mod network;
mod process;
mod progress;
mod spec;

pub use access::{KNOWN_HOSTS_VARIABLE, PRIVATE_KEY_VARIABLE};
pub use engine::{Engine, MachineState};
pub use error::Error;
pub use ipnet::Ipv4Net;
pub use lab::{Control, DEFAULT_NAME, Lab, LabConfig, MachineStatus, UpOptions};
pub use progress::{Progress, ProgressFn};
pub use spec::{LabSpec, MachineSpec, Release};

pub mod build;
