//! The kubelet: its unit, its configuration, and that it runs with what the variables say, also on a machine that is in the
//! cluster already.

use muster_artifacts::Sha256;
use muster_engine::facts::Facts;
use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::PATCHES;
use crate::cluster::Standing;
use crate::common::{bin_dir, cluster_vars, kube_minor};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    kube_resolv_conf: Option<String>,
}

/// Holds what [`wanted`] was when the kubelet last got its configuration from the cluster.
pub(super) const STAMP: &str = "/var/lib/muster/stamps/kubelet-config";

/// The unit.
pub(super) fn unit(host: &Host) -> Result<String> {
    let extra = json!({ "bin_dir": bin_dir(host)? });
    host.render("kubelet.service.j2", include_str!("templates/kubelet.service.j2"), &extra)
}

/// The configuration of all kubelets, which the cluster keeps.
pub(super) fn config(host: &Host) -> Result<String> {
    host.render("kubelet-config.yaml.j2", include_str!("templates/kubelet-config.yaml.j2"), &json!({}))
}

/// How this machine's kubelet differs from it.
pub(super) fn patch(host: &Host) -> Result<String> {
    let (vars, cluster): (Vars, _) = (host.vars()?, cluster_vars(host)?);
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

/// A hash of everything that a kubelet reads when it starts. What is cluster-wide is that of a control plane.
pub(super) fn wanted(host: &Host, known: &Standing) -> Result<String> {
    let config = match known.speaker() {
        Some(plane) => config(&*host.cluster().host(plane)?)?,
        None => config(host)?,
    };
    let all = [unit(host)?, config, patch(host)?].concat();
    Ok(Sha256::of(all.as_bytes()).to_string())
}

/// The kubelet runs, with the configuration that the cluster has for it now.
pub(super) async fn run(host: &Host, known: &Standing) -> Result<()> {
    let mut step = host.step("Run the kubelet");
    // Without a control plane in the run it is not known whether the cluster has the new configuration yet.
    if known.leader().is_some() {
        step = step.ensure(command(
            "configuration of the kubelet",
            sh(
                r#"
kubeadm upgrade node phase kubelet-config --patches "$3"
systemctl daemon-reload
systemctl restart kubelet
mkdir -p "${1%/*}"
echo "$2" >"$1""#,
                [STAMP, &wanted(host, known)?, PATCHES],
            ),
            sh(r#"[ "$(cat "$1")" = "$2" ]"#, [STAMP, &wanted(host, known)?]),
        ));
    }
    step.ensure(service("kubelet")).await.map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn config(yaml: &str) -> String {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        vars.render(include_str!("templates/kubelet-config.yaml.j2"), "kubelet-config", &json!({})).unwrap()
    }

    #[test]
    fn eviction_follows_the_variables() {
        let own = config("");
        assert!(!own.contains("evictionHard"), "Kubernetes' own thresholds hold: {own}");
        assert!(own.ends_with("imageGCHighThresholdPercent: 85\nimageGCLowThresholdPercent: 80\n"), "{own}");
        let set = config("eviction_hard: {nodefs.available: '0%'}\nkubelet_image_gc_high_threshold: 100");
        assert!(set.contains("\nevictionHard: {\"nodefs.available\": \"0%\"}\n"), "{set}");
        assert!(set.contains("\nimageGCHighThresholdPercent: 100\n"), "{set}");
    }
}
