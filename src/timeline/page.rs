//! The page: a lane for each host, roles as bars, steps in them, waits hatched, failures marked.

use std::fmt::Write;
use std::time::Duration;

use super::{Lane, Timeline, tables};
use crate::output::text;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Hues of roles, in degrees: neighbours differ. More roles than these begin again; the number in each bar tells them apart.
const HUES: [u16; 12] = [210, 30, 145, 285, 55, 340, 180, 250, 95, 5, 195, 315];

/// How many marks on the axis of time are wanted.
const TICKS: f64 = 8.0;

/// The whole page.
pub(crate) fn page(timeline: &Timeline, name: &str) -> String {
    let (style, script) = (STYLE, SCRIPT);
    let title = escape(name);
    let (summary, legend, chart) = (summary(timeline), legend(timeline), chart(timeline));
    let tables = tables::tables(timeline);
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<h1>{title}</h1>
{summary}{legend}{chart}{tables}<div id="tip" hidden></div>
<script>
{script}</script>
</body>
</html>
"#
    )
}

fn summary(timeline: &Timeline) -> String {
    let failures: Vec<&str> =
        timeline.hosts.values().filter_map(|lane| Some(lane.failed()?.2.word())).collect();
    let changed: u64 = timeline.hosts.values().flat_map(|lane| &lane.roles).map(|role| role.changed).sum();
    let mut parts = vec![text::count(timeline.hosts.len(), "host"), seconds(timeline.end)];
    parts.push(match (timeline.check, changed) {
        (false, 0) => "no changes".to_owned(),
        (false, _) => format!("{changed} changed"),
        (true, _) => format!("{changed} would be changed (check)"),
    });
    for word in ["failed", "unreachable", "stopped"] {
        let number = failures.iter().filter(|failure| **failure == word).count();
        if number > 0 {
            parts.push(format!(r#"<strong class="bad">✘ {number} {word}</strong>"#));
        }
    }
    if !timeline.ended {
        parts.push("<strong>the run did not come to its end</strong>".to_owned());
    }
    parts.extend(timeline.exit_code.map(|code| format!("exit code {code}")));
    let command = timeline.command.as_ref().map_or(String::new(), |(command, time)| {
        format!("<p><code>{}</code> {}</p>\n", escape(command), escape(time))
    });
    format!("{command}<p>{}</p>\n", parts.join(" · "))
}

/// The roles with their numbers and colours, and what else there is to see.
fn legend(timeline: &Timeline) -> String {
    let mut html = String::from("<div id=\"legend\">\n");
    for (number, role) in timeline.roles.iter().enumerate() {
        html.push_str(&format!(
            "<button class=\"role\" style=\"--h:{}\" data-role=\"{number}\"><b>{}</b> {}</button>\n",
            hue(number),
            number + 1,
            escape(role)
        ));
    }
    html.push_str(
        "<span class=\"sign wait\">waits</span><span class=\"sign changed\">changed something</span>\
         <span class=\"sign\">↻ tried again</span><span class=\"sign bad\">✘ failed</span>\n</div>\n\
         <div id=\"controls\"><label>hosts <select id=\"order\"><option value=\"at\">as in the inventory</option>\
         <option value=\"time\">slowest first</option><option value=\"failed\">failed first</option></select></label>\n\
         <label>zoom <input id=\"zoom\" type=\"range\" min=\"1\" max=\"20\" step=\"0.5\" value=\"1\"></label></div>\n",
    );
    html
}

fn chart(timeline: &Timeline) -> String {
    let size = match timeline.hosts.len() {
        0..=16 => "large",
        17..=60 => "middle",
        _ => "small",
    };
    let scale = Scale { end: timeline.end.max(0.001) };
    let longest = timeline.hosts.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut html = format!(
        "<div id=\"chart\" class=\"{size}\" style=\"--names:{}ch\">\n<div id=\"inner\">\n",
        longest.clamp(5, 30) + 2
    );
    html.push_str("<div class=\"row axis\"><div class=\"name\"></div><div class=\"lane\">");
    let mut lines = String::from("<div class=\"row grid\"><div class=\"name\"></div><div class=\"lane\">");
    for tick in ticks(scale.end) {
        let left = scale.percent(tick);
        write!(html, "<i style=\"left:{left}%\">{}</i>", tick_label(tick)).ok();
        write!(lines, "<i style=\"left:{left}%\"></i>").ok();
    }
    html.push_str("</div></div>\n");
    html.push_str(&lines);
    html.push_str("</div></div>\n");
    for (at, (name, lane)) in timeline.hosts.iter().enumerate() {
        row(&mut html, timeline, scale, at, name, lane);
    }
    html.push_str("</div>\n</div>\n");
    html
}

fn row(html: &mut String, timeline: &Timeline, scale: Scale, at: usize, name: &str, lane: &Lane) {
    let failed = lane.failed();
    let time = lane.time(timeline.end);
    let class = if failed.is_some() { "row host failed" } else { "row host" };
    let mark = if failed.is_some() { "✘ " } else { "" };
    let name = escape(name);
    let tip = match (&failed, &lane.end) {
        (Some((.., failure)), _) => format!("{} after {}", failure.word(), seconds(time)),
        (None, Some(_)) => format!("done after {}", seconds(time)),
        (None, None) => "not done".to_owned(),
    };
    write!(
        html,
        "<div class=\"{class}\" data-at=\"{at}\" data-time=\"{time:.3}\"><div class=\"name\" title=\"{name}: {tip}\">{mark}{name}</div><div class=\"lane\">"
    )
    .ok();
    let connected = lane.connected.or(failed.as_ref().map(|(time, ..)| *time)).unwrap_or(timeline.end);
    let tip = format!("{name}: connecting and reading facts, {}", seconds(connected));
    write!(html, "<div class=\"connect\" style=\"{}\" title=\"{tip}\"></div>", scale.place(0.0, connected))
        .ok();
    for role in &lane.roles {
        let end = role.end.unwrap_or(time);
        let number = timeline.roles.iter().position(|known| *known == role.name).unwrap_or(0);
        let title = escape(&role.name);
        let changed = changes(role.changed);
        write!(
            html,
            "<div class=\"role\" data-role=\"{number}\" style=\"--h:{};{}\" title=\"{name}: {title}, {}{changed}\"><b>{}</b> {title}</div>",
            hue(number),
            scale.place(role.begin, end),
            seconds(end - role.begin),
            number + 1,
        )
        .ok();
    }
    for step in &lane.steps {
        let span = &step.span;
        let end = span.end.unwrap_or(time);
        let exchanges = text::count(usize::try_from(step.exchanges).unwrap_or(usize::MAX), "exchange");
        let (state, cost) = match span.end {
            Some(_) => (changes(span.changed), format!(", {exchanges}")),
            None => (", not finished".to_owned(), String::new()),
        };
        let class = if span.changed > 0 { "step changed" } else { "step" };
        write!(
            html,
            "<div class=\"{class}\" style=\"{}\" title=\"{name}: {}: {}, {}{state}{cost}\"></div>",
            scale.place(span.begin, end),
            escape(&step.role),
            escape(&span.name),
            seconds(end - span.begin),
        )
        .ok();
    }
    for wait in &lane.waits {
        write!(
            html,
            "<div class=\"wait\" style=\"{}\" title=\"{name}: waited {} for {}\"></div>",
            scale.place(wait.begin, wait.end),
            seconds(wait.end - wait.begin),
            escape(&wait.what),
        )
        .ok();
    }
    for retry in &lane.retries {
        let (left, tip) = (scale.percent(retry.at), escape(&retry.text));
        write!(html, "<div class=\"retry\" style=\"left:{left}%\" title=\"{name}: {tip}\">↻</div>").ok();
    }
    if let Some((time, place, failure)) = failed {
        let word = failure.word();
        let place = if place.is_empty() { String::new() } else { format!(" in {}", escape(place)) };
        // At the right end there is no room for all of it; the hint has it, and the table below.
        let shown = if time > scale.end * 0.75 { "" } else { &place };
        write!(
            html,
            "<div class=\"failure\" style=\"left:{}%\" title=\"{name}: {word}{place}: {}\"><span>✘ {word}{shown}</span></div>",
            scale.percent(time),
            escape(&failure.message),
        )
        .ok();
    }
    html.push_str("</div></div>\n");
}

/// Seconds to hundredths of the chart's width.
#[derive(Clone, Copy)]
struct Scale {
    end: f64,
}

impl Scale {
    fn percent(self, time: f64) -> String {
        format!("{:.3}", time.clamp(0.0, self.end) * 100.0 / self.end)
    }

    fn place(self, begin: f64, end: f64) -> String {
        format!("left:{}%;width:{}%", self.percent(begin), self.percent(end - begin))
    }
}

/// Round moments, about [`TICKS`] of them.
pub(super) fn ticks(end: f64) -> Vec<f64> {
    let wanted = end / TICKS;
    let powers = (-3..1).flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10f64.powi(power)));
    let minutes = [10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];
    let step = powers.chain(minutes).find(|step| *step >= wanted).unwrap_or(wanted);
    (0..).map(|n| f64::from(n) * step).take_while(|tick| *tick <= end).collect()
}

pub(super) fn tick_label(time: f64) -> String {
    if time < 60.0 {
        return format!("{} s", (time * 1000.0).round() / 1000.0);
    }
    let time = time.round() as u64;
    format!("{}:{:02}", time / 60, time % 60)
}

fn changes(changed: u64) -> String {
    if changed == 0 { String::new() } else { format!(", {changed} changed") }
}

pub(super) fn hue(role: usize) -> u16 {
    HUES[role % HUES.len()]
}

/// `0.31s`, `41s`, `1m05s`.
pub(super) fn seconds(time: f64) -> String {
    if time < 1.0 { format!("{:.2}s", time.max(0.0)) } else { text::duration(Duration::from_secs_f64(time)) }
}

/// Text from a machine or a file as text of a page, whatever it holds.
pub(super) fn escape(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for c in text::harmless(raw).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}
