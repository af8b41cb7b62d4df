//! drain: a node gives its pods to other nodes, before it is upgraded or removed; and uncordon, its counterpart.
//!
//! The node is cordoned first, in one change with an annotation that says that it was muster: so a node that somebody else has
//! cordoned stays so, and one that a killed run left cordoned is known. Then its pods are evicted with `kubectl drain`, for some
//! seconds at a time: between two attempts the budgets that stand against it are shown, and Ctrl-C is heeded.

mod on_node;
mod warnings;

use muster_engine::event::Change;
use muster_engine::prelude::*;
use serde::{Deserialize, Deserializer, de};
use serde_json::json;

use crate::cluster;
use crate::common::{cluster_vars, duration};
use crate::kubectl::{Kubectl, kubectl};
use on_node::OnNode;
pub(crate) use warnings::warn;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    drain_nodes: bool,
    drain_grace_period: i64,
    #[serde(deserialize_with = "limit")]
    drain_timeout: Duration,
    drain_retries: u32,
    drain_retry_delay_seconds: u64,
    drain_pod_selector: String,
    drain_fallback_enabled: bool,
    drain_fallback_grace_period: i64,
    #[serde(deserialize_with = "limit")]
    drain_fallback_timeout: Duration,
    drain_fallback_retries: u32,
    drain_fallback_retry_delay_seconds: u64,
    upgrade_node_always_cordon: bool,
    upgrade_node_uncordon_after_drain_failure: bool,
    upgrade_node_fail_if_drain_fails: bool,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::MACHINES)];

/// For how long one `kubectl drain` runs, in seconds: so often it is told what is waited for.
const AT_A_TIME: u64 = 4;

/// The role `drain`: the host's own node.
pub(crate) async fn run(host: &Host) -> Result<()> {
    drain(host, host).await
}

/// The role `uncordon`: the host's own node.
pub(crate) async fn run_uncordon(host: &Host) -> Result<()> {
    uncordon(host, host).await
}

/// Cordons the node of `target` and moves its pods away, as the variables of `target` say; `asker` does it, by way of a healthy
/// control plane, and is not necessarily the machine itself, which may be off. Nothing is done where the cluster has no such
/// node. In check mode it only tells what would be done.
///
/// # Errors
/// Pods are left: which, and what stands against it. By default the node is uncordoned again before that, if muster cordoned it.
pub(crate) async fn drain(asker: &Host, target: &Host) -> Result<()> {
    let vars: Vars = target.vars()?;
    let node = cluster_vars(target)?.kube_override_hostname;
    let Some(kubectl) = Kubectl::find(asker).await? else {
        asker.not_yet(&format!("Drain {node}"));
        return Ok(());
    };
    let Some(found) = look(&kubectl, &node, &vars.drain_pod_selector).await? else {
        asker.passed(&format!("Drain {node}: it is no node of the cluster"));
        return Ok(());
    };
    if !found.ready && !vars.upgrade_node_always_cordon {
        if !found.is_empty() {
            asker.warn(format!(
                "the node {node} is not Ready: its pods cannot be moved, and are left as they are"
            ));
        }
        return Ok(());
    }
    let wanted = Cordoned { node: &node, selector: &vars.drain_pod_selector, moves: vars.drain_nodes };
    kubectl.step(&format!("Cordon {node}")).ensure(wanted).await?;
    if asker.check_mode() || !vars.drain_nodes {
        return Ok(());
    }
    let Err(failure) = evict(&kubectl, &node, &vars).await else { return Ok(()) };
    if matches!(failure, Failure::Stopped(_) | Failure::Transport(_)) {
        return Err(failure);
    }
    if vars.upgrade_node_uncordon_after_drain_failure {
        uncordon(asker, target).await?;
    } else {
        asker.cluster().once(&stays(&node), || async { Ok(()) }).await?;
        asker.warn(format!(
            "{node} stays cordoned (upgrade_node_uncordon_after_drain_failure: false): muster kubectl uncordon {node}"
        ));
    }
    if vars.upgrade_node_fail_if_drain_fails {
        return Err(failure);
    }
    asker.warn(format!("{failure}; it goes on all the same (upgrade_node_fail_if_drain_fails: false)"));
    Ok(())
}

