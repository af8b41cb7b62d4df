//! verify: the cluster works. Seen from the first control plane, because that needs nothing on this side.
//!
//! Versions, nodes and pods are looked at in every run. The network is tested with pods of its own when anything was
//! changed since it was last tested, and always by `muster verify`; they are removed afterwards.

mod network;
#[cfg(test)]
mod tests;

use muster_engine::prelude::*;
use serde::Deserialize;

use crate::common::{ADMIN_CONF, cluster_vars, first_control_plane, ip};

/// What this role tells other hosts.
const HERE: &str = "a machine that can be looked at";

#[derive(Deserialize)]
struct Vars {
    verify_network: String,
    verify_timeout: u64,
}

pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    let limit = Duration::from_secs(vars.verify_timeout);
    host.reached(HERE);
    if host.in_group("kube_control_plane") {
        api_server(host, limit).await?;
    }
    if first_control_plane(host)? != host.name() {
        return Ok(());
    }
    let nodes = nodes_to_look_at(host).await?;
    let state = are_ready(host, &nodes, limit).await?;
    match vars.verify_network.as_str() {
        "never" => pods(host, &nodes, limit).await,
        "changed" if network::is_proven(host, &state).await? => pods(host, &nodes, limit).await,
        "changed" | "always" => network::test(host, &nodes, &state, limit).await,
        other => Err(Failure::new(
            format!("verify_network is {other:?}"),
            "set verify_network to changed, always or never",
        )),
    }
}

/// Every control plane's own API server answers, with the version that was asked for.
async fn api_server(host: &Host, limit: Duration) -> Result<()> {
    let cluster = cluster_vars(host)?;
    let url = format!("https://{}:{}", ip(host)?, cluster.kube_apiserver_port);
    let script = sh(
        r#"kubectl --kubeconfig "$1" --server "$2" get --raw /version | grep -q "\"gitVersion\": \"v$3\"" ||
{ kubectl --kubeconfig "$1" --server "$2" get --raw /version 2>&1; exit 1; }"#,
        [ADMIN_CONF, &url, &cluster.kube_version],
    );
    host.wait(&format!("API server {}", cluster.kube_version), script, Duration::from_secs(1), limit)
        .await
        .map(drop)
}

/// A node of the cluster.
struct Node {
    /// The inventory's name of its machine.
    host: String,
    /// Its name in the cluster.
    name: String,
}

/// The names of nodes for awk, each between two blanks.
fn listed(nodes: &[Node]) -> String {
    format!(" {} ", nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" "))
}

/// The hosts of the inventory as nodes, without those that failed in this run or are no part of it. They are named, and not
/// waited for: nothing that this run does could make them Ready.
async fn nodes_to_look_at(host: &Host) -> Result<Vec<Node>> {
    let (mut nodes, mut failed, mut outside) = (Vec::new(), Vec::new(), Vec::new());
    for name in host.cluster().group("k8s_cluster") {
        if !host.cluster().in_run(&name) {
            outside.push(name);
            continue;
        }
        match host.needs(&name, HERE).await {
            Ok(()) => {
                let vars = host.cluster().vars_of(&name)?;
                let other = vars.get("kube_override_hostname")?.and_then(|v| v.as_str().map(str::to_owned));
                nodes.push(Node { name: other.unwrap_or_else(|| name.clone()), host: name });
            }
            Err(Failure::Dependency { .. }) => failed.push(name),
            Err(failure) => return Err(failure),
        }
    }
    for (hosts, why) in [(failed, "failed"), (outside, "no part of this run")] {
        if !hosts.is_empty() {
            host.warn(format!("not looked at: {} ({why})", hosts.join(", ")));
        }
    }
    Ok(nodes)
}

/// All these nodes are Ready. What a test of the network is good for: all nodes with name, identity and versions, sorted, and
/// which of them are looked at.
async fn are_ready(host: &Host, nodes: &[Node], limit: Duration) -> Result<String> {
    let names = nodes.iter().map(|node| node.name.clone());
    let script = sh(
        r#"
conf=$1; shift
seen=$(kubectl --kubeconfig "$conf" get nodes --sort-by=.metadata.name -o 'jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.nodeInfo.bootID} {.status.nodeInfo.kubeletVersion} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}') || exit 1
for node; do
  echo "$seen" | awk -v node="$node" '$1 == node && $NF == "True" { found = 1 } END { exit !found }' || {
    echo "$node is not Ready:"; kubectl --kubeconfig "$conf" get nodes; exit 1
  }
done
echo "$seen""#,
        [ADMIN_CONF.to_owned()].into_iter().chain(names),
    );
    let seen = host.wait("all nodes Ready", script, Duration::from_millis(500), limit).await?.output;
    let known = seen.lines().filter_map(|line| line.rsplit_once(' ')).map(|(known, _ready)| known);
    let mut state: Vec<_> = known.map(str::to_owned).collect();
    state.push(format!("tested:{}", listed(nodes).trim_end()));
    Ok(state.join("\n"))
}

/// All pods of the system's namespaces run, as far as they are on these nodes or on none yet. A user's own broken pods are
/// no fault of the cluster.
async fn pods(host: &Host, nodes: &[Node], limit: Duration) -> Result<()> {
    // Columns are counted from the end, because the age of a restart may be in front: `2 (3m ago)`.
    let script = sh(
        r#"
seen=$(kubectl --kubeconfig "$1" get pods -A -o wide --no-headers) || exit 1
echo "$seen" | awk -v nodes="$2" '
  ($1 == "kube-system" || $1 == "kube-flannel") && ($(NF-2) == "<none>" || index(nodes, " " $(NF-2) " ")) {
    total++
    split($3, ready, "/")
    if ($4 != "Completed" && ($4 != "Running" || ready[1] != ready[2])) { print; waiting++ }
  }
  END { exit waiting > 0 || total == 0 }'"#,
        [ADMIN_CONF.to_owned(), listed(nodes)],
    );
    host.wait("all pods Running", script, Duration::from_millis(500), limit).await.map(drop)
}
