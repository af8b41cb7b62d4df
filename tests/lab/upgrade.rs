//! A cluster goes to another version of Kubernetes, while an application and the API are asked.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use crate::asked::{self, API, APP};
use crate::fixture::{Ended, Lab};

pub(crate) const FROM: &str = "1.36.3";
pub(crate) const TO: &str = "1.37.2";

/// Asks each API server five times a second, as a client does that has the addresses of all: it asks the next one where one does
/// not answer. Its parameters are the addresses; it ends when there is a file `stop`.
const ASK_EACH: &str = r#"
asks() { curl -fsk -m 2 -o /dev/null "https://$1:6443/readyz" && echo ok || echo failed; }
for address; do
  (while [ ! -e stop ]; do asks "$address"; sleep 0.2; done >"asked.$address") &
done
(while [ ! -e stop ]; do
  said=failed
  for address; do
    [ "$said" = ok ] || said=$(asks "$address")
  done
  echo "$said"
  sleep 0.2
done >asked.any) &
wait"#;

/// Where a run is killed, one after the other, before the place that the test looks at itself: what each run has done is left to the
/// next one to find.
const KILLED_AT: [&str; 7] = [
    "node5  fetch: Import the images ...",
    "etcd-snapshot: Keep a snapshot of etcd ...",
    "node2  etcd: Run etcd ...",
    "node1  upgrade-control-plane: Upgrade the control plane ...",
    "node2  upgrade-control-plane: Run the new kubelet ...",
    "node3  upgrade-control-plane: Uncordon node3 ...",
    "coredns: begins",
];

/// Whether the bundle has the other version. `./test --all` compiles it.
pub(crate) fn other_version_is_there(lab: &Lab) -> bool {
    let listed =
        lab.lab(&["exec", "--", crate::fixture::muster().to_str().unwrap(), "bundle", "list", "--versions"]);
    listed.out.lines().any(|line| line.starts_with(FROM) && line.contains("amd64"))
}

/// The folder of a bundle that has all but Kubernetes in one of its versions.
fn bundle_without(lab: &Lab, version: &str) -> String {
    let home = || format!("{}/.cache", std::env::var("HOME").unwrap());
    let whole =
        PathBuf::from(std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| home())).join("muster/bundle");
    let manifest = fs::read(whole.join("manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    for list in ["files", "images"] {
        manifest[list].as_array_mut().unwrap().retain(|entry| !entry.to_string().contains(version));
    }
    let part = lab.folder().join("bundle");
    fs::create_dir_all(&part).unwrap();
    fs::write(part.join("manifest.json"), manifest.to_string()).unwrap();
    for folder in ["files", "images"] {
        std::os::unix::fs::symlink(whole.join(folder), part.join(folder)).unwrap();
    }
    part.display().to_string()
}

/// Three control planes with etcd, one of which has an argument of its own, and two workers in groups of their own.
fn inventory(lab: &Lab) -> String {
    let host = |n: u8| {
        let own =
            if n == 3 { format!(" kube_scheduler_bind_address={}", lab.address(3)) } else { String::new() };
        format!("node{n} ansible_host={address} ip={address}{own}\n", address = lab.address(n))
    };
    let hosts: String = (1..=5).map(host).collect();
    let planes = "node1\nnode2\nnode3\n";
    format!(
        "[all]\n{hosts}[kube_control_plane]\n{planes}[etcd]\n{planes}[kube_node]\nnode4\nnode5\n[early]\nnode5\n[late]\nnode4\n"
    )
}

fn changed(ended: &Ended, host: &str) -> u32 {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended.recap(host, "changed")
}

