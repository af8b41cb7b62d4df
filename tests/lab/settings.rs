//! A cluster of one machine with another value than the default for nearly everything that variables say to Kubernetes' programs: the
//! programs themselves take it, and say that it holds. And the machine's time service.

use std::fs;

use crate::fixture::Lab;

const VARIABLES: &str = r#"
kube_log_level: 2
kube_profiling: false
tls_min_version: VersionTLS12
tls_cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
kube_apiserver_enable_admission_plugins: [PodNodeSelector, DenyServiceExternalIPs]
kube_apiserver_disable_admission_plugins: [DefaultStorageClass]
kube_api_runtime_config: [api/all=true]
event_ttl_duration: 2h0m0s
kube_apiserver_request_timeout: 90s
kube_apiserver_pod_eviction_not_ready_timeout_seconds: 30
kube_apiserver_pod_eviction_unreachable_timeout_seconds: 31
kube_apiserver_etcd_compaction_interval: 9m0s
kube_api_aggregator_routing: true
kubelet_preferred_address_types: InternalIP,Hostname
kubelet_rotate_server_certificates: true
kube_controller_node_monitor_grace_period: 50s
kube_controller_node_monitor_period: 4s
kube_controller_terminated_pod_gc_threshold: 10
kube_controller_manager_bind_address: 0.0.0.0
kube_controller_manager_leader_elect_lease_duration: 31s
kube_controller_manager_leader_elect_renew_deadline: 21s
kube_scheduler_bind_address: 127.0.0.1
kube_scheduler_config_extra_opts: {parallelism: 8}
kube_kubeadm_apiserver_extra_args: {service-account-extend-token-expiration: false}
kube_kubeadm_controller_extra_args: {concurrent-deployment-syncs: 6}
kube_kubeadm_scheduler_extra_args: {kube-api-qps: 60}
apiserver_extra_volumes: [{name: opt, hostPath: /opt, mountPath: /opt, readOnly: true}]
kubeadm_patches: [{target: kube-scheduler, patch: {metadata: {labels: {example.org/part: scheduler}}}}]
kube_proxy_nodeport_addresses: [10.146.0.0/16]
kube_proxy_masquerade_all: true
kube_proxy_metrics_bind_address: 127.0.0.1:10251
kube_proxy_sync_period: 40s
kube_proxy_min_sync_period: 2s
kube_proxy_conntrack_min: 0
kube_proxy_conntrack_max_per_core: 0
kube_proxy_client_qps: 6
kube_proxy_client_burst: 11
kubelet_max_pods: 77
kubelet_pod_pids_limit: 777
kubelet_shutdown_grace_period: 60s
kubelet_shutdown_grace_period_critical_pods: 20s
kubelet_seccomp_default: true
kubelet_streaming_connection_idle_timeout: 5m
kubelet_status_update_frequency: 4s
kubelet_event_record_qps: 7
kubelet_logfiles_max_nr: 3
kubelet_logfiles_max_size: 5Mi
kubelet_max_parallel_image_pulls: 3
kubelet_image_gc_high_threshold: 99
kubelet_image_gc_low_threshold: 98
eviction_soft: {memory.available: 60Mi}
eviction_soft_grace_period: {memory.available: 30s}
eviction_minimum_reclaim: {memory.available: 10Mi}
kube_reserved: true
kube_cpu_reserved: 10m
kube_memory_reserved: 32Mi
kube_ephemeral_storage_reserved: 100Mi
kube_pid_reserved: 321
kubelet_config_extra_args: {registryPullQPS: 6}
etcd_snapshot_count: 5000
etcd_max_snapshots: 3
etcd_max_wals: 4
etcd_max_request_bytes: 2097152
etcd_quota_backend_bytes: 1073741824
etcd_compaction_retention: 4
etcd_log_level: warn
etcd_metrics: extensive
containerd_registries_mirrors: [{prefix: docker.io, mirrors: [{host: "http://10.146.74.1:5000"}]}]
containerd_max_container_log_line_size: 8192
containerd_limit_open_file_num: 123456
containerd_grpc_max_recv_message_size: 16777217
containerd_grpc_max_send_message_size: 16777218
containerd_metrics_address: 127.0.0.1:1338
containerd_metrics_grpc_histogram: true
containerd_debug_level: warn
additional_sysctl: [{name: net.core.somaxconn, value: 1024}]
dns_memory_limit: 150Mi
dns_cpu_requests: 50m
enable_coredns_reverse_dns_lookups: true
auto_renew_certificates: true
auto_renew_certificates_systemd_calendar: "*-*-2 04:00:00"
ntp_enabled: true
ntp_manage_config: true
ntp_servers: [time.example iburst]
ntp_timezone: Etc/UTC
"#;

/// A time service that tells no time: the machines' clock is that of their host.
const CHRONY: &str = "mkdir -p /etc/chrony && echo 'pool theirs.example' >/etc/chrony/chrony.conf && \
    printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' \
    >/etc/systemd/system/chrony.service && systemctl daemon-reload && \
    mkdir -p /usr/share/zoneinfo/Etc && touch -a /usr/share/zoneinfo/Etc/UTC";

