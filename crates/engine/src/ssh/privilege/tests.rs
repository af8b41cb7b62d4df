//! The requests, run by real shells with stand-ins for sudo and doas: whatever the login shell, whatever sh, whether
//! sudo takes the password or not, the program gets exactly what it was sent.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use muster_testkit::program;
use secrecy::ExposeSecret;

use super::*;

/// A sudo that behaves as told by `$SUDO_IS`: it parses its options, may want the password, and runs the rest.
const SUDO: &str = r#"#!/bin/sh
stdin=no prompt= never=no
while :; do
    case $1 in
    -n) never=yes ;;
    -S) stdin=yes ;;
    -H) ;;
    -p) prompt=$2; shift ;;
    *) break ;;
    esac
    shift
done
case $SUDO_IS in
free) exec "$@" ;;
lecturing) echo 'We trust you have received the usual lecture.' >&2; exec "$@" ;;
closed) echo 'admin is not in the sudoers file.  This incident will be reported.' >&2; exit 1 ;;
tty) echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1 ;;
asking)
    [ $never = yes ] && { echo 'sudo: a password is required' >&2; exit 1; }
    [ $stdin = yes ] || { echo 'sudo: a terminal is required to read the password' >&2; exit 1; }
    printf %s "$prompt" >&2
    IFS= read -r password
    [ "$password" = 'pass word$1'\' ] || { echo 'Sorry, try again.' >&2; printf %s "$prompt" >&2; exit 1; }
    exec "$@" ;;
esac
"#;

/// A doas that knows `-n` alone.
const DOAS: &str = r#"#!/bin/sh
[ "$1" = -n ] && shift
[ "$SUDO_IS" = closed ] && { echo 'doas: Operation not permitted' >&2; exit 1; }
exec "$@"
"#;

const PASSWORD: &str = "pass word$1'";

/// A shell that may be sh on a machine, with the stand-ins it finds in its PATH.
struct Shell {
    argv: Vec<&'static str>,
    dir: tempfile::TempDir,
}

/// All of them that are installed here.
fn shells() -> Vec<Shell> {
    let all =
        [vec!["/bin/dash"], vec!["/bin/bash"], vec!["/bin/bash", "--posix"], vec!["/bin/busybox", "sh"]];
    let shells: Vec<Shell> =
        all.into_iter().filter(|argv| Path::new(argv[0]).exists()).map(Shell::new).collect();
    assert!(shells.len() >= 2, "too few shells to prove anything: apt-get install dash bash busybox");
    shells
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.argv.fmt(f)
    }
}

impl Shell {
    fn new(argv: Vec<&'static str>) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        program::write(&dir.path().join("sudo"), SUDO);
        program::write(&dir.path().join("doas"), DOAS);
        program::write(&dir.path().join("sh"), &format!("#!/bin/sh\nexec {} \"$@\"\n", argv.join(" ")));
        Self { argv, dir }
    }

    /// Runs a request as sshd would, with `/bin/sh` in it being this shell too, and sends it all its input.
    fn execute(&self, sudo_is: &str, request: &Request, program: &Program, input: &[u8]) -> Output {
        self.execute_raw(sudo_is, request, &[request.preamble(program).as_bytes(), input].concat())
    }

    fn execute_raw(&self, sudo_is: &str, request: &Request, input: &[u8]) -> Output {
        let dir = self.dir.path().to_str().expect("UTF-8");
        let mut child = Command::new(self.argv[0])
            .args(&self.argv[1..])
            .args(["-c", &request.command.replace("/bin/sh", &format!("{dir}/sh"))])
            .env("PATH", format!("{dir}:/usr/bin:/bin"))
            .env("SUDO_IS", sudo_is)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut stdin = child.stdin.take().expect("piped");
        let password = request.password.as_ref().map(|password| format!("{}\n", password.expose_secret()));
        let all = [password.unwrap_or_default().as_bytes(), input].concat();
        // Beside the reading, because more is sent than pipes hold. A shell that ends early closes its end.
        let feed = std::thread::spawn(move || stdin.write_all(&all).ok());
        let output = child.wait_with_output().expect("an end");
        feed.join().expect("no panic");
        output
    }
}

fn target(privilege: Privilege) -> Target {
    let user = if matches!(privilege, Privilege::Root) { "root" } else { "admin" };
    Target { privilege, ..Target::new("machine", user) }
}

