//! What happens to a cluster that stands, and the same command after it: it is the same cluster afterwards. Its identity is its
//! authority, the beginning of its etcd, and its objects.

mod addresses;
mod alone;
mod told;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use muster_engine::failure::Failure;
use muster_engine::play::Play;
use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;
use serde_json::json;

use crate::cluster::{address, content, write};
use crate::kills::{At, in_parallel, killed_everywhere};
use crate::kubeadm_files::{Authority, KUBELET_CONFIG, node_files};
use crate::line::{Controller, Kill};
use crate::{IN_USE, MACHINES, PLAYS, World, blank, hosts, project, simulated};

const ETCD: &str = "[etcd]\nm[0:2]\n";
const NODES: &str = "[kube_node]\nm[0:2]\n";

/// A cluster, and what happens to it.
pub(crate) async fn after(groups: &str, event: impl Fn(&World)) -> World {
    let world = World::new(&[]);
    world.inventory(&hosts(IN_USE), groups, &[]);
    let wrong = world.calm(1).await.2;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    event(&world);
    world
}

impl World {
    /// From now on there is another inventory, or other variables.
    pub(crate) fn inventory(&self, hosts: &str, groups: &str, set: &[&str]) {
        *self.project.lock().unwrap() = project(hosts, groups, set);
    }

    /// From now on only this host takes part.
    pub(crate) fn only(&self, host: &str) {
        *self.limit.lock().unwrap() = vec![host.to_owned()];
    }

    /// From now on all hosts take part.
    fn everybody(&self) {
        self.limit.lock().unwrap().clear();
    }

    /// A machine gets a new system, and nothing of the old one is left.
    pub(crate) fn reimage(&self, number: usize) {
        let machine = &self.machines[number];
        let mut kept = blank(&machine.name);
        kept.units = machine.nature.units.iter().map(|(unit, _)| (*unit, Default::default())).collect();
        machine.state().kept = kept;
    }

    /// Runs, and returns what each host was refused for, as `host: check: found` or `host: failure`.
    pub(crate) async fn refused(&self) -> Vec<String> {
        let ran = self.run(&Controller::new(2, MACHINES, None)).await.expect("nobody kills it");
        let mut refused = Vec::new();
        for (host, outcome) in &ran.outcome {
            match &outcome.failure {
                Some(Failure::Problems(problems)) => {
                    refused.extend(problems.iter().map(|p| format!("{host}: {}: {}", p.check, p.found)));
                }
                Some(failure) => refused.push(format!("{host}: {failure}")),
                None => {}
            }
        }
        assert_eq!(self.cluster.wrong(), Vec::<String>::new(), "{refused:?}");
        refused
    }
}

/// The event, and then the command, killed at every exchange and given again: the cluster is the same, has these members of etcd
/// and this many nodes, and the run after it changes nothing.
pub(crate) fn heals(name: &str, members: &[(usize, &str)], nodes: usize, event: impl Fn(&World) + Sync) {
    heals_in(&format!("{ETCD}[kube_control_plane]\nm[0:1]\n{NODES}"), name, members, nodes, event);
}

/// The same, in these groups.
fn heals_in(
    groups: &str,
    name: &str,
    members: &[(usize, &str)],
    nodes: usize,
    event: impl Fn(&World) + Sync,
) {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = after(groups, &event).await;
            let identity = world.cluster.identity();
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            wrong.extend(world.calm(3).await.2);
            let wanted = members.iter().map(|(number, name)| {
                (format!("https://{}:2380", address(&format!("m{number}"))), (*name).to_owned())
            });
            if world.cluster.member_names() != wanted.collect::<Vec<_>>() {
                wrong.push(format!("members: {:?}", world.cluster.member_names()));
            }
            if world.cluster.nodes() != nodes {
                wrong.push(format!("{} nodes", world.cluster.nodes()));
            }
            wrong.extend(world.not_settled(&identity, 4).await);
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere(name, At::OneSide, play);
    held(
        name,
        "on model machines, the controller killed at every exchange of the next run",
        kills,
        "the same cluster",
    );
}

#[test]
fn a_control_plane_that_was_re_imaged_joins_its_cluster() {
    let members = [(0, "etcd1"), (1, "etcd2"), (2, "etcd3")];
    heals("the first control plane re-imaged", &members, 3, |world| world.reimage(0));
}

