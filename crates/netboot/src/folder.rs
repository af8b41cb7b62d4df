//! The folder that machines are served from: what is to be in it, and what of that differs.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use muster_files::write_whole;
use muster_inventory::Origin;

use crate::config::Config;
use crate::ipxe;
use crate::mac::Mac;
use crate::machine::Machine;
use crate::mistake::{Mistake, Mistakes};
use crate::settings::Settings;

/// Files by their paths in the folder.
#[derive(Debug)]
pub struct Rendered {
    /// What the project's scripts bear.
    mark: String,
    files: BTreeMap<PathBuf, Content>,
}

#[derive(Debug)]
struct Content {
    text: String,
    /// It holds keys or hashes of passwords.
    secret: bool,
}

/// A file that differs from what is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path in the folder.
    pub path: PathBuf,
    /// What is there; `None` where nothing is.
    pub before: Option<String>,
    /// What is to be there; `None` where nothing is.
    pub after: Option<String>,
    /// Its content is not to be shown.
    pub secret: bool,
}

/// Why a folder cannot get these files.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something there cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// A file was not made for this project.
    #[error("{} is there, and was not made for this project", path.display())]
    Foreign {
        /// Its path in the folder.
        path: PathBuf,
    },
}

impl Rendered {
    /// All files of these machines. `project` is what the project is called, to tell its files from those of others.
    ///
    /// # Errors
    /// The configuration does not fit one of them, or two have the same network card.
    pub fn of(config: &Config, project: &str, machines: &[(Machine, Settings)]) -> Result<Self, Mistakes> {
        let named = machines.iter().map(|(machine, settings)| (machine.name.as_str(), settings));
        let (mut rendered, mut found) = Self::begin(config, project, named);
        for (machine, _) in machines {
            let path = configuration(&machine.name);
            match config.for_machine(machine) {
                Ok(text) => drop(rendered.files.insert(path.into(), Content { text, secret: true })),
                Err(mistakes) => found.extend(mistakes.0),
            }
        }
        Mistakes::none_of(found)?;
        Ok(rendered)
    }

    /// The scripts of machines alone, which hold no secrets and do not depend on who renders them.
    ///
    /// # Errors
    /// A name cannot be that of a file, or two machines have the same network card.
    pub fn scripts(
        config: &Config,
        project: &str,
        machines: &[(String, Settings)],
    ) -> Result<Self, Mistakes> {
        let named = machines.iter().map(|(name, settings)| (name.as_str(), settings));
        let (rendered, found) = Self::begin(config, project, named);
        Mistakes::none_of(found)?;
        Ok(rendered)
    }

