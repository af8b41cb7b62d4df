//! `muster copy`: a file to many machines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use futures::FutureExt;
use muster_app::{BundleUse, Ended, Flow, Job, Listener, Project, Ready, RunOptions, Selection};
use muster_engine::event::{Change, Event, Events};
use muster_engine::failure::Failure;
use muster_engine::play::Play;
use muster_engine::prelude::{Host, LocalFile, file, local_file};
use muster_engine::resource::File;
use muster_engine::run::Role;
use tokio_util::sync::CancellationToken;

use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::machines::{SILENCE, tell_missing};
use crate::output::sentence::Detail;
use crate::output::style::{Style, Tone};
use crate::output::{CommandLine, advice, exit_of, gist, plain, print, text};
use crate::runtime::runtime;

/// Copy a file to machines; it is sent only where it differs, and replaced as a whole
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct CopyArgs {
    /// Which hosts: a pattern such as node1,node3 or kube_node:!node2
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// The file on this computer
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// Its path on the machines; with / at the end, the folder it goes into
    #[arg(value_name = "DEST")]
    destination: String,
    /// Permission bits [default: those of SRC]
    #[arg(long, value_name = "OCTAL", value_parser = octal)]
    mode: Option<u32>,
    /// Owner, and group
    #[arg(long, value_name = "USER[:GROUP]", default_value = "root:root")]
    owner: String,
    /// Change nothing, show what would be changed
    #[arg(short = 'C', long)]
    check: bool,
    /// Show the differences of a text that is changed
    #[arg(short = 'D', long)]
    diff: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

fn octal(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| "permission bits are octal, as in 0644".to_owned())
}

/// Of a text up to this size in bytes the differences can be shown; a machine tells the contents of no bigger one.
const MOST_TEXT: u64 = 64 << 10;

/// What is wanted on each machine.
#[derive(Debug, Clone)]
enum Wanted {
    Text(File),
    Bytes(LocalFile),
}

async fn copy(host: &Host, wanted: Wanted) -> Result<(), Failure> {
    let step = host.step("copy");
    match wanted {
        Wanted::Text(file) => step.ensure(file).await?,
        Wanted::Bytes(file) => step.ensure(file).await?,
    };
    Ok(())
}

/// The file is on every machine.
fn flow(wanted: Wanted) -> Flow {
    let play =
        Play { name: "copy".into(), hosts: "all".into(), roles: vec!["copy".into()], ..Play::default() };
    Flow {
        roles: vec![Role::given("copy", move |host| copy(host, wanted.clone()).boxed())],
        bundle: BundleUse::None,
        remarks: false,
        ..Flow::new("muster copy", vec![play])
    }
}

/// Runs `muster copy`.
pub(crate) fn run(args: CopyArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let wanted = wanted(&args)?;
    let frontend = CommandLine::plain(environment);
    let job = Job {
        flow: flow(wanted),
        project: Project::find(&args.inventory.inventory, environment)?,
        variables: (&args.inventory).into(),
        connection: (&args.connection).into(),
        selection: Selection { limit: Some(args.pattern.clone()), ..Selection::default() },
        options: RunOptions::default(),
    };
    let ready = job.scope(environment, &*frontend)?.prepare(environment, &frontend)?;
    let (Ended { outcome, .. }, changes) = bring_about(ready, args.check, environment)?;
    let style = Style::of_stdout(environment);
    let answer = |host: &String| render(outcome[host].failure.as_ref(), changes.get(host), &args, style);
    for (hosts, answer) in groups(outcome.keys().map(|host| (host.as_str(), answer(host)))) {
        print::data(&format!("{} | {answer}", style.paint(Tone::Strong, &text::names(&hosts))))?;
    }
    Ok(exit_of(&outcome, false))
}

/// What the machines are to have.
///
/// # Errors
/// The file cannot be read, or the path on the machines is not absolute.
fn wanted(args: &CopyArgs) -> Result<Wanted, CommandError> {
    let source = &args.source;
    let failed = |error: std::io::Error| CommandError::failed(format!("{}: {error}", source.display()));
    let metadata = source.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(CommandError::usage(format!("{} is not a regular file", source.display())).hint(
            "one file at a time is copied; many go into an archive first, and muster exec unpacks it",
        ));
    }
    let path = destination(&args.destination, source)?;
    let mode = args.mode.unwrap_or_else(|| permissions(&metadata));
    let (owner, group) = args.owner.split_once(':').unwrap_or((&args.owner, "root"));
    if metadata.len() <= MOST_TEXT {
        let bytes = std::fs::read(source).map_err(failed)?;
        // Shells know no text with a zero byte in it.
        if let Ok(text) = String::from_utf8(bytes)
            && !text.contains('\0')
        {
            return Ok(Wanted::Text(file(path).content(text).mode(mode).owner(owner).group(group)));
        }
    }
    let file = local_file(path, source).map_err(failed)?;
    Ok(Wanted::Bytes(file.mode(mode).owner(owner).group(group)))
}

