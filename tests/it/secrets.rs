//! Secrets of a run are nowhere but where the user put them: not on the screen, not in JSON lines, differences, records or
//! plans.

use std::fs;
use std::path::Path;

use crate::fixture::muster;
use crate::scratch::Scratch;

/// Each place a secret can come from has its own.
const SECRETS: [&str; 6] =
    ["LOGIN-hunter2", "BECOME-hunter2", "EXTRA-hunter2", "JSON-hunter2", "swordfish", "PRIVATE KEY"];

/// What ansible-vault made of the text `hunter2` with the password `swordfish`.
const VAULT: &str = include_str!("vault.yml");

#[track_caller]
fn check(place: &str, text: &str) {
    for secret in SECRETS.into_iter().chain(["\"hunter2\"", " hunter2"]) {
        assert!(!text.contains(secret), "{secret:?} is in {place}:\n{text}");
    }
    // A token with which machines join: six and sixteen letters and digits (kubeadm).
    let is_token = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let part = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        word.split_once('.').is_some_and(|(id, secret)| part(id, 6) && part(secret, 16))
    };
    let token = text.split_whitespace().find(|word| is_token(word));
    assert_eq!(token, None, "a token is in {place}");
}

fn check_files(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => check_files(&path),
            false => check(&path.display().to_string(), &String::from_utf8_lossy(&fs::read(&path).unwrap())),
        }
    }
}

#[test]
fn no_secret_of_a_run_is_shown_or_recorded() {
    let machine = Scratch::start();
    let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n\
                  [all:vars]\nansible_password=LOGIN-hunter2\nansible_become_password=BECOME-hunter2\n";
    let test = muster()
        .bundle()
        .file("inventory/hosts.ini", &(machine.line("node1") + groups))
        .file("inventory/group_vars/kube_node.yml", VAULT)
        .file("password", "swordfish\n");
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    let test = test.set("MUSTER_KNOWN_HOSTS", known_hosts).set("MUSTER_BUNDLE", "bundle");
    let common = [
        "--vault-password-file",
        "password",
        "-e",
        "my_token=EXTRA-hunter2",
        "-e",
        "{\"my_password\": \"JSON-hunter2\"}",
        "--offline",
        "-vvv",
    ];
    let mut seen = String::new();
    for arguments in [
        // etcd makes keys, and comes to write them.
        &["setup-cluster", "--check", "--diff", "--tags", "etcd,cni"][..],
        &["setup-cluster", "--check", "--diff", "--tags", "etcd,cni", "--output", "jsonl"],
        // What cannot be done here fails, and is told with how to go on.
        &["setup-cluster", "--diff", "--tags", "flannel"],
        &["plan", "-o", "plan.json", "--diff", "--tags", "etcd"],
    ] {
        let ended = test.run(&[arguments, &common].concat());
        check(&format!("what {arguments:?} prints"), &(ended.stdout.clone() + &ended.stderr));
        seen.push_str(&ended.stdout);
    }
    // It did come to them.
    for part in ["ca-key.pem", "my_token=...", "10-flannel.conflist"] {
        assert!(seen.contains(part), "{part:?} is not in\n{seen}");
    }
    let records = test.folder().join("inventory/.muster/runs");
    assert_eq!(fs::read_dir(&records).unwrap().count(), 4);
    check_files(&records);
    let plan = fs::read_to_string(test.folder().join("plan.json")).expect("a plan");
    assert!(plan.contains("ca-key.pem"), "{plan}");
    check("the plan", &plan);
}
