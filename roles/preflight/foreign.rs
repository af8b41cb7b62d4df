//! What others left on a machine: other clusters, packages of Kubernetes, network plugins, container engines. What outranks
//! ours, or what ours would harm, is refused; what only may be in the way is a warning.

use std::net::IpAddr;

use ipnet::Ipv4Net;
use muster_engine::prelude::Problem;
use muster_engine::script::quote;

use super::Machine;
use super::findings::{Findings, problem};
use super::plugins::{first_plugin, network_of_others, other_plugin_of_cluster, other_plugins};

/// What was seen of others on a machine. What only matters before it is a node is empty on one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Files in `/etc/cni/net.d` besides that of our network plugin, each with the plugin that it names.
    pub(super) cni: Vec<(String, String)>,
    /// Whether that of our network plugin is there.
    pub(super) own: bool,
    /// Drop-ins by which a unit starts another program.
    pub(super) drop_ins: Vec<DropIn>,
    /// Other clusters' programs.
    pub(super) clusters: Vec<Cluster>,
    /// The manifests of static pods.
    pub(super) static_pods: Vec<String>,
    /// The network of pods that a flannel has had here.
    pub(super) flannel_network: Option<String>,
    /// The file with arguments for a kubelet of a package.
    pub(super) arguments: Option<String>,
    /// The unit of a containerd that a package has installed.
    pub(super) containerd: Option<String>,
    /// Namespaces of containerd, with how many containers run in each.
    pub(super) containers: Vec<(String, String)>,
    /// Whether Docker runs.
    pub(super) docker: bool,
    /// Interfaces and packet filter chains of other network plugins.
    pub(super) networks: Vec<String>,
}

/// A drop-in of a unit: systemd.unit(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DropIn {
    /// The unit's name, without `.service`.
    pub(super) unit: String,
    pub(super) path: String,
    /// The program that it starts.
    pub(super) program: String,
}

/// Another way to have Kubernetes on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) name: String,
    /// By which it was seen.
    pub(super) path: String,
    /// The program that removes it, if it is there.
    pub(super) remover: String,
}

/// Says a line for each finding; [`Foreign::parse`] reads them. Its one parameter is explained at its top.
pub(super) const LOOK: &str = concat!(include_str!("clusters.sh"), include_str!("foreign.sh"));

impl Foreign {
    /// From what [`LOOK`] has printed.
    pub(super) fn parse(answer: &str) -> Self {
        let mut found = Self::default();
        for line in answer.lines() {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            match word().as_str() {
                "cni" => found.cni.push((word(), word())),
                "own" => found.own = true,
                "starts" => found.drop_ins.push(DropIn { unit: word(), path: word(), program: word() }),
                "cluster" => found.clusters.push(Cluster { name: word(), path: word(), remover: word() }),
                "static" => found.static_pods.push(word()),
                "flannel_network" => found.flannel_network = Some(word()),
                "arguments" => found.arguments = Some(word()),
                "containerd" => found.containerd = Some(word()),
                "containers" => found.containers.push((word(), word())),
                "docker" => found.docker = true,
                "network" => found.networks.push(words.collect::<Vec<_>>().join(" ")),
                _ => {}
            }
        }
        found
    }
}

/// Everything that others left.
pub(super) fn check(machine: &Machine, findings: &mut Findings) {
    findings.refuse(clusters(machine));
    findings.refuse(other_plugin_of_cluster(machine));
    findings.refuse(network_of_others(machine));
    // A node may have been given them on purpose, and runs.
    let outrank = drop_ins(machine).into_iter().chain(first_plugin(machine));
    if machine.seen.joined {
        findings.warn(outrank)
    } else {
        findings.refuse(outrank)
    }
    findings.warn(other_plugins(machine));
    for (path, starts_at_once) in static_pods(machine) {
        let told = [static_pod(machine, path)];
        if starts_at_once { findings.refuse(told) } else { findings.warn(told) }
    }
    findings.refuse(other_network(machine));
    findings.warn(old_bridge(machine));
    findings.warn(unread_arguments(machine));
    findings.warn(other_engine(machine));
    findings.warn(networks(machine));
}

/// The command that clears a machine that is in no cluster. What it says is `what`.
fn reset(machine: &Machine, what: &str) -> String {
    format!("{what}: reset-cluster --foreign --limit {}", machine.name)
}

