//! Lookups: values from outside the variables.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind as IoErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use minijinja::value::Tuple;
use minijinja::{Environment, Error, ErrorKind, State, Value};
use rand::Rng;

use super::args::{Rest, entries, invalid, is_list, items, split};
use crate::shlex;

const KNOWN: &str = "dict, env, file, flattened, indexed_items, items, list, nested, password, pipe, \
                     random_choice, sequence, subelements, together, vars, varnames";

pub(super) fn register(environment: &mut Environment<'_>, variables: BTreeMap<String, String>) {
    let variables = Arc::new(variables);
    let for_query = Arc::clone(&variables);
    environment.add_function("lookup", move |state: &mut State, name: String, rest: Rest| {
        lookup(state, &variables, &name, rest)
    });
    for alias in ["query", "q"] {
        let variables = Arc::clone(&for_query);
        environment.add_function(alias, move |state: &mut State, name: String, rest: Rest| {
            let (terms, named) = split(rest.into_values())?;
            Ok::<_, Error>(Value::from(run(state, &variables, &name, &terms, &options(named))?))
        });
    }
}

type Options = BTreeMap<String, Value>;

fn options(named: Vec<(String, Value)>) -> Options {
    named.into_iter().collect()
}

/// What a lookup found: several texts joined by commas, one value as itself.
fn lookup(
    state: &mut State,
    variables: &BTreeMap<String, String>,
    name: &str,
    rest: Rest,
) -> Result<Value, Error> {
    let (terms, named) = split(rest.into_values())?;
    let options = options(named);
    let lenient =
        options.get("errors").is_some_and(|errors| matches!(errors.as_str(), Some("ignore" | "warn")));
    let found = match run(state, variables, name, &terms, &options) {
        Ok(found) => found,
        Err(_) if lenient => return Ok(Value::from(())),
        Err(error) => return Err(error),
    };
    if options.get("wantlist").is_some_and(Value::is_true) {
        return Ok(found.into());
    }
    if found.iter().all(|item| item.as_str().is_some()) {
        let texts: Vec<&str> = found.iter().filter_map(Value::as_str).collect();
        return Ok(Value::from(texts.join(",")));
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => Ok(found.into()),
    }
}

fn run(
    state: &mut State,
    variables: &BTreeMap<String, String>,
    name: &str,
    terms: &[Value],
    options: &Options,
) -> Result<Vec<Value>, Error> {
    let name = name.strip_prefix("ansible.builtin.").unwrap_or(name);
    for term in terms {
        super::args::defined(&format!("lookup {name}"), term)?;
    }
    let default = options.get("default");
    match name {
        "env" => Ok(terms
            .iter()
            .map(|term| match variables.get(&term.to_string()) {
                Some(value) => Value::from(value.as_str()),
                None => default.cloned().unwrap_or_else(|| Value::from("")),
            })
            .collect()),
        "vars" => terms
            .iter()
            .map(|term| {
                let found = state.lookup(&term.to_string()).filter(|found| !found.is_undefined());
                match found.or_else(|| default.cloned()) {
                    Some(found) => super::valid(found),
                    None => {
                        Err(Error::new(ErrorKind::UndefinedError, format!("there is no variable \"{term}\"")))
                    }
                }
            })
            .collect(),
        "varnames" => varnames(state, terms),
        "password" => {
            terms.iter().map(|term| password(state, &term.to_string(), options).map(Value::from)).collect()
        }
        "file" => terms.iter().map(|term| file(state, &term.to_string()).map(Value::from)).collect(),
        "pipe" => terms.iter().map(|term| pipe(&term.to_string()).map(Value::from)).collect(),
        "items" | "flattened" => flat(terms, name == "flattened"),
        "list" => Ok(terms.to_vec()),
        "dict" => {
            let mut pairs = Vec::new();
            for term in terms {
                for (key, value) in entries("lookup dict", term)? {
                    pairs.push(Value::from_pairs([("key", key), ("value", value)]));
                }
            }
            Ok(pairs)
        }
        "indexed_items" => {
            let pair = |(at, item)| Value::from(Tuple::new(vec![Value::from(at), item]));
            Ok(flat(terms, false)?.into_iter().enumerate().map(pair).collect())
        }
        "nested" | "cartesian" => {
            let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
            for list in terms {
                let list = items("lookup nested", list)?;
                if rows.len().saturating_mul(list.len()) > 100_000 {
                    return Err(invalid("lookup nested: too many combinations"));
                }
                rows = rows
                    .iter()
                    .flat_map(|row| {
                        list.iter().map(|item| [row.as_slice(), std::slice::from_ref(item)].concat())
                    })
                    .collect();
            }
            Ok(rows.into_iter().map(Value::from).collect())
        }
        "together" => {
            let lists: Vec<Vec<Value>> =
                terms.iter().map(|list| items("lookup together", list)).collect::<Result<_, _>>()?;
            let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
            let row = |at: usize| -> Vec<Value> {
                lists.iter().map(|list| list.get(at).cloned().unwrap_or(Value::from(()))).collect()
            };
            Ok((0..longest).map(|at| Value::from(row(at))).collect())
        }
        "subelements" => match terms {
            [elements, path, ..] => {
                items("lookup subelements", &super::data::subelements(elements, path, false)?)
            }
            _ => Err(invalid("lookup subelements needs elements and a path")),
        },
        "random_choice" => {
            let all = flat(terms, false)?;
            Ok(all.get(rand::rng().random_range(0..all.len().max(1))).cloned().into_iter().collect())
        }
        "sequence" => {
            let mut all = Vec::new();
            for term in terms {
                all.extend(sequence(&term.to_string(), options)?);
            }
            Ok(all)
        }
        other => Err(invalid(format!("the lookup \"{other}\" is not supported; supported are {KNOWN}"))),
    }
}

