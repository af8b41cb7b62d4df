//! What of the variables of applications cannot be, or would take something away from the cluster.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use muster_engine::prelude::Problem;
use muster_inventory::HostVars;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use x509_parser::error::PEMError;
use x509_parser::pem::Pem;

use super::findings::problem;
use super::settings::{Setting, integer, place};
use crate::apps::argocd::LONGEST as LONGEST_PASSWORD;
use crate::apps::metallb::Config;
use crate::apps::{cinder_csi, openstack_cloud_controller};
use crate::catalogue::wants_app;

/// Everything of one machine's variables.
pub(super) fn check(vars: &HostVars) -> Vec<Problem> {
    let wants = |app: &str| wants_app(vars, app).unwrap_or(false);
    let metallb = wants("metallb").then(|| metallb(vars)).into_iter().flatten();
    let traefik = wants("traefik").then(|| traefik(vars)).into_iter().flatten();
    let dashboard = wants("dashboard").then(|| dashboard(vars)).flatten();
    let alertmanager = wants("monitoring").then(|| alertmanager(vars)).flatten();
    let cert_manager = wants("cert-manager").then(|| cert_manager(vars)).flatten();
    let argocd = wants("argocd").then(|| argocd(vars)).flatten();
    let policies = wants("network-policies").then(|| network_policies(vars)).into_iter().flatten();
    let of_each = metallb.chain(traefik).chain(dashboard).chain(alertmanager).chain(cert_manager);
    let local_volumes = wants("local-volume-provisioner").then(|| local_volumes(vars)).flatten();
    of_each.chain(argocd).chain(local_volumes).chain(openstack(vars)).chain(policies).collect()
}

/// What has to be known of a cloud, by whoever talks to it; and that kubelets wait for its controller.
fn openstack(vars: &HostVars) -> Vec<Problem> {
    let wants = |app: &str| wants_app(vars, app).unwrap_or(false);
    let controller = wants("openstack-cloud-controller").then_some(openstack_cloud_controller::TOLD);
    let volumes = wants("cinder-csi").then_some(cinder_csi::TOLD);
    let lacking = [controller, volumes].into_iter().flatten().filter_map(|told| told.secret("", vars).err());
    let lacking = lacking.map(|(name, why)| {
        problem(
            &name,
            format!("{why}{}", place(vars, &name)),
            "how to log in to the cloud: an address, and a user with a password or an application credential with its secret",
            format!("set {name}, or the variable of the environment that muster docs vars {name} names"),
        )
    });
    let waits = text(vars, "cloud_provider") == "external";
    let named =
        Setting::of(vars, "external_cloud_provider").filter(|named| named.text == "openstack" && !waits);
    let named =
        named.map(|named| named.wrong("cloud_provider: external beside it", "set cloud_provider: external"));
    lacking.chain(named).collect()
}

/// A storage class of local volumes, as kubespray writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the template reads them by their names")]
struct LocalVolumes {
    host_dir: String,
    mount_dir: Option<String>,
    volume_mode: Option<VolumeMode>,
    fs_type: Option<String>,
    access_mode: Option<String>,
    name_pattern: Option<String>,
    block_cleaner_command: Option<Vec<String>>,
    selector: Option<Vec<Map<String, Json>>>,
    reclaim_policy: Option<ReclaimPolicy>,
}

#[derive(Deserialize)]
enum VolumeMode {
    Filesystem,
    Block,
}

#[derive(Deserialize)]
enum ReclaimPolicy {
    Delete,
    Retain,
}

