//! What keepalived is told, and what the programs say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;
use crate::balancer::External;
use crate::preflight::fixture::variables;

const ASKED: &str =
    "kube_vip_enabled: true\nkube_vip_controlplane_enabled: true\nkube_vip_address: 192.0.2.10\n";

#[test]
fn the_api_is_at_the_address_and_the_port_of_the_api_servers() {
    let endpoint = |more: &str| {
        let external = External::of(&variables(&format!("{ASKED}{more}")));
        external
            .map(|external| external.map(|it| (it.endpoint(), it.is_shared())))
            .map_err(|(found, _)| found)
    };
    let at = |endpoint: &str| Ok(Some((endpoint.to_owned(), true)));
    assert_eq!(endpoint(""), at("192.0.2.10:6443"));
    assert_eq!(endpoint("kube_apiserver_port: 8443"), at("192.0.2.10:8443"));
    assert_eq!(endpoint("apiserver_loadbalancer_domain_name: api.example.org"), at("api.example.org:6443"));
    // As kubespray's samples have it.
    let too = "loadbalancer_apiserver: {address: '{{ kube_vip_address }}', port: 6443}";
    assert_eq!(endpoint(too), at("192.0.2.10:6443"));
    for other in ["{address: 192.0.2.11, port: 6443}", "{address: 192.0.2.10, port: 8443}", "{port: 8443}"] {
        let refused = endpoint(&format!("loadbalancer_apiserver: {other}"));
        assert!(refused.is_err(), "{other}: {refused:?}");
    }
    // What is not asked for is nowhere.
    for off in ["kube_vip_enabled: false", "kube_vip_controlplane_enabled: false"] {
        let name = off.split(':').next().unwrap();
        let asked: String =
            ASKED.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect();
        assert_eq!(External::of(&variables(&format!("{asked}{off}"))), Ok(None));
    }
}

#[test]
fn who_uses_the_cluster_from_elsewhere_is_told_what_leads_nowhere() {
    let told = leads_nowhere(&[IpAddr::from([192, 0, 2, 10])]);
    assert!(told.starts_with("no control plane holds 192.0.2.10 any more: "), "{told}");
    assert!(
        told.ends_with(": setup-cluster -e kubeconfig_localhost=true, then muster kubeconfig --merge"),
        "{told}"
    );
}

fn rendered(template: &str, peers: &[&str]) -> String {
    let address = IpAddr::from([192, 0, 2, 10]);
    let extra = json!({
        "address": address, "pod": pod_of(address), "folder": format!("{FOLDER}/{address}"), "interface": "eth1",
        "link": "eth0", "own": "198.51.100.1", "peers": peers,
        "router_id": router_id(address), "port": 6443, "etcd_patience": 5, "image": "keepalived:1",
    });
    variables("{}").render(template, "it", &extra).unwrap()
}

#[test]
fn control_planes_tell_each_other_and_nobody_else() {
    let config = rendered(include_str!("templates/keepalived.conf.j2"), &["198.51.100.2", "198.51.100.3"]);
    for line in [
        "  interface eth0",
        "  unicast_src_ip 198.51.100.1",
        "    198.51.100.2",
        "    198.51.100.3",
        "    192.0.2.10/32 dev eth1",
        "  track_interface {",
        // Nobody is preferred, and an API server that is not ready does not hold it.
        "  priority 100",
        "  state BACKUP",
        "    answers",
        "    has-etcd",
    ] {
        assert!(config.lines().any(|known| known == line), "{line}: {config}");
    }
    let pod = rendered(include_str!("templates/pod.yaml.j2"), &[]);
    let pod: serde_json::Value = serde_saphyr::from_str(&pod).unwrap();
    assert_eq!(pod["metadata"]["name"], "api-vip-192-0-2-10");
    assert_eq!(pod["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
}

#[test]
fn neighbours_have_other_numbers() {
    let of = |last: u8| router_id(IpAddr::from([192, 0, 2, last]));
    assert!((1..=254).all(|last| (1..=255).contains(&of(last))));
    assert!((1..254).all(|last| of(last) != of(last + 1)));
}

/// The status and the output of a program, in all shells, with programs of these names and texts beside it.
fn said(program: &str, words: &[&str], programs: &[(&str, &str)]) -> Vec<(i32, String)> {
    let shells = [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]];
    let run = |shell: &&[&str]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in programs {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(shell[0]);
        command
            .args(&shell[1..])
            .args(["-c", program, "it"])
            .args(words)
            .env("PATH", path)
            .current_dir(&folder);
        let out = command.output().unwrap();
        (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap())
    };
    shells.iter().map(run).collect()
}

#[test]
fn an_api_server_that_answers_nobody_without_a_name_is_ready() {
    for (code, status) in [("200", 0), ("401", 0), ("403", 0), ("500", 1), ("000", 1)] {
        let curl =
            format!("[ \"$8\" = 'https://127.0.0.1:6443/readyz?a&b' ] && printf {code}; [ {code} != 000 ]");
        for (found, _) in
            said(include_str!("is-ready.sh"), &["6443", "/readyz?a&b"], &[("curl", curl.as_str())])
        {
            assert_eq!(found, status, "{code}");
        }
    }
}

#[test]
fn who_has_an_address_is_seen() {
    let mine = "192.0.2.10 lladdr 02:42:0a:92:40:04";
    // What the kernel says of the address, one after the other.
    let failed = "192.0.2.10 FAILED".to_owned();
    for (neighbours, found) in [
        (vec![String::new()], String::new()),
        (vec![failed.clone()], String::new()),
        (vec!["192.0.2.10 INCOMPLETE".to_owned(), failed.clone()], String::new()),
        (vec![format!("{mine} REACHABLE")], format!("{mine} REACHABLE\n")),
        (vec![format!("{mine} DELAY"), format!("{mine} REACHABLE")], format!("{mine} REACHABLE\n")),
        (vec![format!("{mine} STALE"), failed], String::new()),
    ] {
        let cases: String =
            neighbours.iter().enumerate().map(|(n, line)| format!("{n}) echo '{line}' ;; ")).collect();
        let ip = format!("n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) >n; case $n in {cases} esac");
        let programs = [("ip", ip.as_str()), ("ping", "exit 1"), ("sleep", ":")];
        for (status, output) in said(include_str!("answers.sh"), &["192.0.2.10", "eth0"], &programs) {
            assert_eq!((status, &output), (0, &found), "{neighbours:?}");
        }
    }
}

#[test]
fn a_machine_says_whether_it_looks_for_the_api_at_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let look =
        include_str!("leads-there.sh").replace("/etc/kubernetes", &folder.path().display().to_string());
    let names = "[ \"$2\" != api.example.org ] || echo '192.0.2.10 STREAM api.example.org'";
    for (server, leads) in [
        ("https://192.0.2.10:6443", true),
        ("https://192.0.2.11:6443", true),
        ("https://192.0.2.1:6443", false),
        ("https://127.0.0.1:6443", false),
        ("https://api.example.org:6443", true),
        ("https://other.example.org:6443", false),
    ] {
        fs::write(
            folder.path().join("kubelet.conf"),
            format!("clusters:\n- cluster:\n    server: {server}\n"),
        )
        .unwrap();
        for (status, _) in said(&look, &["192.0.2.10", "192.0.2.11"], &[("getent", names)]) {
            assert_eq!(status == 0, leads, "{server}");
        }
    }
}

