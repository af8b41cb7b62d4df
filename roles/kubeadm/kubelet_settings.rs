//! What variables say to a machine's kubelet: fields of `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1). They are this
//! machine's own, so they may differ from group to group. Names and meanings of the variables are kubespray's.

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::arguments::gates;
use super::tracing;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kube_feature_gates: Vec<String>,
    kubelet_feature_gates: Vec<String>,
    tls_min_version: Option<String>,
    tls_cipher_suites: Vec<String>,
    kube_read_only_port: Option<u16>,
    kubelet_pod_pids_limit: Option<i64>,
    kubelet_shutdown_grace_period: Option<String>,
    kubelet_shutdown_grace_period_critical_pods: Option<String>,
    kubelet_seccomp_default: Option<bool>,
    kubelet_authentication_token_webhook: bool,
    kubelet_authorization_mode_webhook: bool,
    kubelet_rotate_server_certificates: bool,
    kubelet_bind_address: Option<String>,
    kubelet_max_parallel_image_pulls: Option<u32>,
    kubelet_swap_behavior: Option<String>,
    kubelet_cpu_manager_policy: Option<String>,
    kubelet_cpu_manager_policy_options: Map<String, Value>,
    eviction_soft: Map<String, Value>,
    eviction_soft_grace_period: Map<String, Value>,
    eviction_minimum_reclaim: Map<String, Value>,
    kubelet_topology_manager_policy: Option<String>,
    kubelet_topology_manager_scope: Option<String>,
    kubelet_streaming_connection_idle_timeout: Option<String>,
    kubelet_status_update_frequency: Option<String>,
    kubelet_event_record_qps: Option<i64>,
    kubelet_make_iptables_util_chains: Option<bool>,
    kubelet_logfiles_max_nr: Option<i64>,
    kubelet_logfiles_max_size: Option<String>,
    kube_reserved: bool,
    kube_cpu_reserved: String,
    kube_memory_reserved: String,
    kube_ephemeral_storage_reserved: String,
    kube_pid_reserved: u64,
    system_reserved: bool,
    system_cpu_reserved: String,
    system_memory_reserved: String,
    system_ephemeral_storage_reserved: String,
    system_pid_reserved: u64,
    kubelet_config_extra_args: Map<String, Value>,
    kubelet_node_config_extra_args: Map<String, Value>,
}

/// The fields that variables ask for.
///
/// # Errors
/// A variable has a type that it cannot have.
pub(super) fn fields(host: &Host) -> Result<Map<String, Value>> {
    Ok(of(host.vars()?, &host.vars()?, host.in_group("kube_control_plane")))
}

