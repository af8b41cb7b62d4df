//! What has to be built, so that a bundle has everything of a release.

use muster_artifacts::{Bundle, Release};

use super::BuildError;
use super::recipes::{self, Group, Product};

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
    pub(super) product: Product,
    /// Name in the artifact, and main package.
    pub(super) programs: Vec<(String, String)>,
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
    for (name, version, reference) in lacking {
        let (group_name, group, artifact) = groups
            .iter()
            .find_map(|(group_name, group)| Some((group_name, group, group.artifacts.get(name)?)))
            .ok_or_else(|| BuildError::NoRecipe { name: name.clone() })?;
        let version_of_modules = match &group.version {
            Some(pinned) => pinned,
            None if group.staging => &release.version,
            None => version,
        };
        let wanted = Wanted {
            name: name.clone(),
            version: version.clone(),
            reference,
            product: artifact.product.clone(),
            programs: artifact.programs.clone().into_iter().collect(),
        };
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
    jobs.sort_by_key(|job| groups.get_index_of(&job.name));
    Ok(jobs)
}

impl Job {
    /// Whether any of the artifacts rests on the Debian layer.
    pub(super) fn needs_base(&self) -> bool {
        self.artifacts.iter().any(|artifact| matches!(&artifact.product, Product::Image(image) if image.base))
    }

    /// The modules and their version, as a bundle's manifest names them.
    pub(super) fn source(&self) -> String {
        match self.group.modules.first() {
            Some(module) => format!("{module}@v{}", self.version),
            None => format!("muster {}", self.name),
        }
    }
}
