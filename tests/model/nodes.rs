//! Machines leave a cluster of model machines: the controller is killed before and after every exchange, the cluster stays the
//! same, etcd never loses its majority, and the set-up of those that stay has nothing to mend but what follows from it.

use std::collections::BTreeSet;

use muster_engine::play::Play;
use muster_roles::{ROLES, Removal};
use muster_testkit::fault_record::held;
use serde_json::{Map, Value, json};

use crate::cluster::{NETWORK, SUBNET, SUBNET_FILE, State, address, content, write};
use crate::events::after;
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::{GROUPS, IN_USE, PLAYS, hosts, simulated};

/// What nodes are marked with.
#[derive(Default)]
pub(crate) struct Marks {
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    taints: Map<String, Value>,
}

impl Marks {
    /// kubeadm marks a control plane when it joins.
    pub(crate) fn of_control_plane(&mut self) {
        for key in [
            "node-role.kubernetes.io/control-plane",
            "node.kubernetes.io/exclude-from-external-load-balancers",
        ] {
            self.labels.insert(key.to_owned(), json!(""));
        }
    }

    /// A line of `nodes.sh`.
    fn line(&self, name: &str) -> String {
        let taints: Vec<&Value> = self.taints.values().collect();
        let taints = if taints.is_empty() { String::new() } else { json!(taints).to_string() };
        let owned = |what: &str| {
            let name = format!("muster.io/owned-{what}");
            self.annotations.get(&name).and_then(Value::as_str).unwrap_or_default()
        };
        format!(
            "{name}\t{}\t{taints}\t{}\t{}\t{NETWORK}\n",
            json!(self.labels),
            owned("labels"),
            owned("taints")
        )
    }

    /// `kubectl patch --type=merge` of labels and annotations.
    fn merge(&mut self, patch: &str) {
        let patch: Value = serde_json::from_str(patch).expect("a patch is JSON");
        for (map, part) in [(&mut self.labels, "labels"), (&mut self.annotations, "annotations")] {
            for (key, value) in patch["metadata"][part].as_object().into_iter().flatten() {
                match value {
                    Value::Null => drop(map.remove(key)),
                    value => drop(map.insert(key.clone(), value.clone())),
                }
            }
        }
    }

    /// `kubectl taint` with `KEY=VALUE:EFFECT`, or `KEY:EFFECT-`.
    fn taint(&mut self, text: &str) {
        let (taint, goes) = text.strip_suffix('-').map_or((text, false), |taint| (taint, true));
        let (key, effect) = taint.rsplit_once(':').expect("a taint has an effect");
        let (key, value) = key.split_once('=').unwrap_or((key, ""));
        let id = format!("{key}:{effect}");
        if goes {
            self.taints.remove(&id);
        } else {
            self.taints.insert(id, json!({ "key": key, "effect": effect, "value": value }));
        }
    }
}

/// What kubectl says and does about nodes; `None` for what is something else.
pub(crate) fn answer(state: &mut State, words: &[&str]) -> Option<String> {
    let State { nodes, cordoned, held, off, wrong, leaving, together, removed, boots, marks, pods, .. } =
        state;
    match words {
        ["get", "nodes", "--field-selector", selector, "-o", form] => {
            let name = selector.strip_prefix("metadata.name=").filter(|name| nodes.contains_key(*name));
            let word = |yes: bool| if yes { "true" } else { "" };
            let line = |name: &str| {
                let mark = word(cordoned.contains(name));
                let unschedulable = word(cordoned.contains(name) || held.contains(name));
                if form.contains("}node{") {
                    format!(
                        "node\t{unschedulable}\t{mark}\t{}\n",
                        if off.contains(name) { "Unknown" } else { "True" }
                    )
                } else {
                    format!("{name} {}", address(name))
                }
            };
            let is_known = form.contains("}node{") || form.contains("InternalIP");
            if is_known {
                return Some(name.map(line).unwrap_or_default());
            }
            let asked = |name: &&String| selector.is_empty() || **selector == format!("metadata.name={name}");
            let marked = |name: &String| marks.get(name).unwrap_or(&Marks::default()).line(name);
            Some(nodes.keys().filter(asked).map(marked).collect())
        }
        ["get", "pods" | "poddisruptionbudgets", "-A", ..] => pods.shown(words),
        ["patch", "node", name, "--type=merge", "--patch", patch] if patch.contains("muster.io/cordoned") => {
            if patch.contains(r#""muster.io/cordoned":"true""#) {
                cordoned.insert((*name).to_owned());
                *together = cordoned.len().max(*together);
                if cordoned.len() > 1.max(*leaving) {
                    wrong.push(format!("{cordoned:?} are cordoned at once"));
                }
            } else {
                cordoned.remove(*name);
                let known = boots.get(*name).copied().unwrap_or(1);
                if nodes.get(*name).is_some_and(|machine| machine.boots() != known) {
                    wrong.push(format!(
                        "{name} gets pods before the cluster has heard of it since it restarted"
                    ));
                }
            }
            Some(String::new())
        }
        ["patch", "node", name, "--type=merge", "--patch", patch] if nodes.contains_key(*name) => {
            marks.entry((*name).to_owned()).or_default().merge(patch);
            Some(String::new())
        }
        ["taint", "--overwrite", "node", name, taints @ ..] if nodes.contains_key(*name) => {
            let marks = marks.entry((*name).to_owned()).or_default();
            taints.iter().for_each(|taint| marks.taint(taint));
            Some(String::new())
        }
        ["delete", "node", name] => {
            cordoned.remove(*name);
            marks.remove(*name);
            nodes.remove(*name).map(|_| {
                removed.push((*name).to_owned());
                String::new()
            })
        }
        _ => None,
    }
}

