//! A living cluster, as it says of itself, beside what the inventory says of it.

use std::collections::BTreeMap;

use muster_artifacts::Arch;
use muster_engine::prelude::*;
use muster_inventory::some_names;
use serde_json::Value;

use super::compared::{self, differs};
use super::pod_network::{self, Interface};
use super::{caches, proxy, ways_in};
use crate::addresses::ip;
use crate::catalogue::CATALOGUE;
use crate::cluster::{Standing, is_of_this_machine, server_of_names};
use crate::common::cluster_vars;
use crate::objects::parsed;
use crate::{coredns, flannel, kubeadm, nodelocaldns};

/// The daemon sets of flannel: of its own manifest, of muster's, and of kubespray's.
const FLANNELS: [&str; 3] =
    ["kube-flannel/kube-flannel-ds", "kube-flannel/kube-flannel", "kube-system/kube-flannel"];

/// kubespray's DNS caches on the nodes, which have the name of muster's.
const CACHES: &str = "kube-system/nodelocaldns";

/// What a cluster says of itself.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Living {
    nodes: Vec<Node>,
    /// By kind and name: configurations of kubeadm's, and of DNS.
    objects: BTreeMap<String, Value>,
    /// Its configurations and daemons.
    flannel: Vec<Value>,
    /// The static pods of control planes: the node, the program, and whether it is Ready.
    pods: Vec<(String, String, bool)>,
    /// Daemon sets, as NAMESPACE/NAME.
    daemons: Vec<String>,
    /// What others' manifests have in place of muster's own, as `NAMESPACE KIND/NAME`: it goes.
    pub(super) goes: Vec<String>,
}

#[derive(Debug, Default, PartialEq)]
struct Node {
    name: String,
    address: String,
    ready: bool,
    taints: Vec<String>,
    is_windows: bool,
    /// The address from which flannel sends to other machines; nothing where somebody has set another one by which they know it.
    flannel: Option<String>,
}

