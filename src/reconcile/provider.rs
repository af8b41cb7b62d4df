//! Whoever has power over machines: knows whether they are on, switches them off and on, gives them a new system. The rest of the program
//! knows no more of them than stands in [`Provider`].

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use muster_lab::{Lab, MachineState};
use tokio::process::Command;

use crate::commands::lab;
use crate::environment::Environment;
use crate::error::CommandError;
use crate::output::text;
use crate::reconcile::decide::Power;
use crate::runtime::runtime;

/// The network of this computer.
const OUTSIDE: &str = "/proc/1/ns/net";

/// How long a program of the user's may take: a new system takes minutes.
const LIMIT: Duration = Duration::from_secs(1800);

/// A machine as a provider may know it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its name in the inventory.
    pub(crate) name: String,
    /// Where it is reached.
    pub(crate) address: String,
    /// What a new system of it is to be, where somebody says so.
    pub(crate) image: Option<String>,
}

/// Has power over machines.
pub(crate) trait Provider {
    /// Whether a machine is on.
    fn power(&self, machine: &Place) -> Result<Power, CommandError>;

    /// Switches a machine on that is off, and off and on one that is on. It need not have booted when this returns.
    fn cycle(&self, machine: &Place) -> Result<(), CommandError>;

    /// Gives a machine a new system, with new host keys or a certified one, and switches it on.
    fn reimage(&self, machine: &Place) -> Result<(), CommandError>;
}

/// The provider of this name: `lab`, `lab:NAME`, or a program.
///
/// # Errors
/// There can be no such lab.
pub(crate) fn provider(name: &str, environment: &Environment) -> Result<Box<dyn Provider>, CommandError> {
    let of_lab = match name.split_once(':') {
        None if name == "lab" => Some(muster_lab::DEFAULT_NAME),
        Some(("lab", lab)) => Some(lab),
        _ => None,
    };
    let provider: Box<dyn Provider> = match of_lab {
        Some(lab) => Box::new(LabMachines(lab::open(lab, environment)?)),
        None => Box::new(Program(name.to_owned())),
    };
    Ok(provider)
}

/// The machines of a lab of this computer, by their addresses.
struct LabMachines(Lab);

impl LabMachines {
    fn state(&self, machine: &Place) -> Result<Option<MachineState>, CommandError> {
        let all = self.0.status()?;
        let of_address = |address: std::net::Ipv4Addr| address.to_string() == machine.address;
        Ok(all.into_iter().find(|known| of_address(known.spec.address)).map(|known| known.state))
    }

    /// `muster lab ...`. Who heals a lab's cluster is in the lab's network, and machines are switched and made from outside of it, where
    /// the first process of this computer is. In a container that one may be hidden; then it is done from inside, which leaves a link
    /// there that goes with the lab.
    fn lab(&self, words: &[&str]) -> Result<(), CommandError> {
        let muster = std::env::current_exe();
        let muster =
            muster.map_err(|error| CommandError::failed(format!("cannot tell where muster is: {error}")))?;
        let mut command = if File::open(OUTSIDE).is_ok() {
            let mut outside = Command::new("nsenter");
            outside.arg(format!("--net={OUTSIDE}")).arg("--").arg(muster);
            outside
        } else {
            Command::new(muster)
        };
        command.args(["lab", "--name", self.0.name()]).args(words);
        ask(command, &format!("muster lab {}", words.join(" "))).map(drop)
    }
}

impl Provider for LabMachines {
    fn power(&self, machine: &Place) -> Result<Power, CommandError> {
        Ok(match self.state(machine)? {
            Some(MachineState::Running | MachineState::Paused | MachineState::Restarting) => Power::On,
            Some(MachineState::Stopped) => Power::Off,
            Some(MachineState::Missing | MachineState::Unfinished) | None => Power::Unknown,
        })
    }

    fn cycle(&self, machine: &Place) -> Result<(), CommandError> {
        match self.state(machine)? {
            Some(MachineState::Stopped) => self.lab(&["start", &machine.address]),
            // It cannot be killed.
            Some(MachineState::Paused) => self.lab(&["unpause", &machine.address]),
            _ => self.lab(&["kill", &machine.address]).and_then(|()| self.lab(&["start", &machine.address])),
        }
    }

    fn reimage(&self, machine: &Place) -> Result<(), CommandError> {
        self.lab(&["reimage", &machine.address])
    }
}

/// A program of the user's, which is told what to do, and the machine's name and address: `PROGRAM power NAME ADDRESS`.
/// A new system may be a certain one: `PROGRAM reimage NAME ADDRESS IMAGE`.
struct Program(String);

impl Program {
    /// What it has printed.
    fn ask(&self, what: &str, machine: &Place) -> Result<String, CommandError> {
        let mut command = Command::new(&self.0);
        command.args([what, &machine.name, &machine.address]);
        command.args(machine.image.iter().filter(|_| what == "reimage"));
        ask(command, &format!("{} {what} {}", self.0, machine.name))
    }
}

/// Runs a command, which has to succeed, for its standard output. `words`: how it is named where it fails.
fn ask(mut command: Command, words: &str) -> Result<String, CommandError> {
    let failed = |why: String| CommandError::failed(format!("{words}: {why}"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = runtime()?.block_on(async { tokio::time::timeout(LIMIT, command.output()).await });
    let ended = ended.map_err(|_| failed(format!("no end after {}", text::duration(LIMIT))))?;
    let ended = ended.map_err(|error| failed(error.to_string()))?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = text::harmless(said.trim().lines().last().unwrap_or_default());
        return Err(failed(format!("{} {said}", ended.status).trim_end().to_owned()));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}

impl Provider for Program {
    fn power(&self, machine: &Place) -> Result<Power, CommandError> {
        Ok(match self.ask("power", machine)?.as_str() {
            "on" => Power::On,
            "off" => Power::Off,
            _ => Power::Unknown,
        })
    }

    fn cycle(&self, machine: &Place) -> Result<(), CommandError> {
        self.ask("cycle", machine).map(drop)
    }

    fn reimage(&self, machine: &Place) -> Result<(), CommandError> {
        self.ask("reimage", machine).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_what_to_do_with_which_machine_and_its_failure_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("power.sh");
        let text = "#!/bin/sh\necho \"$*\" >>\"${0%/*}/told\"\ncase $1 in power) echo off ;; reimage) echo 'no image' >&2; exit 3 ;; esac\n";
        muster_testkit::program::write(&path, text);
        let provider = Program(path.display().to_string());
        let machine = Place { name: "node2".into(), address: "192.0.2.12".into(), image: Some("12".into()) };
        assert_eq!(provider.power(&machine).unwrap(), Power::Off);
        provider.cycle(&machine).unwrap();
        let why = provider.reimage(&machine).unwrap_err().message;
        assert!(why.contains("reimage node2: exit status: 3 no image"), "{why}");
        let told = std::fs::read_to_string(folder.path().join("told")).unwrap();
        assert_eq!(told, "power node2 192.0.2.12\ncycle node2 192.0.2.12\nreimage node2 192.0.2.12 12\n");
        let missing = Program("/nowhere/power.sh".into()).power(&machine).unwrap_err().message;
        assert!(missing.starts_with("/nowhere/power.sh power node2: "), "{missing}");
    }
}
