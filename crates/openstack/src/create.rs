//! Making what is not there yet.
//!
//! Everything that is the cluster's is looked for first, so a second run makes nothing, and one after a run that was cut off makes
//! the rest. What the cloud refuses ends the run; what was made until then carries the cluster's mark.

use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{CloudError, Service};
use crate::declaration::{Declaration, Network};
use crate::kind::Kind;
use crate::machines::{Listed, Machines, MachinesError};
use crate::parallel::each;
use crate::resolve::Resolved;
use crate::rules::{Group, Rule, Sender, rules};
use crate::view::{Object, View};
use crate::wanted::{Wanted, wanted};

/// How often something is made anew whose making had no clear end.
const ATTEMPTS: u32 = 4;
/// How long until it is looked whether it was made after all.
const BEFORE_LOOKING: Duration = Duration::from_secs(2);
/// How often servers are looked at while they are built.
const POLL: Duration = Duration::from_secs(2);
/// How long servers are waited for since one of them last changed.
const PATIENCE: Duration = Duration::from_secs(900);

/// What all machines share.
struct Shared {
    key: String,
    network: String,
    /// The ids of the security groups, in the order of [`Group::ALL`].
    groups: Vec<String>,
}

/// What the declaration asks for, found to be possible, with nothing made yet.
pub struct Creation<'a> {
    machines: &'a Machines<'a>,
    declaration: &'a Declaration,
    view: View,
    resolved: Resolved,
}

impl<'a> Creation<'a> {
    /// Looks at what there is, and finds what the declaration names.
    ///
    /// # Errors
    /// The declaration names what is not in the cloud, or what was made is there twice.
    pub fn prepare(machines: &'a Machines<'a>, declaration: &'a Declaration) -> Result<Self, MachinesError> {
        let view = View::look(machines.session)?;
        let resolved = Resolved::find(machines.session, declaration, &view)?;
        machines.refuse_twins(&view)?;
        Ok(Self { machines, declaration, view, resolved })
    }

    /// Makes what is not there. Returns the machines, of which those that are wanted run.
    ///
    /// # Errors
    /// Something could not be made, or does not run.
    pub fn perform(self) -> Result<Vec<Listed>, MachinesError> {
        let Self { machines, declaration, view, resolved } = self;
        let wanted = wanted(declaration);
        let shared = machines.shared(declaration, &resolved, &view)?;
        let ports = machines.ports(&wanted, &shared, &view)?;
        machines.floating_ips(&wanted, &ports, &resolved, &view)?;
        machines.servers(&wanted, &ports, &shared, &resolved, &view)?;
        let view = machines.wait(&wanted)?;
        Ok(machines.listed(declaration, &view))
    }
}

