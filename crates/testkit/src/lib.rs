//! For tests only.

pub mod account;
pub mod bundle;
pub mod fault_record;
pub mod http_mirror;
pub mod model;
pub mod program;
pub mod sshd;
