//! Configurations as users write them, what becomes of them, and what is said of mistakes in them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod fixture;
mod folder;
mod ignition;
mod keys;
mod mistakes;
mod spec;
