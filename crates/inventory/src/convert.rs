//! Values of this crate and values of the template engine, one as the other.

use indexmap::IndexMap;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value as Engine};

use crate::value::{Kind, Value};

/// Nested deeper than any data; guards the stack.
const MAX_DEPTH: usize = 150;

/// A value without templates for the engine. Encrypted text must have been decrypted before.
pub(crate) fn plain_to_engine(kind: &Kind) -> Engine {
    match kind {
        Kind::Null => Engine::from(()),
        Kind::Bool(truth) => Engine::from(*truth),
        Kind::Int(number) => Engine::from(*number),
        Kind::Float(number) => Engine::from(*number),
        Kind::Str(text) | Kind::Raw(text) => Engine::from(text.as_str()),
        Kind::Vault(vault) => Engine::from(vault.ciphertext()),
        Kind::List(items) => items.iter().map(|item| plain_to_engine(&item.kind)).collect::<Vec<_>>().into(),
        Kind::Map(map) => {
            Engine::from_pairs(map.iter().map(|(key, item)| (key.as_str(), plain_to_engine(&item.kind))))
        }
    }
}

/// What a template made of a value: never a template again. Fails for what is no data, such as a
/// function or something undefined.
pub(crate) fn from_engine(value: &Engine) -> Result<Value, Error> {
    from_nested(value, 0)
}

fn from_nested(value: &Engine, depth: usize) -> Result<Value, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::new(ErrorKind::InvalidOperation, "the value is nested too deeply"));
    }
    let kind = match value.kind() {
        ValueKind::None => Kind::Null,
        ValueKind::Bool => Kind::Bool(value.is_true()),
        ValueKind::Number if value.is_integer() => match value.as_i64() {
            Some(number) => Kind::Int(number),
            None => Kind::Raw(value.to_string()),
        },
        ValueKind::Number => Kind::Float(f64::try_from(value.clone())?),
        ValueKind::String => Kind::Raw(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Bytes => {
            Kind::Raw(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Result<Vec<Value>, Error> =
                value.try_iter()?.map(|item| from_nested(&item, depth + 1)).collect();
            Kind::List(items?)
        }
        ValueKind::Map => {
            let mut map = IndexMap::new();
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                map.insert(key_text(&key), from_nested(&item, depth + 1)?);
            }
            Kind::Map(map)
        }
        ValueKind::Undefined => {
            return Err(Error::new(ErrorKind::UndefinedError, "a part of the value is undefined"));
        }
        ValueKind::Invalid => return Err(carried(value)),
        _ if value.is_undefined() => return Err(Error::from(ErrorKind::UndefinedError)),
        other => {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("{other} is no data")));
        }
    };
    Ok(kind.into())
}

/// A key as text, spelled as Python's `json` spells keys.
fn key_text(key: &Engine) -> String {
    match key.kind() {
        ValueKind::Bool => key.is_true().to_string(),
        ValueKind::None => "null".to_owned(),
        _ => key.to_string(),
    }
}

/// The result of an expression as data that can be kept: lazy sequences are run, and something
/// undefined inside is an error now, not when it is used.
pub(crate) fn unrolled(value: Engine) -> Result<Engine, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::Invalid => {
            Ok(plain_to_engine(&from_engine(&value)?.kind))
        }
        ValueKind::Plain => Err(Error::new(ErrorKind::InvalidOperation, "the value is a function, not data")),
        _ => Ok(value),
    }
}

/// The error that a value carries which is not valid.
pub(crate) fn carried(value: &Engine) -> Error {
    // The engine hands it out only where it writes values as JSON.
    let json = minijinja::filters::tojson(value, None, Kwargs::from_iter(Vec::<(String, Engine)>::new()));
    let Err(error) = json else { return Error::new(ErrorKind::InvalidOperation, "the value is not valid") };
    let own = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Error>());
    let (kind, detail) = match own {
        Some(own) => (own.kind(), own.detail().unwrap_or_default().to_owned()),
        None => (error.kind(), error.to_string()),
    };
    Error::new(kind, detail).with_source(error)
}
