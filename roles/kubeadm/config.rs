//! What a control plane is told: kubeadm's configuration, and how its static pods differ from what kubeadm writes.

use std::collections::BTreeMap;

use muster_artifacts::Sha256;
use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::audit::Audit;
use super::component_file::{API_SERVER, ComponentFile, SCHEDULER, folder_of};
use super::patches::Patches;
use super::{
    PATCHES, access, admission, arguments, kube_proxy, kubelet, node_registration, reconfigure, scheduler,
    tracing,
};
use crate::addresses::{all_of, ip};
use crate::balancer::{self, External};
use crate::certificates::Keys;
use crate::cluster::{self, Standing};
use crate::common::{ClusterVars, cluster_vars, kube_minor};
use crate::encryption::{self, Encryption};
use crate::etcd;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kubeadm_feature_gates: Vec<String>,
    kube_asymmetric_encryption_algorithm: Option<String>,
}

/// Where kubeadm finds it.
pub(crate) const CONFIG: &str = "/etc/kubernetes/kubeadm-config.yaml";

/// Holds the hash of the configuration that the control plane was last given. Written when `kubeadm init` or `kubeadm join` has
/// come to its end: one that was cut off does not leave it, and is run again.
pub(super) const APPLIED: &str = "/var/lib/muster/stamps/kubeadm-init";

/// There from before `kubeadm init` until it has come to its end: what was cut off in between is told by it from a cluster that
/// muster has not begun.
pub(super) const BEGINS: &str = "/var/lib/muster/stamps/kubeadm-init-begins";

/// Holds the `HOST:PORT` of load balancers of somebody else's: the one to which variables have brought the cluster, and the one to
/// which they are about to.
const EXTERNAL: &str = "/var/lib/muster/stamps/api-endpoint";

/// The first minor version whose kubeadm takes configurations of the form v1beta4. One of before, which takes v1beta3, also looks for
/// crictl before it does anything.
pub(crate) const V1BETA4: u32 = 31;

/// The form of configurations that kubeadm takes in a version (kubeadm.k8s.io).
pub(super) fn api(version: &str) -> &'static str {
    if kube_minor(version) >= V1BETA4 { "v1beta4" } else { "v1beta3" }
}

/// The phases of `kubeadm init` that are left out: DNS is a role of its own, and kube-proxy is not to be there everywhere. What kubeadm
/// checks before muster has checked, too; the images are there.
pub(super) fn skipped(version: &str, has_kube_proxy: bool) -> String {
    let phases = [
        (kube_minor(version) < V1BETA4, "preflight"),
        (true, "addon/coredns"),
        (!has_kube_proxy, "addon/kube-proxy"),
    ];
    let skipped = phases.into_iter().filter(|(is_skipped, _)| *is_skipped).map(|(_, phase)| phase);
    skipped.collect::<Vec<_>>().join(",")
}

/// What a control plane was told.
pub(super) struct Config {
    pub(super) hash: String,
    /// The folder of the cluster's certificates.
    pub(super) certificates: String,
}

/// What the control plane's programs read only when they start, beside their arguments.
pub(super) struct Files {
    pub(super) audit: Option<Audit>,
    pub(super) encryption: Option<Encryption>,
    pub(super) read: Vec<ComponentFile>,
}

impl Files {
    async fn wanted(host: &Host, known: &Standing) -> Result<Self> {
        let (audit, minor) = (Audit::wanted(host)?, kube_minor(&cluster_vars(host)?.kube_version));
        let (access, tracing): (access::Vars, tracing::Vars) = (host.vars()?, host.vars()?);
        let mut read = access.files(minor);
        read.extend(admission::file(&host.vars()?, minor));
        read.extend(tracing.of_api_server(minor));
        read.extend(host.vars::<scheduler::Vars>()?.file());
        read.extend(audit.as_ref().map(Audit::files).unwrap_or_default());
        Ok(Self { audit, encryption: encryption::next(host, known).await?, read })
    }

