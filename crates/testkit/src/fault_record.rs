//! The record of faults: what tests do to the program on purpose, and what held.
//!
//! `./test` names a file in the environment, and makes `docs/faults.md` of it in the end (`examples/faults.rs`). Without
//! that variable nothing is recorded.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;

/// The variable that names the file.
pub const VARIABLE: &str = "MUSTER_FAULT_RECORD";

/// Notes a fault that was injected so many times, how, and what held. A test says it once it has seen that.
pub fn held(fault: &str, injected: &str, times: usize, what: &str) {
    let Some(file) = std::env::var_os(VARIABLE) else { return };
    let line = serde_json::json!({"fault": fault, "injected": injected, "times": times, "held": what});
    // One write each, so that lines of tests that run at once do not mix.
    let mut record = OpenOptions::new().create(true).append(true).open(file).expect("the record of faults");
    record.write_all(format!("{line}\n").as_bytes()).expect("a line in the record of faults");
}

/// The page that such lines make. What was done in several tests is one row. A row of the former page stays as long as
/// the same fault was not injected again in the same way; without a former page there are the rows of this record alone.
/// `seen` says when that was, and with which revision.
pub fn page(former: &str, record: &str, seen: &str) -> serde_json::Result<String> {
    let mut new = BTreeMap::<_, u64>::new();
    for line in record.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let cell = |name: &str| line[name].as_str().unwrap_or_default().replace('|', r"\|");
        *new.entry([cell("fault"), cell("injected"), cell("held")]).or_default() +=
            line["times"].as_u64().unwrap_or_default();
    }
    let mut rows: Vec<[String; 5]> = former.lines().filter_map(row).collect();
    rows.retain(|[fault, injected, ..]| !new.keys().any(|key| key[0] == *fault && key[1] == *injected));
    rows.extend(
        new.into_iter().map(|([fault, injected, held], times)| {
            [fault, injected, times.to_string(), held, seen.to_owned()]
        }),
    );
    rows.sort();
    let rows: String = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    Ok(format!("{HEAD}{rows}"))
}

const HEAD: &str = "\
# What was broken on purpose, and what held

Each row is noted by the test itself, once it has seen that it holds (`crates/testkit/src/fault_record.rs`), and the
last column says when and in which revision that was. `./test --all` writes the whole page anew when all tests have
passed.

| fault | how it is injected | times | what held | seen |
|---|---|---|---|---|
";

/// The cells of a row of the page below its heads, as they stand there.
fn row(line: &str) -> Option<[String; 5]> {
    let cells: Vec<_> =
        line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(str::to_owned).collect();
    let row: [String; 5] = cells.try_into().ok()?;
    (row[0] != "fault").then_some(row)
}

#[cfg(test)]
mod tests {
    fn line(fault: &str, times: u32, held: &str) -> String {
        format!(r#"{{"fault":"{fault}","injected":"a|b","times":{times},"held":"{held}"}}"#) + "\n"
    }

    fn rows(page: &str) -> Vec<&str> {
        page.lines().filter(|line| line.contains(r"a\|b")).collect()
    }

    #[test]
    fn rows_are_sorted_and_what_is_the_same_is_one() {
        let record = line("late", 1, "all") + &line("early", 2, "all") + &line("late", 3, "all");
        let page = super::page("", &record, "today").unwrap();
        assert_eq!(
            rows(&page),
            [r"| early | a\|b | 2 | all | today |", r"| late | a\|b | 4 | all | today |"]
        );
        super::page("", "{", "today").unwrap_err();
    }

    #[test]
    fn a_row_stays_until_its_fault_is_injected_again() {
        let former =
            super::page("", &(line("early", 1, "all") + &line("late", 1, "3 of 9")), "then").unwrap();
        let page = super::page(&former, &line("late", 1, "0 of 7"), "today").unwrap();
        assert_eq!(
            rows(&page),
            [r"| early | a\|b | 1 | all | then |", r"| late | a\|b | 1 | 0 of 7 | today |"]
        );
        assert_eq!(super::page(&page, "", "never").unwrap(), page);
    }
}
