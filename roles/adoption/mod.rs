//! adoption: a living cluster that somebody has made with kubeadm or kubespray becomes one of muster's, without a rebuild.
//!
//! The roles of a set-up do it. In a run that adopts, a control plane of kubeadm's counts as one that stands, and its static pod of
//! etcd as the member that muster is to run (`cluster::identity`); kubespray's unit of etcd is one already ([`kubespray`]). So whatever they refuse is refused here as well, a look shows
//! what they would change, and what comes of it is an ordinary cluster. Only an adoption does what is here: it compares the
//! cluster with the inventory before anything is touched ([`living`], [`machine`]), keeps what machines have, hands a member of
//! etcd over to muster's unit ([`member`]), and takes away what others' manifests have in place of muster's own. From the first change of a machine until its end a mark is on it, with which no other run sets anything up.

mod caches;
mod compared;
mod engine;
mod engine_config;
mod etcd_version;
mod kubelet;
mod kubespray;
mod living;
mod machine;
mod member;
mod of_kubeadm;
mod pod_network;
mod proxy;
mod static_pods;
mod ways_in;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use muster_engine::prelude::*;
use muster_engine::reads::Read;
use serde_json::Value;

use crate::balancer;
use crate::cluster;
use crate::common::{bin_dir, cluster_vars};
use crate::kubectl::{Kubectl, kubectl};
use crate::nodelocaldns;
use crate::objects::parsed;
pub(crate) use kubespray::{no_other_balancer, notes};
use living::Living;
use machine::Machine;
pub(crate) use member::{before_member, hand_over, handed_over};

pub(crate) const READS: &[Read] = &[Read::own::<machine::Vars>()];

/// Under which it is kept that the run adopts the cluster.
const ADOPTS: &str = "that this run adopts the cluster";

/// What machines had before, and the mark of an adoption that has begun.
const KEPT: &str = "/var/lib/muster/adopted";
const MARK: &str = "/var/lib/muster/adopted/begun";

/// Both are there while a member of etcd that kubeadm runs as a static pod is taken over: the mark, and the manifest as it was.
pub(crate) const WITH_STATIC_ETCD: [&str; 2] =
    [MARK, "/var/lib/muster/adopted/etc/kubernetes/manifests/etcd.yaml"];

/// How often a cluster that is not well is looked at again, every three seconds.
const LOOKS_AGAIN: u32 = 20;

/// What the control plane that makes room for muster's objects tells the others.
const HAS_ROOM: &str = "no objects of others";

/// What was found of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Who has set it up.
    pub made_by: String,
    /// The version of its kubelet.
    pub kubelet: String,
    /// Its container engine, with its version.
    pub engine: String,
    /// The version of containerd that takes the place of this newer one.
    pub older_engine: Option<String>,
    /// Its member of etcd: the name and the version.
    pub member: Option<String>,
    /// Whether it has an API server.
    pub is_plane: bool,
    /// Whether muster has it already.
    pub is_ours: bool,
    /// Whether its kubelet runs as kubespray starts it.
    pub is_kubesprays: bool,
    /// What Docker has there, which the node does not use.
    pub docker: Vec<String>,
    /// Whether Docker is bound to the engine that the node uses: it restarts with it, and so do its containers.
    pub docker_restarts: bool,
    /// Objects of its cluster that go, because muster has others in their place: `NAMESPACE KIND/NAME`.
    pub goes: Vec<String>,
}

/// Where the role tells what it found.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Found>>);

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The machines, by host.
    pub rows: BTreeMap<String, Row>,
    /// The lines of variables by which the inventory would say what the cluster is, `NAME: VALUE`: those that are the same for all
    /// machines.
    pub lines: BTreeMap<String, String>,
    /// Which hosts have asked for a line that is about themselves.
    of_hosts: BTreeMap<String, BTreeSet<String>>,
}

/// How a line ends that says how one host is.
const OF_HOST: &str = ", of this host alone where others have another value";

