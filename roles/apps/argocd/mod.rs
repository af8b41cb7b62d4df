//! Argo CD: the cluster is kept to what repositories of git say. Upstream's own manifest is an artifact of the catalogue, of which
//! single things are changed.

mod password;

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::manifest::{self, find};
use super::state::REACHED_AT;
use super::{App, images_of, objects_of};
use crate::cluster;
use crate::objects::object::Object;
use crate::objects::{ObjectSet, SET, built_in};

pub(crate) use password::LONGEST;

pub(super) const NAME: &str = "argocd";
pub(super) const DEFINITIONS: &str = "argocd-definitions";

/// The namespace that upstream's manifest speaks of. Most of its objects say none.
const NAMESPACE: &str = "argocd";

/// What is in no namespace.
const OF_THE_CLUSTER: [&str; 2] = ["ClusterRole", "ClusterRoleBinding"];

/// What says what is to be installed: where it went, so might what it has installed, or nobody would know of that any more.
const APPLICATIONS: [&str; 2] = ["applications.argoproj.io", "applicationsets.argoproj.io"];

/// The application.
pub(crate) const APP: App = App {
    definitions: Some(DEFINITIONS),
    secret: Some(password::set),
    in_use: Some(|| objects_of(APPLICATIONS)),
    ..App::of(NAME, sets)
};

#[derive(Deserialize)]
struct Vars {
    argocd_namespace: String,
    argocd_admin_password: Option<String>,
    dns_domain: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::PLANES)];

fn sets(of: &Host) -> Result<Vec<ObjectSet>> {
    let (vars, images) = (of.vars()?, images_of(of, NAME)?);
    let [definitions, objects] =
        manifest::patched(of, "argocd-manifest", |text| patched(text, &vars, &images))?;
    Ok(vec![ObjectSet::of(DEFINITIONS, definitions)?, ObjectSet::of(NAME, objects)?])
}

/// Upstream's definitions of kinds, and its other objects in the namespace of the variables.
fn patched(text: &str, vars: &Vars, images: &BTreeMap<&str, String>) -> Result<[Vec<Value>; 2], String> {
    let [definitions, mut objects] = manifest::objects(text)?;
    let Vars { argocd_namespace: namespace, dns_domain, .. } = vars;
    for object in &mut objects {
        settle(object, namespace);
        set_pods(object, images)?;
    }
    let server = find(&mut objects, "Service", "argocd-server")?;
    server["metadata"]["annotations"][REACHED_AT] =
        json!(format!("argocd-server.{namespace}.svc.{dns_domain}:443"));
    let own = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    // A namespace that every cluster has is nobody's.
    let is_built_in = Object::new(own.clone()).is_some_and(|object| built_in::whose(&object.id).is_some());
    let objects = (!is_built_in).then_some(own).into_iter().chain(objects).collect();
    Ok([definitions, objects])
}

/// The object is in its namespace, and so is what it speaks of.
fn settle(object: &mut Value, namespace: &str) {
    if !OF_THE_CLUSTER.iter().any(|kind| object["kind"] == *kind) {
        object["metadata"]["namespace"] = json!(namespace);
    }
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        if subject["namespace"] == NAMESPACE {
            subject["namespace"] = json!(namespace);
        }
    }
}

/// Pods, if it has some, run the catalogue's images, which upstream names by the last part of their repositories, and which are on the
/// machines.
fn set_pods(object: &mut Value, images: &BTreeMap<&str, String>) -> Result<(), String> {
    let Some(template) = object.pointer_mut("/spec/template") else { return Ok(()) };
    template["metadata"]["labels"][SET] = json!(NAME);
    for list in ["initContainers", "containers"] {
        let containers = template["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let upstream = container["image"].as_str().unwrap_or_default();
            let image = match upstream.split(':').next().and_then(|repository| repository.rsplit('/').next())
            {
                Some("argocd") => images.get("argocd"),
                Some("dex") => images.get("argocd-dex"),
                Some("redis") => images.get("argocd-redis"),
                _ => None,
            };
            container["image"] = json!(image.ok_or_else(|| format!("an image {upstream:?} is not known"))?);
            container["imagePullPolicy"] = json!("IfNotPresent");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    /// What of upstream's manifest is changed, and what is left alone.
    const UPSTREAM: &str = "
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: applications.argoproj.io}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: argocd-server}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: argocd-server},
  subjects: [{kind: ServiceAccount, name: argocd-server}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: argocd-server},
  subjects: [{kind: ServiceAccount, name: argocd-server, namespace: argocd}]}
