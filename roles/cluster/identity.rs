//! Who a machine is: the cluster that it belongs to, as its own files prove it, and what it was joined with.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use muster_artifacts::Sha256;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::certificate::Certificate;
use super::families;
use crate::certificates::Keys;

/// Looks at a machine; the parameters are named at its top.
pub(crate) const LOOK: &str = include_str!("identity.sh");

/// An authority, by the SHA-256 of its public key, as kubeadm's `discovery-token-ca-cert-hash` has it. A certificate that was
/// renewed with the same key is the same authority. While authorities are rotated a machine trusts two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Authority {
    first: Sha256,
    second: Option<Sha256>,
}

impl Authority {
    /// The authority of a certificate in DER. One that cannot be read is known by all of its bytes.
    fn of(der: &[u8]) -> Self {
        let key =
            X509Certificate::from_der(der).map(|(_, certificate)| Sha256::of(certificate.public_key().raw));
        Self { first: key.unwrap_or_else(|_| Sha256::of(der)), second: None }
    }

    /// The same, where the one of another certificate is trusted, too. What is trusted beside two is passed over.
    fn beside(self, der: &[u8]) -> Self {
        Self { second: self.second.or(Some(Self::of(der).first)), ..self }
    }

    /// Whether it is that of the same cluster: no two clusters trust the same authority.
    pub(crate) fn is_same_as(self, other: Self) -> bool {
        let theirs = [Some(other.first), other.second];
        theirs.contains(&Some(self.first)) || self.second.is_some() && theirs.contains(&self.second)
    }
}

impl fmt::Display for Authority {
    /// As many digits as tell a few clusters apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.to_string()[..8])
    }
}

/// Where a kubeconfig leads, and whom it trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kubeconfig {
    /// `https://HOST:PORT`.
    pub server: String,
    pub authority: Option<Authority>,
}

/// What a machine is in a cluster, or was in one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// What its kubelet was given when it joined.
    pub kubelet: Option<Kubeconfig>,
    /// `HOST:PORT` of the API servers behind its own load balancer.
    pub balanced: Vec<String>,
    /// What its administrator uses; only a control plane has it.
    pub admin: Option<Kubeconfig>,
    /// The authority in the folder of certificates. A machine that left a cluster may have kept it.
    pub ca: Option<Authority>,
    /// Whether the authority's key is there too.
    pub ca_key: bool,
    /// What keys that authority has; while authorities are rotated, those of the one that signs.
    pub ca_keys: Option<Keys>,
    /// The name in the certificate that the cluster gave to its kubelet: the node's.
    pub node: Option<String>,
    /// Whether `kubeadm init` or `kubeadm join` came to its end on it as a control plane.
    pub settled: bool,
    /// Whether `kubeadm init` was begun on it by muster, and did not come to its end.
    pub begins: bool,
    /// The version that kubeadm was told.
    pub version_told: Option<String>,
    /// Whether its kernel takes in packets for pods, of a cluster or of what is left of one.
    pub has_vxlan: bool,
    /// What the cluster was begun with: names as in kubeadm's configuration, and values.
    pub begun: Vec<(String, String)>,
    /// What it runs with and cannot change while pods, or etcd, run: names as in the files of those who do, and values.
    pub kept: Vec<(String, String)>,
    /// The address that its kubelet gives as the node's, and that of IPv6 beside it.
    pub node_ip: Option<IpAddr>,
    pub node_ip6: Option<IpAddr>,
    /// The address at which its API server is said to be, and its port.
    pub advertised: Option<IpAddr>,
    pub api_port: Option<u16>,
    /// The names and addresses that its API server's certificate is good for.
    pub serves_as: Vec<String>,
    /// Who has signed that certificate, where that is not the cluster's authority.
    pub serves_by: Option<String>,
    /// `HOST:PORT` of load balancers of somebody else's to which variables have brought the cluster, or were about to.
    pub external: Vec<String>,
    /// The lines of /etc/hosts by which it knows the names of such load balancers.
    pub hosts_lines: Vec<String>,
    /// The addresses of the API that it shares with other control planes.
    pub shares: Vec<IpAddr>,
    /// The URLs of etcd's members that its API server asks.
    pub etcd_servers: Vec<String>,
    /// The version of its API server, without a leading `v`.
    pub version: Option<String>,
    /// The file with the keys by which its API server encrypts what is in etcd.
    pub encryption: Option<String>,
    /// That of its kubelet: of the program, which may be newer than what runs where an upgrade was cut off between the two.
    pub kubelet_version: Option<String>,
    /// A hash of what its kubelet was last given to start with.
    pub kubelet_given: Option<String>,
    /// What it is to etcd.
    pub etcd: Member,
    /// Its certificates, those within its kubeconfig files included.
    pub certificates: Vec<Certificate>,
    /// Whether a renewal of those that kubeadm makes did not come to its end: a key may be there without its certificate.
    pub renews: bool,
    /// Whether a rotation of the authorities is under way on it ([`crate::rotation`]).
    pub rotates: bool,
    /// Whether it is being adopted ([`crate::adoption`]).
    pub adopts: bool,
    /// The member of etcd that it has as a static pod of kubeadm's.
    pub stacked: Option<Stacked>,
}

