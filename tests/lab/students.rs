//! An hour in a classroom: students out of a list, with what they may do and may not, until nothing is left of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixture::{Ended, Lab};
use crate::secrets::watch;

const CLASS: &str = "name;login;groups\nŁukasz Żak;;I7\nAnna Nowak;;I7\nAnna Nowak;;I8\n王伟;wang;I8\n";

/// kubectl with the file of a student.
fn as_student(lab: &Lab, namespace: &str, words: &[&str]) -> Ended {
    let config = lab.folder().join(format!("inventory/artifacts/students/{namespace}.conf"));
    let config = format!("--kubeconfig={}", config.display());
    lab.muster(&[&["kubectl", &config], words].concat())
}

/// A pod as `kubectl run --overrides` takes it.
fn pod(spec: &str) -> String {
    format!("--overrides={{\"spec\": {spec}}}")
}

#[test]
fn students_have_a_namespace_each_and_nothing_else_until_they_are_gone() {
    let lab = Lab::up(110, &["-n", "1"]);
    let setup = lab.muster(&["setup-cluster", &lab.address(1)]);
    assert_eq!(setup.code, 0, "{setup:#?}");
    fs::write(lab.folder().join("class.csv"), CLASS).unwrap();
    lab.on("node1", "kubectl --kubeconfig /etc/kubernetes/admin.conf create namespace shop");
    let students = |words: &[&str]| lab.muster(&[&["students"], words].concat());

    // A namespace that is there and is not a student's is refused, and nobody else is made either.
    let refused = students(&["create", "anna", "shop"]);
    assert_eq!(refused.code, 2, "{refused:#?}");
    assert!(
        refused.all().contains("shop: the namespace shop is there, and is not a student's"),
        "{refused:#?}"
    );
    let names = || lab.muster(&["kubectl", "get", "namespaces", "-o", "name"]).out;
    let before = names();
    assert!(!before.contains("anna"), "{before}");

    let check = students(&["create", "-f", "class.csv", "--check"]);
    assert_eq!((check.code, names()), (0, before.clone()), "{check:#?}");
    assert!(check.all().contains("anna-nowak-2"), "{check:#?}");

    watch(&lab, &["node1"]);
    let created = students(&["create", "-f", "class.csv", "-vvv"]);
    assert_eq!(created.code, 0, "{created:#?}");
    let table = |namespace: &str, name: &str| {
        let line = created.out.lines().find(|line| line.starts_with(&format!("{namespace} ")));
        assert!(line.is_some_and(|line| line.contains(name)), "{created:#?}");
    };
    for (namespace, name) in [
        ("lukasz-zak", "Łukasz Żak"),
        ("anna-nowak", "Anna Nowak"),
        ("anna-nowak-2", "Anna Nowak"),
        ("wang", "王伟"),
    ] {
        table(namespace, name);
        let file = lab.folder().join(format!("inventory/artifacts/students/{namespace}.conf"));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(file.with_extension("txt").is_file());
    }

    // Tokens are shown when they are asked for, and stand nowhere else than in the students' files.
    let token = lab.muster(&["student-tokens", "Łukasz", "--inventory", "inventory/hosts.ini"]);
    assert_eq!(token.code, 1, "{token:#?}");
    let token = lab.muster(&["student-tokens", "lukasz-zak"]);
    let token = token.out.trim();
    assert!(token.split('.').count() == 3, "{token}");
    assert!(!created.all().contains(token));
    let arguments = lab.on("node1", "systemctl stop arguments; cat /run/arguments");
    assert!(arguments.contains("serviceaccounts/lukasz-zak/token") && !arguments.contains(token));
    for record in fs::read_dir(lab.folder().join("inventory/.muster/runs")).unwrap() {
        assert!(!fs::read_to_string(record.unwrap().path()).unwrap().contains(token));
    }

    may_do_own_things(&lab);
    may_not_do_others(&lab);

    let again = students(&["create", "-f", "class.csv", "-v"]);
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");

    // What a student has taken away is mended, and whoever has left the list goes; the others are as they were.
    let gone = as_student(&lab, "wang", &["delete", "networkpolicy", "wang"]);
    assert_eq!(gone.code, 0, "{gone:#?}");
    let shorter = CLASS.replace("Łukasz Żak;;I7\n", "");
    fs::write(lab.folder().join("class.csv"), shorter).unwrap();
    let pruned = students(&["create", "-f", "class.csv", "--prune", "-v"]);
    assert_eq!(pruned.code, 0, "{pruned:#?}");
    let all = pruned.all();
    assert!(all.contains("NetworkPolicy wang/wang") && all.contains("1 deleted: lukasz-zak"), "{pruned:#?}");
    assert!(names().contains("namespace/shop") && !names().contains("lukasz"), "{}", names());
    assert_eq!(as_student(&lab, "anna-nowak", &["get", "pods"]).code, 0);

    // What holds a namespace is named, and the others go.
    lab.on(
        "node1",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n wang create configmap held && \
         kubectl --kubeconfig /etc/kubernetes/admin.conf -n wang patch configmap held -p \
         '{\"metadata\": {\"finalizers\": [\"example.com/held\"]}}'",
    );
    let held = students(&["delete", "wang", "anna-nowak", "-e", "students_delete_timeout=20"]);
    assert_eq!(held.code, 2, "{held:#?}");
    let told = held.all();
    assert!(
        told.contains("1 of 2 namespaces are not gone") && told.contains("example.com/held"),
        "{held:#?}"
    );
    assert!(!names().contains("namespace/anna-nowak\n"), "{}", names());
    lab.on(
        "node1",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n wang patch configmap held -p \
         '{\"metadata\": {\"finalizers\": null}}'",
    );
    let deleted = students(&["wang Anna", "anna-nowak-2", "delete"]);
    assert_eq!(deleted.code, 2, "{deleted:#?}");
    assert!(deleted.all().contains("there is no student Anna"), "{deleted:#?}");
    assert_eq!(names(), before);
    let left = fs::read_dir(lab.folder().join("inventory/artifacts/students")).unwrap().count();
    assert_eq!(left, 0);
}

