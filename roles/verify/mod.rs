//! verify: the cluster works. Seen from a control plane, because that needs nothing on this side.
//!
//! Versions, nodes and pods are looked at in every run. The network is tested with pods of its own when anything was
//! changed since it was last tested, and always by `muster verify`; they are removed afterwards. For which state of the
//! cluster it was found to work is noted on the nodes: so a node that was made anew is tested again.

mod etcd_figures;
mod names;
mod network;
#[cfg(test)]
mod rollout_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use muster_inventory::{LayerKind, closest, some_names};
use serde::Deserialize;

use crate::balancer;
use crate::bootstrap_os::SWAP_SOURCES;
use crate::cluster::{self, Standing};
use crate::common::cluster_vars;
use crate::diagnosis;
use crate::etcd;
use crate::kubectl::{Kubectl, kubectl};
use crate::upgrade::versions;
use crate::vip;
use names::Names;

/// What this role tells other hosts.
const HERE: &str = "a machine that can be looked at";

/// What a machine tells the others when it finds the API; a control plane, when its own API server answers.
const ITSELF: &str = "a machine that finds the API";

/// What the control plane tells the others that verifies.
const ONE_VERIFIES: &str = "the one that verifies";

#[derive(Deserialize)]
struct Vars {
    verify_network: String,
    verify_timeout: u64,
    kubelet_fail_swap_on: bool,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] =
    &[Read::own::<Vars>(), Read::own::<network::Vars>(), Read::of::<etcd_figures::Vars>(cluster::PLANES)];

/// When the network between pods is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkTest {
    /// When `verify_network` says so.
    AsWritten,
    /// In any case; only a `verify_network` among the extra variables counts more.
    Always,
}

pub(crate) async fn run(host: &Host, network: NetworkTest) -> Result<()> {
    let mut vars: Vars = host.vars()?;
    let given = host.all_vars().explain("verify_network");
    if network == NetworkTest::Always && given.first().is_none_or(|first| first.kind != LayerKind::Extra) {
        vars.verify_network = "always".to_owned();
    }
    let limit = Duration::from_secs(vars.verify_timeout);
    if network == NetworkTest::Always {
        is_of_the_cluster(host).await?;
        may_be_well(host).await?;
        has_joined(host).await?;
    }
    host.reached(HERE);
    // A set-up has just seen to it.
    if network == NetworkTest::Always && vars.kubelet_fail_swap_on {
        tell_of_swap(host).await?;
    }
    if network == NetworkTest::Always {
        upgrade_is_finished(host).await?;
        finds_the_api(host).await?;
    }
    if !host.in_group("kube_control_plane") {
        return Ok(());
    }
    // One control plane does it, for all.
    cluster::let_leader_go_first(host, ONE_VERIFIES).await?;
    let here = || async { Ok(host.name().to_owned()) };
    let who = host.cluster().once("who verifies", here).await?;
    host.reached(ONE_VERIFIES);
    if *who != host.name() {
        return Ok(());
    }
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
    let nodes = nodes_to_look_at(host).await?;
    let Some(kubectl) = Kubectl::find(host).await? else {
        host.not_yet("nodes and pods are well");
        return Ok(());
    };
    let figures = match network {
        NetworkTest::Always => Some(etcd_figures::look(kubectl.plane()).await?),
        NetworkTest::AsWritten => None,
    };
    if network == NetworkTest::Always {
        tell_what_is_waited_for(host, &kubectl, &nodes, limit).await?;
    }
    let names = match network {
        NetworkTest::AsWritten if !host.check_mode() => Names::Moved,
        _ => Names::Told,
    };
    let test = test || {
        let state = are_well(host, &kubectl, &nodes, limit, names).await?;
        // Nothing is tested just to look.
        vars.verify_network != "never" && !host.check_mode() && !state.is_proven(&nodes)
    };
    if test {
        network::test(host, &kubectl, &nodes, limit, names).await?;
    }
    // Who asked for the test is told what was tested.
    if let Some(before) = figures {
        vip::are_held_once(host).await?;
        host.tested(in_words(nodes.len(), test));
        etcd_figures::tell(host, kubectl.plane(), &before).await?;
    }
    Ok(())
}

/// Nobody waits for the node of a machine that has left for another cluster.
async fn is_of_the_cluster(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    match known.is_anothers(host.name(), &cluster_vars(host)?.kube_override_hostname) {
        None => Ok(()),
        Some(found) => Err(Failure::new(
            found,
            format!(
                "see whether its address in the inventory is right; if it has left, take it out of the inventory and of the cluster: \
                 muster remove-node {}",
                host.name()
            ),
        )),
    }
}

