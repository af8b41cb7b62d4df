//! What etcd holds before an upgrade, kept on the machine of a member.

use muster_engine::prelude::*;

use super::Vars;
use crate::cluster;
use crate::common::cluster_vars;

/// Where snapshots are, on the machine.
const FOLDER: &str = "/var/lib/muster/snapshots";

/// A snapshot of before the upgrade, by the first member that comes to this; none where there is nothing to upgrade.
pub(crate) async fn run(host: &Host) -> Result<()> {
    let known = cluster::belongs(host).await?;
    let version = cluster_vars(host)?.kube_version;
    let Some(runs) = known.version().filter(|runs| *runs != version) else { return Ok(()) };
    let vars: Vars = host.vars()?;
    let path = format!("{FOLDER}/before-{version}-from-{runs}.db");
    let save = || async {
        let save = sh(include_str!("snapshot_before_upgrade.sh"), [vars.etcd_cert_dir.as_str(), &path]);
        // One that is there may be of an attempt of long ago, or of a former cluster; but when the first control plane has the new
        // version, it is the one of before.
        let there =
            if known.is_of_one_version() { sh0("false") } else { sh(r#"[ -s "$1" ]"#, [path.as_str()]) };
        host.step("Keep a snapshot of etcd").ensure(command(format!("snapshot {path}"), save, there)).await
    };
    host.cluster().once("a snapshot of etcd before the upgrade", save).await.map(drop)
}
