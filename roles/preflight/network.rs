//! The machine in its network: its addresses, and the ports that must be free on it.

use std::net::IpAddr;

use muster_engine::prelude::Problem;

use super::findings::{Findings, problem};
use super::{Machine, subnets};

/// Everything about a machine's addresses, ports and routes.
pub(super) fn check(machine: &Machine, findings: &mut Findings) {
    findings.refuse(no_address(machine));
    findings.object(own_address(machine));
    findings.object(silent_address(machine));
    findings.refuse(ports(machine));
    findings.refuse(vxlan_port(machine));
    findings.refuse(subnets::own_networks(machine));
    findings.refuse(subnets::routes(machine));
    findings.warn(subnets::wider_routes(machine));
}

fn no_address(machine: &Machine) -> Option<Problem> {
    // Without the command that tells addresses none is known, which is told there.
    let unknown =
        machine.vars.ip.is_none() && machine.facts.default_ip().is_none() && machine.facts.has_tool("ip");
    unknown.then(|| {
        problem(
            "address",
            "none but loopback",
            "an IPv4 address",
            "configure the machine's network, or set its ip in the inventory",
        )
    })
}

fn own_address(machine: &Machine) -> Option<Problem> {
    let ip: IpAddr = machine.vars.ip.as_deref()?.parse().ok()?;
    let addresses = machine.facts.addresses.iter().filter(|a| !subnets::is_ours(&a.interface));
    let own: Vec<String> = addresses.filter(|a| a.ip.is_ipv4()).map(|a| a.ip.to_string()).collect();
    (machine.facts.interface_of(ip).is_none() && machine.facts.has_tool("ip")).then(|| {
        problem(
            "ip",
            format!("{ip} is not an address of the machine: it has {}", own.join(", ")),
            "one of the machine's addresses",
            "correct ip in the inventory; an address that only others see is access_ip",
        )
    })
}

fn silent_address(machine: &Machine) -> Option<Problem> {
    let ip = machine.vars.access_ip.as_deref().filter(|_| machine.seen.access_ip_silent)?;
    Some(problem(
        "access_ip",
        format!("{ip} does not answer a ping from the machine itself"),
        "an address at which the machine is reached",
        "correct access_ip, or set ping_access_ip: false where pings are dropped",
    ))
}

/// A port that something of ours listens on: for what, and the program's name as ss(8) shows it (15 characters at most).
struct Port {
    number: u16,
    purpose: &'static str,
    program: &'static str,
}

fn needed_ports(machine: &Machine) -> Vec<Port> {
    let port = |number, purpose, program| Port { number, purpose, program };
    let mut ports = Vec::new();
    if machine.duties.etcd {
        ports.push(port(2379, "etcd's clients", "etcd"));
        ports.push(port(2380, "etcd's other members", "etcd"));
    }
    if machine.duties.control_plane {
        ports.push(port(machine.cluster.kube_apiserver_port, "the API server", "kube-apiserver"));
        ports.push(port(10257, "the controller manager", "kube-controller"));
        ports.push(port(10259, "the scheduler", "kube-scheduler"));
    }
    if machine.duties.balancer {
        ports.push(port(machine.cluster.kube_apiserver_port, "the load balancer", "haproxy"));
        let health = machine.vars.loadbalancer_apiserver_healthcheck_port;
        ports.push(port(health, "the load balancer's health", "haproxy"));
    }
    if machine.duties.control_plane || machine.duties.node {
        ports.push(port(10248, "the kubelet's health", "kubelet"));
        ports.push(port(10250, "the kubelet", "kubelet"));
        if !machine.vars.kube_proxy_remove {
            ports.push(port(10249, "kube-proxy's metrics", "kube-proxy"));
            ports.push(port(10256, "kube-proxy's health", "kube-proxy"));
        }
        if machine.vars.kube_network_plugin == "cilium" {
            ports.push(port(4240, "cilium's health, asked by other nodes", "cilium-agent"));
            ports.push(port(machine.vars.cilium_agent_health_port, "cilium's own health", "cilium-agent"));
            ports.push(port(9234, "the health of cilium's operator", "cilium-operator"));
            ports.push(port(9878, "the health of cilium's proxy", "envoy"));
        }
        if machine.vars.network_policies_enabled {
            ports.push(port(20244, "kube-router's health, for network policies", "kube-router"));
        }
    }
    ports
}

fn ports(machine: &Machine) -> Vec<Problem> {
    let mut problems = Vec::new();
    for port in needed_ports(machine) {
        let Some(owner) = machine.seen.sockets.tcp.get(&port.number) else { continue };
        // Of a node of the cluster, what cannot be seen is taken to be ours.
        if owner == port.program || owner == "?" && machine.seen.joined {
            continue;
        }
        let (number, program) =
            (port.number, if owner == "?" { "a program that cannot be seen" } else { owner });
        let else_set = match port.purpose {
            "the API server" | "the load balancer" => ", or set kube_apiserver_port",
            "the load balancer's health" => ", or set loadbalancer_apiserver_healthcheck_port",
            _ => "",
        };
        problems.push(problem(
            "port",
            format!("{number} is in use by {program}"),
            format!("{number} for {}", port.purpose),
            format!("stop what listens there: ss -ltnp 'sport = :{number}'{else_set}"),
        ));
    }
    problems
}

