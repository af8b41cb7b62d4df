//! Other networks for pods than flannel: a cluster is set up with each of them, what there is of one changes while the cluster goes on,
//! and the cluster is taken away. What they bring stands here in the form of upstream's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use muster_roles::Reset;
use muster_testkit::fault_record::held;

use crate::cluster::{State, is_active, write};
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::reset::taken_away;
use crate::{World, cluster, hosts, same, simulated};

pub(crate) const TWO: &str = "[etcd]\nm0\n[kube_control_plane]\nm0\n[kube_node]\nm[0:1]\n";
const CALICO: &str = "kube_network_plugin=calico";
const CILIUM: &str = "kube_network_plugin=cilium";

/// What is changed of calico's manifest, and an object that stays as it is.
const MANIFEST: &str = r#"---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: calico-kube-controllers, namespace: kube-system}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: calico-config, namespace: kube-system}
data:
  typha_service_name: calico-typha
  calico_backend: bird
  veth_mtu: "0"
  cni_network_config: '{"name": "k8s-pod-network", "plugins": [{"type": "calico", "mtu": __CNI_MTU__, "ipam": {"type": "calico-ipam"}}]}'
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: felixconfigurations.crd.projectcalico.org}
spec: {group: crd.projectcalico.org, names: {kind: FelixConfiguration}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ipamconfigs.crd.projectcalico.org}
spec: {group: crd.projectcalico.org, names: {kind: IPAMConfig}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ippools.crd.projectcalico.org}
spec: {group: crd.projectcalico.org, names: {kind: IPPool}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: calico-node, namespace: kube-system}
spec:
  template:
    spec:
      initContainers:
        - {name: install-cni, image: "quay.io/calico/cni:v0.0.1", env: []}
      containers:
        - name: calico-node
          image: "quay.io/calico/node:v0.0.1"
          env:
            - {name: FELIX_TYPHAK8SSERVICENAME, value: calico-typha}
            - {name: CALICO_IPV4POOL_IPIP, value: Always}
            - {name: CALICO_IPV4POOL_VXLAN, value: Never}
            - {name: CALICO_IPV6POOL_VXLAN, value: Never}
          livenessProbe: {exec: {command: [/bin/calico-node, -felix-live, -bird-live]}}
          readinessProbe: {exec: {command: [/bin/calico-node, -felix-ready, -bird-ready]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: calico-kube-controllers, namespace: kube-system}
spec: {template: {spec: {containers: [{name: calico-kube-controllers, image: "quay.io/calico/kube-controllers:v0.0.1"}]}}}
---
{apiVersion: v1, kind: Service, metadata: {name: calico-typha, namespace: kube-system}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: calico-typha, namespace: kube-system}
spec: {replicas: 1, template: {spec: {containers: [{name: calico-typha, image: "quay.io/calico/typha:v0.0.1", env: []}]}}}
"#;

/// What helm makes of cilium's chart: the agent, and what it was told.
const HELM: &str = r#"#!/bin/sh
[ "$1" = template ] || exit 1
values=$(/bin/cat)
ipam=${values#*'"ipam":'}
ipam=${ipam#*'"mode":"'}
/bin/cat <<END
---
# Source: cilium/templates/cilium-configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: kube-system}
data:
  ipam: ${ipam%%'"'*}
  values: |
    $values
---
# Source: cilium/templates/cilium-agent/daemonset.yaml
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: cilium, namespace: kube-system}
spec: {template: {spec: {containers: [{name: cilium-agent, image: cilium}]}}}
END
"#;

/// What a file of the bundle holds, by its name, where that means something.
pub(crate) fn content(name: &str) -> Option<Vec<u8>> {
    match name {
        "calico-manifest" => Some(MANIFEST.into()),
        "helm" => {
            let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
            let mut header = tar::Header::new_gnu();
            header.set_size(HELM.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, "linux-amd64/helm", HELM.as_bytes()).unwrap();
            Some(archive.into_inner().unwrap().finish().unwrap())
        }
        _ => None,
    }
}

/// The daemons of networks, and the files that they bring to each machine.
const BROUGHT: [(&str, &[&str]); 2] = [
    (
        "calico-node",
        &[
            "/opt/cni/bin/calico",
            "/opt/cni/bin/calico-ipam",
            "/etc/cni/net.d/calico-kubeconfig",
            "/etc/cni/net.d/10-calico.conflist",
            "/var/lib/calico/nodename",
        ],
    ),
    (
        "cilium",
        &[
            "/opt/cni/bin/cilium-cni",
            "/etc/cni/net.d/05-cilium.conflist",
            "/etc/sysctl.d/99-zzz-override_cilium.conf",
            "/var/lib/cilium/state",
        ],
    ),
];

/// What cilium sets in the kernel of each machine.
const RP_FILTER: &str = "/proc/sys/net/ipv4/conf/all/rp_filter";

/// After a while, daemons that are there bring their files to the nodes whose kubelets run.
pub(crate) fn bring_soon(state: &Arc<Mutex<State>>) {
    let state = state.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        bring(&state.lock().unwrap());
    });
}

