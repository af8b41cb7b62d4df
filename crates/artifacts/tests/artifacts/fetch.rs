use std::fs;
use std::path::Path;
use std::time::Duration;

use muster_artifacts::{
    Arch, Bundle, BundleWriter, Credentials, FetchError, Fetched, HttpError, ImageDigests, Origin, Progress,
    Release, Retry, Sha256, Sources, fetch,
};
use muster_testkit::fault_record::held;
use muster_testkit::http_mirror::{Fault, HttpMirror};

use crate::support::{archive, catalogue, content, full_bundle, release, silent, tool};

const TOOL: &str = "/dl.example.org/tool/v1.0.0/amd64/tool";
const ARCHIVE: &str = "/files.example.org/archive-3.0.tgz";
const ONE: &str = "/v2/group/one/manifests/v1.0.0";

/// A mirror of a full bundle, and an empty directory to fetch into.
struct Fixture {
    mirror: HttpMirror,
    bundle: std::sync::Arc<Bundle>,
    into: tempfile::TempDir,
    _from: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bundle = full_bundle(from.path());
        let mirror = HttpMirror::start().unwrap();
        mirror.add_bundle(&bundle, &release()).unwrap();
        Fixture { mirror, bundle, into, _from: from }
    }

    fn fetch(&self) -> Result<Fetched, FetchError> {
        self.fetch_telling(&mut silent)
    }

    fn fetch_telling(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Fetched, FetchError> {
        let mut writer = BundleWriter::open(self.dir()).unwrap();
        let sources = Sources {
            files_repo: Some(self.mirror.url() + "/"),
            registry_host: Some(self.mirror.url()),
            retry: Retry { attempts: 3, pause: Duration::from_millis(1) },
            ..Sources::default()
        };
        fetch(&release(), &mut writer, &sources, progress)
    }

    fn dir(&self) -> &Path {
        self.into.path()
    }

    /// How often a path was asked for.
    fn asked(&self, path: &str) -> usize {
        self.mirror.requests().iter().filter(|request| request.split(' ').next() == Some(path)).count()
    }

    /// Nothing is missing, nothing is damaged, and the images are those of the mirror's bundle.
    fn assert_complete(&self) {
        let fetched = Bundle::open(self.dir()).unwrap();
        assert_eq!(fetched.missing_of(&release()), []);
        assert_eq!(fetched.check(&mut silent), []);
        assert_eq!(content(&fetched, "tool", "1.0.0"), tool());
        assert_eq!(content(&fetched, "archive", "3.0"), archive());
        for entry in self.bundle.images() {
            let found = fetched.image(&entry.reference.to_string(), entry.arch).unwrap();
            assert_eq!((found.manifest_digest, found.size), (entry.manifest_digest, entry.size));
            assert_eq!(found.origin, Origin::Upstream);
        }
        assert_eq!(fs::read_dir(self.dir().join("partial")).unwrap().count(), 0);
    }
}

#[test]
fn everything_is_fetched_once() {
    let fixture = Fixture::new();
    let fetched = fixture.fetch().unwrap();
    assert_eq!(fetched.downloaded, 5);
    // The mirror lacks what is optional; that is told and is no failure.
    assert_eq!(fetched.skipped.len(), 1);
    assert!(
        fetched.skipped[0].contains("/files.example.org/extra-4.0.tgz does not exist"),
        "{:?}",
        fetched.skipped
    );
    fixture.assert_complete();

    let requests = fixture.mirror.requests();
    let blobs: Vec<_> = requests.iter().filter(|request| request.contains("/blobs/")).collect();
    // A configuration and a layer of each image, and the layer that they share.
    assert_eq!(blobs.len(), 5, "{blobs:?}");

    assert_eq!(fixture.fetch().unwrap().downloaded, 0);
    let again: Vec<_> = fixture.mirror.requests().into_iter().skip(requests.len()).collect();
    assert_eq!(again, ["/files.example.org/extra-4.0.tgz"]);
}

#[test]
fn tokens_are_got_where_the_registry_wants_them() {
    let fixture = Fixture::new();
    fixture.mirror.require_token("let me in");
    fixture.fetch().unwrap();
    fixture.assert_complete();
    assert_eq!(fixture.asked("/token"), 2, "one for each repository");
}

