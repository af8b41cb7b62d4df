//! An adoption that was cut off is taken back with the commands of docs/adopt.md, under an application; and is begun anew. Of a cluster
//! of kubeadm's, and of one that is laid out as kubespray's are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use muster_testkit::fault_record::held;
use serde_json::{Value, json};

use crate::adopt::{
    AFTER, BY_KUBESPRAY, Layout, OF_KUBEADM, OF_KUBESPRAY, REST, done, etcd_ids, made_by_kubeadm,
    rest_of_kubespray, write_inventory,
};
use crate::asked::{self, API, APP, NAMES};
use crate::fixture::Lab;

// The sentences of the page below which its commands stand.
const AT_WORK: &str = "What was begun on a machine goes on there";
const ETCD_OF_KUBEADM: &str = "On a member of etcd of kubeadm's";
const ETCD_OF_KUBESPRAY: &str = "On a member of etcd of kubespray's";
const CONTROL_PLANE: &str = "On a control plane";
const WORKER_OF_KUBESPRAY: &str = "On a worker of kubespray's";
const EVERY_MACHINE: &str = "On every machine, back to the old kubelet";
const FINDS_THE_API: &str = "Go on with the next machine when";
const OBJECTS: &str = "On one control plane, when the API answers";
const AT_LAST: &str = "At last";

/// The commands of the page that stand below a sentence with these words.
fn commands_below(words: &str) -> &'static str {
    let page = include_str!("../../docs/adopt.md");
    let way_back = page.split_once("## How to go back").unwrap().1;
    let below = way_back.split_once(words).unwrap_or_else(|| panic!("docs/adopt.md says no more: {words}")).1;
    below.split_once("```\n").unwrap().1.split_once("```").unwrap().0
}

/// Somebody types these on a machine, one after the other.
fn back(lab: &Lab, node: &str, sentences: &[&str]) {
    for words in sentences {
        lab.on(node, commands_below(words));
    }
}

