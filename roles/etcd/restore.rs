//! The cluster of a snapshot is brought back, on the machines of the inventory. Reference: etcd's "Disaster recovery" guide.
//!
//! All members begin anew from the same snapshot, as one new cluster of etcd: its number follows from a token that no restore
//! before had, so a member of it and one of the cluster before never work together. The order makes that a restore that was cut
//! off anywhere is finished by the same command, and that no two members ever run of which one has the old data and one the new:
//!
//! 1. Each member's new data is prepared beside the old, while the cluster goes on. A marker on the machine says so ([`Line`]). A
//!    restore that was cut off here has not begun: the next one prepares its own, with a new snapshot of what it replaces, and a
//!    set-up takes away what was prepared ([`forget_prepared`]).
//! 2. The control planes stop, and etcd, which is disabled as well, so that a restart of a machine starts neither. From here on the
//!    next restore of the same snapshot goes on, and every other run that would change a machine is refused
//!    ([`Standing::begun_restore`]).
//! 3. Only when all have stopped the new data takes the place of the old.
//! 4. Only when all have it etcd starts, then the control planes; the kubelets begin anew, and pods where they have to
//!    (`restored_pods.rs`); and kube-proxy, the pods' network and DNS have rolled out again.
//! 5. The marker is renamed on each machine when all is well.
//!
//! Who watches the cluster has seen revisions after the snapshot. So the revision grows by more than was ever written since, and
//! all before counts as compacted: everybody reads anew.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::{FutureExt, join_all};
use muster_artifacts::Sha256;
use muster_engine::play::{Play, Share};
use muster_engine::prelude::*;
use muster_engine::run::Role;
use muster_engine::script::quote;
use serde_json::Value;
use time::OffsetDateTime;

use super::member::removing;
use super::restore_line::Line;
use super::restore_room::Room;
use super::snapshot_file::SnapshotFile;
use super::status::Member;
use super::stopped_plane::{self, MANIFESTS};
use super::{Vars, pod, restored_pods, snapshot};
use crate::cluster::{self, Standing};
use crate::kubectl::api_answers;
use crate::{balancer, kubeadm};

/// On the same disk as what is brought to a machine.
const STATE: &str = "/var/lib/muster";

/// On a machine whose restore is under way: a [`Line`].
pub(crate) const MARKER: &str = "/var/lib/muster/etcd-restore";

/// The same, when it has come to its end.
pub(super) const DONE: &str = "/var/lib/muster/etcd-restored";

/// More revisions than are written between two snapshots: etcd's guide counts with this for a week of 1500 writes a second.
const MARGIN: u64 = 1_000_000_000;

/// A member as it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Restored {
    host: String,
    name: String,
    url: String,
}

/// What the members of a run agree on.
struct Agreed {
    line: Line,
    members: Vec<Restored>,
    /// Whether the restored data is in its place everywhere: then nothing needs to stop any more.
    taken: bool,
    /// The snapshot that this run has taken of what is replaced.
    before: Option<PathBuf>,
}

/// What is restored.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The snapshot, on this computer.
    pub path: PathBuf,
    /// What was found in it; `None` where it is still to be taken, and this is only to be looked at.
    pub snapshot: Option<SnapshotFile>,
    /// Hosts of the inventory that have no part in the restored cluster, because they are lost.
    pub without: BTreeSet<String>,
    /// Whether it may be of a cluster with another authority than the one that runs, as new machines have it.
    pub of_another: bool,
}

/// A group without the hosts that have no part in it, as a pattern of hosts.
pub(super) fn staying(group: &str, without: &BTreeSet<String>) -> String {
    without.iter().fold(group.to_owned(), |pattern, host| format!("{pattern}:!{host}"))
}

