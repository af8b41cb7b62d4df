//! A machine joins the cluster.

use std::sync::Arc;

use muster_engine::prelude::*;
use muster_engine::script::quote;
use serde::Deserialize;
use serde_json::json;

use super::{config, kubelet, node_registration, reconfigure};
use crate::addresses::ip;
use crate::balancer;
use crate::cluster::{self, Standing};
use crate::common::cluster_vars;
use crate::diagnosis;
use crate::kubectl::{Kubectl, kubectl};

#[derive(Deserialize)]
pub(super) struct Vars {
    kubeadm_token_minutes: u32,
}

/// What a machine needs to trust the cluster and to be trusted by it. Made once for all that join in a run.
struct Invitation {
    token: String,
    /// The certificate of the cluster's authority, as PEM.
    ca: String,
    /// The control plane that has given it.
    through: String,
    /// The nodes that are Ready, those of machines among them that were installed anew a moment ago.
    ready: Vec<String>,
}

/// Where kubeadm finds the cluster that a machine joins: a kubeconfig with the token, because nobody without a name may be answered
/// (`kube_api_anonymous_auth`, `remove_anonymous_access`).
///
/// With a token alone (`discovery.bootstrapToken`) kubeadm waits until the controller manager has signed for it, which in a
/// new cluster takes several seconds, and asks only every five. The certificate comes over SSH, which needs no such proof.
const DISCOVERY: &str = "/etc/kubernetes/discovery.conf";

pub(super) async fn run(host: &Host, known: &Standing, control_plane: bool) -> Result<()> {
    // The certificate is what the cluster gives to a machine that it took in; everything else is there earlier.
    let joined =
        sh0("[ -e /var/lib/kubelet/pki/kubelet-client-current.pem ] && [ -e /etc/kubernetes/kubelet.conf ]");
    // Empty where the cluster gives it another configuration: a later run makes up for that.
    let kubelet = kubelet::given(host, known).await?.unwrap_or_default();
    let plane = if control_plane { Some(config::write(host, known).await?) } else { None };
    if host.query(joined.clone()).await?.status != 0 {
        // Nobody is invited just to look.
        let config =
            if host.check_mode() { String::new() } else { invited(host, known, control_plane).await? };
        let node = cluster_vars(host)?.kube_override_hostname;
        let done = host
            .step("kubeadm join")
            .detached()
            .ensure(command(
                "membership of the cluster",
                sh(
                    concat!(
                        include_str!("kubelet_state.sh"),
                        include_str!("patiently.sh"),
                        include_str!("join.sh")
                    ),
                    [
                        config.as_str(),
                        kubelet::STAMP,
                        &kubelet,
                        &ca_file(host)?,
                        if control_plane { "yes" } else { "" },
                    ],
                ),
                joined,
            ))
            .await;
        if let Err(failure) = done {
            return Err(diagnosis::of_change(host, old_node(failure, &node)).await);
        }
    }
    if let Some(config) = &plane {
        // kubeadm gives it the configuration of the control plane that gave the cluster one; its own may be another.
        reconfigure::applied(host, config, false).await?;
        is_up(host).await?;
    }
    Ok(())
}

/// The API server of a control plane that has joined is ready: kubeadm's older versions do not wait for it.
async fn is_up(host: &Host) -> Result<()> {
    if host.check_mode() {
        return Ok(());
    }
    let (every, limit) = (Duration::from_millis(500), Duration::from_secs(180));
    let wait =
        Wait::new("the API server of the new control plane is ready", reconfigure::ready(1), every, limit);
    diagnosis::wait_on_machine(host, "containerd kubelet", wait).await.map(drop)
}

/// What to do where kubeadm refuses a machine that was installed anew, because its node is still taken for Ready: until the
/// controller manager has missed the kubelet for its `--node-monitor-grace-period`.
fn old_node(failure: Failure, node: &str) -> Failure {
    match failure {
        Failure::Change { resource, status, tail } if tail.contains("already exists in the cluster") => {
            Failure::Other {
                message: format!("{resource}: failed with status {status}"),
                remedy: format!(
                    "if the machine was installed anew: its old node stays Ready for some 40 s after the machine was switched off; \
                     wait and run again, or delete it: muster kubectl delete node {node}"
                )
                .into(),
                tail,
            }
        }
        other => other,
    }
}

/// What kubeadm is told. It is made for this machine only: it holds a token.
async fn invited(host: &Host, known: &Standing, control_plane: bool) -> Result<String> {
    let invitation = invitation(host).await?;
    is_free(host, &invitation).await?;
    answers_at(host, known, &invitation, control_plane).await?;
    trust(host, known, &invitation, control_plane).await?;
    let certificate_key = if control_plane { upload_certificates(host).await? } else { String::new() };
    let registration = node_registration(host)?;
    let extra = json!({
        "kubeadm_api": config::api(&cluster_vars(host)?.kube_version),
        "discovery": DISCOVERY,
        "token": invitation.token,
        "control_plane": control_plane,
        "certificate_key": certificate_key,
        "address": ip(host)?,
        "node_registration": registration.trim_end(),
    });
    host.render("join.yaml.j2", include_str!("templates/join.yaml.j2"), &extra)
}

