//! `muster docs`: the reference, for the terminal and for files.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Subcommand};
use muster_inventory::closest;
use muster_roles::kubespray;
use muster_roles::reference::{Section, Variable, sections};

use crate::commands::{Muster, own_programs, programs};
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::output::style::Tone;
use crate::output::{Screen, print, remarks, text};
use crate::reference;

/// Print the reference
#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    #[command(subcommand)]
    about: About,
}

#[derive(Debug, Subcommand)]
enum About {
    Vars(DocsVarsArgs),
    /// Write the man pages of all commands into a folder: man -l DIR/muster.1
    Man {
        /// The folder; it is made where it is not there
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Print the reference of the command line (docs/cli.md)
    Cli,
}

/// Print every variable with its default, its explanation and the roles it is for
#[derive(Debug, Args)]
struct DocsVarsArgs {
    /// Only variables whose name contains this text or matches this pattern (with *), those of kubespray included
    pattern: Option<String>,
    /// As Markdown, for a file
    #[arg(long)]
    markdown: bool,
    /// As JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
}

/// Runs `muster docs`.
pub(crate) fn run(args: DocsArgs, environment: &Environment) -> Result<Exit, CommandError> {
    match args.about {
        About::Vars(args) => vars(args, environment),
        About::Man { folder } => man(&folder),
        About::Cli => {
            let own = own_programs();
            let names: Vec<&str> = own.iter().map(|program| program.name).collect();
            print::data(&reference::text(Muster::command(), &names))?;
            Ok(Exit::Done)
        }
    }
}

fn man(folder: &Path) -> Result<Exit, CommandError> {
    std::fs::create_dir_all(folder)
        .and_then(|()| {
            programs().into_iter().try_for_each(|program| clap_mangen::generate_to(program, folder))
        })
        .map_err(|error| CommandError::failed(format!("{}: {error}", folder.display())))?;
    print::note(&format!("wrote man pages into {}", shown(folder)));
    Ok(Exit::Done)
}

fn vars(args: DocsVarsArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let sections = chosen(args.pattern.as_deref());
    if let Some(pattern) = args.pattern.as_deref().filter(|_| sections.is_empty()) {
        let Some(told) = kubespray::about(pattern) else { return Err(nothing_like(pattern)) };
        print::data(&format!("{pattern}: {}\n", remarks::what(&told)))?;
        return Ok(Exit::Done);
    }
    let told = match (args.markdown, args.json) {
        (true, _) => markdown(&sections),
        (_, true) => json(&sections),
        _ => for_terminal(&sections, &Screen::new(environment, false)),
    };
    print::data(&told)?;
    Ok(Exit::Done)
}

/// The variables a pattern chooses, with what they are explained together with.
fn chosen(pattern: Option<&str>) -> Vec<Section> {
    let mut sections = sections();
    let Some(pattern) = pattern else { return sections };
    for section in &mut sections {
        for paragraph in &mut section.paragraphs {
            paragraph.variables.retain(|variable| is_like(pattern, variable.name));
        }
        section.paragraphs.retain(|paragraph| !paragraph.variables.is_empty());
    }
    sections.retain(|section| !section.paragraphs.is_empty());
    sections
}

/// Whether a name holds a text; of a text with `*`, which stand for anything, whether it is all of the name.
fn is_like(pattern: &str, name: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return name.contains(pattern) };
    let Some(mut name) = name.strip_prefix(begin) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

fn nothing_like(pattern: &str) -> CommandError {
    let error = CommandError::usage(format!("no variable is like {pattern:?}"));
    let all = sections();
    let names = all.iter().flat_map(|section| &section.paragraphs).flat_map(|paragraph| &paragraph.variables);
    match closest(pattern, names.map(|variable| variable.name)) {
        Some(name) => error.hint(format!("did you mean {name:?}?")),
        None => error.hint("see all of them: muster docs vars"),
    }
}

/// Which roles read the variables of a section.
fn roles(section: &Section) -> String {
    match section.roles.as_slice() {
        [] => "several roles".to_owned(),
        [role] => format!("role {role}"),
        roles => format!("roles {}", roles.join(", ")),
    }
}

fn value(variable: &Variable) -> String {
    let not = if variable.has_default { "" } else { " (not set; an example)" };
    format!("{}: {}{not}", variable.name, variable.value)
}

fn for_terminal(sections: &[Section], screen: &Screen) -> String {
    let mut told = String::new();
    for section in sections {
        let heading = format!("{} ({})", section.summary, roles(section));
        told.push_str(&format!("{}\n\n", screen.style.paint(Tone::Strong, &heading)));
        for paragraph in &section.paragraphs {
            for variable in &paragraph.variables {
                told.push_str(&format!("  {}\n", screen.style.paint(Tone::Strong, &value(variable))));
            }
            for line in flowing(&paragraph.explanation) {
                for line in text::wrap(&line, screen.size().1.saturating_sub(6)) {
                    told.push_str(&format!("      {line}\n"));
                }
            }
            told.push('\n');
        }
    }
    told.trim_end().to_owned() + "\n"
}

/// Lines joined to paragraphs; those that are indented are examples and stay as they are.
fn flowing(lines: &[&str]) -> Vec<String> {
    let mut flowing: Vec<String> = Vec::new();
    let mut is_example = true;
    for line in lines {
        match flowing.last_mut() {
            Some(last) if !is_example && !line.starts_with(' ') => *last = format!("{last} {line}"),
            _ => flowing.push((*line).to_owned()),
        }
        is_example = line.starts_with(' ');
    }
    flowing
}

fn markdown(sections: &[Section]) -> String {
    let mut told = String::from("# Variables\n\nWritten by `muster docs vars --markdown`.\n");
    for section in sections {
        told.push_str(&format!("\n## {} ({})\n", section.summary, roles(section)));
        for paragraph in &section.paragraphs {
            told.push_str("\n```yaml\n");
            for variable in &paragraph.variables {
                let sign = if variable.has_default { "" } else { "#" };
                told.push_str(&format!("{sign}{}: {}\n", variable.name, variable.value));
            }
            told.push_str("```\n\n");
            for line in flowing(&paragraph.explanation) {
                // Four blanks more make an example a block of its own.
                told.push_str(&if line.starts_with(' ') {
                    format!("    {line}\n")
                } else {
                    format!("{line}\n\n")
                });
            }
        }
    }
    told.trim_end().to_owned() + "\n"
}

fn json(sections: &[Section]) -> String {
    let mut all = Vec::new();
    for section in sections {
        for paragraph in &section.paragraphs {
            all.extend(paragraph.variables.iter().map(|variable| {
                let key = if variable.has_default { "default" } else { "example" };
                serde_json::json!({
                    "name": variable.name,
                    key: variable.value,
                    "explanation": paragraph.explanation.join("\n"),
                    "roles": section.roles,
                })
            }));
        }
    }
    format!("{:#}\n", serde_json::Value::Array(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_part_of_a_name_or_with_stars_all_of_it() {
        for (pattern, name, like) in [
            ("proxy", "kube_proxy_mode", true),
            ("kube_proxy_mode", "kube_proxy_mode", true),
            ("kube_*", "kube_proxy_mode", true),
            ("*_mode", "kube_proxy_mode", true),
            ("kube*mode", "kube_proxy_mode", true),
            ("k*pro*mode", "kube_proxy_mode", true),
            ("proxy*", "kube_proxy_mode", false),
            ("k*dns*mode", "kube_proxy_mode", false),
            ("kube_proxy_mode*mode", "kube_proxy_mode", false),
            ("*", "ip", true),
        ] {
            assert_eq!(is_like(pattern, name), like, "{pattern} {name}");
        }
    }

    #[test]
    fn an_example_keeps_its_lines() {
        let lines = ["Mirrors, asked", "in order:", "  a: 1", "  b: 2", "And so on."];
        assert_eq!(flowing(&lines), ["Mirrors, asked in order:", "  a: 1", "  b: 2", "And so on."]);
    }
}
