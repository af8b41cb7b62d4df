//! What cilium's chart is told: kubespray's variables under the chart's names, the images of the bundle, and how the API is found.

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::common::ClusterVars;

/// The variables that the chart has under another name, each with its type and the places of its value: names with dots between them.
macro_rules! plain {
    ($($variable:ident: $type:ty => $($place:literal),+;)+) => {
        /// Explained in `defaults.yml`.
        #[derive(Debug, Clone, Deserialize)]
        pub(super) struct Plain { $($variable: $type,)+ }

        impl Plain {
            fn tell(&self, values: &mut Value) {
                $($(set(values, $place, json!(self.$variable));)+)+
            }
        }

        /// The variables and these places.
        #[cfg(test)]
        pub(super) const PLACES: &[(&str, &[&str])] = &[$((stringify!($variable), &[$($place),+])),+];
    };
}

plain! {
    cilium_debug: bool => "debug.enabled";
    cilium_mtu: u32 => "MTU";
    cilium_enable_ipv4: bool => "ipv4.enabled";
    cilium_l2announcements: bool => "l2announcements.enabled";
    cilium_encryption_enabled: bool => "encryption.enabled";
    cilium_encryption_type: String => "encryption.type";
    cilium_encryption_node_encryption: bool => "encryption.nodeEncryption";
    cilium_agent_health_port: u16 => "healthPort";
    cilium_identity_allocation_mode: String => "identityAllocationMode";
    cilium_memory_limit: String => "resources.limits.memory";
    cilium_cpu_limit: String => "resources.limits.cpu";
    cilium_memory_requests: String => "resources.requests.memory";
    cilium_cpu_requests: String => "resources.requests.cpu";
    cilium_loadbalancer_mode: String => "loadBalancer.mode";
    cilium_enable_prometheus: bool => "prometheus.enabled";
    cilium_agent_scrape_port: u16 => "prometheus.port";
    cilium_operator_scrape_port: u16 => "operator.prometheus.port";
    cilium_monitor_aggregation: String => "bpf.monitorAggregation";
    cilium_monitor_aggregation_flags: String => "bpf.monitorFlags";
    cilium_kube_proxy_replacement: bool => "kubeProxyReplacement";
    cilium_preallocate_bpf_maps: bool => "bpf.preallocateMaps";
    cilium_bpf_map_dynamic_size_ratio: f64 => "bpf.mapDynamicSizeRatio";
    cilium_enable_bpf_masquerade: bool => "bpf.masquerade";
    cilium_enable_host_legacy_routing: bool => "bpf.hostLegacyRouting";
    cilium_auto_direct_node_routes: bool => "autoDirectNodeRoutes";
    cilium_enable_bandwidth_manager: bool => "bandwidthManager.enabled";
    cilium_enable_bandwidth_manager_bbr: bool => "bandwidthManager.bbr";
    cilium_ip_masq_agent_enable: bool => "ipMasqAgent.enabled";
    cilium_enable_host_firewall: bool => "hostFirewall.enabled";
    cilium_policy_audit_mode: bool => "policyAuditMode";
    cilium_enable_hubble: bool => "hubble.enabled", "hubble.relay.enabled";
    cilium_hubble_scrape_port: u16 => "hubble.metrics.port";
    cilium_ipam_mode: String => "ipam.mode";
    cilium_agent_extra_args: Vec<Value> => "extraArgs";
    cilium_agent_extra_volumes: Vec<Value> => "extraVolumes";
    cilium_agent_extra_volume_mounts: Vec<Value> => "extraVolumeMounts";
    cilium_agent_extra_env_vars: Vec<Value> => "extraEnv";
    cilium_operator_extra_args: Vec<Value> => "operator.extraArgs";
    cilium_operator_extra_volumes: Vec<Value> => "operator.extraVolumes";
    cilium_operator_extra_volume_mounts: Vec<Value> => "operator.extraVolumeMounts";
    cilium_operator_tolerations: Vec<Value> => "operator.tolerations";
    cilium_cluster_id: u8 => "cluster.id";
    cilium_cluster_name: String => "cluster.name";
    cilium_cni_exclusive: bool => "cni.exclusive";
    cilium_cni_log_file: String => "cni.logFile";
    cilium_cgroup_auto_mount: bool => "cgroup.autoMount.enabled";
    cilium_cgroup_host_root: String => "cgroup.hostRoot";
    cilium_enable_ipv4_masquerade: bool => "enableIPv4Masquerade";
    cilium_enable_well_known_identities: bool => "wellKnownIdentities.enabled";
}