/// What local volumes are made of has a folder on the nodes.
fn local_volumes(vars: &HostVars) -> Option<Problem> {
    let name = "local_volume_provisioner_storage_classes";
    let classes = vars.get(name).ok()??.to_json();
    let wrong = match serde_json::from_value::<BTreeMap<String, LocalVolumes>>(classes) {
        Err(error) => error.to_string(),
        Ok(classes) if classes.is_empty() => "no storage class".to_owned(),
        Ok(classes) => classes.iter().find_map(|(class, LocalVolumes { host_dir, mount_dir, .. })| {
            let wrong = [Some(host_dir), mount_dir.as_ref()]
                .into_iter()
                .flatten()
                .find(|dir| !dir.starts_with('/'))?;
            Some(format!("{class}: {wrong}"))
        })?,
    };
    Some(problem(
        name,
        format!("{wrong}{}", place(vars, name)),
        "storage classes by their names, each with host_dir: a folder of the nodes, from / on",
        format!("see muster docs vars {name}"),
    ))
}

/// What bcrypt does not look at would be no part of the password.
fn argocd(vars: &HostVars) -> Option<Problem> {
    let name = "argocd_admin_password";
    let setting = Setting::of(vars, name).filter(|setting| setting.text.len() > LONGEST_PASSWORD)?;
    Some(problem(
        name,
        format!("{} bytes{}", setting.text.len(), place(vars, name)),
        format!("a password of at most {LONGEST_PASSWORD} bytes"),
        "take a shorter one",
    ))
}

/// Whatever is no certificate its controller passes over in silence.
fn cert_manager(vars: &HostVars) -> Option<Problem> {
    let name = "cert_manager_trusted_internal_ca";
    let setting = Setting::of(vars, name).filter(|setting| !setting.text.is_empty())?;
    let blocks: Vec<_> = Pem::iter_from_buffer(setting.text.as_bytes()).collect();
    let is_certificate =
        |block: &Result<Pem, PEMError>| block.as_ref().is_ok_and(|block| block.parse_x509().is_ok());
    let all_are = !blocks.is_empty() && blocks.iter().all(is_certificate);
    (!all_are).then(|| {
        problem(
            name,
            format!("something else{}", place(vars, name)),
            "certificates of authorities in PEM, each from BEGIN CERTIFICATE to END CERTIFICATE",
            format!("correct {name}, or remove it"),
        )
    })
}

/// Without a receiver of all that is for no other one Alertmanager does not start; the rest of its configuration it judges itself.
fn alertmanager(vars: &HostVars) -> Option<Problem> {
    let name = "alertmanager_config";
    let config = vars.get(name).ok()??.to_json();
    if config.as_object().is_none_or(|config| config.is_empty()) {
        return None;
    }
    let receiver = &config["route"]["receiver"];
    let mut receivers = config["receivers"].as_array().into_iter().flatten();
    let is_known = receiver.is_string() && receivers.any(|known| known["name"] == *receiver);
    // Nothing else of it is shown: it may hold passwords.
    let found =
        receiver.as_str().map_or("no route.receiver".to_owned(), |name| format!("route.receiver {name:?}"));
    (!is_known).then(|| {
        problem(
            name,
            format!("{found}{}", place(vars, name)),
            "a configuration of Alertmanager, whose route names one of its receivers",
            "see muster docs vars alertmanager_config",
        )
    })
}

/// What keeps to network policies already, and what would be lost to who does.
fn network_policies(vars: &HostVars) -> Vec<Problem> {
    let plugin = Setting::of(vars, "kube_network_plugin").and_then(|plugin| {
        let remedy = match plugin.text.as_str() {
            itself @ ("calico" | "cilium") => format!(
                "remove network_policies_enabled, as {itself} keeps to network policies itself; a cluster that has begun with flannel \
                 stays with it: set kube_network_plugin: flannel"
            ),
            "custom_cni" | "cni" | "none" => {
                "remove network_policies_enabled, and bring what keeps to network policies with your own network".to_owned()
            }
            // What is no network at all is told once.
            _ => return None,
        };
        Some(plugin.wrong("flannel, where network_policies_enabled is true", remedy))
    });
    // kube-router up to 2.6 writes back all sets of addresses as it has once read them, also those of kube-proxy.
    let proxy = Setting::of(vars, "kube_proxy_mode").filter(|mode| mode.text == "ipvs");
    let proxy = proxy.map(|mode| {
        mode.wrong(
            "iptables or nftables, where network_policies_enabled is true: kube-router and kube-proxy would change the same ipsets",
            "set kube_proxy_mode: iptables",
        )
    });
    plugin.into_iter().chain(proxy).collect()
}

