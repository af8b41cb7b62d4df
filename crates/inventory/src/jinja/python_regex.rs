//! Regular expressions as Python's `re` understands them.

use fancy_regex::{Captures, Regex};
use minijinja::value::Tuple;
use minijinja::{Environment, Error, Value};

use super::args::{Args, Rest, invalid, split, text};

pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("regex_replace", regex_replace);
    environment.add_filter("regex_search", regex_search);
    environment.add_filter("regex_findall", regex_findall);
    environment.add_filter("regex_escape", regex_escape);
    environment.add_test("match", |value: Value, rest: Rest| test(&value, rest, Anchor::Start));
    environment.add_test("search", |value: Value, rest: Rest| test(&value, rest, Anchor::Anywhere));
    environment.add_test("regex", |value: Value, rest: Rest| test(&value, rest, Anchor::Anywhere));
}

#[derive(Clone, Copy, PartialEq)]
enum Anchor {
    Start,
    Anywhere,
}

fn compile(pattern: &str, ignore_case: bool, multi_line: bool, anchor: Anchor) -> Result<Regex, Error> {
    let flags = match (ignore_case, multi_line) {
        (true, true) => "(?im)",
        (true, false) => "(?i)",
        (false, true) => "(?m)",
        (false, false) => "",
    };
    let pattern_text = translate(pattern);
    let full = match anchor {
        Anchor::Start => format!(r"{flags}\A(?:{pattern_text})"),
        Anchor::Anywhere => format!("{flags}{pattern_text}"),
    };
    Regex::new(&full).map_err(|error| invalid(format!("\"{pattern}\" is not a regular expression: {error}")))
}

/// Spells a Python pattern so that the engine reads it the same way: inside brackets `[`, `&&` and
/// `~~` are plain characters, `\Z` is the very end, and a brace that starts no count is plain.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut class_start: Option<usize> = None;
    let mut rest = pattern;
    while let Some(c) = chars.next() {
        rest = &rest[c.len_utf8()..];
        match (c, class_start) {
            ('\\', _) => {
                let Some(next) = chars.next() else {
                    out.push('\\');
                    break;
                };
                rest = &rest[next.len_utf8()..];
                match next {
                    'Z' => out.push_str(r"\z"),
                    // Python allows escaping what needs none.
                    '/' | '"' | '\'' | ':' | '=' | '!' | '%' | ',' | ';' | '@' | '`' | '_' | '<' | '>'
                    | ' ' | '-'
                        if !(next == '-' && class_start.is_some()) =>
                    {
                        out.push(next);
                    }
                    _ => out.extend(['\\', next]),
                }
            }
            ('[', None) => {
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    rest = &rest[1..];
                    out.push('^');
                }
                class_start = Some(out.len());
            }
            (']', Some(start)) if out.len() > start => {
                class_start = None;
                out.push(']');
            }
            ('[' | ']' | '&' | '~', Some(_)) => out.extend(['\\', c]),
            ('{', None) if !is_count(rest) => out.push_str(r"\{"),
            (c, _) => out.push(c),
        }
    }
    out
}

/// Whether `{` is followed by a count: `2}`, `2,}`, `,3}`.
fn is_count(rest: &str) -> bool {
    rest.split_once('}').is_some_and(|(inside, _)| {
        !inside.is_empty()
            && inside != ","
            && inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
    })
}

fn run<T>(result: Result<T, fancy_regex::Error>) -> Result<T, Error> {
    result.map_err(|error| invalid(format!("the regular expression cannot be run: {error}")))
}

