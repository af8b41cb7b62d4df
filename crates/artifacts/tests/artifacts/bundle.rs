use std::collections::HashMap;
use std::fs;
use std::io::Read;

use muster_artifacts::{Arch, Bundle, BundleError, BundleWriter, Encoding, Kind, Sha256};

use crate::support::{add_file, archive, content, full_bundle, release, silent, tool};

const ONE: &str = "registry.example.org/group/one:v1.0.0";
const TWO: &str = "docker.io/two:5";

#[test]
fn what_was_added_is_found_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = full_bundle(dir.path());
    let entry = bundle.file("tool", "1.0.0", Arch::Amd64).unwrap();
    assert_eq!((entry.sha256, entry.size), (Sha256::of(&tool()), tool().len() as u64));
    assert_eq!(entry.stored.encoding, Encoding::Gzip);
    assert!(entry.stored.size < entry.size);
    assert_eq!(content(&bundle, "tool", "1.0.0"), tool());
    // Archives are compressed already.
    let entry = bundle.file("archive", "3.0", Arch::Amd64).unwrap();
    assert_eq!(fs::read(bundle.path(entry)).unwrap(), archive());
    assert_eq!(bundle.missing_of(&release()), []);
    assert_eq!(bundle.check(&mut silent), []);
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = full_bundle(dir.path());
    let place = dir.path().display();
    assert_eq!(
        bundle.file("tool", "1.0.1", Arch::Amd64).unwrap_err().to_string(),
        format!("the bundle {place} has no tool 1.0.1 for amd64; it has 1.0.0 for amd64")
    );
    let error = bundle.image("docker.io/two:6", Arch::Amd64).unwrap_err();
    assert_eq!(error.what, "image docker.io/two:6 for amd64");
    assert_eq!(error.has, "it has 5 for amd64");
    let error = bundle.image_archive(&[ONE, "docker.io/three:1"], Arch::Amd64).unwrap_err();
    assert!(
        error.to_string().contains("no image docker.io/three:1 for amd64; it has none at all"),
        "{error}"
    );

    let nothing = dir.path().join("nothing");
    let error = Bundle::open(&nothing).unwrap_err();
    assert!(matches!(error, BundleError::NotABundle { .. }), "{error}");
    assert!(!nothing.exists());
}

#[test]
fn image_archive_is_a_layout_with_each_blob_once() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = full_bundle(dir.path());
    let mut stream = bundle.image_archive(&[ONE, TWO, ONE], Arch::Amd64).unwrap();
    let promised = stream.size();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, promised);

    let mut members = HashMap::new();
    for member in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut member = member.unwrap();
        let path = member.path().unwrap().to_str().unwrap().to_string();
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        if let Some(digest) = path.strip_prefix("blobs/sha256/") {
            assert_eq!(Sha256::of(&content).to_string(), digest);
        }
        assert!(members.insert(path, content).is_none(), "a member is there twice");
    }
    // Two documents, and of each image a manifest, a configuration and a layer, and one layer of both. The configurations
    // differ, as the layers do.
    assert_eq!(members.len(), 2 + 2 * 3 + 1);

    let index: serde_json::Value = serde_json::from_slice(&members["index.json"]).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 2);
    assert_eq!(manifests[0]["annotations"]["io.containerd.image.name"], ONE);
    assert_eq!(manifests[0]["annotations"]["org.opencontainers.image.ref.name"], ONE);
    assert_eq!(manifests[0]["platform"]["architecture"], "amd64");
    let entry = bundle.image(ONE, Arch::Amd64).unwrap();
    assert_eq!(manifests[0]["digest"], entry.manifest_digest.oci());
    let manifest = &members[&format!("blobs/sha256/{}", entry.manifest_digest)];
    let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let blob = &members[&format!("blobs/sha256/{}", &layer["digest"].as_str().unwrap()[7..])];
        assert_eq!(layer["size"].as_u64().unwrap(), blob.len() as u64);
    }
}

#[test]
fn archive_of_one_image_has_nothing_of_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = full_bundle(dir.path());
    let one = bundle.image_archive(&[ONE], Arch::Amd64).unwrap().size();
    let both = bundle.image_archive(&[ONE, TWO], Arch::Amd64).unwrap().size();
    assert!(one < both);
}

#[test]
fn archive_fails_when_a_blob_was_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = full_bundle(dir.path());
    let largest = largest_blob(&bundle);
    let size = fs::metadata(&largest).unwrap().len();
    fs::File::options().write(true).open(&largest).unwrap().set_len(size - 1).unwrap();
    let error = bundle.image_archive(&[ONE], Arch::Amd64).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("1 bytes too short"), "{error}");
}

