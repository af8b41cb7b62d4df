//! A cluster of model machines goes to another version of Kubernetes: the controller is killed between any two exchanges with a
//! machine, and the same command finishes it.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use muster_engine::play::{Play, Share};
use muster_roles::upgrade::Settings;
use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;
use muster_testkit::model::shell::{Done, Shell};

use crate::cluster::{Cluster, State, content, put, say, write};
use crate::drain::Pods;
use crate::kills::{At, killed_everywhere};
use crate::kubeadm_files::{manifest, told};
use crate::line::Kill;
use crate::{MACHINES, NOT_MODELLED, World, hosts, simulated};

/// The version that it has, and the one that it goes to.
pub(crate) const FROM: &str = "1.36.3";
pub(crate) const TO: &str = "1.37.2";

/// Two patches of a minor version whose kubeadm cannot do it in one go.
pub(crate) const OLD: [&str; 2] = ["1.31.13", "1.31.14"];

/// Three control planes with etcd, and two workers.
const GROUPS: &str = "[etcd]\nm[0:2]\n[kube_control_plane]\nm[0:2]\n[kube_node]\nm[0:4]\n";

/// Where a control plane's API server is.
pub(crate) const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// What `upgrade-cluster` does, as far as models can: a snapshot is more than their etcd has.
pub(crate) static PLAYS: LazyLock<Vec<Play>> = LazyLock::new(|| {
    let mut plays: Vec<Play> =
        serde_saphyr::from_str(include_str!("../../playbooks/upgrade.yml")).expect("the playbook");
    for play in &mut plays {
        play.roles.retain(|role| !NOT_MODELLED.contains(&role.as_str()) && role != "etcd-snapshot");
    }
    plays.retain(|play| !play.roles.is_empty());
    plays
});

/// The version of a machine's API server; nothing where it has none.
pub(crate) fn api_server(machine: &Machine) -> String {
    told(&content(machine, MANIFEST), "image: registry.k8s.io/kube-apiserver:v")
}

