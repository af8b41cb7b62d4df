//! Many clusters are kept by one loop, a few at once: each as its declaration and its inventory say, and none is stopped by what is
//! wrong with another.

use std::collections::BTreeMap;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use muster_app::Project;
use muster_openstack::{ClusterFolder, Source, clusters, made_clusters};
use tokio_util::sync::CancellationToken;

use crate::args::{ConnectionArgs, InventoryArgs, MannerArgs, OutputArgs};
use crate::clusters::apply::{Consent, How, apply};
use crate::clusters::cluster::Cluster;
use crate::clusters::pull::{Git, Pulled};
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::print;
use crate::output::text::harmless_lines;
use crate::reconcile::{Declared, Keeper, Metrics, Rules, Watch, heed, provider};
use crate::runtime::runtime;

/// How often it is looked who has ended.
const PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked which clusters there are.
const LISTED: Duration = Duration::from_secs(1);

/// Whoever keeps them, with what was typed for all of them.
pub(crate) struct Fleet<'a> {
    /// Their names; all clusters that are declared, or were, where there are none.
    pub(crate) names: Vec<String>,
    /// How many clusters are looked at, or worked on, at once.
    pub(crate) at_once: usize,
    pub(crate) rules: Rules,
    pub(crate) drift_every: Duration,
    /// Who has power over the machines of declarations that name nobody.
    pub(crate) provider: Option<String>,
    pub(crate) inventory: &'a InventoryArgs,
    pub(crate) connection: &'a ConnectionArgs,
    pub(crate) manner: MannerArgs,
    pub(crate) output: OutputArgs,
    pub(crate) as_json: bool,
    /// Whether machines may leave where a declaration is applied.
    pub(crate) consent: Consent,
    /// Where declarations come from, if not from this computer alone.
    pub(crate) git: Option<Git>,
    pub(crate) environment: &'a Environment,
}

/// A cluster between two rounds.
#[derive(Default)]
struct Turn {
    watch: Option<Watch>,
    /// When its last round began.
    begun: Option<Instant>,
    /// What was said last, which is said once.
    said: Option<String>,
}

/// What a round has left.
struct Ended {
    watch: Option<Watch>,
    exit: Result<Exit, CommandError>,
    took: Duration,
}

/// What goes on at the moment.
struct Open<'scope> {
    rounds: BTreeMap<String, ScopedJoinHandle<'scope, Ended>>,
    pull: Option<ScopedJoinHandle<'scope, Result<Pulled, CommandError>>>,
}

