//! etcd: the cluster's database, on the machines of group `etcd`, run by systemd, or by way of it by the kubelet ([`pod`]).
//!
//! Where no machine has data, the first one begins the cluster; the others join it one by one as learners, each when the one before
//! it is healthy, and vote when they have caught up. A member that lost its data is taken out and joins anew. Reference: etcd's
//! "Runtime reconfiguration" guide.

/// A snippet in which `ctl` is etcdctl, on a member and of that member alone. Its one argument is the folder of certificates.
macro_rules! ctl {
    ($text:expr, $args:expr) => {
        sh(concat!(include_str!("ctl.sh"), $text), $args)
    };
}

mod defragment;
mod late_restart;
pub(crate) mod leave;
mod member;
mod never_back;
pub(crate) mod pki;
mod pod;
mod quorum;
pub mod recovery;
mod remains;
pub mod restore;
mod restore_line;
mod restore_room;
mod restored_pods;
mod snapshot;
mod snapshot_file;
mod status;
mod stopped_plane;
mod take_back;
mod tuning;

use std::collections::BTreeMap;

use futures::future::join_all;
use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::addresses::{access_ip_of, ip, ip_of};
use crate::adoption;
use crate::catalogue::artifact;
use crate::certificates::RENEWED_BELOW;
use crate::cluster::{self, MemberList, Standing};
use crate::common::{bin_dir, cluster_vars};
use crate::diagnosis;
use crate::timers;
use crate::unit::unit;
pub use defragment::role as defragment;
pub(crate) use late_restart::run as restart;
pub(crate) use leave::{all_are_well, can_be_away, may_be_restarted, unwell_by};
pub(crate) use member::outside;
use member::{Joined, Part};
use never_back::NeverBack;
pub(crate) use never_back::ahead_of_the_cluster;
pub(crate) use pki::FOLDER as CERTIFICATES;
pub(crate) use pod::no_drop_in;
pub use quorum::stops_with_one_more;
pub use remains::{Found, Needless, Recovery, Remains, Seen, Wish, judge, remains};
pub(crate) use snapshot::KEPT as SNAPSHOTS_KEPT;
pub(crate) use snapshot::before_upgrade as snapshot_before_upgrade;
pub(crate) use snapshot::bring as bring_snapshot;
pub use snapshot::role as snapshot;
pub use snapshot_file::SnapshotFile;
pub use status::{Answers, Member, MemberStatus, look};
pub(crate) use tuning::{is_memory, not_for_users};

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(crate) struct Vars {
    etcd_deployment_type: String,
    etcd_cert_dir: String,
    etcd_data_dir: String,
    etcd_certificate_days: u32,
    etcd_backup_calendar: String,
    etcd_backup_machine_count: u32,
    etcd_cert_alt_names: Vec<String>,
    etcd_cert_alt_ips: Vec<String>,
}

/// What of variables is read here, beside [`cluster::READS`].
pub(crate) const READS: &[Read] =
    &[Read::of::<tuning::Vars>(&["etcd"]), Read::of::<snapshot::Vars>(&["etcd"])];

/// The role.
pub(crate) const ROLE: &str = "etcd";
/// The timer that takes snapshots.
pub(crate) const SNAPSHOTS: &str = "muster-etcd-snapshot";
const PROGRAMS: [&str; 3] = ["etcd", "etcdctl", "etcdutl"];
const ENVIRONMENT: &str = "/etc/etcd.env";
const UNIT: &str = "/etc/systemd/system/etcd.service";

/// Files that say that an etcd is this role's; of what it has on a machine they go last.
pub(crate) const CONFIGURATION: [&str; 2] = [ENVIRONMENT, UNIT];

/// What this role tells other hosts.
pub(crate) const HEALTHY: &str = "a healthy etcd member";

