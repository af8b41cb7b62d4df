//! MetalLB: addresses for services of the type LoadBalancer. Upstream's own manifest is an artifact of the catalogue, of which single
//! things are changed; the pools are objects made of `metallb_config`.

mod config;

use std::collections::BTreeMap;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::manifest::{self, arguments, find, set_argument};
use super::state::REACHED_AT;
use super::{App, images_of};
use crate::cluster;
use crate::objects::{ObjectSet, SET};

pub(crate) use config::Config;
use config::Placement;

pub(super) const NAME: &str = "metallb";
pub(super) const DEFINITIONS: &str = "metallb-definitions";

/// The application.
pub(crate) const APP: App = App { definitions: Some(DEFINITIONS), ..App::of(NAME, sets) };

#[derive(Deserialize)]
struct Vars {
    metallb_speaker_enabled: bool,
    metallb_log_level: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::PLANES)];

fn sets(of: &Host) -> Result<Vec<ObjectSet>> {
    let config = Config::of(of.all_vars()).map_err(|why| {
        Failure::new(format!("metallb_config: {why}"), "see muster docs vars metallb_config")
    })?;
    let (vars, images) = (of.vars()?, images_of(of, NAME)?);
    let [definitions, objects] =
        manifest::patched(of, "metallb-manifest", |text| patched(text, &vars, &config, &images))?;
    Ok(vec![ObjectSet::of(DEFINITIONS, definitions)?, ObjectSet::of(NAME, objects)?])
}

/// Upstream's definitions of kinds, and its other objects with the pools.
fn patched(
    text: &str,
    vars: &Vars,
    config: &Config,
    images: &BTreeMap<&str, String>,
) -> Result<[Vec<Value>; 2], String> {
    let [definitions, mut objects] = manifest::objects(text)?;
    if !vars.metallb_speaker_enabled {
        objects.retain(|object| object["kind"] != "DaemonSet");
    } else {
        set_pods(&mut objects, "DaemonSet", "speaker", vars, &config.speaker, images)?;
        // kubeadm marks control planes as not for load balancers, and where no other node is nobody would answer.
        arguments(find(&mut objects, "DaemonSet", "speaker")?)?.push(json!("--ignore-exclude-lb"));
    }
    set_pods(&mut objects, "Deployment", "controller", vars, &config.controller, images)?;
    let controller = find(&mut objects, "Deployment", "controller")?;
    if !config.ranges().is_empty() {
        controller["metadata"]["annotations"][REACHED_AT] = json!(format!("addresses {}", config.ranges()));
    }
    // Before the webhook that is asked about each pool, which is there only when the controller runs.
    let place = objects.iter().position(|object| object["kind"] == "Deployment").unwrap_or(objects.len());
    objects.splice(place..place, config.objects());
    Ok([definitions, objects])
}

/// The pods of `name` run the catalogue's image, where they are to run.
fn set_pods(
    objects: &mut [Value],
    kind: &str,
    name: &str,
    vars: &Vars,
    placement: &Placement,
    images: &BTreeMap<&str, String>,
) -> Result<(), String> {
    let spec = &mut find(objects, kind, name)?["spec"];
    if let Some(replicas) = placement.replicas {
        spec["replicas"] = json!(replicas);
    }
    let template = &mut spec["template"];
    template["metadata"]["labels"][SET] = json!(NAME);
    if let Some(nodeselector) = &placement.nodeselector {
        template["spec"]["nodeSelector"] = json!(nodeselector);
    }
    if let Some(tolerations) = &placement.tolerations {
        template["spec"]["tolerations"] = json!(tolerations);
    }
    if let Some(affinity) = &placement.affinity {
        template["spec"]["affinity"] = json!(affinity);
    }
    let image = images.get(format!("metallb-{name}").as_str()).ok_or("the catalogue has no image of it")?;
    template["spec"]["containers"][0]["image"] = json!(image);
    set_argument(find(objects, kind, name)?, "--log-level=", &vars.metallb_log_level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    /// What of upstream's manifest is changed, and what is left alone.
    const UPSTREAM: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: metallb-system}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: ipaddresspools.metallb.io}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: controller}, spec: {template: {metadata: {labels: {app: metallb}},
  spec: {nodeSelector: {kubernetes.io/os: linux}, containers: [{image: 'x:1', args: [--port=7472, --log-level=info]}]}}}}
---
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: speaker}, spec: {template: {metadata: {labels: {app: metallb}},
  spec: {containers: [{image: 'x:1', args: [--log-level=info]}]}}}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: w}}
";

    fn objects(yaml: &str) -> [Vec<Value>; 2] {
        let all = variables(&format!("metallb_enabled: true\n{yaml}"));
        let images = ["metallb-controller", "metallb-speaker"].map(|name| (name, format!("{name}:2")));
        patched(UPSTREAM, &all.deserialize().unwrap(), &Config::of(&all).unwrap(), &images.into()).unwrap()
    }

    #[test]
    fn pools_come_before_the_webhook_that_judges_them() {
        let [definitions, objects] =
            objects("metallb_config: {address_pools: {a: {ip_range: [192.0.2.0/28]}}}");
        assert_eq!(definitions.len(), 1);
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        let expected = [
            "Namespace",
            "IPAddressPool",
            "L2Advertisement",
            "Deployment",
            "DaemonSet",
            "ValidatingWebhookConfiguration",
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn pods_are_as_the_variables_say() {
        let [_, found] = objects(
            "metallb_log_level: debug\nmetallb_config: {controller: {nodeselector: {room: '1'}, tolerations: [{operator: Exists}], \
             replicas: 2, affinity: {podAntiAffinity: {}}}}",
        );
        let pod = &found[1]["spec"]["template"]["spec"];
        assert_eq!(pod["nodeSelector"], json!({ "room": "1" }));
        assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]));
        assert_eq!(pod["affinity"], json!({ "podAntiAffinity": {} }));
        assert_eq!(found[1]["spec"]["replicas"], 2);
        assert_eq!(pod["containers"][0]["args"], json!(["--port=7472", "--log-level=debug"]));
        let speaker = &found[2]["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(speaker["image"], "metallb-speaker:2");
        assert_eq!(speaker["args"], json!(["--log-level=debug", "--ignore-exclude-lb"]));
        assert_eq!(found[2]["spec"]["template"]["metadata"]["labels"][SET], NAME);
        let [_, alone] = objects("metallb_speaker_enabled: false");
        assert!(alone.iter().all(|object| object["kind"] != "DaemonSet"));
    }
}
