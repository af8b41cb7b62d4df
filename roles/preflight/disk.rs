//! Room in file systems, and whether they are fit for what they will hold.

use std::collections::BTreeMap;

use muster_engine::prelude::Problem;

use super::Machine;
use super::eviction;
use super::findings::{Findings, problem};
use super::probe::{FileSystem, Folder, Holds};

/// Everything about the file systems of a machine.
pub(super) fn check(machine: &Machine, findings: &mut Findings) {
    findings.refuse(room(machine));
    findings.refuse(under_overlayfs(machine));
    findings.warn(in_memory(machine));
}

/// What etcd needs at first: two segments of its log of 64 MB each, and a small database.
const ETCD_MB: u64 = 256;

/// What logs and volumes of the cluster's own pods need.
const PODS_MB: u64 = 100;

/// What must stay free of a file system, or the kubelet evicts pods.
fn reserve(machine: &Machine, holds: Holds, total_mb: u64) -> u64 {
    match holds {
        Holds::Images => eviction::free_for_images_mb(machine.vars, total_mb),
        Holds::Pods => eviction::free_for_pods_mb(machine.vars, total_mb),
        Holds::Programs | Holds::Downloads | Holds::Etcd => 0,
    }
}

/// Folders of one file system share its room.
fn room(machine: &Machine) -> Vec<Problem> {
    // What is installed already has its room. An upgrade has both versions there for a while.
    let is_there = machine.kubelet == Some(machine.cluster.kube_version.as_str());
    if machine.seen.joined && (!machine.upgrades || is_there) {
        return Vec::new();
    }
    let mut mounts: BTreeMap<&str, (&FileSystem, u64, u64)> = BTreeMap::new();
    for (folder, system) in &machine.seen.folders {
        let need = match folder.holds {
            Holds::Programs => machine.sizes.programs,
            Holds::Downloads => machine.sizes.downloads,
            Holds::Images => machine.sizes.images,
            Holds::Pods | Holds::Etcd if machine.seen.joined => 0,
            Holds::Pods => PODS_MB,
            Holds::Etcd => ETCD_MB,
        };
        let (_, needed, reserved) = mounts.entry(&system.mount).or_insert((system, 0, 0));
        *needed += need;
        *reserved = reserve(machine, folder.holds, system.total_mb).max(*reserved);
    }
    let tight = mounts.into_values().filter(|(system, need, reserve)| system.free_mb < need + reserve);
    tight
        .map(|(system, need, reserve)| {
            let needed = match reserve {
                0 => format!("{need} MB"),
                reserve => {
                    format!("{need} MB, and {reserve} MB that must stay free, or the kubelet evicts pods")
                }
            };
            let found = format!("{} MB free of {} MB on {}", system.free_mb, system.total_mb, system.mount);
            problem("disk", found, needed, format!("free some: du -xm {} | sort -n | tail", system.mount))
        })
        .collect()
}

/// File systems that an overlay cannot keep its changes in (the kernel's Documentation/filesystems/overlayfs).
const NO_UPPER: [&str; 9] = ["9p", "aufs", "cifs", "ecryptfs", "nfs", "nfs4", "overlay", "smb3", "vfat"];

fn under_overlayfs(machine: &Machine) -> Option<Problem> {
    let (folder, system) = holding(machine, Holds::Images)?;
    let unfit =
        machine.vars.containerd_snapshotter == "overlayfs" && NO_UPPER.contains(&system.kind.as_str());
    unfit.then(|| {
        problem(
            "file system",
            format!("{} is on {} ({})", folder.path, system.kind, system.mount),
            "a file system that overlayfs can use, as ext4, xfs or tmpfs",
            format!(
                "mount one at {}, set containerd_storage_dir, or set containerd_snapshotter: native",
                folder.path
            ),
        )
    })
}

