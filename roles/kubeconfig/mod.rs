//! kubeconfig: what one needs to use the cluster, brought to the controller.

use std::io::Read as _;
use std::path::Path;

use muster_engine::event::Change;
use muster_engine::prelude::*;
use muster_files::write_whole;
use serde::Deserialize;

use crate::balancer::{self, External};
use crate::catalogue::artifact_for_here;
use crate::certificates::ends_sooner;
use crate::cluster;
use crate::common::cluster_vars;
use crate::kubectl::ADMIN_CONF;

#[derive(Deserialize)]
struct Vars {
    kubeconfig_localhost: bool,
    kubectl_localhost: bool,
    artifacts_dir: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>()];

/// Done once a run, by the control plane that speaks for the cluster.
pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    let known = cluster::known(host).await?;
    if known.leader() != Some(host.name()) {
        return Ok(());
    }
    let folder = Path::new(&vars.artifacts_dir);
    let config = folder.join("admin.conf");
    // One that is there already (`muster kubectl` brings it) is kept true: the cluster may have begun anew, or have renewed its own.
    let here = std::fs::read_to_string(&config).ok();
    if vars.kubeconfig_localhost || here.is_some() {
        let answer = host.query(sh("cat \"$1\"", [ADMIN_CONF])).await?;
        let is_true = |here: &str| {
            !vars.kubeconfig_localhost
                && authority(here) == authority(&answer.output)
                && !ends_sooner(here, &answer.output)
        };
        if answer.status == 0 && !here.as_deref().is_some_and(is_true) {
            let own = format!("https://{}", cluster::api_of(host, host.name())?);
            let mut text = balancer::for_others(&answer.output, &own);
            if let Some(external) = External::wanted(host, &known)? {
                text = external.by_address(&text);
            }
            bring(host, &config, 0o600, text.as_bytes())?;
        }
    }
    if vars.kubectl_localhost {
        let version = cluster_vars(host)?.kube_version;
        let Some(kubectl) = artifact_for_here(host, "kubectl", &version) else {
            host.warn(format!(
                "the bundle has no kubectl {version} for this computer ({}), so none was brought: muster bundle fetch gets it",
                std::env::consts::ARCH
            ));
            return Ok(());
        };
        let path = folder.join("kubectl");
        let same_size = std::fs::metadata(&path).is_ok_and(|m| m.len() == kubectl.entry.size);
        if !same_size {
            let mut content = Vec::new();
            let read = kubectl.bundle.content(&kubectl.entry).map_err(|e| Failure::new(e.to_string(), ""))?;
            { read }.read_to_end(&mut content).map_err(|e| local(&path, &e))?;
            bring(host, &path, 0o755, &content)?;
        }
    }
    Ok(())
}

/// Whom a kubeconfig trusts, and so which cluster it is of.
fn authority(config: &str) -> Option<&str> {
    config.lines().find_map(|line| line.trim().strip_prefix("certificate-authority-data: "))
}

/// Writes a file on this side, whole or not at all, unless it is there.
fn bring(host: &Host, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let same_mode = std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o7777 == mode);
    if same_mode && std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    host.changed_here(Change {
        resource: path.display().to_string(),
        what: "brought to this side".into(),
        diff: None,
        momentary: false,
    });
    if host.check_mode() {
        return Ok(());
    }
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        write_whole(path, Some(mode), &mut &content[..])
    };
    write().map_err(|error| local(path, &error))
}

fn local(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("{}: {error}", path.display()),
        "check the folder on this side, or set artifacts_dir",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_is_of_the_cluster_that_it_trusts() {
        let config = |authority: &str, server: &str| {
            format!(
                "clusters:\n- cluster:\n    certificate-authority-data: {authority}\n    server: {server}\n"
            )
        };
        let [one, moved, other] =
            [("ab", "https://192.0.2.4"), ("ab", "https://192.0.2.5"), ("cd", "https://192.0.2.4")]
                .map(|(authority, server)| config(authority, server));
        assert_eq!(authority(&one), authority(&moved));
        assert_ne!(authority(&one), authority(&other));
    }
}
