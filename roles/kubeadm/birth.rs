//! The cluster begins, on one machine, once.

use muster_engine::prelude::*;

use super::{config, kube_proxy, kubelet};
use crate::cluster::{self, Standing};
use crate::common::cluster_vars;
use crate::diagnosis;
use crate::etcd;
use crate::kubectl::{ADMIN_CONF, api_answers};

/// The cluster begins on this machine, or goes on with a beginning that was cut off.
pub(super) async fn run(host: &Host, known: &Standing) -> Result<()> {
    if known.may_be_orphaned() {
        match etcd::holds_objects(host).await? {
            Some(false) => {}
            Some(true) => return Err(Failure::Problems(vec![known.objects_without_authority()])),
            None => {
                return Err(Failure::new(
                    "etcd has data from before this run and does not say whose",
                    "start it: systemctl start etcd; if it fails: journalctl -u etcd",
                ));
            }
        }
    }
    // kubeadm reset empties the folder in which etcd has its data by default, and etcd begins a new one when it starts again.
    let was_settled = known.identity(host.name()).is_some_and(|seen| seen.settled);
    if was_settled && etcd::holds_objects(host).await? != Some(true) {
        return Err(Failure::Problems(vec![cluster::emptied(host.name())]));
    }
    let told = config::write(host, known).await?;
    let wanted = kubelet::wanted(host, known)?;
    let has_kube_proxy = kube_proxy::fields(host)?.is_some();
    let skipped = config::skipped(&cluster_vars(host)?.kube_version, has_kube_proxy);
    let done = host
        .step("kubeadm init")
        .detached()
        .ensure(command(
            "control plane",
            sh(
                concat!(
                    include_str!("kubelet_state.sh"),
                    include_str!("static-pods.sh"),
                    include_str!("birth.sh")
                ),
                [
                    config::CONFIG,
                    config::APPLIED,
                    &told.hash,
                    kubelet::STAMP,
                    &wanted,
                    config::BEGINS,
                    &skipped,
                ],
            ),
            // What has become of the static pods since is looked at when the cluster stands.
            sh(r#"[ "$(cat "$1")" = "$3" ] && [ -e "$2" ]"#, [config::APPLIED, ADMIN_CONF, &told.hash]),
        ))
        .await;
    if let Err(failure) = done {
        return Err(diagnosis::of_change(host, failure).await);
    }
    // One that somebody stopped is started before the API is waited for. Not in the step above: what is planned there is
    // planned before kubeadm starts the kubelet, and would restart it.
    host.step("Start the kubelet").ensure(service("kubelet")).await?;
    api_answers(host, Duration::from_secs(180)).await
}
