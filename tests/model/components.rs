//! What runs beside Kubernetes gets newer versions with `kube_version` as it is: what an older muster has brought is replaced by an
//! upgrade, which disturbs no node for it.

use muster_roles::upgrade::Settings;
use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;

use crate::cluster::{content, write};
use crate::events::after;
use crate::kills::{At, killed_everywhere};
use crate::line::Kill;
use crate::upgrade;
use crate::{GROUPS, IN_USE, World, simulated};

const CONTAINERD: &str = "/usr/local/bin/containerd";
const ETCD: &str = "/usr/local/bin/etcd";

/// Those that an older muster has brought, and how they are told in these tests.
const PROGRAMS: [(&str, &str); 2] =
    [(CONTAINERD, "containerd 2.0.0 bin/containerd"), (ETCD, "etcd 3.5.0 etcd-v3.5.0-linux-amd64/etcd")];

/// What older pods are made of, by the kind and the name of what makes them.
const PODS: [(&str, &str, &str); 2] = [
    ("Deployment", "coredns", "registry.k8s.io/coredns/coredns:v1.0.0"),
    ("DaemonSet", "kube-flannel", "docker.io/flannel/flannel:v0.1.0"),
];

/// A machine has an older program, of another archive than there is now.
fn has_older(machine: &Machine, path: &str, program: &str) {
    let stamp = format!("/var/lib/muster/stamps/file{path}");
    let stamped = content(machine, &stamp);
    let Some((_, rest)) = stamped.split_once(' ') else { return };
    let disk = &mut machine.state().kept.disk;
    write(disk, path, program, 0o755);
    write(disk, &stamp, &format!("{} {rest}", "0".repeat(64)), 0o600);
}

impl World {
    /// The programs of all machines, and the images of the pods.
    fn components(&self) -> Vec<String> {
        let state = self.cluster.state();
        let programs = self.machines[..IN_USE].iter().flat_map(|machine| {
            PROGRAMS.iter().map(|(path, _)| format!("{}: {}", machine.name, content(machine, path)))
        });
        let pods = PODS.iter().map(|(kind, name, _)| format!("{name}: {}", state.objects.image(kind, name)));
        programs.chain(pods).collect()
    }
}

#[test]
fn components_get_newer_versions_with_the_same_kubernetes() {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = after(GROUPS, |_| ()).await;
            let (identity, newest) = (world.cluster.identity(), world.components());
            for machine in &world.machines[..IN_USE] {
                PROGRAMS.iter().for_each(|(path, program)| has_older(machine, path, program));
            }
            for (kind, name, image) in PODS {
                world.cluster.state().objects.applied_with(kind, name, image);
            }
            world.does(&upgrade::PLAYS, muster_roles::upgrading(Settings::default()));
            world.cluster.state().must_have_quorum = true;
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            if kill.is_some() {
                wrong.extend(world.calm(3).await.2);
            }
            if world.components() != newest {
                wrong.push(format!("{:?}, not {newest:?}", world.components()));
            }
            if world.cluster.state().together != 0 {
                wrong.push("a node was cordoned".to_owned());
            }
            wrong.extend(world.not_settled(&identity, 4).await);
            world.sets_up();
            wrong.extend(world.not_settled(&identity, 5).await);
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere("newer components", At::OneSide, play);
    held(
        "controller killed",
        "on one side of exchanges of an upgrade of etcd, containerd, CoreDNS and flannel alone, on three model machines",
        kills,
        "the same command finishes; etcd had its majority at each moment, and no node was cordoned",
    );
}
