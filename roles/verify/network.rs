//! The pod network, tested by pods: one on every node. From each of them: every other one, the cluster's names, a service
//! by its name and address, and the same service at a port of every node.

use std::time::{SystemTime, UNIX_EPOCH};

use muster_engine::prelude::*;
use serde_json::json;

use super::{Node, are_well, listed};
use crate::catalogue::image;
use crate::common::{cluster_vars, ip_of};
use crate::kubectl::{ADMIN_CONF, api_answers};

/// What was there when the network was last found to work: the same nodes at the same versions need no new test.
const STAMP: &str = "/var/lib/muster/stamps/network-verified";

/// What the namespaces of tests are known by.
const LABEL: &str = "app.kubernetes.io/name=muster-verify";

/// Whether the network was found to work as the nodes are now. Nothing is tested just to look.
pub(super) async fn is_proven(host: &Host, state: &str) -> Result<bool> {
    if host.check_mode() {
        return Ok(true);
    }
    let stamped = host.query(sh(r#"[ "$(cat "$1")" = "$2" ]"#, [STAMP, state])).await?;
    Ok(stamped.status == 0)
}

/// Tests the network, and that the cluster is well, as every look at it does: the test's pods start while it is waited for.
pub(super) async fn test(host: &Host, nodes: &[Node], limit: Duration) -> Result<()> {
    // One that restarts is back by then.
    api_answers(host, Duration::from_secs(30)).await?;
    // Tests that were cut off have left pods, and a node takes so many only.
    remove(host).await?;
    let outcome = test_with_pods(host, nodes, limit).await;
    // The test's own pods go whatever it found.
    remove(host).await?;
    let state = outcome?;
    let stamp = sh(r#"mkdir -p "${1%/*}"; printf %s "$2" >"$1""#, [STAMP, &state]);
    host.run("Remember that the network works", stamp, Duration::from_secs(60)).await.map(drop)
}

/// The pods of all tests go, in a while.
async fn remove(host: &Host) -> Result<()> {
    let delete = sh(
        r#"kubectl --kubeconfig "$1" delete namespace -l "$2" --wait=false --ignore-not-found"#,
        [ADMIN_CONF, LABEL],
    );
    host.run("Remove the test pods", delete, Duration::from_secs(60)).await.map(drop)
}

/// Returns for which nodes it is proven.
async fn test_with_pods(host: &Host, nodes: &[Node], limit: Duration) -> Result<String> {
    let cluster = cluster_vars(host)?;
    // A namespace of its own: the last test's may still be going, and the cluster's DNS remember its service for half a minute.
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let namespace = format!("muster-verify-{:x}", time.as_millis());
    let image = image(host, "agnhost", &cluster.kube_version)?;
    let extra = json!({ "image": image, "namespace": namespace, "label": LABEL.replace('=', ": ") });
    let manifest = host.render("probe.yaml.j2", include_str!("templates/probe.yaml.j2"), &extra)?;
    let apply = sh(
        r#"printf '%s' "$2" | kubectl --kubeconfig "$1" apply --server-side --force-conflicts --field-manager=muster -f -"#,
        [ADMIN_CONF, &manifest],
    );
    host.run("Start a pod on every node", apply, Duration::from_secs(60)).await?;
    let state = are_well(host, nodes, limit).await?;

    let ready = sh(
        r#"
seen=$(kubectl --kubeconfig "$1" -n "$2" get pods --no-headers -o wide) || exit 1
running=$(echo "$seen" | awk -v nodes="$4" '$2 == "1/1" && $3 == "Running" && index(nodes, " " $(NF-2) " ")' | wc -l)
[ "$running" -ge "$3" ] || { echo "$seen"; exit 1; }"#,
        [ADMIN_CONF.to_owned(), namespace.clone(), nodes.len().to_string(), listed(nodes)],
    );
    host.wait("a pod on every node", ready, Duration::from_millis(300), limit).await?;

    let mut addresses = Vec::new();
    for node in nodes {
        addresses.push(ip_of(host, &node.host)?.to_string());
    }
    let fixed = [ADMIN_CONF.to_owned(), namespace, cluster.dns_domain, listed(nodes)];
    let script = sh(CONNECT, fixed.into_iter().chain(addresses));
    host.wait("every pod reaches every pod, names and services", script, Duration::from_secs(1), limit)
        .await?;
    Ok(state)
}

/// Asks the API server to pass a request to each pod, which then tries all targets itself. Prints what could not be
/// reached, and from where. Eight pods try at once: each has two targets for every node. What a firewall keeps away takes all
/// of its time, so the third ends the attempt.
const CONNECT: &str = r#"
conf=$1 namespace=$2 domain=$3 nodes=$4; shift 4
pods=$(kubectl --kubeconfig "$conf" -n "$namespace" get pods -o 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.spec.nodeName}{"\n"}{end}') || exit 1
pods=$(echo "$pods" | awk -v nodes="$nodes" 'NF == 3 && index(nodes, " " $3 " ")')
service=$(kubectl --kubeconfig "$conf" -n "$namespace" get service echo -o 'jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}') || exit 1
targets=$(echo "$pods" | awk 'NF { printf "%s:8080/%s ", $2, $3 }')
for node; do targets="$targets $node:${service#* }"; done
targets="$targets ${service% *}:80 echo.$namespace.svc.$domain:80 kubernetes.default.svc.$domain:443"
command="missed=; for t in $targets; do /agnhost connect --timeout=3s \${t%/*} >/dev/null 2>&1 && continue; echo unreachable=\$t; missed=x\$missed; [ \$missed = xxx ] && echo unreachable=... && break; done; echo tested"
encoded=$(printf %s "$command" | sed 's/%/%25/g; s/ /%20/g; s/;/%3B/g; s/>/%3E/g; s/&/%26/g; s/\$/%24/g; s/|/%7C/g; s/=/%3D/g; s/\//%2F/g; s/:/%3A/g')
echo "$pods" | xargs -P 8 -n 3 sh -c '
  pod=$4 node=$6
  answer=$(kubectl --kubeconfig "$1" get --raw "/api/v1/namespaces/$2/pods/$pod:8080/proxy/shell?cmd=$3" 2>&1)
  case $answer in *unreachable=*|*error*) ;; *tested*) exit ;; esac
  missed=$(echo "$answer" | grep -o "unreachable=[0-9a-zA-Z.:/-]*" | sed "s/.*=//; s|/\(.*\)| (pod on \1)|" | paste -sd , - | sed "s/,/, /g")
  echo "from the pod on $node${missed:+ no way to}: ${missed:-$answer}"
  exit 1' sh "$conf" "$namespace" "$encoded""#;
