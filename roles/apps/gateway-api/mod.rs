//! The kinds of the Gateway API: upstream's own manifest, an artifact of the catalogue for each channel, as it is. Nothing runs for
//! them: who answers for their objects is the user's to bring.

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::{App, manifest};
use crate::cluster;
use crate::objects::ObjectSet;

pub(crate) const NAME: &str = "gateway-api";

/// The application.
pub(crate) const APP: App = App::of(NAME, sets);

#[derive(Deserialize)]
struct Vars {
    gateway_api_channel: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::PLANES)];

fn sets(of: &Host) -> Result<Vec<ObjectSet>> {
    let Vars { gateway_api_channel: channel } = of.vars()?;
    Ok(vec![ObjectSet::of(NAME, manifest::patched(of, &format!("{NAME}-{channel}"), whole)?)?])
}

/// The definitions first: the policy that keeps who applies others from going back to older ones comes after them, and goes before.
fn whole(text: &str) -> Result<Vec<Value>, String> {
    let [definitions, others] = manifest::objects(text)?;
    if definitions.is_empty() {
        return Err("there are no definitions of kinds in it".to_owned());
    }
    Ok(definitions.into_iter().chain(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_come_before_the_policy_about_them() {
        let upstream = "
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: safe-upgrades}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: gateways.gateway.networking.k8s.io}}
";
        let kinds: Vec<_> = whole(upstream).unwrap().iter().map(|object| object["kind"].clone()).collect();
        assert_eq!(kinds, ["CustomResourceDefinition", "ValidatingAdmissionPolicy"]);
        assert_eq!(whole("{kind: List}").unwrap_err(), "there are no definitions of kinds in it");
    }
}
