//! The objects of calico's own kinds: the pool of pods' addresses, and what its programs are told. They are written as they lie in
//! the API server (`crd.projectcalico.org/v1`), where calicoctl(1) finds them as `projectcalico.org/v3`.

use serde_json::{Value, json};

use super::Vars;
use crate::common::ClusterVars;

/// All of them.
pub(super) fn of(vars: &Vars, cluster: &ClusterVars) -> Vec<Value> {
    let mut objects = vec![pool(vars, cluster), felix(vars), addresses(vars)];
    if vars.ipv6_stack {
        objects.push(pool_of_ipv6(vars, cluster));
    }
    if vars.calico_network_backend == "bird" {
        objects.push(bgp(vars, cluster));
    }
    objects
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

fn pool(vars: &Vars, cluster: &ClusterVars) -> Value {
    let spec = json!({
        "cidr": vars.calico_pool_cidr.as_ref().unwrap_or(&cluster.kube_pods_subnet),
        "blockSize": vars.calico_pool_blocksize,
        "ipipMode": vars.calico_ipip_mode,
        "vxlanMode": vars.calico_vxlan_mode,
        "natOutgoing": vars.nat_outgoing,
        "nodeSelector": "all()",
        "allowedUses": ["Workload", "Tunnel"],
    });
    object("IPPool", &vars.calico_pool_name, spec)
}

/// The pool beside it, under kubespray's name. IPv6 is not wrapped in ipip.
fn pool_of_ipv6(vars: &Vars, cluster: &ClusterVars) -> Value {
    let spec = json!({
        "cidr": vars.calico_pool_cidr_ipv6.as_ref().unwrap_or(&cluster.kube_pods_subnet_ipv6),
        "blockSize": vars.calico_pool_blocksize_ipv6,
        "ipipMode": "Never",
        "vxlanMode": vars.calico_vxlan_mode_ipv6,
        "natOutgoing": vars.nat_outgoing_ipv6,
        "nodeSelector": "all()",
        "allowedUses": ["Workload", "Tunnel"],
    });
    object("IPPool", &format!("{}{OF_IPV6}", vars.calico_pool_name), spec)
}

/// The end of the name of that pool.
const OF_IPV6: &str = "-ipv6";

fn felix(vars: &Vars) -> Value {
    let mut spec = json!({
        "ipipEnabled": vars.calico_ipip_mode != "Never",
        "vxlanEnabled": vars.calico_vxlan_mode != "Never" || vars.ipv6_stack && vars.calico_vxlan_mode_ipv6 != "Never",
        "vxlanVNI": vars.calico_vxlan_vni,
        "vxlanPort": vars.calico_vxlan_port,
        "bpfEnabled": false,
        "wireguardEnabled": false,
        "chainInsertMode": vars.calico_felix_chaininsertmode,
        "floatingIPs": vars.calico_felix_floating_ips,
        "reportingInterval": vars.calico_felix_reporting_interval,
        "prometheusMetricsEnabled": vars.calico_felix_prometheusmetricsenabled,
        "prometheusMetricsPort": vars.calico_felix_prometheusmetricsport,
        "prometheusGoMetricsEnabled": vars.calico_felix_prometheusgometricsenabled,
        "prometheusProcessMetricsEnabled": vars.calico_felix_prometheusprocessmetricsenabled,
        "iptablesBackend": vars.calico_iptables_backend,
        "iptablesLockTimeout": format!("{}s", vars.calico_iptables_lock_timeout_secs),
        "healthHost": vars.calico_healthhost,
        "usageReportingEnabled": vars.calico_usage_reporting,
        "logSeverityScreen": vars.calico_loglevel,
    });
    if !vars.calico_feature_detect_override.is_empty() {
        spec["featureDetectOverride"] = json!(vars.calico_feature_detect_override);
    }
    if let Some(pattern) = &vars.calico_felix_mtu_iface_pattern {
        spec["mtuIfacePattern"] = json!(pattern);
    }
    // Before 3.29 there is no such field.
    if vars.calico_nftable_mode != "Disabled" {
        spec["nftablesMode"] = json!(vars.calico_nftable_mode);
    }
    object("FelixConfiguration", "default", spec)
}

fn addresses(vars: &Vars) -> Value {
    let spec = json!({
        "strictAffinity": vars.calico_ipam_strictaffinity,
        "autoAllocateBlocks": vars.calico_ipam_autoallocateblocks,
        "maxBlocksPerHost": vars.calico_ipam_maxblocksperhost,
    });
    object("IPAMConfig", "default", spec)
}

fn bgp(vars: &Vars, cluster: &ClusterVars) -> Value {
    let networks = |list: &[String]| list.iter().map(|cidr| json!({ "cidr": cidr })).collect::<Vec<_>>();
    let mut spec = json!({
        "asNumber": vars.global_as_num,
        "listenPort": vars.calico_bgp_listen_port,
        "nodeToNodeMeshEnabled": true,
        "logSeverityScreen": "Info",
        "serviceExternalIPs": networks(&vars.calico_advertise_service_external_ips),
        "serviceLoadBalancerIPs": networks(&vars.calico_advertise_service_loadbalancer_ips),
    });
    if vars.calico_advertise_cluster_ips {
        let services = cluster.services().into_iter().map(|cidr| json!({ "cidr": cidr }));
        spec["serviceClusterIPs"] = services.collect();
    }
    object("BGPConfiguration", "default", spec)
}

/// Why an object of the cluster cannot become what is wanted; the API server would not keep anybody from writing that.
pub(super) fn cannot_change(wanted: Option<&Value>, found: &Value) -> Option<String> {
    match (found["kind"].as_str()?, wanted) {
        ("IPPool", _) => other_pool(wanted, found),
        ("ConfigMap", Some(wanted)) => other_addresses(wanted, found),
        ("DaemonSet", Some(wanted)) => older_version(wanted, found),
        _ => None,
    }
}

/// Where the plugin takes addresses of pods from, by what it is told. Of two such places each would give what the other one has given.
fn other_addresses(wanted: &Value, found: &Value) -> Option<String> {
    let (is, wanted) = (gives_addresses(found)?, gives_addresses(wanted)?);
    let variable = format!("calico_ipam_host_local: {}", is == "host-local");
    (is != wanted).then(|| {
        format!(
            "pods of the cluster have addresses by {is}, and by {wanted} others would get the same ones: set {variable}"
        )
    })
}

fn gives_addresses(config: &Value) -> Option<String> {
    // Upstream's has a place there for a number.
    let text = config["data"]["cni_network_config"].as_str()?.replace("__CNI_MTU__", "0");
    let list: Value = serde_json::from_str(&text).ok()?;
    let plugin = list["plugins"].as_array()?.iter().find(|plugin| plugin["type"] == "calico")?;
    plugin["ipam"]["type"].as_str().map(str::to_owned)
}

/// An older calico does not know what a newer one has written.
fn older_version(wanted: &Value, found: &Value) -> Option<String> {
    let (is, wanted) = (version(found)?, version(wanted)?);
    (numbers(wanted)? < numbers(is)?).then(|| {
        format!("the cluster has calico {is}, which cannot become {wanted}: set calico_version: {is}")
    })
}

/// `3.31.7` of the images of its pods.
fn version(daemons: &Value) -> Option<&str> {
    let image = daemons["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?;
    image.rsplit_once(":v").map(|(_, version)| version)
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|number| number.parse().ok()).collect()
}

/// calico takes no other network or blocks for a pool that it has, and pods have addresses of it, so it does not go either.
fn other_pool(wanted: Option<&Value>, found: &Value) -> Option<String> {
    let name = found["metadata"]["name"].as_str().unwrap_or_default();
    let is_of_ipv6 = found["spec"]["cidr"].as_str().is_some_and(|cidr| cidr.contains(':'));
    let Some(wanted) = wanted else {
        let remedy = match name.strip_suffix(OF_IPV6).filter(|_| is_of_ipv6) {
            Some(pool) => format!("ipv6_stack: true and calico_pool_name: {pool}"),
            None => format!("calico_pool_name: {name}"),
        };
        return Some(format!(
            "the pool {name} of the cluster would be removed, and pods have addresses of it: set {remedy}"
        ));
    };
    let differs = |field: &&str| wanted["spec"][*field] != found["spec"][*field];
    let field = ["cidr", "blockSize"].into_iter().find(differs)?;
    let variable = match (field, is_of_ipv6) {
        ("cidr", false) => "calico_pool_cidr",
        ("cidr", true) => "calico_pool_cidr_ipv6",
        (_, false) => "calico_pool_blocksize",
        (_, true) => "calico_pool_blocksize_ipv6",
    };
    let (is, wanted) = (&found["spec"][field], &wanted["spec"][field]);
    Some(format!(
        "the pool {name} of the cluster has {field} {is}, which cannot become {wanted}, because pods have addresses of it: set \
         {variable}: {is}"
    ))
}
