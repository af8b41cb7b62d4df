//! Labels and taints of a node. Not given to the kubelet, which may not set those of kubernetes.io, and only at its
//! first start; but by the administrator, also when they change.
//!
//! They are compared with the Node in the cluster. Which of them muster has set is noted there, in two annotations: what is
//! wanted no more is taken away, what others have set is left, and a Node that was made anew gets them.

use std::collections::{BTreeMap, BTreeSet};

use muster_engine::event::Change;
use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::parse_taint;
use crate::common::cluster_vars;
use crate::kubectl::{Kubectl, kubectl};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    node_labels: BTreeMap<String, String>,
    node_taints: Vec<String>,
}

/// The annotations of a node that say what muster has set: keys of labels, and taints as `key:effect`, between commas.
const OWNED: [&str; 2] = ["muster.io/owned-labels", "muster.io/owned-taints"];

/// What keeps pods away from a machine that is only a control plane, as a taint; and as a label which machines are control planes. kubeadm
/// sets both, the taint as muster tells it to.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// What kubeadm sets on a control plane, with nothing as their values (`MarkControlPlane` in cmd/kubeadm/app/phases/markcontrolplane): its
/// role, and that load balancers outside of the cluster lead no Service there. It does so only when a machine joins. A Node that was made
/// anew has neither; where only the second one is missing somebody has taken it away, which kubeadm lets users do.
const MARKS: [&str; 2] = [CONTROL_PLANE, "node.kubernetes.io/exclude-from-external-load-balancers"];

/// Under which the nodes are kept for the run, as they were when the first host asked.
const NODES: &str = "the nodes' labels and taints";

/// The node has its labels and taints.
pub(super) async fn run(host: &Host) -> Result<()> {
    let wanted = NodeMarks::of(host)?;
    let Some(kubectl) = Kubectl::find(host).await? else {
        host.not_yet("Labels and taints");
        return Ok(());
    };
    // One look for all nodes that are there when the first of them asks.
    let look = || async {
        let lines = kubectl.query(NODES, look("")).await?;
        Ok(lines.lines().filter_map(Found::of_line).map(|found| (found.name.clone(), found)).collect())
    };
    let all = host.cluster().once::<BTreeMap<String, Found>, _, _>(NODES, look).await?;
    let found = all.get(&wanted.node);
    // A machine that would join is no node while nothing is done.
    if found.is_none() && host.check_mode() {
        host.not_yet("Labels and taints");
        return Ok(());
    }
    let differs = match found {
        Some(found) => !wanted.difference(found).is_nothing(),
        // It has joined since, with nothing but what kubeadm was told.
        None => !wanted.labels.is_empty() || !wanted.taints.is_empty(),
    };
    if !differs {
        host.passed("Labels and taints");
        return Ok(());
    }
    kubectl.step("Labels and taints").ensure(wanted).await.map(drop)
}

/// A node's network for pods, as the cluster said it when this run looked at the nodes' labels. `None` where nobody has looked, or the
/// node had none, or was no node then.
pub(crate) fn network_of(host: &Host, node: &str) -> Option<String> {
    let all = host.cluster().done::<BTreeMap<String, Found>>(NODES)?;
    all.get(node).map(|found| found.network.clone()).filter(|network| !network.is_empty())
}

/// The names of all nodes that the cluster has.
pub(crate) async fn nodes(kubectl: &Kubectl<'_>) -> Result<Vec<String>> {
    let lines = kubectl.query("the nodes of the cluster", look("")).await?;
    Ok(lines.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect())
}

fn look(selector: &str) -> Script {
    kubectl!(include_str!("nodes.sh"), [selector])
}

/// A taint, by what tells it from others of the node.
type TaintKey = (String, String);

/// The labels and taints that a node is to have, as a resource of a step on a control plane.
struct NodeMarks {
    node: String,
    labels: BTreeMap<String, String>,
    taints: BTreeMap<TaintKey, String>,
    is_plane: bool,
}

