//! What a machine really runs with is read as it stands in its files.

use serde_json::json;

use super::super::kubespray::tests::{SHELLS, put, run};
use super::*;

/// What the program of a look says on a machine with these files.
fn seen(shell: &[&str], root: &std::path::Path) -> Machine {
    let look = concat!(
        include_str!("is_ours.sh"),
        "say() { echo \"$*\"; }\nclusters() { :; }\ndocker() { :; }\nengine() { :; }\n",
        include_str!("running.sh"),
        include_str!("machine.sh")
    );
    put(root, "bin/systemctl", "#!/bin/sh\nexit 0\n");
    put(root, "bin/hostname", "#!/bin/sh\necho node1\n");
    let look = look.replace("/sys/fs/cgroup", &format!("{}/cgroup", root.display()));
    let (done, said) = run(shell, root, &look, &["/nowhere"]);
    assert!(done, "{shell:?}: {said}");
    Machine::parse(&said)
}

#[test]
fn what_a_machine_really_runs_with_is_read_as_it_stands_in_its_files() {
    for shell in SHELLS {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(
            root,
            "var/lib/kubelet/config.yaml",
            "kind: KubeletConfiguration\nmaxPods: 250\nevictionHard:\n  memory.available: 1Gi\n",
        );
        let manifest = "spec:\n  containers:\n  - command:\n    - kube-apiserver\n    - '--oidc-groups-prefix=oidc:'\n    name: kube-apiserver\n";
        put(root, "etc/kubernetes/manifests/kube-apiserver.yaml", manifest);
        put(root, "etc/kubernetes/manifests/kube-vip.yaml", "");
        put(root, "cgroup/kubepods/tasks", "");
        let seen = seen(shell, root);
        assert_eq!(
            seen.settings(),
            json!({ "kind": "KubeletConfiguration", "maxPods": 250, "evictionHard": { "memory.available": "1Gi" } })
        );
        assert_eq!(seen.manifests["kube-apiserver"], manifest, "{shell:?}");
        assert_eq!(seen.cgroups, ["cgroupfs"], "{shell:?}");
        assert!(seen.spray.has_kube_vip(), "{shell:?}");
        let found = |wanted: Value| {
            let lost = seen.settings_of_others("node1", "192.0.2.4", &wanted);
            lost.into_iter().map(|problem| problem.check).collect::<Vec<_>>()
        };
        let same = json!({ "maxPods": 250, "evictionHard": { "memory.available": "1Gi" } });
        assert_eq!(found(same), Vec::<String>::new());
        let other = json!({ "maxPods": 110, "cgroupDriver": "systemd" });
        assert_eq!(found(other), ["eviction_hard", "kubelet_max_pods", "containerd_use_systemd_cgroup"]);
        let pod = |pod: StaticPod| {
            assert_eq!(pod.arguments, [("oidc-groups-prefix".to_owned(), "oidc:".to_owned())]);
            Ok(Vec::new())
        };
        assert!(seen.of_manifest("kube-apiserver", pod).unwrap().is_empty());
        let told = seen.of_manifest("kube-scheduler", |_| Ok(Vec::new())).unwrap();
        assert!(told.len() == 1 && told[0].found.contains("kube-scheduler.yaml cannot be read"), "{told:?}");
    }
    let unread = Machine::parse("kubelet --config=/var/lib/kubelet/config.yaml\n");
    assert_eq!(unread.settings_of_others("node1", "192.0.2.4", &json!({})).len(), 1);
}

/// containerd's program where kubeadm's etcd runs; what etcdctl says in its container, and the arguments with which it is asked.
const CTR: &str = r#"#!/bin/sh
case "$*" in
  "-n k8s.io containers ls -q "*'"io.kubernetes.pod.name"==etcd-node1'*) echo abc ;;
  "-n k8s.io containers ls "*) ;;
  "-n k8s.io tasks ls") printf 'TASK PID STATUS\nabc 7 RUNNING\n' ;;
  *" abc etcdctl "*"--cacert /pki/etcd/ca.crt --cert /pki/etcd/server.crt --key /pki/etcd/server.key member list")
    echo '1f, started, node1, https://192.0.2.11:2380, https://192.0.2.11:2379, false' ;;
  *" abc etcdctl "*" endpoint health --cluster")
    echo 'https://192.0.2.11:2379 is unhealthy: failed to commit proposal: context deadline exceeded' >&2
    exit 1 ;;
  *) exit 3 ;;
esac
"#;

#[test]
fn kubeadm_s_etcd_is_asked_in_its_container() {
    for shell in SHELLS {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, "bin/ctr", CTR);
        assert_eq!(seen(shell, root).static_etcd, "", "{shell:?}");
        let arguments = [
            "cert-file=/pki/etcd/server.crt",
            "peer-cert-file=/pki/etcd/peer.crt",
            "key-file=/pki/etcd/server.key",
            "name=node1",
            "trusted-ca-file=/pki/etcd/ca.crt",
        ];
        let arguments: String = arguments.iter().map(|argument| format!("    - --{argument}\n")).collect();
        put(
            root,
            "etc/kubernetes/manifests/etcd.yaml",
            &format!("spec:\n  containers:\n  - command:\n    - etcd\n{arguments}    name: etcd\n"),
        );
        let said = seen(shell, root).static_etcd;
        assert_eq!(said.lines().count(), 2, "{shell:?}: {said}");
        assert!(
            said.starts_with("1f, started, node1, ") && said.contains(":2379 is unhealthy: "),
            "{shell:?}: {said}"
        );
    }
}
