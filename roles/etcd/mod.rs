//! etcd: the cluster's database, on the machines of group `etcd`, run by systemd.
//!
//! Where no machine has data, the first one begins the cluster; the others join it one by one as learners, each when the one before
//! it is healthy, and vote when they have caught up. A member that lost its data is taken out and joins anew. Reference: etcd's
//! "Runtime reconfiguration" guide.

/// A snippet in which `ctl` is etcdctl, on a member and of that member alone. Its one argument is the folder of certificates.
macro_rules! ctl {
    ($text:literal, $args:expr) => {
        sh(concat!(include_str!("ctl.sh"), $text), $args)
    };
}

mod member;
pub(crate) mod pki;
pub(crate) mod snapshot;

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::catalogue::artifact;
use crate::cluster::{self, Standing};
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
    let known = cluster::belongs(host).await?;
    let address = ip(host)?;
    let bin = bin_dir(host)?;
    let etcd = artifact(host, "etcd", &cluster_vars(host)?.kube_version)?;
    let folder = format!("etcd-v{}-linux-{}", etcd.entry.version, etcd.entry.arch);

    let programs =
        host.step("Install etcd")
            .ensure(["etcd", "etcdctl", "etcdutl"].into_iter().fold(archive(etcd), |all, name| {
                all.member(format!("{folder}/{name}"), format!("{bin}/{name}"))
            }))
            .await?;

    let name = member::name(host, &vars, &known).await?;
    let identity = pki::member(host, &vars, &address.to_string()).await?;
    let extra = json!({
        "member_name": name,
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

    member::join(host, &vars, &known, &name).await?;
    host.step("Run etcd").ensure(service("etcd").restart_on(&[&programs, &config])).await?;
    member::vote(host, &vars, &known.members).await?;
    let healthy = ctl!("ctl endpoint health 2>&1 && ctl member list", [&vars.etcd_cert_dir]);
    let (every, limit) = (Duration::from_millis(500), Duration::from_secs(120));
    let answer = host.wait("etcd is healthy", healthy, every, limit).await?;
    host.reached(HEALTHY);
    member::tell_of_strangers(host, &vars, &answer.output).await
}

/// What is not well with the members, one of which is asked; nothing where no member could be asked for its identity.
pub(crate) async fn unhealthy(host: &Host, known: &Standing) -> Result<Vec<String>> {
    let Some(member) = known.reached_member() else { return Ok(Vec::new()) };
    let member = host.cluster().host(member)?;
    let vars: Vars = member.vars()?;
    let look = ctl!("ctl endpoint health --cluster 2>&1", [&vars.etcd_cert_dir]);
    let answer = member.query(look).await?;
    let lines = answer.output.lines().filter(|line| answer.status != 0 && line.contains("is unhealthy"));
    let mut unwell: Vec<String> = lines.map(|line| format!("etcd: {line}")).collect();
    if answer.status != 0 && unwell.is_empty() {
        let said = answer.output.lines().next_back().unwrap_or("it does not say why");
        unwell.push(format!("etcd does not answer on {}: {said}", member.name()));
    }
    Ok(unwell)
}

/// Whether etcd holds the objects of a cluster; `None` when no member of the inventory answers.
pub(crate) async fn holds_objects(host: &Host) -> Result<Option<bool>> {
    for member in host.cluster().group("etcd") {
        let member = host.cluster().host(&member)?;
        let vars: Vars = member.vars()?;
        let look = ctl!("ctl get /registry --prefix --keys-only --limit=1", [&vars.etcd_cert_dir]);
        // One that is off, or is no member yet, cannot tell; another one may.
        if let Ok(Answer { status: 0, output }) = member.query(look).await {
            return Ok(Some(!output.trim().is_empty()));
        }
    }
    Ok(None)
}

/// The URLs at which clients reach etcd.
pub(crate) fn client_urls(host: &Host) -> Result<Vec<String>> {
    let url = |member: &String| Ok(format!("https://{}:2379", ip_of(host, member)?));
    let mut urls: Vec<String> = host.cluster().group("etcd").iter().map(url).collect::<Result<_>>()?;
    // Hosts that change places in their group change nothing.
    urls.sort_unstable();
    Ok(urls)
}