#[test]
#[ignore = "it takes minutes and a second version of Kubernetes; ./test --all"]
fn a_control_plane_and_a_worker_go_to_the_next_minor_version_under_an_application() {
    let lab = Lab::up(245, &["-n", "2"]);
    if !other_version_is_there(&lab) {
        eprintln!("skipped: the bundle has no Kubernetes {FROM}; ./test --all compiles it");
        return;
    }
    let (from, to) = (format!("kube_version={FROM}"), format!("kube_version={TO}"));
    changed(&lab.muster(&["setup-cluster", &lab.pattern(2), "-e", &from]), "node2");
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    asked::deploy(&lab, 2, 1);

    // Where nobody says a version the cluster keeps its own, and nobody misses that of new clusters.
    let kept = lab.muster(&["setup-cluster", "--offline", "--bundle", &bundle_without(&lab, TO)]);
    assert_eq!(changed(&kept, "node2"), 0, "{kept:#?}");
    assert!(kept.all().contains(&format!("the cluster keeps its {FROM}")), "{kept:#?}");
    // setup-cluster keeps the version, and names what brings another one.
    let refused = lab.muster(&["setup-cluster", "-e", &to]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.out.contains("upgrade-cluster"), "{refused:#?}");
    // Neither back, nor past a version; nothing is changed.
    let pods = || kubectl(&["get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.uid}"]);
    let before = pods();
    // It is told before anything is fetched: the bundle does not have that version, and may not get it.
    let back = lab.muster(&["upgrade-cluster", "-e", "kube_version=1.35.8", "--offline"]);
    assert_eq!(back.code, 3, "{back:#?}");
    assert!(back.out.contains("1.35.8, but the cluster runs"), "{back:#?}");
    // What is chosen by tags is looked at before, too.
    let part = lab.muster(&["upgrade-cluster", "-e", "kube_version=1.35.8", "--offline", "--tags", "etcd"]);
    assert_eq!(part.code, 3, "{part:#?}");

    // A cluster that is not well is left as it is.
    lab.on("node2", "systemctl stop kubelet");
    kubectl(&["wait", "--for=condition=Ready=Unknown", "node/node2", "--timeout=90s"]);
    let unwell = lab.muster(&["upgrade-cluster", "-e", &to]);
    assert_eq!(unwell.code, 3, "{unwell:#?}");
    assert!(unwell.all().contains("the node node2 is not Ready"), "{unwell:#?}");
    lab.on("node2", "systemctl start kubelet");
    kubectl(&["wait", "--for=condition=Ready", "node/node2", "--timeout=90s"]);
    kubectl(&["rollout", "status", "deployment/app", "--timeout=60s"]);
    assert_eq!(pods(), before);

    asked::ask(&lab, "node1", &[APP, API]);
    // It is killed when etcd is a newer one, and while the control plane goes over. Nothing puts etcd back to a version that cannot
    // read its data; the same command finishes it.
    let etcd = || lab.on("node1", "etcd --version | head -1");
    let of_before = etcd();
    for (step, seconds) in [("etcd: done", 0), ("upgrade-control-plane: Upgrade the control plane", 5)] {
        let mut run = lab.start(&["upgrade-cluster", "-vv", "--output", "plain", "-e", &to]);
        run.until(step);
        sleep(Duration::from_secs(seconds));
        run.signal("KILL");
        run.end();
        let newer = etcd();
        assert_ne!(newer, of_before);
        let refused = lab.muster(&["setup-cluster", "-e", &from]);
        assert_eq!([1, 2].map(|n| refused.recap(&format!("node{n}"), "changed")), [0, 0], "{refused:#?}");
        assert!(refused.code != 0 && refused.all().contains("upgrade-cluster"), "{refused:#?}");
        assert_eq!(etcd(), newer);
    }
    let done = lab.muster(&["upgrade-cluster", "-v", "-e", &to]);
    assert!(changed(&done, "node2") > 0, "{done:#?}");
    // What is disrupted is said before, and for how long it was at the end.
    for told in [
        "node1 is the only control plane",
        "while this run upgraded the control plane of node1: it was away for ",
    ] {
        assert!(done.all().contains(told), "{told}: {done:#?}");
    }
    let kept = lab.on("node1", "ls /var/lib/muster/snapshots");
    assert!(kept.contains(&format!("before-{TO}-from-1.36.3.db")), "{kept}");

    let versions = kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.kubeletVersion}"]);
    assert_eq!(versions, format!("v{TO} v{TO}"));
    let images =
        kubectl(&["-n", "kube-system", "get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}"]);
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        assert!(
            images.contains(&format!("{component}:v{TO}")) && !images.contains(&format!("{component}:v1.36")),
            "{images}"
        );
    }
    asked::always_answered(&lab, "node1", APP);
    asked::in_vain(&lab, "node1", API);

    // Nobody has to do anything more, and the cluster keeps its version.
    for command in ["upgrade-cluster", "setup-cluster"] {
        let nothing = lab.muster(&[command, "-e", &to]);
        assert_eq!([changed(&nothing, "node1"), changed(&nothing, "node2")], [0, 0], "{nothing:#?}");
    }
    let back = lab.muster(&["upgrade-cluster", "-e", &from]);
    assert_eq!(back.code, 3, "{back:#?}");
    assert!(back.out.contains("does not go back"), "{back:#?}");
}

