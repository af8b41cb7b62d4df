//! Ansible's `PLAY RECAP`, byte for byte, because scripts read it.
//!
//! The layout is that of ansible-core's default callback (`v2_playbook_on_stats`, `banner`, `hostcolor`, `colorize`).

use muster_engine::failure::Failure;
use muster_engine::run::{HostOutcome, Outcome};

use crate::output::style::{Style, Tone};

/// The figures of one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) ok: usize,
    pub(crate) changed: usize,
    pub(crate) unreachable: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// The recap: a blank line, the banner, one line a host sorted by name, a blank line. `columns` of the terminal, `None`
/// where there is none.
pub(crate) fn recap(hosts: &[(String, Figures)], columns: Option<usize>, style: Style) -> String {
    const TITLE: &str = "PLAY RECAP";
    let width = columns.map_or(79, |columns| columns.saturating_sub(1).max(79));
    let mut text = format!("\n{TITLE} {}\n", "*".repeat(width - TITLE.len()));
    let mut sorted: Vec<&(String, Figures)> = hosts.iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (host, figures) in sorted {
        text.push_str(&line(host, *figures, style));
        text.push('\n');
    }
    text.push('\n');
    text
}

fn line(host: &str, figures: Figures, style: Style) -> String {
    let Figures { ok, changed, unreachable, failed, skipped } = figures;
    let tone = match figures {
        _ if failed + unreachable > 0 => Tone::Bad,
        _ if changed > 0 => Tone::Changed,
        _ => Tone::Good,
    };
    // The padding is outside of the colour and as wide as without it.
    let name =
        format!("{}{}", style.paint(tone, host), " ".repeat(26usize.saturating_sub(host.chars().count())));
    let part = |lead: &str, number: usize, tone: Tone| {
        let text = format!("{lead}={number:<4}");
        if number == 0 { text } else { style.paint(tone, &text) }
    };
    [
        format!("{name} :"),
        part("ok", ok, Tone::Good),
        part("changed", changed, Tone::Changed),
        part("unreachable", unreachable, Tone::Unreachable),
        part("failed", failed, Tone::Bad),
        part("skipped", skipped, Tone::Skipped),
        part("rescued", 0, Tone::Good),
        part("ignored", 0, Tone::Warning),
    ]
    .join(" ")
}

/// The figures of every host of a run.
pub(crate) fn figures(outcome: &Outcome) -> Vec<(String, Figures)> {
    let of_host = |(name, host): (&String, &HostOutcome)| {
        let counts = host.summary.counts;
        let unreachable = host.failure.as_ref().is_some_and(Failure::is_unreachable);
        // Whoever was stopped because of others did not fail at anything.
        let failed =
            host.failure.as_ref().is_some_and(|f| !f.is_unreachable() && !matches!(f, Failure::Stopped(_)));
        let figures = Figures {
            ok: counts.ok,
            changed: counts.changed,
            unreachable: unreachable.into(),
            failed: failed.into(),
            skipped: counts.skipped,
        };
        (name.clone(), figures)
    };
    outcome.iter().map(of_host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ansible-playbook (ansible-core 2.18.19) printed into a file for these figures.
    const ANSIBLE: &str = "
PLAY RECAP *********************************************************************
a-host-with-a-name-of-more-than-26-letters : ok=1    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0   
node1                      : ok=304  changed=76   unreachable=0    failed=0    skipped=455  rescued=0    ignored=0   
node2                      : ok=12345 changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0   

";

    fn hosts() -> Vec<(String, Figures)> {
        let figures =
            |ok, changed, unreachable, skipped| Figures { ok, changed, unreachable, failed: 0, skipped };
        vec![
            ("node2".into(), figures(12345, 0, 1, 0)),
            ("node1".into(), figures(304, 76, 0, 455)),
            ("a-host-with-a-name-of-more-than-26-letters".into(), figures(1, 0, 0, 0)),
        ]
    }

    #[test]
    fn the_layout_is_ansibles_byte_for_byte() {
        assert_eq!(recap(&hosts(), None, Style::PLAIN), ANSIBLE);
    }

    #[test]
    fn colours_change_no_column() {
        let colored = recap(&hosts(), None, Style { color: true, unicode: true });
        assert_eq!(console::strip_ansi_codes(&colored), ANSIBLE);
        assert!(colored.contains("\u{1b}[0;33mnode1\u{1b}[0m "), "{colored}");
    }

    #[test]
    fn a_wide_terminal_has_more_stars() {
        let banner = |columns| recap(&[], Some(columns), Style::PLAIN).lines().nth(1).map(str::len);
        assert_eq!(banner(40), Some(80));
        assert_eq!(banner(200), Some(200));
    }
}
