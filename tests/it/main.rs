//! The program as a user runs it: its arguments, what it prints, its exit code, and what it leaves on disk.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod bad_input;
mod begin;
mod bundle;
mod cluster;
mod commands;
mod copy;
mod docs;
mod downloads;
mod fixture;
mod fleet;
mod help;
mod inventory;
mod kubeconfig;
mod kubespray;
mod kubespray_table;
mod locks;
mod machines;
mod netboot;
mod netboot_serve;
mod network;
mod plans;
mod preparation;
mod reconcile;
mod records;
mod samples;
mod scratch;
mod secrets;
mod structure;
mod students;
mod vault;
