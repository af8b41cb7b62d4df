//! What was typed, as one of the commands.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, Parser};

use crate::commands::{Command, Muster, own_programs, words_of};

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

/// What was probably meant by something that cannot be understood: the version of an upgrade is a variable, not an argument.
pub(crate) fn hint(answer: &clap::Error, arguments: &[OsString]) -> Option<String> {
    const UPGRADE: &str = "upgrade-cluster";
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let is_upgrade = words.iter().any(|word| word.rsplit('/').next() == Some(UPGRADE));
    let has_version = words.iter().any(|word| word.contains("kube_version"));
    if answer.kind() != ErrorKind::UnknownArgument || !is_upgrade || has_version {
        return None;
    }
    let is_version = |text: &&str| {
        let parts: Vec<&str> = text.split('.').collect();
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
    };
    let values = words.iter().filter_map(|word| word.rsplit('=').next());
    let version = values.map(|value| value.trim_start_matches('v')).find(is_version)?;
    Some(format!("the version is a variable: {} -e kube_version={version}", words_of(UPGRADE)))
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
    fn whoever_types_the_version_of_an_upgrade_is_told_where_it_stands() {
        let hint = |text: &str| {
            let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
            hint(&parse(words.clone()).unwrap_err(), &words)
        };
        let told = "the version is a variable: muster upgrade-cluster -e kube_version=1.37.2";
        for typed in [
            "/usr/bin/upgrade-cluster 1.37.2",
            "upgrade-cluster v1.37.2",
            "muster upgrade-cluster --kube-version 1.37.2",
            "muster upgrade-cluster --kube-version=1.37.2",
        ] {
            assert_eq!(hint(typed).as_deref(), Some(told), "{typed}");
        }
        for typed in
            ["upgrade-cluster node1", "upgrade-cluster --frce -e kube_version=1.37.2", "muster --help"]
        {
            assert_eq!(hint(typed), None, "{typed}");
        }
    }

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
