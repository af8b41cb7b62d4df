//! What left the inventory is told in every run; what the cluster has forgotten of a node it is told again.

use super::{PLANES, after};
use crate::{IN_USE, World, hosts, simulated};

#[test]
fn a_member_of_etcd_that_left_the_inventory_is_told_in_every_run() {
    simulated(async {
        let world = after(PLANES, |_| {}).await;
        world.inventory(&hosts(IN_USE), &PLANES.replace("[etcd]\nm[0:2]", "[etcd]\nm[0:1]"), &[]);
        for number in 2..4 {
            let (_, ran, wrong) = world.calm(number).await;
            assert!(wrong.is_empty(), "{wrong:?}");
            let told = ran.warnings.iter().filter(|text| {
                text.contains("etcd3")
                    && text.contains("counts for its quorum")
                    && text.contains("member remove")
            });
            assert_eq!(told.count(), 1, "{:?}", ran.warnings);
        }
        assert_eq!(world.cluster.member_names().len(), 3, "nothing is removed unasked");
    });
}

#[test]
fn a_node_that_was_made_anew_has_its_labels_again() {
    simulated(async {
        let world = World::new(&[]);
        let labelled = hosts(IN_USE).replace("m2 ", "m2 node_labels=\"{'room': '9'}\" ");
        world.inventory(&labelled, PLANES, &[]);
        let wrong = world.calm(1).await.2;
        assert!(wrong.is_empty(), "{wrong:?}");
        // Somebody has deleted it, and its kubelet has registered it again.
        assert!(world.cluster.state().marks.remove("m2").is_some());
        let (_, ran, wrong) = world.calm(2).await;
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(
            ran.told.into_iter().collect::<Vec<_>>(),
            [("m2".to_owned(), vec!["node: labels and taints of m2".to_owned()])]
        );
        let (_, ran, wrong) = world.calm(3).await;
        assert!(wrong.is_empty() && ran.changes.is_empty(), "{wrong:?} {:?}", ran.changes);
    });
}
