//! The place where progress is shown: standard output, with some live lines below when it is a terminal.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::truncate_str;

use crate::environment::Environment;
use crate::output::style::Style;

/// How many columns lines may have where there is no terminal.
const COLUMNS_ELSEWHERE: usize = 120;

/// Columns that live lines leave free. A line that wraps is counted wrongly when it is redrawn, and the terminal adds `^C`
/// to the last one when the user presses that.
pub(crate) const MARGIN: usize = 3;

/// Standard output while something is shown. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Screen {
    /// The live lines as they stand on the terminal, when it can show some.
    live: Option<Arc<Mutex<Vec<String>>>>,
    pub(crate) style: Style,
}

impl Screen {
    /// Standard output; with live lines only if they are wanted and it is a terminal that can show them.
    pub(crate) fn new(environment: &Environment, live: bool) -> Self {
        let capable = std::io::stdout().is_terminal() && environment.get("TERM") != Some("dumb");
        Self { live: (live && capable).then(Arc::default), style: Style::of_stdout(environment) }
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

    /// Prints a line that stays.
    pub(crate) fn line(&self, line: &str) {
        self.suspend(|| write(&format!("{line}\n")));
    }

    /// Replaces the live lines.
    pub(crate) fn set_live(&self, lines: &[String]) {
        let Some(mut shown) = self.shown() else { return };
        let most = self.size().1.saturating_sub(MARGIN);
        let cut = |line: &String| truncate_str(line, most, self.style.ellipsis()).into_owned();
        let lines: Vec<String> = lines.iter().map(cut).collect();
        if *shown != lines {
            write(&(erase(&shown) + &draw(&lines)));
            *shown = lines;
        }
    }

    /// Removes the live lines for good.
    pub(crate) fn end_live(&self) {
        self.set_live(&[]);
    }

    /// Does something that uses the terminal itself, such as asking for a password, without live lines in between.
    pub(crate) fn suspend<T>(&self, action: impl FnOnce() -> T) -> T {
        // Whoever wants to draw meanwhile waits.
        let Some(shown) = self.shown() else { return action() };
        write(&erase(&shown));
        let done = action();
        write(&draw(&shown));
        done
    }

    fn shown(&self) -> Option<MutexGuard<'_, Vec<String>>> {
        Some(self.live.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes at once. When nobody reads any more the work must go on all the same.
fn write(text: &str) {
    if !text.is_empty() {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    }
}

/// Takes lines away that were drawn, and leaves the cursor where the first one began (ECMA-48: CUU, ED).
fn erase(lines: &[String]) -> String {
    match lines.len() {
        0 => String::new(),
        1 => "\r\x1b[J".to_owned(),
        many => format!("\r\x1b[{}A\x1b[J", many - 1),
    }
}

/// Draws lines and leaves the cursor at the end of the last one, so that what the user types is erased with it.
fn draw(lines: &[String]) -> String {
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_can_be_erased() {
        let lines = ["one", "two", "three"].map(str::to_owned);
        assert_eq!(draw(&lines), "one\ntwo\nthree");
        assert_eq!(erase(&lines), "\r\u{1b}[2A\u{1b}[J", "up over two line breaks");
        assert_eq!(erase(&lines[..1]), "\r\u{1b}[J");
        assert_eq!(erase(&[]), "");
    }
}
