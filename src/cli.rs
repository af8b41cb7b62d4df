//! What was typed, as one of the commands.

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgMatches, CommandFactory, Parser};

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

/// What names the inventory in what was typed this time: `-i`, its path; nothing where it is found without.
pub(crate) fn typed_inventory() -> Vec<String> {
    inventory_in(std::env::args_os().collect())
}

fn inventory_in(arguments: Vec<OsString>) -> Vec<String> {
    let name = arguments.first().and_then(|name| Path::new(name).file_name()?.to_str()).unwrap_or_default();
    let own = own_programs().into_iter().find(|program| program.name == name);
    let program = own.map_or_else(Muster::command, |program| program.command);
    let Ok(matches) = program.try_get_matches_from(arguments) else { return Vec::new() };
    let mut innermost: &ArgMatches = &matches;
    while let Some((_, inner)) = innermost.subcommand() {
        innermost = inner;
    }
    let given = innermost.try_get_many::<String>("inventory").ok().flatten().into_iter().flatten();
    given.flat_map(|path| ["-i".to_owned(), path.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inventory_is_found_in_what_was_typed() {
        let typed = |text: &str| inventory_in(text.split(' ').map(OsString::from).collect());
        assert_eq!(typed("/usr/bin/setup-cluster -i a --inventory=b --check"), ["-i", "a", "-i", "b"]);
        assert_eq!(typed("muster certs check -i a"), ["-i", "a"]);
        assert_eq!(typed("muster plan -i a reset-cluster"), ["-i", "a"]);
        for without in ["setup-cluster", "muster bundle check", "muster --help", "muster nonsense -i a"] {
            assert!(typed(without).is_empty(), "{without}");
        }
    }
}
