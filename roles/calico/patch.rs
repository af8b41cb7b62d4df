//! What is changed of upstream's manifest, in typed steps: whatever is not named here stays as upstream has it. A step that does
//! not find its place is an error, so that a version with another manifest is noticed.

use std::collections::BTreeMap;

use muster_artifacts::Sha256;
use serde_json::{Value, json};

use super::Vars;
use crate::containerd::CNI_PLUGINS;
use crate::objects::parsed;

/// Upstream's objects, changed.
#[derive(Debug)]
pub(super) struct Manifest {
    /// The definitions of calico's kinds (CustomResourceDefinition), as they are.
    pub(super) definitions: Vec<Value>,
    /// All other objects.
    pub(super) objects: Vec<Value>,
}

/// The manifest for these variables, with the images of these names in the catalogue.
///
/// # Errors
/// What was not found in it, in words.
pub(super) fn patched(text: &str, vars: &Vars, images: &BTreeMap<&str, String>) -> Result<Manifest, String> {
    let documents: Vec<Value> = parsed(text)?;
    let documents = documents.into_iter().filter(|document| !document.is_null());
    let is_definition = |document: &Value| document["kind"] == "CustomResourceDefinition";
    let (definitions, objects) = documents.partition(is_definition);
    let mut manifest = Manifest { definitions, objects };
    if !vars.typha_enabled {
        manifest.objects.retain(|object| object["metadata"]["name"] != "calico-typha");
    }
    manifest.set_images(images)?;
    manifest.set_configuration(vars)?;
    manifest.set_node(vars)?;
    if vars.typha_enabled {
        manifest.set_typha(vars)?;
    }
    manifest.note_configuration()?;
    Ok(manifest)
}

impl Manifest {
    fn object(&mut self, kind: &str, name: &str) -> Result<&mut Value, String> {
        let mut objects = self.objects.iter_mut();
        objects
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
            .ok_or_else(|| format!("there is no {kind} {name} in it"))
    }

    /// Each container runs the catalogue's image, which upstream's names by the last part of its repository.
    fn set_images(&mut self, images: &BTreeMap<&str, String>) -> Result<(), String> {
        for object in &mut self.objects {
            for list in ["initContainers", "containers"] {
                for container in containers(object, &format!("/spec/template/spec/{list}")) {
                    let upstream = container["image"].as_str().unwrap_or_default();
                    let repository = upstream.rsplit_once(':').map_or(upstream, |(repository, _)| repository);
                    let name = repository.rsplit('/').next().unwrap_or_default();
                    let image = images.get(format!("calico-{name}").as_str());
                    container["image"] =
                        json!(image.ok_or_else(|| format!("an image {upstream:?} is not known"))?);
                }
            }
        }
        Ok(())
    }

    fn set_configuration(&mut self, vars: &Vars) -> Result<(), String> {
        let data = &mut self.object("ConfigMap", "calico-config")?["data"];
        let network = data["cni_network_config"].as_str().ok_or("there is no cni_network_config in it")?;
        let network = network_configuration(network, vars)?;
        data["cni_network_config"] = json!(network);
        data["calico_backend"] = json!(vars.calico_network_backend);
        // 0: what fits the machine's smallest card.
        let mtu = vars.calico_veth_mtu.or(vars.calico_mtu).unwrap_or(0);
        data["veth_mtu"] = json!(mtu.to_string());
        data["typha_service_name"] = json!(if vars.typha_enabled { "calico-typha" } else { "none" });
        Ok(())
    }

