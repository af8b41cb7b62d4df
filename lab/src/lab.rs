//! The lab: machines, their network and their key, made and removed together.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use crate::access::Access;
use crate::engine::{Engine, EngineNetwork, MachineState, settled};
use crate::error::{Error, file_error};
use crate::image::{self, Image};
use crate::machine::{self, Mould};
use crate::network::Network;
use crate::progress::{ProgressFn, Step};
use crate::spec::{self, LabSpec, MachineSpec};
use crate::{host, install, lock};

/// The name of the lab that commands mean when they name none.
pub const DEFAULT_NAME: &str = "default";

/// How long [`Lab::down`] looks for machines that the engine goes on making after the run that wanted them was
/// killed. It takes 1 to 2 s for one.
const LATECOMER_LIMIT: Duration = Duration::from_secs(5);
const LATECOMER_PAUSE: Duration = Duration::from_millis(500);

/// Where a lab keeps its things.
#[derive(Debug, Clone)]
pub struct LabConfig {
    /// Tells labs apart that run side by side: small letters, digits and hyphens.
    pub name: String,
    /// Keeps what is expensive to make again (machine images), for all labs. Survives [`Lab::down`].
    pub cache_dir: PathBuf,
    /// Holds a folder for each lab that is up, with its record, its SSH key and its known hosts.
    pub state_dir: PathBuf,
}

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

/// Something to do to a machine's power or processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Switches it on.
    Start,
    /// Shuts it down in good order; after 10 s, pulls the plug.
    Stop,
    /// Pulls the plug.
    Kill,
    /// Shuts it down and starts it again. Address, disks and host keys stay.
    Restart,
    /// Freezes it: connections to it hang.
    Pause,
    /// Lets it go on.
    Unpause,
}

impl Control {
    /// The word for it, also the engine's.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
        }
    }
}

/// A lab, up or not.
#[derive(Debug)]
pub struct Lab {
    config: LabConfig,
    network: Network,
    access: Access,
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
        let network = Network::new(&config.name);
        let access = Access::new(&config.state_dir.join(&config.name));
        Ok(Self { config, network, access })
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

    /// Brings the lab up and waits until all machines can be used. A lab that is up as wished stays as it is;
    /// machines of it that are off, frozen or missing are mended.
    ///
    /// # Errors
    /// Whatever keeps a lab from coming up; the same call may be tried again.
    pub fn up(&self, options: &UpOptions, report: &ProgressFn<'_>) -> Result<(), Error> {
        let all: Vec<&MachineSpec> = options.spec.machines.iter().collect();
        self.bring_up(options, &all, report)
    }

    /// Brings up some machines of a lab, with all that they need.
    fn bring_up(
        &self,
        options: &UpOptions,
        machines: &[&MachineSpec],
        report: &ProgressFn<'_>,
    ) -> Result<(), Error> {
        let spec = &options.spec;
        spec.validate()?;
        host::require_root()?;
        let name = self.name();
        let of = 3 + machines.len();
        let step = |what, number| Step { what, number: (number, of), report };

        let begin = step("container engine", 1);
        let cache = &self.config.cache_dir;
        install::ensure_programs(options.install, image::is_cached(cache, spec.release), begin)?;
        let engine = install::ensure_engine(cache, begin)?;
        self.refuse_other_machines(&engine, spec)?;
        let others: Vec<_> =
            engine.networks()?.into_iter().filter(|network| network.lab.as_deref() != Some(name)).collect();
        refuse_overlap(spec.subnet, &others)?;
        host::raise_inotify_limits(begin)?;

        let machine_image = Image::ensure(&engine, cache, spec.release, step("machine image", 2))?;

        let folder = self.folder();
        fs::create_dir_all(&folder).map_err(file_error("cannot make", &folder))?;
        let _lock = lock::wait(&folder, begin)?;
        // Another run may have been faster.
        self.refuse_other_machines(&engine, spec)?;
        self.write_record(spec)?;
        let authorized_key = self.access.ensure_key(name)?;
        let networking = step("network", 3);
        networking.say(&format!("{} with the controller at {}", spec.subnet, spec.router()));
        self.ensure_network(&engine, spec)?;

        let withheld = host::withheld_capabilities()?;
        let mould = Mould {
            lab: name,
            spec,
            image: &machine_image.name,
            authorized_key: &authorized_key,
            without_capabilities: &withheld,
        };
        let steps: Vec<_> =
            (4..).zip(machines).map(|(number, machine)| (*machine, step(&machine.name, number))).collect();
        on_each(&steps, |machine, step| settled(|| switch_on(&engine, &mould, machine, step)))?;
        drop(machine_image);
        let namespace = self.network.namespace_file();
        on_each(&steps, |machine, step| {
            machine::wait_until_ready(name, &self.access, &namespace, machine, step)
        })
    }

