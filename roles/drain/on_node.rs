//! What runs on a node, which of it moves, and what stands against that: functions of what was seen in the cluster.

use std::collections::{BTreeMap, BTreeSet};

use muster_inventory::some_names;
use serde_json::Value;

/// A node with its pods, and the PodDisruptionBudgets of the cluster, as `look.sh` prints them.
#[derive(Debug, Default)]
pub(super) struct OnNode {
    pub unschedulable: bool,
    /// Whether it was muster that cordoned it.
    pub ours: bool,
    pub ready: bool,
    pods: Vec<Pod>,
    budgets: Vec<Budget>,
}

#[derive(Debug)]
struct Pod {
    namespace: String,
    name: String,
    /// The node that it is on, where several were looked at.
    node: String,
    /// Whether it has ended already.
    over: bool,
    labels: BTreeMap<String, String>,
    /// The kind and name of its controller.
    controller: Option<(String, String)>,
    /// Whether the kubelet runs it from a file of the machine.
    from_file: bool,
    /// Whether it has data that end with it.
    empty_dir: bool,
}

#[derive(Debug)]
struct Budget {
    namespace: String,
    name: String,
    selector: Value,
    allowed: u64,
    /// What it demands: `minAvailable 2`.
    demands: String,
    owner: Option<String>,
}

