//! What a part of the program must not know, so that it can be read and changed alone.

use std::fs;
use std::path::{Path, PathBuf};

/// All sources below a folder, but tests, which may use any words.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.extension().and_then(|extension| extension.to_str()) {
            None if path.is_dir() => sources(&path),
            Some("rs" | "sh") if !path.ends_with("tests.rs") => vec![path],
            _ => Vec::new(),
        })
        .collect()
}

/// No line of code below `folder` holds any of these words. Comments and unit tests may.
#[track_caller]
fn knows_nothing_of(folder: &str, words: &[&str]) {
    for_each_line(folder, |place, line| {
        let line = line.to_lowercase();
        let word = words.iter().find(|word| line.contains(*word));
        assert_eq!(word, None, "{place}: {line}");
    });
}

/// The lines of code below a folder, with their places; no comments, no unit tests.
#[track_caller]
fn for_each_line(folder: &str, look: impl Fn(&str, &str)) {
    let paths = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    assert!(paths.len() > 10, "{folder}: {paths:?}");
    // A file of tests is one as a whole.
    for path in paths.into_iter().filter(|path| !path.to_string_lossy().ends_with("tests.rs")) {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in code_of(&text) {
            look(&format!("{}:{number}", path.display()), line);
        }
    }
}

/// The lines of a file that are neither comments nor what only its unit tests use, with their numbers. An item ends where its
/// bracket is closed, in the column in which rustfmt lets it begin, or with a semicolon on its first line.
fn code_of(text: &str) -> Vec<(usize, &str)> {
    let mut lines = text.lines().enumerate();
    let mut code = Vec::new();
    while let Some((number, line)) = lines.next() {
        let Some(indent) = line.strip_suffix("#[cfg(test)]") else {
            if !line.trim_start().starts_with("//") {
                code.push((number + 1, line));
            }
            continue;
        };
        let first = lines.find(|(_, line)| !line.trim_start().starts_with("#["));
        if first.is_some_and(|(_, line)| !line.ends_with(';')) {
            lines.find(|(_, line)| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with('}')));
        }
    }
    code
}

#[test]
fn what_is_looked_at_is_all_but_comments_and_unit_tests() {
    let text = "a\n#[cfg(test)]\nmod tests;\n// no\nb\n    #[cfg(test)]\n    fn t() {\n        x\n    }\nc\n#[cfg(test)]\nmod tests {\n    use y;\n\n    z\n}\nd\n";
    assert_eq!(code_of(text), [(1, "a"), (5, "b"), (10, "c"), (17, "d")]);
}

#[test]
fn the_engine_knows_no_kubernetes_and_roles_know_no_connections() {
    knows_nothing_of("crates/engine/src", &["kube", "etcd", "flannel", "containerd", "coredns", "calico"]);
    knows_nothing_of("crates/inventory/src", &["kubelet", "kubeadm", "etcd", "flannel", "muster_engine"]);
    knows_nothing_of(
        "crates/netboot/src",
        &["muster_engine", "muster_roles", "std::net", "kubelet", "kubeadm"],
    );
    knows_nothing_of("crates/openstack/src", &["muster_engine", "muster_roles", "kubelet", "kubeadm"]);
    knows_nothing_of("roles", &["muster_engine::ssh", "muster_engine::{ssh", "russh", "sshoptions"]);
}

/// Files that others build on, each with what builds on it: in the other direction it would be a circle.
#[test]
fn what_others_build_on_does_not_know_them() {
    let built_on = [
        ("crates/inventory/src/convert.rs", "crate::jinja"),
        ("crates/engine/src/metered.rs", "crate::host"),
        ("crates/engine/src/fan_out/sources.rs", "crate::host"),
        ("roles/preflight/findings.rs", "super::machine"),
    ];
    for (file, user) in built_on {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(!text.contains(user), "{file} uses {user}, which is built on it");
    }
}

#[test]
fn whoever_hosts_a_library_decides_what_is_printed_where_the_environment_is_and_when_the_process_ends() {
    // `std::env::consts` says what the program was compiled for.
    let process = [
        "println!",
        "print!",
        "process::exit",
        "std::env::var",
        "std::env::current",
        "std::env::home",
        "std::env::args",
        "use std::env;",
        "use std::{env",
        "io::stdout",
        "process::abort",
    ];
    for folder in [
        "crates/app/src",
        "crates/engine/src",
        "crates/inventory/src",
        "crates/netboot/src",
        "crates/openstack/src",
        "roles",
    ] {
        knows_nothing_of(folder, &process);
    }
    knows_nothing_of("crates/artifacts/src", &["println!", "print!", "process::exit", "std::env::var"]);
    knows_nothing_of("lab/src", &["println!", "print!", "process::exit"]);
    knows_nothing_of("crates/app/src", &["clap", "rpassword", "console::", "stdin("]);
}

#[test]
fn a_command_does_not_know_how_it_is_found() {
    knows_nothing_of("src/commands", &["crate::cli"]);
}

/// Every option and every command, as docs/cli.md has them.
fn command_line() -> (Vec<&'static str>, Vec<&'static str>) {
    let document = include_str!("../../docs/cli.md");
    let table = document.lines().filter(|line| line.starts_with('|'));
    let options = table.flat_map(options_in).collect();
    let commands = document.lines().filter_map(|line| line.strip_prefix("## muster "));
    (options, commands.map(|command| command.split(' ').next().unwrap_or(command)).collect())
}

/// `--limit`, `--lock-timeout`: the long options in a text.
fn options_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic)))
}

#[test]
fn the_engine_does_not_know_how_the_program_that_hosts_it_is_used() {
    let (options, commands) = command_line();
    assert!(options.contains(&"--reimaged") && options.contains(&"--lock-timeout"), "{options:?}");
    assert!(commands.contains(&"unlock") && commands.contains(&"bundle"), "{commands:?}");
    for_each_line("crates/engine/src", |place, line| {
        // What programs on machines are called with stands in files of their own.
        if place.contains(".sh:") {
            return;
        }
        let option = options_in(line).find(|option| options.contains(option));
        assert_eq!(option, None, "{place}: {line}");
        let mut after = line.split("muster ").skip(1);
        let named = after.find(|rest| commands.iter().any(|command| rest.starts_with(command)));
        assert_eq!(named, None, "{place}: {line}");
        assert!(!line.contains("setup-cluster"), "{place}: {line}");
    });
}
