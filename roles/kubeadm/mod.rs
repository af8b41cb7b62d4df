//! kubeadm: a machine becomes a node. The first control plane begins the cluster, the others and the workers join it,
//! all at once where kubeadm allows it.
//!
//! Three roles live here because they share one configuration: `kubelet` (what every node has), `control-plane`, `node`.

mod images;
mod init;
mod join;

use muster_engine::facts::Facts;
use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::catalogue::artifact;
use crate::common::{ClusterVars, bin_dir, cluster_vars, first_control_plane, ip, ip_of, kube_minor};
use crate::etcd;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    node_labels: std::collections::BTreeMap<String, String>,
    node_taints: Vec<String>,
    kubeadm_ignore_preflight_errors: Vec<String>,
    kube_resolv_conf: Option<String>,
}

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
    let unit = host.render(
        "kubelet.service.j2",
        include_str!("templates/kubelet.service.j2"),
        &json!({ "bin_dir": bin }),
    )?;
    host.step("Configure the kubelet and import the images")
        .ensure(file("/etc/systemd/system/kubelet.service").content(unit))
        .ensure(
            file(format!("{PATCHES}/kubeletconfiguration0+merge.yaml"))
                .content(kubelet_patch(host, &cluster)?),
        )
        .ensure(images::imported(host, &cluster)?)
        .await?;
    Ok(())
}

/// Where kubeadm finds what is particular to this machine, for its init and its join (its `--patches`).
const PATCHES: &str = "/etc/kubernetes/patches";

/// How this machine's kubelet differs from the cluster's configuration.
fn kubelet_patch(host: &Host, cluster: &ClusterVars) -> Result<String> {
    let vars: Vars = host.vars()?;
    let facts = host.facts();
    let mut patch = serde_json::Map::new();
    let resolv_conf = vars.kube_resolv_conf.as_deref().unwrap_or(resolv_conf_for_pods(facts).0);
    patch.insert("resolvConf".into(), json!(resolv_conf));
    // The kubelet refuses cgroup v1 by default since 1.35; the setting exists since 1.31.
    if facts.cgroup == 1 && kube_minor(&cluster.kube_version) >= 31 {
        patch.insert("failCgroupV1".into(), json!(false));
    }
    // JSON is YAML; its keys come in a fixed order.
    Ok(format!("{:#}\n", serde_json::Value::Object(patch)))
}

/// The file with the servers that pods can ask, and its lines. Pods cannot ask one on the machine's loopback, and CoreDNS
/// would ask itself, and stops with "Loop detected"; then it is the file where systemd-resolved keeps the real ones.
pub(crate) fn resolv_conf_for_pods(facts: &Facts) -> (&'static str, &[String]) {
    if loops(&facts.resolv) && !loops(&facts.uplink_resolv) {
        ("/run/systemd/resolve/resolv.conf", &facts.uplink_resolv)
    } else {
        ("/etc/resolv.conf", &facts.resolv)
    }
}

/// Whether a resolv.conf names no server, or one on the machine's own loopback.
fn loops(lines: &[String]) -> bool {
    let servers: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("nameserver")).collect();
    let loopback = |server: &&str| server.trim().parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    servers.is_empty() || servers.iter().any(loopback)
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
    } else {
        let planes = host.cluster().group("kube_control_plane");
        let place = planes.iter().position(|p| p == host.name()).unwrap_or(1);
        host.needs(&planes[place - 1], API_IS_UP).await?;
        join::run(host, true).await?;
    }
    host.reached(API_IS_UP);
    Ok(())
}

/// A worker joins. A machine that is a control plane too has joined already.
pub(crate) async fn node(host: &Host) -> Result<()> {
    if host.in_group("kube_control_plane") {
        return Ok(());
    }
    host.needs(&first_control_plane(host)?, API_IS_UP).await?;
    join::run(host, false).await
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
    let labels: Vec<_> = vars.node_labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let extra = json!({
        "taints": taints,
        "ignore": ignore,
        "labels": labels.join(","),
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
            format!("node_taints: {text:?} is no taint"),
            "write it as key=value:effect, like room=104:NoSchedule",
        )
    })
}
