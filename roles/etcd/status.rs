//! How etcd is: what its members say of themselves and of each other. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::FutureExt;
use muster_engine::prelude::*;
use muster_engine::run::Role;
use serde::Deserialize;

use super::Vars;
use crate::addresses;

/// What one member said. Numbers that identify members and clusters are etcd's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its number.
    pub id: u64,
    /// The number of the cluster that it belongs to.
    pub cluster: u64,
    /// The number of the member that leads, as this one sees it; 0 where there is none.
    pub leader: u64,
    /// The size of its database in bytes, and how much of that is in use.
    pub size: u64,
    /// How much of that is in use, in bytes. What is not is given back by a defragmentation.
    pub in_use: u64,
    /// The version of etcd that it runs.
    pub version: String,
    /// How many changes the database has seen.
    pub revision: u64,
    /// Whether it can read from the cluster, which needs a majority.
    pub healthy: bool,
    /// All members, as this one knows them.
    pub members: Vec<Member>,
    /// What members have raised an alarm for: the number of the member, and the alarm's name.
    pub alarms: Vec<(u64, &'static str)>,
}

/// A member as others know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Its number.
    #[serde(rename = "ID")]
    pub id: u64,
    /// Its name; empty where it never started.
    #[serde(default)]
    pub name: String,
    /// Where other members find it.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    /// Whether it has no vote yet.
    #[serde(rename = "isLearner", default)]
    pub learner: bool,
    /// The host of the inventory whose address it has, as far as that is known without asking the host.
    #[serde(skip)]
    pub host: Option<String>,
}

