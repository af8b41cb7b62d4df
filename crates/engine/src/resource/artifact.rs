//! Programs from the bundle.

use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use muster_artifacts::{Bundle, Encoding, FileEntry};

use super::{Bytes, Plan, Probe, Removable, Resource, STAMPS, Seen, Upload};
use crate::event::Change;
use crate::script::{Script, sh};
use crate::transport::blocking_input;

/// A file of the bundle, as roles hand it to [`binary`] and [`archive`].
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The bundle it is in.
    pub bundle: Arc<Bundle>,
    /// What it is.
    pub entry: FileEntry,
}

impl Artifact {
    fn upload(&self) -> Upload {
        let path = self.bundle.path(&self.entry);
        Upload {
            name: format!("{} {}", self.entry.name, self.entry.version),
            size: self.entry.stored.size,
            bytes: self.bytes(),
            open: Arc::new(move |from| {
                let mut file = std::fs::File::open(&path)?;
                file.seek(SeekFrom::Start(from))?;
                Ok(blocking_input(file))
            }),
        }
    }

    fn bytes(&self) -> Bytes {
        Bytes::Sha256(self.entry.stored.sha256.to_string())
    }
}

/// Names those of the files that were installed from this artifact. Hashing tens of megabytes at each look would take
/// seconds; so a stamp remembers the artifact's hash with the size, the time of change and the inode that the file had
/// when it was installed. Whoever touches the file changes one of them. One process looks at all files. Which of the files
/// have a stamp at all, and which are there without one, is told as well.
const LOOK: &str = r#"
stamps=$1 want=$2; shift 2
for f; do if [ -e "$stamps/file$f" ]; then echo "stamped $f"; elif [ -e "$f" ]; then echo "foreign $f"; fi; done
stat -c '%s %Y %i %n' "$@" 2>/dev/null | while read -r state; do
  f=/${state#*/}
  if [ -f "$f" ] && [ -x "$f" ] && read -r stamped <"$stamps/file$f" && [ "$stamped $f" = "$want $state" ]; then echo "$f"; fi
done 2>/dev/null"#;

/// Names those of the files that still are what was installed, whatever that was: those of an artifact's stamps that agree with them.
const LOOK_AS_INSTALLED: &str = r#"
stamps=$1; shift
for f; do
  if read -r _ stamped <"$stamps/file$f" && [ "$stamped" = "$(stat -c '%s %Y %i' "$f")" ]; then echo "stamped $f"; fi
done 2>/dev/null"#;

const INSTALL: &str = concat!(include_str!("install.sh"), r#"install "$@""#);
const UNPACK: &str = concat!(include_str!("install.sh"), r#"unpack "$@""#);

/// The stamp goes last: what was cut off before is seen by the next run.
const UNINSTALL: &str = r#"
stamps=$1; shift
for f; do rm -f "$f" "$stamps/file$f"; done"#;

/// A program that is one file.
#[derive(Debug, Clone)]
pub struct Binary {
    artifact: Artifact,
    path: String,
}

/// The program of the bundle is at this path, mode 0755. Removed is only what was installed this way.
pub fn binary(artifact: Artifact, path: impl Into<String>) -> Binary {
    Binary { artifact, path: path.into() }
}

impl Resource for Binary {
    fn label(&self) -> String {
        format!("program {}", self.path)
    }

    fn probe(&self) -> Probe {
        Probe::script(look(&self.artifact, [self.path.as_str()]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let unpack = match self.artifact.entry.stored.encoding {
            Encoding::Gzip => "gzip -dc",
            Encoding::Identity => "cat",
        };
        let sha256 = self.artifact.entry.sha256.to_string();
        let Artifact { entry, .. } = &self.artifact;
        let arrived = self.artifact.bytes().path();
        let script = sh(INSTALL, [STAMPS, &sha256, &entry.version, &arrived, unpack, &self.path]);
        Ok(install_plan(self, &self.artifact, &[&self.path], seen, script))
    }

    fn desired(&self) -> String {
        format!("{}:{}", self.label(), self.artifact.entry.sha256)
    }
}

/// Some of the programs of an archive.
#[derive(Debug, Clone)]
pub struct ArchiveMembers {
    artifact: Artifact,
    members: Vec<(String, String)>,
    only_ours: bool,
}

/// Programs of an archive of the bundle, each at its path, mode 0755. All go to one directory.
pub fn archive(artifact: Artifact) -> ArchiveMembers {
    ArchiveMembers { artifact, members: Vec::new(), only_ours: false }
}

impl ArchiveMembers {
    /// One more of its members, as the archive names it, at this path.
    pub fn member(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.members.push((name.into(), path.into()));
        self
    }

    /// Refuses where somebody else has put a program at one of the paths, instead of replacing it.
    pub fn replacing_only_ours(mut self) -> Self {
        self.only_ours = true;
        self
    }
}

impl Removable for Binary {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        Ok(uninstall_plan(self, [self.path.as_str()], seen))
    }
}

impl Resource for ArchiveMembers {
    fn label(&self) -> String {
        format!("programs of {}", self.artifact.entry.name)
    }

    fn probe(&self) -> Probe {
        Probe::script(look(&self.artifact, self.members.iter().map(|(_, path)| path.as_str())))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let output = seen.answer().output;
        let foreign =
            output.lines().find_map(|line| line.strip_prefix("foreign ")).filter(|_| self.only_ours);
        if let Some(path) = foreign {
            return Err(format!("{path} is there already, and muster did not put it there: remove it"));
        }
        let FileEntry { sha256, version, .. } = &self.artifact.entry;
        let mut args =
            vec![STAMPS.to_owned(), sha256.to_string(), version.clone(), self.artifact.bytes().path()];
        args.extend(self.members.iter().flat_map(|(name, path)| [name.clone(), path.clone()]));
        let paths: Vec<_> = self.members.iter().map(|(_, path)| path).collect();
        Ok(install_plan(self, &self.artifact, &paths, seen, sh(UNPACK, args)))
    }

    fn desired(&self) -> String {
        format!("{}:{:?}", self.artifact.entry.sha256, self.members)
    }
}

impl Removable for ArchiveMembers {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        Ok(uninstall_plan(self, self.members.iter().map(|(_, path)| path.as_str()), seen))
    }
}

/// A program that is to be gone, whichever it was.
#[derive(Debug, Clone)]
pub struct Uninstalled {
    path: String,
    only_as_installed: bool,
}

/// The program that was installed at this path as [`binary`] or a member of an [`archive`] is gone. Removal of it by what is
/// needed for that alone, where there may be no bundle any more.
pub fn uninstalled(path: impl Into<String>) -> Uninstalled {
    Uninstalled { path: path.into(), only_as_installed: false }
}

impl Uninstalled {
    /// Leaves what somebody has put in its place since: what has another size, time or inode than the program that was installed.
    pub fn only_as_installed(self) -> Self {
        Self { only_as_installed: true, ..self }
    }
}

impl Resource for Uninstalled {
    fn label(&self) -> String {
        format!("program {}", self.path)
    }

    fn probe(&self) -> Probe {
        Probe::script(match self.only_as_installed {
            true => sh(LOOK_AS_INSTALLED, [STAMPS, &self.path]),
            false => sh(LOOK, [STAMPS, "", &self.path]),
        })
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        Ok(uninstall_plan(self, [self.path.as_str()], seen))
    }

    fn desired(&self) -> String {
        format!("no {}", self.label())
    }
}

/// It may stand among what a role owns, where only the removal of it is meant: it goes as it would by itself.
impl Removable for Uninstalled {
    fn plan_removal(&self, seen: &Seen) -> Result<Plan, String> {
        self.plan(seen)
    }
}

fn look<'p>(artifact: &Artifact, paths: impl IntoIterator<Item = &'p str>) -> Script {
    let sha256 = artifact.entry.sha256.to_string();
    sh(LOOK, [STAMPS, &sha256].into_iter().map(str::to_owned).chain(paths.into_iter().map(str::to_owned)))
}

fn install_plan(
    resource: &dyn Resource,
    artifact: &Artifact,
    paths: &[&String],
    seen: &Seen,
    script: Script,
) -> Plan {
    let output = seen.answer().output;
    if paths.iter().all(|path| output.lines().any(|installed| installed == *path)) {
        return Plan::nothing();
    }
    let what = format!("{} {} installed", artifact.entry.name, artifact.entry.version);
    let change = Change { resource: resource.label(), what, diff: None, momentary: false };
    Plan { changes: vec![change], script: Some(script), uploads: vec![artifact.upload()] }
}

/// A stamp says that muster has put a program there, or was about to; what has none was there before.
fn uninstall_plan<'p>(
    resource: &dyn Resource,
    paths: impl IntoIterator<Item = &'p str>,
    seen: &Seen,
) -> Plan {
    let output = seen.answer().output;
    let stamped: Vec<_> = output.lines().filter_map(|line| line.strip_prefix("stamped ")).collect();
    let ours: Vec<_> = paths.into_iter().filter(|path| stamped.contains(path)).collect();
    if ours.is_empty() {
        return Plan::nothing();
    }
    Plan::change(resource, "removed", sh(UNINSTALL, std::iter::once(STAMPS).chain(ours)))
}
