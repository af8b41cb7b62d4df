//! Variables: what the user wrote that means nothing, means something else, or cannot be done.

use muster_engine::prelude::Problem;
use muster_inventory::{HostVars, Kind, LayerKind, Value, VarsError};

use super::findings::{Findings, problem};
use super::{
    api_server, apps, calico, cilium, corefile, docker, encryption, etcd_settings, eviction, kubelets, names,
    proxies, resolver, services, too_new, values, versions, vip,
};
use crate::balancer::{self, External};
use crate::bootstrap_os;
use crate::common::{is_dns_name, nearest};
use crate::containerd;
use crate::kubespray;

/// What a variable is set to.
pub(super) struct Setting<'v> {
    vars: &'v HostVars,
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl<'v> Setting<'v> {
    /// `None` for what is not set, and for what cannot be resolved: that is told by [`ill_typed`].
    pub(super) fn of(vars: &'v HostVars, name: &'static str) -> Option<Self> {
        let value = vars.get(name).ok()??;
        (value.kind != Kind::Null).then(|| Self { vars, name, text: text_of(&value) })
    }

    /// Of what a user wrote, not of a default.
    pub(super) fn by_user(vars: &'v HostVars, name: &'static str) -> Option<Self> {
        Self::of(vars, name).filter(|_| !place(vars, name).is_empty())
    }

    /// That the value is not what is needed.
    pub(super) fn wrong(&self, needed: impl Into<String>, remedy: impl Into<String>) -> Problem {
        problem(self.name, format!("{}{}", self.text, place(self.vars, self.name)), needed, remedy)
    }
}

/// A value as a user would write it.
pub(super) fn text_of(value: &Value) -> String {
    match &value.kind {
        Kind::Str(text) | Kind::Raw(text) => text.trim().to_owned(),
        _ => value.to_json().to_string(),
    }
}

/// ` (FILE:LINE:COLUMN)`, or which of the other places it is; nothing for a default.
pub(crate) fn place(vars: &HostVars, name: &str) -> String {
    let definitions = vars.explain(name);
    let Some(definition) = definitions.first().filter(|d| d.kind.is_user()) else { return String::new() };
    match definition.origin() {
        Some(origin) => format!(" ({origin})"),
        None => format!(" ({})", definition.place),
    }
}

/// Everything about the variables of one host that can be said without the machine.
pub(super) fn check(vars: &HostVars) -> Findings {
    let mut findings = Findings::new(ignore_assert_errors(vars));
    let ill_typed = ill_typed(vars);
    let values = values::wrong(vars);
    // What is of another type is told once.
    findings.refuse(values.into_iter().filter(|p| ill_typed.iter().all(|known| known.check != p.check)));
    findings.refuse(ill_typed);
    asked_for(vars, &mut findings);
    findings.warn(no_network(vars));
    findings.warn(apps::ingress_nginx(vars));
    findings.refuse(versions::kube_version(vars));
    findings.refuse(too_new::check(vars));
    findings.refuse(programs(vars));
    findings.warn(versions::other_versions(vars));
    findings.refuse(domain_names(vars));
    findings.refuse(node_ports(vars));
    findings.refuse(elections(vars));
    findings.refuse(balancer_port(vars));
    findings.refuse(external_balancer(vars));
    findings.refuse(vip::check(vars));
    findings.refuse(taints(vars));
    findings.refuse(encryption::check(vars));
    findings.refuse(eviction::check(vars));
    findings.refuse(calico::check(vars));
    findings.refuse(cilium::check(vars));
    findings.refuse(services::check(vars));
    findings.refuse(proxies::check(vars));
    findings.refuse(etcd_settings::check(vars));
    findings.refuse(names::check(vars));
    findings.warn(names::unknown_gates(vars));
    findings.refuse(corefile::check(vars));
    findings.refuse(resolver::written(vars));
    findings.refuse(users(vars));
    findings.refuse(containerd_settings(vars));
    docker::settings(vars, &mut findings);
    findings.refuse(apps::check(vars));
    api_server::check(vars, &mut findings);
    findings.refuse(kubelets::check(vars));
    findings
}

