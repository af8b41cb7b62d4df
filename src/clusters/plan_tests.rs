use std::fs;

use muster_openstack::{ClusterFolder, Surroundings};

use super::*;

const CLOUD: &str = "\
version: 1
login: {user: debian, public_key: key.pub}
network: {range: 10.8.0.0/24, external: public}
allow: {ssh: [203.0.113.0/24], api: []}
pools:
  - {name: cp, roles: [control_plane], count: 1, flavor: m, image: i}
  - {name: worker, roles: [worker], count: 2, flavor: m, image: i}
";

const EXISTING: &str = "\
version: 1
machines: existing
login: {user: root}
pools:
  - {name: cp, roles: [control_plane], addresses: [192.0.2.11, 192.0.2.12], count: 1}
  - {name: worker, roles: [worker], addresses: [192.0.2.21, 192.0.2.22]}
";

fn declaration(text: &str) -> Declaration {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("clusters/shop");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("cluster.yml"), text).unwrap();
    fs::write(folder.join("key.pub"), "ssh-ed25519 AAAA me\n").unwrap();
    let surroundings = Surroundings { here: root.path().to_owned(), ..Surroundings::default() };
    ClusterFolder::find("shop", root.path()).unwrap().declaration(&surroundings).unwrap()
}

/// A machine that is part of the cluster: `worker-1`, `worker-1!` where it differs, `worker-1?` where it is gone, `worker-1 new` where it
/// was only made.
fn machine(words: &str) -> Machine {
    let part = words.trim_end_matches(" new").trim_end_matches(['!', '?']);
    let roles = if part.starts_with("cp") { Role::ControlPlane } else { Role::Worker };
    let address = part.split_once('-').map(|(_, rest)| rest.replace('-', "."));
    let listed = Listed {
        name: format!("shop-{part}"),
        part: part.to_owned(),
        roles: vec![roles],
        state: if words.contains('?') { String::new() } else { "ACTIVE".into() },
        id: String::new(),
        address,
        floating_ip: None,
        image: None,
        differs: words.contains('!').then(|| "it differs".to_owned()),
        is_wanted: true,
    };
    Machine { listed, member: (!words.ends_with(" new")).then(|| vec![roles]) }
}

fn planned(text: &str, machines: &[&str]) -> Result<Plan, String> {
    let machines: Vec<Machine> = machines.iter().map(|words| machine(words)).collect();
    plan(&declaration(text), &machines)
}

/// `make worker-3; replace cp-1 by cp-2; remove worker-4`.
fn told(text: &str, machines: &[&str]) -> String {
    let plan = planned(text, machines).unwrap();
    let mut words: Vec<String> = Vec::new();
    words.extend(plan.make.iter().map(|part| format!("make {part}")));
    words.extend(plan.again.iter().map(|part| format!("again {part}")));
    words.extend(plan.replace.iter().map(|one| format!("replace {} by {}", one.old, one.new)));
    words.extend(plan.remove.iter().map(|part| format!("remove {part}")));
    words.join("; ")
}

#[test]
fn what_is_missing_is_made_and_what_is_there_stays() {
    assert_eq!(told(CLOUD, &[]), "make cp-1; make worker-1; make worker-2");
    assert_eq!(told(CLOUD, &["cp-1", "worker-1", "worker-2"]), "");
    assert_eq!(told(CLOUD, &["cp-1", "worker-2"]), "make worker-1");
    // Of a machine that was never part of the cluster, only a port is there: a run was cut off.
    assert_eq!(told(CLOUD, &["cp-1", "worker-1? new", "worker-2"]), "make worker-1");
    assert_eq!(told(CLOUD, &["cp-1", "worker-1?", "worker-2"]), "again worker-1");
}

#[test]
fn the_highest_numbers_leave_and_those_that_are_gone_before_them() {
    let all = ["cp-1", "cp-2", "cp-3", "worker-1", "worker-2", "worker-3?", "worker-4", "worker-10"];
    assert_eq!(
        told(CLOUD, &all),
        "remove worker-3; remove worker-10; remove worker-4; remove cp-3; remove cp-2"
    );
    // A pool that is not declared any more.
    assert_eq!(told(CLOUD, &["cp-1", "worker-1", "worker-2", "gpu-1"]), "remove gpu-1");
}

#[test]
fn another_machine_joins_before_one_that_differs_leaves() {
    assert_eq!(
        told(CLOUD, &["cp-1!", "worker-1!", "worker-2!"]),
        "replace cp-1 by cp-2; replace worker-1 by worker-3; replace worker-2 by worker-4"
    );
    // The run was cut off when worker-3 had joined: it has one of the two places.
    assert_eq!(
        told(CLOUD, &["cp-2", "worker-1!", "worker-2!", "worker-3"]),
        "replace worker-1 by worker-4; remove worker-2"
    );
    // What is gone is made anew, and so as it is declared.
    assert_eq!(told(CLOUD, &["cp-1", "worker-1!?", "worker-2"]), "again worker-1");
}

#[test]
fn machines_that_exist_are_taken_in_their_order_and_replaced_by_spare_ones() {
    let all = ["cp-192-0-2-11", "worker-192-0-2-21", "worker-192-0-2-22"];
    assert_eq!(told(EXISTING, &[]), "make cp-192-0-2-11; make worker-192-0-2-21; make worker-192-0-2-22");
    assert_eq!(told(EXISTING, &all), "");
    let reordered = EXISTING.replace("192.0.2.21, 192.0.2.22", "192.0.2.22, 192.0.2.21");
    assert_eq!(told(&reordered, &all), "");
    assert_eq!(told(EXISTING, &["cp-192-0-2-11!", all[1], all[2]]), "replace cp-192-0-2-11 by cp-192-0-2-12");
    let why = planned(EXISTING, &[all[0], "worker-192-0-2-21!", all[2]]).unwrap_err();
    assert!(
        why.contains(
            "shop-worker-192-0-2-21 is to be replaced (it differs), and the pool \"worker\" has no machine"
        ),
        "{why}"
    );
    // One that is a control plane now.
    let moved =
        EXISTING.replace("192.0.2.22]", "192.0.2.12]").replace("192.0.2.11, 192.0.2.12", "192.0.2.11");
    let why = planned(&moved, &["cp-192-0-2-11", "cp-192-0-2-12", all[1]]).unwrap_err();
    assert!(why.starts_with("the machine of shop-cp-192-0-2-12 is to be in the pool \"worker\""), "{why}");
}

#[test]
fn nothing_is_done_that_would_cost_the_cluster() {
    let lost = planned(CLOUD, &["cp-1?", "worker-1", "worker-2"]).unwrap_err();
    assert!(lost.starts_with("all control planes of the cluster are gone"), "{lost}");
    assert_eq!(
        told(CLOUD, &["cp-1?", "worker-1?", "worker-2?"]),
        "again cp-1; again worker-1; again worker-2",
        "nothing is left to lose"
    );
    let promoted = CLOUD.replace("roles: [worker]", "roles: [control_plane, worker]");
    let why = planned(&promoted, &["cp-1", "worker-1", "worker-2"]).unwrap_err();
    assert!(why.contains("does not become a control plane"), "{why}");
}
