//! What of MetalLB's variables cannot be.

use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::findings::problem;
use super::settings::{Setting, place};
use crate::apps::metallb::Config;
use crate::catalogue::wants_app;

/// Everything of one machine's variables, where MetalLB is wanted.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    if !wants_app(vars, "metallb").unwrap_or(false) {
        return Vec::new();
    }
    let config = Config::of(vars).err().map(|why| {
        problem(
            "metallb_config",
            format!("{why}{}", place(vars, "metallb_config")),
            "address_pools with ip_range, and layer2",
            "see muster docs vars metallb_config",
        )
    });
    let text = |name| Setting::of(vars, name).map(|setting| setting.text.to_lowercase()).unwrap_or_default();
    // https://metallb.io/installation/, "Preparation".
    let answers_twice = text("kube_proxy_mode") == "ipvs" && text("kube_proxy_strict_arp") != "true";
    let strict_arp = answers_twice.then(|| {
        problem(
            "kube_proxy_strict_arp",
            text("kube_proxy_strict_arp"),
            "true with kube_proxy_mode ipvs and MetalLB: otherwise every node answers for every address",
            "set kube_proxy_strict_arp: true",
        )
    });
    config.into_iter().chain(strict_arp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::{told, variables};

    #[test]
    fn what_does_not_go_together_is_told_where_metallb_is_wanted() {
        let told = |yaml: &str| check(&variables(yaml)).iter().map(told).collect::<Vec<_>>().join("; ");
        let ipvs = "kube_proxy_mode: ipvs\nmetallb_enabled: true\n";
        assert_eq!(told(ipvs), "kube_proxy_strict_arp: false");
        assert_eq!(told(&format!("{ipvs}kube_proxy_strict_arp: true\n")), "");
        assert_eq!(told("kube_proxy_mode: ipvs\nmetallb_config: {layer2: [a]}\n"), "");
        let config = told("metallb_enabled: true\nmetallb_config: {layer2: [a]}\n");
        assert_eq!(config, "metallb_config: layer2: there is no pool \"a\" in address_pools (vars.yml:2:17)");
    }
}