/// What keeps the cluster from being well, whatever is waited for, is told at once, with what mends it: it is another tool's, as a whole or
/// in part; a restore of etcd was cut off, so that what was stopped for it starts by nothing else; or etcd has lost its majority.
///
/// # Errors
/// There is such a thing. Each host is told so: none of them finds the API.
async fn may_be_well(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    let problem =
        known.to_be_adopted().or_else(|| known.unfinished_restore()).or_else(|| known.lost_majority());
    problem.map_or(Ok(()), |problem| Err(Failure::Problems(vec![problem])))
}

/// A machine that the cluster never took in is told at once, and the others are looked at without it: no node comes of waiting. Where no
/// cluster stands, that is told instead.
///
/// # Errors
/// It has not joined.
async fn has_joined(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    let standing = known.standing();
    if standing.is_empty()
        || standing.contains(&host.name())
        || !known.answered(host.name())
        || known.had_joined(host.name())
    {
        return Ok(());
    }
    let name = host.name();
    Err(Failure::new(
        format!("{name} is not in the cluster: nothing on the machine says that it has joined"),
        format!(
            "finish the set-up: setup-cluster; if it was a node, and has a new system: muster replace-node {name}; if it is to be none, \
             take it out of the inventory"
        ),
    ))
}

/// An upgrade that was cut off is told at once, with what finishes it: nothing that is waited for here would.
///
/// # Errors
/// The control planes do not run the version that the cluster is to have.
async fn upgrade_is_finished(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    let version = cluster_vars(host)?.kube_version;
    if let Some(problem) = known.not_of_version(&version) {
        // Once for all of them.
        return match host.in_group("kube_control_plane") {
            true => Err(Failure::Problems(vec![problem])),
            false => Ok(()),
        };
    }
    if let Some((kubelet, node)) = known.kubelet_of(host.name()).zip(known.node(host.name())) {
        tell_of_older(host, node, kubelet, &version).await?;
    }
    if known.members.iter().any(|member| member == host.name())
        && let Some(told) = etcd::ahead_of_the_cluster(host).await?
    {
        host.warn(told);
    }
    Ok(())
}

/// The machine's kubelet finds the API: on a control plane its own API server, else where the cluster's machines look for it. Behind a
/// load balancer of the machine any API server may have answered; so that one is asked whether it leads to each.
async fn finds_the_api(host: &Host) -> Result<()> {
    let known = cluster::known(host).await?;
    if known.node(host.name()).is_none() {
        host.reached(ITSELF);
        return Ok(());
    }
    let is_plane = known.planes.iter().any(|plane| plane == host.name());
    let mut arguments = vec![balancer::health_port(host)?.to_string()];
    if !is_plane && known.servers(host.name()).into_iter().any(balancer::is_local) {
        for plane in known.standing() {
            // One whose API server does not answer itself has told so.
            if !host.cluster().in_run(plane) || host.needs(plane, ITSELF).await.is_ok() {
                arguments.push(plane.to_owned());
            }
        }
    }
    let ready = sh(concat!(include_str!("../own_api_server.sh"), include_str!("finds_api.sh")), arguments);
    let answer = host.query(ready).await?;
    if answer.status == 0 {
        host.reached(ITSELF);
        return Ok(());
    }
    let unreached = answer.output.lines().find_map(|line| line.strip_prefix("unreached "));
    let what = match (is_plane, unreached) {
        (true, _) => "its own API server does not answer".to_owned(),
        (false, None) => "it does not find the API".to_owned(),
        (false, Some(planes)) => {
            let planes: Vec<&str> = planes.split(' ').collect();
            format!(
                "its load balancer reaches no API server on {}, where one answers: this machine stays without an API when the others fail",
                some_names(&planes)
            )
        }
    };
    let remedy = if unreached.is_some() {
        "bring the list of the load balancer up to date: setup-cluster; if that changes nothing, see what is between the two machines, and \
         on this one: /etc/kubernetes/api-balancer/haproxy.cfg, /var/log/pods/kube-system_api-balancer-*"
    } else {
        "start what was stopped: setup-cluster; if it fails itself, look on the machine: journalctl -u kubelet, \
         /var/log/pods/kube-system_kube-apiserver-*, /var/log/pods/kube-system_api-balancer-*"
    };
    Err(Failure::Other {
        message: format!("{}: {what}", host.name()),
        remedy: remedy.into(),
        tail: if unreached.is_some() { String::new() } else { answer.output },
    })
}

/// Says what will switch swap on at the machine's next boot.
async fn tell_of_swap(host: &Host) -> Result<()> {
    let answer = host.query(sh0(SWAP_SOURCES)).await?;
    if let Some(told) = swap_returns(&answer.output) {
        host.warn(told);
    }
    Ok(())
}

