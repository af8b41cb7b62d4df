//! YAML that PyYAML reads and that breaks the letter of YAML 1.2, which our parser keeps to: spelled anew so that it is
//! read. Used only for a text that was refused.
//!
//! - Lines inside brackets and quotes may begin further left than what they belong to, and those inside quotes with tabs; the sign
//!   of a block may stand in a line below its key, in the same column.
//! - A tab may follow the colon of a key.
//! - A comment may follow a quote, a bracket, a comma, or the sign of a block, at once.

use std::borrow::Cow;

/// A text spelled anew, and by how many columns each of its lines was moved to the right.
pub(crate) struct Relaxed {
    pub(crate) text: String,
    pub(crate) moved: Vec<usize>,
}

/// Where a line ends.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Between values.
    Block,
    /// Inside a quoted text.
    Quote(char),
    /// Inside a block scalar that was opened on a line with this indentation.
    Scalar(usize),
}

/// Spells a text anew.
pub(crate) fn relaxed(text: &str) -> Relaxed {
    let mut relaxer = Relaxer { state: State::Block, brackets: 0, column: 0, key: None };
    let mut out = Relaxed { text: String::with_capacity(text.len() + 64), moved: Vec::new() };
    for line in text.lines() {
        let line = relaxer.without_tabs(line);
        let indent = line.len() - line.trim_start_matches(' ').len();
        let inside = relaxer.brackets > 0 || matches!(relaxer.state, State::Quote(_));
        // One column further than what the brackets or quotes belong to.
        let least = match relaxer.key {
            _ if line.trim().is_empty() => 0,
            _ if inside => relaxer.column,
            Some(key) if indent == key && line.trim_start().starts_with(['|', '>']) => key + 1,
            _ => 0,
        };
        let missing = least.saturating_sub(indent);
        out.moved.push(missing);
        out.text.extend(std::iter::repeat_n(' ', missing));
        relaxer.line(&line, indent, &mut out.text);
        out.text.push('\n');
    }
    if !text.ends_with('\n') {
        out.text.pop();
    }
    out
}

struct Relaxer {
    state: State,
    /// How many brackets are open.
    brackets: usize,
    /// The column after the outermost bracket or quote that is open.
    column: usize,
    /// The indentation of the last line that says something, where it ends with a key whose value is to come.
    key: Option<usize>,
}

impl Relaxer {
    /// A line inside quotes, where what it begins with means nothing.
    fn without_tabs<'l>(&self, line: &'l str) -> Cow<'l, str> {
        let rest = line.trim_start_matches([' ', '\t']);
        let blank = line.len() - rest.len();
        match self.state {
            State::Quote(_) if line[..blank].contains('\t') => format!("{}{rest}", " ".repeat(blank)).into(),
            _ => line.into(),
        }
    }

    fn line(&mut self, line: &str, indent: usize, out: &mut String) {
        if let State::Scalar(parent) = self.state {
            if line.trim().is_empty() || indent > parent {
                out.push_str(line);
                return;
            }
            self.state = State::Block;
        }
        if !line.trim_start().is_empty() && !line.trim_start().starts_with('#') {
            self.key = None;
        }
        // Whether a value may begin here; otherwise quotes and brackets are plain characters.
        let mut begins = true;
        let mut before = ' ';
        let mut chars = line.chars().enumerate().peekable();
        while let Some((column, c)) = chars.next() {
            if let State::Quote(quote) = self.state {
                out.push(c);
                match c {
                    '\\' if quote == '"' => out.extend(chars.next().map(|(_, escaped)| escaped)),
                    // Two single quotes are one in the text.
                    '\'' if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                        out.extend(chars.next().map(|(_, second)| second));
                    }
                    _ if c == quote => {
                        self.state = State::Block;
                        begins = false;
                        if chars.peek().is_some_and(|(_, next)| *next == '#') {
                            out.push(' ');
                            before = ' ';
                            continue;
                        }
                    }
                    _ => {}
                }
                before = c;
                continue;
            }
            let next = chars.peek().map(|(_, next)| *next);
            let ends = next.is_none_or(char::is_whitespace);
            let mut is_mark = false;
            match c {
                '#' if before.is_whitespace() => {
                    out.push_str(&line[line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)..]);
                    return;
                }
                '"' | '\'' if begins => {
                    self.opened(column);
                    self.state = State::Quote(c);
                    out.push(c);
                }
                '[' | '{' if begins || self.brackets > 0 => {
                    self.opened(column);
                    self.brackets += 1;
                    out.push(c);
                    begins = true;
                    is_mark = true;
                }
                ']' | '}' if self.brackets > 0 => {
                    self.brackets -= 1;
                    out.push(c);
                    begins = false;
                    is_mark = true;
                }
                ',' if self.brackets > 0 => {
                    out.push(c);
                    begins = true;
                    is_mark = true;
                }
                ':' | '-' | '?' if ends && (c == ':' || begins) => {
                    out.push(c);
                    begins = true;
                    while c == ':' && chars.next_if(|(_, next)| *next == '\t').is_some() {
                        out.push(' ');
                    }
                }
                '|' | '>' if begins && self.brackets == 0 => {
                    let rest: String = chars.map(|(_, c)| c).collect();
                    let (sign, comment) =
                        rest.split_once('#').map_or((rest.as_str(), None), |(s, c)| (s, Some(c)));
                    out.push(c);
                    out.push_str(sign);
                    if let Some(comment) = comment {
                        out.push_str(&format!(" #{comment}"));
                    }
                    self.state = State::Scalar(indent);
                    return;
                }
                // What stands before a value.
                '&' | '!' | '*' if begins => {
                    out.push(c);
                    while let Some((_, c)) = chars.next_if(|(_, next)| !next.is_whitespace()) {
                        out.push(c);
                    }
                }
                _ => {
                    out.push(c);
                    begins &= c.is_whitespace();
                }
            }
            before = c;
            // What looks like a part of it is a comment.
            if is_mark && next == Some('#') {
                out.push(' ');
                before = ' ';
            }
        }
        let is_over = self.state == State::Block && self.brackets == 0;
        if is_over && begins && line.trim_end().ends_with(':') {
            self.key = Some(indent);
        }
    }

    fn opened(&mut self, column: usize) {
        if self.brackets == 0 {
            self.column = column + 1;
        }
    }
}
