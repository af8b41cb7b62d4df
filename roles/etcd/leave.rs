//! How a member leaves, by way of one that stays. Reference: etcd's "Runtime reconfiguration" guide.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_engine::prelude::*;

use super::member::peer_url;
use super::quorum::{self, Member};
use super::{Vars, client_urls_of_one};
use crate::addresses::ip_of;
use crate::cluster::{self, Standing};

/// How often etcd is looked at before a member of it goes away, every three seconds.
const LOOKS: u32 = 20;

/// A member that stays, and all members as it sees them.
pub(crate) struct Remaining {
    at: Arc<Host>,
    certificates: String,
    members: Vec<Member>,
    known: Arc<Standing>,
}

/// Looks at etcd, by the first of these members that answers.
///
/// # Errors
/// None answers, which is so too where there is no majority.
pub(crate) async fn seen_by(host: &Host, staying: &[String]) -> Result<Remaining> {
    let known = cluster::known(host).await?;
    let mut said = String::new();
    for member in staying {
        let at = host.cluster().host(member)?;
        let Vars { etcd_cert_dir: certificates, .. } = at.vars()?;
        match at.query(looking(&certificates)).await {
            Ok(answer) if answer.status == 0 => {
                let members = quorum::parse(&answer.output);
                let mut seen = Remaining { at, certificates, members, known };
                seen.know_hosts(host);
                return Ok(seen);
            }
            Ok(answer) => said += &format!("{member}: {}\n", without_log(&answer.output)),
            Err(failure) => said += &format!("{member}: {failure}\n"),
        }
    }
    Err(Failure::Other {
        message: format!("no member of etcd that stays answers, of {}", staying.join(", ")),
        remedy: "etcd needs a majority of its members to let one of them go: bring them back (journalctl -u etcd on them); where most of \
                 them are lost for good, go on with what is left: muster recover"
            .into(),
        tail: said,
    })
}

/// What etcdctl said, without the lines of JSON that it logs for those who write it.
fn without_log(said: &str) -> String {
    said.lines().filter(|line| !line.starts_with("{\"level\":")).collect::<Vec<_>>().join("\n")
}

fn looking(certificates: &str) -> Script {
    ctl!("ctl member list && { ctl endpoint health --cluster 2>&1 || true; }", [certificates])
}

/// The member of a host may be away while its machine restarts. One that has just restarted gets time to be back.
///
/// # Errors
/// Too few of the others answer.
pub(crate) async fn can_be_away(host: &Host) -> Result<()> {
    let members = host.cluster().group("etcd");
    let mut last;
    let mut looks = 0;
    loop {
        last = match seen_by(host, &members).await {
            Err(failure) => failure,
            Ok(seen) => {
                let url = seen.url_of(host, host.name())?;
                match quorum::cannot_be_away(&seen.members, |member| member.peer_url == url) {
                    None => return Ok(()),
                    Some(problem) => Failure::Problems(vec![problem]),
                }
            }
        };
        looks += 1;
        if looks == LOOKS || host.check_mode() {
            return Err(last);
        }
        host.pause("etcd to be well", Duration::from_secs(3)).await?;
    }
}

/// A member restarts where it has to ([`may_be_restarted`]).
///
/// # Errors
/// Too few of the others answer.
pub(super) async fn may_restart(host: &Host, etcd: &Service) -> Result<()> {
    match host.query(etcd.is_outdated()).await?.status {
        0 => may_be_restarted(host).await,
        _ => Ok(()),
    }
}

/// A member may be restarted: it does not serve itself, or the others do without it meanwhile.
///
/// # Errors
/// Too few of the others answer.
pub(crate) async fn may_be_restarted(host: &Host) -> Result<()> {
    let Vars { etcd_cert_dir: certificates, .. } = host.vars()?;
    let serves = ctl!(concat!(include_str!("serves.sh"), "serves"), [&certificates]);
    match host.query(serves).await?.status {
        0 => can_be_away(host).await,
        _ => Ok(()),
    }
}

/// Makes sure that each member of etcd answers, votes, and is one of the inventory, as the member of a host sees them. Under load
/// one misses an answer now and then, and gets time.
///
/// # Errors
/// Which does not.
pub(crate) async fn all_are_well(host: &Host) -> Result<()> {
    let itself = [host.name().to_owned()];
    let mut seen = seen_by(host, &itself).await?;
    for _ in 1..LOOKS {
        if seen.members.iter().all(|member| member.healthy) {
            break;
        }
        host.pause("etcd to be well", Duration::from_secs(3)).await?;
        seen = seen_by(host, &itself).await?;
    }
    match unwell(&seen.members, &urls_of_all(host, &seen.known, &seen.members)?) {
        None => Ok(()),
        Some(problem) => Err(Failure::Problems(vec![problem])),
    }
}

