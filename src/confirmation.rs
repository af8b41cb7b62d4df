//! Asking before something is lost.

use std::io::{IsTerminal, Write};

use crate::error::CommandError;

/// What is to be confirmed.
pub(crate) struct Question {
    /// What is lost, as a sentence without its end.
    pub(crate) lost: String,
    /// The command that does not ask.
    pub(crate) again: String,
}

/// Whether the user says yes.
///
/// # Errors
/// Nobody can be asked: standard input is no terminal.
pub(crate) fn confirmed(question: &Question) -> Result<bool, CommandError> {
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::usage(format!("{}; nobody can be asked whether to go on", question.lost))
            .hint(format!("if that is meant: {}", question.again)));
    }
    let mut out = std::io::stderr().lock();
    write!(out, "{}.\nGo on? Type yes: ", question.lost).and_then(|()| out.flush()).ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| CommandError::failed(error.to_string()))?;
    Ok(answer.trim() == "yes")
}
