//! Programs from the bundle.

use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use muster_artifacts::{Bundle, Encoding, FileEntry};

use super::{Bytes, Plan, Probe, Resource, STAMPS, Seen, Upload};
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
/// when it was installed. Whoever touches the file changes one of them. One process looks at all files.
const LOOK: &str = r#"
stamps=$1 want=$2; shift 2
stat -c '%s %Y %i %n' "$@" 2>/dev/null | while read -r state; do
  f=/${state#*/}
  if [ -f "$f" ] && [ -x "$f" ] && read -r stamped <"$stamps/file$f" && [ "$stamped $f" = "$want $state" ]; then echo "$f"; fi
done 2>/dev/null"#;

/// Puts a program that lies in a temporary file of the same file system into its place: flushed, renamed over the old
/// one, stamped. `place TEMPORARY PATH SHA256 STAMPS`.
macro_rules! place {
    () => {
        r#"
place() {
  chmod 0755 "$1"
  sync "$1"
  mv -f "$1" "$2"
  mkdir -p "$4/file${2%/*}"
  echo "$3 $(stat -c '%s %Y %i' "$2")" >"$4/file$2"
}
"#
    };
}

/// A program that is one file.
#[derive(Debug, Clone)]
pub struct Binary {
    artifact: Artifact,
    path: String,
}

/// The program of the bundle is at this path, mode 0755.
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
        let mend = concat!(
            place!(),
            r#"
mkdir -p "${4%/*}"
temporary=$(mktemp "${4%/*}/.muster.XXXXXX")
trap 'rm -f "$temporary"' EXIT
$5 "$1" >"$temporary"
place "$temporary" "$4" "$2" "$3"
rm -f "$1""#
        );
        let sha256 = self.artifact.entry.sha256.to_string();
        let script = sh(mend, [&self.artifact.bytes().path(), &sha256, STAMPS, &self.path, unpack]);
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
}

/// Programs of an archive of the bundle, each at its path, mode 0755. All go to one directory.
pub fn archive(artifact: Artifact) -> ArchiveMembers {
    ArchiveMembers { artifact, members: Vec::new() }
}

impl ArchiveMembers {
    /// One more of its members, as the archive names it, at this path.
    pub fn member(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.members.push((name.into(), path.into()));
        self
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
        let mend = concat!(
            place!(),
            r#"
incoming=$1 sha=$2 stamps=$3; shift 3
mkdir -p "${2%/*}"
folder=$(mktemp -d "${2%/*}/.muster.XXXXXX")
trap 'rm -rf "$folder"' EXIT
tar -xzf "$incoming" -C "$folder"
while [ $# -gt 0 ]; do
  place "$folder/$1" "$2" "$sha" "$stamps"
  shift 2
done
rm -f "$incoming""#
        );
        let mut args =
            vec![self.artifact.bytes().path(), self.artifact.entry.sha256.to_string(), STAMPS.to_owned()];
        args.extend(self.members.iter().flat_map(|(name, path)| [name.clone(), path.clone()]));
        let paths: Vec<_> = self.members.iter().map(|(_, path)| path).collect();
        Ok(install_plan(self, &self.artifact, &paths, seen, sh(mend, args)))
    }

    fn desired(&self) -> String {
        format!("{}:{:?}", self.artifact.entry.sha256, self.members)
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
    let change = Change { resource: resource.label(), what, diff: None };
    Plan { changes: vec![change], script: Some(script), uploads: vec![artifact.upload()] }
}
