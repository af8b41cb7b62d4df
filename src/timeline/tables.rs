//! Below the picture: what failed, how long roles took, which steps took longest, what was waited for.

use indexmap::IndexMap;

use super::Timeline;
use super::page::{escape, hue, seconds};
use crate::output::text;

/// How many of the slowest steps and of the longest waits are told.
const MOST: usize = 12;

/// All tables; those without a line are left out.
pub(super) fn tables(timeline: &Timeline) -> String {
    [failures(timeline), roles(timeline), steps(timeline), waits(timeline)].concat()
}

/// How long something took on several hosts.
#[derive(Default)]
struct Times<'a> {
    all: Vec<(f64, &'a str)>,
    changed: u64,
}

impl<'a> Times<'a> {
    fn add(&mut self, time: f64, host: &'a str) {
        self.all.push((time, host));
    }

    fn longest(&self) -> (f64, &'a str) {
        self.all.iter().copied().max_by(|one, other| one.0.total_cmp(&other.0)).unwrap_or((0.0, ""))
    }

    fn median(&self) -> f64 {
        let mut times: Vec<f64> = self.all.iter().map(|(time, _)| *time).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(0.0)
    }

    fn hosts(&self) -> usize {
        self.all.len()
    }

    /// How many, the median, the longest and whose it was.
    fn cells(&self) -> [String; 4] {
        let (longest, host) = self.longest();
        [self.hosts().to_string(), seconds(self.median()), seconds(longest), escape(host)]
    }
}

/// A table of cells that are HTML already.
fn table(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        cells.map(|cell| format!("<{tag}>{cell}</{tag}>")).collect::<String>()
    };
    let mut html =
        format!("<h2>{title}</h2>\n<table>\n<tr>{}</tr>\n", cells("th", &mut head.iter().copied()));
    for row in rows {
        html.push_str(&format!("<tr>{}</tr>\n", cells("td", &mut row.iter().map(String::as_str))));
    }
    html.push_str("</table>\n");
    html
}

/// Those that are the same on several hosts once.
fn failures(timeline: &Timeline) -> String {
    let mut groups: IndexMap<(&str, &str, &str), Vec<&str>> = IndexMap::new();
    for (host, lane) in &timeline.hosts {
        if let Some((_, place, failure)) = lane.failed() {
            let remedy = failure.remedy.as_deref().unwrap_or("");
            groups.entry((place, &failure.message, remedy)).or_default().push(host);
        }
    }
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|((place, message, remedy), hosts)| {
            [&text::names(hosts), *place, *message, *remedy].map(lines).into()
        })
        .collect();
    table("Failed", &["hosts", "where", "what", "what to do"], &rows)
}

/// Text of several lines.
fn lines(raw: &str) -> String {
    raw.lines().map(escape).collect::<Vec<_>>().join("<br>")
}

fn roles(timeline: &Timeline) -> String {
    let mut times: Vec<Times<'_>> = timeline.roles.iter().map(|_| Times::default()).collect();
    for (host, lane) in &timeline.hosts {
        for span in &lane.roles {
            let number = timeline.roles.iter().position(|role| *role == span.name);
            if let (Some(times), Some(end)) = (number.map(|number| &mut times[number]), span.end) {
                times.add(end - span.begin, host);
                times.changed += span.changed;
            }
        }
    }
    let rows: Vec<Vec<String>> = timeline
        .roles
        .iter()
        .zip(&times)
        .enumerate()
        .map(|(number, (role, times))| {
            let name = format!(
                "<span class=\"role\" style=\"--h:{}\"><b>{}</b> {}</span>",
                hue(number),
                number + 1,
                escape(role)
            );
            [name].into_iter().chain(times.cells()).chain([times.changed.to_string()]).collect()
        })
        .collect();
    table("Roles", &["role", "hosts", "median", "longest", "on", "changed"], &rows)
}

fn steps(timeline: &Timeline) -> String {
    let mut steps: IndexMap<(&str, &str), Times<'_>> = IndexMap::new();
    for (host, lane) in &timeline.hosts {
        for step in &lane.steps {
            if let Some(end) = step.span.end {
                steps.entry((&step.role, &step.span.name)).or_default().add(end - step.span.begin, host);
            }
        }
    }
    let rows = slowest(steps, |(role, step)| vec![escape(role), escape(step)]);
    table("Slowest steps", &["role", "step", "times", "median", "longest", "on"], &rows)
}

fn waits(timeline: &Timeline) -> String {
    let mut waits: IndexMap<&str, Times<'_>> = IndexMap::new();
    for (host, lane) in &timeline.hosts {
        for wait in &lane.waits {
            waits.entry(&wait.what).or_default().add(wait.end - wait.begin, host);
        }
    }
    let rows = slowest(waits, |what| vec![escape(what)]);
    table("Longest waits", &["for", "times", "median", "longest", "on"], &rows)
}

/// The first ones by their longest time.
fn slowest<K>(mut times: IndexMap<K, Times<'_>>, name: impl Fn(&K) -> Vec<String>) -> Vec<Vec<String>> {
    times.sort_by(|_, one, _, other| other.longest().0.total_cmp(&one.longest().0));
    times.iter().take(MOST).map(|(key, times)| name(key).into_iter().chain(times.cells()).collect()).collect()
}
