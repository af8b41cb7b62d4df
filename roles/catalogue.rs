//! What is installed: the catalogue (`catalogue/catalogue.yml`), and what of it a role takes from the bundle.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use muster_artifacts::{Arch, Catalogue, Release};
use muster_engine::prelude::*;
use muster_inventory::{HostVars, Inventory, Vars};

/// The catalogue that muster comes with.
#[expect(clippy::expect_used, reason = "the text is compiled in, and a test parses it")]
pub static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::parse(include_str!("catalogue/catalogue.yml"), "catalogue.yml")
        .expect("the catalogue is correct")
});

/// What of a version of Kubernetes a machine's variables ask for, for its architecture.
pub fn release(host: &Host, kube_version: &str) -> Result<Release> {
    let purposes = purposes(host.all_vars());
    Ok(CATALOGUE.needed(whole_release(host, kube_version)?, |purpose| purposes.contains(purpose)))
}

fn whole_release(host: &Host, kube_version: &str) -> Result<Release> {
    CATALOGUE.release(kube_version, arch(host)?).map_err(|error| {
        Failure::new(error.to_string(), "see the versions there are: muster bundle list --versions")
    })
}

/// What of a release the machines of an inventory need, all together.
pub fn needed_by(inventory: &Inventory, vars: &Vars, release: Release) -> Release {
    let hosts = inventory.hosts().filter_map(|host| vars.host(host.name()).ok());
    let purposes: BTreeSet<_> = hosts.flat_map(|vars| purposes(&vars)).collect();
    CATALOGUE.needed(release, |purpose| purposes.contains(purpose))
}

/// What a machine's variables ask for (`for` in the catalogue). A variable that cannot be worked out asks: what is wrong with it
/// is told elsewhere.
fn purposes(vars: &HostVars) -> BTreeSet<&'static str> {
    let is_not =
        |name: &str, value: &str| !matches!(vars.get(name), Ok(Some(found)) if found.as_str() == Some(value));
    let asked = [
        ("dns", is_not("dns_mode", "none")),
        ("flannel", !is_not("kube_network_plugin", "flannel")),
        ("network-test", is_not("verify_network", "never")),
    ];
    asked.into_iter().filter(|(_, asked)| *asked).map(|(purpose, _)| purpose).collect()
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
    let release = whole_release(host, kube_version)?;
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
