//! Clusters as declarations: `clusters/NAME/cluster.yml` says what a cluster is to be, and it becomes so. [`plan`] compares the
//! declaration with the machines that are there, [`apply`] does it: a [`maker`] makes machines, takes them or removes them, and the flows
//! that a user would start (`setup-cluster`, `replace-node`, `remove-node`) let them join and leave. [`keep`] does so for many of them, again
//! and again, and [`pull`] takes their declarations from a repository.

mod apply;
mod cloud;
mod cluster;
mod delete;
mod existing;
mod keep;
mod maker;
mod plan;
mod pull;
mod show;
mod status;
mod wait;

pub(crate) use apply::{Consent, How, apply, show as plan};
pub(crate) use cloud::Cloud;
pub(crate) use cluster::Cluster;
pub(crate) use delete::{delete, delete_cloud};
pub(crate) use keep::{Fleet, all_clusters, folder_of};
pub(crate) use pull::Git;
pub(crate) use show::machine_table;
pub(crate) use status::{list, overview, status};
