//! The inventory of the machines, as `setup-cluster` reads it.

use std::fmt::Write;

use crate::declaration::{Declaration, Role};
use crate::folder::quoted;
use crate::machines::Listed;

/// The text of `inventory/hosts.yml`: machines in the groups of their roles, in the order of the pools, each with the address that
/// it is reached at. What has no floating IP is reached by way of the first machine that has one. Machines that the declaration
/// does not want any more are not in it.
pub fn inventory_text(declaration: &Declaration, machines: &[Listed]) -> String {
    let machines: Vec<&Listed> = machines.iter().filter(|machine| machine.is_wanted).collect();
    let gate = machines.iter().find_map(|machine| machine.floating_ip.as_deref());
    let user = &declaration.user;
    let mut text = String::from(
        "# Written by muster machines create, which writes it anew. Variables of your own belong into group_vars/ beside this file.\n\
         all:\n  hosts:\n",
    );
    for machine in &machines {
        let own = machine.address.as_deref().unwrap_or_default();
        let mut line = |text_of_line: &str| writeln!(text, "{text_of_line}").unwrap_or_default();
        line(&format!("    {}:", machine.name));
        line(&format!("      ansible_host: {}", machine.floating_ip.as_deref().unwrap_or(own)));
        line(&format!("      ip: {own}"));
        if let Some(gate) = gate.filter(|_| machine.floating_ip.is_none()) {
            line(&format!("      ansible_ssh_common_args: {}", quoted(&format!("-J {user}@{gate}"))));
        }
        let pool = declaration.pools.iter().find(|pool| is_of_pool(&machine.part, &pool.name));
        if let Some(pool) = pool.filter(|pool| !pool.labels.is_empty()) {
            line("      node_labels:");
            for (key, value) in &pool.labels {
                line(&format!("        {}: {}", quoted(key), quoted(value)));
            }
        }
        if let Some(pool) = pool.filter(|pool| !pool.taints.is_empty()) {
            let taints: Vec<String> = pool.taints.iter().map(|taint| quoted(taint)).collect();
            line(&format!("      node_taints: [{}]", taints.join(", ")));
        }
    }
    writeln!(text, "  vars:\n    ansible_user: {}", quoted(user)).unwrap_or_default();
    if let Some(key) = &declaration.private_key {
        writeln!(text, "    ansible_ssh_private_key_file: {}", quoted(key)).unwrap_or_default();
    }
    text.push_str("  children:\n");
    let mut group = |name: &str, role: Role| {
        writeln!(text, "    {name}:\n      hosts:").unwrap_or_default();
        for machine in machines.iter().filter(|machine| machine.roles.contains(&role)) {
            writeln!(text, "        {}:", machine.name).unwrap_or_default();
        }
    };
    group("kube_control_plane", Role::ControlPlane);
    group("etcd", Role::ControlPlane);
    group("kube_node", Role::Worker);
    let plugin = declaration.network_plugin.word();
    text.push_str(&format!(
        "    k8s_cluster:\n      children:\n        kube_control_plane:\n        kube_node:\n      vars:\n        \
         kube_network_plugin: {plugin}\n"
    ));
    text
}

fn is_of_pool(part: &str, pool: &str) -> bool {
    part.strip_prefix(pool)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::tests::{GOOD, read};

    #[test]
    fn machines_are_in_the_groups_of_their_roles_and_those_without_an_address_outside_have_a_way() {
        let declaration = read(GOOD).unwrap();
        let machine = |part: &str, role, floating: Option<&str>| Listed {
            name: format!("shop-{part}"),
            part: part.to_owned(),
            roles: vec![role],
            state: "ACTIVE".into(),
            id: "1".into(),
            address: Some(format!("10.8.0.{}", part.len())),
            floating_ip: floating.map(str::to_owned),
            is_wanted: part != "worker-2",
        };
        let machines = [
            machine("cp-1", Role::ControlPlane, Some("203.0.113.9")),
            machine("worker-1", Role::Worker, None),
            machine("worker-2", Role::Worker, None),
        ];
        let text = inventory_text(&declaration, &machines);
        let expected = "\
all:
  hosts:
    shop-cp-1:
      ansible_host: 203.0.113.9
      ip: 10.8.0.4
    shop-worker-1:
      ansible_host: 10.8.0.8
      ip: 10.8.0.8
      ansible_ssh_common_args: \"-J debian@203.0.113.9\"
      node_labels:
        \"disk\": \"ssd\"
      node_taints: [\"gpu=yes:NoSchedule\"]
  vars:
    ansible_user: \"debian\"
  children:
    kube_control_plane:
      hosts:
        shop-cp-1:
    etcd:
      hosts:
        shop-cp-1:
    kube_node:
      hosts:
        shop-worker-1:
    k8s_cluster:
      children:
        kube_control_plane:
        kube_node:
      vars:
        kube_network_plugin: flannel
";
        assert_eq!(text.split_once('\n').unwrap().1, expected);
    }
}