impl OnNode {
    /// Reads what `look.sh` has printed; `None` where the cluster has no such node. Other lines are passed over.
    pub(super) fn parse(lines: &str) -> Option<Self> {
        let mut found = None;
        let (mut pods, mut budgets) = (Vec::new(), Vec::new());
        for line in lines.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["node", unschedulable, ours, ready] => {
                    found = Some(Self {
                        unschedulable: *unschedulable == "true",
                        ours: !ours.is_empty(),
                        ready: *ready == "True",
                        ..Self::default()
                    });
                }
                ["pod", namespace, name, phase, labels, owners, mirror, volumes, node @ ..] => {
                    pods.push(Pod {
                        namespace: (*namespace).to_owned(),
                        name: (*name).to_owned(),
                        node: node.concat(),
                        over: ["Succeeded", "Failed"].contains(phase),
                        labels: serde_json::from_str(labels).unwrap_or_default(),
                        controller: owner(owners, true),
                        from_file: !mirror.is_empty(),
                        empty_dir: !volumes.is_empty(),
                    })
                }
                ["budget", namespace, name, selector, allowed, least, most, owners] => budgets.push(Budget {
                    namespace: (*namespace).to_owned(),
                    name: (*name).to_owned(),
                    selector: serde_json::from_str(selector).unwrap_or_default(),
                    allowed: allowed.parse().unwrap_or(0),
                    demands: match (*least, *most) {
                        ("", most) => format!("maxUnavailable {most}"),
                        (least, _) => format!("minAvailable {least}"),
                    },
                    owner: owner(owners, false).map(|(kind, name)| format!("{kind} {name}")),
                }),
                _ => {}
            }
        }
        Some(Self { pods, budgets, ..found? })
    }

    /// What was printed of the pods of several nodes, and of the budgets.
    pub(super) fn of_several(lines: &str) -> Self {
        Self::parse(&format!("node\t\t\tTrue\n{lines}")).unwrap_or_default()
    }

    /// The same with the pods of some nodes alone.
    pub(super) fn on(mut self, nodes: &[String]) -> Self {
        self.pods.retain(|pod| nodes.contains(&pod.node));
        self
    }

    /// The pods that nobody makes again, in words, if there are any.
    pub(super) fn deleted_for_good(&self) -> Option<String> {
        let gone: Vec<_> = self.moving().filter(|pod| !pod.over && pod.controller.is_none()).collect();
        let words =
            || format!("{} without a controller deleted for good: {}", pods(gone.len()), names(&gone));
        (!gone.is_empty()).then(words)
    }

    /// The budgets that let none of their pods go now, in words, each with the nodes that it is about.
    pub(super) fn against_moving(&self) -> Vec<(String, Vec<String>)> {
        let of = |pods: &[&Pod]| pods.iter().map(|pod| pod.node.clone()).collect::<BTreeSet<_>>();
        let told =
            |(budget, pods): &(&Budget, Vec<&Pod>)| (budget.in_words(pods), of(pods).into_iter().collect());
        self.blocking().iter().map(told).collect()
    }

    /// The pods that move: not those of DaemonSets, which are made for the node, nor those that its kubelet runs from files.
    fn moving(&self) -> impl Iterator<Item = &Pod> {
        let of_daemon_set = |pod: &Pod| pod.controller.as_ref().is_some_and(|(kind, _)| kind == "DaemonSet");
        self.pods.iter().filter(move |pod| !pod.from_file && !of_daemon_set(pod))
    }

    /// The budgets that let none of their pods on this node go now, each with these pods.
    fn blocking(&self) -> Vec<(&Budget, Vec<&Pod>)> {
        let of = |budget: &Budget| self.moving().filter(|pod| budget.protects(pod)).collect::<Vec<_>>();
        let all = self.budgets.iter().filter(|budget| budget.allowed == 0).map(|budget| (budget, of(budget)));
        all.filter(|(_, pods)| !pods.is_empty()).collect()
    }

    /// Whether any pod is to be moved.
    pub(super) fn is_empty(&self) -> bool {
        self.moving().next().is_none()
    }

    /// What moving the pods means: which move, which are gone for good, which lose data, and which budgets stand against it.
    pub(super) fn in_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let stay: Vec<_> = self.moving().filter(|pod| !pod.over && pod.controller.is_some()).collect();
        if !stay.is_empty() {
            words.push(format!("{} moved: {}", pods(stay.len()), names(&stay)));
        }
        words.extend(self.deleted_for_good());
        let losing: Vec<_> = self.moving().filter(|pod| pod.empty_dir && !pod.over).collect();
        if !losing.is_empty() {
            words.push(format!("data in emptyDir volumes lost: {}", names(&losing)));
        }
        words.extend(self.blocking().iter().map(|(budget, pods)| budget.in_words(pods)));
        words
    }

    /// What the drain waits for.
    pub(super) fn waits_for(&self) -> String {
        let blocking = self.blocking();
        if let Some((budget, pods)) = blocking.first() {
            return budget.in_words(pods);
        }
        let left: Vec<_> = self.moving().collect();
        format!("it waits for {} to end: {}", pods(left.len()), names(&left))
    }

    /// Why the pods that are left could not be moved, and what to do about it.
    pub(super) fn fault(&self, grace_seconds: i64) -> (String, String) {
        let blocking = self.blocking();
        if blocking.is_empty() {
            let left: Vec<_> = self.moving().collect();
            let look = |pod: &&Pod| format!("muster kubectl -n {} describe pod {}", pod.namespace, pod.name);
            let time = match u64::try_from(grace_seconds) {
                Ok(seconds) => format!("{seconds} s to end"),
                Err(_) => "the time to end that it asks for".to_owned(),
            };
            return (
                format!("{} did not end: {}", pods(left.len()), names(&left)),
                format!(
                    "see what holds them up: {}; each has {time} (drain_grace_period)",
                    left.first().map(look).unwrap_or_default()
                ),
            );
        }
        let faults: Vec<_> = blocking.iter().map(|(budget, pods)| budget.in_words(pods)).collect();
        let names: Vec<_> =
            blocking.iter().map(|(budget, _)| format!("{}/{}", budget.namespace, budget.name)).collect();
        (
            faults.join("; "),
            format!(
                "let the application run with one more replica on another node, or let the budget {} allow one pod to be away; \
                 with -e drain_fallback_enabled=true such pods are deleted without asking their budgets",
                names.join(" or ")
            ),
        )
    }
}