/// Users that no machine can have.
fn users(vars: &HostVars) -> Vec<Problem> {
    let users = vars.deserialize::<bootstrap_os::users::Vars>();
    let wrong = users.map(|users| users.wrong()).unwrap_or_default();
    let told = |wrong: String| {
        problem(
            "addusers",
            format!("{wrong}{}", place(vars, "addusers")),
            "names of small letters, digits, _ and -; absolute paths without blanks; no colon anywhere",
            "correct it in addusers",
        )
    };
    wrong.into_iter().map(told).collect()
}

/// kubespray's wish to go on in spite of what it marks as an assertion that may be ignored.
pub(super) fn ignore_assert_errors(vars: &HostVars) -> bool {
    vars.get("ignore_assert_errors").ok().flatten().and_then(|value| value.as_bool()).unwrap_or(false)
}

/// What kubespray has and is not here, where the cluster would be another one without.
fn asked_for(vars: &HostVars, findings: &mut Findings) {
    for refusal in kubespray::refusals() {
        // What follows from another variable is told of that one.
        if vars.explain(refusal.name).first().is_some_and(|d| d.kind == LayerKind::Fallback) {
            continue;
        }
        let problem = match vars.get(refusal.name) {
            // Of what has a default, `ill_typed` says it.
            Err(error) if vars.explain(refusal.name).iter().all(|d| d.kind.is_user()) => {
                unresolvable(refusal.name, &error)
            }
            Ok(Some(value)) if !refusal.harmless.holds(&value, vars) => {
                let Some(setting) = Setting::of(vars, refusal.name) else { continue };
                setting.wrong(refusal.needed, refusal.remedy(&value))
            }
            _ => continue,
        };
        if refusal.ignorable { findings.object([problem]) } else { findings.refuse([problem]) }
    }
}

/// Variables that cannot be resolved, or whose value is of another type than their default. A text that says a boolean or
/// a number is one, as `-e` and INI inventories cannot say it otherwise.
fn ill_typed(vars: &HostVars) -> Vec<Problem> {
    let tell = |name: String| {
        let definitions = vars.explain(&name);
        let written = definitions.first().filter(|d| d.kind.is_user())?;
        let default = definitions.iter().rfind(|d| d.kind == LayerKind::Default)?;
        let value = match vars.get(&name) {
            // It is worked out when the machine was read.
            Err(error) if error.needs_facts() => return None,
            Err(error) => return Some(unresolvable(&name, &error)),
            Ok(value) => value?,
        };
        let empty = matches!(value.kind, Kind::Null);
        let needed = match &default.value.kind {
            _ if default.value.is_template() => return None,
            Kind::List(_) | Kind::Map(_) if empty => return None,
            Kind::Bool(_) if value.as_bool().is_none() => "a boolean",
            Kind::Int(_) if integer(&value).is_none() => "a whole number",
            Kind::List(_) if value.as_list().is_none() && !is_none(&name, &value) => "a list",
            Kind::Map(_) if value.as_map().is_none() => "a mapping",
            Kind::Str(_) if value.as_list().is_some() || value.as_map().is_some() => "a text",
            _ => return None,
        };
        // A configuration that was pasted as a text may hold passwords.
        let shown =
            if name == "alertmanager_config" { "a text".to_owned() } else { value.to_json().to_string() };
        let shown = format!("{shown}{}", place(vars, &name));
        let place = written.origin().map_or_else(|| written.place.clone(), ToString::to_string);
        Some(problem(
            name,
            shown,
            format!("{needed}, as its default {}", default.value.to_json()),
            format!("correct {place}"),
        ))
    };
    vars.raw().into_keys().filter_map(tell).collect()
}

/// Whether a value that is no list stands for an empty one: so kubespray's samples from v2.7 to v2.8 have it.
fn is_none(name: &str, value: &Value) -> bool {
    name == "kube_proxy_nodeport_addresses" && value.as_bool() == Some(false)
}

