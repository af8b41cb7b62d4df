//! Jinja as Ansible's users know it: the engine with Ansible's filters, tests and lookups.

mod args;
mod code;
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

use minijinja::value::{StringInput, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};

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
    // In debug mode the engine looks every variable up once more when there is an error; with variables
    // that refer to each other that doubles the work at every step.
    environment.set_debug(false);
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
    if value.kind() == ValueKind::Invalid { Err(crate::convert::carried(&value)) } else { Ok(value) }
}

/// What the engine says about an error, without the name of the template. `source` is the text the
/// engine was given.
pub(crate) fn message(error: &Error, source: &str) -> String {
    let code =
        || Some(source.get(error.range()?)?.trim()).filter(|code| !code.is_empty()).map(prepare::as_written);
    match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, None) => match code() {
            Some(code) => format!("`{code}` is undefined"),
            None => "something in it is undefined".to_owned(),
        },
        (ErrorKind::UndefinedError, Some(detail)) => prepare::as_written(detail),
        (ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction, Some(detail)) => {
            detail.to_owned()
        }
        (ErrorKind::InvalidOperation, Some(detail)) => {
            let place = code().map(|code| format!(", in `{code}`"));
            format!("{}{}", prepare::as_written(detail), place.unwrap_or_default())
        }
        (kind, Some(detail)) => format!("{kind}: {}", prepare::as_written(detail)),
        (kind, None) => kind.to_string(),
    }
}

/// Whether an error comes from using something that is undefined.
pub(crate) fn is_about_undefined(error: &Error) -> bool {
    error.kind() == ErrorKind::UndefinedError
        || error.detail().is_some_and(|detail| detail.contains("undefined"))
}
