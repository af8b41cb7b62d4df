//! Compiling the programs of a group, and telling how far it has come.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::jobs::Job;
use super::required_tools::Go;
use super::{BuildError, Working, io_at, module_files, recipes};

/// How many lines of a failed command's output are kept for the error.
const KEPT_LINES: usize = 25;

/// How often a running command is reported.
const TICK: Duration = Duration::from_secs(1);

/// Compiled programs of one group.
#[derive(Debug)]
pub(super) struct Programs {
    dir: PathBuf,
    /// Where the sources of the first module are, if files of it are wanted.
    module: Option<PathBuf>,
    /// The folder of the recipe.
    recipe: PathBuf,
}

impl Programs {
    /// The file compiled from a main package.
    pub(super) fn path(&self, package: &str) -> PathBuf {
        self.dir.join(recipes::output_name(package))
    }

    /// A file of the first module.
    pub(super) fn of_module(&self, file: &str) -> PathBuf {
        self.module.as_deref().unwrap_or(&self.dir).join(file)
    }

    /// Pages for browsers, made of those of the recipe.
    pub(super) fn pages(&self, working: &mut Working<'_>) -> Result<PathBuf, BuildError> {
        let npm = Runner { program: Path::new("npm"), cgo: false };
        // No package runs a program of its own while it is installed.
        let install = ["ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund"];
        npm.go(&self.recipe, &install, "downloading packages of npm", working)?;
        npm.go(&self.recipe, &["exec", "--offline", "--", "vite", "build"], "making pages", working)?;
        Ok(self.recipe.join("dist"))
    }

    /// Removes the files: they are in the bundle now.
    pub(super) fn remove(self) -> Result<(), BuildError> {
        fs::remove_dir_all(&self.dir).map_err(io_at("remove", &self.dir))
    }
}

/// Compiles all programs that the job's artifacts consist of; none where those are Debian packages, or files of a module.
pub(super) fn compile(
    go: &Go,
    job: &Job,
    work: &Path,
    working: &mut Working<'_>,
) -> Result<Programs, BuildError> {
    let name = format!("{}-{}", job.name, job.version);
    let recipe = work.join("recipes").join(&name);
    let out = work.join("out").join(&name);
    fs::create_dir_all(&out).map_err(io_at("create", &out))?;
    let runner = Runner { program: &go.path, cgo: job.group.cgo };
    if !job.group.has_programs() {
        let module = job.group.modules.first().map(|module| format!("{module}@v{}", job.version));
        let sources = |module: String| module_files::sources(&module, &out, &runner, working);
        return Ok(Programs { dir: out.clone(), module: module.map(sources).transpose()?, recipe });
    }
    module_files::prepare(job, &recipe, &runner, working)?;

    let wants_files = job.artifacts.iter().any(|artifact| artifact.recipe.has_sources());
    let module = match job.group.modules.first().filter(|_| wants_files) {
        Some(module) => Some(module_files::sources(module, &recipe, &runner, working)?),
        None => None,
    };
    let packages: Vec<&str> = job
        .artifacts
        .iter()
        .flat_map(|artifact| artifact.recipe.programs.values().map(String::as_str))
        .collect();
    if packages.is_empty() {
        return Ok(Programs { dir: out, module, recipe });
    }
    let tags = format!("-tags={}", job.group.tags);
    let list = [&["list", "-mod=readonly", "-deps", &tags][..], &packages].concat();
    let total = runner.go(&recipe, &list, "downloading modules", working)?.lines().count();

    let ldflags = format!("-ldflags={}", link_flags(job));
    let out_flag = format!("-o={}/", out.display());
    // -v names each package on standard error as it is compiled; packages from Go's cache are not named.
    let flags = ["build", "-mod=readonly", "-v", "-trimpath", "-buildvcs=false", &tags, &ldflags, &out_flag];
    let build = [&flags[..], &packages].concat();
    let mut compiled = 0;
    runner.run(&recipe, &build, &mut |line| match line {
        Some(package) => {
            compiled += 1;
            working(&format!("compiling {package} ({compiled} of {total} packages)"));
        }
        None if compiled == 0 => working("compiling and linking"),
        None => working(&format!("compiling and linking ({compiled} of {total} packages)")),
    })?;
    Ok(Programs { dir: out, module, recipe })
}

