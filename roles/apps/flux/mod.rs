//! Flux: its controllers of sources and of what is applied from them, with upstream's own definitions of their kinds, which are
//! artifacts of the catalogue.

use muster_engine::prelude::*;

use super::{App, manifest, objects_of, of_template};
use crate::objects::ObjectSet;

pub(super) const NAME: &str = "flux";
pub(super) const DEFINITIONS: &str = "flux-definitions";

/// The names in the catalogue of the files with its kinds.
const FILES: [&str; 7] = [
    "buckets-manifest",
    "externalartifacts-manifest",
    "gitrepositories-manifest",
    "helmcharts-manifest",
    "helmrepositories-manifest",
    "ocirepositories-manifest",
    "kustomizations-manifest",
];

/// Its objects have finalizers that nobody but the controllers takes away, and a Kustomization may take along what it has applied.
const OBJECTS: [&str; 7] = [
    "kustomizations.kustomize.toolkit.fluxcd.io",
    "gitrepositories.source.toolkit.fluxcd.io",
    "ocirepositories.source.toolkit.fluxcd.io",
    "buckets.source.toolkit.fluxcd.io",
    "helmrepositories.source.toolkit.fluxcd.io",
    "helmcharts.source.toolkit.fluxcd.io",
    "externalartifacts.source.toolkit.fluxcd.io",
];

/// The application.
pub(crate) const APP: App =
    App { definitions: Some(DEFINITIONS), in_use: Some(|| objects_of(OBJECTS)), ..App::of(NAME, sets) };

fn sets(of: &Host) -> Result<Vec<ObjectSet>> {
    let mut sets = vec![ObjectSet::of(DEFINITIONS, manifest::definitions(of, &FILES)?)?];
    sets.extend(of_template(of, NAME, include_str!("objects.yaml.j2"))?);
    Ok(sets)
}
