//! Each role in a run of its own, as `--tags` and `--start-at` have it: what keeps a whole run from a cluster keeps each of them.

use muster_engine::play::Play;
use muster_roles::ROLES;

use super::{PLANES, after};
use crate::line::Controller;
use crate::{IN_USE, MACHINES, PLAYS, hosts, simulated};

/// Variables that a cluster which lives cannot change.
const OTHER: [&str; 2] = ["kube_pods_subnet=10.240.0.0/18", "kube_network_plugin=calico"];

#[test]
fn no_role_changes_a_cluster_that_the_inventory_wants_to_be_another_one() {
    for variable in OTHER {
        for play in PLAYS.iter() {
            for role in play.all_roles() {
                simulated(async {
                    let world =
                        after(PLANES, |world| world.inventory(&hosts(IN_USE), PLANES, &[variable])).await;
                    let alone =
                        Play { hosts: play.hosts.clone(), roles: vec![role.clone()], ..Play::default() };
                    world.does(&[alone], ROLES.to_vec());
                    let ran = world.run(&Controller::new(2, MACHINES, None)).await.expect("nobody kills it");
                    assert!(ran.changes.is_empty(), "{role} with {variable}: {:?}", ran.told);
                });
            }
        }
    }
}
