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

/// Such lines as a table in Markdown, in an order that does not depend on theirs. What was done in several tests is
/// one row.
pub fn table(lines: &str) -> serde_json::Result<String> {
    let mut rows = BTreeMap::<_, u64>::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let cell = |name: &str| line[name].as_str().unwrap_or_default().replace('|', r"\|");
        *rows.entry([cell("fault"), cell("injected"), cell("held")]).or_default() +=
            line["times"].as_u64().unwrap_or_default();
    }
    let mut table = "| fault | how it is injected | times | what held |\n|---|---|---|---|\n".to_owned();
    for ([fault, injected, held], times) in rows {
        table += &format!("| {fault} | {injected} | {times} | {held} |\n");
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_are_sorted_and_what_is_the_same_is_one() {
        let line = |fault: &str, times| {
            format!(r#"{{"fault":"{fault}","injected":"a|b","times":{times},"held":"all"}}"#) + "\n"
        };
        let table = super::table(&(line("late", 1) + &line("early", 2) + &line("late", 3))).unwrap();
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows, [r"| early | a\|b | 2 | all |", r"| late | a\|b | 4 | all |"]);
        super::table("{").unwrap_err();
    }
}
