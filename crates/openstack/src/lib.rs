//! OpenStack as a maker of machines: from a declaration of pools of machines, the servers of a cluster with all that they need
//! (key pair, security groups, network, ports, floating IPs), and their removal to the last port.
//!
//! A declaration may also be of machines that exist: then it is read here, and nothing of it is made in a cloud.
//!
//! [`ClusterFolder`] reads what the user wrote, [`Clouds::choose`] finds the cloud as the openstack client does,
//! [`Session::open`] logs in, [`Creation`] makes [`Machines`] and [`Deletion`] removes them. Nothing here prints or reads the environment, and
//! nothing knows Kubernetes but by the ports that its machines need ([`rules`]).
//!
//! # Whose an object is
//! Each cluster has a random identity, which is kept beside its declaration ([`Identity`]). What is made carries it from the
//! request that makes it on, in a field that every version of the service stores ([`Mark`]); tags follow. All that is found again
//! is found by it: so there is no record that could miss an object, and whoever was killed anywhere goes on by looking.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

mod claims;
mod client;
mod clouds;
mod clusterctl;
mod create;
mod declaration;
mod delete;
mod folder;
mod identity;
mod inventory;
mod kind;
mod machines;
mod mark;
mod mistake;
mod parallel;
mod resolve;
pub mod rules;
mod view;
mod wanted;

pub use client::{CloudError, Refusal, Session};
pub use clouds::{Cloud, CloudConfigError, Clouds, Surroundings};
pub use clusterctl::{Converted, Form, convert};
pub use create::Creation;
pub use declaration::{Declaration, Machinery, Named, Pool, Role, Source, schema, variable_of};
pub use delete::Deletion;
pub use folder::{ClusterFolder, FolderError, check_name, clusters, made_clusters};
pub use identity::{Identity, Place};
pub use inventory::inventory_text;
pub use kind::Kind;
pub use machines::{Listed, Machines, MachinesError, Tell};
pub use mark::Mark;
pub use mistake::{Mistake, Mistakes};
pub use view::Object;
pub use wanted::Wanted;
