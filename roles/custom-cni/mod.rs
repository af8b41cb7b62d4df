//! A network of the user's own: the objects of manifests, or of a chart, are applied before anything needs a network. What they bring
//! to machines is theirs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use muster_artifacts::Bundle;
use muster_engine::prelude::*;
use muster_engine::run::Findings;
use muster_inventory::{HostVars, Inventory, VarsError};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::catalogue::text;
use crate::cluster;
use crate::common::cluster_vars;
use crate::extension::apis::Apis;
use crate::extension::charts::{self, Chart};
use crate::extension::objects_of;
use crate::helm;
use crate::objects::ObjectSet;
use crate::objects::object::Object;

pub(crate) const NAME: &str = "custom_cni";

/// The sets: definitions of kinds come before objects of these kinds.
const DEFINITIONS: &str = "custom-cni-definitions";
const OBJECTS: &str = "custom-cni";

/// What control planes share when the objects are read.
const READ: &str = "objects of a network of the user's own";

const CORRECT: &str = "correct it, or set kube_network_plugin: none, and install the network yourself";

/// Explained in `defaults.yml`.
#[derive(Debug, Deserialize)]
struct Vars {
    kube_network_plugin: String,
    /// Not where machines are only named.
    inventory_dir: Option<String>,
    custom_cni_manifests: Vec<String>,
    custom_cni_chart_release_name: String,
    custom_cni_chart_namespace: String,
    custom_cni_chart_ref: String,
    custom_cni_chart_values: Map<String, Value>,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::MACHINES)];

/// Whether a chart is to be rendered, which only helm can.
pub(crate) fn has_chart(vars: &HostVars) -> bool {
    let release = text(vars, "custom_cni_chart_release_name").unwrap_or_default();
    text(vars, "kube_network_plugin").as_deref() == Some(NAME) && !release.is_empty()
}

impl Vars {
    fn path(&self, written: &str) -> PathBuf {
        PathBuf::from(self.inventory_dir.as_deref().unwrap_or_default()).join(written)
    }

    /// The chart, where there is one.
    ///
    /// # Errors
    /// It is not on this computer.
    fn chart(&self) -> Result<Option<Chart>, String> {
        if self.custom_cni_chart_release_name.is_empty() {
            return Ok(None);
        }
        let path = self.path(&self.custom_cni_chart_ref);
        if self.custom_cni_chart_ref.is_empty() || !charts::is_chart(&path) {
            return Err(format!(
                "custom_cni_chart_ref is {:?}, and should be a chart on this computer, its folder or its archive (helm pull): \
                 {} is none",
                self.custom_cni_chart_ref,
                path.display()
            ));
        }
        Ok(Some(Chart {
            path,
            name: self.custom_cni_chart_release_name.clone(),
            namespace: self.custom_cni_chart_namespace.clone(),
            values: Value::Object(self.custom_cni_chart_values.clone()).to_string(),
        }))
    }

    /// The objects of the manifests.
    ///
    /// # Errors
    /// In which file something is wrong, and what.
    fn manifests(&self, vars: &HostVars) -> Result<Vec<Value>, String> {
        if self.custom_cni_manifests.is_empty() {
            return Err(
                "custom_cni_manifests is empty, and should be the files with the objects of your network"
                    .to_owned(),
            );
        }
        let mut all = Vec::new();
        for written in &self.custom_cni_manifests {
            let path = self.path(written);
            let wrong = |error: String| format!("{}: {error}", path.display());
            let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
            let text = vars.render(&text, written, &json!({})).map_err(|error| wrong(error.to_string()))?;
            for (line, object) in objects_of(&text).map_err(wrong)? {
                if Object::new(object.clone()).is_none() {
                    let path = path.display();
                    return Err(format!("{path}:{line}: one has no apiVersion, no kind or no name"));
                }
                all.push(object);
            }
        }
        Ok(all)
    }

    /// All objects; `helm` renders the chart, where there is one.
    fn objects(&self, vars: &HostVars, bundle: &Arc<Bundle>, version: &str) -> Result<Vec<Value>> {
        let wrong = |found: String| Failure::new(found, CORRECT);
        let Some(chart) = self.chart().map_err(wrong)? else { return self.manifests(vars).map_err(wrong) };
        let helm = helm::here(bundle, version).map_err(|(found, remedy)| Failure::new(found, remedy))?;
        let rendered = charts::rendered(&helm, &[chart], Apis::of_version(version), &[]);
        let rendered = rendered.map_err(|unrendered| wrong(unrendered.why))?;
        Ok(rendered.objects.into_iter().map(|(_, object)| object).collect())
    }
}

