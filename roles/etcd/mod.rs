//! etcd: the cluster's database, on the machines of group `etcd`, run by systemd.
//!
//! The first machine begins the cluster, the others join it one by one as learners, each when the one before it is healthy,
//! and vote when they have caught up. A member that lost its data is taken out and joins anew. Reference: etcd's "Runtime
//! reconfiguration" guide.

mod member;
pub(crate) mod pki;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::catalogue::artifact;
use crate::common::{bin_dir, cluster_vars, ip, ip_of};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(crate) struct Vars {
    etcd_deployment_type: String,
    etcd_cert_dir: String,
    etcd_data_dir: String,
    etcd_certificate_days: u32,
}

/// What this role tells other hosts.
pub(crate) const HEALTHY: &str = "a healthy etcd member";

pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    // With Docker kubespray ran the same etcd, with the same data, certificates and ports.
    if !["host", "docker"].contains(&vars.etcd_deployment_type.as_str()) {
        return Err(Failure::new(
            format!(
                "etcd_deployment_type is {:?}, and only \"host\" is supported",
                vars.etcd_deployment_type
            ),
            "set etcd_deployment_type: host",
        ));
    }
    let address = ip(host)?;
    let bin = bin_dir(host)?;
    let members = host.cluster().group("etcd");
    let etcd = artifact(host, "etcd", &cluster_vars(host)?.kube_version)?;
    let folder = format!("etcd-v{}-linux-{}", etcd.entry.version, etcd.entry.arch);

    let programs =
        host.step("Install etcd")
            .ensure(["etcd", "etcdctl", "etcdutl"].into_iter().fold(archive(etcd), |all, name| {
                all.member(format!("{folder}/{name}"), format!("{bin}/{name}"))
            }))
            .await?;

    let identity = pki::member(host, &vars, &address.to_string()).await?;
    let extra = json!({
        "member_name": member::name(host, host.name(), &members)?,
        "address": address,
        "bin_dir": bin,
    });
    let environment = host.render("etcd.env.j2", include_str!("templates/etcd.env.j2"), &extra)?;
    let unit = host.render("etcd.service.j2", include_str!("templates/etcd.service.j2"), &extra)?;
    identity.install(host, &vars.etcd_cert_dir).await?;
    let config = host
        .step("Configure etcd")
        .ensure(dir(&vars.etcd_data_dir).mode(0o700))
        .ensure_all(identity.certificates(&vars.etcd_cert_dir))
        .ensure(file("/etc/etcd.env").content(environment))
        .ensure(file("/etc/systemd/system/etcd.service").content(unit))
        .await?;

    member::join(host, &vars, &members).await?;
    host.step("Run etcd").ensure(service("etcd").restart_on(&[&programs, &config])).await?;
    member::vote(host, &vars, &members).await?;
    host.wait(
        "etcd is healthy",
        sh(
            r#"ETCDCTL_API=3 etcdctl --command-timeout=5s --endpoints "$1" --cacert "$2/ca.pem" --cert "$2/member.pem" --key "$2/member-key.pem" endpoint health 2>&1"#,
            ["https://127.0.0.1:2379", &vars.etcd_cert_dir],
        ),
        Duration::from_millis(500),
        Duration::from_secs(120),
    )
    .await?;
    host.reached(HEALTHY);
    Ok(())
}

/// The URLs at which clients reach etcd.
pub(crate) fn client_urls(host: &Host) -> Result<Vec<String>> {
    host.cluster().group("etcd").iter().map(|m| Ok(format!("https://{}:2379", ip_of(host, m)?))).collect()
}
