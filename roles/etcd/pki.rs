//! etcd's certificates: one authority per cluster, made on the controller, so that machines need no openssl.
//!
//! The authority lives on the machines of group `etcd` (its key readable by root only), not with the controller: any
//! controller can go on. A certificate that is good is kept; one that is not is made anew.

use std::net::IpAddr;
use std::sync::Arc;

use muster_engine::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration as Days, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Vars;
use crate::addresses::all_of;
use crate::adoption;
use crate::certificates::Keys;
use crate::cluster;

/// The folder that the folder of certificates is in, unless it is somewhere else.
pub(crate) const FOLDER: &str = "/etc/ssl/etcd";

/// The name of etcd's authority.
pub(crate) const NAME: &str = "etcd-ca";

/// How long etcd's authority lasts, as kubespray's does. It outlives every certificate that it signs, whatever
/// `etcd_certificate_days` says: a renewal could not outlive it.
pub(crate) const AUTHORITY_LASTS: Days = Days::days(36500);

/// An authority, with its key. Where several certificates are trusted the first one is that of the key.
pub(crate) struct Authority {
    certificate: String,
    key: String,
}

impl Authority {
    pub(crate) fn of(certificate: String, key: String) -> Self {
        Self { certificate, key }
    }

    /// The certificate and the key.
    pub(crate) fn into_parts(self) -> (String, String) {
        (self.certificate, self.key)
    }
}

/// A certificate and its key, in PEM, with the authority's certificate.
pub(crate) struct Identity {
    name: &'static str,
    authority: Arc<Authority>,
    with_authority_key: bool,
    certificate: String,
    /// `None` when the machine has it already: keys that exist are never read from machines.
    key: Option<String>,
}

impl Identity {
    /// The certificates. They are no secrets, but a difference of two of them
    /// tells nobody anything; and one that is still to be made is another one in each plan.
    fn certificates(&self, folder: &str) -> [File; 2] {
        [
            file(format!("{folder}/ca.pem")).secret(&self.authority.certificate).mode(0o644),
            file(format!("{folder}/{}.pem", self.name)).secret(&self.certificate).mode(0o644),
        ]
    }

    /// Puts everything into the folder of etcd's certificates, the keys first: a certificate without its key would be
    /// made anew by the next run.
    pub(crate) async fn install(&self, host: &Host, folder: &str) -> Result<()> {
        let authority_key =
            self.with_authority_key.then(|| file(format!("{folder}/ca-key.pem")).secret(&self.authority.key));
        let key = self.key.as_ref().map(|key| file(format!("{folder}/{}-key.pem", self.name)).secret(key));
        host.step("Install etcd's certificates")
            .ensure(dir(FOLDER).mode(0o700))
            .ensure(dir(folder).mode(0o700))
            .ensure_all(authority_key)
            .ensure_all(key)
            .ensure_all(self.certificates(folder))
            .await?;
        Ok(())
    }
}

/// The certificate of a member: server towards clients and members, client towards members. Made anew when fewer days than `below` are left.
pub(crate) async fn member(host: &Host, vars: &Vars, below: i64) -> Result<Identity> {
    member_of(host, vars, below, of_cluster(host, vars).await?).await
}

async fn member_of(host: &Host, vars: &Vars, below: i64, authority: Arc<Authority>) -> Result<Identity> {
    let more = vars.etcd_cert_alt_names.iter().chain(&vars.etcd_cert_alt_ips).cloned();
    let all = ["127.0.0.1", "localhost"]
        .map(str::to_owned)
        .into_iter()
        .chain(more)
        .chain(all_of(host, host.name())?);
    let (addresses, names): (Vec<_>, Vec<_>) = all.partition(|name| name.parse::<IpAddr>().is_ok());
    let mut identity = identity(host, vars, "member", (&names, &addresses), below, authority).await?;
    identity.with_authority_key = true;
    Ok(identity)
}

/// Renews the certificate of a member, where it has fewer days left than this.
pub(crate) async fn renew_member(host: &Host, below: i64) -> Result<()> {
    let vars: Vars = host.vars()?;
    member(host, &vars, below).await?.install(host, &vars.etcd_cert_dir).await
}

