//! From the text of a program to its tree.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use super::tree::{
    Command, Item, Join, Kind, List, Operation, Piece, Pipeline, Redirect, RedirectKind, Word,
};

/// What is no program: a text that was cut off, or something that the engine has not used so far.
#[derive(Debug)]
pub(crate) struct SyntaxError(pub String);

type Parsed<T> = Result<T, SyntaxError>;

struct Parser<'t> {
    text: &'t str,
    at: usize,
    /// How many marks there were.
    marks: usize,
}

/// A program: its lines, and why there is no further one where it breaks off.
#[derive(Debug)]
pub(crate) struct Program {
    pub lines: Vec<List>,
    pub error: Option<SyntaxError>,
}

/// Stands for a mark in the text of a program.
const MARK: char = '\u{e000}';

impl Program {
    /// A program, and its marks: the random numbers that the engine puts into everything it sends, by which alone many
    /// programs differ. So most were read before.
    pub(crate) fn read(text: &str) -> (Arc<Self>, Arc<Vec<String>>) {
        static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Program>>>> = LazyLock::new(Mutex::default);
        let (text, marks) = without_marks(text);
        let known = KNOWN.lock().unwrap().get(&text).cloned();
        let program = known.unwrap_or_else(|| {
            let mut parser = Parser::new(&text);
            let mut lines = Vec::new();
            let error = loop {
                match parser.line() {
                    Ok(Some(list)) => lines.push(list),
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            let program = Arc::new(Self { lines, error });
            if program.error.is_none() {
                KNOWN.lock().unwrap().insert(text, program.clone());
            }
            program
        });
        (program, Arc::new(marks))
    }
}

/// Sixteen digits of base 16 are what `engine::script::nonce` gives.
fn without_marks(text: &str) -> (String, Vec<String>) {
    let (mut out, mut marks) = (String::with_capacity(text.len()), Vec::new());
    let bytes = text.as_bytes();
    let is_word = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let (mut done, mut at) = (0, 0);
    while at < bytes.len() {
        let end = (at..).find(|end| !is_word(*end)).unwrap_or(bytes.len());
        let digits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if end - at == 16 && bytes[at..end].iter().all(digits) {
            out.push_str(&text[done..at]);
            out.push(MARK);
            marks.push(text[at..end].to_owned());
            done = end;
        }
        at = end + 1;
    }
    out.push_str(&text[done..]);
    (out, marks)
}

const ENDS: [&str; 9] = ["then", "elif", "else", "fi", "do", "done", "esac", "}", "in"];

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0, marks: 0 }
    }

    /// The commands up to the end of the line on which the last of them ends, as a shell reads its standard input. `None`
    /// at the end.
    fn line(&mut self) -> Parsed<Option<List>> {
        self.lines();
        if self.rest().is_empty() {
            return Ok(None);
        }
        let mut list = List::new();
        loop {
            list.push(self.item()?);
            self.blanks();
            if !self.skip(";") {
                // What a background command ends with was taken with it.
                if self.rest().is_empty() || self.rest().starts_with('\n') {
                    return Ok(Some(list));
                }
                if !list.last().is_some_and(|item| item.background) {
                    return self.wrong("the end of a line");
                }
            }
            self.blanks();
            if self.rest().is_empty() || self.rest().starts_with('\n') {
                return Ok(Some(list));
            }
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    fn wrong<T>(&self, wanted: &str) -> Parsed<T> {
        let found: String = self.rest().chars().take(60).collect();
        Err(SyntaxError(format!("{wanted} expected at {found:?}")))
    }

    fn expect(&mut self, what: &str) -> Parsed<()> {
        if self.skip(what) { Ok(()) } else { self.wrong(what) }
    }

    fn blanks(&mut self) {
        loop {
            if self.skip("\\\n") || self.skip(" ") || self.skip("\t") {
                continue;
            }
            if self.rest().starts_with('#') {
                self.at += self.rest().find('\n').unwrap_or(self.rest().len());
            }
            return;
        }
    }

    fn lines(&mut self) {
        loop {
            self.blanks();
            if !self.skip("\n") {
                return;
            }
        }
    }

    /// The reserved word that comes next.
    fn reserved(&self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic() && !"{}!".contains(c)).unwrap_or(rest.len());
        let whole = rest[end..].chars().next().is_none_or(|c| " \t\n;&|()<>".contains(c));
        if whole { &rest[..end] } else { "" }
    }

    fn keyword(&mut self, word: &str) -> Parsed<()> {
        self.lines();
        if self.reserved() != word {
            return self.wrong(word);
        }
        self.at += word.len();
        Ok(())
    }

    fn list(&mut self) -> Parsed<List> {
        let mut list = List::new();
        loop {
            self.lines();
            let rest = self.rest();
            if rest.is_empty() || rest.starts_with([')', ';']) || ENDS.contains(&self.reserved()) {
                return Ok(list);
            }
            list.push(self.item()?);
            self.blanks();
            if self.rest().starts_with(";;") {
                return Ok(list);
            }
            let ended = self.skip(";") || list.last().is_some_and(|item| item.background);
            if !ended && !self.rest().starts_with(['\n', ')']) {
                return self.wrong("the end of a command");
            }
        }
    }

    fn item(&mut self) -> Parsed<Item> {
        let mut chain = vec![(Join::First, self.pipeline()?)];
        loop {
            self.blanks();
            let join = match () {
                () if self.skip("&&") => Join::And,
                () if self.skip("||") => Join::Or,
                () => return Ok(Item { chain, background: self.skip("&") }),
            };
            self.lines();
            chain.push((join, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        self.blanks();
        let negated = self.reserved() == "!";
        if negated {
            self.at += 1;
        }
        let mut commands = vec![Arc::new(self.command()?)];
        loop {
            self.blanks();
            if self.rest().starts_with("||") || !self.skip("|") {
                return Ok(Pipeline { negated, commands });
            }
            self.lines();
            commands.push(Arc::new(self.command()?));
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        self.blanks();
        if self.skip("(") {
            let list = self.list()?;
            self.expect(")")?;
            return self.redirected(Kind::Subshell(Arc::new(list)));
        }
        let word = self.reserved();
        let kind = match word {
            "{" => {
                self.at += 1;
                let list = self.list()?;
                self.keyword("}")?;
                Kind::Group(Arc::new(list))
            }
            "if" => {
                let (mut arms, mut otherwise) = (Vec::new(), List::new());
                self.at += 2;
                loop {
                    let condition = self.list()?;
                    self.keyword("then")?;
                    arms.push((condition, self.list()?));
                    match self.reserved() {
                        "elif" => self.at += 4,
                        "else" => {
                            self.at += 4;
                            otherwise = self.list()?;
                            break;
                        }
                        _ => break,
                    }
                }
                self.keyword("fi")?;
                Kind::If { arms, otherwise }
            }
            "for" => {
                self.at += 3;
                self.blanks();
                let name = self.name().to_owned();
                self.lines();
                let mut words = None;
                if self.reserved() == "in" {
                    self.at += 2;
                    let mut list = Vec::new();
                    loop {
                        self.blanks();
                        if self.rest().starts_with([';', '\n']) || self.rest().is_empty() {
                            break;
                        }
                        list.push(self.word()?);
                    }
                    words = Some(list);
                }
                self.skip(";");
                self.keyword("do")?;
                let body = self.list()?;
                self.keyword("done")?;
                Kind::For { name, words, body }
            }
            "while" | "until" => {
                self.at += 5;
                let condition = self.list()?;
                self.keyword("do")?;
                let body = self.list()?;
                self.keyword("done")?;
                Kind::While { until: word == "until", condition, body }
            }
            "case" => self.case()?,
            _ => return self.simple(),
        };
        self.redirected(kind)
    }

    fn case(&mut self) -> Parsed<Kind> {
        self.at += 4;
        self.blanks();
        let word = self.word()?;
        self.keyword("in")?;
        let mut arms = Vec::new();
        loop {
            self.lines();
            if self.reserved() == "esac" {
                self.at += 4;
                return Ok(Kind::Case { word, arms });
            }
            self.skip("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?);
                self.blanks();
                if self.skip(")") {
                    break;
                }
                self.expect("|")?;
            }
            let body = self.list()?;
            arms.push((patterns, body));
            if !self.skip(";;") {
                self.keyword("esac")?;
                return Ok(Kind::Case { word, arms });
            }
        }
    }

    fn redirected(&mut self, kind: Kind) -> Parsed<Command> {
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => return Ok(Command { kind, redirects }),
            }
        }
    }

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let rest = self.rest();
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        if !rest[digits..].starts_with(['<', '>']) {
            return Ok(None);
        }
        let given = rest[..digits].parse().ok();
        self.at += digits;
        let (kind, fd) = match () {
            () if self.skip(">>") => (RedirectKind::Append, 1),
            () if self.skip(">&") => (RedirectKind::Duplicate, 1),
            () if self.skip("<&") => (RedirectKind::Duplicate, 0),
            () if self.skip(">") => (RedirectKind::Write, 1),
            () => {
                self.at += 1;
                (RedirectKind::Read, 0)
            }
        };
        if self.rest().starts_with('<') {
            return self.wrong("no here-document");
        }
        self.blanks();
        Ok(Some(Redirect { fd: given.unwrap_or(fd), kind, target: self.word()? }))
    }

    fn name(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let end = if rest.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { end };
        self.at += end;
        &rest[..end]
    }

    fn simple(&mut self) -> Parsed<Command> {
        let begin = self.at;
        let name = self.name();
        if !name.is_empty() && self.skip("()") {
            self.lines();
            let body = self.command()?;
            return Ok(Command { kind: Kind::Function(name.into(), Arc::new(body)), redirects: Vec::new() });
        }
        self.at = begin;
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if self.peek().is_none_or(|c| "\n;&|()".contains(c)) {
                break;
            }
            if words.is_empty() {
                let begin = self.at;
                let name = self.name();
                if !name.is_empty() && self.skip("=") {
                    assignments.push((name.to_owned(), self.word()?));
                    continue;
                }
                self.at = begin;
            }
            words.push(self.word()?);
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return self.wrong("a command");
        }
        Ok(Command { kind: Kind::Simple { assignments, words }, redirects })
    }

    /// A word; empty where none is, as after `name=`.
    fn word(&mut self) -> Parsed<Word> {
        self.pieces(|c| " \t\n;&|<>()".contains(c))
    }

    /// A text that stands for itself, but for marks in it.
    fn text(&mut self, word: &mut Word, text: &str, quoted: bool) {
        for (number, text) in text.split(MARK).enumerate() {
            if number > 0 {
                word.push(Piece::Mark { number: self.marks, quoted });
                self.marks += 1;
            }
            if number == 0 || !text.is_empty() {
                word.push(Piece::Text { text: text.to_owned(), quoted });
            }
        }
    }

    fn pieces(&mut self, ends: impl Fn(char) -> bool) -> Parsed<Word> {
        let mut word = Word::new();
        let mut plain = String::new();
        while let Some(c) = self.peek().filter(|c| !ends(*c)) {
            if !"'\"\\$`".contains(c) {
                plain.push(c);
                self.at += c.len_utf8();
                continue;
            }
            if !plain.is_empty() {
                self.text(&mut word, &std::mem::take(&mut plain), false);
            }
            self.at += 1;
            match c {
                '\'' => {
                    let Some(end) = self.rest().find('\'') else { return self.wrong("'") };
                    let text = &self.rest()[..end];
                    self.text(&mut word, text, true);
                    self.at += end + 1;
                }
                '\\' => {
                    let Some(c) = self.peek() else { return self.wrong("a character") };
                    self.at += c.len_utf8();
                    if c != '\n' {
                        word.push(Piece::Text { text: c.into(), quoted: true });
                    }
                }
                '"' => self.double_quoted(&mut word)?,
                '$' => word.push(self.dollar(false)?),
                _ => return self.wrong("no backquote"),
            }
        }
        if !plain.is_empty() {
            self.text(&mut word, &plain, false);
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Parsed<()> {
        let mut text = String::new();
        // Also an empty text makes a word.
        let mut pieces = 0;
        loop {
            let Some(c) = self.peek() else { return self.wrong("\"") };
            self.at += c.len_utf8();
            match c {
                '"' => break,
                '\\' if self.rest().starts_with(['$', '"', '\\', '`']) => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                '\\' if self.rest().starts_with('\n') => self.at += 1,
                '$' => {
                    if !text.is_empty() {
                        self.text(word, &std::mem::take(&mut text), true);
                    }
                    word.push(self.dollar(true)?);
                    pieces += 1;
                }
                '`' => return self.wrong("no backquote"),
                c => text.push(c),
            }
        }
        if !text.is_empty() || pieces == 0 {
            self.text(word, &text, true);
        }
        Ok(())
    }

    /// What follows a dollar sign.
    fn dollar(&mut self, quoted: bool) -> Parsed<Piece> {
        if self.skip("((") {
            let (mut depth, mut end) = (0, 0);
            for (at, c) in self.rest().char_indices() {
                depth += i32::from(c == '(') - i32::from(c == ')');
                end = at;
                if depth < 0 {
                    break;
                }
            }
            if !self.rest()[end..].starts_with("))") {
                return self.wrong("))");
            }
            let word = Parser::new(&self.rest()[..end]).pieces(|_| false)?;
            self.at += end + 2;
            return Ok(Piece::Sum { word, quoted });
        }
        if self.skip("(") {
            let list = Arc::new(self.list()?);
            self.expect(")")?;
            return Ok(Piece::Output { list, quoted });
        }
        let braces = self.skip("{");
        let length = braces && self.rest().len() > 1 && !self.rest().starts_with("#}") && self.skip("#");
        let name = self.parameter(braces);
        if name.is_empty() {
            return if braces {
                self.wrong("a parameter")
            } else {
                Ok(Piece::Text { text: "$".into(), quoted })
            };
        }
        let mut operation = length.then(|| (Operation::Length, Word::new()));
        if braces && !self.skip("}") {
            let which = match () {
                () if self.skip("##") => Operation::LongestPrefix,
                () if self.skip("#") => Operation::ShortestPrefix,
                () if self.skip("%%") => Operation::LongestSuffix,
                () if self.skip("%") => Operation::ShortestSuffix,
                () if self.skip(":-") => Operation::Default,
                () if self.skip(":+") => Operation::Alternative,
                () => return self.wrong("a known expansion"),
            };
            operation = Some((which, self.pieces(|c| c == '}')?));
            self.expect("}")?;
        }
        Ok(Piece::Parameter { name, operation, quoted })
    }

    fn parameter(&mut self, braces: bool) -> String {
        let rest = self.rest();
        let name = self.name();
        if !name.is_empty() {
            return name.to_owned();
        }
        let digits = rest.chars().take_while(char::is_ascii_digit).count().min(if braces { 3 } else { 1 });
        let special = usize::from(digits == 0 && rest.starts_with(['@', '#', '?', '$', '!', '*']));
        self.at += digits + special;
        rest[..digits + special].to_owned()
    }
}