/// What was found.
#[derive(Default)]
struct Found {
    name: String,
    labels: BTreeMap<String, String>,
    taints: BTreeMap<TaintKey, String>,
    owned_labels: BTreeSet<String>,
    owned_taints: BTreeSet<String>,
    /// Its network for pods; empty where the cluster has given it none.
    network: String,
}

/// What is to be set and taken away.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    labels: BTreeMap<String, String>,
    labels_gone: Vec<String>,
    taints: Vec<String>,
    taints_gone: Vec<String>,
    /// Whether what is noted as muster's differs.
    notes: bool,
}

impl Difference {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn in_words(&self) -> String {
        let set = self.labels.iter().map(|(key, value)| format!("+ label {key}={value}"));
        let gone = self.labels_gone.iter().map(|key| format!("- label {key}"));
        let tainted = self.taints.iter().map(|taint| format!("+ taint {taint}"));
        let free = self.taints_gone.iter().map(|taint| format!("- taint {taint}"));
        let all: Vec<_> = set.chain(gone).chain(tainted).chain(free).collect();
        if all.is_empty() { "noted as set by muster".into() } else { all.join(", ") }
    }
}

impl NodeMarks {
    fn of(host: &Host) -> Result<Self> {
        let vars: Vars = host.vars()?;
        let is_plane = host.in_group("kube_control_plane");
        let mut taints = BTreeMap::new();
        if is_plane && !host.in_group("kube_node") {
            taints.insert((CONTROL_PLANE.to_owned(), "NoSchedule".to_owned()), String::new());
        }
        for text in &vars.node_taints {
            taints.extend(taint(&parse_taint(text)?));
        }
        let node = cluster_vars(host)?.kube_override_hostname;
        Ok(Self { node, labels: vars.node_labels, taints, is_plane })
    }

    fn difference(&self, found: &Found) -> Difference {
        let control_plane = format!("{CONTROL_PLANE}:NoSchedule");
        let labels = self.labels.iter().filter(|(key, value)| found.labels.get(*key) != Some(*value));
        let labels = labels.map(|(key, value)| (key.clone(), value.clone()));
        let is_bare = self.is_plane && !found.labels.contains_key(CONTROL_PLANE);
        let bare = MARKS
            .into_iter()
            .filter(|key| is_bare && !found.labels.contains_key(*key) && !self.labels.contains_key(*key));
        let labels_gone = found
            .owned_labels
            .iter()
            .filter(|key| !(self.labels.contains_key(*key) || self.is_plane && *key == CONTROL_PLANE));
        let taints = self.taints.iter().filter(|(key, value)| found.taints.get(*key) != Some(*value));
        // That one follows the machine's groups, whoever has set it.
        let ours = |key: &TaintKey| {
            let name = taint_name(key);
            found.owned_taints.contains(&name) || self.is_plane && name == control_plane
        };
        let taints_gone = found.taints.keys().filter(|key| ours(key) && !self.taints.contains_key(*key));
        Difference {
            labels: labels.chain(bare.map(|key| (key.to_owned(), String::new()))).collect(),
            labels_gone: labels_gone.filter(|key| found.labels.contains_key(*key)).cloned().collect(),
            taints: taints.map(|(key, value)| taint_text(key, value)).collect(),
            taints_gone: taints_gone.map(taint_name).collect(),
            notes: self.label_keys() != found.owned_labels || self.taint_names() != found.owned_taints,
        }
    }

    fn label_keys(&self) -> BTreeSet<String> {
        self.labels.keys().cloned().collect()
    }

    fn taint_names(&self) -> BTreeSet<String> {
        let control_plane = format!("{CONTROL_PLANE}:NoSchedule");
        self.taints.keys().map(taint_name).filter(|name| *name != control_plane).collect()
    }
}

