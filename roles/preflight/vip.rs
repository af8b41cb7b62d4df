//! The address of the API that control planes are to share, as it is written.

use std::net::{IpAddr, Ipv4Addr};

use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::findings::problem;
use super::settings::{Setting, place};
use crate::vip::{ADDRESS, ENABLED, OF_CONTROL_PLANES, is_asked_for};

/// What is wrong with it on one host.
pub(super) fn check(vars: &HostVars) -> Option<Problem> {
    let enabled = Setting::of(vars, ENABLED).filter(|enabled| enabled.text == "true")?;
    if !is_asked_for(vars) {
        return Some(enabled.wrong(
            format!("{OF_CONTROL_PLANES}: true beside it: an address that the control planes share is all that there is"),
            format!("set {OF_CONTROL_PLANES}: true, or remove {ENABLED}"),
        ));
    }
    let needed = "a free IPv4 address in the network of the control planes";
    let remedy = format!("set {ADDRESS}: 192.0.2.10, to such an address, or remove {ENABLED}");
    let Some(address) = Setting::of(vars, ADDRESS) else {
        return Some(problem(ADDRESS, "nothing", needed, remedy));
    };
    let Ok(parsed) = address.text.parse::<Ipv4Addr>() else {
        let alone = address.text.split_once('/').filter(|(alone, _)| alone.parse::<Ipv4Addr>().is_ok());
        let remedy = alone.map_or(remedy, |(alone, _)| {
            format!("set {ADDRESS}: {alone}, without the length of the network")
        });
        return Some(address.wrong(needed, remedy));
    };
    let owner = ["ip", "access_ip", "ansible_host"].into_iter().find(|name| {
        let own = vars.get(name).ok().flatten().and_then(|own| own.as_str()?.parse::<IpAddr>().ok());
        own == Some(IpAddr::V4(parsed))
    })?;
    let found = format!("{parsed}{}, which is the machine's own {owner}", place(vars, ADDRESS));
    Some(problem(
        ADDRESS,
        found,
        "an address that no machine has",
        format!("set {ADDRESS} to another address"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{each_is_refused, told, variables};
    use super::*;

    #[test]
    fn an_address_that_cannot_be_shared_is_refused() {
        each_is_refused(
            &[
                ("kube_vip_enabled: false", ""),
                ("kube_vip_address: nonsense", ""),
                ("kube_vip_enabled: true", "kube_vip_enabled: true"),
                (
                    "{kube_vip_enabled: true, kube_vip_controlplane_enabled: true}",
                    "kube_vip_address: nothing",
                ),
                (
                    "{kube_vip_enabled: true, kube_vip_controlplane_enabled: true, kube_vip_address: api.example.org}",
                    "kube_vip_address: api.example.org (vars.yml:1:",
                ),
                (
                    "{kube_vip_enabled: true, kube_vip_controlplane_enabled: true, kube_vip_address: '2001:db8::1'}",
                    "kube_vip_address: 2001:db8::1 (vars.yml:1:",
                ),
                (
                    "{kube_vip_enabled: true, kube_vip_controlplane_enabled: true, kube_vip_address: 192.0.2.10, ip: 192.0.2.10}",
                    "kube_vip_address: 192.0.2.10 (vars.yml:1:81), which is the machine's own ip",
                ),
                (
                    "{kube_vip_enabled: true, kube_vip_controlplane_enabled: true, kube_vip_address: 192.0.2.10, ip: 192.0.2.11}",
                    "",
                ),
            ],
            |yaml| check(&variables(yaml)).iter().map(told).collect(),
        );
    }
}
