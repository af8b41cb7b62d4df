//! What is known of a cluster that is watched, without a look at it.

use muster_app::Project;
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::table::Table;
use crate::output::text::{duration, harmless, harmless_lines, some_names};
use crate::output::{Screen, print};
use crate::reconcile::decide::{CLUSTER, Case};
use crate::reconcile::memory::{Memory, Store, now, time_of};

/// Shows each machine: what is wrong with it and since when, what was tried, and when something is tried next. The exit code is 1 where
/// something is wrong.
///
/// # Errors
/// What is kept cannot be read.
pub(crate) fn status(
    project: &Project,
    as_json: bool,
    environment: &Environment,
) -> Result<Exit, CommandError> {
    let Known { memory, frozen, watcher } = Known::of(project)?;
    if as_json {
        print::data(&format!("{:#}\n", report(&memory, frozen.as_deref(), watcher.as_deref())))?;
    } else if memory.looked == 0 {
        print::note("nobody has looked yet");
        print::next(&project.command(&["muster", "reconcile"], 2));
    } else {
        let screen = Screen::new(environment, false);
        let mut table = Table::new(&["machine", "state", "since", "wrong", "tried", "decided", "next try"]);
        let at = now();
        for (name, case) in shown(&memory) {
            let state = if case.trouble.is_some() { "ill" } else { "well" };
            let next = case.until.filter(|until| *until > at);
            let next = next.map(|until| format!("in {}", in_words(until - at))).unwrap_or_default();
            let since = in_words(at.saturating_sub(case.since));
            let decided = if case.trouble.is_some() { case.decided.clone() } else { String::new() };
            let wrong = case.trouble.clone().unwrap_or_default();
            let cells = [name.to_owned(), state.to_owned(), since, wrong, tried(case), decided, next];
            table.row(cells.map(|cell| harmless(&cell)).to_vec());
        }
        let lines = table.render(screen.style, screen.size().1);
        print::data(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        print::note(&format!("looked at {} ago", in_words(at.saturating_sub(memory.looked))));
        match &watcher {
            Some(who) => print::note(&format!("watched by {who}")),
            None => print::note("nobody watches it on this computer now"),
        }
    }
    if let Some(wrong) = memory.declaration.as_ref().filter(|_| !as_json) {
        print::note(&harmless_lines(wrong));
    }
    if let Some(reason) = frozen.filter(|_| !as_json) {
        print::note(&format!(
            "frozen: {reason}; to go on: {}",
            project.command(&["muster", "reconcile", "--thaw"], 2)
        ));
    }
    let is_ill = memory.cases.values().any(|case| case.trouble.is_some());
    Ok(if is_ill || memory.declaration.is_some() { Exit::No } else { Exit::Done })
}

/// What is known of one of several clusters, without a look at it.
pub(crate) struct Known {
    memory: Memory,
    frozen: Option<String>,
    watcher: Option<String>,
}

impl Known {
    /// # Errors
    /// What is kept cannot be read.
    pub(crate) fn of(project: &Project) -> Result<Self, CommandError> {
        let store = Store::of(project);
        Ok(Self { memory: store.memory()?, frozen: store.frozen()?, watcher: store.watcher() })
    }

    /// The headings of [`Self::cells`].
    pub(crate) const HEADINGS: [&'static str; 4] =
        ["machines", "state", "looked at", "what there is to know"];

    /// Whether nothing is known to be wrong: somebody has looked, and found everything as it is to be.
    pub(crate) fn is_well(&self) -> bool {
        let is_ill = self.memory.cases.values().any(|case| case.trouble.is_some());
        self.memory.looked != 0 && !is_ill && self.memory.declaration.is_none()
    }

    /// It in a few words.
    pub(crate) fn cells(&self) -> [String; 4] {
        let machines = self.memory.cases.keys().filter(|name| *name != CLUSTER).count();
        let ill: Vec<&str> = self
            .memory
            .cases
            .iter()
            .filter(|(_, case)| case.trouble.is_some())
            .map(|(name, _)| name.as_str())
            .collect();
        let state = match ill.len() {
            _ if self.memory.looked == 0 => "not known".to_owned(),
            0 if self.memory.declaration.is_some() => "wrong: the declaration".to_owned(),
            0 => "well".to_owned(),
            _ => format!("wrong: {}", some_names(&ill)),
        };
        let looked = match self.memory.looked {
            0 => "never".to_owned(),
            at => format!("{} ago", in_words(now().saturating_sub(at))),
        };
        let frozen = self.frozen.iter().map(|reason| format!("frozen: {reason}"));
        let first = |text: &String| text.lines().next().unwrap_or_default().to_owned();
        let declaration = self.memory.declaration.iter().map(first);
        let decided = self.memory.cases.values().filter(|case| case.trouble.is_some());
        let decided = decided.map(|case| case.decided.clone()).take(1);
        let unwatched = self.watcher.is_none().then(|| "nobody watches it now".to_owned());
        let all: Vec<String> = frozen.chain(declaration).chain(decided).chain(unwatched).collect();
        [machines.to_string(), state, looked, all.join("; ")]
    }

    /// It for programs.
    pub(crate) fn report(&self) -> Value {
        report(&self.memory, self.frozen.as_deref(), self.watcher.as_deref())
    }
}

fn in_words(seconds: u64) -> String {
    duration(std::time::Duration::from_secs(seconds))
}

/// The machines; and the cluster as a whole, where something is wrong with it.
fn shown(memory: &Memory) -> impl Iterator<Item = (&str, &Case)> {
    let cases = memory.cases.iter().map(|(name, case)| (name.as_str(), case));
    cases.filter(|(name, case)| *name != CLUSTER || case.trouble.is_some())
}

/// `set-up 2x, power`.
fn tried(case: &Case) -> String {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for tried in &case.tries {
        let step = tried.step.to_string();
        match counted.iter_mut().find(|(known, _)| *known == step) {
            Some((_, times)) => *times += 1,
            None => counted.push((step, 1)),
        }
    }
    let words = counted
        .iter()
        .map(|(step, times)| if *times == 1 { step.clone() } else { format!("{step} {times}x") });
    words.collect::<Vec<_>>().join(", ")
}

fn report(memory: &Memory, frozen: Option<&str>, watcher: Option<&str>) -> Value {
    let time = |at: u64| if at == 0 { Value::Null } else { json!(time_of(at)) };
    let machine = |case: &Case| {
        let tries = case
            .tries
            .iter()
            .map(|tried| json!({ "step": tried.step, "at": time_of(tried.at), "outcome": tried.outcome }));
        json!({
            "state": if case.trouble.is_some() { "ill" } else { "well" },
            "wrong": case.trouble,
            "since": time(case.since),
            "tries": tries.collect::<Vec<_>>(),
            "next": case.until.map(time_of),
            "decided": case.decided,
        })
    };
    let machines: serde_json::Map<String, Value> =
        shown(memory).map(|(name, case)| (name.to_owned(), machine(case))).collect();
    json!({
        "looked": time(memory.looked),
        "frozen": frozen,
        "watched_by": watcher,
        "drift": memory.drift,
        "declaration": memory.declaration,
        "machines": machines,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::decide::{Step, Try};

    #[test]
    fn a_report_says_what_is_wrong_since_when_and_what_was_tried() {
        let tries =
            [Step::SetUp, Step::SetUp, Step::Power].map(|step| Try { step, at: 60, outcome: "done".into() });
        let ill = Case {
            trouble: Some("kubelet is inactive".into()),
            since: 30,
            tries: tries.to_vec(),
            until: Some(180),
            decided: "wait: the last try needs time".into(),
            ..Case::default()
        };
        assert_eq!(tried(&ill), "set-up 2x, power");
        let cases =
            [("node1", Case { since: 9, ..Case::default() }), ("node2", ill), (CLUSTER, Case::default())];
        let cases = cases.map(|(name, case)| (name.to_owned(), case)).into();
        let told = report(&Memory { looked: 90, cases, ..Memory::default() }, Some("exam"), None);
        assert_eq!(told["machines"].as_object().unwrap().len(), 2, "{told}");
        assert_eq!(told["machines"]["node1"]["state"], "well");
        let node2 = &told["machines"]["node2"];
        assert_eq!(
            node2["tries"][2],
            json!({ "step": "power", "at": "1970-01-01T00:01:00Z", "outcome": "done" })
        );
        assert_eq!(
            (&node2["since"], &node2["next"]),
            (&json!("1970-01-01T00:00:30Z"), &json!("1970-01-01T00:03:00Z"))
        );
        assert_eq!((&told["frozen"], &told["watched_by"]), (&json!("exam"), &Value::Null));
    }

    #[test]
    fn a_cluster_in_a_line_says_what_is_wrong_or_that_nobody_knows() {
        let known = |memory: Memory| Known { memory, frozen: None, watcher: Some("ada".into()) };
        assert_eq!(known(Memory::default()).cells()[1..3], ["not known", "never"]);
        assert!(!known(Memory::default()).is_well());
        let mut memory = Memory {
            looked: now(),
            cases: [("shop-cp-1".to_owned(), Case::default())].into(),
            ..Memory::default()
        };
        assert_eq!(known(memory.clone()).cells()[..2], ["1", "well"]);
        assert_eq!((known(memory.clone()).is_well(), known(memory.clone()).cells()[3].as_str()), (true, ""));
        memory.declaration = Some("clusters/shop/cluster.yml:1:1: no\nmore".into());
        assert!(!known(memory.clone()).is_well());
        assert_eq!(known(memory).cells()[3], "clusters/shop/cluster.yml:1:1: no");
    }
}
