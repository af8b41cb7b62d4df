//! What the chart is told for variables as users write them, and what comes of it with upstream's chart where it is there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::values::PLACES;
use super::*;
use crate::common::ClusterVars;
use crate::preflight::fixture::variables;

/// The values for these variables in a cluster of so many machines.
fn values_in(machines: usize, api: &Api, yaml: &str) -> Value {
    let vars = variables(&format!("kube_network_plugin: cilium\nskydns_server: 10.233.0.3\n{yaml}"));
    let (own, plain, cluster): (Vars, Plain, ClusterVars) =
        (vars.deserialize().unwrap(), vars.deserialize().unwrap(), vars.deserialize().unwrap());
    values::of(&own, &plain, &cluster, api, machines, |name| Ok(format!("image/of:{name}"))).unwrap()
}

fn values(yaml: &str) -> Value {
    values_in(3, &Api { endpoint: "192.0.2.1:6443".to_owned(), address: None }, yaml)
}

/// The value at a place: names with dots between them.
fn at<'v>(values: &'v Value, place: &str) -> &'v Value {
    place.split('.').fold(values, |at, name| &at[name])
}

/// The value of a variable in a text of YAML.
fn written(value: &Value) -> String {
    value.to_string()
}

#[test]
fn each_variable_with_a_counterpart_becomes_a_value_of_the_chart() {
    let usual = values("");
    for (variable, places) in PLACES {
        for place in *places {
            let other = match at(&usual, place) {
                Value::Bool(yes) => json!(!yes),
                Value::Number(number) if number.is_f64() => json!(0.25),
                Value::Number(_) => json!(77),
                Value::String(_) => json!("another"),
                Value::Array(_) => json!([{ "name": "another" }]),
                found => panic!("{variable} at {place}: {found}"),
            };
            let told = values(&format!("{variable}: {}", written(&other)));
            assert_eq!(at(&told, place), &other, "{variable} at {place}");
        }
    }
}

