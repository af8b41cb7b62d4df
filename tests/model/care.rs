//! etcd of a cluster of model machines is cared for: its authority outlives its certificates, the cluster of a snapshot is brought
//! back with the controller killed at exchanges, databases are defragmented in turn, and before an upgrade a snapshot is kept.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use muster_engine::play::Play;
use muster_roles::NetworkTest;
use muster_roles::certificates::days_of_kubeconfig;
use muster_roles::etcd::{self, Recovery, SnapshotFile, recovery, restore};
use muster_roles::upgrade::Settings;
use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;

use crate::cluster::{NETWORK, State, content, write};
use crate::etcd::{DEFRAGMENTED, snapshot};
use crate::events::after;
use crate::kills::{At, in_parallel, killed_everywhere};
use crate::kubeadm_files::base64;
use crate::line::{Controller, Kill};
use crate::rotation::{CA, ETCD_CA};
use crate::upgrade::{FROM, TO};
use crate::{GROUPS, IN_USE, MACHINES, World, hosts, simulated};

/// On a machine whose restore is under way.
const MARKER: &str = "/var/lib/muster/etcd-restore";

/// Where the restored data waits until etcd has stopped.
const PREPARED: &str = "/var/lib/etcd/muster-restore";

/// Where a member keeps the snapshot of before an upgrade.
const KEPT: &str = "/var/lib/muster/snapshots";

/// No snapshot comes to this computer.
pub(crate) const NOWHERE: &str = "etcd_snapshots_dir=/nowhere/snapshots";

/// What kubectl says of a node's network for pods, and of workloads; `None` for what is something else.
pub(crate) fn answer(state: &mut State, words: &[&str]) -> Option<String> {
    match words {
        ["get", "node", _, "-o", "jsonpath={.spec.podCIDR}"] => Some(NETWORK.to_owned()),
        ["get", "daemonsets", "-A", ..] if state.late_looks > 0 => {
            state.late_looks -= 1;
            Some("kube-system|DaemonSet/kube-proxy|2|2|3|2|3\n".to_owned())
        }
        ["get", "daemonsets" | "deployments,statefulsets", "-A", ..] => Some(String::new()),
        ["get", "nodes", "-o", form] if form.contains("}node|") => {
            let ready = |name: &String| if state.off.contains(name) { "Unknown" } else { "True" };
            Some(state.nodes.keys().map(|name| format!("node|{name}|{}\n", ready(name))).collect())
        }
        _ => None,
    }
}

/// For how many days a certificate in PEM is good.
fn days(pem: &str) -> i64 {
    days_of_kubeconfig(&format!("client-certificate-data: {}\n", base64(pem.as_bytes())))
        .expect("a certificate")
}

impl World {
    /// The run that may be killed, and then the one that finishes it: how many exchanges the first one had, and what was wrong.
    async fn cut_off(
        &self,
        kill: Option<Kill>,
        between: impl AsyncFnOnce() -> Vec<String>,
    ) -> (Vec<usize>, Vec<String>) {
        if kill.is_none() {
            let (controller, _, wrong) = self.calm(2).await;
            return (controller.exchanges.iter().map(|count| count.load(Ordering::Relaxed)).collect(), wrong);
        }
        let (exchanges, mut wrong) = self.disturbed(kill).await;
        wrong.extend(between().await);
        wrong.extend(self.calm(4).await.2);
        (exchanges, wrong)
    }

    /// From now on runs do one thing on the members of etcd.
    pub(crate) fn does_on_members(&self, role: muster_engine::run::Role) {
        let play = Play {
            name: role.name.to_owned(),
            hosts: "etcd".into(),
            roles: vec![role.name.to_owned()],
            ..Play::default()
        };
        self.does(&[play], vec![role]);
    }

