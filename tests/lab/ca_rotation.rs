//! A cluster gets new certificate authorities while an application is asked and runs are killed.

use std::fs;

use muster_testkit::fault_record::held;

use crate::fixture::{Ended, Lab};

/// Answers with its name; a pod that goes answers for some seconds more, as one does that is asked by others.
const APPLICATION: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  strategy: {rollingUpdate: {maxUnavailable: 0}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
        - name: app
          image: registry.k8s.io/e2e-test-images/agnhost:2.63.0
          args: [netexec, --http-port=8080, --delay-shutdown=5]
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: default}
spec:
  clusterIP: 10.233.0.77
  selector: {app: app}
  ports: [{port: 80, targetPort: 8080}]
"#;

/// Asks the application through its service, five times a second, and notes when there was no answer.
const ASK: &str = r#"ask() { timeout 2 bash -c "exec 3<>/dev/tcp/10.233.0.77/80; printf \"GET /hostname HTTP/1.0\r\n\r\n\" >&3; grep -q \"200 OK\" <&3"; }
while :; do ask && echo ok || echo "failed $(date +%T)"; sleep 0.2; done >/run/asked 2>/dev/null"#;

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
    let kubectl = |words: &[&str]| done(lab.muster(&[&["kubectl"], words].concat())).out;
    fs::write(lab.folder().join("app.yml"), APPLICATION).unwrap();
    kubectl(&["apply", "-f", "app.yml"]);
    kubectl(&["rollout", "status", "deployment/app", "--timeout=60s"]);
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

    // It is killed when files have changed and nothing has started with them, and when the new authority has its key and has
    // signed nothing.
    lab.on("node2", &format!("nohup setsid bash -c '{ASK}' >/dev/null 2>&1 </dev/null &"));
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
    }
    done(with("old.conf"));
    let rotated = done(lab.muster(&["certs", "renew", "--ca", "--yes"]));
    assert!(rotated.all().contains("muster students create"), "{rotated:#?}");
    held(
        "controller killed",
        "SIGKILL while authorities are rotated",
        2,
        "the same command finishes; nothing else may begin",
    );

    let failed = lab.on("node2", "pkill -f '[d]ev/tcp/10.233.0.77'; grep failed /run/asked || :");
    assert_eq!(failed.trim(), "", "the application was asked in vain");
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