    fn set_node(&mut self, vars: &Vars) -> Result<(), String> {
        let bird = vars.calico_network_backend == "bird";
        let template = &mut self.object("DaemonSet", "calico-node")?["spec"]["template"];
        if vars.calico_felix_prometheusmetricsenabled {
            template["metadata"]["annotations"]["prometheus.io/scrape"] = json!("true");
            template["metadata"]["annotations"]["prometheus.io/port"] =
                json!(vars.calico_felix_prometheusmetricsport.to_string());
        }
        if vars.calico_ipam_host_local {
            let first = template.pointer_mut("/spec/initContainers").and_then(Value::as_array_mut);
            first
                .ok_or("calico-node has no initContainers")?
                .retain(|container| container["name"] != "upgrade-ipam");
        }
        // Of plugins that others call, too, there are muster's own.
        let skipped = format!("{},flannel", CNI_PLUGINS.join(","));
        set(
            container(template, "initContainers", "install-cni")?,
            "SKIP_CNI_BINARIES",
            json!({ "value": skipped }),
        )?;
        let node = container(template, "containers", "calico-node")?;
        // The pool is an object of muster's: calico-node makes one by these variables only once.
        for gone in ["CALICO_IPV4POOL_IPIP", "CALICO_IPV4POOL_VXLAN", "CALICO_IPV6POOL_VXLAN"] {
            unset(node, gone)?;
        }
        if !vars.typha_enabled {
            unset(node, "FELIX_TYPHAK8SSERVICENAME")?;
        }
        let cluster_type = if bird { "k8s,bgp" } else { "k8s" };
        let mut wanted = vec![
            ("NO_DEFAULT_POOLS", "true".to_owned()),
            ("CLUSTER_TYPE", cluster_type.to_owned()),
            ("IP_AUTODETECTION_METHOD", vars.calico_ip_auto_method.clone()),
            ("FELIX_DEFAULTENDPOINTTOHOSTACTION", vars.calico_endpoint_to_host_action.to_uppercase()),
            ("CALICO_STARTUP_LOGLEVEL", vars.calico_node_startup_loglevel.clone()),
            ("FELIX_IGNORELOOSERPF", vars.calico_node_ignorelooserpf.to_string()),
        ];
        if vars.calico_ipam_host_local {
            wanted.push(("USE_POD_CIDR", "true".to_owned()));
        }
        if vars.ipv6_stack {
            wanted.extend([
                ("FELIX_IPV6SUPPORT", "true".to_owned()),
                ("IP6", "autodetect".to_owned()),
                ("IP6_AUTODETECTION_METHOD", vars.calico_ip6_auto_method.clone()),
            ]);
        }
        if vars.kube_proxy_mode == "ipvs" {
            wanted.push(("FELIX_KUBENODEPORTRANGES", vars.kube_apiserver_node_port_range.replace('-', ":")));
        }
        for (name, value) in wanted {
            set(node, name, json!({ "value": value }))?;
        }
        if vars.calico_use_default_route_src_ipaddr {
            let address = json!({ "valueFrom": { "fieldRef": { "fieldPath": "status.hostIP" } } });
            set(node, "FELIX_DEVICEROUTESOURCEADDRESS", address)?;
        }
        for (name, value) in &vars.calico_node_extra_envs {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            set(node, name, json!({ "value": text }))?;
        }
        node["resources"] = resources(vars);
        let probes = [
            ("livenessProbe", "-bird-live", vars.calico_node_livenessprobe_timeout),
            ("readinessProbe", "-bird-ready", vars.calico_node_readinessprobe_timeout),
        ];
        for (probe, of_bird, timeout) in probes {
            let command = node.pointer_mut(&format!("/{probe}/exec/command")).and_then(Value::as_array_mut);
            let command = command.ok_or("a probe of calico-node runs no program")?;
            if !bird {
                command.retain(|argument| argument != of_bird);
            }
            node[probe]["timeoutSeconds"] = json!(timeout);
        }
        Ok(())
    }

    /// The pods of calico-node read calico-config when they begin: with another one they begin anew.
    fn note_configuration(&mut self) -> Result<(), String> {
        let data = self.object("ConfigMap", "calico-config")?["data"].to_string();
        let digest = Sha256::of(data.as_bytes()).to_string();
        let template = &mut self.object("DaemonSet", "calico-node")?["spec"]["template"];
        template["metadata"]["annotations"]["muster/calico-config"] = json!(&digest[..12]);
        Ok(())
    }

    fn set_typha(&mut self, vars: &Vars) -> Result<(), String> {
        let spec = &mut self.object("Deployment", "calico-typha")?["spec"];
        spec["replicas"] = json!(vars.typha_replicas);
        let typha = container(&mut spec["template"], "containers", "calico-typha")?;
        let mut wanted =
            vec![("TYPHA_MAXCONNECTIONSLOWERLIMIT", vars.typha_max_connections_lower_limit.to_string())];
        if vars.typha_prometheusmetricsenabled {
            wanted.push(("TYPHA_PROMETHEUSMETRICSENABLED", "true".to_owned()));
            wanted.push(("TYPHA_PROMETHEUSMETRICSPORT", vars.typha_prometheusmetricsport.to_string()));
        }
        // It tells calico-node of the other nodes, and of their parts of the network of pods only so.
        if vars.calico_ipam_host_local {
            wanted.push(("USE_POD_CIDR", "true".to_owned()));
        }
        wanted.into_iter().try_for_each(|(name, value)| set(typha, name, json!({ "value": value })))
    }
}

