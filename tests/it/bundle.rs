//! The bundle as a list of what an inventory needs, and as a mirror and registry for others.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use muster_testkit::http_mirror::HttpMirror;
use muster_testkit::sshd::Sshd;

use crate::fixture::{muster, setup_cluster};
use crate::machines::project;

const INVENTORY: &str =
    "node1 ip=192.0.2.1\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";

#[test]
fn what_an_inventory_needs_follows_its_variables() {
    let listed = |yaml: &str| {
        let test = muster().file("inventory/hosts.ini", INVENTORY).file("inventory/group_vars/all.yml", yaml);
        test.run(&["bundle", "list", "--dir", "none", "--needed", "--for-inventory"])
            .code(0)
            .nothing_written()
            .stdout
    };
    // A version of which the catalogue has the digests.
    let usual = listed("kube_version: 1.36.3\n");
    let kubelet = usual.lines().find(|line| line.starts_with("kubelet ")).unwrap();
    let words: Vec<&str> = kubelet.split_whitespace().collect();
    assert!(
        words[3].len() == 64 && words[4].starts_with("https://dl.k8s.io/") && words[5] == "no",
        "{kubelet}"
    );
    assert!(usual.contains("flannel") && !usual.contains("metrics-server"), "{usual}");
    assert!(
        usual.lines().any(|line| line.starts_with("conntrack ") && line.contains("distribution")),
        "{usual}"
    );
    assert!(!usual.contains("chrony") && !usual.contains("ipset"), "{usual}");
    let more = listed("ntp_enabled: true\nnetwork_policies_enabled: true\n");
    assert!(["\nchrony ", "\nipset "].iter().all(|package| more.contains(package)), "{more}");
    let other = listed("kube_network_plugin: none\nmetrics_server_enabled: true\n");
    assert!(!other.contains("flannel") && other.contains("metrics-server"), "{other}");
    // Of the bundle that is there, too.
    let there = muster().file("inventory/hosts.ini", INVENTORY).bundle();
    let there = there.run(&["bundle", "list", "--dir", "bundle", "--needed"]).code(0).stdout;
    assert!(there.lines().any(|line| line.starts_with("pause ") && line.ends_with(" yes")), "{there}");
}

#[test]
fn files_and_images_come_from_the_mirrors_that_variables_name() {
    let mirror = HttpMirror::start().unwrap();
    let test = setup_cluster().file("inventory/hosts.ini", INVENTORY).file(
        "inventory/group_vars/all.yml",
        &format!("files_repo: {0}\nregistry_host: {0}\n", mirror.url()),
    );
    let ended = test.run(&["--bundle", "none"]).code(1);
    let asked = ["/dl.k8s.io/release/", "/v2/kube-apiserver/manifests/"].map(|path| mirror.url() + path);
    ended.stdout_has(&[&asked[0], &asked[1]]);
}

