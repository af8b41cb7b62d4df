//! The code in a Jinja text: where it is, and what it is made of.

/// Where the next region opens.
pub(super) fn next_marker(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].find('{') {
        let at = from + at;
        if matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Where the block `endraw` begins.
pub(super) fn end_of_raw(text: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("{%") {
        let at = from + at;
        let code = text[at + 2..].trim_start_matches(['-', '+']).trim_start();
        if code.starts_with("endraw") {
            return at;
        }
        from = at + 2;
    }
    text.len()
}

/// What a region is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum RegionKind {
    Expression,
    Block,
    Comment,
}

/// `{{ code }}`, `{% code %}` or `{# ... #}`.
pub(super) struct Region<'a> {
    pub(super) kind: RegionKind,
    pub(super) whole: &'a str,
    /// The opening mark with its white space control: `{{-`.
    pub(super) open: &'a str,
    pub(super) code: &'a str,
    pub(super) close: &'a str,
}

impl<'a> Region<'a> {
    /// Reads the region a text starts with; `None` when it is not closed.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (kind, close) = match text.get(..2)? {
            "{{" => (RegionKind::Expression, "}}"),
            "{%" => (RegionKind::Block, "%}"),
            _ => (RegionKind::Comment, "#}"),
        };
        let open = if matches!(text.as_bytes().get(2), Some(b'-' | b'+')) { 3 } else { 2 };
        let end = match kind {
            RegionKind::Comment => 2 + text[2..].find(close)?,
            _ => open + end_of_code(&text[open..], close)?,
        };
        let code = &text[open.min(end)..end];
        let control = usize::from(kind != RegionKind::Comment && code.ends_with(['-', '+']));
        let code = &code[..code.len() - control];
        Some(Self {
            kind,
            whole: &text[..end + 2],
            open: &text[..open.min(end)],
            code,
            close: &text[end - control..end + 2],
        })
    }
}

/// Where the closing mark of a region is: outside texts and braces.
fn end_of_code(code: &str, close: &str) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut braces = 0usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' => at += end_of_text(&code[at..])?,
            b'}' if braces > 0 => {
                braces -= 1;
                at += 1;
            }
            _ if bytes[at..].starts_with(close.as_bytes()) => return Some(at),
            b'{' => {
                braces += 1;
                at += 1;
            }
            _ => at += 1,
        }
    }
    None
}

/// The length of the quoted text that starts here.
pub(super) fn end_of_text(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum TokenKind {
    Name,
    Text,
    Number,
    Sign,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    /// White space before it.
    pub(super) blank: &'a str,
}

/// The tokens of a piece of code; anything that is none is a sign.
pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = code;
    loop {
        let trimmed = rest.trim_start();
        let blank = &rest[..rest.len() - trimmed.len()];
        let Some(first) = trimmed.chars().next() else { return tokens };
        let (kind, length) = match first {
            '\'' | '"' => (TokenKind::Text, end_of_text(trimmed).unwrap_or(trimmed.len())),
            c if c.is_alphabetic() || c == '_' => (
                TokenKind::Name,
                trimmed.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(trimmed.len()),
            ),
            c if c.is_ascii_digit() => (TokenKind::Number, number_length(trimmed)),
            c => (TokenKind::Sign, c.len_utf8()),
        };
        let (text, after) = trimmed.split_at(length);
        tokens.push(Token { kind, text, blank });
        rest = after;
    }
}

/// `1.5` is one number, but in `a.0.b` the dots are links; a digit must follow the dot.
fn number_length(text: &str) -> usize {
    let digits =
        |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let whole = digits(text);
    match text[whole..].strip_prefix('.') {
        Some(fraction) if fraction.starts_with(|c: char| c.is_ascii_digit()) => whole + 1 + digits(fraction),
        _ => whole,
    }
}