#[test]
#[ignore = "it takes three minutes; ./test --all"]
fn programs_take_what_variables_say_and_say_that_it_holds() {
    let lab = Lab::up(74, &["-n", "1"]);
    lab.on("node1", CHRONY);
    let say = |text: &str| {
        let folder = lab.folder().join("inventory/group_vars");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("all.yml"), text).unwrap();
    };
    say(VARIABLES);
    let set_up = || lab.muster(&["setup-cluster", &lab.pattern(1)]);
    let born = set_up();
    assert_eq!(born.code, 0, "{born:#?}");
    assert!(!born.all().contains("warning: inventory/group_vars"), "{born:#?}");
    let again = set_up();
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");

    // Each program reads its own configuration.
    lab.on("node1", "kubeadm config validate --config /etc/kubernetes/kubeadm-config.yaml");
    let containerd = lab.on("node1", "containerd config dump");
    for line in ["max_container_log_line_size = 8192", "max_recv_message_size = 16777217", "level = 'warn'"] {
        assert!(containerd.contains(line), "{line}: {containerd}");
    }
    let kubectl = |words: &[&str]| lab.muster(&[&["kubectl"], words].concat());
    let kubelet = kubectl(&["get", "--raw", "/api/v1/nodes/node1/proxy/configz"]);
    for field in [
        r#""podPidsLimit":777"#,
        r#""maxPods":77"#,
        r#""serverTLSBootstrap":true"#,
        r#""seccompDefault":true"#,
        r#""shutdownGracePeriod":"1m0s""#,
        r#""streamingConnectionIdleTimeout":"5m0s""#,
        r#""eventRecordQPS":7"#,
        r#""registryPullQPS":6"#,
        r#""maxParallelImagePulls":3"#,
        r#""imageGCLowThresholdPercent":98"#,
        r#""evictionSoft":{"memory.available":"60Mi"}"#,
        r#""kubeReserved":{"cpu":"10m","ephemeral-storage":"100Mi","memory":"32Mi","pid":"321"}"#,
        r#""tlsMinVersion":"VersionTLS12""#,
    ] {
        assert!(kubelet.out.contains(field), "{field}: {kubelet:#?}");
    }
    let proxy = lab.on("node1", "curl -s http://127.0.0.1:10251/configz");
    for field in
        [r#""nodePortAddresses":["10.146.0.0/16"]"#, r#""syncPeriod":"40s""#, r#""minSyncPeriod":"2s""#]
    {
        assert!(proxy.contains(field), "{field}: {proxy}");
    }
    let arguments = lab.on("node1", "cat /proc/$(pgrep -x kube-apiserver)/cmdline | tr '\\0' '\\n'");
    for argument in [
        "--event-ttl=2h0m0s",
        "--request-timeout=90s",
        "--etcd-compaction-interval=9m0s",
        "--service-account-extend-token-expiration=false",
        "--enable-aggregator-routing=true",
        "--kubelet-certificate-authority=/etc/kubernetes/ssl/ca.crt",
    ] {
        assert!(arguments.lines().any(|line| line == argument), "{argument}: {arguments}");
    }
    let scheduler =
        kubectl(&["-n", "kube-system", "get", "pods", "-l", "example.org/part=scheduler", "-o", "name"]);
    assert_eq!(scheduler.out.trim(), "pod/kube-scheduler-node1", "{scheduler:#?}");
    assert_eq!(lab.on("node1", "cat /proc/sys/net/core/somaxconn").trim(), "1024");
    let etcd = lab.on("node1", "cat /proc/$(pgrep -x etcd)/environ | tr '\\0' '\\n'");
    for setting in ["ETCD_SNAPSHOT_COUNT=5000", "ETCD_MAX_WALS=4", "ETCD_LOG_LEVEL=warn"] {
        assert!(etcd.lines().any(|line| line == setting), "{setting}: {etcd}");
    }

    assert!(
        lab.on("node1", "cat /etc/systemd/system/k8s-certs-renew.timer")
            .contains("OnCalendar=*-*-2 04:00:00\n")
    );

    // An image that no machine has is pulled from this computer's bundle.
    let mut server = lab.start(&["bundle", "serve", "--listen", "0.0.0.0:5000"]);
    server.until("serving ");
    let image = "docker.io/library/haproxy:3.2.4-alpine";
    assert_eq!(kubectl(&["run", "pulled", &format!("--image={image}")]).code, 0);
    let pulled = format!(
        "for i in $(seq 60); do ctr -n k8s.io images ls -q | grep -qx {image} && exit 0; sleep 1; done; exit 1"
    );
    lab.on("node1", &pulled);
    server.signal("TERM");
    let served = server.end().out;
    assert!(served.contains("/v2/library/haproxy/manifests/3.2.4-alpine?ns=docker.io  200"), "{served}");
    assert_eq!(kubectl(&["delete", "pod", "pulled", "--now"]).code, 0);

    // The kubelet serves with a certificate of the cluster, for its name and address alone, and is asked by no other way.
    let serves = "openssl s_client -connect $(hostname -i | cut -d' ' -f1):10250 </dev/null 2>/dev/null | \
                  openssl x509 -noout -issuer -ext subjectAltName";
    let certificate = lab.on("node1", serves);
    let address = lab.address(1);
    assert!(
        certificate.contains("CN = kubernetes") || certificate.contains("CN=kubernetes"),
        "{certificate}"
    );
    assert!(certificate.contains(&format!("DNS:node1, IP Address:{address}")), "{certificate}");

    // A request for a name of somebody else's is left alone by the timer, and its own approved.
    let pki = "/var/lib/kubelet/pki";
    lab.on("node1", &format!("cp {pki}/kubelet-server-current.pem /root/before.pem"));
    let ask = format!(
        "cd /root && openssl req -new -newkey rsa:2048 -nodes -keyout k.pem -subj '/O=system:nodes/CN=system:node:node1' \
         -addext 'subjectAltName=DNS:node1,IP:192.0.2.66' -out r.pem 2>/dev/null && \
         printf 'apiVersion: certificates.k8s.io/v1\\nkind: CertificateSigningRequest\\nmetadata: {{name: stranger}}\\nspec:\\n  request: %s\\n  \
         signerName: kubernetes.io/kubelet-serving\\n  usages: [digital signature, server auth]\\n' $(base64 -w0 r.pem) >csr.yaml && \
         kubectl --kubeconfig /etc/kubernetes/kubelet.conf create -f csr.yaml && \
         rm -f {pki}/kubelet-server-*.pem && systemctl restart kubelet && sleep 20 && systemctl start kubelet-serving-certificates"
    );
    lab.on("node1", &ask);
    lab.on(
        "node1",
        &format!(
            "for i in $(seq 60); do [ -e {pki}/kubelet-server-current.pem ] && exit 0; sleep 1; done; exit 1"
        ),
    );
    let requests = kubectl(&["get", "csr", "stranger", "--no-headers"]);
    assert!(requests.out.contains("Pending"), "{requests:#?}");
    let told = lab.on("node1", "journalctl -u kubelet-serving-certificates -o cat");
    assert!(
        told.contains(
            "stranger: node1 asks for what the inventory does not say of it (IP Addresses: 192.0.2.66"
        ),
        "{told}"
    );

    // The time service has its servers; without ntp_manage_config it has its own again.
    assert!(lab.on("node1", "cat /etc/chrony/chrony.conf").contains("server time.example iburst\n"));
    assert_eq!(
        lab.on("node1", "systemctl is-active chrony; readlink /etc/localtime"),
        "active\n/usr/share/zoneinfo/Etc/UTC\n"
    );
    say(&VARIABLES
        .replace("ntp_manage_config: true", "ntp_manage_config: false")
        .replace("certificates: true", "certificates: false"));
    let without = set_up();
    assert_eq!(without.code, 0, "{without:#?}");
    assert_eq!(lab.on("node1", "cat /etc/chrony/chrony.conf"), "pool theirs.example\n");
    // A kubelet makes its own certificate again, and nothing is left of the other one.
    assert!(!lab.has("node1", &format!("{pki}/kubelet-server-current.pem")));
    assert!(!lab.has("node1", "/etc/systemd/system/kubelet-serving-certificates.timer"));
    assert!(lab.on("node1", serves).contains("node1-ca@"), "what the kubelet serves with");
    assert_eq!(kubectl(&["-n", "kube-system", "logs", "kube-scheduler-node1", "--tail=1"]).code, 0);
    let again = set_up();
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");
}