/// What kubeadm takes away from a node: everything that it has made but certificates, and etcd's data in its usual place,
/// whoever has it there.
fn kubeadm_reset(machine: &Machine) {
    let mut state = machine.state();
    for file in ["admin", "super-admin", "controller-manager", "scheduler", "kubelet"] {
        state.kept.disk.remove_all(&format!("/etc/kubernetes/{file}.conf"));
    }
    for folder in ["/etc/kubernetes/manifests", "/var/lib/kubelet", "/var/lib/etcd"] {
        let names: Vec<String> = state.kept.disk.names(folder).map(str::to_owned).collect();
        for name in names {
            state.kept.disk.remove_all(&format!("{folder}/{name}"));
        }
    }
    if let Some(kubelet) = state.kept.units.get_mut("kubelet.service") {
        kubelet.active = false;
    }
}

#[test]
fn a_cluster_whose_etcd_is_elsewhere_survives_kubeadm_reset_on_every_node() {
    let groups = "[etcd]\nm2\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:1]\n";
    heals_in(groups, "kubeadm reset on every node, with etcd elsewhere", &[(2, "etcd1")], 2, |world| {
        world.machines[..2].iter().for_each(|machine| kubeadm_reset(machine));
    });
}

#[test]
fn a_worker_after_kubeadm_reset_joins_its_cluster() {
    simulated(async {
        let world = after(SINGLE, |world| kubeadm_reset(&world.machines[2])).await;
        let identity = world.cluster.identity();
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty() && ran.told.keys().eq(["m2"]), "{wrong:?} {:?}", ran.told);
        let wrong = world.not_settled(&identity, 3).await;
        assert!(wrong.is_empty() && world.cluster.nodes() == 3, "{wrong:?}");
    });
}

#[test]
fn a_cluster_whose_etcd_was_emptied_does_not_begin_anew_by_itself() {
    simulated(async {
        let world = after(PLANES, |world| {
            world.machines[..IN_USE].iter().for_each(|machine| kubeadm_reset(machine));
        })
        .await;
        let refused = world.refused().await;
        assert!(refused.iter().any(|text| text.contains("no etcd member has data, and m0")), "{refused:?}");
    });
}

/// A cluster with one control plane, and with two more, which stand in front of it in their groups.
const ONE: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm0\nm2\n";
const THREE: &str = "[etcd]\nm1\nm3\nm0\n[kube_control_plane]\nm1\nm3\nm0\n[kube_node]\nm[0:3]\n";

#[test]
fn the_only_control_plane_restarts_when_others_are_there() {
    simulated(async {
        let world = after(ONE, |_| {}).await;
        world.inventory(&hosts(4), THREE, &[]);
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let at = |resource: &str| {
            let is = |(_, change): &(usize, &muster_engine::event::Change)| change.resource == resource;
            ran.changes.iter().enumerate().filter(is).map(|(at, _)| at).collect::<Vec<_>>()
        };
        let (published, joined) = (at("configuration of the cluster"), at("membership of the cluster"));
        let moved: Vec<usize> = (0..ran.changes.len())
            .filter(|at| ran.changes[*at].resource.starts_with("address of the API: https://127.0.0.1"))
            .collect();
        let (api_server, etcd) = (at("control plane"), at("service etcd"));
        let shown = || ran.changes.iter().map(|change| change.resource.as_str()).collect::<Vec<_>>();
        assert_eq!(
            (published.len(), joined.len(), api_server.len(), etcd.len()),
            (1, 2, 3, 3),
            "{:?}",
            shown()
        );
        // It gives the cluster its configuration, others join and run with it, the worker finds them, its API server restarts, then
        // its etcd.
        let restart = api_server[2];
        assert!(published[0] < joined[0] && joined[1] < restart && moved[0] < restart, "{:?}", shown());
        assert!(restart < etcd[2], "{:?}", shown());
        assert!(ran.told["m0"].contains(&"etcd-restart: service etcd".to_owned()), "{:?}", ran.told["m0"]);
    });
}

#[test]
fn a_host_put_first_joins_and_members_keep_their_names() {
    let members = [(0, "etcd1"), (1, "etcd2"), (2, "etcd3"), (3, "etcd4")];
    heals("a new host put first in its groups", &members, 4, |world| {
        let groups = "[etcd]\nm3\nm[0:2]\n[kube_control_plane]\nm3\nm[0:1]\n[kube_node]\nm[0:3]\n";
        world.inventory(&hosts(4), groups, &[]);
    });
}