/// The version of a program that is installed.
pub(crate) fn installed(machine: &Machine, program: &str) -> String {
    let content = content(machine, &format!("/usr/local/bin/{program}"));
    content.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Whether this flag of kubeadm's leaves out the phase that brings kube-proxy.
pub(crate) fn leaves_out_kube_proxy(flag: &str) -> bool {
    let phases = flag.strip_prefix("--skip-phases=").unwrap_or_default();
    phases.split(',').any(|phase| phase == "addon/kube-proxy")
}

impl Cluster {
    /// `kubeadm upgrade apply` on a control plane: its own static pods, what the cluster has as a whole, and with the last control
    /// plane kube-proxy, unless that is left out or has no ConfigMap.
    pub(crate) async fn upgrade(&self, shell: &mut Shell, version: &str, skipped: &str) -> Done {
        let machine = shell.machine.clone();
        if installed(&machine, "kubeadm") != version || !self.answers() {
            return say(shell, "kubeadm: it cannot go to that version now", 1);
        }
        {
            let mut state = self.state();
            let others: Vec<String> = state.busy.iter().chain(&state.cordoned).cloned().collect();
            let others = others.into_iter().filter(|other| *other != machine.name);
            let disturbed: Vec<String> = others
                .filter(|other| other.starts_with("kubeadm upgrade") || other.starts_with('m'))
                .collect();
            if !disturbed.is_empty() {
                state.wrong.push(format!("{} is upgraded beside {disturbed:?}", machine.name));
            }
        }
        self.alone(shell, "kubeadm upgrade apply").await?;
        put(shell, MANIFEST, &manifest(&machine.name, version), 0o600);
        let mut state = self.state();
        state.version = version.to_owned();
        let planes: Vec<String> = state.nodes.values().map(|node| api_server(node)).collect();
        let has_proxy = !state.proxy.is_empty() && !leaves_out_kube_proxy(skipped);
        if has_proxy && planes.iter().all(|plane| plane.is_empty() || plane == version) {
            state.proxy = version.to_owned();
        }
        Ok(0)
    }
}

impl Cluster {
    /// kube-proxy gets a version, which must not be newer than that of any API server (Kubernetes' "Version Skew Policy").
    pub(crate) fn runs_kube_proxy(&self, version: &str) {
        let mut state = self.state();
        let numbers = |version: &str| -> Vec<u32> { version.split('.').flat_map(str::parse).collect() };
        let servers: Vec<String> = state.nodes.values().map(|node| api_server(node)).collect();
        if servers.iter().any(|server| !server.is_empty() && numbers(server) < numbers(version)) {
            state.wrong.push(format!("kube-proxy {version} is newer than API servers: {servers:?}"));
        }
        state.proxy = version.to_owned();
    }
}

/// What kubectl says of versions; `None` for what is something else.
pub(crate) fn answer(state: &State, words: &[&str]) -> Option<String> {
    let kubelet = |name: &str| state.kubelets.get(name).map_or("", String::as_str).to_owned();
    match words {
        ["get", "nodes,pods", "-A", "-o", _] => {
            let mut lines = String::new();
            for (name, machine) in &state.nodes {
                let is_well = !state.off.contains(name) && !state.down.contains(name);
                let ready = if is_well { "True" } else { "Unknown" };
                let mark = if state.cordoned.contains(name) { "true" } else { "" };
                lines += &format!("Node||{name}||{ready}|||v{}|{mark}|/\n", kubelet(name));
                let version = api_server(machine);
                for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
                    if !version.is_empty() {
                        lines += &format!(
                            "Pod|kube-system|{component}-{name}|Running|{ready}|{name}|registry.k8s.io/{component}:v{version}|||Node/{name}\n"
                        );
                    }
                }
            }
            Some(lines)
        }
        [
            "-n",
            "kube-system",
            "get",
            "configmap/kubeadm-config",
            "daemonset/kube-proxy",
            "--ignore-not-found",
            "-o",
            _,
        ] => {
            let proxy = match state.proxy.as_str() {
                "" => String::new(),
                version => format!("proxy|registry.k8s.io/kube-proxy:v{version}\n"),
            };
            Some(format!("kubernetesVersion: v{}\n{proxy}", state.version))
        }
        [
            "-n",
            "kube-system",
            "get",
            "daemonset/kube-proxy",
            "configmap/kube-proxy",
            "--ignore-not-found",
            "-o",
            "name",
        ] => Some(match state.proxy.as_str() {
            "" => String::new(),
            _ => "daemonset.apps/kube-proxy\nconfigmap/kube-proxy\n".to_owned(),
        }),
        ["-n", "kube-system", "get", "configmap", "kubeadm-config", "-o", _] => {
            Some(format!("apiVersion: kubeadm.k8s.io/v1beta4\nkubernetesVersion: v{}\n", state.version))
        }
        ["-n", "kube-system", "get", "pods", "-l", "component=kube-apiserver", "-o", _] => {
            let servers = state.nodes.iter().map(|(name, machine)| (name, api_server(machine)));
            let servers = servers.filter(|(_, version)| !version.is_empty());
            Some(
                servers
                    .map(|(name, version)| format!("{name}=registry.k8s.io/kube-apiserver:v{version} "))
                    .collect(),
            )
        }
        // Nobody has asked for anything that a version drops.
        ["get", "--raw", "/metrics"] => Some(String::new()),
        ["get", "node", name, "-o", form] if form.contains("bootID") => {
            let boot = state.boots.get(*name).copied().unwrap_or(1);
            let ready = if state.off.contains(*name) { "Unknown" } else { "True" };
            state.nodes.contains_key(*name).then(|| format!("boot-{boot} {ready}"))
        }
        ["get", "node", name, "-o", _] => {
            state.nodes.contains_key(*name).then(|| format!("v{} True", kubelet(name)))
        }
        _ => None,
    }
}

/// `sed` with the texts that the roles have; `None` for others.
pub(crate) fn sed(text: &str, words: &[&str]) -> Option<String> {
    match words {
        // What an adoption keeps: without what is of one object alone.
        ["/^    resourceVersion: /d; /^    uid: /d"] => Some(text.to_owned()),
        _ if text.is_empty() => Some(String::new()),
        ["-n", "s/^kubernetesVersion: /config|/p; /^proxy|./p"] => {
            let lines = text.lines().filter_map(|line| match line.strip_prefix("kubernetesVersion: ") {
                Some(version) => Some(format!("config|{version}\n")),
                None => {
                    (line.len() > "proxy|".len() && line.starts_with("proxy|")).then(|| format!("{line}\n"))
                }
            });
            Some(lines.collect())
        }
        _ => None,
    }
}

