//! Live: a line for each host that works, and what is finished stays above in one line a role.

use std::collections::HashSet;
use std::time::Instant;

use console::{measure_text_width, truncate_str};
use muster_engine::event::Event;
use muster_engine::failure::Failure;

use crate::output::advice::proposed;
use crate::output::screen::{MARGIN, Screen};
use crate::output::sentence::{self, Detail, StepEnd};
use crate::output::show::Sink;
use crate::output::style::{Style, Tone};
use crate::output::text;
use crate::output::view::{HostState, HostView, View};

/// How many hosts have a line at most. More could not be read.
const MOST_HOSTS: usize = 12;

/// Rows that belong to other things than live lines: what was there before must stay visible.
const OTHER_ROWS: usize = 4;

/// The live view.
pub(crate) struct Terminal {
    screen: Screen,
    detail: Detail,
    /// Failures that were told: equal ones of further hosts are told together, at the end.
    failures: HashSet<(Option<String>, Option<String>, String)>,
}

impl Terminal {
    pub(crate) fn new(screen: Screen, detail: Detail) -> Self {
        Self { screen, detail, failures: HashSet::new() }
    }

    fn line(&self, line: &str) {
        self.screen.line(line);
    }

    /// A line that is told in full at the end.
    fn short(&self, line: &str) {
        let (_, columns) = self.screen.size();
        self.line(&truncate_str(line, columns.saturating_sub(1), self.screen.style.ellipsis()));
    }

    fn draw(&self, view: &View, now: Instant) {
        let (rows, columns) = self.screen.size();
        let most = MOST_HOSTS.min(rows.saturating_sub(OTHER_ROWS)).max(1);
        self.screen.set_live(&live(view, now, most, columns, self.screen.style));
    }
}

impl Sink for Terminal {
    fn event(&mut self, event: &Event, ended: &[usize], view: &View, now: Instant) {
        let (detail, style) = (self.detail, self.screen.style);
        match event {
            Event::StepEnded { host, role, step, counts, changes, exchanges, elapsed } => {
                let (exchanges, elapsed, counts) = (*exchanges, *elapsed, *counts);
                let end = StepEnd { host, role, step, counts, changes, exchanges, elapsed };
                let told = detail.verbose == 1 || detail.check && !detail.quiet;
                let wanted = detail.verbose >= 2 || !changes.is_empty() && told;
                if wanted {
                    self.line(&format!("  {}", sentence::step(&end, detail, style)));
                }
                if detail.diff {
                    sentence::diffs(host, changes, style).iter().for_each(|line| self.line(line));
                }
            }
            Event::Output { host, line } if detail.verbose >= 3 => {
                self.line(&format!("  {host} {} {}", style.quoted(), text::quoted(line)));
            }
            Event::Retrying { host, what, reason, attempt, attempts, delay } if detail.verbose >= 1 => {
                let wait = text::duration(*delay);
                let reason = text::harmless(reason);
                self.line(&format!("  {host}  {what}: {reason}; try {attempt} of {attempts} in {wait}"));
            }
            Event::Warning { host, text } if view.is_first(text) => {
                let host = host.as_ref().map(|host| format!("{host}  ")).unwrap_or_default();
                self.short(&format!("{} {host}{}", style.warning(), text::harmless(&proposed(text))));
            }
            Event::Told { text, .. } if !detail.quiet => self.line(&text::harmless(text)),
            // Problems are a table at the end, who has locked a machine is told there, and whoever was stopped did not fail.
            Event::HostFailed {
                failure: Failure::Stopped(_) | Failure::Problems(_) | Failure::Locked { .. },
                ..
            } => {}
            Event::HostFailed { host, role, step, failure }
                if self.failures.insert((role.clone(), step.clone(), sentence::gist(failure))) =>
            {
                let sentence = sentence::failure(host, role.as_deref(), step.as_deref(), failure);
                self.short(&format!("{} {}", style.failed(), sentence.lines().next().unwrap_or_default()));
            }
            _ => {}
        }
        if !ended.is_empty() {
            let role_width = view.stages.iter().map(|stage| stage.role.len()).max().unwrap_or(0);
            for stage in ended.iter().filter_map(|at| view.stages.get(*at)) {
                self.line(&sentence::stage(stage, role_width, detail, style));
            }
            self.draw(view, now);
        }
    }

    fn tick(&mut self, view: &View, now: Instant) {
        self.draw(view, now);
    }

    fn end(&mut self) {
        self.screen.end_live();
    }
}

/// The live lines: first where the run is, then a line for each of at most `most` hosts. When there are more, those
/// that have been at the same thing for longest are shown.
fn live(view: &View, now: Instant, most: usize, columns: usize, style: Style) -> Vec<String> {
    let mut busy: Vec<(&String, &HostView)> = view
        .hosts
        .iter()
        .filter(|(_, host)| matches!(host.state, HostState::Connecting | HostState::Working))
        .collect();
    let hidden = busy.len().saturating_sub(most);
    if hidden > 0 {
        // Whoever waits for another host is not what the run waits for.
        busy.sort_by_key(|(_, host)| (host.waits, host.since));
        busy.truncate(most);
    }
    let width = |column: fn(&(&String, &HostView)) -> usize| busy.iter().map(column).max().unwrap_or(0);
    let name_width = width(|(name, _)| measure_text_width(name)).min(24);
    let role_width = width(|(_, host)| host.role.len());
    let mut lines = vec![summary(view, now, style)];
    for (name, host) in &busy {
        let mark = if host.waits { style.waiting() } else { style.running() };
        let name = truncate_str(name, name_width, style.ellipsis());
        let doing = match host.state {
            HostState::Connecting => "connecting".to_owned(),
            _ => format!("{}{}", host.step, view.usually(host, now)),
        };
        let time = text::duration(now.saturating_duration_since(host.since));
        let (name, role) = (text::pad(&name, name_width), text::pad(&host.role, role_width));
        let begin = format!(" {mark} {name}  {role}  {time:>6}  ");
        let room = columns.saturating_sub(MARGIN + measure_text_width(&begin));
        lines.push(begin + &fit(&doing, &host.note, room, style));
    }
    if hidden > 0 {
        lines.push(style.paint(Tone::Faint, &format!("   and {} more", text::count(hidden, "host"))));
    }
    lines
}

