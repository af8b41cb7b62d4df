//! Documentation: what is made from the program is up to date, and what people wrote can be read and is true of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::{muster, setup_cluster};

#[test]
fn the_reference_of_the_command_line_is_that_of_this_program() {
    let printed = muster().run(&["docs", "cli"]).code(0).stdout;
    let written = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
    assert!(
        fs::read_to_string(written).unwrap_or_default() == printed,
        "docs/cli.md is not what the program says now: muster docs cli >docs/cli.md, and read the difference"
    );
}

#[test]
fn every_command_has_a_man_page() {
    let test = muster();
    test.run(&["docs", "man", "man/man1"]).code(0).stderr("wrote man pages into man/man1");
    let page = |name: &str| {
        let path = test.folder().join(format!("man/man1/{name}.1"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    assert!(page("muster-exec").starts_with(".ie"), "{}", page("muster-exec"));
    let help = test.run(&["--help"]).code(0).stdout;
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names =
        commands.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(
            page("muster").contains(&format!("muster\\-{}(1)", name.replace('-', "\\-"))),
            "{}",
            page("muster")
        );
        page(&format!("muster-{name}"));
    }
    assert!(page("setup-cluster").contains("SYNOPSIS"));
}

/// All sources of the program, one after the other.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.extension().and_then(|extension| extension.to_str()) {
            None if path.is_dir() => sources(&path),
            Some("rs" | "sh" | "yml") => fs::read_to_string(&path).unwrap(),
            _ => String::new(),
        })
        .collect()
}

#[test]
fn messages_that_are_explained_are_messages_of_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: String =
        ["src", "crates", "roles"].iter().map(|folder| sources(&root.join(folder))).collect();
    let page = fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let messages = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let messages: Vec<&str> = messages.collect();
    assert!(messages.len() > 20, "{messages:?}");
    for message in messages {
        assert!(sources.contains(message), "the program does not say {message:?} any more");
    }
}

/// The commands of muster that a page shows: lines of its blocks of code, and code within lines.
fn commands(page: &str) -> Vec<String> {
    let is_ours = |text: &&str| text.starts_with("muster ") || text.starts_with("setup-cluster");
    let page = page.replace("\\\n", " ");
    let mut found = Vec::new();
    for (number, block) in page.split("```").enumerate() {
        let lines = block.lines().map(|line| line.trim_start_matches("$ ").trim());
        if number % 2 == 1 {
            found.extend(lines.filter(is_ours).map(str::to_owned));
        } else {
            let code = lines.flat_map(|line| line.split('`').skip(1).step_by(2));
            found.extend(code.filter(is_ours).map(str::to_owned));
        }
    }
    found
}

#[test]
fn commands_that_pages_show_are_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let others = ["README.md", "inventory/README.md", "lab/README.md"].map(|page| root.join(page));
    // docs/cli.md shows forms of commands, not commands.
    let pages = pages.chain(others).filter(|path| !path.ends_with("cli.md"));
    let mut seen = 0;
    for path in pages {
        for shown in commands(&fs::read_to_string(&path).unwrap()) {
            let mut words = shlex::split(&shown).unwrap_or_else(|| panic!("{}: {shown}", path.display()));
            // A comment, a redirection, or a command for somebody else: all of its own comes before.
            let end =
                words.iter().position(|word| word.starts_with(['#', '>']) || word == "--" || word == "...");
            words.truncate(end.unwrap_or(words.len()));
            // kubectl and helm understand what follows, and have their own help.
            if words.iter().any(|word| ["kubectl", "helm"].contains(&word.as_str())) {
                continue;
            }
            let program = if words.remove(0) == "muster" { muster() } else { setup_cluster() };
            let words: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
            let ended = program.run(&words);
            assert!(ended.stdout.contains("Usage:"), "{}: {shown}\n{}", path.display(), ended.stderr);
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

/// Every page in Markdown below a folder.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match path.extension().and_then(|extension| extension.to_str()) {
                None if path.is_dir() && !path.is_symlink() && !name.starts_with('.') && name != "target" => {
                    pages(&path)
                }
                Some("md") => vec![path],
                _ => Vec::new(),
            }
        })
        .collect()
}

#[test]
fn pages_can_be_read_in_a_terminal() {
    const WIDEST: usize = 119;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = pages(root);
    assert!(pages.len() > 10, "{pages:?}");
    // docs/cli.md has the paragraphs of --help, each in one line. A row of a table cannot be broken.
    for path in pages.iter().filter(|path| !path.ends_with("docs/cli.md")) {
        let text = fs::read_to_string(path).unwrap();
        let wide = text.lines().enumerate().filter(|(_, line)| !line.starts_with('|'));
        for (number, line) in wide {
            let width = line.chars().count();
            assert!(width <= WIDEST, "{}:{}: {width} columns: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    for path in pages(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        let text = fs::read_to_string(&path).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = path.parent().unwrap().join(target.split('#').next().unwrap_or_default());
            assert!(file.exists(), "{}: {target} is not there", path.display());
        }
    }
}
