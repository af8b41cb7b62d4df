//! What is done to a machine: the flows that a person would start, or what its provider does.

use muster_app::{Flow, Job, Project, Selection};
use tokio_util::sync::CancellationToken;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::commands::{replace_node, setup_cluster};
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::CommandLine;
use crate::reconcile::decide::{CLUSTER, Case, Step};
use crate::reconcile::provider::{Place, Provider};
use crate::runtime::runtime;
use crate::typed_flow::TypedFlow;

/// How many differences are told.
const TOLD: usize = 5;

/// Whoever does it, with what was typed for all of it.
pub(crate) struct Actor<'a> {
    pub(crate) project: &'a Project,
    pub(crate) inventory: &'a InventoryArgs,
    pub(crate) connection: &'a ConnectionArgs,
    pub(crate) manner: &'a MannerArgs,
    pub(crate) output: OutputArgs,
    pub(crate) provider: Option<&'a dyn Provider>,
    /// Brings the cluster to what its declaration says, where it has one.
    pub(crate) apply: Option<&'a Apply<'a>>,
    pub(crate) environment: &'a Environment,
}

/// Brings a cluster to what its declaration says.
pub(crate) type Apply<'a> = dyn Fn() -> Result<Exit, CommandError> + 'a;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Failed(String),
    /// Another run was faster: nothing was tried.
    Locked,
    /// The user stopped it.
    Interrupted,
}

impl Actor<'_> {
    /// Does a step to a machine, or to the cluster as a whole.
    pub(crate) fn act(&self, machine: &str, step: Step, case: &Case, place: Option<&Place>) -> Outcome {
        let ended = match (step, self.provider.zip(place)) {
            (Step::Apply, _) => match self.apply {
                Some(apply) => apply(),
                None => Err(CommandError::failed("there is no declaration")),
            },
            (Step::SetUp, _) => self.set_up(machine),
            (Step::Replace, _) => self.replace(machine, case.reimaged),
            (Step::Power, Some((provider, place))) => provider.cycle(place).map(|()| Exit::Done),
            (Step::Reimage, Some((provider, place))) => provider.reimage(place).map(|()| Exit::Done),
            (Step::Power | Step::Reimage, None) => Err(CommandError::failed("there is no provider")),
        };
        match ended {
            Ok(Exit::Done) => Outcome::Done,
            Ok(Exit::Locked) => Outcome::Locked,
            Ok(Exit::Interrupted) => Outcome::Interrupted,
            Ok(exit) => {
                let log = self.project.command(&["muster", "log", "last"], 2);
                Outcome::Failed(format!("exit code {}: {log}", exit.code()))
            }
            Err(error) => Outcome::Failed(error.message),
        }
    }

    fn set_up(&self, machine: &str) -> Result<Exit, CommandError> {
        let flow = setup_cluster::Parameters {}.flow(self.project)?;
        let limit = (machine != CLUSTER).then(|| machine.to_owned());
        self.run(flow, SelectionArgs { limit, ..SelectionArgs::default() })
    }

    /// `accepts`: whether the host key that the machine has now takes the place of the known one. Who was told by nobody that the machine
    /// has a new system has seen a certificate.
    fn replace(&self, machine: &str, accepts: bool) -> Result<Exit, CommandError> {
        let flow = replace_node::Parameters::of(&[machine.to_owned()]).flow(self.project)?;
        let reimaged = if accepts { flow.reimaged.clone() } else { Vec::new() };
        self.run(Flow { reimaged, ..flow }, SelectionArgs::default())
    }

    fn run(&self, flow: Flow, selection: SelectionArgs) -> Result<Exit, CommandError> {
        let flow = Flow { next: None, ..flow };
        let (inventory, connection) = (self.inventory.clone(), self.connection.clone());
        let typed = TypedFlow {
            selection,
            manner: self.manner.clone(),
            ..TypedFlow::new(flow, self.project.clone(), inventory, connection, self.output.clone())
        };
        typed.run(self.environment)
    }

    /// What `setup-cluster` would change, some of it in words; nothing where the cluster is as its inventory says. Nobody is locked, and
    /// there is no record of it.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted, or not all machines could be looked at.
    pub(crate) fn drift(&self) -> Result<Vec<String>, CommandError> {
        let frontend = CommandLine::plain(self.environment);
        let job = Job {
            flow: Flow { remarks: false, ..setup_cluster::Parameters {}.flow(self.project)? },
            project: self.project.clone(),
            variables: self.inventory.into(),
            connection: self.connection.into(),
            selection: Selection::default(),
            options: self.manner.into(),
        };
        let mut ready = job.scope(self.environment, &*frontend)?.prepare(self.environment, &frontend)?;
        let cancel = CancellationToken::new();
        let (ended, plan) = runtime()?.block_on(ready.plan(&cancel, Vec::new()))?;
        if let Some((host, failure)) =
            ended.outcome.iter().find_map(|(host, outcome)| Some((host, outcome.failure.as_ref()?)))
        {
            return Err(CommandError::failed(format!("{host}: {failure}")));
        }
        let changes = plan.hosts.iter().flat_map(|(host, steps)| {
            steps
                .iter()
                .filter(|step| step.what.is_some())
                .map(move |step| format!("{host}: {}", step.resource))
        });
        let mut changes: Vec<String> = changes.collect();
        if changes.len() > TOLD {
            let more = changes.len() - TOLD;
            changes.truncate(TOLD);
            changes.push(format!("{more} more"));
        }
        Ok(changes)
    }
}
