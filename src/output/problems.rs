//! What preflight found, on all hosts, in one table.

use muster_engine::failure::Problem;

use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::text;

/// The table: equal problems of several hosts are one row. The order is that in which hosts and problems are given.
pub(crate) fn table(found: &[(&str, &[Problem])], style: Style, width: usize) -> Vec<String> {
    let mut rows: Vec<(&Problem, Vec<&str>)> = Vec::new();
    for (host, problems) in found {
        for problem in *problems {
            match rows.iter_mut().find(|(known, _)| *known == problem) {
                Some((_, hosts)) => hosts.push(host),
                None => rows.push((problem, vec![host])),
            }
        }
    }
    let mut table = Table::new(&["HOST", "CHECK", "FOUND", "NEEDED", "HOW TO MEND IT"]);
    for (problem, hosts) in rows {
        let cell = text::harmless_lines;
        table.row(vec![
            text::names(&hosts),
            cell(&problem.check),
            cell(&problem.found),
            cell(&problem.needed),
            cell(&problem.remedy),
        ]);
    }
    table.render(style, width)
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
        let lines = table(&[("node1", &swap), ("node2", &both), ("node3", &swap)], Style::PLAIN, 100);
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