    /// The members that were defragmented, in the order in which that was.
    fn defragmented(&self) -> Vec<String> {
        let mut all: Vec<(String, String)> = self
            .machines
            .iter()
            .map(|machine| (content(machine, DEFRAGMENTED), machine.name.clone()))
            .filter(|(place, _)| !place.is_empty())
            .collect();
        all.sort();
        all.into_iter().map(|(_, name)| name).collect()
    }

    /// A cluster, and the restore of a snapshot of it; what is replaced is saved in the folder `before` of this one.
    async fn with_snapshot(folder: &Path) -> (Self, restore::Restore) {
        Self::with_snapshot_of(GROUPS, folder).await
    }

    /// The same with other groups.
    async fn with_snapshot_of(groups: &str, folder: &Path) -> (Self, restore::Restore) {
        let world = after(groups, |_| ()).await;
        let before = format!("etcd_snapshots_dir={}", folder.join("before").display());
        world.inventory(&hosts(IN_USE), groups, &[&before]);
        let path = folder.join("snapshot.db");
        fs::write(&path, snapshot(&content(&world.machines[0], CA))).unwrap();
        let snapshot = Some(SnapshotFile::read(&path).unwrap().unwrap());
        (world, restore::Restore { path, snapshot, without: Default::default(), of_another: false })
    }

    /// From now on runs stop what is on a machine that a recovery from m0 gives up.
    fn gives_up(&self, host: &str) {
        let given_up = Recovery {
            from: "m0".into(),
            without: [host.to_owned()].into(),
            lost: vec![host.into()],
            fenced: vec![host.into()],
            strangers: Vec::new(),
        };
        let plays = recovery::plays(&given_up);
        self.does(&plays[..1], recovery::roles(given_up, Default::default()));
    }

    /// Whether anything has stopped for a restore.
    fn has_stopped(&self) -> bool {
        self.machines[..IN_USE].iter().any(|machine| {
            let state = machine.state();
            let has = |path: &str| state.kept.disk.exists(path);
            let is_taken = has(MARKER) && !has(&format!("{PREPARED}/new"));
            has("/etc/kubernetes/waiting-manifests") || is_taken || !state.kept.units["etcd.service"].enabled
        })
    }

    /// What a restore has prepared on machines.
    fn prepared(&self) -> Vec<String> {
        let of = |machine: &Arc<Machine>| {
            let paths = [MARKER, PREPARED].into_iter();
            let state = machine.state();
            let left = paths.filter(|path| state.kept.disk.exists(path));
            left.map(|path| format!("{}: {path} is left", machine.name)).collect::<Vec<_>>()
        };
        self.machines.iter().flat_map(of).collect()
    }

    /// What was not done of a restore that has ended. `folder`: where snapshots come.
    fn not_restored(&self, folder: &Path) -> Vec<String> {
        let mut wrong = Vec::new();
        let tokens: Vec<String> =
            self.machines[..IN_USE].iter().map(|m| content(m, "/var/lib/etcd/member/wal/0.wal")).collect();
        if !tokens[0].starts_with("restored-") || tokens.iter().any(|token| *token != tokens[0]) {
            wrong.push(format!("data of {tokens:?}"));
        }
        for machine in &self.machines[..IN_USE] {
            let has = |path: &str| machine.state().kept.disk.exists(path);
            let left = [MARKER, PREPARED].map(str::to_owned);
            let old = format!("/var/lib/etcd/replaced-{}", tokens[0]);
            wrong.extend(
                left.iter().chain([&old]).filter(|path| has(path)).map(|path| format!("{path} is left")),
            );
        }
        // What is replaced was saved before.
        let saved = fs::read_dir(folder).map_or(0, Iterator::count);
        if saved == 0 {
            wrong.push("no snapshot was taken of what is replaced".to_owned());
        }
        wrong
    }
}

