//! A registry of images in the cluster. Nodes do not ask the cluster's DNS, so the container engine of each is told at which address
//! the registry's name is found.

use futures::future::{BoxFuture, FutureExt};
use muster_engine::prelude::*;
use serde::Deserialize;

use super::OnMachines;
use crate::catalogue::wants_app;
use crate::cluster;
use crate::containerd::{OWN_REGISTRY, no_other_mirrors};
use crate::kubectl::{Kubectl, kubectl};

/// What each machine knows of the registry.
pub(crate) const ON_MACHINES: OnMachines = OnMachines::OfRuns { bring: known, remove: unknown };

#[derive(Deserialize)]
struct Vars {
    dns_domain: String,
    registry_namespace: String,
    registry_port: u16,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::MACHINES)];

impl Vars {
    /// What the registry is called in the names of images.
    fn name(&self) -> String {
        format!("registry.{}.svc.{}:{}", self.registry_namespace, self.dns_domain, self.registry_port)
    }

    /// Which file tells containerd of the registry ("Registry Configuration" of its documentation).
    fn file(&self) -> String {
        format!("/etc/containerd/certs.d/{}/hosts.toml", self.name())
    }

    fn content(&self, address: &str) -> String {
        let server = format!("http://{address}:{}", self.registry_port);
        format!(
            "server = \"{server}\"\n\n[host.\"{server}\"]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n"
        )
    }
}

/// The file of a machine that tells containerd of the registry, where there is one.
pub(crate) fn told_in(host: &Host) -> Result<Option<String>> {
    let vars: Vars = host.vars()?;
    Ok(wants_app(host.all_vars(), "registry")?.then(|| vars.file()))
}

fn known(host: &Host) -> BoxFuture<'_, Result<()>> {
    async move {
        let vars: Vars = cluster::speaker(host).await?.vars()?;
        let address = host.cluster().once("the address of the registry", || address(host, &vars)).await?;
        if address.is_empty() {
            return Ok(());
        }
        let told = file(vars.file()).content(vars.content(&address));
        // By another name, as it had before its namespace or its port was another one, it is not found any more.
        host.step("Tell containerd of the registry")
            .ensure(told)
            .ensure(no_other_mirrors(OWN_REGISTRY, &[vars.name()]))
            .await
            .map(drop)
    }
    .boxed()
}

/// The address of its service; empty where that is not there, because the registry could not be applied or will only be.
async fn address(host: &Host, vars: &Vars) -> Result<String> {
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(String::new()) };
    let look = kubectl!(
        r#"kubectl get service registry --namespace "$1" --ignore-not-found -o 'jsonpath={.spec.clusterIP}'"#,
        [&vars.registry_namespace]
    );
    kubectl.query("the address of the registry", look).await
}

fn unknown(host: &Host) -> BoxFuture<'_, Result<()>> {
    async move {
        let vars: Vars = cluster::speaker(host).await?.vars()?;
        host.step("Forget the registry")
            .remove(file(vars.file()))
            .ensure(no_other_mirrors(OWN_REGISTRY, &[]))
            .await
            .map(drop)
    }
    .boxed()
}
