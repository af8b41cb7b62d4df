//! How a run ended: what preflight found, what failed and how to go on, Ansible's recap, the time, and what to type next.

use std::time::Duration;

use indexmap::IndexMap;
use muster_app::Recorder;
use muster_engine::event_json;
use muster_engine::failure::{Failure, Problem};
use muster_engine::run::{HostOutcome, Outcome};
use serde_json::{Value, json};

use crate::args::Form;
use crate::error::Exit;
use crate::output::advice;
use crate::output::jsonl;
use crate::output::problems;
use crate::output::recap::{Figures, figures, recap};
use crate::output::screen::Screen;
use crate::output::sentence::{Detail, gist};
use crate::output::style::{Style, Tone};
use crate::output::text;
use crate::output::view::View;

/// How many lines of a machine's output are repeated.
const TAIL: usize = 12;

/// For which hosts something is to be run again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Again<'a> {
    /// For these.
    Only(&'a [String]),
    /// For all but these.
    Without(&'a [String]),
}

/// What is told at the end of a run.
pub(crate) struct Closing<'a> {
    pub(crate) view: &'a View,
    pub(crate) outcome: &'a Outcome,
    pub(crate) detail: Detail,
    pub(crate) interrupted: bool,
    /// How many warnings there were before the run.
    pub(crate) warned: usize,
    /// What is the case where it was interrupted, if something is half done then.
    pub(crate) half_done: Option<&'a str>,
    /// What to type next when all went well.
    pub(crate) next: Option<&'a str>,
    /// What to type to run again for some of the hosts, where that makes sense.
    pub(crate) again: Box<dyn Fn(Again<'_>) -> Option<String> + 'a>,
    /// What names the inventory in a command, where that must be said: what is proposed works as it stands there.
    pub(crate) inventory: &'a [String],
    /// Whether there is one: machines may only have been named, by addresses.
    pub(crate) has_inventory: bool,
    /// What to type to see what happened, but for the name of the host.
    pub(crate) log: Option<String>,
    /// The words behind which a command is typed to reach the machines, `muster lab exec --` for one.
    pub(crate) through: Option<&'a str>,
}

/// The exit code that an outcome stands for.
pub(crate) fn exit_of(outcome: &Outcome, interrupted: bool) -> Exit {
    let failures: Vec<&Failure> = outcome.values().filter_map(|host| host.failure.as_ref()).collect();
    let any = |test: fn(&Failure) -> bool| failures.iter().any(|failure| test(failure));
    match () {
        () if interrupted => Exit::Interrupted,
        () if any(|f| matches!(f, Failure::Locked { .. })) => Exit::Locked,
        () if any(Failure::is_unreachable) => Exit::Unreachable,
        () if any(|f| !matches!(f, Failure::Problems(_) | Failure::Stopped(_))) => Exit::HostFailed,
        () if any(|f| matches!(f, Failure::Problems(_))) => Exit::Problems,
        () if failures.is_empty() => Exit::Done,
        () => Exit::HostFailed,
    }
}

impl Closing<'_> {
    fn that_work(&self, text: &str) -> String {
        let through = self.through.map(|words| format!("{words} ")).unwrap_or_default();
        advice::that_work(text, &through, self.inventory)
    }

    /// Tells it, and records how it ended. Returns the exit code.
    pub(crate) fn end(&self, form: Form, screen: &Screen, recorder: Option<&Recorder>) -> Exit {
        let exit = exit_of(self.outcome, self.interrupted);
        self.record(exit, recorder);
        self.tell(form, screen);
        exit
    }

    /// Records how it ended.
    pub(crate) fn record(&self, exit: Exit, recorder: Option<&Recorder>) {
        if let Some(recorder) = recorder {
            recorder.write(&self.object(exit));
        }
    }

    /// Tells it.
    pub(crate) fn tell(&self, form: Form, screen: &Screen) {
        if form == Form::Jsonl {
            jsonl::print(&self.object(exit_of(self.outcome, self.interrupted)));
            return;
        }
        let (_, columns) = screen.size();
        for line in self.lines(screen.style, columns, screen.is_live().then_some(columns)) {
            screen.line(&line);
        }
    }

    /// The last object of JSON lines.
    fn object(&self, exit: Exit) -> Value {
        let hosts: serde_json::Map<String, Value> = figures(self.outcome)
            .into_iter()
            .map(|(name, f)| {
                let host = &self.outcome[&name];
                let object = json!({
                    "ok": f.ok, "changed": f.changed, "unreachable": f.unreachable, "failed": f.failed,
                    "skipped": f.skipped, "exchanges": host.summary.exchanges,
                    "failure": host.failure.as_ref().map(jsonl::failure),
                });
                (name, object)
            })
            .collect();
        let exit = exit.code();
        let elapsed = self.view.elapsed.unwrap_or_default();
        event_json::line(elapsed, json!({ "event": "recap", "hosts": hosts, "exit_code": exit }))
    }

    /// The lines. `terminal` is the width of the terminal for the recap, `None` where there is none.
    fn lines(&self, style: Style, columns: usize, terminal: Option<usize>) -> Vec<String> {
        let mut lines = self.warnings(style, columns);
        lines.extend(self.problems(style, columns));
        lines.extend(self.failures(style, columns));
        lines.extend(self.stopped(style));
        let recap = recap(&figures(self.outcome), terminal, style);
        lines.extend(recap.trim_end_matches('\n').split('\n').map(str::to_owned));
        lines.push(String::new());
        lines.push(self.verdict(style));
        lines.extend(self.view.tested.iter().map(|what| format!("tested: {}", text::harmless(what))));
        if self.detail.verbose >= 1 {
            lines.extend(self.costs());
        }
        lines.extend(self.hints(style));
        lines
    }

    /// Those of several hosts once.
    fn warnings(&self, style: Style, columns: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for (warning, hosts) in &self.view.warnings {
            let warning = self.that_work(warning);
            let in_order: Vec<&String> = self.outcome.keys().filter(|host| hosts.contains(host)).collect();
            let hosts =
                if hosts.is_empty() { String::new() } else { format!("{}: ", text::names(&in_order)) };
            let wrapped =
                text::wrap(&format!("{hosts}{}", text::harmless(&warning)), columns.saturating_sub(10));
            lines.extend(wrapped.iter().enumerate().map(|(at, line)| match at {
                0 => format!("{} {line}", style.paint(Tone::Warning, "warning:")),
                _ => format!("         {line}"),
            }));
        }
        if !lines.is_empty() {
            lines.insert(0, String::new());
        }
        lines
    }

    fn problems(&self, style: Style, columns: usize) -> Vec<String> {
        let typed =
            |problem: &Problem| Problem { remedy: self.that_work(&problem.remedy), ..problem.clone() };
        let told: Vec<(&str, Vec<Problem>)> = self
            .outcome
            .iter()
            .filter_map(|(name, host)| match &host.failure {
                Some(Failure::Problems(problems)) => {
                    Some((name.as_str(), problems.iter().map(typed).collect()))
                }
                _ => None,
            })
            .collect();
        let found: Vec<(&str, &[Problem])> =
            told.iter().map(|(name, problems)| (*name, problems.as_slice())).collect();
        if found.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![String::new()];
        lines.extend(problems::of_hosts(&found, style, columns));
        lines
    }

    /// The failures other than preflight's, those that are the same on several hosts once.
    fn failures(&self, style: Style, columns: usize) -> Vec<String> {
        let mut groups: Vec<(String, &Failure, Vec<String>)> = Vec::new();
        for (name, host) in self.outcome {
            let Some(failure) = &host.failure else { continue };
            if matches!(failure, Failure::Problems(_) | Failure::Stopped(_)) {
                continue;
            }
            let place = self.place(name);
            let same = |group: &&mut (String, &Failure, Vec<String>)| {
                group.0 == place && gist(group.1) == gist(failure) && group.1.tail() == failure.tail()
            };
            match groups.iter_mut().find(same) {
                Some((_, _, hosts)) => hosts.push(name.clone()),
                None => groups.push((place, failure, vec![name.clone()])),
            }
        }
        // Those that failed because of others come after those they failed because of.
        groups.sort_by_key(|(_, failure, _)| matches!(failure, Failure::Dependency { .. }));
        groups
            .iter()
            .flat_map(|(place, failure, hosts)| self.failure(place, failure, hosts, style, columns))
            .collect()
    }

    /// Who did not go on because of whom. Where nobody did, that is told in other words.
    fn stopped(&self, style: Style) -> Vec<String> {
        if self.interrupted || exit_of(self.outcome, self.interrupted) == Exit::Problems {
            return Vec::new();
        }
        let mut groups: IndexMap<String, Vec<&String>> = IndexMap::new();
        for (name, host) in self.outcome {
            if let Some(failure @ Failure::Stopped(_)) = &host.failure {
                groups.entry(failure.to_string()).or_default().push(name);
            }
        }
        let told = |(why, hosts): (&String, &Vec<&String>)| {
            let names = style.paint(Tone::Strong, &text::names(hosts));
            [String::new(), format!("{} {names}  {}", style.warning(), text::harmless(why))]
        };
        groups.iter().flat_map(told).collect()
    }

    /// `etcd: Start etcd`: where a host was when it failed.
    fn place(&self, host: &str) -> String {
        let Some(view) = self.view.hosts.get(host) else { return String::new() };
        let parts: Vec<&str> =
            [&view.role, &view.step].into_iter().filter(|p| !p.is_empty()).map(String::as_str).collect();
        parts.join(": ")
    }

    fn failure(
        &self,
        place: &str,
        failure: &Failure,
        hosts: &[String],
        style: Style,
        columns: usize,
    ) -> Vec<String> {
        let names = style.paint(Tone::Strong, &text::names(hosts));
        let place = if place.is_empty() { String::new() } else { format!("  {place}") };
        let word = if failure.is_unreachable() { "  unreachable" } else { "" };
        let mut lines = vec![String::new(), format!("{} {names}{place}{word}", style.failed())];
        lines.extend(indented("", &text::harmless_lines(&failure.to_string()), columns));
        // Where the connection broke, what the program wrote until then is all there is.
        let broke = matches!(failure, Failure::Transport(_));
        let heard = hosts.first().filter(|_| broke).and_then(|host| self.view.hosts.get(host));
        let heard = heard.map(|view| view.output.join("\n")).unwrap_or_default();
        let tail = text::last_lines(failure.tail().unwrap_or(&heard), TAIL);
        lines.extend(tail.iter().map(|line| format!("  {} {}", style.quoted(), text::quoted(line))));
        if let Some(hint) = advice::hint(failure.remedy()) {
            let hint = self.that_work(&hint);
            lines.extend(indented("hint: ", &text::harmless_lines(&hint), columns));
        }
        lines
    }

    /// `3 hosts done (76 changed) in 2m04s`.
    fn verdict(&self, style: Style) -> String {
        let elapsed = text::duration(self.view.elapsed.unwrap_or(Duration::ZERO));
        let figures = figures(self.outcome);
        let changed: usize = figures.iter().map(|(_, f)| f.changed).sum();
        if exit_of(self.outcome, self.interrupted) == Exit::Problems {
            let with = |host: &&HostOutcome| matches!(host.failure, Some(Failure::Problems(_)));
            let hosts = text::count(self.outcome.values().filter(with).count(), "host");
            // A problem may be found after others, or this host, have been worked on.
            let changed = match changed {
                0 => "nothing was changed".to_owned(),
                changed => self.detail.changed(changed),
            };
            return format!("{} problems on {hosts}, {changed}, in {elapsed}", style.failed());
        }
        let total = |count: fn(&Figures) -> usize| figures.iter().map(|(_, f)| count(f)).sum::<usize>();
        let (failed, unreachable) = (total(|f| f.failed), total(|f| f.unreachable));
        let done = self.outcome.values().filter(|host| host.failure.is_none()).count();
        let stopped = self.outcome.len() - done - failed - unreachable;
        let mut parts =
            vec![format!("{} done ({})", text::count(done, "host"), self.detail.changed(changed))];
        for (number, word) in [(failed, "failed"), (unreachable, "unreachable"), (stopped, "stopped")] {
            if number > 0 {
                parts.push(format!("{number} {word}"));
            }
        }
        let warnings = self.warned + self.view.warnings.len();
        if warnings > 0 {
            parts.push(text::count(warnings, "warning"));
        }
        let mark = match done == self.outcome.len() {
            true if warnings == 0 => style.done(),
            true => style.warning(),
            false => style.failed(),
        };
        format!("{mark} {} in {elapsed}", parts.join(", "))
    }
}