/// A member of etcd that kubeadm runs as a static pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stacked {
    pub name: Option<String>,
    pub peer_url: Option<String>,
    /// The version in its image's tag: `3.6.8` of `registry.k8s.io/etcd:3.6.8-0`.
    pub version: Option<String>,
    pub authority: Option<Authority>,
    /// Whether the authority's key is there too.
    pub authority_key: bool,
}

/// What a machine is to etcd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub authority: Option<Authority>,
    /// Whether the authority's key is there too.
    pub authority_key: bool,
    /// What it was configured with: its name, and the URL at which other members find it.
    pub name: Option<String>,
    pub peer_url: Option<String>,
    /// The folders, of the one that is wanted and the one that is configured, that hold a member's data.
    pub data: Vec<String>,
    /// What the restore that is under way has noted, and what the last one that came to its end had.
    pub restoring: Option<String>,
    pub restored: Option<String>,
    /// Whether something has stopped here for one that is under way.
    pub restore_begun: bool,
}

impl Stacked {
    /// Takes a line of [`LOOK`].
    fn take(&mut self, key: &str, value: &str) {
        match key {
            "stacked_name" => self.name = Some(value.to_owned()),
            "stacked_url" => self.peer_url = Some(value.to_owned()),
            "stacked_image" => {
                let tag = value.rsplit_once(':').map(|(_, tag)| tag.split('-').next().unwrap_or_default());
                self.version = tag.map(|tag| tag.trim_start_matches('v').to_owned());
            }
            "stacked_ca" => self.authority = beside(self.authority, decoded(value)),
            "stacked_ca_key" => self.authority_key = true,
            _ => {}
        }
    }
}

impl Member {
    /// How many restores its data has gone through; 0 where there was none. The line is what [`crate::etcd::restore`] writes:
    /// `restored-GENERATION-...`. An older muster wrote the seconds since 1970 there, from which the next restore goes on counting.
    pub(super) fn generation(&self) -> u64 {
        let line = self.restored.as_deref().unwrap_or_default();
        line.split('-').nth(1).and_then(|generation| generation.parse().ok()).unwrap_or(0)
    }

    /// Hosts that had no part in the last restore, because they were lost: the word `without:HOST,...` of the line.
    pub(super) fn given_up(&self) -> impl Iterator<Item = &str> {
        let line = self.restored.as_deref().unwrap_or_default();
        let hosts = line.split_whitespace().find_map(|word| word.strip_prefix("without:"));
        hosts.into_iter().flat_map(|hosts| hosts.split(','))
    }
}

impl Identity {
    /// Whether the cluster took the machine in.
    pub(crate) fn joined(&self) -> bool {
        self.kubelet.is_some() && self.node.is_some()
    }

    /// Whether it is a control plane that runs, or ran.
    pub(crate) fn stands(&self) -> bool {
        self.settled && self.ca_key && self.admin.is_some()
    }

    /// Whether a cluster runs on it, or ran, of which it cannot be told that muster began it: its node has joined and its API server
    /// is there, and neither the mark of a beginning nor that of its end is; or the administrator's kubeconfig was taken away. Where
    /// `kubeadm reset` has taken everything but the authority away, nothing runs, and the cluster goes on as after a beginning that
    /// was cut off.
    pub(crate) fn runs_unmarked(&self) -> bool {
        let (joined, has_api_server) = (self.joined(), self.version.is_some());
        let runs = joined && has_api_server || self.settled && (joined || has_api_server);
        self.has_authority() && !self.stands() && !self.begins && runs
    }

    /// Whether it is a control plane whose authority's key is not in the folder in which it was looked for.
    pub(crate) fn lacks_its_key(&self) -> bool {
        self.admin.is_some() && !self.ca_key
    }

    /// The same as a run takes it that adopts the cluster: a control plane of kubeadm's stands, and its member of etcd is the one
    /// that there will be.
    pub(super) fn if_adopted(mut self) -> Self {
        self.settled |= self.runs_unmarked();
        if let Some(stacked) = &self.stacked {
            self.etcd.name = self.etcd.name.or_else(|| stacked.name.clone());
            self.etcd.peer_url = self.etcd.peer_url.or_else(|| stacked.peer_url.clone());
            self.etcd.authority = self.etcd.authority.or(stacked.authority);
            self.etcd.authority_key |= stacked.authority_key;
        }
        self
    }

