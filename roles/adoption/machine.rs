//! What a machine of a cluster that is to be adopted is like, beside its identity.

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::compared::{self, differs};
use super::engine::{self, Engine};
use super::etcd_version::other_etcd;
use super::kubespray::{self, Kubesprays};
use super::living::{kubeadm_document, refused, version_of};
use super::of_kubeadm::Own;
use super::static_pods::StaticPod;
use super::{MARK, Row, kubelet, living};
use crate::addresses::ip;
use crate::cluster::{self, Identity, Standing};
use crate::common::cluster_vars;
use crate::containerd;
use crate::etcd;
use crate::objects::parsed;

/// Explained in `defaults.yml` of other roles.
#[derive(Deserialize)]
pub(super) struct Vars {
    kubelet_custom_flags: Vec<String>,
    kubelet_node_custom_flags: Vec<String>,
    kubelet_fail_swap_on: bool,
}

/// How often etcd is asked again that is not well, every three seconds.
const ASKS_AGAIN: u32 = 20;

/// Where containerd listens, in the two spellings that there are.
const ENDPOINTS: [&str; 2] = ["/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock"];

/// The arguments of a kubelet that kubeadm's units give it.
const OF_UNITS: [(&str, Option<&str>); 3] = [
    ("--bootstrap-kubeconfig", None),
    ("--kubeconfig", Some("/etc/kubernetes/kubelet.conf")),
    ("--config", Some("/var/lib/kubelet/config.yaml")),
];

/// What was seen on a machine.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Machine {
    /// Whether an adoption is under way on it, and whether it is muster's already.
    begun: bool,
    ours: bool,
    /// Other ways to have Kubernetes: the name, and by which file it was seen.
    clusters: Vec<(String, String)>,
    engine: String,
    settings: Engine,
    /// The arguments with which the kubelet runs; none where it does not run.
    kubelet: Vec<String>,
    /// What kubeadm has written for it.
    flags: String,
    /// The machine's own name.
    name: String,
    endpoint: Option<String>,
    /// The kubelet's configuration, where kubeadm puts it.
    config: String,
    /// Who has made the cgroups that are there for pods: `systemd`, `cgroupfs`.
    cgroups: Vec<String>,
    /// The manifests of the control plane's programs and of etcd, by their names.
    manifests: BTreeMap<String, String>,
    /// What kubeadm's etcd there says of all members.
    static_etcd: String,
    /// What only kubespray has.
    spray: Kubesprays,
    /// What Docker has there beside the node, and whether it restarts with containerd.
    docker: Vec<String>,
    docker_restarts: bool,
}

impl Machine {
    /// Looks at a machine. An etcd that misses an answer under load gets time.
    pub(super) async fn look(host: &Host) -> Result<Self> {
        let mut machine = Self::look_once(host).await?;
        for _ in 0..ASKS_AGAIN {
            if machine.spray.etcd_is_well() && !machine.static_etcd.contains("unhealthy") {
                break;
            }
            host.pause("etcd to be well", Duration::from_secs(3)).await?;
            machine = Self::look_once(host).await?;
        }
        Ok(machine)
    }

    async fn look_once(host: &Host) -> Result<Self> {
        let look = concat!(
            include_str!("../preflight/clusters.sh"),
            include_str!("is_ours.sh"),
            include_str!("docker.sh"),
            include_str!("engine.sh"),
            include_str!("running.sh"),
            include_str!("machine.sh")
        );
        Ok(Self::parse(&host.query(sh(look, [MARK])).await?.output))
    }