#[test]
fn a_new_host_takes_the_place_of_one_that_is_gone_and_not_its_name() {
    let members = [(0, "etcd1"), (1, "etcd2"), (2, "etcd3"), (3, "etcd4")];
    heals("a machine replaced by a new host, which is first in [etcd]", &members, 4, |world| {
        world.cluster.switch_off("m2");
        let hosts = hosts(4).replace(&format!("m2 ip={}\n", address("m2")), "");
        world.inventory(
            &hosts,
            "[etcd]\nm3\nm[0:1]\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:1]\nm3\n",
            &[],
        );
    });
}

#[test]
fn the_order_of_hosts_changes_nothing() {
    let groups = format!("{ETCD}[kube_control_plane]\nm[0:1]\n{NODES}");
    simulated(async {
        let world = after(&groups, |_| {}).await;
        let groups = format!("[etcd]\nm2\nm0\nm1\n[kube_control_plane]\nm1\nm0\n{NODES}");
        world.inventory(&hosts(IN_USE), &groups, &[]);
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
    });
}

#[test]
fn a_run_without_a_control_plane_leaves_a_kubelet_as_the_cluster_and_the_variables_say() {
    simulated(async {
        let world = after(PLANES, |_| {}).await;
        let says =
            |number: usize, wanted: &str| content(&world.machines[number], KUBELET_CONFIG).contains(wanted);
        let joined = PLANES.replace("[kube_node]\nm[0:2]", "[kube_node]\nm[0:3]");
        world.inventory(&hosts(4), &joined, &["kubelet_max_pods=77"]);

        // The cluster does not have it: nothing is made up, and a machine that joins gets what there is.
        *world.limit.lock().unwrap() = vec!["m2".to_owned(), "m3".to_owned()];
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty() && !ran.told.contains_key("m2"), "{wrong:?} {:?}", ran.told);
        assert!(
            ran.warnings.iter().any(|text| text.ends_with("setup-cluster without --limit")),
            "{:?}",
            ran.warnings
        );
        assert!(says(2, "maxPods: 110") && says(3, "maxPods: 110"));

        // The cluster gets it while a worker is off, which is repaired alone.
        *world.limit.lock().unwrap() = vec!["m0".to_owned(), "m1".to_owned()];
        let wrong = world.calm(3).await.2;
        assert!(wrong.is_empty() && says(1, "maxPods: 77") && says(2, "maxPods: 110"), "{wrong:?}");
        world.only("m2");
        let (_, ran, wrong) = world.calm(4).await;
        assert!(
            wrong.is_empty() && ran.warnings.is_empty() && says(2, "maxPods: 77"),
            "{wrong:?} {:?}",
            ran.warnings
        );
        assert_eq!(ran.told["m2"], ["node: configuration of the kubelet"]);

        // Its arguments and its configuration, changed by hand, are put back.
        let flags = "/var/lib/kubelet/kubeadm-flags.env";
        for (path, ours, by_hand) in
            [(flags, "--", "--v=9 --"), (KUBELET_CONFIG, "maxPods: 77", "maxPods: 7")]
        {
            let written = content(&world.machines[2], path);
            assert!(written.contains(ours), "{written}");
            write(&mut world.machines[2].state().kept.disk, path, &written.replace(ours, by_hand), 0o600);
            let (_, ran, wrong) = world.calm(5).await;
            assert!(wrong.is_empty() && ran.changes.len() == 1, "{path}: {wrong:?} {:?}", ran.changes);
            assert_eq!(content(&world.machines[2], path), written);
            let (_, ran, wrong) = world.calm(6).await;
            assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
        }

        // What has joined with another one is made up for.
        world.everybody();
        let wrong = world.calm(7).await.2;
        assert!(wrong.is_empty() && says(3, "maxPods: 77"), "{wrong:?}");
        let (_, ran, wrong) = world.calm(6).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
    });
}

/// Without these there is no cluster; each of them needs others on the same machine and on other ones.
const MAKE_A_CLUSTER: [&str; 8] =
    ["etcd", "containerd", "kubelet", "control-plane", "node", "api-endpoint", "etcd-restart", "cni"];

