//! What is to be said of the variables that users set and that nothing here reads.

use std::collections::{BTreeSet, HashSet};

use muster_inventory::{Origin, Vars, VarsError, closest, closest_within};

use super::{Entry, KEYS, entries};
use crate::reference;

/// What becomes of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is refused before a run: ignoring it would make another cluster.
    Refused,
    /// No role uses it; mistyped, most of the time.
    Unknown,
    /// It is not set, and comes to something else than in kubespray.
    Default,
    /// What it asks for is not there.
    Absent,
    /// It has no meaning any more.
    Lost,
    /// It says what is done anyway, or belongs to something that has its say already: no words needed.
    Quiet,
}

/// A variable, and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Remark {
    /// The variable.
    pub name: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why: a clause. Of [`Verdict::Unknown`] the name that was probably meant, if there is one.
    pub why: String,
    /// Where it is set, each place once.
    pub places: Vec<Origin>,
}

/// Everything to be said about all the variables that users set, by name. Values are judged as they are for each host.
///
/// # Errors
/// None but those of hosts that are not in the inventory, which does not happen.
pub fn remarks(vars: &Vars) -> Result<Vec<Remark>, VarsError> {
    let own: BTreeSet<&str> = reference::variables().map(|variable| variable.name).collect();
    let written = vars.written();
    let mut remarks = Vec::new();
    let mut kubesprays = false;
    for set in &written {
        if KEYS.renamed.contains_key(&set.name) {
            continue;
        }
        let mut entries = entries(&set.name);
        let is_own = own.contains(set.name.as_str());
        entries.retain(|entry| entry.exact || !is_own);
        let mistyped = (!is_own).then(|| mistyped(&set.name, &entries, own.iter().copied())).flatten();
        if entries.is_empty() || mistyped.is_some() {
            if !is_own && !set.mentioned {
                let meant = mistyped.or_else(|| closest(&set.name, own.iter().copied()));
                remarks.push(Remark {
                    name: set.name.clone(),
                    verdict: Verdict::Unknown,
                    why: meant.unwrap_or_default().to_owned(),
                    places: set.origin.iter().cloned().collect(),
                });
            }
            continue;
        }
        kubesprays |= !is_own;
        let remark = judge(vars, &set.name, &entries)?;
        remarks.extend(remark.filter(|remark| !is_own || remark.verdict != Verdict::Quiet));
    }
    if kubesprays {
        let is_set = |name: &str| written.iter().any(|set| set.name == name);
        remarks.extend(defaults(vars, is_set)?);
    }
    Ok(remarks)
}

/// The name of muster's that is probably meant by one that it does not have: next to such a name, a mere pattern of kubespray's
/// proves nothing.
pub(super) fn mistyped<'a>(
    name: &str,
    entries: &[Entry],
    own: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    if entries.iter().any(|entry| entry.exact) { None } else { closest_within(2, name, own) }
}

