//! What preflight found, on all hosts, in one table.

use muster_engine::failure::Problem;

use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::text;

/// The headings, without that of the hosts.
const HEADINGS: [&str; 4] = ["CHECK", "FOUND", "NEEDED", "HOW TO MEND IT"];

/// The table: equal problems of several hosts are one row. The order is that in which hosts and problems are given.
pub(crate) fn of_hosts(found: &[(&str, &[Problem])], style: Style, width: usize) -> Vec<String> {
    let mut rows: Vec<(&Problem, Vec<&str>)> = Vec::new();
    for (host, problems) in found {
        for problem in *problems {
            match rows.iter_mut().find(|(known, _)| *known == problem) {
                Some((_, hosts)) => hosts.push(host),
                None => rows.push((problem, vec![host])),
            }
        }
    }
    let mut table = Table::new(&[&["HOST"], &HEADINGS[..]].concat());
    for (problem, hosts) in rows {
        table.row([vec![text::names(&hosts)], cells(problem)].concat());
    }
    table.render(style, width)
}

/// The same for problems of what the user wrote, before any host was looked at.
pub(crate) fn of_inventory(problems: &[Problem], style: Style, width: usize) -> Vec<String> {
    let mut table = Table::new(&HEADINGS);
    // Files as a user would type them, as in the warnings above the table.
    let here = std::env::current_dir().map(|here| format!("{}/", here.display())).unwrap_or_default();
    let short = |cell: String| if here.len() > 1 { cell.replace(&here, "") } else { cell };
    problems.iter().for_each(|problem| table.row(cells(problem).into_iter().map(short).collect()));
    table.render(style, width)
}

fn cells(problem: &Problem) -> Vec<String> {
    [&problem.check, &problem.found, &problem.needed, &problem.remedy]
        .map(|text| text::harmless_lines(text))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(check: &str, found: &str) -> Problem {
        Problem { check: check.into(), found: found.into(), needed: "less".into(), remedy: "mend it".into() }
    }

    #[test]
    fn equal_problems_of_several_hosts_are_one_row() {
        let swap = [problem("swap", "2048 MB")];
        let both = [problem("swap", "2048 MB"), problem("memory", "498 MB")];
        let lines = of_hosts(&[("node1", &swap), ("node2", &both), ("node3", &swap)], Style::PLAIN, 100);
        assert_eq!(
            lines,
            [
                "HOST     CHECK   FOUND    NEEDED  HOW TO MEND IT",
                "------------------------------------------------",
                "node1-3  swap    2048 MB  less    mend it",
                "node2    memory  498 MB   less    mend it",
            ]
        );
    }
}
