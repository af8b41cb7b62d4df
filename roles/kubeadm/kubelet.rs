//! The kubelet: its unit, its configuration, and that it runs with what the variables say, also on a machine that is in the
//! cluster already.

use std::collections::BTreeSet;
use std::net::IpAddr;

use muster_artifacts::Sha256;
use muster_engine::facts::Facts;
use muster_engine::prelude::*;
use muster_inventory::some_names;
use serde::Deserialize;
use serde_json::json;

use super::kubelet_change::{self, Configuration};
use super::patches::{KUBELET, Patches};
use super::{UNIT, serving};
use crate::addresses::{access_ip_of, ip_of};
use crate::adoption;
use crate::balancer::{self, External};
use crate::certificates::renewal_timer;
use crate::cluster::{self, Standing};
use crate::common::{bin_dir, cluster_vars, kube_minor};
use crate::kubectl::{Kubectl, kubectl};
use crate::resolvconf;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    kube_resolv_conf: Option<String>,
    kubelet_systemd_hardening: bool,
    kubelet_secure_addresses: Option<String>,
    kubelet_custom_flags: Vec<String>,
    kubelet_node_custom_flags: Vec<String>,
    cloud_provider: Option<String>,
}

/// Holds what [`wanted`] was when the kubelet last got its configuration from the cluster, and the sum of the file that came of
/// it: one that somebody has edited is made anew.
pub(super) const STAMP: &str = "/var/lib/muster/stamps/kubelet-config";

/// A copy of the arguments that kubeadm gave to the kubelet then.
pub(super) const ARGUMENTS: &str = "/var/lib/muster/stamps/kubeadm-flags.env";

/// How this machine's kubelet differs from the configuration of all, where kubeadm finds it.
pub(super) const PATCH: &str = "/etc/kubernetes/patches/kubeletconfiguration0+merge.yaml";

/// The unit.
pub(super) fn unit(host: &Host, known: &Standing) -> Result<String> {
    let vars: Vars = host.vars()?;
    let api = if vars.kubelet_systemd_hardening { cluster::found_at(host, known)? } else { None };
    unit_with(host, api)
}

/// The same, of a kubelet that finds the API at an address which variables may not say.
fn unit_with(host: &Host, api: Option<IpAddr>) -> Result<String> {
    let vars: Vars = host.vars()?;
    let flags = flags(&vars, host.in_group("kube_control_plane"));
    let peers = vars.kubelet_systemd_hardening.then(|| peers(host, &vars, api)).transpose()?;
    let extra = json!({ "bin_dir": bin_dir(host)?, "flags": flags, "peers": peers });
    host.render("kubelet.service.j2", include_str!("templates/kubelet.service.j2"), &extra)
}

/// The arguments that variables ask for; what is said in so many words comes last, so that it wins.
fn flags(vars: &Vars, control_plane: bool) -> Vec<String> {
    // The field of its configuration that there once was is no more: this is the only way to say it.
    let of_cloud = vars.cloud_provider.as_deref() == Some("external");
    let mut flags: Vec<String> =
        of_cloud.then(|| "--cloud-provider=external".to_owned()).into_iter().collect();
    flags.extend(vars.kubelet_custom_flags.iter().cloned());
    if !control_plane {
        flags.extend(vars.kubelet_node_custom_flags.iter().cloned());
    }
    flags
}

/// Its file: on a machine whose kubelet runs (`is_node`) only where it is missing.
pub(super) fn unit_file(host: &Host, known: &Standing, is_node: bool) -> Result<File> {
    let unit = file(UNIT).content(unit(host, known)?);
    Ok(if is_node { unit.unless_there() } else { unit })
}

