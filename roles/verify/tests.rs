//! The role against a kubectl that answers from a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use muster_engine::event::Event;
use muster_engine::prelude::*;
use muster_engine::run::Outcome;
use muster_inventory::Inventory;
use muster_inventory::Vars;
use serde_json::json;

use super::{NetworkTest, Node, State, in_words};
use crate::preflight::fixture::inventory_and_vars;
use crate::testing::run_roles;

const INVENTORY: &str = "a\nb\noff1\n[kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\nb\noff1\n";

/// What kubectl shows of a cluster in which off1 is off.
pub(super) const SEEN: &str = "\
Node||a|uid1||True|boot1|v1.36.3||||
Node||b|uid2||True|boot2|v1.36.3||||
Node||off1|uid3||Unknown|boot3|v1.36.3||||
Pod|kube-system|kube-apiserver-a|uid4|Running|True||||a|registry.k8s.io/kube-apiserver:v1.36.3|
Pod|kube-system|kube-proxy-2|uid5|Running|True||||b|registry.k8s.io/kube-proxy:v1.36.3|
Pod|kube-system|kube-proxy-3|uid6|Running|False||||off1|registry.k8s.io/kube-proxy:v1.36.3|
Pod|kube-system|once|uid7|Succeeded|False||||b|example.org/once:1|
Pod|kube-system|muster-verify-1-2|uid8|Pending|||||b|example.org/agnhost:1|
Pod|course|web|uid9|Running|False||||b|example.org/web:1|CrashLoopBackOff
";

/// Runs the role on these hosts with a cluster that looks like this, seen from a.
pub(super) async fn verify(hosts: &[&str], seen: &str) -> (Outcome, Vec<Event>) {
    verify_from(&["a"], INVENTORY, hosts, seen).await
}

const VARS: &str = "kube_version: 1.36.3\nverify_network: never\nverify_timeout: 1\nip: 127.0.0.1\n";

/// The same where these hosts are control planes already.
async fn verify_from(planes: &[&str], inventory: &str, hosts: &[&str], seen: &str) -> (Outcome, Vec<Event>) {
    verify_as(NetworkTest::AsWritten, inventory_and_vars(inventory, VARS), planes, hosts, seen).await
}

async fn verify_as(
    network: NetworkTest,
    written: (Arc<Inventory>, Arc<Vars>),
    planes: &[&str],
    hosts: &[&str],
    seen: &str,
) -> (Outcome, Vec<Event>) {
    verify_on(network, written, planes, &[], hosts, seen).await
}

/// The same where the kubelets of these hosts have been told of the cluster. Control planes have swap in fstab(5).
async fn verify_on(
    network: NetworkTest,
    written: (Arc<Inventory>, Arc<Vars>),
    planes: &[&str],
    joined: &[&str],
    hosts: &[&str],
    seen: &str,
) -> (Outcome, Vec<Event>) {
    verify_with(network, written, planes, joined, &[], hosts, seen).await
}

/// The same with these files among the programs that are found first: the path of each, and what it holds. They can be run.
async fn verify_with(
    network: NetworkTest,
    written: (Arc<Inventory>, Arc<Vars>),
    planes: &[&str],
    joined: &[&str],
    files: &[(&str, &str)],
    hosts: &[&str],
    seen: &str,
) -> (Outcome, Vec<Event>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("seen"), seen).unwrap();
    let kubectl = folder.path().join("kubectl");
    let script = format!(
        "#!/bin/sh\ncase $* in *'get nodes,pods'*) cat {}/seen ;; *readyz*) ;; *) exit 1 ;; esac\n",
        folder.path().display()
    );
    fs::write(&kubectl, script).unwrap();
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
    for plane in planes {
        let authority = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::create_dir_all(folder.path().join(plane).join("ssl")).unwrap();
        let swap = "UUID=1 none swap sw 0 0\n";
        for (path, content) in
            [("admin.conf", ""), ("ssl/ca.crt", authority), ("ssl/ca.key", ""), ("fstab", swap)]
        {
            fs::write(folder.path().join(plane).join(path), content).unwrap();
        }
    }
    for host in joined {
        fs::create_dir_all(folder.path().join(host)).unwrap();
        fs::write(folder.path().join(host).join("kubelet.conf"), "").unwrap();
    }
    for (path, content) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let play = json!([{ "name": "Verify", "hosts": "k8s_cluster", "roles": ["verify"] }]);
    let path: &Path = folder.path();
    run_roles(&[crate::verify(network)], written, hosts, play, path).await
}

