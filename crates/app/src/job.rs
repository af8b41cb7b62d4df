//! A flow on the machines of a project: what the user wrote is read and checked before any machine is contacted.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_artifacts::Bundle;
use muster_engine::event::{Event, Events};
use muster_engine::lock::LockRequest;
use muster_engine::play::Play;
use muster_engine::prelude::Problem;
use muster_engine::run::{FORKS, Findings, Role};
use muster_inventory::PatternError;
use muster_roles::kubespray::{Remark, Verdict};
use muster_roles::preflight;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::connections::Connections;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind};
use crate::flow::{BundleUse, Flow, Plays};
use crate::frontend::{Frontend, News};
use crate::options::{ConnectionOptions, RunOptions, Selection, VariableOptions};
use crate::project::Project;
use crate::text::count;
use crate::world::World;
use crate::{batches, hooks, lock_owner, run_bundle, selection};

/// The groups that a cluster's inventory has.
const GROUPS: [&str; 3] = ["kube_control_plane", "etcd", "kube_node"];

/// What is to be run, on what, and how.
#[derive(Clone)]
pub struct Job {
    /// What is to be done.
    pub flow: Flow,
    /// The inventory.
    pub project: Project,
    /// Variables over those of the inventory.
    pub variables: VariableOptions,
    /// How machines are reached.
    pub connection: ConnectionOptions,
    /// Which hosts and roles.
    pub selection: Selection,
    /// How it is done.
    pub options: RunOptions,
}

/// What will be run on what: known before the first event.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    /// The hosts of the run, in inventory order.
    pub hosts: Vec<String>,
    /// The plays, in order.
    pub plays: Vec<OutlinePlay>,
}

/// One play of it.
#[derive(Debug, Clone)]
pub struct OutlinePlay {
    /// What the play is for.
    pub name: String,
    /// Those of the run's hosts that the play is for.
    pub hosts: Vec<String>,
    /// The names of its roles, in order.
    pub roles: Vec<String>,
}

/// A job of which the inventory, the variables and the plays were read.
pub struct Scope {
    /// What is to be run.
    pub job: Job,
    /// The inventory with its variables.
    pub world: World,
    /// The plays, with the roles that were selected.
    pub plays: Vec<Play>,
    /// Every role that they could name.
    pub roles: Vec<Role>,
    /// Which hosts they are for.
    pub outline: Outline,
}

/// A job of which everything was read and checked. No machine has been contacted.
pub struct Ready {
    /// What is to be run.
    pub job: Job,
    /// The inventory with its variables.
    pub world: World,
    /// The plays, with the roles that were selected.
    pub plays: Vec<Play>,
    /// Which hosts they are for.
    pub outline: Outline,
    /// The versions of Kubernetes that the hosts are to have.
    pub versions: Vec<String>,
    /// Where binaries and images come from.
    pub bundle: Arc<Bundle>,
    pub(crate) roles: Vec<Role>,
    pub(crate) connections: Connections,
    pub(crate) lock: LockRequest,
    pub(crate) forks: usize,
    pub(crate) events: Events,
    pub(crate) receiver: UnboundedReceiver<Event>,
}

impl Job {
    /// Reads the inventory, the variables and the plays, and finds out which hosts go through which of them.
    ///
    /// # Errors
    /// One of them cannot be read; or a tag, a role or a host that was asked for is not there.
    pub fn scope(self, environment: &Environment, frontend: &dyn Frontend) -> Result<Scope, Error> {
        self.flow.check_serial(&self.options)?;
        let world = World::load(self.project.clone(), &self.variables, environment, frontend)?;
        let roles = self.flow.all_roles();
        let mut all = self.flow.first.clone();
        all.extend(match &self.flow.plays {
            Plays::Playbook(playbook) => playbook.load(&world.project.root, &roles)?,
            Plays::Given(plays) => plays.clone(),
        });
        let mut plays = selection::select(&all, &self.selection)?;
        if matches!(self.flow.plays, Plays::Playbook(_)) {
            hooks::attach(&mut plays, &all, &self.flow.command, &world.project, environment)?;
        }
        match self.options.serial {
            Some(serial) => selection::one_batch_after_the_other(&mut plays, serial),
            None => plays = batches::by_group(plays, &world)?,
        }
        let hosts = world.select(self.selection.limit.as_deref())?;
        let outline = outline(&world, &plays, &hosts)?;
        Ok(Scope { job: self, world, plays, roles, outline })
    }
}

