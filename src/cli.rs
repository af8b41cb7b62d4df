//! What was typed, as one of the commands.

use std::ffi::OsString;
use std::path::Path;

use clap::Parser;

use crate::commands::{Command, Muster, own_programs};

/// What was typed, the program's own name first.
///
/// # Errors
/// It cannot be understood; or it was `--help` or `--version`, whose answer is the error.
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Command, clap::Error> {
    let name = arguments.first().and_then(|name| Path::new(name).file_name()?.to_str()).unwrap_or_default();
    match own_programs().into_iter().find(|program| program.name == name) {
        Some(program) => (program.read)(&program.command.try_get_matches_from(arguments)?),
        None => Muster::try_parse_from(arguments).map(|program| program.command),
    }
}
