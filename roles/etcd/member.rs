//! How a machine without data becomes a member.

use std::collections::BTreeMap;

use muster_engine::prelude::*;

use super::{HEALTHY, Vars, pod};
use crate::addresses::access_ip_of;
use crate::cluster::{self, Standing};

/// Where a member without data finds out how to begin, or how to join; and one that has taken part that it must do neither.
pub(super) const INITIAL: &str = "/etc/etcd.initial.env";

/// The name of this machine as a member: the one that it has. One that joins takes a name that no member has, be that in the
/// inventory or not; so it waits for its turn first.
pub(super) async fn name(host: &Host, vars: &Vars, known: &Standing) -> Result<String> {
    let given = cluster::given_member_names(host)?;
    let mut listed = BTreeMap::new();
    if known.joins_etcd(host.name()) && !given.contains_key(host.name()) {
        let members = known.members_in_order();
        turn(host, &members).await?;
        let list = list(host, vars, &members).await;
        let at =
            members.iter().filter_map(|member| Some((peer_url(host, known, member).ok()?, member.as_str())));
        listed = names(&list, &at.collect());
    }
    let names = known.member_names(&given, &listed);
    Ok(names.get(host.name()).map_or("etcd1", String::as_str).to_owned())
}

/// Waits until the members before this one are healthy: they join one at a time, in this order. Returns its place.
async fn turn(host: &Host, members: &[String]) -> Result<usize> {
    let place = members.iter().position(|m| m == host.name()).unwrap_or(0);
    if place > 0 {
        host.needs(&members[place - 1], HEALTHY).await?;
    }
    Ok(place)
}

/// The lines of `member list` from the first member that answers; nothing where none does, which [`join`] tells.
async fn list(host: &Host, vars: &Vars, members: &[String]) -> String {
    for member in members.iter().filter(|m| *m != host.name()) {
        let Ok(other) = host.cluster().host(member) else { continue };
        if let Ok(Answer { status: 0, output }) =
            other.query(ctl!("ctl member list", [&vars.etcd_cert_dir])).await
        {
            return output;
        }
    }
    String::new()
}

/// The members in `member list`: id, state, name, peer URLs, client URLs, is-learner. One that never started has no name yet.
pub(super) fn members(list: &str) -> impl Iterator<Item = Vec<&str>> {
    list.lines().map(|line| line.split(", ").collect()).filter(|member: &Vec<&str>| member.len() > 3)
}

/// Whether the others do not have this member in their list, where they have one: it ends whenever it is started.
fn is_taken_out(list: &str, name: &str, url: &str) -> bool {
    let mut members = members(list).peekable();
    members.peek().is_some() && !members.any(|member| member[2] == name || member[3] == url)
}

/// The names in `member list`, by host, or by URL where the inventory has no host there. `at`: the hosts by URL.
fn names(list: &str, at: &BTreeMap<String, &str>) -> BTreeMap<String, String> {
    let named = members(list).filter(|member| !member[2].is_empty());
    named.map(|member| (at.get(member[3]).unwrap_or(&member[3]).to_string(), member[2].to_owned())).collect()
}

/// The URL at which other members find the one of a host: the one that they know, where it has data.
pub(super) fn peer_url(host: &Host, known: &Standing, member: &str) -> Result<String> {
    match known.peer_url(member) {
        Some(url) => Ok(url.to_owned()),
        None => Ok(format!("https://{}:2380", access_ip_of(host, member)?)),
    }
}

/// How a machine stands to the other members, before etcd is started on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It has its part, and is well.
    Well,
    /// It is to start.
    Starts,
    /// It has data, and the others have taken it out.
    TakenOut,
}

/// What [`join`] has seen.
pub(super) struct Joined {
    pub(super) part: Part,
    /// Whether the program of a unit is there that may run a pod, and whether it runs one.
    pub(super) has_program: bool,
    pub(super) runs_as_pod: bool,
}

/// Prepares the first start: nothing to do for a member that has data.
pub(super) async fn join(host: &Host, vars: &Vars, known: &Standing, name: &str) -> Result<Joined> {
    let look = ctl!(
        concat!(
            include_str!("serves.sh"),
            r#"if ! { [ -d "$2/member/wal" ] && ls "$2/member/wal" | grep -q .; }; then
  echo no data
elif ! serves; then
  echo unwell
fi
[ ! -e "$3" ] || echo program
[ ! -e "$4" ] || echo pod"#
        ),
        [vars.etcd_cert_dir.as_str(), &vars.etcd_data_dir, pod::PROGRAM, pod::MANIFEST]
    );
    let seen = host.query(look).await?.output;
    let sees = |word: &str| seen.lines().any(|line| line == word);
    let part = part(host, vars, known, name, &sees).await?;
    Ok(Joined { part, has_program: sees("program"), runs_as_pod: sees("pod") })
}

