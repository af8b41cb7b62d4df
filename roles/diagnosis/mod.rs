//! Waits that go on while something moves, and failures that say why: what the kubelet, the cluster's events and ended containers
//! have said, on which machine, and what to do about it.
//!
//! What a role waits for on a machine or in the cluster it waits for here. What was found is put into words by [`causes`].

mod causes;
#[cfg(test)]
mod programs_tests;

use std::collections::BTreeSet;

use futures::future::join_all;
use muster_engine::prelude::*;
use serde::Deserialize;

use crate::kubectl::{Kubectl, kubectl};
use causes::Clue;

/// How many machines are asked why they are not well.
const ASKED: usize = 5;

/// How many lines of what was found are shown.
const SHOWN: usize = 6;

/// What must run on every node.
const NODE_UNITS: &str = "containerd kubelet";

#[derive(Deserialize)]
pub(crate) struct Vars {
    containerd_storage_dir: String,
    etcd_data_dir: String,
}

/// What moves on a machine, for [`Wait::while_moving`].
fn moves(host: &Host) -> Result<Script> {
    let vars: Vars = host.vars()?;
    Ok(sh(include_str!("machine-moves.sh"), [vars.containerd_storage_dir, vars.etcd_data_dir]))
}

/// Waits on a machine for something that these units (with blanks between them) bring about, while anything moves there.
///
/// # Errors
/// It did not come: with why, and what to do.
pub(crate) async fn wait_on_machine(host: &Host, units: &str, wait: Wait) -> Result<Answer> {
    match host.wait(wait.while_moving(moves(host)?)).await {
        Err(failure @ Failure::Waited { .. }) => Err(explained(&failure, &of_machine(host, units).await)),
        other => other,
    }
}

/// Waits on a machine for something that the cluster brings about there, while anything moves on the machine.
///
/// # Errors
/// It did not come: with why, by what the machine and the cluster say, and what to do.
pub(crate) async fn wait_on_node(host: &Host, wait: Wait) -> Result<Answer> {
    match host.wait(wait.while_moving(moves(host)?)).await {
        Err(failure @ Failure::Waited { .. }) => {
            let mut clues = of_machine(host, NODE_UNITS).await;
            // A cluster that does not answer is found by whoever waits for that.
            if let Ok(Some(kubectl)) = Kubectl::find(host).await {
                clues.extend(
                    of_cluster(host, &kubectl)
                        .await
                        .into_iter()
                        .filter(|clue| clue.host.as_deref().is_none_or(|at| at == host.name())),
                );
            }
            Err(explained(&failure, &clues))
        }
        other => other,
    }
}

/// Waits in the cluster, while anything moves there.
///
/// # Errors
/// It did not come: with why, by what the cluster says and the machines that are not well, and what to do.
pub(crate) async fn wait_in_cluster(host: &Host, kubectl: &Kubectl<'_>, wait: Wait) -> Result<String> {
    let moves = kubectl!(include_str!("cluster-moves.sh"), [""; 0]);
    match kubectl.wait(wait.while_moving(moves)).await {
        Err(failure @ Failure::Waited { .. }) => {
            let mut clues = of_cluster(host, kubectl).await;
            let sick: BTreeSet<String> = clues.iter().filter_map(|clue| clue.host.clone()).collect();
            let asked = sick.iter().take(ASKED).map(|name| async move {
                match host.cluster().host(name) {
                    Ok(machine) => of_machine(&machine, NODE_UNITS).await,
                    Err(_) => Vec::new(),
                }
            });
            clues.extend(join_all(asked).await.into_iter().flatten());
            Err(explained(&failure, &clues))
        }
        other => other,
    }
}

/// A change that failed because of the machine's kubelet, with why the kubelet failed.
pub(crate) async fn of_change(host: &Host, failure: Failure) -> Failure {
    if !matches!(&failure, Failure::Change { tail, .. } if tail.contains("kubelet is not healthy")) {
        return failure;
    }
    explained(&failure, &of_machine(host, NODE_UNITS).await)
}