pub(crate) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    // With Docker kubespray ran the same etcd, with the same data, certificates and ports.
    if !["host", "docker", "kubeadm"].contains(&vars.etcd_deployment_type.as_str()) {
        return Err(Failure::new(
            format!(
                "etcd_deployment_type is {:?}, which says nothing of how etcd is to run: under systemd (\"host\"), or as static pods (\"kubeadm\")",
                vars.etcd_deployment_type
            ),
            "set etcd_deployment_type: host, or kubeadm; docker is taken for host",
        ));
    }
    let known = cluster::may_set_up(host).await?;
    restore::forget_prepared(host, &known, &vars.etcd_data_dir).await?;
    let address = ip(host)?;
    let bin = bin_dir(host)?;
    let kube_version = cluster_vars(host)?.kube_version;
    let etcd = artifact(host, "etcd", &kube_version)?;
    let folder = format!("etcd-v{}-linux-{}", etcd.entry.version, etcd.entry.arch);

    let programs =
        host.step("Install etcd")
            .ensure(NeverBack::than(&etcd, &kube_version, &bin, &vars.etcd_data_dir))
            .ensure(PROGRAMS.into_iter().fold(archive(etcd), |all, name| {
                all.member(format!("{folder}/{name}"), format!("{bin}/{name}"))
            }))
            .await?;

    let name = member::name(host, &vars, &known).await?;
    let identity = pki::member(host, &vars, RENEWED_BELOW).await?;
    let tuning::Tuning { settings, memory_limit } = tuning::of(host.all_vars(), address)?;
    let is_pod = pod::is_wanted(host, &vars);
    let program = is_pod.then(|| pod::program(host, &vars, memory_limit.as_deref())).transpose()?;
    let extra = json!({
        "settings": settings,
        "memory_limit": memory_limit,
        "member_name": name,
        "address": address,
        "access_address": access_ip_of(host, host.name())?,
        "peer_url": member::peer_url(host, &known, host.name())?,
        "bin_dir": bin,
        "pod": program,
    });
    let environment = host.render("etcd.env.j2", include_str!("templates/etcd.env.j2"), &extra)?;
    let text = host.render("etcd.service.j2", include_str!("templates/etcd.service.j2"), &extra)?;
    identity.install(host, &vars.etcd_cert_dir).await?;
    // Not the certificates: etcd reads them at each new connection.
    let config = host
        .step("Configure etcd")
        .ensure(dir(&vars.etcd_data_dir).mode(0o700))
        .ensure(file(ENVIRONMENT).content(environment))
        .ensure_all(is_pod.then(pod::files).into_iter().flatten())
        .ensure(unit(UNIT, text))
        .await?;

    let Joined { part, has_program, runs_as_pod } = member::join(host, &vars, &known, &name).await?;
    if part == Part::TakenOut {
        // Nobody has to wait for it. Control planes that ask it alone are told of the others by this very run.
        host.reached(HEALTHY);
        return Ok(());
    }
    let etcd = service("etcd").restart_on(&[&programs, &config]);
    let former = adoption::before_member(host).await?;
    let was_pod = !is_pod && has_program;
    let run = if part == Part::Well && late_restart::is_due(host, &known)? {
        late_restart::put_off(host, etcd, was_pod).await?;
        host.step("Run etcd").ensure(service("etcd"))
    } else {
        if !adoption::is_under_way(host) {
            leave::may_restart(host, &etcd).await?;
        }
        if was_pod {
            take_back::run(host).await?;
        }
        adoption::hand_over(host, former)?.ensure(etcd)
    };
    let run = match vars.etcd_backup_calendar.trim() {
        "" => run.ensure(timers::none(SNAPSHOTS)).await,
        calendar => snapshots(&vars, calendar).on(host, run)?.await,
    };
    let run = adoption::handed_over(host, former, run).await?;
    if is_pod && (run.changed || !runs_as_pod) {
        late_restart::put_off_pod(host).await?;
    }
    if adoption::is_under_way(host) {
        // It has its vote; it only has to be up.
        healthy(host, &vars).await?;
    }
    member::vote(host, &vars, &known, &name).await?;
    let list = healthy(host, &vars).await?;
    if let Some(line) = known.restore_to_note(host.name()) {
        // An older muster has not told a member that joined after a restore.
        host.step("Note what etcd has gone through")
            .ensure(file(restore::DONE).content(format!("{line}\n")))
            .await?;
    }
    host.reached(HEALTHY);
    member::tell_of_strangers(host, &vars, &known, &list).await
}

