//! Running a playbook: everything is read and checked first; only then machines are contacted.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_artifacts::Bundle;
use muster_engine::event::{Event, Events};
use muster_engine::failure::Failure;
use muster_engine::lock::LockRequest;
use muster_engine::play::Play;
use muster_engine::run::{Outcome, Run};
use muster_engine::transport::Transport;
use muster_roles::kubespray::Verdict;
use muster_roles::{ROLES, common, preflight};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::args::{ConnectionArgs, Form, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::bundle;
use crate::connection::Connections;
use crate::environment::Environment;
use crate::error::{CommandError, ErrorKind, Exit};
use crate::inventory_file::NewInventory;
use crate::lock;
use crate::output::style::Style;
use crate::output::text::count;
use crate::output::{
    Closing, Detail, Downloads, Outline, OutlinePlay, Screen, Sink, View, exit_of, print, problems, show,
    sink,
};
use crate::playbook::Playbook;
use crate::project::{Project, shown};
use crate::record::{Recorder, Records, typed};
use crate::selection;
use crate::usual::Usual;
use crate::world::World;

/// The role with a part that needs no machine.
const PREFLIGHT: &str = "preflight";

/// What is to be run, and how.
pub(crate) struct Job<'a> {
    /// The command as the user typed it, without options: `setup-cluster`.
    pub(crate) command: String,
    pub(crate) playbook: Playbook,
    pub(crate) project: Project,
    pub(crate) inventory: &'a InventoryArgs,
    pub(crate) connection: &'a ConnectionArgs,
    pub(crate) selection: &'a SelectionArgs,
    pub(crate) manner: &'a MannerArgs,
    pub(crate) output: &'a OutputArgs,
    /// Variables that the command itself sets. What the user gives wins.
    pub(crate) implied_vars: &'static [&'static str],
    /// Whether machines get binaries and images.
    pub(crate) needs_bundle: bool,
    /// An inventory to write when everything has been checked.
    pub(crate) new_inventory: Option<NewInventory>,
    /// What to type next when all went well.
    pub(crate) next: Option<String>,
}

/// A job of which everything was read and checked. No machine has been contacted.
pub(crate) struct Ready {
    pub(crate) world: World,
    pub(crate) plays: Vec<Play>,
    pub(crate) outline: Outline,
    /// The versions of Kubernetes that the hosts are to have.
    pub(crate) versions: Vec<String>,
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) screen: Screen,
    connections: Connections,
    lock: LockRequest,
    forks: usize,
    events: Events,
    receiver: UnboundedReceiver<Event>,
    /// Connections live in it, and may serve a second run.
    runtime: Runtime,
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) view: View,
    pub(crate) interrupted: bool,
}

impl Ended {
    pub(crate) fn exit(&self) -> Exit {
        exit_of(&self.outcome, self.interrupted)
    }
}

