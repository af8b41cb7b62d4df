//! Makers of machines: what makes, finds, switches and removes the machines of a lab. [`crate::Lab`] knows no more of
//! them than stands here.
//!
//! What a maker does may take minutes, fail half-way, and be cut off at any point by a run that is killed. So a maker
//! keeps no list of what it has made: everything carries the lab's name as its mark from the moment it exists, and
//! [`Maker::machines`] finds it by that mark. Only what carries the mark is ever changed or removed.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::process::Command;
use std::time::Duration;

use crate::Error;
use crate::progress::Step;
use crate::spec::{LabSpec, MachineSpec, Release};
use crate::waiting::Wait;

/// Makes machines for one lab.
pub(crate) trait Maker: fmt::Debug + Sync {
    /// Makes sure that machines can be made on this computer: programs are installed, daemons run, limits suffice.
    /// With `install`, missing programs are installed.
    fn prepare(&self, spec: &LabSpec, install: bool, step: Step<'_>) -> Result<(), Error>;

    /// Looks for what is there already and would be in the way of these machines.
    fn refuse_conflicts(&self, spec: &LabSpec) -> Result<(), Error>;

    /// The image that machines begin with; made the first time, which takes minutes.
    fn ensure_image(&self, release: Release, step: Step<'_>) -> Result<Image, Error>;

    /// Makes the network that the machines live in, and the place from where they are reached, or what is missing.
    fn ensure_network(&self, spec: &LabSpec) -> Result<(), Error>;

    /// The lab's machines that exist, however much of them, with their states.
    fn machines(&self) -> Result<Vec<(String, MachineState)>, Error>;

    /// Makes a machine that does not exist, and switches it on. Cut off, it leaves nothing, a machine that is
    /// [`MachineState::Unfinished`], or a whole one.
    fn create(&self, order: &Order<'_>) -> Result<(), Error>;

    /// Switches a machine on, off, and so on. Returns when that is done, which is not the end of the machine's boot.
    fn control(&self, machine: &str, control: Control) -> Result<(), Error>;

    /// Removes machines with their disks, running or not, whole or unfinished.
    fn remove(&self, machines: &[&str]) -> Result<(), Error>;

    /// Removes the network, whichever parts of it there are; says whether there were any. No machine is on it.
    fn remove_network(&self) -> Result<bool, Error>;

    /// Removes images that are easily made again and that no lab uses.
    fn remove_unused_images(&self, step: Step<'_>) -> Result<(), Error>;

    /// A command that runs a program of this computer where it can reach the machines.
    ///
    /// # Errors
    /// [`Error::NotUp`] when there is no such place, because the network is not there.
    fn reach(&self, program: &OsStr) -> Result<Command, Error>;

    /// A command that runs a program inside a machine that is on, without SSH; `None` where SSH is the only way.
    fn inside(&self, machine: &str, program: &str) -> Result<Option<Command>, Error>;

    /// A command that shows what a machine has written to its console, whether it is on or off.
    fn console(&self, machine: &str) -> Command;

    /// Variables that every cluster on these machines needs, below all that its user says: YAML.
    fn cluster_defaults(&self) -> Option<&'static str>;

    /// How many times longer than in a container everything may take in these machines.
    fn slowness(&self) -> u32;
}

/// A machine as it is to be made.
pub(crate) struct Order<'a> {
    pub(crate) machine: &'a MachineSpec,
    pub(crate) lab: &'a LabSpec,
    pub(crate) image: &'a Image,
    /// The line of `authorized_keys` that opens root and admin.
    pub(crate) authorized_key: &'a str,
}

/// An image that cannot be removed as long as this value lives.
pub(crate) struct Image {
    /// How the maker calls it.
    pub(crate) name: String,
    /// Held by whoever uses or removes images.
    pub(crate) _lock: File,
}

/// How long a maker may be busy with a command whose sender was killed.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);
const SETTLE_PAUSE: Duration = Duration::from_millis(300);

/// Does something that a maker may refuse with [`Error::Busy`]. Such a refusal passes; others are returned.
pub(crate) fn settled<T>(mut deed: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let wait = Wait::new(SETTLE_LIMIT, SETTLE_PAUSE);
    loop {
        match deed() {
            Err(Error::Busy { .. }) if !wait.is_over() => wait.pause(),
            other => return other,
        }
    }
}

/// Whether a machine is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    /// Its processes run.
    Running,
    /// It is frozen: it is silent on the network, as with a cut cable.
    Paused,
    /// It is between two boots.
    Restarting,
    /// It was not made to the end, or never switched on: a run was cut off.
    Unfinished,
    /// It is off.
    Stopped,
    /// It does not exist (any more).
    Missing,
}

impl fmt::Display for MachineState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Unfinished => "unfinished",
            Self::Stopped => "stopped",
            Self::Missing => "missing",
        })
    }
}

/// Something to do to a machine's power or processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Switches it on.
    Start,
    /// Shuts it down in good order; if that takes too long, cuts its power.
    Stop,
    /// Cuts its power.
    Kill,
    /// Shuts it down and starts it again. Address, disks and host keys stay.
    Restart,
    /// Freezes it: connections to it hang.
    Pause,
    /// Lets it go on.
    Unpause,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_that_pass_are_tried_again() {
        let busy = || Error::Busy { what: "x".into(), tail: "y".into() };
        let mut answers = vec![Ok(()), Err(busy())];
        settled(|| answers.pop().unwrap()).unwrap();
        let mut tries = 0;
        let result: Result<(), Error> = settled(|| {
            tries += 1;
            Err(Error::NotRoot)
        });
        assert!(result.is_err());
        assert_eq!(tries, 1);
    }
}
