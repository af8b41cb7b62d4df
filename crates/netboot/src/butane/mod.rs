//! Butane: the format that is written today, for Fedora CoreOS and Flatcar.

mod rules;
pub(crate) mod tables;
mod translate;

use serde_json::Value;

pub(crate) use translate::camel_case;

use crate::local_files::LocalFiles;
use crate::mistake::Mistake;
use crate::rules::Rules;
use crate::shape::{self, Edition, Item, Object};
use crate::yaml::Node;

/// A version of a variant.
pub(crate) struct Version {
    /// As it is written behind `version`.
    pub(crate) written: &'static str,
    edition: Edition,
    /// The specification of Ignition that it becomes.
    spec: &'static str,
}

/// Those of Fedora CoreOS (Butane's config/config.go).
pub(crate) const FCOS: [Version; 7] = [
    fcos("1.1.0", "fcos 1.1.0", 2, "3.1.0"),
    fcos("1.2.0", "fcos 1.2.0", 3, "3.2.0"),
    fcos("1.3.0", "fcos 1.3.0", 3, "3.2.0"),
    fcos("1.4.0", "fcos 1.4.0", 4, "3.3.0"),
    fcos("1.5.0", "fcos 1.5.0", 5, "3.4.0"),
    fcos("1.6.0", "fcos 1.6.0", 6, "3.5.0"),
    fcos("1.7.0", "fcos 1.7.0", 7, "3.6.0"),
];

/// Those of Flatcar.
pub(crate) const FLATCAR: [Version; 2] =
    [flatcar("1.0.0", "flatcar 1.0.0", 4, "3.3.0"), flatcar("1.1.0", "flatcar 1.1.0", 5, "3.4.0")];

const fn fcos(written: &'static str, name: &'static str, generation: u8, spec: &'static str) -> Version {
    Version { written, edition: Edition { name, generation, first_with: |of| first(&FCOS, of) }, spec }
}

const fn flatcar(written: &'static str, name: &'static str, generation: u8, spec: &'static str) -> Version {
    Version { written, edition: Edition { name, generation, first_with: |of| first(&FLATCAR, of) }, spec }
}

fn first(versions: &[Version], generation: u8) -> Option<&'static str> {
    versions
        .iter()
        .find(|version| version.edition.generation >= generation)
        .map(|version| version.edition.name)
}

/// Reads a configuration: what was written, and what it becomes.
pub(crate) fn read(
    node: &Node,
    object: &'static Object,
    version: &Version,
    files: &LocalFiles,
    found: &mut Vec<Mistake>,
) -> (Item, Value) {
    let whole = shape::check(node, object, version.edition, found);
    rules::check(&whole, version.edition, &mut Rules { found });
    let config = translate::translate(&whole, version.spec, files, found);
    (whole, config)
}