fn bring(state: &State) {
    for (name, files) in BROUGHT.iter().filter(|(name, _)| state.objects.has("DaemonSet", name)) {
        for node in state.nodes.values().filter(|node| is_active(node, "kubelet.service")) {
            let disk = &mut node.state().kept.disk;
            for path in files.iter() {
                if disk.file(path).is_none() {
                    write(disk, path, name, 0o600);
                }
            }
            if *name == "cilium" && disk.file(RP_FILTER).is_some() {
                write(disk, RP_FILTER, "0\n", 0o644);
            }
        }
    }
}

/// What there is of these sets in the cluster.
fn objects(world: &World, sets: &[&str]) -> Vec<String> {
    let state = world.cluster.state();
    sets.iter().flat_map(|set| state.objects.of_set(set)).collect()
}

/// A cluster that was set up with these variables by a controller that nobody has killed.
async fn undisturbed(set: &[&str]) -> World {
    let world = World::new(&[]);
    world.inventory(&hosts(2), TWO, set);
    let wrong = world.calm(1).await.2;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world
}

/// The controller was killed, and the same command is given again.
async fn again(world: &World) -> Vec<String> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.calm(3).await.2
}

/// Sets a cluster up with these variables, killed everywhere: machines and these sets of objects are as in a set-up that nobody has
/// disturbed.
fn set_up_with(name: &str, set: &[&str], sets: &[&str]) -> usize {
    let [reference, other] = [(); 2].map(|()| simulated(undisturbed(set)));
    let wanted = same(&reference, &other);
    let (objects_wanted, seen) = (objects(&reference, sets), reference.cluster.seen());
    assert!(objects_wanted.len() > sets.len(), "{seen}");
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = World::new(&[]);
            world.inventory(&hosts(2), TWO, set);
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            if kill.is_some() {
                wrong.extend(again(&world).await);
            }
            for (number, (files, wanted)) in world.files().iter().zip(&wanted).enumerate() {
                let differs = |path: &&String| files.get(*path).is_none_or(|is| !wanted[*path].contains(is));
                let differ = wanted.keys().filter(differs);
                wrong.extend(differ.map(|path| format!("m{number}: {path} is another one")));
            }
            if objects(&world, sets) != objects_wanted || world.cluster.seen() != seen {
                wrong.push(format!("{} {:?}", world.cluster.seen(), objects(&world, sets)));
            }
            wrong.extend(world.not_settled(&world.cluster.identity(), 4).await);
            (exchanges, wrong)
        })
    };
    killed_everywhere(name, At::Sparse, play)
}

