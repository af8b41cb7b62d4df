//! Reading the sources of an inventory: files of any form, directories of them, programs, and lists
//! of hosts given on a command line.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::error::InventoryError;
use crate::group_rules::GroupRules;
use crate::inventory::{Inventory, InventorySource, UNGROUPED};
use crate::origin::SourceText;
use crate::value::{Kind, Value};
use crate::vault::{self, VaultSecrets, VaultText};
use crate::{address, host_list, ini, script, yaml, yaml_inventory};

/// One source of an inventory.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A file, a program that prints an inventory, or a directory of them.
    Path(PathBuf),
    /// Hosts separated by commas, and the shorthands of [`crate::host_list`].
    HostList(String),
    /// The text of a file that is still to be written: read as if it were there.
    Text {
        /// Where it will be.
        path: PathBuf,
        /// What it will hold.
        text: String,
    },
}

impl Source {
    /// What `-i TEXT` means: a path when there is one of that name or the text has no comma and
    /// is no shorthand, else a list of hosts.
    pub fn from_argument(text: &str) -> Self {
        if !Path::new(text).exists() && (text.contains(',') || host_list::is_shorthand(text)) {
            Self::HostList(text.to_owned())
        } else {
            Self::Path(PathBuf::from(text))
        }
    }
}

/// How an inventory is read.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Group names that mean the same group, and groups that follow from others.
    pub rules: GroupRules,
    /// Passwords for encrypted files.
    pub secrets: VaultSecrets,
    /// Names that end so are skipped in directories (`inventory_ignore_extensions`).
    pub ignored_endings: Vec<String>,
    /// Names that match one of these regular expressions from their start on are skipped in
    /// directories (`[inventory] ignore_patterns`).
    pub ignored_patterns: Vec<String>,
}

impl Default for LoadOptions {
    /// Ansible's defaults: no rules, no passwords, its list of endings (that of 2.19, which reads `.ini`); and databases, such as
    /// snapshots that lie in the inventory's folder.
    fn default() -> Self {
        const ENDINGS: &[&str] = &[
            ".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry",
            ".db",
        ];
        Self {
            rules: GroupRules::new(),
            secrets: VaultSecrets::new(),
            ignored_endings: ENDINGS.iter().map(|ending| (*ending).to_owned()).collect(),
            ignored_patterns: Vec::new(),
        }
    }
}

impl Inventory {
    /// Reads all sources into one inventory; where they differ, later ones win.
    ///
    /// # Errors
    /// When a source cannot be read or breaks the rules of its form. Unlike Ansible, which warns
    /// and goes on with what it could read, half an inventory is none.
    pub fn load(sources: &[Source], options: &LoadOptions) -> Result<Self, InventoryError> {
        let mut loader = Loader {
            inventory: Inventory::new(options.rules.clone()),
            options,
            ignored: ignored_names(options)?,
        };
        for source in sources {
            match source {
                Source::HostList(text) => loader.host_list(text)?,
                Source::Path(path) => {
                    let path = absolute(path)?;
                    loader.variables_beside(&path);
                    loader.path(&path)?;
                }
                Source::Text { path, text } => {
                    let path = absolute(path)?;
                    loader.variables_beside(&path);
                    let source = SourceText::new(path.display().to_string(), text.clone());
                    loader.text(&path, &source, text, &InventorySource::of_file(&path))?;
                }
            }
        }
        loader.inventory.finished()
    }

    /// Reads one INI text that is not a file.
    ///
    /// # Errors
    /// As [`Inventory::load`].
    pub fn from_ini(name: &str, text: &str, rules: GroupRules) -> Result<Self, InventoryError> {
        let mut inventory = Inventory::new(rules);
        let from = InventorySource { file: name.to_owned(), dir: None };
        ini::read(&mut inventory, &SourceText::new(name, text), text, &from)?;
        inventory.finished()
    }
}