/// The inventory without a machine.
fn without(gone: usize) -> (String, String) {
    let stays = |line: &&str| !line.starts_with(&format!("m{gone} "));
    let hosts: String = hosts(IN_USE).lines().filter(stays).map(|line| format!("{line}\n")).collect();
    let of = |numbers: &[usize]| -> String {
        numbers.iter().filter(|number| **number != gone).map(|number| format!("m{number}\n")).collect()
    };
    let all = of(&[0, 1, 2]);
    (hosts, format!("[etcd]\n{all}[kube_control_plane]\n{}[kube_node]\n{all}", of(&[0, 1])))
}

fn leaves(name: &str, gone: usize, is_off: bool) {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let machine = format!("m{gone}");
            let world = after(GROUPS, |_| ()).await;
            let identity = world.cluster.identity();
            world.cluster.state().must_have_quorum = true;
            if is_off {
                world.cluster.switch_off(&machine);
            }
            *world.removal.lock().unwrap() = Some(Removal { hosts: vec![machine.clone()], come_back: false });
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            wrong.extend(world.calm(3).await.2);
            if world.cluster.identity() != identity {
                wrong.push(format!("another cluster: {} was {identity}", world.cluster.identity()));
            }
            let members: Vec<_> = world.cluster.member_names().into_iter().map(|(url, _)| url).collect();
            let staying: Vec<usize> = (0..IN_USE).filter(|number| *number != gone).collect();
            let wanted: Vec<_> = staying
                .iter()
                .map(|number| format!("https://{}:2380", address(&format!("m{number}"))))
                .collect();
            if members != wanted || world.cluster.nodes() != 2 || !world.cluster.cordoned().is_empty() {
                wrong.push(format!(
                    "{members:?}, {} nodes, {:?} cordoned",
                    world.cluster.nodes(),
                    world.cluster.cordoned()
                ));
            }
            let old = format!("server: https://{}:6443", address(&machine));
            for number in &staying {
                let balanced = content(&world.machines[*number], "/etc/kubernetes/api-balancer/haproxy.cfg");
                if balanced.contains(&format!("{}:6443", address(&machine))) {
                    wrong.push(format!("m{number}: its load balancer leads to {machine}"));
                }
                for conf in ["admin.conf", "kubelet.conf"] {
                    let conf = format!("/etc/kubernetes/{conf}");
                    if content(&world.machines[*number], &conf).contains(&old) {
                        wrong.push(format!("m{number}: {conf} leads to {machine}"));
                    }
                }
            }
            let (_, ran, more) = world.calm(4).await;
            wrong.extend(more);
            if !ran.changes.is_empty() {
                wrong.push(format!("removed again, it changes something: {:?}", ran.changes));
            }
            // Those that stay follow.
            *world.removal.lock().unwrap() = None;
            let (hosts, groups) = without(gone);
            world.inventory(&hosts, &groups, &[]);
            wrong.extend(world.calm(5).await.2);
            let (_, ran, more) = world.calm(6).await;
            wrong.extend(more);
            if !ran.changes.is_empty() {
                wrong.push(format!("the run after changes something: {:?}", ran.changes));
            }
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere(name, At::BothSides, play);
    held(
        name,
        "on model machines, the controller killed before and after every exchange of its removal",
        kills,
        "the same cluster without it; etcd had its majority at each moment",
    );
}

#[test]
fn a_worker_with_a_member_of_etcd_leaves() {
    leaves("a member of etcd is removed", 2, false);
}

