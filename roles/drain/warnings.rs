//! Before anything is touched it is told which PodDisruptionBudgets stand against the drains of a run, and which pods nobody makes
//! again: whoever reads it can give an application one more replica, or keep what a pod has, while the run is still far from its nodes.

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use muster_inventory::some_names;

use super::Vars;
use super::on_node::OnNode;
use crate::common::cluster_vars;
use crate::kubectl::{Kubectl, kubectl};

/// Warns of the budgets that let none of their pods go now, on the nodes of these hosts, and of pods without a controller. It stops
/// nothing: how long a drain waits is said by variables. In check mode the drains tell it themselves.
pub(crate) async fn warn(host: &Host, hosts: &[String]) -> Result<()> {
    if host.check_mode() {
        return Ok(());
    }
    // By the selector of the pods that are to move.
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut are_deleted_at_last = true;
    for name in hosts {
        let target = host.cluster().host(name)?;
        let Vars { drain_nodes, drain_pod_selector, drain_fallback_enabled, .. } = target.vars()?;
        if drain_nodes {
            are_deleted_at_last &= drain_fallback_enabled;
            nodes.entry(drain_pod_selector).or_default().push(cluster_vars(&target)?.kube_override_hostname);
        }
    }
    if nodes.is_empty() {
        return Ok(());
    }
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
    let look = kubectl!(concat!(include_str!("look.sh"), "look_at_budgets"), [""; 0]);
    let budgets = kubectl.query("the PodDisruptionBudgets", look).await?;
    for (selector, nodes) in nodes {
        let look = kubectl!(
            concat!(include_str!("look.sh"), "look_at_pods 'spec.nodeName!=' \"$1\""),
            [selector.as_str()]
        );
        let pods = kubectl.query("the pods of the nodes that are drained", look).await?;
        let moving = OnNode::of_several(&(budgets.clone() + &pods)).on(&nodes);
        if let Some(words) = moving.deleted_for_good() {
            host.warn_of_cluster(format!("draining {}: {words}", some_names(&nodes)));
        }
        for (words, nodes) in moving.against_moving() {
            let then = match are_deleted_at_last {
                true => "they are deleted at last without asking it (drain_fallback_enabled)",
                false => "the drain has failed",
            };
            host.warn_of_cluster(format!(
                "draining {} will wait: {words}; if that stays so for drain_timeout, and in drain_retries attempts more, {then}",
                some_names(&nodes)
            ));
        }
    }
    Ok(())
}
