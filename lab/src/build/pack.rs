//! Packing compiled programs in upstream's form, and putting them into the bundle.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use muster_artifacts::{Arch, BundleWriter, ImageReference, Kind, NewFile, NewImage, Origin, RunConfig};

use super::debian_layer::{self, BASE, Packages, plain_header};
use super::go_compiler::Programs;
use super::jobs::{Job, Wanted};
use super::recipes::{Artifact, ImageRecipe};
use super::{BuildError, Working, io_at};

/// The search path that upstream's images have, too.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Puts artifacts of one job into the bundle.
pub(super) struct Packer<'a> {
    pub(super) job: &'a Job,
    pub(super) arch: Arch,
    pub(super) programs: &'a Programs,
    pub(super) work: &'a Path,
    pub(super) bundle: &'a mut BundleWriter,
}

impl Packer<'_> {
    /// Adds an artifact.
    pub(super) fn pack(&mut self, wanted: &Wanted, working: &mut Working<'_>) -> Result<(), BuildError> {
        working(&format!("packing {} {}", wanted.name, wanted.version));
        let Artifact { archive, file, joined, folder, image, .. } = &wanted.recipe;
        if let Some(begin) = joined {
            return self.joined(wanted, begin);
        }
        match (archive, file, folder, image, &wanted.reference) {
            (Some(prefix), ..) => self.archive(wanted, prefix),
            (_, Some(file), ..) => self.file(wanted, file),
            (_, _, Some(folder), ..) => self.folder(wanted, folder),
            (_, _, _, Some(recipe), Some(reference)) => self.image(wanted, recipe, reference, working),
            _ => self.binary(wanted),
        }
    }

    fn folder(&mut self, wanted: &Wanted, folder: &str) -> Result<(), BuildError> {
        let source = self.programs.of_module(folder);
        let name = folder.rsplit('/').next().unwrap_or(folder);
        let path = self.work.join("folder.tar.gz");
        let mut file = File::create(&path)
            .and_then(|file| {
                let gzip = GzBuilder::new().mtime(0).write(BufWriter::new(file), Compression::new(6));
                let mut tar = tar::Builder::new(gzip);
                append_folder(&mut tar, &source, name)?;
                tar.into_inner()?.finish()?.flush()
            })
            .and_then(|()| File::open(&path))
            .map_err(io_at("write", &path))?;
        self.add_file(wanted, Kind::Binary, &mut file)?;
        fs::remove_file(&path).map_err(io_at("remove", &path))
    }

    fn file(&mut self, wanted: &Wanted, file: &str) -> Result<(), BuildError> {
        let path = self.programs.of_module(file);
        let mut file = File::open(&path).map_err(io_at("read", &path))?;
        self.add_file(wanted, Kind::Binary, &mut file)
    }

    /// Files of the module whose paths begin so, one after the other as documents of YAML.
    fn joined(&mut self, wanted: &Wanted, begin: &str) -> Result<(), BuildError> {
        let (folder, name) = begin.rsplit_once('/').unwrap_or((".", begin));
        let folder = self.programs.of_module(folder);
        let path = self.work.join("joined.yaml");
        let mut file =
            join(&folder, name, &path).and_then(|()| File::open(&path)).map_err(io_at("read", &folder))?;
        self.add_file(wanted, Kind::Binary, &mut file)?;
        fs::remove_file(&path).map_err(io_at("remove", &path))
    }

    fn binary(&mut self, wanted: &Wanted) -> Result<(), BuildError> {
        for package in wanted.recipe.programs.values() {
            let path = self.programs.path(package);
            let mut program = File::open(&path).map_err(io_at("read", &path))?;
            self.add_file(wanted, Kind::Binary, &mut program)?;
        }
        Ok(())
    }

    fn archive(&mut self, wanted: &Wanted, prefix: &str) -> Result<(), BuildError> {
        let prefix = prefix.replace("{version}", &wanted.version).replace("{arch}", self.arch.name());
        let path = self.work.join("archive.tar.gz");
        let mut file = File::create(&path)
            .and_then(|file| write_archive(&prefix, wanted, self.programs, &file))
            .and_then(|()| File::open(&path))
            .map_err(io_at("write", &path))?;
        self.add_file(wanted, Kind::Archive, &mut file)?;
        fs::remove_file(&path).map_err(io_at("remove", &path))
    }

    fn add_file(&mut self, wanted: &Wanted, kind: Kind, content: &mut File) -> Result<(), BuildError> {
        let new = NewFile {
            name: &wanted.name,
            version: &wanted.version,
            arch: self.arch,
            kind,
            origin: Origin::Built,
            source: &self.job.source(),
            expected: None,
        };
        self.bundle.add_file(&new, content)?;
        Ok(())
    }

    fn image(
        &mut self,
        wanted: &Wanted,
        recipe: &ImageRecipe,
        reference: &ImageReference,
        working: &mut Working<'_>,
    ) -> Result<(), BuildError> {
        let mut layers = Vec::new();
        let alone = recipe.packages.as_deref().map(Packages::alone);
        for packages in recipe.base.then_some(BASE).iter().chain(&alone) {
            let path = debian_layer::layer(packages, self.work, working)?;
            let mut tar = File::open(&path).map_err(io_at("read", &path))?;
            layers.push(self.bundle.add_layer(&mut tar)?);
        }
        for (name, package) in &wanted.recipe.programs {
            let path = self.programs.path(package);
            let place = if name.starts_with('/') { name } else { &recipe.path };
            let mut tar =
                program_layer(&path, place.trim_start_matches('/')).map_err(io_at("read", &path))?;
            layers.push(self.bundle.add_layer(&mut tar)?);
        }
        if !recipe.files.is_empty() || !recipe.links.is_empty() {
            let path = self.work.join("files.tar");
            self.files_layer(recipe, &path).map_err(io_at("write", &path))?;
            let mut tar = File::open(&path).map_err(io_at("read", &path))?;
            layers.push(self.bundle.add_layer(&mut tar)?);
            fs::remove_file(&path).map_err(io_at("remove", &path))?;
        }
        if let Some(folder) = &recipe.pages {
            let pages = self.programs.pages(working)?;
            let path = self.work.join("pages.tar");
            folder_layer(&pages, folder.trim_start_matches('/'), &path).map_err(io_at("read", &pages))?;
            let mut tar = File::open(&path).map_err(io_at("read", &path))?;
            layers.push(self.bundle.add_layer(&mut tar)?);
            fs::remove_file(&path).map_err(io_at("remove", &path))?;
        }
        let run = RunConfig {
            env: vec![PATH.into()],
            entrypoint: vec![recipe.path.clone()],
            cmd: recipe.arguments.clone(),
            user: recipe.user.clone(),
            working_dir: "/".into(),
        };
        let source = self.job.source();
        let new = NewImage { reference, arch: self.arch, origin: Origin::Built, source: &source };
        self.bundle.add_image(&new, &layers, &run)?;
        Ok(())
    }

    /// Writes a tar of what an image has of the module, and of its links.
    fn files_layer(&self, recipe: &ImageRecipe, to: &Path) -> io::Result<()> {
        let mut tar = tar::Builder::new(BufWriter::new(File::create(to)?));
        for (place, source) in &recipe.files {
            let (place, source) = (place.trim_start_matches('/'), self.programs.of_module(source));
            if source.is_dir() {
                append_folder(&mut tar, &source, place)?;
            } else {
                let mut header = plain_header(tar::EntryType::Regular, 0o755, source.metadata()?.len());
                tar.append_data(&mut header, place, File::open(&source)?)?;
            }
        }
        for (place, target) in &recipe.links {
            let mut header = plain_header(tar::EntryType::Symlink, 0o777, 0);
            tar.append_link(&mut header, place.trim_start_matches('/'), target)?;
        }
        tar.into_inner()?.flush()
    }
}