/// What a machine says itself. One that cannot be asked is a clue, too.
async fn of_machine(host: &Host, units: &str) -> Vec<Clue> {
    let clue = |text: &str| Clue { host: Some(host.name().to_owned()), text: text.to_owned() };
    match host.query(sh(include_str!("machine.sh"), [units])).await {
        Ok(answer) => answer.output.lines().map(clue).collect(),
        Err(failure) => vec![clue(&format!("the machine does not answer: {failure}"))],
    }
}

/// What the cluster says.
async fn of_cluster(host: &Host, kubectl: &Kubectl<'_>) -> Vec<Clue> {
    let look = kubectl!(include_str!("cluster.sh"), [""; 0]);
    let Ok(output) = kubectl.query("why it is not well", look).await else { return Vec::new() };
    let names = machines_by_node(host);
    let clue = |line: &str| {
        let (node, text) = line.split_once('\t')?;
        let machine =
            names.iter().find(|(_, name)| name == node).map_or(node, |(machine, _)| machine.as_str());
        Some(Clue { host: (!node.is_empty()).then(|| machine.to_owned()), text: text.to_owned() })
    };
    output.lines().filter_map(clue).collect()
}

/// The machines of the inventory, with the names of their nodes where they are others.
fn machines_by_node(host: &Host) -> Vec<(String, String)> {
    let cluster = host.cluster();
    let name_of = |machine: String| {
        let name = cluster.vars_of(&machine).ok()?.get("kube_override_hostname").ok()??;
        Some((machine, name.as_str()?.to_owned()))
    };
    cluster.group("k8s_cluster").into_iter().filter_map(name_of).collect()
}

/// The failure with why, where, and what to do. Where no reason is known, what was found is shown.
fn explained(failure: &Failure, clues: &[Clue]) -> Failure {
    let mut tail = failure.tail().unwrap_or_default().to_owned();
    let (mut message, mut remedy, mut hosts) = (failure.to_string(), String::new(), Vec::new());
    if let Some(cause) = causes::foremost(clues) {
        message = format!("{message}: {}{}", cause.place(), cause.said);
        (remedy, hosts) = (cause.remedy, cause.hosts);
    }
    if !tail.is_empty() && !tail.ends_with('\n') {
        tail.push('\n');
    }
    for clue in causes::in_order(clues).into_iter().take(SHOWN) {
        tail.push_str(&format!("{}{}\n", clue.place(), causes::shortened(&clue.text)));
    }
    Failure::Unwell { message, hosts, remedy: remedy.into(), tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_came_to_nothing_says_why_where_and_what_to_do() {
        let waited = || Failure::Waited {
            what: "nodes and pods are well".into(),
            limit: Duration::from_secs(180),
            tail: "kube-system/coredns-1 on node2: Pending".into(),
        };
        let clue = |host: &str, text: &str| Clue { host: Some(host.into()), text: text.into() };
        let clues = vec![
            clue("node1", "pod kube-system/a: Running, not what matters"),
            clue(
                "node2",
                "pod kube-system/coredns-1: FailedCreatePodSandBox: failed to find plugin \"calico\" in path [/opt/cni/bin]",
            ),
        ];
        let Failure::Unwell { message, hosts, remedy, tail } = explained(&waited(), &clues) else { panic!() };
        assert_eq!(
            message,
            "nodes and pods are well: not within 180 s: on node2: there is no network plugin \"calico\", which a file in \
             /etc/cni/net.d asks for"
        );
        assert_eq!(hosts, ["node2"]);
        assert!(remedy.in_words().unwrap().contains("10-flannel.conflist"), "{remedy:?}");
        let lines: Vec<&str> = tail.lines().collect();
        assert_eq!(lines[0], "kube-system/coredns-1 on node2: Pending");
        assert!(
            lines[1].starts_with("on node2: pod kube-system/coredns-1: FailedCreatePodSandBox"),
            "{tail}"
        );
        // Without a known reason all of the cluster is looked at again.
        let Failure::Unwell { message, hosts, .. } = explained(&waited(), &[]) else { panic!() };
        assert_eq!((message.as_str(), hosts.len()), ("nodes and pods are well: not within 180 s", 0));
    }
}
