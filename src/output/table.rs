//! Tables that fit the terminal.

use console::measure_text_width;

use crate::output::style::{Style, Tone};
use crate::output::text;

/// Blanks between columns.
const GAP: usize = 2;

/// What is longer, and neither a path nor a name, may be broken: lists without blanks, sentences of other programs.
const SHORT: usize = 28;

/// A table: a heading for each column, and rows of as many cells.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, none longer than `width` columns unless the table has too many columns, or too long names or paths, for it.
    pub(crate) fn render(&self, style: Style, width: usize) -> Vec<String> {
        let widths = self.widths(width);
        let mut lines = Vec::new();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        for line in cells_to_lines(&headings, &widths) {
            lines.push(style.paint(Tone::Strong, &line));
        }
        let rule = if style.unicode { "─" } else { "-" };
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        lines.push(style.paint(Tone::Faint, &rule.repeat(total)));
        for row in &self.rows {
            lines.extend(cells_to_lines(row, &widths));
        }
        lines
    }

    /// The width below which a name or a path of a column would be broken.
    fn longest_word(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let words = cells.flat_map(|cell| cell.split_whitespace());
        let words = words.map(|word| (word, measure_text_width(word)));
        words
            .filter(|(word, width)| *width <= SHORT || is_whole(word))
            .map(|(_, width)| width)
            .max()
            .unwrap_or(0)
    }

    /// Each column as wide as its longest cell; when that is too much, the widest give way first, but no name is broken.
    fn widths(&self, width: usize) -> Vec<usize> {
        let cell_width = |text: &str| text.lines().map(measure_text_width).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..self.headings.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell_width(cell));
                cells.chain([cell_width(self.headings[column])]).max().unwrap_or(0)
            })
            .collect();
        let room = width.saturating_sub(GAP * widths.len().saturating_sub(1)).max(widths.len() * 8);
        let least: Vec<usize> = (0..widths.len()).map(|column| self.longest_word(column)).collect();
        while widths.iter().sum::<usize>() > room {
            let may_give = widths.iter_mut().zip(&least).filter(|(width, least)| **width > **least);
            let Some((widest, _)) = may_give.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
        }
        widths
    }
}

/// Whether a word can be copied and typed only as a whole: a path, a URL, the name of a variable, a host or a pod, a digest; with
/// what a sentence puts behind it.
fn is_whole(word: &str) -> bool {
    let is_of_a_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    word.contains('/') || word.trim_matches(['(', ')', ',', ';', '"', '\'']).chars().all(is_of_a_name)
}

fn cells_to_lines(cells: &[String], widths: &[usize]) -> Vec<String> {
    let wrapped: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| text::wrap(cell, *width)).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    (0..height)
        .map(|at| {
            let line: Vec<String> = wrapped
                .iter()
                .zip(widths)
                .map(|(lines, width)| text::pad(lines.get(at).map_or("", String::as_str), *width))
                .collect();
            line.join(&" ".repeat(GAP)).trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells_and_no_wider_than_the_terminal() {
        let mut table = Table::new(&["host", "found"]);
        table.row(vec!["node1".into(), "498 MB".into()]);
        table.row(vec!["a-longer-name".into(), "four name servers and nothing else at all".into()]);
        let wide = table.render(Style::PLAIN, 100);
        assert_eq!(
            wide,
            [
                "host           found",
                "--------------------------------------------------------",
                "node1          498 MB",
                "a-longer-name  four name servers and nothing else at all",
            ]
        );
        let narrow = table.render(Style::PLAIN, 30);
        assert!(narrow.iter().all(|line| line.len() <= 30), "{narrow:#?}");
        assert_eq!(narrow.last().map(String::as_str), Some("               all"), "{narrow:#?}");
    }

    #[test]
    fn names_and_paths_are_never_broken_in_the_middle() {
        let rendered = |word: &str| {
            let mut table = Table::new(&["CHECK", "FOUND", "NEEDED"]);
            table.row(vec![
                "it".into(),
                format!("see {word}"),
                "something else, of many words and more".into(),
            ]);
            table.render(Style::PLAIN, 40)
        };
        for whole in [
            "/srv/clusters/one/group_vars/all.yml:12",
            "kube_apiserver_admission_event_rate_limits:",
            "(kubelet_systemd_hardening_and_something)",
            "kube-controller-manager-node1.example.org",
        ] {
            let lines = rendered(whole);
            assert!(lines.iter().any(|line| line.contains(whole)), "{lines:#?}");
        }
        // A list without blanks gives way.
        let lines = rendered("a1,b2,c3,d4,e5,f6,g7,h8,i9,a1,b2,c3,d4,e5,f6,g7,h8,i9");
        assert!(lines.iter().all(|line| line.len() <= 40), "{lines:#?}");
    }
}
