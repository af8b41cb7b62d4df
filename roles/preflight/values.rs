//! What a variable may be set to, where that is known without a machine. What kubespray has and is not here is told of
//! elsewhere (`kubespray/keys.yml`), and so are networks (`subnets.rs`) and thresholds (`eviction.rs`).

use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Value};

use super::eviction;
use super::findings::problem;
use super::settings::{Setting, integer, place, text_of};
use crate::common::{duration, is_dns_name, nearest};
use crate::reference;

/// What values of a variable look like.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A whole number between these, or from the first one on.
    Number(i64, i64),
    /// How long something may take, as Go writes it.
    Duration,
    /// The same, or no time at all.
    Pause,
    /// How much of something, as Kubernetes writes it.
    Quantity,
    /// A place on a machine.
    Path,
    /// Yes or no, of what has no default.
    Boolean,
    /// How much of something a process may have, as systemd.exec(5) has it.
    Limit,
    /// A minor version of Kubernetes, or the latest one.
    Release,
}

use Form::{Boolean, Duration, Limit, Number, OneOf, Path, Pause, Quantity, Release};

/// The levels of the Pod Security Standards.
const SECURITY: Form = OneOf(&["privileged", "baseline", "restricted"]);

const PORT: Form = Number(1, 65535);
const PERCENT: Form = Number(0, 100);
/// Seconds that somebody waits.
const SECONDS: Form = Number(1, 86400);
const ANY: i64 = i64::MAX;

