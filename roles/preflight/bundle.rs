//! What the bundle lacks, and how much room on a machine what it holds will take.

use muster_artifacts::{Kind, Release};
use muster_engine::prelude::*;

use super::findings::problem;
use crate::catalogue::CATALOGUE;
use crate::common::ClusterVars;

/// How much room things take on a machine, in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) programs: u64,
    pub(super) downloads: u64,
    pub(super) images: u64,
}

/// What a program, or an image, in a compressed archive grows to when it is unpacked: two to three times.
const UNPACKED: u64 = 3;

/// What a machine of this kind gets from the bundle; `None` for a version or architecture that is told elsewhere.
fn release(host: &Host, cluster: &ClusterVars) -> Option<Release> {
    crate::catalogue::release(host, &cluster.kube_version).ok()
}

/// What the bundle lacks, told by the first machine of its kind alone: the bundle is the same for all.
pub(super) async fn missing(host: &Host, cluster: &ClusterVars) -> Result<Option<Problem>> {
    let Some(release) = release(host, cluster) else { return Ok(None) };
    let mut told = None;
    let key = format!("what the bundle lacks of {} for {}", release.version, release.arch);
    let looked = host.cluster().once(&key, || async {
        let missing = host.bundle().missing_of(&release);
        told = lacks(&missing.iter().map(|m| m.what.as_str()).collect::<Vec<_>>(), &release);
        Ok(())
    });
    looked.await?;
    Ok(told)
}

fn lacks(missing: &[&str], release: &Release) -> Option<Problem> {
    let is_default = release.version == CATALOGUE.default_release();
    let which = if is_default { String::new() } else { format!(" --kube-version {}", release.version) };
    let wanted = release.files.iter().filter(|file| !file.optional).count() + release.images.len();
    (!missing.is_empty()).then(|| {
        let found = match missing.len() == wanted {
            true => "nothing of it".to_owned(),
            false => format!("no {}", missing.join(", no ")),
        };
        problem(
            "bundle",
            found,
            format!("everything that belongs to Kubernetes {}", release.version),
            format!("get it: muster bundle fetch{which}, or muster bundle build{which}"),
        )
    })
}

/// How much room a machine needs for everything it gets.
pub(super) fn sizes(host: &Host, cluster: &ClusterVars) -> Sizes {
    let Some(release) = release(host, cluster) else { return Sizes::default() };
    let bundle = host.bundle();
    let files =
        release.files.iter().filter_map(|file| bundle.file(&file.name, &file.version, release.arch).ok());
    let images = release.images.iter();
    let images = images.filter_map(|image| bundle.image(&image.reference.to_string(), release.arch).ok());
    let mut bytes = Sizes::default();
    for file in files {
        bytes.downloads += file.size;
        bytes.programs += if file.kind == Kind::Archive { file.size * UNPACKED } else { file.size };
    }
    let images: u64 = images.map(|image| image.size).sum();
    // Images arrive when programs are installed, and go as programs do.
    bytes.downloads = bytes.downloads.max(images);
    // An image is kept both as it came and unpacked.
    bytes.images = images * (1 + UNPACKED);
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Sizes { programs: mib(bytes.programs), downloads: mib(bytes.downloads), images: mib(bytes.images) }
}

#[cfg(test)]
mod tests {
    use muster_artifacts::Arch;

    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let release = CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).unwrap();
        let told = lacks(&["kubelet 1.2.3 for amd64", "image a:1 for amd64"], &release).unwrap();
        assert_eq!(told.found, "no kubelet 1.2.3 for amd64, no image a:1 for amd64");
        assert_eq!(told.remedy, "get it: muster bundle fetch, or muster bundle build");
        // A cluster keeps its version; the bundle's is that of new clusters, unless another one is asked for.
        let kept = lacks(&["kubelet 1.36.3 for amd64"], &CATALOGUE.release("1.36.3", Arch::Amd64).unwrap());
        assert!(kept.unwrap().remedy.contains("fetch --kube-version 1.36.3, or"));
        assert_eq!(lacks(&[], &release), None);
        let bundle = muster_artifacts::Bundle::empty("/nowhere");
        let all = bundle.missing_of(&release);
        let all: Vec<&str> = all.iter().map(|missing| missing.what.as_str()).collect();
        assert_eq!(lacks(&all, &release).unwrap().found, "nothing of it");
    }
}
