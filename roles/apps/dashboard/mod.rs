//! A dashboard in the browser. Its certificate is made here, once, and is no object of the set: each plan would have another one.

mod login;

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::{BoxFuture, FutureExt};
use muster_engine::event::Change;
use muster_engine::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use serde::Deserialize;
use serde_json::json;
use time::{Duration as Days, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{App, of_template};
use crate::addresses::all_of;
use crate::cluster;
use crate::kubectl::{Kubectl, kubectl};
use crate::objects::SET;

pub use login::{Account, Login, Reached, look};

/// The name of the application, of its service and of its deployment.
const NAME: &str = "dashboard";

/// The application.
pub(crate) const APP: App = App {
    name: NAME,
    definitions: None,
    sets: |of| of_template(of, NAME, include_str!("objects.yaml.j2")),
    secret: Some(certificate),
    on_machines: None,
};

/// For how many days a certificate is good, and with how many left another one is made.
const GOOD_FOR: i64 = 365;
const LEFT: i64 = 30;

#[derive(Deserialize)]
struct Vars {
    dashboard_namespace: String,
    dns_domain: String,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::of::<Vars>(cluster::PLANES)];

/// The service has a certificate for the addresses of all nodes. Nobody but the service itself vouches for it.
fn certificate(host: &Host) -> BoxFuture<'_, Result<()>> {
    async move {
        let Some(kubectl) = Kubectl::find(host).await? else { return Ok(()) };
        let Vars { dashboard_namespace: namespace, dns_domain } = host.vars()?;
        let mut names = BTreeSet::from(["localhost", "127.0.0.1"].map(str::to_owned));
        names.insert(format!("{NAME}.{namespace}.svc.{dns_domain}"));
        for node in host.cluster().group("k8s_cluster") {
            // One that is off and whose address nobody knows is not worth a failure.
            names.extend(all_of(host, &node).unwrap_or_default());
        }
        let step = kubectl.step("Give the dashboard a certificate");
        step.ensure(Certificate { namespace, names }).await.map(drop)
    }
    .boxed()
}

/// The Secret with the certificate of the service and its key.
struct Certificate {
    namespace: String,
    /// Names and addresses that it is good for.
    names: BTreeSet<String>,
}

impl Certificate {
    /// The Secret, with a new key.
    fn new_secret(&self) -> Result<String, rcgen::Error> {
        let key = KeyPair::generate()?;
        let (addresses, names): (Vec<_>, Vec<_>) =
            self.names.iter().cloned().partition(|name| name.parse::<IpAddr>().is_ok());
        let mut params = CertificateParams::new(names)?;
        let addresses = addresses.iter().filter_map(|address| address.parse().ok());
        params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // A day earlier than now, because clocks differ.
        params.not_before = OffsetDateTime::now_utc() - Days::days(1);
        params.not_after = OffsetDateTime::now_utc() + Days::days(GOOD_FOR);
        let certificate = params.self_signed(&key)?.pem();
        let encoded = |text: &str| STANDARD.encode(text);
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": { "name": "certificate", "namespace": self.namespace, "labels": { SET: NAME } },
            "data": { "tls.crt": encoded(&certificate), "tls.key": encoded(&key.serialize_pem()) },
        });
        Ok(secret.to_string())
    }

    /// Why a certificate that was found is not good any more.
    fn flaw(&self, encoded: &str) -> Option<&'static str> {
        let pem = STANDARD.decode(encoded).ok();
        let pem = pem.and_then(|pem| Some(x509_parser::pem::parse_x509_pem(&pem).ok()?.1));
        let Some(pem) = pem else { return Some("it cannot be read") };
        let Ok((_, certificate)) = X509Certificate::from_der(&pem.contents) else {
            return Some("it cannot be read");
        };
        let soon = (OffsetDateTime::now_utc() + Days::days(LEFT)).unix_timestamp();
        if certificate.validity().not_after.timestamp() < soon {
            return Some("it ends soon");
        }
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let alternatives = alternatives.map(|names| names.value.general_names.clone()).unwrap_or_default();
        let has: BTreeSet<String> = alternatives
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                GeneralName::IPAddress(bytes) => match bytes.len() {
                    4 => Some(IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
                    _ => Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
                },
                _ => None,
            })
            .collect();
        // Whoever has left goes on being named: a new certificate is a question to everybody who has trusted this one.
        (!self.names.is_subset(&has)).then_some("there are other nodes")
    }
}

impl Resource for Certificate {
    fn label(&self) -> String {
        "the dashboard's certificate".into()
    }

    fn probe(&self) -> Probe {
        Probe::script(kubectl!(
            r#"kubectl get secret certificate --namespace "$1" --ignore-not-found -o 'jsonpath={.data.tls\.crt}'"#,
            [&self.namespace]
        ))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        if answer.status != 0 {
            return Err(format!("kubectl cannot look at it: {}", answer.output.trim_end()));
        }
        let found = answer.output.trim();
        let (what, restart) = match self.flaw(found) {
            _ if found.is_empty() => ("made".to_owned(), ""),
            None => return Ok(Plan::nothing()),
            Some(flaw) => (format!("made anew: {flaw}"), "yes"),
        };
        let secret = self.new_secret().map_err(|error| format!("it cannot be made: {error}"))?;
        // Its pods read it when they start.
        let script = kubectl!(
            r#"
printf '%s' "$1" | kubectl apply --server-side --force-conflicts --field-manager=muster -f -
[ -z "$2" ] || kubectl --namespace "$3" rollout restart deployment/dashboard
"#,
            [secret.as_str(), restart, &self.namespace]
        );
        let change = Change { resource: self.label(), what, diff: None };
        Ok(Plan { changes: vec![change], script: Some(script), uploads: Vec::new() })
    }

    fn desired(&self) -> String {
        self.label()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Certificate { namespace: "dashboard".into(), names }
    }

    #[test]
    fn a_certificate_stays_while_it_is_good_for_all_nodes() {
        let two = certificate(&["localhost", "192.0.2.4"]);
        let secret: serde_json::Value = serde_json::from_str(&two.new_secret().unwrap()).unwrap();
        let made = secret["data"]["tls.crt"].as_str().unwrap();
        assert_eq!(two.flaw(made), None);
        assert_eq!(certificate(&["192.0.2.4"]).flaw(made), None);
        assert_eq!(certificate(&["localhost", "192.0.2.5"]).flaw(made), Some("there are other nodes"));
        assert_eq!(two.flaw("bm90aGluZw=="), Some("it cannot be read"));
        assert_ne!(two.new_secret().unwrap(), secret.to_string(), "another key each time");
    }
}
