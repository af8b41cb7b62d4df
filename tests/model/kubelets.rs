//! Kubelets of a cluster of model machines get values with which they do not start: one of them notices, and each machine has again
//! what it had before, also where the controller is killed or the power goes meanwhile.

use std::time::Duration;

use muster_engine::failure::Failure;
use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;
use muster_testkit::model::random::Random;

use crate::cluster::{Cluster, SUBNET, SUBNET_FILE, content, is_active, write};
use crate::events::after;
use crate::kills::{At, killed_everywhere};
use crate::kubeadm::CONFIGURES_KUBELET;
use crate::kubeadm_files::KUBELET_CONFIG;
use crate::line::{Controller, Kill};
use crate::upgrade::{TO, api_server, installed};
use crate::{GROUPS, IN_USE, MACHINES, World, hosts, simulated};

const UNIT: &str = "/etc/systemd/system/kubelet.service";

/// What a kubelet starts with.
const STARTS_WITH: [&str; 3] = [UNIT, KUBELET_CONFIG, "/var/lib/kubelet/kubeadm-flags.env"];

impl Cluster {
    /// A kubelet was started, in the version that is installed. None may be newer than an API server that it asks: a control plane's
    /// own, and for a worker any. With a number of pods below nothing or an argument that it does not know it ends at once.
    pub(crate) fn kubelet_started(&self, machine: &Machine) {
        let version = installed(machine, "kubelet");
        let mut state = self.state();
        let own = api_server(machine);
        let asked: Vec<String> = match own.is_empty() {
            true => state.nodes.values().map(|node| api_server(node)).filter(|at| !at.is_empty()).collect(),
            false => vec![own],
        };
        if version == TO && asked.iter().any(|server| server != TO) {
            state.wrong.push(format!("the kubelet of {} is newer than {asked:?}", machine.name));
        }
        state.kubelets.insert(machine.name.clone(), version);

        let reads = content(machine, KUBELET_CONFIG) + &content(machine, UNIT);
        let is_cut =
            machine.state().kept.disk.file(KUBELET_CONFIG).is_some_and(|file| file.content.is_empty());
        if !is_cut && !["maxPods: -", "maxPods\": -", "--nonsense"].iter().any(|wrong| reads.contains(wrong))
        {
            state.down.remove(&machine.name);
            return;
        }
        machine.state().kept.units.entry("kubelet.service").or_default().active = false;
        state.were_down.insert(machine.name.clone());
        state.down.insert(machine.name.clone());
        if state.down.len() > 1 {
            let down = format!("kubelets are down at once: {:?}", state.down);
            state.wrong.push(down);
        }
    }
}

/// `kubectl` that asks the machine's own kubelet whether it is well: the status; `None` for what is something else.
pub(crate) fn answer(machine: &Machine, words: &[&str]) -> Option<i32> {
    let own = ["--server=http://127.0.0.1:10248", "get", "--raw", "/healthz"];
    words.ends_with(&own).then(|| i32::from(!is_active(machine, "kubelet.service")))
}

impl World {
    /// What the kubelet of each machine starts with.
    fn kubelets(&self) -> Vec<[String; 3]> {
        self.machines.iter().map(|machine| STARTS_WITH.map(|path| content(machine, path))).collect()
    }

    /// What is wrong where kubelets are to start with this, and run.
    fn others_than(&self, wanted: &[[String; 3]]) -> Vec<String> {
        let mut wrong: Vec<String> = Vec::new();
        for (number, (is, wanted)) in self.kubelets().iter().zip(wanted).enumerate() {
            let name = format!("m{number}");
            if is != wanted {
                wrong.push(format!("the kubelet of {name} has {is:?}, not {wanted:?}"));
            }
            if self.cluster.state().down.contains(&name) {
                wrong.push(format!("the kubelet of {name} is down"));
            }
            let is_left = self.machines[number].state().kept.disk.is_dir("/var/lib/muster/kubelet-before");
            if is_left {
                wrong.push(format!("{name} keeps what its kubelet had before"));
            }
        }
        wrong
    }
}

/// One control plane, and four workers.
const WORKERS: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:4]\n";

/// The kubelets of a cluster are given a value with which they do not start, with the controller killed at every exchange; and then
/// one with which they do.
fn goes_back(name: &str, groups: &str, [wrong_value, right_value]: [&str; 2]) {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(IN_USE), groups, &[]);
            let mut wrong = world.calm(1).await.2;
            let (identity, before) = (world.cluster.identity(), world.kubelets());
            world.inventory(&hosts(IN_USE), groups, &[wrong_value]);
            let (exchanges, more) = world.disturbed(kill).await;
            wrong.extend(more);
            // What goes back does so without its controller.
            tokio::time::sleep(Duration::from_secs(60)).await;
            wrong.extend(world.others_than(&before));
            let were_down = std::mem::take(&mut world.cluster.state().were_down);
            if were_down.len() > 1 || kill.is_none() && were_down.is_empty() {
                wrong.push(format!("kubelets that were down: {were_down:?}"));
            }
            world.inventory(&hosts(IN_USE), groups, &[right_value]);
            wrong.extend(world.calm(3).await.2);
            wrong.extend(world.others_than(&world.kubelets()));
            if !world.cluster.state().were_down.is_empty() || world.kubelets() == before {
                wrong.push("the right value is not taken".to_owned());
            }
            wrong.extend(world.not_settled(&identity, 4).await);
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere(name, At::OneSide, play);
    held(
        name,
        "on model machines, the controller killed at every exchange",
        kills,
        "one kubelet is down for moments, and has its former configuration again; the right value goes through",
    );
}

