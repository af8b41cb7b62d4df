//! Which cloud, and how to log in: `clouds.yaml`, `secure.yaml` and the variables `OS_*`, as the openstack client reads them
//! (openstacksdk, `openstack/config/loader.py`).

mod cloud;
mod files;

pub(crate) use cloud::Login;
pub use cloud::{Cloud, CloudConfigError};
pub use files::{Clouds, Surroundings};
