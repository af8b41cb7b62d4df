//! `muster reconcile`: keeps a cluster well without a person.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use muster_app::Project;

use crate::args::{ConnectionArgs, Form, InventoryArgs, MannerArgs, OutputArgs};
use crate::clusters::{Consent, Fleet, Git, all_clusters, folder_of, overview};
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::output::print;
use crate::reconcile::{Keeper, Rules, Service, Store, provider, status};

/// Keep the cluster well: see what is wrong with its machines, and heal it, one thing at a time
///
/// A round asks each machine once. What does not run is started by a set-up of that machine; with --provider a machine that does not
/// answer is switched off and on; with --may-reimage it gets a new system at last. Nothing is done where many machines are ill, while
/// another run is at work, or where etcd would lose its majority. The exit code of one round is 1 unless everything was well. More:
/// docs/reconcile.md.
///
/// With names, --all or --from-git it keeps the clusters that are declared in clusters/, each with its own inventory.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
#[command(group = ArgGroup::new("instead").args(["status", "freeze", "thaw", "install", "uninstall"]))]
pub(crate) struct ReconcileArgs {
    /// Clusters that are declared: the names of their folders in clusters/ [default: the cluster of the inventory]
    #[arg(value_name = "NAME", conflicts_with_all = ["all", "inventory"])]
    names: Vec<String>,
    /// All clusters that are declared, also those that come later
    #[arg(long, conflicts_with = "inventory")]
    all: bool,
    /// How many clusters are looked at, or worked on, at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    at_once: u16,
    /// Apply declarations that have changed, or were never applied
    #[arg(long)]
    apply: bool,
    /// Machines may leave, and get new systems, where a declaration that is applied says so: what only they hold is lost
    #[arg(long, requires = "apply")]
    may_remove: bool,
    /// Take the declarations from a git repository, before each round
    #[arg(long, value_name = "URL[#BRANCH]", value_parser = Git::parse, conflicts_with = "inventory")]
    from_git: Option<Git>,
    /// Take only commits whose signature git knows
    #[arg(long, requires = "from_git")]
    verify_signatures: bool,
    /// Go on, with a round so often: 60s, 5m [default: one round]
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    every: Option<Duration>,
    /// Show what is known of each machine: what is wrong since when, what was tried, when something is tried next
    #[arg(long)]
    status: bool,
    /// Do nothing from now on but look, and say why
    #[arg(long, value_name = "REASON")]
    freeze: Option<String>,
    /// Heal again
    #[arg(long)]
    thaw: bool,
    /// Run it as a service of this computer, with the other options; --every 60s is the default then
    #[arg(long)]
    install: bool,
    /// Stop the service and remove it
    #[arg(long)]
    uninstall: bool,
    /// Who has power over the machines: a program (docs/reconcile.md), or lab:NAME for those of a lab
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Machines that nothing else heals may get a new system from the provider: what is on their disks is lost
    #[arg(long)]
    may_reimage: bool,
    /// Do nothing if more machines than this are ill
    #[arg(long, value_name = "PERCENT", default_value = "40%", value_parser = parse_percent)]
    unhealthy_limit: usize,
    /// How long something has to be wrong before it is healed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    after: Duration,
    /// How long a machine that is on may take to answer before it is switched off and on
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    boot_time: Duration,
    /// How often something is tried on a machine, until it is left to a person
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..))]
    tries: u8,
    /// Pause after the first try on a machine; it doubles with each further one, up to half an hour
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pause: Duration,
    /// How often the whole cluster is compared with its inventory, as by setup-cluster --check; 0 is never
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    drift_every: Duration,
    /// Serve metrics for Prometheus at this address
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<String>,
    /// How decisions and the status are shown
    #[arg(long, value_name = "FORM", default_value = "auto")]
    output: Shown,
    /// Folder with the binaries and images [default: bundle in the cache folder]
    #[arg(long, value_name = "DIR", env = "MUSTER_BUNDLE", hide_env_values = true)]
    bundle: Option<PathBuf>,
    /// Do not fetch what the bundle lacks
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// For people
    Auto,
    /// As JSON; decisions are one line each, and so is what happens in a run
    Json,
}

