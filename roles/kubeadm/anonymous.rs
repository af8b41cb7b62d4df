//! What somebody without a name may read (`remove_anonymous_access`): kubeadm lets anybody read how the cluster is reached, which
//! machines that muster lets join do not need.

use muster_engine::prelude::*;
use serde::Deserialize;

use crate::cluster::Standing;
use crate::kubectl::{Kubectl, kubectl};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    remove_anonymous_access: bool,
}

/// kubeadm's binding, in the namespace `kube-public`. It makes it when a cluster begins, and at upgrades.
const BINDING: &str = "kubeadm:bootstrap-signer-clusterinfo";

/// The binding is gone where it is to be.
pub(super) async fn run(host: &Host, known: &Standing) -> Result<()> {
    let vars: Vars = host.vars()?;
    if !vars.remove_anonymous_access || known.foremost() != Some(host.name()) {
        return Ok(());
    }
    const STEP: &str = "Access without a name";
    let Some(kubectl) = Kubectl::find(host).await? else {
        host.not_yet(STEP);
        return Ok(());
    };
    let remove = kubectl!(r#"kubectl -n kube-public delete rolebinding "$1" --ignore-not-found"#, [BINDING]);
    let is_gone = kubectl!(
        r#"found=$(kubectl -n kube-public get rolebinding "$1" --ignore-not-found -o name) && [ -z "$found" ]"#,
        [BINDING]
    );
    let binding = command(format!("role binding kube-public/{BINDING} removed"), remove, is_gone);
    kubectl.step(STEP).ensure(binding).await.map(drop)
}
