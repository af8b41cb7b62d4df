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
use crate::declaration::{CloudSide, Declaration, Made, Pool, Source};
use crate::kind::Kind;
use crate::machines::{Listed, Machines, MachinesError};
use crate::parallel::{each, joined};
use crate::resolve::Resolved;
use crate::rules::Group;
use crate::view::{Object, View};
use crate::wanted::{Wanted, wanted};

/// What the router's port is for.
pub(crate) const ROUTER_PORT: &str = "router-port";

/// What the declaration asks for, found to be possible, with nothing made yet.
pub struct Creation<'a> {
    machines: &'a Machines<'a>,
    declaration: &'a Declaration,
    cloud: &'a CloudSide,
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
    /// Looks at what there is, and finds what the declaration names. What is to be made are the machines that are missing, by the
    /// numbers of those that are there.
    ///
    /// # Errors
    /// The declaration names what is not in the cloud, or is of machines that exist; or what was made is there twice.
    pub fn prepare(machines: &'a Machines<'a>, declaration: &'a Declaration) -> Result<Self, MachinesError> {
        let Source::Cloud(cloud) = &declaration.machines else {
            return Err(MachinesError::Unexpected(
                "the machines of this cluster exist (machines: existing): nothing is made in a cloud".into(),
            ));
        };
        let view = View::look(machines.session)?;
        let resolved = Resolved::find(machines.session, declaration, cloud, &view)?;
        let there = view.all_ours(&machines.mark);
        machines.refuse_twins(&there)?;
        let wanted = wanted(declaration, &machines.there(&view).parts());
        Ok(Self { machines, declaration, cloud, wanted, resolved, view, there })
    }

    /// The same for exactly these machines, by their names within the cluster; those of no pool are passed over.
    #[must_use]
    pub fn of(mut self, parts: &[String]) -> Self {
        let wanted = |part: &String| {
            let pool = self.declaration.pool_of(part)?;
            Some(Wanted { part: part.clone(), pool })
        };
        self.wanted = parts.iter().filter_map(wanted).collect();
        self
    }

    /// The machines as they are, and whether they are as the declaration has them.
    pub fn machines(&self) -> Vec<Listed> {
        let mut listed = self.machines.listed(self.declaration, &self.view, Some(&self.wanted));
        let servers = self.machines.there(&self.view).servers;
        for machine in &mut listed {
            let made = self.declaration.pool_of(&machine.part).and_then(Pool::made);
            let server = servers.iter().find(|server| server.id == machine.id);
            machine.differs = made.zip(server).and_then(|(made, server)| self.difference(made, server));
        }
        listed
    }

    /// Why a server is another one than is declared. nova shows no user data, so nothing is known of those.
    fn difference(&self, made: &Made, server: &Object) -> Option<String> {
        // Since 2.47 the flavor is part of the server, with the name that it had.
        let flavor = server.body["flavor"]["original_name"].as_str().unwrap_or_default();
        let wanted = &self.resolved.flavor(&made.flavor).name;
        if !flavor.is_empty() && flavor != wanted {
            return Some(format!("its flavor is {flavor}, and {wanted} is declared"));
        }
        // A server that was started from a volume has none.
        let image = server.body["image"]["id"].as_str().unwrap_or_default();
        let wanted = self.resolved.image(&made.image);
        if !image.is_empty() && image != wanted.id {
            let old = self
                .resolved
                .image_name(image)
                .map_or_else(|| format!("one that is gone ({image})"), str::to_owned);
            let new = if old == wanted.name {
                format!("another one of that name ({})", wanted.id)
            } else {
                wanted.name.clone()
            };
            return Some(format!("its image is {old}, and {new} is declared"));
        }
        let zone = server.text("OS-EXT-AZ:availability_zone");
        let declared = made.zone.as_deref().filter(|declared| !zone.is_empty() && *declared != zone);
        declared.map(|declared| format!("it is in the zone {zone}, and {declared} is declared"))
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
        let view = View::look_at(self.machines.session, &[Kind::Server, Kind::Port, Kind::FloatingIp])?;
        Ok(self.machines.listed(self.declaration, &view, Some(&self.wanted)))
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
        let public_key = &self.cloud.public_key;
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
        let machines = self
            .wanted
            .iter()
            .zip(ports)
            .filter(|(machine, _)| machine.pool.made().is_some_and(|made| made.floating_ip));
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