impl World {
    /// A cluster of all machines, which is to go to another version. Somebody has cordoned m4.
    async fn before_upgrade() -> Self {
        Self::before_upgrade_from([FROM, TO]).await
    }

    async fn before_upgrade_from([from, to]: [&str; 2]) -> Self {
        let world = Self::new(&[]);
        world.inventory(&hosts(MACHINES), GROUPS, &[&format!("kube_version={from}")]);
        let wrong = world.calm(1).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        world.cluster.state().held.insert("m4".to_owned());
        world.inventory(&hosts(MACHINES), GROUPS, &[&format!("kube_version={to}")]);
        world.upgrades.store(true, Ordering::Relaxed);
        world
    }

    /// From now on only these machines are upgraded, so many of them at a time: `--limit`, `--serial`.
    fn upgrades_only(&self, limit: &[&str], batch: usize) {
        *self.limit.lock().unwrap() = limit.iter().map(ToString::to_string).collect();
        let mut plays = PLAYS.clone();
        for play in &mut plays {
            if !play.any_errors_fatal && !play.wait_for_all && play.serial != Some(Share::Hosts(1)) {
                (play.serial, play.wait_for_all) = (Some(Share::Hosts(batch)), true);
            }
        }
        self.does(&plays, muster_roles::upgrading(Settings::default()));
        let mut state = self.cluster.state();
        (state.leaving, state.together) = (batch, 0);
    }

    /// What has not got the new version, or is cordoned.
    fn behind(&self) -> Vec<String> {
        self.behind_of(TO)
    }

    fn behind_of(&self, to: &str) -> Vec<String> {
        let state = self.cluster.state();
        let mut behind: Vec<String> = Vec::new();
        for (name, machine) in &state.nodes {
            let (kubelet, server) = (&state.kubelets[name], api_server(machine));
            if kubelet != to || !(server.is_empty() || server == to) {
                behind.push(format!("{name}: {kubelet} {server}"));
            }
        }
        if [&state.version, &state.proxy] != [to, to] {
            behind.push(format!("configuration {}, kube-proxy {}", state.version, state.proxy));
        }
        behind.extend(state.cordoned.iter().map(|name| format!("{name} is cordoned")));
        if state.held != BTreeSet::from(["m4".to_owned()]) {
            behind.push("m4 is not cordoned any more".to_owned());
        }
        behind
    }
}

/// The same command finishes it; returns how many kills there were.
fn cut_off_anywhere(name: &str, at: At, versions: [&str; 2]) -> usize {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = World::before_upgrade_from(versions).await;
            let (identity, members) = (world.cluster.identity(), world.cluster.member_names());
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            wrong.extend(world.calm(3).await.2);
            wrong.extend(world.behind_of(versions[1]));
            if world.cluster.identity() != identity || world.cluster.member_names() != members {
                wrong.push(format!("another cluster: {} was {identity}", world.cluster.identity()));
            }
            wrong.extend(world.arrived().into_iter().map(|path| format!("{path} is left")));
            for machine in &world.machines {
                let outdated = machine.outdated().into_iter();
                // A worker has no etcd.
                let outdated =
                    outdated.filter(|unit| *unit != "etcd.service" || machine.name.as_str() < "m3");
                wrong.extend(outdated.map(|unit| format!("{}: {unit} is outdated", machine.name)));
            }
            // What does nothing after one of these upgrades does nothing after the others.
            for upgrades in [true, false].into_iter().take(if kill.is_some() { 1 } else { 2 }) {
                world.upgrades.store(upgrades, Ordering::Relaxed);
                let (_, ran, more) = world.calm(4).await;
                wrong.extend(more);
                if !ran.changes.is_empty() {
                    wrong.push(format!(
                        "the run after (upgrade: {upgrades}) changes something: {:?}",
                        ran.changes
                    ));
                }
            }
            (exchanges, wrong)
        })
    };
    killed_everywhere(name, at, play)
}

