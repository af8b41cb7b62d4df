//! What runs leave behind, and what can be learnt from it later.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muster_testkit::sshd::not_sshd;

use crate::fixture::{Test, muster};

/// Two machines that are off: ports where nobody listens.
fn two_machines_off() -> Test {
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (one, other) = (port(), port());
    let text = format!(
        "node1 ansible_host=127.0.0.1 ansible_port={one}\nnode2 ansible_host=127.0.0.1 ansible_port={other}\n\
         [kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode2\n"
    );
    let test = muster().file("inventory/hosts.ini", &text);
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    test.set("MUSTER_KNOWN_HOSTS", known_hosts)
}

/// The id of the only run.
fn id_of_the_run(test: &Test) -> String {
    let names = fs::read_dir(test.folder().join("inventory/.muster/runs")).unwrap();
    let names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].strip_suffix(".jsonl").unwrap().to_owned()
}

#[test]
fn a_run_is_recorded_for_its_owner_alone_and_told_later() {
    let test = two_machines_off();
    test.run(&["preflight", "-e", "course=hunter2"]).code(4).stdout_has(&["\nlog: muster log last node1\n"]);
    let id = id_of_the_run(&test);
    let path = test.folder().join(format!("inventory/.muster/runs/{id}.jsonl"));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let record = fs::read_to_string(&path).unwrap();
    assert!(!record.contains("hunter2"), "{record}");
    let lines: Vec<serde_json::Value> =
        record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["command"], "muster preflight -e course=...");
    assert_eq!(lines[0]["hosts"], serde_json::json!(["node1", "node2"]));
    assert_eq!(
        (&lines[1]["event"], &lines.last().unwrap()["event"]),
        (&"run_started".into(), &"recap".into())
    );

    let shown = test.run(&["runs"]).code(0).nothing_written();
    shown.stdout_has(&[&id, "muster preflight -e course=...", "unreachable", "2 failed"]);
    for run in ["last", &id] {
        let told = test.run(&["log", run]).code(0).nothing_written();
        told.stdout_has(&[
            "failed: node1  unreachable: 127.0.0.1:",
            "failed: node2",
            "hint: ",
            "\nPLAY RECAP **",
        ]);
    }
    let of_one = test.run(&["log", "last", "node2"]).code(0).stdout;
    assert!(of_one.contains("failed: node2") && !of_one.contains("node1"), "{of_one}");
    test.run(&["log", "last", "nod2"])
        .code(5)
        .stderr_has(&["\"nod2\" had no part", "did you mean \"node2\"?"]);
    test.run(&["log", "2020"]).code(5).stderr_has(&["there is no run \"2020\""]);
}

/// A run, under way, of a machine that takes connections and says nothing for so many seconds as it is waited for.
fn under_way(seconds: &str, with_nohup: bool) -> (Test, Child) {
    let port = not_sshd("", true);
    let inventory = format!(
        "node1 ansible_host=127.0.0.1 ansible_port={port}\n[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n"
    );
    let test = muster().file("inventory/hosts.ini", &inventory);
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    let test = test.set("MUSTER_KNOWN_HOSTS", known_hosts);
    let mut command = test.command(&["preflight", "-T", seconds]);
    if with_nohup {
        let mut nohup = Command::new("nohup");
        nohup.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        command = test.at_home(nohup);
    }
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !test.run(&["runs"]).stdout.contains("under way") {
        assert!(begun.elapsed() < Duration::from_secs(60), "no record");
        std::thread::sleep(Duration::from_millis(50));
    }
    (test, child)
}

/// The terminal of a program is closed.
fn hang_up(child: &Child) {
    let words = format!("kill -HUP {}", child.id());
    assert!(Command::new("sh").args(["-c", &words]).status().unwrap().success());
}