/// The certificate with which API servers reach etcd. It is not this machine's: `kubeadm join` gives a new control plane
/// that of the one it joins through. Its name is kubeadm's. Made anew when fewer days than `below` are left.
pub(crate) async fn client(host: &Host, below: i64) -> Result<(String, Identity)> {
    let vars: Vars = host.vars()?;
    let authority = of_cluster(host, &vars).await?;
    let identity = client_of(host, &vars, below, authority).await?;
    Ok((vars.etcd_cert_dir, identity))
}

async fn client_of(host: &Host, vars: &Vars, below: i64, authority: Arc<Authority>) -> Result<Identity> {
    let names = ["kube-apiserver-etcd-client".to_owned()];
    identity(host, vars, "client", (&names, &[]), below, authority).await
}

/// Certificates of another authority than the cluster has had: those of a member, and of a control plane.
pub(crate) async fn sign_anew(host: &Host, authority: Authority) -> Result<()> {
    let vars: Vars = host.vars()?;
    let authority = Arc::new(authority);
    if host.in_group("etcd") {
        member_of(host, &vars, 0, authority.clone()).await?.install(host, &vars.etcd_cert_dir).await?;
    }
    if host.in_group("kube_control_plane") {
        client_of(host, &vars, 0, authority).await?.install(host, &vars.etcd_cert_dir).await?;
    }
    Ok(())
}

/// The authority of the cluster, found once a run.
async fn of_cluster(host: &Host, vars: &Vars) -> Result<Arc<Authority>> {
    host.cluster().once("etcd's certificate authority", || authority(host, vars)).await
}

