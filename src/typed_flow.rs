//! A flow with what was typed for it: done, planned or applied before the user's eyes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use muster_app::plan::Plan;
use muster_app::{
    BundleUse, Ended, Error, Flow, Frontend, Job, Listener, Outline, Project, Question, Ready, Recorder,
    Records, Scope, Usual, tags_of, typed,
};
use muster_engine::event::Events;
use muster_engine::failure::Failure;
use muster_engine::play::Play;
use muster_engine::run::Role;
use muster_engine::script::quote;
use muster_inventory::{Source, some_names};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::args::{ConnectionArgs, FlowArgs, Form, InventoryArgs, MannerArgs, OutputArgs, SelectionArgs};
use crate::confirmation::is_what_was_asked;
use crate::environment::{Environment, THROUGH, shown};
use crate::error::{CommandError, Exit};
use crate::inventory_file::NewInventory;
use crate::output::text::count;
use crate::output::{
    Again, Closing, CommandLine, Detail, Screen, View, advice, exit_of, plan_lines, print, show, sink,
};
use crate::runtime::runtime;
use crate::signals::heed_signals;

/// A flow with what was typed for it.
pub(crate) struct TypedFlow {
    pub(crate) flow: Flow,
    pub(crate) project: Project,
    pub(crate) inventory: InventoryArgs,
    pub(crate) connection: ConnectionArgs,
    pub(crate) selection: SelectionArgs,
    pub(crate) manner: MannerArgs,
    pub(crate) output: OutputArgs,
    /// Whether the user has said already that something may be lost.
    pub(crate) yes: bool,
    /// An inventory to write when everything has been checked.
    pub(crate) new_inventory: Option<NewInventory>,
}

/// A flow that is ready, and what shows it.
struct Stage {
    ready: Ready,
    screen: Screen,
    frontend: Arc<dyn Frontend>,
    /// How many warnings there were before the run.
    warned: usize,
    /// What earlier runs took.
    usual: Usual,
    /// Connections live in it, and may serve a second run.
    runtime: Runtime,
    /// The words behind which a command reaches the machines.
    through: Option<String>,
}

/// Where a command is typed and answered.
struct Terminal {
    screen: Screen,
    command_line: Arc<CommandLine>,
}

impl Terminal {
    fn frontend(&self) -> Arc<dyn Frontend> {
        self.command_line.clone()
    }
}

/// A flow is ready; or there is nothing more to do for it.
enum Prepared {
    Stage(Box<Stage>),
    Ended(Exit),
}

impl TypedFlow {
    /// A flow of all its hosts and roles.
    pub(crate) fn new(
        flow: Flow,
        project: Project,
        inventory: InventoryArgs,
        connection: ConnectionArgs,
        output: OutputArgs,
    ) -> Self {
        let (selection, manner) = Default::default();
        Self {
            flow,
            project,
            inventory,
            connection,
            selection,
            manner,
            output,
            yes: false,
            new_inventory: None,
        }
    }

    /// The same, as it was typed.
    pub(crate) fn typed(flow: Flow, project: Project, args: FlowArgs) -> Self {
        let FlowArgs { manner, inventory, connection, output } = args;
        Self { manner, ..Self::new(flow, project, inventory, connection, output) }
    }

    /// Does it.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted. Then nothing was changed anywhere; only the bundle may hold more.
    pub(crate) fn run(self, environment: &Environment) -> Result<Exit, CommandError> {
        let mut stage = match self.prepare(environment)? {
            Prepared::Stage(stage) => stage,
            Prepared::Ended(exit) => return Ok(exit),
        };
        let check = self.manner.check;
        if !check && !self.may_lose(&stage)? {
            return Ok(Exit::No);
        }
        self.write_inventory()?;
        self.announce(&stage, check);
        let recorder = self.record(&stage, check);
        let (ended, view) = self.perform(&mut stage, self.detail(check), recorder.as_ref())?;
        Ok(self.end(&stage, &ended, &view, self.detail(check), recorder.as_ref()))
    }

