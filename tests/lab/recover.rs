//! Most members of etcd are lost for good, and the cluster goes on with what is left.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

const MACHINES: [&str; 3] = ["node1", "node2", "node3"];

fn inventory(lab: &Lab) -> String {
    let hosts: String = (1..=3)
        .map(|n| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n)))
        .collect();
    format!("[all]\n{hosts}[kube_control_plane]\nnode[1:3]\n[etcd]\nnode[1:3]\n[kube_node]\nnode[1:3]\n")
}

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

#[test]
#[ignore = "it takes eight minutes; ./test --all"]
fn a_cluster_that_has_lost_two_of_three_machines_goes_on_with_the_third() {
    let lab = Lab::up(77, &["-n", "3"]);
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    fs::write(lab.folder().join("inventory/hosts.ini"), inventory(&lab)).unwrap();
    done(lab.muster(&["setup-cluster"]));
    let kubectl = |words: &[&str]| lab.muster(&[&["kubectl"], words].concat());
    done(kubectl(&["create", "configmap", "before"]));

    // With a majority nothing is to be recovered.
    let needless = lab.muster(&["recover"]);
    assert!(needless.code != 0 && needless.err.contains("etcd has a majority"), "{needless:#?}");

    // One loss is borne, and it is said what the next one does.
    done(lab.lab(&["kill", "node3"]));
    // Until the others have a leader.
    sleep(Duration::from_secs(20));
    let status = lab.muster(&["etcd", "status"]);
    let one_more = "etcd has 2 of 3 members: it stops when one more is lost";
    assert!(status.code != 0 && status.err.contains(one_more), "{status:#?}");

    done(lab.lab(&["kill", "node1"]));
    // Until etcd knows that it has no majority.
    sleep(Duration::from_secs(10));
    let status = lab.muster(&["etcd", "status"]);
    let said = "etcd has 1 of 3 members: nothing can be written";
    assert!(status.err.contains(said) && status.err.contains("muster recover"), "{status:#?}");
    // Nobody is there to agree, or disagrees.
    let asked = lab.muster(&["recover"]);
    assert!(asked.code == 5 && asked.out.contains("sees no majority"), "{asked:#?}");
    let no = lab.start_typing("node1 node2", "recover").end();
    let told = "nothing was changed; missing: node3; not asked for: node2";
    assert!(no.code == 1 && no.out.contains(told), "{no:#?}");
    // It is only looked at, and nothing else begins that would wait for a majority.
    done(lab.muster(&["recover", "--check"]));
    let begun = Instant::now();
    let refused = lab.muster(&["setup-cluster", "--limit", "!node1,!node3"]);
    assert!(refused.code == 3 && refused.out.contains("etcd has lost its majority: 1 of 3"), "{refused:#?}");
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());

    // It is cut off while the data is taken, and when the member may have the restored data.
    for mark in ["recover-rescue: Save a snapshot", "restore-take: Take the restored data"] {
        let mut run = lab.start_typing("node1 node3", "recover -vv --output plain");
        run.until(mark);
        lab.kill_typing(run);
    }
    let recovered = lab.start_typing("node1 node3", "recover -vv --output plain").end();
    assert_eq!(recovered.code, 0, "{recovered:#?}");
    assert!(recovered.out.contains("from a run that was cut off"), "{recovered:#?}");
    held(
        "machine lost for good",
        "two of three control planes with etcd, and SIGKILL twice during muster recover",
        2,
        "the same command finishes; every object that was written before is there",
    );
    let objects = done(kubectl(&["get", "configmaps", "-o", "name"])).out;
    assert!(objects.contains("/before"), "{objects}");

    // A machine that comes back with its old disk does not bring the old cluster back.
    done(lab.lab(&["start", "node3"]));
    let refused = lab.muster(&["setup-cluster", "--limit", "node2,node3"]);
    assert!(refused.code == 3 && refused.out.contains("has data of etcd from before"), "{refused:#?}");
    done(lab.muster(&["reset-cluster", "--limit", "node3", "--yes"]));

    done(lab.lab(&["reimage", "node1"]));
    done(lab.muster(&["replace-node", "node1", "node3"]));
    let again = done(lab.muster(&["setup-cluster"]));
    assert_eq!(MACHINES.map(|host| again.recap(host, "changed")), [0, 0, 0], "{again:#?}");
    let status = done(lab.muster(&["etcd", "status"]));
    assert_eq!(status.out.matches("healthy").count(), 3, "{status:#?}");
    let objects = done(kubectl(&["get", "configmaps", "-o", "name"])).out;
    assert!(objects.contains("/before"), "{objects}");
}
