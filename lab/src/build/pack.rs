//! Packing compiled programs in upstream's form, and putting them into the bundle.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use muster_artifacts::{Arch, BundleWriter, Kind, NewFile, NewImage, Origin, RunConfig};

use super::base::{self, plain_header};
use super::compile::Programs;
use super::plan::{Job, Wanted};
use super::recipes::{ImageRecipe, Product};
use super::{BuildError, Working, io_at};

/// The search path that upstream's images have, too.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Adds an artifact to the bundle.
pub(super) fn pack(
    job: &Job,
    wanted: &Wanted,
    arch: Arch,
    programs: &Programs,
    bundle: &mut BundleWriter,
    work: &Path,
    working: &mut Working<'_>,
) -> Result<(), BuildError> {
    working(&format!("packing {} {}", wanted.name, wanted.version));
    let source = job.source();
    let mut add = |kind: Kind, content: &mut dyn Read| {
        let (name, version) = (&wanted.name, &wanted.version);
        let origin = Origin::Built;
        let new = NewFile { name, version, arch, kind, origin, source: &source, expected: None };
        bundle.add_file(&new, content).map(drop)
    };
    match &wanted.product {
        Product::Binary(_) => {
            for (_, package) in &wanted.programs {
                let path = programs.path(package);
                let mut content = File::open(&path).map_err(io_at("read", &path))?;
                add(Kind::Binary, &mut content)?;
            }
            Ok(())
        }
        Product::Archive(prefix) => {
            let prefix = prefix.replace("{version}", &wanted.version).replace("{arch}", arch.name());
            let path = work.join("archive.tar.gz");
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path)
                .map_err(io_at("create", &path))?;
            archive(&prefix, wanted, programs, &file).map_err(io_at("write", &path))?;
            file.seek(SeekFrom::Start(0)).map_err(io_at("read", &path))?;
            add(Kind::Archive, &mut file)?;
            fs::remove_file(&path).map_err(io_at("remove", &path))
        }
        Product::Image(recipe) => image(job, wanted, recipe, arch, programs, bundle, work, working),
    }
}

/// Writes a `.tar.gz` of the programs. The same programs always give the same bytes.
fn archive(prefix: &str, wanted: &Wanted, programs: &Programs, to: &File) -> io::Result<()> {
    let gzip = GzBuilder::new().mtime(0).write(BufWriter::new(to), Compression::new(6));
    let mut tar = tar::Builder::new(gzip);
    tar.append(&named_header(tar::EntryType::Directory, 0, prefix)?, io::empty())?;
    for (name, package) in &wanted.programs {
        let program = File::open(programs.path(package))?;
        let size = program.metadata()?.len();
        tar.append(&named_header(tar::EntryType::Regular, size, &format!("{prefix}{name}"))?, program)?;
    }
    tar.into_inner()?.finish()?.flush()
}

/// A header with exactly this name: the library would take a leading `./`, which upstream's archives have, off.
fn named_header(kind: tar::EntryType, size: u64, name: &str) -> io::Result<tar::Header> {
    let mut header = plain_header(kind, 0o755, size);
    let field = &mut header.as_old_mut().name;
    if name.len() > field.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name} is too long for a tar header"),
        ));
    }
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    Ok(header)
}

#[expect(
    clippy::too_many_arguments,
    reason = "one call site; a struct would only name the same things again"
)]
fn image(
    job: &Job,
    wanted: &Wanted,
    recipe: &ImageRecipe,
    arch: Arch,
    programs: &Programs,
    bundle: &mut BundleWriter,
    work: &Path,
    working: &mut Working<'_>,
) -> Result<(), BuildError> {
    let mut layers = Vec::new();
    if recipe.base {
        let path = base::layer(work, working)?;
        let mut tar = File::open(&path).map_err(io_at("read", &path))?;
        layers.push(bundle.add_layer(&mut tar)?);
    }
    for (_, package) in &wanted.programs {
        let path = programs.path(package);
        let mut tar =
            program_layer(&path, recipe.path.trim_start_matches('/')).map_err(io_at("read", &path))?;
        layers.push(bundle.add_layer(&mut tar)?);
    }
    let run = RunConfig {
        env: vec![PATH.into()],
        entrypoint: vec![recipe.path.clone()],
        cmd: recipe.arguments.clone(),
        user: recipe.user.clone(),
        working_dir: "/".into(),
    };
    if let Some(reference) = &wanted.reference {
        let new = NewImage { reference, arch, origin: Origin::Built, source: &job.source() };
        bundle.add_image(&new, &layers, &run)?;
    }
    Ok(())
}

/// A tar with one program at `path` and the directories above it.
fn program_layer(program: &Path, path: &str) -> io::Result<impl Read> {
    let file = File::open(program)?;
    let size = file.metadata()?.len();
    let mut head = Vec::new();
    for (at, _) in path.match_indices('/') {
        head.extend_from_slice(named_header(tar::EntryType::Directory, 0, &path[..=at])?.as_bytes());
    }
    head.extend_from_slice(named_header(tar::EntryType::Regular, size, path)?.as_bytes());
    // Up to the next block, and two blocks of zeros for the end.
    let padding = size.next_multiple_of(512) - size + 1024;
    Ok(io::Cursor::new(head).chain(file.take(size)).chain(io::repeat(0).take(padding)))
}
