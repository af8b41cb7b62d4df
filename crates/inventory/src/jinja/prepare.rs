//! Making a Jinja text written for Ansible ready for the engine.
//!
//! Four things differ between them and are settled by rewriting the code between the braces:
//! - Ansible lets one ask for an attribute of something undefined (`a.b.c | default(1)`), the
//!   engine's strict mode does not: every link becomes a call of `__at`.
//! - In a variable, backslashes in texts inside `{{ }}` are literal (YAML has read them once).
//! - Unknown escapes such as `'\.'` keep their backslash.
//! - Filters and tests may be named with their collection: `ansible.utils.ipaddr`.

use std::borrow::Cow;

use super::code::{Region, RegionKind, Token, TokenKind, end_of_raw, end_of_text, next_marker, tokens};

/// The function that [`prepare`] puts in for attributes of what may be undefined.
pub(crate) const AT: &str = "__at";
/// The filter that [`prepare`] puts in for `'text' % values`.
pub(crate) const PERCENT: &str = "__percent";

/// Links in a row that are rewritten; nobody writes that many.
const MAX_LINKS: usize = 100;

/// What kind of text is prepared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Backslashes {
    /// The value of a variable: backslashes in `{{ }}` are literal.
    Literal,
    /// A template file: backslashes escape, as in Jinja.
    Escape,
}

/// A text ready for the engine.
#[derive(Debug, PartialEq)]
pub(crate) struct Prepared {
    pub(crate) text: String,
    /// The expression, when the text is exactly one `{{ expression }}`.
    pub(crate) expression: Option<String>,
}

/// Rewrites a text. What cannot be read is left as it is, for the engine to complain about.
pub(crate) fn prepare(text: &str, backslashes: Backslashes) -> Prepared {
    let mut out = String::with_capacity(text.len() + 32);
    let mut expression = None;
    let mut rest = text;
    let mut single = true;
    while let Some(at) = next_marker(rest) {
        out.push_str(&rest[..at]);
        single &= at == 0 && out.is_empty();
        rest = &rest[at..];
        let Some(region) = Region::read(rest) else { break };
        let literal = backslashes == Backslashes::Literal && region.kind == RegionKind::Expression;
        match region.kind {
            RegionKind::Comment => out.push_str(region.whole),
            RegionKind::Expression | RegionKind::Block => {
                let code = rewrite_code(region.code, region.kind, literal);
                out.push_str(region.open);
                out.push(' ');
                out.push_str(&code);
                out.push(' ');
                out.push_str(region.close);
                // Jinja drops one newline at the end.
                let after = &rest[region.whole.len()..];
                let alone = single && region.kind == RegionKind::Expression && matches!(after, "" | "\n");
                expression = alone.then_some(code);
            }
        }
        rest = &rest[region.whole.len()..];
        single = false;
        if region.kind == RegionKind::Block && region.code.trim() == "raw" {
            let end = end_of_raw(rest);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Prepared { text: out, expression }
}

/// Code as it was written, before [`prepare`] rewrote it: `__at(a, 'b')` is `a.b` again.
pub(crate) fn as_written(code: &str) -> String {
    unwrapped(code, 0)
}

fn unwrapped(code: &str, depth: usize) -> String {
    // Each link is one level; prepare makes no more.
    if depth > MAX_LINKS {
        return code.to_owned();
    }
    let marker = format!("{AT}(");
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(&marker) {
        out.push_str(&rest[..at]);
        let inside = &rest[at + marker.len()..];
        let Some((base, key, end)) = two_arguments(inside) else {
            out.push_str(&marker);
            rest = inside;
            continue;
        };
        out.push_str(&unwrapped(base, depth + 1));
        let name = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\''));
        match name.filter(|name| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')) {
            Some(name) => out.extend([".", name]),
            None => out.push_str(&format!("[{}]", unwrapped(key, depth + 1))),
        }
        rest = &inside[end..];
    }
    out.push_str(rest);
    out
}