/// The containers in a list of an object (a JSON pointer, RFC 6901), which most objects do not have.
fn containers<'o>(object: &'o mut Value, list: &str) -> impl Iterator<Item = &'o mut Value> + use<'o> {
    object.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

fn container<'t>(template: &'t mut Value, list: &str, name: &str) -> Result<&'t mut Value, String> {
    let list = format!("/spec/{list}");
    containers(template, &list)
        .find(|container| container["name"] == name)
        .ok_or_else(|| format!("there is no container {name} in it"))
}

fn environment(container: &mut Value) -> Result<&mut Vec<Value>, String> {
    container
        .pointer_mut("/env")
        .and_then(Value::as_array_mut)
        .ok_or_else(|| "a container has no environment".to_owned())
}

/// The variable of a container's environment has this `value` or `valueFrom`.
fn set(container: &mut Value, name: &str, mut variable: Value) -> Result<(), String> {
    variable["name"] = json!(name);
    let environment = environment(container)?;
    match environment.iter_mut().find(|known| known["name"] == name) {
        Some(known) => *known = variable,
        None => environment.push(variable),
    }
    Ok(())
}

fn unset(container: &mut Value, name: &str) -> Result<(), String> {
    let environment = environment(container)?;
    let count = environment.len();
    environment.retain(|known| known["name"] != name);
    if environment.len() < count {
        Ok(())
    } else {
        Err(format!("calico-node has no {name} in its environment"))
    }
}

fn resources(vars: &Vars) -> Value {
    let mut limits = json!({ "memory": vars.calico_node_memory_limit });
    if vars.calico_node_cpu_limit != "0" {
        limits["cpu"] = json!(vars.calico_node_cpu_limit);
    }
    let requests =
        json!({ "cpu": vars.calico_node_cpu_requests, "memory": vars.calico_node_memory_requests });
    json!({ "limits": limits, "requests": requests })
}

/// What the plugin is told on each node. Upstream's text has places (`__NAME__`) that calico's pod fills in there; the one that
/// stands for a number makes it no JSON, so that number is written here: 0, which is what the node's calico has found out.
fn network_configuration(upstream: &str, vars: &Vars) -> Result<String, String> {
    let mtu = vars.calico_veth_mtu.or(vars.calico_mtu).unwrap_or(0);
    let text = upstream.replace("__CNI_MTU__", &mtu.to_string());
    let mut list: Value =
        serde_json::from_str(&text).map_err(|error| format!("its cni_network_config is no JSON: {error}"))?;
    list["name"] = json!(vars.calico_cni_name);
    let plugins = list["plugins"].as_array_mut().into_iter().flatten();
    let plugin = plugins.into_iter().find(|plugin| plugin["type"] == "calico");
    let plugin = plugin.ok_or("its cni_network_config calls no plugin calico")?;
    match vars.calico_cni_log_file_path.as_str().filter(|path| path.starts_with('/')) {
        Some(path) => plugin["log_file_path"] = json!(path),
        None => drop(plugin.as_object_mut().and_then(|fields| fields.remove("log_file_path"))),
    }
    if vars.calico_allow_ip_forwarding {
        plugin["container_settings"] = json!({ "allow_ip_forwarding": true });
    }
    match (vars.calico_ipam_host_local, vars.ipv6_stack) {
        (true, false) => plugin["ipam"] = json!({ "type": "host-local", "subnet": "usePodCidr" }),
        (true, true) => {
            let ranges = ["usePodCidr", "usePodCidrIPv6"].map(|subnet| json!([{ "subnet": subnet }]));
            plugin["ipam"] = json!({ "type": "host-local", "ranges": ranges });
        }
        (false, true) => {
            plugin["ipam"]["assign_ipv4"] = json!("true");
            plugin["ipam"]["assign_ipv6"] = json!("true");
        }
        (false, false) => {}
    }
    Ok(format!("{list:#}"))
}