/// A snippet that runs on a control plane, with a kubeconfig for its own API server in `$config`.
macro_rules! as_administrator {
    ($text:expr, $args:expr) => {
        sh(concat!(include_str!("../own_api_server.sh"), include_str!("local-admin.sh"), $text), $args)
    };
}

async fn invitation(host: &Host) -> Result<Arc<Invitation>> {
    let vars: Vars = host.vars()?;
    let invite = || async {
        let kubectl = control_plane(host).await?;
        let ca = ca_file(kubectl.plane())?;
        // A token made in the open is a secret all the same: it goes through a pipe, never into an argument.
        let script =
            as_administrator!(include_str!("invite.sh"), [&format!("{}m", vars.kubeadm_token_minutes), &ca]);
        let output = kubectl.run("Invite machines", script).await?;
        let through = kubectl.plane().name().to_owned();
        parse_invitation(&output, &through).ok_or_else(|| {
            Failure::new(
                format!("there was no token from kubeadm token create, or no certificate in {ca}"),
                format!("try it on {through}: kubeadm token create && cat {}", quote(&ca)),
            )
        })
    };
    host.cluster().once("an invitation to join", invite).await
}

/// A healthy control plane, which there must be: somebody joins.
async fn control_plane(host: &Host) -> Result<Kubectl<'_>> {
    Kubectl::find(host)
        .await?
        .ok_or_else(|| Failure::new("no control plane answers", "begin with setup-cluster"))
}

/// Nobody else has the machine's name. A node that is Ready is either that of a machine with the same name, or its own from
/// before it was installed anew, which the cluster gives up some 40 s after the last sign of life.
async fn is_free(host: &Host, invitation: &Invitation) -> Result<()> {
    let name = cluster_vars(host)?.kube_override_hostname;
    if !invitation.ready.contains(&name) {
        return Ok(());
    }
    let status = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    let given_up = kubectl!(
        r#"ready=$(kubectl get nodes --field-selector "metadata.name=$1" -o "$2") && [ "$ready" != True ]"#,
        [name.as_str(), status]
    );
    let what = format!("the cluster gives up the node {name} of the machine before");
    let (every, limit) = (Duration::from_secs(2), Duration::from_secs(120));
    control_plane(host).await?.wait(Wait::new(what, given_up, every, limit)).await.map(drop).map_err(|failure| match failure {
        Failure::Waited { .. } => Failure::new(
            format!("the cluster has a node {name} that is Ready, and this machine is not that node"),
            format!(
                "another machine has the name {name}: give one of the two another name in the inventory; if there is none, \
                 switch off what reports itself as {name}"
            ),
        ),
        other => other,
    })
}

/// The address at which all machines look for the API is alive: kubeadm would try it for minutes.
async fn answers_at(
    host: &Host,
    known: &Standing,
    invitation: &Invitation,
    control_plane: bool,
) -> Result<()> {
    let endpoint = cluster::endpoint(host, known)?;
    if balancer::is_local(&endpoint) {
        return Ok(());
    }
    let own = control_plane && endpoint == cluster::api_of(host, host.name())?;
    if own || endpoint == cluster::api_of(host, &invitation.through)? {
        return Ok(());
    }
    let alive = sh(
        r#"kubectl --kubeconfig "$1" --request-timeout=10s get --raw /readyz"#,
        [crate::kubectl::ADMIN_CONF],
    );
    let through = host.cluster().host(&invitation.through)?;
    let what = format!("the API answers at {endpoint}");
    // It may be away for a moment only.
    let (every, limit) = (Duration::from_secs(2), Duration::from_secs(60));
    through.wait_on_behalf_of(host, Wait::new(what, alive, every, limit)).await.map(drop).map_err(|failure| match failure {
        Failure::Waited { .. } => Failure::new(
            format!("nothing answers at {endpoint}, where all machines of this cluster look for its API"),
            "bring the control plane or the load balancer with this address back; until then nobody can join, although other control \
             planes are well",
        ),
        other => other,
    })
}