/// The clusters that are declared, and those that were made and are not declared any more.
pub(crate) fn all_clusters(environment: &Environment) -> Result<Vec<String>, CommandError> {
    let here = environment.here()?;
    let mut names = [clusters(here), made_clusters(here)].concat();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The folder of a cluster; and why nothing is to be done where its declaration is gone.
pub(crate) fn folder_of(
    name: &str,
    environment: &Environment,
) -> Result<(ClusterFolder, Option<String>), CommandError> {
    let here = environment.here()?;
    ClusterFolder::find(name, here).map(|folder| (folder, None)).or_else(|error| {
        let folder = ClusterFolder::find_made(name, here).ok_or(error)?;
        let shown = folder.declaration_shown();
        let why = format!(
            "{shown} is gone, and no cluster is removed because of that: put it back; to remove the cluster then: muster cluster delete \
             {name}"
        );
        Ok((folder, Some(why)))
    })
}

impl Fleet<'_> {
    /// One round of each cluster, or one after the other until a signal ends them. The exit code of one round: whether all was well.
    ///
    /// # Errors
    /// There are no such clusters. What is wrong with one of them is told, and the others go on.
    pub(crate) fn keep(&self, every: Option<Duration>, listen: Option<&str>) -> Result<Exit, CommandError> {
        let metrics = Metrics::at(listen)?;
        let stop = CancellationToken::new();
        let runtime = runtime()?;
        if every.is_some() {
            runtime.spawn(heed(stop.clone()));
        }
        let mut pulled = None;
        if let Some(git) = &self.git {
            let first = git.pull(self.environment)?;
            self.take_in_pull(first, &mut pulled, &metrics);
        }
        for name in &self.names {
            folder_of(name, self.environment)?;
        }
        if self.names.is_empty() && every.is_none() && all_clusters(self.environment)?.is_empty() {
            return Err(CommandError::usage(
                "there is no clusters/NAME/cluster.yml in this folder or above it",
            ));
        }
        thread::scope(|scope| {
            let mut turns: BTreeMap<String, Turn> = BTreeMap::new();
            let mut open = Open { rounds: BTreeMap::new(), pull: None };
            let (mut last_pull, mut listed) = (Instant::now(), Instant::now());
            let mut names = self.names_now()?;
            let mut worst = if pulled.as_ref().is_some_and(Pulled::fails) { Exit::No } else { Exit::Done };
            loop {
                worst = self.take_in_rounds(&mut open, &mut turns, &metrics, worst);
                if let Some(pull) = open.pull.take_if(|pull| pull.is_finished()) {
                    match pull.join().unwrap_or_else(|_| Err(CommandError::failed(BROKEN))) {
                        Ok(now) => self.take_in_pull(now, &mut pulled, &metrics),
                        Err(error) => print::note(&harmless_lines(&error.to_string())),
                    }
                }
                if listed.elapsed() >= LISTED {
                    (names, listed) = (self.names_now()?, Instant::now());
                    forget(&names, &mut turns, &open, &metrics);
                }
                let due = self.due(&names, &turns, &open, every);
                if open.rounds.is_empty()
                    && open.pull.is_none()
                    && (stop.is_cancelled() || every.is_none() && due.is_empty())
                {
                    return Ok(if stop.is_cancelled() { Exit::Done } else { worst });
                }
                if !stop.is_cancelled() {
                    for name in due {
                        let turn = turns.entry(name.clone()).or_default();
                        turn.begun = Some(Instant::now());
                        let (watch, stop, of) = (turn.watch.take(), stop.clone(), name.clone());
                        let round = scope.spawn(move || self.turn(&of, watch, every, &stop));
                        open.rounds.insert(name, round);
                    }
                    let again = every.filter(|every| open.pull.is_none() && last_pull.elapsed() >= *every);
                    if let (Some(git), Some(_)) = (&self.git, again) {
                        last_pull = Instant::now();
                        open.pull = Some(scope.spawn(move || git.pull(self.environment)));
                    }
                }
                thread::sleep(PAUSE);
            }
        })
    }

    fn names_now(&self) -> Result<Vec<String>, CommandError> {
        if self.names.is_empty() { all_clusters(self.environment) } else { Ok(self.names.clone()) }
    }

    /// Whose round is to begin now, those first who wait longest: as many as there is room for.
    fn due(
        &self,
        names: &[String],
        turns: &BTreeMap<String, Turn>,
        open: &Open<'_>,
        every: Option<Duration>,
    ) -> Vec<String> {
        let begun = |name: &String| turns.get(name).and_then(|turn| turn.begun);
        let is_due = |name: &&String| match (begun(name), every) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(begun), Some(every)) => begun.elapsed() >= every,
        };
        let mut due: Vec<&String> = names.iter().filter(is_due).collect();
        due.retain(|name| !open.rounds.contains_key(*name));
        due.sort_by_key(|name| begun(name));
        due.into_iter().take(self.at_once.saturating_sub(open.rounds.len())).cloned().collect()
    }

    /// Takes in the rounds that have ended. Returns the worst exit code of those so far.
    fn take_in_rounds(
        &self,
        open: &mut Open<'_>,
        turns: &mut BTreeMap<String, Turn>,
        metrics: &Metrics,
        mut worst: Exit,
    ) -> Exit {
        let over = open.rounds.iter().filter(|(_, round)| round.is_finished());
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        for name in over {
            let Some(round) = open.rounds.remove(&name) else { continue };
            let turn = turns.entry(name.clone()).or_default();
            let mut ended = round.join().unwrap_or_else(|_| Ended {
                watch: None,
                exit: Err(CommandError::failed(BROKEN)),
                took: Duration::ZERO,
            });
            let told = ended.watch.as_ref().map(|watch| watch.tell(metrics, Some(&name), ended.took));
            if let Some(Err(error)) = told
                && ended.exit.is_ok()
            {
                ended.exit = Err(error);
            }
            let said = match &ended.exit {
                Ok(Exit::Done) => ended.watch.as_ref().filter(|_| !self.as_json).map(Watch::summary),
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            };
            if let Some(said) = said.as_ref().filter(|said| turn.said.as_ref() != Some(*said)) {
                print::note(&harmless_lines(&format!("{name}: {said}")));
            }
            if !matches!(ended.exit, Ok(Exit::Done)) {
                worst = Exit::No;
            }
            turn.said = said;
            turn.watch = ended.watch;
        }
        worst
    }

    /// Tells what came of a pull, where it is news.
    fn take_in_pull(&self, now: Pulled, last: &mut Option<Pulled>, metrics: &Metrics) {
        for line in now.news(last.as_ref()) {
            print::note(&harmless_lines(&line));
        }
        metrics.tell_pull(now.at, now.fails());
        *last = Some(now);
    }

    fn turn(
        &self,
        name: &str,
        mut watch: Option<Watch>,
        every: Option<Duration>,
        stop: &CancellationToken,
    ) -> Ended {
        let begun = Instant::now();
        let exit = self.round(name, &mut watch, every, stop);
        Ended { watch, exit, took: begun.elapsed() }
    }

    /// A round of one cluster. Its declaration is read anew.
    fn round(
        &self,
        name: &str,
        watch: &mut Option<Watch>,
        every: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<Exit, CommandError> {
        let (folder, held) = folder_of(name, self.environment)?;
        let opened = if held.is_some() { None } else { Some(Cluster::open(name, self.environment)) };
        let (cluster, wrong) = match opened.transpose() {
            Ok(cluster) => (cluster, held.clone()),
            Err(error) => (None, Some(error.message)),
        };
        let refused = match &self.git {
            Some(git) => git.refused(name, self.environment)?,
            None => None,
        };
        let file = folder.inventory_file();
        let project = Project::find(std::slice::from_ref(&file), self.environment)?;
        let inventory = InventoryArgs { inventory: vec![file], ..self.inventory.clone() };
        let is_made = folder.inventory()?.is_some();
        let due = match &cluster {
            Some(cluster) => self.due_declaration(cluster, is_made)?,
            None => None,
        };
        // Whoever deleted it has not taken the declaration away yet.
        let was_deleted = (cluster.is_some() && !is_made && due.is_none())
            .then(|| format!("the cluster was deleted; to make it anew: muster cluster apply {name}"));
        let wrong = wrong.or(refused).or(was_deleted);
        let images = match &cluster {
            Some(cluster) if is_made => self.images(cluster)?,
            _ => BTreeMap::new(),
        };
        let named = match cluster.as_ref().map(|cluster| &cluster.declaration.machines) {
            Some(Source::Existing { provider: Some(named) }) => Some(named),
            _ => self.provider.as_ref(),
        };
        let provider = named.map(|named| provider(named, self.environment)).transpose()?;
        let apply = || match &cluster {
            Some(cluster) => apply(cluster, &self.how(), self.environment),
            None => Err(CommandError::failed("there is no declaration")),
        };
        let keeper = Keeper {
            project,
            rules: Rules { has_provider: provider.is_some(), ..self.rules.clone() },
            drift_every: self.drift_every,
            provider,
            inventory: &inventory,
            connection: self.connection,
            manner: self.manner.clone(),
            output: self.output.clone(),
            as_json: self.as_json,
            declared: Some(Declared { name, held, wrong, due, is_made, images, apply: &apply }),
            environment: self.environment,
        };
        let begun = match watch.take() {
            Some(begun) => begun,
            None => keeper.begin()?.map_err(|other| {
                CommandError::failed(format!("it is healed by {other}; nothing was done"))
            })?,
        };
        keeper.round(watch.insert(begun), every, stop)
    }

    /// Whether the declaration is to be applied: its mark, and why.
    fn due_declaration(
        &self,
        cluster: &Cluster,
        is_made: bool,
    ) -> Result<Option<(String, String)>, CommandError> {
        let shown = cluster.folder.declaration_shown();
        let why = match cluster.folder.applied()? {
            Some(mark) if mark == cluster.mark => return Ok(None),
            _ if !is_made => format!("{shown} declares a cluster that is not made yet"),
            _ if !self.rules.may_apply => return Ok(None),
            Some(_) => format!("{shown} has changed since it was applied"),
            None => format!("{shown} was not applied yet"),
        };
        Ok(Some((cluster.mark.clone(), why)))
    }

    fn images(&self, cluster: &Cluster) -> Result<BTreeMap<String, String>, CommandError> {
        let image = |part: String| {
            let image = cluster.declaration.image_of(&part)?.to_owned();
            Some((cluster.host(&part), image))
        };
        let members = cluster.members(self.environment)?;
        Ok(members.into_iter().filter_map(|member| image(member.part)).collect())
    }

    fn how(&self) -> How {
        How {
            consent: self.consent,
            boot_time: Duration::from_secs(self.rules.boot_time),
            manner: self.manner.clone(),
            connection: self.connection.clone(),
            output: self.output.clone(),
        }
    }
}

/// Clusters that are not there any more are neither watched nor told of.
fn forget(names: &[String], turns: &mut BTreeMap<String, Turn>, open: &Open<'_>, metrics: &Metrics) {
    turns.retain(|name, _| {
        let stays = names.contains(name) || open.rounds.contains_key(name);
        if !stays {
            metrics.forget(name);
        }
        stays
    });
}

/// What is told of a round that did not come to its end. What it was is on standard error already.
const BROKEN: &str = "this is a mistake in muster; the next round tries again";
