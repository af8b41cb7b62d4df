//! The role against a kubectl that answers from two files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use muster_engine::event::Event;
use muster_engine::prelude::*;
use muster_engine::run::Outcome;
use serde_json::json;

use crate::preflight::fixture::inventory_and_vars;
use crate::testing::run;

const INVENTORY: &str = "a\nb\noff1\n[kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\nb\noff1\n";

/// What `kubectl get nodes` with the role's columns and `kubectl get pods -A -o wide` show of a cluster in which off1 is off.
const NODES: &str = "a uid1 boot1 v1.36.3 True\nb uid2 boot2 v1.36.3 True\noff1 uid3 boot3 v1.36.3 Unknown\n";
const PODS: &str = "\
kube-system kube-proxy-1 1/1 Running 2 (3m ago) 5m 10.0.0.1 a <none> <none>
kube-system kube-proxy-2 1/1 Running 0 5m 10.0.0.2 b <none> <none>
kube-system kube-proxy-3 0/1 Running 0 5m 10.0.0.3 off1 <none> <none>
course web 0/1 CrashLoopBackOff 9 5m 10.0.0.4 b <none> <none>
";

/// Runs the role on these hosts with a cluster that looks like this.
async fn verify(hosts: &[&str], nodes: &str, pods: &str) -> (Outcome, Vec<Event>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nodes"), nodes).unwrap();
    fs::write(folder.path().join("pods"), pods).unwrap();
    let kubectl = folder.path().join("kubectl");
    let script = format!(
        "#!/bin/sh\ncase $* in\n*' /version') echo '\"gitVersion\": \"v1.36.3\"' ;;\n\
         *'get nodes'*) cat {0}/nodes ;;\n*'get pods'*) cat {0}/pods ;;\n*) exit 1 ;;\nesac\n",
        folder.path().display()
    );
    fs::write(&kubectl, script).unwrap();
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
    let vars = "kube_version: 1.36.3\nverify_network: never\nverify_timeout: 1\nip: 127.0.0.1\n";
    let play = json!([{ "name": "Verify", "hosts": "k8s_cluster", "roles": ["verify"] }]);
    let path: &Path = folder.path();
    run(inventory_and_vars(INVENTORY, vars), hosts, play, path).await
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
        let (outcome, events) = verify(hosts, NODES, PODS).await;
        assert!(outcome["a"].failure.is_none(), "{outcome:?}");
        assert_eq!(warnings(&events), [told]);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_node_of_the_run_is_waited_for_and_told() {
    let not_ready = NODES.replace("boot2 v1.36.3 True", "boot2 v1.36.3 False");
    let pending = PODS.replace("1/1 Running 0 5m 10.0.0.2 b", "0/1 Pending 0 5m <none> <none>");
    for (nodes, pods, what) in
        [(not_ready.as_str(), PODS, "all nodes Ready"), (NODES, pending.as_str(), "all pods Running")]
    {
        let (outcome, _) = verify(&["a", "b", "off1"], nodes, pods).await;
        let Some(Failure::Waited { what: waited, .. }) = &outcome["a"].failure else { panic!("{outcome:?}") };
        assert_eq!(waited, what);
    }
}