#[test]
fn a_registry_and_a_site_may_have_a_mirror_of_their_own_which_knows_who_asks() {
    let (all, own) = (HttpMirror::start().unwrap(), HttpMirror::start().unwrap());
    // RFC 7617.
    let header = "Basic bWU6c2VjcmV0";
    own.require_credentials(header);
    let place = own.url().replace("http://", "");
    let variables = format!(
        "files_repo: {0}\nregistry_host: {0}\nkube_image_repo: {1}/k8s\ndl_k8s_io_url: {1}/dl\ndocker_image_repo: docker.io\n",
        all.url(),
        own.url()
    );
    let auth =
        format!("containerd_registry_auth: [{{registry: '{place}', username: me, password: secret}}]\n");
    let fetch = |variables: &str, docker: &str| {
        muster()
            .file("inventory/hosts.ini", INVENTORY)
            .file("inventory/group_vars/all.yml", variables)
            .file("docker/config.json", docker)
            .set("DOCKER_CONFIG", "docker")
            .run(&["bundle", "fetch", "--dir", "none", "--for-inventory"])
            .code(1)
    };
    let nobody = fetch(&variables, "{}");
    nobody.stderr_has(&[
        &format!("{}/dl/release/", own.url()),
        &format!("{place} wants a name and a password"),
    ]);
    assert!(own.authorizations().is_empty());
    let known = fetch(&format!("{variables}{auth}"), "{}");
    known.stderr_has(&[&format!("{}/v2/k8s/kube-apiserver/manifests/", own.url())]);
    assert!(!own.authorizations().is_empty() && own.authorizations().iter().all(|value| value == header));
    let logged_in = format!(r#"{{"auths": {{"{place}": {{"auth": "{}"}}}}}}"#, &header[6..]);
    fetch(&variables, &logged_in).stderr_has(&[&format!("{}/v2/k8s/kube-apiserver/manifests/", own.url())]);
    fetch(&variables, "{").stderr_has(&["config.json: it is no JSON of Docker's", "docker login"]);
    assert!(all.authorizations().is_empty(), "a password is for its registry alone");
}

#[test]
fn what_an_inventory_needs_is_fetched_from_its_mirrors() {
    let mirror = HttpMirror::start().unwrap();
    let variables = format!("files_repo: {0}\nregistry_host: {0}\n", mirror.url());
    let test =
        muster().file("inventory/hosts.ini", INVENTORY).file("inventory/group_vars/all.yml", &variables);
    let fetch = ["bundle", "fetch", "--dir", "none", "--for-inventory"];
    let ended = test.run(&fetch).code(1);
    let asked = ["/dl.k8s.io/release/", "/v2/kube-apiserver/manifests/"].map(|path| mirror.url() + path);
    ended.stderr_has(&[&asked[0], &asked[1]]);
    // What is said to the command holds.
    let other = HttpMirror::start().unwrap();
    let ended = test.run(&[&fetch[..], &["--files-repo", &other.url()]].concat()).code(1);
    ended.stderr_has(&[&format!("{}/dl.k8s.io/release/", other.url()), &asked[1]]);
    // Whose digests are wanted, and wrong, too.
    let wrong = muster()
        .file("inventory/hosts.ini", INVENTORY)
        .file("inventory/group_vars/all.yml", &format!("{variables}image_digests: none\n"));
    wrong.run(&fetch).code(4).stderr_has(&["all.yml:3:", "image_digests"]);
}

#[test]
fn the_list_of_what_is_needed_is_for_the_architectures_that_are_asked_for() {
    let test = muster();
    let list = |more: &[&str]| test.run(&[&["bundle", "list", "--dir", "none"], more].concat());
    let both = list(&["--needed", "--arch", "arm64", "--arch", "amd64"]).code(0).stdout;
    assert!(both.contains("/arm64/kubelet") && both.contains("/amd64/kubelet"), "{both}");
    // Without --needed it is meant, too.
    let one = list(&["--arch", "arm64", "--with", "metrics-server"]).code(0).stdout;
    assert!(one.contains("metrics-server") && !one.contains("/amd64/kubelet"), "{one}");
    for other in ["--versions", "--digests"] {
        list(&[other, "--kube-version", "1.36.3"]).code(5).stderr_has(&["--needed"]);
    }
}

#[test]
fn a_bundle_that_is_served_completes_another_one() {
    let whole = setup_cluster().bundle();
    let mut server = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["bundle", "serve", "--dir", "bundle", "--listen", "127.0.0.1:0"])
        .current_dir(whole.folder())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let url =
        first.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(';');
    let sshd = Sshd::start();
    let test = project(&sshd, setup_cluster().bundle_without(&["/pause:"]))
        .file("inventory/group_vars/all.yml", &format!("registry_host: {url}\n"));
    let run = ["--bundle", "bundle", "--tags", "kubeconfig", "--check", "--output", "plain"];
    let ended = test.run(&run);
    server.kill().unwrap();
    server.wait().unwrap();
    ended.code(0);
    let told: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(
        told.iter().any(|line| line.contains("GET /v2/pause/manifests/") && line.ends_with("200")),
        "{told:?}"
    );
    test.run(&[&run[..], &["--offline"]].concat()).code(0);
}
