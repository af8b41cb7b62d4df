//! What is kept of a cluster that is watched, in `.muster` beside its inventory: what is remembered of the machines, each decision as a
//! line of JSON, why nothing is to be done, and who watches.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_app::Project;
use muster_files::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::environment::{Environment, shown};
use crate::error::CommandError;
use crate::reconcile::decide::{Cases, Decision, Step, Verdict};

/// At which size the decisions go into a second file, in place of those that are there.
const LARGE: u64 = 1 << 20;

/// What is remembered from one round to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// When the machines were looked at last, in seconds since 1970; never is 0.
    #[serde(default)]
    pub(crate) looked: u64,
    /// When it was last looked for what `setup-cluster` would change.
    #[serde(default)]
    pub(crate) looked_for_drift: u64,
    /// What was found then.
    #[serde(default)]
    pub(crate) drift: Vec<String>,
    /// What is wrong with the cluster's declaration; the cluster is kept as its inventory says meanwhile.
    #[serde(default)]
    pub(crate) declaration: Option<String>,
    /// The mark of the declaration that is to be applied, or was.
    #[serde(default)]
    pub(crate) mark: Option<String>,
    /// The machines, and the cluster as a whole.
    #[serde(default)]
    pub(crate) cases: Cases,
    /// How many steps of a kind there were: those that went well, and those that failed.
    #[serde(default)]
    pub(crate) steps: BTreeMap<String, (u64, u64)>,
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(crate) fn of(project: &Project) -> Self {
        Self { folder: project.inventory_dir.join(".muster") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What is remembered; nothing where nobody has looked yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn memory(&self) -> Result<Memory, CommandError> {
        let path = self.file("reconcile.json");
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Memory::default()),
            Err(error) => Err(failed("read", &path, &error)),
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                CommandError::failed(format!("{} cannot be understood: {error}", shown(&path)))
                    .hint("remove it: what was tried on machines is forgotten then")
            }),
        }
    }

    /// Keeps it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn keep(&self, memory: &Memory) -> Result<(), CommandError> {
        let path = self.file("reconcile.json");
        let text =
            serde_json::to_string_pretty(memory).map_err(|error| CommandError::failed(error.to_string()))?;
        self.write(&path, &text)
    }

    /// Writes down what was decided and what came of it, a line each.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn note(&self, lines: &[Value]) -> Result<(), CommandError> {
        let path = self.file("reconcile.jsonl");
        let write = || -> io::Result<()> {
            if fs::metadata(&path).is_ok_and(|file| file.len() > LARGE) {
                fs::rename(&path, path.with_extension("jsonl.1"))?;
            }
            let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
            file.write_all(lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes())
        };
        if lines.is_empty() { Ok(()) } else { write().map_err(|error| failed("write", &path, &error)) }
    }

    /// Why nothing is to be done, where somebody has said so.
    ///
    /// # Errors
    /// The file cannot be read: then nothing may be done, either.
    pub(crate) fn frozen(&self) -> Result<Option<String>, CommandError> {
        let path = self.file("frozen");
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => Ok(Some("no reason is given".to_owned())),
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    /// From now on nothing is done.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn freeze(&self, reason: &str) -> Result<(), CommandError> {
        self.write(&self.file("frozen"), &format!("{}\n", reason.trim()))
    }

    /// Things are done again. Returns the reason there was.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn thaw(&self) -> Result<Option<String>, CommandError> {
        let (path, reason) = (self.file("frozen"), self.frozen()?);
        if reason.is_some() {
            fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
        }
        Ok(reason)
    }

    /// Keeps other processes of this computer from watching the cluster, until what is returned is dropped or the process ends; or says
    /// who does already.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn lock(&self, who: &str) -> Result<Result<File, String>, CommandError> {
        let path = self.file("reconcile.lock");
        self.make().map_err(|error| failed("write", &path, &error))?;
        let lock = || -> io::Result<Result<File, String>> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            match file.try_lock() {
                Err(TryLockError::Error(error)) => Err(error),
                Err(TryLockError::WouldBlock) => {
                    let mut who = String::new();
                    file.read_to_string(&mut who)?;
                    Ok(Err(who.trim().to_owned()))
                }
                Ok(()) => {
                    file.set_len(0)?;
                    file.rewind()?;
                    writeln!(file, "{who}")?;
                    Ok(Ok(file))
                }
            }
        };
        lock().map_err(|error| failed("lock", &path, &error))
    }

    /// Who watches the cluster on this computer now.
    pub(crate) fn watcher(&self) -> Option<String> {
        let mut file = File::open(self.file("reconcile.lock")).ok()?;
        let is_held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        let mut who = String::new();
        file.read_to_string(&mut who).ok()?;
        is_held.then(|| who.trim().to_owned())
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), CommandError> {
        let written = self.make().and_then(|()| write_whole(path, Some(0o600), &mut text.as_bytes()));
        written.map_err(|error| failed("write", path, &error))
    }

    /// Makes the folder, of which nothing is meant to be committed.
    fn make(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let ignore = self.file(".gitignore");
        if ignore.exists() { Ok(()) } else { fs::write(ignore, "*\n") }
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> CommandError {
    CommandError::failed(format!("cannot {what} {}: {error}", shown(path)))
}

/// A decision as a line of JSON.
pub(crate) fn line(at: u64, decision: &Decision) -> Value {
    let next = match decision.verdict {
        Verdict::Wait(until) => until.map(time_of),
        _ => None,
    };
    json!({
        "time": time_of(at),
        "machine": decision.machine,
        "decision": decision.verdict.to_string(),
        "reason": decision.reason,
        "next": next,
    })
}

/// What came of a step, as a line of JSON.
pub(crate) fn outcome_line(at: u64, machine: &str, step: Step, outcome: &str) -> Value {
    json!({ "time": time_of(at), "machine": machine, "step": step, "outcome": outcome })
}

/// The seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time as RFC 3339 writes it, in UTC.
pub(crate) fn time_of(at: u64) -> String {
    let time = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(at);
    time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).unwrap_or_default()
}