fn largest_blob(bundle: &Bundle) -> std::path::PathBuf {
    let blobs = fs::read_dir(bundle.dir().join("images/blobs/sha256")).unwrap();
    blobs.map(|blob| blob.unwrap().path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn check_finds_a_flipped_byte_wherever_it_is_and_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = full_bundle(dir.path());
    let mut paths: Vec<_> = bundle.files().iter().map(|entry| bundle.path(entry)).collect();
    let blobs = fs::read_dir(dir.path().join("images/blobs/sha256")).unwrap();
    paths.extend(blobs.map(|blob| blob.unwrap().path()));
    paths.push(dir.path().join("images/index.json"));
    for path in paths {
        let sound = fs::read(&path).unwrap();
        // The beginning matters in compressed files: nothing but the stored digest covers the header.
        for at in [4, sound.len() / 2, sound.len() - 1] {
            let mut damaged = sound.clone();
            damaged[at.min(sound.len() - 1)] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let found = bundle.check(&mut silent);
            assert!(!found.is_empty(), "{} at {at}", path.display());
            assert!(found.iter().all(|damage| damage.path == path), "{found:?}");
        }
        fs::remove_file(&path).unwrap();
        assert!(!bundle.check(&mut silent).is_empty(), "{} removed", path.display());
        fs::write(&path, &sound).unwrap();
    }
    assert_eq!(bundle.check(&mut silent), []);
}

#[test]
fn discarding_damage_leaves_a_sound_bundle_that_lacks_it() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = full_bundle(dir.path());
    let path = bundle.path(bundle.file("tool", "1.0.0", Arch::Amd64).unwrap());
    fs::write(&path, b"damaged").unwrap();
    fs::write(largest_blob(&bundle), b"damaged").unwrap();
    let damage = bundle.check(&mut silent);
    assert_eq!(damage.len(), 2, "{damage:?}");

    let mut writer = BundleWriter::open(dir.path()).unwrap();
    writer.discard(&damage).unwrap();
    assert_eq!(writer.check(&mut silent), []);
    let missing: Vec<String> =
        writer.missing_of(&release()).into_iter().map(|missing| missing.what).collect();
    // Both images rest on the damaged layer.
    assert_eq!(
        missing,
        ["tool 1.0.0 for amd64", &format!("image {ONE} for amd64"), &format!("image {TWO} for amd64")]
    );
}

#[test]
fn half_written_content_is_swept_and_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = BundleWriter::open(dir.path()).unwrap();
    /// Fails in the middle, as a process that is killed does.
    struct Cut(usize);
    impl Read for Cut {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| std::io::Error::other("cut"))?;
            buffer[..100].fill(7);
            Ok(100)
        }
    }
    let new = muster_artifacts::NewFile {
        name: "tool",
        version: "1.0.0",
        arch: Arch::Amd64,
        kind: Kind::Binary,
        origin: muster_artifacts::Origin::Built,
        source: "",
        expected: None,
    };
    writer.add_file(&new, &mut Cut(3)).unwrap_err();
    assert_eq!(writer.files(), []);
    drop(writer);
    // What a kill leaves: a temporary file, and a file that the manifest does not list yet.
    fs::write(dir.path().join("files/.tmp-new"), b"half").unwrap();
    fs::write(dir.path().join("files/tool-1.0.0-amd64.gz"), b"of an unknown past").unwrap();
    let mut writer = BundleWriter::open(dir.path()).unwrap();
    assert!(!dir.path().join("files/.tmp-new").exists());
    assert!(writer.file("tool", "1.0.0", Arch::Amd64).is_err());
    add_file(&mut writer, "tool", "1.0.0", Kind::Binary, &tool());
    assert_eq!(writer.check(&mut silent), []);
    drop(writer);
    assert_eq!(content(&Bundle::open(dir.path()).unwrap(), "tool", "1.0.0"), tool());
}

#[test]
fn content_with_a_wrong_digest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = BundleWriter::open(dir.path()).unwrap();
    let new = muster_artifacts::NewFile {
        name: "tool",
        version: "1.0.0",
        arch: Arch::Amd64,
        kind: Kind::Binary,
        origin: muster_artifacts::Origin::Upstream,
        source: "",
        expected: Some(Sha256::of(b"right")),
    };
    let error = writer.add_file(&new, &mut &b"wrong"[..]).unwrap_err();
    assert!(matches!(error, BundleError::Mismatch { .. }), "{error}");
    assert_eq!(fs::read_dir(dir.path().join("files")).unwrap().count(), 0);
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    full_bundle(first.path());
    full_bundle(second.path());
    let manifest = |dir: &tempfile::TempDir| fs::read_to_string(dir.path().join("manifest.json")).unwrap();
    assert_eq!(manifest(&first), manifest(&second));
}

#[test]
fn only_one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let writer = BundleWriter::open(dir.path()).unwrap();
    let error = BundleWriter::open(dir.path()).unwrap_err();
    assert!(matches!(error, BundleError::Locked { .. }), "{error}");
    drop(writer);
    BundleWriter::open(dir.path()).unwrap();
}

#[test]
fn a_program_is_unpacked_once_and_can_be_run() {
    let dir = tempfile::tempdir().unwrap();
    let program = "#!/bin/sh\necho \"helm $1\"\n";
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in [("linux-amd64/LICENSE", "free"), ("linux-amd64/helm", program)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let mut writer = BundleWriter::open(dir.path().join("bundle")).unwrap();
    add_file(&mut writer, "helm", "4.3.2", Kind::Archive, &archive);
    add_file(&mut writer, "kubectl", "1.36.3", Kind::Binary, program.as_bytes());
    add_file(&mut writer, "other", "1.0.0", Kind::Archive, &archive);
    drop(writer);
    let bundle =
        Bundle::open(dir.path().join("bundle")).unwrap().with_programs_in(dir.path().join("cache/bin"));
    let program =
        |name: &str, version: &str| bundle.program(bundle.file(name, version, Arch::Amd64).unwrap());
    for (name, version) in [("helm", "4.3.2"), ("kubectl", "1.36.3")] {
        let path = program(name, version).unwrap();
        let inode =
            |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let before = inode(&path);
        assert!(path.starts_with(dir.path().join("cache/bin")), "{}", path.display());
        let said = std::process::Command::new(&path).arg("version").output().unwrap();
        assert_eq!(said.stdout, b"helm version\n");
        assert_eq!(inode(&program(name, version).unwrap()), before);
    }
    let lacking = program("other", "1.0.0").unwrap_err().to_string();
    assert!(lacking.starts_with("cannot find the program in "), "{lacking}");
}
