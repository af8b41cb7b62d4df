//! calico: a pod network with network policies. Upstream's own manifest is an artifact of the catalogue; `patch.rs` makes of it
//! what the variables ask for, and `resources.rs` has the objects of calico's own kinds. Its pods bring the plugin and its
//! configuration to each machine.

#[cfg(test)]
mod golden_tests;
mod network_manager;
mod patch;
mod resources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read as _;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use crate::catalogue::{artifact, artifact_if_there, image};
use crate::cluster;
use crate::common::{ClusterVars, bin_dir, cluster_vars};
use crate::diagnosis;
use crate::kubectl::needs_a_control_plane;
use crate::objects::ObjectSet;
pub(crate) use network_manager::{interfaces_left_alone, interfaces_of_nobody};

/// What a control plane tells the others.
const APPLIED: &str = "calico's objects";

/// Calico's program for the command line, and a script beside it that tells it where the cluster's API is.
const PROGRAM: &str = "calicoctl";
const WRAPPER: &str = "calicoctl.sh";
/// By which the script is known as muster's.
const MARK: &str = "# Written by muster: calicoctl, with the API of this cluster as its store.";

pub(crate) const CONFLIST: &str = "/etc/cni/net.d/10-calico.conflist";

/// The images of its pods, by their names in the catalogue.
pub(crate) const IMAGES: [&str; 4] = ["calico-node", "calico-cni", "calico-kube-controllers", "calico-typha"];

/// The group of the policies of the whole cluster that sig-network defines: upstream's manifest has them, and others bring them, too.
const POLICIES: &str = "policy.networking.k8s.io";

/// Explained in `defaults.yml`.
#[derive(Debug, Clone, Deserialize)]
struct Vars {
    kube_network_plugin: String,
    ipv6_stack: bool,
    kube_proxy_mode: String,
    kube_apiserver_node_port_range: String,
    calico_network_backend: String,
    calico_vxlan_mode: String,
    calico_ipip_mode: String,
    calico_vxlan_vni: u32,
    calico_vxlan_port: u16,
    calico_pool_name: String,
    calico_pool_cidr: Option<String>,
    calico_pool_blocksize: u8,
    calico_vxlan_mode_ipv6: String,
    calico_pool_cidr_ipv6: Option<String>,
    calico_pool_blocksize_ipv6: u8,
    nat_outgoing: bool,
    nat_outgoing_ipv6: bool,
    calico_mtu: Option<u32>,
    calico_veth_mtu: Option<u32>,
    calico_ip_auto_method: String,
    calico_ip6_auto_method: String,
    calico_cni_name: String,
    calico_cni_log_file_path: Value,
    calico_allow_ip_forwarding: bool,
    calico_ipam_host_local: bool,
    calico_ipam_strictaffinity: bool,
    calico_ipam_autoallocateblocks: bool,
    calico_ipam_maxblocksperhost: u32,
    global_as_num: u32,
    calico_bgp_listen_port: u16,
    calico_advertise_cluster_ips: bool,
    calico_advertise_service_external_ips: Vec<String>,
    calico_advertise_service_loadbalancer_ips: Vec<String>,
    typha_enabled: bool,
    typha_replicas: u32,
    typha_max_connections_lower_limit: u32,
    typha_prometheusmetricsenabled: bool,
    typha_prometheusmetricsport: u16,
    calico_endpoint_to_host_action: String,
    calico_felix_chaininsertmode: String,
    calico_felix_floating_ips: String,
    calico_felix_reporting_interval: String,
    calico_felix_prometheusmetricsenabled: bool,
    calico_felix_prometheusmetricsport: u16,
    calico_felix_prometheusgometricsenabled: bool,
    calico_felix_prometheusprocessmetricsenabled: bool,
    calico_iptables_backend: String,
    calico_iptables_lock_timeout_secs: u32,
    calico_feature_detect_override: String,
    calico_healthhost: String,
    calico_usage_reporting: bool,
    calico_loglevel: String,
    calico_nftable_mode: String,
    calico_felix_mtu_iface_pattern: Option<String>,
    calico_node_startup_loglevel: String,
    calico_node_ignorelooserpf: bool,
    calico_use_default_route_src_ipaddr: bool,
    calico_node_extra_envs: BTreeMap<String, Value>,
    calico_node_cpu_requests: String,
    calico_node_memory_requests: String,
    calico_node_cpu_limit: String,
    calico_node_memory_limit: String,
    calico_node_livenessprobe_timeout: u32,
    calico_node_readinessprobe_timeout: u32,
    calico_timeout: u64,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::MACHINES)];

/// The objects are applied: the definitions of calico's kinds first, because without them there is no object of such a kind.
pub(crate) async fn objects(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    if vars.kube_network_plugin != "calico" {
        return Ok(());
    }
    // Whichever control plane does it, the objects are the same: what they hold are the variables of one.
    let of = cluster::speaker_for_set_up(host).await?;
    let anothers = cluster::known(host).await?.network_of_others("calico");
    program(host).await?;
    let cluster = cluster_vars(&of)?;
    for set in sets(&of, &cluster)? {
        set.not_new(anothers.clone()).ensure(host).await?;
    }
    host.reached(APPLIED);
    Ok(())
}

