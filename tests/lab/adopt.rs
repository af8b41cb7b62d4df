//! A cluster that somebody has made with kubeadm (etcd as static pods, packages' units, flannel's own manifest), or that is laid out as
//! kubespray's are, becomes muster's while an application of it is asked. Nothing of it is lost, and what comes of it is an ordinary cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use muster_testkit::fault_record::held;

use crate::asked::{self, API, APP};
use crate::fixture::{Ended, Lab};
use crate::upgrade;

/// What the inventory has to say of a cluster that kubeadm has made.
const OF_KUBEADM: &str = "cluster_name: kubernetes\ndns_domain: cluster.local\nkube_cert_dir: /etc/kubernetes/pki\n\
                          kube_pods_subnet: 10.244.0.0/16\nskydns_server: 10.233.0.10\n";

/// Every object that an adoption leaves, as `KIND NAMESPACE/NAME UID`; not those that Kubernetes makes anew all the time.
const OBJECTS: &str = r#"export KUBECONFIG=/etc/kubernetes/admin.conf
kinds=$(kubectl api-resources --verbs=list -o name | grep -vE '^(events|leases|endpoints|pods|componentstatuses|bindings|controllerrevisions|endpointslices|csinodes|ipaddresses)(\.|$)' | tr '\n' ',')
kubectl get "${kinds%,}" -A -o 'jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid}{"\n"}{end}'"#;

/// The secrets with what they hold, the pods of the application with how often they began, the authorities, and etcd's cluster.
const REST: &str = r#"export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl get secrets -A -o 'jsonpath={range .items[*]}{.metadata.name} {.data}{"\n"}{end}' | sha256sum
kubectl get pods -l app=app -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort
cd /etc/kubernetes/pki && sha256sum ca.crt ca.key sa.key sa.pub front-proxy-ca.crt etcd/ca.crt etcd/ca.key"#;

/// Where somebody changes what the unit of etcd does.
const BROKEN: &str = "/etc/systemd/system/etcd.service.d";

fn done(ended: Ended) -> String {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended.all()
}

/// An upgrade finds nothing in the way; where the bundle has the other version, the cluster of so many nodes goes to it.
fn upgraded(lab: &Lab, vars: &str, nodes: usize) {
    done(lab.muster(&["upgrade-cluster", "--check"]));
    if !upgrade::other_version_is_there(lab) {
        eprintln!("not upgraded: the bundle has no Kubernetes {}", upgrade::TO);
        return;
    }
    let vars = format!("{vars}kube_version: {}\n", upgrade::TO);
    fs::write(lab.folder().join("inventory/group_vars/all.yml"), vars).unwrap();
    done(lab.muster(&["upgrade-cluster"]));
    let said = done(lab.muster(&["kubectl", "get", "nodes", "--no-headers"]));
    assert_eq!(said.matches(&format!("v{}", upgrade::TO)).count(), nodes, "{said}");
}

