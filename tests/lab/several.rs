//! Several of everything: control planes, members of etcd; and what is changed in a cluster that stands.

use std::fs;

use crate::fixture::{Ended, Lab};
use crate::secrets;

fn inventory(lab: &Lab) -> String {
    let hosts: String = (1..=3)
        .map(|n| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n)))
        .collect();
    format!(
        "[all]\n{hosts}[kube_control_plane]\nnode1\nnode2\n[etcd]\nnode1\nnode2\nnode3\n[kube_node]\nnode2\nnode3\n"
    )
}

fn changed(ended: &Ended) -> [u32; 3] {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ["node1", "node2", "node3"].map(|host| ended.recap(host, "changed"))
}

fn nothing_changed(ended: &Ended) {
    assert_eq!(changed(ended), [0, 0, 0], "{ended:#?}");
}

#[test]
fn two_control_planes_three_members_of_etcd_and_changed_variables() {
    let lab = Lab::up(236, &["--debian", "13"]);
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(folder.join("group_vars")).unwrap();
    fs::write(folder.join("hosts.ini"), inventory(&lab)).unwrap();
    let write = |text: &str| fs::write(folder.join("group_vars/k8s_cluster.yml"), text).unwrap();
    let network = "flannel_backend_type: host-gw\nkube_proxy_mode: nftables\n";

    // A firewall between two machines is found before anything is changed.
    write(network);
    lab.on("node1", &format!("iptables -I INPUT -s {} -p tcp --dport 6443 -j DROP", lab.address(3)));
    let closed = lab.muster(&["preflight"]);
    assert_eq!(closed.code, 3, "{closed:#?}");
    assert!(
        closed.out.contains("node3 gets no answer from node1") && !closed.out.contains("node2 gets"),
        "{closed:#?}"
    );
    lab.on("node1", "iptables -D INPUT 1");

    let machines = ["node1", "node2", "node3"];
    secrets::watch(&lab, &machines);
    let first = lab.muster(&["setup-cluster", "-vvv", "--diff"]);
    assert!(changed(&first).iter().all(|n| *n > 0));
    secrets::nowhere_to_be_read(&lab, &machines, &first);
    nothing_changed(&lab.muster(&["setup-cluster"]));
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    let planes = kubectl(&["get", "nodes", "-l", "node-role.kubernetes.io/control-plane", "--no-headers"]);
    assert_eq!(planes.lines().filter(|line| line.contains(" Ready ")).count(), 2, "{planes}");
    let members = lab.on(
        "node2",
        "etcdctl --cacert /etc/ssl/etcd/ssl/ca.pem --cert /etc/ssl/etcd/ssl/member.pem --key /etc/ssl/etcd/ssl/member-key.pem member list",
    );
    assert_eq!(members.lines().filter(|line| line.contains("started")).count(), 3, "{members}");
    assert!(
        lab.on("node3", "ip route").contains(&format!("10.233.64.0/24 via {}", lab.address(1))),
        "no host-gw"
    );
    assert!(lab.on("node3", "nft list tables").contains("kube-proxy"), "no nftables");

    // What is changed reaches machines that have joined, and only what is changed.
    write(&format!(
        "{network}kubelet_max_pods: 77\nkube_apiserver_node_port_range: 30000-31000\n\
         supplementary_addresses_in_ssl_keys: [cluster.example.org]\n"
    ));
    fs::create_dir(folder.join("host_vars")).unwrap();
    let labels = |text: &str| fs::write(folder.join("host_vars/node3.yml"), text).unwrap();
    labels(
        "node_labels: {room: \"104\", node-role.kubernetes.io/worker: \"\"}\nnode_taints: [\"course=1:PreferNoSchedule\"]\n",
    );
    let [one, two, three] = changed(&lab.muster(&["setup-cluster"]));
    assert!(one > 0 && two > 0 && three > 0);
    nothing_changed(&lab.muster(&["setup-cluster"]));
    let pods = kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].status.capacity.pods}"]);
    assert_eq!(pods, "77 77 77");
    let node = kubectl(&["get", "node", "node3", "-o", "jsonpath={.metadata.labels} {.spec.taints}"]);
    assert!(node.contains("\"room\":\"104\"") && node.contains("node-role.kubernetes.io/worker"), "{node}");
    assert!(node.contains("PreferNoSchedule"), "{node}");
    for (number, plane) in [(1, "node1"), (2, "node2")] {
        assert!(lab.on(plane, "cat /etc/kubernetes/manifests/kube-apiserver.yaml").contains("30000-31000"));
        // The certificate is good for the new name.
        let server = format!("--server=https://{}:6443", lab.address(number));
        assert_eq!(
            kubectl(&[&server, "--tls-server-name=cluster.example.org", "get", "--raw", "/readyz"]),
            "ok"
        );
    }
    // What somebody has taken away comes back, and what somebody else has set stays.
    kubectl(&["label", "node", "node3", "room-", "mine=1"]);
    assert_ne!(changed(&lab.muster(&["setup-cluster"])), [0, 0, 0]);
    let node = kubectl(&["get", "node", "node3", "-o", "jsonpath={.metadata.labels}"]);
    assert!(node.contains("\"room\":\"104\"") && node.contains("\"mine\":\"1\""), "{node}");
    labels("node_labels: {}\n");
    changed(&lab.muster(&["setup-cluster"]));
    let node = kubectl(&["get", "node", "node3", "-o", "jsonpath={.metadata.labels} {.spec.taints}"]);
    assert!(!node.contains("room") && !node.contains("worker") && !node.contains("course"), "{node}");

    // A set of objects goes as a whole, and comes back.
    let both = "deployment.apps/coredns\ndeployment.apps/coredns-secondary\n";
    for (mode, found) in [("none", ""), ("coredns_dual", both), ("coredns", "deployment.apps/coredns\n")] {
        changed(&lab.muster(&["setup-cluster", "-e", &format!("dns_mode={mode}")]));
        let objects = ["-n", "kube-system", "get", "deployment", "--ignore-not-found", "-o", "name"];
        assert_eq!(kubectl(&objects), found);
        let asked = lab.on("node3", "grep -A2 '^clusterDNS' /var/lib/kubelet/config.yaml");
        assert_eq!(asked.contains("10.233.0.4"), mode == "coredns_dual", "{asked}");
        if mode == "coredns_dual" {
            // The second one answers while the first one is away.
            kubectl(&["-n", "kube-system", "scale", "deployment", "coredns", "--replicas=0"]);
            lab.on("node3", "timeout 5 bash -c '</dev/tcp/10.233.0.4/53'");
            let again = lab.muster(&["setup-cluster", "-e", "dns_mode=coredns_dual"]);
            assert!(changed(&again).iter().sum::<u32>() > 0, "the first one is back: {again:#?}");
        }
    }
    // Pods that run ask CoreDNS, and would find no names any more.
    let manual = ["setup-cluster", "-e", "dns_mode=manual", "-e", "manual_dns_server=192.0.2.53"];
    let refused = lab.muster(&manual);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.all().contains("10.233.0.3"), "{refused:#?}");

    // What a cluster was begun with cannot be changed under it.
    let refused = lab.muster(&["setup-cluster", "-e", "kube_pods_subnet=10.234.0.0/18"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.out.contains("begun with 10.233.64.0/18"), "{refused:#?}");
}
