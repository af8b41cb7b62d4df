//! The model beside real shells: what the engine sends to a model machine is also run here, in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use muster_engine::lock::LockRequest;
use muster_engine::transport::{Exec, Exit, Program, Transport, TransportError};
use muster_testkit::model::disk::Entry;
use tokio::io::AsyncReadExt;

use crate::roles;
use crate::simulated;
use crate::simulation::{World, run};
use crate::wire::{Controller, Line};

/// What of a machine is in the folder instead.
const ROOTS: [&str; 2] = ["/srv/", "/var/lib/muster"];

/// A connection to a model machine that compares its answers with those of a real shell.
struct Beside {
    line: Line,
    shell: &'static [&'static str],
    folder: PathBuf,
    differences: Arc<Mutex<Vec<String>>>,
}

impl Beside {
    async fn compared(&self, exec: Exec) -> Result<Exit, TransportError> {
        let (program, text, bytes) = match exec.program {
            Program::Text(text) => (Program::Text(text.clone()), text, Vec::new()),
            Program::Reader { line, mut input } => {
                let mut bytes = Vec::new();
                input.read_to_end(&mut bytes).await.unwrap();
                let again = Box::new(std::io::Cursor::new(bytes.clone()));
                (Program::Reader { line: line.clone(), input: again }, line, bytes)
            }
        };
        let is_line = matches!(program, Program::Reader { .. });
        let model = self.line.exec(Exec { program, ..exec }).await?;
        let real = self.really(is_line, &text, bytes);
        // Machines differ in what they are.
        let facts = text.contains("/proc/sys/kernel/osrelease");
        let said = |exit: &Exit| if facts { String::new() } else { self.normal(&exit.stdout) };
        if model.status != real.status || said(&model) != said(&real) {
            let of =
                |exit: &Exit| format!("{} {:?} {:?}", exit.status, said(exit), self.normal(&exit.stderr));
            let (model, real) = (of(&model), of(&real));
            let text = format!("the model: {model}\n{:?}: {real}\n{text}", self.shell);
            self.differences.lock().unwrap().push(text);
        }
        Ok(model)
    }

    fn really(&self, is_line: bool, text: &str, bytes: Vec<u8>) -> Exit {
        let folder = self.folder.to_str().unwrap();
        let text =
            ROOTS.iter().fold(text.to_owned(), |text, root| text.replace(root, &format!("{folder}{root}")));
        let mut command = Command::new(self.shell[0]);
        command.args(&self.shell[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = if is_line {
            command.args(["-c", &text]);
            bytes
        } else {
            command.arg("-s");
            text.into_bytes()
        };
        let mut child = command.spawn().unwrap();
        // A program that ends early does not read to the end.
        child.stdin.take().unwrap().write_all(&input).ok();
        let out = child.wait_with_output().unwrap();
        Exit { status: out.status.code().unwrap_or(-1), stdout: out.stdout, stderr: out.stderr }
    }

    /// Without what no two machines have in common: times, inodes, processes, and lengths of texts that name the folder.
    fn normal(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace(self.folder.to_str().unwrap(), "");
        let number = |word: &str| word.len() > 4 && word.bytes().all(|b| b.is_ascii_digit());
        let line = |line: &str| {
            // The last word of a frame's header is its length.
            let line =
                if line.starts_with('\u{1e}') { line.rsplit_once(' ').map_or("", |(l, _)| l) } else { line };
            // File systems have their own opinion on the sizes of folders.
            let most = if line.starts_with("Sdirectory|") { 4 } else { usize::MAX };
            let words = line.split(|c: char| !c.is_ascii_alphanumeric()).take(most);
            words.map(|word| if number(word) { "N" } else { word }).collect::<Vec<_>>().join(" ")
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Transport for Beside {
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Exit, TransportError>> {
        Box::pin(self.compared(exec))
    }
}

fn files(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("/{}", path.strip_prefix(root).unwrap().display());
        let about = path.symlink_metadata().unwrap();
        let mode = about.permissions().mode() & 0o7777;
        let text = if about.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap().display())
        } else if about.is_dir() {
            files(root, &path, found);
            format!("folder {mode:o}")
        } else {
            format!("file {mode:o} {:?}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
        };
        found.insert(name, text);
    }
}

#[test]
fn what_the_engine_sends_does_the_same_on_a_model_and_in_real_shells() {
    for shell in [&["dash"] as &'static [&'static str], &["busybox", "sh"]] {
        if Command::new(shell[0]).arg("--help").output().is_err() {
            eprintln!("not compared, because it is not here: {}", shell[0]);
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("srv")).unwrap();
        fs::write(folder.path().join("srv/hosts"), "a line\n").unwrap();
        fs::create_dir_all(folder.path().join("var/lib")).unwrap();
        let differences = Arc::new(Mutex::new(Vec::new()));
        let world = simulated(async {
            let mut blank = roles::blank();
            let hosts = blank.disk.open("/srv/hosts", 0o644, 1_000_000).unwrap();
            blank.disk.change(hosts).content = b"a line\n".to_vec();
            let world = World::new(vec![blank], None);
            // The first version, the second over it, and once more with nothing to do.
            for (number, version) in [(1, 1), (2, 2), (3, 2)] {
                let controller = Arc::new(Controller::new(number, 0));
                let request = LockRequest::new("me", "a test", "process 1", Arc::new(|_| true));
                let connect = |number: usize| {
                    let line = Line::new(controller.clone(), world.machines[number].clone(), number);
                    let (folder, differences) = (folder.path().to_owned(), differences.clone());
                    Arc::new(Beside { line, shell, folder, differences }) as Arc<dyn Transport>
                };
                let ran = run("folder", 1, version, request, &connect).await;
                // Its last step always fails.
                let failure = format!("{:?}", ran.outcome["m0"].failure);
                assert!(failure.contains("other words"), "{failure}\n{:?}", differences.lock().unwrap());
                assert_eq!(ran.changes.is_empty(), number == 3, "{:?}", ran.changes);
            }
            world
        });
        let differences = std::mem::take(&mut *differences.lock().unwrap());
        assert!(differences.is_empty(), "{}", differences.join("\n\n"));
        assert_eq!(world.wrong(), Vec::<String>::new());
        let mut real = BTreeMap::new();
        files(folder.path(), &folder.path().join("srv"), &mut real);
        let kept = world.kept().remove(0);
        let text = |entry: &Entry| match entry {
            Entry::Dir(mode) => format!("folder {mode:o}"),
            Entry::Link(target) => format!("link to {target}"),
            Entry::File(number) => {
                let inode = kept.disk.inode(*number);
                format!("file {:o} {:?}", inode.mode, String::from_utf8_lossy(&inode.content))
            }
        };
        let below = kept.disk.all().filter(|(path, _)| path.starts_with("/srv/"));
        let model: BTreeMap<_, _> = below.map(|(path, entry)| (path.to_owned(), text(entry))).collect();
        assert_eq!(model, real, "the model is on the left, {shell:?} on the right");
    }
}
