//! cert-manager: certificates for whoever asks with objects of its kinds. Upstream's own manifest is an artifact of the catalogue, of
//! which single things are changed.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::manifest::{self, arguments, find, set_argument};
use super::{App, applied, images_of};
use crate::cluster;
use crate::common::{ClusterVars, cluster_vars};
use crate::kubectl::{Kubectl, kubectl};
use crate::objects::object::Object;
use crate::objects::{ObjectSet, SET, built_in};

pub(super) const NAME: &str = "cert-manager";
pub(super) const DEFINITIONS: &str = "cert-manager-definitions";

/// In upstream's manifest: the namespace of its own, and the one in which its pods agree on who leads.
const NAMESPACE: &str = "cert-manager";
const LEADERS: &str = "kube-system";

/// The deployments of upstream's manifest: the controller, who tells the API server whom webhooks may trust, and the webhook.
const CONTROLLER: &str = "cert-manager";
const INJECTOR: &str = "cert-manager-cainjector";
const WEBHOOK: &str = "cert-manager-webhook";

/// The kinds that the controller alone makes and takes away: their objects have finalizers.
const OF_CONTROLLER: &str = "acme.cert-manager.io";

/// What is added for the controller: the authorities that it trusts, and its proxies, which may have passwords.
const TRUSTED: &str = "cert-manager-trusted-ca";
const PROXIES: &str = "cert-manager-proxies";

/// What control planes tell each other.
const ANSWERS: &str = "cert-manager's webhook answers";

/// The application.
pub(crate) const APP: App = App { definitions: Some(DEFINITIONS), ..App::of(NAME, sets) };

#[derive(Deserialize)]
struct Vars {
    cert_manager_namespace: String,
    cert_manager_leader_election_namespace: String,
    cert_manager_nodeselector: Option<BTreeMap<String, Value>>,
    cert_manager_tolerations: Option<Vec<Value>>,
    cert_manager_affinity: Option<BTreeMap<String, Value>>,
    cert_manager_dns_policy: String,
    cert_manager_dns_config: Option<BTreeMap<String, Value>>,
    cert_manager_controller_extra_args: Option<Vec<String>>,
    cert_manager_trusted_internal_ca: String,
    cert_manager_http_proxy: String,
    cert_manager_https_proxy: String,
    cert_manager_no_proxy: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::PLANES)];

fn sets(of: &Host) -> Result<Vec<ObjectSet>> {
    let (vars, cluster, images) = (of.vars()?, cluster_vars(of)?, images_of(of, NAME)?);
    let [definitions, objects] =
        manifest::patched(of, "cert-manager-manifest", |text| patched(text, &vars, &cluster, &images))?;
    Ok(vec![ObjectSet::of(DEFINITIONS, definitions)?, ObjectSet::of(NAME, objects)?])
}

/// Upstream's definitions of kinds, and its other objects as the variables want them.
fn patched(
    text: &str,
    vars: &Vars,
    cluster: &ClusterVars,
    images: &BTreeMap<&str, String>,
) -> Result<[Vec<Value>; 2], String> {
    let [definitions, mut objects] = manifest::objects(text)?;
    objects.iter_mut().for_each(|object| settle(object, vars));
    // A namespace that every cluster has is nobody's.
    let is_built_in = |object: &Value| {
        object["kind"] == "Namespace"
            && Object::new(object.clone()).is_some_and(|object| built_in::whose(&object.id).is_some())
    };
    objects.retain(|object| !is_built_in(object));
    for name in [CONTROLLER, INJECTOR, WEBHOOK] {
        set_pods(find(&mut objects, "Deployment", name)?, vars, images)?;
    }
    for name in [CONTROLLER, INJECTOR] {
        let namespace = &vars.cert_manager_leader_election_namespace;
        set_argument(find(&mut objects, "Deployment", name)?, "--leader-election-namespace=", namespace)?;
    }
    let controller = find(&mut objects, "Deployment", CONTROLLER)?;
    let solver = images.get("cert-manager-acmesolver").ok_or("the catalogue has no image of its solver")?;
    set_argument(controller, "--acme-http01-solver-image=", solver)?;
    let added = set_controller(controller, vars, cluster)?;
    // They are there before the pods that read them.
    let place = objects.iter().position(|object| object["kind"] == "Deployment").unwrap_or(objects.len());
    objects.splice(place..place, added);
    // Objects are removed backwards: these kinds go while the controller is there to remove its finalizers.
    let (of_controller, definitions): (Vec<_>, Vec<_>) =
        definitions.into_iter().partition(|definition| definition["spec"]["group"] == OF_CONTROLLER);
    objects.extend(of_controller);
    Ok([definitions, objects])
}

/// The object is in the namespaces of the variables, and so is what it speaks of.
fn settle(object: &mut Value, vars: &Vars) {
    let own = &vars.cert_manager_namespace;
    let settle = |namespace: &mut Value| match namespace.as_str() {
        Some(NAMESPACE) => *namespace = json!(own),
        Some(LEADERS) => *namespace = json!(vars.cert_manager_leader_election_namespace),
        _ => {}
    };
    if object["kind"] == "Namespace" {
        settle(&mut object["metadata"]["name"]);
    }
    object.pointer_mut("/metadata/namespace").into_iter().for_each(settle);
    for (list, namespace) in [("subjects", "/namespace"), ("webhooks", "/clientConfig/service/namespace")] {
        let items = object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        items.filter_map(|item| item.pointer_mut(namespace)).for_each(settle);
    }
    // `NAMESPACE/NAME` of the Secret with the webhook's authority.
    let secret = object.pointer_mut("/metadata/annotations/cert-manager.io~1inject-ca-from-secret");
    if let Some(secret) = secret
        && let Some(name) = secret.as_str().and_then(|text| text.strip_prefix(&format!("{NAMESPACE}/")))
    {
        *secret = json!(format!("{own}/{name}"));
    }
}