impl Machines<'_> {
    /// Two objects for the same purpose: nobody can say which of them is the right one.
    fn refuse_twins(&self, view: &View) -> Result<(), MachinesError> {
        for kind in Kind::ALL {
            let ours = view.ours(kind, &self.mark);
            for (index, one) in ours.iter().enumerate() {
                let has_run = |object: &Object| kind != Kind::Server || !never_ran(object);
                let twin = ours[..index].iter().find(|other| other.part == one.part && has_run(other));
                if let Some(twin) = twin.filter(|_| has_run(one)) {
                    return Err(MachinesError::Unexpected(format!(
                        "there are two objects for {:?} of the cluster {}: {} and {}; delete one of them with the cloud's own tools",
                        one.part,
                        self.cluster,
                        twin.shown(),
                        one.shown()
                    )));
                }
            }
        }
        Ok(())
    }

    /// The key pair, the network and the security groups, at the same time.
    fn shared(
        &self,
        declaration: &Declaration,
        resolved: &Resolved,
        view: &View,
    ) -> Result<Shared, MachinesError> {
        thread::scope(|scope| {
            let key = scope.spawn(|| self.key(declaration, view));
            let groups = scope.spawn(|| self.groups(declaration, view));
            let network = self.network(declaration, resolved, view);
            let key = key.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let groups = groups.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok(Shared { key: key?, network: network?, groups: groups? })
        })
    }

    fn key(&self, declaration: &Declaration, view: &View) -> Result<String, MachinesError> {
        let name = self.mark.key_name(&self.cluster);
        if let Some(key) = view.ours(Kind::KeyPair, &self.mark).into_iter().next() {
            // Without the comment, which nova may leave away.
            let material = |text: &str| text.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
            if material(key.text("public_key")) != material(&declaration.public_key) {
                (self.tell)(&format!(
                    "{} holds another public key than the declaration; machines keep the key that they were made with",
                    key.shown()
                ));
            }
            return Ok(key.id);
        }
        let body = json!({"name": name, "public_key": declaration.public_key});
        Ok(self.make(Kind::KeyPair, "key", &name, body)?.id)
    }

    /// The network's id.
    fn network(
        &self,
        declaration: &Declaration,
        resolved: &Resolved,
        view: &View,
    ) -> Result<String, MachinesError> {
        let (range, dns) = match (&declaration.network, &resolved.network) {
            (Network::Own { range, dns, .. }, _) => (range, dns),
            (Network::Existing(_), id) => return Ok(id.clone().unwrap_or_default()),
        };
        let name = &self.cluster;
        let network = self.ensure(Kind::Network, "network", view, json!({"name": name}))?;
        // The first address is the router's.
        let gateway = range.hosts().next().unwrap_or(range.network()).to_string();
        let subnet = json!({
            "name": name, "network_id": network.id, "ip_version": 4, "cidr": range.to_string(),
            "gateway_ip": gateway, "dns_nameservers": dns,
        });
        let subnet = self.ensure(Kind::Subnet, "subnet", view, subnet)?;
        let router = match &resolved.router {
            Some(id) => id.clone(),
            None => {
                let outside = json!({"network_id": resolved.external});
                self.ensure(
                    Kind::Router,
                    "router",
                    view,
                    json!({"name": name, "external_gateway_info": outside}),
                )?
                .id
            }
        };
        // A port of our own, and not one that the router makes: it carries the mark, also in somebody else's router.
        let fixed = json!([{"subnet_id": subnet.id, "ip_address": gateway}]);
        let port = json!({"name": format!("{name}-router"), "network_id": network.id, "fixed_ips": fixed});
        let port = self.ensure(Kind::Port, "router-port", view, port)?;
        if port.text("device_id") != router {
            self.join(&port, &router)?;
        }
        Ok(network.id)
    }

    /// Makes the port the router's way into the network.
    fn join(&self, port: &Object, router: &str) -> Result<(), MachinesError> {
        let path = format!("/routers/{router}/add_router_interface");
        let Err(source) = self.session.put(Service::Network, &path, &json!({"port_id": port.id})) else {
            return Ok(());
        };
        // Where an answer was lost, the second request is refused, because the first one has done it.
        let ports = View::look_at(self.session, &[Kind::Port])?.ours(Kind::Port, &self.mark);
        if ports.iter().any(|other| other.id == port.id && other.text("device_id") == router) {
            return Ok(());
        }
        Err(MachinesError::Making { what: "the router's way into the network".into(), source })
    }

    /// The security groups' ids, in the order of [`Group::ALL`], with exactly the rules that are wanted.
    fn groups(&self, declaration: &Declaration, view: &View) -> Result<Vec<String>, MachinesError> {
        let group = |group: &Group| {
            let name = format!("{}-{}", self.cluster, group.part());
            self.ensure(Kind::SecurityGroup, group.part(), view, json!({"name": name}))
        };
        let mut groups = each(&Group::ALL, group).into_iter().collect::<Result<Vec<_>, _>>()?;
        let wanted = rules(&declaration.allow, declaration.network_plugin);
        let mut attempt = 1;
        while let Err(source) = self.make_rules(&wanted, &groups) {
            if !source.is_unclear() || attempt == ATTEMPTS {
                return Err(MachinesError::Making {
                    what: "the rules of the security groups".into(),
                    source,
                });
            }
            thread::sleep(BEFORE_LOOKING * attempt);
            attempt += 1;
            let there =
                View::look_at(self.session, &[Kind::SecurityGroup])?.ours(Kind::SecurityGroup, &self.mark);
            for group in &mut groups {
                if let Some(now) = there.iter().find(|now| now.id == group.id) {
                    *group = now.clone();
                }
            }
        }
        Ok(groups.into_iter().map(|group| group.id).collect())
    }

    /// Makes the rules that are missing, those of a group in one request, which neutron does as a whole or not at all; and removes
    /// those that are not wanted any more. Only rules with the mark count: what somebody has added, and what neutron gives each group, is left alone.
    fn make_rules(&self, wanted: &[Rule], groups: &[Object]) -> Result<(), CloudError> {
        let there = groups.iter().filter_map(|group| group.body["security_group_rules"].as_array()).flatten();
        let there: Vec<(String, &str)> =
            there.filter_map(|rule| Some((self.mark.part_of(rule)?, rule["id"].as_str()?))).collect();
        let is_missing = |rule: &&Rule| there.iter().all(|(part, _)| *part != rule.part());
        for group in Group::ALL {
            let missing = wanted.iter().filter(|rule| rule.group == group).filter(is_missing);
            let missing: Vec<Value> = missing.map(|rule| self.rule(rule, groups)).collect();
            if !missing.is_empty() {
                let body = json!({"security_group_rules": missing});
                self.session.post(Service::Network, "/security-group-rules", &body)?;
                (self.tell)(&format!("{} for {}", count(missing.len(), "rule"), group.part()));
            }
        }
        let is_surplus = |(part, _): &&(String, &str)| wanted.iter().all(|rule| rule.part() != *part);
        let surplus: Vec<&str> = there.iter().filter(is_surplus).map(|(_, id)| *id).collect();
        let remove =
            |id: &&str| self.session.delete(Service::Network, &format!("/security-group-rules/{id}"));
        each(&surplus, remove).into_iter().collect::<Result<(), _>>()?;
        if !surplus.is_empty() {
            (self.tell)(&format!(
                "{} that the declaration does not want any more: removed",
                count(surplus.len(), "rule")
            ));
        }
        Ok(())
    }

    fn rule(&self, rule: &Rule, groups: &[Object]) -> Value {
        let id = |group: Group| {
            let at = Group::ALL.iter().position(|other| *other == group);
            at.and_then(|at| groups.get(at)).map(|group| group.id.clone())
        };
        let mut body = json!({
            "security_group_id": id(rule.group), "direction": "ingress", "ethertype": "IPv4", "protocol": rule.protocol,
            "description": self.mark.description(&rule.part()),
        });
        if let Some((first, last)) = rule.ports {
            body["port_range_min"] = first.into();
            body["port_range_max"] = last.into();
        }
        match &rule.sender {
            Sender::Range(range) => body["remote_ip_prefix"] = range.to_string().into(),
            Sender::Group(group) => body["remote_group_id"] = json!(id(*group)),
        }
        body
    }

    /// The ports of the machines, in their order.
    fn ports(
        &self,
        machines: &[Wanted<'_>],
        shared: &Shared,
        view: &View,
    ) -> Result<Vec<Object>, MachinesError> {
        let there = view.ours(Kind::Port, &self.mark);
        let port = |machine: &Wanted<'_>| {
            let its = |group: &&Group| machine.groups().contains(group);
            let groups =
                Group::ALL.iter().zip(&shared.groups).filter(|(group, _)| its(group)).map(|(_, id)| id);
            let groups: Vec<&String> = groups.collect();
            let body = json!({
                "name": machine.name(&self.cluster), "network_id": shared.network, "security_groups": groups,
            });
            self.ensure_among(Kind::Port, &machine.part, &there, body)
        };
        each(machines, port).into_iter().collect()
    }

    fn floating_ips(
        &self,
        machines: &[Wanted<'_>],
        ports: &[Object],
        resolved: &Resolved,
        view: &View,
    ) -> Result<(), MachinesError> {
        let there = view.ours(Kind::FloatingIp, &self.mark);
        let of_others: Vec<&str> = view
            .all(Kind::Port)
            .filter(|port| self.mark.part_of(port).is_none())
            .filter_map(|port| port["id"].as_str())
            .collect();
        let all: Vec<(&Wanted<'_>, &Object)> =
            machines.iter().zip(ports).filter(|(machine, _)| machine.pool.floating_ip).collect();
        let floating_ip = |(machine, port): &(&Wanted<'_>, &Object)| {
            let body = json!({"floating_network_id": resolved.external, "port_id": port.id});
            let address = self.ensure_among(Kind::FloatingIp, &machine.part, &there, body)?;
            let leads_to = address.text("port_id");
            if leads_to == port.id {
                return Ok(());
            }
            if of_others.contains(&leads_to) {
                return Err(MachinesError::Unexpected(format!(
                    "{} of the machine {} leads to a port of somebody else's ({leads_to}); it stays there. Give that one another \
                     address, or take the tag {} off this one",
                    address.shown(),
                    machine.name(&self.cluster),
                    self.mark.tag()
                )));
            }
            let path = format!("/floatingips/{}", address.id);
            let moved =
                self.session.put(Service::Network, &path, &json!({"floatingip": {"port_id": port.id}}));
            moved.map(drop).map_err(|source| MachinesError::Making {
                what: format!("the way of {}", address.shown()),
                source,
            })
        };
        each(&all, floating_ip).into_iter().collect()
    }

    fn servers(
        &self,
        machines: &[Wanted<'_>],
        ports: &[Object],
        shared: &Shared,
        resolved: &Resolved,
        view: &View,
    ) -> Result<(), MachinesError> {
        let there = view.ours(Kind::Server, &self.mark);
        // What an earlier run could not bring up never was a machine.
        let failed: Vec<&Object> = there.iter().filter(|server| never_ran(server)).collect();
        if !failed.is_empty() {
            for server in &failed {
                (self.tell)(&format!("{} never ran: made anew", server.shown()));
            }
            for answer in each(&failed, |server| {
                self.session.delete(Service::Compute, &format!("/servers/{}", server.id))
            }) {
                answer?;
            }
            self.wait_for_end(&failed)?;
        }
        let runs = |part: &str| there.iter().any(|server| server.part == part && !never_ran(server));
        let missing: Vec<(&Wanted<'_>, &Object)> =
            machines.iter().zip(ports).filter(|(machine, _)| !runs(&machine.part)).collect();
        let server = |(machine, port): &(&Wanted<'_>, &Object)| {
            let name = machine.name(&self.cluster);
            let mut body = json!({
                "name": name,
                "flavorRef": resolved.flavor(&machine.pool.flavor),
                "imageRef": resolved.image(&machine.pool.image),
                "key_name": shared.key,
                "networks": [{"port": port.id}],
                "metadata": self.mark.metadata(&machine.part),
                "tags": self.mark.tags(&machine.part),
            });
            if let Some(data) = &machine.pool.user_data {
                body["user_data"] = STANDARD.encode(data).into();
            }
            if let Some(zone) = &machine.pool.zone {
                body["availability_zone"] = zone.as_str().into();
            }
            self.make(Kind::Server, &machine.part, &name, body).map(drop)
        };
        each(&missing, server).into_iter().collect()
    }

    /// Waits until servers are gone.
    fn wait_for_end(&self, servers: &[&Object]) -> Result<(), MachinesError> {
        let begun = Instant::now();
        loop {
            let view = View::look_at(self.session, &[Kind::Server])?;
            let is_left =
                |server: &&&Object| view.all(Kind::Server).any(|other| other["id"] == server.id.as_str());
            let Some(left) = servers.iter().find(is_left) else { return Ok(()) };
            if begun.elapsed() > PATIENCE {
                return Err(MachinesError::Left(vec![format!(
                    "{} is being deleted, but does not end",
                    left.shown()
                )]));
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until all machines run.
    fn wait(&self, machines: &[Wanted<'_>]) -> Result<View, MachinesError> {
        let mut running = 0;
        let mut moved = Instant::now();
        loop {
            let view = View::look_at(self.session, &[Kind::Server, Kind::Port, Kind::FloatingIp])?;
            let servers = view.ours(Kind::Server, &self.mark);
            let state = |machine: &Wanted<'_>| {
                servers
                    .iter()
                    .find(|server| server.part == machine.part)
                    .map_or("", |server| server.text("status"))
            };
            let active = machines.iter().filter(|machine| state(machine) == "ACTIVE").count();
            // A server that was made a moment ago may be in no list yet.
            let is_on_its_way =
                |machine: &&Wanted<'_>| matches!(state(machine), "BUILD" | "" | "REBOOT" | "HARD_REBOOT");
            if active > running {
                (running, moved) = (active, Instant::now());
                (self.tell)(&format!("{active} of {} machines run", machines.len()));
            }
            if active == machines.len() {
                return Ok(view);
            }
            let pending = machines.iter().filter(is_on_its_way).count();
            if pending == 0 || moved.elapsed() > PATIENCE {
                let words = |machine: &Wanted<'_>| {
                    let server = servers.iter().find(|server| server.part == machine.part);
                    let fault = server
                        .and_then(|server| server.body["fault"]["message"].as_str())
                        .unwrap_or_default();
                    let state = if state(machine).is_empty() { "is in no list" } else { state(machine) };
                    let why = if fault.is_empty() { String::new() } else { format!(": {fault}") };
                    format!("the machine {} does not run, but is {state}{why}", machine.name(&self.cluster))
                };
                let not_running = machines.iter().filter(|machine| state(machine) != "ACTIVE").map(words);
                return Err(MachinesError::NotRunning(not_running.collect()));
            }
            thread::sleep(POLL);
        }
    }

    /// The cluster's object of this kind and purpose: the one that is there, or a new one. What is shared has the cluster's name.
    fn ensure(&self, kind: Kind, part: &str, view: &View, body: Value) -> Result<Object, MachinesError> {
        self.ensure_among(kind, part, &view.ours(kind, &self.mark), body)
    }

    fn ensure_among(
        &self,
        kind: Kind,
        part: &str,
        there: &[Object],
        mut body: Value,
    ) -> Result<Object, MachinesError> {
        let object = match there.iter().find(|object| object.part == part) {
            Some(object) => object.clone(),
            None => {
                body["description"] = self.mark.description(part).into();
                let name = body["name"].as_str().unwrap_or_default().to_owned();
                self.make(kind, part, &name, body)?
            }
        };
        if !self.mark.is_tagged(&object.body, part) {
            let others = object.body["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned);
            let mut tags: Vec<String> = others.chain(self.mark.tags(part)).collect();
            tags.sort();
            tags.dedup();
            let path = format!("{}/{}/tags", kind.form().path, object.id);
            let tagged = self.session.put(Service::Network, &path, &json!({"tags": tags}));
            tagged.map_err(|source| MachinesError::Making {
                what: format!("the tags of {}", object.shown()),
                source,
            })?;
        }
        Ok(object)
    }

    /// Makes an object. Where it is not clear whether it was made, it is looked for before it is made once more.
    fn make(&self, kind: Kind, part: &str, name: &str, body: Value) -> Result<Object, MachinesError> {
        let form = kind.form();
        let body = json!({form.one: body});
        let what = || format!("the {kind} {}", if name.is_empty() { part } else { name });
        let mut attempt = 1;
        loop {
            let source = match self.session.post(form.service, form.path, &body) {
                Ok(mut answer) => {
                    let made = Object::of(kind, answer[form.one].take(), part.to_owned());
                    let name = if made.name.is_empty() { name } else { &made.name };
                    (self.tell)(&format!("{kind} {name}"));
                    return Ok(made);
                }
                Err(source) => source,
            };
            if !source.is_unclear() || attempt == ATTEMPTS {
                return Err(MachinesError::Making { what: what(), source });
            }
            (self.tell)(&format!("{}: {source}; looking whether it was made", what()));
            thread::sleep(BEFORE_LOOKING * attempt);
            let there = View::look_at(self.session, &[kind])?.ours(kind, &self.mark);
            if let Some(made) = there.into_iter().find(|object| object.part == part) {
                return Ok(made);
            }
            attempt += 1;
        }
    }
}

/// Whether a server failed before it was ever started.
pub(crate) fn never_ran(server: &Object) -> bool {
    server.text("status") == "ERROR" && server.body["OS-SRV-USG:launched_at"].is_null()
}

/// `1 rule`, `2 rules`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

impl MachinesError {
    /// The cloud's refusal, if that is what it was.
    pub fn cloud(&self) -> Option<&CloudError> {
        match self {
            Self::Cloud(source) | Self::Making { source, .. } => Some(source),
            _ => None,
        }
    }
}
