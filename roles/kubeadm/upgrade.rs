//! The fourth story: a machine of a cluster goes to another version of Kubernetes. A control plane by `kubeadm upgrade`, which
//! also renews its certificates, or by the parts of that; then its kubelet, as that of every node. Which machine is done already is
//! what the cluster says ([`upgrade::is_done`]).

use muster_engine::prelude::*;

use super::config::Config;
use super::{anonymous, config, images, install, kubelet, kubelet_change, outage, reconfigure};
use crate::certificates::{self, RENEWED_BELOW};
use crate::cluster::{self, Standing};
use crate::common::{cluster_vars, kube_minor};
use crate::diagnosis;
use crate::kubectl::{ADMIN_CONF, api_answers};
use crate::resolvconf;
use crate::upgrade::{self, State};

/// What a control plane tells the workers: its turn is over, and its node gets pods.
pub(crate) const UPGRADED: &str = "the new version of its API server";

/// The role of a control plane.
pub(crate) const ROLE: &str = "upgrade-control-plane";

/// The role of a worker.
pub(crate) const NODE_ROLE: &str = "upgrade-node";

/// Everything that the machine needs is there before any machine is touched. Images go to their place, beside those of the
/// old version; programs wait for their turn.
pub(crate) async fn fetch(host: &Host) -> Result<()> {
    cluster::may_set_up(host).await?;
    if upgrade::is_done(host).await? {
        return Ok(());
    }
    let cluster = cluster_vars(host)?;
    install(host, "Fetch kubelet, kubeadm and kubectl", &super::PROGRAMS)?.fetch_only().await?;
    host.step("Import the images").ensure(images::imported(host, &cluster)?).await?;
    Ok(())
}

/// A control plane, and its kubelet.
pub(crate) async fn control_plane(host: &Host) -> Result<()> {
    let known = cluster::may_set_up(host).await?;
    if upgrade::is_done(host).await? {
        // A run that was cut off may have left its node cordoned, and two are not to be at once.
        upgrade::finish(host).await?;
        host.reached(UPGRADED);
        return Ok(());
    }
    // Of several there is always one that answers.
    match known.planes.len() {
        1 => outage::told(host, upgrade_plane(host, &known)).await?,
        _ => upgrade_plane(host, &known).await?,
    }
    upgrade::finish(host).await?;
    host.reached(UPGRADED);
    Ok(())
}

/// The first minor version whose `kubeadm upgrade apply` has phases, of which one can be left out. That of an older one, and its
/// `upgrade node`, would put kubeadm's CoreDNS in the place of the cluster's.
const APPLY_HAS_PHASES: u32 = 32;

async fn upgrade_plane(host: &Host, known: &Standing) -> Result<()> {
    let version = cluster_vars(host)?.kube_version;
    install(host, "Install kubeadm and kubectl", &["kubeadm", "kubectl"])?.await?;
    // Files that the new configuration names, as a policy for the audit log, are there before the programs that read them.
    let written = config::write(host, known).await?;
    match kube_minor(&version) >= APPLY_HAS_PHASES {
        true => apply(host, known, &version, &written).await?,
        false => by_parts(host, known, &version, &written).await?,
    }
    // One that was stopped, or that a run left which was cut off: without it no API server starts anew.
    host.step("Start the kubelet").ensure(service("kubelet")).await?;
    if !host.check_mode() {
        // Something to do where variables have changed as well.
        reconfigure::run(host, known, None).await?;
    }
    api_answers(host, Duration::from_secs(180)).await?;
    anonymous::run(host, known).await?;
    let node = cluster_vars(host)?.kube_override_hostname;
    if !upgrade::state(host).await?.has_kubelet(&node, &version) {
        restart_kubelet(host, known, &version).await?;
    }
    stays_up(host).await
}

