//! Becoming root: what sshd is asked to run, what is sent to it before the program, and what went wrong when the program
//! never started.
//!
//! The request is the same for every program, so that it can be made before the program is known. It must mean the same
//! to every login shell (sh, csh, fish): it holds one string in single quotes, without `!`, backslash or line break in
//! it. Passwords and programs go over standard input only. Whoever has to become root first writes a mark to standard
//! error once root; without the mark the program never started, whatever language sudo complains in.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::target::{Privilege, Target};
use crate::advice::Advice;
use crate::script::nonce;
use crate::transport::{Program, TransportError};

/// What to ask sshd to run, and what it must be sent before the program.
#[derive(Debug)]
pub(super) struct Request {
    /// For the login shell.
    pub(super) command: String,
    /// For sudo. Sent first, and nothing more before the mark is there: a sudo that refuses it would take the lines
    /// that follow for further attempts, which hands the program to PAM and may lock the account.
    pub(super) password: Option<SecretString>,
    /// What sudo writes to standard error each time it wants a password: seen twice, it refused ours.
    pub(super) prompt: Option<String>,
    /// The line on standard error that says root is reached; what comes before is sudo's or the login shell's.
    pub(super) mark: Option<String>,
}

/// Takes a program of one line, and leaves what follows to it: `read` takes no byte beyond the line (POSIX XCU, read).
/// A line cut short by a lost connection lacks its end, so `read` fails and nothing runs.
const RUN: &str = "IFS= read -r l && eval \"$l\"";
/// What a program finds in its environment. A login brings more (/etc/environment, profiles, sudo's `env_keep`): a proxy,
/// `ETCDCTL_*`, `KUBECONFIG`, `GREP_OPTIONS`, a language. It would change what programs do, on one machine and not on another.
const CLEAN: &str = "exec env -i HOME=\"$HOME\" PATH=\"$PATH\" LC_ALL=C /bin/sh";

/// Makes the request for whatever program comes.
pub(super) fn request(target: &Target) -> Result<Request, TransportError> {
    let mark = nonce();
    // The empty line ends what sudo may have left open. LC_ALL, below: what sudo says is shown and searched.
    let marked = format!("{{ echo; echo {mark}; }} >&2");
    let plain = |command| Request { command, password: None, prompt: None, mark: None };
    Ok(match &target.privilege {
        Privilege::Root => plain(format!("exec /bin/sh -c '{RUN}'")),
        Privilege::Sudo { password: None } => Request {
            mark: Some(mark),
            ..plain(format!("exec env LC_ALL=C sudo -n -H /bin/sh -c '{marked}; {RUN}'"))
        },
        Privilege::Sudo { password: Some(password) } => {
            if password.expose_secret().contains(['\n', '\0']) {
                return Err(failure(
                    target,
                    "the sudo password holds a line break",
                    "sudo can read one line only",
                ));
            }
            // sudo takes the password, or where it needs none, nothing. The loop drops what is left up to the mark,
            // so that both come to the same.
            let skip = format!("while IFS= read -r l; do [ \"$l\" = {mark} ] && break; done");
            let prompt = format!("ask-{mark}");
            Request {
                command: format!(
                    "exec env LC_ALL=C sudo -S -H -p {prompt} /bin/sh -c '{marked}; {skip}; {RUN}'"
                ),
                password: Some(password.clone()),
                prompt: Some(prompt),
                mark: Some(mark),
            }
        }
        Privilege::Doas => Request {
            mark: Some(mark),
            ..plain(format!("exec env LC_ALL=C doas -n /bin/sh -c '{marked}; {RUN}'"))
        },
    })
}

impl Request {
    /// What is sent once root is reached, before the text or the data.
    pub(super) fn preamble(&self, program: &Program) -> String {
        let line = match program {
            // A longer program follows, to the end of the input.
            Program::Text(_) => format!("{CLEAN} -s"),
            // Its line is read again there: in an argument everybody on the machine would see it.
            Program::Reader { line, .. } => format!("{CLEAN} -c '{RUN}'\n{line}"),
        };
        match (&self.password, &self.mark) {
            (Some(_), Some(mark)) => format!("{mark}\n{line}\n"),
            _ => format!("{line}\n"),
        }
    }
}

