//! `muster students` and `muster student-tokens`: what is wrong before any machine is contacted.

use crate::fixture::{Test, muster};

fn project() -> Test {
    // An address for documentation (RFC 5737): nobody may try to reach it.
    muster().file("inventory/hosts.ini", "[kube_control_plane]\nnode1 ansible_host=192.0.2.1\n")
}

#[track_caller]
fn refused(arguments: &[&str], code: i32, stderr: &str) {
    let test = project().file("empty.csv", "name;groups\n").file("nameless.csv", "name;groups\nAnna;a\n;b\n");
    test.run(arguments).code(code).stderr(stderr).nothing_written();
}

#[test]
fn words_that_say_nothing_are_told() {
    refused(
        &["students", "anna", "jan"],
        5,
        "
error: what is to be done with anna, jan?
hint: put create, get, describe, delete or list first or last",
    );
    refused(
        &["students", "create"],
        5,
        "
error: which students?
hint: name them, or a list: -f class.csv",
    );
    refused(&["students", "delete", "anna", "--prune"], 5, "\nerror: --prune belongs to students create");
    refused(
        &["plan", "students", "list"],
        5,
        "
error: students are only looked at
hint: plans are of students create and students delete",
    );
}

#[test]
fn a_list_that_cannot_be_read_is_told_with_its_line() {
    refused(
        &["students", "create", "-f", "empty.csv"],
        4,
        "\nerror: empty.csv: it has headings, and names nobody",
    );
    refused(&["students", "create", "-f", "nameless.csv"], 4, "\nerror: nameless.csv: line 3 has no name");
    let test = project();
    std::fs::write(test.folder().join("old.csv"), b"name\n\xa3ukasz\n").expect("a list in another encoding");
    test.run(&["students", "create", "-f", "old.csv"]).code(4).stderr_has(&[
        "error: old.csv: it is no text in UTF-8",
        "hint: save it from the spreadsheet as CSV UTF-8",
    ]);
}

#[test]
fn a_term_has_a_unit() {
    let ended = project().run(&["students", "create", "anna", "--for", "8"]).code(5);
    ended.stderr_has(&["write a number and a unit: m, h, d or w, as in 8h"]);
}

#[test]
fn a_token_that_is_not_here_is_said_how_to_make() {
    let ended = project().run(&["student-tokens", "anna"]).code(1);
    ended.stderr_has(&[
        "error: there is no token of anna here",
        "hint: make one: muster students create anna",
    ]);
}
