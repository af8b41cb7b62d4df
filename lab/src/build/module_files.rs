//! The `go.mod` and `tools.go` that compile programs out of other people's modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::go_compiler::Runner;
use super::jobs::Job;
use super::recipes::{self, ModuleCopy, RecipeFile};
use super::{BuildError, Working, io_at};

/// The language version of recipes that are not pinned. A module that needs a newer one raises it (`go mod tidy`).
const GO_VERSION: &str = "1.21";

/// Puts the recipe's files into `dir`: the pinned ones, or new ones for a version that nothing pins.
pub(super) fn prepare(
    job: &Job,
    dir: &Path,
    runner: &Runner<'_>,
    working: &mut Working<'_>,
) -> Result<(), BuildError> {
    for (folder, copy) in &job.group.copies {
        copy_module(copy, &dir.join(folder), runner, working)?;
    }
    if let Some(files) = recipes::pinned(&format!("{}-{}", job.name, job.version)) {
        return files.iter().try_for_each(|file| write(dir, file.0, file.1));
    }
    // The last file of all: when it is there, an earlier build has finished this.
    if dir.join("go.sum").exists() {
        return Ok(());
    }
    let stand_ins: Vec<&RecipeFile> = recipes::replacements(&job.name).collect();
    stand_ins.iter().try_for_each(|file| write(dir, file.0, file.1))?;
    let mut replaced: Vec<(String, String)> =
        job.group.replace.iter().map(|(module, path)| (module.clone(), path.clone())).collect();
    if job.group.staging {
        for module in &job.group.modules {
            replaced.extend(staging_modules(job, module, dir, runner, working)?);
        }
    }
    write(dir, "go.mod", &go_mod(job, &replaced))?;
    write(
        dir,
        "tools.go",
        &tools_go(job.group.artifacts.values().flat_map(|artifact| artifact.programs.values())),
    )?;
    let tidy = ["mod", "tidy"];
    let result = runner.go(dir, &tidy, "resolving modules", working);
    if result.is_err() {
        // A go.sum that is not complete must not pass for one that is.
        drop(fs::remove_file(dir.join("go.sum")));
    }
    result.map(drop)
}

/// Makes a copy of a module in a folder, unless it is there.
fn copy_module(
    copy: &ModuleCopy,
    folder: &Path,
    runner: &Runner<'_>,
    working: &mut Working<'_>,
) -> Result<(), BuildError> {
    if folder.exists() {
        return Ok(());
    }
    let unfinished = folder.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(io_at("remove", &unfinished))?;
    }
    fs::create_dir_all(&unfinished).map_err(io_at("create", &unfinished))?;
    let module = sources(&copy.module, &unfinished, runner, working)?;
    let left_out: Vec<_> = copy.without.iter().map(|path| module.join(path)).collect();
    copy_folder(&module, &unfinished, &left_out)?;
    fs::rename(&unfinished, folder).map_err(io_at("rename", &unfinished))
}