/// What is wrong with the objects, before any machine is contacted.
pub(crate) fn check(
    inventory: &Inventory,
    vars: &muster_inventory::Vars,
    bundle: &Arc<Bundle>,
    kube_version: &str,
) -> Result<Findings, VarsError> {
    let mut findings = Findings::default();
    let Some(host) = inventory.group("kube_control_plane").first().copied() else { return Ok(findings) };
    let of = vars.host(host)?;
    if text(&of, "kube_network_plugin").as_deref() != Some(NAME) {
        return Ok(findings);
    }
    // What cannot be read is told elsewhere.
    let Ok(vars) = of.deserialize::<Vars>() else { return Ok(findings) };
    findings.problems.extend(vars.objects(&of, bundle, kube_version).err().map(|failure| Problem {
        check: NAME.to_owned(),
        found: failure.to_string(),
        needed: "the objects of a network of your own".to_owned(),
        remedy: CORRECT.to_owned(),
    }));
    Ok(findings)
}

/// The objects are applied.
pub(crate) async fn applied(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    if vars.kube_network_plugin != NAME {
        return Ok(());
    }
    let of = cluster::speaker_for_set_up(host).await?;
    let read = || async {
        let (vars, all, bundle): (Vars, _, _) = (of.vars()?, of.all_vars().clone(), of.bundle().clone());
        let version = cluster_vars(&of)?.kube_version;
        charts::aside(move || vars.objects(&all, &bundle, &version)).await?
    };
    let objects = host.cluster().once(READ, read).await?;
    let is_definition = |object: &Value| object["kind"] == "CustomResourceDefinition";
    let (definitions, mut others): (Vec<Value>, Vec<Value>) =
        (*objects).clone().into_iter().partition(is_definition);
    others.sort_by_key(|object| object["kind"] != "Namespace");
    if !definitions.is_empty() {
        ObjectSet::of(DEFINITIONS, definitions)?.ensure(host).await?;
    }
    ObjectSet::of(OBJECTS, others)?.ensure(host).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    /// What comes of variables beside these files.
    fn read(files: &[(&str, &str)], yaml: &str) -> Result<Vec<Value>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let vars = variables(&format!("kube_network_plugin: custom_cni\ninterface: eth1\n{yaml}"));
        let here = folder.path().display().to_string();
        let own = Vars { inventory_dir: Some(here.clone()), ..vars.deserialize().unwrap() };
        match own.chart().map_err(|wrong| wrong.replace(&here, "."))? {
            Some(chart) => Ok(vec![json!([chart.name, chart.namespace, chart.values])]),
            None => own.manifests(&vars).map_err(|wrong| wrong.replace(&here, ".")),
        }
    }

    const MAP: &str =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: x}, data: {on: '{{ interface }}'}}";

    #[test]
    fn manifests_beside_the_inventory_become_objects_with_the_values_of_variables() {
        let objects = read(
            &[
                ("net/a.yml", MAP),
                ("b.yml.j2", "---\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: x}}\n"),
            ],
            "custom_cni_manifests: [net/a.yml, b.yml.j2]",
        )
        .unwrap();
        assert_eq!(objects.len(), 2);
        assert_eq!((&objects[0]["data"]["on"], &objects[1]["kind"]), (&json!("eth1"), &json!("Namespace")));
    }

    #[test]
    fn what_is_wrong_with_manifests_and_charts_is_told_with_the_file() {
        let wrong = |files: &[(&str, &str)], yaml: &str| read(files, yaml).unwrap_err();
        assert!(wrong(&[], "").starts_with("custom_cni_manifests is empty"));
        assert!(wrong(&[], "custom_cni_manifests: [a.yml]").starts_with("./a.yml: No such file"));
        let found = wrong(&[("a.yml", "a: 1\n")], "custom_cni_manifests: [a.yml]");
        assert_eq!(found, "./a.yml:1: one has no apiVersion, no kind or no name");
        let chart = "custom_cni_chart_release_name: net\ncustom_cni_chart_ref: cilium/cilium\n";
        assert!(wrong(&[], chart).contains("should be a chart on this computer"));
    }

    #[test]
    fn a_chart_has_its_release_its_namespace_and_its_values() {
        let yaml = "custom_cni_chart_release_name: net\ncustom_cni_chart_namespace: of-net\ncustom_cni_chart_ref: net\n\
                    custom_cni_chart_values: {mtu: 1400}\n";
        let told = read(&[("net/Chart.yaml", "name: net\n")], yaml).unwrap();
        assert_eq!(told, [json!(["net", "of-net", "{\"mtu\":1400}"])]);
        assert!(has_chart(&variables(&format!("kube_network_plugin: custom_cni\n{yaml}"))));
        assert!(!has_chart(&variables(&format!("kube_network_plugin: none\n{yaml}"))));
    }
}
