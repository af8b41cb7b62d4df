//! Python literals (`ast.literal_eval`): what Ansible makes of values in INI inventories and of
//! rendered templates that look like a list or a mapping.

use indexmap::IndexMap;

use crate::value::{Kind, Value};

/// Nested deeper than Python's own parser allows; guards the stack.
const MAX_DEPTH: usize = 90;

/// Which words stand for `True`, `False` and `None`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Words {
    /// Python's own only.
    Python,
    /// Also JSON's `true`, `false`, `null`, as the templating engine accepts.
    PythonOrJson,
}

/// The value of a Python literal; `None` when the text is not one and so stays a text.
pub(crate) fn parse(text: &str, words: Words) -> Option<Value> {
    let mut parser = Literal { text, at: 0, words };
    parser.skip_blanks();
    let value = parser.expression(0)?;
    // `1, 2` is a tuple without brackets.
    let value = if parser.peek() == Some(b',') { parser.tuple_rest(value, None, 0)? } else { value };
    (parser.at == text.len()).then_some(value)
}

struct Literal<'a> {
    text: &'a str,
    at: usize,
    words: Words,
}

impl<'a> Literal<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
            self.skip_blanks();
        }
        found
    }

    /// White space and comments. Outside brackets a line end would end the expression for Python;
    /// values never hold one there.
    fn skip_blanks(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        self.at += rest.len() - trimmed.len();
        if trimmed.starts_with('#') {
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            self.skip_blanks();
        }
    }

    fn expression(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'[' => {
                self.eat(b'[');
                self.items(b']', depth).map(|items| Kind::List(items).into())
            }
            b'(' => {
                self.eat(b'(');
                if self.eat(b')') {
                    return Some(Kind::List(Vec::new()).into());
                }
                let first = self.expression(depth + 1)?;
                if self.eat(b')') {
                    return Some(first);
                }
                self.tuple_rest(first, Some(b')'), depth)
            }
            b'{' => {
                self.eat(b'{');
                self.map_or_set(depth)
            }
            b'+' | b'-' => {
                let negative = self.peek() == Some(b'-');
                self.at += 1;
                self.skip_blanks();
                // Python negates numbers only, and only plain ones: -True is an error.
                let value = match self.peek()? {
                    b'0'..=b'9' | b'.' => self.number()?,
                    b'+' | b'-' | b'(' => self.expression(depth + 1)?,
                    _ => return None,
                };
                match value.kind {
                    Kind::Int(number) if negative => Some(Kind::Int(number.checked_neg()?).into()),
                    Kind::Float(number) if negative => Some(Kind::Float(-number).into()),
                    Kind::Int(_) | Kind::Float(_) => Some(value),
                    _ => None,
                }
            }
            b'0'..=b'9' | b'.' => self.number(),
            b'\'' | b'"' => self.strings(),
            byte if byte.is_ascii_alphabetic() || byte == b'_' => self.word(),
            _ => None,
        }
    }

    fn items(&mut self, close: u8, depth: usize) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(self.expression(depth + 1)?);
            if !self.eat(b',') {
                return self.eat(close).then_some(items);
            }
        }
        Some(items)
    }

    fn tuple_rest(&mut self, first: Value, close: Option<u8>, depth: usize) -> Option<Value> {
        let mut items = vec![first];
        while self.eat(b',') {
            match close {
                Some(close) if self.peek() == Some(close) => break,
                None if self.at == self.text.len() => break,
                _ => items.push(self.expression(depth + 1)?),
            }
        }
        match close {
            Some(close) if !self.eat(close) => None,
            _ => Some(Kind::List(items).into()),
        }
    }

    fn map_or_set(&mut self, depth: usize) -> Option<Value> {
        if self.eat(b'}') {
            return Some(Kind::Map(IndexMap::new()).into());
        }
        let first = self.expression(depth + 1)?;
        if !self.eat(b':') {
            let set = self.tuple_rest(first, Some(b'}'), depth)?;
            return Some(set);
        }
        let mut map = IndexMap::new();
        map.insert(key_text(&first)?, self.expression(depth + 1)?);
        while self.eat(b',') {
            if self.peek() == Some(b'}') {
                break;
            }
            let key = self.expression(depth + 1)?;
            if !self.eat(b':') {
                return None;
            }
            map.insert(key_text(&key)?, self.expression(depth + 1)?);
        }
        self.eat(b'}').then(|| Kind::Map(map).into())
    }

    fn word(&mut self) -> Option<Value> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = &rest[..end];
        if matches!(rest.as_bytes().get(end), Some(b'\'' | b'"')) {
            return self.strings();
        }
        self.at += end;
        self.skip_blanks();
        let json = self.words == Words::PythonOrJson;
        match word {
            "True" => Some(true.into()),
            "False" => Some(false.into()),
            "None" => Some(Value::NULL),
            "true" if json => Some(true.into()),
            "false" if json => Some(false.into()),
            "null" if json => Some(Value::NULL),
            "set" if self.eat(b'(') && self.eat(b')') => Some(Kind::List(Vec::new()).into()),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut end = 0;
        while let Some(byte) = bytes.get(end) {
            let exponent_sign = matches!(byte, b'+' | b'-')
                && matches!(bytes.get(end.wrapping_sub(1)), Some(b'e' | b'E'))
                && !matches!(bytes.get(1), Some(b'x' | b'X'));
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || exponent_sign) {
                break;
            }
            end += 1;
        }
        let kind = python_number(&rest[..end])?;
        self.at += end;
        self.skip_blanks();
        Some(kind.into())
    }

    /// One string, or several that Python joins: `'a' "b"`.
    fn strings(&mut self) -> Option<Value> {
        let mut joined = self.string()?;
        loop {
            let rest = self.rest();
            let quote = rest.find(['\'', '"']);
            let starts_string = quote.is_some_and(|at| at <= 2 && is_prefix(&rest[..at]));
            if !starts_string {
                return Some(joined.into());
            }
            joined.push_str(&self.string()?);
        }
    }

    fn string(&mut self) -> Option<String> {
        let rest = self.rest();
        let prefix_length = rest.find(['\'', '"'])?;
        let prefix = rest[..prefix_length].to_ascii_lowercase();
        // Ansible turns bytes into text. Formatted strings are not literals.
        if !is_prefix(&prefix) {
            return None;
        }
        let body = &rest[prefix_length..];
        let quote = &body[..1];
        let triple = body.starts_with(&quote.repeat(3));
        let quote = if triple { &body[..3] } else { quote };
        let mut chars = body[quote.len()..].char_indices();
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            let here = &body[quote.len() + at..];
            if here.starts_with(quote) {
                self.at += prefix_length + quote.len() + at + quote.len();
                self.skip_blanks();
                return Some(text);
            }
            match c {
                '\n' if !triple => return None,
                '\\' if prefix.contains('r') => {
                    text.push('\\');
                    text.push(chars.next()?.1);
                }
                '\\' => {
                    let (value, used) = escape(&here[1..])?;
                    text.extend(value);
                    for _ in 0..used {
                        chars.next()?;
                    }
                }
                c => text.push(c),
            }
        }
        None
    }
}

