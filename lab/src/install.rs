//! What the host must have before there can be a lab, and getting it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::error::{Error, file_error};
use crate::host;
use crate::image;
use crate::process::{self, command};
use crate::progress::Step;

/// Packages come over the user's network.
const INSTALL_LIMIT: Duration = Duration::from_secs(1800);
/// A daemon that has no containers to restore starts in 1 to 3 s.
const START_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// A program, why the lab needs it, and Debian's package of it.
const PROGRAMS: [(&str, &str, &str); 6] = [
    ("docker", "to run machines", "docker.io"),
    (image::BUILDER, "to make the machine image", "mmdebstrap"),
    ("ip", "to make the lab's network", "iproute2"),
    ("nsenter", "to run commands in the lab's network", "util-linux"),
    ("ssh", "to reach the machines", "openssh-client"),
    ("ssh-keygen", "to make the lab's key", "openssh-client"),
];

/// Checks that all programs are there; with `install`, gets the missing ones with apt. Where the machine image has
/// been made, the program that makes it may be missing.
pub(crate) fn ensure_programs(install: bool, has_image: bool, step: Step<'_>) -> Result<(), Error> {
    let mut missing = Vec::new();
    for entry in PROGRAMS {
        let is_needed = !(has_image && entry.0 == image::BUILDER);
        if is_needed && !host::has_program(entry.0)? {
            missing.push(entry);
        }
    }
    let Some(&(program, why, package)) = missing.first() else { return Ok(()) };
    if !install {
        return Err(Error::MissingProgram { program, why, package });
    }
    if !host::has_program("apt-get")? {
        let programs: Vec<_> = missing.iter().map(|(program, why, _)| format!("{program} ({why})")).collect();
        return Err(Error::CannotInstall { programs: programs.join(", ") });
    }
    for (program, why, package) in &missing {
        step.say(&format!("{program} is missing: installing {package}, {why}"));
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, _, package)| *package).collect();
    packages.dedup();
    if missing.iter().any(|(program, ..)| *program == image::BUILDER) {
        // Without it, as on Ubuntu, Debian's archive cannot be trusted.
        packages.push("debian-archive-keyring");
    }
    if install_packages(&packages, step).is_err() {
        // A fresh machine has no package lists, or old ones. If they are not the reason, the second attempt says so.
        let update = apt_get(["update"]);
        process::finish("apt-get update", update, INSTALL_LIMIT, |line| step.say(line))?;
        install_packages(&packages, step)?;
    }
    // From Debian 13 on the command is in a package of its own, which docker.io only recommends.
    if !host::has_program("docker")? {
        install_packages(&["docker-cli"], step)?;
    }
    Ok(())
}

fn apt_get<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut apt = command("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=120"]);
    apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn install_packages(packages: &[&str], step: Step<'_>) -> Result<(), Error> {
    let arguments = ["install", "--yes", "--no-install-recommends"].iter().chain(packages);
    let finished = process::finish("apt-get install", apt_get(arguments.copied()), INSTALL_LIMIT, |line| {
        step.say(line)
    })?;
    if finished.status.success() { Ok(()) } else { Err(process::failed("apt-get install", &finished)) }
}

/// Finds the engine, and starts its daemon if it does not run.
pub(crate) fn ensure_engine(cache: &Path, step: Step<'_>) -> Result<Engine, Error> {
    match Engine::connect() {
        Err(Error::EngineDown { .. }) => {}
        other => return other,
    }
    let log = if Path::new("/run/systemd/system").exists() {
        step.say("starting the container engine: systemctl start docker");
        let start = command("systemctl", ["start", "docker"]);
        process::output("systemctl start docker", start, START_LIMIT)?;
        None
    } else {
        Some(spawn_daemon(cache, step)?)
    };
    let begin = Instant::now();
    loop {
        match Engine::connect() {
            Err(Error::EngineDown { detail }) if begin.elapsed() > START_LIMIT => {
                let tail = log.as_ref().and_then(|log| std::fs::read_to_string(log).ok());
                return Err(Error::EngineNotStarted {
                    limit: START_LIMIT,
                    log: log.map_or("`journalctl -u docker`".to_owned(), |log| log.display().to_string()),
                    tail: tail.map_or(detail, |text| process::tail(&text)),
                });
            }
            Err(Error::EngineDown { .. }) => {
                step.say(&format!("waiting for the container engine, {} s", begin.elapsed().as_secs()));
                thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

/// Starts the daemon on a host without systemd, in a session of its own, so that it outlives us and the terminal.
fn spawn_daemon(cache: &Path, step: Step<'_>) -> Result<PathBuf, Error> {
    let log = cache.join("dockerd.log");
    step.say(&format!("no systemd here: starting dockerd in the background, its log is {}", log.display()));
    std::fs::create_dir_all(cache).map_err(file_error("cannot make", cache))?;
    let file = std::fs::File::create(&log).map_err(file_error("cannot write", &log))?;
    let errors = file.try_clone().map_err(file_error("cannot write", &log))?;
    let status = command("setsid", ["--fork", "dockerd"])
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .status()
        .map_err(|error| Error::Failed {
            what: "starting dockerd".to_owned(),
            status: "not started".to_owned(),
            tail: error.to_string(),
        })?;
    if status.success() {
        Ok(log)
    } else {
        Err(Error::Failed {
            what: "starting dockerd".to_owned(),
            status: status.to_string(),
            tail: String::new(),
        })
    }
}