/// Lets the node of `target` get pods again, if it was muster that cordoned it: in this run or in one that was cut off.
pub(crate) async fn uncordon(asker: &Host, target: &Host) -> Result<()> {
    let node = cluster_vars(target)?.kube_override_hostname;
    if asker.cluster().done::<()>(&stays(&node)).is_some() {
        return Ok(());
    }
    let Some(kubectl) = Kubectl::find(asker).await? else { return Ok(()) };
    kubectl.step(&format!("Uncordon {node}")).ensure(Uncordoned { node: &node }).await.map(drop)
}

/// Under which it is kept for the run that a node stays cordoned although muster did it.
fn stays(node: &str) -> String {
    format!("{node} stays cordoned")
}

async fn look(kubectl: &Kubectl<'_>, node: &str, selector: &str) -> Result<Option<OnNode>> {
    let lines = kubectl.query(&format!("what runs on {node}"), looking(node, selector)).await?;
    Ok(OnNode::parse(&lines))
}

fn looking(node: &str, selector: &str) -> Script {
    kubectl!(concat!(include_str!("look.sh"), "look \"$1\" \"$2\""), [node, selector])
}

/// In one way, and if that fails, and it is wanted, in the other.
async fn evict(kubectl: &Kubectl<'_>, node: &str, vars: &Vars) -> Result<()> {
    let [way, fallback] = ways(vars);
    let done = way.go(kubectl, node, &vars.drain_pod_selector).await;
    let failure = match done {
        Err(failure @ Failure::Other { .. }) if vars.drain_fallback_enabled => failure,
        done => return done,
    };
    kubectl.asker().warn(format!(
        "{failure}; the pods are deleted without asking their budgets (drain_fallback_enabled)"
    ));
    fallback.go(kubectl, node, &vars.drain_pod_selector).await
}

/// The one way and the other.
fn ways(vars: &Vars) -> [Way; 2] {
    let way = Way {
        name: "Drain",
        flag: "",
        grace_seconds: vars.drain_grace_period,
        limit: vars.drain_timeout,
        attempts: vars.drain_retries + 1,
        delay: Duration::from_secs(vars.drain_retry_delay_seconds),
    };
    let fallback = Way {
        name: "Delete the pods of",
        flag: "--disable-eviction",
        grace_seconds: vars.drain_fallback_grace_period,
        limit: vars.drain_fallback_timeout,
        attempts: vars.drain_fallback_retries + 1,
        delay: Duration::from_secs(vars.drain_fallback_retry_delay_seconds),
    };
    [way, fallback]
}

/// A way to get pods off a node.
#[derive(Debug, PartialEq)]
struct Way {
    name: &'static str,
    /// A flag of kubectl drain, or nothing.
    flag: &'static str,
    grace_seconds: i64,
    /// Of each attempt.
    limit: Duration,
    attempts: u32,
    delay: Duration,
}

impl Way {
    async fn go(&self, kubectl: &Kubectl<'_>, node: &str, selector: &str) -> Result<()> {
        let grace = format!("--grace-period={}", self.grace_seconds);
        let timeout = format!("--timeout={}s", self.limit.as_secs().clamp(1, AT_A_TIME));
        let flags = [self.flag].into_iter().filter(|flag| !flag.is_empty());
        let args = [node, selector, &grace, &timeout].into_iter().chain(flags);
        let script = kubectl!(concat!(include_str!("look.sh"), include_str!("evict.sh")), args);
        let mut attempt = 1;
        loop {
            let what = match attempt {
                1 => format!("{} {node}", self.name),
                _ => format!("{} {node}, attempt {attempt} of {}", self.name, self.attempts),
            };
            let told = |said: &str| {
                let left = OnNode::parse(said).filter(|left| !left.is_empty());
                left.map_or_else(|| last_words(said), |left| left.waits_for())
            };
            match kubectl.insist(&what, &script, self.limit, told).await {
                Ok(said) => {
                    if OnNode::parse(&said).is_some_and(|left| !left.is_empty()) {
                        kubectl.asker().warn(format!(
                            "the node {node} is not Ready any more: the pods that are left on it cannot be moved"
                        ));
                    }
                    return Ok(());
                }
                Err(Failure::Waited { tail, .. }) if attempt == self.attempts => {
                    return Err(self.fault(node, &tail));
                }
                Err(Failure::Waited { .. }) => attempt += 1,
                Err(failure) => return Err(failure),
            }
            kubectl.asker().pause(&format!("the next attempt to drain {node}"), self.delay).await?;
        }
    }