async fn identity(
    host: &Host,
    vars: &Vars,
    name: &'static str,
    (names, addresses): (&[String], &[String]),
    below: i64,
    authority: Arc<Authority>,
) -> Result<Identity> {
    let folder = &vars.etcd_cert_dir;
    // The certificate is public; of the key only that it is there matters.
    let found =
        host.query(sh(r#"[ -s "$1/$2-key.pem" ] && cat "$1/$2.pem""#, [folder.as_str(), name])).await?;
    if found.status == 0 && is_good(&found.output, &authority, (names, addresses), below) {
        let certificate = found.output;
        return Ok(Identity { name, authority, with_authority_key: false, certificate, key: None });
    }
    let (certificate, key) =
        sign(&authority, names, addresses, vars.etcd_certificate_days).map_err(internal)?;
    Ok(Identity { name, authority, with_authority_key: false, certificate, key: Some(key) })
}

/// The authority of the cluster: the one that its members have, else a new one where no cluster is.
async fn authority(host: &Host, vars: &Vars) -> Result<Authority> {
    let known = cluster::known(host).await?;
    let authorities = known.etcd_authorities();
    if let Some((member, _)) = authorities.iter().find(|(_, has_key)| *has_key) {
        let member = host.cluster().host(member)?;
        let script = sh(
            r#"cd "$1" 2>/dev/null && [ -s ca-key.pem ] && cat ca.pem && echo = && cat ca-key.pem ||
  { [ -n "$2" ] && cd "$2" && cat ca.crt && echo = && cat ca.key; }"#,
            [vars.etcd_cert_dir.clone(), adoption::authority_of_etcd(host)?.unwrap_or_default()],
        );
        let answer = member.query(script).await?;
        if let (0, Some((certificate, key))) = (answer.status, answer.output.split_once("\n=\n")) {
            return Ok(Authority { certificate: format!("{certificate}\n"), key: key.to_owned() });
        }
    }
    // A new one beside members that trust another would cut them off.
    if known.etcd_begins().map_err(|problem| Failure::Problems(vec![problem]))?.is_none() {
        let members: Vec<&str> = authorities.iter().map(|(name, _)| *name).collect();
        return Err(Failure::new(
            format!("the key of etcd's authority is on no member ({})", members.join(", ")),
            format!(
                "put {0}/ca.pem and {0}/ca-key.pem back on one of them from a backup",
                vars.etcd_cert_dir
            ),
        ));
    }
    new_authority(NAME, AUTHORITY_LASTS, Keys::EcdsaP256).map_err(internal)
}

/// An authority that is trusted by itself, for so long, with such a key.
pub(crate) fn new_authority(name: &str, lasts: Days, keys: Keys) -> Result<Authority, rcgen::Error> {
    let key = keys.generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    validity(&mut params, lasts);
    let certificate = params.self_signed(&key)?.pem();
    Ok(Authority { certificate, key: key.serialize_pem() })
}

fn sign(
    authority: &Authority,
    names: &[String],
    addresses: &[String],
    days: u32,
) -> Result<(String, String), rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    // As those of the authority, which may be another tool's.
    let key = Keys::of_pem(&authority.certificate).unwrap_or_default().generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = common_name(names.last().map_or("etcd", String::as_str));
    params.subject_alt_names.extend(addresses.iter().filter_map(|a| a.parse().ok()).map(SanType::IpAddress));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    validity(&mut params, Days::days(days.into()));
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok((certificate, key.serialize_pem()))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// A day earlier than now, because the clocks of machines differ.
fn validity(params: &mut CertificateParams, lasts: Days) {
    params.not_before = OffsetDateTime::now_utc() - Days::days(1);
    params.not_after = OffsetDateTime::now_utc() + lasts;
}

/// Whether a certificate is of this authority, for these names and addresses, and good for so many days.
fn is_good(pem: &str, authority: &Authority, (names, addresses): (&[String], &[String]), days: i64) -> bool {
    let check = || -> Option<bool> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let (_, ca_pem) = x509_parser::pem::parse_x509_pem(authority.certificate.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
        let (_, ca) = X509Certificate::from_der(&ca_pem.contents).ok()?;
        certificate.verify_signature(Some(ca.public_key())).ok()?;
        let soon = (OffsetDateTime::now_utc() + Days::days(days)).unix_timestamp();
        if certificate.validity().not_after.timestamp() < soon {
            return Some(false);
        }
        let alternatives = certificate.subject_alternative_name().ok()??;
        let has = |wanted: &str| {
            alternatives.value.general_names.iter().any(|name| match name {
                GeneralName::DNSName(name) => *name == wanted,
                GeneralName::IPAddress(bytes) => ip_text(bytes).as_deref() == Some(wanted),
                _ => false,
            })
        };
        Some(names.iter().chain(addresses).all(|wanted| has(wanted)))
    };
    check().unwrap_or(false)
}

fn ip_text(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string())
}

pub(crate) fn internal(error: rcgen::Error) -> Failure {
    Failure::new(
        format!("cannot make a certificate: {error}"),
        "the authority's key on the machines may be damaged",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_kept_only_while_it_is_good() {
        let authority = new_authority(NAME, Days::days(3650), Keys::EcdsaP256).unwrap();
        let (names, addresses) =
            (texts(&["localhost", "node1"]), texts(&["127.0.0.1", "192.0.2.4", "2001:db8::4"]));
        let (certificate, _) = sign(&authority, &names, &addresses, 365).unwrap();
        assert!(is_good(&certificate, &authority, (&names, &addresses), 30));
        assert!(!is_good(&certificate, &authority, (&texts(&["node2"]), &[]), 30), "another name");
        assert!(!is_good(&certificate, &authority, (&names, &texts(&["192.0.2.5"])), 30), "another address");
        let another = new_authority(NAME, Days::days(3650), Keys::EcdsaP256).unwrap();
        assert!(!is_good(&certificate, &another, (&names, &addresses), 30), "another authority");
        let (short, _) = sign(&authority, &names, &addresses, 29).unwrap();
        assert!(!is_good(&short, &authority, (&names, &addresses), 30), "ends within a month");
        assert!(!is_good("garbage", &authority, (&names, &addresses), 30));
    }

    #[test]
    fn certificates_have_keys_of_the_kind_that_their_authority_has() {
        for keys in [Keys::Rsa3072, Keys::EcdsaP256, Keys::EcdsaP384] {
            let authority = new_authority(NAME, Days::days(3650), keys).unwrap();
            let (certificate, _) = sign(&authority, &texts(&["node1"]), &[], 365).unwrap();
            assert_eq!(Keys::of_pem(&certificate), Some(keys));
            assert!(is_good(&certificate, &authority, (&texts(&["node1"]), &[]), 30));
        }
    }
}
