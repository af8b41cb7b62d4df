//! coredns: names inside the cluster, at the address that kubespray's clusters have it.

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::apps;
use crate::catalogue::{CATALOGUE, image};
use crate::cluster;
use crate::common::cluster_vars;
use crate::extension;
use crate::nodelocaldns;
use crate::objects::ObjectSet;

#[derive(Deserialize)]
struct Vars {
    dns_mode: String,
}

pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    let wanted = match vars.dns_mode.as_str() {
        // kubedns was what kubespray had before CoreDNS, at the same address.
        "coredns" | "kubedns" | "dnsmasq_kubedns" => true,
        "none" => false,
        other => {
            return Err(Failure::new(
                format!("dns_mode is {other:?}, and only coredns and none are supported"),
                "set dns_mode: coredns",
            ));
        }
    };
    let of = cluster::speaker(host).await?;
    let extra = json!({
        "image": image(host, "coredns", &cluster_vars(host)?.kube_version)?,
        "nodes": host.cluster().group("k8s_cluster").len(),
    });
    // Whichever control plane does it, the objects are the same: what they hold are the variables of one.
    let manifest = of.render("coredns.yaml.j2", include_str!("templates/coredns.yaml.j2"), &extra)?;
    // Of applications and of nodelocaldns, where they are switched off, it is known then, without asking, whether there is something to remove.
    let objects = ObjectSet::new("coredns", &manifest)?.refusing(moved).looking_for(
        CATALOGUE.apps().chain(apps::DEFINITIONS).chain([
            nodelocaldns::NAME,
            extension::NAME,
            extension::DEFINITIONS,
        ]),
    );
    if wanted { objects.ensure(host).await } else { objects.absent().ensure(host).await }
}

/// Why the service of the cluster's DNS cannot become what is wanted: all pods ask it at its address.
fn moved(wanted: Option<&Value>, found: &Value) -> Option<String> {
    let (is, wanted) = (&found["spec"]["clusterIP"], &wanted?["spec"]["clusterIP"]);
    (found["kind"] == "Service" && is != wanted).then(|| {
        format!(
            "pods ask for names at {is}, which cannot become {wanted} under them: set skydns_server: {is}"
        )
    })
}