/// As in the hour of the course: a deployment, a NodePort, and an answer from outside.
fn may_do_own_things(lab: &Lab) {
    let student = |words: &[&str]| {
        let ended = as_student(lab, "lukasz-zak", words);
        assert_eq!(ended.code, 0, "{words:?}: {ended:#?}");
        ended.out
    };
    let image = format!("--image={}", lab.agnhost());
    student(&["create", "deployment", "echoserver", &image, "--port=8080", "--", "/agnhost", "netexec"]);
    student(&["expose", "deployment", "echoserver", "--type=NodePort"]);
    student(&["rollout", "status", "deployment", "echoserver", "--timeout=60s"]);
    let port = student(&["get", "service", "echoserver", "-o", "jsonpath={.spec.ports[0].nodePort}"]);
    let url = format!("http://{}:{port}/echo?msg=hello", lab.address(1));
    let answer = lab.exec(&["curl", "-s", "--retry", "10", "--retry-all-errors", "-m", "5", &url]);
    assert_eq!(answer.out, "hello", "{answer:#?}");
}

/// Neither what is everybody's, nor what is another one's, nor the machine.
fn may_not_do_others(lab: &Lab) {
    let refused = |words: &[&str], why: &str| {
        let ended = as_student(lab, "lukasz-zak", words);
        assert!(ended.code != 0 && ended.err.contains(why), "{words:?}: {ended:#?}");
    };
    refused(&["get", "nodes"], "Forbidden");
    refused(&["get", "secrets", "-n", "anna-nowak"], "Forbidden");
    refused(&["get", "pods", "-n", "kube-system"], "Forbidden");
    refused(&["label", "namespace", "lukasz-zak", "pod-security.kubernetes.io/enforce-"], "Forbidden");
    refused(&["delete", "resourcequota", "lukasz-zak"], "Forbidden");
    let image = lab.agnhost();
    let option = format!("--image={image}");
    let run = |spec: &str| refused(&["run", "bad", &option, &pod(spec)], "violates PodSecurity");
    let container = format!(r#""name": "bad", "image": "{image}""#);
    run(&format!(r#"{{"containers": [{{{container}, "securityContext": {{"privileged": true}}}}]}}"#));
    run(&format!(
        r#"{{"containers": [{{{container}}}], "volumes": [{{"name": "root", "hostPath": {{"path": "/"}}}}]}}"#
    ));
    run(&format!(r#"{{"hostNetwork": true, "containers": [{{{container}}}]}}"#));
}