pub(super) fn unresolvable(name: &str, error: &VarsError) -> Problem {
    let remedy = match error.needs_facts() {
        true => "write the value itself: it is needed before any machine is read",
        false => "correct the expression, or set what it refers to",
    };
    problem(name, error.summary(), "a value that can be worked out", remedy)
}

/// A whole number, also one in a text.
pub(super) fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A whole number that a variable says.
pub(super) fn number(vars: &HostVars, name: &str) -> Option<i64> {
    integer(&vars.get(name).ok()??)
}

fn no_network(vars: &HostVars) -> Option<Problem> {
    let setting =
        Setting::of(vars, "kube_network_plugin").filter(|s| ["none", "cni"].contains(&s.text.as_str()))?;
    Some(setting.wrong("a network plugin", "install one yourself: until then no node becomes Ready"))
}

/// What is run on machines looks for programs in these folders (the prologue of the engine's programs), and the system's own in most
/// of them.
fn programs(vars: &HostVars) -> Option<Problem> {
    const FOLDERS: [&str; 5] = ["/usr/local/bin", "/opt/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin"];
    let is_elsewhere =
        |setting: &Setting| setting.text.starts_with('/') && !FOLDERS.contains(&setting.text.as_str());
    let setting = Setting::of(vars, "bin_dir").filter(is_elsewhere)?;
    Some(setting.wrong(
        "a folder in which programs are looked for: /usr/local/bin or /opt/bin",
        "set bin_dir: /opt/bin",
    ))
}

/// kubeadm takes nothing but a DNS name for the domain. The cluster's name it takes as it is: it only tells kubeconfigs apart.
fn domain_names(vars: &HostVars) -> Vec<Problem> {
    let is_plain = |text: &str| {
        let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_good)
    };
    let name = Setting::of(vars, "cluster_name").filter(|name| !is_plain(&name.text));
    let name = name.map(|name| {
        let needed =
            "letters, digits, hyphens, underscores and dots, with a letter or a digit at the beginning";
        name.wrong(needed, "set cluster_name: cluster.local")
    });
    let domain = Setting::of(vars, "dns_domain").filter(|domain| !is_dns_name(&domain.text));
    let domain = domain.map(|domain| {
        domain.wrong("a DNS name: small letters, digits, hyphens and dots", "set dns_domain: cluster.local")
    });
    name.into_iter().chain(domain).collect()
}

fn node_ports(vars: &HostVars) -> Option<Problem> {
    let setting = Setting::of(vars, "kube_apiserver_node_port_range")?;
    let (first, last) = setting.text.split_once('-').unwrap_or((&setting.text, ""));
    match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => None,
        _ => Some(setting.wrong("a range of ports", "set kube_apiserver_node_port_range: 30000-32767")),
    }
}

/// One address of the API is right on every machine: where it has an API server, and where it has a load balancer.
fn balancer_port(vars: &HostVars) -> Option<Problem> {
    let setting = Setting::of(vars, "loadbalancer_apiserver_port")?;
    let api = Setting::of(vars, "kube_apiserver_port")?.text;
    (balancer::is_asked_for(vars) && setting.text != api).then(|| {
        setting.wrong(
            format!("the port of the API server, {api}: every machine looks for the API at 127.0.0.1:{api}"),
            "remove it, or set kube_apiserver_port to it before the cluster begins",
        )
    })
}

/// Where somebody else's load balancer is.
fn external_balancer(vars: &HostVars) -> Vec<Problem> {
    let wrong = |name, found: String, needed: &str, remedy: &str| {
        problem(name, format!("{found}{}", place(vars, name)), needed, remedy)
    };
    let name = balancer::wrong_name(vars).map(|found| {
        let remedy = "set it to the name of the load balancer, as api.example.org, or remove it";
        wrong(balancer::EXTERNAL_NAME, found, "a DNS name: small letters, digits, hyphens and dots", remedy)
    });
    let external = External::of(vars).err().map(|(found, needed)| {
        let remedy = "write it as loadbalancer_apiserver: {address: 192.0.2.10, port: 6443}, or remove it";
        wrong(balancer::EXTERNAL, found, needed, remedy)
    });
    name.into_iter().chain(external).collect()
}

