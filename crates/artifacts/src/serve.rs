//! A bundle over HTTP: its files as a mirror of upstream's sites has them, its images as a registry that is only read.
//!
//! What [`crate::Sources`] says of mirrors is what is served: a file at its upstream URL without `https://`, and every image at its
//! repository, whatever its registry is. Reference: the OCI distribution specification, "Pull"; containerd names the registry that it
//! means as `?ns=`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crate::oci::{self, ImageIndex};
use crate::{Bundle, Catalogue, ImageEntry, Origin, Sha256};

/// How many connections are answered at once; whoever comes then waits, in the system's queue of the port.
const AT_ONCE: usize = 64;

/// How long nobody is accepted after that has failed, as it does when there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// How long somebody may be silent, or not take what is sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest request that is read, in bytes.
const LONGEST_REQUEST: u64 = 16 << 10;

/// Something that was asked for, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Who asked.
    pub peer: SocketAddr,
    /// The method and the path.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
}

/// Serves a bundle. It is read, and never changed.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    shop: Shop,
}

/// What is served.
#[derive(Debug)]
struct Shop {
    bundle: Bundle,
    /// Which file of the bundle is at which path.
    files: BTreeMap<String, usize>,
    /// The texts that say the digests of files, by the path where upstream has them.
    digests: BTreeMap<String, String>,
}

/// What is sent.
enum Body {
    Text(Vec<u8>),
    /// So many bytes that are read.
    Stream(Box<dyn Read + Send>, u64),
}

struct Answer {
    status: u16,
    content_type: &'static str,
    digest: Option<Sha256>,
    body: Body,
}

