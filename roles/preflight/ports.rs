//! Whether machines reach each other: a firewall between them makes a cluster fail in ways that name no firewall.

use muster_engine::prelude::*;

use super::findings::{Findings, problem};
use super::peers::Everyone;
use super::{Duties, Machine};
use crate::addresses::access_ip_of;
use crate::balancer;
use crate::cluster::Standing;
use crate::common::ClusterVars;

/// A port of another machine that this one must reach. Ports as in
/// <https://kubernetes.io/docs/reference/networking/ports-and-protocols/>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    host: String,
    address: String,
    port: u16,
    protocol: &'static str,
    service: &'static str,
}

const TCP: &str = "tcp";
const UDP: &str = "udp";
const ETCD_CLIENT: (u16, &str) = (2379, "etcd");
const ETCD_PEER: (u16, &str) = (2380, "etcd's members");
const KUBELET: (u16, &str) = (10250, "the kubelet");

/// Tries every target at once; the parameters are named at its top.
const KNOCK: &str = include_str!("knock.sh");

/// The targets that this machine does not reach. Machines that are not there are left out: that is told of them.
pub(super) async fn closed(
    host: &Host,
    duties: Duties,
    cluster: &ClusterVars,
    everyone: &Everyone,
    vxlan_port: Option<u16>,
    known: &Standing,
) -> Result<Vec<Target>> {
    let targets = targets(host, duties, cluster, everyone, vxlan_port, known)?;
    if targets.is_empty() {
        return Ok(targets);
    }
    let arguments: Vec<String> =
        targets.iter().flat_map(|t| [t.address.clone(), t.port.to_string(), t.protocol.to_owned()]).collect();
    let answer = host.query(sh(KNOCK, arguments)).await?.output;
    let silent = |target: &Target| {
        let told = format!("{} {} {}", target.address, target.port, target.protocol);
        answer.lines().any(|line| line == told)
    };
    Ok(targets.into_iter().filter(silent).collect())
}

/// `vxlan_port`: the UDP port to which pods' packets go.
fn targets(
    host: &Host,
    duties: Duties,
    cluster: &ClusterVars,
    everyone: &Everyone,
    vxlan_port: Option<u16>,
    known: &Standing,
) -> Result<Vec<Target>> {
    // The one that speaks for the cluster, at which the others reach the API; or any of them, by the load balancer.
    let plane = known.leader().unwrap_or_default();
    let own = access_ip_of(host, host.name())?;
    let mut targets = Vec::new();
    let mut reach = |other: &str, (port, service), protocol| -> Result<()> {
        if other == host.name() || !everyone.has(other) {
            return Ok(());
        }
        let address = access_ip_of(host, other)?;
        // Two machines with one address are a problem of their own.
        if address != own {
            targets.push(Target {
                host: other.to_owned(),
                address: address.to_string(),
                port,
                protocol,
                service,
            });
        }
        Ok(())
    };
    if duties.control_plane || duties.node {
        let api = (cluster.kube_apiserver_port, "the API server");
        if duties.control_plane || !balancer::is_used(host, known)? {
            reach(plane, api, TCP)?;
        } else {
            host.cluster().group("kube_control_plane").iter().try_for_each(|plane| reach(plane, api, TCP))?;
        }
    }
    for member in host.cluster().group("etcd") {
        if duties.etcd {
            reach(&member, ETCD_PEER, TCP)?;
        }
        if duties.control_plane {
            reach(&member, ETCD_CLIENT, TCP)?;
        }
    }
    if host.name() == plane {
        for node in host.cluster().group("k8s_cluster") {
            reach(&node, KUBELET, TCP)?;
        }
    }
    // Every machine with the control plane, both ways, stands for all. Where flannel runs the kernel takes in every packet, and
    // answers none.
    let others = match vxlan_port {
        Some(_) if host.name() == plane => host.cluster().group("k8s_cluster"),
        Some(_) if duties.control_plane || duties.node => vec![plane.to_owned()],
        _ => Vec::new(),
    };
    for other in others.iter().filter(|other| !known.takes_in_packets_for_pods(other)) {
        reach(other, (vxlan_port.unwrap_or_default(), "other machines' pods"), UDP)?;
    }
    Ok(targets)
}

