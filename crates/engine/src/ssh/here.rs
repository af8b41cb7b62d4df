//! A machine that is this computer itself (Ansible's connection `local`): a shell here runs its programs, which become root as they do
//! on other machines.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

use super::Target;
use super::exec::{Ended, Sink, Unfed, feed, outcome, together};
use super::output::Output;
use super::privilege;
use crate::transport::{Exit, OnLine, Program, TransportError};

/// A login has these in its search path for root; who is logged in here may not.
const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program to its end.
pub(super) async fn run(
    target: &Target,
    program: Program,
    on_line: Option<OnLine>,
) -> Result<Exit, TransportError> {
    let request = privilege::request(target)?;
    let lost = |reason: String| TransportError::Lost { address: target.address(), reason };
    // Ctrl-C at a terminal is for muster, which decides what becomes of its programs.
    let started = Command::new("/bin/sh")
        .args(["-c", &format!("umask 022; {}", request.command)])
        .env("PATH", SYSTEM)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut running = Running(started.map_err(|error| lost(format!("/bin/sh does not start: {error}")))?);
    let pipes = (running.0.stdin.take(), running.0.stdout.take(), running.0.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(lost("/bin/sh has no pipes".to_owned()));
    };
    let (sender, mut start) = oneshot::channel();
    let mut output = Output::new(&request, sender);
    output.on_line = on_line;
    let mut sink = Some(stdin);
    let fed = feed(&mut sink, &request, false, program, &mut start);
    let ended = together(target, fed, collect(&mut running.0, stdout, stderr, &mut output)).await?;
    outcome(ended, target, &request, &mut output, |_| lost("it is not known how it ended".to_owned()))
}

/// A program that is told to stop where nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // `id` is nothing once it has ended.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // That of another user ends when it next writes something, as on other machines.
            kill_process(id, Signal::TERM).ok();
        }
    }
}

impl Sink for Option<ChildStdin> {
    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Unfed> {
        let stdin = self.as_mut().ok_or(Unfed::Closed)?;
        stdin.write_all(&bytes).await.map_err(|_| Unfed::Closed)
    }

    async fn end(&mut self) -> Result<(), Unfed> {
        let flushed = match self {
            Some(stdin) => stdin.flush().await,
            None => Ok(()),
        };
        *self = None;
        flushed.map_err(|_| Unfed::Closed)
    }
}

/// Takes what a program writes, until it has ended.
async fn collect(
    child: &mut Child,
    mut stdout: ChildStdout,
    mut stderr: ChildStderr,
    output: &mut Output,
) -> Ended {
    let (mut of_stdout, mut of_stderr) = (vec![0; 64 << 10], vec![0; 8 << 10]);
    let (mut writes, mut complains) = (true, true);
    while writes || complains {
        tokio::select! {
            read = stdout.read(&mut of_stdout), if writes => match read {
                Ok(length @ 1..) if output.stdout(&of_stdout[..length]) => {}
                Ok(1..) => return Ended::Flood,
                _ => writes = false,
            },
            read = stderr.read(&mut of_stderr), if complains => match read {
                Ok(length @ 1..) => {
                    output.stderr(&of_stderr[..length]);
                    if output.asked_again() {
                        return Ended::WrongPassword;
                    }
                }
                _ => complains = false,
            },
        }
    }
    match child.wait().await {
        Ok(status) => {
            let by_signal = || status.signal().map_or(-1, |signal| 128 + signal);
            Ended::Status(status.code().unwrap_or_else(by_signal))
        }
        Err(_) => Ended::Lost,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::super::target::Privilege;
    use super::*;

    /// Whoever runs the tests, as itself.
    fn target() -> Target {
        Target { is_here: true, privilege: Privilege::Root, ..Target::new("node1", "me") }
    }

    async fn text(text: &str) -> Exit {
        run(&target(), Program::Text(text.to_owned()), None).await.unwrap()
    }

    #[tokio::test]
    async fn a_program_runs_here_with_the_environment_that_it_has_everywhere() {
        let exit =
            text("echo out; echo err >&2; pwd; umask; env | sed 's/=.*//' | sort | tr '\\n' ' '; exit 3")
                .await;
        assert_eq!((exit.status, exit.stderr.as_slice()), (3, b"err\n".as_slice()));
        let out = String::from_utf8(exit.stdout).unwrap();
        assert!(out.starts_with("out\n/\n0022\nHOME LC_ALL "), "{out}");
        assert!(!out.contains("CARGO"), "{out}");
        assert_eq!(text("kill -9 $$").await.status, 128 + 9);
    }

    #[tokio::test]
    async fn what_is_long_goes_both_ways_and_lines_are_told() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&lines);
        let on_line: OnLine = Arc::new(move |line: &str| told.lock().unwrap().push(line.to_owned()));
        let input: crate::transport::Input = Box::new(std::io::Cursor::new(bytes.clone()));
        let program = Program::Reader { line: "echo reading >&2; cat".to_owned(), input };
        let exit = run(&target(), program, Some(on_line)).await.unwrap();
        assert!(exit.status == 0 && exit.stdout == bytes);
        assert_eq!(*lines.lock().unwrap(), ["reading"]);
    }

    #[tokio::test]
    async fn who_does_not_become_root_is_told_why() {
        let folder = tempfile::tempdir().unwrap();
        let sudo = Target { privilege: Privilege::Doas, ..target() };
        // Where there is a doas, it does not know this user, or wants a password.
        let failed = run(&sudo, Program::Text(format!("touch {}/done", folder.path().display())), None).await;
        if let Err(error) = failed {
            assert!(error.to_string().starts_with("this computer"), "{error}");
            assert!(!folder.path().join("done").exists());
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_told_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("pid");
        let program = Program::Text(format!("echo $$ >{}; exec sleep 600", mark.display()));
        let target = target();
        tokio::time::timeout(Duration::from_secs(1), run(&target, program, None)).await.unwrap_err();
        let pid: i32 = std::fs::read_to_string(mark).unwrap().trim().parse().unwrap();
        let begun = Instant::now();
        while rustix::process::test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
