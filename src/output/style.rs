//! Colours and symbols. A colour never is the only sign: the words or the symbol beside it say the same.

use std::io::IsTerminal;

use crate::environment::{self, Environment};

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Changed,
    Bad,
    Warning,
    /// Less important than what is around it.
    Faint,
    Strong,
    /// The recap's colours are Ansible's.
    Unreachable,
    Skipped,
}

/// What the place where text goes can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether colours may be used.
    pub(crate) color: bool,
    /// Whether characters beyond ASCII are shown.
    pub(crate) unicode: bool,
}

impl Style {
    /// Neither colours nor symbols.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { color: false, unicode: false };

    /// That of standard output.
    pub(crate) fn of_stdout(environment: &Environment) -> Self {
        Self::of(environment, std::io::stdout().is_terminal())
    }

    /// That of standard error.
    pub(crate) fn of_stderr(environment: &Environment) -> Self {
        Self::of(environment, std::io::stderr().is_terminal())
    }

    fn of(environment: &Environment, terminal: bool) -> Self {
        Self {
            color: terminal && !environment::no_color(environment),
            unicode: environment::is_utf8(environment),
        }
    }

    /// Text in the colour of what it means (ECMA-48, SGR).
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "0;32",
            Tone::Changed => "0;33",
            Tone::Bad => "0;31",
            Tone::Warning => "1;35",
            Tone::Faint => "2",
            Tone::Strong => "1",
            Tone::Unreachable => "1;31",
            Tone::Skipped => "0;36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Beside what is done.
    pub(crate) fn done(self) -> String {
        self.paint(Tone::Good, if self.unicode { "✔" } else { "+" })
    }

    /// Beside what failed.
    pub(crate) fn failed(self) -> String {
        self.paint(Tone::Bad, if self.unicode { "✘" } else { "x" })
    }

    /// Beside what is under way.
    pub(crate) fn running(self) -> &'static str {
        if self.unicode { "▸" } else { ">" }
    }

    /// Beside what waits for something else.
    pub(crate) fn waiting(self) -> &'static str {
        if self.unicode { "·" } else { "." }
    }

    /// Beside a warning.
    pub(crate) fn warning(self) -> String {
        self.paint(Tone::Warning, "!")
    }

    /// In front of lines that a machine wrote.
    pub(crate) fn quoted(self) -> &'static str {
        if self.unicode { "│" } else { "|" }
    }

    /// What stands for text that was cut off.
    pub(crate) fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_and_somebody_who_wants_them() {
        let color =
            |variables: &[(&str, &str)], terminal| Style::of(&environment::with(variables), terminal).color;
        assert!(color(&[], true));
        assert!(!color(&[], false));
        for unwanted in [("NO_COLOR", "1"), ("ANSIBLE_NOCOLOR", "true"), ("TERM", "dumb")] {
            assert!(!color(&[unwanted], true), "{unwanted:?}");
        }
        assert!(color(&[("NO_COLOR", ""), ("ANSIBLE_NOCOLOR", "False")], true));
    }

    #[test]
    fn without_colour_text_stays_as_it_is_and_without_utf8_symbols_are_ascii() {
        assert_eq!(Style::PLAIN.paint(Tone::Bad, "x"), "x");
        let symbols = [Style::PLAIN.done(), Style::PLAIN.failed(), Style::PLAIN.warning()];
        assert!(symbols.iter().all(|symbol| symbol.is_ascii()));
        let color = Style { color: true, unicode: true };
        assert_eq!(color.paint(Tone::Bad, "x"), "\u{1b}[0;31mx\u{1b}[0m");
        assert_ne!(color.done().replace(['\u{1b}'], ""), color.failed().replace(['\u{1b}'], ""));
    }
}
