//! The user's side of the application: what it tells is shown, what it asks is asked on the terminal.

use std::io::{BufRead, IsTerminal};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use muster_app::{Frontend, News, Question};
use secrecy::SecretString;

use crate::args::Form;
use crate::confirmation::{is_what_was_asked, words};
use crate::environment::Environment;
use crate::output::downloads::Downloads;
use crate::output::screen::Screen;
use crate::output::style::Style;
use crate::output::{print, remarks, text};

/// A user at a terminal.
pub(crate) struct CommandLine {
    screen: Screen,
    /// Of standard error, where warnings go.
    style: Style,
    downloads: Mutex<Downloads>,
    warned: AtomicUsize,
}

impl CommandLine {
    /// The side of whoever sees this screen, and output in this form.
    pub(crate) fn on(environment: &Environment, screen: &Screen, form: Form) -> Arc<Self> {
        Arc::new(Self {
            screen: screen.clone(),
            style: Style::of_stderr(environment),
            downloads: Mutex::new(Downloads::new(screen.clone(), form)),
            warned: AtomicUsize::new(0),
        })
    }

    /// The side of whoever sees nothing live, for commands that answer at once.
    pub(crate) fn plain(environment: &Environment) -> Arc<dyn Frontend> {
        Self::on(environment, &Screen::new(environment, false), Form::Auto)
    }

    /// How many warnings there were. Remarks about variables are none.
    pub(crate) fn warned(&self) -> usize {
        self.warned.load(Ordering::Relaxed)
    }

    fn downloads(&self, show: impl FnOnce(&mut Downloads)) {
        show(&mut self.downloads.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn warn(&self, text: &str) {
        self.screen.suspend(|| print::styled_warning(text, self.style));
    }
}

impl Frontend for CommandLine {
    fn tell(&self, news: News<'_>) {
        match news {
            News::Warning(text) => {
                self.warned.fetch_add(1, Ordering::Relaxed);
                self.warn(text);
            }
            News::Remarks(project, found) => {
                let (lines, shortened) = remarks::lines(found);
                lines.iter().for_each(|line| self.warn(line));
                if shortened {
                    let command = project.command(&["muster", "vars", "--unused"], 2);
                    print::note(&format!("all of these variables, each with its place: {command}"));
                }
            }
            News::Doing(what) => self.downloads(|downloads| downloads.begin(what)),
            News::Download(progress) => self.downloads(|downloads| downloads.show(progress)),
            News::DownloadsEnded => self.downloads(Downloads::end),
        }
    }

    fn ask(&self, question: Question<'_>) -> Result<SecretString, String> {
        let prompt = match question {
            Question::Loss { lost, typed } => return self.screen.suspend(|| ask_openly(lost, typed)),
            Question::LoginPassword => "SSH password: ".to_owned(),
            Question::BecomePassword => "Password of sudo [that of SSH]: ".to_owned(),
            Question::VaultPassword(None) => "Vault password: ".to_owned(),
            Question::VaultPassword(Some(label)) => format!("Vault password ({label}): "),
            Question::Passphrase(key) => format!("Passphrase of {}: ", key.display()),
        };
        let typed = self.screen.suspend(|| rpassword::prompt_password(prompt));
        typed.map(SecretString::from).map_err(|error| error.to_string())
    }
}

/// Asks for something that may be seen while it is typed. Another answer is a no, which is told.
fn ask_openly(lost: &str, typed: &str) -> Result<SecretString, String> {
    if !std::io::stdin().is_terminal() {
        return Err("there is no terminal to ask at".to_owned());
    }
    print::question(lost);
    print::note(&format!("To go on, type: {typed}"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| error.to_string())?;
    let answer = answer.trim();
    if !is_what_was_asked(answer, typed) {
        print::note(&refusal(answer, typed));
    }
    Ok(SecretString::from(answer.to_owned()))
}

/// What is said of an answer that is not what was to be typed: which names are missing, and which are others. A plain no needs no words.
fn refusal(answer: &str, typed: &str) -> String {
    let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse::<usize>().ok());
    let is_a_number = [" host", " hosts"].iter().any(|unit| typed.ends_with(unit));
    if is_a_number && number(answer).is_some() {
        return format!("{}: it is {typed}; those that are off count as well", print::REFUSED);
    }
    if is_a_number || answer.is_empty() || ["n", "no"].contains(&answer.to_lowercase().as_str()) {
        return print::REFUSED.to_owned();
    }
    let (answered, asked): (Vec<&str>, Vec<&str>) = (words(answer).collect(), words(typed).collect());
    // Each as it has to be typed.
    let without = |all: &[&str], others: &[&str]| {
        let left = all.iter().filter(|word| !others.contains(word)).map(|word| text::harmless(word));
        left.collect::<Vec<_>>().join(", ")
    };
    let parts = [("missing", without(&asked, &answered)), ("not asked for", without(&answered, &asked))];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    parts.fold(print::REFUSED.to_owned(), |told, (what, names)| format!("{told}; {what}: {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_typed_in_any_order_and_none_may_be_missing() {
        for (answer, agrees) in [
            ("node3 node2", true),
            ("node2,node3", true),
            (" node2  node3 ", true),
            ("node2", false),
            ("node2 node2 node3", false),
            ("", false),
        ] {
            assert_eq!(is_what_was_asked(answer, "node2 node3"), agrees, "{answer}");
        }
        assert!(is_what_was_asked("3 hosts", "3 hosts") && !is_what_was_asked("3", "3 hosts"));
    }

    #[test]
    fn whoever_counts_only_the_machines_that_are_on_is_told_how_many_count() {
        assert_eq!(
            refusal("4 hosts", "5 hosts"),
            "nothing was changed: it is 5 hosts; those that are off count as well"
        );
        for (answer, typed) in
            [("no", "5 hosts"), ("", "5 hosts"), ("yes", "1 host"), ("No", "node5"), ("", "node5")]
        {
            assert_eq!(refusal(answer, typed), "nothing was changed", "{answer}");
        }
    }

    #[test]
    fn whoever_types_other_names_is_told_which_are_missing_and_which_are_not_asked_for() {
        for (answer, said) in [
            ("node2", "; missing: node3"),
            ("node2 node4", "; missing: node3; not asked for: node4"),
            ("node2,node3 node1", "; not asked for: node1"),
            ("node2-3", "; missing: node2, node3; not asked for: node2-3"),
        ] {
            assert_eq!(refusal(answer, "node2 node3"), format!("nothing was changed{said}"), "{answer}");
        }
    }
}
