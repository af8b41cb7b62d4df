//! YAML as PyYAML writes it (`yaml/emitter.py`, `yaml/representer.py`), so that files rendered with
//! `to_yaml` and `to_nice_yaml` are the ones Ansible would have written.

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::args::{entries, is_list, items};
use crate::value::Kind;
use crate::yaml_scalar;

/// How a document is laid out.
pub(super) struct Style {
    /// Columns per level.
    pub(super) indent: usize,
    /// Where long lines are folded.
    pub(super) width: usize,
    /// Lists and mappings that hold only plain values go on one line.
    pub(super) flow_leaves: bool,
    pub(super) sort_keys: bool,
}

const MAX_DEPTH: usize = 100;

/// A value as a YAML document.
pub(super) fn write(value: &Value, style: &Style) -> Result<String, Error> {
    let mut emitter = Emitter {
        out: String::new(),
        style,
        column: 0,
        blank: true,
        indention: true,
        indent: None,
        flow: 0,
        depth: 0,
    };
    emitter.node(value, Context::Root)?;
    emitter.out.push('\n');
    Ok(emitter.out)
}

#[derive(Clone, Copy, PartialEq)]
enum Context {
    Root,
    Item,
    Key,
    MappingValue,
}

struct Emitter<'a> {
    out: String,
    style: &'a Style,
    column: usize,
    /// Whether the last thing written was white space.
    blank: bool,
    /// Whether the line holds only indention so far (`- ` counts as such).
    indention: bool,
    indent: Option<usize>,
    flow: usize,
    depth: usize,
}

