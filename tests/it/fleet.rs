//! `muster reconcile` of many declared clusters, on a computer where nothing is set up; and declarations from a git repository on disk.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use muster_testkit::sshd::Sshd;
use serde_json::Value;

use crate::fixture::{Test, muster};

const DECLARATION: &str = "\
version: 1
machines: existing
login: {user: root}
pools:
  - name: cp
    roles: [control_plane, worker]
    addresses: [192.0.2.11]
";

/// An inventory as `apply` writes it, of a machine where nobody answers.
fn made(name: &str) -> String {
    let host = format!("{name}-cp-192-0-2-11");
    let group = |group: &str| format!("    {group}:\n      hosts:\n        {host}:\n");
    let groups: String = ["kube_control_plane", "etcd", "kube_node"].map(group).concat();
    format!(
        "all:\n  hosts:\n    {host}: {{ansible_host: 127.0.0.1, ansible_port: 9}}\n  children:\n{groups}    k8s_cluster:\n      \
         children:\n        kube_control_plane:\n        kube_node:\n"
    )
}

/// Two clusters that were made, one that was not, and one that cannot be read.
fn fleet() -> Test {
    let test = muster();
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    test.set("MUSTER_KNOWN_HOSTS", known_hosts)
        .file("clusters/shop/cluster.yml", DECLARATION)
        .file("clusters/shop/inventory/hosts.yml", &made("shop"))
        .file("clusters/club/cluster.yml", DECLARATION)
        .file("clusters/club/inventory/hosts.yml", &made("club"))
        .file("clusters/hall/cluster.yml", DECLARATION)
        .file("clusters/room/cluster.yml", "version: 1\n")
}

#[test]
fn what_is_wrong_with_one_cluster_stops_no_other_and_each_has_its_line() {
    let test = fleet();
    test.run(&["reconcile", "--all", "--status"])
        .code(1)
        .nothing_written()
        .stdout_has(&["shop", "not known"]);
    let ended = test.run(&["reconcile", "--all"]).code(1);
    ended.stdout_has(&[
        "shop: shop-cp-192-0-2-11: needs a person: ill are 1 of 1 machine, more than 40 %",
        "club: club-cp-192-0-2-11: needs a person: ",
        "hall: the cluster: needs a person: clusters/hall/cluster.yml declares a cluster that is not made yet",
        "room: clusters/room/cluster.yml:",
    ]);
    let overview = test.run(&["cluster", "status"]).code(1).nothing_written();
    let line = |name: &str| overview.stdout.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(
        line("shop").contains("wrong") && overview.stdout.contains("clusters/room"),
        "{}",
        overview.stdout
    );
    let told = test.run(&["reconcile", "--all", "--status", "--output", "json"]).code(1).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["clusters"].as_object().unwrap().len(), 4, "{told:#}");
    assert_eq!(told["clusters"]["shop"]["machines"]["shop-cp-192-0-2-11"]["state"], "ill", "{told:#}");
    assert_eq!(told["clusters"]["shop"]["declaration"], Value::Null, "{told:#}");

    // One of them alone; and names that are wrong before anything is done.
    let one = test.run(&["reconcile", "club", "--output", "json"]).code(1);
    assert!(one.stdout.contains("\"cluster\":\"club\"") && !one.stdout.contains("shop"), "{}", one.stdout);
    test.run(&["reconcile", "shpo"]).code(5).nothing_written().stderr_has(&["did you mean shop?"]);
    test.run(&["reconcile", "shop", "shpo", "--freeze", "x"]).code(5).nothing_written();
    test.run(&["reconcile", "shop", "club", "--freeze", "exam"])
        .code(0)
        .stderr_has(&["shop: frozen", "club: frozen"]);
    test.run(&["reconcile", "shop"]).code(1).stdout_has(&["wait: frozen: exam"]);
    test.run(&["reconcile", "--all", "--thaw"])
        .code(0)
        .stderr_has(&["shop: no longer frozen: exam", "hall: it was not"]);
}