impl Server {
    /// Listens at an address. The catalogue says at which URLs upstream has the files, and the digests that are not in it.
    ///
    /// # Errors
    /// Nobody can listen there.
    pub fn bind(
        bundle: Bundle,
        catalogue: &Catalogue,
        address: impl ToSocketAddrs,
    ) -> Result<Self, io::Error> {
        let mut files = BTreeMap::new();
        let mut digests = BTreeMap::<String, String>::new();
        for (place, entry) in bundle.files().iter().enumerate() {
            let Ok(file) = catalogue.file(&entry.name, &entry.version, entry.arch) else { continue };
            files.insert(path_of(&file.url), place);
            // What was compiled is not what upstream has published a digest of.
            if let Some(url) = file.sha256_url.as_ref().filter(|_| entry.origin == Origin::Upstream) {
                let name = file.url.rsplit('/').next().unwrap_or_default();
                let text = digests.entry(path_of(url)).or_default();
                // As upstream has them: one digest alone, or lines of sha256sum(1), which may be those of several files.
                match url.ends_with(".sha256") {
                    true => *text = entry.sha256.to_string(),
                    false => text.push_str(&format!("{}  {name}\n", entry.sha256)),
                }
            }
        }
        let shop = Shop { bundle, files, digests };
        Ok(Self { listener: TcpListener::bind(address)?, shop })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr, io::Error> {
        self.listener.local_addr()
    }

    /// Answers for ever. `told` hears of every answer.
    ///
    /// # Errors
    /// The system has not one thread for it.
    pub fn run(&self, told: impl Fn(Served) + Send + Sync) -> Result<(), io::Error> {
        let told = &told;
        thread::scope(|scope| {
            for threads in 0..AT_ONCE {
                match thread::Builder::new().spawn_scoped(scope, move || self.answer_one_by_one(told)) {
                    Err(error) if threads == 0 => return Err(error),
                    // Those that there are do it, too.
                    Err(_) => break,
                    Ok(_) => {}
                }
            }
            Ok(())
        })
    }

    /// Answers one connection after the other.
    fn answer_one_by_one(&self, told: &impl Fn(Served)) {
        loop {
            // Whatever keeps somebody from being accepted passes.
            let Ok((stream, peer)) = self.listener.accept() else {
                thread::sleep(PAUSE);
                continue;
            };
            // Who goes away in the middle comes again.
            if let Ok(Some((asked, status))) = self.shop.serve(&stream) {
                told(Served { peer, asked, status });
            }
        }
    }
}

/// Where a URL is on a mirror.
fn path_of(url: &str) -> String {
    format!("/{}", url.split_once("://").map_or(url, |(_, rest)| rest))
}

impl Shop {
    /// Answers one request; what was asked, and the status. Nothing where nobody asked.
    fn serve(&self, mut stream: &TcpStream) -> Result<Option<(String, u16)>, io::Error> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.take(LONGEST_REQUEST)).lines();
        let Some(first) = lines.next().transpose()? else { return Ok(None) };
        let mut from = None;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("range")
            {
                from = value
                    .trim()
                    .strip_prefix("bytes=")
                    .and_then(|range| range.strip_suffix('-')?.parse::<u64>().ok());
            }
        }
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let answer = match method {
            "GET" | "HEAD" => self.answer(target),
            _ => failure(405, "nothing can be changed here"),
        };
        let status = send(stream, answer, from, method == "HEAD")?;
        stream.flush()?;
        Ok(Some((format!("{method} {target}"), status)))
    }

    fn answer(&self, target: &str) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path == "/" {
            return text(200, "text/plain; charset=utf-8", self.list().into_bytes());
        }
        if let Some(path) = path.strip_prefix("/v2/") {
            let registry = query.split('&').find_map(|pair| pair.strip_prefix("ns="));
            return self.of_registry(path, registry);
        }
        if let Some(digests) = self.digests.get(path) {
            return text(200, "text/plain; charset=utf-8", digests.clone().into_bytes());
        }
        let file = self.files.get(path).and_then(|place| self.bundle.files().get(*place));
        let Some(file) = file else { return failure(404, "the bundle has no such file") };
        match self.bundle.content(file) {
            Ok(content) => Answer {
                status: 200,
                content_type: "application/octet-stream",
                digest: None,
                body: Body::Stream(content, file.size),
            },
            Err(error) => failure(500, &error.to_string()),
        }
    }

    /// What there is: the sha256 of each file and its path here, and the digest of each image and its name.
    fn list(&self) -> String {
        let mut list = String::new();
        for (path, place) in &self.files {
            if let Some(file) = self.bundle.files().get(*place) {
                list.push_str(&format!("{}  {path}\n", file.sha256));
            }
        }
        for image in self.bundle.images() {
            list.push_str(&format!("{}  {}  {}\n", image.manifest_digest, image.reference, image.arch));
        }
        list
    }

    /// `REPOSITORY/manifests/TAG`, `REPOSITORY/manifests/DIGEST`, `REPOSITORY/blobs/DIGEST`, `REPOSITORY/tags/list`.
    fn of_registry(&self, path: &str, registry: Option<&str>) -> Answer {
        if path.is_empty() {
            return text(200, "application/json", b"{}".to_vec());
        }
        let mut parts = path.rsplitn(3, '/');
        let (what, kind, repository) = (parts.next(), parts.next(), parts.next());
        let (Some(what), Some(kind), Some(repository)) = (what, kind, repository) else {
            return failure(404, "no such path in a registry");
        };
        // Docker's own images are in "library" for whoever asks as its registry wants to be asked.
        let is_of = |image: &&ImageEntry| {
            let own = &image.reference.repository;
            let same =
                own == repository || repository.strip_prefix("library/").is_some_and(|short| own == short);
            same && registry.is_none_or(|registry| registry == image.reference.registry)
        };
        let images: Vec<&ImageEntry> = self.bundle.images().iter().filter(is_of).collect();
        if images.is_empty() {
            return failure(404, "the bundle has no such image");
        }
        match (kind, Sha256::from_oci(what)) {
            ("tags", _) => {
                let tags: BTreeSet<&str> = images.iter().map(|image| image.reference.tag.as_str()).collect();
                let body = serde_json::json!({ "name": repository, "tags": tags });
                text(200, "application/json", body.to_string().into_bytes())
            }
            ("manifests", Some(digest)) => {
                match images.iter().find(|image| image.manifest_digest == digest) {
                    Some(image) => self.manifest(image),
                    None => failure(404, "the bundle has no such manifest"),
                }
            }
            ("manifests", None) => {
                let tagged: Vec<&ImageEntry> =
                    images.into_iter().filter(|image| image.reference.tag == what).collect();
                match tagged.as_slice() {
                    [] => failure(404, "the bundle has no such tag"),
                    [image] => self.manifest(image),
                    several => self.index(several),
                }
            }
            ("blobs", Some(digest)) if images.iter().any(|image| self.has(image, digest)) => {
                let path = self.bundle.blob_path(digest);
                let open = std::fs::File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
                match open {
                    Ok((size, file)) => Answer {
                        status: 200,
                        content_type: "application/octet-stream",
                        digest: Some(digest),
                        body: Body::Stream(Box::new(file), size),
                    },
                    Err(error) => failure(500, &format!("{}: {error}", path.display())),
                }
            }
            _ => failure(404, "the bundle has no such blob"),
        }
    }

    /// Whether a blob is one of an image.
    fn has(&self, image: &ImageEntry, digest: Sha256) -> bool {
        self.bundle
            .image_manifest(image)
            .is_ok_and(|(manifest, _)| manifest.blobs().any(|blob| blob.digest == digest.oci()))
    }

    fn manifest(&self, image: &ImageEntry) -> Answer {
        let path = self.bundle.blob_path(image.manifest_digest);
        match (self.bundle.image_manifest(image), std::fs::read(&path)) {
            (Ok((manifest, _)), Ok(bytes)) => Answer {
                digest: Some(image.manifest_digest),
                ..text(200, media_type(&manifest.media_type), bytes)
            },
            (Err(error), _) => failure(500, &error.to_string()),
            (_, Err(error)) => failure(500, &format!("{}: {error}", path.display())),
        }
    }

    /// An image for several architectures.
    fn index(&self, images: &[&ImageEntry]) -> Answer {
        let described: Result<Vec<_>, _> =
            images.iter().map(|image| Ok((*image, self.bundle.image_manifest(image)?.1))).collect();
        match described {
            Ok(described) => {
                let bytes = ImageIndex::of_images(described).to_json();
                let digest = Some(Sha256::of(&bytes));
                Answer { digest, ..text(200, oci::INDEX, bytes) }
            }
            Err(error) => {
                let error: crate::BundleError = error;
                failure(500, &error.to_string())
            }
        }
    }
}

