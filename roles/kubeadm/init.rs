//! The cluster begins.

use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use serde_json::json;

use super::{PATCHES, endpoint, kubelet, node_registration};
use crate::common::{cluster_vars, ip, ip_of};
use crate::etcd;
use crate::kubectl::{ADMIN_CONF, api_answers};

const CONFIG: &str = "/etc/kubernetes/kubeadm-config.yaml";

/// Holds the hash of the configuration that the control plane was last given. Written when `kubeadm init` has come to its
/// end: one that was cut off does not leave it, and is run again.
pub(super) const APPLIED: &str = "/var/lib/muster/stamps/kubeadm-init";

/// The cluster begins on this machine, or takes over what has changed in its configuration.
pub(super) async fn run(host: &Host) -> Result<()> {
    let config = write_config(host).await?;
    host.step("kubeadm init")
        .detached()
        .ensure(command(
            "control plane",
            // Certificates, kubeconfigs and manifests of an attempt that was cut off are taken over by kubeadm; only its
            // checks would complain about them. DNS is a role of its own.
            sh(
                r#"
mkdir -p "${2%/*}"
if [ -e "$2" ] && [ -e "$3" ]; then
  kubeadm init phase upload-config all --config "$1"
  kubeadm init phase addon kube-proxy --config "$1"
  kubectl --kubeconfig "$3" -n kube-system rollout restart daemonset/kube-proxy
  # Its names and addresses may be others. The API server takes up a new one by itself.
  rm -f "$6/apiserver.crt" "$6/apiserver.key"
  kubeadm init phase certs apiserver --config "$1"
  # Last, because the API server restarts.
  kubeadm init phase control-plane all --config "$1"
else
  ignore=DirAvailable--etc-kubernetes-manifests,Port-6443,Port-10250,Port-10257,Port-10259
  for f in kube-apiserver kube-controller-manager kube-scheduler; do
    ignore=$ignore,FileAvailable--etc-kubernetes-manifests-$f.yaml
  done
  systemctl enable -q kubelet
  kubeadm init --config "$1" --skip-phases=addon/coredns --skip-token-print --ignore-preflight-errors="$ignore"
  echo "$5" >"${2%/*}/kubelet-config"
fi
echo "$4" >"$2""#,
                [CONFIG, APPLIED, ADMIN_CONF, &config.hash, &kubelet::wanted(host)?, &config.certificates],
            ),
            sh(r#"[ "$(cat "$1")" = "$3" ] && [ -e "$2" ]"#, [APPLIED, ADMIN_CONF, &config.hash]),
        ))
        .await?;
    // One that somebody stopped is started before the API is waited for. Not in the step above: what is planned there is
    // planned before kubeadm starts the kubelet, and would restart it.
    host.step("Start the kubelet").ensure(service("kubelet")).await?;
    api_answers(host, Duration::from_secs(180)).await
}

/// A control plane that joined earlier takes over what has changed in the cluster's configuration.
pub(super) async fn update_joined(host: &Host, config: &Config) -> Result<()> {
    host.step("Configuration of the control plane")
        .ensure(command(
            "control plane",
            sh(
                r#"
mkdir -p "${2%/*}"
rm -f "$4/apiserver.crt" "$4/apiserver.key"
kubeadm init phase certs apiserver --config "$1"
kubeadm init phase control-plane all --config "$1"
echo "$3" >"$2""#,
                [CONFIG, APPLIED, &config.hash, &config.certificates],
            ),
            sh(r#"[ "$(cat "$1")" = "$2" ]"#, [APPLIED, &config.hash]),
        ))
        .await
        .map(drop)
}

/// What a control plane is told.
pub(super) struct Config {
    pub(super) hash: String,
    /// The folder of the cluster's certificates.
    certificates: String,
}

pub(super) async fn write_config(host: &Host) -> Result<Config> {
    let text = config(host)?;
    let patches = COMPONENTS.map(|name| (format!("{PATCHES}/{name}0+strategic.json"), patch(name)));
    let all: String =
        std::iter::once(text.as_str()).chain(patches.iter().map(|(_, patch)| patch.as_str())).collect();
    let config = Config {
        hash: Sha256::of(all.as_bytes()).to_string(),
        certificates: cluster_vars(host)?.kube_cert_dir,
    };
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

const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// How a component's static pod differs from what kubeadm writes. The kubelet asks for the first time, and then again, each
/// second whether it is up; kubeadm's ten seconds are how long a control plane that works would be shown as not ready.
fn patch(component: &str) -> String {
    let probe = json!({ "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 300 });
    let pod = json!({ "spec": { "containers": [{ "name": component, "startupProbe": probe }] } });
    format!("{pod:#}\n")
}

fn config(host: &Host) -> Result<String> {
    let cluster = cluster_vars(host)?;
    let mut sans = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    for plane in host.cluster().group("kube_control_plane") {
        sans.push(ip_of(host, &plane)?.to_string());
        sans.push(plane);
    }
    sans.extend(cluster.supplementary_addresses_in_ssl_keys.iter().cloned());
    sans.dedup();
    let (facts, registration) = (host.facts(), node_registration(host)?);
    let extra = json!({
        "address": ip(host)?,
        "version": cluster.kube_version,
        "endpoint": endpoint(host, &cluster)?,
        "image_repository": "registry.k8s.io",
        "etcd_endpoints": etcd::client_urls(host)?,
        "sans": sans,
        "may_lower_oom_score": facts.may_lower_oom_score(),
        "node_registration": registration.trim_end(),
        "kubelet_config": kubelet::config(host)?.trim_end(),
    });
    host.render("init.yaml.j2", include_str!("templates/init.yaml.j2"), &extra)
}
