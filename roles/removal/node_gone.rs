//! A node that is to be in the cluster no more.

use std::net::IpAddr;

use muster_engine::prelude::*;

use crate::kubectl::{Kubectl, kubectl};

/// The cluster has no such node. One of the same name at another address is another machine's, and stays.
pub(super) struct NodeGone {
    pub(super) node: String,
    /// The address that the inventory has for it.
    pub(super) address: Option<IpAddr>,
}

impl NodeGone {
    /// Whether the cluster has the node, by what `node.sh` printed.
    ///
    /// # Errors
    /// It is another machine's.
    fn is_there(&self, said: &str) -> Result<bool, String> {
        let mut words = said.split_whitespace();
        if words.next().is_none() {
            return Ok(false);
        }
        let addresses: Vec<IpAddr> = words.filter_map(|word| word.parse().ok()).collect();
        match (self.address, addresses.first()) {
            (Some(address), Some(other)) if !addresses.contains(&address) => Err(format!(
                "the cluster has the node {} at {other}, and the inventory at {address}: it is another machine's",
                self.node
            )),
            _ => Ok(true),
        }
    }

    /// Sees that it is the node of the machine that is meant, before anything is changed.
    pub(super) async fn check(&self, kubectl: &Kubectl<'_>) -> Result<()> {
        let said = kubectl.query(&self.label(), self.looking()).await?;
        let remedy = "correct its ip in the inventory";
        self.is_there(&said).map(drop).map_err(|found| Failure::new(found, remedy))
    }

    fn looking(&self) -> Script {
        kubectl!(include_str!("node.sh"), [&self.node])
    }
}

impl Resource for NodeGone {
    fn label(&self) -> String {
        format!("node {}", self.node)
    }

    fn probe(&self) -> Probe {
        Probe::script(self.looking())
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        if answer.status != 0 {
            return Err(format!("kubectl cannot look at it: {}", answer.output.trim_end()));
        }
        if !self.is_there(&answer.output)? {
            return Ok(Plan::nothing());
        }
        let gone = kubectl!(r#"kubectl delete node "$1""#, [&self.node]);
        Ok(Plan::change(self, "removed from the cluster", gone))
    }

    fn desired(&self) -> String {
        format!("{}:gone", self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_at_another_address_is_another_machine_s() {
        let at = |address: &str| NodeGone { node: "pc-1".into(), address: address.parse().ok() };
        let said = "pc-1 192.0.2.4 2001:db8::4";
        assert_eq!(at("192.0.2.4").is_there(said), Ok(true));
        assert_eq!(at("2001:db8::4").is_there(said), Ok(true));
        assert!(
            at("192.0.2.5")
                .is_there(said)
                .unwrap_err()
                .contains("at 192.0.2.4, and the inventory at 192.0.2.5")
        );
        // One that never told an address; an inventory without one; and no node at all.
        assert_eq!(at("192.0.2.5").is_there("pc-1 "), Ok(true));
        assert_eq!(at("pc-1.example").is_there(said), Ok(true));
        assert_eq!(at("192.0.2.5").is_there("\n"), Ok(false));
    }
}
