//! Making what is not there yet.
//!
//! Everything that is the cluster's is looked for first, so a second run makes nothing, and one after a run that was cut off makes
//! the rest. What the cloud refuses ends the run; what was made until then carries the cluster's mark.

mod groups;
mod make;
mod network;
mod servers;

use std::thread;

use serde_json::json;

use crate::client::Service;
use crate::declaration::Declaration;
use crate::kind::Kind;
use crate::machines::{Listed, Machines, MachinesError};
use crate::parallel::{each, joined};
use crate::resolve::Resolved;
use crate::rules::Group;
use crate::view::{Object, View};
use crate::wanted::{Wanted, wanted};

/// What the declaration asks for, found to be possible, with nothing made yet.
pub struct Creation<'a> {
    machines: &'a Machines<'a>,
    declaration: &'a Declaration,
    wanted: Vec<Wanted<'a>>,
    resolved: Resolved,
    view: View,
    /// What of the cluster's was there before.
    there: Vec<Object>,
}

/// What all machines share.
struct Shared {
    key: String,
    network: String,
    /// The ids of the security groups, in the order of [`Group::ALL`].
    groups: Vec<String>,
}

impl<'a> Creation<'a> {
    /// Looks at what there is, and finds what the declaration names.
    ///
    /// # Errors
    /// The declaration names what is not in the cloud, or what was made is there twice.
    pub fn prepare(machines: &'a Machines<'a>, declaration: &'a Declaration) -> Result<Self, MachinesError> {
        let view = View::look(machines.session)?;
        let resolved = Resolved::find(machines.session, declaration, &view)?;
        let there = view.all_ours(&machines.mark);
        machines.refuse_twins(&there)?;
        Ok(Self { machines, declaration, wanted: wanted(declaration), resolved, view, there })
    }

    /// Makes what is not there. Returns the machines, of which those that are wanted run.
    ///
    /// # Errors
    /// Something could not be made, or does not run.
    pub fn perform(self) -> Result<Vec<Listed>, MachinesError> {
        let shared = self.shared()?;
        let ports = self.ports(&shared)?;
        self.floating_ips(&ports)?;
        self.servers(&ports, &shared)?;
        self.wait()?;
        self.machines.list(self.declaration)
    }

    /// The cluster's object of this kind and purpose, if it was there before.
    fn find(&self, kind: Kind, part: &str) -> Option<&Object> {
        self.there.iter().find(|object| object.kind == kind && object.part == part)
    }

    fn tell(&self, line: &str) {
        (self.machines.tell)(line);
    }

    /// The key pair, the network and the security groups, at the same time.
    fn shared(&self) -> Result<Shared, MachinesError> {
        thread::scope(|scope| {
            let key = scope.spawn(|| self.key());
            let groups = scope.spawn(|| self.groups());
            let network = self.network();
            let (key, groups) = (joined(key), joined(groups));
            Ok(Shared { key: key?, network: network?, groups: groups? })
        })
    }

    fn key(&self) -> Result<String, MachinesError> {
        let public_key = &self.declaration.public_key;
        if let Some(key) = self.find(Kind::KeyPair, "key") {
            // Without the comment, which nova may leave away.
            let material = |text: &str| text.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
            if material(key.text("public_key")) != material(public_key) {
                self.tell(&format!(
                    "{} holds another public key than the declaration; machines keep the key that they were made with",
                    key.shown()
                ));
            }
            return Ok(key.id.clone());
        }
        let name = self.machines.mark.key_name(&self.machines.cluster);
        let body = json!({"name": name, "public_key": public_key});
        Ok(self.make(Kind::KeyPair, "key", &name, body)?.id)
    }

    /// The ports of the machines, in their order.
    fn ports(&self, shared: &Shared) -> Result<Vec<Object>, MachinesError> {
        let port = |machine: &Wanted<'_>| {
            let is_in = |group: &Group| machine.groups().contains(group);
            let groups = Group::ALL.iter().zip(&shared.groups);
            let groups: Vec<&String> = groups.filter(|(group, _)| is_in(group)).map(|(_, id)| id).collect();
            let name = machine.name(&self.machines.cluster);
            let body = json!({"name": name, "network_id": shared.network, "security_groups": groups});
            self.ensure(Kind::Port, &machine.part, body)
        };
        each(&self.wanted, port).into_iter().collect()
    }

    /// The floating IPs, each of which leads to the port of its machine.
    fn floating_ips(&self, ports: &[Object]) -> Result<(), MachinesError> {
        let machines = self.wanted.iter().zip(ports).filter(|(machine, _)| machine.pool.floating_ip);
        let floating_ip = |(machine, port): &(&Wanted<'_>, &Object)| {
            let body = json!({"floating_network_id": self.resolved.external, "port_id": port.id});
            let address = self.ensure(Kind::FloatingIp, &machine.part, body)?;
            let leads_to = address.text("port_id");
            if leads_to == port.id {
                return Ok(());
            }
            let is_of_others = |port: &&serde_json::Value| self.machines.mark.part_of(port).is_none();
            let mut of_others = self.view.all(Kind::Port).filter(is_of_others);
            if of_others.any(|port| port["id"] == leads_to) {
                return Err(MachinesError::Unexpected(format!(
                    "{} of the machine {} leads to a port of somebody else's ({leads_to}); it stays there. Give that one another \
                     address, or take the tag {} off this one",
                    address.shown(),
                    machine.name(&self.machines.cluster),
                    self.machines.mark.tag()
                )));
            }
            let path = format!("/floatingips/{}", address.id);
            let body = json!({"floatingip": {"port_id": port.id}});
            let moved = self.machines.session.put(Service::Network, &path, &body);
            moved.map(drop).map_err(|source| MachinesError::Making {
                what: format!("the way of {}", address.shown()),
                source,
            })
        };
        each(&machines.collect::<Vec<_>>(), floating_ip).into_iter().collect()
    }
}

impl Machines<'_> {
    /// Two objects for the same purpose: nobody can say which of them is the right one.
    fn refuse_twins(&self, ours: &[Object]) -> Result<(), MachinesError> {
        let counts = |object: &Object| object.kind != Kind::Server || !object.never_ran();
        let ours: Vec<&Object> = ours.iter().filter(|object| counts(object)).collect();
        for (index, one) in ours.iter().enumerate() {
            let mut before = ours[..index].iter();
            if let Some(twin) = before.find(|other| other.kind == one.kind && other.part == one.part) {
                return Err(MachinesError::Unexpected(format!(
                    "there are two objects for {:?} of the cluster {}: {} and {}; delete one of them with the cloud's own tools",
                    one.part,
                    self.cluster,
                    twin.shown(),
                    one.shown()
                )));
            }
        }
        Ok(())
    }
}