impl Found {
    /// A line of `nodes.sh`.
    fn of_line(line: &str) -> Option<Self> {
        let mut parts = line.split('\t');
        let name = parts.next()?.to_owned();
        let labels: BTreeMap<String, String> = serde_json::from_str(parts.next()?).unwrap_or_default();
        let taints: Vec<Value> = serde_json::from_str(parts.next()?).unwrap_or_default();
        let owned = |list: &str| list.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        let (owned_labels, owned_taints) = (owned(parts.next()?), owned(parts.next()?));
        let network = parts.next().unwrap_or_default().to_owned();
        Some(Self {
            name,
            labels,
            taints: taints.iter().flat_map(taint).collect(),
            owned_labels,
            owned_taints,
            network,
        })
    }
}

/// A taint of the API: what tells it from others, and its value.
fn taint(taint: &Value) -> Option<(TaintKey, String)> {
    let text = |name: &str| taint[name].as_str().map(str::to_owned);
    Some(((text("key")?, text("effect")?), text("value").unwrap_or_default()))
}

/// As `kubectl taint` calls it.
fn taint_name((key, effect): &TaintKey) -> String {
    format!("{key}:{effect}")
}

fn taint_text((key, effect): &TaintKey, value: &str) -> String {
    if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") }
}

/// The patch that notes what is muster's, and sets labels; `None` takes a label away.
fn patch(labels: BTreeMap<&String, Option<&String>>, owned: [BTreeSet<String>; 2]) -> String {
    let notes = OWNED.into_iter().zip(owned).map(|(name, keys)| {
        let list = keys.into_iter().collect::<Vec<_>>().join(",");
        (name.to_owned(), if list.is_empty() { Value::Null } else { list.into() })
    });
    let annotations: serde_json::Map<String, Value> = notes.collect();
    let labels: serde_json::Map<String, Value> =
        labels.into_iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({ "metadata": { "labels": labels, "annotations": annotations } }).to_string()
}

impl Resource for NodeMarks {
    fn label(&self) -> String {
        format!("labels and taints of {}", self.node)
    }

    fn probe(&self) -> Probe {
        Probe::script(look(&format!("metadata.name={}", self.node)))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        let Some(found) = answer.output.lines().find_map(Found::of_line) else {
            return Err(format!("{} is not a node of the cluster", self.node));
        };
        let difference = self.difference(&found);
        if difference.is_nothing() {
            return Ok(Plan::nothing());
        }
        let change =
            Change { resource: self.label(), what: difference.in_words(), diff: None, momentary: false };
        let Difference { labels, labels_gone, taints, taints_gone, .. } = difference;
        // A taint that goes is noted until it is gone.
        let gone: BTreeSet<_> = taints_gone.iter().cloned().collect();
        let noted: BTreeSet<_> = self.taint_names().union(&gone).cloned().collect();
        let set = labels.iter().map(|(key, value)| (key, Some(value)));
        let all = set.chain(labels_gone.iter().map(|key| (key, None))).collect();
        let first = patch(all, [self.label_keys(), noted]);
        let settled = if gone.is_empty() {
            String::new()
        } else {
            patch(BTreeMap::new(), [self.label_keys(), self.taint_names()])
        };
        let taints = taints.into_iter().chain(taints_gone.into_iter().map(|name| format!("{name}-")));
        let args = [self.node.clone(), first, settled].into_iter().chain(taints);
        let script = kubectl!(include_str!("mark_node.sh"), args);
        Ok(Plan { changes: vec![change], script: Some(script), uploads: Vec::new() })
    }

