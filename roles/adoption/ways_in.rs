//! By which names and addresses somebody may know the API of a living cluster: those that kubeadm was told, and those that certificates
//! of API servers have, which somebody may have made with more.

use std::net::IpAddr;

use ipnet::IpNet;
use muster_engine::prelude::Problem;
use serde_json::Value;

use super::living::refused;
use crate::cluster::Standing;

/// Those that certificates would not have any more, and certificates that would be others. `config`: kubeadm's configuration as it is;
/// `wanted`: as it would be.
pub(super) fn problems(
    known: &Standing,
    config: &Value,
    wanted: &Value,
    supplementary: &[String],
) -> Vec<Problem> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let planes: Vec<_> =
        known.planes.iter().filter_map(|plane| Some((plane, known.identity(plane)?))).collect();
    let mut will = texts(&wanted["apiServer"]["certSANs"]);
    will.extend(planes.iter().filter_map(|(_, seen)| seen.node.clone()));
    let endpoint = config["controlPlaneEndpoint"].as_str().unwrap_or_default();
    let endpoint = endpoint.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']).to_owned());
    let mut names = texts(&config["apiServer"]["certSANs"]);
    names.extend(endpoint.clone());
    names.extend(planes.iter().flat_map(|(_, seen)| seen.serves_as.clone()));
    let services: Option<IpNet> =
        config["networking"]["serviceSubnet"].as_str().and_then(|net| net.parse().ok());
    names.retain(|name| {
        !name.is_empty() && !is_of_pods(name, services) && !will.iter().any(|will| is_same(will, name))
    });
    names.sort_unstable();
    names.dedup();
    let (led, others): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| endpoint.as_ref() == Some(name));
    let mut problems: Vec<Problem> = led.iter().map(|name| endpoint_would_be_lost(name)).collect();
    problems.extend((!others.is_empty()).then(|| would_be_lost(&others, supplementary)));
    problems.extend(planes.iter().filter_map(|(plane, seen)| {
        let issuer = seen.serves_by.as_ref()?;
        Some(refused(
            "certificates",
            format!("the API server of {plane} shows a certificate that {issuer} has signed"),
            "a certificate of the cluster's own authority, as kubeadm makes it: it would be replaced by one",
            format!(
                "on {plane}: move apiserver.crt and apiserver.key out of kube_cert_dir, let kubeadm make them anew (kubeadm init phase \
                 certs apiserver), and give the others to the API server beside its own: kube_kubeadm_apiserver_extra_args: \
                 {{tls-sni-cert-key: \"CERTIFICATE,KEY\"}}"
            ),
        ))
    }));
    problems
}

/// Whether pods know the API by a name: kubeadm gives these by itself.
fn is_of_pods(name: &str, services: Option<IpNet>) -> bool {
    let address = name.parse::<IpAddr>().ok();
    name == "kubernetes"
        || name.starts_with("kubernetes.default")
        || address.is_some_and(|address| services.is_some_and(|net| net.contains(&address)))
}

/// Whether two texts are the same name or address: IPv6 has several ways to write one.
fn is_same(one: &str, other: &str) -> bool {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    one.eq_ignore_ascii_case(other) || address(one).is_some_and(|one| address(other) == Some(one))
}

fn endpoint_would_be_lost(name: &str) -> Problem {
    refused(
        "loadbalancer_apiserver",
        format!(
            "the API is known as {name} to the cluster's machines, and certificates would not have that name"
        ),
        NEEDED,
        format!(
            "if it is a load balancer: set loadbalancer_apiserver, or apiserver_loadbalancer_domain_name: {name}; else add it to \
             supplementary_addresses_in_ssl_keys"
        ),
    )
}

/// All of them in one line, with those that the variable has already.
fn would_be_lost(names: &[String], supplementary: &[String]) -> Problem {
    let all: Vec<String> = supplementary.iter().chain(names).map(|name| format!("{name:?}")).collect();
    refused(
        "supplementary_addresses_in_ssl_keys",
        format!("the API is known as {}, and certificates would not have these names", names.join(", ")),
        NEEDED,
        format!("set supplementary_addresses_in_ssl_keys: [{}]", all.join(", ")),
    )
}

const NEEDED: &str = "the names and addresses that its certificates have";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::cluster::Identity;

    fn with_certificate(names: &[&str], issuer: Option<&str>) -> Standing {
        let seen = Identity {
            node: Some("node1".into()),
            serves_as: names.iter().map(|name| (*name).to_owned()).collect(),
            serves_by: issuer.map(str::to_owned),
            ..Identity::default()
        };
        Standing {
            planes: vec!["a".into()],
            machines: [("a".to_owned(), Ok(Arc::new(seen)))].into(),
            ..Standing::default()
        }
    }

    #[test]
    fn names_of_the_api_that_would_be_lost_are_told_with_the_variable() {
        let known = Standing::default();
        let told = |endpoint: &str, name: &str| {
            let config = json!({ "controlPlaneEndpoint": endpoint, "apiServer": { "certSANs": [name] } });
            let found = problems(&known, &config, &json!({}), &[]);
            found.into_iter().map(|problem| problem.check).collect::<Vec<_>>()
        };
        assert_eq!(told("10.0.0.11:6443", "10.0.0.11"), ["loadbalancer_apiserver"]);
        // The beginning of the one is no name of the other.
        assert_eq!(
            told("10.0.0.11:6443", "10.0.0.1"),
            ["loadbalancer_apiserver", "supplementary_addresses_in_ssl_keys"]
        );
        assert_eq!(told("[2001:db8::1]:6443", "2001:db8::1"), ["loadbalancer_apiserver"]);
    }

    #[test]
    fn all_names_stand_in_one_line_with_those_of_the_variable() {
        let known = with_certificate(&["node1", "::1", "lb-apiserver.kubernetes.local"], None);
        let found = problems(&known, &json!({}), &json!({}), &["api.example.org".to_owned()]);
        let remedies: Vec<_> = found.iter().map(|problem| problem.remedy.as_str()).collect();
        let line = r#"set supplementary_addresses_in_ssl_keys: ["api.example.org", "::1", "lb-apiserver.kubernetes.local"]"#;
        assert_eq!(remedies, [line]);
    }

    #[test]
    fn names_that_only_a_certificate_has_are_told_too() {
        let config = json!({ "networking": { "serviceSubnet": "10.96.0.0/12" }, "apiServer": {} });
        let wanted =
            json!({ "apiServer": { "certSANs": ["localhost", "127.0.0.1", "192.0.2.4", "2001:db8:0::4"] } });
        let usual = [
            "kubernetes",
            "kubernetes.default.svc.cluster.local",
            "node1",
            "10.96.0.1",
            "192.0.2.4",
            "2001:db8::4",
            "localhost",
        ];
        let told = |names: &[&str]| problems(&with_certificate(names, None), &config, &wanted, &[]);
        assert_eq!(told(&usual), []);
        let lost = told(&[&usual[..], &["api.example.org"]].concat());
        assert!(
            lost.len() == 1
                && lost[0].remedy == "set supplementary_addresses_in_ssl_keys: [\"api.example.org\"]",
            "{lost:?}"
        );
    }

    #[test]
    fn a_certificate_of_another_authority_is_told() {
        let known = with_certificate(&[], Some("CN=corporate"));
        let told = problems(&known, &json!({}), &json!({}), &[]);
        assert!(told.len() == 1 && told[0].found.contains("CN=corporate has signed"), "{told:?}");
    }
}
