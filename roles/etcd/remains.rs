//! What is left of etcd when most of its members may be lost, and what follows from it: who is asked for the data, and on which
//! machines it goes on. Nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::FutureExt;
use muster_engine::prelude::*;
use muster_engine::run::Role;
use muster_inventory::names;
use serde_json::Value;

use super::Vars;
use super::member::members;
use crate::addresses::{access_ip_of, ip_of};
use crate::cluster::BROKEN;

/// What a machine that answers has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Whether a control plane was set up on it.
    pub plane: bool,
    /// Its member of etcd, where it has the data of one.
    pub member: Option<Found>,
}

/// A member's data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The member's name.
    pub name: String,
    /// Whether it runs and answers.
    pub runs: bool,
    /// Whether it sees a majority of the members.
    pub healthy: bool,
    /// Whether a restore was begun on it and did not come to its end.
    pub restoring: bool,
    /// How many changes its database has seen; `None` where it cannot be read.
    pub revision: Option<u64>,
    /// The last entry of its log that it knows; only a member that runs says so. Entries after the database's revision may be ones
    /// that no majority ever had.
    pub raft_index: Option<u64>,
    /// When its log was last written to, in seconds since 1970.
    pub written: Option<i64>,
    /// The size of its database in bytes.
    pub size: u64,
    /// The members that vote, as it knows them: their names and the URLs at which they find each other. Only a member that runs says
    /// so; of none, where it does not.
    pub voters: Vec<(String, String)>,
    /// Those of them that are not at the address of any host that was, or is to be, a member by the inventory, as `NAME (URL)`.
    pub strangers: Vec<String>,
}

/// What the machines that answered have, by host.
pub type Seen = Arc<Mutex<BTreeMap<String, Remains>>>;

/// The role that looks at each machine, and keeps what it has.
pub fn remains(seen: Seen) -> Role {
    let role = Role::given("etcd-remains", move |host| look(host, seen.clone()).boxed());
    Role { looks_only: true, ..role.reading(&[crate::cluster::READS]) }
}

async fn look(host: &Host, seen: Seen) -> Result<()> {
    let vars: Vars = host.vars()?;
    let question = ctl!(include_str!("remains-look.sh"), [&vars.etcd_cert_dir, &vars.etcd_data_dir]);
    let mut remains = Remains::parse(&host.query(question).await?.output);
    if let Some(member) = &mut remains.member {
        let hosts = ["etcd", BROKEN[0]].into_iter().flat_map(|group| host.cluster().group(group));
        let addresses = hosts.flat_map(|name| [ip_of(host, &name), access_ip_of(host, &name)]);
        let ours: Vec<String> = addresses.flatten().map(|ip| format!("https://{ip}:2380")).collect();
        let strangers = member.voters.iter().filter(|(_, url)| !ours.contains(url));
        member.strangers = strangers.map(|(name, url)| format!("{name} ({url})")).collect();
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).insert(host.name().to_owned(), remains);
    Ok(())
}

impl Remains {
    /// Takes what `remains-look.sh` prints.
    fn parse(answer: &str) -> Self {
        let line = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let json = |key: &str| -> Option<Value> { serde_json::from_str(line(key)?).ok() };
        let running = json("status").map(|mut status| status[0]["Status"].take());
        let stopped = json("stopped");
        let revision = match (&running, &stopped) {
            (Some(status), _) => status["header"]["revision"].as_u64(),
            (None, Some(status)) => status["revision"].as_u64(),
            (None, None) => None,
        };
        let member = line("name").map(|name| Found {
            name: name.to_owned(),
            runs: running.is_some(),
            healthy: line("healthy").is_some(),
            restoring: line("restoring").is_some(),
            revision,
            raft_index: running.as_ref().and_then(|status| status["raftIndex"].as_u64()),
            written: line("written").and_then(|time| time.parse().ok()),
            size: line("size").and_then(|size| size.parse().ok()).unwrap_or(0),
            voters: voters(answer),
            strangers: Vec::new(),
        });
        Self { plane: line("plane").is_some(), member }
    }
}

/// The members in the lines of `member list` that vote.
fn voters(answer: &str) -> Vec<(String, String)> {
    let list: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("voter ")).collect();
    let list = list.join("\n");
    let voters = members(&list).filter(|member| member.last() != Some(&"true"));
    voters.map(|member| (member[2].to_owned(), member[3].to_owned())).collect()
}

/// What the inventory says, and the user.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The groups `etcd` and `kube_control_plane`, each with its broken hosts.
    pub members: Vec<String>,
    /// See `members`.
    pub planes: Vec<String>,
    /// Machines that are lost whatever they answer: kubespray's groups `broken_etcd` and `broken_kube_control_plane`.
    pub broken: Vec<String>,
    /// The machine whose data is wanted, where the user names one.
    pub from: Option<String>,
}

