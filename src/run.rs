//! Running a playbook: everything is read and checked first; only then machines are contacted.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_engine::event::{Event, Events};
use muster_engine::failure::Failure;
use muster_engine::play::Play;
use muster_engine::run::{Outcome, Run};
use muster_engine::script::quote;
use muster_engine::transport::Transport;
use muster_roles::kubespray::Verdict;
use muster_roles::{ROLES, preflight};
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
    Closing, Detail, Downloads, Outline, OutlinePlay, Screen, View, exit_of, print, problems, show,
};
use crate::playbook::Playbook;
use crate::project::{Project, shown};
use crate::selection;
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

impl Job<'_> {
    /// Does it.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted. Then nothing was changed anywhere; only the bundle may hold more.
    pub(crate) fn run(self, environment: &Environment) -> Result<Exit, CommandError> {
        let mut inventory = self.inventory.clone();
        inventory.extra_vars.splice(0..0, self.implied_vars.iter().map(|text| (*text).to_owned()));
        let world = World::load(self.project.clone(), &inventory, environment)?;
        let all = self.playbook.load(&world.project.root)?;
        let plays = selection::select(&all, &self.selection.tags, &self.selection.skip_tags)?;
        let hosts = world.select(self.selection.limit.as_deref())?;
        let outline = outline(&world, &plays, &hosts)?;
        if self.selection.is_list() {
            return list(self.selection, &plays, &outline);
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
        self.write_inventory()?;
        self.announce(&outline, &screen);

        // Preflight only looks.
        let changes = plays.iter().flat_map(|play| &play.roles).any(|role| role != PREFLIGHT);
        let cancel = CancellationToken::new();
        let connect = |name: &str| -> Result<Arc<dyn Transport>, Failure> {
            let machine = connections.get(name).map(|ssh| Arc::clone(ssh) as Arc<dyn Transport>);
            machine.ok_or_else(|| Failure::new(format!("{name} is not in the inventory"), ""))
        };
        let run = Run {
            inventory: Arc::clone(&world.inventory),
            vars: Arc::clone(&world.vars),
            plays: &plays,
            roles: ROLES,
            hosts: &outline.hosts,
            connect: &connect,
            bundle,
            project: world.project.inventory_dir.clone(),
            check: self.manner.check,
            lock: changes.then(|| lock::request(&self.command, self.manner.lock_timeout, environment)),
            forks: self.connection.forks(environment)?,
            cancel: cancel.clone(),
            events,
        };
        let (outcome, view) = self.perform(&run, receiver, &outline, &screen, &connections)?;
        let interrupted = cancel.is_cancelled() && outcome.values().any(|host| host.failure.is_some());
        let closing = Closing {
            view: &view,
            outcome: &outcome,
            detail: self.detail(),
            interrupted,
            next: self.next.as_deref(),
            retry: &|hosts| self.again(hosts, &outline.hosts),
        };
        closing.tell(self.output.output, &screen);
        Ok(exit_of(&outcome, interrupted))
    }

    /// Runs the plays, and beside them what shows them and what heeds Ctrl-C.
    fn perform(
        &self,
        run: &Run<'_>,
        receiver: UnboundedReceiver<Event>,
        outline: &Outline,
        screen: &Screen,
        connections: &Connections,
    ) -> Result<(Outcome, View), CommandError> {
        runtime()?.block_on(async {
            let over = CancellationToken::new();
            let (form, detail) = (self.output.output, self.detail());
            let shown = show(receiver, outline.clone(), form, screen.clone(), detail, over.clone());
            let display = tokio::spawn(shown);
            let signals = tokio::spawn(heed_signals(run.cancel.clone(), screen.clone()));
            let outcome = run.execute().await;
            signals.abort();
            for text in connections.take_warnings() {
                run.events.send(Event::Warning { host: None, text });
            }
            over.cancel();
            let view = display.await;
            let view = view.map_err(|error| CommandError::failed(format!("the display failed: {error}")))?;
            Ok((outcome?, view))
        })
    }

    fn detail(&self) -> Detail {
        Detail { verbose: self.output.verbose, diff: self.manner.diff, check: self.manner.check }
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
    fn announce(&self, outline: &Outline, screen: &Screen) {
        if self.output.output == Form::Jsonl {
            return;
        }
        let hosts = count(outline.hosts.len(), "host");
        let manner = if self.manner.check { ", looking only" } else { "" };
        screen.line(&format!("{}: {hosts} of {}{manner}", self.command, self.project.describe()));
    }

    /// The command for some hosts only, with the options that matter to it.
    fn again(&self, hosts: &[String], of: &[String]) -> String {
        let mut words = vec![];
        words.extend(self.project.words.iter().cloned());
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        for value in &self.inventory.extra_vars {
            option("-e", without_secret(value));
        }
        for path in &self.inventory.vault_password_file {
            option("--vault-password-file", path.display().to_string());
        }
        for id in &self.inventory.vault_id {
            option("--vault-id", id.clone());
        }
        // What the inventory was written with is in the inventory now.
        let written = self.new_inventory.is_some();
        if let Some(user) = self.connection.user.as_ref().filter(|_| !written) {
            option("-u", user.clone());
        }
        if let Some(key) = self.connection.private_key.as_ref().filter(|_| !written) {
            option("--private-key", key.display().to_string());
        }
        for (name, tags) in [("--tags", &self.selection.tags), ("--skip-tags", &self.selection.skip_tags)] {
            if !tags.is_empty() {
                option(name, tags.join(","));
            }
        }
        if let Some(dir) = &self.manner.bundle {
            option("--bundle", dir.display().to_string());
        }
        if self.playbook == Playbook::Verify {
            // It is the cluster that works or not.
        } else if hosts.len() < of.len() {
            option("--limit", hosts.join(","));
        } else if let Some(limit) = &self.selection.limit {
            option("--limit", limit.clone());
        }
        for (wanted, flag) in [
            (self.connection.ask_pass, "-k"),
            (self.connection.ask_become_pass, "-K"),
            (self.inventory.ask_vault_pass, "-J"),
            (self.manner.check, "--check"),
            (self.manner.offline, "--offline"),
        ] {
            if wanted {
                words.push(flag.to_owned());
            }
        }
        let mut command = self.command.clone();
        for word in &words {
            command.push(' ');
            command.push_str(&quote(word));
        }
        command
    }
}

/// A value of `-e` as it may be shown: without what looks like a secret.
fn without_secret(argument: &str) -> String {
    let lower = argument.to_ascii_lowercase();
    if argument.starts_with('@') || !["pass", "secret", "token"].iter().any(|word| lower.contains(word)) {
        return argument.to_owned();
    }
    match argument.split_once('=') {
        Some((name, _)) if !argument.contains(['{', ' ']) => format!("{name}=..."),
        _ => "...".to_owned(),
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
        outline.plays.push(OutlinePlay { name: play.name.clone(), hosts: chosen, roles: play.roles.clone() });
    }
    outline.hosts = hosts.iter().filter(|host| in_run.contains(*host)).cloned().collect();
    if outline.hosts.is_empty() {
        return Err(CommandError::usage("none of the hosts has a part in any of the plays")
            .hint("see who would: --list-hosts; a cluster's inventory has the groups kube_control_plane, etcd and kube_node"));
    }
    Ok(outline)
}

/// `--list-hosts`, `--list-tags`, `--list-roles`, in the form of ansible-playbook.
fn list(selection: &SelectionArgs, plays: &[Play], outline: &Outline) -> Result<Exit, CommandError> {
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
            for role in ROLES.iter().filter(|role| play.roles.iter().any(|name| name == role.name)) {
                text.push_str(&format!("      {:<14} {}\n", role.name, role.summary));
            }
        }
    }
    print::data(text.trim_start_matches('\n'))?;
    Ok(Exit::Done)
}

impl SelectionArgs {
    fn is_list(&self) -> bool {
        self.list_hosts || self.list_tags || self.list_roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_command_line_are_not_repeated() {
        let cases = [
            ("kube_version=1.36.3", "kube_version=1.36.3"),
            ("@passwords.yml", "@passwords.yml"),
            ("ansible_become_password=hunter2", "ansible_become_password=..."),
            ("{\"ansible_password\": \"a=b\"}", "..."),
            ("a=1 ansible_ssh_pass=hunter2", "..."),
        ];
        assert_eq!(cases.map(|(typed, _)| without_secret(typed)), cases.map(|(_, shown)| shown.to_owned()));
    }
}