    /// Looks at the machines and tells what would be done; and saves it, when everybody could be looked at, or was off and
    /// can be done without.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted, or the plan cannot be written.
    pub(crate) fn plan(self, out: Option<&Path>, environment: &Environment) -> Result<Exit, CommandError> {
        let mut stage = match self.prepare(environment)? {
            Prepared::Stage(stage) => stage,
            Prepared::Ended(exit) => return Ok(exit),
        };
        self.announce(&stage, true);
        let recorder = self.record(&stage, true);
        let detail = Detail { quiet: true, ..self.detail(true) };
        let ((ended, plan), view) = self.look(&mut stage, detail, recorder.as_ref())?;
        let exit = exit_of(&ended.outcome, ended.interrupted);
        let form = self.output.output;
        {
            let closing = self.closing(&stage, &ended, &view, detail, recorder.is_some());
            closing.record(exit, recorder.as_ref());
            if exit != Exit::Done || form == Form::Jsonl {
                closing.tell(form, &stage.screen);
            }
        }
        if form != Form::Jsonl && ended.is_whole() {
            for line in plan_lines(&plan.hosts, self.manner.diff, stage.screen.style) {
                stage.screen.line(&line);
            }
        }
        match out {
            Some(path) if ended.is_whole() => {
                plan.write(path, environment)?;
                let options = self.project.words.iter().cloned().chain(self.options());
                let words: Vec<String> = [shown(path)].into_iter().chain(options).collect();
                let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
                print::note(&format!("saved: {}", shown(path)));
                print::next(&format!("muster apply {}", words.join(" ")));
            }
            Some(path) => print::note(&format!("not saved: {} would not be whole", shown(path))),
            None => {}
        }
        Ok(exit)
    }

    /// Does a plan, if it is what would be done now. Otherwise nothing is changed.
    ///
    /// # Errors
    /// What is wrong before any machine is contacted; or the plan does not fit any more, with what differs.
    pub(crate) fn apply(
        self,
        plan: &Plan,
        path: &Path,
        environment: &Environment,
    ) -> Result<Exit, CommandError> {
        let mut stage = match self.prepare(environment)? {
            Prepared::Stage(stage) => stage,
            Prepared::Ended(exit) => return Ok(exit),
        };
        stage.ready.fits(plan, &shown(path))?;
        self.announce(&stage, true);
        let recorder = self.record(&stage, false);
        let looking = Detail { quiet: true, ..self.detail(true) };
        let ((ended, now), view) = self.look(&mut stage, looking, None)?;
        if !ended.is_whole() {
            return Ok(self.end(&stage, &ended, &view, looking, recorder.as_ref()));
        }
        if let Err(misfit) = plan.compare(&now.hosts, &shown(path)) {
            let closing = self.closing(&stage, &ended, &view, looking, recorder.is_some());
            closing.record(Exit::Outdated, recorder.as_ref());
            return Err(misfit.into());
        }
        if !self.may_lose(&stage)? {
            self.closing(&stage, &ended, &view, looking, recorder.is_some())
                .record(Exit::No, recorder.as_ref());
            return Ok(Exit::No);
        }
        self.announce(&stage, false);
        let (ended, view) = self.perform(&mut stage, self.detail(false), recorder.as_ref())?;
        Ok(self.end(&stage, &ended, &view, self.detail(false), recorder.as_ref()))
    }

    /// Whether the user is asked if something may be lost.
    fn asks(&self) -> bool {
        self.flow.loses.is_some() && !self.yes && !self.manner.check
    }

