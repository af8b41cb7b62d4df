//! Which versions of Kubernetes may follow which. Reference: Kubernetes' "Version Skew Policy", and kubeadm's own upgrades, which
//! go from one minor version to the next.

use muster_artifacts::Arch;
use muster_engine::prelude::Problem;

use crate::catalogue::CATALOGUE;
use crate::common::kube_minor;

/// How many minor versions a kubelet may be older than an API server.
const OLDEST_KUBELET: u32 = 3;

/// A version's numbers, to compare.
pub(crate) fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|number| number.parse().unwrap_or(0)).collect()
}

/// Whether a version is older than another one.
pub(crate) fn is_older(version: &str, other: &str) -> bool {
    numbers(version) < numbers(other)
}

/// Why a cluster whose control planes run these versions, the oldest and the newest, cannot go to a version.
pub(crate) fn refused(oldest: &str, newest: &str, wanted: &str) -> Option<Problem> {
    let problem = |found: String, needed: &str, remedy: String| {
        Some(Problem { check: "kube_version".into(), found, needed: needed.into(), remedy })
    };
    if is_older(wanted, newest) {
        return problem(
            format!("{wanted}, but the cluster runs {newest}"),
            "a newer version: Kubernetes does not go back",
            format!("set kube_version: {newest}, or a newer one: muster bundle list --versions"),
        );
    }
    if kube_minor(wanted) > kube_minor(oldest) + 1 {
        let next = kube_minor(oldest) + 1;
        let first = CATALOGUE.releases().into_iter().find(|release| kube_minor(release) == next);
        let remedy = match first {
            Some(first) => format!("go to {first} first: upgrade-cluster -e kube_version={first}"),
            None => format!("a muster whose catalogue has Kubernetes 1.{next} is needed first"),
        };
        return problem(
            format!("{wanted}, but the cluster runs {oldest}"),
            "one minor version after the other: kubeadm and Kubernetes skip none",
            remedy,
        );
    }
    None
}

/// Why a kubelet of a version cannot be in a cluster of a version.
pub(crate) fn kubelet_refused(node: &str, kubelet: &str, wanted: &str) -> Option<Problem> {
    let problem = |remedy: String| {
        Some(Problem {
            check: "kubelet".into(),
            found: format!("{kubelet} on the node {node}, and the cluster is to be {wanted}"),
            needed: format!(
                "a kubelet of 1.{} to {wanted}",
                kube_minor(wanted).saturating_sub(OLDEST_KUBELET)
            ),
            remedy,
        })
    };
    if is_older(wanted, kubelet) {
        return problem(format!("go to {kubelet} or newer: upgrade-cluster -e kube_version={kubelet}"));
    }
    if kube_minor(kubelet) + OLDEST_KUBELET < kube_minor(wanted) {
        return problem(format!(
            "upgrade that node first, to what the control planes run: upgrade-cluster with their kube_version; or, if its machine is \
             gone: muster kubectl delete node {node}"
        ));
    }
    None
}

/// What a run goes to where nobody has said a version: that of a new cluster, unless the cluster runs a newer one.
pub(crate) fn default_for(runs: &str) -> &str {
    let default = CATALOGUE.default_release();
    let stays = is_older(default, runs) && CATALOGUE.release(runs, Arch::Amd64).is_ok();
    if stays { runs } else { default }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_minor_and_patches_of_one_are_the_way() {
        let told = |oldest: &str, newest: &str, wanted: &str| {
            refused(oldest, newest, wanted).map(|problem| (problem.found, problem.remedy)).unwrap_or_default()
        };
        for (oldest, newest, wanted) in [
            ("1.36.3", "1.36.3", "1.36.3"),
            ("1.36.3", "1.36.3", "1.36.10"),
            ("1.36.3", "1.36.3", "1.37.2"),
            ("1.36.3", "1.37.2", "1.37.2"),
            ("1.36.3", "1.37.0", "1.37.2"),
        ] {
            assert_eq!(told(oldest, newest, wanted).0, "", "{oldest} {newest} {wanted}");
        }
        let (found, remedy) = told("1.34.4", "1.34.4", "1.36.3");
        assert_eq!(found, "1.36.3, but the cluster runs 1.34.4");
        assert!(remedy.starts_with("go to 1.35."), "{remedy}");
        assert_eq!(told("1.36.3", "1.36.3", "1.36.1").0, "1.36.1, but the cluster runs 1.36.3");
        // A part of the control planes is there already.
        assert_eq!(told("1.36.3", "1.37.2", "1.36.3").0, "1.36.3, but the cluster runs 1.37.2");
        assert_eq!(told("1.35.4", "1.36.3", "1.37.2").0, "1.37.2, but the cluster runs 1.35.4");
        assert!(
            told("1.28.0", "1.28.0", "1.30.0").1.starts_with("a muster whose catalogue has Kubernetes 1.29")
        );
    }

    #[test]
    fn a_kubelet_may_be_three_minors_older_and_never_newer() {
        let told =
            |kubelet: &str, wanted: &str| kubelet_refused("n", kubelet, wanted).map(|problem| problem.found);
        for kubelet in ["1.37.2", "1.37.0", "1.34.9"] {
            assert_eq!(told(kubelet, "1.37.2"), None, "{kubelet}");
        }
        for kubelet in ["1.33.1", "1.37.3", "1.38.0"] {
            assert_eq!(
                told(kubelet, "1.37.2"),
                Some(format!("{kubelet} on the node n, and the cluster is to be 1.37.2"))
            );
        }
    }

    #[test]
    fn without_a_version_a_cluster_goes_to_the_default_and_never_back() {
        let default = CATALOGUE.default_release();
        assert_eq!(default_for("1.34.4"), default);
        assert_eq!(default_for("1.37.2"), "1.37.2");
    }
}