/// vxlan's packets are taken in by the kernel itself, which ss(8) shows without a program.
fn vxlan_port(machine: &Machine) -> Option<Problem> {
    let node = machine.duties.control_plane || machine.duties.node;
    let number = machine.vars.vxlan_port().filter(|_| node)?;
    let owner = machine.seen.sockets.udp.get(&number)?;
    let ours = owner == "?" && machine.seen.vxlan;
    let program = if owner == "?" { "the kernel: another vxlan interface?" } else { owner };
    (!ours).then(|| {
        problem(
            "port",
            format!("{number}/udp is in use by {program}"),
            format!("{number}/udp for {}", machine.vars.kube_network_plugin),
            format!(
                "stop what uses it: ss -lunp 'sport = :{number}'; ip -d link show type vxlan; or set {}",
                machine.vars.vxlan_port_variable()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    type Change = fn(&mut Fixture);

    fn found(change: Change) -> String {
        let mut fixture = Fixture::good();
        change(&mut fixture);
        let mut findings = Findings::new(false);
        check(&fixture.machine(), &mut findings);
        assert_eq!(findings.warnings, []);
        findings
            .problems
            .into_iter()
            .map(|p| format!("{}: {}", p.check, p.found))
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn listen(fixture: &mut Fixture, port: u16, program: &str) {
        fixture.seen.sockets.tcp.insert(port, program.into());
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_wrong_with_addresses_and_ports_is_found() {
        let rows: [(Change, &str); 36] = [
            (|_| {}, ""),
            (|f| { f.facts.addresses.clear(); f.facts.routes.clear() }, "address: none but loopback"),
            (|f| f.vars.ip = Some("192.0.2.4".into()), ""),
            (|f| f.vars.ip = Some("192.0.2.5".into()), "ip: 192.0.2.5 is not an address of the machine: it has 192.0.2.4"),
            (|f| { f.vars.access_ip = Some("198.51.100.4".into()); f.seen.access_ip_silent = true },
             "access_ip: 198.51.100.4 does not answer a ping from the machine itself"),
            (|f| listen(f, 22, "sshd"), ""),
            (|f| listen(f, 6443, "socat"), "port: 6443 is in use by socat"),
            (|f| { listen(f, 6443, "socat"); f.cluster.kube_apiserver_port = 8443 }, ""),
            (|f| { listen(f, 6443, "socat"); f.duties.control_plane = false }, ""),
            (|f| listen(f, 6443, "kube-apiserver"), ""),
            (|f| listen(f, 10256, "socat"), "port: 10256 is in use by socat"),
            (|f| { listen(f, 10256, "socat"); f.vars.kube_proxy_remove = true }, ""),
            (|f| listen(f, 20244, "socat"), ""),
            (|f| { listen(f, 20244, "socat"); f.vars.network_policies_enabled = true }, "port: 20244 is in use by socat"),
            (|f| listen(f, 4240, "socat"), ""),
            (|f| { listen(f, 4240, "socat"); f.vars.kube_network_plugin = "cilium".into() }, "port: 4240 is in use by socat"),
            (|f| { listen(f, 4240, "cilium-agent"); f.vars.kube_network_plugin = "cilium".into() }, ""),
            (|f| { listen(f, 9000, "socat"); f.vars.kube_network_plugin = "cilium".into(); f.vars.cilium_agent_health_port = 9000 },
             "port: 9000 is in use by socat"),
            (|f| { f.seen.sockets.udp.insert(6081, "iperf".into()); f.vars.kube_network_plugin = "cilium".into();
                   f.vars.cilium_tunnel_mode = "geneve".into() }, "port: 6081/udp is in use by iperf"),
            (|f| { f.seen.sockets.udp.insert(8472, "iperf".into()); f.vars.kube_network_plugin = "cilium".into();
                   f.vars.cilium_tunnel_mode = "disabled".into() }, ""),
            (|f| { listen(f, 8081, "java"); f.duties.balancer = true }, "port: 8081 is in use by java"),
            (|f| { listen(f, 8081, "haproxy"); f.duties.balancer = true }, ""),
            (|f| listen(f, 8081, "java"), ""),
            (|f| listen(f, 10257, "kube-controller"), ""),
            (|f| listen(f, 10250, "?"), "port: 10250 is in use by a program that cannot be seen"),
            (|f| { listen(f, 10250, "?"); f.seen.joined = true }, ""),
            (|f| { listen(f, 10250, "nginx"); f.seen.joined = true }, "port: 10250 is in use by nginx"),
            (|f| listen(f, 2379, "etcd"), ""),
            (|f| listen(f, 2379, "consul"), "port: 2379 is in use by consul"),
            (|f| { listen(f, 2379, "consul"); f.duties.etcd = false }, ""),
            (|f| { f.seen.sockets.udp.insert(8472, "?".into()); }, "port: 8472/udp is in use by the kernel: another vxlan interface?"),
            (|f| { f.seen.sockets.udp.insert(8472, "?".into()); f.seen.vxlan = true; }, ""),
            (|f| { f.seen.sockets.udp.insert(8472, "iperf".into()); }, "port: 8472/udp is in use by iperf"),
            (|f| { f.seen.sockets.udp.insert(8472, "iperf".into()); f.vars.flannel_backend_type = "host-gw".into() }, ""),
            (|f| { f.seen.sockets.udp.insert(4789, "iperf".into()); f.vars.kube_network_plugin = "calico".into() },
             "port: 4789/udp is in use by iperf"),
            (|f| { f.seen.sockets.udp.insert(4789, "iperf".into()); f.vars.kube_network_plugin = "calico".into();
                   f.vars.calico_vxlan_mode = "Never".into() }, ""),
        ];
        for (row, (change, expected)) in rows.into_iter().enumerate() {
            assert_eq!(found(change), expected, "row {row}");
        }
    }
}