/// Whoever may make tokens in the namespace of the dashboard may do everything: nobody else is at home there.
fn dashboard(vars: &HostVars) -> Option<Problem> {
    let namespace = Setting::of(vars, "dashboard_namespace")?;
    let shared =
        ["default", "kube-system", "kube-public", "kube-node-lease"].contains(&namespace.text.as_str());
    shared.then(|| {
        namespace.wrong(
            "a namespace of its own: accounts in it may do everything in the cluster",
            "set dashboard_namespace: dashboard",
        )
    })
}

/// What is asked for in many inventories, and has ended upstream (kubernetes.io/blog, 2025-11-11).
pub(super) fn ingress_nginx(vars: &HostVars) -> Option<Problem> {
    let setting =
        Setting::of(vars, "ingress_nginx_enabled").filter(|setting| setting.text.to_lowercase() == "true")?;
    Some(setting.wrong(
        "another controller, because ingress-nginx is not developed any more",
        "Traefik answers for its Ingresses, with those of its annotations that Traefik knows; traefik_enabled says so without it",
    ))
}

fn text(vars: &HostVars, name: &'static str) -> String {
    Setting::of(vars, name).map(|setting| setting.text.to_lowercase()).unwrap_or_default()
}

fn metallb(vars: &HostVars) -> Vec<Problem> {
    let told = |why: String| {
        problem(
            "metallb_config",
            format!("{why}{}", place(vars, "metallb_config")),
            "address_pools with ip_range, of addresses that are nobody else's, and layer2",
            "see muster docs vars metallb_config",
        )
    };
    let config = match Config::of(vars) {
        Err(why) => Some(told(why)),
        Ok(config) => {
            let taken = ["ip", "access_ip", "ansible_host"].into_iter().find_map(|name| {
                let address: Ipv4Addr = text(vars, name).parse().ok()?;
                config.has(address).then(|| format!("a pool has {address}, the {name} of {}", vars.name()))
            });
            taken.map(told)
        }
    };
    // https://metallb.io/installation/, "Preparation".
    let has_ipvs = text(vars, "kube_proxy_mode") == "ipvs" && text(vars, "kube_proxy_remove") != "true";
    let answers_twice = has_ipvs && text(vars, "kube_proxy_strict_arp") != "true";
    let strict_arp = answers_twice.then(|| {
        problem(
            "kube_proxy_strict_arp",
            text(vars, "kube_proxy_strict_arp"),
            "true with kube_proxy_mode ipvs and MetalLB: otherwise every node answers for every address",
            "set kube_proxy_strict_arp: true",
        )
    });
    config.into_iter().chain(strict_arp).collect()
}