    /// Removes the lab: machines with their disks, network, key and record, and the image from the engine if no other
    /// lab uses it. Says whether there was anything.
    ///
    /// # Errors
    /// What could not be removed; the same call may be tried again.
    pub fn down(&self, report: &ProgressFn<'_>) -> Result<bool, Error> {
        host::require_root()?;
        let step = |what, number| Step { what, number: (number, 3), report };
        let folder = self.folder();
        // Without a record there may still be machines, if somebody removed it by hand.
        let lock = if folder.exists() { Some(lock::wait(&folder, step("machines", 1))?) } else { None };
        let mut found = false;
        let engine = match Engine::connect() {
            Ok(engine) => Some(engine),
            // Where the engine was never installed it holds nothing. If it is only down, we cannot know.
            Err(Error::MissingProgram { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(engine) = &engine {
            found = self.remove_machines(engine, step("machines", 1))?;
        }
        step("network", 2).say("removing");
        found |= self.network.remove()?;
        step("files", 3).say("removing key, record and unused image");
        if folder.exists() {
            found = true;
            fs::remove_dir_all(&folder).map_err(file_error("cannot remove", &folder))?;
        }
        // The folder of all labs goes with the last one.
        match fs::remove_dir(&self.config.state_dir) {
            Err(error) if !matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
                return Err(file_error("cannot remove", &self.config.state_dir)(error));
            }
            _ => {}
        }
        // A run that brings this lab up holds the image's lock while it waits for this one.
        drop(lock);
        if let (Some(engine), true) = (&engine, found) {
            Image::remove_unused(engine, &self.config.cache_dir, step("files", 3))?;
        }
        Ok(found)
    }

    /// All machines and how they are; empty when the lab is not up.
    ///
    /// # Errors
    /// When the engine or the record cannot be read.
    pub fn status(&self) -> Result<Vec<MachineStatus>, Error> {
        let Some(spec) = self.record()? else { return Ok(Vec::new()) };
        let present = Engine::connect()?.machines(self.name())?;
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
        let path = self.record_file();
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| Error::BadState {
                name: self.config.name.clone(),
                path,
                reason: error.to_string(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error("cannot read", path)(error)),
        }
    }

    /// A command that runs a program of the host in the lab's network and nowhere else: it reaches the machines and
    /// itself. Arguments, streams and the way to run it are the caller's. Its environment says where the key is
    /// ([`crate::PRIVATE_KEY_VARIABLE`]) and where host keys are noted ([`crate::KNOWN_HOSTS_VARIABLE`]).
    ///
    /// # Errors
    /// [`Error::NotUp`]: then there is no network in which the command could run.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, Error> {
        host::require_root()?;
        self.require_network()?;
        Ok(self.access.inside(&self.network.namespace_file(), program))
    }

    /// An ssh command to a machine, given as `node1`, `10.146.225.4` or `admin@node1`; the user is root if not given.
    ///
    /// # Errors
    /// [`Error::NotUp`], [`Error::NoSuchMachine`].
    pub fn ssh(&self, machine: &str) -> Result<Command, Error> {
        host::require_root()?;
        self.require_network()?;
        let (user, machine) = machine.split_once('@').unwrap_or(("root", machine));
        let address: Ipv4Addr = self.machine(machine)?.address;
        Ok(self.access.ssh(&self.network.namespace_file(), user, address))
    }

    /// A command that shows a machine's journal, to which arguments of journalctl may be added; of a machine that is
    /// off, its last words on the console.
    ///
    /// # Errors
    /// [`Error::NotUp`], [`Error::NoSuchMachine`].
    pub fn logs(&self, machine: &str) -> Result<Command, Error> {
        host::require_root()?;
        let machine = self.machine(machine)?.name;
        let engine = Engine::connect()?;
        let present = engine.machines(self.name())?;
        if state_of(&present, &machine) != MachineState::Running {
            return Ok(engine.console(self.name(), &machine));
        }
        let mut journal = engine.inside(self.name(), &machine, "journalctl")?;
        journal.arg("--no-pager");
        Ok(journal)
    }

    /// Switches a machine off, freezes it, and so on. Returns when the engine has done so; see
    /// [`Lab::wait_until_ready`] for the end of its boot.
    ///
    /// # Errors
    /// [`Error::NotUp`], [`Error::NoSuchMachine`], or the engine's refusal.
    pub fn control(&self, machine: &str, control: Control) -> Result<(), Error> {
        let machine = self.machine(machine)?;
        Engine::connect()?.control(control.verb(), self.name(), &machine.name)
    }

    /// Replaces a machine by a new one of the same name and address, as a re-imaged PC: empty disk, new host keys.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn reimage(&self, machine: &str, report: &ProgressFn<'_>) -> Result<(), Error> {
        let machine = self.machine(machine)?;
        let spec = self.require_record()?;
        Engine::connect()?.remove(self.name(), &[machine.name.as_str()])?;
        self.bring_up(&UpOptions { spec, install: false }, &[&machine], report)
    }

