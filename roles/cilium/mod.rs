//! cilium: a pod network of programs in the kernel (eBPF), with network policies. Upstream's own Helm chart is an artifact of the
//! catalogue; `values.rs` has what it is told, and what comes of it is applied as any set of objects. Its pods bring the plugin and its
//! configuration to each machine.

mod values;

use std::path::Path;
use std::sync::Arc;

use muster_artifacts::{Arch, Bundle};
use muster_engine::prelude::*;
use muster_engine::run::Findings;
use muster_inventory::{HostVars, Inventory, VarsError};
use serde::Deserialize;
use serde_json::Value;

use crate::balancer::External;
use crate::catalogue::{artifact, artifact_of, image, text};
use crate::cluster;
use crate::common::cluster_vars;
use crate::diagnosis;
use crate::extension::apis::Apis;
use crate::extension::charts::{self, Chart};
use crate::helm;
use crate::kube_proxy;
use crate::kubectl::needs_a_control_plane;
use crate::objects::ObjectSet;
use values::{Api, Plain, Vars};

pub(crate) const NAME: &str = "cilium";

/// What a control plane tells the others.
const APPLIED: &str = "cilium's objects";

pub(crate) const CONFLIST: &str = "/etc/cni/net.d/05-cilium.conflist";

/// What its pods bring for each boot: that the kernel asks of no packet whether its sender can be true (cilium's tools/sysctlfix).
const KERNEL_PARAMETERS: &str = "/etc/sysctl.d/99-zzz-override_cilium.conf";

/// The names of its networks of CNI: its own, and the one with a plugin for ports of machines (`cilium_enable_portmap`).
pub(crate) const NETWORKS: &str = "cilium portmap";

/// What cilium is told of pods' addresses, and the variables that say so.
const ADDRESSES: [(&str, &str); 3] = [
    ("ipam", "cilium_ipam_mode"),
    ("cluster-pool-ipv4-cidr", "cilium_pool_cidr"),
    ("cluster-pool-ipv4-mask-size", "cilium_pool_mask_size"),
];

const CORRECT: &str = "correct cilium_extra_values, or the variable that it names";