fn regex_replace(value: Value, rest: Rest) -> Result<String, Error> {
    const NAMES: &[&str] = &["pattern", "replacement", "ignorecase", "multiline", "count", "mandatory_count"];
    let value = text("regex_replace", &value)?;
    let mut args = Args::bind("regex_replace", NAMES, rest.into_values())?;
    let pattern = args.text("pattern")?.unwrap_or_default();
    let replacement = args.text("replacement")?.unwrap_or_default();
    let regex =
        compile(&pattern, args.flag("ignorecase", false)?, args.flag("multiline", false)?, Anchor::Anywhere)?;
    let limit = args.number("count")?.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let replacement = Replacement::parse(&replacement, &regex)?;
    let mut out = String::with_capacity(value.len());
    let mut copied = 0;
    let mut count = 0;
    for found in matches(&regex, &value)? {
        if limit > 0 && count == limit {
            break;
        }
        count += 1;
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&value[copied..whole.start()]);
        replacement.expand(&found, &mut out);
        copied = whole.end();
    }
    out.push_str(&value[copied..]);
    match args.number("mandatory_count")? {
        Some(wanted) if wanted > 0 && usize::try_from(wanted).ok() != Some(count) => Err(invalid(format!(
            "regex_replace: \"{pattern}\" must match {wanted} times, but matches {count} times in \"{value}\""
        ))),
        _ => Ok(out),
    }
}

/// All matches as Python finds them: an empty match may follow another match directly, but two
/// empty ones may not be at the same place.
fn matches<'a>(regex: &Regex, value: &'a str) -> Result<Vec<Captures<'a, str>>, Error> {
    let mut all = Vec::new();
    let mut at = 0;
    let mut empty_at = None;
    while at <= value.len() {
        let Some(found) = run(regex.captures_from_pos(value, at))? else { break };
        let Some(whole) = found.get(0) else { break };
        if whole.range().is_empty() && empty_at == Some(whole.start()) {
            at = next_char(value, whole.start());
            empty_at = None;
            continue;
        }
        at = whole.end();
        if whole.range().is_empty() {
            empty_at = Some(whole.end());
        }
        all.push(found);
    }
    Ok(all)
}

fn next_char(value: &str, at: usize) -> usize {
    at + value[at..].chars().next().map_or(1, char::len_utf8)
}

/// A replacement: texts and groups, written `\1`, `\g<1>`, `\g<name>`.
struct Replacement(Vec<Part>);

enum Part {
    Text(String),
    Group(usize),
}

impl Replacement {
    fn parse(text: &str, regex: &Regex) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            parts.push(Part::Text(rest[..at].to_owned()));
            rest = &rest[at + 1..];
            let Some(c) = rest.chars().next() else {
                return Err(invalid("the replacement ends in a backslash"));
            };
            let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
            if let Some((name, after)) = rest.strip_prefix("g<").and_then(|rest| rest.split_once('>')) {
                parts.push(Part::Group(group(regex, name)?));
                rest = after;
            } else if digits > 0 && !rest.starts_with('0') {
                parts.push(Part::Group(group(regex, &rest[..digits])?));
                rest = &rest[digits..];
            } else {
                let plain = match c {
                    'n' => "\n".to_owned(),
                    't' => "\t".to_owned(),
                    'r' => "\r".to_owned(),
                    '0' => "\0".to_owned(),
                    '\\' => "\\".to_owned(),
                    c if c.is_ascii_alphabetic() => {
                        return Err(invalid(format!("the replacement has the unknown escape \\{c}")));
                    }
                    c => format!("\\{c}"),
                };
                parts.push(Part::Text(plain));
                rest = &rest[c.len_utf8()..];
            }
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    fn expand(&self, found: &Captures<'_, str>, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(number) => out.push_str(found.get(*number).map_or("", |group| group.as_str())),
            }
        }
    }
}

/// The number of a group that is named or numbered.
fn group(regex: &Regex, name: &str) -> Result<usize, Error> {
    let number = match name.parse::<usize>() {
        Ok(number) => Some(number).filter(|number| *number < regex.captures_len()),
        Err(_) => regex.capture_names().position(|known| known == Some(name)),
    };
    number.ok_or_else(|| invalid(format!("the regular expression has no group \"{name}\"")))
}