fn clusters(machine: &Machine) -> Vec<Problem> {
    let one = |Cluster { name, path, remover }: &Cluster| {
        if name == "kubelet" {
            return problem(
                "another cluster",
                format!("a kubelet runs ({path}), and the machine is no node of kubeadm's"),
                "a machine that is in no cluster",
                format!(
                    "see whether the address is right; {}",
                    reset(machine, "if it may leave its cluster")
                ),
            );
        }
        let unit = path.rsplit('/').next().unwrap_or_default();
        let remedy = match (name.as_str(), remover.as_str()) {
            ("MicroK8s", _) => "snap remove --purge microk8s".to_owned(),
            ("k0s", program) if !program.is_empty() => format!("{program} stop; {program} reset"),
            (_, "") => format!("systemctl disable --now {unit} && rm {}", quote(path)),
            (_, program) => program.to_owned(),
        };
        problem(
            "another cluster",
            format!("{name} is installed ({path})"),
            "a machine without another Kubernetes, which would take the same ports and pods' network",
            format!("if nobody needs it any more, remove it on {}: {remedy}", machine.name),
        )
    };
    machine.seen.foreign.clusters.iter().map(one).collect()
}

fn drop_ins(machine: &Machine) -> Vec<Problem> {
    // The kubelet of another tool's node runs by its own drop-ins, and not without them. Whose it is is told elsewhere.
    if machine.seen.joined && !machine.seen.has_our_kubelet {
        return Vec::new();
    }
    let one = |DropIn { unit, path, program }: &DropIn| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let own = format!("/etc/systemd/system/{unit}.service.d");
        let away = if path.starts_with("/etc/") || path.starts_with("/run/") {
            format!("rm {}", quote(path))
        } else {
            // Removing the package's own file would last until its next update.
            format!("mkdir -p {own} && ln -s /dev/null {}", quote(&format!("{own}/{name}")))
        };
        problem(
            format!("{unit}.service"),
            format!("{path} makes it start {program}"),
            format!("a unit that starts {}/{unit}", machine.seen.bin_dir),
            format!("on {}: {away} && systemctl daemon-reload && systemctl try-restart {unit}", machine.name),
        )
    };
    machine.seen.foreign.drop_ins.iter().filter(|drop_in| concerns(machine, &drop_in.unit)).map(one).collect()
}

/// Whether the machine is to run a unit.
pub(super) fn concerns(machine: &Machine, unit: &str) -> bool {
    let node = machine.duties.control_plane || machine.duties.node;
    if unit == "etcd" { machine.duties.etcd } else { node }
}

pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The manifests of pods that the kubelet would start, and whether that would do harm. Those of a control plane are kubeadm's own
/// where it was cut off.
fn static_pods<'m>(machine: &'m Machine) -> impl Iterator<Item = (&'m str, bool)> {
    const OF_KUBEADM: [&str; 3] =
        ["kube-apiserver.yaml", "kube-controller-manager.yaml", "kube-scheduler.yaml"];
    let paths = machine.seen.foreign.static_pods.iter().map(String::as_str);
    let paths =
        paths.filter(move |path| !(machine.duties.control_plane && OF_KUBEADM.contains(&file_name(path))));
    let node = concerns(machine, "kubelet");
    paths
        .filter(move |_| node)
        .map(move |path| (path, file_name(path) == "etcd.yaml" || OF_KUBEADM.contains(&file_name(path))))
}

fn static_pod(machine: &Machine, path: &str) -> Problem {
    problem(
        "static pod",
        format!("{path} is there, and the machine is no node"),
        "no manifest of another cluster: the kubelet starts its pod as soon as it runs",
        format!(
            "on {}: rm {}; or {}",
            machine.name,
            quote(path),
            reset(machine, "clear all that is left of that cluster")
        ),
    )
}

/// The network that flannel, or the bridge of its plugin, has had here, where it is not the pods'.
fn other_network(machine: &Machine) -> Option<Problem> {
    let pods = machine.subnets.pods?;
    let of_flannel =
        machine.seen.foreign.flannel_network.as_deref().and_then(|net| net.parse::<Ipv4Net>().ok());
    let of_flannel =
        of_flannel.filter(|net| *net != pods).map(|net| format!("/run/flannel/subnet.env has {net}"));
    let of_bridge = bridge(machine).filter(|net| !pods.contains(net)).map(|net| format!("cni0 is in {net}"));
    let found: Vec<_> = of_flannel.into_iter().chain(of_bridge).collect();
    (!machine.seen.joined && !found.is_empty()).then(|| {
        problem(
            "pods' network",
            format!("{}, left by another cluster", found.join(", and ")),
            format!(
                "nothing of another network than kube_pods_subnet ({pods}): pods would get addresses of it"
            ),
            reset(machine, "clear what is left of that cluster"),
        )
    })
}

