//! A run: hosts go through the roles of their plays, each at its own speed.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures::future::{BoxFuture, join_all};
use indexmap::IndexMap;
use muster_artifacts::Bundle;
use muster_inventory::{Inventory, Vars, VarsError, some_names};
use tokio_util::sync::CancellationToken;

use crate::advice::Advice;
use crate::cluster::{Cluster, End, Progress};
use crate::event::{Event, Events};
use crate::failure::{Failure, Problem, Result};
use crate::fan_out::sources::FanOut;
use crate::forks::Forks;
use crate::hook::Hook;
pub use crate::host::ServesAt;
use crate::host::{ALWAYS, Host, HostSummary, RunContext};
use crate::lock::LockRequest;
use crate::play::{Play, Share};
use crate::reads::{READER, Read, Reader};
use crate::transport::{Transport, TransportError};

/// A role: what it is called, what it does, its variables, and how it is done.
#[derive(Clone)]
pub struct Role {
    /// The name, as playbooks use it and as its folder is called.
    pub name: &'static str,
    /// What it is for, in one line.
    pub summary: &'static str,
    /// defaults.yml: every variable of the role, explained.
    pub defaults: &'static str,
    /// Whether it never changes a machine. A run of nothing but such roles locks nobody.
    pub looks_only: bool,
    /// The structs of variables that it reads, lists of them: whatever it reads is in one of them.
    pub reads: &'static [&'static [Read]],
    /// What of it needs no machine, and is done before any machine is contacted.
    pub check_written: Option<CheckWritten>,
    /// What of it needs no machine but something of the bundle, and is done before any machine is contacted.
    pub check_with_bundle: Option<CheckWithBundle>,
    /// The story.
    pub story: Story,
}

/// How a role is done on a host.
#[derive(Clone)]
pub enum Story {
    /// A function: everything it needs to know is on the host.
    Fixed(Telling),
    /// A closure over the parameters that a command was given.
    Given(Arc<TellingWith>),
}

impl Story {
    /// Tells it: does the role on a host.
    ///
    /// # Errors
    /// What kept it from being done.
    pub async fn tell(&self, host: &Host) -> Result<()> {
        match self {
            Self::Fixed(story) => story(host).await,
            Self::Given(story) => story(host).await,
        }
    }

    /// A story with parameters.
    pub fn given(
        story: impl for<'h> Fn(&'h Host) -> BoxFuture<'h, Result<()>> + Send + Sync + 'static,
    ) -> Self {
        Self::Given(Arc::new(story))
    }
}

/// A story without parameters.
pub type Telling = for<'h> fn(&'h Host) -> BoxFuture<'h, Result<()>>;

/// A story with parameters.
pub type TellingWith = dyn for<'h> Fn(&'h Host) -> BoxFuture<'h, Result<()>> + Send + Sync;

/// Looks for what is wrong in an inventory and its variables, for some of the hosts.
pub type CheckWritten = fn(&Inventory, &Vars, &[String]) -> Result<Findings, VarsError>;

/// The same with what the bundle has, for a version of Kubernetes.
pub type CheckWithBundle = fn(&Inventory, &Vars, &Arc<Bundle>, &str) -> Result<Findings, VarsError>;

/// What was found wrong before any machine was contacted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What stops the run.
    pub problems: Vec<Problem>,
    /// What the user should know.
    pub warnings: Vec<Problem>,
}

impl Role {
    /// A role without variables of its own.
    pub const fn new(name: &'static str, story: Telling) -> Self {
        Self {
            name,
            summary: "",
            defaults: "",
            looks_only: false,
            reads: &[],
            check_written: None,
            check_with_bundle: None,
            story: Story::Fixed(story),
        }
    }

    /// A role of one run, with what that run was asked for.
    pub fn given(
        name: &'static str,
        story: impl for<'h> Fn(&'h Host) -> BoxFuture<'h, Result<()>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            summary: "",
            defaults: "",
            looks_only: false,
            reads: &[],
            check_written: None,
            check_with_bundle: None,
            story: Story::given(story),
        }
    }

    /// The same, which reads these.
    pub fn reading(self, reads: &'static [&'static [Read]]) -> Self {
        Self { reads, ..self }
    }

    async fn run(&self, host: &Host) -> Result<()> {
        let reader = Reader { role: self.name, reads: self.reads, host: host.name().to_owned() };
        READER.scope(reader, self.story.tell(host)).await
    }
}

