//! The certificates with which kubelets serve (`kubelet_rotate_server_certificates`): the cluster signs them, so that who asks a
//! kubelet knows that it is one. Reference: Kubernetes' "Configure Certificate Rotation for the Kubelet", "TLS bootstrapping".
//!
//! Nobody in Kubernetes approves what kubelets ask for: whoever has a machine could ask for any name. Here names and addresses are
//! compared with the inventory (`approve.sh`): in a run for each kubelet that has no certificate yet, and by a timer on each control
//! plane for those that renew theirs. What the inventory says is noted for the timer, by each run of a control plane, and on behalf of
//! nodes that are set up without one.

use futures::future::join_all;
use muster_engine::prelude::*;
use serde::Deserialize;

use crate::addresses::{access_ip_of, ip_of, ip6_of};
use crate::kubectl::{Kubectl, kubectl};
use crate::timers::{self, Timer};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kubelet_rotate_server_certificates: bool,
}

/// The name of the timer.
pub(crate) const TIMER: &str = "kubelet-serving-certificates";

/// What the API server of a machine is told.
const API_SERVER_POD: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// A link to the certificate and its key.
pub(crate) const CERTIFICATE: &str = "/var/lib/kubelet/pki/kubelet-server-current.pem";

/// For how long it is waited that a kubelet asks, and then that it has what was approved (in seconds); and how often.
const ASKS: Duration = Duration::from_secs(5);
const HAS: u32 = 3;
const ROUNDS: u32 = 23;

/// What each kubelet may ask for, noted on a control plane for the timer: a line each, as `approve.sh` takes them.
pub(crate) const NODES: &str = "/var/lib/muster/kubelet-serving-nodes";

/// The timer's program.
const PROGRAM: &str = concat!(
    include_str!("../own_api_server.sh"),
    include_str!("../kubectl.sh"),
    r#"nodes=$1
set -- ''
while IFS= read -r node; do set -- "$@" "$node"; done <"$nodes"
"#,
    include_str!("approve.sh")
);

/// Whether kubelets serve with certificates of the cluster.
fn is_wanted(host: &Host) -> Result<bool> {
    let vars: Vars = host.vars()?;
    Ok(vars.kubelet_rotate_server_certificates)
}

/// After the step the timer is on a control plane where it is wanted, and on no other machine; and no kubelet has a certificate of
/// the cluster that is not to have one.
pub(super) fn on<'h>(host: &Host, step: Step<'h>) -> Result<Step<'h>> {
    let wanted = is_wanted(host)?;
    let step = match wanted {
        true => step,
        false => step.ensure(none()),
    };
    if !wanted || !host.in_group("kube_control_plane") {
        return Ok(step.ensure(timers::none(TIMER)).remove(file(NODES)));
    }
    let timer = Timer {
        name: TIMER,
        what: "approve the certificates with which kubelets serve",
        // A kubelet waits for a quarter of an hour, and asks anew.
        calendar: "*:0/5".to_owned(),
        program: PROGRAM,
        arguments: vec![NODES.to_owned()],
    };
    timer.on(host, step.ensure(are_noted(host, "")?))
}

/// What each node of the inventory may ask for is noted; of a machine that is off, and whose address is not known for that, what was
/// noted before. With a file in `only_with`, where that is.
fn are_noted(host: &Host, only_with: &str) -> Result<Command> {
    let entry = |node: String| may_ask_for(host, &node).or_else(|_| node_of(host, &node));
    let nodes: Vec<String> =
        host.cluster().group("k8s_cluster").into_iter().map(entry).collect::<Result<_>>()?;
    let arguments = [only_with, NODES].map(str::to_owned).into_iter().chain(nodes);
    Ok(command(
        "what kubelets may ask for is noted",
        sh(
            concat!(
                include_str!("nodes_may_ask_for.sh"),
                r#"shift
may_ask_for "$@" >"$1.new"
sync "$1.new"
mv -f "$1.new" "$1""#
            ),
            arguments.clone(),
        ),
        sh(
            concat!(
                include_str!("nodes_may_ask_for.sh"),
                r#"[ -z "$1" ] || [ -e "$1" ] || exit 0
shift
[ -e "$1" ] && [ "$(may_ask_for "$@")" = "$(cat "$1")" ]"#
            ),
            arguments,
        ),
    ))
}

