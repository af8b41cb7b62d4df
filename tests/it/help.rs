//! The help of every command, as a snapshot: what users read changes only on purpose.

use crate::fixture::{muster, setup_cluster};

fn check(name: &str, help: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("help");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, help));
}

#[test]
fn the_help_of_each_command() {
    check("muster", &muster().run(&["--help"]).code(0).stdout);
    for command in [
        "setup-cluster",
        "plan",
        "apply",
        "preflight",
        "verify",
        "runs",
        "log",
        "exec",
        "copy",
        "ping",
        "facts",
        "unlock",
        "inventory",
        "vars",
        "init",
        "docs vars",
        "bundle",
        "bundle fetch",
        "bundle build",
        "bundle check",
        "bundle list",
        "lab",
        "lab up",
        "timeline",
        "completion",
        "docs",
        "docs man",
    ] {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        check(&command.replace(' ', "-"), &muster().run(&words).code(0).stdout);
    }
    check("kubectl", &muster().run(&["help", "kubectl"]).code(0).stdout);
}

#[test]
fn setup_cluster_under_its_own_name_has_the_same_help() {
    let own = setup_cluster().run(&["--help"]).code(0).stdout;
    let other = muster().run(&["setup-cluster", "--help"]).code(0).stdout;
    let options = |help: &str| {
        help[help.find("Arguments:").unwrap()..].replace("  -V, --version\n          Print version\n\n", "")
    };
    assert_eq!(options(&own), options(&other));
    assert!(own.contains("\nUsage: setup-cluster [OPTIONS] [HOST]...\n"), "{own}");
    setup_cluster().run(&["--version"]).code(0).stdout_has(&["setup-cluster "]);
}