/// What the program wrote to standard error, after the mark where there is one.
fn after_mark<'a>(request: &Request, stderr: &'a str) -> Option<&'a str> {
    match &request.mark {
        None => Some(stderr),
        Some(mark) => stderr.split_once(&format!("\n{mark}\n")).map(|(_, rest)| rest),
    }
}

fn text(program: &str) -> Program {
    Program::Text(program.to_owned())
}

fn reader(line: &str) -> Program {
    Program::Reader { line: line.to_owned(), input: Box::new(tokio::io::empty()) }
}

fn ways() -> Vec<(Privilege, &'static str)> {
    let password = || Some(SecretString::from(PASSWORD));
    vec![
        (Privilege::Root, "free"),
        (Privilege::Sudo { password: None }, "free"),
        (Privilege::Sudo { password: None }, "lecturing"),
        (Privilege::Sudo { password: password() }, "asking"),
        (Privilege::Sudo { password: password() }, "free"),
        (Privilege::Sudo { password: password() }, "lecturing"),
        (Privilege::Doas, "free"),
    ]
}

#[test]
fn programs_get_exactly_what_they_were_sent() {
    const PROGRAM: &str =
        "m() {\nprintf '%s|' \"it's\" '\\n' '$HOME!'\ncat\necho err >&2\n}\nm </dev/null\nexit 5\n";
    for shell in shells() {
        for (privilege, sudo_is) in ways() {
            let request = request(&target(privilege.clone())).expect("a request");
            let output = shell.execute(sudo_is, &request, &text(PROGRAM), PROGRAM.as_bytes());
            let stderr = String::from_utf8_lossy(&output.stderr);
            let seen = (
                output.status.code(),
                String::from_utf8_lossy(&output.stdout),
                after_mark(&request, &stderr),
            );
            assert_eq!(
                seen,
                (Some(5), "it's|\\n|$HOME!|".into(), Some("err\n")),
                "{shell:?} {privilege:?} {sudo_is}: {stderr}"
            );
        }
    }
}

#[test]
fn readers_get_every_byte_that_follows_their_line() {
    let data: Vec<u8> =
        (0..100_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_be_bytes()).collect();
    const LINE: &str = "printf '%s|' \"it's\" 'a\\nb' '!x'; cat; echo err >&2; exit 6";
    for shell in shells() {
        for (privilege, sudo_is) in ways() {
            let request = request(&target(privilege.clone())).expect("a request");
            let output = shell.execute(sudo_is, &request, &reader(LINE), &data);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                (output.status.code(), after_mark(&request, &stderr)),
                (Some(6), Some("err\n")),
                "{shell:?} {privilege:?}: {stderr}"
            );
            let rest = output.stdout.strip_prefix(b"it's|a\\nb|!x|").expect("the line ran");
            assert!(
                rest == data,
                "{shell:?} {privilege:?} {sudo_is}: {} bytes of {}",
                rest.len(),
                data.len()
            );
        }
    }
}

#[test]
fn a_line_cut_short_runs_nothing() {
    for shell in shells() {
        for (privilege, sudo_is) in ways() {
            let request = request(&target(privilege)).expect("a request");
            let preamble = request.preamble(&reader("echo ran; echo further"));
            for cut in (0..preamble.len()).rev().step_by(7) {
                let output = shell.execute_raw(sudo_is, &request, &preamble.as_bytes()[..cut]);
                let seen = String::from_utf8_lossy(&output.stdout);
                assert_eq!(seen, "", "{shell:?}: {:?}", &preamble[..cut]);
            }
        }
    }
}

#[test]
fn what_stands_in_the_way_is_told_with_a_remedy() {
    let password = || Some(SecretString::from("wrong"));
    let sudo = |password| Privilege::Sudo { password };
    let cases = [
        (sudo(None), "asking", "a password is required", "GiveBecomePassword { user: \"admin\" }"),
        (sudo(None), "closed", "not in the sudoers file", "admin ALL=(ALL) NOPASSWD: ALL"),
        (sudo(None), "tty", "must have a tty", "requiretty"),
        (Privilege::Doas, "closed", "Operation not permitted", "permit nopass admin as root"),
        (sudo(password()), "closed", "not in the sudoers file", "admin ALL=(ALL) NOPASSWD: ALL"),
    ];
    for shell in shells() {
        for (privilege, sudo_is, reason, remedy) in &cases {
            let target = target(privilege.clone());
            let request = request(&target).expect("a request");
            let output = shell.execute(sudo_is, &request, &text("echo ran"), b"echo ran");
            assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{shell:?}");
            assert_eq!(after_mark(&request, &String::from_utf8_lossy(&output.stderr)), None);
            let error = diagnose(&target, &request, 1, &output.stdout, &output.stderr);
            assert!(error.to_string().contains(reason), "{error}");
            assert!(format!("{:?}", error.remedy()).contains(remedy), "{error:?}");
        }
    }
}

