//! The role on several machines at once: this very one under two names, and one that cannot be reached.

use std::path::Path;

use muster_engine::prelude::*;
use muster_engine::run::Outcome;

use super::fixture::inventory_and_vars;

async fn run(ini: &str) -> Outcome {
    let world = inventory_and_vars(ini, "skydns_server: 10.233.0.3");
    let hosts: Vec<String> = world.0.hosts().map(|host| host.name().to_owned()).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let play = serde_json::json!([{
        "name": "Check", "hosts": "k8s_cluster:etcd", "roles": ["preflight"], "any_errors_fatal": true,
    }]);
    crate::testing::run(world, &hosts, play, Path::new("/nowhere")).await.0
}

fn problems(outcome: &Outcome, host: &str) -> Vec<Problem> {
    match &outcome[host].failure {
        Some(Failure::Problems(problems)) => problems.clone(),
        other => panic!("{host}: {other:?}"),
    }
}

#[tokio::test]
async fn machines_are_compared_and_one_that_is_off_holds_up_nobody() {
    let ini =
        "a ip=192.0.2.4\nb ip=192.0.2.4\noff1\n[kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\nb\noff1\n";
    let outcome = run(ini).await;
    assert!(outcome["off1"].failure.as_ref().is_some_and(Failure::is_unreachable), "{outcome:?}");
    let (a, b) = (problems(&outcome, "a"), problems(&outcome, "b"));
    let told = |list: &[Problem], found: &str| list.iter().filter(|p| p.found.contains(found)).count();
    for (host, list) in [("a", &a), ("b", &b)] {
        assert_eq!(told(list, "192.0.2.4 of a, b"), 1, "{host}: {list:?}");
        assert_eq!(told(list, "192.0.2.4 is not an address of the machine"), 1, "{host}: {list:?}");
        assert_eq!(outcome[host].summary.exchanges, 2, "{host}: the facts, and one more");
        assert_eq!(outcome[host].summary.counts, Default::default(), "{host}");
    }
    assert_eq!(
        told(&a, "nothing of it") + told(&b, "nothing of it"),
        1,
        "the bundle is told of once: {a:?} {b:?}"
    );
}
