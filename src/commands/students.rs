//! `muster students`, and the program `students`: a namespace with a token for each student.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{ArgMatches, Args, FromArgMatches, ValueEnum};
use muster_app::{BundleUse, Flow, Job, Listener, Project, RunOptions, Selection};
use muster_engine::event::Event;
use muster_engine::play::Play;
use muster_engine::script::quote;
use muster_roles::{Class, Order, Person, Row, STUDENT_FILES, Told, written};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::args::{ConnectionArgs, Form, InventoryArgs, MannerArgs, OutputArgs};
use crate::class_list;
use crate::commands::words_of;
use crate::environment::Environment;
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::output::sentence::Detail;
use crate::output::style::Style;
use crate::output::{CommandLine, plain, print, text};
use crate::runtime::runtime;
use crate::typed_flow::TypedFlow;

/// How long a token is good for where nothing is said, in seconds: the 8h of `--for`.
const DEFAULT_TERM: u64 = 8 * 3600;

/// The options of `students`, in which -f is the list, as for kubectl, and not --forks.
#[derive(Debug)]
pub(crate) struct StudentsArgs(Typed);

/// Give each student a namespace of the cluster and a token for it, or take them away
///
/// The word create, get, describe, delete or list stands first or last: students create anna jan, students "anna jan"
/// create. Without one, students are listed. A space stands between two students; people whose names have one stand in a
/// list (-f). Names that a namespace cannot have are made into such (in a list, Łukasz Żak becomes lukasz-zak), and who
/// became what is shown.
///
/// create can be repeated: it changes only what differs, and renews tokens that are soon to end. Files for the students are
/// in artifacts/students beside the inventory: NAME.conf, a kubeconfig with the token, and NAME.txt, a page to hand out.
/// A namespace that is not a student's is never touched.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = examples())]
struct Typed {
    #[command(flatten)]
    parameters: Parameters,
    /// Change nothing, show what would be changed
    #[arg(short = 'C', long)]
    check: bool,
    /// Show the differences of objects that are changed
    #[arg(short = 'D', long)]
    diff: bool,
    /// Seconds to wait for machines that another run has locked
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    lock_timeout: u64,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    output: OutputArgs,
}

fn examples() -> String {
    format!(
        "Examples:\n  \
         students anna create                       a namespace, a token and a kubeconfig for anna\n  \
         students create -f class.csv --for 120d    for everybody on a list, with tokens for a term\n  \
         students create -f class.csv --prune       the same, and whoever is not on the list goes\n  \
         students                                   who is there, and until when the tokens are good\n  \
         students describe anna                     what she has used of what she may have\n  \
         students delete anna jan                   and all that is in their namespaces\n\n{EXIT_CODES}"
    )
}

/// Give each student a namespace of the cluster and a token for it, or take them away
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Parameters {
    /// create, get, describe, delete or list, and names of students; several names may stand in one word
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// A list of students as CSV: names in the first column, or in one with the heading name; columns login and groups are used, too
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long a new token is good for: 90m, 8h, 5d, 16w; one that is good for half of that is kept
    #[arg(long = "for", value_name = "TIME", default_value = "8h", value_parser = term)]
    term: Duration,
    /// What each student may do in the namespace [default: students_role, which is admin]
    #[arg(long, value_name = "ROLE")]
    role: Option<NamespaceRole>,
    /// With create: delete all students that are not named
    #[arg(long)]
    prune: bool,
}

/// The ClusterRoles that every cluster has for people in a namespace.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NamespaceRole {
    Admin,
    Edit,
    View,
}

impl NamespaceRole {
    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Edit => "edit",
            Self::View => "view",
        }
    }
}

/// What is done with students.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Get,
    Describe,
    Delete,
    List,
}

