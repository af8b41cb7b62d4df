//! What there is around a program that hosts the application: variables, the home directory, the current folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use muster_inventory::{AnsibleSettings, InventoryError, config_paths};

use crate::error::Error;

/// Variables of an environment and what follows from them. It is a value: nothing is read from the process.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
    here: Option<PathBuf>,
    ansible: OnceLock<Result<AnsibleSettings, InventoryError>>,
}

impl Environment {
    /// One with these variables, this home directory and this current folder, where there are such.
    pub fn new(variables: BTreeMap<String, String>, home: Option<PathBuf>, here: Option<PathBuf>) -> Self {
        Self { variables, home, here, ansible: OnceLock::new() }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable that names a path, `~` in front expanded.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(|text| self.expand_home(text))
    }

    /// What ansible.cfg says, and Ansible's variables, which win over it. Read when first asked for.
    ///
    /// # Errors
    /// A file cannot be read, or a value is not what its setting takes.
    pub fn ansible(&self) -> Result<&AnsibleSettings, Error> {
        let settings = self.ansible.get_or_init(|| {
            let here = self.here.clone().unwrap_or_default();
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
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.variables.clone()
    }

    /// The home directory.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref().filter(|home| home.is_absolute())
    }

    /// The current folder.
    ///
    /// # Errors
    /// There is none: it was removed, for example.
    pub fn here(&self) -> Result<&Path, Error> {
        self.here.as_deref().ok_or_else(|| {
            Error::failed("the current folder cannot be used: it was removed, or you may not enter it")
                .hint("cd to another one")
        })
    }

    /// A path as a user would type it: relative where it is below the current folder.
    pub fn shown(&self, path: &Path) -> String {
        shown(path, self.here.as_deref())
    }

    /// `~/x` as a path below the home directory; anything else as it is.
    pub fn expand_home(&self, text: &str) -> PathBuf {
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
    pub fn cache_dir(&self) -> Result<PathBuf, Error> {
        if let Some(dir) = self.path("MUSTER_CACHE_DIR") {
            return Ok(dir);
        }
        let base = self.path("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let base = base.or_else(|| self.home().map(|home| home.join(".cache")));
        base.map(|base| base.join("muster")).ok_or_else(|| {
            Error::failed("there is no home directory to keep a cache in")
                .hint("set HOME, or MUSTER_CACHE_DIR to a folder")
        })
    }

    /// The login name of whoever runs this.
    pub fn user(&self) -> &str {
        self.get("LOGNAME").or_else(|| self.get("USER")).unwrap_or("root")
    }
}

/// A path as a user would type it who is in a folder: relative where it is below that one.
pub fn shown(path: &Path, here: Option<&Path>) -> String {
    let relative = here.and_then(|here| path.strip_prefix(here).ok());
    relative.filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
impl Environment {
    /// One with these variables, for tests.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::new(variables.collect(), Some("/home/someone".into()), Some("/work".into()))
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
}
