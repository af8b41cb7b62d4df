//! What the environment of this process says: variables, the home directory, the current folder, what the terminal can show.
//! It is read here and nowhere below the command line.

use std::path::Path;

pub(crate) use muster_app::Environment;

/// The variable that says behind which words a command that is proposed reaches the machines: they are those of a lab.
pub(crate) const THROUGH: &str = "MUSTER_THROUGH";

/// That of this process. Variables that are not UTF-8 are passed over: none that matters may be.
pub(crate) fn of_process() -> Environment {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let variables = std::env::vars_os().filter_map(text).collect();
    Environment::new(variables, std::env::home_dir(), std::env::current_dir().ok())
}

/// The name that this program was called by: that of the file, without its folder.
pub(crate) fn program_name() -> Option<String> {
    Some(Path::new(&std::env::args_os().next()?).file_name()?.to_str()?.to_owned())
}

/// A path as a user would type it: relative where it is below the current folder.
pub(crate) fn shown(path: &Path) -> String {
    muster_app::shown(path, std::env::current_dir().ok().as_deref())
}

/// Whether the locale's characters are UTF-8 (POSIX: `LC_ALL` wins over `LC_CTYPE` over `LANG`).
pub(crate) fn is_utf8(environment: &Environment) -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| environment.get(name)).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Whether colours are unwanted (<https://no-color.org>, and Ansible's variable for the same).
pub(crate) fn no_color(environment: &Environment) -> bool {
    let ansible = environment
        .get("ANSIBLE_NOCOLOR")
        .is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"));
    ansible || environment.get("NO_COLOR").is_some() || environment.get("TERM") == Some("dumb")
}

/// One with these variables, for tests.
#[cfg(test)]
pub(crate) fn with(variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment::new(variables.collect(), None, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let is_utf8 = |variables: &[_]| super::is_utf8(&with(variables));
        assert!(is_utf8(&[("LANG", "de_DE.UTF-8")]));
        assert!(!is_utf8(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]));
        assert!(is_utf8(&[("LC_ALL", ""), ("LANG", "C.utf8")]));
        assert!(!is_utf8(&[]));
    }
}