/// What a run may consist of: any choice of the roles that make a cluster; any one or two of the
/// playbook's tags (each role's name is one), or all but one; any role and what comes after it. Of the applications, which are all
/// done in the same way, one stands for all.
fn choices() -> BTreeSet<Vec<String>> {
    const OTHER_APPS: [&str; 18] = [
        "openstack-cloud-controller",
        "network-policies",
        "local-path-provisioner",
        "registry",
        "traefik",
        "monitoring",
        "kube-state-metrics",
        "metallb",
        "cert-manager",
        "gateway-api",
        "csi-snapshot-controller",
        "nfs-csi",
        "cinder-csi",
        "local-volume-provisioner",
        "node-feature-discovery",
        "argocd",
        "flux",
        "extension",
    ];
    let plays = PLAYS.iter();
    let roles: Vec<(&String, &Play)> =
        plays.flat_map(|play| play.roles.iter().map(move |role| (role, play))).collect();
    let roles: Vec<_> = roles.into_iter().filter(|(role, _)| !OTHER_APPS.contains(&role.as_str())).collect();
    let chosen = |is_in: &dyn Fn(&str, &[String]) -> bool| -> Vec<String> {
        let chosen = roles.iter().filter(|(role, play)| is_in(role, &play.tags));
        chosen.map(|(role, _)| (*role).clone()).collect()
    };
    let mut choices = BTreeSet::new();
    for choice in 0_u32..1 << MAKE_A_CLUSTER.len() {
        let place = |role: &str| MAKE_A_CLUSTER.iter().position(|known| *known == role);
        let is_in = |role: &str| place(role).map(|at| choice & (1 << at) != 0);
        choices.insert(chosen(&|role, _| is_in(role) == Some(true)));
    }
    let tags: BTreeSet<&String> =
        roles.iter().flat_map(|(role, play)| play.tags.iter().chain([*role])).collect();
    for one in &tags {
        for other in &tags {
            let has = |role: &str, tags: &[String]| {
                [one, other].iter().any(|tag| tag.as_str() == role || tags.contains(tag))
            };
            choices.insert(chosen(&has));
            if one == other {
                choices.insert(chosen(&|role, tags| !has(role, tags)));
            }
        }
    }
    choices.extend((0..roles.len()).map(|at| roles[at..].iter().map(|(role, _)| (*role).clone()).collect()));
    choices.remove(&Vec::new());
    choices
}

/// Two machines that are members of etcd and control planes at once: what each needs of the other is brought about by any role.
#[test]
fn no_choice_of_roles_or_tags_makes_machines_wait_for_each_other() {
    let groups = "[etcd]\nm[0:1]\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";
    let choices: Vec<Vec<String>> = choices().into_iter().collect();
    assert!(choices.len() > 300, "{}", choices.len());
    let some: Vec<&[Vec<String>]> = choices.chunks(20).collect();
    in_parallel(&some, |some| {
        let mut wrong = Vec::new();
        simulated(async {
            // Nobody changes a cluster that stands: it serves for all of them.
            let stands = after(groups, |_| ()).await;
            for (number, choice) in (2..).zip(*some) {
                let blank = World::new(&[]);
                blank.inventory(&hosts(IN_USE), groups, &[]);
                for (what, world) in [("the cluster that stands", &stands), ("blank machines", &blank)] {
                    world.roles.lock().unwrap().clone_from(choice);
                    let begun = tokio::time::Instant::now();
                    let ran =
                        world.run(&Controller::new(number, MACHINES, None)).await.expect("nobody kills it");
                    let failures =
                        ran.outcome.values().filter_map(|host| Some(host.failure.as_ref()?.to_string()));
                    let failures: Vec<String> = failures.collect();
                    // Where nothing is there yet, what is left out is missing; but everybody comes to an end.
                    let is_circle = failures.iter().any(|failure| failure.contains("none would ever go on"));
                    let is_other =
                        std::ptr::eq(world, &stands) && !(failures.is_empty() && ran.changes.is_empty());
                    let lasted = begun.elapsed();
                    if is_circle || is_other || lasted.as_secs() > 1800 {
                        wrong.push(format!("{choice:?}, {what}, {lasted:?}: {failures:?} {:?}", ran.changes));
                    }
                }
            }
        });
        wrong
    });
    held(
        "roles left out",
        "on model machines: all choices of the roles that make a cluster, all choices of one tag, of two, of all but one, and of a \
         role and all after it",
        2 * choices.len(),
        "nobody waits for ever; a cluster that stands stays as it is",
    );
}

