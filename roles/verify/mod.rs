//! verify: the cluster works. Seen from the first control plane, because that needs nothing on this side.
//!
//! Versions, nodes and pods are looked at in every run. The network is tested with pods of its own when anything was
//! changed since it was last tested, and always by `muster verify`; they are removed afterwards.

mod network;
#[cfg(test)]
mod tests;

use muster_engine::prelude::*;
use serde::Deserialize;

use crate::common::{cluster_vars, first_control_plane};
use crate::kubectl::ADMIN_CONF;

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
    if first_control_plane(host)? != host.name() {
        return Ok(());
    }
    let nodes = nodes_to_look_at(host).await?;
    let test = match vars.verify_network.as_str() {
        "never" => false,
        "always" => true,
        "changed" => host.cluster().changed() && !host.check_mode(),
        other => {
            return Err(Failure::new(
                format!("verify_network is {other:?}"),
                "set verify_network to changed, always or never",
            ));
        }
    };
    if test {
        return network::test(host, &nodes, limit).await;
    }
    let state = are_well(host, &nodes, limit).await?;
    if vars.verify_network == "never" || network::is_proven(host, &state).await? {
        return Ok(());
    }
    network::test(host, &nodes, limit).await
}

/// A node of the cluster.
struct Node {
    /// The inventory's name of its machine.
    host: String,
    /// Its name in the cluster.
    name: String,
}

/// The names of nodes for awk, each between two blanks.
fn listed<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> String {
    format!(" {} ", nodes.into_iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" "))
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

/// All these nodes are Ready; so are the pods of the system's namespaces, as far as they are on these nodes or on none yet (a
/// user's own broken pods are no fault of the cluster); each control plane has an API server of the wanted version. Looked at
/// with one kubectl, because starting it is what a look costs.
///
/// Returns what a test of the network is good for: all nodes with name, identity and versions, and which are looked at.
async fn are_well(host: &Host, nodes: &[Node], limit: Duration) -> Result<String> {
    let version = cluster_vars(host)?.kube_version;
    let planes = host.cluster().group("kube_control_plane");
    let planes: Vec<_> = nodes.iter().filter(|node| planes.contains(&node.host)).collect();
    let script = sh(LOOK, [ADMIN_CONF.to_owned(), listed(nodes), listed(planes), version]);
    let seen = host.wait("nodes and pods are well", script, Duration::from_millis(500), limit).await?.output;
    let mut state: Vec<_> = seen.lines().map(str::to_owned).collect();
    state.sort();
    state.push(format!("tested:{}", listed(nodes).trim_end()));
    Ok(state.join("\n"))
}

/// Prints what is not well, or the nodes.
const LOOK: &str = r#"
seen=$(kubectl --kubeconfig "$1" get nodes,pods -A -o 'jsonpath={range .items[*]}{.kind}|{.metadata.namespace}|{.metadata.name}|{.spec.nodeName}|{.status.phase}|{.status.conditions[?(@.type=="Ready")].status}|{.metadata.uid}|{.status.nodeInfo.bootID}|{.status.nodeInfo.kubeletVersion}|{.spec.containers[0].image}|{.status.containerStatuses[*].state.waiting.reason}{"\n"}{end}') || exit 1
echo "$seen" | awk -F '|' -v nodes="$2" -v planes="$3" -v version="v$4" '
  function wrong(text) { print text; bad = 1 }
  $1 == "Node" { ready[$3] = $6 == "True"; known = known $3 " " $7 " " $8 " " $9 "\n" }
  $1 == "Pod" && ($2 == "kube-system" || $2 == "kube-flannel") && ($4 == "" || index(nodes, " " $4 " ")) {
    total++
    if ($5 != "Succeeded" && ($5 != "Running" || $6 != "True"))
      wrong($2 "/" $3 ($4 == "" ? "" : " on " $4) ": " $5 ($5 == "Running" ? ", not ready" : "") ($11 == "" ? "" : ", " $11))
    if ($3 == "kube-apiserver-" $4) image[$4] = $10
  }
  END {
    n = split(nodes, list, " ")
    for (i = 1; i <= n; i++) {
      if (!(list[i] in ready)) wrong("node " list[i] " is not in the cluster")
      else if (!ready[list[i]]) wrong("node " list[i] " is not Ready")
    }
    n = split(planes, list, " ")
    for (i = 1; i <= n; i++) {
      runs = image[list[i]]
      if (substr(runs, length(runs) - length(version)) != ":" version)
        wrong("the API server of " list[i] " is not " version ": " (runs == "" ? "it has none" : runs))
    }
    if (!total) wrong("no pod of the system is there")
    if (!bad) printf "%s", known
    exit bad
  }'"#;
