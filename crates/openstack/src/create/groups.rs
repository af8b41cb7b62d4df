//! The security groups, with exactly the rules that are wanted.

use std::thread;

use serde_json::{Value, json};

use super::Creation;
use super::make::{ATTEMPTS, BEFORE_LOOKING};
use crate::client::{CloudError, Service};
use crate::kind::Kind;
use crate::machines::{MachinesError, count};
use crate::parallel::each;
use crate::rules::{Group, Rule, Sender, rules};
use crate::view::{Object, View};

impl Creation<'_> {
    /// The groups' ids, in the order of [`Group::ALL`].
    pub(super) fn groups(&self) -> Result<Vec<String>, MachinesError> {
        let group = |group: &Group| {
            let name = format!("{}-{}", self.machines.cluster, group.part());
            self.ensure(Kind::SecurityGroup, group.part(), json!({"name": name}))
        };
        let mut groups = each(&Group::ALL, group).into_iter().collect::<Result<Vec<_>, _>>()?;
        let wanted = rules(&self.cloud.allow, self.declaration.settings.network_plugin);
        let mut attempt = 1;
        while let Err(source) = self.rules(&wanted, &groups) {
            if !source.is_unclear() || attempt == ATTEMPTS {
                let what = "the rules of the security groups".into();
                return Err(MachinesError::Making { what, source });
            }
            thread::sleep(BEFORE_LOOKING * attempt);
            attempt += 1;
            let there = View::look_at(self.machines.session, &[Kind::SecurityGroup])?
                .ours(Kind::SecurityGroup, &self.machines.mark);
            for group in &mut groups {
                if let Some(now) = there.iter().find(|now| now.id == group.id) {
                    *group = now.clone();
                }
            }
        }
        Ok(groups.into_iter().map(|group| group.id).collect())
    }

    /// Makes the rules that are missing, those of a group in one request, which neutron does as a whole or not at all; and removes
    /// those that are not wanted any more. Only rules with the mark count: what somebody has added, and what neutron gives each
    /// group, is left alone.
    fn rules(&self, wanted: &[Rule], groups: &[Object]) -> Result<(), CloudError> {
        let session = self.machines.session;
        let there = groups.iter().filter_map(|group| group.body["security_group_rules"].as_array()).flatten();
        let there: Vec<(String, &str)> = there
            .filter_map(|rule| Some((self.machines.mark.part_of(rule)?, rule["id"].as_str()?)))
            .collect();
        let is_missing = |rule: &&Rule| there.iter().all(|(part, _)| *part != rule.part());
        for group in Group::ALL {
            let missing = wanted.iter().filter(|rule| rule.group == group).filter(is_missing);
            let missing: Vec<Value> = missing.map(|rule| self.rule(rule, groups)).collect();
            if !missing.is_empty() {
                let body = json!({"security_group_rules": missing});
                session.post(Service::Network, "/security-group-rules", &body)?;
                self.tell(&format!("{} for {}", count(missing.len(), "rule"), group.part()));
            }
        }
        let is_surplus = |(part, _): &&(String, &str)| wanted.iter().all(|rule| rule.part() != *part);
        let surplus: Vec<&str> = there.iter().filter(is_surplus).map(|(_, id)| *id).collect();
        let remove = |id: &&str| session.delete(Service::Network, &format!("/security-group-rules/{id}"));
        each(&surplus, remove).into_iter().collect::<Result<(), _>>()?;
        if !surplus.is_empty() {
            let surplus = count(surplus.len(), "rule");
            self.tell(&format!("{surplus} that the declaration does not want any more: removed"));
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
            "description": self.machines.mark.description(&rule.part()),
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
}