#[test]
fn what_has_to_be_worked_out_is_told_as_the_variables_say() {
    for (yaml, place, expected) in [
        ("cilium_kube_proxy_replacement: strict", "kubeProxyReplacement", json!(true)),
        ("cilium_kube_proxy_replacement: probe", "kubeProxyReplacement", json!(false)),
        ("cilium_kube_proxy_replacement: partial", "kubeProxyReplacement", json!(false)),
        ("cilium_kube_proxy_replacement: disabled", "kubeProxyReplacement", json!(false)),
        ("", "routingMode", json!("tunnel")),
        ("", "tunnelProtocol", json!("vxlan")),
        ("cilium_tunnel_mode: geneve", "tunnelProtocol", json!("geneve")),
        ("cilium_tunnel_mode: disabled", "routingMode", json!("native")),
        ("cilium_tunnel_mode: disabled", "ipv4NativeRoutingCIDR", json!("10.233.64.0/18")),
        (
            "cilium_tunnel_mode: disabled\ncilium_native_routing_cidr: 10.0.0.0/8",
            "ipv4NativeRoutingCIDR",
            json!("10.0.0.0/8"),
        ),
        ("", "ipam.operator.clusterPoolIPv4PodCIDRList", json!(["10.233.64.0/18"])),
        (
            "cilium_pool_cidr: 10.233.96.0/20",
            "ipam.operator.clusterPoolIPv4PodCIDRList",
            json!(["10.233.96.0/20"]),
        ),
        ("", "ipam.operator.clusterPoolIPv4MaskSize", json!(24)),
        ("cilium_pool_mask_size: 26", "ipam.operator.clusterPoolIPv4MaskSize", json!(26)),
        ("", "ipv6.enabled", json!(false)),
        ("ipv6_stack: true", "ipv6.enabled", json!(true)),
        ("", "ipam.operator.clusterPoolIPv6PodCIDRList", Value::Null),
        (
            "ipv6_stack: true",
            "ipam.operator.clusterPoolIPv6PodCIDRList",
            json!(["fd85:ee78:d8a6:8607::1:0000/112"]),
        ),
        (
            "ipv6_stack: true\ncilium_pool_cidr_ipv6: fd00::/112",
            "ipam.operator.clusterPoolIPv6PodCIDRList",
            json!(["fd00::/112"]),
        ),
        ("", "ipam.operator.clusterPoolIPv6MaskSize", Value::Null),
        ("ipv6_stack: true", "ipam.operator.clusterPoolIPv6MaskSize", json!(120)),
        (
            "ipv6_stack: true\ncilium_pool_mask_size_ipv6: 119",
            "ipam.operator.clusterPoolIPv6MaskSize",
            json!(119),
        ),
        ("ipv6_stack: true", "ipv6NativeRoutingCIDR", Value::Null),
        (
            "ipv6_stack: true\ncilium_tunnel_mode: disabled",
            "ipv6NativeRoutingCIDR",
            json!("fd85:ee78:d8a6:8607::1:0000/112"),
        ),
        (
            "ipv6_stack: true\ncilium_tunnel_mode: disabled\ncilium_native_routing_cidr_ipv6: fd00::/64",
            "ipv6NativeRoutingCIDR",
            json!("fd00::/64"),
        ),
        ("cilium_tunnel_mode: disabled", "ipv6NativeRoutingCIDR", Value::Null),
        ("", "operator.replicas", json!(2)),
        ("cilium_operator_replicas: 3", "operator.replicas", json!(3)),
        ("", "cni.chainingMode", Value::Null),
        ("cilium_enable_portmap: true", "cni.chainingMode", json!("portmap")),
        ("cilium_non_masquerade_cidrs: [10.0.0.0/8]", "ipMasqAgent.config", Value::Null),
        (
            "cilium_ip_masq_agent_enable: true\ncilium_non_masquerade_cidrs: [10.0.0.0/8]\ncilium_masq_link_local: true",
            "ipMasqAgent.config",
            json!({ "nonMasqueradeCIDRs": ["10.0.0.0/8"], "masqLinkLocal": true }),
        ),
        ("", "hubble.ui.enabled", json!(false)),
        ("cilium_enable_hubble: true", "hubble.ui.enabled", json!(true)),
        ("cilium_enable_hubble: true\ncilium_enable_hubble_ui: false", "hubble.ui.enabled", json!(false)),
        ("cilium_enable_hubble_ui: true", "hubble.ui.enabled", json!(false)),
        ("cilium_hubble_metrics: [dns, drop]", "hubble.metrics.enabled", json!(["dns", "drop"])),
        ("cilium_hubble_event_buffer_capacity: 1023", "hubble.eventBufferCapacity", json!(1023)),
        ("cilium_hubble_event_queue_size: 99", "hubble.eventQueueSize", json!(99)),
        ("dns_domain: example.org", "hubble.peerService.clusterDomain", json!("example.org")),
        (
            "cilium_hubble_peer_service_cluster_domain: example.net",
            "hubble.peerService.clusterDomain",
            json!("example.net"),
        ),
        ("", "dnsProxy", Value::Null),
        ("enable_nodelocaldns: true", "dnsProxy", Value::Null),
        ("cilium_kube_proxy_replacement: true", "dnsProxy", Value::Null),
        (
            "enable_nodelocaldns: true\ncilium_kube_proxy_replacement: true",
            "dnsProxy.enableTransparentMode",
            json!(false),
        ),
        (
            "enable_nodelocaldns: true\ncilium_extra_values: {kubeProxyReplacement: 'true'}",
            "dnsProxy.enableTransparentMode",
            json!(false),
        ),
        (
            "enable_nodelocaldns: true\ncilium_kube_proxy_replacement: true\ncilium_dns_proxy_enable_transparent_mode: true",
            "dnsProxy.enableTransparentMode",
            json!(true),
        ),
        ("cilium_dns_proxy_enable_transparent_mode: false", "dnsProxy.enableTransparentMode", json!(false)),
        (
            "cilium_config_extra_vars: {a: true, b: x, c: 7}",
            "extraConfig",
            json!({ "a": "true", "b": "x", "c": "7" }),
        ),
        ("", "image.override", json!("image/of:cilium")),
        ("", "operator.image.override", json!("image/of:cilium-operator")),
    ] {
        assert_eq!(at(&values(yaml), place), &expected, "{yaml} at {place}");
    }
}

#[test]
fn values_of_the_users_own_come_over_those_of_the_variables_name_by_name() {
    let told = values(
        "cilium_debug: true\ncilium_extra_values: {debug: {verbose: flow}, ipam: {mode: multi-pool}, operator: {replicas: 5}}",
    );
    assert_eq!(told["debug"], json!({ "enabled": true, "verbose": "flow" }));
    assert_eq!((&told["ipam"]["mode"], &told["operator"]["replicas"]), (&json!("multi-pool"), &json!(5)));
    assert_eq!(told["operator"]["image"]["override"], "image/of:cilium-operator");
}