fn copy_folder(from: &Path, to: &Path, left_out: &[PathBuf]) -> Result<(), BuildError> {
    fs::create_dir_all(to).map_err(io_at("create", to))?;
    for entry in fs::read_dir(from).map_err(io_at("read", from))? {
        let entry = entry.map_err(io_at("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if left_out.contains(&source) {
            continue;
        }
        if source.is_dir() {
            copy_folder(&source, &target, left_out)?;
        } else {
            // Not fs::copy: what is in Go's cache is read-only.
            let content = fs::read(&source).map_err(io_at("read", &source))?;
            fs::write(&target, content).map_err(io_at("write", &target))?;
        }
    }
    Ok(())
}

/// Where the sources of a module are, downloaded: one with its version, or one that the `go.mod` in `dir` names.
pub(super) fn sources(
    module: &str,
    dir: &Path,
    runner: &Runner<'_>,
    working: &mut Working<'_>,
) -> Result<PathBuf, BuildError> {
    let answer = runner.go(dir, &["mod", "download", "-json", module], "downloading modules", working)?;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    answer["Dir"].as_str().map(PathBuf::from).ok_or_else(|| BuildError::Module {
        module: module.to_owned(),
        version: answer["Version"].as_str().unwrap_or_default().to_owned(),
        message: "go mod download named no folder".to_owned(),
    })
}

/// The replacements for the modules that a module's own `go.mod` replaces by folders of its repository.
fn staging_modules(
    job: &Job,
    module: &str,
    dir: &Path,
    runner: &Runner<'_>,
    working: &mut Working<'_>,
) -> Result<Vec<(String, String)>, BuildError> {
    let bad =
        |message: String| BuildError::Module { module: module.into(), version: job.version.clone(), message };
    fs::create_dir_all(dir).map_err(io_at("create", dir))?;
    let wanted = format!("{module}@v{}", job.version);
    let answer = runner.go(dir, &["mod", "download", "-json", &wanted], "downloading modules", working)?;
    let answer: serde_json::Value = serde_json::from_str(&answer).map_err(|error| bad(error.to_string()))?;
    let path = answer["GoMod"].as_str().ok_or_else(|| bad("go mod download named no go.mod".into()))?;
    let text = fs::read_to_string(path).map_err(io_at("read", Path::new(path)))?;
    let version = staging_version(&job.version)
        .ok_or_else(|| bad(format!("{:?} is not a version like 1.36.3", job.version)))?;
    let modules = parse_staging(&text);
    if modules.is_empty() {
        return Err(bad("it replaces no modules by folders".into()));
    }
    Ok(modules.into_iter().map(|name| (name.clone(), format!("{name} {version}"))).collect())
}

/// Staging modules are published as v0.MINOR.PATCH
/// (<https://github.com/kubernetes/kubernetes/blob/master/staging/README.md>).
fn staging_version(version: &str) -> Option<String> {
    version.strip_prefix("1.").map(|rest| format!("v0.{rest}"))
}

/// The modules that `go.mod` replaces by a folder.
fn parse_staging(go_mod: &str) -> BTreeSet<String> {
    let lines = go_mod.lines().map(|line| line.trim().trim_start_matches("replace ").trim());
    lines
        .filter_map(|line| line.split_once(" => "))
        .filter(|(_, to)| to.starts_with("./"))
        .filter_map(|(from, _)| from.split_whitespace().next().map(String::from))
        .collect()
}

fn go_mod(job: &Job, replaced: &[(String, String)]) -> String {
    let mut text = format!("module muster.local/bundle/{}\n\ngo {GO_VERSION}\n\nrequire (\n", job.name);
    for module in &job.group.modules {
        text.push_str(&format!("\t{module} v{}\n", job.version));
    }
    text.push_str(")\n");
    if !replaced.is_empty() {
        text.push_str("\nreplace (\n");
        for (from, to) in replaced {
            text.push_str(&format!("\t{from} => {to}\n"));
        }
        text.push_str(")\n");
    }
    text
}

/// Imports that make `go mod tidy` keep what the programs need.
fn tools_go<'a>(packages: impl Iterator<Item = &'a String>) -> String {
    let mut text = String::from("//go:build tools\n\npackage tools\n\nimport (\n");
    for package in packages {
        text.push_str(&format!("\t_ \"{package}\"\n"));
    }
    text.push_str(")\n");
    text
}

fn write(dir: &Path, name: &str, content: &str) -> Result<(), BuildError> {
    let path = dir.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io_at("create", parent))?;
    }
    fs::write(&path, content).map_err(io_at("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_modules_are_found() {
        let text = "module k8s.io/kubernetes\n\nreplace k8s.io/api => ./staging/src/k8s.io/api\nreplace (\n\
                    \tk8s.io/client-go => ./staging/src/k8s.io/client-go\n\texample.org/x => example.org/y v1.0.0\n)\n";
        let found = parse_staging(text);
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["k8s.io/api", "k8s.io/client-go"]);
        assert_eq!(staging_version("1.36.3").as_deref(), Some("v0.36.3"));
        assert_eq!(staging_version("2.0.0"), None);
    }
}
