//! kube-proxy goes where something else carries the services of the cluster (`kube_proxy_remove`). A new cluster begins without it; of
//! one that lives it is taken away here, when cilium does its work on every node: first from the cluster, then what it has left in the
//! kernel of each machine. On the way back the control plane that leads brings kube-proxy, and cilium gives the services up when it is
//! there ([`is_everywhere`]).

use muster_engine::prelude::*;
use serde::Deserialize;

use crate::cilium;
use crate::cluster::{self, Standing};
use crate::kubectl::{ADMIN_CONF, Kubectl, kubectl};
use crate::preflight::place;

/// Explained in the `defaults.yml` of the roles `kubeadm` and `cilium`.
#[derive(Deserialize)]
struct Vars {
    kube_proxy_remove: bool,
    kube_network_plugin: String,
    cilium_timeout: u64,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>()];

/// What is looked for once a run, for all machines.
const GONE: &str = "a cluster without kube-proxy";

const LOOK: &str =
    concat!(include_str!("../packet_filter.sh"), include_str!("rules.sh"), r#"[ -z "$(left)" ]"#);
const CLEAR: &str =
    concat!(include_str!("../packet_filter.sh"), include_str!("rules.sh"), include_str!("clear.sh"));

/// Neither the cluster nor the machine has anything of kube-proxy, where it is not to be there.
pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    if !vars.kube_proxy_remove {
        return Ok(());
    }
    let known = cluster::may_set_up(host).await?;
    cluster::let_leader_go_first(host, GONE).await?;
    let is_gone = host.cluster().once(GONE, || gone_from_cluster(host, &known, &vars)).await?;
    host.reached(GONE);
    if !*is_gone {
        return Ok(());
    }
    let rules = removal("rules of kube-proxy", sh0(CLEAR), sh0(LOOK));
    let step = host.step("Remove the rules of kube-proxy").limit(Duration::from_secs(120));
    step.ensure(rules).await.map(drop)
}

/// Whether the cluster has nothing of kube-proxy, or nothing any more.
///
/// # Errors
/// It has, and nobody is seen to do its work.
async fn gone_from_cluster(host: &Host, known: &Standing, vars: &Vars) -> Result<bool> {
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(false) };
    let objects = kubectl!(concat!(include_str!("objects.sh"), "objects"), [""; 0]);
    let left = kubectl.query("Look for kube-proxy", objects).await?;
    if left.trim().is_empty() {
        return Ok(true);
    }
    if vars.kube_network_plugin != cilium::NAME {
        return Err(Failure::Problems(vec![runs(host)]));
    }
    // What is the cluster's as a whole is changed in runs of its control planes.
    if known.foremost().is_none() {
        return Ok(false);
    }
    let seconds = vars.cilium_timeout.to_string();
    let remove = kubectl!(concat!(include_str!("services.sh"), include_str!("remove.sh")), [seconds]);
    let is_removed =
        kubectl!(concat!(include_str!("objects.sh"), r#"left=$(objects) && [ -z "$left" ]"#), [""; 0]);
    // Two minutes for the removal itself.
    let limit = Duration::from_secs(vars.cilium_timeout + 120);
    let step = kubectl.step("Remove kube-proxy").detached().limit(limit);
    step.ensure(removal("kube-proxy", remove, is_removed)).await.map_err(stays)?;
    Ok(true)
}

/// Why kube-proxy stays, and what can be done.
fn stays(failure: Failure) -> Failure {
    match failure {
        Failure::Change { tail, .. } => Failure::Other {
            message: "kube-proxy was not removed: cilium has to carry the services on every node before".into(),
            remedy: "see why it does not: muster kubectl -n kube-system get pods -l k8s-app=cilium -o wide; then run setup-cluster again. \
                     Until then set kube_proxy_remove: false"
                .into(),
            tail,
        },
        other => other,
    }
}

/// That a living cluster has a kube-proxy and a network of the user's own, of which nobody can see whether it carries the services. Asked
/// by the control plane that leads, before anything is changed; where its API server does not answer, the role looks again.
pub(crate) async fn refused(host: &Host, known: &Standing) -> Result<Option<Problem>> {
    if known.standing().is_empty() || known.leader() != Some(host.name()) {
        return Ok(None);
    }
    let look = sh(
        concat!(
            include_str!("../own_api_server.sh"),
            r#"admin=$1
kubectl() { command kubectl --kubeconfig "$admin" --request-timeout=5s ${server:+"--server=$server"} "$@"; }
"#,
            include_str!("objects.sh"),
            "objects"
        ),
        [ADMIN_CONF],
    );
    let answer = host.query(look).await?;
    Ok((answer.status == 0 && !answer.output.trim().is_empty()).then(|| runs(host)))
}

fn runs(host: &Host) -> Problem {
    Problem {
        check: "kube_proxy_remove".into(),
        found: format!("true{}, and the cluster has a kube-proxy", place(host.all_vars(), "kube_proxy_remove")),
        needed: "a network of your own that carries the services, which muster cannot see".into(),
        remedy: "set kube_proxy_remove: false; or, when your network carries the services on every node, remove kube-proxy yourself and \
                 run again, which removes its rules: muster kubectl -n kube-system delete daemonset/kube-proxy configmap/kube-proxy"
            .into(),
    }
}

/// That kube-proxy is ready on every node before cilium, which carries the services until then, is told to give them up. Nothing where
/// cilium does not carry them.
pub(crate) fn is_everywhere() -> Command {
    // For three minutes: its image may be on its way to a machine.
    let wait = kubectl!(concat!(include_str!("services.sh"), "rolled_out kube-proxy 180"), [""; 0]);
    let look = kubectl!(
        concat!(include_str!("services.sh"), r#"told=$(told_to_cilium) && [ "$told" != true ]"#),
        [""; 0]
    );
    command("kube-proxy on every node, before cilium gives the services up", wait, look)
}

#[cfg(test)]
mod tests;
