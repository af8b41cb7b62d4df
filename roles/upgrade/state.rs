//! The cluster before an upgrade, as it says itself: what runs where, and what is not well.

use std::collections::{BTreeMap, BTreeSet};

use muster_engine::prelude::Problem;

use super::versions;

/// What `look.sh` has printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    nodes: BTreeMap<String, Node>,
    pods: Vec<Pod>,
    /// The version in kubeadm's configuration of the cluster.
    config: String,
    /// The version of kube-proxy; empty where there is none.
    proxy: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    /// The version of the kubelet that runs.
    kubelet: String,
    ready: bool,
    /// Whether a run that was cut off has cordoned it.
    marked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pod {
    namespace: String,
    name: String,
    node: String,
    phase: String,
    ready: bool,
    /// The version of its image.
    version: String,
    /// The kind and the name of what has made it.
    owner: Option<(String, String)>,
}

impl Pod {
    fn is_well(&self) -> bool {
        self.phase == "Running" && self.ready
    }

    /// The Deployment, or what else has ReplicaSets, that others of its pods may have been made for by another ReplicaSet.
    fn application(&self) -> Option<&str> {
        let (kind, name) = self.owner.as_ref()?;
        (kind == "ReplicaSet").then(|| name.rsplit_once('-').map_or(name.as_str(), |(name, _)| name))
    }
}

/// The namespaces of the cluster's own pods.
const SYSTEM: [&str; 2] = ["kube-system", "kube-flannel"];

/// A control plane's own pods.
const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// The version in `v1.36.3`, and in an image's tag.
fn version(text: &str) -> String {
    let tag = text.rsplit_once(':').map_or(text, |(_, tag)| tag);
    tag.trim_start_matches('v').to_owned()
}

impl State {
    /// Takes the lines that `look.sh` prints. Others are passed over.
    pub(super) fn parse(printed: &str) -> Self {
        let mut state = Self::default();
        for line in printed.lines() {
            match line.split('|').collect::<Vec<_>>()[..] {
                ["Node", _, name, _, ready, _, _, kubelet, mark, ..] => {
                    let node =
                        Node { kubelet: version(kubelet), ready: ready == "True", marked: !mark.is_empty() };
                    state.nodes.insert(name.to_owned(), node);
                }
                ["Pod", namespace, name, phase, ready, node, image, _, _, owner]
                    if SYSTEM.contains(&namespace) =>
                {
                    state.pods.push(Pod {
                        namespace: namespace.to_owned(),
                        name: name.to_owned(),
                        node: node.to_owned(),
                        phase: phase.to_owned(),
                        ready: ready == "True",
                        version: version(image),
                        owner: owner
                            .split_once('/')
                            .filter(|(kind, _)| !kind.is_empty())
                            .map(|(kind, name)| (kind.to_owned(), name.to_owned())),
                    })
                }
                ["config", text] => state.config = version(text),
                ["proxy", image] => state.proxy = version(image),
                _ => {}
            }
        }
        state
    }

    /// Whether a node has what a version of the cluster gives it. A machine that is no node has nothing to do.
    pub(crate) fn is_done(&self, node: &str, is_plane: bool, wanted: &str) -> bool {
        let Some(found) = self.nodes.get(node) else { return true };
        let runs = |component: &&str| {
            let name = format!("{component}-{node}");
            self.pods.iter().any(|pod| pod.name == name && pod.version == wanted)
        };
        // kubeadm brings kube-proxy to the new version with the last control plane.
        let proxy_follows = || {
            let is_done = self.proxy.is_empty() || self.proxy == wanted;
            is_done || self.older_api_servers(wanted).next().is_some()
        };
        found.kubelet == wanted
            && (!is_plane || self.config == wanted && proxy_follows() && COMPONENTS.iter().all(runs))
    }

    /// Whether a node's kubelet runs in a version and the node is Ready.
    pub(crate) fn has_kubelet(&self, node: &str, wanted: &str) -> bool {
        self.nodes.get(node).is_some_and(|found| found.ready && found.kubelet == wanted)
    }

