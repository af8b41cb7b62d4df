//! A control plane that does not run, and does not start by itself: the manifests of its pods are in another folder than the kubelet's.

use muster_engine::prelude::*;

/// Where the kubelet finds the manifests of the control plane, and where they wait while it must not start.
pub(super) const MANIFESTS: [&str; 2] = ["/etc/kubernetes/manifests", "/etc/kubernetes/waiting-manifests"];

/// Where they are on a machine that a recovery has given up: what waits would tell that a restore has begun there (`identity.sh`). A
/// set-up makes them anew and removes these, and a restore puts them back.
const FENCED: &str = "/etc/kubernetes/fenced-manifests";

/// It waits for the end of a restore.
pub(super) fn waits() -> Command {
    let [manifests, waiting] = MANIFESTS;
    stopped([manifests, waiting, FENCED])
}

/// The cluster goes on without it.
pub(super) fn is_fenced() -> Command {
    let [manifests, waiting] = MANIFESTS;
    stopped([manifests, FENCED, waiting])
}

/// `folders`: where the kubelet finds the manifests, where they go, and where they may be already for the other reason.
fn stopped(folders: [&str; 3]) -> Command {
    let stop = sh(concat!(include_str!("running.sh"), include_str!("restore-stop.sh")), folders);
    let stopped = sh(
        concat!(
            include_str!("running.sh"),
            r#"for file in "$1"/kube-*.yaml "$3"; do [ ! -e "$file" ] || exit 1; done; [ -z "$(running)" ]"#
        ),
        folders,
    );
    command("control plane is stopped", stop, stopped)
}