impl Scope {
    /// Checks everything that can be checked without a machine, and completes the bundle where the flow needs it.
    ///
    /// # Errors
    /// What is wrong. Nothing was changed anywhere; only the bundle may hold more.
    pub fn prepare(self, environment: &Environment, frontend: &Arc<dyn Frontend>) -> Result<Ready, Error> {
        self.check(&**frontend)?;
        self.complete(environment, frontend)
    }

    /// Checks what was written: the first half of [`Scope::prepare`].
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, frontend: &dyn Frontend) -> Result<(), Error> {
        let Self { job, world, plays, roles, outline } = self;
        world.tell_warnings(frontend);
        let checks: Vec<_> = named(roles, plays).filter_map(|role| role.check_written).collect();
        let mut found = Findings { problems: world.mistyped_options()?, ..Findings::default() };
        let mistyped = found.problems.len();
        found.problems.extend(world.folder_of_another());
        if job.flow.remarks {
            // What is a problem is told as such: what a role refuses, and what was just mistyped.
            let is_refused = |remark: &Remark| !checks.is_empty() && remark.verdict == Verdict::Refused;
            let is_mistyped = |remark: &Remark| found.problems.iter().any(|known| known.check == remark.name);
            world.tell_remarks(|remark| !is_refused(remark) && !is_mistyped(remark), frontend)?;
        }
        for check in checks {
            let of_role = check(&world.inventory, &world.vars, &outline.hosts)?;
            found.problems.extend(of_role.problems);
            found.warnings.extend(of_role.warnings);
        }
        let unreadable = self.unreadable()?.into_iter();
        // What a check has refused is told once.
        let is_new = |problem: &Problem| found.problems.iter().all(|known| known.check != problem.check);
        let unreadable: Vec<Problem> = unreadable.filter(is_new).collect();
        found.problems.extend(unreadable);
        let place = match found.problems.len() == mistyped {
            true => "what was typed".to_owned(),
            false => world.project.describe(),
        };
        judge(found, &place, frontend)
    }

    /// What the roles of the run could not read of the variables of their hosts.
    fn unreadable(&self) -> Result<Vec<Problem>, Error> {
        let Self { world, roles, outline, .. } = self;
        let mut reading = Vec::new();
        for play in &outline.plays {
            // Of two roles with the same name the first one counts.
            let named = play.roles.iter().filter_map(|name| roles.iter().find(|role| role.name == name));
            reading.extend(named.map(|role| (role, play.hosts.as_slice())));
        }
        Ok(preflight::unreadable(&world.inventory, &world.vars, reading)?)
    }

    /// Whether the bundle lacks something that the flow needs and of which machines are asked first (`looks_first`).
    ///
    /// # Errors
    /// The bundle cannot be read, or a version is not in the catalogue.
    pub fn fetches(&self, environment: &Environment) -> Result<bool, Error> {
        let Self { job, world, outline, .. } = self;
        if job.flow.bundle != BundleUse::Installs {
            return Ok(false);
        }
        let versions = run_bundle::versions(world, &outline.hosts)?;
        let of = if job.flow.looks_first_for_another {
            run_bundle::Lack::OfAnother
        } else {
            run_bundle::Lack::Any
        };
        run_bundle::is_incomplete(&job.options, environment, world, &versions, of)
    }

    /// Completes the bundle: the second half of [`Scope::prepare`].
    ///
    /// # Errors
    /// What is wrong. Nothing was changed anywhere; only the bundle may hold more.
    pub fn complete(self, environment: &Environment, frontend: &Arc<dyn Frontend>) -> Result<Ready, Error> {
        let Self { job, world, plays, roles, outline } = self;
        let versions = match (job.flow.bundle, job.flow.keeps.get()) {
            (BundleUse::None, _) => Vec::new(),
            (_, Some(kept)) => vec![kept.clone()],
            (_, None) => run_bundle::versions(&world, &outline.hosts)?,
        };
        let (events, receiver) = Events::channel();
        let connections = Connections::new(
            &world,
            &outline.hosts,
            &job.connection.with_reimaged(&job.flow.reimaged),
            environment,
            frontend,
            Some(&events),
        )?;
        let bundle = match job.flow.bundle {
            BundleUse::None => Arc::new(Bundle::empty(&world.project.inventory_dir)),
            BundleUse::Looks => run_bundle::as_it_is(&job.options, environment)?,
            BundleUse::Installs => {
                run_bundle::complete(&job.options, environment, &world, &versions, &**frontend)?
            }
        };
        if let Some(version) = versions.first() {
            let mut found = Findings::default();
            for check in named(&roles, &plays).filter_map(|role| role.check_with_bundle) {
                let of_role = check(&world.inventory, &world.vars, &bundle, version)?;
                found.problems.extend(of_role.problems);
                found.warnings.extend(of_role.warnings);
            }
            judge(found, &world.project.describe(), &**frontend)?;
        }
        let lock = lock_owner::request(&job.flow.command, job.options.lock_timeout, environment);
        let forks = job.connection.forks(environment)?;
        Ok(Ready {
            job,
            world,
            plays,
            outline,
            versions,
            bundle,
            roles,
            connections,
            lock,
            forks,
            events,
            receiver,
        })
    }
}

