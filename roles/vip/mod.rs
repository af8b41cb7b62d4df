//! vip: an address of its own for the API, which the control planes share. One of them holds it at a time, and another one takes it
//! when that one is lost or its API server is not ready (`kube_vip_enabled`, with kubespray's names and meanings).
//!
//! keepalived holds it, as a static pod on each control plane: VRRP, packets of which go from control plane to control plane and to
//! nobody else. All have the same priority, so that an address stays where it is until that one is lost, whatever the order of the
//! hosts. Each former address has a pod of its own as long as somebody may look for the API there.
//!
//! To the cluster it is what a load balancer of somebody else's is ([`crate::balancer::External`]): its machines go over to it late in
//! a run. Before that the control planes hold it; after that they give up former ones.

mod free;
mod holder;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use muster_engine::prelude::*;
use muster_inventory::{HostVars, some_names};
use serde_json::json;

use crate::addresses::{ip, ip_of};
use crate::balancer::{External, etcd_patience, taken_up};
use crate::catalogue::image;
use crate::cluster::{self, Standing};
use crate::common::cluster_vars;
use crate::kubeadm::{API_ENDPOINT, API_IS_UP, CONTROL_PLANE};
use crate::pods::static_pod;
pub(crate) use free::may_be_taken;
pub(crate) use holder::are_held_once;

/// The variables, explained in `common/defaults.yml`.
pub(crate) const ENABLED: &str = "kube_vip_enabled";
pub(crate) const OF_CONTROL_PLANES: &str = "kube_vip_controlplane_enabled";
pub(crate) const ADDRESS: &str = "kube_vip_address";
pub(crate) const INTERFACE: &str = "kube_vip_interface";

/// The image's name in the catalogue.
pub(crate) const IMAGE: &str = "keepalived";

/// What is on a machine of an address is in a folder with its name in here.
const FOLDER: &str = "/etc/kubernetes/api-vip";

/// What a control plane tells the others when it knows with whom it shares the address.
const SHARES: &str = "the address of the API";

/// What a machine tells the control planes when nothing on it looks for the API at a former address.
const LEADS_ELSEWHERE: &str = "the address at which it is to find the API";

/// Whether a machine's variables ask for one. A variable that cannot be worked out asks for nothing: what is wrong with it is told
/// elsewhere.
pub(crate) fn is_asked_for(vars: &HostVars) -> bool {
    let is = |name| vars.get(name).ok().flatten().and_then(|value| value.as_bool()).unwrap_or(false);
    is(ENABLED) && is(OF_CONTROL_PLANES)
}

/// The address that a machine's variables ask for. That it is none is told elsewhere.
pub(crate) fn address(vars: &HostVars) -> Option<IpAddr> {
    let written = vars.get(ADDRESS).ok()??;
    let address = written.as_str()?.trim().parse::<Ipv4Addr>().ok()?;
    is_asked_for(vars).then_some(IpAddr::V4(address))
}

/// The address that the control planes of the cluster are to share.
fn wanted(host: &Host, known: &Standing) -> Result<Option<IpAddr>> {
    let external = External::wanted(host, known)?.filter(External::is_shared);
    Ok(external.and_then(|external| external.address()))
}

/// The machine's interface that the address goes to: the one that is named, else that of the machine's own address.
fn interface(host: &Host) -> Result<String> {
    let named = host.all_vars().get(INTERFACE)?;
    if let Some(named) =
        named.and_then(|named| named.as_str().map(str::to_owned)).filter(|name| !name.is_empty())
    {
        return Ok(named);
    }
    link(host)
}

/// The interface at which the other control planes are.
fn link(host: &Host) -> Result<String> {
    let own = ip(host)?;
    host.facts().interface_of(own).map(str::to_owned).ok_or_else(|| {
        Failure::new(
            format!("{own} is not an address of {}", host.name()),
            "correct ip in the inventory; an address that only others see is access_ip",
        )
    })
}

/// The number by which routers tell addresses that are shared from each other. Of neighbours it differs.
fn router_id(address: IpAddr) -> u16 {
    let IpAddr::V4(address) = address else { return 1 };
    let [_, _, third, fourth] = address.octets();
    1 + (256 * u16::from(third) + u16::from(fourth)) % 255
}