/// Every machine, in this order, after what is particular to it; then the objects, on the first one; and the end.
fn goes_back(lab: &Lab, machines: &[(&str, &[&str])]) {
    for &(node, own) in machines {
        back(lab, node, &[&[AT_WORK][..], own, &[EVERY_MACHINE, FINDS_THE_API]].concat());
    }
    back(lab, machines[0].0, &[OBJECTS]);
    machines.iter().for_each(|(node, _)| back(lab, node, &[AT_LAST]));
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn a_half_done_adoption_is_taken_back_by_the_words_of_its_page() {
    let lab = Lab::up(115, &["-n", "2"]);
    made_by_kubeadm(&lab, 2, 1);
    write_inventory(&lab, 2, 1, OF_KUBEADM);
    let admin = lab.on("node1", "cat /etc/kubernetes/admin.conf");
    fs::create_dir_all(lab.folder().join("inventory/artifacts")).unwrap();
    fs::write(lab.folder().join("inventory/artifacts/admin.conf"), admin).unwrap();
    asked::deploy(&lab, 2, 1);
    let before = lab.on("node1", REST);
    asked::ask(&lab, "node2", &[APP]);

    let mut run = lab.start(&["adopt", "--apply", "--yes", "-vv", "--output", "plain"]);
    run.until("coredns: begins");
    run.signal("KILL");
    run.end();
    assert!(lab.has("node2", "/var/lib/muster/adopted/begun"));

    goes_back(&lab, &[("node1", &[ETCD_OF_KUBEADM, CONTROL_PLANE]), ("node2", &[])]);

    // What runs is the other tool's.
    for node in ["node1", "node2"] {
        let programs =
            lab.on(node, "for name in kubelet containerd; do readlink /proc/$(pidof $name)/exe; done");
        assert_eq!(programs, "/usr/bin/kubelet\n/usr/bin/containerd\n", "{node}");
    }
    assert_eq!(lab.on("node1", "systemctl is-active etcd || true").trim(), "inactive");
    assert!(lab.has("node1", "/etc/kubernetes/manifests/etcd.yaml"));
    let kubectl = |words: &[&str]| done(lab.muster(&[&["kubectl"], words].concat()));
    kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=120s"]);
    kubectl(&["-n", "kube-flannel", "rollout", "status", "daemonset/kube-flannel-ds", "--timeout=120s"]);
    assert_eq!(lab.on("node1", REST), before);
    asked::always_answered(&lab, "node2", APP);
    held(
        "an adoption is taken back",
        "a controller that is killed when all but the names has gone over, and then the commands of docs/adopt.md",
        1,
        "the other tool's kubelet, containerd, etcd and flannel run again; the application always answered",
    );

    // And it may be begun anew.
    done(lab.muster(&["adopt", "--apply", "--yes"]));
    let again = lab.muster(&["setup-cluster"]);
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");
}

/// The programs of before are of another build than muster's.
const OF_ANOTHER_BUILD: &str = "cd /usr/local/bin
for name in etcd containerd runc kubelet; do
  [ ! -e $name ] || { cp -p $name .former && echo former >>.former && mv .former $name; }
done";

/// A control plane of kubespray's renews its certificates (`auto_renew_certificates`), by units of the name that muster's have.
const RENEWS: &str = r"cd /etc/systemd/system
printf '[Service]\nType=oneshot\nExecStart=/usr/local/bin/k8s-certs-renew.sh\n' >k8s-certs-renew.service
printf '[Timer]\nOnCalendar=monthly\n[Install]\nWantedBy=timers.target\n' >k8s-certs-renew.timer
systemctl daemon-reload
systemctl enable -q --now k8s-certs-renew.timer";

/// What a machine of kubespray's has, with sums: units, configurations, kubeconfigs, manifests and programs.
const FILES: &str = "cd /; sha256sum etc/systemd/system/*.service etc/systemd/system/*.timer etc/etcd.env etc/containerd/config.toml \
    etc/containerd/cri-base.json etc/kubernetes/*.conf etc/kubernetes/kubelet.env etc/kubernetes/kubelet-config.yaml \
    etc/kubernetes/manifests/* usr/local/bin/* 2>/dev/null || :";

/// The files that are others now, or gone.
fn changed<'b>(before: &'b str, now: &str) -> BTreeSet<&'b str> {
    let now: BTreeSet<&str> = now.lines().collect();
    let changed = before.lines().filter(|line| !now.contains(line));
    changed.filter_map(|line| line.split_whitespace().last()).collect()
}

/// What runs, and with what: the programs' files are not those that others have taken the place of, and etcd and the kubelet are told
/// what kubespray tells them.
const RUNS: &str = r#"for name in etcd containerd kubelet; do
  if [ -e /usr/local/bin/$name ]; then readlink /proc/$(pidof $name)/exe; fi
done
[ ! -e /etc/etcd.env ] || tr '\0' '\n' </proc/$(pidof etcd)/environ | sed -n 's/^ETCD_CERT_FILE=//p'
tr '\0' '\n' </proc/$(pidof kubelet)/cmdline | sed -n 's/^--config=//p'"#;

/// What is left of muster's of that which the page takes away.
const LEFT: &str =
    "ls -d /var/lib/muster/adopted /var/lib/muster/stamps /var/lib/muster/*-before /var/lib/muster/*.sh \
    /etc/kubernetes/manifests/api-balancer.yaml /etc/kubernetes/api-balancer 2>/dev/null
export KUBECONFIG=/etc/kubernetes/admin.conf
[ ! -e $KUBECONFIG ] || kubectl get configmaps,daemonsets,deployments,services -A -l muster.io/set -o name";

