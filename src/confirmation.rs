//! Asking before something is lost or broken.

use std::io::{BufRead, IsTerminal};

use crate::error::CommandError;
use crate::output::print;

/// Asks the user, who has to be at a terminal, and says so when the answer is a no. `what`: what is asked, as the end of "to ask
/// whether"; `act`: to do it.
///
/// # Errors
/// Nobody can be asked: standard input is no terminal.
pub(crate) fn confirmed(question: &str, what: &str, act: &str) -> Result<bool, CommandError> {
    require_terminal(what, act)?;
    print::question(&format!("{question} [y/N]"));
    let typed = answer()?;
    let agrees = matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !agrees {
        print::note(print::REFUSED);
    }
    Ok(agrees)
}

/// The same for what is lost for good: the user types this word, and so has seen what it is about.
///
/// # Errors
/// As [`confirmed`].
pub(crate) fn typed(question: &str, word: &str, what: &str, act: &str) -> Result<bool, CommandError> {
    require_terminal(what, act)?;
    print::question(question);
    print::note(&format!("To go on, type: {word}"));
    let agrees = answer()?.trim() == word;
    if !agrees {
        print::note(print::REFUSED);
    }
    Ok(agrees)
}

fn require_terminal(what: &str, act: &str) -> Result<(), CommandError> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    let error = CommandError::usage(format!("there is no terminal to ask whether {what}"));
    Err(error.hint(format!("to {act} all the same: --yes")))
}

fn answer() -> Result<String, CommandError> {
    let mut typed = String::new();
    let read = std::io::stdin().lock().read_line(&mut typed);
    read.map_err(|error| CommandError::failed(format!("cannot read the answer: {error}")))?;
    Ok(typed)
}

/// Whether an answer is what was to be typed. Names may be in another order, and with commas between them.
pub(crate) fn is_what_was_asked(answer: &str, typed: &str) -> bool {
    let sorted = |text: &str| {
        let mut words: Vec<String> = words(text).map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    sorted(answer) == sorted(typed)
}

/// The words of an answer.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',']).filter(|word| !word.is_empty())
}