/// The plays of a restore, in order. `without`: see [`Restore`].
pub fn plays(without: &BTreeSet<String>) -> Vec<Play> {
    let play = |name: &str, hosts: &str, role: &str, max_failures| Play {
        name: name.into(),
        hosts: staying(hosts, without),
        roles: vec![role.into()],
        wait_for_all: true,
        max_failures,
        ..Play::default()
    };
    let all = Some(Share::Hosts(0));
    // An API server that comes back would serve what it finds in its old etcd.
    let balancers = play("Lead nobody to those that are lost", "k8s_cluster", "restore-balancers", None);
    let plays = vec![
        Play {
            any_errors_fatal: true,
            ..play("Prepare the restored members", "etcd", "restore-prepare", all)
        },
        play("Stop the control plane", "kube_control_plane", "restore-stop-planes", all),
        play("Stop etcd", "etcd", "restore-stop-etcd", all),
        play("Take the restored data", "etcd", "restore-take", all),
        play("Start etcd", "etcd", "restore-start", all),
        play("Start the control plane", "kube_control_plane", "restore-control-plane", all),
        play("Let the kubelets begin anew", "k8s_cluster", "restore-node", None),
        play("Let nodes have their networks", "k8s_cluster", "restore-network", None),
        play("Let pods begin anew", "kube_control_plane", "restore-pods", None),
        play("Finish", "etcd", "restore-finish", all),
    ];
    std::iter::once(balancers).filter(|_| !without.is_empty()).chain(plays).collect()
}

/// The roles of these plays.
pub fn roles(restore: Restore) -> Vec<Role> {
    let what = Arc::new(restore);
    let (of_planes, of_members) = (what.clone(), what.clone());
    let (of_nodes, of_pods, restored) = (what.clone(), what.clone(), what.clone());
    let roles = [
        Role::given("restore-balancers", move |host| lead_away(host, of_nodes.clone()).boxed()),
        Role::given("restore-prepare", move |host| prepare(host, what.clone()).boxed()),
        Role::given("restore-stop-planes", move |host| stop_plane(host, of_planes.clone()).boxed()),
        Role::given("restore-stop-etcd", move |host| stop_etcd(host, of_members.clone()).boxed()),
        Role::given("restore-take", |host| take(host).boxed()),
        Role::given("restore-start", |host| start(host).boxed()),
        Role::given("restore-control-plane", |host| control_plane(host).boxed()),
        Role::given("restore-node", |host| node(host).boxed()),
        Role::given("restore-network", |host| restored_pods::network(host).boxed()),
        Role::given("restore-pods", move |host| pods(host, of_pods.clone()).boxed()),
        Role::given("restore-finish", move |host| finish(host, restored.clone()).boxed()),
    ];
    roles.map(|role| role.reading(&[cluster::READS, super::READS, kubeadm::READS])).into()
}

/// Under which the members' agreement is kept for the run.
const AGREED: &str = "what is restored";

/// What all members of this run restore.
async fn agreed(host: &Host, what: &Restore) -> Result<Arc<Agreed>> {
    host.cluster().once(AGREED, || agree(host, what)).await
}

/// The same in later plays: the first one has brought it about.
fn known(host: &Host) -> Result<Arc<Agreed>> {
    let missing = || Failure::new("the members were not looked at", "restore without --start-at and --tags");
    host.cluster().done(AGREED).ok_or_else(missing)
}

/// What a machine of a member said (`restore-look.sh`).
#[derive(Debug, Default)]
struct Look {
    ready: bool,
    taken: bool,
    /// Whether etcd does not start by itself, as after the second step of a restore.
    disabled: bool,
    healthy: bool,
    revision: u64,
    members: Vec<Member>,
    room: Room,
}

