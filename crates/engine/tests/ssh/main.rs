//! The SSH transport against real OpenSSH servers.

mod faults;
mod fixture;
mod host_keys;
mod logins;
mod programs;