/// An absolute path without `.` and `..`, links kept as they are.
fn absolute(path: &Path) -> Result<PathBuf, InventoryError> {
    let path = std::path::absolute(path).map_err(|error| InventoryError::Read {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    Ok(clean)
}

fn ignored_names(options: &LoadOptions) -> Result<Regex, InventoryError> {
    let endings = options.ignored_endings.iter().map(|ending| format!("{}$", regex::escape(ending)));
    let fixed = [r"^\.", "^host_vars$", "^group_vars$", "^vars_plugins$"].map(str::to_owned);
    let all: Vec<String> =
        fixed.into_iter().chain(options.ignored_patterns.iter().cloned()).chain(endings).collect();
    Regex::new(&all.join("|")).map_err(|error| InventoryError::Read {
        path: "ignore_patterns".to_owned(),
        reason: format!("not a regular expression: {error}"),
    })
}

struct Loader<'a> {
    inventory: Inventory,
    options: &'a LoadOptions,
    ignored: Regex,
}

impl Loader<'_> {
    /// `group_vars` and `host_vars` beside a source count.
    fn variables_beside(&mut self, path: &Path) {
        let dir = if path.is_dir() { Some(path) } else { path.parent() };
        if let Some(dir) = dir {
            // A directory that comes again counts where it comes last.
            self.inventory.var_dirs.retain(|known| known != dir);
            self.inventory.var_dirs.push(dir.to_owned());
        }
    }

    fn host_list(&mut self, text: &str) -> Result<(), InventoryError> {
        let from = InventorySource { file: text.to_owned(), dir: None };
        let entries = host_list::expand(text).map_err(|reason| {
            let source = SourceText::new("host list", text);
            InventoryError::syntax(crate::origin::Origin::new(&source, 1, 1), reason)
        })?;
        for entry in entries {
            let (user, entry) = match entry.split_once('@') {
                Some((user, rest)) if !user.is_empty() && !rest.is_empty() => (Some(user), rest),
                _ => (None, entry.as_str()),
            };
            let address = address::parse(entry).filter(|address| !address.host.contains('['));
            let (name, port) = match address {
                Some(address) => (address.host, address.port),
                None => (entry.to_owned(), None),
            };
            if self.inventory.hosts.contains_key(&name) {
                continue;
            }
            let port = port.map(|port| Value::from(i64::from(port)));
            let host = self.inventory.add_host(&name, Some(&from), port);
            self.inventory.join(UNGROUPED, host);
            if let Some(user) = user {
                self.inventory.set_host_var(host, "ansible_user", user.into());
            }
        }
        Ok(())
    }

    fn path(&mut self, path: &Path) -> Result<(), InventoryError> {
        if !path.is_dir() {
            return self.file(path);
        }
        let failed = |error: std::io::Error| read_error(path, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        let is_ignored = |name: &std::ffi::OsString| self.ignored.is_match(&name.to_string_lossy());
        let (ignored, read): (Vec<_>, Vec<_>) = names.into_iter().partition(is_ignored);
        let ignored: Vec<String> = ignored
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| !name.starts_with('.') && !name.ends_with("_vars"))
            .collect();
        if read.is_empty() && !ignored.is_empty() {
            let message = format!(
                "{} holds no inventory: {} is skipped because of its name; name the file itself to read it",
                path.display(),
                ignored.join(", ")
            );
            self.inventory.warn(message, None);
        }
        for name in read {
            self.path(&path.join(name))?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), InventoryError> {
        let bytes = fs::read(path).map_err(|error| read_error(path, &error))?;
        let from = InventorySource::of_file(path);
        if script::is_program(path, &bytes)
            && let Some(found) = script::run(&mut self.inventory, path, &from)?
        {
            return Ok(found);
        }
        let (source, text) = decode(path, bytes, &self.options.secrets)?;
        self.text(path, &source, &text, &from)
    }

    /// Ansible tries YAML first when the name has no ending or one of YAML's, then INI.
    fn text(
        &mut self,
        path: &Path,
        source: &std::sync::Arc<SourceText>,
        text: &str,
        from: &InventorySource,
    ) -> Result<(), InventoryError> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned());
        let yaml_name = ending.as_deref().is_none_or(|ending| matches!(ending, "yaml" | "yml" | "json"));
        if !yaml_name {
            return ini::read(&mut self.inventory, source, text, from);
        }
        let (mut warnings, mut lost) = (Vec::new(), Vec::new());
        let yaml_error = match yaml::parse_all(source, text, &mut warnings, &mut lost) {
            Ok(document) => match &document.kind {
                Kind::Map(map) if map.contains_key("plugin") => {
                    return Err(InventoryError::NotAnInventory {
                        path: from.file.clone(),
                        reason:
                            "it configures an inventory plugin of Ansible; use `ansible-inventory --list \
                                 --export -y` to write the hosts it finds to a file"
                                .to_owned(),
                    });
                }
                Kind::Map(map) => {
                    self.inventory.warnings.append(&mut warnings);
                    return yaml_inventory::read(&mut self.inventory, map, &lost, from);
                }
                Kind::Null if ending.is_none() => return Ok(()),
                _ => InventoryError::NotAnInventory {
                    path: from.file.clone(),
                    reason: format!(
                        "a YAML inventory is a mapping of groups, this is {}",
                        document.type_name()
                    ),
                },
            },
            Err(error) => error,
        };
        let saved = self.inventory.clone();
        ini::read(&mut self.inventory, source, text, from).map_err(|ini_error| {
            self.inventory = saved;
            if ending.is_some() { yaml_error } else { ini_error }
        })
    }
}

fn read_error(path: &Path, error: &std::io::Error) -> InventoryError {
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such file (a host instead of a file is given with a comma after it: host1,)"
                .to_owned()
        }
        _ => error.to_string(),
    };
    InventoryError::Read { path: path.display().to_string(), reason }
}

/// The text of a file, decrypted when it is encrypted.
pub(crate) fn decode(
    path: &Path,
    bytes: Vec<u8>,
    secrets: &VaultSecrets,
) -> Result<(std::sync::Arc<SourceText>, String), InventoryError> {
    let name = path.display().to_string();
    let mut text = String::from_utf8(bytes).unwrap_or_else(|error| latin_comments(error.as_bytes()));
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    if text.contains('\u{fffd}') && !text.is_ascii() && text.lines().any(|line| line.contains('\u{fffd}')) {
        let line = text.lines().position(|line| line.contains('\u{fffd}')).unwrap_or_default();
        let source = SourceText::new(name, text);
        let origin = crate::origin::Origin::new(&source, line + 1, 1);
        return Err(InventoryError::syntax(origin, "this line is not UTF-8"));
    }
    if !vault::is_vault(&text) {
        return Ok((SourceText::new(name, text.clone()), text));
    }
    let plain = VaultText::parse(&text)
        .and_then(|vault| vault.decrypt(secrets))
        .map_err(|error| InventoryError::Read { path: name.clone(), reason: error.to_string() })?;
    Ok((SourceText::secret(name), plain))
}

/// Text that is not UTF-8 is allowed in comments only.
fn latin_comments(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(_) if matches!(line.first(), Some(b'#' | b';')) => text.push('\n'),
            Err(_) => text.push_str(&String::from_utf8_lossy(line)),
        }
    }
    text
}