/// The content type of a manifest, by what it says itself.
fn media_type(said: &str) -> &'static str {
    if said == oci::DOCKER_MANIFEST { oci::DOCKER_MANIFEST } else { oci::MANIFEST }
}

fn text(status: u16, content_type: &'static str, body: Vec<u8>) -> Answer {
    Answer { status, content_type, digest: None, body: Body::Text(body) }
}

/// In the form that registries give errors.
fn failure(status: u16, why: &str) -> Answer {
    let body = serde_json::json!({ "errors": [{ "code": "UNKNOWN", "message": why }] });
    text(status, "application/json", body.to_string().into_bytes())
}

/// Sends an answer, from a byte on where somebody has the beginning. The status.
fn send(
    mut stream: &TcpStream,
    answer: Answer,
    from: Option<u64>,
    head_only: bool,
) -> Result<u16, io::Error> {
    let (mut content, size): (Box<dyn Read + Send>, u64) = match answer.body {
        Body::Text(bytes) => {
            let size = bytes.len() as u64;
            (Box::new(io::Cursor::new(bytes)), size)
        }
        Body::Stream(content, size) => (content, size),
    };
    let from = from.filter(|_| answer.status == 200);
    let (status, skipped) = match from {
        Some(from) if from >= size => (416, size),
        Some(from) => (206, from),
        None => (answer.status, 0),
    };
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\nAccept-Ranges: bytes\r\n",
        if status < 300 { "OK" } else { "No" },
        answer.content_type,
        size - skipped,
    );
    if let Some(digest) = answer.digest {
        head.push_str(&format!("Docker-Content-Digest: {}\r\n", digest.oci()));
    }
    match status {
        206 => head.push_str(&format!("Content-Range: bytes {skipped}-{}/{size}\r\n", size - 1)),
        416 => head.push_str(&format!("Content-Range: bytes */{size}\r\n")),
        _ => {}
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if !head_only && status != 416 {
        io::copy(&mut content.by_ref().take(skipped), &mut io::sink())?;
        io::copy(&mut content, &mut stream)?;
    }
    Ok(status)
}