/// What variables say to a member, by the names of its environment.
pub(crate) fn environment(host: &Host) -> Result<BTreeMap<String, String>> {
    let written = [
        ("ETCD_HEARTBEAT_INTERVAL", "etcd_heartbeat_interval"),
        ("ETCD_ELECTION_TIMEOUT", "etcd_election_timeout"),
        ("ETCD_QUOTA_BACKEND_BYTES", "etcd_quota_backend_bytes"),
        ("ETCD_AUTO_COMPACTION_RETENTION", "etcd_compaction_retention"),
    ];
    let mut all: BTreeMap<String, String> =
        tuning::of(host.all_vars(), ip(host)?)?.settings.into_iter().collect();
    for (name, variable) in written {
        let value = host.all_vars().get(variable)?.map(|value| value.to_json());
        let text = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        all.extend(text.map(|text| (name.to_owned(), text)));
    }
    Ok(all)
}

/// A timer takes snapshots of the host's member.
fn snapshots(vars: &Vars, calendar: &str) -> timers::Timer {
    timers::Timer {
        name: SNAPSHOTS,
        what: "take a snapshot of this machine's member of etcd",
        calendar: calendar.to_owned(),
        program: concat!(include_str!("ctl.sh"), include_str!("room.sh"), include_str!("keep-snapshots.sh")),
        arguments: vec![
            vars.etcd_cert_dir.clone(),
            snapshot::KEPT.to_owned(),
            vars.etcd_backup_machine_count.to_string(),
            vars.etcd_data_dir.clone(),
        ],
    }
}

/// Waits until the host's member is healthy. Returns the lines of `member list`.
async fn healthy(host: &Host, vars: &Vars) -> Result<String> {
    let healthy = ctl!("ctl endpoint health 2>&1 && ctl member list", [&vars.etcd_cert_dir]);
    let (every, limit) = (Duration::from_millis(500), Duration::from_secs(120));
    let wait = Wait::new("etcd is healthy", healthy, every, limit);
    Ok(diagnosis::wait_on_machine(host, "etcd", wait).await?.output)
}

/// Waits until the host's member is healthy.
pub(crate) async fn is_healthy(host: &Host) -> Result<()> {
    healthy(host, &host.vars()?).await.map(drop)
}

/// The programs that this role has on a machine.
pub(crate) fn programs(host: &Host) -> Result<Resources> {
    with_programs(host, Resources::new())
}

fn with_programs(host: &Host, others: Resources) -> Result<Resources> {
    let bin = bin_dir(host)?;
    Ok(PROGRAMS.into_iter().fold(others, |all, name| all.with(uninstalled(format!("{bin}/{name}")))))
}

/// What this role has on a machine, but for the data. Its programs stay where `keep_programs` says so.
pub(crate) fn owned(host: &Host, keep_programs: bool) -> Result<Resources> {
    let vars: Vars = host.vars()?;
    // What is first goes last: it says whose the rest is.
    let first = Resources::new().with(file(ENVIRONMENT));
    let owned = if keep_programs { first } else { with_programs(host, first)? };
    Ok(owned
        .with(dir(pki::FOLDER))
        .with(dir(&vars.etcd_cert_dir))
        .with(file(member::INITIAL))
        .with(file(restore::MARKER))
        .with(file(restore::DONE))
        .with(file(pod::AT_BOOT))
        .with(file(pod::PROGRAM))
        .with(file(pod::NOTE))
        .with(file(pod::FAILED))
        .with(file(UNIT))
        .with(service("etcd")))
}

/// What a control plane that is no member logs in to etcd with. Nothing else in its folder is muster's there.
pub(crate) fn login(folder: &str) -> Resources {
    let files = ["client-key.pem", "client.pem", "ca.pem"];
    files.into_iter().fold(Resources::new(), |all, name| all.with(file(format!("{folder}/{name}"))))
}