#[test]
fn a_registry_is_told_the_name_and_the_password_that_are_for_it() {
    // Registries that take them with each request, and those that give a token for them.
    for token in [None, Some("a token")] {
        let fixture = Fixture::new();
        token.iter().for_each(|token| fixture.mirror.require_token(token));
        // RFC 7617.
        fixture.mirror.require_credentials("Basic bWU6c2VjcmV0");
        let url = fixture.mirror.url();
        let fetch = |password: Option<&str>| {
            let mut credentials = Credentials::default();
            password.iter().for_each(|password| credentials.add(&url, "me", password));
            let sources = Sources {
                files_repo: Some(url.clone()),
                registry_host: Some(url.clone()),
                credentials,
                ..Sources::default()
            };
            let mut writer = BundleWriter::open(fixture.dir()).unwrap();
            fetch(&release(), &mut writer, &sources, &mut silent).map_err(|error| error.to_string())
        };
        let without = fetch(None).unwrap_err();
        assert!(without.contains("wants a name and a password"), "{without}");
        let wrong = fetch(Some("guessed")).unwrap_err();
        assert!(
            wrong.contains("does not take the name and the password") && !wrong.contains("guessed"),
            "{wrong}"
        );
        fetch(Some("secret")).unwrap();
        fixture.assert_complete();
    }
}

#[test]
fn a_mirror_gives_no_other_image_than_the_one_that_is_known() {
    let fixture = Fixture::new();
    let sources = |image_digests| Sources {
        files_repo: Some(fixture.mirror.url() + "/"),
        registry_host: Some(fixture.mirror.url()),
        image_digests,
        ..Sources::default()
    };
    let good = ImageDigests::of(&fixture.bundle);
    let another = good.to_yaml().replacen(
        &fixture.bundle.images()[0].manifest_digest.oci(),
        &Sha256::of(b"x").oci(),
        1,
    );
    let another = ImageDigests::from_yaml(&another).unwrap();
    let mut writer = BundleWriter::open(fixture.dir()).unwrap();
    let error = fetch(&release(), &mut writer, &sources(another), &mut silent).unwrap_err().to_string();
    assert!(error.contains("another image of that name"), "{error}");
    let first = fixture.bundle.images()[0].reference.to_string();
    assert!(writer.image(&first, fixture.bundle.images()[0].arch).is_err(), "it was taken all the same");
    fetch(&release(), &mut writer, &sources(good), &mut silent).unwrap();
    drop(writer);
    fixture.assert_complete();
}

#[test]
fn what_may_pass_is_tried_again_and_told() {
    let fixture = Fixture::new();
    fixture.mirror.fail(TOOL, [Fault::Status(500), Fault::Status(503)]);
    fixture.mirror.fail(ONE, [Fault::Status(429)]);
    let mut retries = Vec::new();
    fixture
        .fetch_telling(&mut |news| {
            if let Progress::Retry { attempt, of, reason, .. } = news {
                retries.push(format!("{attempt} of {of}: {reason}"));
            }
        })
        .unwrap();
    assert_eq!(
        retries,
        [
            "1 of 3: the server answered 500 Internal Server Error",
            "2 of 3: the server answered 503 Service Unavailable",
            "1 of 3: the server answered 429 Too Many Requests",
        ]
    );
    fixture.assert_complete();
    held("mirror fails", "answers 500, 503, 429, then the content", 3, "tried again, each attempt told");
}

#[test]
fn attempts_are_limited() {
    let fixture = Fixture::new();
    fixture.mirror.fail(TOOL, vec![Fault::Status(500); 10]);
    let error = fixture.fetch().unwrap_err();
    assert!(matches!(error, FetchError::Http(HttpError::Failed { attempts: 3, .. })), "{error}");
    assert_eq!(fixture.asked(TOOL), 3);
    assert!(error.to_string().contains("could not be downloaded in 3 attempts"), "{error}");
    held("mirror fails", "answers 500 always", 1, "given up after 3 attempts");
}

#[test]
fn downloads_go_on_where_they_were_cut_off() {
    let fixture = Fixture::new();
    fixture.mirror.fail(TOOL, [Fault::CutAfter(100_000)]);
    let layer = largest_layer(&fixture.bundle);
    let layer_path = format!("/v2/group/one/blobs/sha256:{layer}");
    fixture.mirror.fail(&layer_path, [Fault::CutAfter(100)]);
    fixture.fetch().unwrap();
    fixture.assert_complete();
    let requests = fixture.mirror.requests();
    assert!(requests.contains(&format!("{TOOL} bytes=100000-")), "{requests:?}");
    assert!(requests.contains(&format!("{layer_path} bytes=100-")), "{requests:?}");
    held(
        "download cut",
        "the connection ends in the body of a file and of a layer",
        2,
        "goes on at just that byte",
    );
}

fn largest_layer(bundle: &Bundle) -> String {
    let blobs = fs::read_dir(bundle.dir().join("images/blobs/sha256")).unwrap();
    let largest = blobs.map(|blob| blob.unwrap()).max_by_key(|blob| blob.metadata().unwrap().len()).unwrap();
    largest.file_name().into_string().unwrap()
}