async fn part(
    host: &Host,
    vars: &Vars,
    known: &Standing,
    name: &str,
    sees: impl Fn(&str) -> bool,
) -> Result<Part> {
    let members = known.members_in_order();
    if sees("unwell") {
        let list = list(host, vars, &members).await;
        if is_taken_out(&list, name, &peer_url(host, known, host.name())?) {
            host.warn(format!(
                "{0} holds data of etcd, and the other members have taken it out: it is passed over; to finish its removal: muster \
                 remove-node {0}; then it can be put back into the inventory and join anew: setup-cluster",
                host.name()
            ));
            return Ok(Part::TakenOut);
        }
        // Nobody misses it while it restarts, and the others may have to wait for it.
        return Ok(Part::Starts);
    }
    let place = turn(host, &members).await?;
    if !sees("no data") {
        return Ok(Part::Well);
    }
    if host.check_mode() {
        host.not_yet("how etcd begins");
        return Ok(Part::Starts);
    }
    let url = peer_url(host, known, host.name())?;
    let mut restored = None;
    let initial = match healthy_member(host, vars, &members).await? {
        Some(member) => {
            let cluster = add(host, vars, &member, name, &url).await?;
            restored = known.restore(&member).1;
            format!("ETCD_INITIAL_CLUSTER={cluster}\nETCD_INITIAL_CLUSTER_STATE=existing\n")
        }
        // Proved, not guessed: every other machine was asked, and has no data.
        None if known.etcd_begins().map_err(|problem| Failure::Problems(vec![problem]))?
            == Some(host.name()) =>
        {
            format!("ETCD_INITIAL_CLUSTER={name}={url}\nETCD_INITIAL_CLUSTER_STATE=new\n")
        }
        None => {
            let with_data = members[..place].join(", ");
            return Err(Failure::new(
                format!("{} has no data, and no member of etcd is healthy that it could join", host.name()),
                format!(
                    "bring back a majority of the members ({with_data}): journalctl -u etcd says there what is wrong; if it is lost \
                     for good, go on with what is left: muster recover; or with a snapshot: muster etcd restore FILE"
                ),
            ));
        }
    };
    let tell = host.step("Tell etcd how to begin").ensure(file(INITIAL).content(initial));
    // Its data is that of the others, and so is what it has gone through.
    match restored {
        Some(line) => tell.ensure(file(super::restore::DONE).content(format!("{line}\n"))).await?,
        None => tell.await?,
    };
    Ok(Part::Starts)
}

/// A member, other than this host, that has data and answers.
async fn healthy_member(host: &Host, vars: &Vars, members: &[String]) -> Result<Option<String>> {
    for member in members.iter().filter(|m| *m != host.name()) {
        // A machine that is off cannot be asked, and is no member to join through.
        let Ok(other) = host.cluster().host(member) else { continue };
        let alive = ctl!(
            r#"[ -d "$2/member/wal" ] && ctl endpoint health"#,
            [&vars.etcd_cert_dir, &vars.etcd_data_dir]
        );
        if other.query(alive).await.is_ok_and(|answer| answer.status == 0) {
            return Ok(Some(member.clone()));
        }
    }
    Ok(None)
}

/// Makes this machine known to the cluster as a learner, who has no vote: so the cluster goes on whatever happens to this
/// machine before it takes part. Returns the cluster as etcd wants to be told: `name=url,...`.
///
/// A member of the same address that never started is this one, from a run that was cut off; one that did start lost its
/// data with the machine, and is taken out first, because etcd must not meet an old member without its log.
async fn add(host: &Host, vars: &Vars, through: &str, name: &str, url: &str) -> Result<String> {
    let other = host.cluster().host(through)?;
    let script = sh(include_str!("add-member.sh"), [vars.etcd_cert_dir.as_str(), name, url]);
    let cluster = other.run("Add a member to etcd", script, Duration::from_secs(120)).await?;
    Ok(cluster.trim().to_owned())
}