    /// The version that its API server runs, or ran before `kubeadm reset` took it away.
    pub(crate) fn version_of_cluster(&self) -> Option<&str> {
        match self.stands() {
            true => self.version.as_deref(),
            false => self.version_told.as_deref().filter(|_| self.settled),
        }
    }

    /// Whether it has the authority of a cluster and can sign for it; a `kubeadm init` that was cut off leaves that.
    pub(crate) fn has_authority(&self) -> bool {
        self.ca.is_some() && self.ca_key
    }

    /// The authority of the cluster that it belongs to.
    pub(crate) fn authority(&self) -> Option<Authority> {
        let trusted = [&self.admin, &self.kubelet].into_iter().flatten().find_map(|conf| conf.authority);
        // A kubeconfig may name the file instead.
        trusted.or(self.ca.filter(|_| self.ca_key || self.kubelet.is_some()))
    }

    /// The API server that it was told of.
    pub(crate) fn server(&self) -> Option<&str> {
        [&self.admin, &self.kubelet]
            .into_iter()
            .flatten()
            .map(|conf| conf.server.as_str())
            .find(|s| !s.is_empty())
    }

    /// The addresses of the API servers that it was told of, or that its load balancer was.
    pub(crate) fn api_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let servers = self.server().map(|server| server.trim_start_matches("https://")).into_iter();
        let all = servers.chain(self.balanced.iter().map(String::as_str));
        all.filter_map(|server| {
            let host = server.rsplit_once(':')?.0.trim_matches(['[', ']']);
            host.parse().ok().or_else(|| self.by_hosts_line(host))
        })
    }

    /// The address that /etc/hosts has of a load balancer's name.
    fn by_hosts_line(&self, name: &str) -> Option<IpAddr> {
        let mut lines = self.hosts_lines.iter().filter_map(|line| line.split_once(' '));
        lines.find(|(_, names)| names.split(' ').next() == Some(name))?.0.parse().ok()
    }

    /// What [`LOOK`] has printed; `None` where it did not come to its end. What is missing then would read as if the machine did
    /// not have it.
    pub(crate) fn whole(answer: &str) -> Option<Self> {
        (answer.lines().next_back() == Some("whole yes")).then(|| Self::parse(answer))
    }

    /// Takes the lines that [`LOOK`] prints. Others are passed over.
    pub(crate) fn parse(answer: &str) -> Self {
        let mut identity = Self::default();
        let mut authorities = Vec::new();
        for line in answer.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let value = value.trim();
            match key {
                "kubelet" => {
                    identity.kubelet.get_or_insert_default();
                }
                "kubelet_server" => identity.kubelet.get_or_insert_default().server = value.to_owned(),
                "kubelet_certificate-authority-data" => {
                    identity.kubelet.get_or_insert_default().authority = embedded(value);
                }
                "admin" => {
                    identity.admin.get_or_insert_default();
                }
                "admin_server" => identity.admin.get_or_insert_default().server = value.to_owned(),
                "admin_certificate-authority-data" => {
                    identity.admin.get_or_insert_default().authority = embedded(value);
                }
                // It stands in several lists there.
                "balanced" if identity.balanced.iter().any(|known| known == value) => {}
                "balanced" => identity.balanced.push(value.to_owned()),
                "ca" => {
                    let der = decoded(value);
                    // The first one is the one that signs.
                    if identity.ca.is_none() {
                        identity.ca_keys = der.as_deref().and_then(Keys::of);
                    }
                    authorities.extend(der.clone());
                    identity.ca = beside(identity.ca, der);
                }
                "ca_key" => identity.ca_key = true,
                "client" => identity.node = decoded(value).and_then(|der| node_name(&der)),
                "settled" => identity.settled = true,
                "begun" => {
                    let (name, value) = value.split_once(' ').unwrap_or((value, ""));
                    identity.begun.extend(families::begun(name, value));
                }
                "kept" => {
                    let (key, value) = value.split_once(' ').unwrap_or((value, ""));
                    // TOML has both quotes: containerd itself prints its defaults with the single ones.
                    let value = value.trim_matches(['"', '\'']);
                    // The file says which folder.
                    let value = value.strip_suffix("/ca.pem").unwrap_or(value);
                    // Nothing is what there is by default.
                    let said = Some((key.to_owned(), value.to_owned())).filter(|_| !value.is_empty());
                    identity.kept.extend(said);
                }
                "flags" => {
                    if let (None, Some((ip, ip6))) = (identity.node_ip, families::node_ips(value)) {
                        (identity.node_ip, identity.node_ip6) = (Some(ip), ip6);
                    }
                }
                "apiserver_image:" => {
                    let version = value.rsplit_once(":v").map(|(_, version)| version.to_owned());
                    identity.version = identity.version.take().or(version);
                }
                "asks_etcd" => identity.etcd_servers = value.split(',').map(str::to_owned).collect(),
                "kubelet_is" => {
                    identity.kubelet_version = value.strip_prefix("Kubernetes v").map(str::to_owned);
                }
                "kubelet_given" => identity.kubelet_given = Some(value.to_owned()),
                "encryption" => identity.encryption = Some(value.to_owned()),
                key if key.starts_with("apiserver_") => {
                    let address: Option<SocketAddr> = value.trim_matches(['"', '\'']).parse().ok();
                    identity.advertised = address.map(|address| address.ip());
                    identity.api_port = address.map(|address| address.port());
                }
                "version_told" => identity.version_told = Some(value.trim_start_matches('v').to_owned()),
                "has_vxlan" => identity.has_vxlan = true,
                "begins" => identity.begins = true,
                "rotates" => identity.rotates = true,
                "renews" => identity.renews = true,
                "adopts" => identity.adopts = true,
                key if key.starts_with("stacked_") => {
                    identity.stacked.get_or_insert_default().take(key, value);
                }
                "external" => identity.external.push(value.to_owned()),
                "hosts_line" => identity.hosts_lines.push(value.to_owned()),
                "shares" => identity.shares.extend(value.parse::<IpAddr>()),
                "etcd_ca" => identity.etcd.authority = beside(identity.etcd.authority, decoded(value)),
                "etcd_ca_key" => identity.etcd.authority_key = true,
                "etcd" => match value.split_once('=') {
                    Some(("ETCD_NAME", name)) => identity.etcd.name = Some(name.to_owned()),
                    Some((_, url)) => identity.etcd.peer_url = Some(url.to_owned()),
                    None => {}
                },
                "certificate" | "embedded" => {
                    let (path, base64) = value.split_once(' ').unwrap_or((value, ""));
                    let der = if key == "embedded" { embedded_certificate(base64) } else { decoded(base64) };
                    if path.ends_with("/apiserver.crt") {
                        identity.serves_as = der.as_deref().map(names_in).unwrap_or_default();
                        identity.serves_by =
                            der.as_deref().and_then(|der| signed_by_another(der, &authorities));
                    }
                    identity.certificates.push(Certificate::of(path, &der.unwrap_or_default()));
                }
                "restoring" => identity.etcd.restoring = Some(value.to_owned()),
                "restored" => identity.etcd.restored = Some(value.to_owned()),
                "restore_begun" => identity.etcd.restore_begun = true,
                "etcd_data" => identity.etcd.data.push(value.to_owned()),
                _ => {}
            }
        }
        identity
    }
}