impl Told {
    /// What was told.
    pub fn take(&self) -> Found {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, host: &str, row: Row) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rows.insert(host.to_owned(), row);
    }

    /// Takes the lines out of what is in the way on a host. One that says how that host is becomes a line when all `nodes` have it.
    fn tell_lines(&self, host: &str, problems: &[Problem], nodes: usize) {
        let found = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Found { lines, of_hosts, .. } = found;
        for Problem { check, remedy, .. } in problems {
            // What is said besides, of one host for example, is no line.
            let is_line = |line: &&str| {
                let is_alone = ![", or ", ", of ", "; "].iter().any(|word| line.contains(word));
                let has_value = parsed::<Value>(line).is_ok_and(|all| all.iter().any(Value::is_object));
                line.starts_with(&format!("{check}: ")) && is_alone && has_value
            };
            let said = remedy.strip_prefix("set ").unwrap_or_default();
            let of_host = said.strip_suffix(OF_HOST);
            let Some(line) = Some(of_host.unwrap_or(said)).filter(is_line) else { continue };
            if of_host.is_some() {
                let hosts = of_hosts.entry(line.to_owned()).or_default();
                hosts.insert(host.to_owned());
                if hosts.len() < nodes {
                    continue;
                }
            }
            // Where machines differ each has its own.
            let is_alike = lines.get(check).is_none_or(|known| known == line);
            lines.insert(check.clone(), if is_alike { line.to_owned() } else { String::new() });
        }
    }
}

/// Says that the run adopts the cluster. Every role of such a run does, whichever is the first.
pub(crate) async fn begin(host: &Host, told: Told) -> Result<()> {
    host.cluster().once(ADOPTS, || async { Ok(told) }).await.map(drop)
}

/// Whether the run adopts the cluster.
pub(crate) fn is_under_way(host: &Host) -> bool {
    told(host).is_some()
}

fn told(host: &Host) -> Option<Arc<Told>> {
    host.cluster().done(ADOPTS)
}

/// Where kubeadm keeps the authority of the etcd that it runs, in a run that adopts it.
pub(crate) fn authority_of_etcd(host: &Host) -> Result<Option<String>> {
    let folder = format!("{}/etcd", cluster_vars(host)?.kube_cert_dir);
    Ok(is_under_way(host).then_some(folder))
}

/// Nothing is changed before it is known that the cluster is one that can be taken over, and that the inventory says what it is.
pub(crate) async fn check(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    let machine = Machine::look(host).await?;
    if machine.engine_is_unseen() {
        host.warn(
            "containerd runs with settings that nobody can see any more: its configuration was replaced since it began, by one that turns \
             Kubernetes' plugin off, as packages of Docker's have it; write settings of your own into containerd_* variables",
        );
    }
    let mut problems = machine::problems(host, &machine, &known).await?;
    problems.sort();
    problems.dedup();
    let told = told(host);
    if !problems.is_empty() {
        if let Some(told) = told {
            told.tell_lines(host.name(), &problems, host.cluster().group("k8s_cluster").len());
        }
        return Err(Failure::Problems(problems));
    }
    if let Some(told) = told {
        let goes = living(host).await?.goes.clone();
        let older_engine = machine.older_engine(host)?;
        told.tell(host.name(), Row { goes, older_engine, ..machine.row(known.identity(host.name())) });
    }
    host.passed("Look at the cluster that is to be adopted");
    Ok(())
}

/// Who connects the pods.
fn network_plugin(host: &Host) -> Result<String> {
    let plugin = host.all_vars().get("kube_network_plugin")?;
    Ok(plugin.and_then(|plugin| plugin.as_str().map(str::to_owned)).unwrap_or_default())
}