    /// Whether the user agrees to what is lost for good.
    fn may_lose(&self, stage: &Stage) -> Result<bool, CommandError> {
        let Some(loss) = self.flow.loses.as_ref().filter(|_| !self.yes) else { return Ok(true) };
        let hosts = &stage.ready.outline.hosts;
        let inventory = &stage.ready.world.inventory;
        let carriers = [inventory.group("kube_control_plane"), inventory.group("etcd")].concat();
        let loses = loss.of(hosts.iter().any(|host| carriers.contains(&host.as_str())));
        let typed = agreement(hosts);
        let lost = format!(
            "{} on {} of {} ({}): lost for good are {loses}.",
            self.flow.command,
            count(hosts.len(), "host"),
            self.project.describe(),
            some_names(hosts)
        );
        let question = Question::Loss { lost: &lost, typed: &typed };
        let answer = stage.frontend.ask(question).map_err(|why| {
            CommandError::usage(format!("{lost} Whether that is meant cannot be asked: {why}"))
                .hint("if it is meant, add --yes; to see what would be removed: --check")
        })?;
        Ok(is_what_was_asked(answer.expose_secret(), &typed))
    }

    /// Reads and checks everything. It ends there when what would be run was only to be listed, or when machines have told that it
    /// may not be run, before something was fetched for it.
    fn prepare(&self, environment: &Environment) -> Result<Prepared, CommandError> {
        let (scope, terminal) = self.scope(environment)?;
        if self.selection.is_list() {
            list(&self.selection, &scope.plays, &scope.outline, &scope.roles)?;
            return Ok(Prepared::Ended(Exit::Done));
        }
        scope.check(&*terminal.frontend())?;
        if !self.flow.looks_first.is_empty()
            && (self.asks() || scope.fetches(environment)?)
            && let Some(exit) = self.is_refused(terminal.command_line.warned(), environment)?
        {
            return Ok(Prepared::Ended(exit));
        }
        if self.manner.check && scope.will_fetch(environment)? {
            print::note(
                "To see what would be changed, this computer needs what would be installed: what the bundle lacks is fetched now. \
                 Nothing is changed on machines.",
            );
        }
        Ok(Prepared::Stage(Box::new(self.stage(scope, terminal, environment)?)))
    }

    /// Reads everything.
    fn scope(&self, environment: &Environment) -> Result<(Scope, Terminal), CommandError> {
        let screen = Screen::new(environment, self.output.output == Form::Auto);
        let command_line = CommandLine::on(environment, &screen, self.output.output);
        let job = Job {
            flow: self.flow.clone(),
            project: self.project.clone(),
            variables: (&self.inventory).into(),
            connection: (&self.connection).into(),
            selection: (&self.selection).into(),
            options: (&self.manner).into(),
        };
        Ok((job.scope(environment, &*command_line)?, Terminal { screen, command_line }))
    }

    /// Fetches what is missing.
    fn stage(
        &self,
        scope: Scope,
        terminal: Terminal,
        environment: &Environment,
    ) -> Result<Stage, CommandError> {
        let frontend = terminal.frontend();
        let ready = scope.complete(environment, &frontend)?;
        let usual = Usual::of(&Records::of(&self.project));
        let through = environment.get(THROUGH).map(str::to_owned);
        let Terminal { screen, command_line } = terminal;
        Ok(Stage {
            ready,
            screen,
            frontend,
            warned: command_line.warned(),
            usual,
            runtime: runtime()?,
            through,
        })
    }