/// A control plane goes to another version by `kubeadm upgrade apply`.
async fn apply(host: &Host, known: &Standing, version: &str, written: &Config) -> Result<()> {
    let told = config::hash(host, known, version).await?;
    let before = config::hash(host, known, known.version_of(host.name()).unwrap_or(version)).await?;
    let upgraded = host
        .step("Upgrade the control plane")
        .detached()
        .limit(Duration::from_secs(1200))
        .ensure(command(
            "control plane",
            sh(
                concat!(
                    include_str!("../own_api_server.sh"),
                    include_str!("static-pods.sh"),
                    include_str!("place.sh"),
                    include_str!("come_up.sh"),
                    include_str!("same_pods.sh"),
                    include_str!("upgrade.sh")
                ),
                [
                    version,
                    super::PATCHES,
                    config::APPLIED,
                    &before,
                    &told,
                    config::CONFIG,
                    &written.certificates,
                    ADMIN_CONF,
                    reconfigure::BEFORE,
                ],
            ),
            sh(r#"[ "$(cat "$1")" = "$2" ]"#, [config::APPLIED, &told]),
        ))
        .await;
    upgraded.map_err(reconfigure::reverted).map(drop)
}

/// The same by the parts of it: certificates that are about to end, the control plane as whenever its configuration is another one,
/// and what the cluster has as a whole. What it leaves as it is are rules for tokens, which are the same in all of these versions.
async fn by_parts(host: &Host, known: &Standing, version: &str, written: &Config) -> Result<()> {
    certificates::renew(host, known, RENEWED_BELOW).await?;
    reconfigure::applied(host, written, false).await?;
    if !host.check_mode() {
        reconfigure::is_steady(host).await?;
    }
    let node = cluster_vars(host)?.kube_override_hostname;
    let leads = known.leader() == Some(host.name());
    let tell = command(
        format!("Kubernetes {version}"),
        reconfigure::tell_version(version, &node, leads),
        // This machine is not done: what of it the cluster knows is seen at the next run.
        sh0("false"),
    );
    host.step("Give the cluster its version").detached().ensure(tell).await.map(drop)
}

/// A kubelet of another minor version may start static pods anew when it first looks at them, some seconds after its node is Ready,
/// where they could not be kept (`same_pods.sh`): what comes next needs the API server.
async fn stays_up(host: &Host) -> Result<()> {
    let steady = sh(
        concat!(include_str!("../own_api_server.sh"), include_str!("steady_api.sh")),
        [ADMIN_CONF, if host.check_mode() { "1" } else { "24" }],
    );
    let (every, limit) = (Duration::from_millis(500), Duration::from_secs(300));
    host.wait(Wait::new("the API server stays up", steady, every, limit)).await.map(drop)
}

/// A worker. Its kubelet must not be newer than any API server.
pub(crate) async fn node(host: &Host) -> Result<()> {
    if host.in_group("kube_control_plane") {
        return Ok(());
    }
    let known = cluster::may_set_up(host).await?;
    if upgrade::is_done(host).await? {
        return Ok(());
    }
    let version = cluster_vars(host)?.kube_version;
    let state = upgrade::state(host).await?;
    if let Some(problem) = too_early(host, &known, &state, &version) {
        return Err(Failure::Problems(vec![problem]));
    }
    for plane in upgraded_planes(host) {
        let is_through = |node: &str| state.is_done(node, true, &version) && !state.is_marked(node);
        if known.node(&plane).is_some_and(|node| !is_through(node)) {
            host.needs(&plane, UPGRADED).await?;
        }
    }
    install(host, "Install kubeadm and kubectl", &["kubeadm", "kubectl"])?.await?;
    // On a control plane kubeadm does it; a kubelet that the API does not let in would never be Ready.
    certificates::renew(host, &known, RENEWED_BELOW).await?;
    restart_kubelet(host, &known, &version).await
}

/// The control planes that this run upgrades.
fn upgraded_planes(host: &Host) -> Vec<String> {
    let mut planes = host.cluster().group("kube_control_plane");
    planes.retain(|plane| host.cluster().has_role(plane, ROLE));
    planes
}

/// That this run would give workers a kubelet that is newer than an API server, which it leaves as it is: with `--limit`, or with
/// `--tags`.
pub(crate) fn too_early(host: &Host, known: &Standing, state: &State, version: &str) -> Option<Problem> {
    let goes = |worker: &String| {
        let node = known.node(worker).filter(|node| !state.is_done(node, false, version));
        node.is_some() && host.cluster().has_role(worker, NODE_ROLE)
    };
    let planes = host.cluster().group("kube_control_plane");
    let workers = host.cluster().group("kube_node").into_iter().filter(|worker| !planes.contains(worker));
    let worker = workers.into_iter().find(goes)?;
    let upgraded = upgraded_planes(host);
    let is_upgraded = |node: &str| upgraded.iter().any(|plane| known.node(plane) == Some(node));
    let older = state.older_api_servers(version).find(|node| !is_upgraded(node))?;
    Some(Problem {
        check: "control plane".into(),
        found: format!("the API server of {older} is older than {version}, which {worker} is to have"),
        needed: "a kubelet that is not newer than any API server".into(),
        remedy: "upgrade the control planes first: upgrade-cluster, without --limit and --tags".into(),
    })
}

/// The kubelet runs in its new version, and the cluster takes it for Ready.
async fn restart_kubelet(host: &Host, known: &Standing, version: &str) -> Result<()> {
    let node = cluster_vars(host)?.kube_override_hostname;
    upgrade::drain(host).await?;
    install(host, "Install the kubelet", &["kubelet"])?
        .ensure(file(super::UNIT).content(kubelet::unit(host, known)?))
        .ensure_all(resolvconf::own(host)?)
        .ensure(file(kubelet::PATCH).content(kubelet::patch(host)?))
        .await?;
    let wanted = kubelet::wanted(host, known)?;
    host.step("Run the new kubelet")
        .ensure(command(
            format!("kubelet {version}"),
            kubelet_change::starting!(
                concat!(
                    include_str!("static-pods.sh"),
                    include_str!("come_up.sh"),
                    include_str!("same_pods.sh"),
                    include_str!("upgrade_kubelet.sh")
                ),
                [super::PATCHES, kubelet::STAMP, &wanted]
            ),
            sh(concat!(include_str!("own_node.sh"), r#"[ "$runs" = "v$2" ]"#), [node.as_str(), version]),
        ))
        .ensure(service("kubelet"))
        .await?;
    let ready = sh(
        concat!(
            include_str!("own_node.sh"),
            r#"[ "$runs $ready" = "v$2 True" ] || { echo "it is ${runs:-not known}, Ready: ${ready:-not known}"; exit 1; }"#
        ),
        [node.as_str(), version],
    );
    let (every, limit) = (Duration::from_millis(500), Duration::from_secs(180));
    diagnosis::wait_on_node(host, Wait::new("the node is Ready in its new version", ready, every, limit))
        .await
        .map(drop)
}