#[test]
fn an_upgrade_that_was_cut_off_anywhere_is_finished_by_the_same_command() {
    held(
        "controller killed",
        "after every exchange of an upgrade, on five model machines, three of them control planes",
        cut_off_anywhere("an upgrade", At::After, [FROM, TO]),
        "the same command finishes; the same cluster, one machine down at a time, no node left cordoned",
    );
}

#[test]
fn an_upgrade_of_an_old_cluster_is_finished_too() {
    held(
        "controller killed",
        "after every exchange of an upgrade by the parts of kubeadm's, on the same machines",
        cut_off_anywhere("an upgrade of an old cluster", At::After, OLD),
        "the same, and kube-proxy was never newer than an API server",
    );
}

#[test]
fn a_cluster_keeps_its_version_where_new_ones_get_a_newer_one() {
    simulated(async {
        let world = World::new(&[]);
        let groups = |nodes: &str| GROUPS.replace("m[0:4]", nodes);
        world.inventory(&hosts(4), &groups("m[0:3]"), &[&format!("kube_version={FROM}")]);
        let wrong = world.calm(1).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        // Nobody says a version any more.
        world.inventory(&hosts(4), &groups("m[0:3]"), &[]);
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
        let told = format!("the cluster keeps its {FROM} ({TO} is the default of new clusters");
        assert!(ran.warnings.iter().any(|warning| warning.contains(&told)), "{:?}", ran.warnings);
        // A machine that joins gets the cluster's.
        world.inventory(&hosts(MACHINES), GROUPS, &[]);
        let wrong = world.calm(3).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(world.cluster.state().kubelets.get("m4").map(String::as_str), Some(FROM));
    });
}

#[test]
fn a_worker_that_is_off_is_left_and_upgraded_by_a_later_run() {
    simulated(async {
        let world = World::before_upgrade().await;
        world.cluster.switch_off("m3");
        let refused = world.refused().await;
        assert!(refused.len() == 1 && refused[0].starts_with("m3: "), "{refused:?}");
        let behind = world.behind();
        assert!(behind.len() == 1 && behind[0].starts_with("m3: "), "{behind:?}");
        world.cluster.switch_on("m3");
        let wrong = world.calm(3).await.2;
        assert!(wrong.is_empty() && world.behind().is_empty(), "{wrong:?} {:?}", world.behind());
    });
}

#[test]
fn a_control_plane_that_is_off_keeps_the_cluster_as_it_is() {
    simulated(async {
        let world = World::before_upgrade().await;
        world.cluster.switch_off("m1");
        let before = world.changes();
        let refused = world.refused().await;
        assert!(refused.iter().any(|said| said.contains("m1 does not answer")), "{refused:?}");
        assert_eq!(world.changes(), before);
    });
}

#[test]
fn each_pool_of_workers_has_batches_of_its_own_once_the_control_plane_is_done() {
    simulated(async {
        let world = World::new(&[]);
        let groups = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:4]\n";
        world.inventory(&hosts(MACHINES), groups, &[&format!("kube_version={FROM}")]);
        let wrong = world.calm(1).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        world.inventory(&hosts(MACHINES), groups, &[&format!("kube_version={TO}")]);
        let kubelets = || -> Vec<String> { world.cluster.state().kubelets.values().cloned().collect() };

        // Before it nothing is done with a worker.
        world.upgrades_only(&["m1", "m2"], 2);
        let before = world.changes();
        let refused = world.refused().await;
        let told = "control plane: the API server of m0 is older than 1.37.2, which m1 is to have";
        assert!(refused.iter().any(|said| said.contains(told)), "{refused:?}");
        assert_eq!(world.changes(), before);

        let mut run = 2;
        for (limit, batch, together, versions) in [
            (&["m0"][..], 1, 1, [TO, FROM, FROM, FROM, FROM]),
            (&["m1", "m2"], 2, 2, [TO, TO, TO, FROM, FROM]),
            (&["m3", "m4"], 1, 1, [TO; MACHINES]),
        ] {
            world.upgrades_only(limit, batch);
            run += 1;
            let wrong = world.calm(run).await.2;
            assert!(wrong.is_empty(), "{limit:?}: {wrong:?}");
            assert_eq!(
                (kubelets(), world.cluster.state().together),
                (versions.map(str::to_owned).into(), together)
            );
            assert_eq!(world.cluster.cordoned(), BTreeSet::new());
        }
    });
}

