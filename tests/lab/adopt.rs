//! A cluster that somebody has made with kubeadm (etcd as static pods, packages' units, flannel's own manifest), or that is laid out as
//! kubespray's are, becomes muster's while an application of it is asked. Nothing of it is lost, and what comes of it is an ordinary cluster.

use std::collections::BTreeMap;
use std::fs;

use muster_testkit::fault_record::held;

use crate::asked::{self, API, APP};
use crate::fixture::{Ended, Lab, bundle};
use crate::upgrade;

/// What the inventory has to say of a cluster that kubeadm has made.
pub(crate) const OF_KUBEADM: &str = "cluster_name: kubernetes\ndns_domain: cluster.local\nkube_cert_dir: /etc/kubernetes/pki\n\
                          kube_pods_subnet: 10.244.0.0/16\nskydns_server: 10.233.0.10\n";

/// Every object that an adoption leaves, as `KIND NAMESPACE/NAME UID`; not those that Kubernetes makes anew all the time.
const OBJECTS: &str = r#"export KUBECONFIG=/etc/kubernetes/admin.conf
kinds=$(kubectl api-resources --verbs=list -o name | grep -vE '^(events|leases|endpoints|pods|componentstatuses|bindings|controllerrevisions|endpointslices|csinodes|ipaddresses)(\.|$)' | tr '\n' ',')
kubectl get "${kinds%,}" -A -o 'jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid}{"\n"}{end}'"#;

/// The secrets and the application's objects with what they hold, the pods of the application with how often they began, the authorities, and etcd's cluster.
pub(crate) const REST: &str = r#"export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl get secrets -A -o 'jsonpath={range .items[*]}{.metadata.name} {.data}{"\n"}{end}' | sha256sum
kubectl -n default get configmaps,services,deployments,poddisruptionbudgets -o 'jsonpath={range .items[*]}{.metadata.name} {.spec}{.data}{"\n"}{end}' | sha256sum
kubectl get pods -l app=app -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort
cd /etc/kubernetes/pki && sha256sum ca.crt ca.key sa.key sa.pub front-proxy-ca.crt etcd/ca.crt etcd/ca.key"#;

/// Where somebody changes what the unit of etcd does.
const BROKEN: &str = "/etc/systemd/system/etcd.service.d";

