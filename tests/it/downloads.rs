//! What the bundle lacks comes from a mirror that fails, breaks off, or gives something else.

use std::sync::Arc;

use muster_artifacts::{Arch, Bundle};
use muster_roles::catalogue::CATALOGUE;
use muster_testkit::fault_record::held;
use muster_testkit::http_mirror::{Fault, HttpMirror};
use muster_testkit::sshd::Sshd;

use crate::fixture::{Ended, Test, setup_cluster};
use crate::machines::project;

/// A machine, a bundle that lacks the image of pause, and a mirror that has it.
struct Setting {
    sshd: Sshd,
    test: Test,
    mirror: HttpMirror,
    manifest: String,
    layer: String,
    /// What the mirror reads.
    _complete: Test,
}

impl Setting {
    fn new() -> Self {
        let complete = setup_cluster().bundle();
        let whole = Arc::new(Bundle::open(complete.folder().join("bundle")).unwrap());
        let release = CATALOGUE.release(CATALOGUE.default_release(), Arch::Amd64).unwrap();
        let image = release.images.iter().find(|image| image.reference.repository == "pause").unwrap();
        let mirror = HttpMirror::start().unwrap();
        mirror.add_bundle(&whole, &release).unwrap();
        let entry = whole.image(&image.reference.to_string(), release.arch).unwrap();
        let manifest = whole.dir().join("images/blobs/sha256").join(entry.manifest_digest.to_string());
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
        let layer = format!("/v2/pause/blobs/{}", manifest["layers"][0]["digest"].as_str().unwrap());
        let sshd = Sshd::start();
        let test = project(&sshd, setup_cluster().bundle_without(&["/pause:"]))
            .file("inventory/group_vars/all.yml", &format!("registry_host: {}\n", mirror.url()));
        let manifest = format!("/v2/pause/manifests/{}", image.reference.tag);
        Self { sshd, test, mirror, manifest, layer, _complete: complete }
    }

    /// A run that looks at one thing on the machine, once the bundle is complete.
    fn run(&self, options: &[&str]) -> Ended {
        let run = ["--bundle", "bundle", "--tags", "kubeconfig", "--check", "--output", "plain"];
        let version = format!("kube_version={}", CATALOGUE.default_release());
        self.test.run(&[&run[..], &["-e", &version], options].concat())
    }

    /// The bundle lacks what it lacked, and nobody was at the machine.
    #[track_caller]
    fn stopped_before_the_machine(&self) {
        assert!(!self.sshd.log().contains("Accepted"), "{}", self.sshd.log());
        self.run(&["--offline"]).code(1).stderr_has(&["lacks:", "pause"]);
    }
}

#[test]
fn a_mirror_that_fails_now_and_then_is_asked_again_and_told() {
    let setting = Setting::new();
    setting.mirror.fail(&setting.manifest, [Fault::Status(500), Fault::Status(503)]);
    setting.mirror.fail(&setting.layer, [Fault::CutAfter(5)]);
    let ended = setting.run(&[]).code(0).stdout_has(&[
        "the server answered 500 Internal Server Error; try 2 of 5",
        "the server answered 503 Service Unavailable; try 3 of 5",
    ]);
    let told = "what the bundle lacks is fetched now. Nothing is changed on machines.";
    ended.stderr_has(&[told]);
    let requests = setting.mirror.requests();
    assert!(requests.contains(&format!("{} bytes=5-", setting.layer)), "{requests:?}");
    let ended = setting.run(&["--offline"]).code(0);
    assert!(!ended.stderr.contains(told), "{}", ended.stderr);
    held(
        "mirror fails",
        "500, 503, then a layer that is cut",
        1,
        "each attempt is told; the run goes on with the right bytes",
    );
}

#[test]
fn a_mirror_that_always_fails_ends_the_run_before_a_machine_is_contacted() {
    let setting = Setting::new();
    setting.mirror.fail(&setting.manifest, vec![Fault::Status(500); 9]);
    let url = format!("{}{} could not be downloaded in 5 attempts", setting.mirror.url(), setting.manifest);
    setting.run(&[]).code(1).stderr_has(&[&url, "500 Internal Server Error", "hint: "]);
    setting.stopped_before_the_machine();
    held(
        "mirror fails",
        "500 always",
        1,
        "said with the URL and the remedy after 5 attempts; no machine is contacted",
    );
}

#[test]
fn wrong_bytes_and_half_a_file_never_get_into_the_bundle() {
    for (fault, told) in [(Fault::WrongByte, "was expected"), (Fault::CutAfter(0), "in 5 attempts")] {
        let setting = Setting::new();
        setting.mirror.fail(&setting.layer, vec![fault; 9]);
        setting.run(&[]).code(1).stderr_has(&[&setting.layer, told, "hint: "]);
        setting.stopped_before_the_machine();
    }
    held(
        "wrong bytes",
        "a mirror that gives another layer, or none of it",
        2,
        "said with the URL and the remedy; no machine is contacted",
    );
}

#[test]
fn the_version_of_runc_that_a_variable_chooses_is_what_the_bundle_lacks() {
    let newest = CATALOGUE.default_release();
    let sshd = Sshd::start();
    let test = project(&sshd, setup_cluster());
    let release = CATALOGUE.release(newest, Arch::Amd64).unwrap();
    muster_testkit::bundle::write(&test.folder().join("bundle"), &release, &[]);
    let version = format!("kube_version={newest}");
    let run = ["--bundle", "bundle", "--offline", "-e", &version, "-e", "runc_version=v1.3.6"];
    let ended = test.run(&run).code(1);
    assert!(!ended.stderr.contains("bundle build"), "there is a recipe for one version: {}", ended.stderr);
    ended.stderr_has(&["lacks:\n  runc 1.3.6 for amd64 (", "muster bundle fetch --with runc=1.3.6 --dir "]);
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

/// A cluster that stands keeps its network plugin and its version: it is asked before what it may not need is fetched, or missed, of a
/// version that is said only where the bundle has another one, or none. Of anything else that the bundle lacks no machine has to be
/// asked.
#[test]
fn before_a_network_plugin_or_a_version_is_missed_machines_tell_whether_they_may_have_it() {
    let (newest, older) = (CATALOGUE.default_release(), "1.36.3");
    let said = format!("kube_version={newest}");
    for (left_out, plugin, said, versions, is_asked) in [
        ("calico", "calico", &["-e", said.as_str()][..], &[newest][..], true),
        ("/pause:", "calico", &["-e", &said], &[newest], false),
        ("/flannel/", "flannel", &["-e", &said], &[newest], false),
        ("/pause:", "flannel", &["-e", &said], &[newest, older], true),
        ("/pause:", "flannel", &["-e", &said], &[], true),
        // A part of the version that new clusters get, and none of the one that this cluster may keep.
        ("/pause:", "flannel", &[], &[newest], true),
    ] {
        let sshd = Sshd::start();
        let test = project(&sshd, setup_cluster());
        for version in versions {
            let release = CATALOGUE.release(version, Arch::Amd64).unwrap();
            muster_testkit::bundle::write(&test.folder().join("bundle"), &release, &[left_out]);
        }
        let asked = format!("kube_network_plugin={plugin}");
        let run = ["--bundle", "bundle", "--offline", "-e", &asked];
        let ended = test.run(&[&run[..], said].concat()).code(1);
        ended.stderr_has(&["lacks:", left_out]);
        assert_eq!(sshd.log().contains("Accepted"), is_asked, "{left_out}: {}", sshd.log());
    }
}