fn in_memory(machine: &Machine) -> Option<Problem> {
    let kept =
        [Holds::Etcd, Holds::Images, Holds::Pods].into_iter().filter_map(|holds| holding(machine, holds));
    let folders: Vec<&str> =
        kept.filter(|(_, system)| system.kind == "tmpfs").map(|(folder, _)| folder.path.as_str()).collect();
    (!folders.is_empty()).then(|| {
        problem(
            "file system",
            format!("{} in memory (tmpfs)", folders.join(", ")),
            "a disk, or to set the machine up anew after each restart",
            "mount a disk there",
        )
    })
}

fn holding<'m>(machine: &'m Machine, holds: Holds) -> Option<&'m (Folder, FileSystem)> {
    machine.seen.folders.iter().find(|(folder, _)| folder.holds == holds)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn found(change: fn(&mut Fixture)) -> (String, String) {
        let mut fixture = Fixture::good();
        change(&mut fixture);
        let mut findings = Findings::new(false);
        check(&fixture.machine(), &mut findings);
        let texts = |list: Vec<Problem>| list.into_iter().map(|p| p.found).collect::<Vec<_>>().join("; ");
        (texts(findings.problems), texts(findings.warnings))
    }

    #[test]
    fn there_is_room_for_everything_in_each_file_system() {
        assert_eq!(found(|_| {}), (String::new(), String::new()));
        // Programs 400, downloads 300, images 800, pods 100, etcd 256, and 15 % of 20000 MB stay free: 4856 MB.
        assert_eq!(found(|f| f.file_system(|s| s.free_mb = 4855)).0, "4855 MB free of 20000 MB on /");
        assert_eq!(found(|f| f.file_system(|s| s.free_mb = 4856)).0, "");
        let shared = |f: &mut Fixture| {
            f.file_system(|s| s.free_mb = 1856);
            let vars = "eviction_hard: {nodefs.available: '0%'}\nkubelet_image_gc_high_threshold: 100\nskydns_server: x";
            f.vars = super::super::fixture::variables(vars).deserialize().unwrap();
        };
        assert_eq!(found(shared).0, "", "where the kubelet evicts nothing, nothing must stay free");
        let joined = |f: &mut Fixture| {
            f.file_system(|s| s.free_mb = 1);
            f.seen.joined = true;
        };
        assert_eq!(found(joined).0, "", "a node has everything already");
        // Programs, downloads, images, and what must stay free: 4500 MB; its pods and its etcd are there.
        let upgraded = |f: &mut Fixture| {
            f.node_of("1.35.4");
            f.upgrades = true;
            f.file_system(|s| s.free_mb = 4499);
        };
        assert_eq!(found(upgraded).0, "4499 MB free of 20000 MB on /", "both versions are there for a while");
        let done = |f: &mut Fixture| {
            f.node_of(crate::catalogue::CATALOGUE.default_release());
            f.upgrades = true;
            f.file_system(|s| s.free_mb = 1);
        };
        assert_eq!(found(done).0, "", "it has the version already");
        let apart = |f: &mut Fixture| {
            for (folder, system) in &mut f.seen.folders {
                if folder.holds == Holds::Etcd {
                    *system = FileSystem {
                        mount: "/etcd".into(),
                        kind: "ext4".into(),
                        total_mb: 1000,
                        free_mb: 255,
                    };
                }
            }
        };
        assert_eq!(found(apart).0, "255 MB free of 1000 MB on /etcd");
    }

    #[test]
    fn file_systems_are_fit_for_what_they_hold() {
        let overlay = |f: &mut Fixture| f.file_system(|s| s.kind = "overlay".into());
        assert_eq!(found(overlay).0, "/var/lib/containerd is on overlay (/)");
        let native = |f: &mut Fixture| {
            f.file_system(|s| s.kind = "nfs".into());
            f.vars.containerd_snapshotter = "native".into();
        };
        assert_eq!(found(native).0, "");
        let memory = |f: &mut Fixture| f.file_system(|s| s.kind = "tmpfs".into());
        let told = "/var/lib/etcd, /var/lib/containerd, /var/lib/kubelet in memory (tmpfs)";
        assert_eq!(found(memory), (String::new(), told.to_owned()));
    }
}
