//! flannel: the pod network. The plugin and its configuration are put on every machine by hand, so that no container
//! has to copy them there first; the daemon runs as pods.

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::catalogue::{artifact, image};
use crate::common::{cluster_vars, first_control_plane, ip};
use crate::manifest::applied;

#[derive(Deserialize)]
struct Vars {
    kube_network_plugin: String,
    flannel_backend_type: String,
    flannel_vxlan_vni: u32,
    flannel_vxlan_port: u16,
    flannel_vxlan_direct_routing: bool,
}

pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    if vars.kube_network_plugin != "flannel" {
        return Ok(());
    }
    let cluster = cluster_vars(host)?;
    let plugin = artifact(host, "flannel-cni", &cluster.kube_version)?;
    host.step("Install flannel's plugin")
        .ensure(binary(plugin, "/opt/cni/bin/flannel"))
        .ensure(file("/etc/cni/net.d/10-flannel.conflist").content(conflist()))
        .await?;

    if first_control_plane(host)? != host.name() {
        return Ok(());
    }
    let net_conf =
        json!({ "Network": cluster.kube_pods_subnet, "EnableNFTables": false, "Backend": backend(&vars)? });
    let extra = json!({
        "net_conf": net_conf,
        "image": image(host, "flannel", &cluster.kube_version)?,
        "api_address": ip(host)?,
    });
    let manifest = host.render("flannel.yaml.j2", include_str!("templates/flannel.yaml.j2"), &extra)?;
    applied(host, "flannel", manifest).await
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
