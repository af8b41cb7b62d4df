//! `muster machines` against the real services of OpenStack: keystone, glance, placement, neutron and nova, unmodified, on loopback.
//! Servers there have everything but a system inside.

mod create;
mod fixture;
mod kills;
mod proxy;
mod refusals;
mod services;
mod wire;
