//! The control planes of a cluster of model machines share an address, and give it up.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_testkit::model::machine::Machine;

use crate::cluster::{Cluster, content, is_active};
use crate::events::after;
use crate::external::{GROUPS, URL, goes_over};
use crate::kills::in_parallel;
use crate::{IN_USE, PLAYS, World, hosts, simulated};

const VARIABLES: &str =
    r#"{"kube_vip_enabled": true, "kube_vip_controlplane_enabled": true, "kube_vip_address": "192.0.2.200"}"#;

/// The pods of keepalived that run on a machine.
pub(crate) fn pods(machine: &Machine) -> Vec<String> {
    if !is_active(machine, "kubelet.service") {
        return Vec::new();
    }
    let state = machine.state();
    let names = state.kept.disk.names("/etc/kubernetes/manifests");
    let pods = names.filter_map(|name| name.strip_suffix(".yaml").filter(|pod| pod.starts_with("api-vip-")));
    pods.map(str::to_owned).collect()
}

/// Whether a machine may hold the address.
fn holds(machine: &Machine) -> bool {
    pods(machine).contains(&"api-vip-192-0-2-200".to_owned())
}

impl Cluster {
    /// The addresses that a machine holds: the first one that may, and each that does not hear it.
    pub(crate) fn shared_addresses(&self, machine: &Machine) -> Vec<String> {
        let of = |pod: &String| pod.trim_start_matches("api-vip-").replace('-', ".");
        let state = self.state();
        let has = |pod: &String| {
            let mut sharing = state.machines.values().filter(|other| {
                !state.off.contains(&other.name)
                    && !state.deaf.contains(&other.name)
                    && pods(other).contains(pod)
            });
            state.deaf.contains(&machine.name)
                || sharing.next().is_some_and(|first| first.name == machine.name)
        };
        pods(machine).iter().filter(|pod| has(pod)).map(of).collect()
    }

    /// Whether a machine finds what is at the address: it has it itself, or nothing is in between.
    pub(crate) fn reaches_shared(&self, machine: &Arc<Machine>) -> bool {
        !self.state().filtered.contains(&machine.name)
            || self.shared_addresses(machine).contains(&"192.0.2.200".to_owned())
    }
}

/// Machines that look for the API at the address, where nobody holds it; and control planes that do not share it when all is done, or
/// share it when nobody is led there.
fn led_nowhere(world: &World, is_done: bool, is_wanted: bool) -> Vec<String> {
    let machines = &world.machines[..IN_USE];
    let leads = |conf: &str| conf.contains(&format!("server: {URL}\n"));
    let is_led = |machine: &Machine| {
        ["admin.conf", "kubelet.conf"]
            .iter()
            .any(|conf| leads(&content(machine, &format!("/etc/kubernetes/{conf}"))))
    };
    let is_held = machines.iter().any(|machine| holds(machine));
    let led = machines.iter().filter(|machine| !is_held && is_led(machine));
    let mut wrong: Vec<String> = led.map(|machine| format!("{} is led to nobody", machine.name)).collect();
    if is_done {
        let planes = machines[..2].iter().filter(|machine| holds(machine) != is_wanted);
        wrong.extend(planes.map(|machine| format!("{} holds the address: {}", machine.name, !is_wanted)));
        let left = machines.iter().filter(|machine| {
            !is_wanted && !content(machine, "/etc/kubernetes/api-vip/192.0.2.200/keepalived.conf").is_empty()
        });
        wrong.extend(left.map(|machine| format!("{} has something of the address", machine.name)));
    }
    wrong
}

#[test]
fn a_cluster_goes_over_to_an_address_that_its_control_planes_share() {
    let name = "the cluster goes over to an address that its control planes share";
    goes_over(name, &[], &[VARIABLES], URL, |world, is_done| led_nowhere(world, is_done, true));
}

#[test]
fn a_cluster_that_began_with_an_address_of_its_own_gives_it_up() {
    let name = "the cluster gives up an address that its control planes share";
    let local = "https://127.0.0.1:6443";
    goes_over(name, &[VARIABLES], &[], local, |world, is_done| led_nowhere(world, is_done, false));
}

/// Control planes that are to share the address, while something is wrong with the network: the run ends with `said`, and nobody is led
/// there. When it is mended, the same command does it.
fn refused_until_it_is_mended(said: &str, wrong: impl Fn(&World), mended: impl Fn(&World)) {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        let identity = world.cluster.identity();
        world.inventory(&hosts(IN_USE), GROUPS, &[VARIABLES]);
        wrong(&world);
        for _ in 0..2 {
            let refused = world.refused().await;
            assert!(refused.iter().any(|text| text.contains(said)), "{refused:?}");
            assert_eq!(world.cluster.state().endpoint, "127.0.0.1:6443", "{refused:?}");
            assert!(world.machines[..IN_USE].iter().all(|machine| {
                !content(machine, "/etc/kubernetes/kubelet.conf").contains(&format!("server: {URL}\n"))
            }));
        }
        mended(&world);
        assert_eq!(world.calm(3).await.2, Vec::<String>::new());
        assert_eq!(led_nowhere(&world, true, true), Vec::<String>::new());
        assert_eq!(world.not_settled(&identity, 4).await, Vec::<String>::new());
        assert_eq!(format!("https://{}", world.cluster.state().endpoint), URL);
    });
}

#[test]
fn nobody_is_led_to_an_address_that_only_its_holder_finds() {
    let all = || ["m1", "m2"].map(str::to_owned).into();
    refused_until_it_is_mended(
        "m2 does not find the API at https://192.0.2.200:6443",
        |world| world.cluster.state().filtered = all(),
        |world| world.cluster.state().filtered.clear(),
    );
}

#[test]
fn nobody_is_led_to_an_address_that_two_control_planes_hold() {
    refused_until_it_is_mended(
        " hold 192.0.2.200 at the same time",
        |world| world.cluster.state().deaf = ["m1".to_owned()].into(),
        |world| world.cluster.state().deaf.clear(),
    );
}

/// The roles that a tag chooses.
fn chosen_by(tag: &str) -> Vec<String> {
    let plays = PLAYS.iter().map(|play| (play.tags.iter().any(|known| known == tag), &play.roles));
    plays.flat_map(|(all, roles)| roles.iter().filter(move |role| all || *role == tag)).cloned().collect()
}

#[test]
fn the_second_run_of_any_part_changes_nothing_when_the_address_was_taken_away() {
    let tags = PLAYS.iter().flat_map(|play| play.tags.iter().chain(&play.roles));
    let parts: BTreeMap<Vec<String>, &String> = tags.map(|tag| (chosen_by(tag), tag)).collect();
    // When the whole cluster has given it up, and before.
    let cases: Vec<_> = parts.values().flat_map(|tag| [(*tag, true), (*tag, false)]).collect();
    in_parallel(&cases, |(tag, is_through)| {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(IN_USE), GROUPS, &[VARIABLES]);
            let mut wrong = world.calm(1).await.2;
            world.inventory(&hosts(IN_USE), GROUPS, &[]);
            if *is_through {
                wrong.extend(world.calm(2).await.2);
            }
            *world.roles.lock().unwrap() = chosen_by(tag);
            wrong.extend(world.calm(3).await.2);
            let (_, ran, more) = world.calm(4).await;
            wrong.extend(more);
            wrong.extend(ran.told.into_iter().map(|(host, told)| format!("{host}: {told:?}")));
            wrong
        })
    });
}
