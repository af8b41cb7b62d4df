//! Sentences about what happened, the same in every form of output.

use std::time::Duration;

use muster_engine::event::{Change, Counts};
use muster_engine::failure::Failure;
use muster_engine::transport::TransportError;

use crate::output::style::{Style, Tone};
use crate::output::text;
use crate::output::view::Stage;

/// How much is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    /// 0 to 3, the number of `-v`.
    pub(crate) verbose: u8,
    /// Whether differences of contents are shown.
    pub(crate) diff: bool,
    /// Whether nothing is changed, only looked at.
    pub(crate) check: bool,
    /// Whether what changes is told elsewhere.
    pub(crate) quiet: bool,
}

/// A step that ended.
pub(crate) struct StepEnd<'a> {
    pub(crate) host: &'a str,
    pub(crate) role: &'a str,
    pub(crate) step: &'a str,
    pub(crate) counts: Counts,
    pub(crate) changes: &'a [Change],
    pub(crate) exchanges: usize,
    pub(crate) elapsed: Duration,
}

impl Detail {
    /// How the number of changes is told.
    pub(crate) fn changed(self, changed: usize) -> String {
        match (changed, self.check) {
            (0, _) => "no changes".to_owned(),
            (number, false) => format!("{number} changed"),
            (number, true) => format!("{number} to change"),
        }
    }
}

/// `✔ etcd    3 hosts   12 changed   4.1s`: a role that everybody is through.
pub(crate) fn stage(stage: &Stage, role_width: usize, detail: Detail, style: Style) -> String {
    let took =
        stage.begun.zip(stage.ended).map_or(Duration::ZERO, |(begun, ended)| ended.duration_since(begun));
    let mark = match (stage.failed.is_empty(), stage.stopped.is_empty()) {
        (true, true) => style.done(),
        (true, false) => style.warning(),
        (false, _) => style.failed(),
    };
    let changed = detail.changed(stage.counts.changed);
    let tone = if stage.counts.changed > 0 { Tone::Changed } else { Tone::Faint };
    let mut line = format!(
        "{mark} {}  {:>9}  {}  {:>6}",
        text::pad(&stage.role, role_width),
        text::count(stage.passed + stage.failed.len() + stage.stopped.len(), "host"),
        style.paint(tone, &format!("{changed:>13}")),
        text::duration(took),
    );
    for (hosts, word, tone) in
        [(&stage.failed, "failed", Tone::Bad), (&stage.stopped, "stopped", Tone::Warning)]
    {
        if !hosts.is_empty() {
            let told = format!("  {} {word}: {}", hosts.len(), text::some_names(hosts));
            line.push_str(&style.paint(tone, &told));
        }
    }
    line
}

/// What a step did, in one line: `node1  etcd: Start etcd: service etcd started  0.4s`.
pub(crate) fn step(end: &StepEnd<'_>, detail: Detail, style: Style) -> String {
    let mut line = format!("{}  {}: {}", end.host, end.role, end.step);
    if end.counts.skipped > 0 {
        line.push_str(&style.paint(Tone::Faint, ": cannot be known yet"));
    } else if end.changes.is_empty() {
        line.push_str(&style.paint(Tone::Faint, ": nothing to do"));
    } else {
        // What was only brought to the machine is no change of it.
        let lead = match (end.counts.changed, detail.check) {
            (0, true) => "would bring ".to_owned(),
            (0, false) => String::new(),
            (_, true) => style.paint(Tone::Changed, "would change") + " ",
            (_, false) => style.paint(Tone::Changed, "changed") + " ",
        };
        line.push_str(&format!(": {lead}{}", changes(end.changes)));
    }
    if detail.verbose >= 2 {
        let exchanges = text::count(end.exchanges, "exchange");
        let told = format!("  ({} of {}, {exchanges})", end.counts.changed, end.counts.ok);
        line.push_str(&style.paint(Tone::Faint, &told));
    }
    line.push_str(&style.paint(Tone::Faint, &format!("  {}", text::duration(end.elapsed))));
    line
}

/// `file /etc/hosts (content), service etcd (started)`; of many only the first ones.
fn changes(changes: &[Change]) -> String {
    const MOST: usize = 4;
    let mut told: Vec<String> = changes
        .iter()
        .take(MOST)
        .map(|change| format!("{} ({})", text::harmless(&change.resource), text::harmless(&change.what)))
        .collect();
    if changes.len() > MOST {
        told.push(format!("{} more", changes.len() - MOST));
    }
    told.join(", ")
}

/// The differences of contents, each under the name of what differs.
pub(crate) fn diffs(host: &str, changes: &[Change], style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    for change in changes {
        let Some(diff) = &change.diff else { continue };
        lines.push(style.paint(Tone::Strong, &format!("{host}: {}", text::harmless(&change.resource))));
        lines.extend(diff.lines().map(|line| diff_line(&text::harmless(line), style)));
    }
    lines
}

pub(crate) fn diff_line(line: &str, style: Style) -> String {
    match line.as_bytes().first() {
        Some(b'+') => style.paint(Tone::Good, line),
        Some(b'-') => style.paint(Tone::Bad, line),
        Some(b'@') => style.paint(Tone::Skipped, line),
        _ => line.to_owned(),
    }
}

