//! Whether the authorities of a cluster can be followed by others, before anything is changed.

use muster_engine::prelude::*;
use time::OffsetDateTime;

use super::{folders, look, under_way};
use crate::cluster::{self, Standing};
use crate::{etcd, upgrade};

/// The machine is this cluster's. Where no rotation is under way yet: it has what is needed for one, and the cluster is well.
pub(super) async fn check(host: &Host) -> Result<()> {
    let known = cluster::belongs(host).await?;
    if known.standing().is_empty() {
        return Err(Failure::new(
            "no control plane of the inventory is in a cluster",
            "authorities are rotated in a cluster: setup-cluster begins one",
        ));
    }
    if under_way(host).await?.is_some() {
        host.passed("A rotation is under way");
        return Ok(());
    }
    let refused = look(host).await?.refused(&folders(host)?);
    let mut problems: Vec<Problem> =
        refused.into_iter().map(|[found, needed, remedy]| problem(found, needed, remedy)).collect();
    // One machine tells for all.
    let mut told = false;
    let ask = || {
        told = true;
        of_cluster(host, &known)
    };
    let of_cluster = host.cluster().once("what keeps the cluster from a rotation", ask).await?;
    if told {
        problems.extend(of_cluster.iter().cloned());
    }
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    host.passed("Look at the cluster");
    Ok(())
}

async fn of_cluster(host: &Host, known: &Standing) -> Result<Vec<Problem>> {
    let ended = known.ended(OffsetDateTime::now_utc());
    if !ended.is_empty() {
        let ended = ended.into_iter().map(|(name, files)| upgrade::has_ended(name, &files));
        return Ok(ended.collect());
    }
    if !known.is_of_one_version() {
        return Ok(vec![problem(
            "the control planes run different versions: an upgrade was cut off",
            "control planes of one version",
            "finish it: upgrade-cluster",
        )]);
    }
    let (mut unwell, strangers) = upgrade::unwell(host, known).await?;
    unwell.extend(etcd::unhealthy(host, known).await?);
    let unwell = unwell.into_iter().map(|found| {
        problem(
            found,
            "a cluster that is well: its parts start anew one after the other",
            "mend it: muster kubectl get nodes,pods -A, setup-cluster",
        )
    });
    let strangers = strangers.into_iter().map(|node| {
        problem(
            format!("the node {node} is in the cluster, and is no host of the inventory"),
            "all machines of the cluster: one that trusts the old authority alone would not find the API any more",
            format!("put its machine into the inventory; or, if it is gone, delete it: muster kubectl delete node {node}"),
        )
    });
    Ok(unwell.chain(strangers).collect())
}

fn problem(found: impl Into<String>, needed: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem { check: "authorities".into(), found: found.into(), needed: needed.into(), remedy: remedy.into() }
}
