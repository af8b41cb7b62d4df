//! Helm: a program on control planes. What it installs in the cluster is its user's. The bundle's is run on this computer, too, where
//! the user has charts (`extension/charts.rs`).

use std::path::PathBuf;
use std::sync::Arc;

use muster_artifacts::{Arch, Bundle};
use muster_engine::prelude::*;

use crate::apps;
use crate::catalogue::{artifact, artifact_of, wants_app};
use crate::cluster;
use crate::common::{bin_dir, cluster_vars};

pub(crate) const NAME: &str = "helm";

/// The program is there, or is removed where it is not wanted any more.
pub(crate) async fn run(host: &Host) -> Result<()> {
    if !host.in_group("kube_control_plane") {
        return Ok(());
    }
    if !wants_app(host.all_vars(), NAME)? {
        // The role `kubelet` has seen to it.
        if host.cluster().has_role(host.name(), "kubelet") {
            return Ok(());
        }
        cluster::may_set_up(host).await?;
        return host.step("Remove Helm").ensure(uninstalled(path(host)?)).await.map(drop);
    }
    cluster::may_set_up(host).await?;
    let helm = artifact(host, NAME, &cluster_vars(host)?.kube_version)?;
    let member = format!("linux-{}/{NAME}", helm.entry.arch);
    let program = archive(helm).member(member, path(host)?).replacing_only_ours();
    match host.step("Install Helm").ensure(program).await {
        Err(failure) => apps::put_off(host, NAME, failure).await,
        Ok(_) => Ok(()),
    }
}

/// A step of a control plane that removes the program, too, where it is not wanted: a look of its own would be an exchange in every
/// run.
pub(crate) fn removed_in<'h>(host: &'h Host, step: Step<'h>) -> Result<Step<'h>> {
    let goes = host.in_group("kube_control_plane") && !wants_app(host.all_vars(), NAME)?;
    Ok(if goes { step.ensure(uninstalled(path(host)?)) } else { step })
}

/// Where the program is.
pub(crate) fn path(host: &Host) -> Result<String> {
    Ok(format!("{}/{NAME}", bin_dir(host)?))
}

/// The bundle's program for this computer, unpacked.
///
/// # Errors
/// What is wrong, and what can be done about it.
pub(crate) fn here(bundle: &Arc<Bundle>, kube_version: &str) -> Result<PathBuf, (String, String)> {
    let arch = Arch::host();
    let Some(helm) = arch.and_then(|arch| artifact_of(bundle, NAME, kube_version, arch)) else {
        let computer = arch.map_or("computers like this one".to_owned(), |arch| arch.to_string());
        return Err((
            format!("the bundle {} has no {NAME} for {computer}", bundle.dir().display()),
            format!("get it: muster bundle fetch --with {NAME} --arch {computer}"),
        ));
    };
    helm.bundle
        .program(&helm.entry)
        .map_err(|error| (error.to_string(), "look at the bundle: muster bundle check".to_owned()))
}
