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
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::usage(format!("there is no terminal to ask whether {what}"))
            .hint(format!("to {act} all the same: --yes")));
    }
    print::question(&format!("{question} [y/N]"));
    let mut typed = String::new();
    let read = std::io::stdin().lock().read_line(&mut typed);
    read.map_err(|error| CommandError::failed(format!("cannot read the answer: {error}")))?;
    let agrees = matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !agrees {
        print::note(print::REFUSED);
    }
    Ok(agrees)
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
