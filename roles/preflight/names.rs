//! Names that Kubernetes' programs and etcd know: cipher suites and feature gates. A program that is told another one does not start.

use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Value, closest};

use super::findings::problem;
use super::settings::{place, text_of};
use crate::common::nearest;

/// The cipher suites of Go (crypto/tls, `CipherSuites` and `InsecureCipherSuites`), and the two shorter names that Kubernetes
/// (component-base, cli/flag/ciphersuites_flag.go) and etcd (client/pkg/tlsutil/cipher_suites.go) take besides.
const SUITES: [&str; 27] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

/// The feature gates of Kubernetes 1.36 and 1.37 (`featuregate.Feature` in kubernetes, apiserver, client-go and component-base):
/// those of other versions are taken, too, where their names are not nearly one of these.
const GATES: &str = include_str!("feature_gates.txt");

const GATE_VARIABLES: [&str; 6] = [
    "kube_feature_gates",
    "kube_apiserver_feature_gates",
    "kube_controller_feature_gates",
    "kube_scheduler_feature_gates",
    "kube_proxy_feature_gates",
    "kubelet_feature_gates",
];

/// Cipher suites that nobody has, and feature gates that are neither on nor off.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let suites = ["tls_cipher_suites", "etcd_tls_cipher_suites"].into_iter().flat_map(|name| {
        let wrong = entries(vars, name).into_iter().filter(|suite| !SUITES.contains(&suite.as_str()));
        let told = wrong.map(|suite| {
            let remedy = match nearest(&suite, &SUITES) {
                Some(meant) => format!("write {meant}"),
                None => format!("correct {name}, or remove it"),
            };
            let found = format!("{suite}{}", place(vars, name));
            problem(
                name,
                found,
                "Go's names of cipher suites, as TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                remedy,
            )
        });
        told.collect::<Vec<_>>()
    });
    let gates = GATE_VARIABLES.into_iter().flat_map(|name| {
        let wrong = entries(vars, name).into_iter().filter(|gate| !is_gate(gate));
        let told = wrong.map(|gate| {
            let said = gate.split('=').next().unwrap_or_default();
            let found = format!("{gate}{}", place(vars, name));
            problem(name, found, "NAME=true or NAME=false", format!("write {said}=true"))
        });
        told.collect::<Vec<_>>()
    });
    suites.chain(gates).collect()
}

/// Feature gates whose names are nearly that of one that there is.
pub(super) fn unknown_gates(vars: &HostVars) -> Vec<Problem> {
    let tell = |name: &'static str| {
        let told = entries(vars, name).into_iter().filter_map(move |gate| {
            let said = gate.split('=').next().unwrap_or_default();
            let known = || GATES.lines();
            let meant = closest(said, known()).filter(|_| known().all(|gate| gate != said))?;
            let found = format!("{said}{}", place(vars, name));
            let needed = "a feature gate that Kubernetes has: its programs do not start with another one";
            Some(problem(name, found, needed, format!("did you mean {meant}?")))
        });
        told.collect::<Vec<_>>()
    };
    GATE_VARIABLES.into_iter().flat_map(tell).collect()
}

fn is_gate(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, value)| {
        !name.is_empty() && ["true", "false"].contains(&value.to_ascii_lowercase().as_str())
    })
}

fn entries(vars: &HostVars, name: &str) -> Vec<String> {
    let value = vars.get(name).ok().flatten();
    value.as_ref().and_then(Value::as_list).unwrap_or_default().iter().map(text_of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{told, variables};
    use super::*;

    fn found(yaml: &str) -> Vec<String> {
        check(&variables(yaml))
            .iter()
            .map(|problem| format!("{}; {}", told(problem), problem.remedy))
            .collect()
    }

    #[test]
    fn cipher_suites_are_those_that_go_has() {
        assert_eq!(
            found("tls_cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305]"),
            [""; 0]
        );
        assert_eq!(
            found("tls_cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265]"),
            [
                "tls_cipher_suites: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265 (vars.yml:1:20); write TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
            ]
        );
        assert_eq!(
            found("etcd_tls_cipher_suites: [ALL]"),
            ["etcd_tls_cipher_suites: ALL (vars.yml:1:25); correct etcd_tls_cipher_suites, or remove it"]
        );
    }

    #[test]
    fn feature_gates_are_on_or_off() {
        assert_eq!(found("kube_feature_gates: [NodeSwap=true, Other=False]"), [""; 0]);
        assert_eq!(
            found("kubelet_feature_gates: [NodeSwap]"),
            ["kubelet_feature_gates: NodeSwap (vars.yml:1:24); write NodeSwap=true"]
        );
        assert_eq!(found("kube_feature_gates: [NodeSwap=on]").len(), 1);
    }

    #[test]
    fn a_feature_gate_with_nearly_the_name_of_one_is_told_and_one_of_another_version_is_not() {
        let told =
            |yaml: &str| unknown_gates(&variables(yaml)).iter().map(|p| p.remedy.clone()).collect::<Vec<_>>();
        assert_eq!(told("kube_feature_gates: [NodeSwpa=true]"), ["did you mean NodeSwap?"]);
        assert_eq!(
            told("kube_feature_gates: [NodeSwap=true, AllAlpha=true, TTLAfterFinished=true]"),
            [""; 0]
        );
    }
}
