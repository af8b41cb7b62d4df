//! coredns: names inside the cluster, at the address that kubespray's clusters have it.

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use muster_inventory::HostVars;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::apps;
use crate::catalogue::image;
use crate::cluster;
use crate::common::cluster_vars;
use crate::objects::{ObjectSet, documents, name_by_digest};

const NAME: &str = "coredns";

/// The selector of nodes that leaves nobody out.
const ANYWHERE: &str = "kubernetes.io/os: linux";

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    dns_mode: String,
    coredns_replicas: Option<usize>,
    enable_dns_autoscaler: bool,
    dns_nodes_per_replica: usize,
    dns_cores_per_replica: usize,
    dns_min_replicas: usize,
    dns_prevent_single_point_failure: bool,
    coredns_deployment_nodeselector: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>()];

/// Whether CoreDNS answers pods, by `dns_mode`: elsewhere a server of the user's own does, or none.
pub(crate) fn is_installed(mode: &str) -> bool {
    !["none", "manual"].contains(&mode)
}

/// Whether any CoreDNS is there, that of the cluster or a cache on each node (`enable_nodelocaldns`).
pub(crate) fn is_anywhere(mode: &str, caches: bool) -> bool {
    is_installed(mode) || (mode == "manual" && caches)
}

pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    let wanted = is_installed(&vars.dns_mode);
    let of = cluster::speaker_for_set_up(host).await?;
    // Whichever control plane does it, the objects are the same: what they hold are the variables of one.
    let image = image(host, NAME, &cluster_vars(host)?.kube_version)?;
    let objects = objects(of.all_vars(), &image, size(host))?;
    // Of applications and of nodelocaldns, where they are switched off, it is known then, without asking, whether there is something to remove.
    let objects = ObjectSet::of(NAME, objects)?;
    let objects = objects.refusing(moved).rolled_out().looking_for(apps::optional_sets());
    if wanted { objects.ensure(host).await } else { objects.absent().ensure(host).await }
}

/// What CoreDNS would be told; `None` where the cluster is to have none.
pub(crate) async fn corefile(host: &Host) -> Result<Option<String>> {
    let of = cluster::speaker(host).await?;
    if !is_installed(&of.vars::<Vars>()?.dns_mode) {
        return Ok(None);
    }
    let objects = objects(of.all_vars(), "", (1, 1))?;
    let texts = objects.iter().filter_map(|object| object["data"]["Corefile"].as_str());
    Ok(Some(texts.collect()))
}

/// How large the cluster is: its nodes and their cores. Those of machines outside of the run are taken to be as the others'.
fn size(host: &Host) -> (usize, usize) {
    let nodes = host.cluster().group("k8s_cluster");
    let cores =
        |node: &String| host.cluster().host(node).ok()?.known_facts().map(|facts| facts.cpus as usize);
    let known: Vec<usize> = nodes.iter().filter_map(cores).collect();
    (nodes.len(), known.iter().sum::<usize>() * nodes.len() / known.len().max(1))
}

/// How many CoreDNS there are to be: what is said, or what kubespray's autoscaler comes to (its mode `linear`).
fn replicas(vars: &Vars, (nodes, cores): (usize, usize)) -> usize {
    if let Some(said) = vars.coredns_replicas {
        return said;
    }
    if !vars.enable_dns_autoscaler {
        return nodes.clamp(1, 2);
    }
    let for_size = nodes.div_ceil(vars.dns_nodes_per_replica).max(cores.div_ceil(vars.dns_cores_per_replica));
    let least = if vars.dns_prevent_single_point_failure && nodes > 1 { 2 } else { 1 };
    for_size.max(vars.dns_min_replicas).max(least)
}

/// Its objects.
fn objects(vars: &HostVars, image: &str, size: (usize, usize)) -> Result<Vec<Value>> {
    let read: Vars = vars.deserialize()?;
    let selector = selector(&read.coredns_deployment_nodeselector);
    let apart = json!({ "": apart("kube-dns"), "-secondary": apart("kube-dns-secondary") });
    let extra =
        json!({ "image": image, "replicas": replicas(&read, size), "selector": selector, "apart": apart });
    let text = vars.render(include_str!("templates/coredns.yaml.j2"), "coredns.yaml.j2", &extra)?;
    let mut objects = documents(NAME, &text)?;
    name_by_digest(&mut objects);
    Ok(objects)
}