/// A learner gets its vote when it has caught up, through one of the others. Reference: etcd's "Learner" design document.
///
/// From then on a member whose data is gone (its disk is not mounted, say) does not start: told of a cluster that is there and has
/// no other member, etcd finds nobody to ask for it (server/etcdserver/bootstrap.go). As `new` it would begin an empty cluster with
/// the ids of this one; told of the others, it would take its place among them without what it has promised them.
pub(super) async fn vote(host: &Host, vars: &Vars, known: &Standing, name: &str) -> Result<()> {
    let others = known.members.iter().filter(|m| *m != host.name());
    let others: Vec<String> =
        others.map(|m| Ok(format!("https://{}:2379", access_ip_of(host, m)?))).collect::<Result<_>>()?;
    let url = peer_url(host, known, host.name())?;
    let mut step = host.step("Take part in etcd");
    if !others.is_empty() {
        // Only a member that votes is healthy.
        let promote = sh(include_str!("vote.sh"), [vars.etcd_cert_dir.as_str(), &others.join(","), &url]);
        let healthy = ctl!("ctl endpoint health", [&vars.etcd_cert_dir]);
        step = step.ensure(command("vote in etcd", promote, healthy));
    }
    let taken_part = format!("ETCD_INITIAL_CLUSTER={name}={url}\nETCD_INITIAL_CLUSTER_STATE=existing\n");
    step.ensure(file(INITIAL).content(taken_part)).await.map(drop)
}

/// Says which members are in the cluster and not in the inventory: they count for quorum. `list`: lines of `member list`.
pub(super) async fn tell_of_strangers(host: &Host, vars: &Vars, known: &Standing, list: &str) -> Result<()> {
    let urls = known.members.iter().map(|member| peer_url(host, known, member));
    let ours: Vec<String> = urls.filter_map(Result::ok).collect();
    let tell = || async {
        for (found, remedy) in strangers(list, &ours, host.name(), &vars.etcd_cert_dir) {
            host.warn(format!("{found}, and counts for its quorum; {remedy}"));
        }
        Ok(())
    };
    host.cluster().once("members of etcd outside of the inventory", tell).await.map(drop)
}

/// The members that are not in the inventory, as a member tells that could be asked: what was found, and what to do about it.
///
/// # Errors
/// It does not tell.
pub(crate) async fn outside(host: &Host, known: &Standing) -> Result<Vec<(String, String)>> {
    let Some(member) = known.reached_member() else { return Ok(Vec::new()) };
    let member = host.cluster().host(member)?;
    let vars: Vars = member.vars()?;
    let list = member.query(ctl!("ctl member list", [&vars.etcd_cert_dir])).await?;
    if list.status != 0 {
        return Err(Failure::new(
            format!("etcd on {} does not tell its members: {}", member.name(), list.output.trim()),
            format!("see why on {}: journalctl -u etcd", member.name()),
        ));
    }
    let list = list.output;
    let urls = known.members.iter().map(|name| peer_url(host, known, name));
    let ours: Vec<String> = urls.filter_map(Result::ok).collect();
    Ok(strangers(&list, &ours, member.name(), &vars.etcd_cert_dir))
}

/// What removes a member for good, typed on another one; `certificates`: its folder of them.
pub(super) fn removing(id: &str, on: &str, certificates: &str) -> String {
    format!(
        "on {on}: etcdctl --endpoints https://127.0.0.1:2379 --cacert {certificates}/ca.pem --cert {certificates}/member.pem --key \
         {certificates}/member-key.pem member remove {id}"
    )
}