impl Living {
    /// From what `living.sh` has printed.
    ///
    /// # Errors
    /// A part is no JSON.
    pub(super) fn parse(said: &str) -> Result<Self> {
        let parts: BTreeMap<&str, &str> =
            said.split("\n== ").filter_map(|part| part.split_once('\n')).collect();
        let lines = |name: &str| {
            parts.get(name).into_iter().flat_map(|part| part.lines()).filter(|line| !line.is_empty())
        };
        let items = |name: &str| -> Result<Vec<Value>> {
            let text = parts.get(name).map_or("", |part| part.trim());
            if text.is_empty() {
                return Ok(Vec::new());
            }
            let mut list: Value = serde_json::from_str(text)
                .map_err(|error| Failure::new(format!("kubectl's answer cannot be read: {error}"), ""))?;
            Ok(match list["items"].take() {
                Value::Array(items) => items,
                _ => vec![list],
            })
        };
        let key = |object: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
        };
        Ok(Self {
            nodes: lines("nodes").map(Node::of_line).collect(),
            objects: items("objects")?.into_iter().map(|object| (key(&object), object)).collect(),
            flannel: [items("flannel")?, items("flannel-of-kubespray")?].concat(),
            pods: lines("pods")
                .filter_map(|line| {
                    let mut words = line.split('|');
                    let (node, program, ready) = (words.next()?, words.next()?, words.next()?);
                    Some((node.to_owned(), program.to_owned(), ready == "True"))
                })
                .collect(),
            daemons: lines("daemons").map(str::to_owned).collect(),
            goes: lines("goes").map(str::to_owned).collect(),
        })
    }

    /// A document that a ConfigMap holds; `Null` where there is none.
    fn document(&self, map: &str, name: &str) -> Value {
        let text = self.text(map, name);
        let mut documents = parsed::<Value>(text).unwrap_or_default();
        if documents.is_empty() { Value::Null } else { documents.swap_remove(0) }
    }

    fn text(&self, map: &str, name: &str) -> &str {
        let object = self.objects.get(&format!("ConfigMap/{map}"));
        object.and_then(|object| object["data"][name].as_str()).unwrap_or_default()
    }

    /// How kubeadm is configured.
    pub(super) fn configuration(&self) -> Value {
        self.document("kubeadm-config", "ClusterConfiguration")
    }

    /// What is not well, by node: the node itself, or a program of a control plane on it.
    pub(super) fn unwell(&self) -> impl Iterator<Item = (&str, Problem)> {
        let nodes = self.nodes.iter().filter(|node| !node.ready).map(|Node { name, .. }| {
            let problem = refused(
                "nodes",
                format!("the node {name} is not Ready"),
                "nodes that are all well, before something of them is changed",
                format!("mend it, and run again: kubectl describe node {name}"),
            );
            (name.as_str(), problem)
        });
        let pods = self.pods.iter().filter(|(.., ready)| !ready).map(|(node, program, _)| {
            let problem = refused(
                program,
                format!("{program} on {node} is not Ready"),
                "control planes that are all well, before one of them is stopped",
                format!("mend it, and run again: kubectl -n kube-system describe pod {program}-{node}"),
            );
            (node.as_str(), problem)
        });
        nodes.chain(pods)
    }

    /// What of the inventory's machine is not as the cluster knows it.
    pub(super) fn problems_of(&self, host: &Host, known: &Standing) -> Result<Vec<Problem>> {
        let name = cluster_vars(host)?.kube_override_hostname;
        let name = known.node(host.name()).unwrap_or(&name);
        let Some(node) = self.nodes.iter().find(|node| node.name == name) else {
            return Ok(vec![refused(
                "nodes",
                format!("{} is in the inventory, and the cluster has no node {name}", host.name()),
                "a node of the cluster that is to be adopted",
                format!(
                    "take {} out of the inventory; it can join when the cluster is adopted: setup-cluster",
                    host.name()
                ),
            )]);
        };
        let mut problems = Vec::new();
        problems.extend(self.unwell().filter(|(unwell, _)| *unwell == name).map(|(_, problem)| problem));
        let address = ip(host)?.to_string();
        if !node.address.split(' ').any(|known| known == address) {
            problems.push(refused(
                "ip",
                format!("{address} in the inventory, and the cluster knows {name} at {}", node.address),
                "the address that the node has in the cluster",
                format!("set ip={} of {} in the inventory", node.address, host.name()),
            ));
        }
        let plugin = host.all_vars().get("kube_network_plugin")?;
        let has_flannel = plugin.is_some_and(|plugin| plugin.as_str() == Some("flannel"));
        if has_flannel && Interface::wanted(host)?.is_none() {
            let sends_from = node.flannel.as_deref();
            problems.extend(pod_network::other_interface(&self.flannel, host.name(), sends_from, &address));
        }
        if host.in_group("kube_control_plane") {
            let is_kept_free = node.taints.iter().any(|key| key == "node-role.kubernetes.io/control-plane");
            let told = match (is_kept_free, host.in_group("kube_node")) {
                (true, true) => Some(("keeps pods away", "take it out of [kube_node]")),
                (false, false) => Some(("takes pods", "add it to [kube_node]")),
                _ => None,
            };
            problems.extend(told.map(|(does, remedy)| {
                refused(
                    "kube_node",
                    format!("the control plane {name} {does} now, and would not with this inventory"),
                    "groups that say what the cluster does",
                    format!("{remedy} in the inventory: {}", host.name()),
                )
            }));
        }
        Ok(problems)
    }

    /// What of the cluster as a whole cannot be taken over, or is not what the inventory says. `host`: a control plane, whose
    /// variables hold for the cluster.
    pub(super) async fn problems(&self, host: &Host, known: &Standing) -> Result<Vec<Problem>> {
        let config = self.configuration();
        if config.is_null() {
            return Ok(vec![refused(
                "cluster",
                "the cluster has no ConfigMap kube-system/kubeadm-config",
                "a cluster that kubeadm has made",
                "set up a new cluster beside it, and move the applications",
            )]);
        }
        if !config["etcd"]["external"].is_null() && !Self::is_musters(known) {
            return Ok(vec![refused(
                "etcd",
                format!(
                    "kubeadm was told of an etcd of somebody else's ({})",
                    config["etcd"]["external"]["endpoints"]
                ),
                "members of etcd on machines of the inventory: static pods of kubeadm's, or units of kubespray's",
                "if machines of the cluster have it, as kubespray sets it up: write them into [etcd] of the inventory; another one cannot \
                 be taken over: set up a new cluster beside it, and move the applications",
            )]);
        }
        let mut problems = self.settled(host, &config)?;
        problems.extend(of_both_families(&config, cluster_vars(host)?.ipv6_stack));
        problems.extend(self.on_windows());
        problems.extend(self.strangers(host, known)?);
        if let Some(fields) = kubeadm::kube_proxy_fields(host)? {
            problems.extend(proxy::problems(&self.document("kube-proxy", "config.conf"), &fields));
        }
        problems.extend(self.network(host)?);
        problems.extend(self.names(host).await?);
        problems.extend(self.caches(host).await?);
        let balancers = host.all_vars().get("loadbalancer_apiserver_localhost")?;
        if known.planes.len() == 1 && balancers.and_then(|wanted| wanted.as_bool()) != Some(true) {
            problems.extend(self.asks_on_each_machine());
        }
        // Where its certificates were not found, nothing could be made for it.
        if !known.standing().is_empty() {
            let supplementary = cluster_vars(host)?.supplementary_addresses_in_ssl_keys;
            match kubeadm_document(host, known).await? {
                Ok(wanted) => problems.extend(ways_in::problems(known, &config, &wanted, &supplementary)),
                Err(more) => problems.extend(more),
            }
        }
        Ok(problems)
    }

    /// Whether every member of etcd is muster's already, where an adoption was cut off after that.
    fn is_musters(known: &Standing) -> bool {
        known.members.iter().all(|member| {
            known.identity(member).is_some_and(|seen| seen.stacked.is_none() && seen.etcd.name.is_some())
        })
    }

    /// What a cluster is begun with, and cannot change.
    fn settled(&self, host: &Host, config: &Value) -> Result<Vec<Problem>> {
        let vars = cluster_vars(host)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // That of IPv4: the other one is told by itself.
        let first = |value: &Value| text(value).split(',').next().unwrap_or_default().to_owned();
        let mut of_manager = compared::extra_args(config, "controllerManager");
        let mask = ["node-cidr-mask-size", "node-cidr-mask-size-ipv4"];
        let mask = mask.into_iter().find_map(|name| of_manager.remove(name));
        let networks = &config["networking"];
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        let proxy = self.document("kube-proxy", "config.conf");
        let is_removed = kubeadm::kube_proxy_fields(host)?.is_none();
        let mode = host.all_vars().get("kube_proxy_mode")?.and_then(|mode| mode.as_str().map(str::to_owned));
        let mut all = vec![
            ("kube_version", vars.kube_version, version_of(config).to_owned()),
            ("cluster_name", vars.cluster_name, or(text(&config["clusterName"]), "kubernetes")),
            (
                "kube_cert_dir",
                vars.kube_cert_dir,
                or(text(&config["certificatesDir"]), "/etc/kubernetes/pki"),
            ),
            ("dns_domain", vars.dns_domain, or(text(&networks["dnsDomain"]), "cluster.local")),
            (
                "kube_service_addresses",
                vars.kube_service_addresses,
                or(first(&networks["serviceSubnet"]), "10.96.0.0/12"),
            ),
            ("kube_pods_subnet", vars.kube_pods_subnet, first(&networks["podSubnet"])),
            (
                "kube_network_node_prefix",
                vars.kube_network_node_prefix.to_string(),
                mask.unwrap_or_else(|| "24".into()),
            ),
            ("kube_proxy_remove", is_removed.to_string(), proxy.is_null().to_string()),
        ];
        if !is_removed && !proxy.is_null() {
            all.push(("kube_proxy_mode", mode.unwrap_or_default(), or(text(&proxy["mode"]), "iptables")));
        }
        // Pods that run ask at the address that they were told.
        let (names, server) = server_of_names(host)?;
        all.extend(self.server_of_names().map(|address| (names, server, address)));
        let mut problems: Vec<Problem> = all
            .into_iter()
            .filter(|(_, inventory, living)| inventory != living)
            .map(|(variable, inventory, living)| differs(variable, &inventory, &living))
            .collect();
        let vars = host.all_vars().get("enable_nodelocaldns")?;
        let asks_for_caches = vars.and_then(|wanted| wanted.as_bool()).unwrap_or(false);
        if self.daemons.iter().any(|daemon| daemon == CACHES) && !asks_for_caches {
            problems.push(differs("enable_nodelocaldns", "false", "true"));
        }
        problems.extend(unknown_version(config));
        Ok(problems)
    }

    /// The address at which the cluster asks for names: that of the service, else what kubelets were told. The address of a cache on
    /// each node is none: it is all that is left where a run was cut off that was about to replace the service.
    fn server_of_names(&self) -> Option<String> {
        // kubespray calls it after the program.
        let service =
            ["Service/coredns", "Service/kube-dns"].into_iter().find_map(|name| self.objects.get(name));
        let kubelets = self.document("kubelet-config", "kubelet");
        let told = kubelets["clusterDNS"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let address = service.and_then(|service| service["spec"]["clusterIP"].as_str());
        address.or_else(|| told.into_iter().find(|address| !is_of_this_machine(address))).map(str::to_owned)
    }

    /// Nodes that no inventory of muster's can have.
    fn on_windows(&self) -> Option<Problem> {
        let nodes = self.nodes.iter().filter(|node| node.is_windows);
        let names: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
        (!names.is_empty()).then(|| {
            refused(
                "nodes",
                format!("Windows runs on {}", some_names(&names)),
                "nodes with Linux: Windows nodes cannot be taken over",
                format!(
                    "remove {0} from the cluster first (kubectl drain {0} --ignore-daemonsets, kubectl delete node {0}), or keep the \
                     cluster with the tool that has made it",
                    names.join(" ")
                ),
            )
        })
    }

    /// Nodes that the inventory does not have.
    fn strangers(&self, host: &Host, known: &Standing) -> Result<Option<Problem>> {
        let mut names = Vec::new();
        for machine in host.cluster().group("k8s_cluster") {
            let vars = host.cluster().vars_of(&machine)?.get("kube_override_hostname")?;
            let own =
                vars.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_else(|| machine.clone());
            names.push(known.node(&machine).map_or(own, str::to_owned));
        }
        let strangers: Vec<&str> = self
            .nodes
            .iter()
            .filter(|node| !node.is_windows)
            .map(|node| node.name.as_str())
            .filter(|name| !names.iter().any(|own| own == name))
            .collect();
        Ok((!strangers.is_empty()).then(|| {
            refused(
                "nodes",
                format!("the cluster has {}, and the inventory has not", some_names(&strangers)),
                "an inventory of all machines of the cluster",
                format!("write {} into the inventory, in the groups of what they do", some_names(&strangers)),
            )
        }))
    }

    /// That the network of pods is told to ask the API at an address of each machine, as kubespray's calico and cilium are: with one
    /// control plane nobody answers there any more when nginx-proxy has gone.
    fn asks_on_each_machine(&self) -> Option<Problem> {
        const HOST: &str = "KUBERNETES_SERVICE_HOST";
        let agent = self.objects.get("DaemonSet/cilium");
        let told =
            agent.and_then(|agent| agent["spec"]["template"]["spec"]["containers"][0]["env"].as_array());
        let of_cilium = told.into_iter().flatten().find(|variable| variable["name"] == HOST);
        let of_cilium = of_cilium.and_then(|variable| variable["value"].as_str()).unwrap_or_default();
        let told = [("calico", self.text("kubernetes-services-endpoint", HOST)), ("cilium", of_cilium)];
        let is_local = |(_, address): &(&str, &str)| ["localhost", "127.0.0.1", "::1"].contains(address);
        told.into_iter().find(is_local).map(|(network, address)| {
            refused(
                "loadbalancer_apiserver_localhost",
                format!("{network} asks for the API at {address} on each machine, and nobody would answer there any more"),
                "a load balancer on each machine, as the cluster has",
                "set loadbalancer_apiserver_localhost: true",
            )
        })
    }

    /// The network of pods.
    fn network(&self, host: &Host) -> Result<Vec<Problem>> {
        let plugin = host.all_vars().get("kube_network_plugin")?;
        let plugin = plugin.as_ref().and_then(|plugin| plugin.as_str()).unwrap_or_default();
        if plugin == "none" {
            return Ok(Vec::new());
        }
        let has_flannel =
            self.daemons.iter().any(|daemon| FLANNELS.contains(&daemon.as_str())) || !self.flannel.is_empty();
        if let Some(problem) = pod_network::another_network(plugin, has_flannel) {
            return Ok(vec![problem]);
        }
        let config = self.flannel.iter().find_map(|map| map["data"]["net-conf.json"].as_str());
        let living: Value = config.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let (living, wanted) =
            (pod_network::settings(&living), pod_network::settings(&flannel::net_conf(host)?));
        let value = |variable: &str| {
            wanted.iter().find(|(name, _)| *name == variable).map(|(_, value)| value.clone())
        };
        let differing = living.into_iter().filter_map(|(variable, has)| {
            let will = value(variable).unwrap_or_default();
            (will != has).then(|| differs(variable, &will, &has))
        });
        let mut problems: Vec<Problem> = differing.collect();
        problems.extend(pod_network::daemon(&self.flannel, Interface::wanted(host)?.as_ref()));
        Ok(problems)
    }

    /// What the caches on the nodes answer, as kubespray has configured them. Where muster has none, that is told by itself.
    async fn caches(&self, host: &Host) -> Result<Option<Problem>> {
        let Some(living) = self.objects.get("ConfigMap/nodelocaldns") else { return Ok(None) };
        let Some(wanted) = nodelocaldns::configuration(host).await? else { return Ok(None) };
        let lost = caches::lost(&living["data"], &wanted, &cluster_vars(host)?.dns_domain);
        Ok((!lost.is_empty()).then(|| {
            refused(
                "nodelocaldns",
                format!("the DNS caches are told more than the inventory says: {}", some_names(&lost)),
                "variables that say the same, so that no name is lost",
                "write it as nodelocaldns_external_zones, nodelocaldns_additional_configs, upstream_dns_servers, dns_etchosts or another \
                 variable of the role nodelocaldns: muster docs vars",
            )
        }))
    }

    /// What CoreDNS answers.
    async fn names(&self, host: &Host) -> Result<Option<Problem>> {
        let (living, Some(wanted)) = (self.text("coredns", "Corefile"), coredns::corefile(host).await?)
        else {
            return Ok(None);
        };
        // Where muster has taken it over, the former configuration says nothing any more.
        let is_musters = self.objects.get("Deployment/coredns").is_some_and(crate::objects::is_musters);
        let lost = compared::corefile(living, &wanted, &cluster_vars(host)?.dns_domain);
        Ok((!lost.is_empty() && !is_musters).then(|| {
            refused(
                "coredns",
                format!("CoreDNS is told more than the inventory says: {}", some_names(&lost)),
                "variables that say the same, so that no name is lost",
                "write it as coredns_external_zones, coredns_additional_configs, dns_etchosts or another variable of the role coredns: \
                 muster docs vars",
            )
        }))
    }
}