#[test]
#[ignore = "it takes minutes and a second version of Kubernetes; ./test --all"]
fn three_control_planes_go_one_after_the_other_and_the_api_answers_all_the_time() {
    let lab = Lab::up(246, &["-n", "5"]);
    if !other_version_is_there(&lab) {
        eprintln!("skipped: the bundle has no Kubernetes {FROM}; ./test --all compiles it");
        return;
    }
    let (from, to) = (format!("kube_version={FROM}"), format!("kube_version={TO}"));
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    fs::write(lab.folder().join("inventory/hosts.ini"), inventory(&lab)).unwrap();
    // The worker that is written last has its turn first.
    fs::create_dir_all(lab.folder().join("inventory/group_vars")).unwrap();
    fs::write(lab.folder().join("inventory/group_vars/all.yml"), "upgrade_serial: {early: 1, late: 1}\n")
        .unwrap();
    changed(&lab.muster(&["setup-cluster", "-e", &from]), "node5");
    let has_own_argument = |node: &str| {
        let manifest = lab.on(node, "cat /etc/kubernetes/manifests/kube-scheduler.yaml");
        manifest.contains(&format!("--bind-address={}", lab.address(3)))
    };
    assert_eq!(["node1", "node2", "node3"].map(has_own_argument), [false, false, true]);
    let kubectl = |words: &[&str]| {
        let ended = lab.muster(&[&["kubectl"], words].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    asked::deploy(&lab, 3, 2);

    // Without one of the control planes nothing is begun.
    lab.lab(&["kill", "node3"]);
    let refused = lab.muster(&["upgrade-cluster", "-e", &to]);
    assert!(refused.all().contains("node3 does not answer"), "{refused:#?}");
    assert_eq!([1, 2, 4, 5].map(|n| refused.recap(&format!("node{n}"), "changed")), [0; 4], "{refused:#?}");
    assert_eq!(lab.lab(&["start", "node3"]).code, 0);
    kubectl(&["wait", "--for=condition=Ready", "node/node3", "--timeout=120s"]);

    fs::write(lab.folder().join("ask.sh"), ASK_EACH).unwrap();
    let addresses = [1, 2, 3].map(|n| lab.address(n)).join(" ");
    lab.exec(&["sh", "-c", &format!("nohup sh ask.sh {addresses} >/dev/null 2>&1 </dev/null &")]);
    asked::ask(&lab, "node4", &[APP, API]);

    let killed_at = |mark: &str| {
        let mut run = lab.start(&["upgrade-cluster", "-vv", "--output", "plain", "-e", &to]);
        run.until(mark);
        run.signal("KILL");
        run.end();
    };
    KILLED_AT.iter().for_each(|mark| killed_at(mark));
    let verified = lab.muster(&["verify", "-e", "verify_network=never"]);
    assert!(
        verified.all().contains("to finish the upgrade: ")
            && verified.all().contains(&format!("upgrade-cluster -e kube_version={TO}")),
        "{verified:#?}"
    );

    // It is killed while a worker gives its pods away: the node is known to be muster's work, setup-cluster leaves the cluster as
    // it is, and what one needs in the middle of an upgrade works.
    killed_at("upgrade-node: Drain node5 ...");
    let unschedulable = ["get", "nodes", "-o", "jsonpath={.items[?(@.spec.unschedulable)].metadata.name}"];
    assert_eq!(kubectl(&unschedulable), "node5");
    let verified = lab.muster(&["verify", "-e", "verify_network=never", "-e", &to]);
    assert!(verified.all().contains("node5 is cordoned and gets no new pods"), "{verified:#?}");
    for roles in [&[][..], &["--tags", "node"]] {
        let refused = lab.muster(&[&["setup-cluster", "-e", &to], roles].concat());
        assert_eq!(refused.code, 3, "{refused:#?}");
        assert!(
            refused.out.contains("node4 is a node of Kubernetes")
                && refused.out.contains("upgrade-cluster -e"),
            "{refused:#?}"
        );
    }
    for care in [&["etcd", "snapshot"][..], &["certs", "renew"]] {
        let ended = lab.muster(care);
        assert_eq!(ended.code, 0, "{ended:#?}");
    }
    killed_at("upgrade-node: Run the new kubelet ...");
    let done = lab.muster(&["upgrade-cluster", "-v", "-e", &to]);
    assert_eq!(done.code, 0, "{done:#?}");
    assert!(done.out.contains(&format!(" -> {TO}; ")), "{done:#?}");
    assert_eq!([1, 2, 3].map(|n| done.recap(&format!("node{n}"), "failed")), [0, 0, 0]);

    assert_eq!(kubectl(&unschedulable), "");
    assert_eq!(["node1", "node2", "node3"].map(has_own_argument), [false, false, true]);
    let versions = kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.kubeletVersion}"]);
    assert_eq!(versions, vec![format!("v{TO}"); 5].join(" "));
    let images =
        kubectl(&["-n", "kube-system", "get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}"]);
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        assert!(!images.contains(&format!("{component}:v1.36")), "{images}");
    }
    fs::write(lab.folder().join("stop"), "").unwrap();
    let any = fs::read_to_string(lab.folder().join("asked.any")).unwrap();
    let failed = any.lines().filter(|line| line.starts_with("failed")).count();
    eprintln!("API: {failed} of {} failed", any.lines().count());
    assert!(any.lines().count() > 50 && failed == 0, "API: {failed} failed");
    asked::always_answered(&lab, "node4", APP);
    // The kubelet of another version has not begun the pods of the control plane anew.
    for node in ["node1", "node2", "node3"] {
        let older = "[ $(ps -o etimes= -C kube-apiserver) -gt $(ps -o etimes= -C kubelet) ]";
        lab.on(node, older);
    }
    // Through the load balancer of a worker, as its kubelet does.
    asked::always_answered(&lab, "node4", API);
    let nothing = lab.muster(&["upgrade-cluster", "-e", &to]);
    assert!(nothing.out.contains(&format!("Kubernetes is at {TO} already")), "{nothing:#?}");
    assert_eq!([1, 2, 3, 4, 5].map(|n| changed(&nothing, &format!("node{n}"))), [0; 5], "{nothing:#?}");
}