/// A bridge of the pods' own network. The node may get another part of it, and the plugin then refuses: "already has an IP
/// address different from".
fn old_bridge(machine: &Machine) -> Option<Problem> {
    let pods = machine.subnets.pods?;
    let net = bridge(machine).filter(|net| !machine.seen.joined && pods.contains(net))?;
    Some(problem(
        "pods' network",
        format!("cni0 is there with {net}, and the machine is no node"),
        "no bridge of a former cluster: where the node gets another range, no pod of it gets an address",
        format!("on {}: ip link delete cni0", machine.name),
    ))
}

fn bridge(machine: &Machine) -> Option<Ipv4Net> {
    let address =
        machine.facts.addresses.iter().find(|address| address.interface == "cni0" && address.ip.is_ipv4())?;
    let IpAddr::V4(ip) = address.ip else { return None };
    Ipv4Net::new(ip, address.prefix).ok().map(|net| net.trunc())
}

fn unread_arguments(machine: &Machine) -> Option<Problem> {
    let path = machine.seen.foreign.arguments.as_deref().filter(|_| concerns(machine, "kubelet"))?;
    Some(problem(
        "kubelet.service",
        format!("{path} sets KUBELET_EXTRA_ARGS, which only the unit of a package reads"),
        "settings of the kubelet in variables",
        "say them as kubelet_config_extra_args, if they are still wanted",
    ))
}

/// Another program's containerd, or one that it shares with us.
fn other_engine(machine: &Machine) -> Vec<Problem> {
    let foreign = &machine.seen.foreign;
    if !concerns(machine, "containerd") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let has_ours = machine.seen.docker.ours.is_some();
    let others = foreign.containers.iter().filter(|(name, _)| !has_ours || name != "moby");
    let containers: Vec<_> = others.map(|(name, count)| format!("{count} of {name}")).collect();
    let docker = foreign.docker && !has_ours;
    if docker || !containers.is_empty() {
        let which = if containers.is_empty() {
            String::new()
        } else {
            format!(" (running: {})", containers.join(", "))
        };
        let whose = if docker { "Docker runs here" } else { "other programs have containers here" };
        problems.push(problem(
            "containerd",
            format!("{whose}{which}"),
            "a machine for Kubernetes alone: containerd is replaced by muster's, and restarted; the kubelet removes no container of theirs, and does not count what they use",
            "move them to another machine; Docker is stopped by: systemctl disable --now docker.socket docker; pods (k8s.io) of a cluster that \
             may go, by: reset-cluster --foreign",
        ));
    }
    if let Some(unit) = &foreign.containerd {
        problems.push(problem(
            "containerd",
            format!("there is one already ({unit})"),
            "muster's own, which takes its place, with its unit and /etc/containerd/config.toml, until a reset",
            "nothing, if no other program needs its settings; else install that program on another machine",
        ));
    }
    problems
}

