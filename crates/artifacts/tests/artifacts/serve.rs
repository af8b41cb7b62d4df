use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use muster_artifacts::{
    Arch, Bundle, BundleWriter, Kind, NewImage, Origin, Served, Server, Sha256, Sources, fetch,
};

use crate::support::{add_file, archive, content, full_bundle, release, silent, tool};

/// A server of a bundle in a folder, for as long as the test lasts; and what it has answered.
fn serving(dir: &std::path::Path) -> (SocketAddr, Arc<Mutex<Vec<Served>>>) {
    let server = Server::bind(Bundle::open(dir).unwrap(), &[release()], "127.0.0.1:0").unwrap();
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
