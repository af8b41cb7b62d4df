//! What the catalogue has, and what is refused of one.

use super::*;

const SHIPPED: &str = include_str!("../../../../roles/catalogue/catalogue.yml");

const SMALL: &str = r#"default_release: "1.36.1"
files:
  kubelet:
    kind: binary
    url: "https://dl.k8s.io/v{version}/{arch}/kubelet"
    sha256:
      "1.36.1": {amd64: "0000000000000000000000000000000000000000000000000000000000000001"}
      "1.36.0": {amd64: "0000000000000000000000000000000000000000000000000000000000000000"}
images:
  pause: "registry.k8s.io/pause:{version}"
releases:
  every:
    kubelet: "{release}"
  "1.36":
    pause: "3.10"
"#;

/// The error of the small catalogue after one change to it.
fn error_after(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    Catalogue::parse(&SMALL.replacen(from, to, 1), "c.yml").unwrap_err().to_string()
}

#[test]
fn shipped_catalogue_is_sound() {
    let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap();
    for arch in Arch::ALL {
        for release in catalogue.releases() {
            let release = catalogue.release(release, arch).unwrap();
            assert_eq!(release.file("kubelet").unwrap().version, release.version);
            assert!(release.image("coredns").is_some());
        }
    }
    let release = catalogue.release("1.36.3", Arch::Amd64).unwrap();
    assert_eq!(
        release.image("coredns").unwrap().reference.to_string(),
        "registry.k8s.io/coredns/coredns:v1.14.2"
    );
    assert_eq!(release.file("flannel-cni").unwrap().sha256, None);
    assert_eq!(
        release.file("kubeadm").unwrap().url,
        "https://dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubeadm"
    );
}

#[test]
fn a_cluster_needs_only_what_it_is_for() {
    let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap();
    let release = catalogue.release("1.36.3", Arch::Amd64).unwrap();
    let needed = |purpose: &str| catalogue.needed(release.clone(), |known| known == purpose);
    let dns = needed("dns");
    assert!(dns.image("coredns").is_some() && dns.image("kube-apiserver").is_some());
    assert!(dns.file("flannel-cni").is_none() && dns.image("flannel").is_none());
    assert!(needed("flannel").file("flannel-cni").is_some() && needed("flannel").image("coredns").is_none());
}

#[test]
fn a_bundle_for_nobody_has_no_application_that_was_not_asked_for() {
    let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap();
    let has = |with: &[String]| {
        let release = catalogue.with_options(catalogue.release("1.36.3", Arch::Amd64).unwrap(), with);
        ["coredns", "agnhost", "metrics-server", "local-path-provisioner", "calico-node", "calico-typha"]
            .map(|name| release.image(name).is_some())
    };
    assert_eq!(has(&[]), [true, true, false, false, false, false]);
    assert_eq!(has(&["metrics-server".to_owned()]), [true, true, true, false, false, false]);
    assert_eq!(has(&["calico".to_owned()]), [true, true, false, false, true, false]);
}

