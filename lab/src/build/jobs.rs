//! What has to be built, so that a bundle has everything of a release.

use muster_artifacts::{Bundle, Release};

use super::BuildError;
use super::recipes::{self, Artifact, Group, ImageRecipe};

/// A group of programs to compile, and the artifacts to make of them.
#[derive(Debug)]
pub(super) struct Job {
    /// The group's name.
    pub(super) name: String,
    /// The version of its modules.
    pub(super) version: String,
    pub(super) group: Group,
    /// Only those that the bundle lacks.
    pub(super) artifacts: Vec<Wanted>,
}

/// An artifact to make.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Its name in the catalogue.
    pub(super) name: String,
    /// Its version in the catalogue.
    pub(super) version: String,
    /// The image's reference; `None` for files.
    pub(super) reference: Option<muster_artifacts::ImageReference>,
    pub(super) recipe: Artifact,
}

/// The jobs, in the order of the recipes.
pub(super) fn plan(release: &Release, bundle: &Bundle) -> Result<Vec<Job>, BuildError> {
    let groups = recipes::groups()?;
    let lacking_files = release
        .files
        .iter()
        .filter(|file| !file.optional && bundle.file(&file.name, &file.version, file.arch).is_err());
    let lacking_images = release
        .images
        .iter()
        .filter(|image| bundle.image(&image.reference.to_string(), release.arch).is_err());
    let lacking = lacking_files
        .map(|file| (&file.name, &file.version, None))
        .chain(lacking_images.map(|image| (&image.name, &image.version, Some(image.reference.clone()))));

    let mut jobs: Vec<Job> = Vec::new();
    let mut without_recipe = Vec::new();
    for (name, version, reference) in lacking {
        let recipe = groups
            .iter()
            .find_map(|(group_name, group)| Some((group_name, group, group.artifacts.get(name)?)));
        let Some((group_name, group, artifact)) = recipe else {
            let image = reference.map(|reference| format!("image {reference}"));
            without_recipe.push(image.unwrap_or_else(|| format!("{name} {version}")));
            continue;
        };
        let version_of_modules = match &group.version {
            Some(pinned) => pinned,
            None if group.staging => &release.version,
            None => version,
        };
        let wanted =
            Wanted { name: name.clone(), version: version.clone(), reference, recipe: artifact.clone() };
        match jobs.iter_mut().find(|job| job.name == *group_name) {
            Some(job) => job.artifacts.push(wanted),
            None => jobs.push(Job {
                name: group_name.clone(),
                version: version_of_modules.clone(),
                group: group.clone(),
                artifacts: vec![wanted],
            }),
        }
    }
    if !without_recipe.is_empty() {
        return Err(BuildError::NoRecipe { names: without_recipe });
    }
    jobs.sort_by_key(|job| groups.get_index_of(&job.name));
    Ok(jobs)
}

impl Job {
    /// Whether any of the artifacts has a layer of Debian packages.
    pub(super) fn needs_debian(&self) -> bool {
        let has_layer =
            |wanted: &Wanted| wanted.recipe.image.as_ref().is_some_and(ImageRecipe::has_debian_layer);
        self.artifacts.iter().any(has_layer)
    }

    /// Whether any of the artifacts has pages for browsers.
    pub(super) fn needs_npm(&self) -> bool {
        self.artifacts
            .iter()
            .any(|wanted| wanted.recipe.image.as_ref().is_some_and(|image| image.pages.is_some()))
    }