/// A text below a heading. Lines that fit stay as they are: they may show a place in a file.
fn indented(lead: &str, text: &str, columns: usize) -> Vec<String> {
    let room = columns.saturating_sub(3);
    let lead_width = lead.len();
    let mut lines = Vec::new();
    for line in format!("{lead}{text}").lines() {
        if console::measure_text_width(line) <= room {
            lines.push(format!("  {line}"));
            continue;
        }
        let wrapped = text::wrap(line, room.saturating_sub(lead_width));
        let hang = |at: usize| " ".repeat(if at == 0 { 2 } else { 2 + lead_width });
        lines.extend(wrapped.iter().enumerate().map(|(at, part)| format!("{}{part}", hang(at))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use muster_engine::advice::{Advice, KnownHostKey};
    use muster_engine::event::{Counts, Event};
    use muster_engine::host::HostSummary;
    use muster_engine::transport::TransportError;

    use super::*;
    use muster_app::{Outline, Usual};

    fn outcome(hosts: Vec<(&str, Option<Failure>)>) -> Outcome {
        let counts = Counts { ok: 30, changed: 7, skipped: 1 };
        let of = |failure| HostOutcome { summary: HostSummary { counts, exchanges: 12 }, failure };
        hosts.into_iter().map(|(name, failure)| (name.to_owned(), of(failure))).collect()
    }

    fn told(outcome: &Outcome, detail: Detail, interrupted: bool) -> String {
        told_of(outcome, detail, interrupted, None, 0)
    }

    fn told_of(
        outcome: &Outcome,
        detail: Detail,
        interrupted: bool,
        half_done: Option<&str>,
        warned: usize,
    ) -> String {
        let outline = Outline { hosts: outcome.keys().cloned().collect(), ..Outline::default() };
        let mut view = View::new(&outline, Usual::default(), Instant::now());
        if outcome.values().all(|host| host.failure.is_none()) {
            view.apply(&Event::Tested { host: "node1".into(), what: "2 nodes".into() }, view.begun);
        }
        view.apply(&Event::RunEnded { elapsed: Duration::from_millis(64_200) }, view.begun);
        let again = |hosts: Again<'_>| match hosts {
            Again::Only(hosts) => Some(format!("setup-cluster --limit {}", hosts.join(","))),
            Again::Without(hosts) => Some(format!("setup-cluster --limit '!{}'", hosts.join(",!"))),
        };
        let (next, log) = (Some("muster kubectl get nodes"), Some("muster log last".to_owned()));
        let again: Box<dyn Fn(Again<'_>) -> Option<String>> = Box::new(again);
        let through = interrupted.then_some("muster lab exec --");
        Closing {
            view: &view,
            outcome,
            detail,
            interrupted,
            warned,
            half_done,
            next,
            again,
            inventory: &[],
            has_inventory: true,
            log,
            through,
        }
        .lines(Style::PLAIN, 100, None)
        .join("\n")
    }

    fn step_failed() -> Failure {
        Failure::Change { resource: "service etcd".into(), status: 1, tail: "one\ntwo\u{1b}[2J\n".into() }
    }

    #[test]
    fn what_is_proposed_is_a_run_of_the_hosts_where_the_reason_is() {
        let unwell = |hosts: &[&str]| Failure::Unwell {
            message: "nodes and pods are well: not within 180 s".into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            remedy: "".into(),
            tail: String::new(),
        };
        let hosts = |at: &[&str]| outcome(vec![("a", Some(unwell(at))), ("b", None), ("c", None)]);
        for (at, again) in [
            (&["c"][..], "again: setup-cluster --limit a,c"),
            (&[], "again: setup-cluster --limit a,b,c"),
            (&["elsewhere"], "again: setup-cluster --limit a,b,c"),
        ] {
            let told = told(&hosts(at), Detail::default(), false);
            assert!(told.lines().any(|line| line == again), "{at:?}: {told}");
        }
        // In a lab it is typed as it reaches the machines.
        let told = told(&hosts(&["c"]), Detail::default(), true);
        let command = "go on: muster lab exec -- setup-cluster --limit a,c";
        assert!(told.lines().any(|line| line == command), "{told}");
    }

    #[test]
    fn who_interrupts_a_run_is_told_what_is_half_done_then() {
        let stopped = outcome(vec![("a", Some(Failure::Stopped("the user interrupted it".into())))]);
        let last = |half_done: Option<&str>| {
            let told = told_of(&stopped, Detail::default(), true, half_done, 0);
            told.lines().last().map(str::to_owned).unwrap_or_default()
        };
        let then = "This command goes on from here, and so does the one you typed.";
        assert_eq!(last(None), format!("Nothing is half done. {then}"));
        let removal = "a may have left the cluster in part.";
        assert_eq!(last(Some(removal)), format!("{removal} {then}"));
    }

    #[test]
    fn warnings_of_before_a_run_are_counted_at_its_end() {
        let done = outcome(vec![("a", None)]);
        let verdict = |warned: usize| {
            let told = told_of(&done, Detail::default(), false, None, warned);
            told.lines().find(|line| line.contains(" host done")).map(str::to_owned).unwrap_or_default()
        };
        assert_eq!(verdict(0), "+ 1 host done (7 changed) in 1m04s");
        assert_eq!(verdict(2), "! 1 host done (7 changed), 2 warnings in 1m04s");
    }

    fn problem() -> Failure {
        let (check, found) = ("memory".into(), "498 MB".into());
        Failure::Problems(vec![Problem {
            check,
            found,
            needed: "1500 MB".into(),
            remedy: "add memory".into(),
        }])
    }

    #[test]
    fn a_good_end_tells_the_recap_the_time_and_what_to_type_next() {
        assert_eq!(
            told(&outcome(vec![("node1", None)]), Detail::default(), false),
            "
PLAY RECAP *********************************************************************
node1                      : ok=30   changed=7    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0   

+ 1 host done (7 changed) in 1m04s
tested: 2 nodes
next: muster kubectl get nodes"
        );
    }

    #[test]
    fn equal_failures_are_told_once_causes_before_consequences() {
        let dependency = || Failure::Dependency { what: "etcd".into(), host: "node3".into() };
        let hosts = vec![
            ("node1", Some(dependency())),
            ("node2", Some(dependency())),
            ("node3", Some(step_failed())),
        ];
        assert_eq!(
            told(&outcome(hosts), Detail { verbose: 1, ..Detail::default() }, false),
            "
x node3
  service etcd: failed with status 1
  | one
  | two

x node1-2
  needs etcd from node3, which failed

PLAY RECAP *********************************************************************
node1                      : ok=30   changed=7    unreachable=0    failed=1    skipped=1    rescued=0    ignored=0   
node2                      : ok=30   changed=7    unreachable=0    failed=1    skipped=1    rescued=0    ignored=0   
node3                      : ok=30   changed=7    unreachable=0    failed=1    skipped=1    rescued=0    ignored=0   

x 0 hosts done (21 changed), 3 failed in 1m04s
exchanges: node1 12, node2 12, node3 12
again: setup-cluster --limit node1,node2,node3
log: muster log last node1"
        );
    }

    #[test]
    fn machines_with_a_new_host_key_are_told_together_with_how_to_go_on() {
        let changed = |address: &str| {
            let remedy = Advice::ReplaceHostKey(Box::new(KnownHostKey {
                machine: address.into(),
                file: "known_hosts".into(),
                name: address.into(),
            }));
            let reason =
                format!("its host key has changed: it shows a key of {address} and nobody knows that one");
            let address = address.into();
            Some(Failure::Transport(TransportError::HostKey { address, reason, changed: true, remedy }))
        };
        let hosts =
            vec![("node1", changed("10.0.0.1:22")), ("node2", changed("10.0.0.2:22")), ("node3", None)];
        let text = told(&outcome(hosts), Detail::default(), false);
        assert!(text.starts_with("\nx node1-2  unreachable\n  10.0.0.1:22: its host key"), "{text}");
        assert!(!text.contains("10.0.0.2"), "{text}");
        assert!(
            text.contains(
                "anew: setup-cluster --limit node1,node2 --reimaged node1,node2\n\
                 if they were nodes of the cluster before that: muster replace-node node1 node2\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn whoever_was_held_up_is_told_by_whom_and_how_to_go_on_without() {
        let off = Failure::Transport(TransportError::Unreachable {
            address: "10.0.0.2:22".into(),
            reason: "no answer".into(),
            remedy: "".into(),
        });
        let stopped = || Some(Failure::Stopped("node2 failed: 1 of 3".into()));
        let text = told(
            &outcome(vec![("node1", stopped()), ("node2", Some(off)), ("node3", stopped())]),
            Detail::default(),
            false,
        );
        assert!(text.contains("\n! node1, node3  stopped, because node2 failed: 1 of 3\n"), "{text}");
        assert!(
            text.ends_with(
                "again: setup-cluster --limit node1,node2,node3\n\
                 without node2: setup-cluster --limit '!node2'\nlog: muster log last node2"
            ),
            "{text}"
        );
    }

    #[test]
    fn long_texts_hang_and_short_lines_stay_as_they_are() {
        assert_eq!(
            indented("hint: ", "one two three four", 20),
            ["  hint: one", "        two three", "        four"]
        );
        assert_eq!(
            indented("", "a.ini:1:3: no\n   |\n 1 |   x", 20),
            ["  a.ini:1:3: no", "     |", "   1 |   x"]
        );
    }

    #[test]
    fn problems_are_a_table_and_whoever_was_stopped_did_not_fail() {
        let stopped = Failure::Stopped("node1 did not pass \"Check the machines\"".into());
        let text = told(
            &outcome(vec![("node1", Some(problem())), ("node2", Some(stopped))]),
            Detail::default(),
            false,
        );
        assert!(text.contains("node1  memory  498 MB  1500 MB  add memory"), "{text}");
        assert!(text.contains("\nwhen that is mended: setup-cluster --limit node1,node2\n"), "{text}");
        assert!(
            text.contains("node2                      : ok=30   changed=7    unreachable=0    failed=0"),
            "{text}"
        );
        // What was changed before is told.
        assert!(text.contains("x problems on 1 host, 14 changed, in 1m04s"), "{text}");
        let mut untouched = outcome(vec![("node1", Some(problem()))]);
        untouched["node1"].summary.counts.changed = 0;
        let text = told(&untouched, Detail::default(), false);
        assert!(text.contains("x problems on 1 host, nothing was changed, in 1m04s"), "{text}");
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_that_happened() {
        let unreachable = || {
            Failure::Transport(TransportError::Unreachable {
                address: "a:22".into(),
                reason: "no route".into(),
                remedy: "".into(),
            })
        };
        let stopped = || Failure::Stopped("x".into());
        let exit = |failures: Vec<Option<Failure>>| {
            exit_of(&outcome(["a", "b", "c"].into_iter().zip(failures).collect()), false)
        };
        assert_eq!(exit(vec![None, None]), Exit::Done);
        assert_eq!(exit(vec![Some(problem()), Some(stopped()), None]), Exit::Problems);
        assert_eq!(exit(vec![Some(problem()), Some(step_failed())]), Exit::HostFailed);
        assert_eq!(exit(vec![Some(step_failed()), Some(unreachable()), Some(problem())]), Exit::Unreachable);
        assert_eq!(exit_of(&outcome(vec![("a", Some(stopped()))]), true), Exit::Interrupted);
    }
}
