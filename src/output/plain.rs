//! One line for each thing that happens, for logs and terminals that can do no more. Nothing is silent for long: when
//! nothing happens, a line says what is under way.

use std::time::{Duration, Instant};

use console::truncate_str;
use muster_engine::event::Event;
use muster_engine::failure::Failure;

use crate::output::advice::proposed;
use crate::output::screen::Screen;
use crate::output::sentence::{self, Detail, StepEnd};
use crate::output::show::Sink;
use crate::output::style::{Style, Tone};
use crate::output::text;
use crate::output::view::{HostState, View};

/// After how long without a line one says what is under way.
const SILENCE: Duration = Duration::from_secs(8);

/// How many hosts such a line names.
const MOST_NAMED: usize = 4;

/// Line by line.
pub(crate) struct Plain {
    screen: Screen,
    detail: Detail,
    last: Instant,
}

impl Plain {
    pub(crate) fn new(screen: Screen, detail: Detail) -> Self {
        Self { screen, detail, last: Instant::now() }
    }

    /// A line, with the time since the beginning in front.
    fn line(&mut self, view: &View, now: Instant, line: &str) {
        let time = format!("[{:>7.1}s]", now.saturating_duration_since(view.begun).as_secs_f64());
        self.screen.line(&format!("{} {line}", self.screen.style.paint(Tone::Faint, &time)));
        self.last = now;
    }
}

impl Sink for Plain {
    fn event(&mut self, event: &Event, _ended: &[usize], view: &View, now: Instant) {
        // Who has locked a machine is told at the end, with what to do.
        let is_locked = matches!(event, Event::HostFailed { failure: Failure::Locked { .. }, .. });
        if is_locked || matches!(event, Event::Warning { text, .. } if !view.is_first(text)) {
            return;
        }
        for line in lines(event, self.detail, self.screen.style) {
            self.line(view, now, &line);
        }
        // Without the time in front, so that it can be copied.
        if let Event::StepEnded { host, changes, .. } = event
            && self.detail.diff
        {
            sentence::diffs(host, changes, self.screen.style).iter().for_each(|line| self.screen.line(line));
        }
    }

    fn tick(&mut self, view: &View, now: Instant) {
        if now.saturating_duration_since(self.last) >= SILENCE {
            let line = under_way(view, now);
            self.line(view, now, &line);
        }
    }

    fn end(&mut self) {}
}

/// What an event has to say.
pub(crate) fn lines(event: &Event, detail: Detail, style: Style) -> Vec<String> {
    match event {
        Event::Connected { host, elapsed } if detail.verbose >= 1 => {
            vec![format!("{host}  connected in {}", text::duration(*elapsed))]
        }
        Event::RoleStarted { host, role, .. } if detail.verbose >= 2 => {
            vec![format!("{host}  {role}: begins")]
        }
        Event::RoleEnded { host, role, counts, elapsed } if !detail.quiet => {
            let changed = detail.changed(counts.changed);
            vec![format!("{host}  {role}: done, {changed}, {}", text::duration(*elapsed))]
        }
        Event::StepStarted { host, role, step } if detail.verbose >= 2 => {
            vec![format!("{host}  {role}: {step} ...")]
        }
        Event::StepEnded { host, role, step, counts, changes, exchanges, elapsed }
            if detail.verbose >= 2 || !changes.is_empty() && !detail.quiet =>
        {
            let (exchanges, elapsed, counts) = (*exchanges, *elapsed, *counts);
            let end = StepEnd { host, role, step, counts, changes, exchanges, elapsed };
            vec![sentence::step(&end, detail, style)]
        }
        Event::Output { host, line } if detail.verbose >= 3 => {
            vec![format!("{host} {} {}", style.quoted(), text::quoted(line))]
        }
        Event::Retrying { host, what, reason, attempt, attempts, delay } => {
            let (reason, wait) = (text::harmless(reason), text::duration(*delay));
            vec![format!("{host}  {what}: {reason}; try {attempt} of {attempts} in {wait}")]
        }
        Event::Warning { host, text } => {
            let host = host.as_ref().map(|host| format!("{host}  ")).unwrap_or_default();
            vec![format!(
                "{host}{} {}",
                style.paint(Tone::Warning, "warning:"),
                text::harmless(&proposed(text))
            )]
        }
        Event::Told { text, .. } if !detail.quiet => vec![text::harmless(text)],
        Event::HostFailed { host, role, step, failure } if !matches!(failure, Failure::Stopped(_)) => {
            let sentence = sentence::failure(host, role.as_deref(), step.as_deref(), failure);
            let mut lines = vec![format!("{} {sentence}", style.paint(Tone::Bad, "failed:"))];
            let tail = failure.tail().unwrap_or_default();
            lines.extend(
                text::last_lines(tail, 5)
                    .iter()
                    .map(|line| format!("{host} {} {}", style.quoted(), text::quoted(line))),
            );
            lines
        }
        _ => Vec::new(),
    }
}

