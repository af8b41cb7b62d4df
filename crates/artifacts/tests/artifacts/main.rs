//! Bundles on disk, and fetching them from a mirror on this machine.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod bundle;
mod fetch;
mod serve;
mod support;