/// Runs `muster reconcile`.
pub(crate) fn run(args: ReconcileArgs, environment: &Environment) -> Result<Exit, CommandError> {
    if args.all || args.from_git.is_some() || !args.names.is_empty() {
        return declared(&args, environment);
    }
    if args.apply {
        let error = CommandError::usage("there is no declaration to apply for an inventory");
        return Err(error.hint("name declared clusters, or all of them: --all"));
    }
    if args.may_reimage && args.provider.is_none() {
        let error = CommandError::usage("nobody is there who could give a machine a new system");
        return Err(error.hint("name who has power over the machines: --provider"));
    }
    let project = Project::find(&args.inventory.inventory, environment)?;
    if args.status {
        return status(&project, args.output == Shown::Json, environment);
    }
    if let Some(reason) = &args.freeze {
        Store::of(&project).freeze(reason)?;
        print::note(&format!("frozen; to go on: {}", project.command(&["muster", "reconcile", "--thaw"], 2)));
        return Ok(Exit::Done);
    }
    if args.thaw {
        print::note(&thawed(Store::of(&project).thaw()?));
        return Ok(Exit::Done);
    }
    if args.uninstall {
        return uninstall(&Service::of(&project.inventory_dir, "")?);
    }
    check(&args)?;
    let provider = args.provider.as_deref().map(|name| provider(name, environment)).transpose()?;
    if args.install {
        Service::of(&project.inventory_dir, "")?.install(&service_words(&args)?, environment)?;
        return Ok(Exit::Done);
    }
    let keeper = Keeper {
        rules: Rules { has_provider: provider.is_some(), ..rules(&args) },
        project,
        drift_every: args.drift_every,
        provider,
        inventory: &args.inventory,
        connection: &args.connection,
        manner: manner(&args),
        output: output(&args),
        as_json: args.output == Shown::Json,
        declared: None,
        environment,
    };
    keeper.keep(args.every, args.metrics.as_deref())
}

/// The same for clusters that are declared.
fn declared(args: &ReconcileArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let named = || match args.names.is_empty() {
        true => all_clusters(environment),
        false => Ok(args.names.clone()),
    };
    if args.status {
        return overview(&named()?, args.output == Shown::Json, environment);
    }
    let here = environment.here()?;
    if args.uninstall {
        return uninstall(&Service::of(here, "clusters")?);
    }
    if args.freeze.is_some() || args.thaw {
        // All names are known to be right before the first one is frozen.
        let store = |name: String| -> Result<(String, Store), CommandError> {
            let (folder, _) = folder_of(&name, environment)?;
            Ok((name, Store::of(&Project::find(&[folder.inventory_file()], environment)?)))
        };
        let stores: Vec<(String, Store)> = named()?.into_iter().map(store).collect::<Result<_, _>>()?;
        for (name, store) in &stores {
            let words = match &args.freeze {
                Some(reason) => {
                    store.freeze(reason)?;
                    format!("frozen; to go on: muster reconcile {name} --thaw")
                }
                None => thawed(store.thaw()?),
            };
            print::note(&format!("{name}: {words}"));
        }
        return Ok(Exit::Done);
    }
    check(args)?;
    if args.install {
        Service::of(here, "clusters")?.install(&service_words(args)?, environment)?;
        return Ok(Exit::Done);
    }
    let fleet = Fleet {
        rules: rules(args),
        at_once: args.at_once.into(),
        drift_every: args.drift_every,
        provider: args.provider.clone(),
        inventory: &args.inventory,
        connection: &args.connection,
        manner: manner(args),
        output: output(args),
        as_json: args.output == Shown::Json,
        consent: if args.may_remove { Consent::Given } else { Consent::Withheld },
        git: args.from_git.clone().map(|git| git.verified(args.verify_signatures)),
        names: args.names.clone(),
        environment,
    };
    fleet.keep(args.every, args.metrics.as_deref())
}