#[test]
fn a_later_run_goes_on_where_the_earlier_was_cut_off() {
    let fixture = Fixture::new();
    fixture.mirror.fail(TOOL, [Fault::CutAfter(90_000), Fault::Status(500), Fault::Status(500)]);
    fixture.fetch().unwrap_err();
    fixture.fetch().unwrap();
    fixture.assert_complete();
    assert!(fixture.mirror.requests().contains(&format!("{TOOL} bytes=90000-")));
    held("download cut", "cut, then 500s until the run ends", 1, "the next run goes on at that byte");
}

#[test]
fn a_server_without_ranges_gives_the_whole_again() {
    let fixture = Fixture::new();
    fixture.mirror.fail(TOOL, [Fault::CutAfter(90_000), Fault::NoRange]);
    fixture.fetch().unwrap();
    fixture.assert_complete();
    held("download cut", "by a server that knows no ranges", 1, "the whole is fetched again");
}

#[test]
fn headway_counts_attempts_anew() {
    // More cuts than attempts, each a good deal further: the download still ends.
    let fixture = Fixture::new();
    let size = 2 << 20;
    let big: Vec<u8> = (0..size / 4_u32).flat_map(u32::to_le_bytes).collect();
    fixture.mirror.add("/dl.example.org/free-2.0-amd64", "application/octet-stream", big.clone());
    fixture.mirror.fail("/dl.example.org/free-2.0-amd64", vec![Fault::CutAfter(300 << 10); 5]);
    fixture.fetch().unwrap();
    assert_eq!(content(&Bundle::open(fixture.dir()).unwrap(), "free", "2.0"), big);
    held("download cut", "five times, each time further", 5, "the download still ends");
}

#[test]
fn a_damaged_beginning_is_thrown_away() {
    let fixture = Fixture::new();
    drop(BundleWriter::open(fixture.dir()).unwrap());
    fs::write(fixture.dir().join("partial/tool-1.0.0-amd64"), b"something else").unwrap();
    fixture.fetch().unwrap();
    fixture.assert_complete();
    held(
        "download damaged",
        "something else lies where the download goes on",
        1,
        "thrown away and fetched again",
    );
}

#[test]
fn a_complete_beginning_is_enough() {
    // Killed after the download and before it was taken into the bundle.
    let fixture = Fixture::new();
    drop(BundleWriter::open(fixture.dir()).unwrap());
    fs::write(fixture.dir().join("partial/tool-1.0.0-amd64"), tool()).unwrap();
    fixture.fetch().unwrap();
    fixture.assert_complete();
    assert_eq!(fixture.asked(TOOL), 1);
}

#[test]
fn wrong_bytes_are_refused_and_everything_else_is_fetched() {
    let fixture = Fixture::new();
    fixture.mirror.fail(TOOL, [Fault::WrongByte]);
    let layer = largest_layer(&fixture.bundle);
    for repository in ["group/one", "two"] {
        fixture.mirror.fail(&format!("/v2/{repository}/blobs/sha256:{layer}"), [Fault::WrongByte]);
    }
    let error = fixture.fetch().unwrap_err();
    let FetchError::Incomplete { failures, of } = &error else { panic!("{error}") };
    assert_eq!((failures.len(), *of), (3, 6));
    assert!(failures[0].starts_with("tool 1.0.0 from http://127.0.0.1"), "{error}");
    assert!(failures[0].contains("was expected"), "{error}");
    assert!(failures[1].contains("a layer of registry.example.org/group/one:v1.0.0"), "{error}");
    assert_eq!(fixture.asked(TOOL), 1, "wrong bytes are not asked for again");
    let so_far = Bundle::open(fixture.dir()).unwrap();
    assert_eq!(so_far.files().len(), 2);
    assert_eq!(so_far.check(&mut silent), []);
    // The source has been mended.
    fixture.fetch().unwrap();
    fixture.assert_complete();
    held(
        "wrong bytes",
        "a mirror gives a file and layers with one byte changed",
        3,
        "refused with what was expected, not asked for again; everything else is fetched",
    );
}