    /// Annotations of the API server's pod: they make it begin anew when something changes that its arguments do not name.
    fn annotations(&self) -> serde_json::Map<String, serde_json::Value> {
        let named = self.read.iter().filter(|file| file.argument().is_none());
        let named = named.map(|file| ("muster.io/reads", file.path().to_owned()));
        let encryption =
            self.encryption.as_ref().map(|encryption| ("muster.io/encryption", encryption.gist()));
        named.chain(encryption).map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

/// Writes it, without applying it.
pub(super) async fn write(host: &Host, known: &Standing) -> Result<Config> {
    let files = Files::wanted(host, known).await?;
    let cluster = cluster_vars(host)?;
    let version = &cluster.kube_version;
    let text = config(host, known, version, &files, &cluster::endpoint(host, known)?, former_host(known))?;
    let (patches, own) = (patches(&files), Patches::of(host, &COMPONENTS)?);
    let wanted = config(host, known, version, &files, &cluster::in_the_end(host, known)?, None)?;
    let config = Config { hash: hash_of(&wanted, &patches, &own), certificates: cluster.kube_cert_dir };
    let mut step = host
        .step("Configure the control plane")
        .ensure(reconfigure::nothing_half_done(&config.certificates))
        .ensure(dir("/etc/kubernetes"))
        .ensure(of_kubeadm(text));
    for (path, patch) in patches {
        step = step.ensure(file(path).content(patch));
    }
    step = own.ensured_in(step);
    if let Some(external) = External::wanted(host, known)? {
        let former =
            known.endpoint().filter(|former| *former != external.endpoint() && known.was_brought_to(former));
        let lines = std::iter::once(external.endpoint()).chain(former.map(str::to_owned));
        step = step.ensure(file(EXTERNAL).content(lines.map(|line| format!("{line}\n")).collect::<String>()));
    }
    for component in [API_SERVER, SCHEDULER] {
        let mut of_component = files.read.iter().filter(|file| file.is_of(component)).peekable();
        if of_component.peek().is_some() {
            step = step.ensure(dir(folder_of(component)).mode(0o700));
        }
        step = step.ensure_all(of_component.map(ComponentFile::file));
    }
    if let Some(encryption) = &files.encryption {
        step = step.ensure(dir(config.certificates.as_str())).ensure(encryption.file());
    }
    step.await?;
    Ok(config)
}

/// kubeadm's configuration. What programs get as arguments, and what the cluster keeps for all nodes, is no secret: what another value
/// of a variable changes of static pods and kubelets is shown by it.
fn of_kubeadm(text: String) -> File {
    file(CONFIG).content(text).mode(0o600).shown()
}

/// The configuration when the run is through: the machines find the API where they are to find it, and nowhere else.
pub(super) async fn in_the_end(host: &Host, known: &Standing) -> Result<Vec<File>> {
    let written = Files::wanted(host, known).await?;
    let (version, endpoint) = (cluster_vars(host)?.kube_version, cluster::in_the_end(host, known)?);
    let text = config(host, known, &version, &written, &endpoint, None)?;
    let mut files = vec![of_kubeadm(text)];
    files.extend(External::wanted(host, known)?.map(|_| file(EXTERNAL).content(format!("{endpoint}\n"))));
    Ok(files)
}

/// Whether the configuration is another one than it will be when the run is through. It is not where machines go on to find the API where
/// they did, whatever variables say: in a run of some roles only.
pub(super) fn is_of_a_transition(host: &Host, known: &Standing) -> Result<bool> {
    let Some(former) = former_host(known).map(str::to_owned) else { return Ok(false) };
    let goes_on = cluster::in_the_end(host, known)?.rsplit_once(':').is_some_and(|(host, _)| host == former);
    Ok(!goes_on && !names(host, known)?.contains(&former))
}

/// Where machines have found the API before this run, and some may look for it until it is through: certificates stay good for that.
fn former_host(known: &Standing) -> Option<&str> {
    Some(known.endpoint()?.rsplit_once(':')?.0)
}

/// What kubeadm is told when the run is through: documents of its configuration.
pub(super) async fn documents(host: &Host, known: &Standing) -> Result<String> {
    let (files, version) = (Files::wanted(host, known).await?, cluster_vars(host)?.kube_version);
    config(host, known, &version, &files, &cluster::in_the_end(host, known)?, None)
}

/// The hash of what a control plane is told in a version.
pub(super) async fn hash(host: &Host, known: &Standing, version: &str) -> Result<String> {
    let files = Files::wanted(host, known).await?;
    let endpoint = cluster::in_the_end(host, known)?;
    let own = Patches::of(host, &COMPONENTS)?;
    config(host, known, version, &files, &endpoint, None).map(|text| hash_of(&text, &patches(&files), &own))
}

fn hash_of(text: &str, patches: &[(String, String)], own: &Patches) -> String {
    let patches = patches.iter().map(|(_, patch)| patch.as_str());
    let all: String = std::iter::once(text).chain(patches).chain([own.text().as_str()]).collect();
    Sha256::of(all.as_bytes()).to_string()
}

/// The files with the patches, and what they say.
fn patches(files: &Files) -> Vec<(String, String)> {
    let of_component = |name: &str| {
        let annotations = if name == "kube-apiserver" { files.annotations() } else { serde_json::Map::new() };
        (format!("{PATCHES}/{name}0+strategic.json"), patch(name, annotations))
    };
    COMPONENTS.into_iter().map(of_component).collect()
}

const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// How a component's static pod differs from what kubeadm writes. The kubelet asks for the first time, and then again, each
/// second whether it is up; kubeadm's ten seconds are how long a control plane that works would be shown as not ready.
fn patch(component: &str, annotations: serde_json::Map<String, serde_json::Value>) -> String {
    let probe = json!({ "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 300 });
    let mut pod = json!({ "spec": { "containers": [{ "name": component, "startupProbe": probe }] } });
    if !annotations.is_empty() {
        pod["metadata"] = json!({ "annotations": annotations });
    }
    format!("{pod:#}\n")
}

/// The names and addresses that the certificates of API servers are good for, beside kubeadm's own.
fn names(host: &Host, known: &Standing) -> Result<Vec<String>> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    // Hosts that change places in their group change nothing.
    let mut planes = known.planes.clone();
    planes.sort_unstable();
    for plane in planes {
        names.extend(all_of(host, &plane)?);
    }
    names.extend(cluster_vars(host)?.supplementary_addresses_in_ssl_keys);
    names.extend(balancer::names(host.all_vars()));
    names.dedup();
    Ok(names)
}

/// The kind of keys that a variable asks for.
pub(crate) fn keys_asked_for(host: &Host) -> Result<Option<Keys>> {
    let vars: Vars = host.vars()?;
    Ok(vars.kube_asymmetric_encryption_algorithm.as_deref().and_then(Keys::named))
}

/// How the controller manager is told the size of each node's part of the network of pods. With two families it refuses the argument
/// that names none.
fn node_prefixes(cluster: &ClusterVars) -> BTreeMap<&'static str, String> {
    let of_ipv4 = cluster.kube_network_node_prefix.to_string();
    match cluster.ipv6_stack {
        false => BTreeMap::from([("node-cidr-mask-size", of_ipv4)]),
        true => BTreeMap::from([
            ("node-cidr-mask-size-ipv4", of_ipv4),
            ("node-cidr-mask-size-ipv6", cluster.kube_network_node_prefix_ipv6.to_string()),
        ]),
    }
}

fn config(
    host: &Host,
    known: &Standing,
    version: &str,
    files: &Files,
    endpoint: &str,
    former_host: Option<&str>,
) -> Result<String> {
    let mut sans = names(host, known)?;
    sans.extend(former_host.filter(|host| !sans.iter().any(|name| name == host)).map(str::to_owned));
    let (vars, registration, cluster): (Vars, _, _) =
        (host.vars()?, node_registration(host)?, cluster_vars(host)?);
    // Where nobody asks for a kind, certificates have keys like those of the authority that has been.
    let keys = keys_asked_for(host)?.or(known.authority_keys().filter(|keys| *keys != Keys::default()));
    let extra = json!({
        "kubeadm_api": api(version),
        "address": ip(host)?,
        "version": version,
        "endpoint": endpoint,
        "services": cluster.services().join(","),
        "pods": cluster.pods().join(","),
        "node_prefixes": node_prefixes(&cluster),
        "image_repository": "registry.k8s.io",
        "etcd_endpoints": etcd::client_urls(host)?,
        "sans": sans,
        "node_registration": registration.trim_end(),
        "kubelet_config": kubelet::config(host)?.trim_end(),
        "components": arguments::components(host, files)?,
        "encryption_algorithm": keys.map(Keys::name),
        "kubeadm_gates": arguments::gates([&vars.kubeadm_feature_gates, &Vec::new()]),
        "kube_proxy": kube_proxy::fields(host)?,
    });
    host.render("init.yaml.j2", include_str!("templates/init.yaml.j2"), &extra)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use muster_engine::run::Role;

    use super::*;
    use crate::preflight::fixture::inventory_and_vars;
    use crate::testing::run_roles;

    #[tokio::test]
    async fn certificates_of_api_servers_are_good_for_every_address_of_every_control_plane() {
        let hosts = "a ansible_host=203.0.113.1 ip=192.0.2.1 access_ip=198.51.100.1\nb ansible_host=b.example.org ip=192.0.2.2\n\
                     [kube_control_plane]\na\nb\n[etcd]\na\n[kube_node]\na\n";
        let seen = Arc::new(Mutex::new(String::new()));
        let notes = seen.clone();
        let look = Role::given("look", move |host| {
            let known = Standing { planes: ["a", "b"].map(str::to_owned).into(), ..Standing::default() };
            *notes.lock().unwrap() = names(host, &known).unwrap().join(" ");
            async { Ok(()) }.boxed()
        });
        let play = json!([{ "name": "Look", "hosts": "a", "roles": ["look"] }]);
        let written = inventory_and_vars(hosts, "supplementary_addresses_in_ssl_keys: [api.example.org]");
        let look = Role { reads: &[crate::cluster::READS], ..look };
        run_roles(&[look], written, &["a"], play, Path::new("/nowhere")).await;
        assert_eq!(
            *seen.lock().unwrap(),
            "localhost 127.0.0.1 192.0.2.1 198.51.100.1 203.0.113.1 a 192.0.2.2 b.example.org b api.example.org"
        );
    }

    /// What a control plane is told in a version, with these variables: the documents of kubeadm's configuration.
    async fn told_in(version: &'static str, more: &str) -> Vec<serde_json::Value> {
        let text = written_in(version, more).await;
        text.split("---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
    }

    /// The same as it is written.
    async fn written_in(version: &'static str, more: &str) -> String {
        let hosts =
            "a ansible_host=192.0.2.1 ip=192.0.2.1\n[kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\n";
        let seen = Arc::new(Mutex::new(String::new()));
        let notes = seen.clone();
        let look = Role::given("look", move |host| {
            let known = Standing { planes: ["a".to_owned()].into(), ..Standing::default() };
            let files = Files { audit: None, encryption: None, read: Vec::new() };
            *notes.lock().unwrap() = config(host, &known, version, &files, "192.0.2.1:6443", None).unwrap();
            async { Ok(()) }.boxed()
        });
        let play = json!([{ "name": "Look", "hosts": "a", "roles": ["look"] }]);
        let yaml = format!(
            "kube_version: {version}\nkube_log_level: 3\nkube_kubeadm_scheduler_extra_args: {{v: 4}}\n\
             kubeadm_feature_gates: [A=false]\nkubeadm_ignore_preflight_errors: [NumCPU]\n{more}"
        );
        let written = inventory_and_vars(hosts, &yaml);
        let look = Role { reads: &[crate::cluster::READS, crate::kubeadm::READS], ..look };
        run_roles(&[look], written, &["a"], play, Path::new("/nowhere")).await;
        seen.lock().unwrap().clone()
    }

    /// The lines of kubeadm's configuration that a second family changes, beside those that stand there without it.
    #[tokio::test]
    async fn a_second_family_changes_what_names_a_network_and_nothing_else() {
        let both = "ipv6_stack: true\nip6: 2001:db8::1\n";
        for (version, without, with) in [
            (
                "1.36.3",
                &[
                    "      value: \"192.0.2.1\"",
                    "  serviceSubnet: 10.233.0.0/18",
                    "  podSubnet: 10.233.64.0/18",
                    "    - name: node-cidr-mask-size",
                    "clusterCIDR: 10.233.64.0/18",
                ][..],
                &[
                    "      value: \"192.0.2.1,2001:db8::1\"",
                    "  serviceSubnet: 10.233.0.0/18,fd85:ee78:d8a6:8607::1000/116",
                    "  podSubnet: 10.233.64.0/18,fd85:ee78:d8a6:8607::1:0000/112",
                    "    - name: node-cidr-mask-size-ipv4",
                    "    - name: node-cidr-mask-size-ipv6",
                    "      value: \"120\"",
                    "clusterCIDR: 10.233.64.0/18,fd85:ee78:d8a6:8607::1:0000/112",
                ][..],
            ),
            (
                "1.30.14",
                &[
                    "  kubeletExtraArgs: {node-ip: \"192.0.2.1\"}",
                    "  serviceSubnet: 10.233.0.0/18",
                    "  podSubnet: 10.233.64.0/18",
                    r#"  extraArgs: {"node-cidr-mask-size": "24", "kube-api-qps": "100", "kube-api-burst": "100", "v": "3"}"#,
                    "clusterCIDR: 10.233.64.0/18",
                ],
                &[
                    "  kubeletExtraArgs: {node-ip: \"192.0.2.1,2001:db8::1\"}",
                    "  serviceSubnet: 10.233.0.0/18,fd85:ee78:d8a6:8607::1000/116",
                    "  podSubnet: 10.233.64.0/18,fd85:ee78:d8a6:8607::1:0000/112",
                    r#"  extraArgs: {"node-cidr-mask-size-ipv4": "24", "node-cidr-mask-size-ipv6": "120", "kube-api-qps": "100", "kube-api-burst": "100", "v": "3"}"#,
                    "clusterCIDR: 10.233.64.0/18,fd85:ee78:d8a6:8607::1:0000/112",
                ],
            ),
        ] {
            let (one, two) = (written_in(version, "").await, written_in(version, both).await);
            let diff = similar::TextDiff::from_lines(&one, &two);
            let of = |tag| {
                let lines = diff.iter_all_changes().filter(|change| change.tag() == tag);
                lines.map(|change| change.value().trim_end().to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(of(similar::ChangeTag::Delete), without, "{version}");
            assert_eq!(of(similar::ChangeTag::Insert), with, "{version}");
        }
    }

    #[tokio::test]
    async fn an_old_kubeadm_is_told_in_the_form_that_it_takes() {
        let mut new = told_in("1.31.14", "").await;
        let cluster = &new[1];
        assert_eq!(
            (&new[0]["apiVersion"], &cluster["apiVersion"]),
            (&json!("kubeadm.k8s.io/v1beta4"), &json!("kubeadm.k8s.io/v1beta4"))
        );
        assert_eq!(
            cluster["apiServer"]["extraArgs"][0],
            json!({ "name": "service-node-port-range", "value": "30000-32767" })
        );
        assert_eq!(cluster["featureGates"], json!({ "A": false }));
        let ignored = new[0]["nodeRegistration"]["ignorePreflightErrors"].as_array().unwrap();
        assert_eq!(ignored.last(), Some(&json!("NumCPU")));
        let newest = told_in("1.36.3", "").await;
        new[1]["kubernetesVersion"] = json!("v1.36.3");
        assert_eq!(new[..2], newest[..2]);

        let old = told_in("1.30.14", "").await;
        let (init, cluster) = (&old[0], &old[1]);
        assert_eq!(
            (&init["apiVersion"], &cluster["apiVersion"]),
            (&json!("kubeadm.k8s.io/v1beta3"), &json!("kubeadm.k8s.io/v1beta3"))
        );
        assert_eq!(init["nodeRegistration"]["kubeletExtraArgs"], json!({ "node-ip": "192.0.2.1" }));
        assert!(init["timeouts"].is_null() && cluster["apiServer"]["timeoutForControlPlane"].is_string());
        assert_eq!(
            cluster["apiServer"]["extraArgs"],
            json!({ "service-node-port-range": "30000-32767", "shutdown-delay-duration": "5s", "shutdown-send-retry-after": "true", "v": "3" })
        );
        let manager =
            json!({ "node-cidr-mask-size": "24", "kube-api-qps": "100", "kube-api-burst": "100", "v": "3" });
        assert_eq!(cluster["controllerManager"]["extraArgs"], manager);
        assert_eq!(cluster["scheduler"]["extraArgs"], json!({ "v": "4" }));
    }

    /// By that document publish.sh and upgrade.sh know whether there is to be a kube-proxy.
    #[tokio::test]
    async fn kubeadm_is_told_nothing_of_a_kube_proxy_that_is_not_to_be_there() {
        let kinds = |told: Vec<serde_json::Value>| {
            told.into_iter().map(|document| document["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let all = ["Init", "Cluster", "Kubelet", "KubeProxy"].map(|kind| format!("{kind}Configuration"));
        assert_eq!(kinds(told_in("1.36.3", "").await), all);
        let own = "kube_network_plugin: none\nkube_proxy_remove: true\n";
        assert_eq!(kinds(told_in("1.36.3", own).await), all[..3]);
        // Cilium is asked to do its work: then nobody has to say more.
        let cilium = "kube_network_plugin: cilium\ncilium_kube_proxy_replacement: true\n";
        assert_eq!(kinds(told_in("1.36.3", cilium).await), all[..3]);
        let beside = format!("{cilium}kube_proxy_remove: false\n");
        assert_eq!(kinds(told_in("1.36.3", &beside).await), all);
        let text = include_str!("templates/init.yaml.j2");
        let line = "\nkind: KubeProxyConfiguration\n";
        assert!(text.contains(line));
        for script in [include_str!("publish.sh"), include_str!("upgrade.sh")] {
            assert!(script.contains(&format!("grep -qsxF '{}'", line.trim())), "{script}");
        }
    }

    #[test]
    fn phases_of_what_is_not_to_be_there_are_left_out() {
        assert_eq!(skipped("1.36.3", true), "addon/coredns");
        assert_eq!(skipped("1.30.14", true), "preflight,addon/coredns");
        assert_eq!(skipped("1.31.14", false), "addon/coredns,addon/kube-proxy");
    }

    /// The fields of kubeadm's `Timeouts` (kubeadm.k8s.io/v1beta4).
    const TIMEOUTS: [&str; 7] = [
        "controlPlaneComponentHealthCheck",
        "kubeletHealthCheck",
        "kubernetesAPICall",
        "etcdAPICall",
        "tlsBootstrap",
        "discovery",
        "upgradeManifests",
    ];

    #[test]
    fn every_wait_of_kubeadm_follows_a_variable() {
        let templates = [
            (include_str!("templates/init.yaml.j2"), "kubeadm_init_timeout"),
            (include_str!("templates/join.yaml.j2"), "kubeadm_join_timeout"),
        ];
        for (template, variable) in templates {
            for field in TIMEOUTS {
                let line = format!("\n  {field}: {{{{ {variable} }}}}\n");
                assert!(template.contains(&line), "{line}{template}");
            }
        }
    }

    #[test]
    fn kubeadm_makes_no_token_that_lasts() {
        let template = include_str!("templates/init.yaml.j2");
        assert!(template.contains("\nbootstrapTokens:\n- ttl: 1s\n"), "an empty list is a token of 24 hours");
    }
}