    fn begin<'a>(
        config: &Config,
        project: &str,
        machines: impl Iterator<Item = (&'a str, &'a Settings)>,
    ) -> (Self, Vec<Mistake>) {
        let mut rendered = Self { mark: ipxe::mark(project), files: BTreeMap::new() };
        let mut found = Vec::new();
        let mut cards: HashMap<Mac, (&str, &Origin)> = HashMap::new();
        for (name, settings) in machines {
            // It becomes the name of files, and a word in scripts.
            if name.starts_with('.')
                || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
            {
                let message = format!(
                    "the name of the host \"{name}\" has other characters than letters, digits, ., - and _"
                );
                found.push(Mistake::new(&Origin::whole(&config.source), message));
                continue;
            }
            for (mac, origin) in &settings.cards {
                if let Some((other, first)) = cards.insert(*mac, (name, origin)) {
                    found.push(Mistake::new(
                        origin,
                        format!("{name} and {other} have the same mac_address, {mac} ({first})"),
                    ));
                }
                rendered.script(format!("mac/{}.ipxe", mac.hyphened()), ipxe::card(name));
            }
            let ignition = format!("{}/{}", settings.url, configuration(name));
            let script = ipxe::machine(name, config.system, &settings.boot, &ignition);
            rendered.script(format!("name/{name}.ipxe"), script);
        }
        rendered.script("boot.ipxe".to_owned(), ipxe::first());
        rendered.script("unknown.ipxe".to_owned(), ipxe::unknown());
        (rendered, found)
    }

    fn script(&mut self, path: String, lines: String) {
        let text = ipxe::script(&self.mark, &lines);
        self.files.insert(path.into(), Content { text, secret: false });
    }

    /// What differs in a folder. With `whole` also what is there of machines, or of network cards, that are no more: scripts that
    /// bear the mark of this program, and the configurations that belong to them.
    ///
    /// # Errors
    /// Something there cannot be read, or would be overwritten and is not this project's.
    pub fn changes(&self, dir: &Path, whole: bool) -> Result<Vec<Change>, FolderError> {
        let mut changes = Vec::new();
        for (path, content) in &self.files {
            let before = read(&dir.join(path))?;
            if before.is_some() && !self.is_own(dir, path)? {
                return Err(FolderError::Foreign { path: path.clone() });
            }
            if before.as_ref() != Some(&content.text) {
                let after = Some(content.text.clone());
                changes.push(Change { path: path.clone(), before, after, secret: content.secret });
            }
        }
        // A configuration is told by its script to be the project's, so it comes after that, whenever a run is cut off.
        changes.sort_by_key(|change| change.secret);
        if whole {
            for folder in ["mac", "name"] {
                self.leftovers(dir, folder, &mut changes)?;
            }
        }
        Ok(changes)
    }

    /// Whether a file was made for this project: a script by its mark, a configuration by the script that belongs to it.
    fn is_own(&self, dir: &Path, path: &Path) -> io::Result<bool> {
        let script = match path.extension().is_some_and(|ending| ending == "ign") {
            true => Path::new("name").join(path.with_extension("ipxe").file_name().unwrap_or_default()),
            false => path.to_owned(),
        };
        let text = read(&dir.join(script))?;
        Ok(text.is_some_and(|text| text.lines().nth(1) == Some(self.mark.as_str())))
    }

    fn leftovers(&self, dir: &Path, folder: &str, changes: &mut Vec<Change>) -> io::Result<()> {
        let entries = match dir.join(folder).read_dir() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut names: Vec<_> = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let path = Path::new(folder).join(name);
            if self.files.contains_key(&path) || path.extension().is_none_or(|ending| ending != "ipxe") {
                continue;
            }
            if !self.is_own(dir, &path)? {
                continue;
            }
            let before = read(&dir.join(&path))?;
            if folder == "name" {
                let ignition =
                    Path::new("ignition").join(path.with_extension("ign").file_name().unwrap_or_default());
                if let Some(before) = read(&dir.join(&ignition))? {
                    changes.push(Change { path: ignition, before: Some(before), after: None, secret: true });
                }
            }
            changes.push(Change { path, before, after: None, secret: false });
        }
        Ok(())
    }
}

/// The path of a machine's configuration in the folder.
fn configuration(machine: &str) -> String {
    format!("ignition/{machine}.ign")
}

impl Change {
    /// Makes it. Configurations are for nobody else's eyes, so their folder is closed, and a web server is let into that, once for
    /// all that will be there: rights of a file would end when it is replaced. A file that is there keeps its mode, and where the
    /// folder is open a new configuration can be read by its owner alone.
    ///
    /// # Errors
    /// The file cannot be written or removed.
    pub fn make(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join(&self.path);
        let Some(after) = &self.after else { return fs::remove_file(&path) };
        let folder = path.parent().unwrap_or(dir);
        make_folders(folder, if self.secret { 0o700 } else { 0o755 })?;
        let there = mode_of(&path).ok();
        let open = || mode_of(folder).map_or(true, |mode| mode & 0o007 != 0);
        let mode = there.unwrap_or_else(|| if self.secret && open() { 0o600 } else { 0o644 });
        write_whole(&path, Some(mode), &mut after.as_bytes())
    }
}

fn mode_of(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

/// Makes a folder with this mode, in folders that everybody may look into, whatever the umask.
fn make_folders(path: &Path, mode: u32) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folders(above, 0o755)?;
    }
    fs::DirBuilder::new().mode(mode).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}
