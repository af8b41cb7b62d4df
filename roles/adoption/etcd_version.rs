//! Which versions of etcd muster's may take the place of.

use muster_engine::prelude::*;

use super::engine::is_same_minor;
use super::living::refused;
use crate::catalogue::release;
use crate::upgrade::versions;

/// That muster's etcd cannot take the place of this version. `kube`: the version of the cluster, with which it comes: the inventory may
/// still have another one.
pub(super) fn other_etcd(host: &Host, runs: &str, kube: &str) -> Result<Option<Problem>> {
    // By the catalogue: the bundle may not have it yet.
    let Ok(release) = release(host, kube) else {
        // That the catalogue has no such version is told for the cluster.
        return Ok(None);
    };
    let Some(comes) = release.file("etcd").map(|file| file.version.clone()) else { return Ok(None) };
    if takes_the_place(runs, &comes) {
        return Ok(None);
    }
    Ok(Some(refused(
        "etcd",
        format!("etcd {runs} runs on {}, and {comes} would take its place", host.name()),
        "an etcd of the same minor version that is not newer: its data does not go back, and 3.6 may not start with what 3.5 has written",
        "bring etcd to that minor version first, with the tool that has made it: from 3.5 to 3.6 with kubespray v2.31 and Kubernetes 1.35, \
         which cleans what 3.6 does not read. muster bundle list --versions shows which Kubernetes muster has",
    )))
}

/// Whether an etcd of the version `comes` may start with the data of one that `runs`: it is as new, and of the same minor version. A
/// member of 3.5 that has ever run with `ETCD_ENABLE_V2=true`, as kubespray v2.28 to v2.30 have it, may end as 3.6 with "detected
/// disallowed v2 WAL for stage" (etcd's issues 20809 and 20870), and the program of 3.5 would be gone by then.
fn takes_the_place(runs: &str, comes: &str) -> bool {
    is_same_minor(runs, comes) && !versions::is_older(comes, runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etcd_takes_the_place_of_one_whose_data_it_may_go_on_with() {
        for (runs, comes) in [("3.6.5", "3.6.14"), ("3.6.14", "3.6.14"), ("3.5.21", "3.5.35")] {
            assert!(takes_the_place(runs, comes), "{runs} {comes}");
        }
        let others = [
            ("3.6.15", "3.6.14"),
            ("3.5.35", "3.6.14"),
            ("3.4.37", "3.6.14"),
            ("3.6.14", "3.7.3"),
            ("", "3.6.14"),
        ];
        for (runs, comes) in others {
            assert!(!takes_the_place(runs, comes), "{runs} {comes}");
        }
    }
}