impl Look {
    fn parse(answer: &str) -> Self {
        let mut look = Self { room: Room::parse(answer), ..Self::default() };
        for line in answer.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let json = || serde_json::from_str::<Value>(value).unwrap_or_default();
            match key {
                "ready" => look.ready = true,
                "taken" => look.taken = true,
                "disabled" => look.disabled = true,
                "healthy" => look.healthy = true,
                "status" => look.revision = json()[0]["Status"]["header"]["revision"].as_u64().unwrap_or(0),
                "stopped" => look.revision = json()["revision"].as_u64().unwrap_or(0),
                "members" => {
                    look.members = serde_json::from_value(json()["members"].take()).unwrap_or_default()
                }
                _ => {}
            }
        }
        look
    }
}

async fn agree(host: &Host, what: &Restore) -> Result<Agreed> {
    let standing = cluster::known(host).await?;
    let missing = standing.missing_for_restore(&what.without);
    if !missing.is_empty() {
        return Err(Failure::Problems(missing));
    }
    let members = members(&standing, &what.without)?;
    let looks = join_all(members.iter().map(|member| async {
        let machine = host.cluster().host(&member.host)?;
        let vars: Vars = machine.vars()?;
        let folders = [vars.etcd_cert_dir.as_str(), &vars.etcd_data_dir, STATE];
        let look = ctl!(include_str!("restore-look.sh"), folders);
        Ok(Look::parse(&machine.query(look).await?.output))
    }));
    let looks: Vec<Look> = looks.await.into_iter().collect::<Result<_>>()?;
    let certificates = host.vars::<Vars>()?.etcd_cert_dir;
    let problems = problems(&members, &looks, &certificates);
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    let sha256 = what.snapshot.as_ref().map_or("", |snapshot| snapshot.sha256.as_str());
    let key = key(sha256, &members);
    if let Some(line) = begun_line(&standing, &members, &looks, &key) {
        let prepared = |member: &Restored| is_marked(&standing, &member.host, &line);
        let taken = members.iter().all(prepared) && looks.iter().all(|look| look.taken);
        return Ok(Agreed { line, members, taken, before: None });
    }
    let size = what.snapshot.as_ref().map_or(0, |snapshot| snapshot.size);
    let mut problems = no_room(&members, &looks, size);
    problems.extend(other_cluster(host, &standing, what).await?);
    if !problems.is_empty() {
        return Err(Failure::Problems(problems));
    }
    let well = members.iter().zip(&looks).find(|(_, look)| look.healthy).map(|(member, _)| &member.host);
    let before = match well {
        Some(member) => Some(snapshot::bring(&*host.cluster().host(member)?, None).await?),
        None => {
            host.warn("no member of etcd is well, so no snapshot is taken of what is replaced: the members keep their old data");
            None
        }
    };
    let bump = looks.iter().map(|look| look.revision).max().unwrap_or(0) + MARGIN;
    // What counts is the number of restores, whatever clocks say. The time only makes that a token is not one of a cluster of which
    // nothing is left here.
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let token = format!("restored-{}-{now:x}-{}", standing.generation() + 1, &key[..8]);
    let line = Line { token, key, bump, saved: before.is_some(), without: what.without.clone() };
    Ok(Agreed { line, members, taken: false, before })
}

/// What the members have noted of a restore that goes on: one that has replaced data, or has stopped etcd. As long as etcd works with
/// its own data there may be more in it by now than in the snapshot that was taken of it.
fn begun_line(standing: &Standing, members: &[Restored], looks: &[Look], key: &str) -> Option<Line> {
    let marked =
        |member: &Restored| Line::parse(standing.restore(&member.host).0?).filter(|line| line.key == key);
    let has_taken = members.iter().zip(looks).any(|(member, look)| look.taken && marked(member).is_some());
    let is_stopped = looks.iter().any(|look| look.disabled) && !looks.iter().any(|look| look.healthy);
    members.iter().find_map(marked).filter(|_| has_taken || is_stopped)
}