#[test]
fn the_authority_of_etcd_outlives_the_certificates_that_it_signs() {
    simulated(async {
        let world = World::new(&[]);
        world.inventory(&hosts(IN_USE), GROUPS, &["etcd_certificate_days=60"]);
        assert_eq!(world.calm(1).await.2, Vec::<String>::new());
        for machine in &world.machines[..IN_USE] {
            let member = days(&content(machine, &ETCD_CA.replace("ca.pem", "member.pem")));
            assert!((58..=60).contains(&member), "{member}");
            let authority = days(&content(machine, ETCD_CA));
            assert!(authority > 36_000, "{authority}");
        }
        let ran = world.calm(2).await.1;
        assert!(ran.changes.is_empty(), "{:?}", ran.changes);
    });
}

#[test]
fn databases_are_defragmented_in_turn_and_the_leaders_last() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        world.does_on_members(etcd::defragment());
        // Without one of them nobody is taken away who could be asked.
        world.machines[2].state().kept.units.get_mut("etcd.service").unwrap().active = false;
        let refused = world.refused().await;
        assert!(
            refused.len() == 3
                && refused.iter().any(|said| said.contains("the member of etcd on m2 is not well")),
            "{refused:?}"
        );
        assert_eq!(world.defragmented(), Vec::<String>::new());
        world.machines[2].state().kept.units.get_mut("etcd.service").unwrap().active = true;
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty() && ran.changes.len() == 3, "{wrong:?} {:?}", ran.changes);
        assert_eq!(world.defragmented(), ["m1", "m2", "m0"]);
        let (_, ran, wrong) = world.calm(4).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
    });
}