/// A cluster that a script has made of so many machines, which is told these numbers.
fn made_by(lab: &Lab, script: &str, machines: u8, numbers: &[&str]) {
    let own = Path::new(&std::env::var("HOME").unwrap()).join(".cache/muster/bundle");
    let bundle = std::env::var_os("MUSTER_BUNDLE").map_or(own, Into::into);
    let script = format!("{}/tests/lab/{script}", env!("CARGO_MANIFEST_DIR"));
    done(lab.exec(&["sh", &script, "prepare", bundle.to_str().unwrap(), "files"]));
    let addresses: Vec<String> = (1..=machines).map(|number| lab.address(number)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    done(lab.exec(&[&["sh", script.as_str(), "files"], numbers, &addresses].concat()));
}

/// A cluster of kubeadm's, of which so many machines are control planes.
fn made_by_kubeadm(lab: &Lab, machines: u8, planes: u8) {
    made_by(lab, "by-kubeadm.sh", machines, &[&planes.to_string()]);
}

/// The inventory, of which so many hosts are there, and so many of them are control planes.
fn write_inventory(lab: &Lab, machines: u8, planes: u8, vars: &str) {
    let folder = lab.folder().join("inventory/group_vars");
    fs::create_dir_all(&folder).unwrap();
    let names = |numbers: std::ops::RangeInclusive<u8>| {
        numbers.map(|number| format!("node{number}\n")).collect::<String>()
    };
    let hosts: String =
        (1..=machines).map(|n| format!("node{n} ansible_host={0} ip={0}\n", lab.address(n))).collect();
    let groups = format!(
        "[kube_control_plane]\n{0}[etcd]\n{0}[kube_node]\n{1}",
        names(1..=planes),
        names(planes + 1..=machines)
    );
    fs::write(lab.folder().join("inventory/hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
    fs::write(folder.join("all.yml"), vars).unwrap();
}

fn objects(lab: &Lab) -> BTreeMap<String, String> {
    let said = lab.on("node1", OBJECTS);
    let lines = said.lines().filter_map(|line| line.rsplit_once(' '));
    lines.map(|(name, uid)| (name.to_owned(), uid.to_owned())).collect()
}

/// etcd's own number of its cluster, and of its members.
fn etcd_ids(lab: &Lab, certificates: [&str; 3]) -> String {
    let [authority, certificate, key] = certificates;
    let etcdctl = "$(command -v /usr/local/bin/etcdctl /opt/etcdctl | head -n 1)";
    let list = lab.on(
        "node1",
        &format!(
            "{etcdctl} --endpoints https://127.0.0.1:2379 --cacert {authority} --cert {certificate} --key {key} member list -w json"
        ),
    );
    let numbers =
        list.split(['{', ',']).filter(|field| field.contains("cluster_id") || field.contains("\"ID\""));
    numbers.collect::<Vec<_>>().join(" ")
}

const BEFORE: [&str; 3] = [
    "/etc/kubernetes/pki/etcd/ca.crt",
    "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
    "/etc/kubernetes/pki/etcd/healthcheck-client.key",
];
const AFTER: [&str; 3] =
    ["/etc/ssl/etcd/ssl/ca.pem", "/etc/ssl/etcd/ssl/member.pem", "/etc/ssl/etcd/ssl/member-key.pem"];

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn a_cluster_of_kubeadms_is_taken_over_under_an_application() {
    let lab = Lab::up(168, &["-n", "4"]);
    made_by_kubeadm(&lab, 3, 1);
    // etcd's program beside the static pod, to ask it before.
    lab.on(
        "node1",
        "cp $(find /var/lib/containerd -path '*/usr/local/bin/etcdctl' | head -n 1) /opt/etcdctl",
    );

    // What the inventory says differently is refused, with the lines to write; and so is a machine that is no part of the cluster.
    write_inventory(&lab, 3, 1, "");
    let refused = lab.muster(&["adopt"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    let said = refused.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in OF_KUBEADM.lines().filter(|line| !line.starts_with("dns_domain")) {
        let variable = line.split(':').next().unwrap();
        assert!(said.contains(variable), "{variable}: {refused:#?}");
    }
    write_inventory(&lab, 4, 1, OF_KUBEADM);
    let refused = lab.muster(&["adopt", "--apply", "--yes"]);
    assert!(refused.code == 3 && refused.out.contains("node4 is in no cluster"), "{refused:#?}");
    write_inventory(&lab, 2, 1, OF_KUBEADM);
    let refused = lab.muster(&["adopt", "--apply", "--yes"]);
    assert!(refused.code == 3 && refused.out.contains("the cluster has node3"), "{refused:#?}");
    write_inventory(&lab, 3, 1, OF_KUBEADM);
    let refused = lab.muster(&["setup-cluster"]);
    assert!(refused.code == 3 && refused.out.contains("muster adopt"), "{refused:#?}");

    let admin = lab.on("node1", "cat /etc/kubernetes/admin.conf");
    fs::create_dir_all(lab.folder().join("inventory/artifacts")).unwrap();
    fs::write(lab.folder().join("inventory/artifacts/admin.conf"), admin).unwrap();
    asked::deploy(&lab, 3, 2);
    let (objects_before, rest_before) = (objects(&lab), lab.on("node1", REST));
    let etcd_before = etcd_ids(&lab, BEFORE);
    assert!(etcd_before.contains("cluster_id"), "{etcd_before}");

    // A look changes nothing, and says what would be.
    let look = lab.muster(&["adopt"]);
    assert_eq!(look.code, 0, "{look:#?}");
    for told in ["kubeadm's static pod of etcd stops", "the API is away twice", "a static pod", "--apply"] {
        assert!(look.all().contains(told), "{told}: {look:#?}");
    }
    assert!(
        lab.has("node1", "/etc/kubernetes/manifests/etcd.yaml")
            && !lab.has("node1", "/var/lib/muster/adopted")
    );

    asked::ask(&lab, "node2", &[APP, API]);
    // Where muster's etcd does not start, kubeadm's runs again.
    lab.on(
        "node1",
        &format!(
            "mkdir -p {BROKEN} && printf '[Service]\\nExecStartPre=/bin/false\\n' >{BROKEN}/broken.conf"
        ),
    );
    let failed = lab.muster(&["adopt", "--apply", "--yes"]);
    assert!(
        failed.code == 2 && failed.all().contains("kubeadm's static pod runs there again"),
        "{failed:#?}"
    );
    lab.on("node1", &format!("rm -r {BROKEN}; until kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw /readyz; do sleep 1; done"));
    assert!(lab.has("node1", "/etc/kubernetes/manifests/etcd.yaml"));

    // Killed in the middle: nobody else sets anything up, and the same command finishes it.
    let mut run = lab.start(&["adopt", "--apply", "--yes", "-vv", "--output", "plain"]);
    run.until("node1  etcd: Run etcd");
    run.signal("KILL");
    let killed = run.end();
    let refused = lab.muster(&["setup-cluster", "--lock-timeout", "120"]);
    assert!(refused.code == 3 && refused.out.contains("muster adopt --apply"), "{refused:#?} {killed:#?}");
    done(lab.muster(&["adopt", "--apply", "--yes", "--lock-timeout", "120"]));

    let (failed, asked) = asked::in_vain(&lab, "node2", API);
    assert!(failed < asked, "the API was never there again");
    asked::always_answered(&lab, "node2");
    assert!(
        !lab.has("node1", "/etc/kubernetes/manifests/etcd.yaml")
            && !lab.has("node1", "/var/lib/muster/adopted/begun")
    );
    let objects_after = objects(&lab);
    let replaced = |name: &str| name == "DaemonSet kube-flannel/kube-flannel-ds";
    for (name, uid) in objects_before.iter().filter(|(name, _)| !replaced(name)) {
        assert_eq!(objects_after.get(name), Some(uid), "{name}");
    }
    assert_eq!(lab.on("node1", REST), rest_before);
    assert_eq!(etcd_ids(&lab, AFTER), etcd_before);
    let snapshots = fs::read_dir(lab.folder().join("inventory/etcd-snapshots")).unwrap().count();
    assert!(snapshots > 0 && objects_before.len() > 100, "{snapshots}, {objects_before:#?}");

    let again = lab.muster(&["setup-cluster"]);
    for node in ["node1", "node2", "node3"] {
        assert_eq!((again.code, again.recap(node, "changed")), (0, 0), "{again:#?}");
    }
    held(
        "a cluster of kubeadm's is taken over",
        "killed when its etcd had just gone over; with an etcd that did not start",
        2,
        "the application always answered; objects, secrets, authorities and etcd's cluster are the same",
    );

    // From now on it is an ordinary cluster: it grows, shrinks, and may be upgraded.
    write_inventory(&lab, 4, 1, OF_KUBEADM);
    done(lab.muster(&["setup-cluster"]));
    done(lab.muster(&["remove-node", "node3", "--yes"]));
    done(lab.muster(&["verify"]));
    done(lab.muster(&["etcd", "snapshot", "after.db"]));
    upgraded(&lab, OF_KUBEADM, 3);
    done(lab.muster(&["reset-cluster", "--yes"]));
    assert!(!lab.has("node1", "/var/lib/etcd/member") && !lab.has("node1", "/etc/kubernetes/kubelet.conf"));
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn three_control_planes_of_kubeadms_are_taken_over_one_after_the_other() {
    let lab = Lab::up(169, &["-n", "4"]);
    made_by_kubeadm(&lab, 4, 3);
    write_inventory(&lab, 4, 3, OF_KUBEADM);
    let admin = lab.on("node1", "cat /etc/kubernetes/admin.conf");
    fs::create_dir_all(lab.folder().join("inventory/artifacts")).unwrap();
    fs::write(lab.folder().join("inventory/artifacts/admin.conf"), admin).unwrap();
    asked::deploy(&lab, 2, 1);
    asked::ask(&lab, "node4", &[APP]);
    // Without an agreement nothing is done.
    let asked = lab.muster(&["adopt", "--apply"]);
    assert!(asked.code == 5 && asked.all().contains("add --yes"), "{asked:#?}");
    done(lab.muster(&["adopt", "--apply", "--yes"]));
    asked::always_answered(&lab, "node4");
    let again = lab.muster(&["setup-cluster"]);
    for node in ["node1", "node2", "node3"] {
        assert_eq!((again.code, again.recap(node, "changed")), (0, 0), "{again:#?}");
        assert!(!lab.has(node, "/etc/kubernetes/manifests/etcd.yaml"));
    }
}

/// What the inventory has to say of a cluster that kubespray has made with its defaults, and muster's are others.
const OF_KUBESPRAY: &str = "enable_nodelocaldns: true\nkube_profiling: false\nkubelet_bind_address: \"{{ ip }}\"\n\
     kubelet_preferred_address_types: InternalDNS,InternalIP,Hostname,ExternalDNS,ExternalIP\n\
     kube_controller_manager_bind_address: \"::\"\nkube_scheduler_bind_address: \"::\"\nkube_controller_node_monitor_grace_period: 40s\n\
     kubelet_shutdown_grace_period: 60s\nkubelet_shutdown_grace_period_critical_pods: 20s\n\
     kubelet_config_extra_args:\n  kubeReserved: {cpu: 100m, memory: 256Mi, ephemeral-storage: 500Mi, pid: \"1000\"}\n\
     dns_upstream_forward_extra_opts: {prefer_udp: \"\"}\nsupplementary_addresses_in_ssl_keys: [lb-apiserver.kubernetes.local]\n";

/// Where kubespray's certificates of etcd are on the first machine.
const BY_KUBESPRAY: [&str; 3] = [
    "/etc/ssl/etcd/ssl/ca.pem",
    "/etc/ssl/etcd/ssl/member-node1.pem",
    "/etc/ssl/etcd/ssl/member-node1-key.pem",
];

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn a_cluster_laid_out_as_kubespray_does_is_taken_over_under_an_application() {
    let lab = Lab::up(170, &["-n", "4"]);
    made_by(&lab, "by-kubespray.sh", 3, &["1", "3"]);
    let folder = lab.folder().join("inventory/group_vars");
    fs::create_dir_all(&folder).unwrap();
    let write = |machines: u8, vars: &str| {
        let hosts: String =
            (1..=machines).map(|n| format!("node{n} ansible_host={0} ip={0}\n", lab.address(n))).collect();
        let workers: String = (2..=machines).map(|n| format!("node{n}\n")).collect();
        let groups =
            format!("[kube_control_plane]\nnode1\n[etcd]\nnode1\nnode2\nnode3\n[kube_node]\n{workers}");
        fs::write(lab.folder().join("inventory/hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
        fs::write(folder.join("all.yml"), vars).unwrap();
    };
    let refused = |words: &[&str], found: &[&str]| {
        let refused = lab.muster(words);
        let said = refused.all().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(refused.code, 3, "{refused:#?}");
        for found in found {
            assert!(said.contains(found), "{found}: {refused:#?}");
        }
        assert!(!lab.has("node1", "/var/lib/muster/adopted") && !lab.has("node2", "/var/lib/muster/adopted"));
    };
    write(3, "");
    refused(&["adopt"], &["enable_nodelocaldns", "profiling", "kubelet_bind_address"]);
    write(3, OF_KUBESPRAY);
    refused(&["setup-cluster"], &["muster adopt"]);
    // What is not well, and what another tool has besides.
    lab.on("node3", "systemctl stop etcd");
    refused(&["adopt", "--apply", "--yes"], &["unhealthy"]);
    lab.on("node3", "systemctl start etcd && touch /etc/etcd-events.env");
    refused(&["adopt", "--apply", "--yes"], &["events"]);
    lab.on("node3", "rm /etc/etcd-events.env");

    let admin = lab.on("node1", "cat /etc/kubernetes/admin.conf");
    fs::create_dir_all(lab.folder().join("inventory/artifacts")).unwrap();
    fs::write(lab.folder().join("inventory/artifacts/admin.conf"), admin).unwrap();
    asked::deploy(&lab, 2, 1);
    let rest = REST.replace("/etc/kubernetes/pki", "/etc/kubernetes/ssl");
    let rest =
        rest.replace("etcd/ca.crt etcd/ca.key", "/etc/ssl/etcd/ssl/ca.pem /etc/ssl/etcd/ssl/ca-key.pem");
    let (objects_before, rest_before) = (objects(&lab), lab.on("node1", &rest));
    let etcd_before = etcd_ids(&lab, BY_KUBESPRAY);
    assert!(etcd_before.contains("cluster_id"), "{etcd_before}");
    let look = lab.muster(&["adopt"]);
    assert_eq!(look.code, 0, "{look:#?}");
    for told in ["kubespray", "a unit", "nginx-proxy", "--apply"] {
        assert!(look.all().contains(told), "{told}: {look:#?}");
    }

    asked::ask(&lab, "node2", &[APP]);
    done(lab.muster(&["adopt", "--apply", "--yes"]));
    asked::always_answered(&lab, "node2");
    let objects_after = objects(&lab);
    let replaced = [
        "kube-system/kube-flannel",
        "kube-system/nodelocaldns",
        "kube-system/dns-autoscaler",
        "kube-system/coredns",
    ];
    let stays = |name: &str| {
        let object = name.rsplit(' ').next().unwrap_or_default();
        let is_kept = !replaced.contains(&object)
            || name.starts_with("ConfigMap ")
            || name.starts_with("ServiceAccount ");
        is_kept && !name.starts_with("ReplicaSet kube-system/dns-autoscaler-")
    };
    for (name, uid) in objects_before.iter().filter(|(name, _)| stays(name)) {
        assert_eq!(objects_after.get(name), Some(uid), "{name}");
    }
    assert_eq!(lab.on("node1", &rest), rest_before);
    assert_eq!(etcd_ids(&lab, AFTER), etcd_before);
    assert!(!lab.has("node2", "/etc/kubernetes/manifests/nginx-proxy.yml"));
    let again = lab.muster(&["setup-cluster"]);
    for node in ["node1", "node2", "node3"] {
        assert_eq!((again.code, again.recap(node, "changed")), (0, 0), "{again:#?}");
    }
    held(
        "a cluster laid out as kubespray does is taken over",
        "with a member of etcd that was stopped: refused",
        2,
        "the application always answered; objects, secrets, authorities and etcd's cluster are the same",
    );

    // From now on it is an ordinary cluster: it grows, and shrinks.
    write(4, OF_KUBESPRAY);
    done(lab.muster(&["setup-cluster"]));
    done(lab.muster(&["remove-node", "node4", "--yes"]));
    done(lab.muster(&["verify"]));
    upgraded(&lab, OF_KUBESPRAY, 3);
    done(lab.muster(&["reset-cluster", "--yes"]));
    assert!(!lab.has("node1", "/var/lib/etcd/member") && !lab.has("node1", "/etc/kubernetes/kubelet.conf"));
}
