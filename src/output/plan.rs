//! A plan for people: what would be done, the same on several hosts once.

use indexmap::IndexMap;
use muster_app::plan::{Planned, Steps};

use crate::output::style::{Style, Tone};
use crate::output::text;

/// The lines.
pub(crate) fn plan_lines(hosts: &Steps, diff: bool, style: Style) -> Vec<String> {
    let mut groups: IndexMap<&Planned, Vec<&String>> = IndexMap::new();
    for (host, steps) in hosts {
        for planned in steps {
            groups.entry(planned).or_default().push(host);
        }
    }
    let mut lines = Vec::new();
    let mut role = "";
    for (planned, hosts) in &groups {
        if planned.role != role {
            role = &planned.role;
            lines.push(style.paint(Tone::Strong, role));
        }
        lines.push(line(planned, hosts, style));
        if let Some(text) = planned.diff.as_ref().filter(|_| diff) {
            lines.extend(
                text.lines().map(|line| {
                    format!("      {}", super::sentence::diff_line(&text::harmless(line), style))
                }),
            );
        }
    }
    lines.push(sum(hosts, style));
    lines
}

/// What kind of change something is: its sign, and in which colour.
fn sign(planned: &Planned) -> (char, Tone) {
    let begins = |words: &[&str]| {
        planned.what.as_ref().is_some_and(|what| words.iter().any(|word| what.starts_with(word)))
    };
    match &planned.what {
        None => ('?', Tone::Faint),
        Some(_) if begins(&["removed"]) => ('-', Tone::Bad),
        Some(what) if begins(&["created", "added", "installed"]) || what.ends_with(" installed") => {
            ('+', Tone::Good)
        }
        Some(_) => ('~', Tone::Changed),
    }
}

/// `  ~ node1-37  file /etc/containerd/config.toml: content  +3 -1  (37 hosts, same diff)`.
fn line(planned: &Planned, hosts: &[&String], style: Style) -> String {
    let (sign, tone) = sign(planned);
    let mut line = format!(
        "  {} {}  {}",
        style.paint(tone, &sign.to_string()),
        text::names(hosts),
        text::harmless(&planned.resource)
    );
    match &planned.what {
        None => line.push_str(": known when what comes before it is done"),
        Some(what) => line.push_str(&format!(": {}", text::harmless(what))),
    }
    if let Some(diff) = &planned.diff {
        let count = |sign: char| {
            let header = [sign; 3].iter().collect::<String>() + " ";
            diff.lines().filter(|line| line.starts_with(sign) && !line.starts_with(&header)).count()
        };
        line.push_str(&format!("  +{} -{}", count('+'), count('-')));
    }
    if hosts.len() > 1 {
        let same = if planned.diff.is_some() { ", same diff" } else { "" };
        line.push_str(&style.paint(Tone::Faint, &format!("  ({}{same})", text::count(hosts.len(), "host"))));
    }
    line
}

/// `Plan: 12 to create, 3 to change, 1 to remove on 3 hosts; 34 hosts are as they should be`.
fn sum(hosts: &Steps, style: Style) -> String {
    let right = hosts.values().filter(|steps| steps.is_empty()).count();
    let right_told = if right == 1 {
        "1 host is as it should be".into()
    } else {
        format!("{right} hosts are as they should be")
    };
    if right == hosts.len() {
        return format!("{} nothing to do: {right_told}", style.done());
    }
    let number = |wanted: char| hosts.values().flatten().filter(|planned| sign(planned).0 == wanted).count();
    let mut told = format!(
        "Plan: {} to create, {} to change, {} to remove on {}",
        number('+'),
        number('~'),
        number('-'),
        text::count(hosts.len() - right, "host")
    );
    if number('?') > 0 {
        told.push_str(&format!(", {} not to be known yet", number('?')));
    }
    if right > 0 {
        told.push_str(&format!("; {right_told}"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(resource: &str, what: Option<&str>, diff: Option<&str>) -> Planned {
        Planned {
            role: "etcd".into(),
            step: "Configure".into(),
            resource: resource.into(),
            what: what.map(str::to_owned),
            diff: diff.map(str::to_owned),
            momentary: false,
        }
    }

    #[test]
    fn the_same_on_several_hosts_is_told_once_with_what_kind_of_change_it_is() {
        let diff = "--- /etc/x\n+++ /etc/x\n@@ -1 +1,2 @@\n-a\n+b\n+c\u{1b}\n";
        let all = [
            planned("file /etc/x", Some("content"), Some(diff)),
            planned("group etcd", Some("created"), None),
            planned("absent /etc/y", Some("removed"), None),
            planned("etcd is healthy", None, None),
        ];
        let steps: Steps = [("node1", &all[..]), ("node2", &all[..1]), ("node3", &[])]
            .into_iter()
            .map(|(name, steps)| (name.to_owned(), steps.to_vec()))
            .collect();
        assert_eq!(
            plan_lines(&steps, false, Style::PLAIN),
            [
                "etcd",
                "  ~ node1-2  file /etc/x: content  +2 -1  (2 hosts, same diff)",
                "  + node1  group etcd: created",
                "  - node1  absent /etc/y: removed",
                "  ? node1  etcd is healthy: known when what comes before it is done",
                "Plan: 1 to create, 2 to change, 1 to remove on 2 hosts, 1 not to be known yet; 1 host is as it should be",
            ]
        );
        let shown = plan_lines(&steps, true, Style::PLAIN);
        assert!(shown.contains(&"      +c\\u{1b}".to_owned()), "{shown:#?}");
    }

    #[test]
    fn where_nothing_differs_that_is_all() {
        let steps: Steps = [("a".to_owned(), Vec::new()), ("b".to_owned(), Vec::new())].into();
        assert_eq!(
            plan_lines(&steps, false, Style::PLAIN),
            ["+ nothing to do: 2 hosts are as they should be"]
        );
    }
}
