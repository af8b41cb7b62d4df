//! `muster timeline`: a run as a picture.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, stdin};
use std::path::{Path, PathBuf};

use clap::Args;
use muster_app::LAST;
use muster_engine::script::quote;

use crate::commands::runs;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::output::print;
use crate::timeline::{Timeline, page};

/// Show a run as a picture: one page of HTML with every host over time, its roles, steps, waits and failures
///
/// It is made from the record of the run, or from its events: setup-cluster --output jsonl >run.jsonl
#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    /// Which run: its id, as muster runs shows it, or last; or a file with the events of one; - is standard input
    #[arg(value_name = "RUN", default_value = LAST)]
    run: String,
    /// Where to write the page [default: standard output, where that is no terminal]
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Inventory [default: that of ANSIBLE_INVENTORY or ansible.cfg, else inventory/hosts.ini]
    #[arg(short, long, value_name = "INVENTORY")]
    inventory: Vec<String>,
}

/// Runs `muster timeline`.
pub(crate) fn run(args: TimelineArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let output = args.output.as_deref();
    if output.is_none() && std::io::stdout().is_terminal() {
        return Err(no_browser(&args.run));
    }
    if args.run == "-" {
        return write(stdin().lock(), "standard input", output);
    }
    // What looks like a file is meant as one, also where it is missing.
    if args.run.contains(['/', '.']) || Path::new(&args.run).exists() {
        return write_file(Path::new(&args.run), &args.run, output);
    }
    let (_, records) = runs::of_project(&args.inventory, environment)?;
    let id = records.find(&args.run)?;
    write_file(&records.path(&id), &id, output)
}

/// What is said where the page would be shown as text.
fn no_browser(run: &str) -> CommandError {
    CommandError::usage("the picture is a page of HTML, which a terminal cannot show")
        .hint(format!("write it into a file: muster timeline {} -o run.html", quote(run)))
}

fn write_file(path: &Path, name: &str, output: Option<&Path>) -> Result<Exit, CommandError> {
    let file = File::open(path).map_err(|error| CommandError::failed(format!("{name}: {error}")))?;
    write(BufReader::new(file), name, output)
}

/// Makes the page from the events of one run. `name` is what they come from, for messages and as the title.
///
/// # Errors
/// The events cannot be read, or the page cannot be written.
fn write(events: impl BufRead, name: &str, output: Option<&Path>) -> Result<Exit, CommandError> {
    let page = page(&Timeline::read(events, name)?, name);
    let Some(output) = output else {
        print::data(&page)?;
        return Ok(Exit::Done);
    };
    std::fs::write(output, page)
        .map_err(|error| CommandError::failed(format!("{}: {error}", output.display())))?;
    print::note(&format!("wrote {}", shown(output)));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_at_a_terminal_is_told_how_to_get_a_file() {
        assert_eq!(no_browser("last").hints, ["write it into a file: muster timeline last -o run.html"]);
    }
}
