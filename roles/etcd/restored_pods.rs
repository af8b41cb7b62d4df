//! Pods after a restore on machines with other certificates than those of the snapshot.
//!
//! Where all machines were installed anew their cluster has another authority than the one that the snapshot knows. The controller
//! manager tells it to each namespace (`kube-root-ca.crt`), but pods that began before that trust the old one for ever: so they
//! begin anew. So do those of a node to which the snapshot gives another network for its pods than the one that it has.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use muster_engine::prelude::*;

use super::restore::Restore;
use crate::common::cluster_vars;
use crate::kubectl::{Kubectl, kubectl};
use crate::rotation::workloads::own_have_rolled_out_without;
use crate::{flannel, pods};

/// The host's network for pods is the one of its node in the snapshot.
pub(super) async fn network(host: &Host) -> Result<()> {
    if host.check_mode() {
        host.not_yet("Look at the node's network for pods");
        return Ok(());
    }
    flannel::network::fit(host).await.map(drop)
}

/// Pods begin anew, by the control plane that leads, if the snapshot is not of a cluster with its authority.
pub(super) async fn begin_anew(host: &Host, what: &Restore) -> Result<()> {
    if what.snapshot.is_none() {
        // Whether they have to is only known when it was taken.
        host.not_yet("See whether pods have to begin anew");
        return Ok(());
    }
    let authority = authority(host).await?;
    let Some(part) = part(&authority) else { return Ok(()) };
    if knows(&what.path, part)? {
        return Ok(());
    }
    let Some(kubectl) = Kubectl::find(host).await?.filter(|_| !host.check_mode()) else {
        host.not_yet("Let pods begin anew");
        return Ok(());
    };
    let told = kubectl!(include_str!("authority-is-told.sh"), [part]);
    let (every, limit) = (Duration::from_secs(1), Duration::from_secs(180));
    kubectl.wait(Wait::new("every namespace knows the cluster's authority", told, every, limit)).await?;
    pods::begin_anew(&kubectl, None).await
}

/// kube-proxy, the pods' network and DNS have their pods: until then pods do not reach each other everywhere, and nobody would be told
/// why. What keeps them from it is no fault of the restore. Nodes of machines that have no part in it are not waited for (`without`).
pub(super) async fn have_rolled_out(host: &Host, without: &BTreeSet<String>) -> Result<()> {
    let Some(kubectl) = Kubectl::find(host).await?.filter(|_| !host.check_mode()) else { return Ok(()) };
    let node = |lost: &String| -> Result<String> {
        let machine = host.cluster().host(lost)?;
        Ok(cluster_vars(&machine)?.kube_override_hostname)
    };
    let lost: BTreeSet<String> = without.iter().map(node).collect::<Result<_>>()?;
    match own_have_rolled_out_without(&kubectl, &lost).await {
        Err(failure @ Failure::Waited { .. }) => {
            host.warn(format!(
                "{failure} ({}); to see why: muster verify",
                failure.tail().unwrap_or_default().trim()
            ));
            Ok(())
        }
        done => done,
    }
}

/// How a ConfigMap with an authority begins, as the API server writes it (protobuf): a name of six letters, and then its text. Where
/// ConfigMaps are encrypted it is nowhere.
const WITH_AUTHORITY: &str = "\n\u{6}ca.crt\u{12}";

/// Whether a snapshot may be of a cluster with the authority of this control plane: where there is none yet, or where the snapshot does
/// not show any, that cannot be told.
pub(super) async fn may_be_of_this_cluster(plane: &Host, snapshot: &Path) -> Result<bool> {
    let authority = authority(plane).await?;
    let Some(part) = part(&authority) else { return Ok(true) };
    Ok(knows(snapshot, part)? || !knows(snapshot, WITH_AUTHORITY)?)
}

/// The certificate of a control plane's authority, or what keeps it from being read.
async fn authority(plane: &Host) -> Result<String> {
    let folder = cluster_vars(plane)?.kube_cert_dir;
    Ok(plane.query(sh(r#"cat "$1/ca.crt""#, [folder])).await?.output)
}

/// Whether a text is in a snapshot. Each namespace has the cluster's authority in a ConfigMap.
fn knows(snapshot: &Path, part: &str) -> Result<bool> {
    let unread = |error: io::Error| {
        Failure::new(format!("{}: {error}", snapshot.display()), "check the file on this side")
    };
    File::open(snapshot).and_then(|file| holds(file, part.as_bytes())).map_err(unread)
}

/// A line in the middle of a certificate in PEM: its key is there, which no other one has.
fn part(pem: &str) -> Option<&str> {
    pem.contains("-----BEGIN CERTIFICATE-----").then_some(())?;
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    lines.get(lines.len() / 2).copied()
}

/// Whether these bytes are anywhere in it.
fn holds(mut from: impl Read, wanted: &[u8]) -> io::Result<bool> {
    let mut window = Vec::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            return Ok(false);
        }
        window.extend_from_slice(&chunk[..count]);
        if window.windows(wanted.len()).any(|part| part == wanted) {
            return Ok(true);
        }
        let begin = window.len().saturating_sub(wanted.len());
        window.drain(..begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_this_cluster_has_a_line_of_its_authority() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\nkey1\nend=\n-----END CERTIFICATE-----\n";
        assert_eq!(part(pem), Some("key1"));
        assert_eq!(part("cat: ca.crt: No such file or directory\n"), None);
        // Also where it lies between two pieces that are read.
        let mut database = vec![0; (1 << 20) - 2];
        database.extend_from_slice(b"key1");
        assert!(
            holds(database.as_slice(), b"key1").unwrap() && !holds(database.as_slice(), b"key2").unwrap()
        );
    }
}
