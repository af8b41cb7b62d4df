//! kubeadm: a machine becomes a node. The first control plane begins the cluster, the others and the workers join it,
//! all at once where kubeadm allows it.
//!
//! Three roles live here because they share one configuration: `kubelet` (what every node has), `control-plane`, `node`.

mod images;
mod init;
mod join;
mod kubelet;
mod labels;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::catalogue::artifact;
use crate::common::{ClusterVars, bin_dir, cluster_vars, first_control_plane, ip, ip_of};
use crate::etcd;

pub(crate) use kubelet::resolv_conf_for_pods;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    node_taints: Vec<String>,
    kubeadm_ignore_preflight_errors: Vec<String>,
}

/// Where kubeadm finds what is particular to this machine, for its init and its join (its `--patches`).
const PATCHES: &str = "/etc/kubernetes/patches";

/// What the first control plane tells the others.
pub(crate) const API_IS_UP: &str = "the API server";

/// kubelet, kubeadm, kubectl and the images that this machine runs.
pub(crate) async fn prepare(host: &Host) -> Result<()> {
    let cluster = cluster_vars(host)?;
    let bin = bin_dir(host)?;
    let mut step = host.step("Install kubelet, kubeadm and kubectl");
    for name in ["kubelet", "kubeadm", "kubectl"] {
        step = step.ensure(binary(artifact(host, name, &cluster.kube_version)?, format!("{bin}/{name}")));
    }
    step.await?;
    host.step("Configure the kubelet and import the images")
        .ensure(file("/etc/systemd/system/kubelet.service").content(kubelet::unit(host)?))
        .ensure(file(format!("{PATCHES}/kubeletconfiguration0+merge.yaml")).content(kubelet::patch(host)?))
        .ensure(images::imported(host, &cluster)?)
        .await?;
    Ok(())
}

/// The control plane: `kubeadm init` on the first, `kubeadm join` on the others, one at a time.
pub(crate) async fn control_plane(host: &Host) -> Result<()> {
    let (folder, identity) = etcd::pki::client(host).await?;
    identity.install(host, &folder).await?;
    for member in host.cluster().group("etcd") {
        host.needs(&member, etcd::HEALTHY).await?;
    }
    let first = first_control_plane(host)?;
    if first == host.name() {
        init::run(host).await?;
        kubelet::run(host).await?;
    } else {
        let planes = host.cluster().group("kube_control_plane");
        let place = planes.iter().position(|p| p == host.name()).unwrap_or(1);
        host.needs(&planes[place - 1], API_IS_UP).await?;
        join::run(host, true).await?;
    }
    host.reached(API_IS_UP);
    labels::run(host).await
}

/// A worker joins. A machine that is a control plane too has joined already.
pub(crate) async fn node(host: &Host) -> Result<()> {
    if host.in_group("kube_control_plane") {
        return Ok(());
    }
    host.needs(&first_control_plane(host)?, API_IS_UP).await?;
    join::run(host, false).await?;
    labels::run(host).await
}

/// Where machines find the API: the first control plane.
fn endpoint(host: &Host, cluster: &ClusterVars) -> Result<String> {
    Ok(format!("{}:{}", ip_of(host, &first_control_plane(host)?)?, cluster.kube_apiserver_port))
}

/// What kubeadm is told about this machine, for its init and its join configuration.
fn node_registration(host: &Host) -> Result<String> {
    let vars: Vars = host.vars()?;
    let mut taints = Vec::new();
    if host.in_group("kube_control_plane") && !host.in_group("kube_node") {
        taints.push(json!({ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }));
    }
    for taint in &vars.node_taints {
        taints.push(parse_taint(taint)?);
    }
    // What muster checks itself, or brings about in a way that kubeadm does not expect.
    let mut ignore = vec!["SystemVerification".to_owned(), "FileExisting-crictl".into(), "Hostname".into()];
    ignore.extend(vars.kubeadm_ignore_preflight_errors.iter().cloned());
    let extra = json!({
        "taints": taints,
        "ignore": ignore,
        "address": ip(host)?,
    });
    host.render("node-registration.yaml.j2", include_str!("templates/node-registration.yaml.j2"), &extra)
}

/// `key=value:effect` or `key:effect`, as kubectl taint takes it.
fn parse_taint(text: &str) -> Result<serde_json::Value> {
    let parsed = text.rsplit_once(':').map(|(key, effect)| match key.split_once('=') {
        Some((key, value)) => json!({ "key": key, "value": value, "effect": effect }),
        None => json!({ "key": key, "effect": effect }),
    });
    parsed.ok_or_else(|| {
        Failure::new(
            format!("node_taints: {text:?} is not a taint"),
            "write it as key=value:effect, such as room=104:NoSchedule",
        )
    })
}