impl Verb {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "create" => Self::Create,
            "get" => Self::Get,
            "describe" => Self::Describe,
            "delete" => Self::Delete,
            "list" => Self::List,
            _ => return None,
        })
    }

    /// What was typed, as a verb and names. Of one who is there already the name may have spaces: whether a word is one name or
    /// several is known when the students are.
    fn and_names(words: &[String]) -> Result<(Self, Vec<String>), CommandError> {
        let whole: Vec<&str> = words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).collect();
        if let [first, .., last] = whole.as_slice()
            && let Some(verb) = Self::of(first).or_else(|| Self::of(last))
            && verb != Self::Create
        {
            let names = if Self::of(first).is_some() { &whole[1..] } else { &whole[..whole.len() - 1] };
            return Ok((verb, once(names)));
        }
        let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
        let (verb, names) = match words.as_slice() {
            [] => (Self::List, &[][..]),
            [first, names @ ..] if Self::of(first).is_some() => {
                (Self::of(first).unwrap_or(Self::List), names)
            }
            [names @ .., last] => {
                let verb = Self::of(last).ok_or_else(|| {
                    CommandError::usage(format!("what is to be done with {}?", words.join(", ")))
                        .hint("put create, get, describe, delete or list first or last")
                })?;
                (verb, names)
            }
        };
        Ok((verb, once(names)))
    }
}

/// Each name once.
fn once(names: &[&str]) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for name in names {
        if !once.iter().any(|known| known == name) {
            once.push((*name).to_owned());
        }
    }
    once
}

/// A time as it is typed: in the greatest unit of which it is a whole number.
pub(crate) fn term_in_words(term: Duration) -> String {
    let seconds = term.as_secs();
    let units = [(86_400, "d"), (3600, "h")];
    let whole = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or((60, "m"));
    format!("{}{name}", seconds / unit)
}