#[test]
fn a_cluster_that_is_not_well_is_upgraded_where_that_is_asked_for() {
    simulated(async {
        let world = World::before_upgrade().await;
        // Somebody has stopped its kubelet.
        world.machines[3].state().kept.units.entry("kubelet.service").or_default().active = false;
        world.cluster.state().down.insert("m3".to_owned());
        let before = world.changes();
        let refused = world.refused().await;
        assert!(
            refused.iter().any(|said| said.ends_with("cluster: the node m3 is not Ready")),
            "{refused:?}"
        );
        assert_eq!(world.changes(), before);

        world.upgrades.store(false, Ordering::Relaxed);
        world.does(&PLAYS, muster_roles::upgrading(Settings { force_unhealthy: true }));
        let (_, ran, wrong) = world.calm(3).await;
        let told = "the cluster is not well: the node m3 is not Ready";
        assert!(ran.warnings.iter().any(|warning| warning == told), "{:?}", ran.warnings);
        assert!(wrong.is_empty() && world.behind().is_empty(), "{wrong:?} {:?}", world.behind());
    });
}

#[test]
fn a_kubelet_that_did_not_come_up_in_its_new_version_is_finished_by_the_same_command() {
    simulated(async {
        let world = World::before_upgrade().await;
        // Its program was put there, and its node was lost.
        let (machine, path) = (&world.machines[3], "/usr/local/bin/kubelet");
        let program = content(machine, path).replace(FROM, TO);
        write(&mut machine.state().kept.disk, path, &program, 0o755);
        machine.state().kept.units.entry("kubelet.service").or_default().active = false;
        world.cluster.state().down.insert("m3".to_owned());
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty() && world.behind().is_empty(), "{wrong:?} {:?}", world.behind());
        let told = format!("the node m3 is not Ready: its upgrade to {TO} was cut off, and goes on");
        assert!(ran.warnings.contains(&told), "{:?}", ran.warnings);
    });
}

#[test]
fn a_budget_that_will_block_is_told_at_the_beginning() {
    simulated(async {
        let world = World::before_upgrade().await;
        let set = [
            format!("kube_version={TO}"),
            "drain_fallback_enabled=true".to_owned(),
            "drain_retries=0".to_owned(),
        ];
        world.inventory(&hosts(MACHINES), GROUPS, &set.each_ref().map(String::as_str));
        world.cluster.state().pods = Pods::that_stay();
        let (_, ran, wrong) = world.calm(2).await;
        let is_told = |text: &&String| {
            text.starts_with("draining m2 will wait: the PodDisruptionBudget shop/web of Deployment web ")
        };
        let told: Vec<&String> = ran.warnings.iter().filter(is_told).collect();
        assert!(told.len() == 1 && told[0].ends_with("(drain_fallback_enabled)"), "{:?}", ran.warnings);
        assert!(wrong.is_empty() && world.behind().is_empty(), "{wrong:?} {:?}", world.behind());
        // Nothing is drained any more, and nothing is told.
        world.cluster.state().pods = Pods::that_stay();
        let (_, ran, wrong) = world.calm(3).await;
        assert!(
            wrong.is_empty() && !ran.warnings.iter().any(|text| is_told(&text)),
            "{wrong:?} {:?}",
            ran.warnings
        );
    });
}

#[test]
fn what_is_only_fetched_counts_when_it_is_put_in_its_place() {
    simulated(async {
        let world = World::before_upgrade().await;
        *world.roles.lock().unwrap() = ["upgrade-check", "fetch"].map(str::to_owned).into();
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let told = &ran.told["m3"];
        let programs = ["kubelet", "kubeadm", "kubectl"].map(|program| format!("fetch: {program} {TO}"));
        assert!(programs.iter().all(|program| told.contains(program)), "{told:?}");
        assert_eq!(ran.outcome["m3"].summary.counts.changed, told.len() - programs.len(), "{told:?}");
    });
}