fn said_of(error: &TransportError) -> &str {
    error.remedy().and_then(Advice::in_words).unwrap_or_default()
}

#[test]
fn sudo_that_is_not_there_is_told_in_every_shell_s_words() {
    for said in [
        "sh: 1: exec: sudo: not found",
        "env: 'sudo': No such file or directory",
        "env: can't execute 'sudo': No such file or directory",
        "bash: line 1: exec: sudo: not found",
        "fish: Unknown command: sudo",
        "sudo: Command not found.",
    ] {
        let target = target(Privilege::Sudo { password: None });
        let request = request(&target).expect("a request");
        let error = diagnose(&target, &request, 127, b"", said.as_bytes());
        assert!(said_of(&error).contains("ansible_user=root"), "{said}: {error:?}");
    }
}

#[test]
fn on_this_computer_nobody_is_told_to_log_in() {
    let target = Target { local: true, ..target(Privilege::Sudo { password: None }) };
    let request = request(&target).expect("a request");
    for said in ["sh: 1: exec: sudo: not found", "admin is not in the sudoers file.", "no new privileges"] {
        let error = diagnose(&target, &request, 1, b"", said.as_bytes());
        assert!(said_of(&error).contains("run this as root"), "{said}: {error:?}");
        assert!(!said_of(&error).contains("ansible_user"), "{said}: {error:?}");
    }
    let error = diagnose(&target, &request, 1, b"", b"what is that");
    assert_eq!(error.to_string(), "this computer: admin cannot become root: what is that");
    assert_eq!(said_of(&error), "see what it does: `sudo -n true`");
    assert_eq!(said_of(&silent(&target, Duration::from_secs(1))), "see what it asks for: `sudo -k true`");
}

#[test]
fn a_login_shell_that_lets_nobody_in_is_quoted() {
    let target = target(Privilege::Sudo { password: None });
    let request = request(&target).expect("a request");
    let error = diagnose(
        &target,
        &request,
        1,
        b"\x1b[31mThis account is currently not available.\n",
        b"Could not chdir to home directory /x: No such file or directory\n",
    );
    assert_eq!(
        error.to_string(),
        "machine:22: admin cannot become root: [31mThis account is currently not available."
    );
    assert!(said_of(&error).contains("usermod -s /bin/sh admin"), "{error:?}");
}

#[test]
fn a_wrong_password_is_asked_for_again_after_our_prompt() {
    for shell in shells() {
        let target = target(Privilege::Sudo { password: Some("wrong".into()) });
        let request = request(&target).expect("a request");
        let output = shell.execute("asking", &request, &text("echo ran"), b"echo ran");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let prompt = request.prompt.as_deref().expect("a prompt");
        assert_eq!(stderr.matches(prompt).count(), 2, "{stderr}");
        assert_eq!(after_mark(&request, &stderr), None);
    }
}

#[test]
fn the_request_means_the_same_to_every_login_shell_and_holds_no_secret() {
    for (privilege, _) in ways() {
        let request = request(&target(privilege)).expect("a request");
        assert!(!request.command.contains("pass word"), "{}", request.command);
        assert!(!format!("{request:?}").contains("pass word"), "nor in what is printed of it");
        assert_eq!(request.command.split('\'').count(), 3, "one quoted string: {}", request.command);
        assert!(!request.command.contains(['!', '\\', '\n']), "{}", request.command);
    }
    let root = request(&target(Privilege::Root)).expect("a request");
    assert_eq!(root.command, "exec /bin/sh -c 'IFS= read -r l && eval \"$l\"'");
    assert_eq!(root.preamble(&text("x")), format!("{CLEAN} -s\n"));
}

#[test]
fn a_password_of_two_lines_is_refused() {
    let target = target(Privilege::Sudo { password: Some("one\ntwo".into()) });
    assert!(matches!(request(&target), Err(TransportError::Privilege { .. })));
}