#[test]
fn a_restore_that_was_cut_off_anywhere_is_finished_by_the_same_command_alone() {
    let play = |kill: Option<Kill>| {
        let folder = tempfile::tempdir().unwrap();
        simulated(async {
            let (world, restore) = World::with_snapshot(folder.path()).await;
            let (identity, members) = (world.cluster.identity(), world.cluster.member_names());
            let plays = restore::plays(&Default::default());
            let restores = || world.does(&plays, restore::roles(restore.clone()));
            restores();
            let between = async || {
                if world.machines.iter().all(|machine| content(machine, MARKER).is_empty()) {
                    return Vec::new();
                }
                // Programs that were under way go on without a controller.
                tokio::time::sleep(Duration::from_secs(300)).await;
                world.sets_up();
                if !world.has_stopped() {
                    let mut wrong = world.calm(3).await.2;
                    wrong.extend(world.prepared());
                    restores();
                    return wrong;
                }
                let changes = world.changes();
                let ran = world.run(&Controller::new(3, MACHINES, None)).await.expect("nobody kills it");
                restores();
                let went_on = ran.outcome.iter().filter(|(_, host)| host.failure.is_none());
                let mut wrong: Vec<String> =
                    went_on.map(|(name, _)| format!("{name} goes on with setup-cluster")).collect();
                if world.changes() != changes {
                    wrong.push(format!("setup-cluster changes machines: {:?}", ran.changes));
                }
                wrong
            };
            let (exchanges, mut wrong) = world.cut_off(kill, between).await;
            wrong.extend(world.not_restored(&folder.path().join("before")));
            if world.cluster.member_names() != members {
                wrong.push(format!("members: {:?}", world.cluster.member_names()));
            }
            world.sets_up();
            wrong.extend(world.not_settled(&identity, 5).await);
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere("a restore of etcd", At::OneSide, play);
    held(
        "controller killed",
        "at exchanges of a restore of etcd, on three model machines",
        kills,
        "the same command finishes, setup-cluster is refused from the first stop until then, and no members of two clusters ever run at \
         once",
    );
}

#[test]
fn a_restore_that_was_only_prepared_has_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    simulated(async {
        let (world, restore) = World::with_snapshot(folder.path()).await;
        let plays = restore::plays(&Default::default());
        let prepares = async |run: u32| {
            world.does(&plays[..1], restore::roles(restore.clone()));
            assert_eq!(world.calm(run).await.2, Vec::<String>::new());
            assert_eq!(world.prepared().len(), 2 * IN_USE);
        };
        // It is given up.
        prepares(2).await;
        world.sets_up();
        assert_eq!(world.calm(3).await.2, Vec::<String>::new());
        assert_eq!(world.prepared(), Vec::<String>::new());
        assert_eq!(world.not_settled(&world.cluster.identity(), 4).await, Vec::<String>::new());
        // Or it is done later: by then there is more in etcd than the snapshot has that was taken before.
        prepares(5).await;
        let meanwhile = folder.path().join("meanwhile.db");
        world.does_on_members(etcd::snapshot(Some(meanwhile.clone())));
        assert_eq!(world.calm(6).await.2, Vec::<String>::new());
        assert!(meanwhile.exists());
        let later = folder.path().join("later");
        world.inventory(&hosts(IN_USE), GROUPS, &[&format!("etcd_snapshots_dir={}", later.display())]);
        world.does(&plays, restore::roles(restore));
        assert_eq!(world.calm(7).await.2, Vec::<String>::new());
        assert_eq!(world.not_restored(&later), Vec::<String>::new());
    });
}

#[test]
fn a_machine_that_is_off_leaves_a_restore_that_was_only_prepared_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    simulated(async {
        let (world, restore) = World::with_snapshot(folder.path()).await;
        let plays = restore::plays(&Default::default());
        world.does(&plays[..1], restore::roles(restore));
        assert_eq!(world.calm(2).await.2, Vec::<String>::new());
        // The two members that are left have a majority.
        world.cluster.switch_off("m2");
        let meanwhile = folder.path().join("meanwhile.db");
        world.does_on_members(etcd::snapshot(Some(meanwhile.clone())));
        let wrong = world.calm(3).await.2;
        assert!(wrong.iter().all(|said| said.starts_with("m2: ")) && meanwhile.exists(), "{wrong:?}");
    });
}

#[test]
fn a_restore_prepares_nothing_while_a_control_plane_is_off() {
    let folder = tempfile::tempdir().unwrap();
    simulated(async {
        let groups = "[etcd]\nm0\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:2]\n";
        let (world, restore) = World::with_snapshot_of(groups, folder.path()).await;
        world.cluster.switch_off("m1");
        world.does(&restore::plays(&Default::default()), restore::roles(restore));
        let wrong = world.calm(2).await.2;
        assert!(wrong.iter().any(|said| said.contains("m1 could not be asked")), "{wrong:?}");
        assert_eq!(world.prepared(), Vec::<String>::new());
    });
}

#[test]
fn a_machine_that_is_given_up_is_stopped_though_its_data_is_from_before_another_recovery() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        // m0 has gone through that one and does not start any more, m1 is off, and m2 runs with its old data.
        let line = "restored-1-5-ab12cd34 ab12 7 saved\n";
        write(&mut world.machines[0].state().kept.disk, "/var/lib/muster/etcd-restored", line, 0o600);
        world.machines[0].state().kept.units.get_mut("etcd.service").unwrap().active = false;
        world.cluster.switch_off("m1");
        world.gives_up("m2");
        let wrong = world.calm(2).await.2;
        assert!(wrong.iter().all(|said| said.starts_with("m1: ")), "{wrong:?}");
        for unit in ["etcd.service", "kubelet.service"] {
            let state = world.machines[2].state();
            assert!(!state.kept.units[unit].active && !state.kept.units[unit].enabled, "{unit}");
        }
    });
}

