//! kubespray's `hardening.yaml`, set on a living cluster that was made without; and a value with which the API server does not start.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::fixture::{Ended, Lab};

/// As in kubespray's documentation (docs/operations/hardening.md), but for three things: images are not pulled each time, because the
/// lab has no registry; the kubelets' addresses are worked out; and events are limited so that a test reaches the limit. And nobody
/// without a name is answered.
const HARDENING: &str = r#"
authorization_modes: ['Node', 'RBAC']
kube_apiserver_request_timeout: 120s
kube_apiserver_service_account_lookup: true
kubernetes_audit: true
audit_log_path: "/var/log/kube-apiserver-log.json"
audit_log_maxage: 30
audit_log_maxbackups: 10
audit_log_maxsize: 100
tls_min_version: VersionTLS12
tls_cipher_suites:
  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
  - TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305
kube_encrypt_secret_data: true
kube_encryption_resources: [secrets]
kube_encryption_algorithm: "secretbox"
kube_apiserver_enable_admission_plugins:
  - EventRateLimit
  - ServiceAccount
  - NamespaceLifecycle
  - NodeRestriction
  - LimitRanger
  - ResourceQuota
  - MutatingAdmissionWebhook
  - ValidatingAdmissionWebhook
  - PodNodeSelector
  - PodSecurity
kube_apiserver_admission_control_config_file: true
kube_apiserver_admission_event_rate_limits:
  limit_1: {type: Namespace, qps: 1, burst: 5, cache_size: 2000}
  limit_2: {type: User, qps: 50, burst: 100}
kube_profiling: false
remove_anonymous_access: true
kube_controller_manager_bind_address: 127.0.0.1
kube_controller_terminated_pod_gc_threshold: 50
kube_controller_feature_gates: ["RotateKubeletServerCertificate=true"]
kube_scheduler_bind_address: 127.0.0.1
etcd_deployment_type: host
kubelet_authorization_mode_webhook: true
kubelet_authentication_token_webhook: true
kube_read_only_port: 0
kubelet_rotate_server_certificates: true
kubelet_protect_kernel_defaults: true
kubelet_event_record_qps: 1
kubelet_rotate_certificates: true
kubelet_streaming_connection_idle_timeout: "5m"
kubelet_make_iptables_util_chains: true
kubelet_feature_gates: ["RotateKubeletServerCertificate=true"]
kubelet_seccomp_default: true
kubelet_systemd_hardening: true
kube_owner: root
kube_cert_group: root
kube_pod_security_use_default: true
kube_pod_security_default_enforce: restricted
kube_api_anonymous_auth: false
"#;

fn set_up(lab: &Lab, more: &[&str]) -> Ended {
    lab.muster(&[&["setup-cluster", "-e", "@hardening.yml"], more].concat())
}

/// Each item of the CIS benchmark that can be seen on a machine is as docs/hardening.md says, in this column of its table.
fn stands_as_told(lab: &Lab, column: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/hardening.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
        let number = cells[0];
        number.starts_with(|c: char| c.is_ascii_digit()).then(|| (number, *cells.get(column).unwrap_or(&"")))
    });
    let told: BTreeMap<&str, &str> = rows.filter(|(_, stands)| ["yes", "no"].contains(stands)).collect();
    assert!(told.len() > 80, "{told:?}");
    let script = fs::read_to_string(root.join("scripts/cis.sh")).unwrap();
    fs::write(lab.folder().join("cis.sh"), script).unwrap();
    let copied = lab.muster(&["copy", "k8s_cluster", "cis.sh", "/root/cis.sh"]);
    assert_eq!(copied.code, 0, "{copied:#?}");
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for node in ["node1", "node2"] {
        for line in lab.on(node, "sh /root/cis.sh").lines() {
            let (number, stands) = line.split_once(' ').unwrap();
            // What is no on one machine is no.
            let worse = seen.get(number).is_some_and(|before| before == "no");
            if !worse {
                seen.insert(number.to_owned(), stands.to_owned());
            }
        }
    }
    let differs: Vec<String> = seen
        .iter()
        .filter(|(number, stands)| told.get(number.as_str()) != Some(&stands.as_str()))
        .map(|(number, stands)| format!("{number} {stands}, told: {:?}", told.get(number.as_str())))
        .collect();
    assert!(differs.is_empty() && seen.len() == told.len(), "{differs:#?} {} {}", seen.len(), told.len());
}

fn nodes_are_ready(lab: &Lab, count: usize) {
    let nodes = lab.muster(&["kubectl", "get", "nodes", "--no-headers"]);
    assert_eq!(nodes.out.lines().filter(|line| line.contains(" Ready ")).count(), count, "{nodes:#?}");
}

