//! A machine joins the cluster.

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::{endpoint, init, kubelet, node_registration};
use crate::common::{ADMIN_CONF, cluster_vars, first_control_plane, ip};

#[derive(Deserialize)]
struct Vars {
    kubeadm_token_minutes: u32,
}

/// What a machine needs to trust the cluster and to be trusted by it. Made once for all that join in a run.
struct Invitation {
    token: String,
    ca_hash: String,
}

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

async fn config(host: &Host, control_plane: bool) -> Result<String> {
    let cluster = cluster_vars(host)?;
    let vars: Vars = host.vars()?;
    let first = first_control_plane(host)?;
    let invitation = host
        .cluster()
        .once("an invitation to join", || async {
            let plane = host.cluster().host(&first)?;
            // A token made in the open is a secret all the same: it goes through a pipe, never into an argument.
            let script = sh(
                r#"kubeadm --kubeconfig "$1" token create --ttl "$2" --print-join-command"#,
                [ADMIN_CONF, &format!("{}m", vars.kubeadm_token_minutes)],
            );
            let command = plane.run("Invite machines", script, Duration::from_secs(60)).await?;
            parse_invitation(&command).ok_or_else(|| {
                Failure::new(
                    "kubeadm token create did not print a token and the hash of the certificate authority",
                    format!("try it on {first}: kubeadm token create --print-join-command"),
                )
            })
        })
        .await?;
    let certificate_key =
        if control_plane { upload_certificates(host, &first).await? } else { String::new() };
    let registration = node_registration(host)?;
    let extra = json!({
        "endpoint": endpoint(host, &cluster)?,
        "token": invitation.token,
        "ca_hash": invitation.ca_hash,
        "control_plane": control_plane,
        "certificate_key": certificate_key,
        "address": ip(host)?,
        "node_registration": registration.trim_end(),
    });
    host.render("join.yaml.j2", include_str!("templates/join.yaml.j2"), &extra)
}

/// The certificates of a control plane wait, encrypted, in the cluster for the next one. Returns the key to them.
async fn upload_certificates(host: &Host, first: &str) -> Result<String> {
    let plane = host.cluster().host(first)?;
    let script =
        sh0("kubeadm init phase upload-certs --upload-certs --config /etc/kubernetes/kubeadm-config.yaml");
    let output = plane.run("Hand on the certificates", script, Duration::from_secs(60)).await?;
    Ok(output.lines().last().unwrap_or_default().trim().to_owned())
}

/// From `kubeadm join HOST:PORT --token TOKEN --discovery-token-ca-cert-hash HASH`.
fn parse_invitation(command: &str) -> Option<Invitation> {
    let words: Vec<_> = command.split_whitespace().collect();
    let after = |flag: &str| Some((*words.get(words.iter().position(|w| *w == flag)? + 1)?).to_owned());
    Some(Invitation { token: after("--token")?, ca_hash: after("--discovery-token-ca-cert-hash")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_read_from_the_join_command() {
        let command = "kubeadm join 192.0.2.4:6443 --token ab.cd --discovery-token-ca-cert-hash sha256:12 \n";
        let invitation = parse_invitation(command).unwrap();
        assert_eq!((invitation.token.as_str(), invitation.ca_hash.as_str()), ("ab.cd", "sha256:12"));
        assert!(parse_invitation("could not reach the API").is_none());
    }
}
