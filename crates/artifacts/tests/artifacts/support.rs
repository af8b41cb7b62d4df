//! A small catalogue, and bundles that hold what it names.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use muster_artifacts::{
    Arch, Bundle, BundleWriter, Catalogue, Kind, NewFile, NewImage, Origin, Progress, Release, RunConfig,
    Sha256,
};

/// What `tool` is: long enough that a download of it can be cut off in the middle.
pub(crate) fn tool() -> Vec<u8> {
    (0..60_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect()
}

/// What `archive` is.
pub(crate) fn archive() -> Vec<u8> {
    b"as published".repeat(1000)
}

/// A catalogue with a pinned binary, an unpinned one, an archive, and two images that share a layer.
pub(crate) fn catalogue() -> Catalogue {
    let text = format!(
        r#"
default_release: "1.0.0"
files:
  tool:
    kind: binary
    url: "https://dl.example.org/tool/v{{version}}/{{arch}}/tool"
    sha256_url: "https://dl.example.org/tool/v{{version}}/{{arch}}/tool.sha256"
    sha256: {{"1.0.0": {{amd64: {}}}}}
  free:
    kind: binary
    url: "https://dl.example.org/free-{{version}}-{{arch}}"
    unpinned: ["2.0"]
  archive:
    kind: archive
    url: "https://files.example.org/archive-{{version}}.tgz"
    sha256: {{"3.0": {{amd64: {}}}}}
  extra:
    kind: archive
    optional: true
    url: "https://files.example.org/extra-{{version}}.tgz"
    sha256: {{"4.0": {{amd64: {}}}}}
  alone:
    kind: binary
    url: "https://dl.example.org/v{{version}}/{{arch}}/alone"
    sha256_url: "https://dl.example.org/v{{version}}/{{arch}}/alone.sha256"
    published: ["1.0.1"]
  among:
    kind: archive
    url: "https://files.example.org/v{{version}}/among-{{arch}}.tgz"
    sha256_url: "https://files.example.org/v{{version}}/SHA256SUMS"
    published: ["3.1"]
images:
  one: "registry.example.org/group/one:v{{version}}"
  two: "docker.io/two:{{version}}"
releases:
  every: {{tool: "{{release}}", free: "2.0", archive: "3.0", one: "{{release}}", two: "5"}}
  "1.0": {{extra: "4.0"}}
"#,
        Sha256::of(&tool()),
        Sha256::of(&archive()),
        Sha256::of(b"never published"),
    );
    Catalogue::parse(&text, "catalogue.yml").unwrap()
}

pub(crate) fn release() -> Release {
    catalogue().release("1.0.0", Arch::Amd64).unwrap()
}

pub(crate) fn add_file(writer: &mut BundleWriter, name: &str, version: &str, kind: Kind, content: &[u8]) {
    let new = NewFile {
        name,
        version,
        arch: Arch::Amd64,
        kind,
        origin: Origin::Built,
        source: "a test",
        expected: None,
    };
    writer.add_file(&new, &mut &content[..]).unwrap();
}

/// A bundle with all that the release needs.
pub(crate) fn full_bundle(dir: &Path) -> Arc<Bundle> {
    let mut writer = BundleWriter::open(dir).unwrap();
    add_file(&mut writer, "tool", "1.0.0", Kind::Binary, &tool());
    add_file(&mut writer, "free", "2.0", Kind::Binary, b"free");
    add_file(&mut writer, "archive", "3.0", Kind::Archive, &archive());
    let shared = writer.add_layer(&mut &tool()[..50_000]).unwrap();
    for image in release().images {
        let own = writer.add_layer(&mut image.name.as_bytes()).unwrap();
        let new = NewImage {
            reference: &image.reference,
            arch: Arch::Amd64,
            origin: Origin::Built,
            source: "a test",
        };
        let run = RunConfig { entrypoint: vec!["/run".into()], ..RunConfig::default() };
        writer.add_image(&new, &[shared, own], &run).unwrap();
    }
    drop(writer);
    Arc::new(Bundle::open(dir).unwrap())
}

/// A file's content as published.
pub(crate) fn content(bundle: &Bundle, name: &str, version: &str) -> Vec<u8> {
    let entry = bundle.file(name, version, Arch::Amd64).unwrap();
    let mut bytes = Vec::new();
    bundle.content(entry).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Takes no notice.
pub(crate) fn silent(_: Progress<'_>) {}