fn flat(terms: &[Value], deep: bool) -> Result<Vec<Value>, Error> {
    let mut all = Vec::new();
    let mut open: Vec<(Value, usize)> = terms.iter().rev().map(|term| (term.clone(), 0)).collect();
    while let Some((item, depth)) = open.pop() {
        if is_list(&item) && (deep || depth == 0) {
            open.extend(items("lookup items", &item)?.into_iter().rev().map(|item| (item, depth + 1)));
        } else {
            all.push(item);
        }
        if all.len() + open.len() > 1_000_000 {
            return Err(invalid("lookup items: too many items"));
        }
    }
    Ok(all)
}

fn varnames(state: &State, terms: &[Value]) -> Result<Vec<Value>, Error> {
    // The engine's own list would resolve every variable.
    let known: Vec<String> = match state.lookup("vars") {
        Some(vars) => vars.try_iter()?.map(|name| name.to_string()).collect(),
        None => Vec::new(),
    };
    let mut names = Vec::new();
    for term in terms {
        let pattern = regex::Regex::new(&term.to_string()).map_err(|error| {
            invalid(format!("lookup varnames: \"{term}\" is not a regular expression: {error}"))
        })?;
        names.extend(
            known.iter().filter(|name| pattern.is_match(name)).map(|name| Value::from(name.as_str())),
        );
    }
    Ok(names)
}

/// `start=1 end=10 stride=2 format=n%02d count=5`, or `1-10/2:n%02d`.
fn sequence(term: &str, options: &Options) -> Result<Vec<Value>, Error> {
    let (mut start, mut end, mut count, mut stride, mut format) = (1, None, None, 1, "%d".to_owned());
    let mut set = |key: &str, value: &str| -> Result<(), Error> {
        let number = || {
            value.parse::<i64>().map_err(|_| invalid(format!("lookup sequence: \"{value}\" is no number")))
        };
        match key {
            "start" => start = number()?,
            "end" => end = Some(number()?),
            "count" => count = Some(number()?),
            "stride" => stride = number()?,
            "format" => format = value.to_owned(),
            other => return Err(invalid(format!("lookup sequence: unknown word \"{other}\""))),
        }
        Ok(())
    };
    for word in term.split_whitespace() {
        match word.split_once('=') {
            Some((key, value)) => set(key, value)?,
            None => {
                let (range, form) =
                    word.split_once(':').map_or((word, None), |(range, form)| (range, Some(form)));
                let (range, step) =
                    range.split_once('/').map_or((range, None), |(range, step)| (range, Some(step)));
                match range.split_once('-') {
                    Some((first, last)) => {
                        set("start", first)?;
                        set("end", last)?;
                    }
                    None => set("end", range)?,
                }
                if let Some(step) = step {
                    set("stride", step)?;
                }
                if let Some(form) = form {
                    set("format", form)?;
                }
            }
        }
    }
    for key in ["start", "end", "count", "stride", "format"] {
        if let Some(value) = options.get(key) {
            set(key, &value.to_string())?;
        }
    }
    let end = match (end, count) {
        (Some(end), _) => end,
        (None, Some(count)) => start + (count - 1) * stride,
        (None, None) => return Err(invalid("lookup sequence needs an end or a count")),
    };
    if stride == 0 || (end - start).unsigned_abs() / stride.unsigned_abs() > 1_000_000 {
        return Err(invalid("lookup sequence: the numbers never end, or there are too many"));
    }
    let mut all = Vec::new();
    let mut number = start;
    while if stride > 0 { number <= end } else { number >= end } {
        let style = minijinja::formatting::FormatStyle::Printf;
        all.push(Value::from(minijinja::formatting::format(style, &format, &[Value::from(number)])?));
        number += stride;
    }
    Ok(all)
}

/// Relative paths are looked for beside the playbook (`files/` first), then where the program runs.
fn find(state: &State, path: &str) -> PathBuf {
    let playbook = state.lookup("playbook_dir").and_then(|dir| dir.as_str().map(PathBuf::from));
    let candidates = playbook.iter().flat_map(|dir| [dir.join("files").join(path), dir.join(path)]);
    candidates.into_iter().find(|candidate| candidate.exists()).unwrap_or_else(|| PathBuf::from(path))
}

