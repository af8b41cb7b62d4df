//! Objects of the cluster, applied on a control plane.

use muster_artifacts::Sha256;
use muster_engine::prelude::*;

use crate::kubectl::ADMIN_CONF;

/// Where manifests lie on a control plane, for whoever wants to see what was applied.
const FOLDER: &str = "/etc/kubernetes/addons";

/// The objects of a manifest are as it says: applied when it is not the one that was applied last, or when one of them
/// is gone. Changes that others made to fields of it are left until the manifest itself changes.
pub(crate) async fn applied(host: &Host, name: &str, manifest: String) -> Result<()> {
    let path = format!("{FOLDER}/{name}.yaml");
    let stamp = format!("{STAMPS}/manifest-{name}");
    let hash = Sha256::of(manifest.as_bytes()).to_string();
    let args = [ADMIN_CONF, &path, &stamp, &hash];
    host.step(&format!("Apply {name}'s manifest"))
        .ensure(file(&path).content(manifest))
        .ensure(command(
            format!("objects of {name}"),
            sh(
                r#"
kubectl --kubeconfig "$1" apply --server-side --force-conflicts --field-manager=muster -f "$2"
mkdir -p "${3%/*}"
echo "$4" >"$3""#,
                args,
            ),
            sh(r#"[ "$(cat "$3")" = "$4" ] && kubectl --kubeconfig "$1" get -f "$2" -o name"#, args),
        ))
        .await?;
    Ok(())
}
