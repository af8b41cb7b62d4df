//! What preflight asks a machine besides its facts, in one exchange.

use muster_engine::prelude::*;

use super::docker::{self, Docker};
use super::dual_stack::{self, Ipv6};
use super::foreign::{self, Foreign};
use super::sockets::Sockets;
use super::{Duties, Vars};
use crate::bootstrap_os::{SWAP_SOURCES, clock};
use crate::cluster;
use crate::common::{bin_dir, cluster_vars};
use crate::docker::MARK;
use crate::resolvconf;

/// What was seen on a machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen {
    /// Where programs go on it.
    pub(super) bin_dir: String,
    /// Whether it is a node of a cluster.
    pub(super) joined: bool,
    /// Whether its kubelet is one that muster has started.
    pub(super) has_our_kubelet: bool,
    /// Whether `access_ip` did not answer.
    pub(super) access_ip_silent: bool,
    /// The lines of `kube_resolv_conf`, or of the file that takes its place where machines ask the cluster's DNS; `None` where
    /// it is not there.
    pub(super) resolv: Option<Vec<String>>,
    /// Whether nf_tables is built into the kernel, or loaded.
    pub(super) nf_tables: bool,
    /// The firewall that is at work on it.
    pub(super) firewall: Option<String>,
    /// The ports that are in use.
    pub(super) sockets: Sockets,
    /// Whether flannel, calico or cilium has an interface on it.
    pub(super) vxlan: bool,
    /// What others left.
    pub(super) foreign: Foreign,
    /// What there is of Docker.
    pub(super) docker: Docker,
    /// What its kernel has of IPv6, where that is wanted.
    pub(super) ipv6: Ipv6,
    /// What switches swap on at the next boot.
    pub(super) swap_sources: Vec<String>,
    /// Whether there is a time service; true where nobody wants one.
    pub(super) keeps_time: bool,
    /// The folders that grow, each with its file system.
    pub(super) folders: Vec<(Folder, FileSystem)>,
}

/// A folder that grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    pub(super) path: String,
    pub(super) holds: Holds,
}

/// What a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Programs,
    Downloads,
    Images,
    Pods,
    Etcd,
}

/// A file system, as df(1) tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileSystem {
    pub(super) mount: String,
    pub(super) kind: String,
    pub(super) total_mb: u64,
    pub(super) free_mb: u64,
}

/// The folders that grow on a machine with these duties.
fn folders(duties: Duties, vars: &Vars, bin_dir: &str) -> Vec<Folder> {
    let mut folders = vec![(bin_dir, Holds::Programs), (INCOMING, Holds::Downloads)];
    if duties.control_plane || duties.node {
        folders.extend([
            (vars.containerd_storage_dir.as_str(), Holds::Images),
            ("/var/lib/kubelet", Holds::Pods),
        ]);
    }
    if duties.etcd {
        folders.push((vars.etcd_data_dir.as_str(), Holds::Etcd));
    }
    folders.into_iter().map(|(path, holds)| Folder { path: path.to_owned(), holds }).collect()
}

/// Looks, and keeps for the run which cluster the machine is in: asked in the same exchange.
pub(super) async fn look(host: &Host, duties: Duties, vars: &Vars) -> Result<Seen> {
    let bin_dir = bin_dir(host)?;
    let folders = folders(duties, vars, &bin_dir);
    let ping = vars.access_ip.clone().filter(|_| vars.ping_access_ip).unwrap_or_default();
    let resolv = vars.kube_resolv_conf.as_deref().unwrap_or(resolvconf::OWN).to_owned();
    let nf_tables = if vars.proxy_mode() == "nftables" { "yes" } else { "no" };
    let mut arguments = vec![ping, resolv, nf_tables.to_owned()];
    arguments.extend(folders.iter().map(|folder| folder.path.clone()));
    let clock = if vars.ntp_enabled { sh0(clock::LOOK) } else { sh0("") };
    let questions = [
        sh(include_str!("probe.sh"), arguments),
        cluster::question(host)?,
        sh0(SWAP_SOURCES),
        sh(foreign::LOOK, [vars.conflist().unwrap_or_default()]),
        clock,
        sh(docker::LOOK, [MARK, &vars.containerd_state_dir]),
        if cluster_vars(host)?.ipv6_stack { sh0(dual_stack::LOOK) } else { sh0("") },
    ];
    let answers = host.query_all(&questions).await?;
    cluster::answered(host, &answers[1]).await?;
    let swap_sources = answers[2].output.lines().map(str::to_owned).collect();
    let foreign = Foreign::parse(&answers[3].output);
    let keeps_time = !vars.ntp_enabled || clock::Service::of(&answers[4].output).is_some();
    let docker = Docker::parse(&answers[5].output);
    let ipv6 = Ipv6::parse(&answers[6].output);
    Ok(Seen {
        swap_sources,
        foreign,
        docker,
        ipv6,
        keeps_time,
        ..parse(&answers[0].output, bin_dir, folders)
    })
}