/// The variables whose values have a form, in the order of `defaults.yml`.
const VALUES: &[(&str, Form)] = &[
    ("package_lock_timeout", Number(0, 86400)),
    ("ntp_package", OneOf(&["chrony", "ntp", "ntpsec"])),
    ("resolvconf_mode", OneOf(&["none", "host_resolvconf", "docker_dns"])),
    ("preinstall_selinux_state", OneOf(&["permissive", "enforcing", "disabled"])),
    ("ndots", Number(0, 15)),
    ("dns_timeout", Number(1, 30)),
    ("dns_attempts", Number(1, 5)),
    ("kube_apiserver_port", PORT),
    ("kube_encryption_algorithm", OneOf(&["secretbox", "aescbc", "aesgcm"])),
    ("loadbalancer_apiserver_port", PORT),
    ("loadbalancer_apiserver_healthcheck_port", PORT),
    ("bin_dir", Path),
    ("kube_config_dir", Path),
    ("kube_cert_dir", Path),
    ("fan_out_port", PORT),
    ("containerd_storage_dir", Path),
    ("containerd_state_dir", Path),
    // Those that containerd has built in.
    (
        "containerd_snapshotter",
        OneOf(&["overlayfs", "native", "btrfs", "zfs", "erofs", "blockfile", "devmapper"]),
    ),
    ("docker_daemon_graph", Path),
    ("docker_cgroup_driver", OneOf(&["systemd", "cgroupfs"])),
    ("containerd_limit_proc_num", Limit),
    ("containerd_limit_core", Limit),
    ("containerd_limit_open_file_num", Limit),
    ("containerd_limit_mem_lock", Limit),
    ("nri_enabled", Boolean),
    ("containerd_enable_unprivileged_ports", Boolean),
    ("containerd_enable_unprivileged_icmp", Boolean),
    ("containerd_max_container_log_line_size", Number(-1, ANY)),
    ("containerd_enable_selinux", Boolean),
    ("containerd_disable_apparmor", Boolean),
    ("containerd_tolerate_missing_hugetlb_controller", Boolean),
    ("containerd_disable_hugetlb_controller", Boolean),
    ("containerd_discard_unpacked_layers", Boolean),
    ("containerd_image_pull_progress_timeout", Duration),
    ("containerd_grpc_max_recv_message_size", Number(1, ANY)),
    ("containerd_grpc_max_send_message_size", Number(1, ANY)),
    ("containerd_debug_uid", Number(0, ANY)),
    ("containerd_debug_gid", Number(0, ANY)),
    ("containerd_metrics_grpc_histogram", Boolean),
    ("calico_network_backend", OneOf(&["vxlan", "bird", "none"])),
    ("calico_vxlan_mode", OneOf(&["Always", "CrossSubnet", "Never"])),
    ("calico_ipip_mode", OneOf(&["Always", "CrossSubnet", "Never"])),
    ("calico_vxlan_mode_ipv6", OneOf(&["Always", "CrossSubnet", "Never"])),
    ("calico_vxlan_vni", Number(0, (1 << 24) - 1)),
    ("calico_vxlan_port", PORT),
    // calico's reference of IPPool.
    ("calico_pool_blocksize", Number(20, 32)),
    ("calico_pool_blocksize_ipv6", Number(116, 128)),
    ("calico_mtu", Number(68, 65535)),
    ("calico_veth_mtu", Number(68, 65535)),
    ("calico_ipam_maxblocksperhost", Number(0, ANY)),
    // RFC 6793.
    ("global_as_num", Number(1, u32::MAX as i64)),
    ("calico_bgp_listen_port", PORT),
    ("typha_max_connections_lower_limit", Number(1, ANY)),
    ("calico_felix_chaininsertmode", OneOf(&["Insert", "Append"])),
    ("calico_felix_floating_ips", OneOf(&["Disabled", "Enabled"])),
    ("calico_iptables_backend", OneOf(&["Auto", "Legacy", "NFT"])),
    ("calico_nftable_mode", OneOf(&["Disabled", "Enabled"])),
    ("calico_endpoint_to_host_action", OneOf(&["RETURN", "ACCEPT", "DROP"])),
    ("typha_prometheusmetricsport", PORT),
    ("calico_felix_prometheusmetricsport", PORT),
    ("calico_iptables_lock_timeout_secs", Number(0, 86400)),
    ("calico_node_livenessprobe_timeout", SECONDS),
    ("calico_node_readinessprobe_timeout", SECONDS),
    ("calico_node_cpu_requests", Quantity),
    ("calico_node_memory_requests", Quantity),
    ("calico_node_memory_limit", Quantity),
    ("calico_timeout", SECONDS),
    ("cilium_tunnel_mode", OneOf(&["vxlan", "geneve", "disabled"])),
    ("cilium_ipam_mode", OneOf(&["cluster-pool", "kubernetes"])),
    ("cilium_identity_allocation_mode", OneOf(&["crd"])),
    ("cilium_loadbalancer_mode", OneOf(&["snat", "dsr", "hybrid"])),
    ("cilium_kube_proxy_replacement", Boolean),
    ("cilium_dns_proxy_enable_transparent_mode", Boolean),
    ("cilium_monitor_aggregation", OneOf(&["none", "low", "medium", "maximum"])),
    // Those of Ethernet and of IP.
    ("cilium_mtu", Number(0, 65535)),
    ("cilium_pool_mask_size", Number(9, 30)),
    ("cilium_pool_mask_size_ipv6", Number(9, 126)),
    ("cilium_cluster_id", Number(0, 255)),
    ("cilium_agent_health_port", PORT),
    ("cilium_agent_scrape_port", PORT),
    ("cilium_operator_scrape_port", PORT),
    ("cilium_hubble_scrape_port", PORT),
    ("cilium_operator_replicas", Number(1, ANY)),
    ("cilium_hubble_event_buffer_capacity", Number(1, 65535)),
    ("cilium_hubble_event_queue_size", Number(1, ANY)),
    ("cilium_cpu_requests", Quantity),
    ("cilium_memory_requests", Quantity),
    ("cilium_cpu_limit", Quantity),
    ("cilium_memory_limit", Quantity),
    ("cilium_cgroup_host_root", Path),
    ("cilium_timeout", SECONDS),
    ("coredns_replicas", Number(1, ANY)),
    ("dns_nodes_per_replica", Number(1, ANY)),
    ("dns_cores_per_replica", Number(1, ANY)),
    ("dns_memory_limit", Quantity),
    ("dns_memory_requests", Quantity),
    ("dns_cpu_requests", Quantity),
    ("dns_cpu_limit", Quantity),
    ("nodelocaldns_cpu_requests", Quantity),
    ("nodelocaldns_memory_requests", Quantity),
    ("nodelocaldns_memory_limit", Quantity),
    ("nodelocaldns_health_port", PORT),
    ("nodelocaldns_prometheus_port", PORT),
    ("etcd_data_dir", Path),
    ("etcd_cert_dir", Path),
    ("etcd_heartbeat_interval", Number(1, 10000)),
    // More than 50 s is refused by etcd itself.
    ("etcd_election_timeout", Number(5, 50000)),
    ("etcd_quota_backend_bytes", Number(16 << 20, ANY)),
    ("etcd_compaction_retention", Number(0, ANY)),
    ("etcd_backup_retention_count", Number(-1, ANY)),
    ("etcd_backup_machine_count", Number(1, ANY)),
    ("etcd_metrics", OneOf(&["basic", "extensive"])),
    ("etcd_metrics_port", PORT),
    ("etcd_log_level", OneOf(&["debug", "info", "warn", "error", "panic", "fatal"])),
    ("etcd_max_request_bytes", Number(1, ANY)),
    ("etcd_snapshot_count", Number(1, ANY)),
    ("etcd_max_snapshots", Number(0, ANY)),
    ("etcd_max_wals", Number(0, ANY)),
    ("etcd_certificate_days", Number(0, 36500)),
    ("flannel_vxlan_vni", Number(1, (1 << 24) - 1)),
    ("flannel_vxlan_port", PORT),
    ("flannel_timeout", SECONDS),
    ("kubelet_max_pods", Number(1, 65534)),
    ("kubelet_image_gc_high_threshold", PERCENT),
    ("kubelet_image_gc_low_threshold", PERCENT),
    ("kube_resolv_conf", Path),
    ("kube_proxy_remove", Boolean),
    ("kubeadm_token_minutes", Number(1, 1440)),
    ("system_upgrade", Boolean),
    ("system_upgrade_reboot", OneOf(&["on-upgrade", "always", "never"])),
    ("system_upgrade_autoclean", Boolean),
    ("kubeadm_init_timeout", Duration),
    ("kubeadm_join_timeout", Duration),
    ("kube_log_level", Number(0, 10)),
    ("tls_min_version", OneOf(&["VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"])),
    ("kube_cert_validity_period", Duration),
    ("kube_ca_cert_validity_period", Duration),
    (
        "kube_asymmetric_encryption_algorithm",
        OneOf(&["RSA-2048", "RSA-3072", "RSA-4096", "ECDSA-P256", "ECDSA-P384"]),
    ),
    ("kube_pod_security_default_enforce", SECURITY),
    ("kube_pod_security_default_audit", SECURITY),
    ("kube_pod_security_default_warn", SECURITY),
    ("kube_pod_security_default_enforce_version", Release),
    ("kube_pod_security_default_audit_version", Release),
    ("kube_pod_security_default_warn_version", Release),
    ("event_ttl_duration", Duration),
    ("kube_apiserver_etcd_compaction_interval", Duration),
    ("kube_apiserver_request_timeout", Duration),
    ("kube_apiserver_pod_eviction_not_ready_timeout_seconds", Number(0, ANY)),
    ("kube_apiserver_pod_eviction_unreachable_timeout_seconds", Number(0, ANY)),
    ("audit_log_maxage", Number(0, ANY)),
    ("audit_log_maxbackups", Number(0, ANY)),
    ("audit_log_maxsize", Number(0, ANY)),
    ("audit_webhook_mode", OneOf(&["batch", "blocking", "blocking-strict"])),
    ("audit_webhook_batch_max_size", Number(1, ANY)),
    ("audit_webhook_batch_max_wait", Duration),
    ("kube_apiserver_tracing_sampling_rate_per_million", Number(0, 1_000_000)),
    ("kubelet_tracing_sampling_rate_per_million", Number(0, 1_000_000)),
    ("kube_controller_manager_leader_elect_lease_duration", Duration),
    ("kube_controller_manager_leader_elect_renew_deadline", Duration),
    ("kube_scheduler_leader_elect_lease_duration", Duration),
    ("kube_scheduler_leader_elect_renew_deadline", Duration),
    ("kube_controller_node_monitor_grace_period", Duration),
    ("kube_controller_node_monitor_period", Duration),
    ("kube_controller_terminated_pod_gc_threshold", Number(0, ANY)),
    ("kube_proxy_sync_period", Duration),
    ("kube_proxy_min_sync_period", Pause),
    ("kube_proxy_tcp_timeout", Pause),
    ("kube_proxy_tcp_fin_timeout", Pause),
    ("kube_proxy_udp_timeout", Pause),
    ("kube_proxy_conntrack_tcp_close_wait_timeout", Pause),
    ("kube_proxy_conntrack_tcp_established_timeout", Pause),
    ("kube_proxy_config_sync_period", Duration),
    ("kube_proxy_masquerade_bit", Number(0, 31)),
    ("kube_proxy_oom_score_adj", Number(-1000, 1000)),
    ("kube_proxy_client_qps", Number(1, ANY)),
    ("kube_proxy_client_burst", Number(1, ANY)),
    ("kube_proxy_conntrack_max_per_core", Number(0, ANY)),
    ("kube_proxy_conntrack_min", Number(0, ANY)),
    ("kubelet_max_parallel_image_pulls", Number(1, ANY)),
    ("kubelet_swap_behavior", OneOf(&["NoSwap", "LimitedSwap"])),
    ("kubelet_cpu_manager_policy", OneOf(&["none", "static"])),
    ("kube_read_only_port", Number(0, 65535)),
    ("kubelet_pod_pids_limit", Number(-1, ANY)),
    ("kubelet_shutdown_grace_period", Duration),
    ("kubelet_shutdown_grace_period_critical_pods", Duration),
    ("kubelet_topology_manager_policy", OneOf(&["none", "best-effort", "restricted", "single-numa-node"])),
    ("kubelet_topology_manager_scope", OneOf(&["container", "pod"])),
    ("kubelet_streaming_connection_idle_timeout", Duration),
    ("kubelet_status_update_frequency", Duration),
    ("kubelet_event_record_qps", Number(0, ANY)),
    ("kubelet_logfiles_max_nr", Number(2, ANY)),
    ("kubelet_logfiles_max_size", Quantity),
    ("kube_cpu_reserved", Quantity),
    ("kube_memory_reserved", Quantity),
    ("kube_ephemeral_storage_reserved", Quantity),
    ("kube_pid_reserved", Number(0, ANY)),
    ("system_cpu_reserved", Quantity),
    ("system_memory_reserved", Quantity),
    ("system_ephemeral_storage_reserved", Quantity),
    ("system_pid_reserved", Number(0, ANY)),
    ("minimal_master_memory_mb", Number(0, ANY)),
    ("minimal_node_memory_mb", Number(0, ANY)),
    ("drain_grace_period", Number(-1, ANY)),
    ("drain_timeout", Duration),
    ("drain_retries", Number(0, 1000)),
    ("drain_retry_delay_seconds", Number(0, 86400)),
    ("drain_fallback_grace_period", Number(-1, ANY)),
    ("drain_fallback_timeout", Duration),
    ("drain_fallback_retries", Number(0, 1000)),
    ("drain_fallback_retry_delay_seconds", Number(0, 86400)),
    ("students_delete_timeout", SECONDS),
    ("apps_timeout", SECONDS),
    ("local_path_provisioner_claim_root", Path),
    ("registry_storage_access_mode", OneOf(&["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"])),
    ("registry_disk_size", Quantity),
    ("registry_port", PORT),
    ("dashboard_kind", OneOf(&["headlamp"])),
    ("dashboard_service_type", OneOf(&["ClusterIP", "NodePort", "LoadBalancer"])),
    ("dashboard_session_hours", Number(1, ANY)),
    ("registry_service_type", OneOf(&["ClusterIP", "NodePort", "LoadBalancer"])),
    ("metallb_log_level", OneOf(&["all", "debug", "info", "warn", "error", "none"])),
    ("traefik_http_port", PORT),
    ("traefik_https_port", PORT),
    ("traefik_service_type", OneOf(&["ClusterIP", "NodePort", "LoadBalancer"])),
    ("traefik_log_level", OneOf(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"])),
    ("monitoring_service_type", OneOf(&["ClusterIP", "NodePort", "LoadBalancer"])),
    ("monitoring_disk_size", Quantity),
    ("monitoring_interval", Duration),
    ("cert_manager_dns_policy", OneOf(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"])),
    ("node_feature_discovery_gc_interval", Duration),
    ("nfs_csi_share", Path),
    ("external_openstack_lbaas_monitor_delay", Duration),
    ("external_openstack_lbaas_monitor_timeout", Duration),
    ("external_openstack_lbaas_monitor_max_retries", Number(1, 10)),
    ("external_openstack_max_shared_lb", Number(1, ANY)),
    ("node_volume_attach_limit", Number(1, ANY)),
    ("nfs_csi_reclaim_policy", OneOf(&["Delete", "Retain"])),
    ("local_volume_provisioner_log_level", Number(0, 10)),
    ("gateway_api_channel", OneOf(&["standard", "experimental"])),
    ("verify_network", OneOf(&["changed", "always", "never"])),
    ("verify_timeout", SECONDS),
];

/// The same for variables whose names end so, whatever they are of.
const ENDINGS: [(&str, Form); 4] =
    [("_replicas", Number(1, ANY)), ("_resolution", Duration), ("_cpu", Quantity), ("_memory", Quantity)];

fn form_of(name: &str) -> Option<Form> {
    let named = VALUES.iter().find(|(known, _)| *known == name);
    named.or_else(|| ENDINGS.iter().find(|(ending, _)| name.ends_with(ending))).map(|(_, form)| *form)
}

/// The variables of a user whose values are none of those that are possible.
pub(super) fn wrong(vars: &HostVars) -> Vec<Problem> {
    let tell = |variable: reference::Variable| {
        let name = variable.name;
        let form = form_of(name)?;
        let setting = Setting::by_user(vars, name).filter(|setting| !form.holds(&setting.text))?;
        let remedy = match form.meant(&setting.text) {
            Some(meant) => format!("set {name}: {meant}"),
            // One that is worked out fits without anybody's help.
            None if variable.value.contains("{{") => format!("correct {name}, or remove it"),
            None => format!("set {name}: {}", variable.value),
        };
        Some(setting.wrong(form.in_words(), remedy))
    };
    reference::variables().filter_map(tell).chain(labels(vars)).collect()
}

/// A label of a node, as Kubernetes takes it ("Labels and Selectors").
fn labels(vars: &HostVars) -> Vec<Problem> {
    let all = vars.get("node_labels").ok().flatten();
    let all = all.as_ref().and_then(Value::as_map).into_iter().flatten();
    let wrong = all.filter(|(key, value)| {
        let (prefix, name) = key.rsplit_once('/').unwrap_or(("node", key.as_str()));
        let value = text_of(value);
        !(is_dns_name(prefix) && is_label(name) && (value.is_empty() || is_label(&value)))
    });
    let tell = |(key, value): (&String, &Value)| {
        problem(
            "node_labels",
            format!("{key}: {}{}", value.to_json(), place(vars, "node_labels")),
            "a name and a text, each of at most 63 letters, digits, hyphens, underscores and dots, with a letter or digit first \
             and last; a domain and / may stand in front of the name",
            "write it as room: \"104\"",
        )
    };
    wrong.map(tell).collect()
}

fn is_label(text: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && end(text.chars().next())
        && end(text.chars().next_back())
}

impl Form {
    fn holds(self, text: &str) -> bool {
        match self {
            OneOf(known) => known.contains(&text),
            Number(least, most) => {
                integer(&Value::from(text)).is_some_and(|number| (least..=most).contains(&number))
            }
            Duration => is_duration(text),
            Pause => duration(text).is_some(),
            Quantity => eviction::is_quantity(text),
            Path => text.starts_with('/'),
            Boolean => Value::from(text).as_bool().is_some(),
            Limit => text == "infinity" || text.parse::<u64>().is_ok(),
            Release => {
                text == "latest" || text.strip_prefix("v1.").is_some_and(|minor| minor.parse::<u32>().is_ok())
            }
        }
    }

    /// The value that was probably meant.
    fn meant(self, text: &str) -> Option<String> {
        let meant = match self {
            OneOf(known) => nearest(text, known).map(str::to_owned),
            Boolean => nearest(text, &["true", "false"]).map(str::to_owned),
            Duration | Pause => time_meant(text),
            Quantity => quantity_meant(text),
            Release => release_meant(text),
            Number(..) | Limit | Path => None,
        };
        meant.filter(|meant| self.holds(meant))
    }

    fn in_words(self) -> String {
        match self {
            OneOf([others @ .., before, last]) => [others, &[*before]].concat().join(", ") + " or " + last,
            OneOf(one) => one.concat(),
            Number(least, ANY) => format!("a whole number, at least {least}"),
            Number(least, most) => format!("a whole number, {least} to {most}"),
            Duration => "numbers with units (h, m, s, ms), longer than nothing, as in 5m0s".to_owned(),
            Pause => "numbers with units (h, m, s, ms), as in 5m0s or 0s".to_owned(),
            Quantity => "a quantity, as 500m of a processor or 512Mi of memory".to_owned(),
            Path => "a path that begins with /".to_owned(),
            Boolean => "true or false".to_owned(),
            Limit => "a whole number, or infinity".to_owned(),
            Release => "latest, or a minor version as v1.36".to_owned(),
        }
    }
}

/// A number and what stands behind it, in small letters.
fn number_and_unit(text: &str) -> (&str, String) {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    (number, unit.trim().to_ascii_lowercase())
}

/// A length of time that was written in another way: `120`, `2 min`, `1d`.
fn time_meant(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text);
    let unit = match unit.as_str() {
        "" | "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => return Some(format!("{}h", number.parse::<u64>().ok()?.checked_mul(24)?)),
        _ => return None,
    };
    Some(format!("{number}{unit}"))
}

/// A quantity that was written in another way: `512MB`, `2 GiB`.
fn quantity_meant(text: &str) -> Option<String> {
    let (number, unit) = number_and_unit(text);
    let unit = match unit.trim_end_matches('b') {
        "k" => "k",
        "m" => "M",
        "g" => "G",
        "t" => "T",
        "ki" => "Ki",
        "mi" => "Mi",
        "gi" => "Gi",
        "ti" => "Ti",
        _ => return None,
    };
    Some(format!("{number}{unit}"))
}

/// A minor version that was written in another way: `1.36`, `v1.36.3`.
fn release_meant(text: &str) -> Option<String> {
    let mut parts = text.trim_start_matches('v').split('.');
    Some(format!("v{}.{}", parts.next()?, parts.next()?))
}

/// Whether it is a time, and more than none.
fn is_duration(text: &str) -> bool {
    duration(text).is_some_and(|length| !length.is_zero())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::fixture::{each_is_refused, told, variables};
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn what_cannot_be_is_refused_with_its_place_and_what_can_be() {
        // Each row: what a user writes, and what is found and needed; nothing where it is fine.
        let rows = [
            ("verify_network: allways", "verify_network: allways (vars.yml:1:17) changed, always or never"),
            ("verify_network: never", ""),
            ("containerd_snapshotter: overlay", "containerd_snapshotter: overlay (vars.yml:1:25) overlayfs, native, btrfs, zfs, erofs, blockfile or devmapper"),
            ("kubeadm_init_timeout: 5x", "kubeadm_init_timeout: 5x (vars.yml:1:23) numbers with units (h, m, s, ms), longer than nothing, as in 5m0s"),
            ("kubeadm_join_timeout: 120", "kubeadm_join_timeout: 120 (vars.yml:1:23) numbers with units (h, m, s, ms), longer than nothing, as in 5m0s"),
            ("kubeadm_join_timeout: 0s", "kubeadm_join_timeout: 0s (vars.yml:1:23) numbers with units (h, m, s, ms), longer than nothing, as in 5m0s"),
            ("kubeadm_init_timeout: 1h5m0.5s300ms", ""),
            ("kube_apiserver_port: 70000", "kube_apiserver_port: 70000 (vars.yml:1:22) a whole number, 1 to 65535"),
            ("fan_out_port: 0", "fan_out_port: 0 (vars.yml:1:15) a whole number, 1 to 65535"),
            ("coredns_replicas: two", "coredns_replicas: two (vars.yml:1:19) a whole number, at least 1"),
            ("coredns_replicas: '2'", ""),
            ("calico_mtu: ''\ncalico_veth_mtu: \"\"\ncilium_mtu: ''", ""),
            ("calico_mtu: '67'", "calico_mtu: 67 (vars.yml:1:13) a whole number, 68 to 65535"),
            ("kubelet_image_gc_low_threshold: 101", "kubelet_image_gc_low_threshold: 101 (vars.yml:1:33) a whole number, 0 to 100"),
            ("etcd_heartbeat_interval: 100ms", "etcd_heartbeat_interval: 100ms (vars.yml:1:26) a whole number, 1 to 10000"),
            ("etcd_data_dir: srv/etcd", "etcd_data_dir: srv/etcd (vars.yml:1:16) a path that begins with /"),
            ("kube_memory_reserved: 10%", "kube_memory_reserved: 10% (vars.yml:1:23) a quantity, as 500m of a processor or 512Mi of memory"),
            ("kube_cpu_reserved: 250m", ""),
            ("tls_min_version: '1.2'", "tls_min_version: 1.2 (vars.yml:1:18) VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13"),
            ("kube_pod_security_default_enforce: strict", "kube_pod_security_default_enforce: strict (vars.yml:1:36) privileged, baseline or restricted"),
            ("kube_pod_security_default_warn_version: 1.36", "kube_pod_security_default_warn_version: 1.36 (vars.yml:1:41) latest, or a minor version as v1.36"),
            ("kube_pod_security_default_warn_version: v1.36", ""),
            ("kube_proxy_tcp_timeout: 0s", ""),
            ("kube_proxy_tcp_timeout: soon", "kube_proxy_tcp_timeout: soon (vars.yml:1:25) numbers with units (h, m, s, ms), as in 5m0s or 0s"),
            ("audit_webhook_mode: later", "audit_webhook_mode: later (vars.yml:1:21) batch, blocking or blocking-strict"),
            ("kubelet_cpu_manager_policy: best", "kubelet_cpu_manager_policy: best (vars.yml:1:29) none or static"),
            ("dashboard_kind: kubernetes-dashboard", "dashboard_kind: kubernetes-dashboard (vars.yml:1:17) headlamp"),
            ("node_labels: {room: a b}", "node_labels: room: \"a b\" (vars.yml:1:14) a name and a text"),
            ("node_labels: {a/b/c: x}", "node_labels: a/b/c: \"x\" (vars.yml:1:14) a name and a text"),
            ("node_labels: {room: '104', example.org/Floor: '', a.b_c: 1}", ""),
        ];
        each_is_refused(&rows, |yaml| {
            wrong(&variables(yaml)).iter().map(|p| format!("{} {}", told(p), p.needed)).collect()
        });
    }

    #[test]
    fn the_remedy_is_what_was_probably_meant_or_else_the_default() {
        let remedy = |yaml: &str| wrong(&variables(yaml)).swap_remove(0).remedy;
        for (yaml, meant) in [
            ("verify_network: allways", "verify_network: always"),
            ("verify_network: NEVER", "verify_network: never"),
            ("verify_network: perhaps", "verify_network: changed"),
            ("containerd_snapshotter: overlay", "containerd_snapshotter: overlayfs"),
            ("tls_min_version: TLS1.3", "tls_min_version: VersionTLS13"),
            ("kubeadm_join_timeout: 120", "kubeadm_join_timeout: 120s"),
            ("kubeadm_join_timeout: 2 min", "kubeadm_join_timeout: 2m"),
            ("kube_cert_validity_period: 365d", "kube_cert_validity_period: 8760h"),
            ("kube_memory_reserved: 512MB", "kube_memory_reserved: 512M"),
            ("kube_memory_reserved: 1 GiB", "kube_memory_reserved: 1Gi"),
            ("nri_enabled: ture", "nri_enabled: true"),
            ("kube_pod_security_default_warn_version: 1.36", "kube_pod_security_default_warn_version: v1.36"),
        ] {
            assert_eq!(remedy(yaml), format!("set {meant}"));
        }
        assert_eq!(remedy("etcd_heartbeat_interval: x"), "correct etcd_heartbeat_interval, or remove it");
    }

    #[test]
    fn every_number_and_every_time_of_the_defaults_has_a_form_that_the_default_fits() {
        // How long a prefix may be depends on the networks.
        let mut without = BTreeSet::from(["kube_network_node_prefix", "kube_network_node_prefix_ipv6"]);
        for variable in reference::variables().filter(|variable| !variable.value.contains("{{")) {
            let value = variable.value;
            let form = form_of(variable.name);
            match form {
                Some(form) => assert!(form.holds(value), "{}: {value}", variable.name),
                None if value.parse::<i64>().is_ok() || is_duration(value) => {
                    assert!(without.remove(variable.name), "{}: {value} has no form", variable.name);
                }
                None => {}
            }
        }
        assert!(without.is_empty(), "{without:?}");
        let known: BTreeSet<_> = reference::variables().map(|variable| variable.name).collect();
        assert!(VALUES.iter().all(|(name, _)| known.contains(name)));
    }
}