pub(crate) fn done(ended: Ended) -> String {
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
    let bundle = bundle();
    let script = format!("{}/tests/lab/{script}", env!("CARGO_MANIFEST_DIR"));
    let version = if upgrade::other_version_is_there(lab) { upgrade::FROM } else { upgrade::TO };
    let version = format!("KUBE_VERSION={version}");
    done(lab.exec(&["env", &version, "sh", &script, "prepare", bundle.to_str().unwrap(), "files"]));
    let addresses: Vec<String> = (1..=machines).map(|number| lab.address(number)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    done(lab.exec(&[&["env", &version, "sh", script.as_str(), "files"], numbers, &addresses].concat()));
}

/// A cluster of kubeadm's, of which so many machines are control planes.
pub(crate) fn made_by_kubeadm(lab: &Lab, machines: u8, planes: u8) {
    made_by(lab, "by-kubeadm.sh", machines, &[&planes.to_string()]);
}

/// The inventory, of which so many hosts are there, and so many of them are control planes.
pub(crate) fn write_inventory(lab: &Lab, machines: u8, planes: u8, vars: &str) {
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

/// Somebody has changed the scheduler's manifest by hand: it has an argument in quotes, and sees a file of the machine.
const SCHEDULER_BY_HAND: &str = r#"cp /etc/kubernetes/manifests/kube-scheduler.yaml /root/
sed -e "s/^    - --leader-elect=true/&\n    - '--v=3'/" -e 's/^    volumeMounts:/&\n    - {mountPath: \/etc\/own, name: own, readOnly: true}/' \
  -e 's/^  volumes:/&\n  - {hostPath: {path: \/etc\/hostname}, name: own}/' /root/kube-scheduler.yaml >/etc/kubernetes/.own
mv /etc/kubernetes/.own /etc/kubernetes/manifests/kube-scheduler.yaml"#;

/// What only files of the machines say is refused on the machine that has it, with the lines to write.
fn changes_by_hand_are_refused(lab: &Lab) {
    lab.on("node1", SCHEDULER_BY_HAND);
    lab.on(
        "node2",
        "cp /var/lib/kubelet/config.yaml /root/ && echo 'maxPods: 250' >>/var/lib/kubelet/config.yaml",
    );
    let told =
        ["--v=3", "scheduler_extra_args", "/etc/hostname", "scheduler_extra_volumes", "kubelet_max_pods:"];
    refused(lab, &["adopt"], &told);
    // Of one machine alone.
    let said = lab.muster(&["adopt"]).all();
    assert_eq!(said.matches("{maxPods:").count(), 1, "{said}");
    lab.on("node1", "mv /root/kube-scheduler.yaml /etc/kubernetes/manifests/");
    lab.on("node2", "mv /root/config.yaml /var/lib/kubelet/");
}

fn objects(lab: &Lab) -> BTreeMap<String, String> {
    let said = lab.on("node1", OBJECTS);
    let lines = said.lines().filter_map(|line| line.rsplit_once(' '));
    lines.map(|(name, uid)| (name.to_owned(), uid.to_owned())).collect()
}

/// etcd's own number of its cluster, and of its members.
pub(crate) fn etcd_ids(lab: &Lab, certificates: [&str; 3]) -> String {
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
pub(crate) const AFTER: [&str; 3] =
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
    for command in ["setup-cluster", "verify"] {
        let refused = lab.muster(&[command]);
        let leads_away = refused.out.contains("kube_cert_dir");
        assert!(refused.code == 3 && refused.out.contains("muster adopt") && !leads_away, "{refused:#?}");
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
    changes_by_hand_are_refused(&lab);

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
    for told in [
        "kubeadm's static pod of etcd stops",
        "the API is away twice",
        "a static pod",
        "DaemonSet/kube-flannel-ds",
        "--apply",
    ] {
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
    let verified = lab.muster(&["verify"]);
    assert!(verified.code == 3 && verified.out.contains("begun on node1"), "{verified:#?}");
    done(lab.muster(&["adopt", "--apply", "--yes", "--lock-timeout", "120"]));

    let (failed, asked) = asked::in_vain(&lab, "node2", API);
    assert!(failed < asked, "the API was never there again");
    asked::always_answered(&lab, "node2", APP);
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
    asked::always_answered(&lab, "node4", APP);
    let again = lab.muster(&["setup-cluster"]);
    for node in ["node1", "node2", "node3"] {
        assert_eq!((again.code, again.recap(node, "changed")), (0, 0), "{again:#?}");
        assert!(!lab.has(node, "/etc/kubernetes/manifests/etcd.yaml"));
    }
}

/// What the inventory has to say of a cluster that kubespray has made with its defaults, and muster's are others.
pub(crate) const OF_KUBESPRAY: &str = "enable_nodelocaldns: true\nkube_profiling: false\nkubelet_bind_address: \"{{ ip }}\"\n\
     kubelet_preferred_address_types: InternalDNS,InternalIP,Hostname,ExternalDNS,ExternalIP\n\
     kube_controller_manager_bind_address: \"::\"\nkube_scheduler_bind_address: \"::\"\nkube_controller_node_monitor_grace_period: 40s\n\
     kubelet_shutdown_grace_period: 60s\nkubelet_shutdown_grace_period_critical_pods: 20s\n\
     kubelet_config_extra_args:\n  kubeReserved: {cpu: 100m, memory: 256Mi, ephemeral-storage: 500Mi, pid: \"1000\"}\n\
     dns_upstream_forward_extra_opts: {prefer_udp: \"\"}\nsupplementary_addresses_in_ssl_keys: [lb-apiserver.kubernetes.local, \"::1\"]\n\
     containerd_limit_open_file_num: 1048576\ncontainerd_limit_mem_lock: infinity\nnri_enabled: false\n\
     containerd_enable_unprivileged_ports: false\ncontainerd_enable_unprivileged_icmp: false\n\
     containerd_base_runtime_specs:\n  cri-base.json: \"{{ lookup('file', inventory_dir ~ '/cri-base.json') }}\"\n";

/// Where kubespray's certificates of etcd are on the first machine.
pub(crate) const BY_KUBESPRAY: [&str; 3] = [
    "/etc/ssl/etcd/ssl/ca.pem",
    "/etc/ssl/etcd/ssl/member-node1.pem",
    "/etc/ssl/etcd/ssl/member-node1-key.pem",
];

/// Where another Kubernetes would be, which is refused by its name.
const OTHERS: [(&str, &str); 2] =
    [("/etc/systemd/system/k3s.service", "k3s"), ("/etc/systemd/system/rke2-agent.service", "RKE2")];

/// A machine becomes one of another cluster: with another authority, as kubeadm makes it.
const OF_ANOTHER: &str =
    "kubeadm init phase certs ca >/dev/null && kubeadm init phase kubeconfig kubelet >/dev/null";

/// kubeadm's configuration of the cluster says this version.
const SAYS_VERSION: &str = r#"export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl -n kube-system get configmap kubeadm-config -o yaml | sed "s/kubernetesVersion: .*/kubernetesVersion: VERSION/" | kubectl replace -f - >/dev/null"#;

/// A cluster that is laid out as kubespray does: so many control planes, three members of etcd, and workers.
pub(crate) struct Layout {
    pub(crate) planes: u8,
    pub(crate) machines: u8,
}

/// [`REST`], where kubespray has the authorities.
pub(crate) fn rest_of_kubespray() -> String {
    let rest = REST.replace("/etc/kubernetes/pki", "/etc/kubernetes/ssl");
    rest.replace("etcd/ca.crt etcd/ca.key", "/etc/ssl/etcd/ssl/ca.pem /etc/ssl/etcd/ssl/ca-key.pem")
}

impl Layout {
    /// Writes the inventory of so many machines.
    pub(crate) fn write(&self, lab: &Lab, machines: u8, vars: &str) {
        let folder = lab.folder().join("inventory/group_vars");
        fs::create_dir_all(&folder).unwrap();
        let hosts: String =
            (1..=machines).map(|n| format!("node{n} ansible_host={0} ip={0}\n", lab.address(n))).collect();
        let names = |numbers: std::ops::RangeInclusive<u8>| {
            numbers.map(|number| format!("node{number}\n")).collect::<String>()
        };
        let groups = format!(
            "[kube_control_plane]\n{}[etcd]\n{}[kube_node]\n{}",
            names(1..=self.planes),
            names(1..=3),
            names(self.planes + 1..=machines)
        );
        fs::write(lab.folder().join("inventory/hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
        fs::write(folder.join("all.yml"), vars).unwrap();
    }

    pub(crate) fn made(&self, lab: &Lab) {
        made_by(lab, "by-kubespray.sh", self.machines, &[&self.planes.to_string(), "3"]);
        self.write(lab, self.machines, OF_KUBESPRAY);
        let spec = lab.on("node1", "cat /etc/containerd/cri-base.json");
        fs::write(lab.folder().join("inventory/cri-base.json"), spec).unwrap();
        let admin = lab.on("node1", "cat /etc/kubernetes/admin.conf");
        fs::create_dir_all(lab.folder().join("inventory/artifacts")).unwrap();
        fs::write(lab.folder().join("inventory/artifacts/admin.conf"), admin).unwrap();
        asked::deploy(lab, 2, 1);
    }

    /// The cluster is taken over by `adopt`, while its application is asked on a worker. It is the same cluster, and from then on an
    /// ordinary one: a set-up changes nothing, it grows, is upgraded, shrinks, and is taken away.
    fn taken_over(&self, lab: &Lab, adopt: impl FnOnce()) {
        let rest = rest_of_kubespray();
        let (objects_before, rest_before) = (objects(lab), lab.on("node1", &rest));
        let etcd_before = etcd_ids(lab, BY_KUBESPRAY);
        assert!(etcd_before.contains("cluster_id") && objects_before.len() > 100, "{etcd_before}");
        let asks = format!("node{}", self.machines);
        asked::ask(lab, &asks, &[APP]);
        adopt();
        asked::always_answered(lab, &asks, asked::APP);
        let objects_after = objects(lab);
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
        assert_eq!(etcd_ids(lab, AFTER), etcd_before);
        for number in 1..=self.machines {
            let node = format!("node{number}");
            assert!(!lab.has(&node, "/etc/kubernetes/manifests/nginx-proxy.yml"), "{node}");
            assert!(!lab.has(&node, "/var/lib/muster/adopted/begun"), "{node}");
            let pods = lab.on(&node, "ctr -n k8s.io tasks ls | grep -c RUNNING; pgrep -fa /etc/nginx/ || :");
            assert!(!pods.contains("/etc/nginx/haproxy.cfg"), "{node}: {pods}");
        }
        let again = done_with(lab.muster(&["setup-cluster"]));
        for number in 1..=self.machines {
            assert_eq!(again.recap(&format!("node{number}"), "changed"), 0, "{again:#?}");
        }

        let more = self.machines + 1;
        self.write(lab, more, OF_KUBESPRAY);
        done(lab.muster(&["setup-cluster"]));
        upgraded(lab, OF_KUBESPRAY, more.into());
        done(lab.muster(&["remove-node", &format!("node{more}"), "--yes"]));
        done(lab.muster(&["verify"]));
        done(lab.muster(&["reset-cluster", "--yes"]));
        for path in ["/var/lib/etcd/member", "/etc/kubernetes/kubelet.conf", "/var/lib/muster/adopted"] {
            assert!(!lab.has("node1", path), "{path}");
        }
    }
}

fn done_with(ended: Ended) -> Ended {
    assert_eq!(ended.code, 0, "{ended:#?}");
    ended
}

/// What a node is set up with, as a sum.
const SET_UP: &str = "find /etc/kubernetes /etc/systemd/system /etc/containerd /etc/etcd.env /etc/ssl/etcd /var/lib/kubelet/*.yaml /usr/local/bin /etc/hosts \
                      /var/lib/muster/adopted -type f 2>/dev/null | sort | xargs sha256sum | sha256sum; ctr -n k8s.io tasks ls | sort";

/// A command is refused, for these reasons: all their words are said, which a table breaks into lines.
fn refused(lab: &Lab, words: &[&str], found: &[&str]) {
    let refused = lab.muster(words);
    let said = refused.all();
    assert_eq!(refused.code, 3, "{words:?}: {refused:#?}");
    for word in found.iter().flat_map(|found| found.split(' ')) {
        assert!(said.contains(word), "{word} of {found:?}: {refused:#?}");
    }
}

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn a_cluster_laid_out_as_kubespray_does_is_taken_over_under_an_application() {
    let lab = Lab::up(170, &["-n", "4"]);
    let layout = Layout { planes: 1, machines: 3 };
    layout.made(&lab);
    let adopt = ["adopt", "--apply", "--yes"];
    let nothing = |words: &[&str], found: &[&str]| {
        let state = || ["node1", "node2", "node3"].map(|node| lab.on(node, SET_UP));
        let before = state();
        refused(&lab, words, found);
        assert_eq!(state(), before, "{words:?} {found:?}");
    };
    // What the inventory says differently.
    layout.write(&lab, 3, "");
    nothing(&["adopt"], &["enable_nodelocaldns", "profiling", "kubelet_bind_address"]);
    nothing(&["adopt"], &["containerd_limit_open_file_num", "containerd_base_runtime_specs", "nri_enabled"]);
    layout.write(&lab, 3, &format!("{OF_KUBESPRAY}kube_network_plugin: calico\n"));
    nothing(&adopt, &["calico in the inventory, and the cluster has flannel"]);
    layout.write(&lab, 3, OF_KUBESPRAY);
    nothing(&["setup-cluster"], &["muster adopt"]);
    // Clusters of others.
    for (path, name) in OTHERS {
        lab.on("node2", &format!("touch {path}"));
        nothing(&adopt, &[&format!("node2 is a machine of {name} ({path})")]);
        lab.on("node2", &format!("rm {path}"));
    }
    layout.write(&lab, 4, OF_KUBESPRAY);
    done(lab.muster(&["copy", "node4", "files/bin/kubeadm", "/usr/local/bin/kubeadm", "--mode", "755"]));
    lab.on("node4", OF_ANOTHER);
    nothing(&adopt, &["another cluster"]);
    lab.on("node4", "rm -r /etc/kubernetes /usr/local/bin/kubeadm");
    layout.write(&lab, 3, OF_KUBESPRAY);
    // A version that nobody can install.
    let says = |version: &str| lab.on("node1", &SAYS_VERSION.replace("VERSION", version));
    says("v1.29.9");
    nothing(&adopt, &["the cluster runs 1.29.9, which is not in the catalogue"]);
    says(&format!("v{}", upgrade::FROM));
    // What is not well, and what another tool has besides.
    lab.on("node3", "systemctl stop etcd");
    nothing(&adopt, &["is unhealthy"]);
    lab.on("node3", "systemctl start etcd && touch /etc/etcd-events.env");
    nothing(&adopt, &["a second etcd for events"]);
    lab.on("node3", "rm /etc/etcd-events.env");

    let look = done(lab.muster(&["adopt"]));
    for told in ["kubespray", "a unit", "nginx-proxy", "--apply"] {
        assert!(look.contains(told), "{told}: {look}");
    }
    assert!(!look.contains("Docker is on"), "{look}");
    layout.taken_over(&lab, || {
        // Killed in the middle: nobody else does anything, and the same command finishes it.
        let mut run = lab.start(&["adopt", "--apply", "--yes", "-vv", "--output", "plain"]);
        run.until("node2  etcd: Run etcd");
        run.signal("KILL");
        let killed = run.end();
        for words in [&["setup-cluster"][..], &["upgrade-cluster"], &["remove-node", "node3", "--yes"]] {
            let words = [words, &["--lock-timeout", "120"]].concat();
            refused(&lab, &words, &["muster adopt --apply"]);
        }
        assert!(lab.has("node1", "/var/lib/muster/adopted/begun"), "{killed:#?}");
        done(lab.muster(&["adopt", "--apply", "--yes", "--lock-timeout", "120"]));
    });
    held(
        "a cluster laid out as kubespray does is taken over",
        "with a member of etcd that was stopped: refused; killed when a member of etcd had just gone over",
        3,
        "the application always answered; objects, secrets, authorities and etcd's cluster are the same",
    );
}

/// What is to be there of Docker before and after.
const OF_DOCKER: &str = "systemctl is-active docker; systemctl is-enabled docker; ip -o -4 addr show docker0; iptables-save | grep DOCKER | sort
iptables-save | grep 'FORWARD DROP' | cut -d' ' -f1,2; find /var/lib/docker /etc/docker; sha256sum /etc/docker/* /etc/systemd/system/*docker*";

#[test]
#[ignore = "it takes minutes; ./test --all"]
fn three_control_planes_of_kubesprays_are_taken_over_beside_what_docker_has_left() {
    let lab = Lab::up(177, &["-n", "5"]);
    let layout = Layout { planes: 3, machines: 4 };
    layout.made(&lab);
    let has_docker = ["node2", "node4"];
    for node in has_docker {
        lab.on(node, include_str!("docker-leftovers.sh"));
    }
    let before = has_docker.map(|node| lab.on(node, OF_DOCKER));
    let look = done(lab.muster(&["adopt"])).split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [
        "Docker is on node2, node4",
        "containerd runs with settings that nobody can see any more",
        "docker.service, which runs",
        "cri-dockerd.service, which does not run",
        "restarts with it",
    ] {
        assert!(look.contains(told), "{told}: {look}");
    }
    layout.taken_over(&lab, || {
        done(lab.muster(&["adopt", "--apply", "--yes"]));
        assert_eq!(has_docker.map(|node| lab.on(node, OF_DOCKER)), before);
    });
    assert_eq!(lab.on("node4", OF_DOCKER).replace("inactive", "active"), before[1]);
    held(
        "a cluster laid out as kubespray does, with three control planes, is taken over",
        "with units, rules of iptables and notes of kubeadm's that Docker has left",
        1,
        "the application always answered; objects, secrets, authorities and etcd's cluster are the same, and what Docker has",
    );
}
