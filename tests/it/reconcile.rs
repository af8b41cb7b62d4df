//! `muster reconcile` where nothing is set up: what it sees, what it keeps, and what stops it.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use muster_testkit::sshd::Sshd;
use serde_json::Value;

use crate::fixture::{Test, muster};
use crate::machines::project;

/// A control plane at an address where nobody answers, and the worker node1, which does, and was never set up.
fn cluster(sshd: &Sshd) -> Test {
    let test = project(sshd, muster());
    let text = fs::read_to_string(test.folder().join("inventory/hosts.ini")).unwrap();
    let node1 = text.lines().next().unwrap().to_owned();
    let plane = "plane ansible_host=127.0.0.1 ansible_port=9\n";
    let groups = "[kube_control_plane]\nplane\n[etcd]\nplane\n[kube_node]\nnode1\n";
    test.file("inventory/hosts.ini", &format!("{node1}\n{plane}{groups}"))
}

fn status(test: &Test) -> Value {
    serde_json::from_str(&test.run(&["reconcile", "--status", "--output", "json"]).code(1).stdout).unwrap()
}

#[test]
fn what_is_wrong_is_told_and_kept_and_many_ill_machines_are_left_to_a_person() {
    let sshd = Sshd::start();
    let test = cluster(&sshd);
    test.run(&["reconcile", "--status"])
        .code(0)
        .stderr_has(&["nobody has looked yet", "next: muster reconcile"]);
    let ended = test.run(&["reconcile"]).code(1);
    ended.stdout_has(&[
        "node1: needs a person: ill are 2 of 2 machines, more than 40 %",
        "plane: needs a person: ",
    ]);
    let known = status(&test);
    let node1 = &known["machines"]["node1"];
    assert_eq!((&node1["state"], &node1["next"]), (&Value::from("ill"), &Value::Null), "{known:#}");
    assert!(node1["wrong"].as_str().unwrap().starts_with("it is not set up"), "{known:#}");
    assert!(known["machines"]["plane"]["wrong"].as_str().unwrap().contains("127.0.0.1:9"), "{known:#}");
    assert_eq!(known["watched_by"], Value::Null);
    // Nothing was begun on machines.
    assert!(!test.folder().join("inventory/.muster/runs").exists());
    // The same again is no news to those who read the file.
    let decisions = || fs::read_to_string(test.folder().join("inventory/.muster/reconcile.jsonl")).unwrap();
    let first = decisions();
    assert_eq!(first.lines().count(), 2, "{first}");
    test.run(&["reconcile", "--output", "json"]).code(1).stdout_has(&["\"decision\":\"needs a person\""]);
    assert_eq!(decisions(), first);
    test.run(&["reconcile", "--status"]).code(1).stdout_has(&["node1", "ill"]);
}

#[test]
fn a_machine_that_is_off_is_switched_on_once_and_not_while_it_is_frozen() {
    let sshd = Sshd::start();
    let power = "#!/bin/sh\n[ \"$1\" = power ] && echo off || echo \"$*\" >>told\n";
    let test = cluster(&sshd).program("power.sh", power);
    let told = || fs::read_to_string(test.folder().join("told")).unwrap_or_default();
    let round = ["reconcile", "--provider", "./power.sh", "--unhealthy-limit", "100%", "--after", "0s"];

    test.run(&["reconcile", "--freeze", "exam until 14:00"]).code(0).stderr_has(&["muster reconcile --thaw"]);
    test.run(&round).code(1).stdout_has(&["plane: wait: frozen: exam until 14:00"]);
    assert_eq!((told().as_str(), &status(&test)["frozen"]), ("", &Value::from("exam until 14:00")));
    test.run(&["reconcile", "--thaw"]).code(0).stderr("no longer frozen: exam until 14:00");

    // It carries the cluster, so it comes before the worker that wants its place.
    let ended = test.run(&round).code(1);
    ended.stdout_has(&["plane: power: 127.0.0.1:9", "node1: wait: plane comes first", "plane: power: done"]);
    assert_eq!(told(), "cycle plane 127.0.0.1\n");
    let known = status(&test);
    assert_eq!(known["machines"]["plane"]["tries"][0]["step"], "power", "{known:#}");
    assert!(known["machines"]["plane"]["next"].is_string(), "{known:#}");
    // It is frozen again before the worker gets its turn.
    test.run(&["reconcile", "--freeze", "a"]).code(0);
    test.run(&round).code(1);
    assert_eq!(told(), "cycle plane 127.0.0.1\n");
}

#[test]
fn the_second_loop_says_who_has_the_first_one_and_a_signal_ends_that() {
    let sshd = Sshd::start();
    let test = cluster(&sshd);
    let loops = ["reconcile", "--every", "1s", "--metrics", "127.0.0.1:0"];
    let mut first = test.command(&loops).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let lock = test.folder().join("inventory/.muster/reconcile.lock");
    let begun = Instant::now();
    let holder = loop {
        let holder = fs::read_to_string(&lock).unwrap_or_default();
        if holder.ends_with('\n') {
            break holder;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no lock");
        thread::sleep(Duration::from_millis(50));
    };
    let pid = holder.split("(pid ").nth(1).and_then(|rest| rest.split(')').next()).unwrap().to_owned();
    let told = format!("(pid {pid})");
    test.run(&["reconcile"]).code(75).stderr_has(&[
        "this cluster is healed by root@",
        &told,
        "nothing was done",
    ]);
    // A look at what is known needs nobody's leave.
    while !test.folder().join("inventory/.muster/reconcile.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no round");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(status(&test)["watched_by"].as_str().unwrap().contains(&told));
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert_eq!(first.wait().unwrap().code(), Some(0));
    test.run(&["reconcile"]).code(1);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let test =
        muster().file("inventory/hosts.ini", "node1\n[kube_control_plane]\nnode1\n[kube_node]\nnode1\n");
    let refused = |words: &[&str], told: &str| {
        test.run(&[&["reconcile"], words].concat()).code(5).stderr_has(&[told]).nothing_written();
    };
    refused(&["--every", "0"], "at least 1s is needed");
    refused(&["--unhealthy-limit", "400"], "such as 40%");
    refused(&["--may-reimage"], "--provider");
    refused(&["--freeze", "x", "--thaw"], "cannot be used with");
    refused(&["--metrics", "127.0.0.1:0"], "--every 60s");
    refused(&["--every", "60s", "-K"], "--vault-password-file");
}
