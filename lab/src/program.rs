//! Other programs, run to their end with a limit of time.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::waiting::HEARTBEAT;

/// How many lines of a failed program are shown.
const TAIL_LINES: usize = 20;

/// A program that has ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Finished {
    /// Its last lines, of the error stream if that has any.
    pub(crate) fn tail(&self) -> String {
        tail(if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr })
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Builds a command from a program and its arguments.
pub(crate) fn command<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs a program that must succeed and returns its standard output. `what` names the deed in errors.
pub(crate) fn output(what: &str, command: Command, limit: Duration) -> Result<String, Error> {
    let finished = finish(what, command, limit, |_| {})?;
    if finished.status.success() { Ok(finished.stdout) } else { Err(failed(what, &finished)) }
}

/// The error for a program that has failed.
pub(crate) fn failed(what: &str, finished: &Finished) -> Error {
    Error::Failed { what: what.to_owned(), status: finished.status.to_string(), tail: finished.tail() }
}

/// Runs a program to its end, whatever its status. `news` gets each line that it prints, and the last one again
/// whenever it has printed nothing for some seconds.
///
/// # Errors
/// [`Error::TimedOut`] after ending the program; [`Error::Failed`] when it cannot be started.
pub(crate) fn finish(
    what: &str,
    mut command: Command,
    limit: Duration,
    mut news: impl FnMut(&str),
) -> Result<Finished, Error> {
    let begin = Instant::now();
    let cannot = |error: io::Error| Error::Failed {
        what: what.to_owned(),
        status: "not started".to_owned(),
        tail: error.to_string(),
    };
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(cannot)?;
    let (sender, lines) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, Stream::Out, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, Stream::Error, sender);
    }
    let (mut out, mut err, mut last) = (String::new(), String::new(), String::new());
    loop {
        let left = limit.saturating_sub(begin.elapsed());
        match lines.recv_timeout(left.min(HEARTBEAT)) {
            Ok((stream, line)) => {
                let text = if stream == Stream::Out { &mut out } else { &mut err };
                text.push_str(&line);
                line.trim_end().clone_into(&mut last);
                news(&last);
            }
            Err(RecvTimeoutError::Timeout) if begin.elapsed() >= limit => {
                end(&mut child);
                let tail = tail(if err.is_empty() { &out } else { &err });
                return Err(Error::TimedOut { what: what.to_owned(), limit, tail });
            }
            Err(RecvTimeoutError::Timeout) => news(&last),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait().map_err(cannot)?;
    Ok(Finished { status, stdout: out, stderr: err })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Error,
}

/// Sends each line of a stream, with its end, until the stream closes.
fn forward(stream: impl Read + Send + 'static, which: Stream, lines: Sender<(Stream, String)>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        // A read error means that the program is gone, as the end of the stream does.
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if lines.send((which, String::from_utf8_lossy(&line).into_owned())).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// Ends a program that took too long. It may have ended by itself in the meantime, which is as well.
fn end(child: &mut Child) {
    if child.kill().is_ok() {
        child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        command("sh", ["-c", script])
    }

    #[test]
    fn output_and_errors_are_kept_apart() {
        let finished =
            finish("sh", shell("echo out; echo err >&2; exit 3"), Duration::from_secs(10), |_| {}).unwrap();
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.tail(), "err");
    }

    #[test]
    fn failure_shows_the_end_of_the_log() {
        let error = output("the deed", shell("seq 1 100; exit 1"), Duration::from_secs(10)).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the deed failed (exit status: 1):\n81\n"), "{text}");
        assert!(text.ends_with("\n100"), "{text}");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let begin = Instant::now();
        let error =
            output("sleeping", shell("echo early; exec sleep 60"), Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, Error::TimedOut { ref tail, .. } if tail == "early"), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let error =
            output("x", command("no-such-program-anywhere", ["-v"]), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("not started"), "{error}");
    }
}