fn warnings(events: &[Event]) -> Vec<&str> {
    let text = events.iter().filter_map(|event| match event {
        Event::Warning { text, .. } => Some(text.as_str()),
        _ => None,
    });
    text.collect()
}

#[tokio::test]
async fn nodes_of_machines_that_failed_or_take_no_part_are_named_and_not_waited_for() {
    for (hosts, told) in [
        (&["a", "b", "off1"][..], "not looked at: off1 (failed)"),
        (&["a", "b"], "not looked at: off1 (no part of this run)"),
    ] {
        let (outcome, events) = verify(hosts, SEEN).await;
        assert!(outcome["a"].failure.is_none(), "{outcome:?}");
        assert_eq!(warnings(&events), [told]);
    }
}

/// Two pods of CoreDNS' Deployment on these nodes, made at this time; a has been Ready since 10:05.
fn with_names(places: [&str; 2], made: &str) -> String {
    let pod = |(number, place): (usize, &&str)| {
        format!(
            "Pod|kube-system|coredns-5d-{number}|uid1{number}|Running|True||||{place}|registry.k8s.io/coredns:v1||||||\
             ReplicaSet/coredns-5d|||2026-05-01T{made}:00Z\n"
        )
    };
    let ready = format!("{A}|||||||2026-05-01T10:05:00Z|");
    SEEN.replace(A, &ready) + &places.iter().enumerate().map(pod).collect::<String>()
}

/// What is shown of the node a, but for what is not known of it.
const A: &str = "Node||a|uid1||True|boot1|v1.36.3||||";

#[tokio::test]
async fn names_that_one_node_alone_answers_are_told_and_those_that_nobody_answers_are_waited_for() {
    let always_with = |vars: &str, seen: String| {
        let written = inventory_and_vars(INVENTORY, &format!("{VARS}{vars}"));
        async move { verify_as(NetworkTest::Always, written, &["a"], &["a", "b", "off1"], &seen).await }
    };
    let always = |seen| always_with("", seen);
    let crowded = || with_names(["b", "b"], "10:00");
    let told =
        |events: &[Event]| warnings(events).iter().any(|text| text.contains("all pods of CoreDNS are on b"));
    let (outcome, events) = always(crowded()).await;
    assert!(outcome["a"].failure.is_none() && told(&events), "{outcome:?} {events:?}");
    let ends = "Pod|kube-system|coredns-5d-9|uid99|Running|True||||a|registry.k8s.io/coredns:v1||||||ReplicaSet/coredns-5d|||\
                2026-05-01T09:00:00Z|2026-05-01T10:06:00Z\n";
    let (_, events) = always(crowded() + ends).await;
    assert!(told(&events), "one that is about to end does not count: {events:?}");
    let ready = |marks: &str| crowded().replace(&format!("{A}|||||||"), &format!("{A}{marks}"));
    for marks in ["||||||,|", "||||||node-role.kubernetes.io/control-plane,node.kubernetes.io/not-ready|"] {
        let (_, events) = always(ready(marks)).await;
        assert!(told(&events), "pods may come: {marks} {events:?}");
    }
    let (outcome, _) =
        always(ready("||||||node.kubernetes.io/not-ready,node.kubernetes.io/not-ready|")).await;
    let soon = "node a is Ready, and does not take pods yet";
    assert!(format!("{:?}", outcome["a"].failure).contains(soon), "{outcome:?}");
    assert_eq!(ready("|||||||"), crowded());
    for seen in [
        with_names(["a", "b"], "10:00"),
        // Where they are was chosen when the other node was Ready: it may be full.
        with_names(["b", "b"], "10:10"),
        ready("|||true||||"),
        ready("||||||gpu,|"),
        ready("||||||,gpu|"),
        // Somebody else's.
        crowded().replace("ReplicaSet/coredns-5d", "ReplicaSet/coredns-outside-5d"),
        crowded().replace("ReplicaSet/coredns-5d", "/"),
    ] {
        let (_, events) = always(seen.clone()).await;
        assert!(!told(&events), "{seen}");
    }
    let (_, events) = always_with("dns_mode: none\n", crowded()).await;
    assert!(!told(&events), "whoever brings their own has it where they want it: {events:?}");
    let (outcome, events) = always(with_names(["off1", "off1"], "10:00")).await;
    let nobody = "no name of the cluster is found: CoreDNS is on off1, which is not Ready";
    assert!(format!("{:?}", outcome["a"].failure).contains(nobody), "{outcome:?}");
    assert!(
        warnings(&events)
            .contains(&format!("not well yet, and waited for, for 1 s at most: {nobody}").as_str()),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_set_up_moves_one_of_the_pods_that_answer_names_from_the_node_that_has_all() {
    let kubectl = "#!/bin/sh
case $* in
  *'get nodes,pods'*) cat \"${0%/*}/seen\" ;;
  *'get pod coredns-5d-1 '*) echo '|' ;;
  *readyz*) ;;
  *) exit 1 ;;