/// The control planes share their address, if they are to have one. Asked by each of them.
pub(crate) async fn hold(host: &Host, known: &Standing) -> Result<()> {
    let Some(address) = wanted(host, known)? else { return Ok(()) };
    // Each has seen that nobody else has it, before the first of them takes it.
    for plane in &known.planes {
        host.needs_of_role(plane, CONTROL_PLANE, API_IS_UP).await.ok();
    }
    hold_in_turn(host, known, address, API_ENDPOINT).await
}

/// The control plane that was `alone` and the ones that have joined it share the address that it held alone, before it restarts its API
/// server: the address goes to one of them then. Asked by each of them, in the role of control planes.
pub(crate) async fn hold_in_growth(
    host: &Host,
    known: &Standing,
    alone: &str,
    joining: &[String],
) -> Result<()> {
    let held = |address: &IpAddr| known.shares(alone).contains(address);
    let Some(address) = wanted(host, known)?.filter(held) else { return Ok(()) };
    hold_in_turn(host, known, address, CONTROL_PLANE).await?;
    if host.name() == alone {
        for plane in joining {
            // Those that do not come to it are not waited for.
            host.needs_of_role(plane, CONTROL_PLANE, SHARES).await.ok();
        }
    }
    Ok(())
}

/// This control plane shares the address when those have begun to which it has to listen: in this `role` they do. Those that share it
/// already go first, so that they tell the others who holds it, which would take it, too; and one after the other, because keepalived
/// starts anew where its pod is another one.
async fn hold_in_turn(host: &Host, known: &Standing, address: IpAddr, role: &str) -> Result<()> {
    let is_there = |plane: &str| known.shares(plane).contains(&address);
    let before = known.planes.iter().filter(|plane| is_there(plane));
    for plane in before.take_while(|plane| *plane != host.name()) {
        match host.needs_of_role(plane, role, SHARES).await {
            Err(failure) if known.answered(plane) => return Err(failure),
            _ => {}
        }
    }
    let folder = format!("{FOLDER}/{address}");
    let mut peers: Vec<IpAddr> = known
        .planes
        .iter()
        .filter(|plane| *plane != host.name() && !known.is_given_up(plane))
        // The address of one that is dead may not be known.
        .filter_map(|plane| ip_of(host, plane).ok())
        .collect();
    // Hosts that change places in their group change nothing.
    peers.sort_unstable();
    if peers.is_empty() {
        // A control plane that is alone tells only itself: without anybody to tell, keepalived tells the whole network.
        peers.push(address);
    }
    let cluster = cluster_vars(host)?;
    let extra = json!({
        "address": address,
        "pod": pod_of(address),
        "folder": folder,
        "interface": interface(host)?,
        "link": link(host)?,
        "own": ip(host)?,
        "peers": peers,
        "router_id": router_id(address),
        "port": cluster.kube_apiserver_port,
        "etcd_patience": etcd_patience(host)?,
        "image": image(host, IMAGE, &cluster.kube_version)?,
    });
    let config = host.render("keepalived.conf.j2", include_str!("templates/keepalived.conf.j2"), &extra)?;
    let pod = host.render("pod.yaml.j2", include_str!("templates/pod.yaml.j2"), &extra)?;
    let shared = host
        .step("Share the address of the API")
        .ensure(dir(FOLDER))
        .ensure(dir(folder.as_str()))
        .ensure(file(format!("{folder}/is-ready.sh")).content(include_str!("is-ready.sh")))
        .ensure(file(format!("{folder}/keepalived.conf")).content(config.as_str()))
        .ensure(dir("/etc/kubernetes/manifests"))
        .ensure(file(manifest_of(address)).content(static_pod(&pod, host.name())))
        .ensure(taken_up(&pod_of(address), "SIGHUP", &format!("{folder}/taken-up"), &config))
        .await?;
    let is_new = !is_there(host.name());
    if (is_new || shared.changed || cluster::goes_over(host, known)?.is_some()) && !host.check_mode() {
        let alone = holder::is_the_only_one(host, known, address).await;
        if alone.is_err() && is_new {
            // Why it does is what the user has to know.
            host.step("Give the address back").remove_all(owned([address])).await.ok();
        }
        alone?;
    }
    host.reached(SHARES);
    Ok(())
}