/// That the snapshot is of another cluster than the one whose place it would take.
async fn other_cluster(host: &Host, standing: &Standing, what: &Restore) -> Result<Option<Problem>> {
    let plane = standing.standing().first().copied().filter(|_| !what.of_another && what.snapshot.is_some());
    let Some(plane) = plane else { return Ok(None) };
    if restored_pods::may_be_of_this_cluster(&*host.cluster().host(plane)?, &what.path).await? {
        return Ok(None);
    }
    let file = what.path.display();
    Ok(Some(Problem {
        check: "snapshot".into(),
        found: format!("{file} is of a cluster with another CA than the one that {plane} has"),
        needed: "a snapshot of this cluster".into(),
        remedy: format!(
            "take the right file; or, if the machines were installed anew since, or got new authorities (muster certs renew --ca), say \
             so: muster etcd restore --another-cluster {}",
            quote(&file.to_string())
        ),
    }))
}

/// The members of the inventory that have a part in it, as their machines were configured.
fn members(standing: &Standing, without: &BTreeSet<String>) -> Result<Vec<Restored>> {
    let missing = |host: &String| {
        Failure::new(
            format!("{host} is no member of etcd"),
            "make all machines of [etcd] members first: setup-cluster; or take those that are gone out of the inventory",
        )
    };
    let member = |host: &String| {
        let (name, url) = standing.etcd_member(host).ok_or_else(|| missing(host))?;
        Ok(Restored { host: host.clone(), name: name.to_owned(), url: url.to_owned() })
    };
    standing.members.iter().filter(|host| !without.contains(*host)).map(member).collect()
}

/// What is against it. `certificates`: the folder of etcd's certificates.
fn problems(members: &[Restored], looks: &[Look], certificates: &str) -> Vec<Problem> {
    let unready = members.iter().zip(looks).filter(|(_, look)| !look.ready).map(|(member, _)| Problem {
        check: "etcd".into(),
        found: format!("{} has no etcd", member.host),
        needed: "etcd on every machine of [etcd]".into(),
        remedy: "setup-cluster".into(),
    });
    let ours = |member: &Member| members.iter().any(|ours| member.peer_urls.contains(&ours.url));
    let mut strangers: Vec<&Member> =
        looks.iter().flat_map(|look| &look.members).filter(|m| !ours(m)).collect();
    strangers.sort_by_key(|stranger| stranger.id);
    strangers.dedup_by_key(|stranger| stranger.id);
    let on = members.first().map_or("a member", |member| &member.host);
    let strangers = strangers.into_iter().map(|stranger| Problem {
        check: "members of etcd".into(),
        found: format!("{} ({}) is not in the inventory", stranger.name, stranger.peer_urls.join(", ")),
        needed: "no member that would go on with the old data".into(),
        remedy: format!(
            "put its machine into [etcd]; or, if it is gone for good, remove it {}",
            removing(&format!("{:x}", stranger.id), on, certificates)
        ),
    });
    unready.chain(strangers).collect()
}

/// That disks are too small for what is prepared, before anything comes there: a full one would end etcd, which still runs.
fn no_room(members: &[Restored], looks: &[Look], snapshot: u64) -> Vec<Problem> {
    let of = |(member, look): (&Restored, &Look)| {
        let problem = |lacks: String| Problem {
            check: "disk".into(),
            found: format!("{}: {lacks}", member.host),
            needed: "room for the restored data beside the old, on every member".into(),
            remedy: format!("make room; to see what is there: muster exec {} -- df -h", member.host),
        };
        look.room.lacks(snapshot).into_iter().map(problem).collect::<Vec<_>>()
    };
    members.iter().zip(looks).flat_map(of).collect()
}

/// What is restored, and to which members.
fn key(sha256: &str, members: &[Restored]) -> String {
    let mut all: Vec<String> =
        members.iter().map(|member| format!("{}={}", member.name, member.url)).collect();
    all.sort_unstable();
    Sha256::of(format!("{sha256} {}", all.join(",")).as_bytes()).to_string()
}

/// Whether a machine had prepared this restore before the run.
fn is_marked(standing: &Standing, host: &str, line: &Line) -> bool {
    let (under_way, done) = standing.restore(host);
    [under_way, done].into_iter().flatten().any(|text| text == line.to_string())
}

