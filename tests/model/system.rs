//! The operating systems of a cluster of model machines get newer packages, and the machines restart: one at a time, drained, and with
//! a majority of etcd's members; the controller is killed between any two exchanges, and the same command finishes it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use muster_testkit::fault_record::held;
use muster_testkit::model::random::Random;
use muster_testkit::model::shell::{Done, Shell};

use crate::cluster::{Cluster, SUBNET, SUBNET_FILE, unknown, write};
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::{World, hosts, simulated};

/// How many machines there are in the cluster.
const NODES: usize = 4;

/// How long a machine takes to come back, and its kubelet to say so.
const DOWN: Duration = Duration::from_secs(6);

impl Cluster {
    /// `systemd-run ... systemctl reboot`: the machine restarts a second later.
    pub(crate) fn restarts(&self, shell: &Shell, words: &[&str]) -> Done {
        let ["--quiet", "--on-active=1", "--timer-property=AccuracySec=100ms", "systemctl", "reboot"] = words
        else {
            return unknown(shell, "systemd-run", words);
        };
        let (machine, state) = (shell.machine.clone(), self.state.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let name = machine.name.clone();
            {
                let mut state = state.lock().unwrap();
                if state.nodes.contains_key(&name)
                    && !state.cordoned.contains(&name)
                    && !state.held.contains(&name)
                {
                    state.wrong.push(format!("{name} restarts, and may have pods"));
                }
                if let Some(other) = state.off.iter().next().cloned() {
                    state.wrong.push(format!("{name} restarts while {other} is away"));
                }
                state.off.insert(name.clone());
                if !state.has_quorum() {
                    state.wrong.push(format!("etcd has no majority while {name} restarts"));
                }
            }
            machine.restart(&mut Random::new(1), DOWN);
            tokio::time::sleep(DOWN).await;
            write(&mut machine.state().kept.disk, SUBNET_FILE, SUBNET, 0o644);
            state.lock().unwrap().off.remove(&name);
            tokio::time::sleep(DOWN).await;
            state.lock().unwrap().boots.insert(name, machine.boots());
        });
        Ok(0)
    }
}

impl World {
    /// A cluster, whose machines have these packages in older versions. Three of them are members of etcd, of which one is a worker;
    /// somebody has cordoned m3.
    async fn before_packages(outdated: &[&str], set: &[&str]) -> Self {
        const GROUPS: &str = "[etcd]\nm[0:2]\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm[0:3]\n";
        let world = Self::new(&[]);
        world.inventory(&hosts(NODES), GROUPS, &[]);
        // The others have nothing to do with it.
        *world.roles.lock().unwrap() =
            ["etcd", "containerd", "kubelet", "control-plane", "node"].map(str::to_owned).into();
        let wrong = world.calm(1).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        world.cluster.state().held.insert("m3".to_owned());
        for machine in &world.machines {
            machine.state().kept.outdated = outdated.iter().map(ToString::to_string).collect();
        }
        world.inventory(&hosts(NODES), GROUPS, &[&["system_upgrade=true"], set].concat());
        *world.roles.lock().unwrap() = ["upgrade-check", "system-upgrade"].map(str::to_owned).into();
        world.upgrades.store(true, Ordering::Relaxed);
        world
    }

    /// What is not as it should be after the packages were upgraded, and each machine was restarted so often at most.
    fn unfinished(&self, boots: std::ops::RangeInclusive<u64>) -> Vec<String> {
        let mut wrong = Vec::new();
        for machine in &self.machines[..NODES] {
            let state = machine.state();
            let left = (!state.kept.outdated.is_empty(), !state.kept.half.is_empty());
            let restart = state.kept.disk.file("/run/reboot-required").is_some();
            drop(state);
            if left != (false, false) || restart || !boots.contains(&(machine.boots() - 1)) {
                wrong.push(format!("{}: {left:?}, {restart}, {} boots", machine.name, machine.boots()));
            }
        }
        let state = self.cluster.state();
        wrong.extend(state.cordoned.iter().map(|name| format!("{name} is cordoned")));
        if state.held != BTreeSet::from(["m3".to_owned()]) {
            wrong.push("m3 is not cordoned any more".to_owned());
        }
        wrong
    }
}

