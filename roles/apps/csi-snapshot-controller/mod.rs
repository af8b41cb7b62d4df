//! The snapshot controller, with upstream's own definitions of its kinds, which are artifacts of the catalogue.

use muster_engine::prelude::*;

use super::{App, manifest, objects_of, of_template};
use crate::objects::ObjectSet;

pub(super) const NAME: &str = "csi-snapshot-controller";
pub(super) const DEFINITIONS: &str = "csi-snapshot-controller-definitions";

/// The names in the catalogue of the files with its kinds.
const FILES: [&str; 6] = [
    "volumesnapshotclasses-manifest",
    "volumesnapshotcontents-manifest",
    "volumesnapshots-manifest",
    "volumegroupsnapshotclasses-manifest",
    "volumegroupsnapshotcontents-manifest",
    "volumegroupsnapshots-manifest",
];

/// What is a snapshot, or says of one: with the kind it would be lost, and has finalizers that nobody but the controller takes away.
const SNAPSHOTS: [&str; 4] = [
    "volumesnapshots.snapshot.storage.k8s.io",
    "volumesnapshotcontents.snapshot.storage.k8s.io",
    "volumegroupsnapshots.groupsnapshot.storage.k8s.io",
    "volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io",
];

/// The application.
pub(crate) const APP: App =
    App { definitions: Some(DEFINITIONS), in_use: Some(|| objects_of(SNAPSHOTS)), ..App::of(NAME, sets) };

fn sets(of: &Host) -> Result<Vec<ObjectSet>> {
    let mut sets = vec![ObjectSet::of(DEFINITIONS, manifest::definitions(of, &FILES)?)?];
    sets.extend(of_template(of, NAME, include_str!("objects.yaml.j2"))?);
    Ok(sets)
}