/// `node2  etcd: Start etcd: service etcd: failed with status 1`.
pub(crate) fn failure(host: &str, role: Option<&str>, step: Option<&str>, failure: &Failure) -> String {
    let text = text::harmless_lines(&failure.to_string());
    // What was waited for in a step of that name need not be told twice.
    let step = step.filter(|step| !text.starts_with(step));
    let place: Vec<&str> = [role, step].into_iter().flatten().collect();
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(": ")) };
    let word = if failure.is_unreachable() { "unreachable: " } else { "" };
    format!("{host}  {place}{word}{text}")
}

/// The text of a failure that is the same on all hosts with the same trouble.
pub(crate) fn gist(failure: &Failure) -> String {
    let text = failure.to_string();
    match failure {
        // Each machine has its own keys.
        failure if is_changed_key(failure) => "the host key has changed".to_owned(),
        // The message begins with the address.
        Failure::Transport(error) => {
            let rest = text.strip_prefix(error.address()).and_then(|rest| rest.strip_prefix(": "));
            rest.map_or_else(|| text.clone(), str::to_owned)
        }
        _ => text,
    }
}

/// Whether a machine has another host key than the known one, which a new installation explains.
pub(crate) fn is_changed_key(failure: &Failure) -> bool {
    matches!(failure, Failure::Transport(TransportError::HostKey { changed: true, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(resource: &str, what: &str, diff: Option<&str>) -> Change {
        Change {
            resource: resource.into(),
            what: what.into(),
            diff: diff.map(str::to_owned),
            momentary: false,
        }
    }

    fn end<'a>(changes: &'a [Change]) -> StepEnd<'a> {
        StepEnd {
            host: "node1",
            role: "etcd",
            step: "Start etcd",
            counts: Counts { ok: 3, changed: changes.len(), skipped: 0 },
            changes,
            exchanges: 2,
            elapsed: Duration::from_millis(420),
        }
    }

    #[test]
    fn a_step_says_what_changed_and_in_check_mode_what_would() {
        let changes = [change("service etcd", "started", None)];
        let line = |detail| step(&end(&changes), detail, Style::PLAIN);
        assert_eq!(line(Detail::default()), "node1  etcd: Start etcd: changed service etcd (started)  0.4s");
        assert_eq!(
            line(Detail { check: true, verbose: 2, ..Detail::default() }),
            "node1  etcd: Start etcd: would change service etcd (started)  (1 of 3, 2 exchanges)  0.4s"
        );
        let fetched = [change("kubelet", "fetched", None)];
        let end_of_fetch = StepEnd { counts: Counts { ok: 1, changed: 0, skipped: 0 }, ..end(&fetched) };
        assert_eq!(
            step(&end_of_fetch, Detail::default(), Style::PLAIN),
            "node1  etcd: Start etcd: kubelet (fetched)  0.4s"
        );
        assert_eq!(
            step(&end_of_fetch, Detail { check: true, ..Detail::default() }, Style::PLAIN),
            "node1  etcd: Start etcd: would bring kubelet (fetched)  0.4s"
        );
        // What a reset takes away is not "no data".
        let changes = [change("data of etcd in /var/lib/etcd", "removed", None)];
        assert!(
            step(&end(&changes), Detail { check: true, ..Detail::default() }, Style::PLAIN)
                .contains("would change data of etcd in /var/lib/etcd (removed)")
        );
        assert_eq!(
            step(&end(&[]), Detail { verbose: 2, ..Detail::default() }, Style::PLAIN),
            "node1  etcd: Start etcd: nothing to do  (0 of 3, 2 exchanges)  0.4s"
        );
    }

    #[test]
    fn diffs_are_harmless_and_named() {
        let changes = [change("file /etc/motd", "content", Some("@@ -1 +1 @@\n-a\n+b\u{1b}[2J"))];
        assert_eq!(
            diffs("node1", &changes, Style::PLAIN),
            ["node1: file /etc/motd", "@@ -1 +1 @@", "-a", "+b\\u{1b}[2J"]
        );
    }

    #[test]
    fn what_is_the_same_on_several_machines_is_told_without_their_addresses_and_keys() {
        let lost = |address: &str| {
            Failure::Transport(TransportError::Lost { address: address.into(), reason: "no: answer".into() })
        };
        assert_eq!(gist(&lost("[::1]:22")), "the connection was lost (no: answer)");
        assert_eq!(gist(&lost("[::1]:22")), gist(&lost("10.0.0.1:22")));
        let key = |address: &str, changed| {
            let reason = format!("it shows the key of {address}");
            let (address, remedy) = (address.into(), "".into());
            gist(&Failure::Transport(TransportError::HostKey { address, reason, changed, remedy }))
        };
        assert_eq!(key("10.0.0.1:22", true), key("10.0.0.2:22", true));
        assert_ne!(key("10.0.0.1:22", false), key("10.0.0.2:22", false));
        assert_eq!(gist(&Failure::new("a: b", "")), "a: b");
    }

    #[test]
    fn a_failure_names_host_role_and_step() {
        let it = Failure::new("it broke", "");
        assert_eq!(
            failure("node2", Some("etcd"), Some("Start etcd"), &it),
            "node2  etcd: Start etcd: it broke"
        );
        assert_eq!(failure("node2", None, None, &it), "node2  it broke");
    }
}