#[test]
fn a_plan_says_the_same_whichever_machine_is_slow() {
    simulated(async {
        let world = after(PLANES, |_| {}).await;
        // The control plane that leads has more to do than the other one, which is ahead of it then.
        let labelled = |host: &str| format!("{host} node_labels=\"{{'room': '9'}}\" ");
        let hosts = hosts(IN_USE).replace("m0 ", &labelled("m0")).replace("m2 ", &labelled("m2"));
        world.inventory(&hosts, PLANES, &["coredns_replicas=3", "flannel_vxlan_port=8473"]);
        world.check.store(true, Ordering::Relaxed);
        let mut plans = Vec::new();
        for slow in 0..IN_USE {
            let controller = Controller::far_from(slow, 2, MACHINES);
            plans.push(world.run(&controller).await.expect("nobody kills it").told);
        }
        assert_eq!(
            plans[0]["m0"],
            [
                "control-plane: labels and taints of m0",
                "flannel: objects of flannel",
                "coredns: objects of coredns"
            ]
        );
        assert_eq!(plans[0]["m2"], ["node: labels and taints of m2"]);
        assert_eq!(plans[0].len(), 2);
        assert!(plans.iter().all(|plan| *plan == plans[0]), "{plans:#?}");

        // Somebody who plans for one machine is told of that one.
        world.only("m2");
        let plan = world.run(&Controller::new(2, MACHINES, None)).await.expect("nobody kills it").told;
        assert_eq!(plan.keys().collect::<Vec<_>>(), ["m2"]);
    });
}

#[test]
fn a_second_coredns_comes_and_goes_under_the_pods_that_ask_the_first_one() {
    simulated(async {
        let world = after(PLANES, |_| {}).await;
        for (seed, mode) in [(3, "coredns_dual"), (5, "coredns")] {
            world.inventory(&hosts(IN_USE), PLANES, &[&format!("dns_mode={mode}")]);
            let (_, ran, wrong) = world.calm(seed).await;
            assert!(wrong.is_empty(), "{mode}: {wrong:?}");
            let of_names = ran.told["m0"].iter().filter(|told| *told == "coredns: objects of coredns");
            assert_eq!(of_names.count(), 1, "{mode}: {:?}", ran.told);
            let seen = world.cluster.seen();
            for kind in ["Deployment", "Service"] {
                let second = format!("{kind}/kube-system/coredns-secondary");
                assert_eq!(seen.contains(&second), mode == "coredns_dual", "{seen}");
            }
            let (_, ran, wrong) = world.calm(seed + 1).await;
            assert!(wrong.is_empty() && ran.changes.is_empty(), "{mode}: {wrong:?} {:?}", ran.changes);
        }
    });
}

#[test]
fn an_application_comes_and_goes_and_costs_nothing_where_there_is_none() {
    simulated(async {
        let world = after(PLANES, |_| {}).await;
        let looked = world.calm(2).await.1.looked;
        assert!(looked.contains("coredns") && !looked.contains("metrics-server"), "{looked:?}");

        world.inventory(&hosts(IN_USE), PLANES, &["metrics_server_enabled=true"]);
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(ran.told["m0"], ["metrics-server: objects of metrics-server"]);
        assert!(
            world.cluster.seen().contains("APIService//v1beta1.metrics.k8s.io"),
            "{}",
            world.cluster.seen()
        );
        let (_, ran, wrong) = world.calm(4).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);

        // Switched off, it is removed by whoever is there, and nothing else is.
        world.inventory(&hosts(IN_USE), PLANES, &[]);
        let (_, ran, wrong) = world.calm(5).await;
        assert!(wrong.is_empty() && ran.told.len() == 1, "{wrong:?} {:?}", ran.told);
        let seen = world.cluster.seen();
        assert!(!seen.contains("metrics") && seen.contains("Deployment/kube-system/coredns"), "{seen}");
        let (_, ran, wrong) = world.calm(6).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
        assert_eq!(ran.looked, looked);
    });
}

#[test]
fn an_application_that_somebody_else_has_installed_stays_and_stops_no_other() {
    simulated(async {
        let metadata = json!({ "namespace": "kube-system", "name": "metrics-server" });
        let theirs = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata });
        let world = after(PLANES, |world| world.cluster.state().objects.make_by_hand(theirs.clone())).await;
        let both = ["metrics_server_enabled=true", "local_path_provisioner_enabled=true"];
        world.inventory(&hosts(IN_USE), PLANES, &both);
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "the role that tells it at the end is not modelled: {wrong:?}");
        assert_eq!(ran.told["m0"], ["local-path-provisioner: objects of local-path-provisioner"]);
        let seen = world.cluster.seen();
        assert!(seen.contains("local-path-provisioner") && !seen.contains("APIService"), "{seen}");
    });
}

