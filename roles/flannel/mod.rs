//! flannel: the pod network. Its daemon runs as pods; that is the role `flannel`. The plugin and its configuration are put on
//! every machine by hand, so that no container has to copy them there first; that is the role `cni`.

pub(crate) mod network;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::balancer::External;
use crate::catalogue::{artifact, image};
use crate::cluster;
use crate::common::{ClusterVars, cluster_vars};
use crate::diagnosis;
use crate::kubectl::needs_a_control_plane;
use crate::objects::ObjectSet;

/// What a control plane tells the others.
const APPLIED: &str = "flannel's manifest";

const PLUGIN: &str = "/opt/cni/bin/flannel";
/// What the daemon writes.
const SUBNET: &str = "/run/flannel/subnet.env";

pub(crate) const CONFLIST: &str = "/etc/cni/net.d/10-flannel.conflist";

#[derive(Deserialize)]
struct Vars {
    kube_network_plugin: String,
    flannel_timeout: u64,
    flannel_backend_type: String,
    flannel_vxlan_vni: u32,
    flannel_vxlan_port: u16,
    flannel_vxlan_direct_routing: bool,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::MACHINES)];

/// The daemon is applied.
pub(crate) async fn daemon(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    if vars.kube_network_plugin != "flannel" {
        return Ok(());
    }
    let known = cluster::known(host).await?;
    let endpoint = cluster::in_the_end(host, &known)?;
    let (api_address, api_port) = endpoint.rsplit_once(':').unwrap_or((&endpoint, "6443"));
    // Pods know a name by the address that the machine had for it when they began.
    let external = External::wanted(host, &known)?.filter(|external| external.endpoint() == endpoint);
    let cluster = cluster_vars(host)?;
    // Whichever control plane does it, the objects are the same: what they hold are the variables of one.
    let of = cluster::speaker_for_set_up(host).await?;
    let extra = json!({
        "net_conf": net_conf(&of)?,
        "image": image(host, "flannel", &cluster.kube_version)?,
        "api_address": api_address,
        "api_port": api_port,
        "external_address": external.and_then(|external| external.address()),
    });
    let manifest = of.render("flannel.yaml.j2", include_str!("templates/flannel.yaml.j2"), &extra)?;
    ObjectSet::new("flannel", &manifest)?.ensure(host).await?;
    host.reached(APPLIED);
    Ok(())
}

/// What the daemon is told of the network.
pub(crate) fn net_conf(host: &Host) -> Result<serde_json::Value> {
    conf(&cluster_vars(host)?, &host.vars()?)
}

fn conf(cluster: &ClusterVars, vars: &Vars) -> Result<serde_json::Value> {
    let mut conf =
        json!({ "Network": cluster.kube_pods_subnet, "EnableNFTables": false, "Backend": backend(vars)? });
    if cluster.ipv6_stack {
        conf["EnableIPv6"] = json!(true);
        conf["IPv6Network"] = json!(cluster.kube_pods_subnet_ipv6);
    }
    Ok(conf)
}

/// The machine's pods are connected, as soon as the daemon has addresses for them.
///
/// Not before, because with the configuration the kubelet calls the node Ready, and pods come that have no address yet. They
/// fail, and are tried again ten seconds later; on a node that is not Ready the kubelet tries each second.
pub(crate) async fn connect(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    if vars.kube_network_plugin != "flannel" {
        return Ok(());
    }
    let plugin = artifact(host, "flannel-cni", &cluster_vars(host)?.kube_version)?;
    host.step("Install flannel's plugin").ensure(binary(plugin, PLUGIN)).await?;
    needs_a_control_plane(host, APPLIED).await?;
    let written = has_addresses(host, &vars, network::FORMER).await?;
    if network::may_differ(host, &written)? && network::fit(host).await? && !host.check_mode() {
        has_addresses(host, &vars, SUBNET).await?;
    }
    host.step("Connect the pods").ensure(file(CONFLIST).content(conflist())).await.map(drop)
}

