//! What a machine has that kubespray (v2.28 to v2.31) has made it a node with: its kubelet has a unit and a configuration of its own,
//! etcd is a unit with certificates in /etc/ssl/etcd/ssl, and a static pod on each worker leads to the API servers. muster has the
//! same in the same places under other names; so what differs is taken over by the roles of a set-up, once the former is out of
//! the way.

use muster_engine::prelude::*;
use serde_json::Value;

use super::living::refused;
use super::{compared, etcd_version};
use crate::addresses::ip;
use crate::common::cluster_vars;
use crate::etcd;
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

    /// The kubelet's configuration.
    pub(super) fn document(&self) -> Value {
        parsed::<Value>(&self.config).ok().and_then(|mut all| all.pop()).unwrap_or_default()
    }

    /// Where the kubelet's container engine is.
    pub(super) fn engine(&self) -> Option<String> {
        self.document()["containerRuntimeEndpoint"].as_str().map(str::to_owned)
    }

    /// Whether kube-vip runs as a static pod, kubespray's or one of its own guide.
    pub(super) fn has_kube_vip(&self) -> bool {
        self.pods.iter().any(|pod| pod == "kube-vip")
    }

    /// What else keeps the machine from being taken over.
    pub(super) fn problems(&self, host: &Host, kube: &str) -> Result<Vec<Problem>> {
        let other = |(what, path): &(String, String)| {
            refused(
                "cluster",
                format!("{} has {what} ({path})", host.name()),
                "etcd as a unit of systemd, one for all objects",
                "such a cluster cannot be taken over: set up a new one beside it, and move the applications",
            )
        };
        let mut problems: Vec<Problem> = self.others.iter().map(other).collect();
        if self.has_kube_vip() {
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
        problems.extend(etcd_version::other_etcd(host, &self.etcd_version, kube)?);
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

    /// etcd's environment as arguments: names and values.
    fn arguments(&self) -> Vec<(String, String)> {
        let argument = |line: &String| {
            let (name, value) = line.strip_prefix("ETCD_")?.split_once('=')?;
            Some((name.to_lowercase().replace('_', "-"), value.to_owned()))
        };
        self.environment.iter().filter_map(argument).collect()
    }
}

/// The static pod in front of the API servers is gone: its manifest, and its containers. Where another load balancer takes its place the
/// kubelet and kube-proxy of the machine find the API again when that runs; else nobody may look for it there any more, which is seen
/// by connections (`port`). What has its name without its label is somebody's own. Nothing in a run that adopts no cluster.
pub(crate) fn no_other_balancer(host: &Host, port: Option<u16>) -> Result<Option<Command>> {
    if !super::is_under_way(host) {
        return Ok(None);
    }
    let node = cluster_vars(host)?.kube_override_hostname;
    let port = port.map_or_else(String::new, |port| port.to_string());
    let goes =
        concat!(include_str!("running.sh"), include_str!("balancer.sh"), include_str!("balancer_goes.sh"));
    let is_gone = concat!(
        include_str!("running.sh"),
        include_str!("balancer.sh"),
        r#"[ -z "$(manifests)" ] && [ -z "$(balancers "$1")" ]"#
    );
    Ok(Some(command(
        "no load balancer of kubespray's",
        sh(goes, [&node, &port]),
        sh(is_gone, [node.as_str()]),
    )))
}

/// What kubeadm has noted for the kubelet is what muster's kubelet needs, which reads it: the address of its node, and its container
/// engine. Before its unit is muster's. Nothing in a run that adopts no cluster.
pub(crate) fn notes(host: &Host) -> Result<Option<Command>> {
    let address = ip(host)?.to_string();
    let are_right = concat!(
        include_str!("noted.sh"),
        r#"[ -r "$flags" ] && [ "$(arguments)" = "$(wanted "$1")" ] && is_containerd"#
    );
    let notes = command(
        format!("the kubelet gives {address} as its node's address, and has containerd"),
        sh(concat!(include_str!("noted.sh"), include_str!("note.sh")), [address.as_str()]),
        sh(are_right, [address.as_str()]),
    );
    Ok(super::is_under_way(host).then_some(notes))
}

#[cfg(test)]
pub(super) mod tests {
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
        assert_eq!(seen.arguments(), [("auto-compaction-retention".to_owned(), "8".to_owned())]);
        let unwell: Vec<_> = seen.unwell().collect();
        assert!(unwell.len() == 1 && unwell[0].contains("192.0.2.5"), "{unwell:?}");
        seen.unwell.retain(|line| line.starts_with("Error"));
        assert_eq!(seen.unwell().collect::<Vec<_>>(), ["Error: unhealthy cluster"]);
        assert_eq!(seen.others, [("a second etcd for events".to_owned(), "/etc/etcd-events.env".to_owned())]);
        assert_eq!(seen.engine().as_deref(), Some("unix:///var/run/cri-dockerd.sock"));
    }

    /// A file of a machine whose `/` is a folder; a program where it is in `bin`.
    pub(in crate::adoption) fn put(root: &std::path::Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        if path.parent().unwrap().ends_with("bin") {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    /// Runs a program in a shell there; its status, and what it says.
    pub(in crate::adoption) fn run(
        shell: &[&str],
        root: &std::path::Path,
        program: &str,
        args: &[&str],
    ) -> (bool, String) {
        let program = [
            "/etc/",
            "/var/lib/",
            "/proc/net",
            "/proc/mounts",
            "/run/containerd/io",
            "/run/docker",
            "/sys/class",
        ]
        .iter()
        .fold(program.to_owned(), |all, path| all.replace(path, &format!("{}{path}", root.display())));
        let mut sh = std::process::Command::new(shell[0]);
        let paths = format!("{}/bin:{}", root.display(), std::env::var("PATH").unwrap());
        sh.args(&shell[1..]).env("PATH", paths).args(["-euc", &program, "sh"]).args(args);
        let done = sh.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).unwrap())
    }

    pub(in crate::adoption) const SHELLS: [&[&str]; 3] =
        [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

    #[test]
    fn what_kubeadm_has_noted_becomes_what_the_kubelet_runs_with() {
        let kubesprays = "[Service]\nEnvironmentFile=-/etc/kubernetes/kubelet.env\n";
        let docker = "--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock";
        for shell in SHELLS {
            for (unit, before, after) in [
                // kubeadm's own kubelet runs with it.
                ("", Some("--v=2"), "--v=2 --node-ip=192.0.2.4"),
                ("", Some("--node-ip=192.0.2.9 --v=2"), "--node-ip=192.0.2.9 --v=2"),
                // kubespray's does not, and kubelets of today do not start with all of it.
                (
                    kubesprays,
                    Some(&*format!("{docker} --pod-infra-container-image=pause:3")),
                    "--node-ip=192.0.2.4",
                ),
                (
                    kubesprays,
                    Some(&*format!("--hostname-override=own {docker} --node-ip=192.0.2.9")),
                    "--hostname-override=own --node-ip=192.0.2.9",
                ),
                (kubesprays, Some(""), "--node-ip=192.0.2.4"),
                (kubesprays, None, "--node-ip=192.0.2.4"),
            ] {
                let folder = tempfile::tempdir().unwrap();
                let root = folder.path();
                put(
                    root,
                    "etc/systemd/system/kubelet.service",
                    &unit.replace("/etc/", &format!("{}/etc/", root.display())),
                );
                if let Some(before) = before {
                    put(
                        root,
                        "var/lib/kubelet/kubeadm-flags.env",
                        &format!("KUBELET_KUBEADM_ARGS=\"{before}\"\n"),
                    );
                    put(
                        root,
                        "var/lib/kubelet/instance-config.yaml",
                        "containerRuntimeEndpoint: \"unix:///var/run/cri-dockerd.sock\"\n",
                    );
                }
                let look = concat!(
                    include_str!("noted.sh"),
                    r#"[ -r "$flags" ] && [ "$(arguments)" = "$(wanted "$1")" ] && is_containerd"#
                );
                let is_there = before == Some(after);
                assert_eq!(run(shell, root, look, &["192.0.2.4"]).0, is_there, "{shell:?} {before:?}");
                for _ in 0..2 {
                    let program = concat!(include_str!("noted.sh"), include_str!("note.sh"));
                    let (done, said) = run(shell, root, program, &["192.0.2.4"]);
                    assert!(done, "{shell:?}: {said}");
                }
                let noted =
                    |name: &str| std::fs::read_to_string(root.join("var/lib/kubelet").join(name)).unwrap();
                assert_eq!(
                    noted("kubeadm-flags.env"),
                    format!("KUBELET_KUBEADM_ARGS=\"{after}\"\n"),
                    "{shell:?}"
                );
                let engine = if unit.is_empty() {
                    "cri-dockerd.sock"
                } else {
                    "unix:///run/containerd/containerd.sock"
                };
                assert!(
                    noted("instance-config.yaml").contains(engine),
                    "{shell:?}: {}",
                    noted("instance-config.yaml")
                );
                assert!(run(shell, root, look, &["192.0.2.4"]).0, "{shell:?} {before:?}");
            }
        }
    }

    /// containerd as it tells of two pods: kubespray's, while its manifest is there, and somebody's own with a container of that name.
    const CTR: &str = r#"#!/bin/sh
case "$*" in
  *"containers ls"*'"k8s-app"==kube-nginx'*) ! ls ROOT/etc/kubernetes/manifests/nginx-proxy.yml >/dev/null 2>&1 || echo theirs ;;
  *"containers ls"*'pod.name"==nginx-proxy-node1,'*) echo theirs ;;
  *"containers ls"*'pod.name"==haproxy-node1,'*) echo own ;;
  *"tasks ls"*) printf 'theirs 1 RUNNING\nown 2 RUNNING\n' ;;
  *"tasks kill"*) echo "killed $*" >>ROOT/killed ;;