#[test]
fn a_declaration_that_is_gone_removes_no_cluster_and_lets_nothing_be_done() {
    let test =
        fleet().program("power.sh", "#!/bin/sh\n[ \"$1\" = power ] && echo off || echo \"$*\" >>told\n");
    fs::remove_file(test.folder().join("clusters/shop/cluster.yml")).unwrap();
    let round =
        ["reconcile", "--all", "--provider", "./power.sh", "--unhealthy-limit", "100%", "--after", "0s"];
    let ended = test.run(&round).code(1);
    ended.stdout_has(&[
        "shop: clusters/shop/cluster.yml is gone, and no cluster is removed because of that",
        "shop: shop-cp-192-0-2-11: wait: frozen: clusters/shop/cluster.yml is gone",
        "club: club-cp-192-0-2-11: power: done",
    ]);
    let told = fs::read_to_string(test.folder().join("told")).unwrap();
    assert_eq!(told, "cycle club-cp-192-0-2-11 127.0.0.1\n");
    assert!(test.folder().join("clusters/shop/inventory/hosts.yml").exists());
    test.run(&["cluster", "status"]).code(1).stdout_has(&["shop", "gone"]);
}

#[test]
fn a_cluster_that_was_deleted_is_not_made_anew_by_a_loop() {
    let test = fleet();
    let round = ["reconcile", "hall", "--apply", "--after", "0s", "--boot-time", "1s"];
    // What a deletion leaves: the mark of the declaration, and no inventory.
    let mark = "79c3c62b873b808740246c0b8212d0bb35087c783b82a14665eaa83387a16d73";
    let test = test.file("clusters/hall/inventory/.muster/applied", &format!("{mark}\n"));
    let ended = test.run(&round).code(1);
    ended.stdout_has(&["hall: the cluster was deleted; to make it anew: muster cluster apply hall"]);
    assert!(!test.folder().join("clusters/hall/inventory/hosts.yml").exists());
}

#[test]
fn a_declaration_is_applied_where_that_is_allowed_and_not_what_takes_something_away() {
    let mut sshd = Sshd::start();
    let login = format!("{{user: {}, private_key: {}}}", sshd.user(), sshd.key().display());
    let text = DECLARATION.replace("{user: root}", &login).replace("192.0.2.11", "127.0.0.1");
    let text = format!("{text}variables: {{ansible_port: {}}}\n", sshd.port());
    sshd.stop();
    let wiped = text
        .replace("login:", "provider: ./power.sh\nlogin:")
        .replace("[127.0.0.1]", "[127.0.0.1]\n    image: '12'");
    let test = muster().file("clusters/shop/cluster.yml", &text).file("clusters/room/cluster.yml", &wiped);
    let test = test.program("power.sh", "#!/bin/sh\necho \"$*\" >>told\n");
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    let test = test.set("MUSTER_KNOWN_HOSTS", known_hosts);
    let round =
        ["reconcile", "--all", "--apply", "--after", "0s", "--boot-time", "1s", "--unhealthy-limit", "100%"];
    let ended = test.run(&round).code(1);
    ended.stdout_has(&[
        "shop: the cluster: apply: clusters/shop/cluster.yml declares a cluster that is not made yet",
        "shop: the cluster: apply: after 1.0s these cannot be worked on",
        "room: the cluster: apply: room-cp-127-0-0-1 will get a new system, and what is on their disks is lost; nothing was changed. A \
         person does it: muster cluster apply room",
    ]);
    assert!(test.folder().join("clusters/shop/inventory/hosts.yml").exists());
    assert!(
        !test.folder().join("clusters/room/inventory/hosts.yml").exists()
            && !test.folder().join("told").exists()
    );
    // It is not tried again at once; another declaration is.
    test.run(&round).code(1).stdout_has(&["shop: the cluster: wait: the last try needs time"]);
    let test = test.file("clusters/shop/cluster.yml", &format!("{text}network_plugin: calico\n"));
    test.run(&round)
        .code(1)
        .stdout_has(&["shop: the cluster: apply: clusters/shop/cluster.yml was not applied yet"]);
}

