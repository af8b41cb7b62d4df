//! This computer as a machine (`ansible_connection: local`): programs are started here, without a login. They find what they would
//! find after one as root: nothing of the terminal, the variables and the folder of whoever runs this.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::prelude::ExitStatusExt;
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::oneshot;

use super::exec::{self, Ended, Output, Way};
use super::privilege::{self, Request};
use super::target::{Privilege, Target};
use crate::transport::{Exit, OnLine, Program, TransportError};

/// Where programs are looked for, sudo and doas among them: what a login gives to root, and where programs are on systems whose
/// `/usr` cannot be written.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin";

/// How much of what a program writes is read at a time.
const CHUNK: usize = 32 << 10;

/// Runs a program to its end. One that is given up is not waited for: as after a lost connection, it ends when it next writes
/// something.
pub(super) async fn run(
    target: &Target,
    program: Program,
    on_line: Option<OnLine>,
) -> Result<Exit, TransportError> {
    let target = Target { privilege: privilege_of(target, is_root()), ..target.clone() };
    let request = privilege::request(&target)?;
    let lost = || {
        let reason = "the program's end cannot be told".to_owned();
        Err(TransportError::Lost { address: target.address(), reason })
    };
    let mut child = start(&request).map_err(|error| cannot_start(&target, &error))?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return lost();
    };
    let (started, mut is_started) = oneshot::channel();
    let mut output = Output::new(&request, started);
    output.on_line = on_line;
    let feed = exec::feed(Way::Pipe(stdin), &request, false, program, &mut is_started);
    let ended = exec::exchange(&target, feed, collect(child, (stdout, stderr), &mut output)).await?;
    output.result(&target, &request, &ended).unwrap_or_else(lost)
}

/// Whether this runs as root. The owner of a process' own files is the user whose rights it has (proc(5)); names in the environment
/// may be another user's, after su(1).
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn privilege_of(target: &Target, is_root: bool) -> Privilege {
    if is_root { Privilege::Root } else { target.privilege.clone() }
}

/// Starts it apart from the terminal, as sshd does: Ctrl-C there is for whoever runs this alone, and sudo finds nobody to ask.
fn start(request: &Request) -> io::Result<Child> {
    let command = format!("umask 022; HOME=~root; export HOME; {}", request.command);
    Command::new("setsid")
        .args(["/bin/sh", "-c", &command])
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn cannot_start(target: &Target, error: &io::Error) -> TransportError {
    TransportError::Unreachable {
        address: target.address(),
        reason: format!("setsid(1) cannot be started: {error}"),
        remedy: "a machine has to be a Linux system, where util-linux or busybox has it; let ssh log in to one that is"
            .into(),
    }
}

/// Takes what the program writes, until nobody can write any more, and then how it ended.
async fn collect(
    mut child: Child,
    (mut stdout, mut stderr): (ChildStdout, ChildStderr),
    output: &mut Output,
) -> Ended {
    let (mut from_stdout, mut from_stderr) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut has_stdout, mut has_stderr) = (true, true);
    while has_stdout || has_stderr {
        let ended = tokio::select! {
            read = stdout.read(&mut from_stdout), if has_stdout => match read {
                Ok(length @ 1..) => output.take_stdout(&from_stdout[..length]),
                _ => {
                    has_stdout = false;
                    None
                }
            },
            read = stderr.read(&mut from_stderr), if has_stderr => match read {
                Ok(length @ 1..) => output.take_stderr(&from_stderr[..length]),
                _ => {
                    has_stderr = false;
                    None
                }
            },
        };
        if let Some(ended) = ended {
            return ended;
        }
    }
    match child.wait().await {
        Ok(status) => Ended::Status(status.code().unwrap_or(128 + status.signal().unwrap_or_default())),
        Err(_) => Ended::Lost,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn here() -> Target {
        Target { local: true, ..Target::new("192.0.2.1", "nobody-here") }
    }

    fn text(text: &str) -> Program {
        Program::Text(text.to_owned())
    }

    #[test]
    fn whoever_is_root_becomes_nobody_else() {
        let doas = Target { privilege: Privilege::Doas, ..here() };
        assert!(matches!(privilege_of(&doas, true), Privilege::Root));
        assert!(matches!(privilege_of(&doas, false), Privilege::Doas));
    }

    #[tokio::test]
    async fn what_was_written_is_told_and_how_it_ended() {
        let exit = run(&here(), text("echo out; echo err >&2; exit 7\n"), None).await.expect("an exit");
        assert_eq!((exit.status, exit.stdout, exit.stderr), (7, b"out\n".to_vec(), b"err\n".to_vec()));
        let exit = run(&here(), text("kill -9 $$\n"), None).await.expect("an exit");
        assert_eq!(exit.status, 137);
    }

    #[tokio::test]
    async fn a_reader_gets_every_byte_while_it_writes_as_many() {
        let data: Vec<u8> = (0..400_000_u32).flat_map(u32::to_be_bytes).collect();
        let input = Box::new(io::Cursor::new(data.clone()));
        let program = Program::Reader { line: "echo begun; cat".to_owned(), input };
        let exit = run(&here(), program, None).await.expect("an exit");
        assert_eq!(exit.status, 0);
        assert!(exit.stdout.strip_prefix(b"begun\n") == Some(&data[..]), "{} bytes", exit.stdout.len());
        // One that does not want all of it may end before.
        let input = Box::new(io::Cursor::new(data));
        let program = Program::Reader { line: "exit 3".to_owned(), input };
        assert_eq!(run(&here(), program, None).await.expect("an exit").status, 3);
    }

    #[tokio::test]
    async fn programs_find_what_a_login_as_root_has() {
        let look = "id -u; pwd; umask; echo \"$HOME\"; read -r _ _ _ _ _ session terminal _ </proc/self/stat
            echo \"$terminal\"; [ \"$session\" != \"$1\" ] && echo apart
            env | sed 's/=.*//' | sort | grep -vx -e _ -e PWD -e OLDPWD -e SHLVL | tr '\\n' ' '\n";
        let stat = fs::read_to_string("/proc/self/stat").expect("a file");
        let own = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(3)).expect("a session");
        let exit = run(&here(), text(&format!("set -- {own}\n{look}")), None).await.expect("an exit");
        let home = String::from_utf8_lossy(&exit.stdout).lines().nth(3).unwrap_or_default().to_owned();
        assert!(home.starts_with('/'), "{exit:?}");
        let expected = format!("0\n/\n0022\n{home}\n0\napart\nHOME LC_ALL PATH ");
        assert_eq!(String::from_utf8_lossy(&exit.stdout), expected, "{exit:?}");
    }

    #[tokio::test]
    async fn one_that_is_given_up_is_not_waited_for() {
        let begun = Instant::now();
        let target = here();
        let program = run(&target, text("sleep 30\n"), None);
        assert!(tokio::time::timeout(Duration::from_millis(300), program).await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
