//! Records of runs: what happened, as JSON lines (docs/events.md), one file a run, beside the inventory.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use muster_engine::event::Event;
use muster_engine::event_json::{self, Words};
use muster_engine::script::quote;
use muster_inventory::closest;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::error::Error;
use crate::frontend::{Frontend, News};
use crate::project::Project;

/// How many are kept.
const KEPT: usize = 50;

/// What the last one is called in place of its id.
pub const LAST: &str = "last";

/// How their names end.
const ENDING: &str = ".jsonl";

/// The records of a project, which may be none.
pub struct Records {
    dir: PathBuf,
    /// What the runs of this very inventory say they were about: others may lie in the same folder.
    inventory: Vec<String>,
}

/// A run as it was recorded.
pub struct Recorded {
    /// Its name.
    pub id: String,
    /// Its lines that could be read. The last one of a run that was killed may be half a line.
    pub lines: Vec<Value>,
    /// Whether whoever writes it is still at work.
    pub under_way: bool,
}

impl Records {
    /// Those of the runs of a project.
    pub fn of(project: &Project) -> Self {
        Self { dir: project.inventory_dir.join(".muster/runs"), inventory: project.identity() }
    }

    /// The ids of all of them, the oldest first.
    pub fn ids(&self) -> Vec<String> {
        // Where there is no folder there was no run.
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(ENDING).map(str::to_owned))
            .collect();
        ids.sort();
        ids
    }

    /// Reads one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, id: &str) -> Result<Recorded, Error> {
        self.read_lines(id, |lines| lines.collect())
    }

    /// Reads the first line of one and the last: what was typed, and how it ended.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_ends(&self, id: &str) -> Result<Recorded, Error> {
        self.read_lines(id, |mut lines| lines.next().into_iter().chain(lines.next_back()).collect())
    }

    fn read_lines(
        &self,
        id: &str,
        choose: impl FnOnce(std::str::Lines<'_>) -> Vec<&str>,
    ) -> Result<Recorded, Error> {
        let path = self.path(id);
        let failed = |error: io::Error| Error::failed(format!("cannot read {}: {error}", path.display()));
        let file = File::open(&path).map_err(failed)?;
        let under_way = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        let bytes = io::read_to_string(file).map_err(failed)?;
        let lines =
            choose(bytes.lines()).into_iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Recorded { id: id.to_owned(), lines, under_way })
    }

    /// The last run of this inventory.
    ///
    /// # Errors
    /// There is none.
    pub fn last(&self) -> Result<String, Error> {
        self.newest(|_| true)
    }

    /// The last run of this inventory of those that count.
    fn newest(&self, counts: impl Fn(&Recorded) -> bool) -> Result<String, Error> {
        let of_this = |id: &&String| {
            let recorded = self.read_ends(id).ok();
            recorded.is_some_and(|run| run.heading()["inventory"] == json!(self.inventory) && counts(&run))
        };
        self.ids().iter().rev().find(of_this).cloned().ok_or_else(|| {
            Error::usage(format!("there is no record of a run in {}", self.dir.display()))
                .hint("records are written by setup-cluster, muster preflight and muster verify")
        })
    }

    /// The hosts that failed in the last run, or could not be reached. A run that only showed what it would do does not count: who
    /// looks with `--check` at what is left to do goes on with it afterwards.
    ///
    /// # Errors
    /// There is no last run, or none failed in it.
    pub fn failed_hosts(&self) -> Result<Vec<String>, Error> {
        let last = self.newest(|run| !run.only_looked());
        let run =
            self.read(&last.map_err(|error| error.hint("plans and runs with --check do not count"))?)?;
        let failed: Vec<String> = run.failed().into_iter().map(str::to_owned).collect();
        if !failed.is_empty() {
            return Ok(failed);
        }
        let id = &run.id;
        Err(match run.recap() {
            Some(_) => Error::usage(format!("no host failed in the last run ({id})"))
                .hint("see the runs there were: muster runs"),
            None => Error::usage(format!("no host had failed when the last run ({id}) was cut off"))
                .hint("the same command without @failed goes on from there"),
        })
    }

    /// The run that a user means by an id or by `last`.
    ///
    /// # Errors
    /// There is no such run.
    pub fn find(&self, wanted: &str) -> Result<String, Error> {
        if wanted == LAST {
            return self.last();
        }
        let ids = self.ids();
        if ids.iter().any(|id| id == wanted) {
            return Ok(wanted.to_owned());
        }
        let error = Error::usage(format!("there is no run {wanted:?}"));
        Err(match closest(wanted, ids.iter().map(String::as_str)) {
            Some(id) => error.hint(format!("did you mean {id}?")),
            None => error.hint("see the runs there were: muster runs; the last one: muster log last"),
        })
    }

    /// Where one lies.
    pub fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}{ENDING}"))
    }

    /// Makes the file of a new one, which is locked as long as it is open, and removes the oldest ones.
    fn create(&self) -> io::Result<File> {
        if let Some(inventory_dir) = self.dir.ancestors().nth(2) {
            fs::create_dir_all(inventory_dir)?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        // They name machines and show differences: nobody means to commit them.
        let ignore = self.dir.with_file_name(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n")?;
        }
        let now = OffsetDateTime::now_utc();
        let (date, time) = (now.date(), now.time());
        let id = format!(
            "{:04}{:02}{:02}-{:02}{:02}{:02}",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(self.path(&id));
        // Several within a second are told apart by a letter, which keeps them in order.
        for letter in 'b'..='z' {
            if !matches!(&file, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
                break;
            }
            file = options.open(self.path(&format!("{id}{letter}")));
        }
        let file = file?;
        // A file system that knows no locks shows a run as cut off while it is under way, and nothing worse.
        file.try_lock().ok();
        let ids = self.ids();
        for old in &ids[..ids.len().saturating_sub(KEPT)] {
            fs::remove_file(self.path(old)).ok();
        }
        Ok(file)
    }
}

impl Recorded {
    /// The first line: what was typed, when, on which hosts.
    pub fn heading(&self) -> &Value {
        self.lines.first().unwrap_or(&Value::Null)
    }

    /// The last line of a run that came to its end.
    pub fn recap(&self) -> Option<&Value> {
        self.lines.last().filter(|line| line["event"] == "recap")
    }

    /// Whether it only showed what it would do; or was given up before it began, because a plan did not fit, or nobody agreed.
    fn only_looked(&self) -> bool {
        let is_given_up = |recap: &Value| {
            let all_are_well =
                |hosts: &serde_json::Map<String, Value>| hosts.values().all(|host| host["failure"].is_null());
            recap["exit_code"] != 0 && recap["hosts"].as_object().is_some_and(all_are_well)
        };
        self.heading()["check"] == true || self.recap().is_some_and(is_given_up)
    }

    /// The hosts that failed or could not be reached. Those that were stopped because of others did neither.
    pub fn failed(&self) -> Vec<&str> {
        let is_failure = |failure: &Value| failure.is_object() && failure["stopped"] != true;
        if let Some(hosts) = self.recap().and_then(|recap| recap["hosts"].as_object()) {
            return hosts
                .iter()
                .filter(|(_, host)| is_failure(&host["failure"]))
                .map(|(name, _)| name.as_str())
                .collect();
        }
        let failed =
            self.lines.iter().filter(|line| line["event"] == "host_failed" && is_failure(&line["failure"]));
        failed.filter_map(|line| line["host"].as_str()).collect()
    }
}

/// Writes the record of a run. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Mutex<Writing>>);

struct Writing {
    file: File,
    path: PathBuf,
    frontend: Arc<dyn Frontend>,
    words: Words,
    broken: bool,
    /// When the run began that is under way.
    begun: Instant,
    /// What each host waits for.
    waits: HashMap<String, String>,
}

impl Recorder {
    /// Begins a record with what was typed, `command`, and `fields` that say more about the run. `words` puts advice into
    /// words. A run goes on without a record where none can be written, which is told.
    pub fn begin(
        project: &Project,
        command: &str,
        fields: Value,
        words: Words,
        frontend: &Arc<dyn Frontend>,
    ) -> Option<Self> {
        let records = Records::of(project);
        let file = match records.create() {
            Ok(file) => file,
            Err(error) => {
                tell(&**frontend, &records.dir, &error);
                return None;
            }
        };
        let recorder = Self(Arc::new(Mutex::new(Writing {
            file,
            path: records.dir,
            frontend: Arc::clone(frontend),
            words,
            broken: false,
            begun: Instant::now(),
            waits: HashMap::new(),
        })));
        let now = OffsetDateTime::now_utc();
        let mut heading = json!({
            "event": "command",
            "command": command,
            "muster": env!("CARGO_PKG_VERSION"),
            "time": format!(
                "{}T{:02}:{:02}:{:02}Z", now.date(), now.hour(), now.minute(), now.second()
            ),
            "inventory": records.inventory,
        });
        if let (Some(heading), Value::Object(fields)) = (heading.as_object_mut(), fields) {
            heading.extend(fields);
        }
        recorder.write(&event_json::line(Duration::ZERO, heading));
        Some(recorder)
    }

    /// Writes a line, at once: a run that is killed leaves everything that has happened.
    pub fn write(&self, line: &Value) {
        self.writing().write(line);
    }

    /// Writes down what happened.
    pub fn event(&self, event: &Event) {
        let mut writing = self.writing();
        if matches!(event, Event::RunStarted { .. }) {
            writing.begun = Instant::now();
        }
        if writing.wants(event) {
            let line = event_json::write(event, writing.begun.elapsed(), writing.words);
            writing.write(&line);
        }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    fn write(&mut self, line: &Value) {
        if self.broken {
            return;
        }
        if let Err(error) = self.file.write_all(format!("{line}\n").as_bytes()) {
            self.broken = true;
            tell(&*self.frontend, &self.path, &error);
        }
    }

    /// Whether an event is of interest later. How far something is, is not; of waiting, which is told again and again, that
    /// it began.
    fn wants(&mut self, event: &Event) -> bool {
        match event {
            Event::Transfer { .. } => false,
            Event::Waiting { host, what, .. } => {
                self.waits.insert(host.clone(), what.clone()).as_ref() != Some(what)
            }
            Event::RoleStarted { host, .. }
            | Event::RoleEnded { host, .. }
            | Event::StepStarted { host, .. }
            | Event::StepEnded { host, .. } => {
                self.waits.remove(host);
                true
            }
            _ => true,
        }
    }
}

fn tell(frontend: &dyn Frontend, path: &Path, error: &io::Error) {
    frontend.tell(News::Warning(&format!("this run is not recorded: {}: {error}", path.display())));
}

/// The command as it was typed, without the values of variables, which may be secrets: `-e` takes them in many forms, so
/// what clap made out of it, `extra_vars`, is looked for in the words.
pub fn typed(words: impl Iterator<Item = OsString>, extra_vars: &[String]) -> String {
    let word = |(at, word): (usize, OsString)| {
        let word = word.to_string_lossy().into_owned();
        if at == 0 {
            let name = Path::new(&word).file_name().map(|name| name.to_string_lossy().into_owned());
            return quote(&name.unwrap_or(word));
        }
        let value =
            extra_vars.iter().filter(|value| word.ends_with(value.as_str())).max_by_key(|value| value.len());
        match value {
            Some(value) => quote(&format!("{}{}", &word[..word.len() - value.len()], names_only(value))),
            None => quote(&word),
        }
    };
    words.enumerate().map(word).collect::<Vec<_>>().join(" ")
}

/// An argument of `-e` with the names of its variables only.
pub(crate) fn names_only(argument: &str) -> String {
    if argument.starts_with('@') {
        return argument.to_owned();
    }
    // What is quoted or nested is not taken apart.
    if argument.contains(['\'', '"', '\\', '{', '[']) {
        return "...".to_owned();
    }
    let name = |word: &str| word.split_once('=').map_or("...".to_owned(), |(name, _)| format!("{name}=..."));
    argument.split_whitespace().map(name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use muster_engine::advice::Advice;

    use super::*;
    use crate::frontend::Nobody;

    #[test]
    fn the_command_is_kept_without_the_values_of_variables() {
        let typed = |words: &str, extra: &[&str]| {
            let extra: Vec<String> = extra.iter().map(ToString::to_string).collect();
            super::typed(words.split(' ').map(OsString::from), &extra)
        };
        assert_eq!(typed("/usr/bin/setup-cluster -K --limit a,b", &[]), "setup-cluster -K --limit a,b");
        assert_eq!(typed("muster verify -e x=hunter2", &["x=hunter2"]), "muster verify -e x=...");
        assert_eq!(
            typed("m -Kex=hunter2 --extra-vars=y=1 -e @f.yml", &["x=hunter2", "y=1", "@f.yml"]),
            "m -Kex=... --extra-vars=y=... -e @f.yml"
        );
        for (argument, names) in [
            ("a=1 b=hunter2", "a=... b=..."),
            ("a='x hunter2=1'", "..."),
            ("{\"a\": \"hunter2\"}", "..."),
            ("hunter2", "..."),
            ("@secrets.yml", "@secrets.yml"),
        ] {
            assert_eq!(names_only(argument), names);
        }
    }

    fn project(root: &Path) -> Project {
        Project::at(root)
    }

    #[test]
    fn the_last_fifty_are_kept_each_under_a_name_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let records = Records::of(&project(root.path()));
        let mut made = Vec::new();
        for _ in 0..3 {
            drop(records.create().unwrap());
            made = records.ids();
        }
        assert_eq!(made.len(), 3, "within one second: {made:?}");
        for number in 0..60 {
            fs::write(records.path(&format!("20200101-0000{number:02}")), "").unwrap();
        }
        drop(records.create().unwrap());
        let ids = records.ids();
        assert_eq!(ids.len(), KEPT);
        assert!(made.iter().all(|id| ids.contains(id)), "the oldest go: {ids:?}");
    }

    #[test]
    fn waiting_is_recorded_once_and_how_far_a_file_is_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let frontend: Arc<dyn Frontend> = Arc::new(Nobody);
        let words = |_: &Advice| String::new();
        let recorder = Recorder::begin(&project(root.path()), "x", json!({}), words, &frontend).unwrap();
        let wait = |what: &str, seconds| Event::Waiting {
            host: "a".into(),
            what: what.into(),
            elapsed: Duration::from_secs(seconds),
        };
        let step = Event::StepStarted { host: "a".into(), role: "r".into(), step: "s".into() };
        let transfer = Event::Transfer { host: "a".into(), name: "f".into(), sent: 1, total: 2 };
        let events = [wait("b", 1), wait("b", 2), transfer, wait("c", 1), step, wait("c", 1)];
        let wanted: Vec<bool> = events.iter().map(|event| recorder.writing().wants(event)).collect();
        assert_eq!(wanted, [true, false, false, true, true, true]);
    }

    #[test]
    fn a_run_that_did_nothing_does_not_count_as_one_in_which_hosts_failed() {
        let only_looked = |check: bool, exit_code: u8, failure: Value| {
            let heading = json!({ "event": "command", "check": check });
            let hosts = json!({ "a": { "failure": failure } });
            let recap = json!({ "event": "recap", "hosts": hosts, "exit_code": exit_code });
            Recorded { id: String::new(), lines: vec![heading, recap], under_way: false }.only_looked()
        };
        let off = || json!({ "message": "it is off" });
        assert!(only_looked(true, 4, off()) && only_looked(false, 6, Value::Null));
        assert!(!only_looked(false, 4, off()) && !only_looked(false, 0, Value::Null));
    }

    #[test]
    fn a_record_that_nobody_writes_any_more_is_not_under_way() {
        let root = tempfile::tempdir().unwrap();
        let records = Records::of(&project(root.path()));
        let mut file = records.create().unwrap();
        file.write_all(b"{\"event\":\"command\"}\n{\"event\":\"run_sta").unwrap();
        let id = records.ids().remove(0);
        assert!(records.read(&id).unwrap().under_way);
        drop(file);
        let run = records.read(&id).unwrap();
        assert!(!run.under_way);
        assert_eq!((run.lines.len(), run.recap()), (1, None), "half a line does not count");
    }
}