    /// Waits until a machine lets us in over SSH and its boot has ended.
    ///
    /// # Errors
    /// [`Error::MachineNotReady`].
    pub fn wait_until_ready(&self, machine: &str, report: &ProgressFn<'_>) -> Result<(), Error> {
        self.require_network()?;
        let machine = self.machine(machine)?;
        let step = Step { what: &machine.name, number: (1, 1), report };
        machine::wait_until_ready(self.name(), &self.access, &self.network.namespace_file(), &machine, step)
    }

    fn folder(&self) -> PathBuf {
        self.config.state_dir.join(&self.config.name)
    }

    fn record_file(&self) -> PathBuf {
        self.folder().join("lab.json")
    }

    fn write_record(&self, spec: &LabSpec) -> Result<(), Error> {
        let path = self.record_file();
        let text = serde_json::to_string_pretty(spec).map_err(io::Error::other);
        text.and_then(|text| write_whole(&path, &text)).map_err(file_error("cannot write", &path))
    }

    fn require_record(&self) -> Result<LabSpec, Error> {
        self.record()?.ok_or_else(|| Error::NotUp { name: self.config.name.clone() })
    }

    fn require_network(&self) -> Result<(), Error> {
        if self.network.is_up() { Ok(()) } else { Err(Error::NotUp { name: self.config.name.clone() }) }
    }