fn is_prefix(prefix: &str) -> bool {
    matches!(prefix.to_ascii_lowercase().as_str(), "" | "r" | "u" | "b" | "br" | "rb")
}

/// The character an escape stands for (none for a joined line) and how many characters of the
/// text after the backslash it uses. Unknown escapes keep their backslash.
fn escape(text: &str) -> Option<(Vec<char>, usize)> {
    let first = text.chars().next()?;
    let hex = |digits: usize| {
        let code = u32::from_str_radix(text.get(1..=digits)?, 16).ok()?;
        Some((vec![char::from_u32(code)?], digits + 1))
    };
    let one = |c: char| Some((vec![c], 1));
    match first {
        '\n' => Some((Vec::new(), 1)),
        '\\' | '\'' | '"' => one(first),
        'a' => one('\x07'),
        'b' => one('\x08'),
        'f' => one('\x0c'),
        'n' => one('\n'),
        'r' => one('\r'),
        't' => one('\t'),
        'v' => one('\x0b'),
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        'N' => None,
        '0'..='7' => {
            let digits = text.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            let code = u32::from_str_radix(&text[..digits], 8).ok()?;
            Some((vec![char::from_u32(code)?], digits))
        }
        other => Some((vec!['\\', other], 1)),
    }
}

/// A Python number. `0600` is none (a syntax error in Python 3), nor is `1_` or `0x`.
fn python_number(text: &str) -> Option<Kind> {
    let underscores_ok = !text.ends_with('_') && !text.contains("__") && !text.starts_with('_');
    if !underscores_ok {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let radix = |digits: &str, radix: u32| {
        let digits = digits.replace('_', "");
        i64::from_str_radix(&digits, radix).ok().filter(|_| !digits.starts_with(['+', '-'])).map(Kind::Int)
    };
    if let Some(digits) = lower.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = lower.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = lower.strip_prefix("0b") {
        return radix(digits, 2);
    }
    let plain = lower.replace('_', "");
    if plain.bytes().all(|byte| byte.is_ascii_digit()) {
        let zeros = plain.starts_with('0') && plain.bytes().any(|byte| byte != b'0');
        return (!zeros && !plain.is_empty()).then(|| match plain.parse() {
            Ok(number) => Kind::Int(number),
            Err(_) => Kind::Str(plain.clone()),
        });
    }
    // An underscore must stand between two digits, and Rust's parser knows words Python does not.
    let between_digits = lower
        .as_bytes()
        .windows(3)
        .all(|window| window[1] != b'_' || (window[0].is_ascii_digit() && window[2].is_ascii_digit()));
    let only_numeric =
        plain.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-'));
    if !between_digits || !only_numeric {
        return None;
    }
    plain.parse().ok().map(Kind::Float)
}

fn key_text(key: &Value) -> Option<String> {
    match &key.kind {
        Kind::Str(text) => Some(text.clone()),
        Kind::Int(number) => Some(number.to_string()),
        Kind::Float(number) => Some(format!("{number:?}")),
        Kind::Bool(truth) => Some(truth.to_string()),
        Kind::Null => Some("null".to_owned()),
        _ => None,
    }
}

/// A text with its escapes replaced by what they stand for, as Python does; what is no escape
/// stays.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match escape(rest) {
            Some((chars, used)) => {
                out.extend(chars);
                rest = rest.char_indices().nth(used).map_or("", |(at, _)| &rest[at..]);
            }
            None => out.push('\\'),
        }
    }
    out.push_str(rest);
    out
}
