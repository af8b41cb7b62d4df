//! Which cloud, and how to log in: `clouds.yaml`, `secure.yaml` and the variables `OS_*`, as the openstack client reads them
//! (openstacksdk, `openstack/config/loader.py`).

mod cloud;
mod files;

pub use cloud::{Cloud, CloudConfigError};
pub(crate) use cloud::{Login, Named};
pub use files::{Clouds, Surroundings};