    /// Asks the machines whether the flow may be done, with nothing of the bundle. The exit code where it may not, which was told.
    /// `warned`: how many warnings there were before.
    fn is_refused(&self, warned: usize, environment: &Environment) -> Result<Option<Exit>, CommandError> {
        let flow = Flow {
            plays: self.flow.looks_first.clone().into(),
            looks_first: Vec::new(),
            bundle: BundleUse::None,
            remarks: false,
            loses: None,
            ..self.flow.clone()
        };
        let question = Self {
            manner: self.manner.clone(),
            selection: SelectionArgs { limit: self.selection.limit.clone(), ..SelectionArgs::default() },
            ..Self::new(
                flow,
                self.project.clone(),
                self.inventory.clone(),
                self.connection.clone(),
                self.output.clone(),
            )
        };
        // What was written has been checked, and what is odd about it was told.
        let (scope, terminal) = question.scope(environment)?;
        let mut stage = Stage { warned, ..question.stage(scope, terminal, environment)? };
        let detail = Detail { quiet: true, ..question.detail(true) };
        let (ended, view) = question.perform(&mut stage, detail, None)?;
        // Whoever asks only whether something is needed at all goes on where machines cannot tell.
        let exit = exit_of(&ended.outcome, ended.interrupted);
        let may_go_on = ended.is_whole()
            || self.flow.looks_first_for_another && exit != Exit::Problems && !ended.interrupted;
        Ok((!may_go_on).then(|| question.end(&stage, &ended, &view, detail, None)))
    }

    /// Sends the hosts through the plays.
    fn perform(
        &self,
        stage: &mut Stage,
        detail: Detail,
        recorder: Option<&Recorder>,
    ) -> Result<(Ended, View), CommandError> {
        self.watch(stage, detail, recorder, async |ready, cancel, listeners| {
            ready.perform(detail.check, cancel, listeners).await
        })
    }

    /// Looks at the hosts, and finds out what would be done.
    fn look(
        &self,
        stage: &mut Stage,
        detail: Detail,
        recorder: Option<&Recorder>,
    ) -> Result<((Ended, Plan), View), CommandError> {
        self.watch(stage, detail, recorder, async |ready, cancel, listeners| {
            ready.plan(cancel, listeners).await
        })
    }

    /// Does something with the machines, and beside it what shows and records it and what heeds Ctrl-C.
    fn watch<T>(
        &self,
        stage: &mut Stage,
        detail: Detail,
        recorder: Option<&Recorder>,
        action: impl AsyncFnOnce(&mut Ready, &CancellationToken, Vec<Listener>) -> Result<T, Error>,
    ) -> Result<(T, View), CommandError> {
        let Stage { ready, screen, usual, runtime, through, .. } = stage;
        let again = self.again(Again::Only(&ready.outline.hosts), &ready.outline, &BTreeSet::new());
        let through = through.as_ref().map(|words| format!("{words} ")).unwrap_or_default();
        let go_on = again.map(|command| format!("{through}{command}"));
        let (events, receiver) = Events::channel();
        let mut listeners: Vec<Listener> = vec![Box::new(move |event| events.send(event.clone()))];
        if let Some(recorder) = recorder.cloned() {
            listeners.push(Box::new(move |event| recorder.event(event)));
        }
        let view = View::new(&ready.outline, usual.clone(), std::time::Instant::now());
        let sink = sink(self.output.output, screen, detail);
        let cancel = CancellationToken::new();
        runtime.block_on(async {
            // It ends with the listener that sends it events.
            let display = tokio::spawn(show(receiver, view, sink));
            let signals = tokio::spawn(heed_signals(cancel.clone(), screen.clone(), go_on));
            let done = action(ready, &cancel, listeners).await;
            signals.abort();
            let view = display
                .await
                .map_err(|error| CommandError::failed(format!("the display failed: {error}")))?;
            Ok((done?, view))
        })
    }

    /// Tells how it ended, and records it. Returns the exit code.
    fn end(
        &self,
        stage: &Stage,
        ended: &Ended,
        view: &View,
        detail: Detail,
        recorder: Option<&Recorder>,
    ) -> Exit {
        let closing = self.closing(stage, ended, view, detail, recorder.is_some());
        closing.end(self.output.output, &stage.screen, recorder)
    }

