//! Pods of CoreDNS that are all on one node, as where a cluster had only that one when they began: when it is lost, nobody finds a name
//! until others have taken their place, which Kubernetes begins after five minutes.

use muster_engine::prelude::*;

use crate::coredns;
use crate::kubectl::{Kubectl, kubectl};

/// What becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// One of them moves.
    Moved,
    /// It is told.
    Told,
}

/// All pods of CoreDNS are on this node, of which this is one, and another node has room for it. Whether it has moved there: its Deployment
/// makes another one, which keeps away from those that are left.
pub(super) async fn are_spread(
    host: &Host,
    kubectl: &Kubectl<'_>,
    pod: &str,
    node: &str,
    names: Names,
) -> Result<bool> {
    // Whoever says where they are to be may want them there.
    if !coredns::keeps_apart(host)? {
        return Ok(false);
    }
    if names == Names::Told {
        host.warn(format!(
            "all pods of CoreDNS are on {node}: when it is lost, no name of the cluster is found until others have taken their place, some \
             five minutes later; setup-cluster spreads them"
        ));
        return Ok(false);
    }
    let moved = command(
        format!("a pod of CoreDNS on another node than {node}"),
        // It answers for five seconds more (lameduck), in which the other one begins: nobody has to wait for its end.
        kubectl!(r#"kubectl -n kube-system delete pod "$1" --ignore-not-found --wait=false"#, [pod]),
        kubectl!(
            r#"[ "$(kubectl -n kube-system get pod "$1" --ignore-not-found -o 'jsonpath={.metadata.deletionTimestamp}|')" != '|' ]"#,
            [pod]
        ),
    );
    kubectl.step("Have names answered by several nodes").ensure(moved).await.map(|_| true)
}
