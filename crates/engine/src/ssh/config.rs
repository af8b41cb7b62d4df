//! What the user's ssh_config(5) says of a machine, in the words of the one program that understands it: `ssh -G`.
//!
//! Starting it costs some milliseconds of a processor, which 500 machines would feel. So the files are looked through
//! first: for whether they hold anything that is followed here, and for their `Host` patterns, because machines that
//! match the same ones get the same answer.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::arguments::{Arguments, FOLLOWED, NO_CONFIG};
use super::known_hosts::matches;

/// The configuration that holds for all users, and the folder that its relative paths mean.
const SYSTEM: (&str, &str) = ("/etc/ssh/ssh_config", "/etc/ssh");
/// `Match exec` and `CanonicalizeHostname` may run programs and ask name servers.
const LIMIT: Duration = Duration::from_secs(30);
/// Files that include files that include files (`READCONF_MAX_DEPTH` of OpenSSH).
const DEEPEST: usize = 16;

/// The user's configuration of ssh.
pub struct SshConfig {
    /// ssh(1).
    program: PathBuf,
    home: Option<PathBuf>,
    /// The files that ssh reads unless told otherwise.
    usual: Arc<Outline>,
    /// Those of `-F`.
    others: Mutex<HashMap<PathBuf, Arc<Outline>>>,
    defaults: OnceLock<Result<Vec<Line>, NoAnswer>>,
    answers: Mutex<HashMap<Question, Slot>>,
    warnings: Mutex<Vec<String>>,
}

/// A keyword in small letters, and its value.
type Line = (String, String);
type Slot = Arc<OnceLock<Result<Arc<Answer>, NoAnswer>>>;

/// What makes two answers differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    file: Option<PathBuf>,
    user: Option<String>,
    port: Option<u16>,
    /// Which of the patterns the host matches; nothing where the answer is about this host alone.
    patterns: Vec<bool>,
    host: Option<String>,
}

#[derive(Debug)]
struct Answer {
    /// What is followed here and differs from ssh's defaults.
    lines: Vec<Line>,
    /// The host that was asked for, where its name is in it.
    personal: Option<String>,
}

/// Why ssh has not answered.
#[derive(Debug, Clone)]
enum NoAnswer {
    /// There is no ssh.
    Absent,
    Failed(String),
}

/// What can be seen in files without understanding them.
#[derive(Debug, Default)]
struct Outline {
    /// Something is in them that is followed here.
    matters: bool,
    /// What a host gets may depend on more than the patterns it matches.
    intricate: bool,
    patterns: Vec<String>,
}

impl SshConfig {
    /// That of the files ssh reads unasked: `.ssh/config` in the home directory and `/etc/ssh/ssh_config`.
    pub fn of_user(home: Option<&Path>) -> Self {
        let mut usual = Outline::default();
        if let Some(home) = home {
            usual.read(&home.join(".ssh/config"), &home.join(".ssh"), Some(home), 0);
        }
        usual.read(Path::new(SYSTEM.0), Path::new(SYSTEM.1), home, 0);
        Self::with(home, usual)
    }

    /// That of somebody who has no configuration, but a home directory.
    pub fn none(home: Option<&Path>) -> Self {
        Self::with(home, Outline::default())
    }