    /// Why pods are left.
    fn fault(&self, node: &str, said: &str) -> Failure {
        let left = OnNode::parse(said).filter(|left| !left.is_empty());
        let (why, remedy) =
            left.map_or_else(|| (last_words(said), String::new()), |left| left.fault(self.grace_seconds));
        let times = if self.attempts > 1 { format!(" in {} attempts", self.attempts) } else { String::new() };
        Failure::Other {
            message: format!("{node} could not be drained within {} s{times}: {why}", self.limit.as_secs()),
            remedy: remedy.into(),
            tail: said
                .lines()
                .filter_map(|line| line.strip_prefix("said\t"))
                .map(|line| format!("{line}\n"))
                .collect(),
        }
    }
}

/// The last line that kubectl drain wrote.
fn last_words(said: &str) -> String {
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("kubectl drain failed");
    line.strip_prefix("said\t").unwrap_or(line).to_owned()
}

/// A length of time as kubectl takes it, longer than nothing: `360s`, `6m`, `1h30m`; a number alone is seconds.
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(u64),
        Text(String),
    }
    let length = match Written::deserialize(deserializer)? {
        Written::Seconds(seconds) => Some(Duration::from_secs(seconds)),
        Written::Text(text) => length(&text),
    };
    length
        .filter(|length| !length.is_zero())
        .ok_or_else(|| de::Error::custom("it is a length of time, such as 360s or 6m"))
}

fn length(text: &str) -> Option<Duration> {
    text.parse().map(Duration::from_secs).ok().or_else(|| duration(text))
}

/// The annotation of a node that muster has cordoned.
const MARK: &str = "muster.io/cordoned";

/// A node gets no new pods; before that it is told what will become of those that it has.
struct Cordoned<'n> {
    node: &'n str,
    selector: &'n str,
    /// Whether its pods will be moved.
    moves: bool,
}

impl Cordoned<'_> {
    /// What is done, and told, about a node on which this was found. One that is cordoned already gets no mark. Which pods it has is
    /// so for the moment: any of them may be made anew before the plan is applied.
    fn judge(&self, found: &OnNode) -> Plan {
        let mut plan = Plan::nothing();
        if !found.unschedulable {
            plan = Plan::change(self, "cordoned", patch(self.node, true));
        }
        let words = if self.moves { found.in_words() } else { Vec::new() };
        plan.changes.extend(words.into_iter().map(|what| Change {
            resource: self.label(),
            what,
            diff: None,
            momentary: true,
        }));
        plan
    }
}

impl Resource for Cordoned<'_> {
    fn label(&self) -> String {
        format!("node {}", self.node)
    }

    fn probe(&self) -> Probe {
        Probe::script(looking(self.node, self.selector))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        let Some(found) = OnNode::parse(&answer.output).filter(|_| answer.status == 0) else {
            return Err(format!("kubectl cannot look at it: {}", answer.output.trim_end()));
        };
        Ok(self.judge(&found))
    }

    fn desired(&self) -> String {
        format!("{}:cordoned", self.label())
    }
}

/// A node that muster has cordoned gets pods again, and has no mark any more.
struct Uncordoned<'n> {
    node: &'n str,
}

impl Uncordoned<'_> {
    fn judge(&self, found: Option<&OnNode>) -> Plan {
        if found.is_some_and(|found| found.ours) {
            return Plan::change(self, "uncordoned", patch(self.node, false));
        }
        Plan::nothing()
    }
}

