//! For tests only.

pub mod account;
pub mod http_mirror;
pub mod program;
pub mod sshd;