/// etcd refuses to start with an election timeout below five heartbeats (etcd's "Tuning" guide).
fn elections(vars: &HostVars) -> Option<Problem> {
    let heartbeat = number(vars, "etcd_heartbeat_interval")?;
    let setting = Setting::of(vars, "etcd_election_timeout")?;
    let least = heartbeat.saturating_mul(5);
    (number(vars, "etcd_election_timeout")? < least).then(|| {
        setting.wrong(
            format!("at least five times etcd_heartbeat_interval, {least}"),
            format!("set etcd_election_timeout: {}", heartbeat.saturating_mul(10)),
        )
    })
}

/// What containerd's configuration is made of.
fn containerd_settings(vars: &HostVars) -> Vec<Problem> {
    let tell = |wrong: containerd::Wrong| {
        let found = format!("{}{}", wrong.found, place(vars, wrong.name));
        problem(wrong.name, found, wrong.needed, format!("correct {}, or remove it", wrong.name))
    };
    containerd::wrong(vars).into_iter().map(tell).collect()
}

/// `key=value:effect` or `key:effect` (Kubernetes' "Taints and Tolerations").
fn taints(vars: &HostVars) -> Vec<Problem> {
    let Some(list) = vars.get("node_taints").ok().flatten() else { return Vec::new() };
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let good = |taint: &str| {
        let (key, effect) = taint.rsplit_once(':').unwrap_or((taint, ""));
        !key.is_empty() && !key.starts_with('=') && EFFECTS.contains(&effect)
    };
    let wrong = list.as_list().unwrap_or_default().iter().filter(|t| !t.as_str().is_some_and(good));
    let meant = |taint: &Value| {
        let (key, effect) = taint.as_str()?.rsplit_once(':')?;
        Some(format!("{key}:{}", nearest(effect, &EFFECTS)?)).filter(|meant| good(meant))
    };
    let tell = |taint: &Value| {
        let meant = meant(taint).unwrap_or_else(|| "room=104:NoSchedule".to_owned());
        problem(
            "node_taints",
            format!("{}{}", taint.to_json(), place(vars, "node_taints")),
            "key=value:effect or key:effect, the effect NoSchedule, PreferNoSchedule or NoExecute",
            format!("write it as {meant}"),
        )
    };
    wrong.map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{inventory_and_vars, told, variables};
    use super::*;

    /// What is found wrong with a variable that is set in group_vars, as `check: found`.
    fn found(yaml: &str) -> (Vec<String>, Vec<String>) {
        let findings = check(&variables(yaml));
        let texts = |list: &[Problem]| list.iter().map(told).collect();
        (texts(&findings.problems), texts(&findings.warnings))
    }

    #[test]
    fn no_addresses_may_be_said_as_false() {
        assert_eq!(found("kube_proxy_nodeport_addresses: false").0, [""; 0]);
        let (refused, _) = found("kube_proxy_nodeport_addresses: true\nkube_proxy_exclude_cidrs: false");
        assert_eq!(refused.len(), 2, "{refused:?}");
    }

    /// A variable without a value is an empty list or mapping, as it is to a loop of Ansible's.
    #[test]
    fn lists_and_mappings_may_be_said_without_a_value() {
        let rows =
            "kube_proxy_nodeport_addresses:\nkube_proxy_exclude_cidrs: null\nnode_taints:\nnode_labels: ~\n";
        assert_eq!(found(rows), (Vec::new(), Vec::new()));
    }

    #[test]
    fn the_defaults_are_in_order() {
        assert_eq!(found(""), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_load_balancer_has_the_port_of_the_api_server() {
        let found = |planes: &str| {
            let ini = format!("a\nb\nc\n[kube_control_plane]\n{planes}[etcd]\na\n[kube_node]\nc\n");
            let (_, vars) = inventory_and_vars(&ini, "loadbalancer_apiserver_port: 8443");
            let findings = check(&vars.host("c").unwrap());
            findings.problems.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(found("a\nb\n"), ["loadbalancer_apiserver_port: 8443 (vars.yml:1:30)"]);
        assert!(found("a\n").is_empty(), "there is no load balancer");
    }

    #[test]
    fn what_is_wrong_with_a_variable_is_found() {
        // Each row: a variable as a user may set it, and what its check is called and finds; nothing where it is fine.
        let rows = [
            ("kubelet_static_pod_path: /x", Some("kubelet_static_pod_path: /x (vars.yml:1:26)")),
            ("kubeconfig_localhost: perhaps", Some("kubeconfig_localhost: \"perhaps\" (vars.yml:1:23)")),
            ("kubeconfig_localhost: 'yes'", None),
            ("kubelet_max_pods: many", Some("kubelet_max_pods: \"many\" (vars.yml:1:19)")),
            ("kubelet_max_pods: '110'", None),
            ("upstream_dns_servers: 192.0.2.1", Some("upstream_dns_servers: \"192.0.2.1\" (vars.yml:1:23)")),
            ("upstream_dns_servers: [192.0.2.1]", None),
            ("cilium_kube_proxy_replacement: strict", None),
            ("cilium_kube_proxy_replacement: partial", None),
            (
                "cilium_kube_proxy_replacement: maybe",
                Some("cilium_kube_proxy_replacement: \"maybe\" (vars.yml:1:32)"),
            ),
            ("bin_dir: [/opt/bin]", Some("bin_dir: [\"/opt/bin\"] (vars.yml:1:10)")),
            ("kube_apiserver_port: 70000", Some("kube_apiserver_port: 70000 (vars.yml:1:22)")),
            ("kube_apiserver_port: 8443", None),
            ("kube_network_plugin: calico", None),
            ("kube_network_plugin: weave", Some("kube_network_plugin: weave (vars.yml:1:22)")),
            ("container_manager: crio", Some("container_manager: crio (vars.yml:1:20)")),
            ("container_manager: docker", None),
            ("verify_network: allways", Some("verify_network: allways (vars.yml:1:17)")),
            ("kubeadm_init_timeout: 5x", Some("kubeadm_init_timeout: 5x (vars.yml:1:23)")),
            ("etcd_deployment_type: rkt", Some("etcd_deployment_type: rkt (vars.yml:1:23)")),
            ("etcd_deployment_type: kubeadm", None),
            ("etcd_deployment_type: docker", None),
            ("cert_management: \"{{ 'vault' if 'vault' in groups else 'script' }}\"", None),
            (
                "cert_management: \"{{ 'vault' if 'etcd' in groups else 'script' }}\"",
                Some("cert_management: vault (vars.yml:1:18)"),
            ),
            ("deploy_container_engine: false", Some("deploy_container_engine: false (vars.yml:1:26)")),
            ("loadbalancer_apiserver: {}", None),
            ("loadbalancer_apiserver: {address: 192.0.2.9, port: '8443'}", None),
            ("loadbalancer_apiserver: {address: 192.0.2.9}", None),
            (
                "{loadbalancer_apiserver: {port: 8443}, apiserver_loadbalancer_domain_name: api.example.org}",
                None,
            ),
            (
                "loadbalancer_apiserver: {port: 8443}",
                Some("loadbalancer_apiserver: {\"port\":8443} (vars.yml:1:25)"),
            ),
            (
                "loadbalancer_apiserver: {address: api.example.org}",
                Some("loadbalancer_apiserver: {\"address\":\"api.example.org\"} (vars.yml:1:25)"),
            ),
            (
                "loadbalancer_apiserver: {address: 127.0.0.1, port: 6443}",
                Some("loadbalancer_apiserver: {\"address\":\"127.0.0.1\",\"port\":6443} (vars.yml:1:25)"),
            ),
            (
                "loadbalancer_apiserver: {address: 192.0.2.9, port: 70000}",
                Some("loadbalancer_apiserver: {\"address\":\"192.0.2.9\",\"port\":70000} (vars.yml:1:25)"),
            ),
            (
                "loadbalancer_apiserver: {address: 192.0.2.9, prot: 1}",
                Some(
                    "loadbalancer_apiserver: prot in {\"address\":\"192.0.2.9\",\"prot\":1} (vars.yml:1:25)",
                ),
            ),
            (
                "loadbalancer_apiserver: 192.0.2.9",
                Some("loadbalancer_apiserver: \"192.0.2.9\" (vars.yml:1:25)"),
            ),
            (
                "apiserver_loadbalancer_domain_name: API_1",
                Some("apiserver_loadbalancer_domain_name: API_1 (vars.yml:1:37)"),
            ),
            ("kube_proxy_mode: userspace", Some("kube_proxy_mode: userspace (vars.yml:1:18)")),
            ("kube_proxy_mode: ipvs", None),
            ("dns_mode: coredns_dual", None),
            ("dns_mode: skydns", Some("dns_mode: skydns (vars.yml:1:11)")),
            ("dns_mode: manual", Some("manual_dns_server: nothing")),
            ("{dns_mode: manual, manual_dns_server: 192.0.2.53}", None),
            ("flannel_backend_type: wireguard", Some("flannel_backend_type: wireguard (vars.yml:1:23)")),
            ("cloud_provider: aws", Some("cloud_provider: aws (vars.yml:1:17)")),
            ("cloud_provider: external", None),
            ("cloud_provider: ''", None),
            ("ipv4_stack: false", Some("ipv4_stack: false (vars.yml:1:13)")),
            ("{ipv4_stack: true, ipv6_stack: true}", None),
            ("kube_external_ca_mode: 'true'", Some("kube_external_ca_mode: true (vars.yml:1:24)")),
            ("kube_encryption_algorithm: rot13", Some("kube_encryption_algorithm: rot13 (vars.yml:1:28)")),
            ("kube_encrypt_secret_data: true", None),
            (
                "{kube_encrypt_secret_data: true, kube_encrypt_token: short}",
                Some("kube_encrypt_token: a text of 5 bytes (vars.yml:1:54)"),
            ),
            ("{kube_encrypt_secret_data: true, kube_encrypt_token: 0123456789abcdef0123456789abcdef}", None),
            (
                "{kube_encrypt_secret_data: true, kube_encryption_resources: ['*.*']}",
                Some("kube_encryption_resources: [\"*.*\"] (vars.yml:1:61)"),
            ),
            (
                "{kube_encrypt_secret_data: true, kube_kubeadm_apiserver_extra_args: {encryption-provider-config: /x}}",
                Some("kube_encrypt_secret_data: true (vars.yml:1:28)"),
            ),
            ("kube_version: 1.99.0", Some("kube_version: 1.99.0 (vars.yml:1:15)")),
            ("kube_version: 1.29.15", Some("kube_version: 1.29.15 (vars.yml:1:15)")),
            ("kube_version: 1.30.14", None),
            ("kube_version: 1.36.99", None),
            ("kube_version: v1.36.3", None),
            ("dns_domain: Cluster_Local", Some("dns_domain: Cluster_Local (vars.yml:1:13)")),
            // Without a domain of its own the name is that, too.
            ("cluster_name: My_cluster", None),
            (
                "{cluster_name: my_cluster, dns_domain: '{{ cluster_name }}'}",
                Some("dns_domain: my_cluster (vars.yml:1:40)"),
            ),
            ("{cluster_name: My_cluster, dns_domain: cluster.local}", None),
            (
                "{cluster_name: my cluster, dns_domain: cluster.local}",
                Some("cluster_name: my cluster (vars.yml:1:16)"),
            ),
            ("{cluster_name: _x, dns_domain: cluster.local}", Some("cluster_name: _x (vars.yml:1:16)")),
            (
                "kube_apiserver_node_port_range: 30000",
                Some("kube_apiserver_node_port_range: 30000 (vars.yml:1:33)"),
            ),
            (
                "kube_apiserver_node_port_range: 300-200",
                Some("kube_apiserver_node_port_range: 300-200 (vars.yml:1:33)"),
            ),
            ("etcd_election_timeout: 400", Some("etcd_election_timeout: 400 (vars.yml:1:24)")),
            ("etcd_election_timeout: 500", None),
            ("node_taints: [a=b, c=d:NoSchedule]", Some("node_taints: \"a=b\" (vars.yml:1:14)")),
            ("node_taints: ['a:NoExecute']", None),
        ];
        for (yaml, expected) in rows {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(found(yaml).0, expected, "{yaml}");
        }
    }

    #[test]
    fn what_does_no_harm_is_a_warning() {
        for yaml in ["kube_network_plugin: none", "etcd_version: 3.5.9"] {
            let (problems, warnings) = found(yaml);
            assert_eq!((problems.len(), warnings.len()), (0, 1), "{yaml}: {problems:?} {warnings:?}");
        }
        assert_eq!(
            found("etcd_version: v3.7.3").1,
            Vec::<String>::new(),
            "the version that is installed anyway"
        );
        // Which runc there is may be said.
        assert_eq!(found("runc_version: v1.3.6"), (Vec::new(), Vec::new()));
        assert_eq!(found("runc_version: 1.2.3").1, ["runc_version: 1.2.3 (vars.yml:1:15)"]);
        let remedy = versions::other_versions(&variables("runc_version: 1.2.3")).remove(0).remedy;
        assert!(
            remedy.ends_with("; remove runc_version, or set one of 1.4.3, 1.4.2, 1.4.1, 1.4.0, 1.3.6, 1.3.5"),
            "{remedy}"
        );
        let (problems, warnings) = found("kube_external_ca_mode: true\nignore_assert_errors: true");
        assert_eq!((problems.len(), warnings.len()), (0, 1));
    }

    #[test]
    fn an_expression_that_cannot_be_worked_out_is_told_with_its_place() {
        let (problems, _) = found("cluster_name: '{{ nowhere }}'");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("cluster_name: vars.yml:1:15: cannot resolve"), "{problems:?}");
        let (problems, _) = found("container_manager: docker\ndocker_options: '{{ nowhere }}'");
        assert_eq!(problems.len(), 1, "it is told once: {problems:?}");
        let (problems, _) = found("cert_management: '{{ nowhere }}'");
        assert_eq!(problems.len(), 1, "of what has no default, too: {problems:?}");
    }

    #[test]
    fn expressions_of_kubesprays_samples_are_worked_out() {
        let skydns = "skydns_server: \"{{ kube_service_subnets.split(',') | first | ansible.utils.ipaddr('net') | \
                      ansible.utils.ipaddr(3) | ansible.utils.ipaddr('address') }}\"";
        let vars = variables(skydns);
        assert_eq!(vars.get("skydns_server").unwrap().unwrap().as_str(), Some("10.233.0.3"));
        assert_eq!(found(skydns), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_derived_variables_say_is_worked_out() {
        let vars = variables("dns_mode: coredns");
        let names = crate::kubespray::DERIVED.lines().filter_map(|line| line.split_once(':'));
        for (name, _) in names.filter(|(name, _)| !name.starts_with(['#', ' '])) {
            match vars.get(name) {
                Ok(value) => assert!(value.is_some(), "{name}"),
                Err(error) => assert!(error.needs_facts() || name == "credentials_dir", "{name}: {error}"),
            }
        }
    }

    #[test]
    fn what_only_a_machine_can_tell_is_refused_where_it_is_needed_before() {
        let (problems, _) = found("upstream_dns_servers: '{{ ansible_dns.nameservers }}'");
        assert_eq!(problems, Vec::<String>::new(), "it is worked out on the machine");
        let (problems, _) = found("cert_management: '{{ ansible_os_family }}'");
        assert_eq!(
            problems,
            [
                "cert_management: vars.yml:1:18: it needs `ansible_os_family`, which is known only when the machine was read"
            ]
        );
    }

    #[test]
    fn a_plugin_that_nobody_applies_is_told_of() {
        let told = |plugin: &str| no_network(&variables(&format!("kube_network_plugin: {plugin}"))).is_some();
        assert_eq!(["none", "cni", "custom_cni", "cilium"].map(told), [true, true, false, false]);
    }

    #[test]
    fn programs_go_where_they_are_looked_for() {
        assert!(programs(&variables("bin_dir: /opt/bin")).is_none());
        assert!(programs(&variables("bin_dir: /opt/k8s/bin")).is_some());
    }
}
