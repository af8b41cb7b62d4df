//! What a machine has that kubespray (v2.28 to v2.31) has made it a node with: its kubelet has a unit and a configuration of its own,
//! etcd is a unit with certificates in /etc/ssl/etcd/ssl, and a static pod on each worker leads to the API servers. muster has the
//! same in the same places under other names; so what differs is taken over by the roles of a set-up, once the former is out of
//! the way.

use muster_engine::prelude::*;
use serde_json::Value;

use super::living::refused;
use super::{compared, machine};
use crate::addresses::ip;
use crate::etcd;
use crate::kubeadm;
use crate::objects::parsed;

/// What its kubelets are configured with, as a whole.
pub(super) const KUBELET_CONFIG: &str = "/etc/kubernetes/kubelet-config.yaml";

/// What was seen of it on a machine; nothing of etcd where that is muster's already.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Kubesprays {
    /// The kubelet's configuration.
    config: String,
    /// Static pods of its own, by their names.
    pods: Vec<String>,
    /// What cannot be taken over, and the file by which it was seen.
    others: Vec<(String, String)>,
    /// `ETCD_NAME=VALUE` of etcd's environment.
    environment: Vec<String>,
    etcd_version: String,
    /// What members said that are not well.
    unwell: Vec<String>,
}

/// Whether an argument of the kubelet is one that kubespray gives, and that means nothing or is kept. `own`: the machine's name.
pub(super) fn is_its_flag(name: &str, value: &str, own: &str) -> bool {
    match name {
        "--config" => value == KUBELET_CONFIG,
        "--v" => value == "2",
        // kubeadm has noted a name that is not the machine's, and muster gives an address to each kubelet.
        "--hostname-override" => value == own,
        "--node-ip" | "--runtime-cgroups" => true,
        _ => false,
    }
}

impl Kubesprays {
    /// Takes a line of `machine.sh`.
    pub(super) fn take(&mut self, key: &str, value: &str) {
        match key {
            "config" => self.config += &format!("{value}\n"),
            "pod" => self.pods.push(value.to_owned()),
            "other" => {
                self.others.extend(value.split_once(' ').map(|(path, what)| (what.into(), path.into())))
            }
            "unit" => self.environment.push(value.to_owned()),
            "etcd_is" => self.etcd_version = value.to_owned(),
            "unwell" => self.unwell.push(value.to_owned()),
            _ => {}
        }
    }

    pub(super) fn etcd_is_well(&self) -> bool {
        self.unwell.is_empty()
    }

    fn document(&self) -> Value {
        parsed::<Value>(&self.config).ok().and_then(|mut all| all.pop()).unwrap_or_default()
    }

    /// Where the kubelet's container engine is.
    pub(super) fn engine(&self) -> Option<String> {
        self.document()["containerRuntimeEndpoint"].as_str().map(str::to_owned)
    }

    /// What its kubelet is told that it would not be told any more.
    pub(super) fn problems_of_kubelet(&self, host: &Host) -> Result<Vec<Problem>> {
        let documents = kubeadm::kubelet_configuration(host)?;
        let documents: Vec<Value> = documents.iter().filter_map(|text| parsed(text).ok()?.pop()).collect();
        let mut living = self.document();
        let own = ip(host)?.to_string();
        let will = documents.iter().rev().find_map(|document| document.get("address"));
        let mut problems = Vec::new();
        // It is another one on each machine.
        if living["address"] == own.as_str() && will != living.get("address") {
            problems.push(refused(
                "kubelet_bind_address",
                format!("the kubelet listens at {own} alone, and would at all addresses of {}", host.name()),
                "the address at which it listens",
                "set kubelet_bind_address: \"{{ ip }}\"",
            ));
        }
        if let Some(fields) = living.as_object_mut() {
            fields.remove("address");
        }
        problems.extend(compared::kubelet(&living, &documents));
        Ok(problems)
    }

    /// What else keeps the machine from being taken over.
    pub(super) fn problems(&self, host: &Host) -> Result<Vec<Problem>> {
        let other = |(what, path): &(String, String)| {
            refused(
                "cluster",
                format!("{} has {what} ({path})", host.name()),
                "etcd as a unit of systemd, one for all objects",
                "such a cluster cannot be taken over: set up a new one beside it, and move the applications",
            )
        };
        let mut problems: Vec<Problem> = self.others.iter().map(other).collect();
        if self.pods.iter().any(|pod| pod == "kube-vip") {
            problems.push(refused(
                "kube-vip",
                format!("kube-vip holds the address of the API on {}", host.name()),
                "an address of the API that the machines' own load balancers or somebody else's hold",
                "move the API to a load balancer first (kubespray: loadbalancer_apiserver), or set up a new cluster beside it",
            ));
        }
        if self.environment.is_empty() {
            return Ok(problems);
        }
        if !host.in_group("etcd") {
            problems.push(refused(
                "etcd",
                format!("{} has a member of etcd, and is not in [etcd]", host.name()),
                "the members of etcd that the cluster has",
                format!("add {} to [etcd] of the inventory", host.name()),
            ));
            return Ok(problems);
        }
        problems.extend(self.unwell().map(|found| {
            refused(
                "etcd",
                format!("seen by {}: {found}", host.name()),
                "members of etcd that are all well, before one of them is stopped",
                format!("mend it, and run again; on {}: systemctl status etcd", host.name()),
            )
        }));
        problems.extend(machine::other_etcd(host, &self.etcd_version)?);
        problems.extend(compared::etcd(&self.arguments(), &etcd::environment(host)?));
        Ok(problems)
    }

