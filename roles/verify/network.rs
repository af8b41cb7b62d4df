//! The pod network, tested by pods: one on every node. From each of them: every other one, the cluster's names, a service
//! by its name and address, and the same service at a port of every node.
//!
//! The pods only answer, with their names; what connects is run in them by `kubectl exec`. So nobody who reaches a node can
//! have anything run.

use std::time::{SystemTime, UNIX_EPOCH};

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::{Node, State, are_well};
use crate::catalogue::image;
use crate::common::{cluster_vars, ip_of};
use crate::diagnosis;
use crate::kubectl::{Kubectl, kubectl};

/// What the pods of all tests are known by.
const LABEL: &str = "app.kubernetes.io/name=muster-verify";

/// What the pods of one test are known by, before its name.
const INSTANCE: &str = "app.kubernetes.io/instance=";

#[derive(Deserialize)]
struct Vars {
    dns_mode: String,
}

/// Tests the network, and that the cluster is well, as every look at it does: the test's pods start while it is waited for.
pub(super) async fn test(host: &Host, kubectl: &Kubectl<'_>, nodes: &[Node], limit: Duration) -> Result<()> {
    // Tests that were cut off have left pods until their deadline, and a node takes so many only.
    remove(kubectl).await?;
    let outcome = test_with_pods(host, kubectl, nodes, limit).await;
    // The test's own pods go whatever it found.
    remove(kubectl).await?;
    let state = outcome?;
    let names = nodes.iter().map(|node| node.name.clone());
    let note = kubectl!(
        r#"note=$1; shift; kubectl annotate --overwrite nodes "$@" "muster.io/network-verified=$note" >/dev/null"#,
        std::iter::once(state.hash()).chain(names)
    );
    kubectl.run("Remember that the network works", note).await.map(drop)
}

/// Nothing of any test is left.
async fn remove(kubectl: &Kubectl<'_>) -> Result<()> {
    let delete = kubectl!(
        r#"kubectl -n kube-system delete pods,services,jobs -l "$1" --wait=false --ignore-not-found"#,
        [LABEL]
    );
    kubectl.run("Remove the test pods", delete).await.map(drop)
}

/// Returns what it is proven for.
async fn test_with_pods(
    host: &Host,
    kubectl: &Kubectl<'_>,
    nodes: &[Node],
    limit: Duration,
) -> Result<State> {
    let cluster = cluster_vars(host)?;
    // A name of its own: the cluster's DNS remembers the last test's service for half a minute.
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("muster-verify-{:x}", time.as_millis());
    let extra = json!({
        "name": name,
        "image": image(host, "agnhost", &cluster.kube_version)?,
        "nodes": nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(),
        // Three things are waited for below.
        "deadline": 3 * limit.as_secs() + 60,
    });
    let keeper = host.render("keeper.yaml.j2", include_str!("templates/keeper.yaml.j2"), &extra)?;
    let objects = host.render("probe.yaml.j2", include_str!("templates/probe.yaml.j2"), &extra)?;
    let start = kubectl!(include_str!("start.sh"), [keeper, objects]);
    kubectl.run("Start a pod on every node", start).await?;
    let state = are_well(host, kubectl, nodes, limit).await?;

    let label = format!("{INSTANCE}{name}");
    let running = kubectl!(include_str!("running.sh"), [label.clone(), nodes.len().to_string()]);
    let wait = Wait::new("a pod on every node", running, Duration::from_millis(300), limit);
    diagnosis::wait_in_cluster(host, kubectl, wait).await?;

    let mut addresses = Vec::new();
    for node in nodes {
        addresses.push(ip_of(host, &node.host)?.to_string());
    }
    // Without a server of muster's nobody may give names yet.
    let vars: Vars = host.vars()?;
    let domain = if vars.dns_mode == "none" { String::new() } else { cluster.dns_domain };
    let args = [label, name, domain].into_iter().chain(addresses);
    let connect = kubectl!(include_str!("connect.sh"), args);
    let what = "every pod reaches every pod, names and services";
    kubectl.wait(Wait::new(what, connect, Duration::from_secs(1), limit)).await?;
    Ok(state)
}