#[test]
fn a_run_whose_terminal_is_closed_ends_in_order_unless_it_has_nohup() {
    // What is under way ends before.
    let (test, mut child) = under_way("15", false);
    hang_up(&child);
    assert_eq!(child.wait().unwrap().code(), Some(99));
    let shown = test.run(&["runs"]).code(0).stdout;
    assert!(shown.contains("interrupted") && !shown.contains("unfinished"), "{shown}");

    let (test, mut child) = under_way("300", true);
    hang_up(&child);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none());
    test.run(&["runs"]).code(0).stdout_has(&["under way"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_was_killed_leaves_what_had_happened() {
    let (test, mut child) = under_way("300", false);
    let shown = || test.run(&["runs"]);
    child.kill().unwrap();
    child.wait().unwrap();
    shown().code(0).stdout_has(&["unfinished", "1 not done"]);
    test.run(&["log"]).code(0).stdout_has(&["muster preflight -T 300", "unfinished", "It was cut off"]);
    let nobody = test.run(&["exec", "@failed", "--", "true"]).code(5);
    nobody.stderr_has(&["no host had failed when the last run", "was cut off"]);
}

#[test]
fn failed_stands_for_the_hosts_that_failed_in_the_last_run_of_this_inventory() {
    let test = two_machines_off().bundle();
    let limited = |test: &Test, limit: &str| {
        test.run(&[
            "setup-cluster",
            "--bundle",
            "bundle",
            "--tags",
            "kubelet",
            "--list-hosts",
            "--limit",
            limit,
        ])
    };
    limited(&test, "@failed").code(5).nothing_written().stderr_has(&["there is no record of a run in "]);
    test.run(&["preflight", "--limit", "node2"]).code(4);
    limited(&test, "@failed").code(0).stdout_has(&["hosts (1):\n      node2\n"]);
    limited(&test, "node1,@failed").code(0).stdout_has(&["hosts (2):\n      node1\n      node2\n"]);
    limited(&test, "all:!@failed").code(0).stdout_has(&["hosts (1):\n      node1\n"]);
    // What only shows what would be done is no such run.
    test.run(&["reset-cluster", "--check", "--limit", "node1"]).code(4);
    limited(&test, "@failed").code(0).stdout_has(&["hosts (1):\n      node2\n"]);
    // A run of another inventory of the same folder says nothing about this one.
    let other = fs::read_to_string(test.folder().join("inventory/hosts.ini")).unwrap();
    let test = test.file("inventory/other.ini", &other);
    test.run(&["preflight", "-i", "inventory/other.ini", "--limit", "node1"]).code(4);
    limited(&test, "@failed").code(0).stdout_has(&["hosts (1):\n      node2\n"]);
    // Ansible's own meaning: the lines of a file.
    let test = test.file("site.retry", "node1\n");
    limited(&test, "@site.retry").code(0).stdout_has(&["hosts (1):\n      node1\n"]);
}

#[test]
fn a_run_goes_on_where_it_cannot_be_recorded() {
    let test = two_machines_off().file("inventory/.muster", "");
    let ended = test.run(&["preflight"]).code(4);
    assert_eq!(ended.stderr.matches("this run is not recorded").count(), 1, "{}", ended.stderr);
    assert!(!ended.stdout.contains("muster log"), "{}", ended.stdout);
    test.run(&["runs"]).code(5).stderr_has(&["there is no record of a run"]);
}

#[test]
fn who_was_held_up_by_a_machine_that_is_off_can_go_on_without_it() {
    let machine = crate::scratch::Scratch::start();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let inventory = format!(
        "{}head ansible_host=192.0.2.1\noff ansible_host=127.0.0.1 ansible_port={port}\n\
         [kube_control_plane]\nhead\n[etcd]\nhead\n[kube_node]\npc1\noff\n",
        machine.line("pc1")
    );
    let playbook = |most: &str| {
        format!(
            "- {{name: First, hosts: kube_node, roles: [cni], max_failures: {most}}}\n\
             - {{name: Second, hosts: kube_node, roles: [cni], wait_for_all: true}}\n"
        )
    };
    let test = muster()
        .bundle()
        .file("inventory/hosts.ini", &inventory)
        .file("playbooks/cluster.yml", &playbook("0"));
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    let test = test.set("MUSTER_KNOWN_HOSTS", known_hosts).set("MUSTER_BUNDLE", "bundle");
    test.run(&["setup-cluster", "--offline"]).code(4).stdout_has(&[
        "pc1  stopped, because off failed: 1 of 2 in \"First\", which allows no failure\n",
        "\nagain: muster setup-cluster --bundle bundle --offline\n\
         without off: muster setup-cluster --bundle bundle --offline --limit '!off'\n",
    ]);
    // Where that is allowed, it is a machine that is off and nothing more; the exit code tells.
    let test = test.file("playbooks/cluster.yml", &playbook("50%"));
    let ended = test.run(&["setup-cluster", "--offline"]).code(4);
    ended.stdout_has(&[
        "\npc1                        : ok=6 ",
        "1 host done",
        "1 unreachable",
        "--limit off",
    ]);
    test.run(&["setup-cluster", "--offline", "--limit", "!off"]).code(0);
}

#[test]
fn what_was_found_on_machines_is_told_later_as_in_the_run() {
    let machine = crate::scratch::Scratch::start();
    let inventory = format!(
        "{}[kube_control_plane]\npc1\n[etcd]\npc1\n[kube_node]\npc1\n",
        machine.line("pc1").replace(" ip=127.0.0.1", " ip=192.0.2.11")
    );
    let test = muster().bundle().file("inventory/hosts.ini", &inventory);
    let known_hosts = test.folder().join("known_hosts").display().to_string();
    let test = test.set("MUSTER_KNOWN_HOSTS", known_hosts).set("MUSTER_BUNDLE", "bundle");
    let shown = test.run(&["preflight"]).code(3).stdout;
    let begin = shown.find("HOST ").expect("a table of problems");
    let (table, _) = shown[begin..].split_once("\nPLAY RECAP").expect("a recap");
    assert!(table.contains("HOW TO MEND IT") && table.contains("pc1"), "{table}");
    test.run(&["log"]).code(0).stdout_has(&[table]);
}
