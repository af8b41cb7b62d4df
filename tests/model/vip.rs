//! The control planes of a cluster of model machines share an address, and give it up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;
use muster_testkit::model::shell::{Done, Shell};

use crate::cluster::{Cluster, content, is_active, unknown, write};
use crate::events::after;
use crate::external::{GROUPS, URL, goes_over};
use crate::kills::{At, in_parallel, killed_everywhere};
use crate::line::Kill;
use crate::upgrade::MANIFEST;
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

    /// Whether a machine finds what is at a shared address: it has it itself, or nothing is in between. At the other one is nobody but
    /// a control plane that holds it.
    pub(crate) fn reaches_shared(&self, machine: &Arc<Machine>, url: &str) -> bool {
        let address = url.trim_start_matches("https://").trim_end_matches(":6443").to_owned();
        let has_it = |machine: &Arc<Machine>| self.shared_addresses(machine).contains(&address);
        let machines: Vec<Arc<Machine>> = self.state().machines.values().cloned().collect();
        let is_cut_off = self.state().filtered.contains(&format!("{} {url}", machine.name));
        (!is_cut_off || has_it(machine)) && (url != OTHER || machines.iter().any(has_it))
    }

    /// The API server of a machine that shares an address restarts: another one takes it, where there is one.
    pub(crate) fn others_hold_its_address(&self, machine: &Machine) {
        let others: Vec<Arc<Machine>> =
            self.state().machines.values().filter(|other| other.name != machine.name).cloned().collect();
        let is_plane = |other: &&Arc<Machine>| !content(other, MANIFEST).is_empty();
        for pod in pods(machine) {
            let mut planes = others.iter().filter(is_plane).peekable();
            if planes.peek().is_some() && !planes.any(|other| pods(other).contains(&pod)) {
                self.state().wrong.push(format!("nobody holds {pod} while {} restarts", machine.name));
            }
        }
    }
}

/// The other address that control planes may share.
pub(crate) const OTHER: &str = "https://192.0.2.201:6443";

/// The addresses that a machine's /etc/hosts has for the name of the API.
fn addresses_of_name(machine: &Machine) -> Vec<String> {
    let hosts = content(machine, "/etc/hosts");
    let lines = hosts.lines().filter(|line| line.contains(&format!(" {NAME} ")));
    lines.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// A URL as the machine finds it, by its /etc/hosts.
pub(crate) fn by_hosts_line(machine: &Machine, url: &str) -> String {
    match addresses_of_name(machine).first() {
        Some(address) => url.replace(NAME, address),
        None => url.to_owned(),
    }
}

/// `getent ahostsv4 NAME`.
pub(crate) fn getent(shell: &mut Shell, words: &[&str]) -> Done {
    let &["ahostsv4", NAME] = words else { return unknown(shell, "getent", words) };
    let lines =
        addresses_of_name(&shell.machine).into_iter().map(|address| format!("{address} STREAM {NAME}\n"));
    let lines: String = lines.collect();
    shell.write(1, lines.as_bytes()).map(|_| 0)
}

/// A name of the API.
pub(crate) const NAME: &str = "api.example.org";

/// The variables by which control planes share an address that has a name.
fn named(address: &str) -> String {
    VARIABLES
        .replace("192.0.2.200", address)
        .replace('}', &format!(r#", "apiserver_loadbalancer_domain_name": "{NAME}"}}"#))
}

/// Machines that are led by the name to an address that nobody holds; and what is not as it should be when all are at the other one.
fn led_astray(world: &World, is_done: bool) -> Vec<String> {
    let machines = &world.machines[..IN_USE];
    let is_held = |address: &str| {
        let pod = format!("api-vip-{}", address.replace('.', "-"));
        machines.iter().any(|machine| pods(machine).contains(&pod))
    };
    let mut wrong = Vec::new();
    for machine in machines {
        let addresses = addresses_of_name(machine);
        if !matches!(&addresses[..], [address] if is_held(address)) {
            wrong.push(format!("{} is led to {addresses:?}", machine.name));
        }
        if is_done && addresses != ["192.0.2.201"] {
            wrong.push(format!("{} is left at {addresses:?}", machine.name));
        }
    }
    let left = machines[..2].iter().filter(|machine| pods(machine) != ["api-vip-192-0-2-201"]);
    wrong.extend(left.filter(|_| is_done).map(|machine| format!("{}: {:?}", machine.name, pods(machine))));
    wrong
}

#[test]
fn a_name_goes_over_to_another_address_when_that_is_held() {
    let name = "the name of the API goes over to another address that control planes share";
    let kills = killed_everywhere(name, At::OneSide, |kill: Option<Kill>| {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(IN_USE), GROUPS, &[&named("192.0.2.200")]);
            let mut wrong = world.calm(1).await.2;
            let identity = world.cluster.identity();
            world.inventory(&hosts(IN_USE), GROUPS, &[&named("192.0.2.201")]);
            let (exchanges, more) = world.disturbed(kill).await;
            wrong.extend(more);
            wrong.extend(led_astray(&world, false));
            wrong.extend(world.calm(3).await.2);
            wrong.extend(led_astray(&world, true));
            wrong.extend(world.not_settled(&identity, 4).await);
            (exchanges, wrong)
        })
    });
    held(
        name,
        "on model machines, the controller killed at every exchange",
        kills,
        "the same command finishes; the name leads no machine to an address that nobody holds",
    );
}

