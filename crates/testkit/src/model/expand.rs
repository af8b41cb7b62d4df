//! Words and what becomes of them: parameters, output of commands, fields, names of files, patterns.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::builtins;
use super::shell::{Done, Shell, Stop};
use super::streams::Fd;
use super::tree::{List, Operation, Piece, Word};

/// A part of a word after its expansion.
enum Part {
    Text {
        text: String,
        quoted: bool,
    },
    /// What an expansion outside of quotes gave: it is split at white space.
    Loose(String),
    /// Between the parameters of `"$@"`.
    Break,
}

/// A character of a pattern, and whether it stands for itself.
pub(crate) type Pattern = Vec<(char, bool)>;

impl Shell {
    /// Runs the command substitutions in words, whose output is then there for their expansion. So all that expands words
    /// need not wait.
    pub(crate) async fn substitute(&mut self, words: &[Word]) -> Done<()> {
        self.outputs.clear();
        let mut outputs = VecDeque::new();
        for piece in words.iter().flatten() {
            match piece {
                Piece::Output { list, .. } => outputs.push_back(self.output(list).await?),
                Piece::Sum { word, .. } => {
                    for piece in word {
                        if let Piece::Output { list, .. } = piece {
                            outputs.push_back(self.output(list).await?);
                        }
                    }
                }
                Piece::Parameter { operation: Some((_, word)), .. }
                    if word.iter().any(|piece| matches!(piece, Piece::Output { .. })) =>
                {
                    self.wrong("a command substitution within ${...}");
                }
                _ => {}
            }
        }
        self.outputs = outputs;
        Ok(())
    }

