//! Sources of Go modules, which hold manifests of upstream.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Where the sources of a Go module are (`PATH@vVERSION`); `None` where there is no Go, or no way to its module proxy.
pub fn sources(module: &str) -> Option<PathBuf> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("go.mod"), "module muster.local/test\n").unwrap();
    let mut go = Command::new("go");
    let out = go.args(["mod", "download", "-json", module]).current_dir(folder.path()).output().ok()?;
    let told: serde_json::Value = serde_json::from_slice(&out.stdout).ok()?;
    Some(PathBuf::from(told["Dir"].as_str()?))
}
