//! A cluster becomes what its declaration says.

use std::time::Duration;

use muster_app::{Flow, Project};
use muster_openstack::Listed;

use crate::args::{ConnectionArgs, FlowArgs, MannerArgs, OutputArgs};
use crate::clusters::cluster::Cluster;
use crate::clusters::maker::Maker;
use crate::clusters::plan::{Machine, Plan, Replacement, plan};
use crate::clusters::show::{show_plan, summary};
use crate::clusters::wait::until_they_answer;
use crate::commands::{remove_node, replace_node, setup_cluster, students};
use crate::confirmation::confirmed;
use crate::environment::Environment;
use crate::error::{CommandError, Exit};
use crate::output::{print, text};
use crate::typed_flow::TypedFlow;

/// At the end of the name of a machine that comes back, among those that are new.
const AGAIN: &str = " again";

/// Whether machines may leave the cluster, or get a new system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// The user is asked.
    Ask,
    Given,
    /// They may not, and nobody is asked.
    Withheld,
}

/// What was typed for all of it.
pub(crate) struct How {
    pub(crate) consent: Consent,
    /// How long new machines may take to boot.
    pub(crate) boot_time: Duration,
    pub(crate) manner: MannerArgs,
    pub(crate) connection: ConnectionArgs,
    pub(crate) output: OutputArgs,
}

/// One run of it.
struct Run<'a> {
    cluster: &'a Cluster,
    maker: &'a dyn Maker,
    how: &'a How,
    environment: &'a Environment,
    plan: &'a Plan,
    /// The machines as they were at the beginning.
    machines: &'a [Machine],
}

/// What is to be done, and the machines that are there.
pub(crate) fn planned(
    cluster: &Cluster,
    maker: &dyn Maker,
    environment: &Environment,
) -> Result<(Plan, Vec<Machine>), CommandError> {
    let machines = cluster.machines(maker, environment)?;
    let plan = plan(&cluster.declaration, &machines).map_err(|why| {
        CommandError::written(format!("{}: {why}; nothing was changed", cluster.folder.declaration_shown()))
    })?;
    Ok((plan, machines))
}

/// Makes machines, lets them join, lets others leave and removes them; and brings the cluster to what it is to be. Whoever runs it again
/// after it was cut off, or failed, goes on.
///
/// # Errors
/// What is wrong before anything is changed; or something could not be made.
pub(crate) fn apply(cluster: &Cluster, how: &How, environment: &Environment) -> Result<Exit, CommandError> {
    let _lock = cluster.folder.lock()?;
    let maker = cluster.maker(environment)?;
    let (plan, machines) = planned(cluster, &*maker, environment)?;
    if !plan.is_empty() {
        print::data(&show_plan(cluster, &plan, environment))?;
    }
    print::note(&format!("{}: {}", cluster.folder.name(), summary(&plan)));
    if !agreed(cluster, &plan, how.consent)? {
        return Ok(Exit::No);
    }
    let exit = Run { cluster, maker: &*maker, how, environment, plan: &plan, machines: &machines }.go()?;
    if exit == Exit::Done {
        cluster.folder.keep_applied(&cluster.mark)?;
    }
    Ok(exit)
}

/// Shows what would be done. The exit code is 1 if machines would be made, replaced or removed.
///
/// # Errors
/// As of [`apply`], before anything is changed.
pub(crate) fn show(cluster: &Cluster, environment: &Environment) -> Result<Exit, CommandError> {
    let maker = cluster.maker(environment)?;
    let (plan, machines) = planned(cluster, &*maker, environment)?;
    print::data(&show_plan(cluster, &plan, environment))?;
    print::note(&format!("{}: {}", cluster.folder.name(), summary(&plan)));
    if plan.is_empty() {
        let listed: Vec<Listed> = machines.into_iter().map(|machine| machine.listed).collect();
        let text = cluster.inventory_of(&listed, environment)?;
        for line in changed_lines(&cluster.folder.inventory()?.unwrap_or_default(), &text) {
            print::data(&format!("{}\n", text::harmless(&line)))?;
        }
    }
    Ok(if plan.is_empty() { Exit::Done } else { Exit::No })
}

