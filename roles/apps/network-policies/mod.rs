//! Network policies with flannel: the part of kube-router that keeps to them, as a pod on each node. It writes rules of iptables, and
//! sets of addresses, into the node's kernel. They stay when its pod ends, so that policies hold while it restarts; and they go when it
//! is not wanted any more. Its own `--cleanup-config` does not remove them (it looks at none of its tables), but all virtual servers of
//! ipvs, which are kube-proxy's.

use futures::future::{BoxFuture, FutureExt};
use muster_engine::prelude::*;

use super::OnMachines;

/// What its pods leave on each machine.
pub(crate) const ON_MACHINES: OnMachines = OnMachines::OfPods { remove: cleared };

const LOOK: &str = concat!(include_str!("rules.sh"), r#"[ -z "$(left)" ]"#);
const CLEAR: &str = concat!(include_str!("rules.sh"), include_str!("clear.sh"));

fn cleared(host: &Host) -> BoxFuture<'_, Result<()>> {
    async move {
        let rules = removal("rules of network policies", sh0(CLEAR), sh0(LOOK));
        let step = host.step("Remove the rules of network policies").limit(Duration::from_secs(120));
        step.ensure(rules).await.map(drop)
    }
    .boxed()
}

#[cfg(test)]
mod tests;