/// The addresses with which the kubelet may speak (systemd.resource-control(5), `IPAddressAllow`): the variable's, else those of all
/// machines of the cluster, of pods, of a load balancer in front of the API, and where it finds the API until that is there (`api`).
fn peers(host: &Host, vars: &Vars, api: Option<IpAddr>) -> Result<String> {
    if let Some(given) = &vars.kubelet_secure_addresses {
        return Ok(given.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let mut peers = vec!["localhost".to_owned(), "link-local".to_owned()];
    peers.extend(cluster_vars(host)?.pods().into_iter().map(str::to_owned));
    let machines = ["k8s_cluster", "etcd"].map(|group| host.cluster().group(group)).concat();
    let mut unknown = BTreeSet::new();
    for machine in machines {
        match (ip_of(host, &machine), access_ip_of(host, &machine)) {
            (Ok(ip), Ok(access)) => peers.extend([ip, access].map(|address| address.to_string())),
            // The others do not wait for one that is off.
            (Err(_), _) | (_, Err(_)) if host.cluster().host(&machine)?.known_facts().is_none() => {
                unknown.insert(machine);
            }
            (Err(failure), _) | (_, Err(failure)) => return Err(failure),
        }
    }
    if !unknown.is_empty() {
        let names = some_names(&unknown.into_iter().collect::<Vec<_>>());
        host.warn(format!(
            "kubelet_systemd_hardening: kubelets do not speak with {names} until setup-cluster has reached it, because its address is \
             not known; to have it known: ip=ADDRESS in the inventory"
        ));
    }
    if let Ok(Some(external)) = External::of(host.all_vars()) {
        peers.extend(external.address().map(|address| address.to_string()));
    }
    peers.extend(api.filter(|api| !api.is_loopback()).map(|api| api.to_string()));
    let mut seen = BTreeSet::new();
    peers.retain(|peer| seen.insert(peer.clone()));
    Ok(peers.join(" "))
}

/// The configuration of all kubelets, which the cluster keeps.
pub(super) fn config(host: &Host) -> Result<String> {
    host.render("kubelet-config.yaml.j2", include_str!("templates/kubelet-config.yaml.j2"), &json!({}))
}

/// How this machine's kubelet differs from it.
pub(super) fn patch(host: &Host) -> Result<String> {
    let (vars, cluster): (Vars, _) = (host.vars()?, cluster_vars(host)?);
    let facts = host.facts();
    let mut patch = serde_json::Map::new();
    let file = handed_on(vars.kube_resolv_conf.as_deref(), facts, &host.vars()?);
    patch.insert("resolvConf".into(), json!(file));
    // The kubelet refuses cgroup v1 by default since 1.35; the setting exists since 1.31.
    if facts.cgroup == 1 && kube_minor(&cluster.kube_version) >= 31 {
        patch.insert("failCgroupV1".into(), json!(false));
    }
    patch.extend(super::kubelet_settings::fields(host)?);
    // JSON is YAML; its keys come in a fixed order.
    Ok(format!("{:#}\n", serde_json::Value::Object(patch)))
}

/// The file with name servers that the kubelet hands on to pods; `said`: by `kube_resolv_conf`.
fn handed_on<'v>(said: Option<&'v str>, facts: &Facts, names: &resolvconf::Vars) -> &'v str {
    said.filter(|path| !names.leads_back(path)).unwrap_or_else(|| match resolv_conf_for_pods(facts) {
        // The machine's own asks the cluster's DNS, which would ask itself.
        (_, lines) if names.is_wanted() => names.handed_on(lines),
        // No pod starts where the file is not there. With an empty name pods that want the machine's servers get none.
        (_, lines) if !lines.iter().any(|line| line.starts_with("nameserver")) => "",
        (path, _) => path,
    })
}

/// A hash of everything that a kubelet reads when it starts. What is cluster-wide is that of a control plane.
pub(super) fn wanted(host: &Host, known: &Standing) -> Result<String> {
    wanted_with(host, known, &unit(host, known)?)
}

fn wanted_with(host: &Host, known: &Standing, unit: &str) -> Result<String> {
    let patches = Patches::of(host, &[KUBELET])?.text();
    let all = [unit, &shared(host, known)?, &patch(host)?, &patches].concat();
    Ok(Sha256::of(all.as_bytes()).to_string())
}

/// The same, where the cluster gives it that: it has the configuration, or a control plane of this run brings it. `None` where
/// it gives another one.
pub(super) async fn given(host: &Host, known: &Standing) -> Result<Option<String>> {
    let given = known.leader().is_some()
        || *host.cluster().once("what kubelets are given", || is_up_to_date(host, known)).await?;
    given.then(|| wanted(host, known)).transpose()
}

/// The configuration of all kubelets, by the variables that hold for the cluster.
pub(super) fn shared(host: &Host, known: &Standing) -> Result<String> {
    match known.speaker() {
        Some(plane) => config(&*host.cluster().host(plane)?),
        None => config(host),
    }
}

/// Whether the cluster has the configuration that the variables say; says so where it does not.
async fn is_up_to_date(host: &Host, known: &Standing) -> Result<bool> {
    let Some(kubectl) = Kubectl::find(host).await? else { return Ok(false) };
    let look = kubectl!(
        r#"kubectl -n kube-system get configmap "$1" -o 'jsonpath={.data.kubelet}'"#,
        ["kubelet-config"]
    );
    let is = says(&kubectl.query("the configuration of kubelets", look).await?, &shared(host, known)?);
    if !is {
        host.warn(
            "the cluster has another configuration of kubelets than the variables ask for, and no control plane takes part in \
             this run: kubelets keep what they have; to give all of them the new one: setup-cluster without --limit",
        );
    }
    Ok(is)
}