/// Lines of the inventory that go and that come.
fn changed_lines(old: &str, new: &str) -> Vec<String> {
    let only = |of: &str, not: &str, sign: char| -> Vec<String> {
        of.lines()
            .filter(|line| not.lines().all(|other| other != *line))
            .map(|line| format!("{sign}{line}"))
            .collect()
    };
    [only(old, new, '-'), only(new, old, '+')].concat()
}

/// Whether what is lost may be lost.
fn agreed(cluster: &Cluster, plan: &Plan, consent: Consent) -> Result<bool, CommandError> {
    let host = |part: &String| cluster.host(part);
    let leaving = plan.replace.iter().map(|replacement| &replacement.old).chain(&plan.remove).map(host);
    let leaving: Vec<String> = leaving.collect();
    let new = plan.make.iter().chain(plan.replace.iter().map(|replacement| &replacement.new));
    let wiped: Vec<String> =
        new.filter(|part| cluster.declaration.image_of(part).is_some()).map(host).collect();
    let mut what = Vec::new();
    if !leaving.is_empty() {
        what.push(format!(
            "{} will leave the cluster, and what only they hold is lost",
            text::names(&leaving)
        ));
    }
    if !wiped.is_empty() {
        what.push(format!(
            "{} will get a new system, and what is on their disks is lost",
            text::names(&wiped)
        ));
    }
    if what.is_empty() || consent == Consent::Given {
        return Ok(true);
    }
    if consent == Consent::Withheld {
        return Err(CommandError::failed(format!(
            "{}; nothing was changed. A person does it: muster cluster apply {}",
            what.join("; "),
            cluster.folder.name()
        )));
    }
    confirmed(&format!("{}. Go on?", what.join("; ")), "this may be lost", "do it")
}

