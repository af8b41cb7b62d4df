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