#[test]
fn newer_packages_that_were_cut_off_anywhere_are_finished_by_the_same_command() {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = World::before_packages(&["base-files", "linux"], &[]).await;
            let (identity, members) = (world.cluster.identity(), world.cluster.member_names());
            // How often a machine is asked whether it is back is not always the same, so the last kills may come too late.
            let (exchanges, _) = world.disturbed(kill).await;
            let mut wrong = Vec::new();
            // One that is away when the next run begins is told as any other.
            tokio::time::sleep(3 * DOWN).await;
            wrong.extend(world.calm(3).await.2);
            wrong.extend(world.unfinished(1..=1));
            if world.cluster.identity() != identity || world.cluster.member_names() != members {
                wrong.push("another cluster".to_owned());
            }
            let (_, ran, more) = world.calm(4).await;
            wrong.extend(more);
            if !ran.changes.is_empty() {
                wrong.push(format!("the run after changes something: {:?}", ran.changes));
            }
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere("newer packages", At::OneSide, play);
    held(
        "controller killed",
        "on one side of every exchange of an upgrade of the operating systems, with restarts, on four model machines",
        kills,
        "the same command finishes; one machine away at a time, drained, with a majority of etcd's members; each restarted once",
    );
}

#[test]
fn a_machine_restarts_where_it_has_to_or_as_the_variable_says() {
    for (outdated, set, boots) in [
        (&["base-files"][..], "system_upgrade_reboot=on-upgrade", 0),
        (&["base-files"], "system_upgrade_reboot=always", 1),
        (&["linux"], "system_upgrade_reboot=on-upgrade", 1),
    ] {
        simulated(async {
            let world = World::before_packages(outdated, &[set]).await;
            let wrong = world.calm(2).await.2;
            assert!(wrong.is_empty(), "{set}: {wrong:?}");
            assert_eq!(world.unfinished(boots..=boots), Vec::<String>::new(), "{set}");
        });
    }
    simulated(async {
        let world = World::before_packages(&["linux"], &["system_upgrade_reboot=never"]).await;
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let told = |text: &String| text.contains("has to be restarted");
        assert_eq!(ran.warnings.iter().filter(|text| told(text)).count(), NODES, "{:?}", ran.warnings);
        assert!(world.machines.iter().all(|machine| machine.boots() == 1));
    });
}

#[test]
fn the_machine_that_the_run_is_on_is_left_to_its_user_to_restart() {
    for set in ["system_upgrade_reboot=on-upgrade", "system_upgrade_reboot=always"] {
        simulated(async {
            let world = World::before_packages(&["linux"], &[set]).await;
            world.is_on_first.store(true, Ordering::Relaxed);
            let (_, ran, wrong) = world.calm(2).await;
            assert!(wrong.is_empty(), "{set}: {wrong:?}");
            let told = |text: &&String| text.contains("restart it yourself, because this run is on it");
            assert_eq!(ran.warnings.iter().filter(told).count(), 1, "{set}: {:?}", ran.warnings);
            // Where they began, and one more of the others.
            let boots: Vec<_> = world.machines[..NODES].iter().map(|machine| machine.boots()).collect();
            assert_eq!(boots, [1, 2, 2, 2], "{set}");
            assert!(world.machines[0].state().kept.outdated.is_empty(), "{set}");
        });
    }
}

#[test]
fn without_one_more_member_of_etcd_nobody_restarts() {
    simulated(async {
        let world = World::before_packages(&["linux"], &[]).await;
        // Its machine answers.
        world.machines[0].state().kept.units.get_mut("etcd.service").unwrap().active = false;
        let refused = world.refused().await;
        assert!(refused.iter().any(|said| said.contains("etcd")), "{refused:?}");
        assert!(world.machines.iter().all(|machine| machine.boots() == 1));
    });
}
