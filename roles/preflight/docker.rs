//! Docker: what variables say of it, and whose Docker a machine has.

use ipnet::Ipv4Net;
use muster_engine::facts::Address;
use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::Machine;
use super::findings::{Findings, problem};
use super::peers::Everyone;
use super::settings::{Setting, place};
use super::subnets::{self, BRIDGE, overlap};
use crate::docker;

const ANOTHER_NETWORK: &str = "set another one in docker_options, which nobody uses, as --bip=172.30.0.1/24";

/// What was seen of Docker on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Docker {
    /// The folder of the one that muster has set up, and how many containers of it run.
    pub(super) ours: Option<(String, usize)>,
    /// The file by which one of somebody else's is known.
    pub(super) anothers: Option<String>,
}

/// Says a line for what there is; [`Docker::parse`] reads it. $1: the mark of muster's Docker; $2: containerd's folder of state.
pub(super) const LOOK: &str = concat!(
    include_str!("../docker/anothers.sh"),
    r#"if [ -e "$1" ]; then
  running=0
  for task in "$2"/io.containerd.runtime.v2.task/moby/* "$2"/io.containerd.runtime.v2.task/moby-*/*; do
    [ ! -e "$task" ] || running=$((running + 1))
  done
  echo "ours $running $(cat "$1")"
else
  found=$(anothers_docker "$1")
  [ -z "$found" ] || echo "anothers $found"
fi"#
);

impl Docker {
    /// From what [`LOOK`] has printed.
    pub(super) fn parse(answer: &str) -> Self {
        let line = answer.lines().next().unwrap_or_default();
        let ours = line.strip_prefix("ours ").and_then(|rest| rest.split_once(' '));
        Self {
            ours: ours.map(|(running, folder)| (folder.to_owned(), running.parse().unwrap_or_default())),
            anothers: line.strip_prefix("anothers ").map(str::to_owned),
        }
    }
}

/// What the variables say, where Docker is wanted.
pub(super) fn settings(vars: &HostVars, findings: &mut Findings) {
    findings.refuse(docker::wrong(vars).map(|wrong| {
        let found = format!("{}{}", wrong.found, place(vars, wrong.name));
        problem(wrong.name, found, wrong.needed, format!("correct {}, or remove it", wrong.name))
    }));
    findings.refuse(among_the_clusters(vars));
    // Variables of samples ask for nothing; these somebody has thought of.
    if !docker::is_asked_for(vars) {
        let said = ["docker_options", "docker_storage_options"].into_iter();
        let said =
            said.filter_map(|name| Setting::by_user(vars, name)).filter(|setting| !setting.text.is_empty());
        findings.warn(said.map(|setting| {
            setting.wrong(
                "nothing, where container_manager is containerd: it is ignored, and there is no Docker",
                "set container_manager: docker, if Docker is wanted beside containerd",
            )
        }));
    }
    findings.warn(docker::left_out(vars).into_iter().map(|(name, arguments)| {
        problem(
            name,
            format!("{arguments}{}", place(vars, name)),
            "arguments of dockerd that are settings in daemon.json; these are left out, and Docker listens at /run/docker.sock alone",
            format!("take them out of {name}"),
        )
    }));
}

/// Networks of Docker's bridge that are the cluster's: pods and services there would be out of the machine's reach.
fn among_the_clusters(vars: &HostVars) -> Vec<Problem> {
    let tell = |(name, argument, net): (&'static str, String, Ipv4Net)| {
        let (of, subnet) = subnets::all(vars).into_iter().find(|(_, subnet)| overlap(*subnet, net))?;
        Some(problem(
            name,
            format!("{argument}{}", place(vars, name)),
            format!("a network apart from {of} {subnet}"),
            ANOTHER_NETWORK,
        ))
    };
    docker::networks(vars).into_iter().filter_map(tell).collect()
}

