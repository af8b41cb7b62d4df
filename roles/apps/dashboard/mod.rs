//! A dashboard in the browser. Its certificate is made here, once, and is no object of the set: each plan would have another one.

mod login;

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::{BoxFuture, FutureExt};
use muster_artifacts::Sha256;
use muster_engine::event::Change;
use muster_engine::prelude::*;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData, SanType,
};
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
    secret: Some(certificate),
    ..App::of(NAME, |of| of_template(of, NAME, include_str!("objects.yaml.j2")))
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

/// A certificate and its key, each in base64 of PEM.
#[derive(Default, PartialEq, Eq)]
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    /// The public half of the key, in DER.
    fn public_key(&self) -> Option<Vec<u8>> {
        let pem = String::from_utf8(STANDARD.decode(&self.key).ok()?).ok()?;
        Some(KeyPair::from_pem(&pem).ok()?.subject_public_key_info())
    }

    /// By what pods say which certificate they have read.
    fn digest(&self) -> String {
        Sha256::of(self.certificate.as_bytes()).to_string()
    }
}

/// What was found of the certificate: `pods DIGEST` for the deployment, then the certificate and its key.
#[derive(Default)]
struct Found {
    pair: Pair,
    /// Which certificate the deployment's pods are made for; `None` where there is no deployment.
    pods: Option<String>,
}

impl Found {
    fn of(printed: &str) -> Self {
        let value = |key: &str| printed.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let text = |key: &str| value(key).unwrap_or_default().to_owned();
        Self {
            pair: Pair { certificate: text("tls.crt "), key: text("tls.key ") },
            pods: value("pods ").map(str::to_owned),
        }
    }
}

/// What is to be done.
struct Due {
    what: String,
    /// The certificate that there is to be, where it is another one.
    new: Option<Pair>,
    /// The digest of the one that the deployment's pods are to read, where there is a deployment.
    pods: Option<String>,
}

/// The Secret with the certificate of the service and its key. The pods read it when they start: so their template says which one they
/// are made for, and those that have read another one are replaced, whenever that was made.
struct Certificate {
    namespace: String,
    /// Names and addresses that it is good for.
    names: BTreeSet<String>,
}

impl Certificate {
    /// A new certificate and its key, each as a Secret holds it.
    fn new_pair(&self) -> Result<Pair, rcgen::Error> {
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
        Ok(Pair { certificate: STANDARD.encode(certificate), key: STANDARD.encode(key.serialize_pem()) })
    }

    /// The Secret with these.
    fn secret(&self, pair: &Pair) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": { "name": "certificate", "namespace": self.namespace, "labels": { SET: NAME } },
            "data": { "tls.crt": pair.certificate, "tls.key": pair.key },
        })
        .to_string()
    }

    /// What is to be done where this was found, if anything.
    fn due(&self, Found { pair, pods }: Found) -> Result<Option<Due>, rcgen::Error> {
        let flaw = if pair == Pair::default() { Some("") } else { self.flaw(&pair) };
        let new = flaw.map(|_| self.new_pair()).transpose()?;
        let digest = new.as_ref().unwrap_or(&pair).digest();
        let what = match flaw {
            Some("") => "made".to_owned(),
            Some(flaw) => format!("made anew: {flaw}"),
            None if pods.as_ref().is_none_or(|read| *read == digest) => return Ok(None),
            None => "pods get the one that is there".to_owned(),
        };
        Ok(Some(Due { what, new, pods: pods.map(|_| digest) }))
    }

    /// Why a certificate that was found is not good any more.
    fn flaw(&self, found: &Pair) -> Option<&'static str> {
        let pem = STANDARD.decode(&found.certificate).ok();
        let pem = pem.and_then(|pem| Some(x509_parser::pem::parse_x509_pem(&pem).ok()?.1));
        let Some(pem) = pem else { return Some("it cannot be read") };
        let Ok((_, certificate)) = X509Certificate::from_der(&pem.contents) else {
            return Some("it cannot be read");
        };
        if found.public_key().is_none_or(|key| key != certificate.public_key().raw) {
            return Some("its key is not the one beside it");
        }
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
            r#"kubectl get deployment dashboard --namespace "$1" --ignore-not-found \
  -o 'jsonpath=pods {.spec.template.metadata.annotations.muster\.io/certificate}{"\n"}' &&
  kubectl get secret certificate --namespace "$1" --ignore-not-found \
    -o 'jsonpath=tls.crt {.data.tls\.crt}{"\n"}tls.key {.data.tls\.key}{"\n"}'"#,
            [&self.namespace]
        ))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        if answer.status != 0 {
            return Err(format!("kubectl cannot look at it: {}", answer.output.trim_end()));
        }
        let due =
            self.due(Found::of(&answer.output)).map_err(|error| format!("it cannot be made: {error}"))?;
        let Some(Due { what, new, pods }) = due else { return Ok(Plan::nothing()) };
        let script = kubectl!(
            r#"
[ -z "$1" ] || printf '%s' "$1" | kubectl apply --server-side --force-conflicts --field-manager=muster -f -
[ -z "$3" ] || kubectl --namespace "$2" patch deployment dashboard --field-manager=muster-certificate --type=merge --patch \
  "{\"spec\": {\"template\": {\"metadata\": {\"annotations\": {\"muster.io/certificate\": \"$3\"}}}}}"
"#,
            [
                new.map(|pair| self.secret(&pair)).unwrap_or_default(),
                self.namespace.clone(),
                pods.unwrap_or_default()
            ]
        );
        let change = Change { resource: self.label(), what, diff: None, momentary: false };
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
        let made = two.new_pair().unwrap();
        assert_eq!(two.flaw(&made), None);
        assert_eq!(certificate(&["192.0.2.4"]).flaw(&made), None);
        assert_eq!(certificate(&["localhost", "192.0.2.5"]).flaw(&made), Some("there are other nodes"));
        let other = two.new_pair().unwrap();
        assert!(made.key != other.key, "another key each time");
        let mixed = |key: &str| Pair { certificate: made.certificate.clone(), key: key.to_owned() };
        for key in [&other.key, "", "bm90aGluZw=="] {
            assert_eq!(two.flaw(&mixed(key)), Some("its key is not the one beside it"));
        }
        let unreadable = Pair { certificate: "bm90aGluZw==".into(), key: made.key };
        assert_eq!(two.flaw(&unreadable), Some("it cannot be read"));
    }

    #[test]
    fn pods_that_have_read_another_certificate_are_replaced_whenever_it_was_made() {
        let own = certificate(&["localhost"]);
        let pair = own.new_pair().unwrap();
        let due = |printed: &str| own.due(Found::of(printed)).unwrap();
        let found = |pods: &str| format!("{pods}tls.crt {}\ntls.key {}\n", pair.certificate, pair.key);
        let current = format!("pods {}\n", pair.digest());
        assert!(due(&found(&current)).is_none());
        assert!(due(&found("")).is_none(), "there is no deployment");
        // A run was cut off before its pods began anew, or an earlier muster has made it.
        for pods in ["pods 0123\n", "pods \n"] {
            let due = due(&found(pods)).unwrap();
            assert!(due.new.is_none() && due.pods == Some(pair.digest()), "{pods}: {}", due.what);
        }
        let first = due(&current).unwrap();
        assert!(first.what == "made" && first.pods == Some(first.new.unwrap().digest()));
        assert!(due("").unwrap().pods.is_none());
    }
}