/// Those of which more than a name has to be worked out. Explained in `defaults.yml`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Vars {
    cilium_tunnel_mode: String,
    cilium_native_routing_cidr: String,
    cilium_native_routing_cidr_ipv6: String,
    cilium_pool_cidr: Option<String>,
    cilium_pool_mask_size: Option<u8>,
    cilium_pool_cidr_ipv6: Option<String>,
    cilium_pool_mask_size_ipv6: Option<u8>,
    cilium_operator_replicas: Option<u32>,
    cilium_enable_portmap: bool,
    cilium_non_masquerade_cidrs: Vec<String>,
    cilium_masq_link_local: bool,
    cilium_enable_hubble_ui: bool,
    cilium_hubble_metrics: Vec<String>,
    cilium_hubble_event_buffer_capacity: Option<u32>,
    cilium_hubble_event_queue_size: Option<u32>,
    cilium_hubble_peer_service_cluster_domain: String,
    cilium_dns_proxy_enable_transparent_mode: Option<bool>,
    enable_nodelocaldns: bool,
    cilium_config_extra_vars: Map<String, Value>,
    cilium_extra_values: Map<String, Value>,
}

/// Where the pods find the API, before there is a network of pods.
#[derive(Debug, Clone, Default)]
pub(super) struct Api {
    /// `HOST:PORT`.
    pub(super) endpoint: String,
    /// The address behind a name of somebody else's load balancer.
    pub(super) address: Option<String>,
}