/// The two arguments of a call whose bracket is open, and where it ends.
fn two_arguments(text: &str) -> Option<(&str, &str, usize)> {
    let bytes = text.as_bytes();
    let (mut depth, mut comma, mut at) = (0usize, None, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' => {
                at += end_of_text(&text[at..])?;
                continue;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                let comma: usize = comma?;
                return Some((text[..comma].trim(), text[comma + 1..at].trim(), at + 1));
            }
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => comma = Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The names that the code of a text mentions: variables, filters, attributes, all alike.
pub(crate) fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = next_marker(rest) {
        rest = &rest[at..];
        let Some(region) = Region::read(rest) else { break };
        for token in tokens(region.code) {
            match token.kind {
                TokenKind::Name => names.push(token.text.to_owned()),
                // `lookup('vars', 'name')` and `hostvars[x]['name']` name variables in quotes.
                TokenKind::Text => names.push(token.text.trim_matches(['\'', '"']).to_owned()),
                _ => {}
            }
        }
        rest = &rest[region.whole.len()..];
    }
    names
}

fn rewrite_code(code: &str, kind: RegionKind, literal: bool) -> String {
    let tokens = tokens(code);
    let mut rewriter = Rewriter { tokens: &tokens, at: 0, literal, depth: 0 };
    let mut out = String::with_capacity(code.len() + 16);
    if kind == RegionKind::Block
        && let Some(tag) = tokens.first()
    {
        out.push_str(tag.text);
        rewriter.at = 1;
        if tag.text == "set" {
            rewriter.target(&mut out);
        }
    }
    while rewriter.at < tokens.len() {
        let before = rewriter.at;
        rewriter.until_close(&mut out);
        // A bracket too many: copy it.
        if let Some(token) = rewriter.peek() {
            rewriter.copy(token, &mut out);
        }
        debug_assert!(rewriter.at > before, "the rewriter moves on");
    }
    out.trim().to_owned()
}

/// Words that are operators, not names of values.
const OPERATORS: &[&str] = &["and", "or", "not", "in", "is", "if", "else"];

struct Rewriter<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    literal: bool,
    depth: usize,
}