/// How many exchanges are under way at once where nobody says otherwise. Enough for every classroom, where what holds back is
/// the number of handshakes, which adapts itself. Not more, for the controller's memory: a connection takes about 120 KB.
pub const FORKS: usize = 256;

/// Makes the transport of a host, without connecting.
pub type Connect<'a> = dyn Fn(&str) -> Result<Arc<dyn Transport>> + 'a;

/// What is to be run, on what.
pub struct Run<'a> {
    /// The hosts.
    pub inventory: Arc<Inventory>,
    /// Their variables, the roles' defaults included.
    pub vars: Arc<Vars>,
    /// The plays, in order.
    pub plays: &'a [Play],
    /// Every role there is. Of two with the same name the first one counts.
    pub roles: &'a [Role],
    /// Which of the inventory's hosts take part, in inventory order.
    pub hosts: Vec<String>,
    /// Reaches a host.
    pub connect: &'a Connect<'a>,
    /// Where binaries and images come from.
    pub bundle: Arc<Bundle>,
    /// The folder on this side where the inventory is.
    pub project: PathBuf,
    /// Whether only to look.
    pub check: bool,
    /// How the machines are locked; `None` for a run that only looks, as one does that checks.
    pub lock: Option<LockRequest>,
    /// Where machines may hand artifacts on to each other; `None`: everything is sent from this side.
    pub serves_at: Option<ServesAt>,
    /// How many exchanges may be under way at once.
    pub forks: usize,
    /// Ends the run after the exchanges that are under way.
    pub cancel: CancellationToken,
    /// Where events go.
    pub events: Events,
}

/// How a run ended for one host.
#[derive(Debug)]
pub struct HostOutcome {
    /// What it did.
    pub summary: HostSummary,
    /// What it could not get past.
    pub failure: Option<Failure>,
}

/// How a run ended: every host of the run, in inventory order.
pub type Outcome = IndexMap<String, HostOutcome>;

/// One host's way through the plays.
struct Itinerary {
    host: Arc<Host>,
    hosts_of_plays: Arc<Vec<Vec<String>>>,
}

impl<'a> Run<'a> {
    /// A run of all hosts of an inventory, still without plays and roles: what is set besides says how it differs from one
    /// that changes machines which nobody has to lock, with an empty bundle.
    pub fn new(inventory: Arc<Inventory>, vars: Arc<Vars>, connect: &'a Connect<'a>, events: Events) -> Self {
        Self {
            hosts: inventory.hosts().map(|host| host.name().to_owned()).collect(),
            inventory,
            vars,
            plays: &[],
            roles: &[],
            connect,
            bundle: Arc::new(Bundle::empty("")),
            project: PathBuf::new(),
            check: false,
            lock: None,
            serves_at: None,
            forks: FORKS,
            cancel: CancellationToken::new(),
            events,
        }
    }
}