    /// What is not well with etcd: the members that are named, or why none could be asked.
    fn unwell(&self) -> impl Iterator<Item = &str> {
        let named: Vec<&str> =
            self.unwell.iter().map(String::as_str).filter(|line| line.contains(" is unhealthy")).collect();
        let last = self.unwell.last().map(String::as_str).filter(|_| named.is_empty());
        named.into_iter().chain(last)
    }

    /// etcd's environment as arguments: `etcd --name=VALUE`.
    fn arguments(&self) -> Vec<String> {
        let argument = |line: &String| {
            let (name, value) = line.strip_prefix("ETCD_")?.split_once('=')?;
            Some(format!("etcd --{}={value}", name.to_lowercase().replace('_', "-")))
        };
        self.environment.iter().filter_map(argument).collect()
    }
}

/// The static pod in front of the API servers makes room for muster's, which listens at the same port: kubelet and kube-proxy of the
/// machine find the API again when that runs. Only where kubespray's kubelet was: by these names somebody may have one of their own.
/// Nothing in a run that adopts no cluster.
pub(crate) fn no_other_balancer(host: &Host) -> Option<Command> {
    let gone = command(
        "no load balancer of kubespray's",
        sh(concat!(include_str!("running.sh"), include_str!("balancer_goes.sh")), [""; 0]),
        sh0(
            "[ -e /etc/kubernetes/kubelet.env ] || exit 0; for name in nginx-proxy haproxy; do [ ! -e \"/etc/kubernetes/manifests/$name.yml\" ] || exit 1; done",
        ),
    );
    super::is_under_way(host).then_some(gone)
}

/// The kubelet says the address of its node as it did, or as kubelets of muster's do. Nothing in a run that adopts no cluster.
pub(crate) fn node_address(host: &Host) -> Result<Option<Command>> {
    let address = ip(host)?.to_string();
    let flags = command(
        format!("the kubelet gives {address} as its node's address"),
        sh(include_str!("node_address.sh"), [address.as_str()]),
        sh0("while read -r line; do
  case $line in *--node-ip=*) exit 0 ;; esac
done </var/lib/kubelet/kubeadm-flags.env
exit 1"),
    );
    Ok(super::is_under_way(host).then_some(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_kubespray_gives_are_known() {
        for (flag, known) in [
            ("--config=/etc/kubernetes/kubelet-config.yaml", true),
            ("--config=/etc/own.yaml", false),
            ("--v=2", true),
            ("--v=4", false),
            ("--hostname-override=node1", true),
            ("--hostname-override=other", false),
            ("--node-ip=192.0.2.4", true),
            ("--max-pods=9", false),
        ] {
            let (name, value) = flag.split_once('=').unwrap();
            assert_eq!(is_its_flag(name, value, "node1"), known, "{flag}");
        }
    }

    #[test]
    fn what_is_said_of_etcd_is_read() {
        let mut seen = Kubesprays::default();
        for line in [
            "unit ETCD_AUTO_COMPACTION_RETENTION=8",
            "unwell https://192.0.2.4:2379 is healthy: successfully committed proposal: took = 2ms",
            "unwell https://192.0.2.5:2379 is unhealthy: failed to commit proposal: context deadline exceeded",
            "unwell Error: unhealthy cluster",
            "other /etc/etcd-events.env a second etcd for events",
            "config containerRuntimeEndpoint : unix:///var/run/cri-dockerd.sock",
        ] {
            let (key, value) = line.split_once(' ').unwrap();
            seen.take(key, value);
        }
        assert_eq!(seen.arguments(), ["etcd --auto-compaction-retention=8"]);
        let unwell: Vec<_> = seen.unwell().collect();
        assert!(unwell.len() == 1 && unwell[0].contains("192.0.2.5"), "{unwell:?}");
        seen.unwell.retain(|line| line.starts_with("Error"));
        assert_eq!(seen.unwell().collect::<Vec<_>>(), ["Error: unhealthy cluster"]);
        assert_eq!(seen.others, [("a second etcd for events".to_owned(), "/etc/etcd-events.env".to_owned())]);
        assert_eq!(seen.engine().as_deref(), Some("unix:///var/run/cri-dockerd.sock"));
    }
    #[test]
    fn the_address_of_the_node_is_added_to_what_kubeadm_has_written() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            for (before, after) in [
                (
                    Some("KUBELET_KUBEADM_ARGS=\"--pod-infra-container-image=pause:3\"\n"),
                    "--pod-infra-container-image=pause:3 --node-ip=192.0.2.4",
                ),
                (Some("KUBELET_KUBEADM_ARGS=\"\"\n"), "--node-ip=192.0.2.4"),
                (None, "--node-ip=192.0.2.4"),
            ] {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("kubelet/kubeadm-flags.env");
                if let Some(before) = before {
                    std::fs::create_dir(folder.path().join("kubelet")).unwrap();
                    std::fs::write(&file, before).unwrap();
                }
                let program =
                    include_str!("node_address.sh").replace("/var/lib", &folder.path().display().to_string());
                let mut sh = std::process::Command::new(shell[0]);
                let done = sh.args(&shell[1..]).args(["-euc", &program, "sh", "192.0.2.4"]).status().unwrap();
                assert!(done.success(), "{shell:?}");
                let expected = format!("KUBELET_KUBEADM_ARGS=\"{after}\"\n");
                assert_eq!(std::fs::read_to_string(&file).unwrap(), expected, "{shell:?}");
            }
        }
    }
}
