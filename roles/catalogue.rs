//! What is installed: the catalogue (`catalogue/catalogue.yml`), and what of it a role takes from the bundle.

use std::sync::LazyLock;

use muster_artifacts::{Arch, Catalogue, Release};
use muster_engine::prelude::*;

/// The catalogue that muster comes with.
#[expect(clippy::expect_used, reason = "the text is compiled in, and a test parses it")]
pub static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::parse(include_str!("catalogue/catalogue.yml"), "catalogue.yml")
        .expect("the catalogue is correct")
});

/// Everything that belongs to a version of Kubernetes, for a machine's architecture.
pub fn release(host: &Host, kube_version: &str) -> Result<Release> {
    CATALOGUE.release(kube_version, arch(host)?).map_err(|error| {
        Failure::new(error.to_string(), "see the versions there are: muster bundle list --versions")
    })
}

fn arch(host: &Host) -> Result<Arch> {
    Arch::of_machine(&host.facts().arch).ok_or_else(|| {
        Failure::new(
            format!("there are no programs for {} machines", host.facts().arch),
            "use amd64 or arm64 machines",
        )
    })
}

/// A file of the bundle, by its name in the catalogue, in the version that goes with this version of Kubernetes.
pub fn artifact(host: &Host, name: &str, kube_version: &str) -> Result<Artifact> {
    let release = release(host, kube_version)?;
    let Some(file) = release.file(name) else {
        return Err(Failure::new(format!("the catalogue has no {name} for Kubernetes {kube_version}"), ""));
    };
    let bundle = host.bundle().clone();
    let entry = bundle.file(name, &file.version, release.arch).map_err(missing)?.clone();
    Ok(Artifact { bundle, entry })
}

/// The full reference of an image, by its name in the catalogue, in the version that goes with this version of Kubernetes.
pub fn image(host: &Host, name: &str, kube_version: &str) -> Result<String> {
    let release = release(host, kube_version)?;
    release.image(name).map(|image| image.reference.to_string()).ok_or_else(|| {
        Failure::new(format!("the catalogue has no image {name} for Kubernetes {kube_version}"), "")
    })
}

/// What the bundle lacks, as a failure with its remedy.
pub fn missing(error: muster_artifacts::MissingArtifact) -> Failure {
    Failure::new(
        error.to_string(),
        "get it: muster bundle fetch (from the internet or a mirror) or muster bundle build",
    )
}
