//! What variables say about whom the API server knows, what they may, and what it takes from them: with a wrong value it does not
//! start.

use base64::prelude::{BASE64_STANDARD, Engine};
use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Value};

use super::findings::{Findings, problem};
use super::settings::{Setting, integer, place, text_of};
use crate::common::nearest;
use crate::kubeadm::patches;

/// The admission plugins of the catalogue's versions of Kubernetes (`kube-apiserver --help`).
const PLUGINS: [&str; 41] = [
    "AlwaysAdmit",
    "AlwaysDeny",
    "AlwaysPullImages",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "ClusterTrustBundleAttest",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "DefaultTolerationSeconds",
    "DenyServiceExternalIPs",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "ImagePolicyWebhook",
    "JobValidation",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "NamespaceAutoProvision",
    "NamespaceExists",
    "NamespaceLifecycle",
    "NodeDeclaredFeatureValidator",
    "NodeRestriction",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "PodGroupProtection",
    "PodGroupWorkloadExists",
    "PodNodeSelector",
    "PodResizeValidator",
    "PodSecurity",
    "PodTolerationRestriction",
    "PodTopologyLabels",
    "Priority",
    "ResourceQuota",
    "RuntimeClass",
    "ServiceAccount",
    "StorageObjectInUseProtection",
    "TaintNodesByCondition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];

/// Everything about it that can be said without a machine.
pub(super) fn check(vars: &HostVars, findings: &mut Findings) {
    for list in ["kube_apiserver_enable_admission_plugins", "kube_apiserver_disable_admission_plugins"] {
        findings.object(unknown_plugins(vars, list));
    }
    findings.refuse(plugins(vars));
    findings.warn(images_are_pulled(vars));
    findings.refuse(event_limits(vars));
    findings.refuse(urls(vars));
    findings.refuse(base64(vars));
    findings.refuse(issuer(vars));
    findings.refuse(modes(vars));
    findings.refuse(authorizers(vars));
    findings.refuse(own_patches(vars));
}

fn is_on(vars: &HostVars, name: &str) -> bool {
    vars.get(name).ok().flatten().and_then(|value| value.as_bool()).unwrap_or(false)
}

/// The texts of a list.
fn texts(vars: &HostVars, name: &str) -> Vec<String> {
    let value = vars.get(name).ok().flatten();
    value.as_ref().and_then(Value::as_list).unwrap_or_default().iter().map(text_of).collect()
}

fn enables(vars: &HostVars, plugin: &str) -> bool {
    texts(vars, "kube_apiserver_enable_admission_plugins").iter().any(|name| name == plugin)
}

fn found(vars: &HostVars, name: &'static str, what: impl std::fmt::Display) -> String {
    format!("{what}{}", place(vars, name))
}

fn unknown_plugins(vars: &HostVars, list: &'static str) -> Vec<Problem> {
    let unknown = texts(vars, list).into_iter().filter(|name| !PLUGINS.contains(&name.as_str()));
    unknown
        .map(|name| {
            let remedy = match nearest(&name, &PLUGINS) {
                Some(meant) => format!("if you mean {meant}, write that; else take {name} out of {list}"),
                None => format!("take {name} out of {list}"),
            };
            problem(list, found(vars, list, name), "an admission plugin that Kubernetes has", remedy)
        })
        .collect()
}

/// Plugins that cannot go without what says how they are to work, and those that both are to be on and off.
fn plugins(vars: &HostVars) -> Vec<Problem> {
    const ENABLED: &str = "kube_apiserver_enable_admission_plugins";
    let limits = vars.get("kube_apiserver_admission_event_rate_limits").ok().flatten();
    let has_limits = limits.as_ref().and_then(Value::as_map).is_some_and(|limits| !limits.is_empty());
    let own = vars.get("kube_kubeadm_apiserver_extra_args").ok().flatten();
    let has_own_file = own.as_ref().and_then(Value::as_map).is_some_and(|arguments| {
        arguments.iter().any(|(name, _)| name.trim_start_matches('-') == "admission-control-config-file")
    });
    let mut problems = Vec::new();
    if enables(vars, "EventRateLimit") && !has_limits && !has_own_file {
        problems.push(problem(
            ENABLED,
            found(vars, ENABLED, "EventRateLimit, and no limits"),
            "limits: without any the API server does not start",
            "set kube_apiserver_admission_event_rate_limits: {calm: {type: Namespace, qps: 50, burst: 100}}",
        ));
    }
    if enables(vars, "ImagePolicyWebhook") && !has_own_file {
        problems.push(problem(
            ENABLED,
            found(vars, ENABLED, "ImagePolicyWebhook"),
            "a configuration of the plugin, for which there is no variable: without one the API server does not start",
            "take it out; or give the API server a configuration of your own: kube_kubeadm_apiserver_extra_args: \
             {admission-control-config-file: PATH}, and apiserver_extra_volumes",
        ));
    }
    let off = texts(vars, "kube_apiserver_disable_admission_plugins");
    if is_on(vars, "kube_pod_security_use_default") && off.iter().any(|name| name == "PodSecurity") {
        problems.push(problem(
            "kube_pod_security_use_default",
            found(vars, "kube_pod_security_use_default", "true, and PodSecurity is switched off"),
            "the plugin PodSecurity, which refuses pods",
            "take PodSecurity out of kube_apiserver_disable_admission_plugins",
        ));
    }
    problems
}

fn images_are_pulled(vars: &HostVars) -> Option<Problem> {
    enables(vars, "AlwaysPullImages").then(|| {
        problem(
            "kube_apiserver_enable_admission_plugins",
            found(vars, "kube_apiserver_enable_admission_plugins", "AlwaysPullImages"),
            "registries with all images that every machine reaches",
            "see that they are reached before a pod starts anew, also those of Kubernetes itself: what the bundle has brought to a \
             machine is pulled again each time",
        )
    })
}

/// Kubernetes' documentation: "Admission Control in Kubernetes", EventRateLimit.
fn event_limits(vars: &HostVars) -> Vec<Problem> {
    const NAME: &str = "kube_apiserver_admission_event_rate_limits";
    const TYPES: [&str; 4] = ["Server", "Namespace", "User", "SourceAndObject"];
    let all = vars.get(NAME).ok().flatten();
    let all = all.as_ref().and_then(Value::as_map).into_iter().flatten();
    let is_right = |limit: &Value| {
        let Some(limit) = limit.as_map() else { return false };
        let number = |key: &str, least: i64| {
            limit.get(key).and_then(integer).is_some_and(|n| (least..=i64::from(u32::MAX)).contains(&n))
        };
        limit.get("type").is_some_and(|kind| TYPES.contains(&text_of(kind).as_str()))
            && number("qps", 1)
            && number("burst", 1)
            && (limit.get("cache_size").is_none() || number("cache_size", 0))
            && limit.iter().all(|(key, _)| ["type", "qps", "burst", "cache_size"].contains(&key.as_str()))
    };
    all.filter(|(_, limit)| !is_right(limit))
        .map(|(name, limit)| {
            let kind = limit.as_map().and_then(|limit| limit.get("type")).map(text_of);
            let kind = kind.and_then(|kind| nearest(&kind, &TYPES)).unwrap_or("Namespace");
            problem(
                NAME,
                found(vars, NAME, format!("{name}: {}", limit.to_json())),
                format!(
                    "a type ({}), and whole numbers qps, burst and, if you like, cache_size",
                    TYPES.join(", ")
                ),
                format!("write it as {name}: {{type: {kind}, qps: 50, burst: 100, cache_size: 2000}}"),
            )
        })
        .collect()
}

/// Whoever is to be asked has an address.
fn urls(vars: &HostVars) -> Vec<Problem> {
    const ASKED: [(&str, &str); 3] = [
        ("kubernetes_audit_webhook", "audit_webhook_server_url"),
        ("kube_webhook_token_auth", "kube_webhook_token_auth_url"),
        ("kube_webhook_authorization", "kube_webhook_authorization_url"),
    ];
    let asked = ASKED.into_iter().filter(|(switch, _)| is_on(vars, switch));
    let wrong = asked.filter_map(|(switch, url)| {
        let needed = "a URL that begins with https:// (or http://)";
        match Setting::of(vars, url) {
            None => Some(problem(
                switch,
                found(vars, switch, "true, and no URL"),
                needed,
                format!("set {url}: https://..., or {switch}: false"),
            )),
            Some(setting) => {
                let is_url = |text: &str| {
                    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
                    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
                };
                (!is_url(&setting.text)).then(|| setting.wrong(needed, format!("correct {url}")))
            }
        }
    });
    wrong.collect()
}

/// Certificates that are written in base64. They are not shown.
fn base64(vars: &HostVars) -> Vec<Problem> {
    let tell = |name: &'static str| {
        let setting = Setting::of(vars, name)?;
        let joined: String = setting.text.split_whitespace().collect();
        let is_certificate = BASE64_STANDARD
            .decode(joined)
            .is_ok_and(|bytes| bytes.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----"));
        (!is_certificate).then(|| {
            problem(
                name,
                found(vars, name, "a text that is no certificate in base64"),
                "a certificate (PEM) in base64",
                format!("set {name} to what base64 -w0 FILE.crt prints"),
            )
        })
    };
    ["kube_oidc_ca_cert", "kube_webhook_token_auth_ca_data"].into_iter().filter_map(tell).collect()
}

/// An issuer that arguments name has its authority in a file; the configuration that is needed where nobody is answered without a
/// name has its text.
fn issuer(vars: &HostVars) -> Option<Problem> {
    let is_structured = !is_on(vars, "kube_api_anonymous_auth")
        && !is_on(vars, "kube_apiserver_use_authentication_config_file");
    let file = Setting::of(vars, "kube_oidc_ca_file")
        .filter(|_| is_on(vars, "kube_oidc_auth") && is_structured)
        .filter(|_| Setting::of(vars, "kube_oidc_ca_cert").is_none())?;
    Some(file.wrong(
        "the certificate itself: with kube_api_anonymous_auth: false the API server takes no file",
        "set kube_oidc_ca_cert to what base64 -w0 FILE prints, and remove kube_oidc_ca_file",
    ))
}

/// Kubernetes' documentation: "Authorization", modes.
fn modes(vars: &HostVars) -> Vec<Problem> {
    const NAME: &str = "authorization_modes";
    const MODES: [&str; 6] = ["Node", "RBAC", "Webhook", "ABAC", "AlwaysAllow", "AlwaysDeny"];
    if is_on(vars, "kube_apiserver_use_authorization_config_file") {
        return Vec::new();
    }
    let Some(setting) = Setting::of(vars, NAME) else { return Vec::new() };
    let modes = texts(vars, NAME);
    let has = |mode: &str| modes.iter().any(|name| name == mode);
    let mut problems = Vec::new();
    if let Some(unknown) = modes.iter().find(|mode| !MODES.contains(&mode.as_str())) {
        problems.push(problem(
            NAME,
            found(vars, NAME, unknown),
            format!("modes: {}", MODES.join(", ")),
            match nearest(unknown, &MODES) {
                Some(meant) => format!("write {meant}"),
                None => format!("take {unknown} out of {NAME}"),
            },
        ));
    }
    if !has("Node") || !has("RBAC") {
        problems.push(setting.wrong(
            "Node and RBAC among them: kubelets and the parts of the cluster may nothing without",
            "set authorization_modes: [Node, RBAC]",
        ));
    }
    if has("Webhook") != is_on(vars, "kube_webhook_authorization") {
        problems.push(setting.wrong(
            "Webhook where kube_webhook_authorization is true, and nowhere else",
            "set both or none of them",
        ));
    }
    problems
}

fn authorizers(vars: &HostVars) -> Option<Problem> {
    const NAME: &str = "kube_apiserver_authorization_config_authorizers";
    let setting =
        Setting::of(vars, NAME).filter(|_| is_on(vars, "kube_apiserver_use_authorization_config_file"))?;
    let value = vars.get(NAME).ok()??;
    let field = |one: &Value, key: &str| one.as_map().and_then(|map| map.get(key)).map(text_of);
    let all = value.as_list().unwrap_or_default();
    let has = |kind: &str| all.iter().any(|one| field(one, "type").as_deref() == Some(kind));
    let named = all.iter().all(|one| field(one, "name").is_some());
    (!has("Node") || !has("RBAC") || !named).then(|| {
        setting.wrong(
            "a list of authorizers, each with a type and a name, Node and RBAC among them: kubelets and the parts of the cluster may \
             nothing without",
            "begin it with [{type: Node, name: node}, {type: RBAC, name: rbac}]",
        )
    })
}

/// kubeadm ignores what it does not know, and refuses what it cannot read in the middle of a run.
fn own_patches(vars: &HostVars) -> Option<Problem> {
    const NAME: &str = "kubeadm_patches";
    let setting = Setting::of(vars, NAME)?;
    let value = vars.get(NAME).ok()??;
    let needed = format!(
        "a list of patches, each with a target ({}), a type ({}) where it is not strategic, and the patch: a mapping, of type json a \
         list",
        patches::TARGETS.join(", "),
        patches::TYPES.join(", ")
    );
    let remedy =
        "write it as [{target: kube-apiserver, type: strategic, patch: {metadata: {labels: {a: b}}}}]";
    // Samples of former kubesprays: a switch, and a folder on this computer.
    if let Some(map) = value.as_map() {
        let is_off =
            map.get("enabled").is_some_and(|enabled| enabled.as_bool() == Some(false)) || map.is_empty();
        return (!is_off).then(|| setting.wrong(needed, remedy));
    }
    let is_right = |one: &Value| {
        let Some(map) = one.as_map() else { return false };
        let kind = map.get("type").map_or(patches::TYPES[0].to_owned(), text_of);
        let fits =
            |patch: &Value| if kind == "json" { patch.as_list().is_some() } else { patch.as_map().is_some() };
        map.get("target").is_some_and(|target| patches::TARGETS.contains(&text_of(target).as_str()))
            && patches::TYPES.contains(&kind.as_str())
            && map.get("patch").is_some_and(fits)
    };
    match value.as_list() {
        None => Some(setting.wrong(needed, remedy)),
        Some(list) => {
            let wrong = list.iter().find(|one| !is_right(one))?;
            Some(problem(NAME, found(vars, NAME, wrong.to_json()), needed, remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{each_is_refused, told, variables};
    use super::*;

    /// What is refused or objected to, as `check: found`; and of what is warned.
    fn checked(yaml: &str) -> (Vec<String>, Vec<String>) {
        let mut findings = Findings::new(false);
        check(&variables(&format!("skydns_server: 10.233.0.3\n{yaml}")), &mut findings);
        (findings.problems.iter().map(told).collect(), findings.warnings.iter().map(told).collect())
    }

    #[test]
    #[rustfmt::skip]
    fn what_would_keep_the_api_server_from_starting_is_refused() {
        let rows = [
            ("", ""),
            ("kube_apiserver_enable_admission_plugins: [PodSecurityPolicy]", "kube_apiserver_enable_admission_plugins: PodSecurityPolicy"),
            ("kube_apiserver_disable_admission_plugins: [podsecurity]", "kube_apiserver_disable_admission_plugins: podsecurity"),
            ("kube_apiserver_enable_admission_plugins: [EventRateLimit]", "kube_apiserver_enable_admission_plugins: EventRateLimit, and no limits"),
            ("kube_apiserver_enable_admission_plugins: [EventRateLimit]\nkube_apiserver_admission_event_rate_limits: {a: {type: User, qps: 1, burst: 2}}", ""),
            ("kube_apiserver_admission_event_rate_limits: {a: {type: user, qps: 1, burst: 2}}", "kube_apiserver_admission_event_rate_limits: a: {"),
            ("kube_apiserver_admission_event_rate_limits: {a: {type: User, qps: 0, burst: 2}}", "kube_apiserver_admission_event_rate_limits: a: {"),
            ("kube_apiserver_admission_event_rate_limits: {a: {type: User, qps: 1, burst: 2, size: 3}}", "kube_apiserver_admission_event_rate_limits: a: {"),
            ("kube_apiserver_enable_admission_plugins: [ImagePolicyWebhook]", "kube_apiserver_enable_admission_plugins: ImagePolicyWebhook"),
            ("kube_apiserver_enable_admission_plugins: [ImagePolicyWebhook]\nkube_kubeadm_apiserver_extra_args: {admission-control-config-file: /x}", ""),
            ("kube_pod_security_use_default: true\nkube_apiserver_disable_admission_plugins: [PodSecurity]", "kube_pod_security_use_default: true, and PodSecurity is switched off"),
            ("kubernetes_audit_webhook: true", "kubernetes_audit_webhook: true, and no URL"),
            ("kubernetes_audit_webhook: true\naudit_webhook_server_url: audit.example", "audit_webhook_server_url: audit.example"),
            ("kube_webhook_token_auth: true\nkube_webhook_token_auth_url: https://a.example", ""),
            ("kube_oidc_ca_cert: x", "kube_oidc_ca_cert: a text that is no certificate in base64"),
            ("kube_oidc_auth: true\nkube_oidc_ca_file: /ca\nkube_api_anonymous_auth: false", "kube_oidc_ca_file: /ca"),
            ("kube_oidc_auth: true\nkube_oidc_ca_file: /ca", ""),
            ("authorization_modes: [RBAC, Node]", ""),
            ("authorization_modes: [AlwaysAllow]", "authorization_modes: [\"AlwaysAllow\"]"),
            ("authorization_modes: [Node, RBAC, Rbac]", "authorization_modes: Rbac"),
            ("authorization_modes: [Node, RBAC, Webhook]", "authorization_modes: [\"Node\",\"RBAC\",\"Webhook\"]"),
            ("authorization_modes: [Node, RBAC, Webhook]\nkube_webhook_authorization: true\nkube_webhook_authorization_url: https://a.example", ""),
            ("kube_apiserver_use_authorization_config_file: true\nkube_apiserver_authorization_config_authorizers: [{type: RBAC, name: a}]", "kube_apiserver_authorization_config_authorizers: ["),
            ("kubeadm_patches: {enabled: false, source_dir: /x}", ""),
            ("kubeadm_patches: {enabled: true, source_dir: /x}", "kubeadm_patches: {"),
            ("kubeadm_patches: [{target: etcd, patch: {a: b}}]", "kubeadm_patches: {"),
            ("kubeadm_patches: [{target: kube-apiserver, type: json, patch: {a: b}}]", "kubeadm_patches: {"),
            ("kubeadm_patches: [{target: kubeletconfiguration, type: merge, patch: {maxPods: 9}}]", ""),
        ];
        each_is_refused(&rows, |yaml| checked(yaml).0);
    }

    #[test]
    fn that_every_image_is_pulled_each_time_is_said() {
        let (problems, warnings) = checked("kube_apiserver_enable_admission_plugins: [AlwaysPullImages]");
        assert!(problems.is_empty() && warnings.len() == 1, "{problems:?} {warnings:?}");
    }
}
