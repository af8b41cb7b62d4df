//! A node's network for pods is the one that the cluster says.
//!
//! It becomes another one where the Node was made anew (a removal that was cut off, `kubectl delete node`: its kubelet registers it
//! again), or where a restore of etcd brings an older one back. flannel's daemon and the bridge keep the addresses that they have: no
//! new pod starts on that node, and nobody finds those that run. So all of it is taken away, and the node's pods begin anew, flannel's
//! among them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use muster_engine::prelude::*;

use crate::common::cluster_vars;
use crate::kubectl::Kubectl;
use crate::{cluster, kubeadm, pods};

/// What flannel had written of a network that was taken away, until all pods were told to begin anew, or the machine restarts: a run that
/// was cut off goes on from there. flannel's own pod is among the first, so what it writes then says nothing of the others.
pub(super) const FORMER: &str = "/run/flannel/former-subnet.env";

/// How often a node is asked for that the cluster does not know yet, every two seconds.
const LOOKS: u32 = 30;

/// Whether the node may have another network than the cluster says, by what this run knows without asking anybody: a node that is well
/// costs nothing. `written`: what flannel has written; nothing where a network was taken away, and pods are still to begin anew.
pub(super) fn may_differ(host: &Host, written: &str) -> Result<bool> {
    match kubeadm::network_of(host, &cluster_vars(host)?.kube_override_hostname) {
        Some(network) => {
            let addresses = host.facts().addresses.iter().filter(|address| address.interface == "cni0");
            let of_bridge: Vec<String> = addresses
                .filter(|address| address.ip.is_ipv4())
                .map(|address| format!("{}/{}", address.ip, address.prefix))
                .collect();
            Ok(differs(&network, written, &of_bridge))
        }
        // The node has joined since; or nobody has looked in this run.
        None => Ok(cluster::had_joined(host)),
    }
}

/// Whether flannel or the bridge, where there is one, have another address than the first one of a network.
fn differs(network: &str, written: &str, of_bridge: &[String]) -> bool {
    let Ok(network) = network.parse::<Ipv4Net>() else { return false };
    let first = Ipv4Addr::from(u32::from(network.network()).saturating_add(1));
    let first = format!("{first}/{}", network.prefix_len());
    let is_written = written.lines().any(|line| line.strip_prefix("FLANNEL_SUBNET=") == Some(first.as_str()));
    !is_written || !of_bridge.is_empty() && !of_bridge.contains(&first)
}