#[test]
fn a_loop_of_many_clusters_keeps_them_for_itself_and_has_metrics_of_each() {
    let test = fleet();
    let words = ["reconcile", "--all", "--every", "1s", "--metrics", "127.0.0.1:0", "--at-once", "2"];
    let mut first = test.command(&words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(first.stderr.take().unwrap()).lines();
    let address = loop {
        let line = said.next().unwrap().unwrap();
        if let Some(rest) = line.strip_prefix("metrics at http://") {
            break rest.trim_end_matches("/metrics").to_owned();
        }
    };
    // What else it says nobody reads, and it must not wait for that.
    let reader = thread::spawn(move || said.map_while(Result::ok).count());
    let begun = Instant::now();
    loop {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let lines = [
            "muster_reconcile_machine_ill{cluster=\"shop\",machine=\"shop-cp-192-0-2-11\"} 1",
            "muster_reconcile_machine_ill{cluster=\"club\",machine=\"club-cp-192-0-2-11\"} 1",
            "muster_reconcile_declaration_wrong{cluster=\"room\"} 1",
            "muster_reconcile_declaration_wrong{cluster=\"hall\"} 0",
        ];
        if lines.iter().all(|line| answer.lines().any(|known| known == *line)) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{answer}");
        thread::sleep(Duration::from_millis(100));
    }
    // A cluster is held between its rounds, too, and the others of a second loop are not held up by it.
    let second = test.run(&["reconcile", "shop"]).code(1);
    let second = second.stderr_has(&["shop: error: it is healed by root@", "nothing was done"]);
    let pid = second.stderr.split("(pid ").nth(1).and_then(|rest| rest.split(')').next()).unwrap().to_owned();
    // One that is declared later is kept from then on.
    let test = test.file("clusters/late/cluster.yml", "version: 1\n");
    while !test.folder().join("clusters/late/inventory/.muster/reconcile.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not seen");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert_eq!(first.wait().unwrap().code(), Some(0));
    reader.join().unwrap();
}

/// A repository with these declarations, in the folder `origin`.
fn commit(test: &Test, change: &[&str]) {
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-C", "origin", "-c", "user.name=ada", "-c", "user.email=ada@example.org"]).args(words);
        let done = test.at_home(command).output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    if !test.folder().join("origin/.git").exists() {
        git(&["init", "-q", "-b", "main"]);
    }
    git(&["add", "-A"]);
    git(&[&["commit", "-q", "-m", "change"], change].concat());
}

#[test]
fn declarations_come_from_git_and_what_is_not_good_leaves_in_force_what_is_there() {
    let test = muster().file("origin/clusters/room/cluster.yml", DECLARATION);
    let test = test.file("origin/clusters/room/inventory/group_vars/all.yml", "ntp_enabled: true\n");
    let test = test.file("origin/clusters/room/inventory/hosts.yml", "all: no\n");
    commit(&test, &[]);
    let url = format!("{}#main", test.folder().join("origin").display());
    let round = ["reconcile", "--from-git", &url, "--drift-every", "0"];
    let here = |path: &str| fs::read_to_string(test.folder().join("clusters").join(path)).unwrap_or_default();

    let first = test.run(&round).code(1);
    first
        .stderr_has(&["declarations of the commit "])
        .stdout_has(&["room: the cluster: needs a person: clusters/room/cluster.yml declares a cluster"]);
    assert_eq!(here("room/cluster.yml"), DECLARATION);
    assert_eq!(here("room/inventory/group_vars/all.yml"), "ntp_enabled: true\n");
    assert_eq!(here("room/inventory/hosts.yml"), "", "muster alone writes it");

    // One that has a mistake, a link, and another cluster that is good.
    let origin = test.folder().join("origin/clusters");
    fs::write(origin.join("room/cluster.yml"), DECLARATION.replace("[192.0.2.11]", "[no]")).unwrap();
    fs::create_dir_all(origin.join("hall")).unwrap();
    fs::write(origin.join("hall/cluster.yml"), DECLARATION).unwrap();
    fs::create_dir_all(origin.join("link")).unwrap();
    fs::write(origin.join("link/cluster.yml"), DECLARATION).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", origin.join("link/key")).unwrap();
    commit(&test, &[]);
    let mistaken = test.run(&round).code(1);
    mistaken
        .stdout_has(&["room: what the repository has of it was not taken: clusters/room/cluster.yml:"])
        .stderr_has(&["link: what the repository has of it was not taken: key: it is a link"]);
    assert_eq!(
        (here("room/cluster.yml").as_str(), here("hall/cluster.yml").as_str()),
        (DECLARATION, DECLARATION)
    );
    assert!(!test.folder().join("clusters/link").exists());
    test.run(&["cluster", "status"])
        .code(1)
        .stderr_has(&["declarations of ", "link: what the repository has"]);

    // A declaration that is gone there is gone here; the cluster that was made of it stays.
    let test = test.file("clusters/room/inventory/hosts.yml", &made("room"));
    fs::remove_dir_all(origin.join("room")).unwrap();
    fs::remove_dir_all(origin.join("link")).unwrap();
    commit(&test, &[]);
    test.run(&round)
        .code(1)
        .stdout_has(&["room: clusters/room/cluster.yml is gone, and no cluster is removed"]);
    assert!(test.folder().join("clusters/room/inventory/hosts.yml").exists());

    // A history that was written anew, and a repository that cannot be reached.
    let hall = test.folder().join("clusters/hall/cluster.yml");
    fs::write(origin.join("hall/cluster.yml"), format!("{DECLARATION}network_plugin: calico\n")).unwrap();
    commit(&test, &["--amend"]);
    test.run(&round).code(1).stderr_has(&["declarations stay as they are: the commit ", " does not follow "]);
    assert_eq!(fs::read_to_string(&hall).unwrap(), DECLARATION);
    fs::rename(test.folder().join("origin"), test.folder().join("away")).unwrap();
    let away = test.run(&round).code(1).stdout_has(&["room: ", "hall: "]);
    assert!(away.stderr.contains("declarations stay as they are: git fetch: fatal: "), "{}", away.stderr);
    assert_eq!(fs::read_to_string(&hall).unwrap(), DECLARATION);
}

#[test]
fn a_commit_that_nobody_signed_changes_nothing_where_signatures_count() {
    let test = muster().file("origin/clusters/room/cluster.yml", DECLARATION);
    commit(&test, &[]);
    let url = test.folder().join("origin").display().to_string();
    let ended = test.run(&["reconcile", "--from-git", &url, "--verify-signatures"]).code(5);
    ended.stderr_has(&["has no signature that git knows", "there is no clusters/NAME/cluster.yml"]);
    assert!(!test.folder().join("clusters/room").exists());

    // Signed by a key that this computer trusts.
    let key = test.folder().join("key");
    muster_testkit::sshd::generate_key(&key, "ed25519", "");
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let (kind, rest) = public.split_once(' ').unwrap();
    let signers = format!("ada@example.org {kind} {}\n", rest.split_whitespace().next().unwrap());
    let config = format!(
        "[gpg]\nformat = ssh\n[gpg \"ssh\"]\nallowedSignersFile = {}\n[user]\nsigningKey = {}\n",
        test.folder().join("signers").display(),
        key.display()
    );
    let test = test.file("signers", &signers).file("../home/.gitconfig", &config);
    commit(&test, &["--amend", "-S"]);
    let ended = test.run(&["reconcile", "--from-git", &url, "--verify-signatures"]).code(1);
    ended.stderr_has(&["declarations of the commit "]);
    assert!(test.folder().join("clusters/room/cluster.yml").exists());
    // What is here and did not come from there is not written over.
    let other = muster().file("clusters/room/cluster.yml", &format!("{DECLARATION}# here\n"));
    let ended = other.run(&["reconcile", "--from-git", &url]).code(1);
    ended.stdout_has(&[
        "room: what the repository has of it was not taken: clusters/room/cluster.yml is there already",
    ]);
    let kept = fs::read_to_string(other.folder().join("clusters/room/cluster.yml")).unwrap();
    assert!(kept.ends_with("# here\n"), "{kept}");
}

#[test]
fn what_makes_no_sense_for_declared_clusters_is_refused() {
    let test =
        fleet().file("inventory/hosts.ini", "node1\n[kube_control_plane]\nnode1\n[kube_node]\nnode1\n");
    let refused = |words: &[&str], told: &str| {
        test.run(&[&["reconcile"], words].concat()).code(5).stderr_has(&[told]).nothing_written();
    };
    refused(&["--apply"], "name declared clusters, or all of them: --all");
    refused(&["shop", "--may-remove"], "--apply");
    refused(&["shop", "-i", "inventory"], "cannot be used with");
    refused(&["shop", "--all"], "cannot be used with");
    refused(&["--from-git", "https://ada:secret@git.example/a"], "everybody on this computer");
    refused(&["shop", "--verify-signatures"], "--from-git");
    refused(&["shop", "--at-once", "0"], "--at-once");
}