/// Every control plane of the run shares the address by now, and has seen that no two of them hold it.
pub(crate) async fn is_shared(host: &Host, known: &Standing) -> Result<()> {
    for plane in &known.planes {
        // With `serial`, one whose turn comes later shares it with this one then.
        if let Err(failure @ (Failure::Dependency { .. } | Failure::Stopped(_))) =
            host.needs_of_role(plane, API_ENDPOINT, SHARES).await
        {
            return Err(failure);
        }
    }
    Ok(())
}

/// What a control plane has of addresses.
fn owned(addresses: impl IntoIterator<Item = IpAddr>) -> Resources {
    addresses.into_iter().fold(Resources::new(), |all, address| {
        all.with(dir(format!("{FOLDER}/{address}"))).with(file(manifest_of(address)))
    })
}

/// Nobody answers at the address when the cluster is to go over to it; what was said there last.
pub(crate) fn is_held_by_nobody(url: &str, tail: String) -> Failure {
    Failure::Other {
        message: format!("the API does not answer each time at {url}, the address that the control planes share"),
        remedy: "see what the pods that hold it say: muster kubectl -n kube-system logs -l k8s-app=api-vip; firewalls between control \
                 planes have to let IP protocol 112 (VRRP) through; until then the cluster's machines find the API where they did; then \
                 run again"
            .into(),
        tail,
    }
}

/// The name of the pod that holds an address.
fn pod_of(address: IpAddr) -> String {
    format!("api-vip-{}", address.to_string().replace('.', "-"))
}

fn manifest_of(address: IpAddr) -> String {
    format!("/etc/kubernetes/manifests/{}.yaml", pod_of(address))
}

/// The machine is done with looking for the API elsewhere than at a former address.
pub(crate) fn leads_elsewhere(host: &Host) {
    host.reached(LEADS_ELSEWHERE);
}

/// Whether a machine looks for the API at one of these addresses.
async fn leads_there(host: &Host, name: &str, addresses: &[IpAddr]) -> Result<bool> {
    let look = sh(include_str!("leads-there.sh"), addresses.iter().map(ToString::to_string));
    Ok(host.cluster().host(name)?.query(look).await?.status == 0)
}

/// What those have to know who use the cluster from elsewhere: no run reaches their kubeconfigs.
fn leads_nowhere(former: &[IpAddr]) -> String {
    format!(
        "no control plane holds {} any more: kubeconfigs that lead there, merged on this computer or handed to users, lead nowhere; for new \
         ones: setup-cluster -e kubeconfig_localhost=true, then muster kubeconfig --merge",
        some_names(&former.iter().map(ToString::to_string).collect::<Vec<_>>())
    )
}

/// A control plane gives up former addresses, when all machines of the cluster look for the API elsewhere.
pub(crate) async fn give_up(host: &Host) -> Result<()> {
    let known = cluster::may_set_up(host).await?;
    let kept = wanted(host, &known)?;
    let former: Vec<IpAddr> =
        known.shares(host.name()).iter().copied().filter(|held| Some(*held) != kept).collect();
    if former.is_empty() {
        return Ok(());
    }
    let mut led_there = Vec::new();
    for name in host.cluster().group("k8s_cluster") {
        let is_through = host.cluster().has_role(&name, API_ENDPOINT)
            && host.needs(&name, LEADS_ELSEWHERE).await.is_ok()
            // Where a run does not bring the cluster elsewhere, its machines are left where they are.
            && !leads_there(host, &name, &former).await.unwrap_or(true);
        if !is_through {
            led_there.push(name);
        }
    }
    if !led_there.is_empty() {
        host.warn(format!(
            "{} keeps {} as an address of the API, because {} may look for it there; it goes when setup-cluster, without --limit, has reached all machines",
            host.name(),
            some_names(&former.iter().map(ToString::to_string).collect::<Vec<_>>()),
            some_names(&led_there)
        ));
        return Ok(());
    }
    let step = host.step("Give up the former address of the API");
    if step.remove_all(owned(former.iter().copied())).await?.changed && !host.check_mode() {
        let tell = || async {
            host.warn(leads_nowhere(&former));
            Ok(())
        };
        host.cluster().once("a former address of the API leads nowhere", tell).await?;
    }
    Ok(())
}