/// Control planes that take no part in the run approve what its nodes ask for when they renew their certificates.
async fn others_know(host: &Host) -> Result<()> {
    let planes = host.cluster().group("kube_control_plane").into_iter();
    let others: Vec<String> = planes.filter(|plane| !host.cluster().in_run(plane)).collect();
    let unit = timers::unit(TIMER, "timer");
    let tell = || async {
        for other in others {
            let plane = host.cluster().host(&other)?;
            let step = plane.step("Note what kubelets may ask for").on_behalf_of(host);
            if let Err(failure) = step.ensure(are_noted(host, &unit)?).await {
                host.warn(format!(
                    "{other} does not know yet what the kubelet of {} may ask for ({failure}): set it up as well, before that renews its \
                     certificate: setup-cluster --limit {other}",
                    host.name()
                ));
            }
        }
        Ok(())
    };
    host.cluster().once("control planes know what kubelets may ask for", tell).await.map(drop)
}

/// An API server takes no other certificates than the cluster's when the nodes that the run leaves out have theirs. What is off has no
/// kubelet that could be asked.
///
/// # Errors
/// Some have none.
pub(super) async fn all_have_theirs(host: &Host) -> Result<()> {
    if !is_wanted(host)? {
        return Ok(());
    }
    let nodes = host.cluster().group("k8s_cluster").into_iter();
    let others: Vec<_> = nodes.filter(|node| !host.cluster().in_run(node)).collect();
    let takes_no_other = sh(r#"grep -qs -e --kubelet-certificate-authority "$1""#, [API_SERVER_POD]);
    if others.is_empty() || host.query(takes_no_other).await?.status == 0 {
        return Ok(());
    }
    let has_none = sh(r#"[ -e /etc/kubernetes/kubelet.conf ] && [ ! -e "$1" ]"#, [CERTIFICATE]);
    let ask = |other: String| {
        let has_none = has_none.clone();
        async move {
            let answer = host.cluster().host(&other).ok()?.query(has_none).await.ok()?;
            (answer.status == 0).then_some(other)
        }
    };
    let without: Vec<String> = join_all(others.into_iter().map(ask)).await.into_iter().flatten().collect();
    lack(&without).map_or(Ok(()), |problem| Err(Failure::Problems(vec![problem])))
}

fn lack(without: &[String]) -> Option<Problem> {
    let names = without.join(",");
    (!without.is_empty()).then(|| Problem {
        check: "kubelets".into(),
        found: format!(
            "{}, which this run leaves out: kubelets without a certificate of the cluster; there would be no kubectl logs and exec for them",
            without.join(", ")
        ),
        needed: "a certificate of the cluster for each kubelet (kubelet_rotate_server_certificates)".into(),
        remedy: format!("set them up as well: without --limit; or before: setup-cluster --limit {names}"),
    })
}

/// What a kubelet served with that now makes itself a certificate.
fn none() -> Command {
    removal(
        "certificate of the cluster to serve with",
        sh(r#"rm -f "${1%current.pem}"*.pem"#, [CERTIFICATE]),
        sh(r#"[ ! -e "$1" ]"#, [CERTIFICATE]),
    )
}

/// The kubelet has its certificate, if it is to have one.
///
/// # Errors
/// It asks for nothing, or for what the inventory does not say of it.
pub(crate) async fn run(host: &Host) -> Result<()> {
    const STEP: &str = "The certificate with which the kubelet serves";
    if !is_wanted(host)? {
        return Ok(());
    }
    others_know(host).await?;
    if has_one(host, 0).await? {
        host.passed(STEP);
        return Ok(());
    }
    let Some(kubectl) = Kubectl::find(host).await?.filter(|_| !host.check_mode()) else {
        host.not_yet(STEP);
        return Ok(());
    };
    let node = node_of(host, host.name())?;
    let approve = kubectl!(include_str!("approve.sh"), [node.clone(), may_ask_for(host, host.name())?]);
    let last = |said: &str| said.lines().last().unwrap_or_default().to_owned();
    let Some(said) =
        until_there(|| kubectl.insist(STEP, &approve, ASKS, last), || has_one(host, HAS)).await?
    else {
        return Ok(());
    };
    let asked = kubectl!(include_str!("asked_for.sh"), [node]);
    let asked = kubectl.query(STEP, asked).await.unwrap_or_default();
    Err(Failure::Other {
        message: format!("the kubelet of {} gets no certificate to serve with", host.name()),
        remedy: "a kubelet asks for the name of its node and its address, which must be those of the inventory (ip, \
                 access_ip); see what it asks for: muster kubectl describe csr; on the machine: journalctl -u kubelet | \
                 grep -i certificate; or set kubelet_rotate_server_certificates: false"
            .into(),
        tail: format!("{}\n{said}", asked.trim_end()).trim().to_owned(),
    })
}

/// Approves what the kubelet asks for until it has its certificate. Once is not enough: a kubelet that begins anew, as at the end of
/// `kubeadm init`, asks again, and what its former process has asked for helps it no more. If it has none in the end, why nothing
/// could be approved at last.
async fn until_there<A, B>(approve: impl Fn() -> A, is_there: impl Fn() -> B) -> Result<Option<String>>
where
    A: Future<Output = Result<String>>,
    B: Future<Output = Result<bool>>,
{
    let mut said = String::new();
    for _ in 0..ROUNDS {
        said = match approve().await {
            Ok(_) => String::new(),
            Err(Failure::Waited { tail, .. }) => tail,
            Err(failure) => return Err(failure),
        };
        // Also by the timer, or by another run.
        if is_there().await? {
            return Ok(None);
        }
    }
    Ok(Some(said))
}

/// Whether it has its certificate within so many seconds.
async fn has_one(host: &Host, seconds: u32) -> Result<bool> {
    let look = r#"left=$2
until [ -e "$1" ]; do
  [ "$left" -gt 0 ] || exit 1
  left=$((left - 1))
  sleep 1
done"#;
    Ok(host.query(sh(look, [CERTIFICATE.to_owned(), seconds.to_string()])).await?.status == 0)
}

#[derive(Deserialize)]
pub(super) struct NodeVars {
    kube_override_hostname: String,
}

/// The name of a host as a node.
fn node_of(host: &Host, other: &str) -> Result<String> {
    let vars: NodeVars = host.cluster().vars_of(other)?.deserialize()?;
    Ok(vars.kube_override_hostname)
}

/// The name of a host as a node, and what it may ask for: its name and addresses.
fn may_ask_for(host: &Host, other: &str) -> Result<String> {
    let node = node_of(host, other)?;
    let (ip, access_ip) = (ip_of(host, other)?, access_ip_of(host, other)?);
    let mut further: Vec<_> = Some(access_ip).filter(|access_ip| *access_ip != ip).into_iter().collect();
    further.extend(ip6_of(host, other)?);
    let further: String = further.iter().map(|address| format!(" {address}")).collect();
    Ok(format!("{node} {node} {ip}{further}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn nodes_that_a_run_leaves_out_and_that_have_no_certificate_are_named() {
        assert!(lack(&[]).is_none());
        let problem = lack(&["node2".to_owned(), "node3".to_owned()]).unwrap();
        assert!(problem.found.starts_with("node2, node3, which this run leaves out: "), "{}", problem.found);
        assert!(problem.remedy.ends_with("setup-cluster --limit node2,node3"), "{}", problem.remedy);
    }

    #[test]
    fn what_is_noted_of_a_node_holds_while_its_address_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("note");
        let noted = |nodes: &[&str]| {
            let program = format!("{}may_ask_for \"$@\"", include_str!("nodes_may_ask_for.sh"));
            let all = [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]].map(|shell| {
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &program, "sh"]).arg(&note).args(nodes);
                String::from_utf8(command.output().unwrap().stdout).unwrap()
            });
            assert!(all.iter().all(|said| *said == all[0]), "{all:?}");
            all[0].clone()
        };
        assert_eq!(noted(&["node1 node1 192.0.2.4", "node2"]), "node1 node1 192.0.2.4\n");
        fs::write(&note, "node2 node2 192.0.2.5\nnode22 node22 192.0.2.6\nnode3 node3 192.0.2.7\n").unwrap();
        let all = ["node1 node1 192.0.2.4", "node2", "node22 node22 192.0.2.8"];
        assert_eq!(noted(&all), "node1 node1 192.0.2.4\nnode2 node2 192.0.2.5\nnode22 node22 192.0.2.8\n");
    }

    #[tokio::test]
    async fn it_is_approved_until_the_kubelet_has_a_certificate() {
        let told = async |approved: bool, there_after: u32| {
            let (asked, looked) = (AtomicU32::new(0), AtomicU32::new(0));
            let approve = || async {
                asked.fetch_add(1, Ordering::Relaxed);
                let tail = "csr-1: wrong".to_owned();
                if approved {
                    Ok(tail)
                } else {
                    Err(Failure::Waited { what: String::new(), limit: ASKS, tail })
                }
            };
            let is_there = || async { Ok(looked.fetch_add(1, Ordering::Relaxed) + 1 == there_after) };
            let end = until_there(approve, is_there).await.unwrap();
            (end, asked.load(Ordering::Relaxed))
        };
        assert_eq!(told(true, 1).await, (None, 1));
        // The process that was approved first has ended: what the next one asks for is approved as well.
        assert_eq!(told(true, 2).await, (None, 2));
        assert_eq!(told(false, 1).await, (None, 1), "by the timer");
        assert_eq!(told(false, 0).await, (Some("csr-1: wrong".to_owned()), ROUNDS));
        assert_eq!(told(true, 0).await, (Some(String::new()), ROUNDS));
    }

    /// What the program says and approves, with a kubectl that lists these requests and describes each in these words.
    fn approved(nodes: &[&str], requests: &str, described: &str) -> (i32, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        fs::write(folder.path().join("requests"), requests).unwrap();
        fs::write(folder.path().join("described"), described).unwrap();
        let fake = format!(
            "#!/bin/sh\ncase $* in *' get '*) cat {path}/requests ;; *' describe '*) cat {path}/described ;; \
             *' certificate approve '*) echo \"${{5}} ${{6}}\" >>{path}/approved ;; esac\n"
        );
        let kubectl = folder.path().join("kubectl");
        fs::write(&kubectl, fake).unwrap();
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
        let program = format!("set -eu\n{}{}", include_str!("../kubectl.sh"), include_str!("approve.sh"));
        let shells = [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]];
        let mut told: Vec<(i32, String, String)> = shells
            .iter()
            .filter_map(|shell| {
                let _ = fs::remove_file(folder.path().join("approved"));
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-c", &program, "sh"]).args(nodes);
                let out = command
                    .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()))
                    .output()
                    .ok()?;
                let approved = fs::read_to_string(folder.path().join("approved")).unwrap_or_default();
                Some((
                    out.status.code().unwrap(),
                    approved.replace("approve ", "").replace('\n', " "),
                    String::from_utf8(out.stderr).unwrap(),
                ))
            })
            .collect();
        told.dedup();
        assert_eq!(told.len(), 1, "the shells differ: {told:#?}");
        told.remove(0)
    }

    /// What kubectl 1.36 prints of a request.
    fn described(user: &str, names: &str, addresses: &str) -> String {
        format!(
            "Name:               csr-1\nLabels:             <none>\nAnnotations:        <none>\n\
             CreationTimestamp:  Sun, 29 Nov 2026 14:30:00 +0000\nRequesting User:    system:node:node1\n\
             Signer:             kubernetes.io/kubelet-serving\nStatus:             Pending\nSubject:\n  \
             Common Name:    {user}\n  Serial Number:  \n  Organization:   system:nodes\nSubject Alternative Names:\n         \
             DNS Names:     {names}\n         IP Addresses:  {addresses}\nEvents:  <none>\n"
        )
    }

    const NODES: [&str; 3] = ["", "node1 node1 192.0.2.4 198.51.100.4", "node2 node2 192.0.2.5"];
    const PENDING: &str = "csr-1|system:node:node1|system:nodes system:authenticated|\n";

    #[test]
    fn a_request_with_what_the_inventory_says_is_approved() {
        for (names, addresses) in
            [("node1", "192.0.2.4"), ("node1", "192.0.2.4\n                        198.51.100.4")]
        {
            let (status, approved, said) =
                approved(&NODES, PENDING, &described("system:node:node1", names, addresses));
            assert_eq!((status, approved.as_str()), (0, "csr-1 "), "{said}");
        }
        let waiting = ["node1", NODES[1]];
        assert_eq!(approved(&waiting, PENDING, &described("system:node:node1", "node1", "192.0.2.4")).0, 0);
        let nothing = approved(&waiting, "\n", "");
        assert_eq!(nothing.0, 1, "nobody has asked yet");
        assert_eq!(nothing.2, "nothing that node1 asks for can be approved yet\n");
    }

    #[test]
    fn whatever_else_is_asked_for_is_not_approved_and_told() {
        let good = described("system:node:node1", "node1", "192.0.2.4");
        for (wrong, said) in [
            (described("system:node:node2", "node1", "192.0.2.4"), "Common Name: system:node:node2"),
            (described("system:node:node1", "node2", "192.0.2.4"), "DNS Names: node2"),
            (described("system:node:node1", "node1", "192.0.2.5"), "IP Addresses: 192.0.2.5"),
            (described("system:node:node1", "node1\n   evil.example", "192.0.2.4"), "evil.example"),
            (described("system:node:node1", "node1 evil", "192.0.2.4"), "node1 evil"),
            (good.replace("system:nodes\n", "system:nodes\n        system:masters\n"), "system:masters"),
            (good.replace("Events:", "         URIs:  spiffe://x\nEvents:"), "URIs: spiffe://x"),
            (good.replace("  Common Name:    system:node:node1\n", ""), "another name"),
            // What somebody writes into an annotation is not read as the request.
            (
                good.replace("<none>\nCreation", "a=\nSubject:\nCommon Name: system:node:node1\nCreation")
                    .replace(
                        "  Common Name:    system:node:node1\n",
                        "  Common Name:    system:node:node2\n",
                    ),
                "system:node:node2",
            ),
        ] {
            let told = approved(&NODES, PENDING, &wrong);
            assert_eq!((told.0, told.1.as_str()), (0, ""), "{wrong}\n{}", told.2);
            assert!(
                told.2.contains(said) && told.2.starts_with("csr-1: node1 asks for"),
                "{said}: {}",
                told.2
            );
        }
        for request in [
            "csr-1|system:node:node3|system:nodes system:authenticated|\n",
            "csr-1|node1|system:nodes system:authenticated|\n",
            "csr-1|system:node:node1|system:authenticated|\n",
        ] {
            let told = approved(&NODES, request, &good);
            assert_eq!((told.0, told.1.as_str()), (0, ""), "{request}");
        }
        let done = PENDING.replace("|\n", "|Approved\n");
        assert_eq!(approved(&NODES, &done, &good), (0, String::new(), String::new()));
    }
}