/// Writes a `.tar.gz` of the programs. The same programs always give the same bytes.
fn write_archive(prefix: &str, wanted: &Wanted, programs: &Programs, to: &File) -> io::Result<()> {
    let gzip = GzBuilder::new().mtime(0).write(BufWriter::new(to), Compression::new(6));
    let mut tar = tar::Builder::new(gzip);
    tar.append(&named_header(tar::EntryType::Directory, 0, prefix)?, io::empty())?;
    for (name, package) in &wanted.recipe.programs {
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

/// A tar with one program at `path` and the directories above it. The program is read while the tar is, and never held in memory.
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

/// Writes a folder's files whose names begin so into one, in the order of their names, as documents of YAML.
fn join(folder: &Path, begin: &str, to: &Path) -> io::Result<()> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)));
    paths.sort();
    let mut text = Vec::new();
    for path in paths {
        text.extend(b"---\n");
        text.extend(fs::read(path)?);
    }
    fs::write(to, text)
}

/// Writes a tar of a folder's files, below `path`. The same files always give the same bytes.
fn folder_layer(folder: &Path, path: &str, to: &Path) -> io::Result<()> {
    let mut tar = tar::Builder::new(BufWriter::new(File::create(to)?));
    append_folder(&mut tar, folder, path)?;
    tar.into_inner()?.flush()
}

