//! cilium: pods reach pods on other machines, a policy denies, a second run changes nothing, and a reset leaves nothing.
//!
//! The lab's machines lack what a real one has: capabilities of the kernel (the agent is told to take those that there are), the
//! proxy for application protocols, which cannot be compiled here, and control groups of version 2 alone.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{Ended, Lab, bundle_has};

/// What the lab's machines need to be told.
pub(crate) const VALUES: &str = r#"
kube_network_plugin: cilium
cilium_extra_values:
  envoy: {enabled: false}
  l7Proxy: false
  securityContext: {privileged: true}
  resources: {limits: {cpu: "2", memory: 1Gi}}
"#;

const PODS: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: server, labels: {app: server}},
 spec: {nodeName: node1, containers: [{name: a, image: IMAGE, args: [netexec, --http-port=8080]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: near, labels: {app: client}},
 spec: {nodeName: node1, containers: [{name: a, image: IMAGE, args: [pause]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: far, labels: {app: client}},
 spec: {nodeName: node2, containers: [{name: a, image: IMAGE, args: [pause]}]}}
"#;

/// What programs have in the kernel's file system for them; the kernel's own two come with it, whoever mounts it.
const PINNED: &str = "ls /sys/fs/bpf | grep -v '^\\(maps\\|progs\\)\\.debug$' || true";

/// What networks have outside of containers, and whether the kernel asks if a packet's sender can be true.
const LINKS: &str = "ip -4 rule; ls /sys/class/net; cat /proc/sys/net/ipv4/conf/all/rp_filter";

const DENY: &str = r#"
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny}, spec: {podSelector: {matchLabels: {app: server}}}}
"#;

const OWN_KIND: &str = r#"
{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: own},
 spec: {endpointSelector: {matchLabels: {app: server}}, ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}]}}
"#;

fn kubectl(lab: &Lab, words: &[&str]) -> String {
    let ended = lab.muster(&[&["kubectl"], words].concat());
    assert_eq!(ended.code, 0, "{words:?}: {ended:#?}");
    ended.out
}

fn apply(lab: &Lab, objects: &str) {
    fs::write(lab.folder().join("objects.yaml"), objects).unwrap();
    kubectl(lab, &["apply", "-f", "objects.yaml"]);
}

fn nothing_changed(ended: &Ended) {
    let changed = ["node1", "node2"].map(|node| ended.recap(node, "changed"));
    assert_eq!((ended.code, changed), (0, [0; 2]), "{ended:#?}");
}

/// Waits until a client does, or does not, reach the server.
fn reaches(lab: &Lab, client: &str, server: &str, expected: bool) {
    let begun = Instant::now();
    let ask = ["kubectl", "exec", client, "--", "/agnhost", "connect", "--timeout=1s", server];
    while (lab.muster(&ask).code == 0) != expected {
        assert!(begun.elapsed() < Duration::from_secs(60), "{client} reaches {server}: not {expected}");
        thread::sleep(Duration::from_secs(1));
    }
}