fn uninstall(service: &Service) -> Result<Exit, CommandError> {
    if !service.uninstall()? {
        print::note("there is no such service");
    }
    Ok(Exit::Done)
}

/// `reason`: why it was frozen, where it was.
fn thawed(reason: Option<String>) -> String {
    match reason {
        Some(reason) => format!("no longer frozen: {reason}"),
        None => "it was not frozen".to_owned(),
    }
}

/// Refuses what makes no sense together.
fn check(args: &ReconcileArgs) -> Result<(), CommandError> {
    let asks = args.connection.ask_pass || args.connection.ask_become_pass || args.inventory.ask_vault_pass;
    if asks && (args.install || args.every.is_some()) {
        let error = CommandError::usage("nobody is there to be asked for passwords in each round");
        return Err(
            error.hint("use keys, --vault-password-file, or variables of the inventory that are encrypted")
        );
    }
    if args.metrics.is_some() && args.every.is_none() && !args.install {
        let error = CommandError::usage("metrics are served between rounds, and there is only one");
        return Err(error.hint("say how often there is a round: --every 60s"));
    }
    Ok(())
}

fn rules(args: &ReconcileArgs) -> Rules {
    Rules {
        unhealthy_limit: args.unhealthy_limit,
        after: args.after.as_secs(),
        boot_time: args.boot_time.as_secs(),
        tries: args.tries.into(),
        pause: args.pause.as_secs(),
        has_provider: false,
        may_reimage: args.may_reimage,
        may_apply: args.apply,
    }
}

fn manner(args: &ReconcileArgs) -> MannerArgs {
    MannerArgs { bundle: args.bundle.clone(), offline: args.offline, ..MannerArgs::default() }
}

fn output(args: &ReconcileArgs) -> OutputArgs {
    let output = if args.output == Shown::Json { Form::Jsonl } else { Form::Plain };
    OutputArgs { output, ..OutputArgs::default() }
}

/// What the service runs: what was typed, without what asks for the service.
fn service_words(args: &ReconcileArgs) -> Result<Vec<String>, CommandError> {
    let program = std::env::current_exe()
        .map_err(|error| CommandError::failed(format!("cannot tell where muster is: {error}")))?;
    let typed = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let typed = typed.filter(|word| word != "--install");
    let mut words: Vec<String> = [program.display().to_string()].into_iter().chain(typed).collect();
    if args.every.is_none() {
        words.extend(["--every", "60s"].map(str::to_owned));
    }
    Ok(words)
}

/// `90`, `90s`, `5m`, `1h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => (text, 1),
    };
    let seconds =
        number.parse::<u32>().map_err(|_| "write a number of seconds, or such as 90s, 5m, 1h".to_owned())?;
    Ok(Duration::from_secs(u64::from(seconds) * factor))
}

/// How often there is a round: not without any pause.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text)?;
    if every.is_zero() { Err("at least 1s is needed".to_owned()) } else { Ok(every) }
}

/// `40`, `40%`.
fn parse_percent(text: &str) -> Result<usize, String> {
    let percent = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| "write a number from 0 to 100, such as 40%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_shares_are_read() {
        let seconds = |text: &str| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(["90", "90s", "5m", "1h", "0"].map(seconds), [Ok(90), Ok(90), Ok(300), Ok(3600), Ok(0)]);
        for wrong in ["", "s", "-1s", "1d", "1.5m", "5 m", "9ü"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert!(parse_interval("0").is_err() && parse_interval("1s").is_ok());
        assert_eq!([parse_percent("40%"), parse_percent("100")], [Ok(40), Ok(100)]);
        assert!(parse_percent("101").is_err() && parse_percent("%").is_err());
    }
}
