//! Two families of addresses: machines have one of each, and so have nodes, pods and services that ask for it. flannel and cilium carry
//! both; of calico, whose images cannot be compiled, a real API server takes the objects.

use std::fs;

use muster_testkit::go_module;

use crate::cilium::VALUES;
use crate::fixture::{Ended, Lab, bundle_has, bundle_with};
use crate::networks::{CALICO, MODULE};

const MACHINES: [&str; 3] = ["node1", "node2", "node3"];

/// A server on one machine, who asks on another one, and a service with a port on each node.
const PODS: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: server, labels: {app: server}},
 spec: {nodeName: node2, containers: [{name: a, image: IMAGE, args: [netexec, --http-port=8080]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: far}, spec: {nodeName: node3, containers: [{name: a, image: IMAGE, args: [pause]}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: both},
 spec: {type: NodePort, ipFamilyPolicy: PreferDualStack, selector: {app: server}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: one}, spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}}
"#;

/// What of IPv6 a machine has outside of any cluster, and what of a cluster's rules.
const IPV6: &str = "ip -6 route show | grep -v '^fe80' | sort; ip -6 -o addr show scope global | awk '{ print $2, $4 }' | sort; \
                    ls /sys/class/net; cat /proc/sys/net/ipv6/conf/all/forwarding; ip6tables-save | grep -cE 'KUBE|FLANNEL' || true";

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

/// Writes the inventory: the first machine leads, and all are workers; with these variables of all.
fn write(lab: &Lab, machines: u8, variables: &str) {
    let host = |n: u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n));
    let hosts: String = (1..=machines).map(host).collect();
    let groups = format!("[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode[1:{machines}]\n");
    fs::create_dir_all(lab.folder().join("inventory/group_vars")).unwrap();
    fs::write(lab.folder().join("inventory/hosts.ini"), format!("{hosts}{groups}")).unwrap();
    fs::write(lab.folder().join("inventory/group_vars/all.yml"), variables).unwrap();
}

fn kubectl(lab: &Lab, words: &[&str]) -> String {
    done(lab.muster(&[&["kubectl"], words].concat())).out
}

/// That there are two of them, of IPv4 and of IPv6; returns them.
fn both(said: &str) -> [String; 2] {
    let all: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
    let [ipv4, ipv6] = <[String; 2]>::try_from(all).unwrap_or_else(|all| panic!("{all:?}"));
    assert!(ipv4.contains('.') && ipv6.contains(':'), "{ipv4} {ipv6}");
    [ipv4, ipv6]
}

fn nothing_changed(ended: &Ended, machines: &[&str]) {
    assert_eq!(ended.code, 0, "{ended:#?}");
    for machine in machines {
        assert_eq!(ended.recap(machine, "changed"), 0, "{machine}: {ended:#?}");
    }
}

