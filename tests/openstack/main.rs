//! `muster machines` against the real services of OpenStack: keystone, glance, placement, neutron and nova, unmodified, on loopback.
//! Servers there have everything but a system inside.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod cluster;
mod create;
mod faults;
mod fixture;
mod kills;
mod proxy;
mod refusals;
mod services;
mod tls;
mod wire;
