//! Pods begin anew, where what they have begun with is not so any more; and only then.

use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use muster_inventory::some_names;

use crate::kubectl::{Kubectl, kubectl};

/// How long it may take to tell all pods. kubectl starts once for each namespace, which takes a slow machine some seconds, and asks for
/// 50 things a second, of which a pod is two.
const LIMIT: Duration = Duration::from_secs(600);

/// All pods of a node, or of the cluster, begin anew, but for static ones. Not to be called in check mode.
pub(crate) async fn begin_anew(kubectl: &Kubectl<'_>, node: Option<&str>) -> Result<()> {
    let which = node.map(|node| format!(",spec.nodeName={node}")).unwrap_or_default();
    let anew = kubectl!(include_str!("pods-anew.sh"), [which]);
    let said = kubectl.run_within("Let pods begin anew", anew, LIMIT).await?;
    let alone: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("alone ")).collect();
    if !alone.is_empty() {
        kubectl.asker().warn(format!(
            "pods without a controller are as they were, and may reach neither the API nor other pods: {}; they have to be made anew",
            some_names(&alone)
        ));
    }
    Ok(())
}

/// The manifest of a static pod with a UID, which another node or another manifest would not have. Where there is none the kubelet
/// makes one of all fields that it knows: one of another minor version knows others, and would end the pod and begin it anew
/// (`applyDefaults` in pkg/kubelet/config/common.go of Kubernetes).
pub(crate) fn static_pod(manifest: &str, node: &str) -> String {
    let uid = Sha256::of(format!("{node}\n{manifest}").as_bytes()).to_string();
    manifest.replacen("\nmetadata:\n", &format!("\nmetadata:\n  uid: \"{}\"\n", &uid[..32]), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_of_a_namespace_are_told_by_one_call() {
        let fake = r#"kubectl() {
  [ "$1" = get ] || { echo "$*" >&2; return; }
  case $5 in *,spec.nodeName=node1) printf %s "$pods" ;; esac
}
"#;
        let program = format!("{fake}{}", include_str!("pods-anew.sh"));
        let said = |shell: &[&str], pods: &str| {
            let mut command = std::process::Command::new(shell[0]);
            command.args(&shell[1..]).args(["-euc", &program, "sh", ",spec.nodeName=node1"]);
            let said = command.env("pods", pods).output().unwrap();
            assert!(said.status.success(), "{shell:?}: {said:?}");
            [said.stdout, said.stderr].map(|text| String::from_utf8(text).unwrap())
        };
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let pods = "a one ReplicaSet\na alone \na fixed Node\na two DaemonSet\nb fixed Node\nc only StatefulSet\n";
            let told = "-n a delete pod one two --ignore-not-found --wait=false\n\
                        -n c delete pod only --ignore-not-found --wait=false\n";
            assert_eq!(said(shell, pods), ["alone a/alone\n", told], "{shell:?}");
            assert_eq!(said(shell, ""), ["", ""], "{shell:?}");
        }
    }

    #[test]
    fn a_static_pod_is_another_one_only_on_another_node_or_with_another_manifest() {
        let uid = |manifest: &str, node: &str| {
            let pod = static_pod(manifest, node);
            let pod: serde_json::Value = serde_saphyr::from_str(&pod).unwrap();
            assert_eq!(pod["metadata"]["name"], "it");
            pod["metadata"]["uid"].as_str().unwrap().to_owned()
        };
        let manifest = "kind: Pod\nmetadata:\n  name: it\nspec: {}\n";
        assert_eq!(uid(manifest, "a"), uid(manifest, "a"));
        assert_ne!(uid(manifest, "a"), uid(manifest, "b"));
        assert_ne!(uid(manifest, "a"), uid(&manifest.replace("{}", "{hostNetwork: true}"), "a"));
    }
}