/// What to do about something that sudo or doas says.
#[derive(Clone, Copy)]
enum Remedy {
    GivePassword,
    CorrectPassword,
    /// In words, in which USER stands for the login name.
    Words(&'static str),
}
use Remedy::{CorrectPassword, GivePassword, Words};

impl Remedy {
    fn advice(self, target: &Target) -> Advice {
        match self {
            GivePassword => Advice::GiveBecomePassword { user: target.user.clone() },
            CorrectPassword => Advice::CorrectBecomePassword,
            Words(words) => {
                let words = words.replace("USER", &target.user);
                let logins = OTHER_LOGINS.iter().filter(|_| target.local);
                logins.fold(words, |words, login| words.replace(*login, "run this as root")).into()
            }
        }
    }
}

/// What sudo and doas say, and what to do about it. The first that fits counts.
const REMEDIES: &[(&str, Remedy)] = &[
    ("a password is required", GivePassword),
    ("a terminal is required to read the password", GivePassword),
    ("no password was provided", GivePassword),
    ("incorrect password attempt", CorrectPassword),
    ("Authentication token", Words("the user's password has expired: log in once by hand and renew it")),
    ("must have a tty", Words("take `Defaults requiretty` out of /etc/sudoers on the machine (visudo)")),
    ("not in the sudoers file", SUDOERS),
    ("may not run sudo", SUDOERS),
    ("is not allowed to", SUDOERS),
    ("sudoers", Words("fix /etc/sudoers on the machine as root (visudo -c says what is wrong)")),
    ("must be owned by uid 0", Words("sudo's files are damaged on the machine: install sudo again as root")),
    (
        "no new privileges",
        Words("the machine forbids sudo here (no_new_privs, often a container): log in as root"),
    ),
    ("No such file or directory", ABSENT),
    ("not found", ABSENT),
    ("Not found", ABSENT),
    ("Unknown command", ABSENT),
    (
        "not available",
        Words(
            "give the user a login shell on the machine (usermod -s /bin/sh USER), or log in as another one",
        ),
    ),
    ("Operation not permitted", DOAS),
    ("Authentication required", DOAS),
];
/// What is proposed where nobody logs in: on this computer programs are started by whoever runs this. The longest come first.
const OTHER_LOGINS: [&str; 3] =
    ["log in as another user (ansible_user)", "log in as root (ansible_user=root)", "log in as root"];
const SUDOERS: Remedy = Words(
    "as root on the machine, add `USER ALL=(ALL) NOPASSWD: ALL` in a file under /etc/sudoers.d, or log in as another \
     user (ansible_user)",
);
const DOAS: Remedy = Words(
    "put `permit nopass USER as root` into /etc/doas.conf on the machine; doas asks for passwords on terminals only",
);
const ABSENT: Remedy = Words(
    "install it on the machine, name another way to become root (ansible_become_method), or log in as root \
     (ansible_user=root)",
);

/// sudo asked for the password again.
pub(super) fn wrong_password(target: &Target) -> TransportError {
    failure(target, "sudo refused the password", Advice::CorrectBecomePassword)
}

/// sudo neither took nor refused the password.
pub(super) fn silent(target: &Target, limit: Duration) -> TransportError {
    let reason = format!("sudo neither took nor refused the password within {} s", limit.as_secs());
    failure(target, &reason, format!("see what it asks for: {}", by_hand(target, "-t ", "sudo -k true")))
}

/// What a user types to see what a command does for whoever is to become root. `options`: those of ssh, each with a blank.
fn by_hand(target: &Target, options: &str, command: &str) -> String {
    let Target { user, host, port, .. } = target;
    match target.local {
        true => format!("`{command}`"),
        false => format!("`ssh {options}-p {port} {user}@{host} {command}`"),
    }
}

/// Why the program never started, from what was written to standard output and to standard error before the mark.
pub(super) fn diagnose(
    target: &Target,
    request: &Request,
    status: i32,
    stdout: &[u8],
    stderr: &[u8],
) -> TransportError {
    // Login shells that let nobody in say so on standard output (nologin(8)).
    let mut text = format!("{}\n{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    if let Some(prompt) = &request.prompt {
        text = text.replace(prompt.as_str(), "");
    }
    // What is said may be hostile or coloured; it ends in a message for a terminal.
    let clean = |line: &str| -> String { line.chars().filter(|c| !c.is_control()).collect() };
    // sshd says this of homes that are elsewhere; it stops nothing.
    let tells = |line: &String| !line.trim().is_empty() && !line.starts_with("Could not chdir to home");
    let lines: Vec<String> = text.lines().map(clean).filter(tells).collect();
    let how = if let Privilege::Doas = target.privilege { "doas -n true" } else { "sudo -n true" };
    let found = REMEDIES.iter().find_map(|(said, remedy)| {
        lines.iter().rev().find(|line| line.contains(said)).map(|line| (line.as_str(), *remedy))
    });
    let (reason, remedy) = match found {
        Some((line, remedy)) => (line.to_owned(), remedy.advice(target)),
        None => (
            lines.last().cloned().unwrap_or_else(|| format!("it ended with status {status} without a word")),
            format!("see what it does: {}", by_hand(target, "", how)).into(),
        ),
    };
    failure(target, &reason, remedy)
}

fn failure(target: &Target, reason: &str, remedy: impl Into<Advice>) -> TransportError {
    TransportError::Privilege {
        address: target.address(),
        user: target.user.clone(),
        reason: reason.to_owned(),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests;