/// The cluster as it says of itself, once a run. Under load a probe misses now and then: what is not well is waited for a minute.
async fn living(host: &Host) -> Result<Arc<Living>> {
    let look = || async {
        let Some(kubectl) = Kubectl::find(host).await? else {
            return Err(Failure::Problems(vec![living::refused(
                "cluster",
                "no control plane of the inventory answers",
                "a cluster that runs, and its control planes in [kube_control_plane]",
                "see whether that group is right; on a control plane: kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes",
            )]));
        };
        let plugin = network_plugin(host)?;
        let look =
            || kubectl!(concat!(include_str!("others.sh"), include_str!("living.sh")), [plugin.as_str()]);
        let ask = || kubectl.query("Look at the cluster", look());
        let mut living = Living::parse(&ask().await?)?;
        for _ in 0..LOOKS_AGAIN {
            let Some((_, problem)) = living.unwell().next() else { break };
            let what = format!("the cluster to be well ({})", problem.found);
            host.pause(&what, Duration::from_secs(3)).await?;
            living = Living::parse(&ask().await?)?;
        }
        Ok(living)
    };
    host.cluster().once("the cluster that is to be adopted", look).await
}

/// What the machine has is kept, and the mark of an adoption is on it. One that muster has already gets none.
pub(crate) async fn keep(host: &Host) -> Result<()> {
    cluster::may_set_up(host).await?;
    let keep = command(
        format!("what was there before is kept in {KEPT}"),
        sh(include_str!("keep.sh"), [KEPT, MARK, &bin_dir(host)?]),
        sh(concat!(include_str!("is_ours.sh"), r#"[ -e "$1" ] || is_ours "$1""#), [MARK]),
    );
    host.step("Keep what was there before").ensure(keep).await.map(drop)
}

/// A unit, the kubelet's or the container engine's, starts what muster's says: drop-ins of packages and of others that start
/// another program do not count any more. Nothing in a run that adopts no cluster.
pub(crate) fn no_drop_ins(host: &Host, unit: &str) -> Option<Command> {
    let none = command(
        format!("no drop-ins by which {unit} starts another program"),
        sh(concat!(include_str!("drop_ins.sh"), include_str!("no_drop_ins.sh")), [KEPT, unit]),
        sh(concat!(include_str!("drop_ins.sh"), r#"[ -z "$(drop_ins "$2")" ]"#), [KEPT, unit]),
    );
    is_under_way(host).then_some(none)
}

/// Nothing of an adoption is left on a machine that is reset: drop-ins of packages count again.
pub(crate) fn forgotten() -> Command {
    command(
        "nothing of an adoption",
        sh(include_str!("forgotten.sh"), [KEPT]),
        sh(r#"[ ! -d "$1" ]"#, [KEPT]),
    )
}

/// What others' manifests have in place of muster's own is gone: daemons of flannel, which would be at work on the same interface, and
/// what kubespray has for names. What flannel's have set up on the machines stays until muster's take it over.
pub(crate) async fn make_room(host: &Host) -> Result<()> {
    cluster::let_leader_go_first(host, HAS_ROOM).await?;
    let plugin = network_plugin(host)?;
    let go = || async {
        let Some(kubectl) = Kubectl::find(host).await? else {
            host.not_yet("Make room for the network and for names");
            return Ok(());
        };
        let gone = command(
            "no flannel and no DNS of others",
            kubectl!(concat!(include_str!("others.sh"), include_str!("others_go.sh")), [plugin.as_str()]),
            kubectl!(
                concat!(include_str!("others.sh"), r#"left=$(others "$1") && [ -z "$left" ]"#),
                [plugin.as_str()]
            ),
        );
        kubectl.step("Make room for the network and for names").ensure(gone).await.map(drop)
    };
    host.cluster().once(HAS_ROOM, go).await?;
    host.reached(HAS_ROOM);
    Ok(())
}

/// The machine has the address of muster's DNS cache, which kubespray's takes with it when it ends.
pub(crate) async fn address_of_names(host: &Host) -> Result<()> {
    let Some((unit, address)) = nodelocaldns::address(host)? else { return Ok(()) };
    host.step("Give the DNS cache its address").ensure(unit).ensure(address).await.map(drop)
}

/// The machine is muster's. One that has no load balancer of muster's needs kubespray's no more, because it finds the API elsewhere.
pub(crate) async fn end(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    let has_ours = balancer::pod(host, &known, &[])?.is_some();
    let port = cluster_vars(host)?.kube_apiserver_port;
    let gone = no_other_balancer(host, (!has_ours).then_some(port))?;
    host.step("End the adoption").ensure_all(gone).remove(file(MARK)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::kubespray::tests::{SHELLS, put, run};
    use super::*;

    /// kubectl as it prints objects: a list, unless one alone was named.
    const KUBECTL: &str = r#"#!/bin/sh
named="$*" indent=
named=${named#* get } named=${named% --ignore-not-found*}
case $named in *' '*) printf 'kind: List\nitems:\n- ' && indent='  ' ;; esac
printf 'metadata:\n%s  name: %s\n%s  resourceVersion: "7"\n%s  uid: ab\n' "$indent" "$named" "$indent" "$indent"
"#;

    #[test]
    fn objects_are_kept_as_they_can_be_put_back() {
        for shell in SHELLS {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            put(root, "bin/kubectl", KUBECTL);
            put(root, "etc/kubernetes/admin.conf", "");
            let at = |path: &str| root.join(path).display().to_string();
            let arguments = [at("kept"), at("kept/begun"), at("bin")];
            let arguments = arguments.each_ref().map(String::as_str);
            let (done, said) = run(shell, root, include_str!("keep.sh"), &arguments);
            assert!(done, "{shell:?}: {said}");
            let kept = std::fs::read_to_string(root.join("kept/objects.yaml")).unwrap();
            for object in [
                "configmap/cluster-info",
                "clusterrolebinding/flannel",
                "deployment/coredns",
                "-l app=flannel",
            ] {
                assert!(kept.contains(object), "{shell:?}: {object}: {kept}");
            }
            // They would be refused with these.
            assert!(!kept.contains("resourceVersion") && !kept.contains("uid"), "{shell:?}: {kept}");
        }
    }

    #[test]
    fn lines_that_hold_for_all_machines_are_told_once() {
        let told = Told::default();
        let problem = |check: &str, remedy: &str| living::refused(check, "", "", remedy);
        let limit = format!("set containerd_limit_mem_lock: infinity{OF_HOST}");
        let spec = |files: u32| format!("set containerd_limit_open_file_num: {files}{OF_HOST}");
        let of_first = [
            problem("dns_domain", "set dns_domain: a.example"),
            problem("kubelet_max_pods", "set kubelet_max_pods: 250"),
            problem(
                "kubelet_custom_flags",
                "set kubelet_custom_flags: [\"--v=4\"], of that host where others have not got it",
            ),
            problem(
                "kubelet_config_extra_args",
                "set kubelet_config_extra_args: {maxPods: 9}, or of this host alone: another",
            ),
            problem("nodes", "mend it, and run again"),
            problem("containerd_limit_mem_lock", &limit),
            problem("containerd_limit_open_file_num", &spec(9)),
        ];
        told.tell_lines("a", &of_first, 2);
        let of_second = [
            problem("dns_domain", "set dns_domain: a.example"),
            problem("kubelet_max_pods", "set kubelet_max_pods: 110"),
            problem("containerd_limit_mem_lock", &limit),
            problem("containerd_limit_open_file_num", &spec(8)),
        ];
        told.tell_lines("b", &of_second, 2);
        let lines = told.take().lines;
        assert_eq!(lines["dns_domain"], "dns_domain: a.example");
        // Of how a host is nothing is told that does not hold for each of them.
        assert_eq!(lines["containerd_limit_mem_lock"], "containerd_limit_mem_lock: infinity");
        assert_eq!((lines["kubelet_max_pods"].as_str(), lines.len()), ("", 3));
    }
}