/// The permission bits of a file here, without those that let others act as its owner.
fn permissions(metadata: &std::fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o777
}

fn destination(typed: &str, source: &Path) -> Result<String, CommandError> {
    if !typed.starts_with('/') {
        return Err(CommandError::usage(format!("{typed} is not an absolute path")).hint("begin it with /"));
    }
    match source.file_name().and_then(|name| name.to_str()) {
        Some(name) if typed.ends_with('/') => Ok(format!("{typed}{name}")),
        _ => Ok(typed.to_owned()),
    }
}

/// Does it. Returns how it ended for each machine, and what was changed on it, or would be.
fn bring_about(
    mut ready: Ready,
    check: bool,
    environment: &Environment,
) -> Result<(Ended, BTreeMap<String, Vec<Change>>), CommandError> {
    let hosts = ready.outline.hosts.clone();
    let mut heard = Heard::new(environment);
    let (events, mut receiver) = Events::channel();
    let listener: Listener = Box::new(move |event| events.send(event.clone()));
    let ended = runtime()?.block_on(async {
        let cancel = CancellationToken::new();
        let mut execution = std::pin::pin!(ready.perform(check, &cancel, vec![listener]));
        let mut silence = tokio::time::interval(SILENCE);
        silence.tick().await;
        loop {
            tokio::select! {
                ended = &mut execution => break ended,
                Some(event) = receiver.recv() => heard.take(event),
                _ = silence.tick() => heard.tell_missing(&hosts),
            }
        }
    })?;
    while let Ok(event) = receiver.try_recv() {
        heard.take(event);
    }
    Ok((ended, heard.changes))
}

/// What was told of the machines so far.
struct Heard {
    changes: BTreeMap<String, Vec<Change>>,
    ended: Vec<String>,
    /// How many bytes each host has got, of how many.
    sent: BTreeMap<String, (u64, u64)>,
    style: Style,
}

impl Heard {
    fn new(environment: &Environment) -> Self {
        let style = Style::of_stderr(environment);
        Self { changes: BTreeMap::new(), ended: Vec::new(), sent: BTreeMap::new(), style }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::StepEnded { host, changes, .. } => self.changes.entry(host).or_default().extend(changes),
            Event::HostDone { host } | Event::HostFailed { host, .. } => self.ended.push(host),
            Event::Transfer { host, sent, total, .. } => {
                self.sent.insert(host, (sent, total));
            }
            Event::Retrying { .. } | Event::Warning { .. } => {
                plain::lines(&event, Detail::default(), self.style).iter().for_each(|line| print::note(line));
            }
            _ => {}
        }
    }

    fn tell_missing(&self, hosts: &[String]) {
        tell_missing(hosts, |host| self.ended.iter().any(|ended| ended == host));
        let (sent, total) = self.sent.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if total > 0 {
            print::note(&format!("{} of {} are there", text::size(sent), text::size(total)));
        }
    }
}

/// Hosts with the same answer, in the order of their first ones.
fn groups<'a>(answers: impl Iterator<Item = (&'a str, String)>) -> Vec<(Vec<&'a str>, String)> {
    let mut groups: Vec<(Vec<&str>, String)> = Vec::new();
    for (host, answer) in answers {
        match groups.iter_mut().find(|(_, known)| *known == answer) {
            Some((hosts, _)) => hosts.push(host),
            None => groups.push((vec![host], answer)),
        }
    }
    groups
}

fn render(failure: Option<&Failure>, changes: Option<&Vec<Change>>, args: &CopyArgs, style: Style) -> String {
    if let Some(failure) = failure {
        let word = if failure.is_unreachable() { "unreachable" } else { "failed" };
        let mut lines = vec![style.paint(Tone::Bad, word), format!("  {}", text::harmless(&gist(failure)))];
        let tail = failure.tail().unwrap_or_default();
        lines.extend(tail.lines().map(|line| format!("  {} {}", style.quoted(), text::quoted(line))));
        let hint = advice::hint(failure.remedy());
        lines.extend(hint.map(|hint| format!("  hint: {}", text::harmless(&hint))));
        return lines.join("\n") + "\n";
    }
    let changes = changes.map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        return format!("{}\n", style.paint(Tone::Good, "ok"));
    }
    let what: Vec<&str> = changes.iter().map(|change| change.what.as_str()).collect();
    let word = if args.check { "would change" } else { "changed" };
    let mut answer = format!("{}: {}\n", style.paint(Tone::Changed, word), text::harmless(&what.join(", ")));
    for diff in changes.iter().filter_map(|change| change.diff.as_deref()).filter(|_| args.diff) {
        answer.push_str(&text::harmless_lines(diff));
        answer.push('\n');
    }
    answer
}