/// That the kubelet would not start after the next boot, because of these, a line each.
fn swap_returns(sources: &str) -> Option<String> {
    let sources: Vec<&str> = sources.lines().collect();
    (!sources.is_empty()).then(|| {
        format!(
            "swap will be on after the next restart, and the kubelet will not start ({}); setup-cluster masks it",
            sources.join(", ")
        )
    })
}

/// What was tested: so many nodes, with or without the network between pods on them.
fn in_words(nodes: usize, network: bool) -> String {
    let well = format!("{nodes} node{} and the system's pods are well", if nodes == 1 { "" } else { "s" });
    match (nodes, network) {
        (_, false) => format!("{well}; the network was not tested (verify_network)"),
        (1, true) => format!("{well}; a pod reaches names and services"),
        (_, true) => format!(
            "{well}; a pod on each reaches the others ({} ways), names and services",
            nodes * (nodes - 1)
        ),
    }
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
            Err(Failure::Dependency { .. } | Failure::Stopped(_)) => failed.push(name),
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

/// What a test of the network is good for: the nodes that were looked at, and all nodes with name, identity and versions.
struct State {
    nodes: Vec<NodeState>,
    /// Those that get no new pods because muster has cordoned them.
    cordoned: Vec<String>,
    /// Their addresses, by name.
    addresses: BTreeMap<String, String>,
    /// A pod of CoreDNS and its node, where all are on that one.
    crowded: Option<(String, String)>,
}

/// A node as `look.sh` prints it.
struct NodeState {
    name: String,
    /// Its identity and versions.
    is: String,
    /// For which state its network was last found to work.
    proven: String,
}

impl NodeState {
    /// The version of its kubelet.
    fn kubelet(&self) -> &str {
        self.is.rsplit(' ').next().unwrap_or_default().trim_start_matches('v')
    }
}

impl State {
    fn of(printed: &str) -> Self {
        let node = |line: &str| {
            let (is, proven) = line.rsplit_once(' ')?;
            let name = is.split(' ').next()?.to_owned();
            Some(NodeState { name, is: is.to_owned(), proven: proven.to_owned() })
        };
        let with = |mark: &'static str| printed.lines().filter_map(move |line| line.strip_prefix(mark));
        let is_node = |line: &&str| !line.starts_with(['|', '@', '%']);
        let mut nodes: Vec<_> = printed.lines().filter(is_node).filter_map(node).collect();
        nodes.sort_by(|a, b| a.is.cmp(&b.is));
        // Of a node with addresses of both families the first one.
        let pair = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, words.next()?))
        };
        Self {
            nodes,
            cordoned: with("| ").map(str::to_owned).collect(),
            addresses: with("@ ").filter_map(pair).collect(),
            crowded: with("% ").find_map(pair),
        }
    }

    fn hash(&self) -> String {
        let all: Vec<_> = self.nodes.iter().map(|node| node.is.as_str()).collect();
        Sha256::of(all.join("\n").as_bytes()).to_string()
    }

    /// Whether the network of these nodes was found to work as the cluster is now.
    fn is_proven(&self, nodes: &[Node]) -> bool {
        let hash = self.hash();
        let proven =
            |node: &Node| self.nodes.iter().any(|state| state.name == node.name && state.proven == hash);
        nodes.iter().all(proven)
    }
}

/// All these nodes are Ready; so are the pods of the system's namespaces, as far as they are on these nodes or on none yet (a
/// user's own broken pods are no fault of the cluster); each control plane has an API server of the wanted version. Looked at
/// with one kubectl, because starting it is what a look costs.
async fn are_well(
    host: &Host,
    kubectl: &Kubectl<'_>,
    nodes: &[Node],
    limit: Duration,
    names: Names,
) -> Result<State> {
    // A cluster keeps its version where nobody asks for another one.
    let known = cluster::known(host).await?;
    let version = cluster_vars(host)?.kube_version;
    let wait = async || {
        let look = look(host, nodes)?;
        let wait = Wait::new("nodes and pods are well", look, Duration::from_millis(500), limit);
        let seen = diagnosis::wait_in_cluster(host, kubectl, wait).await;
        seen.map(|seen| State::of(&seen)).map_err(|failure| with_deleted_nodes(failure, nodes, &known))
    };
    let mut state = wait().await?;
    if let Some((pod, node)) = state.crowded.take()
        && names::are_spread(host, kubectl, &pod, &node, names).await?
    {
        state = wait().await?;
    }
    tell_of_cordoned(host, &state).await?;
    tell_of_strangers(host, &state).await?;
    for node in &state.nodes {
        tell_of_older(host, &node.name, node.kubelet(), &version).await?;
    }
    Ok(state)
}

/// What looks at nodes and pods.
fn look(host: &Host, nodes: &[Node]) -> Result<Script> {
    let planes = host.cluster().group("kube_control_plane");
    let planes: Vec<_> = nodes.iter().filter(|node| planes.contains(&node.host)).collect();
    let version = cluster_vars(host)?.kube_version;
    Ok(kubectl!(include_str!("look.sh"), [listed(nodes), listed(planes), version]))
}