impl<'a> Rewriter<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn peek_at(&self, ahead: usize) -> Option<&'a str> {
        self.tokens.get(self.at + ahead).map(|token| token.text)
    }

    /// What `set` assigns to, up to the `=`: it is no value that could be undefined.
    fn target(&mut self, out: &mut String) {
        while let Some(token) = self.peek().filter(|token| token.text != "=") {
            self.copy(token, out);
        }
    }

    fn copy(&mut self, token: Token<'a>, out: &mut String) {
        out.push_str(token.blank);
        match token.kind {
            TokenKind::Text => out.push_str(&quoted(token.text, self.literal)),
            _ => out.push_str(token.text),
        }
        self.at += 1;
    }

    /// Copies and rewrites up to a closing bracket of this level, which is left.
    fn until_close(&mut self, out: &mut String) {
        while let Some(token) = self.peek() {
            match token.text {
                ")" | "]" | "}" => return,
                "|" => {
                    self.copy(token, out);
                    self.plugin_name(out);
                }
                "is" => {
                    self.copy(token, out);
                    if let Some(not) = self.peek().filter(|token| token.text == "not") {
                        self.copy(not, out);
                    }
                    self.plugin_name(out);
                }
                _ if token.kind == TokenKind::Name && OPERATORS.contains(&token.text) => {
                    self.copy(token, out)
                }
                "(" | "[" | "{" => self.operand(out),
                _ if token.kind == TokenKind::Sign => self.copy(token, out),
                _ => self.operand(out),
            }
        }
    }

    /// The name of a filter or test: of `a.b.name` only the last part counts.
    fn plugin_name(&mut self, out: &mut String) {
        let Some(first) = self.peek().filter(|token| token.kind == TokenKind::Name) else { return };
        while self.peek_at(1) == Some(".")
            && self.tokens.get(self.at + 2).is_some_and(|token| token.kind == TokenKind::Name)
        {
            self.at += 2;
        }
        if let Some(token) = self.peek() {
            out.push_str(first.blank);
            out.push_str(token.text);
            self.at += 1;
        }
    }

    /// A value with its links and calls: `name.a['b'](c).d`.
    fn operand(&mut self, out: &mut String) {
        let Some(token) = self.peek() else { return };
        let mut operand = String::new();
        if matches!(token.text, "(" | "[" | "{") && token.kind == TokenKind::Sign {
            self.bracket(&mut operand);
        } else {
            self.copy(token, &mut operand);
        }
        let blank = &token.blank;
        let operand_start = blank.len();
        // A link may be asked of something undefined, except of what the engine itself makes.
        let engines_own = matches!(token.text, "loop" | "self" | "caller");
        let mut links = 0;
        while let Some(sign) = self.peek().filter(|_| links < MAX_LINKS) {
            let next_is_name = self
                .tokens
                .get(self.at + 1)
                .is_some_and(|token| matches!(token.kind, TokenKind::Name | TokenKind::Number));
            match sign.text {
                "." if next_is_name => {
                    let name = self.tokens[self.at + 1];
                    self.at += 2;
                    let called = self.peek_at(0) == Some("(");
                    if called || engines_own {
                        operand.push('.');
                        operand.push_str(name.text);
                    } else {
                        let key = if name.kind == TokenKind::Name {
                            Cow::Owned(format!("'{}'", name.text))
                        } else {
                            Cow::Borrowed(name.text)
                        };
                        wrap(&mut operand, operand_start, &key);
                    }
                    links += 1;
                }
                "[" => {
                    let mut bracket = String::new();
                    let slice = self.bracket(&mut bracket);
                    let inner = bracket.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
                    match inner {
                        Some(inner) if !engines_own && !slice => {
                            wrap(&mut operand, operand_start, inner.trim())
                        }
                        _ => operand.push_str(&bracket),
                    }
                    links += 1;
                }
                "(" => {
                    self.bracket(&mut operand);
                    links += 1;
                }
                _ => break,
            }
        }
        out.push_str(&operand);
        if token.kind == TokenKind::Text && links == 0 && self.peek_at(0) == Some("%") {
            self.percent(out);
        }
    }

    /// `'text' % value`, which the engine does not know.
    fn percent(&mut self, out: &mut String) {
        self.at += 1;
        let mut values = String::new();
        self.operand(&mut values);
        out.push('|');
        out.push_str(PERCENT);
        out.push('(');
        out.push_str(values.trim());
        out.push(')');
    }

    /// A bracket with all it holds. Whether it is a slice `[a:b]` is told.
    fn bracket(&mut self, out: &mut String) -> bool {
        let Some(open) = self.peek() else { return false };
        self.copy(open, out);
        self.depth += 1;
        let start = self.at;
        // Brackets nested this deep are not code that anybody wrote; copying needs no recursion.
        if self.depth > 64 {
            while let Some(token) = self.peek() {
                self.copy(token, out);
            }
        } else {
            self.until_close(out);
        }
        self.depth -= 1;
        let slice = open.text == "[" && self.has_colon(start);
        if let Some(close) = self.peek() {
            self.copy(close, out);
        }
        slice
    }

    /// Whether there is a colon of this level between a token and here.
    fn has_colon(&self, start: usize) -> bool {
        let mut depth = 0usize;
        self.tokens[start..self.at].iter().any(|token| {
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                ":" => return depth == 0,
                _ => {}
            }
            false
        })
    }
}

fn wrap(operand: &mut String, start: usize, key: &str) {
    operand.insert_str(start.min(operand.len()), &format!("{AT}("));
    operand.push_str(", ");
    operand.push_str(key);
    operand.push(')');
}