/// Whether the machines have begun with the restore of a snapshot and not come to its end.
pub(super) fn is_under_way(
    standing: &Standing,
    snapshot: &SnapshotFile,
    without: &BTreeSet<String>,
) -> Result<bool> {
    let members = members(standing, without)?;
    let key = key(&snapshot.sha256, &members);
    let marked = |member: &Restored| Line::parse(standing.restore(&member.host).0?);
    Ok(members.iter().filter_map(marked).any(|line| line.key == key))
}

/// What a restore has prepared on a machine, and not begun with, is of no use any more. The marker goes first: one without the data
/// means that the data was taken.
pub(super) async fn forget_prepared(host: &Host, standing: &Standing, data: &str) -> Result<()> {
    if standing.restore(host.name()).0.is_none() {
        return Ok(());
    }
    let forget = sh(r#"rm -f "$1" && sync && rm -rf "$2/muster-restore""#, [MARKER, data]);
    let forgotten = sh(r#"[ ! -e "$1" ] && [ ! -e "$2/muster-restore" ]"#, [MARKER, data]);
    let prepared = command("what a restore that was not begun has prepared", forget, forgotten);
    host.step("Remove what was prepared").ensure(prepared).await.map(drop)
}

/// The machine's load balancer has no control plane any more that is lost.
async fn lead_away(host: &Host, what: Arc<Restore>) -> Result<()> {
    let standing = cluster::belongs_while_restored(host).await?;
    let lost: Vec<String> = what.without.iter().cloned().collect();
    balancer::lead_away(host, &standing, &lost).await
}

async fn prepare(host: &Host, what: Arc<Restore>) -> Result<()> {
    let standing = cluster::belongs_while_restored(host).await?;
    let vars: Vars = host.vars()?;
    let agreed = agreed(host, &what).await?;
    if is_marked(&standing, host.name(), &agreed.line) {
        host.passed("Look at the restored member");
        return Ok(());
    }
    let (data, line) = (&vars.etcd_data_dir, &agreed.line);
    let Some(own) = agreed.members.iter().find(|member| member.host == host.name()) else { return Ok(()) };
    let all: Vec<String> = agreed.members.iter().map(|m| format!("{}={}", m.name, m.url)).collect();
    let arrived = format!("{data}/muster-restore/snapshot.db");
    let path = &what.path;
    if what.snapshot.is_none() {
        host.not_yet("Bring the snapshot");
        host.not_yet("Prepare the restored member");
        return Ok(());
    }
    let file = local_file(&arrived, path).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display()), "check the file on this side")
    })?;
    host.step("Bring the snapshot")
        .ensure(dir(format!("{data}/muster-restore")).mode(0o700))
        .ensure(file.mode(0o600))
        .await?;
    let restore = sh(
        include_str!("restore-prepare.sh"),
        [
            data,
            &arrived,
            &own.name,
            &own.url,
            &all.join(","),
            &line.token,
            &line.bump.to_string(),
            MARKER,
            &line.to_string(),
        ],
    );
    let unless = sh(r#"[ "$(cat "$1")" = "$2" ]"#, [MARKER, &line.to_string()]);
    host.step("Prepare the restored member")
        .detached()
        .ensure(command("member of the restored cluster", restore, unless))
        .await
        .map(drop)
}

/// Whether something has to stop: not where the restored data is in its place already.
async fn has_to_stop(host: &Host, what: &Restore) -> Result<bool> {
    cluster::belongs_while_restored(host).await?;
    let taken = agreed(host, what).await?.taken;
    if taken {
        host.passed("See that the restored data is in its place");
    }
    Ok(!taken)
}