    fn desired(&self) -> String {
        format!("{}:{:?}:{:?}", self.label(), self.labels, self.taints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(labels: &[(&str, &str)], taints: &[&str], is_plane: bool) -> NodeMarks {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let taints = taints.iter().filter_map(|text| taint(&parse_taint(text).unwrap())).collect();
        NodeMarks { node: "n".into(), labels, taints, is_plane }
    }

    fn found(line: &str) -> Found {
        Found::of_line(&line.replace('|', "\t")).unwrap()
    }

    #[test]
    fn what_is_wanted_no_more_is_taken_away_and_what_others_have_set_is_left() {
        let node = found(
            r#"n|{"a":"1","b":"2","theirs":"x"}|[{"effect":"NoSchedule","key":"x","value":"1"},{"effect":"NoExecute","key":"y"}]|a,b|x:NoSchedule"#,
        );
        let wanted = marks(&[("b", "3"), ("c", "")], &["x=2:NoSchedule", "z:NoExecute"], false);
        let difference = wanted.difference(&node);
        assert_eq!(
            difference.in_words(),
            "+ label b=3, + label c=, - label a, + taint x=2:NoSchedule, + taint z:NoExecute"
        );
        assert_eq!(
            marks(&[], &[], false).difference(&node).in_words(),
            "- label a, - label b, - taint x:NoSchedule"
        );
        let node = found(
            r#"n|{"b":"3","c":"","theirs":"x"}|[{"effect":"NoSchedule","key":"x","value":"2"}]|b,c|x:NoSchedule"#,
        );
        assert!(marks(&[("b", "3"), ("c", "")], &["x=2:NoSchedule"], false).difference(&node).is_nothing());
    }

    #[test]
    fn a_label_that_others_have_set_as_it_is_wanted_becomes_muster_s() {
        let node = found(r#"n|{"a":"1"}|||"#);
        let difference = marks(&[("a", "1")], &[], false).difference(&node);
        assert_eq!(difference, Difference { notes: true, ..Difference::default() });
    }

    #[test]
    fn the_taint_of_a_control_plane_follows_its_groups() {
        let taint = format!("{CONTROL_PLANE}:NoSchedule");
        let tainted = found(&format!(
            r#"n|{{"{CONTROL_PLANE}":""}}|[{{"effect":"NoSchedule","key":"{CONTROL_PLANE}"}}]||"#
        ));
        let free = found(&format!(r#"n|{{"{CONTROL_PLANE}":""}}|||"#));
        // It has become a worker, too; it is one no more.
        assert_eq!(marks(&[], &[], true).difference(&tainted).taints_gone, [taint.as_str()]);
        assert_eq!(marks(&[], &[&taint], true).difference(&free).taints, [taint.as_str()]);
        assert!(marks(&[], &[&taint], true).difference(&tainted).is_nothing());
        // Somebody has set it on a worker.
        assert!(marks(&[], &[], false).difference(&tainted).is_nothing());
    }

    #[test]
    fn a_control_plane_whose_node_was_made_anew_is_marked_as_one() {
        let [role, excluded] = MARKS;
        let labels = |wanted: &[(&str, &str)], is_plane: bool, node: &str| {
            marks(wanted, &[], is_plane).difference(&found(node)).in_words()
        };
        let bare = "n|{}|||";
        assert_eq!(labels(&[], true, bare), format!("+ label {role}=, + label {excluded}="));
        assert!(marks(&[], &[], false).difference(&found(bare)).is_nothing());
        // It is not muster's, so that nothing is noted.
        assert!(!marks(&[], &[], true).difference(&found(bare)).notes);
        // Somebody has taken the second one away, or the first one.
        let led_to = found(&format!(r#"n|{{"{role}":""}}|||"#));
        assert!(marks(&[], &[], true).difference(&led_to).is_nothing());
        let kept = format!(r#"n|{{"{excluded}":"x"}}|||"#);
        assert_eq!(labels(&[], true, &kept), format!("+ label {role}="));
        // What a user sets goes first. What muster has set of it stays when nobody wants it any more.
        assert_eq!(
            labels(&[(excluded, "no")], true, bare),
            format!("+ label {role}=, + label {excluded}=no")
        );
        let given = format!(r#"n|{{"{role}":""}}||{role}|"#);
        assert_eq!(labels(&[], true, &given), "noted as set by muster");
    }
}