impl Run<'_> {
    fn go(&self) -> Result<Exit, CommandError> {
        let plan = self.plan;
        let (gone, leaving): (Vec<&String>, Vec<&String>) =
            plan.remove.iter().partition(|part| self.find(part).is_none_or(|machine| !machine.is_there()));
        // Nobody could be set up beside a machine that is in the inventory and nowhere else.
        for part in gone {
            let exit = self.leave(part)?;
            if exit != Exit::Done {
                return Ok(exit);
            }
        }
        // What is to leave later is part of the cluster until then.
        let stay: Vec<&String> =
            plan.keep.iter().chain(plan.replace.iter().map(|replacement| &replacement.old)).collect();
        let stay: Vec<String> = stay.into_iter().chain(&plan.make).chain(&plan.again).cloned().collect();
        let exit = self.join(&stay, &plan.make, &plan.again)?;
        if exit != Exit::Done {
            return Ok(exit);
        }
        for replacement in &plan.replace {
            let exit = self.replace(replacement)?;
            if exit != Exit::Done {
                return Ok(exit);
            }
        }
        for part in leaving {
            let exit = self.leave(part)?;
            if exit != Exit::Done {
                return Ok(exit);
            }
        }
        self.students()
    }

    fn find(&self, part: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.listed.part == part)
    }

    /// The new one joins before the old one leaves.
    fn replace(&self, replacement: &Replacement) -> Result<Exit, CommandError> {
        let (old, new) = (self.cluster.host(&replacement.old), self.cluster.host(&replacement.new));
        print::note(&format!("{new} takes the place of {old}: {}", replacement.why));
        let members = self.cluster.members(self.environment)?.into_iter().map(|member| member.part);
        let mut all: Vec<String> = members.filter(|part| !self.plan.remove.contains(part)).collect();
        all.push(replacement.new.clone());
        match self.join(&all, std::slice::from_ref(&replacement.new), &[])? {
            Exit::Done => self.leave(&replacement.old),
            exit => Ok(exit),
        }
    }

    /// Makes what is missing of these machines, waits for those that are new, and sets the cluster up.
    fn join(&self, parts: &[String], new: &[String], again: &[String]) -> Result<Exit, CommandError> {
        let folder = &self.cluster.folder;
        let mut newcomers = folder.newcomers()?;
        newcomers.extend(new.iter().cloned().chain(again.iter().map(|part| format!("{part}{AGAIN}"))));
        newcomers.sort();
        newcomers.dedup();
        newcomers.retain(|line| parts.iter().any(|part| *part == name_of(line)));
        // Before the first request that makes one: whoever is killed from here on knows that it is new.
        folder.keep_newcomers(&newcomers)?;
        let made = self.maker.make(parts)?;
        self.write_inventory(made)?;
        let hosts: Vec<String> = newcomers.iter().map(|line| self.cluster.host(name_of(line))).collect();
        until_they_answer(
            &hosts,
            &self.cluster.inventory(),
            &self.how.connection,
            self.how.boot_time,
            self.environment,
        )?;
        let exit = self.set_up(&newcomers, hosts)?;
        if exit == Exit::Done {
            folder.keep_newcomers(&[])?;
        }
        Ok(exit)
    }

    /// Writes the inventory of these machines, and of members that are still to leave.
    fn write_inventory(&self, made: Vec<Listed>) -> Result<(), CommandError> {
        let mut all = made;
        for member in self.cluster.members(self.environment)? {
            if all.iter().all(|machine| machine.part != member.part) {
                let known = self.find(&member.part).map(|machine| machine.listed.clone());
                all.push(known.unwrap_or_else(|| self.cluster.gone(&member)));
            }
        }
        let text = self.cluster.inventory_of(&all, self.environment)?;
        if self.cluster.folder.write_inventory(&text)? {
            print::note(&format!("wrote {}", self.cluster.folder.inventory_file()));
        }
        Ok(())
    }

    /// Sets the cluster up. What machines that come back were before is removed first, where there is a cluster that knows it.
    fn set_up(&self, newcomers: &[String], hosts: Vec<String>) -> Result<Exit, CommandError> {
        let project = self.project()?;
        let inventory = project.inventory()?;
        let begins =
            inventory.group("kube_control_plane").iter().all(|plane| hosts.iter().any(|host| host == plane));
        let again = newcomers.iter().filter_map(|line| line.strip_suffix(AGAIN));
        let again: Vec<String> = again.map(|part| self.cluster.host(part)).collect();
        let flow = if again.is_empty() || begins {
            setup_cluster::Parameters {}.flow(&project)?
        } else {
            replace_node::Parameters::of(&again).flow(&project)?
        };
        let next = project.command(&["muster", "kubectl", "get", "nodes"], 2);
        self.run(Flow { reimaged: hosts, next: Some(next), ..flow }, project)
    }

    /// A machine leaves the cluster, and then is removed.
    fn leave(&self, part: &str) -> Result<Exit, CommandError> {
        let host = self.cluster.host(part);
        if self.cluster.members(self.environment)?.iter().any(|member| member.part == part) {
            print::note(&format!("{host} leaves the cluster"));
            let flow = FlowArgs {
                manner: self.how.manner.clone(),
                inventory: self.cluster.inventory(),
                connection: self.how.connection.clone(),
                output: self.how.output.clone(),
            };
            let exit = remove_node::run(remove_node::RemoveNodeArgs::agreed(&host, flow), self.environment)?;
            if exit != Exit::Done {
                return Ok(exit);
            }
            if self.cluster.members(self.environment)?.iter().any(|member| member.part == part) {
                return Err(CommandError::failed(format!(
                    "{host} has left the cluster, but not the inventory; its machine was not removed"
                ))
                .hint("take its lines out of the inventory by hand, then run the same command again"));
            }
        }
        self.maker.remove(part)?;
        print::note(&format!("{host} is removed"));
        Ok(Exit::Done)
    }

    /// Gives each student of the class list a namespace.
    fn students(&self) -> Result<Exit, CommandError> {
        let Some(list) = &self.cluster.declaration.settings.students else { return Ok(Exit::Done) };
        let project = self.project()?;
        let flow = students::Parameters::of_list(list).flow(&project)?;
        self.run(flow, project)
    }

    fn project(&self) -> Result<Project, CommandError> {
        Ok(Project::find(&self.cluster.inventory().inventory, self.environment)?)
    }

    fn run(&self, flow: Flow, project: Project) -> Result<Exit, CommandError> {
        let typed = TypedFlow {
            manner: self.how.manner.clone(),
            yes: true,
            ..TypedFlow::new(
                flow,
                project,
                self.cluster.inventory(),
                self.how.connection.clone(),
                self.how.output.clone(),
            )
        };
        typed.run(self.environment)
    }
}

/// The machine of a line of those that are new.
fn name_of(line: &str) -> &str {
    line.strip_suffix(AGAIN).unwrap_or(line)
}