/// Who watches a cluster from here: user, computer, and the folder of the inventory.
pub(crate) fn who(project: &Project, environment: &Environment) -> String {
    let computer = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let folder = std::path::absolute(&project.inventory_dir);
    let folder = folder.as_deref().unwrap_or(&project.inventory_dir);
    let who = format!("{}@{} in {}", environment.user(), computer.trim(), folder.display());
    who.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().join(".muster") };
        (folder, store)
    }

    #[test]
    fn a_cluster_is_frozen_until_it_is_thawed() {
        let (_folder, store) = store();
        assert_eq!(store.frozen().unwrap(), None);
        store.freeze(" exam until 14:00\n").unwrap();
        assert_eq!(store.frozen().unwrap().as_deref(), Some("exam until 14:00"));
        // By hand, with touch.
        fs::write(store.file("frozen"), "").unwrap();
        assert_eq!(store.frozen().unwrap().as_deref(), Some("no reason is given"));
        assert_eq!(store.thaw().unwrap().as_deref(), Some("no reason is given"));
        assert_eq!((store.thaw().unwrap(), store.frozen().unwrap()), (None, None));
    }

    #[test]
    fn the_second_one_is_told_who_watches_and_the_next_one_may() {
        let (_folder, store) = store();
        let first = store.lock("ada@desk (pid 7), for longer than the next one").unwrap().unwrap();
        assert_eq!(store.lock("bob").unwrap().unwrap_err(), "ada@desk (pid 7), for longer than the next one");
        assert_eq!(store.watcher().as_deref(), Some("ada@desk (pid 7), for longer than the next one"));
        drop(first);
        assert_eq!(store.watcher(), None);
        let _second = store.lock("bob").unwrap().unwrap();
        assert_eq!(store.lock("eve").unwrap().unwrap_err(), "bob");
    }

    #[test]
    fn what_is_remembered_is_read_back_and_decisions_are_lines_of_json() {
        let (_folder, store) = store();
        assert_eq!(store.memory().unwrap(), Memory::default());
        let memory = Memory { looked: 7, steps: [("power".to_owned(), (1, 2))].into(), ..Memory::default() };
        store.keep(&memory).unwrap();
        assert_eq!(store.memory().unwrap(), memory);
        let decision = |verdict| Decision { machine: "node2".into(), verdict, reason: "silent".into() };
        store.note(&[line(0, &decision(Verdict::Wait(Some(60))))]).unwrap();
        let at = 1_000_000_000;
        store
            .note(&[
                line(at, &decision(Verdict::Do(Step::Power))),
                outcome_line(at, "node2", Step::Power, "done"),
            ])
            .unwrap();
        let written = fs::read_to_string(store.file("reconcile.jsonl")).unwrap();
        let first = r#"{"time":"1970-01-01T00:00:00Z","machine":"node2","decision":"wait","reason":"silent","next":"1970-01-01T00:01:00Z"}"#;
        let second = r#"{"time":"2001-09-09T01:46:40Z","machine":"node2","decision":"power","reason":"silent","next":null}"#;
        let third = r#"{"time":"2001-09-09T01:46:40Z","machine":"node2","step":"power","outcome":"done"}"#;
        assert_eq!(written, format!("{first}\n{second}\n{third}\n"));
        fs::write(store.file("reconcile.json"), "{").unwrap();
        assert!(store.memory().unwrap_err().message.contains("reconcile.json cannot be understood"));
    }
}
