//! Pods that have read the cluster's authority when they began get new ones in their places: all of Deployments, DaemonSets and
//! StatefulSets, each in its own way of rolling out; those of the cluster itself first.

use std::collections::BTreeSet;

use muster_engine::prelude::*;
use muster_inventory::some_names;

use crate::kubectl::{Kubectl, kubectl};

/// How long the cluster's own workloads may take.
const OWN: Duration = Duration::from_secs(300);

/// How often the others are looked at, every three seconds.
const LOOKS: u32 = 100;

/// `id`: what tells this rotation from every other one. What has begun anew for it once does not do so again.
pub(super) async fn begin_anew(host: &Host, kubectl: &Kubectl<'_>, id: &str) -> Result<()> {
    let anew = |whose| {
        let anew = kubectl!(include_str!("workloads-anew.sh"), [id, whose]);
        kubectl.plane().run_on_behalf_of(host, "Let pods begin anew", anew, Duration::from_secs(300))
    };
    // First: while kube-proxy starts anew on a node, nobody there learns that another pod has gone.
    let left = left(&anew("own").await?);
    if !left.is_empty() {
        return Err(Failure::new(
            format!("the cluster does not let its own workloads begin anew: {}", left.join(", ")),
            "see why: muster kubectl rollout restart, with the namespace and the name; then run the same command again",
        ));
    }
    own_have_rolled_out(kubectl).await?;
    let mut behind = self::left(&anew("others").await?);
    let mut late_ones = Vec::new();
    for _ in 0..LOOKS {
        late_ones = late(&kubectl.query("Look at the workloads", look()).await?, false, 0);
        if late_ones.is_empty() {
            break;
        }
        host.pause("workloads to roll out", Duration::from_secs(3)).await?;
    }
    behind.append(&mut late_ones);
    if !behind.is_empty() {
        host.warn(format!(
            "workloads have not rolled out, and the rotation goes on without them: {}; their old pods that ask the API have to begin anew",
            some_names(&behind)
        ));
    }
    Ok(())
}

/// Waits until the workloads of the cluster itself, kube-proxy and the pods' network among them, have the pods that they are to have.
pub(crate) async fn own_have_rolled_out(kubectl: &Kubectl<'_>) -> Result<()> {
    wait(kubectl, look(), &|_| 0).await
}

/// The same, where nodes may be away: those of these names, and those that are not Ready. The pods there are not waited for.
pub(crate) async fn own_have_rolled_out_without(
    kubectl: &Kubectl<'_>,
    lost: &BTreeSet<String>,
) -> Result<()> {
    let look = kubectl!(concat!(include_str!("workloads.sh"), include_str!("nodes.sh")), [""; 0]);
    wait(kubectl, look, &|printed| away(printed, lost)).await
}

/// `away`: how many nodes are, by what was printed.
async fn wait(kubectl: &Kubectl<'_>, look: Script, away: &(dyn Fn(&str) -> usize + Sync)) -> Result<()> {
    let judge = |answer: Answer| {
        let late = late(&answer.output, true, away(&answer.output));
        if answer.status != 0 || late.is_empty() {
            return answer;
        }
        Answer { status: 1, output: format!("not yet: {}", late.join(", ")) }
    };
    let wait = Wait::new("the cluster's own pods have begun anew", look, Duration::from_secs(1), OWN);
    kubectl.wait_until(wait, &judge).await.map(drop)
}

fn look() -> Script {
    kubectl!(include_str!("workloads.sh"), [""; 0])
}

/// The workloads that could not be changed (`workloads-anew.sh`).
fn left(printed: &str) -> Vec<String> {
    printed.lines().filter_map(|line| line.strip_prefix("left ")).map(str::to_owned).collect()
}

/// The nodes that are not Ready, or lost, in what `nodes.sh` prints.
fn away(printed: &str, lost: &BTreeSet<String>) -> usize {
    let nodes = printed.lines().filter_map(|line| line.strip_prefix("node|")?.split_once('|'));
    nodes.filter(|(name, ready)| *ready != "True" || lost.contains(*name)).count()
}

/// The workloads that have not rolled out (`workloads.sh`): those in namespaces of the cluster's own, or all. `away`: how many nodes
/// are. A DaemonSet does without as many pods then, and the others with one; and pods that are ready need not be new, because old
/// ones on those nodes, which do not end, can keep a DaemonSet from going on.
fn late(printed: &str, own: bool, away: usize) -> Vec<String> {
    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
    let is_late = |line: &&str| -> bool {
        let [namespace, name, generation, seen, wanted, new, ready] = line.split('|').collect::<Vec<_>>()[..]
        else {
            return false;
        };
        let all = number(wanted);
        let (least_new, least_ready) = match away {
            0 => (all, all),
            away if name.starts_with("DaemonSet/") => (0, all.saturating_sub(away)),
            _ => (0, all.min(1)),
        };
        (!own || namespace.starts_with("kube-"))
            && (number(seen) < number(generation) || number(new) < least_new || number(ready) < least_ready)
    };
    let name = |line: &str| line.split('|').take(2).collect::<Vec<_>>().join("/");
    printed.lines().filter(is_late).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_rolled_out_is_told() {
        let printed = "kube-system|Deployment/coredns|3|3|2|2|2\nkube-system|DaemonSet/kube-proxy|2|2|3|2|3\n\
                       course|Deployment/web|2|1|1|1|1\ncourse|StatefulSet/db|2|2|1|1|\nidle|Deployment/none|1|1|0||\n";
        assert_eq!(late(printed, true, 0), ["kube-system/DaemonSet/kube-proxy"]);
        assert_eq!(
            late(printed, false, 0),
            ["kube-system/DaemonSet/kube-proxy", "course/Deployment/web", "course/StatefulSet/db"]
        );
    }

    #[test]
    fn pods_of_nodes_that_are_away_are_not_waited_for() {
        let nodes = "node|a|True\nnode|b|Unknown\nnode|c|True\nnode|d|\n";
        assert_eq!(away(nodes, &BTreeSet::new()), 2);
        assert_eq!(away(nodes, &["c".to_owned(), "gone".to_owned()].into()), 3);
        let printed = |proxies: &str, names: &str| {
            format!(
                "kube-system|DaemonSet/kube-proxy|2|2|3|0|{proxies}\nkube-system|Deployment/coredns|1|1|2|2|{names}\n{nodes}"
            )
        };
        assert!(late(&printed("1", "1"), true, 2).is_empty());
        assert_eq!(late(&printed("0", "1"), true, 2), ["kube-system/DaemonSet/kube-proxy"]);
        assert_eq!(late(&printed("1", ""), true, 2), ["kube-system/Deployment/coredns"]);
        assert_eq!(late(&printed("1", "1"), true, 0).len(), 2);
    }
}
