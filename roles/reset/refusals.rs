//! What a reset refuses, before anything is touched: a machine that is another's, one that a cluster cannot go on without, and what
//! cannot be removed.

use std::path::{Path, PathBuf};

use muster_engine::prelude::*;
use muster_inventory::some_names;

use super::{Reset, Vars, engine};
use crate::cluster::Standing;
use crate::common::cluster_vars;
use crate::containerd::earlier::Earlier;
use crate::{bootstrap_os, cluster, containerd, etcd, flannel, kubeadm};

/// Prints the namespaces of containers in containerd ($1: its folder of state) that are not those of Kubernetes.
const OTHER_CONTAINERS: &str = r#"for path in "$1"/io.containerd.runtime.v2.task/*; do
  name=${path##*/}
  [ "$name" = k8s.io ] || [ "$name" = '*' ] || [ -z "$(ls -A "$path")" ] || echo "$name"
done"#;

/// Prints another way to have Kubernetes that a machine has, and its file. A node of a cluster of kubeadm's is known by its own
/// files, also while it joins.
const OTHER_CLUSTER: &str = concat!(
    include_str!("../preflight/clusters.sh"),
    r#"for file in /etc/kubernetes/kubelet.conf /etc/kubernetes/bootstrap-kubelet.conf; do
  [ ! -e "$file" ] || exit 0
done
clusters"#
);

/// Folders that go whole, beside those that variables name.
const FOLDERS: [&str; 5] =
    ["/etc/kubernetes", "/var/lib/kubelet", "/var/lib/calico", "/var/lib/cilium", "/var/log/pods"];

/// Nothing is changed before it is known that the machine is this cluster's, and that no part of the cluster lives on without the
/// rest: one of its control planes or members of etcd is taken out by the others, which have to know of it.
pub(crate) async fn check(host: &Host, with: Reset) -> Result<()> {
    let known = cluster::known(host).await?;
    let node = cluster_vars(host)?.kube_override_hostname;
    let anothers = known.is_anothers(host.name(), &node).or_else(|| known.holds_unknown_etcd(host.name()));
    if let Some(found) = anothers {
        if known.is_ours(host.name()) != Some(true) {
            nobody_loses_its_cluster(host, &known)?;
        }
        if !with.foreign {
            return Err(refused(
                found,
                "a machine of this cluster, or of none",
                format!(
                    "see whether its address in the inventory is right; to take what is on it away all the same: reset-cluster --foreign \
                     --limit {}",
                    host.name()
                ),
            ));
        }
        host.warn(format!("{found}: it is reset all the same (--foreign)"));
        if known.is_ours(host.name()) != Some(true) {
            return all_is_removable(host, with).await;
        }
    }
    // However well the inventory fits it, it is whoever's who has made it.
    if let Some(joined) = known.address6_of(host.name()).filter(|_| !with.foreign)
        && !cluster_vars(host)?.ipv6_stack
    {
        return Err(refused(
            format!("ipv6_stack is false, and {} has joined its cluster with {joined} as well", host.name()),
            "what it joined with, for as long as it is there: else routes and settings of IPv6 would stay",
            "set ipv6_stack: true, reset-cluster, and change it then".to_owned(),
        ));
    }
    if let Some(found) = known.of_another_tool().filter(|_| !with.foreign) {
        return Err(refused(
            found,
            "a cluster that muster has set up, or adopted",
            "to have muster look after it: muster adopt; to take it away all the same: reset-cluster --foreign".to_owned(),
        ));
    }
    is_the_clusters_alone(host, with).await?;
    // The others have the last word on whether they went on without it.
    let carries =
        (host.in_group("kube_control_plane") || host.in_group("etcd")) && !known.was_left_behind(host.name());
    let silent = known.silent();
    if carries && known.belongs_to_any(host.name()) && !silent.is_empty() {
        return Err(refused(
            format!(
                "{} carries the cluster, and whether {} would go on without it is not known",
                host.name(),
                silent.join(", ")
            ),
            "an answer of every control plane and member of etcd that stays",
            format!("switch {} on; or reset all machines, without --limit", silent.join(", ")),
        ));
    }
    let staying = known.staying();
    if staying.is_empty() {
        nobody_is_left_behind(host, &known)?;
        return nobody_loses_its_cluster(host, &known);
    }
    if carries && known.belongs_to_any(host.name()) {
        return Err(refused(
            format!("{} carries the cluster, and {} would go on without it", host.name(), staying.join(", ")),
            "the whole cluster, or machines that carry nothing of it",
            format!(
                "muster remove-node {}, which keeps etcd's majority; or reset all machines, without --limit",
                host.name()
            ),
        ));
    }
    nobody_loses_its_cluster(host, &known)?;
    if known.had_joined(host.name()) {
        host.warn(format!(
            "the node {node} stays in the cluster, as one that is not ready; muster remove-node {} removes it there as well",
            host.name()
        ));
    }
    Ok(())
}

/// A machine that carries a cluster which others of the inventory are in stays, also where the inventory has it as something else
/// than a control plane or member of etcd, and whoever's cluster it is.
fn nobody_loses_its_cluster(host: &Host, known: &Standing) -> Result<()> {
    let name = host.name();
    let bereft = known.bereft_of(name);
    if bereft.is_empty() {
        return Ok(());
    }
    let is_plane = host.in_group("kube_control_plane");
    Err(refused(
        format!(
            "{name} carries the cluster of {}{}",
            some_names(&bereft),
            match is_plane {
                true => "",
                false => ", and is not in [kube_control_plane] of the inventory",
            }
        ),
        "the whole cluster, or machines that carry nothing of it",
        match is_plane {
            true => "take the machines of one of the two clusters out of the inventory".to_owned(),
            false => format!(
                "put {name} back into the group that it was in ([kube_control_plane], [etcd]); then, if it is to leave: muster \
                 remove-node {name}; or reset all machines, without --limit"
            ),
        },
    ))
}

/// Workers that take no part in the run would have no control plane any more.
fn nobody_is_left_behind(host: &Host, known: &Standing) -> Result<()> {
    let is_plane = known.standing().contains(&host.name());
    let left: Vec<String> =
        host.cluster().group("k8s_cluster").into_iter().filter(|name| !host.cluster().in_run(name)).collect();
    if !is_plane || left.is_empty() {
        return Ok(());
    }
    Err(refused(
        format!(
            "{} is the last control plane, and {} would be left without one",
            host.name(),
            left.join(", ")
        ),
        "the whole cluster, or machines that carry nothing of it",
        "reset all machines, without --limit; or take those that have left the cluster out of the inventory"
            .to_owned(),
    ))
}

/// What goes with a reset is the cluster's alone, and can be removed: that is found out before anything is touched.
pub(crate) async fn is_the_clusters_alone(host: &Host, with: Reset) -> Result<()> {
    if !with.foreign {
        has_no_other_cluster(host).await?;
    }
    let vars: Vars = host.vars()?;
    // In an engine that is others' again, or was never ours, containers may run.
    if !Earlier::of(host).await?.goes() {
        return all_is_removable(host, with).await;
    }
    let namespaces = host.query(sh(OTHER_CONTAINERS, [vars.containerd_state_dir])).await?;
    let namespaces: Vec<&str> = namespaces.output.split_whitespace().collect();
    if !namespaces.is_empty() && !with.foreign {
        return Err(refused(
            format!(
                "containers of other programs run in the containerd of {}: {}",
                host.name(),
                namespaces.join(", ")
            ),
            "containers of Kubernetes alone, because containerd goes with everything in it",
            format!(
                "stop and remove them (docker ps, ctr namespaces ls); to take them away as well: reset-cluster --limit {} --foreign",
                host.name()
            ),
        ));
    }
    all_is_removable(host, with).await
}

/// What muster once noted of a machine does not make it the cluster's when it was taken out since, and got k3s, say.
pub(crate) async fn has_no_other_cluster(host: &Host) -> Result<()> {
    let answer = host.query(sh0(OTHER_CLUSTER)).await?;
    match other_cluster(&answer.output) {
        None => Ok(()),
        Some((cluster, file)) => Err(refused(
            format!("{cluster} is on {} ({file}), which is in no cluster of kubeadm's", host.name()),
            "a machine of this cluster, or of none",
            format!(
                "see whether its address in the inventory is right, and take it out of the inventory if it left; to reset it all the \
                 same: reset-cluster --limit {} --foreign",
                host.name()
            ),
        )),
    }
}

/// The cluster and the file of `cluster NAME FILE REMOVER`, the first one.
fn other_cluster(answer: &str) -> Option<(&str, &str)> {
    let (cluster, rest) = answer.lines().find_map(|line| line.strip_prefix("cluster "))?.split_once(' ')?;
    Some((cluster, rest.split(' ').next()?))
}

/// What is there in another form than muster made it is found before anything is touched: a folder that everybody uses, say.
async fn all_is_removable(host: &Host, with: Reset) -> Result<()> {
    if host.is_here() {
        nothing_of_this_side_goes(host)?;
    }
    let keep = with.keep_images;
    let containerd = match engine(host, with).await?.goes() {
        true => containerd::owned(host, keep)?,
        false => Resources::new(),
    };
    let looked = host
        .step("See whether all of it can be removed")
        .look_only()
        .remove_all(flannel::owned(keep))
        .remove_all(kubeadm::owned(host, keep)?)
        .remove_all(containerd)
        .remove_all(etcd::owned(host, keep)?)
        .remove_all(bootstrap_os::owned(host, keep, false)?)
        .await;
    match looked {
        Err(Failure::Other { message, .. }) => Err(refused(
            format!("{}: {message}", host.name()),
            "what muster made, as it made it",
            "put it back as it was, or move it away; then run the same command again".to_owned(),
        )),
        looked => looked.map(drop),
    }
}

/// On this computer, what muster itself needs lies elsewhere than in what a reset removes.
fn nothing_of_this_side_goes(host: &Host) -> Result<()> {
    let (vars, cluster): (Vars, _) = (host.vars()?, cluster_vars(host)?);
    let artifacts = host.all_vars().get("artifacts_dir")?;
    let artifacts = artifacts.and_then(|folder| folder.as_str().map(PathBuf::from));
    let needed: Vec<PathBuf> = [host.project().to_owned()].into_iter().chain(artifacts).collect();
    let removed = FOLDERS.into_iter().chain([
        cluster.kube_cert_dir.as_str(),
        &vars.etcd_data_dir,
        &vars.etcd_cert_dir,
        &vars.containerd_state_dir,
        &vars.containerd_storage_dir,
    ]);
    match lies_in(&needed, removed) {
        None => Ok(()),
        Some((path, folder)) => Err(refused(
            format!("{} lies in {folder}, which would be removed from this computer", path.display()),
            "the inventory and the artifacts in a folder that stays",
            format!("move it out of {folder}, and run the same command with -i"),
        )),
    }
}

/// The first of some paths that lies in one of these folders, and which one it is. Links are followed.
fn lies_in<'a>(
    paths: &'a [PathBuf],
    folders: impl Iterator<Item = &'a str> + Clone,
) -> Option<(&'a Path, &'a str)> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    paths.iter().find_map(|path| {
        let folder = folders.clone().find(|folder| real(path).starts_with(real(Path::new(folder))))?;
        Some((path.as_path(), folder))
    })
}

