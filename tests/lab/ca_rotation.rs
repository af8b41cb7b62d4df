//! A cluster gets new certificate authorities while an application is asked and runs are killed.

use std::fs;

use muster_testkit::fault_record::held;

use crate::asked::{self, APP};
use crate::fixture::{Ended, Lab};

/// What tells the authorities and certificates of a machine from any others.
const SUMS: &str = "cd /etc && sha256sum kubernetes/ssl/* ssl/etcd/ssl/* kubernetes/*.conf";

fn done(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn authorities_are_rotated_under_an_application_and_by_runs_that_are_killed() {
    let lab = Lab::up(161, &["-n", "2"]);
    done(lab.muster(&["setup-cluster", &lab.pattern(2)]));
    asked::deploy(&lab, 2, 1);
    done(lab.muster(&["students", "create", "anna"]));
    let inventory = lab.folder().join("inventory");
    fs::copy(inventory.join("artifacts/admin.conf"), lab.folder().join("old.conf")).unwrap();
    let anna = inventory.join("artifacts/students/anna.conf");
    let annas_old = fs::read(&anna).unwrap();
    let with = |conf: &str| lab.muster(&["kubectl", "--kubeconfig", conf, "get", "--raw", "/readyz"]);
    done(with("old.conf"));
    let before = lab.on("node1", SUMS);

    // What keeps the authorities from being rotated is found before anything is changed.
    let unasked = lab.muster(&["certs", "renew", "--ca"]);
    assert!(unasked.code == 5 && unasked.all().contains("--yes"), "{unasked:#?}");
    lab.on("node1", "mv /etc/kubernetes/ssl/front-proxy-ca.key /root/");
    let elsewhere = lab.muster(&["certs", "renew", "--ca", "--yes"]);
    assert!(elsewhere.code == 3 && elsewhere.all().contains("front-proxy-ca.key"), "{elsewhere:#?}");
    lab.on("node1", "mv /root/front-proxy-ca.key /etc/kubernetes/ssl/");
    let planned = done(lab.muster(&["certs", "renew", "--ca", "--check"]));
    assert!(planned.recap("node2", "changed") > 0, "{planned:#?}");
    assert_eq!(lab.on("node1", SUMS), before, "nothing was changed");
    assert!(!lab.has("node1", "/var/lib/muster/rotation"));

    // Somebody works on a worker with a copy of admin.conf, which keeps nobody from anything.
    let copied = lab.on("node1", "base64 -w0 /etc/kubernetes/admin.conf");
    lab.on("node2", &format!("echo {} | base64 -d >/etc/kubernetes/admin.conf", copied.trim()));

    // It is killed when files have changed and nothing has started with them, and when the new authority has its key and has
    // signed nothing.
    asked::ask(&lab, "node2", &[APP]);
    for mark in [
        "node1  rotation-trust: Trust both authorities: changed",
        "node1  rotation-sign: Sign with the new authorities: changed",
    ] {
        let mut run = lab.start(&["certs", "renew", "--ca", "--yes", "-vv", "--output", "plain"]);
        run.until(mark);
        run.signal("KILL");
        run.end();
        let refused = lab.muster(&["setup-cluster"]);
        assert!(refused.code == 3 && refused.all().contains("muster certs renew --ca"), "{refused:#?}");
        done(lab.muster(&["verify"]));
        // A node that has left the inventory meanwhile would trust nobody any more.
        let hosts = inventory.join("hosts.ini");
        let whole = fs::read_to_string(&hosts).unwrap();
        let without = whole.lines().filter(|line| !line.starts_with("node2"));
        fs::write(&hosts, without.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let left = lab.muster(&["certs", "renew", "--ca", "--yes"]);
        assert!(left.code == 3 && left.all().contains("the node node2 is in the"), "{left:#?}");
        fs::write(&hosts, whole).unwrap();
    }
    done(with("old.conf"));
    let rotated = done(lab.muster(&["certs", "renew", "--ca", "--yes"]));
    assert!(rotated.all().contains("muster students create"), "{rotated:#?}");
    assert!(
        rotated.all().contains("/etc/kubernetes/admin.conf is a copy of a control plane's"),
        "{rotated:#?}"
    );
    lab.on("node2", "rm /etc/kubernetes/admin.conf");
    held(
        "controller killed",
        "SIGKILL while authorities are rotated",
        2,
        "the same command finishes; nothing else may begin",
    );

    asked::always_answered(&lab, "node2", asked::APP);
    for (machine, path) in [
        ("node1", "/etc/kubernetes/ssl/ca.crt"),
        ("node1", "/etc/kubernetes/ssl/front-proxy-ca.crt"),
        ("node1", "/etc/ssl/etcd/ssl/ca.pem"),
        ("node2", "/etc/kubernetes/ssl/ca.crt"),
    ] {
        assert_eq!(lab.on(machine, &format!("grep -c BEGIN {path}")).trim(), "1", "{path} of {machine}");
        let sum = lab.on(machine, &format!("sha256sum <{path}"));
        assert!(
            !before.contains(sum.split_whitespace().next().unwrap()),
            "{path} of {machine} is the old one"
        );
    }
    for machine in ["node1", "node2"] {
        assert!(
            !lab.has(machine, "/var/lib/muster/rotation")
                && !lab.has(machine, "/etc/kubernetes/ssl/ca-signer.crt")
        );
    }
    let again = done(lab.muster(&["setup-cluster"]));
    assert_eq!(["node1", "node2"].map(|host| again.recap(host, "changed")), [0, 0], "{again:#?}");
    done(lab.muster(&["certs", "check"]));
    done(lab.muster(&["verify"]));
    // Whoever trusts the old authority finds nobody.
    let old = with("old.conf");
    assert!(old.code != 0 && old.all().contains("x509"), "{old:#?}");
    fs::write(lab.folder().join("anna.conf"), annas_old).unwrap();
    assert!(with("anna.conf").all().contains("x509"));
    done(lab.muster(&["students", "create", "anna"]));
    done(lab.muster(&["kubectl", "--kubeconfig", anna.to_str().unwrap(), "get", "pods"]));
}
