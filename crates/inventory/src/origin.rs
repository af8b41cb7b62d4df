//! Where a value was written: file, line, column; and how to show that place to a person.

use std::fmt;
use std::sync::Arc;

use crate::hushed::{hushed, is_within_secret};

/// A text that was read, kept so that a message can show the line it is about.
pub struct SourceText {
    name: String,
    /// `None` for texts that must not be shown, such as decrypted files.
    text: Option<String>,
    /// Names that hide nothing, whatever their words.
    open: &'static [&'static str],
}

impl SourceText {
    /// A text under the name that messages give it: usually the path as the user typed it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Self::with_open(name, text, &[])
    }

    /// The same, in a format in which these keys hold no secret although they are called as if they did.
    pub fn with_open(
        name: impl Into<String>,
        text: impl Into<String>,
        open: &'static [&'static str],
    ) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: Some(text.into()), open })
    }

    /// A text that is secret: places in it are named, its lines are never shown.
    pub fn secret(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: None, open: &[] })
    }

    /// The name that messages give this text.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn line(&self, number: u32) -> Option<&str> {
        self.text.as_deref()?.lines().nth(number.checked_sub(1)? as usize)
    }
}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceText({})", self.name)
    }
}

/// The place of one value: `file:line:column`, lines and columns counted from 1.
#[derive(Clone)]
pub struct Origin {
    source: Arc<SourceText>,
    line: u32,
    column: u32,
}

impl Origin {
    /// A place; `line` 0 means the text as a whole.
    pub fn new(source: &Arc<SourceText>, line: usize, column: usize) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { source: Arc::clone(source), line: number(line), column: number(column) }
    }

    /// The place "somewhere in this text".
    pub fn whole(source: &Arc<SourceText>) -> Self {
        Self::new(source, 0, 0)
    }

    /// The name of the text, usually a path.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Line, from 1; 0 when the place is the whole text.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Column in characters, from 1.
    pub fn column(&self) -> u32 {
        self.column
    }

    /// The place some lines further down, when the text there is the one that is expected: a template
    /// over several lines stands in the file as it is only in some of YAML's styles.
    pub(crate) fn further(&self, lines: usize, expected: &str) -> Option<Self> {
        let line = self.line.checked_add(u32::try_from(lines).ok()?)?;
        let found = self.source.line(line)?;
        let blanks = found.chars().take_while(|c| c.is_whitespace()).count();
        (found.trim() == expected.trim()).then(|| Self::new(&self.source, line as usize, blanks + 1))
    }

    /// The line so many lines above.
    pub(crate) fn above(&self, lines: u32) -> Option<Self> {
        let line = self.line.checked_sub(lines).filter(|line| *line > 0)?;
        Some(Self { line, column: 1, ..self.clone() })
    }

    /// The same line, in a column in characters, from 1.
    pub(crate) fn in_column(&self, column: usize) -> Self {
        Self { column: u32::try_from(column).unwrap_or(u32::MAX), ..self.clone() }
    }

    /// The line as it is written; not to be shown.
    pub(crate) fn text(&self) -> Option<&str> {
        self.source.line(self.line)
    }

    /// The line as it may be shown: what looks like a password in it is stars.
    pub(crate) fn shown(&self) -> Option<String> {
        let line = self.text()?;
        let above = (1..self.line).rev().filter_map(|above| self.source.line(above));
        let open = self.source.open;
        Some(match is_within_secret(line, above, open) {
            true => line.chars().map(|c| if c.is_whitespace() { c } else { '*' }).collect(),
            false => hushed(line, open),
        })
    }

    /// Whether it is in a text that must not be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.source.text.is_none()
    }

    /// The same place, in a text that must not be shown.
    pub(crate) fn kept_secret(&self) -> Self {
        Self { source: SourceText::secret(self.file()), ..self.clone() }
    }

    /// The line with a caret under the column, ready to be put below a message; empty when the
    /// text is secret or not a file. What looks like a password in it is not shown.
    pub fn excerpt(&self) -> String {
        /// Longer lines are cut around the caret so that a message fits a terminal.
        const WIDTH: usize = 100;
        let Some(line) = self.shown() else { return String::new() };
        let column = (self.column.max(1) - 1) as usize;
        let skipped = if column > WIDTH - 20 { column - 40 } else { 0 };
        let shown: String =
            line.chars().skip(skipped).take(WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let gutter = self.line.to_string();
        let blank = " ".repeat(gutter.len());
        let caret = " ".repeat(column - skipped);
        format!("\n {blank} |\n {gutter} | {shown}\n {blank} | {caret}^")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(self.file()),
            line => write!(f, "{}:{line}:{}", self.file(), self.column),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        (self.line, self.column, self.file()) == (other.line, other.column, other.file())
    }
}

/// Something the user should hear about that does not stop the work.
#[derive(Debug, Clone, PartialEq)]
pub struct Warning {
    /// What is meant, in one sentence.
    pub message: String,
    /// Where it was written, when it was written anywhere.
    pub origin: Option<Origin>,
}

impl Warning {
    pub(crate) fn new(message: impl Into<String>, origin: Option<Origin>) -> Self {
        Self { message: message.into(), origin }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}
