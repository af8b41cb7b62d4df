use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use muster_artifacts::{
    Arch, Bundle, BundleWriter, Kind, NewFile, NewImage, Origin, Release, Served, Server, Sha256, Sources,
    fetch,
};

use crate::support::{add_file, archive, catalogue, content, full_bundle, release, silent, tool};

/// A server of a bundle in a folder, for as long as the test lasts; and what it has answered.
fn serving(dir: &std::path::Path) -> (SocketAddr, Arc<Mutex<Vec<Served>>>) {
    let server = Server::bind(Bundle::open(dir).unwrap(), &catalogue(), "127.0.0.1:0").unwrap();
    let address = server.address().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = told.clone();
    std::thread::spawn(move || server.run(move |served| list.lock().unwrap().push(served)));
    (address, told)
}

/// The head and the body of an answer.
fn ask(address: SocketAddr, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{request}\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap(), body)
}

#[test]
fn what_is_served_is_fetched_into_another_bundle() {
    let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bundle = full_bundle(from.path());
    let (address, told) = serving(from.path());
    let mut writer = BundleWriter::open(into.path()).unwrap();
    let url = format!("http://{address}");
    let sources = Sources { files_repo: Some(url.clone()), registry_host: Some(url), ..Sources::default() };
    fetch(&release(), &mut writer, &sources, &mut silent).unwrap();
    drop(writer);
    let copy = Bundle::open(into.path()).unwrap();
    assert!(copy.check(&mut silent).is_empty());
    assert_eq!(content(&copy, "tool", "1.0.0"), tool());
    assert_eq!(content(&copy, "archive", "3.0"), archive());
    for (one, other) in bundle.images().iter().zip(copy.images()) {
        assert_eq!((&one.reference, one.manifest_digest), (&other.reference, other.manifest_digest));
    }
    let asked = "GET /v2/group/one/manifests/v1.0.0";
    let told = told.lock().unwrap();
    assert!(told.iter().any(|served| served.asked == asked && served.status == 200), "{told:?}");
}

