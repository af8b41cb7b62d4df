//! Doing it: the one part that contacts machines.

use std::sync::Arc;

use muster_engine::event::{Event, Events};
use muster_engine::failure::Failure;
use muster_engine::play::Play;
use muster_engine::run::{Outcome, Role, Run};
use muster_engine::transport::Transport;
use muster_roles::addresses;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::flow::BundleUse;
use crate::job::Ready;

/// Whoever listens to what happens, one event after the other. It must not take long: nobody else hears anything meanwhile.
pub type Listener = Box<dyn FnMut(&Event) + Send>;

/// How it ended.
pub struct Ended {
    /// How it ended for each host.
    pub outcome: Outcome,
    /// Whether it was cancelled before everybody was done.
    pub interrupted: bool,
}

impl Ready {
    /// Sends the hosts through the plays; with `check` they are only looked at, and nothing is noted on this side, either. `cancel` ends it after what is under way on
    /// the machines. May be called again, for another look or after one: the connections stay.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted. What fails on a host is part of the outcome.
    pub async fn perform(
        &mut self,
        check: bool,
        cancel: &CancellationToken,
        listeners: Vec<Listener>,
    ) -> Result<Ended, Error> {
        let receiver = std::mem::replace(&mut self.receiver, Events::channel().1);
        let connections = &self.connections;
        connections.only_look(check);
        let connect = |name: &str| -> Result<Arc<dyn Transport>, Failure> {
            let machine = connections.get(name).map(|ssh| Arc::clone(ssh) as Arc<dyn Transport>);
            machine.ok_or_else(|| Failure::new(format!("{name} is not in the inventory"), ""))
        };
        let run = Run {
            plays: &self.plays,
            roles: &self.roles,
            hosts: self.outline.hosts.clone(),
            bundle: Arc::clone(&self.bundle),
            project: self.world.project.inventory_dir.clone(),
            check,
            lock: self.changes().then(|| self.lock.clone()),
            // Machines hand on what comes from the bundle.
            serves_at: (self.job.flow.bundle != BundleUse::None).then_some(addresses::hands_on_at),
            forks: self.forks,
            cancel: cancel.clone(),
            ..Run::new(
                Arc::clone(&self.world.inventory),
                Arc::clone(&self.world.vars),
                &connect,
                self.events.clone(),
            )
        };
        // Before the run, which may bring one.
        let is_unknown = self.world.has_unknown_kubeconfig();
        let over = CancellationToken::new();
        let listening = tokio::spawn(listen(receiver, listeners, over.clone()));
        let outcome = run.execute().await;
        for text in connections.take_warnings() {
            self.events.send(Event::Warning { host: None, text });
        }
        over.cancel();
        let listened = listening.await;
        self.receiver =
            listened.map_err(|error| Error::failed(format!("a listener to the run failed: {error}")))?;
        let outcome = outcome?;
        if !check && !is_unknown && self.changes() && outcome.values().any(|host| host.failure.is_none()) {
            // To a folder that cannot be written nothing is brought.
            self.world.own_folder().ok();
        }
        let interrupted = cancel.is_cancelled() && outcome.values().any(|host| host.failure.is_some());
        Ok(Ended { outcome, interrupted })
    }

    /// Whether one of the roles may change machines, which are locked then.
    fn changes(&self) -> bool {
        let of_name = |name: &String| self.roles.iter().find(|role| role.name == name);
        let roles = self.plays.iter().flat_map(Play::all_roles).filter_map(of_name);
        roles.into_iter().any(|role: &Role| !role.looks_only)
    }
}

/// Tells the listeners what happens, until `over` is set and no event is left. Returns where those of a further run arrive.
async fn listen(
    mut events: UnboundedReceiver<Event>,
    mut listeners: Vec<Listener>,
    over: CancellationToken,
) -> UnboundedReceiver<Event> {
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => listeners.iter_mut().for_each(|listener| listener(&event)),
                None => return events,
            },
            // Checked last: events that were sent before the end are told first.
            () = over.cancelled() => return events,
        }
    }
}
