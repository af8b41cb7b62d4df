//! Printing for commands that answer at once: data and answers go to standard output, what is wrong to standard error.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::environment::Environment;
use crate::error::CommandError;
use crate::output::advice;
use crate::output::style::{Style, Tone};
use crate::output::text;

/// What is said to whoever was asked and did not agree.
pub(crate) const REFUSED: &str = "nothing was changed";

/// Prints data to standard output. Whoever reads it may have seen enough (`muster vars node1 | head`): then the rest is
/// not wanted, and that is no error.
///
/// # Errors
/// It could not be written.
pub(crate) fn data(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => {
            written.map_err(|error| CommandError::failed(format!("cannot write to standard output: {error}")))
        }
    }
}

/// A line about what is going on, on standard error. When nobody can read it, that must not stop the work.
pub(crate) fn note(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}

/// A question on standard error. No word of it is broken where a terminal is narrower than it.
pub(crate) fn question(text: &str) {
    let Some((_, columns)) = console::Term::stderr().size_checked() else { return note(text) };
    text::wrap(text, usize::from(columns).max(40)).iter().for_each(|line| note(line));
}

/// What to type next on standard error: a command that reaches the machines.
pub(crate) fn next(command: &str) {
    note(&format!("next: {}{command}", advice::through()));
}

/// A warning, on standard error.
pub(crate) fn warning(text: &str, environment: &Environment) {
    styled_warning(text, Style::of_stderr(environment));
}

/// A warning in a style that is known already.
pub(crate) fn styled_warning(text: &str, style: Style) {
    note(&format!("{} {}", style.paint(Tone::Warning, "warning:"), advice::proposed(text)));
}

/// What clap answers: help and versions are data, the rest is an error in what was typed, for which there may be a hint.
pub(crate) fn clap_answer(answer: &clap::Error, hint: Option<String>) -> ExitCode {
    // Where it cannot be printed there is nobody to tell.
    answer.print().ok();
    hint.iter().for_each(|hint| note(&format!("hint: {hint}")));
    if answer.use_stderr() { CommandError::usage("").exit_code() } else { ExitCode::SUCCESS }
}