    /// The modules and their version, as a bundle's manifest names them.
    pub(super) fn source(&self) -> String {
        match self.group.modules.first() {
            Some(module) => format!("{module}@v{}", self.version),
            None if !self.group.has_programs() => format!("Debian's {}", self.name),
            None => format!("muster {}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_artifacts::{Arch, BundleWriter, Catalogue, Kind, NewFile, Origin};

    use super::*;

    const CATALOGUE: &str = include_str!("../../../roles/catalogue/catalogue.yml");

    fn release(version: &str) -> Release {
        release_with(version, &[])
    }

    fn release_with(version: &str, apps: &[String]) -> Release {
        let catalogue = Catalogue::parse(CATALOGUE, "catalogue.yml").unwrap();
        catalogue.with_options(catalogue.release(version, Arch::Amd64).unwrap(), apps)
    }

    fn describe(jobs: &[Job]) -> Vec<String> {
        jobs.iter().map(|job| format!("{} {}: {}", job.name, job.version, job.artifacts.len())).collect()
    }

    #[test]
    fn every_release_of_the_catalogue_can_be_planned() {
        let catalogue = Catalogue::parse(CATALOGUE, "catalogue.yml").unwrap();
        for version in catalogue.releases() {
            assert_eq!(plan(&release(version), &Bundle::empty("nowhere")).unwrap().len(), 10);
        }
    }

    #[test]
    fn what_is_quick_comes_first_in_the_versions_of_the_modules() {
        let jobs = plan(&release("1.35.4"), &Bundle::empty("nowhere")).unwrap();
        let expected = [
            "haproxy 3.2.4: 1",
            "pause 1: 1",
            "runc 1.4.3: 1",
            "flannel-cni 0.9.1: 1",
            "cni-plugins 1.9.1: 1",
            "etcd 3.6.14: 1",
            "containerd 2.2.1: 1",
            "flannel 0.28.4: 1",
            "coredns 1.13.1: 1",
            "kubernetes 1.35.4: 8",
        ];
        assert_eq!(describe(&jobs), expected);
        assert_eq!(jobs[9].source(), "k8s.io/kubernetes@v1.35.4");
        let agnhost = jobs[9].artifacts.iter().find(|artifact| artifact.name == "agnhost").unwrap();
        assert_eq!(agnhost.version, "2.59");
    }

    #[test]
    fn applications_are_planned_where_they_are_asked_for() {
        let catalogue = Catalogue::parse(CATALOGUE, "catalogue.yml").unwrap();
        // The modules of these have no main package, or are not to be had.
        const NOT_BUILT: [&str; 8] = [
            "openstack-cloud-controller",
            "cinder-csi",
            "kube-state-metrics",
            "cert-manager",
            "nfs-csi",
            "local-volume-provisioner",
            "node-feature-discovery",
            "argocd",
        ];
        let is_built = |app: &&str| !NOT_BUILT.contains(app);
        let apps: Vec<String> = catalogue.apps().filter(is_built).map(str::to_owned).collect();
        let jobs = plan(&release_with("1.36.3", &apps), &Bundle::empty("nowhere")).unwrap();
        let planned =
            |image: &str| jobs.iter().flat_map(|job| &job.artifacts).any(|artifact| artifact.name == image);
        let kinds = jobs.iter().find(|job| job.name == "snapshot-kinds").unwrap();
        assert_eq!(kinds.source(), "github.com/kubernetes-csi/external-snapshotter/client/v8@v8.6.0");
        let mut images = apps.iter().flat_map(|app| catalogue.images_of_app(app));
        assert!(images.all(planned), "{:?}", describe(&jobs));
    }

    #[test]
    fn cilium_is_built_but_for_its_proxy() {
        let with = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            plan(&release_with("1.36.3", &options), &Bundle::empty("nowhere"))
        };
        let jobs = with(&["cilium", "helm"]).unwrap();
        assert!(describe(&jobs).contains(&"cilium 1.20.2: 3".to_owned()), "{:?}", describe(&jobs));
        let told = with(&["cilium", "cilium-envoy"]).unwrap_err().to_string();
        assert!(told.contains("image quay.io/cilium/cilium-envoy:v"), "{told}");
    }

    #[test]
    fn what_cannot_be_built_is_told_before_anything_is_built() {
        let error =
            plan(&release_with("1.36.3", &["calico".to_owned()]), &Bundle::empty("nowhere")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "these cannot be built from source: calico-manifest 3.31.7, image quay.io/calico/node:v3.31.7, image \
             quay.io/calico/cni:v3.31.7, image quay.io/calico/kube-controllers:v3.31.7. Fetch them from upstream, or from a \
             mirror: muster bundle fetch"
        );
    }

    #[test]
    fn what_the_bundle_has_is_not_planned() {
        let dir = tempfile::tempdir().unwrap();
        let mut bundle = BundleWriter::open(dir.path()).unwrap();
        for (name, version, kind) in [("runc", "1.4.3", Kind::Binary), ("kubelet", "1.36.3", Kind::Binary)] {
            let new = NewFile {
                name,
                version,
                arch: Arch::Amd64,
                kind,
                origin: Origin::Built,
                source: "",
                expected: None,
            };
            bundle.add_file(&new, &mut &b"program"[..]).unwrap();
        }
        let jobs = describe(&plan(&release("1.36.3"), &bundle).unwrap());
        assert!(!jobs.iter().any(|job| job.starts_with("runc")), "{jobs:?}");
        assert_eq!(jobs.last().unwrap(), "kubernetes 1.36.3: 7");
    }
}
