//! Jinja as Ansible's users know it: the engine with Ansible's filters, tests and lookups.

mod args;
mod data;
mod formats;
mod ipaddr;
mod lookup;
mod methods;
pub(crate) mod prepare;
mod python_regex;
mod scalars;
mod text;
mod version;
mod yaml_out;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::value::{StringInput, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use regex::Regex;

/// Steps a template may take before it is taken for one that never ends.
const FUEL: u64 = 20_000_000;

/// The engine, set up as Ansible sets up Jinja.
pub(crate) fn environment(variables: BTreeMap<String, String>) -> Environment<'static> {
    let mut environment = Environment::new();
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    syntax.trim_blocks(true);
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(format);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(120);
    environment.set_debug(true);
    environment.set_unknown_method_callback(methods::unknown);
    environment.add_function(prepare::AT, at);
    data::register(&mut environment);
    formats::register(&mut environment);
    ipaddr::register(&mut environment);
    lookup::register(&mut environment, variables);
    python_regex::register(&mut environment);
    scalars::register(&mut environment);
    text::register(&mut environment);
    version::register(&mut environment);
    environment
}

/// Prints a value into a text: nothing for `None`, an error for what is undefined.
fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => Ok(()),
        // What `x if y` is without an else is printed as nothing; this tells the two apart.
        ValueKind::Undefined => StringInput::new(state, value).map(|_| ()),
        ValueKind::Number if !value.is_integer() => {
            out.write_str(&scalars::python_text(value)).map_err(Error::from)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// An attribute of something that may be undefined: undefined then, and no error.
fn at(value: Value, key: Value) -> Result<Value, Error> {
    if value.is_undefined() || key.is_undefined() {
        return Ok(Value::UNDEFINED);
    }
    match value.get_item(&key) {
        Ok(found) => valid(found),
        Err(error) if error.kind() == ErrorKind::InvalidOperation => Err(error),
        Err(_) => Ok(Value::UNDEFINED),
    }
}

/// A value, or the error that it carries instead.
pub(crate) fn valid(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Invalid => match value.try_iter() {
            Err(error) => Err(error),
            Ok(_) => Err(Error::new(ErrorKind::InvalidOperation, "the value is not valid")),
        },
        _ => Ok(value),
    }
}

static LINK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"__at\(([^(),]+), (?:'(\w+)'|([^(),]+))\)").ok());

/// Code as it was written, before [`prepare`] rewrote it.
pub(crate) fn as_written(code: &str) -> String {
    let mut code = code.to_owned();
    let Some(link) = LINK.as_ref() else { return code };
    // Links nest from the inside out; code has fewer of them than characters.
    for _ in 0..code.len() {
        let next = link.replace_all(&code, |found: &regex::Captures<'_>| match (found.get(2), found.get(3)) {
            (Some(name), _) => format!("{}.{}", &found[1], name.as_str()),
            (None, key) => format!("{}[{}]", &found[1], key.map_or("", |key| key.as_str())),
        });
        if next == code {
            break;
        }
        code = next.into_owned();
    }
    code
}

/// What the engine says about an error, without the name of the template.
pub(crate) fn message(error: &Error) -> String {
    let code = || Some(error.template_source()?.get(error.range()?)?.trim().to_owned()).filter(|code| !code.is_empty());
    match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, None) => match code() {
            Some(code) => format!("`{}` is undefined", as_written(&code)),
            None => "something in it is undefined".to_owned(),
        },
        (ErrorKind::UndefinedError, Some(detail)) => as_written(detail),
        (kind, Some(detail)) => as_written(&format!("{kind}: {detail}")),
        (kind, None) => kind.to_string(),
    }
}