impl Job<'_> {
    /// Does it.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted. Then nothing was changed anywhere; only the bundle may hold more.
    pub(crate) fn run(self, environment: &Environment) -> Result<Exit, CommandError> {
        let Some(mut ready) = self.prepare(environment)? else { return Ok(Exit::Done) };
        self.write_inventory()?;
        let check = self.manner.check;
        self.announce(&ready, check);
        let recorder = self.record(&ready);
        let detail = self.detail(check);
        let recording = recorder.clone().map(|recorder| Box::new(recorder) as Box<dyn Sink>);
        let ended = self.perform(&mut ready, detail, recording)?;
        let closing = self.closing(&ready, &ended, detail, recorder.is_some());
        Ok(closing.end(self.output.output, &ready.screen, recorder.as_ref()))
    }

    /// Reads and checks everything. `None` when what would be run was only to be listed, which is done.
    ///
    /// # Errors
    /// What is wrong. Nothing was changed anywhere; only the bundle may hold more.
    pub(crate) fn prepare(&self, environment: &Environment) -> Result<Option<Ready>, CommandError> {
        let mut inventory = self.inventory.clone();
        inventory.extra_vars.splice(0..0, self.implied_vars.iter().map(|text| (*text).to_owned()));
        let world = World::load(self.project.clone(), &inventory, environment)?;
        let all = self.playbook.load(&world.project.root)?;
        let mut plays = selection::select(&all, self.selection)?;
        if let Some(serial) = self.manner.serial {
            selection::one_batch_after_the_other(&mut plays, serial);
        }
        let hosts = world.select(self.selection.limit.as_deref())?;
        let mut outline = outline(&world, &plays, &hosts)?;
        if self.selection.is_list() {
            list(self.selection, &plays, &outline)?;
            return Ok(None);
        }
        world.tell_warnings(environment);
        let checked = plays.iter().any(|play| play.roles.iter().any(|role| role == PREFLIGHT));
        if self.playbook != Playbook::Verify {
            // What preflight refuses is in its table.
            world.tell_remarks(|remark| !checked || remark.verdict != Verdict::Refused, environment)?;
        }
        let screen = Screen::new(environment, self.output.output == Form::Auto);
        if checked {
            check_inventory(&world, &outline.hosts, environment, &screen)?;
        }
        outline.usual = Usual::of(&Records::of(&self.project));
        let versions = bundle::versions(&world, &outline.hosts)?;
        let (events, receiver) = Events::channel();
        let connections =
            Connections::new(&world, &outline.hosts, self.connection, environment, &screen, Some(&events))?;
        let bundle = if self.needs_bundle {
            let mut downloads = Downloads::new(screen.clone(), self.output.output);
            bundle::complete(self.manner, environment, &world, &versions, &mut downloads)?
        } else {
            bundle::as_it_is(self.manner, environment)?
        };
        let (forks, runtime) = (self.connection.forks(environment)?, runtime()?);
        Ok(Some(Ready {
            world,
            plays,
            outline,
            versions,
            bundle,
            screen,
            connections,
            lock: lock::request(&self.command, self.manner.lock_timeout, environment),
            forks,
            events,
            receiver,
            runtime,
        }))
    }

    /// Runs the plays, and beside them what shows them and what heeds Ctrl-C.
    pub(crate) fn perform(
        &self,
        ready: &mut Ready,
        detail: Detail,
        listeners: impl IntoIterator<Item = Box<dyn Sink>>,
    ) -> Result<Ended, CommandError> {
        let receiver = std::mem::replace(&mut ready.receiver, Events::channel().1);
        let mut sinks = vec![sink(self.output.output, &ready.screen, detail)];
        sinks.extend(listeners);
        // Preflight only looks.
        let changes = ready.plays.iter().flat_map(Play::all_roles).any(|role| role != PREFLIGHT);
        let cancel = CancellationToken::new();
        let connections = &ready.connections;
        let connect = |name: &str| -> Result<Arc<dyn Transport>, Failure> {
            let machine = connections.get(name).map(|ssh| Arc::clone(ssh) as Arc<dyn Transport>);
            machine.ok_or_else(|| Failure::new(format!("{name} is not in the inventory"), ""))
        };
        let run = Run {
            inventory: Arc::clone(&ready.world.inventory),
            vars: Arc::clone(&ready.world.vars),
            plays: &ready.plays,
            roles: ROLES,
            hosts: &ready.outline.hosts,
            connect: &connect,
            bundle: Arc::clone(&ready.bundle),
            project: ready.world.project.inventory_dir.clone(),
            check: detail.check,
            lock: changes.then(|| ready.lock.clone()),
            serves_at: Some(common::hands_on_at),
            forks: ready.forks,
            cancel: cancel.clone(),
            events: ready.events.clone(),
        };
        let (outcome, view, receiver) = ready.runtime.block_on(async {
            let over = CancellationToken::new();
            let display = tokio::spawn(show(receiver, ready.outline.clone(), sinks, over.clone()));
            let signals = tokio::spawn(heed_signals(cancel.clone(), ready.screen.clone()));
            let outcome = run.execute().await;
            signals.abort();
            for text in connections.take_warnings() {
                run.events.send(Event::Warning { host: None, text });
            }
            over.cancel();
            let shown = display.await;
            let (view, receiver) =
                shown.map_err(|error| CommandError::failed(format!("the display failed: {error}")))?;
            Ok::<_, CommandError>((outcome?, view, receiver))
        })?;
        ready.receiver = receiver;
        let interrupted = cancel.is_cancelled() && outcome.values().any(|host| host.failure.is_some());
        Ok(Ended { outcome, view, interrupted })
    }

    /// What is to be told at the end.
    pub(crate) fn closing<'c>(
        &'c self,
        ready: &'c Ready,
        ended: &'c Ended,
        detail: Detail,
        recorded: bool,
    ) -> Closing<'c> {
        Closing {
            view: &ended.view,
            outcome: &ended.outcome,
            detail,
            interrupted: ended.interrupted,
            next: self.next.as_deref(),
            again: Box::new(|hosts| self.again(hosts, &ready.outline)),
            log: recorded.then(|| self.project.command(&["muster", "log", "last"], 2)),
        }
    }

    pub(crate) fn detail(&self, check: bool) -> Detail {
        Detail { verbose: self.output.verbose, diff: self.manner.diff, check, quiet: false }
    }

    /// Begins the record of the run. One that only looks leaves none where there is no inventory yet.
    pub(crate) fn record(&self, ready: &Ready) -> Option<Recorder> {
        if self.manner.check && self.new_inventory.is_some() {
            return None;
        }
        let command = typed(std::env::args_os(), &self.inventory.extra_vars);
        let plays: Vec<&str> = ready.plays.iter().map(|play| play.name.as_str()).collect();
        let fields = json!({ "hosts": ready.outline.hosts, "plays": plays });
        Recorder::begin(&self.project, &command, fields, &ready.screen)
    }

    fn write_inventory(&self) -> Result<(), CommandError> {
        let Some(new) = self.new_inventory.as_ref().filter(|_| !self.manner.check) else { return Ok(()) };
        let kept = new.write()?;
        print::note(&format!("wrote {}", shown(new.path())));
        if let Some(kept) = kept {
            print::note(&format!("the inventory that was there is now {}", shown(&kept)));
        }
        Ok(())
    }

    /// Says what begins: which inventory, how many machines.
    pub(crate) fn announce(&self, ready: &Ready, check: bool) {
        if self.output.output == Form::Jsonl {
            return;
        }
        let hosts = count(ready.outline.hosts.len(), "host");
        let manner = if check { ", looking only" } else { "" };
        ready.screen.line(&format!("{}: {hosts} of {}{manner}", self.command, self.project.describe()));
    }
}

