//! Bundles on disk, and fetching them from a mirror on this machine.

mod bundle;
mod fetch;
mod support;