#[test]
fn the_control_plane_that_was_born_first_leaves() {
    leaves("the first control plane is removed", 0, false);
}

#[test]
fn a_control_plane_that_is_dead_leaves() {
    leaves("a control plane that is off is removed", 1, true);
}

#[test]
fn what_would_take_etcd_its_majority_is_refused_and_nothing_is_changed() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        world.cluster.switch_off("m1");
        *world.removal.lock().unwrap() = Some(Removal { hosts: vec!["m2".into()], come_back: false });
        let before = (world.cluster.seen(), world.changes());
        let refused = world.refused().await;
        assert!(
            refused.iter().any(|said| said
                .contains("m0: etcd: without m2 etcd has 2 members, of which 1 answer: m1 does not")),
            "{refused:?}"
        );
        assert_eq!((world.cluster.seen(), world.changes()), before);
    });
}

#[test]
fn a_member_that_a_control_plane_asks_alone_does_not_leave() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        // The others have joined in a run in which m1 had no part.
        let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
        let asks = |members: &[&str]| {
            let urls: Vec<String> = members.iter().map(|m| format!("https://{}:2379", address(m))).collect();
            let before = content(&world.machines[1], manifest);
            let before = before.split("    - --etcd-servers=").next().unwrap_or_default();
            let text = format!("{before}    - --etcd-servers={}\n", urls.join(","));
            write(&mut world.machines[1].state().kept.disk, manifest, &text, 0o600);
        };
        asks(&["m0"]);
        *world.removal.lock().unwrap() = Some(Removal { hosts: vec!["m0".into()], come_back: false });
        let before = (world.cluster.seen(), world.changes());
        let refused = world.refused().await;
        let told = "cluster: of the members of etcd that stay, m1 asks none";
        assert!(refused.iter().any(|said| said.ends_with(told)), "{refused:?}");
        assert_eq!((world.cluster.seen(), world.changes()), before);
        // Nor is one that has left before one that stays.
        asks(&["m0", "m9"]);
        assert_eq!(world.refused().await, refused);
        asks(&["m0", "m2"]);
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty() && !ran.changes.is_empty(), "{wrong:?}");
    });
}

#[test]
fn a_member_that_was_taken_out_keeps_nobody_from_being_set_up() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        let url = format!("https://{}:2380", address("m0"));
        world.cluster.state().members.retain(|member| member.url != url);
        // A control plane that has to be told of something.
        world.inventory(&hosts(IN_USE), GROUPS, &["etcd_heartbeat_interval=300"]);
        let (_, ran, wrong) = world.calm(2).await;
        assert_eq!(wrong, Vec::<String>::new());
        let passed_over = ran.warnings.iter().filter(|told| told.contains("taken it out: it is passed over"));
        assert_eq!(passed_over.count(), 1, "{:?}", ran.warnings);
        assert!(ran.told["m2"].contains(&"etcd: service etcd".to_owned()), "{:?}", ran.told);
        // What the warning names goes on.
        *world.removal.lock().unwrap() = Some(Removal { hosts: vec!["m0".into()], come_back: false });
        assert_eq!(world.calm(3).await.2, Vec::<String>::new());
        assert_eq!((world.cluster.member_names().len(), world.cluster.nodes()), (2, 2));
    });
}

#[test]
fn the_last_api_server_that_works_does_not_leave() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        // Its API server has ended, and its files are there.
        let disk = &mut world.machines[0].state().kept.disk.clone();
        let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
        write(disk, manifest, "", 0o600);
        world.machines[0].state().kept.disk = disk.clone();
        *world.removal.lock().unwrap() = Some(Removal { hosts: vec!["m1".into()], come_back: false });
        let before = (world.cluster.seen(), world.changes());
        let refused = world.refused().await;
        assert!(refused.iter().any(|said| said.contains("no control plane answers, of m0")), "{refused:?}");
        assert_eq!((world.cluster.seen(), world.changes()), before);
    });
}

#[test]
fn a_worker_that_is_off_does_not_keep_a_control_plane() {
    simulated(async {
        let groups = "[etcd]\nm0\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";
        let world = after(groups, |_| ()).await;
        world.cluster.switch_off("m2");
        *world.removal.lock().unwrap() = Some(Removal { hosts: vec!["m1".into()], come_back: false });
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty() && !ran.changes.is_empty(), "{wrong:?}");
        assert_eq!(world.cluster.nodes(), 2);
    });
}