#[test]
fn another_patch_than_those_of_the_catalogue_is_compared_with_the_digest_that_is_published_and_told() {
    let fixture = Fixture::new();
    let newer = catalogue().release("1.0.7", Arch::Amd64).unwrap();
    let files = newer.files.into_iter().filter(|file| file.name == "tool").collect();
    let newer = Release { files, images: Vec::new(), ..release() };
    let path = TOOL.replace("1.0.0", "1.0.7");
    let add = |path: &str, content: &str| fixture.mirror.add(path, "text/plain", content.as_bytes().to_vec());
    add(&path, "a newer tool");
    let sources = Sources { files_repo: Some(fixture.mirror.url()), ..Sources::default() };
    let mut writer = BundleWriter::open(fixture.dir()).unwrap();
    let mut told = Vec::new();
    let mut fetch = |digest: &str| {
        add(&format!("{path}.sha256"), digest);
        let fetched = fetch(&newer, &mut writer, &sources, &mut |news| {
            if let Progress::Published { files, by } = news {
                told.push(format!("{files} by {by}"));
            }
        });
        fetched.map(|fetched| fetched.downloaded).map_err(|error| error.to_string())
    };
    let wrong = fetch(&Sha256::of(b"another tool").to_string()).unwrap_err();
    assert!(wrong.contains("tool 1.0.7 from ") && wrong.contains("was expected"), "{wrong}");
    let none = fetch("<html>").unwrap_err();
    assert!(none.contains("tool.sha256"), "{none}");
    assert_eq!(fetch(&Sha256::of(b"a newer tool").to_string()), Ok(1));
    // It is there.
    assert_eq!(fetch("<html>"), Ok(0));
    let line = format!("tool 1.0.7 by {}", fixture.mirror.url().trim_start_matches("http://"));
    assert_eq!(told, [&line[..]; 3]);
    drop(writer);
    assert_eq!(content(&Bundle::open(fixture.dir()).unwrap(), "tool", "1.0.7"), b"a newer tool");
}

#[test]
fn what_does_not_exist_is_asked_for_once() {
    let fixture = Fixture::new();
    fixture.mirror.fail(ARCHIVE, [Fault::Status(404)]);
    fixture.mirror.fail(ONE, [Fault::Status(403)]);
    let error = fixture.fetch().unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("2 of 6 artifacts could not be fetched:\nhttp://127.0.0.1:"), "{text}");
    assert!(text.contains("does not exist (the server answered 404)"), "{text}");
    assert!(text.contains("was refused: the server answered 403"), "{text}");
    assert_eq!((fixture.asked(ARCHIVE), fixture.asked(ONE)), (1, 1));
    held("mirror fails", "answers 404 and 403", 2, "said with the URL, not asked again");
}

#[test]
fn redirects_are_followed_without_the_token() {
    let fixture = Fixture::new();
    fixture.mirror.require_token("secret");
    let store = HttpMirror::start().unwrap();
    let layer = largest_layer(&fixture.bundle);
    let bytes = fs::read(fixture.bundle.dir().join("images/blobs/sha256").join(&layer)).unwrap();
    store.add("/store/layer", "application/octet-stream", bytes);
    let path = format!("/v2/group/one/blobs/sha256:{layer}");
    fixture.mirror.fail(&path, [Fault::Redirect(format!("{}/store/layer", store.url()))]);
    fixture.fetch().unwrap();
    fixture.assert_complete();
    assert_eq!(store.requests(), ["/store/layer"]);
    assert_eq!(store.authorizations(), Vec::<String>::new());
}

#[test]
fn the_password_of_a_mirror_is_used_and_neither_shown_nor_recorded() {
    let fixture = Fixture::new();
    let mut writer = BundleWriter::open(fixture.dir()).unwrap();
    let url = fixture.mirror.url().replace("http://", "http://me:secret@");
    let retry = Retry { attempts: 1, pause: Duration::ZERO };
    let sources =
        Sources { files_repo: Some(url.clone()), registry_host: Some(url), retry, ..Sources::default() };
    fixture.mirror.fail(ARCHIVE, [Fault::Status(404)]);
    fixture.mirror.fail(TOOL, [Fault::WrongByte]);
    let error = fetch(&release(), &mut writer, &sources, &mut silent).unwrap_err().to_string();
    assert!(error.contains("404") && !error.contains("secret"), "{error}");
    fetch(&release(), &mut writer, &sources, &mut silent).unwrap();
    drop(writer);
    fixture.assert_complete();
    // RFC 7617: the two, with a colon between them, in Base64.
    let authorizations = fixture.mirror.authorizations();
    assert!(authorizations.iter().all(|value| value == "Basic bWU6c2VjcmV0"), "{authorizations:?}");
    assert_eq!(authorizations.len(), fixture.mirror.requests().len());
    let manifest = fs::read_to_string(fixture.dir().join("manifest.json")).unwrap();
    assert!(!manifest.contains("secret"), "{manifest}");
}

