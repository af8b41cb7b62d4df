//! The cluster begins.

use muster_engine::prelude::*;
use serde_json::json;

use super::{endpoint, node_registration};
use crate::common::{ADMIN_CONF, cluster_vars, ip, ip_of};
use crate::etcd;

const CONFIG: &str = "/etc/kubernetes/kubeadm-config.yaml";

/// Left behind when `kubeadm init` has come to its end: one that was cut off does not leave it, and is run again.
const DONE: &str = "/var/lib/muster/stamps/kubeadm-init";

pub(super) async fn run(host: &Host) -> Result<()> {
    let config = host
        .step("Configure the control plane")
        .ensure(dir("/etc/kubernetes"))
        .ensure(file(CONFIG).content(config(host)?).mode(0o600))
        .await?;
    drop(config);

    host.step("kubeadm init")
        .ensure(command(
            "control plane",
            // Certificates, kubeconfigs and manifests of an attempt that was cut off are taken over by kubeadm; only its
            // checks would complain about them. DNS is a role of its own.
            sh(
                r#"
ignore=DirAvailable--etc-kubernetes-manifests,Port-6443,Port-10250,Port-10257,Port-10259
for f in kube-apiserver kube-controller-manager kube-scheduler; do
  ignore=$ignore,FileAvailable--etc-kubernetes-manifests-$f.yaml
done
systemctl enable -q kubelet
kubeadm init --config "$1" --skip-phases=addon/coredns --skip-token-print --ignore-preflight-errors="$ignore"
mkdir -p "${2%/*}"
date >"$2""#,
                [CONFIG, DONE],
            ),
            sh(r#"[ -e "$1" ] && [ -e "$2" ]"#, [DONE, ADMIN_CONF]),
        ))
        .ensure(service("kubelet"))
        .await?;

    host.wait(
        "the API server answers",
        sh("kubectl --kubeconfig \"$1\" --request-timeout=5s get --raw /readyz", [ADMIN_CONF]),
        Duration::from_millis(500),
        Duration::from_secs(180),
    )
    .await?;
    Ok(())
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
    });
    host.render("init.yaml.j2", include_str!("templates/init.yaml.j2"), &extra)
}