#[test]
fn pods_find_the_api_as_their_machine_does_and_begin_anew_when_a_name_leads_elsewhere() {
    let api = |endpoint: &str, address: Option<&str>| Api {
        endpoint: endpoint.to_owned(),
        address: address.map(str::to_owned),
    };
    let told = values_in(1, &api("127.0.0.1:6443", None), "");
    assert_eq!((&told["k8sServiceHost"], &told["k8sServicePort"]), (&json!("127.0.0.1"), &json!("6443")));
    assert_eq!((&told["podAnnotations"], &told["operator"]["replicas"]), (&json!({}), &json!(1)));
    let named = values_in(3, &api("api.example.org:443", Some("192.0.2.9")), "");
    assert_eq!(
        (&named["k8sServiceHost"], &named["k8sServicePort"]),
        (&json!("api.example.org"), &json!("443"))
    );
    for annotations in [&named["podAnnotations"], &named["operator"]["podAnnotations"]] {
        assert_eq!(annotations, &json!({ "muster/api-address": "192.0.2.9" }));
    }
}

#[test]
fn the_catalogue_gives_what_is_asked_for() {
    let asks = |yaml: &str| {
        let vars = variables(yaml);
        [has_envoy(&vars), has_hubble(&vars)]
    };
    assert_eq!(asks("kube_network_plugin: flannel\ncilium_enable_hubble: true"), [false, false]);
    assert_eq!(asks("kube_network_plugin: cilium"), [true, false]);
    assert_eq!(asks("kube_network_plugin: cilium\ncilium_enable_hubble: true"), [true, true]);
    let without = "kube_network_plugin: cilium\ncilium_extra_values: {envoy: {enabled: false}}";
    assert_eq!(asks(without), [false, false]);
}

#[test]
fn services_are_carried_where_a_variable_or_a_value_of_the_chart_says_so() {
    for (yaml, carries) in [
        ("", false),
        ("cilium_kube_proxy_replacement: true", true),
        ("cilium_extra_values: {kubeProxyReplacement: true}", true),
        ("cilium_extra_values: {kubeProxyReplacement: 'true'}", true),
        ("cilium_kube_proxy_replacement: true\ncilium_extra_values: {kubeProxyReplacement: false}", false),
        ("cilium_kube_proxy_replacement: true\ncilium_extra_values: {debug: {enabled: true}}", true),
    ] {
        assert_eq!(carries_services(&variables(yaml)), carries, "{yaml}");
        // The agents are told the same.
        assert_eq!(values(yaml)["kubeProxyReplacement"].to_string().contains("true"), carries, "{yaml}");
    }
    let config = |carries: &str| {
        let data = json!({ "kube-proxy-replacement": carries });
        [json!({ "kind": "ConfigMap", "metadata": { "name": "cilium-config" }, "data": data })]
    };
    assert!(are_to_carry_services(&config("true")) && !are_to_carry_services(&config("false")));
    assert!(!are_to_carry_services(&[]));
}

/// helm, and upstream's chart.
fn upstream() -> (PathBuf, PathBuf) {
    let named =
        |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set")));
    (named("MUSTER_HELM"), named("MUSTER_CILIUM_CHART"))
}

