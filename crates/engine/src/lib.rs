//! Machines, not Kubernetes: how roles describe what machines should be, and how that is brought about over SSH.
//!
//! The engine never prints and never reads the environment or the home directory: whatever it needs of them is handed in,
//! whatever is to be seen leaves as an [`event::Event`].

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod advice;
mod aside;
pub mod cluster;
pub mod event;
pub mod event_json;
pub mod facts;
pub mod failure;
mod failure_form;
mod fan_out;
mod first_exchange;
mod forks;
pub mod hook;
pub mod host;
pub mod lock;
mod metered;
pub mod play;
pub mod reads;
pub mod resource;
pub mod run;
pub mod script;
mod seconds;
pub mod ssh;
mod step;
mod telling;
pub mod transport;
mod upload;
mod wait;

/// What a role needs.
pub mod prelude {
    pub use crate::aside::aside;
    pub use crate::failure::{Failure, Problem, Result};
    pub use crate::host::Host;
    pub use crate::reads::Read;
    pub use crate::resource::*;
    pub use crate::script::{Script, sh, sh0};
    pub use crate::step::Step;
    pub use crate::wait::Wait;
    pub use std::time::Duration;
}
