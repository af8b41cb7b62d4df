//! What checks find: problems, which stop the run, and warnings, which do not.

use muster_engine::prelude::Problem;
use muster_inventory::some_names;

/// What checks found, before anything was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What stops the run.
    pub problems: Vec<Problem>,
    /// What the user should know, and what would stop the run without `ignore_assert_errors`.
    pub warnings: Vec<Problem>,
    ignore_assert_errors: bool,
}

impl Findings {
    /// Nothing found yet. `ignore_assert_errors` is the user's wish to go on with what kubespray lets pass, too.
    pub(super) fn new(ignore_assert_errors: bool) -> Self {
        Self { ignore_assert_errors, ..Self::default() }
    }

    /// Nothing but what nobody can wish away.
    pub(super) fn refusing(found: impl IntoIterator<Item = Problem>) -> Self {
        Self { problems: found.into_iter().collect(), ..Self::default() }
    }

    /// What nobody can wish away: the run would fail later.
    pub(super) fn refuse(&mut self, found: impl IntoIterator<Item = Problem>) {
        self.problems.extend(found);
    }

    /// What stops the run unless the user said `ignore_assert_errors`.
    pub(super) fn object(&mut self, found: impl IntoIterator<Item = Problem>) {
        let list = if self.ignore_assert_errors { &mut self.warnings } else { &mut self.problems };
        list.extend(found);
    }

    /// What the user should know.
    pub(super) fn warn(&mut self, found: impl IntoIterator<Item = Problem>) {
        self.warnings.extend(found);
    }

    /// Adds what was found host by host, each thing once. What does not hold for all hosts names those it holds for.
    pub(super) fn merge(&mut self, hosts: Vec<(&str, Findings)>) {
        let all = hosts.len();
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        for (host, findings) in hosts {
            note(&mut problems, host, findings.problems);
            note(&mut warnings, host, findings.warnings);
        }
        let named = |(mut problem, hosts): (Problem, Vec<&str>)| {
            if hosts.len() < all {
                problem.found = format!("{} on {}", problem.found, some_names(&hosts));
            }
            problem
        };
        self.problems.extend(problems.into_iter().map(named));
        self.warnings.extend(warnings.into_iter().map(named));
    }
}

/// Notes that something was found on a host too.
fn note<'h>(list: &mut Vec<(Problem, Vec<&'h str>)>, host: &'h str, found: Vec<Problem>) {
    for problem in found {
        match list.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, hosts)) => hosts.push(host),
            None => list.push((problem, vec![host])),
        }
    }
}

/// A problem in words: what was looked at, what was found, what is needed, and how to mend it.
pub(super) fn problem(
    check: impl Into<String>,
    found: impl Into<String>,
    needed: impl Into<String>,
    remedy: impl Into<String>,
) -> Problem {
    Problem { check: check.into(), found: found.into(), needed: needed.into(), remedy: remedy.into() }
}

/// A problem as one sentence, for warnings.
pub fn sentence(problem: &Problem) -> String {
    format!("{}: {}; needed: {}; {}", problem.check, problem.found, problem.needed, problem.remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Problem {
        problem("check", text, "other", "change it")
    }

    #[test]
    fn a_wish_to_ignore_holds_only_for_what_may_be_ignored() {
        for (ignore, problems, warnings) in [(false, 2, 1), (true, 1, 2)] {
            let mut findings = Findings::new(ignore);
            findings.refuse([found("a")]);
            findings.object([found("b")]);
            findings.warn([found("c")]);
            assert_eq!((findings.problems.len(), findings.warnings.len()), (problems, warnings), "{ignore}");
        }
    }

    #[test]
    fn what_holds_for_all_hosts_is_told_once_and_what_does_not_names_them() {
        let of = |texts: &[&str]| {
            let mut findings = Findings::new(false);
            findings.refuse(texts.iter().map(|text| found(text)));
            findings
        };
        let mut findings = Findings::new(false);
        findings.merge(vec![("node1", of(&["a", "b"])), ("node2", of(&["a"])), ("node3", of(&["a", "b"]))]);
        let texts: Vec<&str> = findings.problems.iter().map(|p| p.found.as_str()).collect();
        assert_eq!(texts, ["a", "b on node1, node3"]);
    }
}
