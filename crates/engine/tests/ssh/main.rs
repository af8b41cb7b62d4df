//! The SSH transport against real OpenSSH servers.

mod config;
mod faults;
mod fixture;
mod host_keys;
mod logins;
mod privilege;
mod programs;
