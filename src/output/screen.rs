//! The place where progress is shown: standard output, with some live lines below when it is a terminal.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::environment::Environment;
use crate::output::style::Style;

/// How many columns lines may have where there is no terminal.
const COLUMNS_ELSEWHERE: usize = 120;

/// Standard output while a run is shown. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Screen {
    /// The live lines, when there are some.
    live: Option<ProgressBar>,
    pub(crate) style: Style,
}

impl Screen {
    /// Standard output; with live lines only if they are wanted and it is a terminal that can show them.
    pub(crate) fn new(environment: &Environment, live: bool) -> Self {
        let capable = std::io::stdout().is_terminal() && environment.get("TERM") != Some("dumb");
        let live = (live && capable).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(10));
            // The template is a constant; without it the bar would only look different.
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { live, style: Style::of_stdout(environment) }
    }

    /// Whether there are live lines.
    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Rows and columns.
    pub(crate) fn size(&self) -> (usize, usize) {
        match console::Term::stdout().size_checked() {
            Some((rows, columns)) if self.is_live() => (rows.into(), columns.into()),
            Some((rows, columns)) => (rows.into(), usize::from(columns).max(40)),
            None => (24, COLUMNS_ELSEWHERE),
        }
    }

    /// Prints a line that stays. When nobody reads any more the run must go on all the same.
    pub(crate) fn line(&self, line: &str) {
        let print = || writeln!(std::io::stdout().lock(), "{line}").ok();
        match &self.live {
            Some(bar) => bar.suspend(print),
            None => print(),
        };
    }

    /// Replaces the live lines.
    pub(crate) fn set_live(&self, lines: &[String]) {
        if let Some(bar) = &self.live {
            bar.set_message(lines.join("\n"));
        }
    }

    /// Removes the live lines for good.
    pub(crate) fn end_live(&self) {
        if let Some(bar) = &self.live {
            bar.finish_and_clear();
        }
    }

    /// Does something that uses the terminal itself, such as asking for a password, without live lines in between.
    pub(crate) fn suspend<T>(&self, action: impl FnOnce() -> T) -> T {
        match &self.live {
            Some(bar) => bar.suspend(action),
            None => action(),
        }
    }
}