impl Wish {
    /// Takes it from the groups of an inventory. Broken hosts stay in the groups where they were, or are moved out of them: they were
    /// members and control planes all the same.
    pub fn of(group: impl Fn(&str) -> Vec<String>, from: Option<String>) -> Self {
        let with = |name: &str, broken: &[String]| {
            let stay = group(name);
            let moved: Vec<String> = broken.iter().filter(|host| !stay.contains(host)).cloned().collect();
            [stay, moved].concat()
        };
        let [members, planes] = BROKEN.map(&group);
        Self {
            members: with("etcd", &members),
            planes: with("kube_control_plane", &planes),
            broken: [members, planes].concat(),
            from,
        }
    }
}

/// How the cluster goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The machine that has the data.
    pub from: String,
    /// Hosts of the two groups that have no part in it.
    pub without: BTreeSet<String>,
    /// Those of them that may still hold data, because they do not answer or are said to be broken.
    pub lost: Vec<String>,
    /// Those of the lost ones that answer: their members are stopped.
    pub fenced: Vec<String>,
    /// Members that the data knows, and the inventory does not: they cannot be asked, nor stopped.
    pub strangers: Vec<String>,
}

/// Why nothing is to be recovered, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needless {
    /// A sentence without its end.
    pub found: String,
    /// What to do instead.
    pub remedy: String,
}

