//! Machines named on the command line, without an inventory: what they mean, and the inventory that says the same.

use std::net::IpAddr;

use muster_inventory::{Inventory, LoadOptions, Source, expand_hosts};

use crate::args::ConnectionArgs;
use crate::error::CommandError;
use crate::output::text;

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostArgument {
    /// Its name in the inventory: node1, node2, ... where only an address was given.
    pub(crate) name: String,
    /// Where to log in, where that is not its name.
    pub(crate) address: Option<IpAddr>,
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
}

impl HostArgument {
    /// Where it answers, to tell machines apart: `192.0.2.4`, `alpha:2222`.
    pub(crate) fn place(&self) -> String {
        place(&self.address.map_or_else(|| self.name.clone(), |ip| ip.to_string()), self.port)
    }
}

/// Where a machine answers.
pub(crate) fn place(host: &str, port: Option<u16>) -> String {
    match port.filter(|port| *port != muster_engine::ssh::DEFAULT_PORT) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The machines that some words name: addresses, names, `user@host:port`, and the shorthands `192.0.2.4 .5 .6`,
/// `192.0.2.{4,5,6}`, `192.0.2.[4:6]`, `192.0.2.<4,5,6>`.
///
/// # Errors
/// A word is no host; or the same machine is named twice.
pub(crate) fn parse(words: &[String]) -> Result<Vec<HostArgument>, CommandError> {
    for word in words {
        if let Some(answer) = playbook_of_kubespray(word) {
            return Err(answer);
        }
        if word.contains('/') || std::path::Path::new(word).is_file() {
            let error = CommandError::usage(format!("{word} is the name of a file, not of a machine"));
            return Err(error.hint(format!("if it is an inventory: setup-cluster -i {word}")));
        }
    }
    let entries = expand_hosts(&words.join(" ")).map_err(CommandError::usage)?;
    let mut hosts: Vec<HostArgument> = Vec::new();
    for entry in &entries {
        hosts.push(entry_to_host(entry)?);
    }
    for (at, host) in hosts.iter().enumerate() {
        if hosts[..at].iter().any(|before| before.place() == host.place()) {
            return Err(CommandError::usage(format!("{} is named twice", host.place()))
                .hint("name each machine once"));
        }
    }
    number(&mut hosts);
    Ok(hosts)
}

/// The answer to a command that was written for ansible-playbook: `... -b -v cluster.yml`.
fn playbook_of_kubespray(word: &str) -> Option<CommandError> {
    let name = word.rsplit('/').next().filter(|name| name.ends_with(".yml") || name.ends_with(".yaml"))?;
    let playbook = name.rsplit_once('.').map_or(name, |(playbook, _)| playbook).replace('_', "-");
    let error = |said: &str| CommandError::usage(format!("{word} is a playbook of Ansible; {said}"));
    Some(match playbook.as_str() {
        "cluster" | "scale" => error("setup-cluster needs none")
            .hint("leave it out: setup-cluster -i INVENTORY, with the other options as they are"),
        "facts" => error("facts are read in each run").hint("leave it out; to see them: muster facts"),
        "reset" => error("a command of its own does what it does").hint("reset-cluster -i INVENTORY"),
        "upgrade-cluster" => {
            error("a command of its own does what it does").hint("upgrade-cluster -i INVENTORY")
        }
        "remove-node" => {
            error("a command of its own does what it does").hint("muster remove-node -i INVENTORY HOST")
        }
        "recover-control-plane" => {
            error("a command of its own does what it does").hint("muster recover -i INVENTORY")
        }
        _ => error("playbooks of your own are not run").hint(
            "if it is an inventory: setup-cluster -i FILE; what there is instead of playbooks: muster --help",
        ),
    })
}

fn entry_to_host(entry: &str) -> Result<HostArgument, CommandError> {
    let unreadable = || {
        CommandError::usage(format!(
            "{entry:?} is not a machine: it is neither an address, nor a name, nor user@host:port"
        ))
        .hint("names are letters, digits, dots and hyphens; see setup-cluster --help")
    };
    // The comma makes it a list of hosts whatever it is.
    let one = Inventory::load(&[Source::HostList(format!("{entry},"))], &LoadOptions::default())?;
    let host = one.hosts().next().ok_or_else(unreadable)?;
    let var = |name: &str| host.vars().get(name);
    let address: Option<IpAddr> = host.name().parse().ok();
    // Names of machines (RFC 952, RFC 1123), and underscores, which people use all the same.
    let is_name =
        |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if address.is_none() && (!is_name(host.name()) || host.name().starts_with('-')) {
        return Err(unreadable());
    }
    // The last part of a name is never a number (RFC 3696, 2): this was to be an address.
    if address.is_none() && host.name().rsplit('.').next().is_some_and(is_number) {
        return Err(CommandError::usage(format!("{entry:?} is no address"))
            .hint("an address is four numbers of at most 255, or IPv6"));
    }
    Ok(HostArgument {
        name: if address.is_some() { String::new() } else { host.name().to_owned() },
        address,
        user: var("ansible_user").and_then(|value| value.as_str()).map(str::to_owned),
        port: var("ansible_port").and_then(|value| value.as_i64()).and_then(|port| port.try_into().ok()),
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Gives names to machines that have only an address: node1, node2, ..., passing over names that are taken.
fn number(hosts: &mut [HostArgument]) {
    let taken: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
    let mut names = (1..).map(|number| format!("node{number}")).filter(|name| !taken.contains(name));
    for host in hosts.iter_mut().filter(|host| host.name.is_empty()) {
        host.name = names.next().unwrap_or_default();
    }
}

/// The inventory that says the same as the command line: the first machine is the control plane and holds etcd, all are
/// nodes.
pub(crate) fn inventory_text(hosts: &[HostArgument], command: &str, login: &ConnectionArgs) -> String {
    let mut text = format!(
        "# Written by: {}\n\
         # An inventory in Ansible's form: https://docs.ansible.com/ansible/latest/inventory_guide/intro_inventory.html\n\
         # Change it as you like. The next setup-cluster, without addresses, brings the machines to what it says then.\n\n\
         # The machines. ansible_host: where to log in. ip: the address at which the machines reach each other.\n\
         [all]\n",
        text::harmless(command)
    );
    let width = hosts.iter().map(|host| host.name.len()).max().unwrap_or(0);
    for host in hosts {
        let mut line = text::pad(&host.name, width);
        if let Some(address) = host.address {
            line.push_str(&format!(" ansible_host={address} ip={address}"));
        }
        if let Some(port) = host.port {
            line.push_str(&format!(" ansible_port={port}"));
        }
        if let Some(user) = &host.user {
            line.push_str(&format!(" ansible_user={user}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let first = names.first().copied().unwrap_or_default();
    text.push_str(&format!(
        "\n# Machines of the control plane. The first one begins the cluster.\n[kube_control_plane]\n{first}\n\n\
         # Machines that hold etcd, the cluster's database: 1, 3 or 5.\n[etcd]\n{first}\n\n\
         # Machines that run pods.\n[kube_node]\n{}\n\n\
         [all:vars]\n\
         # Bring admin.conf and kubectl to this computer, into artifacts/ beside this file.\n\
         kubeconfig_localhost=true\n\
         kubectl_localhost=true\n",
        names.join("\n")
    ));
    if let Some(way) = &login.connection {
        text.push_str(&format!(
            "# The way to the machines: local is this computer.\nansible_connection={way}\n"
        ));
    }
    if let Some(user) = &login.user {
        text.push_str(&format!("# The login name, where a machine's line says none.\nansible_user={user}\n"));
    }
    if let Some(key) = &login.private_key {
        let path = std::path::absolute(key).unwrap_or_else(|_| key.clone());
        text.push_str(&format!(
            "# The private key to log in with.\nansible_ssh_private_key_file={}\n",
            path.display()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(typed: &str, expected: &[&str]) {
        let told: Vec<String> = parse(&words(typed))
            .unwrap()
            .iter()
            .map(|host| match &host.user {
                Some(user) => format!("{} {user}@{}", host.name, host.place()),
                None => format!("{} {}", host.name, host.place()),
            })
            .collect();
        assert_eq!(told, expected, "{typed}");
    }

    #[test]
    fn every_way_to_name_machines_means_the_same() {
        let three = ["node1 10.146.225.4", "node2 10.146.225.5", "node3 10.146.225.6"];
        check("10.146.225.4 .5 .6", &three);
        check("10.146.225.{4,5,6}", &three);
        check("10.146.225.[4:6]", &three);
        check("10.146.225.<4,5,6>", &three);
        check("10.146.225.4 10.146.225.5 10.146.225.6", &three);
    }

    #[test]
    fn names_stay_and_numbers_pass_over_them() {
        check("alpha beta.example.org", &["alpha alpha", "beta.example.org beta.example.org"]);
        check("10.0.0.1 node1 10.0.0.2", &["node2 10.0.0.1", "node1 node1", "node3 10.0.0.2"]);
        check("admin@10.0.0.1:2222 .2", &["node1 admin@10.0.0.1:2222", "node2 admin@10.0.0.2"]);
    }

    #[track_caller]
    fn check_error(typed: &str, message: &str) {
        assert_eq!(parse(&words(typed)).unwrap_err().message, message);
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        check_error("10.0.0.1 10.0.0.2 10.0.0.1", "10.0.0.1 is named twice");
        check_error("10.0.0.1 10.0.0.<1,2>", "10.0.0.1 is named twice");
        check_error(
            "10.0.0.<4,5,>",
            "\"10.0.0.<4,5,>\" has nothing at one side of a comma, or between its brackets",
        );
        check_error("inventory/hosts.ini", "inventory/hosts.ini is the name of a file, not of a machine");
        check_error(
            "no$de",
            "\"no$de\" is not a machine: it is neither an address, nor a name, nor user@host:port",
        );
        check_error("10.146.231.300", "\"10.146.231.300\" is no address");
        check_error("admin@10.0.0.1 .256", "\"admin@10.0.0.256\" is no address");
        check_error("10.0.0", "\"10.0.0\" is no address");
        assert!(parse(&words("10.0.0.<1,2")).unwrap_err().message.contains("not closed"));
    }

    #[test]
    fn the_inventory_says_the_same_as_the_command_line() {
        let hosts = parse(&words("admin@10.0.0.1:2222 10.0.0.2 alpha")).unwrap();
        let text = inventory_text(&hosts, "setup-cluster ...", &ConnectionArgs::default());
        let inventory = Inventory::from_ini("hosts.ini", &text, muster_roles::group_rules()).unwrap();
        assert_eq!(inventory.group("kube_control_plane"), ["node1"]);
        assert_eq!(inventory.group("etcd"), ["node1"]);
        assert_eq!(inventory.group("kube_node"), ["node1", "node2", "alpha"]);
        let vars = muster_inventory::VarsBuilder::new(std::sync::Arc::new(inventory)).build().unwrap();
        let told = |host: &str, name: &str| {
            vars.host(host).unwrap().get(name).unwrap().map(|v| v.to_json().to_string())
        };
        assert_eq!(told("node1", "ansible_host").as_deref(), Some("\"10.0.0.1\""));
        assert_eq!(told("node1", "ansible_port").as_deref(), Some("2222"));
        assert_eq!(told("node1", "ansible_user").as_deref(), Some("\"admin\""));
        assert_eq!(told("node2", "ip").as_deref(), Some("\"10.0.0.2\""));
        assert_eq!(told("node2", "ansible_user"), None);
        assert_eq!(told("alpha", "ansible_host"), None);
        assert!(vars.host("alpha").unwrap().get("kubeconfig_localhost").unwrap().unwrap().as_bool().unwrap());
    }

    #[test]
    fn the_command_for_ansible_is_answered_with_the_one_for_here() {
        for (word, answer) in [
            ("cluster.yml", "setup-cluster needs none"),
            ("../kubespray/scale.yml", "setup-cluster needs none"),
            ("upgrade_cluster.yml", "a command of its own"),
            ("mine.yaml", "playbooks of your own are not run"),
        ] {
            let told = parse(&[word.to_owned()]).unwrap_err().to_string();
            assert!(
                told.contains(&format!("{word} is a playbook of Ansible; ")) && told.contains(answer),
                "{told}"
            );
        }
    }
}