esac
"#;

    #[test]
    fn a_load_balancer_goes_when_nobody_looks_for_the_api_there_and_its_pod_is_gone() {
        let programs = [("ctr", CTR), ("systemctl", "#!/bin/sh\n"), ("sleep", "#!/bin/sh\n")];
        let goes = concat!(
            include_str!("running.sh"),
            include_str!("balancer.sh"),
            include_str!("balancer_goes.sh")
        );
        let is_gone = concat!(
            include_str!("running.sh"),
            include_str!("balancer.sh"),
            r#"[ -z "$(manifests)" ] && [ -z "$(balancers "$1")" ]"#
        );
        let open = "  sl  local_address rem_address   st\n   0: 0100007F:192B 0100007F:A3FD 01 0:0\n";
        let closed = "  sl  local_address rem_address   st\n   0: 0100007F:192B 00000000:0000 0A 0:0\n   1: 0100007F:A3FD 0100007F:192B 01 0:0\n";
        for shell in SHELLS {
            for (server, connections, port, stays_because) in [
                ("https://192.0.2.4:6443", closed, "6443", ""),
                ("https://192.0.2.4:6443", open, "6443", "1 open connections"),
                ("https://localhost:6443", closed, "6443", "kubelet.conf, which says https://localhost:6443"),
                // Another one takes its place.
                ("https://localhost:6443", open, "", ""),
            ] {
                let folder = tempfile::tempdir().unwrap();
                let root = folder.path();
                for (name, text) in programs {
                    put(root, &format!("bin/{name}"), &text.replace("ROOT", &root.display().to_string()));
                }
                put(root, "etc/kubernetes/kubelet.conf", &format!("clusters:\n    server: {server}\n"));
                put(root, "proc/net/tcp", connections);
                let (theirs, own) =
                    ("etc/kubernetes/manifests/nginx-proxy.yml", "etc/kubernetes/manifests/haproxy.yml");
                put(root, theirs, "metadata:\n  labels:\n    k8s-app: kube-nginx\n");
                put(root, own, "metadata:\n  name: haproxy\n");
                assert!(!run(shell, root, is_gone, &["node1"]).0, "{shell:?}");
                let (done, said) = run(shell, root, goes, &["node1", port]);
                assert_eq!(done, stays_because.is_empty(), "{shell:?} {server}: {said}");
                assert!(said.contains(stays_because), "{shell:?}: {said}");
                assert_eq!(root.join(theirs).exists(), !done, "{shell:?}: {said}");
                assert!(root.join(own).exists() && !root.join("killed").exists(), "{shell:?}");
                assert_eq!(run(shell, root, is_gone, &["node1"]).0, done, "{shell:?}");
            }
        }
    }

    #[test]
    fn a_load_balancer_whose_pod_runs_is_not_gone_though_its_manifest_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let ctr = CTR.replace("! ls ROOT/etc/kubernetes/manifests/nginx-proxy.yml >/dev/null 2>&1 || ", "");
        put(root, "bin/ctr", &ctr);
        let look = concat!(include_str!("running.sh"), include_str!("balancer.sh"), r#"balancers "$1""#);
        for shell in SHELLS {
            assert_eq!(run(shell, root, look, &["node1"]), (true, "theirs\n".to_owned()), "{shell:?}");
        }
    }
}
