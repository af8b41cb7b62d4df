//! What machines are asked, in the shells that they have.

use std::process::Command;

use super::identity::{Identity, Kubeconfig, LOOK};
use super::tests::{authority, certificate};
use crate::certificates::Keys;

#[test]
fn every_shell_tells_who_a_machine_is_and_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path.trim_start_matches('/'));
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        std::fs::write(at(path), text).unwrap();
    };
    let (ca, other) = (certificate("kubernetes", true), certificate("etcd", true));
    let text: String = ca.lines().map(|line| format!("{line}\n")).collect();
    let encoded =
        Command::new("sh").args(["-c", "printf '%s' \"$1\" | base64 -w 0", "sh", &text]).output().unwrap();
    let encoded = String::from_utf8(encoded.stdout).unwrap();
    let conf = |server: &str| {
        format!(
            "clusters:\n- cluster:\n    certificate-authority-data: {encoded}\n    server: https://{server}\n  name: it\nusers:\n- user:\n    client-certificate-data: {encoded}\n    client-key-data: PRIVATE\n"
        )
    };
    write("/etc/kubernetes/kubelet.conf", &conf("192.0.2.11:6443"));
    write("/etc/kubernetes/admin.conf", &conf("192.0.2.10:6443"));
    write(
        "/etc/kubernetes/api-balancer/haproxy.cfg",
        "backend control-planes\n  default-server check\n  server a 192.0.2.10:6443\n  server b 192.0.2.11:6443\n",
    );
    write("/etc/kubernetes/ssl/ca.crt", &ca);
    write("/etc/kubernetes/ssl/ca.key", "PRIVATE");
    let client = certificate("system:node:node1", false);
    write(
        "/var/lib/kubelet/pki/kubelet-client-current.pem",
        &format!("-----BEGIN EC PRIVATE KEY-----\nPRIVATE\n-----END EC PRIVATE KEY-----\n{client}"),
    );
    write("/var/lib/muster/stamps/kubeadm-init", "x\n");
    write("/var/lib/muster/stamps/kubeadm-init-begins", "x\n");
    write("/sys/class/net/flannel.1/mtu", "1450\n");
    write(
        "/etc/kubernetes/kubeadm-config.yaml",
        "clusterName: cluster.local\nkubernetesVersion: v1.36.3\nnetworking:\n  podSubnet: 10.233.64.0/18\ncontrollerManager:\n  extraArgs:\n    - name: node-cidr-mask-size\n      value: \"24\"\n",
    );
    write("/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--pod-x=y --node-ip=192.0.2.11\"\n");
    write(
        "/etc/kubernetes/manifests/kube-apiserver.yaml",
        "metadata:\n  annotations:\n    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: 192.0.2.11:6443\nspec:\n  containers:\n  - command:\n    - --encryption-provider-config=/etc/kubernetes/ssl/secrets_encryption.yaml\n    - --etcd-servers=https://192.0.2.10:2379,https://192.0.2.11:2379\n    image: registry.k8s.io/kube-apiserver:v1.36.3\n",
    );
    write(
        "/var/lib/kubelet/config.yaml",
        "clusterDNS:\n- 10.233.0.3\n- 10.233.0.4\nclusterDomain: cluster.local\nlist:\n- x\n",
    );
    write(
        "/etc/containerd/config.toml",
        "root = \"/srv/c\"\nstate = '/run/c'\nsnapshotter = ''\n[a.options]\nBinaryName = \"x\"\nSystemdCgroup = true\n",
    );
    write("/etc/ssl/etcd/ssl/ca.pem", &other);
    write("/etc/ssl/etcd/ssl/ca-key.pem", "PRIVATE");
    write(
        "/etc/etcd.env",
        "ETCD_NAME=etcd2\nETCD_TRUSTED_CA_FILE=/etc/pki/ca.pem\nETCD_DATA_DIR=/var/lib/old\nETCD_INITIAL_ADVERTISE_PEER_URLS=https://192.0.2.11:2380\n",
    );
    write("/var/lib/old/member/wal/0.wal", "");
    write("/var/lib/muster/etcd-restore", "restored-2 ab34 7 saved\n");
    write("/var/lib/muster/etcd-restored", "restored-1 ab12 7 saved\n");
    write("/var/lib/muster/stamps/kubelet-config", "ab12\nab34  /var/lib/kubelet/config.yaml\n");
    write("/var/lib/muster/rotation/authorities.pem", "PRIVATE");
    write("/var/lib/muster/stamps/renewing-certificates", "");
    write("/var/lib/muster/stamps/api-endpoint", "api.example.org:8443\n192.0.2.20:6443\n");
    write("/etc/kubernetes/api-vip/192.0.2.30/keepalived.conf", "");
    write("/etc/hosts", "127.0.0.1 localhost\n192.0.2.20 api.example.org # muster: loadbalancer_apiserver\n");
    let expected = Identity {
        kubelet: Some(Kubeconfig {
            server: "https://192.0.2.11:6443".into(),
            authority: Some(authority(&ca)),
        }),
        balanced: vec!["192.0.2.10:6443".into(), "192.0.2.11:6443".into()],
        admin: Some(Kubeconfig { server: "https://192.0.2.10:6443".into(), authority: Some(authority(&ca)) }),
        ca: Some(authority(&ca)),
        ca_key: true,
        ca_keys: Some(Keys::EcdsaP256),
        node: Some("node1".into()),
        settled: true,
        kubelet_given: Some("ab12".into()),
        begins: true,
        has_vxlan: true,
        version_told: Some("1.36.3".into()),
        begun: [
            ("clusterName", "cluster.local"),
            ("podSubnet", "10.233.64.0/18"),
            ("ipv6", "false"),
            ("nodeCIDRMaskSize", "24"),
            ("caCertificateValidityPeriod", "87600h"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        kept: [
            ("root", "/srv/c"),
            ("state", "/run/c"),
            ("SystemdCgroup", "true"),
            ("clusterDNS", "10.233.0.3"),
            ("clusterDNS", "10.233.0.4"),
            ("etcd_cert_dir", "/etc/pki"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        node_ip: "192.0.2.11".parse().ok(),
        node_ip6: None,
        advertised: "192.0.2.11".parse().ok(),
        api_port: Some(6443),
        serves_as: Vec::new(),
        serves_by: None,
        external: vec!["api.example.org:8443".into(), "192.0.2.20:6443".into()],
        shares: vec!["192.0.2.30".parse().unwrap()],
        hosts_lines: vec!["192.0.2.20 api.example.org # muster: loadbalancer_apiserver".into()],
        etcd_servers: ["https://192.0.2.10:2379", "https://192.0.2.11:2379"].map(str::to_owned).into(),
        version: Some("1.36.3".into()),
        encryption: Some("/etc/kubernetes/ssl/secrets_encryption.yaml".into()),
        kubelet_version: Some("1.35.4".into()),
        etcd: super::identity::Member {
            authority: Some(authority(&other)),
            authority_key: true,
            name: Some("etcd2".into()),
            peer_url: Some("https://192.0.2.11:2380".into()),
            data: vec![at("/var/lib/old").display().to_string()],
            restoring: Some("restored-2 ab34 7 saved".into()),
            restored: Some("restored-1 ab12 7 saved".into()),
            restore_begun: true,
        },
        certificates: Vec::new(),
        rotates: true,
        renews: true,
        adopts: false,
        stacked: None,
    };
    // The same files below another root.
    let root = folder.path().display().to_string();
    let program = [
        "/etc/kubernetes",
        "/var/lib/kubelet",
        "/var/lib/muster",
        "/etc/etcd.env",
        "/etc/hosts",
        "/etc/containerd",
        "/sys/class/net",
        "/etc/cni",
    ]
    .iter()
    .fold(LOOK.to_owned(), |program, path| program.replace(path, &format!("{root}{path}")));
    let program = format!("kubelet() {{ echo Kubernetes v1.35.4; }}\n{program}");
    write(
        "/etc/etcd.env",
        &std::fs::read_to_string(at("/etc/etcd.env"))
            .unwrap()
            .replace("/var/lib/old", &format!("{root}/var/lib/old")),
    );
    let folders =
        ["/etc/kubernetes/ssl", "/etc/ssl/etcd/ssl", "/var/lib/etcd"].map(|path| format!("{root}{path}"));
    for shell in [&["dash"][..], &["bash", "--posix"]] {
        let mut sh = Command::new(shell[0]);
        let out = sh.args(&shell[1..]).args(["-euc", &program, "look"]).args(&folders).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(
            out.status.success() && out.stderr.is_empty(),
            "{shell:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        assert!(!text.contains("PRIVATE"), "{shell:?}: {text}");
        let mut identity = Identity::whole(&text).unwrap();
        let certificates = std::mem::take(&mut identity.certificates);
        assert_eq!(identity, expected, "{shell:?}: {text}");
        let files: Vec<&str> = certificates.iter().map(|certificate| certificate.file()).collect();
        assert_eq!(
            files,
            ["admin.conf", "ca.crt", "kubelet-client-current.pem", "ca.pem"],
            "{shell:?}: {text}"
        );
        assert_eq!(certificates[2].name, "system:node:node1", "{shell:?}: {text}");
        assert!(
            certificates.iter().all(|certificate| certificate.ends.is_some()),
            "{shell:?}: {certificates:?}"
        );
        // A look that ended early tells nothing, whatever it has printed.
        let early = text.match_indices('\n').rev().skip(1).map(|(end, _)| &text[..=end]);
        assert!(early.map(Identity::whole).all(|identity| identity.is_none()), "{shell:?}: {text}");
    }
    let mut nothing = Command::new("dash");
    let out = nothing.args(["-euc", LOOK, "look", "/nowhere", "/nowhere", "/nowhere"]).output().unwrap();
    assert!(out.status.success());
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(Identity::whole(&text), Some(Identity::default()), "{text}");
}

#[test]
fn a_certificate_of_the_api_server_s_that_the_cluster_s_authority_has_not_signed_is_known() {
    let line = |key: &str, pem: &str| {
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        format!("{key} {base64}\n")
    };
    let (ca, other) = (certificate("kubernetes", true), certificate("corporate", true));
    let by = |authorities: &[&str], shown: &str| {
        let mut said: String = authorities.iter().map(|pem| line("ca", pem)).collect();
        said += &line("certificate /etc/kubernetes/ssl/apiserver.crt", shown);
        Identity::parse(&said).serves_by
    };
    assert_eq!(by(&[&ca], &ca), None);
    assert!(by(&[&ca], &other).is_some_and(|issuer| issuer.contains("CN=corporate")));
    // While authorities are rotated there are two.
    assert_eq!(by(&[&ca, &other], &other), None);
    assert_eq!(by(&[], &other), None);
}

#[test]
fn a_kubelet_is_asked_only_where_it_is_not_the_one_that_was_noted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let program = [
        ("/etc/kubernetes", format!("{root}/etc/kubernetes")),
        // The program's own path follows in it.
        ("/var/lib/muster/stamps/file", format!("{root}/stamps")),
    ];
    let program = program.iter().fold(LOOK.to_owned(), |program, (path, here)| program.replace(path, here));
    let prepare = r#"
mkdir -p "$1/etc/kubernetes" "$1/bin" "$1/stamps$1/bin"
: >"$1/etc/kubernetes/kubelet.conf"
printf '#!/bin/sh\necho Kubernetes v1.35.4\n' >"$1/bin/kubelet"
chmod +x "$1/bin/kubelet""#;
    let noted =
        r#"printf '%s\n' "sum $(stat -c '%s %Y %i' "$1/bin/kubelet")" 1.36.3 >"$1/stamps$1/bin/kubelet""#;
    let by_an_earlier_muster =
        r#"echo "sum $(stat -c '%s %Y %i' "$1/bin/kubelet")" >"$1/stamps$1/bin/kubelet""#;
    let another = r#"echo >>"$1/bin/kubelet""#;
    let sh = |text: &str| {
        let mut sh = Command::new("dash");
        let path = format!("{root}/bin:{}", std::env::var("PATH").unwrap());
        let args = ["-euc", text, "look", &root, "/nowhere", "/nowhere"];
        let out = sh.args(args).env("PATH", path).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        Identity::whole(&String::from_utf8(out.stdout).unwrap())
    };
    for (before, version) in
        [(prepare, "1.35.4"), (noted, "1.36.3"), (another, "1.35.4"), (by_an_earlier_muster, "1.35.4")]
    {
        sh(before);
        assert_eq!(sh(&program).unwrap().kubelet_version.as_deref(), Some(version), "{before}");
    }
}
