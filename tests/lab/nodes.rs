//! Machines leave a cluster, and come back: a worker whose pods a budget protects, a control plane that was installed anew, a
//! member of etcd that is dead, the control plane that was born first; and a machine that left is taken in again.

use std::fs;
use std::time::Instant;

use crate::fixture::{Ended, Lab};

/// An application on node4 with a budget that does not let it go, and a pod there that nobody makes anew.
const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity:
        nodeAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - {weight: 100, preference: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node4]}]}}
      containers: [{name: pause, image: "registry.k8s.io/pause:3.10.2", imagePullPolicy: Never}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: shop, namespace: default}
spec: {minAvailable: 1, selector: {matchLabels: {app: shop}}}
---
apiVersion: v1
kind: Pod
metadata: {name: debug, namespace: default}
spec:
  nodeName: node4
  terminationGracePeriodSeconds: 1
  containers: [{name: pause, image: "registry.k8s.io/pause:3.10.2", imagePullPolicy: Never}]
"#;

fn inventory(lab: &Lab) -> String {
    let hosts: String =
        (1..=4).map(|n| format!("node{n} ansible_host={0} ip={0}   # {n}\n", lab.address(n))).collect();
    format!(
        "# Room 104.\n[all]\n{hosts}[kube_control_plane]\nnode1\nnode2\n[etcd]\nnode1\nnode2\nnode3\n[kube_node]\nnode1\nnode2\nnode3\nnode4\n"
    )
}

#[test]
#[ignore = "it takes ten minutes; ./test --all"]
fn a_worker_a_dead_member_and_the_first_control_plane_leave_and_one_is_replaced() {
    let lab = Lab::up(240, &["-n", "4"]);
    let file = lab.folder().join("inventory/hosts.ini");
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    fs::write(&file, inventory(&lab)).unwrap();
    let done = |ended: Ended| {
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    done(lab.muster(&["setup-cluster"]));
    let kubectl = |words: &[&str]| done(lab.muster(&[&["kubectl"], words].concat()));
    let nodes = || kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]);

    // Nobody is asked without a terminal, and nothing is done.
    let asked = lab.muster(&["remove-node", "node4"]);
    let told = "there is no terminal to ask whether node4 may leave the cluster";
    assert!(asked.code == 5 && asked.err.contains(told) && asked.err.contains("--yes"), "{asked:#?}");

    // A budget holds the drain up: it is shown, told, and the node gets pods again.
    let manifest = lab.folder().join("shop.yml");
    fs::write(&manifest, SHOP).unwrap();
    kubectl(&["apply", "-f", manifest.to_str().unwrap()]);
    kubectl(&["rollout", "status", "deployment/shop", "--timeout=60s"]);
    let check = done(lab.muster(&["remove-node", "node4", "--check", "--diff", "-v"]));
    assert!(
        check.contains("PodDisruptionBudget default/shop of Deployment shop (minAvailable 1)")
            && check.contains("1 pod without a controller deleted for good: default/debug"),
        "{check}"
    );
    let short = ["drain_timeout=9s", "drain_retries=1", "drain_retry_delay_seconds=1"];
    let short: Vec<&str> = short.iter().flat_map(|setting| ["-e", setting]).collect();
    let blocked = lab.muster(&[&["remove-node", "node4", "--yes", "--output", "plain"], &short[..]].concat());
    let told = blocked.all();
    assert!(
        blocked.code == 2 && told.contains("could not be drained within 9 s in 2 attempts"),
        "{blocked:#?}"
    );
    let waits = |line: &str| {
        line.contains("under way") && line.contains("lets none of its pods go now: default/shop")
    };
    assert!(told.lines().any(waits) && told.contains("drain_fallback_enabled=true"), "{blocked:#?}");
    let cordoned =
        kubectl(&["get", "node", "node4", "-o", "jsonpath={.spec.unschedulable} {.metadata.annotations}"]);
    assert!(!cordoned.starts_with("true") && !cordoned.contains("muster.io/cordoned"), "{cordoned}");
    kubectl(&["delete", "poddisruptionbudget", "shop"]);
    let begun = Instant::now();
    done(lab.muster(&["remove-node", "node4", "--yes"]));
    eprintln!("remove-node of a worker with its drain: {:?}", begun.elapsed());
    assert_eq!(nodes(), "node1 node2 node3");
    kubectl(&["rollout", "status", "deployment/shop", "--timeout=60s"]);
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        inventory(&lab)
            .lines()
            .filter(|l| !l.contains("node4"))
            .map(|l| format!("{l}\n"))
            .collect::<String>()
    );

    // A control plane with a member of etcd is installed anew.
    done(lab.lab(&["reimage", "node1"]));
    done(lab.muster(&["replace-node", "node1"]));
    let ready =
        || kubectl(&["get", "nodes", "--no-headers"]).lines().filter(|line| line.contains(" Ready ")).count();
    assert_eq!(ready(), 3);

    // One that is dead leaves; then etcd has two members, and none of them may fail.
    done(lab.lab(&["kill", "node3"]));
    done(lab.muster(&["remove-node", "node3", "--yes"]));
    let members = |on: &str| {
        let files = "--cacert /etc/ssl/etcd/ssl/ca.pem --cert /etc/ssl/etcd/ssl/member.pem --key /etc/ssl/etcd/ssl/member-key.pem";
        lab.on(on, &format!("etcdctl {files} member list")).lines().count()
    };
    assert_eq!((nodes().as_str(), members("node2")), ("node1 node2", 2));

    // The address of the API goes with the first control plane: the others find it elsewhere.
    done(lab.muster(&["remove-node", "node1", "--yes"]));
    assert_eq!((nodes().as_str(), members("node2")), ("node2", 1));
    let last = lab.muster(&["remove-node", "node2", "--yes"]);
    assert!(last.code == 5 && last.err.contains("no control plane would be left"), "{last:#?}");

    // The machine that left first is taken in again, at the API's new address. Nothing changes on the others; CoreDNS alone
    // gets its second replica, which there is where there are two nodes, and is on both in the end: it may have to move for that.
    let node4 = format!("node4 ansible_host={0} ip={0}\n[kube_control_plane]", lab.address(4));
    let text = fs::read_to_string(&file).unwrap().replace("[kube_control_plane]", &node4);
    fs::write(&file, format!("{text}node4\n")).unwrap();
    let grown = lab.muster(&["setup-cluster"]);
    assert!(grown.code == 0 && (1..=2).contains(&grown.recap("node2", "changed")), "{grown:#?}");
    assert!(grown.all().contains("Deployment kube-system/coredns: changed"), "{grown:#?}");
    let path = r#"jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}"#;
    let places =
        lab.muster(&["kubectl", "-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", path]);
    let places: std::collections::BTreeSet<&str> = places.out.lines().collect();
    assert_eq!(places.into_iter().collect::<Vec<_>>(), ["node2", "node4"], "{grown:#?}");
    assert_eq!((nodes().as_str(), ready()), ("node2 node4", 2));
}