/// A member's data is gone, with what a restore has beside it. Only that: the folder may be a disk of its own, or hold more.
pub(crate) fn no_data(folder: &str) -> Command {
    removal(
        format!("data of etcd in {folder}"),
        sh(r#"rm -rf "$1"/member "$1"/muster-restore "$1"/muster-rescue "$1"/replaced-*"#, [folder]),
        sh(
            r#"for path in "$1"/member "$1"/muster-restore "$1"/muster-rescue "$1"/replaced-*; do [ ! -e "$path" ] || exit 1; done"#,
            [folder],
        ),
    )
}

/// What the members that answer know of each other.
pub(crate) async fn lists(host: &Host, known: &Standing) -> Result<BTreeMap<String, MemberList>> {
    let ask = known.members.iter().filter(|member| known.peer_url(member).is_some()).map(|member| async {
        let machine = host.cluster().host(member)?;
        let vars: Vars = machine.vars()?;
        // etcdctl of 3.5 knows no --consistency, and needs a majority to tell.
        let look = ctl!(
            r#"! ctl get health >/dev/null 2>&1 || echo majority
ctl member list --consistency=s 2>/dev/null || ctl member list"#,
            [&vars.etcd_cert_dir]
        );
        let Ok(Answer { status: 0, output }) = machine.query(look).await else { return Ok(None) };
        let votes = |member: &Vec<&str>| member.last().is_none_or(|learner| learner.trim() != "true");
        let urls = |member: Vec<&str>| member[3].to_owned();
        let list = MemberList {
            urls: member::members(&output).map(urls).collect(),
            voters: member::members(&output).filter(votes).map(urls).collect(),
            has_majority: output.lines().next() == Some("majority"),
        };
        Ok(Some((member.clone(), list)))
    });
    let lists: Vec<Option<_>> = join_all(ask).await.into_iter().collect::<Result<_>>()?;
    Ok(lists.into_iter().flatten().collect())
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

/// Whether one of these members has objects of a cluster itself, also where most of the others are away.
pub(crate) async fn have_objects<'m>(host: &Host, members: impl Iterator<Item = &'m str>) -> Result<bool> {
    for name in members {
        let member = host.cluster().host(name)?;
        let vars: Vars = member.vars()?;
        let look =
            ctl!("ctl get /registry --prefix --keys-only --limit=1 --consistency=s", [&vars.etcd_cert_dir]);
        if matches!(member.query(look).await, Ok(Answer { status: 0, output }) if !output.trim().is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The members, and the URL at which clients reach each.
pub(crate) fn client_url_of_each(host: &Host) -> Result<Vec<(String, String)>> {
    let urls = |member: String| {
        let url = client_urls_of(host, std::iter::once(member.as_str()))?.concat();
        Ok((member, url))
    };
    host.cluster().group("etcd").into_iter().map(urls).collect()
}

/// The URLs at which clients may know one member: at the address that it has as a member, and at those of the inventory, as far as they
/// are known.
pub(crate) fn client_urls_of_one(host: &Host, known: &Standing, member: &str) -> Vec<String> {
    let own =
        known.peer_url(member).and_then(|url| url.strip_suffix(":2380")).map(|url| format!("{url}:2379"));
    let addresses = [ip_of(host, member), access_ip_of(host, member)].into_iter().filter_map(Result::ok);
    own.into_iter().chain(addresses.map(|address| format!("https://{address}:2379"))).collect()
}

/// The URLs at which clients reach etcd.
pub(crate) fn client_urls(host: &Host) -> Result<Vec<String>> {
    let members = host.cluster().group("etcd");
    client_urls_of(host, members.iter().map(String::as_str))
}

/// The same of some of the members.
fn client_urls_of<'m>(host: &Host, members: impl Iterator<Item = &'m str>) -> Result<Vec<String>> {
    let url = |member| Ok(format!("https://{}:2379", access_ip_of(host, member)?));
    let mut urls: Vec<String> = members.map(url).collect::<Result<_>>()?;
    // Hosts that change places in their group change nothing.
    urls.sort_unstable();
    Ok(urls)
}
