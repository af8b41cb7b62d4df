//! Proxies of the machines: what reaches the world through them, and what does not need them.
//!
//! The list of what is reached directly is kubespray's, with one difference: machines in the network of the one that reads it are
//! named by that network. So a worker that comes or goes changes nothing on the others, whose container engine would restart
//! otherwise. Neither does `--limit`: nothing in the list depends on who takes part in a run.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use muster_engine::prelude::*;
use serde::Deserialize;

use crate::addresses::{access_ip_of, ip, written};
use crate::balancer;
use crate::common::cluster_vars;

/// Explained in `bootstrap-os/defaults.yml`.
#[derive(Deserialize)]
struct Vars {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    additional_no_proxy: String,
    additional_no_proxy_list: Vec<String>,
    skip_http_proxy_on_os_packages: bool,
    no_proxy_exclude_workers: bool,
    https_proxy_cert_file: Option<String>,
}

/// What of variables is read here.
pub(crate) const READS: &[Read] = &[Read::own::<Vars>()];

/// The proxies of a machine; `None` where it has none.
///
/// # Errors
/// The machine's own address is not known.
pub(crate) fn of(host: &Host) -> Result<Option<Proxy>> {
    let vars: Vars = host.vars()?;
    if vars.http_proxy.is_empty() && vars.https_proxy.is_empty() {
        return Ok(None);
    }
    let none = match vars.no_proxy.is_empty() {
        true => direct(host, &vars)?.join(","),
        false => vars.no_proxy,
    };
    Ok(Some(Proxy { http: vars.http_proxy, https: vars.https_proxy, none }))
}

/// Those of its package manager.
///
/// # Errors
/// As [`of`].
pub(crate) fn of_packages(host: &Host) -> Result<Proxy> {
    let vars: Vars = host.vars()?;
    let proxy = if vars.skip_http_proxy_on_os_packages { None } else { of(host)? };
    Ok(proxy.unwrap_or_default())
}

/// What a machine reaches without a proxy.
fn direct(host: &Host, vars: &Vars) -> Result<Vec<String>> {
    let cluster = cluster_vars(host)?;
    let own = ip(host)?;
    let address = host.facts().addresses.iter().find(|address| address.ip == own);
    let network = address.and_then(|address| IpNet::new(address.ip, address.prefix).ok());
    let network = network.map(|network| network.trunc());

    let mut carrying: BTreeSet<String> = host.cluster().group("kube_control_plane").into_iter().collect();
    carrying.extend(host.cluster().group("etcd"));
    let workers = host.cluster().group("kube_node").into_iter();
    let workers: BTreeSet<String> =
        workers.filter(|node| !vars.no_proxy_exclude_workers && !carrying.contains(node)).collect();
    let mut addresses = BTreeSet::new();
    // One that is off, and whose address nobody has written down, is named by the network, most of the time.
    addresses.extend(carrying.iter().filter_map(|name| access_ip_of(host, name).ok()));
    for name in &workers {
        // What is written down: the address of a machine that is off, or takes no part, is not known otherwise.
        let address = written(host, name, "access_ip")?;
        addresses.extend(if address.is_some() { address } else { written(host, name, "ip")? });
    }
    let elsewhere = |address: &&IpAddr| !network.is_some_and(|network| network.contains(*address));

    let mut list: Vec<String> = balancer::names(host.all_vars());
    list.extend(network.map(|network| network.to_string()));
    list.extend(addresses.iter().filter(elsewhere).map(IpAddr::to_string));
    list.extend(carrying.iter().cloned());
    list.extend(carrying.iter().map(|name| format!("{name}.{}", cluster.dns_domain)));
    list.extend(vars.additional_no_proxy.split(',').map(|entry| entry.trim().to_owned()));
    list.extend(vars.additional_no_proxy_list.iter().cloned());
    list.extend(["127.0.0.1".to_owned(), "localhost".to_owned()]);
    list.extend(cluster.services().into_iter().chain(cluster.pods()).map(str::to_owned));
    list.extend(["svc".to_owned(), format!("svc.{}", cluster.dns_domain)]);
    let mut seen = BTreeSet::new();
    list.retain(|entry| !entry.is_empty() && seen.insert(entry.clone()));
    Ok(list)
}

