//! The pod network, tested by pods: one on every node. From each of them: every other one, the cluster's names, a service
//! by its name and address, and the same service at a port of every node.
//!
//! The pods only answer, with their names; what connects is run in them by `kubectl exec`. So nobody who reaches a node can
//! have anything run.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use muster_engine::prelude::*;
use muster_inventory::some_names;
use serde::Deserialize;
use serde_json::json;

use super::names::Names;
use super::{Node, State, are_well};
use crate::addresses::{access_ip_of, ip6_of};
use crate::catalogue::image;
use crate::common::cluster_vars;
use crate::coredns;
use crate::diagnosis;
use crate::kubectl::{Kubectl, kubectl};
use crate::preflight::tunnel_port;

/// What the pods of all tests are known by.
const LABEL: &str = "app.kubernetes.io/name=muster-verify";

/// What the pods of one test are known by, before its name.
const INSTANCE: &str = "app.kubernetes.io/instance=";

#[derive(Deserialize)]
pub(super) struct Vars {
    dns_mode: String,
    kube_network_plugin: String,
    flannel_backend_type: String,
    flannel_vxlan_port: u16,
    calico_network_backend: String,
    calico_vxlan_mode: String,
    calico_vxlan_port: u16,
    calico_ipip_mode: String,
    calico_bgp_listen_port: u16,
    cilium_tunnel_mode: String,
}