fn parse(answer: &str, bin_dir: String, folders: Vec<Folder>) -> Seen {
    let mut seen = Seen { bin_dir, sockets: Sockets::parse(answer), ..Seen::default() };
    let mut file_systems = Vec::new();
    for line in answer.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            // Kubernetes v1.36.3
            "joined" => seen.joined = true,
            "has_our_kubelet" => seen.has_our_kubelet = true,
            "unanswered" => seen.access_ip_silent = true,
            "resolv" => seen.resolv.get_or_insert_default().push(value.trim().to_owned()),
            "nf_tables" => seen.nf_tables = true,
            "firewall" => seen.firewall = Some(value.to_owned()),
            "vxlan" => seen.vxlan = true,
            "filesystem" => file_systems.push(file_system(value)),
            _ => {}
        }
    }
    // df answers in the order in which it was asked.
    seen.folders =
        folders.into_iter().zip(file_systems).filter_map(|(folder, found)| Some((folder, found?))).collect();
    seen
}

/// From a line of `df -PTk`: device, type, size, used, free, percentage, mount point.
fn file_system(line: &str) -> Option<FileSystem> {
    let words: Vec<_> = line.split_whitespace().collect();
    let kib = |word: &str| word.parse::<u64>().ok();
    Some(FileSystem {
        mount: words.get(6..)?.join(" "),
        kind: (*words.get(1)?).to_owned(),
        total_mb: kib(words.get(2)?)? / 1024,
        free_mb: kib(words.get(4)?)? / 1024,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn folder(path: &str, holds: Holds) -> Folder {
        Folder { path: path.into(), holds }
    }

    #[test]
    fn the_answer_is_understood() {
        let answer = "joined yes\nunanswered 192.0.2.9\nresolv nameserver 192.0.2.53\n\
                      resolv search example.org\nnf_tables yes\nfirewall ufw\n\
                      filesystem /dev/vda1 ext4 20511312 3072000 16384000 16% /\n\
                      filesystem tmpfs tmpfs 1024000 0 1024000 0% /var/lib/my disk\n\
                      vxlan flannel.1\n";
        let folders =
            vec![folder("/usr/local/bin", Holds::Programs), folder("/var/lib/my disk", Holds::Images)];
        let seen = parse(answer, "/usr/local/bin".into(), folders);
        assert!(seen.joined && seen.access_ip_silent && seen.nf_tables && seen.vxlan);
        assert_eq!(seen.firewall.as_deref(), Some("ufw"));
        assert_eq!(seen.resolv.unwrap(), ["nameserver 192.0.2.53", "search example.org"]);
        let expected = FileSystem { mount: "/".into(), kind: "ext4".into(), total_mb: 20030, free_mb: 16000 };
        assert_eq!(seen.folders[0].1, expected);
        assert_eq!(
            (seen.folders[1].1.mount.as_str(), seen.folders[1].1.kind.as_str()),
            ("/var/lib/my disk", "tmpfs")
        );
        assert_eq!(parse("", String::new(), vec![folder("/", Holds::Pods)]), Seen::default());
    }

    #[test]
    fn every_shell_answers_for_every_folder() {
        let folders = ["/tmp", "/nowhere/at/all", "/"].map(|path| folder(path, Holds::Pods));
        for shell in [&["dash"][..], &["bash", "--posix"]] {
            let mut program = Command::new(shell[0]);
            program.args(&shell[1..]).args(["-c", include_str!("probe.sh"), "probe", "", "/etc/hosts", "no"]);
            let out = program.args(folders.iter().map(|folder| &folder.path)).output().unwrap();
            assert!(out.stderr.is_empty(), "{shell:?}: {}", String::from_utf8_lossy(&out.stderr));
            let seen = parse(&String::from_utf8_lossy(&out.stdout), String::new(), folders.to_vec());
            assert_eq!(seen.folders.len(), folders.len(), "{shell:?}: {seen:?}");
            assert_eq!(
                seen.folders[1].1, seen.folders[2].1,
                "what is not there is in the root's file system: {seen:?}"
            );
            assert!(seen.resolv.is_some() && !seen.access_ip_silent, "{shell:?}: {seen:?}");
        }
    }
}
