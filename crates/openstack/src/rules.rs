//! Which packets reach the machines of a cluster: exactly what a cluster needs, and from where.
//!
//! There are two security groups. All machines are in [`Group::Machines`]; control planes, on which etcd runs too, are also in
//! [`Group::ControlPlane`]. What machines send is not limited: a new group lets everything out.

use ipnet::Ipv4Net;

use crate::declaration::{Allow, NetworkPlugin};

/// A security group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// All machines.
    Machines,
    /// Control planes.
    ControlPlane,
}

impl Group {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Machines, Self::ControlPlane];

    /// What it is called within the cluster.
    pub fn part(self) -> &'static str {
        match self {
            Self::Machines => "machines",
            Self::ControlPlane => "control-plane",
        }
    }
}

/// Who may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// A network outside.
    Range(Ipv4Net),
    /// The machines of a group.
    Group(Group),
}

/// Packets that reach the machines of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whom they reach.
    pub group: Group,
    /// `tcp`, `udp`, `icmp`, or the number of another protocol.
    pub protocol: &'static str,
    /// The first and the last port; none where the protocol has no ports.
    pub ports: Option<(u16, u16)>,
    /// Who sends them.
    pub sender: Sender,
}

impl Rule {
    /// What tells it from the others of its cluster: `machines:tcp:22:203.0.113.0/24`.
    pub fn part(&self) -> String {
        let ports = match self.ports {
            None => String::new(),
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
        };
        let sender = match &self.sender {
            Sender::Range(range) => range.to_string(),
            Sender::Group(group) => group.part().to_owned(),
        };
        format!("{}:{}:{ports}:{sender}", self.group.part(), self.protocol)
    }
}

/// All rules of a cluster.
pub fn rules(allow: &Allow, plugin: NetworkPlugin) -> Vec<Rule> {
    use Group::{ControlPlane, Machines};
    let inside =
        |group, protocol, ports, sender| Rule { group, protocol, ports, sender: Sender::Group(sender) };
    let port = |port| Some((port, port));
    let mut rules = vec![
        // From machine to machine: as a way to those without a floating IP.
        inside(Machines, "tcp", port(22), Machines),
        // Binaries and images that machines hand on to each other (fan_out_port).
        inside(Machines, "tcp", port(30222), Machines),
        // Kubelets: API servers ask them for logs, and metrics are asked of them from any machine.
        inside(Machines, "tcp", port(10250), Machines),
        // Errors on the way, such as a packet that is too large.
        inside(Machines, "icmp", None, Machines),
        inside(ControlPlane, "tcp", port(6443), Machines),
        // etcd: clients are the API servers, which run beside it; and its members among each other.
        inside(ControlPlane, "tcp", Some((2379, 2380)), ControlPlane),
    ];
    match plugin {
        NetworkPlugin::Flannel => rules.push(inside(Machines, "udp", port(8472), Machines)),
        NetworkPlugin::Calico => rules.extend([
            inside(Machines, "udp", port(4789), Machines),
            // ipip
            inside(Machines, "4", None, Machines),
            inside(Machines, "tcp", port(179), Machines),
            inside(Machines, "tcp", port(5473), Machines),
        ]),
        NetworkPlugin::Cilium => rules.extend([
            inside(Machines, "udp", port(8472), Machines),
            // Whether its agents reach each other, and Hubble asks them.
            inside(Machines, "tcp", port(4240), Machines),
            inside(Machines, "tcp", port(4244), Machines),
        ]),
    }
    let outside = [
        (&allow.ssh, Machines, "tcp", (22, 22)),
        (&allow.api, ControlPlane, "tcp", (6443, 6443)),
        (&allow.http, Machines, "tcp", (80, 80)),
        (&allow.http, Machines, "tcp", (443, 443)),
        (&allow.node_ports, Machines, "tcp", (30000, 32767)),
        (&allow.node_ports, Machines, "udp", (30000, 32767)),
    ];
    for (ranges, group, protocol, ports) in outside {
        rules.extend(ranges.iter().map(|range| Rule {
            group,
            protocol,
            ports: Some(ports),
            sender: Sender::Range(*range),
        }));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_gets_what_it_needs_and_no_more() {
        let ranges = |text: &str| vec![text.parse().unwrap()];
        let allow = Allow {
            ssh: ranges("203.0.113.0/24"),
            api: ranges("198.51.100.7/32"),
            http: ranges("0.0.0.0/0"),
            node_ports: Vec::new(),
        };
        let parts = |plugin| rules(&allow, plugin).iter().map(Rule::part).collect::<Vec<_>>();
        let common = [
            "machines:tcp:22:machines",
            "machines:tcp:30222:machines",
            "machines:tcp:10250:machines",
            "machines:icmp::machines",
            "control-plane:tcp:6443:machines",
            "control-plane:tcp:2379-2380:control-plane",
        ];
        let outside = [
            "machines:tcp:22:203.0.113.0/24",
            "control-plane:tcp:6443:198.51.100.7/32",
            "machines:tcp:80:0.0.0.0/0",
            "machines:tcp:443:0.0.0.0/0",
        ];
        let flannel = [&common[..], &["machines:udp:8472:machines"], &outside].concat();
        assert_eq!(parts(NetworkPlugin::Flannel), flannel);
        let calico = [
            "machines:udp:4789:machines",
            "machines:4::machines",
            "machines:tcp:179:machines",
            "machines:tcp:5473:machines",
        ];
        assert_eq!(parts(NetworkPlugin::Calico), [&common[..], &calico, &outside].concat());
        let cilium =
            ["machines:udp:8472:machines", "machines:tcp:4240:machines", "machines:tcp:4244:machines"];
        assert_eq!(parts(NetworkPlugin::Cilium), [&common[..], &cilium, &outside].concat());
    }
}