    fn machine(&self, name_or_address: &str) -> Result<MachineSpec, Error> {
        let spec = self.require_record()?;
        spec.machine(name_or_address).cloned().ok_or_else(|| Error::NoSuchMachine {
            lab: self.config.name.clone(),
            machine: name_or_address.to_owned(),
            known: spec.machines.iter().map(|machine| machine.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    fn refuse_other_machines(&self, engine: &Engine, want: &LabSpec) -> Result<(), Error> {
        if engine.machines(self.name())?.is_empty() {
            return Ok(());
        }
        match self.record()? {
            Some(have) if have == *want => Ok(()),
            have => Err(Error::UpWithOtherMachines {
                name: self.config.name.clone(),
                have: have
                    .map_or("machines that its record does not know".to_owned(), |have| have.to_string()),
                want: want.to_string(),
            }),
        }
    }

    /// Removes machines and network from the engine; says whether there was anything.
    fn remove_machines(&self, engine: &Engine, step: Step<'_>) -> Result<bool, Error> {
        let name = self.name();
        // A broken record is no reason to keep the lab.
        let recorded = self.record().ok().flatten().map_or(0, |spec| spec.machines.len());
        let begin = Instant::now();
        let (mut removed, mut unfinished) = (0, false);
        loop {
            let present = engine.machines(name)?;
            if !present.is_empty() {
                step.say(&format!("removing {}", present.len()));
                let names: Vec<&str> = present.iter().map(|(name, _)| name.as_str()).collect();
                settled(|| engine.remove(name, &names))?;
                removed += names.len();
                unfinished |= present.iter().any(|(_, state)| *state == MachineState::Unfinished);
            }
            // Where a run was killed, the engine may still be making a machine, and that one would stay: it comes
            // into the list late, and even again after its removal.
            let cut_off = unfinished || removed < recorded;
            if !cut_off || begin.elapsed() > LATECOMER_LIMIT {
                break;
            }
            step.say("a run was cut off: waiting for machines that the engine may still be making");
            thread::sleep(LATECOMER_PAUSE);
        }
        let has_network = engine.networks()?.iter().any(|network| network.lab.as_deref() == Some(name));
        if has_network {
            settled(|| engine.remove_network(name))?;
        }
        Ok(has_network || removed > 0)
    }

    fn ensure_network(&self, engine: &Engine, spec: &LabSpec) -> Result<(), Error> {
        let name = self.name();
        let ours = engine.networks()?.into_iter().find(|network| network.lab.as_deref() == Some(name));
        let ready = ours.as_ref().is_some_and(|network| network.subnets == [spec.subnet]);
        if !ready {
            // What a run left that was cut off. No machine is on it, or the record would have been the same.
            if ours.is_some() {
                engine.remove_network(name)?;
            }
            self.network.remove()?;
        }
        self.network.ensure_link()?;
        if !ready {
            engine.create_network(name, self.network.link(), spec.subnet, spec.router())?;
        }
        self.network.ensure_router(spec.subnet, spec.router())
    }
}

fn refuse_overlap(subnet: Ipv4Net, others: &[EngineNetwork]) -> Result<(), Error> {
    let overlaps = |other: &Ipv4Net| other.contains(&subnet) || subnet.contains(other);
    for network in others {
        if let Some(other) = network.subnets.iter().find(|other| overlaps(other)) {
            return Err(Error::SubnetInUse {
                subnet: subnet.to_string(),
                other_subnet: other.to_string(),
                network: network.name.clone(),
                lab: network.lab.clone(),
            });
        }
    }
    Ok(())
}

fn switch_on(engine: &Engine, mould: &Mould<'_>, machine: &MachineSpec, step: Step<'_>) -> Result<(), Error> {
    match state_of(&engine.machines(mould.lab)?, &machine.name) {
        MachineState::Missing => {
            step.say(&format!("starting at {}", machine.address));
            mould.create(engine, machine)
        }
        MachineState::Unfinished => {
            step.say("was left unfinished: making it again");
            engine.remove(mould.lab, &[&machine.name])?;
            mould.create(engine, machine)
        }
        MachineState::Stopped => {
            step.say("was off: starting again");
            engine.control(Control::Start.verb(), mould.lab, &machine.name)
        }
        MachineState::Paused => {
            step.say("was paused: going on");
            engine.control(Control::Unpause.verb(), mould.lab, &machine.name)
        }
        MachineState::Running | MachineState::Restarting => Ok(()),
    }
}

fn state_of(present: &[(String, MachineState)], machine: &str) -> MachineState {
    present.iter().find(|(name, _)| name == machine).map_or(MachineState::Missing, |(_, state)| *state)
}

/// Does something to all machines at the same time; the error is that of the first machine that has one.
fn on_each<'a>(
    machines: &[(&'a MachineSpec, Step<'a>)],
    deed: impl Fn(&MachineSpec, Step<'_>) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let deed = &deed;
    thread::scope(|scope| {
        let running: Vec<_> =
            machines.iter().map(|(machine, step)| scope.spawn(move || deed(machine, *step))).collect();
        let results: Vec<_> = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        results.into_iter().collect()
    })
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    muster_files::write_whole(path, None, &mut text.as_bytes())
}

#[cfg(test)]
mod tests {
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
    fn a_record_is_read_back_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let lab = lab(folder.path(), "x").unwrap();
        fs::create_dir_all(lab.folder()).unwrap();
        let spec = LabSpec::default();
        lab.write_record(&spec).unwrap();
        assert_eq!(lab.record().unwrap(), Some(spec));
        assert_eq!(lab.machine("10.146.225.6").unwrap().name, "node3");
        let error = lab.machine("node9").unwrap_err().to_string();
        assert!(error.contains("node1, node2, node3"), "{error}");
        fs::write(lab.record_file(), "{").unwrap();
        assert!(matches!(lab.record(), Err(Error::BadState { .. })));
    }

    #[test]
    fn overlapping_subnets_are_named_with_their_lab() {
        let other = EngineNetwork {
            name: "muster-lab-course".to_owned(),
            lab: Some("course".to_owned()),
            subnets: vec!["10.146.0.0/16".parse().unwrap()],
        };
        let error = refuse_overlap(LabSpec::default().subnet, &[other]).unwrap_err();
        assert!(error.to_string().contains("10.146.225.0/24 overlaps with 10.146.0.0/16"), "{error}");
        assert!(error.remedy().unwrap().contains("`muster lab --name course down`"), "{:?}", error.remedy());
        let apart = EngineNetwork {
            name: "bridge".to_owned(),
            lab: None,
            subnets: vec!["172.17.0.0/16".parse().unwrap()],
        };
        refuse_overlap(LabSpec::default().subnet, &[apart]).unwrap();
    }
}
