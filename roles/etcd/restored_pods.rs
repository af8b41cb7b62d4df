//! Pods after a restore on machines with other certificates than those of the snapshot.
//!
//! Where all machines were installed anew their cluster has another authority than the one that the snapshot knows. The controller
//! manager tells it to each namespace (`kube-root-ca.crt`), but pods that began before that trust the old one for ever: so they
//! begin anew. So they do where the snapshot gives a node another network for its pods than the one that it has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use muster_engine::prelude::*;
use muster_inventory::some_names;

use crate::common::cluster_vars;
use crate::kubectl::{Kubectl, kubectl};

/// Under which it is kept for the run that a node's network is another one.
const ANEW: &str = "that a node's network for pods is another one";

/// How often a node is asked for that the cluster does not know yet, every two seconds.
const LOOKS: u32 = 30;

/// The host's network for pods is the one of its node in the snapshot.
pub(super) async fn network(host: &Host) -> Result<()> {
    let what = "Look at the node's network for pods";
    if host.check_mode() {
        host.not_yet(what);
        return Ok(());
    }
    let node = cluster_vars(host)?.kube_override_hostname;
    for _ in 0..LOOKS {
        let look = sh(include_str!("network-anew.sh"), [node.as_str()]);
        match host.run(what, look, Duration::from_secs(60)).await?.trim() {
            "unknown" => host.pause("the cluster to know the node", Duration::from_secs(2)).await?,
            "anew" => return host.cluster().once(ANEW, || async { Ok(()) }).await.map(drop),
            _ => return Ok(()),
        }
    }
    host.warn(format!(
        "the cluster does not say which network the pods of {node} have: setup-cluster looks at it again"
    ));
    Ok(())
}

/// Pods begin anew, by the control plane that leads, if the snapshot is not of a cluster with its authority, or gave a node another
/// network.
pub(super) async fn begin_anew(host: &Host, snapshot: &Path) -> Result<()> {
    let authority = authority(host).await?;
    let Some(part) = part(&authority) else { return Ok(()) };
    let same_network = host.cluster().done::<()>(ANEW).is_none();
    if same_network && knows(snapshot, part)? {
        return Ok(());
    }
    let what = "Let pods begin anew";
    let Some(kubectl) = Kubectl::find(host).await?.filter(|_| !host.check_mode()) else {
        host.not_yet(what);
        return Ok(());
    };
    let told = kubectl!(include_str!("authority-is-told.sh"), [part]);
    let (every, limit) = (Duration::from_secs(1), Duration::from_secs(180));
    kubectl.wait(Wait::new("every namespace knows the cluster's authority", told, every, limit)).await?;
    let said = kubectl.run(what, kubectl!(include_str!("pods-anew.sh"), [""; 0])).await?;
    let alone: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("alone ")).collect();
    if !alone.is_empty() {
        host.warn(format!(
            "pods without a controller are as they were, and trust the authority that is gone: {}; those that ask the API have to be \
             made anew",
            some_names(&alone)
        ));
    }
    Ok(())
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