impl Node {
    fn of_line(line: &str) -> Self {
        let mut words = line.split('|').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let (name, address, ready, taints, flannel, set) = (word(), word(), word(), word(), word(), word());
        let is_windows = word() == "windows";
        let taints = taints.split(' ').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        let flannel = Some(flannel).filter(|address| !address.is_empty() && set.is_empty());
        Self { name, address, ready: ready == "True", taints, is_windows, flannel }
    }
}

/// How kubeadm would be configured by this machine, or what keeps it from being so: an encryption that would be another one.
pub(super) async fn kubeadm_document(host: &Host, known: &Standing) -> Result<Result<Value, Vec<Problem>>> {
    let text = match kubeadm::configuration(host, known).await {
        Err(Failure::Problems(problems)) => return Ok(Err(problems)),
        text => text?,
    };
    let documents: Vec<Value> = parsed(&text).unwrap_or_default();
    let mut documents = documents.into_iter();
    Ok(Ok(documents.find(|document| document["kind"] == "ClusterConfiguration").unwrap_or_default()))
}

/// The version of a cluster, as kubeadm's configuration has it.
pub(super) fn version_of(config: &Value) -> &str {
    config["kubernetesVersion"].as_str().unwrap_or_default().trim_start_matches('v')
}

/// That muster has no programs of the version that a cluster runs.
fn unknown_version(config: &Value) -> Option<Problem> {
    let version = version_of(config);
    let error = CATALOGUE.release(version, Arch::Amd64).err()?;
    Some(refused(
        "kube_version",
        format!("the cluster runs {version}, which is not in the catalogue ({error})"),
        "a version that muster can install",
        "bring the cluster to one of them first, with the tool that has made it: muster bundle list --versions",
    ))
}

