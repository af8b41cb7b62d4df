//! Arguments of filters and lookups as Python binds them: by position or by name.

use std::collections::HashMap;

use minijinja::value::{Kwargs, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, Value};

use crate::value::bool_of_text;

/// All arguments from here on, those given by name in the last one.
pub(super) type Rest = minijinja::value::Rest<ValueOrKwargs>;

/// Arguments after the first, bound to their names.
pub(super) struct Args {
    what: &'static str,
    values: HashMap<&'static str, Value>,
}

impl Args {
    /// Binds arguments to names, in the order of the names.
    pub(super) fn bind(
        what: &'static str,
        names: &[&'static str],
        arguments: Vec<Value>,
    ) -> Result<Self, Error> {
        let (positional, named) = split(arguments)?;
        let mut args = Self { what, values: HashMap::new() };
        if positional.len() > names.len() {
            return Err(args.error(ErrorKind::TooManyArguments, "too many arguments"));
        }
        args.values.extend(names.iter().copied().zip(positional));
        for (name, value) in named {
            let Some(known) = names.iter().find(|known| **known == name) else {
                return Err(args.error(ErrorKind::TooManyArguments, &format!("unknown argument {name}")));
            };
            args.values.insert(known, value);
        }
        Ok(args)
    }

    pub(super) fn error(&self, kind: ErrorKind, message: &str) -> Error {
        Error::new(kind, format!("{}: {message}", self.what))
    }

    /// An argument that was given and is not none.
    pub(super) fn get(&mut self, name: &str) -> Result<Option<Value>, Error> {
        match self.values.remove(name) {
            Some(value) if value.is_undefined() => {
                Err(self.error(ErrorKind::UndefinedError, &format!("the argument {name} is undefined")))
            }
            Some(value) if value.is_none() => Ok(None),
            other => Ok(other),
        }
    }

    pub(super) fn need(&mut self, name: &str) -> Result<Value, Error> {
        self.get(name)?
            .ok_or_else(|| self.error(ErrorKind::MissingArgument, &format!("the argument {name} is missing")))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.get(name)?.map(|value| value.to_string()))
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, Error> {
        Ok(self.get(name)?.map_or(default, |value| value.is_true()))
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<i64>, Error> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
        match number {
            Some(number) => Ok(Some(number)),
            None => {
                Err(self.error(ErrorKind::InvalidOperation, &format!("the argument {name} must be a number")))
            }
        }
    }
}

/// Arguments given by name.
pub(super) type Named = Vec<(String, Value)>;

/// Positional arguments and those with a name.
pub(super) fn split(mut values: Vec<Value>) -> Result<(Vec<Value>, Named), Error> {
    let mut named = Vec::new();
    if values.last().is_some_and(Value::is_kwargs)
        && let Some(last) = values.pop()
    {
        let kwargs = Kwargs::try_from(last)?;
        for name in kwargs.args() {
            named.push((name.to_owned(), kwargs.peek::<Value>(name)?));
        }
    }
    Ok((values, named))
}

/// A value that must be given.
pub(super) fn defined(what: &str, value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, format!("{what} is given something undefined")));
    }
    Ok(())
}

/// The text of a value that is one, or of anything else as Python prints it.
pub(super) fn text(what: &str, value: &Value) -> Result<String, Error> {
    defined(what, value)?;
    Ok(value.to_string())
}

/// The items of a list.
pub(super) fn items(what: &str, value: &Value) -> Result<Vec<Value>, Error> {
    defined(what, value)?;
    value
        .try_iter()
        .map_err(|_| {
            Error::new(ErrorKind::InvalidOperation, format!("{what} needs a list, this is {}", kind(value)))
        })?
        .checked()
        .collect()
}

pub(super) fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

pub(super) fn kind(value: &Value) -> String {
    match value.kind() {
        ValueKind::None => "nothing".to_owned(),
        ValueKind::Map => "a mapping".to_owned(),
        ValueKind::Seq | ValueKind::Iterable => "a list".to_owned(),
        ValueKind::String => "a text".to_owned(),
        ValueKind::Bool => "a boolean".to_owned(),
        ValueKind::Number => "a number".to_owned(),
        other => other.to_string(),
    }
}

/// A mapping as its entries.
pub(super) fn entries(what: &str, value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    defined(what, value)?;
    if value.kind() != ValueKind::Map {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{what} needs a mapping, this is {}", kind(value)),
        ));
    }
    value.try_iter()?.map(|key| value.get_item(&key).map(|item| (key, item))).collect()
}

pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// What a module argument that is a boolean may be.
pub(super) fn boolean(value: &Value) -> bool {
    match value.as_str() {
        Some(text) => bool_of_text(text).unwrap_or(true),
        None => value.is_true(),
    }
}