esac
";
    for (vars, made, moves) in
        [("", "10:00", true), ("", "10:10", false), ("dns_mode: none\n", "10:00", false)]
    {
        let written = inventory_and_vars(INVENTORY, &format!("{VARS}{vars}"));
        let seen = with_names(["b", "b"], made);
        let (hosts, files) = (&["a", "b", "off1"], [("kubectl", kubectl)]);
        let (outcome, _) =
            verify_with(NetworkTest::AsWritten, written, &["a"], &[], &files, hosts, &seen).await;
        // Nothing is locked here: a run ends where it would change something.
        let ended = format!("{:?}", outcome["a"].failure);
        assert_eq!(ended.contains("was about to change something"), moves, "{vars:?} {made}: {outcome:?}");
        assert_eq!(outcome["a"].failure.is_some(), moves, "{vars:?} {made}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_node_of_the_run_is_waited_for_and_told() {
    for (right, wrong, told) in [
        ("||b|uid2||True", "||b|uid2||False", "node b is not Ready\n"),
        ("Node||b|", "Node||c|", "node b is not in the cluster\n"),
        ("-2|uid5|Running|True||||b", "-2|uid5|Pending|||||", "kube-system/kube-proxy-2: Pending\n"),
        (
            "-2|uid5|Running|True",
            "-2|uid5|Running|False",
            "kube-system/kube-proxy-2 on b: Running, not ready\n",
        ),
        (
            "apiserver:v1.36.3",
            "apiserver:v1.36.2",
            "the API server of a is not v1.36.3: registry.k8s.io/kube-apiserver:v1.36.2\n",
        ),
        ("kube-apiserver-a|", "other-a|", "the API server of a is not v1.36.3: it has none\n"),
        (
            "boot2|v1.36.3",
            "boot2|v1.37.0",
            "the kubelet of node b is v1.37.0, newer than the API server, v1.36.3\n",
        ),
        (
            "boot2|v1.36.3",
            "boot2|v1.32.9",
            "the kubelet of node b is v1.32.9, too old for the API server, v1.36.3\n",
        ),
    ] {
        let (outcome, _) = verify(&["a", "b", "off1"], &SEEN.replace(right, wrong)).await;
        let Some(Failure::Unwell { tail, .. }) = &outcome["a"].failure else { panic!("{outcome:?}") };
        assert_eq!(tail, told);
    }
}

#[tokio::test]
async fn a_pod_that_has_ended_and_that_nobody_misses_is_passed_over() {
    let with = |pods: &[&str]| {
        let pods: String = pods.iter().map(|pod| format!("Pod|kube-system|{pod}\n")).collect();
        format!("{SEEN}{pods}")
    };
    let evicted = "dns-1|uid10|Failed|False||||b|x:1||||||ReplicaSet/dns-5d";
    for pods in [
        &[evicted, "dns-2|uid11|Running|True||||a|x:1||||||ReplicaSet/dns-7f"][..],
        &["once-1|uid10|Failed|False||||b|x:1||||||Job/once"],
        &["alone|uid10|Failed|False||||b|x:1||||||/"],
    ] {
        let (outcome, _) = verify(&["a", "b", "off1"], &with(pods)).await;
        assert!(outcome["a"].failure.is_none(), "{outcome:?}");
    }
    for (pods, told) in [
        (
            &[evicted, "x-2|uid11|Running|True||||a|x:1||||||ReplicaSet/x-5d"][..],
            "kube-system/dns-1 on b: Failed\n",
        ),
        (&["proxy-1|uid10|Failed|False||||b|x:1||||||DaemonSet/proxy"], "kube-system/proxy-1 on b: Failed\n"),
    ] {
        let (outcome, _) = verify(&["a", "b", "off1"], &with(pods)).await;
        let Some(Failure::Unwell { tail, .. }) = &outcome["a"].failure else { panic!("{outcome:?}") };
        assert_eq!(tail, told);
    }
}

#[tokio::test]
async fn what_does_not_belong_to_the_cluster_as_it_is_to_be_is_told() {
    for (right, wrong, told) in [
        (
            "boot2|v1.36.3",
            "boot2|v1.36.2",
            "the kubelet of b is 1.36.2, older than the API servers (1.36.3); ",
        ),
        (
            "boot2|v1.36.3",
            "boot2|v1.33.9",
            "the kubelet of b is 1.33.9, older than the API servers (1.36.3); ",
        ),
        (
            "Node||off1|",
            "Node||left|uid4||True|boot4|v1.36.3||||\nNode||off1|",
            "left is a node of the cluster and in none of ",
        ),
    ] {
        let (outcome, events) = verify(&["a", "b", "off1"], &SEEN.replace(right, wrong)).await;
        assert!(outcome["a"].failure.is_none(), "{outcome:?}");
        let warnings = warnings(&events);
        let expected = warnings.iter().filter(|text| text.starts_with(told)).count();
        assert!(expected == 1 && warnings.len() == 2, "{told}: {warnings:?}");
    }
}

#[test]
fn a_node_outside_of_the_inventory_is_told_with_the_name_that_may_be_meant() {
    let told = super::stranger("node2", None, ["nod2", "other"].into_iter());
    assert!(told.ends_with("nod2 is in them and no node: was node2 meant?"), "{told}");
    let told = super::stranger("node2", Some(&"192.0.2.5".to_owned()), ["other"].into_iter());
    assert!(told.contains("muster remove-node node2"), "{told}");
}

#[tokio::test]
async fn a_node_that_a_run_left_cordoned_is_named() {
    for (end, told) in
        [("||||||true|true", true), ("||||||true|", false), ("|||||||true", false), ("", false)]
    {
        let seen = SEEN.replace("|boot2|v1.36.3||||", &format!("|boot2|v1.36.3{end}"));
        assert_ne!(seen, SEEN);
        let (outcome, events) = verify(&["a", "b", "off1"], &seen).await;
        assert!(outcome["a"].failure.is_none(), "{outcome:?}");
        let is_told =
            warnings(&events).iter().any(|text| text.starts_with("b is cordoned and gets no new pods"));
        assert_eq!(is_told, told, "{end}");
    }
}

#[tokio::test]
async fn a_node_that_was_deleted_comes_back_with_its_kubelet() {
    let deleted = SEEN.replace("Node||b|", "Node||c|");
    for (joined, told) in [(&["a"][..], None), (&["a", "b"], Some("on b: systemctl restart kubelet"))] {
        let written = inventory_and_vars(INVENTORY, VARS);
        let outcome =
            verify_on(NetworkTest::AsWritten, written, &["a"], joined, &["a", "b", "off1"], &deleted).await.0;
        let failure = outcome["a"].failure.as_ref().unwrap();
        assert!(failure.to_string().starts_with("nodes and pods are well: not within"), "{failure}");
        assert_eq!(failure.tail(), Some("node b is not in the cluster\n"));
        let remedy = failure.remedy().and_then(|remedy| remedy.in_words()).filter(|words| !words.is_empty());
        assert!(
            remedy.is_some() == told.is_some() && remedy.is_none_or(|remedy| remedy.contains(told.unwrap())),
            "{joined:?}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn who_asks_for_the_test_of_the_network_gets_it_unless_an_extra_variable_says_otherwise() {
    let never = format!("{INVENTORY}[all:vars]\nverify_network=never\n");
    let written = |extra: &str| {
        let vars = format!("kube_version: 1.36.3\nverify_timeout: 1\nip: 127.0.0.1\n{extra}");
        inventory_and_vars(&never, &vars)
    };
    for (network, extra, tested) in [
        (NetworkTest::AsWritten, "", false),
        (NetworkTest::Always, "", true),
        (NetworkTest::Always, "verify_network: never", false),
    ] {
        let (outcome, events) = verify_as(network, written(extra), &["a"], &["a", "b", "off1"], SEEN).await;
        // The kubectl of these tests has no answer to a test of the network.
        assert_eq!(outcome["a"].failure.is_some(), tested, "{network:?} {extra:?}: {outcome:?}");
        let told = events.iter().any(|event| {
            matches!(event, Event::Tested { what, .. } if what.ends_with("the network was not tested (verify_network)"))
        });
        assert_eq!(told, network == NetworkTest::Always && !tested, "{network:?} {extra:?}");
    }
}

#[tokio::test]
async fn who_asks_whether_a_cluster_is_well_is_told_of_swap_that_comes_back() {
    for (network, told) in [(NetworkTest::Always, 1), (NetworkTest::AsWritten, 0)] {
        let written = inventory_and_vars(INVENTORY, VARS);
        let (_, events) = verify_as(network, written, &["a"], &["a", "b", "off1"], SEEN).await;
        let of_swap = |text: &&str| text.starts_with("swap will be on") && text.contains("/fstab UUID=1");
        assert_eq!(warnings(&events).into_iter().filter(of_swap).count(), told, "{network:?} {events:?}");
    }
}

#[test]
fn swap_that_comes_back_with_the_next_start_is_told() {
    assert_eq!(super::swap_returns(""), None);
    let told = super::swap_returns("/etc/fstab UUID=1\nunit dev-sda2.swap\n").unwrap();
    assert!(
        told.starts_with("swap will be on after the next restart")
            && told.contains("(/etc/fstab UUID=1, unit dev-sda2.swap)"),
        "{told}"
    );
}

#[tokio::test]
async fn the_cluster_is_seen_from_any_control_plane_that_answers() {
    let inventory = INVENTORY.replace("[kube_control_plane]\na\n", "[kube_control_plane]\na\nb\n");
    let seen =
        format!("{SEEN}Pod|kube-system|kube-apiserver-b|uid10|Running|True||||b|k/kube-apiserver:v1.36.3|\n");
    for planes in [&["a", "b"][..], &["a"], &["b"]] {
        let (outcome, events) = verify_from(planes, &inventory, &["a", "b"], &seen).await;
        assert!(outcome.values().all(|host| host.failure.is_none()), "{planes:?}: {outcome:?}");
        let looks = events.iter().filter_map(|event| match event {
            Event::StepEnded { host, step, .. } if step == "nodes and pods are well" => Some(host.as_str()),
            _ => None,
        });
        let looks: Vec<_> = looks.collect();
        // Wherever kubectl runs, it is told of the one that verifies: the first that can.
        assert!(looks == ["a"] || (looks == ["b"] && planes == ["b"]), "{planes:?}: {looks:?}");
    }
    let (outcome, _) = verify_from(&[], &inventory, &["a", "b"], &seen).await;
    let failures: Vec<_> = outcome.values().filter_map(|host| host.failure.as_ref()).collect();
    let [failure] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!(failure.to_string(), "no control plane answers, of a, b");
    assert_eq!(failure.tail(), Some("a: it is no control plane yet\nb: it is no control plane yet\n"));
    assert!(
        failure
            .remedy()
            .is_some_and(|remedy| remedy.in_words().is_some_and(|words| words.contains("setup-cluster")))
    );
}

#[test]
fn what_was_tested_is_counted() {
    for (nodes, network, told) in [
        (1, true, "1 node and the system's pods are well; a pod reaches names and services"),
        (
            3,
            true,
            "3 nodes and the system's pods are well; a pod on each reaches the others (6 ways), names and services",
        ),
        (3, false, "3 nodes and the system's pods are well; the network was not tested (verify_network)"),
    ] {
        assert_eq!(in_words(nodes, network), told);
    }
}

#[test]
fn a_network_is_proven_for_the_nodes_that_were_tested_as_the_cluster_was_then() {
    let node = |name: &str| Node { host: name.into(), name: name.into() };
    let (a, b) = ("a uid1 boot1 v1.36.3", "b uid2 boot2 v1.36.3");
    let hash = State::of(&format!("{a} \n{b} \n")).hash();
    let noted = State::of(&format!("{b} {hash}\n{a} {hash}\n"));
    assert!(noted.is_proven(&[node("a"), node("b")]));
    // Made anew, restarted, joined since, not tested then.
    for others in [
        format!("{a} {hash}\nb uid3 boot2 v1.36.3 \n"),
        format!("{a} {hash}\nb uid2 boot3 v1.36.3 {hash}\n"),
        format!("{a} {hash}\n{b} {hash}\nc uid3 boot3 v1.36.3 \n"),
        format!("{a} {hash}\n{b} \n"),
    ] {
        assert!(!State::of(&others).is_proven(&[node("a"), node("b")]), "{others}");
    }
}

/// What a control plane has that runs this version.
fn manifest(version: &str) -> String {
    format!("image: registry.k8s.io/kube-apiserver:v{version}\n")
}

#[tokio::test]
async fn an_upgrade_that_was_cut_off_between_control_planes_is_told_at_once() {
    let inventory = "a\nc\nb\n[kube_control_plane]\na\nc\n[etcd]\na\n[kube_node]\na\nb\nc\n";
    let cut_off = "the control planes run 1.36.3 and 1.37.2: an upgrade was cut off";
    let finish = "finish it: upgrade-cluster -e kube_version=1.37.2";
    let other = "1.37.2, but the cluster runs 1.36.3";
    for (of_c, vars, found, remedy) in [
        ("1.37.2", VARS.to_owned(), cut_off, finish),
        (
            "1.36.3",
            VARS.replace("1.36.3", "1.37.2"),
            other,
            "bring the cluster to it: upgrade-cluster -e kube_version=1.37.2;",
        ),
    ] {
        let [of_a, of_c] = [manifest("1.36.3"), manifest(of_c)];
        let path = |host: &str| format!("{host}/manifests/kube-apiserver.yaml");
        let marks = [("a/kubeadm-init", "x\n"), ("c/kubeadm-init", "x\n")];
        let (a, c) = (path("a"), path("c"));
        let files = [&marks[..], &[(a.as_str(), of_a.as_str()), (c.as_str(), of_c.as_str())]].concat();
        let written = inventory_and_vars(inventory, &vars);
        // A kubectl that has nothing to say: nobody is to wait for it.
        let (outcome, _) =
            verify_with(NetworkTest::Always, written, &["a", "c"], &[], &files, &["a", "b", "c"], "").await;
        for plane in ["a", "c"] {
            let Some(Failure::Problems(problems)) = &outcome[plane].failure else { panic!("{outcome:?}") };
            assert_eq!((problems.len(), problems[0].found.as_str()), (1, found));
            assert!(problems[0].remedy.starts_with(remedy), "{problems:?}");
        }
    }
}

#[tokio::test]
async fn what_an_upgrade_has_left_is_told_before_anything_is_waited_for() {
    let api_server = manifest("1.36.3");
    let certificate = crate::cluster::tests::certificate("system:node:b", false);
    let files = [
        ("a/kubeadm-init", "x\n"),
        ("a/manifests/kube-apiserver.yaml", api_server.as_str()),
        ("b/kubelet-client-current.pem", certificate.as_str()),
        ("kubelet", "#!/bin/sh\necho Kubernetes v1.35.4\n"),
        ("etcd", "#!/bin/sh\necho 'etcd Version: 3.7.3'\n"),
    ];
    let written = inventory_and_vars(INVENTORY, VARS);
    let hosts = &["a", "b", "off1"];
    let unwell = SEEN.replace("||b|uid2||True|boot2|v1.36.3", "||b|uid2||False|boot2|v1.35.4");
    let (outcome, events) =
        verify_with(NetworkTest::Always, written, &["a"], &["b"], &files, hosts, &unwell).await;
    assert!(matches!(outcome["a"].failure, Some(Failure::Unwell { .. })), "{outcome:?}");
    for told in [
        "the kubelet of b is 1.35.4, older than the API servers (1.36.3); to finish the upgrade: upgrade-cluster -e kube_version=1.36.3",
        "etcd is 3.7.3 already, and Kubernetes 1.36.3 comes with 3.6.14: an upgrade was cut off; this finishes it: upgrade-cluster -e \
         kube_version=1.37.2",
    ] {
        assert_eq!(
            warnings(&events).iter().filter(|text| **text == told).count(),
            1,
            "{:?}",
            warnings(&events)
        );
    }
}

#[tokio::test]
async fn a_machine_that_never_joined_is_told_at_once_and_the_others_are_looked_at() {
    // It is no node; whether b has joined is said by its kubelet.
    let seen = SEEN.replace("Node||b|", "Node||c|").replace("||||b|", "||||c|");
    let api_server = manifest("1.36.3");
    let files = [("a/kubeadm-init", "x\n"), ("a/manifests/kube-apiserver.yaml", api_server.as_str())];
    for (network, joined, told) in [
        (NetworkTest::Always, &["b"][..], false),
        (NetworkTest::Always, &[], true),
        // A set-up that takes it in has just waited for it.
        (NetworkTest::AsWritten, &[], false),
    ] {
        let written = inventory_and_vars(INVENTORY, VARS);
        let (outcome, events) =
            verify_with(network, written, &["a"], joined, &files, &["a", "b"], &seen).await;
        let of_b = outcome["b"].failure.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(
            of_b.starts_with("b is not in the cluster: "),
            told,
            "{network:?} {joined:?}: {outcome:?}"
        );
        let passed_over = warnings(&events).iter().any(|text| text.starts_with("not looked at: b"));
        assert_eq!(passed_over, told, "{network:?} {joined:?}: {events:?}");
    }
}

#[tokio::test]
async fn a_load_balancer_has_to_lead_to_each_control_plane_whose_api_server_answers() {
    let inventory = "a\nc\nb\n[kube_control_plane]\na\nc\n[etcd]\na\n[kube_node]\nb\n";
    let api_server = manifest("1.36.3");
    let [of_b, of_c] =
        ["b", "c"].map(|name| crate::cluster::tests::certificate(&format!("system:node:{name}"), false));
    // Whether the load balancer of b leads to c, and whether the API server of c answers there.
    for (knows_c, c_answers, told) in [(true, true, false), (false, true, true), (false, false, false)] {
        let kubectl = format!(
            "#!/bin/sh\ncase $* in *:8081*/c) {knows_c} ;; *:8081*) ;; *://c*readyz*) {c_answers} ;; *readyz*) ;; *) exit 1 ;; esac\n"
        );
        let files = [
            ("kubectl", kubectl.as_str()),
            ("kubelet", "#!/bin/sh\necho Kubernetes v1.36.3\n"),
            ("a/kubeadm-init", "x\n"),
            ("c/kubeadm-init", "x\n"),
            ("a/manifests/kube-apiserver.yaml", api_server.as_str()),
            ("c/manifests/kube-apiserver.yaml", api_server.as_str()),
            ("b/kubelet.conf", "    server: https://127.0.0.1:6443\n"),
            ("b/kubelet-client-current.pem", of_b.as_str()),
            ("c/kubelet.conf", ""),
            ("c/kubelet-client-current.pem", of_c.as_str()),
            ("c/controller-manager.conf", "    server: https://c:6443\n"),
        ];
        let written = inventory_and_vars(inventory, VARS);
        let hosts = &["a", "b", "c"];
        let (outcome, _) =
            verify_with(NetworkTest::Always, written, &["a", "c"], &[], &files, hosts, "").await;
        let failure =
            |host: &str| outcome[host].failure.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(failure("c").contains("its own API server does not answer"), !c_answers, "{outcome:?}");
        assert_eq!(
            failure("b").contains("its load balancer reaches no API server on c"),
            told,
            "{outcome:?}"
        );
    }
}
