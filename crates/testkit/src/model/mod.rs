//! Model machines: a disk, processes, services, packages, and a shell that runs the very programs that the engine sends.
//! Programs take turns action by action, in simulated time (tokio's, paused), and can end at any action. What the model
//! does not know fails the test. `tests/shells.rs` compares it with real shells, and `engine/tests/simulator/beside.rs` does so with
//! what the engine sends.

mod builtins;
pub mod commands;
pub mod disk;
mod expand;
pub mod look;
pub mod machine;
pub mod random;
pub mod shell;
pub mod streams;
mod syntax;
mod tree;
