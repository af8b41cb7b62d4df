//! Whether machines reach each other: a firewall between them makes a cluster fail in ways that name no firewall.

use muster_engine::prelude::*;

use super::findings::{Findings, problem};
use super::peers::Everyone;
use super::{Duties, Machine};
use crate::cluster::Standing;
use crate::common::{ClusterVars, ip_of};

/// A port of another machine that this one must reach. Ports as in
/// <https://kubernetes.io/docs/reference/networking/ports-and-protocols/>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    host: String,
    address: String,
    port: u16,
    service: &'static str,
}

const ETCD_CLIENT: (u16, &str) = (2379, "etcd");
const ETCD_PEER: (u16, &str) = (2380, "etcd's members");
const KUBELET: (u16, &str) = (10250, "the kubelet");

/// Tries every target at once. What is refused is reached: nothing listens there yet. Only bash can open a connection
/// without a program of its own; a machine without it is not asked.
const KNOCK: &str = r#"
command -v bash >/dev/null && command -v timeout >/dev/null || exit 0
while [ $# -gt 0 ]; do
  (
    said=$(timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1)
    case $? in
      0) exit ;;
      1) case $said in *unreachable*|*"No route to host"*|*prohibited*) ;; *) exit ;; esac ;;
    esac
    printf '%s %s\n' "$1" "$2"
  ) &
  shift 2
done
wait"#;

/// The targets that this machine does not reach. Machines that are not there are left out: that is told of them.
pub(super) async fn closed(
    host: &Host,
    duties: Duties,
    cluster: &ClusterVars,
    everyone: &Everyone,
    known: &Standing,
) -> Result<Vec<Target>> {
    let targets = targets(host, duties, cluster, everyone, known.leader().unwrap_or_default())?;
    if targets.is_empty() {
        return Ok(targets);
    }
    let arguments: Vec<String> =
        targets.iter().flat_map(|target| [target.address.clone(), target.port.to_string()]).collect();
    let answer = host.query(sh(KNOCK, arguments)).await?.output;
    let silent =
        |target: &Target| answer.lines().any(|line| line == format!("{} {}", target.address, target.port));
    Ok(targets.into_iter().filter(silent).collect())
}

/// `plane`: the control plane that speaks for the cluster, at which the others reach the API.
fn targets(
    host: &Host,
    duties: Duties,
    cluster: &ClusterVars,
    everyone: &Everyone,
    plane: &str,
) -> Result<Vec<Target>> {
    let own = ip_of(host, host.name())?;
    let mut targets = Vec::new();
    let mut reach = |other: &str, (port, service)| -> Result<()> {
        if other == host.name() || !everyone.has(other) {
            return Ok(());
        }
        let address = ip_of(host, other)?;
        // Two machines with one address are a problem of their own.
        if address != own {
            targets.push(Target { host: other.to_owned(), address: address.to_string(), port, service });
        }
        Ok(())
    };
    if duties.control_plane || duties.node {
        reach(plane, (cluster.kube_apiserver_port, "the API server"))?;
    }
    for member in host.cluster().group("etcd") {
        if duties.etcd {
            reach(&member, ETCD_PEER)?;
        }
        if duties.control_plane {
            reach(&member, ETCD_CLIENT)?;
        }
    }
    if host.name() == plane {
        for node in host.cluster().group("k8s_cluster") {
            reach(&node, KUBELET)?;
        }
    }
    Ok(targets)
}

/// Everything about the way to other machines.
pub(super) fn check(machine: &Machine, closed: &[Target], findings: &mut Findings) {
    for Target { host, address, port, service } in closed {
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
        let pods = match machine.vars.flannel_backend_type.as_str() {
            "vxlan" => format!("{}/udp and ", machine.vars.flannel_vxlan_port),
            _ => String::new(),
        };
        findings.warn([problem(
            "firewall",
            format!("{firewall} is active"),
            format!(
                "{}/tcp, 2379-2380/tcp, 10250/tcp, {pods}the pods' addresses open between the machines",
                machine.cluster.kube_apiserver_port
            ),
            format!("open them, or stop it: systemctl disable --now {firewall}"),
        )]);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;

    use super::super::fixture::{Fixture, told};
    use super::*;

    fn knock(wrapper: &[&str], targets: &[(&str, u16)]) -> String {
        let mut words: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["dash", "-c", KNOCK, "knock"].map(str::to_owned));
        words.extend(targets.iter().flat_map(|(address, port)| [(*address).to_owned(), port.to_string()]));
        let out = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn a_port_that_is_open_or_refuses_is_reached_and_one_without_a_way_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        // Port 1 (tcpmux) is nobody's.
        assert_eq!(knock(&[], &[("127.0.0.1", open), ("127.0.0.1", 1)]), "");
        // A network of its own, whose loopback is down: no packet goes anywhere.
        let apart = ["unshare", "--user", "--map-root-user", "--net"];
        if Command::new(apart[0]).args(&apart[1..]).arg("true").status().unwrap().success() {
            assert_eq!(knock(&apart, &[("127.0.0.1", open)]), format!("127.0.0.1 {open}\n"));
        }
    }

    #[test]
    fn what_is_closed_is_refused_and_a_firewall_is_told_of() {
        let mut fixture = Fixture::good();
        fixture.seen.firewall = Some("firewalld".into());
        let closed =
            [Target { host: "node2".into(), address: "192.0.2.5".into(), port: 10250, service: KUBELET.1 }];
        let mut findings = Findings::new(true);
        check(&fixture.machine(), &closed, &mut findings);
        let problems: Vec<_> = findings.problems.iter().map(told).collect();
        assert_eq!(problems, ["port 10250/tcp: node1 gets no answer from node2 (192.0.2.5), port 10250"]);
        assert!(findings.warnings[0].needed.contains("8472/udp"), "{:?}", findings.warnings);

        fixture.node_of("1.36.3");
        let mut findings = Findings::new(true);
        check(&fixture.machine(), &[], &mut findings);
        assert_eq!(findings.warnings, [], "a node that runs shows whether its firewall is in the way");
    }
}