    fn parse(said: &str) -> Self {
        let mut machine = Self::default();
        for line in said.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "begun" => machine.begun = true,
                "ours" => machine.ours = true,
                "cluster" => {
                    let mut words = value.split(' ').map(str::to_owned);
                    machine.clusters.extend(words.next().zip(words.next()));
                }
                "engine" => machine.engine = version(value),
                "kubelet" => machine.kubelet.push(value.to_owned()),
                "flags" => machine.flags += value,
                "endpoint" => machine.endpoint = Some(value.trim_matches('"').to_owned()),
                "kubelet_config" => machine.config += &format!("{value}\n"),
                "cgroups" => machine.cgroups.push(value.to_owned()),
                "manifest" => {
                    let (program, line) = value.split_once(' ').unwrap_or((value, ""));
                    *machine.manifests.entry(program.to_owned()).or_default() += &format!("{line}\n");
                }
                "name" => machine.name = value.to_owned(),
                "static_etcd" => machine.static_etcd += &format!("{value}\n"),
                "docker" => machine.docker.push(value.to_owned()),
                "docker_restarts" => machine.docker_restarts = true,
                _ if machine.settings.take(key, value) => {}
                _ => machine.spray.take(key, value),
            }
        }
        machine
    }

    /// Whether what containerd runs with cannot be seen.
    pub(super) fn engine_is_unseen(&self) -> bool {
        self.settings.was_replaced()
    }

    /// What is told of it.
    pub(super) fn row(&self, seen: Option<&Identity>) -> Row {
        let seen = seen.cloned().unwrap_or_default();
        let made_by = match (self.clusters.first(), self.begun, self.ours) {
            (Some((name, _)), ..) => name.clone(),
            (_, true, _) => "half adopted".to_owned(),
            (_, _, true) => "muster".to_owned(),
            _ if self.is_kubesprays() || !seen.joined() && seen.etcd.name.is_some() => "kubespray".to_owned(),
            _ if seen.joined() => "kubeadm".to_owned(),
            _ => "in no cluster".to_owned(),
        };
        let stacked = seen.stacked.as_ref().map(|stacked| {
            let [name, version] =
                [&stacked.name, &stacked.version].map(|text| text.clone().unwrap_or_default());
            format!("{name}, {version}, a static pod")
        });
        let of_unit = || Some(format!("{}, a unit", seen.etcd.name.clone()?));
        Row {
            made_by,
            kubelet: seen.kubelet_version.clone().unwrap_or_default(),
            engine: self.engine.clone(),
            older_engine: None,
            member: stacked.or_else(of_unit),
            is_plane: seen.version.is_some(),
            is_ours: self.ours,
            is_kubesprays: self.is_kubesprays(),
            docker: self.docker.clone(),
            docker_restarts: self.docker_restarts,
            goes: Vec::new(),
        }
    }

    /// Why nothing can be said of a machine's part in the cluster.
    pub(super) fn is_none_of_kubeadms(&self, host: &Host, known: &Standing) -> Result<Vec<Problem>> {
        if let Some((name, path)) = self.clusters.first() {
            return Ok(vec![refused(
                "cluster",
                format!("{} is a machine of {name} ({path})", host.name()),
                "a cluster that kubeadm has made: another layout cannot be taken over",
                "set up a new cluster on other machines, and move the applications",
            )]);
        }
        // One that cannot be asked is told by itself.
        let Some(seen) = known.identity(host.name()) else { return Ok(Vec::new()) };
        let node = cluster_vars(host)?.kube_override_hostname;
        if let Some(found) = known.is_anothers(host.name(), &node) {
            return Ok(vec![refused(
                "cluster",
                found,
                "an inventory of one cluster, with the names that its nodes have",
                format!(
                    "see whether the address of {} is right; take machines of another cluster out of the inventory; for a node with \
                     another name set kube_override_hostname of {}",
                    host.name(),
                    host.name()
                ),
            )]);
        }
        // As kubespray has machines for etcd alone, beside a cluster.
        if has_etcd_alone(host) && seen.etcd.name.is_some() && !seen.joined() {
            return Ok(Vec::new());
        }
        let is_plane = seen.version.is_some();
        let told = match (seen.joined(), is_plane, host.in_group("kube_control_plane")) {
            (false, ..) => Some((
                format!("{} is in no cluster", host.name()),
                "take it out of the inventory; it can join when the cluster is adopted: setup-cluster",
            )),
            (_, true, false) => Some((
                format!("{} has an API server", host.name()),
                "add it to [kube_control_plane] of the inventory",
            )),
            (_, false, true) => Some((
                format!("{} has no API server", host.name()),
                "take it out of [kube_control_plane] of the inventory",
            )),
            _ => None,
        };
        let problem = |(found, remedy): (String, &str)| {
            refused("cluster", found, "an inventory that says what the machines are in the cluster", remedy)
        };
        Ok(told.map(problem).into_iter().collect())
    }

    /// What of the machine would be lost, or cannot be taken over. `asked`: kubeadm's configuration in the cluster.
    pub(super) async fn problems(
        &self,
        host: &Host,
        known: &Standing,
        asked: &serde_json::Value,
    ) -> Result<Vec<Problem>> {
        let Some(seen) = known.identity(host.name()).filter(|_| !self.ours) else { return Ok(Vec::new()) };
        let kube = version_of(asked);
        let mut problems = member(host, seen, kube)?;
        let vars: Vars = host.vars()?;
        let facts = host.facts();
        // What a container sees is the swap of its machine, which preflight tells of.
        let switches_off = vars.kubelet_fail_swap_on && facts.container.is_empty();
        problems.extend(kubelet::swap(host.name(), &facts.swaps, switches_off));
        if has_etcd_alone(host) {
            problems.extend(self.spray.problems(host, kube)?);
            return Ok(problems);
        }
        if !self.static_etcd.is_empty() {
            problems.extend(etcd::unwell_by(host, &self.static_etcd).await?);
        }
        problems.extend(self.engine_of_others());
        problems.extend(self.settings.problems(host.name(), &containerd::wanted(host)?));
        problems.extend(engine::cannot_go_back(host, self.engine_version(), kube));
        let own = Own { address: ip(host)?.to_string(), port: cluster_vars(host)?.kube_apiserver_port };
        let certificates = asked["certificatesDir"].as_str().unwrap_or("/etc/kubernetes/pki");
        let wanted = kubelet::wanted(host, known, certificates)?;
        let given = [&vars.kubelet_custom_flags[..], &vars.kubelet_node_custom_flags[..]].concat();
        problems.extend(self.kubelet_of_others(host.name(), &own.address, &given, &wanted));
        if !self.begun && !self.kubelet.is_empty() {
            problems.extend(self.settings_of_others(host.name(), &own.address, &wanted));
        }
        problems.extend(self.spray.problems(host, kube)?);
        if seen.stacked.is_some() {
            let will = etcd::environment(host)?;
            let lost = |pod: StaticPod| Ok(compared::etcd(&pod.with_environment().arguments, &will));
            problems.extend(self.of_manifest("etcd", lost)?);
        }
        if seen.version.is_some() && !self.begun && !known.standing().is_empty() {
            let wanted = match kubeadm_document(host, known).await? {
                Ok(wanted) => wanted,
                Err(more) => return Ok([problems, more].concat()),
            };
            let patches =
                host.all_vars().get("kubeadm_patches")?.map(|value| value.to_json()).unwrap_or_default();
            for program in self.manifests.keys().filter(|program| program.as_str() != "etcd") {
                problems.extend(
                    self.of_manifest(program, |pod| Ok(pod.problems(&own, asked, &wanted, &patches)))?,
                );
            }
        }
        Ok(problems)
    }

    /// What of a static pod would be lost, or that its manifest cannot be read.
    fn of_manifest(
        &self,
        program: &str,
        lost: impl FnOnce(StaticPod) -> Result<Vec<Problem>>,
    ) -> Result<Vec<Problem>> {
        let manifest = self.manifests.get(program).map(String::as_str).unwrap_or_default();
        match StaticPod::parse(program, manifest) {
            Ok(pod) => lost(pod),
            Err(why) => Ok(vec![refused(
                program,
                format!("/etc/kubernetes/manifests/{program}.yaml cannot be read: {why}"),
                "the manifest of a static pod, as kubeadm writes it",
                "see what is wrong with it, and run again",
            )]),
        }
    }

    /// What the kubelet was started with as its configuration.
    fn settings(&self) -> Value {
        match self.is_kubesprays() {
            true => self.spray.document(),
            false => parsed::<Value>(&self.config).ok().and_then(|mut all| all.pop()).unwrap_or_default(),
        }
    }

    /// What the kubelet's configuration says that it would not say any more. `own`: the machine's address; `wanted`: what it would say.
    fn settings_of_others(&self, name: &str, own: &str, wanted: &Value) -> Vec<Problem> {
        let living = self.settings();
        if !living.is_object() {
            return vec![refused(
                "kubelet",
                format!("the configuration of the kubelet of {name} cannot be read"),
                "what it was started with, in /var/lib/kubelet/config.yaml (or kubespray's kubelet-config.yaml)",
                format!("see what is wrong with that file on {name}, and run again"),
            )];
        }
        let mut problems = kubelet::problems(name, own, &living, wanted);
        problems.extend(kubelet::cgroups(name, &self.cgroups, &living, wanted));
        problems
    }

    fn engine_version(&self) -> &str {
        self.engine.trim_start_matches("containerd ")
    }

    /// The version of containerd that takes the place of a newer one.
    pub(super) fn older_engine(&self, host: &Host) -> Result<Option<String>> {
        Ok(engine::goes_back(host, self.engine_version(), &cluster_vars(host)?.kube_version))
    }

    /// Whether the kubelet runs as kubespray starts it.
    fn is_kubesprays(&self) -> bool {
        let config = format!("--config={}", kubespray::KUBELET_CONFIG);
        self.kubelet.contains(&config)
    }

    fn engine_of_others(&self) -> Option<Problem> {
        let told =
            self.flags.split([' ', '"']).find_map(|flag| flag.strip_prefix("--container-runtime-endpoint="));
        let own = self.is_kubesprays().then(|| self.spray.engine()).flatten();
        let endpoint = own.as_deref().or(told).or(self.endpoint.as_deref())?;
        let is_containerd = ENDPOINTS.contains(&endpoint.trim_start_matches("unix://"));
        (!is_containerd).then(|| {
            refused(
                "container_manager",
                format!("the kubelet's container engine is at {endpoint}"),
                "containerd, at /run/containerd/containerd.sock",
                "bring the node to containerd first (Kubernetes' documentation: Changing the Container Runtime on a Node), or leave it out",
            )
        })
    }

    /// `own`: the machine's address; `given`: the flags that variables give it; `wanted`: what its configuration would say.
    fn kubelet_of_others(&self, name: &str, own: &str, given: &[String], wanted: &Value) -> Vec<Problem> {
        if self.kubelet.is_empty() {
            return vec![refused(
                "kubelet",
                format!("the kubelet of {name} does not run as kubelet.service"),
                "a node that works, with the kubelet as a unit of systemd",
                format!("see why, on {name}: systemctl status kubelet"),
            )];
        }
        let flags = kubelet::joined(self.kubelet.iter().map(String::as_str));
        let kubeadms = kubelet::joined(self.flags.split([' ', '"']));
        let is_known = |flag: &String| {
            let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
            let of_unit =
                OF_UNITS.iter().any(|(own, path)| *own == name && path.is_none_or(|path| path == value));
            let of_spray = self.is_kubesprays() && kubespray::is_its_flag(name, value, &self.name);
            let is_own = name == "--node-ip" && value == own || kubelet::is_in_file(name, value, wanted);
            of_unit || of_spray || is_own || kubeadms.contains(flag) || given.contains(flag)
        };
        let unknown = flags.iter().filter(|flag| !is_known(flag));
        unknown
            .map(|flag| {
                let (flag_name, value) = flag.split_once('=').unwrap_or((flag, "true"));
                let (check, remedy) = kubelet::of_flag(flag_name, value).unwrap_or_else(|| {
                    let line = format!(
                        "set kubelet_custom_flags: [{flag:?}], of that host where others have not got it"
                    );
                    ("kubelet_custom_flags", line)
                });
                refused(
                    check,
                    format!("the kubelet of {name} runs with {flag}, and would not any more"),
                    "the arguments that it has",
                    remedy,
                )
            })
            .collect()
    }
}