/// What is to be said of one variable; nothing when it is set for no host.
fn judge(vars: &Vars, name: &str, entries: &[Entry]) -> Result<Option<Remark>, VarsError> {
    let Some(first) = entries.first() else { return Ok(None) };
    let mut remark =
        Remark { name: name.to_owned(), verdict: Verdict::Quiet, why: first.why_quiet(), places: Vec::new() };
    let mut is_set = false;
    // A value that is the same for all hosts is judged once.
    let mut seen: HashSet<String> = HashSet::new();
    for host in vars.inventory().hosts() {
        let host = vars.host(host.name())?;
        let Some(definition) = host.explain(name).into_iter().find(|d| d.kind.is_user()) else { continue };
        is_set = true;
        let place = definition.origin().cloned();
        let key = place.as_ref().map_or_else(|| definition.place.clone(), ToString::to_string);
        if !definition.value.is_template() && !seen.insert(key) {
            continue;
        }
        // Parts are not looked at: working out a value may make files (`lookup('password', ...)`).
        let value = entries.iter().any(|entry| entry.harmless.is_some()).then(|| host.get(name));
        let asks = |entry: &&Entry| match (entry.harmless, &value) {
            (Some(harmless), Some(Ok(Some(value)))) => !harmless.holds(value, &host),
            // What cannot be worked out was meant to say something.
            (Some(_), Some(Err(_))) => true,
            _ => false,
        };
        let asking = entries.iter().find(asks);
        let usual = |entry: &&Entry| matches!(&value, Some(Ok(Some(value))) if entry.is_of_samples(name, value, &host));
        let verdict = asking.filter(|entry| !usual(entry)).map_or(Verdict::Quiet, |entry| entry.verdict);
        if verdict < remark.verdict {
            remark.verdict = verdict;
            remark.places.clear();
        }
        if let Some(entry) = asking.filter(|_| verdict == remark.verdict) {
            remark.why.clone_from(&entry.group.why);
        }
        if verdict == remark.verdict {
            remark.places.extend(place.filter(|place| !remark.places.contains(place)));
        }
    }
    Ok(is_set.then_some(remark))
}