#[test]
fn another_version_of_what_is_for_a_purpose_is_taken_where_there_is_one() {
    let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap();
    let release = catalogue.release("1.36.3", Arch::Amd64).unwrap();
    let versions = |version: &str| {
        let release = catalogue.in_version(release.clone(), &["calico", "typha"], version).unwrap();
        let (file, image) =
            (release.file("calico-manifest").unwrap(), release.image("calico-typha").unwrap());
        assert_eq!(image.reference.tag, format!("v{}", image.version));
        assert!(file.url.contains(&format!("/v{}/", file.version)));
        assert_eq!(release.image("flannel").unwrap().version, "0.28.4");
        [file.version.clone(), image.version.clone()]
    };
    assert_eq!(versions("3.28.5"), ["3.28.5", "3.28.5"]);
    let error = catalogue.in_version(release.clone(), &["calico"], "3.3.1").unwrap_err().to_string();
    assert!(error.starts_with("calico-manifest 3.3.1 is not in the catalogue"), "{error}");
    // What goes with it is there in all versions, and a bundle may lack it.
    assert_eq!(catalogue.versions("calicoctl"), catalogue.versions("calico-manifest"));
    let program = catalogue.in_version(release.clone(), &["calico"], "3.28.5").unwrap();
    let program = program.file("calicoctl").unwrap();
    assert!(program.version == "3.28.5" && program.optional && program.sha256.is_some());
    // What every cluster needs is called by its own name.
    let older = catalogue.in_version(release, &["runc"], "1.3.6").unwrap();
    assert_eq!(older.file("runc").unwrap().version, "1.3.6");
    assert_eq!(older.file("containerd").unwrap().version, "2.2.1");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let catalogue = Catalogue::parse(SMALL, "c.yml").unwrap();
    let error = catalogue.release("1.36.7", Arch::Amd64).unwrap_err().to_string();
    assert_eq!(
        error,
        "release 1.36.7 is not in the catalogue c.yml; the nearest versions there are 1.36.1, 1.36.0"
    );
    let error = catalogue.file("kublet", "1.36.1", Arch::Amd64).unwrap_err().to_string();
    assert_eq!(error, r#"c.yml has no artifact "kublet"; it has kubelet, pause"#);
    let error = catalogue.file("kubelet", "1.36.1", Arch::Arm64).unwrap_err().to_string();
    assert_eq!(error, "kubelet 1.36.1 is in the catalogue c.yml, but not for arm64");
    assert!(catalogue.image("pause", "3.9/../evil").is_err());
}

#[test]
fn another_patch_of_a_minor_version_is_taken_by_the_digests_that_upstream_publishes() {
    let catalogue = Catalogue::parse(SHIPPED, "catalogue.yml").unwrap().begins_because("it does");
    let newest = catalogue.releases().into_iter().find(|release| release.starts_with("1.36.")).unwrap();
    let newer = format!("{newest}9");
    assert!(catalogue.is_unlisted_patch(&newer) && !catalogue.is_unlisted_patch(newest));
    let release = catalogue.release(&newer, Arch::Arm64).unwrap();
    let kubelet = release.file("kubelet").unwrap();
    assert_eq!((kubelet.version.as_str(), kubelet.sha256), (newer.as_str(), None));
    let url = format!("https://dl.k8s.io/release/v{newer}/bin/linux/arm64/kubelet");
    assert_eq!((&kubelet.url, kubelet.sha256_url.as_ref()), (&url, Some(&format!("{url}.sha256"))));
    // What goes with it is what goes with its minor version, and what is pinned stays so.
    let listed = catalogue.release(newest, Arch::Arm64).unwrap();
    assert_eq!(release.image("coredns"), listed.image("coredns"));
    assert_eq!(release.file("etcd"), listed.file("etcd"));
    assert!(catalogue.release(newest, Arch::Amd64).unwrap().file("kubelet").unwrap().sha256_url.is_none());

    let refused = |version: &str| catalogue.release(version, Arch::Amd64).unwrap_err().to_string();
    for wrong in ["1.99.0", "1.36", "1.36.07", "1.36.9-rc.1", "1.36.9.1", "1.36.x", "v1.36.9", "1.36.9/.."] {
        let told = refused(wrong);
        assert!(told.starts_with(&format!("release {wrong} is not in the catalogue")), "{told}");
    }
    for old in ["1.29.15", "1.9.0"] {
        let told = refused(old);
        assert!(
            told.starts_with(&format!("release {old} is older than all")) && told.ends_with(": it does"),
            "{told}"
        );
    }
    // Nobody publishes a checksum of another version of what does not follow the release.
    assert!(catalogue.file("containerd", &newer, Arch::Amd64).is_err());
}

#[test]
fn errors_name_file_line_and_column() {
    let error = error_after("0000000000000000000000000000000000000000000000000000000000000001", "12ab");
    assert!(error.starts_with("c.yml:7:25: "), "{error}");
    assert!(error.contains("\"12ab\" is not a sha256: 64 hexadecimal digits were expected"), "{error}");

    let error = error_after("kind: binary", "kind: program");
    assert!(error.starts_with("c.yml:4:11: ") && error.contains("program"), "{error}");

    let error = error_after("kind: binary", "kind: binary\n    colour: red");
    assert!(error.starts_with("c.yml:5:5: ") && error.contains("colour"), "{error}");

    let error = error_after("v{version}/{arch}", "v{versoin}/{arch}");
    assert!(error.starts_with("c.yml:5:10: ") && error.contains("placeholder"), "{error}");

    let error = error_after("registry.k8s.io/pause", "pause");
    assert!(error.starts_with("c.yml:10:10: ") && error.contains("no registry"), "{error}");

    let error = error_after("    pause: \"3.10\"", "    puase: \"3.10\"");
    assert!(error.starts_with("c.yml:15:12: ") && error.contains("neither"), "{error}");

    let error = error_after("default_release: \"1.36.1\"", "default_release: \"1.37.0\"");
    assert!(error.starts_with("c.yml:1:18: ") && error.contains("nearest"), "{error}");

    let error = error_after("releases:", "for:\n  names: [coredsn]\nreleases:");
    assert!(error.starts_with("c.yml:12:11: ") && error.contains("neither"), "{error}");

    let error = error_after("files:", "files: [");
    assert!(error.starts_with("c.yml:"), "{error}");
}