/// Goes from one set of variables to another while the cluster goes on, killed everywhere: these sets of objects become what they are in a
/// cluster that was set up so.
fn changed(name: &str, from: &[&str], to: &[&str], sets: &[&str]) -> usize {
    let wanted = objects(&simulated(undisturbed(to)), sets);
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = undisturbed(from).await;
            assert!(objects(&world, sets) != wanted);
            world.inventory(&hosts(2), TWO, to);
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            if kill.is_some() {
                wrong.extend(again(&world).await);
            }
            if objects(&world, sets) != wanted {
                wrong.push(format!("{:?}", objects(&world, sets)));
            }
            wrong.extend(world.not_settled(&world.cluster.identity(), 4).await);
            (exchanges, wrong)
        })
    };
    killed_everywhere(name, At::OneSide, play)
}

const CONVERGES: &str = "the same command converges to the machines and objects of a set-up that nobody disturbed, the run after it changes \
                         nothing";

#[test]
fn a_cluster_gets_calico_and_gives_it_up() {
    let sets = ["calico-definitions", "calico"];
    let kills = set_up_with("calico", &[CALICO], &sets);
    let injected = "before and after every exchange of a set-up of two model machines with calico";
    held("controller killed", injected, kills, CONVERGES);

    // What calico-node reads only when it begins makes another template of it: so its pods begin anew.
    let template = |set: &[&str]| {
        let all = objects(&simulated(undisturbed(set)), &["calico"]);
        let mut all = all.iter().map(|object| serde_json::from_str::<serde_json::Value>(object).unwrap());
        all.find(|object| object["kind"] == "DaemonSet").unwrap()["spec"]["template"].clone()
    };
    assert_ne!(template(&[CALICO, "calico_mtu=1400"]), template(&[CALICO]));

    let with_typha = [CALICO, "typha_enabled=true", "calico_mtu=1400"];
    let kills = changed("calico gets typha", &[CALICO], &with_typha, &sets)
        + changed("calico gives typha up", &with_typha, &[CALICO], &sets);
    held(
        "controller killed",
        "on one side of each exchange of runs that bring typha and another MTU to the calico of a cluster, and take them away",
        kills,
        "the same command finishes, the run after it changes nothing",
    );

    let kills = taken_away("a cluster with calico is taken away", At::OneSide, TWO, &[CALICO]);
    held(
        "controller killed",
        "on one side of each exchange of a reset of two model machines with calico",
        kills,
        "the same command finishes; nothing is left of what calico's pods have brought",
    );
}

#[test]
fn a_cluster_gets_cilium_and_gives_it_up() {
    let kills = set_up_with("cilium", &[CILIUM], &["cilium"]);
    let injected = "before and after every exchange of a set-up of two model machines with cilium";
    held("controller killed", injected, kills, CONVERGES);

    let kills = taken_away("a cluster with cilium is taken away", At::OneSide, TWO, &[CILIUM]);
    held(
        "controller killed",
        "on one side of each exchange of a reset of two model machines with cilium",
        kills,
        "the same command finishes; nothing is left of what cilium's pods have brought",
    );
}

#[test]
fn what_cannot_change_under_pods_is_refused_and_nothing_of_the_network_changes() {
    let sets = ["calico-definitions", "calico", "cilium"];
    for (was, wanted, said) in [
        (CALICO, "calico_ipam_host_local=true", "set calico_ipam_host_local: false"),
        (CALICO, "calico_pool_blocksize=24", "set calico_pool_blocksize: 26"),
        (CILIUM, "cilium_ipam_mode=kubernetes", "set cilium_ipam_mode: cluster-pool"),
    ] {
        simulated(async {
            let world = undisturbed(&[was]).await;
            let before = objects(&world, &sets);
            world.inventory(&hosts(2), TWO, &[was, wanted]);
            let refused = world.refused().await;
            assert!(refused.iter().any(|why| why.contains(said)), "{wanted}: {refused:?}");
            assert_eq!(objects(&world, &sets), before, "{wanted}");
        });
    }
    simulated(async {
        let world = undisturbed(&[CALICO]).await;
        world.cluster.state().objects.applied_with("DaemonSet", "calico-node", "quay.io/calico/node:v3.99.0");
        let before = objects(&world, &sets);
        let refused = world.refused().await;
        assert!(refused.iter().any(|why| why.contains("set calico_version: 3.99.0")), "{refused:?}");
        assert_eq!(objects(&world, &sets), before);
    });
}