/// Whether a configuration that the cluster has, with what kubeadm adds to it, says what is wanted.
fn says(found: &str, wanted: &str) -> bool {
    let parse = |text| serde_saphyr::from_str::<serde_json::Map<String, serde_json::Value>>(text);
    let (Ok(found), Ok(wanted)) = (parse(found), parse(wanted)) else { return false };
    // It is written only where it is set, and kubeadm adds none.
    let evicts = |config: &serde_json::Map<_, _>| config.contains_key("evictionHard");
    wanted.iter().all(|(key, value)| found.get(key) == Some(value)) && evicts(&found) == evicts(&wanted)
}

/// The kubelet runs, with the configuration that the cluster has for it now.
pub(super) async fn run(host: &Host, known: &Standing) -> Result<()> {
    let given = given(host, known).await?;
    let had = known.identity(host.name()).and_then(|seen| seen.kubelet_given.as_ref());
    // One that has only just joined has it.
    let is_another = given.is_some() && given.as_ref() != had && known.had_joined(host.name());
    let runs = || runs_with(host, known, given.as_deref());
    match is_another && !host.check_mode() {
        true => kubelet_change::in_turn(host, runs).await,
        false => runs().await,
    }
}

/// What a kubelet is told when it finds the API at another address than as long as it was set up: it need not speak with the former one
/// any more. `None` where that is the same, as nearly always.
pub(super) async fn in_the_end(host: &Host, known: &Standing) -> Result<Option<Configuration>> {
    let (now, then) = (unit(host, known)?, unit_with(host, None)?);
    if now == then || host.check_mode() || given(host, known).await?.is_none() {
        return Ok(None);
    }
    let wanted = wanted_with(host, known, &then)?;
    Ok(Some(Configuration::new(then, &wanted)))
}

/// The kubelet runs, with the configuration that the cluster has for the hash `given`, or with what it has.
async fn runs_with(host: &Host, known: &Standing, given: Option<&str>) -> Result<()> {
    let mut step = host.step("Run the kubelet");
    // Later, where the cluster goes over to a load balancer of somebody else's.
    let goes_over = cluster::goes_over(host, known)?.is_some();
    let mut leads = match goes_over {
        true => None,
        false => Some(balancer::kubeconfigs(host, known, &cluster::endpoint(host, known)?)?),
    };
    // One that is adopted would restart with a configuration that kubeadm once made and that nobody reads: first it gets its own.
    if !adoption::is_under_way(host) {
        step = step.ensure_all(leads.take());
    }
    if let Some(given) = given {
        step = step.ensure(Configuration::new(unit(host, known)?, given));
    }
    step = step.ensure_all(leads);
    let mut step = step.ensure(service("kubelet"));
    if !goes_over {
        step = step
            .remove_all(balancer::left_over(host, known, false)?)
            .ensure_all(balancer::other_names(host, known)?);
    }
    let step = serving::on(host, renewal_timer::on(host, step)?)?;
    step.await.map(drop).map_err(|failure| kubelet_change::refused(host, failure))
}

/// The file with the servers that pods can ask, and its lines. Pods cannot ask one on the machine's loopback, and CoreDNS
/// would ask itself, and stops with "Loop detected"; then it is the file where systemd-resolved keeps the real ones.
pub(crate) fn resolv_conf_for_pods(facts: &Facts) -> (&'static str, &[String]) {
    if loops(&facts.resolv) && !loops(&facts.uplink_resolv) {
        ("/run/systemd/resolve/resolv.conf", &facts.uplink_resolv)
    } else {
        ("/etc/resolv.conf", &facts.resolv)
    }
}