#[test]
#[ignore = "it needs helm and upstream's chart, which MUSTER_HELM and MUSTER_CILIUM_CHART name"]
fn upstreams_chart_takes_what_it_is_told() {
    let (helm, chart) = upstream();
    let rendered = |yaml: &str| {
        let objects = of_chart(&helm, &chart, &values(yaml), "1.37.2").unwrap();
        let name =
            |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
        objects.into_iter().map(|object| (name(&object), object)).collect::<BTreeMap<_, _>>()
    };
    let usual = rendered("");
    let config = &usual["ConfigMap cilium-config"]["data"];
    for (setting, expected) in [
        ("routing-mode", "tunnel"),
        ("tunnel-protocol", "vxlan"),
        ("cluster-pool-ipv4-cidr", "10.233.64.0/18"),
        ("cluster-pool-ipv4-mask-size", "24"),
        ("ipam", "cluster-pool"),
        ("kube-proxy-replacement", "false"),
        ("enable-ipv6", "false"),
    ] {
        assert_eq!(config[setting], expected, "{setting}: {config:#}");
    }
    let of_both = rendered("ipv6_stack: true");
    let config = &of_both["ConfigMap cilium-config"]["data"];
    for (setting, expected) in [
        ("enable-ipv4", "true"),
        ("enable-ipv6", "true"),
        ("cluster-pool-ipv6-cidr", "fd85:ee78:d8a6:8607::1:0000/112"),
        ("cluster-pool-ipv6-mask-size", "120"),
    ] {
        assert_eq!(config[setting], expected, "{setting}: {config:#}");
    }
    let replacing: Vec<Value> = rendered("cilium_kube_proxy_replacement: true").into_values().collect();
    assert!(
        are_to_carry_services(&replacing)
            && !are_to_carry_services(&usual.values().cloned().collect::<Vec<_>>())
    );
    let agent = &usual["DaemonSet cilium"]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(agent["image"], "image/of:cilium");
    assert_eq!(agent["ports"][0]["containerPort"], 9879);
    let host = json!({ "name": "KUBERNETES_SERVICE_HOST", "value": "192.0.2.1" });
    assert!(agent["env"].as_array().unwrap().contains(&host), "{agent:#}");
    assert_eq!(usual["Deployment cilium-operator"]["spec"]["replicas"], 2);
    assert!(usual.contains_key("DaemonSet cilium-envoy") && !usual.contains_key("Deployment hubble-relay"));
    // It comes to the same each time, with Hubble's certificates too.
    let hubble = "cilium_enable_hubble: true\ncilium_hubble_metrics: [dns]\ncilium_enable_prometheus: true";
    let with_hubble = rendered(hubble);
    assert_eq!(with_hubble, rendered(hubble));
    assert!(with_hubble.contains_key("Deployment hubble-ui"));
    for (name, object) in &with_hubble {
        assert!(!object.to_string().contains("quay.io"), "{name}: an image of upstream's own: {object:#}");
        assert_eq!(object["spec"]["ttlSecondsAfterFinished"], Value::Null, "{name}");
    }
    let wrong = of_chart(&helm, &chart, &values("cilium_extra_values: {tunnel: vxlan}"), "1.37.2");
    assert!(wrong.unwrap_err().to_string().contains("tunnel was deprecated"));
}

#[test]
fn pods_go_on_to_get_addresses_as_they_do() {
    let config = |ipam: &str, networks: &str, size: &str| {
        let data =
            json!({ "ipam": ipam, "cluster-pool-ipv4-cidr": networks, "cluster-pool-ipv4-mask-size": size });
        json!({ "kind": "ConfigMap", "metadata": { "name": "cilium-config" }, "data": data })
    };
    let usual = config("cluster-pool", "10.233.64.0/18", "24");
    let refused = |wanted: &Value| other_addresses(Some(wanted), &usual);
    assert_eq!(refused(&usual), None);
    assert_eq!(refused(&config("cluster-pool", "10.233.64.0/18 10.234.0.0/16", "24")), None, "a larger pool");
    for (wanted, line) in [
        (config("kubernetes", "", ""), "cilium_ipam_mode: cluster-pool"),
        (config("cluster-pool", "10.233.64.0/20", "24"), "cilium_pool_cidr: 10.233.64.0/18"),
        (config("cluster-pool", "10.233.64.0/180", "24"), "cilium_pool_cidr: 10.233.64.0/18"),
        (config("cluster-pool", "10.233.64.0/18", "25"), "cilium_pool_mask_size: 24"),
    ] {
        let why = refused(&wanted).unwrap();
        assert!(why.contains(&format!(": set {line}, or")), "{why}");
    }
    let of_kubernetes = json!({ "kind": "ConfigMap", "metadata": { "name": "cilium-config" }, "data": { "ipam": "kubernetes" } });
    assert_eq!(other_addresses(Some(&of_kubernetes), &of_kubernetes), None);
    assert!(other_addresses(Some(&usual), &of_kubernetes).is_some());
    let another = json!({ "kind": "ConfigMap", "metadata": { "name": "another" }, "data": { "ipam": "x" } });
    assert_eq!((other_addresses(Some(&usual), &another), other_addresses(None, &usual)), (None, None));
}