/// All values. `machines`: how many nodes the cluster has; `image`: gives the reference of an image of the catalogue.
///
/// # Errors
/// Those of `image`.
pub(super) fn of(
    vars: &Vars,
    plain: &Plain,
    cluster: &ClusterVars,
    api: &Api,
    machines: usize,
    image: impl Fn(&str) -> Result<String>,
) -> Result<Value> {
    let (host, port) = api.endpoint.rsplit_once(':').unwrap_or((&api.endpoint, "6443"));
    // Another address behind the same name starts the pods anew.
    let annotations = match &api.address {
        Some(address) => json!({ "muster/api-address": address }),
        None => json!({}),
    };
    let pods = vars.cilium_pool_cidr.as_ref().unwrap_or(&cluster.kube_pods_subnet);
    let size = vars.cilium_pool_mask_size.unwrap_or(cluster.kube_network_node_prefix);
    // Two of them are never on one machine.
    let replicas = vars.cilium_operator_replicas.unwrap_or(if machines > 1 { 2 } else { 1 });
    let metrics = &vars.cilium_hubble_metrics;
    // They go into a ConfigMap, where everything is a text.
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let config = vars.cilium_config_extra_vars.iter();
    let config: Map<String, Value> = config.map(|(name, value)| (name.clone(), json!(text(value)))).collect();
    let mut values = json!({
        "k8sServiceHost": host,
        "k8sServicePort": port,
        "podAnnotations": annotations,
        // Pods begin anew with another configuration, and only then.
        "rollOutCiliumPods": true,
        "ipv6": { "enabled": cluster.ipv6_stack },
        "image": { "override": image("cilium")? },
        "operator": {
            "image": { "override": image("cilium-operator")? },
            "podAnnotations": annotations,
            "replicas": replicas,
            "rollOutPods": true,
        },
        "envoy": { "image": { "override": image("cilium-envoy")? }, "podAnnotations": annotations, "rollOutPods": true },
        // A job that has ended stays: by it is seen that it has run.
        "certgen": { "image": { "override": image("cilium-certgen")? }, "ttlSecondsAfterFinished": null },
        "hubble": {
            "metrics": { "enabled": if metrics.is_empty() { Value::Null } else { json!(metrics) } },
            "peerService": { "clusterDomain": vars.cilium_hubble_peer_service_cluster_domain },
            "relay": { "image": { "override": image("hubble-relay")? }, "rollOutPods": true },
            // What helm itself makes is another one each time.
            "tls": { "auto": { "method": "cronJob" } },
            "ui": {
                "enabled": plain.cilium_enable_hubble && vars.cilium_enable_hubble_ui,
                "frontend": { "image": { "override": image("hubble-ui")? } },
                "backend": { "image": { "override": image("hubble-ui-backend")? } },
                "rollOutPods": true,
            },
        },
        "extraConfig": config,
        "ipam": { "operator": { "clusterPoolIPv4PodCIDRList": [pods], "clusterPoolIPv4MaskSize": size } },
    });
    let pods_ipv6 = vars.cilium_pool_cidr_ipv6.as_ref().unwrap_or(&cluster.kube_pods_subnet_ipv6);
    if cluster.ipv6_stack {
        let size = vars.cilium_pool_mask_size_ipv6.unwrap_or(cluster.kube_network_node_prefix_ipv6);
        set(&mut values, "ipam.operator.clusterPoolIPv6PodCIDRList", json!([pods_ipv6]));
        set(&mut values, "ipam.operator.clusterPoolIPv6MaskSize", json!(size));
    }
    plain.tell(&mut values);
    if vars.cilium_tunnel_mode == "disabled" {
        let routed = Some(&vars.cilium_native_routing_cidr).filter(|cidr| !cidr.is_empty());
        set(&mut values, "routingMode", json!("native"));
        set(&mut values, "ipv4NativeRoutingCIDR", json!(routed.unwrap_or(pods)));
        if cluster.ipv6_stack {
            let routed = Some(&vars.cilium_native_routing_cidr_ipv6).filter(|cidr| !cidr.is_empty());
            set(&mut values, "ipv6NativeRoutingCIDR", json!(routed.unwrap_or(pods_ipv6)));
        }
    } else {
        set(&mut values, "routingMode", json!("tunnel"));
        set(&mut values, "tunnelProtocol", json!(vars.cilium_tunnel_mode));
        set(&mut values, "ipv4NativeRoutingCIDR", json!(vars.cilium_native_routing_cidr));
    }
    if vars.cilium_enable_portmap {
        set(&mut values, "cni.chainingMode", json!("portmap"));
    }
    if plain.cilium_ip_masq_agent_enable {
        let networks = &vars.cilium_non_masquerade_cidrs;
        let config = json!({ "nonMasqueradeCIDRs": networks, "masqLinkLocal": vars.cilium_masq_link_local });
        set(&mut values, "ipMasqAgent.config", config);
    }
    let further = [
        ("hubble.eventBufferCapacity", vars.cilium_hubble_event_buffer_capacity.map(|number| json!(number))),
        ("hubble.eventQueueSize", vars.cilium_hubble_event_queue_size.map(|number| json!(number))),
        (
            "dnsProxy.enableTransparentMode",
            vars.cilium_dns_proxy_enable_transparent_mode.map(|yes| json!(yes)),
        ),
    ];
    for (place, value) in further {
        if let Some(value) = value {
            set(&mut values, place, value);
        }
    }
    // As with `helm --values`, the last one counts.
    merge(&mut values, &Value::Object(vars.cilium_extra_values.clone()));
    // Else no answer of the cache comes back to pods whose questions cilium looks into (cilium's issue 33144).
    if vars.enable_nodelocaldns
        && carries_services(&values)
        && values["dnsProxy"]["enableTransparentMode"].is_null()
    {
        set(&mut values, "dnsProxy.enableTransparentMode", json!(false));
    }
    Ok(values)
}

/// Whether these values let cilium carry services. The chart takes it as a text, too.
pub(super) fn carries_services(values: &Value) -> bool {
    let carries = &values["kubeProxyReplacement"];
    carries == true || carries == "true"
}

/// Sets the value at a place, with what is above it.
fn set(values: &mut Value, place: &str, value: Value) {
    let at = place.split('.').fold(values, |at, name| &mut at[name]);
    *at = value;
}

/// Puts values over others: mappings name by name, everything else as a whole.
fn merge(values: &mut Value, over: &Value) {
    match (values, over) {
        (Value::Object(values), Value::Object(over)) => {
            for (name, value) in over {
                merge(values.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (values, over) => *values = over.clone(),
    }
}