/// A time such as 8h, as the API takes it for a token: from ten minutes to 2^32 seconds (TokenRequestSpec).
pub(crate) fn term(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let unit: u64 = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err("write a number and a unit: m, h, d or w, as in 8h".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds {
        Some(seconds) if (600..1 << 32).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err("a token is good for 10 minutes at least, and 136 years at most".to_owned()),
        None => Err("write a number and a unit: m, h, d or w, as in 8h".to_owned()),
    }
}

impl Parameters {
    /// Everybody on a list is made.
    pub(crate) fn of_list(list: &Path) -> Self {
        let (words, file) = (vec!["create".to_owned()], Some(list.to_owned()));
        Self { words, file, term: Duration::from_secs(DEFAULT_TERM), role: None, prune: false }
    }

    /// The students are made, or deleted.
    pub(crate) fn flow(&self, _: &Project) -> Result<Flow, CommandError> {
        let (verb, names) = Verb::and_names(&self.words)?;
        match verb {
            Verb::Create | Verb::Delete => Ok(flow(self.typed(), self.order(verb, names)?, Told::default())),
            _ => Err(CommandError::usage("students are only looked at")
                .hint("plans are of students create and students delete")),
        }
    }

    /// The command as it is typed to mean the same, for whoever waits for it or repeats it.
    fn typed(&self) -> String {
        let mut words = vec![words_of("students")];
        words.extend(self.words.iter().map(|word| quote(word)));
        if let Some(file) = &self.file {
            words.extend(["--file".to_owned(), quote(&file.display().to_string())]);
        }
        if let Some(role) = self.role {
            words.extend(["--role".to_owned(), role.name().to_owned()]);
        }
        if self.term.as_secs() != DEFAULT_TERM {
            words.extend(["--for".to_owned(), term_in_words(self.term)]);
        }
        words.extend(self.prune.then(|| "--prune".to_owned()));
        words.join(" ")
    }

    /// What is to be done.
    ///
    /// # Errors
    /// The words do not go together, or the list cannot be read.
    fn order(&self, verb: Verb, names: Vec<String>) -> Result<Order, CommandError> {
        if self.prune && verb != Verb::Create {
            return Err(CommandError::usage("--prune belongs to students create"));
        }
        let mut people: Vec<Person> =
            self.file.as_deref().map(class_list::read).transpose()?.unwrap_or_default();
        // Whoever is typed and on the list is one person.
        for name in names {
            if people.iter().all(|person| person.name != name) {
                people.push(Person { name, ..Person::default() });
            }
        }
        if people.is_empty() && matches!(verb, Verb::Create | Verb::Delete) {
            return Err(CommandError::usage("which students?").hint("name them, or a list: -f class.csv"));
        }
        let words =
            || people.iter().map(|person| person.login.clone().unwrap_or_else(|| person.name.clone()));
        Ok(match verb {
            Verb::Create => Order::Create(Class {
                role: self.role.map(|role| role.name().to_owned()),
                term: self.term,
                prune: self.prune,
                people,
            }),
            Verb::Delete => Order::Delete(words().collect()),
            Verb::Get | Verb::Describe | Verb::List => Order::Look(words().collect()),
        })
    }
}

fn flow(command: String, order: Order, told: Told) -> Flow {
    let play = Play {
        name: "students".into(),
        hosts: "kube_control_plane".into(),
        roles: vec!["students".into()],
        ..Play::default()
    };
    Flow {
        roles: vec![muster_roles::students(order, told)],
        bundle: BundleUse::None,
        remarks: false,
        whole_cluster: true,
        ..Flow::new(command, vec![play])
    }
}

/// Runs `muster students`.
pub(crate) fn run(StudentsArgs(args): StudentsArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let (verb, names) = Verb::and_names(&args.parameters.words)?;
    let order = args.parameters.order(verb, names)?;
    let project = Project::find(&args.inventory.inventory, environment)?;
    let told = Told::default();
    let flow = flow(args.parameters.typed(), order, told.clone());
    if !matches!(verb, Verb::Create | Verb::Delete) {
        return look(verb, flow, &told, project, &args, environment);
    }
    let folder = project.shown(&project.inventory_dir.join("artifacts").join(STUDENT_FILES));
    let shows = verb == Verb::Create && args.output.output != Form::Jsonl;
    let (check, manner) = (
        args.check,
        MannerArgs {
            check: args.check,
            diff: args.diff,
            lock_timeout: args.lock_timeout,
            ..MannerArgs::default()
        },
    );
    let typed =
        TypedFlow { manner, ..TypedFlow::new(flow, project, args.inventory, args.connection, args.output) };
    let exit = typed.run(environment)?;
    let rows = told.take();
    if shows && !rows.is_empty() {
        print::data(&format!("\n{}", table(&rows)))?;
        if !check {
            print::note(&format!(
                "for each student in {folder}: NAME.conf, a kubeconfig, and NAME.txt, to hand out"
            ));
        }
    }
    Ok(exit)
}

/// Tells who is there.
fn look(
    verb: Verb,
    flow: Flow,
    told: &Told,
    project: Project,
    args: &Typed,
    environment: &Environment,
) -> Result<Exit, CommandError> {
    let frontend = CommandLine::plain(environment);
    let job = Job {
        flow,
        project,
        variables: (&args.inventory).into(),
        connection: (&args.connection).into(),
        selection: Selection::default(),
        options: RunOptions::default(),
    };
    let mut ready = job.scope(environment, &*frontend)?.prepare(environment, &frontend)?;
    let style = Style::of_stderr(environment);
    let listener: Listener = Box::new(move |event| {
        if matches!(event, Event::Retrying { .. } | Event::Warning { .. }) {
            plain::lines(event, Detail::default(), style).iter().for_each(|line| print::note(line));
        }
    });
    let ended = runtime()?
        .block_on(async { ready.perform(false, &CancellationToken::new(), vec![listener]).await })?;
    let rows = told.take();
    let shown = match verb {
        Verb::Describe => rows.iter().map(described).collect::<Vec<_>>().join("\n"),
        _ if rows.is_empty() => String::new(),
        _ => table(&rows),
    };
    print::data(&shown)?;
    // One control plane that can be asked is enough.
    let failure = ended.outcome.values().find_map(|host| host.failure.clone());
    let looked = ended.outcome.values().any(|host| host.failure.is_none());
    if let Some(failure) = failure.filter(|_| !looked) {
        return Err(failure.into());
    }
    if rows.is_empty() {
        print::note("there are no students");
    }
    Ok(Exit::Done)
}

/// Until when a token is good, for people.
fn until(row: &Row) -> String {
    match row.until {
        Some(until) if until <= SystemTime::now() => format!("ended {}", written(until)),
        Some(until) => written(until),
        None => "none here".to_owned(),
    }
}

/// A line for each student.
fn table(rows: &[Row]) -> String {
    let has_groups = rows.iter().any(|row| !row.groups.is_empty());
    let has_wrong = rows.iter().any(|row| row.wrong.is_some());
    let line = |row: &Row| {
        let role = if row.role.is_empty() { "none" } else { &row.role };
        let mut cells = vec![row.namespace.clone(), row.name.clone(), role.to_owned(), until(row)];
        cells.extend(has_groups.then(|| row.groups.clone()));
        cells.extend(has_wrong.then(|| row.wrong.clone().unwrap_or_else(|| "well".to_owned())));
        cells.iter().map(|cell| text::harmless(cell)).collect::<Vec<_>>()
    };
    let mut head = vec!["NAMESPACE", "STUDENT", "ROLE", "TOKEN UNTIL"];
    head.extend(has_groups.then_some("GROUPS"));
    head.extend(has_wrong.then_some("STATE"));
    let mut lines = vec![head.into_iter().map(str::to_owned).collect::<Vec<String>>()];
    lines.extend(rows.iter().map(line));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let shown = |line: &Vec<String>| {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| text::pad(cell, *width)).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(shown).collect()
}

/// All that is known of a student.
fn described(row: &Row) -> String {
    let mut lines = vec![("Namespace", row.namespace.clone()), ("Student", row.name.clone())];
    if !row.groups.is_empty() {
        lines.push(("Groups", row.groups.clone()));
    }
    lines.push(("Role", row.role.clone()));
    lines.push(("Token until", until(row)));
    lines.extend(row.wrong.clone().map(|wrong| ("State", wrong)));
    let mut shown: String = lines
        .iter()
        .map(|(what, is)| format!("{:<13}{}\n", format!("{what}:"), text::harmless(is)))
        .collect();
    shown.push_str("Used:\n");
    for [what, used, most] in &row.used {
        shown.push_str(&format!("  {what:<24}{used} of {most}\n"));
    }
    shown
}

impl FromArgMatches for StudentsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Typed::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for StudentsArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        Typed::augment_args(command)
            .mut_arg("forks", |forks| forks.short(None))
            .mut_arg("file", |file| file.short('f'))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> Result<(Verb, Vec<String>), String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Verb::and_names(&words).map_err(|error| error.message)
    }

    #[test]
    fn the_verb_stands_first_or_last() {
        let anna_and_jan = || vec!["anna".to_owned(), "jan".to_owned()];
        for words in [&["create", "anna", "jan"][..], &["anna jan", "create"], &["create", "anna jan anna"]] {
            assert_eq!(typed(words), Ok((Verb::Create, anna_and_jan())), "{words:?}");
        }
        assert_eq!(typed(&[]), Ok((Verb::List, Vec::new())));
        assert_eq!(typed(&["get", "create"]), Ok((Verb::Get, vec!["create".into()])));
        assert_eq!(typed(&["anna"]).unwrap_err(), "what is to be done with anna?");
        // A new name has no space; that of somebody who is there may have one.
        let jan_kowalski = || vec!["Jan Kowalski".to_owned()];
        assert_eq!(typed(&["delete", "Jan Kowalski"]), Ok((Verb::Delete, jan_kowalski())));
        assert_eq!(typed(&["Jan Kowalski", "describe"]), Ok((Verb::Describe, jan_kowalski())));
        assert_eq!(typed(&["anna jan delete"]), Ok((Verb::Delete, anna_and_jan())));
    }

    #[test]
    fn a_term_is_repeated_as_it_is_typed() {
        for text in ["120d", "8h", "90m", "10m", "36h"] {
            assert_eq!(term_in_words(term(text).unwrap()), text);
        }
        assert_eq!(term_in_words(term("16w").unwrap()), "112d");
    }

    #[test]
    fn a_term_has_a_unit_and_is_long_enough() {
        assert_eq!(term("8h"), Ok(Duration::from_secs(28_800)));
        assert_eq!(term("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["", "8", "h", "9m", "1y", "-8h", "99999999999999999w", "8h30m"] {
            assert!(term(wrong).is_err(), "{wrong:?}");
        }
    }
}
