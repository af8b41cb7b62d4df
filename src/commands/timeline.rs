//! `muster timeline`: a run as a picture.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, stdin};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{CommandError, Exit};
use crate::output::print;
use crate::project::shown;
use crate::timeline::{Timeline, page};

/// Show a run as a picture: one page of HTML with every host over time, its roles, steps, waits and failures
///
/// It is made from the events of the run: setup-cluster --output jsonl >run.jsonl; muster timeline run.jsonl -o run.html
#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    /// File with the events of a run; - is standard input
    #[arg(value_name = "RUN.jsonl", default_value = "-")]
    run: PathBuf,
    /// Where to write the page [default: standard output]
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
}

/// Runs `muster timeline`.
pub(crate) fn run(args: TimelineArgs) -> Result<Exit, CommandError> {
    let output = args.output.as_deref();
    if args.run == Path::new("-") {
        if stdin().is_terminal() {
            return Err(CommandError::usage("there are no events on standard input")
                .hint("name a file: muster timeline run.jsonl -o run.html"));
        }
        return write(stdin().lock(), "standard input", output);
    }
    let name = args.run.display().to_string();
    let file = File::open(&args.run).map_err(|error| CommandError::failed(format!("{name}: {error}")))?;
    write(BufReader::new(file), &name, output)
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