/// Before etcd: an API server answers to the end what it was asked. It takes up to the half minute that the kubelet gives it.
async fn stop_plane(host: &Host, what: Arc<Restore>) -> Result<()> {
    if !has_to_stop(host, &what).await? {
        return Ok(());
    }
    host.step("Stop the control plane").ensure(stopped_plane::waits()).await.map(drop)
}

async fn stop_etcd(host: &Host, what: Arc<Restore>) -> Result<()> {
    if !has_to_stop(host, &what).await? {
        return Ok(());
    }
    disable_etcd(host).await
}

/// etcd does not run any more, nor after a restart of the machine.
pub(super) async fn disable_etcd(host: &Host) -> Result<()> {
    let stopped = sh(
        r#"! systemctl is-active -q etcd && ! systemctl is-enabled -q etcd && [ ! -e "$2" ]"#,
        [pod::PROGRAM, pod::NOTE],
    );
    // To systemctl a unit has stopped, too, whose pod has not ended in time.
    let stop = sh(
        r#"systemctl disable --now etcd
[ ! -e "$2" ] || sh "$1" end"#,
        [pod::PROGRAM, pod::NOTE],
    );
    host.step("Stop etcd").ensure(command("etcd is stopped", stop, stopped)).await.map(drop)
}

async fn take(host: &Host) -> Result<()> {
    let (vars, agreed): (Vars, _) = (host.vars()?, known(host)?);
    let data = &vars.etcd_data_dir;
    let take = sh(include_str!("restore-take.sh"), [data, &agreed.line.old(data)]);
    let taken = sh(
        r#"[ ! -e "$1/muster-restore/new" ] && [ "$(cat "$2")" = "$3" ]"#,
        [data.as_str(), MARKER, &agreed.line.to_string()],
    );
    // In check mode nothing is prepared that could be taken.
    host.step("Take the restored data").ensure(command("data of the snapshot", take, taken)).await.map(drop)
}

async fn start(host: &Host) -> Result<()> {
    let (vars, agreed): (Vars, _) = (host.vars()?, known(host)?);
    let runs = sh0("systemctl is-active -q etcd && systemctl is-enabled -q etcd");
    // All at once: the first one is ready only when a majority is there.
    let start = sh0("systemctl enable --now etcd || { journalctl --no-pager -n 15 -o cat -u etcd; exit 1; }");
    host.step("Start etcd").ensure(command("etcd runs", start, runs)).await?;
    // Not `endpoint health`, which an alarm alone makes unhealthy: alarms are in the snapshot.
    let healthy = ctl!("ctl get health >&2 && ctl member list", [&vars.etcd_cert_dir]);
    let (every, limit) = (Duration::from_millis(500), Duration::from_secs(120));
    let answer = host.wait(Wait::new("etcd is healthy", healthy, every, limit)).await?;
    let missing = agreed.members.iter().find(|member| !answer.output.contains(&member.url));
    match missing.filter(|_| !host.check_mode()) {
        Some(member) => Err(Failure::new(
            format!("{} is healthy, and does not know {} as a member", host.name(), member.host),
            "see what each member says: muster etcd status",
        )),
        None => Ok(()),
    }
}