    async fn output(&mut self, list: &List) -> Done<String> {
        let pipe = Arc::new(Mutex::new(Vec::new()));
        self.substituted = self.subshell(list, Some(Fd::Pipe(pipe.clone()))).await?;
        let text = String::from_utf8_lossy(&pipe.lock().unwrap()).into_owned();
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// A word as one text: in assignments, redirections and `case`.
    pub(crate) fn value(&mut self, word: &Word) -> Done<String> {
        if let [Piece::Text { text, .. }] = word.as_slice() {
            return Ok(text.clone());
        }
        let mut value = String::new();
        for part in self.parts(word)? {
            match part {
                Part::Text { text, .. } | Part::Loose(text) => value.push_str(&text),
                Part::Break => value.push(' '),
            }
        }
        Ok(value)
    }

    pub(crate) fn pattern(&mut self, word: &Word) -> Done<Pattern> {
        let mut pattern = Pattern::new();
        for part in self.parts(word)? {
            match part {
                Part::Text { text, quoted } => pattern.extend(text.chars().map(|c| (c, quoted))),
                Part::Loose(text) => pattern.extend(text.chars().map(|c| (c, false))),
                Part::Break => pattern.push((' ', true)),
            }
        }
        Ok(pattern)
    }

    /// Words as a command sees them.
    pub(crate) fn fields(&mut self, words: &[Word]) -> Done<Vec<String>> {
        let mut fields = Vec::new();
        for word in words {
            if let [Piece::Text { text, quoted }] = word.as_slice()
                && (*quoted || !text.contains(['*', '?', '[']) || text == "[")
            {
                fields.push(text.clone());
                continue;
            }
            let mut field: Option<Vec<(String, bool)>> = None;
            let parts = self.parts(word)?;
            for part in parts {
                match part {
                    Part::Text { text, quoted } => field.get_or_insert_default().push((text, quoted)),
                    Part::Break => self.end_field(&mut field, &mut fields),
                    Part::Loose(text) => {
                        if text.starts_with(char::is_whitespace) {
                            self.end_field(&mut field, &mut fields);
                        }
                        for (number, word) in text.split_whitespace().enumerate() {
                            if number > 0 {
                                self.end_field(&mut field, &mut fields);
                            }
                            field.get_or_insert_default().push((word.to_owned(), false));
                        }
                        if text.ends_with(char::is_whitespace) {
                            self.end_field(&mut field, &mut fields);
                        }
                    }
                }
            }
            self.end_field(&mut field, &mut fields);
        }
        Ok(fields)
    }

    /// A field that is a pattern becomes the names that match, or stays as it is.
    fn end_field(&self, field: &mut Option<Vec<(String, bool)>>, fields: &mut Vec<String>) {
        let Some(parts) = field.take() else { return };
        let text: String = parts.iter().map(|(text, _)| text.as_str()).collect();
        if text != "[" && parts.iter().any(|(text, quoted)| !quoted && text.contains(['*', '?', '['])) {
            let pattern: Pattern =
                parts.iter().flat_map(|(text, quoted)| text.chars().map(|c| (c, *quoted))).collect();
            let names = self.names(&pattern);
            if !names.is_empty() {
                fields.extend(names);
                return;
            }
        }
        fields.push(text);
    }

    fn names(&self, pattern: &Pattern) -> Vec<String> {
        let mut found = vec![String::new()];
        for part in pattern.split(|(c, _)| *c == '/').skip(1) {
            let literal = !part.iter().any(|(c, quoted)| !quoted && "*?[".contains(*c));
            let mut next = Vec::new();
            for folder in found {
                if literal {
                    next.push(folder + "/" + &part.iter().map(|(c, _)| c).collect::<String>());
                    continue;
                }
                let names = self.machine.names(&folder);
                let names = names.iter().filter(|name| !name.starts_with('.') && matches(part, name));
                next.extend(names.map(|name| format!("{folder}/{name}")));
            }
            found = next;
        }
        let state = self.machine.state();
        found.retain(|path| path.starts_with("/proc/") || state.kept.disk.entry(path).is_some());
        found
    }

    fn parts(&mut self, word: &Word) -> Done<Vec<Part>> {
        let mut parts = Vec::with_capacity(word.len());
        for piece in word {
            match piece {
                Piece::Text { text, quoted } => {
                    parts.push(Part::Text { text: text.clone(), quoted: *quoted })
                }
                Piece::Mark { number, quoted } => {
                    parts.push(Part::Text { text: self.marks[*number].clone(), quoted: *quoted });
                }
                Piece::Parameter { name, operation: None, quoted: true } if name == "@" => {
                    for (number, text) in self.arguments.iter().enumerate() {
                        if number > 0 {
                            parts.push(Part::Break);
                        }
                        parts.push(Part::Text { text: text.clone(), quoted: true });
                    }
                }
                Piece::Parameter { name, operation, quoted } => {
                    let value = self.parameter(name);
                    let value = match operation {
                        None => self.set(name, value)?,
                        Some((operation, word)) => self.operation(*operation, name, value, word)?,
                    };
                    parts.push(part(value, *quoted));
                }
                Piece::Output { quoted, .. } => {
                    let text = self.outputs.pop_front().unwrap_or_default();
                    parts.push(part(text, *quoted));
                }
                Piece::Sum { word, quoted } => parts.push(part(self.sum(word)?, *quoted)),
            }
        }
        Ok(parts)
    }

    fn parameter(&self, name: &str) -> Option<String> {
        if let Ok(number) = name.parse::<usize>() {
            return match number {
                0 => Some(self.name.to_string()),
                number => self.arguments.get(number - 1).cloned(),
            };
        }
        match name {
            "#" => Some(self.arguments.len().to_string()),
            "?" => Some(self.status.to_string()),
            "$" => Some(self.process.pid.to_string()),
            "!" => Some(self.background.to_string()),
            "@" | "*" => Some(self.arguments.join(" ")),
            name => self.variables.get(name).cloned(),
        }
    }

    /// A parameter that must be set under `set -u`.
    fn set(&mut self, name: &str, value: Option<String>) -> Done<String> {
        if value.is_none() && self.nounset {
            self.say(&format!("{name}: parameter not set"))?;
            return Err(Stop::Exit(2));
        }
        Ok(value.unwrap_or_default())
    }

    fn operation(
        &mut self,
        operation: Operation,
        name: &str,
        value: Option<String>,
        word: &Word,
    ) -> Done<String> {
        if operation == Operation::Default {
            return match value.filter(|value| !value.is_empty()) {
                Some(value) => Ok(value),
                None => self.value(word),
            };
        }
        if operation == Operation::Alternative {
            let is_empty = value.is_none_or(|value| value.is_empty());
            return if is_empty { Ok(String::new()) } else { self.value(word) };
        }
        let value = self.set(name, value)?;
        if operation == Operation::Length {
            return Ok(value.chars().count().to_string());
        }
        let pattern = self.pattern(word)?;
        let prefix = matches!(operation, Operation::ShortestPrefix | Operation::LongestPrefix);
        let places = || value.char_indices().map(|(at, _)| at).chain([value.len()]);
        let fits = |at: &usize| matches(&pattern, if prefix { &value[..*at] } else { &value[*at..] });
        let is_star = |c: Option<&(char, bool)>| matches!(c, Some(('*', false)));
        let literal = |pattern: &[(char, bool)]| -> Option<String> {
            pattern.iter().map(|(c, quoted)| (*quoted || !"*?[".contains(*c)).then_some(*c)).collect()
        };
        let found = match operation {
            // The most frequent ones are found without a search: `%x`, `##*x` and `%x*`.
            Operation::ShortestSuffix if let Some(text) = literal(&pattern) => {
                value.strip_suffix(&text).map(str::len)
            }
            Operation::LongestPrefix
                if is_star(pattern.first())
                    && let Some(text) = literal(&pattern[1..]) =>
            {
                value.rfind(&text).map(|at| at + text.len())
            }
            Operation::ShortestSuffix
                if is_star(pattern.last())
                    && let Some(text) = literal(&pattern[..pattern.len() - 1]) =>
            {
                value.rfind(&text)
            }
            Operation::ShortestPrefix | Operation::LongestSuffix => places().find(fits),
            _ => places().rev().find(fits),
        };
        Ok(match found {
            None => value,
            Some(at) if prefix => value[at..].to_owned(),
            Some(at) => value[..at].to_owned(),
        })
    }

    fn sum(&mut self, word: &Word) -> Done<String> {
        let text = self.value(word)?;
        let variables = &self.variables;
        match builtins::arithmetic(&text, &|name| variables.get(name).cloned()) {
            Ok(value) => Ok(value.to_string()),
            Err(why) => {
                self.say(&why)?;
                Err(Stop::Exit(2))
            }
        }
    }
}

fn part(text: String, quoted: bool) -> Part {
    if quoted { Part::Text { text, quoted } } else { Part::Loose(text) }
}

/// Whether a text as a whole is what a pattern describes.
pub(crate) fn matches(pattern: &[(char, bool)], text: &str) -> bool {
    let Some(((c, quoted), rest)) = pattern.split_first() else { return text.is_empty() };
    let mut chars = text.chars();
    if !quoted && *c == '*' {
        return (text.char_indices().map(|(at, _)| at).chain([text.len()]))
            .any(|at| matches(rest, &text[at..]));
    }
    let Some(first) = chars.next() else { return false };
    if !quoted
        && *c == '['
        && let Some(end) = rest.iter().position(|(c, _)| *c == ']')
    {
        let (set, rest) = (&rest[..end], &rest[end + 1..]);
        let (negated, set) = match set.split_first() {
            Some((('!', _), set)) => (true, set),
            _ => (false, set),
        };
        let set: Vec<char> = set.iter().map(|(c, _)| *c).collect();
        let within = match set.as_slice() {
            [from, '-', to] => (*from..=*to).contains(&first),
            set => set.contains(&first),
        };
        return within != negated && matches(rest, chars.as_str());
    }
    (*c == first || !quoted && *c == '?') && matches(rest, chars.as_str())
}
