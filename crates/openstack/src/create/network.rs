//! The network that machines are in.

use serde_json::json;

use super::{Creation, ROUTER_PORT};
use crate::client::Service;
use crate::declaration::Network;
use crate::kind::Kind;
use crate::machines::MachinesError;
use crate::view::{Object, View};

impl Creation<'_> {
    /// The network's id.
    pub(super) fn network(&self) -> Result<String, MachinesError> {
        let (range, dns) = match &self.cloud.network {
            Network::Own { range, dns, .. } => (range, dns),
            Network::Existing(_) => return Ok(self.resolved.network.clone().unwrap_or_default()),
        };
        let name = &self.machines.cluster;
        let network = self.ensure(Kind::Network, "network", json!({"name": name}))?;
        // The first address is the router's.
        let gateway = range.hosts().next().unwrap_or(range.network()).to_string();
        let subnet = json!({
            "name": name, "network_id": network.id, "ip_version": 4, "cidr": range.to_string(),
            "gateway_ip": gateway, "dns_nameservers": dns,
        });
        let subnet = self.ensure(Kind::Subnet, "subnet", subnet)?;
        let router = match &self.resolved.router {
            Some(id) => id.clone(),
            None => {
                let outside = json!({"network_id": self.resolved.external});
                let router = json!({"name": name, "external_gateway_info": outside});
                self.ensure(Kind::Router, "router", router)?.id
            }
        };
        // A port of our own, and not one that the router makes: it carries the mark, also in somebody else's router.
        let fixed = json!([{"subnet_id": subnet.id, "ip_address": gateway}]);
        let port = json!({"name": format!("{name}-router"), "network_id": network.id, "fixed_ips": fixed});
        let port = self.ensure(Kind::Port, ROUTER_PORT, port)?;
        if port.text("device_id") != router {
            self.join(&port, &router)?;
        }
        Ok(network.id)
    }

    /// Makes the port the router's way into the network.
    fn join(&self, port: &Object, router: &str) -> Result<(), MachinesError> {
        let session = self.machines.session;
        let path = format!("/routers/{router}/add_router_interface");
        let Err(source) = session.put(Service::Network, &path, &json!({"port_id": port.id})) else {
            return Ok(());
        };
        // Where an answer was lost, the second request is refused, because the first one has done it.
        let ports = View::look_at(session, &[Kind::Port])?.ours(Kind::Port, &self.machines.mark);
        if ports.iter().any(|other| other.id == port.id && other.text("device_id") == router) {
            return Ok(());
        }
        Err(MachinesError::Making { what: "the router's way into the network".into(), source })
    }
}
