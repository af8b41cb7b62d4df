//! How a machine without data becomes a member.

use muster_engine::prelude::*;

use super::{HEALTHY, Vars};
use crate::common::ip_of;

/// Where etcd finds out how to join, once.
const INITIAL: &str = "/etc/etcd.initial.env";

/// A member's name: `etcd_member_name`, else etcd and its place in the group.
pub(super) fn name(host: &Host, of: &str, members: &[String]) -> Result<String> {
    if let Some(name) =
        host.cluster().vars_of(of)?.get("etcd_member_name")?.and_then(|n| n.as_str().map(str::to_owned))
    {
        return Ok(name);
    }
    let place = members.iter().position(|m| m == of).unwrap_or(0);
    Ok(format!("etcd{}", place + 1))
}

/// Prepares the first start: nothing to do for a member that has data. Members join one at a time, in the group's order.
pub(super) async fn join(host: &Host, vars: &Vars, members: &[String]) -> Result<()> {
    let place = members.iter().position(|m| m == host.name()).unwrap_or(0);
    if place > 0 {
        host.needs(&members[place - 1], HEALTHY).await?;
    }
    let has_data = sh(r#"[ -d "$1/member/wal" ] && ls "$1/member/wal" | grep -q ."#, [&vars.etcd_data_dir]);
    if host.query(has_data).await?.status == 0 {
        return Ok(());
    }
    if host.check_mode() {
        host.not_yet("how etcd begins");
        return Ok(());
    }
    let name = name(host, host.name(), members)?;
    let url = format!("https://{}:2380", ip_of(host, host.name())?);
    let initial = match healthy_member(host, vars, members).await? {
        None if place == 0 => format!("ETCD_INITIAL_CLUSTER={name}={url}\nETCD_INITIAL_CLUSTER_STATE=new\n"),
        None => {
            return Err(Failure::new(
                format!("no healthy etcd member that {} could join", host.name()),
                format!("see what is wrong with etcd on {}: journalctl -u etcd", members[0]),
            ));
        }
        Some(member) => {
            let cluster = add(host, vars, &member, &name, &url).await?;
            format!("ETCD_INITIAL_CLUSTER={cluster}\nETCD_INITIAL_CLUSTER_STATE=existing\n")
        }
    };
    host.step("Tell etcd how to begin").ensure(file(INITIAL).content(initial)).await?;
    Ok(())
}

/// A member, other than this host, that has data and answers.
async fn healthy_member(host: &Host, vars: &Vars, members: &[String]) -> Result<Option<String>> {
    for member in members.iter().filter(|m| *m != host.name()) {
        // A machine that is off cannot be asked, and is no member to join through.
        let Ok(other) = host.cluster().host(member) else { continue };
        let alive = sh(
            r#"
[ -d "$1/member/wal" ] || exit 1
exec etcdctl --command-timeout=5s --endpoints https://127.0.0.1:2379 --cacert "$2/ca.pem" --cert "$2/member.pem" --key "$2/member-key.pem" endpoint health"#,
            [&vars.etcd_data_dir, &vars.etcd_cert_dir],
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
    let script = sh(
        r#"
set -e
certs=$1 name=$2 url=$3
ctl() {
  etcdctl --command-timeout=20s --endpoints https://127.0.0.1:2379 \
    --cacert "$certs/ca.pem" --cert "$certs/member.pem" --key "$certs/member-key.pem" "$@"
}
# Lines of `member list`: id, state, name, peer URLs, client URLs, is-learner.
old=$(ctl member list | awk -F ', ' -v url="$url" '$4 == url && $2 == "started" { print $1 }')
[ -z "$old" ] || ctl member remove "$old" >&2
known() { ctl member list | awk -F ', ' -v url="$url" '$4 == url { found = 1 } END { exit !found }'; }
attempt=0
until known; do
  # etcd takes in nobody before all members have known each other for five seconds.
  said=$(ctl member add "$name" --learner --peer-urls="$url" 2>&1) || {
    attempt=$((attempt + 1))
    [ $attempt -lt 40 ] || { echo "$said" >&2; exit 1; }
    sleep 0.5
  }
done
ctl member list | awk -F ', ' -v name="$name" '{ printf "%s%s=%s", sep, ($3 == "" ? name : $3), $4; sep = "," }'"#,
        [vars.etcd_cert_dir.as_str(), name, url],
    );
    let cluster = other.run("Add a member to etcd", script, Duration::from_secs(120)).await?;
    Ok(cluster.trim().to_owned())
}

/// A learner gets its vote when it has caught up, through one of the others. Reference: etcd's "Learner" design document.
pub(super) async fn vote(host: &Host, vars: &Vars, members: &[String]) -> Result<()> {
    let others = members.iter().filter(|m| *m != host.name());
    let others: Vec<String> =
        others.map(|m| Ok(format!("https://{}:2379", ip_of(host, m)?))).collect::<Result<_>>()?;
    if others.is_empty() {
        return Ok(());
    }
    let url = format!("https://{}:2380", ip_of(host, host.name())?);
    // Only a member that votes is healthy.
    let promote = sh(
        r#"
certs=$1 others=$2 url=$3
ctl() { etcdctl --command-timeout=5s --cacert "$certs/ca.pem" --cert "$certs/member.pem" --key "$certs/member-key.pem" "$@"; }
for attempt in $(seq 120); do
  ! ctl --endpoints https://127.0.0.1:2379 endpoint health || exit 0
  # Lines of `member list`: id, state, name, peer URLs, client URLs, is-learner.
  id=$(ctl --endpoints "$others" member list | awk -F ', ' -v url="$url" '$4 == url && $6 == "true" { print $1 }') || true
  [ -z "$id" ] || ctl --endpoints "$others" member promote "$id" || true
  sleep 0.5
done
exit 1"#,
        [vars.etcd_cert_dir.as_str(), &others.join(","), &url],
    );
    let healthy = sh(
        r#"etcdctl --command-timeout=5s --endpoints https://127.0.0.1:2379 --cacert "$1/ca.pem" --cert "$1/member.pem" --key "$1/member-key.pem" endpoint health"#,
        [&vars.etcd_cert_dir],
    );
    host.step("Take part in etcd").ensure(command("vote in etcd", promote, healthy)).await.map(drop)
}