fn regex_search(value: Value, rest: Rest) -> Result<Value, Error> {
    let value = text("regex_search", &value)?;
    let (positional, named) = split(rest.into_values())?;
    let mut flags = (false, false);
    for (name, value) in named {
        match name.as_str() {
            "ignorecase" => flags.0 = value.is_true(),
            "multiline" => flags.1 = value.is_true(),
            _ => {}
        }
    }
    let Some((pattern, wanted)) = positional.split_first() else {
        return Err(invalid("regex_search needs a pattern"));
    };
    let regex = compile(&pattern.to_string(), flags.0, flags.1, Anchor::Anywhere)?;
    let Some(found) = run(regex.captures(&value))? else { return Ok(Value::from(())) };
    let of_group =
        |number: usize| found.get(number).map_or(Value::from(()), |group| Value::from(group.as_str()));
    if wanted.is_empty() {
        return Ok(of_group(0));
    }
    let mut groups = Vec::new();
    for reference in wanted {
        let reference = reference.to_string();
        let name = reference
            .strip_prefix("\\g<")
            .and_then(|name| name.strip_suffix('>'))
            .or_else(|| reference.strip_prefix('\\'))
            .ok_or_else(|| {
                invalid(format!("regex_search: \"{reference}\" names no group (\\1 or \\g<name>)"))
            })?;
        groups.push(of_group(group(&regex, name)?));
    }
    Ok(groups.into())
}

fn regex_findall(value: Value, rest: Rest) -> Result<Value, Error> {
    let value = text("regex_findall", &value)?;
    let mut args = Args::bind("regex_findall", &["regex", "multiline", "ignorecase"], rest.into_values())?;
    let pattern = args.need("regex")?.to_string();
    let regex =
        compile(&pattern, args.flag("ignorecase", false)?, args.flag("multiline", false)?, Anchor::Anywhere)?;
    let group = |found: &Captures<'_, str>, number: usize| {
        Value::from(found.get(number).map_or("", |group| group.as_str()))
    };
    let all = matches(&regex, &value)?;
    let shown = |found: &Captures<'_, str>| match regex.captures_len() {
        1 => group(found, 0),
        2 => group(found, 1),
        count => Value::from(Tuple::new((1..count).map(|number| group(found, number)).collect())),
    };
    Ok(all.iter().map(shown).collect::<Vec<_>>().into())
}

fn regex_escape(value: Value, rest: Rest) -> Result<String, Error> {
    let value = text("regex_escape", &value)?;
    let mut args = Args::bind("regex_escape", &["re_type"], rest.into_values())?;
    let special = match args.text("re_type")?.as_deref() {
        None | Some("python") => "\\.^$*+?{}[]|()-&~# \t\n\r\x0b\x0c",
        Some("posix_basic") => "].[^$*\\",
        Some(other) => return Err(invalid(format!("regex_escape: the type {other} is not known"))),
    };
    Ok(value.chars().flat_map(|c| special.contains(c).then_some('\\').into_iter().chain([c])).collect())
}

fn test(value: &Value, rest: Rest, anchor: Anchor) -> Result<bool, Error> {
    let value = text("the test", value)?;
    let mut args =
        Args::bind("match", &["pattern", "ignorecase", "multiline", "match_type"], rest.into_values())?;
    let pattern = args.text("pattern")?.unwrap_or_default();
    let (ignore_case, multi_line) = (args.flag("ignorecase", false)?, args.flag("multiline", false)?);
    let anchor = match args.text("match_type")?.as_deref() {
        Some("match") => Anchor::Start,
        Some("fullmatch") => {
            let regex = compile(&format!("(?:{pattern})\\Z"), ignore_case, multi_line, Anchor::Start)?;
            return run(regex.is_match(&value));
        }
        _ => anchor,
    };
    run(compile(&pattern, ignore_case, multi_line, anchor)?.is_match(&value))
}