/// Traefik's ports are led to its pods before anybody else on the node sees a packet.
fn traefik(vars: &HostVars) -> Vec<Problem> {
    let number = |name: &str| integer(&vars.get(name).ok()??);
    let of_cluster = ["kube_apiserver_port", "loadbalancer_apiserver_port"].map(|name| (number(name), name));
    let of_machines = [(22, "SSH"), (2379, "etcd"), (2380, "etcd"), (10250, "the kubelet")];
    let owner = |port: i64| {
        let cluster = of_cluster.iter().find(|(other, _)| *other == Some(port)).map(|(_, name)| *name);
        cluster.or_else(|| of_machines.iter().find(|(other, _)| *other == port).map(|(_, name)| *name))
    };
    let tell = |name: &'static str| {
        let owner = owner(number(name)?)?;
        let setting = Setting::of(vars, name)?;
        Some(setting.wrong(
            format!("a port of its own: this one is that of {owner}"),
            format!("set {name} to another port"),
        ))
    };
    ["traefik_http_port", "traefik_https_port"].into_iter().filter_map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::fixture::{told, variables};

    fn tell(yaml: &str) -> String {
        check(&variables(yaml)).iter().map(told).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_does_not_go_together_is_told_where_metallb_is_wanted() {
        let ipvs = "kube_proxy_mode: ipvs\nmetallb_enabled: true\n";
        assert_eq!(tell(ipvs), "kube_proxy_strict_arp: false");
        assert_eq!(tell(&format!("{ipvs}kube_proxy_strict_arp: true\n")), "");
        assert_eq!(tell(&format!("{ipvs}kube_network_plugin: none\nkube_proxy_remove: true\n")), "");
        assert_eq!(tell("kube_proxy_mode: ipvs\nmetallb_config: {layer2: [a]}\n"), "");
        let config = tell("metallb_enabled: true\nmetallb_config: {layer2: [a]}\n");
        assert_eq!(config, "metallb_config: layer2: there is no pool \"a\" in address_pools (vars.yml:2:17)");
    }

    #[test]
    fn a_pool_has_no_address_of_a_machine() {
        let with = |ip: &str| {
            tell(&format!(
                "metallb_enabled: true\nip: {ip}\nmetallb_config: {{address_pools: {{a: {{ip_range: [192.0.2.16/28]}}}}}}\n"
            ))
        };
        assert_eq!(with("192.0.2.15"), "");
        assert!(with("192.0.2.16").starts_with("metallb_config: a pool has 192.0.2.16, the ip of node1"));
    }

    #[test]
    fn the_dashboard_is_in_a_namespace_of_its_own() {
        assert_eq!(tell("dashboard_enabled: true\n"), "");
        assert_eq!(tell("dashboard_namespace: kube-system\n"), "");
        let shared = tell("dashboard_enabled: true\ndashboard_namespace: kube-system\n");
        assert!(shared.starts_with("dashboard_namespace: kube-system"), "{shared}");
    }

    #[test]
    fn policies_are_kept_to_by_one_alone() {
        let with = |yaml: &str| tell(&format!("network_policies_enabled: true\n{yaml}"));
        assert_eq!(with(""), "");
        assert_eq!(with("kube_proxy_mode: nftables\n"), "");
        assert_eq!(with("kube_network_plugin: calico\n"), "kube_network_plugin: calico (vars.yml:2:22)");
        assert_eq!(with("kube_network_plugin: none\n"), "kube_network_plugin: none (vars.yml:2:22)");
        assert_eq!(
            with("kube_network_plugin: flanel\n"),
            "",
            "it is told elsewhere that there is none of that name"
        );
        assert_eq!(with("kube_proxy_mode: ipvs\n"), "kube_proxy_mode: ipvs (vars.yml:2:18)");
        assert_eq!(tell("kube_network_plugin: calico\nkube_proxy_mode: ipvs\n"), "");
    }

    #[test]
    fn alerts_have_somebody_who_is_told() {
        let config =
            |config: &str| tell(&format!("monitoring_enabled: true\nalertmanager_config: {config}\n"));
        let us = "receivers: [{name: us, webhook_configs: [{url: 'http://s3cret@192.0.2.9/'}]}]";
        assert_eq!(config("{}"), "");
        assert_eq!(config(&format!("{{route: {{receiver: us}}, {us}}}")), "");
        let place = "(vars.yml:2:22)";
        let unknown = config(&format!("{{route: {{receiver: you}}, {us}}}"));
        assert_eq!(unknown, format!("alertmanager_config: route.receiver \"you\" {place}"));
        assert_eq!(config(&format!("{{{us}}}")), format!("alertmanager_config: no route.receiver {place}"));
        assert_eq!(tell("alertmanager_config: {route: {receiver: you}}\n"), "", "nobody is asked for alerts");
    }

    #[test]
    fn what_cert_manager_is_to_trust_are_certificates() {
        let ca = |pem: &str| {
            let lines: String = pem.lines().map(|line| format!("  {line}\n")).collect();
            tell(&format!("cert_manager_enabled: true\ncert_manager_trusted_internal_ca: |\n{lines}"))
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(vec!["ca.example.org".to_owned()]).unwrap();
        let pem = own.self_signed(&key).unwrap().pem();
        assert_eq!(tell("cert_manager_enabled: true\n"), "");
        assert_eq!(ca(&format!("{pem}{pem}")), "");
        let wrong = "cert_manager_trusted_internal_ca: something else (vars.yml:3:3)";
        for text in [
            "/etc/ssl/ca.pem".to_owned(),
            key.serialize_pem(),
            pem.replace("MII", "XX"),
            format!("{pem}{}", key.serialize_pem()),
        ] {
            assert_eq!(ca(&text), wrong, "{text}");
        }
    }

    #[test]
    fn whoever_talks_to_a_cloud_can_log_in() {
        let cloud = "external_cloud_provider: openstack\n";
        assert_eq!(tell(cloud), "external_cloud_provider: openstack (vars.yml:1:26)");
        let external = format!("{cloud}cloud_provider: external\nexternal_openstack_auth_url: ''\n");
        assert_eq!(tell(&external), "external_openstack_auth_url: nothing (vars.yml:3:30)");
        let login = "external_openstack_auth_url: https://a\nexternal_openstack_username: u\n";
        let external =
            format!("{cloud}cloud_provider: external\n{login}external_openstack_password: s3cret\n");
        assert_eq!(tell(&external), "");
        let volumes = tell("cinder_csi_enabled: true\ncinder_auth_url: https://a\ncinder_username: ''\n");
        assert_eq!(volumes, "cinder_username: nothing (vars.yml:3:18)");
    }

    #[test]
    fn local_volumes_have_folders() {
        let with = |classes: &str| {
            tell(&format!(
                "local_volume_provisioner_enabled: true\nlocal_volume_provisioner_storage_classes: {classes}\n"
            ))
        };
        let name = "local_volume_provisioner_storage_classes";
        assert_eq!(tell("local_volume_provisioner_enabled: true\n"), "");
        assert_eq!(
            with("{a: {host_dir: /a, mount_dir: /b, reclaim_policy: Retain, volume_mode: Block}}"),
            ""
        );
        assert_eq!(with("{a: {host_dir: a}}"), format!("{name}: a: a (vars.yml:2:43)"));
        assert_eq!(with("{}"), format!("{name}: no storage class (vars.yml:2:43)"));
        assert_eq!(with("{a: {mount_dir: /a}}"), format!("{name}: missing field `host_dir` (vars.yml:2:43)"));
        assert!(
            with("{a: {host_dir: /a, hostDir: /a}}").starts_with(&format!("{name}: unknown field `hostDir`"))
        );
        assert!(with("'{}'").contains("invalid type: string"));
    }

    #[test]
    fn all_of_a_password_counts() {
        let with = |length: usize| {
            tell(&format!("argocd_enabled: true\nargocd_admin_password: {}\n", "a".repeat(length)))
        };
        assert_eq!(with(72), "");
        assert_eq!(with(73), "argocd_admin_password: 73 bytes (vars.yml:2:24)");
    }

    #[test]
    fn traefik_takes_no_port_of_the_cluster() {
        assert_eq!(tell("traefik_enabled: true\n"), "");
        assert_eq!(tell("kube_apiserver_port: 443\n"), "");
        assert_eq!(tell("traefik_enabled: true\nkube_apiserver_port: 443\n"), "traefik_https_port: 443");
        assert!(tell("traefik_enabled: true\ntraefik_http_port: 22\n").starts_with("traefik_http_port: 22"));
    }
}
