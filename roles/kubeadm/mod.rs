//! kubeadm: a machine becomes a node. One control plane begins the cluster where none exists, the others and the workers join it,
//! all at once where kubeadm allows it.
//!
//! Three roles live here because they share one configuration: `kubelet` (what every node has), `control-plane`, `node`. A control
//! plane has one of three stories, which [`cluster`] decides by what the machines are: [`birth`], [`reconfigure`], [`join`]; the
//! fourth one, [`upgrade`], is that of a run of its own.

mod access;
mod admission;
mod anonymous;
mod arguments;
mod audit;
mod birth;
mod component_file;
mod config;
mod endpoint;
mod growth;
pub(crate) mod images;
mod join;
mod kube_proxy;
mod kubelet;
mod kubelet_blame;
mod kubelet_change;
mod kubelet_settings;
mod labels;
mod outage;
pub(crate) mod patches;
mod reconfigure;
mod scheduler;
pub(crate) mod serving;
mod tracing;
pub(crate) mod upgrade;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::addresses::node_ip;
use crate::adoption;
use crate::balancer;
use crate::catalogue::artifact;
use crate::certificates::{self, RENEWED_BELOW, renewal_timer};
use crate::cluster::{self, Standing, Story};
use crate::common::{bin_dir, cluster_vars};
use crate::etcd;
use crate::helm;
use crate::nodelocaldns;
use crate::resolvconf;
use crate::rotation;
use growth::Growth;
use patches::Patches;

pub(crate) use access::SAYS_WHO_IS_ANONYMOUS;
pub(crate) use config::{CONFIG, V1BETA4, keys_asked_for};
pub(crate) use endpoint::run as api_endpoint;
pub(crate) use kubelet::resolv_conf_for_pods;
pub(crate) use labels::{network_of, nodes};
pub(crate) use reconfigure::{is_steady, publish};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    node_taints: Vec<String>,
    kubeadm_ignore_preflight_errors: Vec<String>,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[
    Read::own::<Vars>(),
    Read::own::<access::Vars>(),
    Read::own::<admission::Vars>(),
    Read::own::<anonymous::Vars>(),
    Read::own::<arguments::Vars>(),
    Read::own::<audit::Vars>(),
    Read::of::<config::Vars>(cluster::MACHINES),
    Read::own::<join::Vars>(),
    Read::own::<kube_proxy::Vars>(),
    Read::own::<kubelet::Vars>(),
    Read::own::<kubelet_change::Vars>(),
    Read::own::<kubelet_settings::Vars>(),
    Read::own::<labels::Vars>(),
    Read::own::<patches::Vars>(),
    Read::own::<resolvconf::Vars>(),
    Read::own::<scheduler::Vars>(),
    Read::own::<serving::Vars>(),
    Read::of::<serving::NodeVars>(cluster::MACHINES),
    Read::own::<tracing::Vars>(),
    Read::of::<renewal_timer::Vars>(cluster::PLANES),
];

/// Where kubeadm finds what is particular to this machine, for its init and its join (its `--patches`).
const PATCHES: &str = "/etc/kubernetes/patches";

/// The role of a control plane.
pub(crate) const CONTROL_PLANE: &str = "control-plane";
const PROGRAMS: [&str; 3] = ["kubelet", "kubeadm", "kubectl"];
const UNIT: &str = "/etc/systemd/system/kubelet.service";

/// The role that brings the cluster to a load balancer of somebody else's.
pub(crate) const API_ENDPOINT: &str = "api-endpoint";

/// What a control plane tells the others.
pub(crate) const API_IS_UP: &str = "the API server";