impl Resource for Uncordoned<'_> {
    fn label(&self) -> String {
        format!("node {}", self.node)
    }

    fn probe(&self) -> Probe {
        // No pod and no budget is asked for.
        Probe::script(kubectl!(concat!(include_str!("look.sh"), "look_at_node \"$1\""), [self.node]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        if answer.status != 0 {
            return Err(format!("kubectl cannot look at it: {}", answer.output.trim_end()));
        }
        Ok(self.judge(OnNode::parse(&answer.output).as_ref()))
    }

    fn desired(&self) -> String {
        format!("{}:uncordoned", self.label())
    }
}

/// One change: so a node is never cordoned without its mark, or marked and not cordoned.
fn patch(node: &str, cordoned: bool) -> Script {
    let (unschedulable, mark) =
        if cordoned { (json!(true), json!("true")) } else { (json!(null), json!(null)) };
    let patch =
        json!({ "metadata": { "annotations": { MARK: mark } }, "spec": { "unschedulable": unschedulable } });
    kubectl!(r#"kubectl patch node "$1" --type=merge --patch "$2""#, [node, &patch.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_have_the_time_that_variables_say() {
        let yaml = "drain_grace_period: 1\ndrain_timeout: 2s\ndrain_retries: 3\ndrain_retry_delay_seconds: 4\n\
                    drain_fallback_grace_period: 5\ndrain_fallback_timeout: 6m\ndrain_fallback_retries: 7\n\
                    drain_fallback_retry_delay_seconds: 8";
        let vars = crate::preflight::fixture::variables(yaml).deserialize().unwrap();
        let way = |name, flag, grace_seconds, limit, attempts, delay| Way {
            name,
            flag,
            grace_seconds,
            limit: Duration::from_secs(limit),
            attempts,
            delay: Duration::from_secs(delay),
        };
        let expected =
            [way("Drain", "", 1, 2, 4, 4), way("Delete the pods of", "--disable-eviction", 5, 360, 8, 8)];
        assert_eq!(ways(&vars), expected);
    }

    #[test]
    fn a_length_of_time_is_written_as_for_kubectl() {
        let seconds = |text: &str| length(text).map(|length| length.as_secs());
        assert_eq!(["360s", "6m", "1h30m", "90", "0s"].map(seconds), [360, 360, 5400, 90, 0].map(Some));
        assert_eq!(["", "x", "6d", "m"].map(seconds), [None; 4]);
    }

    #[test]
    fn only_a_node_that_muster_has_cordoned_gets_pods_again() {
        let changes = |line: &str| {
            let found = OnNode::parse(line).unwrap();
            let cordons = Cordoned { node: "a", selector: "", moves: true }.judge(&found).script.is_some();
            let uncordons = Uncordoned { node: "a" }.judge(Some(&found)).script.is_some();
            (cordons, uncordons)
        };
        assert_eq!(changes("node\t\t\tTrue"), (true, false));
        assert_eq!(changes("node\ttrue\ttrue\tTrue"), (false, true));
        // Somebody else has cordoned it.
        assert_eq!(changes("node\ttrue\t\tTrue"), (false, false));
        assert!(Uncordoned { node: "a" }.judge(None).script.is_none());
    }

    #[test]
    fn which_pods_move_is_told_and_is_no_part_of_a_plan() {
        let found = OnNode::parse("node\t\t\tTrue\npod\tshop\tdb-0\tRunning\t\t\t\t\n").unwrap();
        let told = |moves| -> Vec<(String, bool)> {
            let plan = Cordoned { node: "a", selector: "", moves }.judge(&found);
            plan.changes.into_iter().map(|change| (change.what, change.momentary)).collect()
        };
        let pods = "1 pod without a controller deleted for good: shop/db-0";
        assert_eq!(told(true), [("cordoned".to_owned(), false), (pods.to_owned(), true)]);
        assert_eq!(told(false), [("cordoned".to_owned(), false)]);
    }

    #[test]
    fn what_stopped_a_drain_is_told_by_the_budget_or_in_kubectl_s_words() {
        let way = Way {
            name: "Drain",
            flag: "",
            grace_seconds: 30,
            limit: Duration::from_secs(60),
            attempts: 2,
            delay: Duration::ZERO,
        };
        let said = "node\ttrue\ttrue\tTrue\npod\tshop\tdb-0\tRunning\t\t\t\t\nsaid\terror: global timeout\n";
        let told = |said: &str| way.fault("node3", said).to_string();
        assert_eq!(
            told(said),
            "node3 could not be drained within 60 s in 2 attempts: 1 pod did not end: shop/db-0"
        );
        let gone = "node\ttrue\ttrue\tTrue\nsaid\terror: cannot delete pod: denied\n";
        assert!(told(gone).ends_with("2 attempts: error: cannot delete pod: denied"), "{}", told(gone));
    }
}