#[test]
fn an_image_for_another_platform_is_refused() {
    let fixture = Fixture::new();
    let entry = &fixture.bundle.images()[0];
    let blobs = fixture.bundle.dir().join("images/blobs/sha256");
    let index = serde_json::json!({"schemaVersion": 2, "manifests": []}).to_string();
    fixture.mirror.add(ONE, "application/vnd.oci.image.index.v1+json", index.into_bytes());
    let error = fixture.fetch().unwrap_err().to_string();
    assert!(error.contains("the registry does not have it for linux/amd64"), "{error}");

    // A registry that gives a manifest where an index was meant.
    let manifest = fs::read_to_string(blobs.join(entry.manifest_digest.to_string())).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let config = br#"{"os":"linux","architecture":"arm64"}"#;
    let digest = muster_artifacts::Sha256::of(config).oci();
    manifest["config"]["digest"] = digest.clone().into();
    manifest["config"]["size"] = config.len().into();
    fixture.mirror.add_manifest("group/one", "v1.0.0", manifest.to_string().into_bytes());
    fixture.mirror.add(&format!("/v2/group/one/blobs/{digest}"), "application/octet-stream", config.to_vec());
    let error = fixture.fetch().unwrap_err().to_string();
    assert!(error.contains("has it for linux/arm64 only, and linux/amd64 is wanted"), "{error}");
}

#[test]
fn an_unreachable_source_ends_the_fetch_at_once() {
    let fixture = Fixture::new();
    let mut writer = BundleWriter::open(fixture.dir()).unwrap();
    // A port that nobody listens on: the one of a mirror that is gone.
    let gone = HttpMirror::start().unwrap();
    let url = gone.url();
    drop(gone);
    std::thread::sleep(Duration::from_millis(50));
    let retry = Retry { attempts: 2, pause: Duration::from_millis(1) };
    let sources = Sources { files_repo: Some(url.clone()), retry, ..Sources::default() };
    let mut started = 0;
    let error = fetch(&release(), &mut writer, &sources, &mut |news| {
        started += usize::from(matches!(news, Progress::Start { .. }));
    })
    .unwrap_err();
    assert!(error.to_string().starts_with(&format!("{url}/dl.example.org/tool")), "{error}");
    assert_eq!(started, 1);
    held("mirror unreachable", "nothing listens there", 1, "the fetch ends at once");
}

#[test]
fn there_is_news_while_nothing_comes() {
    let fixture = Fixture::new();
    fixture.mirror.fail(TOOL, [Fault::Silence(Duration::from_secs(5))]);
    let mut last = std::time::Instant::now();
    let mut longest = Duration::ZERO;
    fixture
        .fetch_telling(&mut |_| {
            longest = longest.max(last.elapsed());
            last = std::time::Instant::now();
        })
        .unwrap();
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    fixture.assert_complete();
    held("mirror hangs", "5 s without an answer", 1, "there is news all the while");
}

#[test]
fn downloads_go_through_the_proxy_that_is_given() {
    let fixture = Fixture::new();
    let mut writer = BundleWriter::open(fixture.dir()).unwrap();
    let proxy = HttpMirror::start().unwrap();
    let retry = Retry { attempts: 1, pause: Duration::ZERO };
    let sources = Sources {
        files_repo: Some(fixture.mirror.url()),
        registry_host: Some(fixture.mirror.url()),
        proxy: Some(proxy.url()),
        retry,
        ..Sources::default()
    };
    fetch(&release(), &mut writer, &sources, &mut silent).unwrap_err();
    assert!(fixture.mirror.requests().is_empty());
    assert!(!proxy.requests().is_empty());

    let direct = Sources { no_proxy: "localhost, 127.0.0.1".into(), ..sources };
    fetch(&release(), &mut writer, &direct, &mut silent).unwrap();
    drop(writer);
    fixture.assert_complete();
}

#[test]
fn addresses_that_are_none_are_refused_before_anything_is_asked() {
    let fixture = Fixture::new();
    let mut writer = BundleWriter::open(fixture.dir()).unwrap();
    for sources in [
        Sources { files_repo: Some("mirror.example.org/files".into()), ..Sources::default() },
        Sources { registry_host: Some("mirror.example.org/images".into()), ..Sources::default() },
    ] {
        let error = fetch(&release(), &mut writer, &sources, &mut silent).unwrap_err();
        assert!(matches!(error, FetchError::Mirror { .. }), "{error}");
    }
    let proxy = Sources { proxy: Some("not a proxy".into()), ..Sources::default() };
    let error = fetch(&release(), &mut writer, &proxy, &mut silent).unwrap_err().to_string();
    assert!(error.contains("not a proxy"), "{error}");
}
