//! What kubeadm leaves on a model machine: the cluster's authority, and the files of a node and of a control plane.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_testkit::model::shell::Shell;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
};
use time::{Duration as Days, OffsetDateTime};

use crate::cluster::{address, put};

/// What a kubelet runs with.
pub(crate) const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";

/// What a node has once the cluster has taken it in.
pub(crate) const CLIENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// A cluster's authority.
#[derive(Clone)]
pub(crate) struct Authority {
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// For how many days what it signs is good; 0: for as long as anybody lives.
    pub(crate) lasts: i64,
}

impl Authority {
    /// That of a cluster that begins. One key serves all of them: keys of RSA take long to make.
    pub(crate) fn new() -> Self {
        static KEY: LazyLock<KeyPair> = LazyLock::new(rsa);
        Self::with(&KEY)
    }

    /// That of a cluster which is none of the model's: an authority is known by its key.
    pub(crate) fn of_another_cluster() -> Self {
        Self::with(&rsa())
    }

    fn with(key: &KeyPair) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serial_number = Some(NEXT.fetch_add(1, Ordering::Relaxed).into());
        let certificate = params.self_signed(key).unwrap().pem();
        Self { certificate, key: key.serialize_pem(), lasts: 0 }
    }

    /// What it gives to the kubelet of a node: certificate and key.
    pub(crate) fn client(&self, node: &str) -> String {
        let issuer = KeyPair::from_pem(&self.key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, issuer).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
        if self.lasts > 0 {
            params.not_after = OffsetDateTime::now_utc() + Days::days(self.lasts);
        }
        let certificate = params.signed_by(&key, &issuer).unwrap();
        certificate.pem() + &key.serialize_pem()
    }

    /// What it gives to an API server: the certificate, which stands for its key as well.
    pub(crate) fn server(&self) -> String {
        let client = self.client("kube-apiserver");
        client.split_inclusive("-----END CERTIFICATE-----\n").next().expect("a certificate").to_owned()
    }

    pub(crate) fn kubeconfig(&self, server: &str) -> String {
        let authority = base64(self.certificate.as_bytes());
        format!(
            "clusters:\n- cluster:\n    certificate-authority-data: {authority}\n    server: https://{server}\n  name: it\n"
        )
    }
}

/// A key as kubeadm makes it for an authority.
fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        (0..4).map(move |at| (bits >> (18 - 6 * at) & 63, at)).collect::<Vec<_>>().into_iter().map({
            let length = three.len();
            move |(digit, at)| if at > length { '=' } else { char::from(DIGITS[digit]) }
        })
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// What [`base64`] has made of a text.
pub(crate) fn decoded(base64: &str) -> String {
    let pem = format!("-----BEGIN BYTES-----\n{base64}\n-----END BYTES-----\n");
    let bytes = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map(|(_, pem)| pem.contents);
    String::from_utf8(bytes.unwrap_or_default()).unwrap()
}

/// The first value of a key in a file of kubeadm's.
pub(crate) fn told(text: &str, key: &str) -> String {
    let value = text.lines().find_map(|line| line.trim_start().strip_prefix(key));
    value.unwrap_or_default().trim().trim_matches('"').to_owned()
}

/// What makes a machine a node. `server`: HOST:PORT of the API.
pub(crate) fn becomes_node(shell: &Shell, authority: &Authority, config: &str, server: &str) {
    for (path, content) in node_files(authority, &told(config, "name:"), &told(config, "value:"), server) {
        put(shell, path, &content, 0o600);
    }
}

/// The files of a node.
pub(crate) fn node_files(
    authority: &Authority,
    name: &str,
    ip: &str,
    server: &str,
) -> [(&'static str, String); 3] {
    [
        ("/etc/kubernetes/kubelet.conf", authority.kubeconfig(server)),
        ("/var/lib/kubelet/kubeadm-flags.env", format!("KUBELET_KUBEADM_ARGS=\"--node-ip={ip}\"\n")),
        (CLIENT, authority.client(name)),
    ]
}

/// What makes a machine a control plane. `endpoint`: HOST:PORT of the API as the cluster knows it.
pub(crate) fn becomes_plane(shell: &Shell, authority: &Authority, version: &str, endpoint: &str) {
    let own = format!("{}:6443", address(&shell.machine.name));
    let manifest = manifest(&shell.machine.name, version);
    let certificate = authority.server();
    let files = [
        ("ssl/ca.crt", authority.certificate.clone(), 0o644),
        ("ssl/ca.key", authority.key.clone(), 0o600),
        ("ssl/apiserver.crt", certificate.clone(), 0o600),
        ("ssl/apiserver.key", certificate, 0o600),
        ("admin.conf", authority.kubeconfig(endpoint), 0o600),
        ("controller-manager.conf", authority.kubeconfig(&own), 0o600),
        ("manifests/kube-apiserver.yaml", manifest, 0o600),
    ];
    for (path, content, mode) in files {
        put(shell, &format!("/etc/kubernetes/{path}"), &content, mode);
    }
}

/// The manifest of a control plane's API server.
pub(crate) fn manifest(machine: &str, version: &str) -> String {
    let own = format!("{}:6443", address(machine));
    format!(
        "metadata:\n  annotations:\n    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: {own}\nspec:\n  \
         containers:\n  - name: kube-apiserver\n    image: registry.k8s.io/kube-apiserver:v{version}\n"
    )
}

/// The part of kubeadm's configuration that kubelets get.
pub(crate) fn kubelet_config(config: &str) -> String {
    let kubelet = config.split("---\n").find(|part| part.contains("kind: KubeletConfiguration"));
    kubelet.unwrap_or_default().to_owned()
}
