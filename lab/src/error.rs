//! What can go wrong with a lab, in words for the person at the terminal.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// An error of the lab. Its text names the thing and what was found; [`Error::remedy`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Network namespaces and machines need root.
    #[error("the lab needs root: it makes machines and a network namespace")]
    NotRoot,

    /// A program that the lab runs is not installed.
    #[error("{program} is not installed; the lab needs it {why}")]
    MissingProgram {
        /// The program's name.
        program: &'static str,
        /// What it is needed for: `to make the machine image`.
        why: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },

    /// The host has no apt, so that nothing can be installed for the user.
    #[error("there is no apt-get here to install what is missing: {programs}")]
    CannotInstall {
        /// The missing programs, separated by commas.
        programs: String,
    },

    /// The engine's daemon does not answer.
    #[error("the container engine does not answer: {detail}")]
    EngineDown {
        /// What the engine's command line said.
        detail: String,
    },

    /// The engine's daemon was started and did not come up.
    #[error("the container engine did not start within {} s; the end of {log} says:\n{tail}", .limit.as_secs())]
    EngineNotStarted {
        /// How long we waited.
        limit: Duration,
        /// Where its log is.
        log: String,
        /// The last lines of that log.
        tail: String,
    },

    /// A lab's name has characters that networks and containers cannot have.
    #[error(
        "the lab's name {name:?} must be 1 to 30 small letters, digits and hyphens, beginning with a letter"
    )]
    BadName {
        /// The name as given.
        name: String,
    },

    /// The machines as wished are impossible.
    #[error("the lab cannot have these machines: {reason}")]
    BadSpec {
        /// What is wrong and what would be right.
        reason: String,
    },

    /// Another network of the engine has addresses of this lab's subnet.
    #[error(
        "the subnet {subnet} overlaps with {other_subnet}, which the container engine's network {network} has"
    )]
    SubnetInUse {
        /// This lab's subnet.
        subnet: String,
        /// The subnet in its way.
        other_subnet: String,
        /// The network that has it.
        network: String,
        /// The lab it belongs to, if it is a lab's.
        lab: Option<String>,
    },

    /// The lab is up with other machines than those wished.
    #[error("the lab {name:?} is already up, with {have}; wished are {want}")]
    UpWithOtherMachines {
        /// The lab's name.
        name: String,
        /// The machines it has.
        have: String,
        /// The machines wished.
        want: String,
    },

    /// A command for a lab that is not up.
    #[error("the lab {name:?} is not up: nothing was run, nothing was sent")]
    NotUp {
        /// The lab's name.
        name: String,
    },

    /// No such machine in this lab.
    #[error("the lab {lab:?} has no machine {machine:?}; it has {known}")]
    NoSuchMachine {
        /// The lab's name.
        lab: String,
        /// The machine asked for.
        machine: String,
        /// The machines it has, separated by commas.
        known: String,
    },

    /// A machine did not become usable in time.
    #[error("{machine} ({address}) did not let us in over SSH within {} s: {detail}", .limit.as_secs())]
    MachineNotReady {
        /// The lab's name.
        lab: String,
        /// The machine's name.
        machine: String,
        /// Its address.
        address: Ipv4Addr,
        /// How long we waited.
        limit: Duration,
        /// The last attempt's message.
        detail: String,
    },

    /// A program that the lab runs has failed.
    #[error("{what} failed ({status}):\n{tail}")]
    Failed {
        /// What was being done: `docker network create muster-lab-default`.
        what: String,
        /// `exit status: 1`, `signal: 9`.
        status: String,
        /// The end of what it printed.
        tail: String,
    },

    /// A maker of machines refuses something because it is still busy with what a run wanted that was killed.
    #[error("{what} is refused, because something is still at work there:\n{tail}")]
    Busy {
        /// What was being done: `docker network rm muster-lab-default`.
        what: String,
        /// The refusal.
        tail: String,
    },

    /// The machine must be on for this.
    #[error("{machine} is off")]
    MachineOff {
        /// The machine's name.
        machine: String,
    },

    /// A program did not finish in time and was ended.
    #[error("{what} did not finish within {} s and was ended; its last words:\n{tail}", .limit.as_secs())]
    TimedOut {
        /// What was being done.
        what: String,
        /// The limit.
        limit: Duration,
        /// The end of what it printed.
        tail: String,
    },

    /// A disk is too full.
    #[error("{place} has {free_mib} MiB free, and making a machine image needs about {needed_mib} MiB")]
    DiskFull {
        /// The folder.
        place: PathBuf,
        /// Free space in MiB.
        free_mib: u64,
        /// Needed space in MiB.
        needed_mib: u64,
    },

    /// Another run holds a lock for too long.
    #[error("another muster has been working on {place} for {} s", .limit.as_secs())]
    Locked {
        /// The folder that both want to change.
        place: PathBuf,
        /// How long we waited.
        limit: Duration,
    },

    /// The kernel offers no kind of network device that a lab's network can be built on.
    #[error("this kernel makes none of the devices that a lab's network can be built on ({kinds}): {detail}")]
    NoLinkKind {
        /// The kinds tried.
        kinds: String,
        /// What the last attempt said.
        detail: String,
    },

    /// A file of the lab cannot be read or written.
    #[error("{doing} {path}: {source}")]
    File {
        /// `cannot read`, `cannot write`, ...
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// The lab's own record of itself does not parse.
    #[error("{path} is not a lab's record: {reason}")]
    BadState {
        /// The lab's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
}

impl Error {
    /// What to do about it, where that can be said.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NotRoot => "run the same command through sudo".to_owned(),
            Self::MissingProgram { package, .. } => {
                format!("apt-get install {package}, or let `muster lab up --install` do it")
            }
            Self::CannotInstall { .. } => "install them with this system's package manager".to_owned(),
            Self::EngineDown { .. } => "`muster lab up` starts it; or systemctl start docker".to_owned(),
            Self::SubnetInUse { lab: Some(lab), .. } => format!(
                "that is the lab {lab:?}: take it down with `{}`, or give this one another subnet with --subnet",
                lab_command("down", lab)
            ),
            Self::SubnetInUse { .. } => "give the lab another subnet with --subnet".to_owned(),
            Self::UpWithOtherMachines { name, .. } => format!(
                "take it down first with `{}`, or bring up another lab beside it with --name and --subnet",
                lab_command("down", name)
            ),
            Self::NotUp { name } => format!("bring it up with `{}`", lab_command("up", name)),
            Self::MachineNotReady { lab, machine, .. } => {
                format!("`{} {machine}` shows what it wrote", lab_command("logs", lab))
            }
            Self::DiskFull { .. } => "make room, or choose a folder on another disk".to_owned(),
            Self::Locked { .. } => "wait for it, or end it".to_owned(),
            Self::NoLinkKind { .. } => "load one of these kernel modules: modprobe dummy".to_owned(),
            Self::BadState { name, .. } => format!("`{}` removes it", lab_command("down", name)),
            Self::Busy { .. } => "run the same command again in a minute".to_owned(),
            Self::EngineNotStarted { .. }
            | Self::MachineOff { .. }
            | Self::BadName { .. }
            | Self::BadSpec { .. }
            | Self::NoSuchMachine { .. }
            | Self::Failed { .. }
            | Self::TimedOut { .. }
            | Self::File { .. } => return None,
        })
    }
}

/// The command line for a lab, which need not be named if it is the default one.
fn lab_command(verb: &str, lab: &str) -> String {
    let name = if lab == crate::DEFAULT_NAME { String::new() } else { format!(" --name {lab}") };
    format!("muster lab{name} {verb}")
}

/// Makes an [`Error::File`] of an I/O error.
pub(crate) fn file_error(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { doing, path, source }
}