    /// What is to be told at the end.
    fn closing<'c>(
        &'c self,
        stage: &'c Stage,
        ended: &'c Ended,
        view: &'c View,
        detail: Detail,
        recorded: bool,
    ) -> Closing<'c> {
        let problems = ended.outcome.values().filter_map(|host| match &host.failure {
            Some(Failure::Problems(problems)) => Some(problems),
            _ => None,
        });
        let refused = problems.flatten().map(|problem| problem.check.as_str()).collect();
        Closing {
            view,
            outcome: &ended.outcome,
            detail,
            interrupted: ended.interrupted,
            warned: stage.warned,
            half_done: self.flow.half_done.as_deref().filter(|_| !detail.check),
            next: self.flow.next.as_deref(),
            again: Box::new(move |hosts| self.again(hosts, &stage.ready.outline, &refused)),
            inventory: &self.project.words,
            has_inventory: !self.leaves_no_inventory(),
            log: recorded.then(|| self.project.command(&["muster", "log", "last"], 2)),
            through: stage.through.as_deref(),
        }
    }

    fn detail(&self, check: bool) -> Detail {
        Detail { verbose: self.output.verbose, diff: self.manner.diff, check, quiet: false }
    }

    /// Whether the inventory was made of the command line, and is written nowhere.
    fn leaves_no_inventory(&self) -> bool {
        let is_text = self.project.sources.iter().any(|source| matches!(source, Source::Text { .. }));
        is_text && (self.manner.check || self.new_inventory.is_none())
    }

    /// Begins the record of the run. One that only looks leaves none where there is no inventory. `check`: whether it only shows what
    /// it would do.
    fn record(&self, stage: &Stage, check: bool) -> Option<Recorder> {
        if self.leaves_no_inventory() {
            return None;
        }
        let command = typed(std::env::args_os(), &self.inventory.extra_vars);
        let plays: Vec<&str> = stage.ready.plays.iter().map(|play| play.name.as_str()).collect();
        let fields = json!({ "hosts": stage.ready.outline.hosts, "plays": plays, "check": check });
        Recorder::begin(&self.project, &command, fields, advice::words, &stage.frontend)
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
    fn announce(&self, stage: &Stage, check: bool) {
        if self.output.output == Form::Jsonl {
            return;
        }
        let hosts = count(stage.ready.outline.hosts.len(), "host");
        let manner = if check { ", looking only" } else { "" };
        let of = if self.leaves_no_inventory() {
            String::new()
        } else {
            format!(" of {}", self.project.describe())
        };
        stage.screen.line(&format!("{}: {hosts}{of}{manner}", self.flow.command));
    }
}

/// What is typed by whoever agrees that something is lost on these hosts: nobody does so without having seen which they are.
fn agreement(hosts: &[String]) -> String {
    match hosts {
        [host] => host.clone(),
        hosts => count(hosts.len(), "host"),
    }
}

/// `--list-hosts`, `--list-tags`, `--list-roles`, in the form of ansible-playbook.
fn list(
    selection: &SelectionArgs,
    plays: &[Play],
    outline: &Outline,
    roles: &[Role],
) -> Result<(), CommandError> {
    let mut text = String::new();
    for (number, (play, of)) in plays.iter().zip(&outline.plays).enumerate() {
        text.push_str(&format!("\n  play #{} ({}): {}", number + 1, play.hosts, play.name));
        if selection.list_tags {
            text.push_str(&format!("\tTAGS: [{}]", tags_of(std::slice::from_ref(play)).join(", ")));
        }
        text.push('\n');
        if selection.list_hosts {
            text.push_str(&format!("    hosts ({}):\n", of.hosts.len()));
            of.hosts.iter().for_each(|host| text.push_str(&format!("      {host}\n")));
        }
        if selection.list_roles {
            text.push_str("    roles:\n");
            for role in roles.iter().filter(|role| play.all_roles().any(|name| name == role.name)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_agrees_to_a_loss_types_which_hosts_it_is_on() {
        let typed = |hosts: &[&str]| agreement(&hosts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(typed(&["node3"]), "node3");
        assert_eq!(typed(&["node1", "node2", "node3"]), "3 hosts");
    }
}
