//! reset: a machine leaves nothing of the cluster, and is as it was before muster changed it.
//!
//! What cannot be removed is found before anything is touched. Then first what runs goes: the kubelet and etcd, then pods with what they left in the kernel (processes, mounts, interfaces, rules of the
//! packet filter). Then what is on the disk, by the definitions of the roles that brought it there. Then a look whether anything is
//! left. Each part looks first: what was cut off is finished by the same command, and a second one changes nothing.

mod foreign;
mod refusals;

use muster_engine::prelude::*;
use serde::Deserialize;

use crate::certificates::renewal_timer;
use crate::common::cluster_vars;
use crate::containerd::earlier::{self, Earlier};
use crate::{
    adoption, balancer, bootstrap_os, calico, cilium, cluster, containerd, docker, etcd, flannel, kubeadm,
    nodelocaldns, resolvconf, timers,
};

pub(crate) use refusals::{check, has_no_other_cluster, is_the_clusters_alone};

/// Explained in the `defaults.yml` of other roles.
#[derive(Deserialize)]
struct Vars {
    etcd_data_dir: String,
    etcd_cert_dir: String,
    containerd_state_dir: String,
    containerd_storage_dir: String,
    kube_network_plugin: String,
    calico_cni_name: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>(), Read::own::<foreign::Vars>()];

/// The role of a machine that is reset, and what it tells the control planes when it has nothing of etcd any more.
const ROLE: &str = "reset";
const HAS_NO_DATA: &str = "no data of etcd";

/// What stays, and what goes as well.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reset {
    /// Images, programs and packages stay, for a cluster that is to begin soon.
    pub keep_images: bool,
    /// Machines of other clusters are reset too, with what other tools left.
    pub foreign: bool,
}

