//! A member of etcd goes over to muster's unit, from kubeadm's static pod or from kubespray's unit: the same data, name, address and
//! authority. It is away for as long as the one stops and the other starts. Where the new one does not start the old one runs again,
//! with its own program.

use muster_engine::prelude::*;

use super::{KEPT, is_under_way};
use crate::cluster::{self, Standing};
use crate::common::{bin_dir, cluster_vars};
use crate::etcd;

/// Where kubelets look for static pods, and where the manifest of kubeadm's etcd is kept.
const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";
const WAITS: &str = "/var/lib/muster/adopted/etcd.yaml";

/// Who has run a member until now that is to be muster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Former {
    StaticPod,
    Unit,
}

/// Who has run a machine's member until now, in a run that adopts it; `None` where that is muster.
async fn former(host: &Host, known: &Standing) -> Result<Option<Former>> {
    let Some(seen) = known.identity(host.name()).filter(|_| is_under_way(host)) else { return Ok(None) };
    if seen.stacked.is_some() {
        return Ok(Some(Former::StaticPod));
    }
    // One that does not run has been stopped by a hand-over that was cut off, and is started with what is there.
    let is_others = sh(
        r#"[ -e /etc/systemd/system/etcd.service ] && [ ! -e /var/lib/muster/stamps/etcd.service ] &&
  { [ ! -e "$1" ] || [ -e "$1/etc/systemd/system/etcd.service" ]; } && systemctl is-active -q etcd"#,
        [KEPT],
    );
    let is_unit = seen.etcd.name.is_some() && host.query(is_others).await?.status == 0;
    Ok(is_unit.then_some(Former::Unit))
}

/// Before a member stops: all are well, and what they hold is on this side. The certificates with which they are asked are there.
/// Says who has run it until now.
pub(crate) async fn before_member(host: &Host) -> Result<Option<Former>> {
    let known = cluster::known(host).await?;
    let former = former(host, &known).await?;
    if former.is_some() {
        if !host.check_mode() {
            etcd::all_are_well(host).await?;
        }
        let bring = || async { etcd::bring_snapshot(host, None).await };
        host.cluster().once("a snapshot of etcd before the adoption", bring).await?;
    }
    Ok(former)
}

/// The step that starts the unit; a static pod stops in it before. It goes on when the connection is lost.
pub(crate) fn hand_over<'h>(host: &'h Host, former: Option<Former>) -> Result<Step<'h>> {
    let step = host.step("Run etcd");
    Ok(match former {
        None => step,
        Some(Former::Unit) => step.detached(),
        Some(Former::StaticPod) => step.detached().ensure(command(
            "kubeadm's static pod of etcd stops",
            sh(
                concat!(include_str!("running.sh"), include_str!("static_pod_stops.sh")),
                [MANIFEST, WAITS, &cluster_vars(host)?.kube_override_hostname],
            ),
            sh(r#"[ ! -e "$1" ]"#, [MANIFEST]),
        )),
    })
}

/// The end of that step: where the unit did not start what was there before runs again.
///
/// # Errors
/// That of the step.
pub(crate) async fn handed_over<T>(host: &Host, former: Option<Former>, outcome: Result<T>) -> Result<T> {
    let failed = outcome.as_ref().err().is_some_and(|failure| matches!(failure, Failure::Change { .. }));
    let Some(former) = former.filter(|_| failed && !host.check_mode()) else { return outcome };
    let (what, whose, back) = match former {
        Former::StaticPod => (
            "The static pod of etcd runs again",
            "kubeadm's static pod",
            sh(include_str!("static_pod_is_back.sh"), [MANIFEST, WAITS]),
        ),
        Former::Unit => (
            "The former unit of etcd runs again",
            "the former unit",
            sh(include_str!("unit_is_back.sh"), [KEPT, &bin_dir(host)?]),
        ),
    };
    host.run(what, back, Duration::from_secs(120)).await?;
    host.warn(format!(
        "muster's etcd did not start on {}; {whose} runs there again, and what was kept is in {KEPT}",
        host.name()
    ));
    outcome
}

#[cfg(test)]
mod tests {
    use super::super::kubespray::tests::{SHELLS, put, run};

    #[test]
    fn a_former_unit_of_etcd_comes_back_with_its_own_program() {
        for shell in SHELLS {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            let at = |path: &str| root.join(path).display().to_string();
            put(root, "bin/systemctl", "#!/bin/sh\n");
            let files =
                ["etc/etcd.env", "etc/systemd/system/etcd.service", "usr/bin/etcd", "usr/bin/etcdctl"];
            files.iter().for_each(|path| put(root, path, "former"));
            let (kept, mark, programs) = (at("kept"), at("kept/begun"), at("usr/bin"));
            // Cut off before the mark was there, and again.
            for _ in 0..2 {
                let (done, said) = run(shell, root, include_str!("keep.sh"), &[&kept, &mark, &programs]);
                assert!(done && root.join("kept/begun").exists(), "{shell:?}: {said}");
            }
            files[..2].iter().for_each(|path| put(root, path, "muster's"));
            for path in &files[2..] {
                // Programs are renamed over former ones.
                put(root, "usr/bin/new", "muster's");
                std::fs::rename(root.join("usr/bin/new"), root.join(path)).unwrap();
            }
            let (done, said) = run(shell, root, include_str!("unit_is_back.sh"), &[&kept, &programs]);
            assert!(done, "{shell:?}: {said}");
            for path in files {
                assert_eq!(std::fs::read_to_string(root.join(path)).unwrap(), "former", "{shell:?}: {path}");
            }
            assert!(!root.join("usr/bin/etcdutl").exists(), "{shell:?}");
        }
    }
}
