//! What hosts know of each other: who is in which group, what others have reached, what is done once for all.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use indexmap::IndexMap;
use muster_inventory::{HostVars, Inventory, Value, Vars};
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use crate::event::Event;
use crate::failure::{Failure, Result};
use crate::host::Host;

/// How far a host is, for others to wait on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// What it said it has reached.
    pub reached: BTreeSet<String>,
    /// How many of the run's plays it is through; plays it has no part in count as soon as it gets there.
    pub plays: usize,
    /// How it ended, once it has.
    pub end: Option<End>,
    /// Whom it lets go first, while it waits for its turn in a play with `serial`.
    pub behind: BTreeSet<String>,
}

/// How a host's way through the plays ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Failed,
    Unreachable,
    /// Because of others, or of the user.
    Stopped,
}

type Shared = Arc<OnceCell<Result<Arc<dyn Any + Send + Sync>>>>;

/// All hosts of the inventory, as far as other hosts need them.
pub struct Cluster {
    inventory: Arc<Inventory>,
    vars: Arc<Vars>,
    progress: IndexMap<String, watch::Sender<Progress>>,
    /// The roles that each host of the run goes through.
    roles: HashMap<String, BTreeSet<String>>,
    /// How many things each host waits for that others bring about.
    waiting: Mutex<HashMap<String, usize>>,
    hosts: OnceLock<HashMap<String, Weak<Host>>>,
    shared: Mutex<HashMap<String, Shared>>,
}

impl Cluster {
    /// `roles`: the roles that each host of the run goes through.
    pub(crate) fn new(
        inventory: Arc<Inventory>,
        vars: Arc<Vars>,
        in_run: &[String],
        roles: HashMap<String, BTreeSet<String>>,
    ) -> Self {
        let progress = in_run.iter().map(|h| (h.clone(), watch::Sender::new(Progress::default()))).collect();
        Self {
            inventory,
            vars,
            progress,
            roles,
            waiting: Mutex::default(),
            hosts: OnceLock::new(),
            shared: Mutex::default(),
        }
    }

    pub(crate) fn know(&self, hosts: &[Arc<Host>]) {
        let known = hosts.iter().map(|h| (h.name().to_owned(), Arc::downgrade(h))).collect();
        self.hosts.set(known).unwrap_or_else(|_| unreachable!("a cluster learns its hosts once"));
    }

    pub(crate) fn progress_of(&self, host: &str) -> Option<&watch::Sender<Progress>> {
        self.progress.get(host)
    }

    /// The hosts of a group in inventory order, whether they are part of this run or not.
    pub fn group(&self, name: &str) -> Vec<String> {
        self.inventory.group(name).into_iter().map(str::to_owned).collect()
    }

    /// Whether a host is part of this run.
    pub fn in_run(&self, host: &str) -> bool {
        self.progress.contains_key(host)
    }

    /// Whether a host goes through a role in this run.
    pub fn has_role(&self, host: &str, role: &str) -> bool {
        self.roles.get(host).is_some_and(|roles| roles.contains(role))
    }

    /// Whether this run has changed anything on any host so far.
    pub fn changed(&self) -> bool {
        let hosts = self.hosts.get().into_iter().flat_map(HashMap::values);
        hosts.filter_map(Weak::upgrade).any(|host| host.summary().counts.changed > 0)
    }

    /// Lets expressions of the inventory read what a machine was found to be.
    pub(crate) fn tell_facts(&self, host: &str, facts: Vec<(String, Value)>) {
        // A host that is not in the inventory has no variables to be read.
        self.vars.set_facts(host, facts).ok();
    }

    /// The variables of any host of the inventory.
    pub fn vars_of(&self, host: &str) -> Result<HostVars> {
        Ok(self.vars.host(host)?)
    }

    /// The handle of a host, to run something there on behalf of another one.
    pub fn host(&self, name: &str) -> Result<Arc<Host>> {
        self.hosts.get().and_then(|hosts| hosts.get(name)).and_then(Weak::upgrade).ok_or_else(|| {
            Failure::new(format!("{name} is not in the inventory"), "check the groups of the inventory")
        })
    }

    /// Waits until `provider` has said that it reached `what`. A host outside the run is taken to have reached it in an
    /// earlier one, and so is one that is through the play in which it is needed: then the role that brings it about is not
    /// part of this run. A provider that fails before is a [`Failure::Dependency`], one that is stopped a
    /// [`Failure::Stopped`].
    pub(crate) async fn wait_for(&self, waiting: &Host, provider: &str, what: &str) -> Result<()> {
        let Some(sender) = self.progress.get(provider) else { return Ok(()) };
        let me = waiting.name();
        let plays = self.progress.get(me).map_or(0, |progress| progress.borrow().plays);
        let mut receiver = sender.subscribe();
        let decided = |p: &Progress| {
            let turn = provider == me || p.plays > plays || p.behind.contains(me);
            p.reached.contains(what) || p.end.is_some() || turn
        };
        let met = receiver.wait_for(decided);
        let Ok(progress) = watched(waiting, &format!("{provider}: {what}"), met).await? else {
            return Ok(());
        };
        match progress.end {
            _ if progress.reached.contains(what) => Ok(()),
            Some(End::Failed | End::Unreachable) => {
                Err(Failure::Dependency { what: what.to_owned(), host: provider.to_owned() })
            }
            Some(End::Stopped) => {
                waiting.may_go_on()?;
                Err(Failure::Stopped(format!("{provider} was stopped, from which it needs {what}")))
            }
            _ if progress.behind.contains(me) => Err(Failure::new(
                format!("needs {what} from {provider}, which waits until {me} is through the play"),
                "do not work on so few hosts at once: take `serial` away from that play",
            )),
            _ => Ok(()),
        }
    }

