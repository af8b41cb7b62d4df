//! A load balancer of somebody else's in front of two control planes: a cluster begins with it, it gets a name, and it goes away
//! again, while somebody asks the API.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::fixture::{Ended, Lab};

const NODES: [&str; 3] = ["node1", "node2", "node3"];
const BALANCER: &str = "/etc/kubernetes/manifests/api-balancer.yaml";

/// Passes each connection on to one of two servers, and to the other one where that does not take it.
const PASS_ON: &str = r#"#!/bin/sh
first=$1 second=$2
if [ $(($$ % 2)) = 0 ]; then first=$2 second=$1; fi
socat - "TCP:$first:6443,connect-timeout=1" || exec socat - "TCP:$second:6443,connect-timeout=1"
"#;

fn inventory(lab: &Lab) -> String {
    let host = |n: u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n));
    let hosts: String = (1..=3).map(host).collect();
    format!("[all]\n{hosts}[kube_control_plane]\nnode[1:2]\n[etcd]\nnode1\n[kube_node]\nnode3\n")
}

fn set_up(lab: &Lab) -> Ended {
    let ended = lab.muster(&["setup-cluster"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

fn nothing_is_left_to_do(lab: &Lab) {
    let again = set_up(lab);
    assert_eq!(NODES.map(|host| again.recap(host, "changed")), [0; 3], "{again:#?}");
}

/// Sets the cluster up while the worker asks where its kubelet does, five times a second: none of its requests may fail.
fn set_up_while_asked(lab: &Lab, what: &str) {
    let client = include_str!("client.sh").replace('\'', "'\\''");
    let counted = thread::scope(|scope| {
        let asked = scope.spawn(|| lab.on("node3", &format!("sh -c '{client}' client 45")));
        thread::sleep(Duration::from_secs(1));
        set_up(lab);
        asked.join().unwrap()
    });
    println!("{what}: {} requests failed", counted.trim());
    assert!(counted.starts_with("0 of ") && !counted.starts_with("0 of 0"), "{what}: {counted}");
}

/// Where the cluster says that its API is, and where its machines look for it.
fn leads_to(lab: &Lab, url: &str) {
    let told =
        |words: &str| lab.on("node1", &format!("kubectl --kubeconfig /etc/kubernetes/admin.conf {words}"));
    for words in [
        "-n kube-system get configmap kube-proxy -o yaml",
        "-n kube-public get configmap cluster-info -o yaml",
    ] {
        let told = told(words);
        assert!(told.contains(&format!("server: {url}\n")), "{words}: {told}");
    }
    let config = told("-n kube-system get configmap kubeadm-config -o yaml");
    let endpoint = url.trim_start_matches("https://");
    assert!(config.contains(&format!("controlPlaneEndpoint: {endpoint}\n")), "{config}");
    for (machine, conf) in
        [("node1", "admin"), ("node1", "super-admin"), ("node2", "admin"), ("node3", "kubelet")]
    {
        let server = lab.on(machine, &format!("grep server: /etc/kubernetes/{conf}.conf"));
        assert_eq!(server.trim(), format!("server: {url}"), "{conf}.conf of {machine}");
    }
}

#[test]
#[ignore = "it takes more than three minutes; ./test --all"]
fn a_load_balancer_of_somebody_else_s_is_taken_up_renamed_and_left() {
    let lab = Lab::up(244, &["-n", "3"]);
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(folder.join("group_vars")).unwrap();
    fs::write(folder.join("hosts.ini"), inventory(&lab)).unwrap();
    let variables = |text: &str| fs::write(folder.join("group_vars/all.yml"), text).unwrap();
    let balancer = lab.address(3);
    let at = |port: &str| format!("loadbalancer_apiserver: {{address: {balancer}, port: {port}}}\n");

    // It is there before there is anybody to pass connections on to.
    let [one, two] = [1, 2].map(|number| lab.address(number));
    lab.on(
        "node3",
        &format!(
            "cat >/root/pass-on <<'EOT'\n{PASS_ON}EOT\nchmod +x /root/pass-on; \
             systemd-run -q socat TCP-LISTEN:8443,fork,reuseaddr EXEC:'/root/pass-on {one} {two}'"
        ),
    );
    variables(&at("8443"));
    set_up(&lab);
    leads_to(&lab, &format!("https://{balancer}:8443"));
    assert!(!lab.has("node3", BALANCER));
    nothing_is_left_to_do(&lab);

    // Where nobody answers, and where somebody else does, nobody is led.
    for (port, found) in [("8444", "refused"), ("10250", "x509:")] {
        variables(&at(port));
        let refused = lab.muster(&["setup-cluster"]);
        assert_eq!(refused.code, 3, "{refused:#?}");
        assert!(refused.out.contains(found) && refused.out.contains("nothing was changed"), "{refused:#?}");
    }

    variables(&format!("{}apiserver_loadbalancer_domain_name: api.lab.example\n", at("8443")));
    // A worker that the run leaves out would not know the name, and its kube-proxy would look for it.
    let limited = lab.muster(&["setup-cluster", "--limit", "node1,node2"]);
    assert_eq!(limited.code, 0, "{limited:#?}");
    assert!(limited.all().contains("gives node3 no line of /etc/hosts"), "{limited:#?}");
    leads_to(&lab, &format!("https://{balancer}:8443"));
    set_up_while_asked(&lab, "a load balancer gets a name");
    leads_to(&lab, "https://api.lab.example:8443");
    assert!(lab.on("node3", "cat /etc/hosts").contains(&format!("{balancer} api.lab.example ")));
    nothing_is_left_to_do(&lab);

    // No name server knows it: without its address nobody would find the API any more.
    variables("loadbalancer_apiserver: {port: 8443}\napiserver_loadbalancer_domain_name: api.lab.example\n");
    let refused = lab.muster(&["setup-cluster"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(
        refused.out.contains("api.lab.example") && refused.out.contains("nothing was changed"),
        "{refused:#?}"
    );
    assert!(lab.on("node3", "cat /etc/hosts").contains(&format!("{balancer} api.lab.example ")));

    variables("{}\n");
    set_up_while_asked(&lab, "the machines' own load balancers instead of somebody else's");
    leads_to(&lab, "https://127.0.0.1:6443");
    assert!(lab.has("node3", BALANCER) && !lab.on("node3", "cat /etc/hosts").contains("api.lab.example"));
    nothing_is_left_to_do(&lab);

    variables(&at("8443"));
    set_up_while_asked(&lab, "somebody else's load balancer instead of the machines' own");
    leads_to(&lab, &format!("https://{balancer}:8443"));
    assert!(!lab.has("node3", BALANCER) && !lab.has("node3", "/etc/kubernetes/api-balancer"));
    nothing_is_left_to_do(&lab);
}