/// That not all members of etcd are so, by what the etcdctl of a host's member has printed where muster has no program of its own yet:
/// `member list` and `endpoint health --cluster`.
///
/// # Errors
/// The address of one is not known.
pub(crate) async fn unwell_by(host: &Host, said: &str) -> Result<Option<Problem>> {
    let members = quorum::parse(said);
    if members.is_empty() {
        return Ok(Some(Problem {
            check: "etcd".into(),
            found: format!(
                "etcd on {} does not say who its members are: {}",
                host.name(),
                without_log(said).lines().next_back().unwrap_or("it says nothing")
            ),
            needed: "members that are all well, before one of them is stopped".into(),
            remedy: format!(
                "see why, and run again: kubectl -n kube-system logs etcd-NODE, with the node's name of {}",
                host.name()
            ),
        }));
    }
    let known = cluster::known(host).await?;
    Ok(unwell(&members, &urls_of_all(host, &known, &members)?))
}

/// The URLs of the inventory's members.
fn urls_of_all(host: &Host, known: &Standing, members: &[Member]) -> Result<Vec<String>> {
    known.members.iter().map(|name| url_among(members, host, known, name)).collect()
}

/// That a member does not answer, has no vote, or is none of those with these URLs.
fn unwell(members: &[Member], urls: &[String]) -> Option<Problem> {
    let told = |what: &str, member: &Member| format!("{} ({}) {what}", member.name, member.peer_url);
    let unwell = members.iter().filter_map(|member| match member {
        // It answers no client before it has a vote.
        Member { learner: true, .. } => Some(told("has no vote yet", member)),
        Member { healthy: false, .. } => Some(told("does not answer", member)),
        Member { peer_url, .. } if !urls.contains(peer_url) => {
            Some(told("is not in [etcd] of the inventory", member))
        }
        _ => None,
    });
    let unwell: Vec<String> = unwell.collect();
    (!unwell.is_empty()).then(|| Problem {
        check: "etcd".into(),
        found: unwell.join("; "),
        needed: "members that are all well, and all in the inventory, before one of them is stopped".into(),
        remedy: "mend etcd, or write its members into [etcd], and run again".into(),
    })
}

/// The URL of a host's member, as these members know it. One that is off may be known by either of its addresses.
///
/// # Errors
/// Its address is not known, so that a member of its might stay.
fn url_among(members: &[Member], host: &Host, known: &Standing, name: &str) -> Result<String> {
    let url = peer_url(host, known, name)?;
    let other = ip_of(host, name).ok().map(|ip| format!("https://{ip}:2380"));
    let is_known = |url: &String| members.iter().any(|member| member.peer_url == *url);
    Ok(other.filter(|other| !is_known(&url) && is_known(other)).unwrap_or(url))
}

impl Remaining {
    /// Which of these hosts are members, in the order in which they can leave, so that there is a majority at each moment.
    ///
    /// # Errors
    /// There is no such order.
    pub(crate) fn order(&self, host: &Host, leaving: &[String]) -> Result<Vec<String>> {
        let mut urls = BTreeMap::new();
        for name in leaving {
            urls.insert(self.url_of(host, name)?, name);
        }
        let order = quorum::order(&self.members, |member| urls.contains_key(&member.peer_url));
        let order = order.map_err(|problem| Failure::Problems(vec![problem]))?;
        Ok(order
            .into_iter()
            .filter_map(|member| urls.get(&member.peer_url))
            .map(ToString::to_string)
            .collect())
    }

    /// Each member has its host.
    fn know_hosts(&mut self, host: &Host) {
        let hosts = self.known.members.iter();
        let urls: BTreeMap<String, String> =
            hosts.filter_map(|name| Some((self.url_of(host, name).ok()?, name.clone()))).collect();
        for member in &mut self.members {
            member.host = urls.get(&member.peer_url).cloned();
        }
    }

    /// [`url_among`] them.
    fn url_of(&self, host: &Host, name: &str) -> Result<String> {
        url_among(&self.members, host, &self.known, name)
    }

