//! Programs for tests.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a program. By a process of its own: a file that this one has open for writing, even in a child just forked by
/// another test, cannot be executed (ETXTBSY, execve(2)).
pub fn write(path: &Path, text: &str) {
    let mut install = Command::new("install");
    let mut child =
        install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped()).spawn().expect("install");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("room in the pipe");
    assert!(child.wait().expect("an end").success());
}
