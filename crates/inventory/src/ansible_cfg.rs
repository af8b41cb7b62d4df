//! The settings of an `ansible.cfg` and of `ANSIBLE_*` environment variables that change what
//! happens. Everything else that may be in them is passed over.
//! (`ansible/config/base.yml`, `ansible/plugins/connection/ssh.py`)

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::InventoryError;
use crate::origin::{Origin, SourceText, Warning};
use crate::value::bool_of_text;

/// What was set; `None` and empty lists where nothing was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnsibleSettings {
    /// `forks`: how many hosts at a time.
    pub forks: Option<usize>,
    /// `timeout`: seconds to wait for a connection.
    pub timeout: Option<u64>,
    /// `retries` of `[ssh_connection]`: how often a connection is tried again.
    pub retries: Option<u32>,
    /// `remote_user`
    pub remote_user: Option<String>,
    /// `remote_port`
    pub remote_port: Option<u16>,
    /// `private_key_file`
    pub private_key_file: Option<PathBuf>,
    /// `ask_pass`: ask for the login password.
    pub ask_pass: Option<bool>,
    /// `host_key_checking`
    pub host_key_checking: Option<bool>,
    /// `ssh_args`, as it would be given to ssh.
    pub ssh_args: Option<String>,
    /// `ssh_common_args`
    pub ssh_common_args: Option<String>,
    /// `ssh_extra_args`
    pub ssh_extra_args: Option<String>,
    /// `become`
    pub r#become: Option<bool>,
    /// `become_user`
    pub become_user: Option<String>,
    /// `become_method`
    pub become_method: Option<String>,
    /// `become_ask_pass`
    pub become_ask_pass: Option<bool>,
    /// `vault_password_file`
    pub vault_password_file: Option<PathBuf>,
    /// `vault_identity_list`: `id@file` or `id@prompt`.
    pub vault_identities: Vec<String>,
    /// `ask_vault_pass`
    pub ask_vault_pass: Option<bool>,
    /// `inventory`: paths, or lists of hosts.
    pub inventory: Vec<String>,
    /// `inventory_ignore_extensions`
    pub inventory_ignore_extensions: Option<Vec<String>>,
    /// `ignore_patterns` of `[inventory]`
    pub inventory_ignore_patterns: Option<Vec<String>>,
    /// `nocolor`, `NO_COLOR`
    pub no_color: Option<bool>,
    /// `log_path`
    pub log_path: Option<PathBuf>,
    /// `hash_behaviour = merge`: mappings of several places become one.
    pub merge_hashes: bool,
    /// Settings that would change the meaning of variables and are not supported.
    pub warnings: Vec<Warning>,
}

/// Where an `ansible.cfg` is looked for, the first that exists counts: `ANSIBLE_CONFIG` (a file or
/// a directory), the working directory, `~/.ansible.cfg`, `/etc/ansible/ansible.cfg`.
pub fn config_paths(environment: &BTreeMap<String, String>, working_dir: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let home = environment.get("HOME").filter(|home| !home.is_empty());
    if let Some(named) = environment.get("ANSIBLE_CONFIG").filter(|path| !path.is_empty()) {
        let path = expand(named, working_dir, environment);
        paths.push(if path.is_dir() { path.join("ansible.cfg") } else { path });
    }
    paths.push(working_dir.join("ansible.cfg"));
    paths.extend(home.map(|home| Path::new(home).join(".ansible.cfg")));
    paths.push(PathBuf::from("/etc/ansible/ansible.cfg"));
    paths
}

