//! One control plane becomes three, each machine gets a way of its own to the API, and the control plane that the cluster began
//! with is lost. One that is down, or that joins with a wrong value.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::fixture::{Ended, Lab};

const BALANCER: &str = "/etc/kubernetes/api-balancer/haproxy.cfg";

fn inventory(lab: &Lab, planes: &[u8]) {
    let host = |n: &u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(*n));
    let hosts: String = planes.iter().chain(&[4]).map(host).collect();
    let planes: String = planes.iter().map(|n| format!("node{n}\n")).collect();
    let text = format!("[all]\n{hosts}[kube_control_plane]\n{planes}[etcd]\n{planes}[kube_node]\nnode4\n");
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("hosts.ini"), text).unwrap();
}

fn set_up(lab: &Lab) -> Ended {
    let ended = lab.muster(&["setup-cluster"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

/// What clients on the worker count while something is done: the requests that failed, and all of them. Each asks at its address,
/// or where that is empty at the one that the kubelet has.
fn asked_while<const N: usize>(
    lab: &Lab,
    seconds: u64,
    addresses: [&str; N],
    action: impl FnOnce(),
) -> [(u32, u32); N] {
    let client = include_str!("client.sh").replace('\'', "'\\''");
    thread::scope(|scope| {
        let ask = |address: &str| format!("sh -c '{client}' client {seconds} '{address}'");
        let counted = addresses.map(|address| {
            let command = ask(address);
            scope.spawn(move || lab.on("node4", &command))
        });
        thread::sleep(Duration::from_secs(3));
        action();
        counted.map(|counted| {
            let counted = counted.join().unwrap();
            let (failed, asked) = counted.trim().split_once(" of ").unwrap();
            (failed.parse().unwrap(), asked.parse().unwrap())
        })
    })
}

/// The control planes behind the worker's load balancer.
fn backends(lab: &Lab) -> String {
    lab.on(
        "node4",
        &format!("sed -n '/^backend control-planes/,/^backend answers/p' {BALANCER} | grep '^  server '"),
    )
}

#[test]
#[ignore = "it takes more than four minutes; ./test --all"]
fn one_control_plane_becomes_three_and_the_first_one_is_lost() {
    let lab = Lab::up(229, &["-n", "4"]);
    let leads_to = |machine: &str| lab.on(machine, "grep -h server: /etc/kubernetes/kubelet.conf");

    // With one control plane there is nothing to choose from.
    inventory(&lab, &[1]);
    set_up(&lab);
    assert!(leads_to("node4").contains(&lab.address(1)) && !lab.has("node4", BALANCER));

    // A node that is left out of the inventory would find no API any more.
    inventory(&lab, &[1, 2, 3]);
    let file = lab.folder().join("inventory/hosts.ini");
    let text = fs::read_to_string(&file).unwrap();
    let without = text.replace("[kube_node]\nnode4", "[kube_node]\nnode1");
    let without: String =
        without.lines().filter(|line| !line.starts_with("node4 ")).map(|l| format!("{l}\n")).collect();
    fs::write(&file, without).unwrap();
    let refused = lab.muster(&["setup-cluster"]);
    assert!(refused.code == 2 && refused.out.contains("not in the inventory (node4)"), "{refused:#?}");
    assert!(leads_to("node1").contains(&lab.address(1)), "nobody was told of another address");

    // The cluster changes over in one run, while somebody asks.
    inventory(&lab, &[1, 2, 3]);
    let first = format!("https://{}:6443", lab.address(1));
    let [own_way, first] = asked_while(&lab, 150, ["", &first], || {
        set_up(&lab);
    });
    println!(
        "growth: {own_way:?} requests failed by the worker's own way, {first:?} at the first control plane"
    );
    assert!(own_way.1 > 300 && own_way.0 == 0, "{own_way:?}");
    // It restarts its API server once.
    assert!(first.1 > 300 && first.0 * 2 < first.1, "{first:?}");
    assert!(leads_to("node4").contains("https://127.0.0.1:6443"));
    let again = set_up(&lab);
    assert_eq!(["node1", "node2", "node3", "node4"].map(|host| again.recap(host, "changed")), [0; 4]);
    assert_eq!(backends(&lab).lines().count(), 3);

    // All API servers get another flag, one after the other.
    let [flag] = asked_while(&lab, 120, [""], || {
        let told = lab.muster(&["setup-cluster", "-e", "event_ttl_duration=2h"]);
        assert_eq!(told.code, 0, "{told:#?}");
    });
    println!("another flag: {} of {} requests failed", flag.0, flag.1);
    assert!(flag.1 > 300 && flag.0 == 0, "{flag:?}");
    for n in 1..=3 {
        let flags = lab.on(&format!("node{n}"), "tr '\\0' ' ' </proc/$(pgrep -o kube-apiserver)/cmdline");
        assert!(flags.contains("--event-ttl=2h"), "{flags}");
    }

    // The control plane that the cluster began with loses its power.
    let [(failed, asked)] = asked_while(&lab, 20, [""], || {
        assert_eq!(lab.lab(&["kill", "node1"]).code, 0);
    });
    println!("power loss: {failed} of {asked} requests failed");
    assert!(failed * 10 < asked, "{failed} of {asked} requests failed");

    // It leaves, and nobody looks for it any more.
    let removed = lab.muster(&["remove-node", "node1", "--yes"]);
    assert_eq!(removed.code, 0, "{removed:#?}");
    let backends = backends(&lab);
    assert!(!backends.contains(&lab.address(1)) && backends.lines().count() == 2, "{backends}");
    let again = set_up(&lab);
    assert_eq!(["node2", "node3", "node4"].map(|host| again.recap(host, "changed")), [0; 3]);
    let verified = lab.muster(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:#?}");
}

#[test]
#[ignore = "it takes more than four minutes; ./test --all"]
fn three_control_planes_become_five_and_three_again() {
    let lab = Lab::up(116, &["-n", "5"]);
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(&folder).unwrap();
    // Whoever comes is written in front of those that are there.
    let planes = |numbers: &[u8]| {
        let host =
            |n: &u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(*n));
        let hosts: String = numbers.iter().map(host).collect();
        let names: String = numbers.iter().map(|n| format!("node{n}\n")).collect();
        let text = format!("[all]\n{hosts}[kube_control_plane]\n{names}[etcd]\n{names}[kube_node]\n{names}");
        fs::write(folder.join("hosts.ini"), text).unwrap();
    };
    let members = || {
        let status = lab.muster(&["etcd", "status"]);
        assert_eq!(status.code, 0, "{status:#?}");
        (1..=5).filter(|n| status.out.contains(&format!("node{n} "))).count()
    };
    let nothing_is_left_to_do = |numbers: &[u8]| {
        let again = set_up(&lab);
        numbers.iter().for_each(|n| assert_eq!(again.recap(&format!("node{n}"), "changed"), 0, "{again:#?}"));
    };
    planes(&[1, 2, 3]);
    set_up(&lab);
    let authority = lab.on("node1", "sha256sum /etc/kubernetes/ssl/ca.crt");
    planes(&[5, 4, 1, 2, 3]);
    set_up(&lab);
    assert_eq!(members(), 5);
    nothing_is_left_to_do(&[1, 2, 3, 4, 5]);
    // Two of five are gone at once: the others have the majority, and both leave in one command.
    assert_eq!(lab.lab(&["kill", "node1", "node2"]).code, 0);
    let removed = lab.muster(&["remove-node", "node1", "node2", "--yes"]);
    assert_eq!(removed.code, 0, "{removed:#?}");
    assert_eq!(members(), 3);
    nothing_is_left_to_do(&[3, 4, 5]);
    assert_eq!(lab.on("node5", "sha256sum /etc/kubernetes/ssl/ca.crt"), authority);
    let verified = lab.muster(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:#?}");
}

#[test]
fn a_control_plane_that_is_down_heals_and_one_that_joins_with_a_wrong_value_goes_on_without_it() {
    let lab = Lab::up(178, &["-n", "2"]);
    let folder = lab.folder().join("inventory/host_vars");
    fs::create_dir_all(&folder).unwrap();
    let host = |n: u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n));
    let of = |planes: &str| {
        let text = format!(
            "[all]\n{}{}[kube_control_plane]\n{planes}[etcd]\nnode1\n[kube_node]\nnode1\n",
            host(1),
            host(2)
        );
        fs::write(lab.folder().join("inventory/hosts.ini"), text).unwrap();
    };
    of("node1\n");
    set_up(&lab);

    // Its API server does not start, and its certificate is gone, when it is to get another configuration.
    let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    lab.on("node1", &format!("sed -i 's/- --secure-port=.*/&\\n    - --nonsense=1/' {manifest}; rm /etc/kubernetes/ssl/apiserver.crt"));
    thread::sleep(Duration::from_secs(10));
    let all = lab.folder().join("inventory/group_vars");
    fs::create_dir_all(&all).unwrap();
    fs::write(all.join("all.yml"), "kube_apiserver_request_timeout: 1m10s\n").unwrap();
    set_up(&lab);
    assert!(!lab.on("node1", &format!("cat {manifest}")).contains("nonsense"));

    // The new one runs with the cluster's configuration, and says why not with its own.
    of("node1\nnode2\n");
    fs::write(folder.join("node2.yml"), "kube_kubeadm_apiserver_extra_args: {nonsense: '1'}\n").unwrap();
    let refused = lab.muster(&["setup-cluster"]);
    assert!(refused.code == 2 && refused.all().contains("unknown flag: --nonsense"), "{refused:#?}");
    let ready = format!("curl -sk https://{}:6443/readyz", lab.address(2));
    assert_eq!(lab.on("node2", &ready), "ok");
    fs::remove_file(folder.join("node2.yml")).unwrap();
    set_up(&lab);
    let again = set_up(&lab);
    assert_eq!(["node1", "node2"].map(|host| again.recap(host, "changed")), [0; 2]);
}
