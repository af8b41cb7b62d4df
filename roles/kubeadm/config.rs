//! What a control plane is told: kubeadm's configuration, and how its static pods differ from what kubeadm writes.

use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use serde_json::json;

use super::{PATCHES, kubelet, node_registration};
use crate::cluster::{self, Standing};
use crate::common::{cluster_vars, ip, ip_of};
use crate::etcd;

/// Where kubeadm finds it.
pub(super) const CONFIG: &str = "/etc/kubernetes/kubeadm-config.yaml";

/// Holds the hash of the configuration that the control plane was last given. Written when `kubeadm init` or `kubeadm join` has
/// come to its end: one that was cut off does not leave it, and is run again.
pub(super) const APPLIED: &str = "/var/lib/muster/stamps/kubeadm-init";

/// What a control plane was told.
pub(super) struct Config {
    pub(super) hash: String,
    /// The folder of the cluster's certificates.
    pub(super) certificates: String,
}

/// Writes it, without applying it.
pub(super) async fn write(host: &Host, known: &Standing) -> Result<Config> {
    let cluster = cluster_vars(host)?;
    let text = config(host, known, &cluster.kube_version)?;
    let patches = COMPONENTS.map(|name| (format!("{PATCHES}/{name}0+strategic.json"), patch(name)));
    let config = Config { hash: hash_of(&text), certificates: cluster.kube_cert_dir };
    let mut step = host
        .step("Configure the control plane")
        .ensure(dir("/etc/kubernetes"))
        .ensure(file(CONFIG).content(text).mode(0o600));
    for (path, patch) in patches {
        step = step.ensure(file(path).content(patch));
    }
    step.await?;
    Ok(config)
}

/// The hash of what a control plane is told in a version.
pub(super) fn hash(host: &Host, known: &Standing, version: &str) -> Result<String> {
    config(host, known, version).map(|text| hash_of(&text))
}

fn hash_of(text: &str) -> String {
    let all: String = std::iter::once(text.to_owned()).chain(COMPONENTS.map(patch)).collect();
    Sha256::of(all.as_bytes()).to_string()
}

const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// How a component's static pod differs from what kubeadm writes. The kubelet asks for the first time, and then again, each
/// second whether it is up; kubeadm's ten seconds are how long a control plane that works would be shown as not ready.
fn patch(component: &str) -> String {
    let probe = json!({ "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 300 });
    let pod = json!({ "spec": { "containers": [{ "name": component, "startupProbe": probe }] } });
    format!("{pod:#}\n")
}

fn config(host: &Host, known: &Standing, version: &str) -> Result<String> {
    let cluster = cluster_vars(host)?;
    let mut sans = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    // Hosts that change places in their group change nothing.
    let mut planes = known.planes.clone();
    planes.sort_unstable();
    for plane in planes {
        sans.push(ip_of(host, &plane)?.to_string());
        sans.push(plane);
    }
    sans.extend(cluster.supplementary_addresses_in_ssl_keys.iter().cloned());
    sans.dedup();
    let (facts, registration) = (host.facts(), node_registration(host)?);
    let extra = json!({
        "address": ip(host)?,
        "version": version,
        "endpoint": cluster::endpoint(host, known)?,
        "image_repository": "registry.k8s.io",
        "etcd_endpoints": etcd::client_urls(host)?,
        "sans": sans,
        "may_lower_oom_score": facts.may_lower_oom_score(),
        "node_registration": registration.trim_end(),
        "kubelet_config": kubelet::config(host)?.trim_end(),
    });
    host.render("init.yaml.j2", include_str!("templates/init.yaml.j2"), &extra)
}