    /// Waits until these hosts are through the first `plays` plays, or have ended; then says who did not get through.
    pub(crate) async fn wait_for_plays(
        &self,
        waiting: &Host,
        plays: usize,
        hosts: &[String],
    ) -> Result<Vec<(String, End)>> {
        let mut missing = Vec::new();
        for name in hosts {
            let Some(sender) = self.progress.get(name) else { continue };
            let mut receiver = sender.subscribe();
            let met = receiver.wait_for(|p| p.plays >= plays || p.end.is_some());
            let met = watched(waiting, &format!("{name} to finish the plays before"), met).await?;
            let end = met.ok().filter(|progress| progress.plays < plays).and_then(|progress| progress.end);
            missing.extend(end.map(|end| (name.clone(), end)));
        }
        Ok(missing)
    }

    /// What changes with everything that any host does; `None` unless all that have not ended wait for another one.
    fn all_wait(&self) -> Option<usize> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |name: &String| waiting.get(name).is_some_and(|things| *things > 0);
        let done = |progress: &Progress| {
            progress.reached.len() + progress.plays + usize::from(progress.end.is_some())
        };
        let mut sum = 0;
        for (name, sender) in &self.progress {
            let progress = sender.borrow();
            if progress.end.is_none() && !waits(name) {
                return None;
            }
            sum += done(&progress);
        }
        let hosts = self.hosts.get().into_iter().flat_map(HashMap::values).filter_map(Weak::upgrade);
        Some(sum + hosts.map(|host| host.summary().exchanges).sum::<usize>())
    }

    /// Which of these hosts have failed so far, or could not be reached, before they were through the first `plays` plays.
    pub(crate) fn failed_before(&self, plays: usize, hosts: &[String]) -> Vec<String> {
        let failed = |name: &&String| {
            let progress = self.progress.get(*name).map(|sender| sender.borrow());
            progress.is_some_and(|p| p.plays < plays && matches!(p.end, Some(End::Failed | End::Unreachable)))
        };
        hosts.iter().filter(failed).cloned().collect()
    }

    /// What [`Cluster::once`] has done under this key; `None` where it was not asked for, is under way, or has failed.
    pub fn done<T: Any + Send + Sync>(&self, key: &str) -> Option<Arc<T>> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.get(key)?.get()?.clone().ok()?.downcast().ok()
    }

    /// Does something once for all hosts: the first one that asks does it, the others get its result, or its failure.
    pub async fn once<T, F, Fut>(&self, key: &str, make: F) -> Result<Arc<T>>
    where
        T: Any + Send + Sync,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let cell = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.entry(key.to_owned()).or_default().clone()
        };
        let value = cell
            .get_or_init(|| async { make().await.map(|value| Arc::new(value) as Arc<dyn Any + Send + Sync>) })
            .await;
        let value = value.clone()?;
        Ok(value.downcast::<T>().unwrap_or_else(|_| panic!("{key} is shared as two different types")))
    }
}

/// After how many seconds, in which all hosts wait for each other and none does anything, they would do so for ever.
const CIRCLE: u32 = 5;

/// That a host waits for others, as long as it lives.
struct Waiting<'h>(&'h Host);

impl<'h> Waiting<'h> {
    fn of(host: &'h Host) -> Self {
        Self::count(host, |things| things + 1);
        Self(host)
    }

    fn count(host: &Host, change: impl FnOnce(usize) -> usize) {
        let mut waiting = host.cluster().waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let things = waiting.entry(host.name().to_owned()).or_default();
        *things = change(*things);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        Self::count(self.0, |things| things.saturating_sub(1));
    }
}

/// Waits, and says so every few seconds: nothing is silent for long.
///
/// # Errors
/// All hosts wait for each other, and none would ever go on.
async fn watched<T>(host: &Host, what: &str, future: impl Future<Output = T>) -> Result<T> {
    let begun = Instant::now();
    let _waiting = Waiting::of(host);
    let (mut still, mut before) = (0, None);
    tokio::pin!(future);
    loop {
        tokio::select! {
            biased;
            done = &mut future => return Ok(done),
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                host.send(Event::Waiting {
                    host: host.name().to_owned(),
                    what: what.to_owned(),
                    elapsed: begun.elapsed(),
                });
                let now = host.cluster().all_wait();
                still = if now.is_some() && now == before { still + 1 } else { 0 };
                before = now;
                if still >= CIRCLE {
                    return Err(Failure::new(
                        format!("waits for {what}, and so does every host of this run for another one: none would ever go on"),
                        "if a role is left out of this run that brings it about, take that in",
                    ));
                }
            }
        }
    }
}
