//! The reference of the command line in Markdown, made from what the program understands (`docs/cli.md`).

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

/// Options that stand in one table for all commands that have them, by the heading they have in `--help`.
const SHARED: [&str; 5] = ["Inventory and variables", "Connection", "Selection", "Execution", "Output"];

/// The whole text.
pub(crate) fn text(mut muster: Command, own_programs: &[&str]) -> String {
    muster.build();
    let own: Vec<String> = own_programs.iter().map(|name| format!("`{name}`")).collect();
    let own = match own.as_slice() {
        [program] => format!("{program} is a program of its own, too."),
        [others @ .., last] => {
            format!("{} and {last} are programs of their own, too.", others.join(", "))
        }
        [] => String::new(),
    };
    let mut text = format!(
        "# The command line\n\n<!-- Written by: muster docs cli >docs/cli.md -->\n\n{}. `{} --help` says the same. \
         {own}\n",
        about(&muster),
        muster.get_name(),
    );
    let mut shared: Vec<(&str, Vec<Arg>)> = SHARED.map(|heading| (heading, Vec::new())).into();
    commands(&muster, &mut text, &mut shared);
    text.push_str("\n## Options of several commands\n");
    for (heading, arguments) in &shared {
        write!(text, "\n### {heading}\n").ok();
        table(&mut text, arguments.iter());
    }
    if let Some(after) = muster.get_after_help() {
        let after = after.to_string();
        let (title, lines) = after.split_once(":\n").unwrap_or(("", &after));
        write!(text, "\n## {title}\n\n").ok();
        for line in lines.lines() {
            let (code, meaning) = line.trim().split_once(' ').unwrap_or((line, ""));
            writeln!(text, "- `{code}`: {}", escape(meaning.trim())).ok();
        }
    }
    text
}

/// The commands below one, each with those below it.
fn commands(parent: &Command, text: &mut String, shared: &mut [(&str, Vec<Arg>)]) {
    for command in parent.get_subcommands().filter(|c| c.get_name() != "help" && !c.is_hide_set()) {
        let mut command = command.clone();
        let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
        let usage = command.render_usage().to_string();
        write!(
            text,
            "\n## {name}\n\n{}\n\n```\n{}\n```\n",
            about(&command),
            usage.trim_start_matches("Usage: ")
        )
        .ok();
        // Those that a command has for its subcommands, too, are told there.
        let above = |arg: &Arg| parent.get_arguments().any(|other| other.get_id() == arg.get_id());
        let shown =
            || command.get_arguments().filter(|arg| !arg.is_hide_set() && !is_help(arg) && !above(arg));
        table(text, shown().filter(|arg| place(arg).is_none()));
        let mut headings: Vec<usize> = shown().filter_map(place).collect();
        headings.sort_unstable();
        headings.dedup();
        let mut linked: Vec<&str> = headings.iter().map(|at| shared[*at].0).collect();
        let parents = parent.get_bin_name().unwrap_or(parent.get_name());
        linked.extend(command.get_arguments().any(|arg| above(arg) && !is_help(arg)).then_some(parents));
        let links: Vec<String> = linked
            .iter()
            .map(|heading| format!("[{heading}](#{})", heading.to_lowercase().replace(' ', "-")))
            .collect();
        if !links.is_empty() {
            write!(text, "\nAnd the options of {}.\n", links.join(", ")).ok();
        }
        for arg in shown() {
            if let Some(at) = place(arg)
                && shared[at].1.iter().all(|other| other.get_id() != arg.get_id())
            {
                shared[at].1.push(arg.clone());
            }
        }
        commands(&command, text, shared);
    }
}

/// Which of the shared tables an option stands in.
fn place(arg: &Arg) -> Option<usize> {
    SHARED.iter().position(|heading| arg.get_help_heading() == Some(heading))
}

fn is_help(arg: &Arg) -> bool {
    matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

/// What a command does, at its longest.
fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    escape(&about.unwrap_or_default())
}

fn table<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let mut lines = String::new();
    for arg in arguments {
        let mut names: Vec<String> = Vec::new();
        names.extend(arg.get_short().map(|short| format!("-{short}")));
        names.extend(arg.get_long().map(|long| format!("--{long}")));
        names.extend(arg.get_visible_aliases().unwrap_or_default().iter().map(|alias| format!("--{alias}")));
        let value =
            if arg.get_action().takes_values() || arg.is_positional() { value(arg) } else { String::new() };
        let name = format!("{} {value}", names.join(", "));
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        writeln!(
            lines,
            "| `{}` | {}{} |",
            name.trim().replace('|', "\\|"),
            escape(&help).replace('\n', " "),
            extra(arg)
        )
        .ok();
    }
    if !lines.is_empty() {
        write!(text, "\n| | |\n|---|---|\n{lines}").ok();
    }
}

/// `<PATTERN>`, `[HOST]...`.
fn value(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let name = names.first().map_or(arg.get_id().as_str(), |name| name.as_str());
    let optional = arg.is_positional() && !arg.is_required_set();
    let name = if optional { format!("[{name}]") } else { format!("<{name}>") };
    let many = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
    if many { format!("{name}...") } else { name }
}

/// The values that are possible and the one that holds unless another is given, which `--help` adds by itself.
fn extra(arg: &Arg) -> String {
    let mut text = String::new();
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && !values.is_empty() && !arg.is_hide_possible_values_set() {
        let values: Vec<String> = values
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        write!(text, "; one of {}", values.join(", ")).ok();
    }
    let defaults = arg.get_default_values();
    if arg.get_action().takes_values() && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        let defaults: Vec<String> =
            defaults.iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
        write!(text, " [default: {}]", defaults.join(" ")).ok();
    }
    if let Some(variable) = arg.get_env() {
        write!(text, " [env: `{}`]", variable.to_string_lossy()).ok();
    }
    text
}

/// Text whose characters mean nothing to Markdown.
fn escape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    for c in raw.chars() {
        if matches!(c, '<' | '|' | '*' | '_' | '[' | '`') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}