async fn control_plane(host: &Host) -> Result<()> {
    let agreed = known(host)?;
    // It talks to the restored members alone: others, which the inventory has no more, may come back with the old data.
    let members = agreed.members.iter().map(|member| member.host.as_str());
    let endpoints = super::client_urls_of(host, members)?.join(",");
    let start = sh(
        r#"api_server=$2/kube-apiserver.yaml
[ ! -e "$api_server" ] || { sed -i "s|--etcd-servers=.*|--etcd-servers=$3|" "$api_server"; sync "$api_server"; }
for file in "$2"/*.yaml; do [ ! -e "$file" ] || mv -f "$file" "$1/"; done
rm -rf "$2"
systemctl start kubelet"#,
        MANIFESTS.into_iter().chain([endpoints.as_str()]),
    );
    let started = sh(r#"[ ! -e "$2" ]"#, MANIFESTS);
    host.step("Start the control plane").ensure(command("control plane", start, started)).await?;
    api_answers(host, Duration::from_secs(180)).await?;
    if cluster::known(host).await?.leader() == Some(host.name()) {
        // The snapshot may be older than the configuration, and of other machines.
        kubeadm::publish(host).await?;
    }
    Ok(())
}

/// A kubelet makes its node known only when it starts.
async fn node(host: &Host) -> Result<()> {
    known(host)?;
    if host.check_mode() {
        host.not_yet("Restart the kubelet");
        return Ok(());
    }
    let restart = sh0("systemctl restart kubelet");
    host.run("Restart the kubelet", restart, Duration::from_secs(120)).await.map(drop)
}

async fn pods(host: &Host, what: Arc<Restore>) -> Result<()> {
    known(host)?;
    match cluster::known(host).await?.leader() == Some(host.name()) {
        true => {
            restored_pods::begin_anew(host, &what).await?;
            restored_pods::have_rolled_out(host, &what.without).await
        }
        false => Ok(()),
    }
}

async fn finish(host: &Host, what: Arc<Restore>) -> Result<()> {
    let (vars, agreed): (Vars, _) = (host.vars()?, known(host)?);
    let (data, line) = (&vars.etcd_data_dir, &agreed.line);
    let old = line.old(data);
    let needless = if line.saved { old.as_str() } else { "" };
    let finish = sh(include_str!("restore-finish.sh"), [data.as_str(), needless, MARKER, DONE]);
    let finished = sh(r#"[ ! -e "$1" ]"#, [MARKER]);
    host.step("Finish the restore").ensure(command("restore is finished", finish, finished)).await?;
    if !line.saved && !host.check_mode() {
        host.warn(format!(
            "the data that was replaced is kept in {old}; remove it when it is not needed any more"
        ));
    }
    if agreed.members.first().is_some_and(|first| first.host == host.name()) && !host.check_mode() {
        let before =
            agreed.before.as_ref().map(|file| format!("; what it was before is in {}", file.display()));
        host.tested(format!("the cluster of {} is back{}", what.path.display(), before.unwrap_or_default()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8) -> Restored {
        Restored {
            host: format!("node{number}"),
            name: format!("etcd{number}"),
            url: format!("https://192.0.2.{number}:2380"),
        }
    }

    #[test]
    fn a_restore_is_the_same_one_only_with_the_same_members() {
        let (one, two) = (member(1), member(2));
        let both = key("ab12", &[one.clone(), two.clone()]);
        assert_eq!(both, key("ab12", &[two, one.clone()]), "their order means nothing");
        assert_ne!(both, key("ab12", &[one.clone(), member(3)]));
        assert_ne!(key("ab12", std::slice::from_ref(&one)), key("ab13", std::slice::from_ref(&one)));
    }

    #[test]
    fn machines_without_etcd_and_members_that_would_go_on_are_refused() {
        let list = r#"members {"members":[{"ID":26,"name":"etcd1","peerURLs":["https://192.0.2.1:2380"]},{"ID":27,"name":"old","peerURLs":["https://192.0.2.9:2380"]}]}"#;
        let status = r#"status [{"Status":{"header":{"revision":4321}}}]"#;
        let look = Look::parse(&format!("ready yes\nhealthy yes\n{status}\n{list}\n"));
        assert_eq!((look.revision, look.healthy, look.taken), (4321, true, false));
        let stopped = Look::parse("taken yes\nstopped {\"hash\":1,\"revision\":77}\n");
        assert_eq!((stopped.revision, stopped.taken), (77, true));
        let found: Vec<String> = problems(&[member(1), member(2)], &[look, stopped], "/etc/ssl/etcd/ssl")
            .into_iter()
            .map(|p| p.found)
            .collect();
        assert_eq!(found, ["node2 has no etcd", "old (https://192.0.2.9:2380) is not in the inventory"]);
    }
}
