//! A lab: machines, their network and their key, made and removed together.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::access::Access;
use crate::config::LabConfig;
use crate::error::Error;
use crate::machine_ready;
use crate::maker::{Control, MachineState, Maker};
use crate::progress::{ProgressFn, Step};
use crate::record::Record;
use crate::required_programs::require_root;
use crate::spec::{self, LabSpec, MachineSpec};

/// The name of the lab that commands mean when they name none.
pub const DEFAULT_NAME: &str = "default";

/// How long a machine may take for its part of an SSH connection. Times its slowness.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What [`Lab::up`] is to bring about.
#[derive(Debug, Clone, Default)]
pub struct UpOptions {
    /// The machines.
    pub spec: LabSpec,
    /// Whether missing programs may be installed with apt.
    pub install: bool,
}

/// A machine and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineStatus {
    /// What it was made as.
    pub spec: MachineSpec,
    /// Whether it is on.
    pub state: MachineState,
}

/// A lab, up or not.
#[derive(Debug)]
pub struct Lab {
    config: LabConfig,
    access: Access,
    record: Record,
}

impl Lab {
    /// Names a lab; nothing is made or looked at yet.
    ///
    /// # Errors
    /// [`Error::BadName`].
    pub fn open(config: LabConfig) -> Result<Self, Error> {
        if !spec::is_label(&config.name, 30) {
            return Err(Error::BadName { name: config.name });
        }
        let folder = config.folder();
        let (access, record) = (Access::new(&folder), Record::new(&config.name, &folder));
        Ok(Self { config, access, record })
    }

    /// The lab's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The private key that opens root and admin on all machines.
    #[must_use]
    pub fn private_key(&self) -> PathBuf {
        self.access.private_key()
    }