#[test]
#[ignore = "it takes six minutes; ./test --all"]
fn pods_reach_each_other_through_cilium_policies_hold_and_a_reset_leaves_nothing() {
    if !bundle_has("cilium/cilium") {
        eprintln!("skipped: the bundle has no cilium (muster bundle build --with cilium --with helm)");
        return;
    }
    let lab = Lab::up(119, &["-n", "2"]);
    let before = [lab.on("node1", LINKS), lab.on("node2", PINNED)];
    fs::create_dir_all(lab.folder().join("inventory/group_vars")).unwrap();
    let hosts = format!(
        "node1 ansible_host={0}\nnode2 ansible_host={1}\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\nnode2\n",
        lab.address(1),
        lab.address(2)
    );
    fs::write(lab.folder().join("inventory/hosts.ini"), hosts).unwrap();
    fs::write(lab.folder().join("inventory/group_vars/all.yml"), VALUES).unwrap();
    let setup = |args: &[&str]| lab.muster(&[&["setup-cluster", "--offline"], args].concat());
    let first = setup(&[]);
    assert_eq!(first.code, 0, "{first:#?}");
    for machine in ["node1", "node2"] {
        assert!(lab.has(machine, "/etc/cni/net.d/05-cilium.conflist"), "{machine}");
    }
    let second = setup(&[]);
    nothing_changed(&second);

    apply(&lab, &PODS.replace("IMAGE", &lab.agnhost()));
    kubectl(&lab, &["wait", "--for=condition=Ready", "--timeout=120s", "pods", "--all"]);
    let address = kubectl(&lab, &["get", "pod", "server", "-o", "jsonpath={.status.podIP}"]);
    let server = format!("{address}:8080");
    for client in ["near", "far"] {
        reaches(&lab, client, &server, true);
    }
    apply(&lab, DENY);
    for client in ["near", "far"] {
        reaches(&lab, client, &server, false);
    }
    apply(&lab, OWN_KIND);
    for client in ["near", "far"] {
        reaches(&lab, client, &server, true);
    }

    // What a variable says reaches the agents, which begin anew.
    let debug = setup(&["-e", "cilium_debug=true"]);
    assert_eq!(debug.code, 0, "{debug:#?}");
    let told =
        kubectl(&lab, &["-n", "kube-system", "get", "cm", "cilium-config", "-o", "jsonpath={.data.debug}"]);
    assert_eq!(told, "true");

    // Nor do pods get addresses in another way.
    let other = setup(&["-e", "cilium_ipam_mode=kubernetes"]);
    assert!(other.code != 0 && other.out.contains("set cilium_ipam_mode: cluster-pool"), "{other:#?}");

    // Another network is refused before anything.
    let other = setup(&["-e", "kube_network_plugin=flannel"]);
    assert!(other.code == 3 && other.out.contains("kube_network_plugin"), "{other:#?}");

    let reset = lab.muster(&["reset-cluster", "--yes"]);
    assert_eq!(reset.code, 0, "{reset:#?}");
    let after = [lab.on("node1", LINKS), lab.on("node2", PINNED)];
    assert_eq!(after, before);
    for path in [
        "/run/cilium",
        "/var/lib/cilium",
        "/etc/cni/net.d/05-cilium.conflist",
        "/opt/cni/bin/cilium-cni",
        "/etc/sysctl.d/99-zzz-override_cilium.conf",
    ] {
        assert!(!lab.has("node1", path) && !lab.has("node2", path), "{path}");
    }
    for machine in ["node1", "node2"] {
        let rules = lab.on(machine, "iptables-save | grep -c CILIUM || true");
        assert_eq!(rules.trim(), "0", "{machine}");
    }
}

/// What is left of kube-proxy in the cluster and, of its rules, on the machines.
fn kube_proxy(lab: &Lab) -> (String, [String; 2]) {
    let get = ["-n", "kube-system", "get", "daemonset/kube-proxy", "configmap/kube-proxy"];
    let objects = kubectl(lab, &[&get[..], &["--ignore-not-found", "-o", "name"]].concat());
    let rules =
        |machine: &str| lab.on(machine, "iptables-save | grep -c '^:KUBE-\\(SVC\\|SERVICES\\)' || true");
    (objects, ["node1", "node2"].map(|machine| rules(machine).trim().to_owned()))
}

