//! Removing what is the cluster's, or its machines alone, and nothing else.
//!
//! What is removed is found by the cluster's mark, at each look anew, until a look finds nothing. So a run that was cut off is
//! finished by the next one, and what a service still refuses ("in use") or does not show yet is tried again.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::claims::Claims;
use crate::client::{CloudError, Service};
use crate::kind::Kind;
use crate::machines::{Machines, MachinesError};
use crate::parallel::each;
use crate::view::{Object, View};

/// How long to try since something was last removed.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Owners of ports that neutron itself removes with their network (neutron, `AUTO_DELETE_PORT_OWNERS`).
const NEUTRONS_OWN: [&str; 3] = ["network:dhcp", "network:distributed", "network:floatingip_agent_gateway"];

/// What a deletion would remove, as one look has it.
pub struct Deletion<'a> {
    machines: &'a Machines<'a>,
    view: View,
    /// What Kubernetes has made for the cluster.
    claims: Claims,
    /// The machines whose servers, ports and floating IPs are removed; everything, where none are named.
    only: Option<Vec<String>>,
}

impl<'a> Deletion<'a> {
    /// Looks at what there is of the cluster, and at what Kubernetes has made for it.
    ///
    /// # Errors
    /// The cloud does not say.
    pub fn look(machines: &'a Machines<'a>) -> Result<Self, MachinesError> {
        let view = View::look(machines.session)?;
        let claims = Claims::look(machines, &view)?;
        Ok(Self { machines, view, claims, only: None })
    }

    /// Looks at what there is of some machines, by their names within the cluster.
    ///
    /// # Errors
    /// The cloud does not say.
    pub fn of(machines: &'a Machines<'a>, parts: &[String]) -> Result<Self, MachinesError> {
        let view = View::look(machines.session)?;
        Ok(Self { machines, view, claims: Claims::default(), only: Some(parts.to_vec()) })
    }

    /// All that would be removed, in the order in which it goes.
    pub fn objects(&self) -> Vec<Object> {
        self.ours(&self.view, &self.claims)
    }

    /// What belongs to the cluster in all likelihood, but not for sure, a line each: it stays.
    pub fn doubtful(&self) -> &[String] {
        &self.claims.doubtful
    }

    fn ours(&self, view: &View, claims: &Claims) -> Vec<Object> {
        let all = view.all_ours(&self.machines.mark).into_iter().filter(|object| self.is_meant(object));
        claims.ours.iter().cloned().chain(all).collect()
    }

    fn is_meant(&self, object: &Object) -> bool {
        let is_of_machine = matches!(object.kind, Kind::Server | Kind::Port | Kind::FloatingIp);
        self.only.as_ref().is_none_or(|only| is_of_machine && only.contains(&object.part))
    }

