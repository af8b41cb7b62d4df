//! Names of an external zone, asked by a pod of the cache on its node: while the zone's server is away, and while CoreDNS is.

use std::thread;
use std::time::{Duration, Instant};

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

/// The zone's server on node2: CoreDNS of the cluster's image as a program of the machine, which knows three names of the zone.
/// $1: where it listens.
const SERVER: &str = r#"
mkdir -p /root/dns
cp "$(find /var/lib/containerd -path '*/fs/coredns' -type f | head -n 1)" /root/dns/coredns
cat >/root/dns/Corefile <<CONFIG
corp.example:1053 {
  bind $1
  hosts {
    127.0.0.9 first.corp.example second.corp.example third.corp.example
  }
}
CONFIG"#;

const API: &str = "kubernetes.default.svc.cluster.local";

const BEGIN: &str = "systemd-run -q --unit zone /root/dns/coredns -conf /root/dns/Corefile";

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn pods_find_names_of_an_external_zone_while_its_server_or_coredns_is_away() {
    let lab = Lab::up(121, &["-n", "2"]);
    let server = lab.address(2);
    let zones = format!(
        r#"{{"enable_nodelocaldns": true, "nodelocaldns_external_zones":
            [{{"zones": ["corp.example"], "nameservers": ["{server}:1053"], "cache": 600}}]}}"#
    );
    let set_up = |variables: &str| -> Ended {
        let ended = lab.muster(&["setup-cluster", &lab.pattern(2), "-e", variables]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    set_up(&zones);
    lab.on("node2", &SERVER.replace("$1", &server));
    lab.on("node2", BEGIN);
    kubectl(&["run", "asks", "--image", &lab.agnhost()]);
    kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/asks"]);

    // Nothing listens at the addresses of the zone, which is known at once. A dot at the end: only this name is asked for.
    let asks = |address: &str| {
        lab.muster(&["kubectl", "exec", "asks", "--", "/agnhost", "connect", "--timeout", "9s", address])
    };
    let connect = |name: &str| asks(&format!("{name}.:1")).all();
    let finds = |name: &str| connect(name).contains("REFUSED");
    let finds_none = |name: &str| connect(name).contains("DNS: ");
    let finds_api = || asks(&format!("{API}.:443")).code == 0;
    let soon = |what: &str, holds: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(90), "{what}");
            thread::sleep(Duration::from_secs(1));
        }
    };
    soon("the zone's server is asked", &|| finds("first.corp.example"));
    let again = set_up(&zones);
    assert_eq!(["node1", "node2"].map(|host| again.recap(host, "changed")), [0; 2]);

    // The zone's server is switched off and on.
    lab.on("node2", "systemctl stop zone");
    assert!(finds("first.corp.example"), "the cache has it: {}", connect("first.corp.example"));
    assert!(finds_none("second.corp.example"), "nobody knows it: {}", connect("second.corp.example"));
    soon("names of the cluster are found all the same", &finds_api);
    lab.on("node2", BEGIN);
    soon("the server is asked again", &|| finds("second.corp.example"));
    held(
        "an external zone's name server away",
        "its program stopped, and started again",
        1,
        "pods find what was asked before, and names of the cluster; the rest as soon as it is back",
    );

    // CoreDNS is switched off and on.
    let replicas =
        kubectl(&["-n", "kube-system", "get", "deployment", "coredns", "-o", "jsonpath={.spec.replicas}"]);
    let scale = |replicas: &str| {
        kubectl(&["-n", "kube-system", "scale", "deployment", "coredns", &format!("--replicas={replicas}")])
    };
    scale("0");
    soon("names of the cluster are lost with CoreDNS", &|| finds_none(API));
    assert!(finds("third.corp.example"), "CoreDNS is not needed: {}", connect("third.corp.example"));
    assert!(finds("first.corp.example"), "CoreDNS is not needed: {}", connect("first.corp.example"));
    scale(&replicas);
    soon("names of the cluster are found again", &finds_api);
    held(
        "cluster's DNS away",
        "no pod of CoreDNS, under pods that ask a cache on their node",
        1,
        "pods find names of external zones, and those of the cluster as soon as it is back",
    );

    // What the variables do not say any more is not asked any more.
    set_up(r#"{"enable_nodelocaldns": true}"#);
    soon("the zone is nobody's", &|| finds_none("first.corp.example"));
}