/// The linker's flags: no symbol table, the version, static if there is C in it.
fn link_flags(job: &Job) -> String {
    let mut numbers = job.version.split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    let own = job.group.ldflags.replace("{version}", &job.version);
    let own = own.replace("{major}", major).replace("{minor}", minor);
    let how = if job.group.cgo { "-linkmode external -extldflags -static" } else { "" };
    format!("-s -w {how} {own}")
}

/// Runs Go, or another program, and reports about once a second.
pub(super) struct Runner<'a> {
    pub(super) program: &'a Path,
    /// Whether C is compiled too.
    pub(super) cgo: bool,
}

impl Runner<'_> {
    /// Runs a command whose output is wanted; `what` is what it does, in words.
    pub(super) fn go(
        &self,
        dir: &Path,
        arguments: &[&str],
        what: &str,
        working: &mut Working<'_>,
    ) -> Result<String, BuildError> {
        self.run(dir, arguments, &mut |line| match line {
            Some(line) => working(&format!("{what}: {line}")),
            None => working(what),
        })
    }

    /// Runs a command and returns its standard output. `report` gets each line of standard error, and `None` when there was
    /// none for a while.
    pub(super) fn run(
        &self,
        dir: &Path,
        arguments: &[&str],
        report: &mut dyn FnMut(Option<&str>),
    ) -> Result<String, BuildError> {
        let mut command = Command::new(self.program);
        command.args(arguments).current_dir(dir).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("CGO_ENABLED", if self.cgo { "1" } else { "0" });
        // A module may ask for a newer Go than is installed: go then gets it from the module proxy. A workspace file in a
        // directory above would mix its modules in.
        command.env("GOTOOLCHAIN", "auto").env("GOWORK", "off");
        let failed = |status: String, output: String| BuildError::Command {
            command: format!("{} {}", self.program.display(), arguments.join(" ")),
            status,
            dir: dir.into(),
            output,
        };
        report(None);
        let mut child = command.spawn().map_err(|error| failed(error.to_string(), String::new()))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let stdout = child.stdout.take().map(|mut stdout| {
            thread::spawn(move || {
                let mut text = String::new();
                stdout.read_to_string(&mut text).map(|_| text)
            })
        });
        let mut kept: Vec<String> = Vec::new();
        let mut reported = Instant::now();
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    report(Some(&line));
                    reported = Instant::now();
                    // A line of one word is the name of a package that is being compiled, and no explanation.
                    if line.contains(' ') {
                        kept.push(line);
                        kept.drain(..kept.len().saturating_sub(KEPT_LINES));
                    }
                }
                Err(RecvTimeoutError::Timeout) if reported.elapsed() >= TICK => {
                    report(None);
                    reported = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child.wait().map_err(|error| failed(error.to_string(), String::new()))?;
        let text = match stdout.map(thread::JoinHandle::join) {
            Some(Ok(Ok(text))) => text,
            _ => String::new(),
        };
        if status.success() { Ok(text) } else { Err(failed(status.to_string(), kept.join("\n"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> (Result<String, BuildError>, Vec<Option<String>>) {
        let mut reports = Vec::new();
        let runner = Runner { program: Path::new("sh"), cgo: false };
        let result =
            runner.run(Path::new("/"), &["-c", script], &mut |line| reports.push(line.map(String::from)));
        (result, reports)
    }

    #[test]
    fn output_is_returned_and_what_is_going_on_is_reported() {
        let (output, reports) = sh("echo cgo $CGO_ENABLED; echo compiling >&2");
        assert_eq!(output.unwrap(), "cgo 0\n");
        assert!(reports.contains(&Some("compiling".into())), "{reports:?}");
    }

    #[test]
    fn a_silent_command_is_reported_all_the_same() {
        let (_, reports) = sh("sleep 2.5");
        assert!(reports.len() >= 3, "{reports:?}");
    }

    #[test]
    fn a_failure_shows_the_end_of_the_output() {
        let (result, _) = sh("seq -f 'line %g' 100 >&2; echo example.org/package >&2; exit 3");
        let text = result.unwrap_err().to_string();
        assert!(text.contains("exit status: 3") && text.ends_with("\nline 99\nline 100"), "{text}");
        assert!(!text.contains("\nline 75\n"), "{text}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let runner = Runner { program: Path::new("no-such-program"), cgo: false };
        let error = runner.run(Path::new("/"), &["x"], &mut |_| {}).unwrap_err().to_string();
        assert!(error.starts_with("`no-such-program x` failed (No such file"), "{error}");
    }
}