/// Variables that mean something else than in kubespray where they are not set.
fn defaults(vars: &Vars, is_set: impl Fn(&str) -> bool) -> Result<Vec<Remark>, VarsError> {
    let Some(host) = vars.inventory().hosts().next() else { return Ok(Vec::new()) };
    let host = vars.host(host.name())?;
    let mut remarks = Vec::new();
    for (name, theirs) in KEYS.defaults.iter().filter(|(name, _)| !is_set(name)) {
        let ours = host.get(name)?.map(|value| super::text_of(&value)).unwrap_or_default();
        remarks.push(Remark {
            name: name.clone(),
            verdict: Verdict::Default,
            why: format!("{ours} (kubespray: {theirs})"),
            places: Vec::new(),
        });
    }
    Ok(remarks)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_inventory::{Inventory, VarsBuilder};

    use super::*;

    /// What becomes of the variables of an inventory, as `verdict name (lines)`.
    fn told(ini: &str) -> Vec<String> {
        let inventory = Arc::new(Inventory::from_ini("hosts", ini, crate::group_rules()).unwrap());
        let mut builder = VarsBuilder::new(inventory).defaults("common", crate::COMMON_DEFAULTS).unwrap();
        for role in crate::ROLES {
            builder = builder.defaults(role.name, role.defaults).unwrap();
        }
        let one = |remark: Remark| {
            let lines: Vec<String> = remark.places.iter().map(|place| place.line().to_string()).collect();
            format!("{:?} {} ({})", remark.verdict, remark.name, lines.join(" "))
        };
        remarks(&builder.build().unwrap()).unwrap().into_iter().map(one).collect()
    }

    /// Variables for two hosts, whose defaults have no say.
    fn of_both(vars: &str) -> Vec<String> {
        let told =
            told(&format!("a\nb\n[all:vars]\nkube_network_plugin=flannel\nkube_proxy_mode=ipvs\n{vars}\n"));
        told.into_iter().filter(|told| !told.starts_with("Default ")).collect()
    }

    #[test]
    fn each_class_has_its_verdict_by_the_value() {
        // Each row: a line of [all:vars], and what is to be said of it.
        for (line, expected) in [
            ("etcd_deployment_type=kubeadm", ""),
            ("etcd_kubeadm_enabled=true", "Absent etcd_kubeadm_enabled (6)"),
            // What samples set is asked for by nobody.
            ("etcd_deployment_type=docker", ""),
            ("enable_nodelocaldns_secondary=true", "Absent enable_nodelocaldns_secondary (6)"),
            ("resolvconf_mode=docker_dns", ""),
            ("enable_network_policy=false", "Quiet enable_network_policy (6)"),
            ("resolvconf_mode=host_resolvconf", ""),
            ("kubeadm_patches={'enabled': False, 'source_dir': 'x'}", ""),
            ("kube_profiling=false", ""),
            ("kube_proxy_remove=true", ""),
            ("kube_apiserver_pod_eviction_not_ready_timeout_seconds=30", ""),
            ("registry_port=5000", ""),
            ("enable_nodelocaldns=true", ""),
            ("kubelet_download_url=https://a.example", "Lost kubelet_download_url (6)"),
            ("docker_log_opts='--log-opt max-size=50m --log-opt max-file=5'", ""),
            ("kube_proxy_metrics_bind_address=0.0.0.0:10249", ""),
            ("kube_proxy_healthz_bind_address=0.0.0.0:10256", ""),
            ("apiserver_loadbalancer_domain_name=k8s.example.org", ""),
            ("kube_apiserver_request_timeout=2m0s", ""),
            ("kube_apiserver_etcd_compaction_interval=10m", ""),
            // Of the families of which kubespray has no more than is there, or has a word for.
            ("kube_apiserver_cpu_limit=800m", "Absent kube_apiserver_cpu_limit (6)"),
            ("kube_apiserver_storage_backend=etcd3", "Quiet kube_apiserver_storage_backend (6)"),
            (
                "kube_apiserver_admission_control_config_file=true",
                "Quiet kube_apiserver_admission_control_config_file (6)",
            ),
            ("registry_htpasswd=", "Quiet registry_htpasswd (6)"),
            ("kubelet_rotate_server_certificates=true", ""),
            // Names of people's own.
            ("gitlab_version=1", "Unknown gitlab_version (6)"),
            ("webhook_url=https://a.example", "Unknown webhook_url (6)"),
            ("is_virtual_machine=true", "Unknown is_virtual_machine (6)"),
            ("etcd_deployment_type=host", ""),
            ("container_manager=docker", ""),
            ("container_manager=crio", "Refused container_manager (6)"),
            ("ipv4_stack=false", "Refused ipv4_stack (6)"),
            ("kube_config_dir=/srv/kubernetes", "Refused kube_config_dir (6)"),
            ("kube_config_dir=/etc/kubernetes", ""),
            ("ipv4_stack=yes", "Quiet ipv4_stack (6)"),
            ("dns_mode=kubedns", ""),
            ("dns_mode=manual", ""),
            ("dns_mode=coredns_dual", ""),
            ("dns_mode=skydns", "Refused dns_mode (6)"),
            ("aws_ebs_csi_enabled=True", "Absent aws_ebs_csi_enabled (6)"),
            ("aws_ebs_csi_enabled=false", "Quiet aws_ebs_csi_enabled (6)"),
            ("helm_version=v2.9.1", "Quiet helm_version (6)"),
            ("kpm_packages=[]", "Quiet kpm_packages (6)"),
            ("aws_ebs_csi_enabled={{ nowhere }}", "Absent aws_ebs_csi_enabled (6)"),
            ("authorization_modes=['Node', 'RBAC']", ""),
            ("bootstrap_os=none", "Quiet bootstrap_os (6)"),
            ("bootstrap_os=coreos", "Lost bootstrap_os (6)"),
            ("kube_script_dir={{ bin_dir }}/kubernetes-scripts", "Quiet kube_script_dir (6)"),
            ("kube_script_dir=/opt/scripts", "Lost kube_script_dir (6)"),
            ("docker_rpm_keepcache=1", "Quiet docker_rpm_keepcache (6)"),
            ("docker_options=-D", ""),
            ("docker_version=20.10", "Lost docker_version (6)"),
            ("docker_cri=cri-dockerd", "Refused docker_cri (6)"),
            ("kube_apiserver_ip=10.233.0.1", "Quiet kube_apiserver_ip (6)"),
            ("retry_stagger=5", "Quiet retry_stagger (6)"),
            ("kube_verison=1.36.3", "Unknown kube_verison (6)"),
            // Like a family of kubespray's, and yet a misspelling of one that there is.
            ("kubelet_max_pod=50", "Unknown kubelet_max_pod (6)"),
            ("coredns_replica=3", "Unknown coredns_replica (6)"),
            ("kube_version=1.36.3", ""),
            ("use_cilium=true", "Refused use_cilium (6)"),
            ("use_cilium=false", "Quiet use_cilium (6)"),
            // calico's, of old.
            ("ipip=False", "Absent ipip (6)"),
            ("ipip=True", "Absent ipip (6)"),
            ("ipip_mode=Never", ""),
            ("calico_no_global_as_num=true", "Absent calico_no_global_as_num (6)"),
            ("calico_no_global_as_num=false", "Quiet calico_no_global_as_num (6)"),
            ("calico_feature_control={'floating_ips': True}", "Absent calico_feature_control (6)"),
            ("calico_feature_control={}", "Quiet calico_feature_control (6)"),
            ("calico_ds_nodeselector=room=104", "Absent calico_ds_nodeselector (6)"),
            ("calico_felix_log_severity_screen=Debug", "Absent calico_felix_log_severity_screen (6)"),
            ("calico_felix_log_severity_screen=Info", "Quiet calico_felix_log_severity_screen (6)"),
            // Of a family that has lost its meaning, and yet there.
            ("docker_dns_servers_strict=True", ""),
            ("dns_replicas=2", ""),
        ] {
            assert_eq!(of_both(line).join("; "), expected, "{line}");
        }
    }

    #[test]
    fn values_are_judged_as_they_are_for_each_host() {
        let ini = "a krew_enabled=False\nb krew_enabled=True\nc\n[x]\na\n[y]\nb\n[none]\n[none:vars]\nistio_enabled=True\n\
                   [all:vars]\nkube_network_plugin={{ 'flannel' if 'x' in group_names else 'weave' }}\nkube_proxy_mode=ipvs\n\
                   kpm_packages={{ [1] if 'y' in group_names else [] }}\naws_ebs_csi_enabled={{ 'z' in group_names }}\n";
        assert_eq!(
            told(ini),
            [
                "Quiet aws_ebs_csi_enabled (15)",
                "Absent kpm_packages (14)",
                "Absent krew_enabled (2)",
                "Refused kube_network_plugin (12)",
                "Default enable_nodelocaldns ()",
                "Default resolvconf_mode ()",
            ]
        );
    }

    #[test]
    fn a_part_says_what_it_belongs_to() {
        for (name, why) in [
            ("cilium_cert_dir", "it belongs to kube_network_plugin"),
            ("dns_late", "it belongs to resolvconf_mode"),
            ("kubeadm_certificate_key", "it belongs to kubeadm_token_ttl"),
            // What there is by now.
            (
                "upgrade_cluster_setup",
                "upgrade-cluster brings a cluster to another version; setup-cluster leaves it the one that it has",
            ),
            (
                "nfs_provisioner_enabled",
                "volumes of an NFS server are made by csi-driver-nfs (nfs_csi_enabled)",
            ),
        ] {
            assert_eq!(super::super::about(name).unwrap().why, why, "{name}");
        }
    }

    #[test]
    fn defaults_that_are_not_kubesprays_are_told_to_those_who_come_from_there() {
        let of = |vars: &str| told(&format!("a\n[all:vars]\n{vars}\n"));
        assert!(of("kube_version=1.36.3\nmine=1\nkube_log_level={{ mine }}").is_empty());
        assert_eq!(
            of("aws_ebs_csi_enabled=False\nkube_proxy_mode=iptables"),
            [
                "Quiet aws_ebs_csi_enabled (3)",
                "Default enable_nodelocaldns ()",
                "Default kube_network_plugin ()",
                "Default resolvconf_mode ()",
            ]
        );
    }
}
