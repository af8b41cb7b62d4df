//! A node of model machines gives its pods away as the variables say, and what stands against it is shown.

use muster_engine::play::Play;
use muster_roles::{ROLES, Removal};
use muster_testkit::model::shell::{Done, Shell};

use crate::cluster::{Cluster, State, say};
use crate::{GROUPS, IN_USE, Ran, World, events::after, hosts, simulated};

/// Pods on m2 and a budget, as kubectl prints them for the role.
const DEBUG: &str = "pod\tdefault\tdebug\tRunning\t\t\t\t\n";
const WEB: &str = "pod\tshop\tweb-5d-a\tRunning\t{\"app\":\"web\",\"pod-template-hash\":\"5d\"}\t[{\"controller\":true,\"kind\":\"ReplicaSet\",\"name\":\"web-5d\"}]\t\t\n";
const BUDGET: &str = "budget\tshop\tweb\t{\"matchLabels\":{\"app\":\"web\"}}\t0\t2\t\t\n";
const BLOCKS: &str = "the PodDisruptionBudget shop/web of Deployment web (minAvailable 2) lets none of its pods go now: shop/web-5d-a";

/// What runs on m2, and what kubectl was asked about it.
#[derive(Default)]
pub(crate) struct Pods {
    on_node: Vec<&'static str>,
    budgets: &'static str,
    asked: Vec<String>,
    /// Which pods began anew, as field selectors.
    pub(crate) anew: Vec<String>,
}

impl Pods {
    /// What kubectl shows; `None` for what is something else.
    pub(crate) fn shown(&mut self, words: &[&str]) -> Option<String> {
        match words {
            ["get", "pods", "-A", "--field-selector", node, "--selector", selector, ..] => {
                self.asked.push(format!("get pods --selector {selector}"));
                let is_looked_at = ["spec.nodeName=m2", "spec.nodeName!="].contains(node);
                let shown = self.on_node.iter().filter(|pod| is_looked_at && selects(selector, pod));
                Some(shown.map(|pod| pod.trim_end_matches('\n').to_owned() + "\tm2\n").collect())
            }
            ["get", "pods", "-A", "--field-selector", which, "-o", _]
                if which.starts_with("status.phase!=") =>
            {
                self.anew.push((*which).to_owned());
                Some(String::new())
            }
            ["get", "poddisruptionbudgets", "-A", ..] => Some(self.budgets.to_owned()),
            _ => None,
        }
    }
}

/// Whether a selector, which is nothing or `app!=web` here, selects a pod.
fn selects(selector: &str, pod: &str) -> bool {
    selector.is_empty() || !pod.contains(r#""app":"web""#)
}

impl Pods {
    /// A pod on m2, which a budget does not let go.
    pub(crate) fn that_stay() -> Self {
        Self { on_node: vec![WEB], budgets: BUDGET, ..Self::default() }
    }
}

impl Cluster {
    /// `kubectl drain`: pods go, but for those that a budget keeps.
    pub(crate) fn drain(&self, shell: &mut Shell, node: &str, flags: &[&str]) -> Done {
        let State { pods, cordoned, held, wrong, .. } = &mut *self.state();
        if !cordoned.contains(node) && !held.contains(node) {
            wrong.push(format!("{node} is drained, and gets new pods"));
        }
        pods.asked.push(format!("drain {}", flags.join(" ")));
        let selector = flags.iter().find_map(|flag| flag.strip_prefix("--pod-selector=")).unwrap_or("");
        let asks = !flags.contains(&"--disable-eviction");
        let kept = |pod: &str| !selects(selector, pod) || asks && !pods.budgets.is_empty() && pod == WEB;
        pods.on_node.retain(|pod| node != "m2" || kept(pod));
        let blocked = node == "m2" && pods.on_node.iter().any(|pod| selects(selector, pod));
        if blocked { say(shell, "error: global timeout reached: 4s", 1) } else { Ok(0) }
    }
}

impl World {
    /// m2, with these pods and this budget, goes through the roles.
    async fn drained(
        &self,
        pods: &[&'static str],
        budgets: &'static str,
        roles: &[&str],
        set: &[&str],
    ) -> Ran {
        self.inventory(&hosts(IN_USE), GROUPS, set);
        self.cluster.state().pods = Pods { on_node: pods.to_vec(), budgets, ..Pods::default() };
        let roles = roles.iter().map(ToString::to_string).collect();
        let play = Play { name: "Drain".into(), hosts: "m2".into(), roles, ..Play::default() };
        self.does(&[play], ROLES.to_vec());
        self.calm(7).await.1
    }

    fn asked(&self, what: &str) -> Vec<String> {
        self.cluster.state().pods.asked.iter().filter(|asked| asked.starts_with(what)).cloned().collect()
    }

    /// Whether m2 gets no new pods: by muster's doing, and by somebody else's.
    fn keeps_pods_away(&self) -> [bool; 2] {
        let state = self.cluster.state();
        [&state.cordoned, &state.held].map(|nodes| nodes.contains("m2"))
    }
}

fn failure(ran: &Ran) -> String {
    ran.outcome["m2"].failure.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn what_will_become_of_the_pods_is_told_before_they_go() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        let ran = world.drained(&[WEB, DEBUG], "", &["drain", "uncordon"], &[]).await;
        let changes: Vec<&str> = ran.changes.iter().map(|change| change.what.as_str()).collect();
        let told = [
            "cordoned",
            "1 pod moved: shop/web-5d-a",
            "1 pod without a controller deleted for good: default/debug",
            "uncordoned",
        ];
        assert_eq!((failure(&ran).as_str(), changes.as_slice()), ("", &told[..]));
        assert_eq!((world.asked("drain").len(), world.keeps_pods_away()), (1, [false, false]));
    });
}

