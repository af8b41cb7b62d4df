//! Machines that a command looks at, or acts on, outside of plays: one program on all of them at once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use muster_app::{ConnectionOptions, Connections, Project, World};
use muster_engine::ssh::Ssh;
use muster_engine::transport::{Exec, Exit, Program, Transport, TransportError};

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::{CommandError, Exit as ExitCode};
use crate::output::{CommandLine, print, text};
use crate::runtime::runtime;

/// After how long without an answer a line says who is missing.
pub(crate) const SILENCE: Duration = Duration::from_secs(8);

/// The machines a pattern chooses, ready to be connected to.
pub(crate) struct Machines {
    pub(crate) hosts: Vec<String>,
    /// The inventory that they are of, and its variables.
    pub(crate) world: World,
    connections: Connections,
    forks: usize,
    /// Whether a line says who is missing, after a while.
    tells_missing: bool,
}

impl Machines {
    /// Reads the inventory and works out how its machines are reached.
    ///
    /// # Errors
    /// The inventory, the pattern, or a variable of a connection is wrong.
    pub(crate) fn choose(
        pattern: &str,
        inventory: &InventoryArgs,
        connection: &ConnectionArgs,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let frontend = CommandLine::plain(environment);
        let project = Project::find(&inventory.inventory, environment)?;
        let world = World::load(project, &inventory.into(), environment, &*frontend)?;
        world.tell_warnings(&*frontend);
        Self::of(world, pattern, connection, environment)
    }

    /// The same in an inventory that was read already.
    ///
    /// # Errors
    /// The pattern, or a variable of a connection, is wrong.
    pub(crate) fn of(
        world: World,
        pattern: &str,
        connection: &ConnectionArgs,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        let frontend = CommandLine::plain(environment);
        let hosts = world.select(Some(pattern))?;
        let options = ConnectionOptions::from(connection);
        let connections = Connections::new(&world, &hosts, &options, environment, &frontend, None)?;
        Ok(Self { hosts, world, connections, forks: options.forks(environment)?, tells_missing: true })
    }

    /// For whoever looks again and again: nothing is said of machines that take long to answer.
    #[must_use]
    pub(crate) fn patiently(self) -> Self {
        Self { tells_missing: false, ..self }
    }

    /// Does something on each of the machines. The answers are in the order of the inventory.
    ///
    /// # Errors
    /// Never because of a machine.
    pub(crate) fn each<T, F>(
        &self,
        environment: &Environment,
        action: impl Fn(Arc<Ssh>) -> F,
    ) -> Result<Vec<(String, T)>, CommandError>
    where
        F: Future<Output = T>,
    {
        self.each_by_name(environment, |_, ssh| action(ssh))
    }

    /// The same for what differs from machine to machine.
    ///
    /// # Errors
    /// Never because of a machine.
    pub(crate) fn each_by_name<T, F>(
        &self,
        environment: &Environment,
        action: impl Fn(&str, Arc<Ssh>) -> F,
    ) -> Result<Vec<(String, T)>, CommandError>
    where
        F: Future<Output = T>,
    {
        let mut answers: Vec<(String, T)> = runtime()?.block_on(self.collect(action));
        answers.sort_by_key(|(name, _)| self.hosts.iter().position(|host| host == name));
        self.warn(environment);
        Ok(answers)
    }

    /// The same on one machine after the other, until an answer will do: the last one, where there is any such.
    ///
    /// # Errors
    /// Never because of a machine.
    pub(crate) fn until<T, F>(
        &self,
        environment: &Environment,
        action: impl Fn(Arc<Ssh>) -> F,
        will_do: impl Fn(&T) -> bool,
    ) -> Result<Vec<(String, T)>, CommandError>
    where
        F: Future<Output = T>,
    {
        let mut answers: Vec<(String, T)> = Vec::new();
        let runtime = runtime()?;
        for name in &self.hosts {
            let Some(ssh) = self.connections.get(name) else { continue };
            answers.push((name.clone(), runtime.block_on(action(Arc::clone(ssh)))));
            if answers.last().is_some_and(|(_, answer)| will_do(answer)) {
                break;
            }
        }
        self.warn(environment);
        Ok(answers)
    }

    /// What the user should know about keys and known hosts.
    fn warn(&self, environment: &Environment) {
        for warning in self.connections.take_warnings() {
            print::warning(&warning, environment);
        }
    }

    async fn collect<T, F: Future<Output = T>>(
        &self,
        action: impl Fn(&str, Arc<Ssh>) -> F,
    ) -> Vec<(String, T)> {
        let machines = self.hosts.iter().filter_map(|name| Some((name, self.connections.get(name)?)));
        let mut open = stream::iter(machines)
            .map(|(name, ssh)| {
                let answer = action(name, Arc::clone(ssh));
                async move { (name.clone(), answer.await) }
            })
            .buffer_unordered(self.forks);
        let mut answers: Vec<(String, T)> = Vec::new();
        loop {
            match tokio::time::timeout(SILENCE, open.next()).await {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => return answers,
                Err(_) if !self.tells_missing => {}
                Err(_) => {
                    tell_missing(&self.hosts, |name| answers.iter().any(|(answered, _)| answered == name));
                }
            }
        }
    }
}

/// Says who is missing, after a while without an answer.
pub(crate) fn tell_missing(hosts: &[String], answered: impl Fn(&str) -> bool) {
    let missing: Vec<&String> = hosts.iter().filter(|name| !answered(name)).collect();
    print::note(&format!(
        "{} of {} have answered; waiting for {}",
        hosts.len() - missing.len(),
        hosts.len(),
        text::some_names(&missing)
    ));
}

/// Runs a program as root, the only one of the command on the machine. A program cut off in transit is a syntax error, which
/// runs nothing, because it is a function.
pub(crate) async fn run_program(
    ssh: Arc<Ssh>,
    program: &str,
    timeout: Duration,
) -> Result<Exit, TransportError> {
    let text = format!(
        "muster() {{\nPATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/opt/bin\n{program}\n}}\nmuster </dev/null\n"
    );
    ssh.exec_last(Exec { program: Program::Text(text), timeout, on_line: None }).await
}

/// The exit code for some answers: whether one failed, and whether a machine could not be reached.
pub(crate) fn exit_of<'a>(answers: impl Iterator<Item = &'a Result<Exit, TransportError>>) -> ExitCode {
    answers.fold(ExitCode::Done, |worst, answer| match (worst, answer) {
        (ExitCode::Unreachable, _) => ExitCode::Unreachable,
        (_, Err(error)) if error.is_unreachable() => ExitCode::Unreachable,
        (worst, Ok(exit)) if exit.status == 0 => worst,
        _ => ExitCode::HostFailed,
    })
}
