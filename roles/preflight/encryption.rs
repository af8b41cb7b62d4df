//! What variables say about the encryption of secrets in etcd, before any machine is asked.

use muster_engine::prelude::Problem;
use muster_inventory::HostVars;

use super::settings::Setting;

/// What is wrong with them; nothing where nothing is to be encrypted.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let value = |name| vars.get(name).ok().flatten();
    if !value("kube_encrypt_secret_data").and_then(|value| value.as_bool()).unwrap_or(false) {
        return Vec::new();
    }
    [token(vars), resources(vars), own_file(vars)].into_iter().flatten().collect()
}

/// AES and XSalsa20 have keys of 32 bytes (Kubernetes' documentation: "Encrypting Confidential Data at Rest"). The token is not
/// shown: it is nearly one.
fn token(vars: &HostVars) -> Option<Problem> {
    let mut token = Setting::of(vars, "kube_encrypt_token")?;
    let length = token.text.len();
    token.text = format!("a text of {length} bytes");
    (length != 32).then(|| {
        token.wrong(
            "32 bytes",
            "make one: head -c 24 /dev/urandom | base64; keep it: muster reads files of ansible-vault",
        )
    })
}

/// Kinds as the API server knows them, each by its name: what is encrypted has to be written anew, kind by kind.
fn resources(vars: &HostVars) -> Option<Problem> {
    let list = vars.get("kube_encryption_resources").ok()??;
    let is_kind = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-'))
    };
    let is_wrong = list.as_list()?.iter().any(|kind| !kind.as_str().is_some_and(is_kind));
    is_wrong.then(|| {
        Setting::of(vars, "kube_encryption_resources").map(|setting| {
            setting.wrong(
                "kinds of objects in the plural, with their group where they have one: secrets, configmaps, widgets.example.org",
                "name each kind",
            )
        })
    })?
}

/// The API server reads one file.
fn own_file(vars: &HostVars) -> Option<Problem> {
    let arguments = vars.get("kube_kubeadm_apiserver_extra_args").ok()??;
    let given = arguments.as_map()?.iter().any(|(name, _)| name.contains("encryption-provider-config"));
    given.then(|| {
        Setting::of(vars, "kube_encrypt_secret_data").map(|setting| {
            setting.wrong(
                "false, because kube_kubeadm_apiserver_extra_args names a file of your own (encryption-provider-config)",
                "take one of the two out",
            )
        })
    })?
}