impl ConnectionOptions {
    /// The same with further hosts that were installed anew.
    fn with_reimaged(&self, hosts: &[String]) -> Self {
        let all: Vec<String> = self.reimaged.iter().chain(hosts).cloned().collect();
        Self { reimaged: (!all.is_empty()).then(|| all.join(",")), ..self.clone() }
    }

    /// How many machines are worked on at once at most: as given, else as ansible.cfg says, else many.
    ///
    /// # Errors
    /// ansible.cfg cannot be read.
    pub fn forks(&self, environment: &Environment) -> Result<usize, Error> {
        let set = environment.ansible()?.forks.filter(|forks| *forks > 0);
        Ok(self.forks.or(set).unwrap_or(FORKS))
    }
}

/// The roles that plays name.
fn named<'r>(roles: &'r [Role], plays: &'r [Play]) -> impl Iterator<Item = &'r Role> {
    roles.iter().filter(|role| plays.iter().flat_map(Play::all_roles).any(|name| name == role.name))
}

/// What was found wrong without any machine: warnings are told, problems are an error. `place`: where the problems are.
fn judge(found: Findings, place: &str, frontend: &dyn Frontend) -> Result<(), Error> {
    for warning in &found.warnings {
        frontend.tell(News::Warning(&preflight::sentence(warning)));
    }
    if found.problems.is_empty() {
        return Ok(());
    }
    let number = count(found.problems.len(), "problem");
    let message = format!("{number} in {place}; nothing was changed");
    Err(Error::new(ErrorKind::Problems(found.problems), message))
}

/// Which hosts each play is for. Also finds what is wrong with the plays' patterns.
fn outline(world: &World, plays: &[Play], hosts: &[String]) -> Result<Outline, Error> {
    let mut outline = Outline::default();
    let mut in_run: BTreeSet<String> = BTreeSet::new();
    for play in plays {
        let chosen = world.inventory.select(&play.hosts).map_err(|error| {
            // A play is right about the groups of a cluster: it is the inventory's similar group that is mistyped.
            let (error, meant) = match error {
                PatternError::NoMatch { part, suggestion: Some(group) }
                    if GROUPS.contains(&part.as_str()) =>
                {
                    let meant =
                        format!("is the group \"{group}\" meant for \"{part}\"? rename it in the inventory");
                    (PatternError::NoMatch { part, suggestion: None }, Some(meant))
                }
                error => (error, None),
            };
            let message = format!("the play \"{}\" is for {}: {error}", play.name, play.hosts);
            let error = Error::written(format!("{}: {message}", world.project.describe()));
            meant
                .into_iter()
                .fold(error, Error::hint)
                .hint("a cluster's inventory has the groups kube_control_plane, etcd and kube_node")
        })?;
        let chosen: Vec<String> =
            hosts.iter().filter(|host| chosen.contains(&host.as_str())).cloned().collect();
        in_run.extend(chosen.iter().cloned());
        let roles = play.all_roles().cloned().collect();
        outline.plays.push(OutlinePlay { name: play.name.clone(), hosts: chosen, roles });
    }
    outline.hosts = hosts.iter().filter(|host| in_run.contains(*host)).cloned().collect();
    if outline.hosts.is_empty() {
        return Err(Error::usage("none of the hosts has a part in any of the plays")
            .hint("see who would: --list-hosts; a cluster's inventory has the groups kube_control_plane, etcd and kube_node"));
    }
    Ok(outline)
}