/// The machine knows the cluster. An authority that a former cluster has left here would be taken for its own.
///
/// It is asked at the address that all its machines know; but the machine that has this address, and comes back without its API
/// server, asks the one that invites it. So does one that will find the API at its own 127.0.0.1, where nobody is yet.
async fn trust(host: &Host, known: &Standing, invitation: &Invitation, control_plane: bool) -> Result<()> {
    let mut endpoint = cluster::endpoint(host, known)?;
    let is_own = control_plane && endpoint == cluster::api_of(host, host.name())?;
    if is_own || balancer::is_local(&endpoint) {
        endpoint = cluster::api_of(host, &invitation.through)?;
    }
    let extra = json!({ "endpoint": endpoint, "ca": invitation.ca, "token": invitation.token });
    let discovery = host.render("discovery.yaml.j2", include_str!("templates/discovery.yaml.j2"), &extra)?;
    host.step("Trust the cluster")
        .ensure(dir(cluster_vars(host)?.kube_cert_dir))
        .ensure(file(ca_file(host)?).content(invitation.ca.as_str()))
        .ensure(file(DISCOVERY).secret(discovery))
        .await
        .map(drop)
}

/// Where kubeadm has the cluster's authority.
fn ca_file(host: &Host) -> Result<String> {
    Ok(format!("{}/ca.crt", cluster_vars(host)?.kube_cert_dir))
}

/// The certificates of a control plane wait, encrypted, in the cluster for the next one. Returns the key to them.
async fn upload_certificates(host: &Host) -> Result<String> {
    let script = as_administrator!(
        r#"kubeadm init phase upload-certs --upload-certs --kubeconfig "$config" --config "$1""#,
        [config::CONFIG]
    );
    let output = control_plane(host).await?.run("Hand on the certificates", script).await?;
    Ok(output.lines().last().unwrap_or_default().trim().to_owned())
}

/// A token, and the certificate behind it. Warnings may stand in front of the token.
fn parse_invitation(output: &str, through: &str) -> Option<Invitation> {
    let (before, certificate) = output.split_at(output.find("-----BEGIN CERTIFICATE-----")?);
    let token = before.lines().last()?.trim();
    let ready = before.lines().filter_map(|line| line.strip_suffix(" True")).map(str::to_owned).collect();
    token.contains('.').then(|| Invitation {
        ready,
        token: token.to_owned(),
        ca: format!("{}\n", certificate.trim_end()),
        through: through.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a program was tried that says this and ends with 1 until it was tried `fails` times, and how it ended.
    fn tried(shell: &[&str], fails: u32, said: &str) -> (String, i32) {
        let folder = tempfile::tempdir().unwrap();
        let program = format!(
            "set -eu\n{}\nsaid=said pause=0\nit() {{\n  echo . >>tries\n  [ \"$(wc -l <tries)\" -gt {fails} ] || {{ echo '{said}' >&2; return 1; }}\n}}\n\
             patiently it",
            include_str!("patiently.sh")
        );
        let mut command = std::process::Command::new(shell[0]);
        let ended = command.args(&shell[1..]).args(["-c", &program]).current_dir(&folder).output().unwrap();
        let tries = std::fs::read_to_string(folder.path().join("tries")).unwrap();
        (tries.replace('\n', ""), ended.status.code().unwrap())
    }

    #[test]
    fn an_api_server_that_is_late_is_asked_again_and_another_reason_ends_it() {
        let late = "net/http: request canceled (Client.Timeout exceeded while awaiting headers)";
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            assert_eq!(tried(shell, 0, late), (".".into(), 0), "{shell:?}");
            assert_eq!(tried(shell, 2, late), ("...".into(), 0), "{shell:?}");
            assert_eq!(tried(shell, 9, late), ("...".into(), 1), "{shell:?}");
            assert_eq!(tried(shell, 9, "a Node with that name exists"), (".".into(), 1), "{shell:?}");
        }
    }

    #[test]
    fn an_old_node_in_the_way_comes_with_what_to_do() {
        let failed = |said: &str| Failure::Change {
            resource: "membership of the cluster".into(),
            status: 1,
            tail: said.into(),
        };
        let remedy = |said: &str| {
            old_node(failed(said), "b").remedy().and_then(|remedy| remedy.in_words().map(str::to_owned))
        };
        let said = "error execution phase kubelet-start: a Node with name \"b\" and status \"Ready\" already exists in the cluster. \
                    You must delete the existing Node or change the name of this new joining Node";
        assert!(remedy(said).unwrap().ends_with("or delete it: muster kubectl delete node b"));
        assert_eq!(remedy("could not reach the API"), None);
    }

    #[test]
    fn an_invitation_is_a_token_and_a_certificate() {
        let certificate = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
        let invitation = parse_invitation(&format!("W1122 a warning.\nab.cd\n{certificate}"), "a").unwrap();
        assert_eq!((invitation.token.as_str(), invitation.ca.as_str()), ("ab.cd", certificate));
        let listed = format!("a True\nb False\nc Unknown\nab.cd\n{certificate}");
        assert_eq!(parse_invitation(&listed, "a").unwrap().ready, ["a"]);
        assert!(parse_invitation("could not reach the API", "a").is_none());
        assert!(parse_invitation(certificate, "a").is_none());
    }
}