/// Networks of Docker's bridge in which machines are: they would not reach each other.
fn among_the_machines(vars: &HostVars, everyone: &Everyone) -> Vec<Problem> {
    let net_of = |address: &Address| match address.ip {
        std::net::IpAddr::V4(ip) => Ipv4Net::new(ip, address.prefix).ok().map(|net| net.trunc()),
        std::net::IpAddr::V6(_) => None,
    };
    let tell = |(name, argument, net): (&'static str, String, Ipv4Net)| {
        let own = everyone.addresses().filter(|(_, address)| address.interface != BRIDGE);
        let mut own = own.filter_map(|(owner, address)| Some((owner, address, net_of(address)?)));
        let (owner, address, theirs) = own.find(|(_, _, theirs)| overlap(*theirs, net))?;
        Some(problem(
            name,
            format!("{argument}{}", place(vars, name)),
            format!("a network apart from {theirs}, in which {owner} is ({})", address.interface),
            ANOTHER_NETWORK,
        ))
    };
    docker::networks(vars).into_iter().filter_map(tell).collect()
}

/// The bridge of muster's Docker where pods or services are: it keeps its address until Docker is told another one.
fn bridge_in_the_way(machine: &Machine, vars: &HostVars) -> Vec<Problem> {
    if machine.seen.docker.ours.is_none() || !docker::networks(vars).is_empty() {
        return Vec::new();
    }
    let tell = |(of, subnet, net, _): (&str, Ipv4Net, Ipv4Net, &str)| {
        problem(
            "docker_options",
            format!("no --bip, and {BRIDGE} is in {net}, which overlaps {of} {subnet}"),
            "a network of its own for Docker's bridge, which keeps its address until it is told another one",
            "set docker_options: --bip=172.30.0.1/24, or another network that nobody uses",
        )
    };
    let met = subnets::met(machine).into_iter();
    met.filter(|(.., interface)| *interface == BRIDGE).map(tell).collect()
}