/// The objects of kubespray's that an adoption changes or removes, by kind and name: what they say, without what the cluster notes of
/// them.
fn objects(lab: &Lab) -> BTreeMap<String, Value> {
    let said = lab.on(
        "node1",
        "export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl -n kube-system get --ignore-not-found -o json configmap/kubeadm-config configmap/kubelet-config configmap/kube-proxy \
  configmap/coredns configmap/nodelocaldns configmap/kube-flannel-cfg daemonset/kube-flannel daemonset/nodelocaldns \
  deployment/coredns deployment/dns-autoscaler service/coredns service/kube-dns clusterrole/flannel clusterrolebinding/flannel \
  clusterrole/system:coredns clusterrolebinding/system:coredns
kubectl -n kube-public get -o json configmap/cluster-info",
    );
    let documents = serde_json::Deserializer::from_str(&said).into_iter::<Value>().map(Result::unwrap);
    let items = documents.flat_map(|document| match document["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![document],
    });
    let says = |mut object: Value| {
        let name = format!("{}/{}", object["kind"], object["metadata"]["name"]).replace('"', "");
        if let Some(data) = object["data"].as_object_mut() {
            // Signatures for tokens, which end.
            data.retain(|key, _| !key.starts_with("jws-"));
        }
        let fields = ["data", "spec", "rules", "roleRef", "subjects"].map(|field| object[field].take());
        (name, json!([object["metadata"]["labels"], fields]))
    };
    items.map(says).collect()
}

