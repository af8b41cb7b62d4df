//! The pod network, tested by pods: one on every node. From each of them: every other one, the cluster's names, a service
//! by its name and address, and the same service at a port of every node.

use muster_engine::prelude::*;
use serde_json::json;

use super::{Node, listed, pods};
use crate::catalogue::image;
use crate::common::{ADMIN_CONF, cluster_vars, ip_of};

/// What was there when the network was last found to work: the same nodes at the same versions need no new test.
const STAMP: &str = "/var/lib/muster/stamps/network-verified";

/// Whether nothing has changed since the network was last found to work.
pub(super) async fn is_proven(host: &Host, state: &str) -> Result<bool> {
    if host.check_mode() {
        return Ok(true);
    }
    let stamped = host.query(sh(r#"[ "$(cat "$1")" = "$2" ]"#, [STAMP, state])).await?;
    Ok(stamped.status == 0 && !host.cluster().changed())
}

/// Tests the network, and waits for the system's pods as every look at the cluster does: the test's own start in that time.
pub(super) async fn test(host: &Host, nodes: &[Node], state: &str, limit: Duration) -> Result<()> {
    let outcome = test_with_pods(host, nodes, limit).await;
    // The test's own pods go whatever it found; the next run would take them away too.
    let remove = sh(
        "kubectl --kubeconfig \"$1\" delete namespace muster-verify --wait=false --ignore-not-found",
        [ADMIN_CONF],
    );
    host.run("Remove the test pods", remove, Duration::from_secs(60)).await?;
    outcome?;
    let stamp = sh(r#"mkdir -p "${1%/*}"; printf %s "$2" >"$1""#, [STAMP, state]);
    host.run("Remember that the network works", stamp, Duration::from_secs(60)).await.map(drop)
}

async fn test_with_pods(host: &Host, nodes: &[Node], limit: Duration) -> Result<()> {
    let cluster = cluster_vars(host)?;
    let extra = json!({ "image": image(host, "agnhost", &cluster.kube_version)? });
    let manifest = host.render("probe.yaml.j2", include_str!("templates/probe.yaml.j2"), &extra)?;
    // A namespace that is still being removed by an earlier run takes nothing new.
    let apply = sh(
        r#"
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  [ "$(kubectl --kubeconfig "$1" get namespace muster-verify -o 'jsonpath={.status.phase}' 2>/dev/null)" = Terminating ] || break
  sleep 1
done
printf '%s' "$2" | kubectl --kubeconfig "$1" apply --server-side --force-conflicts --field-manager=muster -f -"#,
        [ADMIN_CONF, &manifest],
    );
    host.run("Start a pod on every node", apply, Duration::from_secs(60)).await?;
    pods(host, nodes, limit).await?;

    let ready = sh(
        r#"
seen=$(kubectl --kubeconfig "$1" -n muster-verify get pods --no-headers -o wide) || exit 1
running=$(echo "$seen" | awk -v nodes="$3" '$2 == "1/1" && $3 == "Running" && index(nodes, " " $(NF-2) " ")' | wc -l)
[ "$running" -ge "$2" ] || { echo "$seen"; exit 1; }"#,
        [ADMIN_CONF.to_owned(), nodes.len().to_string(), listed(nodes)],
    );
    host.wait("a pod on every node", ready, Duration::from_millis(300), limit).await?;

    let mut addresses = Vec::new();
    for node in nodes {
        addresses.push(ip_of(host, &node.host)?.to_string());
    }
    let fixed = [ADMIN_CONF.to_owned(), cluster.dns_domain, listed(nodes)];
    let script = sh(CONNECT, fixed.into_iter().chain(addresses));
    host.wait("every pod reaches every pod, names and services", script, Duration::from_secs(1), limit)
        .await
        .map(drop)
}

/// Asks the API server to pass a request to each pod, which then tries all targets itself. Prints what could not be
/// reached, and from where. Eight pods try at once: each has a target for every node.
const CONNECT: &str = r#"
conf=$1 domain=$2 nodes=$3; shift 3
pods=$(kubectl --kubeconfig "$conf" -n muster-verify get pods -o 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.spec.nodeName}{"\n"}{end}') || exit 1
pods=$(echo "$pods" | awk -v nodes="$nodes" 'NF == 3 && index(nodes, " " $3 " ")')
service=$(kubectl --kubeconfig "$conf" -n muster-verify get service echo -o 'jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}') || exit 1
targets="kubernetes.default.svc.$domain:443 echo.muster-verify.svc.$domain:80 ${service% *}:80"
for node; do targets="$targets $node:${service#* }"; done
targets="$targets $(echo "$pods" | awk 'NF { printf "%s:8080 ", $2 }')"
command="for t in $targets; do /agnhost connect --timeout=3s \$t >/dev/null 2>&1 || echo unreachable=\$t; done; echo tested"
encoded=$(printf %s "$command" | sed 's/%/%25/g; s/ /%20/g; s/;/%3B/g; s/>/%3E/g; s/&/%26/g; s/\$/%24/g; s/|/%7C/g; s/=/%3D/g; s/\//%2F/g; s/:/%3A/g')
echo "$pods" | xargs -P 8 -n 3 sh -c '
  pod=$3 node=$5
  answer=$(kubectl --kubeconfig "$1" get --raw "/api/v1/namespaces/muster-verify/pods/$pod:8080/proxy/shell?cmd=$2" 2>&1)
  case $answer in *unreachable=*|*error*) ;; *tested*) exit ;; esac
  echo "from the pod on $node: $answer"
  exit 1' sh "$conf" "$encoded""#;