/// A quoted text as the engine reads it, with the content that Jinja would read.
fn quoted(token: &str, literal: bool) -> String {
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    let closed = token.len() >= 2 && token.starts_with(['\'', '"']) && token.ends_with(&token[..1]);
    if !closed || !inner.contains('\\') && !inner.contains('"') {
        return token.to_owned();
    }
    let content = if literal { inner.to_owned() } else { crate::literal::unescape(inner) };
    let mut out = String::with_capacity(content.len() + 8);
    out.push('"');
    for c in content.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(prepare(text, Backslashes::Literal).text, expected);
    }

    #[test]
    fn links_become_calls() {
        check("{{ a }}", "{{ a }}");
        check("{{ a.b.c }}", "{{ __at(__at(a, 'b'), 'c') }}");
        check("{{a['b'].c|default(1)}}", "{{ __at(__at(a, 'b'), 'c')|default(1) }}");
        check(
            "x {{ hostvars[groups['k'][0]].ip }} y",
            "x {{ __at(__at(hostvars, __at(__at(groups, 'k'), 0)), 'ip') }} y",
        );
        check("{{ a.b.items() }}", "{{ __at(a, 'b').items() }}");
        check("{{ a[1:2] }}", "{{ a[1:2] }}");
        check("{{ loop.index }}", "{{ loop.index }}");
        check("{% set ns.x = a.b %}", "{% set ns.x = __at(a, 'b') %}");
        check("{{ (a | b).c }}", "{{ __at((a | b), 'c') }}");
        check("{{ a.0 + 1.5 }}", "{{ __at(a, 0) + 1.5 }}");
    }

    #[test]
    fn collections_are_dropped() {
        check("{{ x | ansible.utils.ipaddr('net') }}", "{{ x | ipaddr('net') }}");
        check("{{ x is not ansible.builtin.version('1', '>') }}", "{{ x is not version('1', '>') }}");
    }

    #[test]
    fn backslashes_are_literal_in_expressions_only() {
        check(r"{{ x | regex_replace('(\d)', '\\1') }}", r#"{{ x | regex_replace("(\\d)", "\\\\1") }}"#);
        let block = prepare(r"{% if x is match('\.') %}", Backslashes::Literal).text;
        assert_eq!(block, r#"{% if x is match("\\.") %}"#);
        let file = prepare(r"{{ 'a\nb' }}", Backslashes::Escape).text;
        assert_eq!(file, r#"{{ "a\nb" }}"#);
    }

    #[test]
    fn one_expression_is_recognised() {
        let expression = |text| prepare(text, Backslashes::Literal).expression;
        assert_eq!(expression("{{ a.b }}").as_deref(), Some("__at(a, 'b')"));
        assert_eq!(expression("{{ {'a': {}} }}").as_deref(), Some("{'a': {}}"));
        assert_eq!(expression(" {{ a }}"), None);
        assert_eq!(expression("{{ a }}{{ b }}"), None);
        assert_eq!(expression("{{ a }}\n").as_deref(), Some("a"));
        assert_eq!(expression("{{ a }}\n\n"), None);
    }

    #[test]
    fn rewritten_code_can_be_shown_as_it_was() {
        for code in
            ["a.b", "a.b['c d'].e", "(a | b(1)).c", "a[b.c][0] + d.e", "x.y(z.w)", "a.b | f('(', \")\")"]
        {
            let prepared = prepare(&format!("{{{{ {code} }}}}"), Backslashes::Literal);
            assert_eq!(as_written(&prepared.expression.unwrap()), code);
        }
    }

    #[test]
    fn endless_chains_are_no_trouble() {
        let chain = format!("{{{{ a{} }}}}", ".b".repeat(20_000));
        let prepared = prepare(&chain, Backslashes::Literal);
        assert!(as_written(&prepared.text).len() <= chain.len());
        prepare(&"{{ ".repeat(50_000), Backslashes::Literal);
        prepare(&format!("{{{{ {} }}}}", "(".repeat(50_000)), Backslashes::Literal);
    }

    #[test]
    fn raw_and_comments_stay() {
        check("{% raw %}{{ a.b.c }}{% endraw %}{{ d }}", "{% raw %}{{ a.b.c }}{% endraw %}{{ d }}");
        check("{# a.b.c #}", "{# a.b.c #}");
    }

    #[test]
    fn percent_becomes_a_filter() {
        check("{{ '%s-%s' % (a, b) }}", "{{ '%s-%s'|__percent((a, b)) }}");
    }
}