/// Whose Docker is there, where one is wanted, or not any more.
pub(super) fn check(machine: &Machine, everyone: &Everyone, vars: &HostVars, findings: &mut Findings) {
    if !machine.duties.control_plane && !machine.duties.node {
        return;
    }
    let wanted = machine.vars.container_manager == "docker";
    let (name, seen) = (machine.name, &machine.seen.docker);
    if let (true, Some(path)) = (wanted, &seen.anothers) {
        findings.refuse([problem(
            "container_manager",
            format!("somebody else's Docker is there ({path})"),
            "no Docker but muster's: nobody's Docker is replaced",
            format!(
                "set container_manager: containerd, which leaves that Docker alone; or take it away on {name} by what has installed it, \
                 as apt-get remove docker.io, and move /etc/docker/daemon.json: images and volumes stay"
            ),
        )]);
    }
    if wanted {
        findings.refuse(among_the_machines(vars, everyone));
        findings.refuse(bridge_in_the_way(machine, vars));
    }
    let Some((folder, running)) = seen.ours.as_ref().filter(|_| !wanted) else { return };
    if *running > 0 {
        // Not called after the variable: its value is no mistake, and the command to go on with has it again.
        findings.refuse([problem(
            "Docker",
            format!("containers of it run ({running}), and it would go"),
            "no containers of Docker, where container_manager is not docker: they would be stopped",
            format!("stop them on {name}: docker stop $(docker ps -q); or set container_manager: docker"),
        )]);
        return;
    }
    findings.warn([problem(
        "container_manager",
        "Docker is there, and is not wanted any more: setup-cluster removes it",
        format!(
            "nothing: its images, containers and volumes stay in {folder}, for a Docker that may come again"
        ),
        format!("to remove them, on {name}: {}", docker::removal_of_data(folder)),
    )]);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::super::fixture::{Fixture, address, told, variables};
    use super::super::peers::Peer;
    use super::*;

    #[test]
    fn whose_docker_it_is_says_the_mark() {
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let at = |path: &str| root.path().join(path);
            let write = |path: &str, text: &str| {
                fs::create_dir_all(at(path).parent().unwrap()).unwrap();
                fs::write(at(path), text).unwrap();
            };
            let here = root.path().display().to_string();
            let program = ["/etc/", "/usr/", "/lib/", "/run/", "/proc/"]
                .iter()
                .fold(LOOK.to_owned(), |text, folder| {
                    text.replace(&format!(" {folder}"), &format!(" {here}{folder}"))
                });
            let look = || {
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &program, "sh"]).args([at("mark"), at("state")]);
                command.env("PATH", format!("{here}/bin:/usr/bin:/bin"));
                let out = command.output().unwrap();
                assert!(out.status.success(), "{shell:?} {out:?}");
                let docker = Docker::parse(&String::from_utf8(out.stdout).unwrap().replace(&here, ""));
                (docker.anothers.unwrap_or_default(), docker.ours)
            };
            assert_eq!(look(), (String::new(), None), "{shell:?}");
            // A package has left its socket, at which nobody listens; and then somebody does.
            write("run/docker.sock", "");
            write("proc/net/unix", "f: 00000002 00000000 00010000 0001 01 77 /run/other.sock\n");
            assert_eq!(look(), (String::new(), None), "{shell:?}");
            write("proc/net/unix", "f: 00000002 00000000 00010000 0001 01 77 /run/docker.sock\n");
            assert_eq!(look(), ("/run/docker.sock".into(), None), "{shell:?}");
            write("etc/docker/daemon.json", "{}");
            assert_eq!(look(), ("/etc/docker/daemon.json".into(), None), "{shell:?}");
            write("lib/systemd/system/docker.service", "");
            assert_eq!(look().0, "/lib/systemd/system/docker.service", "{shell:?}");
            write("mark", "/srv/my docker\n");
            assert_eq!(look(), (String::new(), Some(("/srv/my docker".into(), 0))), "{shell:?}");
            write("state/io.containerd.runtime.v2.task/moby/0a1b/pid", "7");
            write("state/io.containerd.runtime.v2.task/moby-1000.1000/0a1c/pid", "8");
            assert_eq!(look().1, Some(("/srv/my docker".into(), 2)), "{shell:?}");
        }
    }

    #[test]
    fn nobodys_docker_is_replaced_and_none_goes_under_its_containers() {
        let found = |wanted: &str, docker: Docker| {
            let mut fixture = Fixture::good();
            fixture.vars.container_manager = wanted.into();
            fixture.seen.docker = docker;
            let mut findings = Findings::new(true);
            check(&fixture.machine(), &Everyone::default(), &variables(""), &mut findings);
            let text = |list: &[Problem]| list.iter().map(told).collect::<Vec<_>>().join("; ");
            (text(&findings.problems), text(&findings.warnings))
        };
        let anothers = || Docker { anothers: Some("/run/docker.sock".into()), ..Docker::default() };
        let ours = |running| Docker { ours: Some(("/var/lib/docker".into(), running)), ..Docker::default() };
        let refused = "container_manager: somebody else's Docker is there (/run/docker.sock)";
        assert_eq!(found("docker", anothers()), (refused.into(), String::new()));
        assert_eq!(found("containerd", anothers()), Default::default());
        assert_eq!(found("docker", ours(2)), Default::default());
        assert_eq!(found("containerd", ours(2)).0, "Docker: containers of it run (2), and it would go");
        let (none, warned) = found("containerd", ours(0));
        assert!(
            none.is_empty() && warned.ends_with("is not wanted any more: setup-cluster removes it"),
            "{none} {warned}"
        );
    }

    #[test]
    fn dockers_bridge_is_where_nobody_else_is() {
        let of = |options: &str, ours: bool, bridge: &str| {
            let yaml = format!("container_manager: docker\nskydns_server: 10.233.0.3\n{options}");
            let vars = variables(&yaml);
            let mut fixture = Fixture::good();
            fixture.vars.container_manager = "docker".into();
            fixture.seen.docker.ours = ours.then(|| ("/var/lib/docker".into(), 0));
            let bridge = (!bridge.is_empty()).then(|| address("docker0", bridge, 20));
            fixture.facts.addresses.extend(bridge.clone());
            let addresses = [address("eth0", "192.0.2.5", 24)].into_iter().chain(bridge).collect();
            let everyone = Everyone::of(vec![Peer { name: "node2".into(), addresses, ..Peer::default() }]);
            let mut findings = Findings::new(true);
            settings(&vars, &mut findings);
            check(&fixture.machine(), &everyone, &vars, &mut findings);
            let told = findings.problems.iter().map(|p| format!("{}; {}", told(p), p.needed));
            told.collect::<Vec<_>>().join("\n")
        };
        let bip = |bip: &str| format!("docker_options: --bip={bip}");
        assert_eq!(of("", true, "172.17.0.1"), "");
        assert_eq!(of(&bip("172.30.0.1/24"), true, "172.30.0.1"), "");
        assert_eq!(
            of(&bip("10.233.64.1/20"), false, ""),
            "docker_options: --bip=10.233.64.1/20 (vars.yml:3:17); a network apart from kube_pods_subnet 10.233.64.0/18"
        );
        assert_eq!(
            of(&bip("10.0.0.1/8"), false, ""),
            "docker_options: --bip=10.0.0.1/8 (vars.yml:3:17); a network apart from kube_pods_subnet 10.233.64.0/18"
        );
        assert_eq!(
            of("docker_options: --fixed-cidr=10.233.0.0/24", false, ""),
            "docker_options: --fixed-cidr=10.233.0.0/24 (vars.yml:3:17); a network apart from kube_service_addresses 10.233.0.0/18"
        );
        let pools = "kube_network_plugin: calico\ncalico_pool_cidr: 172.30.0.0/16\ndocker_options: --bip=172.30.9.1/24";
        assert_eq!(
            of(pools, false, ""),
            "docker_options: --bip=172.30.9.1/24 (vars.yml:5:17); a network apart from calico_pool_cidr 172.30.0.0/16"
        );
        assert_eq!(
            of(&bip("192.0.2.129/25"), false, ""),
            "docker_options: --bip=192.0.2.129/25 (vars.yml:3:17); a network apart from 192.0.2.0/24, in which node2 is (eth0)"
        );
        // It was put among the pods before: it goes where it is told to, and is nobody's fault but Docker's.
        assert_eq!(of(&bip("172.30.0.1/24"), true, "10.233.64.1"), "");
        let among = of("", true, "10.233.64.1");
        assert!(
            among.starts_with(
                "docker_options: no --bip, and docker0 is in 10.233.64.0/20, which overlaps kube_pods_subnet"
            ),
            "{among}"
        );
        assert_eq!(of("", false, "10.233.64.1"), "", "of one that is not muster's it is told elsewhere");
    }

    #[test]
    fn what_variables_say_is_told_with_its_place() {
        let of = |yaml: &str| {
            let mut findings = Findings::new(true);
            settings(&variables(yaml), &mut findings);
            let text = |list: &[Problem]| list.iter().map(told).collect::<Vec<_>>().join("; ");
            (text(&findings.problems), text(&findings.warnings))
        };
        let with = |yaml: &str| of(&format!("container_manager: docker\n{yaml}"));
        assert_eq!(with(""), Default::default());
        assert_eq!(with("docker_options: --mtu=big").0, "docker_options: --mtu=big (vars.yml:2:17)");
        assert_eq!(with("docker_options: -H unix://").1, "docker_options: -H unix:// (vars.yml:2:17)");
        assert_eq!(of("docker_options: --mtu=big").1, "docker_options: --mtu=big (vars.yml:1:17)");
        assert_eq!(of("{docker_options: '', docker_log_opts: x}"), Default::default());
        // As kubespray's samples from v2.7 to v2.11 have it: by what a machine is, and by the version of kubespray's role.
        for expression in
            ["ansible_architecture", "'--debug' if docker_version is version('17.05', '<') else ''"]
        {
            assert_eq!(with(&format!("docker_options: \"{{{{ {expression} }}}}\"")), Default::default());
        }
    }
}