#[test]
fn a_budget_is_shown_with_its_pods_while_it_blocks_and_the_node_gets_pods_again() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        let ran = world.drained(&[WEB], BUDGET, &["drain"], &["drain_timeout=20s", "drain_retries=2"]).await;
        assert!(ran.shown.iter().any(|line| line == BLOCKS), "{:?}", ran.shown);
        assert_eq!(failure(&ran), format!("m2 could not be drained within 20 s in 3 attempts: {BLOCKS}"));
        let drains = world.asked("drain");
        assert!(
            drains.len() > 3 && drains.iter().all(|drain| !drain.contains("--disable-eviction")),
            "{drains:?}"
        );
        assert_eq!(world.keeps_pods_away(), [false, false]);
        // It stays cordoned, and goes on, where the variables say so.
        let set = [
            "upgrade_node_uncordon_after_drain_failure=false",
            "upgrade_node_fail_if_drain_fails=false",
            "drain_timeout=20s",
            "drain_retries=0",
        ];
        let ran = world.drained(&[WEB], BUDGET, &["drain", "uncordon"], &set).await;
        assert_eq!((failure(&ran).as_str(), world.keeps_pods_away()), ("", [true, false]));
        let told = ran.warnings.join("\n");
        assert!(
            told.contains("muster kubectl uncordon m2") && told.contains("it goes on all the same"),
            "{told}"
        );
    });
}

#[test]
fn pods_that_a_budget_keeps_are_deleted_at_last_where_that_is_wanted() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        let set = ["drain_fallback_enabled=true", "drain_retries=0", "drain_fallback_grace_period=7"];
        let ran = world.drained(&[WEB], BUDGET, &["drain", "uncordon"], &set).await;
        assert_eq!(failure(&ran), "");
        let last = world.asked("drain").pop().unwrap();
        assert!(last.contains("--disable-eviction") && last.contains("--grace-period=7"), "{last}");
        let told = ran.warnings.join("\n");
        assert!(told.contains("the pods are deleted without asking their budgets"), "{told}");
    });
}

#[test]
fn only_the_pods_that_a_selector_selects_are_looked_at_and_moved() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        let set = ["drain_pod_selector=app!=web"];
        let ran = world.drained(&[WEB, DEBUG], BUDGET, &["drain", "uncordon"], &set).await;
        assert_eq!(failure(&ran), "");
        assert_eq!(world.cluster.state().pods.on_node, [WEB]);
        let looks = world.asked("get pods");
        assert!(
            !looks.is_empty() && looks.iter().all(|look| look.ends_with("--selector app!=web")),
            "{looks:?}"
        );
    });
}

#[test]
fn a_node_that_somebody_else_has_cordoned_is_drained_and_stays_so() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        world.cluster.state().held.insert("m2".to_owned());
        let ran = world.drained(&[DEBUG], "", &["drain", "uncordon"], &[]).await;
        assert_eq!((failure(&ran).as_str(), world.keeps_pods_away()), ("", [false, true]));
        assert_eq!(world.asked("drain").len(), 1);
        let ran = world.drained(&[WEB], BUDGET, &["drain"], &["drain_timeout=20s", "drain_retries=0"]).await;
        assert!(
            failure(&ran).contains(BLOCKS) && world.keeps_pods_away() == [false, true],
            "{}",
            failure(&ran)
        );
        // Without a drain a node is only cordoned.
        world.cluster.state().held.clear();
        let ran = world.drained(&[DEBUG], "", &["drain"], &["drain_nodes=false"]).await;
        assert_eq!((failure(&ran).as_str(), world.keeps_pods_away()), ("", [true, false]));
        assert!(world.asked("drain").is_empty());
    });
}

#[test]
fn a_budget_that_will_block_is_told_before_a_node_is_removed() {
    simulated(async {
        let world = after(GROUPS, |_| ()).await;
        world.inventory(&hosts(IN_USE), GROUPS, &["drain_timeout=20s", "drain_retries=0"]);
        let removal = Removal { hosts: vec!["m2".into()], come_back: false };
        for (pods, told) in [(Pods::that_stay(), 1), (Pods { budgets: "", ..Pods::that_stay() }, 0)] {
            world.cluster.state().pods = pods;
            // Before anything is touched: by the role that looks.
            let mut plays = removal.plays(false);
            plays.truncate(1);
            world.does(&plays, removal.roles());
            let before = world.changes();
            let (_, ran, wrong) = world.calm(7).await;
            let words = format!(
                "draining m2 will wait: {BLOCKS}; if that stays so for drain_timeout, and in drain_retries attempts more, the drain has \
                 failed"
            );
            let count = ran.warnings.iter().filter(|warning| **warning == words).count();
            assert!(wrong.is_empty() && count == told, "{wrong:?} {:?}", ran.warnings);
            assert!(ran.changes.is_empty() && world.changes() == before, "{:?}", ran.changes);
        }
    });
}
