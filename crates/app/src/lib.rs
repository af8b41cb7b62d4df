//! muster as a library: what the command line does, for any program that wants to host it.
//!
//! A [`Flow`] says what is to be done, a [`Job`] on what. [`Job::scope`] reads what the user wrote, [`Scope::prepare`] checks
//! the rest and completes the bundle, and only [`Ready::perform`] and [`Ready::plan`] contact machines.
//!
//! Nothing here prints, reads arguments or the environment, or ends the process: what is needed of them is handed in as an
//! [`Environment`], what is to be seen leaves through [`Frontend`] and as events of the engine, and what only a user knows is
//! asked through [`Frontend`], too.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

mod batches;
mod connections;
mod environment;
mod error;
mod flow;
mod frontend;
mod hooks;
mod job;
mod lock_owner;
mod login;
mod looking_only;
mod mirrors;
mod options;
mod owner;
mod passwords;
mod performance;
pub mod plan;
mod playbook;
mod project;
mod record;
mod run_bundle;
mod selection;
pub mod text;
mod usual_times;
mod vault_password;
mod world;

pub use connections::Connections;
pub use environment::{Environment, shown};
pub use error::{Error, ErrorKind};
pub use flow::{BundleUse, Flow, FlowId, Loss, Plays};
pub use frontend::{Frontend, News, Question};
pub use job::{Job, Outline, OutlinePlay, Ready, Scope};
pub use lock_owner::request as lock_request;
pub use options::{ConnectionOptions, RunOptions, Selection, VariableOptions};
pub use performance::{Ended, Listener};
pub use playbook::{ADOPT, CLUSTER, PREFLIGHT, Playbook, RESET, UPGRADE, VERIFY};
pub use project::{INVENTORY_DIR, INVENTORY_FILE, Project};
pub use record::{LAST, Recorded, Recorder, Records, typed};
pub use run_bundle::{bundle_dir, needed_for, sources};
pub use selection::tags_of;
pub use usual_times::Usual;
pub use world::World;
