//! Variables given on the command line with `-e`. (`ansible/utils/vars.py`, `load_extra_vars`)

use std::path::Path;

use indexmap::IndexMap;

use crate::error::InventoryError;
use crate::layer::{Layer, LayerKind};
use crate::origin::{Origin, SourceText, Warning};
use crate::shlex;
use crate::value::{Kind, Value};
use crate::var_files;
use crate::vault::VaultSecrets;
use crate::yaml;

/// Reads one argument: `@file`, JSON or YAML that begins with `{` or `[`, else `key=value` words
/// whose values are texts.
pub(crate) fn parse(
    argument: &str,
    secrets: &VaultSecrets,
    warnings: &mut Vec<Warning>,
) -> Result<Layer, InventoryError> {
    if let Some(path) = argument.strip_prefix('@') {
        return var_files::read(Path::new(path), LayerKind::Extra, secrets, warnings);
    }
    let name = "-e".to_owned();
    let source = SourceText::new(name.clone(), argument);
    let whole = || Origin::new(&source, 1, 1);
    if argument.trim_start().starts_with(['{', '[']) {
        let document = yaml::parse(&source, argument, warnings)?;
        return match document.kind {
            Kind::Map(vars) => Ok(Layer { kind: LayerKind::Extra, name, vars }),
            _ => Err(InventoryError::syntax(whole(), "-e needs a mapping, key=value or @file")),
        };
    }
    let words = shlex::split(argument).map_err(|_| {
        InventoryError::syntax(whole(), "a quote is opened and not closed, or the text ends in a backslash")
    })?;
    let mut vars = IndexMap::new();
    for word in words {
        let Some((key, value)) = word.text.split_once('=') else {
            let message = format!("expected key=value, found \"{}\"", word.text);
            return Err(InventoryError::syntax(Origin::new(&source, 1, word.column + 1), message));
        };
        let origin = Origin::new(&source, 1, word.column + key.chars().count() + 2);
        vars.insert(key.to_owned(), Value::at(Kind::Str(value.to_owned()), origin));
    }
    Ok(Layer { kind: LayerKind::Extra, name, vars })
}