---
{apiVersion: v1, kind: Service, metadata: {name: argocd-server}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: argocd-redis}, spec: {template: {metadata: {labels: {a: b}}, spec: {
  initContainers: [{image: 'quay.io/argoproj/argocd:v0.0.1', imagePullPolicy: IfNotPresent}],
  containers: [{image: 'public.ecr.aws/docker/library/redis:0-alpine', imagePullPolicy: Always}]}}}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: argocd-application-controller}, spec: {template: {metadata: {labels: {}},
  spec: {containers: [{image: 'quay.io/argoproj/argocd:v0.0.1', imagePullPolicy: Always}]}}}}
";

    fn objects(yaml: &str) -> Result<[Vec<Value>; 2], String> {
        let vars = variables(&format!("argocd_enabled: true\ndns_domain: school.local\n{yaml}"));
        let images = ["argocd", "argocd-dex", "argocd-redis"].map(|name| (name, format!("{name}:2")));
        patched(UPSTREAM, &vars.deserialize().unwrap(), &images.into())
    }

    #[test]
    fn everything_is_in_its_namespace() {
        let [definitions, objects] = objects("argocd_namespace: deploy\n").unwrap();
        assert_eq!(definitions.len(), 1);
        assert_eq!(definitions[0]["metadata"]["namespace"], Value::Null);
        assert_eq!(objects[0]["metadata"]["name"], "deploy");
        let namespaces: Vec<_> = objects[1..].iter().map(|object| &object["metadata"]["namespace"]).collect();
        let (own, none) = (json!("deploy"), Value::Null);
        assert_eq!(namespaces, [&own, &own, &none, &own, &own, &own]);
        assert_eq!(objects[2]["subjects"][0]["namespace"], Value::Null);
        assert_eq!(objects[3]["subjects"][0]["namespace"], "deploy");
        let reached = &objects[4]["metadata"]["annotations"][REACHED_AT];
        assert_eq!(reached, "argocd-server.deploy.svc.school.local:443");
        let [_, inside] = self::objects("argocd_namespace: kube-system\n").unwrap();
        assert!(inside.iter().all(|object| object["kind"] != "Namespace"));
    }

    #[test]
    fn pods_run_the_images_that_are_on_the_machines() {
        let [_, objects] = objects("").unwrap();
        for (at, [first, last]) in [(5, ["argocd:2", "argocd-redis:2"]), (6, ["argocd:2", "argocd:2"])] {
            let template = &objects[at]["spec"]["template"];
            assert_eq!(template["metadata"]["labels"][SET], NAME);
            let lists = ["initContainers", "containers"].map(|list| template["spec"][list].as_array());
            let containers: Vec<_> = lists.into_iter().flatten().flatten().collect();
            assert_eq!(
                (&containers[0]["image"], &containers[containers.len() - 1]["image"]),
                (&json!(first), &json!(last))
            );
            assert!(containers.iter().all(|container| container["imagePullPolicy"] == "IfNotPresent"));
        }
        let images = BTreeMap::from([("argocd", "argocd:2".to_owned())]);
        let vars = variables("argocd_enabled: true\n").deserialize().unwrap();
        let told = patched(UPSTREAM, &vars, &images).unwrap_err();
        assert_eq!(told, "an image \"public.ecr.aws/docker/library/redis:0-alpine\" is not known");
    }
}
