//! Variables that say to Kubernetes what an old version of it does not understand yet.

use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::settings::Setting;
use crate::common::kube_minor;
use crate::kubeadm::{SAYS_WHO_IS_ANONYMOUS, V1BETA4};

/// A variable, which of its values an old version does not understand, and the minor version that does.
type Need = (&'static str, fn(&str) -> bool, u32);

const NEEDS: [Need; 6] = [
    // Fields of kubeadm.k8s.io/v1beta4.
    ("kube_cert_validity_period", |_| true, V1BETA4),
    ("kube_ca_cert_validity_period", |_| true, V1BETA4),
    ("kube_asymmetric_encryption_algorithm", |_| true, V1BETA4),
    // The feature gate NFTablesProxyMode is on since then.
    ("kube_proxy_mode", |mode| mode == "nftables", 31),
    // The API server would answer nobody without a name, the kubelet's probes neither.
    ("kube_api_anonymous_auth", |text| ["false", "no", "off"].contains(&text), SAYS_WHO_IS_ANONYMOUS),
    ("kube_apiserver_authentication_config_anonymous", |text| text != "{}", SAYS_WHO_IS_ANONYMOUS),
];

pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let Some(version) = Setting::of(vars, "kube_version") else { return Vec::new() };
    let minor = kube_minor(version.text.trim_start_matches('v'));
    let tell = |(name, is_new, since): Need| {
        let setting = Setting::of(vars, name)
            .filter(|setting| minor < since && is_new(&setting.text.to_lowercase()))?;
        Some(setting.wrong(
            format!("Kubernetes 1.{since}, or none of it: version 1.{minor} cannot be told so"),
            format!("remove it until the cluster has gone to 1.{since}: upgrade-cluster goes there, one minor version after the other"),
        ))
    };
    NEEDS.into_iter().filter_map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{told, variables};
    use super::*;

    #[test]
    fn what_an_old_version_cannot_be_told_is_refused_by_name() {
        let found = |version: &str, yaml: &str| -> Vec<String> {
            let problems = check(&variables(&format!("kube_version: {version}\n{yaml}")));
            problems.iter().map(|problem| told(problem).split(':').next().unwrap().to_owned()).collect()
        };
        let rows = [
            ("kube_cert_validity_period: 8760h", "1.30.14", "1.31.14"),
            ("kube_ca_cert_validity_period: 87600h", "1.30.14", "1.31.14"),
            ("kube_asymmetric_encryption_algorithm: RSA-4096", "1.30.14", "1.31.14"),
            ("kube_proxy_mode: nftables", "1.30.14", "1.31.14"),
            ("kube_api_anonymous_auth: false", "1.31.14", "1.32.13"),
            ("kube_apiserver_authentication_config_anonymous: {enabled: true}", "1.31.14", "1.32.13"),
        ];
        for (yaml, old, new) in rows {
            let name = yaml.split(':').next().unwrap();
            assert_eq!(found(old, yaml), [name], "{yaml}");
            assert_eq!(found(&format!("v{old}"), yaml), [name], "{yaml}");
            assert_eq!(found(new, yaml), [""; 0], "{yaml}");
        }
        assert_eq!(found("1.30.14", "kube_proxy_mode: userspace\nkube_api_anonymous_auth: 'yes'"), [""; 0]);
        assert_eq!(found("1.30.14", ""), [""; 0]);
    }
}