#[test]
fn files_of_no_release_are_served_and_the_digests_that_upstream_alone_has_too() {
    let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut writer = BundleWriter::open(from.path()).unwrap();
    let mut add = |name, version, arch, origin, mut content: &[u8]| {
        let kind = if name == "alone" { Kind::Binary } else { Kind::Archive };
        let new = NewFile { name, version, arch, kind, origin, source: "a test", expected: None };
        writer.add_file(&new, &mut content).unwrap();
    };
    add("alone", "1.0.1", Arch::Amd64, Origin::Upstream, b"alone");
    add("among", "3.1", Arch::Amd64, Origin::Upstream, b"among others");
    add("among", "3.1", Arch::Arm64, Origin::Upstream, b"another");
    // Upstream has published no digest of it.
    add("alone", "1.0.1", Arch::Arm64, Origin::Built, b"compiled");
    drop(writer);
    let (address, _) = serving(from.path());
    let text = |path: &str| {
        let (head, body) = ask(address, &format!("GET {path} HTTP/1.1"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        String::from_utf8(body).unwrap()
    };
    let [alone, among, another] = [&b"alone"[..], b"among others", b"another"].map(Sha256::of);
    assert_eq!(text("/dl.example.org/v1.0.1/amd64/alone.sha256"), alone.to_string());
    let sums = text("/files.example.org/v3.1/SHA256SUMS");
    let line = |sum: Sha256, arch: &str| format!("{sum}  among-{arch}.tgz\n");
    assert_eq!(sums, line(among, "amd64") + &line(another, "arm64"));
    let (compiled, _) = ask(address, "GET /dl.example.org/v1.0.1/arm64/alone.sha256 HTTP/1.1");
    assert!(compiled.starts_with("HTTP/1.1 404 "), "{compiled}");
    // As another computer gets them.
    let file = |name: &str, version: &str| catalogue().file(name, version, Arch::Amd64).unwrap();
    let files = vec![file("alone", "1.0.1"), file("among", "3.1")];
    let wanted = Release { files, images: Vec::new(), ..release() };
    let mut writer = BundleWriter::open(into.path()).unwrap();
    let url = format!("http://{address}");
    let sources = Sources { files_repo: Some(url.clone()), registry_host: Some(url), ..Sources::default() };
    assert_eq!(fetch(&wanted, &mut writer, &sources, &mut silent).unwrap().downloaded, 2);
    drop(writer);
    assert_eq!(content(&Bundle::open(into.path()).unwrap(), "among", "3.1"), b"among others");
}

#[test]
fn more_connections_than_are_answered_at_once_wait_for_their_turn() {
    let from = tempfile::tempdir().unwrap();
    full_bundle(from.path());
    let (address, told) = serving(from.path());
    let streams: Vec<TcpStream> = (0..150).map(|_| TcpStream::connect(address).unwrap()).collect();
    // The last ones come when all others are in front of them and silent.
    for mut stream in &streams {
        stream.write_all(b"GET /v2/ HTTP/1.1\r\n\r\n").unwrap();
    }
    for (number, mut stream) in streams.iter().enumerate() {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{number}: {answer}");
    }
    assert!(told.lock().unwrap().iter().all(|served| served.status == 200));
}

#[test]
fn a_download_goes_on_and_the_list_says_what_there_is() {
    let from = tempfile::tempdir().unwrap();
    let bundle = full_bundle(from.path());
    let (address, _) = serving(from.path());
    let path = "/dl.example.org/tool/v1.0.0/amd64/tool";
    let (head, body) = ask(address, &format!("GET {path} HTTP/1.1\r\nRange: bytes=1000-"));
    assert!(
        head.starts_with("HTTP/1.1 206 ") && head.contains("\r\nContent-Range: bytes 1000-239999/240000")
    );
    assert!(body == tool()[1000..], "{} bytes", body.len());
    let past = ask(address, &format!("GET {path} HTTP/1.1\r\nRange: bytes=240000-"));
    assert!(past.0.starts_with("HTTP/1.1 416 ") && past.1.is_empty(), "{}", past.0);
    let head = ask(address, &format!("HEAD {path} HTTP/1.1"));
    assert!(head.0.contains("\r\nContent-Length: 240000") && head.1.is_empty(), "{}", head.0);
    let list = String::from_utf8(ask(address, "GET / HTTP/1.1").1).unwrap();
    assert!(list.contains(&format!("{}  {path}\n", Sha256::of(&tool()))), "{list}");
    let image = &bundle.images()[0];
    assert!(list.contains(&format!("{}  {}  amd64\n", image.manifest_digest, image.reference)), "{list}");
}

#[test]
fn a_registry_gives_what_containerd_asks_for_and_nothing_else() {
    let from = tempfile::tempdir().unwrap();
    let bundle = full_bundle(from.path());
    let mut writer = BundleWriter::open(from.path()).unwrap();
    // The same image for another architecture.
    let other = writer.add_layer(&mut &b"arm"[..]).unwrap();
    let reference = &release().images[0].reference;
    let new = NewImage { reference, arch: Arch::Arm64, origin: Origin::Built, source: "a test" };
    writer.add_image(&new, &[other], &muster_artifacts::RunConfig::default()).unwrap();
    add_file(&mut writer, "stranger", "1", Kind::Binary, b"of no release");
    drop(writer);
    let (address, _) = serving(from.path());
    let status = |request: &str| {
        let (head, _) = ask(address, request);
        head.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("GET /v2/ HTTP/1.1"), "200");
    let (head, body) = ask(address, "GET /v2/group/one/manifests/v1.0.0?ns=registry.example.org HTTP/1.1");
    assert!(head.contains("vnd.oci.image.index.v1+json"), "{head}");
    let index: String = String::from_utf8(body).unwrap();
    assert!(index.contains("\"arm64\"") && index.contains("\"amd64\""), "{index}");
    // Docker's own images, as its registry is asked.
    let docker = bundle.images().iter().find(|image| image.reference.registry == "docker.io").unwrap();
    let (head, _) = ask(address, "GET /v2/library/two/manifests/5?ns=docker.io HTTP/1.1");
    assert!(head.contains(&format!("\r\nDocker-Content-Digest: {}", docker.manifest_digest.oci())), "{head}");
    assert_eq!(status(&format!("HEAD /v2/two/manifests/{} HTTP/1.1", docker.manifest_digest.oci())), "200");
    let tags = ask(address, "GET /v2/two/tags/list HTTP/1.1").1;
    assert_eq!(String::from_utf8(tags).unwrap(), r#"{"name":"two","tags":["5"]}"#);
    for (request, expected) in [
        ("GET /v2/two/manifests/5?ns=quay.io HTTP/1.1".to_owned(), "404"),
        ("GET /v2/two/manifests/6 HTTP/1.1".to_owned(), "404"),
        // A blob of another image, and none at all.
        (format!("GET /v2/two/blobs/{} HTTP/1.1", bundle.images()[0].manifest_digest.oci()), "404"),
        ("GET /v2/two/blobs/sha256:../../../etc/passwd HTTP/1.1".to_owned(), "404"),
        ("GET /manifest.json HTTP/1.1".to_owned(), "404"),
        ("GET /../../etc/passwd HTTP/1.1".to_owned(), "404"),
        ("PUT /v2/two/manifests/5 HTTP/1.1".to_owned(), "405"),
        ("GET".to_owned(), "404"),
    ] {
        assert_eq!(status(&request), expected, "{request}");
    }
}