/// The node has the network that the cluster says. Whether it was another one, and is to come anew.
pub(crate) async fn fit(host: &Host) -> Result<bool> {
    let node = cluster_vars(host)?.kube_override_hostname;
    for _ in 0..LOOKS {
        let look = sh(concat!(include_str!("network.sh"), r#"network "$1""#), [node.as_str()]);
        match host.query(look).await?.output.trim() {
            "another" => return make_anew(host, &node).await.map(|()| true),
            "unknown" if !host.check_mode() => {
                host.pause("the cluster to know the node", Duration::from_secs(2)).await?;
            }
            _ => return Ok(false),
        }
    }
    host.warn(format!(
        "the cluster does not say which network the pods of {node} have: setup-cluster looks at it again"
    ));
    Ok(false)
}

async fn make_anew(host: &Host, node: &str) -> Result<()> {
    let take_away = sh(
        r#"mkdir -p /run/flannel
: >>"$2"
[ ! -e /run/flannel/subnet.env ] || mv -f /run/flannel/subnet.env "$2"
[ ! -e /sys/class/net/cni0 ] || ip link delete cni0"#,
        [node, FORMER],
    );
    let fits = sh(concat!(include_str!("network.sh"), r#"[ "$(network "$1")" != another ]"#), [node]);
    host.step("Take away another network for pods")
        .ensure(command(format!("network for pods of {node}"), take_away, fits))
        .await?;
    match Kubectl::find(host).await?.filter(|_| !host.check_mode()) {
        Some(kubectl) => {
            pods::begin_anew(&kubectl, Some(node)).await?;
            let forget = sh(r#"rm -f "$1""#, [FORMER]);
            host.run("Forget the other network", forget, Duration::from_secs(60)).await.map(drop)
        }
        None => {
            host.not_yet("Let pods begin anew");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_differs_where_flannel_or_the_bridge_have_another_address() {
        let written = "FLANNEL_NETWORK=10.233.64.0/18\nFLANNEL_SUBNET=10.233.66.1/24\nFLANNEL_MTU=1450\n";
        let bridge = ["10.233.66.1/24".to_owned()];
        for (network, written, of_bridge, expected) in [
            ("10.233.66.0/24", written, &bridge[..], false),
            // No pod has needed the bridge yet.
            ("10.233.66.0/24", written, &[], false),
            ("10.233.68.0/24", written, &bridge, true),
            // flannel began anew, and the bridge is from before.
            ("10.233.68.0/24", "FLANNEL_SUBNET=10.233.68.1/24\n", &bridge, true),
            ("10.233.66.0/25", written, &bridge, true),
            // It was taken away by a run that was cut off.
            ("10.233.66.0/24", "", &[], true),
            ("", written, &bridge, false),
        ] {
            assert_eq!(differs(network, written, of_bridge), expected, "{network} {written} {of_bridge:?}");
        }
    }

    #[test]
    fn a_machine_tells_whether_its_network_is_the_one_that_the_cluster_says() {
        let (well, bridge) =
            ("FLANNEL_SUBNET=10.233.66.1/24\n", "5: cni0    inet 10.233.66.1/24 brd 10.233.66.255");
        for (network, written, of_bridge, expected) in [
            ("10.233.66.0/24", Some(well), Some(bridge), "same"),
            ("10.233.66.0/24", Some(well), None, "same"),
            // It has no address yet.
            ("10.233.66.0/24", Some(well), Some(""), "same"),
            ("10.233.68.0/24", Some(well), Some(bridge), "another"),
            ("10.233.66.0/24", Some(well), Some("5: cni0    inet 10.233.6.1/24 brd 10.233.6.255"), "another"),
            ("10.233.66.0/24", None, None, "another"),
            ("", Some(well), Some(bridge), "unknown"),
        ] {
            for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
                let folder = tempfile::tempdir().unwrap();
                let at = |path: &str| folder.path().join(path);
                let look = || {
                    let paths = ["/etc/cni/net.d", "/run/flannel", "/sys/class/net"];
                    let program =
                        paths.iter().fold(include_str!("network.sh").to_owned(), |program, path| {
                            program.replace(path, &folder.path().display().to_string())
                        });
                    let fakes = r#"kubectl() { printf %s "$network"; }; ip() { cat "$of_bridge"; }"#;
                    let program = format!("{fakes}\n{program}\nnetwork node1");
                    let mut command = std::process::Command::new(shell[0]);
                    command.args(&shell[1..]).args(["-euc", &program, "sh"]);
                    let said = command.env("network", network).env("of_bridge", at("cni0")).output().unwrap();
                    String::from_utf8(said.stdout).unwrap()
                };
                for (file, content) in [("subnet.env", written), ("cni0", of_bridge)] {
                    if let Some(content) = content {
                        std::fs::write(at(file), content).unwrap();
                    }
                }
                assert_eq!(look(), "same\n", "{shell:?}: its pods were never connected");
                std::fs::write(at("10-flannel.conflist"), "").unwrap();
                assert_eq!(look(), format!("{expected}\n"), "{shell:?} {network} {written:?} {of_bridge:?}");
                // A run was cut off before it had told all pods.
                std::fs::write(at("former-subnet.env"), "").unwrap();
                let unfinished = if expected == "unknown" { "unknown\n" } else { "another\n" };
                assert_eq!(look(), unfinished, "{shell:?} {network} {written:?} {of_bridge:?}");
            }
        }
    }
}