/// The pods of a deployment run the catalogue's images, which upstream names by the last part of their repositories, where they are
/// to run.
fn set_pods(deployment: &mut Value, vars: &Vars, images: &BTreeMap<&str, String>) -> Result<(), String> {
    let template = &mut deployment["spec"]["template"];
    template["metadata"]["labels"][SET] = json!(NAME);
    let pod = &mut template["spec"];
    if let Some(nodeselector) = vars.cert_manager_nodeselector.as_ref().filter(|given| !given.is_empty()) {
        pod["nodeSelector"] = json!(nodeselector);
    }
    if let Some(tolerations) = vars.cert_manager_tolerations.as_ref().filter(|given| !given.is_empty()) {
        pod["tolerations"] = json!(tolerations);
    }
    if let Some(affinity) = vars.cert_manager_affinity.as_ref().filter(|given| !given.is_empty()) {
        pod["affinity"] = json!(affinity);
    }
    for container in pod["containers"].as_array_mut().into_iter().flatten() {
        let upstream = container["image"].as_str().unwrap_or_default();
        let repository = upstream.rsplit_once(':').map_or(upstream, |(repository, _)| repository);
        let image = images.get(repository.rsplit('/').next().unwrap_or_default());
        container["image"] = json!(image.ok_or_else(|| format!("an image {upstream:?} is not known"))?);
    }
    Ok(())
}

/// The controller is as the variables want it. What it reads is returned.
fn set_controller(controller: &mut Value, vars: &Vars, cluster: &ClusterVars) -> Result<Vec<Value>, String> {
    let extra = vars.cert_manager_controller_extra_args.iter().flatten().map(|argument| json!(argument));
    arguments(controller)?.extend(extra);
    let template = &mut controller["spec"]["template"];
    template["spec"]["dnsPolicy"] = json!(vars.cert_manager_dns_policy);
    if let Some(config) = vars.cert_manager_dns_config.as_ref().filter(|given| !given.is_empty()) {
        template["spec"]["dnsConfig"] = json!(config);
    }
    let mut added = Vec::new();
    let metadata = |name: &str| json!({ "name": name, "namespace": vars.cert_manager_namespace });
    let ca = vars.cert_manager_trusted_internal_ca.trim();
    if !ca.is_empty() {
        added.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(TRUSTED), "data": { "ca.crt": format!("{ca}\n") },
        }));
        template["spec"]["volumes"] = json!([{ "name": TRUSTED, "configMap": { "name": TRUSTED } }]);
        template["spec"]["containers"][0]["volumeMounts"] = json!([{
            "name": TRUSTED, "mountPath": "/etc/ssl/certs/trusted-internal-ca.crt", "subPath": "ca.crt", "readOnly": true,
        }]);
    }
    let proxies =
        [("HTTP_PROXY", &vars.cert_manager_http_proxy), ("HTTPS_PROXY", &vars.cert_manager_https_proxy)];
    let mut proxies: BTreeMap<&str, String> = proxies
        .into_iter()
        .filter(|(_, proxy)| !proxy.is_empty())
        .map(|(name, proxy)| (name, STANDARD.encode(proxy)))
        .collect();
    if !proxies.is_empty() {
        proxies.insert("NO_PROXY", STANDARD.encode(direct(vars, cluster)));
        added.push(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata(PROXIES), "data": proxies,
        }));
        template["spec"]["containers"][0]["envFrom"] = json!([{ "secretRef": { "name": PROXIES } }]);
    }
    if !added.is_empty() {
        // It reads them when it starts. So few digits tell what is there from what was, and nothing of what is in it.
        let digest = Sha256::of(json!(added).to_string().as_bytes()).to_string();
        template["metadata"]["annotations"]["muster.io/config"] = json!(digest[..8]);
    }
    Ok(added)
}

/// What the controller reaches without a proxy: the cluster in any case.
fn direct(vars: &Vars, cluster: &ClusterVars) -> String {
    let networks = [cluster.services(), cluster.pods()].concat().join(",");
    let domain = &cluster.dns_domain;
    let given = &vars.cert_manager_no_proxy;
    let comma = if given.is_empty() { "" } else { "," };
    format!("{given}{comma}127.0.0.1,localhost,{networks},.svc,.svc.{domain}")
}

/// Whether an object is of one of its kinds.
pub(crate) fn is_its(object: &Value) -> bool {
    let group = object["apiVersion"].as_str().and_then(|version| version.split_once('/'));
    group.is_some_and(|(group, _)| group == "cert-manager.io" || group == OF_CONTROLLER)
}

/// Its webhook, which is asked about each object of its kinds, answers, where this run has applied it: some time after its pods run,
/// the API server is told whom to trust.
pub(crate) async fn answers(host: &Host) -> Result<()> {
    if host.check_mode() || host.cluster().done::<()>(&applied(NAME)).is_none() {
        return Ok(());
    }
    let limit = super::timeout(host)?;
    cluster::let_leader_go_first(host, ANSWERS).await?;
    let wait = || async {
        let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
        let issuer = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Issuer",
            "metadata": { "generateName": "muster-", "namespace": "default" },
            "spec": { "selfSigned": {} },
        });
        let tried =
            kubectl!(r#"printf '%s' "$1" | kubectl create --dry-run=server -f - 2>&1"#, [issuer.to_string()]);
        kubectl.wait(Wait::new(ANSWERS, tried, Duration::from_secs(1), limit)).await.map(drop)
    };
    host.cluster().once(ANSWERS, wait).await?;
    host.reached(ANSWERS);
    Ok(())
}

#[cfg(test)]
mod tests;
