//! The control planes of a cluster of model machines share an address, and give it up.

use muster_testkit::model::machine::Machine;

use crate::cluster::{content, is_active};
use crate::external::{URL, goes_over};
use crate::{IN_USE, World};

const VARIABLES: &str =
    r#"{"kube_vip_enabled": true, "kube_vip_controlplane_enabled": true, "kube_vip_address": "192.0.2.200"}"#;

/// Whether a machine may hold the address.
fn holds(machine: &Machine) -> bool {
    is_active(machine, "kubelet.service")
        && !content(machine, "/etc/kubernetes/manifests/api-vip-192-0-2-200.yaml").is_empty()
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
