//! What a control plane is told: kubeadm's configuration, and how its static pods differ from what kubeadm writes.

use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use serde_json::json;

use super::audit::Audit;
use super::{PATCHES, arguments, kubelet, node_registration};
use crate::addresses::{all_of, ip};
use crate::cluster::{self, Standing};
use crate::common::cluster_vars;
use crate::encryption::{self, Encryption};
use crate::etcd;

/// Where kubeadm finds it.
pub(crate) const CONFIG: &str = "/etc/kubernetes/kubeadm-config.yaml";

/// Holds the hash of the configuration that the control plane was last given. Written when `kubeadm init` or `kubeadm join` has
/// come to its end: one that was cut off does not leave it, and is run again.
pub(super) const APPLIED: &str = "/var/lib/muster/stamps/kubeadm-init";

/// There from before `kubeadm init` until it has come to its end: what was cut off in between is told by it from a cluster that
/// muster has not begun.
pub(super) const BEGINS: &str = "/var/lib/muster/stamps/kubeadm-init-begins";

/// What a control plane was told.
pub(super) struct Config {
    pub(super) hash: String,
    /// The folder of the cluster's certificates.
    pub(super) certificates: String,
}

/// What the API server reads only when it starts, beside its arguments.
pub(super) struct Files {
    pub(super) audit: Option<Audit>,
    pub(super) encryption: Option<Encryption>,
}

impl Files {
    async fn wanted(host: &Host, known: &Standing) -> Result<Self> {
        Ok(Self { audit: Audit::wanted(host)?, encryption: encryption::next(host, known).await? })
    }

    /// Annotations of its pod: they make it begin anew when one of the files changes.
    fn annotations(&self) -> serde_json::Map<String, serde_json::Value> {
        let audit = self.audit.as_ref().map(|audit| ("muster.io/audit-policy", audit.digest()));
        let encryption =
            self.encryption.as_ref().map(|encryption| ("muster.io/encryption", encryption.gist()));
        audit.into_iter().chain(encryption).map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

/// Writes it, without applying it.
pub(super) async fn write(host: &Host, known: &Standing) -> Result<Config> {
    let files = Files::wanted(host, known).await?;
    let cluster = cluster_vars(host)?;
    let text = config(host, known, &cluster.kube_version, &files)?;
    let patches = patches(&files);
    let config = Config { hash: hash_of(&text, &patches), certificates: cluster.kube_cert_dir };
    let mut step = host
        .step("Configure the control plane")
        .ensure(dir("/etc/kubernetes"))
        .ensure(file(CONFIG).content(text).mode(0o600));
    for (path, patch) in patches {
        step = step.ensure(file(path).content(patch));
    }
    if let Some((folder, policy)) = files.audit.as_ref().map(Audit::policy) {
        step = step.ensure(folder).ensure(policy);
    }
    if let Some(encryption) = &files.encryption {
        step = step.ensure(dir(config.certificates.as_str())).ensure(encryption.file());
    }
    step.await?;
    Ok(config)
}

/// The hash of what a control plane is told in a version.
pub(super) async fn hash(host: &Host, known: &Standing, version: &str) -> Result<String> {
    let files = Files::wanted(host, known).await?;
    config(host, known, version, &files).map(|text| hash_of(&text, &patches(&files)))
}

fn hash_of(text: &str, patches: &[(String, String)]) -> String {
    let all: String = std::iter::once(text).chain(patches.iter().map(|(_, patch)| patch.as_str())).collect();
    Sha256::of(all.as_bytes()).to_string()
}

/// The files with the patches, and what they say.
fn patches(files: &Files) -> Vec<(String, String)> {
    let of_component = |name: &str| {
        let annotations = if name == "kube-apiserver" { files.annotations() } else { serde_json::Map::new() };
        (format!("{PATCHES}/{name}0+strategic.json"), patch(name, annotations))
    };
    COMPONENTS.into_iter().map(of_component).collect()
}

const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// How a component's static pod differs from what kubeadm writes. The kubelet asks for the first time, and then again, each
/// second whether it is up; kubeadm's ten seconds are how long a control plane that works would be shown as not ready.
fn patch(component: &str, annotations: serde_json::Map<String, serde_json::Value>) -> String {
    let probe = json!({ "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 300 });
    let mut pod = json!({ "spec": { "containers": [{ "name": component, "startupProbe": probe }] } });
    if !annotations.is_empty() {
        pod["metadata"] = json!({ "annotations": annotations });
    }
    format!("{pod:#}\n")
}

fn config(host: &Host, known: &Standing, version: &str, files: &Files) -> Result<String> {
    let cluster = cluster_vars(host)?;
    let mut sans = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    // Hosts that change places in their group change nothing.
    let mut planes = known.planes.clone();
    planes.sort_unstable();
    for plane in planes {
        sans.extend(all_of(host, &plane)?);
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
        "components": arguments::components(host, files)?,
        "kube_proxy": arguments::kube_proxy(host)?,
    });
    host.render("init.yaml.j2", include_str!("templates/init.yaml.j2"), &extra)
}

#[cfg(test)]
mod tests {
    /// The fields of kubeadm's `Timeouts` (kubeadm.k8s.io/v1beta4).
    const TIMEOUTS: [&str; 7] = [
        "controlPlaneComponentHealthCheck",
        "kubeletHealthCheck",
        "kubernetesAPICall",
        "etcdAPICall",
        "tlsBootstrap",
        "discovery",
        "upgradeManifests",
    ];

    #[test]
    fn every_wait_of_kubeadm_follows_a_variable() {
        let templates = [
            (include_str!("templates/init.yaml.j2"), "kubeadm_init_timeout"),
            (include_str!("templates/join.yaml.j2"), "kubeadm_join_timeout"),
        ];
        for (template, variable) in templates {
            for field in TIMEOUTS {
                let line = format!("\n  {field}: {{{{ {variable} }}}}\n");
                assert!(template.contains(&line), "{line}{template}");
            }
        }
    }

    #[test]
    fn kubeadm_makes_no_token_that_lasts() {
        let template = include_str!("templates/init.yaml.j2");
        assert!(template.contains("\nbootstrapTokens:\n- ttl: 1s\n"), "an empty list is a token of 24 hours");
    }
}
