//! A machine joins the cluster.

use std::sync::Arc;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::{endpoint, init, kubelet, node_registration};
use crate::common::{cluster_vars, first_control_plane, ip};
use crate::kubectl::ADMIN_CONF;

#[derive(Deserialize)]
struct Vars {
    kubeadm_token_minutes: u32,
}

/// What a machine needs to trust the cluster and to be trusted by it. Made once for all that join in a run.
struct Invitation {
    token: String,
    /// The certificate of the cluster's authority, as PEM.
    ca: String,
}

/// Where kubeadm finds the cluster that a machine joins: a kubeconfig that names nobody.
///
/// With a token alone (`discovery.bootstrapToken`) kubeadm waits until the controller manager has signed for it, which in a
/// new cluster takes several seconds, and asks only every five. The certificate comes over SSH, which needs no such proof.
const DISCOVERY: &str = "/etc/kubernetes/discovery.conf";

pub(super) async fn run(host: &Host, control_plane: bool) -> Result<()> {
    // The certificate is what the cluster gives to a machine that it took in; everything else is there earlier.
    let joined =
        sh0("[ -e /var/lib/kubelet/pki/kubelet-client-current.pem ] && [ -e /etc/kubernetes/kubelet.conf ]");
    let kubelet = kubelet::wanted(host)?;
    let plane = if control_plane { Some(init::write_config(host).await?) } else { None };
    let (applied, hash) = plane.as_ref().map_or(("", ""), |config| (init::APPLIED, &config.hash));
    if host.query(joined.clone()).await?.status != 0 {
        // Nobody is invited just to look.
        let config = if host.check_mode() { String::new() } else { config(host, control_plane).await? };
        host.step("kubeadm join")
            .detached()
            .ensure(command(
                "membership of the cluster",
                // The configuration holds a token: it comes with the program, and goes when kubeadm is done.
                sh(
                    r#"
umask 077
config=$(mktemp /run/muster-join.XXXXXX)
trap 'rm -f "$config"' EXIT
printf '%s' "$1" >"$config"
systemctl enable -q kubelet
# What an attempt that was cut off has left is in the way of the next one, and holds nothing yet.
rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/kubelet.conf
kubeadm join --config "$config" --ignore-preflight-errors=FileAvailable--etc-kubernetes-ssl-ca.crt,Port-10250,DirAvailable--etc-kubernetes-manifests
mkdir -p "${2%/*}"
echo "$3" >"$2"
[ -z "$4" ] || echo "$5" >"$4""#,
                    [config.as_str(), kubelet::STAMP, &kubelet, applied, hash],
                ),
                joined,
            ))
            .await?;
    }
    if let Some(config) = &plane {
        init::update_joined(host, config).await?;
    }
    kubelet::run(host).await
}

/// What kubeadm is told. It is made for this machine only: it holds a token.
async fn config(host: &Host, control_plane: bool) -> Result<String> {
    let invitation = invitation(host).await?;
    trust(host, &invitation).await?;
    let first = first_control_plane(host)?;
    let certificate_key =
        if control_plane { upload_certificates(host, &first).await? } else { String::new() };
    let registration = node_registration(host)?;
    let extra = json!({
        "discovery": DISCOVERY,
        "token": invitation.token,
        "control_plane": control_plane,
        "certificate_key": certificate_key,
        "address": ip(host)?,
        "node_registration": registration.trim_end(),
    });
    host.render("join.yaml.j2", include_str!("templates/join.yaml.j2"), &extra)
}

async fn invitation(host: &Host) -> Result<Arc<Invitation>> {
    let vars: Vars = host.vars()?;
    let invite = || async {
        let first = first_control_plane(host)?;
        let plane = host.cluster().host(&first)?;
        let ca = ca_file(&plane)?;
        // A token made in the open is a secret all the same: it goes through a pipe, never into an argument.
        let script = sh(
            r#"kubeadm --kubeconfig "$1" token create --ttl "$2" && cat "$3""#,
            [ADMIN_CONF, &format!("{}m", vars.kubeadm_token_minutes), &ca],
        );
        let output = plane.run("Invite machines", script, Duration::from_secs(60)).await?;
        parse_invitation(&output).ok_or_else(|| {
            Failure::new(
                format!("there was no token from kubeadm token create, or no certificate in {ca}"),
                format!("try it on {first}: kubeadm token create && cat {ca}"),
            )
        })
    };
    host.cluster().once("an invitation to join", invite).await
}

/// The machine knows the cluster. An authority that a former cluster has left here would be taken for its own.
async fn trust(host: &Host, invitation: &Invitation) -> Result<()> {
    let cluster = cluster_vars(host)?;
    let extra = json!({ "endpoint": endpoint(host, &cluster)?, "ca": invitation.ca });
    let discovery = host.render("discovery.yaml.j2", include_str!("templates/discovery.yaml.j2"), &extra)?;
    host.step("Trust the cluster")
        .ensure(dir(&cluster.kube_cert_dir))
        .ensure(file(ca_file(host)?).content(invitation.ca.as_str()))
        .ensure(file(DISCOVERY).content(discovery))
        .await
        .map(drop)
}

/// Where kubeadm has the cluster's authority.
fn ca_file(host: &Host) -> Result<String> {
    Ok(format!("{}/ca.crt", cluster_vars(host)?.kube_cert_dir))
}

/// The certificates of a control plane wait, encrypted, in the cluster for the next one. Returns the key to them.
async fn upload_certificates(host: &Host, first: &str) -> Result<String> {
    let plane = host.cluster().host(first)?;
    let script =
        sh0("kubeadm init phase upload-certs --upload-certs --config /etc/kubernetes/kubeadm-config.yaml");
    let output = plane.run("Hand on the certificates", script, Duration::from_secs(60)).await?;
    Ok(output.lines().last().unwrap_or_default().trim().to_owned())
}

/// A token, and the certificate behind it. Warnings may stand in front of the token.
fn parse_invitation(output: &str) -> Option<Invitation> {
    let (before, certificate) = output.split_at(output.find("-----BEGIN CERTIFICATE-----")?);
    let token = before.lines().last()?.trim();
    token
        .contains('.')
        .then(|| Invitation { token: token.to_owned(), ca: format!("{}\n", certificate.trim_end()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_a_token_and_a_certificate() {
        let certificate = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
        let invitation = parse_invitation(&format!("W1122 a warning.\nab.cd\n{certificate}")).unwrap();
        assert_eq!((invitation.token.as_str(), invitation.ca.as_str()), ("ab.cd", certificate));
        assert!(parse_invitation("could not reach the API").is_none());
        assert!(parse_invitation(certificate).is_none());
    }
}