#[test]
fn a_control_plane_that_was_given_up_is_put_back_without_a_trace_of_it() {
    const FENCED: &str = "/etc/kubernetes/fenced-manifests";
    let folder = tempfile::tempdir().unwrap();
    simulated(async {
        let (world, restore) = World::with_snapshot(folder.path()).await;
        let identity = world.cluster.identity();
        let has = |path: &str| world.machines[1].state().kept.disk.exists(path);
        let is_given_up = async |run: u32| {
            world.gives_up("m1");
            assert_eq!(world.calm(run).await.2, Vec::<String>::new());
            assert!(
                has(&format!("{FENCED}/kube-apiserver.yaml")) && !has("/etc/kubernetes/waiting-manifests")
            );
            assert!(!has("/etc/kubernetes/manifests/kube-apiserver.yaml"));
        };
        is_given_up(2).await;
        world.sets_up();
        assert_eq!(world.calm(3).await.2, Vec::<String>::new());
        assert!(!world.has_stopped() && !has(FENCED));
        assert_eq!(world.not_settled(&identity, 4).await, Vec::<String>::new());
        // By a restore, too.
        is_given_up(5).await;
        world.does(&restore::plays(&Default::default()), restore::roles(restore));
        assert_eq!(world.calm(6).await.2, Vec::<String>::new());
        assert_eq!(world.not_restored(&folder.path().join("before")), Vec::<String>::new());
        assert!(has("/etc/kubernetes/manifests/kube-apiserver.yaml") && !has(FENCED));
        world.sets_up();
        // The kubelet is to start with the machine again.
        assert_eq!(world.calm(7).await.2, Vec::<String>::new());
        assert_eq!(world.not_settled(&identity, 8).await, Vec::<String>::new());
    });
}

#[test]
fn a_restore_ends_when_the_clusters_own_pods_have_rolled_out() {
    let folder = tempfile::tempdir().unwrap();
    simulated(async {
        let (world, restore) = World::with_snapshot(folder.path()).await;
        world.does(&restore::plays(&Default::default()), restore::roles(restore));
        world.cluster.state().late_looks = 3;
        let (_, ran, wrong) = world.calm(2).await;
        assert_eq!((wrong, ran.warnings), (Vec::<String>::new(), Vec::new()));
        assert_eq!(world.cluster.state().late_looks, 0);
        // What is waited for is said, once.
        let late = ran.shown.iter().filter(|line| *line == "not yet: kube-system/DaemonSet/kube-proxy");
        assert_eq!(late.count(), 1, "{:?}", ran.shown);
        // It ends with what is back, and where that is which was there before.
        let [file, before] = ["snapshot.db", "before/etcd-"].map(|name| folder.path().join(name));
        let back = format!(
            "the cluster of {} is back; what it was before is in {}",
            file.display(),
            before.display()
        );
        assert_eq!(ran.shown.iter().filter(|line| line.starts_with(&back)).count(), 1, "{:?}", ran.shown);
    });
}

#[test]
fn a_restore_does_not_wait_for_pods_on_a_node_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    simulated(async {
        let groups = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:2]\n";
        let (world, restore) = World::with_snapshot_of(groups, folder.path()).await;
        world.cluster.switch_off("m2");
        world.does(&restore::plays(&Default::default()), restore::roles(restore));
        // The DaemonSet never gets its new pod there.
        world.cluster.state().late_looks = 1000;
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.iter().all(|said| said.starts_with("m2: ")), "{wrong:?}");
        let looks = 1000 - world.cluster.state().late_looks;
        let is_late = |warning: &String| warning.contains("have begun anew");
        assert!((1..10).contains(&looks) && !ran.warnings.iter().any(is_late), "{looks} {:?}", ran.warnings);
    });
}

#[test]
fn a_restore_is_looked_at_without_a_snapshot_that_is_still_to_be_taken() {
    let folder = tempfile::tempdir().unwrap();
    simulated(async {
        let (world, restore) = World::with_snapshot(folder.path()).await;
        let path = folder.path().join("etcd-rescued-later.db");
        let restore = restore::Restore { path: path.clone(), snapshot: None, of_another: true, ..restore };
        world.does(&restore::plays(&Default::default()), restore::roles(restore));
        world.check.store(true, Ordering::Relaxed);
        let before = world.changes();
        let wrong = world.calm(2).await.2;
        assert_eq!((wrong, world.changes()), (Vec::new(), before));
        assert!(!path.exists());
    });
}

