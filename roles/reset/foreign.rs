//! What other tools than muster have left on a machine: k3s and RKE2 take themselves away; of kubeadm by hand, kubespray and network
//! plugins their units, configuration and data go. Packages stay: the system's package manager has them.

use muster_engine::prelude::*;
use serde::Deserialize;

/// Explained in the `defaults.yml` of etcd.
#[derive(Deserialize)]
pub(super) struct Vars {
    etcd_data_dir: String,
}

const CLEAR: &str = concat!(include_str!("foreign.sh"), include_str!("foreign_clear.sh"));
const LOOK: &str = concat!(include_str!("foreign.sh"), "[ -z \"$(left)\" ]");

/// Nothing of theirs is left.
pub(super) async fn run(host: &Host) -> Result<()> {
    let Vars { etcd_data_dir } = host.vars()?;
    host.step("Remove what other tools left")
        .detached()
        .limit(Duration::from_secs(300))
        .ensure(removal(
            "what k3s, RKE2, kubespray, kubeadm and network plugins left",
            sh(CLEAR, [&etcd_data_dir]),
            sh(LOOK, [&etcd_data_dir]),
        ))
        .await
        .map(drop)
}