/// Tests the network, and that the cluster is well, as every look at it does: the test's pods start while it is waited for.
pub(super) async fn test(
    host: &Host,
    kubectl: &Kubectl<'_>,
    nodes: &[Node],
    limit: Duration,
    names: Names,
) -> Result<()> {
    // Tests that were cut off have left pods until their deadline, and a node takes so many only.
    remove(kubectl).await?;
    let outcome = test_with_pods(host, kubectl, nodes, limit, names).await;
    // The test's own pods go whatever it found.
    remove(kubectl).await?;
    let state = outcome?;
    let of_nodes = nodes.iter().map(|node| node.name.clone());
    let note = kubectl!(
        r#"note=$1; shift; kubectl annotate --overwrite nodes "$@" "muster.io/network-verified=$note" >/dev/null"#,
        std::iter::once(state.hash()).chain(of_nodes)
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
    names: Names,
) -> Result<State> {
    let cluster = cluster_vars(host)?;
    // A name of its own: the cluster's DNS remembers the last test's service for half a minute.
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("muster-verify-{:x}", time.as_millis());
    let families = cluster.pods().len();
    let extra = json!({
        "name": name,
        "families": families,
        "image": image(host, "agnhost", &cluster.kube_version)?,
        "nodes": nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(),
        // Three things are waited for below.
        "deadline": 3 * limit.as_secs() + 60,
    });
    let keeper = host.render("keeper.yaml.j2", include_str!("templates/keeper.yaml.j2"), &extra)?;
    let objects = host.render("probe.yaml.j2", include_str!("templates/probe.yaml.j2"), &extra)?;
    let start = kubectl!(include_str!("start.sh"), [keeper, objects]);
    kubectl.run("Start a pod on every node", start).await?;
    let state = are_well(host, kubectl, nodes, limit, names).await?;

    let label = format!("{INSTANCE}{name}");
    let of_nodes = nodes.iter().map(|node| node.name.clone());
    let running = kubectl!(include_str!("running.sh"), std::iter::once(label.clone()).chain(of_nodes));
    let wait = Wait::new("a pod on every node", running, Duration::from_millis(300), limit);
    diagnosis::wait_in_cluster(host, kubectl, wait).await?;

    let mut addresses = Vec::new();
    for node in nodes {
        addresses.push(access_ip_of(host, &node.host)?.to_string());
        addresses.extend(ip6_of(host, &node.host)?.map(|address| address.to_string()));
    }
    // Without a server of muster's nobody may give names yet, or not those of the cluster.
    let vars: Vars = host.vars()?;
    let domain = if coredns::is_installed(&vars.dns_mode) { cluster.dns_domain } else { String::new() };
    let args = [label, name, domain, families.to_string()].into_iter().chain(addresses);
    let connect = kubectl!(include_str!("connect.sh"), args);
    let what = "every pod reaches every pod, names and services";
    let tested = kubectl.wait(Wait::new(what, connect, Duration::from_secs(1), limit)).await;
    tested.map_err(|failure| with_way(failure, &vars))?;
    Ok(state)
}

/// Says what is between pods that do not reach each other, where their machines are different ones.
fn with_way(failure: Failure, vars: &Vars) -> Failure {
    let Failure::Waited { tail, .. } = &failure else { return failure };
    let apart = nodes_apart(tail);
    if apart.is_empty() {
        return failure;
    }
    let nodes = some_names(&apart);
    let remedy = match (vars.kube_network_plugin.as_str(), vars.flannel_backend_type.as_str()) {
        ("calico", _) => format!(
            "no pod of another node can be reached: is {} open between {nodes}? Look at the firewalls of the machines, and of the \
             cloud (security group) between them, and at: muster kubectl -n kube-system get pods -l k8s-app=calico-node",
            ways_of_calico(vars)
        ),
        ("cilium", _) => {
            let port = tunnel_port(&vars.cilium_tunnel_mode).map(|port| format!("{port}/udp"));
            format!(
                "no pod of another node can be reached: is {} open between {nodes}? Look at the firewalls of the machines, and of the \
                 cloud (security group) between them, and at: muster kubectl -n kube-system get pods -l k8s-app=cilium",
                port.as_deref().unwrap_or("the way for pods' addresses")
            )
        }
        ("flannel", "vxlan") => format!(
            "no pod of another node can be reached: is {}/udp open between {nodes}? Look at the firewalls of the machines, and of the \
             cloud (security group) between them",
            vars.flannel_vxlan_port
        ),
        ("flannel", _) => format!(
            "no pod of another node can be reached: do packets with pods' addresses pass between {nodes}? flannel_backend_type {} \
             wants machines of one network segment, and a cloud that does not drop foreign addresses",
            vars.flannel_backend_type
        ),
        _ => return failure,
    };
    Failure::Other { message: failure.to_string(), remedy: remedy.into(), tail: tail.clone() }
}

/// By what calico's packets go from node to node.
fn ways_of_calico(vars: &Vars) -> String {
    let ways = [
        (vars.calico_vxlan_mode != "Never").then(|| format!("{}/udp", vars.calico_vxlan_port)),
        (vars.calico_ipip_mode != "Never").then(|| "IP protocol 4 (ipip)".to_owned()),
        (vars.calico_network_backend == "bird").then(|| format!("{}/tcp (BGP)", vars.calico_bgp_listen_port)),
    ];
    let ways: Vec<String> = ways.into_iter().flatten().collect();
    if ways.is_empty() { "the way for pods' addresses".to_owned() } else { ways.join(" and ") }
}

/// The nodes that reach no pod but their own, and those of which they tell it. `said`: lines of `connect.sh`. Nothing where a pod
/// does not reach itself either: then something else is wrong.
fn nodes_apart(said: &str) -> Vec<&str> {
    let mut apart = BTreeSet::new();
    for line in said.lines() {
        let Some((from, missed)) =
            line.strip_prefix("from the pod on ").and_then(|rest| rest.split_once(" no way to: "))
        else {
            continue;
        };
        let pods = missed.split("(pod on ").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        let pods: Vec<&str> = pods.collect();
        if pods.contains(&from) {
            return Vec::new();
        }
        if !pods.is_empty() {
            apart.insert(from);
            apart.extend(pods);
        }
    }
    apart.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn pods_of_the_test_run_nothing_for_anybody_and_end_by_themselves() {
        let vars = crate::preflight::fixture::variables("skydns_server: 10.233.0.3");
        let extra =
            json!({ "name": "muster-verify-1", "image": "agnhost:1", "nodes": ["a", "b"], "deadline": 600 });
        let objects_of = |families: u8, template: &str| {
            let mut extra = extra.clone();
            extra["families"] = json!(families);
            let text = vars.render(template, "template", &extra).unwrap();
            crate::objects::documents("the test", &text).unwrap()
        };
        let objects = |template: &str| objects_of(1, template);
        let keeper = &objects(include_str!("templates/keeper.yaml.j2"))[0];
        let spec = &keeper["spec"];
        assert_eq!(
            [&spec["parallelism"], &spec["activeDeadlineSeconds"], &spec["ttlSecondsAfterFinished"]],
            [0, 600, 0]
        );
        let objects = objects(include_str!("templates/probe.yaml.j2"));
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Pod", "Pod", "Service"]);
        assert_eq!(objects[0]["spec"]["restartPolicy"], "OnFailure", "one bad start is no broken network");
        assert_eq!(objects[2]["spec"].get("ipFamilyPolicy"), None);
        let mut of_both = objects_of(2, include_str!("templates/probe.yaml.j2"));
        let policy = of_both[2]["spec"].as_object_mut().unwrap().remove("ipFamilyPolicy");
        assert_eq!((policy, of_both), (Some(json!("RequireDualStack")), objects.clone()));
        for object in &objects {
            let owner = &object["metadata"]["ownerReferences"][0];
            assert_eq!(
                [&owner["kind"], &owner["name"], &owner["uid"]],
                ["Job", "muster-verify-1", "KEEPER_UID"]
            );
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/name"], "muster-verify");
        }
        for pod in &objects[..2] {
            let containers = pod["spec"]["containers"].as_array().unwrap();
            // What answers with whatever it is asked to run (netexec) would be open to everybody who reaches a node.
            assert_eq!(containers[0]["args"], json!(["serve-hostname", "--port=8080"]));
            assert!(containers.len() == 1 && containers[0].get("command").is_none());
            assert_eq!(pod["spec"]["activeDeadlineSeconds"], 600);
            assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        }
    }

    #[test]
    fn a_node_without_a_pod_that_is_ready_is_named() {
        let seen = "muster-verify-1-1   1/1   Running   1 (2m ago)   3m   10.233.64.2   a   <none>   <none>\n\
                    muster-verify-1-2   0/1   Pending   0            3m   <none>        b   <none>   <none>";
        let ran = |nodes: &[&str]| {
            let program = format!("kubectl() {{ echo '{seen}'; }}\n{}", include_str!("running.sh"));
            let mut shell = std::process::Command::new("sh");
            let ran = shell.args(["-c", &program, "sh", "label"]).args(nodes).output().unwrap();
            (ran.status.success(), String::from_utf8(ran.stdout).unwrap())
        };
        assert_eq!(ran(&["a"]), (true, String::new()));
        let (is_well, said) = ran(&["a", "b", "c"]);
        assert!(!is_well && said.starts_with("no pod is ready on: b c\nmuster-verify-1-1 "), "{said}");
    }

    #[test]
    fn every_pod_tries_all_addresses_of_pods_nodes_and_the_service() {
        let tried = |families: &str, pods: &str, service: &str, nodes: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            let here = folder.path().display().to_string();
            let program = |name: &str, text: String| {
                let path = folder.path().join(name);
                std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
            };
            program("agnhost", format!("echo \"$3\" >>{here}/tried\ncase $3 in *9*:8080) exit 1 ;; esac"));
            program(
                "kubectl",
                format!(
                    "case \"$*\" in\n*'get pods'*) echo '{pods}' ;;\n*'get service'*) echo '{service}' ;;\n\
                     *) while [ \"$1\" != -- ]; do shift; done; shift; \"$@\" ;;\nesac"
                ),
            );
            let connect = include_str!("connect.sh").replace("/agnhost", &format!("{here}/agnhost"));
            let mut shell = std::process::Command::new("sh");
            shell.args(["-uc", &connect, "sh", "label", "service", "", families]).args(nodes);
            let path = format!("{here}:{}", std::env::var("PATH").unwrap());
            let ran = shell.env("PATH", path).output().unwrap();
            let mut tried: Vec<String> = std::fs::read_to_string(folder.path().join("tried"))
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect();
            tried.sort();
            tried.dedup();
            (ran.status.success(), tried.join(" "), String::from_utf8(ran.stdout).unwrap())
        };
        let (of_one, of_both) =
            ("p1 a 10.1.0.2\np2 b 10.1.1.2", "p1 a 10.1.0.2 fd85::2\np2 b 10.1.1.2 fd85::f");
        assert_eq!(
            tried("1", of_one, "31000 10.2.0.7", &["192.0.2.4"]),
            (true, "10.1.0.2:8080 10.1.1.2:8080 10.2.0.7:80 192.0.2.4:31000".to_owned(), String::new())
        );
        let nodes = ["192.0.2.4", "fd00::4"];
        let all = "10.1.0.2:8080 10.1.1.2:8080 10.2.0.7:80 192.0.2.4:31000 [fd00::4]:31000 [fd85:2::7]:80 [fd85::2]:8080 [fd85::f]:8080";
        assert_eq!(
            tried("2", of_both, "31000 10.2.0.7 fd85:2::7", &nodes),
            (true, all.to_owned(), String::new())
        );
        // What failed is told with its family.
        let (is_well, _, said) =
            tried("2", &of_both.replace("::f", "::9"), "31000 10.2.0.7 fd85:2::7", &nodes);
        assert!(
            !is_well && said.contains("from the pod on a no way to: [fd85::9]:8080 (pod on b)\n"),
            "{said}"
        );
        assert_eq!(nodes_apart(&said.replace("from the pod on b", "")), ["a", "b"]);
        let (is_well, tried, said) = tried("2", of_one, "31000 10.2.0.7", &nodes);
        assert!(!is_well && tried.is_empty());
        assert_eq!(said, "the pod on a has no address of IPv6\nthe pod on b has no address of IPv6\n");
    }

    #[test]
    fn a_closed_way_between_nodes_is_told_by_its_port() {
        let said = "from the pod on a no way to: 10.233.65.2:8080 (pod on b), 192.0.2.5:31000, ...\n\
                    from the pod on b no way to: 10.233.64.2:8080 (pod on a), 192.0.2.4:31000, ...\n";
        assert_eq!(nodes_apart(said), ["a", "b"]);
        assert_eq!(
            nodes_apart(said.lines().next().unwrap()),
            ["a", "b"],
            "the other one may not have got so far"
        );
        let itself = format!("{said}from the pod on c no way to: 10.233.66.2:8080 (pod on c)\n");
        assert!(nodes_apart(&itself).is_empty(), "that is no matter of the way between machines");
        assert!(
            nodes_apart("from the pod on a no way to: muster-verify-1.kube-system.svc.cluster.local:80\n")
                .is_empty()
        );
        let remedy = |backend: &str, plugin: &str| {
            let vars = Vars {
                dns_mode: "coredns".into(),
                kube_network_plugin: plugin.into(),
                flannel_backend_type: backend.into(),
                flannel_vxlan_port: 8472,
                calico_network_backend: backend.into(),
                calico_vxlan_mode: if backend == "bird" { "Never" } else { "Always" }.into(),
                calico_vxlan_port: 4789,
                calico_ipip_mode: if backend == "bird" { "Always" } else { "Never" }.into(),
                calico_bgp_listen_port: 179,
                cilium_tunnel_mode: "vxlan".into(),
            };
            let limit = Duration::from_secs(60);
            let failure =
                Failure::Waited { what: "every pod reaches every pod".into(), limit, tail: said.into() };
            with_way(failure, &vars).remedy().and_then(|remedy| remedy.in_words().map(str::to_owned))
        };
        let closed = remedy("vxlan", "flannel").unwrap();
        assert!(
            closed.starts_with("no pod of another node can be reached: is 8472/udp open between a, b?"),
            "{closed}"
        );
        assert!(remedy("host-gw", "flannel").unwrap().contains("one network segment"));
        assert!(remedy("vxlan", "calico").unwrap().contains("is 4789/udp open between a, b?"));
        assert!(remedy("bird", "calico").unwrap().contains("is IP protocol 4 (ipip) and 179/tcp (BGP) open"));
        assert!(remedy("vxlan", "cilium").unwrap().contains("is 8472/udp open between a, b?"));
        assert_eq!(remedy("vxlan", "none"), None);
    }
}