impl Run<'_> {
    /// Runs the plays. Every host ends with an outcome; the failure of one is no failure of the run.
    ///
    /// # Errors
    /// Only what is wrong before any host is contacted: a pattern or a variable of the connection.
    pub async fn execute(&self) -> Result<Outcome> {
        let begun = Instant::now();
        let hosts_of_plays = Arc::new(self.hosts_of_plays()?);
        let in_run: BTreeSet<&String> = hosts_of_plays.iter().flatten().collect();
        let in_run: Vec<String> = self.hosts.iter().filter(|h| in_run.contains(h)).cloned().collect();
        let mut roles: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (play, hosts) in self.plays.iter().zip(hosts_of_plays.iter()) {
            for host in hosts {
                roles.entry(host.clone()).or_default().extend(play.roles.iter().chain(&play.always).cloned());
            }
        }
        let cluster = Arc::new(Cluster::new(self.inventory.clone(), self.vars.clone(), &in_run, roles));
        let lock = self.lock.clone().filter(|_| !self.check).map(Arc::new);
        let name = lock.as_ref().map_or("", |lock| lock.run.as_str());
        let context = RunContext {
            serves_at: self.serves_at,
            fan_out: self.serves_at.and_then(|_| FanOut::of_run(in_run.len(), name)),
            events: self.events.clone(),
            check: self.check,
            lock,
            forks: Forks::new(self.forks),
            cancel: self.cancel.clone(),
            bundle: self.bundle.clone(),
            project: Arc::new(self.project.clone()),
        };
        let mut hosts = Vec::new();
        for name in self.inventory.hosts().map(|host| host.name()) {
            let transport = (self.connect)(name)?;
            let vars = self.vars.host(name)?;
            hosts.push(Arc::new(Host::new(name, vars, cluster.clone(), transport, context.clone())));
        }
        cluster.know(&hosts);
        self.events.send(Event::RunStarted {
            hosts: in_run.clone(),
            plays: self.plays.iter().map(|p| p.name.clone()).collect(),
            check: self.check,
        });
        let journeys = hosts.iter().filter(|h| in_run.iter().any(|name| name == h.name())).map(|host| {
            let itinerary = Itinerary { host: host.clone(), hosts_of_plays: hosts_of_plays.clone() };
            self.journey(itinerary)
        });
        let outcome = join_all(journeys).await.into_iter().collect();
        // Machines that do something for others after their own journey, or without one.
        join_all(hosts.iter().map(|host| host.unlock(true))).await;
        self.events.send(Event::RunEnded { elapsed: begun.elapsed() });
        Ok(outcome)
    }

    /// Which hosts of the run each play is for.
    fn hosts_of_plays(&self) -> Result<Vec<Vec<String>>> {
        let mut lists = Vec::new();
        for play in self.plays {
            let selected = self
                .inventory
                .select(&play.hosts)
                .map_err(|error| Failure::new(format!("play {:?}: {error}", play.name), ""))?;
            lists.push(selected.iter().map(|h| h.to_string()).filter(|h| self.hosts.contains(h)).collect());
        }
        Ok(lists)
    }

    async fn journey(&self, itinerary: Itinerary) -> (String, HostOutcome) {
        let host = &itinerary.host;
        let stop = self.travel(&itinerary).await.err();
        let (role, step) = stop.as_ref().map(|stop| stop.place.clone()).unwrap_or_default();
        let failure = stop.map(|stop| stop.failure);
        let end = match &failure {
            None => End::Done,
            Some(Failure::Stopped(_)) => End::Stopped,
            Some(failure) if failure.is_unreachable() => End::Unreachable,
            Some(_) => End::Failed,
        };
        if let Some(failure) = &failure {
            let (name, failure) = (host.name().to_owned(), failure.clone());
            self.events.send(Event::HostFailed { host: name, role, step, failure });
        } else {
            self.events.send(Event::HostDone { host: host.name().to_owned() });
        }
        tell(host, |progress| progress.end = Some(end));
        let answers = !matches!(failure, Some(Failure::Transport(TransportError::Unreachable { .. })));
        // What a machine keeps for others goes with its lock, so that stays until all have ended.
        if !host.hands_on(answers) {
            host.unlock(answers).await;
        }
        (host.name().to_owned(), HostOutcome { summary: host.summary(), failure })
    }

    async fn travel(&self, itinerary: &Itinerary) -> Result<(), Stop> {
        let host = &*itinerary.host;
        let begun = Instant::now();
        // What happens before the first play counts as part of it: a machine that is off must stop a play that wants all.
        if let Err(failure) = host.first_exchange().await {
            if !failure.is_unreachable() || !self.may_be_off(itinerary) {
                return Err(Stop::of(host, failure));
            }
            host.warn(format!("{failure}: it is passed over"));
            tell(host, |progress| progress.plays = self.plays.len());
            return Ok(());
        }
        self.events.send(Event::Connected { host: host.name().to_owned(), elapsed: begun.elapsed() });
        for (number, play) in self.plays.iter().enumerate() {
            let hosts = &itinerary.hosts_of_plays[number];
            if hosts.iter().any(|h| h == host.name()) {
                self.wait_before(host, number, itinerary).await.map_err(|failure| Stop::of(host, failure))?;
                if hosts.first().is_some_and(|h| h == host.name()) {
                    self.events.send(Event::PlayStarted { play: play.name.clone(), hosts: hosts.clone() });
                }
                self.hooks(host, number, itinerary, &play.before, &[]).await?;
                self.play(host, number, itinerary).await?;
            }
            tell(host, |progress| progress.plays = number + 1);
            if !play.after.is_empty() && hosts.iter().any(|h| h == host.name()) {
                let missing = self.all_through(host, number, itinerary).await;
                let missing = missing.map_err(|failure| Stop::of(host, failure))?;
                self.hooks(host, number, itinerary, &play.after, &missing).await?;
            }
        }
        Ok(())
    }

    /// Whether a host has a part only in plays whose hosts may be off.
    fn may_be_off(&self, itinerary: &Itinerary) -> bool {
        let plays = self.plays.iter().zip(itinerary.hosts_of_plays.iter());
        let mut own = plays.filter(|(_, hosts)| hosts.iter().any(|name| name == itinerary.host.name()));
        own.all(|(play, _)| play.may_be_off)
    }

    /// Waits until all hosts are through a play and those before it, or have ended; which have ended before is returned.
    async fn all_through(&self, host: &Host, number: usize, itinerary: &Itinerary) -> Result<Vec<String>> {
        let all: BTreeSet<&String> = itinerary.hosts_of_plays[..=number].iter().flatten().collect();
        let all: Vec<String> = all.into_iter().cloned().collect();
        let missing = host.cluster().wait_for_plays(host, number + 1, &all).await?;
        Ok(missing.into_iter().map(|(name, _)| name).collect())
    }

    /// What is run on this side before or after a play: by the host that comes first, and the others wait for it. `missing`: which
    /// hosts have not come as far.
    async fn hooks(
        &self,
        host: &Host,
        number: usize,
        itinerary: &Itinerary,
        hooks: &[Hook],
        missing: &[String],
    ) -> Result<(), Stop> {
        let play = &self.plays[number];
        for hook in hooks {
            self.check_failures(host, number, itinerary).map_err(|failure| Stop::of(host, failure))?;
            let mut is_first = false;
            let run = || {
                is_first = true;
                self.hook(host, play, hook, missing)
            };
            let key = format!("{} of the play {number}", hook.name);
            if let Err(failure) = host.cluster().once(&key, run).await {
                // Why it failed is told once.
                let why = || Failure::Stopped(format!("{} did not end well", hook.name));
                return Err(Stop::of(host, if is_first { failure } else { why() }));
            }
        }
        Ok(())
    }

    /// One of them, told as roles are.
    async fn hook(&self, host: &Host, play: &Play, hook: &Hook, missing: &[String]) -> Result<()> {
        if self.check {
            host.tell(format!("{} is not run, because the machines are only looked at", hook.name));
            return Ok(());
        }
        self.told(host, play, &hook.name, hook.run(host, missing)).await
    }

    /// The roles of a play, and those that always run where it was begun. The first failure is the host's; a further one is
    /// told beside it.
    async fn play(&self, host: &Host, number: usize, itinerary: &Itinerary) -> Result<(), Stop> {
        let play = &self.plays[number];
        let mut begun = play.roles.is_empty();
        let mut stop = None;
        for role in &play.roles {
            let mut done = self.check_failures(host, number, itinerary);
            if done.is_ok() {
                begun = true;
                done = self.role(host, play, role).await;
            }
            if let Err(failure) = done {
                stop = Some(Stop::of(host, failure));
                break;
            }
        }
        for role in play.always.iter().filter(|_| begun) {
            if stop.as_ref().is_some_and(|stop| stop.failure.is_unreachable()) {
                break;
            }
            // Where the lock was lost after the last role, what was begun is not ended: the host is not done.
            if let Err(failure) = ALWAYS.sync_scope(true, || host.may_go_on()) {
                stop.get_or_insert_with(|| Stop::of(host, failure));
                break;
            }
            match (ALWAYS.scope(true, self.role(host, play, role)).await, &stop) {
                (Ok(()), _) => {}
                (Err(failure), None) => stop = Some(Stop::of(host, failure)),
                (Err(failure), Some(_)) => {
                    host.warn(format!("{role}, which always runs, failed as well: {failure}"))
                }
            }
        }
        stop.map_or(Ok(()), Err)
    }

    /// The only waiting that plays ask for: `wait_for_all`, `serial`, and an earlier play that wants every host.
    async fn wait_before(&self, host: &Host, number: usize, itinerary: &Itinerary) -> Result<()> {
        let lists = &itinerary.hosts_of_plays;
        for (earlier, play) in
            self.plays[..number].iter().enumerate().filter(|(_, play)| play.any_errors_fatal)
        {
            let missing = host.cluster().wait_for_plays(host, earlier + 1, &lists[earlier]).await?;
            let (off, failed): (Vec<_>, Vec<_>) =
                missing.into_iter().partition(|(_, end)| *end == End::Unreachable);
            let [off, failed] =
                [off, failed].map(|list| list.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
            if !failed.is_empty() {
                return Err(Failure::Stopped(format!(
                    "{} did not pass {:?}",
                    some_names(&failed),
                    play.name
                )));
            }
            allow(play, play.max_failures.unwrap_or(Share::Hosts(0)), &off, lists[earlier].len())?;
        }
        let play = &self.plays[number];
        if play.wait_for_all {
            let all: BTreeSet<String> = lists[..number].iter().flatten().cloned().collect();
            host.cluster().wait_for_plays(host, number, &all.into_iter().collect::<Vec<_>>()).await?;
        }
        match play.serial {
            Some(serial) => {
                self.wait_for_turn(host, number, serial.of(lists[number].len()).max(1), &lists[number]).await
            }
            None => Ok(()),
        }
    }

    /// Waits until the batches before that of the host are through a play.
    async fn wait_for_turn(&self, host: &Host, number: usize, size: usize, hosts: &[String]) -> Result<()> {
        let place = hosts.iter().position(|name| name == host.name()).unwrap_or(0);
        let before = &hosts[..place / size * size];
        tell(host, |progress| progress.behind = before.iter().cloned().collect());
        let missing = host.cluster().wait_for_plays(host, number + 1, before).await?;
        tell(host, |progress| progress.behind.clear());
        // What broke a whole batch would break the next one too. A machine that is off says nothing about that.
        let last = &before[before.len().saturating_sub(size)..];
        let end = |name: &String| missing.iter().find(|(missed, _)| missed == name).map(|(_, end)| *end);
        let ends: Vec<End> = last.iter().filter_map(end).collect();
        if ends.len() == last.len() && ends.iter().any(|end| *end != End::Unreachable) {
            let play = &self.plays[number].name;
            return Err(Failure::Stopped(format!(
                "{} did not pass {play:?}, one batch after the other",
                some_names(last)
            )));
        }
        Ok(())
    }

    /// A play of which too many hosts have failed ends the run for the others, at their next role. While everybody is only
    /// looked at, everybody is looked at: the wait after that play decides.
    fn check_failures(&self, host: &Host, number: usize, itinerary: &Itinerary) -> Result<()> {
        if self.plays[number].any_errors_fatal {
            return Ok(());
        }
        for (at, (play, hosts)) in self.plays.iter().zip(itinerary.hosts_of_plays.iter()).enumerate() {
            if let Some(most) = play.max_failures {
                allow(play, most, &host.cluster().failed_before(at + 1, hosts), hosts.len())?;
            }
        }
        Ok(())
    }

    async fn role(&self, host: &Host, play: &Play, name: &str) -> Result<()> {
        let Some(role) = self.roles.iter().find(|r| r.name == name) else {
            return Err(Failure::new(
                format!("play {:?}: there is no role {name}", play.name),
                Advice::ListRoles,
            ));
        };
        self.told(host, play, name, role.run(host)).await
    }

    /// Tells the beginning and the end of what a host does under the name of a role.
    async fn told(
        &self,
        host: &Host,
        play: &Play,
        name: &str,
        doing: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let begun = Instant::now();
        host.enter_role(&play.name, name);
        doing.await?;
        self.events.send(Event::RoleEnded {
            host: host.name().to_owned(),
            role: name.to_owned(),
            counts: host.role_counts(),
            elapsed: begun.elapsed(),
        });
        Ok(())
    }
}

/// Why a host goes no further, and in which role and step that was.
struct Stop {
    failure: Failure,
    place: (Option<String>, Option<String>),
}

impl Stop {
    fn of(host: &Host, failure: Failure) -> Self {
        Self { failure, place: host.place() }
    }
}

/// Tells the other hosts how far one is.
fn tell(host: &Host, change: impl FnOnce(&mut Progress)) {
    if let Some(progress) = host.cluster().progress_of(host.name()) {
        progress.send_modify(change);
    }
}

/// Whether a play goes on without these of its hosts.
fn allow(play: &Play, most: Share, failed: &[String], of: usize) -> Result<()> {
    let allowed = most.of(of);
    if failed.len() <= allowed {
        return Ok(());
    }
    let (number, who, play) = (failed.len(), some_names(failed), &play.name);
    let limit = match (allowed, most) {
        (0, Share::Hosts(_)) => "no failure".to_owned(),
        (0, share) => format!("no failure (max_failures: {share})"),
        (some, share) => format!("{some} (max_failures: {share})"),
    };
    Err(Failure::Stopped(format!("{who} failed: {number} of {of} in {play:?}, which allows {limit}")))
}