/// What is to be done with what the machines have.
///
/// # Errors
/// etcd has its majority, or could have it; or nothing is left to go on with.
pub fn judge(seen: &BTreeMap<String, Remains>, wish: &Wish) -> Result<Recovery, Needless> {
    let stop = |found: String, remedy: &str| Err(Needless { found, remedy: remedy.to_owned() });
    let broken = |host: &String| wish.broken.contains(host);
    let member_of = |host: &String| seen.get(host)?.member.as_ref();
    let healthy: Vec<&String> =
        wish.members.iter().filter(|host| member_of(host).is_some_and(|member| member.healthy)).collect();
    // What was cut off goes on, also where some members have come to its end.
    let goes_on = wish.members.iter().any(|host| member_of(host).is_some_and(|member| member.restoring));
    if !healthy.is_empty() && !goes_on {
        let found = format!("etcd has a majority of its members: {} can be written to", names(&healthy));
        return stop(
            found,
            "machines that are gone for good: muster remove-node HOST; machines that were installed anew: muster replace-node HOST",
        );
    }
    let left: Vec<&String> =
        wish.members.iter().filter(|host| !broken(host) && member_of(host).is_some()).collect();
    // What etcd itself says of its members counts more than an inventory, of which lost machines may have been taken out.
    let listed: Vec<&Found> =
        left.iter().filter_map(|host| member_of(host)).filter(|member| !member.voters.is_empty()).collect();
    let voters = listed.iter().map(|member| member.voters.len()).max().unwrap_or(wish.members.len());
    // The data of one that was taken out of etcd, or has not caught up yet, makes no majority.
    let votes = |host: &&String| {
        let name = member_of(host).map(|member| member.name.as_str());
        let known = |member: &&Found| member.voters.iter().any(|(voter, _)| Some(voter.as_str()) == name);
        listed.is_empty() || listed.iter().any(known)
    };
    let counting: Vec<&String> = left.iter().copied().filter(votes).collect();
    let readable = |host: &&&String| member_of(host).is_some_and(|member| member.revision.is_some());
    // The first one of those that know most.
    let best = left.iter().filter(readable).rev().max_by_key(|host| {
        member_of(host).map_or((None, None), |member| (member.revision, member.raft_index))
    });
    let from = match &wish.from {
        Some(host) if !left.contains(&host) => {
            return stop(format!("{host} has no data of etcd that could be read"), "name another machine");
        }
        Some(host) => host.clone(),
        None if counting.len() > voters / 2 && !goes_on => {
            let (have, they) = if counting.len() == 1 { ("has its", "it") } else { ("have their", "they") };
            let found = format!(
                "no member of etcd sees a majority, but {} {have} data, and {they} would be one, of the {voters} that {}",
                names(&counting),
                if listed.is_empty() { "the inventory names" } else { "etcd has" }
            );
            return stop(
                found,
                "see on them why etcd does not run (journalctl -u etcd), then: setup-cluster; if it cannot be mended: muster recover \
                 --from HOST, with the machine whose data is to be taken",
            );
        }
        None => match best {
            Some(host) => (*host).clone(),
            None => {
                return stop(
                    "no machine of [etcd] that answers has data of etcd".to_owned(),
                    "switch on one that has; or install the machines anew, set up a new cluster and restore a snapshot: muster etcd \
                     restore FILE",
                );
            }
        },
    };
    let has_plane = |host: &String| seen.get(host).is_some_and(|remains| remains.plane);
    if !wish.planes.iter().any(|host| !broken(host) && has_plane(host)) {
        return stop(
            "no control plane is left, and the cluster's CA was on them".to_owned(),
            "switch one on; or set up a new cluster and restore a snapshot: muster etcd restore FILE",
        );
    }
    let all: BTreeSet<&String> = wish.members.iter().chain(&wish.planes).collect();
    let out = |host: &String| {
        let member = wish.members.contains(host) && !left.contains(&host);
        broken(host) || member || wish.planes.contains(host) && !has_plane(host)
    };
    let without: BTreeSet<String> = all.into_iter().filter(|host| out(host)).cloned().collect();
    let lost: Vec<String> =
        without.iter().filter(|host| broken(host) || !seen.contains_key(*host)).cloned().collect();
    let fenced = lost.iter().filter(|host| seen.contains_key(*host)).cloned().collect();
    let strangers: BTreeSet<&String> = listed.iter().flat_map(|member| &member.strangers).collect();
    Ok(Recovery { from, without, lost, fenced, strangers: strangers.into_iter().cloned().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(revision: u64) -> Remains {
        let found = Found {
            name: "etcd1".into(),
            runs: true,
            revision: Some(revision),
            raft_index: Some(revision),
            ..Found::default()
        };
        Remains { plane: true, member: Some(found) }
    }

    fn wish() -> Wish {
        let hosts = || ["node1", "node2", "node3"].map(str::to_owned).to_vec();
        Wish { members: hosts(), planes: hosts(), ..Wish::default() }
    }

    fn seen<const N: usize>(all: [(&str, Remains); N]) -> BTreeMap<String, Remains> {
        all.into_iter().map(|(host, remains)| (host.to_owned(), remains)).collect()
    }

    #[test]
    fn what_a_machine_has_is_understood() {
        let running = r#"plane yes
name etcd2
size 4096
written 1790000000
status [{"Endpoint":"https://127.0.0.1:2379","Status":{"header":{"revision":77},"raftIndex":99}}]
voter 1f, started, etcd2, https://192.0.2.5:2380, https://192.0.2.5:2379, false
voter 2e, started, etcd3, https://192.0.2.6:2380, https://192.0.2.6:2379, true
"#;
        let member = Found {
            name: "etcd2".into(),
            runs: true,
            healthy: false,
            restoring: false,
            revision: Some(77),
            raft_index: Some(99),
            written: Some(1_790_000_000),
            size: 4096,
            voters: vec![("etcd2".into(), "https://192.0.2.5:2380".into())],
            strangers: Vec::new(),
        };
        assert_eq!(Remains::parse(running), Remains { plane: true, member: Some(member.clone()) });
        assert!(Remains::parse(&format!("{running}healthy yes\n")).member.unwrap().healthy);
        let stopped = Remains::parse("name etcd2\nsize 4096\nstopped {\"revision\":78}\n").member.unwrap();
        assert_eq!((stopped.runs, stopped.revision, stopped.raft_index), (false, Some(78), None));
        assert_eq!(Remains::parse("name etcd2\nstopped \n").member.unwrap().revision, None);
        assert_eq!(Remains::parse(""), Remains::default());
    }

    #[test]
    fn the_machine_that_knows_most_is_asked_and_the_others_are_left_out() {
        let only = judge(&seen([("node2", member(5))]), &wish()).unwrap();
        assert_eq!(only.from, "node2");
        assert_eq!(only.lost, ["node1", "node3"]);
        assert!(only.fenced.is_empty() && only.without.len() == 2);
        // One that was installed anew holds nothing that could come back.
        let anew = judge(&seen([("node2", member(5)), ("node3", Remains::default())]), &wish()).unwrap();
        assert_eq!((anew.lost, anew.without.len()), (vec!["node1".to_owned()], 2));

        let five = Wish {
            members: ["a", "b", "c", "d", "e"].map(str::to_owned).into(),
            planes: vec!["a".into()],
            ..wish()
        };
        let two = judge(&seen([("a", member(5)), ("b", member(6))]), &five).unwrap();
        assert_eq!(two.from, "b");
        let same = judge(&seen([("a", member(6)), ("b", member(6))]), &five).unwrap();
        assert_eq!(same.from, "a", "the first one of those that know the same");
        let mut unreadable = member(9);
        unreadable.member.as_mut().unwrap().revision = None;
        assert_eq!(judge(&seen([("a", member(6)), ("b", unreadable)]), &five).unwrap().from, "a");
    }

    #[test]
    fn what_is_said_to_be_broken_is_lost_and_stopped_although_it_answers() {
        let all = seen([("node1", member(5)), ("node2", member(6)), ("node3", member(7))]);
        let broken = Wish { broken: vec!["node2".into(), "node3".into()], ..wish() };
        let recovery = judge(&all, &broken).unwrap();
        assert_eq!((recovery.from.as_str(), recovery.fenced.len(), recovery.lost.len()), ("node1", 2, 2));
    }

    #[test]
    fn hosts_that_were_moved_or_taken_out_count_as_the_members_that_they_were() {
        // [etcd] has node1 alone; the others are in [broken_etcd], and one of them answers with its old disk.
        let groups = [("etcd", "node1"), ("broken_etcd", "node2 node3"), ("kube_control_plane", "node1")];
        let group = |name: &str| {
            let hosts = groups.iter().find(|(group, _)| *group == name).map_or("", |(_, hosts)| *hosts);
            hosts.split_whitespace().map(str::to_owned).collect()
        };
        let moved = Wish::of(group, None);
        let mut stopped = member(5);
        stopped.member.as_mut().unwrap().runs = false;
        let recovery = judge(&seen([("node1", stopped), ("node2", member(6))]), &moved).unwrap();
        assert_eq!((recovery.from.as_str(), recovery.lost), ("node1", vec!["node2".into(), "node3".into()]));
        assert_eq!(recovery.fenced, ["node2"]);
        // The inventory has node1 alone. What it knows itself says that it is one of three.
        let alone = || Wish { members: vec!["node1".into()], planes: vec!["node1".into()], ..wish() };
        let mut one_of_three = member(5);
        let found = one_of_three.member.as_mut().unwrap();
        found.voters = [1, 2, 3].map(|n| (format!("etcd{n}"), format!("https://192.0.2.{n}:2380"))).into();
        found.strangers = vec!["etcd2 (https://192.0.2.2:2380)".into()];
        let recovery = judge(&seen([("node1", one_of_three.clone())]), &alone()).unwrap();
        assert_eq!(recovery.strangers, ["etcd2 (https://192.0.2.2:2380)"]);
        // Two more in the inventory never joined.
        let five = Wish {
            members: ["node1", "node2", "node3", "node4", "node5"].map(str::to_owned).into(),
            ..wish()
        };
        let two = seen([("node1", one_of_three), ("node2", member(5))]);
        let refused = judge(&two, &five).unwrap_err().found;
        assert!(
            refused.ends_with("node1-2 have their data, and they would be one, of the 3 that etcd has"),
            "{refused}"
        );
        // The data of one that was taken out of etcd counts for nothing.
        let of_two = |name: &str| {
            let mut member = member(5);
            let found = member.member.as_mut().unwrap();
            found.name = name.into();
            found.voters = [1, 2].map(|n| (format!("etcd{n}"), format!("https://192.0.2.{n}:2380"))).into();
            member
        };
        let without_vote = seen([("node1", of_two("etcd1")), ("node3", of_two("etcd3"))]);
        assert_eq!(judge(&without_vote, &wish()).unwrap().from, "node1");
        let both = seen([("node1", of_two("etcd1")), ("node2", of_two("etcd2"))]);
        assert!(judge(&both, &wish()).unwrap_err().found.contains("node1-2 have their data"));
        let refused = judge(&seen([("node1", member(5))]), &alone()).unwrap_err().found;
        assert!(
            refused.ends_with("node1 has its data, and it would be one, of the 1 that the inventory names"),
            "{refused}"
        );
    }

    #[test]
    fn nothing_is_recovered_where_a_majority_is_there_or_nothing_is_left() {
        let refused = |seen: BTreeMap<String, Remains>, wish: Wish| judge(&seen, &wish).unwrap_err().found;
        let mut well = member(5);
        well.member.as_mut().unwrap().healthy = true;
        assert!(refused(seen([("node1", well.clone())]), wish()).starts_with("etcd has a majority"));
        // A recovery that was cut off after etcd had started goes on.
        well.member.as_mut().unwrap().restoring = true;
        assert_eq!(judge(&seen([("node1", well.clone())]), &wish()).unwrap().from, "node1");
        // Also where another one has come to its end, and they are a majority by now.
        let mut ended = well.clone();
        ended.member.as_mut().unwrap().restoring = false;
        assert_eq!(judge(&seen([("node1", well), ("node2", ended)]), &wish()).unwrap().lost, ["node3"]);
        let two = || seen([("node1", member(5)), ("node2", member(6))]);
        assert!(refused(two(), wish()).contains("node1-2 have their data"));
        let named = |host: &str| Wish { from: Some(host.into()), ..wish() };
        assert_eq!(judge(&two(), &named("node1")).unwrap().from, "node1");
        assert_eq!(refused(two(), named("node3")), "node3 has no data of etcd that could be read");
        assert!(refused(seen([("node1", Remains::default())]), wish()).contains("has data of etcd"));
        let mut no_plane = member(5);
        no_plane.plane = false;
        assert!(refused(seen([("node1", no_plane)]), wish()).contains("no control plane is left"));
    }
}
