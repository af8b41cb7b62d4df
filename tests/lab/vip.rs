//! Two control planes share an address of the API: a cluster begins with it, the one that holds it loses its power, it becomes another
//! one, and it goes away again.

use std::fs;
use std::thread;
use std::time::Duration;

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab, bundle_has};

const PLANES: [&str; 2] = ["node1", "node2"];

/// etcd is on the worker, so that it goes on without either of the control planes.
fn inventory(lab: &Lab) -> String {
    let host = |n: u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n));
    let hosts: String = (1..=3).map(host).collect();
    format!("[all]\n{hosts}[kube_control_plane]\nnode[1:2]\n[etcd]\nnode3\n[kube_node]\nnode3\n")
}

fn set_up(lab: &Lab) -> Ended {
    let ended = lab.muster(&["setup-cluster"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

fn nothing_is_left_to_do(lab: &Lab) {
    let again = set_up(lab);
    assert_eq!(["node1", "node2", "node3"].map(|host| again.recap(host, "changed")), [0; 3], "{again:#?}");
}

/// The control planes that have an address.
fn holders(lab: &Lab, address: &str) -> Vec<&'static str> {
    let has = |machine: &&str| !lab.on(machine, &format!("ip -o -4 addr show to {address}/32")).is_empty();
    PLANES.into_iter().filter(has).collect()
}

/// Where all machines look for the API.
fn leads_to(lab: &Lab, url: &str) {
    for (machine, conf) in [("node1", "admin"), ("node2", "admin"), ("node3", "kubelet")] {
        let server = lab.on(machine, &format!("grep server: /etc/kubernetes/{conf}.conf"));
        assert_eq!(server.trim(), format!("server: {url}"), "{conf}.conf of {machine}");
    }
}

/// What a client on the worker prints meanwhile: `client` is a script of this folder, with its words.
fn asked_while(lab: &Lab, client: &str, words: &str, action: impl FnOnce()) -> String {
    let client = client.replace('\'', "'\\''");
    thread::scope(|scope| {
        let asked = scope.spawn(|| lab.on("node3", &format!("sh -c '{client}' client {words}")));
        thread::sleep(Duration::from_secs(3));
        action();
        asked.join().unwrap().trim().to_owned()
    })
}

/// Nobody is led from the address `former` to another one that two hold, because they do not hear each other, or that a worker does not
/// find.
fn nobody_is_led_where_the_network_is_wrong(lab: &Lab, ask_for: impl Fn(), former: &str, address: &str) {
    let refused = |said: &str| {
        let refused = lab.muster(&["setup-cluster"]);
        assert!(refused.code != 0 && refused.all().contains(said), "{said}: {refused:#?}");
        leads_to(lab, &format!("https://{former}:6443"));
    };
    ask_for();
    PLANES.iter().for_each(|plane| drop(lab.on(plane, "iptables -I INPUT -p 112 -j DROP")));
    refused(&format!(" hold {address} at the same time"));
    let verified = lab.muster(&["verify"]);
    assert!(verified.code != 0 && verified.all().contains(" at the same time"), "{verified:#?}");
    PLANES.iter().for_each(|plane| drop(lab.on(plane, "iptables -D INPUT -p 112 -j DROP")));
    lab.on("node3", &format!("ip route add unreachable {address}/32"));
    refused("node3 does not find the API");
    lab.on("node3", &format!("ip route del unreachable {address}/32"));
}

/// The address gets a name, and then the name another address, while somebody asks by what its kubelet has: no request may fail. The
/// network is wrong at first: then the name stays where it is.
fn a_name_leads_to_one_address_after_the_other(
    lab: &Lab,
    variables: &impl Fn(&str),
    [former, next]: [&str; 2],
) {
    let url = "https://api.lab.example:6443";
    let named = |address: &str| {
        variables(&format!(
            "kube_vip_enabled: true\nkube_vip_controlplane_enabled: true\nkube_vip_address: {address}\n\
             apiserver_loadbalancer_domain_name: api.lab.example\n"
        ));
    };
    let is_at = |address: &str| {
        for machine in ["node1", "node2", "node3"] {
            let found = lab.on(machine, "getent ahostsv4 api.lab.example | head -n 1");
            assert!(found.starts_with(&format!("{address} ")), "{machine}: {found}");
        }
        // kube-proxy has a copy of /etc/hosts.
        let copies = lab.on("node3", "grep -h ' api.lab.example ' /var/lib/kubelet/pods/*/etc-hosts");
        assert!(copies.lines().all(|line| line.starts_with(&format!("{address} "))), "{copies}");
    };
    named(former);
    set_up(lab);
    leads_to(lab, url);
    is_at(former);

    named(next);
    lab.on("node3", &format!("ip route add unreachable {next}/32"));
    let refused = lab.muster(&["setup-cluster"]);
    assert!(refused.code != 0 && refused.all().contains("node3 does not find the API"), "{refused:#?}");
    is_at(former);
    assert_eq!(holders(lab, former).len(), 1);
    lab.on("node3", &format!("ip route del unreachable {next}/32"));
    let failed = asked_while(lab, include_str!("client.sh"), "90", || drop(set_up(lab)));
    println!("another address of the same name: {failed} requests failed");
    assert!(failed.starts_with("0 of ") && failed != "0 of 0", "{failed}");
    leads_to(lab, url);
    is_at(next);
    assert_eq!((holders(lab, former).len(), holders(lab, next).len()), (0, 1));
    nothing_is_left_to_do(lab);
}

#[test]
#[ignore = "it takes more than three minutes; ./test --all"]
fn control_planes_share_an_address_and_the_one_that_holds_it_is_lost() {
    if !bundle_has("keepalived") {
        println!("skipped: the bundle has no keepalived; muster bundle build --with api-vip");
        return;
    }
    let lab = Lab::up(64, &["-n", "3"]);
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(folder.join("group_vars")).unwrap();
    fs::write(folder.join("hosts.ini"), inventory(&lab)).unwrap();
    let variables = |text: &str| fs::write(folder.join("group_vars/all.yml"), text).unwrap();
    let shared = |address: &str| {
        variables(&format!(
            "kube_vip_enabled: true\nkube_vip_controlplane_enabled: true\nkube_vip_address: {address}\n"
        ));
    };
    let at = |number: u8| lab.address(1).replace(".4", &format!(".{number}"));
    let [first, second] = [100, 101].map(at);
    let url = |address: &str| format!("https://{address}:6443");

    shared(&first);
    set_up(&lab);
    leads_to(&lab, &url(&first));
    assert_eq!(holders(&lab, &first).len(), 1);
    nothing_is_left_to_do(&lab);

    // What a machine of theirs has, what somebody else has, and what is not in their network, they do not take.
    let others = at(102);
    lab.on("node3", &format!("ip addr add {others}/24 dev eth0"));
    for address in [lab.address(3), others.clone(), "198.51.100.9".to_owned()] {
        shared(&address);
        let refused = lab.muster(&["setup-cluster"]);
        assert_eq!(refused.code, 3, "{refused:#?}");
        assert!(refused.all().contains("kube_vip_address"), "{refused:#?}");
    }
    lab.on("node3", &format!("ip addr del {others}/24 dev eth0"));
    leads_to(&lab, &url(&first));
    shared(&first);

    // The one that holds it loses its power.
    let holder = holders(&lab, &first)[0];
    let gap = asked_while(&lab, include_str!("gap.sh"), &format!("30 {}", url(&first)), || {
        assert_eq!(lab.lab(&["kill", holder]).code, 0);
    });
    println!("{holder} lost its power: the longest gap and the number of answers: {gap}");
    let (longest, answers) = gap.split_once(' ').unwrap();
    let (longest, answers): (u64, u64) = (longest.parse().unwrap(), answers.parse().unwrap());
    assert!(longest < 10_000 && answers > 50, "{gap}");
    held(
        "machine loses power",
        "the control plane that holds the address of the API, while it is asked five times a second",
        1,
        &format!(
            "the other one takes the address: answered again after {}.{} s",
            longest / 1000,
            longest % 1000 / 100
        ),
    );
    // It comes back, and the address stays where it is.
    assert_eq!(lab.lab(&["start", holder]).code, 0);
    set_up(&lab);
    let other = PLANES.into_iter().find(|plane| *plane != holder).unwrap();
    assert_eq!(holders(&lab, &first), [other]);

    // Its API server is gone, and the machine is not.
    lab.on(other, "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/");
    let waited = format!(
        "for n in $(seq 60); do ip -o -4 addr show to {first}/32 | grep -q . && exit; sleep 1; done; exit 1"
    );
    lab.on(holder, &waited);
    lab.on(other, "mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/");
    assert_eq!(holders(&lab, &first), [holder]);

    nobody_is_led_where_the_network_is_wrong(&lab, || shared(&second), &first, &second);
    shared(&second);
    let failed = asked_while(&lab, include_str!("client.sh"), "45", || drop(set_up(&lab)));
    println!("another address: {failed} requests failed");
    leads_to(&lab, &url(&second));
    assert_eq!((holders(&lab, &first).len(), holders(&lab, &second).len()), (0, 1));
    assert!(!lab.has("node1", &format!("/etc/kubernetes/api-vip/{first}")));
    nothing_is_left_to_do(&lab);

    a_name_leads_to_one_address_after_the_other(&lab, &variables, [&second, &first]);

    variables("{}\n");
    let failed = asked_while(&lab, include_str!("client.sh"), "45", || drop(set_up(&lab)));
    println!("the machines' own load balancers instead of an address: {failed} requests failed");
    leads_to(&lab, "https://127.0.0.1:6443");
    assert_eq!((holders(&lab, &first).len(), holders(&lab, &second).len()), (0, 0));
    nothing_is_left_to_do(&lab);

    // And back, on a living cluster.
    shared(&first);
    set_up(&lab);
    leads_to(&lab, &url(&first));
    nothing_is_left_to_do(&lab);
    let reset = lab.muster(&["reset-cluster", "--yes"]);
    assert_eq!(reset.code, 0, "{reset:#?}");
    assert_eq!(holders(&lab, &first).len(), 0);
}
