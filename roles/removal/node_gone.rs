//! A node that is to be in the cluster no more.

use std::net::IpAddr;

use muster_engine::prelude::*;

use crate::kubectl::kubectl;

/// The cluster has no such node. One of the same name at another address is another machine's, and stays.
pub(super) struct NodeGone {
    pub(super) node: String,
    /// The address that the inventory has for it.
    pub(super) address: Option<IpAddr>,
}

impl Resource for NodeGone {
    fn label(&self) -> String {
        format!("node {}", self.node)
    }

    fn probe(&self) -> Probe {
        Probe::script(kubectl!(include_str!("node.sh"), [&self.node]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        if answer.status != 0 {
            return Err(format!("kubectl cannot look at it: {}", answer.output.trim_end()));
        }
        let mut words = answer.output.split_whitespace();
        if words.next().is_none() {
            return Ok(Plan::nothing());
        }
        let addresses: Vec<IpAddr> = words.filter_map(|word| word.parse().ok()).collect();
        if let Some(address) =
            self.address.filter(|address| !addresses.is_empty() && !addresses.contains(address))
        {
            return Err(format!(
                "the cluster has it at {}, and the inventory at {address}: it is another machine's; correct its ip in the inventory",
                addresses[0]
            ));
        }
        Ok(Plan::change(
            self,
            "removed from the cluster",
            kubectl!(r#"kubectl delete node "$1""#, [&self.node]),
        ))
    }

    fn desired(&self) -> String {
        format!("{}:gone", self.label())
    }
}
