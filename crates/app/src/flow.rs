//! What a command does, as a value: which plays, roles with the parameters that the command was given, and how it is run.

use muster_engine::play::Play;
use muster_engine::run::Role;
use muster_roles::{KeptVersion, ROLES};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::options::RunOptions;
use crate::playbook::Playbook;

/// What is to be run.
#[derive(Clone)]
pub struct Flow {
    /// What a saved plan holds of it, for whoever hosts the library to make it again.
    pub id: FlowId,
    /// The command as a user types it, with what it is about and without the options of all commands: `muster verify`. Others who want a machine's lock are told so.
    pub command: String,
    /// Plays in front of those that follow.
    pub first: Vec<Play>,
    /// Which hosts go through which roles.
    pub plays: Plays,
    /// Hosts that were installed anew: their new host keys replace the known ones.
    pub reimaged: Vec<String>,
    /// Roles of its own, which may hold parameters. They win over those of the same name.
    pub roles: Vec<Role>,
    /// What it needs of the bundle.
    pub bundle: BundleUse,
    /// Plays that tell whether it may be done at all. Whoever hosts the library lets machines go through them, looking only, before
    /// something is fetched for it, and before a user is asked whether something may be lost.
    pub looks_first: Vec<Play>,
    /// Whether that is so only where what is fetched may be what a cluster that stands does not become: another version of Kubernetes,
    /// or another network plugin than that of new clusters. Of everything else, nothing that machines tell could say that it is not
    /// needed.
    pub looks_first_for_another: bool,
    /// The version of the cluster that these plays have found, where it keeps that one. It is what the bundle has to have then.
    pub keeps: KeptVersion,
    /// Whether it is told which variables come to nothing.
    pub remarks: bool,
    /// Whether it looks at the whole cluster, so that leaving out hosts makes no sense.
    pub whole_cluster: bool,
    /// Whether its machines wait for each other in the middle of its plays, so that they cannot be worked on in batches.
    pub all_at_once: bool,
    /// What is lost for good by it; a user is asked first.
    pub loses: Option<Loss>,
    /// What is the case after it was interrupted, where something is half done then: a sentence, or some.
    pub half_done: Option<String>,
    /// What to type when all went well.
    pub next: Option<String>,
}

/// What is lost for good, as the end of a sentence that begins with "lost are".
#[derive(Debug, Clone)]
pub struct Loss {
    /// Where control planes or members of etcd are among the hosts.
    pub with_the_cluster: String,
    /// Where only workers are.
    pub of_workers: String,
}

impl Loss {
    /// What is lost with hosts of which some carry the cluster, or none do.
    pub fn of(&self, carry: bool) -> &str {
        if carry { &self.with_the_cluster } else { &self.of_workers }
    }
}

/// The name of a flow with its parameters, in the form of its host: `{"remove-node": {"hosts": ["node3"]}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowId(pub Value);

/// The plays of a flow.
#[derive(Clone)]
pub enum Plays {
    /// A playbook, which a file of the project may replace.
    Playbook(Playbook),
    /// These.
    Given(Vec<Play>),
}

impl From<Playbook> for Plays {
    fn from(playbook: Playbook) -> Self {
        Self::Playbook(playbook)
    }
}

impl From<Vec<Play>> for Plays {
    fn from(plays: Vec<Play>) -> Self {
        Self::Given(plays)
    }
}

/// What a flow needs of the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleUse {
    /// Nothing, nor does it ask for a version of Kubernetes.
    None,
    /// Its roles look at what it has.
    Looks,
    /// Machines get binaries and images: everything that the versions of the hosts need has to be in it.
    Installs,
}

impl Flow {
    /// A flow that looks at the bundle and is told remarks.
    pub fn new(command: impl Into<String>, plays: impl Into<Plays>) -> Self {
        Self {
            id: FlowId::default(),
            command: command.into(),
            first: Vec::new(),
            plays: plays.into(),
            reimaged: Vec::new(),
            roles: Vec::new(),
            bundle: BundleUse::Looks,
            looks_first: Vec::new(),
            looks_first_for_another: false,
            keeps: KeptVersion::default(),
            remarks: true,
            whole_cluster: false,
            all_at_once: false,
            loses: None,
            half_done: None,
            next: None,
        }
    }

    /// Sees whether it can be done a few machines at a time.
    ///
    /// # Errors
    /// It was asked for, and would wait for machines that are not at work yet.
    pub fn check_serial(&self, options: &RunOptions) -> Result<(), Error> {
        if !self.all_at_once || options.serial.is_none() {
            return Ok(());
        }
        let message = format!("{} cannot work on a few machines at a time (--serial)", self.command);
        Err(Error::usage(message).hint("leave --serial out: its machines wait for each other"))
    }

    /// Every role that its plays may name: its own, and all there are.
    pub(crate) fn all_roles(&self) -> Vec<Role> {
        let own = |name| self.roles.iter().any(|role| role.name == name);
        let others = ROLES.iter().filter(|role| !own(role.name));
        self.roles.iter().chain(others).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use muster_engine::play::Share;

    use super::*;

    #[test]
    fn a_flow_whose_machines_wait_for_each_other_is_not_done_in_batches() {
        let one = RunOptions { serial: Some(Share::Hosts(1)), ..RunOptions::default() };
        let flow = Flow { all_at_once: true, ..Flow::new("muster recover", Vec::new()) };
        assert!(flow.check_serial(&one).is_err() && flow.check_serial(&RunOptions::default()).is_ok());
        assert!(Flow::new("setup-cluster", Vec::new()).check_serial(&one).is_ok());
    }
}