/// `containerd 2.2.1` of what `containerd --version` says: `containerd github.com/containerd/containerd/v2 v2.2.1 REVISION`.
fn version(said: &str) -> String {
    let version = said.split_whitespace().find(|word| {
        let digits = word.trim_start_matches('v');
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.contains('.')
    });
    format!("containerd {}", version.unwrap_or_default().trim_start_matches('v'))
}

/// Whether the inventory has the machine for etcd, and not as a node.
fn has_etcd_alone(host: &Host) -> bool {
    host.in_group("etcd") && !host.in_group("k8s_cluster")
}

/// What is not right with a machine's member of etcd, in a cluster of this version.
fn member(host: &Host, seen: &Identity, kube: &str) -> Result<Vec<Problem>> {
    let in_group = host.in_group("etcd");
    let Some(stacked) = &seen.stacked else {
        // One that was handed over has a configuration of muster's.
        let is_missing = in_group && seen.etcd.name.is_none();
        return Ok(is_missing
            .then(|| {
                refused(
                    "etcd",
                    format!("{} is in [etcd], and no etcd is on it", host.name()),
                    "the members of etcd that the cluster has: static pods of kubeadm's, or units of kubespray's",
                    format!("take {} out of [etcd] of the inventory", host.name()),
                )
            })
            .into_iter()
            .collect());
    };
    let mut problems = Vec::new();
    if !in_group {
        problems.push(refused(
            "etcd",
            format!("{} has a member of etcd, and is not in [etcd]", host.name()),
            "the members of etcd that the cluster has",
            format!("add {} to [etcd] of the inventory", host.name()),
        ));
    }
    // Where the cluster's own is not found either, that is told.
    if seen.ca_key && !stacked.authority_key {
        problems.push(refused(
            "etcd",
            format!("{} has not the key of etcd's authority (etcd/ca.key in kube_cert_dir)", host.name()),
            "the authority with its key, by which members get certificates",
            "put etcd/ca.crt and etcd/ca.key there from a backup, or from another control plane",
        ));
    }
    let given = cluster::given_member_names(host)?;
    let name = stacked.name.as_deref().unwrap_or_default();
    if let Some(given) = given.get(host.name()).filter(|given| *given != name) {
        problems.push(differs("etcd_member_name", given, name));
    }
    problems.extend(other_etcd(host, stacked.version.as_deref().unwrap_or_default(), kube)?);
    Ok(problems)
}

