//! OpenStack's HTTP APIs: logging in, finding services in the catalogue, requests whose failures say what happened.
//!
//! Not a binding of everything that OpenStack has, but what machines need: eight kinds of objects that are listed, made and
//! removed in the same way (`crate::kind`).

mod error;
mod http;
mod session;

pub use error::{CloudError, Refusal};
pub(crate) use session::Service;
pub use session::Session;
