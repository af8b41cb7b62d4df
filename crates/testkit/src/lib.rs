//! For tests only.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "it is part of tests")]

pub mod account;
pub mod bundle;
pub mod fault_record;
pub mod go_module;
pub mod http_mirror;
pub mod model;
pub mod program;
pub mod sshd;
