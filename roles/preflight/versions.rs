//! Versions that variables say: of Kubernetes, and of what goes with it.

use muster_artifacts::{Arch, NotInCatalogue};
use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::settings::Setting;
use crate::catalogue::{CATALOGUE, wants_app};

/// The version of Kubernetes.
pub(super) fn kube_version(vars: &HostVars) -> Option<Problem> {
    let setting = Setting::of(vars, "kube_version")?;
    // Which machines it is for is not known yet: that the version exists is.
    match CATALOGUE.release(setting.text.trim_start_matches('v'), Arch::Amd64) {
        Err(NotInCatalogue::TooOld { oldest, why, .. }) => Some(setting.wrong(
            format!("a version of the catalogue, which begins with {oldest}: {why}"),
            format!(
                "set kube_version: {} for a new cluster (all there are: muster bundle list --versions)",
                CATALOGUE.default_release()
            ),
        )),
        Err(NotInCatalogue::Version { nearest, .. }) => {
            // The newest of the same minor; where that is gone, what a new cluster gets; where it is yet to come, the newest.
            let minor = |version: &str| crate::common::kube_minor(version.trim_start_matches('v'));
            let wanted = minor(&setting.text);
            let same_minor = |release: &&str| minor(release) == wanted;
            let yet_to_come =
                || CATALOGUE.releases().into_iter().next().filter(|newest| minor(newest) < wanted);
            let newest = CATALOGUE.releases().into_iter().find(same_minor).or_else(yet_to_come);
            let newest = newest.unwrap_or(CATALOGUE.default_release());
            let needed = format!("a version of the catalogue; the nearest: {nearest}");
            let remedy = format!("set kube_version: {newest} (all there are: muster bundle list --versions)");
            Some(setting.wrong(needed, remedy))
        }
        _ => None,
    }
}

/// kubespray's variables for versions of what goes with Kubernetes, and the names in the catalogue.
const VERSIONS: [(&str, &str); 12] = [
    ("etcd_version", "etcd"),
    ("containerd_version", "containerd"),
    ("runc_version", "runc"),
    ("cni_version", "cni-plugins"),
    ("flannel_version", "flannel"),
    ("flannel_cni_version", "flannel-cni"),
    ("calico_version", "calico-manifest"),
    ("cilium_version", "cilium-chart"),
    ("gateway_api_version", "gateway-api-standard"),
    ("argocd_version", "argocd-manifest"),
    ("coredns_version", "coredns"),
    ("pod_infra_version", "pause"),
];

/// Versions that are not installed, whatever the variables say.
pub(super) fn other_versions(vars: &HostVars) -> Vec<Problem> {
    // Of an application that is off nothing is installed.
    let is_on = |variable: &str| match variable {
        "gateway_api_version" => wants_app(vars, "gateway-api").unwrap_or(false),
        "argocd_version" => wants_app(vars, "argocd").unwrap_or(false),
        _ => true,
    };
    let settings: Vec<_> = VERSIONS
        .iter()
        .filter(|(variable, _)| is_on(variable))
        .filter_map(|(variable, name)| Some((Setting::by_user(vars, variable)?, *name)))
        .collect();
    let Some(version) = Setting::of(vars, "kube_version").filter(|_| !settings.is_empty()) else {
        return Vec::new();
    };
    let Ok(release) = CATALOGUE.release(version.text.trim_start_matches('v'), Arch::Amd64) else {
        return Vec::new();
    };
    let tell = |(setting, name): (Setting, &str)| {
        // Of some it may be said which of the catalogue's versions is taken.
        let asked = setting.text.trim_start_matches('v');
        let choices = match setting.name {
            "calico_version" | "runc_version" | "gateway_api_version" => CATALOGUE.versions(name),
            _ => Vec::new(),
        };
        if choices.contains(&asked) {
            return None;
        }
        let image = || release.image(name).map(|image| &image.version);
        let version = release.file(name).map(|file| &file.version).or_else(image)?;
        (setting.text.trim_start_matches('v') != version).then(|| {
            let needed = format!("{version}, which the catalogue has for Kubernetes {}", release.version);
            let or = match choices.as_slice() {
                [] => String::new(),
                choices => format!(", or set one of {}", choices.join(", ")),
            };
            setting.wrong(needed, format!("{version} is installed; remove {}{or}", setting.name))
        })
    };
    settings.into_iter().filter_map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{told, variables};
    use super::*;

    #[test]
    fn the_nearest_version_is_proposed() {
        let told =
            |version: &str| kube_version(&variables(&format!("kube_version: {version}"))).unwrap().remedy;
        assert!(told("1.36").starts_with("set kube_version: 1.36."), "{}", told("1.36"));
        let default = format!("set kube_version: {} ", CATALOGUE.default_release());
        for old in ["v1.29.1", "1.28.6", "v1.10.2"] {
            assert!(told(old).starts_with(&default), "whatever the patch was: {}", told(old));
        }
    }

    #[test]
    fn the_version_of_an_application_that_is_off_is_nobodys() {
        let of = |yaml: &str| other_versions(&variables(yaml)).iter().map(told).collect::<Vec<_>>();
        for name in ["argocd", "gateway_api"] {
            assert_eq!(of(&format!("{name}_version: 0.1.0")), [""; 0], "{name}");
            let on = of(&format!("{name}_enabled: true\n{name}_version: 0.1.0"));
            assert_eq!(on, [format!("{name}_version: 0.1.0 (vars.yml:2:{})", name.len() + 11)]);
        }
    }
}
