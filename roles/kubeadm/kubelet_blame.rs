//! Which variable a kubelet means that does not start. It names fields of its configuration, feature gates and its own arguments.

use muster_inventory::{HostVars, Value};

use crate::preflight::place;

/// Fields of `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1), and the variables that set them ([`super::kubelet_settings`], and
/// the configuration of all kubelets).
const FIELDS: [(&str, &str); 35] = [
    ("maxPods", "kubelet_max_pods"),
    ("podPidsLimit", "kubelet_pod_pids_limit"),
    ("shutdownGracePeriodCriticalPods", "kubelet_shutdown_grace_period_critical_pods"),
    ("shutdownGracePeriod", "kubelet_shutdown_grace_period"),
    ("seccompDefault", "kubelet_seccomp_default"),
    ("tlsMinVersion", "tls_min_version"),
    ("tlsCipherSuites", "tls_cipher_suites"),
    ("readOnlyPort", "kube_read_only_port"),
    ("address", "kubelet_bind_address"),
    ("maxParallelImagePulls", "kubelet_max_parallel_image_pulls"),
    ("swapBehavior", "kubelet_swap_behavior"),
    ("memorySwap", "kubelet_swap_behavior"),
    ("failSwapOn", "kubelet_fail_swap_on"),
    ("cpuManagerPolicyOptions", "kubelet_cpu_manager_policy_options"),
    ("cpuManagerPolicy", "kubelet_cpu_manager_policy"),
    ("topologyManagerPolicy", "kubelet_topology_manager_policy"),
    ("topologyManagerScope", "kubelet_topology_manager_scope"),
    ("evictionSoftGracePeriod", "eviction_soft_grace_period"),
    ("evictionSoft", "eviction_soft"),
    ("evictionMinimumReclaim", "eviction_minimum_reclaim"),
    ("evictionHard", "eviction_hard"),
    ("imageGCHighThresholdPercent", "kubelet_image_gc_high_threshold"),
    ("imageGCLowThresholdPercent", "kubelet_image_gc_low_threshold"),
    ("streamingConnectionIdleTimeout", "kubelet_streaming_connection_idle_timeout"),
    ("nodeStatusUpdateFrequency", "kubelet_status_update_frequency"),
    ("eventRecordQPS", "kubelet_event_record_qps"),
    ("makeIPTablesUtilChains", "kubelet_make_iptables_util_chains"),
    ("containerLogMaxFiles", "kubelet_logfiles_max_nr"),
    ("containerLogMaxSize", "kubelet_logfiles_max_size"),
    ("kubeReserved", "kube_reserved"),
    ("systemReserved", "system_reserved"),
    ("clusterDomain", "dns_domain"),
    ("resolvConf", "kube_resolv_conf"),
    ("tracing", "kubelet_tracing"),
    ("serverTLSBootstrap", "kubelet_rotate_server_certificates"),
];

/// What a kubelet said of its end, without what says nothing to anybody: that its command failed, and all of its configuration.
pub(super) fn in_short(words: &str) -> String {
    let words = words.trim();
    let said = words.split_once("\"command failed\" err=").map_or(words, |(_, said)| said);
    let said = said.trim_start_matches('<').trim();
    let said = said.strip_prefix('"').unwrap_or(said);
    let said = said.strip_suffix('"').unwrap_or(said).replace("\\\"", "\"");
    let said = said.split(", path: &").next().unwrap_or_default();
    match said.char_indices().nth(400) {
        Some((at, _)) => format!("{}...", &said[..at]),
        None => said.to_owned(),
    }
}