#[test]
#[ignore = "it takes two minutes; ./test --all"]
fn pods_are_told_of_a_server_of_names_of_the_users_own() {
    let lab = Lab::up(79, &["-n", "1"]);
    let set_up = |mode: &str| {
        let asked = format!("dns_mode={mode}");
        lab.muster(&["setup-cluster", &lab.pattern(1), "-e", &asked, "-e", "manual_dns_server=192.0.2.53"])
    };
    let born = set_up("manual");
    assert_eq!(born.code, 0, "{born:#?}");
    let again = set_up("manual");
    assert_eq!((again.code, again.recap("node1", "changed")), (0, 0), "{again:#?}");
    let kubectl = |words: &[&str]| lab.muster(&[&["kubectl"], words].concat()).out;
    let told = kubectl(&["get", "--raw", "/api/v1/nodes/node1/proxy/configz"]);
    assert!(told.contains(r#""clusterDNS":["192.0.2.53"]"#), "{told}");
    let objects = kubectl(&["-n", "kube-system", "get", "deployments,services", "-o", "name"]);
    assert!(!objects.contains("dns"), "{objects}");
    let verified = lab.muster(&[
        "verify",
        &lab.pattern(1),
        "-e",
        "dns_mode=manual",
        "-e",
        "manual_dns_server=192.0.2.53",
    ]);
    assert_eq!(verified.code, 0, "{verified:#?}");

    // Pods that run would go on asking there.
    let refused = set_up("coredns");
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.all().contains("manual_dns_server: 192.0.2.53"), "{refused:#?}");
}