/// Whether a resolv.conf names no server, or one on the machine's own loopback.
fn loops(lines: &[String]) -> bool {
    let servers: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("nameserver")).collect();
    let loopback = |server: &&str| server.trim().parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    servers.is_empty() || servers.iter().any(loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::variables;

    fn config(yaml: &str) -> String {
        let vars = variables(&format!("skydns_server: 10.233.0.3\n{yaml}"));
        vars.render(include_str!("templates/kubelet-config.yaml.j2"), "kubelet-config", &json!({})).unwrap()
    }

    #[test]
    fn arguments_are_those_of_variables_with_what_the_user_says_last() {
        let of = |yaml: &str, control_plane| flags(&variables(yaml).deserialize().unwrap(), control_plane);
        assert!(of("", false).is_empty() && of("cloud_provider:", false).is_empty());
        let yaml =
            "cloud_provider: external\nkubelet_custom_flags: [--a=1]\nkubelet_node_custom_flags: [--b=2]";
        assert_eq!(of(yaml, true), ["--cloud-provider=external", "--a=1"]);
        assert_eq!(of(yaml, false), ["--cloud-provider=external", "--a=1", "--b=2"]);
    }

    #[test]
    fn the_unit_wants_the_units_that_a_variable_names() {
        let extra = json!({ "bin_dir": "/b", "flags": [], "peers": null });
        let unit = variables("kubelet_systemd_wants_dependencies: [rpc-statd.service, a.mount]")
            .render(include_str!("templates/kubelet.service.j2"), "kubelet.service", &extra)
            .unwrap();
        assert!(unit.contains("\nWants=rpc-statd.service\nWants=a.mount\n"), "{unit}");
    }

    #[test]
    fn what_the_cluster_has_is_compared_without_what_kubeadm_adds() {
        let added = "evictionPressureTransitionPeriod: 0s\nstaticPodPath: /etc/kubernetes/manifests\n";
        let evicts = "eviction_hard: {memory.available: 100Mi}";
        for (has, wanted, same) in [
            ("", "", true),
            ("", "kubelet_max_pods: 77", false),
            ("kubelet_max_pods: 77", "kubelet_max_pods: 77", true),
            ("", evicts, false),
            (evicts, "", false),
            (evicts, evicts, true),
        ] {
            assert_eq!(says(&(config(has) + added), &config(wanted)), same, "{has:?} {wanted:?}");
        }
        assert!(!says("", &config("")), "nothing is there");
    }

    #[test]
    fn pods_get_a_file_that_is_there_and_no_server_that_they_do_not_reach() {
        let lines = |list: &[&str]| list.iter().map(|line| (*line).to_owned()).collect();
        let with = |yaml: &str, said, resolv: &[&str], uplink: &[&str]| {
            let names = variables(&format!("skydns_server: 10.233.0.3\n{yaml}")).deserialize().unwrap();
            let facts = Facts { resolv: lines(resolv), uplink_resolv: lines(uplink), ..Facts::default() };
            handed_on(said, &facts, &names)
        };
        let file = |said, resolv: &[&str], uplink: &[&str]| with("", said, resolv, uplink);
        let (good, own) = ("nameserver 192.0.2.53", "nameserver 127.0.0.53");
        assert_eq!(file(None, &[good], &[]), "/etc/resolv.conf");
        assert_eq!(file(None, &[own], &[good]), "/run/systemd/resolve/resolv.conf");
        // Where upstream_dns_servers takes their place.
        assert_eq!(file(None, &[], &[]), "");
        assert_eq!(file(None, &["search example.org"], &[]), "");
        assert_eq!(file(Some("/etc/pods.conf"), &[good], &[]), "/etc/pods.conf");
        // Machines that ask the cluster have their own servers elsewhere, before and after it is done; and where they have none, too.
        let (mode, clusters) = ("resolvconf_mode: host_resolvconf", "nameserver 10.233.0.3");
        for resolv in [&[good][..], &[clusters, good], &[clusters, "nameserver 127.0.0.1", good]] {
            assert_eq!(with(mode, None, resolv, &[]), resolvconf::OWN, "{resolv:?}");
        }
        assert_eq!(with(mode, None, &[own], &[clusters, good]), resolvconf::OWN);
        for resolv in [&[][..], &[clusters], &[own]] {
            assert_eq!(with(mode, None, resolv, &[]), "", "{resolv:?}");
            let further = format!("{mode}\nnameservers: [192.0.2.1]");
            assert_eq!(with(&further, None, resolv, &[]), resolvconf::OWN, "{resolv:?}");
        }
        for said in ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"] {
            assert_eq!(
                with(mode, Some(said), &[clusters, good], &[]),
                resolvconf::OWN,
                "CoreDNS would ask itself"
            );
        }
        assert_eq!(with(mode, Some("/etc/pods.conf"), &[good], &[]), "/etc/pods.conf");
        assert_eq!(with(&format!("{mode}\ndns_mode: none"), None, &[good], &[]), "/etc/resolv.conf");
    }

    #[test]
    fn eviction_follows_the_variables() {
        let own = config("");
        assert!(!own.contains("evictionHard"), "Kubernetes' own thresholds hold: {own}");
        assert!(own.ends_with("imageGCHighThresholdPercent: 85\nimageGCLowThresholdPercent: 80\n"), "{own}");
        let set = config("eviction_hard: {nodefs.available: '0%'}\nkubelet_image_gc_high_threshold: 100");
        assert!(set.contains("\nevictionHard: {\"nodefs.available\": \"0%\"}\n"), "{set}");
        assert!(set.contains("\nimageGCHighThresholdPercent: 100\n"), "{set}");
    }
}