/// Whether its pods keep away from each other: they are muster's, and nobody says anything else of where they are to be.
pub(crate) fn keeps_apart(host: &Host) -> Result<bool> {
    let of = host.all_vars();
    let vars: Vars = of.deserialize()?;
    let anywhere = vars.coredns_deployment_nodeselector == ANYWHERE;
    Ok(is_installed(&vars.dns_mode) && anywhere && of.get("coredns_affinity")?.is_none())
}

/// Rather on several nodes than on one, those of an application among themselves.
fn apart(app: &str) -> Value {
    let pods = json!({ "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "k8s-app": app } } });
    let preferred = json!([{ "weight": 100, "podAffinityTerm": pods }]);
    json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": preferred } })
}

/// A text like `kubernetes.io/os: linux` as a mapping.
fn selector(text: &str) -> BTreeMap<&str, &str> {
    let (key, value) = text.split_once(':').unwrap_or((text, ""));
    [(key.trim(), value.trim().trim_matches(['"', '\'']))].into()
}

/// Why the service of the cluster's DNS cannot become what is wanted: all pods ask it at its address.
fn moved(wanted: Option<&Value>, found: &Value) -> Option<String> {
    let (is, wanted) = (&found["spec"]["clusterIP"], &wanted?["spec"]["clusterIP"]);
    (found["kind"] == "Service" && is != wanted).then(|| {
        let variable = match found["metadata"]["name"].as_str() {
            Some("coredns-secondary") => "skydns_server_secondary",
            _ => "skydns_server",
        };
        format!("pods ask for names at {is}, which cannot become {wanted} under them: set {variable}: {is}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    /// The objects for variables, by kind.
    fn made(yaml: &str) -> BTreeMap<String, Value> {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        let objects = objects(&vars, "coredns:1", (2, 8)).unwrap();
        objects.into_iter().map(|object| (object["kind"].as_str().unwrap().to_owned(), object)).collect()
    }

    fn corefile(yaml: &str) -> String {
        made(yaml)["ConfigMap"]["data"]["Corefile"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_nobody_says_is_as_it_was() {
        let expected = ".:53 {\n    errors\n    health {\n        lameduck 5s\n    }\n    ready\n    kubernetes cluster.local in-addr.arpa \
                        ip6.arpa {\n        pods insecure\n        fallthrough in-addr.arpa ip6.arpa\n        ttl 30\n    }\n    \
                        prometheus :9153\n    forward . /etc/resolv.conf {\n        max_concurrent 1000\n    }\n    cache 30\n    loop\n    \
                        reload\n    loadbalance\n}\n";
        assert_eq!(corefile(""), expected);
        let made = made("");
        assert_eq!(made["ConfigMap"]["data"].as_object().unwrap().len(), 1);
        assert!(!made.contains_key("PodDisruptionBudget"));
    }

    #[test]
    fn each_variable_is_in_the_corefile() {
        let yaml = "coredns_external_zones: [{zones: [corp.example, lab.example], nameservers: [192.0.2.53], rewrite: [name a b]}]\n\
                    dns_etchosts: |\n  192.0.2.9 mirror.example.org\n  192.0.2.8 git\n\
                    coredns_rewrite_block: |\n  rewrite stop {\n    name exact a b\n  }\n\
                    coredns_additional_configs: whoami\ncoredns_additional_error_config: consolidate 5m x warning\n\
                    old_dns_domains: [old.local]\ncoredns_kubernetes_extra_domains: my.local\ncoredns_kubernetes_extra_opts: [noendpoints]\n\
                    enable_coredns_k8s_endpoint_pod_names: true\nenable_coredns_reverse_dns_lookups: false\n\
                    enable_coredns_k8s_external: 'yes'\ncoredns_default_zone_cache_block: cache 5\n\
                    dns_upstream_forward_extra_opts: {policy: sequential, prefer_udp: ''}\n";
        let text = corefile(yaml);
        let of_zone = "corp.example lab.example {\n    errors\n    rewrite name a b\n    forward . 192.0.2.53\n    cache 5\n    reload\n    \
                       loadbalance\n    hosts /etc/coredns/hosts {\n        fallthrough\n    }\n}\n.:53 {\n    whoami\n    errors {\n        \
                       consolidate 5m x warning\n    }\n";
        assert!(text.starts_with(of_zone), "{text}");
        let kept = corefile(&yaml.replacen("[192.0.2.53]", "[192.0.2.53], cache: 0", 1));
        assert!(kept.contains("    forward . 192.0.2.53\n    reload\n"), "{kept}");
        for part in [
            "    rewrite stop {\n      name exact a b\n    }\n    rewrite name suffix old.local cluster.local answer auto\n    ready\n",
            "    kubernetes cluster.local my.local {\n        pods insecure\n        endpoint_pod_names\n        ttl 30\n        noendpoints\n    }\n",
            "        max_concurrent 1000\n        policy sequential\n        prefer_udp\n    }\n    k8s_external k8s_external.local\n    cache 5\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let external =
            corefile("enable_coredns_k8s_external: true\ncoredns_k8s_external_zone: out.example\n");
        assert!(external.contains("    k8s_external out.example\n"), "{external}");
        assert_eq!(made(yaml)["ConfigMap"]["data"]["hosts"], "192.0.2.9 mirror.example.org\n192.0.2.8 git\n");
    }

    #[test]
    fn another_configuration_makes_other_pods_of_the_wanted_size() {
        let template = |yaml: &str| made(yaml)["Deployment"]["spec"]["template"].clone();
        let read = |yaml: &str| {
            let volume = &template(yaml)["spec"]["volumes"][0];
            assert_eq!(volume["configMap"]["name"], made(yaml)["ConfigMap"]["metadata"]["name"]);
            volume["configMap"]["name"].as_str().unwrap().to_owned()
        };
        assert!(read("").starts_with("coredns-") && read("").len() == "coredns-".len() + 12);
        assert_ne!(
            read(""),
            read("dns_etchosts: 192.0.2.1 a"),
            "those of before go on with what they have read"
        );
        assert_eq!(template(""), template("coredns_replicas: 3"));
        let yaml = "dns_memory_limit: 1Gi\ndns_cpu_limit: 300m\ndns_cpu_requests: 50m\ndns_memory_requests: 99Mi\n\
                    dns_extra_tolerations: [{operator: Exists}]\ncoredns_deployment_nodeselector: 'room: \"104\"'\n\
                    coredns_affinity: {}\ncoredns_pod_disruption_budget: true\ncoredns_pod_disruption_budget_max_unavailable: 1\n";
        let spec = template(yaml)["spec"].clone();
        let container = &spec["containers"][0];
        let resources = json!({ "requests": { "cpu": "50m", "memory": "99Mi" }, "limits": { "memory": "1Gi", "cpu": "300m" } });
        assert_eq!(container["resources"], resources);
        assert_eq!((&spec["nodeSelector"], &spec["affinity"]), (&json!({ "room": "104" }), &json!({})));
        assert_eq!(spec["tolerations"][1], json!({ "operator": "Exists" }));
        let of_cloud = template("cloud_provider: external")["spec"]["tolerations"].clone();
        let taint = json!({ "key": "node.cloudprovider.kubernetes.io/uninitialized", "operator": "Exists", "effect": "NoSchedule" });
        assert_eq!((of_cloud.as_array().unwrap().len(), &of_cloud[1]), (2, &taint));
        assert_eq!(made(yaml)["PodDisruptionBudget"]["spec"]["maxUnavailable"], 1);
        let usual = made("coredns_pod_disruption_budget: true");
        assert_eq!(usual["PodDisruptionBudget"]["spec"]["maxUnavailable"], "30%");
    }

    #[test]
    fn a_second_one_has_pods_of_its_own_and_the_same_configuration() {
        let of = |mode: &str| {
            let vars = variables(&format!(
                "skydns_server: 10.233.0.3\nskydns_server_secondary: 10.233.0.4\ncoredns_pod_disruption_budget: true\ndns_mode: {mode}"
            ));
            objects(&vars, "coredns:1", (2, 8)).unwrap()
        };
        let named = |kind: &str| -> Vec<Value> {
            of("coredns_dual").into_iter().filter(|object| object["kind"] == kind).collect()
        };
        let names = |kind: &str| -> Vec<String> {
            named(kind).iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("Deployment"), ["coredns", "coredns-secondary"]);
        assert_eq!(names("PodDisruptionBudget"), ["coredns", "coredns-secondary"]);
        assert_eq!(names("ConfigMap").len(), 1);
        let app = |object: &Value, place: &str| object.pointer(place).cloned().unwrap_or_default();
        for (number, expected) in ["kube-dns", "kube-dns-secondary"].into_iter().enumerate() {
            let [deployment, service] = ["Deployment", "Service"].map(|kind| named(kind)[number].clone());
            assert_eq!(app(&deployment, "/spec/selector/matchLabels/k8s-app"), expected);
            assert_eq!(app(&deployment, "/spec/template/metadata/labels/k8s-app"), expected);
            assert_eq!(app(&service, "/spec/selector/k8s-app"), expected);
            let affinity = deployment["spec"]["template"]["spec"]["affinity"].to_string();
            assert!(affinity.contains(&format!("\"{expected}\"")), "{affinity}");
            assert_eq!(
                app(&deployment, "/spec/template/spec/volumes/0/configMap/name"),
                names("ConfigMap")[0].as_str()
            );
        }
        let addresses: Vec<Value> =
            named("Service").iter().map(|service| service["spec"]["clusterIP"].clone()).collect();
        assert_eq!(addresses, ["10.233.0.3", "10.233.0.4"]);
        // Each names the variable that it follows, where it would have to move.
        let refused = |number: usize| {
            let mut moves = named("Service")[number].clone();
            moves["spec"]["clusterIP"] = "10.233.0.9".into();
            moved(Some(&moves), &named("Service")[number]).unwrap()
        };
        assert!(refused(0).ends_with("set skydns_server: \"10.233.0.3\""), "{}", refused(0));
        assert!(refused(1).ends_with("set skydns_server_secondary: \"10.233.0.4\""), "{}", refused(1));
        // The first one is what it is without the other.
        let (alone, dual) = (of("coredns"), of("coredns_dual"));
        assert!(alone.iter().all(|object| dual.contains(object)) && dual.len() == alone.len() + 3);
    }

    #[test]
    fn coredns_is_there_where_it_answers_pods_or_is_a_cache() {
        let modes = ["coredns", "coredns_dual", "kubedns", "manual", "none"];
        assert_eq!(modes.map(is_installed), [true, true, true, false, false]);
        assert_eq!(modes.map(|mode| is_anywhere(mode, true)), [true, true, true, true, false]);
        assert_eq!(modes.map(|mode| is_anywhere(mode, false)), [true, true, true, false, false]);
    }

    #[test]
    fn there_are_as_many_as_kubesprays_autoscaler_would_have() {
        let of = |yaml: &str, nodes: usize, cores: usize| {
            let least = format!("dns_min_replicas: {}\n", nodes.min(2));
            replicas(&variables(&format!("{least}{yaml}")).deserialize().unwrap(), (nodes, cores))
        };
        let sizes = [(1, 2), (2, 4), (32, 64), (33, 66), (4, 1025)];
        assert_eq!(sizes.map(|(nodes, cores)| of("", nodes, cores)), [1, 2, 2, 3, 5]);
        assert_eq!(of("dns_nodes_per_replica: 4", 33, 66), 9);
        assert_eq!(of("dns_cores_per_replica: 11", 3, 66), 6);
        assert_eq!(of("enable_dns_autoscaler: false", 33, 66), 2);
        assert_eq!(of("coredns_replicas: '4'", 33, 66), 4);
        let alone = "dns_min_replicas: 1\ndns_prevent_single_point_failure: ";
        let of = |yaml: &str| replicas(&variables(yaml).deserialize().unwrap(), (3, 6));
        assert_eq!([of(&format!("{alone}true")), of(&format!("{alone}false"))], [2, 1]);
    }
}