/// kubelet, kubeadm, kubectl and the images that this machine runs.
pub(crate) async fn prepare(host: &Host) -> Result<()> {
    let known = cluster::may_set_up(host).await?;
    let cluster = cluster_vars(host)?;
    helm::removed_in(host, install(host, "Install kubelet, kubeadm and kubectl", &PROGRAMS)?)?.await?;
    let mut step = host
        .step("Configure the kubelet and import the images")
        .ensure(kubelet_change::nothing_half_done())
        .ensure_all(adoption::notes(host)?)
        // That of a kubelet that runs changes with the rest of its configuration, and comes back with it (`kubelet_change`).
        // One that is adopted has another's, from which the drop-ins go that made it a node.
        .ensure(kubelet::unit_file(
            host,
            &known,
            known.had_joined(host.name()) && !adoption::is_under_way(host),
        )?)
        .ensure_all(resolvconf::own(host)?)
        .ensure(file(kubelet::PATCH).content(kubelet::patch(host)?))
        .ensure_all(adoption::no_drop_ins(host, "kubelet"))
        .ensure(images::imported(host, &cluster)?)
        .ensure_all(balancer::known_by_name(host, &known)?);
    step = Patches::of(host, &[patches::KUBELET])?.ensured_in(step);
    if let Some((unit, address)) = nodelocaldns::address(host)? {
        step = step.ensure(unit).ensure(address);
    }
    if let Some(balancer) = balancer::pod(host, &known, &[])? {
        step = balancer.ensured_in(step.ensure_all(adoption::no_other_balancer(host, None)?));
    }
    step.await?;
    balancer::has_a_way(host, &known).await
}

/// What these roles, kubeadm and the kubelet have on a machine. The programs stay where `keep_programs` says so.
pub(crate) fn owned(host: &Host, keep_programs: bool) -> Result<Resources> {
    let bin = bin_dir(host)?;
    let programs = PROGRAMS.into_iter().map(|name| format!("{bin}/{name}")).chain([helm::path(host)?]);
    let owned =
        programs.filter(|_| !keep_programs).fold(Resources::new(), |all, path| all.with(uninstalled(path)));
    Ok(owned
        .with(dir("/var/lib/kubelet"))
        .with(dir("/var/log/pods"))
        .with(dir("/var/log/containers"))
        // What kubectl learns of the API; it is made anew whenever it is missing.
        .with(dir("/root/.kube/cache"))
        .with(dir("/etc/kubernetes"))
        .with(dir(cluster_vars(host)?.kube_cert_dir))
        .with(dir(rotation::FOLDER))
        .with(file(kubelet::STAMP))
        .with(file(kubelet::ARGUMENTS))
        .with(dir(kubelet_change::FORMER))
        .with(file(balancer::STAMP))
        .with(dir(reconfigure::BEFORE))
        .with(file(config::APPLIED))
        .with(file(config::BEGINS))
        .with(file(certificates::RENEWING))
        .with(file(serving::NODES))
        .with(file(UNIT))
        .with(service("kubelet")))
}

/// A step that has programs of Kubernetes in their places.
fn install<'h>(host: &'h Host, step: &str, programs: &[&str]) -> Result<Step<'h>> {
    let (version, bin) = (cluster_vars(host)?.kube_version, bin_dir(host)?);
    programs.iter().try_fold(host.step(step), |step, name| {
        Ok(step.ensure(binary(artifact(host, name, &version)?, format!("{bin}/{name}"))))
    })
}

/// The control plane: those that stand first, then the one that begins, then those that join; one at a time. Where only one stands,
/// it goes last ([`growth`]).
pub(crate) async fn control_plane(host: &Host) -> Result<()> {
    let known = cluster::may_set_up(host).await?;
    balancer::may_go_over(host, &known).await?;
    let (folder, identity) = etcd::pki::client(host, RENEWED_BELOW).await?;
    identity.install(host, &folder).await?;
    for member in host.cluster().group("etcd") {
        host.needs_of_role(&member, etcd::ROLE, etcd::HEALTHY).await?;
    }
    let growth = Growth::of(host, &known).await?;
    let is_alone = growth.as_ref().is_some_and(|growth| growth.is_alone(host));
    let order = known.in_order().map_err(refused)?;
    let place = order.iter().position(|name| *name == host.name());
    match (&growth, place.and_then(|place| place.checked_sub(1))) {
        (Some(growth), _) if !is_alone => growth.turn(host).await?,
        (None, Some(before)) => host.needs_of_role(order[before], CONTROL_PLANE, API_IS_UP).await?,
        _ => {}
    }
    // Before the API server is asked, which may have stopped for want of them.
    certificates::renew(host, &known, RENEWED_BELOW).await?;
    serving::all_have_theirs(host).await?;
    match known.story(host.name()).map_err(refused)? {
        Story::Birth => birth::run(host, &known).await?,
        Story::Reconfigure => reconfigure::run(host, &known, growth.as_ref().filter(|_| is_alone)).await?,
        Story::Join => join::run(host, &known, true).await?,
    }
    kubelet::run(host, &known).await?;
    serving::run(host).await?;
    host.reached(API_IS_UP);
    if let Some(growth) = growth.filter(|_| !is_alone) {
        growth.may_be_asked(host, &known).await?;
    }
    anonymous::run(host, &known).await?;
    labels::run(host).await
}