impl AnsibleSettings {
    /// Reads the text of an `ansible.cfg`, if there is one, with its path, and the environment,
    /// which wins. Relative paths in the file are relative to it, those in the environment to
    /// `working_dir`.
    ///
    /// # Errors
    /// When the text is no configuration file or a value is not what its setting takes.
    pub fn read(
        config: Option<(&Path, &str)>,
        environment: &BTreeMap<String, String>,
        working_dir: &Path,
    ) -> Result<Self, InventoryError> {
        let file = match config {
            Some((path, text)) => {
                let dir = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
                Sections::parse(path, text, dir.unwrap_or_else(|| working_dir.to_owned()))?
            }
            None => Sections::default(),
        };
        let reader = Reader { file, environment, working_dir };
        let ssh = "ssh_connection";
        let escalation = "privilege_escalation";
        let mut settings = Self {
            forks: reader.number(&["ANSIBLE_FORKS"], &[("defaults", "forks")])?,
            timeout: reader.number(
                &["ANSIBLE_TIMEOUT", "ANSIBLE_SSH_TIMEOUT"],
                &[("defaults", "timeout"), (ssh, "timeout")],
            )?,
            retries: reader
                .number(&["ANSIBLE_SSH_RETRIES"], &[("connection", "retries"), (ssh, "retries")])?,
            remote_user: reader.text(&["ANSIBLE_REMOTE_USER"], &[("defaults", "remote_user")]),
            remote_port: reader.number(&["ANSIBLE_REMOTE_PORT"], &[("defaults", "remote_port")])?,
            private_key_file: reader.path(&["ANSIBLE_PRIVATE_KEY_FILE"], &[("defaults", "private_key_file")]),
            ask_pass: reader.flag(&["ANSIBLE_ASK_PASS"], &[("defaults", "ask_pass")])?,
            host_key_checking: reader.flag(
                &["ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_SSH_HOST_KEY_CHECKING"],
                &[("defaults", "host_key_checking"), (ssh, "host_key_checking")],
            )?,
            ssh_args: reader.text(&["ANSIBLE_SSH_ARGS"], &[(ssh, "ssh_args")]),
            ssh_common_args: reader.text(&["ANSIBLE_SSH_COMMON_ARGS"], &[(ssh, "ssh_common_args")]),
            ssh_extra_args: reader.text(&["ANSIBLE_SSH_EXTRA_ARGS"], &[(ssh, "ssh_extra_args")]),
            r#become: reader.flag(&["ANSIBLE_BECOME"], &[(escalation, "become")])?,
            become_user: reader.text(&["ANSIBLE_BECOME_USER"], &[(escalation, "become_user")]),
            become_method: reader.text(&["ANSIBLE_BECOME_METHOD"], &[(escalation, "become_method")]),
            become_ask_pass: reader.flag(&["ANSIBLE_BECOME_ASK_PASS"], &[(escalation, "become_ask_pass")])?,
            vault_password_file: reader
                .path(&["ANSIBLE_VAULT_PASSWORD_FILE"], &[("defaults", "vault_password_file")]),
            vault_identities: reader
                .list(&["ANSIBLE_VAULT_IDENTITY_LIST"], &[("defaults", "vault_identity_list")])
                .unwrap_or_default(),
            ask_vault_pass: reader.flag(&["ANSIBLE_ASK_VAULT_PASS"], &[("defaults", "ask_vault_pass")])?,
            inventory: reader.inventory(),
            inventory_ignore_extensions: reader.list(
                &["ANSIBLE_INVENTORY_IGNORE"],
                &[("defaults", "inventory_ignore_extensions"), ("inventory", "ignore_extensions")],
            ),
            inventory_ignore_patterns: reader.list(
                &["ANSIBLE_INVENTORY_IGNORE_REGEX"],
                &[("defaults", "inventory_ignore_patterns"), ("inventory", "ignore_patterns")],
            ),
            no_color: reader.flag(&["ANSIBLE_NOCOLOR"], &[("defaults", "nocolor")])?,
            log_path: reader.path(&["ANSIBLE_LOG_PATH"], &[("defaults", "log_path")]),
            merge_hashes: reader.merge_hashes()?,
            warnings: Vec::new(),
        };
        // https://no-color.org: any value that is not empty.
        if environment.get("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            settings.no_color = Some(true);
        }
        settings.warnings = reader.unsupported();
        Ok(settings)
    }
}

