//! Programs of this computer that are run before or after a play, once for all hosts: by whichever of them comes first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{self, UnboundedSender};

use crate::event::Event;
use crate::failure::{Failure, Result};
use crate::host::Host;

/// How many of the last lines of its output are kept for a failure.
const LINES: usize = 30;

/// How long is waited for one that is to end, and is killed after some seconds.
const GRACE: Duration = Duration::from_secs(7);

/// For how long is listened, when it has ended, to what it has begun.
const REST: Duration = Duration::from_millis(500);

/// How the step is called.
const STEP: &str = "on this side";

/// A program of this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What it is called where it is told of.
    pub name: String,
    /// Where it is.
    pub program: PathBuf,
    /// In which folder it runs.
    pub folder: PathBuf,
    /// All variables of its environment but those of `files`.
    pub environment: BTreeMap<String, String>,
    /// Variables that name files. Each is set where its file is there when the program begins.
    pub files: BTreeMap<String, PathBuf>,
    /// The variable that says which hosts have not come as far, separated by commas.
    pub missing: String,
    /// How long it may take.
    pub limit: Duration,
}

impl Hook {
    /// Runs it, as a step of a host. `missing`: which hosts have not come as far.
    ///
    /// # Errors
    /// It cannot be run, fails, takes too long, or the run was interrupted: then it is ended, with all that it has begun.
    pub(crate) async fn run(&self, host: &Host, missing: &[String]) -> Result<()> {
        host.enter_step(STEP);
        let begun = Instant::now();
        let files = self.files.iter().filter(|(_, path)| path.is_file());
        let child = Command::new(&self.program)
            .current_dir(&self.folder)
            .env_clear()
            .envs(&self.environment)
            .envs(files)
            .env(&self.missing, missing.join(","))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // All that it begins can be ended with it, and Ctrl-C reaches this program first.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(|error| {
            Failure::new(
                format!("{} cannot be run: {error}", self.name),
                "a script names what runs it in its first line: #!/bin/sh",
            )
        })?;
        let (sender, mut lines) = mpsc::unbounded_channel();
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            tokio::spawn(read(stdout, sender.clone()));
            tokio::spawn(read(stderr, sender));
        }
        let (on_line, mut said) = (host.on_line(), Vec::new());
        let mut hear = |line: String| {
            on_line(&line);
            if said.len() == LINES {
                said.remove(0);
            }
            said.push(line);
        };
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        let mut told = 0;
        let status = loop {
            tokio::select! {
                Some(line) = lines.recv() => hear(line),
                status = child.wait() => break Ok(status),
                _ = tick.tick() => {
                    let elapsed = begun.elapsed();
                    if let Err(interrupted) = host.may_go_on() {
                        break Err(interrupted);
                    }
                    if elapsed >= self.limit {
                        let seconds = self.limit.as_secs();
                        let why = format!("{} was ended, because it took longer than {seconds} seconds", self.name);
                        break Err(Failure::new(why, REMEDY));
                    }
                    // Nothing is silent for long.
                    if elapsed.as_secs() > told {
                        told = elapsed.as_secs();
                        host.send(Event::Waiting { host: host.name().to_owned(), what: self.name.clone(), elapsed });
                    }
                }
            }
        };
        if status.is_err() {
            end(&mut child).await;
        }
        // What it has begun may go on, and holds the pipes then.
        let until = tokio::time::Instant::now() + REST;
        while let Ok(Some(line)) = tokio::time::timeout_at(until, lines.recv()).await {
            hear(line);
        }
        let tail = said.join("\n");
        match status {
            Ok(Ok(status)) if status.success() => {
                host.leave_step_of_one(STEP, 0, begun.elapsed());
                Ok(())
            }
            Ok(Ok(status)) => {
                let message = format!("{} ended with {status}", self.name);
                Err(Failure::Other { message, remedy: REMEDY.into(), tail })
            }
            Ok(Err(error)) => Err(Failure::new(format!("{}: {error}", self.name), "")),
            Err(Failure::Other { message, remedy, .. }) => Err(Failure::Other { message, remedy, tail }),
            Err(failure) => Err(failure),
        }
    }
}

const REMEDY: &str = "correct it, or take it out of its folder";

/// Tells the lines of a pipe.
async fn read(pipe: impl AsyncRead + Unpin, lines: UnboundedSender<String>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if lines.send(text).is_err() {
            return;
        }
        line.clear();
    }
}

/// Ends a program with all that it has begun: its process group. What has not ended by itself after some seconds is killed. The
/// shell's own kill does it, because not every computer has kill(1).
async fn end(child: &mut Child) {
    const END: &str = r#"
kill -TERM "-$1" || exit 0
left=50
while kill -0 "-$1" && [ "$left" -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
kill -KILL "-$1""#;
    let Some(id) = child.id() else { return };
    let arguments = ["-c", END, "sh", &id.to_string()];
    let mut shell = Command::new("/bin/sh");
    let others = shell.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).status();
    // Its own status has to be taken, or it counts as one that is left.
    tokio::join!(others, tokio::time::timeout(GRACE, child.wait())).0.ok();
}