    /// Where the lab's host keys are noted.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.access.known_hosts()
    }

    /// All machines and how they are; empty when the lab is not up.
    ///
    /// # Errors
    /// When their maker or the record cannot be read.
    pub fn status(&self) -> Result<Vec<MachineStatus>, Error> {
        let Some(spec) = self.record()? else { return Ok(Vec::new()) };
        let present = spec.maker.open(&self.config).machines()?;
        let status = |spec: MachineSpec| {
            let state = state_of(&present, &spec.name);
            MachineStatus { spec, state }
        };
        Ok(spec.machines.into_iter().map(status).collect())
    }

    /// What the lab was brought up as; `None` when it is not up.
    ///
    /// # Errors
    /// [`Error::BadState`], [`Error::File`].
    pub fn record(&self) -> Result<Option<LabSpec>, Error> {
        self.record.read()
    }

    /// A command that runs a program of this computer where it reaches the lab's machines and itself, and nothing else.
    /// Arguments, streams and the way to run it are the caller's. Its environment says where the key is
    /// ([`crate::PRIVATE_KEY_VARIABLE`]), where host keys are noted ([`crate::KNOWN_HOSTS_VARIABLE`]), and which
    /// variables clusters on the machines need ([`crate::DEFAULTS_VARIABLE`]).
    ///
    /// # Errors
    /// [`Error::NotUp`]: then there is no place in which the command could run.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, Error> {
        require_root()?;
        Ok(self.access.told(self.maker()?.reach(program.as_ref())?))
    }

    /// An ssh command to a machine, given as `node1`, `10.146.225.4` or `admin@node1`; the user is root if not given.
    ///
    /// # Errors
    /// [`Error::NotUp`], [`Error::NoSuchMachine`].
    pub fn ssh(&self, machine: &str) -> Result<Command, Error> {
        require_root()?;
        let (user, machine) = machine.split_once('@').unwrap_or(("root", machine));
        self.ssh_to(&*self.maker()?, user, &self.machine(machine)?)
    }

    /// A command that shows a machine's journal, to which arguments of journalctl may be added; of a machine that is
    /// off, its last words on the console.
    ///
    /// # Errors
    /// [`Error::NotUp`], [`Error::NoSuchMachine`].
    pub fn logs(&self, machine: &str) -> Result<Command, Error> {
        require_root()?;
        let (maker, machine) = (self.maker()?, self.machine(machine)?);
        if state_of(&maker.machines()?, &machine.name) != MachineState::Running {
            return Ok(maker.console(&machine.name));
        }
        let mut journal = match maker.inside(&machine.name, "journalctl")? {
            Some(journal) => journal,
            None => {
                let mut ssh = self.ssh_to(&*maker, "root", &machine)?;
                ssh.arg("journalctl");
                ssh
            }
        };
        journal.arg("--no-pager");
        Ok(journal)
    }

    /// Switches a machine off, freezes it, and so on. Returns when that is done; see [`Lab::wait_until_ready`] for the
    /// end of its boot.
    ///
    /// # Errors
    /// [`Error::NotUp`], [`Error::NoSuchMachine`], or the refusal of the machine's maker.
    pub fn control(&self, machine: &str, control: Control) -> Result<(), Error> {
        let machine = self.machine(machine)?;
        self.maker()?.control(&machine.name, control)
    }

    /// Waits until a machine lets us in over SSH and its boot has ended.
    ///
    /// # Errors
    /// [`Error::MachineNotReady`].
    pub fn wait_until_ready(&self, machine: &str, report: &ProgressFn<'_>) -> Result<(), Error> {
        let machine = self.machine(machine)?;
        let step = Step { what: &machine.name, number: (1, 1), report };
        self.wait_for(&*self.maker()?, &machine, step)
    }

    pub(crate) fn wait_for(
        &self,
        maker: &dyn Maker,
        machine: &MachineSpec,
        step: Step<'_>,
    ) -> Result<(), Error> {
        let ssh = || self.ssh_to(maker, "root", machine);
        machine_ready::wait_until_ready(self.name(), machine, maker.slowness(), ssh, step)
    }

    fn ssh_to(&self, maker: &dyn Maker, user: &str, machine: &MachineSpec) -> Result<Command, Error> {
        let ssh = maker.reach("ssh".as_ref())?;
        Ok(self.access.ssh(ssh, user, machine.address, CONNECT_LIMIT * maker.slowness()))
    }

    pub(crate) fn config(&self) -> &LabConfig {
        &self.config
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn write_record(&self, spec: &LabSpec) -> Result<(), Error> {
        self.record.write(spec)
    }

    pub(crate) fn require_record(&self) -> Result<LabSpec, Error> {
        self.record.require()
    }

    /// The maker of the machines of a lab that is up.
    fn maker(&self) -> Result<Box<dyn Maker>, Error> {
        Ok(self.require_record()?.maker.open(&self.config))
    }

    pub(crate) fn machine(&self, name_or_address: &str) -> Result<MachineSpec, Error> {
        let spec = self.require_record()?;
        spec.machine(name_or_address).cloned().ok_or_else(|| Error::NoSuchMachine {
            lab: self.config.name.clone(),
            machine: name_or_address.to_owned(),
            known: spec.machines.iter().map(|machine| machine.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

pub(crate) fn state_of(present: &[(String, MachineState)], machine: &str) -> MachineState {
    present.iter().find(|(name, _)| name == machine).map_or(MachineState::Missing, |(_, state)| *state)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn lab(folder: &Path, name: &str) -> Result<Lab, Error> {
        Lab::open(LabConfig {
            name: name.to_owned(),
            cache_dir: folder.join("cache"),
            state_dir: folder.join("state"),
        })
    }

    #[test]
    fn names_that_no_network_can_have_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "Lab", "1st", "a_b", "a-", "../x", "a-name-of-more-than-thirty-characters"] {
            assert!(matches!(lab(folder.path(), name), Err(Error::BadName { .. })), "{name}");
        }
        assert!(lab(folder.path(), "course-2").is_ok());
    }

    #[test]
    fn a_lab_that_is_not_up_runs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let lab = lab(folder.path(), "never-made").unwrap();
        assert!(lab.record().unwrap().is_none());
        for result in [lab.command("true"), lab.ssh("node1")] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::NotUp { .. } | Error::NotRoot), "{error}");
        }
        assert!(matches!(lab.control("node1", Control::Stop), Err(Error::NotUp { .. })));
        let remedy = Error::NotUp { name: "never-made".to_owned() }.remedy();
        assert_eq!(remedy.as_deref(), Some("bring it up with `muster lab --name never-made up`"));
    }

    #[test]
    fn machines_are_those_of_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let lab = lab(folder.path(), "x").unwrap();
        fs::create_dir_all(lab.config.folder()).unwrap();
        lab.write_record(&LabSpec::default()).unwrap();
        assert_eq!(lab.machine("10.146.225.6").unwrap().name, "node3");
        let error = lab.machine("node9").unwrap_err().to_string();
        assert!(error.contains("node1, node2, node3"), "{error}");
    }
}