#[test]
fn a_name_stays_where_it_is_and_kubelets_speak_with_it_until_all_find_the_other_address() {
    simulated(async {
        let hardened = "kubelet_systemd_hardening=true";
        let world = World::new(&[]);
        world.inventory(&hosts(IN_USE), GROUPS, &[&named("192.0.2.200"), hardened]);
        assert_eq!(world.calm(1).await.2, Vec::<String>::new());
        let identity = world.cluster.identity();
        let allowed = || {
            let unit = content(&world.machines[2], "/etc/systemd/system/kubelet.service");
            ["192.0.2.200", "192.0.2.201"].map(|address| unit.contains(&format!(" {address}")))
        };
        assert_eq!(allowed(), [true, false]);
        world.inventory(&hosts(IN_USE), GROUPS, &[&named("192.0.2.201"), hardened]);
        // A run of one worker leaves it where the cluster is.
        world.only("m2");
        assert_eq!(world.calm(2).await.2, Vec::<String>::new());
        assert_eq!((led_astray(&world, false), allowed()), (Vec::new(), [true, true]));
        world.limit.lock().unwrap().clear();
        world.cluster.state().filtered = [format!("m2 {OTHER}")].into();
        let refused = world.refused().await;
        let said = format!("m2 does not find the API at {OTHER}");
        assert!(refused.iter().any(|text| text.contains(&said)), "{refused:?}");
        let at: Vec<_> =
            world.machines[..IN_USE].iter().flat_map(|machine| addresses_of_name(machine)).collect();
        assert_eq!((at, allowed()), (vec!["192.0.2.200".to_owned(); IN_USE], [true, true]));
        world.cluster.state().filtered.clear();
        assert_eq!(world.calm(3).await.2, Vec::<String>::new());
        assert_eq!((led_astray(&world, true), allowed()), (Vec::new(), [false, true]));
        assert_eq!(world.not_settled(&identity, 4).await, Vec::<String>::new());
    });
}

#[test]
fn those_that_join_the_only_control_plane_hold_its_address_before_it_restarts() {
    let groups =
        |planes: &str| format!("[etcd]\n{planes}\n[kube_control_plane]\n{planes}\n[kube_node]\n{planes}\n");
    simulated(async {
        let world = World::new(&[]);
        world.inventory(&hosts(IN_USE), &groups("m0"), &[VARIABLES]);
        assert_eq!(world.calm(1).await.2, Vec::<String>::new());
        let identity = world.cluster.identity();
        world.inventory(&hosts(IN_USE), &groups("m[0:2]"), &[VARIABLES]);
        assert_eq!(world.calm(2).await.2, Vec::<String>::new());
        assert!(world.machines[..IN_USE].iter().all(|machine| holds(machine)));
        assert_eq!(world.not_settled(&identity, 3).await, Vec::<String>::new());
    });
}

#[test]
fn keepalived_starts_anew_on_one_control_plane_after_the_other() {
    simulated(async {
        let world = World::new(&[]);
        world.inventory(&hosts(IN_USE), GROUPS, &[VARIABLES]);
        assert_eq!(world.calm(1).await.2, Vec::<String>::new());
        let pod = "/etc/kubernetes/manifests/api-vip-192-0-2-200.yaml";
        let by_hand = |number: usize| content(&world.machines[number], pod).ends_with("# by hand\n");
        for machine in &world.machines[..2] {
            let text = content(machine, pod) + "# by hand\n";
            write(&mut machine.state().kept.disk, pod, &text, 0o600);
        }
        let changed = async |number: usize| {
            while by_hand(number) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokio::time::Instant::now()
        };
        let (first, second, ran) = tokio::join!(changed(0), changed(1), world.calm(2));
        assert_eq!(ran.2, Vec::<String>::new());
        // keepalived runs for so long before it has taken an address.
        assert!(second - first >= Duration::from_secs(12), "{:?}", second - first);
    });
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

#[test]
fn users_are_told_once_that_an_address_which_was_given_up_leads_nowhere() {
    simulated(async {
        let world = World::new(&[]);
        world.inventory(&hosts(IN_USE), GROUPS, &[VARIABLES]);
        assert_eq!(world.calm(1).await.2, Vec::<String>::new());
        world.inventory(&hosts(IN_USE), GROUPS, &[]);
        let (_, ran, wrong) = world.calm(2).await;
        assert_eq!(wrong, Vec::<String>::new());
        let told = |text: &&String| text.contains("no control plane holds 192.0.2.200 any more: kubeconfigs");
        assert_eq!(ran.warnings.iter().filter(told).count(), 1, "{:?}", ran.warnings);
        // Nothing is given up by then.
        let (_, ran, _) = world.calm(3).await;
        assert_eq!(ran.warnings.iter().filter(told).count(), 0, "{:?}", ran.warnings);
    });
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
    let all = || ["m1", "m2"].map(|machine| format!("{machine} {URL}")).into();
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
