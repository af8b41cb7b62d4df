//! Labels and taints of a node. Not given to the kubelet, which may not set those of kubernetes.io, and only at its
//! first start; but by the administrator, also when they change.

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use serde::Deserialize;

use super::parse_taint;
use crate::common::cluster_vars;
use crate::kubectl::{Kubectl, kubectl};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    node_labels: BTreeMap<String, String>,
    node_taints: Vec<String>,
}

/// What was last set, so that what is wanted no more is taken away, and nothing else: a line each.
const STAMP: &str = "/var/lib/muster/stamps/node-labels";

/// The node has its labels and taints.
pub(super) async fn run(host: &Host) -> Result<()> {
    let wanted = wanted(&host.vars()?)?;
    let answer = host.query(sh(r#"cat "$1" 2>/dev/null || true"#, [STAMP])).await?;
    let known: Vec<&str> = answer.output.lines().collect();
    if known == wanted {
        return Ok(());
    }
    let stamp = host.step("Labels and taints").ensure(file(STAMP).content(text(&wanted)));
    if host.check_mode() {
        return stamp.await.map(drop);
    }
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
    let node = cluster_vars(host)?.kube_override_hostname;
    for kind in ["label", "taint"] {
        let changes = changes(kind, &known, &wanted);
        if !changes.is_empty() {
            let script = kubectl!(
                r#"kind=$1 node=$2; shift 2; kubectl "$kind" --overwrite node "$node" "$@""#,
                [kind, &node].into_iter().map(str::to_owned).chain(changes)
            );
            kubectl.run(&format!("Set the {kind}s of {node}"), script).await?;
        }
    }
    // Remembered when it is done: after a crash it is done again.
    stamp.await.map(drop)
}

/// A line for each label and taint.
fn wanted(vars: &Vars) -> Result<Vec<String>> {
    let labels = vars.node_labels.iter().map(|(key, value)| Ok(format!("label {key}={value}")));
    let taints = vars.node_taints.iter().map(|taint| parse_taint(taint).map(|_| format!("taint {taint}")));
    labels.chain(taints).collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The arguments for `kubectl label` or `kubectl taint`: what is wanted, and after it, with a minus, what is no more.
fn changes(kind: &str, known: &[&str], wanted: &[String]) -> Vec<String> {
    let of = |line: &str| line.strip_prefix(kind).map(|rest| rest.trim_start().to_owned());
    let wanted: Vec<String> = wanted.iter().filter_map(|line| of(line)).collect();
    // A label is known by its key, a taint by its key and effect.
    let name = |change: &str| match change.split_once('=') {
        Some((key, value)) => match value.rsplit_once(':') {
            Some((_, effect)) if kind == "taint" => format!("{key}:{effect}"),
            _ => key.to_owned(),
        },
        None => change.to_owned(),
    };
    let stays: Vec<String> = wanted.iter().map(|change| name(change)).collect();
    let gone = known.iter().filter_map(|line| of(line)).map(|change| name(&change));
    let gone: Vec<String> =
        gone.filter(|name| !stays.contains(name)).map(|name| format!("{name}-")).collect();
    wanted.into_iter().chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_no_more_is_taken_away_and_nothing_else() {
        let known =
            ["label a=1", "label b=2", "taint x=1:NoSchedule", "taint y:NoExecute", "taint z=1:NoSchedule"];
        let wanted =
            ["label b=3", "label c=", "taint x=2:NoSchedule", "taint z=1:NoExecute"].map(str::to_owned);
        assert_eq!(changes("label", &known, &wanted), ["b=3", "c=", "a-"]);
        assert_eq!(
            changes("taint", &known, &wanted),
            ["x=2:NoSchedule", "z=1:NoExecute", "y:NoExecute-", "z:NoSchedule-"]
        );
        assert!(changes("label", &[], &[]).is_empty());
    }
}
