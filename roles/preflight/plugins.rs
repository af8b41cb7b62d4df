//! The network plugins on a machine: that of the cluster, which no other one follows, and what comes before or after ours.

use muster_engine::prelude::Problem;
use muster_engine::script::quote;

use super::Machine;
use super::findings::problem;
use super::foreign::{concerns, file_name};

/// The network plugins that muster sets up, and their files in the folder of network plugins.
const PLUGINS: [(&str, &str); 3] =
    [("flannel", "10-flannel.conflist"), ("calico", "10-calico.conflist"), ("cilium", "05-cilium.conflist")];

/// A node of the cluster has the network of the plugin that the cluster began with: pods have addresses of it, and nobody takes
/// them over.
pub(super) fn other_plugin_of_cluster(machine: &Machine) -> Option<Problem> {
    let is_there = |file: &str| machine.seen.foreign.cni.iter().any(|(path, _)| file_name(path) == file);
    let (plugin, file) = PLUGINS.into_iter().find(|(_, file)| machine.seen.joined && is_there(file))?;
    Some(problem(
        "kube_network_plugin",
        format!("{} in a cluster with {plugin} (/etc/cni/net.d/{file})", machine.vars.kube_network_plugin),
        format!(
            "{plugin}: the network of a cluster that stands cannot become another one, because its pods have addresses of it"
        ),
        format!(
            "set kube_network_plugin: {plugin}; for another network begin the cluster anew: reset-cluster, then setup-cluster"
        ),
    ))
}

/// Plugins that are no network of a cluster by themselves: container engines have them for containers of their own.
const OF_ENGINES: [&str; 9] =
    ["", "bridge", "loopback", "ptp", "macvlan", "ipvlan", "vlan", "host-device", "dummy"];

/// A node whose pods have a network that somebody else has brought, and nothing of ours yet. Multus is none: it calls others.
pub(super) fn network_of_others(machine: &Machine) -> Option<Problem> {
    machine.vars.conflist().filter(|_| machine.seen.joined && !machine.seen.foreign.own)?;
    let is_network = |(path, kind): &&(String, String)| {
        let is_told = PLUGINS.iter().any(|(_, file)| *file == file_name(path));
        let calls_others = OF_ENGINES.contains(&kind.as_str()) || kind.starts_with("multus");
        !is_told && (!calls_others || path.contains("kuberouter"))
    };
    let (path, kind) = machine.seen.foreign.cni.iter().filter(is_network).min()?;
    Some(problem(
        "kube_network_plugin",
        format!(
            "{} in a cluster whose pods are connected by {} ({path})",
            machine.vars.kube_network_plugin,
            plugin(kind)
        ),
        "the network that the cluster has: it cannot become another one, because pods have addresses of it",
        "set kube_network_plugin as it was (none, or custom_cni); for another network begin the cluster anew: reset-cluster, then \
         setup-cluster",
    ))
}

/// That of another plugin which comes before ours, and so is the only one that counts. On a node, Multus is one that calls ours.
pub(super) fn first_plugin(machine: &Machine) -> Option<Problem> {
    let ours = machine.vars.conflist()?;
    let before = |(path, kind): &&(String, String)| {
        file_name(path) < ours && !(machine.seen.joined && kind.starts_with("multus"))
    };
    let (path, kind) = machine.seen.foreign.cni.iter().filter(before).min()?;
    concerns(machine, "kubelet").then(|| {
        problem(
            "network plugin",
            format!("{path} asks for {}, and comes before {ours}", plugin(kind)),
            format!("no file there whose name comes before {ours}: pods get the network of the first one"),
            format!(
                "on {}: {}; or to keep that plugin, set kube_network_plugin: none",
                machine.name,
                put_aside(path)
            ),
        )
    })
}

/// Those that come after ours are taken while ours is not there yet.
pub(super) fn other_plugins(machine: &Machine) -> Option<Problem> {
    let ours = machine.vars.conflist()?;
    let after = machine.seen.foreign.cni.iter().filter(|(path, _)| file_name(path) > ours);
    let paths: Vec<&str> = after.map(|(path, _)| path.as_str()).collect();
    (!machine.seen.joined && !paths.is_empty() && concerns(machine, "kubelet")).then(|| {
        let away: Vec<_> = paths.iter().map(|path| put_aside(path)).collect();
        problem(
            "network plugin",
            format!("{} of another program", paths.join(" and ")),
            format!("{ours} alone: until it is there, pods get the network of the other one"),
            format!("on {}, if no program needs it: {}", machine.name, away.join("; ")),
        )
    })
}

/// The command that puts a file where no program looks for it.
fn put_aside(path: &str) -> String {
    format!("mv {} {}", quote(path), quote(&format!("{path}.off")))
}

fn plugin(kind: &str) -> String {
    if kind.is_empty() { "a plugin that cannot be read".to_owned() } else { format!("the plugin {kind}") }
}