/// Calico's own program is on the control plane, where the bundle has it: with it is seen why pods are not connected.
async fn program(host: &Host) -> Result<()> {
    let Some(program) = artifact_if_there(host, PROGRAM, &cluster_vars(host)?.kube_version)? else {
        return Ok(());
    };
    let bin = bin_dir(host)?;
    let wrapper = file(format!("{bin}/{WRAPPER}")).content(wrapper(&bin)).mode(0o755);
    let step = host.step("Install calicoctl").ensure(binary(program, format!("{bin}/{PROGRAM}")));
    step.ensure(wrapper).await.map(drop)
}

/// The program with the cluster's API as its store, as kubespray has it.
fn wrapper(bin: &str) -> String {
    format!(
        "#!/bin/sh\n{MARK}\nexport DATASTORE_TYPE=kubernetes KUBECONFIG=/etc/kubernetes/admin.conf\n\
         exec {bin}/{PROGRAM} --allow-version-mismatch \"$@\"\n"
    )
}

/// The wrapper is gone, if it is muster's.
pub(crate) fn no_wrapper(host: &Host) -> Result<Command> {
    let path = format!("{}/{WRAPPER}", bin_dir(host)?);
    let look = sh(r#"! grep -qsxF "$2" "$1""#, [path.as_str(), MARK]);
    Ok(removal(format!("file {path}"), sh(r#"rm -f "$1""#, [&path]), look))
}

/// Upstream's definitions of kinds, and the other objects as the variables of a machine want them.
fn sets(of: &Host, cluster: &ClusterVars) -> Result<[ObjectSet; 2]> {
    let vars: Vars = of.vars()?;
    let Artifact { bundle, entry } = artifact(of, "calico-manifest", &cluster.kube_version)?;
    let mut text = String::new();
    let unreadable = |error: String| {
        Failure::new(
            format!("{}: {error}", bundle.path(&entry).display()),
            "look at the bundle: muster bundle check",
        )
    };
    let mut content = bundle.content(&entry).map_err(|error| unreadable(error.to_string()))?;
    content.read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    let mut images = BTreeMap::new();
    for name in IMAGES {
        images.insert(name, image(of, name, &cluster.kube_version)?);
    }
    let manifest = patch::patched(&text, &vars, &images).map_err(|message| {
        Failure::new(
            format!("the manifest of calico {}: {message}", entry.version),
            "take another calico_version, or remove it",
        )
    })?;
    let objects: Vec<Value> = manifest.objects.into_iter().chain(resources::of(&vars, cluster)).collect();
    // What of them cannot change is told before definitions do. Kinds of calico's are not known yet where it is new.
    let settled =
        objects.iter().filter(|object| object["kind"] == "ConfigMap" || object["kind"] == "DaemonSet");
    let settled = settled.cloned().collect();
    let definitions = ObjectSet::of("calico-definitions", manifest.definitions)?;
    Ok([
        definitions.of_definitions(POLICIES).minding(settled).refusing(resources::cannot_change),
        ObjectSet::of("calico", objects)?.refusing(resources::cannot_change),
    ])
}

/// The machine's pods are connected, as soon as calico's pod there has brought the plugin, and has said which node it is.
pub(crate) async fn connect(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    if vars.kube_network_plugin != "calico" {
        return Ok(());
    }
    needs_a_control_plane(host, APPLIED).await?;
    let there = sh(
        r#"for file; do
  [ -e "$file" ] || {
    echo "its pod has not written $file; look at: muster kubectl -n kube-system get pods -l k8s-app=calico-node -o wide"
    exit 1
  }
done"#,
        [CONFLIST, "/var/lib/calico/nodename"],
    );
    let limit = Duration::from_secs(vars.calico_timeout);
    let wait = Wait::new("calico has connected the pods", there, Duration::from_millis(200), limit);
    diagnosis::wait_on_node(host, wait).await.map(drop)
}

/// What calico's pods bring to a machine, and its program. Programs stay where `keep_programs` says so.
pub(crate) fn owned(host: &Host, keep_programs: bool) -> Result<Resources> {
    // Big files, and one with a key: what is in them is not shown.
    let unseen = |path: &str| file(path).secret("");
    let plugins = ["/opt/cni/bin/calico", "/opt/cni/bin/calico-ipam"].into_iter().filter(|_| !keep_programs);
    // The file by which a reset knows calico's network goes last.
    let plugins = plugins.fold(Resources::new().with(file(CONFLIST)), |all, path| all.with(unseen(path)));
    let folders = ["/var/lib/calico", "/run/calico", "/run/nodeagent", "/var/log/calico"];
    let all = folders.into_iter().fold(plugins, |all, path| all.with(dir(path)));
    let all = all.with(unseen("/etc/cni/net.d/calico-kubeconfig"));
    let program = uninstalled(format!("{}/{PROGRAM}", bin_dir(host)?));
    Ok(if keep_programs { all } else { all.with(program) })
}