#[test]
fn keepalived_has_settled_when_the_same_pod_runs_for_long_enough() {
    let settled = include_str!("settled.sh");
    let task = |line: &str| format!("echo 'TASK PID STATUS'; echo '{line}'");
    let begins_anew =
        "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) >n; case $n in 0) c=one ;; *) c=two ;; esac";
    for (containers, tasks, settles) in [
        ("echo one; echo former", task("one 7 RUNNING"), true),
        ("echo one; echo former", task("one 7 STOPPED"), false),
        ("echo one", task("other 7 RUNNING"), false),
        (":", task("one 7 RUNNING"), false),
        ("echo one; echo two", format!("{begins_anew}; echo \"$c 7 RUNNING\""), false),
    ] {
        let ctr = format!("case $3 in containers) {containers} ;; tasks) {tasks} ;; esac");
        for (status, _) in said(settled, &["api-vip-192-0-2-10", "1"], &[("ctr", &ctr), ("sleep", ":")]) {
            assert_eq!(status == 0, settles, "{containers} {tasks}");
        }
    }
}

#[test]
fn keepalived_of_a_pod_that_is_about_to_end_has_not_settled() {
    let settled = include_str!("settled.sh").replace("/etc/kubernetes/manifests/", "");
    let manifest = ("api-vip-192-0-2-10.yaml", "kind: Pod\nmetadata:\n  uid: \"00ab12\"\n  name: it");
    // Both pods have one, under the same name.
    let containers = r#"case $6 in *'pod.uid"==00ab12') echo new ;; *) echo new; echo former ;; esac"#;
    for (manifest, task, settles) in [
        (Some(manifest), "new 7 RUNNING", true),
        (Some(manifest), "former 7 RUNNING", false),
        (None, "former 7 RUNNING", true),
    ] {
        let tasks = format!("echo 'TASK PID STATUS'; echo '{task}'");
        let ctr = format!("case $3 in containers) {containers} ;; tasks) {tasks} ;; esac");
        let programs: Vec<_> = [("ctr", ctr.as_str()), ("sleep", ":")].into_iter().chain(manifest).collect();
        for (status, _) in said(&settled, &["api-vip-192-0-2-10", "1"], &programs) {
            assert_eq!(status == 0, settles, "{manifest:?} {task}");
        }
    }
}

#[test]
fn a_machine_holds_an_address_that_it_has_all_the_time() {
    // How often it has the address.
    for (times, seconds, holds) in
        [(9, "5", true), (6, "5", true), (5, "5", false), (0, "0", false), (1, "0", true)]
    {
        let ip = format!(
            "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) >n; [ $n -ge {times} ] || echo \"$6\""
        );
        for (status, _) in
            said(include_str!("holds.sh"), &["192.0.2.10", seconds], &[("ip", &ip), ("sleep", ":")])
        {
            assert_eq!(status == 0, holds, "{times} {seconds}");
        }
    }
}