    /// What of it others use, so that it could not be removed, or only to their harm: a sentence each.
    pub fn uses(&self) -> Vec<String> {
        let mark = &self.machines.mark;
        let meant = |kind| self.view.ours(kind, mark).into_iter().filter(|object| self.is_meant(object));
        let ids = |kind| meant(kind).map(|object| object.id).collect::<Vec<_>>();
        let (networks, routers, servers) = (ids(Kind::Network), ids(Kind::Router), ids(Kind::Server));
        let groups = ids(Kind::SecurityGroup);
        let text = |object: &Value, key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let mut uses = Vec::new();
        for port in self.view.all(Kind::Port) {
            let (owner, device) = (text(port, "device_owner"), text(port, "device_id"));
            let shown = Object::of(Kind::Port, port.clone(), String::new()).shown();
            // They go with their load balancers.
            if self.claims.ours.iter().any(|claim| claim.text("vip_port_id") == text(port, "id")) {
                continue;
            }
            if let Some(part) = mark.part_of(port) {
                if !self.is_meant(&Object::of(Kind::Port, port.clone(), part)) {
                    continue;
                }
                if owner.starts_with("compute:") && !device.is_empty() && !servers.contains(&device) {
                    uses.push(format!(
                        "{shown} is the cluster's, but in use by the server {device}, which is not"
                    ));
                }
                continue;
            }
            let is_neutrons = NEUTRONS_OWN.contains(&owner.as_str());
            let of_network = networks.contains(&text(port, "network_id"));
            if routers.contains(&device) {
                // What a router has outside, and its inner ports, go with it; a subnet that somebody has joined to it does not.
                if owner.starts_with("network:router_interface") && !of_network {
                    uses.push(format!(
                        "{shown} joins a network of somebody else's to the cluster's router {device}"
                    ));
                }
            } else if of_network && !is_neutrons {
                uses.push(format!(
                    "{shown} of somebody else's ({owner} {device}) is in the cluster's network"
                ));
            }
            let its_groups =
                port["security_groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
            for group in its_groups.filter(|group| groups.iter().any(|ours| ours == group)) {
                uses.push(format!("{shown} of somebody else's has the cluster's security group {group}"));
            }
        }
        let ports = ids(Kind::Port);
        for address in meant(Kind::FloatingIp) {
            let port = address.text("port_id");
            if !port.is_empty() && !ports.iter().any(|ours| ours == port) {
                uses.push(format!(
                    "{} is the cluster's, but leads to the port {port}, which is not",
                    address.shown()
                ));
            }
        }
        uses
    }

    /// Removes everything, and looks until there is nothing.
    ///
    /// # Errors
    /// Others use something of it (then nothing was removed), or something cannot be removed.
    pub fn perform(self) -> Result<(), MachinesError> {
        let uses = self.uses();
        if !uses.is_empty() {
            return Err(MachinesError::Used(uses));
        }
        let machines = self.machines;
        let mut ours = self.objects();
        let mut fewest = usize::MAX;
        let mut moved = Instant::now();
        loop {
            if ours.is_empty() {
                return Ok(());
            }
            if ours.len() < fewest {
                (fewest, moved) = (ours.len(), Instant::now());
            }
            let refusals = machines.remove(&ours)?;
            // What will not be done however often it is asked for ends it, but only when everything else was tried.
            let is_lasting = |(_, error): &&(Object, CloudError)| {
                error.refusal().is_some_and(|refusal| refusal.status != 409)
            };
            let told = |(object, error): &(Object, CloudError)| {
                format!("{} could not be removed: {error}", object.shown())
            };
            if refusals.iter().any(|refusal| is_lasting(&refusal)) || moved.elapsed() > PATIENCE {
                let mut lines: Vec<String> = refusals.iter().map(told).collect();
                if lines.is_empty() {
                    lines = ours.iter().map(|object| format!("{} is still there", object.shown())).collect();
                }
                return Err(MachinesError::Left(lines));
            }
            let view = View::look(machines.session)?;
            let claims =
                if self.claims.ours.is_empty() { Claims::default() } else { Claims::look(machines, &view)? };
            ours = self.ours(&view, &claims);
            if !ours.is_empty() {
                thread::sleep(PAUSE);
            }
        }
    }
}

impl Machines<'_> {
    /// Asks for the removal of objects, kind by kind. Returns those that the cloud refused to remove now.
    fn remove(&self, ours: &[Object]) -> Result<Vec<(Object, CloudError)>, MachinesError> {
        let of =
            |kinds: &[Kind]| ours.iter().filter(|object| kinds.contains(&object.kind)).collect::<Vec<_>>();
        let stages: [&[Kind]; 7] = [
            // What leads to machines, and what is attached to them, before and after them.
            &[Kind::LoadBalancer],
            &[Kind::Server, Kind::FloatingIp],
            &[Kind::Volume],
            &[Kind::Port],
            &[Kind::Router],
            &[Kind::Subnet],
            &[Kind::Network, Kind::SecurityGroup, Kind::KeyPair],
        ];
        let mut refusals = Vec::new();
        for stage in stages {
            let objects = of(stage);
            let answers = each(&objects, |object| {
                (self.tell)(&format!("removing {} {}", object.kind, object.name));
                self.remove_one(object)
            });
            for (object, answer) in objects.iter().zip(answers) {
                if let Err(error) = answer {
                    refusals.push(((*object).clone(), error));
                }
            }
            // Their ports are in use until they have ended.
            if stage.contains(&Kind::Server) {
                self.wait_until_gone(&of(&[Kind::Server]))?;
            }
        }
        Ok(refusals)
    }

    fn remove_one(&self, object: &Object) -> Result<(), CloudError> {
        let form = object.kind.form();
        let is_interface =
            object.kind == Kind::Port && object.text("device_owner").starts_with("network:router_interface");
        if is_interface || object.text("device_owner") == "network:ha_router_replicated_interface" {
            // The port goes with it.
            let path = format!("/routers/{}/remove_router_interface", object.text("device_id"));
            return match self.session.put(Service::Network, &path, &json!({"port_id": object.id})) {
                Err(error) if error.has_status(404) => Ok(()),
                answer => answer.map(drop),
            };
        }
        // With its listeners and pools.
        let cascade = if object.kind == Kind::LoadBalancer { "?cascade=true" } else { "" };
        self.session.delete(form.service, &format!("{}/{}{cascade}", form.path, object.id))
    }
}
