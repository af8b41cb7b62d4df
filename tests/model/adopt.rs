//! A cluster of model machines becomes muster's that kubeadm has made by hand (etcd as static pods, no load balancers, flannel's own
//! manifest), or that is laid out as kubespray's are (etcd as a unit, nginx-proxy, objects of its own): the controller is killed, the
//! same command finishes it, and it is the same cluster.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use muster_engine::play::Play;
use muster_roles::Reset;
use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;
use serde_json::{Value, json};

use crate::cluster::{Cluster, address, content, is_active, write};
use crate::kills::{At, in_parallel};
use crate::kubectl::Objects;
use crate::line::Kill;
use crate::{MACHINES, NOT_MODELLED, World, hosts, simulated};

/// Two control planes with etcd, as kubeadm stacks them, and a worker.
const GROUPS: &str = "[etcd]\nm[0:1]\n[kube_control_plane]\nm[0:1]\n[kube_node]\nm2\n";
const PLANES: [&str; 2] = ["m0", "m1"];
const NODES: usize = 3;

/// What `muster adopt --apply` does, as far as models can: what the cluster says of itself is more than theirs does.
pub(crate) static PLAYS: LazyLock<Vec<Play>> = LazyLock::new(|| {
    let mut plays: Vec<Play> =
        serde_saphyr::from_str(include_str!("../../playbooks/adopt.yml")).expect("the playbook");
    for play in &mut plays {
        play.roles.retain(|role| !NOT_MODELLED.contains(&role.as_str()) && role != "adopt-check");
    }
    plays.retain(|play| !play.roles.is_empty());
    plays
});

/// Who has made the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    Kubeadm,
    Kubespray,
}

const STATIC_POD: &str = "/etc/kubernetes/manifests/etcd.yaml";
const NGINX_PROXY: &str = "/etc/kubernetes/manifests/nginx-proxy.yml";
const BALANCER: &str = "/etc/kubernetes/manifests/api-balancer.yaml";
const AUTHORITY: &str = "/etc/kubernetes/ssl/etcd/ca.crt";
const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";

/// Whether a machine runs etcd as a static pod.
pub(crate) fn runs_static_etcd(machine: &Machine) -> bool {
    !content(machine, STATIC_POD).is_empty() && is_active(machine, "kubelet.service")
}