/// The variable that these words are about and where it was set, as `kubelet_max_pods (FILE:LINE:COLUMN)`; `None` where it cannot be
/// told.
pub(super) fn about(words: &str, vars: &HostVars, is_control_plane: bool) -> Option<String> {
    let shown = |name: &str| format!("{name}{}", place(vars, name));
    let value = |name: &str| vars.get(name).ok().flatten();
    // What wins comes first.
    let (fields, flags): (&[&str], &[&str]) = match is_control_plane {
        true => (&["kubelet_config_extra_args"], &["kubelet_custom_flags"]),
        false => (
            &["kubelet_node_config_extra_args", "kubelet_config_extra_args"],
            &["kubelet_node_custom_flags", "kubelet_custom_flags"],
        ),
    };
    let has_field = |name: &&&str| {
        let value = value(name);
        let keys = value.as_ref().and_then(Value::as_map).into_iter().flat_map(|map| map.keys());
        keys.into_iter().any(|key| names(words, key))
    };
    let has_item = |name: &&&str, key: &dyn Fn(&str) -> String| {
        let value = value(name);
        let mut items = value.as_ref().and_then(Value::as_list).into_iter().flatten();
        items.any(|item| item.as_str().is_some_and(|item| names(words, &key(item))))
    };
    let until_equals = |item: &str| item.split('=').next().unwrap_or_default().trim().to_owned();
    let gates = ["kubelet_feature_gates", "kube_feature_gates"];
    // A default is never wrong.
    let is_meant =
        |(field, variable): &&(&str, &str)| names(words, field) && !place(vars, variable).is_empty();
    let field = || FIELDS.iter().find(is_meant).map(|(_, variable)| variable);
    fields
        .iter()
        .find(has_field)
        .or_else(|| flags.iter().find(|name| has_item(name, &until_equals)))
        .or_else(|| gates.iter().find(|name| has_item(name, &until_equals)))
        .or_else(field)
        .map(|name| shown(name))
}

/// Whether a text names something, and not something whose name only has it within.
fn names(text: &str, name: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric();
    let mut found = text.match_indices(name);
    !name.is_empty()
        && found.any(|(at, _)| {
            !text[..at].ends_with(is_of_name) && !text[at + name.len()..].starts_with(is_of_name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    #[test]
    fn words_lead_to_the_variable_and_its_place() {
        let yaml = "kubelet_max_pods: -5\nkubelet_feature_gates: [Nonsense=true]\nkubelet_custom_flags: [--nonsense=1]\n\
                    kubelet_config_extra_args: {podsPerCore: -1}\nkubelet_node_config_extra_args: {maxPods: -1}\n\
                    kubelet_shutdown_grace_period: 1s\nkubelet_shutdown_grace_period_critical_pods: 2s\n";
        let vars = variables(yaml);
        for (words, is_control_plane, line) in [
            (
                "invalid configuration: maxPods (--max-pods) -5 must not be negative",
                true,
                "kubelet_max_pods 1",
            ),
            ("invalid configuration: maxPods (--max-pods) -1", false, "kubelet_node_config_extra_args 5"),
            ("invalid configuration: podsPerCore (--pods-per-core) -1", true, "kubelet_config_extra_args 4"),
            ("unrecognized feature gate: Nonsense", true, "kubelet_feature_gates 2"),
            ("failed to parse kubelet flag: unknown flag: --nonsense", true, "kubelet_custom_flags 3"),
            (
                "shutdownGracePeriodCriticalPods 2s is longer",
                true,
                "kubelet_shutdown_grace_period_critical_pods 7",
            ),
        ] {
            let told = about(words, &vars, is_control_plane).unwrap();
            let (name, place) = told.split_once(" (").unwrap();
            let number = place.split(':').rev().nth(1).unwrap();
            assert_eq!(format!("{name} {number}"), line, "{words}: {told}");
        }
        for words in ["", "it has no opinion", "xmaxPods", "Nonsense2", "the address is in use"] {
            assert_eq!(about(words, &vars, true), None, "{words}");
        }
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let said = r#""command failed" err="failed to validate kubelet configuration, error: invalid configuration: maxPods (--max-pods) -5 must not be a negative number, path: &TypeMeta{Kind:,APIVersion:,}""#;
        assert_eq!(
            in_short(said),
            "failed to validate kubelet configuration, error: invalid configuration: maxPods (--max-pods) -5 must not be a negative number"
        );
        assert_eq!(in_short(r#""command failed" err="it says \"x\"""#), r#"it says "x""#);
        assert_eq!(in_short(&"x".repeat(500)), "x".repeat(400) + "...");
    }

    #[test]
    fn each_variable_is_there() {
        let defaults = [include_str!("defaults.yml"), crate::COMMON_DEFAULTS].concat();
        let other: String = crate::ROLES.iter().map(|role| role.defaults).collect();
        for (_, variable) in FIELDS {
            let told = |text: &str| {
                text.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{variable}:")))
            };
            assert!(told(&defaults) || told(&other), "{variable}");
        }
    }
}