/// What a host does, and the last thing heard of it. Where there is no room for both, what it does gives way
/// first, down to a third of the room.
fn fit(doing: &str, note: &str, room: usize, style: Style) -> String {
    if note.is_empty() {
        return doing.to_owned();
    }
    let both = measure_text_width(doing) + 2 + measure_text_width(note);
    let doing_room =
        if both <= room { room } else { room.saturating_sub(measure_text_width(note) + 2).max(room / 3) };
    let doing = truncate_str(doing, doing_room, style.ellipsis());
    let gap = if doing.is_empty() { "" } else { "  " };
    format!("{doing}{gap}{}", style.paint(Tone::Faint, note))
}

/// `0:42  role 4 of 9  hosts: 2 working, 1 done`.
fn summary(view: &View, now: Instant, style: Style) -> String {
    let seconds = now.saturating_duration_since(view.begun).as_secs();
    let ended = view.stages.iter().filter(|stage| stage.ended.is_some()).count();
    let states = [
        (HostState::Connecting, "connecting"),
        (HostState::Working, "working"),
        (HostState::Done, "done"),
        (HostState::Failed, "failed"),
    ];
    let hosts: Vec<String> = states
        .iter()
        .map(|(state, word)| (view.count(*state), word))
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let time = format!("{}:{:02}", seconds / 60, seconds % 60);
    let stages = view.stages.len();
    let role = (ended + 1).min(stages);
    format!("{}  role {role} of {stages}  hosts: {}", style.paint(Tone::Strong, &time), hosts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use muster_app::{Outline, OutlinePlay, Usual};

    fn view(hosts: usize) -> View {
        let hosts: Vec<String> = (1..=hosts).map(|number| format!("node{number}")).collect();
        let play = OutlinePlay {
            name: "p".into(),
            hosts: hosts.clone(),
            roles: vec!["etcd".into(), "kubelet".into()],
        };
        let mut view =
            View::new(&Outline { hosts: hosts.clone(), plays: vec![play] }, Usual::default(), Instant::now());
        let begun = view.begun;
        for (at, host) in hosts.iter().enumerate() {
            let now = begun + Duration::from_secs(at as u64);
            view.apply(&Event::Connected { host: host.clone(), elapsed: Duration::ZERO }, now);
            let (play, role) = ("p".to_owned(), "etcd".to_owned());
            view.apply(&Event::RoleStarted { host: host.clone(), play, role: role.clone() }, now);
            view.apply(&Event::StepStarted { host: host.clone(), role, step: "Start etcd".into() }, now);
        }
        view
    }

    #[test]
    fn each_host_has_a_line_with_its_last_output() {
        let mut view = view(2);
        let line = Event::Output { host: "node2".into(), line: "waiting\u{1b}[2J".into() };
        view.apply(&line, view.begun);
        let lines = live(&view, view.begun + Duration::from_secs(65), 12, 100, Style::PLAIN);
        assert_eq!(
            lines,
            [
                "1:05  role 1 of 2  hosts: 2 working",
                " > node1  etcd   1m05s  Start etcd",
                " > node2  etcd   1m04s  Start etcd  waiting",
            ]
        );
    }

    #[test]
    fn how_long_a_step_usually_takes_is_said_when_it_lasts() {
        let mut view = view(1);
        view.usual = Usual::from_iter([(("etcd".into(), "Start etcd".into()), Duration::from_secs(25))]);
        let shown = |seconds| {
            let now = view.begun + Duration::from_secs(seconds);
            live(&view, now, 12, 100, Style::PLAIN).remove(1)
        };
        assert_eq!(shown(1), " > node1  etcd    1.0s  Start etcd");
        assert_eq!(shown(3), " > node1  etcd    3.0s  Start etcd, usually 25s");
    }

    #[test]
    fn of_many_hosts_the_longest_stuck_are_shown_and_waiting_ones_come_last() {
        let mut view = view(30);
        let what = "node2: join token".to_owned();
        view.apply(&Event::Waiting { host: "node1".into(), what, elapsed: Duration::ZERO }, view.begun);
        let lines = live(&view, view.begun + Duration::from_secs(60), 3, 100, Style::PLAIN);
        let names: Vec<&str> = lines[1..].iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(names, ["node2", "node3", "node4", "27"]);
        assert_eq!(lines.last().map(String::as_str), Some("   and 27 hosts more"));
    }

    #[test]
    fn where_there_is_no_room_the_step_gives_way_before_the_news() {
        assert_eq!(
            fit("Install", "kubelet: 1 MB of 2 MB", 40, Style::PLAIN),
            "Install  kubelet: 1 MB of 2 MB"
        );
        assert_eq!(
            fit("Install kubelet and more", "1 MB of 2 MB", 30, Style::PLAIN),
            "Install kubel...  1 MB of 2 MB"
        );
        assert_eq!(fit("", "waits for node1", 30, Style::PLAIN), "waits for node1");
    }
}
