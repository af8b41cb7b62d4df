//! Whether the authorities of a cluster can be followed by others, before anything is changed.

use muster_engine::prelude::*;
use time::OffsetDateTime;

use super::{folders, look, under_way};
use crate::cluster::{self, Standing};
use crate::{etcd, upgrade};

/// The machine is this cluster's, and what it is to do is known. Where no rotation is under way yet: it has what is needed for one,
/// and the cluster is well.
pub(super) async fn check(host: &Host) -> Result<()> {
    let known = cluster::belongs(host).await?;
    if known.standing().is_empty() {
        return Err(Failure::new(
            "no control plane of the inventory is in a cluster",
            "authorities are rotated in a cluster: setup-cluster begins one",
        ));
    }
    let goes_on = under_way(host).await?.is_some();
    let (folders, seen) = (folders(host)?, look(host).await?);
    for path in seen.copies(&folders) {
        host.warn(format!(
            "{path} is a copy of a control plane's, and is not signed anew: it is useless after the rotation"
        ));
    }
    let refused = if goes_on { Vec::new() } else { seen.refused(&folders) };
    let mut problems: Vec<Problem> = seen
        .misplaced(&folders)
        .into_iter()
        .chain(refused)
        .map(|[found, needed, remedy]| problem(found, needed, remedy))
        .collect();
    // One machine tells for all.
    let mut told = false;
    let ask = || {
        told = true;
        of_cluster(host, &known, goes_on)
    };
    let of_cluster = host.cluster().once("what keeps the cluster from a rotation", ask).await?;
    if told {
        problems.extend(of_cluster.iter().cloned());
    }
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    host.passed(if goes_on { "A rotation is under way" } else { "Look at the cluster" });
    Ok(())
}

/// All machines of the cluster take part.
///
/// # Errors
/// Which do not.
pub(super) async fn is_complete(host: &Host, known: &Standing) -> Result<()> {
    match left_out(host, known).await? {
        problems if problems.is_empty() => Ok(()),
        problems => Err(Failure::Problems(problems)),
    }
}

async fn of_cluster(host: &Host, known: &Standing, goes_on: bool) -> Result<Vec<Problem>> {
    if goes_on {
        // The API may be away for just that which the rotation goes on with. It is asked again before anything is dropped.
        return Ok(left_out(host, known).await.unwrap_or_default());
    }
    let ended = known.ended(OffsetDateTime::now_utc());
    if !ended.is_empty() {
        let ended = ended.into_iter().map(|(name, files)| upgrade::has_ended(name, &files));
        return Ok(ended.collect());
    }
    if let Some(problem) = known.half_upgraded() {
        return Ok(vec![problem]);
    }
    let mut unwell = upgrade::unwell(host, known).await?;
    unwell.extend(etcd::unhealthy(host, known).await?);
    let unwell = unwell.into_iter().map(|found| {
        problem(
            found,
            "a cluster that is well: its parts start anew one after the other",
            "mend it: muster kubectl get nodes,pods -A, setup-cluster",
        )
    });
    Ok(unwell.chain(left_out(host, known).await?).collect())
}

/// The nodes and members of etcd that no machine of the run is.
async fn left_out(host: &Host, known: &Standing) -> Result<Vec<Problem>> {
    let members = etcd::outside(host, known).await?.into_iter().map(|(found, remedy)| {
        problem(
            found,
            "all members of etcd: one that trusts the old authority alone would lose the others",
            format!("put its machine into that group; {remedy}"),
        )
    });
    let nodes = upgrade::strangers(host, known).await?.into_iter().map(|node| {
        problem(
            format!("the node {node} is in the cluster, and is no host of the inventory"),
            "all machines of the cluster: one that trusts the old authority alone would not find the API any more",
            format!("put its machine into the inventory; or, if it is gone, delete it: muster kubectl delete node {node}"),
        )
    });
    Ok(members.chain(nodes).collect())
}

fn problem(found: impl Into<String>, needed: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem { check: "authorities".into(), found: found.into(), needed: needed.into(), remedy: remedy.into() }
}