/// The runtime that SSH and the display share.
///
/// # Errors
/// The system gives no threads.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("cannot start threads: {error}")))
}

/// The first Ctrl-C ends the run after what is under way on the machines; the second ends the program at once.
async fn heed_signals(cancel: CancellationToken, screen: Screen) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    loop {
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => if pressed.is_err() { return },
            _ = terminate.recv() => {}
        }
        if cancel.is_cancelled() {
            screen.end_live();
            print::note(
                "left: what is under way on the machines goes on there; the same command waits for it and goes on from there",
            );
            std::process::exit(Exit::Interrupted.code().into());
        }
        cancel.cancel();
        screen.suspend(|| {
            print::note(
                "interrupted: waiting for what is under way on the machines; Ctrl-C again to leave at once",
            );
        });
    }
}

/// The part of preflight that needs no machine.
fn check_inventory(
    world: &World,
    hosts: &[String],
    environment: &Environment,
    screen: &Screen,
) -> Result<(), CommandError> {
    let findings = preflight::check_inventory(&world.inventory, &world.vars, hosts)?;
    for warning in &findings.warnings {
        print::warning(&preflight::sentence(warning), environment);
    }
    if findings.problems.is_empty() {
        return Ok(());
    }
    let (number, (_, columns)) = (findings.problems.len(), screen.size());
    let table = problems::of_inventory(&findings.problems, Style::of_stderr(environment), columns);
    let found = count(number, "problem");
    let message =
        format!("{found} in {}; nothing was changed\n\n{}\n", world.project.describe(), table.join("\n"));
    Err(CommandError { kind: ErrorKind::Problems, message, hints: Vec::new() })
}

/// Which hosts each play is for. Also finds what is wrong with the plays' patterns.
fn outline(world: &World, plays: &[Play], hosts: &[String]) -> Result<Outline, CommandError> {
    let mut outline = Outline::default();
    let mut in_run: BTreeSet<String> = BTreeSet::new();
    for play in plays {
        let chosen = world.inventory.select(&play.hosts).map_err(|error| {
            CommandError::written(format!(
                "{}: the play \"{}\" is for {}: {error}",
                world.project.describe(),
                play.name,
                play.hosts
            ))
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
        return Err(CommandError::usage("none of the hosts has a part in any of the plays")
            .hint("see who would: --list-hosts; a cluster's inventory has the groups kube_control_plane, etcd and kube_node"));
    }
    Ok(outline)
}

/// `--list-hosts`, `--list-tags`, `--list-roles`, in the form of ansible-playbook.
fn list(selection: &SelectionArgs, plays: &[Play], outline: &Outline) -> Result<(), CommandError> {
    let mut text = String::new();
    for (number, (play, of)) in plays.iter().zip(&outline.plays).enumerate() {
        text.push_str(&format!("\n  play #{} ({}): {}", number + 1, play.hosts, play.name));
        if selection.list_tags {
            text.push_str(&format!(
                "\tTAGS: [{}]",
                selection::tags_of(std::slice::from_ref(play)).join(", ")
            ));
        }
        text.push('\n');
        if selection.list_hosts {
            text.push_str(&format!("    hosts ({}):\n", of.hosts.len()));
            of.hosts.iter().for_each(|host| text.push_str(&format!("      {host}\n")));
        }
        if selection.list_roles {
            text.push_str("    roles:\n");
            for role in ROLES.iter().filter(|role| play.all_roles().any(|name| name == role.name)) {
                text.push_str(&format!("      {:<14} {}\n", role.name, role.summary));
            }
        }
    }
    print::data(text.trim_start_matches('\n'))
}

impl SelectionArgs {
    fn is_list(&self) -> bool {
        self.list_hosts || self.list_tags || self.list_roles
    }
}
