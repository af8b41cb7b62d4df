//! Programs for POSIX sh: how snippets become one program, and how its answers come back as frames.
//!
//! The text of a snippet is fixed in our source (`&'static str`); everything variable is a positional parameter
//! (`"$1"`), quoted here and nowhere else. So no value, whatever it holds, can become shell code.

use std::fmt::Write;

use crate::failure::{Failure, Result};
use crate::transport::{Exit, TransportError};

/// A snippet of POSIX sh with its positional parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    text: &'static str,
    args: Vec<String>,
}

/// A snippet: its text, and the values it sees as `"$1"`, `"$2"`, ...
pub fn sh<S: Into<String>>(text: &'static str, args: impl IntoIterator<Item = S>) -> Script {
    Script { text, args: args.into_iter().map(Into::into).collect() }
}

/// A snippet without parameters.
pub fn sh0(text: &'static str) -> Script {
    Script { text, args: Vec::new() }
}

impl Script {
    /// The snippet as a program of its own.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text);
        text
    }

    /// The program text, with the parameters set first.
    fn write_to(&self, out: &mut String) {
        out.push_str("set --");
        for arg in &self.args {
            out.push(' ');
            out.push_str(&quote(arg));
        }
        out.push('\n');
        out.push_str(self.text.trim());
        out.push('\n');
    }

    /// The snippet on one line, for [`crate::transport::Program::Reader`]: csh, which may be the login shell, cannot quote line
    /// breaks. So each line of its text ends with a `;` where the next one is another command. Lines that begin with `#` are
    /// comments, and left out.
    pub fn one_line(&self) -> String {
        let mut line = String::from("set --");
        for arg in &self.args {
            line.push(' ');
            line.push_str(&quote(arg));
        }
        line.push(';');
        for text in self.text.lines().map(str::trim).filter(|text| !text.is_empty() && !text.starts_with('#'))
        {
            line.push(' ');
            line.push_str(text.trim_end_matches('\\'));
        }
        line
    }
}

/// Quotes a value for sh: single quotes take everything literally but the single quote itself (POSIX XCU 2.2.2).
pub fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// One part of a program: what it is called in the answers, and what it does.
pub(crate) struct Part<'a> {
    pub id: usize,
    pub script: &'a Script,
}

/// What every program starts with. Chatter of commands goes to standard error (shown live and kept for messages);
/// standard output carries frames only. The binaries of immutable systems are in /opt/bin.
const PROLOGUE: &str = r#"umask 022
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin
export LC_ALL PATH
exec 3>&1 1>&2
frame() { printf '\036%s %s %s %s\n%s\n' "$nonce" "$1" "$2" "${#3}" "$3" >&3; }
"#;