#[test]
fn a_value_with_which_no_kubelet_starts_stops_one_for_moments() {
    goes_back("a wrong value for all kubelets", GROUPS, ["kubelet_max_pods=-1", "kubelet_max_pods=77"]);
}

#[test]
fn so_does_an_argument_that_only_workers_have() {
    let of = |flag: &str| format!(r#"{{"kubelet_node_custom_flags": ["{flag}"]}}"#);
    goes_back(
        "a wrong argument for the kubelets of workers",
        "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:2]\n",
        [&of("--nonsense"), &of("--v=3")],
    );
}

#[test]
fn who_waited_for_a_kubelet_that_went_back_says_so_and_a_former_value_is_as_if_nothing_had_been() {
    simulated(async {
        let world = World::new(&[]);
        world.inventory(&hosts(MACHINES), WORKERS, &[]);
        assert_eq!(world.calm(1).await.2, Vec::<String>::new());
        let before = world.kubelets();
        let wrong = r#"{"kubelet_node_config_extra_args": {"maxPods": -1}}"#;
        world.inventory(&hosts(MACHINES), WORKERS, &[wrong]);
        let ran = world.run(&Controller::new(2, MACHINES, None)).await.expect("nobody kills it");
        let failures: Vec<&Failure> = ran.outcome.values().filter_map(|host| host.failure.as_ref()).collect();
        let went_back = |failure: &&&Failure| {
            failure
                .to_string()
                .starts_with("the kubelet does not run with its new configuration, and has the one before")
        };
        let waited = |failure: &&&Failure| {
            failure.to_string().contains("needs a kubelet that runs with its new configuration from m")
        };
        assert_eq!(failures.iter().filter(went_back).count(), 1, "{failures:?}");
        assert_eq!(failures.iter().filter(waited).count(), 3, "{failures:?}");
        let remedy =
            failures.iter().find(went_back).unwrap().remedy().unwrap().in_words().unwrap().to_owned();
        assert!(remedy.ends_with("run again; until then the kubelet has what it had before"), "{remedy}");

        // The same value once more ends in the same way, and without it nothing is to be done.
        assert!(world.refused().await.iter().any(|said| said.contains("has the one before again")));
        assert_eq!(world.others_than(&before), Vec::<String>::new());
        world.inventory(&hosts(MACHINES), WORKERS, &[]);
        let (_, ran, wrong) = world.calm(4).await;
        let files = |told: &String| told.starts_with("kubelet: file /etc/kubernetes/patches");
        assert!(wrong.is_empty() && ran.told.values().flatten().all(files), "{wrong:?} {:?}", ran.told);
        assert_eq!(world.others_than(&before), Vec::<String>::new());
        let ran = world.calm(5).await.1;
        assert!(ran.changes.is_empty(), "{:?}", ran.changes);
    });
}

#[test]
fn a_kubelet_gets_its_former_configuration_whenever_the_power_goes() {
    let mut cuts = 0;
    for milliseconds in (0..16_000).step_by(1100) {
        simulated(async {
            let world = after(GROUPS, |_| {}).await;
            let (identity, before) = (world.cluster.identity(), world.kubelets());
            let machine = &world.machines[0];
            // The set-up is long ago.
            machine.state().kept.disk.flush();
            world.inventory(&hosts(IN_USE), GROUPS, &["kubelet_max_pods=-1"]);
            let cut = async {
                while !world.cluster.state().busy.contains(&format!("{CONFIGURES_KUBELET} on m0")) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                machine.restart(&mut Random::of(7, &[milliseconds]), Duration::from_secs(5));
                world.cluster.state().busy.clear();
                world.cluster.kubelet_started(machine);
                // What flannel's daemon writes after a start of the machine.
                write(&mut machine.state().kept.disk, SUBNET_FILE, SUBNET, 0o644);
            };
            let controller = Controller::new(2, MACHINES, None);
            let cut = tokio::time::timeout(Duration::from_secs(3600), cut);
            tokio::join!(cut, world.run(&controller)).0.expect("it is at work");
            tokio::time::sleep(Duration::from_secs(10)).await;

            // The next run sees the truth, be it with the same value or with the right one.
            if cuts % 2 == 0 {
                let refused = world.refused().await;
                assert!(refused.iter().any(|said| said.contains("has the one before again")), "{refused:?}");
                assert_eq!(world.others_than(&before), Vec::<String>::new(), "after {milliseconds} ms");
            }
            world.inventory(&hosts(IN_USE), GROUPS, &["kubelet_max_pods=77"]);
            assert_eq!(world.calm(4).await.2, Vec::<String>::new(), "after {milliseconds} ms");
            assert_eq!(world.others_than(&world.kubelets()), Vec::<String>::new(), "after {milliseconds} ms");
            assert!(content(machine, KUBELET_CONFIG).contains("maxPods: 77"));
            assert_eq!(
                world.not_settled(&identity, 5).await,
                Vec::<String>::new(),
                "after {milliseconds} ms"
            );
        });
        cuts += 1;
    }
    held(
        "power lost",
        "on a model machine, while its kubelet gets a configuration with which it does not start",
        cuts,
        "the next run gives it its former configuration again, or the right one",
    );
}
