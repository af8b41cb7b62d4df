//! What kubeadm does on model machines. What it leaves there is in `kubeadm_files.rs`.

use muster_testkit::model::shell::{Done, Shell};

use crate::cluster::{Cluster, MAKES_CERTIFICATE, MAKES_MANIFESTS, content, put, say, unflushed, unknown};
use crate::external;
use crate::kubeadm_files::{
    Authority, CLIENT, KUBELET_CONFIG, becomes_node, becomes_plane, kubelet_config, manifest, told,
};
use crate::upgrade;

/// How this machine's kubelet differs from all.
const PATCH: &str = "/etc/kubernetes/patches/kubeletconfiguration0+merge.yaml";

/// What a machine is at when its kubelet gets another configuration.
pub(crate) const CONFIGURES_KUBELET: &str = "kubeadm upgrade node phase kubelet-config";

impl Cluster {
    pub(crate) async fn kubeadm(&self, shell: &mut Shell, words: &[&str]) -> Done {
        let machine = shell.machine.clone();
        let is_there = |path: &str| machine.state().kept.disk.file(path).is_some();
        let content = |path: &str| content(&machine, path);
        match words {
            ["init", "phase", "upload-certs", ..] => {
                shell.write(1, b"[upload-certs] the key:\nc0ffee\n").map(|_| 0)
            }
            // They ask the API server that the kubeconfig leads to.
            ["init", "phase", "upload-config" | "addon", _, "--config", _, "--kubeconfig", conf]
                if !self.answers() || !self.finds(&machine, &told(&content(conf), "server:")) =>
            {
                say(shell, "kubeadm: the API server does not answer", 1)
            }
            ["init", "phase", "upload-config", "all", "--config", config, ..] => {
                self.learns(&content(config));
                Ok(0)
            }
            ["init", "phase", "addon", "kube-proxy", "--config", config, ..] => {
                if external::URL == format!("https://{}", told(&content(config), "controlPlaneEndpoint:")) {
                    self.is_known_to_all();
                }
                self.runs_kube_proxy(&told(&content(config), "kubernetesVersion: v"));
                Ok(0)
            }
            ["init", "phase", "certs", "apiserver", "--config", config] => {
                let (folder, names) =
                    (told(&content(config), "certificatesDir:"), told(&content(config), "certSANs:"));
                if is_there(&format!("{folder}/apiserver.crt")) {
                    self.state().wrong.push(format!("{} has a certificate already", machine.name));
                }
                self.alone(shell, MAKES_CERTIFICATE).await?;
                let certificate = self.state().authorities.last().map(Authority::server).unwrap_or_default();
                for name in ["apiserver.crt", "apiserver.key"] {
                    unflushed(shell, &format!("{folder}/{name}"), &certificate, 0o600);
                }
                self.state().certificates.insert(machine.name.clone(), names);
                Ok(0)
            }
            ["init", "phase", "control-plane", "all", "--config", config] => {
                self.others_hold_its_address(&machine);
                self.alone(shell, MAKES_MANIFESTS).await?;
                let version = told(&content(config), "kubernetesVersion: v");
                put(shell, upgrade::MANIFEST, &manifest(&machine.name, &version), 0o600);
                Ok(0)
            }
            ["init", "phase", "mark-control-plane", ..] => {
                self.state().marks.entry(machine.name.clone()).or_default().of_control_plane();
                Ok(0)
            }
            ["init", "phase", ..] => Ok(0),
            ["init", "--config", config, flags @ ..] if is_there(config) => {
                if !self.state().has_quorum() {
                    return say(shell, "kubeadm: etcd does not answer", 1);
                }
                let known = self.state().authorities.last().cloned();
                let own =
                    is_there("/etc/kubernetes/ssl/ca.key").then(|| content("/etc/kubernetes/ssl/ca.crt"));
                // With the cluster's own authority it is the same cluster, which `kubeadm reset` had taken from the machine.
                let again = known.clone().filter(|known| own.as_ref() == Some(&known.certificate));
                if known.is_some() && again.is_none() {
                    self.state().wrong.push("kubeadm init, though the cluster has begun".into());
                }
                self.alone(shell, "kubeadm init").await?;
                let endpoint = told(&content(config), "controlPlaneEndpoint:");
                let authority = again.unwrap_or_else(|| {
                    let new = Authority::new();
                    self.state().authorities.push(new.clone());
                    new
                });
                self.learns(&content(config));
                let version = {
                    let mut state = self.state();
                    if !flags.iter().any(|flag| upgrade::leaves_out_kube_proxy(flag)) {
                        state.proxy = state.version.clone();
                    }
                    state.info = endpoint.clone();
                    let names = state.names.clone();
                    state.certificates.insert(machine.name.clone(), names);
                    state.version.clone()
                };
                self.configures_kubelet(shell);
                becomes_plane(shell, &authority, &version, &endpoint);
                becomes_node(shell, &authority, &content(config), &endpoint);
                self.state().nodes.insert(machine.name.clone(), machine.clone());
                self.state().marks.entry(machine.name.clone()).or_default().of_control_plane();
                Ok(0)
            }
            ["--kubeconfig", conf, "token", "create", ..]
                if is_there(conf)
                    && self.answers()
                    && self.finds(&machine, &told(&content(conf), "server:")) =>
            {
                shell.write(1, b"ab.cd\n").map(|_| 0)
            }
            ["join", "--config", config, ..] if is_there(config) && self.answers() => {
                let known = self.state().nodes.insert(machine.name.clone(), machine.clone()).is_some();
                if known && is_there(CLIENT) {
                    self.state().wrong.push(format!("{} joins, and is a node already", machine.name));
                }
                let authority = self.state().authorities.last().cloned().expect("it has begun");
                if content("/etc/kubernetes/ssl/ca.crt") != authority.certificate {
                    self.state().wrong.push(format!("{} joins, and trusts another cluster", machine.name));
                }
                let config = content(config);
                let server = told(&content("/etc/kubernetes/discovery.conf"), "server:");
                if !self.serves(&server) {
                    return say(shell, "kubeadm: the API server does not answer", 1);
                }
                let server = server.trim_start_matches("https://");
                self.alone(shell, "kubeadm join").await?;
                if config.contains("controlPlane:\n") {
                    let (version, endpoint) = {
                        let mut state = self.state();
                        let names = state.names.clone();
                        state.certificates.insert(machine.name.clone(), names);
                        (state.version.clone(), state.endpoint.clone())
                    };
                    becomes_plane(shell, &authority, &version, &endpoint);
                    self.state().marks.entry(machine.name.clone()).or_default().of_control_plane();
                }
                becomes_node(shell, &authority, &config, server);
                self.configures_kubelet(shell);
                self.daemons();
                Ok(0)
            }
            ["upgrade", "node", "phase", "kubelet-config", ..]
                if is_there("/etc/kubernetes/kubelet.conf") =>
            {
                self.alone(shell, CONFIGURES_KUBELET).await?;
                self.configures_kubelet(shell);
                Ok(0)
            }
            ["upgrade", "apply", version, "--yes", "--patches", _, skipped]
                if skipped.starts_with("--skip-phases=") && is_there(upgrade::MANIFEST) =>
            {
                self.upgrade(shell, version.trim_start_matches('v'), skipped).await
            }
            ["upgrade", ..] => Ok(1),
            ["certs" | "kubeconfig", ..] => self.signs(shell, words).await,
            ["init" | "join" | "--kubeconfig", ..] => say(shell, "kubeadm: it cannot be done now", 1),
            _ => unknown(shell, "kubeadm", words),
        }
    }

    /// The cluster has a configuration of kubeadm's.
    fn learns(&self, config: &str) {
        let mut state = self.state();
        state.kubelet_config = kubelet_config(config);
        state.version = told(config, "kubernetesVersion: v");
        state.endpoint = told(config, "controlPlaneEndpoint:");
        state.names = told(config, "certSANs:");
    }

    /// The kubelet gets the configuration that the cluster has, and what differs on its machine; which a power cut would take away.
    fn configures_kubelet(&self, shell: &Shell) {
        let config = self.state().kubelet_config.clone() + &content(&shell.machine, PATCH);
        unflushed(shell, KUBELET_CONFIG, &config, 0o644);
    }
}