/// Everything that keeps a machine, and the cluster for which it tells, from being taken over.
pub(super) async fn problems(host: &Host, machine: &Machine, known: &Standing) -> Result<Vec<Problem>> {
    let problems = machine.is_none_of_kubeadms(host, known)?;
    if !problems.is_empty() {
        return Ok(problems);
    }
    let living = living(host).await?;
    let mut problems = if has_etcd_alone(host) { Vec::new() } else { living.problems_of(host, known)? };
    problems.extend(machine.problems(host, known, &living.configuration()).await?);
    let tells_for_all = known.planes.first().is_some_and(|plane| plane == host.name());
    if tells_for_all {
        problems.extend(living.problems(host, known).await?);
    }
    // What else does not fit may follow from these, also on other machines.
    if problems.is_empty() && (tells_for_all || !known.standing().is_empty()) {
        problems = known.problems_of_set_up(host.name(), &cluster::wanted(host)?);
    }
    Ok(problems)
}

#[cfg(test)]
#[path = "machine_look_tests.rs"]
mod look_tests;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kubespray::tests::{SHELLS, put, run};
    use super::*;

    fn machine(flags: &str, kubelet: &[&str]) -> Machine {
        let lines: String = kubelet.iter().map(|word| format!("kubelet {word}\n")).collect();
        Machine::parse(&format!(
            "engine containerd containerd.io v2.2.1 abc\nflags KUBELET_KUBEADM_ARGS=\"{flags}\"\n{lines}"
        ))
    }

    #[test]
    fn flags_of_a_kubelet_that_nobody_would_give_it_are_told() {
        let usual = [
            "--kubeconfig=/etc/kubernetes/kubelet.conf",
            "--config=/var/lib/kubelet/config.yaml",
            "--node-ip=192.0.2.4",
        ];
        let found = |more: &[&str], given: &[&str]| {
            let given: Vec<String> = given.iter().map(|flag| (*flag).to_owned()).collect();
            let wanted = json!({ "failSwapOn": true, "maxPods": 110 });
            let found = machine("--v 3 --a=b", &[&usual[..], more].concat()).kubelet_of_others(
                "node1",
                "192.0.2.4",
                &given,
                &wanted,
            );
            found.into_iter().map(|problem| problem.found).collect::<Vec<_>>()
        };
        assert!(found(&["--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"], &[]).is_empty());
        assert_eq!(
            found(&["--v", "4"], &[]),
            ["the kubelet of node1 runs with --v=4, and would not any more"]
        );
        assert!(found(&["--v", "4"], &["--v=4"]).is_empty());
        assert_eq!(found(&["--config=/etc/own.yaml"], &[]).len(), 1);
        // kubeadm's own notes, whichever way they are written; and what the kubelet's file says as well.
        assert!(found(&["--v=3", "--a", "b", "--max-pods=110"], &[]).is_empty());
        assert_eq!(found(&["--node-ip=192.0.2.9"], &[]).len(), 1);
        let of_nobody = machine("", &[]).kubelet_of_others("node1", "192.0.2.4", &[], &json!({}));
        assert_eq!(of_nobody.len(), 1, "it does not run");
    }

    #[test]
    fn a_flag_is_told_with_the_variable_that_stands_for_it() {
        let remedy = |flag: &str| {
            let wanted = json!({ "failSwapOn": true, "cgroupDriver": "systemd", "maxPods": 110 });
            let found = machine("", &[flag]).kubelet_of_others("node1", "192.0.2.4", &[], &wanted);
            found.into_iter().map(|problem| problem.remedy).collect::<Vec<_>>().join("; ")
        };
        // As a flag it would let the machine's swap be switched off all the same.
        assert_eq!(remedy("--fail-swap-on=false"), "set kubelet_fail_swap_on: false");
        assert_eq!(remedy("--max-pods=250"), "set kubelet_max_pods: 250");
        assert_eq!(remedy("--cgroup-driver=cgroupfs"), "set containerd_use_systemd_cgroup: false");
        assert_eq!(remedy("--cgroup-driver=systemd"), "");
        assert!(remedy("--node-ip=192.0.2.9").starts_with("set ip=192.0.2.9"));
    }

    /// Docker's units as systemd knows them: its own runs and is bound to containerd, that of cri-dockerd does not run.
    const SYSTEMCTL: &str = r#"#!/bin/sh