/// A control plane that stands takes over what has changed in its configuration since its role was there.
pub(crate) async fn reconfigure(host: &Host, known: &Standing) -> Result<()> {
    reconfigure::run(host, known, None).await
}

/// A worker joins. A machine that is a control plane too has joined already.
pub(crate) async fn node(host: &Host) -> Result<()> {
    if host.in_group("kube_control_plane") {
        return Ok(());
    }
    let known = cluster::may_set_up(host).await?;
    match (Growth::of(host, &known).await?, known.leader()) {
        (Some(growth), _) => growth.may_join(host).await?,
        (None, Some(leader)) => host.needs_of_role(leader, CONTROL_PLANE, API_IS_UP).await?,
        (None, None) => {}
    }
    certificates::renew(host, &known, RENEWED_BELOW).await?;
    join::run(host, &known, false).await?;
    kubelet::run(host, &known).await?;
    serving::run(host).await?;
    growth::finds_api(host);
    labels::run(host).await
}

/// The certificate of an API server that kubeadm has made by hand gets the names by which muster's machines ask it, before the first
/// of them does. The API server takes it up by itself.
pub(crate) async fn certify(host: &Host) -> Result<()> {
    let known = cluster::may_set_up(host).await?;
    if known.serves_as(host.name(), "127.0.0.1") {
        host.passed("Look at the API server's certificate");
        return Ok(());
    }
    let told = config::write(host, &known).await?;
    let make =
        concat!(include_str!("place.sh"), include_str!("new_certificate.sh"), r#"new_certificate "$1" "$2""#);
    // That it lacks names was seen at the beginning.
    let certificate = command(
        "certificate of the API server",
        sh(make, [config::CONFIG, told.certificates.as_str()]),
        sh0("false"),
    );
    host.step("Certify the API server").ensure(certificate).await.map(drop)
}

/// What kubeadm would be told of the cluster by this machine: documents of its configuration.
pub(crate) async fn configuration(host: &Host, known: &Standing) -> Result<String> {
    config::documents(host, known).await
}

/// What this machine's kubelet would be told: the configuration of all, and how it differs from that.
pub(crate) fn kubelet_configuration(host: &Host, known: &Standing) -> Result<[String; 2]> {
    Ok([kubelet::shared(host, known)?, kubelet::patch(host)?])
}

/// The fields of kube-proxy's configuration that variables ask for; `None` where there is to be no kube-proxy.
pub(crate) fn kube_proxy_fields(host: &Host) -> Result<Option<serde_json::Map<String, serde_json::Value>>> {
    kube_proxy::fields(host)
}

fn refused(problem: Problem) -> Failure {
    Failure::Problems(vec![problem])
}

/// What kubeadm is told about this machine, for its init and its join configuration.
fn node_registration(host: &Host) -> Result<String> {
    let vars: Vars = host.vars()?;
    let mut taints = Vec::new();
    if host.in_group("kube_control_plane") && !host.in_group("kube_node") {
        taints.push(json!({ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }));
    }
    for taint in &vars.node_taints {
        taints.push(parse_taint(taint)?);
    }
    // What muster checks itself, or brings about in a way that kubeadm does not expect.
    let mut ignore = vec!["SystemVerification".to_owned(), "FileExisting-crictl".into(), "Hostname".into()];
    ignore.extend(vars.kubeadm_ignore_preflight_errors.iter().cloned());
    let extra = json!({
        "kubeadm_api": config::api(&cluster_vars(host)?.kube_version),
        "taints": taints,
        "ignore": ignore,
        "node_ip": node_ip(host)?,
    });
    host.render("node-registration.yaml.j2", include_str!("templates/node-registration.yaml.j2"), &extra)
}

/// `key=value:effect` or `key:effect`, as kubectl taint takes it.
fn parse_taint(text: &str) -> Result<serde_json::Value> {
    let parsed = text.rsplit_once(':').map(|(key, effect)| match key.split_once('=') {
        Some((key, value)) => json!({ "key": key, "value": value, "effect": effect }),
        None => json!({ "key": key, "effect": effect }),
    });
    parsed.ok_or_else(|| {
        Failure::new(
            format!("node_taints: {text:?} is not a taint"),
            "write it as key=value:effect, such as room=104:NoSchedule",
        )
    })
}