impl Budget {
    /// By the rules of a LabelSelector: an empty one selects everything, none at all selects nothing.
    fn protects(&self, pod: &Pod) -> bool {
        let Some(selector) = self.selector.as_object() else { return false };
        if pod.over || pod.namespace != self.namespace {
            return false;
        }
        let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
        let expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
        labels.into_iter().all(|(key, value)| pod.labels.get(key).map(String::as_str) == value.as_str())
            && expressions.into_iter().all(|expression| {
                let value =
                    expression["key"].as_str().and_then(|key| pod.labels.get(key)).map(String::as_str);
                let among = || {
                    let values = expression["values"].as_array().into_iter().flatten();
                    value.is_some() && values.into_iter().any(|one| one.as_str() == value)
                };
                match expression["operator"].as_str() {
                    Some("In") => among(),
                    Some("NotIn") => !among(),
                    Some("Exists") => value.is_some(),
                    Some("DoesNotExist") => value.is_none(),
                    _ => false,
                }
            })
    }

    fn in_words(&self, pods: &[&Pod]) -> String {
        let controllers: BTreeSet<String> = pods.iter().filter_map(|pod| pod.application()).collect();
        let owner = self.owner.clone().into_iter().chain(controllers).collect::<Vec<_>>().join(", ");
        let of = if owner.is_empty() { String::new() } else { format!(" of {owner}") };
        format!(
            "the PodDisruptionBudget {}/{}{of} ({}) lets none of its pods go now: {}",
            self.namespace,
            self.name,
            self.demands,
            names(pods)
        )
    }
}

impl Pod {
    /// What a user knows as the owner of the pod: `Deployment web`. The name of a Deployment's ReplicaSet ends with the hash
    /// that is in the label `pod-template-hash`.
    fn application(&self) -> Option<String> {
        let (kind, name) = self.controller.as_ref()?;
        let hash = self.labels.get("pod-template-hash").filter(|_| kind == "ReplicaSet");
        let deployment = hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
        Some(match deployment {
            Some(deployment) => format!("Deployment {deployment}"),
            None => format!("{kind} {name}"),
        })
    }
}

/// The kind and name of an object's owner, or of the one that is its controller.
fn owner(references: &str, controller: bool) -> Option<(String, String)> {
    let references: Vec<Value> = serde_json::from_str(references).unwrap_or_default();
    let owner = references.iter().find(|owner| !controller || owner["controller"] == true)?;
    Some((owner["kind"].as_str()?.to_owned(), owner["name"].as_str()?.to_owned()))
}

fn pods(number: usize) -> String {
    if number == 1 { "1 pod".into() } else { format!("{number} pods") }
}