/// A value with the place it was written at; environment variables have none.
struct Setting {
    value: String,
    origin: Option<Origin>,
    /// What relative paths are relative to.
    base: PathBuf,
    name: String,
}

struct Reader<'a> {
    file: Sections,
    environment: &'a BTreeMap<String, String>,
    working_dir: &'a Path,
}

type Key = (&'static str, &'static str);

impl Reader<'_> {
    fn find(&self, variables: &[&str], keys: &[Key]) -> Option<Setting> {
        let from_environment = variables.iter().find_map(|name| {
            let value = self.environment.get(*name).filter(|value| !value.is_empty())?;
            let base = self.working_dir.to_owned();
            Some(Setting { value: value.clone(), origin: None, base, name: (*name).to_owned() })
        });
        from_environment.or_else(|| keys.iter().find_map(|key| self.file.get(key)))
    }

    fn text(&self, variables: &[&str], keys: &[Key]) -> Option<String> {
        self.find(variables, keys).map(|setting| setting.value)
    }

    fn number<T: std::str::FromStr>(
        &self,
        variables: &[&str],
        keys: &[Key],
    ) -> Result<Option<T>, InventoryError> {
        let Some(setting) = self.find(variables, keys) else { return Ok(None) };
        match setting.value.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(setting.wrong("a whole number")),
        }
    }

    fn flag(&self, variables: &[&str], keys: &[Key]) -> Result<Option<bool>, InventoryError> {
        let Some(setting) = self.find(variables, keys) else { return Ok(None) };
        match bool_of_text(setting.value.trim()) {
            Some(truth) => Ok(Some(truth)),
            None => Err(setting.wrong("true or false")),
        }
    }

    fn path(&self, variables: &[&str], keys: &[Key]) -> Option<PathBuf> {
        self.find(variables, keys).map(|setting| self.expand(&setting.value, &setting.base))
    }

    fn expand(&self, path: &str, base: &Path) -> PathBuf {
        let path = path.replace("{{CWD}}", &self.working_dir.display().to_string());
        expand(&path, base, self.environment)
    }

    fn list(&self, variables: &[&str], keys: &[Key]) -> Option<Vec<String>> {
        let setting = self.find(variables, keys)?;
        Some(
            setting
                .value
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect(),
        )
    }

    /// Paths separated by commas. A list of hosts (`a,b,`) given in the environment is one entry.
    fn inventory(&self) -> Vec<String> {
        let Some(setting) = self.find(&["ANSIBLE_INVENTORY"], &[("defaults", "inventory")]) else {
            return Vec::new();
        };
        let items: Vec<&str> =
            setting.value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
        let paths: Vec<PathBuf> = items.iter().map(|item| self.expand(item, &setting.base)).collect();
        if setting.value.contains(',') && !paths.iter().any(|path| path.exists()) {
            return vec![setting.value];
        }
        paths.into_iter().map(|path| path.display().to_string()).collect()
    }

    fn merge_hashes(&self) -> Result<bool, InventoryError> {
        let key = ("defaults", "hash_behaviour");
        let Some(setting) = self.find(&["ANSIBLE_HASH_BEHAVIOUR"], &[key]) else { return Ok(false) };
        match setting.value.trim().to_lowercase().as_str() {
            "merge" => Ok(true),
            "replace" => Ok(false),
            _ => Err(setting.wrong("merge or replace")),
        }
    }

    /// Settings that change what variables mean, in ways this program does not know.
    fn unsupported(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if let Some(setting) = self.find(&["ANSIBLE_JINJA2_NATIVE"], &[("defaults", "jinja2_native")])
            && bool_of_text(setting.value.trim()) != Some(false)
        {
            let message = format!(
                "{} = {} is not supported; variables are read as with false",
                setting.name, setting.value
            );
            warnings.push(Warning::new(message, setting.origin));
        }
        if let Some(setting) = self.find(&["ANSIBLE_PRECEDENCE"], &[("defaults", "precedence")]) {
            let message = format!("{} is not supported; variables keep their usual precedence", setting.name);
            warnings.push(Warning::new(message, setting.origin));
        }
        warnings
    }
}