#[test]
fn verify_tells_of_a_restore_that_was_cut_off_and_what_finishes_it() {
    let folder = tempfile::tempdir().unwrap();
    simulated(async {
        let (world, restore) = World::with_snapshot(folder.path()).await;
        // Its members are prepared, and the control planes are stopped.
        world.does(&restore::plays(&Default::default())[..2], restore::roles(restore));
        assert_eq!(world.calm(2).await.2, Vec::<String>::new());
        let plays: Vec<Play> = serde_saphyr::from_str(include_str!("../../playbooks/verify.yml")).unwrap();
        *world.instead.lock().unwrap() = Some((plays, vec![muster_roles::verify(NetworkTest::Always)]));
        let refused = world.refused().await;
        let told = "etcd: a restore of etcd was begun on m0 and did not come to its end";
        let is_told = |said: &String| said.split_once(": ").is_some_and(|(_, said)| said == told);
        assert!(refused.len() == IN_USE && refused.iter().all(is_told), "{refused:?}");
    });
}

#[test]
fn the_snapshot_of_before_an_upgrade_is_of_before_wherever_the_upgrade_was_cut_off() {
    let mut plays: Vec<Play> =
        serde_saphyr::from_str(include_str!("../../playbooks/upgrade.yml")).expect("the playbook");
    // Nobody looks at the rest of it here.
    plays.retain(|play| {
        ["upgrade-check", "etcd-snapshot", "etcd", "upgrade-control-plane"]
            .iter()
            .any(|role| play.roles.iter().any(|one| one == role))
    });
    let path = format!("{KEPT}/before-{TO}-from-{FROM}.db");
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(IN_USE), GROUPS, &[&format!("kube_version={FROM}"), NOWHERE]);
            let mut wrong = world.calm(1).await.2;
            let etcd = crate::upgrade::installed(&world.machines[0], "etcd");
            world.inventory(&hosts(IN_USE), GROUPS, &[&format!("kube_version={TO}"), NOWHERE]);
            world.does(&plays, muster_roles::upgrading(Settings::default()));
            let (exchanges, more) = world.cut_off(kill, async || Vec::new()).await;
            wrong.extend(more);
            let kept: Vec<String> = world.machines.iter().map(|machine| content(machine, &path)).collect();
            let wanted = format!("version {FROM}, 3 members, etcd {etcd}\0");
            // Another member may have come first in the run that went on.
            let kept: Vec<String> = kept.into_iter().filter(|kept| !kept.is_empty()).collect();
            if kept.is_empty() || !kept.iter().all(|kept| kept.contains(&wanted)) {
                wrong.push(format!("{wanted}: {kept:?}"));
            }
            (exchanges, wrong)
        })
    };
    let (exchanges, wrong) = play(None);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let kills: Vec<Kill> = At::After.of(&exchanges).into_iter().step_by(4).collect();
    in_parallel(&kills, |kill| play(Some(*kill)).1);
}

#[test]
fn a_snapshot_of_another_cluster_is_restored_only_where_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        let path = folder.path().join("snapshot.db");
        fs::write(&path, snapshot("\n\u{6}ca.crt\u{12}of another cluster")).unwrap();
        let file = SnapshotFile::read(&path).unwrap().unwrap();
        let restore = restore::Restore {
            path: path.clone(),
            snapshot: Some(file),
            without: Default::default(),
            of_another: false,
        };
        world.does(&restore::plays(&Default::default()), restore::roles(restore));
        let before = (world.cluster.seen(), world.changes());
        let refused = world.refused().await;
        let told = refused
            .iter()
            .any(|said| said.contains("is of a cluster with another CA than the one that m0 has"));
        assert!(told, "{refused:?}");
        assert_eq!((world.cluster.seen(), world.changes()), before);
    });
}