/// A random-enough boundary that no output of a command contains by accident.
pub(crate) fn nonce() -> String {
    use std::collections::hash_map::RandomState;
    use std::hash::{BuildHasher, Hasher};
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// A program whose parts are read-only: each runs, whatever happens to the others, and answers with one frame that
/// holds its exit status and its standard output. One that does change something begins with a guard
/// ([`crate::lock::Fence::guard`]).
pub(crate) fn probe_program(nonce: &str, guard: &str, parts: &[Part<'_>]) -> String {
    wrap(nonce, parts, |body| {
        let _infallible = writeln!(body, "{guard}");
        for part in parts {
            body.push_str("answer=$(\nexec 3>&-\n(\n");
            part.script.write_to(body);
            // The mark keeps the trailing newlines that a command substitution would drop.
            body.push_str(")\nstatus=$?; printf x; exit $status\n)\nstatus=$?\n");
            let _infallible = writeln!(body, "frame {} $status \"${{answer%x}}\"", part.id);
        }
    })
}

/// A program whose parts change the machine: they run in order, each must succeed, each success is a frame; the first
/// failure is a frame `fail` with the part's id and ends the program. The guard comes before everything else.
pub(crate) fn apply_program(nonce: &str, guard: &str, parts: &[Part<'_>]) -> String {
    wrap(nonce, parts, |body| {
        let _infallible = writeln!(
            body,
            "{guard}\ncurrent=none\nset -eu\ntrap 'status=$?; [ $status = 0 ] || frame fail $status \"$current\"' EXIT",
        );
        for part in parts {
            let _infallible = writeln!(body, "current={}\n(", part.id);
            part.script.write_to(body);
            let _infallible = writeln!(body, ")\nframe {} 0 ''", part.id);
        }
    })
}

/// A program that starts a detached one and passes on what that one answers ([`crate::lock::JOB`]).
pub(crate) fn job_program(script: &Script) -> String {
    wrap(&nonce(), &[Part { id: 0, script }], |body| script.write_to(body))
}

/// The function around the program is what makes a program that was cut off in transit a syntax error, which runs
/// nothing; its empty standard input keeps commands from eating the rest of the program.
fn wrap(nonce: &str, parts: &[Part<'_>], write: impl FnOnce(&mut String)) -> String {
    // A program may hold files, and many machines get theirs at once: so it is written in one place, about as long as it gets.
    let args = parts.iter().flat_map(|part| &part.script.args).map(String::len).sum::<usize>();
    let mut text = String::with_capacity(args + 1024 * (parts.len() + 4));
    let _infallible = write!(text, "muster() {{\nnonce={nonce}\n{PROLOGUE}");
    write(&mut text);
    text.push_str("frame end 0 ''\n}\nmuster </dev/null\n");
    text.shrink_to_fit();
    text
}

/// One answer of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub id: String,
    pub status: i32,
    pub data: Vec<u8>,
}

/// The frames of a program's standard output. Anything else in it (what a login shell's start-up files print) is skipped.
pub(crate) fn frames(nonce: &str, exit: &Exit) -> Vec<Frame> {
    let mark = format!("\u{1e}{nonce} ").into_bytes();
    let mut frames = Vec::new();
    let mut rest = exit.stdout.as_slice();
    while let Some(start) = rest.windows(mark.len()).position(|w| w == mark) {
        rest = &rest[start + mark.len()..];
        let Some(header_end) = rest.iter().position(|&b| b == b'\n') else { break };
        let header = String::from_utf8_lossy(&rest[..header_end]).into_owned();
        rest = &rest[header_end + 1..];
        let mut words = header.split(' ');
        let (Some(id), Some(Ok(status)), Some(Ok(len))) =
            (words.next(), words.next().map(str::parse), words.next().map(str::parse::<usize>))
        else {
            continue;
        };
        if rest.len() < len {
            break;
        }
        frames.push(Frame { id: id.to_owned(), status, data: rest[..len].to_vec() });
        rest = &rest[len..];
    }
    frames
}

/// The frames of a program that ran to its end on a machine.
///
/// # Errors
/// The last frame is missing: the outcome is unknown, or the machine's shell cannot run the program.
pub(crate) fn complete(machine: &str, nonce: &str, exit: &Exit) -> Result<Vec<Frame>> {
    let frames = frames(nonce, exit);
    if frames.iter().any(|frame| frame.id == "end") {
        return Ok(frames);
    }
    if exit.stdout.is_empty() && exit.status != 0 && !exit.stderr.is_empty() {
        let resource = "the machine's shell".into();
        return Err(Failure::Change { resource, status: exit.status, tail: exit.tail() });
    }
    let reason = format!("the program ended early with status {}: {}", exit.status, exit.tail());
    Err(TransportError::Lost { address: machine.to_owned(), reason }.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    fn run(shell: &[&str], program: &str) -> Exit {
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A shell that stops reading early closes the pipe; what it answered is what the tests look at.
        let _ = child.stdin.take().unwrap().write_all(program.as_bytes());
        let out = child.wait_with_output().unwrap();
        Exit { status: out.status.code().unwrap_or(-1), stdout: out.stdout, stderr: out.stderr }
    }

    /// The shells of this machine that users' machines have as /bin/sh.
    pub(crate) fn shells() -> Vec<Vec<&'static str>> {
        [vec!["dash"], vec!["bash", "--posix"], vec!["busybox", "sh"]]
            .into_iter()
            .filter(|s| Command::new(s[0]).arg("--help").output().is_ok())
            .collect()
    }

    #[test]
    fn probes_answer_in_every_shell_with_bytes_kept() {
        let nasty = "it's \"$HOME\" `x` \\ \n\n";
        let parts =
            [sh("printf '%s' \"$1\"", [nasty]), sh0("exit 3"), sh0("echo noise >&2; printf 'a\\n\\n'")];
        for shell in shells() {
            let parts: Vec<_> = parts.iter().enumerate().map(|(id, script)| Part { id, script }).collect();
            let exit = run(&shell, &probe_program("n0nce", "", &parts));
            let frames = frames("n0nce", &exit);
            assert_eq!(frames.len(), 4, "{shell:?}: {exit:?}");
            assert_eq!(frames[0].data, nasty.as_bytes(), "{shell:?}");
            assert_eq!(frames[1].status, 3, "{shell:?}");
            assert_eq!(frames[2].data, b"a\n\n", "{shell:?}");
            assert_eq!(frames[3].id, "end", "{shell:?}");
        }
    }

    #[test]
    fn the_first_failure_ends_an_apply_program_and_names_its_part() {
        let parts = [sh0("true"), sh0("false; echo reached >&2"), sh0("echo never >&2")];
        for shell in shells() {
            let parts: Vec<_> = parts.iter().enumerate().map(|(id, script)| Part { id, script }).collect();
            let exit = run(&shell, &apply_program("n0nce", "", &parts));
            let frames = frames("n0nce", &exit);
            assert_eq!(frames.last().unwrap().id, "fail", "{shell:?}: {exit:?}");
            assert_eq!(frames.last().unwrap().data, b"1", "{shell:?}");
            assert_eq!(frames.len(), 2, "{shell:?}");
            assert!(exit.stderr.is_empty(), "{shell:?}: a part after the failure ran: {exit:?}");
            assert_ne!(exit.status, 0);
        }
    }

    #[test]
    fn a_program_cut_off_anywhere_runs_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let part = sh("echo ran >> \"$1\"", [file.path().to_str().unwrap()]);
        let program = apply_program("n0nce", "", &[Part { id: 0, script: &part }]);
        let complete = program.trim_end().len();
        for shell in shells() {
            for cut in (0..complete).step_by(7) {
                run(&shell, &program[..cut]);
                let written = std::fs::read_to_string(file.path()).unwrap();
                // The call itself, complete but for its redirection, is a complete program.
                assert!(
                    written.is_empty() || cut >= complete - " </dev/null".len(),
                    "{shell:?} cut at {cut}"
                );
                std::fs::write(file.path(), "").unwrap();
            }
        }
    }

    #[test]
    fn a_snippet_of_several_lines_is_the_same_on_one_line() {
        let text =
            "# what it does\nsay() {\n  echo \\\n    \"$1\";\n};\n\nfor word; do\n  say \"$word\";\ndone";
        let line = sh(text, ["a b", "#c"]).one_line();
        assert!(!line.contains(['\n', '\\']), "{line}");
        for shell in shells() {
            assert_eq!(run(&shell, &line).stdout, b"a b\n#c\n", "{shell:?}");
        }
    }

    #[test]
    fn noise_around_frames_is_skipped() {
        let exit = Exit {
            stdout: b"Welcome!\n\x1en0nce 0 0 2\nhi\nbye\x1en0nce end 0 0\n\n".to_vec(),
            ..Exit::default()
        };
        let frames = frames("n0nce", &exit);
        assert_eq!(frames.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["0", "end"]);
    }
}
