//! verify: the cluster works. Seen from the first control plane, because that needs nothing on this side.
//!
//! Versions, nodes and pods are looked at in every run. The network is tested with pods of its own when anything was
//! changed since it was last tested, and always by `muster verify`; they are removed afterwards.

mod network;

use muster_engine::prelude::*;
use serde::Deserialize;

use crate::common::{ADMIN_CONF, cluster_vars, first_control_plane, ip};

#[derive(Deserialize)]
struct Vars {
    verify_network: String,
    verify_timeout: u64,
}

pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    let limit = Duration::from_secs(vars.verify_timeout);
    if host.in_group("kube_control_plane") {
        api_server(host, limit).await?;
    }
    if first_control_plane(host)? != host.name() {
        return Ok(());
    }
    nodes(host, limit).await?;
    pods(host, limit).await?;
    match vars.verify_network.as_str() {
        "never" => Ok(()),
        "always" => network::test(host, limit).await,
        "changed" if network::is_proven(host).await? => Ok(()),
        "changed" => network::test(host, limit).await,
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

/// The nodes of the cluster are the hosts of the inventory, and all are Ready.
async fn nodes(host: &Host, limit: Duration) -> Result<()> {
    let mut names = Vec::new();
    for node in host.cluster().group("k8s_cluster") {
        let vars = host.cluster().vars_of(&node)?;
        let name = vars.get("kube_override_hostname")?.and_then(|v| v.as_str().map(str::to_owned));
        names.push(name.unwrap_or(node));
    }
    let script = sh(
        r#"
conf=$1; shift
seen=$(kubectl --kubeconfig "$conf" get nodes --no-headers) || exit 1
for node; do
  echo "$seen" | awk -v node="$node" '$1 == node && $2 ~ /^Ready/ { found = 1 } END { exit !found }' || {
    echo "$node is not Ready:"; echo "$seen"; exit 1
  }
done"#,
        [ADMIN_CONF.to_owned()].into_iter().chain(names),
    );
    host.wait("all nodes Ready", script, Duration::from_millis(500), limit).await.map(drop)
}

/// All pods of the system's namespaces run. A user's own broken pods are no fault of the cluster.
async fn pods(host: &Host, limit: Duration) -> Result<()> {
    let script = sh(
        r#"
seen=$(kubectl --kubeconfig "$1" get pods -A --no-headers) || exit 1
echo "$seen" | awk '
  $1 == "kube-system" || $1 == "kube-flannel" {
    total++
    split($3, ready, "/")
    if ($4 != "Completed" && ($4 != "Running" || ready[1] != ready[2])) { print; waiting++ }
  }
  END { exit waiting > 0 || total == 0 }'"#,
        [ADMIN_CONF],
    );
    host.wait("all pods Running", script, Duration::from_millis(500), limit).await.map(drop)
}
