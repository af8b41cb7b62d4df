//! The inventory of the machines, as `setup-cluster` reads it.

use std::fmt::Write;

use crate::declaration::{Declaration, Machinery, Role, variable_of};
use crate::folder::quoted;
use crate::machines::Listed;

/// The text of `inventory/hosts.yml`: the machines in the groups of their roles, in this order, each with the address that it is
/// reached at, and what the declaration says of all of them. What has no floating IP is reached by way of the first machine that has one.
pub fn inventory_text(declaration: &Declaration, machines: &[&Listed]) -> String {
    let gate = machines.iter().find_map(|machine| machine.floating_ip.as_deref());
    let user = &declaration.user;
    let mut text = String::from(
        "# Written by muster machines create and muster cluster apply, which write it anew. Variables of your own belong into\n\
         # group_vars/ beside this file.\n\
         all:\n  hosts:\n",
    );
    for machine in machines {
        let own = machine.address.as_deref().unwrap_or_default();
        let mut line = |text_of_line: &str| writeln!(text, "{text_of_line}").unwrap_or_default();
        line(&format!("    {}:", machine.name));
        line(&format!("      ansible_host: {}", machine.floating_ip.as_deref().unwrap_or(own)));
        line(&format!("      ip: {own}"));
        if let Some(gate) = gate.filter(|_| machine.floating_ip.is_none()) {
            line(&format!("      ansible_ssh_common_args: {}", quoted(&format!("-J {user}@{gate}"))));
        }
        let pool = declaration.pool_of(&machine.part);
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
    text.push_str(&settings(declaration));
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
    let plugin = declaration.settings.network_plugin.word();
    text.push_str(&format!(
        "    k8s_cluster:\n      children:\n        kube_control_plane:\n        kube_node:\n      vars:\n        \
         kube_network_plugin: {plugin}\n"
    ));
    text
}

/// What the declaration says of all machines, as variables. JSON is YAML.
fn settings(declaration: &Declaration) -> String {
    let settings = &declaration.settings;
    let mut lines = String::new();
    let mut line =
        |name: &str, value: &str| writeln!(lines, "    {}: {value}", quoted(name)).unwrap_or_default();
    if let Some(version) = &settings.kubernetes_version {
        line("kube_version", &quoted(version));
    }
    for app in &settings.apps {
        line(&variable_of(&app.name), "true");
    }
    for (name, value) in &settings.variables {
        line(name, &value.to_string());
    }
    lines
}

impl Declaration {
    /// The image that a machine which exists is to get.
    pub fn image_of(&self, part: &str) -> Option<&str> {
        match &self.pool_of(part)?.machinery {
            Machinery::Existing { image, .. } => image.as_deref(),
            Machinery::Made(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::tests::{EXISTING, GOOD, read};

    fn machine(part: &str, role: Role, floating: Option<&str>) -> Listed {
        Listed {
            name: format!("shop-{part}"),
            part: part.to_owned(),
            roles: vec![role],
            state: "ACTIVE".into(),
            id: "1".into(),
            address: Some(format!("10.8.0.{}", part.len())),
            floating_ip: floating.map(str::to_owned),
            image: None,
            differs: None,
            is_wanted: true,
        }
    }

    #[test]
    fn machines_are_in_the_groups_of_their_roles_and_those_without_an_address_outside_have_a_way() {
        let declaration = read(GOOD).unwrap();
        let machines = [
            machine("cp-1", Role::ControlPlane, Some("203.0.113.9")),
            machine("worker-1", Role::Worker, None),
        ];
        let text = inventory_text(&declaration, &machines.iter().collect::<Vec<_>>());
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
        let without_comments: String =
            text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        assert_eq!(without_comments, expected);
    }

    #[test]
    fn what_the_cluster_is_to_be_is_written_as_variables() {
        let declaration = read(&format!(
            "{EXISTING}kubernetes_version: v1.36.3\napps: [metrics-server]\nvariables:\n  dns: [a, 1]\n  quota: {{cpu: '2'}}\n  text: '{{{{ ip }}}}: x'\n"
        ))
        .unwrap();
        let worker = machine("worker-192-0-2-12", Role::Worker, None);
        let text = inventory_text(&declaration, &[&worker]);
        let variables = "\
    \"kube_version\": \"1.36.3\"
    \"metrics_server_enabled\": true
    \"dns\": [\"a\",1]
    \"quota\": {\"cpu\":\"2\"}
    \"text\": \"{{ ip }}: x\"
  children:
";
        assert!(text.contains(variables), "{text}");
    }
}
