//! The help of every command, as a snapshot: what users read changes only on purpose.

use crate::fixture::{muster, setup_cluster};

fn check(name: &str, help: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("help");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, help));
}

/// The commands that `--help` lists.
fn commands(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect()
}

#[test]
fn the_help_of_each_command() {
    let help = muster().run(&["--help"]).code(0).stdout;
    check("muster", &help);
    let commands = commands(&help);
    assert!(commands.len() > 10, "{commands:?}");
    let below = [
        "docs vars",
        "docs man",
        "bundle fetch",
        "bundle build",
        "bundle check",
        "bundle list",
        "bundle serve",
        "lab up",
        "netboot render",
        "netboot keys",
        "netboot serve",
        "netboot status",
        "netboot wake",
        "machines create",
        "machines list",
        "machines delete",
        "certs check",
        "certs renew",
        "etcd status",
        "etcd snapshot",
        "etcd restore",
        "etcd defrag",
    ];
    for command in commands.into_iter().chain(below) {
        // kubectl and helm take --help for their own.
        let words: Vec<&str> = match command {
            "kubectl" | "helm" => vec!["help", command],
            command => command.split(' ').chain(["--help"]).collect(),
        };
        check(&command.replace(' ', "-"), &muster().run(&words).code(0).stdout);
    }
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