/// What is not well when somebody asks is told before it is waited for.
async fn tell_what_is_waited_for(
    host: &Host,
    kubectl: &Kubectl<'_>,
    nodes: &[Node],
    limit: Duration,
) -> Result<()> {
    let answer = kubectl.plane().query(look(host, nodes)?).await?;
    if answer.status != 0 && !answer.output.trim().is_empty() {
        let unwell: Vec<&str> = answer.output.lines().take(3).collect();
        host.warn(format!(
            "not well yet, and waited for, for {} s at most: {}",
            limit.as_secs(),
            unwell.join("; ")
        ));
    }
    Ok(())
}

/// Says what brings a node back that was deleted: a kubelet registers its node only when it starts.
fn with_deleted_nodes(failure: Failure, nodes: &[Node], known: &Standing) -> Failure {
    let Failure::Unwell { tail, .. } = &failure else { return failure };
    let is_gone = |node: &&Node| {
        let told = format!("node {} is not in the cluster", node.name);
        known.had_joined(&node.host) && tail.lines().any(|line| line == told)
    };
    let hosts: Vec<String> = nodes.iter().filter(is_gone).map(|node| node.host.clone()).collect();
    if hosts.is_empty() {
        return failure;
    }
    let remedy = format!(
        "somebody has deleted a node whose machine is set up; on {}: systemctl restart kubelet, which registers it anew; \
         then: setup-cluster, which makes its network for pods fit",
        hosts.join(", ")
    );
    Failure::Unwell { message: failure.to_string(), hosts, remedy: remedy.into(), tail: tail.clone() }
}

/// Says that a node's kubelet is older than the API servers, where it is: Kubernetes bears that for three minor versions, but nobody
/// means it to stay so. Once a run, by whoever sees it first.
async fn tell_of_older(host: &Host, node: &str, kubelet: &str, version: &str) -> Result<()> {
    if !versions::is_older(kubelet, version) {
        return Ok(());
    }
    let tell = || async {
        host.warn(format!(
            "the kubelet of {node} is {kubelet}, older than the API servers ({version}); to finish the upgrade: upgrade-cluster -e \
             kube_version={version}"
        ));
        Ok(())
    };
    host.cluster()
        .once(&format!("that the kubelet of {node} is older than the API servers"), tell)
        .await
        .map(drop)
}

/// Says which nodes get no pods because a run that was cut off has cordoned them; once a run.
async fn tell_of_cordoned(host: &Host, state: &State) -> Result<()> {
    let tell = || async {
        for name in &state.cordoned {
            host.warn(format!(
                "{name} is cordoned and gets no new pods: a run of muster that was cut off did it. The same command again finishes that \
                 run and uncordons it; to give it pods as it is: muster kubectl uncordon {name}"
            ));
        }
        Ok(())
    };
    host.cluster().once("nodes that muster has cordoned", tell).await.map(drop)
}

/// What is told of a node that is not in the inventory, at this address. `missing`: hosts of the inventory that are no nodes; one of
/// them may be the node, with a mistyped name.
fn stranger<'a>(name: &str, address: Option<&String>, missing: impl Iterator<Item = &'a str>) -> String {
    let told = format!(
        "{name} is a node of the cluster and in none of the groups [kube_control_plane] and [kube_node]"
    );
    match closest(name, missing) {
        Some(meant) => format!("{told}; {meant} is in them and no node: was {name} meant?"),
        None => format!(
            "{told}; if it is to go: put it into [kube_node]{}, then: muster remove-node {name}; where its machine does not exist any \
             more: muster kubectl delete node {name}",
            address
                .map(|address| format!(" ({name} ansible_host={address} ip={address})"))
                .unwrap_or_default()
        ),
    }
}

/// Says which nodes are in the cluster and not in the inventory; once a run.
async fn tell_of_strangers(host: &Host, state: &State) -> Result<()> {
    let mut ours = Vec::new();
    for name in host.cluster().group("k8s_cluster") {
        let other = host.cluster().vars_of(&name)?.get("kube_override_hostname")?;
        ours.push(other.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or(name));
    }
    let known: Vec<&str> = state.nodes.iter().map(|node| node.name.as_str()).collect();
    let tell = || async {
        for name in known.iter().copied().filter(|name| ours.iter().all(|ours| ours != name)) {
            let address = state.addresses.get(name);
            host.warn(stranger(
                name,
                address,
                ours.iter().map(String::as_str).filter(|ours| !known.contains(ours)),
            ));
        }
        Ok(())
    };
    host.cluster().once("nodes outside of the inventory", tell).await.map(drop)
}