#[test]
fn a_network_of_somebody_elses_is_not_written_over() {
    for (plugin, sets) in [("calico", &["calico-definitions", "calico"][..]), ("cilium", &["cilium"])] {
        simulated(async {
            let world = undisturbed(&["kube_network_plugin=none"]).await;
            // As kubespray, or its user, has brought it.
            let file = BROUGHT
                .iter()
                .flat_map(|(_, files)| *files)
                .find(|path| path.ends_with(".conflist") && path.contains(plugin));
            for machine in &world.machines[..2] {
                write(&mut machine.state().kept.disk, file.unwrap(), plugin, 0o600);
            }
            let again = world.calm(2).await.2;
            assert!(again.is_empty(), "none stays none: {again:?}");
            world.inventory(&hosts(2), TWO, &[&format!("kube_network_plugin={plugin}")]);
            let refused = world.refused().await;
            let said = format!("m0 runs with a {plugin} that muster has not brought");
            assert!(refused.iter().any(|why| why.contains(&said)), "{refused:?}");
            assert_eq!(objects(&world, sets), [""; 0]);
        });
    }
}

#[test]
fn a_machine_asks_again_whether_senders_are_true_when_it_has_lost_its_cilium() {
    simulated(async {
        let world = World::new(&[]);
        world.inventory(&hosts(2), TWO, &[CILIUM]);
        write(&mut world.machines[1].state().kept.disk, RP_FILTER, "1\n", 0o644);
        let wrong = world.calm(1).await.2;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(cluster::content(&world.machines[1], RP_FILTER), "0\n");
        *world.reset.lock().unwrap() = Some(Reset::default());
        let wrong = world.calm(2).await.2;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(cluster::content(&world.machines[1], RP_FILTER), "1\n");
    });
}

/// An object of a kind that comes after it in the file, and what has pods.
const OWN: &str = r#"---
{apiVersion: net.example.org/v1, kind: Pool, metadata: {name: pods}, spec: {cidr: "{{ kube_pods_subnet }}"}}
---
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: net, namespace: net}, spec: {template: {spec: {containers: []}}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: net}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pools.net.example.org}
spec: {group: net.example.org, names: {kind: Pool}}
"#;

/// The same without its pool, and with a policy.
fn others() -> String {
    let (_, rest) = OWN.split_once("\n---\n").unwrap();
    let policy = "{apiVersion: v1, kind: ConfigMap, metadata: {name: policy, namespace: net}, data: {a: b}}";
    format!("---\n{policy}\n---\n{rest}")
}

/// The variables of a network of the user's own, with this manifest.
fn custom(manifest: &str, text: &str) -> [String; 3] {
    let folder: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("custom-cni");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(manifest), text).unwrap();
    let manifests = format!(r#"{{"custom_cni_manifests": ["{manifest}"]}}"#);
    ["kube_network_plugin=custom_cni".to_owned(), format!("inventory_dir={}", folder.display()), manifests]
}

#[test]
fn a_cluster_gets_a_network_of_the_users_own_and_its_next_version() {
    let (own, others) = (custom("own.yml", OWN), custom("others.yml", &others()));
    let [own, others] = [&own, &others].map(|set| set.each_ref().map(String::as_str));
    let sets = ["custom-cni-definitions", "custom-cni"];
    let kills = set_up_with("a network of the user's own", &own, &sets);
    let injected =
        "before and after every exchange of a set-up of two model machines with a network of the user's own";
    held("controller killed", injected, kills, CONVERGES);

    let kills = changed("its next version", &own, &others, &sets);
    held(
        "controller killed",
        "on one side of each exchange of a run with other manifests for a network of the user's own",
        kills,
        "the same command finishes, what has left the manifests has gone, the run after it changes nothing",
    );
}
