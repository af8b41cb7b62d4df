//! The model's shell beside real ones: the same scripts, the same answers, the same files.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use muster_testkit::model::disk::{Disk, Entry};
use muster_testkit::model::machine::{Kept, Machine, Nature, Start};
use muster_testkit::model::shell::Shell;
use muster_testkit::model::streams::{Fd, Wire};

/// Where scripts work, on the model; on this machine it is a folder of the test.
const FOLDER: &str = "/w";

const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];

/// A script's output, its status, and what is then below the folder.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    out: String,
    status: i32,
    files: BTreeMap<String, String>,
}

/// `None` where that shell is not on this machine.
fn in_a_real_shell(shell: &[&str], script: &str) -> Option<Seen> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg("-s").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    // One that ends early does not read to the end.
    let text = script.replace(FOLDER, path);
    child.stdin.take().unwrap().write_all(format!("umask 022\n{text}").as_bytes()).ok();
    let ended = child.wait_with_output().unwrap();
    let local = |text: &str| text.replace(path, FOLDER);
    let mut files = BTreeMap::new();
    collect(folder.path(), folder.path(), &mut files);
    files.values_mut().for_each(|text| *text = local(text));
    Some(Seen {
        out: local(&String::from_utf8_lossy(&ended.stdout)),
        status: ended.status.code().unwrap_or(-1),
        files,
    })
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let about = path.symlink_metadata().unwrap();
        let mode = about.permissions().mode() & 0o7777;
        let text = if about.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap().display())
        } else if about.is_dir() {
            collect(root, &path, files);
            format!("folder {mode:o}")
        } else {
            format!("file {mode:o} {:?}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
        };
        files.insert(name, text);
    }
}

fn on_a_model(script: &str) -> Seen {
    let secret = b"nothing that is in a script";
    let nature = Nature { units: &[], visible: BTreeMap::new(), secret, programs: None };
    let mut disk = Disk::default();
    disk.enter(FOLDER, Entry::Dir(0o755)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let machine = Machine::new("model", Kept { disk, ..Kept::default() }, Arc::new(nature));
        let wire = Arc::new(Wire::default());
        let mut shell = Shell::new(machine.clone(), machine.start(Start::default()));
        shell.fds.insert(1, Fd::Out(wire.clone()));
        shell.fds.insert(2, Fd::Err(wire.clone()));
        let status = shell.program(script).await.unwrap_or(-1);
        let state = machine.state();
        assert!(state.wrong.is_empty(), "{:?}\n{script}", state.wrong);
        let disk = &state.kept.disk;
        let text = |entry: &Entry| match entry {
            Entry::Dir(mode) => format!("folder {mode:o}"),
            Entry::Link(target) => format!("link to {target}"),
            Entry::File(number) => {
                let inode = disk.inode(*number);
                format!("file {:o} {:?}", inode.mode, String::from_utf8_lossy(&inode.content))
            }
        };
        let below = disk.all().filter_map(|(path, entry)| Some((path.strip_prefix("/w/")?, entry)));
        let files = below.map(|(path, entry)| (path.to_owned(), text(entry))).collect();
        let out = String::from_utf8_lossy(&wire.out.lock().unwrap()).into_owned();
        Seen { out, status, files }
    })
}

#[test]
fn the_model_answers_as_real_shells_do() {
    let (mut missing, mut differ) = (BTreeSet::new(), Vec::new());
    for script in include_str!("shells.txt").split("\n----\n") {
        let model = on_a_model(script);
        for shell in SHELLS {
            match in_a_real_shell(shell, script) {
                Some(real) if real == model => {}
                Some(real) => differ.push(format!("{script}\n{shell:?}: {real:?}\nthe model: {model:?}")),
                None => drop(missing.insert(shell[0])),
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n\n"));
    if !missing.is_empty() {
        eprintln!("not compared, because they are not here: {missing:?}");
    }
}