fn file(state: &State, path: &str) -> Result<String, Error> {
    let path = find(state, path);
    let text = fs::read_to_string(&path)
        .map_err(|error| invalid(format!("cannot read {}: {error}", path.display())))?;
    Ok(text.trim_end().to_owned())
}

/// The output of a command run on this machine.
fn pipe(command: &str) -> Result<String, Error> {
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .output()
        .map_err(|error| invalid(format!("lookup pipe: cannot run \"{command}\": {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(invalid(format!(
            "lookup pipe: \"{command}\" failed ({}): {}",
            output.status,
            said.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// A password kept in a file: read when the file exists, else made and written.
/// The term is `path length=20 chars=ascii_letters,digits`.
fn password(state: &State, term: &str, options: &Options) -> Result<String, Error> {
    let wrong = |message: String| invalid(format!("lookup password: {message}"));
    let words = shlex::split(term).map_err(|_| wrong(format!("a quote in \"{term}\" is not closed")))?;
    let mut path = Vec::new();
    let mut settings: BTreeMap<String, String> =
        options.iter().map(|(key, value)| (key.clone(), setting_text(value))).collect();
    for word in words {
        match word.text.split_once('=') {
            Some((key @ ("length" | "chars" | "encrypt" | "ident" | "seed"), value)) => {
                settings.insert(key.to_owned(), value.to_owned());
            }
            Some((key, _)) if !path.is_empty() => return Err(wrong(format!("unknown setting \"{key}\""))),
            _ => path.push(word.text),
        }
    }
    for key in ["encrypt", "seed"] {
        if settings.contains_key(key) {
            return Err(wrong(format!("the setting \"{key}\" is not supported")));
        }
    }
    let path = path.join(" ");
    let length = match settings.get("length") {
        Some(length) => length.parse().map_err(|_| wrong(format!("the length \"{length}\" is no number")))?,
        None => 20,
    };
    let chars = characters(settings.get("chars").map_or("ascii_letters,digits,.,,:-_", String::as_str));
    if chars.is_empty() || length > 10_000 {
        return Err(wrong("there is nothing to choose from, or the length is too large".to_owned()));
    }
    let make = || -> String {
        let mut random = rand::rng();
        (0..length).map(|_| chars[random.random_range(0..chars.len())]).collect()
    };
    if path == "/dev/null" {
        return Ok(make());
    }
    let path = match state.lookup("playbook_dir").and_then(|dir| dir.as_str().map(PathBuf::from)) {
        Some(dir) => dir.join(path),
        None => PathBuf::from(path),
    };
    stored(&path, make).map_err(|error| wrong(format!("{}: {error}", path.display())))
}

fn setting_text(value: &Value) -> String {
    match value.try_iter() {
        Ok(list) if value.as_str().is_none() => {
            list.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
        }
        _ => value.to_string(),
    }
}

/// The characters that names of Python's `string` module and literal texts stand for; `,,` is a
/// comma.
fn characters(setting: &str) -> Vec<char> {
    let mut chars: Vec<char> = if setting.contains(",,") { vec![','] } else { Vec::new() };
    for part in setting.replace(",,", ",").split(',').filter(|part| !part.is_empty()) {
        match part {
            "ascii_letters" | "letters" => chars.extend(('a'..='z').chain('A'..='Z')),
            "ascii_lowercase" => chars.extend('a'..='z'),
            "ascii_uppercase" => chars.extend('A'..='Z'),
            "digits" => chars.extend('0'..='9'),
            "hexdigits" => chars.extend(('0'..='9').chain('a'..='f').chain('A'..='F')),
            "octdigits" => chars.extend('0'..='7'),
            "punctuation" => chars.extend("!#$%&()*+,-./:;<=>?@[\\]^_`{|}~".chars()),
            literal => chars.extend(literal.chars().filter(|c| !matches!(c, '"' | '\''))),
        }
    }
    chars
}

/// Reads the password of a file, or writes one. Several threads and programs may ask at the same
/// time: the file appears complete and under its name only once (link fails when it is there).
fn stored(path: &Path, make: impl Fn() -> String) -> std::io::Result<String> {
    let read = || -> std::io::Result<String> {
        let content = fs::read_to_string(path)?;
        let content = content.trim_end();
        Ok(content.rsplit_once(" salt=").map_or(content, |(password, _)| password).to_owned())
    };
    match read() {
        Err(error) if error.kind() == IoErrorKind::NotFound => {}
        found => return found,
    }
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let password = make();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{:016x}", rand::rng().random::<u64>()));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
            writeln!(file, "{password}")?;
            file.sync_all()
        });
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    match linked {
        Ok(()) => removed.map(|()| password),
        Err(error) if error.kind() == IoErrorKind::AlreadyExists => read(),
        Err(error) => Err(error),
    }
}
