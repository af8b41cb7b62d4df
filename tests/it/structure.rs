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
    let paths = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    assert!(paths.len() > 10, "{folder}: {paths:?}");
    for path in paths {
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
        for (number, line) in code.enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let word = words.iter().find(|word| line.contains(*word));
            assert_eq!(word, None, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn the_engine_knows_no_kubernetes_and_roles_know_no_connections() {
    knows_nothing_of("crates/engine/src", &["kube", "etcd", "flannel", "containerd"]);
    knows_nothing_of("crates/inventory/src", &["kubelet", "kubeadm", "etcd", "flannel", "muster_engine"]);
    knows_nothing_of("roles", &["muster_engine::ssh", "russh"]);
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