impl Setting {
    fn wrong(&self, wanted: &str) -> InventoryError {
        let message = format!("\"{}\" must be {wanted}, not \"{}\"", self.name, self.value);
        match &self.origin {
            Some(origin) => InventoryError::syntax(origin.clone(), message),
            None => InventoryError::Read { path: "the environment".to_owned(), reason: message },
        }
    }
}

/// A path with `~`, `$NAME` and `${NAME}` expanded as Python does it (`os.path.expanduser`, then `expandvars`).
fn expand(path: &str, base: &Path, environment: &BTreeMap<String, String>) -> PathBuf {
    let path = expand_variables(path, environment);
    match (path.strip_prefix('~'), environment.get("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            Path::new(home).join(rest.trim_start_matches('/'))
        }
        _ => base.join(path),
    }
}

/// Names that are not set stay as they are written.
fn expand_variables(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let plain = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, length) = match after.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => (&after[..plain], plain),
        };
        match environment.get(name) {
            Some(value) => out.push_str(value),
            None => out.push_str(&rest[at..at + 1 + length]),
        }
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

/// The sections of a file as Python's `configparser` reads them.
#[derive(Default)]
struct Sections {
    values: BTreeMap<(String, String), (String, Origin)>,
    dir: PathBuf,
}

impl Sections {
    fn parse(path: &Path, text: &str, dir: PathBuf) -> Result<Self, InventoryError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = SourceText::new(path.display().to_string(), text);
        let mut sections = Self { values: BTreeMap::new(), dir };
        let mut section: Option<String> = None;
        let mut last: Option<(String, String)> = None;
        for (index, raw) in text.lines().enumerate() {
            let line = without_comment(raw);
            let trimmed = line.trim();
            if trimmed.is_empty() {
                continue;
            }
            let indented = line.starts_with([' ', '\t']);
            if indented && let Some((value, _)) = last.as_ref().and_then(|key| sections.values.get_mut(key)) {
                // A value goes on in indented lines.
                value.push('\n');
                value.push_str(trimmed);
                continue;
            }
            let origin = Origin::new(&source, index + 1, raw.len() - raw.trim_start().len() + 1);
            if let Some(name) =
                trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name)
            {
                section = Some(name.trim().to_owned());
                last = None;
                continue;
            }
            let Some(name) = &section else {
                let message = "a setting stands before the first [section]; [defaults] is probably missing";
                return Err(InventoryError::syntax(origin, message));
            };
            let (key, value) = match trimmed.find(['=', ':']) {
                Some(at) => (trimmed[..at].trim(), trimmed[at + 1..].trim()),
                None => {
                    return Err(InventoryError::syntax(
                        origin,
                        format!("expected key = value, found \"{trimmed}\""),
                    ));
                }
            };
            let key = (name.clone(), key.to_lowercase());
            sections.values.insert(key.clone(), (value.to_owned(), origin));
            last = Some(key);
        }
        Ok(sections)
    }

    fn get(&self, key: &Key) -> Option<Setting> {
        let (value, origin) = self.values.get(&(key.0.to_owned(), key.1.to_owned()))?;
        Some(Setting {
            value: unquoted(value).to_owned(),
            origin: Some(origin.clone()),
            base: self.dir.clone(),
            name: key.1.to_owned(),
        })
        .filter(|setting| !setting.value.is_empty())
    }
}

/// A line without its comment: `#` and `;` at the start, ` ;` anywhere.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with(['#', ';']) {
        return "";
    }
    match line.match_indices(';').find(|(at, _)| line[..*at].ends_with(char::is_whitespace)) {
        Some((at, _)) => &line[..at],
        None => line,
    }
}

fn unquoted(value: &str) -> &str {
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}