    /// The URLs at which clients may know the members that stay when these hosts have left.
    ///
    /// # Errors
    /// The address of one that leaves is not known.
    pub(crate) fn client_urls_of_others(&self, host: &Host, leaving: &[String]) -> Result<Vec<String>> {
        let leaving: Vec<String> =
            leaving.iter().map(|name| self.url_of(host, name)).collect::<Result<_>>()?;
        let peers = self.members.iter().map(|member| &member.peer_url);
        let staying: Vec<&String> = peers.filter(|url| !leaving.contains(url)).collect();
        let hosts = self.known.members.iter();
        let hosts = hosts.filter(|name| self.url_of(host, name).is_ok_and(|url| staying.contains(&&url)));
        let by_inventory = hosts.flat_map(|name| client_urls_of_one(host, &self.known, name));
        let by_itself = staying.iter().filter_map(|url| Some(format!("{}:2379", url.strip_suffix(":2380")?)));
        Ok(by_inventory.chain(by_itself).collect())
    }

    /// How many members with a vote there are.
    pub(crate) fn voters(&self) -> usize {
        self.members.iter().filter(|member| !member.learner).count()
    }

    /// Takes the member of a host out, on behalf of another host.
    pub(crate) async fn remove(&self, asker: &Host, leaving: &str) -> Result<()> {
        let gone =
            Gone { host: leaving, url: self.url_of(asker, leaving)?, certificates: &self.certificates };
        self.at.step(&format!("Take {leaving} out of etcd")).on_behalf_of(asker).ensure(gone).await?;
        // Where it was the leader, the others elect another one.
        let healthy = ctl!("ctl endpoint health", [&self.certificates]);
        let (every, limit) = (Duration::from_millis(500), Duration::from_secs(60));
        let wait = Wait::new("etcd is healthy", healthy, every, limit);
        self.at.wait_on_behalf_of(asker, wait).await.map(drop)
    }
}

/// A host is no member. Whether it may leave is judged by what is seen at that moment.
struct Gone<'m> {
    host: &'m str,
    url: String,
    certificates: &'m str,
}

impl Resource for Gone<'_> {
    fn label(&self) -> String {
        format!("member of etcd on {}", self.host)
    }

    fn probe(&self) -> Probe {
        Probe::script(looking(self.certificates))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        let answer = seen.answer();
        if answer.status != 0 {
            return Err(format!("etcd does not answer: {}", answer.output.trim_end()));
        }
        let members = quorum::parse(&answer.output);
        let order = quorum::order(&members, |member| member.peer_url == self.url);
        let order = order.map_err(|problem| format!("{}; {}", problem.found, problem.remedy))?;
        let Some(member) = order.first() else { return Ok(Plan::nothing()) };
        let what = format!(
            "removed ({}, id {})",
            if member.name.is_empty() { "never started" } else { &member.name },
            member.id
        );
        Ok(Plan::change(self, what, ctl!(r#"ctl member remove "$2""#, [self.certificates, &member.id])))
    }

    fn desired(&self) -> String {
        format!("{}:gone", self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcdctl_says_to_users_is_told_and_not_its_log() {
        let said =
            "{\"level\":\"warn\",\"ts\":\"x\",\"msg\":\"retrying\"}\nError: context deadline exceeded\n";
        assert_eq!(without_log(said), "Error: context deadline exceeded");
        assert_eq!(without_log("no such program\n"), "no such program");
    }

    #[test]
    fn members_that_are_not_well_or_not_of_the_inventory_are_told() {
        let told = |more: &str| {
            let said = format!(
                "1f, started, node1, https://192.0.2.11:2380, https://192.0.2.11:2379, false\n{more}\
                 https://192.0.2.11:2379 is healthy: successfully committed proposal: took = 2ms\n"
            );
            let urls = ["https://192.0.2.11:2380".to_owned(), "https://192.0.2.12:2380".to_owned()];
            unwell(&quorum::parse(&said), &urls).map(|problem| problem.found)
        };
        assert_eq!(told(""), None);
        let member = |number: u8, learner: bool, health: &str| {
            format!(
                "2f, started, node2, https://192.0.2.{number}:2380, https://192.0.2.{number}:2379, {learner}\n\
                 https://192.0.2.{number}:2379 is {health}\n"
            )
        };
        let well = "healthy: successfully committed proposal: took = 2ms";
        assert_eq!(told(&member(12, false, well)), None);
        let found = |number: u8, learner: bool, health: &str| {
            told(&member(number, learner, health)).unwrap_or_default()
        };
        assert_eq!(
            found(12, false, "unhealthy: failed to commit proposal: context deadline exceeded"),
            "node2 (https://192.0.2.12:2380) does not answer"
        );
        assert_eq!(
            found(12, true, "unhealthy: failed to commit proposal: rpc not supported for learner"),
            "node2 (https://192.0.2.12:2380) has no vote yet"
        );
        assert_eq!(
            found(13, false, well),
            "node2 (https://192.0.2.13:2380) is not in [etcd] of the inventory"
        );
    }
}