/// etcdctl's JSON of `endpoint status`.
#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Status")]
    status: EndpointStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointStatus {
    header: Header,
    #[serde(default)]
    version: String,
    #[serde(default)]
    db_size: u64,
    #[serde(default)]
    db_size_in_use: u64,
    #[serde(default)]
    leader: u64,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    cluster_id: u64,
    #[serde(default)]
    member_id: u64,
    #[serde(default)]
    revision: u64,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Alarms {
    #[serde(default)]
    alarms: Vec<Alarm>,
}

#[derive(Deserialize)]
struct Alarm {
    #[serde(rename = "memberID", default)]
    member: u64,
    #[serde(default)]
    alarm: u64,
}

/// Asks a member about itself: [`MemberStatus::parse`] takes the answer.
pub(super) fn question(vars: &Vars) -> Script {
    ctl!(
        r#"
say() { printf '%s %s\n' "$1" "$2"; }
say status "$(ctl endpoint status -w json)"
say members "$(ctl member list -w json)"
say alarms "$(ctl alarm list -w json)"
# Not `endpoint health`, which an alarm alone makes unhealthy: this is what it asks otherwise.
! ctl get health >/dev/null || say healthy yes"#,
        [&vars.etcd_cert_dir]
    )
}

impl MemberStatus {
    /// Takes what a member has answered to [`question`]; `None` where it did not answer about itself.
    pub(super) fn parse(answer: &str) -> Option<Self> {
        let line = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let endpoints: Vec<Endpoint> = serde_json::from_str(line("status")?).ok()?;
        let EndpointStatus { header, version, db_size, db_size_in_use, leader } =
            endpoints.into_iter().next()?.status;
        let members = line("members").and_then(|json| serde_json::from_str::<Members>(json).ok());
        let alarms = line("alarms").and_then(|json| serde_json::from_str::<Alarms>(json).ok());
        let alarms = alarms.into_iter().flat_map(|alarms| alarms.alarms);
        Some(Self {
            id: header.member_id,
            cluster: header.cluster_id,
            leader,
            size: db_size,
            in_use: db_size_in_use,
            version,
            revision: header.revision,
            healthy: line("healthy").is_some(),
            members: members.map(|list| list.members).unwrap_or_default(),
            // etcd: api/etcdserverpb/rpc.proto, AlarmType.
            alarms: alarms
                .map(|alarm| (alarm.member, if alarm.alarm == 1 { "NOSPACE" } else { "CORRUPT" }))
                .collect(),
        })
    }
}

/// What the members of the inventory said, by host: `None` for one that did not answer, but whose machine did.
pub type Answers = Arc<Mutex<BTreeMap<String, Option<MemberStatus>>>>;

/// The role that asks each member, and keeps what it says.
pub fn look(answers: Answers) -> Role {
    let role = Role::given("etcd-status", move |host| ask(host, answers.clone()).boxed());
    Role { looks_only: true, ..role.reading(&[crate::cluster::READS]) }
}

async fn ask(host: &Host, answers: Answers) -> Result<()> {
    let mut status = of(host).await?;
    if let Some(status) = &mut status {
        let place = |name: String| (addresses::possible(host, &name), name);
        let hosts: Vec<(BTreeSet<IpAddr>, String)> =
            host.cluster().group("etcd").into_iter().map(place).collect();
        for member in &mut status.members {
            let has = |own: &BTreeSet<IpAddr>| {
                member.peer_urls.iter().filter_map(|url| address_in(url)).any(|at| own.contains(&at))
            };
            member.host = hosts.iter().find(|(own, _)| has(own)).map(|(_, name)| name.clone());
        }
    }
    answers.lock().unwrap_or_else(PoisonError::into_inner).insert(host.name().to_owned(), status);
    Ok(())
}

/// The address in a URL of etcd, if it has one and not a name.
fn address_in(url: &str) -> Option<IpAddr> {
    let (_, place) = url.split_once("://")?;
    place.rsplit_once(':')?.0.trim_matches(['[', ']']).parse().ok()
}

/// What the member of a host says; `None` where it does not answer.
pub(super) async fn of(host: &Host) -> Result<Option<MemberStatus>> {
    let vars: Vars = host.vars()?;
    Ok(MemberStatus::parse(&host.query(question(&vars)).await?.output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_by_the_address_in_its_url() {
        for (url, address) in [
            ("https://192.0.2.4:2380", Some("192.0.2.4")),
            ("https://[2001:db8::4]:2380", Some("2001:db8::4")),
            ("https://etcd1.example.org:2380", None),
            ("", None),
        ] {
            assert_eq!(address_in(url), address.map(|address| address.parse::<IpAddr>().unwrap()), "{url}");
        }
    }

    #[test]
    fn what_a_member_says_is_understood() {
        let answer = concat!(
            r#"status [{"Endpoint":"https://127.0.0.1:2379","Status":{"header":{"cluster_id":14841639068965178418,"#,
            r#""member_id":10276657743932975437,"revision":4321,"raft_term":3},"version":"3.6.14","dbSize":2351104,"#,
            r#""leader":10276657743932975437,"raftIndex":9,"dbSizeInUse":1130496,"storageVersion":"3.6.0"}}]"#,
            "\n",
            r#"members {"header":{"cluster_id":14841639068965178418},"members":[{"ID":10276657743932975437,"name":"etcd1","#,
            r#""peerURLs":["https://192.0.2.4:2380"],"clientURLs":["https://192.0.2.4:2379"]},{"ID":7,"peerURLs":["#,
            r#""https://192.0.2.5:2380"],"isLearner":true}]}"#,
            "\n",
            r#"alarms {"header":{},"alarms":[{"memberID":7,"alarm":1}]}"#,
            "\nhealthy yes\n",
        );
        let status = MemberStatus::parse(answer).unwrap();
        assert_eq!(
            (status.id, status.leader, status.revision),
            (10276657743932975437, 10276657743932975437, 4321)
        );
        assert_eq!((status.size, status.in_use, status.version.as_str()), (2351104, 1130496, "3.6.14"));
        assert_eq!(status.alarms, [(7, "NOSPACE")]);
        assert_eq!(
            status.members[1],
            Member {
                id: 7,
                peer_urls: vec!["https://192.0.2.5:2380".into()],
                learner: true,
                ..Member::default()
            }
        );
        assert!(status.healthy);
        assert!(!MemberStatus::parse(&answer.replace("healthy yes\n", "")).unwrap().healthy);
        assert_eq!(MemberStatus::parse("status \nmembers \nalarms \n"), None);
    }
}