    fn with(home: Option<&Path>, usual: Outline) -> Self {
        Self {
            program: "ssh".into(),
            home: home.map(Path::to_owned),
            usual: Arc::new(usual),
            others: Mutex::default(),
            defaults: OnceLock::new(),
            answers: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    /// What stands for `~`.
    pub(super) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// Takes what the user should know: that there is a configuration and nothing to read it with.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.warnings))
    }

    /// Adds to what was said of a host what the configuration says of it. Blocks while ssh is asked.
    ///
    /// # Errors
    /// ssh does not accept its configuration; the message is its own.
    pub(super) fn complete(&self, host: &str, said: &mut Arguments) -> Result<(), String> {
        if said.config_file.as_deref() == Some(Path::new(NO_CONFIG)) {
            return Ok(());
        }
        let outline = self.outline(said.config_file.as_deref());
        if !outline.matters {
            return Ok(());
        }
        let shared = Question {
            file: said.config_file.clone(),
            user: said.user.clone(),
            port: said.port,
            patterns: outline.patterns.iter().map(|pattern| matches(pattern, &host.to_lowercase())).collect(),
            host: outline.intricate.then(|| host.to_owned()),
        };
        let answer = match self.answer(&shared, host) {
            Ok(answer) if answer.personal.as_ref().is_some_and(|name| name != host) => {
                self.answer(&Question { host: Some(host.to_owned()), ..shared }, host)
            }
            answer => answer,
        };
        match answer {
            Ok(answer) => {
                answer.lines.iter().try_for_each(|(key, value)| said.setting(key, value, self.home()))
            }
            Err(NoAnswer::Absent) => {
                let warning = "the configuration of ssh is not followed, because there is no ssh that could read it: \
                               install openssh-client";
                let mut warnings = locked(&self.warnings);
                if warnings.is_empty() {
                    warnings.push(warning.to_owned());
                }
                Ok(())
            }
            Err(NoAnswer::Failed(reason)) => Err(reason),
        }
    }

    fn outline(&self, file: Option<&Path>) -> Arc<Outline> {
        let Some(file) = file else { return Arc::clone(&self.usual) };
        let mut others = locked(&self.others);
        let outline = others.entry(file.to_owned()).or_insert_with(|| {
            let mut outline = Outline::default();
            let dir = self.home().map(|home| home.join(".ssh")).unwrap_or_default();
            outline.read(file, &dir, self.home(), 0);
            // One that is named and not there is ssh's to complain of.
            outline.matters |= !file.exists();
            Arc::new(outline)
        });
        Arc::clone(outline)
    }

    /// The answer to a question, asked for a host unless it was before.
    fn answer(&self, question: &Question, host: &str) -> Result<Arc<Answer>, NoAnswer> {
        let slot = Arc::clone(locked(&self.answers).entry(question.clone()).or_default());
        slot.get_or_init(|| self.ask(question, host).map(Arc::new)).clone()
    }

    fn ask(&self, question: &Question, host: &str) -> Result<Answer, NoAnswer> {
        let defaults = self.defaults.get_or_init(|| self.run(&["-F".into(), NO_CONFIG.into()], "host"));
        let defaults = defaults.as_ref().map_err(Clone::clone)?;
        let mut arguments: Vec<PathBuf> = Vec::new();
        let mut option = |letter: &str, value: Option<PathBuf>| {
            arguments.extend(value.into_iter().flat_map(|value| [PathBuf::from(letter), value]));
        };
        option("-F", question.file.clone());
        option("-l", question.user.as_ref().map(PathBuf::from));
        option("-p", question.port.map(|port| port.to_string().into()));
        let mut lines = self.run(&arguments, host)?;
        // Several lines of one keyword are one setting, so they differ from the defaults together or not at all.
        let all = |lines: &[Line], key: &str| -> Vec<String> {
            lines.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
        };
        let whole = lines.clone();
        lines.retain(|(key, value)| {
            let own_name = key == "hostname" && value.eq_ignore_ascii_case(host);
            // ssh takes us for another user than the environment does after `su`, say; its word counts.
            let said = key == "user" || all(&whole, key) != all(defaults, key);
            FOLLOWED.contains(&key.as_str()) && !own_name && said
        });
        let personal = lines.iter().any(|(_, value)| value.to_lowercase().contains(&host.to_lowercase()));
        Ok(Answer { lines, personal: personal.then(|| host.to_owned()) })
    }

    /// The lines that `ssh -G` prints.
    fn run(&self, arguments: &[PathBuf], host: &str) -> Result<Vec<Line>, NoAnswer> {
        let failed = |reason: String| NoAnswer::Failed(format!("ssh -G {host}: {reason}"));
        let spawned = Command::new(&self.program)
            .args(["-G", "-T"])
            .args(arguments)
            .args(["--", host])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(NoAnswer::Absent),
            Err(error) => return Err(failed(error.to_string())),
        };
        // What it prints fits into the pipes, so it can end before anybody reads.
        let begun = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(_)) => break,
                Ok(None) if begun.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(1)),
                Ok(None) => {
                    child.kill().and_then(|()| child.wait()).map_err(|error| failed(error.to_string()))?;
                    return Err(failed(format!(
                        "no answer within {} s; does a `Match exec` in its configuration hang?",
                        LIMIT.as_secs()
                    )));
                }
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        if !output.status.success() {
            let said: Vec<&str> = stderr.lines().filter(|line| !line.contains("terminating")).collect();
            return Err(failed(said.join("; ")));
        }
        let line = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(stdout.lines().filter_map(line).collect())
    }
}

impl Outline {
    /// Looks through a file, if it is there, and those it includes. Relative paths in it are below `dir`.
    fn read(&mut self, file: &Path, dir: &Path, home: Option<&Path>, depth: usize) {
        let Ok(bytes) = std::fs::read(file) else { return };
        for line in String::from_utf8_lossy(&bytes).lines().map(str::trim) {
            let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
            let (keyword, rest) =
                (line[..end].to_lowercase(), line[end..].trim_start_matches(['=', ' ', '\t']));
            let words = || rest.split_ascii_whitespace().map(|word| word.trim_matches('"'));
            match keyword.as_str() {
                // That every host matches makes no difference.
                "host" => self.patterns.extend(
                    words()
                        .map(|word| word.trim_start_matches('!').to_lowercase())
                        .filter(|word| word != "*"),
                ),
                "match" => self.intricate |= !rest.eq_ignore_ascii_case("all"),
                "canonicalizehostname" => (self.matters, self.intricate) = (true, true),
                "include" if depth < DEEPEST => {
                    words().for_each(|word| self.include(word, dir, home, depth + 1));
                }
                keyword => self.matters |= FOLLOWED.contains(&keyword),
            }
        }
    }

    fn include(&mut self, word: &str, dir: &Path, home: Option<&Path>, depth: usize) {
        let path = match (word.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => dir.join(word),
        };
        let wild = |text: &str| text.contains(['*', '?']);
        let (parent, name) =
            (path.parent(), path.file_name().map(|name| name.to_string_lossy().into_owned()));
        let (Some(parent), Some(name)) = (parent, name) else { return };
        if word.contains(['$', '%', '['])
            || word.starts_with('~') && home.is_none()
            || wild(&parent.to_string_lossy())
        {
            // More than we read: ssh decides.
            (self.matters, self.intricate) = (true, true);
        } else if wild(&name) {
            for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
                if matches(&name, &entry.file_name().to_string_lossy()) {
                    self.read(&entry.path(), dir, home, depth);
                }
            }
        } else {
            self.read(&path, dir, home, depth);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