fn of(vars: Vars, tracing: &tracing::Vars, control_plane: bool) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| {
        let is_nothing = match &value {
            Value::Null => true,
            Value::Array(values) => values.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if !is_nothing {
            fields.insert(name.to_owned(), value);
        }
    };
    set("featureGates", Value::Object(gates([&vars.kube_feature_gates, &vars.kubelet_feature_gates])));
    set("tlsMinVersion", json!(vars.tls_min_version));
    set("tlsCipherSuites", json!(vars.tls_cipher_suites));
    set("readOnlyPort", json!(vars.kube_read_only_port));
    set("podPidsLimit", json!(vars.kubelet_pod_pids_limit));
    set("shutdownGracePeriod", json!(vars.kubelet_shutdown_grace_period));
    set("shutdownGracePeriodCriticalPods", json!(vars.kubelet_shutdown_grace_period_critical_pods));
    set("seccompDefault", json!(vars.kubelet_seccomp_default));
    // kubeadm's configuration has both on.
    if !vars.kubelet_authentication_token_webhook {
        set("authentication", json!({ "webhook": { "enabled": false } }));
    }
    if !vars.kubelet_authorization_mode_webhook {
        set("authorization", json!({ "mode": "AlwaysAllow" }));
    }
    if vars.kubelet_rotate_server_certificates {
        set("serverTLSBootstrap", json!(true));
    }
    set("address", json!(vars.kubelet_bind_address));
    // Several at a time are several for the kubelet only where it does not pull one after the other.
    if let Some(pulls) = vars.kubelet_max_parallel_image_pulls.filter(|pulls| *pulls > 1) {
        set("serializeImagePulls", json!(false));
        set("maxParallelImagePulls", json!(pulls));
    }
    if let Some(behavior) = &vars.kubelet_swap_behavior {
        set("memorySwap", json!({ "swapBehavior": behavior }));
    }
    set("cpuManagerPolicy", json!(vars.kubelet_cpu_manager_policy));
    set("cpuManagerPolicyOptions", texts(&vars.kubelet_cpu_manager_policy_options));
    set("evictionSoft", texts(&vars.eviction_soft));
    set("evictionSoftGracePeriod", texts(&vars.eviction_soft_grace_period));
    set("evictionMinimumReclaim", texts(&vars.eviction_minimum_reclaim));
    set("tracing", tracing.of_kubelet());
    set("topologyManagerPolicy", json!(vars.kubelet_topology_manager_policy));
    set("topologyManagerScope", json!(vars.kubelet_topology_manager_scope));
    set("streamingConnectionIdleTimeout", json!(vars.kubelet_streaming_connection_idle_timeout));
    set("nodeStatusUpdateFrequency", json!(vars.kubelet_status_update_frequency));
    set("eventRecordQPS", json!(vars.kubelet_event_record_qps));
    set("makeIPTablesUtilChains", json!(vars.kubelet_make_iptables_util_chains));
    set("containerLogMaxFiles", json!(vars.kubelet_logfiles_max_nr));
    set("containerLogMaxSize", json!(vars.kubelet_logfiles_max_size));
    if vars.kube_reserved {
        set(
            "kubeReserved",
            json!({
                "cpu": vars.kube_cpu_reserved,
                "memory": vars.kube_memory_reserved,
                "ephemeral-storage": vars.kube_ephemeral_storage_reserved,
                "pid": vars.kube_pid_reserved.to_string(),
            }),
        );
    }
    if vars.system_reserved {
        set(
            "systemReserved",
            json!({
                "cpu": vars.system_cpu_reserved,
                "memory": vars.system_memory_reserved,
                "ephemeral-storage": vars.system_ephemeral_storage_reserved,
                "pid": vars.system_pid_reserved.to_string(),
            }),
        );
    }
    fields.extend(vars.kubelet_config_extra_args);
    if !control_plane {
        fields.extend(vars.kubelet_node_config_extra_args);
    }
    fields
}