/// Waits until the daemon has written which addresses pods get, and returns what it has written; nothing where this file is there.
async fn has_addresses(host: &Host, vars: &Vars, or_file: &str) -> Result<String> {
    let there = sh(
        "if [ ! -e \"$1\" ]; then
  [ -e /run/flannel/subnet.env ] || {
    echo 'its pod has not written /run/flannel/subnet.env; look at: muster kubectl -n kube-flannel get pods -o wide'
    exit 1
  }
  cat /run/flannel/subnet.env
fi",
        [or_file],
    );
    let limit = Duration::from_secs(vars.flannel_timeout);
    let wait = Wait::new("flannel has addresses for pods", there, Duration::from_millis(200), limit);
    Ok(diagnosis::wait_on_node(host, wait).await?.output)
}

/// What these roles, the daemon and the plugins that it calls have on a machine. The plugin stays where `keep_programs` says so.
pub(crate) fn owned(keep_programs: bool) -> Resources {
    let plugin = if keep_programs { Resources::new() } else { Resources::new().with(uninstalled(PLUGIN)) };
    plugin.with(dir("/var/lib/cni/flannel")).with(dir("/run/flannel")).with(file(CONFLIST))
}

fn backend(vars: &Vars) -> Result<serde_json::Value> {
    match vars.flannel_backend_type.as_str() {
        "vxlan" => Ok(json!({
            "Type": "vxlan",
            "VNI": vars.flannel_vxlan_vni,
            "Port": vars.flannel_vxlan_port,
            "DirectRouting": vars.flannel_vxlan_direct_routing,
        })),
        "host-gw" => Ok(json!({ "Type": "host-gw" })),
        other => Err(Failure::new(
            format!("flannel_backend_type is {other:?}, and only vxlan and host-gw are supported"),
            "set flannel_backend_type: vxlan",
        )),
    }
}

fn conflist() -> String {
    let list = json!({
        "name": "cbr0",
        // The newest version that flannel's plugin knows.
        "cniVersion": "0.3.1",
        "plugins": [
            { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    format!("{list:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    #[test]
    fn the_backend_is_as_the_variables_say() {
        let told = |yaml: &str| {
            backend(&variables(&format!("skydns_server: 10.233.0.3\n{yaml}")).deserialize().unwrap()).unwrap()
        };
        let vxlan = "flannel_vxlan_vni: 7\nflannel_vxlan_port: 4789\nflannel_vxlan_direct_routing: true\n";
        assert_eq!(told(vxlan), json!({ "Type": "vxlan", "VNI": 7, "Port": 4789, "DirectRouting": true }));
        assert_eq!(told("")["DirectRouting"], false);
        assert_eq!(told("flannel_backend_type: host-gw"), json!({ "Type": "host-gw" }));
    }

    #[test]
    fn flannel_is_told_of_ipv6_where_the_cluster_has_it() {
        let told = |yaml: &str| {
            let vars =
                variables(&format!("skydns_server: 10.233.0.3\nflannel_backend_type: host-gw\n{yaml}"));
            conf(&vars.deserialize().unwrap(), &vars.deserialize().unwrap()).unwrap().to_string()
        };
        let one = r#"{"Network":"10.233.64.0/18","EnableNFTables":false,"Backend":{"Type":"host-gw"}}"#;
        assert_eq!(told(""), one);
        let ipv6 = r#","EnableIPv6":true,"IPv6Network":"fd85:ee78:d8a6:8607::1:0000/112"}"#;
        assert_eq!(told("ipv6_stack: true"), one.strip_suffix('}').unwrap().to_owned() + ipv6);
    }

    #[test]
    fn flannel_uses_the_interface_with_the_address_of_each_node_unless_told_otherwise() {
        let extra = json!({ "net_conf": {}, "image": "flannel:1", "api_address": "192.0.2.4", "api_port": "6443", "external_address": null });
        for (yaml, argument) in [
            ("", "- --iface=$(NODE_IP)\n"),
            ("flannel_interface:", "- --iface=$(NODE_IP)\n"),
            ("flannel_interface: eth1", "- \"--iface=eth1\"\n"),
            (r"flannel_interface_regexp: '10\.0\..*'", "- \"--iface-regex=10\\\\.0\\\\..*\"\n"),
        ] {
            let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
            let manifest = vars.render(include_str!("templates/flannel.yaml.j2"), "flannel", &extra).unwrap();
            assert!(manifest.contains(argument), "{yaml}: {manifest}");
            assert_eq!(manifest.matches("--iface").count(), 1, "{yaml}");
        }
    }
}
