//! Pods begin anew, where what they have begun with is not so any more.

use muster_engine::prelude::*;
use muster_inventory::some_names;

use crate::kubectl::{Kubectl, kubectl};

/// All pods of a node, or of the cluster, begin anew, but for static ones. Not to be called in check mode.
pub(crate) async fn begin_anew(kubectl: &Kubectl<'_>, node: Option<&str>) -> Result<()> {
    let which = node.map(|node| format!(",spec.nodeName={node}")).unwrap_or_default();
    let said = kubectl.run("Let pods begin anew", kubectl!(include_str!("pods-anew.sh"), [which])).await?;
    let alone: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("alone ")).collect();
    if !alone.is_empty() {
        kubectl.asker().warn(format!(
            "pods without a controller are as they were, and may reach neither the API nor other pods: {}; they have to be made anew",
            some_names(&alone)
        ));
    }
    Ok(())
}