/// Adds a folder's files, below `path`.
fn append_folder(tar: &mut tar::Builder<impl Write>, folder: &Path, path: &str) -> io::Result<()> {
    let mut folders = vec![(folder.to_owned(), path.to_owned())];
    while let Some((folder, path)) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(&folder)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("{path}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push((entry.path(), name));
                continue;
            }
            let mut header = plain_header(tar::EntryType::Regular, 0o644, entry.metadata()?.len());
            tar.append_data(&mut header, name, File::open(entry.path())?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_a_tar_of_the_program_where_it_belongs() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("tool");
        fs::write(&program, vec![7; 1000]).unwrap();
        let mut tar = tar::Archive::new(program_layer(&program, "usr/local/bin/tool").unwrap());
        let found: Vec<(String, u32, u64)> = tar
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let size = io::copy(&mut entry, &mut io::sink()).unwrap();
                (String::from_utf8(entry.path_bytes().into()).unwrap(), entry.header().mode().unwrap(), size)
            })
            .collect();
        let expected = [("usr/", 0), ("usr/local/", 0), ("usr/local/bin/", 0), ("usr/local/bin/tool", 1000)];
        assert_eq!(found, expected.map(|(name, size)| (name.to_string(), 0o755, size)));
    }

    #[test]
    fn files_of_a_folder_become_documents_of_one() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("kind.b.yaml", "b: 1\n"), ("kind.a.yaml", "a: 1\n"), ("other.yaml", "c: 1\n")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let to = dir.path().join("joined");
        join(dir.path(), "kind.", &to).unwrap();
        assert_eq!(fs::read_to_string(to).unwrap(), "---\na: 1\n---\nb: 1\n");
    }

    #[test]
    fn pages_are_a_tar_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let pages = dir.path().join("dist");
        fs::create_dir_all(pages.join("assets")).unwrap();
        fs::write(pages.join("index.html"), "<html>").unwrap();
        fs::write(pages.join("assets/a.js"), "a").unwrap();
        let path = dir.path().join("pages.tar");
        folder_layer(&pages, "site", &path).unwrap();
        let mut tar = tar::Archive::new(File::open(&path).unwrap());
        let found: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into()).unwrap())
            .collect();
        assert_eq!(found, ["site/index.html", "site/assets/a.js"]);
    }

    #[test]
    fn names_keep_what_upstream_puts_in_front() {
        let header = named_header(tar::EntryType::Regular, 1, "./bridge").unwrap();
        assert_eq!(&*header.path_bytes(), b"./bridge");
        assert!(named_header(tar::EntryType::Regular, 1, &"x".repeat(101)).is_err());
    }
}
