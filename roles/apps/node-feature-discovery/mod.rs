//! node-feature-discovery, with upstream's own definitions of its kinds, which are an artifact of the catalogue.

use futures::future::{BoxFuture, FutureExt};
use muster_engine::prelude::*;

use super::{App, manifest, of_template};
use crate::kubectl::{Kubectl, kubectl};
use crate::objects::ObjectSet;

pub(super) const NAME: &str = "node-feature-discovery";
pub(super) const DEFINITIONS: &str = "node-feature-discovery-definitions";

/// The application.
pub(crate) const APP: App =
    App { definitions: Some(DEFINITIONS), written: Some(unlabel), ..App::of(NAME, sets) };

fn sets(of: &Host) -> Result<Vec<ObjectSet>> {
    let definitions = manifest::definitions(of, &["node-feature-discovery-manifest"])?;
    let mut sets = vec![ObjectSet::of(DEFINITIONS, definitions)?];
    sets.extend(of_template(of, NAME, include_str!("objects.yaml.j2"))?);
    Ok(sets)
}

/// Nodes lose the labels, annotations, resources and taints that they have of it: it has noted on each of them which these are.
fn unlabel(host: &Host) -> BoxFuture<'_, Result<()>> {
    async move {
        let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
        let what = "labels of node-feature-discovery";
        let labelled = kubectl.query(what, kubectl!(include_str!("labelled.sh"), [] as [&str; 0])).await?;
        if labelled.is_empty() || host.check_mode() {
            return Ok(());
        }
        kubectl
            .run(
                "Remove the labels of node-feature-discovery",
                kubectl!(include_str!("unlabel.sh"), [labelled]),
            )
            .await
            .map(drop)
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn nodes_lose_what_they_have_of_it_and_nothing_else() {
        let labelled =
            "node1;cpu-cpuid.AVX,nvidia.com/gpu;own;slots;a/b=c:NoSchedule,gone:NoExecute\nnode2;;;;\n";
        let cluster = "kubectl() {
  [ \"$1 $4\" != 'taint gone:NoExecute-' ] || { echo 'error: taint \"gone:NoExecute\" not found' >&2; return 1; }
  printf '%s\\n' \"$*\" >>calls
}";
        let script = format!("set -eu\n{cluster}\n{}", include_str!("unlabel.sh"));
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        let done = shell.args(["-c", &script, "sh", labelled]).current_dir(folder.path()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let noted = "nfd.node.kubernetes.io/feature-labels- nfd.node.kubernetes.io/feature-annotations- \
                     nfd.node.kubernetes.io/extended-resources- nfd.node.kubernetes.io/taints-";
        let none = r#"{"feature.node.kubernetes.io/slots": null}"#;
        let expected = format!(
            "label node node1 feature.node.kubernetes.io/cpu-cpuid.AVX- nvidia.com/gpu-\n\
             patch node node1 --subresource=status --type=merge --patch \
             {{\"status\": {{\"capacity\": {none}, \"allocatable\": {none}}}}}\n\
             taint node node1 a/b=c:NoSchedule-\n\
             annotate node node1 {noted} feature.node.kubernetes.io/own-\nannotate node node2 {noted}\n"
        );
        assert_eq!(std::fs::read_to_string(folder.path().join("calls")).unwrap(), expected);
    }
}