impl Cluster {
    /// A cluster of muster's is from now on as others make them: what only muster has is gone.
    fn as_made_by(&self, maker: Maker) {
        let mut state = self.state();
        state.objects = Objects::default();
        let mut object = |kind: &str, namespace: &str, name: &str, labels: Value, spec: Value| {
            let metadata = json!({ "namespace": namespace, "name": name, "labels": labels });
            state.objects.make_by_hand(json!({ "kind": kind, "metadata": metadata, "spec": spec }));
        };
        let marked =
            |name: &str, value: &str| json!({ name: value, "addonmanager.kubernetes.io/mode": "Reconcile" });
        let (flannel, nothing) = (json!({ "app": "flannel" }), json!({}));
        match maker {
            Maker::Kubeadm => object("DaemonSet", "kube-flannel", "kube-flannel-ds", flannel, nothing),
            Maker::Kubespray => {
                object("DaemonSet", "kube-system", "kube-flannel", flannel, nothing.clone());
                let labels = marked("k8s-app", "dns-autoscaler");
                object("Deployment", "kube-system", "dns-autoscaler", labels, nothing);
                let address = json!({ "clusterIP": "10.233.0.3" });
                object("Service", "kube-system", "coredns", marked("kubernetes.io/name", "coredns"), address);
            }
        }
        let endpoint = format!("{}:6443", address("m0"));
        (state.endpoint, state.info) = (endpoint.clone(), endpoint.clone());
        let members = state.members.clone();
        for (name, machine) in state.machines.clone() {
            if !state.nodes.contains_key(&name) {
                continue;
            }
            let own = address(&name);
            let etcd = |file: &str| content(&machine, &format!("/etc/ssl/etcd/ssl/{file}.pem"));
            let (authority, key) = (etcd("ca"), etcd("ca-key"));
            let environment =
                content(&machine, "/etc/etcd.env").replace("/member", &format!("/member-{name}"));
            let server = |text: &str, to: &str| {
                let line = |line: &str| match line.split_once("server: ") {
                    Some((before, _)) => format!("{before}server: https://{to}\n"),
                    None => format!("{line}\n"),
                };
                text.lines().map(line).collect::<String>()
            };
            let configs = ["kubelet.conf", "admin.conf"].map(|file| format!("/etc/kubernetes/{file}"));
            let configs = configs.map(|path| (server(&content(&machine, &path), &endpoint), path));
            let mut machine = machine.state();
            if maker == Maker::Kubeadm {
                let unit = machine.kept.units.entry("etcd.service").or_default();
                (unit.active, unit.enabled) = (false, false);
            }
            let disk = &mut machine.kept.disk;
            for path in
                ["/etc/etcd.env", "/etc/etcd.initial.env", "/etc/systemd/system/etcd.service", BALANCER]
            {
                disk.remove(path).ok();
            }
            for folder in [
                "/var/lib/muster",
                "/etc/ssl/etcd",
                "/etc/kubernetes/api-balancer",
                "/etc/kubernetes/patches",
            ] {
                disk.remove_all(folder);
            }
            for unit in ["containerd", "kubelet"] {
                write(disk, &format!("/etc/systemd/system/{unit}.service"), "[Service]\n", 0o644);
            }
            if maker == Maker::Kubespray {
                let unit = "[Service]\nEnvironmentFile=-/etc/kubernetes/kubelet.env\n";
                write(disk, "/etc/systemd/system/kubelet.service", unit, 0o644);
                // Of the engine that was there before.
                let notes = "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock\"\n";
                write(disk, FLAGS, notes, 0o644);
            }
            for (text, path) in configs.into_iter().filter(|(text, _)| !text.is_empty()) {
                write(disk, &path, &text, 0o600);
            }
            let member = members.iter().find(|member| member.url == format!("https://{own}:2380"));
            match (maker, member) {
                (Maker::Kubespray, Some(_)) => {
                    write(disk, "/etc/etcd.env", &environment, 0o640);
                    write(disk, "/etc/systemd/system/etcd.service", "[Service]\n", 0o644);
                    write(disk, "/etc/ssl/etcd/ssl/ca.pem", &authority, 0o640);
                    write(disk, "/etc/ssl/etcd/ssl/ca-key.pem", &key, 0o640);
                }
                (Maker::Kubespray, None) => {
                    write(disk, NGINX_PROXY, "metadata:\n  labels:\n    k8s-app: kube-nginx\n", 0o640)
                }
                (Maker::Kubeadm, None) => {}
                (Maker::Kubeadm, Some(member)) => {
                    let manifest = format!(
                        "spec:\n  containers:\n  - command:\n    - etcd\n    - --name={}\n    - --initial-advertise-peer-urls={}\n    \
                     - --data-dir=/var/lib/etcd\n    image: registry.k8s.io/etcd:3.6.14-0\n",
                        member.name, member.url
                    );
                    write(disk, STATIC_POD, &manifest, 0o600);
                    write(disk, AUTHORITY, &authority, 0o644);
                    write(disk, &AUTHORITY.replace(".crt", ".key"), &key, 0o600);
                }
            }
        }
    }
}

impl World {
    /// A cluster that somebody else has made.
    async fn made_by(maker: Maker) -> Self {
        let world = Self::new(&[]);
        // Each has a folder of its own: old snapshots are removed from it.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let snapshots =
            format!("etcd_snapshots_dir={}/model-snapshots/{number}", env!("CARGO_TARGET_TMPDIR"));
        world.inventory(&hosts(NODES), GROUPS, &[&snapshots]);
        let wrong = world.calm(1).await.2;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        world.cluster.as_made_by(maker);
        world.adopts.store(true, Ordering::Relaxed);
        world
    }

    /// What makes it this cluster: its authorities, and etcd's cluster with its members and their authority.
    fn who_it_is(&self) -> String {
        let state = self.cluster.state();
        let authorities: Vec<_> = state.authorities.iter().map(|known| &known.certificate).collect();
        let members: Vec<_> =
            state.members.iter().map(|member| (member.id, &member.name, &member.url)).collect();
        format!("{authorities:?} {} {members:?}", state.etcd_began)
    }

