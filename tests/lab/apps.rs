//! Applications: they come, do what they are for, are told of when they are not well, and go without leaving anything.

use std::fs;
use std::process::Command;

use crate::fixture::{Ended, Lab, muster};

const NAMES: [&str; 2] = ["metrics-server", "local-path-provisioner"];

const CLAIM: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: notes}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: student}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: student, image: IMAGE, volumeMounts: [{name: notes, mountPath: /notes}]}]
  volumes: [{name: notes, persistentVolumeClaim: {claimName: notes}}]
"#;

/// Whether the bundle has the applications' images. They are not built by default, because that takes minutes.
fn bundle_has_them() -> bool {
    let list = Command::new(muster()).args(["bundle", "list"]).output().unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    NAMES.iter().all(|name| list.contains(name))
}

#[test]
fn applications_come_and_go() {
    if !bundle_has_them() {
        let with: Vec<_> = NAMES.iter().map(|name| format!(" --with {name}")).collect();
        eprintln!("skipped: the bundle has no applications; muster bundle build{}", with.concat());
        return;
    }
    let lab = Lab::up(104, &["-n", "1"]);
    let folder = lab.folder().join("inventory");
    fs::create_dir_all(folder.join("group_vars")).unwrap();
    let host = format!("node1 ansible_host={address} ip={address}\n", address = lab.address(1));
    fs::write(
        folder.join("hosts.ini"),
        host + "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n",
    )
    .unwrap();
    let set = |text: &str| fs::write(folder.join("group_vars/all.yml"), text).unwrap();
    let setup = |args: &[&str]| {
        let ended = lab.muster(&[&["setup-cluster"], args].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    let objects = || {
        let kinds = "deployments,services,serviceaccounts,configmaps,clusterroles,clusterrolebindings,rolebindings,\
                     apiservices,storageclasses,namespaces,persistentvolumes";
        kubectl(&["get", kinds, "-A", "-o", "name"])
    };
    let changed = |ended: &Ended| ended.recap("node1", "changed");

    setup(&[]);
    let before = objects();

    // One that cannot become well stops no other, and is told of with its reason.
    set("metrics_server_enabled: true\nlocal_path_provisioner_enabled: true\n");
    let huge =
        ["metrics_server_requests_memory=900Gi", "metrics_server_limits_memory=900Gi", "apps_timeout=15"];
    let huge = huge.map(|setting| ["-e", setting]).concat();
    let broken = lab.muster(&[&["setup-cluster", "--tags", "apps"], &huge[..]].concat());
    assert_eq!(broken.code, 2, "{broken:#?}");
    assert!(broken.all().contains("metrics-server: the pod metrics-server-"), "{broken:#?}");
    assert!(broken.all().contains("Insufficient memory"), "{broken:#?}");
    assert!(!broken.all().contains("local-path-provisioner: 0 of"), "{broken:#?}");
    let told = lab.muster(&["apps"]);
    let line = |name: &str| told.out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let words = told.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.code == 1 && words.contains("1 Insufficient memory"), "{told:#?}");
    assert!(line("local-path-provisioner").contains("well"), "{told:#?}");

    // What is mended becomes well, and then nothing is left to do.
    assert!(changed(&setup(&["--tags", "metrics-server"])) > 0);
    assert_eq!(changed(&setup(&[])), 0);
    let told = lab.muster(&["apps"]);
    assert!(told.code == 0 && told.out.contains("the storage class local-path"), "{told:#?}");
    assert!(kubectl(&["top", "nodes", "--no-headers"]).starts_with("node1"));

    // A claim gets a volume, and what is in it outlives the pod.
    let image = kubectl(&[
        "-n",
        "local-path-storage",
        "get",
        "deployment",
        "-o",
        "jsonpath={.items[0].spec.template.spec.containers[0].image}",
    ]);
    let pod = CLAIM.replace("IMAGE", &format!("{image}, command: [sleep, \"3600\"]"));
    fs::write(lab.folder().join("claim.yaml"), pod).unwrap();
    let start = || {
        kubectl(&["apply", "-f", "claim.yaml"]);
        kubectl(&["wait", "--for=condition=Ready", "pod/student", "--timeout=120s"]);
    };
    start();
    kubectl(&["exec", "student", "--", "sh", "-c", "echo kept >/notes/a"]);
    kubectl(&["delete", "pod", "student"]);
    start();
    assert_eq!(kubectl(&["exec", "student", "--", "cat", "/notes/a"]), "kept\n");
    kubectl(&["delete", "-f", "claim.yaml"]);
    kubectl(&["wait", "--for=delete", "persistentvolume", "--all", "--timeout=60s"]);

    // Switched off again, nothing of them is left.
    set("");
    assert!(changed(&setup(&["--tags", "apps"])) > 0);
    assert_eq!(objects(), before);
    assert_eq!(changed(&setup(&[])), 0);
}