case "$*" in
  "show -p LoadState --value docker.service" | "show -p LoadState --value cri-dockerd.service") echo loaded ;;
  "show -p LoadState "*) echo not-found ;;
  "is-active -q docker.service") ;;
  "show -p BoundBy -p RequiredBy --value containerd.service") printf '\ndocker.service other.service\n' ;;
  *) exit 3 ;;
esac
"#;

    #[test]
    fn what_docker_has_beside_a_node_is_told() {
        let program = concat!(include_str!("../preflight/clusters.sh"), include_str!("docker.sh"), "docker");
        for shell in SHELLS {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            put(root, "bin/systemctl", "#!/bin/sh\nexit 3\n");
            put(root, "bin/iptables-save", "#!/bin/sh\necho ':KUBE-FORWARD - [0:0]'\n");
            let seen = || Machine::parse(&run(shell, root, program, &[]).1);
            assert_eq!(seen().row(None).docker, Vec::<String>::new(), "{shell:?}");
            put(root, "bin/systemctl", SYSTEMCTL);
            put(root, "bin/iptables-save", "#!/bin/sh\necho ':DOCKER-USER - [0:0]'\n");
            put(root, "sys/class/net/docker0/mtu", "1500");
            put(root, "var/lib/docker/engine-id", "");
            put(root, "run/containerd/io.containerd.runtime.v2.task/moby/one/init.pid", "9");
            let row = seen().row(None);
            let all = [
                "docker.service, which runs",
                "cri-dockerd.service, which does not run",
                "containers: 1",
                "the bridge docker0",
                "its chains of iptables",
            ];
            assert_eq!(row.docker[..5], all, "{shell:?}");
            assert!(row.docker[5].ends_with("/var/lib/docker") && row.docker_restarts, "{shell:?}: {row:?}");
        }
    }

    #[test]
    fn another_engine_is_refused_wherever_the_kubelet_is_told_of_it() {
        let at = |flags: &str, lines: &str| Machine {
            endpoint: None,
            ..Machine::parse(&format!("flags {flags}\n{lines}"))
        };
        assert!(
            at("--container-runtime-endpoint=unix:///var/run/crio/crio.sock", "")
                .engine_of_others()
                .is_some()
        );
        assert!(
            at("--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock", "")
                .engine_of_others()
                .is_none()
        );
        let by_file = Machine::parse("endpoint \"unix:///var/run/cri-dockerd.sock\"\n");
        assert!(by_file.engine_of_others().is_some());
        assert_eq!(machine("", &[]).engine, "containerd 2.2.1");
    }
}