    /// What of the machines is not muster's yet.
    fn not_adopted(&self, authority: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for machine in &self.machines[..NODES] {
            let name = &machine.name;
            let is_plane = PLANES.contains(&name.as_str());
            let is_there = |path: &str| machine.state().kept.disk.file(path).is_some();
            if is_there(NGINX_PROXY) || is_there(BALANCER) == is_plane {
                wrong.push(format!("{name}: its load balancer is not muster's"));
            }
            if content(machine, FLAGS).contains("docker") {
                wrong.push(format!("{name}: its kubelet has another engine"));
            }
            if is_there(STATIC_POD) || is_plane != is_active(machine, "etcd.service") {
                wrong.push(format!("{name}: its etcd is not muster's"));
            }
            if is_plane && content(machine, "/etc/ssl/etcd/ssl/ca.pem") != authority {
                wrong.push(format!("{name}: etcd has another authority"));
            }
            if is_there("/var/lib/muster/adopted/begun") {
                wrong.push(format!("{name}: its adoption has no end"));
            }
        }
        let seen = self.cluster.state().objects.seen();
        let others =
            ["kube-flannel-ds", "kube-system/kube-flannel", "dns-autoscaler", "Service/kube-system/coredns"];
        let left = others.into_iter().filter(|object| seen.contains(object));
        wrong.extend(left.map(|object| format!("{object} is there")));
        if !seen.contains("Service/kube-system/kube-dns") {
            wrong.push("nobody gives names".to_owned());
        }
        wrong
    }
}

#[test]
fn an_adoption_that_was_cut_off_anywhere_is_finished_by_the_same_command() {
    let play = |maker: Maker, kill: Option<Kill>| {
        simulated(async {
            let world = World::made_by(maker).await;
            let of_etcd = if maker == Maker::Kubeadm { AUTHORITY } else { "/etc/ssl/etcd/ssl/ca.pem" };
            let (who, authority) = (world.who_it_is(), content(&world.machines[0], of_etcd));
            // How often something is waited for is not always the same, so the last kills may come too late.
            let (exchanges, _) = world.disturbed(kill).await;
            let mut wrong = world.calm(3).await.2;
            wrong.extend(world.not_adopted(&authority));
            if world.who_it_is() != who {
                wrong.push(format!("another cluster: {} was {who}", world.who_it_is()));
            }
            wrong.extend(world.arrived().into_iter().map(|path| format!("{path} is left")));
            // From now on it is an ordinary cluster.
            world.adopts.store(false, Ordering::Relaxed);
            let (_, ran, more) = world.calm(4).await;
            wrong.extend(more);
            if !ran.changes.is_empty() {
                wrong.push(format!("a set-up changes something afterwards: {:?}", ran.changes));
            }
            (exchanges, wrong)
        })
    };
    let mut kills = Vec::new();
    for maker in [Maker::Kubeadm, Maker::Kubespray] {
        let (exchanges, wrong) = play(maker, None);
        assert!(wrong.is_empty(), "{maker:?}:\n{}", wrong.join("\n"));
        // Most of it is the same for both.
        let some = At::After.of(&exchanges).into_iter().skip(kills.len() % 3).step_by(3);
        kills.extend(some.map(|kill| (maker, kill)));
    }
    in_parallel(&kills, |(maker, kill)| play(*maker, Some(*kill)).1);
    held(
        "controller killed",
        "after exchanges of an adoption of clusters as kubeadm and kubespray make them, on three model machines, two of them control planes",
        kills.len(),
        "the same command finishes; the same authorities, members and data; a set-up then changes nothing",
    );
}

#[test]
fn what_is_half_adopted_is_set_up_by_nobody_else_and_may_be_taken_away() {
    simulated(async {
        let world = World::made_by(Maker::Kubeadm).await;
        // After it has begun on all machines.
        let kill = Kill { machine: 0, exchange: 12, after: true };
        let (_, wrong) = world.disturbed(Some(kill)).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        let begun = |machine: &&std::sync::Arc<Machine>| {
            machine.state().kept.disk.file("/var/lib/muster/adopted/begun").is_some()
        };
        assert!(world.machines[..MACHINES].iter().any(|machine| begun(&machine)));
        world.adopts.store(false, Ordering::Relaxed);
        let before = world.cluster.seen();
        let refused = world.refused().await;
        assert!(
            refused.iter().all(|said| said.contains("the adoption of the cluster was begun on")),
            "{refused:?}"
        );
        assert_eq!(world.cluster.seen(), before);
        // It may be taken away as a whole.
        *world.reset.lock().unwrap() = Some(Reset::default());
        let wrong = world.calm(3).await.2;
        assert!(wrong.is_empty(), "{wrong:?}");
        for machine in &world.machines[..NODES] {
            let left = [
                "/etc/kubernetes/kubelet.conf",
                STATIC_POD,
                "/var/lib/etcd/member",
                "/var/lib/muster/adopted/begun",
            ];
            let is_there = |path: &&str| machine.state().kept.disk.entry(path).is_some();
            let left: Vec<_> = left.into_iter().filter(is_there).collect();
            assert!(left.is_empty(), "{}: {left:?}", machine.name);
        }
    });
}
