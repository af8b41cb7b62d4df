//! The role on several machines at once: this very one under two names, and one that cannot be reached.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_artifacts::Bundle;
use muster_engine::event::Events;
use muster_engine::play::Play;
use muster_engine::prelude::*;
use muster_engine::run::{Outcome, Run};
use muster_engine::transport::{Exec, Exit, Program, Transport, TransportError};
use tokio::io::AsyncWriteExt;

use super::fixture::inventory_and_vars;

/// Runs programs with a shell of this machine.
struct Here;

impl Transport for Here {
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(async {
            let Program::Text(text) = exec.program else { panic!("preflight uploads nothing") };
            let mut sh = tokio::process::Command::new("sh");
            let mut child = sh
                .arg("-s")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
            let out = child.wait_with_output().await.unwrap();
            Ok(Exit { status: out.status.code().unwrap(), stdout: out.stdout, stderr: out.stderr })
        })
    }
}

/// A machine that is off.
struct Off;

impl Transport for Off {
    fn exec(&self, _: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let (reason, remedy) = ("no answer".into(), "switch it on".into());
            Err(TransportError::Unreachable { address: "off:22".into(), reason, remedy })
        })
    }
}

async fn run(ini: &str) -> Outcome {
    let (inventory, vars) = inventory_and_vars(ini, "skydns_server: 10.233.0.3");
    let hosts: Vec<String> = inventory.hosts().map(|host| host.name().to_owned()).collect();
    let play: Play = serde_json::from_value(serde_json::json!({
        "name": "Check", "hosts": "k8s_cluster:etcd", "roles": ["preflight"], "any_errors_fatal": true,
    }))
    .unwrap();
    let connect = |name: &str| -> Result<Arc<dyn Transport>> {
        Ok(if name.starts_with("off") { Arc::new(Off) } else { Arc::new(Here) })
    };
    // Nobody listens: events that are not taken are lost, which stops nothing.
    let (events, _) = Events::channel();
    let run = Run {
        inventory,
        vars,
        plays: &[play],
        roles: crate::ROLES,
        hosts: &hosts,
        connect: &connect,
        bundle: Arc::new(Bundle::empty("/nowhere")),
        project: "/nowhere".into(),
        check: false,
        lock: None,
        forks: 10,
        cancel: Default::default(),
        events,
    };
    tokio::time::timeout(Duration::from_secs(60), run.execute())
        .await
        .expect("nobody waits for ever")
        .unwrap()
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
