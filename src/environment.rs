//! What the environment says: variables, the home directory, the terminal's abilities. It is read here and nowhere below
//! the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use muster_inventory::{AnsibleSettings, InventoryError, config_paths};

use crate::error::CommandError;

/// Environment variables and what follows from them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
    ansible: OnceLock<Result<AnsibleSettings, InventoryError>>,
}

impl Environment {
    /// That of this process. Variables that are not UTF-8 are passed over: none that matters may be.
    pub(crate) fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let variables = std::env::vars_os().filter_map(text).collect();
        Self { variables, home: std::env::home_dir(), ansible: OnceLock::new() }
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable that names a path, `~` in front expanded.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(|text| self.expand_home(text))
    }

    /// What ansible.cfg says, and Ansible's variables, which win over it. Read when first asked for.
    ///
    /// # Errors
    /// A file cannot be read, or a value is not what its setting takes.
    pub(crate) fn ansible(&self) -> Result<&AnsibleSettings, CommandError> {
        let settings = self.ansible.get_or_init(|| {
            let here = std::env::current_dir().unwrap_or_default();
            let config = config_paths(&self.variables, &here).into_iter().find(|path| path.is_file());
            let text = config.as_ref().map(|path| {
                std::fs::read_to_string(path).map_err(|error| InventoryError::Read {
                    path: path.display().to_string(),
                    reason: error.to_string(),
                })
            });
            let config = config.as_deref().zip(text.transpose()?);
            AnsibleSettings::read(
                config.as_ref().map(|(path, text)| (*path, text.as_str())),
                &self.variables,
                &here,
            )
        });
        settings.as_ref().map_err(|error| error.clone().into())
    }

    /// All variables, for `lookup('env', ...)`.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        self.variables.clone()
    }

    /// The home directory.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.as_deref().filter(|home| home.is_absolute())
    }

    /// `~/x` as a path below the home directory; anything else as it is.
    pub(crate) fn expand_home(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), self.home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        }
    }

    /// Where things are kept so that nothing is fetched or built twice: `MUSTER_CACHE_DIR`, else muster's folder in the
    /// user's cache (XDG Base Directory Specification).
    ///
    /// # Errors
    /// There is no home directory.
    pub(crate) fn cache_dir(&self) -> Result<PathBuf, CommandError> {
        if let Some(dir) = self.path("MUSTER_CACHE_DIR") {
            return Ok(dir);
        }
        let base = self.path("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let base = base.or_else(|| self.home().map(|home| home.join(".cache")));
        base.map(|base| base.join("muster")).ok_or_else(|| {
            CommandError::failed("there is no home directory to keep a cache in")
                .hint("set HOME, or MUSTER_CACHE_DIR to a folder")
        })
    }

    /// The login name of whoever runs this.
    pub(crate) fn user(&self) -> &str {
        self.get("LOGNAME").or_else(|| self.get("USER")).unwrap_or("root")
    }

    /// Whether the locale's characters are UTF-8 (POSIX: `LC_ALL` wins over `LC_CTYPE` over `LANG`).
    pub(crate) fn is_utf8(&self) -> bool {
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| self.get(name)).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    }

    /// Whether colours are unwanted (<https://no-color.org>, and Ansible's variable for the same).
    pub(crate) fn no_color(&self) -> bool {
        let ansible = self
            .get("ANSIBLE_NOCOLOR")
            .is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"));
        ansible || self.get("NO_COLOR").is_some() || self.get("TERM") == Some("dumb")
    }
}

#[cfg(test)]
impl Environment {
    /// One with these variables, for tests.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Self {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { variables, home: Some(PathBuf::from("/home/someone")), ansible: OnceLock::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_user_says_else_where_xdg_says() {
        let dir = |variables: &[(&str, &str)]| Environment::with(variables).cache_dir().unwrap();
        assert_eq!(dir(&[]), Path::new("/home/someone/.cache/muster"));
        assert_eq!(dir(&[("XDG_CACHE_HOME", "/c")]), Path::new("/c/muster"));
        assert_eq!(
            dir(&[("XDG_CACHE_HOME", "relative")]),
            Path::new("/home/someone/.cache/muster"),
            "XDG: must be absolute"
        );
        assert_eq!(
            dir(&[("XDG_CACHE_HOME", "/c"), ("MUSTER_CACHE_DIR", "~/m")]),
            Path::new("/home/someone/m")
        );
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        assert!(Environment::with(&[("LANG", "de_DE.UTF-8")]).is_utf8());
        assert!(!Environment::with(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]).is_utf8());
        assert!(Environment::with(&[("LC_ALL", ""), ("LANG", "C.utf8")]).is_utf8());
        assert!(!Environment::with(&[]).is_utf8());
    }
}