fn networks(machine: &Machine) -> Option<Problem> {
    let networks = &machine.seen.foreign.networks;
    (!networks.is_empty() && concerns(machine, "kubelet")).then(|| {
        problem(
            "network plugin",
            format!("another one has left {}", networks.join(", ")),
            "no interfaces and packet filter rules of another plugin: they may keep back pods' packets",
            format!("{}; or restart the machine", reset(machine, "clear them")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, address, told};
    use super::super::sandbox::Sandbox;
    use super::*;

    fn look(shell: &[&str], files: &[(&str, &str)]) -> Foreign {
        Sandbox::new(files).look(shell)
    }

    const LEFT: [(&str, &str); 20] = [
        ("/etc/cni/net.d/05-cilium.conflist", r#"{"name": "cilium", "plugins": [{"type": "cilium-cni"}]}"#),
        ("/etc/cni/net.d/10-flannel.conflist", "{}"),
        ("/etc/cni/net.d/87-podman.conflist", ""),
        ("/etc/cni/net.d/99-old.conflist.off", ""),
        (
            "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
            "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet $ARGS\n",
        ),
        ("/usr/lib/systemd/system/etcd.service.d/own.conf", "ExecStart=/usr/bin/etcd\n"),
        ("/etc/systemd/system/etcd.service.d/own.conf", "link /dev/null"),
        (
            "/etc/systemd/system/containerd.service.d/http-proxy.conf",
            "[Service]\nEnvironment=HTTP_PROXY=http://192.0.2.1\n",
        ),
        ("/etc/systemd/system/k3s.service", ""),
        ("/usr/local/bin/k3s-uninstall.sh", ""),
        ("/usr/lib/systemd/system/rke2-agent.service", ""),
        ("/etc/kubernetes/manifests/etcd.yaml", ""),
        ("/run/flannel/subnet.env", "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n"),
        ("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--node-ip=192.0.2.4\n"),
        ("/usr/lib/systemd/system/containerd.service", ""),
        ("/run/containerd/io.containerd.runtime.v2.task/moby/0a1b/config.json", ""),
        ("/sys/class/net/vxlan.calico/mtu", ""),
        ("/run/docker.pid", "77\n"),
        ("/proc/77/comm", "dockerd\n"),
        (
            "/usr/sbin/iptables-save",
            "#!/bin/sh\nprintf '%s - [0:0]\\n' '*filter' :INPUT :cali-INPUT :KUBE-SERVICES :cali-OUTPUT\n",
        ),
    ];

    #[test]
    fn every_shell_sees_what_others_left() {
        let cluster = |name: &str, path: &str, remover: &str| Cluster {
            name: name.into(),
            path: path.into(),
            remover: remover.into(),
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let expected = Foreign {
            cni: vec![
                pair("/etc/cni/net.d/05-cilium.conflist", "cilium-cni"),
                pair("/etc/cni/net.d/87-podman.conflist", ""),
            ],
            own: true,
            drop_ins: vec![DropIn {
                unit: "kubelet".into(),
                path: "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf".into(),
                program: "/usr/bin/kubelet".into(),
            }],
            clusters: vec![
                cluster("k3s", "/etc/systemd/system/k3s.service", "/usr/local/bin/k3s-uninstall.sh"),
                cluster("RKE2", "/usr/lib/systemd/system/rke2-agent.service", ""),
            ],
            static_pods: vec!["/etc/kubernetes/manifests/etcd.yaml".into()],
            flannel_network: Some("10.244.0.0/16".into()),
            arguments: Some("/etc/default/kubelet".into()),
            containerd: Some("/usr/lib/systemd/system/containerd.service".into()),
            containers: vec![pair("moby", "1")],
            docker: true,
            networks: vec!["vxlan.calico".into(), "chains cali-...".into()],
        };
        for shell in [&["dash"][..], &["bash", "--posix"]] {
            assert_eq!(look(shell, &LEFT), expected, "{shell:?}");
            assert_eq!(
                look(shell, &[("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\n")]),
                Foreign::default(),
                "{shell:?}"
            );
            let mut node = LEFT.to_vec();
            node.push(("/etc/kubernetes/kubelet.conf", ""));
            let of_a_node = Foreign {
                cni: expected.cni.clone(),
                own: true,
                drop_ins: expected.drop_ins.clone(),
                ..Foreign::default()
            };
            assert_eq!(look(shell, &node), of_a_node, "{shell:?}");
        }
    }

    type Change = fn(&mut Fixture);

    fn found(change: Change) -> (String, String) {
        let mut fixture = Fixture::good();
        change(&mut fixture);
        let mut findings = Findings::new(false);
        check(&fixture.machine(), &mut findings);
        let texts = |list: &[Problem]| list.iter().map(told).collect::<Vec<_>>().join("; ");
        (texts(&findings.problems), texts(&findings.warnings))
    }

    fn cni(fixture: &mut Fixture, file: &str, kind: &str) {
        fixture.seen.foreign.cni.push((format!("/etc/cni/net.d/{file}"), kind.into()));
    }

    fn drop_in(fixture: &mut Fixture, unit: &str) {
        let path = format!("/usr/lib/systemd/system/{unit}.service.d/10-kubeadm.conf");
        fixture.seen.foreign.drop_ins.push(DropIn {
            unit: unit.into(),
            path,
            program: format!("/usr/bin/{unit}"),
        });
    }

    fn pod(fixture: &mut Fixture, name: &str) {
        fixture.seen.foreign.static_pods.push(format!("/etc/kubernetes/manifests/{name}.yaml"));
    }

    const WORKER: super::super::Duties =
        super::super::Duties { control_plane: false, node: true, etcd: false, balancer: false };
    const MEMBER: super::super::Duties =
        super::super::Duties { control_plane: false, node: false, etcd: true, balancer: false };

    #[test]
    #[rustfmt::skip]
    fn what_outranks_ours_is_refused_and_what_may_be_in_the_way_is_told() {
        let cilium = "network plugin: /etc/cni/net.d/05-cilium.conflist asks for the plugin cilium-cni, and comes before 10-flannel.conflist";
        let kubelet = "kubelet.service: /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf makes it start /usr/bin/kubelet";
        let etcd = "static pod: /etc/kubernetes/manifests/etcd.yaml is there, and the machine is no node";
        let calico = "kube_network_plugin: flannel in a cluster with calico (/etc/cni/net.d/10-calico.conflist)";
        let weave = "kube_network_plugin: flannel in a cluster whose pods are connected by the plugin weave-net (/etc/cni/net.d/10-weave.conflist)";
        let rows: [(Change, &str, &str); 35] = [
            (|_| {}, "", ""),
            (|f| cni(f, "05-cilium.conflist", "cilium-cni"), cilium, ""),
            (|f| { cni(f, "06-b.conf", "b"); cni(f, "05-cilium.conflist", "cilium-cni") }, cilium, ""),
            (|f| { cni(f, "05-cilium.conflist", "cilium-cni"); f.seen.joined = true },
             "kube_network_plugin: flannel in a cluster with cilium (/etc/cni/net.d/05-cilium.conflist)", cilium),
            (|f| { cni(f, "04-other.conflist", "other"); f.vars.kube_network_plugin = "cilium".into() },
             "network plugin: /etc/cni/net.d/04-other.conflist asks for the plugin other, and comes before 05-cilium.conflist", ""),
            (|f| { cni(f, "00-multus.conf", "multus-shim"); f.seen.joined = true }, "", ""),
            (|f| { cni(f, "10-weave.conflist", "weave-net"); f.seen.joined = true }, weave, ""),
            (|f| { cni(f, "10-weave.conflist", "weave-net"); f.seen.joined = true; f.seen.foreign.own = true }, "", ""),
            (|f| { cni(f, "10-weave.conflist", "weave-net"); f.seen.joined = true; f.vars.kube_network_plugin = "custom_cni".into() }, "", ""),
            (|f| { cni(f, "10-canal.conflist", "calico"); f.seen.joined = true; f.vars.kube_network_plugin = "calico".into() },
             "kube_network_plugin: calico in a cluster whose pods are connected by the plugin calico (/etc/cni/net.d/10-canal.conflist)", ""),
            (|f| { cni(f, "10-kuberouter.conflist", "bridge"); f.seen.joined = true },
             "kube_network_plugin: flannel in a cluster whose pods are connected by the plugin bridge (/etc/cni/net.d/10-kuberouter.conflist)", ""),
            (|f| { cni(f, "05-cilium.conflist", "cilium-cni"); f.duties = MEMBER }, "", ""),
            (|f| cni(f, "87-podman.conflist", "bridge"), "", "network plugin: /etc/cni/net.d/87-podman.conflist of another program"),
            (|f| { cni(f, "87-podman.conflist", "bridge"); f.seen.joined = true }, "", ""),
            (|f| { cni(f, "10-calico.conflist", "calico"); f.seen.joined = true }, calico,
             "network plugin: /etc/cni/net.d/10-calico.conflist asks for the plugin calico, and comes before 10-flannel.conflist"),
            (|f| { cni(f, "10-flannel.conflist", "flannel"); f.seen.joined = true; f.vars.kube_network_plugin = "calico".into() },
             "kube_network_plugin: calico in a cluster with flannel (/etc/cni/net.d/10-flannel.conflist)", ""),
            (|f| { cni(f, "10-flannel.conflist", "flannel"); f.vars.kube_network_plugin = "calico".into() }, "",
             "network plugin: /etc/cni/net.d/10-flannel.conflist of another program"),
            (|f| drop_in(f, "kubelet"), kubelet, ""),
            (|f| { drop_in(f, "kubelet"); f.seen.joined = true; f.seen.has_our_kubelet = true }, "", kubelet),
            (|f| { drop_in(f, "kubelet"); f.seen.joined = true }, "", ""),
            (|f| { drop_in(f, "etcd"); f.duties = WORKER }, "", ""),
            (|f| pod(f, "etcd"), etcd, ""),
            (|f| pod(f, "kube-apiserver"), "", ""),
            (|f| { pod(f, "kube-scheduler"); f.duties = WORKER }, "static pod: /etc/kubernetes/manifests/kube-scheduler.yaml is there, and the machine is no node", ""),
            (|f| pod(f, "own"), "", "static pod: /etc/kubernetes/manifests/own.yaml is there, and the machine is no node"),
            (|f| f.seen.foreign.flannel_network = Some("10.244.0.0/16".into()),
             "pods' network: /run/flannel/subnet.env has 10.244.0.0/16, left by another cluster", ""),
            (|f| f.seen.foreign.flannel_network = Some("10.233.64.0/18".into()), "", ""),
            (|f| f.facts.addresses.push(address("cni0", "10.244.1.1", 24)), "pods' network: cni0 is in 10.244.1.0/24, left by another cluster", ""),
            (|f| f.facts.addresses.push(address("cni0", "10.233.65.1", 24)), "", "pods' network: cni0 is there with 10.233.65.0/24, and the machine is no node"),
            (|f| { f.facts.addresses.push(address("cni0", "10.233.65.1", 24)); f.seen.joined = true }, "", ""),
            (|f| f.seen.foreign.arguments = Some("/etc/default/kubelet".into()), "",
             "kubelet.service: /etc/default/kubelet sets KUBELET_EXTRA_ARGS, which only the unit of a package reads"),
            (|f| { f.seen.foreign.docker = true; f.seen.foreign.containers = vec![("moby".into(), "3".into())] }, "",
             "containerd: Docker runs here (running: 3 of moby)"),
            (|f| f.seen.foreign.containers = vec![("default".into(), "1".into())], "", "containerd: other programs have containers here (running: 1 of default)"),
            (|f| f.seen.foreign.containerd = Some("/lib/systemd/system/containerd.service".into()), "",
             "containerd: there is one already (/lib/systemd/system/containerd.service)"),
            (|f| f.seen.foreign.networks = vec!["vxlan.calico".into(), "chains cali-...".into()], "",
             "network plugin: another one has left vxlan.calico, chains cali-..."),
        ];
        for (row, (change, refused, warned)) in rows.into_iter().enumerate() {
            assert_eq!(found(change), (refused.to_owned(), warned.to_owned()), "row {row}");
        }
    }

    #[test]
    fn remedies_can_be_typed() {
        let mut fixture = Fixture::good();
        drop_in(&mut fixture, "kubelet");
        let drop_in = &drop_ins(&fixture.machine())[0];
        assert_eq!(
            drop_in.remedy,
            "on node1: mkdir -p /etc/systemd/system/kubelet.service.d && ln -s /dev/null \
             /etc/systemd/system/kubelet.service.d/10-kubeadm.conf && systemctl daemon-reload && systemctl try-restart kubelet"
        );
        cni(&mut fixture, "05 odd.conflist", "odd");
        let odd = first_plugin(&fixture.machine()).unwrap().remedy;
        assert!(
            odd.starts_with(
                "on node1: mv '/etc/cni/net.d/05 odd.conflist' '/etc/cni/net.d/05 odd.conflist.off'; or"
            ),
            "{odd}"
        );
        let cluster = |name: &str, remover: &str| Cluster {
            name: name.into(),
            path: "/etc/systemd/system/x.service".into(),
            remover: remover.into(),
        };
        fixture.seen.foreign.clusters = vec![
            cluster("k3s", "/usr/local/bin/k3s-uninstall.sh"),
            cluster("k3s", ""),
            cluster("k0s", "/usr/bin/k0s"),
            cluster("MicroK8s", "snap"),
        ];
        let remedies: Vec<_> = clusters(&fixture.machine())
            .into_iter()
            .map(|problem| problem.remedy.replace("if nobody needs it any more, remove it on node1: ", ""))
            .collect();
        assert_eq!(
            remedies,
            [
                "/usr/local/bin/k3s-uninstall.sh",
                "systemctl disable --now x.service && rm /etc/systemd/system/x.service",
                "/usr/bin/k0s stop; /usr/bin/k0s reset",
                "snap remove --purge microk8s"
            ]
        );
    }
}