#[derive(Deserialize)]
struct WaitVars {
    kube_network_plugin: String,
    cilium_timeout: u64,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[
    Read::of::<Vars>(cluster::MACHINES),
    Read::of::<Plain>(cluster::MACHINES),
    Read::of::<WaitVars>(cluster::MACHINES),
];

/// Whether a machine's variables choose it. One that cannot be worked out does: what is wrong with it is told elsewhere.
fn is_asked_for(vars: &HostVars) -> bool {
    text(vars, "kube_network_plugin").is_none_or(|plugin| plugin == NAME)
}

/// Whether its proxy for application protocols is a pod of its own on each machine, as the chart has it unless told otherwise.
pub(crate) fn has_envoy(vars: &HostVars) -> bool {
    let values = vars.get("cilium_extra_values").ok().flatten().map(|values| values.to_json());
    is_asked_for(vars) && values.is_none_or(|values| values["envoy"]["enabled"] != false)
}

/// Whether it is to carry services, as kube-proxy does.
pub(crate) fn carries_services(vars: &HostVars) -> bool {
    let values = vars.get("cilium_extra_values").ok().flatten().map(|values| values.to_json());
    match values.filter(|values| !values["kubeProxyReplacement"].is_null()) {
        Some(values) => values::carries_services(&values),
        None => {
            let carries = vars.get("cilium_kube_proxy_replacement").ok().flatten();
            carries.and_then(|carries| carries.as_bool()) == Some(true)
        }
    }
}

/// Whether what its pods see is shown (Hubble).
pub(crate) fn has_hubble(vars: &HostVars) -> bool {
    let hubble = vars.get("cilium_enable_hubble").ok().flatten();
    is_asked_for(vars) && hubble.is_none_or(|hubble| hubble.as_bool() != Some(false))
}

/// What is wrong with what the chart is told, before any machine is contacted.
pub(crate) fn check_chart(
    inventory: &Inventory,
    vars: &muster_inventory::Vars,
    bundle: &Arc<Bundle>,
    kube_version: &str,
) -> Result<Findings, VarsError> {
    let mut findings = Findings::default();
    let Some(host) = inventory.group("kube_control_plane").first().copied() else { return Ok(findings) };
    let of = vars.host(host)?;
    if text(&of, "kube_network_plugin").as_deref() != Some(NAME) {
        return Ok(findings);
    }
    // What of these cannot be read, and what the bundle lacks, is told elsewhere.
    let (Ok(vars), Ok(plain), Ok(cluster)) = (of.deserialize(), of.deserialize(), of.deserialize()) else {
        return Ok(findings);
    };
    let arch = Arch::host().unwrap_or(Arch::Amd64);
    let Some(chart) = artifact_of(bundle, "cilium-chart", kube_version, arch) else { return Ok(findings) };
    let image = |name: &str| Ok(name.to_owned());
    let machines = inventory.group("k8s_cluster").len();
    let values = values::of(&vars, &plain, &cluster, &Api::default(), machines, image);
    let rendered = values.and_then(|values| objects(&chart, &values, bundle, kube_version));
    findings.problems.extend(rendered.err().map(|failure| Problem {
        check: NAME.to_owned(),
        found: failure.to_string(),
        needed: "values that cilium's chart takes".to_owned(),
        remedy: CORRECT.to_owned(),
    }));
    Ok(findings)
}

/// The objects are applied.
pub(crate) async fn applied(host: &Host) -> Result<()> {
    let waits: WaitVars = host.vars()?;
    if waits.kube_network_plugin != NAME {
        return Ok(());
    }
    let known = cluster::known(host).await?;
    let endpoint = cluster::in_the_end(host, &known)?;
    // Pods know a name by the address that the machine had for it when they began.
    let external = External::wanted(host, &known)?.filter(|external| external.endpoint() == endpoint);
    let api =
        Api { endpoint, address: external.and_then(|external| external.address()).map(|at| at.to_string()) };
    // Whichever control plane does it, the objects are the same: what they hold are the variables of one.
    let of = cluster::speaker_for_set_up(host).await?;
    let rendered = host.cluster().once(APPLIED, || render(&of, &api)).await?;
    let set = ObjectSet::of(NAME, (*rendered).clone())?
        .refusing(other_addresses)
        .not_new(known.network_of_others(NAME));
    let set = if are_to_carry_services(&rendered) { set } else { set.after(kube_proxy::is_everywhere()) };
    set.ensure(host).await?;
    host.reached(APPLIED);
    Ok(())
}

/// Why cilium cannot be told what it is to be told: pods have addresses by what it was told before, and the API server would not keep
/// anybody from writing another thing. Further networks may come behind those of its pool.
fn other_addresses(wanted: Option<&Value>, found: &Value) -> Option<String> {
    let is_config = found["kind"] == "ConfigMap" && found["metadata"]["name"] == "cilium-config";
    let wanted = wanted.filter(|_| is_config)?;
    let differs = |(setting, variable): (&str, &'static str)| {
        let [is, wanted] = [found, wanted].map(|config| config["data"][setting].as_str().unwrap_or_default());
        let goes_on = wanted.strip_prefix(is).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        (!is.is_empty() && !goes_on).then(|| (variable, is.to_owned(), wanted.to_owned()))
    };
    let (variable, is, wanted) = ADDRESSES.into_iter().find_map(differs)?;
    Some(format!(
        "pods of the cluster have addresses by {variable}: {is}, which cannot become {wanted:?}: set {variable}: {is}, or say in \
         cilium_extra_values what was there"
    ))
}

/// Whether its agents are told by these objects to do kube-proxy's work.
fn are_to_carry_services(objects: &[Value]) -> bool {
    let is_config =
        |object: &&Value| object["kind"] == "ConfigMap" && object["metadata"]["name"] == "cilium-config";
    let config = objects.iter().find(is_config);
    config.is_some_and(|config| config["data"]["kube-proxy-replacement"] == "true")
}

async fn render(of: &Host, api: &Api) -> Result<Vec<Value>> {
    let cluster = cluster_vars(of)?;
    let chart = artifact(of, "cilium-chart", &cluster.kube_version)?;
    let machines = of.cluster().group("k8s_cluster").len();
    let image = |name: &str| image(of, name, &cluster.kube_version);
    let values = values::of(&of.vars()?, &of.vars()?, &cluster, api, machines, image)?;
    let (bundle, version) = (of.bundle().clone(), cluster.kube_version);
    charts::aside(move || objects(&chart, &values, &bundle, &version)).await?
}

/// What comes of the chart. It is not told the cluster's own APIs, of which it needs none.
fn objects(chart: &Artifact, values: &Value, bundle: &Arc<Bundle>, kube_version: &str) -> Result<Vec<Value>> {
    let unreadable = |error: String| Failure::new(error, "look at the bundle: muster bundle check");
    let path = chart.bundle.program(&chart.entry).map_err(|error| unreadable(error.to_string()))?;
    let helm = helm::here(bundle, kube_version).map_err(|(found, remedy)| Failure::new(found, remedy))?;
    of_chart(&helm, &path, values, kube_version)
}

fn of_chart(helm: &Path, path: &Path, values: &Value, kube_version: &str) -> Result<Vec<Value>> {
    let chart = Chart {
        path: path.to_owned(),
        name: NAME.to_owned(),
        namespace: "kube-system".to_owned(),
        values: values.to_string(),
    };
    let rendered = charts::rendered(helm, &[chart], Apis::of_version(kube_version), &[]);
    let rendered = rendered.map_err(|unrendered| Failure::new(unrendered.why, CORRECT))?;
    Ok(rendered.objects.into_iter().map(|(_, object)| object).collect())
}

/// The machine's pods are connected, as soon as cilium's pod there is ready for them.
pub(crate) async fn connect(host: &Host) -> Result<()> {
    let vars: WaitVars = host.vars()?;
    if vars.kube_network_plugin != NAME {
        return Ok(());
    }
    needs_a_control_plane(host, APPLIED).await?;
    let there = sh(
        r#"[ -e "$1" ] || {
  echo "its pod has not written $1; look at: muster kubectl -n kube-system get pods -l k8s-app=cilium -o wide"
  exit 1
}"#,
        [CONFLIST],
    );
    let limit = Duration::from_secs(vars.cilium_timeout);
    let wait = Wait::new("cilium has connected the pods", there, Duration::from_millis(200), limit);
    diagnosis::wait_on_node(host, wait).await.map(drop)
}

/// What cilium's pods bring to a machine. The plugin stays where `keep_programs` says so.
pub(crate) fn owned(keep_programs: bool) -> Resources {
    // A big file: what is in it is not shown.
    let plugin = file("/opt/cni/bin/cilium-cni").secret("");
    // The file by which a reset knows cilium's network goes last.
    let first = Resources::new().with(file(CONFLIST));
    let first = if keep_programs { first } else { first.with(plugin) };
    first.with(dir("/run/cilium")).with(dir("/var/lib/cilium")).with(file(KERNEL_PARAMETERS))
}

#[cfg(test)]
mod tests;
