//! A declared cluster on machines that exist, which a provider gives new systems: made, scaled, its machines replaced, deleted.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{Ended, Lab, muster};

const NETWORK: u8 = 133;

/// One control plane, and so many workers of three machines, with an image.
fn declare(lab: &Lab, workers: u32, image: &str) {
    let [plane, first, second, third] = [1, 2, 3, 4].map(|number| lab.address(number));
    let text = format!(
        "version: 1\nmachines: existing\nprovider: lab:test{NETWORK}\nlogin: {{user: root}}\npools:\n  \
         - name: cp\n    roles: [control_plane]\n    addresses: [{plane}]\n  \
         - name: worker\n    roles: [worker]\n    count: {workers}\n    image: {image}\n    \
         addresses: [{first}, {second}, {third}]\n    labels: {{room: '1'}}\n"
    );
    let folder = lab.folder().join("clusters/shop");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("cluster.yml"), text).unwrap();
}

fn apply(lab: &Lab) -> Ended {
    let ended = lab.muster(&["cluster", "apply", "shop", "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

/// The name of a machine.
fn host(lab: &Lab, pool: &str, number: u8) -> String {
    format!("shop-{pool}-{}", lab.address(number).replace('.', "-"))
}

/// The nodes, each with whether it is Ready.
fn nodes(lab: &Lab) -> Vec<(String, bool)> {
    let given = ["kubectl", "-i", "clusters/shop/inventory", "get", "nodes", "--no-headers"];
    let asked = lab.muster(&given);
    assert_eq!(asked.code, 0, "{asked:#?}");
    let words = |line: &str| -> Option<(String, bool)> {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()? == "Ready"))
    };
    asked.out.lines().filter_map(words).collect()
}

fn has(lab: &Lab, hosts: &[&String]) {
    let mut expected: Vec<(String, bool)> = hosts.iter().map(|host| ((*host).clone(), true)).collect();
    expected.sort();
    let mut found = nodes(lab);
    found.sort();
    assert_eq!(found, expected);
}

#[test]
#[ignore = "it takes ten minutes; ./test --all"]
fn a_declared_cluster_is_made_scaled_replaced_and_deleted() {
    let lab = Lab::up(NETWORK, &["-n", "4"]);
    let (plane, workers) = (host(&lab, "cp", 1), [2, 3, 4].map(|number| host(&lab, "worker", number)));
    declare(&lab, 2, "one");

    // From no cluster to a verified one with one command; workers get their system first.
    let host_key = |machine: &str| lab.on(machine, "stat -c %Y /etc/ssh/ssh_host_ed25519_key.pub");
    let before = [host_key("node1"), host_key("node2")];
    let planned = lab.muster(&["cluster", "plan", "shop"]);
    assert!(planned.code == 1 && planned.err.contains("3 machines to be made"), "{planned:#?}");
    apply(&lab);
    has(&lab, &[&plane, &workers[0], &workers[1]]);
    assert_eq!(host_key("node1"), before[0], "no image is declared for it");
    assert_ne!(host_key("node2"), before[1], "it has a new system");
    let labelled = lab.muster(&[
        "kubectl",
        "-i",
        "clusters/shop/inventory",
        "get",
        "nodes",
        "-l",
        "room=1",
        "--no-headers",
    ]);
    assert_eq!(labelled.out.lines().count(), 2, "{labelled:#?}");

    // The second run changes nothing.
    let second = apply(&lab);
    for host in [&plane, &workers[0], &workers[1]] {
        assert_eq!(second.recap(host, "changed"), 0, "{second:#?}");
    }
    assert_eq!(lab.muster(&["cluster", "plan", "shop"]).code, 0);
    let status = lab.muster(&["cluster", "status", "shop"]);
    assert!(
        status.code == 0 && status.out.contains(&workers[1]) && status.err.contains("3 machines as declared"),
        "{status:#?}"
    );

    // A smaller number: the last worker leaves, drained, with nothing of the cluster left on it.
    let image = lab.agnhost();
    let run = format!(
        "kubectl -i clusters/shop/inventory create deployment web --replicas=4 --image={image} -- /agnhost pause"
    );
    let made = lab.muster(&run.split(' ').collect::<Vec<_>>());
    assert_eq!(made.code, 0, "{made:#?}");
    let rollout =
        ["kubectl", "-i", "clusters/shop/inventory", "rollout", "status", "deployment/web", "--timeout=120s"];
    assert_eq!(lab.muster(&rollout).code, 0);
    declare(&lab, 1, "one");
    let refused = lab.muster(&["cluster", "apply", "shop"]);
    assert!(refused.code == 5 && refused.err.contains("there is no terminal to ask"), "{refused:#?}");
    let scaled = apply(&lab);
    assert!(scaled.all().contains(&format!("{} is removed", workers[1])), "{scaled:#?}");
    has(&lab, &[&plane, &workers[0]]);
    assert!(!lab.has("node3", "/etc/kubernetes/kubelet.conf") && !lab.has("node3", "/usr/local/bin/kubelet"));
    assert_eq!(lab.muster(&rollout).code, 0, "its pods are elsewhere");

    // Another image: the next machine joins with it, and then the old one leaves.
    declare(&lab, 1, "two");
    let planned = lab.muster(&["cluster", "plan", "shop"]);
    assert!(planned.out.contains("its image is one, and two is declared"), "{planned:#?}");
    apply(&lab);
    has(&lab, &[&plane, &workers[1]]);
    assert!(!lab.has("node2", "/etc/kubernetes/kubelet.conf"));
    let images = fs::read_to_string(lab.folder().join("clusters/shop/images.yml")).unwrap();
    assert!(images.contains(": \"two\"") && !images.contains("\"one\""), "{images}");
    let again = apply(&lab);
    assert_eq!((again.recap(&plane, "changed"), again.recap(&workers[1], "changed")), (0, 0), "{again:#?}");

    // A machine that is in use gets no new system, whoever declares it: its cluster is another one.
    let other = fs::read_to_string(lab.folder().join("clusters/shop/cluster.yml")).unwrap();
    fs::create_dir_all(lab.folder().join("clusters/other")).unwrap();
    let spare = other
        .replace(&format!("addresses: [{}]", lab.address(1)), &format!("addresses: [{}]", lab.address(4)));
    let spare = spare
        .replace(&format!("{}, {}, {}", lab.address(2), lab.address(3), lab.address(4)), &lab.address(3));
    fs::write(lab.folder().join("clusters/other/cluster.yml"), spare).unwrap();
    let key = host_key("node3");
    let refused = lab.muster(&["cluster", "apply", "other", "--yes"]);
    assert!(
        refused.code == 1 && refused.err.contains("there is a Kubernetes already; nothing was changed"),
        "{refused:#?}"
    );
    assert_eq!(host_key("node3"), key);

    let gone = lab.muster(&["cluster", "delete", "shop", "--yes"]);
    assert_eq!(gone.code, 0, "{gone:#?}");
    for machine in ["node1", "node2", "node3", "node4"] {
        for path in ["/etc/kubernetes/kubelet.conf", "/var/lib/etcd/member", "/usr/local/bin/kubelet"] {
            assert!(!lab.has(machine, path), "{machine}: {path}");
        }
    }
    assert!(!lab.folder().join("clusters/shop/inventory/hosts.yml").exists());
    let nothing = lab.muster(&["cluster", "delete", "shop", "--yes"]);
    assert!(nothing.code == 0 && nothing.err.contains("no machine is part of shop"), "{nothing:#?}");
}

/// A cluster of one machine, which is a control plane and a worker.
fn declare_one(lab: &Lab, name: &str, number: u8) {
    let folder = lab.folder().join("clusters").join(name);
    fs::create_dir_all(&folder).unwrap();
    let address = lab.address(number);
    let text = format!(
        "version: 1\nmachines: existing\nlogin: {{user: root}}\npools:\n  \
         - name: cp\n    roles: [control_plane, worker]\n    addresses: [{address}]\n"
    );
    fs::write(folder.join("cluster.yml"), text).unwrap();
}

#[test]
#[ignore = "it takes ten minutes; ./test --all"]
fn two_declared_clusters_are_made_and_kept_by_one_loop_and_a_broken_one_stops_neither() {
    let lab = Lab::up(134, &["-n", "2"]);
    declare_one(&lab, "shop", 1);
    declare_one(&lab, "room", 2);
    fs::create_dir_all(lab.folder().join("clusters/hall")).unwrap();
    fs::write(lab.folder().join("clusters/hall/cluster.yml"), "version: 1\n").unwrap();

    let options = "--all --apply --every 5s --after 5s --pause 20s --drift-every 0 --unhealthy-limit 100%";
    let command = format!("exec {} reconcile {options} >loop.log 2>&1", muster().display());
    let watch = lab.start_command(&["sh", "-c", &command]);
    let said = || fs::read_to_string(lab.folder().join("loop.log")).unwrap_or_default();
    let waits = |what: &str, seconds: u64, is_so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(seconds), "{what}: {}", said());
            thread::sleep(Duration::from_secs(2));
        }
        println!("{what}: after {:?}", begun.elapsed());
    };
    let are_well = || ["shop: all is well", "room: all is well"].iter().all(|line| said().contains(line));
    waits("both are made", 600, &are_well);
    assert!(said().contains("hall: clusters/hall/cluster.yml"), "{}", said());
    let status = lab.muster(&["cluster", "status"]);
    assert!(status.code == 1 && status.out.contains("well") && status.out.contains("hall"), "{status:#?}");

    // A kubelet that is stopped in one of them.
    lab.on("node2", "systemctl disable --now -q kubelet");
    waits("healed", 180, &|| lab.lab(&["ssh", "node2", "--", "systemctl is-active kubelet"]).code == 0);

    // A change of one declaration is applied, and nothing happens to the other cluster.
    let runs = |name: &str| {
        fs::read_dir(lab.folder().join("clusters").join(name).join("inventory/.muster/runs")).unwrap().count()
    };
    let (before, path) = (runs("room"), lab.folder().join("clusters/shop/cluster.yml"));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}    labels: {{room: '1'}}\n")).unwrap();
    let nodes = ["kubectl", "-i", "clusters/shop/inventory", "get", "nodes", "-l", "room=1", "--no-headers"];
    waits("applied", 300, &|| lab.muster(&nodes).out.contains("shop-cp-"));
    assert_eq!(runs("room"), before);

    watch.signal("TERM");
    let ended = watch.end();
    assert_eq!(ended.code, 0, "{ended:#?} {}", said());
    // By hand nothing is left to do.
    let again = lab.muster(&["cluster", "apply", "shop"]);
    assert_eq!((again.code, again.recap(&host(&lab, "cp", 1), "changed")), (0, 0), "{again:#?}");
}
