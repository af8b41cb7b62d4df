//! The network of pods: what flannel of others is told and does, beside what muster's would. It cannot change under pods.

use muster_engine::prelude::*;
use serde_json::Value;

use super::kubelet::joined;
use super::living::refused;

/// The interface to the other machines that a variable asks flannel to take, and the argument that it becomes.
#[derive(Debug, PartialEq)]
pub(super) struct Interface {
    variable: &'static str,
    flag: String,
}

impl Interface {
    /// That of the inventory; `None` where it is the one with each machine's address.
    pub(super) fn wanted(host: &Host) -> Result<Option<Self>> {
        for (variable, flag) in
            [("flannel_interface", "--iface"), ("flannel_interface_regexp", "--iface-regex")]
        {
            let value = host.all_vars().get(variable)?;
            let value = value.as_ref().and_then(|value| value.as_str()).unwrap_or_default();
            if !value.is_empty() {
                return Ok(Some(Self { variable, flag: format!("{flag}={value}") }));
            }
        }
        Ok(None)
    }
}

/// The part of flannel's configuration that cannot change under pods, with what flannel takes where nothing is said.
pub(super) fn settings(config: &Value) -> Vec<(&'static str, String)> {
    let backend = &config["Backend"];
    let text = |value: &Value, default: &str| match value {
        Value::Null => default.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let kind = text(&backend["Type"], "udp");
    let mut all =
        vec![("kube_pods_subnet", text(&config["Network"], "")), ("flannel_backend_type", kind.clone())];
    if kind == "vxlan" {
        all.extend([
            ("flannel_vxlan_vni", text(&backend["VNI"], "1")),
            ("flannel_vxlan_port", text(&backend["Port"], "8472")),
            ("flannel_vxlan_direct_routing", text(&backend["DirectRouting"], "false")),
        ]);
    }
    all
}

/// That the network of pods is another one than the inventory's, or one that muster does not take over.
pub(super) fn another_network(plugin: &str, has_flannel: bool) -> Option<Problem> {
    if plugin == "flannel" && has_flannel {
        return None;
    }
    Some(refused(
        "kube_network_plugin",
        if has_flannel {
            format!("{plugin} in the inventory, and the cluster has flannel")
        } else {
            format!(
                "{plugin} in the inventory, and the cluster has no flannel in the namespaces kube-flannel and kube-system"
            )
        },
        "the network that the cluster has",
        if has_flannel {
            "set kube_network_plugin: flannel"
        } else {
            "set kube_network_plugin: none: then the network stays what it is, and whoever has installed it looks after it"
        },
    ))
}

/// Arguments of flannel's daemon beside those of muster's: the interface to the other machines, and what would be lost. `None` where it has
/// no containers.
fn flanneld(daemons: &Value) -> Option<(Vec<String>, Vec<String>)> {
    let containers = daemons["spec"]["template"]["spec"]["containers"].as_array()?;
    let lists = containers.iter().flat_map(|container| [&container["command"], &container["args"]]);
    let words = lists.filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    let mut interfaces = Vec::new();
    let mut others = Vec::new();
    let all = joined(words);
    for flag in all.iter().filter(|flag| flag.starts_with('-')) {
        let flag = format!("--{}", flag.trim_start_matches('-'));
        let (name, value) = flag.split_once('=').unwrap_or((&flag, "true"));
        match name {
            "--iface" | "--iface-regex" => interfaces.push(flag),
            // How much it says is its own affair.
            "--v" => {}
            "--ip-masq" | "--kube-subnet-mgr" if value == "true" => {}
            _ => others.push(format!("runs with {flag}, and would not any more")),
        }
    }
    let has = |name: &str| all.iter().any(|flag| flag.trim_start_matches('-').starts_with(name));
    others.extend((!has("ip-masq")).then(|| "runs without --ip-masq, and would with it".to_owned()));
    Some((interfaces, others))
}

/// What flannel's daemon is told that it would not be told any more. `objects`: what flannel has in the cluster.
pub(super) fn daemon(objects: &[Value], wanted: Option<&Interface>) -> Vec<Problem> {
    let Some((interfaces, others)) = objects.iter().find_map(flanneld) else {
        return Vec::new();
    };
    let mut problems: Vec<Problem> = others
        .into_iter()
        .map(|found| {
            refused(
                "flannel",
                format!("flannel {found}"),
                "the arguments that muster's flannel has: --ip-masq, --kube-subnet-mgr, and the interface",
                "if nothing needs what it has, change its daemon set; else set kube_network_plugin: none: then it stays what it is, and \
                 whoever has installed it looks after it",
            )
        })
        .collect();
    // Without one, the interface is that of the machine's address, which is compared on each.
    if let Some(Interface { variable, flag }) = wanted
        && interfaces != [flag.clone()]
    {
        let found = if interfaces.is_empty() { "no --iface".to_owned() } else { interfaces.join(" ") };
        problems.push(refused(
            variable,
            format!("{flag} would be flannel's, which runs with {found}"),
            "the interface by which it sends to other machines",
            match interface_line(&interfaces) {
                Some(line) => format!("set {line}"),
                None => format!("take {variable} out of the inventory"),
            },
        ));
    }
    problems
}

/// That flannel sends to other machines from another address of a machine than it would: they would not reach its pods any more while
/// some of them know the one and some the other, or at all, where the network of the other one does not lead there. `has`: the address
/// from which it sends.
pub(super) fn other_interface(
    objects: &[Value],
    name: &str,
    has: Option<&str>,
    address: &str,
) -> Option<Problem> {
    let has = has.filter(|has| *has != address)?;
    let interfaces = objects.iter().find_map(flanneld).map(|(interfaces, _)| interfaces);
    let line = interfaces.as_deref().and_then(interface_line);
    Some(refused(
        "flannel_interface",
        format!("flannel of {name} sends to other machines from {has}, and would from {address}"),
        "the interface by which they reach each other's pods now",
        match line {
            Some(line) => format!("set {line}"),
            None => format!(
                "set flannel_interface to the interface with {has}, or, where it has not the same name everywhere, \
                 flannel_interface_regexp to what its address matches"
            ),
        },
    ))
}

/// The line for the inventory that gives flannel the interface that it has, where that is one.
fn interface_line(interfaces: &[String]) -> Option<String> {
    let [one] = interfaces else { return None };
    match one.split_once('=')? {
        ("--iface", value) => Some(format!("flannel_interface: {value}")),
        (_, value) => Some(format!("flannel_interface_regexp: {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOTHING: [(String, String); 0] = [];

    #[test]
    fn flannel_is_compared_with_what_it_takes_where_nothing_is_said() {
        let of_upstream =
            json!({ "Network": "10.244.0.0/16", "EnableNFTables": false, "Backend": { "Type": "vxlan" } });
        let of_muster = json!({ "Network": "10.244.0.0/16", "Backend": { "Type": "vxlan", "VNI": 1, "Port": 8472, "DirectRouting": false } });
        assert_eq!(settings(&of_upstream), settings(&of_muster));
        assert_ne!(
            settings(&of_upstream),
            settings(&json!({ "Network": "10.244.0.0/16", "Backend": { "Type": "host-gw" } }))
        );
    }

    #[test]
    fn another_network_than_the_clusters_and_one_that_is_not_taken_over_are_told() {
        let told = |plugin: &str, has_flannel: bool| {
            another_network(plugin, has_flannel).map(|problem| (problem.found, problem.remedy))
        };
        assert_eq!(told("flannel", true), None);
        for plugin in ["calico", "cilium"] {
            let (found, remedy) = told(plugin, true).unwrap();
            assert_eq!(found, format!("{plugin} in the inventory, and the cluster has flannel"));
            assert_eq!(remedy, "set kube_network_plugin: flannel");
            // The cluster has it: it stays, with those who look after it.
            let (found, remedy) = told(plugin, false).unwrap();
            assert!(
                found.contains("no flannel") && remedy.starts_with("set kube_network_plugin: none"),
                "{found}"
            );
        }
        assert!(told("flannel", false).is_some());
    }

    #[test]
    fn arguments_of_flannels_daemon_are_told_apart() {
        let of = |command: &[&str], args: &[&str]| {
            let containers = json!([{ "command": command, "args": args }]);
            flanneld(&json!({ "spec": { "template": { "spec": { "containers": containers } } } })).unwrap()
        };
        let nothing: Vec<String> = Vec::new();
        // Upstream's manifest, and kubespray's.
        assert_eq!(
            of(&["/opt/bin/flanneld"], &["--ip-masq", "--kube-subnet-mgr"]),
            (nothing.clone(), nothing.clone())
        );
        let (interfaces, others) =
            of(&["/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr", "--iface=eth1"], &[]);
        assert_eq!((interfaces, others), (vec!["--iface=eth1".to_owned()], nothing));
        let (_, others) = of(&[], &["-kube-subnet-mgr", "--healthz-port", "8080"]);
        assert_eq!(
            others,
            [
                "runs with --healthz-port=8080, and would not any more",
                "runs without --ip-masq, and would with it"
            ]
        );
        assert_eq!(flanneld(&json!({ "data": {} })), None);
    }

    #[test]
    fn flannel_goes_on_to_send_by_the_interface_that_it_has() {
        let with = |more: &[&str]| {
            let command = [&["/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr"][..], more].concat();
            let pod = json!({ "spec": { "containers": [{ "command": command }] } });
            [json!({ "data": {} }), json!({ "spec": { "template": pod } })]
        };
        // On machines of Vagrant's the first interface leads to the world, the second one to the others.
        let told = |objects: &[Value], has: Option<&str>, address: &str| {
            other_interface(objects, "node1", has, address).map(|problem| problem.remedy)
        };
        let other = Some("192.168.56.11");
        assert_eq!(
            told(&with(&["--iface=eth1"]), other, "10.0.2.15"),
            Some("set flannel_interface: eth1".to_owned())
        );
        assert!(told(&with(&[]), other, "10.0.2.15").unwrap().contains("the interface with 192.168.56.11"));
        assert_eq!(told(&with(&["--iface=eth1"]), other, "192.168.56.11"), None);
        assert_eq!(told(&with(&[]), None, "10.0.2.15"), None);

        let told = |objects: &[Value], interface: Option<&str>| {
            let wanted = interface.map(|interface| Interface {
                variable: "flannel_interface",
                flag: format!("--iface={interface}"),
            });
            let found = daemon(objects, wanted.as_ref());
            found.into_iter().map(|problem| (problem.check, problem.remedy)).collect::<Vec<_>>()
        };
        assert_eq!(told(&with(&["--iface=eth1"]), Some("eth1")), NOTHING);
        assert_eq!(told(&with(&["--iface=eth1"]), None), NOTHING);
        let line = |line: &str| vec![("flannel_interface".to_owned(), line.to_owned())];
        assert_eq!(told(&with(&["--iface=eth1"]), Some("eth2")), line("set flannel_interface: eth1"));
        assert_eq!(told(&with(&[]), Some("eth2")), line("take flannel_interface out of the inventory"));
        let other = told(&with(&["--public-ip=192.0.2.9"]), None);
        assert!(other.len() == 1 && other[0].1.contains("kube_network_plugin: none"), "{other:?}");
        assert_eq!(told(&[], Some("eth2")), NOTHING);
    }
}