fn refused(found: String, needed: &str, remedy: String) -> Failure {
    Failure::Problems(vec![Problem { check: "reset".into(), found, needed: needed.into(), remedy }])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_this_side_needs_is_found_in_what_would_be_removed_also_by_way_of_a_link() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("kubernetes/inventory")).unwrap();
        std::os::unix::fs::symlink(at("kubernetes"), at("link")).unwrap();
        let removed = [at("kubernetes").display().to_string(), "/nowhere".to_owned()];
        let found = |path: &str| {
            let paths = [at("kubernetes-2"), at(path)];
            let found = lies_in(&paths, removed.iter().map(String::as_str));
            found.map(|(path, folder)| (path.to_owned(), folder.to_owned()))
        };
        assert_eq!(found("other"), None);
        let folder = &removed[0];
        assert_eq!(found("kubernetes/inventory"), Some((at("kubernetes/inventory"), folder.clone())));
        assert_eq!(found("link/inventory"), Some((at("link/inventory"), folder.clone())));
    }

    #[test]
    fn another_cluster_is_seen_where_no_node_is() {
        let root = std::env::temp_dir().join(format!("muster-reset-{}", std::process::id()));
        let file = |path: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let program = OTHER_CLUSTER.replace(" /", &format!(" {}/", root.display()));
        let look = || {
            let out = Command::new("sh").args(["-ec", &program]).output().unwrap();
            assert!(out.status.success());
            let answer = String::from_utf8(out.stdout).unwrap().replace(root.to_str().unwrap(), "");
            other_cluster(&answer).map(|(name, file)| format!("{name} {file}"))
        };
        assert_eq!(look(), None);
        file("etc/systemd/system/k3s.service");
        assert_eq!(look().as_deref(), Some("k3s /etc/systemd/system/k3s.service"));
        std::fs::remove_file(root.join("etc/systemd/system/k3s.service")).unwrap();
        // A kubelet that a cloud's image brings has its kubeconfig elsewhere.
        file("proc/7/comm");
        std::fs::write(root.join("proc/7/comm"), "kubelet\n").unwrap();
        let runs_with = |path: &str| {
            std::fs::write(root.join("proc/7/cmdline"), format!("/usr/bin/kubelet\0--kubeconfig={path}\0"))
                .unwrap();
        };
        runs_with("/var/lib/kubelet/kubeconfig");
        assert_eq!(look().as_deref(), Some("kubelet /proc/7"));
        runs_with("/etc/kubernetes/kubelet.conf");
        assert_eq!(look(), None);
        runs_with("/var/lib/kubelet/kubeconfig");
        file("etc/kubernetes/kubelet.conf");
        assert_eq!(look(), None);
        std::fs::remove_dir_all(root).unwrap();
    }
}