/// Everything about the way to other machines.
pub(super) fn check(machine: &Machine, closed: &[Target], findings: &mut Findings) {
    for Target { host, address, port, protocol, service } in closed {
        // A firewall may keep back nothing but the answer that no program is there yet.
        if *protocol == UDP {
            findings.warn([problem(
                format!("port {port}/udp"),
                format!("{} gets no answer from {host} ({address}), port {port}/udp", machine.name),
                format!("a way to {service}: {port}/udp open between all machines"),
                format!(
                    "open {port}/udp in the firewall of {host}, or of the cloud (security group) between them; whether pods reach \
                     each other is tested at the end"
                ),
            )]);
            continue;
        }
        findings.refuse([problem(
            format!("port {port}/tcp"),
            format!("{} gets no answer from {host} ({address}), port {port}", machine.name),
            format!("a way to {service} there"),
            format!(
                "open port {port} in the firewall of {host}, or of the cloud (security group) between them"
            ),
        )]);
    }
    // Whether it lets pods' packets through cannot be seen before there are pods.
    if let Some(firewall) = machine.seen.firewall.as_ref().filter(|_| !machine.seen.joined) {
        findings.warn([problem(
            "firewall",
            format!("{firewall} is active"),
            format!(
                "{}/tcp, 2379-2380/tcp, 10250/tcp, {}and the pods' addresses open between the machines",
                machine.cluster.kube_apiserver_port,
                machine.vars.network_ports()
            ),
            format!("open them, or stop it: systemctl disable --now {firewall}"),
        )]);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::process::Command;

    use super::super::fixture::{Fixture, told};
    use super::*;

    fn knock(wrapper: &[&str], targets: &[(&str, u16, &str)]) -> String {
        let mut words: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["dash", "-c", KNOCK, "knock"].map(str::to_owned));
        words.extend(
            targets
                .iter()
                .flat_map(|(a, port, kind)| [(*a).to_owned(), port.to_string(), (*kind).to_owned()]),
        );
        let out = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn a_port_that_is_open_or_refuses_is_reached_and_one_without_a_way_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        // Port 1 (tcpmux) is nobody's.
        assert_eq!(knock(&[], &[("127.0.0.1", open, TCP), ("127.0.0.1", 1, TCP), ("127.0.0.1", 1, UDP)]), "");
        // As behind a firewall: the packet is taken, and no answer comes.
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        assert_eq!(knock(&[], &[("127.0.0.1", port, UDP)]), format!("127.0.0.1 {port} udp\n"));
        // A network of its own, whose loopback is down: no packet goes anywhere.
        let apart = ["unshare", "--user", "--map-root-user", "--net"];
        if Command::new(apart[0]).args(&apart[1..]).arg("true").status().unwrap().success() {
            assert_eq!(knock(&apart, &[("127.0.0.1", open, TCP)]), format!("127.0.0.1 {open} tcp\n"));
            assert_eq!(knock(&apart, &[("127.0.0.1", open, UDP)]), format!("127.0.0.1 {open} udp\n"));
        }
    }

    #[test]
    fn what_is_closed_is_refused_and_a_firewall_is_told_of() {
        let mut fixture = Fixture::good();
        fixture.seen.firewall = Some("firewalld".into());
        let target = |port, protocol| Target {
            host: "node2".into(),
            address: "192.0.2.5".into(),
            port,
            protocol,
            service: KUBELET.1,
        };
        let closed = [target(10250, TCP), target(8472, UDP)];
        let mut findings = Findings::new(true);
        check(&fixture.machine(), &closed, &mut findings);
        let problems: Vec<_> = findings.problems.iter().map(told).collect();
        assert_eq!(problems, ["port 10250/tcp: node1 gets no answer from node2 (192.0.2.5), port 10250"]);
        let warnings: Vec<_> = findings.warnings.iter().map(told).collect();
        assert_eq!(warnings[0], "port 8472/udp: node1 gets no answer from node2 (192.0.2.5), port 8472/udp");
        assert!(findings.warnings[1].needed.contains("8472/udp"), "{:?}", findings.warnings);

        fixture.node_of("1.36.3");
        let mut findings = Findings::new(true);
        check(&fixture.machine(), &[], &mut findings);
        assert_eq!(findings.warnings, [], "a node that runs shows whether its firewall is in the way");
    }
}