/// Of this many places at which a run that is refused may be cut off, one after the other.
const CUTS: usize = 5;

/// What must be refused with the cluster as it was: what happens to it, the machines that must not be changed, and what is said.
struct Refusal {
    groups: &'static str,
    event: fn(&World),
    untouched: &'static [usize],
    said: &'static str,
}

const PLANES: &str = "[etcd]\nm[0:2]\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";
const ALONE: &str = "[etcd]\nm1\n[kube_control_plane]\nm0\n[kube_node]\nm[0:2]\n";

/// One machine is everything, and two are workers.
const SINGLE: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:2]\n";

const ALL: &[usize] = &[0, 1, 2];

#[test]
#[rustfmt::skip]
fn what_would_end_a_cluster_is_refused() {
    let refusals = [
        Refusal { groups: PLANES, untouched: &[2], said: "etcd has lost its majority: 1 of 3 members answers; not m1-2",
            event: |world| { world.reimage(2); world.cluster.switch_off("m1"); world.only("m2") } },
        Refusal { groups: PLANES, untouched: &[], said: "m2 has no data, and no member of etcd is healthy",
            event: |world| { world.reimage(2); world.cluster.switch_off("m1"); world.only("m2");
                world.machines[0].state().kept.units.get_mut("etcd.service").unwrap().active = false } },
        Refusal { groups: PLANES, untouched: &[2], said: "etcd may have data on m0, which could not be asked",
            event: |world| { world.reimage(2); world.cluster.switch_off("m0"); world.cluster.switch_off("m1"); world.only("m2") } },
        Refusal { groups: PLANES, untouched: ALL, said: "etcd_data_dir: /srv/etcd, but the data of m0 is in /var/lib/etcd",
            event: |world| world.inventory(&hosts(IN_USE), PLANES, &["etcd_data_dir=/srv/etcd"]) },
        Refusal { groups: PLANES, untouched: &[2], said: "node name: other, but the machine m2 is in the cluster as the node m2",
            event: |world| world.inventory(&hosts(IN_USE).replace("m2 ", "m2 kube_override_hostname=other "), PLANES, &[]) },
        Refusal { groups: PLANES, untouched: &[2], said: "ip: 192.0.2.99 of m2, which joined the cluster with 192.0.2.12",
            event: |world| world.inventory(&hosts(IN_USE).replace("192.0.2.12", "192.0.2.99"), PLANES, &[]) },
        Refusal { groups: PLANES, untouched: &[2], said: "m2 is a worker of the cluster, and is in [kube_control_plane] now",
            event: |world| world.inventory(&hosts(IN_USE), &PLANES.replace("m[0:1]", "m[0:2]"), &[]) },
        Refusal { groups: PLANES, untouched: &[3], said: "m3 belongs to another cluster",
            event: |world| {
                for (path, content) in node_files(&Authority::of_another_cluster(), "m3", "192.0.2.13", "198.51.100.1:6443") {
                    write(&mut world.machines[3].state().kept.disk, path, &content, 0o600);
                }
                world.inventory(&hosts(4), &PLANES.replace("[kube_node]\nm[0:2]", "[kube_node]\nm[0:3]"), &[]);
            } },
        Refusal { groups: PLANES, untouched: ALL, said: "kube_version: 1.35.8, but the cluster runs 1.37.2",
            event: |world| world.inventory(&hosts(IN_USE), PLANES, &["kube_version=1.35.8"]) },
        Refusal { groups: PLANES, untouched: &[0, 1], said: "kube_pods_subnet: 10.240.0.0/18, but the cluster was begun with 10.233.64.0/18",
            event: |world| world.inventory(&hosts(IN_USE), PLANES, &["kube_pods_subnet=10.240.0.0/18"]) },
        Refusal { groups: PLANES, untouched: ALL, said: "ipv6_stack: true, but the cluster was begun with false",
            event: |world| world.inventory(&hosts(IN_USE), PLANES, &["ipv6_stack=true"]) },
        // A control plane joins with what the cluster was begun with, also in a run that it is in alone.
        Refusal { groups: PLANES, untouched: ALL, said: "kube_service_addresses: 10.99.0.0/18, but the cluster was begun with 10.233.0.0/18",
            event: |world| {
                world.reimage(1);
                world.inventory(&hosts(IN_USE), PLANES, &["kube_service_addresses=10.99.0.0/18"]);
                world.only("m1");
            } },
        Refusal { groups: PLANES, untouched: ALL, said: "kube_network_plugin: calico, but m0 runs with flannel",
            event: |world| world.inventory(&hosts(IN_USE), PLANES, &["kube_network_plugin=calico"]) },
        Refusal { groups: PLANES, untouched: &[0, 1], said: "kube_apiserver_port: 8443, but the API server listens at 6443",
            event: |world| world.inventory(&hosts(IN_USE), PLANES, &["kube_apiserver_port=8443"]) },
        Refusal { groups: ALONE, untouched: &[0, 1, 2], said: "m1-2 belong to a cluster",
            event: |world| world.reimage(0) },
        // Workers that are no part of the run are asked before a cluster begins.
        Refusal { groups: SINGLE, untouched: ALL, said: "m1-2 belong to a cluster",
            event: |world| { world.reimage(0); world.only("m0") } },
        Refusal { groups: ALONE, untouched: &[0, 1], said: "etcd (m1) holds the objects of a cluster whose CA no control plane of the inventory has",
            event: |world| { world.reimage(0); world.reimage(2); world.inventory(&hosts(IN_USE), "[etcd]\nm1\n[kube_control_plane]\nm0\n[kube_node]\nm0\nm2\n", &[]);
                for path in ["/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/pki/kubelet-client-current.pem"] {
                    world.machines[1].state().kept.disk.remove(path).unwrap();
                } } },
        // A machine of another cluster's etcd, in a run of etcd alone.
        Refusal { groups: ALONE, untouched: &[1], said: "etcd (m1) holds the objects of a cluster whose CA no control plane of the inventory has",
            event: |world| { world.reimage(0); world.reimage(2); world.inventory(&hosts(IN_USE), "[etcd]\nm1\n[kube_control_plane]\nm0\n[kube_node]\nm0\nm2\n", &[]);
                for path in ["/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/pki/kubelet-client-current.pem"] {
                    world.machines[1].state().kept.disk.remove(path).unwrap();
                }
                world.only("m1") } },
        Refusal { groups: ALONE, untouched: &[1], said: "no etcd member has data, and m0 is a control plane of a cluster",
            event: |world| world.reimage(1) },
        Refusal { groups: PLANES, untouched: &[0], said: "whether a cluster exists is not known, because m1 could not be asked",
            event: |world| { world.reimage(0); world.cluster.switch_off("m1"); world.only("m0") } },
    ];
    let mut wrong = Vec::new();
    let count = refusals.len();
    for Refusal { groups, event, untouched, said } in refusals {
        simulated(async {
            let world = after(groups, event).await;
            let (identity, before) = (world.cluster.identity(), world.files());
            let first = world.refused().await;
            // Cut off anywhere it has changed no more than at its end, and is refused again.
            let whole = Controller::new(3, MACHINES, None);
            world.run(&whole).await;
            let exchanges: Vec<usize> = whole.exchanges.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            let kills = At::BothSides.of(&exchanges);
            for kill in kills.iter().step_by(kills.len().div_ceil(CUTS)) {
                if world.run(&Controller::new(4, MACHINES, Some(*kill))).await.is_some() {
                    wrong.push(format!("{said}: nobody was killed at {kill:?}"));
                }
            }
            for refused in [first, world.refused().await] {
                if !refused.iter().any(|text| text.contains(said)) {
                    wrong.push(format!("{said}: {refused:#?}"));
                }
            }
            if world.cluster.identity() != identity {
                wrong.push(format!("{said}: the cluster is another one"));
            }
            for (number, now) in world.files().iter().enumerate().filter(|(number, _)| untouched.contains(number)) {
                let own = |path: &&String| !path.starts_with("/var/lib/muster");
                let differs: Vec<_> = now.keys().filter(own).filter(|path| now.get(*path) != before[number].get(*path)).collect();
                if !differs.is_empty() {
                    wrong.push(format!("{said}: m{number} was changed: {differs:?}"));
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    held("what would end or split a cluster", "on model machines: data, identities and variables that do not fit; the run is cut off in places, too", count, "refused; the cluster is the same");
}
