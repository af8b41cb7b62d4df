//! What carries a cluster is not taken away, whatever the inventory calls it.

use super::identity::Identity;
use super::standing::{Standing, Wanted};
use super::tests::{both, member, plane, standing, worker};

/// The control plane w of the cluster 1 and its worker a changed places; a and b are in [kube_control_plane].
fn swapped(in_run: &[&str]) -> Standing {
    let machines = [
        ("a", Some(worker(1))),
        ("b", Some(Identity::default())),
        ("c", Some(worker(1))),
        ("w", both(plane(1), member(1, "etcd1"))),
    ];
    let in_run = in_run.iter().map(|name| (*name).to_owned()).collect();
    Standing { in_run, ..standing(&machines) }
}

#[test]
fn a_control_plane_in_another_group_is_told_to_be_put_back() {
    let all = swapped(&["a", "b", "c", "w"]);
    for (name, control_plane) in [("a", true), ("c", false), ("w", false)] {
        let wanted = Wanted { control_plane, ..Wanted::default() };
        let problems = all.problems(name, &wanted);
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        let (found, remedy) = (&problems[0].found, &problems[0].remedy);
        assert!(found.starts_with("w is a control plane of this cluster (CA "), "{name}: {found}");
        assert!(found.contains("; a, c belong to it, too"), "{name}: {found}");
        assert_eq!(
            remedy, "put w back into [kube_control_plane], and a, which joined as worker, into [kube_node]",
            "{name}"
        );
    }
    // Whoever is told that it is in another cluster takes it away.
    for name in ["a", "c", "w"] {
        assert_eq!(all.is_anothers(name, "a"), None, "{name}");
        assert_eq!(all.is_ours(name), Some(true), "{name}");
    }
}

#[test]
fn who_would_lose_the_cluster_is_known_whatever_the_groups_are() {
    assert_eq!(swapped(&["w"]).bereft_of("w"), ["a", "c"]);
    assert_eq!(swapped(&["w", "c"]).bereft_of("w"), ["a"]);
    assert!(swapped(&["a", "b", "c", "w"]).bereft_of("w").is_empty(), "the whole cluster may go");
    assert!(swapped(&["c"]).bereft_of("c").is_empty(), "a worker may go");
    assert_eq!(swapped(&["c"]).staying(), ["w"], "a worker's node stays with it");
    // Where the folder of certificates is another one its API server shows what it is.
    let mut elsewhere = swapped(&["w"]);
    let without_key = Identity { ca_key: false, version: Some("1.36.3".into()), ..plane(1) };
    elsewhere.machines.insert("w".into(), Ok(without_key.into()));
    assert_eq!((elsewhere.displaced(), elsewhere.bereft_of("w")), (vec!["w"], vec!["a", "c"]));
    // Two clusters in one inventory: that of the other control plane is nobody's to take away, either.
    let machines =
        [("a", Some(plane(1))), ("b", Some(worker(1))), ("c", Some(worker(2))), ("w", Some(plane(2)))];
    let two = Standing { in_run: vec!["w".into()], ..standing(&machines) };
    assert!(two.is_anothers("w", "a").is_some());
    assert_eq!(two.bereft_of("w"), ["c"]);
    let problems = two.problems("w", &Wanted::default());
    assert!(
        problems[0].remedy.contains("it carries that cluster, to which c of the inventory"),
        "{problems:?}"
    );
    assert!(!problems[0].remedy.contains("--foreign"), "{problems:?}");
    let alone = standing(&[("a", Some(plane(1))), ("w", Some(plane(2)))]);
    assert!(alone.problems("w", &Wanted::default())[0].remedy.contains("reset-cluster --foreign --limit w"));
    // A copy of the key makes no control plane of a worker.
    let copied = Identity { ca: plane(1).ca, ca_key: true, ..worker(1) };
    let copied = [("a", Some(plane(1))), ("w", Some(copied))];
    assert!(Standing { in_run: vec!["w".into()], ..standing(&copied) }.bereft_of("w").is_empty());
}

#[test]
fn all_nodes_are_asked_where_some_may_be_in_the_cluster_of_another_machine() {
    for (machines, asks) in [
        (vec![], false),
        (vec![("a", Some(plane(1))), ("w", Some(worker(1)))], false),
        (vec![("w", Some(worker(1)))], true),
        (vec![("a", None), ("w", Some(plane(1)))], true),
        (vec![("a", Some(plane(1))), ("w", Some(worker(2)))], true),
    ] {
        assert_eq!(standing(&machines).may_have_companions(), asks, "{machines:?}");
    }
}

#[test]
fn the_row_of_machines_without_a_control_plane_names_all_of_them() {
    let machines = standing(&[("c", Some(worker(1))), ("w", Some(worker(1)))]);
    for name in ["c", "w"] {
        let problems = machines.problems(name, &Wanted::default());
        assert!(problems[0].found.starts_with("c, w belong to a cluster (CA "), "{problems:?}");
        // Both ways on: the authority comes back, or the machines go.
        assert!(problems[0].remedy.contains("put ca.crt, ca.key, sa.key"), "{problems:?}");
        assert!(problems[0].remedy.contains("muster remove-node c w"), "{problems:?}");
        assert!(problems[0].remedy.ends_with("reset-cluster --foreign --limit c,w"), "{problems:?}");
    }
}