/// The columns that are shown of what a host says.
const NOTE_WIDTH: usize = 120;

/// `under way: node1 control-plane: kubeadm init 31s; 2 hosts wait`.
fn under_way(view: &View, now: Instant) -> String {
    let mut busy: Vec<_> = view
        .hosts
        .iter()
        .filter(|(_, host)| matches!(host.state, HostState::Connecting | HostState::Working))
        .collect();
    busy.sort_by_key(|(_, host)| (host.waits, host.since));
    let told: Vec<String> = busy
        .iter()
        .take(MOST_NAMED)
        .map(|(name, host)| {
            let time = text::duration(now.saturating_duration_since(host.since));
            let doing = match host.state {
                HostState::Connecting => "connecting".to_owned(),
                _ if host.step.is_empty() => host.role.clone(),
                _ => format!("{}: {}", host.role, host.step),
            };
            // What a program says may be long; the run's record has all of it.
            let note = truncate_str(&host.note, NOTE_WIDTH, "...");
            let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
            format!("{name} {doing} {time}{}{note}", view.usually(host, now))
        })
        .collect();
    match busy.len().saturating_sub(MOST_NAMED) {
        0 if told.is_empty() => "under way: nothing any more, ending".to_owned(),
        0 => format!("under way: {}", told.join("; ")),
        more => format!("under way: {}; and {} more", told.join("; "), text::count(more, "host")),
    }
}

#[cfg(test)]
mod tests {
    use muster_engine::event::{Change, Counts};

    use super::*;
    use muster_app::{Outline, Usual};

    #[test]
    fn what_changed_is_told_and_what_did_not_only_when_asked() {
        let event = |changes: Vec<Change>| Event::StepEnded {
            host: "node1".into(),
            role: "etcd".into(),
            step: "Start etcd".into(),
            counts: Counts { ok: 1, changed: changes.len(), skipped: 0 },
            changes,
            exchanges: 1,
            elapsed: Duration::from_millis(100),
        };
        let quiet = Detail::default();
        assert!(lines(&event(Vec::new()), quiet, Style::PLAIN).is_empty());
        assert_eq!(lines(&event(Vec::new()), Detail { verbose: 2, ..quiet }, Style::PLAIN).len(), 1);
        let change = Change {
            resource: "service etcd".into(),
            what: "started".into(),
            diff: Some("+x".into()),
            momentary: false,
        };
        assert_eq!(lines(&event(vec![change]), quiet, Style::PLAIN).len(), 1);
    }

    #[test]
    fn a_failure_comes_with_the_last_lines_of_output() {
        let tail = (1..=9).map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n");
        let failure = Failure::Change { resource: "service etcd".into(), status: 1, tail };
        let event =
            Event::HostFailed { host: "node1".into(), role: Some("etcd".into()), step: None, failure };
        let lines = lines(&event, Detail::default(), Style::PLAIN);
        assert_eq!(lines[0], "failed: node1  etcd: service etcd: failed with status 1");
        assert_eq!(
            lines[1..],
            ["line 5", "line 6", "line 7", "line 8", "line 9"].map(|line| format!("node1 | {line}"))
        );
    }

    #[test]
    fn in_silence_a_line_says_what_is_under_way() {
        let hosts: Vec<String> = (1..=6).map(|number| format!("node{number}")).collect();
        let view = View::new(&Outline { hosts, ..Outline::default() }, Usual::default(), Instant::now());
        assert_eq!(
            under_way(&view, view.begun + Duration::from_secs(12)),
            "under way: node1 connecting 12s; node2 connecting 12s; node3 connecting 12s; node4 connecting 12s; \
             and 2 hosts more"
        );
    }

    #[test]
    fn a_long_line_of_a_program_is_shown_by_its_beginning() {
        let hosts = vec!["node1".to_owned()];
        let mut view = View::new(&Outline { hosts, ..Outline::default() }, Usual::default(), Instant::now());
        let line = format!("Error from server: {}", "[+]etcd ok ".repeat(40));
        view.apply(&Event::Output { host: "node1".into(), line }, view.begun);
        let told = under_way(&view, view.begun);
        assert!(told.contains("(Error from server: [+]etcd ok ") && told.ends_with("...)"), "{told}");
        assert!(told.len() < 160, "{told}");
    }
}
