//! One of three control planes stands still, or is cut off from the network, while a worker asks the API five times a second through
//! its load balancer.

use std::fs;
use std::thread;
use std::time::Duration;

use muster_testkit::fault_record::held;

use crate::fixture::Lab;

/// For how many seconds it does, and for how many it is asked.
const TROUBLE: u64 = 25;
const ASKED: u64 = 50;

/// What a worker has counted.
struct Counted {
    failed: u32,
    asked: u32,
    /// The longest time between two answers, in milliseconds.
    gap: u64,
}

/// What clients on the worker count while something is done.
fn asked_while(lab: &Lab, action: impl FnOnce()) -> Counted {
    let run = |client: &str| {
        let client = client.replace('\'', "'\\''");
        lab.on("node4", &format!("sh -c '{client}' client {ASKED} https://127.0.0.1:6443"))
    };
    thread::scope(|scope| {
        let requests = scope.spawn(|| run(include_str!("client.sh")));
        let gap = scope.spawn(|| run(include_str!("gap.sh")));
        thread::sleep(Duration::from_secs(5));
        action();
        let (requests, gap) = (requests.join().unwrap(), gap.join().unwrap());
        let (failed, asked) = requests.trim().split_once(" of ").unwrap();
        let gap = gap.trim().split_once(' ').unwrap().0;
        Counted { failed: failed.parse().unwrap(), asked: asked.parse().unwrap(), gap: gap.parse().unwrap() }
    })
}

/// A program on a machine that goes on when nobody reaches the machine any more.
fn by_itself(lab: &Lab, machine: &str, begin: &str, end: &str) {
    lab.on(machine, &format!("systemd-run -q sh -c '{begin}; sleep {TROUBLE}; {end}'"));
}

#[test]
#[ignore = "it takes more than six minutes; ./test --all"]
fn a_control_plane_stands_still_or_is_cut_off() {
    let lab = Lab::up(117, &["-n", "4"]);
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(&folder).unwrap();
    let host = |n: u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n));
    let hosts: String = (1..=4).map(host).collect();
    let groups = "[kube_control_plane]\nnode[1:3]\n[etcd]\nnode[1:3]\n[kube_node]\nnode4\n";
    fs::write(folder.join("hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
    let ended = lab.muster(&["setup-cluster"]);
    assert_eq!(ended.code, 0, "{ended:#?}");

    let cut = |change: &str| {
        format!("iptables -{change} INPUT -i eth0 -j DROP; iptables -{change} OUTPUT -o eth0 -j DROP")
    };
    type Trouble<'a> = (&'a str, &'a str, Box<dyn Fn() + 'a>);
    let troubles: [Trouble<'_>; 3] = [
        (
            "API server stands still",
            "SIGSTOP for one of three",
            Box::new(|| {
                by_itself(
                    &lab,
                    "node1",
                    "kill -STOP $(pidof kube-apiserver)",
                    "kill -CONT $(pidof kube-apiserver)",
                );
            }),
        ),
        (
            "machine freezes",
            "the freezer for one of three control planes, with its member of etcd",
            Box::new(|| {
                assert_eq!(lab.lab(&["pause", "node2"]).code, 0);
                thread::sleep(Duration::from_secs(TROUBLE));
                assert_eq!(lab.lab(&["unpause", "node2"]).code, 0);
            }),
        ),
        (
            "network cut",
            "all packets of one of three control planes are dropped",
            Box::new(|| by_itself(&lab, "node3", &cut("I"), &cut("D"))),
        ),
    ];
    for (fault, how, trouble) in troubles {
        let Counted { failed, asked, gap } = asked_while(&lab, trouble);
        println!("{fault}, {how}: {failed} of {asked} requests failed, the longest gap was {gap} ms");
        assert!(asked > 50 && failed * 10 < asked, "{fault}: {failed} of {asked}, {gap} ms");
        held(
            fault,
            &format!(
                "{how}, for {TROUBLE} s, while a worker asks the API five times a second through its load balancer"
            ),
            1,
            &format!(
                "{failed} of {asked} requests fail, the others are answered; the longest time without an answer is {}.{} s",
                gap / 1000,
                gap % 1000 / 100
            ),
        );
        // All is well again before the next trouble.
        lab.on("node4", "for n in $(seq 90); do kubectl --kubeconfig /etc/kubernetes/kubelet.conf get --raw /readyz && exit; sleep 1; done; exit 1");
        thread::sleep(Duration::from_secs(10));
        let nodes = lab.on("node1", "kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes --no-headers");
        assert_eq!(nodes.lines().filter(|line| line.contains(" Ready ")).count(), 4, "{nodes}");
    }
}