impl Emitter<'_> {
    fn node(&mut self, value: &Value, context: Context) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(super::args::invalid("the value is nested too deeply for YAML"));
        }
        if is_list(value) {
            let list = items("to_yaml", value)?;
            if self.flow > 0 || list.is_empty() || self.style.flow_leaves && list.iter().all(is_plain_scalar)
            {
                self.flow_list(&list)?;
            } else {
                self.block_list(&list, context)?;
            }
        } else if value.kind() == ValueKind::Map {
            let mut pairs = entries("to_yaml", value)?;
            if self.style.sort_keys {
                pairs.sort_by_key(|(key, _)| key.to_string());
            }
            let leaf = |(key, value): &(Value, Value)| is_plain_scalar(key) && is_plain_scalar(value);
            if self.flow > 0 || pairs.is_empty() || self.style.flow_leaves && pairs.iter().all(leaf) {
                self.flow_map(&pairs)?;
            } else {
                self.block_map(&pairs)?;
            }
        } else {
            // Lines that a text is folded into are one level in.
            let before = self.deeper(true, false);
            self.scalar(value, context)?;
            self.indent = before;
        }
        self.depth -= 1;
        Ok(())
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn indicator(&mut self, text: &str, needs_blank: bool, then_blank: bool, then_indention: bool) {
        if needs_blank && !self.blank {
            self.put(" ");
        }
        self.put(text);
        self.blank = then_blank;
        self.indention &= then_indention;
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
        self.blank = true;
        self.indention = true;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || self.column == indent && !self.blank {
            self.line_break();
        }
        if self.column < indent {
            self.blank = true;
            self.put(&" ".repeat(indent - self.column));
        }
    }

    /// Goes one level in and tells the level to come back to.
    fn deeper(&mut self, flow: bool, indentless: bool) -> Option<usize> {
        let before = self.indent;
        self.indent = match before {
            None if flow => Some(self.style.indent),
            None => Some(0),
            Some(indent) if indentless => Some(indent),
            Some(indent) => Some(indent + self.style.indent),
        };
        before
    }

    fn block_list(&mut self, list: &[Value], context: Context) -> Result<(), Error> {
        // A list in a mapping stands in the column of its key.
        let before = self.deeper(false, context == Context::MappingValue && !self.indention);
        for item in list {
            self.write_indent();
            self.indicator("-", true, false, true);
            self.node(item, Context::Item)?;
        }
        self.indent = before;
        Ok(())
    }

    fn block_map(&mut self, pairs: &[(Value, Value)]) -> Result<(), Error> {
        let before = self.deeper(false, false);
        for (key, value) in pairs {
            self.write_indent();
            self.node(key, Context::Key)?;
            self.indicator(":", false, false, false);
            self.node(value, Context::MappingValue)?;
        }
        self.indent = before;
        Ok(())
    }

    fn flow_list(&mut self, list: &[Value]) -> Result<(), Error> {
        self.indicator("[", true, true, false);
        let before = self.deeper(true, false);
        self.flow += 1;
        for (at, item) in list.iter().enumerate() {
            if at > 0 {
                self.indicator(",", false, false, false);
            }
            if self.column > self.style.width {
                self.write_indent();
            }
            self.node(item, Context::Item)?;
        }
        self.flow -= 1;
        self.indent = before;
        self.indicator("]", false, false, false);
        Ok(())
    }

    fn flow_map(&mut self, pairs: &[(Value, Value)]) -> Result<(), Error> {
        self.indicator("{", true, true, false);
        let before = self.deeper(true, false);
        self.flow += 1;
        for (at, (key, value)) in pairs.iter().enumerate() {
            if at > 0 {
                self.indicator(",", false, false, false);
            }
            if self.column > self.style.width {
                self.write_indent();
            }
            self.node(key, Context::Key)?;
            self.indicator(":", false, false, false);
            self.node(value, Context::MappingValue)?;
        }
        self.flow -= 1;
        self.indent = before;
        self.indicator("}", false, false, false);
        Ok(())
    }

    fn scalar(&mut self, value: &Value, context: Context) -> Result<(), Error> {
        let split = context != Context::Key;
        let text = match value.as_str() {
            Some(text) => text,
            None => {
                let text = scalar_text(value)?;
                self.plain(&text, split);
                return Ok(());
            }
        };
        let form = Form::of(text);
        let is_key = context == Context::Key;
        let resolves = matches!(yaml_scalar::resolve(text), Kind::Str(_)) && !yaml_scalar::is_special(text);
        let fits = if self.flow > 0 { form.flow_plain } else { form.block_plain };
        if resolves && fits && !(is_key && (text.is_empty() || form.multiline)) {
            self.plain(text, split);
            return Ok(());
        }
        if form.single_quoted && !(is_key && form.multiline) {
            self.single_quoted(text, split);
        } else {
            self.double_quoted(text, split);
        }
        Ok(())
    }

    fn plain(&mut self, text: &str, split: bool) {
        if text.is_empty() {
            return;
        }
        if !self.blank {
            self.put(" ");
        }
        self.blank = false;
        self.indention = false;
        self.folded_words(text, split);
    }

    /// Writes words; a single blank becomes a line break where the line is too long.
    fn folded_words(&mut self, text: &str, split: bool) {
        let mut rest = text;
        let mut first = true;
        while !rest.is_empty() {
            let blanks = rest.len() - rest.trim_start_matches(' ').len();
            if blanks > 0 {
                let last = blanks == rest.len();
                if blanks == 1 && self.column > self.style.width && split && !first && !last {
                    self.write_indent();
                    self.blank = false;
                    self.indention = false;
                } else {
                    self.put(&rest[..blanks]);
                }
                rest = &rest[blanks..];
            }
            let end = rest.find(' ').unwrap_or(rest.len());
            self.put(&rest[..end]);
            rest = &rest[end..];
            first = false;
        }
    }

    fn single_quoted(&mut self, text: &str, split: bool) {
        self.indicator("'", true, false, false);
        let mut rest = text;
        while !rest.is_empty() {
            let breaks = rest.len() - rest.trim_start_matches('\n').len();
            if breaks > 0 {
                // One break would be read as a blank, so there is one more than is meant.
                for _ in 0..=breaks {
                    self.line_break();
                }
                self.write_indent();
                self.blank = false;
                rest = &rest[breaks..];
                continue;
            }
            let end = rest.find('\n').unwrap_or(rest.len());
            let line = rest[..end].replace('\'', "''");
            self.folded_words(&line, split);
            rest = &rest[end..];
        }
        self.indicator("'", false, false, false);
    }

    fn double_quoted(&mut self, text: &str, split: bool) {
        self.indicator("\"", true, false, false);
        let chars: Vec<char> = text.chars().collect();
        for (at, c) in chars.iter().enumerate() {
            let inner = at > 0 && at + 1 < chars.len();
            if split && inner && *c == ' ' && self.column > self.style.width {
                self.put("\\");
                self.write_indent();
                self.put("\\");
            }
            match escape(*c) {
                Some(escaped) => self.put(&escaped),
                None => self.put(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.blank = false;
        self.indicator("\"", false, false, false);
    }
}

/// A scalar that is written without quotes.
fn is_plain_scalar(value: &Value) -> bool {
    !is_list(value) && value.kind() != ValueKind::Map
}

fn scalar_text(value: &Value) -> Result<String, Error> {
    Ok(match value.kind() {
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => if value.is_true() { "true" } else { "false" }.to_owned(),
        ValueKind::Number if value.is_integer() => value.to_string(),
        ValueKind::Number => {
            let number = f64::try_from(value.clone())?;
            let text = value.to_string();
            match number {
                n if n.is_nan() => ".nan".to_owned(),
                n if n.is_infinite() => if n > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
                _ if !text.contains('.') && text.contains('e') => text.replacen('e', ".0e", 1),
                _ => text,
            }
        }
        ValueKind::Undefined => {
            return Err(Error::new(minijinja::ErrorKind::UndefinedError, "a part of the value is undefined"));
        }
        _ => value.to_string(),
    })
}

fn escape(c: char) -> Option<String> {
    let short = match c {
        '\0' => '0',
        '\x07' => 'a',
        '\x08' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\x0b' => 'v',
        '\x0c' => 'f',
        '\r' => 'r',
        '\x1b' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        ' '..='~' => return None,
        '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'.. => {
            return None;
        }
        _ => {
            let code = u32::from(c);
            return Some(if code < 256 { format!("\\x{code:02X}") } else { format!("\\u{code:04X}") });
        }
    };
    Some(format!("\\{short}"))
}

/// Which ways of writing a text are open.
struct Form {
    multiline: bool,
    flow_plain: bool,
    block_plain: bool,
    single_quoted: bool,
}

impl Form {
    fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self { multiline: false, flow_plain: false, block_plain: true, single_quoted: true };
        }
        let chars: Vec<char> = text.chars().collect();
        let is_break = |c: char| matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let is_white =
            |c: Option<&char>| c.is_none_or(|c| matches!(c, '\0' | ' ' | '\t' | '\r') || is_break(*c));
        let mut flow = text.starts_with("---") || text.starts_with("...");
        let mut block = flow;
        let (mut special, mut break_space, mut space_break) = (false, false, false);
        for (at, c) in chars.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| chars.get(at));
            let followed = is_white(chars.get(at + 1));
            match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`'
                    if at == 0 =>
                {
                    (flow, block) = (true, true);
                }
                '?' | ':' if at == 0 => {
                    flow = true;
                    block |= followed;
                }
                '-' if at == 0 && followed => (flow, block) = (true, true),
                ',' | '?' | '[' | ']' | '{' | '}' => flow = true,
                ':' => {
                    flow = true;
                    block |= followed;
                }
                '#' if is_white(before) => (flow, block) = (true, true),
                _ => {}
            }
            special |= *c != '\n'
                && (escape(*c).is_some() && !matches!(c, '"' | '\\') || matches!(c, '\u{2028}' | '\u{2029}'));
            break_space |= *c == ' ' && before.is_some_and(|before| is_break(*before));
            space_break |= is_break(*c) && before == Some(&' ');
        }
        let edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || is_break(*c));
        let edges = edge(chars.first()) || edge(chars.last());
        let multiline = chars.iter().any(|c| is_break(*c));
        let plain = !edges && !break_space && !space_break && !special && !multiline;
        Self {
            multiline,
            flow_plain: plain && !flow,
            block_plain: plain && !block,
            single_quoted: !break_space && !space_break && !special,
        }
    }
}
