//! The container engine's daemon, started where it does not run.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::docker::Engine;
use crate::error::{Error, file_error};
use crate::program::{self, command};
use crate::progress::Step;
use crate::waiting::Wait;

/// A daemon that has no containers to restore starts in 1 to 3 s.
const START_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Finds the engine, and starts its daemon if it does not run.
pub(super) fn ensure(cache: &Path, step: Step<'_>) -> Result<Engine, Error> {
    match Engine::connect() {
        Err(Error::EngineDown { .. }) => {}
        other => return other,
    }
    let log = if Path::new("/run/systemd/system").exists() {
        step.say("starting the container engine: systemctl start docker");
        let start = command("systemctl", ["start", "docker"]);
        program::output("systemctl start docker", start, START_LIMIT)?;
        None
    } else {
        Some(spawn(cache, step)?)
    };
    let mut refusal = String::new();
    let attempt = |wait: &mut Wait| match Engine::connect() {
        Err(Error::EngineDown { detail }) => {
            refusal = detail;
            let seconds = wait.elapsed().as_secs();
            step.say(&format!("waiting for the container engine, {seconds} s"));
            Ok(None)
        }
        other => other.map(Some),
    };
    if let Some(engine) = Wait::new(START_LIMIT, PAUSE).until(attempt)? {
        return Ok(engine);
    }
    let tail = log.as_ref().and_then(|log| std::fs::read_to_string(log).ok());
    Err(Error::EngineNotStarted {
        limit: START_LIMIT,
        log: log.map_or("`journalctl -u docker`".to_owned(), |log| log.display().to_string()),
        tail: tail.map_or(refusal, |text| program::tail(&text)),
    })
}

/// Starts the daemon on a host without systemd, in a session of its own, so that it outlives us and the terminal.
fn spawn(cache: &Path, step: Step<'_>) -> Result<PathBuf, Error> {
    let log = cache.join("dockerd.log");
    step.say(&format!("no systemd here: starting dockerd in the background, its log is {}", log.display()));
    std::fs::create_dir_all(cache).map_err(file_error("cannot make", cache))?;
    let file = std::fs::File::create(&log).map_err(file_error("cannot write", &log))?;
    let errors = file.try_clone().map_err(file_error("cannot write", &log))?;
    let failed =
        |status: String, tail: String| Error::Failed { what: "starting dockerd".to_owned(), status, tail };
    let status = command("setsid", ["--fork", "dockerd"])
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .status()
        .map_err(|error| failed("not started".to_owned(), error.to_string()))?;
    if status.success() { Ok(log) } else { Err(failed(status.to_string(), String::new())) }
}