/// What networks of the cluster have in a folder that all networks of CNI share; the loopback of every pod is one as well.
/// $1: all of it goes (yes, or nothing); $2: the names of calico's or cilium's networks, where that was the cluster's.
const ADDRESSES: &str = concat!(
    include_str!("addresses.sh"),
    r#"addresses "$1" "$2" | while read -r path; do rm -rf "$path"; done"#
);
const NO_ADDRESSES: &str = concat!(include_str!("addresses.sh"), r#"[ -z "$(addresses "$1" "$2")" ]"#);

/// The machine is reset.
pub(crate) async fn run(host: &Host, with: Reset) -> Result<()> {
    let vars: Vars = host.vars()?;
    let known = cluster::known(host).await?;
    // What runs on a machine that is in no cluster, and that muster has not set up, is somebody else's; and so is an etcd that it
    // has not configured, nor was about to take over.
    let look =
        "[ ! -d /var/lib/muster/stamps ] || echo set-up; [ ! -e \"$1\" ] && [ ! -e \"$2\" ] || echo etcd
[ ! -e \"$3\" ] || [ -e \"$4\" ] || echo calico
[ ! -e \"$5\" ] || echo \"docker $(cat \"$5\")\"
[ ! -e \"$6\" ] || [ ! -e \"$7\" ] || echo etcd
[ ! -e \"$8\" ] || echo cilium";
    let [etcd_file, etcd_other] = etcd::CONFIGURATION;
    let [begun, static_etcd] = adoption::WITH_STATIC_ETCD;
    let looked = [
        etcd_file,
        etcd_other,
        calico::CONFLIST,
        flannel::CONFLIST,
        docker::MARK,
        begun,
        static_etcd,
        cilium::CONFLIST,
    ];
    let found = host.query(sh(look, looked)).await?.output;
    let of_docker = found.lines().find_map(|line| line.strip_prefix("docker "));
    let found: Vec<&str> = found.split_whitespace().collect();
    if !with.foreign && !known.belongs_to_any(host.name()) && !found.contains(&"set-up") {
        host.reached(HAS_NO_DATA);
        host.passed("Look for what is of a cluster");
        return Ok(());
    }
    let has_etcd = with.foreign || found.contains(&"etcd");
    let logs_in = host.in_group("kube_control_plane") && !has_etcd;
    // What the inventory says may have been changed to begin anew with another network.
    let has_calico = vars.kube_network_plugin == "calico" || found.contains(&"calico");
    let calico = if has_calico { vars.calico_cni_name.as_str() } else { "" };
    let has_cilium = with.foreign || vars.kube_network_plugin == cilium::NAME || found.contains(&"cilium");
    let networks = if has_cilium { cilium::NETWORKS } else { calico };
    let engine = engine(host, with).await?;
    let arguments = arguments(host, &vars, with, has_etcd, (calico, has_cilium), engine)?;
    let look = sh(
        concat!(
            include_str!("../packet_filter.sh"),
            include_str!("traces.sh"),
            "left=$(traces)\n[ -z \"$left\" ]"
        ),
        arguments.clone(),
    );
    let clear = sh(
        concat!(include_str!("../packet_filter.sh"), include_str!("traces.sh"), include_str!("clear.sh")),
        arguments.clone(),
    );
    if with.foreign {
        foreign::stop(host).await?;
    }
    // While the containerd that it has its containers in is there.
    if let Some(folder) = of_docker {
        let gone = if with.foreign { docker::is_gone_with_containers(host)? } else { docker::is_gone(host)? };
        host.step("Remove Docker").limit(Duration::from_secs(120)).ensure(gone).await?;
        host.warn(format!(
            "images, containers and volumes of Docker stay on {0} in {folder}; to remove them, on {0}: {removal}",
            host.name(),
            removal = docker::removal_of_data(folder)
        ));
    }
    let etcd_service = has_etcd.then(|| service("etcd"));
    host.step("Stop the kubelet and etcd")
        // Before the DNS that it would ask goes.
        .ensure(resolvconf::as_before())
        .ensure(timers::none(renewal_timer::NAME))
        .ensure(timers::none(kubeadm::serving::TIMER))
        .ensure(timers::none(etcd::SNAPSHOTS))
        .remove_all(etcd_service)
        .remove(service("kubelet"))
        .await?;
    host.step("Stop the pods")
        .detached()
        .limit(Duration::from_secs(300))
        .ensure(removal("processes, mounts, interfaces and packet filter rules of pods", clear, look))
        .await?;
    if has_etcd {
        host.step("Remove etcd's data").ensure(etcd::no_data(&vars.etcd_data_dir)).await?;
    }
    if with.foreign {
        foreign::clear(host).await?;
    }
    host.reached(HAS_NO_DATA);
    if known.planes.iter().any(|plane| plane == host.name()) {
        // By what they have is known whose the data of other machines are, also when this is cut off.
        for member in known.members.iter().filter(|member| !known.planes.contains(member)) {
            host.needs_of_role(member, ROLE, HAS_NO_DATA).await?;
        }
    }
    let keep = with.keep_images;
    let foreign = if with.foreign { "yes" } else { "" };
    if engine.has_images && engine.goes() && !keep {
        host.step("Remove the images of Kubernetes")
            .limit(Duration::from_secs(300))
            .ensure(earlier::no_images_of_pods())
            .await?;
    }
    let containerd = match engine {
        _ if engine.goes() => containerd::owned(host, keep)?,
        Earlier { is_anothers: true, has_our_programs: false, .. } if !keep => {
            containerd::programs_beside_anothers(host)?
        }
        _ => Resources::new(),
    };
    if engine.is_anothers && !keep {
        host.warn(format!(
            "images {}of the cluster may stay in {storage} of {}, because a container engine that muster has not set up is there: see \
             ctr -n k8s.io images ls",
            if engine.has_our_programs { "and programs of the engine " } else { "" },
            host.name(),
            storage = vars.containerd_storage_dir
        ));
    }
    host.step("Remove what was installed")
        .remove_all(flannel::owned(keep))
        .remove_all(nodelocaldns::owned())
        .remove_all(if has_calico { calico::owned(host, keep)? } else { Resources::new() })
        .ensure_all(if has_calico { Some(calico::no_wrapper(host)?) } else { None })
        .ensure_all(has_calico.then(calico::interfaces_of_nobody))
        .remove_all(if has_cilium { cilium::owned(keep) } else { Resources::new() })
        .remove_all(kubeadm::owned(host, keep)?)
        .ensure(adoption::forgotten())
        .remove_all(containerd)
        .ensure_all(containerd::no_mirrors())
        .ensure_all(has_etcd.then(etcd::no_drop_in))
        .remove_all(match has_etcd {
            true => etcd::owned(host, keep)?,
            // Those of ours, which a reset that kept images has left.
            false if !keep => etcd::programs(host)?,
            false => Resources::new(),
        })
        .remove_all(if logs_in { etcd::login(&vars.etcd_cert_dir) } else { Resources::new() })
        .ensure(removal(
            "addresses of pods in /var/lib/cni",
            sh(ADDRESSES, [foreign, networks]),
            sh(NO_ADDRESSES, [foreign, networks]),
        ))
        .await?;
    let storage = vars.containerd_storage_dir.as_str();
    if !keep && engine.goes() && !engine.has_images {
        host.step("Remove the images").ensure(containerd::no_images(storage)).await?;
    }
    host.step("Remove empty folders")
        .ensure(no_empty_folders([&vars.etcd_data_dir, &vars.etcd_cert_dir, storage], engine))
        .await?;
    let forwarding = host.query(sh0(bootstrap_os::FORWARDING)).await?.output;
    let forwarding: Vec<&str> = forwarding.split_whitespace().collect();
    if !forwarding.is_empty() {
        host.warn(format!(
            "{} still forwards packets (net.ipv4.ip_forward), which it did not before there was a cluster: {} may need it",
            host.name(),
            forwarding.join(", ")
        ));
    }
    host.step("Kernel, tools, swap, name and container engine as before")
        .limit(Duration::from_secs(600))
        .remove_all(bootstrap_os::owned(host, keep, !forwarding.is_empty())?)
        .ensure_all(bootstrap_os::as_before())
        .ensure(balancer::no_names())
        .ensure(if keep { earlier::is_kept() } else { earlier::is_back(host)? })
        .await?;
    if has_etcd {
        tell_of_snapshots(host).await?;
    }
    if host.check_mode() {
        return Ok(());
    }
    earlier::tell(host).await?;
    let answer = host
        .query(sh(
            concat!(include_str!("../packet_filter.sh"), include_str!("traces.sh"), include_str!("left.sh")),
            arguments,
        ))
        .await?;
    if let Some(failure) = left_over(host.name(), &answer) {
        return Err(failure);
    }
    // From now on what is there is somebody else's, unless programs and images of this cluster stay.
    if !keep {
        host.run("Forget the machine", sh0("rm -rf /var/lib/muster/stamps"), Duration::from_secs(60)).await?;
    }
    Ok(())
}

/// Snapshots of etcd may be all that is left of the cluster's data. So they stay, and that is said: its secrets are in them.
async fn tell_of_snapshots(host: &Host) -> Result<()> {
    let look = r#"for file in "$1"/*; do [ ! -e "$file" ] || { echo "$file"; break; }; done"#;
    if !host.query(sh(look, [etcd::SNAPSHOTS_KEPT])).await?.output.trim().is_empty() {
        host.warn(format!(
            "snapshots of etcd stay in {kept}: those of before an upgrade, and those of a timer; they hold the secrets of the cluster. \
             To remove them, on the machine itself: rm -r {kept}",
            kept = etcd::SNAPSHOTS_KEPT
        ));
    }
    Ok(())
}

/// What `left.sh` says that is still there, as a failure; `None` where nothing is.
fn left_over(host: &str, answer: &Answer) -> Option<Failure> {
    let left: Vec<&str> = answer.output.lines().collect();
    let is_clean = answer.status == 0 && left.is_empty();
    (!is_clean).then(|| {
        Failure::new(
            format!("something of the cluster is left on {host}: {}", left.join("; ")),
            "run the same command again; what then is still there goes with a restart of the machine",
        )
    })
}

/// The container engine on the machine. With `--foreign` goes what other tools had of it, too.
async fn engine(host: &Host, with: Reset) -> Result<Earlier> {
    let engine = Earlier::of(host).await?;
    Ok(match with.foreign {
        true => Earlier { has_ours: true, has_images: false, is_anothers: false, ..engine },
        false => engine,
    })
}

/// What the programs of this role are told.
fn arguments(
    host: &Host,
    vars: &Vars,
    with: Reset,
    has_etcd: bool,
    (calico, has_cilium): (&str, bool),
    engine: Earlier,
) -> Result<[String; 8]> {
    let cluster = cluster_vars(host)?;
    let state = &vars.containerd_state_dir;
    let mounted = [
        "/var/lib/kubelet".to_owned(),
        format!("{state}/io.containerd.runtime.v2.task/k8s.io"),
        format!("{state}/io.containerd.grpc.v1.cri"),
    ];
    let mut gone = vec![
        "/etc/kubernetes".to_owned(),
        cluster.kube_cert_dir,
        "/var/lib/kubelet".into(),
        "/var/lib/cni/networks/cbr0".into(),
        "/run/flannel".into(),
        "/etc/cni/net.d/10-flannel.conflist".into(),
        "/etc/systemd/system/nodelocaldns.service".into(),
    ];
    let mut units = vec!["kubelet"];
    if has_etcd {
        gone.extend([
            "/etc/etcd.env".into(),
            format!("{}/member", vars.etcd_data_dir),
            vars.etcd_cert_dir.clone(),
        ]);
        units.push("etcd");
    }
    if host.in_group("kube_control_plane") {
        gone.push(format!("{}/client-key.pem", vars.etcd_cert_dir));
    }
    let ours = (engine.has_ours && !engine.has_unit).then_some("containerd");
    gone.extend(units.iter().copied().chain(ours).map(|unit| format!("/etc/systemd/system/{unit}.service")));
    if !with.keep_images && engine.has_ours && !engine.has_images && !engine.ran {
        gone.push(format!("{}/io.containerd.content.v1.content", vars.containerd_storage_dir));
    }
    if !calico.is_empty() {
        gone.extend([calico::CONFLIST.to_owned(), "/var/lib/calico".to_owned()]);
    }
    if has_cilium {
        gone.extend([cilium::CONFLIST.to_owned(), "/run/cilium".to_owned(), "/var/lib/cilium".to_owned()]);
    }
    let foreign = if with.foreign { "yes" } else { "" }.to_owned();
    Ok([
        foreign,
        cluster.kube_pods_subnet,
        mounted.join(" "),
        gone.join(" "),
        units.join(" "),
        calico.to_owned(),
        if has_cilium { "yes" } else { "" }.to_owned(),
        if cluster.ipv6_stack { cluster.kube_pods_subnet_ipv6 } else { String::new() },
    ])
}

/// Folders that programs of several makers share go when nothing is in them any more; not those that are disks, or links.
fn no_empty_folders(of_variables: [&str; 3], engine: Earlier) -> Command {
    // An engine of others that runs watches them: without them it would end.
    let watched: &[&str] = if engine.goes() {
        &["/etc/containerd/certs.d", "/etc/containerd", "/etc/cni/net.d", "/etc/cni"]
    } else {
        &[]
    };
    let folders = [
        "/opt/cni/bin",
        "/opt/cni",
        "/opt/containerd/bin",
        "/opt/containerd/lib",
        "/opt/containerd",
        "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
        "/usr/libexec/kubernetes/kubelet-plugins/volume",
        "/usr/libexec/kubernetes/kubelet-plugins",
        "/usr/libexec/kubernetes",
        "/opt/libexec/kubernetes/kubelet-plugins/volume/exec",
        "/opt/libexec/kubernetes/kubelet-plugins/volume",
        "/opt/libexec/kubernetes/kubelet-plugins",
        "/opt/libexec/kubernetes",
        "/opt/libexec",
        // kube-proxy's pod asks for it.
        "/usr/lib/modules",
        "/root/.kube",
        "/var/lib/cni/networks",
        "/var/lib/cni/results",
        "/var/lib/cni/cache/results",
        "/var/lib/cni/cache",
        "/var/lib/cni",
    ];
    let folders = watched.iter().copied().chain(folders).chain(of_variables).chain([etcd::CERTIFICATES]);
    let folders: Vec<&str> = folders.collect();
    removal(
        "empty folders",
        sh(
            concat!(
                include_str!("empty.sh"),
                r#"for folder; do ! is_empty "$folder" || rmdir "$folder"; done"#
            ),
            folders.clone(),
        ),
        sh(
            concat!(
                include_str!("empty.sh"),
                r#"for folder; do if is_empty "$folder"; then exit 1; fi; done"#
            ),
            folders,
        ),
    )
}

#[cfg(test)]
mod tests;