pub(super) fn refused(
    check: &str,
    found: impl Into<String>,
    needed: impl Into<String>,
    remedy: impl Into<String>,
) -> Problem {
    Problem { check: check.into(), found: found.into(), needed: needed.into(), remedy: remedy.into() }
}

/// A cluster whose pods and services have addresses of IPv6, too, is not taken over; and one without them does not get them by that.
fn of_both_families(config: &Value, is_wanted: bool) -> Option<Problem> {
    let both = config["networking"]["podSubnet"].as_str().unwrap_or_default();
    let (found, remedy) = match (both.contains(','), is_wanted) {
        (false, false) => return None,
        (false, true) => ("true, and the cluster has IPv4 alone".to_owned(), "set ipv6_stack: false"),
        (true, _) => (
            format!("pods of the cluster have addresses of {both}"),
            "go on with the tool that has made it; or set up a new cluster beside it, and move the applications",
        ),
    };
    Some(refused(
        "ipv6_stack",
        found,
        "a cluster of IPv4 alone: muster adopt takes over no other one",
        remedy,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_with_ipv6_is_not_taken_over_and_none_gets_it_by_that() {
        let told = |pods: &str, is_wanted: bool| {
            let config = json!({ "networking": { "podSubnet": pods } });
            of_both_families(&config, is_wanted).map(|problem| (problem.check, problem.found))
        };
        let problem = |found: &str| Some(("ipv6_stack".to_owned(), found.to_owned()));
        assert_eq!(told("10.244.0.0/16", false), None);
        assert_eq!(told("10.244.0.0/16", true), problem("true, and the cluster has IPv4 alone"));
        for is_wanted in [false, true] {
            let found = "pods of the cluster have addresses of 10.244.0.0/16,fd00::/56";
            assert_eq!(told("10.244.0.0/16,fd00::/56", is_wanted), problem(found));
        }
    }

    #[test]
    fn what_the_cluster_says_is_read() {
        let said = "\n== nodes\nnode1|192.0.2.4|True|node-role.kubernetes.io/control-plane other|192.0.2.4|\nnode2|192.0.2.5|False||192.0.2.5|203.0.113.5|linux\n\
                    \n== objects\n{\"kind\":\"List\",\"items\":[{\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"kubeadm-config\"},\"data\":{\
                    \"ClusterConfiguration\":\"clusterName: a\\nnetworking: {podSubnet: 10.244.0.0/16}\\n\"}}]}\n\
                    \n== flannel\n\n== pods\nnode1|etcd|True\nnode2|kube-apiserver|False\nnode2|kube-scheduler|\n\n== daemons\nkube-system/kube-proxy\nkube-flannel/kube-flannel-ds\n\n== goes\nkube-flannel DaemonSet/kube-flannel-ds\n";
        let living = Living::parse(said).unwrap();
        assert_eq!(living.nodes.len(), 2);
        assert!(living.nodes[0].ready && !living.nodes[1].ready);
        assert_eq!(living.nodes[0].taints, ["node-role.kubernetes.io/control-plane", "other"]);
        // Flannel takes what somebody has set.
        assert_eq!(living.nodes[0].flannel.as_deref(), Some("192.0.2.4"));
        assert_eq!(living.nodes[1].flannel, None);
        assert!(living.on_windows().is_none());
        assert_eq!(living.configuration()["networking"]["podSubnet"], "10.244.0.0/16");
        let unwell: Vec<_> = living.unwell().map(|(node, problem)| (node, problem.found)).collect();
        assert_eq!(
            unwell,
            ["the node node2", "kube-apiserver on node2", "kube-scheduler on node2"]
                .map(|what| ("node2", format!("{what} is not Ready")))
        );
        assert_eq!(living.daemons[1], FLANNELS[0]);
        assert_eq!(living.goes, ["kube-flannel DaemonSet/kube-flannel-ds"]);
        assert!(living.document("kube-proxy", "config.conf").is_null());
    }

    #[test]
    fn nodes_with_windows_are_told_as_what_they_are() {
        let said = "\n== nodes\nnode1|192.0.2.4|True||||linux\nwin1|192.0.2.9|True||||windows\n";
        let told = Living::parse(said).unwrap().on_windows().unwrap();
        assert!(told.found == "Windows runs on win1" && told.remedy.contains("delete node win1"), "{told:?}");
    }

    #[test]
    fn a_cache_on_the_nodes_is_not_taken_for_the_server_of_names() {
        let of = |kubelets: &str, service: Value| {
            let map = json!({"data": {"kubelet": kubelets}});
            let mut living = Living::default();
            living.objects.insert("ConfigMap/kubelet-config".into(), map);
            if !service.is_null() {
                living.objects.insert("Service/coredns".into(), service);
            }
            living.server_of_names()
        };
        let service = json!({"spec": {"clusterIP": "10.233.0.3"}});
        assert_eq!(of("clusterDNS: [169.254.25.10]", service).as_deref(), Some("10.233.0.3"));
        assert_eq!(of("clusterDNS: [169.254.25.10]", Value::Null), None);
        assert_eq!(of("clusterDNS: [10.96.0.10]", Value::Null).as_deref(), Some("10.96.0.10"));
    }

    #[test]
    fn a_network_that_asks_on_each_machine_keeps_a_load_balancer_there() {
        let of = |data: Value| {
            let mut living = Living::default();
            living.objects.insert("ConfigMap/kubernetes-services-endpoint".into(), json!({ "data": data }));
            living.asks_on_each_machine().is_some()
        };
        assert!(of(json!({"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": "6443"})));
        assert!(!of(json!({"KUBERNETES_SERVICE_HOST": "192.0.2.9"})) && !of(json!({})));
        assert!(Living::default().asks_on_each_machine().is_none());
        let of_cilium = |address: &str| {
            let env = json!([{ "name": "A" }, { "name": "KUBERNETES_SERVICE_HOST", "value": address }]);
            let pod = json!({ "containers": [{ "env": env }] });
            let mut living = Living::default();
            living
                .objects
                .insert("DaemonSet/cilium".into(), json!({ "spec": { "template": { "spec": pod } } }));
            living.asks_on_each_machine()
        };
        assert!(of_cilium("127.0.0.1").unwrap().found.starts_with("cilium asks for the API at 127.0.0.1"));
        assert!(of_cilium("192.0.2.9").is_none());
    }

    #[test]
    fn a_version_that_nobody_can_install_is_told() {
        let of = |version: &str| unknown_version(&json!({ "kubernetesVersion": version }));
        assert!(of(&format!("v{}", CATALOGUE.default_release())).is_none());
        let told = of("v1.19.4").unwrap();
        assert!(told.found.starts_with("the cluster runs 1.19.4") && told.remedy.contains("bundle list"));
    }
}
