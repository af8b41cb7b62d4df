//! Whether anybody carries the cluster's services where kube-proxy is not to be there.

use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::settings::Setting;
use crate::cilium;

/// That nobody would: of muster's networks cilium alone can, where it is told to. Of a network of the user's own that is not known
/// before there is a cluster.
pub(super) fn check(vars: &HostVars) -> Option<Problem> {
    let removed = Setting::of(vars, "kube_proxy_remove")?;
    let plugin = Setting::of(vars, "kube_network_plugin")?.text;
    if vars.get(removed.name).ok()??.as_bool() != Some(true) {
        return None;
    }
    match plugin.as_str() {
        "flannel" | "calico" => Some(removed.wrong(
            format!("false, as kube_network_plugin is {plugin}: nobody else carries services to pods"),
            "set kube_proxy_remove: false; in a new cluster cilium can carry them: set kube_network_plugin: cilium and \
             cilium_kube_proxy_replacement: true",
        )),
        "cilium" if !cilium::carries_services(vars) => Some(removed.wrong(
            "false, as cilium is not told to do kube-proxy's work: nobody would carry services to pods",
            "set cilium_kube_proxy_replacement: true, and no kubeProxyReplacement in cilium_extra_values; or set \
             kube_proxy_remove: false",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{each_is_refused, told, variables};
    use super::*;

    #[test]
    fn services_that_nobody_would_carry_are_refused() {
        each_is_refused(
            &[
                ("", ""),
                ("kube_proxy_remove: true", "kube_proxy_remove: true (vars.yml:1:20)"),
                ("kube_proxy_remove: 'yes'", "kube_proxy_remove: yes"),
                ("kube_proxy_remove: true\nkube_network_plugin: calico", "kube_proxy_remove: true"),
                ("kube_proxy_remove: true\nkube_network_plugin: custom_cni", ""),
                ("kube_proxy_remove: true\nkube_network_plugin: none", ""),
                ("kube_proxy_remove: true\nkube_network_plugin: cilium", "kube_proxy_remove: true"),
                ("kube_network_plugin: cilium", ""),
                ("kube_network_plugin: cilium\ncilium_kube_proxy_replacement: true", ""),
                (
                    "kube_network_plugin: cilium\nkube_proxy_remove: true\ncilium_extra_values: {kubeProxyReplacement: true}",
                    "",
                ),
                (
                    "kube_network_plugin: cilium\ncilium_kube_proxy_replacement: true\n\
                     cilium_extra_values: {kubeProxyReplacement: false}",
                    "kube_proxy_remove: true",
                ),
                ("cilium_kube_proxy_replacement: true", ""),
            ],
            |yaml| check(&variables(yaml)).iter().map(told).collect(),
        );
    }
}
