//! Making a bundle from source, for places that reach package registries but not the sites of upstream's releases.
//!
//! Every program is a Go module; the module proxy and the checksum database give what `go.mod` and `go.sum` pin. What comes
//! out has upstream's layout: a role cannot tell a built bundle from a fetched one.
//!
//! The work is in this order: which artifacts does the bundle lack ([`jobs`]), is everything there to make them ([`required_tools`]),
//! then for each group of programs compile ([`go_compiler`]) and pack ([`pack`]).

mod debian_layer;
mod go_compiler;
mod jobs;
mod module_files;
mod pack;
mod recipes;
mod required_tools;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muster_artifacts::{Arch, BundleError, BundleWriter, Release};
use thiserror::Error;

use pack::Packer;

/// What a build tells its caller while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildProgress<'a> {
    /// Work on a group of programs begins.
    Start {
        /// The group, e.g. `kubernetes 1.36.3`.
        item: &'a str,
        /// Which one it is, counted from 1.
        index: usize,
        /// How many there are.
        of: usize,
        /// The artifacts that will come out of it.
        artifacts: &'a [String],
    },
    /// Still at it. Comes about once a second.
    Working {
        /// What is being done, e.g. `compiling k8s.io/kubernetes/pkg/kubelet (812 of 1650 packages)`.
        what: &'a str,
        /// Since the group was begun.
        elapsed: Duration,
    },
    /// The group is in the bundle.
    Done {
        /// Since the group was begun.
        elapsed: Duration,
    },
}

/// Where the news goes.
pub type BuildSink<'a> = dyn FnMut(BuildProgress<'_>) + 'a;

/// A build failed.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Programs that a build needs are not there.
    #[error("building from source needs {missing}. Install it with: {remedy}")]
    Tools {
        /// What is missing, in words.
        missing: String,
        /// The commands that install it.
        remedy: String,
    },
    /// The programs are for another architecture than this machine's.
    #[error(
        "a bundle for {arch} cannot be built on this machine ({host}): build it on one of that architecture, or fetch it"
    )]
    Architecture {
        /// The bundle's.
        arch: Arch,
        /// This machine's.
        host: &'static str,
    },
    /// No recipe makes some artifacts.
    #[error(
        "these cannot be built from source: {}. Fetch them from upstream, or from a mirror: muster bundle fetch",
        .names.join(", ")
    )]
    NoRecipe {
        /// The artifacts: images by their references, files with their versions.
        names: Vec<String>,
    },
    /// The recipes, which are part of the program, cannot be read.
    #[error("recipes.yml: {message}")]
    Recipes {
        /// Why not.
        message: String,
    },
    /// A program of the build failed.
    #[error("`{command}` failed ({status}), in {}:\n{output}", .dir.display())]
    Command {
        /// The command line.
        command: String,
        /// The exit status, in words.
        status: String,
        /// Where it ran.
        dir: PathBuf,
        /// The end of what it printed.
        output: String,
    },
    /// A module's `go.mod` is not as expected.
    #[error("the go.mod of {module} {version} cannot be used: {message}")]
    Module {
        /// The module.
        module: String,
        /// Its version.
        version: String,
        /// Why not.
        message: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, e.g. `write`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Builds everything of `release` that `bundle` lacks. What was built before a failure or a kill is kept.
///
/// `work` is a directory for what is on the way: recipes and programs. Go keeps its own caches, so that a build that was
/// cut off goes on where it was.
pub fn build(
    release: &Release,
    bundle: &mut BundleWriter,
    work: &Path,
    progress: &mut BuildSink<'_>,
) -> Result<(), BuildError> {
    let jobs = jobs::plan(release, bundle)?;
    if jobs.is_empty() {
        return Ok(());
    }
    if Some(release.arch) != Arch::host() {
        return Err(BuildError::Architecture { arch: release.arch, host: std::env::consts::ARCH });
    }
    let go = required_tools::find(&jobs)?;
    for (index, job) in jobs.iter().enumerate() {
        let started = Instant::now();
        let artifacts: Vec<String> = job.artifacts.iter().map(|artifact| artifact.name.clone()).collect();
        let item = format!("{} {}", job.name, job.version);
        progress(BuildProgress::Start {
            item: &item,
            index: index + 1,
            of: jobs.len(),
            artifacts: &artifacts,
        });
        let mut working = |what: &str| {
            progress(BuildProgress::Working { what, elapsed: started.elapsed() });
        };
        let programs = go_compiler::compile(&go, job, work, &mut working)?;
        let mut packer = Packer { job, arch: release.arch, programs: &programs, work, bundle: &mut *bundle };
        job.artifacts.iter().try_for_each(|artifact| packer.pack(artifact, &mut working))?;
        programs.remove()?;
        progress(BuildProgress::Done { elapsed: started.elapsed() });
    }
    Ok(())
}

/// Makes a function that turns an [`io::Error`] into a [`BuildError`] about `path`.
fn io_at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BuildError + 'a {
    move |source| BuildError::Io { action, path: path.into(), source }
}

/// Told what is being done at the moment, about once a second.
type Working<'a> = dyn FnMut(&str) + 'a;
