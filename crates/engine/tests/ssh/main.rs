//! The SSH transport against real OpenSSH servers.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod config;
mod faults;
mod fixture;
mod host_keys;
mod logins;
mod privilege;
mod programs;
