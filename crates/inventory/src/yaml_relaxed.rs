//! YAML that PyYAML reads and that breaks the letter of YAML 1.2, which our parser keeps to: spelled anew so that it is
//! read. Used only for a text that was refused.
//!
//! - Lines inside brackets and quotes may begin further left than what they belong to.
//! - A tab may follow the colon of a key.
//! - A comment may follow a quote, a bracket, or the sign of a block, at once.

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
    let mut relaxer = Relaxer { state: State::Block, brackets: 0, column: 0 };
    let mut out = Relaxed { text: String::with_capacity(text.len() + 64), moved: Vec::new() };
    for line in text.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let inside = relaxer.brackets > 0 || matches!(relaxer.state, State::Quote(_));
        // One column further than what the brackets or quotes belong to.
        let missing =
            if inside && !line.trim().is_empty() { relaxer.column.saturating_sub(indent) } else { 0 };
        out.moved.push(missing);
        out.text.extend(std::iter::repeat_n(' ', missing));
        relaxer.line(line, indent, &mut out.text);
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
}

impl Relaxer {
    fn line(&mut self, line: &str, indent: usize, out: &mut String) {
        if let State::Scalar(parent) = self.state {
            if line.trim().is_empty() || indent > parent {
                out.push_str(line);
                return;
            }
            self.state = State::Block;
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
                }
                ']' | '}' if self.brackets > 0 => {
                    self.brackets -= 1;
                    out.push(c);
                    begins = false;
                    if next == Some('#') {
                        out.push(' ');
                        before = ' ';
                        continue;
                    }
                }
                ',' if self.brackets > 0 => {
                    out.push(c);
                    begins = true;
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
        }
    }

    fn opened(&mut self, column: usize) {
        if self.brackets == 0 {
            self.column = column + 1;
        }
    }
}
