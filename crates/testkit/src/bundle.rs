//! Bundles whose contents mean nothing.

use std::path::Path;

use muster_artifacts::{BundleWriter, NewFile, NewImage, Origin, Release, RunConfig};

/// A bundle in a folder that has everything of a release, but the files of these names, and images whose reference holds one of these
/// words. A file holds its name and version.
pub fn write(folder: &Path, release: &Release, left_out: &[&str]) {
    let mut bundle = BundleWriter::open(folder).expect("a bundle");
    for file in release.files.iter().filter(|file| !left_out.contains(&file.name.as_str())) {
        let new = NewFile {
            name: &file.name,
            version: &file.version,
            arch: file.arch,
            kind: file.kind,
            origin: Origin::Built,
            source: "a test",
            expected: None,
        };
        bundle
            .add_file(&new, &mut format!("{} {}", file.name, file.version).as_bytes())
            .expect("a file of the bundle");
    }
    for image in &release.images {
        let name = image.reference.to_string();
        if left_out.iter().any(|word| name.contains(word)) {
            continue;
        }
        let layer = bundle.add_layer(&mut name.as_bytes()).expect("a layer");
        let new = NewImage {
            reference: &image.reference,
            arch: release.arch,
            origin: Origin::Built,
            source: "a test",
        };
        bundle.add_image(&new, &[layer], &RunConfig::default()).expect("an image");
    }
}
