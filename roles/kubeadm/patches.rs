//! Patches of one's own for what kubeadm writes (`kubeadm_patches`; Kubernetes' documentation: "Customizing components with the
//! kubeadm API", patches).

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::PATCHES;

/// What is patched: the control plane's static pods, and the configuration of the kubelet.
pub(crate) const TARGETS: [&str; 4] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", KUBELET];

/// The configuration of the kubelet.
pub(super) const KUBELET: &str = "kubeletconfiguration";

/// How a patch is meant; the first one, where it does not say.
pub(crate) const TYPES: [&str; 3] = ["strategic", "json", "merge"];

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kubeadm_patches: Option<Value>,
}

/// One of the list, as kubespray has it.
#[derive(Deserialize)]
struct Patch {
    target: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    patch: Value,
}

/// The files: each has the patches of one target and one type, in their order, after those of muster.
pub(super) struct Patches(BTreeMap<String, Option<String>>);

impl Patches {
    /// Those of some targets. What is wrong with them is told by preflight.
    pub(super) fn of(host: &Host, targets: &[&str]) -> Result<Self> {
        Ok(Self::from(host.vars()?, targets))
    }

    fn from(vars: Vars, targets: &[&str]) -> Self {
        let list = vars.kubeadm_patches.filter(Value::is_array).unwrap_or_default();
        let patches: Vec<Patch> = serde_json::from_value(list).unwrap_or_default();
        let file = |(target, kind): (&str, &str)| {
            let of_file = patches
                .iter()
                .filter(|patch| patch.target == target && patch.kind.as_deref().unwrap_or(TYPES[0]) == kind);
            let documents: Vec<String> = of_file.map(|patch| format!("{:#}\n", patch.patch)).collect();
            let text = (!documents.is_empty()).then(|| documents.join("---\n"));
            (format!("{PATCHES}/{target}1+{kind}.yaml"), text)
        };
        let all = targets.iter().flat_map(|target| TYPES.map(|kind| (*target, kind)));
        Self(all.map(file).collect())
    }

    /// What they say, and nothing where there are none.
    pub(super) fn text(&self) -> String {
        self.0.iter().filter_map(|(path, text)| Some(format!("{path}\n{}", text.as_ref()?))).collect()
    }

    /// The files are there, and those of other patches gone.
    pub(super) fn ensured_in<'h>(&self, step: Step<'h>) -> Step<'h> {
        self.0.iter().fold(step, |step, (path, text)| match text {
            Some(text) => step.ensure(file(path.as_str()).content(text.as_str())),
            None => step.remove(file(path.as_str())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn patches(yaml: &str) -> Patches {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        Patches::from(vars.deserialize().unwrap(), &TARGETS)
    }

    #[test]
    fn each_target_and_type_has_a_file_with_its_patches_in_their_order() {
        let yaml = "kubeadm_patches:\n- {target: kube-apiserver, patch: {metadata: {labels: {a: b}}}}\n\
                    - {target: kube-scheduler, type: json, patch: [{op: remove, path: /spec/priority}]}\n\
                    - {target: kube-apiserver, type: strategic, patch: {metadata: {labels: {c: d}}}}\n";
        let all = patches(yaml);
        let there: Vec<_> =
            all.0.iter().filter_map(|(path, text)| Some((path.as_str(), text.clone()?))).collect();
        assert_eq!(there.len(), 2, "{there:?}");
        assert_eq!(there[0].0, "/etc/kubernetes/patches/kube-apiserver1+strategic.yaml");
        let (first, second) = there[0].1.split_once("---\n").unwrap();
        assert!(first.contains("\"a\"") && second.contains("\"c\""), "{there:?}");
        assert_eq!(there[1].0, "/etc/kubernetes/patches/kube-scheduler1+json.yaml");
        assert!(there[1].1.starts_with('['), "{there:?}");
        assert_ne!(all.text(), patches("").text());
    }

    #[test]
    fn what_former_samples_say_is_nothing() {
        assert_eq!(patches("kubeadm_patches: {enabled: false, source_dir: /patches}").text(), "");
    }
}