#[test]
#[ignore = "it takes ten minutes; ./test --all"]
fn cilium_carries_services_alone_gives_them_to_kube_proxy_and_takes_them_over_again() {
    if !bundle_has("cilium/cilium") {
        eprintln!("skipped: the bundle has no cilium (muster bundle build --with cilium --with helm)");
        return;
    }
    let lab = Lab::up(123, &["-n", "2"]);
    fs::create_dir_all(lab.folder().join("inventory/group_vars")).unwrap();
    let hosts = format!(
        "node1 ansible_host={0}\nnode2 ansible_host={1}\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\nnode2\n",
        lab.address(1),
        lab.address(2)
    );
    fs::write(lab.folder().join("inventory/hosts.ini"), hosts).unwrap();
    let values = format!("{VALUES}cilium_kube_proxy_replacement: true\nverify_network: always\n");
    fs::write(lab.folder().join("inventory/group_vars/all.yml"), values).unwrap();
    // Each run tests services by their name, their address and a port of each node.
    let setup = |args: &[&str]| {
        let ended = lab.muster(&[&["setup-cluster", "--offline"], args].concat());
        assert_eq!(ended.code, 0, "{args:?}: {ended:#?}");
        ended
    };
    let nothing = (String::new(), ["0", "0"].map(str::to_owned));
    setup(&[]);
    assert_eq!(kube_proxy(&lab), nothing);
    let second = setup(&[]);
    nothing_changed(&second);

    // kube-proxy comes first on the way back.
    let back = ["-e", "kube_proxy_remove=false", "-e", "cilium_kube_proxy_replacement=false"];
    let first = setup(&back);
    assert!(
        first.out.contains("kube-proxy on every node, before cilium gives the services up"),
        "{first:#?}"
    );
    let (objects, rules) = kube_proxy(&lab);
    assert_eq!(objects, "daemonset.apps/kube-proxy\nconfigmap/kube-proxy\n");
    assert!(rules.iter().all(|count| count != "0"), "{rules:?}");
    let second = setup(&back);
    nothing_changed(&second);

    // Without cilium it stays.
    let refused =
        lab.muster(&["setup-cluster", "--offline", "-e", "kube_proxy_remove=true", back[2], back[3]]);
    assert!(refused.code == 3 && refused.all().contains("kube_proxy_remove"), "{refused:#?}");

    let again = setup(&[]);
    assert!(again.out.contains("rules of kube-proxy (removed)"), "{again:#?}");
    assert_eq!(kube_proxy(&lab), nothing);
    // The kubelet's own chains are there.
    assert!(lab.on("node2", "iptables-save").contains(":KUBE-KUBELET-CANARY"));
    let second = setup(&[]);
    nothing_changed(&second);
}

#[test]
#[ignore = "it takes two minutes; ./test --all"]
fn the_objects_of_ones_own_network_are_applied_and_go_when_they_are_taken_out() {
    let lab = Lab::up(120, &["-n", "1"]);
    let map = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: kube-system}}, data: {{port: '{{{{ kube_apiserver_port }}}}'}}}}\n"
        )
    };
    fs::write(lab.folder().join("net.yml"), format!("{}---\n{}", map("net-a"), map("net-b"))).unwrap();
    // Nobody brings a plugin, so no node becomes Ready: as far as that it goes.
    let setup = |args: &[&str]| {
        // Whoever brings such a network may bring what carries services, too.
        let network = [
            "-e",
            "kube_network_plugin=custom_cni",
            "-e",
            "verify_timeout=5",
            "-e",
            "kube_proxy_remove=true",
        ];
        lab.muster(&[&["setup-cluster", &lab.pattern(1), "--offline"], &network[..], args].concat())
    };
    let file = serde_json::json!({ "custom_cni_manifests": [lab.folder().join("net.yml")] }).to_string();
    let none = setup(&[]);
    assert!(none.code == 3 && none.err.contains("custom_cni_manifests is empty"), "{none:#?}");
    let first = setup(&["-e", &file]);
    assert!(first.out.contains("custom-cni: Apply custom-cni: changed"), "{first:#?}");
    let has = |name: &str| {
        let get = format!(
            "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get cm {name} -o 'jsonpath={{.data.port}}' || true"
        );
        lab.on("node1", &get)
    };
    assert_eq!((has("net-a"), has("net-b")), ("6443".to_owned(), "6443".to_owned()));
    let list =
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get daemonsets,configmaps -o name";
    let system = lab.on("node1", list);
    assert!(!system.contains("kube-proxy") && system.contains("configmap/kubeadm-config"), "{system}");
    let other = setup(&["-e", &file, "-e", "kube_proxy_remove=false"]);
    assert!(other.code != 3 && lab.on("node1", list).contains("daemonset.apps/kube-proxy"), "{other:#?}");
    // Nobody sees whether this network carries services.
    let refused = setup(&["-e", &file]);
    assert!(refused.code == 3 && refused.all().contains("cluster has a kube-proxy"), "{refused:#?}");
    lab.on(
        "node1",
        &format!("{} delete daemonset/kube-proxy configmap/kube-proxy", list.split(" get ").next().unwrap()),
    );
    fs::write(lab.folder().join("net.yml"), map("net-a")).unwrap();
    let second = setup(&["-e", &file]);
    assert!(second.out.contains("custom-cni: Apply custom-cni: changed"), "{second:#?}");
    assert_eq!((has("net-a"), has("net-b")), ("6443".to_owned(), String::new()));
}