/// The bytes of base64 text: what a PEM file holds between its first and last line.
pub(crate) fn decoded(base64: &str) -> Option<Vec<u8>> {
    let pem = format!("-----BEGIN BYTES-----\n{base64}\n-----END BYTES-----\n");
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    Some(pem.contents).filter(|bytes| !bytes.is_empty())
}

/// An authority and one more certificate, in DER, that is trusted.
fn beside(known: Option<Authority>, der: Option<Vec<u8>>) -> Option<Authority> {
    let Some(der) = der else { return known };
    Some(known.map_or_else(|| Authority::of(&der), |known| known.beside(&der)))
}

/// The authority in a kubeconfig: a PEM file in base64.
fn embedded(base64: &str) -> Option<Authority> {
    let file = decoded(base64)?;
    let certificates = Pem::iter_from_buffer(&file).map_while(Result::ok).map(|pem| pem.contents);
    certificates.fold(None, |known, der| beside(known, Some(der)))
}

/// The certificate in a kubeconfig: a PEM file in base64.
pub(crate) fn embedded_certificate(base64: &str) -> Option<Vec<u8>> {
    let file = decoded(base64)?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&file).ok()?;
    Some(pem.contents)
}

/// The names and addresses that a certificate is good for (RFC 5280, subjectAltName).
fn names_in(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = || <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let sixteen = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            Some(four().or_else(|_| sixteen()).ok()?.to_string())
        }
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}

/// Who has signed a certificate, where none of these authorities has. Nothing is known of one that cannot be read.
fn signed_by_another(der: &[u8], authorities: &[Vec<u8>]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let has_signed = |authority: &Vec<u8>| {
        X509Certificate::from_der(authority)
            .is_ok_and(|(_, authority)| certificate.verify_signature(Some(authority.public_key())).is_ok())
    };
    let is_anothers = !authorities.is_empty() && !authorities.iter().any(has_signed);
    is_anothers.then(|| certificate.issuer().to_string())
}

/// NAME of a kubelet's certificate, whose common name is `system:node:NAME`.
fn node_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    name.strip_prefix("system:node:").map(str::to_owned)
}