/// What a container engine is told of its machine's proxies, as an environment file of systemd (systemd.exec(5)), which may hold a
/// password; `None` where there are none. The certificates are those that a proxy which opens connections shows (crypto/x509 of Go).
///
/// # Errors
/// As [`of`].
pub(crate) fn environment(host: &Host) -> Result<Option<String>> {
    let vars: Vars = host.vars()?;
    Ok(of(host)?.map(|proxy| lines(&proxy, vars.https_proxy_cert_file.as_deref().unwrap_or_default())))
}

fn lines(proxy: &Proxy, certificates: &str) -> String {
    let named = [
        ("HTTP_PROXY", proxy.http.as_str()),
        ("HTTPS_PROXY", &proxy.https),
        ("NO_PROXY", &proxy.none),
        ("SSL_CERT_FILE", certificates),
    ];
    named
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect()
}

/// Nothing is told of certificates that the machine does not have: without any, no registry would be believed.
pub(crate) const CHECK: &str = r#"
while IFS= read -r line; do
  case $line in
    SSL_CERT_FILE=*)
      [ -r "${line#*=}" ] || {
        echo "${line#*=} is not on this machine: copy it there (muster copy), or correct https_proxy_cert_file" >&2
        exit 1
      }
      ;;
  esac
done"#;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use muster_engine::run::Role;

    use super::*;
    use crate::preflight::fixture::inventory_and_vars;
    use crate::testing::run_roles;

    /// What a machine's containerd is told.
    async fn told(nodes: &str, yaml: &str) -> String {
        told_by(of, nodes, yaml).await
    }

    async fn told_by(asked: fn(&Host) -> Result<Option<Proxy>>, nodes: &str, yaml: &str) -> String {
        let seen = Arc::new(Mutex::new(String::new()));
        let notes = seen.clone();
        let look = Role::given("look", move |host| {
            *notes.lock().unwrap() = asked(host).unwrap().map(|proxy| lines(&proxy, "")).unwrap_or_default();
            async { Ok(()) }.boxed()
        });
        let look = look.reading(&[crate::cluster::READS, READS]);
        let play = serde_json::json!([{ "name": "Look", "hosts": "a", "roles": ["look"] }]);
        let hosts = "a ip=127.0.0.1\nb ip=127.9.9.9\nc ip=192.0.2.3\nd ip=192.0.2.4 access_ip=198.51.100.4\ne\nf ip=127.1.1.1\n";
        let ini = format!("{hosts}[kube_control_plane]\na\nc\n[etcd]\na\n[kube_node]\n{nodes}");
        run_roles(&[look], inventory_and_vars(&ini, yaml), &["a"], play, Path::new("/nowhere")).await;
        seen.lock().unwrap().clone()
    }

    const PROXY: &str =
        "https_proxy: http://proxy.example.org:3128\nskydns_server: 10.233.0.3\nkube_version: 1.36.3\n";

    #[tokio::test]
    async fn what_is_near_is_reached_directly_and_another_worker_near_changes_nothing() {
        let list = "127.0.0.0/8,192.0.2.3,198.51.100.4,a,c,a.cluster.local,c.cluster.local,127.0.0.1,localhost,10.233.0.0/18,\
                    10.233.64.0/18,svc,svc.cluster.local\n";
        let expected = format!("HTTPS_PROXY=http://proxy.example.org:3128\nNO_PROXY={list}");
        assert_eq!(told("b\nd\n", PROXY).await, expected);
        let of_both =
            "10.233.0.0/18,fd85:ee78:d8a6:8607::1000/116,10.233.64.0/18,fd85:ee78:d8a6:8607::1:0000/112";
        let told_of_both = told("b\nd\n", &format!("{PROXY}ipv6_stack: true")).await;
        assert_eq!(told_of_both, expected.replace("10.233.0.0/18,10.233.64.0/18", of_both));
        // e is off, and f is as near as b.
        assert_eq!(told("b\nd\ne\nf\n", PROXY).await, expected);
        let without = told("b\nd\n", &format!("{PROXY}no_proxy_exclude_workers: true")).await;
        assert_eq!(without, expected.replace(",198.51.100.4", ""));
    }

    #[tokio::test]
    async fn an_engine_is_told_of_the_certificates_of_a_proxy_that_the_machine_has() {
        let engine = |yaml: &str| {
            let seen = Arc::new(Mutex::new(None));
            let notes = seen.clone();
            let look = Role::given("look", move |host| {
                *notes.lock().unwrap() = environment(host).unwrap();
                async { Ok(()) }.boxed()
            });
            let look = look.reading(&[crate::cluster::READS, READS]);
            let play = serde_json::json!([{ "name": "Look", "hosts": "a", "roles": ["look"] }]);
            let ini = "a ip=127.0.0.1\n[kube_control_plane]\na\n[etcd]\na\n[kube_node]\na\n";
            let written = inventory_and_vars(ini, yaml);
            async move {
                run_roles(&[look], written, &["a"], play, Path::new("/nowhere")).await;
                seen.lock().unwrap().clone()
            }
        };
        let said = format!("{PROXY}no_proxy: x\nhttps_proxy_cert_file: /etc/ssl/proxy.pem\n");
        let lines =
            "HTTPS_PROXY=http://proxy.example.org:3128\nNO_PROXY=x\nSSL_CERT_FILE=/etc/ssl/proxy.pem\n";
        assert_eq!(engine(&said).await.as_deref(), Some(lines));
        assert_eq!(engine("https_proxy_cert_file: /etc/ssl/proxy.pem").await, None, "there is no proxy");

        let there = tempfile::NamedTempFile::new().unwrap();
        let taken = |path: &str| {
            let text = format!("echo 'NO_PROXY=x\nSSL_CERT_FILE={path}' | (\n{CHECK}\n)");
            let out = std::process::Command::new("dash").args(["-euc", &text]).output().unwrap();
            (out.status.success(), String::from_utf8(out.stderr).unwrap())
        };
        assert_eq!(taken(there.path().to_str().unwrap()), (true, String::new()));
        let (is_taken, said) = taken("/nowhere/proxy.pem");
        assert!(!is_taken && said.contains("/nowhere/proxy.pem is not on this machine"), "{said}");
    }

    #[tokio::test]
    async fn what_the_user_says_is_added_or_taken_as_it_is() {
        let more = "additional_no_proxy: 'mirror.example.org, .lan,'\nadditional_no_proxy_list: [192.0.2.0/28]\napiserver_loadbalancer_domain_name: api.example.org\n";
        let added = told("b\n", &format!("{PROXY}{more}")).await;
        assert!(added.contains("NO_PROXY=api.example.org,127.0.0.0/8,"), "{added}");
        assert!(
            added.contains(",c.cluster.local,mirror.example.org,.lan,192.0.2.0/28,127.0.0.1,"),
            "{added}"
        );
        let whole =
            told("b\n", &format!("{PROXY}http_proxy: http://192.0.2.9:80\nno_proxy: .example.org")).await;
        assert_eq!(
            whole,
            "HTTP_PROXY=http://192.0.2.9:80\nHTTPS_PROXY=http://proxy.example.org:3128\nNO_PROXY=.example.org\n"
        );
        assert_eq!(told("b\n", "no_proxy: .example.org").await, "");
        let packages = |host: &Host| of_packages(host).map(Some);
        assert!(
            told_by(packages, "b\n", PROXY).await.starts_with("HTTPS_PROXY=http://proxy.example.org:3128\n")
        );
        let skipped = told_by(packages, "b\n", &format!("{PROXY}skip_http_proxy_on_os_packages: true")).await;
        assert!(!skipped.contains("proxy.example.org"), "{skipped}");
    }
}
