//! One of three control planes stands still, loses its power or is cut off from the network, while a worker asks the API five times a
//! second through each kind of load balancer: its own, an address that control planes share, and one of somebody else's.

use std::fs;
use std::thread;
use std::time::Duration;

use muster_testkit::fault_record::held;

use crate::fixture::{Lab, bundle_has};

/// For how many seconds it does, and for how many it is asked.
const TROUBLE: u64 = 20;
const ASKED: u64 = 45;

/// A load balancer as an administrator has it, in front of the control planes.
const SOMEBODY_ELSES: &str = "\
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  timeout check 2s
  retries 3
  option redispatch 1
frontend api
  bind :8443
  default_backend planes
backend planes
  option httpchk GET /readyz
  http-check expect rstatus ^(200|401|403)$
  default-server check check-ssl verify none inter 1s fall 2 rise 2 on-marked-down shutdown-sessions
";

/// What a worker has counted.
struct Counted {
    failed: u32,
    asked: u32,
    /// The longest time between two answers, in milliseconds.
    gap: u64,
}

/// What clients on the worker count while something is done.
fn asked_while(lab: &Lab, server: &str, action: impl FnOnce()) -> Counted {
    let run = |client: &str| {
        let client = client.replace('\'', "'\\''");
        lab.on("node4", &format!("sh -c '{client}' client {ASKED} {server}"))
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

/// What `muster lab` does to a machine, and takes back.
fn for_a_while(lab: &Lab, machine: &str, [begin, end]: [&str; 2]) {
    assert_eq!(lab.lab(&[begin, machine]).code, 0);
    thread::sleep(Duration::from_secs(TROUBLE));
    assert_eq!(lab.lab(&[end, machine]).code, 0);
}

type Trouble = (&'static str, &'static str, fn(&Lab, &str));

const TROUBLES: [Trouble; 4] = [
    ("API server stands still", "SIGSTOP for one of three", |lab, machine| {
        by_itself(lab, machine, "kill -STOP $(pidof kube-apiserver)", "kill -CONT $(pidof kube-apiserver)");
    }),
    (
        "machine freezes",
        "the freezer for one of three control planes, with its member of etcd",
        |lab, machine| {
            for_a_while(lab, machine, ["pause", "unpause"]);
        },
    ),
    ("machine loses power", "one of three control planes, with its member of etcd", |lab, machine| {
        for_a_while(lab, machine, ["kill", "start"]);
    }),
    ("network cut", "all packets of one of three control planes are dropped", |lab, machine| {
        let cut = |change: &str| {
            format!("iptables -{change} INPUT -i eth0 -j DROP; iptables -{change} OUTPUT -o eth0 -j DROP")
        };
        by_itself(lab, machine, &cut("I"), &cut("D"));
    }),
];

/// One trouble after the other, of the machine that `victim` names at that moment, while the worker asks `server`.
fn troubles(lab: &Lab, way: &str, server: &str, victim: &dyn Fn() -> String) {
    for (fault, how, trouble) in TROUBLES {
        let machine = victim();
        let Counted { failed, asked, gap } = asked_while(lab, server, || trouble(lab, &machine));
        println!("{fault}, {way}: {failed} of {asked} requests failed, the longest gap was {gap} ms");
        assert!(asked > 50 && failed * 4 < asked, "{fault}, {way}: {failed} of {asked}, {gap} ms");
        held(
            fault,
            &format!("{how}, for {TROUBLE} s, while a worker asks the API five times a second through {way}"),
            1,
            &format!(
                "{failed} of {asked} requests fail, the others are answered; the longest time without an answer is {}.{} s",
                gap / 1000,
                gap % 1000 / 100
            ),
        );
        // All is well again before the next trouble. The API server of each one answers by itself, too.
        let planes: Vec<_> = (1..=3).map(|number| lab.address(number)).collect();
        lab.on(
            "node4",
            &format!(
                "ready() {{ for plane in {}; do kubectl --kubeconfig /etc/kubernetes/kubelet.conf --server https://$plane:6443 \
                 --request-timeout 3s get --raw /readyz || return; done; }}; \
                 for n in $(seq 120); do ready >/dev/null 2>&1 && exit; sleep 1; done; exit 1",
                planes.join(" ")
            ),
        );
        thread::sleep(Duration::from_secs(10));
        let nodes = lab.muster(&["kubectl", "get", "nodes", "--no-headers"]).out;
        assert_eq!(nodes.lines().filter(|line| line.contains(" Ready ")).count(), 4, "{nodes}");
    }
}

/// Begins a load balancer on the worker that muster knows nothing of.
fn somebody_else_s_balancer(lab: &Lab) {
    let servers: String =
        (1..=3).map(|number| format!("  server node{number} {}:6443\n", lab.address(number))).collect();
    lab.on("node4", &format!("cat >/root/balancer.cfg <<'EOT'\n{SOMEBODY_ELSES}{servers}EOT"));
    lab.on(
        "node4",
        "image=$(ctr -n k8s.io images ls -q | grep haproxy | head -n 1) && \
         ctr -n k8s.io run -d --net-host --mount type=bind,src=/root/balancer.cfg,dst=/balancer.cfg,options=rbind:ro \
         \"$image\" somebody-elses haproxy -db -f /balancer.cfg",
    );
}

#[test]
#[ignore = "it takes more than fifteen minutes; ./test --all"]
fn who_asks_by_a_load_balancer_is_answered_while_a_control_plane_is_in_trouble() {
    let lab = Lab::up(117, &["-n", "4"]);
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(folder.join("group_vars")).unwrap();
    let host = |n: u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n));
    let hosts: String = (1..=4).map(host).collect();
    let groups = "[kube_control_plane]\nnode[1:3]\n[etcd]\nnode[1:3]\n[kube_node]\nnode4\n";
    fs::write(folder.join("hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
    let set_up = |variables: &str, server: &str| {
        fs::write(folder.join("group_vars/all.yml"), variables).unwrap();
        let ended = lab.muster(&["setup-cluster"]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        let asks = lab.on("node4", "grep server: /etc/kubernetes/kubelet.conf");
        assert_eq!(asks.trim(), format!("server: {server}"));
    };

    if bundle_has("keepalived") {
        let shared = lab.address(1).replace(".4", ".100");
        let server = format!("https://{shared}:6443");
        set_up(
            &format!(
                "kube_vip_enabled: true\nkube_vip_controlplane_enabled: true\nkube_vip_address: {shared}\n"
            ),
            &server,
        );
        // The trouble is that of the one that has the address.
        let holder = || {
            let has =
                |machine: &String| !lab.on(machine, &format!("ip -o -4 addr show to {shared}/32")).is_empty();
            (1..=3).map(|number| format!("node{number}")).find(has).expect("somebody has the shared address")
        };
        troubles(&lab, "the address that control planes share, which this one has", &server, &holder);
    } else {
        println!("left out: the bundle has no keepalived; muster bundle build --with api-vip");
    }

    let server = "https://127.0.0.1:6443";
    set_up("{}\n", server);
    troubles(&lab, "its own load balancer", server, &|| "node1".to_owned());

    somebody_else_s_balancer(&lab);
    let balancer = lab.address(4);
    let server = format!("https://{balancer}:8443");
    set_up(&format!("loadbalancer_apiserver: {{address: {balancer}, port: 8443}}\n"), &server);
    troubles(&lab, "a load balancer of somebody else's (haproxy)", &server, &|| "node2".to_owned());
}