fn names(pods: &[&Pod]) -> String {
    some_names(&pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNED: &str = r#"[{"controller":true,"kind":"ReplicaSet","name":"web-5d"}]"#;

    fn on_node(lines: &[&str]) -> OnNode {
        OnNode::parse(&lines.join("\n").replace('|', "\t")).unwrap()
    }

    #[test]
    fn what_moves_what_is_lost_and_what_stands_against_it_is_told() {
        let web = format!(r#"pod|shop|web-5d-a|Running|{{"app":"web","pod-template-hash":"5d"}}|{OWNED}||"#);
        let found = on_node(&[
            "node|||True",
            &web,
            r#"pod|shop|cache-0|Running|{"app":"cache"}|[{"controller":true,"kind":"StatefulSet","name":"cache"}]||{}"#,
            "pod|default|debug|Running||||",
            "pod|default|done|Succeeded||||",
            r#"pod|kube-system|flannel-x|Running||[{"controller":true,"kind":"DaemonSet","name":"flannel"}]||"#,
            "pod|kube-system|kube-apiserver-a|Running||[{\"controller\":true,\"kind\":\"Node\",\"name\":\"a\"}]|f00|",
            r#"budget|shop|web|{"matchLabels":{"app":"web"}}|0|2||"#,
            r#"budget|shop|cache|{"matchLabels":{"app":"cache"}}|1||1|"#,
            r#"budget|other|web|{"matchLabels":{"app":"web"}}|0|2||"#,
        ]);
        assert!(found.ready && !found.unschedulable && !found.ours);
        assert_eq!(
            found.in_words(),
            [
                "2 pods moved: shop/web-5d-a, shop/cache-0",
                "1 pod without a controller deleted for good: default/debug",
                "data in emptyDir volumes lost: shop/cache-0",
                "the PodDisruptionBudget shop/web of Deployment web (minAvailable 2) lets none of its pods go now: shop/web-5d-a",
            ]
        );
        assert_eq!(found.waits_for(), found.in_words()[3]);
        assert!(found.fault(30).1.contains("the budget shop/web allow"), "{:?}", found.fault(30));
        let slow = on_node(&["node|||True", "pod|default|debug|Running||||"]).fault(-1).1;
        assert!(
            slow.contains("-n default describe pod debug; each has the time to end that it asks"),
            "{slow}"
        );
    }

    #[test]
    fn a_budget_protects_what_its_selector_selects() {
        let protects = |selector: &str| {
            let lines = [
                "node|true|drain|False".to_owned(),
                r#"pod|a|p|Running|{"app":"web","tier":"1"}|||"#.to_owned(),
                format!("budget|a|b|{selector}|0||1|"),
            ];
            let found = on_node(&lines.each_ref().map(String::as_str));
            assert!(found.unschedulable && found.ours && !found.ready);
            !found.blocking().is_empty()
        };
        assert!(protects("{}") && !protects(""));
        assert!(protects(r#"{"matchLabels":{"app":"web"}}"#) && !protects(r#"{"matchLabels":{"app":"db"}}"#));
        for (operator, values, expected) in [
            ("In", r#","values":["1","2"]"#, true),
            ("In", r#","values":["3"]"#, false),
            ("NotIn", r#","values":["3"]"#, true),
            ("Exists", "", true),
            ("DoesNotExist", "", false),
        ] {
            let selector =
                format!(r#"{{"matchExpressions":[{{"key":"tier","operator":"{operator}"{values}}}]}}"#);
            assert_eq!(protects(&selector), expected, "{selector}");
        }
    }

    #[test]
    fn of_several_nodes_those_are_named_that_a_budget_is_about() {
        let pod = |name: &str, node: &str| {
            format!("pod\tshop\t{name}\tRunning\t{{\"app\":\"web\"}}\t{OWNED}\t\t\t{node}\n")
        };
        let budget = |allowed: u32| {
            format!("budget\tshop\tweb\t{{\"matchLabels\":{{\"app\":\"web\"}}}}\t{allowed}\t2\t\t\n")
        };
        let pods = pod("a", "n1") + &pod("b", "n2") + &pod("c", "n3");
        let on = |pods: &str| OnNode::of_several(pods).on(&["n1".into(), "n2".into(), "n4".into()]);
        let against = |allowed: u32| on(&(budget(allowed) + &pods)).against_moving();
        let words = "the PodDisruptionBudget shop/web of ReplicaSet web-5d (minAvailable 2) lets none of its pods go now: shop/a, shop/b";
        assert_eq!(against(0), [(words.to_owned(), vec!["n1".into(), "n2".into()])]);
        assert!(against(1).is_empty());
        // And which nobody makes again.
        assert_eq!(on(&pods).deleted_for_good(), None);
        let alone = pods.replacen(OWNED, "", 1);
        let words = "1 pod without a controller deleted for good: shop/a";
        assert_eq!(on(&alone).deleted_for_good().as_deref(), Some(words));
        assert_eq!(OnNode::of_several(&alone).on(&["n3".into()]).deleted_for_good(), None);
    }

    #[test]
    fn a_node_that_is_not_there_is_none() {
        assert!(OnNode::parse("pod\ta\tb\tRunning\t\t\t\t\n").is_none());
        assert!(on_node(&["node|||True"]).is_empty());
    }
}