#[test]
#[ignore = "it takes six minutes: two clusters are made; ./test --all"]
fn pods_and_services_have_addresses_of_both_families_and_a_reset_leaves_none() {
    let lab = Lab::up(83, &["--ipv6"]);
    write(&lab, 3, "ipv6_stack: true\n");
    let before = MACHINES.map(|machine| lab.on(machine, IPV6));

    // What would not do is refused before anything.
    for (setting, said) in [
        ("kube_service_addresses_ipv6=fd01::/64", "kube_service_addresses_ipv6"),
        ("kube_pods_subnet_ipv6=fd00::/16", "kube_pods_subnet_ipv6"),
        ("kube_network_plugin=none", "kube_network_plugin"),
        ("ipv4_stack=false", "ipv4_stack"),
    ] {
        let refused = lab.muster(&["setup-cluster", "-e", setting]);
        assert!(refused.code == 3 && refused.all().contains(said), "{setting}: {refused:#?}");
    }
    assert!(!lab.has("node1", "/etc/kubernetes"));

    // Every pod reaches every pod, the service and each node by both: the run itself tests it.
    done(lab.muster(&["setup-cluster"]));
    for machine in MACHINES {
        let of =
            |field: &str| kubectl(&lab, &["get", "node", machine, "-o", &format!("jsonpath={{{field}}}")]);
        both(&of(r#".status.addresses[?(@.type=="InternalIP")].address"#));
        both(&of(".spec.podCIDRs[*]"));
    }
    nothing_changed(&lab.muster(&["setup-cluster"]), &MACHINES);

    fs::write(lab.folder().join("pods.yml"), PODS.replace("IMAGE", &lab.agnhost())).unwrap();
    kubectl(&lab, &["apply", "-f", "pods.yml"]);
    kubectl(&lab, &["wait", "--for=condition=Ready", "--timeout=120s", "pods", "--all"]);
    let [pod, pod6] =
        both(&kubectl(&lab, &["get", "pod", "server", "-o", "jsonpath={.status.podIPs[*].ip}"]));
    let [service, service6] =
        both(&kubectl(&lab, &["get", "svc", "both", "-o", "jsonpath={.spec.clusterIPs[*]}"]));
    for target in
        [format!("{pod}:8080"), format!("[{pod6}]:8080"), format!("{service}:80"), format!("[{service6}]:80")]
    {
        // A pod counts as ready before it listens, and services lead to it a moment later.
        let connect = ["kubectl", "exec", "far", "--", "/agnhost", "connect", "--timeout=3s", &target];
        assert!((0..20).any(|_| lab.muster(&connect).code == 0), "{target}");
    }
    // From outside, at every node. A service that says nothing has IPv4 alone.
    for n in 1..=3 {
        for node in [lab.address(n), format!("[fd00:10:146:83::{}]", n + 3)] {
            let url = format!("http://{node}:30080/hostname");
            assert_eq!(done(lab.exec(&["curl", "-gsS", "--max-time", "5", &url])).out, "server", "{url}");
        }
    }
    assert!(!kubectl(&lab, &["get", "svc", "one", "-o", "jsonpath={.spec.clusterIPs[*]}"]).contains(':'));
    done(lab.muster(&["verify"]));

    // A cluster keeps its families.
    let refused = lab.muster(&["setup-cluster", "-e", "ipv6_stack=false"]);
    assert!(refused.code == 3 && refused.all().contains("begun"), "{refused:#?}");

    done(lab.muster(&["reset-cluster", "--yes"]));
    assert_eq!(MACHINES.map(|machine| lab.on(machine, IPV6)), before);

    // One that was begun with one of them, too.
    done(lab.muster(&["setup-cluster", "-e", "ipv6_stack=false"]));
    let refused = lab.muster(&["setup-cluster"]);
    assert!(refused.code == 3 && refused.all().contains("begun"), "{refused:#?}");
    nothing_changed(&lab.muster(&["setup-cluster", "-e", "ipv6_stack=false"]), &MACHINES);
}

#[test]
#[ignore = "it takes four minutes; ./test --all"]
fn cilium_carries_both_families_and_a_reset_leaves_none() {
    if !bundle_has("cilium/cilium") {
        eprintln!("skipped: the bundle has no cilium (muster bundle build --with cilium --with helm)");
        return;
    }
    let lab = Lab::up(84, &["--ipv6", "-n", "2"]);
    let machines = &MACHINES[..2];
    write(&lab, 2, &format!("{VALUES}ipv6_stack: true\n"));
    let before: Vec<String> =
        machines.iter().map(|machine| lab.on(machine, &format!("{IPV6}; ip -6 rule"))).collect();
    done(lab.muster(&["setup-cluster", "--offline"]));
    nothing_changed(&lab.muster(&["setup-cluster", "--offline"]), machines);
    done(lab.muster(&["verify"]));
    done(lab.muster(&["reset-cluster", "--yes"]));
    let after: Vec<String> =
        machines.iter().map(|machine| lab.on(machine, &format!("{IPV6}; ip -6 rule"))).collect();
    assert_eq!(after, before);
}

#[test]
#[ignore = "it takes two minutes; ./test --all"]
fn calicos_objects_of_both_families_are_taken_by_a_real_api_server() {
    let Some(manifest) = go_module::sources(MODULE) else {
        eprintln!("skipped: the Go module proxy does not give calico's manifest");
        return;
    };
    let lab = Lab::up(85, &["--ipv6", "-n", "1"]);
    let variables = "ipv6_stack: true\nkube_network_plugin: calico\ncalico_timeout: 5\n";
    write(&lab, 1, &format!("{variables}calico_version: {CALICO}\n"));
    let bundle = lab.folder().join("bundle");
    let images =
        ["node", "cni", "kube-controllers", "typha"].map(|name| format!("quay.io/calico/{name}:v{CALICO}"));
    let manifest = manifest.join("manifests/calico-typha.yaml");
    bundle_with(&bundle, &[("calico-manifest", CALICO, &manifest)], &images);
    let setup = || lab.muster(&["setup-cluster", "--offline", "-vv", "--bundle", bundle.to_str().unwrap()]);
    // Images without a program start nothing: as far as that it goes.
    let first = setup();
    assert!(first.code == 2 && first.out.contains("calico has connected the pods: not within"), "{first:#?}");
    let second = setup();
    assert!(second.out.contains("calico: Apply calico: nothing to do"), "{second:#?}");
    let get = |words: &str| {
        lab.on("node1", &format!("kubectl --kubeconfig /etc/kubernetes/admin.conf get {words}"))
    };
    assert_eq!(
        get("ippools -o 'jsonpath={.items[*].metadata.name}'").trim(),
        "default-pool default-pool-ipv6"
    );
    both(&get("ippools -o 'jsonpath={.items[*].spec.cidr}'"));
}
