//! The rules on a machine, by real shells, with programs that print and note what a machine would have; and the objects.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{CLEAR, LOOK};
use crate::preflight::fixture::variables;

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// As iptables-save(8) prints the table of a node on which kube-proxy and flannel work, too.
const RULES: &str = r#"*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NWPLCY-DEFAULT - [0:0]
:KUBE-NWPLCY-2UTXQIFBI5TAPUCL - [0:0]
:KUBE-POD-FW-UYBW7ZVUNVJYCKSD - [0:0]
:KUBE-ROUTER-FORWARD - [0:0]
:KUBE-ROUTER-INPUT - [0:0]
:KUBE-ROUTER-SERVICES - [0:0]
-A INPUT -m comment --comment "kube-router netpol - 4IA2OSFRMVNDXBVV" -j KUBE-ROUTER-INPUT
-A FORWARD -m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -s 192.0.2.7/32 -m comment --comment "not to KUBE-ROUTER-INPUT" -j DROP
-A KUBE-ROUTER-FORWARD -d 10.233.64.5/32 -m comment --comment "to POD name:a" -j KUBE-POD-FW-UYBW7ZVUNVJYCKSD
-A KUBE-POD-FW-UYBW7ZVUNVJYCKSD -j KUBE-NWPLCY-2UTXQIFBI5TAPUCL
COMMIT
"#;

/// What is to be told iptables-restore(8): the chains are let go of before they are removed.
const REMOVAL: &str = r#"*filter
-D INPUT -m comment --comment "kube-router netpol - 4IA2OSFRMVNDXBVV" -j KUBE-ROUTER-INPUT
-D FORWARD -m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD
-F KUBE-NWPLCY-DEFAULT
-F KUBE-NWPLCY-2UTXQIFBI5TAPUCL
-F KUBE-POD-FW-UYBW7ZVUNVJYCKSD
-F KUBE-ROUTER-FORWARD
-F KUBE-ROUTER-INPUT
-X KUBE-NWPLCY-DEFAULT
-X KUBE-NWPLCY-2UTXQIFBI5TAPUCL
-X KUBE-POD-FW-UYBW7ZVUNVJYCKSD
-X KUBE-ROUTER-FORWARD
-X KUBE-ROUTER-INPUT
COMMIT
"#;

/// Programs of a machine that has these rules, until they are removed, and these sets.
fn machine(folder: &Path) {
    let program = |name: &str, text: String| {
        let path = folder.join("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", folder.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    fs::write(folder.join("rules"), RULES).unwrap();
    fs::write(folder.join("sets"), "KUBE-SRC-A\nKUBE-DST-B\nKUBE-LOOP-BACK\nmine-KUBE-SRC-C\n").unwrap();
    program("iptables-save", "[ \"$1 $2\" = '-t filter' ] && cat rules".into());
    program("iptables-restore", "cat >removal\necho \"$*\" >how\necho '*filter' >rules".into());
    program(
        "ipset",
        "case $1 in list) cat sets ;; destroy) grep -vxF \"$2\" sets >new; mv new sets ;; esac".into(),
    );
    program("sleep", "rm -r proc/17".into());
    for (process, group, name) in [
        ("17", "0::/kubepods.slice/pod1", "kube-router"),
        ("18", "0::/kubepods.slice/pod2", "flanneld"),
        ("19", "0::/docker/7/kubepods/pod3", "kube-router"),
    ] {
        let folder = folder.join("proc").join(process);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cgroup"), format!("{group}\n")).unwrap();
        fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
    }
}

#[test]
fn rules_and_sets_of_kube_router_go_when_it_has_ended_and_nobody_elses_do() {
    for shell in SHELLS {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        machine(here);
        let run = |program: &str| {
            let program = program.replace("/proc/", &format!("{}/proc/", here.display()));
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-euc", &program, "sh"]);
            command.env("PATH", format!("{}/bin:/usr/bin:/bin", here.display()));
            let out = command.output().unwrap();
            assert!(out.stderr.is_empty(), "{shell:?} {out:?}");
            out.status.success()
        };
        let read = |file: &str| fs::read_to_string(here.join(file)).unwrap();
        assert!(!run(LOOK), "{shell:?}");
        // It ends while it is waited for.
        assert!(run(CLEAR), "{shell:?}");
        assert!(!here.join("proc/17").exists() && here.join("proc/19").exists(), "{shell:?}");
        assert_eq!(read("removal"), REMOVAL, "{shell:?}");
        assert_eq!(read("how"), "--noflush -w 10\n");
        assert_eq!(read("sets"), "KUBE-LOOP-BACK\nmine-KUBE-SRC-C\n", "{shell:?}");
        assert!(run(LOOK), "{shell:?}");

        // One that is back is something that is left.
        fs::create_dir(here.join("proc/20")).unwrap();
        fs::write(here.join("proc/20/cgroup"), "5:cpu:/kubepods/pod1\n").unwrap();
        fs::write(here.join("proc/20/comm"), "kube-router\n").unwrap();
        assert!(!run(LOOK), "{shell:?}");
    }
}

fn objects(yaml: &str) -> Vec<Value> {
    let images = json!({ "images": { "kube-router": "kube-router:2" } });
    let text = variables(yaml).render(include_str!("objects.yaml.j2"), "network-policies", &images).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

#[test]
fn nothing_of_kube_router_runs_but_its_policies_in_the_networks_of_the_cluster() {
    let objects =
        objects("kube_service_addresses: 10.1.0.0/16\nkube_apiserver_node_port_range: 31000-31999\n");
    let daemon = objects.last().unwrap();
    let pod = &daemon["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let expected = [
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        "--service-cluster-ip-range=10.1.0.0/16",
        "--service-node-port-range=31000-31999",
    ];
    assert_eq!(container["args"], json!(expected));
    assert_eq!(container["image"], "kube-router:2");
    // On every node, whatever its taints are.
    assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]));
    assert_eq!(pod["priorityClassName"], "system-node-critical");
    assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], "spec.nodeName");
}

#[test]
fn it_reads_what_policies_are_about_and_writes_nothing() {
    let objects = objects("");
    let role = objects.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
    let rules = role["rules"].as_array().unwrap();
    assert!(rules.iter().all(|rule| rule["verbs"] == json!(["get", "list", "watch"])), "{rules:#?}");
    let resources: Vec<&str> = rules
        .iter()
        .flat_map(|rule| rule["resources"].as_array().unwrap())
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(
        resources,
        ["pods", "namespaces", "nodes", "services", "endpoints", "endpointslices", "networkpolicies"]
    );
}
