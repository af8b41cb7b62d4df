//! A cluster without kube-proxy, whose services a network of the user's own carries: it begins so, stays so when it is upgraded, and gets
//! a kube-proxy when one is wanted. One that lives keeps its kube-proxy until whoever brings the network has removed it.

use std::sync::atomic::Ordering;

use muster_testkit::fault_record::held;

use crate::cluster::{content, write};
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::policies::SETS;
use crate::upgrade::{FROM, OLD, TO};
use crate::{World, hosts, simulated};

const TWO: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:1]\n";

/// A network of the user's own, which carries services or does not.
const OWN: &str = "kube_network_plugin=none";
const WITHOUT: [&str; 2] = [OWN, "kube_proxy_remove=true"];

/// A cluster with these variables.
async fn begun(set: &[&str]) -> World {
    let world = World::new(&[]);
    world.inventory(&hosts(2), TWO, set);
    let wrong = world.calm(1).await.2;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world
}

/// The version of its kube-proxy; empty where there is none.
fn proxy(world: &World) -> String {
    world.cluster.state().proxy.clone()
}

/// Goes to these variables, killed everywhere; `has` says whether the cluster is to have a kube-proxy then.
fn goes_to(name: &str, at: At, from: Option<&[&str]>, to: &[&str], has: bool) -> usize {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = match from {
                Some(from) => begun(from).await,
                None => World::new(&[]),
            };
            world.inventory(&hosts(2), TWO, to);
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            if kill.is_some() {
                wrong.extend(world.calm(3).await.2);
            }
            if proxy(&world).is_empty() == has {
                wrong.push(format!("kube-proxy {:?}", proxy(&world)));
            }
            let identity = world.cluster.identity();
            wrong.extend(world.not_settled(&identity, 4).await);
            (exchanges, wrong)
        })
    };
    killed_everywhere(name, at, play)
}

#[test]
fn a_cluster_begins_without_kube_proxy_and_gets_one() {
    let kills = goes_to("without kube-proxy", At::Seldom, None, &WITHOUT, false)
        + goes_to("kube-proxy comes", At::BothSides, Some(&WITHOUT), &[OWN], true);
    held(
        "controller killed",
        "at exchanges of a set-up of a cluster without kube-proxy, and of a run that brings one to it, on two model machines",
        kills,
        "the same command finishes, the run after it changes nothing; kube-proxy is there if, and only if, it is wanted",
    );
}

#[test]
fn an_upgrade_brings_no_kube_proxy() {
    for [from, to] in [[FROM, TO], OLD] {
        simulated(async {
            let [old, new] = [from, to].map(|version| format!("kube_version={version}"));
            let world = begun(&[OWN, "kube_proxy_remove=true", &old]).await;
            world.inventory(&hosts(2), TWO, &[OWN, "kube_proxy_remove=true", &new]);
            world.upgrades.store(true, Ordering::Relaxed);
            let wrong = world.calm(2).await.2;
            assert!(wrong.is_empty(), "{to}: {}", wrong.join("\n"));
            assert_eq!(world.cluster.state().version, to);
            assert_eq!(proxy(&world), "", "{to}");
            for upgrades in [true, false] {
                world.upgrades.store(upgrades, Ordering::Relaxed);
                let (_, ran, wrong) = world.calm(3).await;
                assert!(wrong.is_empty() && ran.changes.is_empty(), "{to}: {wrong:?} {:?}", ran.changes);
            }
        });
    }
}

#[test]
fn a_living_cluster_keeps_its_kube_proxy_until_it_was_removed_by_who_brings_the_network() {
    simulated(async {
        let world = begun(&[OWN]).await;
        for machine in &world.machines[..2] {
            machine.state().kept.tools.insert("ipset".to_owned());
            write(&mut machine.state().kept.disk, SETS, "KUBE-LOOP-BACK\nKUBE-SRC-A\n", 0o644);
        }
        let sets = || [0, 1].map(|machine| content(&world.machines[machine], SETS));
        let before = sets();
        world.inventory(&hosts(2), TWO, &WITHOUT);
        let refused = world.refused().await;
        let said = "and the cluster has a kube-proxy";
        assert!(refused.iter().all(|text| text.contains(said)) && refused.len() == 2, "{refused:?}");
        assert!(!proxy(&world).is_empty() && sets() == before, "{:?}", sets());

        // `kubectl delete daemonset/kube-proxy configmap/kube-proxy`.
        world.cluster.state().proxy.clear();
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let told = "kube-proxy: rules of kube-proxy";
        assert!(
            ran.told.values().all(|told_of_host| told_of_host.iter().any(|text| text == told)),
            "{:?}",
            ran.told
        );
        assert_eq!(sets(), ["KUBE-SRC-A\n", "KUBE-SRC-A\n"]);
        let (_, ran, wrong) = world.calm(4).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
        assert_eq!(proxy(&world), "");
    });
}