#[test]
#[ignore = "it takes four minutes; ./test --all"]
fn a_living_cluster_is_hardened_and_outlives_a_wrong_value() {
    let lab = Lab::up(78, &["-n", "3"]);
    let machine = |n: u8| format!("node{n} ansible_host={address} ip={address}\n", address = lab.address(n));
    let inventory = |machines: u8| {
        let hosts: String = (1..=machines).map(machine).collect();
        let workers = if machines == 3 { "node[2:3]" } else { "node2" };
        let groups = format!("[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\n{workers}\n");
        fs::write(lab.folder().join("inventory/hosts.ini"), format!("[all]\n{hosts}{groups}")).unwrap();
    };
    fs::create_dir_all(lab.folder().join("inventory")).unwrap();
    inventory(2);
    let born = lab.muster(&["setup-cluster"]);
    assert_eq!(born.code, 0, "{born:#?}");
    stands_as_told(&lab, 2);

    fs::write(lab.folder().join("hardening.yml"), HARDENING).unwrap();
    let hardened = set_up(&lab, &[]);
    assert_eq!(hardened.code, 0, "{hardened:#?}");
    let again = set_up(&lab, &[]);
    assert_eq!(["node1", "node2"].map(|host| again.recap(host, "changed")), [0, 0], "{again:#?}");
    nodes_are_ready(&lab, 2);
    stands_as_told(&lab, 3);

    // Nobody is answered without a name, but probes are.
    let asked = "for path in readyz version; do curl -sk -o /dev/null -w '%{http_code} ' https://127.0.0.1:6443/$path; done";
    assert_eq!(lab.on("node1", asked).trim(), "200 401");
    let binding = ["kubectl", "-n", "kube-public", "get", "rolebinding", "-o", "name"];
    assert!(!lab.muster(&binding).out.contains("clusterinfo"));
    // What happens is written down.
    let kubectl = |words: &[&str]| lab.muster(&[&["kubectl"], words].concat());
    assert_eq!(kubectl(&["create", "secret", "generic", "door", "--from-literal=code=4711"]).code, 0);
    let noted = r#"grep '"verb":"create"' /var/log/kube-apiserver-log.json | grep -c '"name":"door"'"#;
    assert_ne!(lab.on("node1", noted).trim(), "0");
    // A pod that may do anything is refused, and there are not more events than are allowed.
    let pod = kubectl(&["run", "any", "--image=registry.k8s.io/pause:3.10", "--privileged"]);
    assert!(pod.code != 0 && pod.err.contains("violates PodSecurity \"restricted:"), "{pod:#?}");
    let event = r#"{"apiVersion":"v1","kind":"Event","metadata":{"generateName":"e","namespace":"default"},"involvedObject":{"namespace":"default","kind":"Pod","name":"x"}}"#;
    fs::write(lab.folder().join("events.json"), format!("{event}\n---\n").repeat(20)).unwrap();
    let events = kubectl(&["create", "-f", "events.json"]);
    assert!(events.code != 0 && events.err.contains("limit reached on type Namespace"), "{events:#?}");
    let old = lab.lab(&["ssh", "node1", "--", "openssl s_client -connect 127.0.0.1:6443 -tls1_1 </dev/null"]);
    assert!(old.code != 0, "{old:#?}");
    assert!(
        lab.on("node2", "systemctl cat kubelet")
            .contains("IPAddressDeny=any\nIPAddressAllow=localhost link-local")
    );

    // With a value that the API server does not take it goes on with what it had, and the next run mends what is left of it.
    let wrong = set_up(&lab, &["-e", r#"{"kube_kubeadm_apiserver_extra_args": {"event-ttl": "x"}}"#]);
    assert!(wrong.code != 0 && wrong.all().contains("has the one before again"), "{wrong:#?}");
    assert!(wrong.all().contains("invalid argument \"x\" for \"--event-ttl\" flag"), "{wrong:#?}");
    nodes_are_ready(&lab, 2);

    // A machine joins, without having read anything without a name.
    inventory(3);
    let joined = set_up(&lab, &[]);
    assert_eq!(joined.code, 0, "{joined:#?}");
    nodes_are_ready(&lab, 3);
    assert!(!lab.has("node3", "/etc/kubernetes/discovery.conf"));
    let again = set_up(&lab, &[]);
    assert_eq!(["node1", "node2", "node3"].map(|host| again.recap(host, "changed")), [0, 0, 0], "{again:#?}");
}