    /// Whether the cluster takes a node for Ready.
    pub(super) fn is_ready(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|found| found.ready)
    }

    /// Whether a run that was cut off has cordoned a node.
    pub(crate) fn is_marked(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.marked)
    }

    /// Whether the whole cluster has a version.
    pub(super) fn all_done(&self, wanted: &str) -> bool {
        let planes: BTreeSet<&str> =
            self.pods.iter().filter_map(|pod| pod.name.strip_prefix("kube-apiserver-")).collect();
        self.nodes.keys().all(|node| self.is_done(node, planes.contains(node.as_str()), wanted))
    }

    /// From which versions the cluster goes to one, and how far it has got.
    pub(super) fn way_to(&self, wanted: &str) -> String {
        if self.all_done(wanted) {
            return format!("Kubernetes is at {wanted} already");
        }
        let servers = self.pods.iter().filter(|pod| COMPONENTS.iter().any(|name| pod.name.starts_with(name)));
        let kubelets = self.nodes.values().map(|node| &node.kubelet);
        let mut versions: Vec<&str> = servers
            .map(|pod| &pod.version)
            .chain(kubelets)
            .chain([&self.config, &self.proxy])
            .map(String::as_str)
            .filter(|version| !version.is_empty() && *version != wanted)
            .collect();
        versions.sort_by_key(|version| versions::numbers(version));
        versions.dedup();
        let way = format!("Kubernetes {} -> {wanted}", versions.join(" and "));
        match self.nodes.values().filter(|node| node.kubelet == wanted).count() {
            0 => way,
            done => format!("{way}; {done} of {} nodes have it already", self.nodes.len()),
        }
    }

    /// The nodes of API servers that have another version: until there are none no kubelet may have it (Kubernetes' "Version Skew
    /// Policy").
    pub(crate) fn older_api_servers(&self, wanted: &str) -> impl Iterator<Item = &str> {
        let servers = self.pods.iter().filter(|pod| pod.name.starts_with("kube-apiserver-"));
        servers.filter(move |pod| pod.version != wanted).map(|pod| pod.node.as_str())
    }

    /// Whether any API server has a version already.
    pub(super) fn has_api_server(&self, version: &str) -> bool {
        self.pods.iter().any(|pod| pod.name.starts_with("kube-apiserver-") && pod.version == version)
    }

    /// What keeps the cluster from going to a version, whatever its machines are like.
    pub(super) fn refused(&self, wanted: &str) -> Vec<Problem> {
        let kubelets = self.nodes.iter();
        kubelets.filter_map(|(name, node)| versions::kubelet_refused(name, &node.kubelet, wanted)).collect()
    }

    /// That the machine of a control plane does not answer whose turn would come: the others would go on without it, and the workers
    /// would stay behind.
    pub(super) fn silent_plane(&self, name: &str, node: &str, why: &str, wanted: &str) -> Option<Problem> {
        (!self.is_done(node, true, wanted)).then(|| Problem {
            check: "control plane".into(),
            found: format!("{name} does not answer ({why}), and has not got {wanted}"),
            needed: "every control plane: no kubelet may be newer than any API server".into(),
            remedy: format!("switch it on; if it is gone for good: muster remove-node {name}"),
        })
    }

    /// Of these nodes those whose own upgrade was cut off: their machines have the program of the new kubelet already, which has
    /// never run there. What is not well with them may be just that which is to be finished.
    pub(super) fn half_way(&self, nodes: &BTreeSet<String>, wanted: &str) -> BTreeSet<String> {
        let is_half_way = |node: &&String| self.nodes.get(*node).is_some_and(|found| found.kubelet != wanted);
        nodes.iter().filter(is_half_way).cloned().collect()
    }

    /// What is not well on these nodes.
    pub(super) fn unwell(&self, nodes: &BTreeSet<String>) -> Vec<String> {
        self.unwell_of(nodes, |_| true)
    }

    /// Whether a pod has ended, and nobody misses it: no pod that has is started again. The one that takes the place of a ReplicaSet's
    /// that was evicted is another pod, and the former one stays for good; what a Job made is counted by the Job. One of a DaemonSet
    /// or of a StatefulSet is replaced where it was, and a static pod is needed (Kubernetes, "Pod Lifecycle", "Node-pressure Eviction").
    fn is_over(&self, pod: &Pod) -> bool {
        let has_others = || {
            let others = self.pods.iter().filter(|other| other.namespace == pod.namespace && other.is_well());
            pod.application().is_some()
                && others.map(Pod::application).any(|other| other == pod.application())
        };
        match (pod.phase.as_str(), &pod.owner) {
            ("Succeeded", _) | ("Failed", None) => true,
            ("Failed", Some((kind, _))) => kind == "Job" || has_others(),
            _ => false,
        }
    }

    fn unwell_of(&self, nodes: &BTreeSet<String>, of: impl Fn(&Pod) -> bool) -> Vec<String> {
        let ready = |name: &String| self.nodes.get(name).is_none_or(|node| node.ready);
        let not_ready =
            nodes.iter().filter(|name| !ready(name)).map(|name| format!("the node {name} is not Ready"));
        let waits = |pod: &&Pod| {
            of(pod)
                && !pod.is_well()
                && (pod.node.is_empty() || nodes.contains(&pod.node))
                && !self.is_over(pod)
        };
        let pods = self.pods.iter().filter(waits).map(|pod| {
            let place = if pod.node.is_empty() { String::new() } else { format!(" on {}", pod.node) };
            let phase = if pod.phase == "Running" { "not ready" } else { &pod.phase };
            format!("the pod {}/{}{place} is {phase}", pod.namespace, pod.name)
        });
        not_ready.chain(pods).collect()
    }

    /// The same of one node. Pods that wait for a place are not its own.
    pub(super) fn unwell_on(&self, node: &str) -> Vec<String> {
        self.unwell_of(&BTreeSet::from([node.to_owned()]), |pod| pod.node == node)
    }

    /// The nodes of the cluster that are not among these.
    pub(super) fn strangers(&self, nodes: &BTreeSet<String>) -> Vec<String> {
        self.nodes.keys().filter(|name| !nodes.contains(*name)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Node||a||True|||v1.36.3||/\nNode||w||True|||v1.36.3|true|/\n\
        Pod|kube-system|kube-apiserver-a|Running|True|a|registry.k8s.io/kube-apiserver:v1.36.3|||Node/a\n\
        Pod|kube-system|kube-controller-manager-a|Running|True|a|registry.k8s.io/kube-controller-manager:v1.36.3|||Node/a\n\
        Pod|kube-system|kube-scheduler-a|Running|True|a|registry.k8s.io/kube-scheduler:v1.36.3|||Node/a\n\
        Pod|kube-flannel|flannel-x|Running|True|w|docker.io/flannel/flannel:v0.28.4|||DaemonSet/flannel\n\
        Pod|course|broken|Pending||w|example.org/broken:1|||/\n\
        config|v1.36.3\nproxy|registry.k8s.io/kube-proxy:v1.36.3\n";

    /// What was printed after a change.
    fn changed(from: &str, to: &str) -> State {
        assert!(PRINTED.contains(from), "{from}");
        State::parse(&PRINTED.replace(from, to))
    }

    #[test]
    fn a_node_is_done_when_all_that_it_runs_has_the_version() {
        let state = State::parse(PRINTED);
        let done = |state: &State, node: &str| state.is_done(node, node == "a", "1.36.3");
        assert!(
            done(&state, "a") && done(&state, "w") && done(&state, "no-node") && state.all_done("1.36.3")
        );
        assert!(!state.is_done("w", false, "1.37.2") && !state.all_done("1.37.2"));
        assert!(state.is_marked("w") && !state.is_marked("a"));
        for (from, to) in [
            ("kube-scheduler:v1.36.3", "kube-scheduler:v1.35.4"),
            ("config|v1.36.3", "config|v1.35.4"),
            ("kube-proxy:v1.36.3", "kube-proxy:v1.35.4"),
            ("Node||a||True|||v1.36.3", "Node||a||True|||v1.35.4"),
            ("kube-apiserver-a", "other"),
        ] {
            let state = changed(from, to);
            assert!(!done(&state, "a") && done(&state, "w"), "{from}");
        }
        assert!(!changed("kube-scheduler:v1.36.3", "kube-scheduler:v1.35.4").all_done("1.36.3"));
        // While another API server is older, kube-proxy is not expected to be new.
        let two =
            "kube-proxy:v1.35.4\nPod|kube-system|kube-apiserver-b|Running|True|b|kube-apiserver:v1.35.4|||/";
        assert!(done(&changed("kube-proxy:v1.36.3", two), "a"));
        // Where there is none, none is waited for.
        assert!(done(&changed("proxy|registry.k8s.io/kube-proxy:v1.36.3\n", ""), "a"));
        assert!(state.has_kubelet("a", "1.36.3") && !state.has_kubelet("a", "1.37.2"));
        assert!(!changed("Node||a||True", "Node||a||Unknown").has_kubelet("a", "1.36.3"));
        assert!(state.has_api_server("1.36.3") && !state.has_api_server("1.37.2"));
        assert_eq!(state.older_api_servers("1.36.3").count(), 0);
        assert_eq!(state.older_api_servers("1.37.2").collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn the_way_is_told_with_what_is_behind() {
        let told = |state: State| state.way_to("1.37.2");
        assert_eq!(told(State::parse(PRINTED)), "Kubernetes 1.36.3 -> 1.37.2");
        assert_eq!(State::parse(PRINTED).way_to("1.36.3"), "Kubernetes is at 1.36.3 already");
        let half = State::parse(
            &PRINTED.replace("1.36.3", "1.37.2").replace("w||True|||v1.37.2", "w||True|||v1.35.4"),
        );
        assert_eq!(told(half), "Kubernetes 1.35.4 -> 1.37.2; 1 of 2 nodes have it already");
        let two = changed("Node||w||True|||v1.36.3", "Node||w||True|||v1.35.4");
        assert_eq!(told(two), "Kubernetes 1.35.4 and 1.36.3 -> 1.37.2");
    }

    #[test]
    fn a_kubelet_that_is_too_old_is_refused() {
        assert_eq!(State::parse(PRINTED).refused("1.37.2"), []);
        let old = changed("Node||w||True|||v1.36.3", "Node||w||True|||v1.33.0").refused("1.37.2");
        assert_eq!(old[0].found, "1.33.0 on the node w, and the cluster is to be 1.37.2");
    }

    #[test]
    fn a_control_plane_that_is_silent_is_told_unless_it_is_done() {
        let told = |wanted: &str| State::parse(PRINTED).silent_plane("m1", "a", "no answer", wanted);
        assert_eq!(told("1.36.3"), None);
        assert_eq!(told("1.37.2").unwrap().found, "m1 does not answer (no answer), and has not got 1.37.2");
    }

    #[test]
    fn what_is_not_well_is_told_of_the_machines_that_answer() {
        let all = ["a", "w"].map(str::to_owned).into();
        let only_a = ["a".to_owned()].into();
        assert_eq!(State::parse(PRINTED).unwell(&all), Vec::<String>::new());
        let state = changed("Node||w||True", "Node||w||Unknown");
        assert_eq!(state.unwell(&all), ["the node w is not Ready"]);
        assert_eq!(state.unwell(&only_a), Vec::<String>::new(), "its machine is off");
        let state = changed("flannel-x|Running|True", "flannel-x|Running|False");
        assert_eq!(state.unwell(&all), ["the pod kube-flannel/flannel-x on w is not ready"]);
        assert_eq!(state.unwell(&only_a), Vec::<String>::new(), "its machine is off");
        let state = changed("flannel-x|Running|True|w", "flannel-x|Pending||");
        assert_eq!(state.unwell(&only_a), ["the pod kube-flannel/flannel-x is Pending"]);
        assert_eq!(state.unwell_on("a"), Vec::<String>::new(), "it has no place yet");
        assert_eq!(state.strangers(&only_a), ["w"]);
        assert_eq!(state.strangers(&all), Vec::<String>::new());
    }

    #[test]
    fn a_node_is_half_way_that_never_ran_the_kubelet_which_its_machine_has() {
        let installed = ["a", "w"].map(str::to_owned).into();
        let half_way = |state: State| state.half_way(&installed, "1.37.2");
        assert_eq!(half_way(State::parse(PRINTED)), installed);
        let of_w = changed("Node||a||True|||v1.36.3", "Node||a||Unknown|||v1.37.2");
        assert_eq!(half_way(of_w), ["w".to_owned()].into(), "the other one runs it, or did");
    }

    #[test]
    fn a_pod_that_has_ended_and_that_nobody_misses_is_no_sign() {
        let all = ["a", "w"].map(str::to_owned).into();
        let unwell = |pods: &[&str]| {
            let pods: String = pods.iter().map(|pod| format!("Pod|kube-system|{pod}\n")).collect();
            State::parse(&format!("{PRINTED}{pods}")).unwell(&all)
        };
        let (evicted, well) = ("dns-1|Failed|False|w|x:1|||ReplicaSet/dns-5d", "Running|True|a|x:1||");
        // Another one has its place, perhaps of a later version of the Deployment.
        for owner in ["dns-5d", "dns-7f"] {
            let other = format!("dns-2|{well}|ReplicaSet/{owner}");
            assert_eq!(unwell(&[evicted, &other]), Vec::<String>::new(), "{owner}");
        }
        let missed = ["the pod kube-system/dns-1 on w is Failed"];
        assert_eq!(unwell(&[evicted]), missed);
        assert_eq!(unwell(&[evicted, &format!("other-2|{well}|ReplicaSet/other-5d")]), missed);
        assert_eq!(unwell(&["once|Failed|False|w|x:1|||Job/once", "alone|Failed|False|w|x:1|||/"]), [""; 0]);
        // Others of a DaemonSet's are on other nodes, and others of a node's are other things.
        let proxies =
            ["proxy-1|Failed|False|w|x:1|||DaemonSet/proxy", &format!("proxy-2|{well}|DaemonSet/proxy")];
        assert_eq!(unwell(&proxies), ["the pod kube-system/proxy-1 on w is Failed"]);
        let of_a = ["etcd-a|Failed|False|a|x:1|||Node/a"];
        assert_eq!(unwell(&of_a), ["the pod kube-system/etcd-a on a is Failed"]);
        // Those that have its place may be on other nodes.
        let printed =
            format!("{PRINTED}Pod|kube-system|{evicted}\nPod|kube-system|dns-2|{well}|ReplicaSet/dns-5d\n");
        assert_eq!(State::parse(&printed).unwell_on("w"), Vec::<String>::new());
    }
}