/// One of them may be asked in vain for a minute in all, and is found in the end.
fn is_missed_for_a_minute_at_most(lab: &Lab, what: &str) {
    let (failed, asked) = asked::in_vain(lab, "node4", what);
    assert!(asked > 200 && failed < 300, "{what} was asked {asked} times, {failed} times in vain");
    assert_eq!(lab.on("node4", &format!("tail -n 3 /run/asked.{what}")), "ok\nok\nok\n", "{what}");
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn a_half_done_adoption_of_kubesprays_is_taken_back_by_the_words_of_its_page() {
    let lab = Lab::up(118, &["-n", "4"]);
    // The third member of etcd is on a worker; the fourth machine is nothing but one.
    let layout = Layout { planes: 2, machines: 4 };
    let nodes = ["node1", "node2", "node3", "node4"];
    layout.made(&lab);
    let timers = "auto_renew_certificates: true\netcd_backup_calendar: daily\n";
    layout.write(&lab, 4, &format!("{OF_KUBESPRAY}{timers}"));
    nodes.iter().for_each(|node| drop(lab.on(node, OF_ANOTHER_BUILD)));
    ["node1", "node2"].iter().for_each(|node| drop(lab.on(node, RENEWS)));
    let rest = rest_of_kubespray();
    let (files_before, objects_before) = (nodes.map(|node| lab.on(node, FILES)), objects(&lab));
    let (rest_before, etcd_before) = (lab.on("node1", &rest), etcd_ids(&lab, BY_KUBESPRAY));
    assert!(etcd_before.contains("cluster_id"), "{etcd_before}");
    asked::ask(&lab, "node4", &[APP, API, NAMES]);

    // Its end begins when all machines have gone through this role.
    let mut run = lab.start(&["adopt", "--apply", "--yes", "-vv", "--output", "plain"]);
    run.until("node1  cni: begins");
    run.signal("KILL");
    run.end();

    // So there is something for every part of the page.
    for (node, before) in nodes.into_iter().zip(&files_before) {
        assert!(lab.has(node, "/var/lib/muster/adopted/begun"), "{node}");
        let of_all = [
            "etc/systemd/system/containerd.service",
            "etc/systemd/system/kubelet.service",
            "etc/containerd/config.toml",
            "usr/local/bin/containerd",
            "usr/local/bin/runc",
            "usr/local/bin/kubelet",
        ];
        let of_member = ["etc/etcd.env", "etc/systemd/system/etcd.service", "usr/local/bin/etcd"];
        let of_plane =
            ["etc/kubernetes/manifests/kube-apiserver.yaml", "etc/systemd/system/k8s-certs-renew.service"];
        let of_worker = ["etc/kubernetes/manifests/nginx-proxy.yml", "etc/kubernetes/kubelet.conf"];
        let is_plane = ["node1", "node2"].contains(&node);
        let own = if is_plane { of_plane } else { of_worker };
        let of_member = of_member.iter().filter(|_| node != "node4");
        let changed = changed(before, &lab.on(node, FILES));
        for path in of_all.iter().chain(of_member).chain(&own) {
            assert!(changed.contains(path), "{node}: {path}: {changed:?}");
        }
        assert_eq!(lab.has(node, "/etc/kubernetes/manifests/api-balancer.yaml"), !is_plane, "{node}");
    }
    let adopted = objects(&lab);
    for gone in ["DaemonSet/kube-flannel", "Deployment/dns-autoscaler", "Service/coredns"] {
        assert!(objects_before.contains_key(gone) && !adopted.contains_key(gone), "{gone}");
    }
    for changed in [
        "ConfigMap/kubeadm-config",
        "DaemonSet/nodelocaldns",
        "Deployment/coredns",
        "ClusterRoleBinding/flannel",
    ] {
        assert_ne!(adopted.get(changed), objects_before.get(changed), "{changed}");
    }

    let plane = [ETCD_OF_KUBESPRAY, CONTROL_PLANE];
    let with_etcd = [ETCD_OF_KUBESPRAY, WORKER_OF_KUBESPRAY];
    goes_back(
        &lab,
        &[("node1", &plane), ("node2", &plane), ("node3", &with_etcd), ("node4", &[WORKER_OF_KUBESPRAY])],
    );

    // All of it is kubespray's again.
    let kubectl = |words: &[&str]| done(lab.muster(&[&["kubectl"], words].concat()));
    kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=120s"]);
    for workload in ["daemonset/kube-flannel", "daemonset/nodelocaldns", "deployment/coredns"] {
        kubectl(&["-n", "kube-system", "rollout", "status", workload, "--timeout=180s"]);
    }
    for (node, before) in nodes.into_iter().zip(&files_before) {
        let now = lab.on(node, FILES);
        let (gone, new) = (changed(before, &now), changed(&now, before));
        assert!(gone.is_empty() && new.is_empty(), "{node}: not as before {gone:?}, now {new:?}");
        let certificate = format!("/etc/ssl/etcd/ssl/member-{node}.pem\n");
        let (etcd, certificate) =
            if node == "node4" { ("", "") } else { ("/usr/local/bin/etcd\n", certificate.as_str()) };
        let others = "/usr/local/bin/containerd\n/usr/local/bin/kubelet\n";
        let runs = format!("{etcd}{others}{certificate}/etc/kubernetes/kubelet-config.yaml\n");
        assert_eq!(lab.on(node, RUNS), runs, "{node}");
        assert_eq!(lab.on(node, LEFT), "", "{node}");
    }
    assert_eq!(objects(&lab), objects_before);
    assert_eq!(etcd_ids(&lab, BY_KUBESPRAY), etcd_before);
    assert_eq!(lab.on("node1", &rest), rest_before);
    asked::always_answered(&lab, "node4", APP);
    is_missed_for_a_minute_at_most(&lab, API);
    is_missed_for_a_minute_at_most(&lab, NAMES);
    held(
        "an adoption is taken back, of a cluster laid out as kubespray does",
        "a controller that is killed when all but its end is done, and then the commands of docs/adopt.md",
        1,
        "units, configurations, programs and objects are the former ones, with their sums; the same members of etcd; the \
         application always answered",
    );

    // And it may be begun anew.
    done(lab.muster(&["adopt", "--apply", "--yes"]));
    assert_eq!(etcd_ids(&lab, AFTER), etcd_before);
    let again = lab.muster(&["setup-cluster"]);
    assert_eq!((again.code, nodes.map(|node| again.recap(node, "changed"))), (0, [0; 4]), "{again:#?}");
}