/// `muster replace-node` of a machine that was installed anew.
fn takes_its_place_again(name: &str, number: usize) {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = after(GROUPS, |world| world.reimage(number)).await;
            world.cluster.state().must_have_quorum = true;
            let (identity, members) = (world.cluster.identity(), world.cluster.member_names());
            let removal = Removal { hosts: vec![format!("m{number}")], come_back: true };
            let plays: Vec<Play> = removal.plays(false).into_iter().chain(PLAYS.iter().cloned()).collect();
            world.does(&plays, removal.roles().into_iter().chain(ROLES.iter().cloned()).collect());
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            wrong.extend(world.calm(3).await.2);
            let state = (world.cluster.member_names(), world.cluster.nodes(), world.cluster.cordoned());
            if state != (members, IN_USE, BTreeSet::new()) {
                wrong.push(format!("members, nodes, cordoned: {state:?}"));
            }
            // A node that is back already is not taken away again.
            if world.cluster.state().removed != [format!("m{number}")] {
                wrong.push(format!("removed: {:?}", world.cluster.state().removed));
            }
            world.sets_up();
            wrong.extend(world.not_settled(&identity, 4).await);
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere(name, At::Seldom, play);
    held(
        name,
        "on model machines, the controller killed on one side of each third exchange of muster replace-node",
        kills,
        "the same cluster with the machine in its place; etcd had its majority at each moment",
    );
}

#[test]
fn a_control_plane_that_was_installed_anew_takes_its_place_by_one_command() {
    takes_its_place_again("a control plane is replaced", 1);
}

#[test]
fn a_worker_with_a_member_of_etcd_that_was_installed_anew_takes_its_place_by_one_command() {
    takes_its_place_again("a member of etcd is replaced", 2);
}

#[test]
fn a_machine_is_not_replaced_while_etcd_cannot_do_without_its_member() {
    simulated(async {
        let world = after(GROUPS, |world| world.reimage(1)).await;
        world.cluster.switch_off("m2");
        let removal = Removal { hosts: vec!["m1".into()], come_back: true };
        let plays: Vec<Play> = removal.plays(false).into_iter().chain(PLAYS.iter().cloned()).collect();
        world.does(&plays, removal.roles().into_iter().chain(ROLES.iter().cloned()).collect());
        let before = (world.cluster.seen(), world.changes());
        let refused = world.refused().await;
        assert!(
            refused.iter().any(|said| said.contains("no member of etcd that stays answers")),
            "{refused:?}"
        );
        assert_eq!((world.cluster.seen(), world.changes()), before);
    });
}

#[test]
fn a_control_plane_whose_node_was_made_anew_is_marked_as_one() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        // `kubectl delete node m0`: its kubelet has registered it again.
        world.cluster.state().marks.remove("m0");
        let (_, ran, wrong) = world.calm(2).await;
        assert_eq!(wrong, Vec::<String>::new());
        let only = [("m0".to_owned(), vec!["control-plane: labels and taints of m0".to_owned()])];
        assert_eq!(ran.told, only.into());
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
    });
}

#[test]
fn a_node_with_another_network_for_pods_than_the_cluster_says_gets_it_made_anew() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        let another = "FLANNEL_SUBNET=10.233.99.1/24\n";
        let former = "/run/flannel/former-subnet.env";
        let written = || content(&world.machines[2], SUBNET_FILE);
        // As it is where the Node was deleted, and its kubelet has registered it again; and then where the run was cut off that
        // mended it, when it had taken the network away; and where it was cut off later, when flannel began anew, and not all pods did.
        let left: [(u32, &[(&str, &str)]); 3] = [
            (2, &[(SUBNET_FILE, another)]),
            (4, &[(former, another)]),
            (6, &[(former, another), (SUBNET_FILE, SUBNET)]),
        ];
        for (run, files) in left {
            {
                let mut state = world.machines[2].state();
                state.kept.disk.remove(SUBNET_FILE).ok();
                for (path, content) in files {
                    write(&mut state.kept.disk, path, content, 0o644);
                }
            }
            world.cluster.state().pods.anew.clear();
            let (_, ran, wrong) = world.calm(run).await;
            assert_eq!(wrong, Vec::<String>::new());
            assert_eq!(written(), SUBNET, "{run}");
            assert_eq!(content(&world.machines[2], former), "", "{run}");
            let only = [("m2".to_owned(), vec!["cni: network for pods of m2".to_owned()])];
            assert_eq!(ran.told, only.into(), "{run}");
            let anew = "status.phase!=Succeeded,status.phase!=Failed,spec.nodeName=m2";
            assert_eq!(world.cluster.state().pods.anew, [anew], "{run}");
            let (_, ran, wrong) = world.calm(run + 1).await;
            assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
        }
    });
}
