//! For tests only.

pub mod http_mirror;
pub mod sshd;
