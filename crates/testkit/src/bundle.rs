//! Bundles whose contents mean nothing, but for those that a test gives.

use std::path::Path;

use muster_artifacts::{BundleWriter, NewFile, NewImage, Origin, Release, RunConfig};

/// A bundle in a folder that has everything of a release, but the files of these names, and images whose reference holds one of these
/// words. A file holds its name and version.
pub fn write(folder: &Path, release: &Release, left_out: &[&str]) {
    write_with(folder, release, left_out, |_| None);
}

/// The same, where files of some names hold something.
pub fn write_with(
    folder: &Path,
    release: &Release,
    left_out: &[&str],
    content: impl Fn(&str) -> Option<Vec<u8>>,
) {
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
        let named = || format!("{} {}", file.name, file.version).into_bytes();
        let content = content(&file.name).unwrap_or_else(named);
        bundle.add_file(&new, &mut content.as_slice()).expect("a file of the bundle");
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