/// `on`: a member, on which they can be removed; `certificates`: its folder of them.
fn strangers(list: &str, ours: &[String], on: &str, certificates: &str) -> Vec<(String, String)> {
    let strangers = members(list).filter(|member| !ours.iter().any(|url| url == member[3]));
    strangers
        .map(|member| {
            let (id, url) = (member[0], member[3]);
            let name = if member[2].is_empty() { "a member without a name" } else { member[2] };
            let remedy = format!("if that machine is gone for good, {}", removing(id, on, certificates));
            (format!("etcd has {name} ({url}), which is not in [etcd] of the inventory"), remedy)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_the_inventory_does_not_have_are_told() {
        let list = "1f, started, etcd1, https://192.0.2.4:2380, https://192.0.2.4:2379, false\n\
                    2e, started, etcd2, https://192.0.2.5:2380, https://192.0.2.5:2379, false\n\
                    https://127.0.0.1:2379 is healthy: successfully committed proposal: took = 2ms\n\
                    3d, unstarted, , https://192.0.2.6:2380, , true\n";
        let told = strangers(list, &["https://192.0.2.4:2380".to_owned()], "node1", "/etc/ssl/etcd/ssl");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].0.contains("etcd has etcd2 (https://192.0.2.5:2380)")
                && told[0].1.ends_with(
                    "on node1: etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/ssl/etcd/ssl/ca.pem --cert \
                     /etc/ssl/etcd/ssl/member.pem --key /etc/ssl/etcd/ssl/member-key.pem member remove 2e"
                ),
            "{told:?}"
        );
        assert!(told[1].0.contains("a member without a name (https://192.0.2.6:2380)"), "{told:?}");
        let at = [("https://192.0.2.4:2380".to_owned(), "node1")].into();
        let names = names(list, &at).into_iter().collect::<Vec<_>>();
        let expected = [("https://192.0.2.5:2380", "etcd2"), ("node1", "etcd1")];
        assert_eq!(names, expected.map(|(place, name)| (place.to_owned(), name.to_owned())));
    }

    #[test]
    fn a_learner_that_takes_minutes_to_catch_up_is_waited_for() {
        // Each look takes two seconds, and after more than four minutes it votes.
        let fake = r#"etcdctl() {
  case "$*" in
    *'member list') echo '3d, started, etcd3, https://192.0.2.6:2380, , true' ;;
    *'endpoint health') [ "$(wc -l <"$looks")" -ge 130 ] ;;
    *) return 1 ;;
  esac
}
systemctl() { echo active; }
sleep() { :; }
date() { echo . >>"$looks"; echo $(($(wc -l <"$looks") * 2)); }
"#;
        let program = format!("{fake}{}", include_str!("vote.sh"));
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let folder = tempfile::tempdir().unwrap();
            let looks = folder.path().join("looks");
            let mut command = std::process::Command::new(shell[0]);
            command.args(&shell[1..]).args(["-euc", &program, "sh", "/ssl", "https://192.0.2.4:2379"]);
            let said = command.arg("https://192.0.2.6:2380").env("looks", &looks).output().unwrap();
            assert!(said.status.success(), "{shell:?}: {said:?}");
        }
    }

    #[test]
    fn who_waits_for_a_vote_comes_to_an_end_and_says_what_is_missing() {
        // Each look takes 200 seconds.
        let fake = r#"etcdctl() { case "$*" in *'member list') echo "$list" ;; *) return 1 ;; esac; }
systemctl() { echo active; }
sleep() { :; }
date() { echo . >>"$looks"; echo $(($(wc -l <"$looks") * 200)); }
"#;
        let program = format!("{fake}{}", include_str!("vote.sh"));
        let url = "https://192.0.2.6:2380";
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            for (list, expected) in [
                ("", "sees no majority of its members"),
                ("3d, started, etcd3, https://192.0.2.6:2380, , true", "has not caught up"),
            ] {
                let folder = tempfile::tempdir().unwrap();
                let looks = folder.path().join("looks");
                let mut command = std::process::Command::new(shell[0]);
                command.args(&shell[1..]).args([
                    "-euc",
                    &program,
                    "sh",
                    "/ssl",
                    "https://192.0.2.4:2379",
                    url,
                ]);
                let said = command.env("list", list).env("looks", &looks).output().unwrap();
                let told = String::from_utf8_lossy(&said.stderr);
                assert!(said.status.code() == Some(1) && told.contains(expected), "{shell:?}: {said:?}");
                assert_eq!(std::fs::read_to_string(&looks).unwrap().lines().count(), 3, "{shell:?}");
            }
        }
    }

    #[test]
    fn a_member_is_taken_out_where_the_others_answer_and_do_not_name_it() {
        let list = "1f, started, etcd1, https://192.0.2.4:2380, https://192.0.2.4:2379, false\n\
                    3d, unstarted, , https://192.0.2.6:2380, , true\n";
        for (list, name, url, is_out) in [
            (list, "etcd2", "https://192.0.2.5:2380", true),
            (list, "etcd1", "https://192.0.2.9:2380", false),
            (list, "etcd3", "https://192.0.2.6:2380", false),
            ("", "etcd2", "https://192.0.2.5:2380", false),
        ] {
            assert_eq!(is_taken_out(list, name, url), is_out, "{name}");
        }
    }
}