/// A mapping whose values are texts, however they were written.
fn texts(map: &Map<String, Value>) -> Value {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Value::Object(map.iter().map(|(name, value)| (name.clone(), json!(text(value)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn fields(yaml: &str, control_plane: bool) -> Value {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        Value::Object(of(vars.deserialize().unwrap(), &vars.deserialize().unwrap(), control_plane))
    }

    #[test]
    fn nothing_is_said_that_nobody_asked_for() {
        assert_eq!(fields("", false), json!({}));
    }

    #[test]
    fn every_variable_is_a_field() {
        let yaml = "kube_read_only_port: 10255\nkubelet_pod_pids_limit: 77\nkubelet_shutdown_grace_period: 60s\n\
                    kubelet_shutdown_grace_period_critical_pods: 20s\nkubelet_seccomp_default: true\n\
                    kubelet_topology_manager_policy: restricted\nkubelet_topology_manager_scope: pod\n\
                    kubelet_streaming_connection_idle_timeout: 5m\nkubelet_status_update_frequency: 4s\n\
                    kubelet_event_record_qps: 1\nkubelet_make_iptables_util_chains: false\nkubelet_logfiles_max_nr: 3\n\
                    kubelet_logfiles_max_size: 5Mi\nkube_feature_gates: [A=true]\nkubelet_feature_gates: [B=false]\n\
                    tls_min_version: VersionTLS13\ntls_cipher_suites: [X]\nkubelet_authentication_token_webhook: false\n\
                    kubelet_authorization_mode_webhook: false\nkubelet_bind_address: 192.0.2.1\n\
                    kubelet_max_parallel_image_pulls: 3\nkubelet_swap_behavior: LimitedSwap\nkubelet_cpu_manager_policy: static\n\
                    kubelet_cpu_manager_policy_options: {full-pcpus-only: true}\neviction_soft: {memory.available: 200Mi}\n\
                    eviction_soft_grace_period: {memory.available: 30s}\neviction_minimum_reclaim: {memory.available: 0Mi}\n\
                    kubelet_tracing: true\nkubelet_rotate_server_certificates: true";
        let expected = json!({
            "featureGates": { "A": true, "B": false },
            "tlsMinVersion": "VersionTLS13",
            "tlsCipherSuites": ["X"],
            "readOnlyPort": 10255,
            "podPidsLimit": 77,
            "shutdownGracePeriod": "60s",
            "shutdownGracePeriodCriticalPods": "20s",
            "seccompDefault": true,
            "topologyManagerPolicy": "restricted",
            "topologyManagerScope": "pod",
            "streamingConnectionIdleTimeout": "5m",
            "nodeStatusUpdateFrequency": "4s",
            "eventRecordQPS": 1,
            "makeIPTablesUtilChains": false,
            "containerLogMaxFiles": 3,
            "containerLogMaxSize": "5Mi",
            "authentication": { "webhook": { "enabled": false } },
            "authorization": { "mode": "AlwaysAllow" },
            "serverTLSBootstrap": true,
            "address": "192.0.2.1",
            "serializeImagePulls": false,
            "maxParallelImagePulls": 3,
            "memorySwap": { "swapBehavior": "LimitedSwap" },
            "cpuManagerPolicy": "static",
            "cpuManagerPolicyOptions": { "full-pcpus-only": "true" },
            "evictionSoft": { "memory.available": "200Mi" },
            "evictionSoftGracePeriod": { "memory.available": "30s" },
            "evictionMinimumReclaim": { "memory.available": "0Mi" },
            "tracing": { "endpoint": "127.0.0.1:4317", "samplingRatePerMillion": 100 },
        });
        assert_eq!(fields(yaml, false), expected);
    }

    #[test]
    fn what_is_reserved_is_said_where_it_is_switched_on() {
        let yaml = "kube_memory_reserved: 1Gi\nsystem_memory_reserved: 2Gi\n";
        assert_eq!(fields(yaml, false), json!({}));
        let both = fields(&format!("{yaml}kube_reserved: true\nsystem_reserved: true"), false);
        assert_eq!(both["kubeReserved"]["memory"], "1Gi");
        let others = "kube_reserved: true\nsystem_reserved: true\nkube_cpu_reserved: 1m\nkube_ephemeral_storage_reserved: 2Mi\n\
                      kube_pid_reserved: 3\nsystem_cpu_reserved: 4m\nsystem_ephemeral_storage_reserved: 5Mi\nsystem_pid_reserved: 6";
        let each = fields(others, false);
        let said = |kept: &str| {
            ["cpu", "ephemeral-storage", "pid"].map(|what| each[kept][what].as_str().unwrap().to_owned())
        };
        assert_eq!(said("kubeReserved"), ["1m", "2Mi", "3"]);
        assert_eq!(said("systemReserved"), ["4m", "5Mi", "6"]);
        assert_eq!(
            both["systemReserved"],
            json!({
                "cpu": "500m", "memory": "2Gi", "ephemeral-storage": "500Mi", "pid": "1000",
            })
        );
    }

    #[test]
    fn fields_of_ones_own_win_and_those_of_nodes_are_not_for_control_planes() {
        let yaml = "kube_read_only_port: 1\nkubelet_config_extra_args: {readOnlyPort: 2, a: x}\n\
                    kubelet_node_config_extra_args: {a: y}";
        assert_eq!(fields(yaml, true), json!({ "readOnlyPort": 2, "a": "x" }));
        assert_eq!(fields(yaml, false), json!({ "readOnlyPort": 2, "a": "y" }));
    }
}
