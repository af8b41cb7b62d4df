//! Certificates of a cluster of model machines end soon: the controller is killed while they are renewed, the same command finishes
//! it, and nobody ever shows one that who is asked does not trust.

use std::sync::Arc;

use muster_roles::{ROLES, certificates};
use muster_testkit::fault_record::held;
use muster_testkit::model::machine::Machine;

use crate::cluster::{content, write};
use crate::kills::{At, killed_everywhere};
use crate::kubeadm_files::{Authority, CLIENT};
use crate::line::Kill;
use crate::rotation::{CA, ETCD_CA, KUBECONFIGS, PROXY_CA, SSL, authority, kubeconfig};
use crate::{IN_USE, World, simulated};

/// Below how many days `muster certs renew` renews.
const BELOW: i64 = 90;

/// The certificates of a machine that end in ten days, by their files.
fn ageing(machine: &Machine, cluster: &Authority) -> Vec<(String, String)> {
    let soon = |authority: Authority| Authority { lasts: 10, ..authority };
    let mut files = vec![(CLIENT.to_owned(), soon(cluster.clone()).client(&machine.name))];
    if let Some(own) = authority(machine, CA).map(soon) {
        for name in ["apiserver", "apiserver-kubelet-client"] {
            files.push((format!("{SSL}/{name}.crt"), own.server()));
        }
        let proxy = authority(machine, PROXY_CA).map(soon).expect("it has all three authorities");
        files.push((format!("{SSL}/front-proxy-client.crt"), proxy.server()));
        for name in KUBECONFIGS {
            let path = format!("/etc/kubernetes/{name}.conf");
            files.push((path.clone(), kubeconfig(&own, &content(machine, &path))));
        }
    }
    let key = content(machine, &ETCD_CA.replace("ca.pem", "ca-key.pem"));
    let of_etcd = soon(Authority { certificate: content(machine, ETCD_CA), key, lasts: 0 });
    for path in ["member", "client"].map(|name| ETCD_CA.replace("ca.pem", &format!("{name}.pem"))) {
        if !content(machine, &path).is_empty() {
            files.push((path, of_etcd.server()));
        }
    }
    files
}

impl World {
    /// All certificates end in ten days, and from now on runs renew them. Returns what was there: machine, file and content.
    fn ages(&self) -> Vec<(Arc<Machine>, String, String)> {
        let cluster = self.cluster.state().authorities.last().cloned().expect("it has begun");
        let mut ends_soon = Vec::new();
        for machine in &self.machines[..IN_USE] {
            for (path, text) in ageing(machine, &cluster) {
                write(&mut machine.state().kept.disk, &path, &text, 0o600);
                ends_soon.push((machine.clone(), path, text));
            }
        }
        let roles = certificates::roles(BELOW).into_iter().chain(ROLES.iter().cloned());
        self.does(&certificates::plays(), roles.collect());
        self.cluster.state().must_have_quorum = true;
        ends_soon
    }

    /// Which of them were not renewed.
    fn left_of(&self, ends_soon: &[(Arc<Machine>, String, String)]) -> Vec<String> {
        let left = ends_soon.iter().filter(|(machine, path, text)| content(machine, path) == *text);
        left.map(|(machine, path, _)| format!("{}: {path} ends soon", machine.name)).collect()
    }
}

#[test]
fn machines_that_are_off_are_left_out_of_a_renewal_and_told() {
    simulated(async {
        let world = World::with_certificates().await;
        let ends_soon = world.ages();
        world.cluster.switch_off("m1");
        let refused = world.refused().await;
        assert!(refused.len() == 1 && refused[0].starts_with("m1: "), "{refused:?}");
        let left = world.left_of(&ends_soon);
        assert!(!left.is_empty() && left.iter().all(|left| left.starts_with("m1: ")), "{left:?}");
        world.cluster.switch_on("m1");
        let told =
            |shown: &[String]| shown.iter().filter(|line| line.starts_with("nothing was renewed")).count();
        let (_, ran, wrong) = world.calm(3).await;
        assert_eq!((wrong, told(&ran.shown)), (Vec::<String>::new(), 0));
        let (_, ran, wrong) = world.calm(4).await;
        assert_eq!((wrong, told(&ran.shown)), (Vec::<String>::new(), 1), "{:?}", ran.shown);
        assert_eq!(world.left_of(&ends_soon), Vec::<String>::new());
    });
}

#[test]
fn a_renewal_that_was_cut_off_anywhere_is_finished_by_the_same_command() {
    let play = |kill: Option<Kill>| {
        simulated(async {
            let world = World::with_certificates().await;
            let (identity, members) = (world.cluster.identity(), world.cluster.member_names());
            let ends_soon = world.ages();
            let (exchanges, mut wrong) = world.disturbed(kill).await;
            if kill.is_some() {
                wrong.extend(world.calm(3).await.2);
            }
            wrong.extend(world.left_of(&ends_soon));
            if world.cluster.member_names() != members {
                wrong.push(format!("members: {:?}", world.cluster.member_names()));
            }
            wrong.extend(world.not_settled(&identity, 4).await);
            world.sets_up();
            wrong.extend(world.not_settled(&identity, 5).await);
            (exchanges, wrong)
        })
    };
    let kills = killed_everywhere("a renewal of the certificates", At::OneSide, play);
    held(
        "controller killed",
        "before or after every exchange of a renewal of all certificates, on three model machines",
        kills,
        "the same command finishes; everybody trusted whom they met at each moment; etcd had its majority",
    );
}
